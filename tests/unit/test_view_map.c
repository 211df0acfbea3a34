/* Keys of the cluster as values: samples of the contract, older writers, hostile values, and events
 * that come late, twice, or before the range that they belong behind. */
#include "pgheir/codec/view_map.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include "tests/lib/check.h"

#define PREFIX "/service/demo/"

static const struct etcd_header header = {.cluster_id = 7, .raft_term = 3, .revision = 100};

static struct etcd_kv kv(const char *key, const char *value, int64_t mod_revision)
{
    return (struct etcd_kv){.key = key,
                            .key_length = strlen(key),
                            .value = value,
                            .value_length = strlen(value),
                            .create_revision = 1,
                            .mod_revision = mod_revision,
                            .lease_id = 5};
}

struct rig {
    struct view_map *map;
    struct view *view;
    struct conf_report report;
};

static void rig_init(struct rig *rig)
{
    rig->map = view_map_new(PREFIX, "node1");
    rig->view = mem_new(1, sizeof(*rig->view));
    conf_report_init(&rig->report);
}

static void rig_done(struct rig *rig)
{
    view_map_free(rig->map);
    mem_free(rig->view);
    conf_report_done(&rig->report);
}

static void put(struct rig *rig, const char *key, const char *value, int64_t mod_revision)
{
    char full[300];
    struct etcd_event event = {0};

    assert_true(str_format(full, sizeof(full), PREFIX "%s", key));
    event.kv = kv(full, value, mod_revision);
    (void)view_map_apply(rig->map, &event, &rig->report);
}

static bool drop(struct rig *rig, const char *key, int64_t mod_revision)
{
    char full[300];
    struct etcd_event event = {.is_delete = true};

    assert_true(str_format(full, sizeof(full), PREFIX "%s", key));
    event.kv = kv(full, "", mod_revision);
    return view_map_apply(rig->map, &event, &rig->report);
}

static const struct view *build(struct rig *rig)
{
    view_map_build(rig->map, rig->view, &rig->report);
    return rig->view;
}

/* ---- Values ---- */

/* The samples of dcs.md section 5. */
static void put_samples(struct rig *rig)
{
    const struct etcd_kv kvs[] = {
        kv(PREFIX "config", "{\"ttl\":20,\"loop_wait\":5,\"retry_timeout\":5,\"pause\":true}", 90),
        kv(PREFIX "failover",
           "{\"leader\":\"node1\",\"member\":\"node2\",\"scheduled_at\":"
           "\"2030-05-01T10:00:00+02:00\"}",
           91),
        kv(PREFIX "history",
           "[[1,67407096,\"no recovery target specified\",\"2026-11-23T14:54:57.001196+00:00\","
           "\"node2\"]]",
           92),
        kv(PREFIX "initialize", "7711380018334676876", 2),
        kv(PREFIX "leader", "node1", 93),
        kv(PREFIX "members/node1",
           "{\"conn_url\":\"postgres://10.0.0.1:5432/postgres\",\"api_url\":"
           "\"http://10.0.0.1:8008/patroni\",\"state\":\"running\",\"role\":\"primary\","
           "\"version\":\"4.1.4\",\"checkpoint_after_promote\":false,\"xlog_location\":67407712,"
           "\"timeline\":2,\"pgheir\":{\"instance\":\"x\"}}",
           94),
        kv(PREFIX "members/node2",
           "{\"conn_url\":\"postgres://[::1]:5433/postgres\",\"api_url\":"
           "\"http://10.0.0.2:8008/patroni\",\"state\":\"running\",\"role\":\"replica\","
           "\"version\":\"4.1.4\",\"tags\":{\"clonefrom\":true},\"xlog_location\":67406800,"
           "\"replay_lsn\":67406799,\"receive_lsn\":67406800,\"replication_state\":\"streaming\","
           "\"timeline\":2,\"pause\":true,\"pending_restart\":true}",
           95),
        kv(PREFIX "members/deep/er", "{}", 95),
        kv(PREFIX "pgheir/seen/node2", "{\"sysid\":\"7711380018334676876\"}", 95),
        kv(PREFIX "pgheir/timeline", "{\"timeline\":3,\"leader\":\"node1\"}", 95),
        kv(PREFIX "status",
           "{\"optime\":67407712,\"slots\":{\"node1\":67407712,\"node2\":67407000},"
           "\"retain_slots\":[\"node1\",\"node2\"]}",
           96),
        kv(PREFIX "sync", "{\"leader\":\"node1\",\"quorum\":0,\"sync_standby\":\"node2,node3\"}",
           97),
        kv("/service/demo2/leader", "other", 99),
    };

    view_map_reset(rig->map, &header, kvs, PGH_COUNT(kvs), &rig->report);
    assert_int_equal(view_map_count(rig->map), PGH_COUNT(kvs) - 1);
}

static void test_samples(void **state)
{
    struct rig rig;
    const struct view *view;

    (void)state;
    rig_init(&rig);
    put_samples(&rig);
    view = build(&rig);
    assert_int_equal(view->revision, 100);
    assert_int_equal(view->raft_term, 3);
    assert_int_equal(view->cluster_id, 7);
    assert_true(view->leader_present);
    assert_string_equal(view->leader_name, "node1");
    assert_int_equal(view->leader_lease_id, 5);
    assert_int_equal(view->leader_create_revision, 1);
    assert_int_equal(view->leader_mod_revision, 93);
    assert_int_equal(view->init_state, INIT_DONE);
    assert_true(view->sysid == UINT64_C(7711380018334676876));
    assert_true(view->config_present);
    assert_int_equal(view->policy.ttl_ms, 20000);
    assert_true(view->policy.pause);
    assert_int_equal(view->optime_lsn, 67407712);
    assert_true(view->failover.present);
    assert_string_equal(view->failover.leader, "node1");
    assert_string_equal(view->failover.candidate, "node2");
    assert_int_equal(view->failover.scheduled_at_wall_ms, INT64_C(1903852800000));
    assert_int_equal(view->failover.mod_revision, 91);
    assert_int_equal(view->history_count, 1);
    assert_int_equal(view->history[0].switch_lsn, 67407096);
    assert_int_equal(view->history_timeline, 2);
    assert_int_equal(view->claimed_timeline, 3);
    assert_false(view->sync_present); /* the mode is off */
    assert_int_equal(view->member_count, 2);
    assert_true(view->members[0].is_pgheir);
    assert_true(view->members[0].checkpoint_pending);
    assert_int_equal(view->members[0].role, PG_ROLE_PRIMARY);
    assert_string_equal(view->members[1].conn_host, "::1");
    assert_int_equal(view->members[1].conn_port, 5433);
    assert_string_equal(view->members[1].api_url, "http://10.0.0.2:8008/patroni");
    assert_int_equal(view->members[1].state, PG_STATE_RUNNING);
    assert_int_equal(view->members[1].replication_state, REPLICATION_STREAMING);
    assert_int_equal(view->members[1].replay_lsn, 67406799);
    assert_true(view->members[1].tags.clonefrom);
    assert_true(view->members[1].pause);
    assert_true(view->members[1].pending_restart);
    assert_false(view->members[1].checkpoint_pending);
    assert_int_equal(view->members[1].mod_revision, 95);
    assert_true(view_map_was_seen(rig.map, "node2"));
    assert_false(view_map_was_seen(rig.map, "node1"));
    assert_int_equal(view_map_slot_lsn(rig.map, "node2"), 67407000);
    assert_int_equal(view_map_slot_lsn(rig.map, "none"), 0);
    assert_int_equal(rig.report.count, 0);
    rig_done(&rig);
}

static void test_empty(void **state)
{
    struct rig rig;
    const struct view *view;

    (void)state;
    rig_init(&rig);
    view_map_reset(rig.map, &header, NULL, 0, &rig.report);
    view = build(&rig);
    assert_false(view->leader_present || view->config_present || view->status_present ||
                 view->failover.present || view->sync_present);
    assert_int_equal(view->init_state, INIT_ABSENT);
    assert_int_equal(view->member_count, 0);
    assert_int_equal(view->history_timeline, 0);
    assert_int_equal(view->policy.ttl_ms, 30000);
    assert_null(view_map_config(rig.map));
    rig_done(&rig);
}

/* dcs.md section 9. */
static void test_older_writers(void **state)
{
    struct rig rig;
    const struct view *view;

    (void)state;
    rig_init(&rig);
    put(&rig, "members/a",
        "postgres://10.0.0.1:5432/postgres?application_name=http://10.0.0.1:8008/patroni", 1);
    put(&rig, "members/b", "{\"role\":\"master\",\"tags\":{\"failover_priority\":\"0\"}}", 1);
    put(&rig, "members/c", "garbage", 1);
    put(&rig, "failover", "a:b", 1);
    put(&rig, "optime/leader", "12345", 1);
    put(&rig, "sync", "{\"leader\":\"a\",\"sync_standby\":\"b\"}", 1);
    view = build(&rig);
    assert_int_equal(view->member_count, 3);
    assert_string_equal(view->members[0].api_url, "http://10.0.0.1:8008/patroni");
    assert_string_equal(view->members[0].conn_host, "10.0.0.1");
    assert_int_equal(view->members[1].role, PG_ROLE_PRIMARY);
    assert_true(view->members[1].tags.nofailover);
    assert_int_equal(view->members[2].state, PG_STATE_UNKNOWN);
    assert_true(view_has_patroni_member(view));
    assert_string_equal(view->failover.leader, "a");
    assert_string_equal(view->failover.candidate, "b");
    assert_true(view->status_present);
    assert_int_equal(view->optime_lsn, 12345);
    assert_true(view->sync_present); /* no configuration: what is written is respected */
    assert_int_equal(view->sync_count, 1);

    put(&rig, "status", "777", 2);
    assert_int_equal(build(&rig)->optime_lsn, 777);
    put(&rig, "status",
        "{\"optime\":\"888\",\"slots\":\"{\\\"x\\\": 5}\",\"retain_slots\":\"[]\"}", 3);
    assert_int_equal(build(&rig)->optime_lsn, 888);
    assert_int_equal(view_map_slot_lsn(rig.map, "x"), 5);
    put(&rig, "failover", "{}", 4);
    assert_false(build(&rig)->failover.present);
    put(&rig, "history", "[[1,5],[2,6,\"x\"]]", 5);
    assert_int_equal(build(&rig)->history_timeline, 3);
    put(&rig, "history", "[]", 6);
    assert_int_equal(build(&rig)->history_timeline, 1);
    rig_done(&rig);
}

static void test_hostile(void **state)
{
    static const char *const values[] = {"",
                                         "{",
                                         "null",
                                         "5",
                                         "\"x\"",
                                         "[]",
                                         "[[]]",
                                         "[[1]]",
                                         "[[-1,5]]",
                                         "[[4294967295,5]]",
                                         "[[2,1],[1,2]]",
                                         "{\"optime\":{},\"slots\":7}",
                                         "{\"leader\":5,\"member\":[],\"sync_standby\":5}",
                                         ("{\"conn_url\":5,\"api_url\":{},\"tags\":[],"
                                          "\"timeline\":-1}"),
                                         "{\"conn_url\":\"postgres://h:99999/\"}",
                                         "{\"conn_url\":\"postgres://@/@\"}",
                                         "{\"xlog_location\":-5,\"timeline\":99999999999}",
                                         "{\"leader\":\"a\",\"scheduled_at\":\"tomorrow\"}"};
    static const char *const keys[] = {"config",  "failover", "history",
                                       "initialize", "leader",   "members/x",
                                       "status",  "sync",     "pgheir/timeline",
                                       "optime/leader"};
    struct rig rig;
    int64_t revision = 1;

    (void)state;
    rig_init(&rig);
    for (size_t i = 0; i < PGH_COUNT(keys); i++)
        for (size_t j = 0; j < PGH_COUNT(values); j++) {
            put(&rig, keys[i], values[j], ++revision);
            (void)build(&rig);
            assert_int_equal(rig.view->init_state == INIT_DONE, false);
            assert_int_equal(rig.view->failover.scheduled_at_wall_ms, 0);
        }
    put(&rig, "failover", "{\"leader\":\"a\",\"scheduled_at\":null}", ++revision);
    assert_true(build(&rig)->failover.present);
    put(&rig, "failover", "{\"leader\":\"a\",\"scheduled_at\":\"tomorrow\"}", ++revision);
    assert_false(build(&rig)->failover.present); /* not "at once" */
    put(&rig, "leader", "", ++revision);
    assert_true(build(&rig)->leader_present);
    put(&rig, "initialize", "", ++revision);
    assert_int_equal(build(&rig)->init_state, INIT_RUNNING);
    put(&rig, "initialize", "123", ++revision);
    assert_int_equal(build(&rig)->init_state, INIT_INVALID);
    put(&rig, "initialize", "99999999999999999999999", ++revision);
    assert_int_equal(build(&rig)->init_state, INIT_INVALID);
    rig_done(&rig);
}

/* What is wrong is said when it arrives, not each time that somebody looks. */
static void test_said_once(void **state)
{
    struct rig rig;
    const struct etcd_kv kvs[] = {kv(PREFIX "config", "{\"ttl\":\"x\",\"frob\":1}", 50)};

    (void)state;
    rig_init(&rig);
    view_map_reset(rig.map, &header, kvs, 1, &rig.report);
    assert_int_equal(rig.report.count, 2);
    (void)build(&rig);
    (void)build(&rig);
    view_map_reset(rig.map, &header, kvs, 1, &rig.report);
    (void)build(&rig);
    assert_int_equal(rig.report.count, 2);
    /* An adjustment, too: once, until it changes. */
    put(&rig, "config", "{\"ttl\":20,\"loop_wait\":10,\"retry_timeout\":10}", 101);
    assert_int_equal(build(&rig)->policy.retry_timeout_ms, 9000);
    (void)build(&rig);
    assert_int_equal(rig.report.count, 3);
    rig_done(&rig);
}

static void test_floors(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    put(&rig, "config", "{\"ttl\":5,\"loop_wait\":1,\"retry_timeout\":2}", 1);
    put(&rig, "members/a", "{\"pgheir\":{}}", 1);
    assert_int_equal(build(&rig)->policy.ttl_ms, 5000);
    put(&rig, "members/b", "{}", 1); /* Patroni beside us */
    assert_int_equal(build(&rig)->policy.ttl_ms, 20000);
    assert_int_equal(rig.report.count, 1);
    rig_done(&rig);
}

static void test_sync(void **state)
{
    struct rig rig;
    const struct view *view;

    (void)state;
    rig_init(&rig);
    put(&rig, "sync", "{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,,n3\"}", 1);
    put(&rig, "config", "{\"synchronous_mode\":\"quorum\"}", 1);
    view = build(&rig);
    assert_true(view->sync_present && view->sync_is_quorum);
    assert_int_equal(view->sync_count, 2);
    assert_string_equal(view->sync_standby[1], "n3");
    put(&rig, "config", "{\"synchronous_mode\":true}", 2);
    view = build(&rig);
    assert_true(view->sync_present);
    assert_false(view->sync_is_quorum);
    put(&rig, "sync", "{\"leader\":null,\"sync_standby\":null}", 3);
    assert_false(build(&rig)->sync_present);
    rig_done(&rig);
}

/* ---- Too many ---- */

static void test_too_many_members(void **state)
{
    struct rig rig;
    const struct view *view;

    (void)state;
    rig_init(&rig); /* self is node1, which sorts behind all of m000 to m099 */
    for (int i = 0; i < MEMBERS_MAX + 6; i++) {
        char key[40];

        assert_true(str_format(key, sizeof(key), "members/m%03d", i));
        put(&rig, key, "{}", 2);
    }
    put(&rig, "members/node1", "{}", 2);
    put(&rig, "members/zz", "{}", 2);
    put(&rig, "leader", "zz", 2);
    view = build(&rig);
    assert_int_equal(view->member_count, MEMBERS_MAX);
    assert_non_null(view_find_member(view, "node1"));
    assert_non_null(view_leader_member(view));
    assert_int_equal(rig.report.error_count, 8);
    (void)build(&rig);
    assert_int_equal(rig.report.error_count, 8); /* said once */
    rig_done(&rig);
}

/* dcs.md section 10, item 12. */
static void test_slot_collision(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    put(&rig, "members/a-b", "{}", 2);
    put(&rig, "members/a.b", "{}", 2);
    put(&rig, "members/c", "{}", 2);
    (void)build(&rig);
    (void)build(&rig);
    assert_int_equal(rig.report.error_count, 1);
    assert_non_null(strstr(rig.report.messages[0].text, "a-b and a.b both need"));
    (void)drop(&rig, "members/a.b", 3);
    (void)build(&rig);
    put(&rig, "members/a.b", "{}", 4);
    (void)build(&rig);
    assert_int_equal(rig.report.error_count, 2); /* again, because it is new */
    rig_done(&rig);
}

/* What is deleted is remembered, but not for ever. */
static void test_many_tombstones(void **state)
{
    struct rig rig;
    char key[40];

    (void)state;
    rig_init(&rig);
    put(&rig, "config", "{}", 1);
    for (int i = 0; i < 3000; i++) {
        assert_true(str_format(key, sizeof(key), "x%d", i));
        put(&rig, key, "v", 2 * i + 2);
        assert_true(drop(&rig, key, 2 * i + 3));
    }
    assert_int_equal(view_map_count(rig.map), 1);
    assert_non_null(view_map_config(rig.map));
    rig_done(&rig);
}

static void test_long_history(void **state)
{
    struct rig rig;
    struct buf text;
    const struct view *view;

    (void)state;
    rig_init(&rig);
    buf_init(&text, 100000);
    for (int i = 1; i <= HISTORY_MAX + 10; i++)
        assert_int_equal(buf_printf(&text, "%s[%d,%d]", i == 1 ? "[" : ",", i, i * 10), RC_OK);
    assert_int_equal(buf_puts(&text, "]"), RC_OK);
    put(&rig, "history", buf_text(&text), 2);
    view = build(&rig);
    assert_int_equal(view->history_count, HISTORY_MAX);
    assert_int_equal(view->history[0].timeline, 11);
    assert_int_equal(view->history_timeline, HISTORY_MAX + 11);
    buf_done(&text);
    rig_done(&rig);
}

/* ---- Order of arrival ---- */

static void test_events(void **state)
{
    struct rig rig;

    (void)state;
    rig_init(&rig);
    view_map_reset(rig.map, &header, NULL, 0, &rig.report);
    put(&rig, "leader", "old", 100); /* contained in the range, which did not show it any more */
    assert_false(build(&rig)->leader_present);
    put(&rig, "leader", "a", 105);
    assert_int_equal(build(&rig)->revision, 105);
    put(&rig, "leader", "a", 105); /* twice */
    put(&rig, "leader", "late", 104);
    assert_string_equal(build(&rig)->leader_name, "a");
    assert_true(drop(&rig, "leader", 106));
    assert_false(drop(&rig, "leader", 106));
    put(&rig, "leader", "late", 105); /* a tombstone stands there */
    assert_false(build(&rig)->leader_present);
    put(&rig, "leader", "b", 107);
    assert_string_equal(build(&rig)->leader_name, "b");
    rig_done(&rig);
}

/* A range is read at 100; the watch brings 101 and 102 before the answer is here. */
static void test_event_overtakes_range(void **state)
{
    const struct etcd_kv kvs[] = {kv(PREFIX "leader", "old", 90), kv(PREFIX "config", "{}", 80)};
    const struct etcd_header later = {.cluster_id = 7, .raft_term = 3, .revision = 103};
    const struct etcd_header back = {.cluster_id = 7, .raft_term = 3, .revision = 60};
    const struct etcd_kv newer[] = {kv(PREFIX "leader", "new", 101)};
    struct rig rig;

    (void)state;
    rig_init(&rig);
    view_map_reset(rig.map, &(struct etcd_header){.cluster_id = 7, .revision = 95}, kvs, 2,
                   &rig.report);
    put(&rig, "leader", "new", 101);
    (void)drop(&rig, "config", 102);
    view_map_reset(rig.map, &header, kvs, 2, &rig.report);
    assert_string_equal(build(&rig)->leader_name, "new");
    assert_false(build(&rig)->config_present);
    assert_int_equal(build(&rig)->revision, 102);
    view_map_reset(rig.map, &later, newer, 1, &rig.report);
    assert_string_equal(build(&rig)->leader_name, "new");
    assert_false(build(&rig)->config_present);
    assert_int_equal(build(&rig)->revision, 103);

    /* etcd restored from a backup, with the same cluster id: the second range in a row that knows
     * nothing of what we know is believed. */
    put(&rig, "leader", "newest", 110);
    view_map_reset(rig.map, &back, NULL, 0, &rig.report);
    assert_string_equal(build(&rig)->leader_name, "newest");
    view_map_reset(rig.map, &back, NULL, 0, &rig.report);
    assert_false(build(&rig)->leader_present);
    assert_int_equal(build(&rig)->revision, 60);
    put(&rig, "leader", "x", 61);
    assert_string_equal(build(&rig)->leader_name, "x");
    rig_done(&rig);
}

/* Another cluster id: nothing of the old one counts. */
static void test_other_cluster(void **state)
{
    const struct etcd_header other = {.cluster_id = 8, .raft_term = 1, .revision = 10};
    struct rig rig;

    (void)state;
    rig_init(&rig);
    view_map_reset(rig.map, &header, NULL, 0, &rig.report);
    put(&rig, "leader", "a", 200);
    view_map_reset(rig.map, &other, NULL, 0, &rig.report);
    assert_false(build(&rig)->leader_present);
    assert_int_equal(build(&rig)->revision, 10);
    rig_done(&rig);
}

/* Random puts and deletes, each delivered up to three times and shuffled inside a small window: the
 * map must end with what etcd holds. */
static void test_shuffled_events(void **state)
{
    enum { KEYS = 5, EVENTS = 400 };
    struct {
        int key;
        bool is_delete;
    } log[EVENTS];
    unsigned seed = 12345;

    (void)state;
    for (int run = 0; run < 50; run++) {
        struct rig rig;
        int last[KEYS];
        int order[EVENTS * 2];
        int count = 0;

        for (int k = 0; k < KEYS; k++)
            last[k] = -1;
        for (int i = 0; i < EVENTS; i++) {
            seed = seed * 1103515245u + 12345u;
            log[i].key = (int)(seed >> 16) % KEYS;
            log[i].is_delete = (seed >> 8) % 3 == 0;
            last[log[i].key] = i;
            order[count++] = i;
            if ((seed >> 20) % 4 == 0)
                order[count++] = i;
        }
        for (int i = 0; i + 8 < count; i++) {
            int j;
            int swap;

            seed = seed * 1103515245u + 12345u;
            j = i + (int)(seed >> 16) % 8;
            swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        rig_init(&rig);
        for (int i = 0; i < count; i++) {
            char key[40];

            assert_true(str_format(key, sizeof(key), "k%d", log[order[i]].key));
            if (log[order[i]].is_delete)
                (void)drop(&rig, key, order[i] + 1);
            else
                put(&rig, key, "v", order[i] + 1);
        }
        for (int k = 0; k < KEYS; k++) {
            char key[40];
            const struct view_entry *entry;

            assert_true(str_format(key, sizeof(key), "k%d", k));
            entry = view_map_find(rig.map, key);
            assert_int_equal(entry != NULL, last[k] >= 0 && !log[last[k]].is_delete);
            assert_true(entry == NULL || entry->mod_revision == last[k] + 1);
        }
        rig_done(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),       cmocka_unit_test(test_empty),
        cmocka_unit_test(test_older_writers), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_said_once),     cmocka_unit_test(test_floors),
        cmocka_unit_test(test_sync),          cmocka_unit_test(test_too_many_members),
        cmocka_unit_test(test_long_history),  cmocka_unit_test(test_events),
        cmocka_unit_test(test_slot_collision), cmocka_unit_test(test_many_tombstones),
        cmocka_unit_test(test_event_overtakes_range),
        cmocka_unit_test(test_other_cluster), cmocka_unit_test(test_shuffled_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
