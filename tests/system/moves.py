"""moves - sessions whose owner dies, stops, is cut off or leaves: pods (a meshd with its MCP server
beside it) that can be lost and come back, the load on them, and the judge who compares, afterwards,
what each client was told (load.h: --record) with what each server says it ran (the stubs' logs). All
times are seconds of the monotonic clock, the same in all of these processes."""
import collections
import contextlib
import http.client
import math
import os
import re
import signal
import subprocess
import time

from figures import tool_report
from harness import HERE, NODE, Process, Settings, free_port, start_everything, sure, wait_until

UNSAFE = {"counter", "slow_counter", "say"}
SLOW = {"slow", "slow_counter"}
UNKNOWN = "not known whether it ran"
STEADY = 0.95  # of the rate that was asked for: below it a run says nothing
PATIENCE_S = 10.5  # within which a client has its outcome: 10 s, and a busy machine


# ---- pods ---------------------------------------------------------------------------------------

class Here:
    """Where the pods are: all on loopback, told apart by their ports."""
    prefix = ()

    def __init__(self):
        self.address = "127.0.0.1"
        self.port, self.peer_port, self.admin_port = free_port(), free_port(), free_port()
        self.server = f"127.0.0.1:{free_port()}"


class Pod:
    """A meshd and its server (tests/tools/stub, server-everything or none), at one place; `run` and
    `lives` count how often each was started."""

    def __init__(self, name, cluster, place=None, flags=(), server="stub"):
        self.name, self.cluster, self.place = name, cluster, place or Here()
        self.flags, self.server, self.run, self.lives = list(flags), server, 0, 0
        self.stub = self.meshd = None
        self.is_gone = True  # on purpose

    @property
    def entry(self):
        return f"{self.place.address}:{self.place.port}"

    @property
    def peer(self):
        return f"{self.place.address}:{self.place.peer_port}"

    def start_server(self):
        self.lives += 1
        if self.server == "everything":
            port = int(self.place.server.rpartition(":")[2])
            self.stub = start_everything(f"{self.cluster}-{self.life}", port=port)
            return  # its peer finds out when it serves
        self.stub = Process(f"{self.cluster}-{self.name}-stub", [
            *self.place.prefix, Settings.program("tests/tools/stub"), "http", "--tell", "--name",
            self.life, "--listen", self.place.server, "--log", self.calls])
        self.stub.wait_line(r"listening on port")

    @property
    def life(self):
        """How its server names itself: another process is another server."""
        return f"{self.name}.{self.lives}"

    @property
    def calls(self):
        return os.path.join(Settings.directory, f"{self.cluster}-{self.name}.calls")

    def start(self, joins):
        place = self.place
        if self.server and (self.stub is None or self.stub.process.poll() is not None):
            self.start_server()
        server = [] if self.server is None else ["--upstream", f"http://{place.server}/mcp"]
        self.run += 1
        self.is_gone = False
        self.meshd = Process(f"{self.cluster}-{self.name}-{self.run}", [
            *place.prefix, Settings.program("node/meshd"), "--name", self.name, "--cluster", self.cluster,
            "--listen", self.entry, "--peer-listen", self.peer,
            "--admin", f"{place.address}:{place.admin_port}",
            "--max-connections-per-address", "10000", *server, *self.flags,
            *(word for pod in joins for word in ("--join", pod.peer))])
        self.meshd.wait_line(r"listening clients=")

    def fetch(self, path):
        connection = http.client.HTTPConnection(self.place.address, self.place.admin_port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def metrics(self):
        for _ in range(20):
            status, text = self.fetch("/metrics")
            if status != 429:
                break
            time.sleep(0.1)
        return {name: float(value) for name, value in
                re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.M)}

    def is_ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.fetch("/readyz")[0] == 200
        return False

    def sees(self, count):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.metrics().get('mesh_members{state="alive"}') == count
        return False

    def signal(self, number):
        self.meshd.process.send_signal(number)

    def kill(self):
        """Both at once, as when a machine is gone; when that was."""
        self.is_gone = True
        for one in (self.meshd, self.stub):
            if one:
                one.process.send_signal(signal.SIGKILL)
        when = time.monotonic()
        for one in (self.meshd, self.stub):
            if one:
                one.process.wait(5)
        return when

    def end(self):
        self.is_gone = True
        for one in (self.meshd, self.stub):
            if one:
                one.kill()


def start_pods(count, cluster, each=None, **same):
    """`count` pods p1, p2, ... that see each other; each(i) gives further arguments of the i-th."""
    pods = []
    for i in range(count):
        pod = Pod(f"p{i + 1}", cluster, **{**same, **(each(i) if each else {})})
        with contextlib.suppress(FileNotFoundError):
            os.remove(pod.calls)  # of the round before
        pod.start(pods)
        pods.append(pod)
    wait_mesh(pods)
    return pods


def fallen(pods):
    """Peers that ended though nobody wanted it; empty: none."""
    return [f"{pod.name} ended by itself with {pod.meshd.process.poll()}: {pod.meshd.log}"
            for pod in pods if not pod.is_gone and pod.meshd.process.poll() is not None]


def wait_mesh(pods, seconds=20):
    for pod in pods:
        wait_until(seconds, lambda: pod.is_ready() and pod.sees(len(pods)), f"{pod.name} ready")


def stop(pod, seconds=27):
    """SIGTERM, and how long it took; its server goes once it is gone."""
    begun = time.monotonic()
    pod.signal(signal.SIGTERM)
    return lambda: stopped(pod, begun, seconds)


def stopped(pod, begun, seconds):
    code = pod.meshd.wait(max(0.1, begun + seconds - time.monotonic()))
    pod.is_gone = True
    took = time.monotonic() - begun
    sure(code == 0, pod.name, "exit code", code)
    if pod.stub:
        pod.stub.kill()
    return took


def rollout(pods, riders, sending_s=2.0, settle_s=1.0):
    """Each pod in turn is stopped and started anew; `riders` (what obeys a balancer's hand) go on
    sending to it for a while after its SIGTERM. How long each drain took."""
    drains = []
    for i, pod in enumerate(pods):
        wait = stop(pod)
        time.sleep(sending_s)
        for rider in riders:
            rider.tell("out", i)
        drains.append(wait())
        pod.start([other for other in pods if other is not pod])
        wait_mesh(pods)
        for rider in riders:
            rider.tell("in", i)
        time.sleep(settle_s)
    return drains


def tell(rider, *words):
    rider.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
    rider.process.stdin.flush()


# ---- riders -------------------------------------------------------------------------------------

class Judges(Process):
    """tests/system/judges.mjs: sessions of the SDKs' clients."""

    def __init__(self, name, entries, opens=(), sessions=10, pause=300):
        argv = [NODE, os.path.join(HERE, "judges.mjs"), "--sessions", sessions, "--pause", pause, "--to",
                ",".join(pod.entry for pod in entries)]
        if opens:
            argv += ["--open-at", ",".join(pod.entry for pod in opens)]
        super().__init__(name, argv, stdin=subprocess.PIPE)

    def tell(self, *words):
        tell(self, *words)

    def wait_judging(self, seconds=40):
        self.wait_line(r"^judging$", seconds)

    def finish(self, seconds=30):
        """(exit code, its report)."""
        self.tell("end")
        return tool_report(self, seconds)


# ---- load ---------------------------------------------------------------------------------------

class Load(Process):
    """tests/tools/load under control. Targets are numbered as in `entries`."""

    def __init__(self, name, entries, opens=(), sessions=1000, rate=300, streams=0, seconds=600,
                 tools=("echo", "counter"), flags=("--new-connection",)):
        self.record = os.path.join(Settings.directory, f"{name}.record")
        self.rate, self.sessions = rate, sessions
        argv = [Settings.program("tests/tools/load"), "--to", ",".join(pod.entry for pod in entries),
                "--sessions", sessions, "--rate", rate, "--streams", streams, "--seconds", seconds,
                "--tool", ",".join(tools), "--timeout-ms", "12000", "--record", self.record, "--control", "--list", "--moves",
                "--look", "--keep", "--json", "--skip-dead", *flags]
        if opens:
            argv += ["--open-at", ",".join(pod.entry for pod in opens)]
        super().__init__(name, argv, stdin=subprocess.PIPE)
        self.begun = None

    def wait_running(self, seconds=60):
        found = self.wait_line(r"running since (\d+)", seconds)
        self.begun = int(found.group(1)) / 1e9
        return self.begun

    def tell(self, *words):
        tell(self, *words)

    def finish(self, seconds=90):
        """Its record, once it has ended."""
        if self.process.poll() is None:
            self.tell("end")
        _, report = tool_report(self, seconds)
        return Record(self.record, report)


Call = collections.namedtuple("Call", "number session tool target due done outcome status detail")
Execution = collections.namedtuple("Execution", "when server session method tool id number")


class Record:
    """What the clients saw."""

    def __init__(self, path, report):
        self.report, self.calls, self.looks = report, [], {}
        self.opened = set()  # sessions
        self.events = collections.defaultdict(list)  # number -> [(session, when)]
        self.missed = collections.defaultdict(list)  # session -> when a gap was said
        self.breaks = []  # (when, session, status)
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                self.take(line.rstrip("\n").split("\t"))

    def take(self, words):
        if words[0] == "event":
            self.events[int(words[2])].append((int(words[1]), int(words[3]) / 1e6))
        elif words[0] == "stream":
            session, word, status, when = int(words[1]), words[2], int(words[3]), int(words[5]) / 1e6
            if word == "missed":
                self.missed[session].append(when)
            elif word == "ended":
                self.breaks.append((when, session, status))
        elif words[0] == "call":
            due, done = int(words[5]) / 1e6, int(words[6]) / 1e6  # a tick may come a little early
            call = Call(int(words[1]), int(words[2]), words[3], int(words[4]), due, max(due, done),
                        words[7], int(words[8]), words[9])
            if call.tool == "look":
                self.looks[call.session] = call
            elif call.tool == "list" and call.outcome == "ok":
                self.opened.add(call.session)
            elif call.tool not in ("initialize", "initialized", "list", "GET", "answer", "DELETE"):
                self.calls.append(call)


def executions(pods):
    """Of all lives of these pods' stubs."""
    found = []
    for path in sorted({pod.calls for pod in pods}):
        with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as log:
            for line in log:
                words = line.rstrip("\n").split("\t")
                number = int(words[6]) if words[6].isdigit() else None
                found.append(Execution(int(words[0]) / 1e3, *words[1:6], number))
    return found


# ---- the judge ----------------------------------------------------------------------------------

def at(values, share):
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else None


def spread(values):
    return {"count": len(values), "p50": at(values, 0.5), "p99": at(values, 0.99),
            "max": max(values, default=None)}


class Verdict:
    """`ran`: what the servers logged (None: they log nothing); load from `begun` on, the fault at `fault`; sessions whose client
    asked within `window` s of it count for how long one waits: later ones find it repaired."""

    def __init__(self, record, ran, begun, fault, rate, window=2.0):
        self.window, self.fallen = window, []
        self.record, self.ran, self.begun, self.fault = record, ran, begun, fault
        self.by_session = collections.defaultdict(list)
        for call in record.calls:
            self.by_session[call.session].append(call)
        before = [call for call in record.calls if call.done < fault and call.outcome == "ok"]
        self.steady = len(before) / max(fault - begun, 0.001) / rate
        self.is_void = self.steady < STEADY
        self.judge_outcomes()
        self.judge_takeover()
        self.judge_executions()
        self.judge_events()

    def judge_outcomes(self):
        calls = self.record.calls
        sent = self.record.report["sent"]
        self.without_outcome = sent - len({call.number for call in calls})
        self.outcomes, self.reasons = collections.Counter(), collections.Counter()
        self.failed, self.unknown = [], []
        for call in calls:
            word = self.word(call)
            self.outcomes[word] += 1
            if word == "ok":
                continue
            self.reasons[word, call.detail[:100]] += 1
            in_flight = call.tool in UNSAFE and call.outcome == "error" and call.done > self.fault and \
                UNKNOWN in call.detail
            (self.unknown if in_flight else self.failed).append(call)
        self.late = [call for call in calls if call.done - call.due > PATIENCE_S]
        self.lost = sorted(session for session in self.record.opened if not self.is_there(session))

    @staticmethod
    def word(call):
        return f"{call.status}" if call.outcome == "status" else call.outcome

    def is_there(self, session):
        look = self.record.looks.get(session)
        return look is not None and look.outcome == "ok"

    def judge_takeover(self):
        """Of each session: what its client waited at most, from the fault or from when it asked, until
        the first answer that was no error. Calls that take long by themselves say nothing of it."""
        self.waits, self.never, self.longest = [], [], 0.0
        for session in sorted(self.record.opened):
            after = [call for call in self.by_session[session]
                     if call.done > self.fault and call.tool not in SLOW]
            good = min((call for call in after if call.outcome == "ok"), key=lambda call: call.done,
                       default=None)
            if good is None:
                if after and not self.is_there(session):
                    self.never.append(session)
                continue
            until = [call for call in after if call.due <= good.done]
            wait = max(call.done - max(self.fault, call.due) for call in until)
            self.longest = max(self.longest, wait)
            if min(call.due for call in until) < self.fault + self.window:
                self.waits.append(wait)
        self.latencies = [call.done - call.due for call in self.record.calls
                          if call.outcome == "ok" and call.tool not in SLOW]

    def judge_executions(self):
        runs = collections.defaultdict(list)
        for one in self.ran or ():
            if one.method == "tools/call" and one.number is not None:
                runs[one.number].append(one)
        self.twice = [number for number, each in runs.items()
                      if len(each) > 1 and each[0].tool in UNSAFE]
        self.safe_twice = [number for number, each in runs.items()
                           if len(each) > 1 and each[0].tool not in UNSAFE]
        self.unrun = [call.number for call in self.record.calls
                      if self.ran is not None and call.outcome == "ok" and call.number not in runs]
        self.old_answers = []
        for session, calls in self.by_session.items():
            heirs = []  # who answered first after whom
            for call in sorted(calls, key=lambda call: call.done):
                if call.outcome != "ok" or not call.detail:
                    continue
                if call.detail in heirs[:-1]:
                    self.old_answers.append(call)
                elif not heirs or heirs[-1] != call.detail:
                    heirs.append(call.detail)
        self.movers = sum(len({call.detail for call in calls if call.outcome == "ok" and call.detail}) > 1
                          for calls in self.by_session.values())

    def judge_events(self):
        self.said = self.events_lost = self.events_told = 0
        self.events_double = self.events_strange = self.events_disordered = 0
        by_session = collections.defaultdict(list)
        says = {call.number: call for call in self.record.calls if call.tool == "say"}
        for number, call in says.items():
            seen = self.record.events.get(number, [])
            self.events_double += max(0, len(seen) - 1)
            self.events_strange += sum(session != call.session for session, _ in seen)
            if call.outcome != "ok":
                continue
            self.said += 1
            if seen:
                by_session[call.session].append((call, seen[0][1]))
            elif self.record.missed[call.session]:
                self.events_told += 1
            else:
                self.events_lost += 1
        self.events_strange += sum(number not in says for number in self.record.events)
        # One call that was over before the next one began: their events come in that order.
        for pairs in by_session.values():
            pairs.sort(key=lambda pair: pair[0].due)
            newest = 0.0
            for i, (call, when) in enumerate(pairs):
                before = [other for earlier, other in pairs[max(0, i - 8):i] if earlier.done < call.due]
                newest = max([newest, *before])
                self.events_disordered += when < newest

    def problems(self, failures=0, unknown=None):
        """What no scenario allows, in words; empty: all is well."""
        found = list(self.fallen)

        def no(what, value, most=0):
            if value > most:
                found.append(f"{what}: {value}")
        if self.is_void:
            found.append(f"void: {self.steady:.0%} of the rate before the fault")
        no("requests without an outcome", self.without_outcome)
        no("failed requests", len(self.failed), failures)
        if unknown is not None:
            no("requests whose outcome nobody knows", len(self.unknown), unknown)
        no(f"requests answered after {PATIENCE_S} s", len(self.late))
        no("unsafe calls that ran twice", len(self.twice))
        no("answers of calls that no server ran", len(self.unrun))
        no("answers of a former owner", len(self.old_answers))
        no("sessions lost", len(self.lost))
        no("sessions never served again", len(self.never))
        no("events lost without a word", self.events_lost)
        no("events double", self.events_double)
        no("events on a wrong stream", self.events_strange)
        no("events out of order", self.events_disordered)
        found += [f"  failed: {call}" for call in self.failed[:3] if len(self.failed) > failures]
        if found and self.reasons:
            found += [f"  {count} × {word}: {detail}" for (word, detail), count in
                      self.reasons.most_common(6)]
        return found

    def summary(self):
        return {"steady": self.steady, "outcomes": dict(self.outcomes), "failed": len(self.failed),
                "unknown": len(self.unknown), "twice": len(self.twice),
                "safe twice": len(self.safe_twice), "lost": len(self.lost), "moved": self.movers,
                "old": len(self.old_answers), "said": self.said, "events lost": self.events_lost,
                "told": self.events_told, "double": self.events_double,
                "disordered": self.events_disordered, "wait": spread(self.waits),
                "longest": self.longest, "latency": spread(self.latencies)}


def show(seconds):
    return "–" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
