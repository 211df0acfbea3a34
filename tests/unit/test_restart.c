/* What the end of an agent means: every way to end, in every situation. */
#include "tests/lib/check.h"

#include "pgheir/base/base.h"
#include "pgheir/supervisor/proto.h"
#include "src/supervisor/restart.h"

static int exited(int code)
{
    return code << 8;
}

static enum restart_verdict judge(int status, bool is_greeted, bool is_running, bool is_stopping,
                                  int *ret_code)
{
    struct restart_facts facts = {status, is_greeted, is_running, is_stopping, 5000};

    return restart_judge(&facts, ret_code);
}

static bool is_decision(int code)
{
    return code == 0 || code == 1 || code == 5;
}

static void test_every_exit_code(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        int passed_on = -1;
        enum restart_verdict verdict = judge(exited(code), true, true, false, &passed_on);

        if (code == AGENT_EXIT_REPLACE) {
            assert_int_equal(verdict, RESTART_REPLACE);
        } else if (is_decision(code)) {
            assert_int_equal(verdict, RESTART_LEAVE);
            assert_int_equal(passed_on, code);
        } else {
            assert_int_equal(verdict, RESTART_CRASH);
            assert_int_equal(passed_on, -1);
        }
    }
}

static void test_every_signal_is_a_crash(void **state)
{
    int code = -1;

    (void)state;
    for (int signo = 1; signo < 32; signo++) {
        assert_int_equal(judge(signo, true, true, false, &code), RESTART_CRASH);
        assert_int_equal(judge(signo, true, false, false, &code), RESTART_CRASH);
        /* Also in a shutdown: the leader key is still to be let go. */
        assert_int_equal(judge(signo, true, true, true, &code), RESTART_CRASH);
        assert_int_equal(judge(signo, false, true, true, &code), RESTART_CRASH);
    }
    assert_int_equal(code, -1);
}

static void test_who_did_not_know_cannot_have_decided(void **state)
{
    int code = -1;

    (void)state;
    assert_int_equal(judge(exited(1), false, true, false, &code), RESTART_CRASH);
    assert_int_equal(judge(exited(0), false, true, false, &code), RESTART_CRASH);
    assert_int_equal(judge(exited(1), false, false, false, &code), RESTART_LEAVE);
    assert_int_equal(code, 1);
}

static void test_stopped_before_it_began(void **state)
{
    int code = -1;

    (void)state;
    /* SIGTERM found no handler yet. */
    assert_int_equal(judge(15, false, false, true, &code), RESTART_LEAVE);
    assert_int_equal(code, 0);
    assert_int_equal(judge(exited(1), false, false, true, &code), RESTART_LEAVE);
    assert_int_equal(code, 1);
}

static void test_replacing_in_circles_is_crashing(void **state)
{
    struct restart_facts facts = {exited(AGENT_EXIT_REPLACE), true, true, false,
                                  RESTART_REPLACE_MS - 1};
    int code = -1;

    (void)state;
    assert_int_equal(restart_judge(&facts, &code), RESTART_CRASH);
    facts.lived_ms = RESTART_REPLACE_MS;
    assert_int_equal(restart_judge(&facts, &code), RESTART_REPLACE);
}

static void test_delays(void **state)
{
    const int64_t expected_ms[] = {0, 0, 100, 500, 2000, 2000, 2000};

    (void)state;
    for (int count = 0; count < (int)PGH_COUNT(expected_ms); count++)
        assert_int_equal(restart_delay_ms(count), expected_ms[count]);
    assert_int_equal(restart_delay_ms(1000000), 2000);
    assert_int_equal(restart_delay_ms(-5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_exit_code),
        cmocka_unit_test(test_every_signal_is_a_crash),
        cmocka_unit_test(test_who_did_not_know_cannot_have_decided),
        cmocka_unit_test(test_stopped_before_it_began),
        cmocka_unit_test(test_replacing_in_circles_is_crashing),
        cmocka_unit_test(test_delays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
