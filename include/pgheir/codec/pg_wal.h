/* Follows WAL records to find where the WAL ends. Pure: pages come through a callback.
 * The format is the same in PostgreSQL 13 to 18. Every page is hostile.
 * Source: PostgreSQL, access/xlogrecord.h, xlog_internal.h, xlogreader.c. */
#ifndef PGHEIR_CODEC_PG_WAL_H
#define PGHEIR_CODEC_PG_WAL_H

#include "pgheir/base/err.h"

enum { PG_WAL_BLOCK_MAX = 64 * 1024, PG_WAL_NAME_SIZE = 32 };

struct pg_wal_end {
    uint32_t timeline;           /* of the page on which the last record starts */
    uint64_t end_lsn;            /* first byte after the last complete record */
    uint64_t last_lsn;           /* where that record starts */
    uint64_t records;            /* how many were read */
    bool is_shutdown_checkpoint; /* the last one is a shutdown checkpoint */
    /* Where a WAL switch starts that is the record right before the last one; 0 if it is not
     * one. */
    uint64_t switch_lsn;
};

struct pg_wal_source {
    uint32_t block_bytes;
    uint32_t segment_bytes;
    /* Fills page with the block that begins at page_lsn. False if there is none. */
    bool (*read_page)(uint64_t page_lsn, void *page, void *arg);
    void *arg;
};

/* Reads from the record at start_lsn on until one is not complete. RC_INVALID if even the first one
 * cannot be read. */
enum rc pg_wal_find_end(const struct pg_wal_source *source, uint64_t start_lsn,
                        struct pg_wal_end *ret, struct err *err);

/* 00000001000000000000000A. Returns out. */
const char *pg_wal_file_name(uint32_t timeline, uint64_t lsn, uint32_t segment_bytes,
                             char out[static PG_WAL_NAME_SIZE]);
/* True for the name of a segment, whole or .partial: its timeline and the LSN at which it
 * begins. */
bool pg_wal_file_parse(const char *name, uint32_t segment_bytes, uint32_t *ret_timeline,
                       uint64_t *ret_lsn);

#endif
