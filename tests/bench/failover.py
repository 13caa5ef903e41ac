"""bench failover [--rounds N] [--at-once N] [--quick] [--only NAME[,...]] [--judges N] [--build DIR]
[--no-file] - what clients notice when a peer dies, stops, is cut off, leaves or comes back: meshes of 3 and 5 peers, each with
a server of its own (tests/tools/stub, which logs every execution), sessions under an open loop of calls
(tests/tools/load) at the peers that live on, numbered events on GET streams, and sessions of the official
SDKs' clients that must see no failure. Each run has a network namespace of its own; where a peer has to be
cut off, each peer has one (nftables).

Judged afterwards from the clients' records and the servers' logs. A run whose rate before the fault was
below 95 % of its target is void. Prints a table, writes docs/figures/failover.md with its pictures.
--at-once: so many runs share the machine. --quick: 100 sessions, one mesh of 3, short. Exit code 1: something happened that must not. Not a part of
the tests; needs root, or user namespaces."""
import argparse
import concurrent.futures
import os
import pickle
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "system")]
sys.dont_write_bytecode = True

import harness
import places
import plots
from figures import commit, machine, memory_kib
from harness import ROOT, Settings, sure, wait_until
from moves import (PATIENCE_S, UNKNOWN, Judges, Load, Pod, Verdict, at, executions, fallen, rollout, show, start_pods,
                   tell, wait_mesh)

# What a call of the load draws.
TOOLS = ("echo", "echo", "whoami", "counter", "counter", "say", "say", "slow", "slow_counter")
STEADY_S = 5  # of load before the fault


class Size:
    """Of a run."""

    def __init__(self, options):
        self.sessions, self.rate, self.streams = (100, 100, 30) if options.quick else (1000, 300, 300)
        self.judges, self.steady = options.judges, 3 if options.quick else STEADY_S
        self.after, self.split = (6, 15) if options.quick else (12, 60)
        self.is_quick = options.quick


class Result:
    """One run of one scenario."""

    def __init__(self, name, problems, verdict=None, **more):
        self.name, self.problems, self.verdict, self.more = name, problems, verdict, more
        self.summary = verdict.summary() if verdict else {}

    def line(self):
        words = [f"{self.name}:"]
        if self.verdict:
            some = self.summary
            wait, latency = some["wait"], some["latency"]
            words += [f"waited {show(wait['p50'])}/{show(wait['p99'])}/{show(wait['max'])},",
                      f"calls {show(latency['p50'])}/{show(latency['p99'])}/{show(latency['max'])},",
                      f"{some['outcomes']}, unknown {some['unknown']}, moved {some['moved']},",
                      f"twice {some['twice']}, lost {some['lost']},",
                      f"events {some['said']} lost {some['events lost']} told {some['told']} "
                      f"double {some['double']},"]
        words += [f"{name} {value}" for name, value in self.more.items() if name != "draw"]
        words.append("well" if not self.problems else "NOT WELL")
        return " ".join(words)


class Ride:
    """Load, and judges where wanted, over some pods; the fault comes once it is steady."""

    def __init__(self, size, cluster, pods, entries, opens, judges=0, **more):
        self.size, self.pods, self.judges = size, pods, None
        if judges:
            self.judges = Judges(f"{cluster}-judges", entries, opens, judges, 40 * judges)
            self.judges.wait_judging()
        self.load = Load(f"{cluster}-load", entries, opens, size.sessions, size.rate,
                         **{"streams": size.streams, "tools": TOOLS, **more})
        self.begun = self.load.wait_running()
        time.sleep(size.steady)
        self.fault = None

    @property
    def riders(self):
        return [self.load] + ([self.judges] if self.judges else [])

    def finish(self, window=2.0):
        logs = all(pod.server == "stub" for pod in self.pods)
        verdict = Verdict(self.load.finish(), executions(self.pods) if logs else None, self.begun,
                          self.fault, self.size.rate, window)
        verdict.fallen = fallen(self.pods)
        return verdict

    def judged(self):
        """What their users saw; empty: nothing."""
        if not self.judges:
            return []
        code, report = self.judges.finish()
        return [] if code == 0 else [f"SDK clients: {report['failures']} failures: {report['kinds']}, forgiven: "
                                     f"{report['forgiven']}"]


def bound(what, value, most):
    return [f"{what}: {show(value)}, above {show(most)}"] if value is None or value > most else []


def bounds(verdict, p50, p99, most):
    wait = verdict.summary()["wait"]
    return bound("wait p50", wait["p50"], p50) + bound("wait p99", wait["p99"], p99) + \
        bound("wait max", max(wait["max"] or most * 2, verdict.longest), most)


def end(pods):
    for pod in pods:
        pod.end()


# ---- on loopback --------------------------------------------------------------------------------

def killed(size, count):
    """kill -9 of the owner of all sessions, its server with it."""
    cluster = f"killed{count}"
    pods = start_pods(count, cluster)
    victim, *others = pods
    ride = Ride(size, cluster, pods, others, [victim], size.judges)
    ride.fault = victim.kill()
    time.sleep(size.after / 2)
    if ride.judges:
        tell(ride.judges, "loud")
    time.sleep(size.after / 2)
    verdict = ride.finish()
    problems = verdict.problems() + bounds(verdict, 0.3, 1, 2) + ride.judged()
    end(pods)
    return Result(f"kill -9 an owner, {count} peers", problems, verdict, draw="kill")


def killed_everything(size):
    """Likewise with servers whose handshake is heavy, and which log nothing: shown, without a bound."""
    pods = start_pods(3, "everything", server="everything")
    victim, *others = pods
    ride = Ride(size, "everything", pods, others, [victim], tools=("echo",), streams=0)
    ride.fault = victim.kill()
    time.sleep(size.after)
    verdict = ride.finish()
    problems = verdict.problems()
    end(pods)
    return Result("kill -9 an owner, 3 peers, server-everything behind each", problems, verdict)


def neighbours(size):
    """Two of five within 100 ms: an owner and a holder of copies of many of its sessions."""
    pods = start_pods(5, "neighbours")
    victim, second, *others = pods
    ride = Ride(size, "neighbours", pods, others, [victim])
    time.sleep(2)  # two copies are acknowledged
    ride.fault = victim.kill()
    apart = second.kill() - ride.fault
    time.sleep(size.after)
    verdict = ride.finish()
    end(pods)
    return Result("two of 5 killed within 100 ms", verdict.problems() + bounds(verdict, 1, 3, 5), verdict,
                  apart=show(apart))


def stopped(size, seconds):
    """SIGSTOP, then CONT; its server runs on."""
    cluster = f"stopped{seconds}"
    pods = start_pods(3, cluster)
    victim, *others = pods
    ride = Ride(size, cluster, pods, others, [victim])
    ride.fault = time.monotonic()
    victim.signal(signal.SIGSTOP)
    time.sleep(seconds)
    victim.signal(signal.SIGCONT)
    time.sleep(size.after)
    verdict = ride.finish()
    summary = verdict.summary()
    problems = verdict.problems()
    problems += bounds(verdict, 5, 5, 5) if seconds > 1 else bounds(verdict, 2, 2, 2)
    if seconds == 1 and summary["moved"]:
        problems.append(f"taken over: {summary['moved']} sessions of an owner that paused for 1 s")
    end(pods)
    return Result(f"SIGSTOP {seconds} s, CONT", problems, verdict)


def server_lost(size, is_back):
    """The MCP server is killed under its living peer; it comes back within a moment, or never."""
    cluster = "server-back" if is_back else "server-gone"
    pods = start_pods(3, cluster)
    victim, *others = pods
    ride = Ride(size, cluster, pods, pods, [victim])
    ride.fault = time.monotonic()
    victim.stub.kill()
    if is_back:
        time.sleep(0.3)
        victim.start_server()
    time.sleep(size.after)
    verdict = ride.finish()
    problems = verdict.problems() + bounds(verdict, *((1, 2, 3) if is_back else (3, 5, 6)))
    if any(call.status == 404 for call in verdict.record.calls):
        problems.append("a 404 was seen")
    end(pods)
    return Result("the local server killed, " + ("back after 0.3 s" if is_back else "for good"), problems,
                  verdict)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rolled(size, count, rounds=1):
    """Rolling restarts; the balancer sends to a peer for 2 s after its SIGTERM."""
    pods = start_pods(count, "rolled")
    ride = Ride(size, "rolled", pods, pods, (), size.judges)
    if ride.judges:
        tell(ride.judges, "loud")
    ride.fault = time.monotonic()
    drains, sizes = [], []
    for _ in range(rounds):
        drains += rollout(pods, ride.riders)
        sizes.append((max(memory_kib(pod.meshd.pid) for pod in pods),
                      max(descriptors(pod.meshd.pid) for pod in pods)))
    verdict = ride.finish()
    problems = verdict.problems(unknown=0) + ride.judged() + bound("a drain", max(drains), 25)
    if rounds > 1:
        if sizes[-1][0] > sizes[0][0] * 1.25 + 2048:
            problems.append(f"RSS grew: {sizes}")
        if sizes[-1][1] > sizes[0][1] + 32:
            problems.append(f"descriptors grew: {sizes}")
    end(pods)
    times = f"{rounds} times " if rounds > 1 else ""
    return Result(f"rolling restart of {count} peers {times}".strip(), problems, verdict, draw="rollout",
                  drain=show(max(drains)), rss_kib=sizes[-1][0], fds=sizes[-1][1])


# ---- in namespaces ------------------------------------------------------------------------------

class Apart:
    """Pods in namespaces of their own."""

    def __init__(self, cluster, count):
        key = os.path.join(Settings.directory, f"{cluster}.key")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(subprocess.check_output([Settings.program("node/meshd"), "keygen"]))
        self.flags, self.cluster = ["--key-file", key, "--allow-host", "*"], cluster
        self.places = [places.Place(i + 1) for i in range(count)]
        self.pods = start_pods(count, cluster, flags=self.flags,
                               each=lambda i: {"place": self.places[i]})

    def end(self):
        end(self.pods)
        for place in self.places:
            place.close()


def cut_off(size, count):
    """Every packet from and to the owner is dropped."""
    mesh = Apart(f"cut{count}", count)
    victim, *others = mesh.pods
    ride = Ride(size, mesh.cluster, mesh.pods, others, [victim])
    ride.fault = time.monotonic()
    victim.place.cut()
    time.sleep(size.after)
    victim.place.heal()
    time.sleep(6)
    verdict = ride.finish(window=5)
    mesh.end()
    return Result(f"owner cut off without a refusal, {count} peers, healed after {size.after} s",
                  verdict.problems() + bounds(verdict, 3, 3, 5), verdict)


def rejected(size):
    """A firewall refuses the link port of a living owner: nobody is taken over."""
    mesh = Apart("rejected", 3)
    victim, *others = mesh.pods
    ride = Ride(size, mesh.cluster, mesh.pods, others, [victim])
    ride.fault = time.monotonic()
    victim.place.reject_links()
    time.sleep(size.after)
    victim.place.heal()
    time.sleep(3)
    verdict = ride.finish()
    problems = verdict.problems(unknown=0) + bounds(verdict, 2, 2, 3)
    if verdict.movers:
        problems.append(f"taken over: {verdict.movers} sessions of a living owner")
    mesh.end()
    return Result("the firewall refuses a living owner's link port", problems, verdict)


NOTICED_S = 3  # by then each side knows that the other is gone, and carries on what it has a record of


MET_S = 5  # after a split is healed


def split_errors(verdict, healed):
    """The errors of a split: where nobody on the side that was asked has a record of the session, as of a
    tenth of them with 2 copies among 5, until both sides have met again; in flight when it came or when it
    healed; and the rest, which must not be. Who has a record is seen from who is answered there while it
    lasts."""
    def side(call):
        return call.session, call.target < 2
    served = {side(call) for call in verdict.record.calls
              if call.outcome == "ok" and call.due > verdict.fault + NOTICED_S and call.done < healed}
    unserved, in_flight, wrong = [], [], []
    for call in verdict.failed + verdict.unknown:
        is_during = verdict.fault - PATIENCE_S < call.due < healed + MET_S
        may_have_run = UNKNOWN in call.detail
        if call.outcome != "error":
            wrong.append(call)
        elif is_during and call.done > verdict.fault and side(call) not in served and not may_have_run:
            unserved.append(call)
        elif may_have_run and any(call.due < moment + NOTICED_S and call.done > moment
                                  for moment in (verdict.fault, healed)):
            in_flight.append(call)
        else:
            wrong.append(call)
    return unserved, in_flight, wrong


def split(size):
    """2 : 3, then healed: one owner for each session within MET_S."""
    mesh = Apart("split", 5)
    few, many = mesh.places[:2], mesh.places[2:]
    ride = Ride(size, mesh.cluster, mesh.pods, mesh.pods, (), size.judges)
    if ride.judges:
        tell(ride.judges, "lenient")
    ride.fault = time.monotonic()
    for place in few:
        place.part(many)
    for place in many:
        place.part(few)
    time.sleep(size.split)
    healing = time.monotonic()
    for place in mesh.places:
        place.heal()
    healed = time.monotonic()
    time.sleep(MET_S)
    if ride.judges:
        tell(ride.judges, "strict")
        tell(ride.judges, "loud")
    time.sleep(size.after)
    verdict = ride.finish()
    # While it lasts both sides may serve, each in its own epochs; what one side's server said is not on
    # the stream that the other side holds: it comes late, or is said to be missing.
    answerers = {}
    for call in verdict.record.calls:
        if call.outcome == "ok" and call.detail and call.due > healed + MET_S:
            answerers.setdefault(call.session, set()).add(call.detail)
    both = sum(len(who) > 1 for who in answerers.values())
    after = [call for call in verdict.failed if call.due > healed + MET_S]
    unserved, in_flight, wrong = split_errors(verdict, healing)
    problems = [line for line in verdict.problems(failures=len(verdict.record.calls))
                if not line.startswith(("answers of a former owner", "events out of", "  "))]
    problems += [f"sessions with two owners 5 s after the heal: {both}"] if both else []
    problems += [f"failed calls 5 s after the heal: {len(after)}: {after[0]}"] if after else []
    problems += ride.judged()
    problems += [f"failed, though their side serves the session: {len(wrong)}: {wrong[0]}"] if wrong else []
    mesh.end()
    return Result(f"split 2 : 3 for {size.split} s, healed", problems, verdict, both=both,
                  on_a_side_without_a_record=len(unserved), of_sessions=len({c.session for c in unserved}),
                  in_flight=len(in_flight))


def renamed(size):
    """A pod is made anew under its name at another address; its old address gets another pod."""
    mesh = Apart("renamed", 3)
    victim, *others = mesh.pods
    ride = Ride(size, mesh.cluster, mesh.pods, others, [victim])
    ride.fault = victim.kill()
    old = victim.place
    new = Pod(victim.name, mesh.cluster, places.Place(101), mesh.flags)
    stranger = Pod("p9", mesh.cluster, places.Place(102), mesh.flags)
    # The stranger gets the very address that the dead one had.
    old.close()
    stranger.place.close()
    stranger.place = places.Place(old.number)
    mesh.places += [new.place, stranger.place]
    begun = time.monotonic()
    mesh.pods += [new, stranger]
    new.start(others)
    stranger.start(others)
    wait_until(20, lambda: all(pod.sees(4) for pod in others), "four members")
    learned = time.monotonic() - begun
    time.sleep(size.after)
    verdict = ride.finish()
    problems = verdict.problems() + bound("learned", learned, 2) + bounds(verdict, 0.3, 1, 2)
    mesh.end()
    return Result("a pod made anew: same name, new address, its old one another's", problems, verdict,
                  learned=show(learned))


# ---- which rate the machine carries -------------------------------------------------------------

def carried(size):
    """The greatest rate at which 3 healthy peers fail nothing and answer in time."""
    pods = start_pods(3, "carried")
    best, lines = 0, []
    for rate in (size.rate, 2 * size.rate, 4 * size.rate, 8 * size.rate):
        load = Load(f"carried-{rate}", pods, sessions=size.sessions, rate=rate, streams=size.streams,
                    tools=TOOLS)
        begun = load.wait_running()
        time.sleep(4)
        end_at = time.monotonic()
        verdict = Verdict(load.finish(), executions(pods), begun, end_at - 0.5, rate)
        # Sessions are many loads' here, and numbers begin again.
        bad = verdict.is_void or verdict.failed or verdict.unknown
        latency = verdict.summary()["latency"]
        lines.append(f"{rate}/s: {verdict.steady:.1%}, calls {show(latency['p50'])}/"
                     f"{show(latency['p99'])}/{show(latency['max'])}")
        if bad:
            break
        best = rate
    end(pods)
    problems = [] if best >= size.rate else [f"this machine does not carry {size.rate}/s: {lines}"]
    return Result("what the machine carries", problems, carried=f"{best}/s", lines="; ".join(lines))


SCENARIOS = {
    "carried": carried,
    "killed3": lambda size: killed(size, 3),
    "killed5": lambda size: killed(size, 5),
    "everything": killed_everything,
    "neighbours": neighbours,
    "stop1": lambda size: stopped(size, 1),
    "stop5": lambda size: stopped(size, 5),
    "stop30": lambda size: stopped(size, 30),
    "server": lambda size: server_lost(size, True),
    "server-gone": lambda size: server_lost(size, False),
    "cut3": lambda size: cut_off(size, 3),
    "cut5": lambda size: cut_off(size, 5),
    "rejected": rejected,
    "split": split,
    "renamed": renamed,
    "rolled3": lambda size: rolled(size, 3),
    "rolled5": lambda size: rolled(size, 5),
    "rolled5x10": lambda size: rolled(size, 5, 10),
}
QUICK = ["carried", "killed3", "stop5", "server", "cut3", "rejected", "renamed", "rolled3"]
LONG = {"rolled5x10"}
ALONE = {"carried": 1, "everything": 3}  # take the machine for themselves, in so many rounds at most


# ---- the report ---------------------------------------------------------------------------------

def cells(name, results):
    """One row: of several rounds the medians, the worst where that is what counts."""
    judged = [one for one in results if one.verdict]
    if not judged:
        return None
    good = [one for one in judged if not one.verdict.is_void]

    def middle(key, share):
        values = [one.summary[key][share] for one in good if one.summary[key][share] is not None]
        return show(statistics.median(values) if values else None)

    def worst(key):
        return max((one.summary[key] for one in good), default="–")

    def most(key):
        return show(max((one.summary[key]["max"] for one in good
                         if one.summary[key]["max"] is not None), default=None))
    waits = f"{middle('wait', 'p50')} / {middle('wait', 'p99')} / {most('wait')}"
    calls = f"{middle('latency', 'p50')} / {middle('latency', 'p99')} / {most('latency')}"
    well = sum(not one.problems for one in results)
    return [name, f"{well} of {len(results)}" + (f" ({len(judged) - len(good)} void)"
                                                 if len(good) < len(judged) else ""),
            waits, calls, worst("failed"), worst("unknown"), worst("twice"), worst("lost"),
            f"{worst('events lost')} / {worst('double')}"]


HEADS = ["what happens", "well", "a session waited, p50 / p99 / max", "a call took, p50 / p99 / max",
         "failed", "outcome unknown", "ran twice", "sessions lost", "events lost / double"]


def table(found):
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    for results in found.values():
        row = cells(results[0].name, results)
        if row:
            lines.append("| " + " | ".join(str(cell) for cell in row) + " |")
    return lines


def write(lines, found, options, minutes):
    size = Size(options)
    shared = f"; {options.at_once} runs at a time" if options.at_once > 1 else ""
    directory = os.path.join(ROOT, "docs/figures")
    pictures = []
    for results in found.values():
        last = results[-1]
        kind = last.more.get("draw")
        if kind and last.verdict:
            name = f"failover_{kind}.svg"
            title = {"kill": "Latency of calls across a kill -9 of their sessions' owner",
                     "rollout": "Latency of calls across a rolling restart"}[kind]
            plots.draw_failover(os.path.join(directory, name), f"{title} ({last.name})", last.verdict)
            pictures = [one for one in pictures if one[0] != name] + [(name, title)]
    notes = [f"- {one.name}, round {i + 1}: {line.strip()}" for results in found.values()
             for i, one in enumerate(results) for line in one.problems]
    extra = [f"- {one.name}: " + ", ".join(f"{name} {value}" for name, value in one.more.items()
                                           if name != "draw")
             for results in found.values() for one in results[-1:] if set(one.more) - {"draw"}]
    with open(os.path.join(directory, "failover.md"), "w", encoding="utf-8") as file:
        file.write(f"""# What clients notice of a peer that dies or leaves

Made by `scripts/bench failover`: commit {commit()}, {time.strftime("%Y-%m-%d")}, {machine()}; {minutes:.0f} minutes{shared}.

{size.sessions:,} sessions under {size.rate} calls/s whatever the answers do (`tests/tools/load`, a new connection for
each), {size.streams} of them with a GET stream on which numbered events come; each peer's server is `tests/tools/stub`,
which logs what it runs; load, peers and servers share the machine. "A session waited": what its client waited at
most from the fault, or from its first call after it, until it was served again; of those that asked within 2 s of the
fault (cut off: 5 s), since later ones find it repaired. "Failed": calls without an answer
that are not calls with effects caught in flight, which are told in-band that their outcome is unknown (the next
column); in a split they are, but for those in flight, calls on a side without a record of their session, counted
below. Of several rounds: medians, the greatest of the maxima, the worst counts.

{chr(10).join(lines)}

{chr(10).join(extra)}

{chr(10).join(f"![{title}]({name})" + chr(10) for name, title in pictures)}
{"## What was not well" + chr(10) + chr(10) + chr(10).join(notes) if notes else "Nothing happened that must not."}
""")


# ---- running ------------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(prog="bench failover", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help=", ".join(SCENARIOS))
    parser.add_argument("--judges", type=int, help="sessions of the SDKs' clients (50; --quick: 10)")
    parser.add_argument("--build", help="a build that is there, instead of build/gcc made anew")
    parser.add_argument("--no-file", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judges is None:
        options.judges = 10 if options.quick else 50
    names = options.only.split(",") if options.only else QUICK if options.quick else \
        [name for name in SCENARIOS if name not in LONG]
    for name in names:
        if name not in SCENARIOS:
            parser.error(f"no such scenario: {name}")
    options.names = names
    return options


def prepare(options):
    """What is needed, built. Returns where."""
    if subprocess.run([os.path.join(ROOT, "scripts/need"), "real", "sim", "npm"]).returncode != 0:
        sys.exit(2)
    if options.judges and subprocess.run([os.path.join(ROOT, "scripts/npm-install")]).returncode != 0:
        sys.exit(2)
    build = os.path.abspath(options.build or os.path.join(ROOT, "build/gcc"))
    if not options.build:
        if not os.path.exists(os.path.join(build, "build.ninja")):
            subprocess.run(["meson", "setup", build, ROOT, "-Dwerror=true"], check=True,
                           stdout=subprocess.DEVNULL, env={**os.environ, "CC": "gcc"})
        subprocess.run(["ninja", "-C", build, "--quiet", "node/meshd", "tests/tools/load",
                        "tests/tools/stub"], check=True)
    return build


def run_here(options):
    """One run, in the namespace that we are in; what came of it goes into the file."""
    harness.begin("failover", options.build)
    places.make_bridge()
    try:
        result = SCENARIOS[options.one](Size(options))
    except Exception as error:
        result = Result(options.one, [f"{type(error).__name__}: {error}"])
    harness.failed = bool(result.problems)
    with open(options.into, "wb") as file:
        pickle.dump(result, file)


def run_one(name, options, build):
    """Likewise, in a namespace made for it."""
    flags = ["-n"] if os.getuid() == 0 else ["-rn"]
    with tempfile.NamedTemporaryFile(prefix="mesh-failover-") as file:
        words = ["unshare", *flags, sys.executable, os.path.abspath(__file__), "--one", name, "--into", file.name,
                 "--build", build, "--judges", str(options.judges), *(["--quick"] if options.quick else [])]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            return pickle.load(file)
        except EOFError:
            return Result(name, [f"exit code {done.returncode}: {done.stdout[-1500:]}"])


def run_all(options, build):
    """{name: results}."""
    found = {}
    runs = [(number, name) for number in range(1, options.rounds + 1) for name in options.names]

    def note(number, name, result):
        found.setdefault(name, []).append(result)
        print(f"round {number}: {result.line()}", flush=True)
        for line in result.problems:
            print(f"    {line[:1500]}", flush=True)
    for number, name in runs:
        if number <= ALONE.get(name, 0):
            note(number, name, run_one(name, options, build))
    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        under_way = {pool.submit(run_one, name, options, build): (number, name)
                     for number, name in runs if name not in ALONE}
        for one in concurrent.futures.as_completed(under_way):
            note(*under_way[one], one.result())
    return {name: found[name] for name in options.names}


def main():
    options = arguments()
    if options.one:
        run_here(options)
        return
    build, begun = prepare(options), time.monotonic()
    found = run_all(options, build)
    lines = table(found)
    print("\n" + "\n".join(lines))
    if not options.no_file:
        write(lines, found, options, (time.monotonic() - begun) / 60)
    sys.exit(any(one.problems for results in found.values() for one in results))


main()
