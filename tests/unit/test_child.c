#include "tests/lib/temp_dir.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/clock.h"
#include "pgheir/io/child.h"
#include "pgheir/io/loop.h"

#include <poll.h>
#include <sys/prctl.h>

enum { LONG_MS = 20000 };

static struct loop *loop;

/* What one child said and how it ended. */
struct seen {
    int done_count;
    struct child_result result;
    char last_line[256];
    char out[512];
    size_t out_length;
    char lines[4096];
    int line_count;
    struct child *child;
    const char *cancel_at;
    bool free_at_line;
};

static int setup(void **state)
{
    (void)state;
    return loop_new(&loop, NULL) == RC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void on_line(enum child_stream stream, const char *line, void *arg)
{
    struct seen *seen = arg;
    size_t length = strlen(seen->lines);
    seen->line_count++;
    (void)snprintf(seen->lines + length, sizeof seen->lines - length, "%d:%s\n", (int)stream, line);
    if (seen->cancel_at != NULL && strcmp(line, seen->cancel_at) == 0)
        child_cancel(seen->child);
    if (seen->free_at_line) {
        child_free(seen->child);
        loop_stop(loop);
    }
}

static void on_done(const struct child_result *result, void *arg)
{
    struct seen *seen = arg;
    seen->done_count++;
    seen->result = *result;
    (void)snprintf(seen->last_line, sizeof seen->last_line, "%s", result->last_line);
    seen->result.last_line = seen->last_line;
    if (result->out != NULL) {
        seen->out_length = result->out->length;
        memcpy(seen->out, buf_text(result->out),
               seen->out_length < sizeof seen->out ? seen->out_length : sizeof seen->out);
    }
    loop_stop(loop);
}

static void run(struct child_spec *spec, struct seen *seen)
{
    struct err err;
    if (spec->deadline_ms == 0)
        spec->deadline_ms = clock_boot_ms() + LONG_MS;
    spec->name = "test";
    spec->on_done = on_done;
    spec->arg = seen;
    assert_int_equal(child_start(loop, spec, &seen->child, &err), RC_OK);
    assert_int_equal(seen->done_count, 0);
    assert_int_equal(loop_run_until(loop, clock_boot_ms() + LONG_MS, &err), RC_OK);
}

static void run_shell(const char *script, struct child_spec spec, struct seen *seen)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    spec.argv = argv;
    run(&spec, seen);
}

/* A zombie is gone: whoever inherits it may reap late. */
static bool process_lives(pid_t pid)
{
    char path[64], line[512] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY);
    bool is_alive = fd >= 0 && read(fd, line, sizeof line - 1) > 0 && strstr(line, ") Z ") == NULL;
    if (fd >= 0)
        (void)close(fd);
    return is_alive;
}

static void assert_ends(pid_t pid)
{
    int64_t limit_ms = clock_boot_ms() + LONG_MS;
    while (process_lives(pid) && clock_boot_ms() < limit_ms)
        (void)poll(NULL, 0, 1);
    assert_true(clock_boot_ms() < limit_ms);
}

static void test_lines_status_and_environment(void **state)
{
    static const char *const set[] = {"ADDED=x y", NULL};
    static const char *const unset[] = {"GONE_*", "ALONE", NULL};
    struct seen seen = {0};
    (void)state;
    assert_int_equal(setenv("GONE_1", "1", 1) | setenv("ALONE", "1", 1) | setenv("ADDED", "no", 1) |
                         setenv("ALONE2", "stays", 1), 0);
    run_shell("echo out; echo 'error: why' >&2; echo later >&2; printf 'no end';"
              "echo \"$ADDED|$GONE_1|$ALONE|$ALONE2\" >&2; cat; pwd >&2; exit 7",
              (struct child_spec){.env_set = set, .env_unset = unset, .on_line = on_line,
              .dir = "/",
                                  .stdin_bytes = "in\n", .stdin_length = 3}, &seen);
    assert_int_equal(seen.done_count, 1);
    assert_int_equal(seen.result.outcome, CHILD_EXITED);
    assert_int_equal(seen.result.exit_status, 7);
    assert_string_equal(seen.last_line, "error: why");
    assert_non_null(strstr(seen.lines, "1:out\n"));
    assert_non_null(strstr(seen.lines, "1:no endin\n"));
    assert_non_null(strstr(seen.lines, "2:x y|||stays\n"));
    assert_non_null(strstr(seen.lines, "2:/\n"));
    struct err err;
    assert_int_equal(child_result_check("x", &seen.result, &err), RC_REFUSED);
}

static void test_a_clean_process(void **state)
{
    struct seen seen = {0};
    sigset_t mask;
    (void)state;
    /* What we are must not be inherited: blocked and ignored signals, descriptors. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    int fd = open("/dev/null", O_RDONLY); /* without CLOEXEC */
    run_shell("exec 2>&1; grep -E '^Sig(Blk|Ign):' /proc/self/status | tr -d '\\t\\n'; echo;"
              "ls /proc/self/fd | tr '\\n' ' '; echo; cut -d' ' -f5 /proc/self/stat; echo $$;"
              "cat /proc/self/oom_score_adj; readlink /proc/self/fd/0",
              (struct child_spec){.on_line = on_line}, &seen);
    (void)close(fd);
    (void)sigprocmask(SIG_UNBLOCK, &mask, NULL);
    (void)signal(SIGHUP, SIG_DFL);
    /* 32 and 33 are the C library's own and not for us to set; make leaves them ignored. */
    assert_true(strstr(seen.lines, "SigBlk:0000000000000000SigIgn:0000000000000000\n") != NULL ||
                strstr(seen.lines, "SigBlk:0000000000000000SigIgn:0000000180000000\n") != NULL);
    assert_non_null(strstr(seen.lines, "1:0 1 2 3 \n")); /* 3 is ls's own */
    assert_non_null(strstr(seen.lines, "/dev/null\n"));
}

static void test_missing_program(void **state)
{
    static const char *const argv[] = {"/no/such/program", NULL};
    struct child_spec spec = {.argv = argv};
    struct seen seen = {0};
    struct err err;
    (void)state;
    run(&spec, &seen);
    assert_int_equal(child_result_check("x", &seen.result, &err), RC_NOT_FOUND);
    assert_non_null(strstr(err.text, "/no/such/program"));
}

static void test_own_signal_is_told(void **state)
{
    struct seen seen = {0};
    (void)state;
    run_shell("kill -SEGV $$", (struct child_spec){0}, &seen);
    assert_int_equal(seen.result.outcome, CHILD_SIGNALED);
    assert_int_equal(seen.result.exit_signal, SIGSEGV);
}

static void test_deadline_term_is_enough(void **state)
{
    struct seen seen = {0};
    int64_t deadline_ms = clock_boot_ms() + 200;
    (void)state;
    run_shell("trap 'echo bye; exit 3' TERM; while :; do sleep 0.02; done",
              (struct child_spec){.deadline_ms = deadline_ms, .term_grace_ms = LONG_MS,
                                  .on_line = on_line}, &seen);
    assert_int_equal(seen.result.outcome, CHILD_TIMED_OUT);
    assert_int_equal(seen.result.exit_status, 3);
    assert_non_null(strstr(seen.lines, "1:bye\n"));
    assert_true(clock_boot_ms() >= deadline_ms);
    assert_true(seen.result.took_ms < 5000);
}

static void test_deadline_kill_takes_the_whole_group(void **state)
{
    struct seen seen = {0};
    struct temp_dir temp;
    char script[1024];
    (void)state;
    temp_dir_make(&temp);
    /* The grandchild ignores TERM and holds the pipes. */
    (void)snprintf(script, sizeof script,
                   "trap '' TERM; (echo $BASHPID; exec sleep 1000) & echo $! > %s/pid; wait",
                   temp.path);
    run_shell(script, (struct child_spec){.deadline_ms = clock_boot_ms() + 300,
                                          .term_grace_ms = 100}, &seen);
    assert_int_equal(seen.result.outcome, CHILD_TIMED_OUT);
    assert_int_equal(seen.result.exit_signal, SIGKILL);
    assert_true(seen.result.took_ms < 5000);
    assert_ends((pid_t)strtol(temp_read(&temp, "pid"), NULL, 10));
    temp_dir_remove(&temp);
}

static void test_nothing_survives_a_normal_end(void **state)
{
    struct seen seen = {0};
    struct temp_dir temp;
    char script[1024];
    (void)state;
    temp_dir_make(&temp);
    (void)snprintf(script, sizeof script, "sleep 1000 & echo $! > %s/pid; exit 0", temp.path);
    run_shell(script, (struct child_spec){0}, &seen);
    assert_int_equal(seen.result.outcome, CHILD_EXITED);
    assert_int_equal(seen.result.exit_status, 0);
    assert_true(seen.result.took_ms < 5000);
    assert_ends((pid_t)strtol(temp_read(&temp, "pid"), NULL, 10));
    temp_dir_remove(&temp);
}

static void test_cancel(void **state)
{
    struct seen seen = {.cancel_at = "now"};
    struct err err;
    (void)state;
    run_shell("echo now; sleep 1000", (struct child_spec){.on_line = on_line}, &seen);
    assert_int_equal(seen.done_count, 1);
    assert_int_equal(seen.result.outcome, CHILD_CANCELLED);
    assert_int_equal(child_result_check("x", &seen.result, &err), RC_CANCELLED);
}

static void test_a_stopped_child_is_ended_too(void **state)
{
    struct seen seen = {0};
    (void)state;
    run_shell("kill -STOP $$; sleep 1000",
              (struct child_spec){.deadline_ms = clock_boot_ms() + 200, .term_grace_ms = 200},
              &seen);
    assert_int_equal(seen.result.outcome, CHILD_TIMED_OUT);
    assert_true(seen.result.took_ms < 5000);
}

static void test_free_in_a_callback(void **state)
{
    struct seen seen = {.free_at_line = true};
    (void)state;
    run_shell("echo one; echo two; sleep 1000", (struct child_spec){.on_line = on_line}, &seen);
    assert_int_equal(seen.done_count, 0);
    assert_int_equal(seen.line_count, 1);
}

static void test_output_has_a_ceiling(void **state)
{
    struct seen seen = {0};
    (void)state;
    run_shell("head -c 3000000 /dev/zero | tr '\\0' x", (struct child_spec){.keep_stdout = true,
              .output_ceiling = 1000000}, &seen);
    assert_int_equal(seen.result.exit_status, 0);
    assert_true(seen.result.is_output_cut);
    assert_true(seen.out_length <= 1000000);
}

static void test_stdin_has_a_ceiling(void **state)
{
    static const char *const argv[] = {"true", NULL};
    char *bytes = mem_new(1, 70000);
    struct child_spec spec = {.name = "x", .argv = argv, .stdin_bytes = bytes,
                              .stdin_length = 70000, .deadline_ms = clock_boot_ms() + 1000,
                              .on_done = on_done};
    struct child *child = NULL;
    struct err err;
    (void)state;
    assert_int_equal(child_start(loop, &spec, &child, &err), RC_LIMIT);
    assert_null(child);
    mem_free(bytes);
}

static void test_extend(void **state)
{
    static const char *const argv[] = {"sleep", "0.4", NULL};
    struct seen seen = {0};
    struct child_spec spec = {.name = "x", .argv = argv, .deadline_ms = clock_boot_ms() + 100,
                              .on_done = on_done, .arg = &seen};
    struct err err;
    (void)state;
    assert_int_equal(child_start(loop, &spec, &seen.child, &err), RC_OK);
    child_extend(seen.child, clock_boot_ms() + LONG_MS);
    assert_int_equal(loop_run_until(loop, clock_boot_ms() + LONG_MS, &err), RC_OK);
    assert_int_equal(seen.result.outcome, CHILD_EXITED);
}

/* The whole tree ends when the process that started it is killed: it cannot tidy up itself. */
static void test_parent_death(void **state)
{
    struct temp_dir temp;
    char script[1024];
    (void)state;
    temp_dir_make(&temp);
    /* setsid would leave the group: sh's child stays in it, as the tools' children do. */
    (void)snprintf(script, sizeof script,
                   "trap '' TERM; sleep 1000 & echo $! $$ > %s/tmp; mv %s/tmp %s/pids; wait",
                   temp.path, temp.path, temp.path);
    pid_t agent = fork();
    if (agent == 0) {
        struct seen seen = {0};
        loop_free(loop);
        (void)loop_new(&loop, NULL);
        run_shell(script, (struct child_spec){0}, &seen);
        _exit(0);
    }
    int64_t limit_ms = clock_boot_ms() + LONG_MS;
    while (!temp_exists(&temp, "pids") && clock_boot_ms() < limit_ms)
        (void)poll(NULL, 0, 1);
    char *at = NULL;
    const char *text = temp_read(&temp, "pids");
    pid_t grandchild = (pid_t)strtol(text, &at, 10), shell = (pid_t)strtol(at, NULL, 10);
    assert_int_equal(kill(grandchild, 0), 0);
    assert_int_equal(kill(agent, SIGKILL), 0);
    assert_int_equal(waitpid(agent, NULL, 0), agent);
    assert_ends(grandchild);
    assert_ends(shell);
    temp_dir_remove(&temp);
}

/* ---- jobs ---- */

struct job_seen {
    int done_count;
    enum rc rc;
    struct err err;
    char answer[64];
    size_t length;
    char progress[256];
    struct job *job;
    bool free_at_progress;
};

static void on_job_progress(const char *text, void *arg)
{
    struct job_seen *seen = arg;
    (void)snprintf(seen->progress, sizeof seen->progress, "%s", text);
    if (seen->free_at_progress) {
        job_free(seen->job);
        loop_stop(loop);
    }
}

static void on_job_done(enum rc rc, const struct err *err, const void *answer, size_t length,
                        void *arg)
{
    struct job_seen *seen = arg;
    seen->done_count++;
    seen->rc = rc;
    seen->err = *err;
    seen->length = length;
    if (length > 0)
        memcpy(seen->answer, answer, length < sizeof seen->answer ? length : sizeof seen->answer);
    job_free(seen->job); /* harmless here */
    loop_stop(loop);
}

static void job_run(enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                    void *work_arg, int64_t span_ms, struct job_seen *seen)
{
    const struct job_spec spec = {
        .name = "test job", .work = work, .work_arg = work_arg,
        .deadline_ms = clock_boot_ms() + span_ms, .on_progress = on_job_progress,
        .on_done = on_job_done, .arg = seen,
    };
    struct err err;
    assert_int_equal(job_start(loop, &spec, &seen->job, &err), RC_OK);
    assert_int_equal(loop_run_until(loop, clock_boot_ms() + LONG_MS, &err), RC_OK);
}

static enum rc work_answer(void *work_arg, struct buf *answer, struct err *err)
{
    (void)err;
    job_report("half of %s", (const char *)work_arg);
    return buf_append(answer, "a\0b", 3);
}

static enum rc work_fail(void *work_arg, struct buf *answer, struct err *err)
{
    (void)work_arg;
    (void)buf_puts(answer, "not this");
    return err_set(err, RC_REFUSED, "because of %d", 7);
}

static enum rc work_crash(void *work_arg, struct buf *answer, struct err *err)
{
    (void)work_arg;
    (void)answer;
    (void)err;
    (void)raise(SIGKILL);
    return RC_OK;
}

static enum rc work_hang(void *work_arg, struct buf *answer, struct err *err)
{
    (void)work_arg;
    (void)answer;
    (void)err;
    job_report("begun");
    for (;;)
        (void)pause();
    return RC_OK;
}

static enum rc work_flood(void *work_arg, struct buf *answer, struct err *err)
{
    char bytes[4096] = "";
    (void)work_arg;
    (void)err;
    while (buf_append(answer, bytes, sizeof bytes) == RC_OK)
        ;
    return RC_OK;
}

static void test_job_answers(void **state)
{
    struct job_seen seen = {0};
    char arg[] = "it";
    (void)state;
    job_run(work_answer, arg, LONG_MS, &seen);
    assert_int_equal(seen.done_count, 1);
    assert_int_equal(seen.rc, RC_OK);
    assert_int_equal(seen.length, 3);
    assert_memory_equal(seen.answer, "a\0b", 3);
    assert_string_equal(seen.progress, "half of it");
}

static void test_job_fails(void **state)
{
    struct job_seen seen = {0};
    (void)state;
    job_run(work_fail, NULL, LONG_MS, &seen);
    assert_int_equal(seen.rc, RC_REFUSED);
    assert_string_equal(seen.err.text, "because of 7");
    assert_int_equal(seen.length, 0);
    seen = (struct job_seen){0};
    job_run(work_crash, NULL, LONG_MS, &seen);
    assert_int_equal(seen.rc, RC_SYSTEM);
    seen = (struct job_seen){0};
    job_run(work_flood, NULL, LONG_MS, &seen);
    assert_int_equal(seen.rc, RC_LIMIT);
}

static void test_job_deadline_and_free(void **state)
{
    struct job_seen seen = {0};
    (void)state;
    job_run(work_hang, NULL, 200, &seen);
    assert_int_equal(seen.done_count, 1);
    assert_int_equal(seen.rc, RC_TIMEOUT);
    seen = (struct job_seen){.free_at_progress = true};
    job_run(work_hang, NULL, LONG_MS, &seen);
    assert_int_equal(seen.done_count, 0);
}

static void test_job_cancel(void **state)
{
    struct job_seen seen = {0};
    const struct job_spec spec = {.name = "test job", .work = work_hang,
                                  .deadline_ms = clock_boot_ms() + LONG_MS, .on_done = on_job_done,
                                  .arg = &seen};
    struct err err;
    (void)state;
    assert_int_equal(job_start(loop, &spec, &seen.job, &err), RC_OK);
    job_cancel(seen.job);
    job_cancel(seen.job);
    assert_int_equal(seen.done_count, 0);
    assert_int_equal(loop_run_until(loop, clock_boot_ms() + LONG_MS, &err), RC_OK);
    assert_int_equal(seen.done_count, 1);
    assert_int_equal(seen.rc, RC_CANCELLED);
}

#define LOOP_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_lines_status_and_environment),
        LOOP_TEST(test_a_clean_process),
        LOOP_TEST(test_missing_program),
        LOOP_TEST(test_own_signal_is_told),
        LOOP_TEST(test_deadline_term_is_enough),
        LOOP_TEST(test_deadline_kill_takes_the_whole_group),
        LOOP_TEST(test_nothing_survives_a_normal_end),
        LOOP_TEST(test_cancel),
        LOOP_TEST(test_a_stopped_child_is_ended_too),
        LOOP_TEST(test_free_in_a_callback),
        LOOP_TEST(test_output_has_a_ceiling),
        LOOP_TEST(test_stdin_has_a_ceiling),
        LOOP_TEST(test_extend),
        LOOP_TEST(test_parent_death),
        LOOP_TEST(test_job_answers),
        LOOP_TEST(test_job_fails),
        LOOP_TEST(test_job_deadline_and_free),
        LOOP_TEST(test_job_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
