#include "quell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct quell_run {
    const struct quell_site *site;
    bool does_kill;
    struct quell_result result;
};

static bool quell_is_ours(const struct quell_site *site, int32_t pid, int process_fd,
                          const struct proc_facts *facts)
{
    bool is_spared = pid == site->spared_pids[0] || pid == site->spared_pids[1];

    if (site->postmaster.pid > 0 && facts->parent_pid == site->postmaster.pid)
        return true;
    if (site->reaper_pid > 0 && facts->parent_pid == site->reaper_pid && !is_spared)
        return true;
    return procfs_is_postgres(process_fd) || procfs_was_postgres(process_fd);
}

/* Whether this pid is a postgres in this directory. */
static bool quell_is_inside(int32_t pid, const struct file_id *dir_id)
{
    struct file_id cwd;
    bool is_inside;
    int fd = pid > 1 ? procfs_open_process(pid) : -1;

    if (fd < 0)
        return false;
    is_inside = procfs_read_cwd(fd, &cwd) && file_id_is_equal(&cwd, dir_id) &&
                procfs_is_postgres(fd);
    (void)close(fd);
    return is_inside;
}

/* A question about a process had no answer: it is gone, or another user's, or nobody knows. */
static void quell_on_silence(struct quell_run *run, int error)
{
    if (procfs_is_blind(error))
        run->result.is_unsure = true;
}

static void quell_visit(int32_t pid, int process_fd, void *arg)
{
    struct quell_run *run = arg;
    struct proc_facts facts;
    struct file_id cwd;

    /* The cheap question first: almost every process ends here. A zombie has no directory. */
    if (!procfs_read_cwd(process_fd, &cwd)) {
        quell_on_silence(run, errno);
        return;
    }
    if (!file_id_is_equal(&cwd, &run->site->data_dir) || pid == run->site->reaper_pid)
        return;
    if (!procfs_read_facts(process_fd, &facts)) {
        quell_on_silence(run, errno);
        return;
    }
    if (facts.state == 'Z' || !quell_is_ours(run->site, pid, process_fd, &facts))
        return;
    run->result.found++;
    if (pid != run->site->postmaster.pid)
        run->result.backends++;
    if (quell_is_inside(facts.parent_pid, &run->site->data_dir))
        run->result.is_postmaster_parent = true;
    if (run->does_kill && procfs_signal_process(process_fd, SIGKILL) == 0)
        run->result.killed++;
}

/* The postmaster may not be in its directory yet, so it is also asked for by name. */
static void quell_known(struct quell_run *run, const struct proc_id *id)
{
    if (!procfs_is_alive(id)) {
        quell_on_silence(run, errno);
        return;
    }
    run->result.found++;
    if (run->does_kill && procfs_signal(id, SIGKILL) == 0)
        run->result.killed++;
}

void quell_pass(const struct quell_site *site, bool does_kill, struct quell_result *ret_result)
{
    struct quell_run run = {.site = site, .does_kill = does_kill};

    quell_known(&run, &site->postmaster);
    quell_known(&run, &site->newborn);
    if (site->data_dir.inode != 0 && !procfs_each(quell_visit, &run))
        run.result.is_unsure = true;
    *ret_result = run.result;
}

/* The first line of postmaster.pid; a single-user server writes its pid with a minus. 0: none. */
static int32_t read_pid_file(const char *data_dir)
{
    char path[4096];
    char text[32];
    ssize_t length;
    long pid;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", data_dir);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return 0;
    length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    pid = labs(strtol(text, NULL, 10));
    return pid <= INT32_MAX ? (int32_t)pid : 0;
}

bool quell_has_postmaster(const char *data_dir, const struct file_id *dir_id)
{
    struct quell_site site = {.data_dir = *dir_id};
    struct quell_result result;

    if (quell_is_inside(read_pid_file(data_dir), dir_id))
        return true;
    quell_pass(&site, false, &result);
    return result.is_postmaster_parent;
}

bool quell_is_over(const struct quell_result *result)
{
    return result->found == 0 && !result->is_unsure;
}
