/* Who we are: root only until we know whom to become, and one pgheir per data directory. */
#ifndef PGHEIR_SUPERVISOR_PRIVILEGE_H
#define PGHEIR_SUPERVISOR_PRIVILEGE_H

#include <stdbool.h>

/* As root: becomes, for good, the owner of the data directory (of the nearest folder above it
 * that exists, while it does not exist itself), with that user's groups. As anybody else:
 * nothing. false: said why; the owner is root, or the change failed. */
bool privilege_drop(const char *data_dir);

/* Makes state_dir (0700) where it is missing and locks it. The lock is shared with the guard,
 * which gets the descriptor: so a supervisor that follows a killed one waits here until that
 * one's guard has finished, and two at once are refused. Waits at most 10 s. Returns the
 * descriptor, -1 if another one holds it (said), or -2 if it cannot be locked at all (said; then
 * go on without). */
int privilege_lock_state(const char *state_dir);

#endif
