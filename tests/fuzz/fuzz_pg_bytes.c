/* pg_control and WAL pages: bytes from a disk that may be broken. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/codec/crc32c.h"
#include "pgheir/codec/pg_control_data.h"
#include "pgheir/codec/pg_wal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCK = 1024, SEGMENT = 4 * BLOCK };

struct pages {
    const uint8_t *data;
    size_t size;
};

/* Addresses and lengths are set right, so that the walk gets further than the first check. */
static bool page_read(uint64_t page_lsn, void *page, void *arg)
{
    const struct pages *pages = arg;
    uint64_t at = page_lsn - SEGMENT;
    uint16_t flags;
    if (page_lsn < SEGMENT || at + BLOCK > pages->size)
        return false;
    memcpy(page, pages->data + at, BLOCK);
    memcpy(&flags, (char *)page + 2, sizeof flags);
    flags = (uint16_t)((flags & ~2) | (page_lsn % SEGMENT == 0 ? 2 : 0));
    memcpy((char *)page + 2, &flags, sizeof flags);
    memcpy((char *)page + 8, &page_lsn, sizeof page_lsn);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pg_control_data control;
    struct pages pages = {data, size};
    const struct pg_wal_source source = {BLOCK, SEGMENT, page_read, &pages};
    struct pg_wal_end end;
    unsigned char file[296];
    (void)pg_control_data_parse_bytes(data, size, &control, NULL);
    if (size >= sizeof file) {
        uint32_t version = 1300;
        memcpy(file, data, sizeof file);
        memcpy(file + 8, &version, sizeof version);
        uint32_t crc = crc32c_end(crc32c_add(crc32c_begin(), file, 288));
        memcpy(file + 288, &crc, sizeof crc);
        if (pg_control_data_parse_bytes(file, sizeof file, &control, NULL) == RC_OK)
            pgh_assert(control.wal_segment_bytes >= 1024 * 1024);
    }
    if (pg_wal_find_end(&source, SEGMENT, &end, NULL) == RC_OK)
        pgh_assert(end.end_lsn > end.last_lsn && end.records > 0);
    return 0;
}
