# Graceful switchover, any candidate: no acknowledged write is lost, the old primary follows
# without a rewind.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
switchover
expect leader other within 5s
expect outage below 2s
expect lost 0
expect well within 20s
expect timeline 2
trace
node1: SWITCHOVER_BEGIN SWITCHOVER_STOP SWITCHOVER_RELEASE RELEASE_STOPPING START_AS_STANDBY
    RACE_BEGIN RACE_NOT_CANDIDATE HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_PEER_AHEAD RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_PEER_AHEAD RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
