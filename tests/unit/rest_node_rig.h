/* A node to ask: a running replica of a healthy cluster, changed at will. */
#ifndef PGHEIR_UNIT_REST_NODE_RIG_H
#define PGHEIR_UNIT_REST_NODE_RIG_H

#include "pgheir/codec/rest_json.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include "tests/lib/check.h"

struct rest_rig {
    struct rest_node node;
    struct local *local;
    struct view *view;
    json_t *tags;
    json_t *config;
    json_t *replication;
};

static inline json_t *rig_json(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    if (value == NULL)
        fail_msg("not JSON: %s", text);
    return value;
}

static inline void rest_rig_init(struct rest_rig *rig)
{
    *rig = (struct rest_rig){0};
    rig->local = mem_new(1, sizeof(*rig->local));
    rig->view = mem_new(1, sizeof(*rig->view));
    local_init(rig->local);
    view_init(rig->view);
    rig->local->data_dir = DATA_DIR_VALID;
    rig->local->postmaster = POSTMASTER_UP;
    rig->local->sysid = UINT64_C(7711380018334676876);
    rig->local->sql_valid = true;
    rig->local->in_recovery = true;
    rig->local->timeline = 2;
    rig->local->receive_lsn = 67407712;
    rig->local->replay_lsn = 67407712;
    rig->local->replication_state = REPLICATION_STREAMING;
    rig->local->server_version = 150020;
    rig->view->leader_present = true;
    assert_true(str_copy(rig->view->leader_name, sizeof(rig->view->leader_name), "node1"));
    rig->view->optime_lsn = 67407712;
    rig->tags = rig_json("{\"clonefrom\": true}");
    rig->config = rig_json("{}");
    rig->node = (struct rest_node){.scope = "demo",
                                   .name = "node2",
                                   .local = rig->local,
                                   .state = PG_STATE_RUNNING,
                                   .role = PG_ROLE_REPLICA,
                                   .postmaster_start_wall_us = INT64_C(1795445625358496),
                                   .tags = rig->tags,
                                   .view = rig->view,
                                   .config = rig->config,
                                   .dcs_last_seen_wall_ms = INT64_C(1795445754999),
                                   .now_ms = 100000,
                                   .next_run_at_ms = 101000,
                                   .instance = "abc",
                                   .reason = REASON_FOLLOWING_LEADER,
                                   .reason_text = "no action",
                                   .etcd_age_ms = 12,
                                   .fencing = "normal"};
}

static inline void rest_rig_tags(struct rest_rig *rig, const char *text)
{
    json_decref(rig->tags);
    rig->tags = rig_json(text);
    rig->node.tags = rig->tags;
}

static inline void rest_rig_config(struct rest_rig *rig, const char *text)
{
    json_decref(rig->config);
    rig->config = rig_json(text);
    rig->node.config = rig->config;
}

/* The leader, with its server writable. */
static inline void rest_rig_primary(struct rest_rig *rig)
{
    rig->local->in_recovery = false;
    rig->local->flush_lsn = 67407712;
    rig->node.role = PG_ROLE_PRIMARY;
    rig->node.is_leader = true;
}

static inline void rest_rig_sync(struct rest_rig *rig, bool is_quorum)
{
    rig->view->sync_present = true;
    rig->view->sync_is_quorum = is_quorum;
    rig->view->sync_count = 1;
    assert_true(str_copy(rig->view->sync_standby[0], NAME_SIZE, "NODE2")); /* case is no matter */
}

static inline void rest_rig_done(struct rest_rig *rig)
{
    mem_free(rig->local);
    mem_free(rig->view);
    json_decref(rig->tags);
    json_decref(rig->config);
    json_decref(rig->replication);
}

#endif
