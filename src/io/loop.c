#include "pgheir/io/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"

struct loop_timer {
    TAILQ_ENTRY(loop_timer) link;
    struct loop *loop;
    loop_call_fn *fn;
    void *arg;
    int64_t at_ms;  /* 0: not armed, not in the list */
    uint64_t order; /* of arming; breaks ties, and keeps a timer re-armed for now out of this
                     * turn */
};

struct loop_call {
    TAILQ_ENTRY(loop_call) link;
    loop_call_fn *fn;
    void *arg;
};

struct loop_fd {
    struct event *event;
    struct loop *loop;
    loop_fd_fn *fn;
    void *arg;
    int fd;
    unsigned wanted;
};

struct loop_signal {
    struct event *event;
    loop_signal_fn *fn;
    void *arg;
};

/* Timers: one sorted list and one timerfd. libevent's own run on CLOCK_MONOTONIC, which stands
 * still while the machine sleeps: a deadline would then pass unseen. The list is short (some
 * dozens), so sorted insertion is cheap. */
struct loop {
    struct event_base *base;
    struct event *timer_event;
    struct event *post_event;
    int timer_fd;
    int64_t timer_fd_at_ms; /* what the timerfd is set to; 0: nothing */
    uint64_t timer_order;
    TAILQ_HEAD(loop_timer_list, loop_timer) timers;
    TAILQ_HEAD(loop_call_list, loop_call) calls;
};

static void on_timer_fd(evutil_socket_t fd, short what, void *arg);
static void on_post(evutil_socket_t fd, short what, void *arg);

/* What libevent has to say (a DNS server that does not answer) goes to our log and not to
 * stderr. */
static void on_libevent_log(int severity, const char *text)
{
    if (severity == EVENT_LOG_ERR)
        log_warning("event loop: %s", text);
    else if (severity != EVENT_LOG_DEBUG)
        log_debug("event loop: %s", text);
}

static enum rc open_base(struct loop *loop, struct err *err)
{
    struct event_config *config = event_config_new();

    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
        loop->base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    if (loop->base == NULL)
        return err_set_errno(err, errno, "cannot make an event loop");
    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->timer_fd < 0)
        return err_set_errno(err, errno, "cannot make a timer on CLOCK_BOOTTIME");
    loop->timer_event =
        event_new(loop->base, loop->timer_fd, EV_READ | EV_PERSIST, on_timer_fd, loop);
    loop->post_event = event_new(loop->base, -1, 0, on_post, loop);
    if (loop->timer_event == NULL || loop->post_event == NULL ||
        event_add(loop->timer_event, NULL) != 0)
        return err_set_errno(err, errno, "cannot watch the loop's timer");
    return RC_OK;
}

enum rc loop_new(struct loop **ret, struct err *err)
{
    struct loop *loop = mem_new(1, sizeof(*loop));
    enum rc rc;

    loop->timer_fd = -1;
    TAILQ_INIT(&loop->timers);
    TAILQ_INIT(&loop->calls);
    /* TLS libraries write with write(), so a peer that went away would kill us. */
    (void)signal(SIGPIPE, SIG_IGN);
    event_set_log_callback(on_libevent_log);
    rc = open_base(loop, err);
    if (rc != RC_OK) {
        loop_free(loop);
        return rc;
    }
    *ret = loop;
    return RC_OK;
}

void loop_free(struct loop *loop)
{
    struct loop_call *call;

    if (loop == NULL)
        return;
    pgh_assert(TAILQ_EMPTY(&loop->timers));
    while ((call = TAILQ_FIRST(&loop->calls)) != NULL) {
        TAILQ_REMOVE(&loop->calls, call, link);
        mem_free(call);
    }
    if (loop->timer_event != NULL)
        event_free(loop->timer_event);
    if (loop->post_event != NULL)
        event_free(loop->post_event);
    if (loop->timer_fd >= 0)
        (void)close(loop->timer_fd);
    if (loop->base != NULL)
        event_base_free(loop->base);
    mem_free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

enum rc loop_run(struct loop *loop, struct err *err)
{
    if (event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
        return err_set_errno(err, errno, "the event loop failed");
    return RC_OK;
}

static void on_run_deadline(void *arg)
{
    struct loop_timer *timer = arg;

    (void)event_base_loopbreak(timer->loop->base);
}

enum rc loop_run_until(struct loop *loop, int64_t deadline_ms, struct err *err)
{
    struct loop_timer timer = {.loop = loop, .fn = on_run_deadline, .arg = &timer};
    bool is_late;
    enum rc rc;

    loop_timer_arm(&timer, deadline_ms);
    rc = loop_run(loop, err);
    is_late = timer.at_ms == 0;
    loop_timer_disarm(&timer);
    if (rc == RC_OK && is_late)
        rc = err_set(err, RC_TIMEOUT, "the loop was not stopped before its deadline");
    return rc;
}

void loop_stop(struct loop *loop)
{
    (void)event_base_loopexit(loop->base, NULL);
}

/* By a timeout and not by event_active(): that would run them in this same turn, and calls that
 * post calls would keep everything else from running. */
static void wake_posts(struct loop *loop)
{
    static const struct timeval now;

    if (event_add(loop->post_event, &now) != 0)
        pgh_assert_failed("event_add", __FILE__, __LINE__);
}

void loop_post(struct loop *loop, loop_call_fn *fn, void *arg)
{
    struct loop_call *call = mem_new(1, sizeof(*call));

    call->fn = fn;
    call->arg = arg;
    TAILQ_INSERT_TAIL(&loop->calls, call, link);
    wake_posts(loop);
}

/* Runs what was posted before this turn; what these calls post comes next turn, so that sockets get
 * a word in. */
static void on_post(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    struct loop_call *last = TAILQ_LAST(&loop->calls, loop_call_list);
    struct loop_call *call;

    (void)fd;
    (void)what;
    while ((call = TAILQ_FIRST(&loop->calls)) != NULL) {
        struct loop_call copy = *call;
        bool is_last = call == last;

        TAILQ_REMOVE(&loop->calls, call, link);
        mem_free(call);
        copy.fn(copy.arg);
        if (is_last)
            break;
    }
    if (!TAILQ_EMPTY(&loop->calls))
        wake_posts(loop);
}

/* Only ever moved earlier: after the first timer is taken away, one needless wake-up is cheaper
 * than a call each time. */
static void set_timer_fd(struct loop *loop)
{
    const struct loop_timer *first = TAILQ_FIRST(&loop->timers);
    struct itimerspec when = {0};

    if (first == NULL || (loop->timer_fd_at_ms != 0 && loop->timer_fd_at_ms <= first->at_ms))
        return;
    loop->timer_fd_at_ms = first->at_ms;
    when.it_value.tv_sec = first->at_ms / 1000;
    when.it_value.tv_nsec = first->at_ms % 1000 * 1000000;
    if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        pgh_assert_failed("timerfd_settime", __FILE__, __LINE__);
}

static void on_timer_fd(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    int64_t now_ms = clock_boot_ms();
    uint64_t last_order = loop->timer_order;
    uint64_t expirations;
    struct loop_timer *timer;

    (void)what;
    if (read(fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
        pgh_assert_failed("read of the timerfd", __FILE__, __LINE__);
    loop->timer_fd_at_ms = 0;
    while ((timer = TAILQ_FIRST(&loop->timers)) != NULL && timer->at_ms <= now_ms &&
           timer->order <= last_order) {
        loop_timer_disarm(timer);
        timer->fn(timer->arg);
    }
    set_timer_fd(loop);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_call_fn *fn, void *arg)
{
    struct loop_timer *timer = mem_new(1, sizeof(*timer));

    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    return timer;
}

void loop_timer_arm(struct loop_timer *timer, int64_t at_ms)
{
    struct loop *loop = timer->loop;
    int64_t now_ms = clock_boot_ms();
    struct loop_timer *before;

    loop_timer_disarm(timer);
    /* Past moments become now: then the order of the list is the order of arming among all that are
     * due. */
    timer->at_ms = at_ms < now_ms ? now_ms : at_ms;
    timer->order = ++loop->timer_order;
    TAILQ_FOREACH_REVERSE(before, &loop->timers, loop_timer_list, link)
    {
        if (before->at_ms <= timer->at_ms)
            break;
    }
    if (before == NULL)
        TAILQ_INSERT_HEAD(&loop->timers, timer, link);
    else
        TAILQ_INSERT_AFTER(&loop->timers, before, timer, link);
    set_timer_fd(loop);
}

void loop_timer_disarm(struct loop_timer *timer)
{
    if (timer->at_ms == 0)
        return;
    TAILQ_REMOVE(&timer->loop->timers, timer, link);
    timer->at_ms = 0;
}

int64_t loop_timer_at_ms(const struct loop_timer *timer)
{
    return timer->at_ms;
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer == NULL)
        return;
    loop_timer_disarm(timer);
    mem_free(timer);
}

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
    struct loop_fd *watch = arg;
    unsigned ready = 0;

    if ((what & EV_READ) != 0)
        ready |= LOOP_READ;
    if ((what & EV_WRITE) != 0)
        ready |= LOOP_WRITE;
    watch->fn(fd, ready, watch->arg);
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_fn *fn, void *arg)
{
    struct loop_fd *watch = mem_new(1, sizeof(*watch));

    pgh_assert(fd >= 0);
    watch->loop = loop;
    watch->fd = fd;
    watch->fn = fn;
    watch->arg = arg;
    watch->event = event_new(loop->base, fd, EV_PERSIST, on_fd, watch);
    pgh_assert(watch->event != NULL);
    return watch;
}

void loop_fd_want(struct loop_fd *watch, unsigned wanted)
{
    short what = EV_PERSIST;

    if (wanted == watch->wanted)
        return;
    if (watch->wanted != 0)
        (void)event_del(watch->event);
    watch->wanted = wanted;
    if (wanted == 0)
        return;
    if ((wanted & LOOP_READ) != 0)
        what |= EV_READ;
    if ((wanted & LOOP_WRITE) != 0)
        what |= EV_WRITE;
    (void)event_assign(watch->event, watch->loop->base, watch->fd, what, on_fd, watch);
    /* Fails for a descriptor that cannot be polled, such as a closed one: a mistake of ours. */
    if (event_add(watch->event, NULL) != 0)
        pgh_assert_failed("event_add", __FILE__, __LINE__);
}

void loop_fd_free(struct loop_fd *watch)
{
    if (watch == NULL)
        return;
    event_free(watch->event);
    mem_free(watch);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
    const struct loop_signal *watch = arg;

    (void)what;
    watch->fn((int)signo, watch->arg);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signo, loop_signal_fn *fn, void *arg)
{
    struct loop_signal *watch = mem_new(1, sizeof(*watch));

    watch->fn = fn;
    watch->arg = arg;
    watch->event = evsignal_new(loop->base, signo, on_signal, watch);
    pgh_assert(watch->event != NULL);
    pgh_assert(event_add(watch->event, NULL) == 0);
    return watch;
}

void loop_signal_free(struct loop_signal *watch)
{
    if (watch == NULL)
        return;
    event_free(watch->event);
    mem_free(watch);
}
