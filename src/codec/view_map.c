/* The map of keys: who wrote what at which revision. */
#include <string.h>

#include "view_private.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { TOMBSTONES_MAX = 1024, KEY_SIZE = 512 };

struct view_map *view_map_new(const char *prefix, const char *self_name)
{
    struct view_map *map = mem_new(1, sizeof(*map));

    map->prefix = mem_strdup(prefix);
    map->self_name = self_name == NULL ? NULL : mem_strdup(self_name);
    return map;
}

static void slot_clear(struct view_slot *slot)
{
    /* Owned here, const for everybody else. */
    mem_free((void *)(uintptr_t)slot->entry.key);
    mem_free((void *)(uintptr_t)slot->entry.value);
    json_decref((json_t *)(uintptr_t)slot->entry.json);
    *slot = (struct view_slot){0};
}

static void slots_free(struct view_slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        slot_clear(&slots[i]);
    mem_free(slots);
}

void view_map_free(struct view_map *map)
{
    if (map == NULL)
        return;
    slots_free(map->slots, map->count);
    mem_free(map->prefix);
    mem_free(map->self_name);
    mem_free(map);
}

/* ---- Look-up ---- */

/* Index of key, or of where it would stand. */
static size_t slots_find(const struct view_slot *slots, size_t count, const char *key,
                         bool *ret_is_found)
{
    size_t low = 0;
    size_t high = count;

    *ret_is_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(slots[middle].entry.key, key);

        if (order == 0) {
            *ret_is_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct view_entry *view_map_find(const struct view_map *map, const char *key)
{
    bool is_found = false;
    size_t idx = slots_find(map->slots, map->count, key, &is_found);

    return is_found && !map->slots[idx].is_deleted ? &map->slots[idx].entry : NULL;
}

const struct view_entry *view_map_find_member(const struct view_map *map, const char *name)
{
    char key[KEY_SIZE];

    if (!str_format(key, sizeof(key), "members/%s", name))
        return NULL;
    return view_map_find(map, key);
}

bool view_map_was_seen(const struct view_map *map, const char *name)
{
    char key[KEY_SIZE];

    return str_format(key, sizeof(key), "pgheir/seen/%s", name) && view_map_find(map, key) != NULL;
}

bool view_map_next(const struct view_map *map, size_t *idx, const struct view_entry **ret)
{
    while (*idx < map->count && map->slots[*idx].is_deleted)
        (*idx)++;
    if (*idx >= map->count)
        return false;
    *ret = &map->slots[(*idx)++].entry;
    return true;
}

size_t view_map_count(const struct view_map *map)
{
    size_t count = 0;

    for (size_t i = 0; i < map->count; i++)
        count += map->slots[i].is_deleted ? 0 : 1;
    return count;
}

/* ---- Changes ---- */

/* The key without the prefix; NULL if it is none of ours. */
static const char *key_of(const struct view_map *map, const struct etcd_kv *kv)
{
    if (strlen(kv->key) != kv->key_length || !str_starts_with(kv->key, map->prefix))
        return NULL;
    return kv->key + strlen(map->prefix);
}

static void slot_fill(struct view_slot *slot, const char *key, const struct etcd_kv *kv,
                      struct conf_report *report)
{
    char *value = mem_new(kv->value_length + 1, 1);

    if (kv->value_length > 0)
        memcpy(value, kv->value, kv->value_length);
    *slot = (struct view_slot){.entry = {
                                   .key = mem_strdup(key),
                                   .value = value,
                                   .length = kv->value_length,
                                   .create_revision = kv->create_revision,
                                   .mod_revision = kv->mod_revision,
                                   .lease_id = kv->lease_id,
                                   .json = view_value_read(key, value, kv->value_length, report),
                               }};
}

/* Opens a gap at idx. */
static struct view_slot *slots_insert(struct view_map *map, size_t idx)
{
    pgh_assert(idx <= map->count);
    if (map->count == map->size) {
        map->size = map->size == 0 ? 32 : map->size * 2;
        map->slots = mem_resize(map->slots, map->size * sizeof(*map->slots));
    }
    memmove(&map->slots[idx + 1], &map->slots[idx], (map->count - idx) * sizeof(*map->slots));
    map->count++;
    map->slots[idx] = (struct view_slot){0};
    return &map->slots[idx];
}

void view_map_set_header(struct view_map *map, const struct etcd_header *header)
{
    int64_t revision = map->header.revision;

    map->header = *header;
    if (map->header.revision < revision)
        map->header.revision = revision;
}

/* The slot as the range shows it: the old one if that is still the same, else a new one. */
static void slot_take(struct view_slot *slot, const char *key, const struct etcd_kv *kv,
                      struct view_slot *old, struct conf_report *report)
{
    if (old != NULL && !old->is_deleted && old->entry.mod_revision == kv->mod_revision &&
        old->entry.create_revision == kv->create_revision &&
        old->entry.length == kv->value_length &&
        (kv->value_length == 0 || memcmp(old->entry.value, kv->value, kv->value_length) == 0)) {
        /* What is wrong with it has been said. The old slot keeps a key, so that the old list stays
         * sorted. */
        *slot = *old;
        *old = (struct view_slot){.entry = {.key = mem_strdup(key)}, .is_deleted = true};
        slot->entry.lease_id = kv->lease_id;
        slot->is_ahead = false;
    } else {
        slot_fill(slot, key, kv, report);
    }
}

/* The watch may have brought what the range, read before, does not know yet. It outlives this one
 * range: the next one is sent later and must contain it, or etcd has been set back. */
static void keep_newer(struct view_map *map, struct view_slot *old, size_t old_count,
                       const struct etcd_header *header)
{
    if (header->cluster_id != map->header.cluster_id)
        return;
    for (size_t i = 0; i < old_count; i++) {
        bool is_found = false;
        size_t idx;
        struct view_slot *slot;

        if (old[i].entry.mod_revision <= header->revision || old[i].is_ahead)
            continue;
        idx = slots_find(map->slots, map->count, old[i].entry.key, &is_found);
        slot = is_found ? &map->slots[idx] : slots_insert(map, idx);
        slot_clear(slot);
        *slot = old[i];
        slot->is_ahead = true;
        old[i] = (struct view_slot){.entry = {.key = mem_strdup(slot->entry.key)},
                                    .is_deleted = true};
    }
}

void view_map_reset(struct view_map *map, const struct etcd_header *header,
                    const struct etcd_kv *kvs, size_t count, struct conf_report *report)
{
    struct view_slot *old = map->slots;
    size_t old_count = map->count;

    map->slots = NULL;
    map->count = 0;
    map->size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *key = key_of(map, &kvs[i]);
        bool is_found = false;
        size_t old_idx;
        size_t idx;

        if (key == NULL)
            continue;
        idx = slots_find(map->slots, map->count, key, &is_found);
        if (is_found)
            continue; /* the same key twice in one range: etcd never says that */
        old_idx = slots_find(old, old_count, key, &is_found);
        slot_take(slots_insert(map, idx), key, &kvs[i], is_found ? &old[old_idx] : NULL, report);
    }
    keep_newer(map, old, old_count, header);
    slots_free(old, old_count);
    map->header = *header;
    map->list_revision = header->revision;
    for (size_t i = 0; i < map->count; i++)
        if (map->slots[i].is_ahead && map->slots[i].entry.mod_revision > map->header.revision)
            map->header.revision = map->slots[i].entry.mod_revision;
}

static void drop_tombstones(struct view_map *map)
{
    size_t kept = 0;
    size_t tombstones = 0;

    for (size_t i = 0; i < map->count; i++)
        tombstones += map->slots[i].is_deleted ? 1 : 0;
    if (tombstones <= TOMBSTONES_MAX)
        return;
    for (size_t i = 0; i < map->count; i++) {
        if (map->slots[i].is_deleted)
            slot_clear(&map->slots[i]);
        else
            map->slots[kept++] = map->slots[i];
    }
    map->count = kept;
}

bool view_map_apply(struct view_map *map, const struct etcd_event *event,
                    struct conf_report *report)
{
    const char *key = key_of(map, &event->kv);
    bool is_found = false;
    struct view_slot *slot;
    size_t idx;
    bool was_there;

    if (key == NULL || event->kv.mod_revision <= map->list_revision)
        return false;
    idx = slots_find(map->slots, map->count, key, &is_found);
    if (is_found && event->kv.mod_revision <= map->slots[idx].entry.mod_revision)
        return false;
    slot = is_found ? &map->slots[idx] : slots_insert(map, idx);
    was_there = is_found && !slot->is_deleted;
    if (event->kv.mod_revision > map->header.revision)
        map->header.revision = event->kv.mod_revision;
    slot_clear(slot);
    if (!event->is_delete) {
        slot_fill(slot, key, &event->kv, report);
        return true;
    }
    slot->entry.key = mem_strdup(key);
    slot->entry.mod_revision = event->kv.mod_revision;
    slot->is_deleted = true;
    drop_tombstones(map);
    return was_there;
}
