"""Identities of peers: three real ones, made by `meshd identity`. Without them who has the cluster's key can say a
farewell in a peer's place; with them that is refused, and so is a peer that has none."""
import os
import signal
import subprocess
import time

from harness import Peer, Session, Settings, check, note, processes, start_peers, sure, wait_until


def meshd(*words, given=None):
    return subprocess.run([Settings.program("node/meshd"), *words], input=given, capture_output=True,
                          text=True, timeout=20)


def write(name, text):
    path = os.path.join(Settings.directory, name)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


def made(*words, given=None):
    done = meshd(*words, given=given)
    sure(done.returncode == 0, done.stderr)
    return done.stdout


def forge(key, of, to):
    """A farewell of one peer, told to another by who has the key. It is told again and again, as gossip is."""
    cluster = of.argv[of.argv.index("--cluster") + 1]
    for _ in range(5):
        done = subprocess.run([Settings.program("tests/tools/forge"), "--key-file", key, "--cluster", cluster,
                               "--of", f"127.0.0.1:{of.peer_port}", "--to", f"127.0.0.1:{to.peer_port}"],
                              capture_output=True, text=True, timeout=20)
        sure(done.returncode == 0, done.stderr)


def left(peer, name):
    """How often this peer took it for gone."""
    return sum(f"member_changed peer={name} " in line and "state=left" in line for line in peer.text().splitlines())


def stop(peer):
    peer.kill(signal.SIGTERM)
    peer.wait(40)


def run():
    key = write("key", made("keygen"))
    ca_key, other_ca_key = made("keygen"), made("keygen")
    ca = write("ca", made("ca-public", given=ca_key))
    names = [f"p{n + 1}" for n in range(4)]
    files = [write(f"{name}.identity", made("identity", name, given=ca_key)) for name in names]
    stranger = write("stranger.identity", made("identity", "p4", given=other_ca_key))
    plain = ["--key-file", key, "--drain-grace", "0s"]

    def flags(number):
        return [*plain, "--identity-file", files[number], "--peer-ca", ca]

    with check("an identity that is not good is one line and exit code 2"):
        for words, why in ((["--identity-file", files[0]], "--peer-ca"),
                           (["--peer-ca", ca], "--identity-file"),
                           (["--identity-file", files[1], "--peer-ca", ca], "is not the name of this peer"),
                           (["--identity-file", ca, "--peer-ca", ca], "line 1"),
                           (["--identity-file", files[0], "--peer-ca", files[0]], "public key"),
                           (["--identity-file", files[0], "--peer-ca",
                             write("other-ca", made("ca-public", given=other_ca_key))], "not of --peer-ca")):
            done = meshd("--name", "p1", *words)
            sure(done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, words, done)
        os.chmod(files[3], 0o604)
        done = meshd("--name", "p4", "--identity-file", files[3], "--peer-ca", ca)
        sure(done.returncode == 2 and "open to everybody" in done.stderr, done)
        os.chmod(files[3], 0o600)

    with check("without identities who has the key may say a farewell in a peer's place"):
        peers = start_peers(3, flags=plain)
        forge(key, peers[1], peers[0])
        wait_until(5, lambda: left(peers[0], "p2") > 0, "p1 believes that p2 left")
        wait_until(20, lambda: all(peer.sees(3) for peer in peers), "p2 is back, for it says so")
    for peer in peers:
        stop(peer)

    peers = start_peers(3, each=lambda number: {"flags": flags(number)})
    with check("three peers with identities are a mesh, and serve"):
        session = Session(peers[0].port)
        for peer in peers:
            session.ask(peer.port, "ping")
            sure(peer.metrics()["mesh_unproved_total"] == 0, peer.name)
    with check("a forged farewell is refused, and counted"):
        before = peers[0].metrics()["mesh_unproved_total"]
        forge(key, peers[1], peers[0])
        wait_until(5, lambda: peers[0].metrics()["mesh_unproved_total"] >= before + 5, "it is counted")
        time.sleep(1)
        sure(left(peers[0], "p2") == 0 and all(peer.sees(3) for peer in peers), peers[0].members())
        session.ask(peers[1].port, "ping")
    for what, more in (("without an identity", plain),
                       ("whose identity is another CA's",
                        [*plain, "--identity-file", stranger, "--peer-ca",
                         os.path.join(Settings.directory, "other-ca")])):
        with check(f"a peer {what} is refused: both sides say so, and count it"):
            counted = peers[0].metrics()["mesh_unproved_total"]
            fourth = Peer("p4", joins=peers, flags=more, log=f"p4-{len(processes)}")
            wait_until(15, lambda: fourth.metrics()["mesh_unproved_total"] > 0, "it counts what it refuses")
            wait_until(15, lambda: peers[0].metrics()["mesh_unproved_total"] > counted, "so do they")
            fourth.wait_line(r"peers_refused .*identit")
            peers[0].wait_line(r"peers_refused .*identity")
            time.sleep(2)
            sure(fourth.sees(1) and all(peer.sees(3) and "p4" not in peer.members() for peer in peers),
                 fourth.members(), peers[0].members())
            stop(fourth)
    with check("one with an identity of the same CA joins, and leaves"):
        fourth = Peer("p4", joins=peers, flags=flags(3), log="p4-good")
        wait_until(15, lambda: fourth.sees(4) and all(peer.sees(4) for peer in peers), "all four")
        stop(fourth)
        wait_until(10, lambda: all(peer.sees(3) for peer in peers), "it left")
        sure(all(peer.metrics()["mesh_deaths_total"] == 0 for peer in peers), "a farewell, no death")
    with check("no secret is in any log"):
        secrets = [line.split()[1] for path in (*files, stranger) for line in open(path, encoding="ascii")
                   if line.startswith("secret")] + [ca_key.strip(), other_ca_key.strip()]
        for process in processes:
            sure(not any(secret in process.text() for secret in secrets), process.name)
        note(f"{len(secrets)} secrets looked for")
