/* What the files of the REST codec share. */
#ifndef PGHEIR_SRC_CODEC_REST_PRIVATE_H
#define PGHEIR_SRC_CODEC_REST_PRIVATE_H

#include "pgheir/codec/rest_json.h"

/* The status document's own facts, from which document, health and metrics are made. */
struct rest_doc {
    bool has_sql;
    const char *state;
    const char *role;
    const char *replication_state; /* NULL: none */
    bool is_primary;               /* by SQL: not in recovery */
    uint64_t location;             /* primary */
    uint64_t received, replayed;   /* standby */
    uint32_t timeline;             /* 0 unknown */
    bool sync_standby, quorum_standby;
    bool is_paused, is_unlocked;
};
void rest_doc_read(const struct rest_node *node, struct rest_doc *ret);

/* 2026-11-23 14:53:45.358496+00:00, as Python prints a time. Returns out. */
enum { REST_TIME_SIZE = 40 };
const char *rest_time_format(int64_t wall_us, char out[static REST_TIME_SIZE]);

#endif
