#include "pg_op_private.h"

#include "pg_file.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

#include <poll.h>
#include <string.h>

/* Both waits look again and again inside one job: the disk may hold them, never the loop. */

enum {
    PACE_MS = 2,
    PACE_LATER_MS = 20,   /* once it is clear that this takes its time */
    PACE_FAST_FOR_MS = 10000,
    PIDFILE_MAX = 8192
};

struct wait {
    int64_t pid;
};

static void pace(int64_t began_at_ms)
{
    bool is_fast = clock_boot_ms() - began_at_ms < PACE_FAST_FOR_MS;
    (void)poll(NULL, 0, is_fast ? PACE_MS : PACE_LATER_MS);
}

/* Remembers the process at the first look, so that a recycled pid is not taken for it later. */
static bool process_lives(struct pg_process *process, int64_t pid)
{
    if (process->pid == 0) {
        process->pid = pid;
        process->start_ticks = pg_process_start_ticks(pid);
    }
    return process->start_ticks != 0 && pg_process_is_alive(process);
}

/* ---- start ---- */

static bool pidfile_read(const struct pg_site *site, struct buf *text, struct pg_pidfile *ret)
{
    char path[PG_PATH_SIZE];
    return pg_site_path(site->data_dir, "postmaster.pid", path, NULL) == RC_OK &&
           pg_file_read(path, text, NULL) == RC_OK &&
           pg_pidfile_parse(buf_text(text), text->length, ret, NULL) == RC_OK;
}

static enum rc start_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct wait *wait = op->data;
    enum pg_pidfile_status last = PG_PIDFILE_STATUS_COUNT;
    struct pg_process process = {0};
    struct pg_pidfile pidfile;
    struct buf text;
    int64_t began_at_ms = clock_boot_ms();
    buf_init(&text, PIDFILE_MAX);
    for (;;) {
        bool is_alive = process_lives(&process, wait->pid);
        /* A file of another pid is what an earlier server left. */
        if (pidfile_read(&op->site, &text, &pidfile) && pidfile.pid == wait->pid &&
            pidfile.status != last) {
            last = pidfile.status;
            job_report("%s", pg_pidfile_status_text(last));
            if (last == PG_PIDFILE_STATUS_READY || last == PG_PIDFILE_STATUS_STANDBY)
                break;
        }
        if (!is_alive) {
            buf_done(&text);
            return err_set(err, RC_NOT_FOUND, "PostgreSQL (process %lld) ended while it started:"
                           " see its log", (long long)wait->pid);
        }
        pace(began_at_ms);
    }
    buf_done(&text);
    return buf_append(answer, &last, sizeof last);
}

static void wait_advance(struct pg_op *op, enum rc rc)
{
    struct pg_op_result *result = &op->result;
    const char *bytes = buf_text(&op->answer);
    if (rc == RC_OK && op->kind == PG_OP_WAIT_START) {
        pgh_assert(op->answer.length == sizeof result->status);
        memcpy(&result->status, bytes, sizeof result->status);
    } else if (rc == RC_OK) {
        pgh_assert(op->answer.length == sizeof result->control + sizeof result->wal_end);
        memcpy(&result->control, bytes, sizeof result->control);
        memcpy(&result->wal_end, bytes + sizeof result->control, sizeof result->wal_end);
    }
    pg_op_finish(op, rc);
}

/* ---- stop ---- */

static enum rc stop_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct wait *wait = op->data;
    struct pg_process process = {0};
    struct pg_control_data control;
    struct pg_wal_end end = {0};
    int64_t began_at_ms = clock_boot_ms();
    for (;;) {
        /* Asked before the file is read: a process that is gone has written its last by then. */
        bool is_alive = wait->pid == 0 || process_lives(&process, wait->pid);
        enum rc rc = pg_control_read(&op->site, &control, err);
        if (rc != RC_OK)
            return rc;
        if (pg_control_data_is_clean(&control))
            break;
        if (!is_alive)
            return err_set(err, RC_NOT_FOUND, "PostgreSQL (process %lld) ended while pg_control"
                           " says \"%s\"", (long long)wait->pid,
                           pg_control_state_text(control.state));
        pace(began_at_ms);
    }
    if (pg_wal_end_read(&op->site, &control, &end, err) != RC_OK)
        end = (struct pg_wal_end){0};
    enum rc rc = buf_append(answer, &control, sizeof control);
    return rc != RC_OK ? rc : buf_append(answer, &end, sizeof end);
}

static enum rc wait_start(struct loop *loop, enum pg_op_kind kind, const struct pg_site *site,
                          int64_t pid, int64_t deadline_ms, const struct pg_op_hooks *hooks,
                          struct pg_op **ret, struct err *err)
{
    struct pg_op *op = pg_op_new(loop, kind, site, hooks, deadline_ms, sizeof(struct wait));
    struct wait *wait = op->data;
    wait->pid = pid;
    op->advance = wait_advance;
    enum rc rc = pg_op_job(op, pg_op_kind_text(kind),
                           kind == PG_OP_WAIT_START ? start_work : stop_work, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    *ret = op;
    return RC_OK;
}

enum rc pg_op_wait_start(struct loop *loop, const struct pg_wait_start *spec,
                         const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    if (spec->pid <= 1)
        return err_set(err, RC_INVALID, "wait for start: process id %lld", (long long)spec->pid);
    return wait_start(loop, PG_OP_WAIT_START, spec->site, spec->pid, spec->deadline_ms, hooks, ret,
                      err);
}

enum rc pg_op_wait_stop(struct loop *loop, const struct pg_wait_stop *spec,
                        const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    return wait_start(loop, PG_OP_WAIT_STOP, spec->site, spec->pid, spec->deadline_ms, hooks, ret,
                      err);
}
