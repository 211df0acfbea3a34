/* What happens in the fork, before exec or instead of it. Private to child.c. */
#ifndef PGHEIR_SRC_IO_CHILD_EXEC_H
#define PGHEIR_SRC_IO_CHILD_EXEC_H

#include "pgheir/base/base.h"
#include <sys/types.h>

/* Everything the fork needs, made before it: between fork and exec nothing is allocated. */
struct child_exec {
    pid_t parent_pid;
    int stdin_fd, stdout_fd, stderr_fd;
    bool is_low_priority;
    const char *dir;    /* or NULL */
    char *const *argv;  /* program, or NULL */
    char *const *envp;
    int (*function)(void *function_arg);
    void *function_arg;
};

/* Called in the fork with all signals blocked. Never returns. */
PGH_NORETURN void child_exec_run(const struct child_exec *plan);

#endif
