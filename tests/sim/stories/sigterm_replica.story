# The service of a replica is stopped and started again.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
stop node2 service
expect node2 down within 10s
expect leader node1 for 10s
start node2 service
expect well within 30s
expect timeline 1
trace
node1:
node2: SHUTDOWN_BEGIN SHUTDOWN_DONE HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
node3:
