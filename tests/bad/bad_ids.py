"""Rows J of bad input about ids: legal and odd ones, taken twice, shared by sessions, answers and
cancels for what is another's, tokens and _meta that look like ours. Over each kind of upstream and both
fronts."""
import json
import threading
import time

from bad_messages import refused
from bad_resume import Swarm, make_sessions
from front import FRONTS, OldSession
from harness import Settings, check, start_peers, start_stub, sure, wait_until
from raw import Canary, post
from raw_server import RawServer, result

SLOW = {"name": "slow", "arguments": {"seconds": 1, "ms": 1000, "steps": 2}}
ECHO = {"name": "echo", "arguments": {"message": "mine"}}


class Call(threading.Thread):
    """A request that another one meets on its way: what is said to it."""

    def __init__(self, session, port, number, params):
        super().__init__(daemon=True)
        self.session, self.port, self.number = session, port, number
        self.message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        self.answer, self.messages = None, []
        self.start()

    def run(self):
        self.answer = self.session.send(self.port, self.message)
        if not isinstance(self.session, OldSession):
            self.messages = self.answer.messages()

    def result(self, seconds=8):
        """Its result; None: there was none in that time, or an error."""
        self.join(seconds)
        if isinstance(self.session, OldSession):
            wait_until(seconds, lambda: self.session.answers(self.number), "the answer on the stream")
            self.messages = self.session.answers(self.number)
        return self.messages[-1].get("result") if self.messages else None


def raw_answer(session, port, body):
    """(what the POST said, the bytes of the answer wherever they came)."""
    if not isinstance(session, OldSession):
        answer = session.send(port, body)
        return answer, answer.body
    before = len(session.stream.raw)
    answer = session.send(port, body)
    if answer.status == 202:
        wait_until(5, lambda: session.stream.raw[before:].endswith(b"\n\n"), "the answer on the stream")
    return answer, session.stream.raw[before:]


def echoed_and_taken_twice(where, session, other, peers):
    with check(f"J8: {where}: an id that is legal comes back byte for byte, or is refused"):
        for identity in ("9007199254740993", "-0", "1.5", "1e400", '"\\u0061"', '"1"', '""', "-1", "1E+2",
                         '"' + "i" * 200 + '"', '"\\ud83d\\ude00"', '"é\\/"', '"a\\nb"', '"null"'):
            answer, text = raw_answer(session, peers[1].port, (
                '{"jsonrpc":"2.0","id":%s,"method":"ping"}' % identity).encode())
            sure((answer.status in (200, 202) and identity.encode() in text and b"result" in text) or
                 refused(answer, (-32600,)), identity[:40], answer, text)
    with check(f"J8: {where}: an id of 20 KiB is refused, the session goes on"):
        answer = session.send(peers[1].port, {"jsonrpc": "2.0", "id": "i" * 20480, "method": "ping"})
        sure(refused(answer, (-32600,)), answer)
        sure(session.ask(peers[2].port, "ping")[1].get("result") is not None)
    with check(f"J9: {where}: the id of a call under way is refused however it is written, the call is "
               "not touched"):
        call = Call(session, peers[1].port, 77, SLOW)
        time.sleep(0.4)
        for identity in ("77", "77.0", "7.7e1"):
            again = session.send(peers[2].port, (
                '{"jsonrpc":"2.0","id":%s,"method":"ping"}' % identity).encode())
            sure(refused(again, (-32600,)), identity, again)
        again = session.send(peers[2].port, {"jsonrpc": "2.0", "id": "77", "method": "ping"})
        sure(again.status in (200, 202), "another id:", again)
        sure(call.result(), call.messages)
    with check(f"J18: {where}: cancelling a request of another session, or one that is not there, has "
               "no effect"):
        call = Call(session, peers[0].port, 88, SLOW)
        time.sleep(0.3)
        for canceller, number in ((other, 88), (session, 89), (session, "88"), (session, None)):
            answer = canceller.send(peers[2].port, {
                "jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {} if number is None else {"requestId": number}})
            sure(answer.status == 202, number, answer)
        sure(call.result(), call.messages)


def dropped(peers):
    return sum(peer.metrics()["mesh_questions_dropped_total"] for peer in peers)


def questions(where, session, other, peers):
    with check(f"J11, J12: {where}: answers to nothing, to a question of another session or answered "
               "already: 202, dropped and counted; the question stays open for its own"):
        before = dropped(peers)
        for identity in (1, "nobody", 12345, 0):
            answer = session.send(peers[1].port, {"jsonrpc": "2.0", "id": identity, "result": {}})
            sure(answer.status == 202 and answer.body in (b"", b"Accepted"), answer)
        sure(dropped(peers) == before + 4, dropped(peers) - before)
        call = Call(session, peers[1].port, 99, {"name": "ask", "arguments": {}})
        if isinstance(session, OldSession):
            wait_until(5, lambda: any("sampling" in one.get("method", "")
                                      for one in session.stream.messages()), "the question")
        else:
            time.sleep(0.4)
        for thief in (other, other):
            for identity in (0, "0", "0-1"):
                answer = thief.send(peers[0].port, {"jsonrpc": "2.0", "id": identity,
                                                    "result": {"stolen": True}})
                sure(answer.status == 202, answer)
        sure(call.is_alive() or isinstance(session, OldSession) and not session.answers(99), call.messages)
        for said in ("mine", "again"):
            answer = session.send(peers[2].port, {"jsonrpc": "2.0", "id": 0, "result": {"said": said}})
            sure(answer.status == 202, answer)
        text = json.dumps(call.result())
        sure("mine" in text and "stolen" not in text and "again" not in text, text)
        sure(dropped(peers) == before + 4 + 6 + 1, dropped(peers) - before)


def same_id_everywhere():
    count = 1000
    peers = start_peers(cluster="ids-many", each=lambda i: {"log": f"many-p{i + 1}"}, flags=[
        "--max-connections-per-address", "3000"])
    ports = [peer.port for peer in peers]
    ids = make_sessions(ports, count)
    with check(f"J10: the same id in {count} sessions at once, each through a peer that may not own it: "
               "each gets its own answer"):
        def body(i):
            return json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {
                "name": "echo", "arguments": {"message": f"mine-{i}."}}}).encode()
        swarm = Swarm([(ports[i * 7 % 3], post(lines=[
            f"Mcp-Session-Id: {identity}", "MCP-Protocol-Version: 2025-11-25"], body=body(i)))
            for i, identity in enumerate(ids)])
        swarm.wait(20, lambda: all(b'"result"' in text for text in swarm.got.values()))
        wrong = [i for i in range(count) if f"mine-{i}.".encode() not in swarm.got[i] or
                 swarm.got[i].count(b"mine-") != 1]
        swarm.close()
        sure(not wrong, len(wrong), wrong[:1] and swarm.got[wrong[0]][-300:])
    for peer in peers:
        peer.kill()


def passed_through():
    server = RawServer()
    peers = start_peers(cluster="ids-raw", each=lambda i: {"log": f"raw-p{i + 1}"}, flags=[
        "--upstream", f"http://127.0.0.1:{server.port}/mcp"])
    tokens = ["1", '"a"', "0", "-1", "1.0", '"mesh-01234567"', '"session-mesh-initialize"', '"0-1-1-e"',
              '"\\u0000"', '"' + "t" * 3000 + '"', "true", "null", "[1]", '{"a":1}']
    for front, kind in FRONTS.items():
        with check(f"J17: {front}: progress tokens and _meta that look like ours reach the upstream, and "
                   "come back, byte for byte"):
            session = kind(peers[0].port)
            for n, token in enumerate(tokens):
                body = ('{"jsonrpc":"2.0", "id":%d,\t"method":"tools/call","params":{"_meta":{'
                        '"progressToken":%s,"io.session-mesh/owner":"p3","mesh":{"session":"x"}, '
                        '"id":7},"name":"any" }}' % (1000 + n, token)).encode()
                said = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken"' \
                       b':%s,"progress":1}}' % token.encode()

                def speak(one):
                    return [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
                            b"data: " + said + b"\n\ndata: " + result(one.message["id"]) + b"\n\n"]
                server.behave(on_call=speak)
                answer, text = raw_answer(session, peers[1].port, body)
                wait_until(3, lambda: said in (text if front == "/mcp" else session.stream.raw),
                           f"progress of {token}")
                sure(server.calls()[-1].body == body, server.calls()[-1].body)
            session.end(peers[0].port)
    for peer in peers:
        peer.kill()


def run():
    stubs = [start_stub(f"stub-{i + 1}") for i in range(3)]
    meshes = {
        "built in": lambda i: {},
        "stdio": lambda i: {"command": [Settings.program("tests/tools/stub"), "stdio"]},
        "http": lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp"]},
    }
    beside = [threading.Thread(target=work) for work in (same_id_everywhere, passed_through)]

    def one(kind, each):
        name = "ids-" + kind.replace(" ", "")
        peers = start_peers(cluster=name, each=lambda i: {**each(i), "log": f"{name}-p{i + 1}"})
        canary = Canary(peers)
        for front, make in FRONTS.items():
            session, other = make(peers[0].port), make(peers[1].port)
            echoed_and_taken_twice(f"{kind}, {front}", session, other, peers)
            if kind != "built in":
                questions(f"{kind}, {front}", session, other, peers)
            session.end(peers[1].port)
            other.end(peers[1].port)
        with check(f"{kind}: a session that worked meanwhile saw no error"):
            errors = canary.end()
            sure(canary.count > 30 and not errors, canary.count, errors[:3])
        for peer in peers:
            sure(peer.process.poll() is None, peer.text()[-600:])
            peer.kill()
    beside += [threading.Thread(target=one, args=row) for row in meshes.items()]
    for thread in beside:
        thread.start()
    for thread in beside:
        thread.join(60)
