/* No data yet: make the cluster, or clone from it. A directory that is not ours to fill is left
 * alone. */
#include <string.h>

#include "internal.h"

/* Where to copy from: a running member that offers itself, else the leader. */
static const char *clone_source(const struct core *core, const struct member *leader)
{
    const struct view *view = core->view;

    if (core->request.from_leader)
        return leader->name;
    for (int32_t i = 0; i < view->member_count; i++) {
        const struct member *member = &view->members[i];
        if (member->tags.clonefrom && member->state == PG_STATE_RUNNING &&
            member->conn_host[0] != '\0' && strcmp(member->name, leader->name) != 0 &&
            strcmp(member->name, core->identity.name) != 0)
            return member->name;
    }
    return leader->name;
}

static void clone(struct step *step, const struct member *leader)
{
    struct core *core = step->core;

    if (core->view->init_state != INIT_DONE || core->follow.clone_at_ms > core->now_ms ||
        leader->role != PG_ROLE_PRIMARY || leader->state != PG_STATE_RUNNING) {
        if (core->follow.clone_failures == 0)
            explain(step, REASON_WAIT_LEADER_TO_CLONE, leader->name, 0);
        return;
    }
    const char *source = clone_source(core, leader);
    explain(step, REASON_CLONE_BEGIN, source, core->follow.clone_failures);
    (void)op_begin(step, OP_CLONE, source);
}

static void begin_bootstrap(struct step *step, int64_t revision)
{
    struct core *core = step->core;

    core->bootstrapping = true;
    core->bootstrap_revision = revision;
    explain(step, REASON_BOOTSTRAP_BEGIN, NULL, 0);
    (void)op_begin(step, OP_BOOTSTRAP, NULL);
}

static void make_cluster(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;

    if (core->cluster_is_known || view->init_state == INIT_INVALID) {
        /* If the key is gone now, somebody removed it: the cluster is still there (hazard
         * ET-05). */
        explain(step, REASON_WAIT_LEADER_TO_CLONE, NULL, 0);
        return;
    }
    if (view->init_state == INIT_RUNNING) {
        if (view->init_lease_id == core->lease.id && core->lease.id != 0)
            begin_bootstrap(step, view->init_mod_revision); /* won, but we were not told */
        else
            explain(step, REASON_WAIT_BOOTSTRAP, NULL, 0);
        return;
    }
    if (!core->identity.may_bootstrap || core->identity.tags.nofailover) {
        explain(step, REASON_BOOTSTRAP_NOT_ALLOWED, NULL, 0);
        return;
    }
    if (core->lease.id != 0 && call_is_ready(core, CALL_INIT_RACE)) {
        explain(step, REASON_BOOTSTRAP_RACE, NULL, 0);
        (void)call_begin(step, CALL_INIT_RACE);
    }
}

static void fail_bootstrap(struct step *step)
{
    struct core *core = step->core;

    core->bootstrapping = false;
    note(step, REASON_BOOTSTRAP_FAILED, NULL, 0);
    if (call_is_ready(core, CALL_INIT_ABORT))
        (void)call_begin(step, CALL_INIT_ABORT);
    exit_agent(step, 1);
}

/* Between initdb and the commit. The empty "initialize" hangs on our lease. */
static void continue_bootstrap(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;
    bool is_ours = view->init_state == INIT_RUNNING && view->init_lease_id == core->lease.id;

    if (op_is_running(core))
        return;
    if (key_is_ours(core)) {
        core->bootstrapping = false; /* a commit whose answer was lost */
        return;
    }
    if (!is_ours && view->revision >= core->bootstrap_revision) {
        fail_bootstrap(step);
        return;
    }
    if (is_ours && core->local->data_dir == DATA_DIR_VALID &&
        call_is_ready(core, CALL_INIT_COMMIT)) {
        struct action *action = call_begin(step, CALL_INIT_COMMIT);
        action->u.call.sysid = core->local->sysid;
        action->u.call.mod_revision = view->init_mod_revision;
    }
}

void bootstrap_on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    bool is_ok = event->u.call.outcome == OUTCOME_OK;

    if (event->u.call.call == CALL_INIT_RACE) {
        core->read_at_ms = core->now_ms;
        if (is_ok && !op_is_running(core) && core->local->data_dir == DATA_DIR_EMPTY)
            begin_bootstrap(step, event->u.call.revision);
    }
    if (event->u.call.call == CALL_INIT_COMMIT && core->bootstrapping) {
        core->read_at_ms = core->now_ms;
        if (is_ok) {
            core->bootstrapping = false;
            key_won(step, event);
            note(step, REASON_BOOTSTRAP_DONE, NULL, 0);
        } else if (event->u.call.outcome == OUTCOME_REFUSED) {
            fail_bootstrap(step);
        }
    }
}

void bootstrap_on_op(struct step *step, enum op_kind kind, enum op_result result)
{
    if (kind == OP_BOOTSTRAP && result != OP_RESULT_OK && step->core->bootstrapping)
        fail_bootstrap(step);
}

static void no_data(struct step *step)
{
    struct core *core = step->core;
    const struct member *leader = view_leader_member(core->view);

    if (op_is_running(core))
        return;
    if (key_is_ours(core)) {
        serve(step); /* gives it up */
        return;
    }
    if (leader != NULL)
        clone(step, leader);
    else if (leader_name(core) == NULL)
        make_cluster(step);
}

bool bootstrap(struct step *step)
{
    struct core *core = step->core;

    if (core->bootstrapping) {
        continue_bootstrap(step);
        return core->bootstrapping || core->exiting;
    }
    switch (core->local->data_dir) {
    case DATA_DIR_UNKNOWN:
        return true;
    case DATA_DIR_VALID:
    case DATA_DIR_HALF:
        return false;
    case DATA_DIR_EMPTY:
        if (core->local->postmaster != POSTMASTER_DOWN)
            break;
        no_data(step);
        return true;
    case DATA_DIR_WAITING:
        if (core->request.reinit)
            no_data(step);
        else
            explain(step, REASON_WAIT_VOLUME, NULL, 0);
        return true;
    case DATA_DIR_FOREIGN:
        note(step, REASON_FOREIGN_DIRECTORY, NULL, 0);
        exit_agent(step, 1);
        return true;
    case DATA_DIR_GONE:
        break;
    }
    /* Gone, or emptied under a running server: it must not go on, and nothing is filled in. */
    explain(step, REASON_DIRECTORY_GONE, NULL, 0);
    if (core->local->postmaster != POSTMASTER_DOWN && !op_is_running(core))
        stop_server(step, STOP_IMMEDIATE, core->now_ms + 1000, false);
    else if (key_is_ours(core))
        serve(step);
    return true;
}
