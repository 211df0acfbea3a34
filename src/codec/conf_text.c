/* What is made of the configuration for people: a masked copy, the changes of a reload, the
 * documentation. */
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/str.h"

/* ---- Secrets ---- */

/* Also in keys that the table does not know. */
static bool is_secret_key(const char *path, const char *key)
{
    static const char *const words[] = {"password", "secret", "passphrase", "token"};
    const struct conf_option *option = conf_option_find(path);

    if (option != NULL)
        return option->is_secret;
    for (size_t i = 0; i < PGH_COUNT(words); i++)
        if (strcasestr(key, words[i]) != NULL)
            return true;
    return false;
}

static void mask(json_t *tree, const char *path, int depth)
{
    const char *key;
    json_t *value;

    if (depth > CONF_DEPTH_MAX)
        return;
    json_object_foreach(tree, key, value) {
        char below[CONF_PATH_SIZE];

        if (!str_format(below, sizeof(below), "%s%s%s", path, path[0] == '\0' ? "" : ".", key))
            below[0] = '\0';
        if (is_secret_key(below, key) && !json_is_object(value))
            (void)json_object_set_new(tree, key, json_string("***"));
        else
            mask(value, below, depth + 1);
    }
}

json_t *conf_tree_masked(const struct conf *conf)
{
    json_t *copy = json_deep_copy(conf->tree);

    pgh_assert(copy != NULL);
    mask(copy, "", 0);
    return copy;
}

/* ---- Reload ---- */

static bool is_same(const struct conf *old, const struct conf *new, const char *path)
{
    const json_t *before = conf_tree_get(old->tree, path);
    const json_t *after = conf_tree_get(new->tree, path);

    return before == NULL || after == NULL ? before == after : json_equal(before, after);
}

static void add_refused(struct conf_changes *ret, const char *path)
{
    size_t length = strlen(ret->refused);

    /* A list that is too long is cut at a comma: the first ones tell enough. */
    if (length + strlen(path) + 3 > sizeof(ret->refused))
        return;
    (void)str_format(ret->refused + length, sizeof(ret->refused) - length, "%s%s",
                     length == 0 ? "" : ", ", path);
}

void conf_compare(const struct conf *old, const struct conf *new, struct conf_changes *ret)
{
    static const char *const tls[] = {"restapi.certfile", "restapi.keyfile",
                                      "restapi.keyfile_password", "restapi.cafile",
                                      "restapi.ciphers", "restapi.verify_client"};
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);

    *ret = (struct conf_changes){0};
    ret->any = !json_equal(old->tree, new->tree);
    ret->listen = !is_same(old, new, "restapi.listen");
    for (size_t i = 0; i < PGH_COUNT(tls); i++)
        ret->tls = ret->tls || !is_same(old, new, tls[i]);
    ret->etcd = !is_same(old, new, "etcd3");
    ret->log = !is_same(old, new, "log");
    ret->postgresql = !is_same(old, new, "postgresql");
    ret->identity = !is_same(old, new, "tags") || !is_same(old, new, "bootstrap");
    for (size_t i = 0; i < count; i++)
        if (options[i].reload == CONF_RESTART && options[i].effect == CONF_LIVE &&
            !is_same(old, new, options[i].path))
            add_refused(ret, options[i].path);
}

/* ---- Documentation ---- */

static const char *scope_word(const struct conf_option *option)
{
    switch (option->scope) {
    case CONF_LOCAL:
        return "file";
    case CONF_DYNAMIC:
        return "etcd";
    case CONF_BOTH:
        return "etcd, file";
    }
    return "";
}

static const char *reload_word(const struct conf_option *option)
{
    if (option->effect == CONF_INERT)
        return "no effect";
    if (option->effect == CONF_UNAVAILABLE)
        return "refused";
    switch (option->reload) {
    case CONF_RELOAD:
        return "reload";
    case CONF_RESTART:
        return "new agent";
    case CONF_BOOTSTRAP:
        return "bootstrap";
    }
    return "";
}

static void describe_default(const struct conf_option *option, struct buf *out)
{
    const char *text = option->default_text;

    if (option->is_required)
        (void)buf_puts(out, "**required**");
    else if (text == NULL)
        (void)buf_puts(out, "none");
    else if (text[0] == '(')
        (void)buf_append(out, text + 1, strlen(text) - 2);
    else
        (void)buf_printf(out, "`%s`", text);
}

static void describe_row(const struct conf_option *option, struct buf *out)
{
    (void)buf_printf(out, "| `%s` | ", option->path);
    conf_option_expects(option, out);
    (void)buf_puts(out, " | ");
    describe_default(option, out);
    (void)buf_printf(out, " | %s | %s | ", scope_word(option), reload_word(option));
    if (option->env != NULL)
        (void)buf_printf(out, "`PATRONI_%s` | ", option->env);
    else
        (void)buf_puts(out, "| ");
    (void)buf_printf(out, "%s |\n", option->sentence);
}

/* Top-level word of a path; one-word options of one scope belong together. */
static void section_of(const struct conf_option *option, char out[static CONF_PATH_SIZE])
{
    size_t length = strcspn(option->path, ".");
    static const char *const sections[] = {"log",  "restapi",   "ctl",        "etcd3", "watchdog",
                                           "tags", "bootstrap", "postgresql", "pgheir"};

    memcpy(out, option->path, length);
    out[length] = '\0';
    for (size_t i = 0; i < PGH_COUNT(sections); i++)
        if (str_equal(out, sections[i]))
            return;
    (void)str_format(out, CONF_PATH_SIZE, "%s",
                     option->scope == CONF_DYNAMIC ? "The dynamic configuration" : "The node");
}

static const char intro[] =
    "# Configuration\n"
    "\n"
    "This file is generated from the option table in `src/codec/conf_table.c`: do not\n"
    "edit it; `make update-docs` writes it anew, `make check` compares it.\n"
    "\n"
    "pgheir reads Patroni's `patroni.yml`: one file, or a directory of `*.yml` and\n"
    "`*.yaml` merged in order of their names (objects merge, `null` deletes). Environment\n"
    "variables win over files, `PGHEIR_X` over `PATRONI_X`; `PATRONI_X_FILE` names a file\n"
    "that holds the value of `PATRONI_X`, for secrets. Without a file,\n"
    "`PATRONI_CONFIGURATION` may hold the whole YAML text, and then no other variable\n"
    "counts.\n"
    "\n"
    "The dynamic configuration is the key `config` in etcd: one for the whole cluster,\n"
    "written by `bootstrap.dcs` when the cluster is made, later by `pgheirctl\n"
    "edit-config` or `PATCH /config`. Of the section `postgresql`, what the local file\n"
    "says wins, key by key; `parameters` merge setting by setting.\n"
    "\n"
    "A known key of wrong type or range is an error that names file, line and key; an\n"
    "unknown key is kept and reported. `pgheir --validate-config FILE` shows all messages\n"
    "at once. What already stands in etcd and cannot be used is ignored, key by key, with\n"
    "a warning.\n"
    "\n"
    "Columns: *where* says whether a key counts in the local file, in etcd, or in both.\n"
    "*change* says what a new value needs: a reload (SIGHUP, `POST /reload`, or just the\n"
    "change in etcd), a new agent (SIGUSR2 to pgheir; PostgreSQL runs on), or\n"
    "that it counts only while a cluster is made. *no effect*: accepted so that files\n"
    "made for Patroni stay valid. *refused*: not available in this version, and not safe\n"
    "to ignore.\n"
    "\n"
    "Numbers may be written decimal, hexadecimal (`0x`) or octal (leading `0`), with a\n"
    "unit where they count time (`us ms s min h d`) or bytes (`B kB MB GB TB`). Switches:\n"
    "`on true yes 1`, `off false no 0`.\n"
    "\n"
    "Some settings of PostgreSQL must agree on all members. They count only in etcd,\n"
    "under `postgresql.parameters`, and are given to the postmaster on its command line\n"
    "(`wal_keep_size` in the file):\n"
    "\n"
    "| setting | default | accepted |\n"
    "|---|---|---|\n"
    "| `listen_addresses`, `port` | from `postgresql.listen` | never from parameters |\n"
    "| `cluster_name` | `scope` | never from parameters |\n"
    "| `wal_level` | `replica` | `replica`, `hot_standby` (the same), `logical` |\n"
    "| `hot_standby` | `on` | `on` |\n"
    "| `max_connections` | 100 | at least 25 |\n"
    "| `max_wal_senders` | 10 | at least 3 |\n"
    "| `max_prepared_transactions` | 0 | at least 0 |\n"
    "| `max_locks_per_transaction` | 64 | at least 32 |\n"
    "| `max_replication_slots` | 10 | at least 4 |\n"
    "| `max_worker_processes` | 8 | at least 2 |\n"
    "| `track_commit_timestamp` | `off` | a switch |\n"
    "| `wal_log_hints` | `on` | a switch |\n"
    "| `wal_keep_size` | `128MB` | at least 16 MB; `wal_keep_segments` counts 16 MB each |\n"
    "\n"
    "Settings of recovery in `postgresql.parameters` move to `recovery_conf`; whom a\n"
    "member follows and how far (`primary_conninfo`, `primary_slot_name`,\n"
    "`recovery_target*`) is the cluster's decision, and such keys are ignored with a\n"
    "warning.\n";

enum rc conf_describe(struct buf *out)
{
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);
    char section[CONF_PATH_SIZE] = "";

    (void)buf_puts(out, intro);
    for (size_t i = 0; i < count; i++) {
        char of_row[CONF_PATH_SIZE];

        section_of(&options[i], of_row);
        if (!str_equal(of_row, section)) {
            (void)buf_printf(out,
                             "\n## %s\n\n"
                             "| key | expected | default | where | change | variable | what for |\n"
                             "|---|---|---|---|---|---|---|\n",
                             of_row);
            memcpy(section, of_row, sizeof(section));
        }
        describe_row(&options[i], out);
    }
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}
