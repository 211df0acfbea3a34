/* The one question that the supervisor has about the configuration, put to the agent, because
 * the supervisor reads no YAML: `pgheir-agent --print-supervisor [CONFIG]`. The answer on stdout
 * is lines of key=value:
 *
 *   data_dir=/absolute/path     required
 *   state_dir=/absolute/path    optional; where it is missing, nothing is locked
 *   program=/absolute/path      optional; the server's, if it is called otherwise than postgres
 *
 * Other keys are for later versions and are skipped. Exit code 0; any other one is passed on,
 * after the agent has said on stderr what is wrong. */
#ifndef PGHEIR_SUPERVISOR_ASK_H
#define PGHEIR_SUPERVISOR_ASK_H

#include <stdbool.h>

#include "pgheir/supervisor/proto.h"

struct ask_answer {
    char data_dir[PROTO_PATH_SIZE];
    char state_dir[PROTO_PATH_SIZE]; /* "" if not given */
    char program[PROTO_PATH_SIZE];   /* the server's; "" if not given */
};

/* Asks, and waits at most 10 s. false: *ret_exit_code is what to exit with, and why has been
 * said. */
bool ask_agent(const char *program, const char *config, struct ask_answer *ret_answer,
               int *ret_exit_code);

/* Reads the text of an answer. false if data_dir is missing, or a path is too long or not
 * absolute. */
bool ask_parse(const char *text, struct ask_answer *ret_answer);

#endif
