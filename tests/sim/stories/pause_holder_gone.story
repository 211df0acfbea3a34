# In a pause the holder is lost; the pause ends while nobody leads. The former holder comes back
# last and follows.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
pause
wait 5s
kill node1 machine
wait 20s
resume
expect leader other within 20s
revive node1 machine
expect well within 40s
trace
node1: PAUSE_BEGIN PAUSED HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED
    FOLLOW_CHANGED
node2: PAUSE_BEGIN PAUSED PAUSE_END RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE
    LEADER_WITH_LOCK
node3: PAUSE_BEGIN PAUSED PAUSE_END RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED
    FOLLOW_CHANGED FOLLOWING_LEADER
