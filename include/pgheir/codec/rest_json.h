/* REST documents (contract/rest.md): what a node says of itself and of the cluster, health codes,
 * metrics, and what a peer's answer means. Pure. JSON with Patroni's spacing. */
#ifndef PGHEIR_CODEC_REST_JSON_H
#define PGHEIR_CODEC_REST_JSON_H

#include <jansson.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/err.h"
#include "pgheir/codec/view_map.h"
#include "pgheir/model/event.h"
#include "pgheir/model/local.h"
#include "pgheir/model/reason.h"

/* This node, filled by the agent before each answer. Pointers are borrowed. */
struct rest_node {
    const char *scope, *name;
    const struct local *local;
    enum pg_state state; /* core_status.pg_state */
    enum pg_role role;   /* core_status.pg_role: shown where SQL does not answer */
    bool sql_failed;     /* running, but the query failed: state unknown */
    int64_t postmaster_start_wall_us; /* 0 unknown */
    int64_t replayed_wall_us;         /* 0 null */
    bool replay_paused;
    uint64_t receiver_latest_end_lsn; /* 0 unknown */
    const json_t *replication;        /* array of pg_stat_replication rows, or NULL */
    const json_t *tags;               /* effective, as published */
    const json_t *pending_restart_reason;
    const json_t *scheduled_restart;
    bool watchdog_failed;
    int log_queued;
    uint64_t log_lost;

    /* The cluster as this node sees it. NULL: no view younger than ttl. */
    const struct view *view;
    const json_t *config;             /* view_map_config() or the last known one; may be NULL */
    bool is_standby_cluster;
    bool is_paused;                   /* this agent has seen the pause */
    bool is_leader;                   /* core_status.is_leader */
    bool failsafe_active;
    bool failsafe_member;
    int64_t dcs_last_seen_wall_ms;    /* 0 never */

    /* Life of the loop, for /liveness. */
    int64_t now_ms;
    int64_t next_run_at_ms;           /* when the loop will have turned at the latest */

    /* Our own object. */
    const char *instance;
    int64_t fence_left_ms;            /* -1 disarmed */
    enum reason reason;
    const char *reason_text;          /* sentence with its values */
    int64_t etcd_age_ms;              /* since the last good answer; -1 never */
    const char *fencing;
    int64_t agent_restarts;
    bool has_certificate;             /* of the REST API */
    int64_t certificate_left_ms;      /* until it ends; negative: it has ended */
};

/* GET /patroni and the body of health checks. New reference. */
json_t *rest_json_status(const struct rest_node *node);
/* The same as text, appended. */
enum rc rest_json_put_status(const struct rest_node *node, struct buf *out);

/* GET /cluster from the keys as they are. New reference. */
json_t *rest_json_cluster(const struct view_map *map, const char *scope);

/* GET /history: the key, or []. New reference. */
json_t *rest_json_history(const struct view_map *map);

/* GET /metrics, appended. */
enum rc rest_json_put_metrics(const struct rest_node *node, struct buf *out);

struct rest_health {
    int code;           /* 200 or 503 */
    bool is_status_only; /* liveness, readiness: no body */
};
/* Health of any path: rest.md 3.1 to 3.4. path without query; query is what stands behind ?, or
 * NULL; both as they came, still percent-encoded. */
struct rest_health rest_json_health(const struct rest_node *node, const char *path,
                                    const char *query);

/* First value of a name in a query string, decoded into out (cleared first). false if not there. */
bool rest_query_get(const char *query, const char *name, struct buf *out);

/* A peer's GET of its api_url, Patroni's or ours. ttl_ms: to judge whether it still sees etcd.
 * RC_INVALID if the document is of no use, or another node's: *ret then is an unreachable peer of
 * that name. */
enum rc rest_json_peer_parse(const char *name, const char *text, size_t length, int64_t ttl_ms,
                             struct peer_answer *ret, struct err *err);

/* ---- What people ask for ---- */

/* A request body: a JSON object, or nothing at all if may_be_empty (then an empty object).
 * RC_INVALID. Owner of *ret: the caller. */
enum rc rest_json_body_read(const char *text, size_t length, bool may_be_empty, json_t **ret,
                            struct err *err);

/* POST /switchover and /failover. */
struct rest_switchover {
    char leader[NAME_SIZE];    /* "" if absent */
    char candidate[NAME_SIZE]; /* also from member */
    char scheduled_at[64];     /* as it came; "" if absent */
    int64_t scheduled_at_wall_ms; /* 0 if absent */
};
/* The checks of rest.md 7.2 that need no cluster view, in its order. Returns 0, or the HTTP status
 * with Patroni's sentence in err. A failover with a leader becomes a switchover:
 * *ret_is_failover. */
int rest_json_switchover_read(const json_t *body, bool is_failover, bool is_paused,
                              int64_t now_wall_ms, struct rest_switchover *ret,
                              bool *ret_is_failover, struct err *err);
/* The rest of rest.md 7.2 up to the candidates' answers: 0, or 412 with the sentence. *ret_names:
 * whom to ask (at most MEMBERS_MAX pointers into view); *ret_count how many. */
int rest_json_switchover_check(const struct rest_switchover *request, bool is_failover,
                               const struct view *view, const char **ret_names, int *ret_count,
                               struct err *err);

/* POST /restart. */
struct rest_restart {
    char schedule[64];        /* as it came */
    int64_t schedule_wall_ms; /* 0: now */
    char role[24];            /* "" any */
    char postgres_version[24]; /* "" any */
    int64_t timeout_ms;       /* 0: default */
    bool restart_pending;     /* only if a restart is pending */
};
/* 0, or the HTTP status with the sentence in err: rest.md 7.3. */
int rest_json_restart_read(const json_t *body, bool is_paused, int64_t now_wall_ms,
                           struct rest_restart *ret, struct err *err);

/* POST /reinitialize. */
struct rest_reinit {
    bool force, from_leader;
};
int rest_json_reinit_read(const json_t *body, struct rest_reinit *ret, struct err *err);

#endif
