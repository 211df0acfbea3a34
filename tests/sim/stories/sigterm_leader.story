# The service of the primary is stopped: it hands over, nothing is lost.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
stop node1 service
expect leader other within 5s
expect lost 0
wait 10s
start node1 service
expect well within 30s
expect timeline 2
trace
node1: SHUTDOWN_BEGIN SWITCHOVER_STOP SWITCHOVER_RELEASE RELEASE_STOPPING SHUTDOWN_DONE
    HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
node2: RACE_BEGIN RACE_PEER_AHEAD RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_PEER_AHEAD RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
    FOLLOWING_LEADER
