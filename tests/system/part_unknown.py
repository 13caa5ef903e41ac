"""An id that nobody may learn anything by: of another's session, of one that ended, of one that never was,
what answers it does the same work. Counted in instructions, by valgrind, and by the clock."""
import http.client
import math
import os
import random
import re
import shutil
import subprocess
import time

from harness import BOTH, NOT_FOUND, Peer, Settings, check, note, request, sure, wait_until

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
MINE, OTHER = {"Authorization": "Bearer mine-4711"}, {"Authorization": "Bearer other-4711"}
INITIALIZE = (b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
              b'"capabilities":{},"clientInfo":{"name":"a","version":"1"}}}')
FLAGS = ["--bind-session", "token", "--unknown-rate", "0"]
EACH = 300


class Counted(Peer):
    """A peer under callgrind; each count begins anew."""

    def __init__(self, name, **more):
        self.out, self.dumps = os.path.join(Settings.directory, f"callgrind.{name}"), 0
        super().__init__(name, prefix=["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}"], **more)

    def count(self):
        """Instructions since the last time."""
        subprocess.run(["callgrind_control", "--dump", str(self.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.dumps += 1
        return wait_until(60, lambda: total_of(f"{self.out}.{self.dumps}"), "a count")


def total_of(path):
    if os.path.exists(path):
        with open(path, "rb") as file:
            found = re.search(rb"^totals: (\d+)$", file.read()[-100:], re.M)
        return found and int(found.group(1))
    return None


def make(port):
    """A session's id under MINE."""
    answer = request(port, "POST", "/mcp", {**BOTH, **MINE}, INITIALIZE)
    sure(answer.status == 200, answer)
    return answer.headers["mcp-session-id"]


def kinds(port, count):
    """Ids by what they are; those of a kind differ, as guesses do."""
    foreign = [make(port) for _ in range(count)]
    ended = [make(port) for _ in range(count)]
    for one in ended:
        sure(request(port, "DELETE", "/mcp", {**MINE, "Mcp-Session-Id": one}).status == 200)
    chance = random.Random(4711)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    unknown = [one[:12] + "".join(chance.choice(letters) for _ in range(18)) + one[30:] for one in foreign]
    return {"foreign": foreign, "ended": ended, "unknown": unknown}


class Line:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, identity):
        begun = time.perf_counter()
        self.connection.request("POST", "/mcp", PING, {**BOTH, **OTHER, "Mcp-Session-Id": identity})
        answer = self.connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - begun
        sure(answer.status == 404 and body == NOT_FOUND, answer.status, body)
        return seconds


def counted():
    peer = Counted("counted", cluster="counted", flags=FLAGS)
    ids = kinds(peer.port, 20)
    line = Line(peer.port)
    for some in ids.values():
        for one in some:
            line.ask(one)
    found = {}
    for kind, some in ids.items():
        peer.count()
        for n in range(EACH):
            line.ask(some[n % len(some)])
        found[kind] = peer.count()
    with check("foreign, ended and unknown ids cost the same number of instructions, within 2 %"):
        totals = {kind: total / EACH for kind, total in found.items()}
        note(", ".join(f"{kind} {total:,.0f}" for kind, total in totals.items()))
        sure(max(totals.values()) <= 1.02 * min(totals.values()), totals)
    peer.end()


def rank_test(one, other):
    """Of Mann and Whitney: how likely times as different as these are if they are of one kind."""
    ordered = sorted([(seconds, 0) for seconds in one] + [(seconds, 1) for seconds in other])
    ranks = sum(rank for rank, (_, which) in enumerate(ordered, 1) if which == 0)
    n, m = len(one), len(other)
    u = ranks - n * (n + 1) / 2
    return math.erfc(abs(u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12) / math.sqrt(2))


def timed():
    peer = Peer("timed", cluster="timed", flags=FLAGS)
    wait_until(5, peer.is_ready, "ready")
    ids = kinds(peer.port, 300)
    line, chance = Line(peer.port), random.Random(4711)
    with check("a rank test finds no difference in the times of 20,000 requests, one kind after the other"):
        tries = []
        for _ in range(3):  # that this machine is noisy in one of them is no difference
            times = {kind: [] for kind in ids}
            for _ in range(20000 // 3):
                for kind in chance.sample(list(ids), 3):
                    times[kind].append(line.ask(chance.choice(ids[kind])))
            pairs = (("foreign", "ended"), ("foreign", "unknown"), ("ended", "unknown"))
            tries.append(min(rank_test(times[one], times[other]) for one, other in pairs))
            if tries[-1] >= 0.01:
                break
        note("the least p of three pairs: " + ", ".join(f"{p:.3f}" for p in tries))
        sure(tries[-1] >= 0.01, tries)
    with check("and it finds one where there is one: of 2 % between two of them"):
        longer = [seconds * 1.02 for seconds in times["ended"]]
        sure(rank_test(times["ended"], longer) < 0.01, rank_test(times["ended"], longer))
    peer.end()


def limited():
    peer = Peer("limited", cluster="limited", flags=["--bind-session", "token", "--unknown-rate", "20"])
    wait_until(5, peer.is_ready, "ready")
    ids = kinds(peer.port, 1)
    mine, chance = make(peer.port), random.Random(4711)
    with check("A21: of 600 guesses 200 at once and 20 a second are told that there is no such session, the "
               "others 429 with Retry-After, whichever kind they are"):
        answers = {kind: [] for kind in ids}
        begun = time.monotonic()
        for _ in range(200):
            for kind in chance.sample(list(ids), 3):
                answers[kind].append(request(peer.port, "POST", "/mcp", {
                    **BOTH, **OTHER, "Mcp-Session-Id": ids[kind][0]}, PING))
        most = 200 + 20 * (time.monotonic() - begun) + 1
        every = [answer for some in answers.values() for answer in some]
        found = [answer for answer in every if answer.status == 404]
        refused = [answer for answer in every if answer.status == 429]
        sure(len(found) + len(refused) == 600 and 200 <= len(found) <= most, len(found), most)
        sure({answer.body for answer in found} == {NOT_FOUND})
        sure(len({answer.body for answer in refused}) == 1 and
             {answer.headers.get("retry-after") for answer in refused} == {"1"}, refused[0])
        for kind, some in answers.items():
            sure(sum(answer.status == 429 for answer in some) > 80, kind)
        sure(peer.metrics()["mesh_unknown_limited_total"] == len(refused))
    with check("and meanwhile sessions go on, and new ones are made, also by who shows an id that is none"):
        headers = {**BOTH, **MINE, "Mcp-Session-Id": mine}
        sure(request(peer.port, "POST", "/mcp", headers, PING).status == 200)
        sure("mcp-session-id" in request(peer.port, "POST", "/mcp", {
            **BOTH, **OTHER, "Mcp-Session-Id": ids["unknown"][0]}, INITIALIZE).headers)
    peer.end()


def run():
    limited()
    timed()
    with open(Settings.program("node/meshd"), "rb") as program:
        is_instrumented = b"__asan_" in program.read()
    if shutil.which("valgrind") is None or is_instrumented:
        note("not counted: valgrind is not here, or does not run this build")
    else:
        counted()
