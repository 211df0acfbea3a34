/* The wire between supervisor and agent: what is packed comes out, what is broken is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "pgheir/supervisor/proto.h"

static struct proto_message message;

static int check(bool is_from_agent)
{
    return proto_message_check(&message, sizeof(message), is_from_agent);
}

static void make_start(void)
{
    const char *const argv[] = {"/bin/postgres", "-D", "/data dir", "", "-c", "port=5432"};
    const char *const env[] = {"MALLOC_ARENA_MAX=1"};
    struct proto_start *start = &message.body.start;

    proto_message_init(&message, PROTO_START, 7);
    start->mode = PROTO_MODE_STANDBY;
    memcpy(start->data_dir, "/data dir", sizeof("/data dir"));
    assert_true(proto_pack_strings(start->argv, sizeof(start->argv), argv, 6, &start->argv_length));
    assert_true(proto_pack_strings(start->env, sizeof(start->env), env, 1, &start->env_length));
}

static void test_strings_round_trip(void **state)
{
    char *strings[PROTO_ARGV_MAX + 1];

    (void)state;
    make_start();
    assert_int_equal(check(true), 0);
    assert_int_equal(proto_unpack_strings(message.body.start.argv, message.body.start.argv_length,
                                          strings, PROTO_ARGV_MAX),
                     6);
    assert_string_equal(strings[0], "/bin/postgres");
    assert_string_equal(strings[2], "/data dir");
    assert_string_equal(strings[3], "");
    assert_string_equal(strings[5], "port=5432");
    assert_null(strings[6]);
}

static void test_packing_never_cuts(void **state)
{
    const char *const strings[] = {"abc", "de"};
    char out[8];
    uint32_t length = 99;

    (void)state;
    for (size_t size = 0; size < 7; size++) {
        assert_false(proto_pack_strings(out, size, strings, 2, &length));
        assert_int_equal(length, 99);
    }
    assert_true(proto_pack_strings(out, 7, strings, 2, &length));
    assert_int_equal(length, 7);
    assert_memory_equal(out, "abc\0de", 7);
    assert_true(proto_pack_strings(out, 0, strings, 0, &length));
    assert_int_equal(length, 0);
}

static void test_unpacking_refuses(void **state)
{
    char packed[] = "a\0b\0c";
    char *strings[4];

    (void)state;
    assert_int_equal(proto_unpack_strings(packed, 5, strings, 3), -1); /* no final NUL */
    assert_int_equal(proto_unpack_strings(packed, 6, strings, 2), -1); /* too many */
    assert_int_equal(proto_unpack_strings(packed, 6, strings, 3), 3);
    assert_int_equal(proto_unpack_strings(packed, 0, strings, 3), 0);
    assert_null(strings[0]);
}

static void test_head_is_checked(void **state)
{
    (void)state;
    make_start();
    assert_int_equal(proto_message_check(&message, sizeof(message) - 1, true), EPROTO);
    assert_int_equal(proto_message_check(&message, 0, true), EPROTO);
    assert_int_equal(check(false), EINVAL); /* the supervisor never says START */
    message.magic++;
    assert_int_equal(check(true), EPROTO);
    make_start();
    message.version++;
    assert_int_equal(check(true), EPROTO);
    make_start();
    message.request_id = 0;
    assert_int_equal(check(true), EINVAL);
    make_start();
    message.type = 63;
    assert_int_equal(check(true), EINVAL);
}

static void test_start_is_checked(void **state)
{
    struct proto_start *start = &message.body.start;

    (void)state;
    make_start();
    start->mode = 3;
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->data_dir[0] = 'x';
    assert_int_equal(check(true), EINVAL);
    make_start();
    memset(start->data_dir, '/', sizeof(start->data_dir));
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->argv_length = 0;
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->argv_length = sizeof(start->argv) + 1;
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->argv_length--;
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->argv[0] = 'p';
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->env_length = UINT32_MAX;
    assert_int_equal(check(true), EINVAL);
    make_start();
    start->env_length = 0;
    assert_int_equal(check(true), 0);
}

static void test_other_bodies_are_checked(void **state)
{
    (void)state;
    proto_message_init(&message, PROTO_ADOPT, 1);
    message.body.adopt.pid = 1;
    message.body.adopt.mode = PROTO_MODE_PRIMARY;
    memcpy(message.body.adopt.data_dir, "/d", 3);
    assert_int_equal(check(true), EINVAL); /* pid 1 is never a postmaster that came before us */
    message.body.adopt.pid = 2;
    assert_int_equal(check(true), 0);
    message.body.adopt.mode = 0;
    assert_int_equal(check(true), EINVAL);

    proto_message_init(&message, PROTO_KILL_ORPHANS, 1);
    assert_int_equal(check(true), EINVAL);
    memcpy(message.body.kill_orphans.data_dir, "/d", 3);
    assert_int_equal(check(true), 0);

    proto_message_init(&message, PROTO_FENCE, 1);
    message.body.fence.kind = FENCE_DISARMED;
    assert_int_equal(check(true), 0);
    message.body.fence.kind = FENCE_DISARMED + 1;
    assert_int_equal(check(true), EINVAL);

    proto_message_init(&message, PROTO_STATE, 1);
    message.body.state.length = PROTO_STATE_SIZE;
    assert_int_equal(check(true), 0);
    message.body.state.length++;
    assert_int_equal(check(true), EINVAL);

    proto_message_init(&message, PROTO_WELCOME, 1);
    assert_int_equal(check(false), 0);
    message.body.welcome.state.length = PROTO_STATE_SIZE + 1;
    assert_int_equal(check(false), EINVAL);
}

static void test_every_type_has_its_direction_and_name(void **state)
{
    (void)state;
    for (uint16_t type = 0; type < 200; type++) {
        bool is_known = strcmp(proto_type_text(type), "unknown") != 0;
        bool is_agents = type >= PROTO_HELLO && type <= PROTO_STATE;
        bool is_supervisors = type >= PROTO_WELCOME && type <= PROTO_PING;

        assert_int_equal(is_known, is_agents || is_supervisors);
        proto_message_init(&message, (enum proto_type)type, 1);
        if (!is_agents)
            assert_int_equal(check(true), EINVAL);
        if (!is_supervisors)
            assert_int_equal(check(false), EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings_round_trip),
        cmocka_unit_test(test_packing_never_cuts),
        cmocka_unit_test(test_unpacking_refuses),
        cmocka_unit_test(test_head_is_checked),
        cmocka_unit_test(test_start_is_checked),
        cmocka_unit_test(test_other_bodies_are_checked),
        cmocka_unit_test(test_every_type_has_its_direction_and_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
