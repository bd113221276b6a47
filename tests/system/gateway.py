"""A gateway between an attacker and an inner host, in namespaces, and a real fail2ban on it."""

import os
import subprocess

import pytest

from fail2ban_server import Fail2banServer
from mesh import wait_until
from network import run

ATTACKER4, GATEWAY4, INNER4 = "198.18.21.9", "198.18.21.1", "198.18.22.2"
ATTACKER6, GATEWAY6, INNER6 = "2001:2:0:21::9", "2001:2:0:21::1", "2001:2:0:22::2"


PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 1)
except ConnectionRefusedError:
    print("refused")
except OSError:
    print("nothing")
"""


class Wire:
    """attacker - gateway - inner: the gateway forwards, and fail2ban runs on it."""

    def __init__(self):
        self.unique = "bm%d" % os.getpid()
        self.made = []

    def name(self, host):
        return "%s-%s" % (self.unique, host)

    def on(self, host, *argv):
        return run("ip", "netns", "exec", self.name(host), *argv)

    def __enter__(self):
        try:
            for host in ("attacker", "gateway", "inner"):
                run("ip", "netns", "add", self.name(host))
                self.made.append(host)
                run("ip", "-n", self.name(host), "link", "set", "lo", "up")
            self.on("gateway", "nft", "list", "ruleset")
        except (OSError, FileNotFoundError) as error:
            self.__exit__()
            pytest.skip("network namespaces or nft are not permitted here: %s" % error)
        self.join("attacker", "eth0", "gateway", "outside")
        self.join("inner", "eth0", "gateway", "inside")
        for host, link, addresses in (
                ("attacker", "eth0", (ATTACKER4 + "/24", ATTACKER6 + "/64")),
                ("gateway", "outside", (GATEWAY4 + "/24", GATEWAY6 + "/64")),
                ("gateway", "inside", ("198.18.22.1/24", "2001:2:0:22::1/64")),
                ("inner", "eth0", (INNER4 + "/24", INNER6 + "/64"))):
            for address in addresses:
                self.on(host, "ip", "address", "add", address, "dev", link, "nodad")
            self.on(host, "ip", "link", "set", link, "up")
        for host, via4, via6 in (("attacker", GATEWAY4, GATEWAY6),
                                 ("inner", "198.18.22.1", "2001:2:0:22::1")):
            self.on(host, "ip", "route", "add", "default", "via", via4)
            self.on(host, "ip", "-6", "route", "add", "default", "via", via6)
        self.on("gateway", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        wait_until(lambda: self.passes(INNER4) and self.passes(INNER6), "the way through")
        return self

    def join(self, one, link, other, other_link):
        run("ip", "-n", self.name(one), "link", "add", link, "type", "veth", "peer", "name",
            other_link, "netns", self.name(other))

    def passes(self, address):
        """Whether a packet of the attacker gets an answer from there: nobody listens, so a no."""
        said = self.on("attacker", "/usr/bin/python3", "-c", PROBE, address)
        return said.strip() == "refused"

    def everywhere(self, passes):
        wait_until(lambda: all(self.passes(address) == passes for address in
                               (GATEWAY4, GATEWAY6, INNER4, INNER6)),
                   lambda: "passes: %s\n%s" % (passes, self.rules()))

    def rules(self):
        return self.on("gateway", "nft", "list", "ruleset")

    def __exit__(self, *_):
        while self.made:
            subprocess.run(["ip", "netns", "del", self.name(self.made.pop())], check=False)


class GatewayServer(Fail2banServer):
    """fail2ban on the gateway; started when these tables are there, which its jails make in threads."""

    def __init__(self, wire, directory, jails, tables=("banmesh-shared",), **more):
        self.wire = wire
        self.tables = tables
        super().__init__(directory, jails, **more)

    def start(self, timeout=60):
        # fail2ban starts in the namespace of whoever starts it.
        inside = os.open("/proc/self/ns/net", os.O_RDONLY)
        wanted = os.open("/run/netns/" + self.wire.name("gateway"), os.O_RDONLY)
        set_namespace(wanted)
        try:
            super().start(timeout)
        finally:
            set_namespace(inside)
            os.close(inside)
            os.close(wanted)
        wait_until(lambda: all(" %s {" % table in self.wire.rules() for table in self.tables),
                   self.log_text)
        return self

    def ban(self, *addresses):
        self.client("set", "shared", "banip", *addresses)
        self.wait_banned("shared", addresses)

    def unban(self, address):
        self.client("set", "shared", "unbanip", address)


def set_namespace(descriptor):
    import ctypes  # os.setns is of Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(descriptor, 0x40000000) == 0, os.strerror(ctypes.get_errno())
