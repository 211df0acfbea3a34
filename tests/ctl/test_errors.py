"""Wrong input and things that are not there: the error names the place and what to do."""
import pytest

from ctl_lib import fill, member
from etcd import Authority, EtcdCluster


@pytest.mark.parametrize("arguments, words", [
    ([], ["Usage: ", "Commands:", "switchover"]),
    (["nope"], ["No such command 'nope'."]),
    (["list", "--foo"], ["No such option: --foo", "Try 'pgheirctl list --help'"]),
    (["list", "-x"], ["No such option: -x"]),
    (["list", "-f", "xml"], ["Invalid value for '--format' / '-f': 'xml' is not one of 'pretty', "
                             "'tsv', 'json', 'yaml', 'yml'."]),
    (["list", "-w", "soon"], ["Invalid value for '--watch' / '-w': 'soon'"]),
    (["list", "--extended=1"], ["Option '--extended' does not take a value."]),
    (["switchover", "--candidate"], ["Option '--candidate' requires an argument."]),
    (["restart"], ["Missing argument 'CLUSTER_NAME'."]),
    (["history", "a", "b"], ["Got unexpected extra argument (b)"]),
    (["restart", "a", "-r", "boss"], ["'boss' is not one of 'leader', 'primary', "]),
    (["--bad", "list"], ["No such option: --bad"]),
])
def test_usage(ctl, arguments, words):
    answer = ctl.run(*arguments, dcs=False)
    assert answer.returncode == 2
    for word in words:
        assert word in answer.stderr + answer.stdout


def test_help(ctl):
    answer = ctl.run("--help", dcs=False)
    assert answer.returncode == 0 and "edit-config" in answer.stdout
    answer = ctl.run("switchover", "--help", dcs=False)
    assert answer.returncode == 0 and "--candidate" in answer.stdout


def write(folder, text):
    path = folder / "ctl.yml"
    path.write_text(text)
    return str(path)


def test_places_of_the_configuration(etcd, ctl, tmp_path):
    fill(etcd, "shop", {"leader": "a"})
    text = "scope: shop\netcd3:\n  host: %s\n" % etcd.hosts()[0]
    path = write(tmp_path, text)
    home = tmp_path / "home"
    (home / ".config" / "patroni").mkdir(parents=True)
    (home / ".config" / "patroni" / "patronictl.yaml").write_text(text)
    for arguments, environment in (
            (["-c", path], {}), ([], {"PATRONICTL_CONFIG_FILE": path}),
            ([], {"PGHEIRCTL_CONFIG_FILE": path}), ([], {"HOME": str(home)}),
            ([], {"PATRONI_SCOPE": "shop", "PATRONI_ETCD3_HOST": etcd.hosts()[0]}),
            (["-d", "etcd3://" + etcd.hosts()[0]], {"PATRONI_SCOPE": "shop"}),
            ([], {"PATRONI_SCOPE": "shop", "DCS_URL": "etcd3://" + etcd.hosts()[0]})):
        answer = ctl.run(*arguments, "list", environment=environment, dcs=False)
        assert answer.returncode == 0, answer.stderr
        assert "+ Cluster: shop" in answer.stdout


def test_namespace(etcd, ctl):
    etcd.put("/elsewhere/n/shop/leader", "a")
    answer = ctl.run("-d", "etcd3://%s//elsewhere/n/" % etcd.hosts()[0], "list", "shop",
                     dcs=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("arguments, words", [
    (["list", "shop"], ["no etcd is configured", "-d etcd3://HOST:2379"]),
    (["-c", "/nowhere.yml", "list"], ["/nowhere.yml"]),
    (["-d", "consul://h:1", "list", "shop"], ["consul://h:1", "etcd3://"]),
    (["-d", "etcd3://127.0.0.1:1", "list"], ["no cluster name", "scope"]),
    (["-d", "etcd3://127.0.0.1:1", "list", "a/b"], ["\"a/b\" is no cluster name"]),
    (["-d", "etcd3://127.0.0.1:1", "list", "shop"],
     ["etcd does not answer", "http://127.0.0.1:1: ", "connect"]),
])
def test_no_way_to_etcd(ctl, arguments, words):
    answer = ctl.run(*arguments, dcs=False)
    assert answer.returncode == 1 and answer.stderr.startswith("Error: ")
    for word in words:
        assert word in answer.stderr


def test_every_endpoint_is_named(ctl, tmp_path):
    path = write(tmp_path, "scope: shop\netcd3:\n  hosts: 127.0.0.1:1,127.0.0.1:2\n")
    answer = ctl.run("-c", path, "list", dcs=False)
    assert answer.returncode == 1
    assert "http://127.0.0.1:1: " in answer.stderr and "http://127.0.0.1:2: " in answer.stderr


def test_broken_file_names_line_and_key(ctl, tmp_path):
    path = write(tmp_path, "scope: shop\nctl:\n  insecure: perhaps\n")
    answer = ctl.run("-c", path, "list", dcs=False)
    assert answer.returncode == 1
    assert path + ":3: error: ctl.insecure" in answer.stderr


def test_first_of_several_endpoints_is_dead(etcd, ctl, tmp_path):
    fill(etcd, "shop", {"leader": "a"})
    path = write(tmp_path, "scope: shop\netcd3:\n  hosts: 127.0.0.1:1,%s\n" % etcd.hosts()[0])
    assert ctl.run("-c", path, "list", dcs=False).returncode == 0


def test_etcd_password(ctl, tmp_path):
    with EtcdCluster(1, str(tmp_path / "etcd")) as etcd:
        etcd.put("/service/shop/leader", "a")
        for command in (["user", "add", "root:secret1"], ["user", "grant-role", "root", "root"],
                        ["user", "add", "guest:secret2"], ["auth", "enable"]):
            etcd.etcdctl(*command)

        def ask(user, password):
            path = write(tmp_path, "scope: shop\netcd3:\n  host: %s\n  username: %s\n"
                                   "  password: %s\n" % (etcd.hosts()[0], user, password))
            return ctl.run("-c", path, "list", dcs=False)

        assert ask("root", "secret1").returncode == 0
        for user, password, words in (("root", "wrong3", "authentication failed"),
                                      ("guest", "secret2", "permission denied")):
            answer = ask(user, password)
            assert answer.returncode == 1
            assert words in answer.stderr and "etcd3.password" in answer.stderr
            assert password not in answer.stderr + answer.stdout


# ---- the way to the agents ----


def leader_of(etcd, name, url, tmp_path, more=""):
    fill(etcd, name, {"leader": "n1", "config": "{}",
                      "members/n1": member("h1", api=url, role="primary")})
    return write(tmp_path, "scope: %s\netcd3:\n  host: %s\n%s" % (name, etcd.hosts()[0], more))


PATCH = {("PATCH", "/config"): (200, "{}")}


def test_rest_password(etcd, ctl, agent, tmp_path):
    one = agent(PATCH, login="admin:s3cret")
    for more, code in (("restapi:\n  authentication: {username: admin, password: s3cret}\n", 0),
                       ("ctl:\n  authentication: {username: admin, password: s3cret}\n"
                        "restapi:\n  authentication: {username: x, password: y}\n", 0),
                       ("ctl:\n  authentication: {username: admin, password: wrong}\n", 1),
                       ("", 1)):
        answer = ctl.run("-c", leader_of(etcd, "auth", one.url, tmp_path, more), "pause",
                         dcs=False)
        assert answer.returncode == code, answer.stderr
        assert ("status code=401, (not authenticated)" in answer.stdout) == (code == 1)
        assert "s3cret" not in answer.stdout + answer.stderr


def test_rest_certificate(etcd, ctl, agent, tmp_path):
    """SE-05: a wrong name, a wrong authority, no authority refuse; -k and insecure do not ask."""
    authority = Authority(str(tmp_path), "ca")
    stranger = Authority(str(tmp_path), "stranger")
    good = agent(PATCH, certificate=authority.issue("good"))
    named = agent(PATCH, certificate=authority.issue("named", alt_names="DNS:elsewhere"))
    with_ca = "ctl:\n  cacert: %s\n"
    for url, more, option, code in (
            (good.url, with_ca % authority.cert, [], 0),
            (good.url, "restapi:\n  cafile: %s\n" % authority.cert, [], 0),
            (good.url, with_ca % stranger.cert, [], 1), (good.url, "", [], 1),
            (good.url, "", ["-k"], 0), (good.url, "ctl:\n  insecure: true\n", [], 0),
            (named.url, with_ca % authority.cert, [], 1)):
        path = leader_of(etcd, "tls", url, tmp_path, more)
        answer = ctl.run("-c", path, *option, "pause", dcs=False)
        assert answer.returncode == code, (more, option, answer.stderr)
        if code == 1:
            assert "certificate" in answer.stderr or "SSL" in answer.stderr
