# A virtual machine is paused, and its clock with it, until its lease runs out right after it goes on:
# it believes in a fence that is over. It makes its key anew at once, and keeps it.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
freeze node1 vm
wait 4300ms
thaw node1 vm
wait 10s
expect leader node1 within 1s
trace
node1: KEY_VANISHED LEASE_LOST KEY_RECREATED
node2: RACE_BEGIN RACE_PEER_PRIMARY FOLLOWING_LEADER
node3: RACE_BEGIN RACE_PEER_PRIMARY FOLLOWING_LEADER
