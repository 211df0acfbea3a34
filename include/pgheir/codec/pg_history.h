/* Timeline history: what NNNNNNNN.history files and TIMELINE_HISTORY answers say.
 * For: finding where two timelines parted. Pure. Every input is hostile.
 * Errors: RC_INVALID (not a history, the err names the line), RC_LIMIT (more than PG_HISTORY_MAX
 * rows). */
#ifndef PGHEIR_CODEC_PG_HISTORY_H
#define PGHEIR_CODEC_PG_HISTORY_H

#include "pgheir/base/err.h"

enum { PG_HISTORY_MAX = 512, PG_HISTORY_REASON_SIZE = 96, PG_HISTORY_FILE_SIZE = 24 };

/* timeline ended at switch_lsn, where the next one of the list begins. */
struct pg_history_row {
    uint32_t timeline;
    uint64_t switch_lsn;
    char reason[PG_HISTORY_REASON_SIZE]; /* cut if longer: it is for people */
};

/* The ancestors of `timeline`, oldest first; count is 0 on timeline 1. */
struct pg_history {
    uint32_t timeline; /* the one whose history this is */
    int count;
    struct pg_history_row rows[PG_HISTORY_MAX];
};

/* Reads the text of the history of `timeline`. Rows must have growing timelines below it. */
enum rc pg_history_parse(const char *text, size_t length, uint32_t timeline, struct pg_history *ret,
                         struct err *err);

/* Where `timeline` ended on the way to history->timeline. True and *ret_lsn if it is an
 * ancestor.
 * For history->timeline itself: true with UINT64_MAX (it has not ended). False: not in the
 * history. */
bool pg_history_find_switch(const struct pg_history *history, uint32_t timeline, uint64_t *ret_lsn);

/* True if WAL up to lsn on `timeline` is a part of this history: nothing was written after the
 * fork. */
bool pg_history_contains(const struct pg_history *history, uint32_t timeline, uint64_t lsn);

/* 0000000A.history. Returns out. */
const char *pg_history_file_name(uint32_t timeline, char out[static PG_HISTORY_FILE_SIZE]);
/* 0 if name is not that of a history file. */
uint32_t pg_history_file_timeline(const char *name);

#endif
