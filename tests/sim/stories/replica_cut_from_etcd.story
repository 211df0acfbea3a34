# A replica is cut from etcd: it streams on.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
cut node2 etcd
expect node2 streaming for 20s
expect leader node1 for 1s
join node2 etcd
expect well within 20s
trace
node1:
node2: ETCD_SILENT ETCD_BACK LEASE_LOST
node3:
