/* Process 1 of a pid namespace (a container without an init). The kernel drops a timer's SIGKILL
 * that is aimed at process 1, so pgheir forks once more: process 1 only reaps, forwards signals
 * and ends with its child. */
#ifndef PGHEIR_SUPERVISOR_FIRST_H
#define PGHEIR_SUPERVISOR_FIRST_H

#include "guard.h"

/* Before anything else of process 1: signals wait until there is somebody to forward them to. For
 * process 1 the kernel would drop them. */
void first_hold_signals(void);

/* Returns in the child, which becomes the supervisor. Process 1 stays inside and exits with the
 * child's status (128 + signal for a death by signal), after the guard has finished if the child
 * was killed. */
void first_split(struct guard_page *page);

#endif
