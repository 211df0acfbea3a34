# The first minute is cut short: the bootstrapping machine is lost, its empty "initialize" goes with
# its lease, and another node makes the cluster.
start node1
wait 600ms
kill node1 machine
start node2
start node3
expect leader any within 40s
revive node1 machine
expect well within 40s
trace
node1: BOOTSTRAP_RACE BOOTSTRAP_BEGIN CLONE_BEGIN CLONE_DONE HISTORY_CHECK START_AS_STANDBY
    HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
node2: WAIT_BOOTSTRAP BOOTSTRAP_RACE BOOTSTRAP_BEGIN BOOTSTRAP_DONE START_AS_PRIMARY
    LEADER_WITH_LOCK
node3: WAIT_BOOTSTRAP BOOTSTRAP_RACE WAIT_BOOTSTRAP WAIT_LEADER_TO_CLONE CLONE_BEGIN CLONE_DONE
    HISTORY_CHECK START_AS_STANDBY HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED
    FOLLOWING_LEADER
