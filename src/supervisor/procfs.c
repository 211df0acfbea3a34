#include "procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "note.h"
#include "pgheir/base/base.h"

enum {
    STAT_SIZE = 1024,    /* a stat line is about 350 bytes; field 22 lies in the first half */
    LISTING_SIZE = 8192, /* one getdents64() call, some 300 entries */
    FIELD_STATE = 3,
    FIELD_START = 22,
};

static int proc_fd = -1;
static char other_name[PROCFS_NAME_SIZE]; /* of the server's program; "": none */

bool procfs_open(void)
{
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return false;
    proc_fd = fd;
    return true;
}

bool procfs_is_usable(void)
{
    char link[32];
    ssize_t length = readlinkat(proc_fd, "self", link, sizeof(link) - 1);
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (fd < 0) {
        note_error("pidfd_open: %s: Linux 5.3 or newer is needed, and in a container a seccomp "
                   "profile that allows it",
                   strerror(errno));
        return false;
    }
    (void)close(fd);
    link[length > 0 ? length : 0] = '\0';
    if (strtol(link, NULL, 10) != getpid()) {
        note_error("/proc shows another pid namespace than ours: mount a /proc of this one");
        return false;
    }
    return true;
}

bool procfs_is_blind(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

int procfs_open_process(int32_t pid)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "%d", pid);
    return openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The text behind the command name, which may itself contain blanks and parentheses. Starts at
 * field 3. */
static const char *stat_skip_command(const char *line)
{
    const char *paren = strrchr(line, ')');

    return paren != NULL && paren[1] == ' ' ? paren + 2 : NULL;
}

static bool stat_parse(const char *line, struct proc_facts *ret_facts)
{
    const char *field = stat_skip_command(line);
    struct proc_facts facts = {0, '\0', 0};

    if (field == NULL)
        return false;
    facts.state = field[0];
    for (int number = FIELD_STATE; number < FIELD_START; number++) {
        field = strchr(field, ' ');
        if (field == NULL)
            return false;
        field++;
        if (number == FIELD_STATE)
            facts.parent_pid = (int32_t)strtol(field, NULL, 10);
    }
    facts.start_ticks = strtoull(field, NULL, 10);
    *ret_facts = facts;
    return true;
}

bool procfs_read_facts(int process_fd, struct proc_facts *ret_facts)
{
    char line[STAT_SIZE];
    ssize_t length;
    int fd = openat(process_fd, "stat", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    length = read(fd, line, sizeof(line) - 1);
    (void)close(fd);
    if (length < 0)
        return false;
    line[length] = '\0';
    errno = ESRCH;
    return stat_parse(line, ret_facts);
}

static void file_id_from(const struct statx *status, struct file_id *ret_id)
{
    ret_id->device = (uint64_t)status->stx_dev_major << 32 | status->stx_dev_minor;
    ret_id->inode = status->stx_ino;
}

bool procfs_read_cwd(int process_fd, struct file_id *ret_id)
{
    struct statx status;

    /* AT_STATX_DONT_SYNC: a network file system that hangs must not hang us. */
    if (statx(process_fd, "cwd", AT_STATX_DONT_SYNC, STATX_INO, &status) != 0)
        return false;
    file_id_from(&status, ret_id);
    return true;
}

void procfs_name_server(const char *program)
{
    const char *base = strrchr(program, '/');

    (void)snprintf(other_name, sizeof(other_name), "%s", base != NULL ? base + 1 : program);
}

static bool is_server_name(const char *name)
{
    static const char *const names[] = {"postgres", "postmaster", "edb-postgres"};

    for (size_t idx = 0; idx < PGH_COUNT(names); idx++) {
        if (strcmp(name, names[idx]) == 0)
            return true;
    }
    return other_name[0] != '\0' && strcmp(name, other_name) == 0;
}

bool procfs_is_postgres(int process_fd)
{
    char path[4096];
    ssize_t length = readlinkat(process_fd, "exe", path, sizeof(path) - 1);
    const char *base;
    char *deleted;

    if (length <= 0)
        return false;
    path[length] = '\0';
    /* An upgrade may have replaced the file under a running server. */
    deleted = strstr(path, " (deleted)");
    if (deleted != NULL)
        *deleted = '\0';
    base = strrchr(path, '/');
    return is_server_name(base != NULL ? base + 1 : path);
}

bool procfs_was_postgres(int process_fd)
{
    char text[32];
    ssize_t length;
    int fd;

    if (readlinkat(process_fd, "exe", text, sizeof(text)) >= 0 || errno != ENOENT)
        return false;
    fd = openat(process_fd, "comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (length <= 1)
        return false;
    text[length - 1] = '\0'; /* instead of the line's end */
    return is_server_name(text);
}

int procfs_signal_process(int process_fd, int signo)
{
    return syscall(SYS_pidfd_send_signal, process_fd, signo, NULL, 0) == 0 ? 0 : errno;
}

static bool is_alive_state(char state)
{
    return state != 'Z' && state != 'X' && state != 'x';
}

bool procfs_identify(int32_t pid, struct proc_id *ret_id)
{
    struct proc_facts facts;
    bool is_read;
    int fd = procfs_open_process(pid);

    if (fd < 0)
        return false;
    is_read = procfs_read_facts(fd, &facts);
    (void)close(fd);
    if (!is_read)
        return false;
    errno = ESRCH;
    if (!is_alive_state(facts.state))
        return false;
    ret_id->pid = pid;
    ret_id->start_ticks = facts.start_ticks;
    return true;
}

bool procfs_is_alive(const struct proc_id *id)
{
    struct proc_id now;

    errno = ESRCH;
    if (id->pid <= 0 || !procfs_identify(id->pid, &now))
        return false;
    errno = ESRCH;
    return now.start_ticks == id->start_ticks;
}

int procfs_signal(const struct proc_id *id, int signo)
{
    struct proc_facts facts;
    int error = ESRCH;
    int fd = id->pid > 0 ? procfs_open_process(id->pid) : -1;

    if (fd < 0)
        return ESRCH;
    if (procfs_read_facts(fd, &facts) && is_alive_state(facts.state) &&
        facts.start_ticks == id->start_ticks)
        error = procfs_signal_process(fd, signo);
    (void)close(fd);
    return error;
}

/* false: it may be there, and cannot be looked at. */
static bool visit_entry(const char *name, procfs_visit_fn *visit, void *arg)
{
    int32_t pid;
    int fd;

    if (name[0] < '1' || name[0] > '9')
        return true;
    pid = (int32_t)strtol(name, NULL, 10);
    if (pid == getpid())
        return true;
    fd = procfs_open_process(pid);
    if (fd < 0)
        return !procfs_is_blind(errno);
    visit(pid, fd, arg);
    (void)close(fd);
    return true;
}

bool procfs_each(procfs_visit_fn *visit, void *arg)
{
    static _Alignas(struct dirent64) char listing[LISTING_SIZE];
    bool is_complete = true;

    if (lseek(proc_fd, 0, SEEK_SET) != 0)
        return false;
    for (;;) {
        ssize_t length = getdents64(proc_fd, listing, sizeof(listing));

        if (length <= 0)
            return length == 0 && is_complete;
        for (ssize_t at = 0; at < length;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(listing + at);

            is_complete = visit_entry(entry->d_name, visit, arg) && is_complete;
            at += entry->d_reclen;
        }
    }
}

int procfs_identify_dir(const char *path, struct file_id *ret_id)
{
    struct statx status;

    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_TYPE, &status) != 0)
        return errno;
    if (!S_ISDIR(status.stx_mode))
        return ENOTDIR;
    file_id_from(&status, ret_id);
    return 0;
}
