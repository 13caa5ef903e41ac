"""server-everything over stdio: one child for each session, and none that is left behind."""
import threading

from harness import (EVERYTHING, NODE, Session, check, children, forwarded_share, is_alive, note,
                     run_node, start_balancer, start_peers, sure, wait_until)
from part_http import sessions_report

CHILDREN_MAX = 20


class Watch(threading.Thread):
    """The most children that there were at once."""

    def __init__(self, peers):
        super().__init__(daemon=True)
        self.peers, self.most, self.done = peers, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            self.most = max(self.most, sum(len(children(peer.pid)) for peer in self.peers))


def run():
    peers = start_peers(each=lambda i: {"command": [NODE, EVERYTHING, "stdio"],
                                        "env": {"REPLICA": f"replica-{i + 1}"}})
    balancer = start_balancer([peer.port for peer in peers])
    watch = Watch(peers)
    watch.start()
    with check("50 sessions with 10 calls each, every request to another peer: no failure, each "
               "session answered by one replica"):
        code, text = run_node("sessions.mjs", "--url", f"http://127.0.0.1:{balancer.port}/mcp",
                              "--sessions", 50, "--calls", 10, "--concurrency", 12)
        report = sessions_report(code, text)
        note(f"{report['sessions']} sessions, {report['calls']} calls, {report['failures']} "
             f"failures, {report['seconds']} s, {report['ms']}")
        sure(code == 0 and report["failures"] == 0 and report["calls"] == 500, report)
        sure(len(report["replicas"]) == 3, report)
    with check("at least half of the messages were forwarded to another peer"):
        sure(forwarded_share(peers) >= 0.5, forwarded_share(peers))
    watch.done.set()
    with check(f"there were never more than {CHILDREN_MAX} children at once"):
        note(f"at most {watch.most} children")
        sure(0 < watch.most <= CHILDREN_MAX, watch.most)
    with check("no child is left once its session was deleted"):
        wait_until(10, lambda: not any(children(peer.pid) for peer in peers), "no children")
    with check("no child outlives a meshd that was killed"):
        first, second = Session(peers[0].port), Session(peers[0].port)
        sure("hello" in first.call(peers[1].port, "echo", message="hello"))
        sure("hello" in second.call(peers[2].port, "echo", message="hello"))
        left = children(peers[0].pid)
        sure(len(left) == 2, left)
        peers[0].kill()
        wait_until(5, lambda: not any(is_alive(*child) for child in left.items()), "children gone")
