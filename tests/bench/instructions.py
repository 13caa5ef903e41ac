"""scripts/bench instructions [--way one|two] [--connections N] [--pad BYTES] [--seconds N]
[--profile LINES] [--keep DIR] - what a request costs, counted: instructions in user space, system calls, allocations.

The peers run under callgrind, the load and the server (tests/tools) do not; so whatever else the machine
does, a peer meets in each turn of its loop what its connections had to say, and the counts of two runs
agree within two percent or so. What opening and ending the sessions cost is taken off by a run without
calls. 64 connections by default, each with a session of its own, a `tools/call` of 300 bytes on each again
and again. One hop: the peer that receives a request owns its session. Two hops: another one owns it; the
link between them is encrypted. What the kernel does is not in these figures: see the system calls.

--profile prints the functions that most of the instructions of each peer are in. Needs valgrind."""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/system"))
if subprocess.run([os.path.join(ROOT, "scripts/need"), "instructions"]).returncode != 0:
    sys.exit(2)

import harness
from harness import Peer, Settings, start_stub, wait_until

# As libc's functions are called; what valgrind puts in place of malloc() is not counted with it.
SYSTEM_CALLS = ("read", "write", "writev", "sendmsg", "recvmsg", "epoll_ctl", "epoll_wait", "epoll_pwait")
ALLOCATIONS = ("malloc", "calloc", "realloc")
TOOL_BYTES = 98  # of a call without padding


class Counts:
    """What callgrind counted, by function: instructions of its own, those with what it called, and how
    often it was called."""

    def __init__(self, path):
        self.own, self.whole, self.calls = {}, {}, {}
        function = callee = None
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("fn="):
                    function = plain(line[3:])
                elif line.startswith("cfn="):
                    callee = plain(line[4:])
                elif line.startswith("calls="):
                    add(self.calls, callee, int(line[6:].split()[0]))
                    add(self.whole, function, int(next(file).split()[1]))
                elif line[:1].isdigit():
                    cost = int(line.split()[1])
                    add(self.own, function, cost)
                    add(self.whole, function, cost)
        self.total = sum(self.own.values())

    def per_request(self, other, requests):
        """What is in these and not in the others, of each request."""
        for mine, its in ((self.own, other.own), (self.whole, other.whole), (self.calls, other.calls)):
            for name in mine:
                mine[name] = (mine[name] - its.get(name, 0)) / requests
        self.total = (self.total - other.total) / requests
        return self


def plain(name):
    return re.sub(r"@.*|'\d+$|\.(?:part|constprop|isra|lto_priv)\.\d+", "", name.strip())


def add(sums, name, more):
    sums[name] = sums.get(name, 0) + more


class Counted(Peer):
    """A peer under callgrind; each count begins anew."""

    def __init__(self, name, **more):
        self.out = os.path.join(Settings.directory, f"callgrind.{name}")
        self.dumps = 0
        super().__init__(name, prefix=["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}",
                                       "--compress-strings=no", "--compress-pos=no"], **more)

    def count(self):
        """Since the last time."""
        subprocess.run(["callgrind_control", "--dump", str(self.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.dumps += 1
        path = f"{self.out}.{self.dumps}"
        wait_until(60, lambda: is_whole(path), path)
        return Counts(path)


def is_whole(path):
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        return b"\ntotals: " in file.read()[-100:]


def run_load(options, seconds, port, open_at):
    argv = [Settings.program("tests/tools/load"), "--raw", "--json", "--expect-clean",
            "--to", f"127.0.0.1:{port}", "--open-at", f"127.0.0.1:{open_at}",
            "--connections", str(options.connections), "--sessions", str(options.connections),
            "--pad", str(options.pad), "--timeout-ms", "60000", "--seconds", str(seconds)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench instructions: {done.stdout} {done.stderr}")
    return json.loads(done.stdout)["answered"]


def measure(options, entry, owner, peers):
    """Of each peer the Counts of a request."""
    run_load(options, 2, entry.port, owner.port)  # warm
    for peer in peers:
        peer.count()
    few = run_load(options, 1, entry.port, owner.port)
    before = [peer.count() for peer in peers]
    many = run_load(options, options.seconds, entry.port, owner.port)
    return [peer.count().per_request(one, many - few) for peer, one in zip(peers, before)]


def show(name, counts, lines):
    calls = counts.calls
    words = [f"{calls[one]:.2f} {one}" for one in SYSTEM_CALLS if calls.get(one, 0) >= 0.005]
    allocations = sum(calls.get(one, 0) for one in ALLOCATIONS)
    print(f"| {name} | {counts.total:,.0f} | {', '.join(words)} | {allocations:.1f} "
          f"| {1 / calls['mesh_now']:.0f} |", flush=True)
    if lines == 0:
        return
    print(f"\n{'own':>7} {'whole':>7} {'calls':>6}  function")
    for function in sorted(counts.own, key=counts.own.get, reverse=True)[:lines]:
        print(f"{counts.own[function]:7,.0f} {counts.whole[function]:7,.0f} "
              f"{calls.get(function, 0):6.2f}  {function}")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pad", type=int, default=300 - TOOL_BYTES,
                        help="of the message of a call")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--way", choices=["one", "two"])
    parser.add_argument("--profile", type=int, default=0, metavar="LINES")
    parser.add_argument("--keep", metavar="DIR", help="where callgrind's own files stay")
    parser.add_argument("--build", default=os.path.join(ROOT, "build/gcc"))
    options = parser.parse_args()
    harness.begin("instructions", os.path.abspath(options.build))
    stub = start_stub("stub")
    key = os.path.join(Settings.directory, "key")
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(subprocess.check_output([Settings.program("node/meshd"), "keygen"]))
    flags = ["--key-file", key, "--upstream", f"http://127.0.0.1:{stub.port}/mcp"]
    owner = Counted("owner", flags=flags)
    entry = Counted("entry", joins=[owner], flags=flags)
    for peer in (owner, entry):
        wait_until(60, lambda: peer.sees(2) and peer.is_ready(), f"{peer.name} ready")
    print("| way | instructions | system calls | allocations | requests a turn |\n|---|---|---|---|---|")
    if options.way != "two":
        (one,) = measure(options, owner, owner, [owner])
        show("one hop", one, options.profile)
    if options.way != "one":
        at_entry, at_owner = measure(options, entry, owner, [entry, owner])
        show("two hops, entry", at_entry, options.profile)
        show("two hops, owner", at_owner, options.profile)
        print(f"| two hops | {at_entry.total + at_owner.total:,.0f} | | | |")
    if options.keep:
        for path in glob.glob(os.path.join(Settings.directory, "callgrind.*.*")):
            shutil.copy(path, options.keep)


main()
