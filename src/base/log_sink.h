/* Where log lines end: stderr, or a rotated file. Private to base/log*.c. */
#ifndef PGHEIR_SRC_BASE_LOG_SINK_H
#define PGHEIR_SRC_BASE_LOG_SINK_H

#include "pgheir/base/base.h"

struct log_sink_options {
    const char *dir; /* NULL: stderr */
    int64_t file_size;
    int file_num;
    int file_mode;
};

/* Replaces the sink. On failure the old one stays, errno says why, -1 is returned. Waits at most
 * wait_ms for the old one to let go. */
int log_sink_open(const struct log_sink_options *options, int wait_ms);
/* Drains the ring for at most wait_ms and goes back to stderr; -1 if lines had to stay. */
int log_sink_close(int wait_ms);
/* Moves lines towards the sink without blocking. */
void log_sink_flush(void);

#endif
