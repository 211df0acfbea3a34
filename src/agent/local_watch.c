/* The local PostgreSQL as struct local, from three witnesses: the supervisor (process), the disk
 * (in a child, because a disk has no deadline) and SQL. One look at a time; what is asked for
 * meanwhile is looked at next.
 *
 *   look: [disk -> [adopt] -> [end of WAL]] -> [SQL] -> tell the core -> completions */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum {
    LOCAL_DISK_MS = 5000,        /* a disk that needs longer for a few small files hangs (DM-03) */
    LOCAL_WAL_END_MS = 60000,    /* after a crash all WAL since the checkpoint is read, beside */
    LOCAL_WAL_CLEAN_MS = 2000,   /* after a clean stop it is one record */
    LOCAL_DISK_EVERY_MS = 2000,  /* while the server runs */
    LOCAL_SOON_MS = 100,         /* pace while something is about to change */
    LOCAL_DOWN_MS = 1000,
    LOCAL_RELOADING_MS = 500,
    LOCAL_WAITERS_MAX = 16,
    LOCAL_CONNINFO_BYTES_MAX = 8192,
    LOCAL_ADOPT_FENCE_MS = 30000 /* until the core has its say about a primary that ran */
};

struct local_waiter {
    loop_call_fn *done;
    void *arg;
};

struct local_waiters {
    int count;
    struct local_waiter items[LOCAL_WAITERS_MAX];
};

struct local_watch {
    struct agent *agent;
    struct local_sql *sql;
    struct local *shown[2]; /* the core keeps a pointer to the one that was published last */
    int shown_idx;
    struct loop_timer *timer;

    bool is_looking, is_with_disk, is_disk_due;
    struct local_waiters present, next;
    bool is_next_wanted;
    enum local_depth next_depth;
    int64_t looked_at_ms;
    int64_t disk_at_ms; /* next look at the disk of a running server */

    /* Process. */
    struct proto_started process; /* pid 0: down */
    enum postmaster_state state;
    bool is_adopted, is_stop_asked, is_by_hand;

    /* Disk. */
    struct pg_inspection *inspection;
    bool has_inspection;
    int64_t inspected_at_ms; /* the disk answered last, or our start */
    struct job *inspecting;
    struct job *wal_end_job;
    uint64_t wal_end_lsn;        /* of the control file whose checkpoint is wal_end_checkpoint */
    uint64_t wal_end_checkpoint;
    uint64_t wal_end_asked;      /* checkpoint that the job under way began with */
    bool is_awaiting_wal_end;    /* the look goes on when the job is done */
    bool has_rewind_program;

    char follows[NAME_SIZE];
};

static void look_begin(struct local_watch *watch, enum local_depth depth);
static void look_sql(struct local_watch *watch);

/* ---- What the others read ---- */

const struct local *
local_watch_now(const struct local_watch *watch)
{
    return watch->shown[watch->shown_idx];
}

const struct pg_status *
local_watch_status(const struct local_watch *watch)
{
    return local_sql_status(watch->sql);
}

const struct pg_inspection *
local_watch_inspection(const struct local_watch *watch)
{
    return watch->inspection;
}

int32_t
local_watch_pid(const struct local_watch *watch)
{
    return watch->process.pid;
}

bool
local_watch_is_sql_failed(const struct local_watch *watch)
{
    struct local_sql_facts facts;

    local_sql_get(watch->sql, &facts);
    return watch->state == POSTMASTER_UP && !facts.is_valid;
}

const json_t *
local_watch_pending(const struct local_watch *watch)
{
    return local_sql_pending(watch->sql);
}

const char *
local_watch_follows(const struct local_watch *watch)
{
    return watch->follows;
}

/* ---- Publishing ---- */

static enum data_dir_state
fill_data_dir(const struct local_watch *watch)
{
    const struct pg_inspection *inspection = watch->inspection;
    bool is_running = watch->process.pid != 0;

    if (!watch->has_inspection)
        return DATA_DIR_UNKNOWN;
    switch (inspection->kind) {
    case PG_DIR_MISSING:
    case PG_DIR_EMPTY:
        if (is_running)
            return DATA_DIR_GONE;
        if (cluster_is_seen(watch->agent->cluster, watch->agent->identity.name) &&
            !watch->agent->is_volume_known)
            return DATA_DIR_WAITING;
        return DATA_DIR_EMPTY;
    case PG_DIR_POSTGRES:
        if (!inspection->has_control)
            return DATA_DIR_GONE;
        return inspection->markers[PG_MARKER_REWIND] ? DATA_DIR_HALF : DATA_DIR_VALID;
    case PG_DIR_PARTIAL:
        return DATA_DIR_EMPTY;
    case PG_DIR_FOREIGN:
        return DATA_DIR_FOREIGN;
    case PG_DIR_UNREADABLE:
    case PG_DIR_KIND_COUNT:
        break;
    }
    return DATA_DIR_GONE;
}

static enum control_state
fill_control_state(enum pg_control_state state)
{
    switch (state) {
    case PG_CONTROL_STATE_SHUT_DOWN:
        return CONTROL_SHUT_DOWN;
    case PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY:
        return CONTROL_SHUT_DOWN_IN_RECOVERY;
    case PG_CONTROL_STATE_SHUTTING_DOWN:
    case PG_CONTROL_STATE_CRASH_RECOVERY:
    case PG_CONTROL_STATE_PRODUCTION:
        return CONTROL_IN_PRODUCTION;
    case PG_CONTROL_STATE_ARCHIVE_RECOVERY:
        return CONTROL_IN_RECOVERY;
    case PG_CONTROL_STATE_STARTUP:
    case PG_CONTROL_STATE_COUNT:
        break;
    }
    return CONTROL_UNKNOWN;
}

static uint64_t
max_lsn(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void
fill_control(const struct local_watch *watch, struct local *local)
{
    const struct pg_inspection *inspection = watch->inspection;
    const struct pg_control_data *control = &inspection->control;

    if (!watch->has_inspection || !inspection->has_control)
        return;
    local->sysid = control->system_identifier;
    local->control_state = fill_control_state(control->state);
    local->control_timeline = control->timeline;
    if (control->min_recovery_timeline > local->control_timeline)
        local->control_timeline = control->min_recovery_timeline;
    local->control_checkpoint_lsn = control->checkpoint_lsn;
    local->control_end_lsn = max_lsn(control->checkpoint_lsn, control->min_recovery_lsn);
    if (watch->wal_end_checkpoint == control->checkpoint_lsn)
        local->control_end_lsn = max_lsn(local->control_end_lsn, watch->wal_end_lsn);
    local->has_standby_signal =
        inspection->has_standby_signal || inspection->has_recovery_signal;
    /* A copy: its control file is the source's, and its first start is a recovery, whatever
     * stands there. */
    if (inspection->has_backup_label)
        local->control_state = CONTROL_IN_RECOVERY;
    local->rewind_possible = watch->has_rewind_program && pg_control_data_can_rewind(control);
}

static void
fill_senders(const struct pg_status *status, struct local *local)
{
    for (int i = 0; i < status->senders_count && i < MEMBERS_MAX; i++) {
        const struct pg_sender *sender = &status->senders[i];
        struct wal_sender *to = &local->wal_senders[local->wal_sender_count++];

        agent_copy(to->application_name, sizeof(to->application_name), sender->application_name);
        to->streaming = str_equal(sender->state, "streaming");
        to->flush_lsn = sender->flush_lsn;
    }
}

static void
fill_slots(const struct pg_status *status, struct local *local)
{
    for (int i = 0; i < status->slots_count && i < SLOTS_MAX; i++) {
        const struct pg_slot *slot = &status->slots[i];
        struct slot *to = &local->slots[local->slot_count++];

        agent_copy(to->name, sizeof(to->name), slot->name);
        to->physical = slot->is_physical;
        to->active = slot->is_active;
        to->has_xmin = slot->has_xmin;
        to->temporary = slot->is_temporary;
        to->lost = str_equal(slot->wal_status, "lost");
        to->restart_lsn = slot->restart_lsn;
    }
}

bool
local_watch_is_following(const struct local_watch *watch, const struct member *member)
{
    const struct pg_status *status = local_sql_status(watch->sql);
    int64_t number = 5432;
    struct buf host, port;
    bool is_same = false;

    if (status == NULL || str_is_empty(status->primary_conninfo))
        return false;
    buf_init(&host, LOCAL_CONNINFO_BYTES_MAX);
    buf_init(&port, LOCAL_CONNINFO_BYTES_MAX);
    if (pg_text_conninfo_get(status->primary_conninfo, "host", &host)) {
        if (pg_text_conninfo_get(status->primary_conninfo, "port", &port))
            (void)str_parse_int64(buf_text(&port), &number);
        is_same = str_equal(member->conn_host, buf_text(&host)) && member->conn_port == number;
    }
    buf_done(&host);
    buf_done(&port);
    return is_same;
}

/* The member whose present address stands in primary_conninfo; without one, the member that we
 * wrote there. */
static void
fill_follows(struct local_watch *watch, const struct pg_status *status, struct local *local)
{
    const struct view *view = agent_view(watch->agent);

    if (str_is_empty(status->primary_conninfo))
        watch->follows[0] = '\0';
    for (int i = 0; view != NULL && i < view->member_count; i++) {
        if (!local_watch_is_following(watch, &view->members[i]))
            continue;
        agent_copy(watch->follows, sizeof(watch->follows), view->members[i].name);
        local->follows_current_address = true;
        return;
    }
}

static void
fill_sql(struct local_watch *watch, struct local *local)
{
    const struct pg_status *status = local_sql_status(watch->sql);
    struct local_sql_facts facts;

    local_sql_get(watch->sql, &facts);
    local->sql_ok_at_ms = facts.session_at_ms;
    if (status == NULL)
        return;
    local->sql_valid = facts.is_valid;
    local->in_recovery = status->is_in_recovery;
    local->timeline = facts.timeline;
    local->flush_lsn = status->flush_lsn;
    local->receive_lsn = status->receive_lsn;
    local->replay_lsn = status->replay_lsn;
    local->server_version = status->server_version;
    local->pending_restart = local_sql_pending(watch->sql) != NULL;
    if (str_equal(status->receiver_status, "streaming"))
        local->replication_state = REPLICATION_STREAMING;
    else if (status->is_in_recovery && !str_is_empty(status->restore_command))
        local->replication_state = REPLICATION_ARCHIVE;
    fill_senders(status, local);
    fill_slots(status, local);
    fill_follows(watch, status, local);
}

bool
local_watch_has_looked(const struct local_watch *watch)
{
    return watch->looked_at_ms != 0;
}

const struct local *
local_watch_publish(struct local_watch *watch)
{
    int spare = 1 - watch->shown_idx;
    struct local *local = watch->shown[spare];

    local_init(local);
    local->data_dir = fill_data_dir(watch);
    local->postmaster = watch->state;
    local->postmaster_id = watch->process.pid == 0 ? 0
                                                   : ((int64_t)watch->process.start_time_ticks
                                                      << 22) |
                                                         (watch->process.pid & 0x3fffff);
    local->adopted = watch->is_adopted;
    local->stop_by_hand = watch->is_by_hand;
    fill_control(watch, local);
    if (watch->process.pid != 0)
        fill_sql(watch, local);
    agent_copy(local->follows, sizeof(local->follows), watch->follows);
    watch->shown_idx = spare;
    return local;
}

/* ---- Process ---- */

void
local_watch_set_started(struct local_watch *watch, const struct proto_started *started)
{
    watch->process = *started;
    watch->is_adopted = started->is_adopted != 0;
    watch->is_stop_asked = watch->is_by_hand = false;
    watch->state = POSTMASTER_STARTING;
    local_sql_forget(watch->sql);
}

void
local_watch_set_up(struct local_watch *watch)
{
    if (watch->process.pid != 0)
        watch->state = POSTMASTER_UP;
}

void
local_watch_set_stopping(struct local_watch *watch)
{
    watch->is_stop_asked = true;
    if (watch->process.pid != 0)
        watch->state = POSTMASTER_STOPPING;
}

void
local_watch_set_standby(struct local_watch *watch, bool is_standby)
{
    watch->inspection->has_standby_signal = is_standby;
}

void
local_watch_set_follows(struct local_watch *watch, const char *name)
{
    agent_copy(watch->follows, sizeof(watch->follows), name);
}

void
local_watch_on_exited(struct local_watch *watch, const struct proto_exited *exited)
{
    bool is_clean = exited->has_status != 0 && WIFEXITED(exited->status) &&
                    WEXITSTATUS(exited->status) == 0;

    if (exited->has_status != 0 && WIFSIGNALED(exited->status))
        log_warning("PostgreSQL was ended by signal %d pid=%d orphans=%u",
                    WTERMSIG(exited->status), exited->pid, exited->orphan_count);
    else
        log_info("PostgreSQL has ended pid=%d status=%d orphans=%u", exited->pid,
                 exited->has_status != 0 ? WEXITSTATUS(exited->status) : -1,
                 exited->orphan_count);
    watch->is_by_hand = is_clean && !watch->is_stop_asked;
    watch->process = (struct proto_started){0};
    watch->state = POSTMASTER_DOWN;
    watch->is_adopted = false;
    watch->wal_end_checkpoint = 0;
    local_sql_forget(watch->sql);
}

/* ---- Looks ---- */

static int64_t
look_pause_ms(const struct local_watch *watch)
{
    const struct view *view = agent_view(watch->agent);
    int64_t loop_wait_ms = agent_policy(watch->agent)->loop_wait_ms;

    if (watch->state == POSTMASTER_STARTING || watch->state == POSTMASTER_STOPPING)
        return LOCAL_SOON_MS;
    if (watch->state == POSTMASTER_DOWN)
        return loop_wait_ms < LOCAL_DOWN_MS ? loop_wait_ms : LOCAL_DOWN_MS;
    if (view != NULL && !view->leader_present && !view->policy.pause)
        return LOCAL_SOON_MS;
    return local_sql_is_reloading(watch->sql) ? LOCAL_RELOADING_MS : loop_wait_ms;
}

static void
look_finish(struct local_watch *watch)
{
    struct local_waiters waiters = watch->present;

    watch->is_looking = false;
    watch->looked_at_ms = clock_boot_ms();
    loop_timer_arm(watch->timer, watch->looked_at_ms + look_pause_ms(watch));
    agent_mark_local(watch->agent);
    watch->present.count = 0;
    for (int i = 0; i < waiters.count; i++)
        if (waiters.items[i].done != NULL)
            waiters.items[i].done(waiters.items[i].arg);
    if (watch->is_next_wanted && !watch->is_looking) {
        watch->is_next_wanted = false;
        watch->present = watch->next;
        watch->next.count = 0;
        look_begin(watch, watch->next_depth);
    }
}

static void
look_on_sql(void *arg)
{
    struct local_watch *watch = arg;
    struct local_sql_facts facts;

    local_sql_get(watch->sql, &facts);
    if (watch->process.pid != 0) {
        if (facts.is_valid || facts.verdict == PG_PROBE_FULL || facts.verdict == PG_PROBE_LOGIN) {
            if (watch->state == POSTMASTER_STARTING)
                watch->state = POSTMASTER_UP;
        } else if (facts.verdict == PG_PROBE_STOPPING) {
            watch->state = POSTMASTER_STOPPING;
        }
    }
    look_finish(watch);
}

static void
look_sql(struct local_watch *watch)
{
    if (watch->process.pid == 0 || watch->state == POSTMASTER_STOPPING) {
        look_finish(watch);
        return;
    }
    local_sql_ask(watch->sql, watch->is_with_disk, look_on_sql, watch);
}

/* ---- End of WAL of a server that is down ---- */

static void
look_on_wal_end(const struct pg_wal_end *end, const struct err *err, void *arg)
{
    struct local_watch *watch = arg;
    bool is_awaited = watch->is_awaiting_wal_end;

    watch->wal_end_job = NULL;
    watch->is_awaiting_wal_end = false;
    if (end != NULL) {
        watch->wal_end_lsn = end->end_lsn;
        watch->wal_end_checkpoint = watch->wal_end_asked;
    } else {
        log_warning("cannot find the end of the local WAL: %s", err->text);
    }
    if (is_awaited)
        look_finish(watch);
    else
        agent_mark_local(watch->agent);
}

/* A former primary has no other witness. (For a standby the control file tells what was
 * replayed; what was only received may be of another branch.) */
static bool
look_is_wal_end_wanted(const struct local_watch *watch)
{
    const struct pg_inspection *inspection = watch->inspection;
    const struct pg_control_data *control = &inspection->control;

    return watch->process.pid == 0 && inspection->kind == PG_DIR_POSTGRES &&
           inspection->has_control && watch->wal_end_job == NULL &&
           watch->wal_end_checkpoint != control->checkpoint_lsn &&
           !inspection->has_backup_label &&
           control->state != PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY &&
           control->state != PG_CONTROL_STATE_ARCHIVE_RECOVERY;
}

/* After a clean stop the end is needed now, and near; after a crash the core starts the server
 * without it. */
static void
look_wal_end(struct local_watch *watch)
{
    const struct pg_inspection *inspection = watch->inspection;
    bool is_clean = inspection->has_control && pg_control_data_is_clean(&inspection->control);
    int64_t wait_ms = is_clean ? LOCAL_WAL_CLEAN_MS : LOCAL_WAL_END_MS;
    struct err err;

    if (!look_is_wal_end_wanted(watch)) {
        look_sql(watch);
        return;
    }
    watch->wal_end_asked = inspection->control.checkpoint_lsn;
    if (pg_wal_end_start(watch->agent->loop, &watch->agent->site, clock_boot_ms() + wait_ms,
                         look_on_wal_end, watch, &watch->wal_end_job, &err) != RC_OK) {
        log_warning("cannot look for the end of the local WAL: %s", err.text);
        look_sql(watch);
        return;
    }
    watch->is_awaiting_wal_end = is_clean;
    if (!is_clean)
        look_finish(watch);
}

/* Nothing can be said about the server, so nothing is said. */
static void
look_later(struct local_watch *watch)
{
    watch->is_looking = false;
    loop_timer_arm(watch->timer, clock_boot_ms() + LOCAL_DOWN_MS);
}

/* ---- A postmaster that nobody of us started ---- */

static void
look_on_adopted(void *arg, const struct proto_message *message, int error)
{
    struct local_watch *watch = arg;

    if (error == 0) {
        local_watch_set_started(watch, &message->body.started);
        watch->is_adopted = true;
        look_sql(watch);
        return;
    }
    log_error("cannot take over the running PostgreSQL pid=%lld: %s",
              (long long)watch->inspection->process.pid, strerror(error));
    look_later(watch); /* neither ours nor gone */
}

static void
look_adopt(struct local_watch *watch)
{
    const struct pg_inspection *inspection = watch->inspection;
    bool is_standby = inspection->has_standby_signal;

    log_info("PostgreSQL is already running pid=%lld: taking it over",
             (long long)inspection->process.pid);
    if (!is_standby && !watch->agent->is_fence_held) {
        supervisor_link_fence(watch->agent->link, FENCE_UNTIL,
                              clock_boot_ms() + LOCAL_ADOPT_FENCE_MS, NULL, NULL);
        watch->agent->is_fence_held = true;
    }
    supervisor_link_adopt(watch->agent->link,
                          is_standby ? PROTO_MODE_STANDBY : PROTO_MODE_PRIMARY,
                          watch->agent->site.data_dir, (int32_t)inspection->process.pid,
                          inspection->process.start_ticks, look_on_adopted, watch);
}

/* ---- Disk ---- */

/* A disk that gives no answer tells nothing. What is known of a running server's directory holds
 * until it has been silent for as long as a server may be (DM-03). */
static bool
look_is_silence_borne(const struct local_watch *watch)
{
    int64_t limit_ms = agent_policy(watch->agent)->primary_start_timeout_ms;

    return watch->process.pid != 0 && clock_boot_ms() - watch->inspected_at_ms < limit_ms;
}

static void
look_on_disk(const struct pg_inspection *inspection, const struct err *err, void *arg)
{
    struct local_watch *watch = arg;

    watch->inspecting = NULL;
    if (inspection == NULL) {
        log_error("the data directory cannot be looked at: %s", err->text);
        if (look_is_silence_borne(watch)) {
            if (watch->has_inspection)
                look_sql(watch);
            else
                look_later(watch);
            return;
        }
        *watch->inspection = (struct pg_inspection){.kind = PG_DIR_UNREADABLE};
    } else {
        watch->inspected_at_ms = clock_boot_ms();
        if (!str_is_empty(inspection->problem) &&
            !str_equal(inspection->problem, watch->inspection->problem))
            log_warning("%s", inspection->problem);
        *watch->inspection = *inspection;
    }
    watch->has_inspection = true;
    if (watch->inspection->kind == PG_DIR_POSTGRES && watch->inspection->has_control)
        volume_remember(watch->agent, watch->inspection->control.system_identifier);
    if (watch->inspection->kind == PG_DIR_POSTGRES && watch->inspection->is_alive &&
        watch->process.pid == 0 && !watch->inspection->pidfile.is_single &&
        ops_running(watch->agent->ops) == OP_NONE) {
        look_adopt(watch);
        return;
    }
    look_wal_end(watch);
}

static void
look_begin(struct local_watch *watch, enum local_depth depth)
{
    int64_t now_ms = clock_boot_ms();
    bool is_due = watch->process.pid == 0 || !watch->has_inspection || now_ms >= watch->disk_at_ms;
    struct err err;

    watch->is_looking = true;
    watch->is_with_disk = depth == LOCAL_LOOK_DISK;
    loop_timer_disarm(watch->timer);
    if (!is_due && depth != LOCAL_LOOK_DISK) {
        look_sql(watch);
        return;
    }
    watch->disk_at_ms = now_ms + LOCAL_DISK_EVERY_MS;
    if (pg_inspect_start(watch->agent->loop, &watch->agent->site, now_ms + LOCAL_DISK_MS,
                         look_on_disk, watch, &watch->inspecting, &err) == RC_OK)
        return;
    log_error("the data directory cannot be looked at: %s", err.text);
    look_sql(watch);
}

static void
look_join(struct local_waiters *waiters, loop_call_fn *done, void *arg)
{
    if (done == NULL)
        return;
    pgh_assert(waiters->count < LOCAL_WAITERS_MAX);
    waiters->items[waiters->count++] = (struct local_waiter){done, arg};
}

void
local_watch_look(struct local_watch *watch, enum local_depth depth, loop_call_fn *done, void *arg)
{
    if (!watch->is_looking) {
        look_join(&watch->present, done, arg);
        look_begin(watch, depth);
        return;
    }
    look_join(&watch->next, done, arg);
    if (!watch->is_next_wanted || depth == LOCAL_LOOK_DISK)
        watch->next_depth = depth;
    watch->is_next_wanted = true;
}

void
local_watch_refresh(struct local_watch *watch, int64_t age_ms, loop_call_fn *done, void *arg)
{
    bool is_crowded = watch->next.count >= LOCAL_WAITERS_MAX / 2;

    if (watch->state != POSTMASTER_UP || is_crowded ||
        clock_boot_ms() - watch->looked_at_ms <= age_ms)
        loop_post(watch->agent->loop, done, arg);
    else
        local_watch_look(watch, LOCAL_LOOK_SQL, done, arg);
}

void
local_watch_hurry(struct local_watch *watch)
{
    local_watch_look(watch, LOCAL_LOOK_SQL, NULL, NULL);
}

static void
look_on_timer(void *arg)
{
    struct local_watch *watch = arg;

    if (!watch->is_looking)
        look_begin(watch, LOCAL_LOOK_SQL);
}

void
local_watch_begin(struct local_watch *watch, const struct proto_welcome *welcome)
{
    if (welcome->postmaster_pid != 0) {
        watch->process = (struct proto_started){
            .pid = welcome->postmaster_pid,
            .is_adopted = welcome->is_adopted,
            .start_time_ticks = welcome->postmaster_start_time_ticks,
            .started_at_ms = welcome->postmaster_started_at_ms};
        watch->is_adopted = welcome->is_adopted != 0;
        watch->state = POSTMASTER_STARTING; /* until a session tells more */
    }
    local_watch_look(watch, LOCAL_LOOK_DISK, NULL, NULL);
}

struct local_watch *
local_watch_new(struct agent *agent)
{
    struct local_watch *watch = mem_new(1, sizeof(*watch));
    char path[PG_PATH_SIZE];
    struct err err;

    watch->agent = agent;
    watch->inspected_at_ms = clock_boot_ms();
    watch->sql = local_sql_new(agent);
    watch->shown[0] = mem_new(1, sizeof(struct local));
    watch->shown[1] = mem_new(1, sizeof(struct local));
    watch->inspection = mem_new(1, sizeof(*watch->inspection));
    watch->timer = loop_timer_new(agent->loop, look_on_timer, watch);
    watch->has_rewind_program =
        pg_site_tool(&agent->site, PG_TOOL_REWIND, path, &err) == RC_OK &&
        (path[0] != '/' || access(path, X_OK) == 0);
    return watch;
}

void
local_watch_free(struct local_watch *watch)
{
    if (watch == NULL)
        return;
    job_free(watch->inspecting);
    job_free(watch->wal_end_job);
    loop_timer_free(watch->timer);
    local_sql_free(watch->sql);
    mem_free(watch->shown[0]);
    mem_free(watch->shown[1]);
    mem_free(watch->inspection);
    mem_free(watch);
}
