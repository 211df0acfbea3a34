# The supervisor is killed: PostgreSQL dies with it at once, others take over.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node1 supervisor
expect node1 quiet within 100ms
expect leader any within 8s
expect well within 60s
trace
node1: START_AS_STANDBY RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node2: RACE_BEGIN RACE_LOST FOLLOWING_LEADER REWIND_NOT_NEEDED
node3: RACE_BEGIN RACE_LOST FOLLOWING_LEADER REWIND_NOT_NEEDED
