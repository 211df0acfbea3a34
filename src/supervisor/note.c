#include "note.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NOTE_SIZE = 1024 };

static struct {
    const char *speaker;
    int fd;
    bool is_socket;
    bool is_file;
} note_state = {"supervisor", STDERR_FILENO, false, false};

void note_open(void)
{
    struct stat status;
    int fd;

    /* The zone is read here, once: localtime_r() would load its file at the first line. */
    tzset();
    if (fstat(STDERR_FILENO, &status) != 0)
        return;
    note_state.is_socket = S_ISSOCK(status.st_mode);
    note_state.is_file = S_ISREG(status.st_mode);
    if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode))
        return;
    /* O_NONBLOCK belongs to the open file, which PostgreSQL and others share: so open our own. */
    fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        note_state.fd = fd;
}

void note_set_speaker(const char *speaker)
{
    note_state.speaker = speaker;
}

void note_forget_descriptor(void)
{
    note_state.fd = STDERR_FILENO;
}

static bool note_can_write(void)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (note_state.fd != STDERR_FILENO || note_state.is_file)
        return true;
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0;
}

static void note_write(const char *line, size_t length)
{
    ssize_t written;

    /* A lost line is not worth a moment's wait, nor is there anyone to tell. */
    if (note_state.is_socket)
        written = send(STDERR_FILENO, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    else if (note_can_write())
        written = write(note_state.fd, line, length);
    else
        written = 0;
    (void)written;
}

static size_t note_put_head(char *line, size_t size, const char *level)
{
    struct timespec now = {0, 0};
    struct tm parts;
    int length;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (localtime_r(&now.tv_sec, &parts) == NULL)
        memset(&parts, 0, sizeof(parts));
    length = snprintf(line, size, "%04d-%02d-%02d %02d:%02d:%02d,%03d %s: %s: ",
                      parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                      parts.tm_min, parts.tm_sec, (int)(now.tv_nsec / 1000000), level,
                      note_state.speaker);
    return length > 0 && (size_t)length < size ? (size_t)length : 0;
}

static void note_line(const char *level, const char *fmt, va_list args) PGH_PRINTF(2, 0);

static void note_line(const char *level, const char *fmt, va_list args)
{
    char line[NOTE_SIZE];
    size_t length = note_put_head(line, sizeof(line) - 1, level);
    size_t room = sizeof(line) - 1 - length;
    int more = vsnprintf(line + length, room, fmt, args);

    if (more > 0)
        length += (size_t)more < room ? (size_t)more : room - 1;
    for (size_t idx = 0; idx < length; idx++) {
        if (line[idx] == '\n' || line[idx] == '\r')
            line[idx] = ' ';
    }
    line[length++] = '\n';
    note_write(line, length);
}

void note_info(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note_line("INFO", fmt, args);
    va_end(args);
}

void note_warning(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note_line("WARNING", fmt, args);
    va_end(args);
}

void note_error(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note_line("ERROR", fmt, args);
    va_end(args);
}
