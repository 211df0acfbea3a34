#include "pgheir/codec/pg_control_data.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/crc32c.h"

#include <stddef.h>
#include <string.h>

/* Offsets of ControlFileData, the same in PostgreSQL 13 to 18: what 17 and 18 added fills
 * padding or stands behind data_checksum_version. Where the CRC stands proves the length of the
 * layout.
 * Source: catalog/pg_control.h of each version. */
enum {
    AT_SYSTEM_IDENTIFIER = 0,
    AT_CONTROL_VERSION = 8,
    AT_CATALOG_VERSION = 12,
    AT_STATE = 16,
    AT_CHECKPOINT = 32,
    AT_REDO = 40,
    AT_TIMELINE = 48,
    AT_PREV_TIMELINE = 52,
    AT_MIN_RECOVERY = 136,
    AT_MIN_RECOVERY_TIMELINE = 144,
    AT_BACKUP_START = 152,
    AT_BACKUP_END = 160,
    AT_BACKUP_END_REQUIRED = 168,
    AT_WAL_LOG_HINTS = 176,
    AT_MAX_CONNECTIONS = 180,
    AT_MAX_WORKER_PROCESSES = 184,
    AT_MAX_WAL_SENDERS = 188,
    AT_MAX_PREPARED_XACTS = 192,
    AT_MAX_LOCKS_PER_XACT = 196,
    AT_FLOAT_FORMAT = 208,
    AT_XLOG_BLOCK = 224,
    AT_XLOG_SEGMENT = 228,
    AT_CHECKSUM_VERSION = 252,
    CONTROL_BYTES_MIN = 296
};

static const struct {
    uint32_t version;
    size_t crc_at;
} layouts[] = {
    {1300, 288}, /* PostgreSQL 13 to 16 */
    {1700, 288}, /* 17 */
    {1800, 292}, /* 18: one bool more before the nonce */
};

static uint32_t u32_at(const void *bytes, size_t at)
{
    uint32_t value;
    memcpy(&value, (const char *)bytes + at, sizeof value);
    return value;
}

static uint64_t u64_at(const void *bytes, size_t at)
{
    uint64_t value;
    memcpy(&value, (const char *)bytes + at, sizeof value);
    return value;
}

static bool bool_at(const void *bytes, size_t at)
{
    return ((const unsigned char *)bytes)[at] != 0;
}

static enum rc layout_check(const void *bytes, uint32_t version, struct err *err)
{
    size_t crc_at = 0;
    double float_format = 0;
    for (size_t i = 0; i < PGH_COUNT(layouts); i++)
        if (layouts[i].version == version)
            crc_at = layouts[i].crc_at;
    if (crc_at == 0)
        return err_set(err, RC_NOT_FOUND, "pg_control: layout %u is not one of 1300, 1700, 1800"
                       " (PostgreSQL 13 to 18)", version);
    uint32_t crc = crc32c_end(crc32c_add(crc32c_begin(), bytes, crc_at));
    if (crc != u32_at(bytes, crc_at))
        return err_set(err, RC_INVALID, "pg_control: its CRC is %08X, expected %08X: it is broken"
                       " or was read while it was written", u32_at(bytes, crc_at), crc);
    /* The CRC is right for this length, so what remains is a foreign architecture. */
    memcpy(&float_format, (const char *)bytes + AT_FLOAT_FORMAT, sizeof float_format);
    if (float_format < 1234566.5 || float_format > 1234567.5)
        return err_set(err, RC_NOT_FOUND, "pg_control: written on another architecture");
    return RC_OK;
}

static bool segment_is_valid(uint32_t bytes)
{
    return bytes >= 1024 * 1024 && bytes <= 1024u * 1024 * 1024 && (bytes & (bytes - 1)) == 0;
}

enum rc pg_control_data_parse_bytes(const void *bytes, size_t length, struct pg_control_data *ret,
                                    struct err *err)
{
    if (length < CONTROL_BYTES_MIN)
        return err_set(err, RC_INVALID, "pg_control: only %zu bytes long, expected %d", length,
                       PG_CONTROL_FILE_BYTES);
    uint32_t version = u32_at(bytes, AT_CONTROL_VERSION);
    uint32_t state = u32_at(bytes, AT_STATE);
    enum rc rc = layout_check(bytes, version, err);
    if (rc != RC_OK)
        return rc;
    if (state >= PG_CONTROL_STATE_COUNT)
        return err_set(err, RC_INVALID, "pg_control: unknown state %u", state);
    if (!segment_is_valid(u32_at(bytes, AT_XLOG_SEGMENT)))
        return err_set(err, RC_INVALID, "pg_control: WAL segments of %u bytes",
                       u32_at(bytes, AT_XLOG_SEGMENT));
    *ret = (struct pg_control_data){
        .system_identifier = u64_at(bytes, AT_SYSTEM_IDENTIFIER),
        .control_version = version,
        .catalog_version = u32_at(bytes, AT_CATALOG_VERSION),
        .state = (enum pg_control_state)state,
        .checkpoint_lsn = u64_at(bytes, AT_CHECKPOINT),
        .redo_lsn = u64_at(bytes, AT_REDO),
        .timeline = u32_at(bytes, AT_TIMELINE),
        .prev_timeline = u32_at(bytes, AT_PREV_TIMELINE),
        .min_recovery_lsn = u64_at(bytes, AT_MIN_RECOVERY),
        .min_recovery_timeline = u32_at(bytes, AT_MIN_RECOVERY_TIMELINE),
        .backup_start_lsn = u64_at(bytes, AT_BACKUP_START),
        .backup_end_lsn = u64_at(bytes, AT_BACKUP_END),
        .is_backup_end_required = bool_at(bytes, AT_BACKUP_END_REQUIRED),
        .has_wal_log_hints = bool_at(bytes, AT_WAL_LOG_HINTS),
        .has_checksums = u32_at(bytes, AT_CHECKSUM_VERSION) != 0,
        .max_connections = (int)u32_at(bytes, AT_MAX_CONNECTIONS),
        .max_worker_processes = (int)u32_at(bytes, AT_MAX_WORKER_PROCESSES),
        .max_wal_senders = (int)u32_at(bytes, AT_MAX_WAL_SENDERS),
        .max_prepared_xacts = (int)u32_at(bytes, AT_MAX_PREPARED_XACTS),
        .max_locks_per_xact = (int)u32_at(bytes, AT_MAX_LOCKS_PER_XACT),
        .wal_segment_bytes = u32_at(bytes, AT_XLOG_SEGMENT),
        .wal_block_bytes = u32_at(bytes, AT_XLOG_BLOCK),
    };
    return RC_OK;
}

/* ---- text ---- */

enum field_kind { FIELD_U32, FIELD_U64, FIELD_INT, FIELD_LSN, FIELD_BOOL, FIELD_STATE };

static const struct {
    const char *label;
    enum field_kind kind;
    size_t offset;
} fields[] = {
    {"pg_control version number", FIELD_U32, offsetof(struct pg_control_data, control_version)},
    {"Catalog version number", FIELD_U32, offsetof(struct pg_control_data, catalog_version)},
    {"Database system identifier", FIELD_U64, offsetof(struct pg_control_data, system_identifier)},
    {"Database cluster state", FIELD_STATE, offsetof(struct pg_control_data, state)},
    {"Latest checkpoint location", FIELD_LSN, offsetof(struct pg_control_data, checkpoint_lsn)},
    {"Latest checkpoint's REDO location", FIELD_LSN, offsetof(struct pg_control_data, redo_lsn)},
    {"Latest checkpoint's TimeLineID", FIELD_U32, offsetof(struct pg_control_data, timeline)},
    {"Latest checkpoint's PrevTimeLineID", FIELD_U32,
     offsetof(struct pg_control_data, prev_timeline)},
    {"Minimum recovery ending location", FIELD_LSN,
     offsetof(struct pg_control_data, min_recovery_lsn)},
    {"Min recovery ending loc's timeline", FIELD_U32,
     offsetof(struct pg_control_data, min_recovery_timeline)},
    {"Backup start location", FIELD_LSN, offsetof(struct pg_control_data, backup_start_lsn)},
    {"Backup end location", FIELD_LSN, offsetof(struct pg_control_data, backup_end_lsn)},
    {"End-of-backup record required", FIELD_BOOL,
     offsetof(struct pg_control_data, is_backup_end_required)},
    {"wal_log_hints setting", FIELD_BOOL, offsetof(struct pg_control_data, has_wal_log_hints)},
    {"max_connections setting", FIELD_INT, offsetof(struct pg_control_data, max_connections)},
    {"max_worker_processes setting", FIELD_INT,
     offsetof(struct pg_control_data, max_worker_processes)},
    {"max_wal_senders setting", FIELD_INT, offsetof(struct pg_control_data, max_wal_senders)},
    {"max_prepared_xacts setting", FIELD_INT, offsetof(struct pg_control_data, max_prepared_xacts)},
    {"max_locks_per_xact setting", FIELD_INT, offsetof(struct pg_control_data, max_locks_per_xact)},
    {"Bytes per WAL segment", FIELD_U32, offsetof(struct pg_control_data, wal_segment_bytes)},
    {"WAL block size", FIELD_U32, offsetof(struct pg_control_data, wal_block_bytes)},
    {"Data page checksum version", FIELD_BOOL, offsetof(struct pg_control_data, has_checksums)},
};

static bool state_parse(const char *text, enum pg_control_state *ret)
{
    for (int i = 0; i < PG_CONTROL_STATE_COUNT; i++) {
        if (str_equal(text, pg_control_state_text((enum pg_control_state)i))) {
            *ret = (enum pg_control_state)i;
            return true;
        }
    }
    return false;
}

static bool field_parse(enum field_kind kind, const char *text, void *ret)
{
    uint64_t number = 0;
    switch (kind) {
    case FIELD_U32:
        if (!str_parse_uint64(text, &number) || number > UINT32_MAX)
            return false;
        *(uint32_t *)ret = (uint32_t)number;
        return true;
    case FIELD_U64:
        return str_parse_uint64(text, ret);
    case FIELD_INT:
        if (!str_parse_uint64(text, &number) || number > INT32_MAX)
            return false;
        *(int *)ret = (int)number;
        return true;
    case FIELD_LSN:
        return lsn_parse(text, ret);
    case FIELD_BOOL:
        /* yes/no, on/off, and the checksum version, which is 0 or 1 (2 and 3 may come). */
        if (str_parse_bool(text, ret))
            return true;
        *(bool *)ret = true;
        return str_parse_uint64(text, &number);
    case FIELD_STATE:
        return state_parse(text, ret);
    }
    pgh_unreachable();
}

/* Finds "label:" at the start of a line and copies what follows the blanks. */
static bool label_find(const char *text, const char *label, char *ret, size_t size)
{
    size_t length = strlen(label);
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        if (*at == '\n')
            at++;
        if (strncmp(at, label, length) != 0 || at[length] != ':')
            continue;
        for (at += length + 1; *at == ' '; at++)
            ;
        size_t span = strcspn(at, "\r\n");
        if (span >= size)
            return false;
        memcpy(ret, at, span);
        ret[span] = '\0';
        return true;
    }
    return false;
}

enum rc pg_control_data_parse_text(const char *text, struct pg_control_data *ret, struct err *err)
{
    struct pg_control_data out = {0};
    char value[64];
    if (strstr(text, "WARNING: Calculated CRC checksum") != NULL)
        return err_set(err, RC_INVALID, "pg_controldata: the CRC of pg_control is wrong");
    for (size_t i = 0; i < PGH_COUNT(fields); i++) {
        if (!label_find(text, fields[i].label, value, sizeof value))
            return err_set(err, RC_INVALID, "pg_controldata: no line \"%s\" in its output",
                           fields[i].label);
        if (!field_parse(fields[i].kind, value, (char *)&out + fields[i].offset))
            return err_set(err, RC_INVALID, "pg_controldata: \"%s\" is \"%s\", which is not"
                           " understood", fields[i].label, value);
    }
    if (!segment_is_valid(out.wal_segment_bytes))
        return err_set(err, RC_INVALID, "pg_controldata: WAL segments of %u bytes",
                       out.wal_segment_bytes);
    *ret = out;
    return RC_OK;
}

const char *pg_control_state_text(enum pg_control_state state)
{
    static const char *const texts[PG_CONTROL_STATE_COUNT] = {
#define X(code, text) [code] = text,
        PG_CONTROL_STATE_TABLE(X)
#undef X
    };
    pgh_assert(state >= 0 && state < PG_CONTROL_STATE_COUNT);
    return texts[state];
}

bool pg_control_data_is_clean(const struct pg_control_data *data)
{
    return data->state == PG_CONTROL_STATE_SHUT_DOWN ||
           data->state == PG_CONTROL_STATE_SHUT_DOWN_IN_RECOVERY;
}

bool pg_control_data_can_rewind(const struct pg_control_data *data)
{
    return data->has_wal_log_hints || data->has_checksums;
}
