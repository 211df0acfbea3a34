# The postmaster is stopped, its sessions live on. No new session is possible: the key is given
# up when that lasts, and a replica leads.
set start_timeout 10s
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 postmaster
expect leader other within 40s
thaw node1 postmaster
expect well within 60s
trace
node1: PRIMARY_UNRESPONSIVE RELEASE_UNFIT START_AS_STANDBY RACE_BENCHED HISTORY_CHECK
    REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: RACE_BEGIN RACE_PEER_AHEAD RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
node3: RACE_BEGIN RACE_PEER_AHEAD RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
