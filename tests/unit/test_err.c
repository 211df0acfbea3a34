#include "tests/lib/check.h"

#include <errno.h>

#include "pgheir/base/err.h"

static void
test_every_code_has_a_text(void **state)
{
    (void)state;
    for (int rc = 0; rc < (int)RC_COUNT; rc++)
        assert_true(strlen(rc_text((enum rc)rc)) > 0);
    assert_string_equal(rc_text(RC_TIMEOUT), "timed out");
}

static void
test_set_fills_and_returns(void **state)
{
    struct err err = {.sys_errno = 5};

    (void)state;
    assert_int_equal(err_set(&err, RC_INVALID, "%s:%d: ttl: expected %s", "a.yml", 7, "seconds"),
                     RC_INVALID);
    assert_int_equal(err.rc, RC_INVALID);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.text, "a.yml:7: ttl: expected seconds");
    assert_int_equal(err_set(NULL, RC_BUSY, "nobody reads this"), RC_BUSY);
    assert_int_equal(err_set(&err, RC_DENIED, "%s", ""), RC_DENIED);
    assert_string_equal(err.text, "permission denied");
}

static void
test_set_may_quote_the_old_text(void **state)
{
    struct err err;

    (void)state;
    (void)err_set(&err, RC_TIMEOUT, "no answer");
    (void)err_set(&err, RC_REFUSED, "switchover: %s", err.text);
    assert_string_equal(err.text, "switchover: no answer");
}

static void
test_errno_is_named(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_set_errno(&err, ENOENT, "cannot open %s", "/x"), RC_SYSTEM);
    assert_int_equal(err.rc, RC_SYSTEM);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_string_equal(err.text, "cannot open /x: No such file or directory");
    assert_int_equal(err_set_errno(NULL, ENOENT, "x"), RC_SYSTEM);
}

static void
test_wrap_puts_before_and_keeps_the_code(void **state)
{
    struct err err;

    (void)state;
    (void)err_set_errno(&err, EACCES, "open");
    assert_int_equal(err_wrap(&err, "cannot read %s", "pgpass"), RC_SYSTEM);
    assert_string_equal(err.text, "cannot read pgpass: open: Permission denied");
    assert_int_equal(err.sys_errno, EACCES);
    assert_int_equal(err_wrap(NULL, "x"), RC_SYSTEM);
    (void)err_set(&err, RC_TIMEOUT, "etcd 10.0.0.2: no answer in 1500 ms");
    assert_int_equal(err_wrap(&err, "cannot renew lease"), RC_TIMEOUT);
    assert_string_equal(err.text, "cannot renew lease: etcd 10.0.0.2: no answer in 1500 ms");
}

static void
test_long_texts_are_cut_and_never_overrun(void **state)
{
    struct {
        struct err err;
        char behind[16];
    } guarded;
    char text[3 * ERR_TEXT_SIZE];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    memset(guarded.behind, '#', sizeof(guarded.behind));
    (void)err_set(&guarded.err, RC_LIMIT, "%s", text);
    assert_int_equal(strlen(guarded.err.text), ERR_TEXT_SIZE - 1);
    (void)err_wrap(&guarded.err, "%s", "before");
    assert_int_equal(strlen(guarded.err.text), ERR_TEXT_SIZE - 1);
    assert_memory_equal(guarded.err.text, "before: xxx", 11);
    (void)err_wrap(&guarded.err, "%s", text);
    assert_int_equal(strlen(guarded.err.text), ERR_TEXT_SIZE - 1);
    (void)err_set_errno(&guarded.err, ENOENT, "%s", text);
    assert_int_equal(strlen(guarded.err.text), ERR_TEXT_SIZE - 1);
    assert_memory_equal(guarded.behind, "################", 16);
}

static void
set_ok_as_an_error(void)
{
    struct err err;

    (void)err_set(&err, RC_OK, "this is none");
}

static void
ask_for_a_code_beyond_the_last(void)
{
    (void)rc_text(RC_COUNT);
}

static const char *hook_text;

static void
hook(const char *text)
{
    /* In a process that is about to abort: say by its exit code what arrived. */
    hook_text = text;
    _exit(strstr(text, "test_err.c") != NULL && strstr(text, "1 + 1 == 3") != NULL ? 42 : 1);
}

static void
test_broken_promises_abort(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(check_signal_of(set_ok_as_an_error), SIGABRT);
    assert_int_equal(check_signal_of(ask_for_a_code_beyond_the_last), SIGABRT);
    pid = fork();
    if (pid == 0) {
        pgh_assert_set_hook(hook);
        pgh_assert(1 + 1 == 3);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_a_text),
        cmocka_unit_test(test_set_fills_and_returns),
        cmocka_unit_test(test_set_may_quote_the_old_text),
        cmocka_unit_test(test_errno_is_named),
        cmocka_unit_test(test_wrap_puts_before_and_keeps_the_code),
        cmocka_unit_test(test_long_texts_are_cut_and_never_overrun),
        cmocka_unit_test(test_broken_promises_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
