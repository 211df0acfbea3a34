#include "pgheir/io/pg_control.h"

#include "pg_file.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CONTROL_TRIES = 10,      /* a reader may meet the 8 KiB write halfway: PostgreSQL's own tools
                              * try again too */
    CONTROL_PAUSE_MS = 2,
    TOOL_OUTPUT_MAX = 64 * 1024,
    HISTORY_MAX = 256 * 1024
};

/* ---- pg_control ---- */

PGH_NORETURN static void tool_exec(const char *tool, const char *data_dir, int out_fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(out_fd, STDOUT_FILENO) < 0 || setenv("LC_ALL", "C", 1) != 0)
        _exit(127);
    (void)execlp(tool, tool, "-D", data_dir, (char *)NULL);
    _exit(127);
}

static enum rc pipe_read(int fd, struct buf *out, struct err *err)
{
    char bytes[4096];
    for (;;) {
        ssize_t length = read(fd, bytes, sizeof bytes);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return err_set_errno(err, errno, "cannot read from pg_controldata");
        if (length == 0)
            return RC_OK;
        if (buf_append(out, bytes, (size_t)length) != RC_OK)
            return err_set(err, RC_LIMIT, "pg_controldata: more than %zu bytes", out->ceiling);
    }
}

/* For a layout of pg_control that this program does not know. */
static enum rc tool_read(const struct pg_site *site, struct pg_control_data *ret, struct err *err)
{
    char tool[PG_PATH_SIZE];
    struct buf text;
    int ends[2], status = 0;
    enum rc rc = pg_site_tool(site, PG_TOOL_CONTROLDATA, tool, err);
    if (rc != RC_OK)
        return rc;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_errno(err, errno, "cannot make a pipe for pg_controldata");
    pid_t pid = fork();
    if (pid == 0)
        tool_exec(tool, site->data_dir, ends[1]);
    int fork_errno = errno;
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        return err_set_errno(err, fork_errno, "cannot fork for pg_controldata");
    }
    buf_init(&text, TOOL_OUTPUT_MAX);
    rc = pipe_read(ends[0], &text, err);
    (void)close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (rc == RC_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        rc = err_set(err, RC_NOT_FOUND, "%s failed on %s: is PostgreSQL's bin_dir right?", tool,
                     site->data_dir);
    if (rc == RC_OK)
        rc = pg_control_data_parse_text(buf_text(&text), ret, err);
    buf_done(&text);
    return rc;
}

enum rc pg_control_read(const struct pg_site *site, struct pg_control_data *ret, struct err *err)
{
    char path[PG_PATH_SIZE];
    struct buf bytes;
    struct err parse_err = {0};
    bool is_read = false;
    enum rc rc = pg_site_path(site->data_dir, "global/pg_control", path, err);
    buf_init(&bytes, PG_CONTROL_FILE_BYTES);
    for (int i = 0; i < CONTROL_TRIES && rc == RC_OK; i++) {
        rc = pg_file_read(path, &bytes, err);
        if (rc != RC_OK)
            break;
        is_read = true;
        rc = pg_control_data_parse_bytes(buf_text(&bytes), bytes.length, ret, &parse_err);
        if (rc != RC_INVALID)
            break;
        if (i + 1 < CONTROL_TRIES) {
            rc = RC_OK;
            (void)poll(NULL, 0, CONTROL_PAUSE_MS);
        }
    }
    buf_done(&bytes);
    if (is_read && rc == RC_NOT_FOUND)
        return tool_read(site, ret, err);
    if (is_read && rc != RC_OK)
        return err_set(err, rc, "%s: %s", path, parse_err.text);
    return rc;
}

/* ---- jobs: one work function, one completion that knows the struct ---- */

struct ask {
    struct pg_site site;
    pg_control_fn *on_control;
    pg_wal_end_fn *on_wal_end;
    void *arg;
};

static enum rc ask_start(struct loop *loop, const char *name,
                         enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                         void (*on_done)(enum rc rc, const struct err *err, const void *answer,
                                         size_t length, void *arg),
                         const struct ask *ask, int64_t deadline_ms, struct job **ret,
                         struct err *err)
{
    struct ask *copy = mem_new(1, sizeof *copy);
    *copy = *ask;
    const struct job_spec spec = {
        .name = name,
        .work = work,
        .work_arg = copy,
        .deadline_ms = deadline_ms,
        .on_done = on_done,
        .arg = copy,
        .memory = copy,
    };
    enum rc rc = job_start(loop, &spec, ret, err);
    if (rc != RC_OK)
        mem_free(copy);
    return rc;
}

static enum rc control_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct ask *ask = work_arg;
    struct pg_control_data data;
    enum rc rc = pg_control_read(&ask->site, &data, err);
    return rc != RC_OK ? rc : buf_append(answer, &data, sizeof data);
}

static void on_control_done(enum rc rc, const struct err *err, const void *answer, size_t length,
                            void *arg)
{
    struct ask *ask = arg;
    struct pg_control_data data;
    pgh_assert(rc != RC_OK || length == sizeof data);
    if (rc == RC_OK)
        memcpy(&data, answer, sizeof data);
    ask->on_control(rc == RC_OK ? &data : NULL, err, ask->arg);
}

enum rc pg_control_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                         pg_control_fn *on_done, void *arg, struct job **ret, struct err *err)
{
    struct ask ask = {.site = *site, .on_control = on_done, .arg = arg};
    return ask_start(loop, "read pg_control", control_work, on_control_done, &ask, deadline_ms, ret,
                     err);
}

/* ---- history ---- */

enum rc pg_history_read(const struct pg_site *site, uint32_t timeline, struct pg_history *ret,
                        struct err *err)
{
    char name[PG_HISTORY_FILE_SIZE], dir[PG_PATH_SIZE], path[PG_PATH_SIZE];
    struct buf text;
    if (timeline <= 1)
        return pg_history_parse("", 0, timeline, ret, err);
    enum rc rc = pg_site_path(site->data_dir, "pg_wal", dir, err);
    if (rc == RC_OK)
        rc = pg_site_path(dir, pg_history_file_name(timeline, name), path, err);
    buf_init(&text, HISTORY_MAX);
    if (rc == RC_OK)
        rc = pg_file_read(path, &text, err);
    if (rc == RC_OK) {
        rc = pg_history_parse(buf_text(&text), text.length, timeline, ret, err);
        if (rc != RC_OK)
            (void)err_wrap(err, "%s", path);
    }
    buf_done(&text);
    return rc;
}

/* ---- end of WAL ---- */

struct wal_files {
    const struct pg_site *site;
    uint32_t segment_bytes, block_bytes;
    uint32_t timeline_min, timeline_max; /* which ones to look for, newest first */
    uint64_t segment_lsn;                /* of the open file */
    int fd;
};

static bool segment_open(struct wal_files *files, uint64_t segment_lsn)
{
    char name[PG_WAL_NAME_SIZE], path[PG_PATH_SIZE];
    if (files->fd >= 0 && files->segment_lsn == segment_lsn)
        return true;
    if (files->fd >= 0)
        (void)close(files->fd); /* read only */
    files->fd = -1;
    files->segment_lsn = segment_lsn;
    for (uint32_t timeline = files->timeline_max; timeline >= files->timeline_min; timeline--) {
        (void)pg_wal_file_name(timeline, segment_lsn, files->segment_bytes, name);
        if (!str_format(path, sizeof path, "%s/pg_wal/%s", files->site->data_dir, name))
            return false;
        files->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (files->fd >= 0)
            return true;
    }
    return false;
}

static bool page_read(uint64_t page_lsn, void *page, void *arg)
{
    struct wal_files *files = arg;
    uint64_t offset = page_lsn % files->segment_bytes;
    if (!segment_open(files, page_lsn - offset))
        return false;
    return pread(files->fd, page, files->block_bytes, (off_t)offset) ==
           (ssize_t)files->block_bytes;
}

enum rc pg_wal_end_read(const struct pg_site *site, const struct pg_control_data *control,
                        struct pg_wal_end *ret, struct err *err)
{
    /* A promotion whose checkpoint is still to come shows in the minimum recovery point. */
    bool is_newer = control->min_recovery_timeline > control->timeline;
    struct wal_files files = {
        .site = site,
        .segment_bytes = control->wal_segment_bytes,
        .block_bytes = control->wal_block_bytes,
        .timeline_min = control->timeline,
        .timeline_max = is_newer ? control->min_recovery_timeline : control->timeline,
        .fd = -1,
    };
    const struct pg_wal_source source = {
        .block_bytes = control->wal_block_bytes,
        .segment_bytes = control->wal_segment_bytes,
        .read_page = page_read,
        .arg = &files,
    };
    uint64_t segment_lsn = control->checkpoint_lsn - control->checkpoint_lsn %
                                                         control->wal_segment_bytes;
    char name[PG_WAL_NAME_SIZE];
    if (control->timeline == 0)
        return err_set(err, RC_INVALID, "pg_control: its checkpoint has no timeline");
    if (!segment_open(&files, segment_lsn))
        return err_set(err, RC_NOT_FOUND, "%s/pg_wal/%s, which holds the last checkpoint, is not"
                       " there", site->data_dir,
                       pg_wal_file_name(control->timeline, segment_lsn, files.segment_bytes, name));
    enum rc rc = pg_wal_find_end(&source, control->checkpoint_lsn, ret, err);
    if (files.fd >= 0)
        (void)close(files.fd); /* read only */
    return rc;
}

static enum rc wal_end_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct ask *ask = work_arg;
    struct pg_control_data control;
    struct pg_wal_end end;
    enum rc rc = pg_control_read(&ask->site, &control, err);
    if (rc == RC_OK)
        rc = pg_wal_end_read(&ask->site, &control, &end, err);
    return rc != RC_OK ? rc : buf_append(answer, &end, sizeof end);
}

static void on_wal_end_done(enum rc rc, const struct err *err, const void *answer, size_t length,
                            void *arg)
{
    struct ask *ask = arg;
    struct pg_wal_end end;
    pgh_assert(rc != RC_OK || length == sizeof end);
    if (rc == RC_OK)
        memcpy(&end, answer, sizeof end);
    ask->on_wal_end(rc == RC_OK ? &end : NULL, err, ask->arg);
}

enum rc pg_wal_end_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                         pg_wal_end_fn *on_done, void *arg, struct job **ret, struct err *err)
{
    struct ask ask = {.site = *site, .on_wal_end = on_done, .arg = arg};
    return ask_start(loop, "find the end of the WAL", wal_end_work, on_wal_end_done, &ask,
                     deadline_ms, ret, err);
}
