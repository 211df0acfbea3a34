# The old primary has written what nobody received. It comes back, is rewound and follows.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node1 peers
cut node1 etcd
expect leader other within 8s
wait 5s
join node1 peers
join node1 etcd
expect well within 40s
expect node1 says REWIND_DONE within 1s
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY HISTORY_CHECK ETCD_BACK REWIND_BEGIN LEASE_LOST
    REWIND_DONE HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY FOLLOWING_LEADER
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
