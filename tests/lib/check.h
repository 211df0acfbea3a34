/* What every unit test needs: cmocka with its own includes, and a few things that it lacks. */
#ifndef PGHEIR_LIB_CHECK_H
#define PGHEIR_LIB_CHECK_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs the function in a process of its own, without its stderr, and returns the signal that ended
 * it; 0 if it came to its end. For assertions and exhausted memory, which abort. */
static inline int
check_signal_of(void (*function)(void))
{
    struct rlimit no_core = {0, 0};
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)close(STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        function();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
