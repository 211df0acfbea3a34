# Everything is killed at once and comes back in any order.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cold stop
wait 20s
cold start
expect leader any within 90s
expect well within 60s
expect lost 0
trace
node1: START_AS_STANDBY RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node2: HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node3: HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
