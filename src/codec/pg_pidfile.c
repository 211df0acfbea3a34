#include "pgheir/codec/pg_pidfile.h"

#include "pgheir/base/str.h"

#include <string.h>

enum { LINE_SIZE = PG_PIDFILE_PATH_SIZE };

/* Lines of postmaster.pid. Source: PostgreSQL, utils/pidfile.h. */
enum {
    LINE_PID = 1,
    LINE_DATA_DIR,
    LINE_START_TIME,
    LINE_PORT,
    LINE_SOCKET_DIR,
    LINE_LISTEN,
    LINE_SHMEM,
    LINE_STATUS
};

static enum pg_pidfile_status status_parse(const char *text)
{
    for (int i = PG_PIDFILE_STATUS_STARTING; i < PG_PIDFILE_STATUS_COUNT; i++)
        if (str_equal(text, pg_pidfile_status_text((enum pg_pidfile_status)i)))
            return (enum pg_pidfile_status)i;
    return PG_PIDFILE_STATUS_NONE;
}

/* Shared memory key and id, two numbers in columns of nine. */
static void shmem_parse(const char *text, struct pg_pidfile *out)
{
    char first[32] = "";
    while (*text == ' ')
        text++;
    size_t length = strcspn(text, " ");
    if (length >= sizeof first)
        return;
    memcpy(first, text, length);
    for (text += length; *text == ' '; text++)
        ;
    (void)str_parse_uint64(first, &out->shmem_key); /* information only: 0 is good enough */
    (void)str_parse_uint64(text, &out->shmem_id);
}

static enum rc pid_parse(const char *line, struct pg_pidfile *out, struct err *err)
{
    int64_t pid = 0;
    if (!str_parse_int64(line, &pid) || pid == 0 || pid > INT32_MAX || pid < -INT32_MAX)
        return err_set(err, RC_INVALID, "postmaster.pid, line 1: expected a process id, found"
                       " \"%.32s\"", line);
    out->is_single = pid < 0;
    out->pid = pid < 0 ? -pid : pid;
    return RC_OK;
}

static enum rc line_parse(int number, const char *line, struct pg_pidfile *out, struct err *err)
{
    int64_t port = 0;
    switch (number) {
    case LINE_PID:
        return pid_parse(line, out, err);
    case LINE_DATA_DIR:
        if (!str_copy(out->data_dir, sizeof out->data_dir, line))
            return err_set(err, RC_INVALID, "postmaster.pid, line 2: path too long");
        break;
    case LINE_START_TIME:
        if (!str_parse_int64(line, &out->start_wall_s))
            out->start_wall_s = 0;
        break;
    case LINE_PORT:
        if (str_parse_int64(line, &port) && port > 0 && port <= 65535)
            out->port = (int)port;
        break;
    case LINE_SOCKET_DIR:
        if (!str_copy(out->socket_dir, sizeof out->socket_dir, line))
            out->socket_dir[0] = '\0';
        break;
    case LINE_LISTEN:
        if (!str_copy(out->listen_host, sizeof out->listen_host, line))
            out->listen_host[0] = '\0';
        break;
    case LINE_SHMEM:
        shmem_parse(line, out);
        break;
    case LINE_STATUS:
        out->status = status_parse(line);
        break;
    default:
        break;
    }
    return RC_OK;
}

enum rc pg_pidfile_parse(const char *text, size_t length, struct pg_pidfile *ret, struct err *err)
{
    struct pg_pidfile out = {0};
    const char *at = text, *end = text + length;
    for (int number = 1; at < end && number <= LINE_STATUS; number++) {
        char line[LINE_SIZE];
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t span = (size_t)((stop != NULL ? stop : end) - at);
        if (span >= sizeof line)
            return err_set(err, RC_INVALID, "postmaster.pid, line %d: longer than %zu bytes",
                           number, sizeof line - 1);
        memcpy(line, at, span);
        line[span] = '\0';
        /* The status is padded with blanks, so that it can be rewritten in place. */
        while (span > 0 && (line[span - 1] == ' ' || line[span - 1] == '\r'))
            line[--span] = '\0';
        enum rc rc = line_parse(number, line, &out, err);
        if (rc != RC_OK)
            return rc;
        at = stop != NULL ? stop + 1 : end;
    }
    if (out.pid == 0)
        return err_set(err, RC_INVALID, "postmaster.pid: empty, expected a process id");
    *ret = out;
    return RC_OK;
}

const char *pg_pidfile_status_text(enum pg_pidfile_status status)
{
    static const char *const texts[PG_PIDFILE_STATUS_COUNT] = {
        [PG_PIDFILE_STATUS_NONE] = "none",         [PG_PIDFILE_STATUS_STARTING] = "starting",
        [PG_PIDFILE_STATUS_STANDBY] = "standby",   [PG_PIDFILE_STATUS_READY] = "ready",
        [PG_PIDFILE_STATUS_STOPPING] = "stopping",
    };
    pgh_assert(status >= 0 && status < PG_PIDFILE_STATUS_COUNT);
    return texts[status];
}
