"""Rows S of bad input: what an upstream may put into an event stream, a JSON answer or a line, read
through both fronts. What an HTTP+SSE server does otherwise stands in bad_oldsse.py, children that
misbehave in bad_child.py."""
import contextlib
import http.client
import json
import re
import socket
import sys
import threading
import time

from bad_child import CHILD
from front import FRONTS, OldSession, read_events, resume
from harness import Session, check, note, start_peers, sure, wait_until
from old_server import OldServer, answer_all
from raw import Canary, exchange, post
from raw_server import EVENTS, Cut, RawServer, as_json, event, notification, result, status

MIB = 1 << 20
EVIL = "a\n\ndata: {}\n\nid: 7\nretry: 1\r\n\r\nevent: endpoint\rdata: evil\u2028\u0085\x00\x1b[31m"
VALUE = {"content": [{"type": "text", "text": EVIL}]}


def pretty(number, line_end):
    """A result with raw line ends between its tokens, and some alone."""
    text = json.dumps({"jsonrpc": "2.0", "id": number, "result": VALUE}, indent=1)
    return (text.replace("\n", "\n\n", 2).replace("\n", line_end) + line_end).encode()


def flat(number, _=None):
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": VALUE}).encode()


# How a text with such line ends leaves the upstream: (what, forms of the text, the answer's bytes).
def in_lines(text):
    return event(text.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


SPLIT = [
    ("one data line", flat, None, in_lines),
    ("many data lines", pretty, "\n", in_lines),
    ("many data lines that end in CR LF", pretty, "\n",
     lambda text: in_lines(text).replace(b"\n", b"\r\n")),
    ("many data lines that end in CR", pretty, "\n", lambda text: in_lines(text).replace(b"\n", b"\r")),
    ("no blank behind the colon", pretty, "\n",
     lambda text: re.sub(rb"(?m)^data: ", b"data:", in_lines(text))),
    ("ids, retries, names, comments and empty lines around it", pretty, "\n",
     lambda text: b"\xef\xbb\xbf: hello\n\n\nid: 1\nid\nretry: 5x\nfoo: bar\nevent: message\n" +
     in_lines(text) + b"\n\n: bye\n\n"),
]


def whole_or_cut(text, chunked):
    if not chunked:
        return Cut(EVENTS + text)
    chunks = b"".join(b"%x;a=\"b\"\r\n%s\r\n" % (len(text[i:i + 37]), text[i:i + 37])
                      for i in range(0, len(text), 37))
    return (EVENTS[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX: y\r\n\r\n")


def is_exact(session, port):
    """One answer, its text to the byte, and nothing besides."""
    before = len(session.stream.events()) if isinstance(session, OldSession) else 0
    answer, message = session.ask(port, "tools/call", {"name": "any"}, timeout=5)
    sure(message and message.get("result") == VALUE, answer, message)
    if isinstance(session, OldSession):
        time.sleep(0.05)
        found = session.stream.events()[before:]
    elif "text/event-stream" in answer.headers["content-type"]:
        found = read_events(answer.body)
    else:
        return answer
    found = [one for one in found if one.data]
    sure(len(found) == 1 and found[0].name in (None, "message") and found[0].retry is None, found)
    sure(found[0].id is None or found[0].id.count("-") >= 2, found)
    return answer


def split_data(server, peers):
    for front, kind in FRONTS.items():
        session = kind(peers[0].port)
        for what, make, ends, form in SPLIT:
            with check(f"S1: {front}: an event in {what}: the exact text in one event, no other"):
                for n, chunked in enumerate((False, True)):
                    server.behave(on_call=lambda one: whole_or_cut(
                        form(make(one.message["id"], ends)), chunked))
                    is_exact(session, peers[n + 1].port)
        with check(f"S1: {front}: a JSON answer with line ends of every kind is given whole"):
            for ends in ("\n", "\r\n", "\r"):
                server.behave(on_call=lambda one: as_json(pretty(one.message["id"], ends)))
                answer = is_exact(session, peers[1].port)
                if front == "/mcp":
                    sure(answer.body == pretty(session.counter, ends), answer)
        session.end(peers[0].port)


def names_and_ids(server, peers):
    """Row S2. The owner numbers the events: a name or an id of the upstream's never gets out."""
    noted = notification("noted")
    cases = [
        ("an id with NUL", b"id: a\0b\n" + event(noted), True),
        ("an id of 10 KiB", b"id: " + b"i" * 10240 + b"\n" + event(noted), None),
        ("ids that look like ours", b"id: 0-1-9999\n" + event(noted), True),
        ("an end mark of its own", b"id: 4-1-77-e\n" + event(noted), True),
        ("an event of another name", b"event: ping\n" + event(noted), False),
        ("a name with NUL", b"event: message\0\n" + event(noted), False),
        ("an endpoint event", b"event: endpoint\ndata: http://127.0.0.1:1/\n\n" + event(noted), True),
        ("a name of 10 KiB", b"event: " + b"n" * 10240 + b"\n" + event(noted), None),
    ]
    for front, kind in FRONTS.items():
        for what, text, passes in cases:
            with check(f"S2: {front}: {what}: nothing forged, a definite answer, the session lives"):
                session = kind(peers[0].port)
                server.behave(on_call=lambda one: Cut(EVENTS + text + event(result(one.message["id"]))))
                held = resume(peers[1].port, session, None) if front == "/mcp" else session.stream
                answer, message = session.ask(peers[2].port, "tools/call", {"name": "any"}, timeout=5)
                sure(message and ("result" in message if passes is not None else
                                  "result" in message or message["error"]["code"] == -32603), message)
                raw = held.raw + (answer.body or b"")
                found = [one for one in read_events(answer.body) + held.events() if one.data]
                said = sum("noted" in one.data for one in found)
                sure(said == passes or passes is None, said, found)
                for one in found:
                    sure(one.name in (None, "message", "endpoint") and "127.0.0.1:1" not in one.data, one)
                    sure(one.id is None or (len(one.id) < 40 and "9999" not in one.id and
                                            "77" not in one.id), one)
                sure(b"\0" not in raw, raw)
                server.behave()
                sure(session.call(peers[0].port, "any") == "ok")
                session.end(peers[0].port)


def memory_most(peer):
    """Bytes that it ever had resident."""
    with open(f"/proc/{peer.pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10


def sizes(server, peers):
    padded = lambda number, more: result(number, {"x": "y" * more})
    for front, kind in FRONTS.items():
        session = kind(peers[0].port)
        for length, good in ((10 * MIB, True), (10 * MIB + 1, False)):
            with check(f"S3: {front}: an event of {length} bytes {'passes' if good else 'is an in-band '}"
                       f"{'' if good else 'error of its request'}, the session lives"):
                def make(one):
                    text = padded(one.message["id"], 0)
                    text = padded(one.message["id"], length - len(text))
                    return Cut(EVENTS + event(text))
                server.behave(on_call=make)
                answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=20)
                sure(message and ("result" in message) == good, str(message)[:200])
                sure(good or message["error"]["data"]["reason"] == "answer_too_large", message)
                server.behave()
                sure(session.call(peers[2].port, "any") == "ok")
        session.end(peers[0].port)
    with check("S3: an event too large on the upstream's own stream: that is opened again, what comes "
               "then arrives"):
        server.behave()
        session = Session(peers[0].port)
        up = server.latest()
        held = resume(peers[1].port, session, None)
        server.push(up, b"data: " + b"x" * (11 * MIB))
        time.sleep(0.3)
        wait_until(5, lambda: not server.streams[up] or len(server.saw(b"GET")) > 1, "it is closed")
        server.push(up, event(notification("after")), 8)
        wait_until(5, lambda: held.data() == ["after"], "what came then")
        sure(not held.ended and session.call(peers[2].port, "any") == "ok")
        session.end(peers[0].port)


def floods(server, peers):
    tiny = event(notification(1))
    count = 200000
    with check(f"S3: {count} tiny events for a reader that takes them: all arrive, the server is held "
               "back meanwhile, memory stays bounded"):
        session = Session(peers[0].port)
        server.behave(on_call=lambda one: Cut(EVENTS + tiny * count + event(result(one.message["id"]))))
        before = [memory_most(peer) for peer in peers]
        answer = session.send(peers[1].port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"},
                              timeout=25)
        sure(answer.body.count(b"\ndata: ") + answer.body.startswith(b"data: ") >= count + 1 and
             b'"result"' in answer.body[-300:], answer.body[-300:])
        note(f"{answer.seconds:.1f} s")
        for peer, had in zip(peers, before):
            sure(memory_most(peer) < had + 64 * MIB, peer.name, had, memory_most(peer))
    with check("S3: for a reader that takes nothing: the server is held back, nobody else is, and it "
               "is cut at last without harm"):
        with socket.create_connection(("127.0.0.1", peers[1].port), 5) as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lines = [f"{name}: {value}" for name, value in session.headers().items()]
            lazy.sendall(post(lines=lines, body=b'{"jsonrpc":"2.0","id":8,"method":"tools/call"}'))
            time.sleep(1)
            server.behave()
            for i in range(20):
                answer, message = session.ask(peers[i % 3].port, "ping", timeout=5)
                sure(message and answer.seconds < 1, answer)
            for peer, had in zip(peers, before):
                sure(memory_most(peer) < had + 80 * MIB, peer.name, had, memory_most(peer))
    with check("S3: on the session's own stream without a reader: the server is not held back for "
               "ever, the newest are kept, memory stays bounded"):
        up = server.latest()
        sent = server.sent
        server.push(up, tiny * count + event(notification("the last")))
        wait_until(15, lambda: server.sent > sent, "the server may say it all")
        time.sleep(1)  # what is still on the way
        held = resume(peers[2].port, session, None)
        wait_until(5, lambda: "the last" in held.data(), "the last one")
        sure(len(held.data()) <= 1001, len(held.data()))
        sure(session.call(peers[0].port, "any") == "ok")
        session.end(peers[0].port)
    with check("S7: 4 MiB of comments: the call gets its answer and none of them"):
        for kind in FRONTS.values():
            session = kind(peers[0].port)
            server.behave(on_call=lambda one: Cut(EVENTS + b":::::\n" * 700000 + b"\n: \n\n" +
                                                  event(result(one.message["id"]))))
            answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=15)
            sure(message and "result" in message and b":::" not in answer.body, answer)
            session.end(peers[0].port)


def halves(server, peers):
    """Row S4."""
    whole = event(result(0))
    for front, kind in FRONTS.items():
        with check(f"S4: {front}: half an event, and its end: never delivered; the call is answered "
                   "in-band and the session lives"):
            for cut in (1, 2, len(whole) // 2, 7, len(whole) - 8):
                session = kind(peers[0].port)
                server.behave(on_call=lambda one: Cut(
                    EVENTS + event(notification("whole")) + event(result(one.message["id"]))[:-cut]))
                answer, message = session.ask(peers[1].port, "tools/call", {"name": "any"}, timeout=5)
                sure(message and message.get("error", {}).get("code") == -32603, cut, message, answer)
                sure(message["error"]["data"]["reason"] == "upstream_lost", message)
                server.behave()
                sure(session.call(peers[2].port, "any") == "ok")
                session.end(peers[0].port)
    with check("S4: half an event on the upstream's own stream is never delivered, and what comes on "
               "the next one is"):
        session = Session(peers[0].port)
        up = server.latest()
        held = resume(peers[1].port, session, None)
        server.push(up, event(notification("whole")) + event(notification("half"))[:-1])
        wait_until(3, lambda: held.data() == ["whole"], "the whole one")
        server.push(up, None)
        time.sleep(0.2)
        server.push(up, event(notification("next")), 5)
        wait_until(5, lambda: len(held.data()) == 2, "the next one")
        sure(held.data() == ["whole", "next"] and not held.ended, held.data())
        session.end(peers[0].port)


def retries(server, peers):
    with check("S5: a retry of 0 or 99999999999 reaches its client as 100 ms or 60 s, one that is no "
               "number not at all"):
        session = Session(peers[0].port)
        for said, wanted in ((b"0", "100"), (b"99999999999", "60000"), (b"4711", "4711"),
                             (b"18446744073709551616", "60000"), (b"-1", None), (b"1e3", None)):
            server.behave(on_call=lambda one: Cut(
                EVENTS + b"retry: " + said + b"\n\n" + event(notification("a"), b"retry: " + said +
                                                             b"\n") + event(result(one.message["id"]))))
            answer = session.send(peers[1].port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"})
            found = {one.retry for one in read_events(answer.body)} - {None}
            sure(found == ({wanted} if wanted else set()), said, answer.body)
            sure("result" in answer.messages()[-1], answer)
        session.end(peers[0].port)


def silence(server, peers):
    """Row S6: takes its 15 s, beside the others. Its server has nothing to say."""
    session, old = Session(peers[0].port), OldSession(peers[0].port)
    server.behave(on_call=lambda one: (lambda connection: (
        connection.sendall(EVENTS + b": it goes on\n\n"), connection.recv(1))))
    held = resume(peers[1].port, session, None)
    with socket.create_connection(("127.0.0.1", peers[2].port), 5) as slow:
        lines = [f"{name}: {value}" for name, value in session.headers().items()]
        slow.sendall(post(lines=lines, body=b'{"jsonrpc":"2.0","id":8,"method":"tools/call"}'))
        slow.settimeout(1)
        got, end = b"", time.monotonic() + 16.5
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                got += slow.recv(65536)
    with check("S6: streams without any event get a comment within 15 s, on both fronts, the GET's as "
               "well as a call's"):
        for raw in (held.raw, old.stream.raw, got):
            sure(b"\n: " in b"\n" + raw or b"\n:" in raw, raw)
        sure(all(not one.data or one.name == "endpoint" or "result" in one.data
                 for one in held.events() + old.stream.events()), held.raw, old.stream.raw)
    with check("S6: their clients have gone: closed at once, and no cancel reaches the server"):
        held.close()
        old.end(peers[0].port)
        wait_until(5, lambda: all(peer.metrics()["mesh_client_connections"] <= 2 for peer in peers),
                   "no connections")
        sure(not any(one.message.get("method") == "notifications/cancelled"
                     for one in server.requests), "a cancel")
        wait_until(5, lambda: peers[0].metrics()["mesh_sessions"] == 1, "the old session is over")


# ---- stdio, and HTTP+SSE on both sides -----------------------------------------------------------

def stdio():
    peers = start_peers(cluster="events-stdio", command=[sys.executable, "-S", CHILD, "words"],
                        each=lambda i: {"log": f"stdio-p{i + 1}"})
    for front, kind in FRONTS.items():
        session = kind(peers[0].port)
        for way in ("flat", "CR inside", "CR LF at its end", "blanks around", "twice in one write"):
            with check(f"S1: stdio: {front}: a line, {way}: the exact text in one event, no other"):
                answer, message = session.ask(peers[1].port, "tools/call", {
                    "name": "any", "arguments": {"way": way, "value": VALUE, "stream": True}}, timeout=5)
                sure(message and message.get("result") == VALUE, answer, message)
                texts = [json.loads(one.data) for one in (
                    session.stream.events() if front == "/sse" else read_events(answer.body))
                    if one.data and one.name != "endpoint"]
                mine = [one for one in texts if one.get("id") == session.counter]
                sure(len(mine) == 1 or front == "/mcp", texts)
        session.end(peers[0].port)


def old_on_both_sides():
    server = OldServer()
    peers = start_peers(cluster="events-old", each=lambda i: {"log": f"old-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/sse"])
    session = OldSession(peers[0].port)
    for what, make, ends, form in SPLIT:
        with check(f"S1: HTTP+SSE on both sides: an event in {what}: the exact text in one event"):
            server.on_message = lambda server, message: (
                form(make(message["id"], ends)) if message.get("method") == "tools/call"
                else answer_all(server, message))
            is_exact(session, peers[1].port)
    with check("S8: HTTP+SSE on both sides: where the client posts to is its own peer, whatever the "
               "server and its Host said"):
        sure(session.path.startswith("/messages?sessionId=") and len(session.id) == 42, session.path)
        reply = exchange(peers[0].port, b"GET /sse HTTP/1.1\r\nHost: localhost:4711\r\nAccept: text/event"
                         b"-stream\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: /evil\r\n\r\n",
                         0.7)
        sure(b"event: endpoint\ndata: messages?sessionId=" in reply.data and b"evil" not in reply.data and
             b"4711" not in reply.data, reply)


def run():
    server, other = RawServer(), RawServer()
    peers, quiet = ([*start_peers(cluster=name, each=lambda i: {"log": f"{name}-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{one.port}/mcp"])] for name, one in
        (("events", server), ("quiet", other)))
    canary = Canary(peers)
    waiting = threading.Thread(target=silence, args=(other, quiet))
    waiting.start()
    split_data(server, peers)
    names_and_ids(server, peers)
    sizes(server, peers)
    floods(server, peers)
    halves(server, peers)
    retries(server, peers)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 50 and not errors, canary.count, errors[:3])
    stdio()
    old_on_both_sides()
    waiting.join(30)
    with check("no peer died, none wrote much"):
        for peer in peers + quiet:
            sure(peer.process.poll() is None and peer.text().count("\n") < 80, peer.text()[-600:])
