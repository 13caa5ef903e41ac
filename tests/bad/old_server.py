"""old_server - an HTTP+SSE server (2024-11-05) of raw bytes, whose every answer a test can replace, and
that remembers what reached it."""
import contextlib
import json
import queue
import socket
import threading
import time

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ENDPOINT = b"event: endpoint\ndata: /message?sessionId=4711\n\n"
TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\nAccepted"


def event(text, name=b"message"):
    return b"event: " + name + b"\ndata: " + text + b"\n\n"


def result(number, value=None):
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": value or {}}).encode()


class OldServer:
    """behave(): `opening` is all that a GET of the stream is answered with; `closes`: and then its end.
    on_message(server, message) says what the stream brings for a message, on_post(server, message)
    the bytes of the POST's answer; None: none, and the connection stays; b"": it is closed."""

    def __init__(self):
        self.held, self.out = [], queue.Queue()
        self.behave()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def behave(self, opening=SSE + ENDPOINT, closes=False, on_message=None, on_post=None):
        """From now on so; whoever is connected is not any more."""
        self.opening, self.closes = opening, closes
        self.on_message = on_message or answer_all
        self.on_post = on_post or (lambda server, message: TAKEN)
        self.out.put(None)
        while self.held:
            with contextlib.suppress(OSError):
                self.held.pop().shutdown(socket.SHUT_RDWR)
        self.requests = []  # (time, head, body), as they came
        self.broken = 0  # answers that their reader did not want

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with connection.makefile("rb") as lines:
                while self.one(connection, lines):
                    pass
            connection.close()
        except OSError:
            self.broken += 1

    def one(self, connection, lines):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = lines.readline()
            if not line:
                return False
            head += line
        fields = {name.strip().lower(): value.strip() for name, _, value in
                  (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        body = lines.read(int(fields.get(b"content-length", 0)))
        self.requests.append((time.monotonic(), head, body))
        if head.startswith(b"GET /sse"):
            return self.stream(connection)
        if not head.startswith(b"POST /message"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Mine: yes\r\nContent-Length: 4\r\n\r\nmine")
            return True
        message = json.loads(body)
        answer = self.on_post(self, message)
        said = self.on_message(self, message)
        if said:
            self.out.put(said)
        if answer is None:
            lines.read(1)  # until the other side goes
        elif answer:
            connection.sendall(answer)
        return bool(answer)

    def stream(self, connection):
        out = self.out = queue.Queue()  # of the latest stream
        closes = self.closes  # a test goes on once it has the answer
        connection.sendall(self.opening)
        if closes:
            return False
        while True:
            text = out.get()
            if text is None:
                return False
            connection.sendall(text)

    def end_stream(self):
        self.out.put(None)

    def posts(self):
        return [(when, head, json.loads(body)) for when, head, body in self.requests
                if head.startswith(b"POST /message")]


def answer_all(server, message):
    if "id" not in message or "method" not in message:
        return None
    if message["method"] == "initialize":
        return event(result(message["id"], {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "1"}}))
    return event(result(message["id"], {"content": [{"type": "text", "text": "ok"}]}))
