"""Servers of the old HTTP+SSE transport (2024-11-05) behind the mesh: their clients speak Streamable
HTTP, with any peer. What such a server is not supposed to do stands in bad_oldsse.py."""
import json
import os
import threading
import time

from harness import (BOTH, Peer, Session, Settings, Stream, check, forwarded_share, note,
                     report, request, run_node, start_balancer, start_everything, start_peers,
                     start_stub, sure, wait_port, wait_until)
from part_features import Run
from part_http import sessions_report

SESSIONS = 60


def sse_flags(server):
    return ["--upstream", f"http://127.0.0.1:{server.port}/sse", "--park-timeout", "4s"]


def many_sessions(peers):
    balancer = start_balancer([peer.port for peer in peers])
    with check(f"{SESSIONS} sessions with 10 calls each, every request to another peer: no failure, "
               "each session answered by one replica"):
        code, text = run_node("sessions.mjs", "--url", f"http://127.0.0.1:{balancer.port}/mcp",
                              "--sessions", SESSIONS, "--calls", 10, "--concurrency", 12)
        found = sessions_report(code, text)
        note(f"{found['sessions']} sessions, {found['calls']} calls, {found['failures']} failures, "
             f"{found['seconds']} s, {found['ms']}")
        sure(code == 0 and found["failures"] == 0 and found["calls"] == 10 * SESSIONS, found)
        sure(len(found["replicas"]) == 3, found)
    with check("at least half of the messages were forwarded to another peer"):
        sure(forwarded_share(peers) >= 0.5, forwarded_share(peers))
    with check("every session was ended, at the peers and at the servers"):
        wait_until(5, lambda: all(peer.metrics()["mesh_sessions"] == 0 and
                                  peer.metrics()["mesh_upstream_sessions"] == 0
                                  for peer in peers), "no sessions")


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def nothing_leaks():
    stub = start_stub("leak-stub", "sse")
    peer = Peer("leak", cluster="leak", flags=sse_flags(stub))
    wait_until(10, peer.is_ready, "ready")
    with check("1,000 sessions, 50 at once, leave no descriptor, session or byte behind"):
        before, server_before = descriptors(peer), descriptors(stub)
        errors = []

        def some():
            try:
                for _ in range(20):
                    session = Session(peer.port)
                    sure(session.call(peer.port, "echo", message="hi") == "hi")
                    sure(session.end(peer.port).status == 200)
            except Exception as error:
                errors.append(repr(error))

        threads = [threading.Thread(target=some) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        sure(not errors, errors[:3])
        metrics = peer.metrics()
        sure(metrics["mesh_sessions_opened_total"] == 1000, metrics["mesh_sessions_opened_total"])
        sure(metrics["mesh_upstream_sessions"] == 0 and metrics["mesh_memory_bytes"] == 0, metrics)
        # idle connections to the server are dropped after 3 s
        wait_until(8, lambda: descriptors(peer) <= before, f"{before} descriptors")
        wait_until(8, lambda: descriptors(stub) <= server_before, f"{server_before} at the server")


def dies_and_returns():
    stubs = [start_stub(f"stub-{i + 1}", "sse") for i in range(3)]
    peers = start_peers(cluster="oldsse-lost", each=lambda i: {"flags": sse_flags(stubs[i]),
                                                              "log": f"lost-p{i + 1}"})
    session, other = Session(peers[0].port), Session(peers[1].port)
    stream = Stream(peers[2].port, session)
    slow = []
    caller = threading.Thread(target=lambda: slow.append(session.ask(
        peers[1].port, "tools/call", {"name": "slow_counter", "arguments": {"ms": 5000, "steps": 5}})))
    caller.start()
    time.sleep(0.7)
    stubs[0].kill()
    killed = time.monotonic()
    with check("its server dies: the call in flight gets an in-band error, and does not run again"):
        caller.join(15)
        sure(slow and slow[0][1] and slow[0][1].get("error", {}).get("code") == -32603, slow and
             str(slow[0][0]))
        sure(slow[0][1]["error"]["data"]["reason"] == "upstream_lost", slow[0][1])
        sure(time.monotonic() - killed < 5, time.monotonic() - killed)
        with open(f"{Settings.directory}/stub-1.calls") as log:
            sure(sum("slow_counter" in line.split() for line in log) == 1)
    with check("its server is dead: its session goes on at a peer that has one, its client is told so"):
        for peer in peers:
            who = session.call(peer.port, "whoami")
            sure("stub-2" in who or "stub-3" in who, who)
        stream.wait_for("notifications/message")
        sure(any("replaced" in str(one) for one in stream.messages), stream.messages)
        sure(not stream.ended)
    with check("its server is dead: its peer is not ready, the others are and serve"):
        wait_until(10, lambda: not peers[0].is_ready(), "p1 is not ready")
        sure(peers[1].is_ready() and peers[2].is_ready())
        sure(other.call(peers[0].port, "echo", message="hi") == "hi")
        fresh = Session(peers[0].port)  # made where a server answers
        sure(fresh.call(peers[2].port, "whoami") != "stub-1")
    with check("it returns: the session stays where it is"):
        start_stub("stub-1-again", "sse", port=stubs[0].port)
        wait_until(10, peers[0].is_ready, "p1 ready again")
        for peer in peers:
            who = session.call(peer.port, "whoami")
            sure("stub-2" in who or "stub-3" in who, who)
        sure(not stream.ended)
    with check("it returns: its peer is ready again and serves new sessions"):
        again = Session(peers[0].port)
        names = {again.call(peer.port, "whoami") for peer in peers}
        sure(len(names) == 1 and "stub-1-again" in names.pop(), names)


def all_dead():
    stub = start_stub("last", "sse")
    peer = Peer("alone", cluster="alone", flags=sse_flags(stub))
    wait_until(10, peer.is_ready, "ready")
    stub.kill()
    with check("no server answers: initialize has a definite in-band answer within the park time"):
        answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps({
            "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {},
                "clientInfo": {"name": "a", "version": "1"}}}).encode(), 20)
        sure(answer.status == 200 and answer.messages()[0]["error"]["code"] == -32603, answer)
        sure(answer.seconds < 8, answer)


def run():
    replicas = [start_everything(f"replica-{i + 1}", "sse") for i in range(3)]
    for replica in replicas:
        wait_port(replica, replica.port)
    peers = start_peers(each=lambda i: {"flags": sse_flags(replicas[i])})
    features = Run("oldsse", "features.mjs", peers, "--stdio")
    features.show()
    many_sessions(peers)
    nothing_leaks()
    dies_and_returns()
    all_dead()
