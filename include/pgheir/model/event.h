/* Everything that can happen, as the core hears it. The time of the turn travels in the event;
 * pointers are borrowed: view and local stay valid and unchanged until the next event of the
 * same kind has been posted (the core keeps the pointer), all others only during the step. */
#ifndef PGHEIR_MODEL_EVENT_H
#define PGHEIR_MODEL_EVENT_H

#include "pgheir/model/local.h"
#include "pgheir/model/view.h"

/* Requests to etcd. At most one of each is under way; each ends in exactly one event:
 * CALL_VIEW_READ in EVENT_VIEW if it worked, everything else (and its failure) in EVENT_CALL. */
enum call {
    CALL_LEASE_GRANT,
    CALL_LEASE_KEEPALIVE,
    CALL_LEASE_ASK, /* time left on the leader's lease */
    CALL_VIEW_READ, /* linearizable range over the cluster's prefix */
    CALL_LEADER_ACQUIRE,
    CALL_LEADER_MOVE, /* our key onto a new lease: guarded on its value and create_revision */
    CALL_LEADER_RELEASE,
    CALL_INIT_RACE,
    CALL_INIT_COMMIT,
    CALL_INIT_ABORT,
    CALL_INIT_WRITE,
    CALL_CONFIG_RESTORE,
    CALL_TIMELINE_CLAIM,
    CALL_STATUS_PUT,
    CALL_HISTORY_PUT,
    CALL_FAILOVER_CLEAR,
    CALL_MEMBER_PUT,
    CALL_COUNT
};

enum call_outcome {
    OUTCOME_OK,
    OUTCOME_REFUSED,     /* the transaction's guard did not hold: certainly not applied */
    OUTCOME_LEASE_GONE,  /* requested lease not found, or a keepalive without TTL */
    OUTCOME_UNKNOWN,     /* sent, no answer: may have been applied */
    OUTCOME_UNAVAILABLE, /* certainly not applied */
    OUTCOME_COUNT
};

enum op_kind {
    OP_NONE,
    OP_BOOTSTRAP,      /* initdb, private start, roles, clean stop; ends with DATA_DIR_VALID */
    OP_CLONE,          /* base backup from member source */
    OP_START_PRIMARY,  /* in place, without a new timeline; needs the fence pushed before */
    OP_START_STANDBY,  /* following member source, or nobody ("") */
    OP_STOP,
    OP_PROMOTE,        /* ends when a session can write */
    OP_FOLLOW,         /* running standby: new primary_conninfo by reload (restart where it must) */
    OP_CHECKPOINT,
    /* from member source; single-user recovery and keeping lost WAL aside included */
    OP_REWIND,
    OP_RESTART,        /* stop fast and start in the same role, asked by a person */
    OP_COUNT
};

/* OP_STOP: OK stopped in its own time; TIMEOUT stopped, but only by force; FAILED still there.
 * All others: TIMEOUT when its deadline came first, whatever it did is undone or goes on in the
 * server. */
enum op_result { OP_RESULT_OK, OP_RESULT_FAILED, OP_RESULT_TIMEOUT, OP_RESULT_CANCELLED };

/* One peer's GET of its api_url. */
struct peer_answer {
    char name[NAME_SIZE];
    bool reachable;       /* answered 200 with a usable document in time */
    bool is_primary;      /* not in recovery */
    bool is_pgheir;
    bool running;         /* state running, i.e. its positions are from SQL */
    bool nofailover;
    bool watchdog_failed;
    bool etcd_silent;     /* pgheir peer: it has not reached etcd for more than ttl */
    int32_t failover_priority;
    uint32_t timeline;    /* 0 unknown */
    uint64_t received_lsn; /* standby: max(received, replayed); primary: its location; 0 unknown */
    int64_t fence_left_ms; /* pgheir primary: how long it may still write; -1 unknown; 0 none */
};

enum request_kind { REQUEST_RESTART, REQUEST_REINIT };

enum event_kind {
    EVENT_TIMER,    /* the deadline of core_deadline() has come */
    EVENT_VIEW,     /* a new picture of the cluster */
    EVENT_CALL,     /* an etcd request ended */
    EVENT_LOCAL,    /* the local PostgreSQL changed or was looked at again */
    EVENT_OP_DONE,
    EVENT_PEERS,    /* answers to ACTION_PEERS_ASK: all of them, or the bound is over */
    EVENT_HISTORY,  /* answer to ACTION_HISTORY_READ */
    EVENT_REQUEST,  /* a person asks this node for something */
    EVENT_SHUTDOWN, /* SIGTERM */
    EVENT_IDENTITY, /* local configuration (re)loaded */
    EVENT_FENCED,   /* the supervisor ended PostgreSQL because the fence passed */
    EVENT_COUNT
};

/* The local configuration as far as decisions need it. */
struct identity {
    char name[NAME_SIZE];
    struct tags tags;
    bool may_bootstrap; /* section bootstrap exists */
};

struct event {
    enum event_kind kind;
    int64_t now_ms;      /* CLOCK_BOOTTIME */
    int64_t now_wall_ms; /* only to compare with scheduled_at */
    union {
        struct {
            const struct view *view;
            bool from_read;      /* linearizable answer to CALL_VIEW_READ; else from the watch */
            int64_t sent_at_ms;  /* from_read: moment its request was sent */
        } view;
        struct {
            enum call call;
            enum call_outcome outcome;
            /* moment the bytes of the attempt that was answered were sent; 0: etcd was not asked */
            int64_t sent_at_ms;
            uint64_t raft_term;
            int64_t revision;   /* of the answer's header */
            int64_t lease_id;   /* grant: the new one; keepalive, ask: the one asked about */
            int64_t ttl_ms;     /* grant, keepalive: as answered; ask: time left, <= 0 gone */
        } call;
        const struct local *local;
        struct {
            uint32_t op_id;
            enum op_result result;
        } op;
        struct {
            uint32_t ask_id;
            int32_t count;
            /* one for each member asked, unreachable ones included */
            const struct peer_answer *answers;
        } peers;
        struct {
            bool ok;
            char leader[NAME_SIZE];
            bool leader_is_primary;    /* not in recovery, asked over SQL */
            uint32_t timeline;         /* of the leader's server */
            int32_t count;             /* rows of its history, oldest first */
            const struct history_row *rows;
        } history;
        struct {
            enum request_kind kind;
            uint32_t request_id;
            bool force;       /* reinit: cancel the running operation; restart: unused */
            bool from_leader; /* reinit */
        } request;
        const struct identity *identity;
    } u;
};

/* Lower-case names for logs and traces. */
const char *call_text(enum call call);
const char *call_outcome_text(enum call_outcome outcome);
const char *op_kind_text(enum op_kind kind);
const char *event_kind_text(enum event_kind kind);

#endif
