# etcd is down for a minute: the primary demotes itself before its fence, nobody else takes over;
# when etcd is back the cluster is.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
etcd down
expect node1 quiet within 6s
wait 60s
etcd up
expect leader any within 15s
expect well within 30s
expect lost 0
trace
node1: ETCD_SILENT DEMOTE_FENCE START_AS_STANDBY ETCD_BACK PROMOTE_BEGIN PROMOTE_DONE
    LEADER_WITH_LOCK
node2: ETCD_SILENT ETCD_BACK
node3: ETCD_SILENT ETCD_BACK
