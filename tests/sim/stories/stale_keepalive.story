# etcd elects a leader while the deposed one still answers keepalives: they count for nothing,
# and nobody notices.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
etcd elects
wait 500ms
cut node1 answers
wait 1s
join node1 answers
expect node1 primary for 20s
expect timeline 1
trace
node1:
node2:
node3:
