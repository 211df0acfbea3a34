#include "pgheir/io/loop.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "pgheir/base/clock.h"
#include "tests/lib/check.h"

/* What happened, in order, one letter each. */
struct record {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_timer *other;
    struct loop_fd *watch;
    char letters[64];
    int count;
    int64_t at_ms;
};

static int make_loop(void **state)
{
    static struct record record;

    record = (struct record){0};
    *state = &record;
    return loop_new(&record.loop, NULL) == RC_OK ? 0 : -1;
}

static int free_loop(void **state)
{
    struct record *record = *state;

    loop_timer_free(record->timer);
    loop_timer_free(record->other);
    loop_fd_free(record->watch);
    loop_free(record->loop);
    return 0;
}

static void note(struct record *record, char letter)
{
    assert_true(record->count < 60);
    record->letters[record->count++] = letter;
    record->letters[record->count] = '\0';
    record->at_ms = clock_boot_ms();
}

static void on_a(void *arg)
{
    note(arg, 'a');
}

static void on_b(void *arg)
{
    note(arg, 'b');
}

static void on_stop(void *arg)
{
    struct record *record = arg;

    note(record, 's');
    loop_stop(record->loop);
}

static void run_for(struct record *record, int64_t span_ms)
{
    (void)loop_run_until(record->loop, clock_boot_ms() + span_ms, NULL);
}

static void test_timer_fires_once_and_never_early(void **state)
{
    struct record *record = *state;
    int64_t at_ms;

    record->timer = loop_timer_new(record->loop, on_stop, record);
    for (int span_ms = 0; span_ms < 8; span_ms++) {
        at_ms = clock_boot_ms() + span_ms;
        loop_timer_arm(record->timer, at_ms);
        assert_int_equal(loop_timer_at_ms(record->timer), at_ms);
        assert_int_equal(loop_run_until(record->loop, at_ms + 5000, NULL), RC_OK);
        assert_true(record->at_ms >= at_ms);
        assert_int_equal(loop_timer_at_ms(record->timer), 0);
    }
    assert_string_equal(record->letters, "ssssssss");
    run_for(record, 10);
    assert_int_equal(record->count, 8);
}

static void test_timers_fire_in_the_order_of_their_times(void **state)
{
    struct record *record = *state;
    int64_t now_ms = clock_boot_ms();

    record->timer = loop_timer_new(record->loop, on_a, record);
    record->other = loop_timer_new(record->loop, on_b, record);
    loop_timer_arm(record->timer, now_ms + 20);
    loop_timer_arm(record->other, now_ms + 10);
    run_for(record, 40);
    assert_string_equal(record->letters, "ba");
    /* Armed anew for later: only the new time counts. Both past: the order of arming. */
    loop_timer_arm(record->other, now_ms);
    loop_timer_arm(record->timer, now_ms - 1000);
    run_for(record, 10);
    assert_string_equal(record->letters, "baba");
    loop_timer_arm(record->timer, clock_boot_ms() + 5);
    loop_timer_arm(record->timer, INT64_MAX);
    run_for(record, 20);
    loop_timer_disarm(record->timer);
    loop_timer_disarm(record->timer);
    run_for(record, 5);
    assert_string_equal(record->letters, "baba");
}

static void on_rearm(void *arg)
{
    struct record *record = arg;

    if (record->count < 30)
        note(record, 'r');
    loop_timer_arm(record->timer, 0);
}

/* A timer that arms itself for now starves nobody. */
static void test_rearming_for_now_leaves_room_for_others(void **state)
{
    struct record *record = *state;

    record->timer = loop_timer_new(record->loop, on_rearm, record);
    record->other = loop_timer_new(record->loop, on_stop, record);
    loop_timer_arm(record->timer, 0);
    loop_timer_arm(record->other, clock_boot_ms() + 20);
    assert_int_equal(loop_run_until(record->loop, clock_boot_ms() + 5000, NULL), RC_OK);
}

static void on_free_both(void *arg)
{
    struct record *record = arg;

    note(record, 'f');
    loop_timer_free(record->timer);
    loop_timer_free(record->other);
    record->timer = NULL;
    record->other = NULL;
}

static void test_timers_freed_in_a_callback(void **state)
{
    struct record *record = *state;

    record->timer = loop_timer_new(record->loop, on_free_both, record);
    record->other = loop_timer_new(record->loop, on_b, record);
    loop_timer_arm(record->timer, 0);
    loop_timer_arm(record->other, 0);
    run_for(record, 10);
    assert_string_equal(record->letters, "f");
}

static void on_post_more(void *arg)
{
    struct record *record = arg;

    note(record, 'p');
    loop_post(record->loop, on_a, record);
    note(record, 'q');
}

static void test_posts_run_in_order_and_never_inside(void **state)
{
    struct record *record = *state;

    loop_post(record->loop, on_post_more, record);
    loop_post(record->loop, on_b, record);
    assert_int_equal(record->count, 0);
    run_for(record, 10);
    assert_string_equal(record->letters, "pqba");
}

static void on_post_again(void *arg)
{
    struct record *record = arg;

    loop_post(record->loop, on_post_again, record);
}

static void test_endless_posts_starve_nobody(void **state)
{
    struct record *record = *state;

    record->timer = loop_timer_new(record->loop, on_stop, record);
    loop_timer_arm(record->timer, clock_boot_ms() + 10);
    loop_post(record->loop, on_post_again, record);
    assert_int_equal(loop_run_until(record->loop, clock_boot_ms() + 5000, NULL), RC_OK);
}

static void on_pipe(int fd, unsigned ready, void *arg)
{
    struct record *record = arg;
    char byte;

    if ((ready & LOOP_WRITE) != 0) {
        note(record, 'w');
        loop_fd_want(record->watch, 0);
        return;
    }
    note(record, read(fd, &byte, 1) == 1 ? 'r' : 'e');
    if (record->letters[record->count - 1] == 'e') {
        loop_fd_free(record->watch);
        record->watch = NULL;
    }
}

static void test_descriptors(void **state)
{
    struct record *record = *state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    record->watch = loop_fd_new(record->loop, ends[0], on_pipe, record);
    assert_int_equal(write(ends[1], "xy", 2), 2);
    run_for(record, 5);
    assert_int_equal(record->count, 0); /* nothing wanted yet */
    loop_fd_want(record->watch, LOOP_READ);
    run_for(record, 5);
    assert_string_equal(record->letters, "rr"); /* level-triggered */
    (void)close(ends[1]);
    run_for(record, 5);
    assert_string_equal(record->letters, "rre");
    assert_null(record->watch);
    (void)close(ends[0]);
}

static void test_writing(void **state)
{
    struct record *record = *state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    record->watch = loop_fd_new(record->loop, ends[1], on_pipe, record);
    loop_fd_want(record->watch, LOOP_WRITE);
    run_for(record, 5);
    assert_string_equal(record->letters, "w");
    loop_fd_free(record->watch);
    record->watch = NULL;
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void on_exit_seen(int fd, unsigned ready, void *arg)
{
    struct record *record = arg;

    (void)fd;
    (void)ready;
    note(record, 'x');
    loop_stop(record->loop);
}

static void test_pidfd(void **state)
{
    struct record *record = *state;
    pid_t pid = fork();
    int fd;

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(fd >= 0);
    record->watch = loop_fd_new(record->loop, fd, on_exit_seen, record);
    loop_fd_want(record->watch, LOOP_READ);
    run_for(record, 5);
    assert_int_equal(record->count, 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(loop_run_until(record->loop, clock_boot_ms() + 5000, NULL), RC_OK);
    assert_string_equal(record->letters, "x");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    loop_fd_free(record->watch);
    record->watch = NULL;
    (void)close(fd);
}

static void on_signal(int signo, void *arg)
{
    struct record *record = arg;

    assert_int_equal(signo, SIGUSR1);
    note(record, 'u');
    loop_stop(record->loop);
}

static void test_signals(void **state)
{
    struct record *record = *state;
    struct loop_signal *watch = loop_signal_new(record->loop, SIGUSR1, on_signal, record);

    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(loop_run_until(record->loop, clock_boot_ms() + 5000, NULL), RC_OK);
    assert_string_equal(record->letters, "u");
    loop_signal_free(watch);
}

static void test_broken_pipe_is_no_signal(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    (void)close(ends[1]);
}

static void test_run_until(void **state)
{
    struct record *record = *state;
    int64_t begun_ms = clock_boot_ms();

    assert_int_equal(loop_run_until(record->loop, begun_ms + 30, NULL), RC_TIMEOUT);
    assert_true(clock_boot_ms() >= begun_ms + 30);
    assert_true(clock_boot_ms() < begun_ms + 1000);
    loop_post(record->loop, on_stop, record);
    assert_int_equal(loop_run_until(record->loop, begun_ms + 60000, NULL), RC_OK);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, make_loop, free_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_timer_fires_once_and_never_early),
        WITH_LOOP(test_timers_fire_in_the_order_of_their_times),
        WITH_LOOP(test_rearming_for_now_leaves_room_for_others),
        WITH_LOOP(test_timers_freed_in_a_callback),
        WITH_LOOP(test_posts_run_in_order_and_never_inside),
        WITH_LOOP(test_endless_posts_starve_nobody),
        WITH_LOOP(test_descriptors),
        WITH_LOOP(test_writing),
        WITH_LOOP(test_pidfd),
        WITH_LOOP(test_signals),
        WITH_LOOP(test_broken_pipe_is_no_signal),
        WITH_LOOP(test_run_until),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
