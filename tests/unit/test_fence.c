/* The arithmetic of the fence: the promises of fence.h one by one, then a small world in full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "pgheir/base/base.h"
#include "pgheir/supervisor/fence.h"

static const struct fence NONE = {FENCE_NONE, 0};
static const struct fence DISARMED = {FENCE_DISARMED, 0};

static struct fence until(int64_t until_ms)
{
    struct fence fence = {FENCE_UNTIL, until_ms};

    return fence;
}

static void assert_fence(struct fence held, struct fence expected)
{
    assert_int_equal(held.kind, expected.kind);
    assert_int_equal(held.until_ms, expected.until_ms);
}

static void test_passes_at_its_moment(void **state)
{
    struct fence fence = until(1000);

    (void)state;
    assert_false(fence_is_passed(&fence, 999));
    assert_true(fence_is_passed(&fence, 1000));
    assert_true(fence_is_passed(&fence, INT64_MAX));
    assert_false(fence_is_passed(&NONE, INT64_MAX));
    assert_false(fence_is_passed(&DISARMED, INT64_MAX));
}

static void test_gives_the_right_to_write(void **state)
{
    struct fence fence = until(1000);

    (void)state;
    assert_true(fence_allows_writer(&fence, 999));
    assert_false(fence_allows_writer(&fence, 1000));
    assert_false(fence_allows_writer(&NONE, 1));
    assert_true(fence_allows_writer(&DISARMED, INT64_MAX));
}

static void test_push_moves_forward_and_backward(void **state)
{
    struct fence held = until(1000);
    struct fence pushed = until(2000);

    (void)state;
    assert_int_equal(fence_push(&held, &pushed, true, 999), 0);
    assert_fence(held, until(2000));
    pushed = until(1500);
    assert_int_equal(fence_push(&held, &pushed, true, 1000), 0);
    assert_fence(held, until(1500));
    /* Ending the right now, or in the past, is a shortening like any other. */
    pushed = until(900);
    assert_int_equal(fence_push(&held, &pushed, true, 1000), 0);
    assert_fence(held, until(900));
    assert_int_equal(fence_act_at(&held, true, 1000), FENCE_ACT_KILL);
}

static void test_nothing_revives_a_passed_fence(void **state)
{
    const struct fence pushes[] = {until(999),   until(1000), until(1001),
                                   until(90000), NONE,        DISARMED};

    (void)state;
    for (size_t idx = 0; idx < PGH_COUNT(pushes); idx++) {
        struct fence held = until(1000);

        assert_int_equal(fence_push(&held, &pushes[idx], false, 1000), ESTALE);
        assert_int_equal(fence_push(&held, &pushes[idx], true, 5000), ESTALE);
        assert_fence(held, until(1000));
    }
}

static void test_cleared_fence_takes_a_new_push(void **state)
{
    struct fence held = until(1000);
    struct fence pushed = until(3000);

    (void)state;
    fence_clear(&held);
    assert_fence(held, NONE);
    assert_int_equal(fence_push(&held, &pushed, false, 2000), 0);
    assert_fence(held, until(3000));
}

static void test_a_writer_cannot_lose_its_fence(void **state)
{
    struct fence held = until(1000);

    (void)state;
    assert_int_equal(fence_push(&held, &NONE, true, 500), EBUSY);
    assert_fence(held, until(1000));
    held = DISARMED;
    assert_int_equal(fence_push(&held, &NONE, true, 500), EBUSY);
    assert_fence(held, DISARMED);
    held = until(1000);
    assert_int_equal(fence_push(&held, &NONE, false, 500), 0);
    assert_fence(held, NONE);
}

static void test_a_right_that_is_over_is_not_begun(void **state)
{
    struct fence held = NONE;
    struct fence pushed = until(1000);

    (void)state;
    assert_int_equal(fence_push(&held, &pushed, false, 1000), ETIME);
    assert_fence(held, NONE);
    assert_int_equal(fence_push(&held, &pushed, false, 999), 0);
    /* Resuming from a pause with a lease that is already over must end the writer. */
    held = DISARMED;
    assert_int_equal(fence_push(&held, &pushed, true, 1000), 0);
    assert_int_equal(fence_act_at(&held, true, 1000), FENCE_ACT_KILL);
}

static void test_nonsense_is_refused(void **state)
{
    const struct fence pushes[] = {
        until(0),
        until(-1),
        until(INT64_MIN),
        until(INT64_MAX),
        until(1000 + (int64_t)FENCE_SPAN_MS_MAX + 1),
        {(enum fence_kind)3, 2000},
        {(enum fence_kind)77, 0},
    };
    struct fence largest = until(1000 + (int64_t)FENCE_SPAN_MS_MAX);
    struct fence held = until(2000);

    (void)state;
    for (size_t idx = 0; idx < PGH_COUNT(pushes); idx++) {
        assert_int_equal(fence_push(&held, &pushes[idx], false, 1000), EINVAL);
        assert_fence(held, until(2000));
    }
    assert_int_equal(fence_push(&held, &largest, false, 1000), 0);
}

static void test_until_of_other_kinds_is_forgotten(void **state)
{
    struct fence held = until(1000);
    struct fence pushed = {FENCE_DISARMED, 12345};

    (void)state;
    assert_int_equal(fence_push(&held, &pushed, true, 1), 0);
    assert_fence(held, DISARMED);
}

static void test_acts(void **state)
{
    struct fence held = until(1000);

    (void)state;
    assert_int_equal(fence_act_at(&held, true, 999), FENCE_ACT_NOTHING);
    assert_int_equal(fence_act_at(&held, true, 1000), FENCE_ACT_KILL);
    assert_int_equal(fence_act_at(&held, false, 1000), FENCE_ACT_CLEAR);
    assert_int_equal(fence_act_at(&DISARMED, true, 99999), FENCE_ACT_NOTHING);
    assert_int_equal(fence_act_at(&NONE, true, 99999), FENCE_ACT_NOTHING);
}

static void test_nets_lie_behind_each_other(void **state)
{
    struct fence held = until(1000);

    (void)state;
    assert_int_equal(fence_deadline_ms(&held), 1000);
    assert_int_equal(fence_kernel_deadline_ms(&held, true), 1000 + FENCE_KERNEL_SLACK_MS);
    assert_int_equal(fence_guard_deadline_ms(&held, true), 1000 + FENCE_GUARD_SLACK_MS);
    assert_true(fence_kernel_deadline_ms(&held, true) > fence_deadline_ms(&held));
    assert_true(fence_guard_deadline_ms(&held, true) > fence_kernel_deadline_ms(&held, true));
    assert_int_equal(fence_kernel_deadline_ms(&held, false), 0);
    assert_int_equal(fence_guard_deadline_ms(&held, false), 0);
    assert_int_equal(fence_deadline_ms(&NONE), 0);
    assert_int_equal(fence_kernel_deadline_ms(&NONE, true), 0);
    assert_int_equal(fence_kernel_deadline_ms(&DISARMED, true), 0);
    assert_int_equal(fence_guard_deadline_ms(&DISARMED, true), 0);
    assert_int_equal(fence_deadline_ms(&DISARMED), 0);
}

/* What must hold after any push in a small world: every held fence, push, role and moment. */
static void check_push(struct fence held, struct fence pushed, bool is_writer, int64_t now_ms)
{
    struct fence after = held;
    int error = fence_push(&after, &pushed, is_writer, now_ms);

    if (error != 0) {
        assert_fence(after, held);
        /* Only these reasons, and a shortening of a living right is never refused to a writer. */
        if (held.kind != FENCE_NONE && !fence_is_passed(&held, now_ms))
            assert_true(pushed.kind == FENCE_NONE && is_writer);
        return;
    }
    /* A right that was over did not come back. */
    assert_false(fence_is_passed(&held, now_ms));
    assert_int_equal(after.kind, pushed.kind);
    if (is_writer)
        assert_true(after.kind != FENCE_NONE);
    /* From no right, only a living right is begun. */
    if (held.kind == FENCE_NONE && after.kind != FENCE_NONE)
        assert_true(fence_allows_writer(&after, now_ms));
    /* Whoever may not write and runs under UNTIL is killed, at exactly that moment. */
    for (int64_t at_ms = 1; at_ms <= 8; at_ms++) {
        bool must_die = after.kind == FENCE_UNTIL && at_ms >= after.until_ms;

        assert_int_equal(fence_act_at(&after, true, at_ms) == FENCE_ACT_KILL, must_die);
        assert_int_equal(fence_act_at(&after, false, at_ms) == FENCE_ACT_CLEAR, must_die);
    }
}

static void test_small_world(void **state)
{
    struct fence fences[8];
    size_t count = 0;

    (void)state;
    fences[count++] = NONE;
    fences[count++] = DISARMED;
    for (int64_t until_ms = 1; until_ms <= 6; until_ms++)
        fences[count++] = until(until_ms);
    for (size_t held = 0; held < count; held++) {
        for (size_t pushed = 0; pushed < count; pushed++) {
            for (int64_t now_ms = 1; now_ms <= 7; now_ms++) {
                check_push(fences[held], fences[pushed], false, now_ms);
                check_push(fences[held], fences[pushed], true, now_ms);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_at_its_moment),
        cmocka_unit_test(test_gives_the_right_to_write),
        cmocka_unit_test(test_push_moves_forward_and_backward),
        cmocka_unit_test(test_nothing_revives_a_passed_fence),
        cmocka_unit_test(test_cleared_fence_takes_a_new_push),
        cmocka_unit_test(test_a_writer_cannot_lose_its_fence),
        cmocka_unit_test(test_a_right_that_is_over_is_not_begun),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_until_of_other_kinds_is_forgotten),
        cmocka_unit_test(test_acts),
        cmocka_unit_test(test_nets_lie_behind_each_other),
        cmocka_unit_test(test_small_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
