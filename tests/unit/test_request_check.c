#include "../lib/check.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/core/request_check.h"

static void test_candidates(void **state)
{
    struct peer_answer answers[3];

    (void)state;
    memset(answers, 0, sizeof(answers));
    assert_false(request_check_candidates(answers, 0));
    assert_false(request_check_candidates(answers, 3));
    answers[1].reachable = true;
    assert_false(request_check_candidates(answers, 3)); /* a stopped server is no candidate */
    answers[1].running = true;
    assert_true(request_check_candidates(answers, 3));
    answers[1].nofailover = true;
    assert_false(request_check_candidates(answers, 3));
    answers[1].nofailover = false;
    answers[1].watchdog_failed = true;
    assert_false(request_check_candidates(answers, 3));
    answers[2].reachable = true;
    answers[2].running = true;
    assert_true(request_check_candidates(answers, 3));
    assert_false(request_check_candidates(answers, 2));
}

static enum request_end end_of(int64_t revision, const char *leader, bool is_requested,
                               const char *old_leader, const char *candidate)
{
    struct view *view = mem_new(1, sizeof(*view));
    enum request_end end;

    view_init(view);
    view->revision = revision;
    view->leader_present = leader != NULL;
    if (leader != NULL)
        assert_true(str_copy(view->leader_name, sizeof(view->leader_name), leader));
    view->failover.present = is_requested;
    end = request_check_end(view, old_leader, candidate, 10);
    mem_free(view);
    return end;
}

static void test_end(void **state)
{
    (void)state;
    /* Older than the write: nothing is known. */
    assert_int_equal(end_of(9, "b", false, "a", ""), REQUEST_END_OPEN);
    assert_int_equal(end_of(9, "a", false, "a", ""), REQUEST_END_OPEN);
    /* Not begun, and between the two leaders. */
    assert_int_equal(end_of(10, "a", true, "a", "b"), REQUEST_END_OPEN);
    assert_int_equal(end_of(10, NULL, true, "a", "b"), REQUEST_END_OPEN);
    assert_int_equal(end_of(11, NULL, false, "a", "b"), REQUEST_END_OPEN);
    /* Ended. The winner may not have cleared the request yet. */
    assert_int_equal(end_of(11, "b", true, "a", "b"), REQUEST_END_DONE);
    assert_int_equal(end_of(11, "b", false, "a", ""), REQUEST_END_DONE);
    assert_int_equal(end_of(11, "c", false, "a", "b"), REQUEST_END_OTHER);
    assert_int_equal(end_of(11, "a", false, "a", "b"), REQUEST_END_FAILED);
    /* Nobody led before. */
    assert_int_equal(end_of(11, "b", false, "", "b"), REQUEST_END_DONE);
    assert_int_equal(end_of(11, NULL, true, "", "b"), REQUEST_END_OPEN);
}

static void test_restart(void **state)
{
    struct request_filter none = {.version = 0};
    struct request_filter role = {.role = "replica"};
    struct request_filter version = {.version = 150021};
    struct request_filter pending = {.only_pending = true};

    (void)state;
    assert_true(request_check_restart(&none, "primary", 150020, false));
    assert_false(request_check_restart(&role, "primary", 150020, true));
    assert_true(request_check_restart(&role, "replica", 150020, false));
    assert_true(request_check_restart(&version, "primary", 150020, false));
    assert_false(request_check_restart(&version, "primary", 150021, false));
    assert_false(request_check_restart(&version, "primary", 160000, false));
    assert_false(request_check_restart(&pending, "primary", 150020, false));
    assert_true(request_check_restart(&pending, "primary", 150020, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
