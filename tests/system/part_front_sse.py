"""Clients of the old HTTP+SSE transport (2024-11-05) in front of the mesh, before every kind of server:
the official SDK v1 client through strict alternation, and what its reconnect needs."""
import contextlib
import http.client
import json
import socket
import threading
import time

from harness import (NOT_FOUND, Peer, Session, Settings, check, forwarded_share, note, request, run_node,
                     start_balancer, start_peers, start_stub, sure, wait_until)
from part_http import sessions_report

SESSIONS, CALLS = 24, 10
JSON = {"Content-Type": "application/json"}
KEEPALIVE_SECONDS = 15


class Breaker:
    """A TCP proxy whose connections can be cut, all at once."""

    def __init__(self, port):
        self.target, self.pairs = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                self.pairs.append((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self.copy, args=pair, daemon=True).start()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for one in (one for pair in pairs for one in pair):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class OldStream:
    """GET /sse by hand: its endpoint, its messages, its comments."""

    def __init__(self, port, path="/sse", headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
        self.connection.request("GET", path, headers={"Accept": "text/event-stream", **(headers or {})})
        self.answer = self.connection.getresponse()
        self.messages, self.comments, self.endpoint, self.ended = [], 0, None, False
        threading.Thread(target=self.read, daemon=True).start()
        wait_until(5, lambda: self.endpoint, "the endpoint event")

    def read(self):
        name = ""
        with contextlib.suppress(Exception):
            while line := self.answer.readline().decode():
                field, _, value = line.rstrip("\r\n").partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data" and name == "endpoint":
                    self.endpoint = value.strip()
                elif field == "data":
                    self.messages.append(json.loads(value))
                self.comments += line.startswith(":")
        self.ended = True

    def session(self):
        return self.endpoint.partition("sessionId=")[2]

    def wait_for(self, number):
        return wait_until(10, lambda: next((one for one in self.messages if one.get("id") == number),
                                           None), f"the answer to {number}, got {self.messages}")

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def post(port, session, message, path="/messages"):
    return request(port, "POST", f"{path}?sessionId={session}", JSON, json.dumps(message).encode())


def initialize(port, stream, path="/messages"):
    answer = post(port, stream.session(), {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": {"name": "by-hand", "version": "1"}}}, path)
    sure(answer.status == 202, answer)
    sure("result" in stream.wait_for(0))
    answer = post(port, stream.session(), {"jsonrpc": "2.0", "method": "notifications/initialized"}, path)
    sure(answer.status == 202, answer)


# ---- the official client --------------------------------------------------------------------------

def many(kind, peers, has_notify):
    balancer = start_balancer([peer.port for peer in peers], f"{kind}-balancer")
    with check(f"{kind}: {SESSIONS} sessions of the SDK with {CALLS} calls each, every request to another "
               "peer: no failure, each session answered by one server"):
        words = ["--notify"] if has_notify else []
        code, text = run_node("front_sse.mjs", "sessions", "--url", f"http://127.0.0.1:{balancer.port}/sse",
                              "--sessions", SESSIONS, "--calls", CALLS, *words)
        found = sessions_report(code, text)
        note(f"{kind}: {found}")
        sure(code == 0 and found["failures"] == 0, found)
        sure(found["sessions"] == SESSIONS and found["calls"] == SESSIONS * CALLS, found)
        sure(len(found["servers"]) == 3, found)
        sure(not has_notify or found["notifications"] == 3 * SESSIONS, found)
    with check(f"{kind}: at least half of the messages were forwarded; the sessions went with their streams"):
        share = forwarded_share(peers)
        sure(share >= 0.5, f"{share:.3f}")
        wait_until(5, lambda: all(peer.metrics()["mesh_sessions"] == 0 for peer in peers), "no sessions")


def returns(kind, peers):
    """The client opens a new stream by itself after about 3 s, and goes on without a handshake."""
    balancer = start_balancer([peer.port for peer in peers], f"{kind}-broken")
    breaker = Breaker(balancer.port)
    with check(f"{kind}: a client whose connections break goes on by itself, initialized by the mesh"):
        done = []
        runner = threading.Thread(target=lambda: done.append(run_node(
            "front_sse.mjs", "returns", "--url", f"http://127.0.0.1:{breaker.port}/sse", seconds=60)))
        runner.start()
        wait_until(15, lambda: sum(peer.metrics()["mesh_sessions"] for peer in peers) == 1, "a session")
        time.sleep(1.5)
        breaker.cut()
        runner.join(60)
        sure(done, "the client did not end")
        found = sessions_report(*done[0])
        note(f"{kind}: {found}")
        sure(done[0][0] == 0 and found["failures"] == 0 and found["isNew"], found)
        sure(found["seconds"] < 10, found)
        wait_until(5, lambda: sum(peer.metrics()["mesh_sessions"] for peer in peers) == 0, "no sessions")


# ---- by hand --------------------------------------------------------------------------------------

def unknown(kind, peers):
    with check(f"{kind}: an id that is none, has ended, or is of Streamable HTTP gets 404 at once, at every "
               "peer, and an id of HTTP+SSE is none of Streamable HTTP"):
        gone, stream = OldStream(peers[0].port), OldStream(peers[0].port)
        initialize(peers[1].port, stream)
        gone.close()
        wait_until(5, lambda: peers[0].metrics()["mesh_sessions"] == 1, "the session's end")
        new = Session(peers[0].port)
        for peer in peers:
            for session in (gone.session(), new.id, "B" * 42, "x"):
                answer = post(peer.port, session, {"jsonrpc": "2.0", "id": 1, "method": "ping"})
                sure(answer.status == 404 and answer.seconds < 1, session, answer)
            for method in ("POST", "GET", "DELETE"):
                body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}' if method == "POST" else None
                answer = request(peer.port, method, "/mcp", {
                    "Mcp-Session-Id": stream.session(), "Accept": "application/json, text/event-stream",
                    **JSON}, body)
                sure(answer.status == 404 and answer.body == NOT_FOUND, method, answer)
        sure(post(peers[2].port, stream.session(),
                  {"jsonrpc": "2.0", "id": 1, "method": "ping"}).status == 202)
        sure("result" in stream.wait_for(1))
        stream.close()
        new.end(peers[1].port)


def endpoints():
    with check("the endpoint is relative, or has the public prefix: a client behind an ingress that cuts a "
               "prefix off finds it"):
        for flags, want in (([], "messages?sessionId="),
                            (["--public-prefix", "/team/a"], "/team/a/messages?sessionId="),
                            (["--messages-path", "/m/in"], "/m/in?sessionId="),
                            (["--sse-path", "/m/sse", "--messages-path", "/m/in"], "in?sessionId=")):
            peer = Peer("prefix", cluster="prefix", flags=flags, log=f"prefix-{len(want)}")
            words = dict(zip(flags[::2], flags[1::2]))
            stream = OldStream(peer.port, words.get("--sse-path", "/sse"))
            sure(stream.endpoint.startswith(want) and len(stream.endpoint) == len(want) + 42,
                 stream.endpoint)
            initialize(peer.port, stream, words.get("--messages-path", "/messages"))
            stream.close()
            peer.end()


def kept_alive(kind, peers):
    with check(f"{kind}: an idle stream is kept alive by a comment every {KEEPALIVE_SECONDS} s"):
        stream = OldStream(peers[0].port)
        initialize(peers[1].port, stream)
        time.sleep(KEEPALIVE_SECONDS + 1.5)
        sure(stream.comments >= 1 and not stream.ended, stream.comments)
        stream.close()


def run():
    stubs = [start_stub(f"stub-{i + 1}") for i in range(3)]
    old = [start_stub(f"old-{i + 1}", "sse") for i in range(3)]
    stub = Settings.program("tests/tools/stub")
    kinds = {
        "http": lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp"]},
        "stdio": lambda i: {"command": [stub, "stdio", "--name", f"child-{i + 1}"]},
        "sse": lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{old[i].port}/sse"]},
        "builtin": lambda i: {},
    }
    meshes = {kind: start_peers(cluster=f"front-{kind}", each=lambda i: {**each(i), "log":
                                                                         f"{kind}-p{i + 1}"})
              for kind, each in kinds.items()}
    for kind, peers in meshes.items():
        many(kind, peers, kind != "builtin")
        unknown(kind, peers)
        returns(kind, peers)
    endpoints()
    threads = [threading.Thread(target=kept_alive, args=pair) for pair in meshes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
