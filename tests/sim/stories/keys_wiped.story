# Somebody deletes all keys: no bootstrap, the running primary writes them again.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
wipe keys
expect leader node1 within 5s
expect well within 20s
expect timeline 1
trace
node1: KEY_VANISHED KEY_RECREATED INIT_RESTORED CONFIG_RESTORED
node2: WAIT_BOOTSTRAP FOLLOWING_LEADER
node3: WAIT_BOOTSTRAP FOLLOWING_LEADER
