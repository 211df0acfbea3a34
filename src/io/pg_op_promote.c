#include "pg_op_private.h"

#include "pg_conn_private.h"
#include "pg_file.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/pg_conf.h"

#include <signal.h>
#include <string.h>

/* SIGNAL (job) --> ASK <--2 ms--> PAUSE --> done. pg_promote() of the server would sleep in
 * steps of 100 ms. */
enum promote_state { PROMOTE_SIGNAL, PROMOTE_ASK, PROMOTE_PAUSE };

enum { PAUSE_MS = 2, QUESTION_MAX_MS = 2000 };

/* Belongs to the question under way on a connection that is not ours: it outlives the operation if
 * that is freed meanwhile, and then knows nobody. */
struct question {
    struct pg_op *op;
};

struct promote {
    struct pg_conn *conn;
    int64_t pid;
    struct loop_timer *timer;
    struct question *question;
};

static void promote_done(struct pg_op *op)
{
    struct promote *promote = op->data;
    loop_timer_free(promote->timer);
    if (promote->question != NULL)
        promote->question->op = NULL;
}

static enum rc signal_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct promote *promote = op->data;
    struct pg_pidfile pidfile;
    struct pg_process process;
    bool is_alive = false;
    char path[PG_PATH_SIZE];
    (void)answer;
    enum rc rc = pg_process_find(&op->site, &pidfile, &is_alive, &process, err);
    if (rc != RC_OK)
        return rc;
    if (!is_alive || process.pid != promote->pid)
        return err_set(err, RC_REFUSED, "promote: process %lld is not the PostgreSQL of %s",
                       (long long)promote->pid, op->site.data_dir);
    if (!pg_file_in_data(&op->site, "standby.signal"))
        return err_set(err, RC_REFUSED, "promote: %s is no standby", op->site.data_dir);
    rc = pg_site_path(op->site.data_dir, "promote", path, err);
    if (rc == RC_OK)
        rc = pg_conf_write_file(path, "", 0, 0600, err);
    if (rc != RC_OK)
        return rc;
    rc = pg_process_signal(&process, SIGUSR1, err);
    if (rc != RC_OK)
        (void)pg_file_remove(path, NULL); /* a later start must not promote by itself */
    return rc;
}

static void ask(struct pg_op *op);

static void on_timer(void *arg)
{
    ask(arg);
}

static void pause_begin(struct pg_op *op)
{
    struct promote *promote = op->data;
    op->state = PROMOTE_PAUSE;
    loop_timer_arm(promote->timer, clock_boot_ms() + PAUSE_MS);
}

static void on_answer(struct pg_answer *answer, void *arg)
{
    struct question *question = arg;
    struct pg_op *op = question->op;
    if (op == NULL)
        return;
    struct promote *promote = op->data;
    promote->question = NULL;
    bool is_read = answer->rc == RC_OK && answer->results_count == 1 &&
                   PQntuples(answer->results[0]) == 1;
    op->err = answer->err;
    if (is_read && PQgetvalue(answer->results[0], 0, 0)[0] == 'f')
        pg_op_finish(op, RC_OK);
    else if (!is_read)
        pg_op_finish(op, answer->rc != RC_OK ? answer->rc : RC_PROTOCOL);
    else if (op->is_cancelled)
        pg_op_finish(op, RC_CANCELLED);
    else
        pause_begin(op);
}

static void ask(struct pg_op *op)
{
    struct promote *promote = op->data;
    int64_t now_ms = clock_boot_ms();
    if (now_ms >= op->deadline_ms) {
        pg_op_finish(op, err_set(&op->err, RC_TIMEOUT, "promote: still in recovery after %lld ms",
                                 (long long)(now_ms - op->started_at_ms)));
        return;
    }
    int64_t deadline_ms = now_ms + QUESTION_MAX_MS;
    struct question *question = mem_new(1, sizeof *question);
    question->op = op;
    enum rc rc = pg_conn_query(promote->conn, "SELECT pg_catalog.pg_is_in_recovery()", 0, NULL, 0,
                               deadline_ms < op->deadline_ms ? deadline_ms : op->deadline_ms,
                               on_answer, question, &op->err);
    if (rc == RC_BUSY) {
        /* Somebody else asks over the same session: it is free again in a moment. */
        mem_free(question);
        pause_begin(op);
        return;
    }
    if (rc != RC_OK) {
        mem_free(question);
        pg_op_finish(op, rc);
        return;
    }
    pg_conn_give(promote->conn, question);
    promote->question = question;
    op->state = PROMOTE_ASK;
}

static void promote_advance(struct pg_op *op, enum rc rc)
{
    pgh_assert(op->state == PROMOTE_SIGNAL);
    if (rc != RC_OK || op->is_cancelled)
        pg_op_finish(op, rc != RC_OK ? rc : RC_CANCELLED);
    else
        ask(op);
}

static void promote_cancel(struct pg_op *op)
{
    struct promote *promote = op->data;
    /* Behind a question the answer ends it; in a pause the timer does, in the next turn. */
    if (op->state == PROMOTE_PAUSE) {
        op->deadline_ms = clock_boot_ms();
        loop_timer_arm(promote->timer, op->deadline_ms);
    }
}

enum rc pg_op_promote(struct loop *loop, const struct pg_promote *spec,
                      const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    if (!pg_conn_is_open(spec->conn))
        return err_set(err, RC_UNREACHABLE, "promote: the session that is to watch is not open");
    struct pg_op *op = pg_op_new(loop, PG_OP_PROMOTE, spec->site, hooks, spec->deadline_ms,
                                 sizeof(struct promote));
    struct promote *promote = op->data;
    promote->conn = spec->conn;
    promote->pid = spec->pid;
    promote->timer = loop_timer_new(loop, on_timer, op);
    op->data_done = promote_done;
    op->advance = promote_advance;
    op->on_cancel = promote_cancel;
    op->state = PROMOTE_SIGNAL;
    enum rc rc = pg_op_job(op, "promote", signal_work, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    *ret = op;
    return RC_OK;
}
