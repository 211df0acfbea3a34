# Somebody deletes the leader key by hand: the primary makes it again inside its fence, nobody
# else leads.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
delete leader-key
expect leader node1 within 1s
expect node1 primary for 20s
expect timeline 1
trace
node1: KEY_VANISHED KEY_RECREATED
node2: RACE_BEGIN RACE_PEER_PRIMARY FOLLOWING_LEADER
node3: RACE_BEGIN RACE_PEER_PRIMARY FOLLOWING_LEADER
