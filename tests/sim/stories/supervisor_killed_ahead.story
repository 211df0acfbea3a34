# The supervisor is killed while its node has WAL that no replica has. The key is not given up early:
# what the service manager starts again takes part in the race, is ahead of all, and nothing is lost.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node1 peers
wait 3s
kill node1 supervisor
join node1 peers
expect node1 quiet within 100ms
expect leader node1 within 10s
expect well within 60s
expect lost 0
trace
node1: START_AS_STANDBY RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node2: RACE_BEGIN RACE_LOST FOLLOWING_LEADER REWIND_NOT_NEEDED
node3: RACE_BEGIN RACE_LOST FOLLOWING_LEADER REWIND_NOT_NEEDED
