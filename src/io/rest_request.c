#include "rest_private.h"

#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

enum { ANSWER_MS = 5 * 60 * 1000 /* a handler that forgets */ };

static const char *const method_texts[REST_METHOD_COUNT] = {"GET", "HEAD", "OPTIONS", "POST",
                                                            "PUT", "PATCH", "DELETE"};

const char *rest_method_text(enum rest_method method)
{
    pgh_assert(method < REST_METHOD_COUNT);
    return method_texts[method];
}

static struct bufferevent *bev_of(struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);

    return evcon == NULL ? NULL : evhttp_connection_get_bufferevent(evcon);
}

static struct rest_place *place_of(struct rest *rest, struct evhttp_request *req)
{
    struct bufferevent *bev = bev_of(req);

    return bev == NULL ? NULL : rest_places_find(&rest->places, bufferevent_getfd(bev));
}

/* ---- answers ---- */

static void on_complete(struct evhttp_request *req, void *arg)
{
    struct rest *rest = arg;
    struct rest_place *place = place_of(rest, req);

    if (rest->sending == req)
        rest->sending = NULL;
    if (place != NULL)
        rest_place_set(place, REST_PLACE_READING, clock_boot_ms());
}

static const char *type_text(enum rest_type type)
{
    switch (type) {
    case REST_STATUS_ONLY:
        return NULL;
    case REST_JSON:
        return "application/json";
    case REST_HTML:
        return "text/html";
    case REST_PLAIN:
        return "text/plain";
    }
    pgh_unreachable();
}

static void add_headers(const struct rest *rest, struct evkeyvalq *out, bool is_tls,
                        const struct rest_answer *answer)
{
    const struct rest_look *look = rest->look;

    (void)evhttp_add_header(out, "Server", look->server);
    (void)evhttp_add_header(out, "Content-Type", type_text(answer->type));
    for (int i = 0; i < answer->header_count; i++)
        (void)evhttp_add_header(out, answer->headers[i].name, answer->headers[i].value);
    for (int i = 0; i < look->http_count; i++)
        (void)evhttp_add_header(out, look->http[i].name, look->http[i].value);
    for (int i = 0; is_tls && i < look->https_count; i++)
        (void)evhttp_add_header(out, look->https[i].name, look->https[i].value);
}

/* req is gone when this returns. */
static void send_bytes(struct rest *rest, struct evhttp_request *req, int status,
                       struct evbuffer *body)
{
    struct rest_place *place = place_of(rest, req);
    struct bufferevent *bev = bev_of(req);

    if (place != NULL)
        rest_place_set(place, REST_PLACE_WRITING, clock_boot_ms());
    evhttp_request_set_on_complete_cb(req, on_complete, rest);
    if (bev != NULL)
        bufferevent_incref(bev);
    rest->sending = req;
    evhttp_send_reply(req, status, NULL, body);
    /* evhttp watches for the end of the stream while it writes, and would drop the answer to a
     * client that has closed its own half. Over TLS the answer may have left already. */
    if (bev != NULL && rest->sending != NULL)
        (void)bufferevent_disable(bev, EV_READ);
    rest->sending = NULL;
    if (bev != NULL)
        (void)bufferevent_decref(bev);
}

static void send_answer(struct rest *rest, struct evhttp_request *req, bool is_head, bool is_tls,
                        const struct rest_answer *answer)
{
    struct evbuffer *body = evbuffer_new();
    size_t length = answer->body_length;

    pgh_assert(body != NULL);
    if (answer->type != REST_STATUS_ONLY) {
        add_headers(rest, evhttp_request_get_output_headers(req), is_tls, answer);
        if (length == 0 && answer->body != NULL)
            length = strlen(answer->body);
        if (length > 0 && !is_head)
            pgh_assert(evbuffer_add(body, answer->body, length) == 0);
    }
    send_bytes(rest, req, answer->status, body);
    evbuffer_free(body);
}

/* Pages of the HTTP layer itself. The connection ends: what follows on it is not to be trusted. */
static void refuse(struct rest *rest, struct evhttp_request *req, int status, const char *reason)
{
    struct evkeyvalq *out = evhttp_request_get_output_headers(req);
    struct evbuffer *body = evbuffer_new();

    pgh_assert(body != NULL);
    (void)evhttp_add_header(out, "Server", rest->look->server);
    (void)evhttp_add_header(out, "Content-Type", "text/html;charset=utf-8");
    (void)evhttp_add_header(out, "Connection", "close");
    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
        (void)evbuffer_add_printf(body,
                                  "<!DOCTYPE HTML>\n<html><head><title>Error response</title>"
                                  "</head>\n<body><h1>Error response</h1>\n<p>Error code: %d</p>"
                                  "\n<p>Message: %s.</p></body></html>\n",
                                  status, reason);
    send_bytes(rest, req, status, body);
    evbuffer_free(body);
}

static void end_request(struct rest_request *request)
{
    if (request->rest != NULL) {
        TAILQ_REMOVE(&request->rest->requests, request, link);
        request->rest->request_count--;
    }
    loop_timer_free(request->timer);
    mem_free(request->late_text);
    mem_free(request);
}

void rest_answer(struct rest_request *request, const struct rest_answer *answer)
{
    pgh_assert(answer->status >= 200 && answer->status <= 599);
    if (request->rest != NULL && request->req != NULL)
        send_answer(request->rest, request->req, request->is_head, request->is_tls, answer);
    end_request(request);
}

void rest_answer_text(struct rest_request *request, int status, const char *text)
{
    struct rest_answer answer = {.status = status, .type = REST_HTML, .body = text};

    rest_answer(request, &answer);
}

static void on_late(void *arg)
{
    struct rest_request *request = arg;
    struct evhttp_request *req = request->req;
    struct rest_answer answer = {
        .status = request->late_status, .type = REST_HTML, .body = request->late_text};

    if (req == NULL || request->rest == NULL)
        return;
    request->req = NULL;
    send_answer(request->rest, req, request->is_head, request->is_tls, &answer);
}

void rest_request_set_deadline(struct rest_request *request, int64_t deadline_ms, int status,
                               const char *text)
{
    char *copy = mem_strdup(text);

    mem_free(request->late_text);
    request->late_text = copy;
    request->late_status = status;
    if (request->rest == NULL || request->req == NULL)
        return;
    if (request->timer == NULL)
        request->timer = loop_timer_new(request->rest->loop, on_late, request);
    loop_timer_arm(request->timer, deadline_ms);
}

bool rest_request_is_gone(const struct rest_request *request)
{
    return request->rest == NULL || request->req == NULL ||
           evhttp_request_get_connection(request->req) == NULL;
}

/* ---- questions ---- */

static bool read_method(enum evhttp_cmd_type command, enum rest_method *ret)
{
    static const enum evhttp_cmd_type commands[REST_METHOD_COUNT] = {
        EVHTTP_REQ_GET, EVHTTP_REQ_HEAD,  EVHTTP_REQ_OPTIONS, EVHTTP_REQ_POST,
        EVHTTP_REQ_PUT, EVHTTP_REQ_PATCH, EVHTTP_REQ_DELETE};

    for (int i = 0; i < REST_METHOD_COUNT; i++) {
        if (commands[i] == command) {
            *ret = (enum rest_method)i;
            return true;
        }
    }
    return false;
}

static bool is_digits(const char *text)
{
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* Where two readers could disagree about the end of this request, it is refused: the next one on
 * the connection might be somebody's smuggled one. */
static bool is_framed_well(struct evhttp_request *req, bool *ret_has_length)
{
    const struct evkeyval *header;
    const char *length = NULL;
    bool is_chunked = false;
    bool is_head = evhttp_request_get_command(req) == EVHTTP_REQ_HEAD;

    TAILQ_FOREACH(header, evhttp_request_get_input_headers(req), next) {
        if (str_equal_nocase(header->key, "Content-Length")) {
            if (!is_digits(header->value) || (length != NULL && !str_equal(length, header->value)))
                return false;
            length = header->value;
        } else if (str_equal_nocase(header->key, "Transfer-Encoding")) {
            if (is_chunked || !str_equal_nocase(header->value, "chunked"))
                return false;
            is_chunked = true;
        }
    }
    *ret_has_length = length != NULL || is_chunked;
    return !(is_chunked && length != NULL) &&
           !(is_head && (is_chunked || (length != NULL && !str_equal(length, "0"))));
}

/* Owner: the caller, who frees with mem_free(). NULL if the path cannot be used. */
static char *read_path(struct evhttp_request *req)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *raw = uri == NULL ? NULL : evhttp_uri_get_path(uri);
    char *decoded;
    char *path = NULL;
    size_t length = 0;

    if (raw == NULL)
        return NULL;
    /* OPTIONS * and an absolute URI without a path. */
    if (raw[0] != '/')
        return mem_strdup(raw[0] == '\0' ? "/" : "/*");
    decoded = evhttp_uridecode(raw, 0, &length);
    if (decoded != NULL && strlen(decoded) == length)
        path = mem_strdup(decoded);
    free(decoded); /* libevent's own memory */
    return path;
}

static const char *plain_peer(const char *peer)
{
    static const char mapped[] = "::ffff:";

    if (str_starts_with(peer, mapped) && strchr(peer, '.') != NULL)
        return peer + strlen(mapped);
    return peer;
}

static bool passes_gate(struct rest *rest, struct evhttp_request *req,
                        const struct rest_question *question, unsigned route)
{
    static const struct rest_header basic = {"WWW-Authenticate", "Basic realm=\"Patroni\""};
    struct bufferevent *bev = bev_of(req);
    struct rest_gate_question asked = {
        .peer = question->peer,
        .is_tls = question->is_tls,
        .has_certificate = question->is_tls && bev != NULL && rest_tls_has_certificate(bev),
        .authorization =
            evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization"),
        .no_members = (route & REST_ROUTE_NO_MEMBERS) != 0,
    };
    struct rest_gate_verdict verdict;
    struct rest_answer answer = {.type = REST_HTML, .headers = &basic};

    if ((route & REST_ROUTE_PROTECTED) == 0) {
        /* Whatever changes something is protected, even where a route forgets to say so. */
        pgh_assert(question->method <= REST_OPTIONS);
        return true;
    }
    rest_gate_check(rest->gate, &asked, &verdict);
    if (verdict.status == 0)
        return true;
    answer.status = verdict.status;
    answer.body = verdict.text;
    answer.header_count = verdict.ask_basic ? 1 : 0;
    send_answer(rest, req, false, question->is_tls, &answer);
    return false;
}

static void hand_over(struct rest *rest, struct evhttp_request *req,
                      struct rest_question *question)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(req);
    struct rest_request *request = mem_new(1, sizeof(*request));
    struct rest_place *place = place_of(rest, req);
    char *body;

    question->body_length = evbuffer_get_length(input);
    pgh_assert(question->body_length <= REST_BODY_MAX);
    body = mem_new(question->body_length + 1, 1);
    (void)evbuffer_copyout(input, body, question->body_length);
    question->body = body;
    if (place != NULL)
        rest_place_set(place, REST_PLACE_HANDLING, clock_boot_ms());
    request->rest = rest;
    request->req = req;
    request->is_head = question->method == REST_HEAD;
    request->is_tls = question->is_tls;
    TAILQ_INSERT_TAIL(&rest->requests, request, link);
    rest->request_count++;
    /* Before the handler, which may end the handle. */
    rest_request_set_deadline(request, clock_boot_ms() + ANSWER_MS, 503, "no answer in time");
    rest->handlers.handle(request, question, rest->handlers.arg);
    mem_free(body);
}

/* evhttp takes a request line with blanks in it and calls all but the last word the target. */
static const char *read_query(const struct evhttp_uri *uri)
{
    const char *query = uri == NULL ? NULL : evhttp_uri_get_query(uri);

    if (query == NULL)
        return "";
    for (const char *cursor = query; *cursor != '\0'; cursor++) {
        if ((unsigned char)*cursor <= ' ' || *cursor == 0x7f)
            return NULL;
    }
    return query;
}

void rest_on_request(struct evhttp_request *req, void *arg)
{
    struct rest *rest = arg;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    struct rest_question question = {.method = REST_GET};
    char *peer = NULL;
    ev_uint16_t port = 0;
    char *path = NULL;
    bool has_length = false;
    unsigned route;

    rest_note_pending(rest);
    evhttp_connection_get_peer(evhttp_request_get_connection(req), &peer, &port);
    path = read_path(req);
    question.query = read_query(uri);
    if (path == NULL || question.query == NULL || uri == NULL || peer == NULL ||
        !is_framed_well(req, &has_length)) {
        refuse(rest, req, 400, "Bad request");
        goto out;
    }
    question.path = path;
    question.peer = plain_peer(peer);
    question.peer_port = port;
    question.is_tls = rest_tls_is_tls(bev_of(req));
    if (!read_method(evhttp_request_get_command(req), &question.method)) {
        refuse(rest, req, 501, "Unsupported method");
        goto out;
    }
    route = rest->handlers.route(question.method, path, rest->handlers.arg);
    if (route == REST_ROUTE_NONE)
        refuse(rest, req, 501, "Unsupported method or path");
    else if (!passes_gate(rest, req, &question, route))
        ;
    else if ((route & REST_ROUTE_NEEDS_LENGTH) != 0 && !has_length)
        refuse(rest, req, 411, "Length Required");
    else
        hand_over(rest, req, &question);
out:
    mem_free(path);
}
