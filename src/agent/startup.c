/* From nothing to a running loop, and back. Nothing outside is touched before the configuration
 * is known to be good; the supervisor is greeted next; the name is made sure of before anybody
 * can see us.
 *
 *   configuration -> log -> supervisor's WELCOME -> doors -> [name] -> REST and core */
#include "agent.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum {
    STARTUP_NAME_READ_MS = 3000, /* a silent etcd must not keep us from serving /liveness */
    STARTUP_NAME_ASK_MS = 3000,
    STARTUP_NAME_AGAIN_MS = 1000
};

/* Names the assertion in the log, too, before the process aborts. */
static void
startup_on_assert(const char *text)
{
    log_critical("%s; please report it as a BUG", text);
    (void)log_close();
}

void
startup_report(const struct conf_report *report)
{
    struct buf line;

    for (int i = 0; i < report->count; i++) {
        buf_init(&line, 4096);
        if (conf_message_format(&report->messages[i], &line) == RC_OK)
            log_line(report->messages[i].severity == CONF_ERROR ? LOG_LEVEL_ERROR
                                                                : LOG_LEVEL_WARNING,
                     "%s", buf_text(&line));
        buf_done(&line);
    }
}

/* ---- Configuration ---- */

enum rc
startup_site(const struct conf *conf, struct pg_site *ret, struct err *err)
{
    const struct conf_postgresql *pg = &conf->postgresql;
    const struct {
        char *place;
        size_t size;
        const char *value;
    } texts[] = {
        {ret->config_dir, sizeof(ret->config_dir), pg->config_dir},
        {ret->config_base, sizeof(ret->config_base), pg->config_base_name},
        {ret->bin_dir, sizeof(ret->bin_dir), pg->bin_dir},
        {ret->state_dir, sizeof(ret->state_dir), conf->state_dir},
        {ret->pgpass, sizeof(ret->pgpass), pg->pgpass},
        {ret->tools[PG_TOOL_POSTGRES], PG_TOOL_NAME_SIZE, pg->bin_name.postgres},
        {ret->tools[PG_TOOL_INITDB], PG_TOOL_NAME_SIZE, pg->bin_name.initdb},
        {ret->tools[PG_TOOL_CONTROLDATA], PG_TOOL_NAME_SIZE, pg->bin_name.pg_controldata},
        {ret->tools[PG_TOOL_BASEBACKUP], PG_TOOL_NAME_SIZE, pg->bin_name.pg_basebackup},
        {ret->tools[PG_TOOL_REWIND], PG_TOOL_NAME_SIZE, pg->bin_name.pg_rewind},
    };

    if (pg_site_init(ret, pg->data_dir, err) != RC_OK)
        return err_wrap(err, "postgresql.data_dir");
    for (size_t i = 0; i < PGH_COUNT(texts); i++)
        if (!str_is_empty(texts[i].value) &&
            !str_copy(texts[i].place, texts[i].size, texts[i].value))
            return err_set(err, RC_LIMIT, "path is too long: %s", texts[i].value);
    if (pg->pgpass == NULL &&
        !str_format(ret->pgpass, sizeof(ret->pgpass), "%s/pgpass", ret->state_dir))
        return err_set(err, RC_LIMIT, "pgheir.state_dir is too long: %s", ret->state_dir);
    return RC_OK;
}

static enum rc
startup_conf(struct agent *agent, const char *path)
{
    struct conf_report report;
    struct buf prefix;
    struct err err;
    enum rc rc;

    conf_report_init(&report);
    rc = conf_load(path, (const char *const *)environ, CONF_FOR_AGENT, &agent->conf, &report);
    if (rc == RC_OK && log_open(&agent->conf->log.options) != 0)
        rc = RC_SYSTEM;
    startup_report(&report);
    conf_report_done(&report);
    if (rc == RC_SYSTEM)
        log_critical("log.dir: cannot open the log there: %s", strerror(errno));
    if (rc != RC_OK)
        return rc;
    agent_copy(agent->conf_path, sizeof(agent->conf_path), path != NULL ? path : "");
    agent_copy(agent->scope, sizeof(agent->scope), agent->conf->scope);
    agent_copy(agent->identity.name, sizeof(agent->identity.name), agent->conf->name);
    agent->identity.tags = agent->conf->tags;
    agent->identity.may_bootstrap = agent->conf->bootstrap.present;
    buf_init(&prefix, AGENT_KEY_SIZE - NAME_SIZE - 64);
    rc = conf_etcd_prefix(agent->conf, &prefix);
    if (rc != RC_OK)
        log_critical("namespace and scope together are too long");
    else
        agent_copy(agent->prefix, sizeof(agent->prefix), buf_text(&prefix));
    buf_done(&prefix);
    if (rc == RC_OK && startup_site(agent->conf, &agent->site, &err) != RC_OK) {
        log_critical("%s", err.text);
        rc = err.rc;
    }
    return rc;
}

/* 0700, and on the file system of the data directory: what is set aside must not be copied. */
static enum rc
startup_state_dir(const struct agent *agent, struct err *err)
{
    const char *path = agent->site.state_dir;
    char parent[PG_PATH_SIZE];
    struct stat state, data;
    char *slash;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set(err, RC_SYSTEM,
                       "pgheir.state_dir (beside postgresql.data_dir unless you set it): cannot "
                       "make %s: %s; make the folder above it, for user %u",
                       path, strerror(errno), (unsigned)geteuid());
    if (stat(path, &state) != 0 || !S_ISDIR(state.st_mode))
        return err_set(err, RC_INVALID, "pgheir.state_dir: %s is not a directory", path);
    if (state.st_uid != geteuid())
        return err_set(err, RC_DENIED, "pgheir.state_dir: %s belongs to another user", path);
    if ((state.st_mode & 077) != 0 && chmod(path, 0700) != 0)
        return err_set_errno(err, errno, "pgheir.state_dir: cannot set mode 0700 of %s", path);
    agent_copy(parent, sizeof(parent), agent->site.data_dir);
    slash = strrchr(parent, '/');
    if (slash != NULL && slash != parent && stat(agent->site.data_dir, &data) != 0)
        *slash = '\0';
    if (stat(parent, &data) == 0 && data.st_dev != state.st_dev)
        log_warning("pgheir.state_dir %s is on another file system than %s: mount the volume one "
                    "level above both",
                    path, agent->site.data_dir);
    return RC_OK;
}

/* ---- Doors ---- */

enum rc
startup_configure_etcd(struct agent *agent, struct err *err)
{
    const struct conf_etcd3 *conf = &agent->conf->etcd3;
    struct etcd_options options = {.hosts = conf->hosts,
                                   .host_count = conf->host_count,
                                   .protocol = conf->protocol,
                                   .username = conf->username,
                                   .password = conf->password,
                                   .cacert = conf->cacert,
                                   .cert = conf->cert,
                                   .key = conf->key,
                                   .use_proxies = conf->use_proxies,
                                   .ttl_ms = agent_policy(agent)->ttl_ms};

    if (agent->etcd != NULL)
        return etcd_reconfigure(agent->etcd, &options, err);
    return etcd_new(agent->loop, agent->resolver, agent->http, &options, &agent->etcd, err);
}

static void
startup_on_exited(void *arg, const struct proto_exited *exited)
{
    struct agent *agent = arg;

    local_watch_on_exited(agent->local, exited);
    local_watch_look(agent->local, LOCAL_LOOK_DISK, NULL, NULL);
    ops_on_exited(agent->ops);
}

static void
startup_on_fenced(void *arg, const struct proto_fenced *fenced)
{
    struct agent *agent = arg;

    log_error("the supervisor has ended PostgreSQL because its right to write was over why=%s",
              fenced->why == PROTO_FENCED_PASSED ? "fence passed" : "no fence held");
    agent->is_fence_held = false;
    agent_post(agent, &(struct event){.kind = EVENT_FENCED});
}

static void
startup_on_shutdown(void *arg)
{
    struct agent *agent = arg;

    if (agent->is_shutting_down)
        return;
    agent->is_shutting_down = true;
    log_info("asked to stop");
    notify_send("STOPPING=1");
    rest_link_close(agent->rest_link); /* peers see us as unreachable: behaviour.md section 9 */
    if (agent->is_open)
        agent_post(agent, &(struct event){.kind = EVENT_SHUTDOWN});
    else
        agent_exit(agent, AGENT_EXIT_STOPPED);
}

/* The guard is ending PostgreSQL at this moment. Our lease runs out by itself: nobody but the
 * guard knows when the last backend is gone, and WAL that no replica has may be here
 * (docs/fencing.md). */
static void
startup_on_lost(void *arg, const char *why)
{
    struct agent *agent = arg;

    log_critical("%s: the guard ends PostgreSQL, and we go", why);
    agent_exit(agent, AGENT_EXIT_REFUSED);
}

static void
startup_on_signal(int signo, void *arg)
{
    struct agent *agent = arg;

    if (signo == SIGHUP)
        reload_request(agent->reload);
    else if (signo == SIGUSR2)
        agent_exit(agent, AGENT_EXIT_REPLACE);
    else
        startup_on_shutdown(agent);
}

static void
startup_signals(struct agent *agent)
{
    static const int signals[AGENT_SIGNALS_COUNT] = {SIGHUP, SIGTERM, SIGINT, SIGUSR2};

    for (size_t i = 0; i < PGH_COUNT(signals); i++)
        agent->signals[i] = loop_signal_new(agent->loop, signals[i], startup_on_signal, agent);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* ---- The name is ours alone ---- */

static void name_begin(struct agent *agent);

static void
startup_go(struct agent *agent)
{
    struct err err;

    if (agent->rest == NULL && rest_link_configure(agent->rest_link, &err) != RC_OK) {
        log_critical("%s", err.text);
        agent_exit(agent, AGENT_EXIT_REFUSED);
        return;
    }
    if (!agent->is_open) {
        notify_send("READY=1");
        loop_timer_arm(agent->heartbeat, clock_boot_ms());
        log_info("pgheir %s: I am %s of %s, keys under %s, PostgreSQL in %s", PGHEIR_VERSION,
                 agent->identity.name, agent->scope, agent->prefix, agent->site.data_dir);
    }
    agent_open(agent);
    if (agent->is_shutting_down)
        agent_post(agent, &(struct event){.kind = EVENT_SHUTDOWN});
}

static void
name_is_ours(struct agent *agent)
{
    agent->is_name_known = true;
    startup_go(agent);
    agent_mark_view(agent);
}

static void
name_on_answer(const struct http_result *result, void *arg)
{
    struct agent *agent = arg;

    if (agent->is_exiting || result->fate == HTTP_CANCELLED)
        return;
    if (result->fate == HTTP_ANSWERED) {
        log_critical("Can't start; there is already a node named '%s' running",
                     agent->identity.name);
        agent_exit(agent, AGENT_EXIT_REFUSED);
        return;
    }
    name_is_ours(agent);
}

/* http://host:port/patroni -> http://host:port/liveness */
static void
name_ask(struct agent *agent, const char *api_url)
{
    struct http_tls tls = {.insecure = true};
    struct http_options options = {.method = "GET",
                                   .tls = &tls,
                                   .deadline_ms = clock_boot_ms() + STARTUP_NAME_ASK_MS};
    const char *begin = strstr(api_url, "://");
    size_t length = begin == NULL ? strlen(api_url)
                                  : (size_t)(begin - api_url) + 3 + strcspn(begin + 3, "/");
    char url[URL_SIZE + 16];

    if (!str_format(url, sizeof(url), "%.*s/liveness", (int)length, api_url)) {
        name_is_ours(agent);
        return;
    }
    options.url = url;
    (void)http_request_begin(agent->http, &options, name_on_answer, agent);
}

static void
name_on_timer(void *arg)
{
    name_begin(arg);
}

static void
name_on_range(const struct etcd_result *result, void *arg)
{
    struct agent *agent = arg;
    const struct view_entry *entry;
    struct buf own;
    bool is_our_door;

    if (agent->is_exiting || result->outcome == ETCD_CANCELLED)
        return;
    if (result->outcome == ETCD_AUTH_FAILED) {
        log_critical("etcd refuses us: %s", result->err->text);
        agent_exit(agent, AGENT_EXIT_REFUSED);
        return;
    }
    if (result->outcome != ETCD_OK) {
        log_line(agent->is_open ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
                 "etcd does not answer yet: %s", result->err->text); /* said once */
        startup_go(agent); /* the view stays closed until the name is known to be free */
        loop_timer_arm(agent->name_timer, clock_boot_ms() + STARTUP_NAME_AGAIN_MS);
        return;
    }
    cluster_take_range(agent->cluster, result->answer);
    entry = view_map_find_member(cluster_map(agent->cluster), agent->identity.name);
    if (entry == NULL || json_string_value(json_object_get(entry->json, "api_url")) == NULL) {
        name_is_ours(agent);
        return;
    }
    buf_init(&own, URL_SIZE);
    (void)conf_api_url(agent->conf, &own);
    is_our_door = agent->rest != NULL &&
                  str_equal(json_string_value(json_object_get(entry->json, "api_url")),
                            buf_text(&own));
    buf_done(&own);
    if (is_our_door)
        name_is_ours(agent); /* it would be us who answers: nobody else could bind that address */
    else
        name_ask(agent, json_string_value(json_object_get(entry->json, "api_url")));
}

static void
name_begin(struct agent *agent)
{
    (void)etcd_range(agent->etcd, agent->prefix, true, ETCD_READ_LINEARIZABLE,
                     clock_boot_ms() + STARTUP_NAME_READ_MS, name_on_range, agent);
}

/* ---- WELCOME ---- */

static const struct core_saved *
startup_saved(struct agent *agent, const struct proto_welcome *welcome, struct agent_saved *saved)
{
    if (welcome->state.length != sizeof(*saved))
        return NULL;
    memcpy(saved, welcome->state.bytes, sizeof(*saved));
    saved->follows[NAME_SIZE - 1] = '\0';
    local_watch_set_follows(agent->local, saved->follows);
    return &saved->core;
}

static void
startup_on_welcome(void *arg, const struct proto_message *message, int error)
{
    struct agent *agent = arg;
    const struct proto_welcome *welcome;
    struct agent_saved saved;
    uint64_t seed = 0;

    if (error != 0) {
        log_critical("the supervisor does not take us: %s",
                     error == EPROTO ? "it is of another version; restart pgheir"
                                     : strerror(error));
        agent_exit(agent, AGENT_EXIT_REFUSED);
        return;
    }
    welcome = &message->body.welcome;
    agent->restart_count = welcome->restart_count;
    agent->has_predecessor = welcome->previous != PROTO_PREVIOUS_NONE;
    agent->is_orphan_free = agent->has_predecessor;
    agent->is_fence_held = welcome->fence.kind != FENCE_NONE;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = (uint64_t)clock_wall_ms();
    (void)str_format(agent->instance, sizeof(agent->instance), "%016llx",
                     (unsigned long long)seed);
    core_init(agent->core, &agent->identity, seed, startup_saved(agent, welcome, &saved),
              clock_boot_ms());
    if (welcome->previous == PROTO_PREVIOUS_CRASHED)
        log_warning("the agent before us crashed status=%d crashes=%u", welcome->previous_status,
                    welcome->crash_count);
    local_watch_begin(agent->local, welcome);
    if (welcome->is_shutting_down)
        agent->is_shutting_down = true;
    /* The agent before us made sure of the name; asking again would ask its own ghost. */
    agent->is_name_known = agent->has_predecessor;
    if (agent->has_predecessor)
        startup_go(agent);
    else
        name_begin(agent);
    if (agent->has_predecessor)
        cluster_begin(agent->cluster);
}

/* ---- All of it ---- */

static enum rc
startup_doors(struct agent *agent, struct err *err)
{
    const struct supervisor_handlers handlers = {.on_exited = startup_on_exited,
                                                 .on_fenced = startup_on_fenced,
                                                 .on_shutdown = startup_on_shutdown,
                                                 .on_lost = startup_on_lost,
                                                 .arg = agent};

    if (supervisor_link_new(agent->loop, &handlers, &agent->link, err) != RC_OK ||
        startup_state_dir(agent, err) != RC_OK ||
        resolver_new(agent->loop, NULL, &agent->resolver, err) != RC_OK ||
        http_new(agent->loop, agent->resolver, &agent->http, err) != RC_OK ||
        startup_configure_etcd(agent, err) != RC_OK)
        return err->rc;
    agent->is_volume_known = volume_is_known(&agent->site);
    agent->cluster = cluster_new(agent);
    pg_plan_merge(agent, "replica");
    agent->calls = etcd_calls_new(agent);
    agent->local = local_watch_new(agent);
    agent->ops = ops_new(agent);
    agent->peers = peers_new(agent);
    agent->history = history_reader_new(agent);
    agent->slots = slots_new(agent);
    agent->callbacks = callbacks_new(agent);
    agent->roles = roles_new(agent);
    agent->reload = reload_new(agent);
    agent->rest_link = rest_link_new(agent);
    agent->timer = loop_timer_new(agent->loop, agent_on_timer, agent);
    agent->name_timer = loop_timer_new(agent->loop, name_on_timer, agent);
    agent->heartbeat = loop_timer_new(agent->loop, notes_on_heartbeat, agent);
    return RC_OK;
}

static void
startup_memory(struct agent *agent)
{
    const struct passwd *user = getpwuid(geteuid());
    const char *arena = getenv("PG_MALLOC_ARENA_MAX");

    agent->core = mem_new(1, sizeof(*agent->core));
    agent->actions = mem_new(1, sizeof(*agent->actions));
    agent->views[0] = mem_new(1, sizeof(struct view));
    agent->views[1] = mem_new(1, sizeof(struct view));
    view_init(agent->views[0]);
    agent->started_at_ms = clock_boot_ms();
    if (user == NULL || !str_copy(agent->os_user, sizeof(agent->os_user), user->pw_name))
        agent_copy(agent->os_user, sizeof(agent->os_user), "postgres");
    if (!str_is_empty(arena) &&
        str_format(agent->pg_arena, sizeof(agent->pg_arena), "MALLOC_ARENA_MAX=%s", arena))
        agent->pg_env[0] = agent->pg_arena;
}

enum rc
startup_begin(struct agent *agent, const char *conf_path, int *ret_code)
{
    struct err err;
    enum rc rc;

    *ret_code = AGENT_EXIT_REFUSED;
    pgh_assert_set_hook(startup_on_assert);
    rc = startup_conf(agent, conf_path);
    if (rc != RC_OK)
        return rc;
    pg_conn_clean_environment();
    startup_memory(agent);
    rc = loop_new(&agent->loop, &err);
    if (rc == RC_OK)
        rc = startup_doors(agent, &err);
    if (rc != RC_OK) {
        log_critical("%s", err.text);
        return rc;
    }
    startup_signals(agent);
    supervisor_link_hello(agent->link, startup_on_welcome, agent);
    return RC_OK;
}

void
startup_end(struct agent *agent)
{
    agent->is_exiting = true;
    if (agent->link != NULL)
        supervisor_link_flush(agent->link, 200);
    rest_link_free(agent->rest_link);
    reload_free(agent->reload);
    callbacks_free(agent->callbacks);
    roles_free(agent->roles);
    slots_free(agent->slots);
    history_reader_free(agent->history);
    peers_free(agent->peers);
    ops_free(agent->ops);
    local_watch_free(agent->local);
    job_free(agent->volume_job);
    etcd_calls_free(agent->calls);
    cluster_free(agent->cluster);
    loop_timer_free(agent->timer);
    loop_timer_free(agent->name_timer);
    loop_timer_free(agent->heartbeat);
    etcd_free(agent->etcd);
    http_free(agent->http);
    resolver_free(agent->resolver);
    supervisor_link_free(agent->link);
    for (int i = 0; i < AGENT_SIGNALS_COUNT; i++)
        loop_signal_free(agent->signals[i]);
    loop_free(agent->loop);
    if (agent->pg_is_merged)
        conf_postgresql_done(&agent->pg);
    conf_free(agent->conf);
    mem_free(agent->core);
    mem_free(agent->actions);
    mem_free(agent->views[0]);
    mem_free(agent->views[1]);
}
