/* The fixed list of what the agent asks and tells a running PostgreSQL (13 to 18). Everything
 * works on an open struct pg_conn, needs one round trip unless said otherwise, and ends in
 * exactly one completion. All names are schema-qualified; sessions have search_path =
 * pg_catalog. LSNs are uint64_t, 0 if unknown; wall times are milliseconds since 1970 UTC, 0 if
 * unknown. */
#ifndef PGHEIR_IO_PG_QUERY_H
#define PGHEIR_IO_PG_QUERY_H

#include "pgheir/base/err.h"
#include "pgheir/codec/pg_history.h"
#include "pgheir/codec/pg_text.h"
#include "pgheir/io/pg_conn.h"

enum { PG_NAME_SIZE = 64, PG_HOST_SIZE = 256, PG_STATE_TEXT_SIZE = 24 };

enum pg_status_part {
    PG_STATUS_REPLICATION = 1, /* pg_stat_replication rows */
    PG_STATUS_SLOTS = 2,       /* pg_replication_slots rows */
    PG_STATUS_SETTINGS = 4,    /* settings that wait for a restart */
};

/* One row of pg_stat_replication. */
struct pg_sender {
    int64_t pid;
    char user[PG_NAME_SIZE], application_name[PG_NAME_SIZE];
    char client_addr[PG_HOST_SIZE];          /* "" for a Unix socket */
    char state[PG_STATE_TEXT_SIZE];          /* startup, catchup, streaming, backup, stopping */
    char sync_state[PG_STATE_TEXT_SIZE];     /* async, potential, sync, quorum */
    int sync_priority;
    uint64_t sent_lsn, write_lsn, flush_lsn, replay_lsn;
};

/* One row of pg_replication_slots. */
struct pg_slot {
    char name[PG_NAME_SIZE], plugin[PG_NAME_SIZE], database[PG_NAME_SIZE];
    char wal_status[PG_STATE_TEXT_SIZE];     /* reserved, extended, unreserved, lost; "" if none */
    bool is_physical, is_temporary, is_active, has_xmin, has_catalog_xmin;
    bool is_failover, is_synced;             /* PostgreSQL 17 and later */
    uint64_t catalog_xmin;
    uint64_t restart_lsn, confirmed_flush_lsn;
};

/* A setting whose value in the files waits for a restart. Strings belong to the status. */
struct pg_pending {
    char name[PG_NAME_SIZE];
    char *old_value, *new_value;
};

/* What one round trip tells. rows: NULL unless asked for and there are some. Done with
 * pg_status_done(). */
struct pg_status {
    int64_t asked_at_ms;       /* CLOCK_BOOTTIME when the question was sent */
    int server_version;        /* 150020 */
    bool is_in_recovery;
    bool is_replay_paused;
    bool is_read_only;         /* default_transaction_read_only or in recovery */
    uint64_t system_identifier;
    /* primary: the one it writes. Standby: receiver_timeline, else 0: ask pg_query_identify()
     * over a replication connection */
    uint32_t timeline;
    uint32_t checkpoint_timeline; /* of the last checkpoint or restartpoint in pg_control */
    int64_t postmaster_start_wall_ms;
    char postmaster_start_text[40]; /* as PostgreSQL prints it: 2026-11-23 14:53:45.358496+00:00 */
    uint64_t flush_lsn;        /* primary */
    uint64_t write_lsn;        /* primary: insert position written out */
    /* standby: newest of received, written and flushed by the receiver */
    uint64_t receive_lsn;
    uint64_t replay_lsn;       /* standby */
    int64_t replay_wall_ms;    /* commit time of the last replayed transaction */
    char receiver_status[PG_STATE_TEXT_SIZE]; /* "" if there is no receiver */
    uint32_t receiver_timeline;
    uint64_t receiver_latest_end_lsn; /* last position that the upstream reported */
    char receiver_host[PG_HOST_SIZE]; /* sender_host: name, address or socket directory */
    int receiver_port;
    char receiver_slot[PG_NAME_SIZE];
    char *receiver_conninfo; /* in use, without password; "" if there is no receiver */
    /* effective settings, "" if empty */
    char *primary_conninfo, *primary_slot_name, *restore_command;
    char *synchronous_standby_names;
    int senders_count, slots_count, pending_count;
    struct pg_sender *senders;
    struct pg_slot *slots;
    struct pg_pending *pending;
};

/* Frees what a status owns and zeroes it. */
void pg_status_done(struct pg_status *status);
/* Newest position: primary flush_lsn; standby the larger of receive_lsn and replay_lsn. */
uint64_t pg_status_position(const struct pg_status *status);

typedef void pg_status_fn(struct pg_status *status, struct pg_answer *answer, void *arg);

/* parts: pg_status_part bits. on_status owns nothing: it may move *status out (copy the struct
 * and zero the original). rc RC_OK: status is filled, answer NULL-free; else status is NULL and
 * answer tells why. */
enum rc pg_query_status(struct pg_conn *conn, unsigned parts, int64_t deadline_ms,
                        pg_status_fn *on_status, void *arg, struct err *err);

/* For tests and for those who have results at hand: results as pg_query_status() asked for them. */
enum rc pg_status_parse(PGresult *const *results, int results_count, unsigned parts,
                        struct pg_status *ret, struct err *err);

/* ---- Replication connections ---- */

struct pg_identity {
    uint64_t system_identifier;
    uint32_t timeline; /* primary: the one it writes; standby: the one it replays */
    uint64_t lsn;
};

typedef void pg_identity_fn(const struct pg_identity *identity, struct pg_answer *answer,
                            void *arg);
typedef void pg_history_fn(const struct pg_history *history, struct pg_answer *answer, void *arg);

/* IDENTIFY_SYSTEM. identity NULL: answer tells why. */
enum rc pg_query_identify(struct pg_conn *conn, int64_t deadline_ms, pg_identity_fn *on_done,
                          void *arg, struct err *err);

/* TIMELINE_HISTORY timeline, from 2 on. history NULL: answer tells why; valid during the call
 * only. */
enum rc pg_query_history(struct pg_conn *conn, uint32_t timeline, int64_t deadline_ms,
                         pg_history_fn *on_done, void *arg, struct err *err);

/* ---- Settings ---- */

struct pg_setting {
    const char *name, *setting, *unit, *vartype, *context, *min_val, *max_val, *enumvals, *source;
    const char *boot_val, *reset_val;
    bool is_pending_restart;
};

typedef void pg_settings_fn(const struct pg_setting *settings, int count, struct pg_answer *answer,
                            void *arg);

/* Rows of pg_settings: all, or those with context postmaster. The strings are valid during the
 * call only. */
enum rc pg_query_settings(struct pg_conn *conn, bool only_postmaster, int64_t deadline_ms,
                          pg_settings_fn *on_done, void *arg, struct err *err);

typedef void pg_recovery_fn(bool is_in_recovery, struct pg_answer *answer, void *arg);

/* ---- Statements. on_done(answer): answer->rc is the result. ---- */

/* Asks the one question that a promotion needs. is_in_recovery is true where it is not known. */
enum rc pg_query_is_in_recovery(struct pg_conn *conn, int64_t deadline_ms, pg_recovery_fn *on_done,
                                void *arg, struct err *err);
/* CHECKPOINT. Give it a connection of its own (PG_CONN_TASK): it may take minutes. */
enum rc pg_query_checkpoint(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_done,
                            void *arg, struct err *err);
/* Reads the configuration files again, as SIGHUP does. */
enum rc pg_query_reload_conf(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_done,
                             void *arg, struct err *err);
/* Physical slot that reserves WAL at once. An existing one is sqlstate 42710. */
enum rc pg_query_slot_create(struct pg_conn *conn, const char *slot, int64_t deadline_ms,
                             pg_answer_fn *on_done, void *arg, struct err *err);
/* Drops unless it is active (sqlstate 55006) or not there (no error). */
enum rc pg_query_slot_drop(struct pg_conn *conn, const char *slot, int64_t deadline_ms,
                           pg_answer_fn *on_done, void *arg, struct err *err);
/* Moves an inactive physical slot forward to lsn; one that is already there or further is left
 * alone. */
enum rc pg_query_slot_advance(struct pg_conn *conn, const char *slot, uint64_t lsn,
                              int64_t deadline_ms, pg_answer_fn *on_done, void *arg,
                              struct err *err);
/* Lets a standby whose replay is paused go on. */
enum rc pg_query_replay_resume(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_done,
                               void *arg, struct err *err);

/* ---- Roles ---- */

enum pg_role_kind { PG_ROLE_SUPERUSER, PG_ROLE_REPLICATION, PG_ROLE_REWIND, PG_ROLE_KIND_COUNT };

/* password NULL or "": the role is made without one and an existing one is left alone. Strings
 * are copied. */
struct pg_account {
    enum pg_role_kind kind;
    const char *name;
    const char *password;
};

/* Creates or changes the roles, each in its own transaction, in order, on a PG_CONN_TASK
 * session. The server sees only the verifier (SCRAM or md5, as password_encryption says), and
 * logs none of it. A PG_ROLE_REWIND gets EXECUTE on the four functions that pg_rewind calls.
 * Several round trips; one completion. */
enum rc pg_query_roles(struct pg_conn *conn, const struct pg_account *roles, int count,
                       int64_t deadline_ms, pg_answer_fn *on_done, void *arg, struct err *err);

#endif
