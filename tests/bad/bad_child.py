"""Children of a stdio server that do what they should not, and a machine that has no room for
more of them."""
import json
import os
import re
import sys
import threading
import time

from harness import Peer, Process, Session, Settings, check, children, request, sure, wait_until
from raw import Canary

MIB = 1 << 20
CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {},
    "clientInfo": {"name": "system-tests", "version": "1"}}}).encode()
LINES = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def command(kind, *rest):
    return [sys.executable, "-S", CHILD, kind, *rest]


def start(kind, *rest, flags=()):
    peer = Peer(kind, command=command(kind, *rest), cluster=kind, flags=flags)
    wait_until(5, peer.is_ready, "ready")
    return peer


def initialize(port):
    return request(port, "POST", "/mcp", LINES, INITIALIZE, 20)


class Initialize(threading.Thread):
    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.status = port, None
        self.start()

    def run(self):
        self.status = initialize(self.port).status


def what_it_says():
    with check("stdio: the last words of a child are logged, with a line end or without"):
        peer = start("last-words")
        answer = initialize(peer.port)
        sure(answer.status == 200 and b'"error"' in answer.body, answer)
        peer.wait_line(r'child_stderr pid=\d+ text="panic: without a line end"', 3)
        peer.end()
    with check("stdio: of a long line on standard error the beginning is logged, and no raw byte"):
        peer = start("long-words")
        Session(peer.port)
        peer.wait_line(r'child_stderr pid=\d+ text="begin yyyy', 3)
        peer.wait_line(r'text="\\u001b\[31m\\xff"', 3)
        sure("\x1b" not in peer.text(), "a raw escape")
        peer.end()
    with check("stdio: 100,000 lines on standard error cost some lines of log, which say how many are not "
               "there, and no answer"):
        peer = start("flood")
        session = Session(peer.port)
        sure(session.call(peer.port, "any") == "ok")
        sure(peer.text().count("child_stderr ") < 100, peer.text().count("child_stderr "))
        session.end(peer.port)
        wait_until(5, lambda: not children(peer.pid), "no child")
        found = re.findall(r"child_stderr_dropped pid=\d+ lines=(\d+)", peer.text())
        sure(sum(map(int, found)) + peer.text().count("child_stderr ") == 100000, found)
        peer.end()
    with check("stdio: 20 MiB on standard error without a line end are one line of log, not kept"):
        peer = start("flood-no-line")
        before = peer.metrics()["process_resident_memory_bytes"]
        sure(Session(peer.port).call(peer.port, "any") == "ok")
        sure(peer.metrics()["process_resident_memory_bytes"] - before < 8 * MIB)
        sure(peer.text().count("child_stderr ") <= 1, peer.text()[-500:])
        peer.end()
    with check("stdio: what is no message on standard output is passed over, and said once"):
        peer = start("garbage")
        sure(Session(peer.port).call(peer.port, "any") == "ok")
        sure(peer.text().count("child_line_dropped") == 1, peer.text()[-500:])
        peer.end()
    with check("stdio: 11 MiB without a line end are not kept"):
        peer = start("no-line-end")
        session = Session(peer.port)
        try:
            session.ask(peer.port, "tools/call", {"name": "any"}, timeout=2)
        except TimeoutError:
            pass
        sure(peer.is_ready(), "ready")
        peer.end()


def long_lines():
    """Row S3."""
    peer = start("long")
    canary = Canary([peer])
    session = Session(peer.port)

    def ask(what, length):
        arguments = {"as": what, "length": length}
        return session.ask(peer.port, "tools/call", {"name": "any", "arguments": arguments})

    def counted():
        return peer.metrics()["mesh_children_lines_too_large_total"]

    with check("S3: stdio: a line of 10 MiB passes"):
        for what in ("answer", "answer, its id last"):
            answer, message = ask(what, 10 * MIB)
            sure(message and "result" in message, answer)
            sure(abs(len(message["result"]["content"][0]["text"]) - 10 * MIB) < 200)
        sure(counted() == 0, counted())
    with check("S3: stdio: of 10 MiB and a byte it is an in-band error, the session goes on"):
        for what in ("answer", "answer, its id last", "error"):
            answer, message = ask(what, 10 * MIB + 1)
            sure(answer.status == 200 and message["error"]["code"] == -32603, answer)
            sure("too large" in message["error"]["message"], answer)
            sure(session.ask(peer.port, "ping")[1]["result"] == {})
        sure(counted() == 3, counted())
    with check("S3: stdio: a request or notification of the server that is too large is dropped and "
               "counted, and costs nothing"):
        for what in ("request", "notification"):
            answer, message = ask(what, 10 * MIB + 1)
            sure(message and message["result"]["content"][0]["text"] == "ok", answer)
            sure(len(answer.body) < 1000, len(answer.body))
        sure(counted() == 5, counted())
    with check("S3: stdio: 200 MiB in one line are not kept"):
        before = peer.metrics()["process_resident_memory_bytes"]
        answer, message = ask("answer, its id last", 200 * MIB)
        sure(message and message["error"]["code"] == -32603, answer)
        grown = peer.metrics()["process_resident_memory_bytes"] - before
        sure(grown < 32 * MIB, grown)
    with check("S3: stdio: another session of that peer noticed nothing of it"):
        errors = canary.end()
        sure(not errors and canary.count > 10, canary.count, errors[:3])
    peer.end()


def no_room():
    with check("stdio: beyond --max-children a client hears so in some 10 s, and gets in later"):
        peer = start("plain", flags=["--max-children", "1"])
        session = Session(peer.port)
        answer = initialize(peer.port)
        sure(answer.status == 503 and "retry-after" in answer.headers, answer)
        sure(8 < answer.seconds < 14, answer.seconds)
        sure(peer.is_ready() and session.call(peer.port, "any") == "ok")
        session.end(peer.port)
        Session(peer.port)
        peer.end()
    with check("stdio: of 20 sessions that begin at once eight processes start at a time, and all "
               "get theirs"):
        peer = start("late")
        begun = time.monotonic()
        threads = [Initialize(peer.port) for _ in range(20)]
        most = 0
        while time.monotonic() - begun < 1.3:  # none can have spoken yet
            most = max(most, len(children(peer.pid)))
            time.sleep(0.05)
        for thread in threads:
            thread.join(20)
        sure(all(thread.status == 200 for thread in threads), [one.status for one in threads])
        sure(most == 8, most)
        sure(peer.metrics()["mesh_children_started_total"] == 20)
        peer.end()
    with check("stdio: without descriptors for another child: 503 at once; the others are served"):
        peer = Process("few", ["bash", "-c", 'ulimit -n 64; exec "$@"', "-",
                               Settings.program("node/meshd"), "--name", "few", "--cluster", "few",
                               "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
                               "--admin", "127.0.0.1:0", "--", *command("plain")])
        found = peer.wait_line(r"listening clients=\S+:(\d+) peers=\S+ admin_port=(\d+)")
        port, admin_port = (int(one) for one in found.groups())
        sessions, answer = [], None
        while len(sessions) < 30 and answer is None:
            try:
                sessions.append(Session(port))
            except AssertionError:
                answer = initialize(port)
        sure(answer is not None and answer.status == 503 and answer.seconds < 2, answer)
        sure(request(admin_port, "GET", "/readyz").status == 200)
        sure(all(session.call(port, "any") == "ok" for session in sessions))
        for session in sessions[:3]:
            session.end(port)
        wait_until(5, lambda: initialize(port).status == 200, "room again")
        peer.end()


def run():
    what_it_says()
    long_lines()
    no_room()
