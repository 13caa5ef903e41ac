"""Rows A of bad input about who asks: principals, tokens that the upstream refuses, where credentials
go, guessed ids, too many sessions, headers that name what the body does not. The upstreams are servers
of raw bytes that know who may in."""
import http.client
import json
import os
import statistics
import threading
import time

from bad_messages import is_not_found, jwt, ping, refused
from front import OldSession, RawStream, resume
from harness import (BOTH, NOT_FOUND, Session, check, note, request, start_peers, sure, wait_until)
from old_server import TAKEN, OldServer
from raw import KEEPS_LITTLE, Canary
from raw_server import ASIDE, RawServer, as_json, event, notification, result, status

MISSING, GOOD, ROTATED = "", "Bearer good-4711", "Bearer rotated-4711"
BAD = {"expired": "Bearer expired", "of another audience": "Bearer other-audience",
       "cut": GOOD[:-1], "in another case": GOOD.upper(), "of another scheme": "Basic Z29vZA==",
       "none": None, "empty": ""}
CHALLENGE = 'Bearer resource_metadata="https://a.example/.well-known/x", error="invalid_token"'
INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}}


class Guarded(RawServer):
    """Lets in who shows one of its tokens, 401 for the others."""

    def __init__(self):
        super().__init__()
        self.accepts = {GOOD}
        self.on_any = self.judge

    def judge(self, asked):
        token = asked.fields.get(b"authorization", b"").decode()
        if token in self.accepts:
            return ASIDE
        return status(b"401 Unauthorized", f"WWW-Authenticate: {CHALLENGE}\r\nContent-Type: "
                      "application/json\r\n".encode(), b'{"error":"invalid_token"}')


class Holder(Session):
    """A session whose every request shows a token."""

    def __init__(self, port, token=GOOD, **more):
        self.token = token
        super().__init__(port, **more)

    def shown(self):
        return {} if self.token is None else {"Authorization": self.token}

    def headers(self):
        return {**super().headers(), **self.shown()}

    def send(self, port, message, headers=None, timeout=None):
        return super().send(port, message, self.shown() if headers == {} else headers, timeout)


def start(name, server, flags=(), path="mcp", count=3):
    return start_peers(count, cluster=name, each=lambda i: {"log": f"{name}-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/{path}", *flags])


def with_token(session, token):
    plain = {"Mcp-Session-Id": session.id, "MCP-Protocol-Version": session.version}
    return plain if token is None else {**plain, "Authorization": token}


def is_challenge(answer):
    return answer.status == 401 and answer.headers.get("www-authenticate") == CHALLENGE


def refused_tokens(server, peers):
    session = Holder(peers[0].port)
    up = server.latest()
    held = resume(peers[1].port, session, None)
    server.push(up, event(notification("secret 1")))
    wait_until(3, lambda: held.data() == ["secret 1"], "an event")
    with check(f"A4: {len(BAD)} tokens that the upstream refuses: its 401 and challenge to POST, GET, "
               "GET with Last-Event-ID and DELETE, at every peer; never 200, never an event"):
        for what, token in BAD.items():
            for peer in peers:
                headers = with_token(session, token)
                ask = {**BOTH, **headers}
                answers = [
                    request(peer.port, "POST", "/mcp", ask, json.dumps(
                        {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}).encode()),
                    request(peer.port, "POST", "/mcp", ask,
                            b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}'),
                    request(peer.port, "DELETE", "/mcp", headers)]
                for shown in ({}, {"Last-Event-ID": "0-1-0"}, {"Last-Event-ID": held.last_id()}):
                    answers.append(request(peer.port, "GET", "/mcp", {
                        "Accept": "text/event-stream", **headers, **shown}, timeout=5))
                for n, answer in enumerate(answers):
                    sure(is_challenge(answer) and b"secret" not in answer.body, what, n, answer)
    with check("A4: and the session is undisturbed: its stream, its calls, what comes then"):
        server.push(up, event(notification("secret 2")))
        wait_until(3, lambda: held.data() == ["secret 1", "secret 2"], "the next event")
        sure(not held.ended and session.call(peers[2].port, "any") == "ok")
    with check("A4: a new token that the upstream accepts gets the stream, and what was missed"):
        server.accepts.add(ROTATED)
        first = [one.id for one in held.events() if one.data][0]
        held.close()
        session.token = ROTATED
        found = resume(peers[0].port, session, first)
        sure(found.status == 200, found.status)
        wait_until(3, lambda: found.data() == ["secret 2"], "what was missed")
        sure(session.call(peers[1].port, "any") == "ok")
    with check("A4: initialize that the upstream refuses: its 401, and no session"):
        before = peers[0].metrics()["mesh_sessions"]
        for token in BAD.values():
            headers = {} if token is None else {"Authorization": token}
            answer = request(peers[0].port, "POST", "/mcp", {**BOTH, **headers},
                             json.dumps(INITIALIZE).encode())
            sure(is_challenge(answer) and "mcp-session-id" not in answer.headers, answer)
        sure(peers[0].metrics()["mesh_sessions"] == before)
    sure(session.end(peers[1].port).status == 200)


def forged_jwt(server, peers):
    real, forged = jwt("alice"), jwt("alice")[:-4] + "AAAA"
    server.accepts = {real}
    session = Holder(peers[0].port, real)
    held = resume(peers[1].port, session, None)
    with check("A4: a self-made JWT with the right issuer and subject: the upstream's 401 on every way"):
        for peer in peers:
            for method in ("POST", "GET", "DELETE"):
                answer = ping(peer.port, session.id, method, {"Authorization": forged}, 5)
                sure(is_challenge(answer), method, answer)
    with check("A4: no token on a session that is bound: 404, not 401, at every peer"):
        for peer in peers:
            for method in ("POST", "GET", "DELETE"):
                sure(is_not_found(ping(peer.port, session.id, method)), method)
        sure(not held.ended and session.call(peers[2].port, "any") == "ok")
    session.end(peers[0].port)
    server.accepts = {GOOD}


def front_and_old_servers(server, peers):
    with check("A4: over HTTP+SSE in front: a message with a refused token is its 401, the stream of "
               "the session stays and has nothing of it"):
        session = OldSession(peers[0].port, {"Authorization": GOOD})
        before = session.stream.raw
        for token in BAD.values():
            session.more = {} if token is None else {"Authorization": token}
            answer = session.send(peers[1].port, {"jsonrpc": "2.0", "id": 70, "method": "tools/call"})
            sure(is_challenge(answer), token, answer)
        sure(session.stream.raw == before and not session.stream.ended, session.stream.raw)
        session.more = {"Authorization": GOOD}
        sure(session.call(peers[2].port, "any") == "ok")
        session.end(peers[0].port)
    old = OldServer()
    behind = start("tokens-old", old, path="sse", count=2)

    def judge(server, _):
        good = f"authorization: {GOOD}".lower().encode() in server.requests[-1][1].lower()
        return TAKEN if good else status(b"401 Unauthorized", b"WWW-Authenticate: Bearer\r\n")
    with check("A4: in front of an HTTP+SSE server what the mesh would answer itself is asked for, too: "
               "GET and DELETE with a refused token are 401"):
        session = Holder(behind[0].port)
        held = resume(behind[1].port, session, None)
        old.on_post = judge
        old.on_message = lambda server, message, plain=old.on_message: (
            plain(server, message) if judge(server, message) == TAKEN else None)
        for peer in behind:
            for method in ("GET", "DELETE"):
                for token in ("Bearer expired", None):
                    headers = {} if token is None else {"Authorization": token}
                    answer = ping(peer.port, session.id, method, headers, 5)
                    sure(answer.status == 401, method, token, answer)
        sure(not held.ended and session.call(behind[1].port, "any") == "ok")
        sure(session.end(behind[1].port).status in (200, 204))
    for peer in behind:
        peer.kill()


def bindings(server):
    """Rows A3 and A5."""
    server.accepts = {GOOD, ROTATED, MISSING, jwt("alice"), jwt("mallory")}
    alice, mallory = {"X-User": "alice"}, {"X-User": "mallory"}
    kinds = {
        "token": ({"Authorization": GOOD}, [{"Authorization": ROTATED}, {}, {"Authorization": jwt("a")}]),
        "header:X-User": (alice, [mallory, {}, {"X-User": "Alice"}, {"X-User": ""}]),
        "auto": ({"Authorization": jwt("alice")}, [{"Authorization": jwt("mallory")}, {}]),
    }
    for kind, (mine, others) in kinds.items():
        peers = start("bind-" + kind[:5].strip(":"), server, ["--bind-session", kind], count=2)
        with check(f"A3: --bind-session {kind}: another principal's session is 404 with the bytes of "
                   "A2, on both fronts, at entry and owner; the owner's stream is undisturbed"):
            answer = request(peers[0].port, "POST", "/mcp", {**BOTH, **mine},
                             json.dumps(INITIALIZE).encode())
            identity = answer.headers["mcp-session-id"]
            held = RawStream(peers[1].port, "/mcp", {"Mcp-Session-Id": identity, **mine})
            old = OldSession(peers[0].port, mine)
            for peer in peers:
                for other in others:
                    for method in ("POST", "GET", "DELETE"):
                        answer = ping(peer.port, identity, method, other, 5)
                        sure(is_not_found(answer), method, other, answer)
                    answer = request(peer.port, "POST", old.path, {**BOTH, **other},
                                     b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
                    sure(is_not_found(answer), "/messages", other, answer)
                sure(ping(peer.port, identity, "POST", mine).status == 200, peer.name)
            sure(held.status == 200 and not held.ended and not old.stream.ended, "disturbed")
            old.end(peers[0].port)
        with check(f"A5: --bind-session {kind}: a session without a principal is not for who shows one"):
            answer = request(peers[0].port, "POST", "/mcp", BOTH, json.dumps(INITIALIZE).encode())
            identity = answer.headers["mcp-session-id"]
            for peer in peers:
                sure(is_not_found(ping(peer.port, identity, "POST", mine)), peer.name)
                sure(ping(peer.port, identity).status == 200, peer.name)
            if kind == "auto":  # opaque before and after: the upstream's to judge
                sure(ping(peers[1].port, identity, "POST", {"Authorization": GOOD}).status == 200)
        for peer in peers:
            peer.kill()
    server.accepts = {GOOD}


# ---- A22 ----------------------------------------------------------------------------------------

def memory_has(pid, text):
    """Is it anywhere in the memory of that process?"""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            fields = line.split()
            if "r" not in fields[1] or (len(fields) > 5 and fields[5].startswith("[v")):
                continue
            begin, end = (int(one, 16) for one in fields[0].split("-"))
            if end - begin > 1 << 30:
                continue  # a sanitizer's own
            try:
                memory.seek(begin)
                if text in memory.read(end - begin):
                    return True
            except (OSError, ValueError):
                continue
    return False


def where_tokens_go():
    servers = [RawServer() for _ in range(3)]
    evil = RawServer()
    peers = start_peers(cluster="secrets", each=lambda i: {"log": f"secrets-p{i + 1}", "flags": [
        "--upstream", f"http://127.0.0.1:{servers[i].port}/mcp", "--log-level", "debug"]})
    secret = "quite-secret-" + os.urandom(8).hex()
    with check("A22: a token reaches the one upstream of its session's owner, and no other address, "
               "whatever that answers"):
        session = Holder(peers[0].port, f"Bearer {secret}")
        held = resume(peers[1].port, session, None)
        far = f"Location: http://127.0.0.1:{evil.port}/mcp\r\n".encode()
        for answer in (None, status(b"307 Over There", far), status(b"308 There", far),
                       status(b"401 Unauthorized", f'WWW-Authenticate: Bearer resource_metadata="http://'
                              f'127.0.0.1:{evil.port}/"\r\n'.encode()),
                       status(b"200 OK", b"Refresh: 0; url=http://127.0.0.1:%d/\r\n" % evil.port)):
            servers[0].behave(on_call=answer and (lambda one, answer=answer: answer))
            session.send(peers[1].port, {"jsonrpc": "2.0", "id": 3, "method": "tools/call"})
        for line in ("X-Mesh-Owner: p3", f"X-Forwarded-Host: 127.0.0.1:{evil.port}",
                     f"Forwarded: host=127.0.0.1:{evil.port}", "router-key: p3"):
            name, _, value = line.partition(": ")
            session.send(peers[1].port, {"jsonrpc": "2.0", "id": 4, "method": "ping"},
                         {**session.headers(), name: value})
        sure(servers[0].mentions(secret.encode()), "it never got there")
        sure(not evil.requests and not any(server.requests for server in servers[1:]), "elsewhere")
    with check("A22: nor a log, a metric or a page of the admin endpoint; nor a peer that is neither "
               "its entry nor its owner"):
        for peer in peers:
            sure(secret not in peer.text(), peer.name)
            for path in ("/metrics", "/v1/members", "/v1/sessions", f"/v1/why/{session.id}", "/",
                         f"/v1/sessions/{session.id}", "/v1/events", "/v1/ring", "/v1/keys"):
                answer = request(peer.admin_port, "GET", path)
                sure(secret.encode() not in answer.body, peer.name, path)
        sure(memory_has(peers[0].pid, secret.encode()), "the owner's: this look finds nothing")
        sure(not memory_has(peers[2].pid, secret.encode()), "in the third peer's memory")
    with check("A22: nor is a session's id in a log or metric in full"):
        for peer in peers:
            sure(session.id not in peer.text(), peer.name)
            sure(session.id.encode() not in request(peer.admin_port, "GET", "/metrics").body, peer.name)
    held.close()
    session.end(peers[0].port)
    for peer in peers:
        peer.kill()


# ---- A12, A21 -----------------------------------------------------------------------------------

class Line:
    """Requests one after the other on one connection: how long each took."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ping(self, identity):
        begun = time.perf_counter()
        self.connection.request("POST", "/mcp", b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
                                {**BOTH, "Mcp-Session-Id": identity})
        answer = self.connection.getresponse()
        body = answer.read()
        return time.perf_counter() - begun, answer.status, body


def cpu_seconds(peer):
    with open(f"/proc/{peer.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def guesses(foreign):
    peers = start_peers(cluster="guesses", env=KEEPS_LITTLE, each=lambda i: {"log": f"guesses-p{i + 1}"})
    canary = Canary(peers)
    identity = Session(peers[0].port).id
    # The tag is at the end, the home at the beginning: each is another way to be none of ours.
    forged = {"another tag": identity[:-3] + ("A" if identity[-3] != "A" else "B") + identity[-2:],
              "another home": identity[:3] + ("A" if identity[3] != "A" else "B") + identity[4:],
              "another random part": identity[:20] + ("A" if identity[20] != "A" else "B") + identity[21:],
              "unused bits": identity[:-1] + chr(ord(identity[-1]) + 1),
              "another cluster's": foreign, "no id at all": "x" * 42}
    with check("A21: of 9,000 guesses none takes longer than another: medians within 5 %, no peer is "
               "asked, memory is flat"):
        line = Line(peers[0].port)
        before, memory = peers[0].metrics(), 0
        cpu = cpu_seconds(peers[0])
        spread = []
        for _ in range(5):  # a noisy machine gets another chance
            times = {what: [] for what in forged}
            for n in range(300):
                for what, text in forged.items():
                    seconds, code, body = line.ping(text)
                    times[what].append(seconds)
                    sure(code == 404 and body == NOT_FOUND, what, code, body)
            memory = memory or peers[0].metrics()["process_resident_memory_bytes"]
            medians = {what: statistics.median(some) for what, some in times.items()}
            spread.append(max(medians.values()) / min(medians.values()) - 1)
            if spread[-1] < 0.05:
                break
        each = (cpu_seconds(peers[0]) - cpu) / (1800 * len(spread))
        note(f"spread of the medians {', '.join(f'{one:.1%}' for one in spread)}; "
             f"{each * 1e6:.0f} µs of the peer's time a guess")
        sure(spread[-1] < 0.05, medians)
        after = peers[0].metrics()
        # the canary forwards as well, two of three of its requests
        asked = after['mesh_exchanges_total{way="forwarded"}'] - \
            before['mesh_exchanges_total{way="forwarded"}']
        sure(asked < canary.count + 10, asked)
        sure(after["process_resident_memory_bytes"] < memory + (1 << 20), memory)
    errors = canary.end()
    with check("a session that worked meanwhile saw no error"):
        sure(canary.count > 5 and not errors, canary.count, errors[:3])
    for peer in peers:
        peer.kill()


def ids_of_the_dead():
    peers = start_peers(cluster="dead", each=lambda i: {"log": f"dead-p{i + 1}"})
    with check("A21: 400 genuine ids of a peer that was killed, all at once: each is answered at one of "
               "those that have a copy, or in-band, and not by 404; the peer is not held up by it"):
        doomed = [Session(peers[2].port).id for _ in range(400)]
        canary = Canary(peers[:2])
        peers[2].kill()
        answers = []

        def ask(some):
            for text in some:
                answers.append(ping(peers[0].port, text, timeout=25))
        threads = [threading.Thread(target=ask, args=(doomed[n::100],)) for n in range(100)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        note(f"{len(answers)} answers in {time.monotonic() - begun:.1f} s, the slowest after "
             f"{max(one.seconds for one in answers):.1f} s")
        sure(len(answers) == 400, len(answers))
        for answer in answers:
            is_definite = b"-32603" in answer.body or b'"result"' in answer.body
            sure(answer.status == 200 and is_definite and answer.seconds < 13, answer)
        wait_until(10, lambda: canary.count > 50, "the canary was answered 50 times")
        errors = canary.end()
        sure(not errors, errors[:3])
    for peer in peers[:2]:
        peer.kill()


def too_many():
    peer = start_peers(1, cluster="many-sessions", flags=["--max-sessions", "60"], env=KEEPS_LITTLE,
                       each=lambda i: {"log": "many-sessions"})[0]
    mine = Session(peer.port)
    with check("A12: beyond --max-sessions initialize is 503 with Retry-After or in-band, memory is "
               "flat, the sessions that are there go on, and room is used again"):
        answers = [request(peer.port, "POST", "/mcp", BOTH, json.dumps(INITIALIZE).encode())
                   for _ in range(100)]
        made = [one.headers["mcp-session-id"] for one in answers if "mcp-session-id" in one.headers]
        sure(len(made) == 59 and len(set(made)) == 59, len(made))
        before = peer.metrics()["process_resident_memory_bytes"]
        for _ in range(1500):
            answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps(INITIALIZE).encode())
            sure(answer.status == 503 and "retry-after" in answer.headers, answer)
        grown = peer.metrics()["process_resident_memory_bytes"] - before
        sure(grown < 1 << 20, grown)
        sure(mine.ask(peer.port, "ping")[1]["result"] == {})
        stream = RawStream(peer.port, "/sse")
        sure(stream.status == 503, stream.status)
        sure(request(peer.port, "DELETE", "/mcp", {"Mcp-Session-Id": made[0]}).status == 200)
        Session(peer.port)
    with check("A12: initialize with params of 64 KiB passes, of a byte more is -32600, on both fronts, "
               "and makes no session"):
        request(peer.port, "DELETE", "/mcp", {"Mcp-Session-Id": made[1]})
        request(peer.port, "DELETE", "/mcp", {"Mcp-Session-Id": made[2]})
        old = OldSession(peer.port, initialize=False)
        for length, good in ((65537, False), (65536, True)):
            params = dict(INITIALIZE["params"], x="")
            params["x"] = "y" * (length - len(json.dumps(params)))
            text = json.dumps({**INITIALIZE, "params": params}).encode()
            before = peer.metrics()["mesh_sessions"]
            answer = request(peer.port, "POST", "/mcp", BOTH, text)
            sure(answer.status == 200 if good else refused(answer, (-32600,)), length, answer)
            sure(peer.metrics()["mesh_sessions"] == before + good)
            answer = old.send(peer.port, text)
            sure(answer.status == 202 if good else refused(answer, (-32600,)), length, answer)
    peer.kill()


def too_fast():
    peer = start_peers(1, cluster="rate", each=lambda i: {"log": "rate"},
                       flags=["--rate", "60", "--rate-burst", "60", "--bind-session", "token"])[0]
    canary = Canary([peer])  # 50 requests a second at most
    with check("A12: --rate: who sends more than its principal may gets 429 with Retry-After, nothing of it "
               "runs, and nobody else notices"):
        mine = Holder(peer.port, "Bearer of-a-flood")
        before = peer.metrics()
        answers = [request(peer.port, "POST", "/mcp", {**BOTH, "Authorization": "Bearer of-a-flood"},
                           json.dumps(INITIALIZE).encode()) for _ in range(500)]
        refusals = [one for one in answers if one.status != 200]
        sure(50 < len(refusals) <= 440, len(refusals))
        for one in refusals:
            sure(one.status == 429 and one.headers.get("retry-after") == "1" and b"-32603" in one.body, one)
        after = peer.metrics()
        sure(after["mesh_rate_limited_total"] - before["mesh_rate_limited_total"] == len(refusals))
        sure(after["mesh_sessions"] - before["mesh_sessions"] == 500 - len(refusals))
        sure(request(peer.port, "DELETE", "/mcp", with_token(mine, mine.token)).status == 200)
    with check("A12: a second later it may send again; the anonymous share no bucket"):
        time.sleep(1.0)
        sure(Holder(peer.port, "Bearer of-a-flood").ask(peer.port, "ping")[1]["result"] == {})
        for _ in range(200):
            answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps(INITIALIZE).encode())
            sure(answer.status == 200, answer)
        errors = canary.end()
        sure(not errors and canary.count > 20, errors[:3], canary.count)
    peer.kill()


# ---- A14, A17 -----------------------------------------------------------------------------------

def headers_and_bodies(server, peers):
    def modern(asked, params, **more):
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": asked,
                           "params": {**params, "_meta": meta}}).encode()
        names = {"Mcp-" + name.capitalize(): value for name, value in more.items()}
        return request(peers[0].port, "POST", "/mcp", {
            **BOTH, "Authorization": GOOD, "MCP-Protocol-Version": "2026-07-28", **names}, body), body
    with check("A17: a task that Mcp-Name names otherwise than the body, or in bad base64: 400 with "
               "-32020, by the mesh, and nothing reaches the upstream"):
        before = len(server.requests)
        for name in ("task-2", "TASK-1", "task-1x", "=?base64?dGFzay0x?", "=?base64?dGFzay0yMg==?=",
                     "=?base64?dGFzay0x=?=", "=?base64?dGFz ay0x?=", "=?base64?*?=", "=?base64??=",
                     "=?BASE64?dGFzay0x?=", "=?base64?" + "QUFB" * 1500 + "?="):
            answer, _ = modern("tasks/get", {"taskId": "task-1"}, method="tasks/get", name=name)
            sure(refused(answer, (-32020,)), name[:40], answer)
        sure(not [one for one in server.requests[before:] if b"tasks/get" in one.body], "it got there")
    with check("A17: whatever the mesh does not route on is the upstream's to judge, and comes to it "
               "as it was sent"):
        server.on_call = lambda one: as_json(result(one.message["id"]))
        for more in ({"method": "tools/list", "name": "other"}, {"name": "x"}, {},
                     {"method": "tools/call", "name": "=?base64?*?="}):
            answer, body = modern("tools/call", {"name": "any"}, **more)
            sure(answer.status == 200, more, answer)
            seen = server.requests[-1]
            sure(seen.body == body, seen.body)
            for name, value in more.items():
                sure(seen.fields.get(f"mcp-{name}".encode()) == value.encode(), seen.head)
    with check("A14: a protocol version of 10 KiB is 431; one that nobody knows, or 2026-07-28 beside "
               "a session id, is the upstream's, and touches no session"):
        session = Holder(peers[0].port)
        headers = {**session.headers(), **BOTH}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}).encode()
        answer = request(peers[0].port, "POST", "/mcp", {**headers, "MCP-Protocol-Version": "9" * 10240},
                         body)
        sure(answer.status == 431, answer)
        for version in ("1999-01-01", "2026-07-28", "2999-12-31", "x"):
            answer = request(peers[0].port, "POST", "/mcp", {
                **headers, "MCP-Protocol-Version": version}, body)
            sure(answer.status == 200, version, answer)
            sure(b"mcp-session-id" not in server.requests[-1].fields, version, server.requests[-1].head)
        sure(session.call(peers[1].port, "any") == "ok")
        session.end(peers[0].port)


def run():
    (other,) = start_peers(1, cluster="another", each=lambda i: {"log": "foreign"})
    foreign = Session(other.port).id
    server = Guarded()
    peers = start("tokens", server)
    refused_tokens(server, peers)
    forged_jwt(server, peers)
    front_and_old_servers(server, peers)
    headers_and_bodies(server, peers)
    with check("no peer died, none wrote much"):
        for peer in peers:
            sure(peer.process.poll() is None and peer.text().count("\n") < 80, peer.text()[-600:])
    for peer in peers:
        peer.kill()
    works = [threading.Thread(target=work) for work in (
        lambda: bindings(Guarded()), where_tokens_go, too_many, too_fast, ids_of_the_dead)]
    for work in works:
        work.start()
    for work in works:
        work.join(60)
    guesses(foreign)
