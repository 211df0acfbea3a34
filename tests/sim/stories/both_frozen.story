# Supervisor and agent are stopped together.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 both
expect node1 quiet within 6s
expect leader other within 4s
expect well within 60s
trace
node1: HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_PEER_AHEAD RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_PEER_AHEAD RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
    FOLLOWING_LEADER
