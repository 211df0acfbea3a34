/* `list`, `topology` and `history`: contract/ctl.md section 3. */
#include <math.h>
#include <string.h>

#include "ctl_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { TEXT_MAX = 8192, REASON_SHOWN_MAX = 50, POSTGRES_PORT = 5432, LEVELS_MAX = 64 };

static const json_t *get(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

static const char *get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(get(object, key));

    return text == NULL ? "" : text;
}

static void set_text(json_t *row, const char *key, const char *text)
{
    if (!str_is_empty(text))
        (void)json_object_set_new(row, key, json_string(text));
}

/* ---- Cells of a row ---- */

/* sync_standby -> Sync Standby */
static void set_role(json_t *row, const char *role)
{
    char text[64];

    if (!str_copy(text, sizeof(text), role))
        text[0] = '\0';
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] == '_')
            text[i] = ' ';
        if ((i == 0 || text[i - 1] == ' ') && text[i] >= 'a' && text[i] <= 'z')
            text[i] = (char)(text[i] - 'a' + 'A');
    }
    set_text(row, "Role", text);
}

static void set_lag(json_t *row, const char *key, const json_t *lag)
{
    /* MB, half to even as Python rounds. */
    if (json_is_integer(lag))
        (void)json_object_set_new(
            row, key,
            json_integer((json_int_t)rint((double)json_integer_value(lag) / 1024.0 / 1024.0)));
}

static void set_lsn(json_t *row, const char *key, const json_t *lsn)
{
    if (json_is_string(lsn))
        (void)json_object_set(row, key, (json_t *)(uintptr_t)lsn);
}

/* Members before 4.1 know one position only: what it is follows from their state. */
static void set_positions(json_t *row, const json_t *member)
{
    bool is_old = str_equal(get_text(member, "receive_lsn"), "unknown") &&
                  str_equal(get_text(member, "replay_lsn"), "unknown") &&
                  !str_equal(get_text(member, "lsn"), "") &&
                  !str_equal(get_text(member, "lsn"), "unknown");
    bool is_streaming = str_equal(get_text(member, "state"), "streaming");

    if (is_old) {
        set_lsn(row, "Receive LSN", get(member, is_streaming ? "lsn" : "receive_lsn"));
        set_lag(row, "Receive Lag", get(member, is_streaming ? "lag" : "receive_lag"));
        set_lsn(row, "Replay LSN", get(member, is_streaming ? "replay_lsn" : "lsn"));
        set_lag(row, "Replay Lag", get(member, is_streaming ? "replay_lag" : "lag"));
        return;
    }
    set_lsn(row, "Receive LSN", get(member, "receive_lsn"));
    set_lag(row, "Receive Lag", get(member, "receive_lag"));
    set_lsn(row, "Replay LSN", get(member, "replay_lsn"));
    set_lag(row, "Replay Lag", get(member, "replay_lag"));
}

static void set_restart_reason(json_t *row, const json_t *reasons, bool hide_long)
{
    struct buf text;
    const char *guc;
    json_t *values;

    buf_init(&text, TEXT_MAX);
    json_object_foreach((json_t *)(uintptr_t)reasons, guc, values) {
        const char *old_value = get_text(values, "old_value");
        const char *new_value = get_text(values, "new_value");
        size_t length = strlen(guc) + strlen(old_value) + strlen(new_value) + 4;

        (void)buf_puts(&text, text.length == 0 ? "" : "\n");
        if (hide_long && length > REASON_SHOWN_MAX)
            (void)buf_printf(&text, "%s: [hidden - too long]", guc);
        else
            (void)buf_printf(&text, "%s: %s->%s", guc, old_value, new_value);
    }
    set_text(row, "Pending restart reason", buf_text(&text));
    buf_done(&text);
}

static void set_scheduled_restart(json_t *row, const json_t *scheduled)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    (void)buf_puts(&text, get_text(scheduled, "schedule"));
    if (get(scheduled, "postgres_version") != NULL)
        (void)buf_printf(&text, " if version < %s", get_text(scheduled, "postgres_version"));
    set_text(row, "Scheduled restart", buf_text(&text));
    buf_done(&text);
}

static void set_host(json_t *row, const json_t *member, bool append_port)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    (void)buf_puts(&text, get_text(member, "host"));
    if (append_port && text.length > 0 && json_is_integer(get(member, "port")))
        (void)buf_printf(&text, ":%lld", (long long)json_integer_value(get(member, "port")));
    set_text(row, "Host", buf_text(&text));
    buf_done(&text);
}

static json_t *new_row(const json_t *cluster, const json_t *member, const char *indent,
                       bool append_port, bool hide_long)
{
    json_t *row = json_object();
    struct buf name;

    pgh_assert(row != NULL);
    buf_init(&name, TEXT_MAX);
    (void)buf_printf(&name, "%s%s", indent, get_text(member, "name"));
    set_text(row, "Cluster", get_text(cluster, "scope"));
    set_text(row, "Member", buf_text(&name));
    buf_done(&name);
    set_host(row, member, append_port);
    set_role(row, get_text(member, "role"));
    set_text(row, "State", get_text(member, "state"));
    if (json_is_integer(get(member, "timeline")))
        (void)json_object_set(row, "TL", (json_t *)(uintptr_t)get(member, "timeline"));
    set_positions(row, member);
    if (json_is_true(get(member, "pending_restart")))
        set_text(row, "Pending restart", "*");
    set_restart_reason(row, get(member, "pending_restart_reason"), hide_long);
    if (json_is_object(get(member, "scheduled_restart")))
        set_scheduled_restart(row, get(member, "scheduled_restart"));
    if (json_object_size(get(member, "tags")) > 0)
        (void)json_object_set(row, "Tags", (json_t *)(uintptr_t)get(member, "tags"));
    set_text(row, "Fencing", get_text(get(member, "pgheir"), "fencing"));
    return row;
}

/* ---- Order ---- */

/* Some port is unusual, or two members share a host. */
static bool must_append_port(const json_t *members)
{
    json_t *hosts = json_object();
    size_t with_host = 0;
    bool is_unusual = false;
    json_t *member;
    size_t idx;

    pgh_assert(hosts != NULL);
    json_array_foreach(members, idx, member) {
        const char *host = get_text(member, "host");

        if (host[0] == '\0')
            continue;
        with_host++;
        (void)json_object_set_new(hosts, host, json_true());
        is_unusual = is_unusual || (json_is_integer(get(member, "port")) &&
                                    json_integer_value(get(member, "port")) != POSTGRES_PORT);
    }
    is_unusual = is_unusual || json_object_size(hosts) < with_host;
    json_decref(hosts);
    return is_unusual;
}

static bool is_leader(const json_t *member)
{
    const char *role = get_text(member, "role");
    size_t length = strlen(role);

    return length >= strlen("leader") && str_equal(role + length - strlen("leader"), "leader");
}

/* Another replica of this name. */
static bool is_replica(const json_t *members, const char *name)
{
    json_t *member;
    size_t idx;

    json_array_foreach(members, idx, member)
        if (!is_leader(member) && str_equal(get_text(member, "name"), name))
            return true;
    return false;
}

/* Whom a replica hangs under: its replicatefrom if that is another replica, else "", the leader. */
static const char *parent_of(const json_t *members, const json_t *member)
{
    const char *from = get_text(get(member, "tags"), "replicatefrom");

    if (from[0] == '\0' || str_equal(from, get_text(member, "name")) || !is_replica(members, from))
        return "";
    return from;
}

struct tree {
    const json_t *cluster;
    const json_t *members;
    json_t *rows;
    json_t *placed; /* names that have their row */
    bool append_port, hide_long;
};

static void tree_add(struct tree *tree, const json_t *member, int level)
{
    char indent[2 * LEVELS_MAX + 4] = "";

    for (int i = 1; i < level; i++)
        memcpy(indent + strlen(indent), "  ", 3);
    if (level > 0)
        memcpy(indent + strlen(indent), "+ ", 3);
    (void)json_array_append_new(
        tree->rows,
        new_row(tree->cluster, member, indent, tree->append_port, tree->hide_long));
    (void)json_object_set_new(tree->placed, get_text(member, "name"), json_true());
}

/* Everybody under parent, depth first. Members that replicate from each other in a ring never get
 * here and are added at the end. */
static void tree_add_children(struct tree *tree, const char *parent, int level)
{
    json_t *member;
    size_t idx;

    if (level >= LEVELS_MAX)
        return;
    json_array_foreach(tree->members, idx, member) {
        const char *name = get_text(member, "name");

        if (is_leader(member) || !str_equal(parent_of(tree->members, member), parent) ||
            get(tree->placed, name) != NULL)
            continue;
        tree_add(tree, member, level);
        tree_add_children(tree, name, level + 1);
    }
}

static void add_rows(json_t *rows, const json_t *cluster, bool is_topology, bool hide_long)
{
    const json_t *members = get(cluster, "members");
    struct tree tree = {.cluster = cluster,
                        .members = members,
                        .rows = rows,
                        .placed = json_object(),
                        .append_port = must_append_port(members),
                        .hide_long = hide_long};
    json_t *member;
    size_t idx;

    pgh_assert(tree.placed != NULL);
    if (is_topology) {
        json_array_foreach(members, idx, member)
            if (is_leader(member))
                tree_add(&tree, member, 0);
        tree_add_children(&tree, "", 1);
    }
    json_array_foreach(members, idx, member)
        if (get(tree.placed, get_text(member, "name")) == NULL)
            tree_add(&tree, member, 0);
    json_decref(tree.placed);
}

/* ---- The table ---- */

/* Members without a host do not decide about columns. */
static bool is_column_used(const json_t *rows, const char *key)
{
    json_t *row;
    size_t idx;

    json_array_foreach(rows, idx, row)
        if (get(row, "Host") != NULL && get(row, key) != NULL)
            return true;
    return false;
}

static void grid_add(struct ctl_grid *grid, const char *key, const char *title, bool is_right)
{
    pgh_assert(grid->count < CTL_COLUMNS_MAX);
    grid->keys[grid->count] = key;
    grid->titles[grid->count] = title;
    grid->right[grid->count] = is_right;
    grid->count++;
}

static void grid_columns(struct ctl_grid *grid, bool extended, enum ctl_format format)
{
    static const char *const optional[] = {"Pending restart", "Pending restart reason",
                                           "Scheduled restart", "Tags"};
    bool is_drawn = format == CTL_PRETTY || format == CTL_TOPOLOGY;

    if (!is_drawn)
        grid_add(grid, "Cluster", "Cluster", false);
    grid_add(grid, "Member", "Member", false);
    grid_add(grid, "Host", "Host", false);
    grid_add(grid, "Role", "Role", false);
    grid_add(grid, "State", "State", false);
    grid_add(grid, "TL", "TL", true);
    grid_add(grid, "Receive LSN", "Receive LSN", true);
    grid_add(grid, "Receive Lag", is_drawn ? "Lag" : "Receive Lag", true);
    grid_add(grid, "Replay LSN", "Replay LSN", true);
    grid_add(grid, "Replay Lag", is_drawn ? "Lag" : "Replay Lag", true);
    for (size_t i = 0; i < PGH_COUNT(optional); i++)
        if (extended || is_column_used(grid->rows, optional[i]))
            grid_add(grid, optional[i], optional[i], false);
    /* Ours, and last, so that whoever counts columns is not disturbed. */
    if (is_column_used(grid->rows, "Fencing"))
        grid_add(grid, "Fencing", "Fencing", false);
}

static enum rc put_rows(struct buf *out, const json_t *rows, const char *header, bool extended,
                        enum ctl_format format)
{
    struct ctl_grid grid = {.header = header, .rows = rows, .omit_empty = true};

    grid_columns(&grid, extended, format);
    return ctl_put_grid(out, &grid, format);
}

static void put_footer(struct buf *out, const json_t *cluster)
{
    const json_t *scheduled = get(cluster, "scheduled_switchover");

    if (json_is_true(get(cluster, "pause")))
        (void)buf_puts(out, " Maintenance mode: on\n");
    if (scheduled == NULL)
        return;
    (void)buf_printf(out, " Switchover scheduled at: %s\n", get_text(scheduled, "at"));
    if (get(scheduled, "from") != NULL)
        (void)buf_printf(out, "%24s: %s\n", "from", get_text(scheduled, "from"));
    if (get(scheduled, "to") != NULL)
        (void)buf_printf(out, "%24s: %s\n", "to", get_text(scheduled, "to"));
}

enum rc ctl_put_cluster(struct buf *out, const json_t *cluster, const char *state, bool extended,
                        enum ctl_format format)
{
    bool is_drawn = format == CTL_PRETTY || format == CTL_TOPOLOGY;
    json_t *rows = json_array();
    struct buf header;

    pgh_assert(rows != NULL);
    buf_init(&header, TEXT_MAX);
    (void)buf_printf(&header, " Cluster: %s (%s) ", get_text(cluster, "scope"), state);
    add_rows(rows, cluster, format == CTL_TOPOLOGY, is_drawn);
    (void)put_rows(out, rows, buf_text(&header), extended, format);
    if (is_drawn)
        put_footer(out, cluster);
    buf_done(&header);
    json_decref(rows);
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}

/* ---- history ---- */

enum rc ctl_put_history(struct buf *out, const json_t *history, enum ctl_format format)
{
    static const char *const titles[] = {"TL", "LSN", "Reason", "Timestamp", "New Leader"};
    struct ctl_grid grid = {0};
    json_t *rows = json_array();
    json_t *line;
    size_t idx;
    enum rc rc;

    pgh_assert(rows != NULL);
    for (size_t i = 0; i < PGH_COUNT(titles); i++)
        grid_add(&grid, titles[i], titles[i], i < 2);
    json_array_foreach(history, idx, line) {
        json_t *row = json_object();

        pgh_assert(row != NULL);
        for (size_t i = 0; i < PGH_COUNT(titles) && json_array_get(line, i) != NULL; i++)
            (void)json_object_set(row, titles[i], json_array_get(line, i));
        (void)json_array_append_new(rows, row);
    }
    grid.rows = rows;
    rc = ctl_put_grid(out, &grid, format);
    json_decref(rows);
    return rc;
}
