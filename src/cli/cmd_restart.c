/* restart, reload, reinit: what is asked of each member by itself (ctl.md 4.2). */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/prng.h"
#include "pgheir/base/str.h"

enum {
    RELOAD_MS = 30 * 1000,
    REINIT_MS = 60 * 1000,
    RESTART_MS = 60 * 60 * 1000, /* recovery has no bound; a person has Ctrl-C */
    LOOK_MS = 2000,
    STATUS_MS = 5000,
    TEXT_MAX = 16 * 1024
};

struct round {
    struct ctl *ctl;
    const struct opt_values *values;
    struct ctl_cluster cluster;
    struct ctl_members members;
    bool force;
};

/* Reads the cluster and picks the members. round->cluster must be freed in any case. */
static int begin(struct round *round, const char *action, const char *role)
{
    const struct opt_values *values = round->values;
    int code = ctl_cluster_read(round->ctl, values->arguments[0], &round->cluster);

    round->force = opt_is_given(values, "--force");
    if (code != CTL_DONE)
        return code;
    if (ctl_cluster_is_unknown(&round->cluster) && !round->ctl->is_patronictl)
        return ctl_cluster_fail_unknown(round->ctl, &round->cluster);
    return ctl_members_choose(&round->cluster, action, role, values->arguments + 1,
                              values->argument_count - 1, round->force, &round->members);
}

static const char *role_of(const struct opt_values *values)
{
    return opt_is_given(values, "--role") ? opt_text(values, "--role") : "any";
}

/* "Failed: restart for member node1, status code=503, (body)" */
static void print_refused(struct ctl *ctl, const char *action, const char *member,
                          const struct ctl_reply *reply)
{
    (void)printf("Failed: %s for member %s, status code=%d, (%s)\n", action, member,
                 reply->status, buf_text(&reply->body));
    ctl_note(ctl, strstr(buf_text(&reply->body), "still starting") != NULL ? CTL_UNKNOWN
                                                                           : CTL_FAILED);
}

/* ---- reload ---- */

static void reload_one(struct round *round, const struct member *member)
{
    const struct policy *policy = &round->cluster.view->policy;
    struct ctl_reply reply;

    ctl_ask(round->ctl, member->api_url, "POST", "reload", NULL, RELOAD_MS, &reply);
    if (!ctl_reply_is_answer(round->ctl, &reply, "reload", member->name))
        ;
    else if (reply.status == 200)
        (void)printf("No changes to apply on member %s\n", member->name);
    else if (reply.status == 202)
        (void)printf("Reload request received for member %s and will be processed within %lld "
                     "seconds\n",
                     member->name, (long long)(policy->loop_wait_ms / 1000));
    else
        print_refused(round->ctl, "reload", member->name, &reply);
    ctl_reply_done(&reply);
}

int cmd_reload(struct ctl *ctl, const struct opt_values *values)
{
    struct round round = {.ctl = ctl, .values = values};
    int code = begin(&round, "reload", role_of(values));

    if (code == CTL_DONE)
        code = ctl_members_confirm(&round.members, "reload", round.force, NULL, false);
    for (int i = 0; code == CTL_DONE && i < round.members.count; i++)
        reload_one(&round, round.members.items[i]);
    ctl_cluster_done(&round.cluster);
    return code;
}

/* ---- restart ---- */

static int choose_time(struct round *round, char out[static CTL_TIME_SIZE])
{
    char question[80 + CTL_TIME_SIZE];
    char hour[CTL_TIME_SIZE];

    (void)snprintf(question, sizeof(question),
                   "When should the restart take place (e.g. %s) ", ctl_next_hour(hour));
    return ctl_choose_time(question, opt_text(round->values, "--scheduled"), round->force, out);
}

/* 15.2, 9.6.3: CTL_DONE, or what is wrong with it. */
static int check_version(const char *text)
{
    int dots = 0;
    bool is_number = true;
    bool after_digit = false;

    for (const char *at = text; *at != '\0'; at++) {
        dots += *at == '.' ? 1 : 0;
        is_number = is_number && (*at == '.' ? after_digit : *at >= '0' && *at <= '9');
        after_digit = *at != '.';
    }
    if (dots != 1 && dots != 2)
        return ctl_fail("Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", text);
    if (!is_number || !after_digit)
        return ctl_fail("Invalid PostgreSQL version: %s", text);
    return CTL_DONE;
}

static int choose_version(struct round *round, json_t *body)
{
    const char *given = opt_text(round->values, "--pg-version");
    struct buf answer;
    int code = CTL_DONE;

    buf_init(&answer, TEXT_MAX);
    if (given != NULL)
        (void)buf_puts(&answer, given);
    else if (!round->force &&
             !ctl_prompt("Restart if the PostgreSQL version is less than provided (e.g. 9.5.2) ",
                         "", &answer))
        code = ctl_aborted();
    if (code == CTL_DONE && answer.length > 0)
        code = check_version(buf_text(&answer));
    if (code == CTL_DONE && answer.length > 0)
        (void)json_object_set_new(body, "postgres_version", json_string(buf_text(&answer)));
    buf_done(&answer);
    return code;
}

/* Members that wait for a restart now; a scheduled one decides when its time has come. */
static void keep_pending(struct ctl_members *members)
{
    int kept = 0;

    for (int i = 0; i < members->count; i++) {
        if (members->items[i]->pending_restart)
            members->items[kept++] = members->items[i];
    }
    members->count = kept;
}

static void keep_any(struct ctl_members *members)
{
    struct prng prng;

    if (members->count <= 1)
        return;
    prng_seed(&prng, (uint64_t)clock_boot_us());
    members->items[0] = members->items[prng_below(&prng, (uint64_t)members->count)];
    members->count = 1;
}

static int restart_prepare(struct round *round, json_t *body)
{
    bool is_pending = opt_is_given(round->values, "--pending");
    char time[CTL_TIME_SIZE];
    int code = choose_time(round, time);

    if (code != CTL_DONE)
        return code;
    if (is_pending) {
        (void)json_object_set_new(body, "restart_pending", json_true());
        if (time[0] == '\0')
            keep_pending(&round->members);
    }
    if (opt_is_given(round->values, "--any"))
        keep_any(&round->members);
    code = ctl_members_confirm(&round->members, "restart", round->force,
                               time[0] == '\0' ? NULL : time, is_pending);
    if (code == CTL_DONE)
        code = choose_version(round, body);
    if (code != CTL_DONE)
        return code;
    if (time[0] != '\0' && round->cluster.view->policy.pause)
        return ctl_fail("Can't schedule restart in the paused state");
    if (time[0] != '\0')
        (void)json_object_set_new(body, "schedule", json_string(time));
    if (opt_is_given(round->values, "--timeout"))
        (void)json_object_set_new(body, "timeout",
                                  json_string(opt_text(round->values, "--timeout")));
    return CTL_DONE;
}

/* With --force a restart that is scheduled already gives way to the new one. */
static void drop_scheduled(struct round *round, const struct member *member)
{
    const json_t *document = ctl_member_json(&round->cluster, member);
    struct ctl_reply reply;

    if (!round->force || json_object_get(document, "scheduled_restart") == NULL)
        return;
    ctl_ask(round->ctl, member->api_url, "DELETE", "restart", NULL, RELOAD_MS, &reply);
    if (ctl_reply_is_answer(round->ctl, &reply, "flush scheduled restart", member->name) &&
        reply.status >= 400)
        print_refused(round->ctl, "flush scheduled restart", member->name, &reply);
    ctl_reply_done(&reply);
}

static void restart_one(struct round *round, const struct member *member, const json_t *body)
{
    struct ctl_reply reply;

    if (json_object_get(body, "schedule") != NULL)
        drop_scheduled(round, member);
    ctl_ask(round->ctl, member->api_url, "POST", "restart", body, RESTART_MS, &reply);
    if (!ctl_reply_is_answer(round->ctl, &reply, "restart", member->name)) {
        ;
    } else if (reply.status == 200) {
        (void)printf("Success: restart on member %s\n", member->name);
    } else if (reply.status == 202) {
        (void)printf("Success: restart scheduled on member %s\n", member->name);
    } else if (reply.status == 409) {
        (void)printf("Failed: another restart is already scheduled on member %s\n",
                     member->name);
        ctl_note(round->ctl, CTL_FAILED);
    } else {
        print_refused(round->ctl, "restart", member->name, &reply);
    }
    ctl_reply_done(&reply);
}

int cmd_restart(struct ctl *ctl, const struct opt_values *values)
{
    struct round round = {.ctl = ctl, .values = values};
    json_t *body = json_object();
    int code = begin(&round, "restart", role_of(values));

    if (code == CTL_DONE)
        code = restart_prepare(&round, body);
    for (int i = 0; code == CTL_DONE && i < round.members.count; i++) {
        restart_one(&round, round.members.items[i], body);
        (void)fflush(stdout);
    }
    json_decref(body);
    ctl_cluster_done(&round.cluster);
    return code;
}

/* ---- reinit ---- */

static bool asks_to_cancel(const struct ctl_reply *reply)
{
    static const char tail[] = " already in progress";
    size_t length = sizeof(tail) - 1;

    return reply->body.length >= length &&
           str_equal(buf_text(&reply->body) + reply->body.length - length, tail);
}

static bool reinit_send(struct round *round, const struct member *member, bool force,
                        bool *ret_is_busy)
{
    json_t *body = json_object();
    struct ctl_reply reply;
    bool is_started = false;

    *ret_is_busy = false;
    (void)json_object_set_new(body, "force", json_boolean(force));
    (void)json_object_set_new(body, "from_leader",
                              json_boolean(opt_is_given(round->values, "--from-leader")));
    ctl_ask(round->ctl, member->api_url, "POST", "reinitialize", body, REINIT_MS, &reply);
    json_decref(body);
    if (!ctl_reply_is_answer(round->ctl, &reply, "reinitialize", member->name)) {
        ;
    } else if (reply.status < 400) {
        (void)printf("Success: reinitialize for member %s\n", member->name);
        is_started = true;
    } else {
        *ret_is_busy = asks_to_cancel(&reply);
        (void)printf("Failed: reinitialize for member %s, status code=%d, (%s)\n", member->name,
                     reply.status, buf_text(&reply.body));
    }
    ctl_reply_done(&reply);
    return is_started;
}

static bool reinit_one(struct round *round, const struct member *member)
{
    bool is_busy;
    bool is_yes = false;

    if (reinit_send(round, member, round->force, &is_busy))
        return true;
    if (is_busy && !round->force &&
        ctl_confirm("Do you want to cancel it and reinitialize anyway?", &is_yes) && is_yes &&
        reinit_send(round, member, true, &is_busy))
        return true;
    ctl_note(round->ctl, CTL_FAILED);
    return false;
}

static bool is_still_cloning(struct round *round, const struct member *member)
{
    struct ctl_reply reply;
    json_t *document;
    bool is_cloning = true; /* also while nobody answers: an agent may be starting anew */

    ctl_ask(round->ctl, member->api_url, "GET", "patroni", NULL, STATUS_MS, &reply);
    if (reply.fate == HTTP_ANSWERED) {
        document = json_loadb(buf_text(&reply.body), reply.body.length, 0, NULL);
        is_cloning = document == NULL ||
                     str_equal(json_string_value(json_object_get(document, "state")),
                               "creating replica");
        json_decref(document);
    }
    ctl_reply_done(&reply);
    return is_cloning;
}

/* Those that are done drop out; returns how many. */
static int look_at_reinit(struct round *round, struct ctl_members *waiting)
{
    int before = waiting->count;
    int kept = 0;

    for (int i = 0; i < before; i++) {
        const struct member *member = waiting->items[i];

        if (is_still_cloning(round, member))
            waiting->items[kept++] = member;
        else
            (void)printf("Reinitialize is completed on: %s\n", member->name);
    }
    waiting->count = kept;
    return before - kept;
}

static void await_reinit(struct round *round, struct ctl_members *waiting)
{
    struct buf names;

    while (waiting->count > 0) {
        buf_init(&names, TEXT_MAX);
        ctl_members_join(waiting, &names);
        (void)printf("Waiting for reinitialize to complete on: %s\n", buf_text(&names));
        buf_done(&names);
        do {
            (void)fflush(stdout);
            ctl_wait(round->ctl, LOOK_MS);
        } while (look_at_reinit(round, waiting) == 0);
    }
}

int cmd_reinit(struct ctl *ctl, const struct opt_values *values)
{
    struct round round = {.ctl = ctl, .values = values};
    struct ctl_members waiting = {.count = 0};
    int code = begin(&round, "reinitialize", "replica");

    if (code == CTL_DONE)
        code = ctl_members_confirm(&round.members, "reinitialize", round.force, NULL, false);
    for (int i = 0; code == CTL_DONE && i < round.members.count; i++) {
        if (reinit_one(&round, round.members.items[i]))
            waiting.items[waiting.count++] = round.members.items[i];
    }
    if (code == CTL_DONE && opt_is_given(values, "--wait"))
        await_reinit(&round, &waiting);
    ctl_cluster_done(&round.cluster);
    return code;
}
