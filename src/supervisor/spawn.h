/* Children of the supervisor: what happens between fork and exec. */
#ifndef PGHEIR_SUPERVISOR_SPAWN_H
#define PGHEIR_SUPERVISOR_SPAWN_H

#include <stdint.h>

#include "guard.h"

/* Runs `program [option] [config]` in its own process group with SIGTERM at our death.
 * channel_fd (-1: none) becomes its descriptor 3, named in PGHEIR_SUPERVISOR_FD. output_fd (-1:
 * ours) becomes its stdout. Returns the pid, or -1 with errno. A program that cannot be executed
 * exits with SPAWN_EXIT_NO_EXEC. */
struct spawn_agent {
    const char *program;
    const char *option;
    const char *config;
    int channel_fd;
    int output_fd;
};
int32_t spawn_agent(const struct spawn_agent *agent);

enum { SPAWN_EXIT_NO_EXEC = 127 };

/* Starts a postmaster as proto.h describes (struct proto_start). env: NULL-terminated
 * "NAME=value". *ret_status_fd delivers the errno (an int) if exec fails, and end of file once
 * it has succeeded. Returns the pid, or -1 with errno. Owner: the caller closes *ret_status_fd. */
int32_t spawn_postmaster(char *const *argv, char *const *env, struct guard_page *page,
                         int *ret_status_fd);

#endif
