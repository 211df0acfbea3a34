"""Members that each live in a network namespace of their own (see netns.py), with their clients."""
import netns
from cluster import Cluster, Node


class IsolatedNode(Node):
    """Everything of it, and everybody who asks it for something, is inside its namespace."""

    def __init__(self, cluster, idx, *ports):
        super().__init__(cluster, idx, *ports)
        self.end_of_cable = cluster.network.ends[idx]
        self.host = self.end_of_cable.address

    def spawn(self, env=None):
        with netns.inside(self.end_of_cable):
            super().spawn(env)

    def rest(self, *arguments, **options):
        with netns.inside(self.end_of_cable):
            return super().rest(*arguments, **options)

    def connect(self, *arguments, **options):
        with netns.inside(self.end_of_cable):
            return super().connect(*arguments, **options)


class IsolatedCluster(Cluster):
    node_class = IsolatedNode

    def __init__(self, network, *arguments, **options):
        self.network = network
        super().__init__(len(network.ends), *arguments, **options)


def open_hba(node, config):
    """Everybody on the bridge may come in, with a password."""
    subnet = node.cluster.network.subnet + ".0/24"
    config["postgresql"]["pg_hba"] = ["local all all scram-sha-256",
                                      "host all all %s scram-sha-256" % subnet,
                                      "host replication replicator %s scram-sha-256" % subnet]
    return config
