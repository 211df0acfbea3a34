#include "rest_errand.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/view_json.h"
#include "pgheir/io/loop.h"

enum { DOCUMENT_MAX = 4 * 1024 * 1024 };

/* ---- errands ---- */

struct errand *errand_new(struct rest_routes *routes, struct rest_request *request,
                          enum errand_kind kind)
{
    struct errand *errand = mem_new(1, sizeof(*errand));

    errand->routes = routes;
    errand->request = request;
    errand->kind = kind;
    TAILQ_INSERT_TAIL(&routes->errands, errand, link);
    return errand;
}

static void free_if_over(struct errand *errand)
{
    if (errand->request != NULL || errand->waits > 0)
        return;
    if (errand->routes != NULL)
        TAILQ_REMOVE(&errand->routes->errands, errand, link);
    loop_timer_free(errand->timer);
    json_decref(errand->body);
    json_decref(errand->config);
    mem_free(errand);
}

static struct rest_request *take_request(struct errand *errand)
{
    struct rest_request *request = errand->request;

    pgh_assert(request != NULL);
    errand->request = NULL;
    loop_timer_free(errand->timer);
    errand->timer = NULL;
    return request;
}

void errand_answer(struct errand *errand, int status, const char *text)
{
    rest_answer_text(take_request(errand), status, text);
    free_if_over(errand);
}

void errand_answer_json(struct errand *errand, int status, json_t *value)
{
    rest_send_json(take_request(errand), status, value);
    free_if_over(errand);
}

void errand_waits(struct errand *errand)
{
    errand->waits++;
}

bool errand_wakes(struct errand *errand)
{
    pgh_assert(errand->waits > 0);
    errand->waits--;
    if (errand->request != NULL)
        return true;
    free_if_over(errand);
    return false;
}

struct rest_world errand_world(const struct rest_routes *routes)
{
    struct rest_world world = {.node = NULL};

    routes->ops->get_world(routes->ops_arg, &world);
    pgh_assert(world.node != NULL && world.policy != NULL);
    return world;
}

void errand_read(struct errand *errand, rest_read_fn *done)
{
    struct rest_routes *routes = errand->routes;
    int64_t deadline_ms = clock_boot_ms() + errand_world(routes).policy->retry_timeout_ms;

    errand_waits(errand);
    routes->ops->read_cluster(routes->ops_arg, deadline_ms, done, errand);
}

/* ---- documents ---- */

static void send_buf(struct rest_request *request, int status, enum rest_type type,
                     struct buf *text)
{
    struct rest_answer answer = {
        .status = status, .type = type, .body = buf_text(text), .body_length = text->length};

    if (buf_is_overflown(text))
        rest_answer_text(request, 500, "the document is larger than 4 MiB");
    else
        rest_answer(request, &answer);
    buf_done(text);
}

void rest_send_json(struct rest_request *request, int status, json_t *value)
{
    struct buf text;

    buf_init(&text, DOCUMENT_MAX);
    (void)view_json_put_spaced(&text, value); /* an overflow is seen in the buffer */
    json_decref(value);
    send_buf(request, status, REST_JSON, &text);
}

static void send_status(struct rest_routes *routes, struct rest_request *request, int status)
{
    struct rest_world world = errand_world(routes);
    struct buf text;

    buf_init(&text, DOCUMENT_MAX);
    (void)rest_json_put_status(world.node, &text); /* as above */
    send_buf(request, status, REST_JSON, &text);
}

static void send_metrics(struct rest_routes *routes, struct rest_request *request)
{
    struct rest_world world = errand_world(routes);
    struct buf text;

    buf_init(&text, DOCUMENT_MAX);
    (void)rest_json_put_metrics(world.node, &text); /* as above */
    send_buf(request, 200, REST_PLAIN, &text);
}

static void send_health(struct rest_routes *routes, struct rest_request *request,
                        const struct rest_question *question)
{
    struct rest_world world = errand_world(routes);
    struct rest_health health = rest_json_health(world.node, question->path, question->query);
    struct rest_answer answer = {.status = health.code, .type = REST_STATUS_ONLY};

    if (question->method == REST_GET && !health.is_status_only)
        send_status(routes, request, health.code);
    else
        rest_answer(request, &answer);
}

static void on_cluster_read(const struct rest_read *read, void *arg)
{
    struct errand *errand = arg;
    struct rest_world world;

    if (!errand_wakes(errand))
        return;
    if (read->rc != RC_OK) {
        errand_answer(errand, 503, read->err->text);
        return;
    }
    world = errand_world(errand->routes);
    errand_answer_json(errand, 200,
                       errand->kind == ERRAND_HISTORY_GET
                           ? rest_json_history(read->map)
                           : rest_json_cluster(read->map, world.node->scope));
}

static void send_history(struct rest_routes *routes, struct rest_request *request)
{
    struct rest_world world = errand_world(routes);

    if (world.map != NULL)
        rest_send_json(request, 200, rest_json_history(world.map));
    else
        errand_read(errand_new(routes, request, ERRAND_HISTORY_GET), on_cluster_read);
}

/* ---- routing ---- */

enum place {
    PLACE_HEALTH,
    PLACE_PATRONI,
    PLACE_CLUSTER,
    PLACE_HISTORY,
    PLACE_CONFIG,
    PLACE_METRICS,
    PLACE_SWITCHOVER,
    PLACE_FAILOVER,
    PLACE_RESTART,
    PLACE_RELOAD,
    PLACE_REINITIALIZE,
    PLACE_COUNT
};

enum {
    AT_GET = 1 << REST_GET,
    AT_POST = 1 << REST_POST,
    AT_PUT = 1 << REST_PUT,
    AT_PATCH = 1 << REST_PATCH,
    AT_DELETE = 1 << REST_DELETE
};

static const struct {
    const char *segment;  /* first of the path */
    unsigned methods;
    bool needs_length;    /* a body is not optional */
} places[PLACE_COUNT] = {
    [PLACE_HEALTH] = {"", 0, false},
    [PLACE_PATRONI] = {"patroni", AT_GET, false},
    [PLACE_CLUSTER] = {"cluster", AT_GET, false},
    [PLACE_HISTORY] = {"history", AT_GET, false},
    [PLACE_CONFIG] = {"config", AT_GET | AT_PATCH | AT_PUT, true},
    [PLACE_METRICS] = {"metrics", AT_GET, false},
    [PLACE_SWITCHOVER] = {"switchover", AT_POST | AT_DELETE, true},
    [PLACE_FAILOVER] = {"failover", AT_POST, true},
    [PLACE_RESTART] = {"restart", AT_POST | AT_DELETE, false},
    [PLACE_RELOAD] = {"reload", AT_POST, false},
    [PLACE_REINITIALIZE] = {"reinitialize", AT_POST, false},
};

/* What is no place of its own belongs to the health checks when it is read, and is nothing when it
 * is to be changed. */
static enum place find_place(enum rest_method method, const char *path)
{
    size_t length = strcspn(path + 1, "/");

    for (enum place place = PLACE_PATRONI; place < PLACE_COUNT; place++) {
        const char *segment = places[place].segment;

        if (strlen(segment) == length && strncmp(path + 1, segment, length) == 0 &&
            (places[place].methods & (1U << method)) != 0)
            return place;
    }
    return PLACE_HEALTH;
}

static unsigned on_route(enum rest_method method, const char *path, void *arg)
{
    enum place place = find_place(method, path);
    bool is_read = method == REST_GET || method == REST_HEAD || method == REST_OPTIONS;

    (void)arg;
    if (is_read)
        return REST_ROUTE_KNOWN;
    if (place == PLACE_HEALTH)
        return REST_ROUTE_NONE;
    return REST_ROUTE_KNOWN | REST_ROUTE_PROTECTED |
           (places[place].needs_length && method != REST_DELETE ? REST_ROUTE_NEEDS_LENGTH : 0U);
}

static void on_question(struct rest_request *request, const struct rest_question *question,
                        void *arg)
{
    struct rest_routes *routes = arg;

    if (question->method >= REST_POST)
        log_info("REST: %s %s from %s", rest_method_text(question->method), question->path,
                 question->peer);
    switch (find_place(question->method, question->path)) {
    case PLACE_HEALTH:
        send_health(routes, request, question);
        return;
    case PLACE_PATRONI:
        send_status(routes, request, 200);
        return;
    case PLACE_CLUSTER:
        errand_read(errand_new(routes, request, ERRAND_CLUSTER_GET), on_cluster_read);
        return;
    case PLACE_HISTORY:
        send_history(routes, request);
        return;
    case PLACE_METRICS:
        send_metrics(routes, request);
        return;
    case PLACE_CONFIG:
        if (question->method == REST_GET)
            rest_config_get(routes, request);
        else
            rest_config_change(routes, request, question);
        return;
    case PLACE_SWITCHOVER:
        if (question->method == REST_DELETE)
            rest_switchover_delete(routes, request);
        else
            rest_switchover_begin(routes, request, question, false);
        return;
    case PLACE_FAILOVER:
        rest_switchover_begin(routes, request, question, true);
        return;
    case PLACE_RESTART:
        if (question->method == REST_DELETE)
            rest_restart_delete(routes, request);
        else
            rest_restart_begin(routes, request, question);
        return;
    case PLACE_RELOAD:
        routes->ops->reload(routes->ops_arg);
        rest_answer_text(request, 202, "reload scheduled");
        return;
    case PLACE_REINITIALIZE:
        rest_reinit_begin(routes, request, question);
        return;
    case PLACE_COUNT:
        break;
    }
    pgh_unreachable();
}

/* ---- life ---- */

struct rest_routes *rest_routes_new(struct loop *loop, const struct rest_ops *ops, void *ops_arg)
{
    struct rest_routes *routes = mem_new(1, sizeof(*routes));

    routes->loop = loop;
    routes->ops = ops;
    routes->ops_arg = ops_arg;
    TAILQ_INIT(&routes->errands);
    return routes;
}

void rest_routes_free(struct rest_routes *routes)
{
    struct errand *errand;

    if (routes == NULL)
        return;
    while ((errand = TAILQ_FIRST(&routes->errands)) != NULL) {
        TAILQ_REMOVE(&routes->errands, errand, link);
        errand->routes = NULL;
        if (errand->request != NULL)
            errand_answer(errand, 503, "this agent is stopping");
    }
    loop_timer_free(routes->plan_timer);
    json_decref(routes->plan);
    mem_free(routes);
}

void rest_routes_handlers(struct rest_routes *routes, struct rest_handlers *ret)
{
    *ret = (struct rest_handlers){.route = on_route, .handle = on_question, .arg = routes};
}

void rest_routes_on_view(struct rest_routes *routes, const struct view *view)
{
    struct errand *errand = TAILQ_FIRST(&routes->errands);

    while (errand != NULL) {
        struct errand *next = TAILQ_NEXT(errand, link);

        if (errand->is_watched && errand->request != NULL)
            rest_switchover_look(errand, view);
        errand = next;
    }
}

const json_t *rest_routes_scheduled_restart(const struct rest_routes *routes)
{
    return routes->plan;
}
