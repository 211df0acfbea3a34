/* The etcd door: the object and its options. */
#include "pgheir/io/etcd.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "src/io/etcd_private.h"

enum { TTL_MS_DEFAULT = 30 * 1000, PORT_DEFAULT = 2379 };

const char *etcd_outcome_text(enum etcd_outcome outcome)
{
    static const char *const texts[ETCD_OUTCOME_COUNT] = {
        [ETCD_OK] = "ok",
        [ETCD_REFUSED] = "refused",
        [ETCD_LEASE_NOT_FOUND] = "lease not found",
        [ETCD_UNKNOWN] = "unknown",
        [ETCD_UNAVAILABLE] = "unavailable",
        [ETCD_AUTH_FAILED] = "authentication failed",
        [ETCD_INVALID] = "invalid",
        [ETCD_CANCELLED] = "cancelled",
    };

    pgh_assert(outcome < ETCD_OUTCOME_COUNT);
    return texts[outcome];
}

int64_t etcd_lease_id_new(void)
{
    uint64_t id = 0;

    /* 63 random bits need no bookkeeping. Eight bytes never come in part, and the pool is filled
     * long before us. */
    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
        pgh_assert_failed("getrandom", __FILE__, __LINE__);
    id &= INT64_MAX;
    return id == 0 ? 1 : (int64_t)id;
}

void etcd_token_drop(struct etcd *etcd, uint32_t token_order)
{
    if (token_order != etcd->token_order)
        return;
    mem_free(etcd->token);
    etcd->token = NULL;
}

/* ---- options ---- */

struct host_parts {
    const char *scheme;
    const char *host;
    size_t host_length;
    int64_t port;
};

/* Splits "host", "host:port", "[v6]:port", "v6" or "scheme://host:port/". false if it is none of
 * these. */
static bool split_host(const char *text, const char *scheme, struct host_parts *ret)
{
    struct host_parts parts = {.scheme = scheme, .port = PORT_DEFAULT};
    const char *slashes = strstr(text, "://");
    char port[8];
    size_t length;
    const char *rest;

    if (slashes != NULL) {
        parts.scheme = str_starts_with(text, "https://")  ? "https"
                       : str_starts_with(text, "http://") ? "http"
                                                          : NULL;
        text = slashes + 3;
    }
    length = strlen(text);
    if (length > 0 && slashes != NULL && text[length - 1] == '/')
        length--;
    parts.host = text;
    if (text[0] == '[') {
        const char *end = memchr(text, ']', length);

        if (end == NULL)
            return false;
        parts.host_length = (size_t)(end - text) + 1;
    } else {
        const char *colon = memchr(text, ':', length);
        bool is_bare_v6 = colon != NULL && strchr(colon + 1, ':') != NULL;

        parts.host_length = colon == NULL || is_bare_v6 ? length : (size_t)(colon - text);
    }
    rest = text + parts.host_length;
    length -= parts.host_length;
    if (length > 0 && (*rest != ':' || !str_format(port, sizeof(port), "%.*s", (int)length - 1,
                                                   rest + 1) ||
                       !str_parse_int64(port, &parts.port)))
        return false;
    *ret = parts;
    return parts.scheme != NULL && parts.host_length > 0 && parts.port > 0 && parts.port < 65536;
}

static enum rc make_url(const char *text, const char *scheme, char url[static ETCD_URL_SIZE],
                        struct err *err)
{
    struct host_parts parts;
    bool is_bare_v6;

    if (strchr(text, '@') != NULL)
        return err_set(err, RC_INVALID,
                       "etcd3: a URL with user@: give etcd3.username and etcd3.password instead");
    if (!split_host(text, scheme, &parts))
        return err_set(err, RC_INVALID,
                       "etcd3.hosts: \"%.100s\": expected host:port, [v6]:port or a URL", text);
    for (size_t i = 0; i < parts.host_length; i++) {
        unsigned char c = (unsigned char)parts.host[i];

        if (!isalnum(c) && strchr(".-_:[]%", c) == NULL)
            return err_set(err, RC_INVALID, "etcd3.hosts: \"%.100s\": bad character in the host",
                           text);
    }
    is_bare_v6 =
        parts.host[0] != '[' && memchr(parts.host, ':', parts.host_length) != NULL;
    if (!str_format(url, ETCD_URL_SIZE, is_bare_v6 ? "%s://[%.*s]:%d" : "%s://%.*s:%d",
                    parts.scheme, (int)parts.host_length, parts.host, (int)parts.port))
        return err_set(err, RC_INVALID, "etcd3.hosts: \"%.100s...\": too long", text);
    return RC_OK;
}

static enum rc check_file(const char *key, const char *path, struct err *err)
{
    if (path != NULL && access(path, R_OK) != 0)
        return err_set(err, RC_INVALID, "etcd3.%s: cannot read \"%.200s\": %s", key, path,
                       strerror(errno));
    return RC_OK;
}

static enum rc check_options(const struct etcd_options *options, struct err *err)
{
    enum rc rc = RC_OK;

    if (options->host_count < 1 || options->host_count > ETCD_ENDPOINTS_MAX)
        rc = err_set(err, RC_INVALID, "etcd3.hosts: expected 1 to %d hosts, got %d",
                     ETCD_ENDPOINTS_MAX, options->host_count);
    else if (options->protocol != NULL && !str_equal(options->protocol, "http") &&
             !str_equal(options->protocol, "https"))
        rc = err_set(err, RC_INVALID, "etcd3.protocol: expected http or https, got \"%.40s\"",
                     options->protocol);
    if (rc == RC_OK)
        rc = check_file("cacert", options->cacert, err);
    if (rc == RC_OK)
        rc = check_file("cert", options->cert, err);
    if (rc == RC_OK)
        rc = check_file("key", options->key, err);
    return rc;
}

static char *copy_text(const char *text)
{
    return str_is_empty(text) ? NULL : mem_strdup(text);
}

static void free_text(const char *text)
{
    mem_free((void *)(uintptr_t)text);
}

static void free_options(struct etcd *etcd)
{
    mem_free(etcd->username);
    mem_free(etcd->password);
    free_text(etcd->tls.cacert);
    free_text(etcd->tls.cert);
    free_text(etcd->tls.key);
}

static void take_options(struct etcd *etcd, const struct etcd_options *options,
                         char (*urls)[ETCD_URL_SIZE])
{
    free_options(etcd);
    etcd->username = copy_text(options->username);
    etcd->password = mem_strdup(options->password == NULL ? "" : options->password);
    etcd->tls = (struct http_tls){.cacert = copy_text(options->cacert),
                                  .cert = copy_text(options->cert),
                                  .key = copy_text(options->key),
                                  .insecure = str_is_empty(options->cacert)};
    etcd->use_proxies = options->use_proxies;
    etcd->ttl_ms = options->ttl_ms == 0 ? TTL_MS_DEFAULT : options->ttl_ms;
    etcd->is_https_only = true;
    etcd_endpoint_forget_configured(etcd);
    for (int i = 0; i < options->host_count; i++) {
        (void)etcd_endpoint_add(etcd, urls[i], true);
        if (!str_starts_with(urls[i], "https://"))
            etcd->is_https_only = false;
    }
    etcd_endpoint_drop_unused(etcd);
    /* Whatever was learned may have come from other servers and another user. */
    etcd->prefix = NULL;
    etcd->is_auth_off = false;
    etcd_token_drop(etcd, etcd->token_order);
    if (etcd->discover_at_ms != 0) {
        etcd->discover_at_ms = 1;
        loop_timer_arm(etcd->care_timer, 0);
    }
}

enum rc etcd_reconfigure(struct etcd *etcd, const struct etcd_options *options, struct err *err)
{
    enum rc rc = check_options(options, err);
    char(*urls)[ETCD_URL_SIZE];

    if (rc != RC_OK)
        return rc;
    urls = mem_new((size_t)options->host_count, sizeof(*urls));
    for (int i = 0; rc == RC_OK && i < options->host_count; i++)
        rc = make_url(options->hosts[i], options->protocol == NULL ? "http" : options->protocol,
                      urls[i], err);
    if (rc == RC_OK)
        take_options(etcd, options, urls);
    mem_free(urls);
    return rc;
}

static void on_care(void *arg)
{
    etcd_endpoint_care(arg);
}

enum rc etcd_new(struct loop *loop, struct resolver *resolver, struct http *http,
                 const struct etcd_options *options, struct etcd **ret, struct err *err)
{
    struct etcd *etcd = mem_new(1, sizeof(*etcd));
    enum rc rc;

    etcd->loop = loop;
    etcd->resolver = resolver;
    etcd->http = http;
    etcd->care_timer = loop_timer_new(loop, on_care, etcd);
    TAILQ_INIT(&etcd->requests);
    TAILQ_INIT(&etcd->watches);
    rc = etcd_reconfigure(etcd, options, err);
    if (rc != RC_OK) {
        etcd_free(etcd);
        return rc;
    }
    /* Agents begin with different members, so that the load spreads. */
    etcd->preferred = (int)(etcd_lease_id_new() % etcd->endpoint_count);
    *ret = etcd;
    return RC_OK;
}

void etcd_free(struct etcd *etcd)
{
    if (etcd == NULL)
        return;
    while (!TAILQ_EMPTY(&etcd->watches))
        etcd_watch_cancel(TAILQ_FIRST(&etcd->watches));
    while (!TAILQ_EMPTY(&etcd->requests))
        etcd_request_cancel(TAILQ_FIRST(&etcd->requests));
    etcd_endpoint_free_all(etcd);
    loop_timer_free(etcd->care_timer);
    free_options(etcd);
    mem_free(etcd->token);
    mem_free(etcd);
}
