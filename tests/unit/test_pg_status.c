#include "tests/lib/check.h"

#include "pgheir/base/mem.h"
#include "src/io/pg_status_private.h"

/* Results as libpq would hand them over. NULL ends a row list; "\\N" is SQL NULL. */
static PGresult *table_make(int columns, int rows, const char *const *cells)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc *columns_desc = mem_new((size_t)columns, sizeof *columns_desc);
    char name[] = "c";
    for (int i = 0; i < columns; i++)
        columns_desc[i].name = name;
    assert_true(PQsetResultAttrs(result, columns, columns_desc));
    mem_free(columns_desc);
    for (int i = 0; i < columns * rows; i++) {
        bool is_null = strcmp(cells[i], "\\N") == 0;
        char text[256];
        (void)snprintf(text, sizeof text, "%s", cells[i]);
        assert_true(PQsetvalue(result, i / columns, i % columns, is_null ? NULL : text,
                               is_null ? -1 : (int)strlen(text)));
    }
    return result;
}

static const char *const standby[] = {
    "t", "150020", "7300000000000000001", "2", "\\N", "\\N", "\\N", "0/3000000", "0/3000500",
    "1700000000123", "f", "1690000000000", "2026-11-23 14:53:45.358496+00:00", "t", "host=x",
    "node2",
    "", "", "streaming", "3", "0/3000900", "0/3000800", "0/3001000", "10.0.0.1", "5433", "node2",
    "user=x",
};

static const char *const primary[] = {
    "f", "170001", "7300000000000000001", "3", "0000000A0000000000000003", "1/148", "1/200",
    "0/2000000", "0/2000000", "\\N", "f", "1690000000000", "x", "f", "", "", "cp %p %f",
    "ANY 1 (a)", "\\N", "\\N", "\\N", "\\N", "\\N", "\\N", "\\N", "\\N", "\\N",
};

static void test_standby(void **state)
{
    PGresult *results[] = {table_make(27, 1, standby)};
    struct pg_status status;
    (void)state;
    assert_int_equal(pg_status_parse(results, 1, 0, &status, NULL), RC_OK);
    assert_true(status.is_in_recovery);
    assert_int_equal(status.server_version, 150020);
    assert_true(status.system_identifier == UINT64_C(7300000000000000001));
    assert_int_equal(status.timeline, 3);
    assert_int_equal(status.checkpoint_timeline, 2);
    assert_int_equal(status.receive_lsn, 0x3000900); /* the newest of three */
    assert_int_equal(status.replay_lsn, 0x3000500);
    assert_int_equal(pg_status_position(&status), 0x3000900);
    assert_true(status.replay_wall_ms == INT64_C(1700000000123));
    assert_string_equal(status.receiver_host, "10.0.0.1");
    assert_int_equal(status.receiver_port, 5433);
    assert_string_equal(status.receiver_slot, "node2");
    assert_int_equal(status.receiver_latest_end_lsn, 0x3001000);
    assert_string_equal(status.primary_conninfo, "host=x");
    assert_int_equal(status.flush_lsn, 0);
    pg_status_done(&status);
    assert_null(status.primary_conninfo);
    PQclear(results[0]);
}

static void test_a_waiting_receiver_has_no_timeline(void **state)
{
    const char *cells[27];
    struct pg_status status;
    (void)state;
    memcpy(cells, standby, sizeof cells);
    cells[18] = "waiting";
    PGresult *results[] = {table_make(27, 1, cells)};
    assert_int_equal(pg_status_parse(results, 1, 0, &status, NULL), RC_OK);
    assert_int_equal(status.timeline, 0);
    assert_int_equal(status.receiver_timeline, 3);
    pg_status_done(&status);
    PQclear(results[0]);
}

static void test_primary_with_everything(void **state)
{
    static const char *const senders[] = {
        "77", "repl", "Node-2", "10.0.0.2", "streaming", "sync", "1", "1/150", "1/149", "1/148",
        "1/147", "78", "repl", "x", "\\N", "backup", "async", "0", "\\N", "\\N", "\\N", "\\N"};
    static const char *const slots[] = {
        "node2", "\\N", "\\N", "reserved", "t", "f", "t", "f", "f", "\\N", "1/100", "\\N", "f", "f",
        "app", "pgoutput", "shop", "lost", "f", "t", "f", "t", "t", "750", "\\N", "1/99", "t", "t"};
    static const char *const pending[] = {"max_connections", "100", "120", "port", "1", "\\N"};
    PGresult *results[] = {table_make(27, 1, primary), table_make(11, 2, senders),
                           table_make(14, 2, slots), table_make(3, 2, pending)};
    struct pg_status status, moved;
    (void)state;
    assert_int_equal(pg_status_parse(results, 4, PG_STATUS_REPLICATION | PG_STATUS_SLOTS |
                                                     PG_STATUS_SETTINGS, &status, NULL), RC_OK);
    assert_false(status.is_in_recovery);
    assert_int_equal(status.timeline, 10);
    assert_true(status.flush_lsn == UINT64_C(0x100000148));
    assert_true(pg_status_position(&status) == status.flush_lsn);
    assert_int_equal(status.receive_lsn, 0);
    assert_int_equal(status.replay_lsn, 0);
    assert_string_equal(status.receiver_status, "");
    assert_string_equal(status.synchronous_standby_names, "ANY 1 (a)");
    assert_int_equal(status.senders_count, 2);
    assert_string_equal(status.senders[0].application_name, "Node-2");
    assert_true(status.senders[0].replay_lsn == UINT64_C(0x100000147));
    assert_int_equal(status.senders[0].sync_priority, 1);
    assert_string_equal(status.senders[1].client_addr, "");
    assert_int_equal(status.slots_count, 2);
    assert_true(status.slots[0].is_physical && status.slots[0].is_active);
    assert_false(status.slots[0].has_xmin || status.slots[0].is_temporary);
    assert_string_equal(status.slots[1].plugin, "pgoutput");
    assert_string_equal(status.slots[1].database, "shop");
    assert_string_equal(status.slots[1].wal_status, "lost");
    assert_true(status.slots[1].is_temporary && status.slots[1].has_xmin &&
                status.slots[1].has_catalog_xmin && status.slots[1].is_failover &&
                status.slots[1].is_synced);
    assert_int_equal(status.slots[1].catalog_xmin, 750);
    assert_true(status.slots[1].confirmed_flush_lsn == UINT64_C(0x100000099));
    assert_int_equal(status.pending_count, 2);
    assert_string_equal(status.pending[0].new_value, "120");
    assert_string_equal(status.pending[1].new_value, "?");
    /* Moving it out, as on_status may do. */
    moved = status;
    memset(&status, 0, sizeof status);
    pg_status_done(&status);
    assert_int_equal(moved.slots_count, 2);
    pg_status_done(&moved);
    for (int i = 0; i < 4; i++)
        PQclear(results[i]);
}

static void test_unexpected_answers(void **state)
{
    PGresult *one = table_make(27, 1, primary), *none = table_make(27, 0, primary);
    PGresult *narrow = table_make(26, 1, primary);
    struct pg_status status = {.timeline = 77};
    struct err err;
    (void)state;
    assert_int_equal(pg_status_parse(NULL, 0, 0, &status, &err), RC_PROTOCOL);
    assert_int_equal(pg_status_parse(&none, 1, 0, &status, &err), RC_PROTOCOL);
    assert_int_equal(pg_status_parse(&narrow, 1, 0, &status, &err), RC_PROTOCOL);
    assert_int_equal(pg_status_parse(&one, 1, PG_STATUS_SLOTS, &status, &err), RC_PROTOCOL);
    assert_int_equal(status.timeline, 77);
    PQclear(one);
    PQclear(none);
    PQclear(narrow);
}

static void test_sql_fits_the_version(void **state)
{
    struct buf sql;
    (void)state;
    buf_init(&sql, PG_STATUS_SQL_MAX);
    pg_status_sql(PG_STATUS_REPLICATION | PG_STATUS_SLOTS | PG_STATUS_SETTINGS, 160000, &sql);
    assert_null(strstr(buf_text(&sql), "failover"));
    buf_clear(&sql);
    pg_status_sql(PG_STATUS_REPLICATION | PG_STATUS_SLOTS | PG_STATUS_SETTINGS, 170000, &sql);
    assert_non_null(strstr(buf_text(&sql), "failover, synced"));
    buf_done(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standby),
        cmocka_unit_test(test_a_waiting_receiver_has_no_timeline),
        cmocka_unit_test(test_primary_with_everything),
        cmocka_unit_test(test_unexpected_answers),
        cmocka_unit_test(test_sql_fits_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
