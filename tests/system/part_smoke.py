"""For a build that is slow: three peers, load through strict alternation over HTTP, stdio and built
in, a peer that is killed, some bytes that are no HTTP; nothing fails."""
import json
import subprocess

from harness import (NOT_FOUND, Settings, check, note, request, start_balancer,
                     start_peers, start_stub, sure, wait_until)
from raw import exchange, head, post


def load(balancer, *words):
    done = subprocess.run(
        [Settings.program("tests/tools/load"), "--to", f"127.0.0.1:{balancer.port}", "--json",
         "--new-connection", "--expect-clean", *[str(word) for word in words]],
        capture_output=True, text=True, timeout=60)
    sure(done.returncode == 0, done.stdout[-600:], done.stderr[-600:])
    return json.loads(done.stdout)


def run():
    stubs = [start_stub(f"stub-{i + 1}") for i in range(3)]
    kinds = {
        "http": lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp"]},
        "stdio": lambda i: {"command": [Settings.program("tests/tools/stub"), "stdio"]},
        "builtin": lambda i: {},
    }
    meshes = {}
    for kind, each in kinds.items():
        peers = meshes[kind] = start_peers(
            cluster=f"smoke-{kind}", each=lambda i: {**each(i), "log": f"{kind}-p{i + 1}"})
        balancer = start_balancer([peer.port for peer in peers], f"{kind}-balancer")
        with check(f"{kind}: load through strict alternation, nothing fails"):
            words = ["--sessions", 12, "--rate", 150, "--seconds", 2]
            if kind != "builtin":
                words += ["--tool", "counter"]
            found = load(balancer, *words)
            note(f"{kind}: {found['answered']} calls, {found['latency_us']}")
    with check("http: GET streams, slow calls with progress, nothing fails"):
        balancer = start_balancer([peer.port for peer in meshes["http"]], "http-slow-balancer")
        load(balancer, "--sessions", 6, "--rate", 20, "--seconds", 2, "--tool", "slow",
             "--get-streams", "--notify-ms", 200)
    with check("bytes that are no HTTP, ids that are none"):
        port = meshes["http"][0].port
        for data in (b"\x16\x03\x01\0", b"\r\n" * 9000, head(lines=["Content-Length: 3, 3"]),
                     post(lines=["X: \0"]), post(lines=["Mcp-Session-Id: " + "A" * 42])):
            reply = exchange(port, data)
            sure(reply.status in (400, 404), reply)
        answer = request(port, "DELETE", "/mcp", {"Mcp-Session-Id": "B" * 42})
        sure(answer.body == NOT_FOUND, answer)
    with check("a peer is killed, the others see it and go on"):
        first, *others = meshes["builtin"]
        first.kill()
        for peer in others:
            wait_until(20, lambda: peer.members().get("p1", "dead") == "dead", f"at {peer.name}")
        load(start_balancer([peer.port for peer in others], "rest"), "--sessions", 6, "--rate", 100,
             "--seconds", 1)
    with check("every peer ends with exit code 0 when it is asked to"):
        killed = meshes["builtin"][0]
        peers = [peer for peers in meshes.values() for peer in peers if peer is not killed]
        for peer in peers:
            peer.process.terminate()
        codes = {f"{peer.log}": peer.wait(20) for peer in peers}
        sure(set(codes.values()) == {0}, codes)
