/* GET, PATCH and PUT /config. */
#include "rest_errand.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/view_json.h"

static const char no_config[] = "etcd holds no valid key config; the leader restores it from its "
                                "own copy within loop_wait seconds";

static void answer_config(struct errand *errand, const json_t *config)
{
    if (config == NULL)
        errand_answer(errand, 502, no_config);
    else
        errand_answer_json(errand, 200, json_deep_copy(config));
}

static void on_config_read(const struct rest_read *read, void *arg)
{
    struct errand *errand = arg;

    if (!errand_wakes(errand))
        return;
    if (read->rc != RC_OK)
        errand_answer(errand, 503, read->err->text);
    else
        answer_config(errand, view_map_config(read->map));
}

void rest_config_get(struct rest_routes *routes, struct rest_request *request)
{
    struct rest_world world = errand_world(routes);
    struct errand *errand = errand_new(routes, request, ERRAND_CONFIG_GET);

    if (world.map != NULL)
        answer_config(errand, view_map_config(world.map));
    else
        errand_read(errand, on_config_read);
}

static void on_config_put(const struct rest_put *put, void *arg)
{
    struct errand *errand = arg;
    struct rest_routes *routes = errand->routes;

    if (!errand_wakes(errand))
        return;
    switch (put->outcome) {
    case OUTCOME_OK:
        log_info("dynamic configuration changed over REST revision=%lld",
                 (long long)put->revision);
        routes->ops->wake(routes->ops_arg);
        errand_answer_json(errand, 200, json_incref(errand->config));
        return;
    case OUTCOME_REFUSED:
        errand_answer(errand, 409,
                      "somebody else changed the configuration meanwhile, nothing was written: "
                      "look at it and repeat");
        return;
    case OUTCOME_UNKNOWN:
        errand_answer(errand, 503,
                      "etcd did not confirm the write, its outcome is unknown: read the "
                      "configuration before repeating");
        return;
    case OUTCOME_LEASE_GONE:
    case OUTCOME_UNAVAILABLE:
        errand_answer(errand, errand->kind == ERRAND_CONFIG_PUT ? 502 : 503, put->err->text);
        return;
    case OUTCOME_COUNT:
        break;
    }
    pgh_unreachable();
}

static void write_config(struct errand *errand, int64_t mod_revision)
{
    struct rest_routes *routes = errand->routes;
    int64_t deadline_ms = clock_boot_ms() + errand_world(routes).policy->retry_timeout_ms;
    struct buf text;

    buf_init(&text, POLICY_JSON_BYTES_MAX);
    if (view_json_put(&text, errand->config) != RC_OK) {
        errand_answer(errand, 400, "the configuration would be larger than 1 MiB");
    } else {
        errand_waits(errand);
        routes->ops->put_config(routes->ops_arg, buf_text(&text), text.length, mod_revision,
                                deadline_ms, on_config_put, errand);
    }
    buf_done(&text);
}

/* A PATCH keeps what it does not name; a PUT replaces the whole object and asks for no guard
 * (rest.md 7.1). */
static void on_base_read(const struct rest_read *read, void *arg)
{
    struct errand *errand = arg;
    const struct view_entry *entry;
    const json_t *old;
    bool is_changed;

    if (!errand_wakes(errand))
        return;
    if (read->rc != RC_OK) {
        errand_answer(errand, 503, read->err->text);
        return;
    }
    old = view_map_config(read->map);
    entry = view_map_find(read->map, "config");
    if (errand->kind == ERRAND_CONFIG_PUT) {
        errand->config = json_incref(errand->body);
        is_changed = old == NULL || !policy_json_equal(old, errand->body);
    } else if (old == NULL) {
        errand_answer(errand, 503, no_config);
        return;
    } else {
        errand->config = policy_json_merge(old, errand->body, &is_changed);
    }
    if (is_changed)
        write_config(errand, errand->kind == ERRAND_CONFIG_PUT ? 0 : entry->mod_revision);
    else
        errand_answer_json(errand, 200, json_incref(errand->config));
}

void rest_config_change(struct rest_routes *routes, struct rest_request *request,
                        const struct rest_question *question)
{
    struct errand *errand =
        errand_new(routes, request,
                   question->method == REST_PUT ? ERRAND_CONFIG_PUT : ERRAND_CONFIG_PATCH);
    struct err err;

    if (rest_json_body_read(question->body, question->body_length, false, &errand->body, &err) !=
            RC_OK ||
        policy_json_check(errand->body, &err) != RC_OK) {
        errand_answer(errand, 400, err.text);
        return;
    }
    errand_read(errand, on_base_read);
}
