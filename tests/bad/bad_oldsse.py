"""An HTTP+SSE server that does not keep to its transport: it names another host, refuses, cuts, floods,
or says nothing. Rows S1 to S8 and U1 to U8 of an old server: a definite answer, and the peer lives."""
import json
import os
import socket
import threading
import time

from harness import BOTH, NOT_FOUND, Peer, Session, Stream, check, request, sure, wait_until
from old_server import ENDPOINT, SSE, TAKEN, OldServer, answer_all, event, result

INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {},
    "clientInfo": {"name": "a", "version": "1"}}}).encode()
OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = b"Content-Type: text/event-stream\r\n"
HUGE = b"x" * (11 << 20)


class Stage:
    """The one peer, and the one server behind it: what a test did to either, the next one sees."""
    server = peer = None


def begin(*opening, **behaviour):
    if Stage.peer is None:
        Stage.server = OldServer()
        Stage.peer = Peer("old", cluster="old", flags=[
            "--upstream", f"http://127.0.0.1:{Stage.server.port}/sse", "--park-timeout", "2s",
            # what its server did to one session is over with it
            "--drain-grace", "0s", "--on-owner-loss", "end"],
            # what a sanitizer keeps of freed memory is no leak of the peer's
            env={"ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=8"})
        wait_until(5, Stage.peer.is_ready, "ready")
    Stage.server.behave()
    wait_until(3, Stage.peer.is_ready, "it answers again")
    session = Session(Stage.peer.port)  # else five failures in a row: it is asked nothing
    session.ask(Stage.peer.port, "ping")
    session.end(Stage.peer.port)
    Stage.server.behave(*opening, **behaviour)
    wait_until(3, is_quiet, "what was before is over")
    return Stage.server, Stage.peer


def is_quiet():
    metrics = Stage.peer.metrics()
    return all(metrics[name] == 0 for name in (
        "mesh_exchanges_open", "mesh_sessions", "mesh_upstream_sessions", "mesh_upstream_connections"))


def reason(answer):
    """Of a definite in-band answer."""
    sure(answer.status == 200, answer)
    found = answer.messages()
    sure(len(found) == 1 and found[0]["error"]["code"] == -32603, answer)
    return found[0]["error"]["data"]["reason"]


# ---- it never gets as far as a session -----------------------------------------------------------

def endpoint(uri):
    return SSE + b"event: endpoint\ndata: " + uri + b"\n\n"


def failures(metrics):
    return sum(metrics[f'mesh_upstream_failed_total{{cause="{cause}"}}'] for cause in ("refused", "lost"))


BAD, DOWN, LARGE = "upstream_bad", "upstream_down", "answer_too_large"
OPENINGS = [
    ("closes without a byte", b"", True, DOWN),
    ("sends no HTTP", b"220 smtp ready\r\n", True, BAD),
    ("has no such path", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False, BAD),
    ("fails", b"HTTP/1.1 500 Internal\r\nContent-Length: 0\r\n\r\n", False, BAD),
    ("sends two lengths", OK + EVENTS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n: ", False, BAD),
    ("sends a length and chunks", OK + EVENTS + b"Content-Length: 2\r\nTransfer-Encoding: chunked"
     b"\r\n\r\n: ", False, BAD),
    ("folds a header", OK + EVENTS + b"X-A: b\r\n c\r\n\r\n" + ENDPOINT, False, BAD),
    ("sends a bare CR", OK + EVENTS + b"X-A: b\rc\r\n\r\n" + ENDPOINT, False, BAD),
    ("switches protocols", b"HTTP/1.1 101 Switching\r\nUpgrade: a\r\n\r\n", False, BAD),
    ("floods with 100 Continue", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, False, BAD),
    ("sends events that are none", OK + b"Content-Type: application/json\r\n\r\n" + ENDPOINT, False, BAD),
    ("compresses them", OK + EVENTS + b"Content-Encoding: gzip\r\n\r\n" + ENDPOINT, False, BAD),
    ("ends before its endpoint", SSE + b": hello\n\n", True, DOWN),
    ("cuts its endpoint (S4)", SSE + b"event: endpoint\ndata: /message", True, DOWN),
    ("sends 11 MiB instead (S3)", SSE + b"data: " + HUGE, False, LARGE),
    ("names an endpoint of another scheme (S8)", endpoint(b"https://127.0.0.1/message"), False, BAD),
    ("names no URI (S8)", endpoint(b"/message HTTP/1.1"), False, BAD),
    ("forges a header in it (S8)", endpoint(b"/message\ndata: X-Evil: 1"), False, BAD),
    ("forges one by CR (S8)", endpoint(b"/message\rdata: X-Evil: 1"), False, BAD),
    ("names one of 3 KiB (S8)", endpoint(b"/" + b"m" * 3000), False, BAD),
    ("names none (S8)", endpoint(b"#"), False, BAD),
]


def never_opens():
    for what, opening, closes, why in OPENINGS:
        with check(f"an old server that {what}: {why} in-band, no session, and the peer lives"):
            server, peer = begin(opening, closes)
            before = failures(peer.metrics())
            answer = request(peer.port, "POST", "/mcp", BOTH, INITIALIZE, 20)
            sure(reason(answer) == why, answer)
            sure("mcp-session-id" not in answer.headers and answer.seconds < 3, answer)
            sure(not server.posts(), server.posts())
            sure(failures(peer.metrics()) == before + 1, "it is counted")
    with check("an old server that says nothing after its head (U5): upstream_down in-band after 10 s"):
        server, peer = begin(SSE)
        answer = request(peer.port, "POST", "/mcp", BOTH, INITIALIZE, 20)
        sure(reason(answer) == DOWN and 9 < answer.seconds < 12, answer)


def another_host():
    evil = socket.create_server(("127.0.0.1", 0))
    evil.settimeout(0.3)
    port = evil.getsockname()[1]
    for what, opening in [
            ("an endpoint at another port", endpoint(f"http://127.0.0.1:{port}/message".encode())),
            ("another host without a scheme", endpoint(f"//localhost:{port}/message".encode())),
            ("a redirect of its stream", f"HTTP/1.1 307 Over There\r\nLocation: http://127.0.0.1:{port}"
             "/sse\r\nContent-Length: 0\r\n\r\n".encode())]:
        with check(f"S8: {what} is not followed: no byte of a client leaves for it"):
            server, peer = begin(opening)
            answer = request(peer.port, "POST", "/mcp", BOTH, INITIALIZE, 20)
            sure(reason(answer) == BAD, answer)
            try:
                evil.accept()
                raise AssertionError("it was dialled")
            except TimeoutError:
                pass
            sure(str(port) not in peer.text(), "its URI is in the log")
    with check("S8: an endpoint event later on moves nothing"):
        server, peer = begin()
        session = Session(peer.port)
        server.out.put(event(f"http://127.0.0.1:{port}/message".encode(), b"endpoint"))
        sure(session.call(peer.port, "any") == "ok")
    evil.close()


def same_origin():
    with check("S8: the upstream's own origin is accepted in every form"):
        for form in ("http://127.0.0.1:{}/message?sessionId=4711", "//127.0.0.1:{}/message?sessionId=4711",
                     "message?sessionId=4711", "./message?sessionId=4711"):
            server, peer = begin()
            server.opening = endpoint(form.format(server.port).encode())
            sure(Session(peer.port).call(peer.port, "any") == "ok", form)
            heads = {head.split(b"\r\n")[0] for _, head, _ in server.posts()}
            sure(heads == {b"POST /message?sessionId=4711 HTTP/1.1"}, heads)


# ---- what its POSTs are answered with ------------------------------------------------------------

def status(line, headers=b"Content-Length: 0\r\n", body=b""):
    return b"HTTP/1.1 " + line + b"\r\n" + headers + b"\r\n" + body


REFUSALS = [
    ("404", status(b"404 Not Found")),
    ("500", status(b"500 Internal")),
    ("a redirect", status(b"307 Over There", b"Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n")),
    ("a connection closed without a byte (U8)", b""),
    ("no HTTP", b"hello\r\n\r\n"),
    ("two lengths (U1)", status(b"202 Accepted", b"Content-Length: 0\r\nContent-Length: 1\r\n")),
]
TAKINGS = [
    ("nothing", None),
    ("200 and a page", status(b"200 OK", b"Content-Length: 3\r\n", b"abc")),
    ("204", status(b"204 No Content", b"")),
    ("a body of 11 MiB", status(b"202 Accepted", f"Content-Length: {len(HUGE)}\r\n".encode(), HUGE)),
    ("a body that never ends", status(b"202 Accepted", b"Content-Length: 9\r\n", b"x")),
    ("more than its body (U7)", TAKEN + b"HTTP/1.1 202 Accepted\r\n\r\n"),
]


def only_for(method, answer):
    """That answer to a POST with this method, and no word on the stream."""
    return {"on_post": lambda server, message: answer if message.get("method") == method else TAKEN,
            "on_message": lambda server, message:
                None if message.get("method") == method else answer_all(server, message)}


def lost_once(method, tools):
    """The first POST with this method is closed without a byte, and nothing comes of it."""
    posts = []

    def on_post(_, message):
        posts.append(message.get("method"))
        return b"" if posts[-1] == method and posts.count(method) == 1 else TAKEN

    def on_message(server, message):
        if message.get("method") == method and posts.count(method) == 1:
            return None
        if message.get("method") == "tools/list":
            return event(result(message["id"], tools))
        return answer_all(server, message)
    return {"on_post": on_post, "on_message": on_message}


def posts_refused():
    for what, answer in REFUSALS:
        with check(f"an old server answers a call's POST with {what}: in-band, once, the session lives"):
            server, peer = begin(**only_for("tools/call", answer))
            session = Session(peer.port)
            got, message = session.ask(peer.port, "tools/call", {"name": "any"}, timeout=5)
            sure(message and message["error"]["code"] == -32603 and got.seconds < 2, got)
            sure(sum(one["method"] == "tools/call" for _, _, one in server.posts()) == 1)
            sure(session.ask(peer.port, "ping")[1]["result"], "ping")
    with check("a list that was lost on its way is asked for again, and answered"):
        server, peer = begin(**lost_once("tools/list", {"tools": []}))
        session = Session(peer.port)
        sure(session.ask(peer.port, "tools/list", timeout=5)[1]["result"], "the list")
        sure(sum(one["method"] == "tools/list" for _, _, one in server.posts()) == 2)
    with check("so is a call of a tool that the server's list marks as read-only, and of no other"):
        for hint, runs in ((True, 2), (False, 1)):
            tools = {"tools": [{"name": "any", "inputSchema": {}, "annotations": {
                "readOnlyHint": hint}}]}
            server, peer = begin(**lost_once("tools/call", tools))
            session = Session(peer.port)
            sure(session.ask(peer.port, "tools/list")[1]["result"] == tools)
            message = session.ask(peer.port, "tools/call", {"name": "any"}, timeout=5)[1]
            sure(("result" in message) == hint, message)
            sure(sum(one["method"] == "tools/call" for _, _, one in server.posts()) == runs)


def posts_taken():
    for what, answer in TAKINGS:
        with check(f"an old server answers a call's POST with {what}: what counts is its stream"):
            server, peer = begin(on_post=lambda _, message, answer=answer:
                                 answer if message.get("method") == "tools/call" else TAKEN)
            session = Session(peer.port)
            for _ in range(3):
                sure(session.call(peer.port, "any", timeout=5) == "ok")
            if answer is not None and len(answer) > 1 << 20:
                wait_until(5, lambda: server.broken > 0, "only so much of a body is read")
            elif "more" not in what:  # what is behind a body may be met by a reset: nobody wants it
                sure(server.broken == 0, "a body is read to its end")
            sure(session.end(peer.port).status == 200)
    with check("a server that answers no POST at all: 700 calls of one session are answered, and its "
               "connections stay bounded"):
        _, peer = begin(on_post=lambda _, message:
                        None if message.get("method") == "ping" else TAKEN)
        session = Session(peer.port)
        for _ in range(700):
            sure(session.ask(peer.port, "ping", timeout=5)[1]["result"], "ping")
        sure(peer.metrics()["mesh_upstream_connections"] < 340)
        sure(session.end(peer.port).status == 200)
        wait_until(5, lambda: peer.metrics()["mesh_upstream_connections"] < 3, "no connections")


def credentials():
    refusal = status(b"401 Unauthorized", b'WWW-Authenticate: Bearer resource_metadata="http://a/"\r\n'
                     b"Content-Length: 2\r\n", b"no")
    with check("A4: a stream refused with 401 is the answer to initialize, its challenge with it"):
        server, peer = begin(refusal, closes=True)
        answer = request(peer.port, "POST", "/mcp", BOTH, INITIALIZE, 10)
        sure(answer.status == 401, answer)
        sure(answer.headers["www-authenticate"] == 'Bearer resource_metadata="http://a/"')
        sure("mcp-session-id" not in answer.headers)
        server.opening, server.closes = SSE + ENDPOINT, False
        sure(Session(peer.port).call(peer.port, "any") == "ok")
    with check("A4: a call refused with 401 is answered so, and the session goes on with a new token"):
        server, peer = begin(**only_for("tools/call", refusal))
        session = Session(peer.port)
        answer = session.send(peer.port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"})
        sure(answer.status == 401 and "www-authenticate" in answer.headers, answer)
        server.on_post, server.on_message = (lambda *_: TAKEN), answer_all
        sure(session.call(peer.port, "any") == "ok")
    with check("a request's own credentials travel with it; host and coding are the upstream's"):
        server, peer = begin()
        answer = request(peer.port, "POST", "/mcp", {**BOTH, "Authorization": "Bearer one"}, INITIALIZE)
        session = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
        ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        request(peer.port, "POST", "/mcp", {**BOTH, **session, "Authorization": "Bearer two",
                                            "Accept-Encoding": "gzip"}, ping)
        heads = [head.lower() for _, head, _ in server.requests]
        sure([b"authorization: bearer one" in head for head in heads] == [True, True, False], heads)
        sure(b"authorization: bearer two" in heads[2], heads[2])
        for head in heads:
            sure(f"host: 127.0.0.1:{server.port}\r\n".encode() in head, head)
            sure(b"accept-encoding: identity\r\n" in head and b"mcp-session-id" not in head, head)
        sure(b"accept: text/event-stream\r\n" in heads[0], heads[0])


# ---- what its stream brings ----------------------------------------------------------------------

def answers_with(make):
    """tools/call is answered by make(id), everything else as it should be."""
    return lambda server, message: (make(message["id"]) if message.get("method") == "tools/call"
                                    else answer_all(server, message))


GOOD = {"content": [{"type": "text", "text": "ok"}]}
WORDS = [
    ("without an event name", lambda n: b"data: " + result(n, GOOD) + b"\n\n"),
    ("with CR LF line ends", lambda n: event(result(n, GOOD)).replace(b"\n", b"\r\n")),
    ("with CR line ends", lambda n: event(result(n, GOOD)).replace(b"\n", b"\r")),
    ("in many data lines", lambda n: event(result(n, GOOD).replace(b", ", b",\ndata: "))),
    ("after other events", lambda n: event(b"1", b"ping") + event(result(n, {"x": 1}), b"other") +
     event(result(n, GOOD))),
    ("after no JSON", lambda n: event(b"{") + event(b"hello") + event(result(n, GOOD))),
    ("after an answer to nothing", lambda n: event(result(4712)) + event(result(n, GOOD))),
    ("after a name with NUL (S2)", lambda n: event(result(n, {"x": 1}), b"a\0b") +
     event(result(n, GOOD))),
    ("after retry 0 and 99999999999 (S5)", lambda n: b"retry: 0\n\nretry: 99999999999\n\n" +
     event(result(n, GOOD))),
    ("after 4 MiB of comments (S7)", lambda n: b":::::\n" * 700000 + b"\n" + event(result(n, GOOD))),
    ("twice", lambda n: event(result(n, GOOD)) * 2),
    ("with 9 MiB", lambda n: event(result(n, {**GOOD, "x": "y" * (9 << 20)}))),
]


def words():
    for what, make in WORDS:
        with check(f"an old server answers {what}: the call gets its answer, and the session lives"):
            server, peer = begin(on_message=answers_with(make))
            session = Session(peer.port)
            sure(session.call(peer.port, "any", timeout=10) == "ok")
            sure(session.ask(peer.port, "ping")[1]["result"])


def memory_most(peer):
    """Bytes that it ever had resident."""
    with open(f"/proc/{peer.pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10


def ends():
    with check("half an event, and its end (S4): what is open is answered in-band, then the session is "
               "over"):
        server, peer = begin(on_message=answers_with(lambda n: event(result(n, GOOD))[:-9]))
        session = Session(peer.port)
        stream = Stream(peer.port, session)
        threading.Timer(0.7, server.end_stream).start()
        answer = session.send(peer.port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"}, timeout=5)
        sure(reason(answer) == "upstream_lost", answer)
        wait_until(3, lambda: stream.ended, "the held stream's end")
        after = session.ask(peer.port, "ping")[0]
        sure(after.body == NOT_FOUND, after)
        server.on_message = answer_all
        sure(Session(peer.port).call(peer.port, "any") == "ok")


def too_large():
    huge = HUGE.decode()
    for what, make in [
            ("an answer of 11 MiB with its id in front", lambda n: event(result(n, {"x": huge}))),
            ("one with its id at its end", lambda n: event(json.dumps(
                {"result": {"x": huge}, "jsonrpc": "2.0", "id": n}).encode())),
            ("one in many data lines", lambda n: event(json.dumps(
                {"id": n, "jsonrpc": "2.0", "result": ["y" * 90] * 130000}).encode().replace(
                    b", ", b",\ndata: "))),
            ("one of many notifications between", lambda n: event(result(n, {"x": huge})) +
             event(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}') * 50)]:
        with check(f"S3: {what}: its request gets an error in-band, the session lives, memory is bounded"):
            server, peer = begin(on_message=answers_with(make))
            session = Session(peer.port)
            before = memory_most(peer)
            answer = session.send(peer.port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"},
                                  timeout=10)
            sure(reason(answer) == LARGE, answer)
            sure(session.ask(peer.port, "ping")[1]["result"], "ping")
            sure(memory_most(peer) < before + (32 << 20), before, memory_most(peer))
            server.on_message = answer_all
            sure(session.call(peer.port, "any") == "ok")
    with check("S3: 11 MiB that are no message, or of another event, end nothing"):
        _, peer = begin(on_message=answers_with(
            lambda n: event(HUGE) + event(result(n, {"x": huge}), b"other") + event(result(n, GOOD))))
        session = Session(peer.port)
        sure(session.call(peer.port, "any", timeout=10) == "ok")
    with check("S3: 11 MiB without the event's end, and the stream's: upstream_lost, nothing is kept"):
        server, peer = begin(on_message=answers_with(lambda n: event(result(n, {"x": huge}))[:-2]))
        threading.Timer(1.5, server.end_stream).start()
        session = Session(peer.port)
        answer = session.send(peer.port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"}, timeout=9)
        sure(reason(answer) == "upstream_lost", answer)
        sure(peer.metrics()["mesh_memory_bytes"] == 0, "bytes held")


def floods():
    with check("S3: 300,000 tiny events at once: their reader gets them all, in order, the server is "
               "held back as it takes them, and memory stays bounded"):
        note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":%d,"level":"info"}}'
        _, peer = begin(on_message=answers_with(
            lambda n: b"".join(event((note % i).encode()) for i in range(300000)) +
            event(result(n, GOOD))))
        session = Session(peer.port)
        before = memory_most(peer)
        answer = session.send(peer.port, {"jsonrpc": "2.0", "id": 9, "method": "tools/call"},
                              timeout=30)
        found = answer.messages()
        sure(len(found) == 300001 and found[-1]["result"] == GOOD, len(found))
        sure([one["params"]["data"] for one in found[:-1]] == list(range(300000)), "in order")
        sure(session.ask(peer.port, "ping")[1]["result"], "ping")
        sure(peer.metrics()["mesh_memory_bytes"] < 2 << 20, peer.metrics()["mesh_memory_bytes"])
        sure(memory_most(peer) < before + (64 << 20), before, memory_most(peer))


# ---- order, and ways around ----------------------------------------------------------------------

def order():
    with check("a request never overtakes the notification before it, however slow its POST is"):
        def slow(_, message):
            if message.get("method") == "notifications/initialized":
                time.sleep(0.5)
            return TAKEN
        server, peer = begin(on_post=slow)
        session = Session(peer.port)  # ends with the notification, which the core accepts at once
        sure(session.call(peer.port, "any") == "ok")
        seen = [(when, one["method"]) for when, _, one in server.posts()]
        sure([method for _, method in seen] == ["initialize", "notifications/initialized",
                                                "tools/call"], seen)
        sure(seen[2][0] - seen[1][0] > 0.45, seen)
    with check("nor does it wait for a notification's POST that is never answered"):
        server, peer = begin(on_post=lambda _, message: None if "id" not in message else TAKEN)
        session = Session(peer.port)
        answer = session.ask(peer.port, "tools/call", {"name": "any"}, timeout=5)[0]
        sure(answer.status == 200 and 0.5 < answer.seconds < 2.5, answer)


def other_paths():
    with check("other paths pass to its origin; where its messages go is no way around"):
        server, peer = begin()
        sure(Session(peer.port).call(peer.port, "any") == "ok")
        before = len(server.requests)
        answer = request(peer.port, "GET", "/.well-known/oauth-protected-resource/mcp?a=b")
        sure(answer.status == 200 and answer.body == b"mine" and answer.headers["x-mine"] == "yes", answer)
        sure(server.requests[-1][1].startswith(b"GET /.well-known/oauth-protected-resource/mcp?a=b "))
        for method in ("POST", "GET"):
            answer = request(peer.port, method, "/message?sessionId=4711", BOTH,
                             b"{}" if method == "POST" else None, 3)
            sure(answer.status == 404, method, answer)
        sure(len(server.requests) == before + 1, server.requests[before:])
        answer = request(peer.port, "POST", "/mcp", {**BOTH, "Accept": "text/html"}, INITIALIZE)
        sure(answer.status == 406, answer)  # the mesh is the MCP server


def run():
    never_opens()
    another_host()
    same_origin()
    posts_refused()
    posts_taken()
    credentials()
    words()
    ends()
    too_large()
    floods()
    order()
    other_paths()
    Stage.peer.end()
    sure(Stage.peer.process.poll() == 0, "its exit code")
