"""The cluster's key is changed ten times under load: added, used, out of use; by the order of the
files, by `meshd keys use`, and with steps left out. One peer is stopped for the whole of one round.
Nothing fails, nobody is taken for dead but the sleeper, and no key is in any log."""
import hashlib
import json
import os
import re
import signal
import subprocess
import time

from harness import Peer, Process, Session, Settings, check, note, processes, request, sure, wait_until

PEERS, ROUNDS, RATE, SESSIONS = 5, 10, 300, 50
ASLEEP = 4  # the round through which the last peer sleeps
TOKEN, OTHER = "a-token-of-the-operator", "its-next-token"


def make_key():
    made = subprocess.run([Settings.program("node/meshd"), "keygen"], capture_output=True, text=True,
                          timeout=20)
    sure(made.returncode == 0, made.stderr)
    return made.stdout.strip()


class Keys:
    """Keys made by `meshd keygen`, and their ids as a peer lists them."""

    def __init__(self):
        self.all = []

    def fresh(self, beside):
        """One whose id does not end like those of `beside`: a peer would refuse the file."""
        for _ in range(200):
            key = make_key()
            if all(key_id(key)[-1] != key_id(one)[-1] for one in beside):
                self.all.append(key)
                return key
        raise AssertionError("no key")


def key_id(key):
    digest = hashlib.blake2b(bytes.fromhex(key), digest_size=32).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def key_path(i):
    return os.path.join(Settings.directory, f"keys{i}")


def write_file(path, text):
    """As a Secret volume does it: another file takes its place."""
    def opener(name, flags):
        return os.open(name, flags, 0o600)

    with open(path + ".new", "w", encoding="ascii", opener=opener) as file:
        file.write(text)
    os.rename(path + ".new", path)


def write_keys(i, used, verify=()):
    write_file(key_path(i), "".join(f"{key}\n" for key in used) +
               "".join(f"verify {key}\n" for key in verify))


def token_path():
    return os.path.join(Settings.directory, "token")


def meshd(peer, *words):
    done = subprocess.run([
        Settings.program("node/meshd"), *words, "--admin", f"127.0.0.1:{peer.admin_port}",
        "--admin-token-file", token_path()], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def keys_of(peer):
    """{key id: what /v1/keys says of it}"""
    answer = request(peer.admin_port, "GET", "/v1/keys", {"Authorization": f"Bearer {TOKEN}"})
    if answer.status == 429:
        time.sleep(0.5)
        return keys_of(peer)
    sure(answer.status == 200, "/v1/keys", answer)
    return {key["key"]: key for key in json.loads(answer.body)["keys"]}


def seals(peer, key):
    return keys_of(peer).get(key_id(key), {}).get("seals", False)


def use_of(peer, key):
    return keys_of(peer).get(key_id(key), {}).get("use")


class Bound(Session):
    """One that belongs to who has its token (--bind-session token)."""

    def __init__(self, port, credentials):
        self.credentials, self.id = credentials, None
        super().__init__(port)

    def send(self, port, message, headers=None, timeout=None):
        bound = {"Authorization": f"Bearer {self.credentials}"}
        return super().send(port, message, {**(self.headers() if headers is None else headers), **bound},
                            timeout)


def start():
    keys = Keys()
    first = keys.fresh([])
    write_file(token_path(), TOKEN + "\n")
    peers = []
    for i in range(PEERS):
        write_keys(i, [first])
        peers.append(Peer(f"p{i + 1}", joins=peers[:], flags=[
            "--key-file", key_path(i), "--bind-session", "token",
            "--admin-token-file", token_path()]))
    for peer in peers:
        wait_until(15, peer.is_ready, f"{peer.name} ready")
    wait_until(15, lambda: all(len(re.findall("state=alive", peer.text())) >= PEERS - 1 for peer in peers),
               "all see all")
    return keys, first, peers


# ---- one round ----------------------------------------------------------------------------------

def step(indices, used, verify, pause):
    """The files of these peers, one after the other."""
    for i in indices:
        write_keys(i, used, verify)
        time.sleep(pause)


def rotate(number, peers, awake, former, key, oldest):
    """From `former` to `key`; whose files: those of all peers, whoever is awake."""
    files, manner = range(len(peers)), number % 3
    if manner == 2:  # no step but the last
        step(files, [key], [former, oldest] if former != oldest else [oldest], 0.3)
    else:
        step(files, [former, key], [oldest] if former != oldest else [], 0.1)
        wait_until(20, lambda: all(use_of(peer, key) == "in_use" for peer in awake), "it is accepted")
        if manner == 0:
            step(files, [key, former], [oldest] if former != oldest else [], 0.1)
        else:
            # a sleeper that is not dead yet holds it up
            wait_until(30, lambda: all(meshd(peer, "keys", "use", key_id(key))[0] == 0 for peer in awake),
                       "it is used")
    wait_until(30, lambda: all(seals(peer, key) for peer in awake), "it seals")
    if manner != 2:
        step(files, [key], [former, oldest] if former != oldest else [oldest], 0.1)
    wait_until(20, lambda: all(use_of(peer, former) == "verifies" for peer in awake),
               "the former key is out of use")


def states(peer, name):
    """What it believed of that one, in order."""
    return re.findall(rf"member_changed peer={name} generation=\d+ state=(\w+)", peer.text())


def deaths(peers):
    """(who says so, of whom)"""
    return [(peer.name, other.name) for peer in peers for other in peers
            for state in states(peer, other.name) if state == "dead"]


def start_load(peers):
    argv = [Settings.program("tests/tools/load"), "--to", ",".join(f"127.0.0.1:{peer.port}" for peer in peers),
            "--sessions", SESSIONS, "--rate", RATE, "--seconds", 600, "--tool", "echo,counter",
            "--timeout-ms", 10000, "--control", "--look", "--json"]
    load = Process("load", argv, stdin=subprocess.PIPE)
    load.wait_line(r"running since \d+", 30)
    return load


def report_of(load):
    load.process.stdin.write(b"end\n")
    load.process.stdin.flush()
    load.wait(60)
    found = [line for line in load.text().splitlines() if line.startswith("{")]
    sure(found, load.text()[-600:])
    return json.loads(found[-1])


# ---- the story ----------------------------------------------------------------------------------

def refused(peers, first, key):
    """`use` before all accept it."""
    code, _, error = meshd(peers[0], "keys", "use", key_id(key))
    sure(code == 1 and "no such key" in error, code, error)
    write_keys(0, [first, key])
    wait_until(10, lambda: use_of(peers[0], key) == "in_use", "p1 has it")
    for i in range(1, PEERS):
        code, _, error = meshd(peers[0], "keys", "use", key_id(key))
        sure(code == 1 and "not all living members" in error, i, code, error)
        listed = keys_of(peers[0])[key_id(key)]
        sure(listed["refusing_count"] == PEERS - i, listed)
        sure(set(listed["refusing"]) == {peer.peer_name for peer in peers[i:]}, listed)
        if i == PEERS - 1:
            break
        write_keys(i, [first, key])
        wait_until(10, lambda i=i: keys_of(peers[0])[key_id(key)]["refusing_count"] == PEERS - i - 1,
                   "it is told")
    sure(seals(peers[0], first))
    answer = request(peers[0].admin_port, "POST", f"/v1/keys/{key_id(key)}/use")
    sure(answer.status == 401, answer)


def broken(peers, key, first):
    """A file that is no good changes nothing, and is said once."""
    peer = peers[0]
    before = keys_of(peer)
    for text in (key[:-1] + "\n", "", f"verify {key}\n"):
        said = peer.text().count("key_file_bad kept=1")
        write_file(key_path(0), text)
        wait_until(10, lambda: peer.text().count("key_file_bad kept=1") > said, "it is said")
        time.sleep(2.5)
        sure(peer.text().count("key_file_bad kept=1") == said + 1, peer.text()[-800:])
    sure(keys_of(peer) == before, before, keys_of(peer))
    write_keys(0, [key], [first])


def tokens(peers):
    def status(peer, token):
        return request(peer.admin_port, "GET", "/v1/members", {"Authorization": f"Bearer {token}"}).status

    write_file(token_path(), OTHER + "\n")
    for peer in peers:
        wait_until(10, lambda peer=peer: status(peer, OTHER) == 200, "the new token is taken")
        sure(status(peer, TOKEN) == 401)
    write_file(token_path(), TOKEN + "\n")
    for peer in peers:
        said = peer.text().count("key_file_read changed=0")
        peer.process.send_signal(signal.SIGHUP)
        wait_until(2, lambda peer=peer: status(peer, TOKEN) == 200, "the former one again")
        wait_until(2, lambda peer=peer, said=said: peer.text().count("key_file_read changed=0") > said,
                   "SIGHUP reads the key file, too")


def run():
    keys, first, peers = start()
    awake, sleeper = peers[:-1], peers[-1]
    bound = Bound(awake[0].port, "of-ann")
    load = start_load(awake)
    former, took = first, []
    with check("`meshd keys use` is refused until all living peers accept the key, and says who does not"):
        key = keys.fresh([first])
        refused(peers, first, key)
    with check(f"{ROUNDS} changes of the key, one of them with a peer asleep: each comes to its end"):
        for number in range(ROUNDS):
            if number > 0:
                key = keys.fresh([first, former])
            begun, living = time.monotonic(), peers
            if number == ASLEEP:
                sleeper.process.send_signal(signal.SIGSTOP)
                living = awake
            fresh = Bound(awake[number % len(awake)].port, "of-bob")
            rotate(number, peers, living, former, key, first)
            took.append(time.monotonic() - begun)
            if number == ASLEEP:
                woken = time.monotonic()
                sleeper.process.send_signal(signal.SIGCONT)
                wait_until(30, lambda: seals(sleeper, key) and use_of(sleeper, former) == "verifies",
                           "the sleeper seals with it, too")
                wait_until(30, lambda: all(states(peer, "p5")[-1] == "alive" for peer in awake),
                           "the others have it back")
                note(f"the sleeper was back {time.monotonic() - woken:.1f} s after it woke")
            for peer in peers:  # of this round, of the first: by whom they belong to, anywhere
                fresh.call(peer.port, "whoami")
                bound.call(peer.port, "whoami")
            former = key
    note("rounds took " + ", ".join(f"{one:.1f}" for one in took) + " s")
    report = report_of(load)
    with check("no request failed in it"):
        note(json.dumps(report))
        sure(report["sent"] > RATE * sum(took) * 0.9, report)
        sure(report["failed"] == 0, report)
    with check("nobody was taken for dead but the sleeper"):
        found = deaths(peers)
        sure({name for _, name in found} <= {"p5"}, found)
        sure(sorted(who for who, _ in found) == ["p1", "p2", "p3", "p4"], found)
    with check("a foreign principal gets a 404 after all changes as before"):
        bound.credentials = "of-mallory"
        sure(bound.send(awake[1].port, {"jsonrpc": "2.0", "id": 99, "method": "ping"}).status == 404)
    with check("a broken key file changes nothing and is said once"):
        broken(peers, former, first)
    with check("a changed token file is taken, and SIGHUP reads both files"):
        tokens(peers)
    with check("no key and no token is in any log or in what /v1 says"):
        shown = meshd(peers[0], "keys")[1] + json.dumps(keys_of(peers[0]))
        for process in processes:
            shown += process.text()
        for secret in [*keys.all, TOKEN, OTHER, "of-ann", "of-bob"]:
            sure(secret not in shown, "a secret is shown")
