#include "pgheir/io/supervisor_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

enum {
    /* A supervisor that reads nothing for so long is stopped; its kernel timer and the guard act
     * then. */
    LINK_QUEUE_MAX = 32,
    LINK_PENDING_MAX = 64,
    LINK_STRINGS_MAX = PROTO_ARGV_MAX
};

struct link_pending {
    uint64_t request_id; /* 0: free */
    supervisor_done_fn *done;
    void *arg;
};

/* A completion that must not be called inside the request that failed. */
struct link_late {
    supervisor_done_fn *done;
    void *arg;
    int error;
};

struct link_queued {
    struct link_queued *next;
    struct proto_message message;
};

struct supervisor_link {
    struct loop *loop;
    struct loop_fd *watch;
    int fd;
    bool is_lost;
    struct supervisor_handlers handlers;
    uint64_t last_id;
    struct link_pending pending[LINK_PENDING_MAX];
    struct link_queued *first, *last;
    int queued_count;
    struct proto_message incoming;
};

static void link_read(int fd, unsigned ready, void *arg);

enum rc
supervisor_link_new(struct loop *loop, const struct supervisor_handlers *handlers,
                    struct supervisor_link **ret, struct err *err)
{
    const char *text = getenv(PROTO_FD_ENV);
    struct supervisor_link *link;
    int64_t number;
    int kind = 0;
    socklen_t size = sizeof(kind);

    if (str_is_empty(text))
        return err_set(err, RC_NOT_FOUND,
                       "pgheir-agent runs under its supervisor only: start \"pgheir CONFIG.yml\" "
                       "(%s is not set)",
                       PROTO_FD_ENV);
    if (!str_parse_int64(text, &number) || number < 0 || number > INT32_MAX ||
        getsockopt((int)number, SOL_SOCKET, SO_TYPE, &kind, &size) != 0 || kind != SOCK_SEQPACKET)
        return err_set(err, RC_INVALID,
                       "%s=%s is not the descriptor of a supervisor: start \"pgheir CONFIG.yml\"",
                       PROTO_FD_ENV, text);
    if (fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0)
        return err_set_errno(err, errno, "cannot set FD_CLOEXEC on the supervisor's descriptor");
    unsetenv(PROTO_FD_ENV);

    link = mem_new(1, sizeof(*link));
    link->loop = loop;
    link->fd = (int)number;
    link->handlers = *handlers;
    link->watch = loop_fd_new(loop, link->fd, link_read, link);
    loop_fd_want(link->watch, LOOP_READ);
    *ret = link;
    return RC_OK;
}

void
supervisor_link_free(struct supervisor_link *link)
{
    struct link_queued *next;

    if (link == NULL)
        return;
    loop_fd_free(link->watch);
    for (struct link_queued *item = link->first; item != NULL; item = next) {
        next = item->next;
        mem_free(item);
    }
    mem_free(link);
}

static void
link_call_late(void *arg)
{
    struct link_late late = *(struct link_late *)arg;

    mem_free(arg);
    late.done(late.arg, NULL, late.error);
}

static void
link_fail_later(struct supervisor_link *link, supervisor_done_fn *done, void *arg, int error)
{
    struct link_late *late;

    if (done == NULL)
        return;
    late = mem_new(1, sizeof(*late));
    *late = (struct link_late){.done = done, .arg = arg, .error = error};
    loop_post(link->loop, link_call_late, late);
}

static void
link_lose(struct supervisor_link *link, const char *why)
{
    if (link->is_lost)
        return;
    link->is_lost = true;
    loop_fd_want(link->watch, 0);
    for (size_t i = 0; i < PGH_COUNT(link->pending); i++) {
        struct link_pending pending = link->pending[i];

        link->pending[i] = (struct link_pending){0};
        if (pending.request_id != 0)
            link_fail_later(link, pending.done, pending.arg, EPIPE);
    }
    link->handlers.on_lost(link->handlers.arg, why);
}

/* Sends what waits, as far as the socket takes it. */
static void
link_write(struct supervisor_link *link)
{
    while (link->first != NULL && !link->is_lost) {
        struct link_queued *item = link->first;
        ssize_t sent = send(link->fd, &item->message, sizeof(item->message),
                            MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS))
            break;
        if (sent < 0) {
            link_lose(link, "the supervisor has closed its end");
            return;
        }
        link->first = item->next;
        if (link->first == NULL)
            link->last = NULL;
        link->queued_count--;
        mem_free(item);
    }
    if (!link->is_lost)
        loop_fd_want(link->watch, LOOP_READ | (link->first != NULL ? (unsigned)LOOP_WRITE : 0));
}

static void
link_answer(struct supervisor_link *link, const struct proto_message *message)
{
    int error = 0;

    if (message->type == PROTO_START_FAILED || message->type == PROTO_REFUSED)
        error = message->body.result.error != 0 ? message->body.result.error : EPROTO;
    for (size_t i = 0; i < PGH_COUNT(link->pending); i++) {
        struct link_pending pending = link->pending[i];

        if (pending.request_id != message->request_id)
            continue;
        link->pending[i] = (struct link_pending){0};
        if (pending.done != NULL)
            pending.done(pending.arg, message, error);
        return;
    }
}

static void
link_deliver(struct supervisor_link *link, const struct proto_message *message)
{
    if (message->request_id != 0) {
        link_answer(link, message);
        return;
    }
    switch (message->type) {
    case PROTO_POSTMASTER_EXITED:
        link->handlers.on_exited(link->handlers.arg, &message->body.exited);
        break;
    case PROTO_FENCED:
        link->handlers.on_fenced(link->handlers.arg, &message->body.fenced);
        break;
    case PROTO_SHUTDOWN:
        link->handlers.on_shutdown(link->handlers.arg);
        break;
    default:
        /* A ping has been read, and that is all it wants. A newer supervisor may say more than we
         * know; nothing in it can oblige us. */
        break;
    }
}

static void
link_read(int fd, unsigned ready, void *arg)
{
    struct supervisor_link *link = arg;

    if ((ready & LOOP_WRITE) != 0)
        link_write(link);
    while (!link->is_lost) {
        ssize_t size = recv(fd, &link->incoming, sizeof(link->incoming), MSG_DONTWAIT);
        int error;

        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return;
        if (size <= 0) {
            link_lose(link, "the supervisor has gone");
            return;
        }
        error = proto_message_check(&link->incoming, (size_t)size, false);
        if (error != 0) {
            link_lose(link, error == EPROTO ? "the supervisor is of another version: restart pgheir"
                                            : "the supervisor sent a malformed message");
            return;
        }
        link_deliver(link, &link->incoming);
    }
}

/* Takes ownership of item. */
static void
link_send(struct supervisor_link *link, struct link_queued *item, supervisor_done_fn *done,
          void *arg)
{
    struct link_pending *place = NULL;

    for (size_t i = 0; i < PGH_COUNT(link->pending) && place == NULL; i++)
        if (link->pending[i].request_id == 0)
            place = &link->pending[i];
    if (link->is_lost || place == NULL || link->queued_count >= LINK_QUEUE_MAX) {
        link_fail_later(link, done, arg, link->is_lost ? EPIPE : ENOBUFS);
        mem_free(item);
        return;
    }
    *place = (struct link_pending){item->message.request_id, done, arg};
    item->message.sent_at_ms = clock_boot_ms();
    if (link->last != NULL)
        link->last->next = item;
    else
        link->first = item;
    link->last = item;
    link->queued_count++;
    link_write(link);
}

static struct link_queued *
link_message(struct supervisor_link *link, enum proto_type type)
{
    struct link_queued *item = mem_new(1, sizeof(*item));

    proto_message_init(&item->message, type, ++link->last_id);
    return item;
}

void
supervisor_link_hello(struct supervisor_link *link, supervisor_done_fn *done, void *arg)
{
    link_send(link, link_message(link, PROTO_HELLO), done, arg);
}

static size_t
link_count_strings(const char *const *strings)
{
    size_t count = 0;

    while (strings != NULL && strings[count] != NULL)
        count++;
    return count;
}

void
supervisor_link_start(struct supervisor_link *link, enum proto_mode mode, const char *data_dir,
                      char *const *argv, const char *const *env, supervisor_done_fn *done,
                      void *arg)
{
    struct link_queued *item = link_message(link, PROTO_START);
    struct proto_start *start = &item->message.body.start;
    const char *strings[LINK_STRINGS_MAX];
    size_t count = 0;

    while (argv[count] != NULL && count < PGH_COUNT(strings)) {
        strings[count] = argv[count];
        count++;
    }
    start->mode = (uint32_t)mode;
    if (argv[count] != NULL || !str_copy(start->data_dir, sizeof(start->data_dir), data_dir) ||
        !proto_pack_strings(start->argv, sizeof(start->argv), strings, count,
                            &start->argv_length) ||
        !proto_pack_strings(start->env, sizeof(start->env), env, link_count_strings(env),
                            &start->env_length)) {
        link_fail_later(link, done, arg, E2BIG);
        mem_free(item);
        return;
    }
    link_send(link, item, done, arg);
}

void
supervisor_link_adopt(struct supervisor_link *link, enum proto_mode mode, const char *data_dir,
                      int32_t pid, uint64_t start_time_ticks, supervisor_done_fn *done, void *arg)
{
    struct link_queued *item = link_message(link, PROTO_ADOPT);
    struct proto_adopt *adopt = &item->message.body.adopt;

    adopt->mode = (uint32_t)mode;
    adopt->pid = pid;
    adopt->start_time_ticks = start_time_ticks;
    if (!str_copy(adopt->data_dir, sizeof(adopt->data_dir), data_dir)) {
        link_fail_later(link, done, arg, E2BIG);
        mem_free(item);
        return;
    }
    link_send(link, item, done, arg);
}

void
supervisor_link_signal(struct supervisor_link *link, int signo, supervisor_done_fn *done, void *arg)
{
    struct link_queued *item = link_message(link, PROTO_SIGNAL_POSTMASTER);

    item->message.body.signal.signo = signo;
    link_send(link, item, done, arg);
}

void
supervisor_link_kill_orphans(struct supervisor_link *link, const char *data_dir,
                             supervisor_done_fn *done, void *arg)
{
    struct link_queued *item = link_message(link, PROTO_KILL_ORPHANS);

    if (!str_copy(item->message.body.kill_orphans.data_dir,
                  sizeof(item->message.body.kill_orphans.data_dir), data_dir)) {
        link_fail_later(link, done, arg, E2BIG);
        mem_free(item);
        return;
    }
    link_send(link, item, done, arg);
}

void
supervisor_link_fence(struct supervisor_link *link, enum fence_kind kind, int64_t until_ms,
                      supervisor_done_fn *done, void *arg)
{
    struct link_queued *item = link_message(link, PROTO_FENCE);

    item->message.body.fence.kind = (uint32_t)kind;
    item->message.body.fence.until_ms = kind == FENCE_UNTIL ? until_ms : 0;
    link_send(link, item, done, arg);
}

void
supervisor_link_state(struct supervisor_link *link, const void *bytes, size_t length,
                      supervisor_done_fn *done, void *arg)
{
    struct link_queued *item = link_message(link, PROTO_STATE);

    pgh_assert(length <= sizeof(item->message.body.state.bytes));
    item->message.body.state.length = (uint32_t)length;
    memcpy(item->message.body.state.bytes, bytes, length);
    link_send(link, item, done, arg);
}

void
supervisor_link_flush(struct supervisor_link *link, int64_t wait_ms)
{
    int64_t deadline_ms = clock_boot_ms() + wait_ms;

    while (link->first != NULL && !link->is_lost) {
        int64_t left_ms = deadline_ms - clock_boot_ms();
        struct pollfd wait = {.fd = link->fd, .events = POLLOUT};

        link_write(link);
        if (link->first == NULL || left_ms <= 0)
            return;
        (void)poll(&wait, 1, (int)left_ms);
    }
}
