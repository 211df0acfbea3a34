# The primary is cut from etcd only. Its writes end before its key does, and another node leads.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node1 etcd
expect node1 quiet within 5s
expect leader other within 5s
wait 10s
join node1 etcd
expect well within 40s
expect timeline 2
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY HISTORY_CHECK ETCD_BACK REWIND_NOT_NEEDED
    FOLLOW_CHANGED FOLLOWING_LEADER LEASE_LOST
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
