/* What the two halves of the view codec share: the map of keys, and the values made of them. */
#ifndef PGHEIR_SRC_CODEC_VIEW_PRIVATE_H
#define PGHEIR_SRC_CODEC_VIEW_PRIVATE_H

#include "pgheir/codec/view_map.h"

enum { VIEW_VALUE_BYTES_MAX = 2 * 1024 * 1024 }; /* etcd's own limit for a request is 1.5 MiB */

struct view_slot {
    struct view_entry entry; /* its texts and json belong to the slot */
    bool is_deleted;         /* a tombstone: so that an old event cannot bring the key back */
    bool is_ahead;           /* newer than the last range, which was read before it */
};

struct view_map {
    char *prefix;
    char *self_name; /* or NULL */
    struct etcd_header header;
    int64_t list_revision; /* of the last range: older events are contained in it */
    struct view_slot *slots; /* sorted by key */
    size_t count;
    size_t size;
    /* What has been reported, so that it is said once. */
    struct policy adjusted_from;
    bool was_adjusted;
    int32_t members_left_out;
    int32_t slot_collisions;
};

/* Parses what the key is known to hold, the older forms of dcs.md section 9 included. NULL if it is
 * no JSON (reported, unless it is plain text by nature). New reference. */
json_t *view_value_read(const char *key, const char *value, size_t length,
                        struct conf_report *report);

/* A view of the map as it is, without reports. Owner: view_free(). */
struct view *view_new_of(const struct view_map *map);
void view_free(struct view *view);

/* Rows with growing timelines. */
bool view_history_is_good(const json_t *rows);

#endif
