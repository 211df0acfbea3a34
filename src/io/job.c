#include "pgheir/io/child.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The fork writes a struct job_head and then the answer's bytes on its stdout, in one go at the
 * end: an answer is either whole or missing. Progress goes line by line over stderr. */
enum { JOB_MAGIC = 0x70674a42, REPORT_SIZE = 512 };

struct job_head {
    uint32_t magic;
    uint32_t answer_length;
    struct err err;
};

struct job {
    struct child *child;
    bool is_done; /* inside on_done: it is freed behind that */
    char name[64];
    void (*on_progress)(const char *text, void *arg);
    void (*on_done)(enum rc rc, const struct err *err, const void *answer, size_t length,
                    void *arg);
    void *arg;
    void *memory;
};

struct job_work {
    enum rc (*work)(void *work_arg, struct buf *answer, struct err *err);
    void *work_arg;
};

static bool bytes_write(const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, at, length);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            at += written;
            length -= (size_t)written;
        }
    }
    return true;
}

static int work_run(void *function_arg)
{
    const struct job_work *work = function_arg;
    struct job_head head = {.magic = JOB_MAGIC};
    struct buf answer;
    buf_init(&answer, JOB_ANSWER_MAX);
    enum rc rc = work->work(work->work_arg, &answer, &head.err);
    if (rc == RC_OK && buf_is_overflown(&answer))
        rc = err_set(&head.err, RC_LIMIT, "the answer is longer than %d bytes", JOB_ANSWER_MAX);
    if (rc != RC_OK)
        buf_clear(&answer);
    head.err.rc = rc;
    head.answer_length = (uint32_t)answer.length;
    return bytes_write(&head, sizeof head) && bytes_write(buf_text(&answer), answer.length) ? 0 : 1;
}

void job_report(const char *fmt, ...)
{
    char line[REPORT_SIZE];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(line, sizeof line - 1, fmt, args);
    va_end(args);
    if (length < 0)
        return;
    if ((size_t)length > sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)length + 1);
    (void)written; /* progress is not worth a failure */
}

static void on_child_line(enum child_stream stream, const char *line, void *arg)
{
    const struct job *job = arg;
    (void)stream;
    if (job->on_progress != NULL)
        job->on_progress(line, job->arg);
}

static void on_child_done(const struct child_result *result, void *arg)
{
    struct job *job = arg;
    struct err err = {0};
    struct job_head head = {0};
    const char *bytes = buf_text(result->out);
    size_t length = result->out->length;
    enum rc rc = child_result_check(job->name, result, &err);
    bool is_whole = false;
    if (length >= sizeof head) {
        memcpy(&head, bytes, sizeof head);
        is_whole = head.magic == JOB_MAGIC && length - sizeof head == head.answer_length &&
                   head.err.rc >= RC_OK && head.err.rc < RC_COUNT;
        head.err.text[sizeof head.err.text - 1] = '\0';
    }
    job->is_done = true;
    /* A whole answer counts even if the deadline fell behind it. */
    if (is_whole && head.err.rc == RC_OK)
        job->on_done(RC_OK, &head.err, bytes + sizeof head, length - sizeof head, job->arg);
    else if (is_whole)
        job->on_done(head.err.rc, &head.err, NULL, 0, job->arg);
    else if (rc != RC_OK)
        job->on_done(rc == RC_REFUSED || rc == RC_NOT_FOUND ? RC_SYSTEM : rc, &err, NULL, 0,
                     job->arg);
    else
        job->on_done(err_set(&err, RC_SYSTEM, "%s: ended without an answer", job->name), &err, NULL,
                     0, job->arg);
    mem_free(job->memory);
    mem_free(job);
}

enum rc job_start(struct loop *loop, const struct job_spec *spec, struct job **ret,
                  struct err *err)
{
    struct job_work work = {spec->work, spec->work_arg};
    struct job *job = mem_new(1, sizeof *job);
    const struct child_spec child = {
        .name = spec->name,
        .deadline_ms = spec->deadline_ms,
        .keep_stdout = true,
        .output_ceiling = JOB_ANSWER_MAX + sizeof(struct job_head),
        .is_low_priority = spec->is_low_priority,
        .function = work_run,
        .function_arg = &work,
        .on_line = on_child_line,
        .on_done = on_child_done,
        .arg = job,
    };
    job->on_progress = spec->on_progress;
    job->on_done = spec->on_done;
    job->arg = spec->arg;
    job->memory = spec->memory;
    if (!str_copy(job->name, sizeof job->name, spec->name))
        job->name[0] = '\0';
    enum rc rc = child_start(loop, &child, &job->child, err);
    if (rc != RC_OK) {
        mem_free(job);
        return rc;
    }
    *ret = job;
    return RC_OK;
}

void job_cancel(struct job *job)
{
    child_cancel(job->child);
}

void job_extend(struct job *job, int64_t deadline_ms)
{
    child_extend(job->child, deadline_ms);
}

void job_free(struct job *job)
{
    if (job == NULL || job->is_done)
        return;
    child_free(job->child);
    mem_free(job->memory);
    mem_free(job);
}
