# In a pause the supervisor of the candidate is stopped: no fence, no promotion. It is tried again,
# slower and slower, until the supervisor goes on.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node3 supervisor
pause
wait 5s
switchover to node3
expect node3 says PROMOTE_FAILED within 15s
wait 10s
thaw node3 supervisor
expect leader node3 within 20s
expect lost 0
resume
expect well within 40s
trace
node1: PAUSE_BEGIN PAUSED SWITCHOVER_BEGIN SWITCHOVER_STOP SWITCHOVER_RELEASE RELEASE_STOPPING
    PAUSED PAUSE_END HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
node2: PAUSE_BEGIN PAUSED PAUSE_END HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
    FOLLOWING_LEADER
node3: PAUSE_BEGIN PAUSED RACE_BEGIN RACE_PEER_AHEAD PAUSED RACE_BEGIN RACE_PEER_AHEAD PAUSED
    RACE_BEGIN RACE_PEER_AHEAD PAUSED RACE_WON PROMOTE_BEGIN PROMOTE_FAILED PROMOTE_BEGIN
    PROMOTE_FAILED PROMOTE_BEGIN PROMOTE_FAILED PROMOTE_BEGIN PROMOTE_FAILED PROMOTE_BEGIN
    PAUSE_END PROMOTE_DONE LEADER_WITH_LOCK
