/* What the console prints: the samples of ctl.md section 3, PyYAML's form, difflib's form. */
#include "pgheir/codec/ctl_text.h"

#include "pgheir/base/str.h"

#include "tests/lib/check.h"

static json_t *new_json(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    if (value == NULL)
        fail_msg("not JSON: %s", text);
    return value;
}

/* ---- list ---- */

static const char shop[] =
    "{\"members\": ["
    "{\"name\": \"db1\", \"role\": \"leader\", \"state\": \"running\", \"host\": \"10.0.0.1\", "
    "\"port\": 5432, \"timeline\": 7},"
    "{\"name\": \"db2\", \"role\": \"sync_standby\", \"state\": \"streaming\", \"host\": "
    "\"10.0.0.2\", \"port\": 5432, \"timeline\": 7, \"receive_lag\": 0, \"receive_lsn\": "
    "\"0/9000148\", \"replay_lag\": 0, \"replay_lsn\": \"0/9000148\", \"lag\": 0, \"lsn\": "
    "\"0/9000148\"},"
    "{\"name\": \"db3\", \"role\": \"replica\", \"state\": \"stopped\", \"host\": \"10.0.0.3\", "
    "\"port\": 5432, \"receive_lag\": \"unknown\", \"receive_lsn\": \"unknown\", \"replay_lag\": "
    "\"unknown\", \"replay_lsn\": \"unknown\", \"lag\": \"unknown\", \"lsn\": \"unknown\"}], "
    "\"scope\": \"shop\", \"pause\": true}";

static void expect_cluster(const char *cluster, bool extended, enum ctl_format format,
                           const char *expected)
{
    json_t *document = new_json(cluster);
    struct buf out;

    buf_init(&out, 100000);
    assert_int_equal(ctl_put_cluster(&out, document, "7711380018334676876", extended, format),
                     RC_OK);
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
    json_decref(document);
}

/* With -e, as a topology. */
static void expect_part(const char *cluster, const char *part)
{
    json_t *document = new_json(cluster);
    struct buf out;

    buf_init(&out, 100000);
    assert_int_equal(ctl_put_cluster(&out, document, "1", true, CTL_TOPOLOGY), RC_OK);
    if (strstr(buf_text(&out), part) == NULL)
        fail_msg("no %s in\n%s", part, buf_text(&out));
    buf_done(&out);
    json_decref(document);
}

static void test_pretty(void **state)
{
    (void)state;
    expect_cluster(
        shop, false, CTL_PRETTY,
        "+ Cluster: shop (7711380018334676876) ---------+----+-------------+-----+------------+--"
        "---+\n"
        "| Member | Host     | Role         | State     | TL | Receive LSN | Lag | Replay LSN | "
        "Lag |\n"
        "+--------+----------+--------------+-----------+----+-------------+-----+------------+--"
        "---+\n"
        "| db1    | 10.0.0.1 | Leader       | running   |  7 |             |     |            |  "
        "   |\n"
        "| db2    | 10.0.0.2 | Sync Standby | streaming |  7 |   0/9000148 |   0 |  0/9000148 |  "
        " 0 |\n"
        "| db3    | 10.0.0.3 | Replica      | stopped   |    |     unknown |     |    unknown |  "
        "   |\n"
        "+--------+----------+--------------+-----------+----+-------------+-----+------------+--"
        "---+\n"
        " Maintenance mode: on\n");
}

static void test_machine_formats(void **state)
{
    static const char two[] =
        "{\"members\": [{\"name\": \"db1\", \"role\": \"leader\", \"state\": \"running\", "
        "\"host\": \"10.0.0.1\", \"port\": 5432, \"timeline\": 7, \"tags\": {\"clonefrom\": "
        "true}}, {\"name\": \"db2\", \"role\": \"replica\", \"state\": \"streaming\", \"host\": "
        "\"10.0.0.2\", \"port\": 5432, \"timeline\": 7, \"receive_lag\": 0, \"receive_lsn\": "
        "\"0/9000148\", \"replay_lag\": 0, \"replay_lsn\": \"0/9000148\", \"pending_restart\": "
        "true, \"pending_restart_reason\": {\"max_connections\": {\"old_value\": \"100\", "
        "\"new_value\": \"120\"}}}], \"scope\": \"shop\", \"pause\": true}";

    (void)state;
    expect_cluster(two, false, CTL_JSON,
                   "[{\"Cluster\": \"shop\", \"Member\": \"db1\", \"Host\": \"10.0.0.1\", "
                   "\"Role\": \"Leader\", \"State\": \"running\", \"TL\": 7, \"Tags\": "
                   "{\"clonefrom\": true}}, {\"Cluster\": \"shop\", \"Member\": \"db2\", \"Host\": "
                   "\"10.0.0.2\", \"Role\": \"Replica\", \"State\": \"streaming\", \"TL\": 7, "
                   "\"Receive LSN\": \"0/9000148\", \"Receive Lag\": 0, \"Replay LSN\": "
                   "\"0/9000148\", \"Replay Lag\": 0, \"Pending restart\": \"*\", \"Pending "
                   "restart reason\": \"max_connections: 100->120\"}]\n");
    expect_cluster(two, false, CTL_TSV,
                   "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay "
                   "LSN\tReplay Lag\tPending restart\tPending restart reason\tTags\n"
                   "shop\tdb1\t10.0.0.1\tLeader\trunning\t7\t\t\t\t\t\t\t{clonefrom: true}\n"
                   "shop\tdb2\t10.0.0.2\tReplica\tstreaming\t7\t0/9000148\t0\t0/9000148\t0\t*\t"
                   "max_connections: 100->120\t\n");
    expect_cluster("{\"members\": [{\"name\": \"db2\", \"role\": \"replica\", \"state\": "
                   "\"streaming\", \"host\": \"10.0.0.2\", \"port\": 5432, \"timeline\": 7, "
                   "\"receive_lag\": 0, \"receive_lsn\": \"0/9000148\", \"replay_lag\": 0, "
                   "\"replay_lsn\": \"0/9000148\"}], \"scope\": \"shop\"}",
                   false, CTL_YAML,
                   "- Cluster: shop\n  Host: 10.0.0.2\n  Member: db2\n  Receive LSN: 0/9000148\n"
                   "  Receive Lag: 0\n  Replay LSN: 0/9000148\n  Replay Lag: 0\n  Role: Replica\n"
                   "  State: streaming\n  TL: 7\n\n");
    expect_cluster("{\"members\": [], \"scope\": \"x\"}", false, CTL_JSON, "[]\n");
}

/* Ports, several lines in a cell, long reasons, older members, our column, the footer. */
static void test_details(void **state)
{
    static const char cluster[] =
        "{\"members\": [{\"name\": \"a\", \"role\": \"leader\", \"state\": \"running\", \"host\": "
        "\"h\", \"port\": 5433, \"tags\": {\"y\": [1], \"x\": \"p q\"}, \"pgheir\": "
        "{\"fencing\": \"adopted\"}}, {\"name\": \"b\", \"role\": \"replica\", \"state\": "
        "\"in archive recovery\", \"host\": \"h\", \"port\": 5434, \"lsn\": \"0/1\", \"lag\": "
        "1572864, \"receive_lsn\": \"unknown\", \"replay_lsn\": \"unknown\", \"receive_lag\": "
        "\"unknown\", \"replay_lag\": \"unknown\"}, {\"name\": \"c\", \"role\": \"replica\", "
        "\"state\": \"creating replica\"}], \"scope\": \"s\", \"scheduled_switchover\": {\"at\": "
        "\"T2\", \"from\": \"a\", \"to\": \"b\"}}";

    (void)state;
    expect_cluster(
        cluster, false, CTL_PRETTY,
        "+ Cluster: s (7711380018334676876) ---------------+----+-------------+-----+------------+-"
        "----+--------+---------+\n"
        "| Member | Host   | Role    | State               | TL | Receive LSN | Lag | Replay LSN | "
        "Lag | Tags   | Fencing |\n"
        "+--------+--------+---------+---------------------+----+-------------+-----+------------+-"
        "----+--------+---------+\n"
        "| a      | h:5433 | Leader  | running             |    |             |     |            "
        "|  "
        "   | x: p q | adopted |\n"
        "|        |        |         |                     |    |             |     |            "
        "|  "
        "   | y:     |         |\n"
        "|        |        |         |                     |    |             |     |            "
        "|  "
        "   | - 1    |         |\n"
        "+--------+--------+---------+---------------------+----+-------------+-----+------------+-"
        "----+--------+---------+\n"
        "| b      | h:5434 | Replica | in archive recovery |    |     unknown |     |        0/1 "
        "|  "
        " 2 |        |         |\n"
        "+--------+--------+---------+---------------------+----+-------------+-----+------------+-"
        "----+--------+---------+\n"
        "| c      |        | Replica | creating replica    |    |             |     |            "
        "|  "
        "   |        |         |\n"
        "+--------+--------+---------+---------------------+----+-------------+-----+------------+-"
        "----+--------+---------+\n"
        " Switchover scheduled at: T2\n"
        "                    from: a\n"
        "                      to: b\n");
    /* 51 characters are one too many; a terminal gets no control characters. */
    expect_part("{\"members\": [{\"name\": \"a\", \"role\": \"leader\", \"state\": "
                "\"x\\ny\\u001b\", \"host\": \"\\u00e4\", \"pending_restart_reason\": "
                "{\"shared_preload_libraries\": {\"old_value\": \"aaaaaaaaaaaaaaaaaaaaaa\", "
                "\"new_value\": \"b\"}}}], \"scope\": \"s\"}",
                "| a      | \xc3\xa4    | Leader | x     |    |             |     |            |   "
                "  |                 | shared_preload_libraries: [hidden - too long] |             "
                "      |      |\n"
                "|        |      |        | y?    |    |");
}

static void test_topology(void **state)
{
    json_t *cluster = new_json(
        "{\"members\": [{\"name\": \"db1\", \"role\": \"leader\"}, {\"name\": \"db2\", \"role\": "
        "\"replica\"}, {\"name\": \"db3\", \"role\": \"replica\", \"tags\": {\"replicatefrom\": "
        "\"db2\"}}, {\"name\": \"db4\", \"role\": \"replica\", \"tags\": {\"replicatefrom\": "
        "\"db3\"}}, {\"name\": \"db5\", \"role\": \"replica\", \"tags\": {\"replicatefrom\": "
        "\"nobody\"}}, {\"name\": \"r1\", \"role\": \"replica\", \"tags\": {\"replicatefrom\": "
        "\"r2\"}}, {\"name\": \"r2\", \"role\": \"replica\", \"tags\": {\"replicatefrom\": "
        "\"r1\"}}], \"scope\": \"s\"}");
    static const char *const members[] = {"| db1       |", "| + db2     |", "|   + db3   |",
                                          "|     + db4 |", "| + db5     |", "| r1        |",
                                          "| r2        |"};
    struct buf out;
    const char *at;

    (void)state;
    buf_init(&out, 100000);
    assert_int_equal(ctl_put_cluster(&out, cluster, "x", false, CTL_TOPOLOGY), RC_OK);
    at = buf_text(&out);
    for (size_t i = 0; i < PGH_COUNT(members); i++) {
        at = strstr(at, members[i]);
        if (at == NULL)
            fail_msg("%s not in its place in\n%s", members[i], buf_text(&out));
    }
    buf_done(&out);
    json_decref(cluster);
}

/* ---- history ---- */

static void test_history(void **state)
{
    json_t *rows = new_json("[[6,67407096,\"no recovery target specified\","
                            "\"2026-11-23T14:54:57.001196+00:00\",\"db1\"],[7,5,\"x\"]]");
    struct buf out;

    (void)state;
    buf_init(&out, 10000);
    assert_int_equal(ctl_put_history(&out, rows, CTL_PRETTY), RC_OK);
    assert_string_equal(
        buf_text(&out),
        "+----+----------+------------------------------+----------------------------------+-----"
        "-------+\n"
        "| TL |      LSN | Reason                       | Timestamp                        | New "
        "Leader |\n"
        "+----+----------+------------------------------+----------------------------------+-----"
        "-------+\n"
        "|  6 | 67407096 | no recovery target specified | 2026-11-23T14:54:57.001196+00:00 | db1 "
        "       |\n"
        "|  7 |        5 | x                            |                                  |     "
        "       |\n"
        "+----+----------+------------------------------+----------------------------------+-----"
        "-------+\n");
    buf_clear(&out);
    assert_int_equal(ctl_put_history(&out, rows, CTL_JSON), RC_OK);
    assert_string_equal(buf_text(&out),
                        "[{\"TL\": 6, \"LSN\": 67407096, \"Reason\": \"no recovery target "
                        "specified\", \"Timestamp\": \"2026-11-23T14:54:57.001196+00:00\", \"New "
                        "Leader\": \"db1\"}, {\"TL\": 7, \"LSN\": 5, \"Reason\": \"x\", "
                        "\"Timestamp\": \"\", \"New Leader\": \"\"}]\n");
    buf_done(&out);
    json_decref(rows);
}

/* ---- YAML ---- */

static void expect_yaml(const char *value, const char *expected)
{
    json_t *tree = new_json(value);
    json_t *back = NULL;
    struct buf out;
    struct err err = {0};

    buf_init(&out, 10000);
    assert_int_equal(ctl_put_yaml(&out, tree), RC_OK);
    assert_string_equal(buf_text(&out), expected);
    if (conf_yaml_parse("y", buf_text(&out), out.length, &back, &err) != RC_OK)
        fail_msg("%s: %s", buf_text(&out), err.text);
    assert_true(json_equal(tree, back));
    json_decref(back);
    buf_clear(&out);
    back = NULL;
    assert_int_equal(ctl_put_yaml_flow(&out, tree), RC_OK);
    if (conf_yaml_parse("y", buf_text(&out), out.length, &back, &err) != RC_OK)
        fail_msg("%s: %s", buf_text(&out), err.text);
    assert_true(json_equal(tree, back));
    json_decref(back);
    buf_done(&out);
    json_decref(tree);
}

static void test_yaml(void **state)
{
    (void)state;
    expect_yaml("{\"ttl\":30,\"loop_wait\":10,\"postgresql\":{\"use_pg_rewind\":true,"
                "\"parameters\":{\"max_connections\":200},\"pg_hba\":[\"host all all 0.0.0.0/0 "
                "md5\",\"local all all peer\"]}}",
                "loop_wait: 10\npostgresql:\n  parameters:\n    max_connections: 200\n  pg_hba:\n"
                "  - host all all 0.0.0.0/0 md5\n  - local all all peer\n  use_pg_rewind: true\n"
                "ttl: 30\n");
    expect_yaml("[[1,[2,3]],{\"a\":{\"b\":1}},[],{}]",
                "- - 1\n  - - 2\n    - 3\n- a:\n    b: 1\n- []\n- {}\n");
    expect_yaml("{\"a\":[{\"b\":1,\"c\":2}],\"d\":{},\"e\":[],\"f\":null}",
                "a:\n- b: 1\n  c: 2\nd: {}\ne: []\nf: null\n");
    expect_yaml("{\"on\":\"yes\",\"5\":\"5\",\"x\":\"\",\"y\":\"a: b\",\"z\":\"it's #1\",\"w\":"
                "\" lead\",\"v\":\"a\\nb\",\"u\":\"*x\",\"t\":\"a #b\",\"s\":\"null\",\"r\":1.5}",
                "'5': '5'\n'on': 'yes'\nr: 1.5\ns: 'null'\nt: 'a #b'\nu: '*x'\nv: \"a\\nb\"\n"
                "w: ' lead'\nx: ''\ny: 'a: b'\nz: 'it''s #1'\n");
    expect_yaml("\"x\"", "x\n...\n");
    expect_yaml("\"\"", "''\n");
    expect_yaml("[\":x\",\"?x\",\"-x\",\"- x\",\"?\",\"a:\",\"a#\",\"---x\"]",
                "- :x\n- ?x\n- -x\n- '- x'\n- '?'\n- 'a:'\n- a#\n- '---x'\n");
    expect_yaml("[1e20,1.5e-7]", "- 1.0e+20\n- 1.5e-07\n");
}

/* ---- diffs ---- */

static void expect_diff(const char *before, const char *after, const char *expected)
{
    struct buf out;

    buf_init(&out, 100000);
    assert_int_equal(ctl_put_diff(&out, before, after), RC_OK);
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
}

static void test_diff(void **state)
{
    struct buf many;

    (void)state;
    expect_diff("a\nb\n", "a\nb\n", "");
    expect_diff("", "", "");
    expect_diff("", "a\n", "--- \n+++ \n@@ -0,0 +1 @@\n+a\n");
    expect_diff("a\n", "", "--- \n+++ \n@@ -1 +0,0 @@\n-a\n");
    expect_diff("loop_wait: 10\nttl: 30\n", "loop_wait: 10\nttl: 20\n",
                "--- \n+++ \n@@ -1,2 +1,2 @@\n loop_wait: 10\n-ttl: 30\n+ttl: 20\n");
    expect_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n11\n",
                "--- \n+++ \n@@ -1,5 +1,5 @@\n 1\n-2\n+x\n 3\n 4\n 5\n@@ -7,5 +7,4 @@\n 7\n 8\n 9\n"
                "-10\n 11\n");
    buf_init(&many, 100000);
    for (int i = 0; i < 20001; i++)
        assert_int_equal(buf_puts(&many, "x\n"), RC_OK);
    {
        struct buf out;

        buf_init(&out, 1000);
        assert_int_equal(ctl_put_diff(&out, buf_text(&many), ""), RC_LIMIT);
        buf_done(&out);
    }
    buf_done(&many);
}

/* ---- edit-config ---- */

static void expect_set(const char *config, const char *assignment, const char *expected)
{
    json_t *tree = new_json(config);
    json_t *wanted = expected == NULL ? NULL : new_json(expected);
    struct err err = {0};
    enum rc rc = ctl_config_set(tree, assignment, &err);

    if ((rc == RC_OK) != (expected != NULL) || (rc == RC_OK && !json_equal(tree, wanted)))
        fail_msg("%s: %s", assignment, rc_text(rc));
    json_decref(tree);
    json_decref(wanted);
}

static void test_set(void **state)
{
    json_t *tree = new_json("{}");
    json_t *wanted = new_json("{\"postgresql\":{\"parameters\":{\"pg_stat.track\":\"all\"}}}");
    struct err err;

    (void)state;
    expect_set("{}", "ttl=20", "{\"ttl\":20}");
    expect_set("{}", " a.b.c = yes", "{\"a\":{\"b\":{\"c\":true}}}");
    expect_set("{\"a\":{\"b\":{\"c\":1}}}", "a.b.c=null", "{}");
    expect_set("{\"a\":{\"b\":{\"c\":1},\"d\":2}}", "a.b.c=", "{\"a\":{\"d\":2}}");
    expect_set("{\"a\":5}", "a.b=[1, x]", "{\"a\":{\"b\":[1,\"x\"]}}");
    expect_set("{}", "postgresql.parameters.a.b.c=x=y",
               "{\"postgresql\":{\"parameters\":{\"a.b.c\":\"x=y\"}}}");
    expect_set("{}", "x.y=null", "{}");
    expect_set("{}", "ttl", NULL);
    expect_set("{}", "=5", NULL);
    expect_set("{}", "a..b=5", NULL);
    expect_set("{}", "a=[", NULL);
    assert_int_equal(ctl_config_set_guc(tree, "pg_stat.track=all", &err), RC_OK);
    assert_true(json_equal(tree, wanted));
    json_decref(tree);
    json_decref(wanted);
}

static void test_formats(void **state)
{
    enum ctl_format format = CTL_PRETTY;

    (void)state;
    assert_true(ctl_format_parse("yml", &format));
    assert_int_equal(format, CTL_YAML);
    assert_false(ctl_format_parse("xml", &format));
    assert_int_equal(format, CTL_YAML);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pretty),  cmocka_unit_test(test_machine_formats),
        cmocka_unit_test(test_details), cmocka_unit_test(test_topology),
        cmocka_unit_test(test_history), cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_diff),    cmocka_unit_test(test_set),
        cmocka_unit_test(test_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
