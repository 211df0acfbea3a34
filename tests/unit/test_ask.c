/* The answer of pgheir-agent --print-supervisor. */
#include "tests/lib/check.h"

#include "src/supervisor/ask.h"

static struct ask_answer answer;

static void test_keys_are_taken(void **state)
{
    (void)state;
    assert_true(ask_parse("data_dir=/a/b\nlater=1\nstate_dir=/a/b.pgheir\n", &answer));
    assert_string_equal(answer.data_dir, "/a/b");
    assert_string_equal(answer.state_dir, "/a/b.pgheir");
    assert_string_equal(answer.program, "");
    assert_true(ask_parse("program=/bin/server\ndata_dir=/a/b\n", &answer));
    assert_string_equal(answer.program, "/bin/server");
    assert_true(ask_parse("data_dir=/with = sign and blank", &answer));
    assert_string_equal(answer.data_dir, "/with = sign and blank");
    assert_string_equal(answer.state_dir, "");
}

static void test_unusable_answers_change_nothing(void **state)
{
    char text[PROTO_PATH_SIZE + 32];

    (void)state;
    assert_true(ask_parse("data_dir=/kept\n", &answer));
    assert_false(ask_parse("", &answer));
    assert_false(ask_parse("\n\n\n", &answer));
    assert_false(ask_parse("state_dir=/a\n", &answer));
    assert_false(ask_parse("data_dir=relative\n", &answer));
    assert_false(ask_parse("data_dir=\n", &answer));
    assert_false(ask_parse("data_dir=/a\nstate_dir=b\n", &answer));
    assert_false(ask_parse(" data_dir=/a\n", &answer));
    memset(text, 'x', sizeof(text));
    memcpy(text, "data_dir=/", 10);
    text[9 + PROTO_PATH_SIZE] = '\0'; /* one more than fits with its NUL */
    assert_false(ask_parse(text, &answer));
    assert_string_equal(answer.data_dir, "/kept");
    text[9 + PROTO_PATH_SIZE - 1] = '\0';
    assert_true(ask_parse(text, &answer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_taken),
        cmocka_unit_test(test_unusable_answers_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
