"""Bytes cut where nobody expects it: requests, answers, events and lines arrive in random pieces, and
mean what they mean whole. What is refused whole is refused in pieces."""
import json
import socket
import sys
import threading
import time

from bad_child import CHILD
from bad_framing import FRAMING
from front import FRONTS, seeded, send_pieces
from harness import Session, check, start_peers, sure
from old_server import OldServer, answer_all
from raw import MARK, PING, Canary, chunked, post
from raw_server import EVENTS, RawServer

TRIES = 150
VALUE = {"content": [{"type": "text", "text": "é\u2028\U0001f600 \"\\ \n\ndata: x\r\r\n" + "y" * 300}]}


def read_answer(connection, seconds=5):
    connection.settimeout(seconds)
    got = b""
    try:
        while part := connection.recv(65536):
            got += part
    except OSError:
        pass
    return got


def requests_in_pieces(peers, session):
    lines = [f"{name}: {value}" for name, value in session.headers().items()] + ["Connection: close"]
    whole = {
        "with a length": lambda body: post(lines=lines, body=body),
        "in chunks": lambda body: chunked(lines=lines, chunks=b"".join(
            b"%x;a=b\r\n%s\r\n" % (len(body[i:i + 9]), body[i:i + 9])
            for i in range(0, len(body), 9)) + b"0\r\nX: y\r\n\r\n"),
        "with folded blanks around values": lambda body: post(lines=[
            one.replace(": ", ":\t  ") + " \t" for one in lines], body=body),
    }
    for what, make in whole.items():
        with check(f"{TRIES} requests {what}, in random pieces: each gets its own answer"):
            for n in range(TRIES):
                chance = seeded(what, n)
                text = make(b'{"jsonrpc":"2.0","id":"r%d","method":"tools/call","params":{"name":"echo",'
                            b'"arguments":{"message":"\xc3\xa9-%d."}}}' % (n, n))
                with socket.create_connection(("127.0.0.1", peers[n % 3].port), 5) as connection:
                    send_pieces(connection, text, chance, 6)
                    got = read_answer(connection)
                sure(got.startswith(b"HTTP/1.1 200 ") and got.count(b"HTTP/1.1 ") == 1 and
                     b'"r%d"' % n in got and b"\xc3\xa9-%d." % n in got, f"seed {n}:", got)
    with check("30 pipelined requests in random pieces are answered in order"):
        for n in range(30):
            chance = seeded("pipelined", n)
            plain = [one for one in lines if one != "Connection: close"]
            text = b"".join(post(lines=plain if i < 3 else lines, body=PING.replace(
                b":1,", b":%d," % (1000 + i))) for i in range(4))
            with socket.create_connection(("127.0.0.1", peers[n % 3].port), 5) as connection:
                send_pieces(connection, text, chance, 8)
                got = read_answer(connection)
            found = [got.find(b":%d," % (1000 + i)) for i in range(4)]
            sure(-1 not in found and found == sorted(found) and got.count(b"HTTP/1.1 200 ") == 4,
                 f"seed {n}:", got)


def refused_in_pieces(peers):
    rows = [row for row in FRAMING if len(row[2]("/mcp")) < 12000]
    with check(f"{len(rows)} rows of bad framing in random pieces: refused as they are whole"):
        def some(rows):
            for row, what, make, statuses in rows:
                chance = seeded(row, what)
                with socket.create_connection(("127.0.0.1", peers[0].port), 5) as connection:
                    try:
                        send_pieces(connection, make("/mcp"), chance, 5)
                    except OSError:
                        pass  # refused before all of it was sent
                    got = read_answer(connection)
                code = int(got[9:12]) if got[9:12].isdigit() else 0
                # an early answer may be lost to the reset that what follows it brings
                if not (code in statuses and got.count(b"HTTP/1.1 ") == 1) and got != b"":
                    wrong.append((row, what, got))
                if MARK.encode() in got:
                    wrong.append((row, what, "echoed"))
                answered.append(got != b"")
        wrong, answered = [], []
        threads = [threading.Thread(target=some, args=(rows[i::6],)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        sure(not wrong, len(wrong), wrong[:2])
        sure(sum(answered) > len(rows) * 9 // 10 and len(answered) == len(rows), sum(answered), len(rows))


def forms(number, chance):
    """An answer to a call, well formed in many ways."""
    plain = json.dumps({"jsonrpc": "2.0", "id": number, "result": VALUE}, ensure_ascii=False).encode()
    end = chance.choice((b"\n", b"\r\n", b"\r"))
    noted = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'
    events = b"".join(chance.choice((b"", b": hello\n", b"retry: 500\n\n", b"id: x\n")) + b"data: " + one +
                      b"\n\n" for one in [noted] * chance.randrange(3) + [plain]).replace(b"\n", end)
    if chance.random() < 0.2:
        events = b"\xef\xbb\xbf" + events
    kind = chance.randrange(4)
    if kind == 0:
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n" \
               b"Content-Length: %d\r\n\r\n%s" % (len(plain), plain)
    if kind == 1:
        return EVENTS + events
    body, json_type = (plain, b"application/json") if kind == 2 else (events, b"text/event-stream")
    size, chunks = chance.choice((1, 7, 50, 1000)), b""
    for i in range(0, len(body), size):
        chunks += b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size])
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n" \
           b"Transfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (json_type, chunks)


def answers_in_pieces(kind, peers, behave):
    for front, make in FRONTS.items():
        with check(f"{TRIES} answers of {kind} in random pieces, read at {front}: each is the answer, whole"):
            session = make(peers[0].port)
            for n in range(TRIES):
                behave(n)
                answer, message = session.ask(peers[n % 3].port, "tools/call", {
                    "name": "any", "arguments": {"seed": n, "value": VALUE}}, timeout=5)
                sure(message and message.get("result") == VALUE, f"seed {n}:", answer, message)
            if front == "/sse":
                sure(len([one for one in session.stream.messages() if one.get("result") == VALUE]) == TRIES,
                     "some came twice")
            session.end(peers[0].port)


def http():
    server = RawServer()
    peers = start_peers(cluster="splits-http", each=lambda i: {"log": f"http-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/mcp"])

    def behave(n):
        chance = seeded("http", n)
        server.on_call = lambda one: lambda connection: send_pieces(
            connection, forms(one.message["id"], chance), chance, 6)
    answers_in_pieces("a Streamable HTTP server", peers, behave)


def old():
    server, one_event = OldServer(), threading.Lock()
    peers = start_peers(cluster="splits-old", each=lambda i: {"log": f"old-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/sse"])

    def behave(n):
        def on_message(server, message):
            if message.get("method") != "tools/call":
                return answer_all(server, message)
            chance = seeded("old", n)
            end = chance.choice((b"\n", b"\r\n", b"\r"))
            text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": VALUE},
                              ensure_ascii=False).encode()
            text = (b"event: message\ndata: " + text + b"\n\n").replace(b"\n", end)
            cuts = sorted(chance.randrange(len(text)) for _ in range(5))
            with one_event:  # a client may have its answer before the last byte of its event
                for a, b in zip([0, *cuts], [*cuts, len(text)]):
                    server.out.put(text[a:b])
                    time.sleep(0.001)
            return None
        server.on_message = on_message
    answers_in_pieces("an HTTP+SSE server", peers, behave)


def stdio():
    peers = start_peers(cluster="splits-stdio", command=[sys.executable, "-S", CHILD, "pieces"],
                        each=lambda i: {"log": f"stdio-p{i + 1}"})
    answers_in_pieces("a stdio server", peers, lambda n: None)


def front():
    peers = start_peers(cluster="splits", each=lambda i: {"log": f"front-p{i + 1}"})
    canary = Canary(peers)
    requests_in_pieces(peers, Session(peers[0].port))
    refused_in_pieces(peers)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 20 and not errors, canary.count, errors[:3])


def run():
    works = [threading.Thread(target=work) for work in (http, old, stdio, front)]
    for work in works:
        work.start()
    for work in works:
        work.join(90)
