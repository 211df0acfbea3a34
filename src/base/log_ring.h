/* The bounded ring between those who log and the one who writes: one producer thread, one consumer
 * thread, no lock, so that neither a stuck disk nor a fork can hold up a line.
 * Private to base/log*.c. */
#ifndef PGHEIR_SRC_BASE_LOG_RING_H
#define PGHEIR_SRC_BASE_LOG_RING_H

#include "pgheir/base/base.h"

enum { LOG_RING_SIZE = 64 * 1024 };

/* Producer: adds one whole line, or counts it as lost and returns false. */
bool log_ring_put(const char *line, size_t length);
/* Producer: whether length more bytes fit. */
bool log_ring_has_room(size_t length);

/* Consumer: the longest run of waiting bytes that lies in one piece; 0 if there is none. */
size_t log_ring_peek(const char **ret_bytes);
/* Consumer: forgets the first length bytes that peek showed; lost: they reached no sink. */
void log_ring_take(size_t length, bool lost);

/* Anybody: lines waiting, and lines lost since the start. */
int log_ring_line_count(void);
/* See above. */
uint64_t log_ring_lost_count(void);

#endif
