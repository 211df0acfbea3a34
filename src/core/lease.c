/* The session lease and the key that hangs on it.
 *
 * fence = moment the keepalive was sent + TTL of its answer - margin, and a keepalive counts
 * only once a linearizable read sent after its answer shows our key, on our lease, with our
 * create_revision, under the same raft term (DESIGN section 1): a deposed etcd leader answers
 * keepalives that renew nothing. */
#include <string.h>

#include "internal.h"

enum {
    UNCONFIRMED_PACE_MS = 50,
    LEASE_GONE_GRACE_MS = 500, /* to create the key anew once etcd knows our lease no more */
    TTL_MIN_MS = 2000          /* what etcd grants */
};

static int64_t wanted_ttl_ms(const struct core *core)
{
    return policy_of(core)->ttl_ms;
}

bool key_is_ours(const struct core *core)
{
    return core->key.create_revision != 0;
}

bool right_holds(const struct core *core)
{
    return key_is_ours(core) && core->key.fence_until_ms > core->now_ms;
}

int64_t right_until_ms(const struct core *core)
{
    return max_ms(core->key.fence_until_ms, core->grace_until_ms);
}

int64_t demote_lead_ms(const struct core *core)
{
    /* A right that was counted with a short ttl is not over because the next lease is long. */
    if (core->key.demote_lead_ms != 0)
        return core->key.demote_lead_ms;
    return policy_demote_lead_ms(core->lease.ttl_ms);
}

int64_t demote_at_ms(const struct core *core)
{
    int64_t until_ms = right_until_ms(core);

    if (until_ms == 0 && core->fence_sent_kind == FENCE_UNTIL)
        until_ms = core->fence_sent_until_ms; /* what the supervisor was told last */
    if (core->pause_is_confirmed || until_ms == 0)
        return INT64_MAX;
    return until_ms - demote_lead_ms(core);
}

void key_forget(struct core *core, int64_t revision)
{
    core->key = (struct core_key){
        .lost_revision = max_ms(revision, core->key.create_revision),
    };
    core->member_dirty = true;
}

const char *leader_name(const struct core *core)
{
    if (key_is_ours(core))
        return core->identity.name;
    if (core->view == NULL || !core->view->leader_present)
        return NULL;
    if (core->view->revision < core->key.lost_revision ||
        (core->view->leader_create_revision <= core->key.lost_revision &&
         strcmp(core->view->leader_name, core->identity.name) == 0 &&
         core->view->leader_lease_id == core->lease.id))
        /* The view is older than our own release. */
        return NULL;
    return core->view->leader_name;
}

static bool view_shows_our_key(const struct core *core, const struct view *view)
{
    return view->leader_present && strcmp(view->leader_name, core->identity.name) == 0 &&
           view->leader_lease_id != 0 &&
           (view->leader_lease_id == core->lease.id ||
            view->leader_lease_id == core->lease.next_id);
}

/* Once the move was asked for, the key may hang on either lease: our right ends with the first
 * of them. */
static void cap_by_next(struct core *core)
{
    const struct core_lease *lease = &core->lease;

    if (lease->next_id == 0)
        return;
    core->key.demote_lead_ms =
        min_ms(demote_lead_ms(core), policy_demote_lead_ms(lease->next_ttl_ms));
    core->key.fence_until_ms = min_ms(core->key.fence_until_ms,
                                      lease->next_sent_at_ms + lease->next_ttl_ms -
                                          policy_fence_margin_ms(lease->next_ttl_ms));
}

/* A ttl that was lowered shortens our right before it shortens the lease (see change_ttl()). */
static int64_t counted_ttl_ms(const struct core *core)
{
    if (!key_is_ours(core) || !core->policy_is_seen)
        return core->lease.ttl_ms;
    return min_ms(core->lease.ttl_ms, max_ms(wanted_ttl_ms(core), TTL_MIN_MS));
}

static void count_keepalive(struct core *core)
{
    struct core_lease *lease = &core->lease;
    int64_t ttl_ms = counted_ttl_ms(core);

    lease->renew_at_ms =
        min_ms(lease->renew_at_ms, lease->sent_at_ms + policy_renew_interval_ms(ttl_ms));

    core->key.fence_until_ms = lease->sent_at_ms + ttl_ms - policy_fence_margin_ms(ttl_ms);
    core->key.demote_lead_ms = policy_demote_lead_ms(ttl_ms);
    cap_by_next(core);
    core->key.confirm_wanted = false;
    core->grace_until_ms = 0;
}

static void take_key(struct step *step, int64_t create_revision)
{
    struct core *core = step->core;

    core->key.create_revision = create_revision;
    core->key.vanished_at_ms = 0;
    core->key.confirm_wanted = true;
    core->lease.renew_now = true;
    core->lease.was_lost = false;
    core->member_dirty = true;
    core->status_due = true;
}

void key_won(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    take_key(step, event->u.call.revision);
    /* The transaction itself is the proof that our key hangs on our lease. */
    if (event->u.call.raft_term == core->lease.raft_term &&
        event->u.call.sent_at_ms >= core->lease.answered_at_ms)
        count_keepalive(core);
}

/* The key hangs on the new lease. Nothing is known of it but its grant, so it is renewed at
 * once. */
static void adopt_next(struct core *core, int64_t revision)
{
    struct core_lease *lease = &core->lease;

    *lease = (struct core_lease){
        .id = lease->next_id,
        .ttl_ms = lease->next_ttl_ms,
        .asked_ttl_ms = lease->next_asked_ttl_ms,
        .sent_at_ms = lease->next_sent_at_ms,
        .answered_at_ms = core->now_ms,
        .renew_now = true,
    };
    core->key.moved_revision = revision;
    core->key.confirm_wanted = false;
    core->member_dirty = true;
}

/* Our key is not in a view that must know it. */
static void lose_key(struct step *step, const struct view *view)
{
    struct core *core = step->core;
    int64_t fence_until_ms = core->key.fence_until_ms;
    int64_t lead_ms = demote_lead_ms(core);

    key_forget(core, view->revision);
    if (view->leader_present)
        return;
    core->key.demote_lead_ms = lead_ms; /* whatever ttl the next lease has */
    /* Nobody has it: it was deleted under us. Until our old fence we may try to create it again;
     * whoever else takes it must wait that long, or hear from us that we stopped. */
    core->key.vanished_at_ms = core->now_ms;
    core->grace_until_ms = fence_until_ms;
    note(step, REASON_KEY_VANISHED, NULL, fence_until_ms - core->now_ms);
}

void lease_forget_store(struct step *step)
{
    struct core *core = step->core;

    if (key_is_ours(core))
        lose_key(step, core->view);
    core->key.lost_revision = 0;
    if (core->lease.id != 0)
        note(step, REASON_LEASE_LOST, NULL, core->lease.id);
    core->lease = (struct core_lease){.ttl_ms = core->lease.ttl_ms};
}

void lease_on_view(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    const struct view *view = event->u.view.view;
    bool is_shown = view_shows_our_key(core, view);

    if (event->u.view.from_read) {
        call_end(core, CALL_VIEW_READ, true);
        core->view_read_sent_at_ms = event->u.view.sent_at_ms;
        core->view_read_term = view->raft_term;
        core->etcd_seen_at_ms = core->now_ms;
        core->read_at_ms = core->now_ms + core->policy.loop_wait_ms;
    }
    if (!key_is_ours(core) && is_shown && view->revision > core->key.lost_revision) {
        /* A write whose answer was lost, or the agent before us. */
        note(step, REASON_RACE_WON, NULL, view->leader_create_revision);
        race_won(core);
        take_key(step, view->leader_create_revision);
    }
    if (key_is_ours(core) && is_shown && core->lease.next_id != 0 &&
        view->leader_lease_id == core->lease.next_id)
        adopt_next(core, view->revision); /* the answer to the move was lost */
    if (key_is_ours(core) && view->revision >= core->key.create_revision &&
        view->revision >= core->key.moved_revision &&
        !(is_shown && view->leader_create_revision == core->key.create_revision))
        lose_key(step, view);
    if (!event->u.view.from_read || !key_is_ours(core) || !core->key.confirm_wanted)
        return;
    if (view->raft_term != core->lease.raft_term) {
        explain(step, REASON_LEASE_UNCONFIRMED, NULL, 0);
        core->key.confirm_wanted = false; /* the next keepalive is confirmed by a read of its own */
        core->lease.renew_at_ms =
            min_ms(core->lease.renew_at_ms, core->now_ms + UNCONFIRMED_PACE_MS);
    } else if (view->leader_lease_id == core->lease.id &&
               event->u.view.sent_at_ms >= core->lease.answered_at_ms) {
        count_keepalive(core);
    }
}

/* etcd does not know our lease any more. Either it was taken from us, or our clock stood still
 * while it ran out (a virtual machine was paused), and then nobody waits for our fence. So what
 * is left of the right is the time in which the key can be created again. */
static void shorten_right(struct core *core)
{
    int64_t until_ms = core->now_ms + LEASE_GONE_GRACE_MS + demote_lead_ms(core);

    core->key.fence_until_ms = min_ms(core->key.fence_until_ms, until_ms);
    core->grace_until_ms = min_ms(core->grace_until_ms, until_ms);
}

static void on_lease_gone(struct step *step)
{
    struct core *core = step->core;

    note(step, REASON_LEASE_LOST, NULL, core->lease.id);
    shorten_right(core);
    core->lease = (struct core_lease){.ttl_ms = core->lease.ttl_ms, .was_lost = true};
    core->read_at_ms = core->now_ms;
}

static void on_grant(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    struct core_lease *lease = &core->lease;

    note(step, REASON_LEASE_GRANTED, NULL, event->u.call.lease_id);
    if (lease->id != 0 &&
        (key_is_ours(core) || core->calls[CALL_LEADER_ACQUIRE].in_flight)) {
        /* The key hangs on the old one, or will in a moment. */
        lease->next_id = event->u.call.lease_id;
        lease->next_ttl_ms = event->u.call.ttl_ms;
        lease->next_sent_at_ms = event->u.call.sent_at_ms;
        lease->next_asked_ttl_ms = lease->asking_ttl_ms;
        return;
    }
    *lease = (struct core_lease){
        .id = event->u.call.lease_id,
        .ttl_ms = event->u.call.ttl_ms,
        .asked_ttl_ms = lease->asking_ttl_ms,
        .sent_at_ms = event->u.call.sent_at_ms,
        .answered_at_ms = core->now_ms,
        .raft_term = event->u.call.raft_term,
        .renew_at_ms = event->u.call.sent_at_ms + policy_renew_interval_ms(event->u.call.ttl_ms),
        .was_lost = lease->was_lost,
    };
    core->member_dirty = true;
    core->calls[CALL_LEADER_ACQUIRE].retry_at_ms = 0; /* it failed for want of a lease */
}

static void on_move(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (core->lease.next_id == 0)
        return; /* a view was faster than this answer */
    if (event->u.call.outcome == OUTCOME_OK) {
        adopt_next(core, event->u.call.revision);
        return;
    }
    if (event->u.call.outcome == OUTCOME_LEASE_GONE)
        core->lease.next_id = 0; /* it waited too long: another one is granted */
    core->read_at_ms = core->now_ms;
}

void lease_on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    enum call_outcome outcome = event->u.call.outcome;

    if (event->u.call.call == CALL_LEASE_GRANT && outcome == OUTCOME_OK)
        on_grant(step, event);
    if (event->u.call.call == CALL_LEADER_MOVE)
        on_move(step, event);
    if (event->u.call.call != CALL_LEASE_KEEPALIVE)
        return;
    if (outcome == OUTCOME_LEASE_GONE || (outcome == OUTCOME_OK && event->u.call.ttl_ms <= 0)) {
        if (core->lease.id == event->u.call.lease_id)
            on_lease_gone(step);
    } else if (outcome == OUTCOME_OK && core->lease.id == event->u.call.lease_id) {
        core->lease.sent_at_ms = event->u.call.sent_at_ms;
        core->lease.answered_at_ms = core->now_ms;
        core->lease.raft_term = event->u.call.raft_term;
        core->lease.ttl_ms = event->u.call.ttl_ms;
        core->lease.renew_now = false;
        core->lease.renew_at_ms =
            event->u.call.sent_at_ms + policy_renew_interval_ms(counted_ttl_ms(core));
        core->key.confirm_wanted = key_is_ours(core);
    }
}

static void grant(struct step *step)
{
    struct action *action = call_begin(step, CALL_LEASE_GRANT);

    action->u.call.ttl_ms = wanted_ttl_ms(step->core);
    step->core->lease.asking_ttl_ms = action->u.call.ttl_ms;
}

/* Whatever fence the supervisor holds ends before a lease of the wanted ttl would. One that is
 * stopped holds the longest that it was ever told, so the fence is shortened first, and the
 * lease once that one is nearly over. */
static bool may_shorten(const struct core *core)
{
    int64_t ttl_ms = wanted_ttl_ms(core);

    return !key_is_ours(core) ||
           core->fence_longest_ms <= core->now_ms + ttl_ms - policy_fence_margin_ms(ttl_ms);
}

/* The lease has another ttl than the policy: a new one is needed, and the key must move onto it. */
static void change_ttl(struct step *step)
{
    struct core *core = step->core;
    struct core_lease *lease = &core->lease;

    if (lease->next_id != 0) {
        if (!key_is_ours(core)) {
            if (!core->calls[CALL_LEADER_ACQUIRE].in_flight)
                lease->next_id = 0;
        } else if (call_is_ready(core, CALL_LEADER_MOVE)) {
            struct action *action = call_begin(step, CALL_LEADER_MOVE);
            action->u.call.lease_id = lease->next_id;
            cap_by_next(core);
        }
        return;
    }
    /* Not while a key may be on its way onto this one. */
    if (lease->asked_ttl_ms != wanted_ttl_ms(core) && !core->bootstrapping && may_shorten(core) &&
        !core->calls[CALL_LEADER_ACQUIRE].in_flight && call_is_ready(core, CALL_LEASE_GRANT))
        grant(step);
}

void lease_upkeep(struct step *step)
{
    struct core *core = step->core;
    struct core_lease *lease = &core->lease;
    bool read_wanted = core->view == NULL || core->key.confirm_wanted ||
                       core->read_at_ms <= core->now_ms;

    if (core->view != NULL && lease->id == 0) {
        if (call_is_ready(core, CALL_LEASE_GRANT))
            grant(step);
    } else if (lease->id != 0) {
        if (core->view != NULL)
            change_ttl(step);
        if ((lease->renew_now || lease->renew_at_ms <= core->now_ms) &&
            call_is_ready(core, CALL_LEASE_KEEPALIVE))
            (void)call_begin(step, CALL_LEASE_KEEPALIVE);
    }
    /* A read sent while a keepalive is under way could not confirm it. */
    if (core->key.confirm_wanted && core->calls[CALL_LEASE_KEEPALIVE].in_flight &&
        core->read_at_ms > core->now_ms)
        read_wanted = false;
    if (read_wanted && call_is_ready(core, CALL_VIEW_READ))
        (void)call_begin(step, CALL_VIEW_READ);
}
