"""The general rule of bad input, by the clock: sessions that are used while it comes see no error, and their
slowest answers take at most half as long again as in rounds without it, one round after the other. It comes
as often as what is good, so that what is measured is no lack of processors."""
import contextlib
import json
import socket
import statistics
import subprocess
import threading
import time

from bad_framing import FRAMING, GATED
from bad_messages import BODIES, one as as_bytes
from harness import Session, Settings, check, note, start_peers, sure
from raw import MARK, PATHS, post

ROUNDS, SECONDS, RATE = 5, 2, 300
MORE = 1.5


class Bad(threading.Thread):
    """Rows of every kind, on every route, one after the other while it may go."""

    def __init__(self, port, texts):
        super().__init__(daemon=True)
        self.port, self.texts, self.count = port, texts, 0
        self.may_go, self.rests, self.done = threading.Event(), threading.Event(), False
        self.start()

    def run(self):
        while not self.done:
            self.rests.set()
            self.may_go.wait()
            self.rests.clear()
            text = self.texts[self.count % len(self.texts)]
            self.count += 1
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as one:
                one.settimeout(5)
                one.sendall(text)
                one.recv(4096)
            time.sleep(2 / RATE)

    def rest(self):
        self.may_go.clear()
        self.rests.wait(10)


def load(peers):
    """Of calls through each peer, to sessions of each: the p99 in µs. None may fail."""
    ports = ",".join(f"127.0.0.1:{peer.port}" for peer in peers)
    done = subprocess.run([Settings.program("tests/tools/load"), "--to", ports, "--sessions", "20", "--rate",
                           str(RATE), "--seconds", str(SECONDS), "--json", "--expect-clean"],
                          capture_output=True, text=True, timeout=60, check=False)
    sure(done.returncode == 0, done.stdout[-600:], done.stderr[-600:])
    return json.loads(done.stdout)["latency_us"]["p99"]


def rounds(peers, bad):
    """What the load measured without it, and with it."""
    idle, busy = [], []
    for _ in range(ROUNDS):
        idle.append(load(peers))
        for one in bad:
            one.may_go.set()
        busy.append(load(peers))
        for one in bad:
            one.rest()
    return idle, busy


def run():
    peers = start_peers(cluster="canary", flags=["--unknown-rate", "0"],
                        each=lambda i: {"log": f"canary-p{i + 1}"})
    mine = Session(peers[0].port)
    lines = [f"{name}: {value}" for name, value in mine.headers().items()]
    wrong = mine.id[:20] + "AAAAAA" + mine.id[26:]
    texts = [row[2](path) for row in FRAMING + GATED for path in PATHS if len(row[2](path)) < 9000]
    texts += [post(lines=lines, body=text) for row in BODIES for text in map(as_bytes, row[2]) if len(text) < 9000]
    texts += [post(lines=[f"Mcp-Session-Id: {wrong}"])] * 20
    bad = [Bad(peer.port, texts[n::2]) for n, peer in enumerate(peers[:2])]
    load(peers)  # warm
    with check(f"{ROUNDS} rounds with {len(texts)} rows of bad input and {ROUNDS} without, in turn: no call of "
               "20 other sessions fails"):
        for _ in range(3):  # a noisy machine gets another chance
            idle, busy = rounds(peers, bad)
            if statistics.median(busy) <= MORE * statistics.median(idle):
                break
        sure(all(one.count > 40 * ROUNDS for one in bad), [one.count for one in bad])
    with check(f"and their p99 is at most {MORE} times that of the rounds without"):
        note(f"p99 {statistics.median(idle) / 1000:.2f} ms without, {statistics.median(busy) / 1000:.2f} ms "
             f"with; {sum(one.count for one in bad)} of them were bad")
        sure(statistics.median(busy) <= MORE * statistics.median(idle), idle, busy)
    with check("nothing of it is in a log, nobody died"):
        for peer in peers:
            sure(MARK not in peer.text() and peer.process.poll() is None, peer.text()[-400:])
            sure(peer.text().count("\n") < 60, peer.text()[-600:])
    for one in bad:
        one.done = True
        one.may_go.set()
    for peer in peers:
        peer.end()
