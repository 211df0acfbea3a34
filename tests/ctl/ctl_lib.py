"""Helpers of pgheirctl's tests: clusters written into etcd by hand, and agents that are played."""
import base64
import json
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUILD = os.environ.get("PGHEIR_BUILD", os.getcwd())
PGHEIRCTL = os.path.join(BUILD, "pgheirctl")


def member(host, port=5432, api=None, **fields):
    """Value of a member's key."""
    value = {"conn_url": "postgres://%s:%d/postgres" % (host, port),
             "api_url": (api or "http://%s:8008" % host) + "/patroni",
             "state": "running", "role": "replica", "version": "4.1.4"}
    value.update(fields)
    return json.dumps(value, separators=(",", ":"))


def fill(etcd, name, keys):
    etcd.delete("/service/%s/" % name, prefix=True)
    for key, value in keys.items():
        etcd.put("/service/%s/%s" % (name, key), value)


class Ctl:
    """Runs the program against one etcd. as_patronictl: under that name."""

    def __init__(self, folder, hosts):
        self.hosts = hosts
        self.link = os.path.join(str(folder), "patronictl")
        if not os.path.lexists(self.link):
            os.symlink(PGHEIRCTL, self.link)

    def run(self, *arguments, text="", as_patronictl=False, environment=None, timeout=60,
            dcs=True):
        env = {"HOME": "/nonexistent", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8",
               "TZ": "Europe/Berlin"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                env[name] = os.environ[name]
        env.update(environment or {})
        command = [self.link if as_patronictl else PGHEIRCTL]
        if dcs:
            command += ["-d", "etcd3://" + self.hosts[0]]
        return subprocess.run(command + list(arguments), input=text, text=True, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)


class Agent:
    """An agent's REST API as a script: answers[(method, path)] is (status, body), a list of those
    for one call after the other, or a function of the request's body. What came is in calls."""

    def __init__(self, answers=None, certificate=None, login=None):
        agent = self
        self.answers = answers or {}
        self.calls = []
        self.login = login

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                agent.handle(self)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = "%s://127.0.0.1:%d" % (scheme, self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def handle(self, request):
        length = int(request.headers.get("Content-Length", 0))
        text = request.rfile.read(length).decode()
        body = json.loads(text) if text else None
        self.calls.append((request.command, request.path, body))
        answer = self.answers.get((request.command, request.path), (501, "not here"))
        if self.login is not None and request.command != "GET":
            wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
            if request.headers.get("Authorization") != wanted:
                answer = (401, "not authenticated")
        if callable(answer):
            answer = answer(body)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:  # goes away without a word
            request.close_connection = True
            request.connection.close()
            return
        data = answer[1].encode()
        request.send_response(answer[0])
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
