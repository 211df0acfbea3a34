#include "tests/lib/check.h"

#include "src/io/pg_conn_private.h"

static const char *word_of(const struct pg_conn_words *words, const char *keyword)
{
    const char *value = NULL;
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->keywords[i], keyword) == 0)
            value = words->values[i];
    return value;
}

static void test_addresses_are_never_names(void **state)
{
    static const char *const good[] = {"127.0.0.1", "::1", "fe80::1%eth0", "/run/postgresql"};
    static const char *const bad[] = {"localhost", "db1.example", "", "127.0.0", "run/socket",
                                      "127.0.0.1,127.0.0.2"};
    struct pg_conn_words words;
    struct err err;
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(good); i++) {
        struct pg_conn_target target = {.address = good[i], .host = "name", .port = 5432};
        assert_int_equal(pg_conn_words_fill(PG_CONN_HEARTBEAT, &target, &words, &err), RC_OK);
        if (good[i][0] == '/') {
            assert_string_equal(word_of(&words, "host"), good[i]);
            assert_null(word_of(&words, "hostaddr"));
        } else {
            assert_string_equal(word_of(&words, "hostaddr"), good[i]);
            assert_string_equal(word_of(&words, "host"), "name");
        }
    }
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        struct pg_conn_target target = {.address = bad[i], .port = 5432};
        assert_int_equal(pg_conn_words_fill(PG_CONN_HEARTBEAT, &target, &words, &err), RC_INVALID);
    }
}

static void test_sessions_are_protected(void **state)
{
    struct pg_conn_words words;
    struct pg_conn_target target = {.address = "::1", .port = 5432, .user = "u"};
    (void)state;
    for (int kind = 0; kind < PG_CONN_KIND_COUNT; kind++) {
        assert_int_equal(pg_conn_words_fill((enum pg_conn_kind)kind, &target, &words, NULL), RC_OK);
        assert_non_null(strstr(word_of(&words, "options"), "-c search_path=pg_catalog"));
        assert_non_null(strstr(word_of(&words, "options"), "-c statement_timeout="));
        assert_string_equal(word_of(&words, "application_name"), "pgheir heartbeat");
        assert_string_equal(word_of(&words, "gssencmode"), "disable");
        assert_int_equal(word_of(&words, "replication") != NULL, kind == PG_CONN_REPLICATION);
    }
}

static void test_options_cannot_undo_that(void **state)
{
    static const char *const bad[] = {"options", "hostaddr", "host", "port", "service",
                                      "replication", "target_session_attrs"};
    struct pg_conn_words words;
    struct err err;
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        const struct pg_text_pair pair = {bad[i], "x"};
        struct pg_conn_target target = {.address = "::1", .port = 1, .options = &pair,
                                        .options_count = 1};
        assert_int_equal(pg_conn_words_fill(PG_CONN_PLAIN, &target, &words, &err), RC_INVALID);
        assert_non_null(strstr(err.text, bad[i]));
    }
    const struct pg_text_pair pairs[] = {{"sslmode", "require"}, {"gssencmode", "prefer"},
                                         {"sslcert", NULL}};
    struct pg_conn_target target = {.address = "::1", .port = 1, .options = pairs,
                                    .options_count = 3};
    assert_int_equal(pg_conn_words_fill(PG_CONN_PLAIN, &target, &words, &err), RC_OK);
    assert_string_equal(word_of(&words, "sslmode"), "require");
    assert_string_equal(word_of(&words, "gssencmode"), "prefer");
    assert_null(word_of(&words, "sslcert"));
    target.port = 0;
    assert_int_equal(pg_conn_words_fill(PG_CONN_PLAIN, &target, &words, &err), RC_INVALID);
}

static void test_setup_fits_the_version(void **state)
{
    (void)state;
    assert_null(pg_conn_setup_sql(PG_CONN_HEARTBEAT, 130005));
    assert_null(strstr(pg_conn_setup_sql(PG_CONN_TASK, 140000), "transaction_timeout"));
    assert_non_null(strstr(pg_conn_setup_sql(PG_CONN_TASK, 170000), "transaction_timeout"));
    assert_null(pg_conn_setup_sql(PG_CONN_REPLICATION, 180000));
}

static void test_verdicts(void **state)
{
    static const struct {
        enum rc rc;
        const char *sqlstate, *text;
        enum pg_probe_verdict verdict;
    } rows[] = {
        {RC_OK, "", "", PG_PROBE_ALIVE},
        {RC_REFUSED, "53300", "sorry, too many clients already", PG_PROBE_FULL},
        {RC_REFUSED, "57P03", "the database system is starting up", PG_PROBE_STARTING},
        {RC_REFUSED, "57P03", "the database system is shutting down", PG_PROBE_STOPPING},
        {RC_REFUSED, "28P01", "password", PG_PROBE_LOGIN},
        {RC_REFUSED, "28000", "no pg_hba.conf entry", PG_PROBE_LOGIN},
        {RC_REFUSED, "3D000", "database", PG_PROBE_LOGIN},
        {RC_UNREACHABLE, "", "x: Connection refused Is the server running", PG_PROBE_REFUSED},
        {RC_UNREACHABLE, "", "server closed the connection unexpectedly", PG_PROBE_BROKEN},
        {RC_TIMEOUT, "", "no session after 1000 ms", PG_PROBE_SILENT},
        {RC_REFUSED, "XX000", "panic", PG_PROBE_BROKEN},
    };
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(rows); i++) {
        struct pg_answer answer = {.rc = rows[i].rc};
        (void)snprintf(answer.sqlstate, sizeof answer.sqlstate, "%s", rows[i].sqlstate);
        (void)snprintf(answer.err.text, sizeof answer.err.text, "%s", rows[i].text);
        assert_int_equal(pg_probe_judge(&answer), rows[i].verdict);
    }
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("PGHOST", "x", 1) | setenv("PGSERVICE", "x", 1) |
                         setenv("PGKRBSRVNAME", "x", 1), 0);
    pg_conn_clean_environment();
    assert_null(getenv("PGHOST"));
    assert_null(getenv("PGSERVICE"));
    assert_non_null(getenv("PGKRBSRVNAME"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_never_names),
        cmocka_unit_test(test_sessions_are_protected),
        cmocka_unit_test(test_options_cannot_undo_that),
        cmocka_unit_test(test_setup_fits_the_version),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
