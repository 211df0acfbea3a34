/* Each enum call as one etcd request, exactly as model/event.h and model/action.h say, and each
 * answer as one event. Every guard stands in the transaction; after an unknown result the core
 * reads again. */
#include "agent.h"
#include "etcd_plan.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

struct call_run {
    struct etcd_calls *calls;
    enum call call;
    struct etcd_request *request; /* NULL: not under way */
    int64_t lease_id;
    uint64_t sysid;
};

struct etcd_calls {
    struct agent *agent;
    struct call_run runs[CALL_COUNT];
    struct job *history_job; /* reads the local history file for HISTORY_PUT */
    struct action history_action;
};

/* ---- Completion ---- */

static enum call_outcome
calls_outcome(const struct etcd_result *result)
{
    switch (result->outcome) {
    case ETCD_OK:
        return OUTCOME_OK;
    case ETCD_REFUSED:
        return OUTCOME_REFUSED;
    case ETCD_LEASE_NOT_FOUND:
        return OUTCOME_LEASE_GONE;
    case ETCD_UNKNOWN:
        return OUTCOME_UNKNOWN;
    case ETCD_CANCELLED:
        return result->sent_at_ms != 0 ? OUTCOME_UNKNOWN : OUTCOME_UNAVAILABLE;
    case ETCD_UNAVAILABLE:
    case ETCD_AUTH_FAILED:
    case ETCD_INVALID:
    case ETCD_OUTCOME_COUNT:
        break;
    }
    return OUTCOME_UNAVAILABLE;
}

static bool
kv_is_text(const struct etcd_kv *kv, const char *text)
{
    return kv != NULL && kv->value_length == strlen(text) &&
           memcmp(kv->value, text, kv->value_length) == 0;
}

/* What the idx-th read of the failure branch found; NULL: the key is absent. */
static const struct etcd_kv *
calls_read(const struct etcd_result *result, size_t idx)
{
    const struct etcd_answer *answer = result->answer;

    if (idx >= answer->op_count || answer->ops[idx].kv_count == 0)
        return NULL;
    return &answer->ops[idx].kvs[0];
}

/* A guard did not hold: because our own first run, whose answer got lost, had been applied
 * (ET-07)? */
static bool
calls_is_own_doing(const struct call_run *run, const struct etcd_result *result,
                   int64_t *ret_revision)
{
    const char *name = run->calls->agent->identity.name;
    const struct etcd_kv *first = calls_read(result, 0);
    char sysid[32];

    if (run->call == CALL_LEADER_ACQUIRE && kv_is_text(first, name) &&
        first->lease_id == run->lease_id) {
        *ret_revision = first->create_revision;
        return true;
    }
    if (run->call == CALL_INIT_RACE && kv_is_text(first, "") && first->lease_id == run->lease_id) {
        *ret_revision = first->mod_revision;
        return true;
    }
    if (run->call == CALL_INIT_COMMIT || run->call == CALL_INIT_WRITE) {
        const struct etcd_kv *leader = calls_read(result, 1);

        (void)str_format(sysid, sizeof(sysid), "%llu", (unsigned long long)run->sysid);
        if (!kv_is_text(first, sysid))
            return false;
        if (run->call == CALL_INIT_WRITE)
            return true;
        if (!kv_is_text(leader, name) || leader->lease_id != run->lease_id)
            return false;
        *ret_revision = leader->create_revision;
        return true;
    }
    if (!result->is_repeat)
        return false;
    if (run->call == CALL_LEADER_RELEASE || run->call == CALL_INIT_ABORT)
        return first == NULL;
    return run->call == CALL_FAILOVER_CLEAR && kv_is_text(first, "{}");
}

static void
calls_log_failure(const struct call_run *run, const struct etcd_result *result)
{
    if (result->outcome == ETCD_AUTH_FAILED || result->outcome == ETCD_INVALID)
        log_error("etcd refuses %s: %s", call_text(run->call), result->err->text);
    else if (result->outcome != ETCD_OK && result->outcome != ETCD_REFUSED)
        log_debug("%s outcome=%s: %s", call_text(run->call),
                  etcd_outcome_text(result->outcome), result->err->text);
}

static void
calls_on_done(const struct etcd_result *result, void *arg)
{
    struct call_run *run = arg;
    struct agent *agent = run->calls->agent;
    const struct etcd_answer *answer = result->answer;
    struct event event = {.kind = EVENT_CALL};

    run->request = NULL;
    if (agent->is_exiting)
        return;
    calls_log_failure(run, result);
    if (result->outcome == ETCD_OK || result->outcome == ETCD_REFUSED)
        cluster_note_answer(agent->cluster);
    if (run->call == CALL_VIEW_READ && result->outcome == ETCD_OK) {
        cluster_take_range(agent->cluster, answer);
        agent_mark_view_read(agent, result->sent_at_ms);
        return;
    }
    event.u.call.call = run->call;
    event.u.call.outcome = calls_outcome(result);
    event.u.call.sent_at_ms = result->sent_at_ms;
    event.u.call.raft_term = answer->header.raft_term;
    event.u.call.revision = answer->header.revision;
    event.u.call.lease_id = run->call == CALL_LEASE_GRANT ? answer->lease_id : run->lease_id;
    event.u.call.ttl_ms = answer->lease_ttl_ms;
    if (run->call == CALL_LEASE_ASK && result->outcome == ETCD_LEASE_NOT_FOUND)
        event.u.call.outcome = OUTCOME_OK; /* a good answer: nothing is left of it */
    if (event.u.call.outcome == OUTCOME_REFUSED &&
        calls_is_own_doing(run, result, &event.u.call.revision))
        event.u.call.outcome = OUTCOME_OK;
    agent_post(agent, &event);
}

static void
calls_complete(struct etcd_calls *calls, enum call call, enum call_outcome outcome,
               int64_t sent_at_ms)
{
    struct event event = {.kind = EVENT_CALL};

    event.u.call.call = call;
    event.u.call.outcome = outcome;
    event.u.call.sent_at_ms = sent_at_ms;
    agent_post(calls->agent, &event);
}

static void
calls_run_plan(struct etcd_calls *calls, struct plan *plan, const struct action *action,
               int64_t now_ms)
{
    enum call call = action->u.call.call;
    struct etcd_txn txn = {.compares = plan->compares,
                           .compare_count = plan->compare_count,
                           .success = plan->success,
                           .success_count = plan->success_count,
                           .failure = plan->failure,
                           .failure_count = plan->failure_count};

    if (plan->is_broken) {
        log_error("%s is larger than etcd would take: not written", call_text(call));
        calls_complete(calls, call, OUTCOME_UNAVAILABLE, now_ms);
        return;
    }
    if (plan_is_idle(plan, action)) {
        calls_complete(calls, call, OUTCOME_OK, 0); /* 0: etcd was not asked */
        return;
    }
    /* Every plan either has guards by which a repetition is recognised, or puts the same again. */
    calls->runs[call].request = etcd_txn_run(calls->agent->etcd, &txn, true,
                                             action->u.call.deadline_ms, calls_on_done,
                                             &calls->runs[call]);
}

/* ---- HISTORY_PUT: the local file first ---- */

struct history_read {
    struct pg_site site;
    uint32_t timeline;
};

struct history_file {
    int64_t switched_wall_ms;
    struct pg_history history;
};

static enum rc
history_work(void *arg, struct buf *answer, struct err *err)
{
    const struct history_read *read = arg;
    struct history_file *file = mem_new(1, sizeof(*file));
    enum rc rc = pg_history_read(&read->site, read->timeline, &file->history, err);

    if (rc == RC_OK)
        file->switched_wall_ms = etcd_text_history_time(&read->site, read->timeline);
    if (rc == RC_OK)
        rc = buf_append(answer, file, sizeof(*file));
    mem_free(file);
    return rc;
}

static void
history_on_read(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct etcd_calls *calls = arg;
    const struct action *action = &calls->history_action;
    const struct history_file *file = answer;
    struct plan plan;

    calls->history_job = NULL;
    if (rc != RC_OK || length != sizeof(*file)) {
        log_warning("cannot read the history of timeline %u: %s", action->u.call.timeline,
                    err->text);
        calls_complete(calls, CALL_HISTORY_PUT, OUTCOME_UNAVAILABLE, clock_boot_ms());
        return;
    }
    plan_init(&plan, calls->agent);
    plan_build_history(&plan, action, &file->history, file->switched_wall_ms);
    calls_run_plan(calls, &plan, action, clock_boot_ms());
    plan_done(&plan);
}

static void
calls_begin_history(struct etcd_calls *calls, const struct action *action, int64_t now_ms)
{
    struct history_read read = {.site = calls->agent->site, .timeline = action->u.call.timeline};
    struct job_spec spec = {.name = "read history",
                            .work = history_work,
                            .work_arg = &read,
                            .deadline_ms = action->u.call.deadline_ms,
                            .on_done = history_on_read,
                            .arg = calls};
    struct err err;

    calls->history_action = *action;
    if (job_start(calls->agent->loop, &spec, &calls->history_job, &err) == RC_OK)
        return;
    log_warning("cannot read the history of timeline %u: %s", read.timeline, err.text);
    calls_complete(calls, CALL_HISTORY_PUT, OUTCOME_UNAVAILABLE, now_ms);
}

/* ---- The one way in ---- */

/* True if the call is none of our transactions and has been sent. */
static bool
calls_begin_plain(struct etcd_calls *calls, const struct action *action)
{
    struct etcd *etcd = calls->agent->etcd;
    enum call call = action->u.call.call;
    struct call_run *run = &calls->runs[call];
    int64_t deadline_ms = action->u.call.deadline_ms;

    if (call == CALL_LEASE_GRANT)
        run->request = etcd_lease_grant(etcd, action->u.call.ttl_ms, deadline_ms, calls_on_done,
                                        run);
    else if (call == CALL_LEASE_KEEPALIVE)
        run->request = etcd_lease_keepalive(etcd, action->u.call.lease_id, deadline_ms,
                                            calls_on_done, run);
    else if (call == CALL_LEASE_ASK)
        run->request = etcd_lease_time_to_live(etcd, action->u.call.lease_id, deadline_ms,
                                               calls_on_done, run);
    else if (call == CALL_VIEW_READ)
        run->request = etcd_range(etcd, calls->agent->prefix, true, ETCD_READ_LINEARIZABLE,
                                  deadline_ms, calls_on_done, run);
    return run->request != NULL;
}

void
etcd_calls_begin(struct etcd_calls *calls, const struct action *action, int64_t now_ms)
{
    struct call_run *run = &calls->runs[action->u.call.call];
    struct plan *plan;

    pgh_assert(action->u.call.call < CALL_COUNT);
    pgh_assert(run->request == NULL);
    run->lease_id = action->u.call.lease_id;
    run->sysid = action->u.call.sysid;
    if (action->u.call.call == CALL_HISTORY_PUT) {
        calls_begin_history(calls, action, now_ms);
        return;
    }
    if (calls_begin_plain(calls, action))
        return;
    plan = mem_new(1, sizeof(*plan));
    plan_init(plan, calls->agent);
    plan_build(plan, action);
    calls_run_plan(calls, plan, action, now_ms);
    plan_done(plan);
    mem_free(plan);
}

struct etcd_calls *
etcd_calls_new(struct agent *agent)
{
    struct etcd_calls *calls = mem_new(1, sizeof(*calls));

    calls->agent = agent;
    for (int i = 0; i < CALL_COUNT; i++) {
        calls->runs[i].calls = calls;
        calls->runs[i].call = (enum call)i;
    }
    return calls;
}

void
etcd_calls_free(struct etcd_calls *calls)
{
    if (calls == NULL)
        return;
    for (int i = 0; i < CALL_COUNT; i++)
        if (calls->runs[i].request != NULL)
            etcd_request_cancel(calls->runs[i].request);
    job_free(calls->history_job);
    mem_free(calls);
}
