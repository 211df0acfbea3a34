/* Request bodies of etcd's v3 JSON gateway. */
#include "pgheir/codec/etcd_json.h"

#include <inttypes.h>
#include <string.h>

#include <jansson.h>

#include "pgheir/base/base64.h"

/* "name":"<base64>" with what is before it. */
static void put_bytes(struct buf *out, const char *lead, const void *bytes, size_t length)
{
    (void)buf_puts(out, lead);
    (void)buf_puts(out, "\"");
    (void)base64_encode(out, bytes, length);
    (void)buf_puts(out, "\"");
}

/* The first key behind all that begin with prefix; etcd reads a single NUL as "no end". */
static void put_prefix_end(struct buf *out, const char *prefix)
{
    size_t length = strlen(prefix);
    struct buf end;

    while (length > 0 && (unsigned char)prefix[length - 1] == 0xff)
        length--;
    buf_init(&end, length + 1);
    if (length == 0) {
        (void)buf_append(&end, "\0", 1);
    } else {
        (void)buf_append(&end, prefix, length);
        end.bytes[length - 1]++;
    }
    put_bytes(out, ",\"range_end\":", end.bytes, end.length);
    buf_done(&end);
}

/* "key":..., and for a prefix "range_end":... An empty prefix means every key. */
static void put_key(struct buf *out, const char *key, bool is_prefix)
{
    if (is_prefix && *key == '\0')
        put_bytes(out, "\"key\":", "\0", 1);
    else
        put_bytes(out, "\"key\":", key, strlen(key));
    if (is_prefix)
        put_prefix_end(out, key);
}

/* The appends above remember an overflow in the buffer itself, so one look at the end is enough. */
static enum rc put_end(struct buf *out, const char *tail)
{
    (void)buf_puts(out, tail);
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}

enum rc etcd_put_grant(struct buf *out, int64_t lease_id, int64_t ttl_ms)
{
    pgh_assert(ttl_ms > 0);
    (void)buf_printf(out, "{\"TTL\":%" PRId64 ",\"ID\":\"%" PRId64 "\"", (ttl_ms + 999) / 1000,
                     lease_id);
    return put_end(out, "}");
}

enum rc etcd_put_lease_id(struct buf *out, int64_t lease_id)
{
    (void)buf_printf(out, "{\"ID\":\"%" PRId64 "\"", lease_id);
    return put_end(out, "}");
}

enum rc etcd_put_range(struct buf *out, const char *key, bool is_prefix, bool is_serializable)
{
    (void)buf_puts(out, "{");
    put_key(out, key, is_prefix);
    return put_end(out, is_serializable ? ",\"serializable\":true}" : "}");
}

static void put_compare(struct buf *out, const struct etcd_compare *compare)
{
    /* target, field; in the order of enum etcd_compare_target */
    static const char *const names[][2] = {
        {"CREATE", "create_revision"}, {"MOD", "mod_revision"}, {"VERSION", "version"},
        {"VALUE", "value"},            {"LEASE", "lease"},
    };

    pgh_assert(compare->target < PGH_COUNT(names));
    (void)buf_puts(out, "{");
    put_key(out, compare->key, false);
    (void)buf_printf(out, ",\"result\":\"EQUAL\",\"target\":\"%s\",\"%s\":",
                     names[compare->target][0], names[compare->target][1]);
    if (compare->target == ETCD_COMPARE_VALUE)
        put_bytes(out, "", compare->value, compare->value_length);
    else
        (void)buf_printf(out, "\"%" PRId64 "\"", compare->number);
    (void)buf_puts(out, "}");
}

static void put_op(struct buf *out, const struct etcd_op *op)
{
    switch (op->kind) {
    case ETCD_OP_PUT:
        (void)buf_puts(out, "{\"request_put\":{");
        put_key(out, op->key, false);
        put_bytes(out, ",\"value\":", op->value, op->value_length);
        if (op->lease_id != 0)
            (void)buf_printf(out, ",\"lease\":\"%" PRId64 "\"", op->lease_id);
        break;
    case ETCD_OP_DELETE:
    case ETCD_OP_DELETE_PREFIX:
        (void)buf_puts(out, "{\"request_delete_range\":{");
        put_key(out, op->key, op->kind == ETCD_OP_DELETE_PREFIX);
        break;
    case ETCD_OP_GET:
    case ETCD_OP_GET_PREFIX:
        (void)buf_puts(out, "{\"request_range\":{");
        put_key(out, op->key, op->kind == ETCD_OP_GET_PREFIX);
        break;
    }
    (void)buf_puts(out, "}}");
}

static void put_ops(struct buf *out, const char *lead, const struct etcd_op *ops, size_t count)
{
    (void)buf_puts(out, lead);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            (void)buf_puts(out, ",");
        put_op(out, &ops[i]);
    }
}

enum rc etcd_put_txn(struct buf *out, const struct etcd_txn *txn)
{
    (void)buf_puts(out, "{\"compare\":[");
    for (size_t i = 0; i < txn->compare_count; i++) {
        if (i > 0)
            (void)buf_puts(out, ",");
        put_compare(out, &txn->compares[i]);
    }
    put_ops(out, "],\"success\":[", txn->success, txn->success_count);
    put_ops(out, "],\"failure\":[", txn->failure, txn->failure_count);
    return put_end(out, "]}");
}

enum rc etcd_put_watch(struct buf *out, const char *prefix, int64_t start_revision)
{
    (void)buf_puts(out, "{\"create_request\":{");
    put_key(out, prefix, true);
    (void)buf_printf(out, ",\"start_revision\":\"%" PRId64 "\",\"progress_notify\":true",
                     start_revision);
    return put_end(out, "}}");
}

enum rc etcd_put_authenticate(struct buf *out, const char *username, const char *password)
{
    json_t *body = json_pack("{s:s, s:s}", "name", username, "password", password);
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    enum rc rc = RC_INVALID;

    if (text != NULL)
        rc = buf_puts(out, text);
    free(text);
    json_decref(body);
    return rc;
}
