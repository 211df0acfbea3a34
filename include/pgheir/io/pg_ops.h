/* Long operations on the local PostgreSQL: asynchronous objects with progress, cancel and
 * exactly one on_done.
 * For: the agent, one at a time per data directory (the agent's rule; markers guard what a crash
 * interrupts).
 * Not for: deciding that something be done. What is destructive checks its precondition again
 * right before. A pg_op_x() that returned RC_OK ends in one on_done from the loop and frees
 * itself after it. All inputs are copied. deadline_ms is CLOCK_BOOTTIME. */
#ifndef PGHEIR_IO_PG_OPS_H
#define PGHEIR_IO_PG_OPS_H

#include "pgheir/io/child.h"
#include "pgheir/io/pg_conn.h"
#include "pgheir/io/pg_control.h"
#include "pgheir/io/pg_site.h"

struct pg_op;

/* code, name */
#define PG_OP_TABLE(X)                                                                             \
    X(PG_OP_INITDB, "initdb")                                                                      \
    X(PG_OP_BASEBACKUP, "pg_basebackup")                                                           \
    X(PG_OP_RECOVER, "crash recovery")                                                             \
    X(PG_OP_REWIND, "pg_rewind")                                                                   \
    X(PG_OP_KEEP_WAL, "keep lost WAL")                                                             \
    X(PG_OP_EMPTY_DATA, "empty data directory")                                                    \
    X(PG_OP_SET_ASIDE, "set data directory aside")                                                 \
    X(PG_OP_WAIT_START, "wait for start")                                                          \
    X(PG_OP_WAIT_STOP, "wait for stop")                                                            \
    X(PG_OP_PROMOTE, "promote")

enum pg_op_kind {
#define X(code, text) code,
    PG_OP_TABLE(X)
#undef X
    PG_OP_KIND_COUNT
};

struct pg_op_result {
    enum pg_op_kind kind;
    /* RC_OK, RC_TIMEOUT, RC_CANCELLED, RC_REFUSED (a precondition, nothing was changed), ... */
    enum rc rc;
    struct err err;
    int64_t took_ms;
    /* Per kind, else 0: */
    /* REWIND, BASEBACKUP: data_dir is not what it was (marker still set if it failed) */
    bool is_data_changed;
    bool is_needed;           /* REWIND: false if pg_rewind found that no rewind was required */
    uint64_t fork_lsn;        /* REWIND: where it says that the servers diverged */
    uint32_t fork_timeline;   /* REWIND */
    /* KEEP_WAL, REWIND: where the lost WAL is; "" if none was lost or kept */
    char kept_dir[PG_PATH_SIZE];
    uint64_t kept_bytes, lost_bytes; /* bytes of WAL kept; bytes after the fork point */
    bool is_kept_cut;         /* the bound was met: the newest segments were not kept */
    enum pg_pidfile_status status; /* WAIT_START: READY or STANDBY */
    struct pg_control_data control; /* WAIT_STOP */
    struct pg_wal_end wal_end;      /* WAIT_STOP: end_lsn 0 if it could not be told */
};

struct pg_op_hooks {
    void (*on_progress)(const char *text, void *arg); /* or NULL; at most a few lines per second */
    void (*on_done)(const struct pg_op_result *result, void *arg);
    void *arg;
};

/* Its name for people. */
const char *pg_op_kind_text(enum pg_op_kind kind);
/* What this one is. */
enum pg_op_kind pg_op_kind(const struct pg_op *op);
/* Asks for its end; on_done follows with RC_CANCELLED or what happened first. Repeatable. */
void pg_op_cancel(struct pg_op *op);
/* Ends it at once without on_done (children killed and reaped). Accepts NULL. */
void pg_op_free(struct pg_op *op);
/* Moves the deadline, for instance while recovery shows progress (PG-05). */
void pg_op_extend(struct pg_op *op, int64_t deadline_ms);

/* Options from the configuration: --name or --name=value (value NULL: no value). */
struct pg_option {
    const char *name, *value;
};
/* RC_INVALID names an option that the configuration must not give to this tool
 * (contract/config.md 4, 5). */
enum rc pg_option_check(enum pg_tool tool, const struct pg_option *options, size_t count,
                        struct err *err);

/* A server to read from. The password goes through a private password file, never argv or
 * environment. */
struct pg_source {
    const char *host;     /* name or address */
    /* numeric address, so that the tool need not resolve; NULL: it resolves itself */
    const char *address;
    int port;
    const char *user, *password; /* password NULL: none */
    const char *database;        /* rewind: NULL is postgres */
    const struct pg_text_pair *options; /* sslmode, ... */
    size_t options_count;
    const char *krbsrvname;
};

/* ---- initdb. data_dir must be missing or empty; the password goes through a 0600 file that is
 * removed. ---- */
struct pg_initdb {
    const struct pg_site *site;
    const char *superuser, *password; /* password NULL or "": none */
    const struct pg_option *options;
    size_t options_count;
    int64_t deadline_ms;
};
enum rc pg_op_initdb(struct loop *loop, const struct pg_initdb *spec,
                     const struct pg_op_hooks *hooks,
                     struct pg_op **ret, struct err *err);

/* ---- pg_basebackup -X stream into data_dir. Sets PG_MARKER_CLONE, empties what the clone will
 * write under the rules of pg_op_empty_data(), runs the tool, compares the system identifier,
 * puts the kept configuration files back, clears the marker. ---- */
struct pg_basebackup {
    const struct pg_site *site;
    struct pg_source source;
    uint64_t system_identifier; /* the cluster's; 0: any (no data may be emptied then) */
    const char *slot;           /* NULL: the tool's temporary slot */
    const struct pg_option *options;
    size_t options_count;
    int64_t deadline_ms;
};
enum rc pg_op_basebackup(struct loop *loop, const struct pg_basebackup *spec,
                         const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err);

/* ---- Single-user crash recovery: postgres --single, stdin closed. RC_REFUSED if the server
 * runs, if it was stopped in order, or if there is a backup_label. Removes standby.signal and
 * recovery.signal first. ---- */
struct pg_recover {
    const struct pg_site *site;
    int64_t deadline_ms;
};
enum rc pg_op_recover(struct loop *loop, const struct pg_recover *spec,
                      const struct pg_op_hooks *hooks,
                      struct pg_op **ret, struct err *err);

/* ---- pg_rewind: checks (not running, our system identifier, hint bits or checksums), crash
 * recovery if needed, lost WAL kept, own configuration kept, PG_MARKER_REWIND set, pg_rewind,
 * configuration back, marker cleared. If it fails before the target was touched the marker is
 * cleared too. ---- */
struct pg_rewind {
    const struct pg_site *site;
    struct pg_source source;
    uint64_t system_identifier; /* the cluster's; required */
    /* where this node left the leader's history; 0: no WAL is kept aside */
    uint64_t fork_lsn;
    uint32_t fork_timeline;     /* the timeline that this node wrote after it */
    uint64_t keep_bytes_max;    /* bound for the kept WAL; 0: 1 GiB */
    /* by which WAL that is still unarchived is archived first; NULL or "": it is not */
    const char *archive_command;
    bool has_restore_command;   /* --restore-target-wal, as far as the version can */
    int major_version;          /* of the programs: 15 */
    const struct pg_option *options;
    size_t options_count;
    int64_t deadline_ms;
};
enum rc pg_op_rewind(struct loop *loop, const struct pg_rewind *spec,
                     const struct pg_op_hooks *hooks,
                     struct pg_op **ret, struct err *err);

/* ---- Copies WAL of `timeline` from the segment of from_lsn on into state_dir/lost/<UTC time>/,
 * oldest first, up to keep_bytes_max, with a file `about` that says what it is. ---- */
struct pg_keep_wal {
    const struct pg_site *site;
    uint64_t from_lsn;
    uint32_t timeline;
    uint64_t keep_bytes_max;
    int64_t deadline_ms;
};
enum rc pg_op_keep_wal(struct loop *loop, const struct pg_keep_wal *spec,
                       const struct pg_op_hooks *hooks,
                       struct pg_op **ret, struct err *err);

/* ---- Removes the contents of data_dir, not the directory itself (it may be a mount point), and
 * what belongs to it behind the links of pg_wal and pg_tblspc (only WAL files, only this
 * version's tablespace directory). No other link is followed and no filesystem border crossed
 * but those. RC_REFUSED: the server runs; the directory is neither empty nor PostgreSQL nor a
 * half clone of ours; its system identifier is not system_identifier. ---- */
struct pg_empty_data {
    const struct pg_site *site;
    /* 0: only a missing, empty or half cloned directory may be emptied */
    uint64_t system_identifier;
    int64_t deadline_ms;
};
enum rc pg_op_empty_data(struct loop *loop, const struct pg_empty_data *spec,
                         const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err);

/* ---- Renames data_dir to data_dir.<suffix> ("failed", "aside"). RC_EXISTS if that is there
 * already (kept once), RC_REFUSED if data_dir is a mount point or the server runs. ---- */
struct pg_set_aside {
    const struct pg_site *site;
    const char *suffix;
    int64_t deadline_ms;
};
enum rc pg_op_set_aside(struct loop *loop, const struct pg_set_aside *spec,
                        const struct pg_op_hooks *hooks,
                        struct pg_op **ret, struct err *err);

/* ---- Waits until postmaster.pid of process `pid` says ready or standby, looked at every 2 ms
 * off the loop. RC_NOT_FOUND: the process ended before. progress: "starting", ... ---- */
struct pg_wait_start {
    const struct pg_site *site;
    int64_t pid; /* as the supervisor said */
    int64_t deadline_ms;
};
enum rc pg_op_wait_start(struct loop *loop, const struct pg_wait_start *spec,
                         const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err);

/* ---- Waits until pg_control says "shut down" (or "... in recovery"), looked at every 2 ms off
 * the loop: the moment from which replicas can have everything. Does not wait for the process to
 * end. result->control and ->wal_end tell the last record. RC_NOT_FOUND: the process ended
 * without that. ---- */
struct pg_wait_stop {
    const struct pg_site *site;
    int64_t pid; /* 0: none to watch */
    int64_t deadline_ms;
};
enum rc pg_op_wait_stop(struct loop *loop, const struct pg_wait_stop *spec,
                        const struct pg_op_hooks *hooks,
                        struct pg_op **ret, struct err *err);

/* ---- Promotes a standby: signal file, SIGUSR1 to that very postmaster, then
 * pg_is_in_recovery() over the held session every 2 ms until false. After RC_TIMEOUT,
 * RC_CANCELLED or a lost connection the promotion may still happen: the caller must find out or
 * stop the server (PD-09). conn must be open and outlive the op; others may use it meanwhile.
 * ---- */
struct pg_promote {
    const struct pg_site *site;
    struct pg_conn *conn;
    int64_t pid;
    int64_t deadline_ms;
};
enum rc pg_op_promote(struct loop *loop, const struct pg_promote *spec,
                      const struct pg_op_hooks *hooks,
                      struct pg_op **ret, struct err *err);

#endif
