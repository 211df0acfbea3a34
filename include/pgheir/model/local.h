/* The local PostgreSQL as last seen. Filled by the agent from the control file, the postmaster
 * and SQL; a new one is posted whenever something in it changed, and before the completion of
 * every operation. */
#ifndef PGHEIR_MODEL_LOCAL_H
#define PGHEIR_MODEL_LOCAL_H

#include "pgheir/base/base.h"
#include "pgheir/model/limits.h"
#include "pgheir/model/view.h"

enum data_dir_state {
    DATA_DIR_UNKNOWN,  /* not looked yet */
    /* absent or empty, or an unfinished bootstrap/clone that will be set aside */
    DATA_DIR_EMPTY,
    /* empty, but <base>/pgheir/seen/<name> says this member held data: wait for the volume */
    DATA_DIR_WAITING,
    DATA_DIR_VALID,    /* PostgreSQL data with a readable control file */
    DATA_DIR_HALF,     /* marked: a rewind did not finish; must not be started */
    DATA_DIR_FOREIGN,  /* neither empty nor PostgreSQL's: refused, never removed */
    DATA_DIR_GONE      /* vanished under a running server, or unreadable */
};

enum postmaster_state {
    POSTMASTER_DOWN,
    POSTMASTER_STARTING, /* alive, not yet accepting connections */
    POSTMASTER_UP,       /* accepts connections */
    POSTMASTER_STOPPING
};

/* Database state of pg_control; the rest of its enum is of no interest here. */
enum control_state {
    CONTROL_UNKNOWN,
    CONTROL_SHUT_DOWN,             /* a primary that stopped cleanly */
    CONTROL_SHUT_DOWN_IN_RECOVERY, /* a standby that stopped cleanly */
    /* a running or crashed primary (also "shutting down", "in crash recovery") */
    CONTROL_IN_PRODUCTION,
    CONTROL_IN_RECOVERY            /* a running or crashed standby */
};

struct wal_sender {
    char application_name[NAME_SIZE];
    bool streaming;
    uint64_t flush_lsn;
};

struct slot {
    char name[SLOT_NAME_SIZE];
    bool physical;
    bool active;
    bool has_xmin;
    bool temporary;
    bool lost; /* wal_status = lost */
    uint64_t restart_lsn;
};

struct local {
    enum data_dir_state data_dir;
    enum postmaster_state postmaster;
    int64_t postmaster_id; /* changes with every postmaster: 0 if down */
    bool adopted;          /* was running before us: no parent-death signal */
    bool stop_by_hand;     /* postmaster ended cleanly although nobody of us asked */

    /* Control file; valid if data_dir is VALID or HALF. */
    uint64_t sysid;
    enum control_state control_state;
    uint32_t control_timeline;
    uint64_t control_checkpoint_lsn;  /* start of the last checkpoint record */
    /* after a clean stop: end of the last record; else the least known end */
    uint64_t control_end_lsn;
    bool has_standby_signal;

    /* SQL; valid if sql_valid. */
    bool sql_valid;
    int64_t sql_ok_at_ms;    /* last time a new session and a query worked; 0 never */
    bool in_recovery;
    uint32_t timeline;       /* 0 unknown */
    uint64_t flush_lsn;      /* primary */
    uint64_t receive_lsn;    /* standby: received and written */
    uint64_t replay_lsn;     /* standby */
    enum replication_state replication_state;
    int32_t server_version;  /* 150020 */
    bool pending_restart;
    bool read_only_failed;   /* a probe write was refused: full or read-only disk */

    bool rewind_possible;    /* data checksums or wal_log_hints, and the binary works */

    int32_t wal_sender_count;
    struct wal_sender wal_senders[MEMBERS_MAX];
    int32_t slot_count;
    struct slot slots[SLOTS_MAX];

    /* What the server follows now: name of the member whose address stands in primary_conninfo;
     * "" none. */
    char follows[NAME_SIZE];
    /* primary_conninfo matches that member's present address and our password */
    bool follows_current_address;
};

/* Nothing known, nothing running. */
void local_init(struct local *local);
/* Running and writable as far as we know. Unknown SQL with a primary's control file counts as
 * primary. */
bool local_is_primary(const struct local *local);
/* Newest WAL position: flush of a primary; max(received, replayed) of a standby; else the end
 * known from control. */
uint64_t local_position_lsn(const struct local *local);
uint32_t local_timeline(const struct local *local);

#endif
