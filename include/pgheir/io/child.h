/* Child processes on the loop: a program, or one of our own functions that may block on a disk.
 * For: initdb, pg_basebackup, pg_rewind, pg_controldata, scripts; file work that must not hold
 * the loop.
 * Not for: the postmaster (the supervisor starts it).
 * Each child has a process group of its own, which is killed as a whole when the child ends, at the
 * deadline, on cancel, and when this process dies in whatever way. It begins with default signal
 * handlers, an empty mask, ordinary scheduling, no lowered oom_score_adj, and no descriptor but 0,
 * 1 and 2. Each child_start() that returned RC_OK ends in exactly one on_done. */
#ifndef PGHEIR_IO_CHILD_H
#define PGHEIR_IO_CHILD_H

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include <sys/types.h>

struct child;
struct loop;

enum child_stream { CHILD_STDOUT = 1, CHILD_STDERR = 2 };

enum child_outcome {
    CHILD_EXITED,    /* exit_status tells how */
    CHILD_SIGNALED,  /* by somebody else: exit_signal */
    CHILD_TIMED_OUT, /* we ended its group at the deadline */
    CHILD_CANCELLED, /* we ended its group on request */
    CHILD_OUTCOME_COUNT
};

struct child_result {
    enum child_outcome outcome;
    int exit_status; /* 127 with a line on stderr: exec failed */
    int exit_signal;
    int64_t took_ms;
    bool is_output_cut;     /* more than output_ceiling came; the rest was read and dropped */
    const struct buf *out;  /* stdout, if keep_stdout was set; valid during on_done only */
    const char *last_line;  /* last line on stderr, "" if none: the reason, mostly */
};

/* All strings are copied by child_start(); on_line and on_done are called from the loop, never from
 * child_start() itself. */
struct child_spec {
    const char *name;              /* for the log and the errors; never a secret */
    /* ends with NULL; argv[0] is looked up in PATH if it holds no slash */
    const char *const *argv;
    const char *const *env_set;    /* "NAME=value", ends with NULL; or NULL */
    /* "NAME" or "PREFIX_*", ends with NULL; or NULL. Unset comes before set */
    const char *const *env_unset;
    const char *dir;               /* working directory; NULL: ours */
    const void *stdin_bytes;       /* NULL: /dev/null. At most 64 KiB */
    size_t stdin_length;
    int64_t deadline_ms;           /* CLOCK_BOOTTIME; required */
    /* from SIGTERM to SIGKILL at the deadline or a cancel; 0: SIGKILL at once */
    int64_t term_grace_ms;
    bool keep_stdout;              /* collect stdout as bytes instead of lines */
    size_t output_ceiling;         /* bytes of stdout kept or lines passed on; 0: 1 MiB */
    bool is_low_priority;          /* nice and idle I/O: for copies that may take their time */
    /* Instead of argv: runs in a fork of this process and returns its exit status. It may block,
     * must not touch the loop, and writes with plain write(2) on 1 and 2. */
    int (*function)(void *function_arg);
    void *function_arg;
    /* or NULL. Without line end */
    void (*on_line)(enum child_stream stream, const char *line, void *arg);
    void (*on_done)(const struct child_result *result, void *arg);
    void *arg;
};

/* Starts it. Errors: RC_SYSTEM, RC_LIMIT (stdin too long); then there is no on_done. A program that
 * is missing shows as exit status 127: the disk is not touched here.
 * Owner: the child frees itself after on_done returned; the pointer is dead from then on. A
 * child whose output pipes are held open by a grandchild is done 500 ms after its exit at the
 * latest, and its group is killed then: nothing of it survives on_done. */
enum rc child_start(struct loop *loop, const struct child_spec *spec, struct child **ret,
                    struct err *err);

/* Asks for its end: SIGTERM to the group, SIGKILL after the grace. on_done comes later, with
 * CHILD_CANCELLED (or what happened first). May be called in any state, again and again. */
void child_cancel(struct child *child);

/* The same at once and without on_done: SIGKILL to the group, reaped, freed. Accepts NULL. */
void child_free(struct child *child);

/* The leader of its group: a watcher of ours that ends with the program and takes the group along
 * when this process dies. */
pid_t child_pid(const struct child *child);
/* Moves the deadline, unless its end has begun. */
void child_extend(struct child *child, int64_t deadline_ms);

/* RC_OK for exit status 0; else err is one sentence that holds last_line: RC_NOT_FOUND (127),
 * RC_REFUSED (any other status), RC_SYSTEM (signal), RC_TIMEOUT, RC_CANCELLED. */
enum rc child_result_check(const char *name, const struct child_result *result, struct err *err);

/* ---- Our own functions off the loop ---- */

struct job;

enum { JOB_ANSWER_MAX = 1024 * 1024 };

/* The work, in a fork: may block; fills answer (bytes for on_done) or err. No secrets in either. */
/* Units: deadline_ms CLOCK_BOOTTIME. At the deadline the fork gets SIGKILL and rc is RC_TIMEOUT:
 * what it was doing is in an unknown state, so the work must be safe to break off at any
 * instruction. */
struct job_spec {
    const char *name;
    enum rc (*work)(void *work_arg, struct buf *answer, struct err *err);
    void *work_arg; /* must stay valid until job_start() returned: the fork has its own copy */
    int64_t deadline_ms;
    bool is_low_priority;
    void (*on_progress)(const char *text, void *arg); /* or NULL */
    void (*on_done)(enum rc rc, const struct err *err, const void *answer, size_t length,
                    void *arg);
    void *arg;
    void *memory; /* from mem_new(), or NULL: freed behind on_done or by job_free(); not if
                   * job_start() fails */
};

/* Errors: RC_SYSTEM; then there is no on_done. Owner: the job frees itself behind on_done. */
enum rc job_start(struct loop *loop, const struct job_spec *spec, struct job **ret,
                  struct err *err);
/* on_done comes with RC_CANCELLED, or what happened first. */
void job_cancel(struct job *job);
/* At once and without on_done. Accepts NULL. */
void job_free(struct job *job);
/* Moves the deadline, unless its end has begun. */
void job_extend(struct job *job, int64_t deadline_ms);
/* Called by the work, in the fork: text for on_progress. */
void job_report(const char *fmt, ...) PGH_PRINTF(1, 2);

#endif
