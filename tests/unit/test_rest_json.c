/* Documents of the REST API: the samples of the contract, and what a peer's answer means. */
#include "tests/unit/rest_node_rig.h"

#include "pgheir/codec/view_json.h"

/* ---- GET /patroni ---- */

/* @ in expected stands for the code of the reason, which is the model's affair. */
static void expect_status(const struct rest_rig *rig, const char *expected)
{
    size_t head = strcspn(expected, "@");
    struct buf out;
    struct buf wanted;

    buf_init(&out, 10000);
    buf_init(&wanted, 10000);
    assert_int_equal(buf_append(&wanted, expected, head), RC_OK);
    assert_int_equal(buf_printf(&wanted, "%s%s", reason_code(REASON_FOLLOWING_LEADER),
                                expected + head + 1),
                     RC_OK);
    assert_int_equal(rest_json_put_status(&rig->node, &out), RC_OK);
    assert_string_equal(buf_text(&out), buf_text(&wanted));
    buf_done(&wanted);
    buf_done(&out);
}

#define OWN                                                                                        \
    "\"pgheir\": {\"instance\": \"abc\", \"fence_left_ms\": 0, \"reason\": \"@\", "              \
    "\"reason_text\": \"no action\", \"etcd_age_ms\": 12, \"fencing\": \"normal\"}}"
#define PATRONI "\"patroni\": {\"version\": \"4.1.4\", \"scope\": \"demo\", \"name\": \"node2\"}"

/* The sample of rest.md section 4, and our object behind it. */
static void test_status_of_replica(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_sync(&rig, false);
    expect_status(&rig,
                  "{\"state\": \"running\", \"postmaster_start_time\": \"2026-11-23 "
                  "14:53:45.358496+00:00\", \"role\": \"replica\", \"server_version\": 150020, "
                  "\"xlog\": {\"received_location\": 67407712, \"replayed_location\": 67407712, "
                  "\"replayed_timestamp\": null, \"paused\": false}, \"sync_standby\": true, "
                  "\"timeline\": 2, \"replication_state\": \"streaming\", \"dcs_last_seen\": "
                  "1795445754, \"tags\": {\"clonefrom\": true}, \"database_system_identifier\": "
                  "\"7711380018334676876\", " PATRONI ", " OWN);
    rest_rig_done(&rig);
}

static void test_status_of_primary(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_primary(&rig);
    rest_rig_tags(&rig, "{}");
    rig.replication = rig_json("[{\"usename\": \"r\"}]");
    rig.node.replication = rig.replication;
    rig.node.postmaster_start_wall_us = 1000000;
    rig.local->timeline = 0;
    rig.local->pending_restart = true;
    rig.node.is_paused = true;
    rig.node.log_queued = 3;
    rig.node.log_lost = 4;
    rig.view->leader_present = false;
    expect_status(&rig,
                  "{\"state\": \"running\", \"postmaster_start_time\": \"1970-01-01 "
                  "00:00:01+00:00\", \"role\": \"primary\", \"server_version\": 150020, \"xlog\": "
                  "{\"location\": 67407712}, \"timeline\": null, \"replication\": [{\"usename\": "
                  "\"r\"}], \"pause\": true, \"cluster_unlocked\": true, \"dcs_last_seen\": "
                  "1795445754, \"database_system_identifier\": \"7711380018334676876\", "
                  "\"pending_restart\": true, " PATRONI ", \"logger_queue_size\": 3, "
                  "\"logger_records_lost\": 4, " OWN);
    rest_rig_done(&rig);
}

static void test_status_without_sql(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    rest_rig_tags(&rig, "{}");
    rig.local->sysid = 0;
    rig.node.view = NULL;
    rig.node.sql_failed = true;
    rig.node.dcs_last_seen_wall_ms = 0;
    expect_status(&rig, "{\"state\": \"unknown\", \"role\": \"replica\", \"cluster_unlocked\": "
                        "true, \"dcs_last_seen\": 0, " PATRONI ", " OWN);
    rig.node.state = PG_STATE_STOPPED; /* what SQL said before does not count any more */
    rig.node.sql_failed = false;
    rig.node.role = PG_ROLE_DEMOTED;
    expect_status(&rig, "{\"state\": \"stopped\", \"role\": \"demoted\", \"cluster_unlocked\": "
                        "true, \"dcs_last_seen\": 0, " PATRONI ", " OWN);
    rest_rig_done(&rig);
}

/* ---- GET /cluster ---- */

static void put(struct view_map *map, const char *key, const char *value)
{
    static int64_t revision = 1;
    char full[200];
    struct etcd_event event = {0};

    assert_true(str_format(full, sizeof(full), "/p/%s", key));
    event.kv = (struct etcd_kv){.key = full,
                                .key_length = strlen(full),
                                .value = value,
                                .value_length = strlen(value),
                                .mod_revision = ++revision};
    assert_true(view_map_apply(map, &event, NULL));
}

static void expect_cluster(const struct view_map *map, const char *expected)
{
    json_t *cluster = rest_json_cluster(map, "demo");
    struct buf out;

    buf_init(&out, 100000);
    assert_int_equal(view_json_put_spaced(&out, cluster), RC_OK);
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
    json_decref(cluster);
}

/* The sample of rest.md section 5. */
static void test_cluster(void **state)
{
    struct view_map *map = view_map_new("/p/", NULL);
    json_t *history;

    (void)state;
    put(map, "members/node2",
        "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":"
        "\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":\"replica\","
        "\"xlog_location\":67406800,\"replay_lsn\":67406800,\"receive_lsn\":67406800,"
        "\"replication_state\":\"streaming\",\"timeline\":2}");
    put(map, "members/node1",
        "{\"conn_url\":\"postgres://10.0.0.1:5432/postgres\",\"api_url\":"
        "\"http://10.0.0.1:8008/patroni\",\"state\":\"running\",\"role\":\"primary\","
        "\"xlog_location\":67406800,\"timeline\":2}");
    put(map, "leader", "node1");
    put(map, "status", "{\"optime\":67406800}");
    put(map, "config", "{\"pause\":true,\"synchronous_mode\":true}");
    put(map, "sync", "{\"leader\":\"node1\",\"sync_standby\":\"node2\"}");
    put(map, "failover", "{\"leader\":\"node1\",\"member\":\"node2\",\"scheduled_at\":"
                         "\"2030-05-01T10:00:00+02:00\"}");
    expect_cluster(
        map,
        "{\"members\": [{\"name\": \"node1\", \"role\": \"leader\", \"state\": \"running\", "
        "\"api_url\": \"http://10.0.0.1:8008/patroni\", \"host\": \"10.0.0.1\", \"port\": 5432, "
        "\"timeline\": 2}, {\"name\": \"node2\", \"role\": \"sync_standby\", \"state\": "
        "\"streaming\", \"api_url\": \"http://10.0.0.2:8008/patroni\", \"host\": \"10.0.0.2\", "
        "\"port\": 5432, \"timeline\": 2, \"receive_lag\": 0, \"receive_lsn\": \"0/4048BD0\", "
        "\"replay_lag\": 0, \"replay_lsn\": \"0/4048BD0\", \"lag\": 0, \"lsn\": \"0/4048BD0\"}], "
        "\"scope\": \"demo\", \"pause\": true, \"scheduled_switchover\": {\"at\": "
        "\"2030-05-01T10:00:00+02:00\", \"from\": \"node1\", \"to\": \"node2\"}}");

    /* Older members, unknown positions, lag, what is copied, our own addition. */
    put(map, "failover", "{}");
    put(map, "config", "{\"synchronous_mode\":\"quorum\"}");
    put(map, "status", "{\"optime\":67408000}");
    put(map, "members/node1", "{\"state\":\"running\"}");
    put(map, "members/node2",
        "{\"conn_url\":\"postgres://h/x\",\"state\":\"stopped\",\"receive_lsn\":67407000,"
        "\"replay_lsn\":67409999,\"pending_restart\":true,\"pending_restart_reason\":{\"a\":{}},"
        "\"scheduled_restart\":{\"schedule\":\"s\",\"postmaster_start_time\":\"p\"},"
        "\"tags\":{\"x\":1},\"pgheir\":{\"fencing\":\"adopted\"}}");
    expect_cluster(
        map,
        "{\"members\": [{\"name\": \"node1\", \"role\": \"leader\", \"state\": \"running\", "
        "\"api_url\": null}, {\"name\": \"node2\", \"role\": \"quorum_standby\", \"state\": "
        "\"stopped\", \"api_url\": null, \"host\": \"h\", \"port\": 5432, \"pending_restart\": "
        "true, \"pending_restart_reason\": {\"a\": {}}, \"scheduled_restart\": {\"schedule\": "
        "\"s\", \"postmaster_start_time\": \"p\"}, \"tags\": {\"x\": 1}, \"receive_lag\": 1000, "
        "\"receive_lsn\": \"0/4048C98\", \"replay_lag\": 0, \"replay_lsn\": \"0/404984F\", "
        "\"lag\": \"unknown\", \"lsn\": \"unknown\", \"pgheir\": {\"fencing\": \"adopted\"}}], "
        "\"scope\": \"demo\"}");

    history = rest_json_history(map);
    assert_int_equal(json_array_size(history), 0);
    json_decref(history);
    put(map, "history", "[[1,5,\"x\"]]");
    history = rest_json_history(map);
    assert_int_equal(json_array_size(history), 1);
    json_decref(history);
    view_map_free(map);
}

/* ---- GET /metrics ---- */

static void expect_metric(const char *text, const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("no %s in\n%s", line, text);
}

/* Each sample must have its HELP and TYPE right before it, and the labels. */
static void check_metrics_form(const char *text)
{
    char name[100] = "";

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        if (str_starts_with(text, "# TYPE ")) {
            size_t name_length = strcspn(text + 7, " ");

            assert_true(name_length < sizeof(name));
            memcpy(name, text + 7, name_length);
            name[name_length] = '\0';
        } else if (text[0] != '#') {
            assert_true(str_starts_with(text, name));
            assert_true(str_starts_with(text + strlen(name), "{scope=\"demo\",name=\"node2\"} "));
        }
        text += length;
        assert_int_equal(*text, '\n');
        text++;
    }
}

static void test_metrics(void **state)
{
    struct rest_rig rig;
    struct buf out;

    (void)state;
    rest_rig_init(&rig);
    buf_init(&out, 100000);
    rig.node.replayed_wall_us = 1500000;
    rig.node.fence_left_ms = -1;
    assert_int_equal(rest_json_put_metrics(&rig.node, &out), RC_OK);
    check_metrics_form(buf_text(&out));
    expect_metric(buf_text(&out),
                  "# HELP patroni_version Patroni semver without periods.\n# TYPE patroni_version "
                  "gauge\npatroni_version{scope=\"demo\",name=\"node2\"} 040104\n");
    expect_metric(buf_text(&out), "\npatroni_postgres_running{scope=\"demo\",name=\"node2\"} 1\n");
    expect_metric(buf_text(&out), "} 1795445625.358496\n");
    expect_metric(buf_text(&out), "\npatroni_primary{scope=\"demo\",name=\"node2\"} 0\n");
    expect_metric(buf_text(&out), "\npatroni_replica{scope=\"demo\",name=\"node2\"} 1\n");
    expect_metric(buf_text(&out),
                  "\npatroni_xlog_received_location{scope=\"demo\",name=\"node2\"} 67407712\n");
    expect_metric(buf_text(&out),
                  "\npatroni_xlog_replayed_timestamp{scope=\"demo\",name=\"node2\"} 1.500000\n");
    expect_metric(buf_text(&out),
                  "\npatroni_postgres_streaming{scope=\"demo\",name=\"node2\"} 1\n");
    expect_metric(buf_text(&out), "\npatroni_postgres_state{scope=\"demo\",name=\"node2\"} 5\n");
    expect_metric(buf_text(&out), "\n# Values: 0=initdb, 1=initdb_failed, ");
    expect_metric(buf_text(&out), "14=crashed\n# TYPE patroni_postgres_state gauge\n");
    expect_metric(buf_text(&out), "\npatroni_failover_priority{scope=\"demo\",name=\"node2\"} 1\n");
    expect_metric(buf_text(&out), "\npgheir_fence_left_seconds{scope=\"demo\",name=\"node2\"} -"
                                  "1\n");
    buf_clear(&out);
    rest_rig_primary(&rig);
    rig.node.fence_left_ms = 4321;
    rig.node.sql_failed = true;
    assert_int_equal(rest_json_put_metrics(&rig.node, &out), RC_OK);
    check_metrics_form(buf_text(&out));
    expect_metric(buf_text(&out), "\npgheir_fence_left_seconds{scope=\"demo\",name=\"node2\"} "
                                  "4.321\n");
    expect_metric(buf_text(&out), "\npatroni_postgres_state{scope=\"demo\",name=\"node2\"} -1\n");
    expect_metric(buf_text(&out), "\npatroni_xlog_location{scope=\"demo\",name=\"node2\"} 0\n");
    assert_null(strstr(buf_text(&out), "patroni_postgres_streaming"));
    buf_done(&out);
    buf_init(&out, 100);
    assert_int_equal(rest_json_put_metrics(&rig.node, &out), RC_LIMIT);
    buf_done(&out);
    rest_rig_done(&rig);
}

/* ---- Peers ---- */

static struct peer_answer peer(const char *text, enum rc expected)
{
    struct peer_answer answer;
    struct err err = {0};
    enum rc rc = rest_json_peer_parse("node3", text, strlen(text), 5000, &answer, &err);

    if (rc != expected)
        fail_msg("%s: %s %s", text, rc_text(rc), err.text);
    assert_int_equal(answer.reachable, rc == RC_OK);
    assert_string_equal(answer.name, "node3");
    return answer;
}

static void test_peers(void **state)
{
    struct peer_answer answer;

    (void)state;
    /* Patroni's replica. */
    answer = peer("{\"state\": \"running\", \"role\": \"replica\", \"xlog\": "
                  "{\"received_location\": 5, \"replayed_location\": 7}, \"timeline\": 3, "
                  "\"tags\": {\"failover_priority\": 4}, \"patroni\": {\"version\": \"4.1.4\"}}",
                  RC_OK);
    assert_false(answer.is_primary || answer.is_pgheir || answer.nofailover ||
                 answer.watchdog_failed || answer.etcd_silent);
    assert_true(answer.running);
    assert_int_equal(answer.received_lsn, 7);
    assert_int_equal(answer.timeline, 3);
    assert_int_equal(answer.failover_priority, 4);
    assert_int_equal(answer.fence_left_ms, -1);
    /* A location, or the role, makes a primary; 3.x says master and wal. */
    assert_true(peer("{\"role\":\"replica\",\"xlog\":{\"location\":9}}", RC_OK).is_primary);
    assert_true(peer("{\"role\":\"master\",\"wal\":{}}", RC_OK).is_primary);
    assert_int_equal(peer("{\"role\":\"primary\",\"xlog\":{\"location\":9}}", RC_OK).received_lsn,
                     9);
    answer = peer("{\"role\":\"replica\",\"xlog\":{},\"tags\":{\"nofailover\":true},"
                  "\"watchdog_failed\":true}",
                  RC_OK);
    assert_true(answer.nofailover && answer.watchdog_failed);
    assert_false(answer.running);
    assert_int_equal(answer.received_lsn, 0);
    answer = peer("{\"xlog\":{\"location\":9},\"patroni\":{\"name\":\"node3\"}}", RC_OK);
    assert_true(answer.is_primary);
    /* Of no use. */
    (void)peer("{\"xlog\":{},\"patroni\":{\"name\":\"node4\"}}", RC_INVALID);
    (void)peer("{\"pgheir\":{},\"patroni\":{\"name\":\"node4\"}}", RC_INVALID);
    (void)peer("{\"role\":\"replica\",\"state\":\"stopped\"}", RC_INVALID);
    (void)peer("", RC_INVALID);
    (void)peer("[]", RC_INVALID);
    (void)peer("{\"role\"", RC_INVALID);
    (void)peer("<html>", RC_INVALID);
    (void)peer("{\"xlog\":5}", RC_INVALID);
}

static void test_own_peers(void **state)
{
    struct peer_answer answer;

    (void)state;
    answer = peer("{\"state\":\"running\",\"role\":\"primary\",\"xlog\":{\"location\":9},"
                  "\"pgheir\":{\"fence_left_ms\":1200,\"etcd_age_ms\":5001}}",
                  RC_OK);
    assert_true(answer.is_pgheir && answer.is_primary && answer.etcd_silent);
    assert_int_equal(answer.fence_left_ms, 1200);
    /* Without a server, but with something to say. */
    answer = peer("{\"state\":\"stopped\",\"role\":\"demoted\",\"pgheir\":{\"fence_left_ms\":0,"
                  "\"etcd_age_ms\":5000}}",
                  RC_OK);
    assert_false(answer.is_primary || answer.running || answer.etcd_silent);
    assert_int_equal(answer.fence_left_ms, 0);
    /* Its server does not answer, but may still write. */
    answer = peer("{\"state\":\"unknown\",\"role\":\"replica\",\"pgheir\":{\"fence_left_ms\":1}}",
                  RC_OK);
    assert_true(answer.is_primary && answer.etcd_silent);
    answer = peer("{\"xlog\":{},\"pgheir\":{\"fence_left_ms\":-77,\"etcd_age_ms\":-1}}", RC_OK);
    assert_int_equal(answer.fence_left_ms, -1);
    assert_true(answer.etcd_silent);
}

/* What we publish, we understand. */
static void test_round_trip(void **state)
{
    struct rest_rig rig;
    struct peer_answer answer;
    struct buf out;

    (void)state;
    rest_rig_init(&rig);
    rig.node.name = "node3";
    buf_init(&out, 10000);
    rest_rig_tags(&rig, "{\"nofailover\": true}");
    assert_int_equal(rest_json_put_status(&rig.node, &out), RC_OK);
    answer = peer(buf_text(&out), RC_OK);
    assert_true(answer.running && answer.is_pgheir && answer.nofailover);
    assert_false(answer.is_primary || answer.etcd_silent);
    assert_int_equal(answer.received_lsn, 67407712);
    assert_int_equal(answer.timeline, 2);
    rest_rig_primary(&rig);
    rig.node.fence_left_ms = 3000;
    buf_clear(&out);
    assert_int_equal(rest_json_put_status(&rig.node, &out), RC_OK);
    answer = peer(buf_text(&out), RC_OK);
    assert_true(answer.is_primary);
    assert_int_equal(answer.fence_left_ms, 3000);
    buf_done(&out);
    rest_rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_of_replica), cmocka_unit_test(test_status_of_primary),
        cmocka_unit_test(test_status_without_sql), cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_metrics),           cmocka_unit_test(test_peers),
        cmocka_unit_test(test_own_peers),         cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
