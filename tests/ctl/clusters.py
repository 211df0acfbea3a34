"""Clusters that the golden outputs under golden/ show. The outputs were compared once, byte by byte,
with those of patronictl 4.1.4 on the same keys."""
import json

from ctl_lib import member

SYSID = "7711380018334676876"

CLUSTERS = {
    "shop": {
        "initialize": SYSID,
        "leader": "db1",
        "config": json.dumps({
            "ttl": 30, "loop_wait": 10, "synchronous_mode": True, "pause": True, "slots": {},
            "list": [1, "two", {"x": []}],
            "postgresql": {"use_pg_rewind": True, "parameters": {
                "max_connections": 200, "log_line_prefix": "%m [%p]: ", "pg_stat.x": None,
                "shared_preload_libraries": "a,b", "work_mem": "64MB", "e": "", "num": "100",
                "archive_command": "/bin/true # yes", "on_text": "on", "fl": 1.5,
                "date": "2026-01-01"}},
            "\u00fcn\u00ef": "\u00e4\u20ac"}),
        "status": json.dumps({"optime": 150995272 + 3 * 1024 * 1024}),
        "members/db1": member("10.0.0.1", role="primary", timeline=7, xlog_location=150995272,
                              tags={"clonefrom": True}),
        "members/db2": member("10.0.0.2", timeline=7, xlog_location=150995272,
                              receive_lsn=150995272, replay_lsn=150000000,
                              replication_state="streaming"),
        "members/db3": member("10.0.0.3", state="stopped"),
        "sync": json.dumps({"leader": "db1", "quorum": 0, "sync_standby": "db2"}),
        "history": json.dumps([
            [6, 67407096, "no recovery target specified", "2026-11-23T14:54:57.001196+00:00", "db1"],
            [7, 77407096, "x"], [8, 77407096, "x", "2026-11-23T14:54:57+00:00"]]),
    },
    "topo": {
        "initialize": "",
        "leader": "a",
        "config": "{\"ttl\":30}",
        "members/a": member("h1", role="primary", timeline=1, xlog_location=100),
        "members/b": member("h1", 5433, timeline=1, xlog_location=100, receive_lsn=100,
                            replay_lsn=100, replication_state="in archive recovery",
                            tags={"replicatefrom": "c"}),
        "members/c": member("h2", timeline=1, xlog_location=100, replication_state="streaming",
                            tags={"nofailover": True, "failover_priority": 0, "foo": "bar: baz",
                                  "list": [1, 2], "o": {"a": None}}),
        "members/d": member("h3", timeline=1, xlog_location=50, replication_state="streaming",
                            tags={"replicatefrom": "a"}, pending_restart=True,
                            pending_restart_reason={
                                "max_connections": {"old_value": "100", "new_value": "120"},
                                "shared_preload_libraries": {"old_value": "a" * 40,
                                                             "new_value": "b" * 40}}),
        "members/e": member("h4", timeline=1, tags={"replicatefrom": "b"}, scheduled_restart={
            "schedule": "2030-01-01T00:00:00+00:00", "postgres_version": "15.99",
            "postmaster_start_time": "2026-11-23 14:53:45.358496+00:00"}),
        "members/f": "{\"state\":\"creating replica\",\"role\":\"uninitialized\"}",
        "members/g": "garbage",
        "failover": json.dumps({"leader": "a", "member": "c",
                                "scheduled_at": "2030-05-01T10:00:00+02:00"}),
    },
    "standby": {
        "initialize": SYSID,
        "leader": "s1",
        "config": json.dumps({"standby_cluster": {"host": "1.2.3.4", "port": 5432},
                              "synchronous_mode": True}),
        "members/s1": member("10.0.0.1", role="standby_leader", timeline=3, xlog_location=100000,
                             replication_state="streaming"),
        "members/s2": member("10.0.0.2", role="replica", timeline=3, xlog_location=100000,
                             receive_lsn=100000, replay_lsn=100000,
                             replication_state="streaming"),
        "status": "{\"optime\":100000}",
        "history": "[]",
    },
    "noleader": {
        "initialize": SYSID,
        "members/n1": member("10.0.0.1", timeline=2, xlog_location=1000),
    },
    "quorum": {
        "initialize": SYSID,
        "leader": "q1",
        "config": "{\"synchronous_mode\":\"quorum\"}",
        "sync": json.dumps({"leader": "q1", "quorum": 1, "sync_standby": "q2,q3"}),
        "status": "{\"optime\":\"5000\"}",
        "members/q1": member("10.0.0.1", role="primary", timeline=2, xlog_location=6000),
        "members/q2": member("10.0.0.2", timeline=2, xlog_location=4000, receive_lsn=4000,
                             replay_lsn=3000, replication_state="streaming"),
        "members/q3": member("10.0.0.3", 5433, timeline=2, xlog_location=4000),
    },
    "old": {
        "initialize": SYSID,
        "leader": "o1",
        "optime/leader": "5000",
        "members/o1": "postgres://u:p@10.0.0.1:5432/postgres"
                      "?application_name=http://10.0.0.1:8008/patroni",
        "members/o2": member("10.0.0.2", role="master", xlog_location=9000000, version="3.0.0"),
    },
}

COMMANDS = {}
for name in CLUSTERS:
    for form in ("pretty", "tsv", "json", "yaml"):
        COMMANDS["list-%s-%s" % (name, form)] = ["list", name, "-f", form]
    COMMANDS["list-%s-extended" % name] = ["list", "-e", name]
    COMMANDS["topology-" + name] = ["topology", name]
    COMMANDS["show-config-" + name] = ["show-config", name]
for form in ("pretty", "tsv", "json", "yaml"):
    COMMANDS["history-shop-" + form] = ["history", "shop", "--format=" + form]
COMMANDS["history-standby-pretty"] = ["history", "standby"]
COMMANDS["list-two-json"] = ["list", "shop", "topo", "-fjson"]
COMMANDS["edit-set"] = ["edit-config", "shop", "-s", "ttl=40", "-s", "a.b.c=[1, x]"]
COMMANDS["edit-pg"] = ["edit-config", "shop", "-p", "max_connections=300", "--pg", "work_mem="]
COMMANDS["edit-dotted"] = ["edit-config", "shop", "-s", "postgresql.parameters.pg_stat.x=7"]
COMMANDS["edit-prune"] = ["edit-config", "shop", "-s", "postgresql.use_pg_rewind=null",
                          "-s", "postgresql.parameters={}"]
COMMANDS["edit-same"] = ["edit-config", "shop", "-s", "ttl=30"]
# The two answers that are written in another, equally valid way.
del COMMANDS["list-topo-yaml"]
