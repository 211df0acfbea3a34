/* The dynamic configuration: numbers with units, what is ignored, what is refused, the merge. */
#include "pgheir/codec/policy_json.h"

#include "pgheir/base/str.h"

#include "tests/lib/check.h"

static json_t *new_json(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    if (value == NULL)
        fail_msg("not JSON: %s", text);
    return value;
}

typedef bool number_fn(const json_t *value, int64_t *ret);

/* expected INT64_MIN: refused. */
static void expect_number(number_fn *fn, const char *text, int64_t expected)
{
    json_t *value = new_json(text);
    int64_t number = INT64_MIN;
    bool is_good = fn(value, &number);

    if (is_good != (expected != INT64_MIN) || number != expected)
        fail_msg("%s: %s %lld", text, is_good ? "read as" : "refused", (long long)number);
    json_decref(value);
}

/* The samples of config.md section 2, and what Patroni's parse_int() makes of them. */
static void test_numbers(void **state)
{
    const int64_t no = INT64_MIN;

    (void)state;
    expect_number(policy_json_int, "100", 100);
    expect_number(policy_json_int, "\"100\"", 100);
    expect_number(policy_json_int, "\"0x64\"", 100);
    expect_number(policy_json_int, "\"0144\"", 100);
    expect_number(policy_json_int, "\" -5 \"", -5);
    expect_number(policy_json_int, "99.5", 100);
    expect_number(policy_json_int, "\"1e2\"", 100);
    expect_number(policy_json_int, "\"2.5\"", 2); /* half to even */
    expect_number(policy_json_int, "\"3.5\"", 4);
    expect_number(policy_json_int, "\"9223372036854775807\"", INT64_MAX);
    expect_number(policy_json_int, "\"9223372036854775808\"", no);
    expect_number(policy_json_int, "\"1MB\"", no);
    expect_number(policy_json_int, "\"089\"", no);
    expect_number(policy_json_int, "\"\"", no);
    expect_number(policy_json_int, "\"x\"", no);
    expect_number(policy_json_int, "true", no);
    expect_number(policy_json_int, "[1]", no);
    expect_number(policy_json_int, "1e300", no);
    expect_number(policy_json_int, "\"1e999\"", no);
    expect_number(policy_json_span_ms, "30", 30000);
    expect_number(policy_json_span_ms, "\"30\"", 30000);
    expect_number(policy_json_span_ms, "\"1500 ms\"", 1500);
    expect_number(policy_json_span_ms, "\"30min\"", 1800000);
    expect_number(policy_json_span_ms, "\"1.5h\"", 5400000);
    expect_number(policy_json_span_ms, "\"1d\"", 86400000);
    expect_number(policy_json_span_ms, "\"500us\"", 0);
    expect_number(policy_json_span_ms, "\"1M\"", no);
    expect_number(policy_json_span_ms, "\"1 Min\"", no);
    expect_number(policy_json_span_ms, "9223372036854775807", no);
    expect_number(policy_json_bytes, "1048576", 1048576);
    expect_number(policy_json_bytes, "\"1MB\"", 1048576);
    expect_number(policy_json_bytes, "\"0x10 kB\"", 16384);
    expect_number(policy_json_bytes, "\"1TB\"", INT64_C(1099511627776));
    expect_number(policy_json_bytes, "\"1mb\"", no);
}

static void parse(const char *text, struct policy *ret, struct conf_report *report)
{
    json_t *config = new_json(text);

    conf_report_init(report);
    policy_json_parse(config, ret, report);
    json_decref(config);
}

static void test_meaning(void **state)
{
    struct policy policy;
    struct conf_report report;

    (void)state;
    parse("{}", &policy, &report);
    assert_int_equal(policy.ttl_ms, 30000);
    assert_int_equal(policy.member_slots_ttl_ms, 1800000);
    assert_int_equal(report.count, 0);
    conf_report_done(&report);
    parse("{\"ttl\":5,\"loop_wait\":\"1\",\"retry_timeout\":\"2s\",\"pause\":\"on\","
          "\"maximum_lag_on_failover\":\"16MB\",\"master_start_timeout\":7,"
          "\"member_slots_ttl\":\"10min\",\"postgresql\":{\"use_pg_rewind\":true,\"use_slots\":"
          "\"off\",\"remove_data_directory_on_diverged_timelines\":1}}",
          &policy, &report);
    assert_int_equal(policy.ttl_ms, 5000);
    assert_int_equal(policy.loop_wait_ms, 1000);
    assert_int_equal(policy.retry_timeout_ms, 2000);
    assert_true(policy.pause);
    assert_int_equal(policy.maximum_lag_on_failover_bytes, 16777216);
    assert_int_equal(policy.primary_start_timeout_ms, 7000);
    assert_int_equal(policy.member_slots_ttl_ms, 600000);
    assert_true(policy.use_pg_rewind);
    assert_false(policy.use_slots);
    assert_true(policy.remove_data_directory_on_diverged_timelines);
    assert_int_equal(report.count, 0);
    conf_report_done(&report);
    /* The new name counts where both are given. */
    parse("{\"master_start_timeout\":7,\"primary_start_timeout\":0}", &policy, &report);
    assert_int_equal(policy.primary_start_timeout_ms, 0);
    conf_report_done(&report);
}

/* CR-01: key by key, with the others in force. */
static void test_what_is_unusable(void **state)
{
    struct policy policy;
    struct conf_report report;

    (void)state;
    parse("{\"ttl\":\"soon\",\"loop_wait\":[1],\"retry_timeout\":3,\"pause\":null,"
          "\"maximum_lag_on_failover\":-1,\"postgresql\":[],\"my_key\":1,"
          "\"synchronous_mode\":true,\"failsafe_mode\":true,\"slots\":{}}",
          &policy, &report);
    assert_int_equal(policy.ttl_ms, 30000);
    assert_int_equal(policy.loop_wait_ms, 10000);
    assert_int_equal(policy.retry_timeout_ms, 3000);
    assert_int_equal(policy.maximum_lag_on_failover_bytes, 1048576);
    assert_false(policy.pause);
    assert_int_equal(report.count, 6);
    assert_int_equal(report.error_count, 0);
    assert_string_equal(report.messages[0].key, "ttl");
    assert_string_equal(report.messages[0].file, "dynamic configuration");
    assert_non_null(strstr(report.messages[0].text,
                           "expected a number of seconds, at least 1 (or with a unit: 500ms, "
                           "2min), found \"soon\""));
    conf_report_done(&report);
    policy_json_parse(NULL, &policy, NULL);
    assert_int_equal(policy.ttl_ms, 30000);
}

static void expect_verdict(const char *text, const char *part)
{
    json_t *patch = new_json(text);
    struct err err = {0};
    enum rc rc = policy_json_check(patch, &err);

    if ((rc != RC_OK) != (part != NULL) || (part != NULL && strstr(err.text, part) == NULL))
        fail_msg("%s: %s %s", text, rc_text(rc), err.text);
    json_decref(patch);
}

static void test_check(void **state)
{
    (void)state;
    expect_verdict("{\"ttl\":20}", NULL);
    expect_verdict("{\"ttl\":null,\"my\":{\"key\":[1]},\"pause\":true}", NULL);
    expect_verdict("{\"pgheir\":{\"pulse\":false}}", NULL);
    expect_verdict("{\"postgresql\":{\"parameters\":{\"max_connections\":null,\"port\":7}}}", NULL);
    expect_verdict("{\"postgresql\":{\"data_dir\":5}}", NULL); /* stored and ignored */
    expect_verdict("{\"postgresql\":{\"my_key\":5,\"pg_hba\":null}}", NULL);
    expect_verdict("{\"scope\":5}", NULL);
    expect_verdict("{\"synchronous_mode\":false,\"standby_cluster\":null}", NULL);
    expect_verdict("[]", "expected a JSON object, found a list");
    expect_verdict("{\"ttl\":0}", "ttl: expected a number of seconds, at least 1");
    expect_verdict("{\"pause\":\"maybe\"}", "pause: expected true or false, found \"maybe\"");
    expect_verdict("{\"maximum_lag_on_failover\":\"1 apple\"}", "maximum_lag_on_failover");
    expect_verdict("{\"postgresql\":5}", "postgresql: expected an object");
    expect_verdict("{\"postgresql\":{\"parameters\":[1]}}", "postgresql.parameters: expected");
    expect_verdict("{\"postgresql\":{\"parameters\":{\"max_connections\":5}}}",
                 "postgresql.parameters.max_connections");
    expect_verdict("{\"postgresql\":{\"parameters\":{\"a b\":5}}}", "not the name of a setting");
    expect_verdict("{\"postgresql\":{\"pg_hba\":\"x\"}}", "postgresql.pg_hba");
    expect_verdict("{\"postgresql\":{\"use_pg_rewind\":\"perhaps\"}}", "postgresql.use_pg_rewind");
    expect_verdict("{\"synchronous_mode\":\"quorum\"}", "not available");
    expect_verdict("{\"synchronous_mode\":\"sometimes\"}", "expected off, on or quorum");
    expect_verdict("{\"standby_cluster\":{\"host\":\"a\"}}", "not available");
}

static void expect_merge(const char *config, const char *patch, const char *expected, bool changed)
{
    json_t *old = new_json(config);
    json_t *of_patch = new_json(patch);
    json_t *copy = json_deep_copy(old);
    json_t *wanted = new_json(expected);
    bool is_changed = !changed;
    json_t *merged = policy_json_merge(old, of_patch, &is_changed);

    if (!json_equal(merged, wanted) || is_changed != changed)
        fail_msg("%s + %s: %s", config, patch, is_changed ? "changed" : "unchanged");
    assert_true(json_equal(old, copy)); /* inputs stay as they are */
    json_decref(old);
    json_decref(of_patch);
    json_decref(copy);
    json_decref(wanted);
    json_decref(merged);
}

static void test_merge(void **state)
{
    (void)state;
    expect_merge("{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}", true);
    expect_merge("{\"a\":1}", "{\"a\":null}", "{}", true);
    expect_merge("{\"a\":1}", "{\"b\":null}", "{\"a\":1}", false);
    expect_merge("{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":3}}", "{\"a\":{\"b\":3,\"c\":2}}",
                 true);
    expect_merge("{\"a\":{\"b\":1}}", "{\"a\":5}", "{\"a\":5}", true);
    expect_merge("{\"a\":5}", "{\"a\":{\"b\":1,\"c\":null}}", "{\"a\":{\"b\":1}}", true);
    expect_merge("{\"a\":[1,2]}", "{\"a\":[1]}", "{\"a\":[1]}", true);
    expect_merge("{\"a\":100}", "{\"a\":\"100\"}", "{\"a\":100}", false);
    expect_merge("{\"a\":[1,\"2\"]}", "{\"a\":[\"1\",2]}", "{\"a\":[1,\"2\"]}", false);
    expect_merge("{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"c\":null}}}",
                 "{\"a\":{\"b\":{}}}", true);
    expect_merge("[]", "{\"a\":1}", "{\"a\":1}", true);
    expect_merge("{\"a\":[{\"b\":1}]}", "{\"a\":[{\"c\":1}]}", "{\"a\":[{\"c\":1}]}", true);
    expect_merge("{\"a\":[null,1]}", "{\"a\":[\"null\",1]}", "{\"a\":[\"null\",1]}", true);
    expect_merge("{\"a\":[null]}", "{\"a\":[null]}", "{\"a\":[null]}", false);
    expect_merge("{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", false);
}

static void test_read(void **state)
{
    static const char *const bad[] = {"",      "[]", "5", "{", "{\"a\":1}x", "\"{}\"",
                                      "{\"a\":\"\xff\"}"};
    json_t *config = NULL;
    struct err err;
    char deep[400];

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++)
        assert_int_equal(policy_json_read(bad[i], strlen(bad[i]), &config, &err), RC_INVALID);
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    deep[200] = '\0';
    {
        char text[300];

        assert_true(str_format(text, sizeof(text), "{\"a\":%s}", deep));
        assert_int_equal(policy_json_read(text, strlen(text), &config, &err), RC_INVALID);
    }
    assert_null(config);
    assert_int_equal(policy_json_read("{\"a\":1}", 7, &config, &err), RC_OK);
    json_decref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_what_is_unusable), cmocka_unit_test(test_check),
        cmocka_unit_test(test_merge),   cmocka_unit_test(test_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
