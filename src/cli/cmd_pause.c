/* pause and resume. */
#include "ctl.h"

#include <stdio.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

enum { PATCH_MS = 30 * 1000, LOOK_MS = 250, TEXT_MAX = 16 * 1024 };

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

/* false: nobody was reached there, ask the next one. A pause that was sent twice is one pause. */
static bool patch(struct ctl *ctl, struct ctl_cluster *cluster, const struct member *member,
                  bool paused, bool wait, int *ret_code)
{
    json_t *body = json_object();
    struct ctl_reply reply;
    bool is_answered;

    (void)json_object_set_new(body, "pause", paused ? json_true() : json_null());
    ctl_ask(ctl, member->api_url, "PATCH", "config", body, PATCH_MS, &reply);
    json_decref(body);
    is_answered = reply.fate == HTTP_ANSWERED;
    if (!is_answered) {
        ctl_warn("%s", reply.err.text);
        ctl_warn("Member %s is not accessible", member->name);
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
    return is_answered;
}

/* The leader first, then the others. */
static int ask_members(struct ctl *ctl, struct ctl_cluster *cluster, bool paused, bool wait)
{
    const struct view *view = cluster->view;
    const struct member *leader = view_leader_member(view);
    int code = CTL_DONE;

    if (leader != NULL && leader->api_url[0] != '\0' &&
        patch(ctl, cluster, leader, paused, wait, &code))
        return code;
    for (int i = 0; i < view->member_count; i++) {
        const struct member *member = &view->members[i];

        if (member != leader && member->api_url[0] != '\0' &&
            patch(ctl, cluster, member, paused, wait, &code))
            return code;
    }
    return ctl_fail("Can not find accessible cluster member");
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
        code = ask_members(ctl, &cluster, paused, opt_is_given(values, "--wait"));
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
