"""An upstream that is dead, dies, answers nonsense or comes back: readiness says so, what waits gets a
definite answer in-band, nothing hangs."""
import json
import socket
import threading
import time

from harness import (BOTH, Peer, Session, Settings, check, free_port, request, start_peers,
                     start_stub, sure, wait_until)


class Nonsense:
    """A server that sends the same bytes to everyone, then closes or holds."""

    def __init__(self, text, hold=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.text, self.hold, self.held = text, hold, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        try:
            if connection.recv(65536):
                connection.sendall(self.text)
            if self.hold:
                self.held.append(connection)
                return
            connection.close()
        except OSError:
            pass


def initialize(port, timeout=20):
    return request(port, "POST", "/mcp", BOTH, json.dumps({
        "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "a", "version": "1"}}}).encode(), timeout)


def is_in_band(answer):
    if answer.status != 200:
        return False
    try:
        found = [one for one in answer.messages() if "error" in one]
    except ValueError:
        return False
    return len(found) == 1 and found[0]["error"]["code"] == -32603


def dead_at_the_start():
    port = free_port()
    peer = Peer("lonely", flags=["--upstream", f"http://127.0.0.1:{port}/mcp"], cluster="lonely")
    with check("a dead upstream: /readyz is 503 and says why, /healthz stays 200"):
        answer = wait_until(10, lambda: (lambda one: one.status == 503 and b"upstream" in one.body and
                                         one)(request(peer.admin_port, "GET", "/readyz")), "503")
        sure(json.loads(answer.body)["reasons"], answer)
        sure(request(peer.admin_port, "GET", "/healthz").status == 200)
    with check("a dead upstream: initialize has a definite in-band answer within the park time"):
        answer = initialize(peer.port)
        sure(is_in_band(answer) and answer.seconds < 13, answer)
    with check("it is back: ready, and sessions open"):
        start_stub("late", port=port)
        wait_until(10, peer.is_ready, "ready")
        session = Session(peer.port)
        sure(session.ask(peer.port, "ping")[1]["result"] == {})


def dies_and_returns():
    stubs = [start_stub(f"stub-{i + 1}") for i in range(3)]
    peers = start_peers(cluster="upstream", each=lambda i: {
        "flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp", "--park-timeout", "4s"]})
    session = Session(peers[0].port)
    slow = []
    caller = threading.Thread(target=lambda: slow.append(session.ask(
        peers[1].port, "tools/call", {"name": "slow_counter", "arguments": {"ms": 5000, "steps": 5}})))
    caller.start()
    time.sleep(0.7)
    stubs[0].kill()
    killed = time.monotonic()
    with check("an upstream dies: the call in flight gets an in-band error, not a second run"):
        caller.join(15)
        sure(slow and slow[0][1] and slow[0][1].get("error", {}).get("code") == -32603, slow and
             str(slow[0][0]))
        sure(time.monotonic() - killed < 10)
        with open(f"{Settings.directory}/stub-1.calls") as log:
            sure(sum("slow_counter" in line.split() for line in log) == 1)
    with check("an upstream is dead: its peer is not ready, the others are, its session goes on at one of them"):
        wait_until(10, lambda: not peers[0].is_ready(), "p1 is not ready")
        sure(peers[1].is_ready() and peers[2].is_ready())
        for peer in peers:
            answer, message = session.ask(peer.port, "ping", timeout=15)
            sure(message and "result" in message, answer)
    with check("an upstream is dead: a new session is made where one answers, or the error is in-band"):
        answer = initialize(peers[0].port)
        sure(answer.seconds < 13 and answer.status == 200, answer)
        sure("mcp-session-id" in answer.headers or is_in_band(answer), answer)
    with check("it returns: its peer is ready again and serves new sessions"):
        start_stub("stub-1-again", port=stubs[0].port)
        wait_until(10, peers[0].is_ready, "p1 ready again")
        again = Session(peers[0].port)
        names = {again.call(peer.port, "whoami") for peer in peers}
        sure(len(names) == 1, names)


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NONSENSE = {
    "closes without a byte": b"",
    "sends no HTTP": b"220 smtp ready\r\n",
    "sends two lengths": HEADERS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "sends a length and chunks": HEADERS + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "folds a header": HEADERS + b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "sends a bare CR": HEADERS + b"X-A: b\rc\r\nContent-Length: 2\r\n\r\n{}",
    "has a status of four digits": b"HTTP/1.1 1000 OK\r\nContent-Length: 0\r\n\r\n",
    "has a status that is no number": b"HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n",
    "switches protocols unasked": b"HTTP/1.1 101 Switching\r\nUpgrade: a\r\n\r\n",
    "floods with 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    "cuts its answer": HEADERS + b"Content-Length: 900\r\n\r\n{\"jsonrpc\"",
    "answers no JSON": HEADERS + b"Content-Length: 3\r\n\r\nabc",
    "answers another id": HEADERS + b"Content-Length: 38\r\n\r\n"
                          b'{"jsonrpc":"2.0","id":471,"result":{}}',
    "ends an SSE stream in quiet": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: a\n\n",
    "cuts an SSE event": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"js",
}


def talks_nonsense():
    for what, text in NONSENSE.items():
        with check(f"U1 to U8: an upstream that {what}: a definite answer, and the peer lives"):
            server = Nonsense(text)
            peer = Peer("nonsense", cluster="nonsense",
                        flags=["--upstream", f"http://127.0.0.1:{server.port}/mcp",
                               "--park-timeout", "2s"])
            answer = initialize(peer.port)
            sure(is_in_band(answer) or answer.status in (400, 502), answer)
            sure(answer.seconds < 8, answer)
            sure("mcp-session-id" not in answer.headers, answer)
            sure(peer.process.poll() is None and peer.metrics()["mesh_exchanges_open"] == 0)
            peer.kill()
            server.listener.close()


def no_command():
    with check("stdio: a command that cannot be started: an in-band error, no hang, no restart storm"):
        peer = Peer("broken", cluster="broken", command=["/nonexistent/server"],
                    flags=["--park-timeout", "4s"])
        answer = initialize(peer.port)
        sure(is_in_band(answer) and answer.seconds < 13, answer)
        sure(peer.text().count("\n") < 40, peer.text()[-600:])
    with check("stdio: a command that ends at once: the same"):
        peer = Peer("brief", cluster="brief", command=["/bin/false"],
                    flags=["--park-timeout", "4s"])
        answer = initialize(peer.port)
        sure(is_in_band(answer) and answer.seconds < 13, answer)


def run():
    dead_at_the_start()
    dies_and_returns()
    talks_nonsense()
    no_command()
