/* Streams of the etcd door against a gateway that sends what the test says. */
#include "tests/lib/etcd_house.h"

struct watched {
    struct house *house;
    struct etcd_watch *watch;
    int messages;
    int events;
    int lost;
    bool cancels; /* with the first message */
    enum etcd_lost why;
    int64_t resume_revision;
    char text[ERR_TEXT_SIZE];
};

static void on_events(const struct etcd_answer *answer, void *arg)
{
    struct watched *watched = arg;

    assert_int_equal(watched->lost, 0);
    watched->messages++;
    watched->events += (int)answer->event_count;
    if (watched->cancels)
        etcd_watch_cancel(watched->watch);
}

static void on_lost(const struct etcd_loss *loss, void *arg)
{
    struct watched *watched = arg;

    watched->lost++;
    watched->why = loss->why;
    watched->resume_revision = loss->resume_revision;
    (void)snprintf(watched->text, sizeof(watched->text), "%s", loss->err->text);
    assert_true(watched->text[0] != '\0');
}

static struct member *streaming(struct house *house)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (house->members[i].watch != NULL)
            return &house->members[i];
    }
    return NULL;
}

static void push(struct house *house, const char *fields)
{
    const struct member *member = streaming(house);
    char line[600];

    (void)snprintf(line, sizeof(line),
                   "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"%llu\","
                   "\"revision\":\"20\"}%s}}\n",
                   (unsigned long long)member->term, fields);
    fake_chunk(member->watch, line);
}

static void push_event(struct house *house, int revision)
{
    char fields[200];

    (void)snprintf(fields, sizeof(fields),
                   ",\"events\":[{\"kv\":{\"key\":\"L2E=\",\"mod_revision\":\"%d\"}}]", revision);
    push(house, fields);
}

static void begin_watch(struct house *house, struct watched *watched,
                        const struct etcd_watch_options *options)
{
    *watched = (struct watched){.house = house, .cancels = watched->cancels};
    for (int i = 0; i < MEMBERS; i++)
        house->members[i].watch = NULL;
    watched->watch = etcd_watch_begin(house->etcd, options, on_events, on_lost, watched);
    assert_int_equal(watched->messages + watched->lost, 0);
}

/* From revision 10 on; the stream stands, and nothing has been sent on it yet. */
static void open_watch(struct house *house, struct watched *watched)
{
    const struct etcd_watch_options options = {.prefix = "/a", .start_revision = 10};

    begin_watch(house, watched, &options);
    for (int i = 0; streaming(house) == NULL && i < 1000; i++)
        fake_idle(house->loop, 1);
    assert_non_null(streaming(house));
}

static void expect_lost(struct house *house, struct watched *watched, enum etcd_lost why)
{
    fake_run(house->loop, &watched->lost, 1, 3000);
    fake_idle(house->loop, 5);
    assert_int_equal(watched->lost, 1);
    if (watched->why != why)
        fail_msg("lost for another reason: %s", watched->text);
}

static void test_events(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    push(house, ",\"created\":true");
    push_event(house, 12);
    fake_run(house->loop, &watched.messages, 2, 2000);
    assert_int_equal(watched.events, 1);
    assert_non_null(strstr(streaming(house)->last_body, "\"start_revision\":\"10\""));
    etcd_watch_cancel(watched.watch);
    assert_int_equal(watched.lost, 1);
    assert_int_equal(watched.why, ETCD_LOST_CANCELLED);
    assert_int_equal(watched.resume_revision, 13);
    fake_idle(house->loop, 5);
    assert_int_equal(watched.lost, 1);
}

/* The stream's creation proves nothing delivered; a notification of progress does. */
static void test_where_to_resume(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    push(house, ",\"created\":true");
    fake_run(house->loop, &watched.messages, 1, 2000);
    fake_reset(streaming(house)->watch);
    expect_lost(house, &watched, ETCD_LOST_DISCONNECTED);
    assert_int_equal(watched.resume_revision, 10);
    open_watch(house, &watched);
    push(house, ",\"created\":true");
    push(house, "");
    fake_run(house->loop, &watched.messages, 2, 2000);
    fake_send(streaming(house)->watch, "0\r\n\r\n");
    expect_lost(house, &watched, ETCD_LOST_DISCONNECTED);
    assert_int_equal(watched.resume_revision, 21);
}

static void test_messages_cut_anywhere(void **state)
{
    static const char line[] = "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"5\"},"
                               "\"created\":true}}\n";
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    for (size_t i = 0; line[i] != '\0'; i++) {
        const char byte[] = {line[i], '\0'};

        assert_int_equal(watched.messages, 0);
        fake_chunk(streaming(house)->watch, byte);
        fake_idle(house->loop, 0);
    }
    fake_run(house->loop, &watched.messages, 1, 2000);
    etcd_watch_cancel(watched.watch);
}

static void test_cancel_inside_a_message(void **state)
{
    struct house *house = *state;
    struct watched watched = {.cancels = true};

    open_watch(house, &watched);
    push(house, ",\"created\":true");
    push_event(house, 12);
    push_event(house, 13);
    expect_lost(house, &watched, ETCD_LOST_CANCELLED);
    assert_int_equal(watched.messages, 1);
}

static void test_errors_end_it(void **state)
{
    static const struct {
        const char *line;
        enum etcd_lost why;
    } lines[] = {
        {"{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n",
         ETCD_LOST_DISCONNECTED},
        {"{\"error\":{\"grpc_code\":16,\"message\":\"etcdserver: invalid auth token\"}}\n",
         ETCD_LOST_DISCONNECTED},
        {"{\"error\":{\"grpc_code\":7,\"message\":\"etcdserver: permission denied\"}}\n",
         ETCD_LOST_REFUSED},
        {"{\"error\":{\"grpc_code\":11,\"message\":\"etcdserver: mvcc: required revision has been "
         "compacted\"}}\n",
         ETCD_LOST_COMPACTED},
        {"garbage\n", ETCD_LOST_DISCONNECTED},
        {"{\"result\":{}}\n", ETCD_LOST_DISCONNECTED},
    };
    struct house *house = *state;
    struct watched watched = {0};

    for (size_t i = 0; i < PGH_COUNT(lines); i++) {
        open_watch(house, &watched);
        fake_chunk(streaming(house)->watch, lines[i].line);
        expect_lost(house, &watched, lines[i].why);
        assert_int_equal(watched.resume_revision, lines[i].why == ETCD_LOST_COMPACTED ? 0 : 10);
    }
}

static void test_cancelled_by_etcd(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    push(house, ",\"created\":true,\"canceled\":true,\"compact_revision\":\"15\"");
    expect_lost(house, &watched, ETCD_LOST_COMPACTED);
    open_watch(house, &watched);
    push(house, ",\"canceled\":true,\"cancel_reason\":\"because\"");
    expect_lost(house, &watched, ETCD_LOST_REFUSED);
    assert_non_null(strstr(watched.text, "because"));
}

static void test_refused_by_status(void **state)
{
    const struct etcd_watch_options options = {.prefix = "/a", .start_revision = 10};
    struct house *house = *state;
    struct watched watched = {0};

    assert_int_equal(range(house, 2000)->outcome, ETCD_OK);
    script(house, 0, 503, NO_LEADER);
    begin_watch(house, &watched, &options);
    expect_lost(house, &watched, ETCD_LOST_DISCONNECTED);
    script(house, 0, 403, DENIED);
    begin_watch(house, &watched, &options);
    expect_lost(house, &watched, ETCD_LOST_REFUSED);
    script(house, 0, -1, NULL);
    begin_watch(house, &watched, &options);
    expect_lost(house, &watched, ETCD_LOST_DISCONNECTED);
}

/* ET-03 for streams: the member was cut off from the others. */
static void test_an_old_term_ends_it(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    push(house, ",\"created\":true");
    fake_run(house->loop, &watched.messages, 1, 2000);
    streaming(house)->term--;
    push_event(house, 12);
    expect_lost(house, &watched, ETCD_LOST_STALE);
    assert_int_equal(watched.events, 0);
    assert_int_equal(watched.resume_revision, 10);
}

static void test_never_created(void **state)
{
    const struct etcd_watch_options options = {
        .prefix = "/a", .start_revision = 10, .open_ms = 200};
    struct house *house = *state;
    struct watched watched = {0};
    int64_t begun_ms = clock_boot_ms();

    begin_watch(house, &watched, &options);
    expect_lost(house, &watched, ETCD_LOST_DISCONNECTED);
    assert_in_range(clock_boot_ms() - begun_ms, 200, 1000);
    assert_int_equal(watched.messages, 0);
}

/* ET-04 */
static void test_expectations(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};
    int64_t begun_ms;

    open_watch(house, &watched);
    push(house, ",\"created\":true");
    fake_run(house->loop, &watched.messages, 1, 2000);
    etcd_watch_expect(watched.watch, 9, soon(30)); /* long delivered */
    etcd_watch_expect(watched.watch, 12, soon(500));
    etcd_watch_expect(watched.watch, 13, soon(600));
    push_event(house, 12);
    fake_run(house->loop, &watched.messages, 2, 2000);
    begun_ms = clock_boot_ms();
    fake_idle(house->loop, 520); /* 12 came in time */
    assert_int_equal(watched.lost, 0);
    expect_lost(house, &watched, ETCD_LOST_IDLE); /* 13 did not */
    assert_in_range(clock_boot_ms() - begun_ms, 500, 1200);
    assert_int_equal(watched.resume_revision, 13);
}

static void test_many_expectations(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    push(house, ",\"created\":true");
    for (int revision = 11; revision < 20; revision++)
        etcd_watch_expect(watched.watch, revision, soon(300));
    for (int revision = 11; revision < 20; revision++)
        push_event(house, revision);
    fake_idle(house->loop, 400);
    assert_int_equal(watched.lost, 0);
    for (int revision = 21; revision < 30; revision++)
        etcd_watch_expect(watched.watch, revision, soon(100));
    for (int revision = 21; revision < 29; revision++)
        push_event(house, revision);
    expect_lost(house, &watched, ETCD_LOST_IDLE);
    assert_int_equal(watched.resume_revision, 29);
}

static void test_cancel_in_each_state(void **state)
{
    const struct etcd_watch_options options = {.prefix = "/a", .start_revision = 10};
    struct house *house = *state;
    struct watched watched = {0};

    for (int turns = 0; turns < 60; turns++) {
        if (turns % 30 == 0)
            open_etcd(house, 1, turns == 0 ? NULL : "app");
        begin_watch(house, &watched, &options);
        for (int i = 0; i < turns % 30; i++)
            fake_idle(house->loop, 0);
        etcd_watch_cancel(watched.watch);
        assert_int_equal(watched.lost, 1);
        assert_int_equal(watched.why, ETCD_LOST_CANCELLED);
        fake_idle(house->loop, 2);
        assert_int_equal(watched.lost, 1);
    }
}

static void test_freeing_ends_it(void **state)
{
    struct house *house = *state;
    struct watched watched = {0};

    open_watch(house, &watched);
    etcd_free(house->etcd);
    house->etcd = NULL;
    assert_int_equal(watched.lost, 1);
    assert_int_equal(watched.why, ETCD_LOST_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_HOUSE(test_events),
        IN_HOUSE(test_where_to_resume),
        IN_HOUSE(test_messages_cut_anywhere),
        IN_HOUSE(test_cancel_inside_a_message),
        IN_HOUSE(test_errors_end_it),
        IN_HOUSE(test_cancelled_by_etcd),
        IN_HOUSE(test_refused_by_status),
        IN_HOUSE(test_an_old_term_ends_it),
        IN_HOUSE(test_never_created),
        IN_HOUSE(test_expectations),
        IN_HOUSE(test_many_expectations),
        IN_HOUSE(test_cancel_in_each_state),
        IN_HOUSE(test_freeing_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
