# A person forces a failover to a lagging member: done, and the loss is what that member did not
# have.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
lag node3 5s
wait 10s
failover to node3
expect leader node3 within 15s
expect well within 40s
trace
node1: SWITCHOVER_BEGIN SWITCHOVER_STOP SWITCHOVER_RELEASE RELEASE_STOPPING START_AS_STANDBY
    HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_NOT_CANDIDATE HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node3: FAILOVER_FORCED RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
