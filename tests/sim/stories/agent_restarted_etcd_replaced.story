# The agent is killed, and etcd is replaced by an empty one before the new agent looks: what was
# saved belongs to the old etcd and counts for nothing.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
kill node1 agent
etcd replaced
wait 1s
expect leader node1 within 5s
expect node1 primary for 10s
expect well within 20s
trace
node1: LEASE_LOST KEY_VANISHED SLOT_CREATE KEY_RECREATED LEADER_WITH_LOCK INIT_RESTORED
    CONFIG_RESTORED
node2: LEASE_LOST WAIT_BOOTSTRAP FOLLOWING_LEADER
node3: LEASE_LOST WAIT_BOOTSTRAP FOLLOWING_LEADER
