/* Health codes of rest.md section 3, path by path. */
#include "tests/unit/rest_node_rig.h"

/* One row: a path with its query, and the code for a replica, a leader, a replica without a
 * view. */
struct row {
    const char *path, *query;
    int replica, leader, no_view;
};

static int code(const struct rest_rig *rig, const char *path, const char *query)
{
    return rest_json_health(&rig->node, path, query).code;
}

static void expect(const struct rest_rig *rig, const char *path, const char *query, int expected)
{
    int found = code(rig, path, query);

    if (found != expected)
        fail_msg("%s?%s: %d, expected %d", path, query == NULL ? "" : query, found, expected);
}

static const struct row rows[] = {
    {"/", NULL, 503, 200, 503},
    {"/primary", NULL, 503, 200, 503},
    {"/master", NULL, 503, 200, 503},
    {"/read-write", NULL, 503, 200, 503},
    {"/leader", NULL, 503, 200, 503},
    {"/leaderless", NULL, 503, 200, 503},
    {"/standby_leader", NULL, 503, 503, 503},
    {"/standby-leader", NULL, 503, 503, 503},
    {"/replica", NULL, 200, 503, 200},
    {"/foo/replica", NULL, 200, 503, 200},
    {"/replica", "lag=10", 200, 503, 200},
    {"/replica", "replication_state=streaming", 200, 503, 200},
    {"/replica", "replication_state=in%20archive+recovery", 503, 503, 503},
    {"/replica", "replication_state=", 200, 503, 200},
    {"/read-only", NULL, 200, 200, 200},
    {"/read-only-x", NULL, 200, 200, 200},
    {"/health", NULL, 200, 200, 200},
    {"/healthz", NULL, 200, 200, 200},
    {"/async", NULL, 200, 503, 503},
    {"/asynchronous", NULL, 200, 503, 503},
    {"/sync", NULL, 503, 503, 503},
    {"/synchronous", NULL, 503, 503, 503},
    {"/quorum", NULL, 503, 503, 503},
    {"/read-only-sync", NULL, 503, 200, 503},
    {"/read-only-synchronous", NULL, 503, 200, 503},
    {"/read-only-quorum", NULL, 503, 200, 503},
    {"/nonsense", NULL, 503, 503, 503},
    {"/patroni", NULL, 503, 503, 503},
    {"/replica", "tag_clonefrom=true", 200, 503, 200},
    {"/replica", "tag_clonefrom=True", 503, 503, 503},
    {"/replica", "tag_clonefrom=false", 503, 503, 503},
    {"/replica", "tag_none=1", 503, 503, 503},
    {"/primary", "tag_none=1", 503, 200, 503}, /* tags do not count for the leader */
    {"/health", "tag_none=1", 503, 503, 503},
    {"/read-only", "tag_none=1", 503, 503, 503},
};

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(rows); i++) {
        struct rest_rig rig;

        rest_rig_init(&rig);
        expect(&rig, rows[i].path, rows[i].query, rows[i].replica);
        rig.node.view = NULL;
        expect(&rig, rows[i].path, rows[i].query, rows[i].no_view);
        rig.node.view = rig.view;
        rest_rig_primary(&rig);
        expect(&rig, rows[i].path, rows[i].query, rows[i].leader);
        rest_rig_done(&rig);
    }
}

static void test_sync(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_sync(&rig, false);
    expect(&rig, "/sync", NULL, 200);
    expect(&rig, "/synchronous", NULL, 200);
    expect(&rig, "/read-only-sync", NULL, 200);
    expect(&rig, "/quorum", NULL, 503);
    expect(&rig, "/async", NULL, 503);
    rest_rig_sync(&rig, true);
    expect(&rig, "/sync", NULL, 503);
    expect(&rig, "/quorum", NULL, 200);
    expect(&rig, "/read-only-quorum", NULL, 200);
    expect(&rig, "/async", NULL, 503);
    rest_rig_done(&rig);
}

/* RC-01, RC-02: 200 for writers rests on a right that holds and a server that is seen to write. */
static void test_writers(void **state)
{
    static const char *const paths[] = {"/", "/primary", "/leader", "/read-write",
                                        "/read-only-sync", "/read-only"};
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_primary(&rig);
    for (size_t i = 0; i < PGH_COUNT(paths); i++) {
        expect(&rig, paths[i], NULL, 200);
        rig.node.is_leader = false;
        expect(&rig, paths[i], NULL, 503);
        rig.node.is_leader = true;
        rig.node.sql_failed = true;
        expect(&rig, paths[i], NULL, 503);
        rig.node.sql_failed = false;
        rig.local->sql_valid = false;
        rig.node.state = PG_STATE_STARTING;
        expect(&rig, paths[i], NULL, 503);
        rig.local->sql_valid = true;
        rig.node.state = PG_STATE_RUNNING;
    }
    /* The key is ours, the server not yet promoted. */
    rig.local->in_recovery = true;
    expect(&rig, "/primary", NULL, 503);
    expect(&rig, "/replica", NULL, 200);
    rest_rig_done(&rig);
}

static void test_replica(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_tags(&rig, "{\"noloadbalance\": true}");
    expect(&rig, "/replica", NULL, 503);
    expect(&rig, "/health", NULL, 200);
    rest_rig_tags(&rig, "{\"dc\": \"A\", \"n\": 1, \"r\": 1.5, \"b\": false, \"nil\": null}");
    expect(&rig, "/replica", "tag_dc=A", 200);
    expect(&rig, "/replica", "tag_dc=a", 503);
    expect(&rig, "/replica", "tag_dc=A&tag_n=1&tag_r=1.5&tag_b=false", 200);
    expect(&rig, "/replica", "tag_dc=A&tag_n=2", 503);
    expect(&rig, "/replica", "tag_dc=A&tag_dc=B", 200); /* the first value counts */
    expect(&rig, "/replica", "tag_nil=null", 503);
    expect(&rig, "/replica", "tag_%64c=%41", 200);
    rig.node.state = PG_STATE_STARTING;
    expect(&rig, "/replica", NULL, 503);
    expect(&rig, "/health", NULL, 503);
    rest_rig_done(&rig);
}

static void test_lag(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rig.view->optime_lsn = rig.local->replay_lsn + 2048;
    expect(&rig, "/replica", NULL, 200);
    expect(&rig, "/replica", "lag=2047", 503);
    expect(&rig, "/replica", "lag=2048", 200);
    expect(&rig, "/replica", "lag=2kB", 200);
    expect(&rig, "/replica", "lag=1kB", 503);
    expect(&rig, "/replica", "lag=0", 503);
    expect(&rig, "/replica", "lag=-5", 503);
    expect(&rig, "/replica", "lag=nonsense", 200); /* no limit */
    expect(&rig, "/replica", "lag=1kB&lag=1MB", 503);
    rig.view->optime_lsn = 0;
    expect(&rig, "/replica", "lag=0", 200);
    rig.node.receiver_latest_end_lsn = rig.local->replay_lsn + 1;
    expect(&rig, "/replica", "lag=0", 503);
    rest_rig_done(&rig);
}

static void test_pause_without_etcd(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_primary(&rig);
    rig.node.is_leader = false;
    rig.node.view = NULL;
    expect(&rig, "/primary", NULL, 503);
    rig.node.is_paused = true;
    expect(&rig, "/primary", NULL, 200); /* by role alone */
    expect(&rig, "/leader", NULL, 200);
    rig.node.view = rig.view;
    expect(&rig, "/primary", NULL, 503);
    rest_rig_done(&rig);
}

static void test_standby_cluster(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rig.node.is_standby_cluster = true;
    rig.node.is_leader = true;
    rig.node.role = PG_ROLE_STANDBY_LEADER;
    expect(&rig, "/standby-leader", NULL, 200);
    expect(&rig, "/leader", NULL, 200);
    expect(&rig, "/primary", NULL, 503);
    expect(&rig, "/replica", NULL, 503);
    expect(&rig, "/read-only", NULL, 200);
    rest_rig_done(&rig);
}

static void test_liveness(void **state)
{
    struct rest_rig rig;
    struct rest_health health;

    (void)state;
    rest_rig_init(&rig);
    rig.view->policy.ttl_ms = 5000;
    health = rest_json_health(&rig.node, "/liveness", NULL);
    assert_int_equal(health.code, 200);
    assert_true(health.is_status_only);
    rig.node.next_run_at_ms = rig.node.now_ms - 9999;
    expect(&rig, "/liveness", NULL, 200); /* a replica has twice the ttl */
    rest_rig_primary(&rig);
    expect(&rig, "/liveness", NULL, 503);
    rig.node.next_run_at_ms = rig.node.now_ms - 4999;
    expect(&rig, "/liveness", NULL, 200);
    rig.node.next_run_at_ms = rig.node.now_ms - 5000;
    expect(&rig, "/liveness", NULL, 503);
    rig.local->postmaster = POSTMASTER_DOWN;
    expect(&rig, "/liveness", NULL, 200);
    rig.node.next_run_at_ms = 1;
    expect(&rig, "/liveness", NULL, 503);
    rig.node.is_paused = true;
    expect(&rig, "/liveness", NULL, 200);
    /* Neither etcd nor SQL is asked for. */
    rig.node.is_paused = false;
    rig.node.next_run_at_ms = rig.node.now_ms;
    rig.node.view = NULL;
    rig.local->sql_valid = false;
    expect(&rig, "/liveness", NULL, 200);
    rest_rig_done(&rig);
}

static void test_readiness(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    assert_true(rest_json_health(&rig.node, "/readiness", NULL).is_status_only);
    expect(&rig, "/readiness", NULL, 200);
    rig.view->optime_lsn = rig.local->replay_lsn + 1048576;
    expect(&rig, "/readiness", NULL, 200);
    rig.view->optime_lsn++;
    expect(&rig, "/readiness", NULL, 503);
    expect(&rig, "/readiness", "lag=2MB", 200);
    rig.local->receive_lsn = rig.view->optime_lsn;
    expect(&rig, "/readiness", "mode=write", 200);
    expect(&rig, "/readiness", "mode=apply", 503);
    rest_rig_config(&rig, "{\"maximum_lag_on_failover\": 2097152}");
    expect(&rig, "/readiness", NULL, 200);
    rig.local->replication_state = REPLICATION_ARCHIVE;
    expect(&rig, "/readiness", NULL, 503);
    rig.local->replication_state = REPLICATION_STREAMING;
    rig.node.view = NULL;
    expect(&rig, "/readiness", NULL, 503);
    rig.node.receiver_latest_end_lsn = rig.local->replay_lsn;
    expect(&rig, "/readiness", NULL, 200);
    rig.node.receiver_latest_end_lsn = 0;
    rig.node.failsafe_active = true;
    expect(&rig, "/readiness", NULL, 200);
    rig.node.failsafe_active = false;
    rest_rig_primary(&rig);
    expect(&rig, "/readiness", NULL, 200);
    rest_rig_done(&rig);
}

static void expect_query(const char *query, const char *name, const char *expected)
{
    struct buf value;
    bool is_found;

    buf_init(&value, 100);
    is_found = rest_query_get(query, name, &value);
    if (is_found != (expected != NULL) || strcmp(buf_text(&value), is_found ? expected : "") != 0)
        fail_msg("%s: %s=%s", query == NULL ? "NULL" : query, name, buf_text(&value));
    buf_done(&value);
}

static void test_query(void **state)
{
    (void)state;
    expect_query(NULL, "a", NULL);
    expect_query("", "a", NULL);
    expect_query("a=1", "a", "1");
    expect_query("b=2&a=1", "a", "1");
    expect_query("a=1&a=2", "a", "1");
    expect_query("a", "a", NULL);
    expect_query("a=", "a", NULL);
    expect_query("&&=&a=x=y", "a", "x=y");
    expect_query("a=%41%zz%4", "a", "A%zz%4");
    expect_query("a=x%00y", "a", "x");
    expect_query("%61=+", "a", " ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),    cmocka_unit_test(test_sync),
        cmocka_unit_test(test_writers),  cmocka_unit_test(test_replica),
        cmocka_unit_test(test_lag),      cmocka_unit_test(test_pause_without_etcd),
        cmocka_unit_test(test_standby_cluster), cmocka_unit_test(test_liveness),
        cmocka_unit_test(test_readiness), cmocka_unit_test(test_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
