#include "tests/lib/check.h"

#include "pgheir/base/str.h"

static void
test_copy_is_whole_or_nothing(void **state)
{
    char dst[4] = "old";

    (void)state;
    assert_true(str_copy(dst, sizeof(dst), "abc"));
    assert_string_equal(dst, "abc");
    assert_false(str_copy(dst, sizeof(dst), "abcd"));
    assert_string_equal(dst, "");
    assert_true(str_copy(dst, sizeof(dst), ""));
    assert_string_equal(dst, "");
    assert_true(str_copy(dst, 1, ""));
    assert_false(str_copy(dst, 1, "a"));
}

static void
test_format_tells_of_a_cut(void **state)
{
    char dst[6];

    (void)state;
    assert_true(str_format(dst, sizeof(dst), "%d-%s", 12, "ab"));
    assert_string_equal(dst, "12-ab");
    assert_false(str_format(dst, sizeof(dst), "%d-%s", 12, "abc"));
}

static void
test_equality(void **state)
{
    (void)state;
    assert_true(str_equal("a", "a"));
    assert_false(str_equal("a", "A"));
    assert_true(str_equal(NULL, NULL));
    assert_false(str_equal(NULL, ""));
    assert_false(str_equal("", NULL));
    assert_true(str_equal_nocase("Quorum", "qUORUM"));
    assert_false(str_equal_nocase("Quorum", "Quoru"));
    assert_false(str_equal_nocase("Quoru", "Quorum"));
    assert_false(str_equal_nocase("a", NULL));
    /* Only letters have a case: [ and { differ by the same bit. */
    assert_false(str_equal_nocase("[", "{"));
    assert_true(str_starts_with("no action. I am", "no action"));
    assert_false(str_starts_with("no", "no action"));
    assert_true(str_starts_with("no", ""));
    assert_true(str_is_empty(NULL));
    assert_true(str_is_empty(""));
    assert_false(str_is_empty(" "));
}

static void
test_secrets_are_compared_whole(void **state)
{
    (void)state;
    assert_true(str_equal_secret("secret", "secret"));
    assert_true(str_equal_secret("", ""));
    assert_false(str_equal_secret("secret", "secreT"));
    assert_false(str_equal_secret("Secret", "secret"));
    assert_false(str_equal_secret("secre", "secret"));
    assert_false(str_equal_secret("secretx", "secret"));
    assert_false(str_equal_secret("", "secret"));
    assert_false(str_equal_secret("secret", ""));
    /* The same text twice, compared modulo its length, is not the text. */
    assert_false(str_equal_secret("abab", "ab"));
    assert_false(str_equal_secret("ab", "abab"));
}

static void
test_integers(void **state)
{
    static const char *const bad[] = {"",      " 1",  "1 ",   "+1",   "0x10",
                                      "1.0",   "abc", "--1",  "-",    "9223372036854775808",
                                      "1e3",   "\t1", "1\n",  "1a",   "-9223372036854775809"};
    int64_t number = 77;
    uint64_t natural = 77;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        assert_false(str_parse_int64(bad[i], &number));
        assert_int_equal(number, 77);
    }
    assert_false(str_parse_int64(NULL, &number));
    assert_true(str_parse_int64("0", &number));
    assert_int_equal(number, 0);
    assert_true(str_parse_int64("-0", &number));
    assert_int_equal(number, 0);
    assert_true(str_parse_int64("9223372036854775807", &number));
    assert_true(number == INT64_MAX);
    assert_true(str_parse_int64("-9223372036854775808", &number));
    assert_true(number == INT64_MIN);
    assert_false(str_parse_uint64("-1", &natural));
    assert_false(str_parse_uint64("18446744073709551616", &natural));
    assert_int_equal(natural, 77);
    assert_true(str_parse_uint64("18446744073709551615", &natural));
    assert_true(natural == UINT64_MAX);
}

static void
test_booleans(void **state)
{
    static const char *const yes[] = {"on", "true", "yes", "1", "ON", "True"};
    static const char *const no[] = {"off", "false", "no", "0", "Off", "FALSE"};
    static const char *const bad[] = {"", "y", "t", "2", "on ", "enabled"};
    bool value = false;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(yes); i++) {
        value = false;
        assert_true(str_parse_bool(yes[i], &value));
        assert_true(value);
    }
    for (size_t i = 0; i < PGH_COUNT(no); i++) {
        value = true;
        assert_true(str_parse_bool(no[i], &value));
        assert_false(value);
    }
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        value = true;
        assert_false(str_parse_bool(bad[i], &value));
        assert_true(value);
    }
    assert_false(str_parse_bool(NULL, &value));
}

static void
test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t base_unit_ms;
        int64_t wanted_ms;
    } good[] = {
        {"10", 1000, 10000},      {"10", 1, 10},          {"10s", 1, 10000},
        {"10 s", 1, 10000},       {" 10 s ", 1, 10000},   {"250ms", 1000, 250},
        {"1500us", 1000, 2},      {"1499us", 1000, 1},    {"30min", 1000, 1800000},
        {"2h", 1000, 7200000},    {"1d", 1000, 86400000}, {"1.5s", 1, 1500},
        {"0.25", 1000, 250},      {"-1", 1000, -1000},    {"-1.5s", 1000, -1500},
        {"0", 60000, 0},          {"1.0009s", 1, 1001},   {"0.1234567890123s", 1, 123},
    };
    static const char *const bad[] = {"",    "s",      "1x",    "1 s s", "1S",  "1MS", "1.",
                                      ".5s", "1,5s",   "0x10s", "1e3",   "- 1", "+1",  "1m",
                                      "nan", "9999999999999999d",
                                      "9223372036854775807d"};
    int64_t span_ms;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(good); i++) {
        span_ms = -77;
        assert_true(str_parse_duration_ms(good[i].text, good[i].base_unit_ms, &span_ms));
        assert_int_equal(span_ms, good[i].wanted_ms);
    }
    span_ms = 77;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        assert_false(str_parse_duration_ms(bad[i], 1000, &span_ms));
        assert_int_equal(span_ms, 77);
    }
    assert_false(str_parse_duration_ms(NULL, 1000, &span_ms));
}

static void
test_sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t wanted;
    } good[] = {
        {"1048576", 1048576},           {"16B", 16},
        {"1kB", 1024},                  {"10 MB", 10 * 1048576},
        {"1GB", INT64_C(1) << 30},      {"2TB", INT64_C(2) << 40},
        {"1.5kB", 1536},                {"0", 0},
        {"-1", -1},                     {"8388607TB", INT64_C(8388607) << 40},
    };
    static const char *const bad[] = {"", "kB", "1KB", "1k", "1mb", "1 M B", "9000000000TB"};
    int64_t bytes;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(good); i++) {
        bytes = -77;
        assert_true(str_parse_bytes(good[i].text, &bytes));
        assert_int_equal(bytes, good[i].wanted);
    }
    bytes = 77;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        assert_false(str_parse_bytes(bad[i], &bytes));
        assert_int_equal(bytes, 77);
    }
}

static void
test_lsn(void **state)
{
    static const char *const bad[] = {"",    "0",   "/",          "0/",        "/0",
                                      "0/g", "0/0 ", " 0/0",      "123456789/0", "0/123456789",
                                      "0/0/0", "0x1/0", "-1/0"};
    char text[LSN_TEXT_SIZE];
    uint64_t lsn = 77;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        assert_false(lsn_parse(bad[i], &lsn));
        assert_int_equal(lsn, 77);
    }
    assert_false(lsn_parse(NULL, &lsn));
    assert_true(lsn_parse("0/9000148", &lsn));
    assert_int_equal(lsn, 0x9000148);
    assert_true(lsn_parse("ab/Cd", &lsn));
    assert_true(lsn == UINT64_C(0xab000000cd));
    assert_true(lsn_parse("FFFFFFFF/FFFFFFFF", &lsn));
    assert_true(lsn == UINT64_MAX);
    assert_string_equal(lsn_format(UINT64_MAX, text), "FFFFFFFF/FFFFFFFF");
    assert_string_equal(lsn_format(0x9000148, text), "0/9000148");
    assert_string_equal(lsn_format(UINT64_C(0xab000000cd), text), "AB/CD");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_is_whole_or_nothing),
        cmocka_unit_test(test_format_tells_of_a_cut),
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_secrets_are_compared_whole),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_lsn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
