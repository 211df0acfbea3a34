/* What people ask for over REST: the checks of rest.md section 7, in their order, word for word. */
#include "tests/unit/rest_node_rig.h"

enum { NOW_MS = 1000000000 };

struct asked {
    int status;
    struct rest_switchover request;
    bool is_failover;
    struct err err;
};

static struct asked ask(const char *body, bool is_failover, bool is_paused)
{
    struct asked asked = {0};
    json_t *object = rig_json(body);

    asked.status = rest_json_switchover_read(object, is_failover, is_paused, NOW_MS,
                                             &asked.request, &asked.is_failover, &asked.err);
    json_decref(object);
    return asked;
}

static void expect(const char *body, bool is_failover, bool is_paused, int status,
                   const char *text)
{
    struct asked asked = ask(body, is_failover, is_paused);

    if (asked.status != status || (status != 0 && strcmp(asked.err.text, text) != 0))
        fail_msg("%s: %d %s", body, asked.status, asked.err.text);
}

static void test_switchover(void **state)
{
    struct asked asked;

    (void)state;
    expect("{}", true, false, 400, "Failover could be performed only to a specific candidate");
    expect("{\"candidate\":\"\"}", true, false, 400,
           "Failover could be performed only to a specific candidate");
    expect("{\"candidate\":\"b\"}", false, false, 400,
           "Switchover could be performed only from a specific leader");
    expect("{\"candidate\":\"b\",\"scheduled_at\":\"2030-01-01T00:00:00Z\"}", true, false, 400,
           "Failover can't be scheduled");
    expect("{\"leader\":\"a\",\"scheduled_at\":\"2030-01-01T00:00:00Z\"}", false, true, 400,
           "Can't schedule switchover in the paused state");
    expect("{\"leader\":\"a\",\"scheduled_at\":\"2030-01-01T00:00:00\"}", false, false, 400,
           "Timezone information is mandatory for the scheduled switchover");
    expect("{\"leader\":\"a\",\"scheduled_at\":\"1970-01-01T00:00:00Z\"}", false, false, 422,
           "Cannot schedule switchover in the past");
    expect("{\"leader\":\"a\",\"scheduled_at\":\"soon\"}", false, false, 422,
           "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO "
           "8601");
    expect("{\"leader\":\"a\",\"scheduled_at\":5}", false, false, 422,
           "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO "
           "8601");
    expect("{\"leader\":\"a\"}", false, true, 400,
           "Switchover is possible only to a specific candidate in a paused state");
    expect("{\"leader\":\"a\",\"candidate\":\"a\"}", false, false, 400,
           "Switchover target and source are the same");
    expect("{\"leader\":5}", false, false, 400, "leader: expected the name of a member");
    expect("{\"leader\":\"a\",\"scheduled_at\":null}", false, false, 0, NULL);

    asked = ask("{\"leader\":\"a\",\"member\":\"b\",\"scheduled_at\":\"2030-01-01T02:00:00+02:"
                "00\"}",
                false, false);
    assert_int_equal(asked.status, 0);
    assert_string_equal(asked.request.leader, "a");
    assert_string_equal(asked.request.candidate, "b");
    assert_string_equal(asked.request.scheduled_at, "2030-01-01T02:00:00+02:00");
    assert_int_equal(asked.request.scheduled_at_wall_ms, INT64_C(1893456000000));
    assert_false(asked.is_failover);
    asked = ask("{\"leader\":\"a\",\"candidate\":\"b\"}", true, false);
    assert_false(asked.is_failover); /* whoever names the leader means a switchover */
    asked = ask("{\"candidate\":\"b\"}", true, true);
    assert_int_equal(asked.status, 0);
    assert_true(asked.is_failover);
}

static void add_member(struct view *view, const char *name, bool has_api)
{
    struct member *member = &view->members[view->member_count++];

    *member = (struct member){0};
    assert_true(str_copy(member->name, sizeof(member->name), name));
    if (has_api)
        assert_true(str_copy(member->api_url, sizeof(member->api_url), "http://x/patroni"));
}

static void expect_asked(struct rest_rig *rig, const char *leader, const char *candidate,
                         bool is_failover, const char *expected)
{
    struct rest_switchover request = {0};
    const char *names[MEMBERS_MAX];
    int count = -1;
    struct err err = {0};
    int status;
    struct buf found;

    assert_true(str_copy(request.leader, sizeof(request.leader), leader));
    assert_true(str_copy(request.candidate, sizeof(request.candidate), candidate));
    status = rest_json_switchover_check(&request, is_failover, rig->view, names, &count, &err);
    buf_init(&found, 1000);
    if (status != 0)
        assert_int_equal(buf_printf(&found, "%d %s", status, err.text), RC_OK);
    for (int i = 0; status == 0 && i < count; i++)
        assert_int_equal(buf_printf(&found, "%s%s", i == 0 ? "" : ",", names[i]), RC_OK);
    assert_string_equal(buf_text(&found), expected);
    buf_done(&found);
}

static void test_candidates(void **state)
{
    struct rest_rig rig;

    (void)state;
    rest_rig_init(&rig);
    add_member(rig.view, "node1", true);
    expect_asked(&rig, "node1", "", false,
                 "412 switchover is not possible: cluster does not have members except leader");
    add_member(rig.view, "node2", true);
    add_member(rig.view, "node3", true);
    add_member(rig.view, "mute", false);
    expect_asked(&rig, "node1", "", false, "node2,node3");
    expect_asked(&rig, "node1", "node3", false, "node3");
    expect_asked(&rig, "", "mute", true, "mute");
    expect_asked(&rig, "node2", "", false, "412 leader name does not match");
    expect_asked(&rig, "node1", "ghost", false, "412 candidate does not exists");
    rest_rig_sync(&rig, false); /* NODE2 */
    expect_asked(&rig, "node1", "", false, "node2");
    expect_asked(&rig, "node1", "node3", false,
                 "412 candidate name does not match with sync_standby");
    expect_asked(&rig, "", "node3", true, "node3"); /* a person may */
    rig.view->sync_count = 0;
    expect_asked(&rig, "node1", "", false,
                 "412 switchover is not possible: can not find sync_standby");
    rest_rig_sync(&rig, true);
    expect_asked(&rig, "node1", "", false, "node2,node3");
    rig.view->leader_present = false;
    expect_asked(&rig, "node1", "", false, "412 leader name does not match");
    expect_asked(&rig, "", "node3", true, "node3");
    rest_rig_done(&rig);
}

static void expect_restart(const char *body, bool is_paused, int status, const char *text)
{
    struct rest_restart request;
    struct err err = {0};
    json_t *object = rig_json(body);
    int found = rest_json_restart_read(object, is_paused, NOW_MS, &request, &err);

    if (found != status || (status != 0 && strcmp(err.text, text) != 0))
        fail_msg("%s: %d %s", body, found, err.text);
    json_decref(object);
}

static void test_restart(void **state)
{
    static const char version[] = "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted";
    struct rest_restart request;
    struct err err;
    json_t *body;

    (void)state;
    expect_restart("{}", true, 0, NULL);
    expect_restart("{\"frob\":1}", false, 400, "Unknown filter for the scheduled restart: frob");
    expect_restart("{\"role\":\"king\"}", false, 400,
                   "PostgreSQL role should be either primary, standby_leader, or replica");
    expect_restart("{\"role\":5}", false, 400,
                   "PostgreSQL role should be either primary, standby_leader, or replica");
    expect_restart("{\"postgres_version\":\"15.2\"}", false, 0, NULL);
    expect_restart("{\"postgres_version\":\"9.6.24\"}", false, 0, NULL);
    expect_restart("{\"postgres_version\":\"9.6\"}", false, 400, version);
    expect_restart("{\"postgres_version\":\"15\"}", false, 400, version);
    expect_restart("{\"postgres_version\":\"15.2.1\"}", false, 400, version);
    expect_restart("{\"postgres_version\":\"15.\"}", false, 400, version);
    expect_restart("{\"postgres_version\":\"99999999999.1\"}", false, 400, version);
    expect_restart("{\"postgres_version\":15.2}", false, 400, version);
    expect_restart("{\"timeout\":0}", false, 400,
                   "Timeout should be a positive number of seconds");
    expect_restart("{\"timeout\":\"x\"}", false, 400,
                   "Timeout should be a positive number of seconds");
    expect_restart("{\"schedule\":\"2030-01-01T00:00:00Z\"}", true, 500,
                   "Can't schedule restart in the paused state");
    expect_restart("{\"schedule\":\"2030-01-01T00:00:00\"}", false, 400,
                   "Timezone information is mandatory for the scheduled restart");
    expect_restart("{\"schedule\":\"1960-01-01T00:00:00Z\"}", false, 422,
                   "Cannot schedule restart in the past");
    body = rig_json("{\"schedule\":\"2030-01-01T00:00:00Z\",\"role\":\"replica\","
                    "\"postgres_version\":\"15.99\",\"timeout\":\"2min\","
                    "\"restart_pending\":false}");
    assert_int_equal(rest_json_restart_read(body, false, NOW_MS, &request, &err), 0);
    assert_int_equal(request.schedule_wall_ms, INT64_C(1893456000000));
    assert_string_equal(request.role, "replica");
    assert_string_equal(request.postgres_version, "15.99");
    assert_int_equal(request.timeout_ms, 120000);
    assert_true(request.restart_pending); /* its presence counts */
    json_decref(body);
}

static void test_reinit(void **state)
{
    static const struct {
        const char *body;
        int status;
        bool force, from_leader;
    } cases[] = {{"{}", 0, false, false},
                 {"{\"force\":true,\"from_leader\":\"yes\"}", 0, true, true},
                 {"{\"force\":null,\"from_leader\":false}", 0, false, false},
                 {"{\"force\":\"perhaps\"}", 400, false, false},
                 {"{\"from_leader\":[1]}", 400, false, false}};

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        struct rest_reinit request = {0};
        struct err err;
        json_t *body = rig_json(cases[i].body);

        assert_int_equal(rest_json_reinit_read(body, &request, &err), cases[i].status);
        assert_int_equal(request.force, cases[i].force);
        assert_int_equal(request.from_leader, cases[i].from_leader);
        json_decref(body);
    }
}

static void test_bodies(void **state)
{
    static const char *const bad[] = {"{", "[]", "5", "null", "{}", "{\"a\":1}{}",
                                      "{\"a\":\"\\u0000\"}"};
    json_t *body = NULL;
    struct err err;

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++)
        assert_int_equal(rest_json_body_read(bad[i], strlen(bad[i]), false, &body, &err),
                         RC_INVALID);
    assert_int_equal(rest_json_body_read("", 0, false, &body, &err), RC_INVALID);
    assert_null(body);
    assert_int_equal(rest_json_body_read("", 0, true, &body, &err), RC_OK);
    assert_int_equal(json_object_size(body), 0);
    json_decref(body);
    assert_int_equal(rest_json_body_read("{\"a\":1}", 7, false, &body, &err), RC_OK);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switchover), cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_restart),    cmocka_unit_test(test_reinit),
        cmocka_unit_test(test_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
