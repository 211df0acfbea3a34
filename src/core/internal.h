/* What the files of the core share. One step: absorb the event, then decide() from the top. */
#ifndef PGHEIR_CORE_INTERNAL_H
#define PGHEIR_CORE_INTERNAL_H

#include "pgheir/core/core.h"

/* A step in the making. */
struct step {
    struct core *core;
    struct actions *actions;
};

/* --- emit.c: actions and their bookkeeping --------------------------------------------------- */

/* Records why, for the log, REST and the simulator. member may be NULL. */
void note(struct step *step, enum reason reason, const char *member, int64_t value);
/* As note(), and it becomes the standing reason of the node; an unchanged one is not repeated. */
void explain(struct step *step, enum reason reason, const char *member, int64_t value);
/* May a call of this kind be sent now: none under way, and its back-off is over. */
bool call_is_ready(const struct core *core, enum call call);
/* Begins a call; returns the action so that the caller may add guards. Precondition:
 * call_is_ready(). */
struct action *call_begin(struct step *step, enum call call);
/* Begins an operation. Precondition: none is running. */
struct action *op_begin(struct step *step, enum op_kind kind, const char *source);
void op_cancel(struct step *step);
/* After its completion: back-off and counting. */
void call_end(struct core *core, enum call call, bool worked);
void stop_server(struct step *step, enum stop_mode mode, int64_t deadline_ms, bool handover);
void history_ask(struct step *step, const char *leader, int64_t wait_ms);
void slot_change(struct step *step, enum action_kind kind, const char *name, uint64_t lsn);
void conf_apply(struct step *step);
void reply(struct step *step, uint32_t request_id, enum reply_code code);
void state_save(struct step *step);
/* Asks the peers; returns the id to compare with the answer's. only may be NULL. */
uint32_t peers_ask(struct step *step, int64_t wait_ms, const char *only);
void exit_agent(struct step *step, int32_t code);
void fence_send(struct step *step);

/* --- lease.c: the session lease, the key's confirmation, reads ------------------------------- */

bool key_is_ours(const struct core *core);
/* Key ours and the confirmed fence ahead. */
bool right_holds(const struct core *core);
/* Until when a writer that runs may go on: the confirmed fence, or the grace that stands in for
 * it. */
int64_t right_until_ms(const struct core *core);
/* When demotion must begin; INT64_MAX if no right is held. */
int64_t demote_at_ms(const struct core *core);
/* How long before the end of the right that is. */
int64_t demote_lead_ms(const struct core *core);
/* The keys live in another etcd from now on: nothing of ours is in it. */
void lease_forget_store(struct step *step);
void lease_on_call(struct step *step, const struct event *event);
void lease_on_view(struct step *step, const struct event *event);
void lease_upkeep(struct step *step);
/* Our ACQUIRE or COMMIT worked: the key is ours from its revision on. */
void key_won(struct step *step, const struct event *event);
/* We do not have the key any more (released, lost). revision: of the proof, 0 unknown. */
void key_forget(struct core *core, int64_t revision);
/* The leader as we know it: our own newer knowledge before the view. NULL: nobody. */
const char *leader_name(const struct core *core);

/* --- guard.c: a primary without the right to be one ------------------------------------------ */

/* First act of every step. Returns true if a demotion is under way: nothing else is decided
 * then. */
bool guard_demote(struct step *step);
/* The fence that the supervisor should hold now. */
void fence_wanted(const struct core *core, enum fence_kind *ret_kind, int64_t *ret_until_ms);

/* --- serve.c: the holder of the key ----------------------------------------------------------- */

void serve(struct step *step);
/* Gives the key up without a candidate because we cannot serve. */
void serve_release_unfit(struct step *step, enum reason why);
void serve_on_release(struct step *step, const struct event *event);
void serve_on_call(struct step *step, const struct event *event);
/* The server ended although nobody of us asked. */
void serve_count_crash(struct step *step);
void serve_on_op(struct step *step, enum op_kind kind, enum op_result result);

/* --- race.c: no leader
 * ------------------------------------------------------------------------- */

void race(struct step *step);
void race_on_peers(struct step *step, const struct event *event);
void race_on_call(struct step *step, const struct event *event);
void race_on_view(struct step *step);
/* The key is ours: until when its former holder may still write. Whoever learns it first calls
 * it. */
void race_won(struct core *core);
enum reason race_regret(const struct core *core, int64_t *ret_value);
void race_watch_holder(struct step *step);

/* --- follow.c: somebody else leads, or nobody and we wait as a standby
 * -------------------------- */

void follow(struct step *step);
void follow_on_history(struct step *step, const struct event *event);
void follow_on_op(struct step *step, enum op_kind kind, enum op_result result);
/* Brings a stopped server up as a standby of nobody. */
void follow_start_alone(struct step *step);

/* --- diverge.c: pure comparison of histories
 * ---------------------------------------------------- */

/* May a server at (timeline, lsn) follow a leader whose timeline and history rows these are? */
bool diverge_can_follow(uint32_t timeline, uint64_t lsn, uint32_t leader_timeline,
                        const struct history_row *rows, int32_t count);

/* --- bootstrap.c: no data yet
 * -------------------------------------------------------------------- */

/* Returns true if there is no usable data directory: nothing else can be decided. */
bool bootstrap(struct step *step);
void bootstrap_on_call(struct step *step, const struct event *event);
void bootstrap_on_op(struct step *step, enum op_kind kind, enum op_result result);

/* --- handover.c: switchover, failover by a person, clean stop
 * ------------------------------------ */

/* On the holder of the key. Returns true if a handover is under way. */
bool handover(struct step *step);
void handover_begin_shutdown(struct step *step);
void handover_on_peers(struct step *step, const struct event *event);
void handover_on_op(struct step *step, enum op_kind kind, enum op_result result);
void handover_on_call(struct step *step, const struct event *event);
/* Ends it; the failover key is cleared if the request came from there. */
void handover_end(struct step *step);

/* --- people.c: restart, reinit, pause, stop
 * -------------------------------------------------------- */

void people_on_request(struct step *step, const struct event *event);
void people_on_op(struct step *step, enum op_kind kind, enum op_result result);
/* Returns true if a request by a person is being carried out. */
bool people_serve(struct step *step);
/* Paused: what is still done. */
void people_pause(struct step *step);
/* SIGTERM and not the leader. */
void people_stop(struct step *step);

/* --- keep.c: housekeeping: member, status, history, configuration, slots
 * -------------------------- */

void keep_house(struct step *step);
void keep_on_call(struct step *step, const struct event *event);
void slots_keep(struct step *step);
/* A member came, or we became a primary: its slot is not to wait for the next turn of the house. */
bool slots_are_due(const struct core *core);

/* --- status.c
 * --------------------------------------------------------------------------------------- */

enum pg_state status_pg_state(const struct core *core);
enum pg_role status_pg_role(const struct core *core);

/* --- small helpers
 * ----------------------------------------------------------------------------------- */

static inline const struct policy *policy_of(const struct core *core)
{
    return &core->policy;
}

static inline bool server_is_down(const struct core *core)
{
    return core->local->postmaster == POSTMASTER_DOWN;
}

static inline bool server_is_running_standby(const struct core *core)
{
    return core->local->postmaster == POSTMASTER_UP && core->local->sql_valid &&
           core->local->in_recovery;
}

static inline bool op_is_running(const struct core *core)
{
    return core->op.kind != OP_NONE;
}

static inline int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_ms(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
