"""Rows H of bad input: HTTP that is no HTTP, on every route, over raw sockets; meanwhile a session
works through the same peers and must not notice. The rows that take time are in bad_slow.py."""
from harness import Session, check, note, start_peers, sure
from raw import (MARK, PATHS, PING, REPLY_MAX_BYTES, SMUGGLED, Canary, Recorder, chunked, exchange,
                 head, post)

REFUSED = {400}
MIB = 1 << 20
CHUNK = b"%x\r\n%s\r\n" % (len(PING), PING)
LAST = b"0\r\n\r\n"


def with_lines(*lines, body=PING + SMUGGLED, **more):
    """A request whose header lines are these, with a body and another request behind it."""
    return lambda path: head(path, lines, **more) + body


def with_length(value, body=PING + SMUGGLED):
    return with_lines(f"Content-Length: {value}", body=body)


def with_coding(*values):
    return with_lines(*[f"Transfer-Encoding: {value}" for value in values],
                      body=CHUNK + LAST + SMUGGLED)


def with_chunks(chunks):
    return lambda path: chunked(path, chunks + SMUGGLED)


def bytes_for(text):
    return lambda path: text.replace(b"PATH", path.encode())


LENGTH = f"Content-Length: {len(PING)}"

# Refused on every route, and the connection closed: (row, what, request of a path, statuses).
FRAMING = [
    ("H1", "both lengths", with_lines(LENGTH, "Transfer-Encoding: chunked", body=LAST + SMUGGLED),
     REFUSED),
    ("H2", "two different lengths", with_lines(LENGTH, "Content-Length: 3"), REFUSED),
    ("H3", "two equal lengths", with_lines(LENGTH, LENGTH), REFUSED),
    *[("H4", f"length {value!r}", with_length(value), REFUSED)
      for value in ("3,3", "+3", "-1", "0x3", " 3 3", "", "1_0", "3;", "3.0", "0" * 20 + "3 3")],
    *[("H5", f"length {value}", with_length(value), {400, 413})
      for value in (2**63, 2**64, 2**64 + 3)],
    ("H6", "a body over the cap", with_length(4 * MIB + 1), {413}),
    ("H7", "a space before the colon", with_lines(f"Content-Length : {len(PING)}"), REFUSED),
    ("H7", "a tab before the colon", with_lines(f"Content-Length\t: {len(PING)}"), REFUSED),
    *[("H8", f"coding {value!r}", with_coding(value), {400, 501})
      for value in ("xchunked", "gzip", "gzip, chunked", "chunked, identity", ",chunked",
                    "chunked;a=b", '"chunked"', "identity", "")],
    ("H9", "coding twice", with_coding("chunked", "chunked"), {400, 501}),
    *[("H9", f"coding {value!r}", with_coding(value), {400, 501})
      for value in ("\x0bchunked", "chunked\x0c", "chunked\x00", "chunked,")],
    ("H10", "chunked on HTTP/1.0",
     with_lines("Transfer-Encoding: chunked", body=CHUNK + LAST, version="HTTP/1.0"), {400, 501}),
    *[("H12", f"chunk size {size!r}", with_chunks(size + b"\r\nabc\r\n" + LAST), REFUSED)
      for size in (b"0x3", b"+3", b"-3", b"3 ", b" 3", b"", b"00000000000000003", b"g",
                   b"fffffffffffffffff")],
    ("H13", "an extension that ends in LF", with_chunks(b"3;a\nabc\r\n" + LAST), REFUSED),
    ("H13", "an extension with CR", with_chunks(b"3;a\rb\r\nabc\r\n" + LAST), REFUSED),
    ("H13", "a quoted extension with CR", with_chunks(b'3;a="\r"\r\nabc\r\n' + LAST), REFUSED),
    ("H14", "a chunk line that ends in LF", with_chunks(b"3\nabc\r\n" + LAST), REFUSED),
    ("H14", "a trailer that ends in LF", with_chunks(CHUNK + b"0\r\nX: y\n\r\n"), REFUSED),
    ("H15", "chunk data without CRLF", with_chunks(b"3\r\nabcX" + LAST), REFUSED),
    ("H15", "a byte too many", with_chunks(b"3\r\nabcd\r\n" + LAST), REFUSED),
    ("H16", "one byte a chunk, 4 KiB of extension each",
     with_chunks((b"1;" + b"a" * 4000 + b"\r\n{\r\n") * 40), REFUSED),
    ("H18", "a folded header", with_lines("X-A: b", " Content-Length: 3", LENGTH), REFUSED),
    ("H18", "a first line that is folded", with_lines(" X-A: b", LENGTH), REFUSED),
    ("H19", "bare line feeds", bytes_for(b"POST PATH HTTP/1.1\nHost: localhost\n\n"), REFUSED),
    ("H19", "CR in a name", with_lines("X\rY: z"), REFUSED),
    ("H19", "CR in a value", with_lines("X-A: b\rc"), REFUSED),
    ("H19", "CR CR LF", bytes_for(b"POST PATH HTTP/1.1\r\nHost: localhost\r\r\n\r\n"), REFUSED),
    ("H19", "a head that ends in CR LF CR X",
     bytes_for(b"POST PATH HTTP/1.1\r\nHost: localhost\r\n\rX"), REFUSED),
    ("H20", "NUL in the method", with_lines(LENGTH, method="PO\0ST"), {400, 405, 501}),
    ("H20", "NUL in the target", lambda path: post(path, target=path + "\0"), REFUSED),
    ("H20", "NUL in a name", with_lines("X\0Y: z"), REFUSED),
    ("H20", "NUL in a value", with_lines("X-A: b\0c"), REFUSED),
    ("H20", "%00 in the path", lambda path: post(path, target=path + "%00"), REFUSED),
    ("H21", "an empty name", with_lines(": z"), REFUSED),
    ("H21", "no colon", with_lines("nonsense"), REFUSED),
    *[("H21", f"{name!r} as a name", with_lines(f"{name}: z"), REFUSED)
      for name in ("X Y", "X(", "X\x80", "X\xff")],
    *[("H22", f"{value!r} in a value", with_lines(f"X-A: b{value}c"), REFUSED)
      for value in ("\x01", "\x08", "\x1f", "\x7f")],
    ("H23", "no Host", lambda path: post(path, host=None), REFUSED),
    ("H23", "two Hosts", lambda path: post(path, ["Host: localhost"]), REFUSED),
    *[("H23", f"Host {host[:24]!r}", lambda path, host=host: post(path, host=host), REFUSED)
      for host in ("localhost, b", "a@localhost", "localhost/a", "localhost#a", "localhost:99999",
                   "a" * 300, "")],
    ("H27", "a header line over 8 KiB", with_lines("X-A: " + "b" * 8193), {431}),
    ("H27", "101 headers", with_lines(*[f"X-{i}: a" for i in range(101)]), {431}),
    ("H27", "a head over 32 KiB", with_lines(*[f"X-{i}: " + "a" * 4000 for i in range(9)]), {431}),
    ("H27", "a target over 8 KiB", lambda path: post(path, target=path + "?" + "a" * 8192), {414}),
    *[("H28", f"method {method[:8]}", with_lines(LENGTH, method=method), {400, 405, 501})
      for method in ("GETT", "get", "A" * 300, "PRI")],
    ("H28", "the preface of HTTP/2",
     bytes_for(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), {400, 505}),
    *[("H29", version, lambda path, version=version: post(path, version=version), {400, 505})
      for version in ("HTTP/0.9", "HTTP/1.9", "HTTP/2.0", "HTTP/1.10", "HTTP/11.1", "HTTQ/1.1")],
    ("H30", "100-continue for a body over the cap",
     with_lines("Expect: 100-continue", f"Content-Length: {5 * MIB}", body=b""), {413, 417}),
    ("H40", "a TLS hello", bytes_for(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64),
     REFUSED),
    ("H40", "an SSH banner", bytes_for(b"SSH-2.0-OpenSSH_9.2\r\n"), REFUSED),
    ("H40", "UTF-16", bytes_for("POST / HTTP/1.1\r\n".encode("utf-16")), REFUSED),
    ("H40", "64 KiB of line ends", bytes_for(b"\r\n" * 32768), REFUSED),
]

# Well framed but refused by the gate; another path may as well say that it has no such method.
GATED = [
    ("H24", "a Host of another site", lambda path: post(path, host="evil.example"), {403}),
    ("H25", "an absolute target of another authority",
     lambda path: post(path, target=f"http://evil.example{path}"), {400, 403}),
    ("H28", "TRACE", lambda path: head(path, method="TRACE"), {400, 405, 501}),
    ("H28", "CONNECT", lambda path: head(method="CONNECT", target="localhost:80"), {400, 405, 501}),
    ("H31", "an expectation nobody knows", lambda path: post(path, ["Expect: y"]), {417}),
    *[("H32", f"{method} with a body", lambda path, method=method: post(path, method=method),
       {400}) for method in ("GET", "DELETE", "OPTIONS")],
    ("H42", "close and keep-alive", lambda path: post(path, ["Connection: close, keep-alive"]),
     {400}),
    ("H42", "a protected header as hop-by-hop",
     lambda path: post(path, ["Connection: mcp-session-id"]), {400}),
    ("H44", "a compressed body", lambda path: post(path, ["Content-Encoding: gzip"]), {415}),
    *[("H45", f"two {name}", lambda path, name=name: post(path, [f"{name}: a", f"{name}: b"]),
       {400}) for name in ("Mcp-Session-Id", "Authorization", "MCP-Protocol-Version",
                           "Last-Event-ID", "Origin")],
    ("H45", "two Content-Type", lambda path: post(path, ["Content-Type: application/json"]), {400}),
    *[("A13", f"Origin {origin}", lambda path, origin=origin: post(path, [f"Origin: {origin}"]),
       {403}) for origin in ("null", "https://evil.example", "http://localhost.evil.example",
                             "http://[::2]")],
    ("A20", "a token in the query",
     lambda path: post(path, target=f"{path}?access_token={MARK}"), {400}),
]

# Of a POST to /sse the head is refused: what is wrong in its body is never looked at.
OF_BODIES = {"H12", "H13", "H14", "H15", "H16"}
NO_PATHS = ("/mcp/../admin", "//mcp", "/mcp%2f..", "/MCP", "\\mcp", "/mcp;x", "/mcp/%c0%ae")


def refuse(peers, recorder, rows, closes, softer=()):
    for row, what, make, statuses in rows:
        with check(f"{row}: {what}"):
            before = len([one for one in recorder.requests if MARK in repr(one)])
            for i, path in enumerate(PATHS):
                reply = exchange(peers[i % len(peers)].port, make(path))
                allowed = statuses if path == "/mcp" else statuses | set(softer)
                if path == "/sse" and row in OF_BODIES:
                    allowed = {405}
                sure(reply.status in allowed, path, reply)
                sure(reply.closed or not closes, path, "not closed:", reply)
                sure(reply.count == 1, path, "more than one answer:", reply)
                sure(len(reply.data) <= REPLY_MAX_BYTES, path, len(reply.data), "B")
                sure(MARK.encode() not in reply.data, path, "echoed:", reply)
            after = len([one for one in recorder.requests if MARK in repr(one)])
            sure(after == before, "the upstream got the request that was smuggled")


def tolerated(peers, recorder):
    port = peers[0].port
    session = Session(port)
    lines = [f"{name}: {value}" for name, value in session.headers().items()]

    def upstream_saw(mark):
        return [one for one in recorder.requests if mark in repr(one[2:])]

    with check("H11: Transfer_Encoding and Content_Length frame nothing and are not forwarded"):
        reply = exchange(port, post("/mcp", [*lines, "Transfer_Encoding: chunked",
                                             "Content_Length: 3", "X-Seen: h11-4711"]))
        sure(reply.status == 200, reply)
        seen = upstream_saw("h11-4711")
        sure(len(seen) == 1, seen)
        sure(not any("_" in name for name, _ in seen[0][2]), seen)
    with check("H17: trailers have no effect"):
        body = CHUNK + (b"0\r\nContent-Length: 3\r\nHost: evil.example\r\n"
                        b"Mcp-Session-Id: h17-4711\r\nAuthorization: h17-4711\r\n\r\n")
        reply = exchange(port, chunked("/mcp", body, lines))
        sure(reply.status == 200 and reply.count == 1, reply)
        sure(not upstream_saw("h17-4711"), "forwarded")
    with check("H26: a path that only looks like /mcp is 404 and goes nowhere"):
        for path in NO_PATHS:
            before = [one for one in recorder.requests if one[1] != "/mcp"]
            reply = exchange(port, post(target=path), 0.5)
            # A backslash is no part of any target: refused before there is a path.
            sure(reply.status == 404 or (path[0] == "\\" and reply.status == 400), path, reply)
            sure([one for one in recorder.requests if one[1] != "/mcp"] == before, path, "forwarded")
    with check("H33: pipelined requests are answered in order, or the connection is closed"):
        bodies = [PING.replace(b":1,", b":%d," % (i + 1001)) for i in range(3)]
        reply = exchange(port, b"".join(post("/mcp", lines, body) for body in bodies), 1, answers=3)
        found = [reply.data.find(b" %d," % (i + 1001)) for i in range(reply.count)]
        sure(reply.count >= 1 and -1 not in found and found == sorted(found), reply)
    with check("H39: a client that closed its half gets its answer"):
        reply = exchange(port, post("/mcp", lines), half_close=True)
        sure(reply.status == 200 and PING[:8] not in reply.data[:4], reply)
    with check("H40: two line ends in front of a request are passed over"):
        reply = exchange(port, b"\r\n\r\n" + post("/mcp", lines))
        sure(reply.status == 200, reply)
    with check("H43: an Upgrade is not followed"):
        for what in ("h2c", "websocket"):
            reply = exchange(port, post("/mcp", [*lines, "Connection: Upgrade", f"Upgrade: {what}"]))
            sure(reply.status == 200 and reply.data.startswith(b"HTTP/1.1 200"), reply)
    with check("H46: forwarding headers of a client are stripped"):
        names = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded",
                 "mcp-init-host", "router-key", "X-Mesh-Owner")
        reply = exchange(port, post("/mcp", [*lines, *[f"{name}: h46-4711" for name in names]]))
        sure(reply.status == 200, reply)
        sure(not upstream_saw("h46-4711"), upstream_saw("h46-4711"))
    with check("A22: an Authorization header reaches the upstream, and no log or metric"):
        reply = exchange(port, post("/mcp", [*lines, "Authorization: Bearer opaque-4711"]))
        sure(reply.status == 200 and upstream_saw("opaque-4711"), reply)
        for peer in peers:
            sure("opaque-4711" not in peer.text(), peer.name)


def run():
    recorder = Recorder()
    peers = start_peers(flags=["--upstream", f"http://127.0.0.1:{recorder.port}/mcp"])
    canary = Canary(peers)
    refuse(peers, recorder, FRAMING, closes=True)
    refuse(peers, recorder, GATED, closes=False, softer={404, 405})
    tolerated(peers, recorder)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        note(f"{canary.count} requests of the canary")
        sure(canary.count > 50 and not errors, canary.count, errors[:3])
    with check("the refusals were counted, with few lines of log"):
        refused = {name: value for name, value in peers[0].metrics().items()
                   if name.startswith("mesh_client_requests_refused_total") and value}
        sure(len(refused) >= 6, refused)
        for peer in peers:
            sure(peer.text().count("\n") < 60, peer.name, peer.text()[-600:])
    with check("no peer died"):
        sure(all(peer.process.poll() is None for peer in peers))
