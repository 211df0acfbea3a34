# The primary is cut from everybody. Its writes end before its key does, what it wrote alone is
# rewound.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node1 all
expect node1 quiet within 5s
expect leader other within 5s
wait 10s
join node1 all
expect well within 40s
expect timeline 2
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY HISTORY_CHECK ETCD_BACK LEASE_LOST REWIND_BEGIN
    REWIND_DONE HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
