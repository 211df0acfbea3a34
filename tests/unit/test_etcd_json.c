/* The codec of etcd's gateway: samples as etcd 3.4 to 3.6 send them, and what nobody should
 * send. */
#include "pgheir/codec/etcd_json.h"

#include "tests/lib/check.h"

/* What every answer of etcd's begins with, as JSON text. */
#define HEADER                                                                                     \
    "\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"10276657743932975437\","  \
    "\"revision\":\"42\",\"raft_term\":\"7\"}"

static enum rc parse(enum etcd_answer_kind kind, const char *text, struct etcd_answer *ret,
                     struct err *err)
{
    return etcd_answer_parse(kind, text, strlen(text), ret, err);
}

static void parse_ok(enum etcd_answer_kind kind, const char *text, struct etcd_answer *ret)
{
    struct err err = {0};

    if (parse(kind, text, ret, &err) != RC_OK)
        fail_msg("%s: %s", text, err.text);
}

/* ---- requests ---- */

static void expect_text(struct buf *out, enum rc rc, const char *expected)
{
    assert_int_equal(rc, RC_OK);
    assert_string_equal(buf_text(out), expected);
    buf_done(out);
}

static void test_requests(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    expect_text(&out, etcd_put_grant(&out, 7, 5000), "{\"TTL\":5,\"ID\":\"7\"}");
    expect_text(&out, etcd_put_grant(&out, 7, 5001), "{\"TTL\":6,\"ID\":\"7\"}");
    expect_text(&out, etcd_put_grant(&out, INT64_MAX, 1),
                "{\"TTL\":1,\"ID\":\"9223372036854775807\"}");
    expect_text(&out, etcd_put_lease_id(&out, 123), "{\"ID\":\"123\"}");
    expect_text(&out, etcd_put_range(&out, "foo", false, false), "{\"key\":\"Zm9v\"}");
    expect_text(&out, etcd_put_range(&out, "foo", true, true),
                "{\"key\":\"Zm9v\",\"range_end\":\"Zm9w\",\"serializable\":true}");
    expect_text(&out, etcd_put_watch(&out, "foo", 43),
                "{\"create_request\":{\"key\":\"Zm9v\",\"range_end\":\"Zm9w\","
                "\"start_revision\":\"43\",\"progress_notify\":true}}");
    expect_text(&out, etcd_put_authenticate(&out, "me", "a\"\\\n"),
                "{\"name\":\"me\",\"password\":\"a\\\"\\\\\\n\"}");
}

static void test_prefix_ends(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    /* "/service/demo/" ends before "/service/demo0". */
    expect_text(&out, etcd_put_range(&out, "/service/demo/", true, false),
                "{\"key\":\"L3NlcnZpY2UvZGVtby8=\",\"range_end\":\"L3NlcnZpY2UvZGVtbzA=\"}");
    /* 'a' 0xff 0xff ends before 'b'. */
    expect_text(&out, etcd_put_range(&out, "a\xff\xff", true, false),
                "{\"key\":\"Yf//\",\"range_end\":\"Yg==\"}");
    /* No end at all: a single NUL. */
    expect_text(&out, etcd_put_range(&out, "\xff", true, false),
                "{\"key\":\"/w==\",\"range_end\":\"AA==\"}");
    expect_text(&out, etcd_put_range(&out, "", true, false),
                "{\"key\":\"AA==\",\"range_end\":\"AA==\"}");
}

static void test_txn_request(void **state)
{
    const struct etcd_compare compares[] = {
        {.key = "a", .target = ETCD_COMPARE_CREATE_REVISION, .number = 0},
        {.key = "b", .target = ETCD_COMPARE_MOD_REVISION, .number = 5},
        {.key = "c", .target = ETCD_COMPARE_VALUE, .value = "v\0w", .value_length = 3},
        {.key = "d", .target = ETCD_COMPARE_LEASE, .number = 9},
        {.key = "e", .target = ETCD_COMPARE_VERSION, .number = 1},
    };
    const struct etcd_op success[] = {
        {.kind = ETCD_OP_PUT, .key = "a", .value = "v", .value_length = 1, .lease_id = 9},
        {.kind = ETCD_OP_PUT, .key = "b"},
        {.kind = ETCD_OP_DELETE, .key = "c"},
        {.kind = ETCD_OP_DELETE_PREFIX, .key = "d"},
    };
    const struct etcd_op failure[] = {
        {.kind = ETCD_OP_GET, .key = "a"},
        {.kind = ETCD_OP_GET_PREFIX, .key = "b"},
    };
    const struct etcd_txn txn = {compares, 5, success, 4, failure, 2};
    const struct etcd_txn nothing = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 4000);
    expect_text(
        &out, etcd_put_txn(&out, &txn),
        "{\"compare\":["
        "{\"key\":\"YQ==\",\"result\":\"EQUAL\",\"target\":\"CREATE\",\"create_revision\":\"0\"},"
        "{\"key\":\"Yg==\",\"result\":\"EQUAL\",\"target\":\"MOD\",\"mod_revision\":\"5\"},"
        "{\"key\":\"Yw==\",\"result\":\"EQUAL\",\"target\":\"VALUE\",\"value\":\"dgB3\"},"
        "{\"key\":\"ZA==\",\"result\":\"EQUAL\",\"target\":\"LEASE\",\"lease\":\"9\"},"
        "{\"key\":\"ZQ==\",\"result\":\"EQUAL\",\"target\":\"VERSION\",\"version\":\"1\"}],"
        "\"success\":["
        "{\"request_put\":{\"key\":\"YQ==\",\"value\":\"dg==\",\"lease\":\"9\"}},"
        "{\"request_put\":{\"key\":\"Yg==\",\"value\":\"\"}},"
        "{\"request_delete_range\":{\"key\":\"Yw==\"}},"
        "{\"request_delete_range\":{\"key\":\"ZA==\",\"range_end\":\"ZQ==\"}}],"
        "\"failure\":["
        "{\"request_range\":{\"key\":\"YQ==\"}},"
        "{\"request_range\":{\"key\":\"Yg==\",\"range_end\":\"Yw==\"}}]}");
    expect_text(&out, etcd_put_txn(&out, &nothing),
                "{\"compare\":[],\"success\":[],\"failure\":[]}");
}

static void test_requests_meet_their_ceiling(void **state)
{
    const struct etcd_op put = {.kind = ETCD_OP_PUT, .key = "key", .value = "v", .value_length = 1};
    const struct etcd_txn txn = {.success = &put, .success_count = 1};

    (void)state;
    for (size_t ceiling = 0; ceiling < 90; ceiling++) {
        struct buf out;
        bool has_room = ceiling >= strlen("{\"compare\":[],\"success\":[{\"request_put\":"
                                          "{\"key\":\"a2V5\",\"value\":\"dg==\"}}],"
                                          "\"failure\":[]}");

        buf_init(&out, ceiling);
        assert_int_equal(etcd_put_txn(&out, &txn), has_room ? RC_OK : RC_LIMIT);
        buf_done(&out);
    }
}

static void test_password_must_be_utf8(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 100);
    assert_int_equal(etcd_put_authenticate(&out, "me", "\xff"), RC_INVALID);
    buf_done(&out);
}

/* ---- answers ---- */

static void test_header(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    parse_ok(ETCD_ANSWER_HEADER_ONLY, "{" HEADER "}", &answer);
    assert_true(answer.header.cluster_id == 14841639068965178418u);
    assert_true(answer.header.member_id == 10276657743932975437u);
    assert_int_equal(answer.header.raft_term, 7);
    assert_int_equal(answer.header.revision, 42);
    etcd_answer_done(&answer);
}

static void test_leases(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    parse_ok(ETCD_ANSWER_GRANT, "{" HEADER ",\"ID\":\"7587848390\",\"TTL\":\"5\"}", &answer);
    assert_true(answer.lease_id == 7587848390);
    assert_int_equal(answer.lease_ttl_ms, 5000);
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_KEEPALIVE, "{\"result\":{" HEADER ",\"ID\":\"7\",\"TTL\":\"30\"}}",
             &answer);
    assert_int_equal(answer.lease_ttl_ms, 30000);
    etcd_answer_done(&answer);
    /* The lease is gone: the gateway leaves the zero out. */
    parse_ok(ETCD_ANSWER_KEEPALIVE, "{\"result\":{" HEADER ",\"ID\":\"7\"}}", &answer);
    assert_int_equal(answer.lease_ttl_ms, 0);
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_TIME_TO_LIVE,
             "{" HEADER ",\"ID\":\"7\",\"TTL\":\"3\",\"grantedTTL\":\"5\"}", &answer);
    assert_int_equal(answer.lease_ttl_ms, 3000);
    assert_int_equal(answer.lease_granted_ttl_ms, 5000);
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_TIME_TO_LIVE, "{" HEADER ",\"ID\":\"7\",\"TTL\":\"-1\"}", &answer);
    assert_int_equal(answer.lease_ttl_ms, 0);
    assert_int_equal(answer.lease_granted_ttl_ms, 0);
    etcd_answer_done(&answer);
}

static void test_range(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    parse_ok(ETCD_ANSWER_RANGE,
             "{" HEADER ",\"kvs\":[{\"key\":\"L2E=\",\"create_revision\":\"3\",\"mod_revision\":"
             "\"5\",\"version\":\"2\",\"value\":\"djEAMg==\",\"lease\":\"77\"},"
             "{\"key\":\"L2I=\",\"create_revision\":\"4\",\"mod_revision\":\"4\","
             "\"version\":\"1\"}],\"count\":\"2\"}",
             &answer);
    assert_int_equal(answer.kv_count, 2);
    assert_string_equal(answer.kvs[0].key, "/a");
    assert_int_equal(answer.kvs[0].value_length, 4);
    assert_memory_equal(answer.kvs[0].value, "v1\0"
                                             "2",
                        5);
    assert_int_equal(answer.kvs[0].create_revision, 3);
    assert_int_equal(answer.kvs[0].mod_revision, 5);
    assert_int_equal(answer.kvs[0].version, 2);
    assert_int_equal(answer.kvs[0].lease_id, 77);
    /* No value, no lease: both are left out. */
    assert_string_equal(answer.kvs[1].value, "");
    assert_int_equal(answer.kvs[1].value_length, 0);
    assert_int_equal(answer.kvs[1].lease_id, 0);
    assert_false(answer.more);
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_RANGE, "{" HEADER "}", &answer);
    assert_int_equal(answer.kv_count, 0);
    etcd_answer_done(&answer);
}

static void test_txn(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    parse_ok(ETCD_ANSWER_TXN,
             "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":{}}},"
             "{\"response_delete_range\":{\"header\":{},\"deleted\":\"3\"}},"
             "{\"response_delete_range\":{\"header\":{}}},"
             "{\"response_range\":{\"header\":{},\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":"
             "\"9\"}],\"count\":\"1\"}},{\"response_range\":{\"header\":{}}}]}",
             &answer);
    assert_true(answer.succeeded);
    assert_int_equal(answer.op_count, 5);
    assert_int_equal(answer.ops[0].kind, ETCD_OP_PUT);
    assert_int_equal(answer.ops[1].deleted, 3);
    assert_int_equal(answer.ops[2].kind, ETCD_OP_DELETE);
    assert_int_equal(answer.ops[2].deleted, 0);
    assert_int_equal(answer.ops[3].kv_count, 1);
    assert_int_equal(answer.ops[3].kvs[0].mod_revision, 9);
    assert_int_equal(answer.ops[4].kv_count, 0);
    etcd_answer_done(&answer);
    /* Refused: "succeeded" is left out. */
    parse_ok(ETCD_ANSWER_TXN, "{" HEADER "}", &answer);
    assert_false(answer.succeeded);
    etcd_answer_done(&answer);
}

static void test_watch(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    parse_ok(ETCD_ANSWER_WATCH, "{\"result\":{" HEADER ",\"created\":true}}", &answer);
    assert_true(answer.watch_created);
    assert_int_equal(answer.event_count, 0);
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_WATCH,
             "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"L2E=\",\"value\":\"dg==\","
             "\"mod_revision\":\"8\"}},{\"type\":\"DELETE\",\"kv\":{\"key\":\"L2I=\","
             "\"mod_revision\":\"9\"}},{\"type\":\"PUT\",\"kv\":{\"key\":\"L2M=\"}}]}}",
             &answer);
    assert_int_equal(answer.event_count, 3);
    assert_false(answer.events[0].is_delete);
    assert_string_equal(answer.events[0].kv.value, "v");
    assert_true(answer.events[1].is_delete);
    assert_string_equal(answer.events[1].kv.key, "/b");
    assert_int_equal(answer.events[1].kv.mod_revision, 9);
    assert_false(answer.events[2].is_delete);
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_WATCH,
             "{\"result\":{" HEADER ",\"canceled\":true,\"compact_revision\":\"33\","
             "\"cancel_reason\":\"too old\"}}",
             &answer);
    assert_true(answer.watch_cancelled);
    assert_int_equal(answer.compact_revision, 33);
    assert_string_equal(answer.reason, "too old");
    etcd_answer_done(&answer);
}

static void test_members_and_token(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    parse_ok(ETCD_ANSWER_MEMBERS,
             "{" HEADER ",\"members\":[{\"ID\":\"1\",\"name\":\"a\",\"peerURLs\":[\"http://p\"],"
             "\"clientURLs\":[\"http://a:1\",\"http://b:1\"]},{\"ID\":\"2\"},{\"ID\":\"3\","
             "\"isLearner\":true,\"clientURLs\":[\"http://l:1\"]},{\"clientURLs\":[\"http://c:1\"]}"
             "]}",
             &answer);
    assert_int_equal(answer.client_url_count, 3);
    assert_string_equal(answer.client_urls[0], "http://a:1");
    assert_string_equal(answer.client_urls[2], "http://c:1");
    etcd_answer_done(&answer);
    parse_ok(ETCD_ANSWER_AUTHENTICATE, "{" HEADER ",\"token\":\"abc.123\"}", &answer);
    assert_string_equal(answer.token, "abc.123");
    etcd_answer_done(&answer);
}

static const struct {
    enum etcd_answer_kind kind;
    const char *text;
} bad_answers[] = {
    {ETCD_ANSWER_RANGE, ""},
    {ETCD_ANSWER_RANGE, "null"},
    {ETCD_ANSWER_RANGE, "[]"},
    {ETCD_ANSWER_RANGE, "{}"},
    {ETCD_ANSWER_RANGE, "{\"header\":7}"},
    {ETCD_ANSWER_RANGE, "{\"header\":{\"raft_term\":\"-1\"}}"},
    {ETCD_ANSWER_RANGE, "{\"header\":{\"raft_term\":-1}}"},
    {ETCD_ANSWER_RANGE, "{\"header\":{\"raft_term\":\"18446744073709551616\"}}"},
    {ETCD_ANSWER_RANGE, "{\"header\":{\"revision\":\"9223372036854775808\"}}"},
    {ETCD_ANSWER_RANGE, "{\"header\":{\"revision\":1.5}}"},
    {ETCD_ANSWER_RANGE, "{\"header\":{\"revision\":\"\"}}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":{}}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[7]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[{}]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[{\"key\":\"L2E\"}]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[{\"key\":\"\"}]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[{\"key\":\"L2E=\",\"value\":7}]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[{\"key\":\"L2E=\",\"value\":\"*\"}]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"more\":\"yes\"}"},
    {ETCD_ANSWER_RANGE, "{" HEADER ",\"kvs\":[],\"kvs\":[]}"},
    {ETCD_ANSWER_RANGE, "{" HEADER "} trailing"},
    {ETCD_ANSWER_GRANT, "{" HEADER ",\"ID\":\"x\"}"},
    {ETCD_ANSWER_GRANT, "{" HEADER ",\"ID\":\"1\",\"TTL\":\"9223372036854775807\"}"},
    {ETCD_ANSWER_GRANT, "{" HEADER ",\"ID\":\"1\",\"TTL\":\"-5\"}"},
    {ETCD_ANSWER_TXN, "{" HEADER ",\"succeeded\":1}"},
    {ETCD_ANSWER_TXN, "{" HEADER ",\"responses\":[{}]}"},
    {ETCD_ANSWER_TXN, "{" HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":"
                      "\"L2E=\"},{}]}}]}"},
    {ETCD_ANSWER_WATCH, "{\"result\":{" HEADER ",\"events\":[{\"type\":\"NEW\"}]}}"},
    {ETCD_ANSWER_WATCH, "{\"result\":{" HEADER ",\"events\":[{\"type\":1}]}}"},
    {ETCD_ANSWER_WATCH, "{\"result\":{" HEADER ",\"events\":[{}]}}"},
    {ETCD_ANSWER_WATCH, "{\"result\":{" HEADER ",\"cancel_reason\":3}}"},
    {ETCD_ANSWER_AUTHENTICATE, "{" HEADER "}"},
    {ETCD_ANSWER_AUTHENTICATE, "{" HEADER ",\"token\":\"\"}"},
    {ETCD_ANSWER_AUTHENTICATE, "{" HEADER ",\"token\":\"a\\r\\nHost: evil\"}"},
    {ETCD_ANSWER_MEMBERS, "{" HEADER ",\"members\":[{\"clientURLs\":[1]}]}"},
    {ETCD_ANSWER_MEMBERS, "{" HEADER ",\"members\":[{\"clientURLs\":\"http://a\"}]}"},
};

static void test_hostile_answers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad_answers); i++) {
        struct etcd_answer answer = {.lease_id = 99};
        struct err err = {0};

        if (parse(bad_answers[i].kind, bad_answers[i].text, &answer, &err) != RC_PROTOCOL)
            fail_msg("not refused: %s", bad_answers[i].text);
        assert_true(err.text[0] != '\0');
        assert_int_equal(answer.lease_id, 99); /* outputs are untouched */
    }
}

/* Cut anywhere, an answer is refused and nothing leaks. */
static void test_cut_answers_are_refused(void **state)
{
    static const char whole[] =
        "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":"
        "\"L2E=\",\"value\":\"dg==\"}]}}]}";

    (void)state;
    for (size_t length = 0; length < strlen(whole); length++) {
        struct etcd_answer answer = {0};

        assert_int_equal(etcd_answer_parse(ETCD_ANSWER_TXN, whole, length, &answer, NULL),
                         RC_PROTOCOL);
    }
}

/* ---- errors ---- */

static const struct {
    int status;
    const char *body;
    enum etcd_error_class class;
} errors[] = {
    /* 3.4 and 3.5 */
    {404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5,\"message\":"
          "\"etcdserver: requested lease not found\"}", ETCD_ERROR_LEASE_NOT_FOUND},
    /* a stream */
    {200, "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
     ETCD_ERROR_NOT_APPLIED},
    /* 3.6 */
    {401, "{\"code\":16,\"message\":\"etcdserver: invalid auth token\",\"details\":[]}",
     ETCD_ERROR_TOKEN},
    {200, "{\"error\":{\"code\":11,\"message\":\"etcdserver: mvcc: required revision has been "
          "compacted\"}}", ETCD_ERROR_COMPACTED},
    {400, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}", ETCD_ERROR_TOKEN},
    {400, "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}", ETCD_ERROR_TOKEN},
    {403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", ETCD_ERROR_DENIED},
    {400, "{\"error\":\"etcdserver: authentication failed, invalid user ID or password\","
          "\"code\":3}", ETCD_ERROR_AUTH_FAILED},
    {400, "{\"error\":\"etcdserver: authentication is not enabled\",\"code\":9}",
     ETCD_ERROR_AUTH_DISABLED},
    {412, "{\"error\":\"etcdserver: lease already exists\",\"code\":9}", ETCD_ERROR_LEASE_EXISTS},
    {503, "{\"error\":\"etcdserver: request timed out\",\"code\":14}", ETCD_ERROR_TRANSIENT},
    {503, "{\"error\":\"etcdserver: leader changed\",\"code\":14}", ETCD_ERROR_TRANSIENT},
    {503, "{\"error\":\"etcdserver: server stopped\",\"code\":14}", ETCD_ERROR_TRANSIENT},
    {429, "{\"error\":\"etcdserver: too many requests\",\"code\":8}", ETCD_ERROR_NOT_APPLIED},
    {500, "{\"error\":\"raft proposal dropped\",\"code\":2}", ETCD_ERROR_NOT_APPLIED},
    {500, "{\"error\":\"not a primary lessor\",\"code\":2}", ETCD_ERROR_NOT_APPLIED},
    {429, "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", ETCD_ERROR_FINAL},
    {400, "{\"error\":\"etcdserver: duplicate key given in txn request\",\"code\":3}",
     ETCD_ERROR_FINAL},
    {504, "{\"error\":\"context deadline exceeded\",\"code\":4}", ETCD_ERROR_TRANSIENT},
    {500, "{\"error\":\"something new\",\"code\":2}", ETCD_ERROR_TRANSIENT},
    /* not etcd's */
    {404, "404 page not found\n", ETCD_ERROR_FINAL},
    {503, "<html>proxy</html>", ETCD_ERROR_TRANSIENT},
    {502, "", ETCD_ERROR_TRANSIENT},
    {401, "{\"unrelated\":1}", ETCD_ERROR_TOKEN},
    {403, "no", ETCD_ERROR_DENIED},
    {200, "{\"error\":{}}", ETCD_ERROR_TRANSIENT},
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(errors); i++) {
        struct etcd_error error;

        etcd_error_parse(errors[i].status, errors[i].body, strlen(errors[i].body), &error);
        if (error.class != errors[i].class)
            fail_msg("class %d: %s", (int)error.class, errors[i].body);
        assert_true(error.text[0] != '\0');
    }
}

static void test_errors_are_told_from_answers(void **state)
{
    struct etcd_answer answer = {0};

    (void)state;
    for (size_t i = 0; i < PGH_COUNT(errors); i++) {
        if (strstr(errors[i].body, "message") != NULL ||
            strstr(errors[i].body, "\"error\"") != NULL)
            assert_int_equal(parse(ETCD_ANSWER_WATCH, errors[i].body, &answer, NULL), RC_REFUSED);
    }
}

static void test_error_text_is_printable(void **state)
{
    static const char body[] = "{\"error\":\"a\\u0007b\\u00e9c\",\"code\":2}";
    struct etcd_error error;

    (void)state;
    etcd_error_parse(500, body, strlen(body), &error);
    assert_string_equal(error.text, "a?b??c");
}

/* ---- versions ---- */

static const char *prefix_of(const char *text)
{
    const char *prefix = "none";

    (void)etcd_version_parse(text, strlen(text), &prefix, NULL);
    return prefix;
}

static void test_versions(void **state)
{
    (void)state;
    assert_string_equal(prefix_of("{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}"), "/v3");
    assert_string_equal(prefix_of("{\"etcdserver\":\"3.6.1\",\"etcdcluster\":\"3.6.0\"}"), "/v3");
    assert_string_equal(prefix_of("{\"etcdserver\":\"3.10.1\",\"etcdcluster\":\"3.10.0\"}"), "/v3");
    assert_string_equal(prefix_of("{\"etcdserver\":\"4.0.0\",\"etcdcluster\":\"4.0.0\"}"), "/v3");
    /* In an upgrade the cluster speaks the older dialect. */
    assert_string_equal(prefix_of("{\"etcdserver\":\"3.4.0\",\"etcdcluster\":\"3.3.0\"}"),
                        "/v3beta");
    assert_string_equal(prefix_of("{\"etcdserver\":\"3.2.0\",\"etcdcluster\":\"3.2.0\"}"),
                        "/v3alpha");
    assert_string_equal(prefix_of("{\"etcdserver\":\"3.5.0\",\"etcdcluster\":\"not_decided\"}"),
                        "/v3");
    assert_string_equal(prefix_of("{\"etcdserver\":\"2.3.0\",\"etcdcluster\":\"2.3.0\"}"), "none");
    assert_string_equal(prefix_of("{}"), "none");
    assert_string_equal(prefix_of("hello"), "none");
    assert_string_equal(prefix_of("{\"etcdserver\":\"3\"}"), "none");
    assert_string_equal(prefix_of("{\"etcdserver\":\"99999999.1\"}"), "none");
}

/* ---- lines ---- */

struct seen_lines {
    struct buf text;
    int left; /* stop after so many */
};

static bool on_line(const char *line, size_t length, void *arg)
{
    struct seen_lines *seen = arg;

    (void)buf_append(&seen->text, line, length);
    (void)buf_puts(&seen->text, "|");
    return --seen->left != 0;
}

static void test_lines_cut_anywhere(void **state)
{
    static const char text[] = "one\ntwo\n\nthree\nrest";

    (void)state;
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        struct seen_lines seen = {.left = -1};
        struct etcd_lines lines;

        buf_init(&seen.text, 100);
        etcd_lines_init(&lines, 10);
        assert_int_equal(etcd_lines_feed(&lines, text, cut, on_line, &seen), RC_OK);
        assert_int_equal(
            etcd_lines_feed(&lines, text + cut, strlen(text) - cut, on_line, &seen), RC_OK);
        assert_string_equal(buf_text(&seen.text), "one|two|three|");
        assert_string_equal(buf_text(&lines.pending), "rest");
        etcd_lines_done(&lines);
        buf_done(&seen.text);
    }
}

static void test_lines_that_are_too_long(void **state)
{
    struct seen_lines seen = {.left = -1};
    struct etcd_lines lines;

    (void)state;
    buf_init(&seen.text, 100);
    etcd_lines_init(&lines, 5);
    assert_int_equal(etcd_lines_feed(&lines, "12345\n", 6, on_line, &seen), RC_OK);
    assert_int_equal(etcd_lines_feed(&lines, "1234", 4, on_line, &seen), RC_OK);
    assert_int_equal(etcd_lines_feed(&lines, "56\n", 3, on_line, &seen), RC_LIMIT);
    etcd_lines_done(&lines);
    buf_done(&seen.text);
}

static void test_lines_stop(void **state)
{
    struct seen_lines seen = {.left = 2};
    struct etcd_lines lines;

    (void)state;
    buf_init(&seen.text, 100);
    etcd_lines_init(&lines, 100);
    assert_int_equal(etcd_lines_feed(&lines, "a\nb\nc\n", 6, on_line, &seen), RC_CANCELLED);
    assert_string_equal(buf_text(&seen.text), "a|b|");
    etcd_lines_done(&lines);
    buf_done(&seen.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_prefix_ends),
        cmocka_unit_test(test_txn_request),
        cmocka_unit_test(test_requests_meet_their_ceiling),
        cmocka_unit_test(test_password_must_be_utf8),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_leases),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_txn),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_members_and_token),
        cmocka_unit_test(test_hostile_answers_are_refused),
        cmocka_unit_test(test_cut_answers_are_refused),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_are_told_from_answers),
        cmocka_unit_test(test_error_text_is_printable),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_lines_cut_anywhere),
        cmocka_unit_test(test_lines_that_are_too_long),
        cmocka_unit_test(test_lines_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
