/* Operations on the local PostgreSQL: each op_kind is a row of steps. A step begins one
 * asynchronous thing and ends in exactly one of ops_next(), ops_fail(), ops_end(). One operation
 * at a time, one completion each. */
#ifndef PGHEIR_AGENT_OPS_H
#define PGHEIR_AGENT_OPS_H

#include "agent.h"

#include "pgheir/codec/policy_json.h"

typedef void ops_step_fn(struct ops *ops);
/* How a program of the user ended; err NULL: exit status 0. */
typedef void ops_script_fn(struct ops *ops, const struct err *err);

enum { OPS_ARGUMENTS_MAX = 64, OPS_OPTIONS_MAX = 64 };

struct ops {
    struct agent *agent;
    enum op_kind kind; /* OP_NONE: nothing runs */
    struct action request;
    ops_step_fn *const *steps; /* ends with NULL */
    int step;
    bool is_cancelled;
    bool is_forced;  /* STOP: it took more than asking */
    bool is_undoing; /* BOOTSTRAP: failed, and being cleaned up */
    bool is_ending;  /* the last look is under way */
    enum op_result result;
    int64_t began_at_ms;
    int64_t deadline_ms;

    /* Whatever is under way; NULL if not. */
    struct resolver_lookup *lookup;
    struct pg_op *pg_op;
    struct job *job;
    struct child *child;
    struct pg_conn *conn;
    struct loop_timer *timer;
    loop_call_fn *on_timer;
    loop_call_fn *on_exit; /* a step waits for the end of the postmaster */
    const char *script_name;
    ops_script_fn *on_script;

    /* What steps leave for later ones. */
    struct member source;
    char address[RESOLVER_ADDRESS_SIZE];
    bool is_standby;  /* START, RESTART: how the server is started */
    bool is_private;  /* BOOTSTRAP: reachable through private_dir only */
    char private_dir[PG_PATH_SIZE];
    struct err err;   /* a failure whose consequences are awaited */
    int stop_stage;
    int tries;
    size_t method; /* CLONE: idx in create_replica_methods */
    uint64_t source_bytes; /* CLONE: size of the source's databases; 0 unknown */
};

/* Arguments of a program of the user. */
struct ops_arguments {
    struct buf text;
    size_t offsets[OPS_ARGUMENTS_MAX];
    int count;
    bool is_broken; /* something did not fit */
};

/* The next step begins now. A cancelled operation ends instead. */
void ops_next(struct ops *ops);
/* Logs and ends; rc tells timed out, cancelled or failed. */
void ops_fail(struct ops *ops, const struct err *err);
/* Looks at the server once more, tells the core, then completes. */
void ops_end(struct ops *ops, enum op_result result);
/* Calls fn at this moment unless the operation ends before. */
void ops_wait(struct ops *ops, int64_t at_ms, loop_call_fn *fn);
/* For struct pg_op_hooks: ends the step by result->rc. */
void ops_on_pg_op(const struct pg_op_result *result, void *arg);
struct pg_op_hooks ops_hooks(struct ops *ops);
/* For struct job_spec.on_done. */
void ops_on_job(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg);
/* Looks the host of ops->source up. */
void ops_step_address(struct ops *ops);

/* ---- ops_script.c ---- */

void ops_arguments_init(struct ops_arguments *arguments);
void ops_arguments_done(struct ops_arguments *arguments);
/* --name=value, or just value if name is NULL. */
void ops_arguments_add(struct ops_arguments *arguments, const char *name, const char *value);
/* own: keys that are not passed on; ends with NULL. */
void ops_arguments_add_section(struct ops_arguments *arguments, const json_t *section,
                               const char *const *own);
/* Runs command with arguments (may be NULL); done is called once. name must be constant. */
void ops_script(struct ops *ops, const char *name, const char *command,
                const struct ops_arguments *arguments, int64_t deadline_ms, ops_script_fn *done);
/* Its end is the step's: a failure fails the operation, or is only logged. */
void ops_script_then_next(struct ops *ops, const struct err *err);
void ops_script_or_not(struct ops *ops, const struct err *err);
/* A job whose end is the step's. */
void ops_job(struct ops *ops, const char *name,
             enum rc (*work)(void *arg, struct buf *answer, struct err *err), void *work_arg,
             int64_t deadline_ms);
/* Options of a tool as the door wants them; ret has room for OPS_OPTIONS_MAX. */
size_t ops_options(const struct pg_text_pair *pairs, size_t count, struct pg_option *ret);

/* Rows of steps. */
extern ops_step_fn *const ops_steps_start[];     /* ops_run.c */
extern ops_step_fn *const ops_steps_stop[];
extern ops_step_fn *const ops_steps_restart[];
extern ops_step_fn *const ops_steps_promote[];
extern ops_step_fn *const ops_steps_follow[];
extern ops_step_fn *const ops_steps_checkpoint[];
extern ops_step_fn *const ops_steps_bootstrap[]; /* ops_bootstrap.c */
extern ops_step_fn *const ops_steps_clone[];     /* ops_clone.c */
extern ops_step_fn *const ops_steps_rewind[];

/* Steps of ops_run.c that others use, too. */
void ops_step_orphans(struct ops *ops);
void ops_step_start(struct ops *ops);
void ops_step_wait_start(struct ops *ops);
void ops_step_stop(struct ops *ops);

/* BOOTSTRAP: what is left to do after a failure; ends in ops_end(). */
void ops_bootstrap_undo(struct ops *ops);

#endif
