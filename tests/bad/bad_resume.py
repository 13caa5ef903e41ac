"""Streams that are read twice, resumed from where nobody was, or all at once: rows A7, A8, A19, S9 and
S10. The events are those of a server of raw bytes, or of the built-in one."""
import selectors
import socket
import threading
import time

from front import resume
from harness import NOT_FOUND, Peer, Session, check, note, request, start_peers, sure, wait_until
from raw import Canary, exchange, head
from raw_server import RawServer, event, notification, status

MISSED = "events of this stream were missed"
STORM, STORM_SECONDS = 10000, 2.5


def start(name, **behaviour):
    server = RawServer()
    server.behave(**behaviour)
    peers = start_peers(cluster=name, each=lambda i: {"log": f"{name}-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/mcp"])
    return server, peers


def begin(server, port):
    session = Session(port)
    session.up = server.latest()  # the other side's name for it
    return session


def push(server, session, *numbers):
    for number in numbers:
        server.push(session.up, event(notification(f"event {number}")))


def numbers(stream):
    return [int(text.split()[1]) for text in stream.data() if text.startswith("event ")]


def are_missed(stream):
    return sum(MISSED in text for text in stream.data())


def listen(peers, session, server, at=1):
    """A GET stream whose upstream's is there, too."""
    stream = resume(peers[at].port, session, None)
    sure(stream.status == 200, stream.status)
    wait_until(5, lambda: server.streams.get(session.up), "the upstream's stream")
    return stream


# ---- A7 -----------------------------------------------------------------------------------------

def take_places(server, peers, shows):
    session, count = begin(server, peers[0].port), 250
    streams = [listen(peers, session, server)]

    def speak():
        for number in range(1, count + 1):
            push(server, session, number)
            time.sleep(0.005)
    speaker = threading.Thread(target=speak)
    speaker.start()
    while len(streams) < 40:
        before = streams[-1]
        streams.append(resume(peers[len(streams) % 3].port, session,
                              before.last_id() if shows else None))
        sure(streams[-1].status == 200, streams[-1].status)
        wait_until(3, lambda: before.ended, "it ends")
    speaker.join()

    def got():
        return sorted(number for stream in streams for number in numbers(stream))
    wait_until(5, lambda: set(got()) == set(range(1, count + 1)), "all events")
    sure(not any(are_missed(stream) for stream in streams), "said to be missed")
    sure(not streams[-1].ended and all(one.ended for one in streams[:-1]), "one stays")
    for stream in streams:
        sure(numbers(stream) == sorted(set(numbers(stream))), numbers(stream))
    # what an older stream still brought after the id that was shown, or that was not yet taken
    note(f"{len(got()) - count} of {count} events came on two streams")
    wait_until(2, lambda: len(server.streams[session.up]) == 1, "one upstream stream")
    session.end(peers[0].port)


def second_gets(server, peers):
    with check("A7: a second GET is 200 at once; the first one ends with a comment, cleanly; the "
               "upstream is never asked for two"):
        session = begin(server, peers[0].port)
        first = listen(peers, session, server)
        begun = time.monotonic()
        second = resume(peers[2].port, session, None)
        sure(second.status == 200 and time.monotonic() - begun < 0.5, second.status)
        wait_until(3, lambda: first.ended, "the first one's end")
        sure(first.raw.rstrip().split(b"\n")[-1].startswith(b":"), first.raw)
        sure(first.answer.isclosed(), "cut")
        wait_until(2, lambda: len(server.streams[session.up]) == 1, "one upstream stream")
        push(server, session, 1)
        wait_until(3, lambda: numbers(second) == [1], "the event")
        sure(numbers(first) == [], first.raw)
        session.end(peers[0].port)
    for shows in (True, False):
        with check("A7: 40 GETs that take each other's place on all peers, "
                   f"{'from their last event' if shows else 'showing none'}: no event is lost"):
            take_places(server, peers, shows)
    with check("A7: 12 GETs at once on three peers: each is 200, one stays, and it gets what follows"):
        session = begin(server, peers[1].port)
        streams = []
        threads = [threading.Thread(target=lambda i=i: streams.append(
            resume(peers[i % 3].port, session, None))) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        sure(len(streams) == 12 and {one.status for one in streams} <= {200, 405},
             [one.status for one in streams])
        wait_until(5, lambda: sum(not one.ended for one in streams) == 1, "one stays")
        push(server, session, 7)
        (last,) = [one for one in streams if not one.ended]
        wait_until(3, lambda: numbers(last) == [7], "its event")
        session.end(peers[0].port)


# ---- A8 -----------------------------------------------------------------------------------------

def deletes(server, peers):
    with check("A8: 12 DELETEs at once and 24 calls beside them: each has one definite answer, the "
               "session is gone for good"):
        session = begin(server, peers[0].port)
        stream = listen(peers, session, server)
        gone, answers = [], []

        def delete(i):
            gone.append(session.end(peers[i % 3].port))

        def call(i):
            answers.append(session.send(peers[i % 3].port, {
                "jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {"name": "a"}}))
        threads = [threading.Thread(target=call, args=(i,)) for i in range(24)]
        threads[8:8] = [threading.Thread(target=delete, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
        sure(len(gone) == 12 and len(answers) == 24, len(gone), len(answers))
        sure({one.status for one in gone} <= {200, 204, 404} and
             any(one.status != 404 for one in gone), [one.status for one in gone])
        for answer in answers:
            sure(answer.body == NOT_FOUND or (answer.status == 200 and
                 len(answer.messages()) == 1), answer)
        wait_until(5, lambda: stream.ended, "the stream's end")
        for peer in peers:
            for event_id in (None, stream.last_id() or "0-1-1", "0-1-9-e"):
                late = resume(peer.port, session, event_id)
                sure(late.status == 404, event_id, late.status)
            sure(session.end(peer.port).body == NOT_FOUND, peer.name)
            sure(session.ask(peer.port, "ping")[0].body == NOT_FOUND, peer.name)
    with check("A8: an upstream's 405 to DELETE stays 405, and the session and its stream stay"):
        server.behave(on_delete=lambda _: status(b"405 Method Not Allowed", b"Allow: GET, POST\r\n"))
        session = begin(server, peers[1].port)
        stream = listen(peers, session, server, 0)
        for peer in peers:
            sure(session.end(peer.port).status == 405)
        sure(session.call(peers[2].port, "a") == "ok" and not stream.ended)
        server.behave()
        sure(session.end(peers[2].port).status == 200)


# ---- A19, S10 -----------------------------------------------------------------------------------

def strange_positions(server, peers):
    mine, other = begin(server, peers[0].port), begin(server, peers[0].port)
    theirs = listen(peers, other, server)
    push(server, other, 99)
    wait_until(3, lambda: numbers(theirs) == [99], "the other's event")
    stream = listen(peers, mine, server)
    push(server, mine, 1, 2, 3)
    wait_until(3, lambda: numbers(stream) == [1, 2, 3], "three events")
    ids = [one.id for one in stream.events() if one.data]
    with check("A19: a Last-Event-ID that is one of ours gives what follows it, at every peer"):
        for i, peer in enumerate(peers):
            found = resume(peer.port, mine, ids[i])
            sure(found.status == 200)
            wait_until(3, lambda: numbers(found) == [1, 2, 3][i + 1:], "what follows")
            sure(are_missed(found) == 0, found.raw)
            sure([one.id for one in found.events() if one.data] == ids[i + 1:], found.events())
    stranger = {
        "future": "0-1-4", "far future": "0-1-18446744073709551615", "another epoch": "0-2-1",
        "a past epoch": "0-0-1", "negative": "-1", "negative inside": "0-1--1", "malformed": "nonsense",
        "empty": "", "a blank": "0-1-1 x", "too large": "0-1-18446744073709551616",
        "a zero in front": "00-1-1", "hex": "0x0-1-1", "a plus": "+0-1-1", "of half": "0-1",
        "another end mark": "0-1-1-f", "8 KiB": "9" * 7000, "another session's text": other.id}
    with check(f"A19: {len(stranger)} ids that name no event of ours: 200, nobody else's events, and "
               "the loss is said where something may be lost"):
        for i, (what, shown) in enumerate(stranger.items()):
            found = resume(peers[i % 3].port, mine, shown)
            sure(found.status == 200, what, found.status)
            push(server, mine, 4 + i)
            wait_until(3, lambda: (4 + i) in numbers(found), f"{what}: goes on live")
            sure(99 not in numbers(found), what, found.raw)
            sure(numbers(found) == sorted(set(numbers(found))), what, numbers(found))
            sure(are_missed(found) == (what != "empty"), what, found.raw)
            found.close()
    with check("A19: an id of another stream of the session: 200, none of this one's events, the loss "
               "under an end mark, and its end"):
        for shown in ("1-1-1", "4294967295-1-1", "7-9-3"):
            found = resume(peers[1].port, mine, shown)
            sure(found.status == 200, shown)
            wait_until(3, lambda: found.ended, "its end")
            sure(numbers(found) == [] and are_missed(found) == 1, shown, found.raw)
            sure((found.last_id() or "").endswith("-e"), shown, found.raw)
    with check("A19: an end mark is 405 without a word, counted, and disturbs nothing"):
        counted = sum(peer.metrics()['mesh_client_exchanges_total{end="stream_over"}'] for peer in peers)
        held = resume(peers[2].port, mine, None)
        for shown in ("1-1-9-e", "0-1-1-e", "8-7-1-e"):
            for peer in peers:
                found = resume(peer.port, mine, shown)
                sure(found.status == 405, shown, found.status)
        sure(not held.ended, "the held stream was disturbed")
        counted = sum(peer.metrics()['mesh_client_exchanges_total{end="stream_over"}']
                      for peer in peers) - counted
        sure(counted == 9, counted)
    with check("A19: 1 MB of it is 431, one with a line end or NUL 400, twice 400"):
        lines = [f"{name}: {value}" for name, value in mine.headers().items()]
        lines.append("Accept: text/event-stream")
        for shown, wanted in (("9" * (1 << 20), 431), ("0-1-1\n0-1-2", 400), ("0-1-1\r", 400),
                              ("0-1-1\0", 400), ("0-1-1\r\nLast-Event-ID: 0-1-2", 400)):
            reply = exchange(peers[0].port, head(
                method="GET", lines=[*lines, f"Last-Event-ID: {shown}"]))
            sure(reply.status == wanted and reply.count == 1, shown[:20], reply)
    with check("A19: an event id is no key: with a foreign session id it is 404, at every peer"):
        for peer in peers:
            answer = request(peer.port, "GET", "/mcp", {
                "Accept": "text/event-stream", "Mcp-Session-Id": "A" * 42, "Last-Event-ID": ids[0]})
            sure(answer.body == NOT_FOUND, answer)
    mine.end(peers[0].port)
    other.end(peers[0].port)


def gone_from_the_log(server, peers):
    with check("S10: after 1,500 events without a reader a resume gets the newest 1,000, in order, "
               "and the loss is said once; then it is live"):
        session = begin(server, peers[0].port)
        stream = listen(peers, session, server)
        push(server, session, 1)
        wait_until(3, lambda: numbers(stream) == [1], "the first event")
        stream.close()
        time.sleep(0.2)
        server.push(session.up, b"".join(event(notification(f"event {number}")) for number in range(2, 1502)))
        time.sleep(1)
        found = resume(peers[2].port, session, stream.last_id())
        wait_until(5, lambda: numbers(found)[-1:] == [1501], "the newest")
        got = numbers(found)
        sure(got == list(range(got[0], 1502)) and 900 < len(got) <= 1000, got[:3], len(got))
        sure(are_missed(found) == 1 and MISSED in found.data()[0], found.data()[:2])
        push(server, session, 1502)
        wait_until(3, lambda: numbers(found)[-1] == 1502, "live")
        session.end(peers[0].port)
    with check("S10: a log of 256 KiB: large events push the older out, what is left comes in order"):
        session = begin(server, peers[1].port)
        stream = listen(peers, session, server)
        push(server, session, 1)
        wait_until(3, lambda: numbers(stream) == [1], "the first event")
        stream.close()
        time.sleep(0.2)
        for number in range(2, 42):
            server.push(session.up, event(notification(f"event {number} {'x' * 20000}")))
        time.sleep(1)
        found = resume(peers[0].port, session, stream.last_id())
        wait_until(5, lambda: numbers(found)[-1:] == [41], "the newest")
        got = numbers(found)
        sure(got == list(range(got[0], 42)) and 8 < len(got) < 20, got)
        sure(are_missed(found) == 1, found.data()[0][:80])
        session.end(peers[0].port)
    with check("S10: of a session that is over a resume is 404, whatever it shows"):
        for peer in peers:
            late = resume(peer.port, session, stream.last_id())
            sure(late.status == 404, late.status)


# ---- S9 -----------------------------------------------------------------------------------------

class Swarm:
    """Many GETs at once, without a thread for each: when each was answered, and how."""

    def __init__(self, requests):
        """requests: (port, bytes)."""
        self.selector = selectors.DefaultSelector()
        self.got, self.since, self.seconds = {}, {}, {}
        begun = time.monotonic()
        for i, (port, text) in enumerate(requests):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            self.got[i], self.since[i] = b"", time.monotonic()
            self.selector.register(connection, selectors.EVENT_WRITE, (i, text))
            if i % 100 == 99:
                self.turn(0)
        self.begun_s = time.monotonic() - begun

    def turn(self, timeout):
        for key, mask in self.selector.select(timeout):
            i, text = key.data
            if mask & selectors.EVENT_WRITE:
                key.fileobj.send(text)
                self.selector.modify(key.fileobj, selectors.EVENT_READ, (i, text))
                continue
            try:
                part = key.fileobj.recv(65536)
            except OSError:
                part = b""
            if not part:
                self.selector.unregister(key.fileobj)
                key.fileobj.close()
            self.got[i] += part
            if b"\r\n\r\n" in self.got[i]:
                self.seconds.setdefault(i, time.monotonic() - self.since[i])

    def wait(self, seconds, question):
        end = time.monotonic() + seconds
        while not question() and time.monotonic() < end:
            self.turn(0.05)

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def statuses(self):
        found = {}
        for text in self.got.values():
            status_text = text[9:12].decode() or "none"
            found[status_text] = found.get(status_text, 0) + 1
        return found


def make_sessions(ports, count):
    """Ids of sessions of the built-in server, made by some connections that stay."""
    body = (b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
            b'"capabilities":{},"clientInfo":{"name":"storm","version":"1"}}}')
    text = (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: "
            b"application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    ids = []
    for n, port in enumerate(ports):
        wanted = count // len(ports) + (n < count % len(ports))
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            lines = connection.makefile("rb")
            for _ in range(wanted):
                connection.sendall(text)
                length = 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"mcp-session-id":
                        ids.append(value.strip().decode())
                    if name.lower() == b"content-length":
                        length = int(value)
                lines.read(length)
    return ids


def storm():
    peers = start_peers(cluster="storm", each=lambda i: {"log": f"storm-p{i + 1}"}, flags=[
        "--max-connections", "12000", "--max-connections-per-address", "12000"])
    ports = [peer.port for peer in peers]
    ids = make_sessions(ports, STORM)
    sure(len(set(ids)) == STORM, len(set(ids)))
    before = {peer: peer.metrics() for peer in peers}
    canary = Canary(peers)
    shown = ("0-1-0", "0-1-1", "nonsense", "1-1-1")  # of its own stream, of the future, of none
    swarm = Swarm([(ports[(i + i // 3) % 3], head(method="GET", lines=[
        "Accept: text/event-stream", "MCP-Protocol-Version: 2025-11-25", f"Mcp-Session-Id: {identity}",
        f"Last-Event-ID: {shown[i % 20 if i % 20 < 4 else 0]}"])) for i, identity in enumerate(ids)])
    swarm.wait(20, lambda: len(swarm.seconds) == STORM)
    seconds = sorted(swarm.seconds.values())
    with check(f"S9: {STORM} clients come back at once with a Last-Event-ID, two of three to a peer "
               "that is not the owner: each is 200"):
        sure(swarm.statuses() == {"200": STORM}, swarm.statuses())
        note(f"asked within {swarm.begun_s:.1f} s; answered after {seconds[STORM // 2] * 1000:.0f} ms "
             f"(median), {seconds[STORM * 99 // 100] * 1000:.0f} ms (p99), {seconds[-1] * 1000:.0f} ms "
             "(last)")
        sure(seconds[-1] < STORM_SECONDS * 2, seconds[-1])
    with check("S9: who showed an id of no event of its stream is told so, nobody else"):
        def told():
            return [i for i in range(STORM) if MISSED.encode() in swarm.got[i]]
        wanted = [i for i in range(STORM) if i % 20 in (1, 2, 3)]
        swarm.wait(10, lambda: len(told()) >= len(wanted))
        sure(told() == wanted, len(told()), len(wanted))
    with check("S9: an event for some of them arrives, on the right stream alone"):
        some = list(range(0, STORM, 500))
        for i in some:
            answer = request(ports[i % 3], "POST", "/mcp", {
                "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                "Mcp-Session-Id": ids[i], "MCP-Protocol-Version": "2025-11-25"},
                b'{"jsonrpc":"2.0","id":1,"method":"resources/subscribe",'
                b'"params":{"uri":"mesh://members"}}')
            sure(answer.status == 200, answer)
        Peer("p4", joins=peers, cluster="storm", log="storm-p4")

        def updated():
            return [i for i in range(STORM) if b"notifications/resources/updated" in swarm.got[i]]
        swarm.wait(10, lambda: len(updated()) >= len(some))
        swarm.wait(0.3, lambda: False)
        sure(updated() == some, len(updated()), updated()[:5])
    with check("S9: nothing else suffers: a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 20 and not errors, canary.count, errors[:3])
        for peer in peers:
            metrics = peer.metrics()
            sure(peer.process.poll() is None and metrics["mesh_deaths_total"] == 0, peer.name)
            sure(metrics["mesh_links_lost_total"] == before[peer]["mesh_links_lost_total"], peer.name)
            sure(peer.text().count("\n") < 80, peer.text()[-400:])
    with check("S9: once they have gone nothing is left of them"):
        swarm.close()
        for peer in peers:
            wait_until(15, lambda: peer.metrics()["mesh_exchanges_open"] <= 1 and
                       peer.metrics()["mesh_client_connections"] < 5, f"{peer.name} is quiet")


def run():
    server, peers = start("resume")
    canary = Canary(peers)
    second_gets(server, peers)
    deletes(server, peers)
    strange_positions(server, peers)
    gone_from_the_log(server, peers)
    with check("a session that worked meanwhile saw no error"):
        errors = canary.end()
        sure(canary.count > 50 and not errors, canary.count, errors[:3])
    for peer in peers:
        peer.kill()
    storm()
