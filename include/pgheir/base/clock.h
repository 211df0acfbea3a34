/* Time. Inside the house a moment is an int64_t of CLOCK_BOOTTIME in milliseconds with a name that
 * ends in _at_ms or _deadline_ms, a span ends in _ms. The wall clock exists only for people and for
 * dates that cross a wall (scheduled_at, history): such names contain "wall".
 * The rooms model and core never include this file: time comes to them inside events. */
#ifndef PGHEIR_BASE_CLOCK_H
#define PGHEIR_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_BOOTTIME (counts through suspend). Never 0, never negative. */
int64_t clock_boot_ms(void);

/* The same in microseconds, for measuring. */
int64_t clock_boot_us(void);

/* Milliseconds since 1970 UTC. For people only, never for an interval. */
int64_t clock_wall_ms(void);

enum { CLOCK_ISO_SIZE = 40 };

/* Writes wall_ms as 2026-11-23T14:54:57.001196+00:00 (UTC) and returns out. */
const char *clock_iso_format(int64_t wall_ms, char out[static CLOCK_ISO_SIZE]);

/* Reads an ISO 8601 time (2026-11-23T14:54:57.001196+00:00; a blank may stand for the T, seconds,
 * fraction and offset may be absent) into UTC milliseconds. *ret_has_zone tells whether it carried
 * an offset or Z; without one it is read as UTC, and the caller decides what that is worth.
 * Returns 0, or -1 if the text is not such a time (outputs untouched). */
int clock_iso_parse(const char *text, int64_t *ret_wall_ms, int *ret_has_zone);

#endif
