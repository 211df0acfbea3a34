/* Health codes as a function of what is known: contract/rest.md section 3. */
#include <string.h>
#include <strings.h>

#include "rest_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/tags_json.h"

enum { QUERY_VALUE_MAX = 4096, GOOD = 200, BAD = 503 };

/* ---- The query string ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %41 is A, + is a blank; what is not well-formed stays as it is. A NUL ends the value. */
static void decode(const char *text, size_t length, struct buf *out)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        int high = c == '%' && i + 2 < length ? hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text[i + 2]) : -1;

        if (c == '+')
            c = ' ';
        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || buf_append(out, &c, 1) != RC_OK)
            return;
    }
}

/* One name=value after the other; false at the end. */
static bool query_next(const char **query, struct buf *ret_name, struct buf *ret_value)
{
    while (*query != NULL && **query != '\0') {
        size_t length = strcspn(*query, "&;");
        const char *pair = *query;
        const char *equals = memchr(pair, '=', length);

        *query += length + (pair[length] == '\0' ? 0 : 1);
        /* As Python reads it: a name without a value is no parameter. */
        if (equals == NULL || equals + 1 == pair + length)
            continue;
        buf_clear(ret_name);
        buf_clear(ret_value);
        decode(pair, (size_t)(equals - pair), ret_name);
        decode(equals + 1, (size_t)(pair + length - equals - 1), ret_value);
        return true;
    }
    return false;
}

bool rest_query_get(const char *query, const char *name, struct buf *out)
{
    struct buf key;
    bool is_found = false;

    buf_init(&key, QUERY_VALUE_MAX);
    buf_clear(out);
    while (!is_found && query_next(&query, &key, out))
        is_found = str_equal(buf_text(&key), name);
    if (!is_found)
        buf_clear(out);
    buf_done(&key);
    return is_found;
}

/* ---- Parts of an answer ---- */

/* Bytes of lag=; false: no limit given, or one that cannot be read. */
static bool lag_limit(const char *query, int64_t *ret_bytes)
{
    struct buf text;
    json_t *value;
    bool is_good;

    buf_init(&text, QUERY_VALUE_MAX);
    is_good = rest_query_get(query, "lag", &text);
    value = is_good ? json_string(buf_text(&text)) : NULL;
    is_good = value != NULL && policy_json_bytes(value, ret_bytes);
    json_decref(value);
    buf_done(&text);
    return is_good;
}

static uint64_t leader_optime(const struct rest_node *node)
{
    uint64_t optime = node->view == NULL ? 0 : node->view->optime_lsn;

    return optime > node->receiver_latest_end_lsn ? optime : node->receiver_latest_end_lsn;
}

static bool is_lagging(const struct rest_node *node, uint64_t position, const char *query)
{
    uint64_t optime = leader_optime(node);
    int64_t limit = 0;

    if (optime == 0 || !lag_limit(query, &limit))
        return false;
    /* A negative limit asks for somebody ahead: nobody is. */
    return optime > position && (limit < 0 || optime - position > (uint64_t)limit);
}

static bool is_wanted_replication_state(const struct rest_doc *doc, const char *query)
{
    struct buf wanted;
    bool is_wanted = true;

    buf_init(&wanted, QUERY_VALUE_MAX);
    if (rest_query_get(query, "replication_state", &wanted))
        is_wanted = str_equal(buf_text(&wanted), doc->replication_state);
    buf_done(&wanted);
    return is_wanted;
}

/* tag_x=y: the tag must be there and spell y; texts as they are, others in lower case. */
static bool is_tag_equal(const json_t *tag, const char *wanted)
{
    struct buf text;
    bool is_equal;

    if (tag == NULL || json_is_null(tag))
        return false;
    if (json_is_boolean(tag))
        return str_equal(wanted, json_is_true(tag) ? "true" : "false");
    buf_init(&text, QUERY_VALUE_MAX);
    is_equal = policy_json_text(tag, &text) && (json_is_string(tag)
                                                    ? str_equal(buf_text(&text), wanted)
                                                    : strcasecmp(buf_text(&text), wanted) == 0);
    buf_done(&text);
    return is_equal;
}

static bool are_tags_equal(const struct rest_node *node, const char *query)
{
    struct buf name;
    struct buf value;
    const char *rest = query;
    bool are_equal = true;

    buf_init(&name, QUERY_VALUE_MAX);
    buf_init(&value, QUERY_VALUE_MAX);
    while (are_equal && query_next(&rest, &name, &value))
        if (str_starts_with(buf_text(&name), "tag_")) {
            /* Of a repeated name the first value counts. */
            (void)rest_query_get(query, buf_text(&name), &value);
            are_equal = is_tag_equal(
                json_object_get(node->tags, buf_text(&name) + strlen("tag_")), buf_text(&value));
        }
    buf_done(&name);
    buf_done(&value);
    return are_equal;
}

/* ---- Codes of the roles: rest.md 3.2 ---- */

struct codes {
    bool replica, leader, primary, standby_leader;
};

static void codes_read(const struct rest_node *node, const struct rest_doc *doc, const char *query,
                       struct codes *ret)
{
    bool is_replica = str_equal(doc->role, "replica");
    bool is_standby_leader = str_equal(doc->role, "standby_leader");
    /* Patroni answers 200 for whoever holds the key. Clients are sent here to write, so the server
     * must be seen to be writable, too. */
    bool is_primary = doc->has_sql && doc->is_primary;
    struct tags tags;

    *ret = (struct codes){0};
    tags_json_parse(node->tags, &tags);
    ret->replica = is_replica && str_equal(doc->state, "running") &&
                   !tags.noloadbalance && !is_lagging(node, doc->replayed, query) &&
                   is_wanted_replication_state(doc, query);
    if (node->view == NULL && doc->is_paused) {
        ret->leader = is_primary || is_standby_leader;
        ret->primary = is_primary;
        ret->standby_leader = is_standby_leader;
    } else if (node->is_leader) {
        ret->primary = is_primary && !node->is_standby_cluster;
        ret->standby_leader = node->is_standby_cluster && (is_replica || is_standby_leader);
        ret->leader = ret->primary || ret->standby_leader;
        if (node->is_standby_cluster)
            ret->replica = false;
    }
}

/* ---- Paths: rest.md 3.3 ---- */

static bool contains(const char *path, const char *word)
{
    return strstr(path, word) != NULL;
}

/* Rows 7 to 11, which need a view. */
static bool sync_path_is_good(const struct rest_doc *doc, const struct codes *codes,
                              const char *path)
{
    bool is_writer = codes->primary || codes->standby_leader;

    if (str_equal(path, "/sync") || str_equal(path, "/synchronous"))
        return doc->sync_standby && codes->replica;
    if (str_equal(path, "/quorum"))
        return doc->quorum_standby && codes->replica;
    if (str_equal(path, "/async") || str_equal(path, "/asynchronous"))
        return !doc->sync_standby && !doc->quorum_standby && codes->replica;
    if (str_equal(path, "/read-only-quorum"))
        return is_writer || (doc->quorum_standby && codes->replica);
    if (str_equal(path, "/read-only-sync") || str_equal(path, "/read-only-synchronous"))
        return is_writer || (doc->sync_standby && codes->replica);
    return false;
}

static bool path_is_good(const struct rest_node *node, const struct rest_doc *doc,
                         const struct codes *codes, const char *path, bool *ret_ignores_tags)
{
    *ret_ignores_tags = true;
    if (contains(path, "standby_leader") || contains(path, "standby-leader"))
        return codes->standby_leader;
    if (contains(path, "leader"))
        return codes->leader;
    if (str_equal(path, "/") || contains(path, "master") || contains(path, "primary") ||
        contains(path, "read-write"))
        return codes->primary;
    *ret_ignores_tags = false;
    if (contains(path, "replica"))
        return codes->replica;
    if (contains(path, "read-only") && !contains(path, "sync") && !contains(path, "quorum"))
        return codes->primary || codes->standby_leader || codes->replica;
    if (contains(path, "health"))
        return str_equal(doc->state, "running");
    return node->view != NULL && sync_path_is_good(doc, codes, path);
}

/* ---- Liveness, readiness: rest.md 3.4 ---- */

static int64_t ttl_ms(const struct rest_node *node)
{
    struct policy policy;

    policy_json_parse(node->config, &policy, NULL);
    return node->view != NULL ? node->view->policy.ttl_ms : policy.ttl_ms;
}

/* The answer itself proves that the loop turns; what must be proved is that it decides. */
static bool is_alive(const struct rest_node *node)
{
    bool is_primary =
        node->role == PG_ROLE_PRIMARY && node->local->postmaster != POSTMASTER_DOWN;
    int64_t patience_ms = ttl_ms(node) * (is_primary ? 1 : 2);

    return node->is_paused || node->next_run_at_ms + patience_ms > node->now_ms;
}

static bool is_ready(const struct rest_node *node, const struct rest_doc *doc, const char *query)
{
    struct buf mode;
    struct policy policy;
    int64_t limit = 0;
    uint64_t position = doc->replayed;
    uint64_t optime = leader_optime(node);

    if (node->is_leader)
        return true;
    if (!str_equal(doc->state, "running") || !str_equal(doc->replication_state, "streaming"))
        return false;
    if (node->view == NULL && node->receiver_latest_end_lsn == 0)
        return node->failsafe_active;
    buf_init(&mode, QUERY_VALUE_MAX);
    if (rest_query_get(query, "mode", &mode) && str_equal(buf_text(&mode), "write"))
        position = doc->received;
    buf_done(&mode);
    policy_json_parse(node->config, &policy, NULL);
    if (!lag_limit(query, &limit))
        limit = policy.maximum_lag_on_failover_bytes;
    return optime <= position || (limit >= 0 && optime - position <= (uint64_t)limit);
}

static bool is_first_segment(const char *path, const char *segment)
{
    size_t length = strlen(segment);

    return strncmp(path, segment, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

struct rest_health rest_json_health(const struct rest_node *node, const char *path,
                                    const char *query)
{
    struct rest_health health = {.code = BAD};
    struct rest_doc doc;
    struct codes codes;
    bool ignores_tags = false;
    bool is_good;

    rest_doc_read(node, &doc);
    if (is_first_segment(path, "/liveness") || is_first_segment(path, "/readiness")) {
        is_good = is_first_segment(path, "/liveness") ? is_alive(node)
                                                      : is_ready(node, &doc, query);
        return (struct rest_health){.code = is_good ? GOOD : BAD, .is_status_only = true};
    }
    codes_read(node, &doc, query, &codes);
    is_good = path_is_good(node, &doc, &codes, path, &ignores_tags);
    if (is_good && !ignores_tags)
        is_good = are_tags_equal(node, query);
    health.code = is_good ? GOOD : BAD;
    return health;
}
