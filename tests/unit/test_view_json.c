/* What is written into the keys: the samples of the contract, byte for byte. */
#include "pgheir/codec/view_json.h"

#include "pgheir/base/str.h"

#include "tests/lib/check.h"

static json_t *new_json(const char *text)
{
    json_t *value = text == NULL ? NULL : json_loads(text, JSON_DECODE_ANY, NULL);

    assert_true(text == NULL || value != NULL);
    return value;
}

static void expect(struct buf *out, enum rc rc, const char *expected)
{
    assert_int_equal(rc, RC_OK);
    assert_string_equal(buf_text(out), expected);
    buf_clear(out);
}

static void test_member(void **state)
{
    json_t *tags = new_json("{\"clonefrom\":true}");
    struct member_facts facts = {.conn_url = "postgres://10.0.0.2:5432/postgres",
                                 .api_url = "http://10.0.0.2:8008/patroni",
                                 .state = PG_STATE_RUNNING,
                                 .role = PG_ROLE_REPLICA,
                                 .tags = tags,
                                 .lsn = 67406800,
                                 .receive_lsn = 67406800,
                                 .replay_lsn = 67406800,
                                 .replication_state = REPLICATION_STREAMING,
                                 .timeline = 2};
    struct buf out;

    (void)state;
    buf_init(&out, 10000);
    expect(&out, view_json_put_member(&out, &facts),
           "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":"
           "\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":\"replica\","
           "\"version\":\"4.1.4\",\"tags\":{\"clonefrom\":true},\"xlog_location\":67406800,"
           "\"replay_lsn\":67406800,\"receive_lsn\":67406800,\"replication_state\":\"streaming\","
           "\"timeline\":2}");
    facts = (struct member_facts){.conn_url = "c",
                                  .api_url = "a",
                                  .proxy_url = "p",
                                  .state = PG_STATE_STARTING,
                                  .role = PG_ROLE_PRIMARY,
                                  .checkpoint_pending = true,
                                  .is_primary = true,
                                  .pending_restart = true,
                                  .lsn = 5,
                                  .receive_lsn = 4,
                                  .pause = true,
                                  .instance = "i\xc3\xa4",
                                  .fencing = "adopted"};
    expect(&out, view_json_put_member(&out, &facts),
           "{\"conn_url\":\"c\",\"api_url\":\"a\",\"state\":\"starting\",\"role\":\"primary\","
           "\"version\":\"4.1.4\",\"proxy_url\":\"p\",\"checkpoint_after_promote\":false,"
           "\"pending_restart\":true,\"xlog_location\":5,\"pause\":true,"
           "\"pgheir\":{\"instance\":\"i\\u00E4\",\"fencing\":\"adopted\"}}");
    buf_done(&out);
    json_decref(tags);
}

static void expect_status(const char *slots, const char *retain, const char *old,
                          const char *expected)
{
    json_t *of_slots = new_json(slots);
    json_t *of_retain = new_json(retain);
    json_t *of_old = new_json(old);
    struct buf out;

    buf_init(&out, 10000);
    expect(&out, view_json_put_status(&out, 67407712, of_slots, of_retain, of_old), expected);
    buf_done(&out);
    json_decref(of_slots);
    json_decref(of_retain);
    json_decref(of_old);
}

static void test_status(void **state)
{
    (void)state;
    expect_status("{\"node1\":67407712,\"app_slot\":67000000}", "[\"node1\",\"node2\"]", NULL,
                  "{\"optime\":67407712,\"slots\":{\"node1\":67407712,\"app_slot\":67000000},"
                  "\"retain_slots\":[\"node1\",\"node2\"]}");
    expect_status("{}", "[]", "{\"slots\":{\"x\":1}}", "{\"optime\":67407712}");
    /* Whoever knows only the position carries over the rest, older forms and strange keys too. */
    expect_status(NULL, NULL,
                  "{\"optime\":5,\"slots\":{\"x\":1},\"retain_slots\":[\"x\"],\"own\":{\"a\":1}}",
                  "{\"optime\":67407712,\"slots\":{\"x\":1},\"retain_slots\":[\"x\"],"
                  "\"own\":{\"a\":1}}");
    expect_status(NULL, NULL, "{\"slots\":\"{\\\"x\\\": 1}\"}",
                  "{\"optime\":67407712,\"slots\":{\"x\":1}}");
    expect_status(NULL, NULL, "777", "{\"optime\":67407712}");
    expect_status(NULL, NULL, "{\"slots\":[1],\"retain_slots\":{}}", "{\"optime\":67407712}");
}

static void test_failover(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    expect(&out, view_json_put_failover(&out, "node1", "node2", "2030-05-01T10:00:00+02:00"),
           "{\"leader\":\"node1\",\"member\":\"node2\",\"scheduled_at\":"
           "\"2030-05-01T10:00:00+02:00\"}");
    expect(&out, view_json_put_failover(&out, "", "node2", NULL), "{\"member\":\"node2\"}");
    expect(&out, view_json_put_failover(&out, NULL, NULL, NULL), "{}");
    buf_done(&out);
}

static void test_history(void **state)
{
    static const struct history_fact rows[] = {
        {1, 67407096, "no recovery target specified", "2026-11-23T14:54:57.001196+00:00", "node2"},
        {2, 67407999, "no recovery target specified", NULL, NULL},
        {3, 67408888, NULL, NULL, "node1"},
    };
    json_t *old = new_json("[[1,5,\"x\",\"T\",\"wrong\"],[2,67407999,\"r\",\"T2\",\"node3\"]]");
    struct buf out;

    (void)state;
    buf_init(&out, 10000);
    expect(&out, view_json_put_history(&out, rows, 1, NULL, 0),
           "[[1,67407096,\"no recovery target specified\",\"2026-11-23T14:54:57.001196+00:00\","
           "\"node2\"]]");
    expect(&out, view_json_put_history(&out, rows, 3, old, 2),
           "[[2,67407999,\"no recovery target specified\",\"T2\",\"node3\"],"
           "[3,67408888,\"\",\"\",\"node1\"]]");
    expect(&out, view_json_put_history(&out, rows + 1, 1, NULL, 0),
           "[[2,67407999,\"no recovery target specified\"]]");
    expect(&out, view_json_put_history(&out, rows, 0, old, 0), "[]");
    buf_done(&out);
    json_decref(old);
}

static void test_small_ones(void **state)
{
    json_t *value = new_json("{\"a\":[1,1.1,0.1,1e300,\"\\u00e4\"]}");
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    expect(&out, view_json_put_timeline(&out, 7, "n"), "{\"timeline\":7,\"leader\":\"n\"}");
    expect(&out, view_json_put_seen(&out, UINT64_C(7711380018334676876), 0),
           "{\"sysid\":\"7711380018334676876\",\"since\":\"1970-01-01T00:00:00.000000+00:00\"}");
    expect(&out, view_json_put_sysid(&out, UINT64_MAX), "18446744073709551615");
    /* Reals as short as they can be: others compare by text. */
    expect(&out, view_json_put(&out, value), "{\"a\":[1,1.1,0.1,1e300,\"\\u00E4\"]}");
    expect(&out, view_json_put_spaced(&out, value),
           "{\"a\": [1, 1.1, 0.1, 1e300, \"\\u00E4\"]}");
    buf_done(&out);
    buf_init(&out, 5);
    assert_int_equal(view_json_put(&out, value), RC_LIMIT);
    buf_done(&out);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_member),  cmocka_unit_test(test_status),
        cmocka_unit_test(test_failover), cmocka_unit_test(test_history),
        cmocka_unit_test(test_small_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
