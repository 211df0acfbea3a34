#include "rest_private.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

enum {
    SWEEP_MS = 1000,       /* connections and listeners */
    UPKEEP_MS = 5 * 1000,  /* certificates and names of the list */
    EVHTTP_TIMEOUT_S = 90  /* beyond every limit of the places */
};

void rest_note_pending(struct rest *rest)
{
    struct bufferevent *bev = rest->pending;
    bufferevent_data_cb on_read = NULL;
    bufferevent_data_cb on_write = NULL;
    bufferevent_event_cb on_event = NULL;
    void *arg = NULL;

    if (bev == NULL)
        return;
    rest->pending = NULL;
    /* evhttp takes its callbacks away when it gives a connection up. */
    bufferevent_getcb(bev, &on_read, &on_write, &on_event, &arg);
    if (on_event != NULL)
        (void)rest_places_add(&rest->places, bufferevent_getfd(bev), clock_boot_ms());
    (void)bufferevent_decref(bev);
}

static void on_pending(void *arg)
{
    rest_note_pending(arg);
}

/* evhttp calls this for every connection, and gives it its descriptor right after. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    struct rest *rest = arg;
    struct bufferevent *bev;

    rest_note_pending(rest);
    if (rest->tls != NULL)
        bev = rest_tls_accept(rest->tls, base);
    else
        bev = bufferevent_socket_new(base, -1, 0);
    pgh_assert(bev != NULL);
    /* A client may not fill our memory while it does not read its answer. */
    bufferevent_setwatermark(bev, EV_READ, 0, REST_BODY_MAX + 2 * REST_HEADERS_MAX);
    bufferevent_incref(bev);
    rest->pending = bev;
    loop_timer_arm(rest->pending_timer, clock_boot_ms());
    return bev;
}

/* ---- configuration ---- */

static const char *server_text(enum rest_tokens tokens)
{
    switch (tokens) {
    case REST_TOKENS_ORIGINAL:
        return "pgheir";
    case REST_TOKENS_MINIMAL:
        return "Patroni/4.1.4";
    case REST_TOKENS_PRODUCTONLY:
        return "Patroni";
    }
    pgh_unreachable();
}

static void free_look(struct rest_look *look)
{
    if (look == NULL)
        return;
    for (int i = 0; i < look->http_count; i++) {
        mem_free(look->http[i].name);
        mem_free(look->http[i].value);
    }
    for (int i = 0; i < look->https_count; i++) {
        mem_free(look->https[i].name);
        mem_free(look->https[i].value);
    }
    mem_free(look);
}

static bool is_header_name(const char *text)
{
    return !str_is_empty(text) &&
           strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text);
}

static bool is_header_value(const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' && *text != '\t')
            return false;
    }
    return text != NULL;
}

static enum rc check_headers(const char *key, const struct rest_header *headers, int count,
                             struct err *err)
{
    if (count > REST_EXTRA_HEADERS_MAX)
        return err_set(err, RC_LIMIT, "%s: more than %d headers", key, REST_EXTRA_HEADERS_MAX);
    for (int i = 0; i < count; i++) {
        if (!is_header_name(headers[i].name) || !is_header_value(headers[i].value))
            return err_set(err, RC_INVALID,
                           "%s: header number %d: the name must be an HTTP token, and the value "
                           "a text without control characters",
                           key, i + 1);
    }
    return RC_OK;
}

static enum rc new_look(const struct rest_options *options, struct rest_look **ret,
                        struct err *err)
{
    struct rest_look *look;
    enum rc rc = check_headers("restapi.http_extra_headers", options->http_headers,
                               options->http_header_count, err);

    if (rc == RC_OK)
        rc = check_headers("restapi.https_extra_headers", options->https_headers,
                           options->https_header_count, err);
    if (rc != RC_OK)
        return rc;
    look = mem_new(1, sizeof(*look));
    look->server = server_text(options->server_tokens);
    look->http_count = options->http_header_count;
    look->https_count = options->https_header_count;
    for (int i = 0; i < look->http_count; i++) {
        look->http[i].name = mem_strdup(options->http_headers[i].name);
        look->http[i].value = mem_strdup(options->http_headers[i].value);
    }
    for (int i = 0; i < look->https_count; i++) {
        look->https[i].name = mem_strdup(options->https_headers[i].name);
        look->https[i].value = mem_strdup(options->https_headers[i].value);
    }
    *ret = look;
    return RC_OK;
}

static bool is_local_listen(const char *listen)
{
    return str_starts_with(listen, "127.") || str_starts_with(listen, "localhost:") ||
           str_starts_with(listen, "[::1]:");
}

static void warn_weak(const struct rest *rest, const struct rest_options *options)
{
    if (rest_gate_is_open(rest->gate) && !is_local_listen(options->listen))
        log_warning("restapi: anybody who reaches %s may restart, fail over or reconfigure this "
                    "cluster. hint: Set restapi.authentication, restapi.allowlist or "
                    "restapi.verify_client.",
                    options->listen);
    if (rest->tls == NULL && options->verify_client != REST_VERIFY_NONE)
        log_warning("restapi.verify_client has no effect without restapi.certfile");
}

/* ---- listeners ---- */

static void close_listeners(struct rest *rest)
{
    for (int i = 0; i < rest->bound_count; i++)
        evhttp_del_accept_socket(rest->http, rest->bound[i]);
    rest->bound_count = 0;
}

/* Out of descriptors, most likely. The kernel would report the same connection again at once, for
 * ever, so the listener rests until the next sweep. evhttp keeps the callback's argument for
 * itself. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    int cause = errno;

    (void)arg;
    (void)evconnlistener_disable(listener);
    log_warning("restapi: cannot accept a connection, trying again in a second: %s",
                strerror(cause));
}

static void serve(struct rest *rest, const struct rest_sockets *sockets)
{
    pgh_assert(rest->bound_count == 0);
    for (int i = 0; i < sockets->count; i++) {
        struct evconnlistener *listener =
            evconnlistener_new(rest->base, NULL, NULL,
                               LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, sockets->fds[i]);

        pgh_assert(listener != NULL);
        rest->bound[i] = evhttp_bind_listener(rest->http, listener);
        pgh_assert(rest->bound[i] != NULL);
        evconnlistener_set_error_cb(listener, on_accept_error);
        rest->bound_count++;
    }
    rest->port = sockets->port;
}

static enum rc open_listeners(struct rest *rest, const char *listen, int backlog, struct err *err)
{
    struct rest_sockets sockets;
    enum rc rc = rest_sockets_open(rest->resolver, listen, backlog, &sockets, err);

    if (rc == RC_OK) {
        serve(rest, &sockets);
        rest->problem.text[0] = '\0';
    }
    return rc;
}

/* Once for each problem, not once a second. */
static void note_problem(struct rest *rest, const struct err *err)
{
    if (!str_equal(rest->problem.text, err->text))
        log_warning("the REST API is not reachable: %s", err->text);
    rest->problem = *err;
}

/* Opens the new address first. Where it is taken, it may be our own old one that overlaps ("*"
 * instead of an address, or only another backlog): then that one goes first, and comes back if the
 * new one cannot be had in spite of it. */
static enum rc move_listeners(struct rest *rest, const char *listen, int backlog, struct err *err)
{
    struct err again = {.rc = RC_OK};
    struct rest_sockets sockets;
    enum rc rc = rest_sockets_open(rest->resolver, listen, backlog, &sockets, err);

    if (rc == RC_OK) {
        close_listeners(rest);
        serve(rest, &sockets);
        return RC_OK;
    }
    if (rc != RC_EXISTS || rest_listen_port(listen) != rest->port)
        return rc;
    close_listeners(rest);
    rc = open_listeners(rest, listen, backlog, err);
    if (rc != RC_OK && open_listeners(rest, rest->listen, rest->backlog, &again) != RC_OK)
        log_error("restapi: %s", again.text);
    return rc;
}

static bool is_listening(int fd)
{
    int answer = 0;
    socklen_t size = sizeof(answer);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) == 0 && answer != 0;
}

/* A door that nobody can find while the agent lives is worse than a crash (RC-03). One whose name
 * DNS did not know at the start opens here, too. */
static void check_listeners(struct rest *rest)
{
    struct err err = {.rc = RC_OK};
    bool is_well = rest->bound_count > 0;

    for (int i = 0; i < rest->bound_count; i++) {
        struct evconnlistener *listener = evhttp_bound_socket_get_listener(rest->bound[i]);

        is_well = is_well && is_listening(evconnlistener_get_fd(listener));
        (void)evconnlistener_enable(listener);
    }
    if (is_well || rest->is_closing)
        return;
    close_listeners(rest);
    if (open_listeners(rest, rest->listen, rest->backlog, &err) != RC_OK)
        note_problem(rest, &err);
    else
        log_info("restapi: listening on %s again", rest->listen);
}

/* ---- life ---- */

static void refresh_tls(struct rest *rest)
{
    struct err err = {.rc = RC_OK};
    enum rc rc = rest->tls == NULL ? RC_EXISTS : rest_tls_refresh(rest->tls, &err);

    if (rc == RC_EXISTS)
        return;
    if (rc == RC_OK) {
        rest->warning.text[0] = '\0';
        log_info("restapi: took up the changed certificate");
        return;
    }
    if (!str_equal(rest->warning.text, err.text))
        log_warning("restapi: keeping the certificate in use: %s", err.text);
    rest->warning = err;
}

static void on_upkeep(void *arg)
{
    struct rest *rest = arg;
    int64_t now_ms = clock_boot_ms();

    loop_timer_arm(rest->upkeep_timer, now_ms + SWEEP_MS);
    (void)rest_places_sweep(&rest->places, now_ms);
    check_listeners(rest);
    if (now_ms - rest->upkeep_at_ms < UPKEEP_MS)
        return;
    rest->upkeep_at_ms = now_ms;
    refresh_tls(rest);
    rest_gate_refresh(rest->gate);
}

/* libevent would end the process with a code that reads as a decision of ours. */
static void on_libevent_fatal(int code)
{
    (void)code;
    pgh_assert_failed("libevent met a state that it cannot handle", __FILE__, __LINE__);
}

static int read_place_limit(void)
{
    struct rlimit limit;

    /* Half of the descriptors stay for etcd, PostgreSQL and files. */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur / 2 > REST_CONNECTIONS_MAX)
        return REST_CONNECTIONS_MAX;
    return (int)(limit.rlim_cur / 2);
}

static void open_http(struct rest *rest)
{
    event_set_fatal_callback(on_libevent_fatal);
    rest->http = evhttp_new(rest->base);
    pgh_assert(rest->http != NULL);
    evhttp_set_gencb(rest->http, rest_on_request, rest);
    evhttp_set_bevcb(rest->http, on_accept, rest);
    evhttp_set_allowed_methods(rest->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_OPTIONS |
                                               EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                               EVHTTP_REQ_PATCH | EVHTTP_REQ_DELETE);
    evhttp_set_max_headers_size(rest->http, REST_HEADERS_MAX);
    evhttp_set_max_body_size(rest->http, REST_BODY_MAX);
    evhttp_set_default_content_type(rest->http, NULL);
    evhttp_set_timeout(rest->http, EVHTTP_TIMEOUT_S);
    /* Who sends too large a body hears about it before the connection ends. */
    (void)evhttp_set_flags(rest->http, EVHTTP_SERVER_LINGERING_CLOSE);
}

/* Gate, certificates and headers, made whole before anything is replaced. */
static enum rc prepare(const struct rest *rest, const struct rest_options *options,
                       struct rest_gate **ret_gate, struct rest_tls **ret_tls,
                       struct rest_look **ret_look, struct err *err)
{
    struct rest_gate *gate = NULL;
    struct rest_tls *tls = NULL;
    enum rc rc = rest_gate_new(rest->resolver, options, &gate, err);

    if (rc == RC_OK && !str_is_empty(options->certfile))
        rc = rest_tls_new(options, &tls, err);
    if (rc == RC_OK)
        rc = new_look(options, ret_look, err);
    if (rc != RC_OK) {
        rest_gate_free(gate);
        rest_tls_free(tls);
        return rc;
    }
    *ret_gate = gate;
    *ret_tls = tls;
    return RC_OK;
}

static void take_over(struct rest *rest, const struct rest_options *options,
                      struct rest_gate *gate, struct rest_tls *tls, struct rest_look *look)
{
    char *listen = mem_strdup(options->listen);

    rest_gate_free(rest->gate);
    rest_tls_free(rest->tls);
    free_look(rest->look);
    mem_free(rest->listen);
    rest->gate = gate;
    rest->tls = tls;
    rest->look = look;
    rest->listen = listen;
    rest->backlog = options->backlog;
    rest->warning.text[0] = '\0';
    warn_weak(rest, options);
}

enum rc rest_new(struct loop *loop, struct resolver *resolver, const struct rest_options *options,
                 const struct rest_handlers *handlers, struct rest **ret, struct err *err)
{
    struct rest *rest = mem_new(1, sizeof(*rest));
    struct rest_gate *gate;
    struct rest_tls *tls;
    struct rest_look *look;
    enum rc rc;

    pgh_assert(handlers->route != NULL && handlers->handle != NULL);
    rest->loop = loop;
    rest->base = loop_base(loop);
    rest->resolver = resolver;
    rest->handlers = *handlers;
    rest->places.limit = read_place_limit();
    TAILQ_INIT(&rest->requests);
    rc = prepare(rest, options, &gate, &tls, &look, err);
    if (rc != RC_OK) {
        mem_free(rest);
        return rc;
    }
    take_over(rest, options, gate, tls, look);
    open_http(rest);
    rc = open_listeners(rest, rest->listen, rest->backlog, err);
    if (rc == RC_NOT_FOUND) {
        /* A DNS that is down must not end an agent, nor PostgreSQL with it. */
        note_problem(rest, err);
    } else if (rc != RC_OK) {
        rest_free(rest);
        return rc;
    }
    rest->pending_timer = loop_timer_new(loop, on_pending, rest);
    rest->upkeep_timer = loop_timer_new(loop, on_upkeep, rest);
    rest->upkeep_at_ms = clock_boot_ms();
    loop_timer_arm(rest->upkeep_timer, rest->upkeep_at_ms + SWEEP_MS);
    *ret = rest;
    return RC_OK;
}

enum rc rest_configure(struct rest *rest, const struct rest_options *options, struct err *err)
{
    struct rest_gate *gate;
    struct rest_tls *tls;
    struct rest_look *look;
    enum rc rc = prepare(rest, options, &gate, &tls, &look, err);

    if (rc != RC_OK)
        return rc;
    if (!rest->is_closing &&
        (!str_equal(options->listen, rest->listen) || options->backlog != rest->backlog))
        rc = move_listeners(rest, options->listen, options->backlog, err);
    if (rc != RC_OK) {
        rest_gate_free(gate);
        rest_tls_free(tls);
        free_look(look);
        return rc;
    }
    rest_gate_take_members(gate, rest->gate);
    take_over(rest, options, gate, tls, look);
    return RC_OK;
}

void rest_set_members(struct rest *rest, const char *const *hosts, int count)
{
    rest_gate_set_members(rest->gate, hosts, count);
}

void rest_close_listener(struct rest *rest)
{
    rest->is_closing = true;
    close_listeners(rest);
}

void rest_free(struct rest *rest)
{
    struct rest_request *request;

    if (rest == NULL)
        return;
    if (rest->pending != NULL)
        rest_note_pending(rest);
    while ((request = TAILQ_FIRST(&rest->requests)) != NULL) {
        TAILQ_REMOVE(&rest->requests, request, link);
        request->rest = NULL;
        request->req = NULL;
        loop_timer_free(request->timer);
        request->timer = NULL;
    }
    loop_timer_free(rest->pending_timer);
    loop_timer_free(rest->upkeep_timer);
    evhttp_free(rest->http);
    rest_gate_free(rest->gate);
    rest_tls_free(rest->tls);
    free_look(rest->look);
    mem_free(rest->listen);
    mem_free(rest);
}

void rest_get_info(const struct rest *rest, struct rest_info *ret)
{
    *ret = (struct rest_info){
        .port = rest->port,
        .connection_count = rest->places.count,
        .request_count = rest->request_count,
        .evicted_count = rest->places.evicted_count,
        .certificate_ends_wall_ms = rest->tls == NULL ? 0 : rest_tls_ends_wall_ms(rest->tls),
        .warning = rest->warning.text,
    };
}
