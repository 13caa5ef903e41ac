"""The admin endpoint, and the commands that ask it."""
import json
import re
import socket
import subprocess

from harness import Session, Settings, check, get_json, request, start_peers, sure, wait_until

LINE = r'# (HELP|TYPE) \w+ .+|[a-z_]+(\{(\w+="[^"\n]*",?)+\})? [0-9.e+]+'


def meshd(peer, *words):
    done = subprocess.run(
        [Settings.program("node/meshd"), *words, "--admin", f"127.0.0.1:{peer.admin_port}"],
        capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def run():
    peers = start_peers()
    first, second, _ = peers
    session = Session(first.port)
    session.call(second.port, "whoami")

    with check("/healthz and /readyz say 200"):
        for path in ("/healthz", "/readyz"):
            answer = request(second.admin_port, "GET", path)
            sure(answer.status == 200, path, answer)
    with check("/metrics is text that Prometheus takes, and counts what was forwarded"):
        answer = request(second.admin_port, "GET", "/metrics")
        sure(answer.status == 200 and answer.headers["content-type"].startswith("text/plain"),
             answer.headers)
        for line in answer.body.decode().splitlines():
            sure(re.fullmatch(LINE, line), line)
        sure(second.metrics()['mesh_exchanges_total{way="forwarded"}'] >= 1)
        sure(first.metrics()["mesh_sessions"] == 1)
    with check("/v1/members names every peer as alive"):
        listed = get_json(second.admin_port, "/v1/members")
        sure(listed["self"] == "p2", listed)
        sure({one["name"]: one["state"] for one in listed["members"]} ==
             {"p1": "alive", "p2": "alive", "p3": "alive"}, listed)
    with check("/v1/sessions shows a session at its owner only, and never its id"):
        at_first = get_json(first.admin_port, "/v1/sessions")["sessions"]
        at_second = get_json(second.admin_port, "/v1/sessions")["sessions"]
        sure(len(at_first) == 1 and at_second == [], at_first, at_second)
        sure(re.fullmatch("[0-9a-f]{8}", at_first[0]["session"]), at_first)
        sure(at_first[0]["calls"] >= 2, at_first)
    with check("/v1/why/{id} names the owner, at the owner and elsewhere"):
        here = get_json(first.admin_port, f"/v1/why/{session.id}")
        there = get_json(second.admin_port, f"/v1/why/{session.id}")
        sure((here["verdict"], there["verdict"]) == ("here", "there"), here, there)
        sure(here["home"]["name"] == there["home"]["name"] == there["owner"]["name"] == "p1", there)
        sure(here["genuine"] and here["session"] == there["session"], here)
    with check("/v1/why/{id} says of a made-up id that it is none of ours"):
        why = get_json(second.admin_port, "/v1/why/" + "A" * 42)
        sure(why["verdict"] == "foreign" and not why["genuine"], why)
    with check("/v1 is refused to a page of another origin and to another Host"):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            answer = request(first.admin_port, "GET", "/v1/members", headers)
            sure(answer.status == 403, headers, answer)
    with check("what is not there is 404, another method 405"):
        for path in ("/debug/pprof", "/v1/nothing", "/v1/members/nobody"):
            sure(request(first.admin_port, "GET", path).status == 404, path)
        sure(request(first.admin_port, "POST", "/v1/members", body=b"{}").status in (400, 405))

    with check("meshd members lists every peer, with --json as well"):
        code, out, _ = meshd(second, "members")
        sure(code == 0 and all(re.search(rf"^{name}\b.* alive ", out, re.M)
                               for name in ("p1", "p2", "p3")), code, out)
        code, out, _ = meshd(second, "members", "--json")
        sure(code == 0 and len(json.loads(out)["members"]) == 3, out)
    with check("meshd sessions lists the sessions of the peer that it asks"):
        code, out, _ = meshd(first, "sessions")
        sure(code == 0 and len(out.splitlines()) == 2, out)
        sure(session.id not in out, "the id is shown")
    with check("meshd why ID explains where a session is"):
        code, out, _ = meshd(second, "why", session.id)
        sure(code == 0 and "goes to p1" in out and "genuine" in out, out)
        code, out, err = meshd(second, "why")
        sure(code == 2 and len(err.splitlines()) == 1, code, err)
    with check("meshd health exits 0 where the peer is ready, 1 where nobody answers"):
        code, out, _ = meshd(first, "health")
        sure(code == 0 and out.startswith("ready"), code, out)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            done = subprocess.run([Settings.program("node/meshd"), "health", "--admin",
                                   f"127.0.0.1:{unused.getsockname()[1]}"], capture_output=True,
                                  text=True, timeout=20)
        sure(done.returncode == 1 and len(done.stderr.splitlines()) == 1, done)
    with check("no log shows a session id"):
        for peer in peers:
            sure(session.id not in peer.text(), peer.name)
    with check("a peer that was asked to go leaves with exit code 0, and the others know it"):
        peers[2].process.terminate()
        sure(peers[2].wait(15) == 0, peers[2].process.returncode)
        wait_until(10, lambda: first.members().get("p3", "left") in ("left", "dead"), "p3 left")
        sure(first.members().get("p3", "left") == "left", first.members())
