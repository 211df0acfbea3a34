# Diverged, pg_rewind is switched off, and the configuration allows to replace the data: cloned
# anew.
set rewind off
set replace on
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
expect well within 40s
expect node1 says CLONE_DONE within 1s
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY HISTORY_CHECK ETCD_BACK CLONE_BEGIN LEASE_LOST
    CLONE_DONE HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
