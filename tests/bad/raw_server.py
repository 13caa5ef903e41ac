"""raw_server - a Streamable HTTP server of raw bytes, whose every answer a test can replace, and that
remembers what reached it. Well-behaved where no test said otherwise."""
import contextlib
import json
import queue
import select
import socket
import threading
import time

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def status(line, headers=b"", body=b""):
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (line, headers, len(body), body)


def as_json(text, headers=b""):
    return status(b"200 OK", b"Content-Type: application/json\r\n" + headers, text)


def result(number, value=None):
    return json.dumps({"jsonrpc": "2.0", "id": number,
                       "result": {"content": [{"type": "text", "text": "ok"}]}
                       if value is None else value}).encode()


def notification(data, method="notifications/message"):
    return json.dumps({"jsonrpc": "2.0", "method": method,
                       "params": {"level": "info", "data": data}}).encode()


def event(text, more=b""):
    """Every line of the text in a data line of its own."""
    return more + b"".join(b"data: " + line + b"\n" for line in text.split(b"\n")) + b"\n"


class Cut(bytes):
    """An answer after whose last byte the connection is closed."""


ASIDE = object()


class Request:
    def __init__(self, head, body, connection=None):
        self.time, self.head, self.body, self.connection = time.monotonic(), head, body, connection
        self.method, self.target = head.split(b" ", 2)[:2]
        pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        self.fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.message = json.loads(body) if body[:1] == b"{" else {}


class RawServer:
    """on_call(request) gives the answer to whatever has an id and is not initialize: bytes, Cut bytes,
    parts of them, or a function that is given the connection; None: none, the connection stays.
    on_get, on_delete, on_initialize likewise, where they are not None; on_any first of all, for what it
    does not leave ASIDE."""

    def __init__(self, port=0):
        self.streams = {}  # session -> its GETs, the latest last
        self.sessions = self.sent = 0
        self.greeting = b""  # said to every connection at once
        self.behave()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def behave(self, on_call=None, on_get=None, on_delete=None, on_initialize=None, on_any=None):
        self.on_call, self.on_get, self.on_delete = on_call, on_get, on_delete
        self.on_initialize, self.on_any = on_initialize, on_any
        self.requests = []

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(self.greeting)
            while self.one(connection, lines):
                pass

    def one(self, connection, lines):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = lines.readline()
            if not line:
                return False
            head += line
        length = int(Request(head, b"").fields.get(b"content-length", 0))
        asked = Request(head, lines.read(length), connection)
        self.requests.append(asked)
        return self.say(connection, lines, asked, self.answer(asked))

    def say(self, connection, lines, asked, answer):
        if answer is None:
            lines.read(1)  # until the other side goes
            return False
        if callable(answer):
            answer(connection)
            return False
        if answer is EVENTS and asked.method == b"GET":
            return self.hold(connection, asked)
        for part in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(part)
        framed = isinstance(answer, bytes) and not isinstance(answer, Cut)
        return framed and (b"Content-Length" in answer or b"chunked" in answer)

    def answer(self, asked):
        own = self.on_any(asked) if self.on_any else ASIDE
        if own is not ASIDE:
            return own
        if asked.method == b"GET":
            return self.on_get(asked) if self.on_get else EVENTS
        if asked.method == b"DELETE":
            return self.on_delete(asked) if self.on_delete else status(b"200 OK")
        message = asked.message
        if "id" not in message or "method" not in message:
            return ACCEPTED
        if message["method"] == "initialize":
            return self.on_initialize(asked) if self.on_initialize else self.initialize(message)
        if self.on_call and message["method"] == "tools/call":
            return self.on_call(asked)
        return as_json(result(message["id"]))

    def initialize(self, message):
        self.sessions += 1
        return as_json(result(message["id"], {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}, "logging": {}},
            "serverInfo": {"name": "raw", "version": "1"}}),
            b"Mcp-Session-Id: raw-%d\r\n" % self.sessions)

    # Its GET streams: what is pushed goes to the latest of that session.

    def hold(self, connection, asked):
        out = queue.Queue()
        mine = self.streams.setdefault(asked.fields.get(b"mcp-session-id", b"").decode(), [])
        connection.sendall(EVENTS)
        mine.append(out)
        try:
            while True:
                try:
                    text = out.get(timeout=0.05)
                except queue.Empty:
                    if select.select([connection], [], [], 0)[0]:
                        return False  # the other side has gone
                    continue
                if text is None:
                    return False
                connection.sendall(text)
                self.sent += 1
        finally:
            mine.remove(out)

    def latest(self):
        """The session that was made last."""
        return f"raw-{self.sessions}"

    def push(self, session, text, seconds=5):
        end = time.monotonic() + seconds
        while not self.streams.get(session) and time.monotonic() < end:
            time.sleep(0.01)
        self.streams[session][-1].put(text)

    def saw(self, method):
        return [one for one in self.requests if one.method == method]

    def calls(self):
        return [one for one in self.requests if one.message.get("method") == "tools/call"]

    def mentions(self, text):
        return [one for one in self.requests if text in one.head or text in one.body]

    def stop(self):
        self.listener.close()
