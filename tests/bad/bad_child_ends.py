"""How the children of a stdio server end: those that fail, are deaf, die early, or left others
behind."""
import os
import time

from bad_child import MIB, initialize, start
from harness import Session, Settings, check, children, is_alive, sure, wait_until

SLEEP = b"sleep\x001000\0"


def read_id(path):
    with open(path, encoding="ascii") as file:
        return int(file.read())


def storms():
    with check("stdio: of a server that prints its usage and ends, five are started, then one a "
               "second at most, and the peer is not ready"):
        peer = start("usage")
        for _ in range(5):
            answer = initialize(peer.port)
            sure(answer.status == 200 and b'"error"' in answer.body, answer)
        sure(not peer.is_ready(), "ready")
        begun = time.monotonic()
        for _ in range(3):
            answer = initialize(peer.port)
            sure(answer.status in (200, 503) and b'"error"' in answer.body, answer)
        sure(time.monotonic() - begun > 2, "at once")
        sure(peer.text().count("child_lost") <= 8, peer.text()[-500:])
        peer.end()


def how_it_ends():
    with check("stdio: a child deaf to SIGTERM is killed some 3 s after its session ended"):
        peer = start("deaf")
        session = Session(peer.port)
        begun = time.monotonic()
        session.end(peer.port)
        wait_until(8, lambda: not children(peer.pid), "the child is gone")
        sure(time.monotonic() - begun > 1, "at once")
        peer.end()
    with check("stdio: what a child started and left behind is killed with it"):
        path = os.path.join(Settings.directory, "grandchild")
        peer = start("parent", path)
        session = Session(peer.port)
        grandchild = read_id(path)
        wait_until(2, lambda: is_alive(grandchild, SLEEP), "it runs")
        session.end(peer.port)
        wait_until(5, lambda: not is_alive(grandchild, SLEEP), "it is gone")
        peer.end()
    with check("stdio: a child that its input's end does not move gets SIGTERM after a second"):
        peer = start("stays")
        session = Session(peer.port)
        begun = time.monotonic()
        session.end(peer.port)
        wait_until(3, lambda: not children(peer.pid), "the child is gone")
        sure(time.monotonic() - begun > 0.9, "at once")
        peer.end()
    with check("stdio: a child that dies leaves its request an error at once, and nothing behind"):
        path = os.path.join(Settings.directory, "orphan")
        peer = start("parent", path)
        answer, message = Session(peer.port).ask(peer.port, "tools/call", {"name": "any"})
        sure(message and "error" in message and answer.seconds < 2, answer)
        wait_until(2, lambda: not is_alive(read_id(path), SLEEP), "it is gone")
        peer.end()
    with check("stdio: who left its child's group cannot be killed, and holds up neither a session's "
               "end nor the peer's"):
        path = os.path.join(Settings.directory, "escaped")
        peer = start("escaped", path)
        sessions, escaped = [], []
        for _ in range(3):
            sessions.append(Session(peer.port))
            escaped.append(read_id(path))
        session, other, last = sessions
        answer, message = session.ask(peer.port, "tools/call", {"name": "any"})
        sure(message and "error" in message and answer.seconds < 3, answer)
        other.end(peer.port)
        wait_until(5, lambda: len(children(peer.pid)) == 1, "one child")
        sure(last.ask(peer.port, "ping")[1]["result"] == {})
        begun = time.monotonic()
        peer.process.terminate()
        sure(peer.wait(6) == 0 and time.monotonic() - begun < 5, "exit code and time")
        for pid in escaped:
            sure(is_alive(pid, SLEEP), "what this test is about")
            os.kill(pid, 9)
    with check("stdio: a child that ends while a request is written to it leaves that an error"):
        peer = start("quits")
        session = Session(peer.port)
        answer, message = session.ask(peer.port, "tools/call", {"name": "x" * (3 * MIB)})
        sure(message and "error" in message and answer.seconds < 3, answer)
        sure(peer.is_ready(), "ready")
        peer.end()
    with check("stdio: after SIGTERM children have the time to write down what they hold"):
        path = os.path.join(Settings.directory, "tidy")
        peer = start("tidy", path)
        Session(peer.port)
        peer.process.terminate()
        sure(peer.wait(10) == 0, "exit code")
        sure(os.path.exists(path), "it was killed first")
    with check("stdio: after SIGTERM a deaf child holds its meshd up for 5 s at most"):
        peer = start("deaf")
        Session(peer.port)
        left = children(peer.pid)
        sure(left, "a child")
        peer.process.terminate()
        sure(peer.wait(6) == 0, "exit code")
        sure(not any(is_alive(*child) for child in left.items()), left)


def run():
    storms()
    how_it_ends()
