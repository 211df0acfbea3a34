/* The hallway: what the modules of the agent share. One struct agent, built by startup.c and run
 * by agent.c; each module below owns one neighbour or one errand, posts events and carries out
 * actions. Nothing here decides: an `if` about roles belongs into core.
 *
 * One turn: a door's callback posts into the inbox; agent_turn() runs core_step() for each
 * event, core_check(), then dispatch_actions(); at the end the one timer is set to
 * core_deadline(). */
#ifndef PGHEIR_AGENT_AGENT_H
#define PGHEIR_AGENT_AGENT_H

#include "pgheir/base/base.h"
#include "pgheir/base/err.h"
#include "pgheir/codec/conf.h"
#include "pgheir/codec/view_map.h"
#include "pgheir/core/core.h"
#include "pgheir/io/etcd.h"
#include "pgheir/io/http.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/pg_conf.h"
#include "pgheir/io/pg_ops.h"
#include "pgheir/io/pg_query.h"
#include "pgheir/io/pg_site.h"
#include "pgheir/io/resolver.h"
#include "pgheir/io/supervisor_link.h"

enum {
    AGENT_INBOX_MAX = 64, /* each kind of event has a few producers with one completion each */
    AGENT_PATH_SIZE = 1024,
    AGENT_INSTANCE_SIZE = 24,
    AGENT_SIGNALS_COUNT = 4,
    AGENT_KEY_SIZE = 512 /* prefix and name of any key of ours */
};

struct callbacks;
struct cluster;
struct etcd_calls;
struct history_reader;
struct local_watch;
struct ops;
struct peers;
struct reload;
struct rest;
struct rest_link;
struct roles;
struct slots;

/* What is handed to the next agent through the supervisor. */
struct agent_saved {
    struct core_saved core;
    char follows[NAME_SIZE]; /* whom primary_conninfo names, by our last writing */
};

/* When and about whom a reason was given last. */
struct agent_noted {
    int64_t seen_at_ms;
    int64_t value;
    uint32_t member_hash;
};

struct agent {
    /* Doors. */
    struct loop *loop;
    struct resolver *resolver;
    struct http *http;
    struct etcd *etcd;
    struct supervisor_link *link;
    struct rest *rest;

    /* Configuration. */
    char conf_path[AGENT_PATH_SIZE]; /* "": environment alone */
    struct conf *conf;
    struct conf_postgresql pg; /* in force: dynamic configuration, local file and role merged */
    bool pg_is_merged;
    int64_t pg_wanted_revision, pg_merged_revision; /* counts changes of the configuration */
    char pg_arena[64];      /* MALLOC_ARENA_MAX=... */
    const char *pg_env[2];  /* what the postmaster's environment gets beside ours */
    char os_user[NAME_SIZE]; /* superuser where none is configured */
    struct identity identity;
    struct pg_site site;
    char scope[NAME_SIZE];
    char prefix[AGENT_KEY_SIZE]; /* /service/demo/ */
    char instance[AGENT_INSTANCE_SIZE]; /* of this agent's life */
    int64_t started_at_ms;
    uint32_t restart_count; /* agents before this one under the same supervisor */
    bool has_predecessor;
    bool is_adopted_ensured;
    bool is_orphan_free;  /* remains of an earlier postmaster were looked for */
    bool is_fence_held;   /* the supervisor holds one, by our last order */
    struct job *volume_job;
    bool is_volume_known; /* the state directory says that this member's data was here before */

    /* The study and its mail. */
    struct core *core;
    struct actions *actions;
    struct event inbox[AGENT_INBOX_MAX];
    unsigned inbox_first, inbox_count;
    bool is_turn_posted;
    bool is_open; /* the core hears events: false until startup is through */
    bool is_view_dirty, is_view_from_read;
    int64_t view_sent_at_ms;
    bool is_local_dirty;
    struct loop_timer *timer;
    struct view *views[2]; /* the core looks at one while the other is built */
    int view_idx;
    bool has_view;
    int exit_code;
    bool is_exiting, is_shutting_down;
    bool is_name_known; /* nobody else runs under our name: until then the core sees no view */
    struct loop_timer *name_timer, *heartbeat;
    struct loop_signal *signals[AGENT_SIGNALS_COUNT];

    /* Errands. */
    struct cluster *cluster;
    struct etcd_calls *calls;
    struct local_watch *local;
    struct ops *ops;
    struct peers *peers;
    struct history_reader *history;
    struct slots *slots;
    struct callbacks *callbacks;
    struct roles *roles;
    struct reload *reload;
    struct rest_link *rest_link;

    struct agent_noted noted[REASON_COUNT]; /* for the log: what was said last */
    uint32_t standing_hash;                 /* of the line that says how it stands */
    int64_t standing_again_ms;              /* not before, if it is the same line */
};

/* ---- agent.c ---- */

/* Copies between places of one size, where a text that does not fit would be our own mistake. */
void agent_copy(char *dst, size_t size, const char *src);

/* For the timer that startup makes. */
void agent_on_timer(void *arg);
/* Copies the event (its pointers must stay valid until the next turn) and asks for a turn. */
void agent_post(struct agent *agent, const struct event *event);
/* Something in the view or in the local picture changed: the next turn builds it and tells the
 * core. */
void agent_mark_view(struct agent *agent);
void agent_mark_view_read(struct agent *agent, int64_t sent_at_ms);
void agent_mark_local(struct agent *agent);
/* From now on the core hears events. */
void agent_open(struct agent *agent);
/* The view that the core looks at; NULL before the first one. */
const struct view *agent_view(const struct agent *agent);
/* ... or, before the first one, the defaults. */
const struct policy *agent_policy(const struct agent *agent);
void agent_describe(const struct agent *agent, struct core_status *ret);
/* Ends the loop; the process exits with this code. The first call counts. */
void agent_exit(struct agent *agent, int code);

/* ---- startup.c ---- */

/* Everything up to a running loop. RC_OK: run the loop. Otherwise the process exits with
 * *ret_code. */
enum rc startup_begin(struct agent *agent, const char *conf_path, int *ret_code);
void startup_end(struct agent *agent);
/* Paths and programs, from a configuration. */
enum rc startup_site(const struct conf *conf, struct pg_site *ret, struct err *err);
/* Takes section etcd3 of the present configuration into the door. */
enum rc startup_configure_etcd(struct agent *agent, struct err *err);
/* All messages into the log, errors as errors. */
void startup_report(const struct conf_report *report);

/* ---- dispatch.c ---- */

void dispatch_actions(struct agent *agent, const struct actions *actions, int64_t now_ms);

/* ---- notes.c: decisions in the log ---- */

void notes_write(struct agent *agent, const struct action *action);
/* For the timer that looks once per loop_wait whether it is time to say how it stands. */
void notes_on_heartbeat(void *arg);
/* The sentence of the present reason with its values, for REST. Returns out. */
const char *notes_format(enum reason reason, const char *member, int64_t value, char *out,
                         size_t size);

/* ---- cluster.c: the keys of the cluster, their watch ---- */

struct cluster *cluster_new(struct agent *agent);
/* Lists the keys, then watches them, if nobody has begun yet. */
void cluster_begin(struct cluster *cluster);
void cluster_free(struct cluster *cluster);
const struct view_map *cluster_map(const struct cluster *cluster);
/* A range over the whole prefix was answered. */
void cluster_take_range(struct cluster *cluster, const struct etcd_answer *answer);
void cluster_build_view(struct cluster *cluster, struct view *ret);
/* The dynamic configuration in force: etcd's, else the last one known, else bootstrap.dcs. May
 * be NULL. */
const json_t *cluster_config(const struct cluster *cluster);
bool cluster_is_seen(const struct cluster *cluster, const char *name);
/* Wall time of the last good answer; 0 never. */
int64_t cluster_seen_wall_ms(const struct cluster *cluster);
void cluster_note_answer(struct cluster *cluster);

/* ---- etcd_calls.c: enum call as etcd requests ---- */

struct etcd_calls *etcd_calls_new(struct agent *agent);
void etcd_calls_free(struct etcd_calls *calls);
void etcd_calls_begin(struct etcd_calls *calls, const struct action *action, int64_t now_ms);

/* ---- etcd_text.c: what is written ---- */

enum rc etcd_text_member(struct agent *agent, struct buf *out);
/* is_release: only the position is known any more, the rest is carried over. */
enum rc etcd_text_status(struct agent *agent, uint64_t lsn, bool is_release, struct buf *out);
/* history: as read from the local file. */
enum rc etcd_text_history(struct agent *agent, const struct pg_history *history,
                          int64_t switched_wall_ms, struct buf *out);
/* Wall time at which the history file was written; 0 unknown. Blocks. */
int64_t etcd_text_history_time(const struct pg_site *site, uint32_t timeline);
enum rc etcd_text_config(struct agent *agent, struct buf *out);

/* ---- local_watch.c: the local PostgreSQL as struct local ---- */

enum local_depth {
    LOCAL_LOOK_SQL,  /* the positions: one round trip */
    LOCAL_LOOK_DISK  /* the data directory, too */
};

struct local_watch *local_watch_new(struct agent *agent);
void local_watch_free(struct local_watch *watch);
/* What the supervisor said when we came. The first look begins. */
void local_watch_begin(struct local_watch *watch, const struct proto_welcome *welcome);
/* Looks now, tells the core, then calls done once (may be NULL). */
void local_watch_look(struct local_watch *watch, enum local_depth depth, loop_call_fn *done,
                      void *arg);
/* The same if what is known is older than age_ms; otherwise calls done in the next turn. */
void local_watch_refresh(struct local_watch *watch, int64_t age_ms, loop_call_fn *done, void *arg);
/* The next look is due at once. */
void local_watch_hurry(struct local_watch *watch);
/* What the operations know before a look can tell. */
void local_watch_set_started(struct local_watch *watch, const struct proto_started *started);
void local_watch_set_stopping(struct local_watch *watch);
void local_watch_set_up(struct local_watch *watch);
void local_watch_set_standby(struct local_watch *watch, bool is_standby);
void local_watch_set_follows(struct local_watch *watch, const char *name);
/* From the supervisor: ended, and no process of it is left. */
void local_watch_on_exited(struct local_watch *watch, const struct proto_exited *exited);
/* Whether a look has come to its end since we started: before that nothing is known. */
bool local_watch_has_looked(const struct local_watch *watch);
/* Copies what is known into the buffer that the core will look at next and returns it. */
const struct local *local_watch_publish(struct local_watch *watch);
/* As published last. */
const struct local *local_watch_now(const struct local_watch *watch);
/* Last answer of SQL from this postmaster; NULL if there is none. */
const struct pg_status *local_watch_status(const struct local_watch *watch);
const struct pg_inspection *local_watch_inspection(const struct local_watch *watch);
int32_t local_watch_pid(const struct local_watch *watch);
bool local_watch_is_sql_failed(const struct local_watch *watch);
/* Object for pending_restart_reason, or NULL. */
const json_t *local_watch_pending(const struct local_watch *watch);
/* Whether the running server's primary_conninfo has this member's present address. */
bool local_watch_is_following(const struct local_watch *watch, const struct member *member);
/* Whom primary_conninfo named when we wrote it last. */
const char *local_watch_follows(const struct local_watch *watch);

/* ---- volume.c: does the state directory say that this member's data was here before? ---- */

/* Blocks: at startup only. */
bool volume_is_known(const struct pg_site *site);
/* The data directory holds data: remembered beside it, once. */
void volume_remember(struct agent *agent, uint64_t sysid);

/* ---- local_sql.c: the held session, positions, new sessions as a health check ---- */

struct local_sql;

/* How the server presents itself to a session. */
struct local_sql_facts {
    bool is_valid;              /* status is of this moment */
    enum pg_probe_verdict verdict;
    int64_t session_at_ms;      /* last time a new session worked; 0 never */
    uint32_t timeline;          /* as far as known, of a standby that does not stream, too */
};

struct local_sql *local_sql_new(struct agent *agent);
void local_sql_free(struct local_sql *sql);
/* Asks; done is called once. */
void local_sql_ask(struct local_sql *sql, bool with_settings, loop_call_fn *done, void *arg);
/* Files were reloaded a moment ago: its processes may not have read them yet. */
bool local_sql_is_reloading(const struct local_sql *sql);
/* The server has ended, or another one began: nothing that was known counts any more. */
void local_sql_forget(struct local_sql *sql);
void local_sql_get(const struct local_sql *sql, struct local_sql_facts *ret);
const struct pg_status *local_sql_status(const struct local_sql *sql);
/* {"name": {"old_value": .., "new_value": ..}}, or NULL. */
const json_t *local_sql_pending(const struct local_sql *sql);

/* ---- pg_plan.c: configuration -> what PostgreSQL's files, programs and sessions need ---- */

/* Merges anew for this role: "primary" or "replica". */
void pg_plan_merge(struct agent *agent, const char *role);
const char *pg_plan_superuser(const struct agent *agent);

enum { PG_PLAN_ADDRESS_SIZE = PG_PATH_SIZE };

/* Where our own sessions go. Strings live in the struct and in agent->pg. */
struct pg_plan_target {
    char address[PG_PLAN_ADDRESS_SIZE];
    struct pg_conn_target target;
};
/* private_dir: socket directory of a private bootstrap server; NULL: as configured. False while
 * the name of the listen address is not resolved. */
bool pg_plan_local_target(struct agent *agent, const char *private_dir,
                          struct pg_plan_target *ret);
/* The same for a replication session. */
bool pg_plan_local_replication_target(struct agent *agent, struct pg_plan_target *ret);

/* All that pg_conf_apply_start() needs. Done with pg_plan_files_done(). */
struct pg_plan_files {
    struct pg_conf_plan plan;
    void *storage;
};
/* upstream: the member to follow; NULL: conninfo as it is (a copy is not taken); both NULL:
 * nobody. */
enum rc pg_plan_files_build(struct agent *agent, bool is_standby, const struct member *upstream,
                            const char *conninfo, struct pg_plan_files *ret, struct err *err);
/* Further recovery settings (an object of scalars), before the plan is carried out. */
void pg_plan_files_add(struct pg_plan_files *files, const json_t *recovery);
void pg_plan_files_done(struct pg_plan_files *files);
/* private_dir: bootstrap; the server is reachable through a socket there only. NULL: as
 * configured. */
enum rc pg_plan_argv(struct agent *agent, bool is_standby, const char *private_dir,
                     struct pg_argv *ret, struct err *err);
/* A member as a source for pg_basebackup, pg_rewind. role: which credentials. Strings live in
 * member, address and agent->pg. */
void pg_plan_source(struct agent *agent, const struct member *member, const char *address,
                    const struct conf_role *role, struct pg_source *ret);
void pg_plan_remote_target(struct agent *agent, const struct member *member, const char *address,
                           const struct conf_role *role, struct pg_conn_target *ret);
const struct conf_role *pg_plan_rewind_role(const struct agent *agent);

/* ---- ops.c ---- */

struct ops *ops_new(struct agent *agent);
void ops_free(struct ops *ops);
void ops_begin(struct ops *ops, const struct action *action);
void ops_cancel(struct ops *ops);
enum op_kind ops_running(const struct ops *ops);
/* The postmaster has ended (after the local picture was taken anew). */
void ops_on_exited(struct ops *ops);

/* ---- peers.c, history_reader.c, slots.c ---- */

struct peers *peers_new(struct agent *agent);
void peers_free(struct peers *peers);
void peers_ask_action(struct peers *peers, const struct action *action);
typedef void peers_fn(const struct peer_answer *answers, int count, void *arg);
/* The same for REST. done is called once, never before this returned. */
void peers_ask_names(struct peers *peers, const char *const *names, int count, int64_t deadline_ms,
                     peers_fn *done, void *arg);

struct history_reader *history_reader_new(struct agent *agent);
void history_reader_free(struct history_reader *reader);
void history_reader_begin(struct history_reader *reader, const struct action *action);
/* Where timeline ended in the history of the leader that was read last; false if it is not in
 * it. */
bool history_reader_find_fork(const struct history_reader *reader, uint32_t timeline,
                              uint64_t *ret_lsn);

struct slots *slots_new(struct agent *agent);
void slots_free(struct slots *slots);
void slots_change(struct slots *slots, const struct action *action);
/* A new view: members are remembered for member_slots_ttl after they were last seen. */
void slots_on_view(struct slots *slots, const struct view *view);
/* status.retain_slots: a new array. */
json_t *slots_retained(const struct slots *slots);

/* ---- roles.c ---- */

struct roles *roles_new(struct agent *agent);
void roles_free(struct roles *roles);
/* The server has become a primary: makes the roles that replicas need, where they are missing. */
void roles_ensure(struct roles *roles);

/* ---- reload.c ---- */

struct reload *reload_new(struct agent *agent);
void reload_free(struct reload *reload);
/* SIGHUP or POST /reload: the file is read again. */
void reload_request(struct reload *reload);
/* ACTION_CONF_APPLY, or a role change: PostgreSQL's files, then a reload of PostgreSQL. */
void reload_apply(struct reload *reload);
/* An operation has ended: what had to wait for that is done now. */
void reload_on_op(struct reload *reload);
/* The same after a look at the server. */
void reload_on_local(struct reload *reload);

/* ---- callbacks.c ---- */

struct callbacks *callbacks_new(struct agent *agent);
void callbacks_free(struct callbacks *callbacks);
/* What an operation that ended means for them. */
void callbacks_on_op(struct callbacks *callbacks, enum op_kind kind, enum op_result result,
                     bool is_standby);
void callbacks_call(struct callbacks *callbacks, const char *action, const char *role);

/* ---- notify.c ---- */

void notify_send(const char *text);

/* ---- validate.c ---- */

/* What --validate-config looks at beside the file itself: programs, directories, other starters.
 * Writes to stderr; 0 or 1. */
int validate_surroundings(const struct pg_site *site);
/* The part of it without which no start makes sense: programs, and a folder for the data. */
int validate_start(const struct pg_site *site);

/* ---- rest_link.c: struct rest_world and struct rest_ops for the routes ---- */

struct rest_link *rest_link_new(struct agent *agent);
void rest_link_free(struct rest_link *link);
/* Opens the listener, or takes a changed section restapi over. */
enum rc rest_link_configure(struct rest_link *link, struct err *err);
/* For the member key; NULL if none. */
const json_t *rest_link_scheduled_restart(const struct rest_link *link);
void rest_link_on_view(struct rest_link *link);
void rest_link_on_reply(struct rest_link *link, const struct action *action);
void rest_link_close(struct rest_link *link);

#endif
