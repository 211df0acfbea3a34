/* Every reason for a decision: code, severity, sentence. Decisions carry these; the log shows
 * "sentence reason=code ...", REST and the simulator's report show the codes. Severity: D I W E. */
#ifndef PGHEIR_MODEL_REASON_H
#define PGHEIR_MODEL_REASON_H

#include "pgheir/base/base.h"

/* name, severity, sentence */
#define REASON_TABLE(X)                                                                            \
    X(NONE, D, "no reason")                                                                        \
    X(LEADER_WITH_LOCK, I, "no action. I am the leader with the lock")                             \
    X(FOLLOWING_LEADER, I, "no action. I am a replica, following a leader")                        \
    X(LEASE_GRANTED, D, "session lease granted")                                                   \
    X(LEASE_LOST, W, "etcd says that our lease is gone")                                           \
    X(LEASE_UNCONFIRMED, D,                                                                        \
      "keepalive not counted: no read under the same raft term shows our key")                     \
    X(ETCD_SILENT, W, "etcd does not answer")                                                      \
    X(ETCD_BACK, I, "etcd answers again")                                                          \
    X(BOOTSTRAP_RACE, I, "trying to bootstrap a new cluster")                                      \
    X(BOOTSTRAP_BEGIN, I, "initialize won: running initdb")                                        \
    X(BOOTSTRAP_DONE, I, "initialized a new cluster")                                              \
    X(BOOTSTRAP_FAILED, E, "bootstrap failed")                                                     \
    X(BOOTSTRAP_NOT_ALLOWED, W, "no cluster yet, and this node may not bootstrap one")             \
    X(WAIT_BOOTSTRAP, I, "waiting for another node to bootstrap the cluster")                      \
    X(WAIT_LEADER_TO_CLONE, I, "waiting for a leader to clone from")                               \
    X(CLONE_BEGIN, I, "cloning")                                                                   \
    X(CLONE_DONE, I, "replica has been created")                                                   \
    X(CLONE_FAILED, E, "cloning failed, next try after a pause")                                   \
    X(WAIT_VOLUME, E,                                                                              \
      "data directory is empty but this member held data before: waiting for its volume or reinit")\
    X(FOREIGN_DIRECTORY, E,                                                                        \
      "data directory is neither empty nor PostgreSQL's: refusing to touch it")                    \
    X(FOREIGN_SYSID, E, "system ID mismatch: this data belongs to another cluster")                \
    X(DIRECTORY_GONE, E, "data directory has vanished")                                            \
    X(SYSID_ADOPTED, I, "existing data directory becomes the cluster's")                           \
    X(INIT_RESTORED, W, "initialize was missing: written again")                                   \
    X(CONFIG_RESTORED, W, "config was missing: written again")                                     \
    X(START_AS_STANDBY, I, "starting PostgreSQL as a standby")                                     \
    X(START_AS_PRIMARY, I, "starting PostgreSQL as primary in place")                              \
    X(START_FAILED, E, "PostgreSQL did not start")                                                 \
    X(CRASHED, W, "PostgreSQL has crashed")                                                        \
    X(STOPPED_BY_HAND, W, "PostgreSQL was stopped by somebody else: starting it again")            \
    X(CRASH_LOOP, E, "PostgreSQL crashed too often: giving up the leader key")                     \
    X(PRIMARY_UNRESPONSIVE, E, "no new session possible for too long: giving up the leader key")   \
    X(RACE_BEGIN, I, "no leader: asking the other members")                                        \
    X(RACE_WON, I, "acquired session lock as a leader")                                            \
    X(RACE_LOST, I, "following a different leader because somebody else took the key")             \
    X(RACE_NOFAILOVER, I, "following a different leader because I am not allowed to promote")      \
    X(RACE_LAG, W, "my WAL position is too far behind the last known leader position")             \
    X(RACE_TIMELINE, W, "my timeline is not part of the cluster's history")                        \
    X(RACE_PEER_AHEAD, I, "WAL position of another member is ahead of my wal position")            \
    X(RACE_PEER_PRIORITY, I,                                                                       \
      "another member has equally tolerable WAL position and higher priority")                     \
    X(RACE_PEER_PRIMARY, W, "another member still runs as primary: waiting for its fence")         \
    X(RACE_NOT_IN_SYNC, W, "not a synchronous standby: not entitled")                              \
    X(RACE_NOT_CANDIDATE, I, "a switchover names another candidate")                               \
    X(RACE_NOT_READY, I, "not in a state to be promoted")                                          \
    X(RACE_BENCHED, W, "gave the key up after failures: waiting until others had their chance")    \
    X(RACE_PAUSED, I, "PAUSE: no race")                                                            \
    X(WAIT_OLD_FENCE, W, "key won, but the former holder may still write: waiting")                \
    X(PROMOTE_BEGIN, I, "promoting")                                                               \
    X(PROMOTE_DONE, I, "promoted self to leader by acquiring session lock")                        \
    X(PROMOTE_FAILED, E, "promotion failed: giving up the leader key")                             \
    X(DEMOTE_FENCE, W, "demoting self because the lease could not be renewed in time")             \
    X(DEMOTE_LOST_KEY, W, "demoting self because the leader key is not ours any more")             \
    X(DEMOTE_NO_KEY, W, "demoting self: running as primary without the leader key")                \
    X(KEY_VANISHED, W, "leader key vanished: trying to create it again inside our fence")          \
    X(KEY_RECREATED, W, "leader key created again")                                                \
    X(FENCE_PASSED, E, "the fence has passed: ending PostgreSQL")                                  \
    X(RELEASE_STOPPING, I, "leader key released after a clean stop")                               \
    X(RELEASE_UNFIT, W, "leader key released because PostgreSQL cannot serve")                     \
    X(RELEASE_WAIT, I, "not released yet: no member has the shutdown record")                      \
    X(FOLLOW_CHANGED, I, "following a new upstream")                                               \
    X(HISTORY_CHECK, I, "comparing timeline histories with the leader")                            \
    X(REWIND_NOT_NEEDED, I, "history agrees: following without rewind")                            \
    X(REWIND_BEGIN, W, "diverged: running pg_rewind")                                              \
    X(REWIND_DONE, I, "pg_rewind finished")                                                        \
    X(REWIND_FAILED, E, "pg_rewind failed")                                                        \
    X(REWIND_IMPOSSIBLE, E, "diverged, and pg_rewind is not possible")                             \
    X(REWIND_WAIT_CHECKPOINT, I, "waiting for the leader's checkpoint before rewinding")           \
    X(SWITCHOVER_BEGIN, I, "switchover: asking the candidates")                                    \
    X(SWITCHOVER_STOP, I, "switchover: stopping PostgreSQL")                                       \
    X(SWITCHOVER_RELEASE, I, "switchover: candidate has the shutdown record, key released")        \
    X(SWITCHOVER_REJECTED, W, "switchover refused: no good candidate")                             \
    X(SWITCHOVER_BACK, W, "switchover given up: starting as primary again")                        \
    X(SWITCHOVER_STALE, W, "switchover request does not fit the cluster: cleared")                 \
    X(SWITCHOVER_WAIT_TIME, I, "switchover scheduled")                                             \
    X(FAILOVER_FORCED, W, "manual failover: taking the key as the named candidate")                \
    X(PAUSED, I, "PAUSE: no action")                                                               \
    X(PAUSE_BEGIN, I, "pause confirmed in etcd: fence disarmed")                                   \
    X(PAUSE_END, I, "resumed: fence armed again")                                                  \
    X(PAUSE_RELEASE, I, "PAUSE: released leader key because PostgreSQL is not a running primary")  \
    X(RESTART_BEGIN, I, "restart requested")                                                       \
    X(RESTART_DONE, I, "restarted")                                                                \
    X(RESTART_FAILED, E, "restart failed")                                                         \
    X(REINIT_BEGIN, W, "reinitialize requested: data directory will be replaced")                  \
    X(SHUTDOWN_BEGIN, I, "stop requested")                                                         \
    X(SHUTDOWN_DONE, I, "stopped")                                                                 \
    X(ADOPTED, W, "PostgreSQL was already running: adopted, fencing without parent-death signal")  \
    X(OP_CANCELLED, I, "operation cancelled")                                                      \
    X(SLOT_CREATE, I, "creating replication slot")                                                 \
    X(SLOT_DROP, I, "dropping replication slot")                                                   \
    X(TILT, W, "woken late: distrusting what we know")

enum reason {
#define X(name, severity, sentence) REASON_##name,
    REASON_TABLE(X)
#undef X
    REASON_COUNT
};

/* Code such as "RACE_WON". */
const char *reason_code(enum reason reason);
const char *reason_sentence(enum reason reason);
/* 'D', 'I', 'W' or 'E'. */
char reason_severity(enum reason reason);

#endif
