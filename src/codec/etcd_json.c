/* Answers of etcd's v3 JSON gateway. The gateway leaves out fields that are zero, so every field
 * has a default; what is there must have the right type. */
#include "pgheir/codec/etcd_json.h"

#include <string.h>

#include <jansson.h>

#include "pgheir/base/base64.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

/* Where the texts of an answer go. They come from one JSON text and none grows on the way (base64
 * shrinks, an escape is longer than what it stands for, and each had its quotes), so that a block
 * of that text's length holds all. */
struct reader {
    char *storage;
    size_t used;
    size_t size;
    struct err *err;
};

static enum rc bad_field(const struct reader *reader, const char *name, const char *expected)
{
    return err_set(reader->err, RC_PROTOCOL, "etcd's answer: field \"%s\": expected %s", name,
                   expected);
}

static char *take_space(struct reader *reader, size_t length)
{
    char *space = reader->storage + reader->used;

    pgh_assert(reader->used + length + 1 <= reader->size);
    reader->used += length + 1;
    space[length] = '\0';
    return space;
}

static enum rc read_int64(const struct reader *reader, const json_t *object, const char *name,
                          int64_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL || json_is_null(value)) {
        *ret = 0;
        return RC_OK;
    }
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return RC_OK;
    }
    if (json_is_string(value) && str_parse_int64(json_string_value(value), ret))
        return RC_OK;
    return bad_field(reader, name, "a 64-bit integer");
}

static enum rc read_uint64(const struct reader *reader, const json_t *object, const char *name,
                           uint64_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (value == NULL || json_is_null(value)) {
        *ret = 0;
        return RC_OK;
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret = (uint64_t)json_integer_value(value);
        return RC_OK;
    }
    if (json_is_string(value) && str_parse_uint64(json_string_value(value), ret))
        return RC_OK;
    return bad_field(reader, name, "an unsigned 64-bit integer");
}

static enum rc read_bool(const struct reader *reader, const json_t *object, const char *name,
                         bool *ret)
{
    const json_t *value = json_object_get(object, name);

    *ret = json_is_true(value);
    if (value == NULL || json_is_null(value) || json_is_boolean(value))
        return RC_OK;
    return bad_field(reader, name, "true or false");
}

static enum rc read_seconds(const struct reader *reader, const json_t *object, const char *name,
                            int64_t *ret_ms)
{
    int64_t seconds = 0;
    enum rc rc = read_int64(reader, object, name, &seconds);

    if (rc != RC_OK)
        return rc;
    if (seconds < -1 || seconds > INT64_MAX / 1000)
        return bad_field(reader, name, "a span in seconds");
    *ret_ms = seconds < 0 ? 0 : seconds * 1000;
    return RC_OK;
}

static enum rc read_text(struct reader *reader, const json_t *object, const char *name, char **ret)
{
    const json_t *value = json_object_get(object, name);
    size_t length = json_string_length(value);

    if (value == NULL || json_is_null(value)) {
        *ret = NULL;
        return RC_OK;
    }
    if (!json_is_string(value))
        return bad_field(reader, name, "text");
    *ret = take_space(reader, length);
    memcpy(*ret, json_string_value(value), length);
    return RC_OK;
}

static enum rc read_bytes(struct reader *reader, const json_t *object, const char *name,
                          const char **ret, size_t *ret_length)
{
    const json_t *value = json_object_get(object, name);
    size_t text_length = json_string_length(value);
    char *space;

    *ret = "";
    *ret_length = 0;
    if (value == NULL || json_is_null(value))
        return RC_OK;
    if (!json_is_string(value))
        return bad_field(reader, name, "base64 text");
    space = take_space(reader, base64_decoded_max(text_length));
    if (!base64_decode(json_string_value(value), text_length, (unsigned char *)space, ret_length))
        return bad_field(reader, name, "base64 text");
    space[*ret_length] = '\0';
    *ret = space;
    return RC_OK;
}

/* The array named so, or NULL for an empty one. */
static enum rc read_array(const struct reader *reader, const json_t *object, const char *name,
                          const json_t **ret)
{
    const json_t *value = json_object_get(object, name);

    *ret = NULL;
    if (value == NULL || json_is_null(value))
        return RC_OK;
    if (!json_is_array(value))
        return bad_field(reader, name, "an array");
    if (json_array_size(value) > 0)
        *ret = value;
    return RC_OK;
}

static enum rc read_header(const struct reader *reader, const json_t *object,
                           struct etcd_header *ret)
{
    const json_t *header = json_object_get(object, "header");
    enum rc rc;

    if (!json_is_object(header))
        return bad_field(reader, "header", "an object");
    rc = read_uint64(reader, header, "cluster_id", &ret->cluster_id);
    if (rc == RC_OK)
        rc = read_uint64(reader, header, "member_id", &ret->member_id);
    if (rc == RC_OK)
        rc = read_uint64(reader, header, "raft_term", &ret->raft_term);
    if (rc == RC_OK)
        rc = read_int64(reader, header, "revision", &ret->revision);
    return rc;
}

static enum rc read_kv(struct reader *reader, const json_t *object, struct etcd_kv *ret)
{
    enum rc rc;

    if (!json_is_object(object))
        return bad_field(reader, "kv", "an object");
    rc = read_bytes(reader, object, "key", &ret->key, &ret->key_length);
    if (rc == RC_OK)
        rc = read_bytes(reader, object, "value", &ret->value, &ret->value_length);
    if (rc == RC_OK)
        rc = read_int64(reader, object, "create_revision", &ret->create_revision);
    if (rc == RC_OK)
        rc = read_int64(reader, object, "mod_revision", &ret->mod_revision);
    if (rc == RC_OK)
        rc = read_int64(reader, object, "version", &ret->version);
    if (rc == RC_OK)
        rc = read_int64(reader, object, "lease", &ret->lease_id);
    if (rc == RC_OK && ret->key_length == 0)
        rc = bad_field(reader, "key", "a key that is not empty");
    return rc;
}

/* *ret is set as soon as memory is taken, so that the caller frees it in any case. */
static enum rc read_kvs(struct reader *reader, const json_t *object, struct etcd_kv **ret,
                        size_t *ret_count)
{
    const json_t *array = NULL;
    enum rc rc = read_array(reader, object, "kvs", &array);

    if (rc != RC_OK || array == NULL)
        return rc;
    *ret = mem_new(json_array_size(array), sizeof(**ret));
    for (size_t i = 0; i < json_array_size(array); i++) {
        rc = read_kv(reader, json_array_get(array, i), &(*ret)[i]);
        if (rc != RC_OK)
            return rc;
    }
    *ret_count = json_array_size(array);
    return RC_OK;
}

static enum rc read_lease(struct reader *reader, const json_t *object, struct etcd_answer *answer)
{
    enum rc rc = read_int64(reader, object, "ID", &answer->lease_id);

    if (rc == RC_OK)
        rc = read_seconds(reader, object, "TTL", &answer->lease_ttl_ms);
    if (rc == RC_OK)
        rc = read_seconds(reader, object, "grantedTTL", &answer->lease_granted_ttl_ms);
    return rc;
}

static enum rc read_range(struct reader *reader, const json_t *object, struct etcd_answer *answer)
{
    enum rc rc = read_kvs(reader, object, &answer->kvs, &answer->kv_count);

    return rc != RC_OK ? rc : read_bool(reader, object, "more", &answer->more);
}

static enum rc read_op(struct reader *reader, const json_t *object, struct etcd_op_answer *ret)
{
    const json_t *range = json_object_get(object, "response_range");
    const json_t *removal = json_object_get(object, "response_delete_range");
    struct etcd_kv *kvs = NULL;
    enum rc rc = RC_OK;

    if (json_is_object(range)) {
        ret->kind = ETCD_OP_GET;
        rc = read_kvs(reader, range, &kvs, &ret->kv_count);
        ret->kvs = kvs;
    } else if (json_is_object(removal)) {
        ret->kind = ETCD_OP_DELETE;
        rc = read_int64(reader, removal, "deleted", &ret->deleted);
    } else if (json_is_object(json_object_get(object, "response_put"))) {
        ret->kind = ETCD_OP_PUT;
    } else {
        rc = bad_field(reader, "responses", "an answer to a put, range or delete");
    }
    return rc;
}

static enum rc read_txn(struct reader *reader, const json_t *object, struct etcd_answer *answer)
{
    const json_t *array = NULL;
    enum rc rc = read_bool(reader, object, "succeeded", &answer->succeeded);

    if (rc == RC_OK)
        rc = read_array(reader, object, "responses", &array);
    if (rc != RC_OK || array == NULL)
        return rc;
    answer->op_count = json_array_size(array);
    answer->ops = mem_new(answer->op_count, sizeof(*answer->ops));
    for (size_t i = 0; rc == RC_OK && i < answer->op_count; i++)
        rc = read_op(reader, json_array_get(array, i), &answer->ops[i]);
    return rc;
}

static enum rc read_event(struct reader *reader, const json_t *object, struct etcd_event *ret)
{
    const json_t *type = json_object_get(object, "type");

    ret->is_delete = str_equal(json_is_string(type) ? json_string_value(type) : "PUT", "DELETE");
    if (!ret->is_delete && type != NULL &&
        !(json_is_string(type) && str_equal(json_string_value(type), "PUT")))
        return bad_field(reader, "type", "PUT or DELETE");
    return read_kv(reader, json_object_get(object, "kv"), &ret->kv);
}

static enum rc read_watch(struct reader *reader, const json_t *object, struct etcd_answer *answer)
{
    const json_t *array = NULL;
    enum rc rc = read_bool(reader, object, "created", &answer->watch_created);

    if (rc == RC_OK)
        rc = read_bool(reader, object, "canceled", &answer->watch_cancelled);
    if (rc == RC_OK)
        rc = read_int64(reader, object, "compact_revision", &answer->compact_revision);
    if (rc == RC_OK)
        rc = read_text(reader, object, "cancel_reason", &answer->reason);
    if (rc == RC_OK)
        rc = read_array(reader, object, "events", &array);
    if (rc != RC_OK || array == NULL)
        return rc;
    answer->event_count = json_array_size(array);
    answer->events = mem_new(answer->event_count, sizeof(*answer->events));
    for (size_t i = 0; rc == RC_OK && i < answer->event_count; i++)
        rc = read_event(reader, json_array_get(array, i), &answer->events[i]);
    return rc;
}

static enum rc read_token(struct reader *reader, const json_t *object, struct etcd_answer *answer)
{
    enum rc rc = read_text(reader, object, "token", &answer->token);

    if (rc != RC_OK)
        return rc;
    if (str_is_empty(answer->token))
        return bad_field(reader, "token", "a token");
    /* It goes into a header line: nothing but visible characters may pass. */
    for (const char *at = answer->token; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~')
            return bad_field(reader, "token", "visible ASCII characters");
    }
    return RC_OK;
}

static enum rc read_member(struct reader *reader, const json_t *member, struct etcd_answer *answer)
{
    const json_t *urls = NULL;
    bool is_learner = false;
    enum rc rc = read_bool(reader, member, "isLearner", &is_learner);

    if (rc == RC_OK)
        rc = read_array(reader, member, "clientURLs", &urls);
    /* A learner refuses most requests; a member that never started has no URL. */
    if (rc != RC_OK || is_learner || urls == NULL)
        return rc;
    answer->client_urls = mem_resize(answer->client_urls,
                                     (answer->client_url_count + json_array_size(urls)) *
                                         sizeof(*answer->client_urls));
    for (size_t i = 0; i < json_array_size(urls); i++) {
        const json_t *url = json_array_get(urls, i);
        size_t length = json_string_length(url);
        char *copy;

        if (!json_is_string(url))
            return bad_field(reader, "clientURLs", "an array of texts");
        copy = take_space(reader, length);
        memcpy(copy, json_string_value(url), length);
        answer->client_urls[answer->client_url_count++] = copy;
    }
    return RC_OK;
}

static enum rc read_members(struct reader *reader, const json_t *object,
                            struct etcd_answer *answer)
{
    const json_t *array = NULL;
    enum rc rc = read_array(reader, object, "members", &array);

    for (size_t i = 0; rc == RC_OK && i < json_array_size(array); i++)
        rc = read_member(reader, json_array_get(array, i), answer);
    return rc;
}

static enum rc read_answer(struct reader *reader, enum etcd_answer_kind kind, const json_t *object,
                           struct etcd_answer *answer)
{
    enum rc rc = read_header(reader, object, &answer->header);

    if (rc != RC_OK)
        return rc;
    switch (kind) {
    case ETCD_ANSWER_HEADER_ONLY:
        return RC_OK;
    case ETCD_ANSWER_GRANT:
    case ETCD_ANSWER_KEEPALIVE:
    case ETCD_ANSWER_TIME_TO_LIVE:
        return read_lease(reader, object, answer);
    case ETCD_ANSWER_RANGE:
        return read_range(reader, object, answer);
    case ETCD_ANSWER_TXN:
        return read_txn(reader, object, answer);
    case ETCD_ANSWER_WATCH:
        return read_watch(reader, object, answer);
    case ETCD_ANSWER_AUTHENTICATE:
        return read_token(reader, object, answer);
    case ETCD_ANSWER_MEMBERS:
        return read_members(reader, object, answer);
    }
    pgh_unreachable();
}

/* An error says so in "error" (a text or an object), or from etcd 3.6 on in "code" and
 * "message". */
static bool is_error(const json_t *root)
{
    const json_t *error = json_object_get(root, "error");

    if (json_is_object(error) || (json_is_string(error) && json_string_length(error) > 0))
        return true;
    return json_is_integer(json_object_get(root, "code")) &&
           json_is_string(json_object_get(root, "message"));
}

enum rc etcd_answer_parse(enum etcd_answer_kind kind, const char *text, size_t length,
                          struct etcd_answer *ret, struct err *err)
{
    bool is_stream = kind == ETCD_ANSWER_WATCH || kind == ETCD_ANSWER_KEEPALIVE;
    struct reader reader = {.size = length + 1, .err = err};
    struct etcd_answer answer = {0};
    json_error_t why;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    const json_t *object = root;
    enum rc rc;

    if (root == NULL)
        return err_set(err, RC_PROTOCOL, "etcd's answer is not JSON: %s at byte %d", why.text,
                       why.position);
    if (is_stream && json_object_get(root, "result") != NULL)
        object = json_object_get(root, "result");
    if (is_error(root) || is_error(object)) {
        json_decref(root);
        return err_set(err, RC_REFUSED, "etcd answered with an error");
    }
    reader.storage = mem_new(1, reader.size);
    answer.storage = reader.storage;
    rc = read_answer(&reader, kind, object, &answer);
    json_decref(root);
    if (rc != RC_OK)
        etcd_answer_done(&answer);
    else
        *ret = answer;
    return rc;
}

void etcd_answer_done(struct etcd_answer *answer)
{
    for (size_t i = 0; i < answer->op_count; i++)
        mem_free((void *)(uintptr_t)answer->ops[i].kvs);
    mem_free(answer->ops);
    mem_free(answer->kvs);
    mem_free(answer->events);
    mem_free(answer->client_urls);
    mem_free(answer->storage);
    *answer = (struct etcd_answer){0};
}
