"""A server that is there, and fails whatever it is asked: after five failures in a row its peer does not
serve, asks it once a second whether it answers again, and gives it nothing else; what waits goes on
elsewhere, or as soon as it answers."""
import json
import threading
import time

from harness import BOTH, Session, check, note, request, start_peers, sure, wait_until
from old_server import OldServer
from raw import Canary
from raw_server import ASIDE, Cut, RawServer, status

CALL = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "any"}}
FAILURES = {
    "hangs up": Cut(b""),
    "answers 500": status(b"500 Internal Server Error"),
    "answers 502": status(b"502 Bad Gateway"),
    "answers no HTTP": Cut(b"220 smtp ready\r\n\r\n"),
}


def fails(answer):
    """Everything but its own streams, which stay."""
    return lambda one: ASIDE if one.method == b"GET" else answer


def asks(server):
    return [one for one in server.requests if one.message.get("id") == "mesh-answers"]


def start(cluster, servers, *flags):
    return start_peers(len(servers), cluster=cluster, each=lambda i: {
        "log": f"{cluster}-p{i + 1}",
        "flags": ["--upstream", f"http://127.0.0.1:{servers[i].port}/mcp", *flags]})


def break_it(server, peer, session, answer):
    server.behave(on_any=fails(answer))
    for n in range(5):
        sure(peer.metrics()["mesh_upstream_serving"] == 1, n)
        session.send(peer.port, {**CALL, "id": 100 + n}, timeout=12)
    sure(peer.metrics()["mesh_upstream_serving"] == 0, "serves")


def alone():
    server = RawServer()
    (peer,) = start("breaker", [server], "--park-timeout", "4s")
    session = Session(peer.port)
    for what, answer in FAILURES.items():
        with check(f"a server that {what} five times in a row: not ready, and it is said why and counted"):
            before = peer.metrics()
            break_it(server, peer, session, answer)
            ready = request(peer.admin_port, "GET", "/readyz")
            sure(ready.status == 503 and b"upstream" in ready.body, ready)
            after = peer.metrics()
            sure(after["mesh_upstream_fails"] == 1)
            sure(after["mesh_upstream_fails_total"] == before["mesh_upstream_fails_total"] + 1)
        with check(f"a server that {what}: it is asked once a second, and nothing else reaches it"):
            server.behave(on_any=fails(answer))
            waits = []
            thread = threading.Thread(target=lambda: waits.append(session.ask(
                peer.port, "tools/call", {"name": "any"}, timeout=12)))
            thread.start()
            time.sleep(3.2)
            count = len(asks(server))
            sure(2 <= count <= 4, count)
            others = [one for one in server.requests if one.method != b"GET" and one not in asks(server)]
            sure(not others, [one.body for one in others])
            sure(not waits, "it did not wait")
            sure(peer.metrics()["mesh_upstream_kept_back_total"] > 0)
        with check(f"a server that {what} answers again: ready in a second, what waits goes on"):
            server.behave()
            wait_until(2, peer.is_ready, "ready")
            thread.join(10)
            sure(waits and waits[0][1] and "result" in waits[0][1], waits and waits[0][0])
            sure(peer.metrics()["mesh_upstream_fails"] == 0)
            sure(session.call(peer.port, "any") == "ok")
            sure('mesh_upstream_probes_total{answered="yes"}' in peer.metrics())
    with check("without a session there is nothing to wait for: an answer at once"):
        break_it(server, peer, session, FAILURES["hangs up"])
        answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps(CALL).encode())
        sure(answer.status in (200, 502, 503) and answer.seconds < 0.5, answer)
    with check("a server that accepts connections and says nothing answers no question"):
        server.behave(on_any=fails(None))
        time.sleep(2.5)
        sure(not peer.is_ready() and len(asks(server)) >= 2, len(asks(server)))
        server.behave()
        wait_until(3, peer.is_ready, "ready")
    with check("4xx, errors of JSON-RPC and other paths are no failures"):
        server.behave(on_any=lambda one: status(b"403 Forbidden"))
        for n in range(8):
            session.send(peer.port, {**CALL, "id": 200 + n})
        server.behave(on_any=lambda one: Cut(b"") if one.target != b"/mcp" else ASIDE)
        for _ in range(8):
            request(peer.port, "GET", "/.well-known/any")
        sure(peer.is_ready())
    peer.end()


def among_others():
    servers = [RawServer() for _ in range(3)]
    peers = start("breaker-three", servers)
    canary = Canary(peers[1:])
    session = Session(peers[0].port)
    with check("its peer says so to the others, new sessions are made there"):
        break_it(servers[0], peers[0], session, FAILURES["hangs up"])
        waits = []
        thread = threading.Thread(target=lambda: waits.append(session.ask(
            peers[1].port, "tools/call", {"name": "any"}, timeout=12)))
        thread.start()
        begun = time.monotonic()
        made = Session(peers[0].port)
        sure(made.call(peers[0].port, "any") == "ok")
        sure(len(servers[0].saw(b"POST")) <= 5 + len(asks(servers[0])), "made there")
    with check("after two seconds its sessions go on at a peer that serves"):
        thread.join(12)
        seconds = time.monotonic() - begun
        sure(waits and waits[0][1] and "result" in waits[0][1], waits and waits[0][0])
        note(f"{seconds:.1f} s")
        sure(1.5 < seconds < 5, seconds)
    with check("it answers again: its peer serves"):
        servers[0].behave()
        wait_until(3, peers[0].is_ready, "ready")
        again = Session(peers[0].port)
        sure(again.call(peers[2].port, "any") == "ok" and servers[0].calls())
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 50 and not errors, canary.count, errors[:3])
    for peer in peers:
        peer.end()


def of_the_old_transport():
    server = OldServer()
    (peer,) = start_peers(1, cluster="breaker-old", flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/sse", "--park-timeout", "2s"],
        each=lambda i: {"log": "breaker-old"})
    with check("HTTP+SSE: a server whose streams say nothing that is one: not ready; ready when they do"):
        server.behave(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        for _ in range(5):
            answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps({
                "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                    "protocolVersion": "2025-06-18", "capabilities": {},
                    "clientInfo": {"name": "a", "version": "1"}}}).encode())
        sure(peer.metrics()["mesh_upstream_fails"] == 1, answer)
        sure(not peer.is_ready(), "ready")
        server.behave()
        wait_until(3, peer.is_ready, "ready")
        sure(Session(peer.port).call(peer.port, "any") == "ok")
    peer.end()


def run():
    works = [threading.Thread(target=work) for work in (alone, among_others, of_the_old_transport)]
    for work in works:
        work.start()
    for work in works:
        work.join(120)
