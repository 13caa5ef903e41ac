"""Rows A and J of bad input: session ids that are none, principals, headers of MCP, JSON that is no
JSON-RPC. Two meshes: peers with the built-in server, where the mesh is the MCP server, and peers in
front of an HTTP upstream that remembers what reached it."""
import base64
import json
import signal
import threading
import time

from harness import (BOTH, NOT_FOUND, Session, Settings, Stream, check, note, request, start_peers, sure,
                     wait_until)
from front import FRONTS, OldSession
from raw import Canary, Recorder

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def ping(port, identity, method="POST", headers=None, timeout=10):
    body = json.dumps(PING).encode() if method == "POST" else None
    accept = BOTH if method == "POST" else {"Accept": "text/event-stream"}
    return request(port, method, "/mcp", {**accept, "Mcp-Session-Id": identity, **(headers or {})},
                   body, timeout)


def is_not_found(answer):
    return answer.status == 404 and answer.body == NOT_FOUND and \
        answer.headers.get("content-type") == "application/json"


def refused(answer, codes, statuses=(400,)):
    if answer.status not in statuses:
        return False
    try:
        return json.loads(answer.body)["error"]["code"] in codes
    except (ValueError, KeyError, TypeError):
        return False


def changed(identity):
    """Each character changed by one bit of its value."""
    for i, letter in enumerate(identity):
        yield identity[:i] + ALPHABET[ALPHABET.index(letter) ^ 1 << i % 6] + identity[i + 1:]


def spellings(identity):
    """31 bytes are 248 bits, 42 characters 252: the last four are to be zero."""
    last = ALPHABET.index(identity[-1])
    return [identity[:-1] + ALPHABET[last ^ bits] for bits in range(1, 16)]


def asked(peers):
    return [peer.metrics()['mesh_exchanges_total{way="forwarded"}'] for peer in peers]


# ---- A ------------------------------------------------------------------------------------------

def strange_ids(peers, foreign):
    first, others = peers[0], peers[1:]
    session = Session(first.port)
    strange = [*changed(session.id), *spellings(session.id), "A" * 42, session.id[:-1],
               session.id + "A", "3b241101-e2bb-4255-8caf-4136c566a962", "..", "%00", "a", "x" * 120,
               foreign]
    with check(f"A2: {len(strange)} ids that are none, on POST, GET and DELETE: 404 at once, always "
               "the same bytes"):
        slowest = 0.0
        for i, identity in enumerate(strange):
            for method in ("POST",) if i % 7 else ("POST", "GET", "DELETE"):
                answer = ping(peers[i % 3].port, identity, method)
                sure(is_not_found(answer), method, identity[:60], answer)
                slowest = max(slowest, answer.seconds)
        note(f"the slowest of them took {slowest * 1000:.0f} ms")
        sure(slowest < 1, slowest)
    with check("A2: no other peer is asked about them: those that stand still are not missed"):
        before = asked([first])
        found = first.metrics()['mesh_not_found_total{cause="foreign"}']
        for peer in others:
            peer.kill(signal.SIGSTOP)
        try:
            answers = [ping(first.port, identity) for identity in strange[:20] + [foreign]]
        finally:
            for peer in others:
                peer.kill(signal.SIGCONT)
        for answer in answers:
            sure(is_not_found(answer) and answer.seconds < 0.5, answer)
        sure(asked([first]) == before, "forwarded")
        sure(first.metrics()['mesh_not_found_total{cause="foreign"}'] == found + len(answers))
    with check("A6: an id with a space, a control or 0x80, an empty one, one of 4 KiB is 400"):
        for identity in (b"a b", b"a\x80", b"a\x01", b"", b"x" * 4096):
            answer = ping(first.port, identity)
            sure(answer.status == 400, identity, answer)
    with check("A9, A11: initialize with an id that is none makes a new session with an id of ours"):
        for identity in ("A" * 42, "chosen-by-the-client", foreign):
            answer = request(first.port, "POST", "/mcp", {**BOTH, "Mcp-Session-Id": identity},
                             json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize",
                                         "params": {"protocolVersion": "2025-06-18",
                                                    "capabilities": {}, "clientInfo": {
                                                        "name": "a", "version": "1"}}}).encode())
            sure(answer.status == 200 and answer.headers["mcp-session-id"] != identity, answer)
    with check("A10: a second initialize of a living session is -32600 and changes nothing"):
        answer, _ = session.ask(others[0].port, "initialize", {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "a", "version": "1"}})
        sure(refused(answer, (-32600,)), answer)
        sure(session.ask(first.port, "ping")[0].status == 200)
    with check("A8: DELETE ends a session for good, everywhere, while calls come in"):
        doomed = Session(first.port)
        stream = Stream(others[1].port, doomed)
        answers = []
        calls = [threading.Thread(target=lambda: answers.append(doomed.ask(others[0].port, "ping")))
                 for _ in range(8)]
        for call in calls:
            call.start()
        gone = doomed.end(others[1].port)
        for call in calls:
            call.join(15)
        sure(gone.status in (200, 204), gone)
        sure(len(answers) == 8, "a call without an answer")
        for answer, message in answers:
            sure(answer.status == 404 or (message and ("result" in message or "error" in message)),
                 answer)
        wait_until(5, lambda: stream.ended, "the GET stream's end")
        for peer in peers:
            for method in ("POST", "GET", "DELETE"):
                answer = ping(peer.port, doomed.id, method)
                sure(is_not_found(answer), peer.name, method, answer)


def no_session(peers):
    with check("A1: a message without a session is 400"):
        for peer in peers:
            for message in (PING, {"jsonrpc": "2.0", "method": "notifications/initialized"}):
                answer = request(peer.port, "POST", "/mcp", BOTH, json.dumps(message).encode())
                sure(refused(answer, (-32000, -32600)), answer)
        for method in ("GET", "DELETE"):
            answer = request(peers[0].port, method, "/mcp", {"Accept": "text/event-stream"})
            sure(answer.status in (400, 405), method, answer)
    with check("a body over the cap is 413, on every peer, with and without a session"):
        for peer in peers:
            for headers in (BOTH, {**BOTH, "Mcp-Session-Id": "A" * 42}):
                answer = request(peer.port, "POST", "/mcp", {
                    **headers, "Content-Length": str((4 << 20) + 1), "Connection": "close"})
                sure(answer.status == 413, answer)
    with check("A14: a protocol version that nobody knows is 400"):
        session = Session(peers[0].port)
        answer = session.send(peers[1].port, PING, {"Mcp-Session-Id": session.id,
                                                    "MCP-Protocol-Version": "1999-01-01"})
        sure(answer.status == 400, answer)
        answer = session.send(peers[1].port, PING, {"Mcp-Session-Id": session.id})
        sure(answer.status == 200, "absent:", answer)
    with check("A14: a modern request is refused so that a client of both eras falls back"):
        message = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}}
        answer = request(peers[0].port, "POST", "/mcp", {
            **BOTH, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover"},
            json.dumps(message).encode())
        sure(answer.status == 400, answer)
        sure(json.loads(answer.body)["error"]["code"] not in range(-32022, -32019), answer)
    with check("A15, A16: Accept and Content-Type that do not fit are 406 and 415"):
        body = json.dumps(PING).encode()
        for accept in ("text/html", "application/json;q=0, text/event-stream;q=0"):
            answer = request(peers[0].port, "POST", "/mcp", {**BOTH, "Accept": accept,
                                                             "Mcp-Session-Id": session.id}, body)
            sure(answer.status == 406, accept, answer)
        for kind in ("text/plain", "multipart/form-data"):
            answer = request(peers[0].port, "POST", "/mcp", {**BOTH, "Content-Type": kind,
                                                             "Mcp-Session-Id": session.id}, body)
            sure(answer.status == 415, kind, answer)
        answer = ping(peers[0].port, session.id, "GET", {"Accept": "text/html"})
        sure(answer.status == 406, answer)
    with check("A18: messages of HTTP+SSE for an id that is none are refused at once"):
        for query in ("", "?sessionId=", "?sessionId=a&sessionId=b", "?sessionId=%0d%0a",
                      "?sessionId=" + "A" * 42):
            answer = request(peers[0].port, "POST", "/messages" + query, BOTH, body)
            sure(answer.status in (400, 404) and answer.seconds < 1, query, answer)
    with check("A19: a Last-Event-ID of nobody's gives no event of anybody's"):
        other = Session(peers[0].port)
        for event in ("0-1-1", "-1", "nonsense", "999999999999-1-1", other.id):
            stream = Stream(peers[2].port, session, last_event=event)
            sure(stream.status == 200, event, stream.status)
            stream.wait_for("notifications/message")  # that it cannot go on from there
            sure(len(stream.messages) == 1 and
                 "missed" in stream.messages[0]["params"]["data"], event, stream.messages)
            stream.close()
        answer = request(peers[1].port, "GET", "/mcp", {
            **session.headers(), "Accept": "text/event-stream", "Last-Event-ID": "1-1-9-e"})
        sure(answer.status == 405, "the last event of a stream:", answer)


def jwt(subject):
    def part(fields):
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
    return f"Bearer {part({'alg': 'none'})}.{part({'iss': 'https://i.example', 'sub': subject})}.c2ln"


def principals(peers):
    class Bound(Session):
        def headers(self):
            return {**super().headers(), "Authorization": jwt("alice")}

        def send(self, port, message, headers=None, timeout=None):
            if headers == {}:  # initialize
                headers = {"Authorization": jwt("alice")}
            return super().send(port, message, headers, timeout)

    with check("A3: another principal's session is unknown: the bytes of A2, at every peer"):
        session = Bound(peers[0].port)
        stream = Stream(peers[1].port, session)
        sure(session.ask(peers[1].port, "ping")[0].status == 200)
        for peer in peers:
            for method in ("POST", "GET", "DELETE"):
                for headers in ({"Authorization": jwt("mallory")}, {}):
                    answer = ping(peer.port, session.id, method, headers)
                    sure(is_not_found(answer), peer.name, method, headers, answer)
        sure(not stream.ended, "the owner's stream was disturbed")
        sure(session.ask(peers[2].port, "ping")[0].status == 200)
        sure(session.end(peers[2].port).status in (200, 204))


def old_ids(peers, foreign):
    """Row A18."""
    body = json.dumps(PING).encode()

    def say(port, query, method="POST", path="/messages"):
        return request(port, method, path + query, BOTH, body if method == "POST" else None)
    streamable, old = Session(peers[0].port), OldSession(peers[1].port)
    with check("A18: no sessionId, two, a third name for it, line ends in it: 400 at once, everywhere"):
        for peer in peers:
            for query in ("", "?", "?sessionId=", f"?sessionid={old.id}", f"?session_id={old.id}",
                          f"?sessionId={old.id}&sessionId={old.id}", f"?sessionId={old.id}%0d%0aX:%20y",
                          "?sessionId=%0d%0a", f"?sessionId={old.id[:-1]}%{ord(old.id[-1]):x}",
                          f"?x=1&sessionId=&sessionId={old.id}", "?sessionId=" + "x" * 2000):
                answer = say(peer.port, query)
                sure(answer.status == 400 and answer.seconds < 1, query[:60], answer)
    with check("A18: an id that is none, another cluster's, or of the other kind: 404 at once with the "
               "bytes of A2, everywhere; neither session notices"):
        for peer in peers:
            for identity in ("A" * 42, "a", old.id[:-1], foreign, streamable.id, *spellings(old.id)[:3],
                             *list(changed(old.id))[::9]):
                answer = say(peer.port, f"?sessionId={identity}")
                sure(is_not_found(answer) and answer.seconds < 1, identity, answer)
            for method in ("POST", "GET", "DELETE"):
                answer = ping(peer.port, old.id, method)
                sure(is_not_found(answer) and answer.seconds < 1, method, answer)
        sure(old.ask(peers[2].port, "ping")[1]["result"] == {} and not old.stream.ended)
        sure(streamable.ask(peers[2].port, "ping")[1]["result"] == {})
    with check("A18: other methods on the two routes are 405, and open nothing"):
        before = sum(peer.metrics()["mesh_sessions"] for peer in peers)
        for method, path in (("GET", "/messages"), ("DELETE", "/messages"), ("POST", "/sse"),
                             ("PUT", "/sse"), ("DELETE", "/sse"), ("PUT", "/messages")):
            answer = say(peers[0].port, f"?sessionId={old.id}", method, path)
            sure(answer.status == 405 and "allow" in answer.headers, method, path, answer)
        sure(sum(peer.metrics()["mesh_sessions"] for peer in peers) == before)
    with check("A15, A16: /sse for who accepts no events is 406, a message that is no JSON 415"):
        for accept in ("text/html", "application/json", "text/event-stream;q=0"):
            answer = request(peers[0].port, "GET", "/sse", {"Accept": accept})
            sure(answer.status == 406, accept, answer)
        for kind in ("text/plain", "application/json; charset=utf-16", "multipart/form-data", ""):
            answer = request(peers[0].port, "POST", old.path, {"Content-Type": kind}, body)
            sure(answer.status == 415, kind, answer)
        answer = request(peers[2].port, "POST", old.path, {"Content-Type": "application/json"}, body)
        sure(answer.status == 202, "without Accept:", answer)
    with check("A18: GET /sse looks at no id of whichever kind: another session, its own endpoint"):
        for lines in ({"Mcp-Session-Id": streamable.id}, {"Mcp-Session-Id": old.id},
                      {"Last-Event-ID": "0-1-1"}, {"Last-Event-ID": "1-1-1-e"}):
            again = OldSession(peers[2].port, lines)
            sure(again.id not in (old.id, streamable.id) and not old.stream.ended, lines)
            again.end(peers[0].port)
    with check("A18: a genuine id whose stream has gone: 404 for good, everywhere, and no hang"):
        old.end(peers[1].port)
        wait_until(5, lambda: is_not_found(say(peers[0].port, f"?sessionId={old.id}")), "404")
        for peer in peers:
            for message in (PING, {"jsonrpc": "2.0", "method": "notifications/initialized"}):
                answer = old.send(peer.port, message)
                sure(is_not_found(answer) and answer.seconds < 1, answer)
    streamable.end(peers[0].port)


# ---- J ------------------------------------------------------------------------------------------

REQUEST = '{"jsonrpc":"2.0","id":1,"method":"ping"%s}'


def one(text):
    return text.encode() if isinstance(text, str) else text


# (row, what, bodies, codes): refused with 400 and one of these codes.
BODIES = [
    ("J1", "nothing, or no message", ["", "{}", "null", '"x"', "[]", "[[]]", "1", "[1]"],
     (-32600, -32700)),
    ("J2", "cut off, or followed by something",
     [REQUEST[:-3], REQUEST % "" + "x", REQUEST % "" + REQUEST % "", REQUEST % "" + "]",
      '{"jsonrpc":"2.0","id":1,"method":"pi'], (-32700,)),
    ("J3", "a batch in a version that has none", ["[" + REQUEST % "" + "]"], (-32600,)),
    ("J4", "nested deeper than 64",
     [REQUEST % (',"params":' + "[" * 70 + "]" * 70), "[" * 100000, '{"a":' * 100000], (-32700,)),
    ("J5", "keys twice", ['{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
                          '{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}',
                          '{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}',
                          '{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"ping"}'],
     (-32600,)),
    ("J6", "keys that only look like ours", ['{"jsonrpc":"2.0","id":1,"Method":"ping"}',
                                             '{"jsonrpc":"2.0","id":1,"METHOD":"ping"}',
                                             '{"jsonrpc":"2.0","id":1,"method\\u0000":"ping"}'],
     (-32600,)),
    ("J7", "no UTF-8", [b'{"jsonrpc":"2.0","id":1,"method":"p\xff"}',
                        b'{"jsonrpc":"2.0","id":1,"method":"p\xc0\xaf"}',
                        b'{"jsonrpc":"2.0","id":1,"method":"p\xed\xa0\x80"}',
                        '{"jsonrpc":"2.0","id":1,"method":"p\\ud800"}',
                        b"\xef\xbb\xbf" + (REQUEST % "").encode(),
                        (REQUEST % "").encode("utf-16")], (-32700,)),
    ("J8", "an id that may not be one", [(REQUEST % "").replace(":1,", f":{value},") for value in
                                         ("{}", "[]", "true", "null")], (-32600,)),
    ("J13", "no JSON-RPC 2.0", ['{"id":1,"method":"ping"}',
                                '{"jsonrpc":"1.0","id":1,"method":"ping"}',
                                '{"jsonrpc":2.0,"id":1,"method":"ping"}'], (-32600,)),
    ("J14", "a method that is none", ['{"jsonrpc":"2.0","id":1,"method":""}',
                                      '{"jsonrpc":"2.0","id":1,"method":7}'], (-32600, -32601)),
    ("J16", "numbers that are none", [REQUEST % f',"params":{{"a":{value}}}' for value in
                                      ("NaN", "01", ".5", "+1", "1.", "Infinity", "0x1", "--1")],
     (-32700,)),
]


def bodies(kind, session, peers):
    for row, what, texts, codes in BODIES:
        with check(f"{row}: {what} ({kind})"):
            for i, text in enumerate(texts):
                answer = session.send(peers[i % 3].port, one(text))
                sure(refused(answer, codes), repr(text[:80]), answer)
                sure(len(answer.body) < 1024, len(answer.body))
    with check(f"the session goes on after all that ({kind})"):
        sure(session.ask(peers[1].port, "ping")[1]["result"] == {})


def large(kind, session, peers):
    with check(f"J14, J15, J16: {kind}: large but legal is handled in time, or refused"):
        for text in ('{"jsonrpc":"2.0","id":1,"method":"%s"}' % ("m" * 10240),
                     REQUEST % (',"params":{"a":"%s"}' % ("\\u0000" * 650000)),
                     REQUEST % (',"params":{%s}' % ",".join(f'"{i}":0' for i in range(350000))),
                     REQUEST % (',"params":{"a":%s}' % ("1" * 1000000)),
                     REQUEST % ',"params":{"a":1E999999999}'):
            begun = time.monotonic()
            answer = session.send(peers[1].port, text.encode())
            sure(answer.status in (200, 202, 400, 413), text[:60], answer)
            sure(time.monotonic() - begun < 2, text[:60], answer)


def batches(peers):
    with check("J3: a batch in 2025-03-26 is answered whole, one of 101 refused"):
        old = Session(peers[0].port, version="2025-03-26")
        batch = [{"jsonrpc": "2.0", "id": i, "method": "ping"} for i in range(3, 6)]
        answer = old.send(peers[1].port, json.dumps(batch).encode())
        sure(answer.status == 200 and sorted(one["id"] for one in answer.messages()) == [3, 4, 5],
             answer)
        too_many = [{"jsonrpc": "2.0", "id": i, "method": "ping"} for i in range(101)]
        answer = old.send(peers[1].port, json.dumps(too_many).encode())
        sure(refused(answer, (-32600,)), answer)


def run():
    (other,) = start_peers(1, cluster="another", each=lambda i: {"log": "foreign"})
    foreign = Session(other.port).id
    peers = start_peers()
    canary = Canary(peers)
    strange_ids(peers, foreign)
    no_session(peers)
    principals(peers)
    batches(peers)
    for front, make in FRONTS.items():
        session = make(peers[0].port)
        bodies(f"built in, {front}", session, peers)
        large(f"built in, {front}", session, peers)
        session.end(peers[1].port)
    old_ids(peers, foreign)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 10 and not errors, canary.count, errors[:3])
    with check("no peer died, none wrote much"):
        for peer in peers:
            sure(peer.process.poll() is None and peer.text().count("\n") < 60, peer.text()[-600:])

    recorder = Recorder()
    peers = start_peers(each=lambda i: {"log": f"http-p{i + 1}"}, cluster="messages-http",
                        flags=["--upstream", f"http://127.0.0.1:{recorder.port}/mcp"])
    for front, make in FRONTS.items():
        session = make(peers[0].port)
        bodies(f"http, {front}", session, peers)
        large(f"http, {front}", session, peers)
        session.end(peers[1].port)
    with check("what was refused did not reach the upstream"):
        methods = {json.loads(body).get("method") for _, _, _, body in recorder.requests if body}
        methods -= {"m" * 10240}  # legal
        sure(methods <= {"initialize", "notifications/initialized", "ping"}, methods)
    with check("a session id of ours did not reach the upstream, by header, query or body"):
        sure({path for _, path, _, _ in recorder.requests} == {"/mcp"},
             {path for _, path, _, _ in recorder.requests})
        sure(not any(session.id in repr(one) for one in recorder.requests), session.id)
    with check("A1: over HTTP a message without a session is the upstream's to judge"):
        answer = request(peers[0].port, "POST", "/mcp", BOTH, json.dumps(PING).encode())
        sure(answer.status == 200 and b'"result"' in answer.body, answer)
    stdio = start_peers(each=lambda i: {"log": f"stdio-p{i + 1}"}, cluster="messages-stdio",
                        command=[Settings.program("tests/tools/stub"), "stdio"])
    session = Session(stdio[0].port)
    bodies("stdio", session, stdio)
    large("stdio", session, stdio)
