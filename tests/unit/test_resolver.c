#include "pgheir/io/resolver.h"

#include "tests/lib/fake_server.h"

/* The last answer of a lookup. */
struct seen {
    int done;
    enum rc rc;
    bool is_old;
    int count;
    char addresses[RESOLVER_ADDRESSES_MAX][RESOLVER_ADDRESS_SIZE];
    char text[ERR_TEXT_SIZE];
};

struct house {
    struct loop *loop;
    struct resolver *resolver;
    struct fake_dns dns;
    struct seen seen;
};

static int64_t soon(int64_t span_ms)
{
    return clock_boot_ms() + span_ms;
}

static void open_resolver(struct house *house, int64_t fresh_ms)
{
    const struct resolver_options options = {.nameserver = house->dns.nameserver,
                                             .fresh_ms = fresh_ms};

    assert_int_equal(resolver_new(house->loop, &options, &house->resolver, NULL), RC_OK);
}

static int make_house(void **state)
{
    static struct house house;

    house = (struct house){0};
    *state = &house;
    assert_int_equal(loop_new(&house.loop, NULL), RC_OK);
    fake_dns_start(&house.dns, house.loop);
    open_resolver(&house, 0);
    return 0;
}

static int free_house(void **state)
{
    struct house *house = *state;

    resolver_free(house->resolver);
    fake_idle(house->loop, 20); /* what was under way ends in the next turns */
    fake_dns_stop(&house->dns);
    loop_free(house->loop);
    return 0;
}

static void on_done(const struct resolver_answer *answer, void *arg)
{
    struct seen *seen = arg;

    seen->done++;
    seen->rc = answer->rc;
    seen->is_old = answer->is_old;
    seen->count = answer->count;
    for (int i = 0; i < answer->count; i++)
        memcpy(seen->addresses[i], answer->addresses[i], RESOLVER_ADDRESS_SIZE);
    (void)snprintf(seen->text, sizeof(seen->text), "%s", answer->err->text);
}

static const struct seen *look_up(struct house *house, const char *name, int64_t span_ms)
{
    house->seen = (struct seen){0};
    (void)resolver_lookup_begin(house->resolver, name, soon(span_ms), on_done, &house->seen);
    assert_int_equal(house->seen.done, 0); /* never before begin has returned */
    fake_run(house->loop, &house->seen.done, 1, span_ms + 1000);
    fake_idle(house->loop, 3);
    assert_int_equal(house->seen.done, 1);
    return &house->seen;
}

static void test_numbers_need_no_dns(void **state)
{
    static const char *const pairs[][2] = {
        {"10.1.2.3", "10.1.2.3"}, {"::1", "::1"}, {"[fe80::1]", "fe80::1"},
        {"fe80::1%eth0", "fe80::1%eth0"}, {"localhost", "127.0.0.1"}, {"LocalHost.", "127.0.0.1"},
    };
    struct house *house = *state;

    house->dns.mode = FAKE_DNS_SILENT;
    for (size_t i = 0; i < PGH_COUNT(pairs); i++) {
        const struct seen *seen = look_up(house, pairs[i][0], 500);

        assert_int_equal(seen->rc, RC_OK);
        assert_string_equal(seen->addresses[0], pairs[i][1]);
    }
    assert_int_equal(house->dns.questions, 0);
    assert_true(resolver_is_numeric("[::1]"));
    assert_true(resolver_is_numeric("1.2.3.4"));
    assert_false(resolver_is_numeric("1.2.3"));
    assert_false(resolver_is_numeric("localhost"));
    assert_false(resolver_is_numeric(""));
}

static void test_what_is_no_name_is_refused(void **state)
{
    struct house *house = *state;
    char long_name[RESOLVER_NAME_SIZE + 10];

    memset(long_name, 'a', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(look_up(house, "", 500)->rc, RC_INVALID);
    assert_int_equal(look_up(house, "a b", 500)->rc, RC_INVALID);
    assert_int_equal(look_up(house, "a/b", 500)->rc, RC_INVALID);
    assert_int_equal(look_up(house, "a\nb", 500)->rc, RC_INVALID);
    assert_int_equal(look_up(house, long_name, 500)->rc, RC_INVALID);
    assert_int_equal(house->dns.questions, 0);
}

static void test_both_families(void **state)
{
    struct house *house = *state;
    const struct seen *seen;

    house->dns.v4[0] = "10.0.0.1";
    house->dns.v4[1] = "10.0.0.2";
    house->dns.v6[0] = "fd00::1";
    seen = look_up(house, "db.test", 2000);
    assert_int_equal(seen->rc, RC_OK);
    assert_int_equal(seen->count, 3);
    assert_string_equal(seen->addresses[0], "10.0.0.1");
    assert_string_equal(seen->addresses[1], "10.0.0.2");
    assert_string_equal(seen->addresses[2], "fd00::1");
    assert_false(seen->is_old);
}

static void test_known_names_are_answered_from_memory(void **state)
{
    struct house *house = *state;
    char addresses[4][RESOLVER_ADDRESS_SIZE];
    int count = 0;
    int questions;

    assert_false(resolver_peek(house->resolver, "db.test", addresses, 4, &count));
    assert_int_equal(look_up(house, "db.test", 2000)->rc, RC_OK);
    questions = house->dns.questions;
    assert_int_equal(look_up(house, "DB.test", 2000)->rc, RC_OK);
    assert_int_equal(house->dns.questions, questions);
    assert_true(resolver_peek(house->resolver, "db.TEST", addresses, 4, &count));
    assert_int_equal(count, 1);
    assert_string_equal(addresses[0], "127.0.0.1");
    assert_true(resolver_peek(house->resolver, "[::1]", addresses, 4, &count));
    assert_string_equal(addresses[0], "::1");
}

static void test_many_waiters_ask_once(void **state)
{
    struct house *house = *state;
    struct seen seen[5] = {{0}};

    for (int i = 0; i < 5; i++)
        (void)resolver_lookup_begin(house->resolver, "db.test", soon(2000), on_done, &seen[i]);
    for (int i = 0; i < 5; i++) {
        fake_run(house->loop, &seen[i].done, 1, 3000);
        assert_int_equal(seen[i].rc, RC_OK);
    }
    assert_int_equal(house->dns.questions, 2); /* A and AAAA */
}

static void test_no_such_name(void **state)
{
    struct house *house = *state;
    const struct seen *seen;

    house->dns.mode = FAKE_DNS_NO_SUCH_NAME;
    seen = look_up(house, "nowhere.test", 5000);
    assert_int_equal(seen->rc, RC_NOT_FOUND);
    assert_non_null(strstr(seen->text, "nowhere.test"));
    /* It is asked for anew: nothing is remembered of a failure. */
    house->dns.mode = FAKE_DNS_ANSWERS;
    assert_int_equal(look_up(house, "nowhere.test", 5000)->rc, RC_OK);
}

static void test_a_name_without_addresses(void **state)
{
    struct house *house = *state;

    house->dns.v4[0] = NULL;
    assert_int_equal(look_up(house, "empty.test", 5000)->rc, RC_UNREACHABLE);
    assert_non_null(strstr(house->seen.text, "no address"));
}

/* Promise P6: the DNS server is silent, and nothing else waits for it. */
static void test_silence_ends_at_the_deadline(void **state)
{
    struct house *house = *state;
    int64_t begun_ms = clock_boot_ms();
    int64_t latest_ms = 0;
    struct seen seen = {0};

    house->dns.mode = FAKE_DNS_SILENT;
    (void)resolver_lookup_begin(house->resolver, "db.test", begun_ms + 300, on_done, &seen);
    while (seen.done == 0) {
        int64_t turn_ms = clock_boot_ms();

        (void)loop_run_until(house->loop, turn_ms + 1, NULL);
        if (clock_boot_ms() - turn_ms > latest_ms)
            latest_ms = clock_boot_ms() - turn_ms;
    }
    assert_int_equal(seen.rc, RC_TIMEOUT);
    assert_true(clock_boot_ms() - begun_ms >= 300);
    assert_true(clock_boot_ms() - begun_ms < 1000);
    assert_true(latest_ms < 200); /* no turn of the loop was held up */
}

/* NW-04: the last good addresses are kept, and given at once. */
static void test_last_good_addresses_are_kept(void **state)
{
    struct house *house = *state;
    int64_t begun_ms;

    resolver_free(house->resolver);
    open_resolver(house, 1);
    assert_int_equal(look_up(house, "db.test", 2000)->rc, RC_OK);
    for (int mode = FAKE_DNS_SILENT; mode <= FAKE_DNS_NO_SUCH_NAME; mode++) {
        house->dns.mode = (enum fake_dns_mode)mode;
        fake_idle(house->loop, 1100); /* asked at most once a second */
        begun_ms = clock_boot_ms();
        assert_int_equal(look_up(house, "db.test", 2000)->rc, RC_OK);
        assert_true(clock_boot_ms() - begun_ms < 200);
        assert_true(house->seen.is_old);
        assert_string_equal(house->seen.addresses[0], "127.0.0.1");
    }
}

static void test_a_name_that_moved(void **state)
{
    struct house *house = *state;
    char addresses[4][RESOLVER_ADDRESS_SIZE];
    int count = 0;
    int64_t deadline_ms;

    assert_int_equal(look_up(house, "db.test", 2000)->rc, RC_OK);
    house->dns.v4[0] = "127.0.0.9";
    fake_idle(house->loop, 1100);
    assert_string_equal(look_up(house, "db.test", 2000)->addresses[0], "127.0.0.1");
    resolver_note_failed(house->resolver, "Db.test");
    resolver_note_failed(house->resolver, "unknown.test");
    resolver_note_failed(house->resolver, "10.0.0.1");
    deadline_ms = soon(3000);
    do {
        fake_idle(house->loop, 5);
        assert_true(clock_boot_ms() < deadline_ms);
        assert_true(resolver_peek(house->resolver, "db.test", addresses, 4, &count));
    } while (strcmp(addresses[0], "127.0.0.9") != 0);
    assert_string_equal(look_up(house, "db.test", 2000)->addresses[0], "127.0.0.9");
}

static void test_failures_do_not_flood_the_server(void **state)
{
    struct house *house = *state;
    int64_t begun_ms = clock_boot_ms();
    int questions;

    assert_int_equal(look_up(house, "db.test", 2000)->rc, RC_OK);
    questions = house->dns.questions;
    for (int i = 0; i < 100; i++) {
        resolver_note_failed(house->resolver, "db.test");
        assert_int_equal(look_up(house, "db.test", 2000)->rc, RC_OK);
    }
    /* A and AAAA once a second. */
    assert_true(house->dns.questions <= questions + 2 + 2 * (clock_boot_ms() - begun_ms) / 1000);
}

static void test_cancel_in_each_state(void **state)
{
    struct house *house = *state;
    struct resolver_lookup *lookup;
    struct seen seen = {0};

    lookup = resolver_lookup_begin(house->resolver, "10.0.0.1", soon(1000), on_done, &seen);
    resolver_lookup_cancel(lookup);
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.rc, RC_CANCELLED);
    house->dns.mode = FAKE_DNS_SILENT;
    lookup = resolver_lookup_begin(house->resolver, "db.test", soon(1000), on_done, &seen);
    resolver_lookup_cancel(lookup);
    assert_int_equal(seen.done, 2);
    lookup = resolver_lookup_begin(house->resolver, "db.test", soon(1000), on_done, &seen);
    fake_idle(house->loop, 20);
    resolver_lookup_cancel(lookup);
    assert_int_equal(seen.done, 3);
    /* The question goes on without us, and its answer is kept. */
    house->dns.mode = FAKE_DNS_ANSWERS;
    (void)resolver_lookup_begin(house->resolver, "db.test", soon(9000), on_done, &seen);
    fake_run(house->loop, &seen.done, 4, 9000);
    assert_int_equal(seen.rc, RC_OK);
}

static void test_freeing_completes_what_is_open(void **state)
{
    struct house *house = *state;
    struct seen seen[3] = {{0}};

    house->dns.mode = FAKE_DNS_SILENT;
    (void)resolver_lookup_begin(house->resolver, "a.test", soon(9000), on_done, &seen[0]);
    (void)resolver_lookup_begin(house->resolver, "10.0.0.1", soon(9000), on_done, &seen[1]);
    (void)resolver_lookup_begin(house->resolver, "b.test", soon(9000), on_done, &seen[2]);
    fake_idle(house->loop, 0);
    resolver_free(house->resolver);
    house->resolver = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(seen[i].done, 1);
    assert_int_equal(seen[2].rc, RC_CANCELLED);
}

static void test_more_names_than_memory(void **state)
{
    struct house *house = *state;
    struct seen seen = {0};
    char name[32];

    for (int i = 0; i < FAKE_NAMES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%d.test", i);
        (void)resolver_lookup_begin(house->resolver, name, soon(20000), on_done, &seen);
        fake_run(house->loop, &seen.done, i + 1, 5000);
        assert_int_equal(seen.rc, RC_OK);
    }
}

static void test_bad_nameserver_is_refused(void **state)
{
    const struct resolver_options options = {.nameserver = "not an address"};
    struct house *house = *state;
    struct resolver *resolver = NULL;
    struct err err = {0};

    assert_int_equal(resolver_new(house->loop, &options, &resolver, &err), RC_INVALID);
    assert_non_null(strstr(err.text, "not an address"));
    assert_null(resolver);
}

#define IN_HOUSE(test) cmocka_unit_test_setup_teardown(test, make_house, free_house)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(test_numbers_need_no_dns),
        IN_HOUSE(test_what_is_no_name_is_refused),
        IN_HOUSE(test_both_families),
        IN_HOUSE(test_known_names_are_answered_from_memory),
        IN_HOUSE(test_many_waiters_ask_once),
        IN_HOUSE(test_no_such_name),
        IN_HOUSE(test_a_name_without_addresses),
        IN_HOUSE(test_silence_ends_at_the_deadline),
        IN_HOUSE(test_last_good_addresses_are_kept),
        IN_HOUSE(test_a_name_that_moved),
        IN_HOUSE(test_failures_do_not_flood_the_server),
        IN_HOUSE(test_cancel_in_each_state),
        IN_HOUSE(test_freeing_completes_what_is_open),
        IN_HOUSE(test_more_names_than_memory),
        IN_HOUSE(test_bad_nameserver_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
