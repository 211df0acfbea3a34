#include "pg_conf_private.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <stdlib.h>
#include <string.h>

/* Contract: config.md, section 6, table 1. wal_keep_size stands in the file only. */
static const char *const command_line[] = {
    "listen_addresses", "port", "cluster_name", "wal_level", "hot_standby", "max_connections",
    "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction",
    "track_commit_timestamp", "max_replication_slots", "max_worker_processes", "wal_log_hints",
};

static const char *const recovery_names[] = {
    "archive_cleanup_command", "primary_conninfo", "primary_slot_name", "promote_trigger_file",
    "recovery_end_command", "recovery_min_apply_delay", "recovery_target", "recovery_target_action",
    "recovery_target_inclusive", "recovery_target_lsn", "recovery_target_name",
    "recovery_target_time", "recovery_target_timeline", "recovery_target_xid", "restore_command",
};

/* A follower has no target: it follows the newest timeline for ever. And it follows nobody but
 * whom it is told to: the original file may name a server of former days. */
static const struct pg_text_pair follower_defaults[] = {
    {"primary_conninfo", ""},
    {"recovery_target", ""},      {"recovery_target_lsn", ""},
    {"recovery_target_name", ""}, {"recovery_target_time", ""},
    {"recovery_target_timeline", "latest"}, {"recovery_target_xid", ""},
};

static bool name_is_in(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal_nocase(name, names[i]))
            return true;
    return false;
}

bool pg_conf_is_command_line(const char *setting)
{
    return name_is_in(setting, command_line, PGH_COUNT(command_line));
}

bool pg_conf_is_recovery(const char *setting)
{
    return name_is_in(setting, recovery_names, PGH_COUNT(recovery_names));
}

/* ---- postgresql.conf ---- */

struct line {
    const char *name, *value;
    size_t order; /* as given: of two with one name the later counts, as in PostgreSQL */
};

static int line_compare(const void *a, const void *b)
{
    const struct line *left = a, *right = b;
    int names = strcasecmp(left->name, right->name);
    return names != 0 ? names : left->order < right->order ? -1 : 1;
}

static size_t lines_sort(struct line *lines, size_t count)
{
    size_t used = 0;
    if (count > 0)
        qsort(lines, count, sizeof *lines, line_compare);
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || strcasecmp(lines[i].name, lines[i + 1].name) != 0)
            lines[used++] = lines[i];
    return used;
}

static enum rc lines_add(struct buf *out, struct line *lines, size_t count, struct err *err)
{
    count = lines_sort(lines, count);
    for (size_t i = 0; i < count; i++) {
        enum rc rc = pg_text_conf_line(out, lines[i].name, lines[i].value, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* PostgreSQL looks for pg_hba.conf and pg_ident.conf in the data directory unless told. */
static enum rc file_setting_add(const struct pg_conf_plan *plan, const char *setting,
                                const char *name, const char *const *file_lines, struct buf *out,
                                struct err *err)
{
    char path[PG_PATH_SIZE];
    if (file_lines == NULL || str_equal(plan->site->config_dir, plan->site->data_dir))
        return RC_OK;
    for (size_t i = 0; i < plan->settings_count; i++)
        if (str_equal_nocase(plan->settings[i].name, setting) && plan->settings[i].value != NULL)
            return RC_OK;
    enum rc rc = pg_site_path(plan->site->config_dir, name, path, err);
    return rc != RC_OK ? rc : pg_text_conf_line(out, setting, path, err);
}

/* What the command line says stands here, too: a file that says less, or something else
 * (initdb's original has max_connections), makes PostgreSQL complain at every reload, and one
 * that says more than the running server has makes it tell by itself that a restart is pending. */
static enum rc settings_add(const struct pg_conf_plan *plan, struct buf *out, struct err *err)
{
    struct line *lines = mem_new(plan->settings_count + 1, sizeof *lines);
    size_t count = 0;
    for (size_t i = 0; i < plan->settings_count; i++) {
        const struct pg_text_pair *pair = &plan->settings[i];
        if (pair->value != NULL && !pg_conf_is_recovery(pair->name))
            lines[count++] = (struct line){pair->name, pair->value, i};
    }
    enum rc rc = lines_add(out, lines, count, err);
    mem_free(lines);
    return rc;
}

/* The targets are empty in a primary, too: PostgreSQL refuses to see them vanish before its next
 * start. */
static enum rc recovery_add(const struct pg_conf_plan *plan, struct buf *out, struct err *err)
{
    size_t count = 0, order = 0;
    struct line *lines =
        mem_new(plan->recovery_count + PGH_COUNT(follower_defaults) + 1, sizeof *lines);
    for (size_t i = 0; i < PGH_COUNT(follower_defaults); i++)
        lines[count++] =
            (struct line){follower_defaults[i].name, follower_defaults[i].value, order++};
    for (size_t i = 0; i < plan->recovery_count; i++) {
        const struct pg_text_pair *pair = &plan->recovery[i];
        if (pair->value != NULL)
            lines[count++] = (struct line){pair->name, pair->value, order++};
    }
    enum rc rc = buf_puts(out, "\n# recovery\n");
    if (rc == RC_OK)
        rc = lines_add(out, lines, count, err);
    mem_free(lines);
    return rc;
}

enum rc pg_conf_build_main(const struct pg_conf_plan *plan, struct buf *out, struct err *err)
{
    char base[PG_TOOL_NAME_SIZE + 16];
    bool is_fit = str_format(base, sizeof base, "%s.base.conf", plan->site->config_base);
    pgh_assert(is_fit);
    const char *include = plan->custom_conf != NULL ? plan->custom_conf : base;
    enum rc rc = buf_puts(out, PG_CONF_BANNER "include ");
    if (rc == RC_OK)
        rc = pg_text_conf_value(out, include);
    if (rc == RC_OK)
        rc = buf_puts(out, "\n\n");
    if (rc != RC_OK)
        return err_set(err, rc, "postgresql.conf: longer than %zu bytes", out->ceiling);
    rc = file_setting_add(plan, "hba_file", "pg_hba.conf", plan->hba_lines, out, err);
    if (rc == RC_OK)
        rc = file_setting_add(plan, "ident_file", "pg_ident.conf", plan->ident_lines, out, err);
    if (rc == RC_OK)
        rc = settings_add(plan, out, err);
    return rc != RC_OK ? rc : recovery_add(plan, out, err);
}

enum rc pg_conf_build_lines(const char *file, const char *const *lines, size_t count,
                            struct buf *out, struct err *err)
{
    enum rc rc = buf_puts(out, PG_CONF_BANNER);
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        if (strpbrk(lines[i], "\r\n") != NULL)
            return err_set(err, RC_INVALID, "%s, line %zu: a line break inside a line: write two"
                           " list entries", file, i + 1);
        rc = buf_printf(out, "%s\n", lines[i]);
    }
    return rc == RC_OK ? RC_OK : err_set(err, rc, "%s: longer than %zu bytes", file, out->ceiling);
}

bool pg_conf_filter_auto(const char *text, struct buf *out)
{
    bool is_changed = false;
    struct buf line, value;
    char name[128];
    buf_init(&line, PG_CONF_FILE_MAX);
    buf_init(&value, PG_CONF_FILE_MAX);
    buf_clear(out);
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        buf_clear(&line);
        bool is_read = buf_append(&line, text, length) == RC_OK;
        if (is_read && pg_text_conf_line_parse(buf_text(&line), name, sizeof name, &value) &&
            pg_conf_is_recovery(name)) {
            is_changed = true;
        } else {
            (void)buf_append(out, text, length); /* an overflow shows in out */
            if (text[length] == '\n')
                (void)buf_puts(out, "\n");
        }
        text += text[length] == '\n' ? length + 1 : length;
    }
    buf_done(&value);
    buf_done(&line);
    return is_changed;
}

/* ---- primary_conninfo ---- */

static bool pair_is_given(const struct pg_text_pair *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(pairs[i].name, name) && pairs[i].value != NULL)
            return true;
    return false;
}

enum rc pg_conf_build_conninfo(const struct pg_upstream *upstream, struct buf *out, struct err *err)
{
    static const struct pg_text_pair defaults[] = {
        {"sslmode", "prefer"}, {"gssencmode", "prefer"}, {"channel_binding", "prefer"},
    };
    const struct pg_text_pair words[] = {
        {"user", upstream->user},
        {"passfile", upstream->passfile},
        {"host", upstream->host},
        {"port", upstream->port != NULL ? upstream->port : "5432"},
        {"dbname", upstream->database},
        {"application_name", upstream->application_name},
        {"target_session_attrs", upstream->target_session_attrs},
    };
    enum rc rc = pg_text_conninfo_add_all(out, words, PGH_COUNT(words), err);
    for (size_t i = 0; i < PGH_COUNT(defaults) && rc == RC_OK; i++)
        if (!pair_is_given(upstream->options, upstream->options_count, defaults[i].name))
            rc = pg_text_conninfo_add(out, defaults[i].name, defaults[i].value, err);
    return rc != RC_OK ? rc : pg_text_conninfo_add_all(out, upstream->options,
                                                       upstream->options_count, err);
}

/* ---- the postmaster ---- */

static void argv_add(struct pg_argv *argv, const char *text)
{
    pgh_assert(argv->argc < PG_ARGV_MAX);
    argv->argv[argv->argc++] = mem_strdup(text);
}

static enum rc option_add(struct pg_argv *argv, const char *name, const char *value,
                          struct err *err)
{
    struct buf text;
    buf_init(&text, 8192);
    enum rc rc = buf_printf(&text, "--%s=%s", name, value);
    if (rc == RC_OK)
        argv_add(argv, buf_text(&text));
    buf_done(&text);
    return rc == RC_OK ? RC_OK : err_set(err, rc, "setting %s is too long", name);
}

enum rc pg_conf_build_argv(const struct pg_site *site, const struct pg_text_pair *settings,
                           size_t count, struct pg_argv *ret, struct err *err)
{
    struct pg_argv out = {0};
    char postgres[PG_PATH_SIZE], config[PG_PATH_SIZE];
    enum rc rc = pg_site_tool(site, PG_TOOL_POSTGRES, postgres, err);
    if (rc != RC_OK)
        return rc;
    if (!str_format(config, sizeof config, "%s/%s.conf", site->config_dir, site->config_base))
        return err_set(err, RC_LIMIT, "configuration directory %.100s...: path too long",
                       site->config_dir);
    argv_add(&out, postgres);
    argv_add(&out, "-D");
    argv_add(&out, site->data_dir);
    rc = option_add(&out, "config_file", config, err);
    for (size_t i = 0; i < PGH_COUNT(command_line) && rc == RC_OK; i++) {
        const char *value = NULL;
        for (size_t j = 0; j < count; j++)
            if (str_equal_nocase(settings[j].name, command_line[i]) && settings[j].value != NULL)
                value = settings[j].value;
        if (value != NULL)
            rc = option_add(&out, command_line[i], value, err);
    }
    if (rc != RC_OK) {
        pg_argv_done(&out);
        return rc;
    }
    *ret = out;
    return RC_OK;
}

void pg_argv_done(struct pg_argv *argv)
{
    for (int i = 0; i < argv->argc; i++)
        mem_free(argv->argv[i]);
    memset(argv, 0, sizeof *argv);
}

/* Ours, the orchestrator's, and what libpq inside the WAL receiver would take for its own. */
const char *const *pg_conf_env_unset(void)
{
    static const char *const names[] = {
        "PATRONI_*", "PATRONICTL_*", "PGHEIR_*", "KUBERNETES_*", "NOTIFY_SOCKET", "WATCHDOG_*",
        "LISTEN_*", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD",
        "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGAPPNAME",
        "PGTARGETSESSIONATTRS", NULL,
    };
    return names;
}
