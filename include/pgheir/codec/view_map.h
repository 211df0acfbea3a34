/* The cluster's keys as last heard, and the struct view made of them. The agent fills a map from a
 * linearizable range, applies watch events to it, and builds a view after each change.
 * Values are parsed once, when they arrive. Every value is hostile: what cannot be used counts as
 * absent (or, for a member, as a member with empty data), is kept as it is and reported once per
 * change, not per view.
 * Owner: view_map_free(). Not for: transport (io/etcd.h), decisions. */
#ifndef PGHEIR_CODEC_VIEW_MAP_H
#define PGHEIR_CODEC_VIEW_MAP_H

#include <jansson.h>

#include "pgheir/codec/conf.h"
#include "pgheir/codec/etcd_json.h"
#include "pgheir/model/view.h"

struct view_map;

/* One key. All pointers are the map's and live until the key changes. */
struct view_entry {
    const char *key;   /* without the prefix: "config", "members/node1", "pgheir/timeline" */
    const char *value; /* NUL-terminated; may hold NULs of its own */
    size_t length;
    int64_t create_revision, mod_revision, lease_id;
    const json_t *json; /* NULL if the value is not JSON */
};

/* prefix: "/service/demo/", with the slash. self_name: this member, or NULL (it is never the one
 * left out when there are more than MEMBERS_MAX). */
struct view_map *view_map_new(const char *prefix, const char *self_name);
void view_map_free(struct view_map *map);

/* Replaces everything by the answer to a range over the prefix. Keys outside of it are ignored. */
void view_map_reset(struct view_map *map, const struct etcd_header *header,
                    const struct etcd_kv *kvs, size_t count, struct conf_report *report);
/* Applies one watch event. Events not newer than what the map knows of that key change nothing.
 * True if something changed. */
bool view_map_apply(struct view_map *map, const struct etcd_event *event,
                    struct conf_report *report);
/* The header of the answer that brought the events: its revision and term become the view's. */
void view_map_set_header(struct view_map *map, const struct etcd_header *header);

/* The values. policy is adjusted. Warns, once per change, of members beyond MEMBERS_MAX and of
 * intervals that had to be adjusted. Cannot fail. */
void view_map_build(struct view_map *map, struct view *ret, struct conf_report *report);

/* NULL if there is no such key. */
const struct view_entry *view_map_find(const struct view_map *map, const char *key);
/* The same for "members/<name>". */
const struct view_entry *view_map_find_member(const struct view_map *map, const char *name);
/* All keys in order of their names; false at the end. *idx starts at 0. */
bool view_map_next(const struct view_map *map, size_t *idx, const struct view_entry **ret);
size_t view_map_count(const struct view_map *map);

/* Key config if it is an object; else NULL. */
const json_t *view_map_config(const struct view_map *map);
/* Whether <base>/pgheir/seen/<name> exists: that member held data once. */
bool view_map_was_seen(const struct view_map *map, const char *name);
/* LSN that status.slots gives for this slot; 0 if none. */
uint64_t view_map_slot_lsn(const struct view_map *map, const char *slot);

#endif
