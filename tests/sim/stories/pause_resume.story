# In a pause nothing is touched: not even a killed postmaster is started again. After resume it
# is.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
pause
wait 5s
kill node2 postmaster
expect node2 down for 20s
expect node1 primary for 1s
resume
expect well within 20s
trace
node1: PAUSE_BEGIN PAUSED PAUSE_END LEADER_WITH_LOCK
node2: PAUSE_BEGIN PAUSED PAUSE_END HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
node3: PAUSE_BEGIN PAUSED PAUSE_END HISTORY_CHECK REWIND_NOT_NEEDED FOLLOWING_LEADER
