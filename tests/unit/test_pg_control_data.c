#include "tests/lib/check.h"

#include "pgheir/codec/crc32c.h"
#include "pgheir/codec/pg_control_data.h"

/* A control file made by hand, field by field, at the offsets of catalog/pg_control.h. */
struct file {
    unsigned char bytes[PG_CONTROL_FILE_BYTES];
};

static void put32(struct file *file, size_t at, uint32_t value)
{
    memcpy(file->bytes + at, &value, sizeof value);
}

static void put64(struct file *file, size_t at, uint64_t value)
{
    memcpy(file->bytes + at, &value, sizeof value);
}

static void file_seal(struct file *file, size_t crc_at)
{
    put32(file, crc_at, crc32c_end(crc32c_add(crc32c_begin(), file->bytes, crc_at)));
}

static void file_make(struct file *file, uint32_t version, size_t crc_at)
{
    double float_format = 1234567.0;
    memset(file, 0, sizeof *file);
    put64(file, 0, UINT64_C(7300000000000000001));
    put32(file, 8, version);
    put32(file, 12, 202209061);
    put32(file, 16, PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY);
    put64(file, 32, 0x3000060);
    put64(file, 40, 0x3000028);
    put32(file, 48, 3);
    put32(file, 52, 2);
    put64(file, 136, 0x3000148);
    put32(file, 144, 3);
    put64(file, 152, 0x2000028);
    put64(file, 160, 0x2000100);
    file->bytes[168] = 1;
    file->bytes[176] = 1;
    put32(file, 180, 100);
    put32(file, 184, 8);
    put32(file, 188, 10);
    put32(file, 192, 5);
    put32(file, 196, 64);
    memcpy(file->bytes + 208, &float_format, sizeof float_format);
    put32(file, 224, 8192);
    put32(file, 228, 16 * 1024 * 1024);
    put32(file, 252, 1);
    file_seal(file, crc_at);
}

static void data_check(const struct pg_control_data *data)
{
    assert_true(data->system_identifier == UINT64_C(7300000000000000001));
    assert_int_equal(data->catalog_version, 202209061);
    assert_int_equal(data->state, PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY);
    assert_int_equal(data->checkpoint_lsn, 0x3000060);
    assert_int_equal(data->redo_lsn, 0x3000028);
    assert_int_equal(data->timeline, 3);
    assert_int_equal(data->prev_timeline, 2);
    assert_int_equal(data->min_recovery_lsn, 0x3000148);
    assert_int_equal(data->min_recovery_timeline, 3);
    assert_int_equal(data->backup_start_lsn, 0x2000028);
    assert_int_equal(data->backup_end_lsn, 0x2000100);
    assert_true(data->is_backup_end_required);
    assert_true(data->has_wal_log_hints);
    assert_true(data->has_checksums);
    assert_int_equal(data->max_connections, 100);
    assert_int_equal(data->max_worker_processes, 8);
    assert_int_equal(data->max_wal_senders, 10);
    assert_int_equal(data->max_prepared_xacts, 5);
    assert_int_equal(data->max_locks_per_xact, 64);
    assert_int_equal(data->wal_segment_bytes, 16 * 1024 * 1024);
    assert_int_equal(data->wal_block_bytes, 8192);
}

static void test_known_layouts(void **state)
{
    static const struct {
        uint32_t version;
        size_t crc_at;
    } rows[] = {{1300, 288}, {1700, 288}, {1800, 292}};
    struct file file;
    struct pg_control_data data;
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(rows); i++) {
        file_make(&file, rows[i].version, rows[i].crc_at);
        assert_int_equal(pg_control_data_parse_bytes(file.bytes, sizeof file.bytes, &data, NULL),
                         RC_OK);
        assert_int_equal(data.control_version, rows[i].version);
        data_check(&data);
        assert_true(pg_control_data_is_clean(&data));
        assert_true(pg_control_data_can_rewind(&data));
    }
}

static void test_unknown_layout_is_left_to_the_tool(void **state)
{
    struct file file;
    struct pg_control_data data;
    (void)state;
    file_make(&file, 1201, 288);
    assert_int_equal(pg_control_data_parse_bytes(file.bytes, sizeof file.bytes, &data, NULL),
                     RC_NOT_FOUND);
}

static void test_every_flipped_bit_is_seen(void **state)
{
    struct file file;
    struct pg_control_data data;
    (void)state;
    file_make(&file, 1300, 288);
    for (size_t bit = 0; bit < 292 * 8; bit++) {
        file.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_not_equal(
            pg_control_data_parse_bytes(file.bytes, sizeof file.bytes, &data, NULL), RC_OK);
        file.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_int_equal(pg_control_data_parse_bytes(file.bytes, 295, &data, NULL), RC_INVALID);
}

static void test_nonsense_behind_a_right_crc(void **state)
{
    struct file file;
    struct pg_control_data data;
    (void)state;
    file_make(&file, 1300, 288);
    put32(&file, 16, PG_CONTROL_STATE_COUNT);
    file_seal(&file, 288);
    assert_int_equal(pg_control_data_parse_bytes(file.bytes, sizeof file.bytes, &data, NULL),
                     RC_INVALID);
    file_make(&file, 1300, 288);
    put32(&file, 228, 3 * 1024 * 1024);
    file_seal(&file, 288);
    assert_int_equal(pg_control_data_parse_bytes(file.bytes, sizeof file.bytes, &data, NULL),
                     RC_INVALID);
}

static const char tool_text[] =
    "pg_control version number:            1300\n"
    "Catalog version number:               202209061\n"
    "Database system identifier:           7300000000000000001\n"
    "Database cluster state:               shut down in recovery\n"
    "pg_control last modified:             Mon Nov 23 17:00:00 2026\n"
    "Latest checkpoint location:           0/3000060\n"
    "Latest checkpoint's REDO location:    0/3000028\n"
    "Latest checkpoint's REDO WAL file:    000000030000000000000003\n"
    "Latest checkpoint's TimeLineID:       3\n"
    "Latest checkpoint's PrevTimeLineID:   2\n"
    "Minimum recovery ending location:     0/3000148\n"
    "Min recovery ending loc's timeline:   3\n"
    "Backup start location:                0/2000028\n"
    "Backup end location:                  0/2000100\n"
    "End-of-backup record required:        yes\n"
    "wal_log_hints setting:                on\n"
    "max_connections setting:              100\n"
    "max_worker_processes setting:         8\n"
    "max_wal_senders setting:              10\n"
    "max_prepared_xacts setting:           5\n"
    "max_locks_per_xact setting:           64\n"
    "Bytes per WAL segment:                16777216\n"
    "WAL block size:                       8192\n"
    "Data page checksum version:           1\n";

static void test_tool_text(void **state)
{
    struct pg_control_data data;
    struct err err;
    char copy[sizeof tool_text];
    (void)state;
    assert_int_equal(pg_control_data_parse_text(tool_text, &data, &err), RC_OK);
    data_check(&data);
    memcpy(copy, tool_text, sizeof copy);
    *strstr(copy, "TimeLineID") = 't';
    assert_int_equal(pg_control_data_parse_text(copy, &data, &err), RC_INVALID);
    assert_non_null(strstr(err.text, "Latest checkpoint's TimeLineID"));
    memcpy(copy, tool_text, sizeof copy);
    memcpy(strstr(copy, "shut down"), "shot", 4);
    assert_int_equal(pg_control_data_parse_text(copy, &data, &err), RC_INVALID);
}

static void test_states(void **state)
{
    (void)state;
    for (int i = 0; i < PG_CONTROL_STATE_COUNT; i++) {
        struct pg_control_data data = {.state = (enum pg_control_state)i};
        assert_int_equal(pg_control_data_is_clean(&data),
                         i == PG_CONTROL_STATE_SHUT_DOWN ||
                             i == PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY);
    }
}

static void test_crc_vector(void **state)
{
    (void)state;
    /* RFC 3720, B.4, and the check value of the catalogues. */
    assert_int_equal(crc32c_end(crc32c_add(crc32c_begin(), "123456789", 9)), 0xe3069283);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_layouts),
        cmocka_unit_test(test_unknown_layout_is_left_to_the_tool),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_nonsense_behind_a_right_crc),
        cmocka_unit_test(test_tool_text),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_crc_vector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
