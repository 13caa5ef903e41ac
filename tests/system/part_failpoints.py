"""A peer dies at each of the places that have a name (mesh/base/failpoint.h; a build with the option
`failpoints`): three peers, twenty sessions of the first under load; it is killed, stopped or made to stand
still, so that it or another comes to the place. Every request has one outcome, what has effects runs once
at most, and the sessions go on under their ids. Two meshes at a time."""
import contextlib
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from harness import check, sure
from moves import Here, Load, Pod, Verdict, executions, wait_mesh

SESSIONS, RATE = 20, 40

# who dies there, and what the owner of the sessions suffers
PLACES = {
    "takeover.before_take": ("taker", "killed"), "takeover.after_take": ("taker", "killed"),
    "takeover.before_grant": ("taker", "killed"), "takeover.after_grant": ("taker", "killed"),
    "takeover.before_own": ("taker", "killed"), "takeover.after_own": ("taker", "killed"),
    "takeover.before_yield": ("owner", "leaves"), "takeover.after_yield": ("owner", "leaves"),
    "takeover.before_check": ("owner", "stands still"), "takeover.after_check": ("owner", "stands still"),
    "handover.before_begin": ("owner", "leaves"), "handover.before_end": ("owner", "leaves"),
    "handover.after_end": ("owner", "leaves"), "handover.before_own": ("taker", "leaves"),
    "handover.before_handed": ("taker", "leaves"),
}


def suffer(owner, what):
    if what == "killed":
        owner.kill()
    elif what == "leaves":
        owner.signal(signal.SIGTERM)
        owner.is_gone = True
    else:
        owner.signal(signal.SIGSTOP)
        time.sleep(1)
        owner.signal(signal.SIGCONT)


TRIES = 4  # who takes over is up to the sessions' ids: all may be the other's


def dies_at(number, place):
    """A peer dies there after it passed `number` % 3 times."""
    for left in reversed(range(TRIES)):
        if comes_to(place, f"{place}-{left}", number % 3, left == 0):
            return


def comes_to(place, cluster, passed, is_last):
    """False: the peer that was to die had nothing to take over, or not so often, and lives. Each try is a
    mesh of its own, whose servers log its calls alone."""
    who, what = PLACES[place]
    pods = [Pod(f"p{i + 1}", cluster, place=Here(), flags=["--drain-grace", "2s"]) for i in range(3)]
    owner, taker, _ = pods
    victim = owner if who == "owner" else taker
    victim.place.prefix = ["env", f"MESH_FAILPOINT={place}:{passed}"]
    try:
        for i, pod in enumerate(pods):
            pod.start(pods[:i])
        wait_mesh(pods)
        entries = [pod for pod in pods[1:] if pod is not victim]
        load = Load(f"{cluster}-load", entries, opens=[owner], sessions=SESSIONS, rate=RATE,
                    tools=("echo", "counter", "slow_counter"))
        begun = load.wait_running()
        time.sleep(1)
        fault = time.monotonic()
        victim.is_gone = True
        suffer(owner, what)
        code = how_it_ends(victim)
        if code is None and not is_last and who == "taker" and min(shares(victim)) <= passed:
            load.finish()
            return False
        with check(f"{place}, passed {passed} times before: a peer dies there"):
            sure(code == -signal.SIGKILL, victim.name, "ended with", code)
        time.sleep(2.5)
        with check(f"{place}: every request has one outcome, none with effects runs twice, "
                   f"{SESSIONS} sessions go on under their ids"):
            verdict = Verdict(load.finish(), executions(pods), begun, fault, RATE)
            verdict.is_void = verdict.steady < 0.75  # of one second: what is slow is under way yet
            sure(not verdict.problems(), "\n".join(verdict.problems()))
    finally:
        for pod in pods:
            pod.end()
    return True


def how_it_ends(pod):
    """Its exit code; None: it lives."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return pod.meshd.wait(8)
    return None


def shares(pod):
    """Sessions that became its own, and the others."""
    own = int(pod.metrics()["mesh_sessions"])
    return own, SESSIONS - own


def run():
    # its threads live as long as what they start: a process dies with the thread that started it
    with ThreadPoolExecutor(2) as two:
        for done in [two.submit(dies_at, *one) for one in enumerate(PLACES)]:
            done.result()
