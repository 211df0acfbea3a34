/* The simulated world: time, etcd, PostgreSQL, network, supervisors, people and the judges. It
 * links the very core and fence arithmetic that run in production and plays whole clusters
 * against seeded faults.
 *
 * True time is w->now_us, microseconds that no player sees. A player sees the clock of its node.
 * Players never read the world: they get events and give actions. Judges read everything.
 *
 * Files: world.c (time, dispatch), queue.c, net.c, etcd.c (store), etcd_call.c (transport),
 * wal.c, pg.c (server processes), pg_op.c (operations), supervisor.c (the nets), agent.c (the
 * shell around the core), rest.c, fault.c + swarm.c (what a seed does), judge.c (promises),
 * story.c, trace.c, main.c. */
#ifndef PGHEIR_SIM_SIM_H
#define PGHEIR_SIM_SIM_H

#include <setjmp.h>
#include <stdio.h>

#include "pgheir/base/prng.h"
#include "pgheir/base/str.h"
#include "pgheir/core/core.h"
#include "pgheir/supervisor/fence.h"

enum {
    NODES_MAX = 5,
    BRANCHES_MAX = 256, /* promotions of one seed */
    WAL_LOG_MAX = 256,  /* newest positions of a branch with their times */
    LEASES_MAX = 256,
    VIEWS_MAX = 1024,
    RPCS_MAX = 512,
    ASKS_MAX = 64,
    QUEUE_MAX = 16384,
    PARKED_MAX = 256,
    SIM_SLOTS_MAX = 16,
    FAULTS_MAX = 64,
    FINDING_SIZE = 240,
    FINDINGS_MAX = 4, /* of one seed; the first one counts */
    STORY_NOTES_MAX = 512,
    US_PER_MS = 1000,
    US_PER_S = 1000000
};

/* ---- time ---- */

/* Who must be able to run for an event to take place. An event of somebody who is frozen waits
 * until the thaw; an event of somebody who died is dropped. */
enum event_class {
    CLASS_WORLD,      /* always */
    CLASS_MACHINE,    /* node powered and not frozen; epoch: boot */
    CLASS_POSTMASTER, /* machine runs; epoch: postmaster */
    CLASS_SUPERVISOR, /* epoch: supervisor */
    CLASS_AGENT       /* epoch: agent */
};

#define SIM_EVENT_TABLE(X)                                                                         \
    X(RPC_APPLY, WORLD)                                                                            \
    X(RPC_RETRY, AGENT)                                                                            \
    X(RPC_ANSWER, AGENT)                                                                           \
    X(RPC_FAIL, AGENT)                                                                             \
    X(ETCD_TICK, WORLD)                                                                            \
    X(ETCD_ELECTED, WORLD)                                                                         \
    X(WATCH_FLUSH, WORLD)                                                                          \
    X(WATCH_DELIVER, AGENT)                                                                        \
    X(AGENT_TIMER, AGENT)                                                                          \
    X(AGENT_START, SUPERVISOR)                                                                     \
    X(AGENT_POLL, AGENT)                                                                           \
    X(AGENT_LOOK, AGENT)                                                                           \
    X(AGENT_FENCED, AGENT)                                                                         \
    X(AGENT_SHUTDOWN, AGENT)                                                                       \
    X(AGENT_REQUEST, AGENT)                                                                        \
    X(OP_DONE, AGENT)                                                                              \
    X(OP_DEADLINE, AGENT)                                                                          \
    X(TASK_DONE, MACHINE)                                                                          \
    X(PEER_ANSWER, AGENT)                                                                          \
    X(PEERS_DEADLINE, AGENT)                                                                       \
    X(HISTORY_ANSWER, AGENT)                                                                       \
    X(SUPERVISOR_START, MACHINE)                                                                   \
    X(NETS, MACHINE)                                                                               \
    X(ORPHANS_KILL, SUPERVISOR)                                                                    \
    X(PG_KILL, MACHINE)                                                                            \
    X(PG_STARTED, POSTMASTER)                                                                      \
    X(PG_STOP_STEP, POSTMASTER)                                                                    \
    X(PG_GONE, POSTMASTER)                                                                         \
    X(PG_PROMOTED, POSTMASTER)                                                                     \
    X(PG_CHECKPOINTED, POSTMASTER)                                                                 \
    X(PG_CRASH, POSTMASTER)                                                                        \
    X(LINK_RETRY, POSTMASTER)                                                                      \
    X(LINK_TIMEOUT, POSTMASTER)                                                                    \
    X(WRITER, WORLD)                                                                               \
    X(FAULT, WORLD)                                                                                \
    X(HEAL, WORLD)

enum sim_event_kind {
#define X(name, class) EV_##name,
    SIM_EVENT_TABLE(X)
#undef X
    EV_COUNT
};

struct sim_event {
    int64_t at_us;
    uint64_t order; /* of equal times: first come, first served */
    uint16_t kind;
    int16_t node;
    uint32_t epoch;
    uint32_t arg;
    uint32_t extra;
};

struct queue {
    int32_t count;
    uint64_t next_order;
    struct sim_event items[QUEUE_MAX];
};

/* ---- etcd ---- */

/* A view that several players hold at once; nobody changes it. */
struct shared_view {
    int32_t refs;
    int32_t next_free;
    struct view view;
};

struct sim_lease {
    int64_t id; /* 0: unused */
    int64_t ttl_ms;
    int64_t expires_us;
    int16_t node;
};

struct etcd {
    struct view now; /* the keys, as the newest revision */
    int32_t view_idx;     /* shared copy of it; -1 if the keys changed since */
    int32_t down_count;   /* faults that keep it from answering */
    bool electing;
    int64_t stale_until_us; /* a deposed leader answers keepalives of stale_node until then */
    int16_t stale_node;
    uint64_t stale_term;
    bool flush_pending;
    int64_t next_lease_id;
    struct sim_lease leases[LEASES_MAX];
    int32_t lease_high; /* leases[] beyond are unused */
    int64_t member_lease[MEMBERS_MAX];
    int64_t status_put_us;
    int64_t wiped_us; /* all keys were removed last */
    struct shared_view *pool;
    int32_t pool_free;
};

/* One request on its way. */
struct rpc {
    int32_t next_free;
    int32_t refs; /* events that still name it */
    bool done;
    bool maybe_applied;
    int16_t node;
    uint32_t epoch;
    enum call call;
    struct action action;
    int64_t deadline_us;
    int64_t sent_at_ms;
    enum call_outcome outcome;
    uint64_t raft_term;
    int64_t revision;
    int64_t lease_id;
    int64_t ttl_ms;
    int32_t view_idx; /* -1 none */
    struct member member; /* what MEMBER_PUT writes, made when it was sent */
};

/* ---- network ---- */

struct net {
    int16_t cut[NODES_MAX][NODES_MAX];  /* from, to: how many faults cut it */
    int32_t delay_us[NODES_MAX][NODES_MAX];
    int16_t etcd_cut_out[NODES_MAX];    /* requests are lost */
    int16_t etcd_cut_in[NODES_MAX];     /* answers are lost */
    int16_t etcd_reject[NODES_MAX];     /* connections are refused at once */
    int32_t etcd_delay_us[NODES_MAX];   /* added to both ways */
    int16_t etcd_drop_permille[NODES_MAX];
    int16_t watch_deaf[NODES_MAX];
};

/* ---- PostgreSQL ---- */

/* A stretch of WAL with one number and one writer. Two nodes that write under one number make two
 * branches of that number: the judge of timelines sees it. */
struct branch {
    uint32_t timeline;
    int32_t parent; /* -1: from initdb */
    uint64_t fork_lsn;
    uint64_t end_lsn;
    uint64_t acked_lsn;
    uint64_t sysid;
    int16_t writer;
    int64_t begun_us;
    int64_t won_us; /* when its writer won the key under which it announced the number */
    int32_t log_count; /* ever; the newest WAL_LOG_MAX are kept */
    int64_t log_at_us[WAL_LOG_MAX];
    uint64_t log_lsn[WAL_LOG_MAX];
};

enum link_state { LINK_NONE, LINK_UP, LINK_STALLED };

enum stop_step {
    STOP_SESSIONS,
    STOP_CHECKPOINT,
    STOP_SENDERS,
    STOP_EXIT,
    STOP_DEADLINE,
    STOP_KILL
};

struct pg {
    enum data_dir_state data_dir;
    uint64_t sysid;
    int32_t branch;    /* -1: no data */
    uint64_t lsn;      /* end of the local WAL; of a linked standby: when the link came up */
    enum control_state control;
    int32_t control_branch;
    uint64_t checkpoint_lsn;
    uint64_t end_lsn;
    bool standby_signal;
    bool init_marked; /* initdb made it, and no server was ever started on it for the cluster */
    uint32_t timeline_max; /* newest history file in pg_wal */

    enum postmaster_state state;
    int64_t postmaster_id;
    int64_t told_id; /* as the agent knows it: a postmaster is gone once its orphans are */
    uint32_t epoch;
    bool frozen;      /* SIGSTOP of the postmaster: sessions live on */
    bool orphans;     /* backends without a postmaster */
    bool primary;     /* out of recovery, or will be at the end of the start */
    bool writable;    /* sessions may commit, as far as the server is concerned */
    bool promoting;
    bool stopping;
    bool stop_handover;
    bool stop_forced; /* its time was over */
    bool ended_by_force;
    bool adopted;
    bool by_hand;
    bool disk_full;
    bool writer_armed;
    int64_t up_us;   /* since when it answers */
    bool crash_loops;  /* dies soon after each start */
    bool checkpointing;
    uint32_t slot_mask; /* member slots by node index */

    int16_t follows;   /* whose address stands in primary_conninfo; -1 nobody */
    enum link_state link;
    int16_t upstream;
    int64_t upstream_id; /* its postmaster when the link came up */
    bool retry_armed;
    int64_t stalled_us;
    int64_t lag_us;    /* of what is received; a fault raises it */
    int64_t unlinked_us; /* since when nothing is received */
    int64_t sql_ok_at_ms;
};

/* ---- processes ---- */

enum proc_state { PROC_DEAD, PROC_ALIVE, PROC_FROZEN };

struct sim_op {
    enum op_kind kind;
    uint32_t id;
    uint32_t serial; /* of the world: tells old events from new ones */
    bool finishing;
    bool restart_stopped; /* OP_RESTART is in its second half */
    bool restart_primary;
    enum op_result result;
    int16_t source;
    int64_t source_postmaster;
    int64_t began_us;
    struct action action;
};

struct node_clock {
    int64_t offset_us;
    int32_t drift_ppm;
    int64_t wall_offset_us;
};

struct node {
    int16_t index;
    char name[NAME_SIZE];
    struct identity identity;
    struct node_clock clock;
    uint32_t boot_epoch;
    bool powered;
    int16_t frozen; /* whole node: how many faults hold it */
    int64_t frozen_since_us;
    bool vm_paused;
    int32_t disk_factor; /* 1: as usual; more: everything that touches the disk takes longer */

    enum proc_state supervisor;
    uint32_t supervisor_epoch;
    struct fence fence;
    int64_t fence_pushed_us; /* when it came to be held */
    struct fence waiting; /* the newest push, unread while the supervisor is stopped */
    bool is_push_waiting;
    uint32_t nets_serial;
    int64_t armed_us; /* end of the last time without a fence, in a pause */
    struct fence last_fence;    /* of a supervisor that died, and */
    int64_t supervisor_died_us; /* when */
    int64_t nets_at_us; /* when NETS is due; 0 not armed */
    struct core_saved saved;
    bool has_saved;
    struct core_saved waiting_state; /* behind that push, in the same socket */
    bool is_state_waiting;
    int32_t agent_crashes;
    int64_t agent_started_us;
    bool service_wanted; /* the service manager starts it again */

    enum proc_state agent;
    uint32_t agent_epoch;
    struct core core;
    uint32_t timer_serial;
    int64_t timer_at_us; /* 0 not armed */
    int64_t stall_until_us; /* scheduled late until then */
    struct local locals[2];
    int32_t local_idx;
    bool look_pending;
    int32_t view_held; /* -1 none */
    uint32_t known_mask; /* members of the last view with a leader */
    bool watch_on;
    bool watch_missed;
    int64_t watch_last_us;
    int32_t call_rpc[CALL_COUNT]; /* -1: none under way */
    struct sim_op op;
    uint32_t history_serial;

    struct pg pg;

    int32_t parked_count;
    struct sim_event parked[PARKED_MAX];

    /* what the judges remember */
    bool could_ack;
    bool pause_overlap;     /* writes beside another one since a pause */
    int64_t thawed_us;      /* end of the last freeze of the whole node, and */
    int64_t vm_thawed_us;   /* of the last pause of it as a virtual machine */
    int64_t vm_trust_us;    /* after a VM pause: first keepalive answered that was sent after it */
    int64_t won_us;
    int64_t won_revision;   /* create_revision of the last key that etcd gave to this node */
    int64_t key_removed_us; /* somebody else removed its key by force */
    int64_t paused_since_us;/* its agent has known of the pause since; 0 no */
    int64_t second_at_us;
    int32_t second_actions;
    int32_t second_steps;
    int64_t requested_us;   /* a person asked this node for something */
    int32_t requests_open;  /* and has no answer yet */
    int64_t disrupted_us;   /* last fault on this node */
    enum reason last_reason;
};

/* One round of asking the peers. */
struct ask {
    bool used;
    int16_t node;
    uint32_t epoch;
    uint32_t ask_id;
    int32_t pending;
    bool done;
    int32_t events;
    int32_t count;
    struct peer_answer answers[NODES_MAX];
};

/* ---- what a seed does ---- */

#define FAULT_TABLE(X)                                                                             \
    X(AGENT_CRASH, 6)                                                                              \
    X(AGENT_FREEZE, 8)                                                                             \
    X(AGENT_LATE, 4)                                                                               \
    X(SUPERVISOR_CRASH, 4)                                                                         \
    X(SUPERVISOR_FREEZE, 5)                                                                        \
    X(SUPERVISOR_AND_AGENT_FREEZE, 4)                                                              \
    X(MACHINE_LOSS, 10)                                                                            \
    X(NODE_FREEZE, 6)                                                                              \
    X(VM_PAUSE, 2)                                                                                 \
    X(POSTMASTER_CRASH, 8)                                                                         \
    X(POSTMASTER_FREEZE, 5)                                                                        \
    X(CRASH_LOOP, 2)                                                                               \
    X(STOPPED_BY_HAND, 3)                                                                          \
    X(ISOLATE, 8)                                                                                  \
    X(CUT_ETCD, 8)                                                                                 \
    X(CUT_ETCD_ANSWERS, 4)                                                                         \
    X(REJECT_ETCD, 4)                                                                              \
    X(CUT_PEERS, 5)                                                                                \
    X(CUT_ONE_WAY, 4)                                                                              \
    X(SLOW_ETCD, 6)                                                                                \
    X(LOSSY_ETCD, 6)                                                                               \
    X(ETCD_DOWN, 5)                                                                                \
    X(ETCD_ELECTION, 6)                                                                            \
    X(ETCD_STALE_KEEPALIVE, 5)                                                                     \
    X(LEASE_REVOKED, 3)                                                                            \
    X(WATCH_DEAF, 4)                                                                               \
    X(WALL_STEP, 3)                                                                                \
    X(SLOW_DISK, 4)                                                                                \
    X(SLOW_REPLICATION, 6)                                                                         \
    X(DISK_FULL, 3)                                                                                \
    X(VOLUME_LOST, 2)                                                                              \
    X(VOLUME_UNMOUNTED, 2)                                                                         \
    X(COLD_START, 3)                                                                               \
    X(SERVICE_STOP, 6)                                                                             \
    X(SWITCHOVER, 6)                                                                               \
    X(SWITCHOVER_TO, 6)                                                                            \
    X(SWITCHOVER_LATER, 2)                                                                         \
    X(FAILOVER_TO, 3)                                                                              \
    X(PAUSE, 5)                                                                                    \
    X(RESTART, 3)                                                                                  \
    X(REINIT, 3)                                                                                   \
    X(LEADER_KEY_DELETED, 3)                                                                       \
    X(KEYS_WIPED, 2)                                                                               \
    X(ETCD_WIPED, 2)                                                                               \
    X(CONFIG_CHANGED, 3)

enum fault_kind {
#define X(name, weight) FAULT_##name,
    FAULT_TABLE(X)
#undef X
    FAULT_COUNT
};

struct fault {
    enum fault_kind kind;
    bool active;
    bool fired;
    int16_t node;
    int16_t other;
    int64_t at_us;
    int64_t duration_us;
    uint32_t boot_epoch;
    int64_t value;
};

/* What a seed draws before it begins. */
struct setup {
    int32_t node_count;
    struct policy policy;
    bool rewind_possible;
    int64_t rtt_us;        /* usual way to etcd and to peers */
    int64_t write_every_us;
    int64_t write_bytes;
    int64_t receiver_timeout_us;
    int64_t receiver_retry_us;
    int64_t safety_us;     /* length of the phase with faults */
    int64_t live_bound_us; /* within this everything must be well again after the heal */
    int32_t op_fail_permille;
    struct tags tags[NODES_MAX];
    bool may_bootstrap[NODES_MAX];
    int64_t poll_us;
    bool quiet; /* stories: no accidents but those ordered */
};

struct finding {
    int64_t at_us;
    char judge[32];
    char text[FINDING_SIZE];
};

/* Marks of what a seed has seen. */
struct seen {
    bool role_change;
    bool partition;
    bool freeze;
    bool crash;
    bool cold_start;
    bool switchover;
    bool pause;
    bool faults[FAULT_COUNT];
    int32_t fault_count;
    bool reasons[REASON_COUNT];
    int32_t promotions;
    int32_t steps;
    int32_t events;
    int32_t excused_freeze;
    int32_t excused_removed;
    int32_t excused_pause;
    int32_t excused_wiped;
    bool second_cluster;
    int32_t person_init;
    int32_t person_forced;
    int64_t lost_bytes_max;
    int64_t live_us; /* from the heal to all well */
};

struct judge {
    int32_t finding_count;
    struct finding findings[FINDINGS_MAX];
    uint64_t sysid; /* of the cluster; 0 none yet */
    int16_t last_writer;
    int64_t forced_us;             /* a person waived the lag; 0 no */
    bool paused;
    int64_t pause_changed_us;
};

struct story_note {
    int16_t node;
    enum reason reason;
    int64_t at_us;
};

struct world {
    uint64_t seed;
    struct prng prng;       /* delays, durations */
    struct prng fault_prng; /* what goes wrong */
    int64_t now_us;
    struct setup setup;
    struct net net;
    int32_t node_count;
    struct node nodes[NODES_MAX];
    struct etcd etcd;
    int32_t branch_count;
    struct branch branches[BRANCHES_MAX];
    int32_t rpc_free;
    struct rpc rpcs[RPCS_MAX];
    struct ask asks[ASKS_MAX];
    struct queue queue;
    int32_t fault_count;
    struct fault faults[FAULTS_MAX];
    struct actions actions;
    struct judge judge;
    struct seen seen;
    uint32_t next_serial;
    int64_t next_postmaster_id;
    uint32_t next_request_id;
    int64_t client_gap_begun_us; /* nobody acknowledges since; 0 somebody does */
    int64_t client_gap_us;       /* longest of late, for stories */
    uint64_t hash;          /* of everything that happened: same seed, same hash */
    FILE *trace;            /* NULL: no trace */
    bool is_story;
    int32_t note_count;
    struct story_note notes[STORY_NOTES_MAX];
    jmp_buf abandoned;      /* a failed assertion ends the seed */
};

/* world.c */
struct world *world_new(void);
void world_free(struct world *w);
/* Everything as before the first event; w->setup must be filled. */
void world_reset(struct world *w, uint64_t seed);
/* Runs events up to and including at_us, or until a judge speaks. */
void world_run_until(struct world *w, int64_t at_us);
/* One event; false if none is left at or before limit_us. */
bool world_step(struct world *w, int64_t limit_us);
void world_post(struct world *w, int64_t at_us, enum sim_event_kind kind, int node, uint32_t arg,
                uint32_t extra);
int64_t clock_now_ms(const struct world *w, const struct node *n);
/* True time at which the node's clock shows at_ms or more; now if that is past. */
int64_t clock_true_us(const struct world *w, const struct node *n, int64_t at_ms);
/* As clock_true_us(), also for moments that have passed. */
int64_t clock_true_of_us(const struct node *n, int64_t at_ms);
int64_t clock_wall_ms(const struct world *w, const struct node *n);
bool machine_runs(const struct node *n);
bool agent_runs(const struct node *n);
bool supervisor_runs(const struct node *n);
void node_power_off(struct world *w, struct node *n);
void node_power_on(struct world *w, struct node *n);
void node_freeze(struct world *w, struct node *n, bool vm);
void node_thaw(struct world *w, struct node *n);
/* Gives what waited for somebody frozen another chance. */
void node_unpark(struct world *w, struct node *n, int64_t jitter_us);
int64_t draw(struct world *w, int64_t low, int64_t high); /* inclusive */
bool chance(struct world *w, int32_t permille);
/* Mostly near low, sometimes far towards high. */
int64_t draw_skewed(struct world *w, int64_t low, int64_t high);
struct node *node_by_name(struct world *w, const char *name);
/* Names of the world always fit. */
static inline void text_set(char *to, size_t size, const char *from)
{
    pgh_assert(str_copy(to, size, from));
}

/* queue.c */
void queue_push(struct queue *queue, const struct sim_event *event);
bool queue_pop(struct queue *queue, int64_t limit_us, struct sim_event *ret_event);

/* net.c */
bool net_is_open(const struct world *w, int from, int to);
int64_t net_delay_us(struct world *w, int from, int to);
int64_t net_etcd_delay_us(struct world *w, int node);
/* Call after any change of w->net: links stall or flow again, watches catch up. */
void net_changed(struct world *w);

/* etcd.c: the keys */
void etcd_reset(struct world *w);
bool etcd_is_up(const struct world *w);
/* Shared copy of the present state; the caller owns one reference. */
int32_t etcd_view_get(struct world *w);
void etcd_view_put(struct world *w, int32_t view_idx);
const struct view *etcd_view(const struct world *w, int32_t view_idx);
void etcd_apply(struct world *w, struct rpc *rpc);
void etcd_tick(struct world *w);
void etcd_elected(struct world *w);
void etcd_begin_election(struct world *w, int64_t pause_us);
struct sim_lease *etcd_find_lease(struct world *w, int64_t id);
/* Everything on the lease goes. forced: not because its time was over. */
void etcd_revoke(struct world *w, struct sim_lease *lease, bool forced);
void etcd_changed(struct world *w);
int etcd_leader_node(const struct world *w);
/* What people do to keys. */
void etcd_delete_leader(struct world *w);
void etcd_wipe_keys(struct world *w);
void etcd_wipe_store(struct world *w);
void etcd_put_failover(struct world *w, const char *leader, const char *candidate,
                       int64_t at_wall_ms);
void etcd_put_initialize(struct world *w, uint64_t sysid);
void etcd_put_policy(struct world *w, const struct policy *policy);

/* etcd_call.c: requests on their way */
void call_send(struct world *w, struct node *n, const struct action *action);
void call_apply(struct world *w, const struct sim_event *event);
void call_retry(struct world *w, const struct sim_event *event);
void call_answer(struct world *w, const struct sim_event *event);
void call_fail(struct world *w, const struct sim_event *event);
void call_drop(struct world *w, const struct sim_event *event);
void watch_flush(struct world *w);
void watch_deliver(struct world *w, const struct sim_event *event);
void watch_catch_up(struct world *w, struct node *n);

/* wal.c */
int32_t wal_branch_new(struct world *w, int32_t parent, uint64_t fork_lsn, uint32_t timeline,
                       int writer, uint64_t sysid);
void wal_append(struct world *w, int32_t branch, uint64_t bytes);
uint64_t wal_lsn_at(const struct world *w, int32_t branch, int64_t at_us);
/* Is (branch, lsn) on the history that ends at (of, of_lsn)? */
bool wal_is_on(const struct world *w, int32_t branch, uint64_t lsn, int32_t of, uint64_t of_lsn);
/* The branch that holds the byte before lsn, seen from branch. */
int32_t wal_branch_at(const struct world *w, int32_t branch, uint64_t lsn);
/* Last LSN that both histories share. */
uint64_t wal_common_lsn(const struct world *w, int32_t a, uint64_t a_lsn, int32_t b,
                        uint64_t b_lsn);
int32_t wal_history(const struct world *w, int32_t branch, struct history_row *rows,
                    int32_t rows_max);

/* pg.c */
void pg_reset(struct world *w, struct node *n);
uint64_t pg_position(const struct world *w, const struct node *n);
/* Fixes what a linked standby has received so far. */
void pg_settle(struct world *w, struct node *n);
bool pg_is_running(const struct node *n); /* any process of it */
bool pg_can_ack(const struct node *n);
bool pg_answers_sql(const struct node *n);
void pg_changed(struct world *w, struct node *n);
void pg_set_writable(struct world *w, struct node *n, bool writable);
/* Without a warning; orphans may stay behind when only the postmaster is killed. */
void pg_kill_postmaster(struct world *w, struct node *n);
void pg_kill_all(struct world *w, struct node *n);
/* false: refused, nothing changed. */
bool pg_start(struct world *w, struct node *n, bool primary, int follows);
void pg_stop(struct world *w, struct node *n, enum stop_mode mode, bool handover,
             int64_t deadline_us);
void pg_promote(struct world *w, struct node *n, uint32_t timeline_above);
void pg_follow(struct world *w, struct node *n, int follows);
void pg_checkpoint(struct world *w, struct node *n);
void pg_on_event(struct world *w, const struct sim_event *event);
void pg_link_break(struct world *w, struct node *n, bool retry);
void pg_links_check(struct world *w, struct node *n);
void pg_writer(struct world *w, const struct sim_event *event);

/* pg_op.c */
void op_begin_order(struct world *w, struct node *n, const struct action *action);
void op_cancel_order(struct world *w, struct node *n);
/* Something about the server changed: is the running operation over? */
void op_progress(struct world *w, struct node *n);
void op_task_done(struct world *w, const struct sim_event *event);
void op_deadline(struct world *w, const struct sim_event *event);
void op_done(struct world *w, const struct sim_event *event);
/* The agent died: its children die too. */
void op_abandon(struct world *w, struct node *n);
/* The supervisor sends the signals of a stop; it does so now, if it could not before. */
void op_supervisor_back(struct world *w, struct node *n);
/* The directory is empty from now on. */
void op_forget_data(struct node *n);

/* supervisor.c */
void supervisor_start(struct world *w, struct node *n);
void supervisor_crash(struct world *w, struct node *n);
void supervisor_freeze(struct world *w, struct node *n);
void supervisor_thaw(struct world *w, struct node *n);
void supervisor_fence(struct world *w, struct node *n, const struct fence *pushed);
void supervisor_state(struct node *n, const struct core_saved *saved);
void supervisor_read(struct world *w, struct node *n);
bool supervisor_allows_writer(const struct world *w, const struct node *n);
void supervisor_nets(struct world *w, struct node *n);
void supervisor_arm_nets(struct world *w, struct node *n);
void supervisor_postmaster_died(struct world *w, struct node *n);
void supervisor_agent_ended(struct world *w, struct node *n, int32_t code);

/* agent.c */
void agent_start(struct world *w, struct node *n);
void agent_crash(struct world *w, struct node *n);
void agent_kill(struct world *w, struct node *n); /* without a restart */
void agent_freeze(struct world *w, struct node *n);
void agent_thaw(struct world *w, struct node *n);
void agent_post(struct world *w, struct node *n, struct event *event);
void agent_view(struct world *w, struct node *n, int32_t view_idx, bool from_read,
                int64_t sent_at_ms);
void agent_look(struct world *w, struct node *n);
void agent_look_soon(struct world *w, struct node *n);
void agent_timer(struct world *w, struct node *n);
void agent_poll(struct world *w, struct node *n);
void agent_member(struct world *w, struct node *n, struct member *ret_member);

/* rest.c */
void rest_ask(struct world *w, struct node *n, const struct action *action);
void rest_answer(struct world *w, const struct sim_event *event);
void rest_deadline(struct world *w, const struct sim_event *event);
void rest_drop(struct world *w, const struct sim_event *event);
void rest_history_read(struct world *w, struct node *n, const struct action *action);
void rest_history_answer(struct world *w, const struct sim_event *event);

/* fault.c and fault_plan.c */
void setup_draw(struct world *w, uint64_t seed);
void fault_plan(struct world *w);
void fault_begin(struct world *w, struct fault *fault);
void fault_end(struct world *w, struct fault *fault);
void fault_heal_all(struct world *w);
const char *fault_text(enum fault_kind kind);

/* judge.c: see there for each promise */
void judge_reset(struct world *w);
void judge_find(struct world *w, const char *judge, const char *fmt, ...) PGH_PRINTF(3, 4);
void judge_on_ack_change(struct world *w, struct node *n);
void judge_on_fence(struct world *w, struct node *n, const struct fence *before,
                    const struct fence *pushed);
void judge_on_key_gone(struct world *w, int node, bool forced);
void judge_on_key_won(struct world *w, int node);
void judge_on_release(struct world *w, int node);
void judge_on_op(struct world *w, struct node *n, const struct action *action);
void judge_on_branch(struct world *w, struct node *n, int32_t branch);
void judge_on_init(struct world *w, int node, uint64_t sysid);
void judge_on_step(struct world *w, struct node *n);
void judge_on_view(struct world *w, struct node *n, const struct view *view);
void judge_on_answer(struct world *w, struct node *n, int64_t sent_at_ms);
/* Every half virtual second. */
void judge_look(struct world *w);
bool judge_is_well(struct world *w, char *ret_why, size_t size);
bool judge_has_spoken(const struct world *w);

/* trace.c */
void trace_line(struct world *w, int node, const char *who, const char *fmt, ...)
    PGH_PRINTF(4, 5);
void trace_actions(struct world *w, struct node *n);
void trace_event(struct world *w, struct node *n, const struct event *event);
static inline void hash_add(struct world *w, uint64_t value)
{
    w->hash = (w->hash ^ value) * UINT64_C(0x100000001b3);
    w->hash ^= w->hash >> 29;
}

/* fault.c: what a person does when the configuration leaves a member to people. */
void person_mends(struct world *w);
void person_asks(struct world *w, struct node *n, enum request_kind kind);

/* swarm.c */
struct swarm_options {
    uint64_t from;
    uint64_t count;
    int32_t jobs;
    bool check_same;   /* run each seed twice */
    bool stop_at_first;
    bool quiet;
};
/* Returns true if a judge spoke. */
bool seed_run(struct world *w, uint64_t seed, FILE *trace);
int swarm_run(const struct swarm_options *options);

/* story.c */
int stories_run(const char *path, bool bless, bool trace);

#endif
