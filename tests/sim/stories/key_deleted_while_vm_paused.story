# A virtual machine is paused, and its clock with it, while another takes its place. That one hears
# nothing of etcd, and writes under its fence, when its key is deleted. Who comes back stands where
# the history says that its timeline ended: it must not write on there.
set ttl 30 10 10
start node1
expect leader node1 within 15s
start
expect well within 60s
wait 10s
watch
freeze node1 vm
expect leader other within 60s
wait 10s
cut leader etcd
delete leader-key
wait 2s
thaw node1 vm
expect node1 quiet within 2s
expect node1 quiet for 10s
wait 60s
join node2 etcd
expect well within 120s
trace
node1: KEY_VANISHED RACE_TIMELINE LEASE_LOST DEMOTE_NO_KEY START_AS_STANDBY RACE_TIMELINE
    HISTORY_CHECK REWIND_BEGIN REWIND_DONE HISTORY_CHECK REWIND_NOT_NEEDED START_AS_STANDBY
    FOLLOWING_LEADER
node2: RACE_BEGIN RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK ETCD_SILENT DEMOTE_FENCE
    START_AS_STANDBY HISTORY_CHECK ETCD_BACK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
    LEASE_LOST
node3: RACE_BEGIN RACE_LOST HISTORY_CHECK REWIND_NOT_NEEDED FOLLOW_CHANGED FOLLOWING_LEADER
    RACE_BEGIN RACE_PEER_PRIMARY RACE_WON PROMOTE_BEGIN PROMOTE_DONE LEADER_WITH_LOCK
