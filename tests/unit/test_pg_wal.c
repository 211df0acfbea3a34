#include "tests/lib/check.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/prng.h"
#include "pgheir/codec/crc32c.h"
#include "pgheir/codec/pg_wal.h"

/* A tiny WAL writer: the same format from the other side. Segments are small, so that every border
 * is met. */
enum {
    BLOCK = 8192,
    SEGMENT = 4 * BLOCK,
    PAGES = 64,
    TIMELINE = 3,
    FIRST_LSN = SEGMENT, /* WAL never begins at 0 */
    XLOG = 0,
    INFO_SHUTDOWN = 0x00,
    INFO_ONLINE = 0x10,
    INFO_SWITCH = 0x40
};

struct wal {
    unsigned char pages[PAGES][BLOCK];
    uint64_t at;   /* next byte */
    uint64_t prev; /* start of the last record */
    int first_missing;
};

static unsigned header_bytes(uint64_t page_lsn)
{
    return page_lsn % SEGMENT == 0 ? 40 : 24;
}

static unsigned char *page_of(struct wal *wal, uint64_t lsn)
{
    return wal->pages[(lsn - FIRST_LSN) / BLOCK];
}

static void page_begin(struct wal *wal, uint64_t page_lsn, uint16_t flags, uint32_t remaining)
{
    unsigned char *page = page_of(wal, page_lsn);
    uint16_t magic = 0xd110;
    uint32_t timeline = TIMELINE;
    if (page_lsn % SEGMENT == 0)
        flags |= 2;
    memcpy(page, &magic, 2);
    memcpy(page + 2, &flags, 2);
    memcpy(page + 4, &timeline, 4);
    memcpy(page + 8, &page_lsn, 8);
    memcpy(page + 16, &remaining, 4);
}

static void bytes_put(struct wal *wal, const unsigned char *bytes, uint32_t length,
                      uint32_t remaining)
{
    for (; length > 0; length--, bytes++, remaining--) {
        if (wal->at % BLOCK == 0) {
            page_begin(wal, wal->at, 1, remaining);
            wal->at += header_bytes(wal->at);
        }
        page_of(wal, wal->at)[wal->at % BLOCK] = *bytes;
        wal->at++;
    }
}

/* Returns the LSN at which the record starts. */
static uint64_t record_put(struct wal *wal, uint8_t manager, uint8_t info, uint32_t body)
{
    static unsigned char record[24 + 100000];
    uint32_t total = 24 + body;
    if (wal->at % BLOCK == 0) {
        page_begin(wal, wal->at, 0, 0);
        wal->at += header_bytes(wal->at);
    }
    uint64_t start = wal->at;
    memset(record, 0, sizeof record);
    memcpy(record, &total, 4);
    memcpy(record + 8, &wal->prev, 8);
    record[16] = info;
    record[17] = manager;
    for (uint32_t i = 0; i < body; i++)
        record[24 + i] = (unsigned char)(start + i);
    uint32_t crc = crc32c_add(crc32c_begin(), record + 24, body);
    crc = crc32c_end(crc32c_add(crc, record, 20));
    memcpy(record + 20, &crc, 4);
    bytes_put(wal, record, total, total);
    wal->at = (wal->at + 7) / 8 * 8;
    wal->prev = start;
    if (manager == XLOG && info == INFO_SWITCH && wal->at % SEGMENT != 0)
        wal->at = (wal->at / SEGMENT + 1) * SEGMENT;
    return start;
}

static bool page_read(uint64_t page_lsn, void *page, void *arg)
{
    struct wal *wal = arg;
    if (page_lsn < FIRST_LSN || page_lsn >= FIRST_LSN + (uint64_t)PAGES * BLOCK ||
        (wal->first_missing > 0 && page_lsn >= FIRST_LSN + (uint64_t)wal->first_missing * BLOCK))
        return false;
    memcpy(page, page_of(wal, page_lsn), BLOCK);
    return true;
}

static enum rc find(struct wal *wal, uint64_t start, struct pg_wal_end *end, struct err *err)
{
    const struct pg_wal_source source = {BLOCK, SEGMENT, page_read, wal};
    return pg_wal_find_end(&source, start, end, err);
}

static struct wal *wal_new(void)
{
    struct wal *wal = mem_new(1, sizeof *wal);
    assert_non_null(wal);
    wal->at = FIRST_LSN;
    return wal;
}

static void test_clean_stop(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    (void)state;
    for (int i = 0; i < 50; i++)
        (void)record_put(wal, 10, 0, 100);
    uint64_t last = record_put(wal, XLOG, INFO_SHUTDOWN, 90);
    assert_int_equal(find(wal, last, &end, NULL), RC_OK);
    assert_int_equal(end.last_lsn, last);
    assert_int_equal(end.end_lsn, wal->at);
    assert_int_equal(end.records, 1);
    assert_int_equal(end.timeline, TIMELINE);
    assert_true(end.is_shutdown_checkpoint);
    assert_int_equal(end.switch_lsn, 0);
    mem_free(wal);
}

static void test_switch_before_the_checkpoint(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    (void)state;
    uint64_t first = record_put(wal, 10, 0, 100);
    uint64_t on = record_put(wal, XLOG, INFO_SWITCH, 0);
    assert_int_equal(wal->at % SEGMENT, 0);
    uint64_t last = record_put(wal, XLOG, INFO_SHUTDOWN, 90);
    assert_int_equal(find(wal, last, &end, NULL), RC_OK);
    assert_int_equal(end.switch_lsn, on);
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_int_equal(end.last_lsn, last);
    assert_int_equal(end.records, 3);
    /* A switch as the very last record: what follows begins in the next segment. */
    (void)record_put(wal, XLOG, INFO_SWITCH, 0);
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_int_equal(end.end_lsn, wal->at);
    assert_false(end.is_shutdown_checkpoint);
    mem_free(wal);
}

static void test_records_of_any_length_over_any_border(void **state)
{
    struct prng prng;
    (void)state;
    prng_seed(&prng, 7);
    for (int round = 0; round < 30; round++) {
        struct wal *wal = wal_new();
        struct pg_wal_end end;
        uint64_t first = 0, last = 0;
        unsigned records = 0;
        while (wal->at < FIRST_LSN + (uint64_t)(PAGES - 16) * BLOCK) {
            uint32_t body = (uint32_t)prng_below(&prng, prng_below(&prng, 4) == 0 ? 40000 : 300);
            last = record_put(wal, 10, 0, body);
            first = first == 0 ? last : first;
            records++;
        }
        assert_int_equal(find(wal, first, &end, NULL), RC_OK);
        assert_int_equal(end.last_lsn, last);
        assert_int_equal(end.end_lsn, wal->at);
        assert_int_equal(end.records, records);
        mem_free(wal);
    }
}

static void test_a_broken_byte_ends_it(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    uint64_t starts[40];
    (void)state;
    for (int i = 0; i < 40; i++)
        starts[i] = record_put(wal, 10, 0, 1000);
    for (int i = 1; i < 40; i++) {
        unsigned char *byte = page_of(wal, starts[i]) + starts[i] % BLOCK + 4;
        *byte ^= 1;
        assert_int_equal(find(wal, starts[0], &end, NULL), RC_OK);
        assert_int_equal(end.last_lsn, starts[i - 1]);
        assert_true(end.end_lsn <= starts[i]);
        *byte ^= 1;
    }
    mem_free(wal);
}

static void test_the_first_record_must_be_good(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end = {.records = 77};
    struct err err;
    (void)state;
    uint64_t first = record_put(wal, 10, 0, 1000);
    page_of(wal, first)[first % BLOCK + 30] ^= 1;
    assert_int_equal(find(wal, first, &end, &err), RC_INVALID);
    assert_int_equal(end.records, 77);
    assert_int_equal(find(wal, first + 4, &end, &err), RC_INVALID);
    assert_int_equal(find(wal, FIRST_LSN + (uint64_t)PAGES * BLOCK + 40, &end, &err), RC_INVALID);
    mem_free(wal);
}

static void test_recycled_pages_are_not_taken(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    uint64_t last = 0, first = 0;
    (void)state;
    while (wal->at < FIRST_LSN + 3 * BLOCK) {
        last = record_put(wal, 10, 0, 200);
        first = first == 0 ? last : first;
    }
    uint64_t good_end = wal->at;
    /* The next page is whole, but of another place: what a recycled segment holds. */
    uint64_t next_page = (wal->at / BLOCK + 1) * BLOCK;
    while (wal->at < next_page + BLOCK)
        (void)record_put(wal, 10, 0, 200);
    uint64_t old_address = next_page - 16 * SEGMENT;
    memcpy(page_of(wal, next_page) + 8, &old_address, 8);
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_true(end.end_lsn >= good_end && end.end_lsn <= next_page);
    /* Missing pages likewise. */
    wal->first_missing = 2;
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_true(end.end_lsn <= FIRST_LSN + 2 * BLOCK);
    mem_free(wal);
}

static void test_a_foreign_chain_is_not_followed(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    (void)state;
    uint64_t first = record_put(wal, 10, 0, 100);
    wal->prev = FIRST_LSN + 8; /* as left of an earlier life at the same address */
    (void)record_put(wal, 10, 0, 100);
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_int_equal(end.last_lsn, first);
    mem_free(wal);
}

static void test_goes_on_behind_an_abandoned_record(void **state)
{
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    uint64_t first = 0, good = 0;
    (void)state;
    while (wal->at % BLOCK < BLOCK - 2000 || wal->at < FIRST_LSN + BLOCK) {
        good = record_put(wal, 10, 0, 500);
        first = first == 0 ? good : first;
    }
    (void)record_put(wal, 10, 0, 5000); /* crosses into the next page, which a crash took away */
    uint64_t page_lsn = wal->at / BLOCK * BLOCK;
    memset(page_of(wal, page_lsn), 0, BLOCK);
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_int_equal(end.last_lsn, good);
    /* The server goes on at that page and says so. */
    page_begin(wal, page_lsn, 8, 0);
    wal->at = page_lsn + header_bytes(page_lsn);
    wal->prev = good;
    uint64_t last = record_put(wal, XLOG, 0xd0, 16);
    assert_int_equal(find(wal, first, &end, NULL), RC_OK);
    assert_int_equal(end.last_lsn, last);
    assert_int_equal(end.end_lsn, wal->at);
    mem_free(wal);
}

static void test_noise_does_no_harm(void **state)
{
    struct prng prng;
    struct wal *wal = wal_new();
    struct pg_wal_end end;
    (void)state;
    prng_seed(&prng, 9);
    uint64_t first = 0;
    while (wal->at < FIRST_LSN + 8 * BLOCK) {
        uint64_t at = record_put(wal, 10, 0, (uint32_t)prng_below(&prng, 3000));
        first = first == 0 ? at : first;
    }
    for (int i = 0; i < 2000; i++) {
        wal->pages[prng_below(&prng, 9)][prng_below(&prng,
                                                    BLOCK)] = (unsigned char)prng_next(&prng);
        (void)find(wal, first, &end, NULL);
    }
    mem_free(wal);
}

static void test_names(void **state)
{
    char name[PG_WAL_NAME_SIZE];
    uint32_t timeline = 0;
    uint64_t lsn = 0;
    enum { M16 = 16 * 1024 * 1024, M1 = 1024 * 1024 };
    (void)state;
    assert_string_equal(pg_wal_file_name(1, 0x3000148, M16, name), "000000010000000000000003");
    assert_string_equal(pg_wal_file_name(0xa, UINT64_C(0x1FF000000), M16, name),
                        "0000000A00000001000000FF");
    assert_true(pg_wal_file_parse(name, M16, &timeline, &lsn));
    assert_int_equal(timeline, 10);
    assert_true(lsn == UINT64_C(0x1FF000000));
    assert_true(pg_wal_file_parse("000000010000000000000003.partial", M16, &timeline, &lsn));
    assert_true(lsn == 0x3000000);
    assert_true(pg_wal_file_parse("000000010000000000000003", M1, &timeline, &lsn));
    assert_true(lsn == 0x300000);
    assert_false(pg_wal_file_parse("000000010000000000000100", M16, &timeline, &lsn));
    assert_false(pg_wal_file_parse("00000001000000000000000", M16, &timeline, &lsn));
    assert_false(pg_wal_file_parse("00000001000000000000000g", M16, &timeline, &lsn));
    assert_false(pg_wal_file_parse("000000010000000000000003.backup", M16, &timeline, &lsn));
    assert_false(pg_wal_file_parse("archive_status", M16, &timeline, &lsn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_stop),
        cmocka_unit_test(test_switch_before_the_checkpoint),
        cmocka_unit_test(test_records_of_any_length_over_any_border),
        cmocka_unit_test(test_a_broken_byte_ends_it),
        cmocka_unit_test(test_the_first_record_must_be_good),
        cmocka_unit_test(test_recycled_pages_are_not_taken),
        cmocka_unit_test(test_a_foreign_chain_is_not_followed),
        cmocka_unit_test(test_goes_on_behind_an_abandoned_record),
        cmocka_unit_test(test_noise_does_no_harm),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
