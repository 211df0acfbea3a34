/* From the configuration in force to what PostgreSQL's files, command line, programs and
 * sessions need. */
#include "agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/pg_text.h"
#include "pgheir/codec/policy_json.h"

enum {
    FILES_PAIRS_MAX = 1024, /* more settings than PostgreSQL has */
    FILES_PASS_MAX = 4,
    FILES_ADDED_MAX = 64,
    FILES_CONNINFO_BYTES_MAX = 16 * 1024,
    NUMBER_SIZE = 24,
    LIMITS_COUNT = 5
};

/* What the pointers of a plan point to. */
struct files_storage {
    struct pg_text_pair settings[FILES_PAIRS_MAX];
    struct pg_text_pair recovery[FILES_PAIRS_MAX];
    struct pg_passline pass_lines[FILES_PASS_MAX];
    struct buf conninfo;
    char slot[PG_SLOT_NAME_SIZE];
    char *added[FILES_ADDED_MAX]; /* owned */
    int added_count;
};

/* ---- Merge ---- */

static void
plan_report(struct conf_report *report)
{
    struct buf line;

    for (int i = 0; i < report->count; i++) {
        buf_init(&line, 2048);
        if (conf_message_format(&report->messages[i], &line) == RC_OK)
            log_warning("%s", buf_text(&line));
        buf_done(&line);
    }
    conf_report_done(report);
}

void
pg_plan_merge(struct agent *agent, const char *role)
{
    struct conf_postgresql merged;
    struct conf_report report;
    bool is_quiet = agent->pg_is_merged && agent->pg_merged_revision == agent->pg_wanted_revision;

    conf_report_init(&report);
    conf_postgresql_merge(agent->conf, cluster_config(agent->cluster), role, &merged, &report);
    if (is_quiet)
        conf_report_done(&report); /* said already, for this very configuration */
    else
        plan_report(&report);
    if (agent->pg_is_merged)
        conf_postgresql_done(&agent->pg);
    agent->pg = merged;
    agent->pg_is_merged = true;
    agent->pg_merged_revision = agent->pg_wanted_revision;
}

const char *
pg_plan_superuser(const struct agent *agent)
{
    return agent->pg.superuser.username != NULL ? agent->pg.superuser.username : agent->os_user;
}

static const char *
plan_user(const struct agent *agent, const struct conf_role *role)
{
    return role->username != NULL ? role->username : pg_plan_superuser(agent);
}

const struct conf_role *
pg_plan_rewind_role(const struct agent *agent)
{
    return agent->pg.rewind.username != NULL ? &agent->pg.rewind : &agent->pg.superuser;
}

/* ---- Sessions ---- */

/* First absolute directory of a comma list. */
static bool
plan_socket_dir(const char *list, char *out, size_t size)
{
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ",");

        while (length > 0 && (*list == ' ' || *list == '\''))
            list++, length--;
        if (*list == '/' && length < size) {
            memcpy(out, list, length);
            while (length > 0 && (out[length - 1] == ' ' || out[length - 1] == '\''))
                length--;
            out[length] = '\0';
            return true;
        }
        list += length;
        list += *list == ',' ? 1 : 0;
    }
    return false;
}

/* What PostgreSQL uses when nothing is configured: Debian's directory where it exists, else
 * /tmp. */
static bool
plan_local_socket(const struct agent *agent, char *out, size_t size)
{
    const char *dirs = conf_postgresql_setting(&agent->pg, "unix_socket_directories");

    if (plan_socket_dir(dirs, out, size))
        return true;
    return str_copy(out, size,
                    access("/var/run/postgresql", X_OK) == 0 ? "/var/run/postgresql" : "/tmp");
}

/* The listen address by which we reach our own server without leaving the machine. */
static bool
plan_local_host(struct agent *agent, char *out, size_t size)
{
    const char *list = agent->pg.listen_addresses;
    char addresses[RESOLVER_ADDRESSES_MAX][RESOLVER_ADDRESS_SIZE];
    char host[HOST_SIZE];
    size_t length = list != NULL ? strcspn(list, ",") : 0;
    int count = 0;

    if (length == 0 || length >= sizeof(host) || strncmp(list, "*", 1) == 0 ||
        strncmp(list, "0.0.0.0", length) == 0)
        return str_copy(out, size, "127.0.0.1");
    if (strncmp(list, "::", length) == 0)
        return str_copy(out, size, "::1");
    memcpy(host, list, length);
    host[length] = '\0';
    if (resolver_is_numeric(host))
        return str_copy(out, size, host);
    return resolver_peek(agent->resolver, host, addresses, RESOLVER_ADDRESSES_MAX, &count) &&
           count > 0 && str_copy(out, size, addresses[0]);
}

static bool
plan_local_address(struct agent *agent, bool is_socket, char *out, size_t size)
{
    return is_socket ? plan_local_socket(agent, out, size) : plan_local_host(agent, out, size);
}

bool
pg_plan_local_target(struct agent *agent, const char *private_dir, struct pg_plan_target *ret)
{
    const struct conf_role *role = &agent->pg.superuser;

    *ret = (struct pg_plan_target){0};
    if (private_dir != NULL ? !str_copy(ret->address, sizeof(ret->address), private_dir)
                            : !plan_local_address(agent, agent->pg.use_unix_socket, ret->address,
                                                  sizeof(ret->address)))
        return false;
    ret->target = (struct pg_conn_target){.address = ret->address,
                                          .port = agent->pg.port,
                                          .database = agent->pg.database,
                                          .user = pg_plan_superuser(agent),
                                          .password = role->password,
                                          .options = role->options,
                                          .options_count = role->options_count,
                                          .application_name = "Patroni heartbeat"};
    return true;
}

bool
pg_plan_local_replication_target(struct agent *agent, struct pg_plan_target *ret)
{
    const struct conf_role *role = &agent->pg.replication;

    if (!pg_plan_local_target(agent, NULL, ret) ||
        !plan_local_address(agent, agent->pg.use_unix_socket_repl, ret->address,
                            sizeof(ret->address)))
        return false;
    if (role->username != NULL)
        ret->target.user = role->username;
    ret->target.password = role->password;
    ret->target.options = role->options;
    ret->target.options_count = role->options_count;
    return true;
}

void
pg_plan_remote_target(struct agent *agent, const struct member *member, const char *address,
                      const struct conf_role *role, struct pg_conn_target *ret)
{
    *ret = (struct pg_conn_target){.address = address,
                                   .host = member->conn_host,
                                   .port = member->conn_port,
                                   .database = agent->pg.database,
                                   .user = plan_user(agent, role),
                                   .password = role->password,
                                   .options = role->options,
                                   .options_count = role->options_count,
                                   .application_name = "pgheir"};
}

void
pg_plan_source(struct agent *agent, const struct member *member, const char *address,
               const struct conf_role *role, struct pg_source *ret)
{
    *ret = (struct pg_source){.host = member->conn_host,
                              .address = address,
                              .port = member->conn_port,
                              .user = plan_user(agent, role),
                              .password = role->password,
                              .database = agent->pg.database,
                              .options = role->options,
                              .options_count = role->options_count,
                              .krbsrvname = agent->pg.krbsrvname};
}

/* ---- Files ---- */

static bool
plan_is_for_followers(const char *name)
{
    return strncmp(name, "recovery_target", strlen("recovery_target")) != 0 &&
           !str_equal(name, "primary_conninfo") && !str_equal(name, "primary_slot_name") &&
           !str_equal(name, "standby_mode");
}

static size_t
plan_fill_recovery(struct agent *agent, const struct member *upstream, const char *conninfo,
                   struct files_storage *storage, struct err *err)
{
    bool is_following = upstream != NULL || !str_is_empty(conninfo);
    size_t count = 0;

    for (size_t i = 0; i < agent->pg.recovery_count && count < FILES_PAIRS_MAX - 4; i++)
        if (plan_is_for_followers(agent->pg.recovery[i].name))
            storage->recovery[count++] = agent->pg.recovery[i];
    if (upstream != NULL) {
        char port[NUMBER_SIZE];
        struct pg_upstream to = {.host = upstream->conn_host,
                                 .port = port,
                                 .user = plan_user(agent, &agent->pg.replication),
                                 .application_name = agent->identity.name,
                                 .passfile = agent->site.pgpass,
                                 .options = agent->pg.replication.options,
                                 .options_count = agent->pg.replication.options_count};

        (void)str_format(port, sizeof(port), "%d", upstream->conn_port);
        if (pg_conf_build_conninfo(&to, &storage->conninfo, err) != RC_OK)
            return SIZE_MAX;
        conninfo = buf_text(&storage->conninfo);
    }
    if (is_following)
        storage->recovery[count++] = (struct pg_text_pair){"primary_conninfo", conninfo};
    if (is_following && agent->pg.use_slots)
        storage->recovery[count++] = (struct pg_text_pair){
            "primary_slot_name", pg_text_slot_name(agent->identity.name, storage->slot)};
    return count;
}

static bool
plan_has_restore_command(const struct agent *agent)
{
    for (size_t i = 0; i < agent->pg.recovery_count; i++)
        if (str_equal(agent->pg.recovery[i].name, "restore_command") &&
            !str_is_empty(agent->pg.recovery[i].value))
            return true;
    return false;
}

static size_t
plan_fill_settings(struct agent *agent, struct files_storage *storage)
{
    size_t count = 0;

    for (size_t i = 0; i < agent->pg.settings_count && count < FILES_PAIRS_MAX - 1; i++)
        storage->settings[count++] = agent->pg.settings[i];
    /* At the default of 5 s one promotion in ten waits 5 s. With a restore_command each try
     * would run it. */
    if (conf_postgresql_setting(&agent->pg, "wal_retrieve_retry_interval") == NULL &&
        !plan_has_restore_command(agent))
        storage->settings[count++] = (struct pg_text_pair){"wal_retrieve_retry_interval", "100ms"};
    return count;
}

static size_t
plan_fill_pass(struct agent *agent, struct files_storage *storage)
{
    const struct conf_role *roles[] = {&agent->pg.replication, &agent->pg.rewind,
                                       &agent->pg.superuser};
    size_t count = 0;

    for (size_t i = 0; i < PGH_COUNT(roles); i++)
        if (!str_is_empty(roles[i]->password))
            storage->pass_lines[count++] = (struct pg_passline){
                .user = plan_user(agent, roles[i]), .password = roles[i]->password};
    return count;
}

enum rc
pg_plan_files_build(struct agent *agent, bool is_standby, const struct member *upstream,
                    const char *conninfo, struct pg_plan_files *ret, struct err *err)
{
    struct files_storage *storage = mem_new(1, sizeof(*storage));
    size_t recovery_count;

    buf_init(&storage->conninfo, FILES_CONNINFO_BYTES_MAX);
    recovery_count = plan_fill_recovery(agent, is_standby ? upstream : NULL,
                                        is_standby ? conninfo : NULL, storage, err);
    if (recovery_count == SIZE_MAX) {
        buf_done(&storage->conninfo);
        mem_free(storage);
        return err->rc;
    }
    ret->storage = storage;
    ret->plan = (struct pg_conf_plan){.site = &agent->site,
                                      .custom_conf = agent->pg.custom_conf,
                                      .settings = storage->settings,
                                      .settings_count = plan_fill_settings(agent, storage),
                                      .hba_lines = agent->pg.pg_hba,
                                      .hba_count = agent->pg.pg_hba_count,
                                      .ident_lines = agent->pg.pg_ident,
                                      .ident_count = agent->pg.pg_ident_count,
                                      .is_standby = is_standby,
                                      .recovery = storage->recovery,
                                      .recovery_count = recovery_count,
                                      .pass_lines = storage->pass_lines,
                                      .pass_count = plan_fill_pass(agent, storage)};
    return RC_OK;
}

void
pg_plan_files_add(struct pg_plan_files *files, const json_t *recovery)
{
    struct files_storage *storage = files->storage;
    bool has_action = false;
    size_t *count = &files->plan.recovery_count;
    struct buf text;
    void *at;

    buf_init(&text, FILES_CONNINFO_BYTES_MAX);
    for (at = json_object_iter((json_t *)(uintptr_t)recovery);
         at != NULL && *count < FILES_PAIRS_MAX - 1 && storage->added_count < FILES_ADDED_MAX;
         at = json_object_iter_next((json_t *)(uintptr_t)recovery, at)) {
        buf_clear(&text);
        if (!policy_json_text(json_object_iter_value(at), &text))
            continue;
        has_action = has_action || str_equal(json_object_iter_key(at), "recovery_target_action");
        storage->added[storage->added_count] = mem_strdup(buf_text(&text));
        storage->recovery[(*count)++] = (struct pg_text_pair){
            json_object_iter_key(at), storage->added[storage->added_count++]};
    }
    if (!has_action)
        storage->recovery[(*count)++] =
            (struct pg_text_pair){"recovery_target_action", "promote"};
    buf_done(&text);
}

void
pg_plan_files_done(struct pg_plan_files *files)
{
    struct files_storage *storage = files->storage;

    for (int i = 0; i < storage->added_count; i++)
        mem_free(storage->added[i]);
    buf_done(&storage->conninfo);
    mem_free(storage);
    *files = (struct pg_plan_files){0};
}

/* ---- Command line ---- */

/* A standby does not start with lower limits than the primary's WAL was written under (PG-10). */
static void
plan_raise_limits(const struct agent *agent, struct pg_text_pair *settings, size_t count,
                  char numbers[LIMITS_COUNT][NUMBER_SIZE])
{
    const struct pg_inspection *inspection = local_watch_inspection(agent->local);
    const struct pg_control_data *control = &inspection->control;
    const struct {
        const char *name;
        int value;
    } limits[LIMITS_COUNT] = {{"max_connections", control->max_connections},
                              {"max_prepared_transactions", control->max_prepared_xacts},
                              {"max_locks_per_transaction", control->max_locks_per_xact},
                              {"max_worker_processes", control->max_worker_processes},
                              {"max_wal_senders", control->max_wal_senders}};

    if (!inspection->has_control)
        return;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < LIMITS_COUNT; j++) {
            int64_t value;

            if (!str_equal(settings[i].name, limits[j].name) ||
                !str_parse_int64(settings[i].value, &value) || value >= limits[j].value)
                continue;
            log_info("%s is %s in the configuration but %d in pg_control: using the larger value",
                     limits[j].name, settings[i].value, limits[j].value);
            (void)str_format(numbers[j], NUMBER_SIZE, "%d", limits[j].value);
            settings[i].value = numbers[j];
        }
    }
}

static enum rc
plan_add_argument(struct pg_argv *argv, const char *name, const char *value, struct err *err)
{
    struct buf text;

    if (argv->argc >= PG_ARGV_MAX)
        return err_set(err, RC_LIMIT, "too many arguments for postgres");
    buf_init(&text, PG_PATH_SIZE + 64);
    if (buf_printf(&text, "--%s=%s", name, value) != RC_OK) {
        buf_done(&text);
        return err_set(err, RC_LIMIT, "argument %s of postgres is too long", name);
    }
    argv->argv[argv->argc++] = mem_strdup(buf_text(&text));
    argv->argv[argv->argc] = NULL;
    buf_done(&text);
    return RC_OK;
}

enum rc
pg_plan_argv(struct agent *agent, bool is_standby, const char *private_dir, struct pg_argv *ret,
             struct err *err)
{
    size_t count = agent->pg.settings_count;
    struct pg_text_pair *settings = mem_new(count + 1, sizeof(*settings));
    char numbers[LIMITS_COUNT][NUMBER_SIZE];
    char hba[PG_PATH_SIZE];
    enum rc rc;

    memcpy(settings, agent->pg.settings, count * sizeof(*settings));
    for (size_t i = 0; private_dir != NULL && i < count; i++)
        if (str_equal(settings[i].name, "listen_addresses"))
            settings[i].value = "";
    if (is_standby)
        plan_raise_limits(agent, settings, count, numbers);
    rc = pg_conf_build_argv(&agent->site, settings, count, ret, err);
    mem_free(settings);
    if (rc != RC_OK || private_dir == NULL)
        return rc;
    rc = pg_site_path(private_dir, "pg_hba.conf", hba, err);
    if (rc == RC_OK)
        rc = plan_add_argument(ret, "unix_socket_directories", private_dir, err);
    if (rc == RC_OK)
        rc = plan_add_argument(ret, "hba_file", hba, err);
    if (rc != RC_OK)
        pg_argv_done(ret);
    return rc;
}
