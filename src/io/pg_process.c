#include "pgheir/io/pg_control.h"

#include "pg_file.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STAT_SIZE = 1024, PIDFILE_MAX = 8192, FIELD_STATE = 3, FIELD_START = 22 };

/* PostgreSQL takes its start time a moment after the process began; file systems and clocks
 * round. */
enum { START_SLACK_S = 5 };

struct proc_stat {
    char state;
    uint64_t start_ticks;
};

/* Fields of /proc/PID/stat are counted behind the last parenthesis: a name may hold anything. */
static bool proc_stat_read(int64_t pid, struct proc_stat *ret)
{
    char path[64], text[STAT_SIZE];
    bool is_fit = str_format(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    pgh_assert(is_fit);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    (void)close(fd); /* read only */
    if (length <= 0)
        return false;
    text[length] = '\0';
    char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ')
        return false;
    at += 2;
    ret->state = *at;
    for (int field = FIELD_STATE; field < FIELD_START; field++) {
        at = strchr(at, ' ');
        if (at == NULL)
            return false;
        at++;
    }
    char *end = strchr(at, ' ');
    if (end != NULL)
        *end = '\0';
    return str_parse_uint64(at, &ret->start_ticks);
}

static bool state_is_alive(char state)
{
    return state != 'Z' && state != 'X' && state != 'x';
}

bool pg_process_is_alive(const struct pg_process *process)
{
    struct proc_stat stat;
    return process->pid > 0 && proc_stat_read(process->pid, &stat) && state_is_alive(stat.state) &&
           stat.start_ticks == process->start_ticks;
}

uint64_t pg_process_start_ticks(int64_t pid)
{
    struct proc_stat stat;
    return pid > 0 && proc_stat_read(pid, &stat) ? stat.start_ticks : 0;
}

enum rc pg_process_signal(const struct pg_process *process, int signal_number, struct err *err)
{
    if (process->pid <= 1)
        return err_set(err, RC_NOT_FOUND, "no PostgreSQL process to signal");
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)process->pid, 0);
    if (fd < 0)
        return errno == ESRCH ? err_set(err, RC_NOT_FOUND, "process %lld is gone",
                                        (long long)process->pid)
                              : err_set_errno(err, errno, "cannot open process %lld",
                                              (long long)process->pid);
    /* Looked at behind the open: the descriptor holds on to the process that was seen. */
    enum rc rc = RC_OK;
    if (!pg_process_is_alive(process))
        rc = err_set(err, RC_NOT_FOUND, "process %lld is gone or another one now",
                     (long long)process->pid);
    else if (syscall(SYS_pidfd_send_signal, fd, signal_number, NULL, 0) != 0)
        rc = errno == ESRCH
                 ? err_set(err, RC_NOT_FOUND, "process %lld is gone", (long long)process->pid)
                 : err_set_errno(err, errno, "cannot signal process %lld", (long long)process->pid);
    (void)close(fd); /* a pidfd holds nothing that could be lost */
    return rc;
}

/* A postmaster sits in its data directory. Both sides are compared by device and inode, so that
 * symbolic links and bind mounts do not matter. Returns 1, 0, or -1 if it cannot be told. */
static int process_is_in(int64_t pid, const char *data_dir)
{
    char path[64];
    struct stat cwd, data;
    bool is_fit = str_format(path, sizeof path, "/proc/%lld/cwd", (long long)pid);
    pgh_assert(is_fit);
    if (stat(data_dir, &data) != 0)
        return -1;
    if (stat(path, &cwd) != 0)
        return errno == EACCES || errno == EPERM ? -1 : 0;
    return cwd.st_dev == data.st_dev && cwd.st_ino == data.st_ino;
}

static bool process_owner_is(int64_t pid, const char *data_dir)
{
    char path[64];
    struct stat process, data;
    bool is_fit = str_format(path, sizeof path, "/proc/%lld", (long long)pid);
    pgh_assert(is_fit);
    return stat(path, &process) == 0 && stat(data_dir, &data) == 0 &&
           process.st_uid == data.st_uid;
}

static bool start_time_fits(const struct proc_stat *stat, int64_t start_wall_s)
{
    int64_t hertz = sysconf(_SC_CLK_TCK);
    int64_t boot_wall_ms = clock_wall_ms() - clock_boot_ms();
    int64_t began_s = boot_wall_ms / 1000 + (int64_t)stat->start_ticks / (hertz > 0 ? hertz : 100);
    return start_wall_s > 0 && began_s <= start_wall_s + START_SLACK_S;
}

enum rc pg_process_find(const struct pg_site *site, struct pg_pidfile *ret_pidfile, bool *ret_alive,
                        struct pg_process *ret_process, struct err *err)
{
    char path[PG_PATH_SIZE];
    struct proc_stat stat;
    struct pg_pidfile pidfile = {0};
    struct buf text;
    bool is_alive = false;
    buf_init(&text, PIDFILE_MAX);
    enum rc rc = pg_site_path(site->data_dir, "postmaster.pid", path, err);
    if (rc == RC_OK)
        rc = pg_file_read(path, &text, err);
    if (rc == RC_OK)
        rc = pg_pidfile_parse(buf_text(&text), text.length, &pidfile, err);
    buf_done(&text);
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        return rc;
    if (rc == RC_OK && proc_stat_read(pidfile.pid, &stat) && state_is_alive(stat.state)) {
        int is_in = process_is_in(pidfile.pid, site->data_dir);
        is_alive = is_in == 1 || (is_in < 0 && process_owner_is(pidfile.pid, site->data_dir) &&
                                  start_time_fits(&stat, pidfile.start_wall_s));
    }
    *ret_pidfile = pidfile;
    *ret_alive = is_alive;
    *ret_process = (struct pg_process){0};
    if (is_alive)
        *ret_process = (struct pg_process){pidfile.pid, stat.start_ticks};
    return RC_OK;
}
