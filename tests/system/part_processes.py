"""The processes of a stdio server are counted: none is left after thousands of sessions, after a
session that nobody uses any more, after a meshd that was killed; spares are there before they are
needed, and go with the others."""
import json
import os
import re
import signal
import socket
import threading
import time

from bad_child import command, initialize
from bad_child_ends import SLEEP, read_id
from harness import (PROTOCOL, Peer, Session, Settings, Stream, WATCH, check, children, is_alive,
                     note, sure, wait_until)

SESSIONS = 2000
CLIENTS = 16


# ---- thousands of sessions ----------------------------------------------------------------------

def marked(mark, but=()):
    """All processes with `mark` in their command line, whoever their parent is, zombies among
    them: {id: command line}."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in but:
            try:
                with open(f"/proc/{name}/cmdline", "rb") as line:
                    text = line.read()
            except OSError:
                continue
            if mark.encode() in text:
                found[int(name)] = text
    return found


def zombies(pid):
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            count += fields[0] == "Z" and int(fields[1]) == pid
    return count


class Wire:
    """One connection, requests one after the other: as little as thousands of sessions allow."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), 15)
        self.got = b""

    def send(self, method, session, message=None):
        body = json.dumps(message).encode() if message else b""
        head = (f"{method} /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n")
        if session:
            head += f"Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {PROTOCOL}\r\n"
        self.connection.sendall(head.encode() + b"\r\n" + body)

    def until(self, end):
        while end not in self.got:
            part = self.connection.recv(65536)
            sure(part, "closed:", self.got[-300:])
            self.got += part
        text, self.got = self.got.split(end, 1)
        return text

    def answer(self):
        """(status, session id or None, body)"""
        start, *rest = self.until(b"\r\n\r\n").decode().split("\r\n")
        lines = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        if lines.get("transfer-encoding") == "chunked":
            body = self.until(b"\r\n0\r\n\r\n")
        else:
            length = int(lines.get("content-length", 0))
            while len(self.got) < length:
                self.got += self.connection.recv(65536)
            body, self.got = self.got[:length], self.got[length:]
        return int(start.split()[1]), lines.get("mcp-session-id"), body

    def ask(self, method, session, message=None):
        self.send(method, session, message)
        return self.answer()

    def close(self):
        self.connection.close()


def live(wire, port, number):
    """One session: most end politely; every tenth is not deleted, another one leaves in the middle
    of a call. Returns the connection for the next one."""
    status, session, body = wire.ask("POST", None, {
        "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": PROTOCOL, "capabilities": {},
            "clientInfo": {"name": "system-tests", "version": "1"}}})
    sure(status == 200 and session, status, body[:300])
    leaves = number % 10 == 1
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "slow" if leaves else "counter", "arguments": {"ms": 300} if leaves else {}}}
    if leaves:
        wire.send("POST", session, call)
        wire.close()
        return Wire(port)
    status, _, body = wire.ask("POST", session, call)
    sure(status == 200 and b'"result"' in body, status, body[:300])
    if number % 10 != 2:
        status, _, body = wire.ask("DELETE", session)
        sure(status == 200, status, body[:300])
    return wire


class Client(threading.Thread):
    def __init__(self, port, numbers):
        super().__init__(daemon=True)
        self.port, self.numbers, self.error, self.done = port, numbers, None, 0
        self.start()

    def run(self):
        try:
            wire = Wire(self.port)
            for number in self.numbers:
                wire = live(wire, self.port, number)
                self.done += 1
            wire.close()
        except Exception as error:
            self.error = error


def thousands(sessions):
    mark = f"mark-{os.getpid()}-many"
    peer = Peer("many", cluster="many", flags=["--session-idle", "1s", "--max-children", "2000"],
                command=[Settings.program("tests/tools/stub"), "stdio", "--name", mark])
    wait_until(5, peer.is_ready, "ready")
    begun = time.monotonic()
    with check(f"{sessions} sessions of one process each, a fifth of them not ended by their client: "
               "none fails"):
        clients = [Client(peer.port, range(i, sessions, CLIENTS)) for i in range(CLIENTS)]
        for client in clients:
            client.join(sessions / 20)
            sure(not client.is_alive() and client.error is None, client.done, client.error)
        note(f"{sessions} sessions in {time.monotonic() - begun:.1f} s")
    with check(f"no process is left of {sessions} sessions"):
        wait_until(10, lambda: not children(peer.pid), "no child")
        sure(not marked(mark, but=[peer.pid]), marked(mark, but=[peer.pid]))
        sure(zombies(peer.pid) == 0, zombies(peer.pid))
        metrics = peer.metrics()
        sure(metrics["mesh_children_started_total"] == sessions, metrics)
        sure(metrics["mesh_upstream_sessions"] == metrics["mesh_sessions"] == 0, metrics)
        sure(metrics["mesh_children_failed_total"] == 0, metrics)
        sure(metrics["process_open_fds"] < 40, metrics["process_open_fds"])
    peer.end()


# ---- a session's end ----------------------------------------------------------------------------

def idle():
    with check("a session that is not used any more takes its process with it"):
        peer = Peer("idle", cluster="idle", flags=["--session-idle", "2s"],
                    command=[Settings.program("tests/tools/stub"), "stdio"])
        wait_until(5, peer.is_ready, "ready")
        used, unused = Session(peer.port), Session(peer.port)
        sure(len(children(peer.pid)) == 2)
        begun = time.monotonic()

        def one_is_left():
            used.call(peer.port, "counter")
            return len(children(peer.pid)) == 1
        wait_until(6, one_is_left, "one child")
        sure(time.monotonic() - begun > 1.5, "too early")
        sure(unused.ask(peer.port, "ping")[0].status == 404)
        sure(used.call(peer.port, "counter"))
        wait_until(6, lambda: not children(peer.pid), "no child")
        peer.end()


# ---- a meshd that is killed ---------------------------------------------------------------------

def watcher_of(peer):
    """The process that watches for the death of this meshd; None: there is none."""
    for name in os.listdir("/proc"):
        if name.isdigit() and is_alive(int(name), WATCH):
            with open(f"/proc/{name}/stat", encoding="ascii") as stat:
                if int(stat.read().rpartition(")")[2].split()[1]) == peer.pid:
                    return int(name)
    return None


def ignores(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        mask = re.search(r"^SigIgn:\s*(\w+)", status.read(), re.M).group(1)
    return int(mask, 16) >> (number - 1) & 1


def start_parents(name, count=3):
    """A peer with as many sessions, whose processes have one of their own each."""
    path = os.path.join(Settings.directory, f"{name}-grandchild")
    peer = Peer(name, cluster=name, command=command("parent", path))
    wait_until(5, peer.is_ready, "ready")
    grandchildren = []
    for _ in range(count):
        Session(peer.port)
        grandchildren.append(read_id(path))
    sure(all(is_alive(pid, SLEEP) for pid in grandchildren), grandchildren)
    return peer, grandchildren


def killed():
    with check("after kill -9 of a meshd neither its children live on, nor what they started, nor "
               "its watcher"):
        peer, grandchildren = start_parents("killed")
        left, watcher = children(peer.pid), watcher_of(peer)
        sure(len(left) == 3 and watcher, left, watcher)
        peer.kill()
        wait_until(3, lambda: not any(is_alive(*child) for child in left.items()), "children gone")
        wait_until(3, lambda: not any(is_alive(pid, SLEEP) for pid in grandchildren),
                   "grandchildren gone")
        wait_until(3, lambda: not is_alive(watcher, WATCH), "the watcher is gone")
    with check("a watcher that is killed is replaced, and the new one knows the children"):
        peer, grandchildren = start_parents("unwatched", 1)
        first = watcher_of(peer)
        wait_until(5, lambda: ignores(first, signal.SIGTERM), "it has begun")
        os.kill(first, signal.SIGTERM)
        time.sleep(0.2)
        sure(watcher_of(peer) == first, "it went before its meshd")
        os.kill(first, signal.SIGKILL)
        wait_until(5, lambda: watcher_of(peer) not in (None, first), "another")
        sure(all(is_alive(pid, SLEEP) for pid in grandchildren), grandchildren)
        peer.kill()
        wait_until(3, lambda: not any(is_alive(pid, SLEEP) for pid in grandchildren),
                   "grandchildren gone")
    with check("a meshd that is asked to go takes its watcher with it"):
        peer, grandchildren = start_parents("asked", 1)
        watcher = watcher_of(peer)
        sure(watcher, "a watcher")
        peer.process.terminate()
        sure(peer.wait(10) == 0, "exit code")
        wait_until(3, lambda: not is_alive(watcher, WATCH), "the watcher is gone")
        wait_until(3, lambda: not any(is_alive(pid, SLEEP) for pid in grandchildren),
                   f"{grandchildren} are gone")


# ---- spares -------------------------------------------------------------------------------------

def start_spare(name, count, argv, flags=()):
    peer = Peer(name, cluster=name, flags=["--spare", str(count), *flags], command=argv)
    wait_until(5, peer.is_ready, "ready")
    wait_until(5, lambda: spares(peer) == count, f"{count} spares")
    return peer


def spares(peer):
    return peer.metrics()["mesh_children_spare"]


def spare():
    with check("--spare: an initialize does not wait for the start of its process, and the spare is "
               "replaced"):
        peer = start_spare("late", 2, command("late"))
        sure(initialize(peer.port).status == 200)  # the first begin with the peer
        time.sleep(1.8)
        answer = initialize(peer.port)
        sure(answer.status == 200 and answer.seconds < 0.7, answer)
        wait_until(3, lambda: spares(peer) == 2 and len(children(peer.pid)) == 4, "2 again")
        peer.end()
    with check("--spare: what a process says before its session begins is heard by that session, "
               "once"):
        peer = start_spare("early", 1, command("early", "150"))
        time.sleep(0.5)
        session = Session(peer.port)
        stream = Stream(peer.port, session)
        stream.wait_for("notifications/message", 150)
        sure(session.call(peer.port, "any") == "ok")
        numbers = [int(one["params"]["data"].split()[1]) for one in stream.messages]
        sure(numbers == list(range(150)), numbers)
        stream.close()
        peer.end()
    with check("--spare: they count as children, and a session gets the last of them"):
        peer = start_spare("counted", 2, command("plain"), flags=["--max-children", "3"])
        for count in (2, 1, 0):
            sure(Session(peer.port).call(peer.port, "any") == "ok")
            time.sleep(0.7)
            sure(spares(peer) == count, spares(peer))
            sure(len(children(peer.pid)) <= 3, children(peer.pid))
        peer.end()


def spare_ends():
    with check("--spare: one that dies is replaced, and the peer stays ready"):
        peer = start_spare("mortal", 2, command("plain"))
        first = children(peer.pid)
        os.kill(min(first), signal.SIGKILL)
        wait_until(5, lambda: spares(peer) == 2 and set(children(peer.pid)) != set(first), "another")
        sure(peer.is_ready() and Session(peer.port).call(peer.port, "any") == "ok")
        peer.end()
    with check("--spare: a program that fails is tried five times, then once in a while"):
        peer = Peer("usage", cluster="usage", flags=["--spare", "4"], command=command("usage"))
        wait_until(10, lambda: "upstream_not_serving" in peer.text(), "not serving")
        time.sleep(3)
        started = peer.metrics()["mesh_children_started_total"]
        sure(5 <= started <= 5 + 4, started)
        peer.end()
    with check("--spare: they go with a meshd that is asked to go, and with one that is killed"):
        for name in ("spare-asked", "spare-killed"):
            peer = start_spare(name, 3, command("plain"))
            left, watcher = children(peer.pid), watcher_of(peer)
            sure(len(left) == 3 and watcher, left, watcher)
            if name == "spare-killed":
                peer.kill()
            else:
                begun = time.monotonic()
                peer.process.terminate()
                sure(peer.wait(10) == 0 and time.monotonic() - begun < 4, "exit code and time")
            wait_until(3, lambda: not any(is_alive(*child) for child in left.items()), "gone")
            wait_until(3, lambda: not is_alive(watcher, WATCH), "the watcher is gone")


def run():
    thousands(SESSIONS)
    idle()
    killed()
    spare()
    spare_ends()
