"""Revision 2026-07-28 over three replicas whose states and tasks live in one process each, every
message to another peer: each comes back to the replica that gave it, closing cancels, held streams
stay and end definitely, and a client that probes is never answered 5xx."""
import base64
import contextlib
import http.client
import json
import os
import socket
import sys
import threading
import time

from harness import (BOTH, HERE, Process, check, free_port, note, request, start_peers, start_stub,
                     sure, wait_port, wait_until)

VERSION = "2026-07-28"
counter = 0


def message_of(method, params=None):
    global counter
    counter += 1
    meta = {"io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": counter, "method": method,
            "params": {**(params or {}), "_meta": meta}}


def headers_of(message, **extra):
    params = message["params"]
    name = params.get("taskId", params.get("name"))
    named = {"Mcp-Name": name} if name else {}
    return {**BOTH, "MCP-Protocol-Version": VERSION, "Mcp-Method": message["method"], **named,
            **{key.replace("_", "-"): value for key, value in extra.items()}}


def send(port, message, timeout=20.0, **extra):
    return request(port, "POST", "/mcp", headers_of(message, **extra),
                   json.dumps(message).encode(), timeout)


def ask(port, method, params=None, **extra):
    """The answer's one message that answers."""
    message = message_of(method, params)
    answer = send(port, message, **extra)
    mine = [one for one in answer.messages() if one.get("id") == message["id"]]
    sure(len(mine) == 1, method, answer)
    return mine[0]


def call(port, tool, state=None, headers=None, **arguments):
    params = {"name": tool, "arguments": arguments}
    if state is not None:
        params["requestState"] = state
    return ask(port, "tools/call", params, **(headers or {}))


def text_of(message):
    sure("result" in message, message)
    return message["result"]["content"][0]["text"]


class Held:
    """A POST whose answer streams, read by a thread."""

    def __init__(self, port, method, params):
        message = message_of(method, params)
        self.messages, self.comments, self.ended = [], 0, False
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("POST", "/mcp", json.dumps(message), headers_of(message))
        self.answer = self.connection.getresponse()
        sure(self.answer.status == 200, self.answer.status)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with contextlib.suppress(Exception):
            while line := self.answer.readline():
                if line.startswith(b"data:") and line[5:].strip():
                    self.messages.append(json.loads(line[5:]))
                self.comments += line.startswith(b": ")
        self.ended = True

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def start_replica(name):
    port = free_port()
    replica = Process(name, [sys.executable, os.path.join(HERE, "modern_server.py"), name, port])
    replica.port = port
    return replica


def count(replica, words):
    return sum(line.startswith(words) for line in replica.text().splitlines())


def states(peers):
    with check("a requestState comes back to the replica that gave it, through any peer, JSON and SSE"):
        for giver in range(3):
            for through in range(3):
                for stream in (False, True):
                    state, rounds = None, 0
                    port = peers[giver].port
                    while True:
                        answer = call(port, "rounds", state, rounds=3, stream=stream)
                        sure("result" in answer, answer)
                        state = answer["result"].get("requestState")
                        if state is None:
                            break
                        sure(state[20] == "." and '"\u00e9/\\' in state, state)
                        rounds += 1
                        port = peers[(through + rounds) % 3].port
                    sure(rounds == 3 and text_of(answer) == f"replica-{giver + 1}", answer)
    with check("a state without its tag is the local replica's to refuse"):
        state = call(peers[0].port, "rounds", rounds=1)["result"]["requestState"]
        for changed in (state[21:], "B" + state[1:], "x"):
            answer = call(peers[1].port, "rounds", changed, rounds=1)
            sure(answer["error"]["message"] == "Invalid or expired requestState", answer)


def tasks(peers, replicas):
    with check("60 tasks: each is found from another peer the moment its client knows it"):
        for n in range(60):
            made = call(peers[n % 3].port, "task", stream=n % 2 == 0)["result"]
            for through in (n + 1, n + 2, n):
                method = ("tasks/get", "tasks/update", "tasks/cancel")[through % 3]
                got = ask(peers[through % 3].port, method, {"taskId": made["taskId"]})
                sure(got["result"]["replica"] == f"replica-{n % 3 + 1}", got)
        learned = sum(peer.metrics()["mesh_tasks_learned_total"] for peer in peers)
        unwritten = sum(peer.metrics()["mesh_tasks_unwritten_total"] for peer in peers)
        sure(learned == 60 and unwritten == 0, learned, unwritten)
    with check("a task that nobody knows is the local replica's to refuse"):
        got = ask(peers[1].port, "tasks/get", {"taskId": "no such task"})
        sure(got["error"]["message"] == "Task not found", got)
    with check("A17: a Mcp-Name that is not params.taskId is 400 with -32020, and reaches nobody"):
        task = call(peers[0].port, "task")["result"]["taskId"]
        before = sum(count(replica, "request tasks/") for replica in replicas)
        coded = base64.b64encode(b"another").decode()
        for name in ("another", f"=?base64?{coded}?=", "=?base64?%%%?="):
            message = message_of("tasks/get", {"taskId": task})
            answer = send(peers[1].port, message, Mcp_Name=name)
            sure(answer.status == 400, name, answer)
            error = answer.messages()[0]
            sure(error["error"]["code"] == -32020 and error["id"] == message["id"], error)
        sure(sum(count(replica, "request tasks/") for replica in replicas) == before)
    with check("A17: the same name in base64 is the task's"):
        coded = base64.b64encode(task.encode()).decode()
        got = ask(peers[1].port, "tasks/get", {"taskId": task}, Mcp_Name=f"=?base64?{coded}?=")
        sure(got["result"]["replica"] == "replica-1", got)


def handles(peers):
    with check("equal handles in the header that was named meet in one replica"):
        seen = {}
        for n in range(30):
            at = {text_of(call(peer.port, "whoami", headers={"Mcp_Param_Doc": f"doc-{n}"}))
                  for peer in peers}
            sure(len(at) == 1, n, at)
            seen[at.pop()] = True
        sure(len(seen) == 3, seen)
    with check("without a handle each peer's own replica answers, whatever session id is named"):
        for i, peer in enumerate(peers):
            answer = call(peer.port, "whoami", headers={"Mcp_Session_Id": "not an id"})
            sure(text_of(answer) == f"replica-{i + 1}", answer)


def closing(peers, replicas):
    with check("a client that closes cancels the call in the replica, here and on another peer"):
        state = call(peers[0].port, "rounds", rounds=1)["result"]["requestState"]
        for peer in peers[:2]:
            before = count(replicas[0], "closed slow")
            held = Held(peer.port, "tools/call", {"name": "slow", "arguments": {"seconds": 60},
                                                  "requestState": state})
            wait_until(5, lambda: held.messages, "progress")
            held.close()
            wait_until(2, lambda: count(replicas[0], "closed slow") > before, "the cancel")
    with check("a slow call that nobody closes is answered"):
        held = Held(peers[1].port, "tools/call", {"name": "slow", "arguments": {"seconds": 1},
                                                  "requestState": state})
        wait_until(10, lambda: held.ended, "its end")
        sure(held.messages[-1].get("result"), held.messages)
    return state


def dying(peers, replicas, state, held):
    with check("a held stream is kept alive by comments while its server is silent"):
        wait_until(25, lambda: held.comments > 0, "a comment")
        sure(not held.ended and held.messages[0]["method"].endswith("acknowledged"), held.messages)
    with check("the death of the peer that holds the client cancels the call in the replica"):
        own = call(peers[1].port, "rounds", rounds=1)["result"]["requestState"]
        before = count(replicas[0], "closed slow")
        slow = Held(peers[1].port, "tools/call", {"name": "slow", "arguments": {"seconds": 90},
                                                  "requestState": state})
        wait_until(5, lambda: slow.messages, "progress")
        peers[1].kill()
        begun = time.monotonic()
        wait_until(40, lambda: count(replicas[0], "closed slow") > before, "the cancel")
        note(f"cancelled {time.monotonic() - begun:.1f} s after the peer's death")
    with check("the state of a peer that is gone: the local replica answers, -32602"):
        wait_until(20, lambda: peers[2].sees(2), "the death is known")
        answer = call(peers[2].port, "rounds", own, rounds=1)
        sure(answer["error"]["message"] == "Invalid or expired requestState", answer)
    with check("a held stream ends with an error in-band when its server dies"):
        replicas[0].kill()
        wait_until(10, lambda: held.ended, "the stream's end")
        sure(held.messages[-1].get("error", {}).get("code") == -32603, held.messages[-1])
    with check("a probe through a peer whose server is down is answered by another's, never 5xx"):
        def served():
            answer = send(peers[0].port, message_of("server/discover"))
            sure(answer.status == 200, answer)
            found = answer.messages()[0].get("result")
            return found and found["serverInfo"]["name"] == "replica-3"
        wait_until(20, served, "replica-3 answers for p1")


def legacy():
    stubs = [start_stub(f"legacy-{i + 1}") for i in range(2)]
    peers = start_peers(2, cluster="modern-legacy", each=lambda i: {
        "flags": ["--upstream", f"http://127.0.0.1:{stubs[i].port}/mcp"], "log": f"legacy-p{i + 1}"})
    with check("before a legacy server a probe gets its refusal, by which clients fall back"):
        for peer in peers:
            answer = send(peer.port, message_of("server/discover"))
            sure(answer.status in (400, 404), answer)
            code = answer.messages()[0]["error"]["code"] if answer.body else 0
            sure(not -32022 <= code <= -32020, answer)
    builtin = start_peers(1, cluster="modern-builtin", each=lambda i: {"log": "builtin-p1"})
    with check("before the built-in server as well: 400 with -32000"):
        answer = send(builtin[0].port, message_of("server/discover"))
        sure(answer.status == 400 and answer.messages()[0]["error"]["code"] == -32000, answer)


def run():
    replicas = [start_replica(f"replica-{i + 1}") for i in range(3)]
    for replica in replicas:
        wait_port(replica, replica.port)
    peers = start_peers(each=lambda i: {
        "flags": ["--upstream", f"http://127.0.0.1:{replicas[i].port}/mcp",
                  "--affinity-header", "Mcp-Param-Doc"]})
    held = Held(peers[0].port, "subscriptions/listen", {"notifications": {}})
    states(peers)
    tasks(peers, replicas)
    handles(peers)
    state = closing(peers, replicas)
    with check("initialize before a server of that revision alone gets the server's own refusal"):
        body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"}}}).encode()
        answer = request(peers[0].port, "POST", "/mcp", BOTH, body)
        sure(answer.status == 400 and answer.messages()[0]["error"]["code"] == -32022, answer)
    legacy()
    dying(peers, replicas, state, held)
