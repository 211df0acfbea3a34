/* The section postgresql in force: what wins over what, and which settings are whose. */
#include "pgheir/base/str.h"
#include "pgheir/codec/conf.h"

#include "tests/lib/check.h"

static struct conf *new_conf(const char *postgresql)
{
    struct conf_source *source = conf_source_new(CONF_FOR_AGENT);
    struct conf_report report;
    struct conf *conf = NULL;
    struct buf text;

    buf_init(&text, 10000);
    assert_int_equal(
        buf_printf(&text,
                   "{\"scope\": \"demo\", \"name\": \"n1\", \"restapi\": {\"listen\": \"h:1\"}, "
                   "\"etcd3\": {\"host\": \"e\"}, \"postgresql\": {\"listen\": \"10.0.0.1:5432\", "
                   "\"data_dir\": \"/d\", \"authentication\": {\"superuser\": {\"username\": "
                   "\"su\"}, \"replication\": {\"username\": \"re\"}}%s%s}}",
                   postgresql[0] == '\0' ? "" : ", ", postgresql),
        RC_OK);
    conf_report_init(&report);
    conf_source_add_file(source, "f", buf_text(&text), text.length);
    if (conf_build(source, &conf, &report) != RC_OK)
        fail_msg("%s: %s", report.messages[0].key, report.messages[0].text);
    conf_report_done(&report);
    conf_source_free(source);
    buf_done(&text);
    return conf;
}

struct merged {
    struct conf *conf;
    struct conf_postgresql pg;
    struct conf_report report;
};

static void merge(struct merged *ret, const char *local, const char *dynamic, const char *role)
{
    json_t *config = json_loads(dynamic, 0, NULL);

    assert_non_null(config);
    ret->conf = new_conf(local);
    conf_report_init(&ret->report);
    conf_postgresql_merge(ret->conf, config, role, &ret->pg, &ret->report);
    json_decref(config);
}

static void merged_done(struct merged *merged)
{
    conf_postgresql_done(&merged->pg);
    conf_report_done(&merged->report);
    conf_free(merged->conf);
}

static void expect_setting(const struct merged *merged, const char *name, const char *value)
{
    const char *found = conf_postgresql_setting(&merged->pg, name);

    if (!str_equal(found, value))
        fail_msg("%s: expected %s, found %s", name, value == NULL ? "nothing" : value,
                 found == NULL ? "nothing" : found);
}

static void expect_warning(const struct merged *merged, const char *key, const char *part)
{
    for (int i = 0; i < merged->report.count; i++)
        if (str_equal(merged->report.messages[i].key, key) &&
            strstr(merged->report.messages[i].text, part) != NULL)
            return;
    fail_msg("no warning of %s: %s", key, part);
}

static void test_defaults(void **state)
{
    static const char *const expected[][2] = {
        {"cluster_name", "demo"},           {"hot_standby", "on"},
        {"listen_addresses", "10.0.0.1"},   {"max_connections", "100"},
        {"max_locks_per_transaction", "64"}, {"max_prepared_transactions", "0"},
        {"max_replication_slots", "10"},    {"max_wal_senders", "10"},
        {"max_worker_processes", "8"},      {"port", "5432"},
        {"track_commit_timestamp", "off"},  {"wal_keep_size", "128MB"},
        {"wal_level", "replica"},           {"wal_log_hints", "on"}};
    struct merged merged;

    (void)state;
    merge(&merged, "", "{}", NULL);
    assert_int_equal(merged.pg.settings_count, PGH_COUNT(expected));
    for (size_t i = 0; i < PGH_COUNT(expected); i++) {
        assert_string_equal(merged.pg.settings[i].name, expected[i][0]); /* sorted */
        assert_string_equal(merged.pg.settings[i].value, expected[i][1]);
    }
    assert_true(merged.pg.use_slots);
    assert_false(merged.pg.use_pg_rewind);
    assert_int_equal(json_array_size(merged.pg.create_replica_methods), 1);
    assert_null(merged.pg.pg_hba);
    assert_int_equal(merged.report.count, 0);
    merged_done(&merged);
}

static void test_controlled(void **state)
{
    struct merged merged;

    (void)state;
    merge(&merged,
          "\"parameters\": {\"max_connections\": 500, \"wal_level\": \"logical\", "
          "\"Work_Mem\": \"8MB\", \"port\": 7}",
          "{\"postgresql\": {\"parameters\": {\"max_connections\": \"200\", \"max_wal_senders\": "
          "2, \"wal_level\": \"hot_standby\", \"hot_standby\": \"off\", "
          "\"max_worker_processes\": \"0x10\", \"wal_keep_segments\": 10, \"work_mem\": \"4MB\", "
          "\"track_commit_timestamp\": true, \"listen_addresses\": \"evil\", \"jit\": false, "
          "\"random_page_cost\": 1.1, \"TimeZone\": \"UTC\", \"bad name\": 1, \"list\": [1]}}}",
          NULL);
    expect_setting(&merged, "max_connections", "200");
    expect_setting(&merged, "max_wal_senders", "10");
    expect_setting(&merged, "wal_level", "replica");
    expect_setting(&merged, "hot_standby", "on");
    expect_setting(&merged, "max_worker_processes", "16");
    expect_setting(&merged, "wal_keep_size", "160MB");
    expect_setting(&merged, "wal_keep_segments", NULL);
    expect_setting(&merged, "work_mem", "8MB");
    expect_setting(&merged, "track_commit_timestamp", "on");
    expect_setting(&merged, "listen_addresses", "10.0.0.1");
    expect_setting(&merged, "port", "5432");
    expect_setting(&merged, "jit", "off");
    expect_setting(&merged, "random_page_cost", "1.1");
    expect_setting(&merged, "timezone", "UTC");
    expect_setting(&merged, "list", NULL);
    expect_warning(&merged, "postgresql.parameters.max_wal_senders", "not possible");
    expect_warning(&merged, "postgresql.parameters.max_connections", "only in etcd");
    expect_warning(&merged, "postgresql.parameters.bad name", "not the name of a setting");
    expect_warning(&merged, "postgresql.parameters.list", "expected a text");
    expect_warning(&merged, "postgresql.parameters.listen_addresses", "postgresql.listen");
    merged_done(&merged);
}

static void test_wal_keep(void **state)
{
    static const char *const cases[][2] = {
        {"\"wal_keep_size\": \"1GB\"", "1024MB"}, {"\"wal_keep_size\": 64", "64MB"},
        {"\"wal_keep_size\": 15", "128MB"},       {"\"wal_keep_size\": \"x\"", "128MB"},
        {"\"wal_keep_segments\": 0", "128MB"},    {"\"wal_keep_size\": \"32768kB\"", "32MB"}};

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        struct merged merged;
        char text[200];

        assert_true(str_format(text, sizeof(text), "{\"postgresql\": {\"parameters\": {%s}}}",
                               cases[i][0]));
        merge(&merged, "", text, NULL);
        expect_setting(&merged, "wal_keep_size", cases[i][1]);
        merged_done(&merged);
    }
}

static void test_who_wins(void **state)
{
    struct merged merged;
    struct policy policy;

    (void)state;
    merge(&merged,
          "\"use_pg_rewind\": false, \"pg_hba\": [\"local all all peer\"], \"use_slots\": false",
          "{\"postgresql\": {\"use_pg_rewind\": true, \"use_slots\": true, \"pg_ctl_timeout\": "
          "\"2min\", \"remove_data_directory_on_rewind_failure\": \"yes\", \"data_dir\": "
          "\"/evil\", \"listen\": \"evil:1\", \"authentication\": {\"superuser\": {\"username\": "
          "\"evil\"}}, \"pgpass\": \"/etc/passwd\", \"bin_dir\": \"/usr/lib/pg\", \"pg_hba\": "
          "[\"host all all all trust\"], \"callbacks\": {\"on_start\": \"/bin/x\"}, "
          "\"pre_promote\": [1]}}",
          NULL);
    assert_false(merged.pg.use_pg_rewind);
    assert_true(merged.pg.use_slots); /* cluster-wide only */
    assert_int_equal(merged.pg.pg_ctl_timeout_ms, 120000);
    assert_true(merged.pg.remove_data_directory_on_rewind_failure);
    assert_string_equal(merged.pg.data_dir, "/d");
    assert_string_equal(merged.pg.listen_addresses, "10.0.0.1");
    assert_string_equal(merged.pg.superuser.username, "su");
    assert_null(merged.pg.pgpass);
    assert_int_equal(merged.pg.pg_hba_count, 1);
    assert_string_equal(merged.pg.pg_hba[0], "local all all peer");
    assert_string_equal(merged.pg.callbacks.on_start, "/bin/x");
    assert_null(merged.pg.pre_promote);
    expect_warning(&merged, "postgresql.pre_promote", "expected a command");
    policy_init(&policy);
    policy.use_pg_rewind = true;
    conf_postgresql_override_policy(&merged.pg, &policy);
    assert_false(policy.use_pg_rewind);
    assert_true(policy.remove_data_directory_on_rewind_failure);
    merged_done(&merged);
}

static void test_roles(void **state)
{
    static const char dynamic[] =
        "{\"postgresql\": {\"parameters\": {\"work_mem\": \"4MB\"}, \"parameters_primary\": "
        "{\"work_mem\": \"9MB\", \"max_connections\": 7, \"archive_mode\": \"on\"}, "
        "\"pg_hba\": [\"a\", \"b\"], \"pg_hba_replica\": [\"c\"], \"pg_ident\": [\"i\"]}}";
    struct merged merged;

    (void)state;
    merge(&merged, "", dynamic, "primary");
    expect_setting(&merged, "work_mem", "9MB");
    expect_setting(&merged, "archive_mode", "on");
    expect_setting(&merged, "max_connections", "100");
    assert_int_equal(merged.pg.pg_hba_count, 2);
    expect_warning(&merged, "postgresql.parameters.max_connections", "must agree");
    merged_done(&merged);
    merge(&merged, "", dynamic, "replica");
    expect_setting(&merged, "work_mem", "4MB");
    expect_setting(&merged, "archive_mode", NULL);
    assert_int_equal(merged.pg.pg_hba_count, 1);
    assert_string_equal(merged.pg.pg_hba[0], "c");
    assert_int_equal(merged.pg.pg_ident_count, 1);
    merged_done(&merged);
}

static void test_recovery(void **state)
{
    struct merged merged;

    (void)state;
    merge(&merged, "\"recovery_conf\": {\"restore_command\": \"cp %f %p\", \"primary_conninfo\": "
                   "\"evil\", \"nonsense\": 1}",
          "{\"postgresql\": {\"parameters\": {\"recovery_min_apply_delay\": \"1h\", "
          "\"recovery_target_time\": \"2020\", \"recovery_target_timeline\": \"latest\"}}}",
          NULL);
    assert_int_equal(merged.pg.recovery_count, 2);
    assert_string_equal(merged.pg.recovery[0].name, "recovery_min_apply_delay");
    assert_string_equal(merged.pg.recovery[1].name, "restore_command");
    expect_setting(&merged, "recovery_min_apply_delay", NULL);
    assert_int_equal(merged.report.count, 3);
    merged_done(&merged);
}

static void test_foreign_files(void **state)
{
    struct merged merged;

    (void)state;
    merge(&merged, "\"pg_hba\": [\"x\"], \"pg_ident\": [\"y\"], \"parameters\": {\"hba_file\": "
                   "\"my_hba.conf\", \"ident_file\": \"pg_ident.conf\"}",
          "{}", NULL);
    expect_setting(&merged, "hba_file", "/d/my_hba.conf");
    assert_null(merged.pg.pg_hba); /* somebody else's file */
    assert_int_equal(merged.pg.pg_hba_count, 0);
    assert_int_equal(merged.pg.pg_ident_count, 1);
    merged_done(&merged);
}

static void test_options(void **state)
{
    struct merged merged;

    (void)state;
    merge(&merged, "\"basebackup\": [\"verbose\", {\"max-rate\": \"100M\"}, \"checkpoint=fast\"], "
                   "\"rewind\": {\"debug\": true}",
          "{}", NULL);
    assert_int_equal(merged.pg.basebackup_count, 3);
    assert_string_equal(merged.pg.basebackup[0].name, "verbose");
    assert_null(merged.pg.basebackup[0].value);
    assert_string_equal(merged.pg.basebackup[1].value, "100M");
    assert_string_equal(merged.pg.basebackup[2].name, "checkpoint");
    assert_string_equal(merged.pg.basebackup[2].value, "fast");
    assert_int_equal(merged.pg.rewind_options_count, 1);
    assert_null(merged.pg.rewind_options[0].value);
    merged_done(&merged);
}

static void test_hostile_dynamic(void **state)
{
    static const char *const cases[] = {"{\"postgresql\": 5}",
                                        "{\"postgresql\": null}",
                                        "{\"postgresql\": {\"parameters\": \"x\"}}",
                                        "{\"postgresql\": {\"parameters\": null, \"pg_hba\": 1}}",
                                        "{\"postgresql\": {\"callbacks\": [], \"bin_name\": 7}}",
                                        "{\"postgresql\": {\"recovery_conf\": 1}}",
                                        "{\"postgresql\": {\"basebackup\": 1, \"rewind\": [[]]}}"};

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(cases); i++) {
        struct merged merged;

        merge(&merged, "", cases[i], "primary");
        expect_setting(&merged, "max_connections", "100");
        assert_null(merged.pg.pg_hba);
        merged_done(&merged);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_controlled),
        cmocka_unit_test(test_wal_keep), cmocka_unit_test(test_who_wins),
        cmocka_unit_test(test_roles),    cmocka_unit_test(test_recovery),
        cmocka_unit_test(test_foreign_files), cmocka_unit_test(test_options),
        cmocka_unit_test(test_hostile_dynamic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
