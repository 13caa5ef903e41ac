"""raw - what the tests of bad input share: bytes on a socket as they are, a session that must not
notice any of it, an upstream that remembers what reached it."""
import http.server
import json
import os
import socket
import threading
import time

from harness import Session

PATHS = ("/mcp", "/sse", "/messages", "/nothing-here")
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
MARK = "smuggled-4711"
SMUGGLED = f"GET /{MARK} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
REPLY_MAX_BYTES = 1024
# Where memory is looked at: what a sanitizer keeps of what was freed is no growth of the peer's.
KEEPS_LITTLE = {"ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=1:"
                "thread_local_quarantine_size_kb=64"}


class Reply:
    def __init__(self, data, closed, seconds):
        self.data, self.closed, self.seconds = data, closed, seconds
        words = data.split(b" ", 2)
        self.status = int(words[1]) if data.startswith(b"HTTP/1.") and len(words) > 1 else 0
        self.count = data.count(b"HTTP/1.1 ")

    def __str__(self):
        closed = "closed" if self.closed else "open"
        return f"{self.data[:200]!r} ({len(self.data)} B, {closed}, {self.seconds:.2f} s)"


def exchange(port, data, seconds=1.5, half_close=False, answers=1):
    """Sends all of `data`, reads until the peer closes, or is silent for `seconds`. Stops at
    `answers` whole answers of those that stay open."""
    begun = time.monotonic()
    got, closed = b"", False
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all of it was sent
        while True:
            try:
                part = connection.recv(65536)
            except TimeoutError:
                break
            except OSError:
                closed = True
                break
            if not part:
                closed = True
                break
            got += part
            if answers > 1 and got.count(b"HTTP/1.1 ") >= answers:
                answers = 1
                connection.settimeout(0.3)
    return Reply(got, closed, time.monotonic() - begun)


def head(path="/mcp", lines=(), method="POST", version="HTTP/1.1", host="localhost", target=None):
    start = [f"{method} {target if target is not None else path} {version}"]
    if host is not None:
        start.append(f"Host: {host}")
    return "\r\n".join([*start, *lines, "", ""]).encode("latin-1")


JSON_LINES = ("Content-Type: application/json", "Accept: application/json, text/event-stream")


def post(path="/mcp", lines=(), body=PING, **more):
    return head(path, [*JSON_LINES, f"Content-Length: {len(body)}", *lines], **more) + body


def chunked(path="/mcp", chunks=b"", lines=(), **more):
    return head(path, [*JSON_LINES, "Transfer-Encoding: chunked", *lines], **more) + chunks


class Canary(threading.Thread):
    """A session that is used all the time, through every peer in turn."""

    def __init__(self, peers):
        super().__init__(daemon=True)
        self.peers, self.errors, self.count = peers, [], 0
        self.session = Session(peers[0].port)
        self.done = threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.02):
            port = self.peers[self.count % len(self.peers)].port
            self.count += 1
            try:
                answer, message = self.session.ask(port, "ping", timeout=5)
                if answer.status != 200 or not message or "result" not in message:
                    self.errors.append(str(answer))
            except Exception as error:
                self.errors.append(repr(error))

    def end(self):
        self.done.set()
        self.join(6)
        return self.errors


class Recorder:
    """An MCP server over HTTP that answers everything, and keeps what it was sent."""

    def __init__(self, port=0):
        recorder = self
        self.requests = []  # (method, target, headers in lower case as a list of pairs, body)
        self.sessions = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(length)
                pairs = [(name.lower(), value) for name, value in self.headers.items()]
                recorder.requests.append((self.command, self.path, pairs, body))
                recorder.reply(self, body)

            do_GET = do_POST = do_DELETE = do_PUT = do_OPTIONS = do_HEAD = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reply(self, handler, body):
        message = json.loads(body) if body.startswith(b"{") else {}
        text, status, lines = b"", 200, []
        if handler.command == "GET" and handler.path == "/mcp":
            status = 405
        elif "method" in message and "id" in message:
            result = {}
            if message["method"] == "initialize":
                self.sessions += 1
                lines.append(("Mcp-Session-Id", f"upstream-{self.sessions}"))
                result = {"protocolVersion": message["params"]["protocolVersion"],
                          "capabilities": {"tools": {}},
                          "serverInfo": {"name": "recorder", "version": "1"}}
            text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            lines.append(("Content-Type", "application/json"))
        elif handler.command == "POST":
            status = 202
        handler.send_response(status)
        for name, value in lines:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(text)

    def saw(self, text):
        return any(text in repr(one) for one in self.requests)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
