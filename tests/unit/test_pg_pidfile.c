#include "tests/lib/check.h"

#include "pgheir/codec/pg_pidfile.h"

static enum rc parse(const char *text, struct pg_pidfile *out, struct err *err)
{
    return pg_pidfile_parse(text, strlen(text), out, err);
}

static void test_whole_file(void **state)
{
    struct pg_pidfile out;
    (void)state;
    assert_int_equal(parse("4242\n/var/lib/pg data\n1700000000\n5433\n/tmp\n*\n 5433001    98306\n"
                           "ready   \n", &out, NULL), RC_OK);
    assert_int_equal(out.pid, 4242);
    assert_false(out.is_single);
    assert_string_equal(out.data_dir, "/var/lib/pg data");
    assert_int_equal(out.start_wall_s, 1700000000);
    assert_int_equal(out.port, 5433);
    assert_string_equal(out.socket_dir, "/tmp");
    assert_string_equal(out.listen_host, "*");
    assert_int_equal(out.shmem_key, 5433001);
    assert_int_equal(out.shmem_id, 98306);
    assert_int_equal(out.status, PG_PIDFILE_STATUS_READY);
}

static void test_grows_line_by_line(void **state)
{
    static const char whole[] = "7\n/d\n1\n5432\n\n\n 1 2\nstarting\n";
    struct pg_pidfile out;
    (void)state;
    /* PostgreSQL appends: every beginning with a pid in it is a legal file. */
    for (size_t length = 1; length < sizeof whole; length++) {
        assert_int_equal(pg_pidfile_parse(whole, length, &out, NULL), RC_OK);
        assert_int_equal(out.pid, 7);
    }
    assert_int_equal(out.status, PG_PIDFILE_STATUS_STARTING);
    assert_int_equal(parse("7\n/d\n", &out, NULL), RC_OK);
    assert_int_equal(out.status, PG_PIDFILE_STATUS_NONE);
    assert_int_equal(out.port, 0);
}

static void test_statuses(void **state)
{
    (void)state;
    for (int i = PG_PIDFILE_STATUS_STARTING; i < PG_PIDFILE_STATUS_COUNT; i++) {
        struct pg_pidfile out;
        char text[64];
        (void)snprintf(text, sizeof text, "7\n/d\n1\n2\n\n\n\n%s",
                       pg_pidfile_status_text((enum pg_pidfile_status)i));
        assert_int_equal(parse(text, &out, NULL), RC_OK);
        assert_int_equal(out.status, i);
    }
}

static void test_single_user(void **state)
{
    struct pg_pidfile out;
    (void)state;
    assert_int_equal(parse("-31\n/d\n", &out, NULL), RC_OK);
    assert_true(out.is_single);
    assert_int_equal(out.pid, 31);
}

static void test_broken(void **state)
{
    static const char *const bad[] = {"", "\n", "x\n", "0\n", "99999999999\n", "12x\n"};
    struct pg_pidfile out = {.pid = 5};
    struct err err;
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++)
        assert_int_equal(parse(bad[i], &out, &err), RC_INVALID);
    assert_int_equal(out.pid, 5); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_file),   cmocka_unit_test(test_grows_line_by_line),
        cmocka_unit_test(test_statuses),     cmocka_unit_test(test_single_user),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
