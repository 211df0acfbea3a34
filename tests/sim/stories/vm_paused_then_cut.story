# The same, and it cannot ask etcd, but still tells the others how long it may write; then nothing
# is heard of it any more. They wait that long.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 vm
cut node1 etcd
wait 4300ms
thaw node1 vm
wait 300ms
cut node1 all
expect leader other within 15s
wait 10s
join node1 etcd
join node1 all
expect well within 60s
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY HISTORY_CHECK ETCD_BACK REWIND_BEGIN LEASE_LOST
    REWIND_DONE HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY FOLLOWING_LEADER
node2: RACE_BEGIN RACE_PEER_PRIMARY RACE_WON WAIT_OLD_FENCE PROMOTE_BEGIN PROMOTE_DONE
    LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_PEER_PRIMARY RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
    FOLLOWING_LEADER
