/* The life of a request: name, connection, answer, and exactly one completion.
 *
 *   begin -> waiting for addresses -> in libcurl's hands -> end
 *                 |                        |
 *                 +--- deadline, cancel ---+--> end
 *
 * Only end_request() leaves the graph. libcurl may not be entered from its own callbacks, so a
 * request that is ended inside a chunk callback completes at once and is taken out of libcurl when
 * that has returned. */
#include "pgheir/io/http.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/io/http_private.h"

enum { TTL_MS_DEFAULT = 30 * 1000, POOL_MAX = 32 };

static void on_addresses(const struct resolver_answer *answer, void *arg);

static char *copy_text(const char *text)
{
    return text == NULL ? NULL : mem_strdup(text);
}

static void free_text(const char *text)
{
    mem_free((void *)(uintptr_t)text);
}

static void free_request(struct http_request *request)
{
    pgh_assert(request->easy == NULL);
    pgh_assert(request->lookup == NULL);
    loop_timer_free(request->timer);
    curl_slist_free_all(request->headers);
    curl_slist_free_all(request->resolve);
    buf_done(&request->answer);
    mem_free(request->url);
    mem_free(request->host);
    mem_free(request->method);
    mem_free(request->body);
    mem_free(request->content_type);
    mem_free(request->authorization);
    mem_free(request->username);
    mem_free(request->password);
    free_text(request->tls.cacert);
    free_text(request->tls.cert);
    free_text(request->tls.key);
    free_text(request->tls.key_password);
    mem_free(request);
}

static void release_easy(struct http_request *request)
{
    if (request->easy == NULL)
        return;
    (void)curl_multi_remove_handle(request->http->multi, request->easy);
    curl_easy_cleanup(request->easy);
    request->easy = NULL;
}

static void free_dead(struct http *http)
{
    struct http_request *request;

    while ((request = TAILQ_FIRST(&http->dead)) != NULL) {
        TAILQ_REMOVE(&http->dead, request, link);
        release_easy(request);
        free_request(request);
    }
}

/* The one way out. text is what happened, without the URL. */
static void end_request(struct http_request *request, enum http_fate fate, enum rc rc, int status,
                        const char *text)
{
    struct http *http = request->http;
    struct http_result result = {.fate = fate, .rc = rc, .status = status};
    struct err err = {0};

    TAILQ_REMOVE(&http->requests, request, link);
    loop_timer_disarm(request->timer);
    if (http->inside > 0) {
        request->is_dead = true;
        TAILQ_INSERT_TAIL(&http->dead, request, link);
    } else {
        release_easy(request);
    }
    result.body = buf_text(&request->answer);
    result.body_length = request->answer.length;
    result.sent_at_ms = request->sent_at_ms;
    result.ended_at_ms = clock_boot_ms();
    if (rc != RC_OK)
        (void)err_set(&err, rc, "%s %.200s: %s", request->method, request->url, text);
    result.err = &err;
    request->done(&result, request->arg);
    if (!request->is_dead)
        free_request(request);
}

static enum http_fate fate_so_far(const struct http_request *request)
{
    return request->sends == 0 ? HTTP_NOT_SENT : HTTP_UNKNOWN;
}

/* ---- time ---- */

void http_request_arm(struct http_request *request)
{
    int64_t at_ms = request->deadline_ms;

    if (request->sends == 0 && request->connect_deadline_ms < at_ms)
        at_ms = request->connect_deadline_ms;
    if (request->sends > 0 && request->idle_ms > 0 &&
        request->heard_at_ms + request->idle_ms < at_ms)
        at_ms = request->heard_at_ms + request->idle_ms;
    loop_timer_arm(request->timer, at_ms);
}

/* The timer is not moved with each byte: it looks at the facts when it fires, and is armed anew if
 * it is early. */
static void on_request_timer(void *arg)
{
    struct http_request *request = arg;
    int64_t now_ms = clock_boot_ms();

    if (request->host == NULL) {
        end_request(request, HTTP_NOT_SENT, RC_INVALID, 0, request->url_err.text);
        return;
    }
    if (now_ms < request->deadline_ms) {
        bool is_connecting = request->sends == 0;
        bool is_late = is_connecting && now_ms >= request->connect_deadline_ms;
        bool is_idle = !is_connecting && request->idle_ms > 0 &&
                       now_ms >= request->heard_at_ms + request->idle_ms;

        if (!is_late && !is_idle) {
            http_request_arm(request);
            return;
        }
    }
    if (request->lookup != NULL) {
        struct resolver_lookup *lookup = request->lookup;

        request->lookup = NULL;
        resolver_lookup_cancel(lookup);
        end_request(request, HTTP_NOT_SENT, RC_TIMEOUT, 0,
                    "timed out resolving the name: does the DNS server answer?");
        return;
    }
    if (request->sends == 0)
        resolver_note_failed(request->http->resolver, request->host);
    end_request(request, fate_so_far(request), RC_TIMEOUT, 0,
                request->sends == 0 ? "timed out connecting" : "timed out waiting for the answer");
}

/* ---- libcurl on the loop ---- */

static void end_by_curl(struct http_request *request, CURLcode code)
{
    long status = 0;

    (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK)
        end_request(request, HTTP_ANSWERED, RC_OK, (int)status, "");
    else if (request->is_too_large)
        end_request(request, HTTP_UNKNOWN, RC_LIMIT, (int)status,
                    "the answer is larger than allowed");
    else if (request->is_repeat_refused)
        end_request(request, HTTP_UNKNOWN, RC_UNREACHABLE, 0,
                    "the connection ended after the request was sent");
    else {
        if (request->sends == 0)
            resolver_note_failed(request->http->resolver, request->host);
        end_request(request, fate_so_far(request), http_rc_of_curl(code), (int)status,
                    request->curl_text[0] == '\0' ? curl_easy_strerror(code) : request->curl_text);
    }
}

static void read_messages(struct http *http)
{
    CURLMsg *message;
    int left;

    free_dead(http);
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        struct http_request *request = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
        end_by_curl(request, code);
    }
}

static void on_multi_due(void *arg)
{
    struct http *http = arg;
    int running;

    (void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    read_messages(http);
}

static int on_multi_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http *http = arg;

    (void)multi;
    if (timeout_ms < 0)
        loop_timer_disarm(http->multi_timer);
    else
        loop_timer_arm(http->multi_timer, timeout_ms == 0 ? 0 : clock_boot_ms() + timeout_ms);
    return 0;
}

static void on_socket_ready(int fd, unsigned ready, void *arg)
{
    struct http *http = arg;
    int running;
    int what = 0;

    if ((ready & LOOP_READ) != 0)
        what |= CURL_CSELECT_IN;
    if ((ready & LOOP_WRITE) != 0)
        what |= CURL_CSELECT_OUT;
    (void)curl_multi_socket_action(http->multi, fd, what, &running);
    read_messages(http);
}

static int on_multi_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http *http = arg;
    struct loop_fd *watch = socket_arg;
    unsigned wanted = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        loop_fd_free(watch);
        (void)curl_multi_assign(http->multi, fd, NULL);
        return 0;
    }
    if (watch == NULL) {
        watch = loop_fd_new(http->loop, fd, on_socket_ready, http);
        (void)curl_multi_assign(http->multi, fd, watch);
    }
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        wanted |= LOOP_READ;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        wanted |= LOOP_WRITE;
    loop_fd_want(watch, wanted);
    return 0;
}

/* ---- beginning ---- */

static void on_addresses(const struct resolver_answer *answer, void *arg)
{
    struct http_request *request = arg;
    enum rc rc;

    /* NULL: our own timer ended the lookup and goes on from there. */
    if (request->lookup == NULL)
        return;
    request->lookup = NULL;
    if (answer->rc != RC_OK) {
        end_request(request, HTTP_NOT_SENT, answer->rc, 0, answer->err->text);
        return;
    }
    request->easy = curl_easy_init();
    pgh_assert(request->easy != NULL);
    rc = http_easy_setup(request, answer);
    if (rc != RC_OK) {
        curl_easy_cleanup(request->easy);
        request->easy = NULL;
        end_request(request, HTTP_NOT_SENT, rc, 0,
                    "libcurl or a header does not take one of the options");
        return;
    }
    pgh_assert(curl_multi_add_handle(request->http->multi, request->easy) == CURLM_OK);
}

static void copy_options(struct http_request *request, const struct http_options *options)
{
    request->method = copy_text(options->method);
    if (request->method == NULL)
        request->method = mem_strdup(options->body == NULL ? "GET" : "POST");
    if (options->body != NULL) {
        request->body = mem_new(1, options->body_length + 1);
        memcpy(request->body, options->body, options->body_length);
        request->body_length = options->body_length;
    }
    request->content_type =
        mem_strdup(options->content_type == NULL ? "application/json" : options->content_type);
    request->authorization = copy_text(options->authorization);
    request->username = copy_text(options->username);
    request->password = copy_text(options->password);
    if (options->tls != NULL) {
        request->tls.cacert = copy_text(options->tls->cacert);
        request->tls.cert = copy_text(options->tls->cert);
        request->tls.key = copy_text(options->tls->key);
        request->tls.key_password = copy_text(options->tls->key_password);
        request->tls.insecure = options->tls->insecure;
    }
    request->is_retry_safe = options->retry_safe;
    request->is_fresh = options->fresh_connection;
    request->first_address = options->first_address;
}

struct http_request *http_stream_begin(struct http *http, const struct http_options *options,
                                       http_chunk_fn *chunk, http_done_fn *done, void *arg)
{
    struct http_request *request = mem_new(1, sizeof(*request));

    pgh_assert(options->deadline_ms > 0);
    pgh_assert(options->url != NULL);
    request->http = http;
    request->chunk = chunk;
    request->done = done;
    request->arg = arg;
    copy_options(request, options);
    buf_init(&request->answer,
             options->body_max == 0 ? (size_t)HTTP_BODY_MAX_DEFAULT : options->body_max);
    request->deadline_ms = options->deadline_ms;
    request->idle_ms = chunk == NULL ? 0 : options->idle_ms;
    request->connect_deadline_ms = options->deadline_ms;
    if (options->connect_ms > 0 && clock_boot_ms() + options->connect_ms < options->deadline_ms)
        request->connect_deadline_ms = clock_boot_ms() + options->connect_ms;
    request->timer = loop_timer_new(http->loop, on_request_timer, request);
    TAILQ_INSERT_TAIL(&http->requests, request, link);
    if (http_url_take(request, options->url) != RC_OK) {
        mem_free(request->host);
        request->host = NULL;
        loop_timer_arm(request->timer, 0);
        return request;
    }
    /* Our own timer watches the lookup too, so its deadline is only a net. */
    request->lookup = resolver_lookup_begin(http->resolver, request->host,
                                            request->connect_deadline_ms, on_addresses, request);
    http_request_arm(request);
    return request;
}

struct http_request *http_request_begin(struct http *http, const struct http_options *options,
                                        http_done_fn *done, void *arg)
{
    return http_stream_begin(http, options, NULL, done, arg);
}

void http_request_cancel(struct http_request *request)
{
    struct resolver_lookup *lookup = request->lookup;

    if (lookup != NULL) {
        request->lookup = NULL;
        resolver_lookup_cancel(lookup);
    }
    end_request(request, HTTP_CANCELLED, RC_CANCELLED, 0, "cancelled");
}

/* ---- the object ---- */

enum rc http_new(struct loop *loop, struct resolver *resolver, struct http **ret, struct err *err)
{
    struct http *http;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, RC_SYSTEM, "cannot initialise libcurl");
    http = mem_new(1, sizeof(*http));
    http->multi = curl_multi_init();
    if (http->multi == NULL) {
        mem_free(http);
        curl_global_cleanup();
        return err_set(err, RC_SYSTEM, "cannot make a libcurl multi handle");
    }
    http->loop = loop;
    http->resolver = resolver;
    http->ttl_ms = TTL_MS_DEFAULT;
    http->multi_timer = loop_timer_new(loop, on_multi_due, http);
    TAILQ_INIT(&http->requests);
    TAILQ_INIT(&http->dead);
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_multi_socket);
    (void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_multi_timer);
    (void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    (void)curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)POOL_MAX);
    *ret = http;
    return RC_OK;
}

void http_free(struct http *http)
{
    if (http == NULL)
        return;
    pgh_assert(http->inside == 0);
    while (!TAILQ_EMPTY(&http->requests))
        http_request_cancel(TAILQ_FIRST(&http->requests));
    free_dead(http);
    (void)curl_multi_cleanup(http->multi);
    loop_timer_free(http->multi_timer);
    mem_free(http);
    curl_global_cleanup();
}

void http_set_ttl(struct http *http, int64_t ttl_ms)
{
    pgh_assert(ttl_ms > 0);
    http->ttl_ms = ttl_ms;
}
