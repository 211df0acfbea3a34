/* What stands in the keys that we write. */
#include "agent.h"

#include <string.h>
#include <sys/stat.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/pg_text.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/view_json.h"

enum { URL_BYTES_MAX = 1024 };

/* LSNs are published while the server is there and no other operation than a promotion changes
 * it. */
static bool
text_has_positions(const struct core_status *status, const struct local *local)
{
    if (!local->sql_valid)
        return false;
    if (status->op != OP_NONE && status->op != OP_PROMOTE && status->op != OP_CHECKPOINT &&
        status->op != OP_FOLLOW)
        return false;
    return status->pg_state == PG_STATE_RUNNING || status->pg_state == PG_STATE_STARTING ||
           status->pg_state == PG_STATE_RESTARTING;
}

static void
text_fill_positions(struct member_facts *facts, const struct local *local)
{
    facts->is_primary = !local->in_recovery;
    facts->lsn = local_position_lsn(local);
    facts->timeline = local_timeline(local);
    if (!local->in_recovery)
        return;
    facts->receive_lsn = local->receive_lsn;
    facts->replay_lsn = local->replay_lsn;
    facts->replication_state = local->replication_state;
}

enum rc
etcd_text_member(struct agent *agent, struct buf *out)
{
    const struct local *local = local_watch_now(agent->local);
    struct buf conn_url, api_url, proxy_url;
    struct member_facts facts;
    struct core_status status;
    enum rc rc;

    agent_describe(agent, &status);
    buf_init(&conn_url, URL_BYTES_MAX);
    buf_init(&api_url, URL_BYTES_MAX);
    buf_init(&proxy_url, URL_BYTES_MAX);
    (void)conf_conn_url(&agent->pg, &conn_url);
    (void)conf_api_url(agent->conf, &api_url);
    (void)conf_proxy_url(&agent->pg, &proxy_url);
    facts = (struct member_facts){.conn_url = buf_text(&conn_url),
                                  .api_url = buf_text(&api_url),
                                  .proxy_url = buf_text(&proxy_url),
                                  .state = status.pg_state,
                                  .role = status.pg_role,
                                  .checkpoint_pending = status.checkpoint_pending,
                                  .tags = agent->conf->tags_json,
                                  .pending_restart = local->pending_restart,
                                  .pending_restart_reason = local_watch_pending(agent->local),
                                  .scheduled_restart =
                                      rest_link_scheduled_restart(agent->rest_link),
                                  .pause = status.paused,
                                  .instance = agent->instance,
                                  .fencing = local->adopted ? "adopted" : NULL};
    if (text_has_positions(&status, local))
        text_fill_positions(&facts, local);
    rc = view_json_put_member(out, &facts);
    buf_done(&conn_url);
    buf_done(&api_url);
    buf_done(&proxy_url);
    return rc;
}

/* Slots of this server and its own name with the present position: dcs.md 5.5. */
static json_t *
text_slots(struct agent *agent, const struct pg_status *pg, uint64_t lsn)
{
    char own[PG_SLOT_NAME_SIZE];
    json_t *slots = json_object();

    for (int i = 0; i < pg->slots_count; i++) {
        const struct pg_slot *slot = &pg->slots[i];
        uint64_t slot_lsn = slot->is_physical ? slot->restart_lsn : slot->confirmed_flush_lsn;

        if (!slot->is_temporary && slot_lsn != 0)
            (void)json_object_set_new(slots, slot->name, json_integer((json_int_t)slot_lsn));
    }
    (void)json_object_set_new(slots, pg_text_slot_name(agent->identity.name, own),
                              json_integer((json_int_t)lsn));
    return slots;
}

enum rc
etcd_text_status(struct agent *agent, uint64_t lsn, bool is_release, struct buf *out)
{
    const struct view_entry *entry = view_map_find(cluster_map(agent->cluster), "status");
    const struct pg_status *pg = local_watch_status(agent->local);
    json_t *slots = NULL;
    json_t *retain = NULL;
    enum rc rc;

    if (!is_release && pg != NULL && agent->pg.use_slots) {
        slots = text_slots(agent, pg, lsn);
        retain = slots_retained(agent->slots);
    }
    rc = view_json_put_status(out, lsn, slots, retain, entry != NULL ? entry->json : NULL);
    json_decref(slots);
    json_decref(retain);
    return rc;
}

int64_t
etcd_text_history_time(const struct pg_site *site, uint32_t timeline)
{
    char name[PG_HISTORY_FILE_SIZE];
    char path[PG_PATH_SIZE];
    struct stat info;

    if (!str_format(path, sizeof(path), "%s/pg_wal/%s", site->data_dir,
                    pg_history_file_name(timeline, name)) ||
        stat(path, &info) != 0)
        return 0;
    return (int64_t)info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000;
}

enum rc
etcd_text_history(struct agent *agent, const struct pg_history *history, int64_t switched_wall_ms,
                  struct buf *out)
{
    const struct view_entry *entry = view_map_find(cluster_map(agent->cluster), "history");
    size_t count = (size_t)history->count;
    struct history_fact *facts = mem_new(count + 1, sizeof(*facts));
    char time[CLOCK_ISO_SIZE];
    int64_t keep = 0;
    enum rc rc;

    for (size_t i = 0; i < count; i++)
        facts[i] = (struct history_fact){.timeline = history->rows[i].timeline,
                                         .switch_lsn = history->rows[i].switch_lsn,
                                         .reason = history->rows[i].reason};
    if (count > 0) {
        facts[count - 1].leader = agent->identity.name;
        if (switched_wall_ms != 0)
            facts[count - 1].time = clock_iso_format(switched_wall_ms, time);
    }
    (void)policy_json_int(json_object_get(cluster_config(agent->cluster), "max_timelines_history"),
                          &keep);
    rc = view_json_put_history(out, facts, count, entry != NULL ? entry->json : NULL, keep);
    mem_free(facts);
    return rc;
}

enum rc
etcd_text_config(struct agent *agent, struct buf *out)
{
    const json_t *config = cluster_config(agent->cluster);

    return config != NULL ? view_json_put(out, config) : buf_puts(out, "{}");
}
