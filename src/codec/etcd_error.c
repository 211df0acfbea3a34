/* What etcd's errors mean, which dialect a server speaks, and how a stream falls into lines. */
#include "pgheir/codec/etcd_json.h"

#include <ctype.h>
#include <string.h>

#include <jansson.h>

#include "pgheir/base/str.h"

/* Texts of etcd 3.4 to 3.6 (api/v3rpc/rpctypes/error.go, raft, lease). Parts, because some come
 * with a prefix. */
static const struct {
    const char *part;
    enum etcd_error_class class;
} text_table[] = {
    {"requested lease not found", ETCD_ERROR_LEASE_NOT_FOUND},
    {"lease already exists", ETCD_ERROR_LEASE_EXISTS},
    {"user name is empty", ETCD_ERROR_TOKEN},
    {"invalid auth token", ETCD_ERROR_TOKEN},
    {"revision of auth store is old", ETCD_ERROR_TOKEN},
    {"permission denied", ETCD_ERROR_DENIED},
    {"authentication failed", ETCD_ERROR_AUTH_FAILED},
    {"authentication is not enabled", ETCD_ERROR_AUTH_DISABLED},
    {"required revision has been compacted", ETCD_ERROR_COMPACTED},
    {"too many requests", ETCD_ERROR_NOT_APPLIED},
    {"proposal dropped", ETCD_ERROR_NOT_APPLIED},
    {"no leader", ETCD_ERROR_NOT_APPLIED},
    {"not a primary lessor", ETCD_ERROR_NOT_APPLIED},
    {"not supported for learner", ETCD_ERROR_NOT_APPLIED},
    {"corrupt cluster", ETCD_ERROR_NOT_APPLIED},
    {"not capable", ETCD_ERROR_NOT_APPLIED},
    {"database space exceeded", ETCD_ERROR_FINAL},
    {"request is too large", ETCD_ERROR_FINAL},
};

static enum etcd_error_class class_of_code(int grpc_code)
{
    switch (grpc_code) {
    case ETCD_GRPC_UNAUTHENTICATED:
        return ETCD_ERROR_TOKEN;
    case ETCD_GRPC_PERMISSION_DENIED:
        return ETCD_ERROR_DENIED;
    case ETCD_GRPC_INVALID_ARGUMENT:
    case ETCD_GRPC_NOT_FOUND:
    case ETCD_GRPC_ALREADY_EXISTS:
    case ETCD_GRPC_OUT_OF_RANGE:
    case ETCD_GRPC_UNIMPLEMENTED:
        return ETCD_ERROR_FINAL;
    default:
        /* Unavailable, deadline exceeded, failed precondition, unknown, internal: another member or
         * another moment may well answer, and a write may have gone through. */
        return ETCD_ERROR_TRANSIENT;
    }
}

/* For bodies that are not etcd's: a proxy, or something that is no etcd at all. */
static int code_of_status(int http_status)
{
    switch (http_status) {
    case 400:
        return ETCD_GRPC_INVALID_ARGUMENT;
    case 401:
        return ETCD_GRPC_UNAUTHENTICATED;
    case 403:
        return ETCD_GRPC_PERMISSION_DENIED;
    case 404:
    case 405:
    case 501:
        return ETCD_GRPC_UNIMPLEMENTED;
    case 503:
        return ETCD_GRPC_UNAVAILABLE;
    default:
        return ETCD_GRPC_UNKNOWN;
    }
}

static void set_text(struct etcd_error *ret, const char *text)
{
    size_t length = 0;

    while (text[length] != '\0' && length + 1 < sizeof(ret->text)) {
        ret->text[length] = isprint((unsigned char)text[length]) ? text[length] : '?';
        length++;
    }
    ret->text[length] = '\0';
}

/* {"error":"text","code":5,"message":"text"}; streams: {"error":{"grpc_code":5,"message":"text"}};
 * etcd 3.6: {"code":5,"message":"text","details":[]} and {"error":{"code":5,"message":"text"}}. */
static bool read_error(const json_t *root, int *ret_code, const char **ret_text)
{
    const json_t *error = json_object_get(root, "error");
    const json_t *holder = json_is_object(error) ? error : root;
    const json_t *code = json_object_get(holder, "grpc_code");
    const char *text = json_string_value(json_object_get(holder, "message"));

    if (code == NULL)
        code = json_object_get(holder, "code");
    if (text == NULL)
        text = json_string_value(error);
    if (text == NULL)
        return false;
    *ret_text = text;
    *ret_code = ETCD_GRPC_UNKNOWN;
    if (json_is_integer(code) && json_integer_value(code) >= 0 && json_integer_value(code) <= 16)
        *ret_code = (int)json_integer_value(code);
    return true;
}

void etcd_error_parse(int http_status, const char *text, size_t length, struct etcd_error *ret)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    const char *message = NULL;
    int code = 0;

    *ret = (struct etcd_error){.grpc_code = code_of_status(http_status)};
    if (root != NULL && read_error(root, &code, &message)) {
        ret->grpc_code = code;
        set_text(ret, message);
        ret->class = class_of_code(code);
        for (size_t i = 0; i < PGH_COUNT(text_table); i++) {
            if (strstr(message, text_table[i].part) != NULL) {
                ret->class = text_table[i].class;
                break;
            }
        }
    } else {
        ret->class = class_of_code(ret->grpc_code);
        (void)str_format(ret->text, sizeof(ret->text), "HTTP status %d without an error of etcd's",
                         http_status);
    }
    json_decref(root);
}

/* "3.4.23" -> 3, 4. */
static bool read_version(const json_t *value, int *ret_major, int *ret_minor)
{
    const char *text = json_string_value(value);
    int numbers[2] = {0, 0};

    if (text == NULL)
        return false;
    for (int i = 0; i < 2; i++) {
        int digits = 0;

        while (isdigit((unsigned char)*text) && digits++ < 4)
            numbers[i] = numbers[i] * 10 + (*text++ - '0');
        if (digits == 0 || (i == 0 && *text++ != '.'))
            return false;
    }
    *ret_major = numbers[0];
    *ret_minor = numbers[1];
    return true;
}

enum rc etcd_version_parse(const char *text, size_t length, const char **ret_prefix,
                           struct err *err)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    int major = 0;
    int minor = 0;
    enum rc rc = RC_OK;

    /* The cluster's version counts, because members may be of different ones during an upgrade; a
     * cluster that is just forming says "not_decided". */
    if (!read_version(json_object_get(root, "etcdcluster"), &major, &minor) &&
        !read_version(json_object_get(root, "etcdserver"), &major, &minor))
        rc = err_set(err, RC_PROTOCOL,
                     "GET /version: expected {\"etcdserver\":\"x.y.z\",...}: is this etcd?");
    else if (major < 3)
        rc = err_set(err, RC_REFUSED, "etcd %d.%d is too old: at least 3.4 is needed", major,
                     minor);
    else if (major == 3 && minor < 3)
        *ret_prefix = "/v3alpha";
    else if (major == 3 && minor == 3)
        *ret_prefix = "/v3beta";
    else
        *ret_prefix = "/v3";
    json_decref(root);
    return rc;
}

void etcd_lines_init(struct etcd_lines *lines, size_t line_max)
{
    buf_init(&lines->pending, line_max);
}

void etcd_lines_done(struct etcd_lines *lines)
{
    buf_done(&lines->pending);
}

enum rc etcd_lines_feed(struct etcd_lines *lines, const char *bytes, size_t length,
                        etcd_line_fn *fn, void *arg)
{
    while (length > 0) {
        const char *newline = memchr(bytes, '\n', length);
        size_t part = newline == NULL ? length : (size_t)(newline - bytes);

        if (buf_append(&lines->pending, bytes, part) != RC_OK)
            return RC_LIMIT;
        if (newline == NULL)
            return RC_OK;
        if (lines->pending.length > 0 && !fn(buf_text(&lines->pending), lines->pending.length, arg))
            return RC_CANCELLED;
        buf_clear(&lines->pending);
        bytes += part + 1;
        length -= part + 1;
    }
    return RC_OK;
}
