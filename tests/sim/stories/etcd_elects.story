# etcd elects a new leader of its own: nobody notices.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
etcd elects
expect node1 primary for 20s
expect timeline 1
trace
node1:
node2:
node3:
