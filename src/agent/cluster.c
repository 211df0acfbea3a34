/* The keys of the cluster as last heard: a list, then a watch that is resumed where it broke,
 * and a new list where it cannot be. The core's own linearizable reads feed the same map and
 * show whether the watch lives. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/view_json.h"

enum {
    CLUSTER_CACHE_BYTES_MAX = POLICY_JSON_BYTES_MAX,
    CLUSTER_RETRY_MS_FIRST = 100,
    CLUSTER_RETRY_MS_MAX = 2000,
    CLUSTER_STALE_MAX = 3,
    CLUSTER_LIST_MS = 5000, /* etcd that needs longer for one small range is of no use */
    CLUSTER_WRITE_MS = 10000
};

struct cluster {
    struct agent *agent;
    struct view_map *map;
    bool has_list;
    struct etcd_watch *watch;
    int64_t resume_revision;
    uint64_t cluster_id;
    int64_t revision;  /* newest that the map knows of */
    int stale_count;   /* answers in a row that were older */
    struct etcd_request *listing;
    struct loop_timer *retry;
    int64_t retry_ms;
    int64_t seen_wall_ms;
    json_t *known_config;       /* last usable value of config, or the cache of it */
    int64_t known_revision;
    struct job *saving;
    bool is_save_due;
};

static void cluster_open_watch(struct cluster *cluster);

/* ---- The cached configuration: what a leader restores if the key has vanished ---- */

static void
cluster_cache_path(const struct cluster *cluster, char path[static PG_PATH_SIZE])
{
    (void)str_format(path, PG_PATH_SIZE, "%s/dynamic.json", cluster->agent->site.state_dir);
}

/* At start only: the state directory was made a moment ago, so the disk answers. */
static json_t *
cluster_read_cache(const struct cluster *cluster)
{
    char path[PG_PATH_SIZE];
    json_t *config;

    cluster_cache_path(cluster, path);
    config = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (config != NULL && !json_is_object(config)) {
        json_decref(config);
        config = NULL;
    }
    return config;
}

struct cluster_save {
    char path[PG_PATH_SIZE];
    struct buf text;
};

static enum rc
cluster_save_work(void *arg, struct buf *answer, struct err *err)
{
    const struct cluster_save *save = arg;

    (void)answer;
    return pg_conf_write_file(save->path, buf_text(&save->text), save->text.length, 0600, err);
}

static void cluster_save_config(struct cluster *cluster);

static void
cluster_saved(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct cluster *cluster = arg;

    (void)answer;
    (void)length;
    cluster->saving = NULL;
    if (rc != RC_OK && rc != RC_CANCELLED)
        log_warning("cannot keep a copy of the dynamic configuration: %s", err->text);
    if (cluster->is_save_due)
        cluster_save_config(cluster);
}

static void
cluster_save_config(struct cluster *cluster)
{
    struct cluster_save save;
    struct err err;

    cluster->is_save_due = cluster->saving != NULL;
    if (cluster->saving != NULL || cluster->known_config == NULL)
        return;
    cluster_cache_path(cluster, save.path);
    buf_init(&save.text, CLUSTER_CACHE_BYTES_MAX);
    if (view_json_put(&save.text, cluster->known_config) == RC_OK) {
        struct job_spec spec = {.name = "save dynamic configuration",
                                .work = cluster_save_work,
                                .work_arg = &save,
                                .deadline_ms = clock_boot_ms() + CLUSTER_WRITE_MS,
                                .on_done = cluster_saved,
                                .arg = cluster};

        if (job_start(cluster->agent->loop, &spec, &cluster->saving, &err) != RC_OK)
            log_warning("cannot keep a copy of the dynamic configuration: %s", err.text);
    }
    buf_done(&save.text);
}

const json_t *
cluster_config(const struct cluster *cluster)
{
    const json_t *config = view_map_config(cluster->map);

    if (config != NULL)
        return config;
    if (cluster->known_config != NULL)
        return cluster->known_config;
    return cluster->agent->conf->bootstrap.dcs;
}

/* ---- Views ---- */

static void
cluster_report(struct conf_report *report)
{
    for (int i = 0; i < report->count; i++) {
        struct buf line;

        buf_init(&line, 2048);
        if (conf_message_format(&report->messages[i], &line) == RC_OK)
            log_warning("%s", buf_text(&line));
        buf_done(&line);
    }
    conf_report_done(report);
}

static void
cluster_remember_config(struct cluster *cluster)
{
    const struct view_entry *entry = view_map_find(cluster->map, "config");
    const json_t *config = view_map_config(cluster->map);

    if (config == NULL || entry == NULL || entry->mod_revision == cluster->known_revision)
        return;
    cluster->known_revision = entry->mod_revision;
    if (cluster->known_config != NULL && policy_json_equal(cluster->known_config, config))
        return;
    json_decref(cluster->known_config);
    cluster->known_config = json_deep_copy(config);
    cluster_save_config(cluster);
}

void
cluster_build_view(struct cluster *cluster, struct view *ret)
{
    struct conf_report report;

    cluster_remember_config(cluster);
    conf_report_init(&report);
    view_map_build(cluster->map, ret, &report);
    cluster_report(&report);
    conf_postgresql_override_policy(&cluster->agent->pg, &ret->policy);
    http_set_ttl(cluster->agent->http, ret->policy.ttl_ms);
}

bool
cluster_is_seen(const struct cluster *cluster, const char *name)
{
    return cluster->has_list && view_map_was_seen(cluster->map, name);
}

int64_t
cluster_seen_wall_ms(const struct cluster *cluster)
{
    return cluster->seen_wall_ms;
}

void
cluster_note_answer(struct cluster *cluster)
{
    cluster->seen_wall_ms = clock_wall_ms();
}

const struct view_map *
cluster_map(const struct cluster *cluster)
{
    return cluster->map;
}

/* ---- List and watch ---- */

/* The watch may have told of something newer than a read that was under way at that moment: such
 * an answer must not turn the map back. An etcd that was restored from a snapshot stays behind,
 * though. */
static bool
cluster_is_stale(struct cluster *cluster, const struct etcd_header *header)
{
    if (header->cluster_id != cluster->cluster_id || header->revision >= cluster->revision) {
        cluster->stale_count = 0;
        return false;
    }
    return ++cluster->stale_count < CLUSTER_STALE_MAX;
}

void
cluster_take_range(struct cluster *cluster, const struct etcd_answer *answer)
{
    const char *own_name = cluster->agent->identity.name;
    bool was_seen = cluster_is_seen(cluster, own_name);
    struct conf_report report;
    int64_t newest = 0;

    cluster_note_answer(cluster);
    if (cluster_is_stale(cluster, &answer->header))
        return;
    if (answer->header.revision < cluster->revision) {
        log_warning("etcd went back from revision %lld to %lld: reading everything anew",
                    (long long)cluster->revision, (long long)answer->header.revision);
        cluster->resume_revision = 0;
        if (cluster->watch != NULL)
            etcd_watch_cancel(cluster->watch);
    }
    cluster->cluster_id = answer->header.cluster_id;
    cluster->revision = answer->header.revision;
    conf_report_init(&report);
    view_map_reset(cluster->map, &answer->header, answer->kvs, answer->kv_count, &report);
    cluster_report(&report);
    for (size_t i = 0; i < answer->kv_count; i++)
        if (answer->kvs[i].mod_revision > newest)
            newest = answer->kvs[i].mod_revision;
    if (!cluster->has_list || cluster->watch == NULL) {
        cluster->has_list = true;
        if (cluster->resume_revision == 0)
            cluster->resume_revision = answer->header.revision + 1;
        if (cluster->watch == NULL && loop_timer_at_ms(cluster->retry) == 0)
            cluster_open_watch(cluster);
    } else if (newest > 0) {
        etcd_watch_expect(cluster->watch, newest,
                          clock_boot_ms() + agent_policy(cluster->agent)->loop_wait_ms);
    }
    cluster->retry_ms = CLUSTER_RETRY_MS_FIRST;
    /* Whether an empty directory may be filled hangs on it, and is told with the local picture:
     * before this view, not after it. */
    if (cluster_is_seen(cluster, own_name) != was_seen)
        agent_mark_local(cluster->agent);
}

static void
cluster_on_events(const struct etcd_answer *answer, void *arg)
{
    struct cluster *cluster = arg;
    struct conf_report report;
    bool is_changed = false;

    conf_report_init(&report);
    for (size_t i = 0; i < answer->event_count; i++)
        is_changed = view_map_apply(cluster->map, &answer->events[i], &report) || is_changed;
    cluster_report(&report);
    view_map_set_header(cluster->map, &answer->header);
    if (answer->header.revision > cluster->revision)
        cluster->revision = answer->header.revision;
    cluster_note_answer(cluster);
    cluster->retry_ms = CLUSTER_RETRY_MS_FIRST;
    if (is_changed)
        agent_mark_view(cluster->agent);
}

static void
cluster_retry_later(struct cluster *cluster)
{
    loop_timer_arm(cluster->retry, clock_boot_ms() + cluster->retry_ms);
    cluster->retry_ms *= 2;
    if (cluster->retry_ms > CLUSTER_RETRY_MS_MAX)
        cluster->retry_ms = CLUSTER_RETRY_MS_MAX;
}

static void
cluster_on_lost(const struct etcd_loss *loss, void *arg)
{
    struct cluster *cluster = arg;

    cluster->watch = NULL;
    if (loss->why == ETCD_LOST_CANCELLED)
        return;
    log_debug("watch lost why=%d resume_revision=%lld: %s", (int)loss->why,
              (long long)loss->resume_revision, loss->err != NULL ? loss->err->text : "");
    cluster->resume_revision = loss->why == ETCD_LOST_COMPACTED ? 0 : loss->resume_revision;
    cluster_retry_later(cluster);
}

static void
cluster_open_watch(struct cluster *cluster)
{
    struct etcd_watch_options options = {.prefix = cluster->agent->prefix,
                                         .start_revision = cluster->resume_revision};

    cluster->watch = etcd_watch_begin(cluster->agent->etcd, &options, cluster_on_events,
                                      cluster_on_lost, cluster);
}

static void
cluster_on_list(const struct etcd_result *result, void *arg)
{
    struct cluster *cluster = arg;

    cluster->listing = NULL;
    if (result->outcome == ETCD_CANCELLED)
        return;
    if (result->outcome != ETCD_OK) {
        log_debug("cannot list the cluster's keys: %s", result->err->text);
        cluster_retry_later(cluster);
        return;
    }
    cluster_take_range(cluster, result->answer);
    agent_mark_view(cluster->agent);
}

/* After a loss: the same watch goes on from where it broke; without such a place, list anew. */
static void
cluster_on_retry(void *arg)
{
    struct cluster *cluster = arg;

    if (cluster->watch != NULL || cluster->listing != NULL)
        return;
    if (cluster->has_list && cluster->resume_revision > 0)
        cluster_open_watch(cluster);
    else
        cluster->listing = etcd_range(cluster->agent->etcd, cluster->agent->prefix, true,
                                      ETCD_READ_LINEARIZABLE, clock_boot_ms() + CLUSTER_LIST_MS,
                                      cluster_on_list, cluster);
}

void
cluster_begin(struct cluster *cluster)
{
    cluster_on_retry(cluster);
}

struct cluster *
cluster_new(struct agent *agent)
{
    struct cluster *cluster = mem_new(1, sizeof(*cluster));

    cluster->agent = agent;
    cluster->map = view_map_new(agent->prefix, agent->identity.name);
    cluster->retry = loop_timer_new(agent->loop, cluster_on_retry, cluster);
    cluster->retry_ms = CLUSTER_RETRY_MS_FIRST;
    cluster->known_config = cluster_read_cache(cluster);
    return cluster;
}

void
cluster_free(struct cluster *cluster)
{
    if (cluster == NULL)
        return;
    if (cluster->watch != NULL)
        etcd_watch_cancel(cluster->watch);
    if (cluster->listing != NULL)
        etcd_request_cancel(cluster->listing);
    job_free(cluster->saving);
    loop_timer_free(cluster->retry);
    view_map_free(cluster->map);
    json_decref(cluster->known_config);
    mem_free(cluster);
}
