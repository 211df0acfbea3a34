# ttl is raised to 30 s and lowered to 5 s again while the cluster runs: the key moves onto new
# leases, the primary does not notice, and its right never reaches beyond any of them.
start node1
expect leader node1 within 15s
start
expect well within 30s
wait 10s
watch
ttl 30s
expect node1 primary for 30s
ttl 5s
expect node1 primary for 20s
expect well within 5s
expect timeline 1
trace
node1:
node2:
node3:
