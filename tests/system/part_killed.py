"""A peer is killed of whose sessions nobody has a copy (--copies 0): the others notice, its sessions get
definite answers, nothing hangs, the other sessions go on as if nothing had happened. Where there are
copies: part_failover."""
import json
import os
import subprocess
import threading
import time

from harness import (Peer, Session, Settings, Stream, check, note, sure, start_peers, start_stub,
                     wait_until)

LIMIT_S = 15
LOAD_S = 14


class Call(threading.Thread):
    """A call under way."""

    def __init__(self, session, port, tool, **arguments):
        super().__init__(daemon=True)
        self.work = lambda: session.ask(port, "tools/call", {"name": tool, "arguments": arguments},
                                        timeout=LIMIT_S + 5)
        self.answer = self.message = self.error = None
        self.ended_at = 0.0
        self.start()

    def run(self):
        try:
            self.answer, self.message = self.work()
        except Exception as error:
            self.error = error
        self.ended_at = time.monotonic()


def executions(stub, tool):
    with open(os.path.join(Settings.directory, f"{stub.name}.calls")) as log:
        return sum(tool in line.split() for line in log)


def run():
    stubs = [start_stub(f"stub-{i + 1}") for i in range(3)]
    peers = start_peers(each=lambda i: {
        "flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp", "--silent-window", "5s",
                  "--copies", "0"]})
    victim, second, third = peers
    doomed = [Session(victim.port) for _ in range(3)]
    stream = Stream(second.port, doomed[0], timeout=LIMIT_S + 10)
    load = subprocess.Popen(
        [Settings.program("tests/tools/load"), "--to",
         f"127.0.0.1:{second.port},127.0.0.1:{third.port}", "--sessions", "20", "--rate", "200",
         "--seconds", str(LOAD_S), "--tool", "counter", "--new-connection", "--json",
         "--expect-clean"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    calls = [Call(doomed[0], second.port, "slow_counter", ms=6000, steps=20),
             Call(doomed[1], third.port, "slow_counter", ms=6000, steps=20)]
    time.sleep(1.5)
    victim.kill()
    killed = time.monotonic()

    with check(f"a call in flight at the killed peer ends with a definite answer within {LIMIT_S} s"):
        for call in calls:
            call.join(LIMIT_S + 6)
            sure(not call.is_alive() and call.error is None, "no answer:", call.error)
            sure(call.message and "error" in call.message, call.answer, call.answer.body[-300:])
            sure(call.ended_at - killed < LIMIT_S, call.ended_at - killed)
        note(f"answered {calls[0].ended_at - killed:.1f} s after the kill: "
             f"{calls[0].message['error']['message']}")
    with check("what has effects ran once, and on no other replica"):
        counts = [executions(stub, "slow_counter") for stub in stubs]
        sure(counts == [2, 0, 0], counts)
    with check(f"the others see the killed peer dead within {LIMIT_S} s"):
        for peer in (second, third):
            wait_until(LIMIT_S + killed - time.monotonic(),
                       lambda: peer.members().get("p1", "dead") == "dead", f"p1 dead at {peer.name}")
        note(f"seen by both {time.monotonic() - killed:.1f} s after the kill")
    with check("a later call of its sessions has a definite answer, and none hangs"):
        for peer in (second, third):
            answer, message = doomed[2].ask(peer.port, "ping", timeout=LIMIT_S)
            sure(answer.status == 404 or (message and "error" in message), answer)
    with check("once it has been silent for --silent-window its sessions are unknown: 404, so that "
               "clients initialize anew"):
        def is_unknown():
            return doomed[2].ask(second.port, "ping", timeout=LIMIT_S)[0].status == 404
        wait_until(12, is_unknown, "404")
    with check("the GET stream of a session that is gone does not stay silent for ever"):
        wait_until(12, lambda: stream.ended, "the stream's end")
    with check(f"{20} other sessions went on: no failure, no call twice"):
        text, _ = load.communicate(timeout=LOAD_S + 30)
        found = json.loads(text.splitlines()[-1])
        note(f"{found['answered']} calls, {found['failed']} failed, {found['latency_us']}")
        sure(load.returncode == 0 and found["failed"] == 0, text[-900:])
    with check("it comes back under its name, at its old address, and serves new sessions"):
        back = Peer("p1", joins=[second, third], log="p1-again",
                    ports=(victim.port, victim.peer_port, victim.admin_port),
                    flags=["--upstream", f"http://127.0.0.1:{stubs[0].port}/mcp"])
        for peer in (back, second, third):
            wait_until(LIMIT_S, lambda: peer.sees(3), f"{peer.name} sees 3")
        session = Session(back.port)
        sure(session.call(second.port, "whoami") == session.call(third.port, "whoami"))
        session.end(second.port)
