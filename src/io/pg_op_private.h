/* The frame of a long operation: one child or job at a time, then the next step. Private to
 * pg_op*.c. */
#ifndef PGHEIR_SRC_IO_PG_OP_PRIVATE_H
#define PGHEIR_SRC_IO_PG_OP_PRIVATE_H

#include "pgheir/base/buf.h"
#include "pgheir/io/pg_ops.h"

enum { PG_OP_CONNINFO_MAX = 4096, PG_OP_ARGS_MAX = 48, PG_OP_GRACE_MS = 5000 };

struct loop_timer;

struct pg_op {
    struct loop *loop;
    enum pg_op_kind kind;
    struct pg_op_hooks hooks;
    struct pg_op_result result;
    struct pg_site site;
    int64_t started_at_ms, deadline_ms;
    struct child *child; /* what is under way; both NULL between two steps */
    struct job *job;
    bool is_cancelled, is_closing;
    bool is_done; /* inside on_done */
    struct err err;    /* of the step that ended */
    struct buf answer; /* of the job that ended */
    int state;         /* of the kind's own machine */
    void *data;        /* of the kind; freed with mem_free() behind data_done() */
    void (*data_done)(struct pg_op *op);
    /* Called when a step ended: begins the next one, or calls pg_op_finish(). */
    void (*advance)(struct pg_op *op, enum rc rc);
    /* A line of the running child; NULL: it goes to on_progress. */
    void (*on_line)(struct pg_op *op, const char *line);
    void (*on_cancel)(struct pg_op *op); /* where neither child nor job runs; or NULL */
};

/* data is zeroed memory of data_size bytes. */
struct pg_op *pg_op_new(struct loop *loop, enum pg_op_kind kind, const struct pg_site *site,
                        const struct pg_op_hooks *hooks, int64_t deadline_ms, size_t data_size);
/* Runs work(op) in a fork; advance() comes with its rc, op->err, op->answer. */
enum rc pg_op_job(struct pg_op *op, const char *name,
                  enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                  struct err *err);
/* The same for what tidies up: not cancelled, and with a few seconds of its own where the deadline
 * is over. */
enum rc pg_op_job_closing(struct pg_op *op, const char *name,
                          enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                          struct err *err);
/* Runs a program with messages in English; advance() comes with RC_OK for exit status 0. */
enum rc pg_op_child(struct pg_op *op, const char *name, const char *const *argv,
                    const char *const *env_set, struct err *err);
/* For a machine's own steps: ends the operation if its beginning failed. */
void pg_op_continue(struct pg_op *op, enum rc rc);
/* on_done with rc and op->err, then frees op. */
void pg_op_finish(struct pg_op *op, enum rc rc);
void pg_op_progress(struct pg_op *op, const char *text);

/* Copies a source into data that outlives the caller's. Done with pg_op_source_done(). */
struct pg_op_source {
    char *conninfo;    /* without any secret */
    char *pgpass;      /* content of the password file, or NULL */
    char *service;     /* content of the service file, or NULL: sslpassword has no other way */
};
/* replication: no dbname. attrs: target_session_attrs or NULL. */
enum rc pg_op_source_init(const struct pg_site *site, const struct pg_source *source,
                          const char *database, const char *attrs, struct pg_op_source *ret,
                          struct err *err);
void pg_op_source_done(struct pg_op_source *source);
/* Writes the files with the secrets; removes them. In a job. */
enum rc pg_op_source_write(const struct pg_site *site, const struct pg_op_source *source,
                           struct err *err);
enum rc pg_op_source_remove(const struct pg_site *site, struct err *err);
/* "PGSERVICEFILE=..." for the environment. */
enum rc pg_op_source_env(const struct pg_site *site, char *ret, size_t size, struct err *err);

/* ---- an argument vector that owns its strings ---- */

struct pg_op_args {
    char *argv[PG_OP_ARGS_MAX + 1];
    int count;
};
enum rc pg_op_args_add(struct pg_op_args *args, struct err *err, const char *fmt, ...)
    PGH_PRINTF(3, 4);
/* --name or --name=value for each. */
enum rc pg_op_args_options(struct pg_op_args *args, enum pg_tool tool,
                           const struct pg_option *options, size_t count, struct err *err);
void pg_op_args_done(struct pg_op_args *args);

/* ---- work on directories, blocking ---- */

/* See pg_op_empty_data(). waldir: the one of pg_basebackup's option, or NULL. */
enum rc pg_data_check_empty(const struct pg_site *site, uint64_t system_identifier,
                            struct err *err);
enum rc pg_data_empty(const struct pg_site *site, const char *waldir, struct err *err);

struct pg_data_kept {
    char dir[PG_PATH_SIZE];
    uint64_t kept_bytes, lost_bytes;
    bool is_cut;
};
enum rc pg_data_keep_wal(const struct pg_site *site, uint64_t from_lsn, uint32_t timeline,
                         uint64_t keep_bytes_max, struct pg_data_kept *ret, struct err *err);

#endif
