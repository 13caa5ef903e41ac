"""A large answer passes through two peers, none of which may hold it: a JSON answer of 100 MiB, and
100 MiB as 25 events of 4 MiB; for a reader that is quick, and for one that is slow for a while."""
import threading

from figures import forget_most, memory_kib, tool_report
from harness import Process, Session, Settings, check, note, start_peers, start_stub, sure

MIB = 1 << 20
GROWTH_KIB = 8 * 1024
EVENTS, EVENT_BYTES = 25, 4 * MIB
SLOW = ("--slow-kib", 1024, "--slow-seconds", 6)


class Most(threading.Thread):
    """The most memory of some processes while this runs, in KiB; looked at where the kernel does
    not keep it."""

    def __init__(self, peers):
        super().__init__(daemon=True)
        self.peers, self.done = peers, threading.Event()
        self.is_kept = all([forget_most(peer.pid) for peer in peers])
        self.most = [0 for peer in peers]
        self.start()

    def run(self):
        while not self.done.wait(0.005):
            self.look("VmRSS")

    def look(self, field):
        now = [memory_kib(peer.pid, field) for peer in self.peers]
        self.most = [max(pair) for pair in zip(self.most, now)]

    def growth(self):
        self.done.set()
        self.join()
        if self.is_kept:
            self.look("VmHWM")
        return [most - peer.before for most, peer in zip(self.most, self.peers)]


def warm(owner, entry):
    """Whatever is made once is made before it is measured; both ways of an answer."""
    session = Session(owner.port)
    sure(session.call(entry.port, "big", bytes=1000))
    session.ask(entry.port, "tools/call", {"name": "slow", "arguments": {"ms": 2, "steps": 2},
                                           "_meta": {"progressToken": 1}})
    session.end(entry.port)
    for peer in (owner, entry):
        peer.before = memory_kib(peer.pid)


def passes(name, peers, allowed_kib, flags, seconds=120):
    owner, entry = peers
    most = Most(peers)
    tool = Process(name, [Settings.program("tests/tools/large"), "--open-at",
                          f"127.0.0.1:{owner.port}", "--to", f"127.0.0.1:{entry.port}",
                          "--seconds", seconds, *flags])
    code, report = tool_report(tool, seconds + 10)
    growth = most.growth()
    note(f"{name}: {report['bytes'] / MIB:.1f} MiB in {report['seconds']} s; the owner grew by "
         f"{growth[0] / 1024:.2f} MiB, the entry by {growth[1] / 1024:.2f} MiB "
         f"({'VmHWM' if most.is_kept else 'VmRSS, sampled'})")
    sure(code == 0 and not report["problem"], code, report)
    sure(max(growth) < allowed_kib, f"{growth} KiB, allowed are {allowed_kib}")


def events(kind, peers, *flags):
    passes(f"{kind}-events{'-slow' if flags else ''}", peers, GROWTH_KIB + EVENT_BYTES // 1024,
           ["--events", EVENTS, "--bytes", EVENT_BYTES, *flags])


def run():
    stub = start_stub("stub")
    peers = start_peers(2, cluster="large-http", each=lambda i: {"log": f"http-p{i + 1}"},
                        flags=["--upstream", f"http://127.0.0.1:{stub.port}/mcp"])
    warm(*peers)
    with check("http: a JSON answer of 100 MiB passes through two peers byte for byte, each grows "
               "by less than 8 MiB"):
        passes("http-json", peers, GROWTH_KIB, ["--bytes", 100 * MIB])
    with check("http: the same for a client that reads 1 MiB a second for a while"):
        passes("http-json-slow", peers, GROWTH_KIB, ["--bytes", 100 * MIB, *SLOW])
    with check("http: 25 events of 4 MiB pass through two peers byte for byte, each grows by less "
               "than one of them and 8 MiB"):
        events("http", peers)
    with check("http: the same for a client that reads 1 MiB a second for a while"):
        events("http", peers, *SLOW)
    for peer in peers:
        peer.end()
    peers = start_peers(2, command=[Settings.program("tests/tools/stub"), "stdio"],
                        cluster="large-stdio", each=lambda i: {"log": f"stdio-p{i + 1}"})
    warm(*peers)
    with check("stdio: 25 events of 4 MiB pass through two peers byte for byte, each grows by less "
               "than one of them and 8 MiB"):
        events("stdio", peers)
    with check("stdio: the same for a client that reads 1 MiB a second for a while"):
        events("stdio", peers, *SLOW)
