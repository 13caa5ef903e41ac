"""What a stream costs on which nothing happens: memory at the peer that holds it and at the one that
owns its session, and the time that both take."""
import resource
import time

from figures import cpu_seconds, memory_kib, tool_report
from harness import Process, Session, Settings, Stream, check, note, start_peers, sure

STREAMS = 9000
STREAM_KIB = 4.0
SECONDS = 30  # two rounds of keep-alive comments, which are 15 s apart
CPU_SHARE = 0.03
SPARE_FILES = 200


def streams_allowed():
    """Fewer where a process may not open so many files."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return STREAMS if files == resource.RLIM_INFINITY else min(STREAMS, files - SPARE_FILES)


def warm(owner, holder):
    """Whatever is made once is made before it is measured."""
    session = Session(owner.port)
    stream = Stream(holder.port, session)
    sure(stream.status == 200, stream.status)
    stream.close()
    session.end(owner.port)


def run():
    count = streams_allowed()
    owner, holder = peers = start_peers(2, flags=[
        "--max-connections", str(STREAMS + SPARE_FILES), "--max-connections-per-address",
        str(STREAMS + SPARE_FILES)])
    warm(owner, holder)
    before = [memory_kib(peer.pid) for peer in peers]
    tool = Process("idle", [Settings.program("tests/tools/idle"), "--streams", count,
                            "--open-at", f"127.0.0.1:{owner.port}",
                            "--to", f"127.0.0.1:{holder.port}", "--seconds", SECONDS + 4])
    with check(f"{count} idle GET streams are held by one peer, for sessions of another"):
        tool.wait_line(r"opened %d\b" % count, 90)
        sessions = memory_kib(owner.pid)
        tool.wait_line(r"holding %d\b" % count, 90)
    used = [cpu_seconds(peer.pid) for peer in peers]
    begun = time.monotonic()
    time.sleep(SECONDS)
    seconds = time.monotonic() - begun
    shares = [(cpu_seconds(peer.pid) - start) / seconds for peer, start in zip(peers, used)]
    kib = [(memory_kib(peer.pid) - start) / count for peer, start in zip(peers, before)]
    note(f"{count} streams of {STREAMS} (files allowed: "
         f"{resource.getrlimit(resource.RLIMIT_NOFILE)[1]}); RSS per stream: owner {kib[0]:.2f} KiB "
         f"(of it the session {(sessions - before[0]) / count:.2f}), holder {kib[1]:.2f} KiB; "
         f"before: {before[0]} and {before[1]} KiB")
    for name, cost in zip(("owner, its session included,", "holder"), kib):
        with check(f"one costs its {name} at most {STREAM_KIB:g} KiB"):
            sure(0 < cost <= STREAM_KIB, f"{cost:.2f} KiB")
    note(f"CPU over {seconds:.0f} s, keep-alive comments included: owner {shares[0] * 100:.2f} %, "
         f"holder {shares[1] * 100:.2f} % of a core")
    for name, share in zip(("owner", "holder"), shares):
        with check(f"they cost their {name} less than {CPU_SHARE * 100:g} % of a core"):
            sure(share < CPU_SHARE, f"{share * 100:.2f} %")
    with check("all of them lasted, and were kept alive by comments"):
        code, report = tool_report(tool, 30)
        sure(code == 0 and report["held"] == count, report)
        sure(report["comments_fewest"] >= 2, report)
