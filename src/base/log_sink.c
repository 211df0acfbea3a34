#include "log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log_ring.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

enum sink_kind {
    SINK_UNKNOWN, /* stderr, not looked at yet */
    SINK_SOCKET,  /* stderr is a socket, as under systemd */
    SINK_OWN,     /* stderr opened once more, without blocking and without touching others' view */
    SINK_SHARED,  /* stderr as it is: asked by poll() before each write */
    SINK_FILE     /* a file, written by the thread */
};

/* The thread only copies bytes: a page would do, this is the least that every libc accepts. */
enum { SINK_THREAD_STACK_SIZE = 64 * 1024 };

/* The file, touched by the thread alone while it lives. */
struct sink_file {
    int fd;
    int64_t size;
    int64_t size_limit;
    int rotated_count;
    int mode;
    bool in_line; /* the last piece did not end its line: no rotation now */
    char path[PATH_MAX];
};

static struct {
    enum sink_kind kind;
    int fd; /* SINK_OWN */
    struct sink_file file;
    pthread_t thread;
    sem_t wakeup;
    _Atomic bool stop;     /* the thread shall drain the ring and end */
    _Atomic bool finished; /* the thread has ended */
    bool stop_missed;      /* a stop was asked for and not awaited to its end */
} sink = {.kind = SINK_UNKNOWN, .fd = -1, .file = {.fd = -1}};

/* ---- file ---- */

static int
file_open(struct sink_file *file)
{
    struct stat status;

    file->fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (file->fd == -1)
        return -1;
    if (fstat(file->fd, &status) != 0 ||
        (file->mode != 0 && fchmod(file->fd, (mode_t)file->mode) != 0)) {
        int saved_errno = errno;

        (void)close(file->fd);
        file->fd = -1;
        errno = saved_errno;
        return -1;
    }
    file->size = status.st_size;
    return 0;
}

/* patroni.log.1 becomes .2 and so on; the oldest is overwritten. Without success the old file grows
 * on, and the next attempt comes after as many bytes again. */
static void
file_rotate(struct sink_file *file)
{
    char from[PATH_MAX + 16];
    char to[PATH_MAX + 16];
    int old_fd = file->fd;

    for (int i = file->rotated_count - 1; i >= 0; i--) {
        if (i == 0)
            (void)snprintf(from, sizeof(from), "%s", file->path);
        else
            (void)snprintf(from, sizeof(from), "%s.%d", file->path, i);
        (void)snprintf(to, sizeof(to), "%s.%d", file->path, i + 1);
        (void)rename(from, to);
    }
    if (file_open(file) == 0)
        (void)close(old_fd);
    else
        file->fd = old_fd;
    file->size = file->fd == old_fd ? 0 : file->size;
}

/* Writes one line or the part of it that lies in one piece. */
static bool
file_write(struct sink_file *file, const char *bytes, size_t length)
{
    if (!file->in_line && file->size_limit > 0 && file->rotated_count > 0 && file->size > 0 &&
        file->size + (int64_t)length > file->size_limit)
        file_rotate(file);
    file->in_line = bytes[length - 1] != '\n';
    while (length > 0) {
        ssize_t written = write(file->fd, bytes, length);

        if (written == -1 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        file->size += written;
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

static void
file_drain(struct sink_file *file)
{
    const char *bytes;
    size_t length;

    while ((length = log_ring_peek(&bytes)) > 0) {
        const char *end = memchr(bytes, '\n', length);

        if (end != NULL)
            length = (size_t)(end - bytes) + 1;
        log_ring_take(length, !file_write(file, bytes, length));
    }
}

static void *
thread_run(void *argument)
{
    struct sink_file *file = argument;

    while (!atomic_load(&sink.stop)) {
        /* EINTR and a count that ran ahead only mean one more look. */
        (void)sem_wait(&sink.wakeup);
        file_drain(file);
    }
    file_drain(file);
    atomic_store(&sink.finished, true);
    return NULL;
}

static int
thread_start(void)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t old;
    int rc;

    atomic_store(&sink.stop, false);
    atomic_store(&sink.finished, false);
    sink.stop_missed = false;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    (void)pthread_attr_setstacksize(&attributes, SINK_THREAD_STACK_SIZE);
    /* Signals are for the loop. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&sink.thread, &attributes, thread_run, &sink.file);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attributes);
    errno = rc;
    return rc == 0 ? 0 : -1;
}

/* Ends the thread after it has written what waits; -1 if the disk did not let it within wait_ms. */
static int
thread_stop(int wait_ms)
{
    struct timespec until;

    atomic_store(&sink.stop, true);
    (void)sem_post(&sink.wakeup);
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (pthread_clockjoin_np(sink.thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
        sink.stop_missed = true;
        return -1;
    }
    pgh_assert(atomic_load(&sink.finished));
    return 0;
}

/* ---- stderr ---- */

/* Finds a way to write to stderr that cannot block. O_NONBLOCK on the descriptor itself would
 * change it for every process that shares it: supervisor, PostgreSQL, a person's shell. */
static void
stderr_look(void)
{
    struct stat status;

    sink.kind = SINK_SHARED;
    if (fstat(STDERR_FILENO, &status) != 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        sink.kind = SINK_SOCKET;
        return;
    }
    sink.fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (sink.fd != -1)
        sink.kind = SINK_OWN;
}

/* Errors but these are final for what was to be written. */
static bool
is_try_again(int code)
{
    return code == EAGAIN || code == EINTR;
}

static ssize_t
stderr_write(const char *bytes, size_t length)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (sink.kind == SINK_SOCKET)
        return send(STDERR_FILENO, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink.kind == SINK_OWN)
        return write(sink.fd, bytes, length);
    /* A pipe that polls writable takes PIPE_BUF bytes at once, unless another writer fills it in
     * this very moment. */
    if (poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(STDERR_FILENO, bytes, length);
}

/* Whole lines as far as PIPE_BUF goes: such a write is not mixed with those of other processes. */
static size_t
stderr_piece(const char *bytes, size_t length)
{
    const char *end;

    if (length > PIPE_BUF)
        length = PIPE_BUF;
    end = memrchr(bytes, '\n', length);
    return end == NULL ? length : (size_t)(end - bytes) + 1;
}

static void
stderr_drain(void)
{
    const char *bytes;
    size_t length;

    if (sink.kind == SINK_UNKNOWN)
        stderr_look();
    while ((length = log_ring_peek(&bytes)) > 0) {
        ssize_t written;

        length = stderr_piece(bytes, length);
        written = stderr_write(bytes, length);
        if (written == -1 && is_try_again(errno))
            return;
        log_ring_take(written == -1 ? length : (size_t)written, written == -1);
    }
}

static int
stderr_drain_wait(int wait_ms)
{
    int64_t deadline_ms = clock_boot_ms() + wait_ms;

    for (;;) {
        struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
        int64_t left_ms = deadline_ms - clock_boot_ms();

        stderr_drain();
        if (log_ring_line_count() == 0)
            return 0;
        if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) == 0)
            return -1;
    }
}

/* ---- the sink ---- */

void
log_sink_flush(void)
{
    if (sink.kind != SINK_FILE) {
        stderr_drain();
        return;
    }
    /* A stop that came too late for its waiter took the thread away: the file goes on with a new
     * one. */
    if (sink.stop_missed && atomic_load(&sink.finished)) {
        (void)pthread_join(sink.thread, NULL);
        if (thread_start() != 0)
            return;
    }
    (void)sem_post(&sink.wakeup);
}

/* Ends what is there. -1: it could not be ended in time and stays. */
static int
sink_leave(int wait_ms)
{
    if (sink.kind == SINK_FILE) {
        if (thread_stop(wait_ms) != 0)
            return -1;
        (void)close(sink.file.fd);
        sink.file.fd = -1;
        (void)sem_destroy(&sink.wakeup);
    } else if (sink.fd != -1) {
        (void)close(sink.fd);
        sink.fd = -1;
    }
    sink.kind = SINK_UNKNOWN;
    return 0;
}

int
log_sink_open(const struct log_sink_options *options, int wait_ms)
{
    struct sink_file file = {
        .fd = -1,
        .size_limit = options->file_size,
        .rotated_count = options->file_num,
        .mode = options->file_mode,
    };

    if (options->dir != NULL) {
        if (!str_format(file.path, sizeof(file.path), "%s/patroni.log", options->dir)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (file_open(&file) != 0)
            return -1;
    }
    if (sink_leave(wait_ms) != 0) {
        if (file.fd != -1)
            (void)close(file.fd);
        errno = ETIMEDOUT;
        return -1;
    }
    if (options->dir == NULL)
        return 0;
    sink.file = file;
    (void)sem_init(&sink.wakeup, 0, 0);
    if (thread_start() != 0) {
        int saved_errno = errno;

        (void)close(sink.file.fd);
        (void)sem_destroy(&sink.wakeup);
        errno = saved_errno;
        return -1;
    }
    sink.kind = SINK_FILE;
    return 0;
}

int
log_sink_close(int wait_ms)
{
    if (sink.kind == SINK_FILE)
        return sink_leave(wait_ms);
    if (stderr_drain_wait(wait_ms) != 0)
        return -1;
    return sink_leave(wait_ms);
}
