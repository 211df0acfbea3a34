# The volume of the primary vanishes under the running server: stopped, and somebody else leads.
# Mounted again, the member comes back.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
unmount node1 volume
expect leader other within 15s
wait 5s
remount node1 volume
expect well within 40s
trace
node1: DIRECTORY_GONE RELEASE_UNFIT HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK
    REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_PEER_AHEAD RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_PEER_AHEAD RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
    FOLLOWING_LEADER
