/* pause and resume. */
#include "ctl.h"

#include <stdio.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

enum {
    PATCH_MS = 30 * 1000,
    LOOK_MS = 250,
    /* All leases may have been lost a moment ago, with all members' keys: they come again. */
    COME_BACK_MS = 10 * 1000,
    TEXT_MAX = 16 * 1024
};

enum verdict {
    VERDICT_SILENT, /* nobody was reached there: ask the next one */
    VERDICT_LATER,  /* not now, perhaps in a moment */
    VERDICT_GIVEN
};

/* Members that have an agent and do not show the wanted state yet. */
static void find_waiting(const struct ctl_cluster *cluster, bool paused, struct ctl_members *ret)
{
    const struct view *view = cluster->view;

    ret->count = 0;
    for (int i = 0; i < view->member_count; i++) {
        if (view->members[i].api_url[0] != '\0' && view->members[i].pause != paused)
            ret->items[ret->count++] = &view->members[i];
    }
}

static int await_members(struct ctl *ctl, struct ctl_cluster *cluster, bool paused)
{
    int64_t loop_wait_ms = cluster->view->policy.loop_wait_ms;
    int64_t deadline_ms = clock_boot_ms() + loop_wait_ms + 1000;
    struct ctl_members waiting;
    struct buf names;
    int code;

    (void)printf("'%s' request sent, waiting until it is recognized by all nodes\n",
                 paused ? "pause" : "resume");
    (void)fflush(stdout);
    do {
        ctl_wait(ctl, LOOK_MS);
        code = ctl_cluster_refresh(ctl, cluster);
        if (code != CTL_DONE)
            return code;
        find_waiting(cluster, paused, &waiting);
    } while (waiting.count > 0 && clock_boot_ms() < deadline_ms);
    if (waiting.count == 0) {
        (void)printf("Success: cluster management is %s\n", paused ? "paused" : "resumed");
        return CTL_DONE;
    }
    buf_init(&names, TEXT_MAX);
    ctl_members_join(&waiting, &names);
    (void)printf("%s members didn't recognized pause state after %lld seconds\n",
                 buf_text(&names), (long long)(loop_wait_ms / 1000));
    buf_done(&names);
    ctl_note(ctl, CTL_UNKNOWN);
    return CTL_DONE;
}

/* A pause that was sent twice is one pause. */
static enum verdict patch(struct ctl *ctl, struct ctl_cluster *cluster, const char *api_url,
                          bool paused, bool wait, bool is_last, int *ret_code)
{
    json_t *body = json_object();
    enum verdict verdict = VERDICT_GIVEN;
    struct ctl_reply reply;

    (void)json_object_set_new(body, "pause", paused ? json_true() : json_null());
    ctl_ask(ctl, api_url, "PATCH", "config", body, PATCH_MS, &reply);
    json_decref(body);
    if (reply.fate != HTTP_ANSWERED) {
        ctl_warn("%s", reply.err.text);
        verdict = VERDICT_SILENT;
    } else if (reply.status == 503 && !is_last) {
        verdict = VERDICT_LATER; /* it does not hear etcd, or has just heard it again */
    } else if (reply.status != 200) {
        (void)printf("Failed: %s cluster management status code=%d, (%s)\n",
                     paused ? "pause" : "resume", reply.status, buf_text(&reply.body));
        ctl_note(ctl, CTL_FAILED);
    } else if (wait) {
        *ret_code = await_members(ctl, cluster, paused);
    } else {
        (void)printf("Success: cluster management is %s\n", paused ? "paused" : "resumed");
    }
    ctl_reply_done(&reply);
    return verdict;
}

/* The leader first, then the others. */
static enum verdict ask_members(struct ctl *ctl, struct ctl_cluster *cluster, bool paused,
                                bool wait, bool is_last, int *ret_code)
{
    const struct view *view = cluster->view;
    const struct member *leader = view_leader_member(view);
    int asked_count = 0;

    for (int i = -1; i < view->member_count; i++) {
        const struct member *member = i < 0 ? leader : &view->members[i];
        enum verdict verdict;

        if (member == NULL || (i >= 0 && member == leader) || member->api_url[0] == '\0')
            continue;
        asked_count++;
        verdict = patch(ctl, cluster, member->api_url, paused, wait, is_last, ret_code);
        if (verdict != VERDICT_SILENT)
            return verdict;
        ctl_warn("Member %s is not accessible", member->name);
    }
    if (asked_count == 0 && !is_last)
        return VERDICT_LATER;
    if (asked_count == 0)
        *ret_code = ctl_fail("Can not find accessible cluster member: none is registered in etcd; "
                             "pgheir must run on the nodes and reach etcd");
    else
        *ret_code = ctl_fail("Can not find accessible cluster member");
    return VERDICT_GIVEN;
}

static int ask_until_answered(struct ctl *ctl, struct ctl_cluster *cluster, bool paused, bool wait)
{
    int64_t deadline_ms = clock_boot_ms() + COME_BACK_MS;
    int code = CTL_DONE;

    for (;;) {
        bool is_last = clock_boot_ms() >= deadline_ms;

        if (ask_members(ctl, cluster, paused, wait, is_last, &code) != VERDICT_LATER)
            return code;
        ctl_wait(ctl, LOOK_MS);
        code = ctl_cluster_refresh(ctl, cluster);
        if (code != CTL_DONE)
            return code;
    }
}

static int toggle(struct ctl *ctl, const struct opt_values *values, bool paused)
{
    struct ctl_cluster cluster;
    int code = ctl_cluster_read(ctl, values->argument_count > 0 ? values->arguments[0] : NULL,
                                &cluster);

    if (code == CTL_DONE && ctl_cluster_is_unknown(&cluster) && !ctl->is_patronictl)
        code = ctl_cluster_fail_unknown(ctl, &cluster);
    else if (code == CTL_DONE && cluster.view->policy.pause == paused)
        code = ctl_fail("Cluster is %s paused", paused ? "already" : "not");
    else if (code == CTL_DONE)
        code = ask_until_answered(ctl, &cluster, paused, opt_is_given(values, "--wait"));
    ctl_cluster_done(&cluster);
    return code;
}

int cmd_pause(struct ctl *ctl, const struct opt_values *values)
{
    return toggle(ctl, values, true);
}

int cmd_resume(struct ctl *ctl, const struct opt_values *values)
{
    return toggle(ctl, values, false);
}
