# etcd is replaced by an empty one: the running primary gives it the cluster again.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
etcd replaced
wait 1s
expect leader node1 within 5s
expect node1 primary for 10s
expect well within 60s
trace
node1: KEY_VANISHED LEASE_LOST KEY_RECREATED INIT_RESTORED CONFIG_RESTORED
node2: LEASE_LOST WAIT_BOOTSTRAP FOLLOWING_LEADER
node3: LEASE_LOST WAIT_BOOTSTRAP FOLLOWING_LEADER
