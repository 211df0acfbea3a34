/* Users, grants, dialects, options and cancelling at the etcd door. */
#include "tests/lib/etcd_house.h"

/* ---- users ---- */

static void test_a_token_is_fetched_once(void **state)
{
    struct house *house = *state;
    struct seen seen[6];
    int tokens = 0;

    open_etcd(house, 3, "app");
    house->wants_token = true;
    for (int i = 0; i < 6; i++)
        (void)begin_txn(house, false, 3000, &seen[i]);
    for (int i = 0; i < 6; i++) {
        fake_run(house->loop, &seen[i].done, 1, 3500);
        assert_int_equal(seen[i].outcome, ETCD_OK);
    }
    for (int i = 0; i < MEMBERS; i++)
        tokens += house->members[i].tokens;
    assert_int_equal(tokens, 1);
    /* It runs out: six requests notice, one fetches the next. */
    house->token_number++;
    for (int i = 0; i < 6; i++)
        (void)begin_txn(house, false, 3000, &seen[i]);
    for (int i = 0; i < 6; i++) {
        fake_run(house->loop, &seen[i].done, 1, 3500);
        assert_int_equal(seen[i].outcome, ETCD_OK);
        assert_false(seen[i].is_repeat);
    }
    tokens = 0;
    for (int i = 0; i < MEMBERS; i++)
        tokens += house->members[i].tokens;
    assert_int_equal(tokens, 2);
}

static void test_tokens_that_never_work(void **state)
{
    struct house *house = *state;

    open_etcd(house, 1, "app");
    for (int i = 0; i < SCRIPT_MAX; i++)
        script(house, 0, 401, "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}");
    assert_int_equal(txn(house, false, 3000)->outcome, ETCD_AUTH_FAILED);
    assert_in_range(house->members[0].tokens, 2, 4);
}

static void test_a_role_that_does_not_cover_the_key(void **state)
{
    struct house *house = *state;

    open_etcd(house, 1, "app");
    script(house, 0, 403, DENIED);
    script(house, 0, 403, DENIED);
    assert_int_equal(txn(house, false, 3000)->outcome, ETCD_AUTH_FAILED);
    assert_int_equal(house->members[0].tokens, 2); /* once more, in case the role was changed */
    assert_non_null(strstr(house->seen.text, "permission denied"));
    script(house, 0, 403, DENIED);
    assert_int_equal(txn(house, false, 3000)->outcome, ETCD_OK);
}

static void test_users_without_a_user(void **state)
{
    struct house *house = *state;

    script(house, 0, 400, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}");
    assert_int_equal(txn(house, false, 3000)->outcome, ETCD_AUTH_FAILED);
    assert_int_equal(house->members[0].tokens, 0);
}

/* ---- grants ---- */

static void test_a_repeated_grant_recognises_its_lease(void **state)
{
    struct house *house = *state;

    script(house, 0, 503, TIMED_OUT); /* but applied */
    script(house, 0, 412, "{\"error\":\"etcdserver: lease already exists\",\"code\":9}");
    assert_int_equal(grant(house, 3000)->outcome, ETCD_OK);
    assert_string_equal(house->members[0].last_path, "/v3/lease/keepalive");
    assert_int_equal(house->seen.ttl_ms, 5000);
    assert_true(house->seen.lease_id != 0);
}

static void test_a_taken_id_is_replaced(void **state)
{
    struct house *house = *state;
    char first[sizeof(house->members[0].last_body)];

    script(house, 0, 412, "{\"error\":\"etcdserver: lease already exists\",\"code\":9}");
    house->seen = (struct seen){0};
    (void)etcd_lease_grant(house->etcd, 5000, soon(3000), on_done, &house->seen);
    fake_run(house->loop, &house->members[0].calls, 1, 2000);
    memcpy(first, house->members[0].last_body, sizeof(first));
    fake_run(house->loop, &house->seen.done, 1, 2000);
    assert_int_equal(house->seen.outcome, ETCD_OK);
    assert_string_equal(house->members[0].last_path, "/v3/lease/grant");
    assert_string_not_equal(house->members[0].last_body, first);
}

static void test_a_repeated_revoke(void **state)
{
    static const char gone[] = "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}";
    struct house *house = *state;

    script(house, 0, 503, TIMED_OUT);
    script(house, 0, 404, gone);
    house->seen = (struct seen){0};
    (void)etcd_lease_revoke(house->etcd, 77, soon(2000), on_done, &house->seen);
    assert_int_equal(finish(house, 2000)->outcome, ETCD_OK);
    script(house, 0, 404, gone);
    house->seen = (struct seen){0};
    (void)etcd_lease_revoke(house->etcd, 77, soon(2000), on_done, &house->seen);
    assert_int_equal(finish(house, 2000)->outcome, ETCD_LEASE_NOT_FOUND);
}

/* ---- dialects ---- */

static void test_an_upgrade_changes_the_dialect(void **state)
{
    struct house *house = *state;

    house->prefix = "/v3beta";
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    assert_string_equal(house->members[0].last_path, "/v3beta/kv/range");
    house->prefix = "/v3";
    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    assert_string_equal(house->members[0].last_path, "/v3/kv/range");
    assert_int_equal(house->members[0].versions, 2);
}

/* ---- options ---- */

static void test_hosts(void **state)
{
    static const char *const good[][2] = {
        {"a", "http://a:2379"},
        {"a:1", "http://a:1"},
        {"[::1]:5", "http://[::1]:5"},
        {"[::1]", "http://[::1]:2379"},
        {"::1", "http://[::1]:2379"},
        {"https://a", "https://a:2379"},
        {"https://a:7/", "https://a:7"},
        {"http://10.0.0.1:2379", "http://10.0.0.1:2379"},
    };
    static const char *const bad[] = {"",    "a:",       "a:x",       "a:0", "a:65536", "a b",
                                      "u@a", "ftp://a/", "http://a/b", "[::1", "[::1]x",
                                      "a:1:2x/"};
    struct house *house = *state;

    for (size_t i = 0; i < PGH_COUNT(good); i++) {
        struct etcd_options options = {.hosts = &good[i][0], .host_count = 1};
        struct etcd_endpoint_info info;
        struct err err = {0};

        if (etcd_reconfigure(house->etcd, &options, &err) != RC_OK)
            fail_msg("%s: %s", good[i][0], err.text);
        etcd_endpoint_get(house->etcd, 0, &info);
        assert_string_equal(info.url, good[i][1]);
        assert_int_equal(etcd_endpoint_count(house->etcd), 1);
    }
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        struct etcd_options options = {.hosts = &bad[i], .host_count = 1};
        struct etcd_endpoint_info info;
        struct err err = {0};

        if (etcd_reconfigure(house->etcd, &options, &err) != RC_INVALID)
            fail_msg("not refused: %s", bad[i]);
        assert_non_null(strstr(err.text, "etcd3"));
        etcd_endpoint_get(house->etcd, 0, &info);
        assert_string_equal(info.url, "http://10.0.0.1:2379"); /* nothing has changed */
    }
}

static void test_bad_options(void **state)
{
    const char *host = "a";
    struct house *house = *state;
    struct etcd_options options = {.hosts = &host, .host_count = 0};
    struct err err = {0};

    assert_int_equal(etcd_reconfigure(house->etcd, &options, &err), RC_INVALID);
    options.host_count = 1;
    options.protocol = "gopher";
    assert_int_equal(etcd_reconfigure(house->etcd, &options, &err), RC_INVALID);
    assert_non_null(strstr(err.text, "etcd3.protocol"));
    options.protocol = NULL;
    options.key = "/nowhere";
    assert_int_equal(etcd_reconfigure(house->etcd, &options, &err), RC_INVALID);
    assert_non_null(strstr(err.text, "etcd3.key"));
}

/* ---- cancelling ---- */

static void test_cancel_in_each_state(void **state)
{
    struct house *house = *state;
    struct etcd_request *request;
    struct seen seen;
    int turns = 0;

    /* One turn of the loop more each time: so each state is met, from the first step to the pause
     * after a failed round. */
    for (int i = 0; i < SCRIPT_MAX; i++)
        script(house, 0, i < 4 ? 503 : 0, NO_LEADER);
    for (turns = 0; turns < 120; turns++) {
        if (turns % 40 == 0)
            open_etcd(house, 1, turns >= 80 ? "app" : NULL);
        request = begin_txn(house, true, 5000, &seen);
        for (int i = 0; i < turns % 40 && seen.done == 0; i++)
            fake_idle(house->loop, 1);
        if (seen.done == 0)
            etcd_request_cancel(request);
        assert_int_equal(seen.done, 1);
        fake_idle(house->loop, 2);
        assert_int_equal(seen.done, 1);
        assert_true(seen.outcome == ETCD_CANCELLED || seen.outcome == ETCD_OK);
    }
}

static void test_freeing_completes_what_is_open(void **state)
{
    struct house *house = *state;
    struct seen seen[3];

    open_etcd(house, 1, "app");
    script(house, 0, 0, NULL);
    script(house, 0, 0, NULL);
    for (int i = 0; i < 3; i++)
        (void)begin_txn(house, true, 5000, &seen[i]);
    fake_idle(house->loop, 50);
    etcd_free(house->etcd);
    house->etcd = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(seen[i].done, 1);
        assert_true(seen[i].outcome == ETCD_CANCELLED || seen[i].outcome == ETCD_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(test_a_token_is_fetched_once),
        IN_HOUSE(test_tokens_that_never_work),
        IN_HOUSE(test_a_role_that_does_not_cover_the_key),
        IN_HOUSE(test_users_without_a_user),
        IN_HOUSE(test_a_repeated_grant_recognises_its_lease),
        IN_HOUSE(test_a_taken_id_is_replaced),
        IN_HOUSE(test_a_repeated_revoke),
        IN_HOUSE(test_an_upgrade_changes_the_dialect),
        IN_HOUSE(test_hosts),
        IN_HOUSE(test_bad_options),
        IN_HOUSE(test_cancel_in_each_state),
        IN_HOUSE(test_freeing_completes_what_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
