#include "tests/lib/check.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/prng.h"

static void
test_new_memory_is_zeroed(void **state)
{
    unsigned char *memory = mem_new(1000, 3);

    (void)state;
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(memory[i], 0);
    mem_free(memory);
    mem_free(NULL);
    memory = mem_new(0, 3);
    assert_non_null(memory);
    mem_free(memory);
}

static void
test_resize_keeps_the_content(void **state)
{
    char *memory = mem_resize(NULL, 4);

    (void)state;
    memcpy(memory, "abc", 4);
    memory = mem_resize(memory, 100000);
    assert_string_equal(memory, "abc");
    memory = mem_resize(memory, 2);
    assert_memory_equal(memory, "ab", 2);
    memory = mem_resize(memory, 0);
    assert_non_null(memory);
    mem_free(memory);
}

static void
test_strdup_copies(void **state)
{
    char text[] = "text";
    char *copy = mem_strdup(text);

    (void)state;
    text[0] = 'n';
    assert_string_equal(copy, "text");
    mem_free(copy);
}

static void
allocate_too_much(void)
{
    /* Kept from the compiler, which would refuse the constant. */
    volatile size_t count = SIZE_MAX / 2;

    mem_free(mem_new(count, 4));
}

static void
allocate_three_times(void)
{
    void *memory = mem_new(1, 1);

    memory = mem_resize(memory, 2);
    mem_free(mem_strdup("x"));
    mem_free(memory);
}

/* Each in a process of its own, so that the first call reads the variable. */
static void
test_exhaustion_aborts(void **state)
{
    (void)state;
    assert_int_equal(check_signal_of(allocate_too_much), SIGABRT);
    for (int n = 1; n <= 4; n++) {
        char text[16];

        (void)snprintf(text, sizeof(text), "%d", n);
        assert_int_equal(setenv("PGHEIR_MEM_FAIL_AT", text, 1), 0);
        assert_int_equal(check_signal_of(allocate_three_times), n <= 3 ? SIGABRT : 0);
    }
    assert_int_equal(unsetenv("PGHEIR_MEM_FAIL_AT"), 0);
    assert_int_equal(check_signal_of(allocate_three_times), 0);
}

static void
test_prng_repeats_and_stays_in_range(void **state)
{
    struct prng a;
    struct prng b;
    int counts[6] = {0};

    (void)state;
    prng_seed(&a, 0);
    /* The first numbers of splitmix64 for seed 0, from its author's reference. */
    assert_true(prng_next(&a) == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(prng_next(&a) == UINT64_C(0x6e789e6aa1b965f4));
    prng_seed(&a, 7);
    prng_seed(&b, 7);
    for (int i = 0; i < 6000; i++) {
        uint64_t drawn = prng_below(&a, 6);

        assert_true(drawn == prng_below(&b, 6));
        assert_true(drawn < 6);
        counts[drawn]++;
    }
    for (int i = 0; i < 6; i++)
        assert_in_range(counts[i], 800, 1200);
    assert_int_equal(prng_below(&a, 1), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: later tests would have read the variable already. */
        cmocka_unit_test(test_exhaustion_aborts),
        cmocka_unit_test(test_new_memory_is_zeroed),
        cmocka_unit_test(test_resize_keeps_the_content),
        cmocka_unit_test(test_strdup_copies),
        cmocka_unit_test(test_prng_repeats_and_stays_in_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
