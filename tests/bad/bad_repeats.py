"""The general rule of bad input: the same again and again leaves nothing behind. 10,000 repeats of what
is refused, and of what is begun and given up, grow a peer by less than 1 MiB."""
import http.client
import socket
import time

from bad_framing import FRAMING, GATED
from bad_messages import BODIES, one as as_bytes
from bad_resume import make_sessions
from harness import BOTH, Session, check, note, start_peers, sure, wait_until
from raw import KEEPS_LITTLE, MARK, Canary, head

MIB = 1 << 20
REPEATS, WARM = 10000, 3000
END_BYTES = 256  # what a session's end costs the peers that are told of it; the oldest gives way


class Repeater:
    """One kind of bad input, over and over: on a connection that stays, or on one for each."""

    def __init__(self, texts):
        self.texts = texts

    def run(self, port, count):
        for n in range(count):
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(5)
                try:
                    connection.sendall(self.texts[n % len(self.texts)])
                    connection.recv(4096)
                except OSError:
                    pass  # refused before all of it was sent


class Bodies:
    def __init__(self, headers, bodies, method="POST", path="/mcp", allowed=(400, 404, 405, 406, 415)):
        self.headers, self.bodies, self.method = headers, bodies, method
        self.path, self.allowed = path, allowed

    def run(self, port, count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for n in range(count):
            connection.request(self.method, self.path, self.bodies[n % len(self.bodies)], {
                name: value(n) if callable(value) else value for name, value in self.headers.items()})
            answer = connection.getresponse()
            answer.read()
            sure(answer.status in self.allowed, self.path, answer.status)
        connection.close()


class Streams:
    """GETs that their clients give up at once."""

    def __init__(self, path, lines):
        self.path, self.lines = path, lines

    def run(self, port, count):
        for n in range(count):
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(5)
                connection.sendall(head(self.path, ["Accept: text/event-stream", *self.lines(n)],
                                        method="GET"))
                sure(connection.recv(4096).startswith(b"HTTP/1.1 200"), self.path)


def resident(peer):
    return peer.metrics()["process_resident_memory_bytes"]


def is_quiet(peer):
    metrics = peer.metrics()
    return metrics["mesh_exchanges_open"] <= 1 and metrics["mesh_client_connections"] <= 2


def repeated(what, work, peers, ends=0):
    more = f" but for {ends} B a time" if ends else ""
    with check(f"{what}, {REPEATS} times in all: less than 1 MiB of growth{more}, nothing is left open"):
        work.run(peers[0].port, WARM)
        wait_until(10, lambda: all(is_quiet(peer) for peer in peers), "quiet")
        before = [resident(peer) for peer in peers]
        lines = peers[0].text().count("\n")
        begun = time.monotonic()
        work.run(peers[0].port, REPEATS - WARM)
        seconds = time.monotonic() - begun
        wait_until(10, lambda: all(is_quiet(peer) for peer in peers), "quiet again")
        for peer, had in zip(peers, before):
            sure(resident(peer) - had < MIB + ends * (REPEATS - WARM), peer.name, resident(peer) - had)
        sure(peers[0].text().count("\n") - lines <= seconds + 5, "lines of log")


def run():
    peers = start_peers(2, cluster="repeats", env=KEEPS_LITTLE, flags=["--unknown-rate", "0"],
                        each=lambda i: {"log": f"repeats-p{i + 1}"})
    canary = Canary(peers)
    mine, far = Session(peers[0].port), Session(peers[1].port)
    framing = [row[2]("/mcp") for row in FRAMING + GATED if len(row[2]("/mcp")) < 9000]
    bodies = [text for row in BODIES for text in map(as_bytes, row[2]) if len(text) < 9000]
    ids = make_sessions([peers[1].port], 1)
    repeated(f"{len(framing)} requests of bad framing", Repeater(framing), peers)
    repeated(f"{len(bodies)} bodies that are no message, for a session of the other peer", Bodies(
        {**BOTH, **far.headers()}, bodies), peers)
    repeated("ids that are none", Bodies(
        {**BOTH, "Mcp-Session-Id": lambda n: mine.id[:20] + f"{n:06d}" + mine.id[26:]},
        [b'{"jsonrpc":"2.0","id":1,"method":"ping"}']), peers)
    repeated("messages of HTTP+SSE for no session", Bodies(
        BOTH, [b'{"jsonrpc":"2.0","id":1,"method":"ping"}'], path=f"/messages?sessionId={mine.id}"), peers)
    repeated("a stream of the other peer's session, resumed from nowhere and given up", Streams(
        "/mcp", lambda n: [f"Mcp-Session-Id: {ids[0]}", f"Last-Event-ID: {n % 3}-1-{n}"]), peers)
    repeated("a session of HTTP+SSE, opened and given up", Streams("/sse", lambda n: []), peers,
             END_BYTES)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        note(f"{canary.count} requests of the canary")
        sure(canary.count > 50 and not errors, canary.count, errors[:3])
    with check("A20: a token in a query is in no log"):
        for peer in peers:
            sure(MARK not in peer.text(), peer.name)
            sure(peer.process.poll() is None, peer.text()[-400:])
