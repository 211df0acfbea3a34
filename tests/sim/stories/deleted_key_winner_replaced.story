# The leader key is deleted while its holder is cut off from everybody: the winner waits for the
# holder's fence, also when its agent is killed meanwhile.
set nodes 2
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node1 all
delete leader-key
expect node2 says WAIT_OLD_FENCE within 2s
kill node2 agent
expect node2 primary within 40s
expect timeline 2
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY
node2: RACE_BEGIN RACE_WON WAIT_OLD_FENCE WAIT_OLD_FENCE PROMOTE_BEGIN
