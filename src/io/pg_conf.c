#include "pg_conf_private.h"

#include "pg_file.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE_PRIVATE = 0600, MODE_GROUP = 0640 };

/* ---- password file ---- */

static enum rc pgpass_update(const char *path, const struct pg_passline *lines, size_t count,
                             bool *ret_changed, struct err *err)
{
    struct buf text;
    struct stat info;
    enum rc rc = RC_OK;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return err_set(err, RC_INVALID, "password file %s is a directory", path);
    buf_init(&text, PG_CONF_FILE_MAX);
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        const struct pg_passline *line = &lines[i];
        rc = pg_text_pgpass_line(&text, str_is_empty(line->host) ? NULL : line->host,
                                 str_is_empty(line->port) ? NULL : line->port,
                                 str_is_empty(line->database) ? NULL : line->database, line->user,
                                 line->password, err);
    }
    if (rc == RC_OK)
        rc = pg_conf_update_file(path, buf_text(&text), text.length, MODE_PRIVATE, ret_changed,
                                 err);
    /* The buffer held passwords. */
    if (text.bytes != NULL)
        explicit_bzero(text.bytes, text.size);
    buf_done(&text);
    return rc;
}

enum rc pg_conf_write_pgpass(const char *path, const struct pg_passline *lines, size_t count,
                             struct err *err)
{
    bool is_changed = false;
    return pgpass_update(path, lines, count, &is_changed, err);
}

/* ---- apply ---- */

static enum rc conf_path(const struct pg_site *site, const char *suffix,
                         char ret_path[static PG_PATH_SIZE], struct err *err)
{
    if (!str_format(ret_path, PG_PATH_SIZE, "%s/%s%s", site->config_dir, site->config_base, suffix))
        return err_set(err, RC_LIMIT, "configuration directory %.100s...: path too long",
                       site->config_dir);
    return RC_OK;
}

static bool file_is_generated(const char *path)
{
    struct buf text;
    buf_init(&text, PG_CONF_FILE_MAX);
    bool is_generated = pg_file_read(path, &text, NULL) == RC_OK &&
                        str_starts_with(buf_text(&text), PG_CONF_BANNER_FIRST);
    buf_done(&text);
    return is_generated;
}

/* The original becomes the base, once. A generated file never does: it would include itself. */
static enum rc base_keep(const struct pg_conf_plan *plan, const char *main_path, struct err *err)
{
    char base[PG_PATH_SIZE];
    enum rc rc = conf_path(plan->site, ".base.conf", base, err);
    if (rc != RC_OK || plan->custom_conf != NULL || pg_file_exists(base))
        return rc;
    if (!pg_file_exists(main_path) || file_is_generated(main_path))
        return pg_conf_write_file(base, "", 0, MODE_PRIVATE, err);
    if (rename(main_path, base) != 0)
        return err_set_errno(err, errno, "cannot rename %s to %s", main_path, base);
    return pg_file_sync_parent(base, err);
}

static enum rc main_apply(const struct pg_conf_plan *plan, unsigned *changed, struct err *err)
{
    char path[PG_PATH_SIZE];
    struct buf text;
    bool is_changed = false;
    enum rc rc = conf_path(plan->site, ".conf", path, err);
    if (rc != RC_OK)
        return rc;
    buf_init(&text, PG_CONF_FILE_MAX);
    /* Built first: a value that cannot be written must not move the original away. */
    rc = pg_conf_build_main(plan, &text, err);
    if (rc == RC_OK)
        rc = base_keep(plan, path, err);
    if (rc == RC_OK)
        rc = pg_conf_update_file(path, buf_text(&text), text.length, MODE_PRIVATE, &is_changed,
                                 err);
    buf_done(&text);
    if (is_changed)
        *changed |= PG_CONF_CHANGED_MAIN;
    return rc;
}

/* Files without secrets may be read by the group where the data directory may. */
static unsigned plain_mode(const struct pg_site *site)
{
    struct stat info;
    bool is_for_group = stat(site->data_dir, &info) == 0 && (info.st_mode & S_IRGRP) != 0;
    return is_for_group ? MODE_GROUP : MODE_PRIVATE;
}

static enum rc lines_apply(const struct pg_conf_plan *plan, const char *name,
                           const char *const *lines, size_t count, unsigned bit, unsigned *changed,
                           struct err *err)
{
    char path[PG_PATH_SIZE];
    struct buf text;
    bool is_changed = false;
    if (lines == NULL)
        return RC_OK;
    enum rc rc = pg_site_path(plan->site->config_dir, name, path, err);
    if (rc != RC_OK)
        return rc;
    buf_init(&text, PG_CONF_FILE_MAX);
    rc = pg_conf_build_lines(name, lines, count, &text, err);
    if (rc == RC_OK)
        rc = pg_conf_update_file(path, buf_text(&text), text.length, plain_mode(plan->site),
                                 &is_changed, err);
    buf_done(&text);
    if (is_changed)
        *changed |= bit;
    return rc;
}

static enum rc auto_apply(const struct pg_site *site, unsigned *changed, struct err *err)
{
    char path[PG_PATH_SIZE];
    struct buf text, out;
    enum rc rc = pg_site_path(site->data_dir, "postgresql.auto.conf", path, err);
    if (rc != RC_OK)
        return rc;
    buf_init(&text, PG_CONF_FILE_MAX);
    buf_init(&out, PG_CONF_FILE_MAX);
    rc = pg_file_read(path, &text, err);
    if (rc == RC_NOT_FOUND) {
        rc = RC_OK;
    } else if (rc == RC_OK && pg_conf_filter_auto(buf_text(&text), &out)) {
        rc = pg_conf_write_file(path, buf_text(&out), out.length, MODE_PRIVATE, err);
        if (rc == RC_OK)
            *changed |= PG_CONF_CHANGED_AUTO;
    }
    buf_done(&out);
    buf_done(&text);
    return rc;
}

static enum rc signal_set(const struct pg_site *site, const char *name, bool is_wanted,
                          unsigned *changed, struct err *err)
{
    char path[PG_PATH_SIZE];
    enum rc rc = pg_site_path(site->data_dir, name, path, err);
    if (rc != RC_OK || pg_file_exists(path) == is_wanted)
        return rc;
    rc = is_wanted ? pg_conf_write_file(path, "", 0, MODE_PRIVATE, err) : pg_file_remove(path, err);
    if (rc == RC_OK)
        *changed |= PG_CONF_CHANGED_SIGNAL;
    return rc;
}

static enum rc signals_apply(const struct pg_conf_plan *plan, unsigned *changed, struct err *err)
{
    if (plan->keep_signal)
        return RC_OK;
    enum rc rc = signal_set(plan->site, "standby.signal", plan->is_standby, changed, err);
    return rc != RC_OK ? rc : signal_set(plan->site, "recovery.signal", false, changed, err);
}

static enum rc pgpass_apply(const struct pg_conf_plan *plan, unsigned *changed, struct err *err)
{
    bool is_changed = false;
    if (plan->pass_lines == NULL)
        return RC_OK;
    if (str_starts_with(plan->site->pgpass, plan->site->state_dir)) {
        enum rc rc = pg_file_make_dir(plan->site->state_dir, 0700, err);
        if (rc != RC_OK)
            return rc;
    }
    enum rc rc = pgpass_update(plan->site->pgpass, plan->pass_lines, plan->pass_count, &is_changed,
                               err);
    if (is_changed)
        *changed |= PG_CONF_CHANGED_PGPASS;
    return rc;
}

enum rc pg_conf_apply(const struct pg_conf_plan *plan, unsigned *ret_changed, struct err *err)
{
    unsigned changed = 0;
    /* What the server needs to use the new postgresql.conf comes before it. */
    enum rc rc = pgpass_apply(plan, &changed, err);
    if (rc == RC_OK)
        rc = auto_apply(plan->site, &changed, err);
    if (rc == RC_OK)
        rc = lines_apply(plan, "pg_hba.conf", plan->hba_lines, plan->hba_count, PG_CONF_CHANGED_HBA,
                         &changed, err);
    if (rc == RC_OK)
        rc = lines_apply(plan, "pg_ident.conf", plan->ident_lines, plan->ident_count,
                         PG_CONF_CHANGED_IDENT, &changed, err);
    if (rc == RC_OK)
        rc = main_apply(plan, &changed, err);
    if (rc == RC_OK)
        rc = signals_apply(plan, &changed, err);
    if (rc == RC_OK)
        *ret_changed = changed;
    return rc;
}

/* ---- off the loop ---- */

struct apply {
    const struct pg_conf_plan *plan; /* valid until the fork has its copy */
    struct pg_site site;             /* for the save */
    pg_conf_fn *on_done;
    void *arg;
};

static enum rc apply_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct apply *apply = work_arg;
    unsigned changed = 0;
    enum rc rc = pg_conf_apply(apply->plan, &changed, err);
    return rc != RC_OK ? rc : buf_append(answer, &changed, sizeof changed);
}

static enum rc save_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct apply *apply = work_arg;
    unsigned changed = 0;
    enum rc rc = pg_conf_save(&apply->site, err);
    return rc != RC_OK ? rc : buf_append(answer, &changed, sizeof changed);
}

static void on_apply_done(enum rc rc, const struct err *err, const void *answer, size_t length,
                          void *arg)
{
    const struct apply *apply = arg;
    unsigned changed = 0;
    pgh_assert(rc != RC_OK || length == sizeof changed);
    if (rc == RC_OK)
        memcpy(&changed, answer, sizeof changed);
    apply->on_done(rc, changed, err, apply->arg);
}

static enum rc apply_start(struct loop *loop, const struct apply *apply, bool is_save,
                           int64_t deadline_ms, struct job **ret, struct err *err)
{
    struct apply *copy = mem_new(1, sizeof *copy);
    *copy = *apply;
    const struct job_spec spec = {
        .name = is_save ? "keep configuration files" : "write configuration files",
        .work = is_save ? save_work : apply_work,
        .work_arg = copy,
        .deadline_ms = deadline_ms,
        .on_done = on_apply_done,
        .arg = copy,
        .memory = copy,
    };
    enum rc rc = job_start(loop, &spec, ret, err);
    if (rc != RC_OK)
        mem_free(copy);
    return rc;
}

enum rc pg_conf_apply_start(struct loop *loop, const struct pg_conf_plan *plan, int64_t deadline_ms,
                            pg_conf_fn *on_done, void *arg, struct job **ret, struct err *err)
{
    const struct apply apply = {.plan = plan, .on_done = on_done, .arg = arg};
    return apply_start(loop, &apply, false, deadline_ms, ret, err);
}

enum rc pg_conf_save_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                           pg_conf_fn *on_done, void *arg, struct job **ret, struct err *err)
{
    const struct apply apply = {.site = *site, .on_done = on_done, .arg = arg};
    return apply_start(loop, &apply, true, deadline_ms, ret, err);
}

/* ---- keep and put back ---- */

enum { KEPT_COUNT = 5, KEPT_NAME_SIZE = PG_TOOL_NAME_SIZE + 16 };

struct kept {
    char name[KEPT_NAME_SIZE];
    const char *dir; /* where the server has it */
};

static void kept_list(const struct pg_site *site, struct kept list[static KEPT_COUNT])
{
    bool is_fit =
        str_format(list[0].name, KEPT_NAME_SIZE, "%s.conf", site->config_base) &&
        str_format(list[1].name, KEPT_NAME_SIZE, "%s.base.conf", site->config_base) &&
        str_copy(list[2].name, KEPT_NAME_SIZE, "pg_hba.conf") &&
        str_copy(list[3].name, KEPT_NAME_SIZE, "pg_ident.conf") &&
        str_copy(list[4].name, KEPT_NAME_SIZE, "postgresql.auto.conf");
    pgh_assert(is_fit);
    for (int i = 0; i < KEPT_COUNT; i++)
        list[i].dir = i == 4 ? site->data_dir : site->config_dir;
}

static enum rc file_copy(const char *from, const char *to, struct err *err)
{
    struct buf text;
    bool is_changed = false;
    buf_init(&text, PG_CONF_FILE_MAX);
    enum rc rc = pg_file_read(from, &text, err);
    if (rc == RC_OK)
        rc = pg_conf_update_file(to, buf_text(&text), text.length, MODE_PRIVATE, &is_changed, err);
    buf_done(&text);
    return rc;
}

static enum rc kept_copy(const struct pg_site *site, bool is_restore, struct err *err)
{
    struct kept list[KEPT_COUNT];
    char save_dir[PG_PATH_SIZE], there[PG_PATH_SIZE], here[PG_PATH_SIZE];
    enum rc rc = pg_site_path(site->state_dir, "conf", save_dir, err);
    if (rc == RC_OK && !is_restore)
        rc = pg_file_make_dir(site->state_dir, 0700, err);
    if (rc == RC_OK && !is_restore)
        rc = pg_file_make_dir(save_dir, 0700, err);
    kept_list(site, list);
    for (int i = 0; i < KEPT_COUNT && rc == RC_OK; i++) {
        if (!str_equal(list[i].dir, site->data_dir))
            continue; /* neither clone nor rewind reach it */
        rc = pg_site_path(list[i].dir, list[i].name, there, err);
        if (rc == RC_OK)
            rc = pg_site_path(save_dir, list[i].name, here, err);
        if (rc != RC_OK)
            return rc;
        rc = is_restore ? file_copy(here, there, err) : file_copy(there, here, err);
        if (rc == RC_NOT_FOUND)
            rc = RC_OK;
    }
    return rc;
}

enum rc pg_conf_save(const struct pg_site *site, struct err *err)
{
    return kept_copy(site, false, err);
}

enum rc pg_conf_restore(const struct pg_site *site, struct err *err)
{
    return kept_copy(site, true, err);
}
