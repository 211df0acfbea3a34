/* <state_dir>/member: this member held data on this volume. An empty data directory under the
 * name of a member that is known to have held data is filled only if this file is there, that
 * is, if its volume is (PG-07). */
#include "agent.h"

#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum { VOLUME_WRITE_MS = 10000 };

static const char *const volume_file = "member";

bool
volume_is_known(const struct pg_site *site)
{
    char path[PG_PATH_SIZE];
    struct err err;

    return pg_site_path(site->state_dir, volume_file, path, &err) == RC_OK &&
           access(path, F_OK) == 0;
}

struct volume_note {
    struct pg_site site;
    uint64_t sysid;
    const char *name;
};

static enum rc
volume_work(void *arg, struct buf *answer, struct err *err)
{
    const struct volume_note *note = arg;
    char path[PG_PATH_SIZE];
    struct buf text;
    enum rc rc = pg_site_path(note->site.state_dir, volume_file, path, err);

    (void)answer;
    if (rc != RC_OK)
        return rc;
    buf_init(&text, 512);
    (void)buf_printf(&text, "member %s held data of cluster %llu here\n", note->name,
                     (unsigned long long)note->sysid);
    rc = pg_conf_write_file(path, buf_text(&text), text.length, 0600, err);
    buf_done(&text);
    return rc;
}

static void
volume_on_written(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct agent *agent = arg;

    (void)answer;
    (void)length;
    agent->volume_job = NULL;
    agent->is_volume_known = rc == RC_OK;
    if (rc != RC_OK && rc != RC_CANCELLED)
        log_warning("cannot remember that data was here: %s", err->text);
}

void
volume_remember(struct agent *agent, uint64_t sysid)
{
    struct volume_note note = {
        .site = agent->site, .sysid = sysid, .name = agent->identity.name};
    struct job_spec spec = {.name = "remember volume",
                            .work = volume_work,
                            .work_arg = &note,
                            .deadline_ms = clock_boot_ms() + VOLUME_WRITE_MS,
                            .on_done = volume_on_written,
                            .arg = agent};
    struct err err;

    if (agent->is_volume_known || agent->volume_job != NULL)
        return;
    if (job_start(agent->loop, &spec, &agent->volume_job, &err) != RC_OK)
        log_warning("cannot remember that data was here: %s", err.text);
}
