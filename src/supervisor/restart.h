/* What the end of an agent means, and how soon the next one starts. Pure. */
#ifndef PGHEIR_SUPERVISOR_RESTART_H
#define PGHEIR_SUPERVISOR_RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RESTART_HEALTHY_MS = 60000, /* an agent that lived so long ends a run of crashes */
    RESTART_REPLACE_MS = 1000,  /* one that asks to be replaced sooner than this is crashing */
    RESTART_SHUTDOWN_MAX = 3,   /* crashes during a shutdown before the supervisor stops waiting */
};

enum restart_verdict {
    RESTART_LEAVE,   /* a decision: end PostgreSQL, exit with this code */
    RESTART_REPLACE, /* start the next one at once, nothing is wrong */
    RESTART_CRASH,   /* start the next one after restart_delay_ms() */
};

struct restart_facts {
    int status;               /* of waitpid() */
    bool is_greeted;          /* it had said HELLO: its configuration was good, it knew what runs */
    bool is_postgres_running;
    bool is_shutting_down;
    int64_t lived_ms;
};

/* *ret_code is set for RESTART_LEAVE only. */
enum restart_verdict restart_judge(const struct restart_facts *facts, int *ret_code);

/* crash_count counts from 1: 0, 100, 500, 2000, 2000 ... */
int64_t restart_delay_ms(int crash_count);

#endif
