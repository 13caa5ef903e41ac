"""An owner is killed, then a rollout: sessions go on under their ids, nothing that has effects runs
twice, no event is lost or double; sessions of the official clients ride along and see no failure.
Then the same moments by hand, with server-everything behind: what is in flight, what is held, what was
asked of the user."""
import http.client
import json
import os
import signal
import threading
import time

from harness import Session, Settings, Stream, check, children, note, start_peers, start_stub, sure, wait_until
from moves import Judges, Load, Verdict, executions, fallen, rollout, show, start_pods, tell, wait_mesh

SESSIONS, RATE = 100, 100
JUDGES = 12
TOOLS = ("echo", "echo", "counter", "say", "slow", "slow_counter")


def told(verdict, *more):
    summary = verdict.summary()
    wait, latency = summary["wait"], summary["latency"]
    note(f"{verdict.record.report['sent']} calls: {summary['outcomes']}; waited "
         f"{show(wait['p50'])} / {show(wait['p99'])} / {show(wait['max'])} (p50, p99, max of "
         f"{wait['count']} sessions); calls {show(latency['p50'])} / {show(latency['p99'])} / "
         f"{show(latency['max'])}; events {summary['said']}, lost {summary['events lost']}, "
         f"told {summary['told']}, double {summary['double']}")


def is_well(problems):
    sure(not problems, "\n".join(problems))


def judged(judges):
    code, report = judges.finish()
    note(f"{judges.name}: {report['sessions']} sessions, {report['calls']} calls, {report['events']} "
         f"events of {report['said']}, {report['failures']} failures")
    sure(code == 0, json.dumps(report["kinds"], indent=1), report)


# ---- under load ---------------------------------------------------------------------------------

def killed():
    pods = start_pods(3, "killed")
    victim, *others = pods
    judges = Judges("killed-judges", others, opens=[victim], sessions=JUDGES)
    judges.wait_judging()
    load = Load("killed-load", others, opens=[victim], sessions=SESSIONS, rate=RATE, streams=30,
                tools=TOOLS)
    begun = load.wait_running()
    time.sleep(3)
    fault = victim.kill()
    time.sleep(4)
    tell(judges, "loud")
    time.sleep(2)
    with check(f"kill -9 of the owner of {SESSIONS} sessions: each goes on under its id; what was safe "
               "was answered, what was not ran once at most; no event lost or double, no old answer"):
        verdict = Verdict(load.finish(), executions(pods), begun, fault, RATE)
        verdict.fallen = fallen(pods)
        told(verdict)
        is_well(verdict.problems())
    with check("and nobody waited long: p99 below 1 s, at most 2 s"):
        wait = verdict.summary()["wait"]
        sure(wait["count"] > SESSIONS * 0.5, wait)
        sure(wait["p99"] < 1 and wait["max"] < 2, wait)
    with check(f"{JUDGES} sessions of the SDKs' clients with GET streams saw no failure in it"):
        judged(judges)
    for pod in pods:
        pod.end()


def rolled():
    pods = start_pods(3, "rolled", flags=["--drain-grace", "3s"])
    judges = Judges("rolled-judges", pods, sessions=JUDGES)
    judges.wait_judging()
    load = Load("rolled-load", pods, sessions=SESSIONS, rate=RATE, streams=30, tools=TOOLS)
    begun = load.wait_running()
    tell(judges, "loud")
    time.sleep(2)
    fault = time.monotonic()
    with check("a rollout of 3 peers: each leaves with 0 within its time"):
        drains = rollout(pods, [load, judges])
        note("drained in " + ", ".join(f"{took:.1f} s" for took in drains))
        sure(max(drains) < 25, drains)
    with check("0 failed calls, 0 events lost or double, every session there under its id"):
        verdict = Verdict(load.finish(), executions(pods), begun, fault, RATE)
        verdict.fallen = fallen(pods)
        told(verdict)
        is_well(verdict.problems(unknown=0))
    with check(f"{JUDGES} sessions of the SDKs' clients with GET streams saw no failure in it"):
        judged(judges)
    for pod in pods:
        pod.end()


# ---- by hand ------------------------------------------------------------------------------------

class Post(threading.Thread):
    """A call whose stream is read line by line: its messages, with the ids of their events."""

    def __init__(self, port, session, number, tool, arguments, timeout=30, token=None):
        super().__init__(daemon=True)
        self.messages, self.error, self.ended_at, self.status = [], None, None, None
        self.number = number
        params = {"name": tool, "arguments": arguments}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.request("POST", "/mcp", body, {
            "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
            **session.headers()})
        self.start()

    def run(self):
        try:
            answer = self.connection.getresponse()
            self.status = answer.status
            if "json" in answer.getheader("content-type", ""):
                self.messages.append(json.loads(answer.read()))
            else:
                while line := answer.readline():
                    if line.startswith(b"data:") and line[5:].strip():
                        self.messages.append(json.loads(line[5:]))
        except Exception as error:
            self.error = error
        self.ended_at = time.monotonic()

    def of(self, method):
        return [one for one in self.messages if one.get("method") == method]

    def result(self, seconds):
        """Its answer, once it is there: a result or an error."""
        self.join(seconds)
        sure(not self.is_alive(), f"no answer within {seconds} s:", self.messages)
        mine = [one for one in self.messages if one.get("id") == self.number and "method" not in one]
        sure(len(mine) == 1, "its answers:", mine, self.status, self.error, self.messages[-2:])
        return mine[0]


def port(pod):
    return pod.place.port


def in_flight():
    """What is under way when the owner dies: read-only, with effects, held, asked."""
    pods = start_pods(3, "flight", server="everything")
    stubs = start_pods(3, "effects")
    victim, second, third = pods
    session = Session(port(victim), timeout=30)
    session.ask(port(second), "tools/list")
    for pod in pods[1:]:  # as each replica's own clients do
        Session(port(pod)).ask(port(pod), "tools/list")
    stream = Stream(port(third), session, timeout=40)
    long_one = Post(port(second), session, 71, "trigger-long-running-operation",
                    {"duration": 3, "steps": 6}, token="t71")
    asker = Session(port(victim), capabilities={"elicitation": {"form": {}}}, timeout=30)
    asking = Post(port(second), asker, 81, "trigger-elicitation-request", {})
    wait_until(10, lambda: asking.of("elicitation/create"), "the question")
    old_question = asking.of("elicitation/create")[0]["id"]
    counting = Session(port(stubs[0]), timeout=30)
    for stub in stubs:
        Session(port(stub)).ask(port(stub), "tools/list")
    counter = Post(port(stubs[1]), counting, 91, "slow_counter", {"ms": 3000, "steps": 6, "n": 4711},
                   token="t91")
    wait_until(10, lambda: len(long_one.of("notifications/progress")) >= 2, "two steps")
    wait_until(10, lambda: counter.of("notifications/progress"), "a step")
    victim.kill()
    stubs[0].kill()
    killed_at = time.monotonic()

    with check("the owner dies during trigger-long-running-operation, which is read-only: its result "
               "arrives at the same client's stream, its progress never goes back"):
        answer = long_one.result(20)
        sure("result" in answer, answer)
        steps = [one["params"]["progress"] for one in long_one.of("notifications/progress")]
        sure(steps == sorted(set(steps)), steps)
        note(f"its result came {long_one.ended_at - killed_at:.1f} s after the kill; progress {steps}")
    with check("during a tool with effects: an error in-band that says so, the count raised once at most"):
        answer = counter.result(15)
        sure("error" in answer and answer["error"]["code"] == -32603, answer)
        ran = [one for one in executions(stubs) if one.number == 4711]
        sure(len(ran) == 1, ran)
        note(f"after {counter.ended_at - killed_at:.2f} s: {answer['error']['message']}")
    with check("with a GET open at another peer: it stays open, and the next notification arrives on it"):
        sure(not stream.ended, "the stream ended")
        session.call(port(second), "toggle-simulated-logging")
        stream.wait_for("notifications/message", 1, 12)
        sure(not stream.ended, "the stream ended")
    with check("with a question pending: its call ends with an error in-band, the question is taken back, "
               "the old answer is dropped, and a new question gets its own answer, not the old one"):
        answer = asking.result(15)
        sure("error" in answer, answer)
        again = Post(port(third), asker, 82, "trigger-elicitation-request", {})
        wait_until(10, lambda: again.of("elicitation/create"), "the new question")
        new_question = again.of("elicitation/create")[0]["id"]
        sure(new_question != old_question, new_question, old_question)
        for question, name in ((old_question, "too-late-4711"), (new_question, "in-time-4711")):
            sent = asker.send(port(second), {"jsonrpc": "2.0", "id": question, "result": {
                "action": "accept", "content": {"name": name}}})
            sure(sent.status == 202, question, sent)
            time.sleep(0.3)
        answer = json.dumps(again.result(15))
        sure("in-time-4711" in answer and "too-late-4711" not in answer, answer)
    for pod in [*pods, *stubs]:
        pod.end()


def local_server_lost():
    pods = start_pods(2, "local", server="everything")
    owner, other = pods
    session = Session(port(owner), timeout=30)
    session.ask(port(owner), "tools/list")
    stream = Stream(port(other), session, timeout=40)
    with check("the local MCP server is killed under its living peer and comes back: the session goes on "
               "under the same id, no 404 is seen, its GET stream stays"):
        sure("before" in session.call(port(other), "echo", message="before"))
        owner.stub.kill()
        statuses, texts = [], []
        stop_at = time.monotonic() + 12

        def ask():
            answer, message = session.ask(port(other), "tools/call", {
                "name": "echo", "arguments": {"message": "after"}}, timeout=15)
            statuses.append(answer.status)
            texts.append(answer.body[:200])
            return message is not None and "result" in message
        owner.start_server()
        good = False
        while not good and time.monotonic() < stop_at:
            good = ask()
        sure(good and 404 not in statuses, statuses, texts[-1:])
        sure(not stream.ended, "the stream ended")
        session.call(port(other), "toggle-simulated-logging")
        stream.wait_for("notifications/message", 1, 12)
    with check("it is killed for good: whoever asks waits, and is answered by the server of another peer under "
               "the same id; its own peer is not ready until its server is back"):
        wait_until(5, owner.is_ready, "it serves, after what was before")
        time.sleep(1.2)  # and was asked again meanwhile: no failure counts any more
        owner.stub.kill()
        begun = time.monotonic()
        statuses, message = [], None
        while time.monotonic() < begun + 10 and not (message and "result" in message):
            answer, message = session.ask(port(owner), "tools/call", {
                "name": "echo", "arguments": {"message": "elsewhere"}}, timeout=15)
            statuses.append(answer.status)
        took = time.monotonic() - begun
        note(f"answered {took:.1f} s after it was killed")
        sure(message and "elsewhere" in json.dumps(message.get("result")), message, statuses)
        sure(1.5 < took < 6 and 404 not in statuses, took, statuses)
        sure(not owner.is_ready() and other.is_ready(), "readiness")
        sure(not stream.ended, "the stream ended")
        sure(owner.metrics()["mesh_sessions_handed_over_total"] >= 1, "nothing was handed over")
        owner.start_server()
        wait_until(5, owner.is_ready, "it serves again")
        sure("again" in session.call(port(owner), "echo", message="again"))
    for pod in pods:
        pod.end()


def goes_on(kind, peers, lost):
    """A session by hand whose owner, or its server, is `lost`: it goes on under its id, at once."""
    session = Session(peers[0].port, timeout=20)
    session.ask(peers[1].port, "tools/list")
    stream = Stream(peers[2].port, session, timeout=30)
    sure("before" in session.call(peers[1].port, "echo", message="before"))
    time.sleep(0.3)
    lost(session)
    begun = time.monotonic()
    for peer in (peers[1], peers[2], peers[1]):
        answer, message = session.ask(peer.port, "tools/call", {"name": "echo", "arguments": {
            "message": "after"}})
        sure(message and "after" in json.dumps(message.get("result")), answer)
    took = time.monotonic() - begun
    note(f"{kind}: three calls answered {took:.2f} s after it")
    sure(took < 3, took)
    sure(not stream.ended, "the stream ended")
    session.end(peers[1].port)


def other_servers():
    old = [start_stub(f"old-{i + 1}", "sse") for i in range(3)]
    program = [Settings.program("tests/tools/stub"), "stdio"]
    kinds = {
        "stdio": lambda i: {"command": program},
        "HTTP+SSE": lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{old[i].port}/sse"]},
        "built in": lambda i: {}}
    for number, (kind, each) in enumerate(kinds.items()):
        peers = start_peers(cluster=f"others-{number}", each=lambda i: {
            **each(i), "log": f"others-{number}-p{i + 1}"})
        if kind == "stdio":
            with check("stdio: a session whose process died goes on under its id with a fresh one"):
                goes_on(kind, peers, lambda session: os.kill(next(iter(children(peers[0].pid))),
                                                             signal.SIGKILL))
        with check(f"{kind}: a session whose owner was killed goes on under its id at another peer"):
            goes_on(kind, peers, lambda session: peers[0].kill())
        for peer in peers:
            peer.kill()


def run():
    killed()
    rolled()
    in_flight()
    local_server_lost()
    other_servers()
