# The agent of the primary is stopped for longer than ttl: the supervisor ends PostgreSQL at the
# fence, another node takes over, and the thawed agent follows it.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 agent
expect node1 quiet within 5s
expect leader other within 5s
wait 10s
thaw node1 agent
expect well within 40s
expect timeline 2
trace
node1: TILT FENCE_PASSED DEMOTE_FENCE ETCD_SILENT FENCE_PASSED LEASE_LOST ETCD_BACK
    HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
