"""A peer is new: with --rebalance idle its share of the sessions goes there, those of the SDKs' clients
under their GET streams; all go on, and nobody sees a failure. Without, none goes."""
import json
import subprocess
import time

from harness import Session, Settings, check, note, sure
from moves import Judges, Pod, fallen, start_pods, wait_mesh

JUDGES, BY_HAND = 60, 40
PAUSE_S = 14  # between two calls of a judge: it is idle for most of that
MOVE_S = 5 + 5 + 2 * PAUSE_S  # the ring is at rest, then each was idle for long enough twice


def owned(pods):
    return [int(pod.metrics()["mesh_sessions"]) for pod in pods]


def why(pod, session):
    for _ in range(20):
        status, text = pod.fetch(f"/v1/why/{session.id}")
        if status != 429:
            break
        time.sleep(0.1)
    sure(status == 200, status, text)
    return json.loads(text)


def says_why(pod, session):
    admin = f"{pod.place.address}:{pod.place.admin_port}"
    return subprocess.run([Settings.program("node/meshd"), "why", session.id, "--admin", admin],
                          capture_output=True, text=True, timeout=10).stdout


def goes_on(session, pod):
    message = session.call(pod.place.port, "echo", message="still here")
    sure("still here" in json.dumps(message), message)


def moved(pods, new, by_hand):
    total = JUDGES + BY_HAND
    with check(f"a fourth peer joins three with {total} idle sessions: within {MOVE_S} s it has its share, and "
               "no more; no session is lost, double or taken over"):
        time.sleep(MOVE_S)
        counts = owned([*pods, new])
        note(f"sessions at each peer: {counts}")
        sure(sum(counts) == total, counts)
        given = [int(pod.metrics()["mesh_sessions_handed_over_total"]) for pod in pods]
        # a quarter, if it has a copy of so many: of how many it has is up to their ids
        sure(sum(given) == counts[3] and total / 8 <= counts[3] <= total / 4, given, counts)
        taken = [int(pod.metrics()["mesh_sessions_taken_over_total"]) for pod in [*pods, new]]
        sure(sum(taken) == 0, taken)
    with check("its lists, and why, tell that they were handed over"):
        listed = json.loads(new.fetch("/v1/sessions?limit=100")[1])["sessions"]
        sure(len(listed) > 0 and all(one["handed_over"] for one in listed), listed)
        here = [one for one in by_hand if why(new, one)["verdict"] == "here"]
        sure(here, "no session that was opened by hand is there")
        for session in here[:2]:
            sure(why(new, session)["record"]["handed_over"], why(new, session))
            sure("handed it over" in says_why(new, session), says_why(new, session))
        stayed = next(one for one in by_hand if one not in here)
        sure("handed it over" not in says_why(pods[0], stayed), says_why(pods[0], stayed))
    with check("each session that was opened by hand goes on, through any peer"):
        for number, session in enumerate(by_hand):
            goes_on(session, [*pods, new][number % 4])


def told_to():
    flags = ["--rebalance", "idle"]
    pods = start_pods(3, "grows", flags=flags)
    new = Pod("p4", "grows", flags=flags)
    # one that refuses is passed over: until it is there, nobody asks the new one
    judges = Judges("grows-judges", [*pods, new], opens=pods, sessions=JUDGES, pause=PAUSE_S * 1000)
    judges.wait_judging()
    by_hand = [Session(pods[0].place.port) for _ in range(BY_HAND)]
    new.start(pods)
    wait_mesh([*pods, new])
    moved(pods, new, by_hand)
    judges.tell("loud")
    time.sleep(PAUSE_S)
    with check(f"{JUDGES} sessions of the SDKs' clients with GET streams saw no failure in it"):
        code, report = judges.finish(2 * PAUSE_S + 30)
        note(f"{report['sessions']} sessions, {report['calls']} calls, {report['events']} events of "
             f"{report['said']}, {report['failures']} failures")
        sure(code == 0 and not fallen([*pods, new]), json.dumps(report, indent=1))
    for pod in [*pods, new]:
        pod.end()


def not_told_to():
    pods = start_pods(2, "stays")
    by_hand = [Session(pods[0].place.port) for _ in range(BY_HAND)]
    new = Pod("p3", "stays")
    new.start(pods)
    wait_mesh([*pods, new])
    time.sleep(15)
    with check("without --rebalance no session moves to a peer that is new"):
        sure(owned([*pods, new]) == [BY_HAND, 0, 0], owned([*pods, new]))
        for session in by_hand:
            goes_on(session, new)
    for pod in [*pods, new]:
        pod.end()


def run():
    not_told_to()
    told_to()
