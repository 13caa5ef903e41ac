"""What takes too long for every run (about a minute on two cores): 10,000 sessions of a small
stdio server, 200 of server-everything; no process is left of either."""
import threading
import time

from harness import EVERYTHING, NODE, Peer, Session, check, children, is_alive, note, sure, wait_until
from part_processes import spares, thousands, zombies

SESSIONS = 200
CLIENTS = 6


class Client(threading.Thread):
    def __init__(self, port, numbers):
        super().__init__(daemon=True)
        self.port, self.numbers, self.error = port, numbers, None
        self.start()

    def run(self):
        try:
            for number in self.numbers:
                session = Session(self.port, timeout=30)
                sure("hello" in session.call(self.port, "echo", message=f"hello {number}"))
                if number % 10 != 0:
                    session.end(self.port)
        except Exception as error:
            self.error = error


def everything():
    peer = Peer("everything", cluster="everything", command=[NODE, EVERYTHING, "stdio"],
                flags=["--session-idle", "5s", "--spare", "4"])
    wait_until(10, peer.is_ready, "ready")
    begun = time.monotonic()
    with check(f"{SESSIONS} sessions of server-everything over stdio, with spares: none fails"):
        clients = [Client(peer.port, range(i, SESSIONS, CLIENTS)) for i in range(CLIENTS)]
        for client in clients:
            client.join(400)
            sure(not client.is_alive() and client.error is None, client.error)
        note(f"{SESSIONS} sessions in {time.monotonic() - begun:.1f} s")
    with check("no process is left of them but the spares"):
        wait_until(20, lambda: len(children(peer.pid)) == spares(peer) == 4, "the spares")
        sure(zombies(peer.pid) == 0, zombies(peer.pid))
    left = children(peer.pid)
    with check("and none of those once the peer went"):
        peer.process.terminate()
        sure(peer.wait(10) == 0, "exit code")
        wait_until(3, lambda: not any(is_alive(*child) for child in left.items()), "gone")
    peer.end()


def run():
    thousands(10000)
    everything()
