# The candidate answers, but its WAL receiver stands still: it does not receive the checkpoint. Nobody
# stops for it.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
lag node3 60s
wait 2s
switchover to node3
expect leader node1 for 20s
expect node1 primary for 1s
expect lost 0
expect outage below 1s
trace
node1: SWITCHOVER_BEGIN SWITCHOVER_REJECTED LEADER_WITH_LOCK
node2:
node3:
