/* A client of the doors that tests drive: one JSON object per line on stdin asks for something, one
 * per line on stdout says how it ended. The first argument is a JSON object with the options. Ends,
 * with everything freed, at end of file.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/etcd.h"
#include "pgheir/io/http.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/resolver.h"

enum { OPS_MAX = 16, HOSTS_MAX = 16, LINE_MAX_BYTES = 8 * 1024 * 1024, URLS_MAX = 16 };

struct probe {
    struct loop *loop;
    struct resolver *resolver;
    struct http *http;
    struct etcd *etcd;
    struct loop_fd *input;
    struct etcd_lines lines;
    struct task *tasks;
};

/* One question of the test's, until it is answered. */
struct task {
    struct task *next;
    struct probe *probe;
    json_int_t id;
    struct etcd_request *request;
    struct etcd_watch *watch;
    struct http_request *http;
    struct http_batch *batch;
    struct resolver_lookup *lookup;
    json_t *items; /* of a batch */
};

static void say(json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);

    pgh_assert(text != NULL);
    (void)printf("%s\n", text);
    (void)fflush(stdout);
    free(text);
    json_decref(line);
}

static struct task *new_task(struct probe *probe, const json_t *order)
{
    struct task *task = mem_new(1, sizeof(*task));

    task->probe = probe;
    task->id = json_integer_value(json_object_get(order, "id"));
    task->next = probe->tasks;
    probe->tasks = task;
    return task;
}

static void end_task(struct task *task)
{
    struct task **at = &task->probe->tasks;

    while (*at != task)
        at = &(*at)->next;
    *at = task->next;
    mem_free(task);
}

static int64_t number_of(const json_t *order, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(order, name);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static const char *text_of(const json_t *order, const char *name)
{
    return json_string_value(json_object_get(order, name));
}

static int64_t deadline_of(const json_t *order)
{
    return clock_boot_ms() + number_of(order, "timeout_ms", 5000);
}

/* ---- etcd ---- */

static json_t *kvs_json(const struct etcd_kv *kvs, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s%, s:I, s:I, s:I}", "key", kvs[i].key, "value", kvs[i].value,
                            kvs[i].value_length, "mod", (json_int_t)kvs[i].mod_revision, "create",
                            (json_int_t)kvs[i].create_revision, "lease",
                            (json_int_t)kvs[i].lease_id));
    return list;
}

static json_t *ops_json(const struct etcd_answer *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < answer->op_count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:i, s:I, s:o}", "kind", (int)answer->ops[i].kind, "deleted",
                            (json_int_t)answer->ops[i].deleted, "kvs",
                            kvs_json(answer->ops[i].kvs, answer->ops[i].kv_count)));
    return list;
}

static void on_done(const struct etcd_result *result, void *arg)
{
    struct task *task = arg;
    const struct etcd_answer *answer = result->answer;

    say(json_pack(
        "{s:I, s:s, s:s, s:b, s:I, s:I, s:s, s:I, s:I, s:I, s:b, s:s, s:I, s:I, s:o, s:o}", "id",
        task->id, "outcome", etcd_outcome_text(result->outcome), "endpoint", result->endpoint,
        "repeat", (int)result->is_repeat, "sent_at_ms", (json_int_t)result->sent_at_ms,
        "ended_at_ms", (json_int_t)result->ended_at_ms, "error",
        result->outcome == ETCD_OK ? "" : result->err->text, "lease", (json_int_t)answer->lease_id,
        "ttl_ms", (json_int_t)answer->lease_ttl_ms, "granted_ttl_ms",
        (json_int_t)answer->lease_granted_ttl_ms, "succeeded", (int)answer->succeeded, "op", "etcd",
        "revision", (json_int_t)answer->header.revision, "raft_term",
        (json_int_t)answer->header.raft_term, "kvs", kvs_json(answer->kvs, answer->kv_count), "ops",
        ops_json(answer)));
    end_task(task);
}

static size_t read_compares(const json_t *list, struct etcd_compare *ret)
{
    size_t count = json_array_size(list);

    pgh_assert(count <= OPS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);

        ret[i] = (struct etcd_compare){.key = text_of(item, "key")};
        if (json_object_get(item, "value") != NULL) {
            ret[i].target = ETCD_COMPARE_VALUE;
            ret[i].value = text_of(item, "value");
            ret[i].value_length = strlen(ret[i].value);
        } else if (json_object_get(item, "mod") != NULL) {
            ret[i].target = ETCD_COMPARE_MOD_REVISION;
            ret[i].number = number_of(item, "mod", 0);
        } else if (json_object_get(item, "lease") != NULL) {
            ret[i].target = ETCD_COMPARE_LEASE;
            ret[i].number = number_of(item, "lease", 0);
        } else if (json_object_get(item, "version") != NULL) {
            ret[i].target = ETCD_COMPARE_VERSION;
            ret[i].number = number_of(item, "version", 0);
        } else {
            ret[i].target = ETCD_COMPARE_CREATE_REVISION;
            ret[i].number = number_of(item, "create", 0);
        }
    }
    return count;
}

static size_t read_ops(const json_t *list, struct etcd_op *ret)
{
    static const struct {
        const char *name;
        enum etcd_op_kind kind;
    } names[] = {{"put", ETCD_OP_PUT},
                 {"delete", ETCD_OP_DELETE},
                 {"delete_prefix", ETCD_OP_DELETE_PREFIX},
                 {"get", ETCD_OP_GET},
                 {"get_prefix", ETCD_OP_GET_PREFIX}};
    size_t count = json_array_size(list);

    pgh_assert(count <= OPS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);

        for (size_t n = 0; n < PGH_COUNT(names); n++) {
            const char *key = text_of(item, names[n].name);
            const char *value = text_of(item, "value");

            if (key != NULL)
                ret[i] = (struct etcd_op){.kind = names[n].kind,
                                          .key = key,
                                          .value = value,
                                          .value_length = value == NULL ? 0 : strlen(value),
                                          .lease_id = number_of(item, "lease", 0)};
        }
    }
    return count;
}

static void order_txn(struct task *task, const json_t *order)
{
    struct etcd_compare compares[OPS_MAX];
    struct etcd_op success[OPS_MAX];
    struct etcd_op failure[OPS_MAX];
    struct etcd_txn txn = {.compares = compares, .success = success, .failure = failure};

    txn.compare_count = read_compares(json_object_get(order, "compares"), compares);
    txn.success_count = read_ops(json_object_get(order, "success"), success);
    txn.failure_count = read_ops(json_object_get(order, "failure"), failure);
    task->request =
        etcd_txn_run(task->probe->etcd, &txn, json_is_true(json_object_get(order, "retry_safe")),
                     deadline_of(order), on_done, task);
}

static bool order_etcd(struct task *task, const char *op, const json_t *order)
{
    struct etcd *etcd = task->probe->etcd;
    int64_t deadline_ms = deadline_of(order);
    int64_t lease_id = number_of(order, "lease", 0);

    if (str_equal(op, "grant"))
        task->request = etcd_lease_grant(etcd, number_of(order, "ttl_ms", 5000), deadline_ms,
                                         on_done, task);
    else if (str_equal(op, "keepalive"))
        task->request = etcd_lease_keepalive(etcd, lease_id, deadline_ms, on_done, task);
    else if (str_equal(op, "ttl"))
        task->request = etcd_lease_time_to_live(etcd, lease_id, deadline_ms, on_done, task);
    else if (str_equal(op, "revoke"))
        task->request = etcd_lease_revoke(etcd, lease_id, deadline_ms, on_done, task);
    else if (str_equal(op, "range"))
        task->request = etcd_range(etcd, text_of(order, "key"),
                                   json_is_true(json_object_get(order, "prefix")),
                                   json_is_true(json_object_get(order, "serializable"))
                                       ? ETCD_READ_SERIALIZABLE
                                       : ETCD_READ_LINEARIZABLE,
                                   deadline_ms, on_done, task);
    else if (str_equal(op, "txn"))
        order_txn(task, order);
    return task->request != NULL;
}

static void on_events(const struct etcd_answer *answer, void *arg)
{
    const struct task *task = arg;
    json_t *events = json_array();

    for (size_t i = 0; i < answer->event_count; i++)
        (void)json_array_append_new(
            events, json_pack("{s:b, s:o}", "delete", (int)answer->events[i].is_delete, "kv",
                              kvs_json(&answer->events[i].kv, 1)));
    say(json_pack("{s:I, s:b, s:I, s:o}", "watch", task->id, "created", (int)answer->watch_created,
                  "revision", (json_int_t)answer->header.revision, "events", events));
}

static void on_lost(const struct etcd_loss *loss, void *arg)
{
    static const char *const names[] = {"disconnected", "idle",  "compacted",
                                        "refused",      "stale", "cancelled"};
    struct task *task = arg;

    say(json_pack("{s:I, s:s, s:I, s:s}", "watch", task->id, "lost", names[loss->why], "resume",
                  (json_int_t)loss->resume_revision, "error", loss->err->text));
    end_task(task);
}

static void order_watch(struct task *task, const json_t *order)
{
    struct etcd_watch_options options = {.prefix = text_of(order, "prefix"),
                                         .start_revision = number_of(order, "start", 1),
                                         .open_ms = number_of(order, "open_ms", 0),
                                         .idle_ms = number_of(order, "idle_ms", 0)};

    task->watch = etcd_watch_begin(task->probe->etcd, &options, on_events, on_lost, task);
}

/* ---- http and names ---- */

static json_t *http_json(const struct http_result *result)
{
    static const char *const fates[] = {"answered", "not sent", "unknown", "cancelled"};

    return json_pack("{s:s, s:s, s:i, s:I, s:I, s:s, s:s%}", "fate", fates[result->fate], "rc",
                     rc_text(result->rc), "status", result->status, "sent_at_ms",
                     (json_int_t)result->sent_at_ms, "ended_at_ms", (json_int_t)result->ended_at_ms,
                     "error", result->rc == RC_OK ? "" : result->err->text, "body", result->body,
                     result->body_length);
}

static void on_http(const struct http_result *result, void *arg)
{
    struct task *task = arg;
    json_t *line = http_json(result);

    (void)json_object_set_new(line, "id", json_integer(task->id));
    say(line);
    end_task(task);
}

static void on_each(int idx, const struct http_result *result, void *arg)
{
    const struct task *task = arg;

    (void)json_array_set_new(task->items, (size_t)idx, http_json(result));
}

static void on_all(void *arg)
{
    struct task *task = arg;

    say(json_pack("{s:I, s:o}", "id", task->id, "items", task->items));
    end_task(task);
}

static void order_http(struct task *task, const json_t *order)
{
    const json_t *urls = json_object_get(order, "urls");
    const char *list[URLS_MAX];
    struct http_tls tls = {.cacert = text_of(order, "cacert"),
                           .cert = text_of(order, "cert"),
                           .key = text_of(order, "key"),
                           .key_password = text_of(order, "key_password"),
                           .insecure = json_is_true(json_object_get(order, "insecure"))};
    struct http_options options = {.url = text_of(order, "url"),
                                   .body = text_of(order, "body"),
                                   .tls = &tls,
                                   .username = text_of(order, "username"),
                                   .password = text_of(order, "password"),
                                   .deadline_ms = deadline_of(order),
                                   .connect_ms = number_of(order, "connect_ms", 0),
                                   .body_max = (size_t)number_of(order, "body_max", 0),
                                   .retry_safe = json_is_true(json_object_get(order,
                                                              "retry_safe"))};

    if (options.body != NULL)
        options.body_length = strlen(options.body);
    if (urls == NULL) {
        task->http = http_request_begin(task->probe->http, &options, on_http, task);
        return;
    }
    task->items = json_array();
    pgh_assert(json_array_size(urls) <= URLS_MAX);
    for (size_t i = 0; i < json_array_size(urls); i++) {
        list[i] = json_string_value(json_array_get(urls, i));
        (void)json_array_append_new(task->items, json_null());
    }
    task->batch = http_batch_begin(task->probe->http, list, (int)json_array_size(urls), &options,
                                   on_each, on_all, task);
}

static void on_addresses(const struct resolver_answer *answer, void *arg)
{
    struct task *task = arg;
    json_t *addresses = json_array();

    for (int i = 0; i < answer->count; i++)
        (void)json_array_append_new(addresses, json_string(answer->addresses[i]));
    say(json_pack("{s:I, s:s, s:b, s:o, s:s}", "id", task->id, "rc", rc_text(answer->rc), "old",
                  (int)answer->is_old, "addresses", addresses, "error", answer->err->text));
    end_task(task);
}

/* ---- orders ---- */

static enum rc read_options(const json_t *config, struct etcd_options *ret, const char **hosts)
{
    const json_t *list = json_object_get(config, "hosts");

    *ret = (struct etcd_options){.hosts = hosts,
                                 .host_count = (int)json_array_size(list),
                                 .protocol = text_of(config, "protocol"),
                                 .username = text_of(config, "username"),
                                 .password = text_of(config, "password"),
                                 .cacert = text_of(config, "cacert"),
                                 .cert = text_of(config, "cert"),
                                 .key = text_of(config, "key"),
                                 .ttl_ms = number_of(config, "ttl_ms", 0)};
    ret->use_proxies = json_is_true(json_object_get(config, "use_proxies"));
    if (ret->host_count > HOSTS_MAX)
        return RC_LIMIT;
    for (int i = 0; i < ret->host_count; i++)
        hosts[i] = json_string_value(json_array_get(list, (size_t)i));
    return RC_OK;
}

static struct task *find_task(struct probe *probe, json_int_t id)
{
    struct task *task = probe->tasks;

    while (task != NULL && task->id != id)
        task = task->next;
    return task;
}

static void order_cancel(struct probe *probe, const json_t *order)
{
    struct task *task = find_task(probe, number_of(order, "task", 0));

    if (task == NULL)
        return;
    if (task->request != NULL)
        etcd_request_cancel(task->request);
    else if (task->watch != NULL)
        etcd_watch_cancel(task->watch);
    else if (task->http != NULL)
        http_request_cancel(task->http);
    else if (task->batch != NULL)
        http_batch_cancel(task->batch);
    else
        resolver_lookup_cancel(task->lookup);
}

static void order_endpoints(struct probe *probe, const json_t *order)
{
    json_t *list = json_array();
    struct etcd_endpoint_info info;

    for (int i = 0; i < etcd_endpoint_count(probe->etcd); i++) {
        etcd_endpoint_get(probe->etcd, i, &info);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:b, s:b, s:s}", "url", info.url, "configured",
                            (int)info.is_configured, "avoided", (int)info.is_avoided, "error",
                            info.error));
    }
    say(json_pack("{s:I, s:o}", "id", (json_int_t)number_of(order, "id", 0), "endpoints", list));
}

static void order_reconfigure(struct probe *probe, const json_t *order)
{
    const char *hosts[HOSTS_MAX];
    struct etcd_options options;
    struct err err = {0};

    pgh_assert(read_options(order, &options, hosts) == RC_OK);
    (void)etcd_reconfigure(probe->etcd, &options, &err);
    say(json_pack("{s:I, s:s}", "id", (json_int_t)number_of(order, "id", 0), "error", err.text));
}

static bool on_order(const char *line, size_t length, void *arg)
{
    struct probe *probe = arg;
    json_t *order = json_loadb(line, length, 0, NULL);
    const char *op = text_of(order, "op");

    pgh_assert(op != NULL);
    if (str_equal(op, "cancel"))
        order_cancel(probe, order);
    else if (str_equal(op, "endpoints"))
        order_endpoints(probe, order);
    else if (str_equal(op, "reconfigure"))
        order_reconfigure(probe, order);
    else if (str_equal(op, "note_failed"))
        resolver_note_failed(probe->resolver, text_of(order, "name"));
    else if (str_equal(op, "expect"))
        etcd_watch_expect(find_task(probe, number_of(order, "task", 0))->watch,
                          number_of(order, "revision", 0), deadline_of(order));
    else if (str_equal(op, "watch"))
        order_watch(new_task(probe, order), order);
    else if (str_equal(op, "http"))
        order_http(new_task(probe, order), order);
    else if (str_equal(op, "resolve")) {
        struct task *task = new_task(probe, order);

        task->lookup = resolver_lookup_begin(probe->resolver, text_of(order, "name"),
                                             deadline_of(order), on_addresses, task);
    } else {
        pgh_assert(order_etcd(new_task(probe, order), op, order));
    }
    json_decref(order);
    return true;
}

static void on_input(int fd, unsigned ready, void *arg)
{
    struct probe *probe = arg;
    char bytes[4096];
    ssize_t length = read(fd, bytes, sizeof(bytes));

    (void)ready;
    if (length <= 0) {
        loop_fd_want(probe->input, 0);
        loop_stop(probe->loop);
        return;
    }
    pgh_assert(etcd_lines_feed(&probe->lines, bytes, (size_t)length, on_order, probe) == RC_OK);
}

static void die(const struct err *err)
{
    (void)fprintf(stderr, "etcd_probe: %s\n", err->text);
    exit(1);
}

int main(int argc, char **argv)
{
    struct log_options log = {.level = LOG_LEVEL_DEBUG};
    json_t *config = argc == 2 ? json_loads(argv[1], 0, NULL) : NULL;
    struct resolver_options resolver_options = {.nameserver = text_of(config, "nameserver"),
                                                .fresh_ms = number_of(config, "fresh_ms", 0)};
    struct probe probe = {0};
    const char *hosts[HOSTS_MAX];
    struct etcd_options options;
    struct err err = {0};

    if (config == NULL || read_options(config, &options, hosts) != RC_OK) {
        (void)fprintf(stderr, "usage: etcd_probe '{\"hosts\":[...]}'\n");
        return 2;
    }
    (void)log_open(&log);
    if (loop_new(&probe.loop, &err) != RC_OK ||
        resolver_new(probe.loop, &resolver_options, &probe.resolver, &err) != RC_OK ||
        http_new(probe.loop, probe.resolver, &probe.http, &err) != RC_OK ||
        etcd_new(probe.loop, probe.resolver, probe.http, &options, &probe.etcd, &err) != RC_OK)
        die(&err);
    if (options.ttl_ms != 0)
        http_set_ttl(probe.http, options.ttl_ms);
    etcd_lines_init(&probe.lines, LINE_MAX_BYTES);
    probe.input = loop_fd_new(probe.loop, STDIN_FILENO, on_input, &probe);
    loop_fd_want(probe.input, LOOP_READ);
    say(json_pack("{s:b}", "ready", 1));
    if (loop_run(probe.loop, &err) != RC_OK)
        die(&err);
    etcd_free(probe.etcd);
    http_free(probe.http);
    resolver_free(probe.resolver);
    /* What the resolver had under way ends in the next turns. */
    (void)loop_run_until(probe.loop, clock_boot_ms() + 50, NULL);
    loop_fd_free(probe.input);
    loop_free(probe.loop);
    etcd_lines_done(&probe.lines);
    json_decref(config);
    log_flush();
    log_close();
    return 0;
}
