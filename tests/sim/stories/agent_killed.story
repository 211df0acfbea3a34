# The agent is killed: the supervisor starts it again, and PostgreSQL notices nothing.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node1 agent
expect node1 primary for 20s
expect leader node1 for 1s
expect timeline 1
trace
node1: LEADER_WITH_LOCK
node2:
node3:
