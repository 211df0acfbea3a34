/* The REST routes with a door, a clock, timers and an agent that are played. For the tests of the
 * routes; each is one program and includes this once. Link with --wrap=clock_boot_ms and
 * --wrap=clock_wall_ms. */
#ifndef PGHEIR_UNIT_REST_RIG_H
#define PGHEIR_UNIT_REST_RIG_H

#include "../lib/check.h"

#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/agent/rest_routes.h"

enum { WALL_MS = 1000000000, BODY_SIZE = 8192 };

/* ---- clock and timers ---- */

/* The names that --wrap gives. */
int64_t rig_boot_ms(void) __asm__("__wrap_clock_boot_ms");
int64_t rig_wall_ms(void) __asm__("__wrap_clock_wall_ms");

static int64_t now_ms;
static int64_t wall_offset_ms;

int64_t rig_boot_ms(void)
{
    return now_ms;
}

int64_t rig_wall_ms(void)
{
    return WALL_MS + now_ms + wall_offset_ms;
}

enum { TIMERS_MAX = 16 };

struct loop_timer {
    loop_call_fn *fn;
    void *arg;
    int64_t at_ms;
    bool is_used;
};

static struct loop_timer timers[TIMERS_MAX];

struct loop_timer *loop_timer_new(struct loop *loop, loop_call_fn *fn, void *arg)
{
    (void)loop;
    for (int i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].is_used)
            continue;
        timers[i] = (struct loop_timer){.fn = fn, .arg = arg, .is_used = true};
        return &timers[i];
    }
    fail_msg("too many timers");
    return NULL;
}

void loop_timer_arm(struct loop_timer *timer, int64_t at_ms)
{
    timer->at_ms = at_ms;
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer != NULL)
        *timer = (struct loop_timer){.fn = NULL};
}

static inline int count_timers(void)
{
    int count = 0;

    for (int i = 0; i < TIMERS_MAX; i++)
        count += timers[i].is_used ? 1 : 0;
    return count;
}

static inline void advance(int64_t span_ms)
{
    int64_t until_ms = now_ms + span_ms;

    for (;;) {
        struct loop_timer *next = NULL;

        for (int i = 0; i < TIMERS_MAX; i++) {
            if (timers[i].is_used && timers[i].at_ms != 0 && timers[i].at_ms <= until_ms &&
                (next == NULL || timers[i].at_ms < next->at_ms))
                next = &timers[i];
        }
        if (next == NULL)
            break;
        now_ms = next->at_ms > now_ms ? next->at_ms : now_ms;
        next->at_ms = 0;
        next->fn(next->arg);
    }
    now_ms = until_ms;
}

/* ---- the door ---- */

struct rest_request {
    int status; /* 0: not answered */
    enum rest_type type;
    char body[BODY_SIZE];
    int64_t deadline_ms;
    char late_text[128];
};

void rest_answer(struct rest_request *request, const struct rest_answer *answer)
{
    assert_int_equal(request->status, 0);
    request->status = answer->status;
    request->type = answer->type;
    assert_true(str_copy(request->body, sizeof(request->body),
                         answer->body == NULL ? "" : answer->body));
}

void rest_answer_text(struct rest_request *request, int status, const char *text)
{
    struct rest_answer answer = {.status = status, .type = REST_HTML, .body = text};

    rest_answer(request, &answer);
}

void rest_request_set_deadline(struct rest_request *request, int64_t deadline_ms, int status,
                               const char *text)
{
    assert_int_equal(status, 503);
    request->deadline_ms = deadline_ms;
    assert_true(str_copy(request->late_text, sizeof(request->late_text), text));
}

const char *rest_method_text(enum rest_method method)
{
    (void)method;
    return "METHOD";
}

/* ---- the agent ---- */

struct rig {
    struct rest_routes *routes;
    struct rest_handlers handlers;
    struct view_map *map;
    struct view *view;
    struct local local;
    struct rest_node node;
    struct policy policy;
    const char *role;
    bool has_view;
    /* What was asked and is not done. */
    rest_read_fn *read_done;
    void *read_arg;
    int read_count;
    rest_put_fn *put_done;
    void *put_arg;
    char put_key[16];
    char put_text[BODY_SIZE];
    int64_t put_guard;
    int put_count;
    rest_peers_fn *peers_done;
    void *peers_arg;
    char peers[256];
    rest_reply_fn *reply_done;
    void *reply_arg;
    enum request_kind request_kind;
    bool force;
    bool from_leader;
    int request_count;
    int wake_count;
    int reload_count;
    int touch_count;
};

static struct rig rig;

static void get_world(void *arg, struct rest_world *ret)
{
    assert_ptr_equal(arg, &rig);
    rig.node.view = rig.has_view ? rig.view : NULL;
    rig.node.config = view_map_config(rig.map);
    *ret = (struct rest_world){.node = &rig.node,
                               .map = rig.has_view ? rig.map : NULL,
                               .policy = &rig.policy,
                               .role = rig.role};
}

static void read_cluster(void *arg, int64_t deadline_ms, rest_read_fn *done, void *done_arg)
{
    (void)arg;
    assert_true(deadline_ms > now_ms);
    assert_null(rig.read_done);
    rig.read_done = done;
    rig.read_arg = done_arg;
    rig.read_count++;
}

static void take_put(const char *key, const char *text, size_t length, int64_t mod_revision,
                     int64_t deadline_ms, rest_put_fn *done, void *done_arg)
{
    assert_true(deadline_ms > now_ms);
    assert_null(rig.put_done);
    assert_int_equal(strlen(text), length);
    assert_true(str_copy(rig.put_key, sizeof(rig.put_key), key));
    assert_true(str_copy(rig.put_text, sizeof(rig.put_text), text));
    rig.put_guard = mod_revision;
    rig.put_done = done;
    rig.put_arg = done_arg;
    rig.put_count++;
}

static void put_config(void *arg, const char *text, size_t length, int64_t mod_revision,
                       int64_t deadline_ms, rest_put_fn *done, void *done_arg)
{
    (void)arg;
    take_put("config", text, length, mod_revision, deadline_ms, done, done_arg);
}

static void put_failover(void *arg, const char *text, size_t length, int64_t mod_revision,
                         int64_t deadline_ms, rest_put_fn *done, void *done_arg)
{
    (void)arg;
    take_put("failover", text, length, mod_revision, deadline_ms, done, done_arg);
}

static void ask_peers(void *arg, const char *const *names, int count, int64_t deadline_ms,
                      rest_peers_fn *done, void *done_arg)
{
    (void)arg;
    assert_true(deadline_ms > now_ms);
    rig.peers[0] = '\0';
    for (int i = 0; i < count; i++) {
        size_t length = strlen(rig.peers);

        assert_true(str_format(rig.peers + length, sizeof(rig.peers) - length, "%s ", names[i]));
    }
    rig.peers_done = done;
    rig.peers_arg = done_arg;
}

static void request(void *arg, enum request_kind kind, bool force, bool from_leader,
                    rest_reply_fn *done, void *done_arg)
{
    (void)arg;
    rig.request_kind = kind;
    rig.force = force;
    rig.from_leader = from_leader;
    rig.reply_done = done;
    rig.reply_arg = done_arg;
    rig.request_count++;
}

static void reload(void *arg)
{
    (void)arg;
    rig.reload_count++;
}

static void wake(void *arg)
{
    (void)arg;
    rig.wake_count++;
}

static void touch_member(void *arg)
{
    (void)arg;
    rig.touch_count++;
}

static const struct rest_ops ops = {get_world, read_cluster, put_config, put_failover, ask_peers,
                                    request,   reload,       wake,       touch_member};

/* ---- keys ---- */

static const char member_text[] =
    "{\"api_url\":\"http://h:8008/patroni\",\"conn_url\":\"postgres://h:5432/postgres\","
    "\"state\":\"running\",\"role\":\"replica\"}";

/* Pairs of key and value, NULL at the end; every key gets the revision of the whole. */
static void set_keys(int64_t revision, const char *const *pairs)
{
    struct etcd_kv kvs[16];
    struct etcd_header header = {.revision = revision, .raft_term = 1};
    char keys[16][64];
    size_t count = 0;

    memset(kvs, 0, sizeof(kvs));
    for (; pairs[2 * count] != NULL; count++) {
        assert_true(str_format(keys[count], sizeof(keys[0]), "/service/demo/%s",
                               pairs[2 * count]));
        kvs[count].key = keys[count];
        kvs[count].key_length = strlen(keys[count]);
        kvs[count].value = pairs[2 * count + 1];
        kvs[count].value_length = strlen(pairs[2 * count + 1]);
        kvs[count].create_revision = revision;
        kvs[count].mod_revision = revision;
        kvs[count].version = 1;
    }
    view_map_reset(rig.map, &header, kvs, count, NULL);
    view_map_build(rig.map, rig.view, NULL);
}

#define KEYS(revision, ...) set_keys(revision, (const char *const[]){__VA_ARGS__, NULL, NULL})
#define THREE                                                                                      \
    "members/n1", member_text, "members/n2", member_text, "members/n3", member_text

static int setup(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof(rig));
    memset(timers, 0, sizeof(timers));
    now_ms = 1000000;
    wall_offset_ms = 0;
    rig.map = view_map_new("/service/demo/", "n1");
    rig.view = mem_new(1, sizeof(*rig.view));
    policy_init(&rig.policy);
    local_init(&rig.local);
    rig.local.server_version = 150020;
    rig.local.postmaster = POSTMASTER_UP;
    rig.local.sql_valid = true;
    rig.local.sql_ok_at_ms = now_ms;
    rig.role = "primary";
    rig.has_view = true;
    rig.node = (struct rest_node){.scope = "demo",
                                  .name = "n1",
                                  .local = &rig.local,
                                  .state = PG_STATE_RUNNING,
                                  .role = PG_ROLE_PRIMARY,
                                  .postmaster_start_wall_us = 1000000,
                                  .reason_text = "",
                                  .instance = "i",
                                  .etcd_age_ms = 0};
    KEYS(100, "config", "{\"ttl\":30,\"x\":{\"kept\":1}}", THREE, "leader", "n1");
    rig.routes = rest_routes_new(NULL, &ops, &rig);
    rest_routes_handlers(rig.routes, &rig.handlers);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rest_routes_free(rig.routes);
    view_map_free(rig.map);
    mem_free(rig.view);
    assert_int_equal(count_timers(), 0);
    return 0;
}

static void ask(struct rest_request *ret, enum rest_method method, const char *path,
                const char *body)
{
    struct rest_question question = {.method = method,
                                     .path = path,
                                     .query = "",
                                     .body = body,
                                     .body_length = strlen(body),
                                     .peer = "127.0.0.1"};

    memset(ret, 0, sizeof(*ret));
    rig.handlers.handle(ret, &question, rig.handlers.arg);
}

static void finish_read(void)
{
    struct rest_read read = {.rc = RC_OK, .view = rig.view, .map = rig.map};
    rest_read_fn *done = rig.read_done;

    assert_non_null(done);
    rig.read_done = NULL;
    done(&read, rig.read_arg);
}

static inline void fail_read(void)
{
    struct err err;
    struct rest_read read = {.rc = RC_TIMEOUT, .err = &err};
    rest_read_fn *done = rig.read_done;

    (void)err_set(&err, RC_TIMEOUT, "etcd does not answer");
    assert_non_null(done);
    rig.read_done = NULL;
    done(&read, rig.read_arg);
}

static inline void finish_put(enum call_outcome outcome, int64_t revision)
{
    struct err err;
    struct rest_put put = {.outcome = outcome, .revision = revision, .err = &err};
    rest_put_fn *done = rig.put_done;

    (void)err_set(&err, RC_TIMEOUT, "etcd said no");
    assert_non_null(done);
    rig.put_done = NULL;
    done(&put, rig.put_arg);
}

static inline void finish_peers(bool is_good)
{
    struct peer_answer answer = {.name = "n2", .reachable = is_good,
                                 .running = is_good};
    rest_peers_fn *done = rig.peers_done;

    assert_non_null(done);
    rig.peers_done = NULL;
    done(&answer, 1, rig.peers_arg);
}

static inline void finish_reply(enum reply_code code, enum op_kind busy_with)
{
    rest_reply_fn *done = rig.reply_done;

    assert_non_null(done);
    rig.reply_done = NULL;
    done(code, busy_with, rig.reply_arg);
}

static inline void assert_answer(const struct rest_request *asked, int status, const char *text)
{
    assert_string_equal(asked->body, text);
    assert_int_equal(asked->status, status);
}

static inline void assert_open(const struct rest_request *asked)
{
    assert_int_equal(asked->status, 0);
}

#endif
