#!/usr/bin/env python3
"""real [--sizes 32,64] [--rounds N] [--idle SECONDS] [--losses N] [--build DIR] [--no-file] - what
membership costs in a real network: N processes of meshd (built-in server) beside N agents of serf, on
one machine, one after the other, in a network namespace of this script's own, so that loopback carries
nothing else. Every process has an address of its own (127.0.1.1, 127.0.1.2, ...).

  join    from the start of the second process, all asking the first, until every view names all
  idle    IP bytes on loopback and CPU, after `SETTLE` s, over --idle s without a question from us
  killed  SIGKILL: the kernel refuses what comes for it, UDP and TCP
  silent  every packet of it and for it is dropped (nftables), as when a machine is gone
  leave   asked to leave, until all others know

Who knows what and when is read from both programs' logs as they write them; only how many meshd sees
while many join is asked for (/metrics), since it writes no more than 20 lines a second. Sizes and
programs are measured in turn, round after round; the figures are medians. Prints the table and writes it to
docs/figures/real.md. Not a part of the tests; needs root, or user namespaces (then without `silent`)."""
import argparse
import base64
import contextlib
import http.client
import os
import random
import re
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
sys.dont_write_bytecode = True

import harness
from figures import commit, cpu_seconds, machine, memory_kib
from harness import ROOT, Settings, die_with_parent, sure, wait_until

SETTLE = 35  # meshd asks its contacts more often in its first 30 s
GROUP = 54320  # of process i: this + i, by which nftables knows its packets
IS_ROOT = os.getuid() == 0 and not os.environ.get("MESH_BENCH_MAPPED")


# ---- programs -----------------------------------------------------------------------------------

class Meshd:
    title = "meshd"
    seen = re.compile(rb" member_changed peer=(\S+) .*state=(\w+)")
    states = {b"alive": "alive", b"suspect": "alive", b"dead": "failed", b"left": "left"}
    leave_signal = signal.SIGTERM

    def argv(self, i, _count):
        joins = ["--join", "127.0.1.1:7946"] if i > 1 else []
        return [Settings.program("node/meshd"), "--name", f"n{i}", "--cluster", "bench",
                "--listen", f"127.0.1.{i}:8080", "--peer-listen", f"127.0.1.{i}:7946",
                "--admin", f"127.0.1.{i}:9090", "--drain-grace", "0s", *joins]

    def sees(self, agent, count):
        """When it saw so many, itself among them; None: it does not. A question every 25 ms."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(f"127.0.1.{agent.i}", 9090, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics")
                text = connection.getresponse().read()
            found = re.findall(rb'^mesh_members{state="(?:alive|suspect)"} (\d+)', text, re.M)
            if sum(map(int, found)) == count:
                return time.monotonic()
        return None


class Serf:
    title = "serf"
    seen = re.compile(rb" serf: EventMember(Join|Failed|Leave)(?: \(forced\))?: (\S+)")
    states = {b"Join": "alive", b"Failed": "failed", b"Leave": "left"}
    leave_signal = signal.SIGINT
    key = None

    def argv(self, i, _count):
        joins = ["-join", "127.0.1.1:7946"] if i > 1 else []
        sealed = ["-encrypt", self.key] if self.key else []
        return [shutil.which("serf"), "agent", "-node", f"n{i}", "-bind", f"127.0.1.{i}:7946",
                "-rpc-addr", f"127.0.1.{i}:7373", "-log-level", "info", *joins, *sealed]

    def sees(self, agent, count):
        seen = [when for name, (state, when) in agent.view.copy().items()
                if state == "alive" and name != agent.name]
        return max(seen) if len(seen) == count - 1 else None


class SealedSerf(Serf):
    title = "serf, encrypted"
    key = base64.b64encode(bytes(range(32))).decode()


class Agent:
    """One process, and what its log says of the others: name -> (state, when)."""

    def __init__(self, kind, i, count):
        self.kind, self.i, self.name = kind, i, f"n{i}"
        self.view, self.rest, self.tail = {}, b"", b""
        more = {"group": GROUP + i, "extra_groups": []} if IS_ROOT else {}
        env = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        self.process = subprocess.Popen(
            kind.argv(i, count), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=env, preexec_fn=die_with_parent, **more)
        self.pid = self.process.pid
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self, now):
        data = self.process.stdout.read()
        if not data:
            return data is None
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            found = self.kind.seen.search(line)
            if found:
                words = found.groups()
                name, word = words if words[1] in self.kind.states else words[::-1]
                self.view[name.decode()] = (self.kind.states[word], now)
        self.tail = (self.tail + data)[-2000:]
        return True

    def believes(self, name):
        return self.view.get(name, (None, 0))

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Mesh:
    """`count` agents of one kind; a thread reads what they write."""

    def __init__(self, kind, count):
        self.kind, self.count, self.agents = kind, count, []
        self.selector = selectors.DefaultSelector()
        self.is_over = False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.is_over:
            for key, _ in self.selector.select(0.2):
                with self.lock:
                    if key.fileobj.closed or not key.data.read(time.monotonic()):
                        self.selector.unregister(key.fileobj)

    def start(self, i):
        agent = Agent(self.kind, i, self.count)
        self.agents.append(agent)
        with self.lock:
            self.selector.register(agent.process.stdout, selectors.EVENT_READ, agent)
        return agent

    def join(self):
        first = self.start(1)
        wait_until(10, lambda: listens(first), "the first process listens")
        begun = time.monotonic()
        for i in range(2, self.count + 1):
            self.start(i)
        times, missing = [], list(self.agents)
        while missing:
            sure(time.monotonic() < begun + 60, f"{self.kind.title}: {missing[0].name} does not see",
                 self.count, missing[0].tail.decode(errors="replace"))
            time.sleep(0.025)
            for agent in missing[:]:
                if when := self.kind.sees(agent, self.count):
                    times.append(when)
                    missing.remove(agent)
        return max(times) - begun

    def lose(self, agent, state, act, seconds):
        """`act` on it, and how long until the first and the last other one says `state` of it."""
        others = [other for other in self.agents if other is not agent]
        begun = time.monotonic()
        act(agent)
        end = begun + seconds
        while missing := [other for other in others if other.believes(agent.name)[0] != state]:
            sure(time.monotonic() < end, f"{self.kind.title}: {agent.name} is not {state} to",
                 missing[0].name, "\n", missing[0].tail.decode(errors="replace"), "\n",
                 agent.tail.decode(errors="replace"))
            time.sleep(0.05)
        times = [other.believes(agent.name)[1] - begun for other in others]
        self.agents = others
        return min(times), max(times)

    def draw(self):
        return random.choice(self.agents[1:])

    def end(self):
        for agent in self.agents:
            with self.lock:
                agent.end()
        self.is_over = True
        self.thread.join()
        self.selector.close()


def listens(agent):
    sure(agent.process.poll() is None, f"{agent.name} ended:", agent.tail.decode(errors="replace"))
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(line.split()[1] == "0101007F:1F0A" and line.split()[3] == "0A"
                   for line in table.readlines()[1:])


# ---- what is measured ---------------------------------------------------------------------------

def loopback():
    """IP bytes that went over loopback: each packet once, no link header."""
    with open("/proc/net/dev", encoding="ascii") as table:
        line = next(line for line in table if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


def check_loopback():
    """That the counter counts that."""
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        before = loopback()
        one.sendto(bytes(100), one.getsockname())
        sure(loopback() - before == 128, "a datagram of 100 bytes is", loopback() - before)


def nft(*lines):
    subprocess.run(["nft", "-f", "-"], input="\n".join(lines), text=True, check=True)


def silence(agent):
    """What is for it is dropped where it arrives: dropped earlier, its sender would get an error."""
    nft("table inet bench {",
        "chain in { type filter hook input priority 0;",
        f"ip daddr 127.0.1.{agent.i} drop; }}",
        "chain out { type filter hook output priority 0;",
        f"meta skgid {GROUP + agent.i} drop; }}", "}")


def idle(mesh, seconds, found):
    cpu = sum(cpu_seconds(agent.pid) for agent in mesh.agents)
    sent, begun = loopback(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begun
    found["bytes"].append((loopback() - sent) / passed / mesh.count)
    cpu = sum(cpu_seconds(agent.pid) for agent in mesh.agents) - cpu
    found["cpu"].append(cpu * 60 / passed / mesh.count)
    found["rss"].append(statistics.median(memory_kib(agent.pid) for agent in mesh.agents) / 1024)


def measure(kind, count, options, found):
    mesh = Mesh(kind, count)
    try:
        found["join"].append(mesh.join())
        time.sleep(SETTLE)
        idle(mesh, options.idle, found)
        for _ in range(options.losses):
            agent = mesh.draw()
            first, last = mesh.lose(agent, "failed", lambda one: one.process.kill(), 90)
            found["killed first"].append(first)
            found["killed"].append(last)
            agent.end()
            time.sleep(3)
        for _ in range(options.losses if IS_ROOT else 0):
            agent = mesh.draw()
            first, last = mesh.lose(agent, "failed", silence, 90)
            found["silent first"].append(first)
            found["silent"].append(last)
            agent.end()
            nft("delete table inet bench")
            time.sleep(3)
        agent = mesh.draw()
        _, last = mesh.lose(agent, "left",
                            lambda one: one.process.send_signal(kind.leave_signal), 120)
        found["leave"].append(last)
        agent.end()
    finally:
        if IS_ROOT:
            subprocess.run(["nft", "delete", "table", "inet", "bench"], stderr=subprocess.DEVNULL)
        mesh.end()


COLUMNS = (("join", "join, s", "{:.2f}"), ("bytes", "IP bytes/s a peer, idle", "{:.0f}"),
           ("cpu", "CPU s a minute", "{:.3f}"), ("rss", "RSS, MiB", "{:.1f}"),
           ("killed first", "killed: first, s", "{:.2f}"), ("killed", "all, s", "{:.2f}"),
           ("silent first", "silent: first, s", "{:.2f}"), ("silent", "all, s", "{:.2f}"),
           ("leave", "leave: all, s", "{:.3f}"))


def report(kinds, sizes, found):
    def cell(kind, size, name, form):
        values = found[kind.title, size][name]
        return form.format(statistics.median(values)) if values else "–"
    lines = ["| peers | program | " + " | ".join(title for _, title, _ in COLUMNS) + " |",
             "|---|---|" + "---|" * len(COLUMNS)]
    for size in sizes:
        for kind in kinds:
            cells = [cell(kind, size, name, form) for name, _, form in COLUMNS]
            lines.append(f"| {size} | {kind.title} | " + " | ".join(cells) + " |")
    return lines


def write(lines, options, version):
    silent = "" if IS_ROOT else " Silent was not measured: that needs root."
    path = os.path.join(ROOT, "docs/figures/real.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""# Membership beside serf

Made by `scripts/bench real`: commit {commit()}, {time.strftime("%Y-%m-%d")}, {machine()}; {version}.

Every process has an address of its own on loopback, in a network namespace that carries nothing else;
each program is measured alone, in turn, {options.rounds} rounds; medians. Both as they come: serf's
profile is `lan`, meshd's server the built-in one, its datagrams always sealed; `--drain-grace 0s`, which
waits for a balancer. Join: from the start of the second process, the others' one contact being up, until
every process sees all (serf: by its log; meshd, which limits its lines: asked every 25 ms). Idle:
{options.idle} s, from {SETTLE} s after that; bytes with their IP headers, what a peer sends (as much
comes). Killed: SIGKILL, so that the kernel answers for it with refusals; silent: every packet from and to
it is dropped; {options.losses} of each a round, until the first and until the last other
process logs it as failed. Leave: SIGTERM (serf: SIGINT), until all others log it.{silent}

{chr(10).join(lines)}
""")


# ---- running ------------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(prog="bench real", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="32,64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=60)
    parser.add_argument("--losses", type=int, default=3)
    parser.add_argument("--build", help="a build that is there, instead of build/gcc made anew")
    parser.add_argument("--no-file", action="store_true")
    return parser.parse_args()


def enter_namespace(options):
    """Builds what is needed, then runs this script again where loopback is its own."""
    if subprocess.run([os.path.join(ROOT, "scripts/need"), "real"]).returncode != 0:
        sys.exit(2)
    build = os.path.abspath(options.build or os.path.join(ROOT, "build/gcc"))
    if not options.build:
        if not os.path.exists(os.path.join(build, "build.ninja")):
            subprocess.run(["meson", "setup", build, ROOT, "-Dwerror=true"], check=True,
                           stdout=subprocess.DEVNULL, env={**os.environ, "CC": "gcc"})
        subprocess.run(["ninja", "-C", build, "--quiet", "node/meshd"], check=True)
    os.environ["MESH_BENCH_INSIDE"] = build
    flags = ["-n"]
    if os.getuid() != 0:
        flags = ["-rn"]
        os.environ["MESH_BENCH_MAPPED"] = "yes"
    os.execvp("unshare", ["unshare", *flags, sys.executable, os.path.abspath(__file__),
                          *sys.argv[1:]])


def main():
    options = arguments()
    if "MESH_BENCH_INSIDE" not in os.environ:
        enter_namespace(options)
    harness.begin("real", os.environ["MESH_BENCH_INSIDE"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    check_loopback()
    kinds = [Meshd(), Serf(), SealedSerf()]
    sizes = [int(size) for size in options.sizes.split(",")]
    version = subprocess.run(["serf", "version"], capture_output=True, text=True).stdout
    version = "serf " + version.split("\n")[0].replace("serf ", "")
    found = {(kind.title, size): {name: [] for name, _, _ in COLUMNS}
             for kind in kinds for size in sizes}
    for round_number in range(1, options.rounds + 1):
        for size in sizes:
            for kind in kinds:
                values = found[kind.title, size]
                measure(kind, size, options, values)
                words = ", ".join(f"{name} {values[name][-1]:.3g}" for name, _, _ in COLUMNS
                                  if values[name])
                print(f"round {round_number}, {size} × {kind.title}: {words}", flush=True)
    lines = report(kinds, sizes, found)
    print("\n" + "\n".join(lines))
    if not options.no_file:
        write(lines, options, version)


main()
