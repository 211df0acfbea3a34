/* The agent's and the CLI's log. One line, one fact: "2026-11-23 14:52:54,004 INFO: text
 * key=value". Writes never block: lines go into a bounded ring; what does not fit is counted. A
 * descriptor is written to when it is ready, a file by a thread of its own, because writing to a
 * disk has no deadline. Control characters are escaped, so that hostile text cannot forge a
 * line.
 * For: one thread of one process. Rooms that decide (core) or translate (codec) do not log;
 * doors log at DEBUG only, or at WARNING for what the agent cannot see; the agent logs decisions
 * with reason=. Secrets never reach this file. */
#ifndef PGHEIR_BASE_LOG_H
#define PGHEIR_BASE_LOG_H

#include "pgheir/base/base.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_CRITICAL,
    LOG_LEVEL_COUNT
};

struct log_options {
    enum log_level level;
    bool json;         /* log.type: json, one object per line with time, level, message */
    const char *dir;   /* NULL: stderr. Else <dir>/patroni.log, rotated; copied */
    int64_t file_size; /* bytes; rotate before the file grows beyond. 0: never */
    int file_num;      /* rotated files kept (patroni.log.1 is the youngest). 0: never rotate */
    int file_mode;     /* permission bits of the file; 0: umask decides */
    bool deduplicate;  /* at level INFO, drop a repeated line "no action..." */
};

/* Opens the sink. May be called again to change options or after a rotation from outside
 * (reload). On failure the old sink stays, errno tells why and -1 is returned. Waits at most 200
 * ms, for an old file that does not take its last lines. Before the first call lines go to
 * stderr at INFO. */
int log_open(const struct log_options *options);
/* Writes what is left, for at most 1 s, and goes back to stderr. Returns -1 if lines had to
 * stay. */
int log_close(void);
/* Writes what the ring holds without blocking; call when the loop has turned and
 * log_queued_count() is not 0. log_line() tries by itself first. */
void log_flush(void);
/* Lines lost because the ring was full or the disk refused them. For REST (logger_records_lost). */
uint64_t log_lost_count(void);
/* Lines waiting in the ring. For REST (logger_queue_size). */
int log_queued_count(void);
/* Whether a line of this level would be written: ask before computing something costly for it. */
bool log_is_enabled(enum log_level level);
/* Reads DEBUG, INFO, WARNING (or WARN), ERROR, CRITICAL (or FATAL) in any case; false if it is
 * none. */
bool log_level_parse(const char *text, enum log_level *ret_level);
/* The name of a level as it stands in the log. */
const char *log_level_text(enum log_level level);
/* Writes one line; text beyond 4 KiB is cut and ends in "...". Use the macros below. */
void log_line(enum log_level level, const char *fmt, ...) PGH_PRINTF(2, 3);

#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_is_enabled(LOG_LEVEL_DEBUG))                                                       \
            log_line(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                \
    } while (0)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_critical(...) log_line(LOG_LEVEL_CRITICAL, __VA_ARGS__)

#endif
