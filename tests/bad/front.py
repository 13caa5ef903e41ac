"""front - clients of both transports with one face, so that a row can be tried on each: sessions of
Streamable HTTP as harness has them, sessions of HTTP+SSE (2024-11-05), and events as they were sent."""
import contextlib
import http.client
import json
import random
import socket
import threading
import time
import urllib.parse

from harness import BOTH, Session, request, sure, wait_until


class Event:
    def __init__(self):
        self.id = self.name = self.retry = None
        self.lines = []

    @property
    def data(self):
        return "\n".join(self.lines)

    def __repr__(self):
        return f"<{self.id} {self.name} {self.retry} {self.data[:120]!r}>"


def read_events(text):
    """What a reader by the book makes of the bytes of a stream: whole blocks, those without data too."""
    found, event, used = [], Event(), False
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode().split("\n")
    for line in lines[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if used:
                found.append(event)
            event, used = Event(), False
        elif name == "data":
            event.lines.append(value)
        elif name == "id":
            event.id = value
        elif name == "event":
            event.name = value
        elif name == "retry":
            event.retry = value
        used = used or (line != "" and name != "")
    return found


class RawStream:
    """A GET that is answered by events, kept byte for byte."""

    def __init__(self, port, path, headers=None, timeout=30.0):
        self.raw, self.ended = b"", False
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.request("GET", path, headers={"Accept": "text/event-stream", **(headers or {})})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with contextlib.suppress(Exception):
            while part := self.answer.read1(65536):
                self.raw += part
        self.ended = True

    def events(self):
        return read_events(self.raw)

    def messages(self):
        return [json.loads(event.data) for event in self.events()
                if event.data and event.name in (None, "message")]

    def data(self, method="notifications/message"):
        """params.data of its notifications."""
        return [one["params"]["data"] for one in self.messages() if one.get("method") == method]

    def last_id(self):
        return ([event.id for event in self.events() if event.id] or [None])[-1]

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def resume(port, session, event, **more):
    shown = {} if event is None else {"Last-Event-ID": event}
    return RawStream(port, "/mcp", {**session.headers(), **shown}, **more)


class OldSession:
    """A session of HTTP+SSE: the stream stays on the peer of `port`, messages go to any."""
    version = "2024-11-05"

    def __init__(self, port, headers=None, initialize=True):
        self.counter, self.more = 0, headers or {}
        self.stream = RawStream(port, "/sse", self.more)
        sure(self.stream.status == 200, "/sse:", self.stream.status)
        first = wait_until(12, self.stream.events, "the endpoint")[0]
        sure(first.name == "endpoint", first)
        self.path = urllib.parse.urljoin("/sse", first.data)
        self.id = self.path.partition("sessionId=")[2]
        if not initialize:
            return
        answer, message = self.ask(port, "initialize", {
            "protocolVersion": self.version, "capabilities": {},
            "clientInfo": {"name": "system-tests", "version": "1"}})
        sure(message and "result" in message, "initialize:", answer)
        answer = self.send(port, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        sure(answer.status == 202, "initialized:", answer)

    def send(self, port, message, headers=None, timeout=None):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return request(port, "POST", self.path, {**BOTH, **self.more, **(headers or {})}, body,
                       timeout or 15)

    def answers(self, number):
        return [one for one in self.stream.messages()
                if one.get("id") == number and "method" not in one]

    def ask(self, port, method, params=None, timeout=None):
        self.counter += 1
        message = {"jsonrpc": "2.0", "id": self.counter, "method": method}
        if params is not None:
            message["params"] = params
        answer = self.send(port, message)
        if answer.status != 202:
            return answer, None
        found = wait_until(timeout or 15, lambda: self.answers(message["id"]) or self.stream.ended,
                           f"the answer to {method}")
        return answer, found[0] if found is not True else None

    def call(self, port, tool, timeout=None, **arguments):
        answer, message = self.ask(port, "tools/call", {"name": tool, "arguments": arguments}, timeout)
        sure(message and "result" in message, tool, answer, message)
        return "\n".join(part.get("text", "") for part in message["result"]["content"])

    def end(self, port):
        """Its stream is all that it has."""
        self.stream.close()


FRONTS = {"/mcp": Session, "/sse": OldSession}


def pieces(text, chance, count=4):
    """The text cut at random places, and not at all now and then."""
    cuts = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(count + 1)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]


def send_pieces(connection, text, chance, count=4):
    """Each piece in a segment of its own, or as the other side's reads happen to fall."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces(text, chance, count):
        connection.sendall(piece)
        if chance.random() < 0.7:
            time.sleep(chance.choice((0.0002, 0.002)))


def seeded(*words):
    return random.Random(repr(words))
