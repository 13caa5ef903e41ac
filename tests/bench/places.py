"""places - network namespaces for scripts/bench failover: a bridge with one namespace for each pod, so
that a peer can be cut off as a machine is: without a refusal, one way, from some of the others, or by a
firewall at its own door. The caller has a network namespace of its own already."""
import os
import subprocess

from harness import Process, wait_until

NET = "10.77.0"
HOME = f"{NET}.254"


def sh(*words, **more):
    subprocess.run([str(word) for word in words], check=True, **more)


def make_bridge():
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "br0", "type", "bridge")
    sh("ip", "addr", "add", f"{HOME}/24", "dev", "br0")
    sh("ip", "link", "set", "br0", "up")


class Place:
    """Of one pod: its own address; the MCP server beside it listens on its loopback."""
    port, peer_port, admin_port, server = 8080, 7946, 9090, "127.0.0.1:3000"
    count = 0

    def __init__(self, number):
        Place.count += 1
        self.number, self.address, self.device = number, f"{NET}.{number}", f"v{Place.count}"
        keeper = Process(f"net-{Place.count}", ["unshare", "-n", "sleep", "86400"])
        self.inside = f"/proc/{keeper.pid}/ns/net"
        wait_until(5, lambda: os.readlink(self.inside) != os.readlink("/proc/self/ns/net"), "its namespace")
        self.keeper = keeper
        self.prefix = ("nsenter", f"--net={self.inside}")
        sh("ip", "link", "add", self.device, "type", "veth", "peer", "name", "door", "netns", keeper.pid)
        sh("ip", "link", "set", self.device, "master", "br0", "up")
        sh(*self.prefix, "ip", "addr", "add", f"{self.address}/24", "dev", "door")
        sh(*self.prefix, "ip", "link", "set", "door", "up")
        sh(*self.prefix, "ip", "link", "set", "lo", "up")

    def nft(self, *lines, outside=False):
        sh(*(() if outside else self.prefix), "nft", "-f", "-", input="\n".join(lines) + "\n", text=True)

    def cut(self, inbound=True, outbound=True):
        """Nothing gets through, and nobody is told: dropped where it arrives, so that no sender sees
        an error of its own."""
        if inbound:
            self.nft("table netdev cut {", "chain in {",
                     "type filter hook ingress device door priority 0; policy drop;", "}", "}")
        if outbound:
            self.nft(f"table netdev cut_{self.device} {{", "chain in {",
                     f"type filter hook ingress device {self.device} priority 0; policy drop;", "}", "}",
                     outside=True)

    def part(self, places):
        """Nothing comes in from those."""
        self.nft("table netdev cut {", "chain in {",
                 "type filter hook ingress device door priority 0; policy accept;",
                 "ip saddr { " + ", ".join(place.address for place in places) + " } drop", "}", "}")

    def reject_links(self):
        """A firewall at its door that refuses the TCP port of its links; UDP passes."""
        self.nft("table inet cut {", "chain in {", "type filter hook input priority 0; policy accept;",
                 f'iifname "door" tcp dport {self.peer_port} reject with tcp reset', "}", "}")

    def heal(self):
        for prefix, table in ((self.prefix, ("netdev", "cut")), (self.prefix, ("inet", "cut")),
                              ((), ("netdev", f"cut_{self.device}"))):
            subprocess.run([*prefix, "nft", "delete", "table", *table], stderr=subprocess.DEVNULL)

    def close(self):
        """Its device goes with the namespace."""
        self.heal()
        self.keeper.end()
