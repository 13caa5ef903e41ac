"""A GET stream that is held on a peer which does not own the session: every notification arrives on
it, once and in order, whichever peer the call that caused it came to."""
from harness import (Peer, Session, Settings, Stream, check, start_peers, start_stub, sure,
                     wait_until)

COUNT = 30


def numbered(kind, peers):
    with check(f"{kind}: {COUNT} notifications reach the GET stream on another peer, in order, once"):
        session = Session(peers[0].port)
        stream = Stream(peers[1].port, session)
        sure(stream.status == 200, stream.status)
        session.call(peers[2].port, "notify", count=COUNT, interval_ms=20)
        stream.wait_for("notifications/message", COUNT)
        numbers = [one["params"] for one in stream.messages if one["method"] ==
                   "notifications/message"]
        data = [str(one.get("data")) for one in numbers]
        sure(len(data) == len(set(data)) == COUNT, data)
        sure(data == sorted(data, key=lambda one: int("".join(c for c in one if c.isdigit()) or 0)),
             data)
        session.end(peers[2].port)
        wait_until(5, lambda: stream.ended, "the stream of a deleted session ends")
    with check(f"{kind}: a second GET takes the first one's place, and gets what follows"):
        session = Session(peers[0].port)
        first, second = Stream(peers[1].port, session), Stream(peers[2].port, session)
        sure(first.status == second.status == 200, first.status, second.status)
        wait_until(5, lambda: first.ended, "the first stream ends")
        session.call(peers[1].port, "notify", count=3, interval_ms=10)
        second.wait_for("notifications/message", 3)
        sure(not any(one.get("method") == "notifications/message" for one in first.messages))
        session.end(peers[0].port)


def run():
    stubs = [start_stub(f"stub-{i + 1}") for i in range(3)]
    numbered("http", start_peers(
        each=lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp"],
                        "log": f"http-p{i + 1}"}, cluster="streams-http"))
    program = [Settings.program("tests/tools/stub"), "stdio"]
    numbered("stdio", start_peers(command=program, cluster="streams-stdio",
                                  each=lambda i: {"log": f"stdio-p{i + 1}"}))

    peers = start_peers(cluster="streams-builtin", each=lambda i: {"log": f"builtin-p{i + 1}"})
    with check("built in: who watches the members hears of a new one, on a peer that is not the owner"):
        session = Session(peers[0].port)
        stream = Stream(peers[1].port, session)
        _, listed = session.ask(peers[2].port, "resources/list")
        uri = next(one["uri"] for one in listed["result"]["resources"] if "members" in one["uri"])
        _, answer = session.ask(peers[2].port, "resources/subscribe", {"uri": uri})
        sure(answer and "result" in answer, answer)
        Peer("p4", joins=peers, cluster="streams-builtin")
        stream.wait_for("notifications/resources/updated")
        session.end(peers[0].port)
