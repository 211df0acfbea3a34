#include "ctl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/rest_json.h"
#include "pgheir/codec/view_json.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/resolver.h"

enum {
    ETCD_MS = 5 * 1000,     /* a read or write, over all endpoints; longer than an election */
    GRACE_MS = 2000,        /* the doors keep their deadlines; this is only a net */
    CONNECT_MS = 5 * 1000,
    BODY_MAX = 4 * 1024 * 1024,
    CLUSTERS_SHOWN = 20
};

/* ---- opening ---- */

static int load_conf(struct ctl *ctl)
{
    struct conf_report report;
    struct buf text;
    int code = CTL_DONE;

    conf_report_init(&report);
    buf_init(&text, 64 * 1024);
    if (conf_load(ctl->config_path, (const char *const *)environ, CONF_FOR_CTL, &ctl->conf,
                  &report) != RC_OK) {
        for (int i = 0; i < report.count; i++) {
            if (report.messages[i].severity != CONF_ERROR)
                continue;
            (void)buf_puts(&text, text.length == 0 ? "" : "\n"); /* cut where it gets absurd */
            (void)conf_message_format(&report.messages[i], &text);
        }
        code = ctl_fail("%s", buf_text(&text));
    }
    buf_done(&text);
    conf_report_done(&report);
    return code;
}

static int open_etcd(struct ctl *ctl)
{
    const struct conf_etcd3 *from = &ctl->conf->etcd3;
    struct etcd_options options = {.hosts = from->hosts,
                                   .host_count = from->host_count,
                                   .protocol = from->protocol,
                                   .username = from->username,
                                   .password = from->password,
                                   .cacert = from->cacert,
                                   .cert = from->cert,
                                   .key = from->key,
                                   .use_proxies = true}; /* one question: no discovery */
    struct err err;

    if (from->host_count == 0 && ctl->hidden_path != NULL)
        return ctl_fail("%s is there, but may not be read by this user: become the user that "
                        "owns it, or give -d etcd3://HOST:2379",
                        ctl->hidden_path);
    if (from->host_count == 0)
        return ctl_fail("no etcd is configured%s%s: give -d etcd3://HOST:2379, or -c FILE with "
                        "the section etcd3, or set PATRONI_ETCD3_HOSTS",
                        ctl->config_path == NULL ? "" : " in ",
                        ctl->config_path == NULL ? "" : ctl->config_path);
    if (etcd_new(ctl->loop, ctl->resolver, ctl->http, &options, &ctl->etcd, &err) != RC_OK)
        return ctl_fail("etcd3: %s", err.text);
    return CTL_DONE;
}

int ctl_open(struct ctl *ctl)
{
    struct err err;
    int code = load_conf(ctl);

    if (code != CTL_DONE)
        return code;
    if (ctl->dcs_url != NULL && conf_set_dcs_url(ctl->conf, ctl->dcs_url, &err) != RC_OK)
        return ctl_fail("%s", err.text);
    if (loop_new(&ctl->loop, &err) != RC_OK ||
        resolver_new(ctl->loop, NULL, &ctl->resolver, &err) != RC_OK ||
        http_new(ctl->loop, ctl->resolver, &ctl->http, &err) != RC_OK)
        return ctl_fail("%s", err.text);
    return open_etcd(ctl);
}

void ctl_close(struct ctl *ctl)
{
    etcd_free(ctl->etcd);
    http_free(ctl->http);
    resolver_free(ctl->resolver);
    loop_free(ctl->loop);
    conf_free(ctl->conf);
}

/* ---- waiting ---- */

/* One thing that is awaited; what it brings is taken over in its callback. */
struct wait {
    struct ctl *ctl;
    bool is_done;
    void *out;
    enum etcd_outcome outcome;
    struct err err;
};

static void end_wait(struct wait *wait)
{
    wait->is_done = true;
    loop_stop(wait->ctl->loop);
}

/* Every request ends by itself at its deadline; one that did not would be our own mistake. */
static void await(struct wait *wait, int64_t deadline_ms)
{
    struct err err;

    while (!wait->is_done)
        pgh_assert(loop_run_until(wait->ctl->loop, deadline_ms + GRACE_MS, &err) == RC_OK);
}

static void on_pause_over(void *arg)
{
    end_wait(arg);
}

void ctl_wait(struct ctl *ctl, int64_t span_ms)
{
    struct wait wait = {.ctl = ctl};
    struct loop_timer *timer = loop_timer_new(ctl->loop, on_pause_over, &wait);
    int64_t at_ms = clock_boot_ms() + span_ms;

    loop_timer_arm(timer, at_ms);
    await(&wait, at_ms);
    loop_timer_free(timer);
}

/* ---- etcd ---- */

/* What each endpoint said, one per line: "which of them, and why" is the first question. */
static int fail_etcd(struct ctl *ctl, const struct wait *wait)
{
    struct etcd_endpoint_info info;
    struct buf text;
    int code;

    buf_init(&text, 64 * 1024);
    for (int i = 0; i < etcd_endpoint_count(ctl->etcd); i++) {
        etcd_endpoint_get(ctl->etcd, i, &info);
        if (!str_is_empty(info.error))
            (void)buf_printf(&text, "\n  %s: %s", info.url, info.error); /* cut at 64 KiB */
    }
    if (wait->outcome == ETCD_AUTH_FAILED)
        code = ctl_fail("%s\nLook at etcd3.username and etcd3.password, and at the role of that "
                        "user in etcd.",
                        wait->err.text);
    else if (wait->outcome == ETCD_UNAVAILABLE)
        code = ctl_fail("etcd does not answer:%s", text.length > 0 ? buf_text(&text)
                                                                   : wait->err.text);
    else
        code = ctl_fail("%s", wait->err.text);
    buf_done(&text);
    return code;
}

static void on_range(const struct etcd_result *result, void *arg)
{
    struct wait *wait = arg;
    struct view_map *map = wait->out;

    wait->outcome = result->outcome;
    if (result->outcome == ETCD_OK)
        view_map_reset(map, &result->answer->header, result->answer->kvs,
                       result->answer->kv_count, NULL);
    else
        wait->err = *result->err;
    end_wait(wait);
}

static int read_prefix(struct ctl *ctl, const char *prefix, struct view_map *map)
{
    struct wait wait = {.ctl = ctl, .out = map};
    int64_t deadline_ms = clock_boot_ms() + ETCD_MS;

    (void)etcd_range(ctl->etcd, prefix, true, ETCD_READ_LINEARIZABLE, deadline_ms, on_range,
                     &wait);
    await(&wait, deadline_ms);
    return wait.outcome == ETCD_OK ? CTL_DONE : fail_etcd(ctl, &wait);
}

int ctl_cluster_refresh(struct ctl *ctl, struct ctl_cluster *cluster)
{
    struct view_map *map = view_map_new(buf_text(&cluster->prefix), NULL);
    int code = read_prefix(ctl, buf_text(&cluster->prefix), map);

    if (code != CTL_DONE) {
        view_map_free(map);
        return code;
    }
    view_map_free(cluster->map);
    json_decref(cluster->document);
    cluster->map = map;
    if (cluster->view == NULL)
        cluster->view = mem_new(1, sizeof(*cluster->view));
    view_map_build(map, cluster->view, NULL);
    cluster->document = rest_json_cluster(map, cluster->name);
    return CTL_DONE;
}

/* namespace/ with one slash at each end. */
static void put_namespace(const struct ctl *ctl, struct buf *out)
{
    const char *at = ctl->conf->namespace == NULL ? "service" : ctl->conf->namespace;

    (void)buf_puts(out, "/"); /* the ceiling is seen when the whole prefix stands */
    for (; *at != '\0'; at++) {
        if (*at != '/' || buf_text(out)[out->length - 1] != '/')
            (void)buf_append(out, at, 1);
    }
    if (buf_text(out)[out->length - 1] != '/')
        (void)buf_puts(out, "/");
}

int ctl_cluster_read(struct ctl *ctl, const char *name, struct ctl_cluster *ret)
{
    memset(ret, 0, sizeof(*ret));
    buf_init(&ret->prefix, 4096);
    if (name == NULL)
        name = ctl->conf->scope;
    if (str_is_empty(name))
        return ctl_fail("no cluster name: give one, or -c FILE with the key scope");
    if (strchr(name, '/') != NULL || !str_copy(ret->name, sizeof(ret->name), name))
        return ctl_fail("\"%s\" is no cluster name", name);
    put_namespace(ctl, &ret->prefix);
    if (buf_printf(&ret->prefix, "%s/", name) != RC_OK)
        return ctl_fail("namespace: too long");
    return ctl_cluster_refresh(ctl, ret);
}

void ctl_cluster_done(struct ctl_cluster *cluster)
{
    buf_done(&cluster->prefix);
    view_map_free(cluster->map);
    mem_free(cluster->view);
    json_decref(cluster->document);
}

bool ctl_cluster_is_unknown(const struct ctl_cluster *cluster)
{
    return view_map_count(cluster->map) == 0;
}

/* Names of clusters: what stands between the namespace and the next slash. */
static int add_names(const struct view_map *map, struct buf *out)
{
    const struct view_entry *entry;
    char last[NAME_SIZE] = "";
    size_t idx = 0;
    int count = 0;

    while (view_map_next(map, &idx, &entry)) {
        size_t length = strcspn(entry->key, "/");

        if (entry->key[length] == '\0' || length >= sizeof(last) ||
            (strlen(last) == length && strncmp(last, entry->key, length) == 0))
            continue;
        memcpy(last, entry->key, length);
        last[length] = '\0';
        count++;
        if (count <= CLUSTERS_SHOWN)
            (void)buf_printf(out, "%s%s", count == 1 ? "" : ", ", last);
        else if (count == CLUSTERS_SHOWN + 1)
            (void)buf_puts(out, ", ...");
    }
    return count;
}

int ctl_cluster_fail_unknown(struct ctl *ctl, const struct ctl_cluster *cluster)
{
    struct wait wait = {.ctl = ctl};
    int64_t deadline_ms = clock_boot_ms() + ETCD_MS;
    struct buf place;
    struct buf names;
    int code;

    buf_init(&place, 4096);
    buf_init(&names, 4096);
    put_namespace(ctl, &place);
    wait.out = view_map_new(buf_text(&place), NULL);
    (void)etcd_range(ctl->etcd, buf_text(&place), true, ETCD_READ_LINEARIZABLE, deadline_ms,
                     on_range, &wait);
    await(&wait, deadline_ms);
    if (wait.outcome == ETCD_OK && add_names(wait.out, &names) > 0)
        code = ctl_fail("there is no cluster %s under %s; there are: %s", cluster->name,
                        buf_text(&place), buf_text(&names));
    else
        code = ctl_fail("there is no cluster %s under %s (namespace and scope right?)",
                        cluster->name, buf_text(&place));
    view_map_free(wait.out);
    buf_done(&place);
    buf_done(&names);
    return code;
}

static void on_put(const struct etcd_result *result, void *arg)
{
    struct wait *wait = arg;

    wait->outcome = result->outcome;
    if (result->outcome != ETCD_OK)
        wait->err = *result->err;
    end_wait(wait);
}

enum etcd_outcome ctl_put(struct ctl *ctl, const struct ctl_cluster *cluster, const char *key,
                          const struct buf *value, int64_t mod_revision, struct err *err)
{
    struct wait wait = {.ctl = ctl};
    int64_t deadline_ms = clock_boot_ms() + ETCD_MS;
    struct buf path;
    struct etcd_compare compare = {.target = ETCD_COMPARE_MOD_REVISION, .number = mod_revision};
    struct etcd_op put = {
        .kind = ETCD_OP_PUT, .value = buf_text(value), .value_length = value->length};
    struct etcd_txn txn = {
        .compares = &compare, .compare_count = 1, .success = &put, .success_count = 1};

    buf_init(&path, 8192);
    (void)buf_printf(&path, "%s%s", buf_text(&cluster->prefix), key); /* fits: 4096 + a word */
    compare.key = buf_text(&path);
    put.key = buf_text(&path);
    (void)etcd_txn_run(ctl->etcd, &txn, false, deadline_ms, on_put, &wait);
    await(&wait, deadline_ms);
    buf_done(&path);
    *err = wait.err;
    return wait.outcome;
}

/* ---- agents ---- */

static void on_reply(const struct http_result *result, void *arg)
{
    struct wait *wait = arg;
    struct ctl_reply *reply = wait->out;

    reply->fate = result->fate;
    reply->status = result->status;
    if (result->rc == RC_OK)
        (void)buf_append(&reply->body, result->body, result->body_length); /* bounded by BODY_MAX */
    else
        reply->err = *result->err;
    end_wait(wait);
}

/* http://host:8008/patroni and "switchover" make http://host:8008/switchover. */
static bool make_url(const char *api_url, const char *endpoint, char *out, size_t size)
{
    const char *host = strstr(api_url, "://");

    if (host == NULL)
        return false;
    host += strlen("://");
    return str_format(out, size, "%.*s/%s", (int)(host - api_url + (long)strcspn(host, "/?#")),
                      api_url, endpoint);
}

void ctl_ask(struct ctl *ctl, const char *api_url, const char *method, const char *endpoint,
             const json_t *body, int64_t span_ms, struct ctl_reply *ret)
{
    const struct conf_ctl *from = &ctl->conf->ctl;
    struct http_tls tls = {.cacert = from->cacert,
                           .cert = from->certfile,
                           .key = from->keyfile,
                           .key_password = from->keyfile_password,
                           .insecure = from->insecure || ctl->insecure};
    struct http_options options = {.method = method,
                                   .username = from->username,
                                   .password = from->password,
                                   .tls = &tls,
                                   .deadline_ms = clock_boot_ms() + span_ms,
                                   .connect_ms = CONNECT_MS,
                                   .body_max = BODY_MAX,
                                   .retry_safe = str_equal(method, "GET"),
                                   .fresh_connection = true};
    struct wait wait = {.ctl = ctl, .out = ret};
    char url[CTL_ADDRESS_SIZE];
    struct buf text;

    memset(ret, 0, sizeof(*ret));
    buf_init(&ret->body, BODY_MAX);
    if (!make_url(api_url, endpoint, url, sizeof(url))) {
        ret->fate = HTTP_NOT_SENT;
        (void)err_set(&ret->err, RC_INVALID, "the member has no usable api_url (\"%s\")",
                      api_url);
        return;
    }
    buf_init(&text, BODY_MAX);
    options.url = url;
    if (body != NULL && view_json_put(&text, body) == RC_OK) {
        options.body = buf_text(&text);
        options.body_length = text.length;
    }
    (void)http_request_begin(ctl->http, &options, on_reply, &wait);
    await(&wait, options.deadline_ms);
    buf_done(&text);
}

void ctl_reply_done(struct ctl_reply *reply)
{
    buf_done(&reply->body);
}
