"""Real clients against real servers: each client's list of probes behind three peers and strict
alternation, and the same list against the bare server by the server's own transport. What passes
bare passes through the mesh; what fails bare fails there with an answer, never with silence."""
import concurrent.futures
import json
import os

from harness import (EVERYTHING, HERE, NODE, Process, Settings, check, note, start_balancer,
                     start_everything, start_fixture, start_peers, sure, wait_port, wait_until)

INSPECTOR = os.path.join(
    HERE, "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")
AT_ONCE = 6  # a cell waits as much as it computes
PROBE_SECONDS = 20

# What the inspector is asked, and a word of the right answer. It is a process for each.
INSPECTED = {
    "everything": {
        "tools/list": (["tools/list"], '"get-sum"'),
        "get-sum": (["tools/call", "--tool-name", "get-sum", "--tool-arg", "a=2", "b=3"], " 5"),
        "resource": (["resources/read", "--uri", "demo://resource/dynamic/text/1"], '"text"'),
        "prompt": (["prompts/get", "--prompt-name", "simple-prompt"], '"messages"'),
    },
    "fixture": {
        "tools/list": (["tools/list"], '"slow"'),
        "text": (["tools/call", "--tool-name", "test_simple_text"], "simple text"),
        "resource": (["resources/read", "--uri", "test://static-text"], '"text"'),
        "prompt": (["prompts/get", "--prompt-name", "test_simple_prompt"], '"messages"'),
    },
}


class Client:
    """`transport`: how it reaches the mesh."""

    def __init__(self, name, program, transport, era="legacy"):
        self.name, self.program, self.transport, self.era = name, program, transport, era


V1_HTTP, V1_SSE = Client("SDK v1", "v1", "http"), Client("SDK v1 over /sse", "v1", "sse")
V2_LEGACY = Client("SDK v2 legacy", "v2", "http")
V2_AUTO = Client("SDK v2 auto", "v2", "http", "auto")
V2_MODERN = Client("SDK v2 pinned 2026-07-28", "v2", "http", "modern")
INSPECTOR_HTTP = Client("inspector", "inspector", "http")
INSPECTOR_SSE = Client("inspector over /sse", "inspector", "sse")
INSPECTOR_MODERN = Client("inspector modern", "inspector", "http", "modern")
SDKS = [V1_HTTP, V1_SSE, V2_LEGACY, V2_AUTO, V2_MODERN]


class Row:
    """One kind of server: three of it behind three peers, and one bare. `bare`: its own transport;
    `problem`: why the mesh in front of it did not start."""

    def __init__(self, name, server, clients, bare, url=None, command=None):
        self.name, self.server, self.clients = name, server, clients
        self.bare, self.url, self.command = bare, url, command
        self.peers, self.balancer, self.problem = [], None, None

    def start_mesh(self, each):
        try:
            self.peers = start_peers(cluster=f"matrix-{self.name}", wait=False, each=lambda i: {
                **each(i), "log": f"{self.name}-p{i + 1}"})
            self.balancer = start_balancer([peer.port for peer in self.peers],
                                           f"{self.name}-balancer")
        except Exception as error:  # every cell of the row tells it
            self.problem = f"{type(error).__name__}: {error}"

    def wait_mesh(self):
        try:
            for peer in self.peers:
                wait_until(15, lambda: peer.sees(len(self.peers)) and peer.is_ready(),
                           f"{peer.name} of {self.name} ready")
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"

    def mesh_url(self, client):
        return f"http://127.0.0.1:{self.balancer.port}/{'sse' if client.transport == 'sse' else 'mcp'}"


# ---- the probes of one client -------------------------------------------------------------------

def compiled():
    """Dozens of processes start with the same code: it is compiled once."""
    return {"NODE_COMPILE_CACHE": os.path.join(Settings.directory, "compiled")}


def probe_sdk(name, client, server, transport, url, command):
    target = ["--url", url] if url else ["--", *command]
    process = Process(name, [NODE, os.path.join(HERE, "matrix.mjs"), "--client", client.program,
                             "--era", client.era, "--transport", transport, "--server", server,
                             *target], env=compiled())
    try:
        process.wait(120)
    finally:
        process.end()
    lines = [line for line in process.text().splitlines() if line.startswith("{")]
    sure(lines, f"{name} told nothing:", process.text()[-400:])
    return json.loads(lines[-1])


def probe_inspector(name, client, server, transport, url, command):
    """A process for each probe, and a session."""
    home = os.path.join(Settings.directory, f"{name}-home")
    os.makedirs(home)
    results = {}
    for probe, (words, answer) in INSPECTED[server].items():
        # The server's command is last, after its own "--".
        argv = [NODE, INSPECTOR, "--cli", *([url, "--transport", transport] if url else []),
                "--protocol-era", client.era, "--connect-timeout", 8000, "--method", *words,
                "--format", "json", *(["--", *command] if not url else [])]
        process = Process(f"{name}-{probe.replace('/', '-')}", argv, env={"HOME": home, **compiled()})
        late = False
        try:
            process.wait(PROBE_SECONDS)
        except Exception:  # its time is over
            late = True
        process.end()
        ok = not late and process.process.returncode == 0 and answer in process.text()
        results[probe] = {"ok": ok, "late": late,
                          "error": "no answer" if late else process.text().strip()[-300:]}
    return results


def probe(row, client, through_mesh):
    name = f"{row.name}-{client.name}-{'mesh' if through_mesh else 'bare'}"
    name = name.replace(" ", "-").replace("/", "")
    run = probe_inspector if client.program == "inspector" else probe_sdk
    if through_mesh:
        sure(row.problem is None, row.problem)
        return run(name, client, row.server, client.transport, row.mesh_url(client), None)
    return run(name, client, row.server, row.bare, row.url, row.command)


# ---- what comes of it -----------------------------------------------------------------------------

def words_of(results):
    return f"{sum(one['ok'] for one in results.values())}/{len(results)}"


def short(result):
    return " ".join(result["error"].split())[:200]


def differences(bare, mesh):
    """What the mesh spoils: [sentence]."""
    found = []
    for name, one in mesh.items():
        if one["ok"]:
            continue
        fails_bare = name in bare and not bare[name]["ok"]
        if one["late"] or not fails_bare:
            found.append(f"{name}: {short(one)}")
        elif one["error"] != bare[name]["error"]:
            found.append(f"{name}: {short(one)}, bare: {short(bare[name])}")
    never = [name for name, one in bare.items() if one["ok"] and name not in mesh and name != "end"]
    return found + ([f"never asked: {', '.join(never)}"] if never else [])


def judge(row, client, bare, mesh):
    """One cell; its line of the table."""
    got_bare, got, problem = {}, {}, None
    with check(f"{row.name}, {client.name}: it can do what it can with the bare server, and fails as "
               "it does there"):
        got_bare = bare.result(180)
        try:
            got = mesh.result(180)
        except Exception as error:
            problem = str(error)
            raise
        found = differences(got_bare, got)
        problem = found[0] if found else None
        sure(not found, "\n".join(found))
    fails = [f"as bare: {name}: {short(one)[:100]}" for name, one in got_bare.items()
             if not one["ok"]]
    return " | ".join([f"{row.name:16}", f"{client.name:24}", f"bare {words_of(got_bare):5}",
                       f"mesh {words_of(got):5}", problem or "; ".join(fails) or "the same"])


def start_rows():
    def upstreams(servers, path):
        return lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{servers[i].port}/{path}"]}

    streaming = [start_everything(f"http-{i + 1}") for i in range(3)]
    sse = [start_everything(f"sse-{i + 1}", "sse") for i in range(3)]
    fixtures = [start_fixture(f"fixture-{i + 1}") for i in range(3)]
    for server in streaming + sse:
        wait_port(server, server.port)
    command = [NODE, EVERYTHING, "stdio"]
    all_of_everything = [*SDKS, INSPECTOR_HTTP, INSPECTOR_SSE]
    rows = [
        Row("everything-http", "everything", all_of_everything, "http",
            url=f"http://127.0.0.1:{streaming[0].port}/mcp"),
        Row("everything-sse", "everything", all_of_everything, "sse",
            url=f"http://127.0.0.1:{sse[0].port}/sse"),
        Row("everything-stdio", "everything", all_of_everything, "stdio", command=command),
        Row("fixture-http", "fixture", [*SDKS, INSPECTOR_MODERN], "http",
            url=f"http://127.0.0.1:{fixtures[0].port}/mcp"),
    ]
    each = [upstreams(streaming, "mcp"), upstreams(sse, "sse"), lambda _: {"command": command},
            upstreams(fixtures, "mcp")]
    for row, arguments in zip(rows, each):
        row.start_mesh(arguments)
    for row in rows:
        row.wait_mesh()
    return rows


def run():
    rows = start_rows()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        bare, cells = {}, []
        for row in rows:
            for client in row.clients:
                # The same client, whichever way it takes through the mesh: asked once.
                key = row.name, client.program, client.era
                if key not in bare:
                    bare[key] = pool.submit(probe, row, client, False)
                cells.append((row, client, bare[key], pool.submit(probe, row, client, True)))
        table = [judge(*cell) for cell in cells]
    for line in table:
        note(line[:240])
