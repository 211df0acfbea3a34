/* The life of a request to etcd: which attempt comes next, what each answer means, and exactly one
 * completion.
 *
 *              +-------------------------------------------------+
 *              v                                                 |
 *   start -> step -> VERSION (once per client) ----- answered ---+
 *              |---> TOKEN (if users are on) ------- answered ---+
 *              |---> CALL ---------------- failed, may be tried -+---> PAUSE (after each round) ->
 * step
 *              |       +------ answered ------> end
 *              +------ deadline, cancel ------> end
 *
 * Only end_request() leaves the graph. */
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/io/etcd_private.h"

enum {
    PAUSE_FIRST_MS = 50, /* after a round through all endpoints, doubling */
    PAUSE_LAST_MS = 500,
    FIRST_SPAN_MS = 1000,
    SHARES_MAX = 3,        /* an attempt gets at least a third of the time that is left */
    TOKEN_RETRIES_MAX = 2, /* new tokens per request */
    SMALL_BODY_MAX = 64 * 1024
};

static const struct {
    const char *path;
    enum etcd_answer_kind answer;
} kind_table[] = {
    [ETCD_KIND_PREPARE] = {"", ETCD_ANSWER_HEADER_ONLY},
    [ETCD_KIND_GRANT] = {"/lease/grant", ETCD_ANSWER_GRANT},
    [ETCD_KIND_KEEPALIVE] = {"/lease/keepalive", ETCD_ANSWER_KEEPALIVE},
    [ETCD_KIND_TIME_TO_LIVE] = {"/lease/timetolive", ETCD_ANSWER_TIME_TO_LIVE},
    [ETCD_KIND_REVOKE] = {"/lease/revoke", ETCD_ANSWER_HEADER_ONLY},
    [ETCD_KIND_RANGE] = {"/kv/range", ETCD_ANSWER_RANGE},
    [ETCD_KIND_TXN] = {"/kv/txn", ETCD_ANSWER_TXN},
    [ETCD_KIND_MEMBERS] = {"/cluster/member/list", ETCD_ANSWER_MEMBERS},
};

static void step(struct etcd_request *request);

/* ---- completion ---- */

static void free_request(struct etcd_request *request)
{
    loop_timer_free(request->timer);
    etcd_endpoint_release(request->endpoint);
    buf_done(&request->body);
    mem_free(request->success_kinds);
    mem_free(request->failure_kinds);
    mem_free(request);
}

/* A token is there, or whoever fetched it has given up: those that wait for it go on. */
static void wake_waiters(struct etcd *etcd, const struct etcd_request *authenticator)
{
    struct etcd_request *request;

    if (etcd->authenticator != authenticator)
        return;
    etcd->authenticator = NULL;
    TAILQ_FOREACH(request, &etcd->requests, link)
    {
        if (request != authenticator && request->phase == ETCD_PHASE_PAUSE)
            loop_timer_arm(request->timer, 0);
    }
}

/* The one way out. answer may be NULL. */
static void end_request(struct etcd_request *request, enum etcd_outcome outcome,
                        const struct etcd_answer *answer)
{
    static const struct etcd_answer nothing;
    struct etcd *etcd = request->etcd;
    struct etcd_result result = {
        .outcome = outcome,
        .sent_at_ms = request->sent_at_ms,
        .ended_at_ms = clock_boot_ms(),
        .is_repeat = request->is_repeat,
        .endpoint = request->endpoint == NULL ? "" : request->endpoint->url,
        .answer = answer == NULL ? &nothing : answer,
        .err = &request->err,
    };

    pgh_assert(request->call == NULL);
    TAILQ_REMOVE(&etcd->requests, request, link);
    loop_timer_disarm(request->timer);
    wake_waiters(etcd, request);
    request->done(&result, request->arg);
    free_request(request);
}

static void end_at_deadline(struct etcd_request *request)
{
    if (request->err.text[0] == '\0')
        (void)err_set(&request->err, RC_TIMEOUT, "etcd: no attempt was possible in the time given");
    end_request(request,
                request->is_repeat && request->is_write ? ETCD_UNKNOWN : ETCD_UNAVAILABLE, NULL);
}

/* ---- the next attempt ---- */

static void pause_until(struct etcd_request *request, int64_t at_ms)
{
    request->phase = ETCD_PHASE_PAUSE;
    loop_timer_arm(request->timer, at_ms < request->deadline_ms ? at_ms : request->deadline_ms);
}

/* After a round the members get a moment to elect a leader or to come back. */
static void pause_after_round(struct etcd_request *request)
{
    int64_t pause_ms = PAUSE_FIRST_MS;

    for (int i = 0; i < request->rounds && pause_ms < PAUSE_LAST_MS; i++)
        pause_ms *= 2;
    request->rounds++;
    request->tried_count = 0;
    pause_until(request, clock_boot_ms() + (pause_ms < PAUSE_LAST_MS ? pause_ms : PAUSE_LAST_MS));
}

/* A share of the time that is left: one third while there are others to ask, else one half, so
 * that one silent member can never eat it all (ET-01). What may be repeated is given a second at
 * first, because what hangs in an election of etcd's hangs far beyond its end; each round
 * doubles it, because etcd may just be slow. */
static int64_t attempt_span(const struct etcd_request *request, int64_t now_ms)
{
    int left =
        etcd_endpoint_count_left(request->etcd, request->tried, request->tried_count);
    int64_t shares = left < 2 ? 2 : left > SHARES_MAX ? SHARES_MAX : left;
    int64_t span_ms = (request->deadline_ms - now_ms) / shares;
    int64_t first_ms = (int64_t)FIRST_SPAN_MS << (request->rounds < 10 ? request->rounds : 10);

    if (request->is_retry_safe && span_ms > first_ms)
        span_ms = first_ms;
    return span_ms < 1 ? 1 : span_ms;
}

static void on_answer(const struct http_result *result, void *arg);

static void begin_http(struct etcd_request *request, enum etcd_phase phase, const char *prefix,
                       const char *path, const struct buf *body)
{
    struct etcd *etcd = request->etcd;
    struct etcd_endpoint *endpoint = request->endpoint;
    char url[ETCD_PATH_SIZE];
    struct http_options options = {
        .url = url,
        .method = body == NULL ? "GET" : "POST",
        .body = body == NULL ? NULL : buf_text(body),
        .body_length = body == NULL ? 0 : body->length,
        .authorization = phase == ETCD_PHASE_CALL ? etcd->token : NULL,
        .tls = &etcd->tls,
        .deadline_ms = request->attempt_deadline_ms,
        .body_max = phase == ETCD_PHASE_CALL ? (size_t)ETCD_BODY_MAX : (size_t)SMALL_BODY_MAX,
        .retry_safe = phase != ETCD_PHASE_CALL || request->is_retry_safe,
        .fresh_connection = endpoint->wants_fresh,
        .first_address = (unsigned)endpoint->failures,
    };

    (void)str_format(url, sizeof(url), "%s%s%s", endpoint->url, prefix, path);
    request->phase = phase;
    request->token_order = etcd->token_order;
    loop_timer_disarm(request->timer);
    request->call = http_request_begin(etcd->http, &options, on_answer, request);
}

static void begin_token(struct etcd_request *request)
{
    struct etcd *etcd = request->etcd;
    struct buf body;

    etcd->authenticator = request;
    buf_init(&body, SMALL_BODY_MAX);
    if (etcd_put_authenticate(&body, etcd->username, etcd->password) == RC_OK) {
        begin_http(request, ETCD_PHASE_TOKEN, etcd->prefix, "/auth/authenticate", &body);
    } else {
        (void)err_set(&request->err, RC_INVALID, "etcd3.username or etcd3.password is not UTF-8");
        end_request(request, ETCD_AUTH_FAILED, NULL);
    }
    buf_done(&body);
}

static void begin_call(struct etcd_request *request)
{
    const char *path = request->is_confirming ? kind_table[ETCD_KIND_KEEPALIVE].path
                                              : kind_table[request->kind].path;

    begin_http(request, ETCD_PHASE_CALL, request->etcd->prefix, path, &request->body);
}

static bool needs_token(const struct etcd *etcd)
{
    return etcd->username != NULL && !etcd->is_auth_off && etcd->token == NULL;
}

/* Asks what is missing next: the dialect, a token, or the question itself. */
static void step(struct etcd_request *request)
{
    struct etcd *etcd = request->etcd;
    int64_t now_ms = clock_boot_ms();
    struct etcd_endpoint *endpoint;

    if (buf_is_overflown(&request->body)) {
        (void)err_set(&request->err, RC_LIMIT, "etcd: the request is larger than %d bytes",
                      ETCD_REQUEST_MAX);
        end_request(request, ETCD_INVALID, NULL);
        return;
    }
    if (now_ms >= request->deadline_ms) {
        end_at_deadline(request);
        return;
    }
    if (etcd->prefix != NULL && needs_token(etcd) && etcd->authenticator != NULL) {
        pause_until(request, request->deadline_ms);
        return;
    }
    if (etcd->prefix != NULL && !needs_token(etcd) && request->kind == ETCD_KIND_PREPARE) {
        end_request(request, ETCD_OK, NULL);
        return;
    }
    endpoint = etcd_endpoint_pick(etcd, request->tried, request->tried_count);
    if (endpoint == NULL) {
        pause_after_round(request);
        return;
    }
    etcd_endpoint_hold(endpoint);
    etcd_endpoint_release(request->endpoint);
    request->endpoint = endpoint;
    request->begun_at_ms = now_ms;
    request->attempt_deadline_ms = now_ms + attempt_span(request, now_ms);
    if (etcd->prefix == NULL)
        begin_http(request, ETCD_PHASE_VERSION, "", "/version", NULL);
    else if (needs_token(etcd))
        begin_token(request);
    else
        begin_call(request);
}

static void on_request_timer(void *arg)
{
    step(arg);
}

/* The endpoint did not help: it is not asked again in this round. */
static void try_another(struct etcd_request *request)
{
    if (request->tried_count < ETCD_ENDPOINTS_MAX)
        request->tried[request->tried_count++] = request->endpoint->id;
    step(request);
}

/* ---- failures ---- */

/* After an attempt that etcd may have carried out. */
static void go_on_unsure(struct etcd_request *request)
{
    if (request->phase == ETCD_PHASE_CALL) {
        request->is_repeat = true;
        if (!request->is_retry_safe) {
            end_request(request, ETCD_UNKNOWN, NULL);
            return;
        }
    }
    try_another(request);
}

static void on_no_answer(struct etcd_request *request, const struct http_result *result)
{
    bool is_dead = result->rc == RC_TIMEOUT || result->rc == RC_UNREACHABLE;
    bool is_fair = result->rc != RC_TIMEOUT ||
                   clock_boot_ms() - request->begun_at_ms >= ETCD_FAIR_MS;

    request->err = *result->err;
    if (result->fate == HTTP_CANCELLED) {
        end_request(request, ETCD_CANCELLED, NULL);
        return;
    }
    if (is_fair)
        etcd_endpoint_note_bad(request->endpoint, is_dead, result->err->text);
    wake_waiters(request->etcd, request);
    if (result->fate == HTTP_UNKNOWN)
        go_on_unsure(request);
    else
        try_another(request);
}

/* The answer makes no sense, so nothing is known about what was done. */
static void on_garbage(struct etcd_request *request)
{
    (void)err_wrap(&request->err, "etcd %s", request->endpoint->url);
    etcd_endpoint_note_bad(request->endpoint, false, request->err.text);
    wake_waiters(request->etcd, request);
    go_on_unsure(request);
}

static void retry_with_token(struct etcd_request *request)
{
    struct etcd *etcd = request->etcd;

    if (etcd->username == NULL || request->token_retries >= TOKEN_RETRIES_MAX) {
        end_request(request, ETCD_AUTH_FAILED, NULL);
        return;
    }
    request->token_retries++;
    etcd->is_auth_off = false;
    etcd_token_drop(etcd, request->token_order);
    step(request);
}

/* The id of a grant is taken: by our own earlier attempt, or by chance. */
static void on_lease_exists(struct etcd_request *request)
{
    buf_clear(&request->body);
    if (request->is_repeat) {
        request->is_confirming = true;
        (void)etcd_put_lease_id(&request->body, request->lease_id);
    } else {
        request->lease_id = etcd_lease_id_new();
        (void)etcd_put_grant(&request->body, request->lease_id, request->ttl_ms);
    }
    step(request);
}

static void on_lease_not_found(struct etcd_request *request)
{
    if (request->kind == ETCD_KIND_REVOKE && request->is_repeat)
        end_request(request, ETCD_OK, NULL);
    else
        end_request(request, ETCD_LEASE_NOT_FOUND, NULL);
}

/* Unknown path: perhaps the cluster was upgraded to a version that speaks another dialect. */
static void on_final(struct etcd_request *request, const struct etcd_error *error)
{
    if (error->grpc_code == ETCD_GRPC_UNIMPLEMENTED && !request->was_dialect_asked) {
        request->was_dialect_asked = true;
        request->etcd->prefix = NULL;
        step(request);
        return;
    }
    end_request(request, ETCD_INVALID, NULL);
}

static void on_error(struct etcd_request *request, const struct http_result *result)
{
    struct etcd_error error;

    etcd_error_parse(result->status, result->body, result->body_length, &error);
    (void)err_set(&request->err, RC_REFUSED, "etcd %s: %s", request->endpoint->url, error.text);
    switch (error.class) {
    case ETCD_ERROR_LEASE_EXISTS:
        on_lease_exists(request);
        return;
    case ETCD_ERROR_LEASE_NOT_FOUND:
        on_lease_not_found(request);
        return;
    case ETCD_ERROR_TOKEN:
        retry_with_token(request);
        return;
    case ETCD_ERROR_DENIED:
        /* Once with a new token, in case the roles have changed; then it is final. */
        if (request->token_retries == 0)
            retry_with_token(request);
        else
            end_request(request, ETCD_AUTH_FAILED, NULL);
        return;
    case ETCD_ERROR_AUTH_FAILED:
        end_request(request, ETCD_AUTH_FAILED, NULL);
        return;
    case ETCD_ERROR_AUTH_DISABLED:
        request->etcd->is_auth_off = true;
        wake_waiters(request->etcd, request);
        step(request);
        return;
    case ETCD_ERROR_NOT_APPLIED:
        etcd_endpoint_note_bad(request->endpoint, false, request->err.text);
        wake_waiters(request->etcd, request);
        try_another(request);
        return;
    case ETCD_ERROR_TRANSIENT:
        etcd_endpoint_note_bad(request->endpoint, false, request->err.text);
        wake_waiters(request->etcd, request);
        go_on_unsure(request);
        return;
    case ETCD_ERROR_COMPACTED:
    case ETCD_ERROR_FINAL:
        on_final(request, &error);
        return;
    }
    pgh_unreachable();
}

/* ---- answers ---- */

static void on_version(struct etcd_request *request, const struct http_result *result)
{
    enum rc rc = RC_PROTOCOL;

    if (result->status == 200)
        rc = etcd_version_parse(result->body, result->body_length, &request->etcd->prefix,
                                &request->err);
    else
        (void)err_set(&request->err, RC_PROTOCOL, "GET /version: HTTP status %d", result->status);
    if (rc == RC_OK) {
        step(request);
        return;
    }
    (void)err_wrap(&request->err, "etcd %s", request->endpoint->url);
    etcd_endpoint_note_bad(request->endpoint, false, request->err.text);
    try_another(request);
}

static void on_token(struct etcd_request *request, const struct http_result *result)
{
    struct etcd *etcd = request->etcd;
    struct etcd_answer answer = {0};
    enum rc rc = RC_REFUSED;

    if (result->status == 200)
        rc = etcd_answer_parse(ETCD_ANSWER_AUTHENTICATE, result->body, result->body_length,
                               &answer, &request->err);
    if (rc == RC_REFUSED) {
        on_error(request, result);
        return;
    }
    if (rc != RC_OK) {
        on_garbage(request);
        return;
    }
    mem_free(etcd->token);
    etcd->token = mem_strdup(answer.token);
    etcd->token_order++;
    etcd_answer_done(&answer);
    wake_waiters(etcd, request);
    step(request);
}

/* Each op must have its answer, because the owner reads them by index. */
static enum rc check_txn(struct etcd_request *request, const struct etcd_answer *answer)
{
    const enum etcd_op_kind *kinds =
        answer->succeeded ? request->success_kinds : request->failure_kinds;
    size_t count = answer->succeeded ? request->success_count : request->failure_count;

    if (answer->op_count != count)
        return err_set(&request->err, RC_PROTOCOL, "txn: expected %zu answers, got %zu", count,
                       answer->op_count);
    for (size_t i = 0; i < count; i++) {
        if (answer->ops[i].kind != kinds[i])
            return err_set(&request->err, RC_PROTOCOL, "txn: answer %zu is of the wrong kind", i);
    }
    return RC_OK;
}

static enum rc check_answer(struct etcd_request *request, const struct etcd_answer *answer)
{
    bool is_lease = request->kind == ETCD_KIND_GRANT || request->kind == ETCD_KIND_KEEPALIVE ||
                    request->kind == ETCD_KIND_TIME_TO_LIVE;

    if (is_lease && answer->lease_id != request->lease_id)
        return err_set(&request->err, RC_PROTOCOL, "the answer is about another lease");
    if (request->kind == ETCD_KIND_GRANT && !request->is_confirming && answer->lease_ttl_ms == 0)
        return err_set(&request->err, RC_PROTOCOL, "a lease without a TTL was granted");
    return request->kind == ETCD_KIND_TXN ? check_txn(request, answer) : RC_OK;
}

static void on_good_answer(struct etcd_request *request, const struct etcd_answer *answer)
{
    struct etcd *etcd = request->etcd;
    bool is_kept = request->kind == ETCD_KIND_KEEPALIVE || request->is_confirming;

    etcd_endpoint_note_good(request->endpoint);
    etcd_endpoint_prefer(request->endpoint);
    if (etcd->discover_at_ms == 0) {
        etcd->discover_at_ms = clock_boot_ms();
        loop_timer_arm(etcd->care_timer, 0);
    }
    if ((is_kept && answer->lease_ttl_ms == 0) ||
        (request->kind == ETCD_KIND_TIME_TO_LIVE && answer->lease_granted_ttl_ms == 0)) {
        (void)err_set(&request->err, RC_NOT_FOUND, "etcd %s: the lease is gone",
                      request->endpoint->url);
        end_request(request, ETCD_LEASE_NOT_FOUND, answer);
    } else if (request->kind == ETCD_KIND_TXN && !answer->succeeded) {
        (void)err_set(&request->err, RC_REFUSED, "etcd %s: the transaction's guard did not hold",
                      request->endpoint->url);
        end_request(request, ETCD_REFUSED, answer);
    } else {
        end_request(request, ETCD_OK, answer);
    }
}

static void on_call(struct etcd_request *request, const struct http_result *result)
{
    enum etcd_answer_kind kind = request->is_confirming ? ETCD_ANSWER_KEEPALIVE
                                                        : kind_table[request->kind].answer;
    struct etcd_answer answer = {0};
    enum rc rc = RC_REFUSED;

    if (result->status == 200)
        rc = etcd_answer_parse(kind, result->body, result->body_length, &answer, &request->err);
    if (rc == RC_REFUSED) {
        on_error(request, result);
        return;
    }
    if (rc == RC_OK)
        rc = check_answer(request, &answer);
    if (rc != RC_OK) {
        on_garbage(request);
    } else if (!etcd_endpoint_note_header(request->endpoint, &answer.header)) {
        (void)err_set(&request->err, RC_PROTOCOL,
                      "the member answers under an old raft term or of another cluster: it is cut "
                      "off from the others");
        on_garbage(request);
    } else {
        on_good_answer(request, &answer);
    }
    etcd_answer_done(&answer);
}

static void on_answer(const struct http_result *result, void *arg)
{
    struct etcd_request *request = arg;

    /* NULL: cancelled, and completed by whoever did that. */
    if (request->call == NULL)
        return;
    request->call = NULL;
    if (request->phase == ETCD_PHASE_CALL && result->sent_at_ms != 0)
        request->sent_at_ms = result->sent_at_ms;
    if (result->fate != HTTP_ANSWERED)
        on_no_answer(request, result);
    else if (request->phase == ETCD_PHASE_VERSION)
        on_version(request, result);
    else if (request->phase == ETCD_PHASE_TOKEN)
        on_token(request, result);
    else
        on_call(request, result);
}

/* ---- beginning and end from outside ---- */

struct etcd_request *etcd_request_new(struct etcd *etcd, enum etcd_kind kind, int64_t deadline_ms,
                                      etcd_done_fn *done, void *arg)
{
    struct etcd_request *request = mem_new(1, sizeof(*request));

    pgh_assert(deadline_ms > 0);
    pgh_assert(done != NULL);
    request->etcd = etcd;
    request->kind = kind;
    request->is_retry_safe = true;
    request->deadline_ms = deadline_ms;
    request->done = done;
    request->arg = arg;
    request->timer = loop_timer_new(etcd->loop, on_request_timer, request);
    buf_init(&request->body, ETCD_REQUEST_MAX);
    TAILQ_INSERT_TAIL(&etcd->requests, request, link);
    return request;
}

void etcd_request_start(struct etcd_request *request)
{
    loop_timer_arm(request->timer, 0);
}

void etcd_request_cancel(struct etcd_request *request)
{
    struct http_request *call = request->call;

    if (call != NULL) {
        request->call = NULL;
        http_request_cancel(call);
    }
    (void)err_set(&request->err, RC_CANCELLED, "etcd: cancelled by the caller");
    end_request(request, ETCD_CANCELLED, NULL);
}
