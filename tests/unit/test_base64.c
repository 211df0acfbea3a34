#include "pgheir/base/base64.h"

#include "tests/lib/check.h"

static const struct {
    const char *bytes;
    const char *text;
} pairs[] = {
    {"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},       {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
};

static void test_vectors_of_rfc_4648(void **state)
{
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(pairs); i++) {
        unsigned char bytes[16];
        size_t length = 99;
        struct buf out;

        buf_init(&out, 100);
        assert_int_equal(base64_encode(&out, pairs[i].bytes, strlen(pairs[i].bytes)), RC_OK);
        assert_string_equal(buf_text(&out), pairs[i].text);
        assert_true(base64_decode(pairs[i].text, strlen(pairs[i].text), bytes, &length));
        assert_int_equal(length, strlen(pairs[i].bytes));
        assert_memory_equal(bytes, pairs[i].bytes, length);
        buf_done(&out);
    }
}

static void test_every_byte_comes_back(void **state)
{
    unsigned char in[256];
    unsigned char back[300];

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (unsigned char)(255 - i);
    for (size_t length = 0; length <= sizeof(in); length++) {
        size_t back_length = 0;
        struct buf out;

        buf_init(&out, 1000);
        assert_int_equal(base64_encode(&out, in, length), RC_OK);
        assert_true(base64_decoded_max(out.length) <= sizeof(back));
        assert_true(base64_decode(out.bytes == NULL ? "" : out.bytes, out.length, back,
                                  &back_length));
        assert_int_equal(back_length, length);
        assert_memory_equal(back, in, length);
        buf_done(&out);
    }
}

static void test_what_is_not_strict_is_refused(void **state)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",  "Zg==Zg==", "Z===", "====", "=Zg=", "Zh==", "Zm9=",
        "Zm9v\n", "Zm 9", "Zm9-", "Zm9_",     "Zm9\x80", "Zg=a",
    };

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        unsigned char bytes[16];
        size_t length = 0;

        if (base64_decode(bad[i], strlen(bad[i]), bytes, &length))
            fail_msg("accepted: %s", bad[i]);
    }
}

static void test_ceiling_leaves_the_buffer_as_it_was(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 10);
    assert_int_equal(buf_puts(&out, "ab"), RC_OK);
    assert_int_equal(base64_encode(&out, "foobarbaz", 9), RC_LIMIT);
    assert_string_equal(buf_text(&out), "ab");
    assert_true(buf_is_overflown(&out));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_of_rfc_4648),
        cmocka_unit_test(test_every_byte_comes_back),
        cmocka_unit_test(test_what_is_not_strict_is_refused),
        cmocka_unit_test(test_ceiling_leaves_the_buffer_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
