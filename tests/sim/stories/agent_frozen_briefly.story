# The agent is stopped for two seconds: nothing happens.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 agent
wait 2s
thaw node1 agent
expect node1 primary for 20s
expect timeline 1
trace
node1: TILT
node2:
node3:
