# A replica's postmaster is killed: started again, nobody else notices.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node2 postmaster
expect leader node1 for 20s
expect well within 5s
expect timeline 1
trace
node1:
node2: CRASHED REWIND_NOT_NEEDED START_AS_STANDBY FOLLOWING_LEADER
node3:
