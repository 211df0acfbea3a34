# etcd revokes the primary's lease early: at most one change of roles, nothing is wiped.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
revoke node1 lease
wait 1s
expect leader any within 8s
expect well within 40s
trace
node1: KEY_VANISHED LEASE_LOST KEY_RECREATED
node2: RACE_BEGIN RACE_PEER_PRIMARY FOLLOWING_LEADER
node3: RACE_BEGIN RACE_PEER_PRIMARY FOLLOWING_LEADER
