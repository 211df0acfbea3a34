/* One etcd transaction under construction: each guard and write that enum call stands for. */
#ifndef PGHEIR_AGENT_ETCD_PLAN_H
#define PGHEIR_AGENT_ETCD_PLAN_H

#include "agent.h"

enum {
    PLAN_COMPARES_MAX = 4,
    PLAN_OPS_MAX = 6,
    PLAN_KEYS_MAX = 16,
    PLAN_TEXTS_MAX = 5,
    PLAN_TEXT_BYTES_MAX = 1024 * 1024
};

/* A transaction under construction: what its parts point to lives here. */
struct plan {
    struct agent *agent;
    struct etcd_compare compares[PLAN_COMPARES_MAX];
    struct etcd_op success[PLAN_OPS_MAX];
    struct etcd_op failure[PLAN_OPS_MAX];
    size_t compare_count, success_count, failure_count;
    char keys[PLAN_KEYS_MAX][AGENT_KEY_SIZE];
    int key_count;
    struct buf texts[PLAN_TEXTS_MAX];
    int text_count;
    bool is_broken; /* something did not fit */
};

/* Owner: the caller, who calls plan_done(). */
void plan_init(struct plan *plan, struct agent *agent);
void plan_done(struct plan *plan);
/* Fills it for any call that is a transaction, except CALL_HISTORY_PUT. */
void plan_build(struct plan *plan, const struct action *action);
/* CALL_HISTORY_PUT: its value has been read from the local file. */
void plan_build_history(struct plan *plan, const struct action *action,
                        const struct pg_history *history, int64_t switched_wall_ms);
/* True if etcd already has what this put would write. */
bool plan_is_idle(const struct plan *plan, const struct action *action);

#endif
