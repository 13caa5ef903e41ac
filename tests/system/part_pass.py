"""What passes through: other paths, headers that travel over every hop as they are, those that must
not, and what browsers ask and are told."""
import json
import socket

from harness import BOTH, Session, Settings, check, request, start_peers, sure
from old_server import TAKEN, OldServer, answer_all
from recorder import Recorder

PAGE = "http://page.example"
TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7;x=\"~ \"",
    "baggage": "userId=alice,serverNode=DF%2028,isProduction=false;  p = 1",
}
CREDENTIALS = {"Authorization": "Bearer aGVsbG8=.x-y_z~+/==", "Cookie": "a=1; b=\"two, 2\""}
OUTSIDE = {
    "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Prefix": "/evil", "Forwarded": "for=6.6.6.6", "X-Mesh-Owner": "p3",
}
HOP = {
    "Connection": "close, X-Only-Here", "X-Only-Here": "1", "Keep-Alive": "timeout=9",
    "TE": "trailers", "Upgrade": "h2c", "Proxy-Authorization": "Basic eA==",
    "Proxy-Connection": "keep-alive",
}
CHALLENGE = ('Bearer realm="a, \\"b\\"", resource_metadata='
             '"http://127.0.0.1/.well-known/oauth-protected-resource"')


def message(method, number=None, **params):
    text = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(text if number is None else {**text, "id": number}).encode()


def other_paths(peers, servers):
    with check("/.well-known and other paths come to the server beside the peer, and its answers back, "
               "untouched"):
        for peer, server in zip(peers, servers):
            server.answer = lambda seen: (200, [
                ("Content-Type", "application/json; charset=utf-8"), ("ETag", 'W/"1"'),
                ("Link", "</a>; rel=b"), ("Link", "</c>; rel=d")], b'{ "issuer" :1}\n')
            target = "/.well-known/oauth-protected-resource/mcp?a=%20b&c=+"
            answer = request(peer.port, "GET", target, {**CREDENTIALS, "Accept": "x/y;q=0.1"})
            seen = server.last("GET")
            sure(seen.target == target, seen)
            sure(seen.value("authorization") == CREDENTIALS["Authorization"], seen)
            sure(seen.value("accept") == "x/y;q=0.1", seen)
            sure(answer.status == 200 and answer.body == b'{ "issuer" :1}\n', answer)
            sure(answer.headers["content-type"] == "application/json; charset=utf-8", answer.headers)
            sure(answer.headers["etag"] == 'W/"1"', answer.headers)
            server.answer = lambda seen: None
    peer, server = peers[1], servers[1]
    with check("every method and body passes, and no redirect is followed"):
        body = bytes(range(256)) * 40
        for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
            server.answer = lambda seen: (302, [("Location", "http://elsewhere.example/x")], b"there")
            sent = body if method in ("POST", "PUT", "PATCH") else None
            answer = request(peer.port, method, "/register", {"Content-Type": "x/y"}, sent)
            seen = server.last(method)
            sure(seen.target == "/register" and seen.body == (sent or b""), method, str(seen)[:200])
            sure(answer.status == 302, method, answer)
            sure(answer.headers["location"] == "http://elsewhere.example/x", answer.headers)
            sure(answer.body == (b"" if method == "HEAD" else b"there"), method, answer)
    with check("the server's own refusals and empty answers pass"):
        for status, text in ((404, b"nope"), (500, b"\0\1"), (204, b"")):
            server.answer = lambda seen: (status, [], text)
            answer = request(peer.port, "GET", "/authorize")
            sure(answer.status == status and answer.body == text, answer)
    server.answer = lambda seen: None


def misrouted(peers, servers):
    """Session at the first, requests over the others."""
    session = Session(peers[0].port)
    for number, peer in enumerate(peers[1:], 2):
        def send(text, headers):
            return request(peer.port, "POST", "/mcp", {**BOTH, **session.headers(), **headers}, text)
        with check(f"over {peer.peer_name} the owner's server sees trace context, credentials and "
                   "unknown headers byte for byte"):
            mark = b"mark-%d" % number
            body = message("tools/call", number, name="t", mark=mark.decode()) + b" \n"
            extra = {"X-Custom": "a  b\tc", "Mcp-Param-Region": "=?base64?w7w=?="}
            answer = send(body, {**TRACE, **CREDENTIALS, **extra})
            seen = servers[0].last("POST", mark)
            sure(seen.body == body, seen)
            for name, value in {**TRACE, **CREDENTIALS, **extra}.items():
                sure(seen.value(name) == value, name, seen.values(name))
            sure(answer.status == 200 and answer.messages()[0]["id"] == number, answer)
            sure(not any(mark in one.body for server in servers[1:] for one in server.requests))
        with check(f"over {peer.peer_name} X-Forwarded-* are ours, and say who came to it"):
            mark = b"forwarded-%d" % number
            send(message("tools/call", 20 + number, mark=mark.decode()),
                 {**OUTSIDE, "Host": f"localhost:{peer.port}"})
            seen = servers[0].last("POST", mark)
            sure(seen.value("x-forwarded-for") == "127.0.0.1", seen)
            sure(seen.value("x-forwarded-host") == f"localhost:{peer.port}", seen)
            sure(seen.value("x-forwarded-proto") == "http", seen)
            sure(seen.value("host") == f"127.0.0.1:{servers[0].port}", seen)
            for name in ("x-forwarded-prefix", "forwarded", "x-mesh-owner"):
                sure(seen.value(name) is None, name, seen)
        with check(f"over {peer.peer_name} what speaks of one connection stays there"):
            mark = b"hop-%d" % number
            send(message("tools/call", 40 + number, mark=mark.decode()), HOP)
            seen = servers[0].last("POST", mark)
            for name in ("x-only-here", "keep-alive", "te", "upgrade", "proxy-authorization",
                         "proxy-connection", "transfer-encoding"):
                sure(seen.value(name) is None, name, seen)
            sure(seen.value("accept-encoding") == "identity", seen)
            sure(seen.value("mcp-session-id") in servers[0].sessions, seen)
        with check(f"over {peer.peer_name} a challenge of the server arrives as it is, and its hop's "
                   "own headers do not"):
            servers[0].answer = lambda seen: (401, [
                ("WWW-Authenticate", CHALLENGE), ("X-Request-Id", "4711"), ("Keep-Alive", "timeout=5"),
                ("Connection", "X-Mine"), ("X-Mine", "1"), ("Proxy-Authenticate", "Basic"),
                ("Set-Cookie", "s=1; Path=/, x"), ("Content-Type", "text/plain")], b"who are you?")
            answer = send(message("tools/call", 60 + number), CREDENTIALS)
            servers[0].answer = lambda seen: None
            sure(answer.status == 401 and answer.body == b"who are you?", answer)
            sure(answer.headers["www-authenticate"] == CHALLENGE, answer.headers)
            sure(answer.headers["x-request-id"] == "4711", answer.headers)
            sure(answer.headers["set-cookie"] == "s=1; Path=/, x", answer.headers)
            for name in ("keep-alive", "x-mine", "proxy-authenticate"):
                sure(name not in answer.headers, name, answer.headers)
    with check("a DELETE carries its credentials and trace, too"):
        request(peers[2].port, "DELETE", "/mcp", {**session.headers(), **TRACE, **CREDENTIALS})
        seen = servers[0].last("DELETE")
        for name, value in {**TRACE, **CREDENTIALS}.items():
            sure(seen.value(name) == value, name, seen.values(name))


# ---- what is stored, and for whom ------------------------------------------------------------------

def stolen_ids(peers, servers):
    refused = (401, [("WWW-Authenticate", CHALLENGE)], b"not you")
    servers[0].answer = lambda seen: refused if seen.value("authorization") == "Bearer stolen" else None
    session = Session(peers[0].port)
    theirs, = servers[0].sessions
    with check("a GET under a token that the server never accepted is asked about, and answered by the "
               "server's own challenge"):
        for peer in peers:
            with stream(peer.port, "/mcp", {**session.headers(), **TRACE,
                                            "Authorization": "Bearer stolen"}) as (status, headers):
                sure(status == 401 and headers["www-authenticate"] == CHALLENGE, status, headers)
            seen = servers[0].last("POST", b'"ping"')
            sure(seen.value("authorization") == "Bearer stolen", seen)
            sure(seen.value("mcp-session-id") == theirs, seen)
            sure(seen.value("content-type") == "application/json", seen)
            sure(seen.value("traceparent") == TRACE["traceparent"], seen)
    with check("under one that it accepts now the stream opens, and it is asked about once"):
        for peer in peers:
            with stream(peer.port, "/mcp", {**session.headers(),
                                            "Authorization": "Bearer fresh"}) as (status, headers):
                sure(status == 200, status, headers)
        asked = [seen for seen in servers[0].requests if b'"ping"' in seen.body and
                 seen.value("authorization") == "Bearer fresh"]
        sure(len(asked) == 1, len(asked))
    servers[0].answer = lambda seen: None
    session.end(peers[1].port)


def stolen_ids_of_an_old_server(peers, servers):
    refusal = (b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: " + CHALLENGE.encode() +
               b"\r\nContent-Length: 7\r\n\r\nnot you")

    def is_stolen(server, message):
        return any(b"Bearer stolen" in head for _, head, one in server.posts() if one == message)

    servers[0].on_post = lambda server, message: refusal if is_stolen(server, message) else TAKEN
    servers[0].on_message = lambda server, message: \
        None if is_stolen(server, message) else answer_all(server, message)
    session = Session(peers[0].port)
    with check("an old server's session is neither read nor ended under a token that it refuses"):
        lines = {**session.headers(), "Authorization": "Bearer stolen"}
        for peer in peers:
            with stream(peer.port, "/mcp", lines) as (status, headers):
                sure(status == 401 and headers["www-authenticate"] == CHALLENGE, status, headers)
            answer = request(peer.port, "DELETE", "/mcp", lines)
            sure(answer.status == 401 and answer.headers["www-authenticate"] == CHALLENGE, answer)
        sure(session.call(peers[2].port, "any") == "ok")
        sure(request(peers[1].port, "DELETE", "/mcp", {
            **session.headers(), "Authorization": "Bearer fresh"}).status == 200)


# ---- browsers -------------------------------------------------------------------------------------

ASKED = {"Origin": PAGE, "Access-Control-Request-Method": "POST",
         "Access-Control-Request-Headers": "content-type,mcp-session-id,authorization"}


def preflight(port, path):
    return request(port, "OPTIONS", path, ASKED)


def exposes(answer):
    return {one.strip().lower() for one in
            answer.headers.get("access-control-expose-headers", "").split(",")}


def pages_before_a_server(peers, servers):
    """What such a server says to pages is its own policy."""
    policy = [("Access-Control-Allow-Origin", PAGE), ("Access-Control-Max-Age", "7")]
    with check("http: a preflight of /mcp is the server's to answer"):
        servers[1].answer = lambda seen: (204, policy, b"") if seen.method == "OPTIONS" else None
        answer = preflight(peers[1].port, "/mcp")
        seen = servers[1].last("OPTIONS")
        for name, value in ASKED.items():
            sure(seen.value(name) == value, name, seen)
        sure(answer.status == 204 and answer.headers["access-control-max-age"] == "7", answer.headers)
    with check("http: its headers for pages come with its answers, over other peers as well"):
        servers[0].answer = lambda seen: (lambda status, lines, body: (status, lines + policy, body))(
            *servers[0].usual(seen))
        answer = request(peers[0].port, "POST", "/mcp", {**BOTH, "Origin": PAGE}, message(
            "initialize", 0, protocolVersion="2025-06-18", capabilities={},
            clientInfo={"name": "page", "version": "1"}))
        sure(answer.headers["access-control-allow-origin"] == PAGE, answer.headers)
        lines = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "Origin": PAGE}
        answer = request(peers[1].port, "POST", "/mcp", {**BOTH, **lines}, message("tools/list", 1))
        sure(answer.status == 200, answer)
        sure(answer.headers["access-control-allow-origin"] == PAGE, answer.headers)
        servers[0].answer = lambda seen: None
    with check("http: a stream that the mesh opens, and an error of its own, can be read by the page"):
        with stream(peers[2].port, "/mcp", lines) as (status, headers):
            sure(status == 200 and headers["access-control-allow-origin"] == PAGE, status, headers)
        answer = request(peers[2].port, "POST", "/mcp", {
            **BOTH, "Mcp-Session-Id": "B" * 42, "Origin": PAGE}, message("ping", 2))
        sure(answer.status == 404, answer)
        sure(answer.headers["access-control-allow-origin"] == PAGE, answer.headers)


class stream:
    """The head of a stream, which is closed then."""

    def __init__(self, port, path, headers):
        self.words = (port, path, headers)

    def __enter__(self):
        port, path, headers = self.words
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: text/event-stream",
                 *[f"{name}: {value}" for name, value in headers.items()]]
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        self.file = self.socket.makefile("rb")
        status = int(self.file.readline().split()[1])
        found = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            found[name.lower()] = value.strip()
        return status, found

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


def pages_before_the_mesh(kind, port):
    with check(f"{kind}: the mesh answers a preflight of /mcp itself"):
        answer = preflight(port, "/mcp")
        sure(answer.status == 204 and not answer.body, answer)
        sure(answer.headers["access-control-allow-origin"] == PAGE, answer.headers)
        allowed = {one.strip() for one in answer.headers["access-control-allow-methods"].split(",")}
        sure({"GET", "POST", "DELETE"} <= allowed, answer.headers)
        asked = {one.strip() for one in answer.headers["access-control-allow-headers"].split(",")}
        sure(asked == set(ASKED["Access-Control-Request-Headers"].split(",")), answer.headers)
    with check(f"{kind}: a page of an allowed origin can read answers and the session id"):
        answer = request(port, "POST", "/mcp", {**BOTH, "Origin": PAGE}, message(
            "initialize", 0, protocolVersion="2025-06-18", capabilities={},
            clientInfo={"name": "page", "version": "1"}))
        sure(answer.status == 200, answer)
        sure(answer.headers["access-control-allow-origin"] == PAGE, answer.headers)
        sure({"mcp-session-id", "www-authenticate"} <= exposes(answer), answer.headers)
        sure("origin" in answer.headers["vary"].lower(), answer.headers)


def pages_of_the_old_front(kind, port):
    with check(f"{kind}: a page may use /sse and /messages"):
        for path in ("/sse", "/messages?sessionId=" + "A" * 42):
            answer = preflight(port, path)
            sure(answer.status == 204, path, answer)
            sure(answer.headers["access-control-allow-origin"] == PAGE, path, answer.headers)
        with stream(port, "/sse", {"Origin": PAGE}) as (status, headers):
            sure(status == 200 and headers["access-control-allow-origin"] == PAGE, status, headers)


EVIL = "http://evil.example"


def foreign_pages(kind, port, came):
    with check(f"{kind}: a page of another origin gets 403 on every route, and nothing of it passes"):
        for method, path in (("OPTIONS", "/mcp"), ("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/sse"),
                             ("OPTIONS", "/messages"), ("GET", "/.well-known/x")):
            answer = request(port, method, path, {**BOTH, "Origin": EVIL},
                             message("ping", 1) if method == "POST" else None)
            sure(answer.status == 403, method, path, answer)
            sure("access-control-allow-origin" not in answer.headers, answer.headers)
        sure(not came(), came())


# ---- an old server --------------------------------------------------------------------------------

def lines_of(head):
    found = {}
    for line in head.decode().split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name:
            sure(name.lower() not in found, "twice:", line)
            found[name.lower()] = value.strip()
    return found


def before_an_old_server():
    servers = [OldServer() for _ in range(3)]
    peers = start_peers(cluster="pass-old", each=lambda i: {"log": f"old-p{i + 1}", "flags": [
        "--upstream", f"http://127.0.0.1:{servers[i].port}/sse", "--allow-origin", PAGE]})
    session = Session(peers[0].port)
    with check("an old server sees trace context and credentials of a misrouted request"):
        answer = request(peers[1].port, "POST", "/mcp", {
            **BOTH, **session.headers(), **TRACE, **CREDENTIALS, **OUTSIDE, **HOP},
            message("tools/call", 7, mark="old-mark"))
        sure(answer.status == 200 and answer.messages()[0]["id"] == 7, answer)
        lines = [lines_of(head) for _, head, body in servers[0].requests if b"old-mark" in body][0]
        for name, value in {**TRACE, **CREDENTIALS}.items():
            sure(lines.get(name.lower()) == value, name, lines)
        sure(lines["x-forwarded-for"] == "127.0.0.1", lines)
        sure(lines["x-forwarded-host"] == f"127.0.0.1:{peers[1].port}", lines)
        sure(lines["x-forwarded-proto"] == "http", lines)
        for name in ("x-forwarded-prefix", "forwarded", "x-mesh-owner", "x-only-here", "keep-alive",
                     "te", "upgrade", "proxy-authorization", "mcp-session-id"):
            sure(name not in lines, name, lines)
    with check("an old server's stream is opened with the credentials of who made the session"):
        answer = request(peers[2].port, "POST", "/mcp", {**BOTH, **TRACE, **CREDENTIALS}, message(
            "initialize", 0, protocolVersion="2025-06-18", capabilities={},
            clientInfo={"name": "a", "version": "1"}))
        sure(answer.status == 200, answer)
        lines = lines_of([head for _, head, _ in servers[2].requests
                          if head.startswith(b"GET /sse")][-1])
        sure(lines["authorization"] == CREDENTIALS["Authorization"], lines)
        sure("content-type" not in lines and "content-length" not in lines, lines)
    with check("other paths pass to an old server, too"):
        answer = request(peers[1].port, "GET", "/.well-known/x?y=1", CREDENTIALS)
        sure(answer.status == 200 and answer.body == b"mine", answer)
        sure(answer.headers["x-mine"] == "yes", answer.headers)
        sure(servers[1].requests[-1][1].startswith(b"GET /.well-known/x?y=1 HTTP/1.1\r\n"))
    stolen_ids_of_an_old_server(peers, servers)
    pages_before_the_mesh("old server", peers[1].port)
    pages_of_the_old_front("old server", peers[1].port)
    foreign_pages("old server", peers[1].port, lambda: [
        head for _, head, _ in servers[1].requests if EVIL.encode() in head])


def run():
    servers = [Recorder(f"server-{i + 1}") for i in range(3)]
    peers = start_peers(cluster="pass", each=lambda i: {"flags": [
        "--upstream", f"http://127.0.0.1:{servers[i].port}/mcp", "--allow-origin", PAGE]})
    other_paths(peers, servers)
    misrouted(peers, servers)
    stolen_ids(peers, servers)
    pages_before_a_server(peers, servers)
    pages_of_the_old_front("http", peers[0].port)
    foreign_pages("http", peers[1].port, lambda: [
        str(seen) for seen in servers[1].requests if seen.value("origin") == EVIL])
    before_an_old_server()

    peer, = start_peers(1, cluster="pass-stdio", log="stdio", flags=["--allow-origin", PAGE],
                        command=[Settings.program("tests/tools/stub"), "stdio"])
    pages_before_the_mesh("stdio", peer.port)
    pages_of_the_old_front("stdio", peer.port)
    foreign_pages("stdio", peer.port, lambda: [])
    with check("stdio: there are no other paths"):
        answer = request(peer.port, "GET", "/.well-known/oauth-protected-resource")
        sure(answer.status == 404, answer)
