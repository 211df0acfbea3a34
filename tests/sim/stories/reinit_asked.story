# A person asks a replica for reinit.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
ask node2 reinit
expect node2 empty within 5s
expect well within 20s
expect leader node1 for 1s
trace
node1:
node2: REINIT_BEGIN CLONE_BEGIN CLONE_DONE HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK
    REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
node3:
