/* POST and DELETE /restart, POST /reinitialize: rest.md 7.3 and 7.4. */
#include "rest_errand.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"
#include "pgheir/core/request_check.h"
#include "pgheir/io/loop.h"

enum {
    /* A shutdown and a start without a bound of their own; the operation has its own, shorter
     * ones. */
    RESTART_MARGIN_MS = 10 * 60 * 1000,
    /* The wall clock may be set while a restart waits for its time. */
    PLAN_LOOK_MS = 10 * 1000,
    BUSY_SIZE = 128
};

/* 15.2 is 150002, 9.6.3 is 90603; 0 for "". The text has been checked. */
static int32_t version_number(const char *text)
{
    int64_t parts[3] = {0, 0, 0};
    int count = 0;

    for (; *text != '\0'; text++) {
        if (*text == '.' && count < 2)
            count++;
        else if (*text >= '0' && *text <= '9' && parts[count] < 1000)
            parts[count] = parts[count] * 10 + (*text - '0');
    }
    if (parts[0] >= 10)
        return (int32_t)(parts[0] * 10000 + parts[1]);
    return (int32_t)(parts[0] * 10000 + parts[1] * 100 + parts[2]);
}

static bool is_wanted(const struct rest_world *world, const struct rest_restart *restart)
{
    const struct local *local = world->node->local;
    struct request_filter filter = {.version = version_number(restart->postgres_version),
                                    .only_pending = restart->restart_pending};

    pgh_assert(str_copy(filter.role, sizeof(filter.role), restart->role));
    return request_check_restart(&filter, world->role, local->server_version,
                                 local->pending_restart);
}

static void answer_busy(struct errand *errand, enum op_kind busy_with)
{
    char text[BUSY_SIZE];

    pgh_assert(str_format(text, sizeof(text), "%s already in progress",
                          busy_with == OP_NONE ? "another operation" : op_kind_text(busy_with)));
    errand_answer(errand, 503, text);
}

static void on_restart_reply(enum reply_code code, enum op_kind busy_with, void *arg)
{
    struct errand *errand = arg;

    if (!errand_wakes(errand))
        return;
    switch (code) {
    case REPLY_OK:
        errand_answer(errand, 200, "restarted successfully");
        return;
    case REPLY_BUSY:
        answer_busy(errand, busy_with);
        return;
    case REPLY_TIMEOUT:
        errand_answer(errand, 503, "postgres is still starting");
        return;
    case REPLY_NO_LEADER:
    case REPLY_IS_LEADER:
    case REPLY_FAILED:
        errand_answer(errand, 503, "restart failed");
        return;
    }
    pgh_unreachable();
}

/* ---- a restart at a time ---- */

static void drop_plan(struct rest_routes *routes)
{
    json_decref(routes->plan);
    routes->plan = NULL;
    loop_timer_free(routes->plan_timer);
    routes->plan_timer = NULL;
    routes->ops->touch_member(routes->ops_arg);
}

static void on_plan_reply(enum reply_code code, enum op_kind busy_with, void *arg)
{
    (void)arg;
    if (code == REPLY_OK)
        log_info("scheduled restart done");
    else
        log_warning("scheduled restart not done: %s",
                    code == REPLY_BUSY ? op_kind_text(busy_with) : "failed");
}

static const char *start_time(const struct rest_routes *routes)
{
    return json_string_value(json_object_get(routes->plan, "postmaster_start_time"));
}

static json_t *present_start_time(const struct rest_world *world)
{
    json_t *status = rest_json_status(world->node);
    json_t *time = json_incref(json_object_get(status, "postmaster_start_time"));

    json_decref(status);
    return time == NULL ? json_null() : time;
}

/* Once, and only for the server that was running when it was asked for: a restart in between has
 * done it already (behaviour of Patroni). */
static void run_plan(struct rest_routes *routes)
{
    struct rest_world world = errand_world(routes);
    json_t *now = present_start_time(&world);
    bool is_same = str_equal(json_string_value(now), start_time(routes));
    bool is_paused = world.node->is_paused;
    bool is_due = is_wanted(&world, &routes->plan_wanted);

    json_decref(now);
    drop_plan(routes);
    if (!is_same || is_paused || !is_due) {
        log_warning("scheduled restart dropped: %s",
                    is_paused  ? "the cluster is paused"
                    : !is_same ? "PostgreSQL was started again meanwhile"
                               : "restart conditions are not satisfied");
        return;
    }
    log_info("scheduled restart begins");
    routes->ops->request(routes->ops_arg, REQUEST_RESTART, false, false, on_plan_reply, NULL);
}

static void arm_plan(struct rest_routes *routes)
{
    int64_t left_ms = routes->plan_wanted.schedule_wall_ms - clock_wall_ms();

    if (left_ms > PLAN_LOOK_MS)
        left_ms = PLAN_LOOK_MS;
    loop_timer_arm(routes->plan_timer, clock_boot_ms() + (left_ms > 0 ? left_ms : 0));
}

static void on_plan(void *arg)
{
    struct rest_routes *routes = arg;

    if (clock_wall_ms() >= routes->plan_wanted.schedule_wall_ms)
        run_plan(routes);
    else
        arm_plan(routes);
}

static void schedule(struct errand *errand, const struct rest_restart *restart)
{
    struct rest_routes *routes = errand->routes;
    struct rest_world world = errand_world(routes);

    if (routes->plan != NULL) {
        errand_answer(errand, 409, "Another restart is already scheduled");
        return;
    }
    routes->plan = json_deep_copy(errand->body);
    (void)json_object_set_new(routes->plan, "postmaster_start_time", present_start_time(&world));
    routes->plan_wanted = *restart;
    routes->plan_timer = loop_timer_new(routes->loop, on_plan, routes);
    arm_plan(routes);
    routes->ops->touch_member(routes->ops_arg);
    errand_answer(errand, 202, "Restart scheduled");
}

void rest_restart_delete(struct rest_routes *routes, struct rest_request *request)
{
    if (routes->plan == NULL) {
        rest_answer_text(request, 404, "no restarts are scheduled");
        return;
    }
    drop_plan(routes);
    rest_answer_text(request, 200, "scheduled restart deleted");
}

/* ---- a restart now ---- */

void rest_restart_begin(struct rest_routes *routes, struct rest_request *request,
                        const struct rest_question *question)
{
    struct errand *errand = errand_new(routes, request, ERRAND_RESTART);
    struct rest_world world = errand_world(routes);
    int64_t now_ms = clock_boot_ms();
    struct rest_restart restart;
    struct err err;
    int status = 400;

    if (rest_json_body_read(question->body, question->body_length, true, &errand->body, &err) ==
        RC_OK)
        status = rest_json_restart_read(errand->body, world.node->is_paused, clock_wall_ms(),
                                        &restart, &err);
    if (status != 0) {
        errand_answer(errand, status, err.text);
        return;
    }
    if (restart.schedule_wall_ms != 0) {
        schedule(errand, &restart);
        return;
    }
    if (!is_wanted(&world, &restart)) {
        errand_answer(errand, 503, "restart conditions are not satisfied");
        return;
    }
    rest_request_set_deadline(request,
                              restart.timeout_ms > 0
                                  ? now_ms + restart.timeout_ms
                                  : now_ms + world.policy->primary_start_timeout_ms +
                                        RESTART_MARGIN_MS,
                              503, "postgres is still starting");
    errand_waits(errand);
    routes->ops->request(routes->ops_arg, REQUEST_RESTART, false, false, on_restart_reply,
                         errand);
}

/* ---- reinitialize ---- */

static void on_reinit_reply(enum reply_code code, enum op_kind busy_with, void *arg)
{
    struct errand *errand = arg;

    if (!errand_wakes(errand))
        return;
    switch (code) {
    case REPLY_OK:
        errand_answer(errand, 200, "reinitialize started");
        return;
    case REPLY_NO_LEADER:
        errand_answer(errand, 503, "Cluster has no leader, can not reinitialize");
        return;
    case REPLY_IS_LEADER:
        errand_answer(errand, 503, "I am the leader, can not reinitialize");
        return;
    case REPLY_BUSY:
        answer_busy(errand, busy_with);
        return;
    case REPLY_TIMEOUT:
    case REPLY_FAILED:
        errand_answer(errand, 503, "reinitialize failed");
        return;
    }
    pgh_unreachable();
}

void rest_reinit_begin(struct rest_routes *routes, struct rest_request *request,
                       const struct rest_question *question)
{
    struct errand *errand = errand_new(routes, request, ERRAND_REINIT);
    struct rest_reinit wanted;
    struct err err;
    int status = 400;

    if (rest_json_body_read(question->body, question->body_length, true, &errand->body, &err) ==
        RC_OK)
        status = rest_json_reinit_read(errand->body, &wanted, &err);
    if (status != 0) {
        errand_answer(errand, status, err.text);
        return;
    }
    errand_waits(errand);
    routes->ops->request(routes->ops_arg, REQUEST_REINIT, wanted.force, wanted.from_leader,
                         on_reinit_reply, errand);
}
