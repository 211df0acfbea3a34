# The primary's machine dies. Another takes over within ttl and a second, and the old one comes
# back as a replica.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node1 machine
expect leader other within 7s
expect outage below 7s
expect timeline 2
wait 20s
revive node1 machine
expect well within 40s
expect timeline 2
trace
node1: HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
