/* The arithmetic of the fence: when PostgreSQL must be dead. Pure: no clock, no I/O, no
 * allocation. The supervisor, its guard and the simulator run this same code.
 *
 * Moments are milliseconds of CLOCK_BOOTTIME. A fence "has passed" at until_ms itself: the last
 * moment at which a write may be acknowledged is until_ms - 1.
 *
 *   FENCE_NONE      nothing to enforce: no PostgreSQL, or one that runs as a standby
 *   FENCE_UNTIL     a writer may run until until_ms
 *   FENCE_DISARMED  a pause that is confirmed in etcd: a writer may run without limit
 *
 * The nets, for a writer under FENCE_UNTIL:
 *
 *   until_ms                                   the supervisor kills
 *   until_ms + FENCE_KERNEL_SLACK_MS           the kernel kills a supervisor that did not
 *   until_ms + FENCE_GUARD_SLACK_MS            the guard kills even if the supervisor still lives
 */
#ifndef PGHEIR_SUPERVISOR_FENCE_H
#define PGHEIR_SUPERVISOR_FENCE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    /* A healthy supervisor wakes within a few milliseconds of the fence and takes the timer away
     * as its first act; 50 ms keeps a late wake-up on a busy machine from costing the supervisor
     * its life, and stays far inside the 300 ms that the fence lies before the end of the lease. */
    FENCE_KERNEL_SLACK_MS = 50,
    /* Behind the kernel timer, so that the guard normally finds a dead supervisor. It catches a
     * supervisor that cannot die (uninterruptible sleep) or whose timer could not be armed. */
    FENCE_GUARD_SLACK_MS = 100,
    /* No lease is longer. Catches another unit (seconds, microseconds, wall clock) before it
     * disarms us. */
    FENCE_SPAN_MS_MAX = 86400000,
};

enum fence_kind {
    FENCE_NONE = 0,
    FENCE_UNTIL = 1,
    FENCE_DISARMED = 2,
};

struct fence {
    enum fence_kind kind;
    int64_t until_ms; /* 0 unless kind is FENCE_UNTIL */
};

/* True for FENCE_UNTIL with now_ms >= until_ms. A passed fence stays passed: time does not go
 * back, and fence_push() refuses. Only fence_clear() ends it. */
bool fence_is_passed(const struct fence *held, int64_t now_ms);

/* Whether a held fence gives a writer the right to run: UNTIL not passed, or DISARMED. */
bool fence_allows_writer(const struct fence *held, int64_t now_ms);

/* An incoming push. Returns 0 and replaces *held, or refuses and leaves it as it was:
 *   ESTALE  the held fence has passed. However new the pushed one is, it comes too late: the nets
 *           are acting, and what they began is ended (a lease that was renewed in time but pushed
 *           too late costs a restart, never a second writer).
 *   EBUSY   NONE while a writer runs: its right would have no end. Stop PostgreSQL first.
 *   ETIME   UNTIL not later than now while NONE is held: it gives no right, and nothing is to be
 *           killed.
 *   EINVAL  unknown kind, until_ms not positive, or further ahead than FENCE_SPAN_MS_MAX.
 * Everything else is accepted, an earlier UNTIL (the right ended early) and one already over while
 * UNTIL or DISARMED is held (kill at once) included: a push may always shorten the right. */
int fence_push(struct fence *held, const struct fence *pushed, bool is_writer, int64_t now_ms);

/* After no process of PostgreSQL is left. Only then may a new fence be pushed. */
void fence_clear(struct fence *held);

enum fence_act {
    FENCE_ACT_NOTHING,
    FENCE_ACT_KILL,  /* passed, and something runs: kill until nothing does, then fence_clear() */
    FENCE_ACT_CLEAR, /* passed, and nothing runs: fence_clear() */
};

/* What the supervisor must do at now_ms. is_running: a process of PostgreSQL is there. */
enum fence_act fence_act_at(const struct fence *held, bool is_running, int64_t now_ms);

/* When to look again: until_ms, or 0 for "no need". */
int64_t fence_deadline_ms(const struct fence *held);

/* When the kernel must kill the supervisor (0: timer off), and when the guard acts by itself (0:
 * never). The kernel timer is on only while something runs: with nothing to fence, a late
 * supervisor harms nobody. */
int64_t fence_kernel_deadline_ms(const struct fence *held, bool is_running);
int64_t fence_guard_deadline_ms(const struct fence *held, bool is_running);

#endif
