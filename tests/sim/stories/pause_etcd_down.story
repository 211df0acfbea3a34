# In a pause the primary survives an outage of etcd.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
pause
wait 5s
etcd down
expect node1 primary for 40s
etcd up
wait 10s
resume
expect node1 primary for 20s
expect well within 10s
expect timeline 1
trace
node1: PAUSE_BEGIN PAUSED ETCD_SILENT ETCD_BACK PAUSE_END LEADER_WITH_LOCK
node2: PAUSE_BEGIN PAUSED ETCD_SILENT ETCD_BACK PAUSE_END HISTORY_CHECK REWIND_NOT_NEEDED
    FOLLOWING_LEADER
node3: PAUSE_BEGIN PAUSED ETCD_SILENT ETCD_BACK PAUSE_END HISTORY_CHECK REWIND_NOT_NEEDED
    FOLLOWING_LEADER
