# A cluster of one serves alone.
set nodes 1
start
expect leader node1 within 15s
expect well for 30s
trace
node1: BOOTSTRAP_RACE BOOTSTRAP_BEGIN BOOTSTRAP_DONE START_AS_PRIMARY LEADER_WITH_LOCK
