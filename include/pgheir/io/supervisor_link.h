/* The agent's end of the wire to the supervisor (supervisor/proto.h): requests with one
 * completion each, and what the supervisor says unasked. Never blocks: what the socket does not
 * take waits here, bounded.
 * For: the agent. Not for: deciding what a refusal means. */
#ifndef PGHEIR_IO_SUPERVISOR_LINK_H
#define PGHEIR_IO_SUPERVISOR_LINK_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"
#include "pgheir/supervisor/proto.h"

struct loop;
struct supervisor_link;

/* What comes unasked; message is borrowed for the call. on_lost: the supervisor is dead, comes
 * once. */
struct supervisor_handlers {
    void (*on_exited)(void *arg, const struct proto_exited *exited);
    void (*on_fenced)(void *arg, const struct proto_fenced *fenced);
    void (*on_shutdown)(void *arg);
    void (*on_lost)(void *arg, const char *why);
    void *arg;
};

/* The one completion of a request. message NULL: the supervisor is gone, or the request never
 * left (error tells which: EPIPE, ENOBUFS). error 0: it was done, and message is the answer;
 * else its errno. */
typedef void supervisor_done_fn(void *arg, const struct proto_message *message, int error);

/* Takes the descriptor named by PGHEIR_SUPERVISOR_FD and removes the variable from our
 * environment.
 * Errors: RC_NOT_FOUND (started without a supervisor: the text says how to start), RC_INVALID
 * (not such a descriptor). Owner: the caller; loop outlives it. */
enum rc supervisor_link_new(struct loop *loop, const struct supervisor_handlers *handlers,
                            struct supervisor_link **ret, struct err *err);
/* Accepts NULL. Open requests are dropped without completion. */
void supervisor_link_free(struct supervisor_link *link);

/* Each sends one message; done (may be NULL) is called once, never before the call has returned. */
void supervisor_link_hello(struct supervisor_link *link, supervisor_done_fn *done, void *arg);
void supervisor_link_start(struct supervisor_link *link, enum proto_mode mode, const char *data_dir,
                           char *const *argv, const char *const *env, supervisor_done_fn *done,
                           void *arg);
void supervisor_link_adopt(struct supervisor_link *link, enum proto_mode mode, const char *data_dir,
                           int32_t pid, uint64_t start_time_ticks, supervisor_done_fn *done,
                           void *arg);
void supervisor_link_signal(struct supervisor_link *link, int signo, supervisor_done_fn *done,
                            void *arg);
void supervisor_link_kill_orphans(struct supervisor_link *link, const char *data_dir,
                                  supervisor_done_fn *done, void *arg);
void supervisor_link_fence(struct supervisor_link *link, enum fence_kind kind, int64_t until_ms,
                           supervisor_done_fn *done, void *arg);
/* At most PROTO_STATE_SIZE bytes. */
void supervisor_link_state(struct supervisor_link *link, const void *bytes, size_t length,
                           supervisor_done_fn *done, void *arg);
/* Tries for at most wait_ms to get out what is queued: for the end of the agent. */
void supervisor_link_flush(struct supervisor_link *link, int64_t wait_ms);

#endif
