/* What lets the supervisor and its guard act on a machine in trouble: memory that is not swapped
 * out, a place before others on the processor, a low score for the kernel's out-of-memory
 * killer. All of it is taken where it is allowed and done without where it is not; children get
 * back what we were started with. */
#ifndef PGHEIR_SUPERVISOR_FOOTING_H
#define PGHEIR_SUPERVISOR_FOOTING_H

#include <stdbool.h>

/* Remembers what we were started with, then takes what is allowed. Says once what was not. Before
 * privileges are dropped. */
void footing_take(void);
/* Memory locks are not inherited by a fork: the guard takes its own. Says nothing. */
void footing_lock_memory(void);
/* In a child, before exec. keeps_oom_score: the agent stays as hard to kill as we are (it
 * restores the score of its own children); PostgreSQL gets 0, or more if we were started with
 * more. */
void footing_restore(bool keeps_oom_score);
/* Closes every descriptor from first on. */
void footing_close_from(int first);

#endif
