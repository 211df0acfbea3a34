# Diverged, and the configuration allows neither rewind nor replacing: the data is kept and the
# node says so, until a person asks for reinit.
set rewind off
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node1 all
expect leader other within 8s
wait 5s
join node1 all
wait 40s
expect node1 says REWIND_IMPOSSIBLE within 1s
ask node1 reinit
expect well within 40s
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY HISTORY_CHECK ETCD_BACK REWIND_IMPOSSIBLE
    HISTORY_CHECK REWIND_IMPOSSIBLE LEASE_LOST REINIT_BEGIN CLONE_BEGIN CLONE_DONE HISTORY_CHECK
    START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
