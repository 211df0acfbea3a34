"""The REST door over real sockets: what it answers, whom it lets in, and what cannot hold it up."""
import base64
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from rest_lib import (PROBE, Authority, Probe, client_context, parse, read_all, read_answer,
                      wait_for)

pytestmark = pytest.mark.skipif(
    not os.path.exists(PROBE),
    reason="no %s: run make check once and set PGHEIR_BUILD to the build folder" % PROBE)


@pytest.fixture
def probe():
    """Starts probes; at the end each must stop with 0 and without a word from a sanitizer."""
    probes = []

    def start(*arguments, **options):
        probes.append(Probe(*arguments, **options))
        return probes[-1]

    yield start
    for one in probes:
        code, _, err = one.stop()
        assert "ERROR" not in err and "runtime error" not in err, err
        assert code == 0, err


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server_cert(authority):
    return authority.issue("server")


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(
        ("%s:%s" % (user, password)).encode()).decode()}


# ---- answers ----


def test_json_answer(probe):
    status, headers, body = probe().ask("GET", "/patroni")
    assert (status, body) == (200, "{}")
    assert headers["Content-Type"] == "application/json"
    assert headers["Server"] == "pgheir"


@pytest.mark.parametrize("tokens, expected", [("minimal", "Patroni/4.1.4"),
                                              ("productonly", "Patroni")])
def test_server_tokens(probe, tokens, expected):
    assert probe("tokens=" + tokens).ask("GET", "/")[1]["Server"] == expected


def test_status_only_answer_has_no_headers_of_ours(probe):
    status, headers, body = probe("http_header=X-Extra:1").ask("GET", "/status-only")
    assert (status, body) == (200, "")
    assert not {"Server", "Content-Type", "X-Extra"} & set(headers)


def test_extra_headers(probe, server_cert):
    extra = ["http_header=X-One:a b", "https_header=X-Two:c"]
    headers = probe(*extra).ask("GET", "/")[1]
    assert headers["X-One"] == "a b" and "X-Two" not in headers
    secure = probe("certfile=" + server_cert[0], "keyfile=" + server_cert[1], *extra)
    headers = secure.ask("GET", "/", context=client_context())[1]
    assert headers["X-One"] == "a b" and headers["X-Two"] == "c"


def test_head_has_no_body(probe):
    raw = probe().send("HEAD /patroni HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 ") and raw.endswith(b"\r\n\r\n")


def test_body_and_header_of_answer(probe):
    status, headers, body = probe().ask("POST", "/echo", body="hello")
    assert (status, body, headers["lsn"]) == (200, "hello", "42")
    assert headers["Content-Type"] == "text/html"


def test_http_1_0_closes(probe):
    raw = probe().send("GET /patroni HTTP/1.0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.0 200 ") and raw.endswith(b"{}")


def test_half_closed_client_gets_its_answer(probe):
    for _ in range(20):
        raw = probe_once(probe).send("GET /patroni HTTP/1.0\r\n\r\n", half_close=True)
        assert raw.endswith(b"{}")
        raw = probe_once(probe).send("GET /late?ms=20 HTTP/1.0\r\n\r\n", half_close=True)
        assert raw.endswith(b"late")


def test_half_closed_client_gets_a_large_answer(probe):
    """More than the sockets hold, so the end of the stream is seen in the middle of the answer."""
    body = b"x" * (1024 * 1024)
    with probe().connect() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        peer.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        peer.shutdown(socket.SHUT_WR)
        data = b""
        while True:
            piece = peer.recv(65536)
            if not piece:
                break
            data += piece
        assert data.endswith(b"\r\n\r\n" + body)


def probe_once(start, cache=[]):
    if not cache or not cache[0].is_running():
        cache[:] = [start()]
    return cache[0]


@pytest.mark.parametrize("query", ["a=1&b=%20c", "", "%zz%00", "a=b?c=/d"])
def test_query_comes_as_it_is(probe, query):
    assert probe().ask("GET", "/query?" + query)[2] == "query=" + query


def test_path_is_decoded(probe):
    assert probe().ask("GET", "/%71uery?a=1")[2] == "query=a=1"


def test_peer_address_is_plain(probe):
    both = probe(listen="*:0")
    assert both.ask("GET", "/peer")[2] == "127.0.0.1 tls=0"
    assert probe().ask("GET", "/peer")[2] == "127.0.0.1 tls=0"


def test_late_answer_and_many_at_once(probe):
    one = probe()
    peers = [one.connect() for _ in range(20)]
    for peer in peers:
        peer.sendall(b"GET /late?ms=3000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    begin = time.monotonic()
    assert one.ask("GET", "/patroni")[0] == 200
    assert time.monotonic() - begin < 2.5
    for peer in peers:
        assert parse(read_all(peer))[2] == "late"
        peer.close()


def test_deadline_answers_and_late_answer_is_swallowed(probe):
    one = probe()
    status, _, body = one.ask("GET", "/never?ms=600")
    assert (status, body) == (503, "status unknown")
    wait_for(lambda: one.ask("GET", "/info")[2].split()[1] == "1")


def test_client_that_left_before_its_answer(probe):
    one = probe()
    for _ in range(10):
        peer = one.connect()
        peer.sendall(b"GET /late?ms=50 HTTP/1.1\r\nHost: x\r\n\r\n")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
    wait_for(lambda: one.ask("GET", "/info")[2].split()[1] == "1")
    assert one.is_running()


def test_stop_with_open_questions(probe):
    one = probe()
    peers = [one.connect() for _ in range(5)]
    for peer in peers:
        peer.sendall(b"GET /late?ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: one.ask("GET", "/info")[2].split()[1] == "6")
    assert one.stop()[0] == 0
    for peer in peers:
        peer.close()


def test_close_listener_first(probe):
    one = probe()
    with one.connect() as peer:
        peer.sendall(b"GET /late?ms=500 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        wait_for(lambda: one.ask("GET", "/info")[2].split()[1] == "2")
        assert one.signal(signal.SIGUSR1) == "closed"
        with pytest.raises(ConnectionRefusedError):
            one.connect()
        assert parse(read_all(peer))[2] == "late"


# ---- HTTP rules ----


def test_keep_alive_and_pipelining(probe):
    with probe().connect() as peer:
        peer.sendall(b"".join(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % i
                              for i in range(9)))
        data = b""
        while data.count(b"HTTP/1.1 200") < 9 or not data.endswith(b"\r\n\r\n8"):
            piece = peer.recv(65536)
            assert piece
            data += piece
        bodies = [part.partition(b"\r\n\r\n")[2] for part in data.split(b"HTTP/1.1 200")[1:]]
        assert bodies == [b"%d" % i for i in range(9)]


def test_chunked_body(probe):
    raw = probe().send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                       "Connection: close\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    assert parse(raw)[::2] == (200, "hello world")


def test_chunked_body_piece_by_piece(probe):
    with probe().connect() as peer:
        for byte in (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close"
                     b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
            peer.sendall(bytes([byte]))
        assert parse(read_all(peer))[2] == "abc"


def test_expect_continue(probe):
    with probe().connect() as peer:
        peer.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                     b"Content-Length: 2\r\nConnection: close\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 100 Continue")
        peer.sendall(b"ok")
        assert parse(read_all(peer))[2] == "ok"


@pytest.mark.parametrize("method, path, body, status", [
    ("POST", "/nothing", "x", 501), ("DELETE", "/nothing", None, 501), ("PUT", "/x", "", 501),
    ("BREW", "/", None, 501), ("TRACE", "/", None, 501),
    ("POST", "/length", None, 411), ("POST", "/length", "", 200),
])
def test_refused_by_rule(probe, method, path, body, status):
    answer = probe().ask(method, path, body=body)
    assert answer[0] == status
    if status != 200:
        assert "text/html" in answer[1]["Content-Type"].lower()


def test_connect_is_refused(probe):
    with probe().connect() as peer:
        peer.sendall(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 501 ")


BAD = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "bad version": b"GET / HTTP/x.y\r\n\r\n",
    "version 9": b"GET / HTTP/9.9\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\n : x\r\n\r\n",
    "length not a number": b"POST /echo HTTP/1.1\r\nContent-Length: two\r\n\r\nok",
    "length negative": b"POST /echo HTTP/1.1\r\nContent-Length: -5\r\n\r\nok",
    "length with plus": b"POST /echo HTTP/1.1\r\nContent-Length: +2\r\n\r\nok",
    "two lengths": b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length and chunked": b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd transfer encoding": b"POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n"
                             b"Content-Length: 2\r\n\r\nok",
    "bad chunk size": b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "NUL in the path": b"GET /a%00b HTTP/1.1\r\n\r\n",
    "HEAD with a body": b"HEAD / HTTP/1.1\r\nContent-Length: 16\r\n\r\nGET /x HTTP/1.1\r\n",
    "huge line": b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n\r\n",
    "huge header": b"GET / HTTP/1.1\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
    "huge length": b"POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "huge chunk": b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_request(probe, name):
    one = probe()
    with one.connect() as peer:
        peer.sendall(BAD[name])
        raw = read_all(peer)
    # A reset may overtake the answer where we sent more than it read; but never is there a 200.
    assert raw == b"" or parse(raw)[0] in (400, 413, 501), raw[:200]
    assert raw.count(b"HTTP/1.") <= 1
    assert one.ask("GET", "/patroni")[0] == 200


def test_smuggled_request_is_not_run(probe):
    raw = probe().send(BAD["length and chunked"] + b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n"
                       b"\r\nEVIL!")
    assert b"EVIL!" not in raw and raw.count(b"HTTP/1.1") == 1


def test_body_ceiling(probe):
    one = probe()
    body = "x" * (1024 * 1024)
    assert one.ask("POST", "/echo", body=body)[2] == body
    assert one.ask("POST", "/echo", body=body + "y")[0] == 413


# ---- the gate ----


PASSWORD = "geheim:mit doppelpunkt"


def test_basic_auth(probe):
    one = probe("username=admin", "password=" + PASSWORD)
    assert one.ask("GET", "/patroni")[0] == 200
    status, headers, body = one.ask("POST", "/echo", body="x")
    assert (status, body) == (401, "no auth header received")
    assert headers["WWW-Authenticate"] == 'Basic realm="Patroni"'
    for bad in (basic("admin", "wrong"), basic("admi", PASSWORD), basic("admin", PASSWORD + "x"),
                basic("admin", PASSWORD + "\0"), basic("", ""), {"Authorization": "Basic ***"},
                {"Authorization": "Bearer x"}, {"Authorization": "Basic"},
                {"Authorization": "Basic " + "QUFB" * 1000}):
        status, headers, body = one.ask("POST", "/echo", body="x", headers=bad)
        assert (status, body) == (401, "not authenticated"), bad
    assert one.ask("POST", "/echo", body="x", headers=basic("admin", PASSWORD))[::2] == (200, "x")


def test_unknown_place_is_501_also_without_credentials(probe):
    assert probe("username=a", "password=b").ask("POST", "/nothing", body="")[0] == 501


@pytest.mark.parametrize("allow, passes", [
    (["10.0.0.0/8"], False), (["127.0.0.1"], True), (["127.0.0.0/30"], True), (["localhost"], True),
    (["127.0.0.2/31"], False), (["::1"], False), (["::ffff:127.0.0.1"], True),
    (["0.0.0.0/0"], True),
    (["10.1.1.1", "127.0.0.1/32"], True), (["nosuchhost.invalid"], False), (["::/0"], True),
])
def test_allowlist(probe, allow, passes):
    one = probe(*["allow=" + entry for entry in allow], listen="*:0")
    status, _, body = one.ask("POST", "/echo", body="x")
    assert (status, body) == ((200, "x") if passes else (403, "Access is denied"))
    assert one.ask("GET", "/patroni")[0] == 200


def test_allowlist_include_members(probe):
    one = probe("include_members=1", "member=10.0.0.1", "member=127.0.0.1")
    assert one.ask("POST", "/echo", body="x")[0] == 200
    two = probe("include_members=1", "member=10.0.0.1")
    assert two.ask("POST", "/echo", body="x")[0] == 403
    # Members may be unknown while etcd is down, so this one is open unless a list is given.
    assert two.ask("POST", "/failsafe", body="x")[0] == 200
    three = probe("include_members=1", "member=127.0.0.1", "allow=10.0.0.0/8")
    assert three.ask("POST", "/echo", body="x")[0] == 200
    assert three.ask("POST", "/failsafe", body="x")[0] == 403


def test_order_of_checks(probe, authority, server_cert):
    tls = ["certfile=" + server_cert[0], "keyfile=" + server_cert[1], "cafile=" + authority.cert,
           "verify=optional", "username=a", "password=b"]
    bare = client_context()
    known = client_context(cert=authority.issue("client"))
    one = probe("allow=10.0.0.0/8", *tls)
    assert one.ask("POST", "/echo", "x", context=bare)[2] == "Access is denied"
    two = probe(*tls)
    assert two.ask("POST", "/echo", "x", context=bare)[::2] == (403, "client certificate required")
    assert two.ask("GET", "/patroni", context=bare)[0] == 200
    assert two.ask("POST", "/echo", "x", context=known)[2] == "no auth header received"
    answer = two.ask("POST", "/echo", "x", headers=basic("a", "b"), context=known)
    assert answer[::2] == (200, "x")


def test_verify_required(probe, authority, server_cert, tmp_path):
    one = probe("certfile=" + server_cert[0], "keyfile=" + server_cert[1],
                "cafile=" + authority.cert, "verify=required")
    known = client_context(authority, authority.issue("client"))
    assert one.ask("GET", "/patroni", context=known)[0] == 200
    assert one.ask("POST", "/echo", "x", context=known)[0] == 200
    stranger = Authority(tmp_path, "stranger").issue("client")
    for context in (client_context(authority), client_context(authority, stranger)):
        assert refused_by_tls(one, context)
    assert one.ask("GET", "/patroni", context=known)[0] == 200


def refused_by_tls(one, context):
    try:
        return one.send("GET /patroni HTTP/1.0\r\n\r\n", context=context) == b""
    except (ssl.SSLError, ConnectionError):
        return True


# ---- TLS ----


def test_plain_request_to_tls_port(probe, server_cert):
    one = probe("certfile=" + server_cert[0], "keyfile=" + server_cert[1])
    assert b"200" not in one.send("GET /patroni HTTP/1.0\r\n\r\n")
    assert one.ask("GET", "/peer", context=client_context())[2] == "127.0.0.1 tls=1"


def test_tls_keep_alive_and_large_bodies(probe, server_cert):
    one = probe("certfile=" + server_cert[0], "keyfile=" + server_cert[1])
    body = b"0123456789abcdef" * 20000
    with one.connect(client_context()) as peer:
        for _ in range(20):
            peer.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
            peer.sendall(body)
            status, _, got, rest = read_answer(peer)
            assert (status, got.encode(), rest) == (200, body, b"")


def test_key_password(probe, authority):
    cert, key = authority.issue("locked", password="s3cret")
    one = probe("certfile=" + cert, "keyfile=" + key, "keyfile_password=s3cret")
    assert one.ask("GET", "/patroni", context=client_context(authority))[0] == 200
    for arguments in ([], ["keyfile_password=wrong"]):
        with pytest.raises(RuntimeError) as error:
            probe("certfile=" + cert, "keyfile=" + key, *arguments)
        assert "restapi.keyfile" in str(error.value) and key in str(error.value)
        assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("arguments, words", [
    (["certfile=/nowhere.crt"], ["restapi.certfile", "/nowhere.crt"]),
    (["CERT", "keyfile=/nowhere.key"], ["restapi.keyfile", "/nowhere.key"]),
    (["CERT", "KEY", "cafile=/nowhere.ca"], ["restapi.cafile", "/nowhere.ca"]),
    (["CERT", "KEY", "verify=required"], ["restapi.cafile is missing"]),
    (["CERT", "KEY", "ciphers=NONSENSE"], ["restapi.ciphers", "NONSENSE"]),
    (["CERT", "keyfile=OTHER"], ["restapi.keyfile", "does not belong"]),
    (["username=x"], ["restapi.authentication.password"]),
    (["password=x"], ["restapi.authentication.username"]),
    (["username=a:b", "password=x"], ["colon"]),
    (["allow=10.0.0.0/33"], ["restapi.allowlist", "10.0.0.0/33"]),
    (["allow="], ["restapi.allowlist", "empty"]),
    (["http_header=Bad Name:x"], ["restapi.http_extra_headers"]),
    (["listen=nonsense"], ["restapi.listen", "host:port"]),
    (["listen=127.0.0.1:99999"], ["restapi.listen", "65535"]),
    (["listen=::1:8008"], ["restapi.listen", "brackets"]),
    (["listen=192.0.2.1:8008"], ["restapi.listen", "192.0.2.1", "no such address"]),
])
def test_bad_configuration(probe, authority, server_cert, arguments, words):
    names = {"CERT": "certfile=" + server_cert[0], "KEY": "keyfile=" + server_cert[1],
             "keyfile=OTHER": "keyfile=" + authority.issue("other")[1]}
    with pytest.raises(RuntimeError) as error:
        probe(*[names.get(one, one) for one in arguments])
    for word in words:
        assert word in str(error.value)


class NameServer:
    """A DNS server that is silent until it is told to answer 127.0.0.1."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.answers, self.asked = False, 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            query, peer = self.socket.recvfrom(512)
            self.asked += 1
            is_a = query[-4:-2] == b"\0\1"
            if self.answers:
                head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
                record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_a else b""
                self.socket.sendto(head + query[12:] + record, peer)


def test_name_that_is_not_known_yet(probe, monkeypatch):
    """NW-04: a silent DNS at the start ends nothing; the door opens when the name is known."""
    server = NameServer()
    monkeypatch.setenv("PGHEIR_NAMESERVER", server.address)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = probe(listen="rest.example:%d" % port)
    assert one.port == 0
    one.port = port
    wait_for(lambda: server.asked > 0)
    with pytest.raises(ConnectionRefusedError):
        one.connect()
    server.answers = True

    def is_open():
        try:
            return one.ask("GET", "/patroni")[0] == 200
        except OSError:
            return False
    wait_for(is_open)


def test_port_in_use(probe):
    one = probe()
    with pytest.raises(RuntimeError) as error:
        probe(listen="127.0.0.1:%d" % one.port)
    for word in ("restapi.listen", "127.0.0.1", str(one.port), "already in use"):
        assert word in str(error.value)


def days_left(one, context):
    ends_ms = int(one.ask("GET", "/info", context=context)[2].split()[3])
    return round((ends_ms / 1000 - time.time()) / 86400)


def test_certificate_renewal(probe, authority, tmp_path):
    context = client_context()
    files = [str(tmp_path / "s.crt"), str(tmp_path / "s.key")]
    for source, target in zip(authority.issue("first", days=10), files):
        shutil.copy(source, target)
    one = probe("certfile=" + files[0], "keyfile=" + files[1])
    assert days_left(one, context) == 10
    renewed = authority.issue("second", days=20)
    shutil.copy(renewed[0], files[0])  # the key is still the old one
    message = one.signal(signal.SIGHUP)
    assert "restapi.keyfile" not in message or files[1] in message
    assert message != "reloaded"
    assert days_left(one, context) == 10
    shutil.copy(renewed[1], files[1])
    assert one.signal(signal.SIGHUP) == "reloaded"
    assert days_left(one, context) == 20


def test_certificate_renewal_without_reload(probe, authority, tmp_path):
    """SE-04: found by itself; a pair that does not fit keeps the old one until it does."""
    context = client_context()
    files = [str(tmp_path / "s.crt"), str(tmp_path / "s.key")]
    for source, target in zip(authority.issue("third", days=10), files):
        shutil.copy(source, target)
    one = probe("certfile=" + files[0], "keyfile=" + files[1])
    renewed = authority.issue("fourth", days=20)
    with one.connect(context) as peer:
        shutil.copy(renewed[0], files[0])
        begin = time.monotonic()
        while time.monotonic() - begin < 7:
            assert days_left(one, context) == 10
            time.sleep(0.2)
        shutil.copy(renewed[1], files[1])
        wait_for(lambda: days_left(one, context) == 20)
        peer.sendall(b"GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(peer)[0] == 200


def test_reload_moves_the_listener(probe, tmp_path):
    change = tmp_path / "change"
    one = probe("reload=" + str(change))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        change.write_text("listen=127.0.0.1:%d" % other.getsockname()[1])
        assert "already in use" in one.signal(signal.SIGHUP)
        assert one.ask("GET", "/patroni")[0] == 200
        free = other.getsockname()[1]
    with one.connect() as before:
        assert one.signal(signal.SIGHUP) == "reloaded"
        old, one.port = one.port, free
        assert one.ask("GET", "/patroni")[0] == 200
        before.sendall(b"GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(before)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", old), timeout=60)


def test_reload_changes_password(probe, tmp_path):
    change = tmp_path / "change"
    one = probe("username=a", "password=b", "reload=" + str(change))
    change.write_text("password=c")
    assert one.signal(signal.SIGHUP) == "reloaded"
    assert one.ask("POST", "/echo", "x", headers=basic("a", "b"))[0] == 401
    assert one.ask("POST", "/echo", "x", headers=basic("a", "c"))[0] == 200


# ---- nothing holds it up ----


def latencies(one, count, context=None):
    """Milliseconds of fresh connections each."""
    spans = []
    for _ in range(count):
        begin = time.monotonic()
        assert one.ask("GET", "/health", context=context)[0] == 200
        spans.append((time.monotonic() - begin) * 1000)
    return sorted(spans)


def test_idle_tls_handshakes(probe, server_cert):
    """RC-03: 100 half-open TLS connections hold nobody up."""
    one = probe("certfile=" + server_cert[0], "keyfile=" + server_cert[1])
    idle = [one.connect() for _ in range(100)]
    for peer in idle[::2]:
        peer.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
    spans = latencies(one, 200, client_context())
    # Whoever had to wait for one of them waited for its deadline, 10 s. The promise is 100 ms (p99).
    assert spans[100] < 100 and spans[197] < 5000, spans
    # Nobody may sit there for ever.
    begin = time.monotonic()
    for peer in idle:
        peer.settimeout(60)
        assert read_all(peer) == b""
        peer.close()
    assert time.monotonic() - begin < 60


def test_slow_request_is_ended(probe):
    one = probe()
    with one.connect() as peer:
        begin = time.monotonic()
        peer.sendall(b"GET / HTTP/1.1\r\n")
        peer.settimeout(0.3)
        ended = False
        while not ended and time.monotonic() - begin < 60:
            try:
                peer.sendall(b"X: y\r\n")
                ended = peer.recv(10) == b""
            except socket.timeout:
                pass
            except OSError:
                ended = True
        assert ended
        assert time.monotonic() - begin > 8


def test_crowd_makes_room(probe):
    """More connections than places: the ones that have been silent for longest go."""
    one = probe(limit=128)
    crowd = [one.connect() for _ in range(300)]
    spans = latencies(one, 20)
    assert spans[-1] < 5000
    assert int(one.ask("GET", "/info")[2].split()[2]) >= 100
    assert int(one.ask("GET", "/info")[2].split()[0]) <= 64
    for peer in crowd:
        peer.close()


def test_client_that_does_not_read(probe):
    one = probe()
    peers = []
    for _ in range(5):
        peer = one.connect()
        peer.setblocking(False)
        body = b"x" * 1000000
        data = b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        try:
            while True:
                sent = peer.send(data)
                data = data[sent:] or data
        except BlockingIOError:
            peers.append(peer)
    assert latencies(one, 20)[-1] < 5000
    resident = int(open("/proc/%d/statm" % one.process.pid).read().split()[1]) * 4096
    assert resident < 400 * 1024 * 1024  # a sanitizer build is large by itself
    for peer in peers:
        peer.close()


def test_no_descriptor_leaks(probe, server_cert):
    for arguments, context in (([], None), (["certfile=" + server_cert[0],
                                             "keyfile=" + server_cert[1]], client_context())):
        one = probe(*arguments)
        folder = "/proc/%d/fd" % one.process.pid
        before = len(os.listdir(folder))
        for _ in range(100):
            one.ask("GET", "/patroni", context=context)
            one.connect().close()
        wait_for(lambda: len(os.listdir(folder)) <= before)
        wait_for(lambda: int(one.ask("GET", "/info", context=context)[2].split()[0]) <= 2)


def test_ipv6(probe):
    try:
        with socket.socket(socket.AF_INET6) as check:
            check.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert probe(listen="[::1]:0", host="::1").ask("GET", "/peer")[2] == "::1 tls=0"
    both = probe(listen="*:0", host="::1")
    assert both.ask("GET", "/peer")[2] == "::1 tls=0"
    both.host = "127.0.0.1"
    assert both.ask("GET", "/peer")[2] == "127.0.0.1 tls=0"


def test_help_by_curl(probe):
    """An HTTP client that is not ours."""
    one = probe()
    out = subprocess.run(["curl", "-sS", "-w", "%{http_code}", "--data", "hi",
                          "http://127.0.0.1:%d/echo" % one.port], capture_output=True, text=True)
    assert out.stdout == "hi200", out.stderr
