#include "tests/lib/check.h"

#include "pgheir/base/prng.h"
#include "pgheir/codec/pg_text.h"

#include <libpq-fe.h>

enum { ROUNDS = 3000, TEXT_SIZE = 64 };

/* Any bytes but NUL; the odd ones more often. */
static void text_random(struct prng *prng, char out[static TEXT_SIZE])
{
    static const char odd[] = "'\"\\\n\r\t%:= #$*{}[]a1\xc3\xb6";
    size_t length = (size_t)prng_below(prng, TEXT_SIZE);
    for (size_t i = 0; i < length; i++)
        out[i] = prng_below(prng, 3) == 0 ? (char)(1 + prng_below(prng, 255))
                                          : odd[prng_below(prng, sizeof odd - 1)];
    out[length] = '\0';
}

static int count_of(const char *text, char c)
{
    int count = 0;
    for (; *text != '\0'; text++)
        count += *text == c;
    return count;
}

static void test_conf_value_round_trip(void **state)
{
    struct prng prng;
    struct buf line, value;
    char text[TEXT_SIZE], name[64];
    (void)state;
    prng_seed(&prng, 1);
    buf_init(&line, 4096);
    buf_init(&value, 4096);
    for (int i = 0; i < ROUNDS; i++) {
        text_random(&prng, text);
        buf_clear(&line);
        assert_int_equal(pg_text_conf_line(&line, "Some.setting_1", text, NULL), RC_OK);
        /* One line, whatever is in the value. */
        assert_int_equal(count_of(buf_text(&line), '\n'), 1);
        assert_int_equal(count_of(buf_text(&line), '\r'), 0);
        assert_true(pg_text_conf_line_parse(buf_text(&line), name, sizeof name, &value));
        assert_string_equal(name, "some.setting_1");
        assert_string_equal(buf_text(&value), text);
    }
    buf_done(&value);
    buf_done(&line);
}

static void test_conf_line_refuses_names(void **state)
{
    static const char *const bad[] = {"", "1a", "a b", "a=b", "a\nb", "a.", ".a", "a..b", "a-b",
    "a'"};
    struct buf out;
    struct err err;
    (void)state;
    buf_init(&out, 256);
    for (size_t i = 0; i < PGH_COUNT(bad); i++)
        assert_int_equal(pg_text_conf_line(&out, bad[i], "x", &err), RC_INVALID);
    assert_int_equal(out.length, 0);
    assert_true(pg_text_is_setting_name("pg_stat_statements.max"));
    buf_done(&out);
}

static void test_conf_line_parse_reads_what_postgresql_reads(void **state)
{
    static const struct {
        const char *line, *name, *value;
    } rows[] = {
        {"a = 'b'", "a", "b"},
        {"  WORK_MEM=4MB # comment", "work_mem", "4MB"},
        {"port 5432", "port", "5432"},
        {"x = 'it''s' # c", "x", "it's"},
        {"x = 'a\\'b'", "x", "a'b"},
        {"x = 'a\\nb\\101'", "x", "a\nbA"},
        {"x = 'open", "x", ""},
        {"include_if_exists 'f.conf'", "include_if_exists", "f.conf"},
        {"x =", "x", ""},
    };
    struct buf value;
    char name[32];
    (void)state;
    buf_init(&value, 64);
    for (size_t i = 0; i < PGH_COUNT(rows); i++) {
        assert_true(pg_text_conf_line_parse(rows[i].line, name, sizeof name, &value));
        assert_string_equal(name, rows[i].name);
        assert_string_equal(buf_text(&value), rows[i].value);
    }
    assert_false(pg_text_conf_line_parse("  # only", name, sizeof name, &value));
    assert_false(pg_text_conf_line_parse("", name, sizeof name, &value));
    buf_done(&value);
}

/* The other side is libpq itself. */
static void test_conninfo_is_read_by_libpq(void **state)
{
    struct prng prng;
    struct buf out, value;
    char text[TEXT_SIZE];
    (void)state;
    prng_seed(&prng, 2);
    buf_init(&out, 4096);
    buf_init(&value, 4096);
    for (int i = 0; i < ROUNDS; i++) {
        char *message = NULL;
        text_random(&prng, text);
        buf_clear(&out);
        assert_int_equal(pg_text_conninfo_add(&out, "user", "first", NULL), RC_OK);
        assert_int_equal(pg_text_conninfo_add(&out, "password", text, NULL), RC_OK);
        assert_int_equal(pg_text_conninfo_add(&out, "port", "5432", NULL), RC_OK);
        PQconninfoOption *options = PQconninfoParse(buf_text(&out), &message);
        assert_non_null(options);
        for (PQconninfoOption *option = options; option->keyword != NULL; option++)
            if (strcmp(option->keyword, "password") == 0)
                assert_string_equal(option->val, text);
        PQconninfoFree(options);
        assert_true(pg_text_conninfo_get(buf_text(&out), "password", &value));
        assert_string_equal(buf_text(&value), text);
        assert_true(pg_text_conninfo_get(buf_text(&out), "port", &value));
        assert_string_equal(buf_text(&value), "5432");
        assert_false(pg_text_conninfo_get(buf_text(&out), "host", &value));
    }
    assert_int_equal(pg_text_conninfo_add(&out, "a b", "x", NULL), RC_INVALID);
    assert_false(pg_text_conninfo_get("host = ", "user", &value));
    assert_false(pg_text_conninfo_get("nothing", "nothing", &value));
    assert_false(pg_text_conninfo_get("user='open", "user", &value));
    assert_true(pg_text_conninfo_get("user = a user=b", "user", &value));
    assert_string_equal(buf_text(&value), "b");
    buf_done(&value);
    buf_done(&out);
}

static void test_pgpass_escapes(void **state)
{
    struct buf out;
    struct err err;
    (void)state;
    buf_init(&out, 256);
    assert_int_equal(pg_text_pgpass_line(&out, NULL, "5432", NULL, "us:er", "p\\w:*", &err), RC_OK);
    assert_string_equal(buf_text(&out), "*:5432:*:us\\:er:p\\\\w\\:*\n");
    buf_clear(&out);
    assert_int_equal(pg_text_pgpass_line(&out, "#h", "1", "*", "*", "#", &err), RC_OK);
    assert_string_equal(buf_text(&out), "\\#h:1:\\*:\\*:\\#\n");
    assert_int_equal(pg_text_pgpass_line(&out, NULL, NULL, NULL, "u", "a\nb", &err), RC_INVALID);
    assert_non_null(strstr(err.text, "password"));
    /* The secret itself is not in the error. */
    assert_null(strstr(err.text, "a\nb"));
    buf_done(&out);
}

static void test_sql_quotes(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 256);
    assert_int_equal(pg_text_sql_literal(&out, "a'b\\c"), RC_OK);
    assert_string_equal(buf_text(&out), "E'a''b\\\\c'");
    buf_clear(&out);
    assert_int_equal(pg_text_sql_name(&out, "a\"b"), RC_OK);
    assert_string_equal(buf_text(&out), "\"a\"\"b\"");
    buf_done(&out);
}

static void test_slot_names(void **state)
{
    static const struct {
        const char *member, *slot;
    } rows[] = {
        {"node1", "node1"},
        {"Node-1.Example", "node_1_example"},
        {"a b", "au0032b"},
        {"kn\xc3\xb6ten", "knu0246ten"},
        {"KN\xc3\x96TEN", "knu0246ten"},
        {"\xe4\xb8\xad", "u20013"},
        {"\xff", "u0255"},
        {"", ""},
    };
    char out[PG_SLOT_NAME_SIZE], longest[200];
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(rows); i++)
        assert_string_equal(pg_text_slot_name(rows[i].member, out), rows[i].slot);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(strlen(pg_text_slot_name(longest, out)), 63);
    longest[61] = '!'; /* cut inside the replacement */
    assert_string_equal(pg_text_slot_name(longest, out) + 61, "u0");
}

static void test_overflow_is_told(void **state)
{
    struct buf out;
    struct err err;
    (void)state;
    buf_init(&out, 8);
    assert_int_equal(pg_text_conf_line(&out, "name", "value", &err), RC_LIMIT);
    buf_clear(&out);
    assert_int_equal(pg_text_conninfo_add(&out, "user", "12345", &err), RC_LIMIT);
    buf_clear(&out);
    assert_int_equal(pg_text_pgpass_line(&out, NULL, NULL, NULL, "u", "12345", &err), RC_LIMIT);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf_value_round_trip),
        cmocka_unit_test(test_conf_line_refuses_names),
        cmocka_unit_test(test_conf_line_parse_reads_what_postgresql_reads),
        cmocka_unit_test(test_conninfo_is_read_by_libpq),
        cmocka_unit_test(test_pgpass_escapes),
        cmocka_unit_test(test_sql_quotes),
        cmocka_unit_test(test_slot_names),
        cmocka_unit_test(test_overflow_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
