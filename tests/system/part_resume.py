"""Streams whose client is cut at any moment and comes back to any peer: no event is lost, none comes
twice, each in its place; what the log does not hold any more is said to be missed."""
from figures import tool_report
from harness import Process, Settings, check, note, start_peers, start_stub, sure

# 33 events of 100 B a second on each stream: at most 67 while its client is away, of the 1,000
# events (256 KiB) that a log holds.
STREAMS, EVENTS, INTERVAL_MS = 120, 200, 30
AWAY_MS = 2000
BREAK_EVERY = 40
ROOM = ["--max-connections-per-address", "10000"]


def start(kind, break_every=0):
    """Three peers and what stands behind them; `kind`: of the upstream."""
    name = f"{kind}{'-breaks' if break_every else ''}"
    if kind == "stdio":
        return start_peers(command=[Settings.program("tests/tools/stub"), "stdio"], cluster=name,
                           flags=["--max-children", "1000", *ROOM],
                           each=lambda i: {"log": f"{name}-p{i + 1}"})
    stubs = [start_stub(f"{name}-stub-{i + 1}", flags=["--break-every", str(break_every)])
             for i in range(3)]
    return start_peers(cluster=name, each=lambda i: {
        "flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp", *ROOM],
        "log": f"{name}-p{i + 1}"})


class Resume(Process):
    """The tool at work; several may run side by side."""

    def __init__(self, name, peers, seconds, *flags):
        self.seconds = seconds
        super().__init__(name, [Settings.program("tests/tools/resume"), "--seconds", seconds, *flags,
                                *(word for peer in peers
                                  for word in ("--to", f"127.0.0.1:{peer.port}"))])

    def sound(self):
        """Its report, once it ended well: nothing lost, nothing double."""
        code, report = tool_report(self, self.seconds + 30)
        back = report["back_us"]
        note(f"{self.name}: {report['received']} events on {report['done']} streams in "
             f"{report['seconds']} s, {report['cuts']} cuts, {report['missed']} missed in "
             f"{report['gaps']} gaps that were said; the first event after "
             f"{back['p50'] / 1000:.1f} ms, p99 {back['p99'] / 1000:.1f} ms")
        sure(code == 0 and report["lost"] == report["double"] == 0, code, report, self.text()[:800])
        return report


class Exact(Resume):
    """`streams` times `events`, each cut about every four seconds."""

    def __init__(self, name, peers, streams, events, interval_ms, *flags):
        self.streams, self.events = streams, events
        super().__init__(name, peers, 60 + 4 * events * interval_ms // 1000, "--streams", streams,
                         "--events", events, "--interval-ms", interval_ms, "--cut-ms", 2000,
                         "--away-ms", AWAY_MS, *flags)

    def sound(self):
        report = super().sound()
        sure(report["gaps"] == 0 and report["done"] == self.streams, report)
        sure(report["received"] == self.streams * self.events, report)
        sure(report["cuts"] >= self.streams, report)
        return report


def start_too_long(name, peers, *flags):
    """1,000 events a second: three seconds away are more than a log holds."""
    return Resume(name, peers, 60, "--streams", 6, "--events", 6000, "--interval-ms", 1, "--cut-ms",
                  500, "--cuts", 1, "--away-min-ms", 3000, "--away-ms", 3200, "--gaps", *flags)


def start_slow(name, peers, stall_ms, *flags):
    """Readers that take nothing for so long, of 16 MB each: more than the sockets on the way hold."""
    return Resume(name, peers, 60 + stall_ms // 1000, "--streams", 4, "--events", 4000, "--bytes",
                  4000, "--interval-ms", 1, "--stalls", "--cut-ms", 200, "--cuts", 1, "--receive",
                  16384, "--away-min-ms", stall_ms, "--away-ms", stall_ms, "--gaps", *flags)


def exact(kind, tool, what):
    with check(f"{kind}: {tool.streams} {what} streams of {tool.events} events, cut at any moment, "
               "back at any peer: 0 lost, 0 double, in order, each answer there"):
        report = tool.sound()
        sure(report["answers"] == (tool.streams if what == "POST" else 0), report)


def missed(kind, tool, what):
    with check(f"{kind}: a {what} stream whose client was away for longer than its log is told that "
               "events were missed, then goes on live"):
        report = tool.sound()
        sure(report["gaps"] >= 6 and report["missed"] > 0, report)


def slow(kind, tool, what):
    with check(f"{kind}: a {what} stream whose client takes nothing is cut; once it reads on it gets "
               "what was on its way, comes back, and is told of what it missed"):
        report = tool.sound()
        sure(report["broken"] >= 4 and report["gaps"] >= 4, report)


def run():
    for kind in ("http", "stdio"):
        peers = start(kind)
        sizes = (STREAMS, EVENTS, INTERVAL_MS)
        post = Exact(f"{kind}-post", peers, *sizes, "--post", "--seed", 11)
        get = Exact(f"{kind}-get", peers, *sizes, "--seed", 12)
        long_post = start_too_long(f"{kind}-post-gap", peers, "--post", "--seed", 13)
        long_get = start_too_long(f"{kind}-get-gap", peers, "--seed", 14)
        exact(kind, post, "POST")
        exact(kind, get, "GET")
        missed(kind, long_post, "POST")
        missed(kind, long_get, "GET")
        if kind == "stdio":  # where a reader that holds up its session is given two seconds
            slow_post = start_slow("stdio-post-slow", peers, 7000, "--post", "--seed", 16)
            slow_get = start_slow("stdio-get-slow", peers, 7000, "--seed", 17)
            slow(kind, slow_post, "POST")
            slow(kind, slow_get, "GET")
        for peer in peers:
            peer.end()
    broken = Exact("http-breaks", start("http", BREAK_EVERY), *sizes, "--seed", 15)
    exact(f"http, its upstream ends its own stream every {BREAK_EVERY} events", broken, "GET")
