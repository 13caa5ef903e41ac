"""Rows U of bad input: what an HTTP upstream may answer a call, a notification, a GET or another path
with, within a session that has to go on. What it answers initialize with is in bad_upstream.py."""
import http.client
import json
import socket
import struct
import threading
import time

from bad_events import memory_most
from front import FRONTS
from harness import BOTH, NOT_FOUND, Session, check, request, start_peers, sure, wait_until
from raw import Canary
from raw_server import ASIDE, EVENTS, Cut, RawServer, as_json, event, result, status

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
LAST = b"0\r\n\r\n"


def with_head(*lines, body=BODY):
    return OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def with_length(value):
    return with_head(b"Content-Length: " + value)


def with_coding(*values):
    return with_head(*[b"Transfer-Encoding: " + value for value in values], body=CHUNK + LAST)


def with_chunks(chunks):
    return OK + CHUNKED + b"\r\n" + chunks


def with_start(line):
    return line + b"\r\nContent-Type: application/json\r\n" + LENGTH + b"\r\n" + BODY


# Never an answer: (row, what, bytes). The connection is closed after each.
NO_ANSWER = [
    ("U1", "a length and chunks (H1)", with_head(b"Content-Length: 5", b"Transfer-Encoding: chunked",
                                                 body=CHUNK + LAST)),
    ("U1", "two different lengths (H2)", with_head(b"Content-Length: 5", LENGTH.strip())),
    ("U1", "two equal lengths (H3)", with_head(LENGTH.strip(), LENGTH.strip())),
    *[("U1", f"length {value!r} (H4, H5)", with_length(value))
      for value in (b"3,3", b"+3", b"-1", b"0x3", b"3 3", b"", b"1_0", b"%d" % 2**64, b"%d" % (2**64 + 3))],
    ("U1", "a blank before the colon (H7)", OK + b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY),
    *[("U1", f"coding {value!r} (H8, H9)", with_coding(value)) for value in (
        b"xchunked", b"gzip", b"gzip, chunked", b"chunked, identity", b",chunked", b'"chunked"',
        b"\x0bchunked", b"chunked\0", b"chunked,")],
    ("U1", "coding twice (H9)", with_coding(b"chunked", b"chunked")),
    ("U1", "chunks on HTTP/1.0 (H10)", with_chunks(CHUNK + LAST).replace(b"HTTP/1.1", b"HTTP/1.0")),
    *[("U1", f"chunk size {size!r} (H12)", with_chunks(size + b"\r\n{}\r\n" + LAST))
      for size in (b"0x2", b"+2", b"-2", b" 2", b"", b"fffffffffffffffff", b"g")],
    ("U1", "an extension that ends in LF (H13)", with_chunks(b"2;a\n{}\r\n" + LAST)),
    ("U1", "a chunk line that ends in LF (H14)", with_chunks(b"2\n{}\r\n" + LAST)),
    ("U1", "chunk data without CRLF (H15)", with_chunks(b"2\r\n{}X" + LAST)),
    ("U1", "a folded header (H18)", with_head(b"X-A: b", b" c", LENGTH.strip())),
    ("U1", "bare line feeds (H19)", with_head(LENGTH.strip()).replace(b"\r\n", b"\n")),
    ("U1", "a bare CR in a value (H19)", with_head(b"X-A: b\rc", LENGTH.strip())),
    ("U1", "NUL in a value (H20)", with_head(b"X-A: b\0c", LENGTH.strip())),
    ("U1", "no colon (H21)", with_head(b"nonsense", LENGTH.strip())),
    ("U1", "an empty name (H21)", with_head(b": a", LENGTH.strip())),
    ("U1", "a blank in a name (H21)", with_head(b"X Y: a", LENGTH.strip())),
    ("U1", "a control in a value (H22)", with_head(b"X-A: \x01", LENGTH.strip())),
    ("U1", "a header of 80 KiB", with_head(b"X-A: " + b"a" * 80000, LENGTH.strip())),
    ("U2", "a flood of 100", b"HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    ("U2", "101 unasked", b"HTTP/1.1 101 Switching\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n" + BODY),
    *[("U2", f"the line {line!r}", with_start(line)) for line in (
        b"HTTP/1.1 099 OK", b"HTTP/1.1 1000 OK", b"HTTP/1.1 200OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 2",
        b"HTTP/3.0 200 OK", b"HTTP/1.1 -20 OK", b"ICY 200 OK", b"\x16\x03\x01\0")],
    ("U3", "a line end in a header that passes", with_head(
        b'WWW-Authenticate: Bearer a="\rSet-Cookie: x=1"', LENGTH.strip())),
    ("U6", "a JSON answer that is cut", OK + b"Content-Length: 900\r\n\r\n" + BODY),
    ("U6", "a chunked one that is cut", with_chunks(CHUNK)),
    ("U8", "nothing at all", b""),
    ("U8", "half a head", OK[:20]),
]


def reason(message):
    sure(message and message.get("error", {}).get("code") == -32603, message)
    return message["error"]["data"]["reason"]


def no_answer(server, peers):
    sessions = [(front, kind(peers[0].port)) for front, kind in FRONTS.items()]
    for row, what, text in NO_ANSWER:
        with check(f"{row}: {what}: in-band on both fronts, its connection is not used again, the "
                   "session goes on"):
            server.behave(on_call=lambda _: Cut(text))
            for front, session in sessions:
                answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=6)
                sure(reason(message) in ("upstream_bad", "upstream_lost"), message)
                sure(answer.status == (200 if front == "/mcp" else 202), answer)
                sure(answer.seconds < 3 and len(answer.body) < 1024, answer)
                sure(b"set-cookie" not in repr(answer.headers).lower().encode(), answer.headers)
            sure(len(server.calls()) == 2, "it ran again")
            bad = {one.connection for one in server.calls()}
            server.behave()
            for front, session in sessions:
                sure(session.call(peers[2].port, "any") == "ok", front)
            sure(not bad & {one.connection for one in server.requests}, "the same connection")
    rest = [text for row, _, text in NO_ANSWER if row in ("U1", "U2")][::5]
    with check(f"U1, U2: {len(rest)} of them to a notification, a DELETE and another path: 502 or 503"):
        for text in rest:
            session = Session(peers[0].port)
            server.behave(on_any=lambda one: ASIDE if one.message.get("method") == "ping" or (
                one.method == b"GET" and one.target == b"/mcp") else Cut(text))
            answers = [
                session.send(peers[1].port, {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
                session.end(peers[2].port),
                request(peers[0].port, "GET", "/.well-known/oauth-protected-resource")]
            sure({one.status for one in answers} <= {502, 503}, text[:60], *answers)
            server.behave()
            sure(session.call(peers[1].port, "any") == "ok")
            session.end(peers[1].port)
    with check("U1: on the upstream's own stream: the client's stays, and is fed by the next one"):
        server.behave(on_get=lambda one: Cut(NO_ANSWER[0][2]) if len(server.saw(b"GET")) < 3 else EVENTS)
        session = Session(peers[0].port)
        up = server.latest()
        answer = request(peers[1].port, "POST", "/mcp", {**BOTH, **session.headers()},
                         b'{"jsonrpc":"2.0","id":1,"method":"ping"}')
        sure(answer.status == 200, answer)
        wait_until(8, lambda: server.streams.get(up), "another try")
        session.end(peers[0].port)
    for _, session in sessions:
        session.end(peers[0].port)


def batches(server, peers):
    """A client waits for every id of its batch."""
    ids = (1, "b", 3)
    batch = json.dumps([*[{"jsonrpc": "2.0", "id": one, "method": "tools/call"} for one in ids],
                        {"jsonrpc": "2.0", "method": "notifications/x"}]).encode()
    first, all_of_them = event(result(1)), b"[" + b",".join(result(one) for one in ids) + b"]"
    noted = event(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}')
    answers = [
        ("the first answer, and its end", EVENTS + noted + first, [1]),
        ("two answers, and its end", EVENTS + event(result("b")) + first, [1, "b"]),
        ("half an answer, and its end", EVENTS + first[:-3], []),
        ("nothing but its head", EVENTS, []),
        ("an answer to nothing", EVENTS + event(result(4712)), []),
        ("the first answer twice", EVENTS + first + first, [1]),
        ("all of them, in one event", EVENTS + event(all_of_them), list(ids)),
        ("all of them, and half a note", EVENTS + b"".join(event(result(one)) for one in ids) + noted[:-4],
         list(ids)),
        ("all of them, as JSON", as_json(all_of_them), list(ids)),
    ]
    session = Session(peers[0].port, version="2025-03-26")
    for what, text, good in answers:
        with check(f"J3: a batch is answered by {what}: an answer or an error in-band for every id"):
            server.behave(on_any=lambda one: Cut(text) if one.body[:1] == b"[" else ASIDE)
            for peer in peers[:2]:
                answer = session.send(peer.port, batch, timeout=4)
                sure(answer.status == 200, answer)
                found = answer.messages()
                found = [one for each in found for one in (each if isinstance(each, list) else [each])]
                for number in ids:
                    mine = [one for one in found if one.get("id") == number and "method" not in one]
                    sure(mine and ("result" in mine[0]) == (number in good), number, answer)
                    sure(number in good or (len(mine) == 1 and reason(mine[0])), number, answer)
                sure(any(one.body == batch for one in server.requests), "it was changed on its way")
    with check("J3: a batch without any answer has a definite end, and the session goes on"):
        server.behave(on_any=lambda one: Cut() if one.body[:1] == b"[" else ASIDE)
        answer = session.send(peers[1].port, batch, timeout=4)
        sure(answer.status in (200, 502) and b"-32603" in answer.body, answer)
        server.behave()
        sure(session.call(peers[2].port, "any") == "ok")
    session.end(peers[0].port)


def headers(server, peers):
    with check("U3: hop-by-hop headers and ours never pass, the others do"):
        server.behave(on_call=lambda one: as_json(result(one.message["id"]), (
            b"Connection: X-Hop, keep-alive\r\nX-Hop: hop-4711\r\nKeep-Alive: timeout=4711\r\n"
            b"Proxy-Connection: hop-4711\r\nTrailer: hop-4711\r\nUpgrade: hop-4711\r\n"
            b"X-Mesh-Owner: hop-4711\r\nAlt-Svc: hop-4711\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\n"
            b"Access-Control-Allow-Origin: https://page.example\r\nX-Other: passes\r\n")))
        for port in (peers[0].port, peers[1].port):
            session = Session(peers[0].port)
            answer = session.ask(port, "tools/call", {"name": "any"})[0]
            sure("4711" not in repr(answer.headers), answer.headers)
            for name, value in (("retry-after", "7"), ("x-other", "passes"), ("set-cookie", "a=b"),
                                ("access-control-allow-origin", "https://page.example")):
                sure(answer.headers.get(name) == value, name, answer.headers)
            session.end(port)
    with check("U4: the upstream's session id is ours in every answer, errors too, and another one "
               "that it names later is nobody's"):
        session = Session(peers[0].port)
        mine, up = session.id, server.latest()
        for line in (b"200 OK", b"400 Bad Request", b"500 Internal", b"202 Accepted", b"401 Unauthorized"):
            for name in (up.encode(), b"raw-other"):
                server.behave(on_call=lambda one: status(
                    line, b"Content-Type: application/json\r\nMcp-Session-Id: " + name + b"\r\n",
                    b"" if line[:3] == b"202" else result(one.message["id"])))
                answer = session.send(peers[1].port, {"jsonrpc": "2.0", "id": 5, "method": "tools/call"})
                shown = answer.headers.get("mcp-session-id", mine)
                sure(shown == mine and b"raw-" not in repr(answer.headers).encode(), line, answer.headers)
        server.behave()
        sure(session.call(peers[2].port, "any") == "ok")
        sure(server.calls()[-1].fields.get(b"mcp-session-id") == up.encode(), server.calls()[-1].head)
        session.end(peers[0].port)
    with check("U4: its 404 or 400 for the id that it gave out reaches no client: in-band, and then the "
               "session is over"):
        for text in (status(b"404 Not Found"), status(
                b"400 Bad Request", b"Content-Type: application/json\r\n", b'{"jsonrpc":"2.0","error":'
                b'{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}')):
            server.behave()
            session = Session(peers[0].port)
            server.behave(on_call=lambda _: text)
            answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=5)
            sure(message and ("result" in message or reason(message) == "upstream_lost"), answer)
            server.behave()
            answer, message = session.ask(peers[2].port, "ping")
            sure(answer.body == NOT_FOUND or (message and "result" in message), answer)
    with check("U4: a session id of its own that is none, or too long, opens no session, and nothing "
               "is forged by it"):
        for name in (b"a b", b"i" * 1025, b"\xff", b""):
            server.behave(on_initialize=lambda one: as_json(result(one.message["id"], {
                "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {
                    "name": "a", "version": "1"}}), b"Mcp-Session-Id: " + name + b"\r\n"))
            answer = request(peers[0].port, "POST", "/mcp", BOTH, json.dumps({
                "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {
                        "name": "a", "version": "1"}}}).encode())
            shown = answer.headers.get("mcp-session-id")
            sure(answer.status == 200 and (shown is None or len(shown) == 42), name[:9], answer.headers)
        server.behave()


def large(server, peers):
    total = 400 * MIB

    def flood(connection, length):
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % total)
        connection.sendall(b'{"jsonrpc":"2.0","id":9,"result":{"x":["a",')
        for _ in range(length // MIB - 1):
            connection.sendall(b'"' + b"z" * (MIB - 3) + b'",')

    def ask(session, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/mcp", b'{"jsonrpc":"2.0","id":9,"method":"tools/call"}',
                           {**BOTH, **session.headers()})
        answer, got = connection.getresponse(), 0
        try:
            while part := answer.read(1 << 18):
                got += len(part)
        except (http.client.IncompleteRead, OSError) as error:
            return got, error
        return got, None if got >= total else "no end"

    session = Session(peers[0].port)
    with check("U6: a JSON answer of 400 MiB that never gets whole: passed on in parts, memory stays "
               "bounded, the client sees that it was cut"):
        before = [memory_most(peer) for peer in peers]
        server.behave(on_call=lambda _: lambda connection: flood(connection, total))
        got, error = ask(session, peers[1].port)
        sure(got > total * 9 // 10 and error, got, error)
        for peer, had in zip(peers, before):
            sure(memory_most(peer) < had + 48 * MIB, peer.name, had, memory_most(peer))
    with check("U6: cut in its middle, local as well as forwarded: a definite end, the session goes on"):
        for peer in peers[:2]:
            server.behave(on_call=lambda _: lambda connection: flood(connection, 20 * MIB))
            got, error = ask(session, peer.port)
            sure(error and got > 15 * MIB, got, error)
        server.behave()
        sure(session.call(peers[2].port, "any") == "ok")
    session.end(peers[0].port)


def unasked(server, peers):
    with check("U7: more than its answer: the answer counts, the rest is nobody's, the connection is "
               "not used again"):
        session = Session(peers[0].port)
        more = as_json(result(1, {"forged": True}))
        for rest in (more, b"x", b"\r\n\r\n", event(result(2))):
            for late in (False, True):
                def say(one):
                    text = as_json(result(one.message["id"]))
                    if not late:
                        return text + rest
                    return lambda connection: (connection.sendall(text), time.sleep(0.1),
                                               connection.sendall(rest), connection.recv(1))
                server.behave(on_call=say)
                answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=5)
                sure(message and "forged" not in message["result"], answer)
                time.sleep(0.2 * late)
                used = server.calls()[-1].connection
                server.behave()
                for i in range(3):
                    answer, message = session.ask(peers[i].port, "ping", timeout=5)
                    sure(message and "forged" not in message["result"], answer)
                sure(used not in {one.connection for one in server.requests}, "used again")
        session.end(peers[0].port)
    with check("U7: an answer before any request: no call takes it for its own"):
        server.greeting = as_json(result(4712, {"forged": True}))
        session = None
        try:
            server.behave()
            session = Session(peers[0].port)
            for _ in range(20):
                answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=5)
                sure(message and "forged" not in message.get("result", {}), answer)
        except AssertionError as error:
            sure("-32603" in str(error) and "forged" not in str(error), error)
        finally:
            server.greeting = b""
            if session:
                session.end(peers[0].port)
    with check("U7: what comes after a foreign answer, on the same connection, is no other session's"):
        victim = Session(peers[0].port)
        for is_get in (False, True):
            asked = []

            def foreign(connection):
                connection.sendall(as_json(result(4712, {"forged": True})))
                asked.append(connection)
                time.sleep(0.3)
                connection.sendall(as_json(result(victim.counter, {"forged": True})))
                connection.recv(1)
            server.behave(on_call=lambda _: foreign, on_get=lambda _: foreign)
            session = Session(peers[0].port)
            if not is_get:
                answer, message = session.ask(peers[0].port, "tools/call", {"name": "any"}, timeout=5)
                sure(reason(message) == "upstream_bad", answer)
            wait_until(5, lambda: asked, "the foreign answer")
            server.behave()
            answer, message = victim.ask(peers[0].port, "tools/call", {"name": "any"}, timeout=5)
            sure(message and "forged" not in message.get("result", "forged"), answer, is_get)
            session.end(peers[0].port)
        victim.end(peers[0].port)
    with check("U8: closed or reset after the request, before any byte: a read runs again, a call does "
               "not and is told as unknown"):
        server.behave()
        session = Session(peers[0].port)

        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for lose in (Cut(), reset):
            lost = []

            def once(one):
                if one.message.get("method") not in ("tools/call", "resources/read") or lost:
                    return ASIDE
                lost.append(one)
                return lose
            for method, again in (("resources/read", True), ("tools/call", False)):
                lost.clear()
                server.behave(on_any=once)
                answer, message = session.ask(peers[1].port, method, {"name": "a", "uri": "a://b"}, 5)
                ran = [one for one in server.requests if one.message.get("method") == method]
                sure(len(ran) == 1 + again, method, len(ran))
                sure("result" in message if again else reason(message) == "upstream_lost", message)
        session.end(peers[0].port)


def slow(server, peers, ends):
    """Row U5, beside the others: its server holds answers back."""
    server.behave(on_call=lambda _: lambda connection: (
        connection.sendall(OK + b"Content-Length: 100\r\n\r\n{"), connection.recv(1)))
    session, other = Session(peers[0].port), Session(peers[0].port)
    answers = []
    caller = threading.Thread(daemon=True, target=lambda: answers.append(session.ask(
        peers[1].port, "tools/call", {"name": "any"}, timeout=60)))
    caller.start()
    with check("U5: a head, and then silence: other sessions and other calls are not held up"):
        for i in range(20):
            for one in (session, other):
                answer, message = one.ask(peers[i % 3].port, "ping", timeout=2)
                sure(message and answer.seconds < 0.5, answer)
    caller.join(ends)
    with check("U5: and the call has its definite end at a deadline"):
        sure(answers and reason(answers[0][1]) in ("upstream_bad", "upstream_lost"), answers)


def run():
    server, other = RawServer(), RawServer()
    peers, quiet = (start_peers(cluster=name, each=lambda i: {"log": f"{name}-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{one.port}/mcp"]) for name, one in
        (("answers", server), ("slow", other)))
    canary = Canary(peers)
    waiting = threading.Thread(target=slow, args=(other, quiet, 40))
    waiting.start()
    no_answer(server, peers)
    headers(server, peers)
    batches(server, peers)
    large(server, peers)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 50 and not errors, canary.count, errors[:3])
    unasked(server, peers)
    with check("no peer died, none wrote much, nothing is left open"):
        for peer in peers:
            sure(peer.process.poll() is None and peer.text().count("\n") < 120, peer.text()[-600:])
            wait_until(5, lambda: peer.metrics()["mesh_exchanges_open"] == 0, "no exchange")
    waiting.join(60)
