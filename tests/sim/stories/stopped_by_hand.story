# Somebody stops PostgreSQL on the primary by hand: it is started again.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
stop node1 postgres
expect node1 quiet within 2s
expect node1 primary within 5s
expect timeline 1
trace
node1: STOPPED_BY_HAND START_AS_PRIMARY
node2:
node3:
