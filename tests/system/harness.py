"""harness - what the parts of the system tests share: processes that end with the run, peers and
replicas on free ports, an HTTP client without opinions, MCP sessions over it, and checks that print
one line each. It judges nothing."""
import atexit
import contextlib
import fcntl
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NODE = os.path.join(HERE, "node_modules/.node22")
EVERYTHING = os.path.join(
    HERE, "node_modules/@modelcontextprotocol/server-everything/dist/index.js")
FIXTURE = os.path.join(HERE, "fixture.mjs")
PROTOCOL = "2025-11-25"
NOT_FOUND = b'{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}'

WATCH = b"meshd\0child-watch\0"

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Settings:
    """Filled by `run` from its arguments."""
    build = os.path.join(ROOT, "build/gcc")
    part = ""
    directory = ""

    @classmethod
    def program(cls, name):
        return os.path.join(cls.build, name)


# ---- checks -------------------------------------------------------------------------------------

passed = failed = 0
check_lock = threading.Lock()


def report(sentence, problem=None):
    global passed, failed
    with check_lock:
        if problem is None:
            passed += 1
            print(f"ok - {Settings.part}: {sentence}", flush=True)
            return
        failed += 1
        print(f"not ok - {Settings.part}: {sentence}")
        for line in str(problem).splitlines()[:12]:
            print(f"#   {line[:400]}")
        build = os.path.relpath(Settings.build)
        print(f"# repeat: tests/system/run --build {build} {Settings.part}", flush=True)


@contextlib.contextmanager
def check(sentence):
    """One test: it fails with whatever its body raises, and the run goes on."""
    try:
        yield
    except AssertionError as error:
        report(sentence, error or "an assertion")
    except Exception as error:  # a program that is not there is a red test as well
        report(sentence, f"{type(error).__name__}: {error}")
    else:
        report(sentence)


def note(text):
    print(f"# {Settings.part}: {text}", flush=True)


def sure(truth, *what):
    if not truth:
        raise AssertionError(" ".join(str(one) for one in what))


def wait_until(seconds, question, what):
    """What `question` gives, once that is true."""
    end = time.monotonic() + seconds
    while True:
        value = question()
        if value:
            return value
        sure(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.05)


# ---- processes ----------------------------------------------------------------------------------

processes = []


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A program with its output in a file. Ends with the run, by its own id."""

    def __init__(self, name, argv, env=None, stdin=subprocess.DEVNULL):
        self.name, self.argv = name, [str(word) for word in argv]
        self.log = os.path.join(Settings.directory, f"{name}.log")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        with open(self.log, "ab") as log:
            self.start_at = log.tell()
            self.process = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=stdin,
                env={**clean, **(env or {})}, preexec_fn=die_with_parent)
        self.pid = self.process.pid
        processes.append(self)

    def text(self):
        with open(self.log, "rb") as log:
            log.seek(self.start_at)
            return log.read().decode(errors="replace")

    def wait_line(self, pattern, seconds=10):
        def look():
            found = re.search(pattern, self.text(), re.M)
            sure(found or self.process.poll() is None,
                 f"{self.name} ended with {self.process.poll()}:\n{self.text()[-800:]}")
            return found
        return wait_until(seconds, look, f"{pattern} in the log of {self.name}")

    def wait(self, seconds):
        return self.process.wait(seconds)

    def kill(self, number=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(5)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


def end_all():
    for process in processes:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGCONT)
            process.process.kill()
    for process in processes:
        process.process.wait(5)
    if Settings.directory:
        if failed:
            print(f"# the logs: {Settings.directory}", flush=True)
        else:
            shutil.rmtree(Settings.directory, ignore_errors=True)


def check_logs():
    """Of all programs of this part: no sanitizer has anything to say, no assertion failed."""
    with check("no log has a word of a sanitizer or an assertion"):
        for process in processes:
            for line in process.text().splitlines():
                sure("Sanitizer" not in line and "runtime error:" not in line and
                     "Assertion" not in line, process.name, line)


def begin(part, build):
    Settings.part, Settings.build = part, build
    Settings.directory = tempfile.mkdtemp(prefix=f"mesh-{part}-")
    atexit.register(end_all)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))


def children(pid):
    """The processes whose parent is `pid`: {id: command line}; without the one that a meshd with a
    stdio server has for its own ends."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{name}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                with open(f"/proc/{name}/cmdline", "rb") as line:
                    found[int(name)] = line.read()
    return {pid: line for pid, line in found.items() if line != WATCH}


def is_alive(pid, line):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as now:
            return now.read() == line
    return False


PORTS = range(20000, 32000)


def next_port():
    """Each is given once in a round of all, whichever process asks: who got one may bind it later."""
    path = os.path.join(tempfile.gettempdir(), f"mesh-tests-{os.getuid()}.port")
    with open(path, "a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        last = int(file.read() or random.choice(PORTS))
        port = last + 1 if last + 1 in PORTS else PORTS[0]
        file.truncate(0)
        file.write(str(port))
        return port


def free_port():
    """Below the range of outgoing connections, so that none of those takes it meanwhile."""
    for _ in range(1000):
        port = next_port()
        with contextlib.suppress(OSError), socket.socket() as tcp, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


# ---- HTTP ---------------------------------------------------------------------------------------

class Answer:
    def __init__(self, status, headers, body, seconds=0.0):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    def messages(self):
        """The JSON-RPC messages of a JSON or SSE body."""
        if "text/event-stream" not in self.headers.get("content-type", ""):
            found = json.loads(self.body) if self.body else []
            return found if isinstance(found, list) else [found]
        text = self.body.decode().replace("\r\n", "\n").replace("\r", "\n")
        datas = ["\n".join(line[5:].removeprefix(" ") for line in event.split("\n")
                           if line.startswith("data:")) for event in text.split("\n\n")]
        return [json.loads(data) for data in datas if data]

    def __str__(self):
        return f"{self.status} {self.body[:300]!r} after {self.seconds:.2f} s"


def request(port, method="GET", path="/mcp", headers=None, body=None, timeout=15.0):
    """A new connection for it. Bytes of `body` go as they are."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read(), time.monotonic() - begun)
    finally:
        connection.close()


def get_json(port, path):
    for _ in range(20):
        answer = request(port, "GET", path)
        if answer.status != 429:
            break
        time.sleep(0.2)
    sure(answer.status == 200, path, answer)
    return json.loads(answer.body)


# ---- peers and what stands around them -----------------------------------------------------------

class Peer(Process):
    """A meshd on ports of the system's choice, or on those it had before."""

    def __init__(self, name, joins=(), flags=(), command=None, env=None, ports=(0, 0, 0),
                 cluster=None, log=None, prefix=()):
        argv = [*prefix, Settings.program("node/meshd"), "--name", name,
                "--cluster", cluster or f"test-{os.getpid()}",
                "--listen", f"127.0.0.1:{ports[0]}", "--peer-listen", f"127.0.0.1:{ports[1]}",
                "--admin", f"127.0.0.1:{ports[2]}"]
        for peer in joins:
            argv += ["--join", f"127.0.0.1:{peer.peer_port}"]
        argv += flags
        if command:
            argv += ["--", *command]
        super().__init__(log or name, argv, env)
        self.peer_name = name
        found = self.wait_line(r"listening clients=\S+:(\d+) peers=\S+:(\d+) admin_port=(\d+)")
        self.port, self.peer_port, self.admin_port = (int(one) for one in found.groups())

    def metrics(self):
        for _ in range(20):
            answer = request(self.admin_port, "GET", "/metrics")
            if answer.status != 429:
                break
            time.sleep(0.2)
        sure(answer.status == 200, "/metrics", answer)
        return {name: float(value) for name, value in
                re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", answer.body.decode(), re.M)}

    def members(self):
        listed = get_json(self.admin_port, "/v1/members")["members"]
        return {member["name"]: member["state"] for member in listed}

    def is_ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return request(self.admin_port, "GET", "/readyz").status == 200
        return False

    def sees(self, count):
        return sum(state == "alive" for state in self.members().values()) == count


def start_peers(count=3, each=None, wait=True, **same):
    """`count` peers p1, p2, ... of one mesh; each(i) gives further arguments of the i-th (from 0)."""
    peers = []
    for i in range(count):
        peers.append(Peer(f"p{i + 1}", joins=peers[:], **{**same, **(each(i) if each else {})}))
    for peer in peers if wait else []:
        wait_until(15, lambda: peer.sees(count) and peer.is_ready(), f"{peer.name} ready")
    return peers


def start_balancer(ports, name="balancer", flags=()):
    argv = [Settings.program("tests/tools/alternate"), "--listen", "127.0.0.1:0", *flags,
            "--log", os.path.join(Settings.directory, f"{name}.requests")]
    for port in ports:
        argv += ["--to", f"127.0.0.1:{port}"]
    balancer = Process(name, argv)
    balancer.port = int(balancer.wait_line(r"listening on port (\d+)").group(1))
    return balancer


def start_stub(name, kind="http", port=0, flags=()):
    stub = Process(name, [Settings.program("tests/tools/stub"), kind, "--name", name,
                          "--listen", f"127.0.0.1:{port}",
                          "--log", os.path.join(Settings.directory, f"{name}.calls"), *flags])
    stub.port = int(stub.wait_line(r"listening on port (\d+)").group(1))
    return stub


def start_everything(name, mode="streamableHttp", port=None):
    """server-everything over Streamable HTTP or "sse"; `name` is in its environment as REPLICA."""
    port = port or free_port()
    replica = Process(name, [NODE, "--require", os.path.join(HERE, "listen-loopback.cjs"),
                             EVERYTHING, mode],
                      env={"PORT": str(port), "REPLICA": name})
    replica.port = port
    return replica


def start_fixture(name):
    """Our fixture server over Streamable HTTP, on `port`; `name` is what its whoami tells."""
    fixture = Process(name, [NODE, FIXTURE, "--port", 0], env={"REPLICA": name})
    fixture.port = int(fixture.wait_line(r"listening on port (\d+)", 20).group(1))
    return fixture


def wait_port(process, port, seconds=20):
    def look():
        sure(process.process.poll() is None, f"{process.name} ended:\n{process.text()[-400:]}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
    wait_until(seconds, look, f"{process.name} listens")


def run_node(script, *argv, seconds=90):
    """A program of tests/system: (exit code, its output)."""
    process = Process(script, [NODE, os.path.join(HERE, script), *argv])
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        code = "late"
    return code, process.text()


def forwarded_share(peers):
    local = forwarded = 0.0
    for peer in peers:
        metrics = peer.metrics()
        local += metrics['mesh_exchanges_total{way="local"}']
        forwarded += metrics['mesh_exchanges_total{way="forwarded"}']
    return forwarded / max(local + forwarded, 1)


# ---- MCP ----------------------------------------------------------------------------------------

BOTH = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


class Session:
    """An MCP session by hand: every message to the port that is named."""

    def __init__(self, port, version=PROTOCOL, capabilities=None, timeout=15.0):
        self.version, self.counter, self.timeout = version, 0, timeout
        answer = self.send(port, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": capabilities or {},
            "clientInfo": {"name": "system-tests", "version": "1"}}}, {})
        sure(answer.status == 200, "initialize:", answer)
        self.id = answer.headers.get("mcp-session-id")
        sure(self.id, "no session id:", answer)
        answer = self.send(port, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        sure(answer.status == 202, "initialized:", answer)

    def headers(self):
        return {"Mcp-Session-Id": self.id, "MCP-Protocol-Version": self.version}

    def send(self, port, message, headers=None, timeout=None):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return request(port, "POST", "/mcp", {**BOTH, **(self.headers() if headers is None
                                                         else headers)},
                       body, timeout or self.timeout)

    def ask(self, port, method, params=None, timeout=None):
        """The answer to a request: (Answer, its message or None)."""
        self.counter += 1
        number = self.counter
        message = {"jsonrpc": "2.0", "id": number, "method": method}
        if params is not None:
            message["params"] = params
        answer = self.send(port, message, timeout=timeout)
        mine = [one for one in answer.messages() if one.get("id") == number and "method" not in one]
        return answer, mine[0] if mine else None

    def call(self, port, tool, timeout=None, **arguments):
        """The text of a tool's answer."""
        answer, message = self.ask(port, "tools/call", {"name": tool, "arguments": arguments},
                                   timeout)
        sure(message and "result" in message, tool, answer)
        return "\n".join(part.get("text", "") for part in message["result"]["content"])

    def end(self, port):
        return request(port, "DELETE", "/mcp", self.headers())


class Stream:
    """A GET stream of a session, read by a thread."""

    def __init__(self, port, session, timeout=15.0, last_event=None):
        self.messages, self.ended, self.comments = [], False, 0
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        resume = {} if last_event is None else {"Last-Event-ID": last_event}
        self.connection.request("GET", "/mcp", headers={"Accept": "text/event-stream", **resume,
                                                        **session.headers()})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with contextlib.suppress(Exception):
            while line := self.answer.readline():
                if line.startswith(b"data:") and line[5:].strip():
                    self.messages.append(json.loads(line[5:]))
                self.comments += line.startswith(b":")
        self.ended = True

    def wait_for(self, method, count=1, seconds=10):
        def look():
            return sum(one.get("method") == method for one in self.messages) >= count
        wait_until(seconds, look, f"{count} × {method}, got {self.messages}")

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()
