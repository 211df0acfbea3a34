# A person asks the primary for a restart.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
ask node1 restart
expect node1 quiet within 3s
expect node1 primary within 5s
expect node1 says RESTART_DONE within 5s
expect timeline 1
trace
node1: RESTART_BEGIN RESTART_DONE
node2:
node3:
