/* The study: one pure step. Event (with the time) in, actions out. No I/O, no clock, no
 * allocation, no failure. Same state and same event give the same actions, on every machine. The
 * agent and the simulator run this very code. Sources: DESIGN sections 1, 3, 4;
 * contract/behaviour.md.
 *
 * Lifetime: the caller owns struct core (opaque size: sizeof is public so that no allocation is
 * needed). */
#ifndef PGHEIR_CORE_CORE_H
#define PGHEIR_CORE_CORE_H

#include "pgheir/core/state.h"
#include "pgheir/model/action.h"
#include "pgheir/model/event.h"

/* seed: for jitter only. saved: NULL, or what the supervisor kept. */
void core_init(struct core *core, const struct identity *identity, uint64_t seed,
               const struct core_saved *saved, int64_t now_ms);

/* One turn. Appends to actions (which the caller has emptied) at most ACTIONS_MAX items. */
void core_step(struct core *core, const struct event *event, struct actions *actions);

/* When the core wants EVENT_TIMER at the latest. Never in the past of the last step. */
int64_t core_deadline(const struct core *core);

/* Aborts if an invariant does not hold; called after every step, also in production. */
void core_check(const struct core *core);

/* What the next agent must know; handed to the supervisor as bytes. Owner: the caller. */
void core_save(const struct core *core, struct core_saved *ret_saved);

/* What others are told about us. */
struct core_status {
    /* key ours, confirmed, and now < fence: what /leader answers rest on */
    bool is_leader;
    bool is_primary_serving;  /* is_leader and the local server is a writable primary */
    bool paused;              /* pause seen */
    bool fence_disarmed;
    int64_t fence_left_ms;    /* how long the local server may still write; 0 none; -1 disarmed */
    int64_t etcd_seen_at_ms;  /* last good linearizable answer; 0 never */
    int64_t step_at_ms;       /* last step: the proof of life for /liveness */
    enum pg_state pg_state;   /* to publish in the member key and REST */
    enum pg_role pg_role;
    enum op_kind op;          /* what is running */
    bool checkpoint_pending;  /* leader: checkpoint after promotion not done yet */
    enum reason reason;       /* why it is as it is now */
    char reason_member[NAME_SIZE];
    int64_t reason_value;
};

/* Fills *ret_status as of now_ms, which may be later than the last step. */
void core_describe(const struct core *core, int64_t now_ms, struct core_status *ret_status);

#endif
