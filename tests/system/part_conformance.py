"""The official conformance runner against our fixture server: bare, behind three peers and strict
alternation over HTTP and over stdio, and behind strict alternation alone. It judges a server by what
comes over the wire; a mesh is to make no difference."""
import collections
import contextlib
import glob
import http.client
import json
import os
import re
import threading

from harness import (BOTH, FIXTURE, HERE, NODE, Process, Session, Settings, check, note,
                     start_balancer, start_fixture, start_peers, sure)

RUNNER = os.path.join(HERE, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
LEGACY, MODERN = "2025-11-25", "2026-07-28"
LEGACY_PASSED = 84
POLLING = "server-sse-polling"  # what it wants of a stdio server, no stdio server can do

# Told, not judged, where an answer is JSON instead of a stream, as it is from a stdio server.
OF_STREAMS = {"server-sse-streams-functional"}

# That a listener hears of a change at another replica is a SHOULD, which replicas without a bus of
# their own do not meet.
CHANGES = {"sep-2575-server-sends-tools-list-changed-on-subscription",
           "sep-2575-server-sends-prompts-list-changed-on-subscription"}
# The tasks extension, which the fixture has not: run by the runner, not scored.
NOT_SCORED = re.compile(r"tasks-")
# The runner waits 600 ms for what this scenario wants to see on streams. Where nothing else is wrong it
# is asked again, so that a busy machine is not taken for a bad server.
TIMED = {"server-stateless"}
ATTEMPTS = 3
NEEDS_ITS_REPLICA = {"input-required-result-request-state",
                     "input-required-result-multiple-input-requests",
                     "input-required-result-multi-round"}


class Verdict(threading.Thread):
    """One run of the runner, in a thread of its own since runs mostly wait. `scenarios`: the checks
    of each, as it wrote them; `passed` and `failed`: as it printed them."""

    def __init__(self, name, port, requirements):
        super().__init__(daemon=True)
        self.name, self.port, self.requirements = name, port, requirements
        self.code, self.passed, self.failed, self.scenarios = "late", 0, 0, {}
        self.problem = None
        self.start()

    def run(self):
        try:
            for attempt in range(ATTEMPTS):
                self.judge(attempt)
                if not self.was_only_late():
                    break
        except Exception as error:  # told by show()
            self.problem = f"{type(error).__name__}: {error}"

    def was_only_late(self):
        failed = {name for name, _, status, _ in self.complaints()
                  if status == "FAILURE" and not NOT_SCORED.match(name)}
        return bool(failed) and failed <= TIMED

    def judge(self, attempt):
        self.scenarios = {}
        directory = os.path.join(Settings.directory, f"{self.name}-checks-{attempt}")
        if attempt > 0:
            note(f"{self.name}: late for what the runner waits for; asked again")
        runner = Process(f"{self.name}-runner-{attempt}", [
            NODE, RUNNER, "server", "--url", f"http://127.0.0.1:{self.port}/mcp",
            "--requirements", self.requirements, "--timeout", 15000, "-o", directory])
        try:
            self.code = runner.wait(150)
        finally:
            runner.end()
        total = re.search(r"^Total: (\d+) passed, (\d+) failed", runner.text(), re.M)
        sure(total, "the runner printed no total:", runner.text()[-600:])
        self.passed, self.failed = int(total.group(1)), int(total.group(2))
        for path in glob.glob(os.path.join(directory, "*", "checks.json")):
            name = re.sub(r"^server-|-\d{4}-\d\d-\d\dT[\d-]+Z$", "",
                          os.path.basename(os.path.dirname(path)))
            with open(path) as file:
                self.scenarios[name] = json.load(file)

    def count(self, status):
        return sum(one["status"] == status for checks in self.scenarios.values() for one in checks)

    def failing(self):
        return {name for name, checks in self.scenarios.items()
                if any(one["status"] == "FAILURE" for one in checks)}

    def complaints(self):
        """All that is neither passed nor only told: [(scenario, check, status, why)]."""
        return [(name, one["id"], one["status"], one.get("errorMessage", ""))
                for name, checks in sorted(self.scenarios.items()) for one in checks
                if one["status"] not in ("SUCCESS", "INFO")]

    def await_end(self):
        self.join(180)
        sure(self.problem is None and not self.is_alive(), self.problem or "still running")
        sure(self.scenarios, "no checks.json")
        sure((self.count("SUCCESS"), self.count("FAILURE")) == (self.passed, self.failed),
             f"printed {self.passed}/{self.failed}, wrote",
             f"{self.count('SUCCESS')}/{self.count('FAILURE')}")
        note(f"{self.name}, {self.requirements}: {self.passed} passed, {self.failed} failed, "
             f"{self.count('WARNING')} warnings, exit code {self.code}")

    def tell(self, complaints=None):
        return "\n".join(f"{scenario}: {check} {status}: {why}" for scenario, check, status, why in
                         (self.complaints() if complaints is None else complaints))


def judge_legacy(run):
    with check(f"{run.name}: {run.requirements}: {LEGACY_PASSED} checks passed, none failed, no "
               "warning"):
        run.await_end()
        sure(run.code == 0 and (run.passed, run.failed) == (LEGACY_PASSED, 0) and
             not run.complaints(), f"{run.passed}/{run.failed}\n{run.tell()}")


def judge_stdio(run):
    with check(f"{run.name}: {run.requirements}: all checks passed but the warnings of {POLLING}"):
        run.await_end()
        others = [one for one in run.complaints() if one[0] != POLLING or one[2] == "FAILURE"]
        sure(run.code == 0 and not others, run.tell(others))


def judge_modern(run):
    with check(f"{run.name}: {run.requirements}: exit code 0, nothing failed that is scored"):
        run.await_end()
        others = [one for one in run.complaints() if not NOT_SCORED.match(one[0]) and
                  one[1] not in CHANGES and one[2] != "SKIPPED"]
        sure(run.code == 0 and not others, f"exit code {run.code}\n{run.tell(others)}")


def compare(run, bare, without=()):
    """What passes bare passes through the mesh, check by check. `without`: scenarios and checks."""
    with check(f"{run.name}: {run.requirements}: no check passes bare that does not pass here"):
        missing = []
        for name, checks in bare.scenarios.items():
            if name in without:
                continue
            want = collections.Counter(one["id"] for one in checks if one["status"] == "SUCCESS" and
                                       one["id"] not in without)
            got = collections.Counter(one["id"] for one in run.scenarios.get(name, ())
                                      if one["status"] == "SUCCESS")
            missing += [f"{name}: {one}" for one in (want - got).elements()]
        sure(bare.scenarios and not missing, "\n".join(missing) or "the bare run told nothing")


def judge_plain(legacy, modern):
    with check(f"without the mesh: {LEGACY}: every scenario fails"):
        legacy.await_end()
        unharmed = set(legacy.scenarios) - legacy.failing()
        sure(legacy.code == 1 and not unharmed, f"did not fail: {unharmed}")
    with check(f"without the mesh: {MODERN}: what needs its replica fails"):
        modern.await_end()
        failing = {name for name in modern.failing() if not NOT_SCORED.match(name)}
        note(f"{modern.name}, {MODERN}: failing: {', '.join(sorted(failing))}")
        sure(modern.code == 1 and failing == NEEDS_ITS_REPLICA, failing)


def asked_aside(ports):
    """Whether a question that a tool asks at once, on the session's own stream, comes on it, where
    the client's GET goes out just before the call. Each of its requests to another port."""
    session = Session(ports[0], capabilities={"sampling": {}})
    listening, calling = (http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                          for port in ports[1:])
    listening.request("GET", "/mcp", headers={"Accept": "text/event-stream", **session.headers()})
    calling.request("POST", "/mcp", json.dumps({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "ask_aside", "arguments": {"prompt": "?"}}}),
        {**BOTH, **session.headers()})
    came = False
    with contextlib.suppress(OSError, http.client.HTTPException):
        stream = listening.getresponse()
        while not came and (line := stream.readline()):
            came = b"sampling/createMessage" in line
    listening.close()
    calling.close()
    session.end(ports[0])
    return came


def judge_asides(peers, fixture, count=24):
    with check("asked on the session's own stream while the client's GET is on its way: the question "
               "comes on it, as it does from the bare server"):
        ports = [peer.port for peer in peers]
        lost = sum(not asked_aside(ports[i % 3:] + ports[:i % 3]) for i in range(count))
        lost_bare = sum(not asked_aside([fixture.port] * 3) for _ in range(count))
        note(f"of {count} questions {lost} were lost, {lost_bare} by the bare server")
        sure(lost == 0 and lost_bare == 0, f"{lost} of {count} lost, {lost_bare} bare")


def run():
    fixtures = [start_fixture(f"fixture-{i + 1}") for i in range(3)]
    peers = start_peers(cluster="conformance-http", each=lambda i: {
        "flags": ["--upstream", f"http://127.0.0.1:{fixtures[i].port}/mcp"],
        "log": f"http-p{i + 1}"})
    children = start_peers(command=[NODE, FIXTURE, "stdio"], cluster="conformance-stdio",
                           each=lambda i: {"log": f"stdio-p{i + 1}"})
    http = start_balancer([peer.port for peer in peers], "http-balancer")
    stdio = start_balancer([peer.port for peer in children], "stdio-balancer")
    plain = [start_balancer([fixture.port for fixture in fixtures[:2]], f"plain-balancer-{i + 1}")
             for i in range(2)]

    bare = Verdict("bare-legacy", fixtures[2].port, LEGACY)
    bare_modern = Verdict("bare-modern", fixtures[2].port, MODERN)
    mesh = Verdict("http-legacy", http.port, LEGACY)
    judge_legacy(bare)
    judge_modern(bare_modern)
    # Not beside each other: each would take turns of the other's balancer.
    judge_legacy(mesh)
    compare(mesh, bare)
    mesh_modern = Verdict("http-modern", http.port, MODERN)
    mesh_stdio = Verdict("stdio-legacy", stdio.port, LEGACY)
    judge_modern(mesh_modern)
    compare(mesh_modern, bare_modern, CHANGES)
    judge_stdio(mesh_stdio)
    compare(mesh_stdio, bare, OF_STREAMS | {POLLING})
    judge_plain(Verdict("plain-legacy", plain[0].port, LEGACY),
                Verdict("plain-modern", plain[1].port, MODERN))
    judge_asides(peers, fixtures[2])
