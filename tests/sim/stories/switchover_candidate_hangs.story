# The candidate hangs after the old primary has stopped: back to the old primary, nothing lost.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
switchover to node3
expect node1 says SWITCHOVER_STOP within 5s
lag node3 60s
expect node1 quiet within 5s
expect leader node1 within 30s
expect lost 0
trace
node1: SWITCHOVER_BEGIN SWITCHOVER_STOP SWITCHOVER_BACK START_AS_PRIMARY
node2:
node3:
