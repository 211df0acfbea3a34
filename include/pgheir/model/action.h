/* Everything the core may ask for. Actions of one step are carried out in the order of this
 * enum: first what makes us safer, then what others must know, then what is merely useful.
 * Nothing an action does may block. */
#ifndef PGHEIR_MODEL_ACTION_H
#define PGHEIR_MODEL_ACTION_H

#include "pgheir/model/event.h"
#include "pgheir/model/reason.h"
#include "pgheir/supervisor/fence.h" /* enum fence_kind: one meaning on both sides */

enum action_kind {
    ACTION_NOTE,        /* a decision and its reason; carries no effect */
    ACTION_FENCE,       /* tell the supervisor until when PostgreSQL may write */
    /* end the running operation; it still completes with EVENT_OP_DONE (cancelled) */
    ACTION_OP_CANCEL,
    ACTION_OP_BEGIN,    /* one at a time; completes with EVENT_OP_DONE */
    ACTION_CALL,        /* an etcd request; completes as enum call says */
    /* GET api_url of every member of the view and of every member that the last view with a leader
     * had, in parallel; completes with EVENT_PEERS. */
    ACTION_PEERS_ASK,
    /* timeline history of the leader over the replication protocol; EVENT_HISTORY */
    ACTION_HISTORY_READ,
    ACTION_SLOT_CREATE,
    ACTION_SLOT_ADVANCE,
    ACTION_SLOT_DROP,
    ACTION_CONF_APPLY,  /* policy or identity changed: rewrite PostgreSQL's files, reload it */
    ACTION_STATE_SAVE,  /* hand core_save() to the supervisor */
    ACTION_REPLY,       /* answer a request of EVENT_REQUEST */
    ACTION_EXIT,        /* end the agent with this code; PostgreSQL is left as it is */
    ACTION_COUNT
};

enum stop_mode { STOP_FAST, STOP_IMMEDIATE };

enum reply_code {
    REPLY_OK,
    REPLY_BUSY,
    REPLY_NO_LEADER,
    REPLY_IS_LEADER,
    REPLY_FAILED,
    REPLY_TIMEOUT
};

struct action {
    enum action_kind kind;
    union {
        struct {
            enum reason reason;
            char member[NAME_SIZE]; /* whom it is about; "" nobody */
            int64_t value;          /* meaning by reason: bytes, ms, timeline, count */
        } note;
        struct {
            enum fence_kind kind;
            int64_t until_ms; /* FENCE_UNTIL */
        } fence;
        struct {
            uint32_t op_id;
            enum op_kind kind;
            enum stop_mode stop_mode; /* OP_STOP */
            /* OP_STOP: wait for the walsenders to send the shutdown record */
            bool handover;
            /* 0: none but the operation's own; OP_STOP: immediate, then kill after it */
            int64_t deadline_ms;
            char source[NAME_SIZE];   /* OP_CLONE, OP_REWIND, OP_START_STANDBY, OP_FOLLOW */
            /* OP_CLONE: an existing data directory may be replaced (P5 holds) */
            bool replace;
            uint32_t timeline_above;  /* OP_PROMOTE: the new timeline must be greater than this */
        } op;
        struct {
            enum call call;
            int64_t deadline_ms;
            /* KEEPALIVE, ASK, ACQUIRE, INIT_*, MEMBER_PUT: ours (ASK: the leader's) */
            int64_t lease_id;
            int64_t ttl_ms;          /* GRANT */
            int64_t create_revision; /* guard: LEADER_RELEASE and every write of a leader */
            int64_t mod_revision;    /* guard: FAILOVER_CLEAR, INIT_COMMIT */
            uint64_t lsn;            /* STATUS_PUT, LEADER_RELEASE: optime */
            uint64_t sysid;          /* INIT_COMMIT, INIT_WRITE */
            uint32_t timeline;       /* TIMELINE_CLAIM, HISTORY_PUT */
        } call;
        struct {
            uint32_t ask_id;
            int64_t deadline_ms;
            int32_t count; /* 0: everybody but me who has an api_url */
            char only[NAME_SIZE]; /* count == 1: just this one */
        } peers;
        struct {
            char leader[NAME_SIZE];
            int64_t deadline_ms;
        } history;
        struct {
            char name[SLOT_NAME_SIZE];
            uint64_t lsn; /* ADVANCE */
        } slot;
        struct {
            uint32_t request_id;
            enum reply_code code;
            enum op_kind busy_with; /* REPLY_BUSY */
        } reply;
        struct {
            int32_t code;
            bool stop_postgres; /* informative: the core has already stopped it where it must */
        } exit;
    } u;
};

struct actions {
    int32_t count;
    struct action items[ACTIONS_MAX];
};

/* Lower-case name for logs and traces. */
const char *action_kind_text(enum action_kind kind);

#endif
