/* What the core remembers between two steps. Public only so that its owner can hold it without an
 * allocation; nobody outside src/core reads or writes a field. */
#ifndef PGHEIR_CORE_STATE_H
#define PGHEIR_CORE_STATE_H

#include "pgheir/base/prng.h"
#include "pgheir/model/action.h"
#include "pgheir/model/event.h"

/* What the next agent must know to carry on without interrupting PostgreSQL; the supervisor keeps
 * it as bytes. */
struct core_saved {
    uint32_t version; /* CORE_SAVED_VERSION, else ignored */
    uint32_t unused;
    int64_t lease_id;
    int64_t lease_ttl_ms;
    int64_t asked_ttl_ms;
    int64_t keepalive_sent_at_ms;
    int64_t leader_create_revision; /* 0: not the leader */
    int64_t fence_until_ms;         /* right or grace of who writes; 0: none */
    int64_t pause_confirmed;        /* 0 or 1 */
    int64_t crash_count;
    int64_t crash_window_at_ms;
    uint64_t cluster_id; /* of the etcd in which all this was true */
    int64_t hold_until_ms; /* the holder before us may write until then; 0: it may not */
    char hold_for[NAME_SIZE];
};

enum { CORE_SAVED_VERSION = 3 };

/* One request to etcd: at most one of a kind is under way. */
struct call_slot {
    bool in_flight;
    int64_t retry_at_ms; /* not before; 0 at once */
    int64_t after_revision; /* not before a view shows what the last one did; 0 at once */
    int32_t failures;    /* in a row */
    bool is_of_old_store; /* under way when another etcd took the place of the one it was sent to */
};

struct core_lease {
    int64_t id; /* 0: none */
    int64_t ttl_ms;        /* as granted: etcd may raise what was asked for */
    int64_t asked_ttl_ms;  /* as asked */
    int64_t asking_ttl_ms; /* of the grant under way */
    int64_t next_asked_ttl_ms;
    int64_t next_id; /* granted with another ttl, the key is moving onto it; 0 none */
    int64_t next_ttl_ms;
    int64_t next_sent_at_ms;
    int64_t sent_at_ms;      /* of the last keepalive or grant that etcd answered */
    int64_t answered_at_ms;  /* and when that answer came */
    uint64_t raft_term;      /* and under which term */
    int64_t renew_at_ms;
    bool renew_now;          /* the last one could not be counted */
    bool was_lost;           /* the one before it ended unseen: meanwhile others may have led */
};

struct core_key {
    int64_t create_revision;    /* 0: the key is not ours */
    int64_t moved_revision;     /* views older than this do not know the lease that it hangs on */
    int64_t lost_revision;      /* views older than this do not know that we gave the key up */
    int64_t fence_until_ms;     /* confirmed right to write; 0 none */
    int64_t demote_lead_ms;     /* by the ttl that this right was counted with; 0: the lease's */
    bool confirm_wanted;        /* a keepalive waits for a read that shows our key */
    int64_t vanished_at_ms;     /* our key is gone and nobody has it; 0 no */
    int64_t hold_until_ms;      /* won, but the former holder may write until then; 0 no */
    char hold_for[NAME_SIZE];   /* whose fence we wait for */
    int64_t doubted_at_ms;      /* a release was not answered: it may be gone; 0 no */
    bool is_unproven;           /* won as a standby, on what was known when it was asked for */
    bool claimed;               /* the new timeline is announced */
    uint32_t claim_timeline;
    bool history_written;
};

/* The key's former holder, as a member without the key must know it to judge a vanished key. */
struct core_former {
    char name[NAME_SIZE];
    int64_t lease_id;
    int64_t expires_at_ms;  /* not before: from the last answer about its lease; 0 never asked */
    int64_t expires_by_ms;  /* not after, if it was not renewed since the last answer */
    int64_t answer_sent_at_ms; /* when that one was asked for; 0 never */
    int64_t lost_at_ms;     /* when the cluster became leaderless; 0 it is not */
    int64_t told_until_ms;  /* it said itself that it may write until then; 0 it did not */
    bool left_cleanly;      /* its member key says that it stopped */
    bool has_let_go;        /* and it gave the key to whom it saw to have everything */
    bool is_harmless;       /* it answered since the loss, and not as a primary */
    bool is_silent;         /* asked ahead, it did not answer */
    uint32_t ahead_id;      /* question asked ahead; 0 none under way */
    bool ever;              /* a leader was seen since the start */
    int64_t asked_ahead_at_ms;
};

enum race_phase { RACE_IDLE, RACE_ASKING, RACE_ACQUIRING };

struct core_race {
    enum race_phase phase;
    uint32_t ask_id;
    int64_t next_at_ms;
    int64_t bench_until_ms;    /* gave the key up: others first */
    int64_t stalled_since_ms;  /* somebody fitter does not take the key */
    bool is_hasty; /* this round is shorter: it does not wait for the silent former holder */
};

enum switch_phase {
    SWITCH_NONE,
    SWITCH_ASKING,
    SWITCH_CHECKPOINT,
    SWITCH_PROBING,
    SWITCH_STOPPING,
    SWITCH_CONFIRMING,
    SWITCH_RELEASING,
    SWITCH_BACK
};

/* Handing the key over: on request, or because we are asked to stop. */
struct core_switch {
    enum switch_phase phase;
    bool is_shutdown;         /* SIGTERM: end the agent afterwards */
    bool is_forced;           /* a person's failover: waives lag and timeline of the candidate */
    char candidate[NAME_SIZE];
    bool candidate_named;
    int64_t request_revision; /* of the failover key */
    uint32_t ask_id;
    int64_t ask_at_ms;
    bool asking;
    int64_t deadline_ms;
    uint64_t probe_lsn;       /* what the candidate must receive before we stop */
    uint64_t probed_lsn;      /* what it had received when last asked */
    int64_t probe_until_ms;   /* however slowly it comes nearer */
    uint64_t shutdown_lsn;    /* end of the shutdown record */
    bool is_heirless;         /* the key goes because nobody could take over */
    uint64_t candidate_lsn;   /* what a forced candidate had when last asked */
};

struct core_op {
    enum op_kind kind; /* OP_NONE: nothing runs */
    uint32_t id;
    bool cancelling;
    int64_t began_at_ms;
    char source[NAME_SIZE];
};

/* Coming back under another leader. */
struct core_follow {
    bool check_wanted;      /* compare histories before following */
    bool asking;
    int64_t ask_at_ms;      /* next try */
    char agreed_with[NAME_SIZE]; /* leader whose history was compared last and agreed */
    uint32_t agreed_timeline;    /* at this timeline of it */
    bool diverged;          /* last comparison: we must be rewound or replaced */
    int64_t not_streaming_since_ms;
    int32_t rewind_failures;
    int64_t rewind_at_ms;
    int32_t clone_failures;
    int64_t clone_at_ms;
    int64_t follow_at_ms;
    int64_t start_at_ms;
    int32_t start_failures;
};

struct core_crash {
    int32_t count;
    int64_t window_at_ms; /* of the first crash counted */
};

struct core_request {
    bool reinit;
    bool restart;
    bool from_leader;
    uint32_t restart_id;
};

struct retained_slot {
    char name[SLOT_NAME_SIZE];
    int64_t last_seen_ms;
};

struct core {
    struct identity identity;
    struct prng prng;
    int64_t now_ms;
    int64_t now_wall_ms;
    int64_t planned_at_ms; /* what core_deadline() said last */

    const struct view *view; /* NULL before the first one */
    int64_t view_read_sent_at_ms; /* newest linearizable read */
    uint64_t view_read_term;
    struct policy policy; /* the last one that etcd showed: it outlives a config that was deleted */
    bool policy_is_seen;
    bool cluster_is_known; /* initialize was seen done: nothing is ever bootstrapped after that */
    uint64_t cluster_id; /* of the etcd that the keys live in; 0 before the first view */
    int64_t silent_since_ms; /* our start, the first view, or when timings became shorter */
    int64_t etcd_seen_at_ms; /* 0 never */
    int64_t read_at_ms;
    int64_t ask_lease_at_ms;
    const struct local *local; /* NULL before the first one */
    int64_t known_postmaster_id;
    bool was_primary; /* the server that is down now was a primary */
    /* This postmaster was told to promote and did not say that it has: it may become a writer
     * yet. */
    int64_t doubtful_postmaster_id;
    bool fenced;      /* the supervisor ended it, this is not a crash */
    bool taken_on_request; /* in pause: the key was taken as the named candidate, promote */

    struct call_slot calls[CALL_COUNT];
    struct core_lease lease;
    struct core_key key;
    struct core_former former;
    struct core_race race;
    struct core_switch handover;
    struct core_op op;
    struct core_follow follow;
    struct core_crash crash;
    struct core_request request;

    uint32_t next_id;
    bool paused;            /* as the newest view has it: nothing is begun */
    bool pause_is_confirmed; /* by a read of a moment ago: the fence is disarmed */
    /* a primary that we found running may write until then while we try for the key */
    int64_t grace_until_ms;
    bool stopping;          /* SIGTERM */
    bool exiting;
    bool bootstrapping;     /* initialize is ours and empty */
    int64_t bootstrap_revision; /* of our initialize */
    bool checkpoint_pending;
    int64_t checkpoint_at_ms; /* next try */
    int64_t etcd_back_at_ms;  /* end of the last silence; 0 never */
    bool etcd_is_silent;      /* said so */
    int64_t leave_at_ms;      /* stopping: exit then even if etcd was not told */
    bool conf_stale;
    int64_t config_seen_revision;

    enum reason unfit; /* the key must be given up because we cannot serve; NONE: no */
    struct core_saved saved; /* as last handed over */

    enum fence_kind fence_sent_kind;
    int64_t fence_sent_until_ms;
    int64_t fence_longest_ms; /* the supervisor may hold this one, if it does not listen */

    int64_t tick_at_ms; /* housekeeping, every loop_wait */
    bool member_dirty;
    uint64_t status_sent_lsn;
    bool status_due;
    enum pg_state told_state;
    enum pg_role told_role;
    enum replication_state told_replication;
    uint32_t told_timeline;
    bool told_pending_restart;

    enum reason reason; /* why it is as it is */
    char reason_member[NAME_SIZE];
    int64_t reason_value;

    uint64_t slots_membership; /* for whom slots were looked after last */
    int32_t retained_count;
    struct retained_slot retained[MEMBERS_MAX];
};

#endif
