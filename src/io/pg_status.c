#include "pg_status_private.h"

#include "pgheir/base/buf.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <string.h>

/* The columns of the first statement, in order. */
enum {
    COL_IN_RECOVERY,
    COL_VERSION,
    COL_SYSTEM_IDENTIFIER,
    COL_CHECKPOINT_TIMELINE,
    COL_WALFILE,
    COL_FLUSH,
    COL_WRITE,
    COL_RECEIVE,
    COL_REPLAY,
    COL_REPLAY_TIME,
    COL_PAUSED,
    COL_START_TIME,
    COL_START_TEXT,
    COL_READ_ONLY,
    COL_CONNINFO,
    COL_SLOT,
    COL_RESTORE,
    COL_SYNC_NAMES,
    COL_W_STATUS,
    COL_W_TIMELINE,
    COL_W_WRITTEN,
    COL_W_FLUSHED,
    COL_W_LATEST_END,
    COL_W_HOST,
    COL_W_PORT,
    COL_W_SLOT,
    COL_W_CONNINFO,
    COL_COUNT
};

/* Functions that fail on the wrong side of a promotion stand behind CASE. OFFSET 0 makes the server
 * ask once whether it recovers. */
#define SQL_MAIN                                                                                   \
    "SELECT r.rec, pg_catalog.current_setting('server_version_num'),"                              \
    " (SELECT system_identifier FROM pg_catalog.pg_control_system()),"                             \
    " (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),"                               \
    " CASE WHEN r.rec THEN NULL"                                                                   \
    " ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END,"                       \
    " CASE WHEN r.rec THEN NULL ELSE pg_catalog.pg_current_wal_flush_lsn() END,"                   \
    " CASE WHEN r.rec THEN NULL ELSE pg_catalog.pg_current_wal_lsn() END,"                         \
    " pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn(),"                  \
    " (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::bigint,"            \
    " CASE WHEN r.rec THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END,"                   \
    " (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000)::bigint,"                 \
    " pg_catalog.to_char(pg_catalog.pg_postmaster_start_time() AT TIME ZONE 'UTC',"                \
    " 'YYYY-MM-DD HH24:MI:SS.US\"+00:00\"'),"                                                      \
    " r.rec OR pg_catalog.current_setting('default_transaction_read_only')::boolean,"              \
    " pg_catalog.current_setting('primary_conninfo'),"                                             \
    " pg_catalog.current_setting('primary_slot_name'),"                                            \
    " pg_catalog.current_setting('restore_command'),"                                              \
    " pg_catalog.current_setting('synchronous_standby_names'),"                                    \
    " w.status, w.received_tli, w.written_lsn, w.flushed_lsn, w.latest_end_lsn, w.sender_host,"    \
    " w.sender_port, w.slot_name, w.conninfo"                                                      \
    " FROM (SELECT pg_catalog.pg_is_in_recovery() AS rec OFFSET 0) AS r"                           \
    " LEFT JOIN pg_catalog.pg_stat_wal_receiver AS w ON true"

#define SQL_SENDERS                                                                                \
    "SELECT pid, usename, application_name, pg_catalog.host(client_addr), state, sync_state,"      \
    " sync_priority, sent_lsn, write_lsn, flush_lsn, replay_lsn"                                   \
    " FROM pg_catalog.pg_stat_replication"

#define SQL_SLOTS_HEAD                                                                             \
    "SELECT slot_name, plugin, database, wal_status, slot_type = 'physical', temporary, active,"   \
    " xmin IS NOT NULL, catalog_xmin IS NOT NULL, catalog_xmin, restart_lsn, confirmed_flush_lsn"
#define SQL_SLOTS_TAIL " FROM pg_catalog.pg_replication_slots ORDER BY slot_name"
#define SQL_SLOTS_13 SQL_SLOTS_HEAD ", false, false" SQL_SLOTS_TAIL
#define SQL_SLOTS_17 SQL_SLOTS_HEAD ", failover, synced" SQL_SLOTS_TAIL

#define SQL_PENDING                                                                                \
    "SELECT s.name, pg_catalog.current_setting(s.name),"                                           \
    " (SELECT f.setting FROM pg_catalog.pg_file_settings AS f WHERE f.name = s.name"               \
    " ORDER BY f.seqno DESC LIMIT 1)"                                                              \
    " FROM pg_catalog.pg_settings AS s WHERE s.pending_restart ORDER BY s.name"

void pg_status_sql(unsigned parts, int server_version, struct buf *out)
{
    enum rc rc = buf_puts(out, SQL_MAIN);
    if (rc == RC_OK && (parts & PG_STATUS_REPLICATION) != 0)
        rc = buf_puts(out, ";" SQL_SENDERS);
    if (rc == RC_OK && (parts & PG_STATUS_SLOTS) != 0)
        rc = buf_puts(out, server_version >= 170000 ? ";" SQL_SLOTS_17 : ";" SQL_SLOTS_13);
    if (rc == RC_OK && (parts & PG_STATUS_SETTINGS) != 0)
        rc = buf_puts(out, ";" SQL_PENDING);
    pgh_assert(rc == RC_OK);
}

/* ---- cells ---- */

static void cell_text(const PGresult *rows, int row, int col, char *ret, size_t size)
{
    /* Names and states have a bound in PostgreSQL; what does not fit is not one of them. */
    if (!str_copy(ret, size, PQgetvalue(rows, row, col)))
        ret[0] = '\0';
}

static uint64_t cell_lsn(const PGresult *rows, int row, int col)
{
    uint64_t lsn = 0;
    return lsn_parse(PQgetvalue(rows, row, col), &lsn) ? lsn : 0;
}

static int64_t cell_int(const PGresult *rows, int row, int col)
{
    int64_t number = 0;
    return str_parse_int64(PQgetvalue(rows, row, col), &number) ? number : 0;
}

static uint64_t cell_uint(const PGresult *rows, int row, int col)
{
    uint64_t number = 0;
    return str_parse_uint64(PQgetvalue(rows, row, col), &number) ? number : 0;
}

static bool cell_bool(const PGresult *rows, int row, int col)
{
    return PQgetvalue(rows, row, col)[0] == 't';
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The first eight digits of a WAL segment's name. */
static uint32_t walfile_timeline(const char *name)
{
    uint32_t timeline = 0;
    for (int i = 0; i < 8; i++) {
        if (name[i] >= '0' && name[i] <= '9')
            timeline = timeline << 4 | (uint32_t)(name[i] - '0');
        else if (name[i] >= 'A' && name[i] <= 'F')
            timeline = timeline << 4 | (uint32_t)(name[i] - 'A' + 10);
        else
            return 0;
    }
    return timeline;
}

/* ---- parts ---- */

static void receiver_parse(const PGresult *row, struct pg_status *out)
{
    uint64_t received = larger(cell_lsn(row, 0, COL_W_WRITTEN), cell_lsn(row, 0, COL_W_FLUSHED));
    cell_text(row, 0, COL_W_STATUS, out->receiver_status, sizeof out->receiver_status);
    cell_text(row, 0, COL_W_HOST, out->receiver_host, sizeof out->receiver_host);
    cell_text(row, 0, COL_W_SLOT, out->receiver_slot, sizeof out->receiver_slot);
    out->receiver_conninfo = mem_strdup(PQgetvalue(row, 0, COL_W_CONNINFO));
    out->receiver_timeline = (uint32_t)cell_uint(row, 0, COL_W_TIMELINE);
    out->receiver_latest_end_lsn = cell_lsn(row, 0, COL_W_LATEST_END);
    out->receiver_port = (int)cell_int(row, 0, COL_W_PORT);
    out->receive_lsn = larger(received, cell_lsn(row, 0, COL_RECEIVE));
}

static void main_parse(const PGresult *row, struct pg_status *out)
{
    out->is_in_recovery = cell_bool(row, 0, COL_IN_RECOVERY);
    out->server_version = (int)cell_int(row, 0, COL_VERSION);
    out->system_identifier = cell_uint(row, 0, COL_SYSTEM_IDENTIFIER);
    out->checkpoint_timeline = (uint32_t)cell_uint(row, 0, COL_CHECKPOINT_TIMELINE);
    out->flush_lsn = cell_lsn(row, 0, COL_FLUSH);
    out->write_lsn = cell_lsn(row, 0, COL_WRITE);
    out->is_replay_paused = cell_bool(row, 0, COL_PAUSED);
    out->is_read_only = cell_bool(row, 0, COL_READ_ONLY);
    out->postmaster_start_wall_ms = cell_int(row, 0, COL_START_TIME);
    cell_text(row, 0, COL_START_TEXT, out->postmaster_start_text,
              sizeof out->postmaster_start_text);
    out->primary_conninfo = mem_strdup(PQgetvalue(row, 0, COL_CONNINFO));
    out->primary_slot_name = mem_strdup(PQgetvalue(row, 0, COL_SLOT));
    out->restore_command = mem_strdup(PQgetvalue(row, 0, COL_RESTORE));
    out->synchronous_standby_names = mem_strdup(PQgetvalue(row, 0, COL_SYNC_NAMES));
    receiver_parse(row, out);
    if (out->is_in_recovery) {
        out->replay_lsn = cell_lsn(row, 0, COL_REPLAY);
        out->replay_wall_ms = cell_int(row, 0, COL_REPLAY_TIME);
        /* A receiver that waits or starts still shows the timeline of its last stream. */
        if (str_equal(out->receiver_status, "streaming"))
            out->timeline = out->receiver_timeline;
    } else {
        out->receive_lsn = 0;
        out->timeline = walfile_timeline(PQgetvalue(row, 0, COL_WALFILE));
    }
}

static void senders_parse(const PGresult *rows, struct pg_status *out)
{
    out->senders_count = PQntuples(rows);
    if (out->senders_count == 0)
        return;
    out->senders = mem_new((size_t)out->senders_count, sizeof *out->senders);
    for (int i = 0; i < out->senders_count; i++) {
        struct pg_sender *sender = &out->senders[i];
        sender->pid = cell_int(rows, i, 0);
        cell_text(rows, i, 1, sender->user, sizeof sender->user);
        cell_text(rows, i, 2, sender->application_name, sizeof sender->application_name);
        cell_text(rows, i, 3, sender->client_addr, sizeof sender->client_addr);
        cell_text(rows, i, 4, sender->state, sizeof sender->state);
        cell_text(rows, i, 5, sender->sync_state, sizeof sender->sync_state);
        sender->sync_priority = (int)cell_int(rows, i, 6);
        sender->sent_lsn = cell_lsn(rows, i, 7);
        sender->write_lsn = cell_lsn(rows, i, 8);
        sender->flush_lsn = cell_lsn(rows, i, 9);
        sender->replay_lsn = cell_lsn(rows, i, 10);
    }
}

static void slots_parse(const PGresult *rows, struct pg_status *out)
{
    out->slots_count = PQntuples(rows);
    if (out->slots_count == 0)
        return;
    out->slots = mem_new((size_t)out->slots_count, sizeof *out->slots);
    for (int i = 0; i < out->slots_count; i++) {
        struct pg_slot *slot = &out->slots[i];
        cell_text(rows, i, 0, slot->name, sizeof slot->name);
        cell_text(rows, i, 1, slot->plugin, sizeof slot->plugin);
        cell_text(rows, i, 2, slot->database, sizeof slot->database);
        cell_text(rows, i, 3, slot->wal_status, sizeof slot->wal_status);
        slot->is_physical = cell_bool(rows, i, 4);
        slot->is_temporary = cell_bool(rows, i, 5);
        slot->is_active = cell_bool(rows, i, 6);
        slot->has_xmin = cell_bool(rows, i, 7);
        slot->has_catalog_xmin = cell_bool(rows, i, 8);
        slot->catalog_xmin = cell_uint(rows, i, 9);
        slot->restart_lsn = cell_lsn(rows, i, 10);
        slot->confirmed_flush_lsn = cell_lsn(rows, i, 11);
        slot->is_failover = cell_bool(rows, i, 12);
        slot->is_synced = cell_bool(rows, i, 13);
    }
}

static void pending_parse(const PGresult *rows, struct pg_status *out)
{
    out->pending_count = PQntuples(rows);
    if (out->pending_count == 0)
        return;
    out->pending = mem_new((size_t)out->pending_count, sizeof *out->pending);
    for (int i = 0; i < out->pending_count; i++) {
        struct pg_pending *pending = &out->pending[i];
        cell_text(rows, i, 0, pending->name, sizeof pending->name);
        pending->old_value = mem_strdup(PQgetvalue(rows, i, 1));
        pending->new_value = mem_strdup(PQgetisnull(rows, i, 2) ? "?" : PQgetvalue(rows, i, 2));
    }
}

enum rc pg_status_parse(PGresult *const *results, int results_count, unsigned parts,
                        struct pg_status *ret, struct err *err)
{
    static const struct {
        unsigned part;
        int columns;
        void (*parse)(const PGresult *rows, struct pg_status *out);
    } tables[] = {
        {PG_STATUS_REPLICATION, 11, senders_parse},
        {PG_STATUS_SLOTS, 14, slots_parse},
        {PG_STATUS_SETTINGS, 3, pending_parse},
    };
    int used = 1;
    if (results_count < 1 || PQntuples(results[0]) != 1 || PQnfields(results[0]) != COL_COUNT)
        return err_set(err, RC_PROTOCOL, "status query: expected one row of %d columns", COL_COUNT);
    for (size_t i = 0; i < PGH_COUNT(tables); i++) {
        if ((parts & tables[i].part) == 0)
            continue;
        if (used >= results_count || PQnfields(results[used]) != tables[i].columns)
            return err_set(err, RC_PROTOCOL, "status query: answer %d is missing or has not %d"
                           " columns", used + 1, tables[i].columns);
        used++;
    }
    memset(ret, 0, sizeof *ret);
    main_parse(results[0], ret);
    used = 1;
    for (size_t i = 0; i < PGH_COUNT(tables); i++)
        if ((parts & tables[i].part) != 0)
            tables[i].parse(results[used++], ret);
    return RC_OK;
}

void pg_status_done(struct pg_status *status)
{
    for (int i = 0; i < status->pending_count; i++) {
        mem_free(status->pending[i].old_value);
        mem_free(status->pending[i].new_value);
    }
    mem_free(status->pending);
    mem_free(status->slots);
    mem_free(status->senders);
    mem_free(status->receiver_conninfo);
    mem_free(status->primary_conninfo);
    mem_free(status->primary_slot_name);
    mem_free(status->restore_command);
    mem_free(status->synchronous_standby_names);
    memset(status, 0, sizeof *status);
}

uint64_t pg_status_position(const struct pg_status *status)
{
    return status->is_in_recovery ? larger(status->receive_lsn, status->replay_lsn)
                                  : status->flush_lsn;
}
