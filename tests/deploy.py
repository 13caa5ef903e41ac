#!/usr/bin/env python3
"""deploy.py MESHD - deploy/ and the Dockerfile against each other and against a real meshd: every
document parses, names that must agree do, every flag and MESH_ variable exists, and a meshd takes
the manifest's own environment (on loopback, with a key of its own) and refuses the example secrets.
Whether an engine likes the Dockerfile is tests/image.sh's to know. Prints TAP."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}


class StrictLoader(yaml.SafeLoader):
    """A key given twice is an error, not the last one's luck."""


def strict_mapping(loader, node):
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for key in keys:
        assert keys.count(key) == 1, f"{key} stands twice in the block at line {node.start_mark.line + 1}"
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, strict_mapping)


class Deploy:
    """Everything under test, read once."""

    def __init__(self, meshd):
        self.meshd = meshd
        help_text = self.run("help").stdout
        self.flags = set(re.findall(r"^  --([a-z-]+)", help_text, re.M))
        self.commands = {word for line in re.findall(r"^  meshd (.*)", help_text, re.M) for word in re.findall(r"[a-z]+", line)}
        self.variables = {"MESH_" + flag.upper().replace("-", "_") for flag in self.flags}
        self.texts = {path: path.read_text() for path in sorted((ROOT / "deploy").iterdir())}
        self.dockerfile = (ROOT / "Dockerfile").read_text()
        self.texts[ROOT / "Dockerfile"] = self.dockerfile
        self.documents = []
        for path, text in self.texts.items():
            if path.suffix == ".yaml":
                self.documents += list(yaml.load_all(text, StrictLoader))

    def run(self, *arguments, **environment):
        return subprocess.run(
            [self.meshd, *arguments], env={**CLEAN, **environment}, capture_output=True, text=True, timeout=20, check=False
        )

    def only(self, kind, name=None):
        found = [d for d in self.documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
        return found[0]

    @property
    def statefulset(self):
        return self.only("StatefulSet")["spec"]

    @property
    def pod(self):
        return self.statefulset["template"]["spec"]

    @property
    def sidecar(self):
        return next(c for c in self.pod["containers"] if c["name"] == "meshd")

    def environment(self):
        """The sidecar's, with the pod's own fields filled in."""
        fields = {"metadata.name": "mcp-0", "status.podIP": "10.1.2.3"}
        result = {}
        for entry in self.sidecar["env"]:
            path = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            result[entry["name"]] = fields[path] if path else entry["value"]
        return result


def test_every_document_says_what_it_is(deploy):
    assert len(deploy.documents) >= 5
    for document in deploy.documents:
        assert re.fullmatch(r"(apps/|policy/)?v1", document["apiVersion"]), document
        assert document["kind"] and re.fullmatch(r"[a-z0-9-]{1,63}", document["metadata"]["name"])
        assert document.get("spec") or document.get("stringData"), document["kind"]


def test_every_setting_named_exists(deploy):
    for path, text in deploy.texts.items():
        for variable in re.findall(r"\bMESH_[A-Z_]+[A-Z]\b", text):
            assert variable in deploy.variables, f"{path.name}: no such setting: {variable}"
        for command in re.findall(r"(?:-- |`)(?:/usr/bin/)?meshd ([a-z]+)", text):
            assert command in deploy.commands, f"{path.name}: no such command: {command}"
        for flag in re.findall(r"meshd's `?--([a-z-]+)", text):
            assert flag in deploy.flags, f"{path.name}: no such flag: --{flag}"


def test_pods_start_together_and_find_each_other(deploy):
    spec = deploy.statefulset
    assert spec["podManagementPolicy"] == "Parallel"
    headless = deploy.only("Service", spec["serviceName"])["spec"]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"] is True
    environment = deploy.environment()
    assert environment["MESH_JOIN"] == spec["serviceName"]
    assert 1 < int(environment["MESH_EXPECT"]) <= spec["replicas"]
    assert {port["protocol"] for port in headless["ports"]} == {"TCP", "UDP"}


def test_selectors_and_ports_meet_the_pods(deploy):
    labels = deploy.statefulset["template"]["metadata"]["labels"]
    ports = {p["name"]: p for c in deploy.pod["containers"] for p in c.get("ports", [])}
    assert deploy.statefulset["selector"]["matchLabels"].items() <= labels.items()
    services = [d for d in deploy.documents if d["kind"] == "Service"]
    assert len(services) == 2
    for service in services:
        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]]["protocol"] == port["protocol"]
            assert len(port["name"]) <= 15
    clients = next(s for s in services if s["metadata"]["name"] != deploy.statefulset["serviceName"])
    assert clients["spec"].get("sessionAffinity", "None") == "None"
    listening = {"MESH_LISTEN": "mcp", "MESH_PEER_LISTEN": "peer-tcp", "MESH_ADMIN": "admin"}
    for variable, name in listening.items():
        assert deploy.environment()[variable].endswith(f":{ports[name]['containerPort']}"), variable


def test_containers_are_confined(deploy):
    pod = deploy.pod
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    volumes = {v["name"] for v in pod["volumes"]}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["runAsUser"] > 0 and context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert {m["name"] for m in container["volumeMounts"]} <= volumes


def test_the_kubelet_asks_the_admin_endpoint(deploy):
    for probe, path in {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}.items():
        assert deploy.sidecar[probe]["httpGet"] == {"path": path, "port": "admin"}


def test_the_server_outlives_meshd_and_the_pod_both(deploy):
    help_text = deploy.run("help").stdout
    drain = re.search(r"--drain-timeout.*?\(default: (\d+)s\)", help_text, re.S)[1]
    seconds = int(deploy.environment().get("MESH_DRAIN_TIMEOUT", drain + "s").removesuffix("s"))
    server = next(c for c in deploy.pod["containers"] if c["name"] != "meshd")
    sleep = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert seconds < sleep < deploy.pod["terminationGracePeriodSeconds"]


def test_the_secret_is_mounted_where_the_settings_look(deploy):
    secret = deploy.only("Secret")
    volume = next(v for v in deploy.pod["volumes"] if "secret" in v)
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert volume["secret"]["defaultMode"] & 0o007 == 0, "meshd refuses a key that everybody may read"
    assert deploy.pod["securityContext"]["fsGroup"] == deploy.sidecar["securityContext"]["runAsGroup"]
    mount = next(m for m in deploy.sidecar["volumeMounts"] if m["name"] == volume["name"])
    for variable in ("MESH_KEY_FILE", "MESH_ADMIN_TOKEN_FILE"):
        directory, name = os.path.split(deploy.environment()[variable])
        assert directory == mount["mountPath"] and name in secret["stringData"]


def local_environment(deploy, directory, key, token):
    """The manifest's, on loopback, with these contents in the two secret files."""
    environment = deploy.environment()
    for variable, text in {"MESH_KEY_FILE": key, "MESH_ADMIN_TOKEN_FILE": token}.items():
        path = Path(directory) / variable
        path.write_text(text)
        path.chmod(0o440)
        environment[variable] = str(path)
    for variable in ("MESH_LISTEN", "MESH_PEER_LISTEN", "MESH_ADMIN"):
        environment[variable] = "127.0.0.1:0"
    environment["MESH_ADVERTISE"] = "127.0.0.1"
    environment["MESH_JOIN"] = "127.0.0.1:1"
    environment["MESH_UPSTREAM"] = "http://127.0.0.1:1/mcp"
    return environment


def test_a_meshd_starts_with_this_environment(deploy):
    key = deploy.run("keygen").stdout
    with tempfile.TemporaryDirectory() as directory:
        environment = local_environment(deploy, directory, key, key)
        log = Path(directory) / "log"
        with log.open("w") as to:
            child = subprocess.Popen([deploy.meshd], env={**CLEAN, **environment}, stderr=to)
        try:
            end = time.monotonic() + 10
            while "listening" not in log.read_text() and child.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            assert '"listening"' in log.read_text() and child.poll() is None, log.read_text()
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(8)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def test_its_addresses_are_read_as_addresses(deploy):
    # Not bound: the name after them is wrong, and must be the first complaint.
    for variable in ("MESH_LISTEN", "MESH_PEER_LISTEN", "MESH_ADMIN", "MESH_ADVERTISE"):
        value = deploy.environment()[variable]
        result = deploy.run(f"--{variable[5:].lower().replace('_', '-')}={value}", "--name=WRONG")
        assert result.returncode == 2 and "--name" in result.stderr, result.stderr


def test_the_example_secrets_are_refused(deploy):
    secret = deploy.only("Secret")["stringData"]
    key = deploy.run("keygen").stdout
    for name, texts in {"key": (secret["key"], key), "token": (key, secret["admin-token"])}.items():
        with tempfile.TemporaryDirectory() as directory:
            result = deploy.run(**local_environment(deploy, directory, *texts))
        assert result.returncode == 2, f"the example {name} is taken"
        assert result.stderr.count("\n") == 1, result.stderr


def test_the_example_server_is_the_one_that_is_tested(deploy):
    pinned = yaml.safe_load((ROOT / "tests/system/package.json").read_text())["dependencies"]
    for word in next(c for c in deploy.pod["containers"] if c["name"] == "server")["command"]:
        name, _, version = word.rpartition("@")
        if name:
            assert pinned[name] == version, word


def test_the_image_fits_the_manifest(deploy):
    steps = dict(re.findall(r"^(USER|ENTRYPOINT|EXPOSE|HEALTHCHECK|ENV) (.*)", deploy.dockerfile, re.M))
    context = deploy.sidecar["securityContext"]
    assert steps["USER"] == f"{context['runAsUser']}:{context['runAsGroup']}"
    exposed = set(steps["EXPOSE"].split())
    for port in deploy.sidecar["ports"]:
        assert f"{port['containerPort']}/{port['protocol'].lower()}" in exposed
    assert steps["HEALTHCHECK"].endswith('CMD ["/usr/bin/meshd", "health"]')
    version = deploy.run("--version").stdout.split()[1]
    assert deploy.sidecar["image"].endswith(f":{version}"), "image and version"


def main():
    if len(sys.argv) != 2:
        print("usage: tests/deploy.py MESHD", file=sys.stderr)
        return 2
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    failed = 0
    print(f"1..{len(tests)}")
    try:
        deploy = Deploy(os.path.abspath(sys.argv[1]))
    except Exception as error:
        print(f"Bail out! {type(error).__name__}: {error}\n# repeat: tests/deploy.py {sys.argv[1]}")
        return 1
    for number, (name, test) in enumerate(tests, 1):
        try:
            test(deploy)
            print(f"ok {number} - {name}")
        except Exception as error:  # whatever it is, it is this test's failure
            failed += 1
            print(f"not ok {number} - {name}")
            where = next(f for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == __file__)
            for line in [f"line {where.lineno}: {where.line}", *f"{type(error).__name__}: {error}".splitlines()]:
                print(f"# {line}")
    if failed:
        print(f"# repeat: tests/deploy.py {sys.argv[1]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
