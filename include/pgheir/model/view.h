/* The cluster at one etcd revision, as values. Built by the codec, owned by whoever posts it;
 * nobody who decides ever changes it. Source of every field: contract/dcs.md sections 4 and 5. */
#ifndef PGHEIR_MODEL_VIEW_H
#define PGHEIR_MODEL_VIEW_H

#include "pgheir/base/base.h"
#include "pgheir/model/limits.h"
#include "pgheir/model/policy.h"

/* Wire texts of the states: contract/dcs.md section 6. */
enum pg_state {
    PG_STATE_UNKNOWN,
    PG_STATE_INITDB,
    PG_STATE_INITDB_FAILED,
    PG_STATE_CUSTOM_BOOTSTRAP,
    PG_STATE_CUSTOM_BOOTSTRAP_FAILED,
    PG_STATE_CREATING_REPLICA,
    PG_STATE_RUNNING,
    PG_STATE_STARTING,
    PG_STATE_BOOTSTRAP_STARTING,
    PG_STATE_START_FAILED,
    PG_STATE_RESTARTING,
    PG_STATE_RESTART_FAILED,
    PG_STATE_STOPPING,
    PG_STATE_STOPPED,
    PG_STATE_STOP_FAILED,
    PG_STATE_CRASHED,
    PG_STATE_COUNT
};

enum pg_role {
    PG_ROLE_UNKNOWN,
    PG_ROLE_UNINITIALIZED,
    PG_ROLE_PRIMARY,
    PG_ROLE_REPLICA,
    PG_ROLE_STANDBY_LEADER,
    PG_ROLE_PROMOTED,
    PG_ROLE_DEMOTED,
    PG_ROLE_COUNT
};

enum replication_state {
    REPLICATION_NONE,
    REPLICATION_STREAMING,
    REPLICATION_ARCHIVE,
    REPLICATION_COUNT
};

struct tags {
    bool nofailover; /* effective: nofailover wins over failover_priority */
    bool noloadbalance;
    bool clonefrom;
    bool nosync;
    bool nostream;
    int32_t failover_priority; /* default 1; <= 0 means nofailover */
    int32_t sync_priority;
    char replicatefrom[NAME_SIZE]; /* "" : none */
};

struct member {
    char name[NAME_SIZE];
    char api_url[URL_SIZE];   /* "" if absent */
    /* derived from name by the codec: contract/dcs.md section 10, item 12 */
    char slot_name[SLOT_NAME_SIZE];
    char conn_host[HOST_SIZE]; /* from conn_url; "" if absent */
    int32_t conn_port;
    enum pg_state state;
    enum pg_role role;
    enum replication_state replication_state;
    struct tags tags;
    uint64_t lsn;         /* xlog_location; 0 unknown */
    uint64_t receive_lsn; /* 0 unknown */
    uint64_t replay_lsn;  /* 0 unknown */
    uint32_t timeline;    /* 0 unknown */
    int64_t lease_id;
    int64_t mod_revision;
    bool checkpoint_pending; /* checkpoint_after_promote: false */
    bool pending_restart;
    bool pause;     /* the member has seen the pause */
    bool is_pgheir; /* carries our object "pgheir" */
};

enum init_state { INIT_ABSENT, INIT_RUNNING /* empty value */, INIT_DONE, INIT_INVALID };

struct history_row {
    uint32_t timeline; /* the parent that was left */
    uint64_t switch_lsn;
};

struct failover_request {
    bool present;
    char leader[NAME_SIZE];    /* "" : failover */
    char candidate[NAME_SIZE]; /* "" : any */
    int64_t scheduled_at_wall_ms; /* 0: at once */
    int64_t mod_revision;
};

struct view {
    uint64_t cluster_id;
    uint64_t raft_term;
    int64_t revision;

    bool leader_present;
    char leader_name[NAME_SIZE];
    int64_t leader_lease_id;
    int64_t leader_create_revision;
    int64_t leader_mod_revision;

    enum init_state init_state;
    uint64_t sysid; /* if INIT_DONE */
    int64_t init_mod_revision;
    int64_t init_lease_id;

    bool config_present; /* a valid JSON object */
    int64_t config_mod_revision;
    struct policy policy; /* already adjusted; defaults if !config_present */

    bool status_present;
    uint64_t optime_lsn; /* 0 unknown */

    struct failover_request failover;

    /* Timeline switches, oldest first, the newest HISTORY_MAX. */
    int32_t history_count;
    struct history_row history[HISTORY_MAX];
    uint32_t history_timeline; /* last row + 1; 1 for "[]"; 0 unknown */
    /* Timeline that a winner of the key announced before promoting (<base>/pgheir/timeline): the
     * next winner must take a higher number even if the announced one was never written to
     * history. 0: none. */
    uint32_t claimed_timeline;

    bool sync_present; /* read only, until the synchronous modes are ours: a race respects it */
    bool sync_is_quorum; /* synchronous_mode is quorum: sync_standby are its voters */
    char sync_leader[NAME_SIZE];
    int32_t sync_count;
    char sync_standby[MEMBERS_MAX][NAME_SIZE];

    int32_t member_count;
    struct member members[MEMBERS_MAX];
};

/* An empty view with the default policy. */
void view_init(struct view *view);
/* NULL if there is no such member. */
const struct member *view_find_member(const struct view *view, const char *name);
/* The member that owns the leader key; NULL if no leader or not a member. */
const struct member *view_leader_member(const struct view *view);
/* The cluster's timeline as etcd tells it: the newest of history and of the leader's member key.
 * 0 unknown. */
uint32_t view_timeline(const struct view *view);
/* Is (timeline, lsn) a point of the cluster's own history: on its timeline, or on an ancestor
 * not past the fork? */
bool view_is_on_history(const struct view *view, uint32_t timeline, uint64_t lsn);
/* Any member that does not carry our object "pgheir". */
bool view_has_patroni_member(const struct view *view);

/* Wire texts. */
const char *pg_state_text(enum pg_state state); /* wire text */
enum pg_state pg_state_parse(const char *text); /* PG_STATE_UNKNOWN if unknown */
const char *pg_role_text(enum pg_role role);
enum pg_role pg_role_parse(const char *text); /* accepts master */
/* Defaults: priorities 1, nothing else. */
void tags_init(struct tags *tags);

#endif
