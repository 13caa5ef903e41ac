"""How sessions live and end: idle and absolute expiry, DELETE at any peer, caps, servers that keep no
sessions, and the batches of 2025-03-26; and what the servers see of it."""
import json
import threading
import time

from harness import (BOTH, NOT_FOUND, Peer, Session, Settings, Stream, check, children, request,
                     start_balancer, start_peers, start_stub, sure, wait_until)
from recorder import Recorder

IDLE, MAX = 2.0, 7.0
LATE = 1.5  # of a busy machine
STUB = [Settings.program("tests/tools/stub"), "stdio"]


def upstream(server, path="/mcp"):
    return ["--upstream", f"http://127.0.0.1:{server.port}{path}"]


def is_known(peers, session):
    """Asked at one peer after the other; all must say the same."""
    answers = [session.ask(peer.port, "tools/list")[0] for peer in peers]
    unknown = [answer.status == 404 and answer.body == NOT_FOUND for answer in answers]
    sure(all(unknown) or not any(unknown), [str(answer) for answer in answers])
    return not unknown[0]


def initialize(port, version="2025-11-25", headers=None):
    return request(port, "POST", "/mcp", {**BOTH, **(headers or {})}, json.dumps({
        "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {},
            "clientInfo": {"name": "life", "version": "1"}}}).encode())


# ---- expiry ---------------------------------------------------------------------------------------

def expiry(kind, peers, alive):
    """`alive()`: how many sessions the servers have."""
    with check(f"{kind}: a session that is used over any peer outlives its idle time; one that is not "
               "ends, here and at the server, and no peer knows it"):
        used, unused = Session(peers[0].port), Session(peers[0].port)
        sure(alive() == 2, alive())
        begun = time.monotonic()
        turn = 0
        while time.monotonic() < begun + IDLE + LATE:
            turn += 1
            answer, told = used.ask(peers[turn % 3].port, "tools/list")
            sure(told and "result" in told, answer)
            time.sleep(0.3)
        sure(not is_known(peers, unused))
        sure(is_known(peers, used))
        wait_until(LATE, lambda: alive() == 1, f"one at the server, not {alive()}")
        used.end(peers[1].port)
    with check(f"{kind}: a held stream keeps its session; nothing keeps one beyond its greatest age, and "
               "its stream ends then"):
        begun = time.monotonic()
        session = Session(peers[1].port)
        stream = Stream(peers[2].port, session)
        sure(stream.status == 200, stream.status)
        time.sleep(IDLE + LATE)
        sure(not stream.ended, "the stream ended early")
        sure(is_known(peers, session))
        wait_until(MAX, lambda: stream.ended, "the stream's end")
        age = time.monotonic() - begun
        sure(MAX - 0.5 < age < MAX + LATE, f"{age:.1f} s")
        sure(not is_known(peers, session))
    with check(f"{kind}: nothing is left of them, at the peers and at the servers"):
        wait_until(IDLE + LATE, lambda: alive() == 0 and all(
            peer.metrics()["mesh_sessions"] == 0 for peer in peers), "no sessions")


def expiries():
    flags = ["--session-idle", f"{IDLE:g}s", "--session-max", f"{MAX:g}s"]
    servers = [Recorder(f"server-{i + 1}") for i in range(3)]
    old = [start_stub(f"old-{i + 1}", "sse") for i in range(3)]
    meshes = {kind: start_peers(cluster=f"life-{kind}", each=lambda i: {**each(i), "log":
                                                                        f"{kind}-p{i + 1}"})
              for kind, each in {
                  "http": lambda i: {"flags": [*flags, *upstream(servers[i])]},
                  "stdio": lambda i: {"flags": flags, "command": STUB},
                  "sse": lambda i: {"flags": [*flags, *upstream(old[i], "/sse")]},
                  "builtin": lambda i: {"flags": flags}}.items()}

    def counted(kind, name):
        return lambda: sum(peer.metrics()[name] for peer in meshes[kind])

    alive = {"http": lambda: sum(len(server.sessions) for server in servers),
             "stdio": lambda: sum(len(children(peer.pid)) for peer in meshes["stdio"]),
             "sse": counted("sse", "mesh_upstream_sessions"),
             "builtin": counted("builtin", "mesh_sessions")}
    threads = [threading.Thread(target=expiry, args=(kind, peers, alive[kind]))
               for kind, peers in meshes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with check("http: the server was told of each end, once, under its own id and with the credentials "
               "of its client"):
        ends = [seen for server in servers for seen in server.requests if seen.method == "DELETE"]
        ids = [seen.value("mcp-session-id") for seen in ends]
        made = [seen for server in servers for seen in server.requests if b"initialize\"" in seen.body]
        sure(len(ids) == len(set(ids)) == len(made) == 3, ids)


# ---- ends that somebody wants ---------------------------------------------------------------------

def deleted_anywhere():
    servers = [Recorder(f"server-{i + 1}") for i in range(3)]
    peers = start_peers(cluster="life-delete", each=lambda i: {"log": f"delete-p{i + 1}",
                                                              "flags": upstream(servers[i])})
    with check("DELETE at a peer that does not own the session: the server is asked under its own id, "
               "the stream on a third ends, all peers say 404, also to a second DELETE"):
        session = Session(peers[0].port)
        theirs, = servers[0].sessions
        stream = Stream(peers[2].port, session)
        answer = request(peers[1].port, "DELETE", "/mcp", {
            **session.headers(), "Authorization": "Bearer of-its-client"})
        sure(answer.status == 200, answer)
        seen = servers[0].last("DELETE")
        sure(seen.value("mcp-session-id") == theirs, seen)
        sure(seen.value("authorization") == "Bearer of-its-client", seen)
        wait_until(5, lambda: stream.ended, "the stream's end")
        sure(not is_known(peers, session))
        for peer in peers:
            sure(session.end(peer.port).body == NOT_FOUND)
        sure(sum(seen.method == "DELETE" for seen in servers[0].requests) == 1)
    with check("it stays 404, at once, when its owner is killed"):
        peers[0].kill()
        begun = time.monotonic()
        sure(not is_known(peers[1:], session))
        sure(time.monotonic() - begun < 1, time.monotonic() - begun)
    with check("a server that refuses DELETE keeps its session, and its 405 arrives"):
        session = Session(peers[1].port)
        servers[1].answer = lambda seen: (405, [("Allow", "POST")], b"") if seen.method == "DELETE" \
            else None
        answer = session.end(peers[2].port)
        sure(answer.status == 405 and answer.headers["allow"] == "POST", answer)
        sure(is_known(peers[1:], session))
    with check("a peer that is stopped ends its sessions at the server"):
        servers[1].answer = lambda seen: None
        sure(len(servers[1].sessions) == 1, servers[1].sessions)
        peers[1].process.terminate()
        sure(peers[1].wait(40) == 0)
        sure(not servers[1].sessions, servers[1].sessions)


class Held(Stream):
    """A stream under header lines of one's own."""

    def __init__(self, port, lines):
        self.lines = lines
        super().__init__(port, self)

    def headers(self):
        return self.lines


def newest_credentials():
    server = Recorder("renewed")
    peer = Peer("renewed", cluster="life-renewed", flags=["--session-idle", "1s", *upstream(server)])
    wait_until(10, peer.is_ready, "ready")
    with check("a session that expires is ended at the server under the newest token that it was listened "
               "with: the first one may have expired, too"):
        answer = initialize(peer.port, headers={"Authorization": "Bearer first"})
        lines = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
        sure(request(peer.port, "POST", "/mcp", {**BOTH, **lines, "Authorization": "Bearer first"},
                     b'{"jsonrpc":"2.0","method":"notifications/initialized"}').status == 202)
        Held(peer.port, {**lines, "Authorization": "Bearer second"}).close()
        wait_until(1 + LATE, lambda: not server.sessions, "its end, at the server")
        sure(server.last("DELETE").value("authorization") == "Bearer second", server.last("DELETE"))


# ---- caps -----------------------------------------------------------------------------------------

def is_full(answer):
    sure(answer.status == 503, answer)
    sure(int(answer.headers["retry-after"]) >= 1, answer.headers)
    sure("mcp-session-id" not in answer.headers, answer.headers)
    sure("error" in answer.messages()[0], answer)


def cap(name, peer):
    """It has room for two."""
    with check(f"{name}: one session too many gets 503 and Retry-After, the others go on, and the room of "
               "one that ended is free again"):
        first, second = Session(peer.port), Session(peer.port)
        is_full(initialize(peer.port))
        for session in (first, second):
            sure(is_known([peer], session))
        first.end(peer.port)
        third = wait_until(5, lambda: initialize(peer.port).headers.get("mcp-session-id"), "room")
        is_full(initialize(peer.port))
        request(peer.port, "DELETE", "/mcp", {"Mcp-Session-Id": third})
        second.end(peer.port)


def cap_of_the_old_front(name, peer):
    with check(f"{name}: HTTP+SSE gets the same"):
        held = [Session(peer.port), Session(peer.port)]
        is_full(request(peer.port, "GET", "/sse", {"Accept": "text/event-stream"}))
        for session in held:
            session.end(peer.port)


def caps():
    server, old = Recorder(), start_stub("cap-old", "sse")
    limit = ["--max-sessions", 2]
    kinds = {"http": {"flags": [*limit, *upstream(server)]},
             "stdio": {"flags": limit, "command": STUB},
             "sse": {"flags": [*limit, *upstream(old, "/sse")]},
             "builtin": {"flags": limit}}
    for kind, words in kinds.items():
        peer = Peer(f"cap-{kind}", cluster=f"cap-{kind}", **words)
        wait_until(10, peer.is_ready, "ready")
        cap(f"--max-sessions, {kind}", peer)
        cap_of_the_old_front(f"--max-sessions, {kind}", peer)
    # whose child would be one too many waits for another's end, 10 s at most
    cap("--max-children", Peer("cap-children", flags=["--max-children", 2], command=STUB,
                               cluster="cap-children"))


# ---- servers without sessions, batches ------------------------------------------------------------

def stateless():
    servers = [Recorder(f"free-{i + 1}", is_stateless=True) for i in range(3)]
    peers = start_peers(cluster="life-free", each=lambda i: {"log": f"free-p{i + 1}",
                                                            "flags": upstream(servers[i])})
    with check("a server without sessions: no id is given out, and every peer serves every request"):
        answer = initialize(peers[0].port)
        sure(answer.status == 200 and "mcp-session-id" not in answer.headers, answer.headers)
        sure(request(peers[1].port, "POST", "/mcp", BOTH, json.dumps(
            {"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()).status == 202)
        for turn in range(6):
            peer, server = peers[turn % 3], servers[turn % 3]
            answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps(
                {"jsonrpc": "2.0", "id": turn, "method": "tools/call", "params": {"name": "t"}}).encode())
            sure(answer.status == 200 and answer.messages()[0]["id"] == turn, answer)
            sure(answer.messages()[0]["result"]["content"][0]["text"].startswith(server.name), answer)
    with check("a server without sessions: its 405 for GET and DELETE arrives, with its Allow"):
        for peer in peers:
            for method in ("GET", "DELETE"):
                answer = request(peer.port, method, "/mcp", {"Accept": "text/event-stream"})
                sure(answer.status == 405 and answer.headers["allow"] == "POST", method, answer)
    with check("a server without sessions leaves nothing at the peers"):
        for peer in peers:
            sure(peer.metrics()["mesh_sessions"] == 0)
            sure(peer.metrics()["mesh_sessions_opened_total"] == 0)


def batches(kind, peers):
    balancer = start_balancer([peer.port for peer in peers], f"batch-{kind}")
    with check(f"{kind}: batches of 2025-03-26 through strict alternation, every answer once"):
        for _ in range(6):
            session = Session(balancer.port, version="2025-03-26")
            ids = [1, "1", "z{}[\\\"", 7]
            batch = [{"jsonrpc": "2.0", "id": one, "method": "ping" if n % 2 else "tools/list"}
                     for n, one in enumerate(ids)]
            batch.insert(2, {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
            answer = session.send(balancer.port, batch)
            sure(answer.status == 200, answer)
            found = answer.messages()
            sure(sorted(map(repr, ids)) == sorted(repr(one["id"]) for one in found), answer)
            sure(all("result" in one for one in found), answer)
            answer = session.send(balancer.port, batch[2:3] * 3)
            sure(answer.status == 202 and not answer.body, answer)
            sure(session.end(balancer.port).status == 200)
    with check(f"{kind}: a batch is refused whole where the revision has none"):
        session = Session(balancer.port, version="2025-06-18")
        answer = session.send(balancer.port, [{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
        sure(answer.status == 400, answer)
        session.end(balancer.port)


def run():
    expiries()
    deleted_anywhere()
    newest_credentials()
    caps()
    stateless()
    servers = [Recorder(f"batch-{i + 1}") for i in range(3)]
    old = [start_stub(f"batch-old-{i + 1}", "sse") for i in range(3)]
    batches("http", start_peers(cluster="batch-http", each=lambda i: {
        "log": f"batch-http-p{i + 1}", "flags": upstream(servers[i])}))
    batches("stdio", start_peers(cluster="batch-stdio", command=STUB, each=lambda i: {
        "log": f"batch-stdio-p{i + 1}"}))
    batches("sse", start_peers(cluster="batch-sse", each=lambda i: {
        "log": f"batch-sse-p{i + 1}", "flags": upstream(old[i], "/sse")}))
    batches("builtin", start_peers(cluster="batch-builtin", each=lambda i: {
        "log": f"batch-builtin-p{i + 1}"}))
