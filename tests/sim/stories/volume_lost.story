# A member comes back without its volume: it waits and says so, until the reinit.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
lose node2 volume
mount node2 volume
wait 20s
expect node2 says WAIT_VOLUME within 1s
ask node2 reinit
expect well within 30s
trace
node1:
node2: WAIT_VOLUME REINIT_BEGIN CLONE_BEGIN CLONE_DONE HISTORY_CHECK START_AS_STANDBY
    HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node3:
