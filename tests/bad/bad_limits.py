"""More connections than there is room for: slow ones, idle ones, all of one address; and a process that
may open few files. limits-full: with 5,000 slow ones and 1,024 files."""
import contextlib
import selectors
import socket
import threading
import time

from harness import Peer, Session, check, note, request, start_peers, sure, wait_until
from raw import Canary, JSON_LINES, PING, exchange, head, post


def few_files(count):
    return ("sh", "-c", f'ulimit -n {count}; exec "$0" "$@"')


class Slow(threading.Thread):
    """So many connections that send a byte of a head, or of a body, now and then; who is closed comes
    again. They know no end."""

    def __init__(self, port, count):
        super().__init__(daemon=True)
        self.port, self.count, self.opened, self.closed = port, count, 0, 0
        self.texts = (head(lines=["X-A: " + "a" * 4000]), post(body=b'"' + b"a" * 4000 + b'"'))
        self.begins = (20, len(self.texts[1]) - 3000)
        self.open, self.done = {}, threading.Event()
        self.selector = selectors.DefaultSelector()
        self.start()

    def connect(self):
        one = socket.socket()
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(("127.0.0.1", self.port))
        kind = self.opened % 2
        self.opened += 1
        self.open[one] = [kind, 0]
        self.selector.register(one, selectors.EVENT_READ)

    def forget(self, one):
        self.selector.unregister(one)
        del self.open[one]
        one.close()

    def drip(self):
        for one, place in list(self.open.items()):
            kind, at = place
            text = self.texts[kind]
            part = text[:self.begins[kind]] if at == 0 else text[at:at + 1]
            with contextlib.suppress(OSError):
                place[1] += one.send(part)

    def run(self):
        while not self.done.is_set():
            for _ in range(min(200, self.count - len(self.open))):
                self.connect()
            self.drip()
            for key, _ in self.selector.select(0.05):
                with contextlib.suppress(BlockingIOError):
                    try:
                        if key.fileobj.recv(4096):
                            continue
                    except ConnectionError:
                        pass
                    self.closed += 1
                    self.forget(key.fileobj)
        for one in list(self.open):
            self.forget(one)

    def end(self):
        self.done.set()
        self.join(10)


def slow_ones(count, files, seconds):
    peers = start_peers(cluster="slow", each=lambda i: {
        "log": f"slow-p{i + 1}", "prefix": few_files(files),
        "flags": ["--max-connections-per-address", "100000"]})
    canary = Canary(peers)
    slow = Slow(peers[0].port, count)
    with check(f"{count} slow connections, {files} files: a session that opens a connection for each request "
               "sees no error, at none of the peers"):
        begun = time.monotonic()
        wait_until(30, lambda: slow.opened >= count, "they are opened")
        before = canary.count
        time.sleep(seconds)
        most = peers[0].metrics()
        sure(most["mesh_client_connections"] >= most["mesh_client_connections_max"] / 2, most)
        sure(canary.count - before > 20, canary.count - before)
        sure(not canary.errors, len(canary.errors), canary.errors[:3])
        note(f"{slow.opened} opened, {slow.closed} closed in {time.monotonic() - begun:.1f} s; "
             f"{canary.count} requests of the canary; {most['process_open_fds']:.0f} files")
    with check("and they are what gave way: counted, and within the limit"):
        sure(most['mesh_client_broken_total{cause="displaced"}'] > 0, most)
        sure(most["process_open_fds"] < files, most["process_open_fds"])
        sure(most["mesh_client_connections_max"] <= files / 2, most["mesh_client_connections_max"])
    with check("the admin endpoint answers, new sessions open, nobody was suspected for good"):
        for _ in range(5):
            sure(request(peers[0].admin_port, "GET", "/readyz", timeout=2).status == 200)
        session = Session(peers[0].port)
        sure(session.ask(peers[1].port, "ping")[1]["result"] == {})
        for peer in peers:
            sure(peer.sees(3), peer.name, peer.members())
            sure(peer.metrics()["mesh_deaths_total"] == 0, peer.name)
    with check("the log says it in a few lines"):
        sure(peers[0].text().count("\n") < 40, peers[0].text()[-600:])
    slow.end()
    errors = canary.end()
    with check("when they are gone all is as before"):
        sure(not errors, errors[:3])
        wait_until(15, lambda: peers[0].metrics()["mesh_client_connections"] <= 2, "they are closed")
        sure(session.ask(peers[0].port, "ping")[1]["result"] == {})
    for peer in peers:
        peer.end()


def hold(port, count):
    """So many connections, each of which was answered once."""
    held = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), 5)
        held.append(one)
        one.sendall(post(lines=["MCP-Protocol-Version: 2025-06-18"]))
    for one in held:
        one.settimeout(10)
        sure(one.recv(4096).startswith(b"HTTP/1.1 "), "an answer")
    return held


def of_one_address(count):
    (peer,) = start_peers(1, cluster="balancer", each=lambda i: {"log": "balancer"})
    with check(f"{count} connections from one address, as of a balancer: all of them answered by a peer "
               "with its defaults"):
        held = hold(peer.port, count)
        sure(peer.metrics()["mesh_client_connections"] >= count)
        again = post(lines=["MCP-Protocol-Version: 2025-06-18"])
        for one in held[::50]:
            one.sendall(again)
            sure(one.recv(4096).startswith(b"HTTP/1.1 "), "again")
        for one in held:
            one.close()
    peer.end()
    (peer,) = start_peers(1, cluster="address", each=lambda i: {"log": "address"},
                          flags=["--max-connections-per-address", "40"])
    with check("H38: --max-connections-per-address: one more is closed at once, and counted; who has "
               "another address is served"):
        held = hold(peer.port, 39)  # the canary of this one is the fortieth
        mine = socket.create_connection(("127.0.0.1", peer.port), 5)
        sure(exchange(peer.port, post()).data == b"", "a 41st is answered")
        sure(peer.metrics()['mesh_client_connections_refused_total{cap="address"}'] >= 1)
        with socket.create_connection(("127.0.0.1", peer.port), 5, ("127.0.0.2", 0)) as other:
            other.settimeout(5)
            other.sendall(post())
            sure(other.recv(4096).startswith(b"HTTP/1.1 "), "another address")
        held.pop().close()
        wait_until(3, lambda: exchange(peer.port, post()).data, "a place is free")
        for one in [mine, *held]:
            one.close()
    peer.end()


def few():
    with check("C7: with 64 files it starts, says so, and serves"):
        peer = Peer("few", cluster="few", prefix=few_files(64))
        peer.wait_line("few_files limit=64 connections=", 3)
        wait_until(5, peer.is_ready, "ready")
        session = Session(peer.port)
        slow = Slow(peer.port, 100)
        wait_until(5, lambda: slow.opened > 100, "some were closed")
        for _ in range(20):
            answer, message = session.ask(peer.port, "ping", timeout=5)
            sure(message and message["result"] == {}, answer)
        sure(peer.is_ready() and peer.metrics()["process_open_fds"] <= 64)
        slow.end()
        peer.end()


def drained():
    with check("H41: 1,000 connections with half a request each, then SIGTERM: it ends in its time"):
        peer = Peer("half", cluster="half", flags=["--drain-timeout", "8s"])
        wait_until(5, peer.is_ready, "ready")
        held = []
        for text in [post()[:60], post()[:-3], post() + post()[:30]] * 334:
            held.append(socket.create_connection(("127.0.0.1", peer.port), 5))
            held[-1].sendall(text)
        time.sleep(0.3)
        begun = time.monotonic()
        peer.process.terminate()
        sure(peer.wait(10) == 0 and time.monotonic() - begun < 3, time.monotonic() - begun)
        for one in held:
            one.close()


def early():
    (peer,) = start_peers(1, cluster="early", each=lambda i: {"log": "early"})
    session = Session(peer.port)
    lines = [f"{name}: {value}" for name, value in session.headers().items()]
    slow_call = (b'{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"slow",'
                 b'"arguments":{"ms":600,"steps":1}}}')
    with check("H34: a request that comes before the answer to the last one is answered after it; bytes "
               "that are none close the connection, after that answer"):
        for behind, statuses in ((post(lines=lines), [b"200", b"200"]), (b"nonsense\r\n\r\n", [b"200", b"400"]),
                                 (head(lines=["Content-Length: 5", *JSON_LINES]), [b"200"]),
                                 (PING, [b"200", b"400"])):
            reply = exchange(peer.port, post(lines=lines, body=slow_call) + behind, 3)
            found = [part[:3] for part in reply.data.split(b"HTTP/1.1 ")[1:]]
            sure(found == statuses, behind[:40], found, reply)
            sure(b'"id":77' in reply.data.split(b"HTTP/1.1 ")[1], reply)
            sure(reply.closed == (statuses[-1] == b"400"), behind[:40], reply)
    peer.end()


def run(slow=500, files=256, seconds=4, connections=1500):
    works = [threading.Thread(target=work) for work in (
        lambda: slow_ones(slow, files, seconds), few, drained, early)]
    for work in works:
        work.start()
    for work in works:
        work.join(120)
    of_one_address(connections)
