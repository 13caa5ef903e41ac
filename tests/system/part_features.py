"""Progress, sampling, elicitation, roots and notifications, by the official SDK client through strict
alternation: the client's answer to a question reaches another peer than the one that asked."""
import os

from harness import (EVERYTHING, HERE, NODE, Process, check, report, start_balancer,
                     start_everything, start_peers, sure, wait_port)


class Run:
    """One script against one mesh; those of all kinds run side by side, since they mostly wait."""

    def __init__(self, kind, script, peers, *flags):
        self.kind = kind
        balancer = start_balancer([peer.port for peer in peers], f"{kind}-balancer")
        self.process = Process(f"{kind}-{script}", [
            NODE, os.path.join(HERE, script), "--url", f"http://127.0.0.1:{balancer.port}/mcp", *flags])

    def show(self):
        with check(f"{self.kind}: all features were tried"):
            code = self.process.wait(90)
            lines = self.process.text().splitlines()
            for i, line in enumerate(lines):
                if line.startswith("ok - "):
                    report(f"{self.kind}: {line[5:]}")
                elif line.startswith("not ok - "):
                    why = lines[i + 1].lstrip("# ") if i + 1 < len(lines) else ""
                    report(f"{self.kind}: {line[9:]}", why)
            sure(code in (0, 1) and sum(" - " in line for line in lines) >= 5, code, lines[-5:])


def run():
    replicas = [start_everything(f"replica-{i + 1}") for i in range(3)]
    for replica in replicas:
        wait_port(replica, replica.port)
    runs = [
        Run("http", "features.mjs", start_peers(cluster="features-http", each=lambda i: {
            "flags": ["--upstream", f"http://127.0.0.1:{replicas[i].port}/mcp"],
            "log": f"http-p{i + 1}"})),
        Run("stdio", "features.mjs", start_peers(cluster="features-stdio", each=lambda i: {
            "command": [NODE, EVERYTHING, "stdio"], "log": f"stdio-p{i + 1}"}), "--stdio"),
        Run("builtin", "features_builtin.mjs", start_peers(cluster="features-builtin", each=lambda i: {
            "log": f"builtin-p{i + 1}"})),
    ]
    for one in runs:
        one.show()
