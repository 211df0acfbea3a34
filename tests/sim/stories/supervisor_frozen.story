# The supervisor is stopped: the agent still renews, but the fence is not pushed any more; the
# kernel timer ends what is left, and another node takes over.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 supervisor
expect node1 quiet within 6s
expect leader any within 8s
expect well within 60s
trace
node1: START_AS_STANDBY RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node2: RACE_BEGIN RACE_LOST FOLLOWING_LEADER REWIND_NOT_NEEDED
node3: RACE_BEGIN RACE_LOST FOLLOWING_LEADER REWIND_NOT_NEEDED
