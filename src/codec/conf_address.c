/* Addresses and URLs of the configuration. */
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { URL_TEXT_MAX = 1024, DEFAULT_ETCD_PORT = 2379 };

static bool port_parse(const char *text, int *ret)
{
    int64_t port = 0;

    if (!str_parse_int64(text, &port) || port < 1 || port > 65535)
        return false;
    *ret = (int)port;
    return true;
}

static bool host_take(const char *text, size_t length, struct conf_address *ret)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] <= ' ' || strchr("/@\"'", text[i]) != NULL)
            return false;
    if (length >= sizeof(ret->host))
        return false;
    memcpy(ret->host, text, length);
    ret->host[length] = '\0';
    return true;
}

bool conf_address_parse(const char *text, int default_port, struct conf_address *ret)
{
    struct conf_address address = {.port = default_port};
    const char *last_colon = strrchr(text, ':');
    const char *end = text + strlen(text);
    const char *port = NULL;

    if (text[0] == '[') {
        const char *bracket = strchr(text, ']');

        if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':') ||
            !host_take(text + 1, (size_t)(bracket - text - 1), &address))
            return false;
        port = bracket[1] == ':' ? bracket + 2 : NULL;
    } else if (last_colon != NULL && strchr(text, ':') == last_colon) {
        if (!host_take(text, (size_t)(last_colon - text), &address))
            return false;
        port = last_colon + 1;
    } else if (last_colon != NULL && default_port == 0) {
        /* ::1:5432, as Patroni splits it: the last colon is the port's. */
        if (!host_take(text, (size_t)(last_colon - text), &address))
            return false;
        port = last_colon + 1;
    } else if (!host_take(text, (size_t)(end - text), &address)) {
        return false;
    }
    if (port != NULL && !port_parse(port, &address.port))
        return false;
    if (address.port == 0)
        return false;
    *ret = address;
    return true;
}

enum rc conf_address_format(const struct conf_address *address, struct buf *out)
{
    bool is_ipv6 = strchr(address->host, ':') != NULL;

    return buf_printf(out, "%s%s%s:%d", is_ipv6 ? "[" : "", address->host, is_ipv6 ? "]" : "",
                      address->port);
}

enum rc conf_conn_url(const struct conf_postgresql *postgresql, struct buf *out)
{
    enum rc rc = buf_puts(out, "postgres://");

    if (rc == RC_OK)
        rc = conf_address_format(&postgresql->connect_address, out);
    return rc == RC_OK ? buf_printf(out, "/%s", postgresql->database) : rc;
}

enum rc conf_proxy_url(const struct conf_postgresql *postgresql, struct buf *out)
{
    enum rc rc;

    if (postgresql->proxy_address.port == 0)
        return RC_OK;
    rc = buf_puts(out, "postgres://");
    if (rc == RC_OK)
        rc = conf_address_format(&postgresql->proxy_address, out);
    return rc == RC_OK ? buf_printf(out, "/%s", postgresql->database) : rc;
}

enum rc conf_api_url(const struct conf *conf, struct buf *out)
{
    enum rc rc = buf_puts(out, conf->restapi.certfile != NULL ? "https://" : "http://");

    if (rc == RC_OK)
        rc = conf_address_format(&conf->restapi.connect_address, out);
    return rc == RC_OK ? buf_puts(out, "/patroni") : rc;
}

/* Appends c unless it would be a second slash in a row. */
static enum rc put_path_char(struct buf *out, char c)
{
    if (c == '/' && out->length > 0 && out->bytes[out->length - 1] == '/')
        return RC_OK;
    return buf_append(out, &c, 1);
}

enum rc conf_etcd_prefix(const struct conf *conf, struct buf *out)
{
    const char *const parts[] = {"/", conf->namespace, "/", conf->scope, "/"};
    enum rc rc = RC_OK;

    for (size_t i = 0; i < PGH_COUNT(parts); i++)
        for (const char *at = parts[i]; at != NULL && *at != '\0' && rc == RC_OK; at++)
            rc = put_path_char(out, *at);
    return rc;
}

/* ---- etcd3 ---- */

static void etcd_add_host(struct conf *conf, const char *key, const char *host,
                          struct conf_report *report)
{
    struct conf_storage *storage = conf->storage;
    struct conf_etcd3 *etcd = &conf->etcd3;
    struct conf_address address;
    struct buf text;
    int64_t port = DEFAULT_ETCD_PORT;

    /* A wrong port has its own message already. */
    if (!policy_json_int(conf_tree_get(conf->tree, "etcd3.port"), &port) || port < 1 ||
        port > 65535)
        port = DEFAULT_ETCD_PORT;
    if (etcd->host_count == CONF_HOSTS_MAX) {
        conf_report_at(report, &storage->places, CONF_ERROR, key, "more than %d members",
                       CONF_HOSTS_MAX);
        return;
    }
    if (strstr(host, "://") != NULL) {
        etcd->hosts[etcd->host_count++] = conf_storage_text(storage, host);
        return;
    }
    if (!conf_address_parse(host, (int)port, &address) || address.host[0] == '\0') {
        conf_report_at(report, &storage->places, CONF_ERROR, key,
                       "expected host:port, such as 10.0.0.1:2379, found \"%s\"", host);
        return;
    }
    buf_init(&text, URL_TEXT_MAX);
    if (conf_address_format(&address, &text) == RC_OK)
        etcd->hosts[etcd->host_count++] = conf_storage_text(storage, buf_text(&text));
    buf_done(&text);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %41 is A. false if it is not well-formed, holds a NUL, or does not fit. */
static bool percent_decode(const char *text, size_t length, struct buf *out)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if (c == '%') {
            int high = i + 2 < length ? hex_value(text[i + 1]) : -1;
            int low = i + 2 < length ? hex_value(text[i + 2]) : -1;

            if (high < 0 || low < 0 || high + low == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (buf_append(out, &c, 1) != RC_OK)
            return false;
    }
    return true;
}

static bool take_decoded(struct conf_storage *storage, const char *text, size_t length,
                         const char **ret)
{
    struct buf decoded;
    bool is_good;

    buf_init(&decoded, URL_TEXT_MAX);
    is_good = percent_decode(text, length, &decoded);
    if (is_good && decoded.length > 0)
        *ret = conf_storage_text(storage, buf_text(&decoded));
    buf_done(&decoded);
    return is_good;
}

/* http://user:password@host:port : the credentials go where they belong. */
static bool etcd_take_url(struct conf *conf, const char *url)
{
    struct conf_storage *storage = conf->storage;
    const char *authority = strstr(url, "://");
    const char *at;
    const char *end;
    struct conf_address address;
    struct buf text;
    bool is_https = str_starts_with(url, "https://");

    if ((!is_https && !str_starts_with(url, "http://")) || strlen(url) >= URL_TEXT_MAX)
        return false;
    authority += strlen("://");
    end = authority + strcspn(authority, "/?#");
    at = memrchr(authority, '@', (size_t)(end - authority));
    if (at != NULL) {
        const char *colon = memchr(authority, ':', (size_t)(at - authority));
        const char *user_end = colon == NULL ? at : colon;

        if (!take_decoded(storage, authority, (size_t)(user_end - authority),
                          &conf->etcd3.username))
            return false;
        if (colon != NULL && !take_decoded(storage, colon + 1, (size_t)(at - colon - 1),
                                           &conf->etcd3.password))
            return false;
        authority = at + 1;
    }
    buf_init(&text, URL_TEXT_MAX);
    (void)buf_append(&text, authority, (size_t)(end - authority));
    if (!conf_address_parse(buf_text(&text), DEFAULT_ETCD_PORT, &address) ||
        address.host[0] == '\0') {
        buf_done(&text);
        return false;
    }
    buf_clear(&text);
    (void)buf_puts(&text, is_https ? "https://" : "http://");
    (void)conf_address_format(&address, &text);
    conf->etcd3.hosts[conf->etcd3.host_count++] = conf_storage_text(storage, buf_text(&text));
    buf_done(&text);
    return true;
}

static void etcd_add_url(struct conf *conf, const char *key, struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;
    const char *url = json_string_value(conf_tree_get(conf->tree, key));

    if (url != NULL && !etcd_take_url(conf, url))
        conf_report_at(report, &storage->places, CONF_ERROR, key,
                       "expected http://host:port or https://host:port, with user:password@ "
                       "before the host if needed");
}

static void etcd_add_hosts(struct conf *conf, const json_t *hosts, struct conf_report *report)
{
    struct conf_storage *storage = conf->storage;
    struct conf_option option = *conf_option_find("etcd3.hosts");
    const json_t *list = NULL;
    json_t *host;
    size_t idx;

    /* Borrow the reader of lists; the table's row stores nothing by itself. */
    option.part = CONF_PART_CONF;
    option.offset = 0;
    if (!conf_option_take(&option, hosts, &list, storage, NULL, CONF_ERROR, NULL))
        return; /* reported with the other options */
    json_array_foreach(list, idx, host)
        etcd_add_host(conf, "etcd3.hosts", json_string_value(host), report);
}

void conf_etcd3_fill(struct conf *conf, struct conf_report *report)
{
    static const char *const ways[] = {"etcd3.hosts", "etcd3.host", "etcd3.url", "etcd3.proxy"};
    const struct conf_storage *storage = conf->storage;
    const json_t *protocol = conf_tree_get(conf->tree, "etcd3.protocol");
    int ways_given = 0;

    conf->etcd3.protocol =
        str_equal_nocase(json_string_value(protocol), "https") ? "https" : "http";
    for (size_t i = 0; i < PGH_COUNT(ways); i++) {
        const json_t *value = conf_tree_get(conf->tree, ways[i]);

        if (value == NULL)
            continue;
        if (++ways_given > 1) {
            conf_report_at(report, &storage->places, CONF_ERROR, ways[i],
                           "expected one of hosts, host, url, proxy; found several");
            return;
        }
        if (i == 0)
            etcd_add_hosts(conf, value, report);
        else if (i == 1 && json_is_string(value))
            etcd_add_host(conf, ways[i], json_string_value(value), report);
        else if (i >= 2)
            etcd_add_url(conf, ways[i], report);
    }
    if (conf_tree_get(conf->tree, "etcd3.proxy") != NULL)
        conf->etcd3.use_proxies = true;
}

enum rc conf_set_dcs_url(struct conf *conf, const char *url, struct err *err)
{
    struct conf_storage *storage = conf->storage;
    const char *rest = strstr(url, "://");
    size_t scheme_length = rest == NULL ? 0 : (size_t)(rest - url);
    const char *slash;
    struct buf text;
    struct conf_address address;

    if (scheme_length != strlen("etcd3") || strncmp(url, "etcd3", scheme_length) != 0)
        return err_set(err, RC_INVALID,
                       "%s: expected etcd3://host:port/namespace; other stores (and etcd://, the "
                       "v2 API) are not supported",
                       url);
    rest += strlen("://");
    slash = strchr(rest, '/');
    buf_init(&text, URL_TEXT_MAX);
    (void)buf_append(&text, rest, slash == NULL ? strlen(rest) : (size_t)(slash - rest));
    if (text.length == 0)
        (void)buf_puts(&text, "localhost");
    if (buf_is_overflown(&text) ||
        !conf_address_parse(buf_text(&text), DEFAULT_ETCD_PORT, &address) ||
        address.host[0] == '\0') {
        buf_done(&text);
        return err_set(err, RC_INVALID, "%s: expected etcd3://host:port/namespace", url);
    }
    buf_clear(&text);
    (void)conf_address_format(&address, &text);
    conf->etcd3 = (struct conf_etcd3){.protocol = "http", .host_count = 1};
    conf->etcd3.hosts[0] = conf_storage_text(storage, buf_text(&text));
    if (slash != NULL && slash[1] != '\0')
        conf->namespace = conf_storage_text(storage, slash + 1);
    buf_done(&text);
    return RC_OK;
}
