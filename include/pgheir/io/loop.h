/* One thread, one loop: timers, descriptors, signals and deferred calls over libevent.
 * For: every door, and the agent, which runs it. Not for: work that takes longer than a
 * millisecond. All callbacks run on the loop's thread, never inside the call that asked for them.
 * Any object may be freed inside any callback, its own included.
 * SIGPIPE is ignored from loop_new() on: a child that is started must set it back to its default.
 * A pidfd is a descriptor that becomes readable: watch it with loop_fd_new(). */
#ifndef PGHEIR_IO_LOOP_H
#define PGHEIR_IO_LOOP_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"

struct event_base;
struct loop;
struct loop_timer;
struct loop_fd;
struct loop_signal;

typedef void loop_call_fn(void *arg);
typedef void loop_fd_fn(int fd, unsigned ready, void *arg);
typedef void loop_signal_fn(int signo, void *arg);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

/* Errors: RC_SYSTEM. Owner: the caller, who frees everything made on the loop before
 * loop_free(). */
enum rc loop_new(struct loop **ret, struct err *err);
/* Accepts NULL. Deferred calls that did not run are dropped. */
void loop_free(struct loop *loop);
/* For the REST server (evhttp) and the resolver (evdns) only. */
struct event_base *loop_base(struct loop *loop);

/* Runs until loop_stop(). RC_SYSTEM if the kernel interface fails. */
enum rc loop_run(struct loop *loop, struct err *err);
/* Runs until loop_stop() or until deadline_ms, whichever is first: for the CLI and tests.
 * Returns RC_OK if it was stopped, RC_TIMEOUT at the deadline, RC_SYSTEM. */
enum rc loop_run_until(struct loop *loop, int64_t deadline_ms, struct err *err);
/* The callbacks already due still run; then loop_run() returns. */
void loop_stop(struct loop *loop);

/* Calls fn(arg) once, in the order of posting, after the callback that is running now has returned.
 * Cannot be taken back: use a timer armed at 0 where that is needed. */
void loop_post(struct loop *loop, loop_call_fn *fn, void *arg);

/* A one-shot timer on CLOCK_BOOTTIME: time spent suspended counts, unlike in libevent's own timers.
 * Never fires early. Made unarmed. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_call_fn *fn, void *arg);
/* Fires at at_ms (clock_boot_ms() scale), or in the next turn if that is past; replaces an earlier
 * arming. */
void loop_timer_arm(struct loop_timer *timer, int64_t at_ms);
void loop_timer_disarm(struct loop_timer *timer);
/* When it will fire, or 0 if it is not armed. */
int64_t loop_timer_at_ms(const struct loop_timer *timer);
/* Accepts NULL. */
void loop_timer_free(struct loop_timer *timer);

/* Watches fd level-triggered. Made with nothing wanted. The descriptor stays the caller's, who
 * frees the watch before closing it. ready holds LOOP_READ and/or LOOP_WRITE; errors and hang-ups
 * count as what was wanted, so the next read or write tells. */
struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_fn *fn, void *arg);
/* wanted: LOOP_READ | LOOP_WRITE, or 0 for nothing. */
void loop_fd_want(struct loop_fd *watch, unsigned wanted);
/* Accepts NULL. */
void loop_fd_free(struct loop_fd *watch);

/* Calls fn in the loop when signo arrives. One watch per signal. */
struct loop_signal *loop_signal_new(struct loop *loop, int signo, loop_signal_fn *fn, void *arg);
/* Accepts NULL. */
void loop_signal_free(struct loop_signal *watch);

#endif
