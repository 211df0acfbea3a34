#include "tests/lib/check.h"

#include "pgheir/base/buf.h"

static void
test_empty_buffer_is_empty_text(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 10);
    assert_string_equal(buf_text(&buf), "");
    assert_false(buf_is_overflown(&buf));
    buf_done(&buf);
    buf_done(&buf);
}

static void
test_appends_what_fits_exactly(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 10);
    assert_int_equal(buf_puts(&buf, "01234"), RC_OK);
    assert_int_equal(buf_append(&buf, "56\0", 3), RC_OK);
    assert_int_equal(buf_printf(&buf, "%d", 42), RC_OK);
    assert_int_equal(buf.length, 10);
    assert_memory_equal(buf_text(&buf), "0123456\0" "42", 11);
    assert_false(buf_is_overflown(&buf));
    buf_done(&buf);
}

static void
test_refuses_one_byte_too_many_as_a_whole(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 5);
    assert_int_equal(buf_puts(&buf, "abc"), RC_OK);
    assert_int_equal(buf_puts(&buf, "def"), RC_LIMIT);
    assert_true(buf_is_overflown(&buf));
    assert_string_equal(buf_text(&buf), "abc");
    assert_int_equal(buf_printf(&buf, "%s", "def"), RC_LIMIT);
    assert_string_equal(buf_text(&buf), "abc");
    /* A shorter piece still fits, but the buffer remembers. */
    assert_int_equal(buf_puts(&buf, "de"), RC_OK);
    assert_true(buf_is_overflown(&buf));
    buf_clear(&buf);
    assert_false(buf_is_overflown(&buf));
    assert_string_equal(buf_text(&buf), "");
    assert_int_equal(buf_puts(&buf, "12345"), RC_OK);
    buf_done(&buf);
}

static void
test_ceiling_zero_takes_nothing(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    assert_int_equal(buf_append(&buf, "", 0), RC_OK);
    assert_int_equal(buf_puts(&buf, "a"), RC_LIMIT);
    assert_string_equal(buf_text(&buf), "");
    buf_done(&buf);
}

static void
test_grows_to_a_large_ceiling(void **state)
{
    struct buf buf;
    const size_t ceiling = 100001;

    (void)state;
    buf_init(&buf, ceiling);
    for (size_t i = 0; i < ceiling; i++)
        assert_int_equal(buf_append(&buf, &"0123456789"[i % 10], 1), RC_OK);
    assert_int_equal(buf_append(&buf, "x", 1), RC_LIMIT);
    assert_int_equal(buf.length, ceiling);
    for (size_t i = 0; i < ceiling; i++)
        assert_int_equal(buf_text(&buf)[i], "0123456789"[i % 10]);
    assert_int_equal(buf_text(&buf)[ceiling], '\0');
    /* No more memory than the ceiling asks for. */
    assert_true(buf.size <= ceiling + 1);
    buf_done(&buf);
}

static void
test_is_usable_after_done(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 3);
    assert_int_equal(buf_puts(&buf, "abc"), RC_OK);
    buf_done(&buf);
    assert_string_equal(buf_text(&buf), "");
    assert_int_equal(buf_puts(&buf, "abcd"), RC_LIMIT);
    assert_int_equal(buf_puts(&buf, "xyz"), RC_OK);
    assert_string_equal(buf_text(&buf), "xyz");
    buf_done(&buf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_buffer_is_empty_text),
        cmocka_unit_test(test_appends_what_fits_exactly),
        cmocka_unit_test(test_refuses_one_byte_too_many_as_a_whole),
        cmocka_unit_test(test_ceiling_zero_takes_nothing),
        cmocka_unit_test(test_grows_to_a_large_ceiling),
        cmocka_unit_test(test_is_usable_after_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
