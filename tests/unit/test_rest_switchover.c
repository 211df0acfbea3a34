/* Switchover and failover over REST: contract/rest.md section 7.2, RC-04. */
#include "rest_rig.h"

static void test_switchover_refused_by_its_words(void **state)
{
    static const struct {
        const char *path;
        const char *body;
        int status;
        const char *text;
    } cases[] = {
        {"/failover", "{\"leader\":\"n1\"}", 400,
         "Failover could be performed only to a specific candidate"},
        {"/switchover", "{\"candidate\":\"n2\"}", 400,
         "Switchover could be performed only from a specific leader"},
        {"/failover", "{\"candidate\":\"n2\",\"scheduled_at\":\"2030-01-01T00:00Z\"}", 400,
         "Failover can't be scheduled"},
        {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"2030-01-01T00:00\"}", 400,
         "Timezone information is mandatory for the scheduled switchover"},
        {"/switchover", "{\"leader\":\"n1\",\"scheduled_at\":\"1969-01-01T00:00Z\"}", 422,
         "Cannot schedule switchover in the past"},
        {"/switchover", "{\"leader\":\"n1\",\"candidate\":\"n1\"}", 400,
         "Switchover target and source are the same"},
    };
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_POST, cases[i].path, cases[i].body);
        assert_answer(&asked, cases[i].status, cases[i].text);
    }
    ask(&asked, REST_POST, "/switchover", "{");
    assert_int_equal(asked.status, 400);
    assert_int_equal(rig.read_count, 0);
}

static void test_switchover_refused_by_the_cluster(void **state)
{
    static const struct {
        const char *path;
        const char *body;
        const char *text;
    } cases[] = {
        {"/switchover", "{\"leader\":\"n2\"}", "leader name does not match"},
        {"/switchover", "{\"leader\":\"n1\",\"candidate\":\"n9\"}", "candidate does not exists"},
        {"/failover", "{\"candidate\":\"n9\"}", "candidate does not exists"},
    };
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_POST, cases[i].path, cases[i].body);
        finish_read();
        assert_answer(&asked, 412, cases[i].text);
    }
    KEYS(101, "leader", "n1", "members/n1", member_text);
    ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
    finish_read();
    assert_answer(&asked, 412,
                  "switchover is not possible: cluster does not have members except leader");
    ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
    fail_read();
    assert_answer(&asked, 503, "etcd does not answer");
    /* The pause that etcd knows counts, not the one that this node has seen. */
    KEYS(102, "config", "{\"pause\":true}", THREE, "leader", "n1");
    ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
    finish_read();
    assert_answer(&asked, 400,
                  "Switchover is possible only to a specific candidate in a paused state");
    assert_int_equal(rig.put_count, 0);
}

static void test_switchover_without_good_candidates(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
    finish_read();
    assert_string_equal(rig.peers, "n2 n3 ");
    finish_peers(false);
    assert_answer(&asked, 412,
                  "switchover is not possible: no good candidates have been found");
    ask(&asked, REST_POST, "/failover", "{\"candidate\":\"n2\"}");
    finish_read();
    assert_string_equal(rig.peers, "n2 ");
    finish_peers(false);
    assert_answer(&asked, 412, "failover is not possible: no good candidates have been found");
}

/* Up to the point where the key stands in etcd, 100 revisions after what was read. */
static void begin_switch(struct rest_request *asked, const char *path, const char *body)
{
    ask(asked, REST_POST, path, body);
    finish_read();
    assert_string_equal(asked->body, "");
    finish_peers(true);
    assert_string_equal(rig.put_key, "failover");
    finish_put(OUTCOME_OK, rig.view->revision + 100);
    assert_open(asked);
}

static void show(int64_t revision, const char *leader, const char *failover)
{
    if (leader != NULL)
        KEYS(revision, THREE, "leader", leader, "failover", failover);
    else
        KEYS(revision, THREE, "failover", failover);
    rest_routes_on_view(rig.routes, rig.view);
}

static void test_switchover_done(void **state)
{
    struct rest_request asked;

    (void)state;
    begin_switch(&asked, "/switchover", "{\"leader\":\"n1\",\"candidate\":\"n2\"}");
    assert_string_equal(rig.put_text, "{\"leader\":\"n1\",\"member\":\"n2\"}");
    assert_int_equal(rig.put_guard, 0);
    assert_int_equal(rig.wake_count, 1);
    /* A view from before the write says nothing, not even that the request is gone. */
    show(150, "n1", "{}");
    assert_open(&asked);
    show(200, "n1", "{\"leader\":\"n1\",\"member\":\"n2\"}");
    assert_open(&asked);
    show(201, NULL, "{\"leader\":\"n1\",\"member\":\"n2\"}");
    assert_open(&asked);
    show(202, NULL, "{}");
    assert_open(&asked);
    show(203, "n2", "{}");
    assert_answer(&asked, 200, "Successfully switched over to \"n2\"");
    show(204, "n3", "{}");
}

static void test_switchover_other_ends(void **state)
{
    struct rest_request asked;

    (void)state;
    begin_switch(&asked, "/switchover", "{\"leader\":\"n1\",\"candidate\":\"n2\"}");
    show(201, "n3", "{}");
    assert_answer(&asked, 200, "Switched over to \"n3\" instead of \"n2\"");
    KEYS(300, THREE, "leader", "n1");
    begin_switch(&asked, "/switchover", "{\"leader\":\"n1\"}");
    show(401, "n3", "{}");
    assert_answer(&asked, 200, "Successfully switched over to \"n3\"");
    KEYS(500, THREE, "leader", "n1");
    begin_switch(&asked, "/switchover", "{\"leader\":\"n1\"}");
    show(601, "n1", "{}");
    assert_answer(&asked, 503, "Switchover failed");
    KEYS(700, THREE);
    begin_switch(&asked, "/failover", "{\"candidate\":\"n2\"}");
    assert_string_equal(rig.put_text, "{\"member\":\"n2\"}");
    show(801, "n2", "{}");
    assert_answer(&asked, 200, "Successfully failed over to \"n2\"");
    KEYS(900, THREE, "leader", "n1");
    begin_switch(&asked, "/failover", "{\"candidate\":\"n2\"}");
    show(1001, "n1", "{}");
    assert_answer(&asked, 503, "Failover failed");
    /* Who names the leader means a switchover. */
    KEYS(1100, THREE, "leader", "n1");
    begin_switch(&asked, "/failover", "{\"leader\":\"n1\",\"candidate\":\"n2\"}");
    assert_string_equal(rig.put_text, "{\"leader\":\"n1\",\"member\":\"n2\"}");
    show(1201, "n2", "{}");
    assert_answer(&asked, 200, "Successfully switched over to \"n2\"");
}

static void test_switchover_is_watched_by_reads_too(void **state)
{
    struct rest_request asked;

    (void)state;
    begin_switch(&asked, "/switchover", "{\"leader\":\"n1\"}");
    advance(1000);
    assert_int_equal(rig.read_count, 2);
    /* Never two at once, however slow etcd is. */
    advance(3000);
    assert_int_equal(rig.read_count, 2);
    fail_read();
    advance(1000);
    assert_int_equal(rig.read_count, 3);
    KEYS(201, THREE, "leader", "n2", "failover", "{}");
    finish_read();
    assert_answer(&asked, 200, "Successfully switched over to \"n2\"");
    assert_int_equal(count_timers(), 0);
}

static void test_switchover_unknown(void **state)
{
    struct rest_request asked;

    (void)state;
    begin_switch(&asked, "/switchover", "{\"leader\":\"n1\"}");
    assert_true(asked.deadline_ms > now_ms + 20000);
    assert_non_null(strstr(asked.late_text, "status unknown"));
    advance(19999);
    assert_open(&asked);
    advance(1);
    assert_answer(&asked, 503,
                  "Switchover status unknown after 20 seconds; operation may still be in "
                  "progress");
    /* The read that is still under way finds nobody waiting. */
    finish_read();
    rig.policy.loop_wait_ms = 30000;
    KEYS(300, THREE, "leader", "n1");
    begin_switch(&asked, "/failover", "{\"candidate\":\"n2\"}");
    advance(60000);
    assert_answer(&asked, 503,
                  "Failover status unknown after 60 seconds; operation may still be in progress");
    fail_read();
}

static void test_switchover_write_outcomes(void **state)
{
    static const enum call_outcome failures[] = {OUTCOME_REFUSED, OUTCOME_UNAVAILABLE};
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(failures); i++) {
        ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
        finish_read();
        finish_peers(true);
        finish_put(failures[i], 0);
        assert_answer(&asked, 503, "failed to write failover key into DCS");
    }
    ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
    finish_read();
    finish_peers(true);
    finish_put(OUTCOME_UNKNOWN, 0);
    assert_int_equal(asked.status, 503);
    assert_non_null(strstr(asked.body, "Switchover status unknown"));
    /* The guard is the key as it was read. */
    KEYS(150, THREE, "leader", "n1", "failover", "{}");
    ask(&asked, REST_POST, "/switchover", "{\"leader\":\"n1\"}");
    finish_read();
    finish_peers(true);
    assert_int_equal(rig.put_guard, 150);
    finish_put(OUTCOME_UNAVAILABLE, 0);
}

static void test_switchover_scheduled(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_POST, "/switchover",
        "{\"leader\":\"n1\",\"candidate\":\"n2\",\"scheduled_at\":\"2030-01-01T00:00:00+01:00\"}");
    finish_read();
    assert_null(rig.peers_done);
    assert_string_equal(rig.put_text, "{\"leader\":\"n1\",\"member\":\"n2\","
                                      "\"scheduled_at\":\"2030-01-01T00:00:00+01:00\"}");
    finish_put(OUTCOME_OK, 200);
    assert_answer(&asked, 202, "Switchover scheduled");
    rig.node.is_paused = true;
    ask(&asked, REST_POST, "/switchover",
        "{\"leader\":\"n1\",\"scheduled_at\":\"2030-01-01T00:00:00+01:00\"}");
    assert_answer(&asked, 400, "Can't schedule switchover in the paused state");
}

static void test_switchover_delete(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_DELETE, "/switchover", "");
    finish_read();
    assert_answer(&asked, 404, "no switchover is scheduled");
    KEYS(110, THREE, "leader", "n1", "failover", "{\"leader\":\"n1\",\"member\":\"n2\"}");
    ask(&asked, REST_DELETE, "/switchover", "");
    finish_read();
    assert_answer(&asked, 404, "no switchover is scheduled");
    KEYS(120, THREE, "leader", "n1", "failover",
         "{\"leader\":\"n1\",\"scheduled_at\":\"2030-01-01T00:00:00+00:00\"}");
    ask(&asked, REST_DELETE, "/switchover", "");
    finish_read();
    assert_string_equal(rig.put_text, "{}");
    assert_int_equal(rig.put_guard, 120);
    finish_put(OUTCOME_OK, 121);
    assert_answer(&asked, 200, "scheduled switchover deleted");
    ask(&asked, REST_DELETE, "/switchover", "");
    finish_read();
    finish_put(OUTCOME_REFUSED, 0);
    assert_int_equal(asked.status, 409);
    ask(&asked, REST_DELETE, "/switchover", "");
    fail_read();
    assert_int_equal(asked.status, 503);
}

/* ---- the end ---- */

static void test_free_with_open_errands(void **state)
{
    struct rest_request reading;
    struct rest_request restarting;
    struct rest_request watching;

    (void)state;
    begin_switch(&watching, "/switchover", "{\"leader\":\"n1\"}");
    ask(&restarting, REST_POST, "/restart", "");
    ask(&reading, REST_GET, "/cluster", "");
    rest_routes_free(rig.routes);
    assert_answer(&watching, 503, "this agent is stopping");
    assert_answer(&restarting, 503, "this agent is stopping");
    assert_answer(&reading, 503, "this agent is stopping");
    /* What was under way completes into nothing. */
    finish_read();
    finish_reply(REPLY_OK, OP_NONE);
    rig.routes = rest_routes_new(NULL, &ops, &rig);
}

int main(void)
{
    static const struct log_options quiet = {.level = LOG_LEVEL_CRITICAL};
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_switchover_refused_by_its_words),
        TEST(test_switchover_refused_by_the_cluster),
        TEST(test_switchover_without_good_candidates),
        TEST(test_switchover_done),
        TEST(test_switchover_other_ends),
        TEST(test_switchover_is_watched_by_reads_too),
        TEST(test_switchover_unknown),
        TEST(test_switchover_write_outcomes),
        TEST(test_switchover_scheduled),
        TEST(test_switchover_delete),
        TEST(test_free_with_open_errands),
    };

    assert_int_equal(log_open(&quiet), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
