/* Routing, documents, the configuration, restart and reinitialize: contract/rest.md sections 2
 * and 7. */
#include "rest_rig.h"

/* ---- routing ---- */

static unsigned route_of(enum rest_method method, const char *path)
{
    return rig.handlers.route(method, path, rig.handlers.arg);
}

static void test_routes(void **state)
{
    static const char *const posts[] = {"/switchover", "/failover", "/restart", "/reload",
                                        "/reinitialize"};

    (void)state;
    assert_int_equal(route_of(REST_GET, "/anything"), REST_ROUTE_KNOWN);
    assert_int_equal(route_of(REST_HEAD, "/switchover"), REST_ROUTE_KNOWN);
    for (size_t i = 0; i < PGH_COUNT(posts); i++)
        assert_true((route_of(REST_POST, posts[i]) & REST_ROUTE_PROTECTED) != 0);
    assert_int_equal(route_of(REST_POST, "/switchover/x") & REST_ROUTE_NEEDS_LENGTH,
                     REST_ROUTE_NEEDS_LENGTH);
    assert_int_equal(route_of(REST_PATCH, "/config") & REST_ROUTE_NEEDS_LENGTH,
                     REST_ROUTE_NEEDS_LENGTH);
    assert_int_equal(route_of(REST_POST, "/restart") & REST_ROUTE_NEEDS_LENGTH, 0);
    assert_int_equal(route_of(REST_DELETE, "/switchover") & REST_ROUTE_NEEDS_LENGTH, 0);
    assert_int_equal(route_of(REST_POST, "/config"), REST_ROUTE_NONE);
    assert_int_equal(route_of(REST_POST, "/switchovers"), REST_ROUTE_NONE);
    assert_int_equal(route_of(REST_POST, "/"), REST_ROUTE_NONE);
    assert_int_equal(route_of(REST_DELETE, "/failover"), REST_ROUTE_NONE);
    assert_int_equal(route_of(REST_PATCH, "/patroni"), REST_ROUTE_NONE);
}

static void test_health(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_GET, "/primary", "");
    assert_int_equal(asked.status, 503);
    assert_int_equal(asked.type, REST_JSON);
    assert_non_null(strstr(asked.body, "\"scope\": \"demo\""));
    rig.node.is_leader = true;
    ask(&asked, REST_GET, "/", "");
    assert_int_equal(asked.status, 200);
    ask(&asked, REST_HEAD, "/primary", "");
    assert_int_equal(asked.status, 200);
    assert_int_equal(asked.type, REST_STATUS_ONLY);
    ask(&asked, REST_GET, "/readiness", "");
    assert_int_equal(asked.type, REST_STATUS_ONLY);
    ask(&asked, REST_GET, "/patroni", "");
    assert_int_equal(asked.status, 200);
    ask(&asked, REST_OPTIONS, "/patroni", "");
    assert_int_equal(asked.status, 503);
    ask(&asked, REST_GET, "/metrics", "");
    assert_int_equal(asked.type, REST_PLAIN);
    assert_non_null(strstr(asked.body, "patroni_version"));
    assert_null(strstr(asked.body, "pgheir_rest_certificate_days_left"));
    rig.node.has_certificate = true;
    rig.node.certificate_left_ms = -36LL * 60 * 60 * 1000;
    ask(&asked, REST_GET, "/metrics", "");
    assert_non_null(strstr(
        asked.body, "pgheir_rest_certificate_days_left{scope=\"demo\",name=\"n1\"} -1.50\n"));
}

static void test_documents(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_GET, "/cluster", "");
    assert_open(&asked);
    finish_read();
    assert_int_equal(asked.status, 200);
    assert_non_null(strstr(asked.body, "\"name\": \"n1\", \"role\": \"leader\""));
    ask(&asked, REST_GET, "/cluster", "");
    fail_read();
    assert_answer(&asked, 503, "etcd does not answer");
    ask(&asked, REST_GET, "/history", "");
    assert_answer(&asked, 200, "[]");
    rig.has_view = false;
    ask(&asked, REST_GET, "/history", "");
    assert_open(&asked);
    finish_read();
    assert_answer(&asked, 200, "[]");
    ask(&asked, REST_GET, "/config", "");
    finish_read();
    assert_answer(&asked, 200, "{\"ttl\": 30, \"x\": {\"kept\": 1}}");
    ask(&asked, REST_GET, "/config", "");
    fail_read();
    assert_int_equal(asked.status, 503);
    rig.has_view = true;
    ask(&asked, REST_GET, "/config", "");
    assert_answer(&asked, 200, "{\"ttl\": 30, \"x\": {\"kept\": 1}}");
    KEYS(101, "leader", "n1", "config", "[]");
    ask(&asked, REST_GET, "/config", "");
    assert_int_equal(asked.status, 502);
}

/* ---- config ---- */

static void test_patch_refused(void **state)
{
    static const struct {
        const char *body;
        const char *word;
    } cases[] = {{"", "JSON"},         {"{", "JSON"},          {"[]", "object"},
                 {"{}", "empty"},      {"null", "object"},     {"{\"ttl\":\"soon\"}", "ttl"},
                 {"{\"ttl\":[]}", "ttl"}, {"{\"pause\":7}", "pause"},
                 {"{\"postgresql\":{\"parameters\":7}}", "postgresql.parameters"}};
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_PATCH, "/config", cases[i].body);
        assert_int_equal(asked.status, 400);
        if (strstr(asked.body, cases[i].word) == NULL)
            fail_msg("%s: %s", cases[i].body, asked.body);
    }
    assert_int_equal(rig.read_count + rig.put_count, 0);
}

static void test_patch(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_PATCH, "/config", "{\"ttl\":\"30\"}");
    finish_read();
    assert_answer(&asked, 200, "{\"ttl\": 30, \"x\": {\"kept\": 1}}");
    assert_int_equal(rig.put_count, 0);

    ask(&asked, REST_PATCH, "/config", "{\"ttl\":40,\"x\":{\"new\":null,\"y\":2}}");
    finish_read();
    assert_open(&asked);
    assert_string_equal(rig.put_key, "config");
    assert_string_equal(rig.put_text, "{\"ttl\":40,\"x\":{\"kept\":1,\"y\":2}}");
    assert_int_equal(rig.put_guard, 100);
    finish_put(OUTCOME_OK, 101);
    assert_answer(&asked, 200, "{\"ttl\": 40, \"x\": {\"kept\": 1, \"y\": 2}}");
    assert_int_equal(rig.wake_count, 1);
}

static void test_patch_outcomes(void **state)
{
    static const struct {
        enum call_outcome outcome;
        int status;
        const char *word;
    } cases[] = {{OUTCOME_REFUSED, 409, "somebody else"},
                 {OUTCOME_UNKNOWN, 503, "unknown"},
                 {OUTCOME_UNAVAILABLE, 503, "etcd said no"}};
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_PATCH, "/config", "{\"ttl\":40}");
        finish_read();
        finish_put(cases[i].outcome, 0);
        assert_int_equal(asked.status, cases[i].status);
        assert_non_null(strstr(asked.body, cases[i].word));
    }
    assert_int_equal(rig.wake_count, 0);
    ask(&asked, REST_PATCH, "/config", "{\"ttl\":40}");
    fail_read();
    assert_int_equal(asked.status, 503);
    KEYS(101, "leader", "n1");
    ask(&asked, REST_PATCH, "/config", "{\"ttl\":40}");
    finish_read();
    assert_int_equal(asked.status, 503);
}

static void test_put(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_PUT, "/config", "{\"ttl\":\"30\",\"x\":{\"kept\":1}}");
    finish_read();
    assert_answer(&asked, 200, "{\"ttl\": \"30\", \"x\": {\"kept\": 1}}");
    assert_int_equal(rig.put_count, 0);
    ask(&asked, REST_PUT, "/config", "{\"ttl\":50}");
    finish_read();
    assert_string_equal(rig.put_text, "{\"ttl\":50}");
    assert_int_equal(rig.put_guard, 0);
    finish_put(OUTCOME_UNAVAILABLE, 0);
    assert_int_equal(asked.status, 502);
    KEYS(101, "leader", "n1");
    ask(&asked, REST_PUT, "/config", "{\"ttl\":50}");
    finish_read();
    finish_put(OUTCOME_OK, 102);
    assert_answer(&asked, 200, "{\"ttl\": 50}");
}

/* ---- restart, reinitialize, reload ---- */

static void test_restart(void **state)
{
    static const struct {
        enum reply_code code;
        enum op_kind busy_with;
        int status;
        const char *text;
    } cases[] = {
        {REPLY_OK, OP_NONE, 200, "restarted successfully"},
        {REPLY_BUSY, OP_CLONE, 503, "clone already in progress"},
        {REPLY_BUSY, OP_NONE, 503, "another operation already in progress"},
        {REPLY_FAILED, OP_NONE, 503, "restart failed"},
        {REPLY_TIMEOUT, OP_NONE, 503, "postgres is still starting"},
    };
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_POST, "/restart", i % 2 == 0 ? "" : "{}");
        assert_int_equal(rig.request_kind, REQUEST_RESTART);
        assert_open(&asked);
        finish_reply(cases[i].code, cases[i].busy_with);
        assert_answer(&asked, cases[i].status, cases[i].text);
    }
    ask(&asked, REST_POST, "/restart", "{\"timeout\":\"2min\"}");
    assert_int_equal(asked.deadline_ms, now_ms + 120000);
    assert_string_equal(asked.late_text, "postgres is still starting");
    finish_reply(REPLY_OK, OP_NONE);
}

static void test_restart_filters(void **state)
{
    static const struct {
        const char *body;
        bool passes;
    } cases[] = {
        {"{\"role\":\"primary\"}", true},           {"{\"role\":\"replica\"}", false},
        {"{\"postgres_version\":\"15.21\"}", true}, {"{\"postgres_version\":\"15.20\"}", false},
        {"{\"postgres_version\":\"16.0\"}", true},  {"{\"postgres_version\":\"9.6.30\"}", false},
        {"{\"restart_pending\":false}", false},     {"{\"restart_pending\":true}", false},
    };
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_POST, "/restart", cases[i].body);
        if (cases[i].passes) {
            assert_open(&asked);
            finish_reply(REPLY_OK, OP_NONE);
        } else {
            assert_answer(&asked, 503, "restart conditions are not satisfied");
        }
    }
    rig.local.pending_restart = true;
    ask(&asked, REST_POST, "/restart", "{\"restart_pending\":true}");
    assert_open(&asked);
    finish_reply(REPLY_OK, OP_NONE);
    ask(&asked, REST_POST, "/restart", "{\"colour\":1}");
    assert_answer(&asked, 400, "Unknown filter for the scheduled restart: colour");
    ask(&asked, REST_POST, "/restart", "[]");
    assert_int_equal(asked.status, 400);
    rig.node.is_paused = true;
    ask(&asked, REST_POST, "/restart", "{\"schedule\":\"2030-01-01T00:00Z\"}");
    assert_answer(&asked, 500, "Can't schedule restart in the paused state");
}

/* WALL_MS + now is 1970-01-12T14:03:20Z. */
#define SOON "{\"schedule\":\"1970-01-12T14:04:20+00:00\",\"role\":\"primary\"}"
enum { SOON_MS = 60 * 1000 };

static void test_restart_scheduled(void **state)
{
    struct rest_request asked;
    const json_t *plan;

    (void)state;
    ask(&asked, REST_DELETE, "/restart", "");
    assert_answer(&asked, 404, "no restarts are scheduled");
    ask(&asked, REST_POST, "/restart", SOON);
    assert_answer(&asked, 202, "Restart scheduled");
    assert_int_equal(rig.touch_count, 1);
    plan = rest_routes_scheduled_restart(rig.routes);
    assert_string_equal(json_string_value(json_object_get(plan, "schedule")),
                        "1970-01-12T14:04:20+00:00");
    assert_string_equal(json_string_value(json_object_get(plan, "role")), "primary");
    assert_non_null(json_object_get(plan, "postmaster_start_time"));
    ask(&asked, REST_POST, "/restart", SOON);
    assert_answer(&asked, 409, "Another restart is already scheduled");
    advance(SOON_MS - 1);
    assert_int_equal(rig.request_count, 0);
    advance(1);
    assert_int_equal(rig.request_count, 1);
    assert_null(rest_routes_scheduled_restart(rig.routes));
    assert_int_equal(rig.touch_count, 2);
    finish_reply(REPLY_OK, OP_NONE);
    advance(3 * SOON_MS);
    assert_int_equal(rig.request_count, 1);
}

static void test_restart_scheduled_and_taken_back(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_POST, "/restart", SOON);
    ask(&asked, REST_DELETE, "/restart", "");
    assert_answer(&asked, 200, "scheduled restart deleted");
    assert_int_equal(rig.touch_count, 2);
    advance(2 * SOON_MS);
    assert_int_equal(rig.request_count, 0);
}

static void test_restart_scheduled_and_dropped(void **state)
{
    struct rest_request asked;

    (void)state;
    for (int i = 0; i < 3; i++) {
        now_ms = 1000000;
        rig.node.is_paused = false;
        rig.role = "primary";
        ask(&asked, REST_POST, "/restart", SOON);
        assert_int_equal(asked.status, 202);
        if (i == 0)
            rig.node.is_paused = true;
        else if (i == 1)
            rig.role = "replica";
        else
            rig.node.postmaster_start_wall_us += 5000000;
        advance(SOON_MS);
        assert_int_equal(rig.request_count, 0);
        assert_null(rest_routes_scheduled_restart(rig.routes));
    }
}

/* LC-04: the wall clock steps while a restart waits. */
static void test_restart_scheduled_and_the_clock_steps(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_POST, "/restart", SOON);
    advance(30000);
    wall_offset_ms = -7200000;
    advance(60000);
    assert_int_equal(rig.request_count, 0);
    wall_offset_ms = 7200000;
    advance(10000);
    assert_int_equal(rig.request_count, 1);
    wall_offset_ms = -7200000;
    advance(2 * 7200000);
    assert_int_equal(rig.request_count, 1);
    finish_reply(REPLY_OK, OP_NONE);
}

static void test_reinitialize(void **state)
{
    static const struct {
        enum reply_code code;
        int status;
        const char *text;
    } cases[] = {
        {REPLY_OK, 200, "reinitialize started"},
        {REPLY_NO_LEADER, 503, "Cluster has no leader, can not reinitialize"},
        {REPLY_IS_LEADER, 503, "I am the leader, can not reinitialize"},
        {REPLY_BUSY, 503, "rewind already in progress"},
    };
    struct rest_request asked;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        ask(&asked, REST_POST, "/reinitialize", "{\"force\":\"yes\",\"from_leader\":true}");
        assert_int_equal(rig.request_kind, REQUEST_REINIT);
        assert_true(rig.force && rig.from_leader);
        finish_reply(cases[i].code, OP_REWIND);
        assert_answer(&asked, cases[i].status, cases[i].text);
    }
    ask(&asked, REST_POST, "/reinitialize", "");
    assert_false(rig.force || rig.from_leader);
    finish_reply(REPLY_OK, OP_NONE);
    ask(&asked, REST_POST, "/reinitialize", "{\"force\":\"perhaps\"}");
    assert_int_equal(asked.status, 400);
}

static void test_reload(void **state)
{
    struct rest_request asked;

    (void)state;
    ask(&asked, REST_POST, "/reload", "");
    assert_answer(&asked, 202, "reload scheduled");
    assert_int_equal(rig.reload_count, 1);
}

int main(void)
{
    static const struct log_options quiet = {.level = LOG_LEVEL_CRITICAL};
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_routes),
        TEST(test_health),
        TEST(test_documents),
        TEST(test_patch_refused),
        TEST(test_patch),
        TEST(test_patch_outcomes),
        TEST(test_put),
        TEST(test_restart),
        TEST(test_restart_filters),
        TEST(test_restart_scheduled),
        TEST(test_restart_scheduled_and_taken_back),
        TEST(test_restart_scheduled_and_dropped),
        TEST(test_restart_scheduled_and_the_clock_steps),
        TEST(test_reinitialize),
        TEST(test_reload),
    };

    assert_int_equal(log_open(&quiet), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
