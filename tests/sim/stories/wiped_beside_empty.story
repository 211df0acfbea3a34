# All keys are removed while the primary is cut from etcd and a member is being cloned anew: the
# empty member waits and makes no second cluster.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
ask node2 reinit
wait 1s
cut node1 etcd
wipe keys
wait 1s
join node1 etcd
expect leader node1 within 3s
expect node1 primary for 10s
expect well within 40s
trace
node1: KEY_VANISHED KEY_RECREATED INIT_RESTORED CONFIG_RESTORED
node2: REINIT_BEGIN CLONE_BEGIN CLONE_DONE WAIT_BOOTSTRAP START_AS_STANDBY HISTORY_CHECK
    REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
node3: WAIT_BOOTSTRAP FOLLOWING_LEADER
