"""Progress, sampling, elicitation, roots and notifications, by the official SDK client through strict
alternation: the client's answer to a question reaches another peer than the one that asked."""
from harness import (EVERYTHING, NODE, check, report, run_node, start_balancer,
                     start_everything, start_peers, sure, wait_port)


def features(kind, script, balancer, *flags):
    with check(f"{kind}: all features were tried"):
        code, text = run_node(script, "--url", f"http://127.0.0.1:{balancer.port}/mcp", *flags)
        lines = text.splitlines()
        for i, line in enumerate(lines):
            if line.startswith("ok - "):
                report(f"{kind}: {line[5:]}")
            elif line.startswith("not ok - "):
                report(f"{kind}: {line[9:]}", lines[i + 1].lstrip("# ") if i + 1 < len(lines) else "")
        sure(code in (0, 1) and sum(" - " in line for line in lines) >= 5, code, text[-400:])


def run():
    replicas = [start_everything(f"replica-{i + 1}") for i in range(3)]
    for replica in replicas:
        wait_port(replica, replica.port)
    peers = start_peers(
        each=lambda i: {"flags": ["--upstream", f"http://127.0.0.1:{replicas[i].port}/mcp"],
                        "log": f"http-p{i + 1}"}, cluster="features-http")
    features("http", "features.mjs", start_balancer([peer.port for peer in peers], "http-balancer"))
    peers = start_peers(each=lambda i: {"command": [NODE, EVERYTHING, "stdio"],
                                        "log": f"stdio-p{i + 1}"}, cluster="features-stdio")
    features("stdio", "features.mjs", start_balancer([peer.port for peer in peers], "stdio-balancer"),
             "--stdio")
    peers = start_peers(cluster="features-builtin", each=lambda i: {"log": f"builtin-p{i + 1}"})
    features("built in", "features_builtin.mjs",
             start_balancer([peer.port for peer in peers], "builtin-balancer"))
