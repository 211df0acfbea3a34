/* switchover and failover: ctl.md 4.1. */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/view_json.h"

enum {
    WATCH_MS_MIN = 10 * 1000,
    MARGIN_MS = 60 * 1000, /* the agent answers by itself long before */
    TEXT_MAX = 16 * 1024
};

/* What is being asked for. */
struct change {
    struct ctl *ctl;
    bool is_failover;
    bool force;
    struct ctl_cluster cluster;
    const char *leader_now; /* NULL: none */
    struct buf leader;      /* as given or confirmed; switchover only */
    struct buf candidate;
    char scheduled_at[CTL_TIME_SIZE];
};

static const char *action_text(const struct change *change)
{
    return change->is_failover ? "failover" : "switchover";
}

static bool is_candidate(const struct change *change, const struct member *member)
{
    return !member->tags.nofailover && !str_equal(member->name, change->leader_now);
}

static int choose_leader(struct change *change, const char *given)
{
    const json_t *config = view_map_config(change->cluster.map);
    bool is_standby = json_is_object(json_object_get(config, "standby_cluster"));

    if (change->leader_now == NULL)
        return ctl_fail("This cluster has no leader");
    if (given != NULL || change->force)
        (void)buf_puts(&change->leader, given != NULL ? given : change->leader_now);
    else if (!ctl_prompt(is_standby ? "Standby Leader" : "Primary", change->leader_now,
                         &change->leader))
        return ctl_aborted();
    if (!str_equal(buf_text(&change->leader), change->leader_now))
        return ctl_fail("Member %s is not the leader of cluster %s", buf_text(&change->leader),
                        change->cluster.name);
    return CTL_DONE;
}

/* Candidate ['node2', 'node3'] */
static int put_candidates(const struct change *change, struct buf *question)
{
    const struct view *view = change->cluster.view;
    int count = 0;

    (void)buf_puts(question, "Candidate ["); /* 64 names fit */
    for (int i = 0; i < view->member_count; i++) {
        if (is_candidate(change, &view->members[i]))
            (void)buf_printf(question, "%s'%s'", count++ == 0 ? "" : ", ",
                             view->members[i].name);
    }
    (void)buf_puts(question, "]");
    return count;
}

static int check_candidate(const struct change *change)
{
    const char *name = buf_text(&change->candidate);
    const struct member *member = view_find_member(change->cluster.view, name);

    if (change->is_failover && name[0] == '\0')
        return ctl_fail("Failover could be performed only to a specific candidate");
    if (name[0] == '\0' || (member != NULL && is_candidate(change, member)))
        return CTL_DONE;
    if (str_equal(name, change->leader_now))
        return ctl_fail("Member %s is already the leader of cluster %s", name,
                        change->cluster.name);
    return ctl_fail("Member %s does not exist in cluster %s or is tagged as nofailover", name,
                    change->cluster.name);
}

static int choose_candidate(struct change *change, const char *given)
{
    struct buf question;
    int code = CTL_DONE;

    buf_init(&question, TEXT_MAX);
    if (put_candidates(change, &question) == 0)
        code = ctl_fail("No candidates found to %s to", action_text(change));
    else if (given != NULL)
        (void)buf_puts(&change->candidate, given);
    else if (!change->force && !ctl_prompt(buf_text(&question), "", &change->candidate))
        code = ctl_aborted();
    buf_done(&question);
    return code == CTL_DONE ? check_candidate(change) : code;
}

static bool is_in_sync(const struct view *view, const char *name)
{
    if (str_equal_nocase(view->sync_leader, name))
        return true;
    for (int i = 0; i < view->sync_count; i++) {
        if (str_equal_nocase(view->sync_standby[i], name))
            return true;
    }
    return false;
}

static bool is_synchronous(const struct change *change)
{
    const json_t *mode =
        json_object_get(view_map_config(change->cluster.map), "synchronous_mode");
    bool is_on = false;

    return str_equal_nocase(json_string_value(mode), "quorum") ||
           (policy_json_bool(mode, &is_on) && is_on);
}

static int confirm_asynchronous(const struct change *change)
{
    const struct view *view = change->cluster.view;
    const char *name = buf_text(&change->candidate);
    struct buf question;
    bool is_yes = false;
    bool is_read;

    /* A synchronous mode that has come into force shows in the key sync: it names its leader. */
    if (change->force || !change->is_failover || !is_synchronous(change) ||
        view->sync_leader[0] == '\0' || is_in_sync(view, name))
        return CTL_DONE;
    buf_init(&question, TEXT_MAX);
    (void)buf_printf(&question, "Are you sure you want to failover to the asynchronous node %s?",
                     name);
    is_read = ctl_confirm(buf_text(&question), &is_yes);
    buf_done(&question);
    if (!is_read)
        return ctl_aborted();
    return is_yes ? CTL_DONE : ctl_fail("Aborting failover");
}

static int choose_time(struct change *change, const char *given)
{
    char question[80 + CTL_TIME_SIZE];
    char hour[CTL_TIME_SIZE];
    int code;

    (void)snprintf(question, sizeof(question),
                   "When should the switchover take place (e.g. %s ) ", ctl_next_hour(hour));
    code = ctl_choose_time(question, given, change->force, change->scheduled_at);
    if (code == CTL_DONE && change->scheduled_at[0] != '\0' && change->cluster.view->policy.pause)
        code = ctl_fail("Can't schedule switchover in the paused state");
    return code;
}

static int confirm(const struct change *change)
{
    bool is_scheduled = change->scheduled_at[0] != '\0';
    struct buf question;
    bool is_yes = false;
    bool is_read;

    if (change->force)
        return CTL_DONE;
    buf_init(&question, TEXT_MAX);
    if (is_scheduled)
        (void)buf_printf(&question,
                         "Are you sure you want to schedule switchover of cluster %s at %s",
                         change->cluster.name, change->scheduled_at);
    else
        (void)buf_printf(&question, "Are you sure you want to %s cluster %s", action_text(change),
                         change->cluster.name);
    if (change->leader_now != NULL)
        (void)buf_printf(&question, ", demoting current leader %s", change->leader_now);
    (void)buf_puts(&question, "?");
    is_read = ctl_confirm(buf_text(&question), &is_yes);
    buf_done(&question);
    if (!is_read)
        return ctl_aborted();
    if (!is_yes)
        return ctl_fail(is_scheduled ? "Aborting scheduled %s" : "Aborting %s",
                        action_text(change));
    return CTL_DONE;
}

/* ---- sending ---- */

static void print_changed(struct change *change)
{
    if (ctl_cluster_refresh(change->ctl, &change->cluster) == CTL_DONE)
        ctl_cluster_print(&change->cluster, false, CTL_PRETTY);
}

/* No agent could be reached at all, so the request goes where the agents will find it. It is never
 * sent twice: where an agent may have read it, that one's doing is awaited. */
static int write_request(struct change *change)
{
    const struct view_entry *old = view_map_find(change->cluster.map, "failover");
    char time[CTL_TIME_SIZE];
    struct buf value;
    struct err err;
    enum etcd_outcome outcome;

    (void)printf("%s Could not %s using Patroni api, falling back to DCS\n",
                 ctl_timestamp(true, time), action_text(change));
    buf_init(&value, TEXT_MAX);
    (void)view_json_put_failover(&value, buf_text(&change->leader), buf_text(&change->candidate),
                                 change->scheduled_at); /* three bounded texts */
    outcome = ctl_put(change->ctl, &change->cluster, "failover", &value,
                      old == NULL ? 0 : old->mod_revision, &err);
    buf_done(&value);
    if (outcome == ETCD_REFUSED)
        return ctl_fail("somebody else wrote a request meanwhile, nothing was changed");
    if (outcome != ETCD_OK && outcome != ETCD_UNKNOWN)
        return ctl_fail("%s", err.text);
    ctl_note(change->ctl, CTL_UNKNOWN);
    print_changed(change);
    return CTL_DONE;
}

static void judge_answer(struct change *change, const struct ctl_reply *reply)
{
    const char *body = buf_text(&reply->body);
    bool is_unknown = strstr(body, "status unknown") != NULL;
    char time[CTL_TIME_SIZE];

    if (reply->status == 200 || reply->status == 202) {
        (void)printf("%s %s\n", ctl_timestamp(true, time), body);
        /* Another leader than the one that was asked for is not what was asked for. */
        if (strstr(body, " instead of ") != NULL)
            ctl_note(change->ctl, CTL_FAILED);
        print_changed(change);
        return;
    }
    (void)printf("%s %s, details: %d, %s\n", change->is_failover ? "Failover" : "Switchover",
                 is_unknown ? "result unknown" : "failed", reply->status, body);
    ctl_note(change->ctl, is_unknown ? CTL_UNKNOWN : CTL_FAILED);
}

static int send_request(struct change *change)
{
    const struct view *view = change->cluster.view;
    const struct member *member =
        view_find_member(view, change->leader_now != NULL ? change->leader_now
                                                          : buf_text(&change->candidate));
    const struct policy *policy = &view->policy;
    int64_t watch_ms = policy->loop_wait_ms > WATCH_MS_MIN ? policy->loop_wait_ms : WATCH_MS_MIN;
    json_t *body = json_object();
    struct ctl_reply reply;
    int code = CTL_DONE;

    if (!change->is_failover)
        (void)json_object_set_new(body, "leader", json_string(buf_text(&change->leader)));
    if (change->candidate.length > 0)
        (void)json_object_set_new(body, "candidate", json_string(buf_text(&change->candidate)));
    if (change->scheduled_at[0] != '\0')
        (void)json_object_set_new(body, "scheduled_at", json_string(change->scheduled_at));
    ctl_ask(change->ctl, member == NULL ? "" : member->api_url, "POST", action_text(change), body,
            2 * watch_ms + 3 * policy->retry_timeout_ms + MARGIN_MS, &reply);
    if (reply.fate == HTTP_ANSWERED) {
        judge_answer(change, &reply);
    } else if (reply.fate == HTTP_NOT_SENT) {
        ctl_warn("%s", reply.err.text);
        code = write_request(change);
    } else {
        (void)printf("%s result unknown, details: %s\n",
                     change->is_failover ? "Failover" : "Switchover", reply.err.text);
        ctl_note(change->ctl, CTL_UNKNOWN);
        print_changed(change);
    }
    json_decref(body);
    ctl_reply_done(&reply);
    return code;
}

static int run(struct change *change, const struct opt_values *values)
{
    int code = ctl_cluster_read(change->ctl,
                                values->argument_count > 0 ? values->arguments[0] : NULL,
                                &change->cluster);

    if (code != CTL_DONE)
        return code;
    if (ctl_cluster_is_unknown(&change->cluster) && !change->ctl->is_patronictl)
        return ctl_cluster_fail_unknown(change->ctl, &change->cluster);
    (void)printf("Current cluster topology\n");
    ctl_cluster_print(&change->cluster, false, CTL_PRETTY);
    if (change->cluster.view->leader_present)
        change->leader_now = change->cluster.view->leader_name;
    if (!change->is_failover)
        code = choose_leader(change, opt_text(values, "--leader"));
    if (code == CTL_DONE)
        code = choose_candidate(change, opt_text(values, "--candidate"));
    if (code == CTL_DONE)
        code = confirm_asynchronous(change);
    if (code == CTL_DONE && !change->is_failover)
        code = choose_time(change, opt_text(values, "--scheduled"));
    if (code == CTL_DONE)
        code = confirm(change);
    if (code == CTL_DONE)
        code = send_request(change);
    return code;
}

static int change_leader(struct ctl *ctl, const struct opt_values *values, bool is_failover)
{
    struct change change = {
        .ctl = ctl, .is_failover = is_failover, .force = opt_is_given(values, "--force")};
    int code;

    buf_init(&change.leader, TEXT_MAX);
    buf_init(&change.candidate, TEXT_MAX);
    code = run(&change, values);
    buf_done(&change.leader);
    buf_done(&change.candidate);
    ctl_cluster_done(&change.cluster);
    return code;
}

int cmd_switchover(struct ctl *ctl, const struct opt_values *values)
{
    return change_leader(ctl, values, false);
}

int cmd_failover(struct ctl *ctl, const struct opt_values *values)
{
    return change_leader(ctl, values, true);
}
