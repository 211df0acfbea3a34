#include "tests/lib/check.h"

#include "pgheir/base/mem.h"
#include "pgheir/codec/pg_history.h"

static const char sample[] = "# a comment\n"
                             "1\t0/3000148\tno recovery target specified\n"
                             "\n"
                             "  2\t1/A0000000\tbefore 2026-01-01 00:00:00+00\n"
                             "4\t2/0\treason with\ttabs";

static void test_rows(void **state)
{
    struct pg_history *history = mem_new(1, sizeof *history);
    struct err err;
    uint64_t lsn = 0;
    (void)state;
    assert_int_equal(pg_history_parse(sample, strlen(sample), 5, history, &err), RC_OK);
    assert_int_equal(history->count, 3);
    assert_int_equal(history->rows[0].timeline, 1);
    assert_int_equal(history->rows[0].switch_lsn, 0x3000148);
    assert_string_equal(history->rows[0].reason, "no recovery target specified");
    assert_int_equal(history->rows[2].timeline, 4);
    assert_string_equal(history->rows[2].reason, "reason with tabs");
    assert_true(pg_history_find_switch(history, 2, &lsn));
    assert_true(lsn == UINT64_C(0x1A0000000));
    assert_true(pg_history_find_switch(history, 5, &lsn));
    assert_true(lsn == UINT64_MAX);
    assert_false(pg_history_find_switch(history, 3, &lsn));
    assert_true(pg_history_contains(history, 1, 0x3000148));
    assert_false(pg_history_contains(history, 1, 0x3000149));
    assert_false(pg_history_contains(history, 3, 1));
    assert_true(pg_history_contains(history, 5, UINT64_MAX - 1));
    mem_free(history);
}

static void test_first_timeline_has_none(void **state)
{
    struct pg_history *history = mem_new(1, sizeof *history);
    (void)state;
    assert_int_equal(pg_history_parse("", 0, 1, history, NULL), RC_OK);
    assert_int_equal(history->count, 0);
    assert_int_equal(pg_history_parse("", 0, 2, history, NULL), RC_INVALID);
    mem_free(history);
}

static void test_broken_texts_name_the_line(void **state)
{
    static const char *const bad[] = {
        "x\t0/1\n", "1\tnowhere\n", "1 0/1\n1 0/2\n", "2 0/1\n1 0/2\n", "9 0/1\n", "0 0/1\n",
        "4294967296 0/1\n", "1\n",
    };
    struct pg_history *history = mem_new(1, sizeof *history);
    struct err err;
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        assert_int_equal(pg_history_parse(bad[i], strlen(bad[i]), 9, history, &err), RC_INVALID);
        assert_non_null(strstr(err.text, "line "));
    }
    mem_free(history);
}

static void test_limit(void **state)
{
    struct pg_history *history = mem_new(1, sizeof *history);
    char *text = mem_new(1, 32 * (PG_HISTORY_MAX + 1));
    size_t length = 0;
    (void)state;
    for (int i = 1; i <= PG_HISTORY_MAX + 1; i++)
        length += (size_t)snprintf(text + length, 32, "%d\t0/%X\tr\n", i, i);
    assert_int_equal(pg_history_parse(text, length, 9999, history, NULL), RC_LIMIT);
    *strstr(text, "513\t") = '#';
    assert_int_equal(pg_history_parse(text, length, 9999, history, NULL), RC_OK);
    assert_int_equal(history->count, PG_HISTORY_MAX);
    mem_free(text);
    mem_free(history);
}

static void test_file_names(void **state)
{
    char name[PG_HISTORY_FILE_SIZE];
    (void)state;
    assert_string_equal(pg_history_file_name(10, name), "0000000A.history");
    assert_int_equal(pg_history_file_timeline(name), 10);
    assert_int_equal(pg_history_file_timeline("0000000a.history"), 0);
    assert_int_equal(pg_history_file_timeline("0000000A.history.x"), 0);
    assert_int_equal(pg_history_file_timeline("000000A.history"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_first_timeline_has_none),
        cmocka_unit_test(test_broken_texts_name_the_line),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_file_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
