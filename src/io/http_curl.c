/* libcurl's options for one request, its callbacks, and what its results mean. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/io/http_private.h"

#ifndef PGHEIR_VERSION
#define PGHEIR_VERSION "dev"
#endif

static enum rc read_parts(struct http_request *request, CURLU *parts)
{
    char *host = NULL;
    char *port = NULL;
    char *user = NULL;
    enum rc rc = RC_OK;

    if (curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK) {
        /* Not shown: it may hold a password. */
        rc = err_set(&request->url_err, RC_INVALID, "URL with user@: give the user separately");
    } else if (curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
               curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
               !str_copy(request->port, sizeof(request->port), port)) {
        rc = err_set(&request->url_err, RC_INVALID, "URL without a host");
    } else {
        size_t length = strlen(host);
        bool is_bracketed = host[0] == '[' && host[length - 1] == ']';

        /* A dot at the end makes a name absolute for DNS, but certificates are written without
         * it. */
        if (!is_bracketed && length > 1 && host[length - 1] == '.') {
            host[length - 1] = '\0';
            (void)curl_url_set(parts, CURLUPART_HOST, host, 0);
        }
        request->is_numeric = resolver_is_numeric(host);
        if (is_bracketed)
            host[length - 1] = '\0';
        request->host = mem_strdup(is_bracketed ? host + 1 : host);
        for (char *at = request->host; *at != '\0'; at++)
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    }
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return rc;
}

enum rc http_url_take(struct http_request *request, const char *url)
{
    CURLU *parts = curl_url();
    char *whole = NULL;
    enum rc rc;

    request->url = NULL;
    if (!str_starts_with(url, "http://") && !str_starts_with(url, "https://"))
        rc = err_set(&request->url_err, RC_INVALID,
                     "URL \"%.100s\": expected http:// or https://", url);
    else if (curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK)
        rc = err_set(&request->url_err, RC_INVALID, "URL \"%.100s\" is not valid", url);
    else
        rc = read_parts(request, parts);
    if (rc == RC_OK && curl_url_get(parts, CURLUPART_URL, &whole, 0) == CURLUE_OK)
        request->url = mem_strdup(whole);
    curl_free(whole);
    curl_url_cleanup(parts);
    if (request->url == NULL)
        request->url = mem_strdup("");
    return rc;
}

/* ---- callbacks ---- */

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_request *request = arg;
    size_t length = size * count;
    long status = 0;

    if (request->is_dead)
        return 0;
    if (request->chunk == NULL) {
        request->is_too_large = buf_append(&request->answer, bytes, length) != RC_OK;
        return request->is_too_large ? 0 : length;
    }
    request->heard_at_ms = clock_boot_ms();
    (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    request->http->inside++;
    request->chunk((int)status, bytes, length, request->arg);
    request->http->inside--;
    return request->is_dead ? 0 : length;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_request *request = arg;

    (void)bytes;
    request->header_bytes += size * count;
    request->is_too_large = request->header_bytes > HTTP_HEADERS_MAX;
    return request->is_too_large || request->is_dead ? 0 : size * count;
}

/* Called when the connection stands (TLS included) and nothing of this request has been sent: the
 * moment from which the fence counts. libcurl comes here again when a pooled connection turned out
 * dead and it repeats the request on a fresh one, which only the caller can allow: the dead one may
 * have carried the first copy to its goal. */
static int on_ready_to_send(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct http_request *request = arg;

    (void)peer;
    (void)own;
    (void)peer_port;
    (void)own_port;
    if (request->sends > 0 && !request->is_retry_safe) {
        request->is_repeat_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    request->sends++;
    request->header_bytes = 0;
    request->sent_at_ms = clock_boot_ms();
    request->heard_at_ms = request->sent_at_ms;
    /* From here on the idle limit counts, which may be nearer than what the timer is set to. */
    if (request->idle_ms > 0)
        http_request_arm(request);
    return CURL_PREREQFUNC_OK;
}

/* libcurl comes here before it resolves a name itself, which would block or start a thread: never
 * (promise P6). Literals pass through its resolver too, without a question to anybody. */
static int on_resolver_start(void *state, void *reserved, void *arg)
{
    const struct http_request *request = arg;

    (void)state;
    (void)reserved;
    return request->is_numeric ? 0 : 1;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    /* Close on exec: pg_basebackup and callbacks must not inherit a connection to etcd. */
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* A half-open connection must be noticed within the ttl: probes after a third of it, then three
 * more until it is over; unacknowledged data is given the same time. Seconds within the kernel's
 * range (1 to 32767). */
static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const struct http_request *request = arg;
    int64_t ttl_s = request->http->ttl_ms / 1000;
    unsigned user_timeout_ms = (unsigned)request->http->ttl_ms;
    int on = 1;
    int count = 3;
    int idle_s = (int)(ttl_s / 3 < 1 ? 1 : ttl_s / 3);
    int interval_s = (int)((ttl_s - idle_s) / count < 1 ? 1 : (ttl_s - idle_s) / count);

    (void)purpose;
    /* Failures are ignored: the connection works without, and each request has its deadline
     * anyway. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    return CURL_SOCKOPT_OK;
}

/* ---- options ---- */

/* The first failure stays in *code; each option is tried, so that the list below reads as a
 * list. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        CURLcode set_code = curl_easy_setopt(easy, option, value);                                 \
        if (set_code != CURLE_OK && *code == CURLE_OK)                                             \
            *code = set_code;                                                                      \
    } while (0)

static void set_callbacks(struct http_request *request, CURLcode *code)
{
    CURL *easy = request->easy;

    SET(CURLOPT_PRIVATE, request);
    SET(CURLOPT_ERRORBUFFER, request->curl_text);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, request);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, request);
    SET(CURLOPT_PREREQFUNCTION, on_ready_to_send);
    SET(CURLOPT_PREREQDATA, request);
    SET(CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start);
    SET(CURLOPT_RESOLVER_START_DATA, request);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_SOCKOPTDATA, request);
}

static void set_tls(struct http_request *request, CURLcode *code)
{
    const struct http_tls *tls = &request->tls;
    CURL *easy = request->easy;

    SET(CURLOPT_SSL_VERIFYPEER, tls->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, tls->insecure ? 0L : 2L);
    if (tls->insecure) {
        /* Else the system's certificates are loaded for nothing: 2 MB. */
        SET(CURLOPT_CAINFO, NULL);
        SET(CURLOPT_CAPATH, NULL);
    } else if (tls->cacert != NULL) {
        SET(CURLOPT_CAINFO, tls->cacert);
        SET(CURLOPT_CAPATH, NULL);
#if LIBCURL_VERSION_NUM >= 0x075700
        /* A rotated CA file counts from the next connection on, not in 24 hours. */
        SET(CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
    }
    SET(CURLOPT_SSLCERT, tls->cert);
    SET(CURLOPT_SSLKEY, tls->key);
    SET(CURLOPT_KEYPASSWD, tls->key_password);
}

static bool is_header_value(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 127)
            return false;
    }
    return true;
}

static enum rc add_header(struct http_request *request, const char *name, const char *value)
{
    struct curl_slist *longer;
    struct buf line;
    enum rc rc;

    buf_init(&line, 16 * 1024);
    rc = is_header_value(value) ? buf_printf(&line, "%s: %s", name, value) : RC_INVALID;
    if (rc == RC_OK) {
        longer = curl_slist_append(request->headers, buf_text(&line));
        pgh_assert(longer != NULL);
        request->headers = longer;
    }
    buf_done(&line);
    return rc;
}

static enum rc set_headers(struct http_request *request, CURLcode *code)
{
    CURL *easy = request->easy;
    enum rc rc = RC_OK;

    /* No "Expect: 100-continue": it costs a round trip, and a second where the peer ignores it. */
    request->headers = curl_slist_append(NULL, "Expect:");
    if (request->body != NULL)
        rc = add_header(request, "Content-Type", request->content_type);
    if (rc == RC_OK && request->authorization != NULL)
        rc = add_header(request, "Authorization", request->authorization);
    SET(CURLOPT_HTTPHEADER, request->headers);
    return rc;
}

static void set_method(struct http_request *request, CURLcode *code)
{
    CURL *easy = request->easy;

    if (request->body != NULL) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        SET(CURLOPT_POSTFIELDS, request->body);
    }
    if (str_equal(request->method, "HEAD"))
        SET(CURLOPT_NOBODY, 1L);
    else
        SET(CURLOPT_CUSTOMREQUEST, request->method);
}

/* host:port:address,address: libcurl finds the name in its cache, so it has nothing to resolve,
 * while URL, SNI and the check of the certificate keep the name. With both families it tries them
 * side by side. */
static void set_addresses(struct http_request *request, const struct resolver_answer *addresses,
                          CURLcode *code)
{
    CURL *easy = request->easy;
    unsigned count = (unsigned)addresses->count;
    struct buf line;

    if (request->is_numeric)
        return;
    buf_init(&line, 4096);
    (void)buf_printf(&line, "%s:%s:", request->host, request->port);
    for (unsigned i = 0; i < count; i++) {
        const char *address = addresses->addresses[(request->first_address + i) % count];
        bool is_v6 = strchr(address, ':') != NULL;

        (void)buf_printf(&line, is_v6 ? "%s[%s]" : "%s%s", i == 0 ? "" : ",", address);
    }
    pgh_assert(!buf_is_overflown(&line));
    request->resolve = curl_slist_append(NULL, buf_text(&line));
    buf_done(&line);
    SET(CURLOPT_RESOLVE, request->resolve);
}

enum rc http_easy_setup(struct http_request *request, const struct resolver_answer *addresses)
{
    int64_t connect_ms = request->connect_deadline_ms - clock_boot_ms();
    CURLcode result = CURLE_OK;
    CURLcode *code = &result;
    CURL *easy = request->easy;
    enum rc rc;

    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_USERAGENT, "pgheir/" PGHEIR_VERSION);
    SET(CURLOPT_FRESH_CONNECT, request->is_fresh ? 1L : 0L);
    /* libcurl shares this span among the addresses; the end itself is kept by our own timer. */
    if (connect_ms < 1)
        connect_ms = 1;
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms > 3600000 ? 3600000L : (long)connect_ms);
    if (request->username != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, request->username);
        SET(CURLOPT_PASSWORD, request->password == NULL ? "" : request->password);
    }
    set_callbacks(request, code);
    set_tls(request, code);
    set_method(request, code);
    set_addresses(request, addresses, code);
    rc = set_headers(request, code);
    if (rc == RC_OK && result != CURLE_OK)
        rc = RC_INVALID;
    return rc;
}

enum rc http_rc_of_curl(CURLcode code)
{
    switch ((int)code) {
    case CURLE_OK:
        return RC_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return RC_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return RC_DENIED;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return RC_INVALID;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return RC_PROTOCOL;
    case CURLE_OUT_OF_MEMORY:
        return RC_SYSTEM;
    default:
        return RC_UNREACHABLE;
    }
}
