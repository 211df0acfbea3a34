#include "pgheir/codec/pg_wal.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/crc32c.h"

#include <stdio.h>
#include <string.h>

enum {
    PAGE_HEADER = 24,      /* XLogPageHeaderData */
    PAGE_HEADER_LONG = 40, /* on the first page of a segment */
    PAGE_AT_FLAGS = 2,
    PAGE_AT_TIMELINE = 4,
    PAGE_AT_ADDRESS = 8,
    PAGE_AT_REMAINING = 16,
    FLAG_CONTINUES = 0x0001, /* begins with the rest of a record */
    FLAG_LONG_HEADER = 0x0002,
    FLAG_OVERWRITES = 0x0008, /* the record that should go on here was given up */
    RECORD_HEADER = 24,       /* XLogRecord */
    RECORD_AT_PREV = 8,
    RECORD_AT_INFO = 16,
    RECORD_AT_MANAGER = 17,
    RECORD_AT_CRC = 20,
    MANAGER_XLOG = 0,
    INFO_MASK = 0xf0,
    INFO_SHUTDOWN_CHECKPOINT = 0x00,
    INFO_SWITCH = 0x40,
    PIECE_SIZE = 4096
};

/* PostgreSQL refuses to write a longer one (XLogRecordMaxSize). */
#define RECORD_BYTES_MAX (1024u * 1024 * 1024)

struct walker {
    const struct pg_wal_source *source;
    uint64_t page_lsn; /* of the page in memory; UINT64_MAX: none */
    unsigned char *page;
    uint32_t timeline;  /* of the page in memory */
    bool is_overwritten; /* the read met a page that gives its record up */
    uint64_t overwritten_lsn;
};

struct record {
    uint64_t lsn, end_lsn, prev_lsn;
    uint32_t timeline;
    uint8_t manager, info;
};

static uint16_t u16_at(const unsigned char *bytes, size_t at)
{
    uint16_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

static uint32_t u32_at(const unsigned char *bytes, size_t at)
{
    uint32_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

static uint64_t u64_at(const unsigned char *bytes, size_t at)
{
    uint64_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

static uint32_t page_header_bytes(const struct walker *walker, uint64_t page_lsn)
{
    return page_lsn % walker->source->segment_bytes == 0 ? PAGE_HEADER_LONG : PAGE_HEADER;
}

static bool page_load(struct walker *walker, uint64_t page_lsn)
{
    if (walker->page_lsn == page_lsn)
        return true;
    walker->page_lsn = UINT64_MAX;
    if (!walker->source->read_page(page_lsn, walker->page, walker->source->arg))
        return false;
    /* A recycled segment still holds the pages of its former life, with their addresses. */
    if (u64_at(walker->page, PAGE_AT_ADDRESS) != page_lsn)
        return false;
    bool is_long = (u16_at(walker->page, PAGE_AT_FLAGS) & FLAG_LONG_HEADER) != 0;
    if (is_long != (page_header_bytes(walker, page_lsn) == PAGE_HEADER_LONG))
        return false;
    walker->page_lsn = page_lsn;
    walker->timeline = u32_at(walker->page, PAGE_AT_TIMELINE);
    return true;
}

/* Copies length bytes of a record from *at on, across pages; *at moves behind them. remaining: what
 * the record still has from *at on, against which each page that continues it is checked. */
static bool bytes_read(struct walker *walker, uint64_t *at, void *out, uint32_t length,
                       uint32_t remaining)
{
    uint32_t block = walker->source->block_bytes;
    unsigned char *to = out;
    while (length > 0) {
        uint64_t page_lsn = *at - *at % block;
        uint32_t offset = (uint32_t)(*at - page_lsn);
        if (!page_load(walker, page_lsn))
            return false;
        if (offset == 0) {
            uint16_t flags = u16_at(walker->page, PAGE_AT_FLAGS);
            if ((flags & FLAG_OVERWRITES) != 0) {
                walker->is_overwritten = true;
                walker->overwritten_lsn = page_lsn;
                return false;
            }
            if ((flags & FLAG_CONTINUES) == 0 ||
                u32_at(walker->page, PAGE_AT_REMAINING) != remaining)
                return false;
            offset = page_header_bytes(walker, page_lsn);
            *at += offset;
        }
        uint32_t piece = block - offset < length ? block - offset : length;
        memcpy(to, walker->page + offset, piece);
        to += piece;
        *at += piece;
        length -= piece;
        remaining -= piece;
    }
    return true;
}

/* A record begins behind the page header, never in it. On a page that continues a record nothing
 * can begin before that one's end, which is where the walk comes from. */
static uint64_t record_begin(const struct walker *walker, uint64_t lsn)
{
    return lsn % walker->source->block_bytes == 0 ? lsn + page_header_bytes(walker, lsn) : lsn;
}

static bool record_read(struct walker *walker, uint64_t lsn, struct record *ret)
{
    unsigned char header[RECORD_HEADER], piece[PIECE_SIZE];
    uint32_t block = walker->source->block_bytes;
    uint64_t at = record_begin(walker, lsn);
    walker->is_overwritten = false;
    if (!page_load(walker, at - at % block))
        return false;
    ret->lsn = at;
    ret->timeline = walker->timeline;
    /* The length stands in the first four bytes, which alignment keeps on one page. */
    if (at % 8 != 0 || at % block < page_header_bytes(walker, at - at % block))
        return false;
    uint32_t total = u32_at(walker->page, at % block);
    if (total < RECORD_HEADER || total > RECORD_BYTES_MAX)
        return false;
    if (!bytes_read(walker, &at, header, RECORD_HEADER, total))
        return false;
    uint32_t crc = crc32c_begin();
    for (uint32_t left = total - RECORD_HEADER; left > 0;) {
        uint32_t length = left < PIECE_SIZE ? left : PIECE_SIZE;
        if (!bytes_read(walker, &at, piece, length, left))
            return false;
        crc = crc32c_add(crc, piece, length);
        left -= length;
    }
    crc = crc32c_end(crc32c_add(crc, header, RECORD_AT_CRC));
    if (crc != u32_at(header, RECORD_AT_CRC))
        return false;
    ret->prev_lsn = u64_at(header, RECORD_AT_PREV);
    ret->info = header[RECORD_AT_INFO] & INFO_MASK;
    ret->manager = header[RECORD_AT_MANAGER];
    ret->end_lsn = (at + 7) / 8 * 8;
    if (ret->manager == MANAGER_XLOG && ret->info == INFO_SWITCH) {
        /* The rest of its segment is empty. */
        uint64_t segment = walker->source->segment_bytes;
        ret->end_lsn = (ret->end_lsn + segment - 1) / segment * segment;
    }
    return true;
}

enum rc pg_wal_find_end(const struct pg_wal_source *source, uint64_t start_lsn,
                        struct pg_wal_end *ret, struct err *err)
{
    struct walker walker = {.source = source, .page_lsn = UINT64_MAX};
    struct record last = {0}, next = {0}, before = {0};
    char text[LSN_TEXT_SIZE];
    uint64_t records = 0;
    uint32_t block = source->block_bytes;
    if (block < 1024 || block > PG_WAL_BLOCK_MAX || source->segment_bytes < block ||
        source->segment_bytes % block != 0)
        return err_set(err, RC_INVALID, "WAL blocks of %u bytes in segments of %u", block,
                       source->segment_bytes);
    walker.page = mem_new(1, block);
    bool is_good = record_read(&walker, start_lsn, &last);
    uint64_t prev_lsn = last.lsn;
    uint64_t at = last.end_lsn;
    while (is_good) {
        records++;
        bool is_read = record_read(&walker, at, &next);
        if (!is_read && walker.is_overwritten) {
            /* A crash broke the record that began at `at`; the server went on at this page. */
            at = walker.overwritten_lsn;
            is_read = record_read(&walker, at, &next);
        }
        if (!is_read || next.prev_lsn != prev_lsn || next.end_lsn <= last.end_lsn)
            break;
        last = next;
        prev_lsn = last.lsn;
        at = last.end_lsn;
    }
    if (is_good) {
        bool has_switch = last.prev_lsn != 0 && record_read(&walker, last.prev_lsn, &before) &&
                          before.manager == MANAGER_XLOG && before.info == INFO_SWITCH;
        *ret = (struct pg_wal_end){
            .timeline = last.timeline,
            .end_lsn = last.end_lsn,
            .last_lsn = last.lsn,
            .records = records,
            .is_shutdown_checkpoint =
                last.manager == MANAGER_XLOG && last.info == INFO_SHUTDOWN_CHECKPOINT,
            .switch_lsn = has_switch ? before.lsn : 0,
        };
    }
    mem_free(walker.page);
    if (!is_good)
        return err_set(err, RC_INVALID, "WAL: no complete record at %s",
                       lsn_format(start_lsn, text));
    return RC_OK;
}

const char *pg_wal_file_name(uint32_t timeline, uint64_t lsn, uint32_t segment_bytes,
                             char out[static PG_WAL_NAME_SIZE])
{
    uint64_t number = lsn / segment_bytes;
    uint64_t per_log = UINT64_C(0x100000000) / segment_bytes;
    bool is_fit = str_format(out, PG_WAL_NAME_SIZE, "%08X%08X%08X", timeline,
                             (unsigned)(number / per_log), (unsigned)(number % per_log));
    pgh_assert(is_fit);
    return out;
}

static bool hex8_parse(const char *text, uint32_t *ret)
{
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            value = value << 4 | (uint32_t)(c - 'A' + 10);
        else
            return false;
    }
    *ret = value;
    return true;
}

bool pg_wal_file_parse(const char *name, uint32_t segment_bytes, uint32_t *ret_timeline,
                       uint64_t *ret_lsn)
{
    uint32_t timeline = 0, log = 0, number = 0;
    size_t length = strlen(name);
    if (length < 24 || (length != 24 && strcmp(name + 24, ".partial") != 0))
        return false;
    if (!hex8_parse(name, &timeline) || !hex8_parse(name + 8, &log) ||
        !hex8_parse(name + 16, &number))
        return false;
    if (number >= UINT64_C(0x100000000) / segment_bytes)
        return false;
    *ret_timeline = timeline;
    *ret_lsn = ((uint64_t)log << 32) + (uint64_t)number * segment_bytes;
    return true;
}
