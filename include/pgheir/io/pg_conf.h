/* Writes PostgreSQL's configuration files: whole, by temp + fsync + rename, so that a crash leaves
 * the old or the new one.
 * For: the agent. Not for: what the values should be (its caller decides).
 * pg_conf_x() blocks on the disk and belongs into a job; the loop uses pg_conf_apply_start().
 * postgresql.conf (primary_conninfo may hold secrets) and the password file are 0600; hba and ident
 * are 0640 where the data directory may be read by its group, else 0600. */
#ifndef PGHEIR_IO_PG_CONF_H
#define PGHEIR_IO_PG_CONF_H

#include "pgheir/base/buf.h"
#include "pgheir/codec/pg_text.h"
#include "pgheir/io/child.h"
#include "pgheir/io/pg_site.h"

/* Replaces path by content: temp in the same directory, fsync, rename, fsync of the directory.
 * mode as given, whatever the umask says. A path that is a symbolic link is replaced, never
 * written through. Blocks. */
enum rc pg_conf_write_file(const char *path, const void *bytes, size_t length, unsigned mode,
                           struct err *err);
/* Same, but leaves a file alone that already has this content and mode; *ret_changed tells. */
enum rc pg_conf_update_file(const char *path, const void *bytes, size_t length, unsigned mode,
                            bool *ret_changed, struct err *err);

/* One line of the password file. NULL or "" for host, port, database is "any". */
struct pg_passline {
    const char *host, *port, *database, *user, *password;
};
enum rc pg_conf_write_pgpass(const char *path, const struct pg_passline *lines, size_t count,
                             struct err *err);

/* True for the settings that are given on the postmaster's command line (contract/config.md 6,
 * table 1). They stand in the file, too, so that a difference shows as a pending restart. */
bool pg_conf_is_command_line(const char *setting);
/* True for settings of recovery: they belong into struct pg_conf_plan.recovery, never into
 * settings, and are taken out of postgresql.auto.conf. */
bool pg_conf_is_recovery(const char *setting);

/* All that the files shall say. Pointers belong to the caller and are needed during the call
 * only. */
struct pg_conf_plan {
    const struct pg_site *site;
    const char *custom_conf;                /* included instead of <base>.base.conf; NULL: that */
    /* any order; recovery ones are left out */
    const struct pg_text_pair *settings;
    size_t settings_count;
    const char *const *hba_lines;           /* NULL: leave pg_hba.conf alone */
    size_t hba_count;
    const char *const *ident_lines;         /* NULL: leave pg_ident.conf alone */
    size_t ident_count;
    bool is_standby;                        /* standby.signal there (true) or gone (false) */
    /* leave the signal files alone (bootstrap with recovery) */
    bool keep_signal;
    /* primary_conninfo, primary_slot_name, restore_command, ... */
    const struct pg_text_pair *recovery;
    size_t recovery_count;                  /* recovery_target_timeline latest and empty
                                             * recovery_target* are added where not given */
    const struct pg_passline *pass_lines;   /* NULL: leave site->pgpass alone */
    size_t pass_count;
};

enum pg_conf_change {
    PG_CONF_CHANGED_MAIN = 1,
    PG_CONF_CHANGED_HBA = 2,
    PG_CONF_CHANGED_IDENT = 4,
    PG_CONF_CHANGED_SIGNAL = 8,
    PG_CONF_CHANGED_AUTO = 16, /* recovery settings were taken out of postgresql.auto.conf */
    PG_CONF_CHANGED_PGPASS = 32,
};

/* The text of postgresql.conf: banner, include, sorted settings, recovery part. RC_INVALID names
 * the setting. */
enum rc pg_conf_build_main(const struct pg_conf_plan *plan, struct buf *out, struct err *err);
/* Lines joined; RC_INVALID for a line with a line break in it. */
enum rc pg_conf_build_lines(const char *file, const char *const *lines, size_t count,
                            struct buf *out, struct err *err);
/* Takes settings of recovery out of a postgresql.auto.conf (CR-03); everything else stays byte
 * for byte. True if something was taken out. */
bool pg_conf_filter_auto(const char *text, struct buf *out);

/* Brings all files to what plan says; *ret_changed has pg_conf_change bits. On failure some
 * files may be new already, each of them whole. The original postgresql.conf is renamed once to
 * <base>.base.conf. Blocks. */
enum rc pg_conf_apply(const struct pg_conf_plan *plan, unsigned *ret_changed, struct err *err);
typedef void pg_conf_fn(enum rc rc, unsigned changed, const struct err *err, void *arg);
enum rc pg_conf_apply_start(struct loop *loop, const struct pg_conf_plan *plan, int64_t deadline_ms,
                            pg_conf_fn *on_done, void *arg, struct job **ret, struct err *err);

/* Keeps this member's own files (<base>.conf, <base>.base.conf, pg_hba.conf, pg_ident.conf,
 * postgresql.auto.conf) in state_dir/conf, because clone and rewind bring the source's. To be
 * called after each successful start. Files outside the data directory are left alone. Blocks. */
enum rc pg_conf_save(const struct pg_site *site, struct err *err);
/* Puts them back, where there are any. Blocks. */
enum rc pg_conf_restore(const struct pg_site *site, struct err *err);
/* pg_conf_save() off the loop; changed is 0. */
enum rc pg_conf_save_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                           pg_conf_fn *on_done, void *arg, struct job **ret, struct err *err);

/* ---- primary_conninfo ---- */

struct pg_upstream {
    const char *host;  /* name or address; may be a comma list */
    const char *port;  /* NULL: 5432 */
    const char *user;
    const char *application_name; /* this member's name */
    const char *passfile;         /* NULL: none */
    const char *database;         /* NULL: none (PostgreSQL 17 and later want one for slot sync) */
    const char *target_session_attrs;   /* NULL: none */
    /* sslmode, sslcert, gssencmode, channel_binding ... override defaults */
    const struct pg_text_pair *options;
    size_t options_count;
};

/* The conninfo (not yet quoted for the file): defaults sslmode, gssencmode, channel_binding
 * prefer. */
enum rc pg_conf_build_conninfo(const struct pg_upstream *upstream, struct buf *out,
                               struct err *err);

/* ---- The postmaster's command line ---- */

enum { PG_ARGV_MAX = 24 };

struct pg_argv {
    char *argv[PG_ARGV_MAX + 1]; /* ends with NULL; argv[0] is the path of postgres */
    int argc;
};

/* postgres -D data_dir --config_file=... --listen_addresses=... and table 1, sorted as in the
 * contract; of settings only those of table 1 count, the rest is ignored. Done with
 * pg_argv_done(). */
enum rc pg_conf_build_argv(const struct pg_site *site, const struct pg_text_pair *settings,
                           size_t count, struct pg_argv *ret, struct err *err);
void pg_argv_done(struct pg_argv *argv);
/* Names ("PREFIX_*" too, ends with NULL) that the postmaster's environment must not have. */
const char *const *pg_conf_env_unset(void);

#endif
