/* What PGDATA/global/pg_control says, from its bytes or from the text that pg_controldata prints
 * under LC_ALL=C.
 * For: what a server that cannot be asked was doing. Pure. Every input is hostile.
 * Errors: RC_INVALID (broken: CRC or field, named), RC_NOT_FOUND (bytes only: a layout that this
 * program does not know; ask pg_controldata). */
#ifndef PGHEIR_CODEC_PG_CONTROL_DATA_H
#define PGHEIR_CODEC_PG_CONTROL_DATA_H

#include "pgheir/base/err.h"

/* code, what pg_controldata prints */
#define PG_CONTROL_STATE_TABLE(X)                                                                  \
    X(PG_CONTROL_STATE_STARTUP, "starting up")                                                     \
    X(PG_CONTROL_STATE_SHUT_DOWN, "shut down")                                                     \
    X(PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY, "shut down in recovery")                             \
    X(PG_CONTROL_STATE_SHUTTING_DOWN, "shutting down")                                             \
    X(PG_CONTROL_STATE_CRASH_RECOVERY, "in crash recovery")                                        \
    X(PG_CONTROL_STATE_ARCHIVE_RECOVERY, "in archive recovery")                                    \
    X(PG_CONTROL_STATE_PRODUCTION, "in production")

enum pg_control_state {
#define X(code, text) code,
    PG_CONTROL_STATE_TABLE(X)
#undef X
    PG_CONTROL_STATE_COUNT
};

enum { PG_CONTROL_FILE_BYTES = 8192 };

struct pg_control_data {
    uint64_t system_identifier;
    uint32_t control_version; /* pg_control_version: 1300 is PostgreSQL 13 to 16 */
    uint32_t catalog_version;
    enum pg_control_state state;
    uint64_t checkpoint_lsn; /* start of the last checkpoint record */
    uint64_t redo_lsn;
    uint32_t timeline;      /* of the last checkpoint */
    uint32_t prev_timeline; /* differs from timeline if that checkpoint began it */
    uint64_t min_recovery_lsn;
    uint32_t min_recovery_timeline; /* 0 if not in recovery */
    uint64_t backup_start_lsn, backup_end_lsn;
    bool is_backup_end_required;
    bool has_wal_log_hints;
    bool has_checksums;
    int max_connections, max_worker_processes, max_wal_senders;
    int max_prepared_xacts, max_locks_per_xact;
    uint32_t wal_segment_bytes;
    uint32_t wal_block_bytes;
};

/* length: bytes read from the file, at least 296. */
enum rc pg_control_data_parse_bytes(const void *bytes, size_t length, struct pg_control_data *ret,
                                    struct err *err);
enum rc pg_control_data_parse_text(const char *text, struct pg_control_data *ret, struct err *err);
const char *pg_control_state_text(enum pg_control_state state);

/* True if the server was stopped in order (as primary or in recovery). */
bool pg_control_data_is_clean(const struct pg_control_data *data);
/* True if pg_rewind can work on this directory: hint bits logged or checksums on. */
bool pg_control_data_can_rewind(const struct pg_control_data *data);

#endif
