/* What the tests of the etcd door share: a client, and three gateways that do what the test
 * says. */
#ifndef PGHEIR_LIB_ETCD_HOUSE_H
#define PGHEIR_LIB_ETCD_HOUSE_H

#include "pgheir/base/str.h"
#include "pgheir/io/etcd.h"
#include "pgheir/io/http.h"
#include "pgheir/io/resolver.h"
#include "tests/lib/fake_server.h"

enum { MEMBERS = 3, SCRIPT_MAX = 16 };

/* What a member does with the next calls below its prefix, one after the other; then it does
 * "ok". */
struct step {
    int status; /* 0: silent; -1: closes the connection */
    const char *body;
};

struct member {
    struct fake_server server;
    struct house *house;
    struct step script[SCRIPT_MAX];
    int script_count;
    int script_at;
    int calls;      /* below the prefix, but authenticate and member list */
    int tokens;     /* authenticate */
    int versions;
    int probes;
    bool is_unhealthy; /* says /health */
    uint64_t term;
    uint64_t cluster_id;
    char last_path[128];
    char last_body[2048];
    struct fake_connection *watch; /* that asked for a stream last */
};

struct seen {
    int done;
    enum etcd_outcome outcome;
    bool is_repeat;
    int64_t sent_at_ms;
    int64_t ended_at_ms;
    int64_t lease_id;
    int64_t ttl_ms;
    char endpoint[ETCD_URL_SIZE];
    char text[ERR_TEXT_SIZE];
    size_t op_count;
};

struct house {
    struct loop *loop;
    struct resolver *resolver;
    struct http *http;
    struct etcd *etcd;
    struct member members[MEMBERS];
    char hosts[MEMBERS][64];
    bool wants_token; /* members refuse calls without the current token */
    int token_number;
    const char *prefix;
    int64_t echo_lease; /* an id for answers about leases; 0: that of the request */
    struct seen seen;
};

/* ---- the gateway ---- */

static inline int64_t
lease_of(const struct house *house, const char *body)
{
    const char *id = strstr(body, "\"ID\":\"");

    if (house->echo_lease != 0 || id == NULL)
        return house->echo_lease;
    return strtoll(id + 6, NULL, 10);
}

/* A good answer to any call. */
static inline void
answer_ok(struct member *member, struct fake_connection *connection, const char *path)
{
    const char *kind = "";
    char rest[400] = "";
    char text[1000];

    if (strstr(path, "/lease/") != NULL) {
        (void)snprintf(rest, sizeof(rest), ",\"ID\":\"%lld\",\"TTL\":\"5\",\"grantedTTL\":\"5\"",
                       (long long)lease_of(member->house, member->last_body));
        kind = strstr(path, "keepalive") != NULL ? "{\"result\":" : "";
    } else if (strstr(path, "/txn") != NULL) {
        (void)snprintf(rest, sizeof(rest),
                       ",\"succeeded\":true,\"responses\":[{\"response_put\":{}}]");
    }
    (void)snprintf(text, sizeof(text),
                   "%s{\"header\":{\"cluster_id\":\"%llu\",\"raft_term\":\"%llu\","
                   "\"revision\":\"9\"}%s}%s",
                   kind, (unsigned long long)member->cluster_id, (unsigned long long)member->term,
                   rest, *kind == '\0' ? "" : "}");
    fake_answer(connection, 200, text);
}

static inline bool
has_current_token(const struct house *house, const char *request)
{
    char line[64];

    (void)snprintf(line, sizeof(line), "Authorization: token.%d\r\n", house->token_number);
    return strstr(request, line) != NULL;
}

static inline void
answer_token(struct house *house, struct fake_connection *connection)
{
    char text[300];

    (void)snprintf(text, sizeof(text),
                   "{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"5\"},\"token\":\"token.%d\"}",
                   house->token_number);
    fake_answer(connection, 200, text);
}

static inline void
answer_call(struct member *member, struct fake_connection *connection, const char *path,
            const char *request)
{
    const struct step *step = &member->script[member->script_at];

    member->calls++;
    if (member->house->wants_token && !has_current_token(member->house, request)) {
        fake_answer(connection, 401,
                    "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}");
        return;
    }
    if (member->script_at >= member->script_count) {
        answer_ok(member, connection, path);
        return;
    }
    member->script_at++;
    if (step->status > 0)
        fake_answer(connection, step->status, step->body);
    else if (step->status < 0)
        fake_reset(connection);
}

static inline void
on_request(struct fake_connection *connection, const char *request, void *arg)
{
    struct member *member = arg;
    struct house *house = member->house;
    const char *path = strchr(request, ' ') + 1;
    const char *body = strstr(request, "\r\n\r\n") + 4;

    (void)snprintf(member->last_path, sizeof(member->last_path), "%.*s",
                   (int)strcspn(path, " "), path);
    (void)snprintf(member->last_body, sizeof(member->last_body), "%s", body);
    if (str_equal(member->last_path, "/version")) {
        member->versions++;
        fake_answer(connection, 200,
                    str_equal(house->prefix, "/v3beta")
                        ? "{\"etcdserver\":\"3.3.1\",\"etcdcluster\":\"3.3.0\"}"
                        : "{\"etcdserver\":\"3.4.1\",\"etcdcluster\":\"3.4.0\"}");
    } else if (str_equal(member->last_path, "/health")) {
        member->probes++;
        fake_answer(connection, member->is_unhealthy ? 503 : 200,
                    member->is_unhealthy ? "{\"health\":\"false\"}" : "{\"health\":\"true\"}");
    } else if (!str_starts_with(member->last_path, house->prefix) ||
               member->last_path[strlen(house->prefix)] != '/') {
        fake_answer(connection, 404, "404 page not found\n");
    } else if (strstr(path, "/watch") != NULL && member->script_at >= member->script_count) {
        member->watch = connection;
        fake_stream(connection);
    } else if (strstr(path, "/auth/authenticate") != NULL) {
        member->tokens++;
        answer_token(house, connection);
    } else {
        answer_call(member, connection, member->last_path, request);
    }
}

/* ---- the house ---- */

static inline struct etcd_options
options_of(const struct house *house, const char **hosts, int count)
{
    for (int i = 0; i < count; i++)
        hosts[i] = house->hosts[i];
    return (struct etcd_options){
        .hosts = hosts, .host_count = count, .use_proxies = true, .ttl_ms = 1000};
}

static inline void
open_etcd(struct house *house, int count, const char *username)
{
    const char *hosts[MEMBERS];
    struct etcd_options options = options_of(house, hosts, count);

    etcd_free(house->etcd);
    options.username = username;
    options.password = "secret";
    assert_int_equal(
        etcd_new(house->loop, house->resolver, house->http, &options, &house->etcd, NULL), RC_OK);
}

static inline int
make_house(void **state)
{
    static struct house house;

    house = (struct house){.prefix = "/v3"};
    *state = &house;
    assert_int_equal(loop_new(&house.loop, NULL), RC_OK);
    assert_int_equal(resolver_new(house.loop, NULL, &house.resolver, NULL), RC_OK);
    assert_int_equal(http_new(house.loop, house.resolver, &house.http, NULL), RC_OK);
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &house.members[i];

        member->house = &house;
        member->term = 5;
        member->cluster_id = 1;
        fake_server_start(&member->server, house.loop, on_request, member);
        (void)snprintf(house.hosts[i], sizeof(house.hosts[i]), "127.0.0.1:%d",
                       member->server.port);
    }
    open_etcd(&house, 1, NULL);
    return 0;
}

static inline int
free_house(void **state)
{
    struct house *house = *state;

    etcd_free(house->etcd);
    http_free(house->http);
    resolver_free(house->resolver);
    fake_idle(house->loop, 5);
    for (int i = 0; i < MEMBERS; i++)
        fake_server_stop(&house->members[i].server);
    loop_free(house->loop);
    return 0;
}

static inline void
script(struct house *house, int idx, int status, const char *body)
{
    struct member *member = &house->members[idx];

    assert_true(member->script_count < SCRIPT_MAX);
    member->script[member->script_count++] = (struct step){.status = status, .body = body};
}

static inline void
script_all(struct house *house, int status, const char *body)
{
    for (int i = 0; i < MEMBERS; i++)
        script(house, i, status, body);
}

static inline int
calls(const struct house *house)
{
    int count = 0;

    for (int i = 0; i < MEMBERS; i++)
        count += house->members[i].calls;
    return count;
}

static inline void
on_done(const struct etcd_result *result, void *arg)
{
    struct seen *seen = arg;

    seen->done++;
    seen->outcome = result->outcome;
    seen->is_repeat = result->is_repeat;
    seen->sent_at_ms = result->sent_at_ms;
    seen->ended_at_ms = result->ended_at_ms;
    seen->lease_id = result->answer->lease_id;
    seen->ttl_ms = result->answer->lease_ttl_ms;
    seen->op_count = result->answer->op_count;
    (void)snprintf(seen->endpoint, sizeof(seen->endpoint), "%s", result->endpoint);
    (void)snprintf(seen->text, sizeof(seen->text), "%s", result->err->text);
    if (result->outcome != ETCD_OK)
        assert_true(result->err->text[0] != '\0');
}

static inline int64_t
soon(int64_t span_ms)
{
    return clock_boot_ms() + span_ms;
}

static inline struct etcd_request *
begin_txn(struct house *house, bool retry_safe, int64_t span_ms,
          struct seen *seen)
{
    const struct etcd_op put = {.kind = ETCD_OP_PUT, .key = "k", .value = "v", .value_length = 1};
    const struct etcd_txn txn = {.success = &put, .success_count = 1};

    *seen = (struct seen){0};
    return etcd_txn_run(house->etcd, &txn, retry_safe, soon(span_ms), on_done, seen);
}

static inline const struct seen *
finish(struct house *house, int64_t span_ms)
{
    assert_int_equal(house->seen.done, 0); /* never before the call has returned */
    fake_run(house->loop, &house->seen.done, 1, span_ms + 500);
    fake_idle(house->loop, 2);
    assert_int_equal(house->seen.done, 1);
    return &house->seen;
}

static inline const struct seen *
txn(struct house *house, bool retry_safe, int64_t span_ms)
{
    (void)begin_txn(house, retry_safe, span_ms, &house->seen);
    return finish(house, span_ms);
}

static inline const struct seen *
keepalive(struct house *house, int64_t span_ms)
{
    house->seen = (struct seen){0};
    (void)etcd_lease_keepalive(house->etcd, 77, soon(span_ms), on_done, &house->seen);
    return finish(house, span_ms);
}

static inline const struct seen *
range(struct house *house, int64_t span_ms)
{
    house->seen = (struct seen){0};
    (void)etcd_range(house->etcd, "k", false, ETCD_READ_LINEARIZABLE, soon(span_ms), on_done,
                     &house->seen);
    return finish(house, span_ms);
}

static inline const struct seen *
grant(struct house *house, int64_t span_ms)
{
    house->seen = (struct seen){0};
    (void)etcd_lease_grant(house->etcd, 5000, soon(span_ms), on_done, &house->seen);
    return finish(house, span_ms);
}

#define TIMED_OUT "{\"error\":\"etcdserver: request timed out\",\"code\":14}"
#define NO_LEADER "{\"error\":\"etcdserver: no leader\",\"code\":14}"
#define DENIED "{\"error\":\"etcdserver: permission denied\",\"code\":7}"

/* The index of the member that answered last. */
static inline int
answered_by(const struct house *house)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (strstr(house->seen.endpoint, house->hosts[i]) != NULL)
            return i;
    }
    fail_msg("nobody answered");
    return 0;
}

#define IN_HOUSE(test) cmocka_unit_test_setup_teardown(test, make_house, free_house)

#endif
