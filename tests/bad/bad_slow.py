"""Rows H that take their time: heads and bodies that never come, readers that do not read. All at
once, so that the part lasts no longer than the longest deadline."""
import contextlib
import json
import socket
import threading
import time

from harness import Session, check, start_peers, sure, wait_until
from raw import Canary, exchange, head, post, PING

HEAD_S, SLACK_S = 10, 4


def drip_on(connection, text, every, seconds):
    """A byte at a time: (what came back, when the connection was closed)."""
    begun = time.monotonic()
    got, at = b"", 0
    connection.settimeout(every)
    while time.monotonic() - begun < seconds:
        try:
            if at < len(text):
                connection.sendall(text[at:at + 1])
            at += 1
            part = connection.recv(65536)
            if not part:
                return got, time.monotonic() - begun
            got += part
        except TimeoutError:
            continue
        except OSError:
            return got, time.monotonic() - begun
    return got, None


def drip(port, text, every, seconds):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        return drip_on(connection, text, every, seconds)


def slow_head(port):
    got, seconds = drip(port, head(lines=["X-A: " + "a" * 200]), 0.6, HEAD_S + SLACK_S)
    sure(seconds is not None and HEAD_S - 1 <= seconds, seconds, got)
    sure(got.startswith(b"HTTP/1.1 408"), got[:100])


def no_body(port):
    text = head(lines=["Expect: 100-continue", "Content-Type: application/json",
                       "Accept: application/json, text/event-stream",
                       f"Content-Length: {len(PING)}"])
    reply = exchange(port, text, 45)
    sure(reply.closed and b"HTTP/1.1 408" in reply.data and reply.seconds < 35, reply)


def slow_body(port):
    text = post(body=b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 4000 + b'"}')
    begun = time.monotonic()
    at = text.index(b"\r\n\r\n") + 8
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(text[:at])
        connection.settimeout(40)
        got = connection.recv(65536)
    sure(got.startswith(b"HTTP/1.1 408") and time.monotonic() - begun < 35, got[:100])


def dripping_body(port):
    """Fast enough for no other deadline: the floor of 1 KiB/s."""
    text = post(body=b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 4000 + b'"}')
    at = text.index(b"\r\n\r\n") + 5
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(text[:at])
        got, seconds = drip_on(connection, text[at:], 1, 45)
    sure(got.startswith(b"HTTP/1.1 408") and seconds is not None, got[:100], seconds)
    sure(29 <= time.monotonic() - begun < 35, time.monotonic() - begun)


def unread(peer, session):
    """A client that takes nothing of what it asked for, more than the kernels keep: after how long it is
    cut."""
    before = peer.metrics()['mesh_client_broken_total{cause="slow"}']
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", peer.port))
        lines = [f"{name}: {value}" for name, value in session.headers().items()]
        call = post(lines=lines, body=json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
            "name": "echo", "arguments": {"message": "m" * 900000}}}).encode())
        lazy.settimeout(2)
        begun = time.monotonic()
        with contextlib.suppress(OSError):  # it is read as long as answers leave
            for _ in range(40):
                lazy.sendall(call)
                begun = time.monotonic()
        wait_until(45, lambda: peer.metrics()['mesh_client_broken_total{cause="slow"}'] > before, "it is cut")
        return time.monotonic() - begun


def slow_reader(peers):
    session = Session(peers[0].port)
    seconds = unread(peers[0], session)
    sure(25 < seconds < 40, seconds)
    sure(session.ask(peers[1].port, "ping")[1]["result"] == {})
    wait_until(5, lambda: peers[0].metrics()["mesh_exchanges_open"] <= 1, "it is freed")


def silent(port):
    reply = exchange(port, b"", HEAD_S + SLACK_S + 60)
    sure(reply.closed and reply.seconds < 70, reply)


def resets(port):
    """Heads without the rest, bodies without the rest, closed or reset: none of them stays."""
    for text in (post()[:40], post()[:-5]):
        for linger in (None, b"\1\0\0\0\0\0\0\0"):
            for _ in range(25):
                with socket.create_connection(("127.0.0.1", port), 5) as connection:
                    if linger:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    connection.sendall(text)


def run():
    peers = start_peers()
    canary = Canary(peers)
    port = peers[0].port
    rows = {
        "H35: one byte of a head every 0.6 s: 408 at the deadline, 10 s from the first byte": slow_head,
        "H31: 100-continue and then no body: 408 at the deadline": no_body,
        "H36: a body that stops: 408 at the deadline": slow_body,
        "H36: a byte of a body every second: 408 after 30 s": dripping_body,
        "H37: who takes nothing of a long answer is cut after 30 s, its session goes on":
            lambda _: slow_reader(peers),
    }

    def one(sentence, work):
        with check(sentence):
            work(port)
    threads = [threading.Thread(target=one, args=row) for row in rows.items()]
    for thread in threads:
        thread.start()
    with check("H39: 100 requests that were cut off or reset leave nothing behind"):
        before = peers[1].metrics()["mesh_client_connections"]
        resets(peers[1].port)
        time.sleep(0.5)
        sure(peers[1].metrics()["mesh_client_connections"] <= before + 1)
        sure(peers[1].metrics()["mesh_exchanges_open"] <= 1)
    with check("H37: who does not read a long answer stops nobody else"):
        session = Session(peers[0].port)
        with socket.create_connection(("127.0.0.1", peers[1].port), 5) as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
                "name": "echo", "arguments": {"message": "m" * 900000}}}).encode()
            lines = [f"{name}: {value}" for name, value in session.headers().items()]
            lazy.sendall(post(lines=lines, body=body))
            for i in range(30):
                answer, message = session.ask(peers[i % 3].port, "ping", timeout=5)
                sure(message and "result" in message and answer.seconds < 1, answer)
    for thread in threads:
        thread.join(60)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 200 and not errors, canary.count, errors[:3])
