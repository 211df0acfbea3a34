#include "pgheir/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log_ring.h"
#include "log_sink.h"

#include "pgheir/base/str.h"

enum {
    LOG_TEXT_SIZE = 4096 + 1,
    /* Escapes can make a text longer; a line that would still not fit is cut like a long text. */
    LOG_LINE_SIZE = 2 * LOG_TEXT_SIZE,
    LOG_REPEAT_SIZE = 256,
    LOG_REOPEN_WAIT_MS = 200,
    LOG_CLOSE_WAIT_MS = 1000
};

static const char *const log_level_texts[LOG_LEVEL_COUNT] = {
    [LOG_LEVEL_DEBUG] = "DEBUG",       [LOG_LEVEL_INFO] = "INFO",
    [LOG_LEVEL_WARNING] = "WARNING",   [LOG_LEVEL_ERROR] = "ERROR",
    [LOG_LEVEL_CRITICAL] = "CRITICAL",
};

/* The log is the one thing in the process that everybody may write to without being handed it. */
static struct {
    enum log_level level;
    bool json;
    bool deduplicate;
    uint64_t reported_lost;       /* lines lost that a line in the log has already told of */
    char repeat[LOG_REPEAT_SIZE]; /* the last "no action" line, for deduplicate */
} log_state = {.level = LOG_LEVEL_INFO};

const char *
log_level_text(enum log_level level)
{
    pgh_assert((unsigned)level < (unsigned)LOG_LEVEL_COUNT);
    return log_level_texts[level];
}

bool
log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < (unsigned)LOG_LEVEL_COUNT; i++) {
        if (str_equal_nocase(text, log_level_texts[i])) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    if (str_equal_nocase(text, "WARN"))
        *ret_level = LOG_LEVEL_WARNING;
    else if (str_equal_nocase(text, "FATAL"))
        *ret_level = LOG_LEVEL_CRITICAL;
    else
        return false;
    return true;
}

bool
log_is_enabled(enum log_level level)
{
    return level >= log_state.level;
}

uint64_t
log_lost_count(void)
{
    return log_ring_lost_count();
}

int
log_queued_count(void)
{
    return log_ring_line_count();
}

void
log_flush(void)
{
    log_sink_flush();
}

int
log_open(const struct log_options *options)
{
    struct log_sink_options sink = {
        .dir = options->dir,
        .file_size = options->file_size,
        .file_num = options->file_num,
        .file_mode = options->file_mode,
    };

    pgh_assert((unsigned)options->level < (unsigned)LOG_LEVEL_COUNT);
    if (log_sink_open(&sink, LOG_REOPEN_WAIT_MS) != 0)
        return -1;
    log_state.level = options->level;
    log_state.json = options->json;
    log_state.deduplicate = options->deduplicate;
    log_state.repeat[0] = '\0';
    return 0;
}

int
log_close(void)
{
    return log_sink_close(LOG_CLOSE_WAIT_MS);
}

/* How many bytes of a valid UTF-8 character start here; 0 if they are none. */
static size_t
utf8_length(const unsigned char *bytes)
{
    size_t length;

    if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf)
        length = 2;
    else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef)
        length = 3;
    else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4)
        length = 4;
    else
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates and what is beyond U+10FFFF. */
    if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) ||
        (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return length;
}

/* A line under construction: appends whole pieces or nothing. */
struct line {
    char bytes[LOG_LINE_SIZE];
    size_t length;
    size_t limit;
    bool full;
};

static void
line_append(struct line *line, const char *bytes, size_t length)
{
    if (line->full || length > line->limit - line->length) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

static void
line_puts(struct line *line, const char *text)
{
    line_append(line, text, strlen(text));
}

/* Appends the text of a line so that it stays one line and, in JSON, valid. */
static void
line_append_escaped(struct line *line, const char *text, bool json)
{
    const unsigned char *bytes = (const unsigned char *)text;
    char escape[8];

    while (*bytes != '\0' && !line->full) {
        size_t length = 1;

        if (*bytes == '\n' || *bytes == '\r' || *bytes == '\t') {
            line_puts(line, *bytes == '\n' ? "\\n" : *bytes == '\r' ? "\\r" : "\\t");
        } else if (*bytes < 0x20 || *bytes == 0x7f) {
            (void)snprintf(escape, sizeof(escape), json ? "\\u%04x" : "\\x%02x", *bytes);
            line_puts(line, escape);
        } else if (*bytes < 0x80) {
            if (json && (*bytes == '"' || *bytes == '\\'))
                line_puts(line, "\\");
            line_append(line, (const char *)bytes, 1);
        } else if ((length = utf8_length(bytes)) > 0) {
            line_append(line, (const char *)bytes, length);
        } else {
            length = 1;
            (void)snprintf(escape, sizeof(escape), json ? "\\ufffd" : "\\x%02x", *bytes);
            line_puts(line, escape);
        }
        bytes += length;
    }
}

/* "2026-11-23 14:52:54,004" in local time, as Patroni writes it. */
static void
line_append_time(struct line *line)
{
    struct timespec now;
    struct tm parts;
    char text[64];

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (localtime_r(&now.tv_sec, &parts) == NULL)
        memset(&parts, 0, sizeof(parts));
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02d %02d:%02d:%02d,%03d", parts.tm_year + 1900,
                   parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                   (int)(now.tv_nsec / 1000000));
    line_puts(line, text);
}

static void
log_emit(enum log_level level, const char *text)
{
    struct line line;
    const char *tail = log_state.json ? "\"}\n" : "\n";

    line.length = 0;
    line.full = false;
    /* Room for "..." and the tail stays free until the end. */
    line.limit = sizeof(line.bytes) - 8;
    line_puts(&line, log_state.json ? "{\"time\": \"" : "");
    line_append_time(&line);
    line_puts(&line, log_state.json ? "\", \"level\": \"" : " ");
    line_puts(&line, log_level_text(level));
    line_puts(&line, log_state.json ? "\", \"message\": \"" : ": ");
    line_append_escaped(&line, text, log_state.json);
    if (line.full) {
        line.full = false;
        line.limit = sizeof(line.bytes);
        line_puts(&line, "...");
    }
    line.limit = sizeof(line.bytes);
    line_puts(&line, tail);
    (void)log_ring_put(line.bytes, line.length);
}

/* Whether this line says again what the line before it said: nothing to do. */
static bool
log_is_repetition(enum log_level level, const char *text)
{
    if (!log_state.deduplicate || log_state.level != LOG_LEVEL_INFO)
        return false;
    if (level != LOG_LEVEL_INFO || (!str_starts_with(text, "no action") &&
                                    !str_starts_with(text, "PAUSE: no action"))) {
        log_state.repeat[0] = '\0';
        return false;
    }
    if (str_equal(log_state.repeat, text))
        return true;
    /* A line too long to remember is written each time. */
    if (!str_copy(log_state.repeat, sizeof(log_state.repeat), text))
        log_state.repeat[0] = '\0';
    return false;
}

/* Tells of lost lines as soon as there is room again. */
static void
log_report_lost(void)
{
    uint64_t lost = log_ring_lost_count();
    char text[96];

    if (lost == log_state.reported_lost || !log_ring_has_room(LOG_LINE_SIZE))
        return;
    (void)snprintf(text, sizeof(text), "log lines were lost: lost=%llu reason=log_not_written",
                   (unsigned long long)(lost - log_state.reported_lost));
    log_state.reported_lost = lost;
    log_emit(LOG_LEVEL_WARNING, text);
}

void
log_line(enum log_level level, const char *fmt, ...)
{
    char text[LOG_TEXT_SIZE];
    va_list args;
    int length;
    int saved_errno = errno;

    if (!log_is_enabled(level))
        return;
    va_start(args, fmt);
    length = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (length >= (int)sizeof(text))
        memcpy(text + sizeof(text) - 4, "...", 4);
    if (!log_is_repetition(level, text)) {
        log_report_lost();
        log_emit(level, text);
        log_sink_flush();
    }
    errno = saved_errno;
}
