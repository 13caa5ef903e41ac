"""The process: what it needs no right for, what it leaves to nobody. A peer without any privilege, with
nothing that it could write to; no core file of a process that has keys; a stdio server gets nothing of
its meshd's but the rest of the environment."""
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from bad_child import CHILD, command
from harness import Peer, Session, Settings, check, note, request, sure, wait_until

NOBODY = 65534
SECRET = "secret-4711"
# This python may stand where nobody may go.
COMMAND = [shutil.which("python3", path="/usr/bin:/bin") or sys.executable, "-S", CHILD, "looks"]
PLAIN = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all",
         "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
READ_ONLY = """for at in $(awk '$2 !~ "^/(proc|sys|dev)" {print $2}' /proc/mounts | sort -r); do
  mount -o remount,bind,ro "$at" || exit 9
done
exec "$0" "$@" """
CONFINED = ("unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, *PLAIN)


def look(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def status_of(pid):
    return dict(line.split(":\t", 1) for line in look(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def key_file(name, owner=None):
    path = os.path.join(Settings.directory, name)
    made = subprocess.run([Settings.program("node/meshd"), "keygen"], capture_output=True, check=True)
    with open(path, "wb") as file:
        file.write(made.stdout)
    os.chmod(path, 0o600)
    if owner is not None:
        os.chown(path, owner, owner)
    os.chmod(Settings.directory, 0o711)
    return path


def confined():
    if os.geteuid() != 0 or subprocess.run([*CONFINED, "true"], check=False).returncode != 0:
        note("not tried: it takes root, and the right to mount, to give both up")
        return
    flags = ["--key-file", key_file("key-confined", NOBODY)]
    first = Peer("first", cluster="confined", prefix=CONFINED, flags=flags, command=COMMAND)
    second = Peer("second", cluster="confined", prefix=CONFINED, flags=flags, joins=[first],
                  command=COMMAND)
    with check("as nobody, without capabilities, the whole file system read-only: peers meet and serve, a "
               "stdio server runs"):
        for peer in (first, second):
            wait_until(10, lambda: peer.is_ready() and peer.sees(2), peer.text()[-400:])
            status = status_of(peer.pid)
            sure(status["Uid"].split() == [str(NOBODY)] * 4, status["Uid"])
            sure({int(status[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0})
            sure(status["NoNewPrivs"] == "1", status["NoNewPrivs"])
            writable = [line for line in look(f"/proc/{peer.pid}/mounts").splitlines()
                        if " rw" in line and line.split()[1].split("/")[1] not in ("proc", "sys", "dev")]
            sure(not writable, writable)
        session = Session(first.port)
        found = json.loads(session.call(second.port, "look"))
        sure(found["status"]["CapEff"] == "0" * 16 and found["status"]["NoNewPrivs"] == "1", found["status"])
    with check("with keys in it nobody of its own user may look into it"):
        sure(os.stat(f"/proc/{first.pid}/mem").st_uid == 0, "it is dumpable")
        for what in ("mem", "environ", "maps"):
            done = subprocess.run([*PLAIN, "cat", f"/proc/{first.pid}/{what}"], capture_output=True, check=False)
            sure(done.returncode != 0 and b"denied" in done.stderr, what, done)
    for peer in (first, second):
        peer.end()


def no_core():
    for flags in ([], ["--key-file", key_file("key-core")]):
        place = os.path.join(Settings.directory, f"core-{len(flags)}")
        os.mkdir(place)
        peer = Peer(f"crashes-{len(flags)}", cluster="core", flags=flags,
                    prefix=("sh", "-c", f'cd {place} && ulimit -c unlimited && exec "$0" "$@"'))
        with check(f"{'with' if flags else 'without'} keys: it leaves no core file when it crashes, whatever "
                   "the limit was"):
            limit = [line for line in look(f"/proc/{peer.pid}/limits").splitlines() if "core file" in line]
            sure(limit[0].split()[4] == "0", limit)
            os.kill(peer.pid, signal.SIGSEGV)
            sure(peer.wait(5) == -signal.SIGSEGV)
            sure(os.listdir(place) == [], os.listdir(place))


def what_children_get():
    keys = key_file("key-parent")
    tokens = os.path.join(Settings.directory, "tokens")
    with open(tokens, "w", encoding="ascii") as file:
        file.write(SECRET * 4 + "\n")
    os.chmod(tokens, 0o600)
    # A Popen closes what it might inherit; a shell opens it anew.
    peer = Peer("parent", cluster="parent", command=command("looks"), prefix=(
        "sh", "-c", 'exec 7</dev/zero 9>/dev/null; exec "$0" "$@"'), env={
            "MESH_KEY_FILE": keys, "MESH_ADMIN_TOKEN_FILE": tokens, "MESH_WEIGHT": "2", "PLAIN_4711": "yes"})
    wait_until(5, peer.is_ready, "ready")
    session = Session(peer.port)
    found = json.loads(session.call(peer.port, "look"))
    with check("a stdio server has three descriptors, none of them the meshd's, whatever that has"):
        sure(len(os.listdir(f"/proc/{peer.pid}/fd")) > 10, "the meshd has others")
        sure(os.readlink(f"/proc/{peer.pid}/fd/7") == "/dev/zero", "and one that it inherited")
        sure(set(found["files"]) == {"0", "1", "2"}, found["files"])
        sure(not [one for one in found["files"].values() if "zero" in one], found["files"])
    with check("it has the environment, but for the meshd's own settings"):
        sure(found["environment"].get("PLAIN_4711") == "yes", found["environment"])
        sure(not [name for name in found["environment"] if name.startswith("MESH_")], found["environment"])
        sure(keys not in repr(found["environment"]) and tokens not in repr(found["environment"]))
    with check("its signals are as a program expects them: none ignored, none blocked"):
        # the one that Python itself ignores: SIGPIPE; and SIGXFSZ
        ignored = int(found["status"]["SigIgn"], 16) & ~(1 << 12) & ~(1 << 24)
        sure(ignored == 0 and int(found["status"]["SigBlk"], 16) == 0, found["status"])
    with check("nor has the process that watches children: four descriptors, no environment"):
        watchers = [pid for pid in os.listdir("/proc") if pid.isdigit() and b"child-watch" in cmdline(pid)
                    and f"\nPPid:\t{peer.pid}\n" in look(f"/proc/{pid}/status")]
        sure(len(watchers) == 1, watchers)
        wait_until(3, lambda: set(os.listdir(f"/proc/{watchers[0]}/fd")) == {"0", "1", "2", "3"},
                   os.listdir(f"/proc/{watchers[0]}/fd"))
        sure(look(f"/proc/{watchers[0]}/environ") == "", "an environment")
    with check("no secret stands in an argument, in a log or in what the admin endpoint says"):
        secrets = [look(keys).split()[0], SECRET * 4, session.id]
        headers = {"Authorization": f"Bearer {SECRET * 4}"}
        pages = [request(peer.admin_port, "GET", path, headers) for path in (
            "/metrics", "/", "/v1/members", "/v1/ring", "/v1/sessions", f"/v1/sessions/{session.id}",
            f"/v1/why/{session.id}", "/v1/events", "/v1/keys", "/readyz", "/nothing")]
        sure(sum(page.status == 200 for page in pages) >= 6, [page.status for page in pages])
        for secret in secrets:
            sure(secret not in peer.text(), secret[:6])
            sure(secret.encode() not in cmdline(peer.pid), secret[:6])
            for page in pages:
                sure(secret.encode() not in page.body, secret[:6], page)
    peer.end()


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def stops():
    """SIGSTOP and SIGCONT, signals that ask it to go, and go again (row C10)."""
    with check("C10: SIGTERM while it starts, SIGTERM three times, SIGPIPE: exit code 0, in its time"):
        peer = Peer("stops", cluster="stops", flags=["--drain-timeout", "20s"])
        os.kill(peer.pid, signal.SIGPIPE)
        time.sleep(0.2)
        sure(peer.process.poll() is None, "it died of SIGPIPE")
        for _ in range(3):
            os.kill(peer.pid, signal.SIGTERM)
            time.sleep(0.05)
        sure(peer.wait(5) == 0, peer.process.returncode)
        argv = [Settings.program("node/meshd"), "--name", "early", "--listen", "127.0.0.1:0", "--peer-listen",
                "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        for wait_s in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
            early = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
            time.sleep(wait_s)
            early.terminate()
            sure(early.wait(5) in (0, -signal.SIGTERM), wait_s, early.returncode)
    with check("C10: stopped for two seconds and going on, it serves the session that it had"):
        peer = Peer("sleeps", cluster="sleeps")
        wait_until(5, peer.is_ready, "ready")
        session = Session(peer.port)
        os.kill(peer.pid, signal.SIGSTOP)
        time.sleep(2)
        os.kill(peer.pid, signal.SIGCONT)
        sure(session.ask(peer.port, "ping", timeout=5)[1]["result"] == {})
        peer.end()


def run():
    confined()
    works = [threading.Thread(target=work) for work in (no_core, stops)]
    for work in works:
        work.start()
    what_children_get()
    for work in works:
        work.join(60)
