"""Sessions of the official SDK client over three replicas of server-everything, each behind a peer of
its own, through a balancer that alternates strictly; and the same without the mesh."""
import json

from harness import (check, forwarded_share, note, run_node, start_balancer, start_everything,
                     start_peers, sure, wait_port)


def sessions_report(code, text):
    lines = [line for line in text.splitlines() if line.startswith("{")]
    sure(lines, f"exit code {code}:", text[-600:])
    return json.loads(lines[-1])


def run():
    replicas = [start_everything(f"replica-{i + 1}") for i in range(3)]
    for replica in replicas:
        wait_port(replica, replica.port)
    peers = start_peers(
        each=lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{replicas[i].port}/mcp"]})
    balancer = start_balancer([peer.port for peer in peers])

    report = {}
    with check("200 sessions with 10 calls each, every request to another peer: no failure, each "
               "session answered by one replica"):
        code, text = run_node("sessions.mjs", "--url", f"http://127.0.0.1:{balancer.port}/mcp",
                              "--sessions", 200, "--calls", 10)
        report = sessions_report(code, text)
        note(f"with the mesh: {report['sessions']} sessions, {report['calls']} calls, "
             f"{report['failures']} failures, {report['seconds']} s, {report['ms']}")
        sure(code == 0 and report["failures"] == 0 and report["calls"] == 2000, report)
    with check("all three replicas served some of the sessions"):
        sure(set(report.get("replicas", ())) == {replica.name for replica in replicas}, report)
    with check("at least half of the messages were forwarded to another peer"):
        share = forwarded_share(peers)
        note(f"forwarded: {share:.1%}")
        sure(share >= 0.5, f"{share:.3f}")
    with check("every session was ended at the peers"):
        sure(all(peer.metrics()["mesh_sessions"] == 0 for peer in peers),
             [peer.metrics()["mesh_sessions"] for peer in peers])

    bare = start_balancer([replica.port for replica in replicas[:2]], "bare")
    with check("without the mesh, over two of the same replicas, every one of these sessions fails"):
        code, text = run_node("sessions.mjs", "--url", f"http://127.0.0.1:{bare.port}/mcp",
                              "--sessions", 200, "--calls", 10, "--expect-fail", "--keep")
        report = sessions_report(code, text)
        note(f"without the mesh: {report['failedSessions']} of {report['sessions']} sessions failed: "
             f"{report['kinds']}")
        sure(code == 0 and report["failedSessions"] == 200, report)
