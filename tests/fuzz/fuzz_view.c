/* Keys of the cluster: lines "key<TAB>value" are put one after the other ("-key" deletes), and
 * after each of them a view is made and everything that is derived from it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pgheir/base/buf.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/ctl_text.h"
#include "pgheir/codec/rest_json.h"
#include "pgheir/codec/view_json.h"
#include "pgheir/codec/view_map.h"

enum { KEY_MAX = 200, LINES_MAX = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(const struct view *view)
{
    pgh_assert(view->member_count >= 0 && view->member_count <= MEMBERS_MAX);
    pgh_assert(view->sync_count >= 0 && view->sync_count <= MEMBERS_MAX);
    pgh_assert(view->history_count >= 0 && view->history_count <= HISTORY_MAX);
    for (int32_t i = 0; i < view->member_count; i++) {
        const struct member *member = &view->members[i];

        pgh_assert(member->name[0] != '\0' && strlen(member->name) < NAME_SIZE);
        pgh_assert(member->state < PG_STATE_COUNT && member->role < PG_ROLE_COUNT);
        pgh_assert((member->conn_host[0] == '\0') == (member->conn_port == 0));
        pgh_assert(i == 0 || strcmp(view->members[i - 1].name, member->name) < 0);
    }
    for (int32_t i = 1; i < view->history_count; i++)
        pgh_assert(view->history[i - 1].timeline < view->history[i].timeline);
    pgh_assert(view->history_count == 0 ||
               view->history_timeline == view->history[view->history_count - 1].timeline + 1);
    pgh_assert(view->failover.present || view->failover.scheduled_at_wall_ms == 0 ||
               view->failover.leader[0] == '\0');
    pgh_assert(view->policy.ttl_ms >= 2000 && view->policy.loop_wait_ms >= 1000);
    pgh_assert(view->init_state != INIT_DONE || view->sysid > 0);
}

/* What the keys say must be printable in every form. */
static void check_texts(const struct view_map *map)
{
    static const enum ctl_format formats[] = {CTL_PRETTY, CTL_TOPOLOGY, CTL_TSV, CTL_JSON,
                                              CTL_YAML};
    json_t *cluster = rest_json_cluster(map, "s");
    json_t *history = rest_json_history(map);
    const struct view_entry *status = view_map_find(map, "status");
    struct buf out;

    buf_init(&out, 16 * 1024 * 1024);
    for (size_t i = 0; i < PGH_COUNT(formats); i++) {
        (void)ctl_put_cluster(&out, cluster, "x", true, formats[i]);
        (void)ctl_put_history(&out, history, formats[i]);
        buf_clear(&out);
    }
    (void)view_json_put_status(&out, 5, NULL, NULL, status == NULL ? NULL : status->json);
    (void)view_json_put_history(&out, NULL, 0, history, 0);
    buf_done(&out);
    json_decref(cluster);
    json_decref(history);
}

static void feed_line(struct view_map *map, struct view *view, const char *line, size_t length,
                      int64_t revision)
{
    const char *tab = memchr(line, '\t', length);
    char key[KEY_MAX];
    size_t key_length = tab == NULL ? length : (size_t)(tab - line);
    struct etcd_event event = {.is_delete = key_length > 0 && line[0] == '-'};
    size_t skip = event.is_delete ? 1 : 0;

    if (key_length - skip + 4 >= sizeof(key))
        return;
    memcpy(key, "/p/", 3);
    memcpy(key + 3, line + skip, key_length - skip);
    key[3 + key_length - skip] = '\0';
    event.kv = (struct etcd_kv){.key = key,
                                .key_length = 3 + key_length - skip,
                                .value = tab == NULL ? "" : tab + 1,
                                .value_length = tab == NULL ? 0 : length - key_length - 1,
                                .mod_revision = revision,
                                .create_revision = revision};
    (void)view_map_apply(map, &event, NULL);
    view_map_build(map, view, NULL);
    check_view(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view_map *map = view_map_new("/p/", "node1");
    struct view *view = mem_new(1, sizeof(*view));
    char *copy = mem_new(size + 1, 1);
    const char *at = copy;
    const char *end = copy + size;

    if (size > 0)
        memcpy(copy, data, size);
    for (int64_t revision = 1; at < end && revision <= LINES_MAX; revision++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = newline == NULL ? (size_t)(end - at) : (size_t)(newline - at);

        feed_line(map, view, at, length, revision);
        at += length + 1;
    }
    view_map_build(map, view, NULL);
    check_view(view);
    check_texts(map);
    mem_free(copy);
    mem_free(view);
    view_map_free(map);
    return 0;
}
