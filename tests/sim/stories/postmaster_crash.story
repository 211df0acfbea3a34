# The postmaster is killed: it is started again in place, on the same timeline, and nothing is
# lost.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node1 postmaster
expect node1 primary within 3s
expect outage below 3s
expect timeline 1
expect lost 0
expect well within 20s
trace
node1: CRASHED START_AS_PRIMARY LEADER_WITH_LOCK
node2:
node3:
