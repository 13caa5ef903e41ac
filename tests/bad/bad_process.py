"""What a process is started with: wrong flags, values and environments; and two living peers that
have one name."""
import os
import subprocess
import time

from harness import Peer, Session, Settings, check, request, start_peers, sure, wait_until
from raw import Canary, Recorder

NAME_TAKEN = 4


def meshd(*words, env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
    return subprocess.run([Settings.program("node/meshd"), *words], capture_output=True, text=True,
                          timeout=10, env={**clean, **(env or {})})


def is_refused(done, names=""):
    """Exit code 2, nothing but one line that names what is wrong."""
    sure(done.returncode == 2, done)
    sure(done.stdout == "" and len(done.stderr.splitlines()) == 1, done)
    sure(names in done.stderr and len(done.stderr) < 400, names, done)


def wrong_starts():
    keys = os.path.join(Settings.directory, "keys")

    def key_file(text, mode=0o600):
        with open(keys, "wb") as file:
            file.write(text)
        os.chmod(keys, mode)
        return keys

    with check("C1: an unknown flag or command, a flag twice or without its value: exit 2, one line"):
        for words, name in ((["--nonsense"], "nonsense"), (["nonsense"], "nonsense"),
                            (["--name"], "name"), (["--name", "a", "--name", "b"], "name"),
                            (["extra", "word"], "extra"), (["--listen=127.0.0.1:0", "x"], "x"),
                            (["--"], "")):
            is_refused(meshd(*words), name)
    with check("C1: a wrong value of any setting: exit 2, one line that names it"):
        wrong = {
            "listen": ["127.0.0.1:0x50", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1: 80", "",
                       "nonsense"],
            "peer-listen": ["127.0.0.1:99999", "localhost:1"], "admin": ["1.2.3:4", ":9"],
            "name": ["", "A B", "a" * 64, "a\nb", "\x1b[31m", "ä"], "cluster": [""],
            "join": ["", "a" * 300, "host:0", "host:x", "a b"], "expect": ["-1", "x", "1e3"],
            "upstream": ["ftp://a/", "http://", "http://a b/", "https://a/mcp", "nonsense"],
            "session-idle": ["5", "1y", "-1s", "99999999h", "NaN"], "weight": ["0", "17", "1.5"],
            "placement": ["sticky"], "log-level": ["loud"], "log-format": ["xml"],
            "retry-hints": ["perhaps"], "on-owner-loss": ["", "RESUME"], "bind-session": ["cookie", "header:"],
            "mcp-path": ["mcp", "/a b"], "name-wait": ["-3s"], "allow-origin": ["a b"],
        }
        for name, values in wrong.items():
            for value in values:
                is_refused(meshd(f"--{name}", value), name)
    with check("C1: a wrong value in the environment: exit 2, one line that names it"):
        for name, value in (("MESH_WEIGHT", "0"), ("MESH_LISTEN", "nonsense"),
                            ("MESH_SESSION_IDLE", "never")):
            is_refused(meshd(env={name: value}), name)
    with check("C2: a key file that is none: exit 2, one line"):
        good = b"0123456789abcdef" * 4
        for text in (b"", good[:62], good + b"00", b"c2VjcmV0" * 8, good + b" " + good, b"\n# a\n",
                     b"\xff" * 64, (good + b"\n") * 5):
            is_refused(meshd("--key-file", key_file(text + b"\n")), "key-file")
        is_refused(meshd("--key-file", key_file(good + b"\n", 0o644)), "key-file")
        for path in ("/nonexistent", "/", "/dev/zero"):
            is_refused(meshd("--key-file", path), "key-file")
        fifo = os.path.join(Settings.directory, "fifo")
        os.mkfifo(fifo)
        is_refused(meshd("--key-file", fifo), "key-file")
    with check("C3: a secret in the arguments is refused, and not repeated"):
        for flag in ("--key", "--token", "--admin-token", "--secret"):
            done = meshd(flag, "secret-4711")
            is_refused(done)
            sure("4711" not in done.stderr, done)
    with check("C4: an address for peers that is no loopback wants a key: exit 2"):
        is_refused(meshd("--peer-listen", "0.0.0.0:0"), "key-file")
    with check("a port that is taken: exit 3 and a line that says so"):
        peer = Peer("only", cluster="taken")
        done = meshd("--name", "b", "--listen", f"127.0.0.1:{peer.port}", "--peer-listen",
                     "127.0.0.1:0", "--admin", "127.0.0.1:0")
        sure(done.returncode == 3 and "EADDRINUSE" in done.stderr, done)
        peer.end()
    with check("meshd help, version, keygen and settings say what they are asked"):
        sure(meshd("version").stdout.startswith("meshd "))
        sure("--upstream" in meshd("--help").stdout)
        keys_made = {meshd("keygen").stdout for _ in range(3)}
        sure(len(keys_made) == 3 and all(len(key) == 65 for key in keys_made))
        sure(meshd("settings", "--markdown").stdout.count("\n| ") > 20)


def wrong_endpoints():
    """`meshd health` is what a container is asked by: another program's 200 is no "ready"."""
    recorder = Recorder()
    recorder.reply = lambda handler, body: answer_fine(handler)
    with check("asking what is no admin endpoint: exit 1, one line, no table and no ready"):
        for words in (["health"], ["health", "--json"], ["members"], ["sessions"], ["why", "a"]):
            done = meshd(*words, "--admin", f"127.0.0.1:{recorder.port}")
            sure(done.returncode == 1 and done.stdout == "", words, done)
            sure(len(done.stderr.splitlines()) == 1, words, done)
    with check("asking where nobody listens: exit 1 and one line"):
        recorder.stop()
        done = meshd("health", "--admin", f"127.0.0.1:{recorder.port}")
        sure(done.returncode == 1 and "no meshd answers" in done.stderr, done)


def answer_fine(handler):
    text = b'{"status":"fine"}'
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def one_name_twice():
    peers = start_peers(flags=["--name-wait", "3s"])
    first, second, third = peers
    session = Session(first.port)
    canary = Canary(peers)
    before = first.members(), second.members()
    begun = time.monotonic()
    newcomer = Peer("p1", joins=[second, third], flags=["--name-wait", "3s"], log="newcomer")
    with check("two living peers of one name: the newcomer says that it waits"):
        newcomer.wait_line("name_waiting.*p1", 3)
    with check("while it waits it is announced to nobody, and not ready"):
        while newcomer.process.poll() is None and time.monotonic() - begun < 2.5:
            sure(not newcomer.is_ready(), "ready")
            sure((first.members(), second.members()) == before, first.members())
            time.sleep(0.2)
    with check("it leaves with exit code 4 after --name-wait, and says why"):
        code = newcomer.wait(6)
        seconds = time.monotonic() - begun
        sure(code == NAME_TAKEN, code, newcomer.text()[-500:])
        sure(2.5 <= seconds < 6, seconds)
        sure("name_taken" in newcomer.text(), newcomer.text()[-500:])
    with check("the first one was not disturbed: same generation, same sessions, no error"):
        errors = canary.end()
        sure(not errors, errors[:3])
        answer, message = session.ask(third.port, "ping")
        sure(message and "result" in message, answer)
        sure(first.process.poll() is None and "superseded" not in first.text(), first.text()[-500:])
        for peer in peers:
            sure(peer.sees(3), peer.name, peer.members())
            sure(peer.metrics()["mesh_deaths_total"] == 0)
    with check("once the first one has left, its name is free at once"):
        first.process.terminate()
        first.wait(15)
        heir = Peer("p1", joins=[second, third], flags=["--name-wait", "3s"], log="heir")
        wait_until(10, lambda: heir.is_ready() and heir.sees(3), "the heir is ready")
        sure(request(heir.admin_port, "GET", "/readyz").status == 200)


def run():
    wrong_starts()
    wrong_endpoints()
    one_name_twice()
