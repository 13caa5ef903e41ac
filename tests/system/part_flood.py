"""Datagrams that nobody asked for: noise, made-up heads, real ones with a bit changed, real ones once more,
many thousands a second. Nothing comes of them: no answer, no death, no change, and little work. Real ones of a
peer's former life come while its next one joins."""
import os
import subprocess
import threading
import time

from figures import cpu_seconds, memory_kib, tool_report
from harness import Peer, Process, Session, Settings, check, note, start_peers, sure, wait_until

RATE, SECONDS = 20_000, 3  # beside other parts; part_flood_full has the rest
STRANGER_ANSWERS = 20  # a second: a first contact said once more is answered as the first time, at a bounded rate


def state(peers):
    """What a peer believes of the others, and what it counted of deaths."""
    return [(peer.members(), {name: value for name, value in peer.metrics().items()
                              if name.startswith(("mesh_deaths", "mesh_suspicions", "mesh_ring"))})
            for peer in peers]


class Canary(threading.Thread):
    """Calls through two peers in turn while the flood lasts."""

    def __init__(self, peers):
        super().__init__(daemon=True)
        self.peers, self.calls, self.problems, self.is_over = peers, 0, [], False
        self.session = Session(peers[0].port)

    def run(self):
        while not self.is_over:
            try:
                self.session.ask(self.peers[self.calls % 2].port, "ping")
                self.calls += 1
            except Exception as error:  # whatever it is, it is counted
                self.problems.append(f"call {self.calls}: {type(error).__name__}: {error}")
            time.sleep(0.01)


def flood(peers, kinds, seconds, rate):
    to = ",".join(f"127.0.0.1:{peer.peer_port}" for peer in peers)
    return Process("flood", [Settings.program("tests/tools/flood"), "--to", to, "--rate", rate,
                             "--seconds", seconds, "--kinds", kinds])


def total(peers):
    return sum(value for peer in peers for name, value in peer.metrics().items()
               if name.startswith("mesh_datagrams_refused_total"))


def run(seconds=SECONDS, rate=RATE):
    key = os.path.join(Settings.directory, "key")
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(subprocess.check_output([Settings.program("node/meshd"), "keygen"]))
    flags = ["--key-file", key]
    peers = start_peers(3, flags=flags)
    before, kib = state(peers), [memory_kib(peer.pid) for peer in peers]
    canary = Canary(peers)
    canary.start()
    for kinds in ("noise", "noise,changed", "again"):
        with check(f"G1-G5, G10: {rate:,} datagrams a second ({kinds}): no answer, no death, no change"):
            used, counted, begun = [cpu_seconds(peer.pid) for peer in peers], total(peers), time.monotonic()
            code, report = tool_report(flood(peers, kinds, seconds, rate), seconds + 30)
            took = time.monotonic() - begun
            shares = [(cpu_seconds(peer.pid) - start) / took for peer, start in zip(peers, used)]
            sure(code == 0, code)
            if not report["reads_loopback"]:
                note("nothing may be read from the loopback device here: no real datagrams")
            else:
                sure(kinds == "noise" or report["real"] > 5, report)
                sure(kinds == "noise" or report["changed"] + report["again"] > 1000, report)
            sure(report["replies"] <= (STRANGER_ANSWERS * seconds if kinds == "again" else 0), report)
            sure(report["reply_longest"] <= report["real_longest"], report)
            wait_until(5, lambda: state(peers) == before, f"{state(peers)} instead of {before}")
            note(f"{kinds}: {report['rate']:,}/s sent in all, {(total(peers) - counted) / took:,.0f}/s counted; "
                 f"CPU of the peers {', '.join(f'{share * 100:.0f} %' for share in shares)} of a core")
            sure(total(peers) - counted > rate / 10 * took, "the peers count what they refuse", report)
    with check("G5: a peer that comes back joins while all that was said to and by its former life is said again"):
        told = flood(peers, "again", seconds + 8, rate)
        time.sleep(seconds / 2)
        last = peers[2]
        last.kill()
        back = Peer("p3", joins=peers[:2], flags=flags, ports=(last.port, last.peer_port, last.admin_port))
        wait_until(15, lambda: all(peer.sees(3) for peer in (*peers[:2], back)), "all see three again")
        code, report = tool_report(told, seconds + 30)
        sure(code == 0 and (report["again"] > 1000 or not report["reads_loopback"]), report)
        time.sleep(3)  # whatever it did shows by now
        for peer in (*peers[:2], back):
            sure(peer.sees(3), peer.name, peer.members())
        deaths = [peer.metrics()["mesh_deaths_total"] for peer in peers[:2]]
        sure(all(count <= 1 for count in deaths) and back.metrics()["mesh_deaths_total"] == 0, deaths)
    canary.is_over = True
    canary.join(10)
    with check("G10: calls go on meanwhile, none fails"):
        sure(not canary.problems and canary.calls > 50, canary.calls, canary.problems[:3])
    with check("G10: memory is where it was, and the log did not grow by a line for each"):
        for peer, start in zip(peers[:2], kib):
            sure(memory_kib(peer.pid) < start + 1024, peer.name, start, memory_kib(peer.pid))
            sure(len(peer.text().splitlines()) < 40, peer.text()[-500:])
