# The candidate is not reachable: refused, and the primary goes on.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node3 machine
wait 10s
switchover to node3
expect node1 primary for 20s
expect node1 says SWITCHOVER_REJECTED within 1s
revive node3 machine
expect well within 40s
expect timeline 1
trace
node1: SWITCHOVER_BEGIN SWITCHOVER_REJECTED LEADER_WITH_LOCK
node2:
node3: HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
