/* What the files of the REST routes share: an errand is a request that could not be answered at
 * once. Private to src/agent/rest_*.c. */
#ifndef PGHEIR_SRC_AGENT_REST_ERRAND_H
#define PGHEIR_SRC_AGENT_REST_ERRAND_H

#include <sys/queue.h>

#include "rest_routes.h"

struct loop_timer;

enum errand_kind {
    ERRAND_CLUSTER_GET,
    ERRAND_HISTORY_GET,
    ERRAND_CONFIG_GET,
    ERRAND_CONFIG_PATCH,
    ERRAND_CONFIG_PUT,
    ERRAND_SWITCHOVER,
    ERRAND_SWITCHOVER_DELETE,
    ERRAND_RESTART,
    ERRAND_REINIT
};

/* Lives until it was answered and nothing that it began is still under way. */
struct errand {
    TAILQ_ENTRY(errand) link;
    struct rest_routes *routes;   /* NULL: the routes are gone */
    struct rest_request *request; /* NULL: answered */
    enum errand_kind kind;
    int waits;                    /* completions still to come */
    json_t *body;                 /* of the request, or NULL */
    json_t *config;               /* as it is being written */

    /* Switchover. */
    bool is_failover;
    bool is_watched;              /* the key is written, the end is awaited */
    bool is_reading;
    struct rest_switchover wanted;
    char old_leader[NAME_SIZE];
    int64_t failover_revision;    /* of the key before, 0: absent */
    int64_t put_revision;
    int64_t budget_ms;
    int64_t deadline_ms;
    struct loop_timer *timer;
};

struct rest_routes {
    struct loop *loop;
    const struct rest_ops *ops;
    void *ops_arg;
    TAILQ_HEAD(errand_list, errand) errands;

    /* The restart that waits for its time. */
    json_t *plan;
    struct rest_restart plan_wanted;
    struct loop_timer *plan_timer;
};

/* A new errand for request, at the end of the list. Owner: itself. */
struct errand *errand_new(struct rest_routes *routes, struct rest_request *request,
                          enum errand_kind kind);
/* Answers with text/html; the errand is freed once nothing is awaited any more. */
void errand_answer(struct errand *errand, int status, const char *text);
/* The same with a JSON document; takes the reference. */
void errand_answer_json(struct errand *errand, int status, json_t *value);
/* To be called first in every completion: counts it. False if the errand is over (and perhaps
 * freed): return. */
bool errand_wakes(struct errand *errand);
/* Begins what completes in errand_wakes(). */
void errand_waits(struct errand *errand);
/* A linearizable read; done gets the errand. */
void errand_read(struct errand *errand, rest_read_fn *done);

struct rest_world errand_world(const struct rest_routes *routes);
/* Sends value and drops it; for requests that need no errand. */
void rest_send_json(struct rest_request *request, int status, json_t *value);

/* rest_config.c */
void rest_config_get(struct rest_routes *routes, struct rest_request *request);
void rest_config_change(struct rest_routes *routes, struct rest_request *request,
                        const struct rest_question *question);
/* rest_switchover.c */
void rest_switchover_begin(struct rest_routes *routes, struct rest_request *request,
                           const struct rest_question *question, bool is_failover);
void rest_switchover_delete(struct rest_routes *routes, struct rest_request *request);
void rest_switchover_look(struct errand *errand, const struct view *view);
/* rest_restart.c */
void rest_restart_begin(struct rest_routes *routes, struct rest_request *request,
                        const struct rest_question *question);
void rest_restart_delete(struct rest_routes *routes, struct rest_request *request);
void rest_reinit_begin(struct rest_routes *routes, struct rest_request *request,
                       const struct rest_question *question);

#endif
