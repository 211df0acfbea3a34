/* POST /switchover, POST /failover, DELETE /switchover: rest.md 7.2. The end is told as the keys
 * show it, and "unknown" is told apart from "failed" (RC-04). */
#include "rest_errand.h"

#include <stdarg.h>
#include <stdio.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/view_json.h"
#include "pgheir/core/request_check.h"
#include "pgheir/io/loop.h"

enum {
    PEERS_MS = 2000,
    LOOK_MS = 1000,        /* own reads, beside the views that a watch brings */
    WATCH_MS_MIN = 10000,
    MARGIN_MS = 60000,     /* the door's own bound lies behind ours */
    FAILOVER_BYTES_MAX = 4096,
    TEXT_SIZE = 512
};

static const char not_written[] = "failed to write failover key into DCS";

static const char *action_text(const struct errand *errand)
{
    return errand->is_failover ? "Failover" : "Switchover";
}

static void answer_format(struct errand *errand, int status, const char *fmt, ...)
    PGH_PRINTF(3, 4);

static void answer_format(struct errand *errand, int status, const char *fmt, ...)
{
    char line[TEXT_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args); /* names are bounded, TEXT_SIZE is not met */
    va_end(args);
    errand_answer(errand, status, line);
}

/* ---- the end ---- */

void rest_switchover_look(struct errand *errand, const struct view *view)
{
    const char *action = action_text(errand);
    const char *verb = errand->is_failover ? "failed" : "switched";
    const char *title = errand->is_failover ? "Failed" : "Switched";

    pgh_assert(errand->is_watched);
    switch (request_check_end(view, errand->old_leader, errand->wanted.candidate,
                              errand->put_revision)) {
    case REQUEST_END_OPEN:
        return;
    case REQUEST_END_DONE:
        answer_format(errand, 200, "Successfully %s over to \"%s\"", verb, view->leader_name);
        return;
    case REQUEST_END_OTHER:
        answer_format(errand, 200, "%s over to \"%s\" instead of \"%s\"", title,
                      view->leader_name, errand->wanted.candidate);
        return;
    case REQUEST_END_FAILED:
        answer_format(errand, 503, "%s failed", action);
        return;
    }
    pgh_unreachable();
}

static void arm_look(struct errand *errand)
{
    int64_t at_ms = clock_boot_ms() + LOOK_MS;

    loop_timer_arm(errand->timer, at_ms < errand->deadline_ms ? at_ms : errand->deadline_ms);
}

static void on_look_read(const struct rest_read *read, void *arg)
{
    struct errand *errand = arg;

    errand->is_reading = false;
    if (errand_wakes(errand) && read->rc == RC_OK)
        rest_switchover_look(errand, read->view);
}

static void on_look(void *arg)
{
    struct errand *errand = arg;

    if (clock_boot_ms() >= errand->deadline_ms) {
        answer_format(errand, 503,
                      "%s status unknown after %lld seconds; operation may still be in progress",
                      action_text(errand), (long long)(errand->budget_ms / 1000));
        return;
    }
    arm_look(errand);
    if (errand->is_reading)
        return;
    errand->is_reading = true;
    errand_read(errand, on_look_read);
}

static void on_put(const struct rest_put *put, void *arg)
{
    struct errand *errand = arg;

    if (!errand_wakes(errand))
        return;
    if (put->outcome == OUTCOME_UNKNOWN) {
        answer_format(errand, 503, "%s status unknown: etcd did not confirm the request",
                      action_text(errand));
        return;
    }
    if (put->outcome != OUTCOME_OK) {
        log_warning("REST: %s: %s", not_written, put->err->text);
        errand_answer(errand, 503, not_written);
        return;
    }
    errand->routes->ops->wake(errand->routes->ops_arg);
    if (errand->wanted.scheduled_at_wall_ms != 0) {
        answer_format(errand, 202, "%s scheduled", action_text(errand));
        return;
    }
    errand->is_watched = true;
    errand->put_revision = put->revision;
    errand->deadline_ms = clock_boot_ms() + errand->budget_ms;
    errand->timer = loop_timer_new(errand->routes->loop, on_look, errand);
    arm_look(errand);
}

/* ---- the beginning ---- */

static void write_request(struct errand *errand)
{
    struct rest_routes *routes = errand->routes;
    const struct policy *policy = errand_world(routes).policy;
    const struct rest_switchover *wanted = &errand->wanted;
    int64_t now_ms = clock_boot_ms();
    struct buf text;

    errand->budget_ms =
        2 * (policy->loop_wait_ms > WATCH_MS_MIN ? policy->loop_wait_ms : WATCH_MS_MIN);
    rest_request_set_deadline(errand->request,
                              now_ms + policy->retry_timeout_ms + errand->budget_ms + MARGIN_MS,
                              503, errand->is_failover ? "Failover status unknown"
                                                       : "Switchover status unknown");
    buf_init(&text, FAILOVER_BYTES_MAX);
    if (view_json_put_failover(&text, errand->is_failover ? "" : wanted->leader,
                               wanted->candidate, wanted->scheduled_at) != RC_OK) {
        errand_answer(errand, 400, "the request does not fit into 4 KiB");
    } else {
        errand_waits(errand);
        routes->ops->put_failover(routes->ops_arg, buf_text(&text), text.length,
                                  errand->failover_revision, now_ms + policy->retry_timeout_ms,
                                  on_put, errand);
    }
    buf_done(&text);
}

static void on_peers(const struct peer_answer *answers, int count, void *arg)
{
    struct errand *errand = arg;

    if (!errand_wakes(errand))
        return;
    if (request_check_candidates(answers, count))
        write_request(errand);
    else
        answer_format(errand, 412, "%s is not possible: no good candidates have been found",
                      errand->is_failover ? "failover" : "switchover");
}

static void on_begin_read(const struct rest_read *read, void *arg)
{
    struct errand *errand = arg;
    struct rest_routes *routes = errand->routes;
    const struct view_entry *entry;
    const char *names[MEMBERS_MAX];
    struct err err;
    int count = 0;
    int status;

    if (!errand_wakes(errand))
        return;
    if (read->rc != RC_OK) {
        errand_answer(errand, 503, read->err->text);
        return;
    }
    /* Once more with the pause that holds now. */
    status = rest_json_switchover_read(errand->body, errand->is_failover,
                                       read->view->policy.pause, clock_wall_ms(),
                                       &errand->wanted, &errand->is_failover, &err);
    if (status == 0 && errand->wanted.scheduled_at_wall_ms == 0)
        status = rest_json_switchover_check(&errand->wanted, errand->is_failover, read->view,
                                            names, &count, &err);
    if (status != 0) {
        errand_answer(errand, status, err.text);
        return;
    }
    if (read->view->leader_present)
        pgh_assert(str_copy(errand->old_leader, sizeof(errand->old_leader),
                            read->view->leader_name));
    entry = view_map_find(read->map, "failover");
    errand->failover_revision = entry == NULL ? 0 : entry->mod_revision;
    if (errand->wanted.scheduled_at_wall_ms != 0) {
        write_request(errand);
        return;
    }
    errand_waits(errand);
    routes->ops->ask_peers(routes->ops_arg, names, count, clock_boot_ms() + PEERS_MS, on_peers,
                           errand);
}

void rest_switchover_begin(struct rest_routes *routes, struct rest_request *request,
                           const struct rest_question *question, bool is_failover)
{
    struct errand *errand = errand_new(routes, request, ERRAND_SWITCHOVER);
    bool becomes_failover;
    struct err err;
    int status = 400;

    errand->is_failover = is_failover;
    if (rest_json_body_read(question->body, question->body_length, false, &errand->body, &err) ==
        RC_OK)
        status = rest_json_switchover_read(errand->body, is_failover,
                                           errand_world(routes).node->is_paused, clock_wall_ms(),
                                           &errand->wanted, &becomes_failover, &err);
    if (status != 0) {
        errand_answer(errand, status, err.text);
        return;
    }
    if (is_failover && !becomes_failover)
        log_warning("REST: received failover request with leader specified - performing "
                    "switchover instead");
    log_info("REST: %s from \"%s\" to \"%s\" at \"%s\"", is_failover ? "failover" : "switchover",
             errand->wanted.leader, errand->wanted.candidate, errand->wanted.scheduled_at);
    errand_read(errand, on_begin_read);
}

/* ---- a scheduled one is taken back ---- */

static void on_delete_put(const struct rest_put *put, void *arg)
{
    struct errand *errand = arg;

    if (!errand_wakes(errand))
        return;
    if (put->outcome == OUTCOME_OK)
        errand_answer(errand, 200, "scheduled switchover deleted");
    else if (put->outcome == OUTCOME_REFUSED)
        errand_answer(errand, 409, "the scheduled switchover has changed meanwhile");
    else
        errand_answer(errand, 503, put->err->text);
}

static void on_delete_read(const struct rest_read *read, void *arg)
{
    struct errand *errand = arg;
    struct rest_routes *routes = errand->routes;
    const struct failover_request *failover;

    if (!errand_wakes(errand))
        return;
    if (read->rc != RC_OK) {
        errand_answer(errand, 503, read->err->text);
        return;
    }
    failover = &read->view->failover;
    if (!failover->present || failover->scheduled_at_wall_ms == 0) {
        errand_answer(errand, 404, "no switchover is scheduled");
        return;
    }
    errand_waits(errand);
    routes->ops->put_failover(routes->ops_arg, "{}", 2, failover->mod_revision,
                              clock_boot_ms() + errand_world(routes).policy->retry_timeout_ms,
                              on_delete_put, errand);
}

void rest_switchover_delete(struct rest_routes *routes, struct rest_request *request)
{
    errand_read(errand_new(routes, request, ERRAND_SWITCHOVER_DELETE), on_delete_read);
}
