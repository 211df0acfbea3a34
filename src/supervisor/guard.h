/* The guard: a fork of the supervisor that does nothing but wait for its death. Then, or when
 * the fence has passed and the supervisor did not act, it kills every process of PostgreSQL, and
 * repeats it until none is left.
 *
 * What it acts on lies in a page that both map. The supervisor writes a whole new set of facts
 * into the slot that is not in use and then names that slot, so that the guard finds a complete
 * set even if the supervisor died in the middle of writing. */
#ifndef PGHEIR_SUPERVISOR_GUARD_H
#define PGHEIR_SUPERVISOR_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pgheir/supervisor/fence.h"
#include "procfs.h"

enum { GUARD_BEAT_MS = 1000 };

struct guard_facts {
    struct file_id data_dir;
    struct proc_id postmaster;
    struct proc_id agent;
    struct fence fence;
    bool is_running; /* PostgreSQL is there, or being started, or being ended */
};

struct guard_page {
    struct guard_facts slots[2];
    _Atomic uint32_t current; /* how many sets were published; the lowest bit names the slot */
    /* Written by a postmaster's process before it becomes one: no moment without a name for it. */
    struct proc_id newborn;
    _Atomic int32_t newborn_pid; /* set after newborn is whole */
    _Atomic uint32_t beat;       /* the guard counts up, at least every GUARD_BEAT_MS */
    _Atomic int32_t guard_pid;   /* for PID 1, which waits for the guard's end */
    _Atomic int64_t acted_at_ms; /* when the guard killed at a fence, the supervisor alive; 0: no */
    _Atomic bool is_retired;     /* the supervisor ends in order: nothing is to be killed */
};

/* Maps the page, all zero. NULL with errno. Owner: the process, for its whole life. */
struct guard_page *guard_page_map(void);
/* Supervisor: from now on these facts count. */
void guard_page_publish(struct guard_page *page, const struct guard_facts *facts);
/* Guard: a whole set of facts. */
void guard_page_read(const struct guard_page *page, struct guard_facts *ret_facts);
/* A new postmaster's process: here I am. Called between fork and exec. */
void guard_page_announce(struct guard_page *page);

/* Forks the guard. keep_fd (-1: none) stays open in it: the lock on the state directory, which
 * must be held as long as the guard may kill. Returns its pid, or -1 with errno. */
int32_t guard_start(struct guard_page *page, int keep_fd);

#endif
