/* What each answer of etcd, and each silence, means to a request. */
#include "tests/lib/etcd_house.h"

/* ---- outcomes ---- */

static void test_ok(void **state)
{
    struct house *house = *state;

    assert_int_equal(txn(house, false, 20000)->outcome, ETCD_OK);
    assert_int_equal(house->seen.op_count, 1);
    assert_false(house->seen.is_repeat);
    assert_true(house->seen.sent_at_ms > 0);
    assert_int_equal(keepalive(house, 20000)->ttl_ms, 5000);
    assert_int_equal(house->members[0].versions, 1); /* asked once */
}

/* ET-07: what may have been applied is not repeated unless the caller allows it. */
static void test_a_write_without_an_answer(void **state)
{
    static const struct step steps[] = {{503, TIMED_OUT}, {-1, NULL}, {0, NULL}, {200, "garbage"}};
    struct house *house = *state;

    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    for (size_t i = 0; i < PGH_COUNT(steps); i++) {
        int before = calls(house);

        script(house, 0, steps[i].status, steps[i].body);
        assert_int_equal(txn(house, false, 600)->outcome, ETCD_UNKNOWN);
        assert_int_equal(calls(house), before + 1);
        script(house, 0, steps[i].status, steps[i].body);
        assert_int_equal(txn(house, true, 2000)->outcome, ETCD_OK);
        assert_true(house->seen.is_repeat);
        assert_int_equal(calls(house), before + 3);
    }
}

static void test_what_was_surely_not_applied_is_repeated(void **state)
{
    struct house *house = *state;

    script(house, 0, 503, NO_LEADER);
    script(house, 0, 429, "{\"error\":\"etcdserver: too many requests\",\"code\":8}");
    assert_int_equal(txn(house, false, 2000)->outcome, ETCD_OK);
    assert_false(house->seen.is_repeat);
    assert_int_equal(calls(house), 3);
}

static void test_no_leader_until_the_deadline(void **state)
{
    struct house *house = *state;
    int64_t begun_ms = clock_boot_ms();

    for (int i = 0; i < SCRIPT_MAX; i++)
        script(house, 0, 503, NO_LEADER);
    assert_int_equal(txn(house, false, 700)->outcome, ETCD_UNAVAILABLE);
    assert_true(clock_boot_ms() - begun_ms >= 650);
    assert_non_null(strstr(house->seen.text, "no leader"));
    /* With pauses between the rounds, not as fast as it goes. */
    assert_in_range(calls(house), 2, 8);
}

static void test_reads_are_never_unknown(void **state)
{
    struct house *house = *state;

    script(house, 0, 0, NULL);
    script(house, 0, 0, NULL);
    script(house, 0, 0, NULL);
    script(house, 0, 0, NULL);
    assert_int_equal(range(house, 400)->outcome, ETCD_UNAVAILABLE);
}

static void test_a_keepalive_without_an_answer(void **state)
{
    struct house *house = *state;

    for (int i = 0; i < SCRIPT_MAX; i++)
        script(house, 0, 0, NULL);
    assert_int_equal(keepalive(house, 400)->outcome, ETCD_UNKNOWN);
}

static void test_final_errors(void **state)
{
    struct house *house = *state;

    script(house, 0, 400, "{\"error\":\"etcdserver: key is not provided\",\"code\":3}");
    assert_int_equal(txn(house, true, 2000)->outcome, ETCD_INVALID);
    script(house, 0, 404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}");
    assert_int_equal(txn(house, true, 2000)->outcome, ETCD_LEASE_NOT_FOUND);
    assert_int_equal(calls(house), 2);
}

static void test_the_fence_counts_from_the_answered_copy(void **state)
{
    struct house *house = *state;

    open_etcd(house, 3, NULL);
    assert_int_equal(keepalive(house, 20000)->outcome, ETCD_OK);
    script(house, answered_by(house), 0, NULL);
    assert_int_equal(keepalive(house, 3000)->outcome, ETCD_OK);
    assert_true(house->seen.is_repeat);
    assert_true(house->seen.ended_at_ms - house->seen.sent_at_ms < 900);
}

/* ---- answers that do not fit ---- */

static void test_answers_to_something_else(void **state)
{
    static const char header[] = "{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"5\"}";
    struct house *house = *state;
    char text[300];

    house->echo_lease = 99;
    assert_int_equal(keepalive(house, 400)->outcome, ETCD_UNKNOWN);
    house->echo_lease = 0;
    assert_int_equal(keepalive(house, 400)->outcome, ETCD_OK);
    (void)snprintf(text, sizeof(text), "%s,\"succeeded\":true}", header);
    script(house, 0, 200, text);
    assert_int_equal(txn(house, false, 400)->outcome, ETCD_UNKNOWN);
    (void)snprintf(text, sizeof(text),
                   "%s,\"succeeded\":true,\"responses\":[{\"response_range\":{}}]}", header);
    script(house, 0, 200, text);
    assert_int_equal(txn(house, false, 400)->outcome, ETCD_UNKNOWN);
    (void)snprintf(text, sizeof(text),
                   "%s,\"succeeded\":true,\"responses\":[{\"response_put\":{}},"
                   "{\"response_put\":{}}]}",
                   header);
    script(house, 0, 200, text);
    assert_int_equal(txn(house, false, 400)->outcome, ETCD_UNKNOWN);
    (void)snprintf(text, sizeof(text), "%s}", header); /* refused; no failure branch was given */
    script(house, 0, 200, text);
    assert_int_equal(txn(house, false, 400)->outcome, ETCD_REFUSED);
}

static void test_a_lease_without_ttl_is_gone(void **state)
{
    struct house *house = *state;

    script(house, 0, 200,
           "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"5\"},\"ID\":\"77\"}}");
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_LEASE_NOT_FOUND);
}

/* ---- raft terms ---- */

static void set_term(struct house *house, uint64_t term)
{
    for (int i = 0; i < MEMBERS; i++)
        house->members[i].term = term;
}

/* ET-03: a deposed leader that was frozen and thawed says 30 seconds where 26 are left. */
static void test_an_old_term_is_refused(void **state)
{
    struct house *house = *state;

    open_etcd(house, 3, NULL);
    set_term(house, 7);
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
    house->members[answered_by(house)].term = 6;
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
    assert_int_equal(calls(house), 3);
    set_term(house, 6);
    assert_int_equal(keepalive(house, 300)->outcome, ETCD_UNKNOWN);
    assert_non_null(strstr(house->seen.text, "raft term"));
    assert_int_equal(range(house, 300)->outcome, ETCD_UNAVAILABLE);
    assert_int_equal(txn(house, false, 300)->outcome, ETCD_UNKNOWN);
    set_term(house, 8);
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
}

/* Restored from a snapshot: nothing but the old term comes for a whole ttl (1 s here), so it is
 * the truth. */
static void test_an_old_term_that_stays_is_taken(void **state)
{
    struct house *house = *state;
    int64_t begun_ms;

    set_term(house, 7);
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
    set_term(house, 2);
    begun_ms = clock_boot_ms();
    assert_int_equal(keepalive(house, 5000)->outcome, ETCD_OK);
    assert_true(clock_boot_ms() - begun_ms >= 1000);
}

static void test_another_cluster_has_its_own_terms(void **state)
{
    struct house *house = *state;

    set_term(house, 7);
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
    set_term(house, 2);
    house->members[0].cluster_id = 2;
    assert_int_equal(keepalive(house, 5000)->outcome, ETCD_OK);
}

/* Somebody made a member anew as a cluster of its own, at its old address: what it says is not
 * believed as long as a member of ours answers. */
static void test_a_stray_cluster_is_refused(void **state)
{
    struct house *house = *state;
    int stray;

    open_etcd(house, 3, NULL);
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
    stray = answered_by(house);
    house->members[stray].cluster_id = 2;
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    assert_int_not_equal(answered_by(house), stray);
    assert_int_equal(keepalive(house, 2000)->outcome, ETCD_OK);
    assert_int_not_equal(answered_by(house), stray);
}

/* ---- members ---- */

/* ET-01 */
static void test_a_silent_member_is_avoided_until_it_answers(void **state)
{
    struct house *house = *state;
    struct etcd_endpoint_info info;
    int64_t begun_ms = clock_boot_ms();
    int silent;

    open_etcd(house, 3, NULL);
    assert_int_equal(range(house, 20000)->outcome, ETCD_OK);
    silent = answered_by(house);
    script(house, silent, 0, NULL);
    assert_int_equal(range(house, 3000)->outcome, ETCD_OK);
    assert_true(clock_boot_ms() - begun_ms < 2500); /* a third, and what the loop takes */
    etcd_endpoint_get(house->etcd, 2, &info);
    assert_int_equal(etcd_endpoint_count(house->etcd), 3);
    house->members[silent].calls = 0;
    for (int i = 0; i < 5; i++)
        assert_int_equal(range(house, 900)->outcome, ETCD_OK);
    assert_int_equal(house->members[silent].calls, 0);
    fake_run(house->loop, &house->members[silent].probes, 1, 3000);
    fake_idle(house->loop, 20);
    for (int i = 0; i < MEMBERS; i++) {
        etcd_endpoint_get(house->etcd, i, &info);
        assert_false(info.is_avoided);
    }
}

/* Those that answer well come before those that do not, wherever they stand in the list. */
static void test_an_avoided_member_comes_last(void **state)
{
    struct house *house = *state;
    struct etcd_endpoint_info info;
    int64_t deadline_ms = soon(5000);
    int first;
    int second;

    open_etcd(house, 3, NULL);
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    first = answered_by(house);
    house->members[first].is_unhealthy = true;
    script(house, first, 503, NO_LEADER);
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    second = answered_by(house);
    script(house, second, 503, NO_LEADER);
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    do { /* until the second is trusted again; the first stands before it in turn */
        fake_idle(house->loop, 5);
        assert_true(clock_boot_ms() < deadline_ms);
        etcd_endpoint_get(house->etcd, 2, &info);
        assert_non_null(strstr(info.url, house->hosts[second]));
    } while (info.is_avoided);
    script(house, answered_by(house), 503, NO_LEADER);
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    assert_int_equal(answered_by(house), second);
    assert_int_equal(house->members[first].calls, 2);
}

static void test_nobody_listens(void **state)
{
    struct house *house = *state;
    int64_t begun_ms;

    for (int i = 0; i < MEMBERS; i++)
        loop_fd_want(house->members[i].server.watch, 0);
    script_all(house, 0, NULL);
    open_etcd(house, 3, NULL);
    begun_ms = clock_boot_ms();
    assert_int_equal(txn(house, false, 500)->outcome, ETCD_UNAVAILABLE);
    assert_in_range(clock_boot_ms() - begun_ms, 450, 5000);
    assert_int_equal(house->seen.sent_at_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(test_ok),
        IN_HOUSE(test_a_write_without_an_answer),
        IN_HOUSE(test_what_was_surely_not_applied_is_repeated),
        IN_HOUSE(test_no_leader_until_the_deadline),
        IN_HOUSE(test_reads_are_never_unknown),
        IN_HOUSE(test_a_keepalive_without_an_answer),
        IN_HOUSE(test_final_errors),
        IN_HOUSE(test_the_fence_counts_from_the_answered_copy),
        IN_HOUSE(test_answers_to_something_else),
        IN_HOUSE(test_a_lease_without_ttl_is_gone),
        IN_HOUSE(test_an_old_term_is_refused),
        IN_HOUSE(test_an_old_term_that_stays_is_taken),
        IN_HOUSE(test_another_cluster_has_its_own_terms),
        IN_HOUSE(test_a_stray_cluster_is_refused),
        IN_HOUSE(test_a_silent_member_is_avoided_until_it_answers),
        IN_HOUSE(test_an_avoided_member_comes_last),
        IN_HOUSE(test_nobody_listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
