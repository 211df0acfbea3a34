#include "pgheir/codec/pg_history.h"

#include "pgheir/base/str.h"

#include <stdio.h>
#include <string.h>

enum { LINE_SIZE = 1024 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Cuts the next blank-separated word out of *at; "" at the end. */
static const char *word_next(char **at)
{
    while (is_blank(**at))
        (*at)++;
    char *word = *at;
    while (**at != '\0' && !is_blank(**at))
        (*at)++;
    if (**at != '\0')
        *(*at)++ = '\0';
    return word;
}

static void reason_copy(char out[static PG_HISTORY_REASON_SIZE], const char *text)
{
    size_t length = 0;
    while (is_blank(*text))
        text++;
    for (; text[length] != '\0' && length + 1 < PG_HISTORY_REASON_SIZE; length++)
        out[length] = (unsigned char)text[length] < ' ' ? ' ' : text[length];
    out[length] = '\0';
}

/* One row: parent timeline, switch position, reason. Source: PostgreSQL, timeline.c,
 * readTimeLineHistory(). */
static enum rc row_parse(char *line, int number, struct pg_history *history, struct err *err)
{
    uint64_t timeline = 0, lsn = 0;
    const char *first = word_next(&line);
    const char *second = word_next(&line);
    if (!str_parse_uint64(first, &timeline) || timeline == 0 || timeline > UINT32_MAX)
        return err_set(err, RC_INVALID, "timeline history, line %d: expected a timeline, found"
                       " \"%.32s\"", number, first);
    if (!lsn_parse(second, &lsn))
        return err_set(err, RC_INVALID, "timeline history, line %d: expected an LSN, found"
                       " \"%.32s\"", number, second);
    uint32_t last = history->count > 0 ? history->rows[history->count - 1].timeline : 0;
    if (timeline <= last || timeline >= history->timeline)
        return err_set(err, RC_INVALID, "timeline history, line %d: timeline %u is not between %u"
                       " and %u", number, (unsigned)timeline, last, history->timeline);
    if (history->count == PG_HISTORY_MAX)
        return err_set(err, RC_LIMIT, "timeline history: more than %d timelines", PG_HISTORY_MAX);
    struct pg_history_row *row = &history->rows[history->count++];
    row->timeline = (uint32_t)timeline;
    row->switch_lsn = lsn;
    reason_copy(row->reason, line);
    return RC_OK;
}

enum rc pg_history_parse(const char *text, size_t length, uint32_t timeline, struct pg_history *ret,
                         struct err *err)
{
    const char *at = text, *end = text + length;
    ret->timeline = timeline;
    ret->count = 0;
    for (int number = 1; at < end; number++) {
        char line[LINE_SIZE];
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t span = (size_t)((stop != NULL ? stop : end) - at);
        /* A reason may be long; what counts stands in front. */
        size_t kept = span < sizeof line - 1 ? span : sizeof line - 1;
        memcpy(line, at, kept);
        line[kept] = '\0';
        at = stop != NULL ? stop + 1 : end;
        char *begin = line;
        while (is_blank(*begin))
            begin++;
        if (*begin == '\0' || *begin == '#')
            continue;
        enum rc rc = row_parse(begin, number, ret, err);
        if (rc != RC_OK)
            return rc;
    }
    if (timeline > 1 && ret->count == 0)
        return err_set(err, RC_INVALID, "timeline history of %u: no row in it", timeline);
    return RC_OK;
}

bool pg_history_find_switch(const struct pg_history *history, uint32_t timeline, uint64_t *ret_lsn)
{
    if (timeline == history->timeline) {
        *ret_lsn = UINT64_MAX;
        return true;
    }
    for (int i = 0; i < history->count; i++) {
        if (history->rows[i].timeline == timeline) {
            *ret_lsn = history->rows[i].switch_lsn;
            return true;
        }
    }
    return false;
}

bool pg_history_contains(const struct pg_history *history, uint32_t timeline, uint64_t lsn)
{
    uint64_t switch_lsn = 0;
    return pg_history_find_switch(history, timeline, &switch_lsn) && lsn <= switch_lsn;
}

const char *pg_history_file_name(uint32_t timeline, char out[static PG_HISTORY_FILE_SIZE])
{
    bool is_fit = str_format(out, PG_HISTORY_FILE_SIZE, "%08X.history", timeline);
    pgh_assert(is_fit);
    return out;
}

uint32_t pg_history_file_timeline(const char *name)
{
    uint32_t timeline = 0;
    if (strlen(name) != 16 || strcmp(name + 8, ".history") != 0)
        return 0;
    for (int i = 0; i < 8; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9')
            timeline = timeline << 4 | (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            timeline = timeline << 4 | (uint32_t)(c - 'A' + 10);
        else
            return 0;
    }
    return timeline;
}
