"""Helpers of the REST door's tests: certificates, the probe process, raw sockets."""
import os
import signal
import socket
import ssl
import subprocess
import time

BUILD = os.environ.get("PGHEIR_BUILD", os.getcwd())
PROBE = os.path.join(BUILD, "tests", "io", "rest_probe")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A certificate authority of its own, with files under folder."""

    def __init__(self, folder, name="ca"):
        self.folder = str(folder)
        self.name = name
        self.cert = self.path(name + ".crt")
        self.key = self.path(name + ".key")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
            "/CN=" + name, "-keyout", self.key, "-out", self.cert)

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, password=None, days=10):
        """Returns the paths of certificate and key."""
        cert, key, request = (self.path(name + end) for end in (".crt", ".key", ".csr"))
        extensions = self.path(name + ".ext")
        with open(extensions, "w") as out:
            out.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        secret = ["-nodes"] if password is None else ["-passout", "pass:" + password]
        run("openssl", "req", "-newkey", "rsa:2048", "-subj", "/CN=" + name, "-keyout", key, "-out",
            request, *secret)
        run("openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
            "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", cert)
        return cert, key


def client_context(authority=None, cert=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.cert)
    if cert is not None:
        context.load_cert_chain(*cert)
    return context


class Probe:
    """One running rest_probe."""

    def __init__(self, *arguments, listen="127.0.0.1:0", host="127.0.0.1", limit=None):
        self.host = host
        command = [PROBE, "listen=" + listen, *arguments]
        if limit is not None:
            command = ["sh", "-c", 'ulimit -n %d; exec "$@"' % limit, "sh", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening "):
            self.process.wait(60)
            raise RuntimeError(self.process.stderr.read())
        self.port = int(line.split()[1])

    def connect(self, context=None, timeout=60):
        plain = socket.create_connection((self.host, self.port), timeout=timeout)
        return plain if context is None else context.wrap_socket(plain)

    def send(self, text, context=None, half_close=False):
        """Sends raw bytes and returns all that comes until the end of the stream."""
        with self.connect(context) as peer:
            peer.sendall(text if isinstance(text, bytes) else text.encode())
            if half_close:
                peer.shutdown(socket.SHUT_WR)
            return read_all(peer)

    def ask(self, method, path, body=None, headers=None, context=None):
        """Returns (status, headers, body) of a request that closes its connection."""
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: x", "Connection: close"]
        lines += ["%s: %s" % item for item in (headers or {}).items()]
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        raw = self.send("\r\n".join(lines) + "\r\n\r\n" + (body or ""), context)
        return parse(raw)

    def signal(self, number):
        self.process.send_signal(number)
        return self.process.stdout.readline().strip()

    def is_running(self):
        return self.process.poll() is None

    def stop(self):
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def read_all(peer):
    data = b""
    try:
        while True:
            piece = peer.recv(65536)
            if not piece:
                return data
            data += piece
    except (ConnectionResetError, ssl.SSLError):
        return data


def parse(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("HTTP/1."), raw
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body.decode()


def read_answer(peer):
    """One answer with Content-Length from a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status, headers, _ = parse(head + b"\r\n\r\n")
    length = int(headers.get("Content-Length", 0))
    while len(body) < length:
        piece = peer.recv(65536)
        assert piece, body
        body += piece
    return status, headers, body[:length].decode(), body[length:]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("not within %s s" % seconds)
