/* The REST API: routes, answers, and what people ask for (contract/rest.md). Knows the world
 * through struct rest_world and acts through struct rest_ops, which the agent provides; it
 * decides nothing about roles. Errands that take time (a switchover that is watched until it
 * ends, a guarded write) live here, each with a deadline and exactly one answer.
 *
 * Wiring: routes = rest_routes_new(); rest_routes_handlers() goes into rest_new();
 * rest_routes_on_view() after each new view; rest_routes_scheduled_restart() into the member key
 * and rest_node.scheduled_restart. At the end rest_free() first, then rest_routes_free(). */
#ifndef PGHEIR_AGENT_REST_ROUTES_H
#define PGHEIR_AGENT_REST_ROUTES_H

#include <jansson.h>

#include "pgheir/base/err.h"
#include "pgheir/codec/rest_json.h"
#include "pgheir/io/rest.h"
#include "pgheir/model/action.h"

struct loop;
struct rest_routes;

/* Borrowed: must stay valid until the call that asked for it has returned to the loop. */
struct rest_world {
    const struct rest_node *node;  /* node->view is NULL when it is older than ttl */
    const struct view_map *map;    /* keys behind node->view; NULL exactly if that is NULL */
    const struct policy *policy;   /* in force; never NULL */
    const char *role;              /* wire text of the agent's role, for the filter of a restart */
};

/* Answer to a linearizable read of the whole prefix. Valid during the callback only. */
struct rest_read {
    enum rc rc;                 /* RC_OK, else err says which endpoints did what */
    const struct err *err;
    const struct view *view;    /* RC_OK: both of this very read */
    const struct view_map *map;
};
typedef void rest_read_fn(const struct rest_read *read, void *arg);

struct rest_put {
    enum call_outcome outcome;
    int64_t revision;      /* OUTCOME_OK: of the write */
    const struct err *err; /* unless OUTCOME_OK */
};
typedef void rest_put_fn(const struct rest_put *put, void *arg);

typedef void rest_peers_fn(const struct peer_answer *answers, int count, void *arg);
typedef void rest_reply_fn(enum reply_code code, enum op_kind busy_with, void *arg);

/* What the agent does for the routes. Every done is called exactly once, at deadline_ms at the
 * latest (request: when the core replies), and never before the call that began it has returned.
 * Texts are copied. */
struct rest_ops {
    void (*get_world)(void *arg, struct rest_world *ret);
    void (*read_cluster)(void *arg, int64_t deadline_ms, rest_read_fn *done, void *done_arg);
    /* Key config. mod_revision: guard, MOD == it; 0: no guard (PUT). */
    void (*put_config)(void *arg, const char *text, size_t length, int64_t mod_revision,
                       int64_t deadline_ms, rest_put_fn *done, void *done_arg);
    /* Key failover. mod_revision: guard, MOD == it; 0: the key must be absent. */
    void (*put_failover)(void *arg, const char *text, size_t length, int64_t mod_revision,
                         int64_t deadline_ms, rest_put_fn *done, void *done_arg);
    /* GET of their api_url, all at once. */
    void (*ask_peers)(void *arg, const char *const *names, int count, int64_t deadline_ms,
                      rest_peers_fn *done, void *done_arg);
    /* EVENT_REQUEST for the core, completed by its ACTION_REPLY. */
    void (*request)(void *arg, enum request_kind kind, bool force, bool from_leader,
                    rest_reply_fn *done, void *done_arg);
    /* As SIGHUP. */
    void (*reload)(void *arg);
    /* Something in the keys was changed by us: look now. May do nothing where a watch will tell. */
    void (*wake)(void *arg);
    /* rest_routes_scheduled_restart() changed: write the member key again. */
    void (*touch_member)(void *arg);
};

/* Owner: the caller; loop and ops outlive it. */
struct rest_routes *rest_routes_new(struct loop *loop, const struct rest_ops *ops, void *ops_arg);
/* Open errands are answered with 503; what they still wait for may complete later. Accepts NULL. */
void rest_routes_free(struct rest_routes *routes);
/* For rest_new(). */
void rest_routes_handlers(struct rest_routes *routes, struct rest_handlers *ret);
/* A new picture of the cluster: switchovers under way look whether it shows their end. */
void rest_routes_on_view(struct rest_routes *routes, const struct view *view);
/* The restart that waits for its time: schedule, filters, postmaster_start_time; NULL if none.
 * Borrowed until the next call into the routes. */
const json_t *rest_routes_scheduled_restart(const struct rest_routes *routes);

#endif
