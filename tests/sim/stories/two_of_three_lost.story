# Both replicas are lost: the primary serves on.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node2 machine
kill node3 machine
expect node1 primary for 30s
revive node2 machine
revive node3 machine
expect well within 40s
trace
node1:
node2: HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
node3: HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
