/* Between the REST door, its routes and the rest of the agent: struct rest_world, struct
 * rest_ops, and the gate that makes positions fresh before a peer is told them. */
#include "agent.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/rest.h"

#include "rest_routes.h"

enum {
    REST_HEADERS_COUNT_MAX = 64,
    REST_REQUESTS_MAX = 32,
    REST_FRESH_MS = 15, /* a race is decided by positions: peers get those of this moment */
    REST_TEXT_SIZE = 640
};

struct rest_pending {
    uint32_t request_id; /* 0: free */
    rest_reply_fn *done;
    void *done_arg;
};

struct rest_link {
    struct agent *agent;
    struct rest_routes *routes;
    struct rest_handlers handlers; /* the routes' own */
    struct rest_pending pending[REST_REQUESTS_MAX];
    uint32_t last_request_id;
    /* What rest_world points to. */
    struct rest_node node;
    struct core_status status;
    json_t *replication;
    char reason_text[REST_TEXT_SIZE];
};

/* ---- World ---- */

static json_t *
world_replication(const struct pg_status *status)
{
    json_t *rows;

    if (status == NULL || status->senders_count == 0)
        return NULL;
    rows = json_array();
    for (int i = 0; i < status->senders_count; i++) {
        const struct pg_sender *sender = &status->senders[i];
        json_t *row = json_object();

        (void)json_object_set_new(row, "usename", json_string(sender->user));
        (void)json_object_set_new(row, "application_name", json_string(sender->application_name));
        (void)json_object_set_new(row, "client_addr",
                                  str_is_empty(sender->client_addr)
                                      ? json_null()
                                      : json_string(sender->client_addr));
        (void)json_object_set_new(row, "state", json_string(sender->state));
        (void)json_object_set_new(row, "sync_state", json_string(sender->sync_state));
        (void)json_object_set_new(row, "sync_priority", json_integer(sender->sync_priority));
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static void
world_fill_pg(struct rest_link *link)
{
    struct agent *agent = link->agent;
    const struct pg_status *pg = local_watch_status(agent->local);
    struct rest_node *node = &link->node;

    node->local = local_watch_now(agent->local);
    node->state = link->status.pg_state;
    node->role = link->status.pg_role;
    node->sql_failed = local_watch_is_sql_failed(agent->local);
    node->tags = agent->conf->tags_json;
    node->pending_restart_reason = local_watch_pending(agent->local);
    node->fencing = node->local->adopted ? "adopted" : NULL;
    json_decref(link->replication);
    link->replication = NULL;
    if (pg == NULL)
        return;
    link->replication = world_replication(pg);
    node->replication = link->replication;
    node->postmaster_start_wall_us = pg->postmaster_start_wall_ms * 1000;
    node->replayed_wall_us = pg->replay_wall_ms * 1000;
    node->replay_paused = pg->is_replay_paused;
    node->receiver_latest_end_lsn = pg->receiver_latest_end_lsn;
}

static void
world_fill_cluster(struct rest_link *link, int64_t now_ms)
{
    struct agent *agent = link->agent;
    struct rest_node *node = &link->node;
    int64_t seen_at_ms = link->status.etcd_seen_at_ms;
    bool is_fresh = agent_view(agent) != NULL && seen_at_ms != 0 &&
                    now_ms - seen_at_ms <= agent_policy(agent)->ttl_ms;

    node->view = is_fresh ? agent_view(agent) : NULL;
    node->config = cluster_config(agent->cluster);
    node->is_paused = link->status.paused;
    node->is_leader = link->status.is_leader;
    node->dcs_last_seen_wall_ms = cluster_seen_wall_ms(agent->cluster);
    node->etcd_age_ms = seen_at_ms == 0 ? -1 : now_ms - seen_at_ms;
}

static void
world_fill_certificate(struct rest_link *link)
{
    struct rest_info info;

    if (link->agent->rest == NULL)
        return;
    rest_get_info(link->agent->rest, &info);
    link->node.has_certificate = info.certificate_ends_wall_ms != 0;
    link->node.certificate_left_ms = info.certificate_ends_wall_ms - clock_wall_ms();
}

static void
world_get(void *arg, struct rest_world *ret)
{
    struct rest_link *link = arg;
    struct agent *agent = link->agent;
    struct rest_node *node = &link->node;
    int64_t now_ms = clock_boot_ms();

    core_describe(agent->core, now_ms, &link->status);
    *node = (struct rest_node){.scope = agent->scope, .name = agent->identity.name};
    world_fill_pg(link);
    world_fill_cluster(link, now_ms);
    world_fill_certificate(link);
    node->now_ms = now_ms;
    node->next_run_at_ms = loop_timer_at_ms(agent->timer);
    if (node->next_run_at_ms == 0)
        node->next_run_at_ms = link->status.step_at_ms;
    node->instance = agent->instance;
    node->fence_left_ms = link->status.fence_left_ms;
    node->reason = link->status.reason;
    node->reason_text =
        notes_format(link->status.reason, link->status.reason_member, link->status.reason_value,
                     link->reason_text, sizeof(link->reason_text));
    node->agent_restarts = agent->restart_count;
    node->log_queued = log_queued_count();
    node->log_lost = log_lost_count();
    node->scheduled_restart = rest_routes_scheduled_restart(link->routes);
    *ret = (struct rest_world){.node = node,
                               .map = node->view != NULL ? cluster_map(agent->cluster) : NULL,
                               .policy = agent_policy(agent),
                               .role = pg_role_text(link->status.pg_role)};
}

/* ---- Reads and writes of etcd ---- */

struct read_run {
    struct rest_link *link;
    rest_read_fn *done;
    void *done_arg;
};

static void
read_on_range(const struct etcd_result *result, void *arg)
{
    struct read_run run = *(struct read_run *)arg;
    struct rest_read read = {.rc = RC_OK};
    struct view_map *map;
    struct view *view;

    mem_free(arg);
    if (result->outcome != ETCD_OK) {
        read.rc = result->err->rc != RC_OK ? result->err->rc : RC_UNREACHABLE;
        read.err = result->err;
        run.done(&read, run.done_arg);
        return;
    }
    cluster_note_answer(run.link->agent->cluster);
    map = view_map_new(run.link->agent->prefix, run.link->agent->identity.name);
    view = mem_new(1, sizeof(*view));
    view_map_reset(map, &result->answer->header, result->answer->kvs, result->answer->kv_count,
                   NULL);
    view_map_build(map, view, NULL);
    read.view = view;
    read.map = map;
    run.done(&read, run.done_arg);
    view_map_free(map);
    mem_free(view);
}

static void
link_read_cluster(void *arg, int64_t deadline_ms, rest_read_fn *done, void *done_arg)
{
    struct rest_link *link = arg;
    struct read_run *run = mem_new(1, sizeof(*run));

    *run = (struct read_run){link, done, done_arg};
    (void)etcd_range(link->agent->etcd, link->agent->prefix, true, ETCD_READ_LINEARIZABLE,
                     deadline_ms, read_on_range, run);
}

struct put_run {
    rest_put_fn *done;
    void *done_arg;
};

static void
put_on_txn(const struct etcd_result *result, void *arg)
{
    struct put_run run = *(struct put_run *)arg;
    struct rest_put put = {.outcome = OUTCOME_UNAVAILABLE,
                           .revision = result->answer->header.revision,
                           .err = result->err};

    mem_free(arg);
    if (result->outcome == ETCD_OK)
        put.outcome = OUTCOME_OK;
    else if (result->outcome == ETCD_REFUSED)
        put.outcome = OUTCOME_REFUSED;
    else if (result->outcome == ETCD_UNKNOWN ||
             (result->outcome == ETCD_CANCELLED && result->sent_at_ms != 0))
        put.outcome = OUTCOME_UNKNOWN;
    run.done(&put, run.done_arg);
}

static void
link_put(struct rest_link *link, const char *name, bool is_guarded, const char *text, size_t length,
         int64_t mod_revision, int64_t deadline_ms, rest_put_fn *done, void *done_arg)
{
    struct put_run *run = mem_new(1, sizeof(*run));
    char key[AGENT_KEY_SIZE];
    bool fits = str_format(key, sizeof(key), "%s%s", link->agent->prefix, name);
    struct etcd_compare guard = {
        .key = key, .target = ETCD_COMPARE_MOD_REVISION, .number = mod_revision};
    struct etcd_op put = {
        .kind = ETCD_OP_PUT, .key = key, .value = text, .value_length = length};
    struct etcd_txn txn = {.compares = &guard,
                           .compare_count = is_guarded ? 1 : 0,
                           .success = &put,
                           .success_count = 1};

    pgh_assert(fits);
    *run = (struct put_run){done, done_arg};
    (void)etcd_txn_run(link->agent->etcd, &txn, !is_guarded, deadline_ms, put_on_txn, run);
}

static void
link_put_config(void *arg, const char *text, size_t length, int64_t mod_revision,
                int64_t deadline_ms, rest_put_fn *done, void *done_arg)
{
    link_put(arg, "config", mod_revision != 0, text, length, mod_revision, deadline_ms, done,
             done_arg);
}

static void
link_put_failover(void *arg, const char *text, size_t length, int64_t mod_revision,
                  int64_t deadline_ms, rest_put_fn *done, void *done_arg)
{
    link_put(arg, "failover", true, text, length, mod_revision, deadline_ms, done, done_arg);
}

/* ---- The rest of struct rest_ops ---- */

static void
link_ask_peers(void *arg, const char *const *names, int count, int64_t deadline_ms,
               rest_peers_fn *done, void *done_arg)
{
    struct rest_link *link = arg;

    peers_ask_names(link->agent->peers, names, count, deadline_ms, done, done_arg);
}

struct busy_run {
    rest_reply_fn *done;
    void *done_arg;
};

static void
link_reply_busy(void *arg)
{
    struct busy_run run = *(struct busy_run *)arg;

    mem_free(arg);
    run.done(REPLY_BUSY, OP_NONE, run.done_arg);
}

static void
link_request(void *arg, enum request_kind kind, bool force, bool from_leader, rest_reply_fn *done,
             void *done_arg)
{
    struct rest_link *link = arg;
    struct event event = {.kind = EVENT_REQUEST};
    struct busy_run *run;

    for (int i = 0; i < REST_REQUESTS_MAX; i++) {
        struct rest_pending *pending = &link->pending[i];

        if (pending->request_id != 0)
            continue;
        if (++link->last_request_id == 0)
            link->last_request_id = 1;
        *pending = (struct rest_pending){link->last_request_id, done, done_arg};
        event.u.request.kind = kind;
        event.u.request.request_id = pending->request_id;
        event.u.request.force = force;
        event.u.request.from_leader = from_leader;
        agent_post(link->agent, &event);
        return;
    }
    run = mem_new(1, sizeof(*run));
    *run = (struct busy_run){done, done_arg};
    loop_post(link->agent->loop, link_reply_busy, run);
}

void
rest_link_on_reply(struct rest_link *link, const struct action *action)
{
    for (int i = 0; i < REST_REQUESTS_MAX; i++) {
        struct rest_pending pending = link->pending[i];

        if (pending.request_id == 0 || pending.request_id != action->u.reply.request_id)
            continue;
        link->pending[i] = (struct rest_pending){0};
        pending.done(action->u.reply.code, action->u.reply.busy_with, pending.done_arg);
        return;
    }
}

static void
link_reload(void *arg)
{
    struct rest_link *link = arg;

    reload_request(link->agent->reload);
}

/* The watch tells of what was written. */
static void
link_wake(void *arg)
{
    (void)arg;
}

/* The member key is compared, and written if it differs, at every loop_wait. */
static void
link_touch_member(void *arg)
{
    (void)arg;
}

const json_t *
rest_link_scheduled_restart(const struct rest_link *link)
{
    return link->routes != NULL ? rest_routes_scheduled_restart(link->routes) : NULL;
}

/* ---- Fresh positions ---- */

/* A question that waits for a look; its texts are copies behind it. */
struct fresh_run {
    struct rest_link *link;
    struct rest_request *request;
    struct rest_question question;
    char *path, *query, *body, *peer;
};

static void
fresh_on_look(void *arg)
{
    struct fresh_run *run = arg;

    /* The picture must be the one that the core and the member key are given, too. */
    run->link->handlers.handle(run->request, &run->question, run->link->handlers.arg);
    mem_free(run->path);
    mem_free(run->query);
    mem_free(run->body);
    mem_free(run->peer);
    mem_free(run);
}

static void
fresh_on_told(void *arg)
{
    struct fresh_run *run = arg;

    /* One turn later: the look has marked the local picture, the turn in between publishes it. */
    loop_post(run->link->agent->loop, fresh_on_look, run);
}

static void
link_handle(struct rest_request *request, const struct rest_question *question, void *arg)
{
    struct rest_link *link = arg;
    struct fresh_run *run;

    if (question->method != REST_GET || !str_starts_with(question->path, "/patroni")) {
        link->handlers.handle(request, question, link->handlers.arg);
        return;
    }
    run = mem_new(1, sizeof(*run));
    run->link = link;
    run->request = request;
    run->question = *question;
    run->question.path = run->path = mem_strdup(question->path);
    run->question.query = run->query = mem_strdup(question->query);
    run->question.body = run->body = mem_strdup(question->body);
    run->question.peer = run->peer = mem_strdup(question->peer);
    local_watch_refresh(link->agent->local, REST_FRESH_MS, fresh_on_told, run);
}

static unsigned
link_route(enum rest_method method, const char *path, void *arg)
{
    struct rest_link *link = arg;

    return link->handlers.route(method, path, link->handlers.arg);
}

/* ---- Listener ---- */

static int
link_headers(const json_t *object, struct rest_header *ret)
{
    const char *name;
    json_t *value;
    int count = 0;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (count < REST_HEADERS_COUNT_MAX && json_is_string(value))
            ret[count++] = (struct rest_header){name, json_string_value(value)};
    }
    return count;
}

static enum rest_verify
link_verify(enum conf_verify_client verify)
{
    switch (verify) {
    case CONF_VERIFY_NONE:
        return REST_VERIFY_NONE;
    case CONF_VERIFY_OPTIONAL:
        return REST_VERIFY_OPTIONAL;
    case CONF_VERIFY_REQUIRED:
        return REST_VERIFY_REQUIRED;
    }
    pgh_unreachable();
}

static enum rest_tokens
link_tokens(enum conf_server_tokens tokens)
{
    switch (tokens) {
    case CONF_TOKENS_ORIGINAL:
        return REST_TOKENS_ORIGINAL;
    case CONF_TOKENS_MINIMAL:
        return REST_TOKENS_MINIMAL;
    case CONF_TOKENS_PRODUCT:
        return REST_TOKENS_PRODUCTONLY;
    }
    pgh_unreachable();
}

static enum rc
link_open(struct rest_link *link, const struct rest_options *options, struct err *err)
{
    struct rest_handlers handlers = {.route = link_route, .handle = link_handle, .arg = link};

    if (link->agent->rest != NULL)
        return rest_configure(link->agent->rest, options, err);
    return rest_new(link->agent->loop, link->agent->resolver, options, &handlers,
                    &link->agent->rest, err);
}

enum rc
rest_link_configure(struct rest_link *link, struct err *err)
{
    const struct conf_restapi *conf = &link->agent->conf->restapi;
    struct rest_header plain[REST_HEADERS_COUNT_MAX], tls[REST_HEADERS_COUNT_MAX];
    const char *allowlist[REST_ALLOWLIST_MAX];
    struct rest_options options = {.backlog = (int)conf->request_queue_size,
                                   .server_tokens = link_tokens(conf->server_tokens),
                                   .http_headers = plain,
                                   .https_headers = tls,
                                   .certfile = conf->certfile,
                                   .keyfile = conf->keyfile,
                                   .keyfile_password = conf->keyfile_password,
                                   .cafile = conf->cafile,
                                   .ciphers = conf->ciphers,
                                   .verify_client = link_verify(conf->verify_client),
                                   .username = conf->username,
                                   .password = conf->password,
                                   .allowlist = allowlist,
                                   .allowlist_include_members = conf->allowlist_include_members};
    struct buf listen;
    enum rc rc;

    options.http_header_count = link_headers(conf->http_extra_headers, plain);
    options.https_header_count = link_headers(conf->https_extra_headers, tls);
    for (size_t i = 0; i < json_array_size(conf->allowlist) && i < REST_ALLOWLIST_MAX; i++)
        allowlist[i] = json_string_value(json_array_get(conf->allowlist, i));
    options.allowlist_count = (int)json_array_size(conf->allowlist);
    if (options.allowlist_count > REST_ALLOWLIST_MAX)
        return err_set(err, RC_LIMIT, "restapi.allowlist has %d entries, %d are allowed",
                       options.allowlist_count, REST_ALLOWLIST_MAX);
    buf_init(&listen, HOST_SIZE + 16);
    rc = conf_address_format(&conf->listen, &listen);
    options.listen = buf_text(&listen);
    if (rc == RC_OK)
        rc = link_open(link, &options, err);
    else
        (void)err_set(err, rc, "restapi.listen is too long");
    buf_done(&listen);
    return rc;
}

/* Host of http(s)://host:port/path. */
static bool
link_url_host(const char *url, char *out, size_t size)
{
    struct conf_address address;
    const char *begin = strstr(url, "://");
    char authority[URL_SIZE];
    size_t length;

    if (begin == NULL)
        return false;
    begin += strlen("://");
    length = strcspn(begin, "/");
    if (length >= sizeof(authority))
        return false;
    memcpy(authority, begin, length);
    authority[length] = '\0';
    return conf_address_parse(authority, 80, &address) && str_copy(out, size, address.host);
}

void
rest_link_on_view(struct rest_link *link)
{
    const struct view *view = agent_view(link->agent);
    char hosts[MEMBERS_MAX][HOST_SIZE];
    const char *texts[MEMBERS_MAX];
    int count = 0;

    rest_routes_on_view(link->routes, view);
    if (link->agent->rest == NULL || !link->agent->conf->restapi.allowlist_include_members)
        return;
    for (int i = 0; i < view->member_count; i++) {
        if (!link_url_host(view->members[i].api_url, hosts[count], HOST_SIZE))
            continue;
        texts[count] = hosts[count];
        count++;
    }
    rest_set_members(link->agent->rest, texts, count);
}

void
rest_link_close(struct rest_link *link)
{
    if (link->agent->rest != NULL)
        rest_close_listener(link->agent->rest);
}

struct rest_link *
rest_link_new(struct agent *agent)
{
    static const struct rest_ops ops = {.get_world = world_get,
                                        .read_cluster = link_read_cluster,
                                        .put_config = link_put_config,
                                        .put_failover = link_put_failover,
                                        .ask_peers = link_ask_peers,
                                        .request = link_request,
                                        .reload = link_reload,
                                        .wake = link_wake,
                                        .touch_member = link_touch_member};
    struct rest_link *link = mem_new(1, sizeof(*link));

    link->agent = agent;
    link->routes = rest_routes_new(agent->loop, &ops, link);
    rest_routes_handlers(link->routes, &link->handlers);
    return link;
}

void
rest_link_free(struct rest_link *link)
{
    if (link == NULL)
        return;
    rest_free(link->agent->rest);
    link->agent->rest = NULL;
    rest_routes_free(link->routes);
    json_decref(link->replication);
    mem_free(link);
}
