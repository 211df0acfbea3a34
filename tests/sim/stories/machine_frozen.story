# The whole machine freezes for longer than ttl. When it thaws it finds its time over.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 machine
expect leader other within 7s
wait 10s
thaw node1 machine
expect well within 60s
trace
node1: TILT FENCE_PASSED DEMOTE_FENCE ETCD_SILENT LEASE_LOST ETCD_BACK FENCE_PASSED
    HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
