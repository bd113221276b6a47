"""The blocking action as shipped, with real fail2ban, nftables and packets, in namespaces."""

import os
import subprocess
import time

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


class Server(Fail2banServer):
    """On the gateway, with the shared jail's action as shipped."""

    def __init__(self, wire, directory, jails="", **more):
        self.wire = wire
        super().__init__(directory, "[shared]\naction = banmesh-nftables\n" + jails, **more)

    def start(self):
        # fail2ban starts in the namespace of whoever starts it.
        inside = os.open("/proc/self/ns/net", os.O_RDONLY)
        wanted = os.open("/run/netns/" + self.wire.name("gateway"), os.O_RDONLY)
        set_namespace(wanted)
        try:
            return super().start()
        finally:
            set_namespace(inside)
            os.close(inside)
            os.close(wanted)

    def ban(self, *addresses):
        self.client("set", "shared", "banip", *addresses)
        self.wait_banned("shared", addresses)

    def unban(self, address):
        self.client("set", "shared", "unbanip", address)


def set_namespace(descriptor):
    import ctypes  # os.setns is of Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(descriptor, 0x40000000) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(name="wire")
def wire_fixture():
    wire = Wire()
    try:
        with wire:
            yield wire
    finally:
        wire.__exit__()


def test_what_is_banned_reaches_neither_the_gateway_nor_what_lies_behind(wire, tmp_path):
    with Server(wire, str(tmp_path / "f2b")) as server:
        wire.everywhere(True)
        server.ban(ATTACKER4, ATTACKER6)
        wire.everywhere(False)
        server.unban(ATTACKER4)
        server.unban(ATTACKER6)
        wire.everywhere(True)
        server.ban(ATTACKER4, ATTACKER6)
        wire.everywhere(False)
        assert "ERROR" not in server.log_text(), server.log_text()
    assert wire.rules().strip() == "", "nothing is left"
    wire.everywhere(True)


def test_networks_and_addresses_in_them_are_apart(wire, tmp_path):
    with Server(wire, str(tmp_path / "f2b")) as server:
        networks = ["2001:2:0:21::/64", "198.18.21.8/29", "198.18.21.0/24", "198.18.20.0/22"]
        server.ban(*networks)
        wire.everywhere(False)
        server.ban(ATTACKER4, ATTACKER6)
        for network in networks:
            server.unban(network)
            assert "198.18.21.9" in wire.rules(), "the address is there still"
            wire.everywhere(False)
        server.ban(networks[0], networks[2])
        server.unban(ATTACKER4)
        server.unban(ATTACKER6)
        wire.everywhere(False)
        server.unban(networks[0])
        server.unban(networks[2])
        wire.everywhere(True)
        assert "ERROR" not in server.log_text(), server.log_text()


def test_an_established_connection_is_cut(wire, tmp_path):
    program = ("import socket, sys\n"
               "s = socket.create_server(('198.18.22.2', 7), reuse_port=True)\n"
               "c, _ = s.accept()\n"
               "for line in c.makefile('rb'): c.sendall(line)\n")
    client = ("import socket, sys, time\n"
              "c = socket.create_connection(('198.18.22.2', 7), 30)\n"
              "c.settimeout(2)\n"
              "for line in sys.stdin:\n"
              "    c.sendall(b'x\\n')\n"
              "    try: print(c.recv(10).decode().strip(), flush=True)\n"
              "    except TimeoutError: print('cut', flush=True)\n")

    def python(host, code, **streams):
        return subprocess.Popen(["ip", "netns", "exec", wire.name(host), "/usr/bin/python3", "-c",
                                 code], text=True, **streams)
    with Server(wire, str(tmp_path / "f2b")) as server:
        echo = python("inner", program)
        time.sleep(1)
        user = python("attacker", client, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def answer():
            user.stdin.write("go\n")
            user.stdin.flush()
            return user.stdout.readline().strip()
        try:
            assert answer() == "x"
            server.ban(ATTACKER4)
            wait_until(lambda: answer() == "cut", "the connection to be cut")
        finally:
            for process in (user, echo):
                process.kill()
                process.communicate()


def test_a_repeated_ban_an_absent_unban_and_a_flushed_ruleset(wire, tmp_path):
    with Server(wire, str(tmp_path / "f2b")) as server:
        server.ban(ATTACKER4)
        wire.on("gateway", "nft", "delete element inet banmesh-shared hosts4 { %s }" % ATTACKER4)
        server.unban(ATTACKER4)
        wire.on("gateway", "nft", "add element inet banmesh-shared hosts4 { %s }" % ATTACKER4)
        server.ban(ATTACKER4)
        assert "ERROR" not in server.log_text(), server.log_text()
        wire.on("gateway", "nft", "flush ruleset")
        wire.everywhere(True)
        server.ban(ATTACKER6)
        wait_until(lambda: not wire.passes(GATEWAY6) and not wire.passes(INNER6),
                   "the next ban to make the table anew")
        wire.on("gateway", "nft", "add table inet other")
    assert wire.rules().split() == ["table", "inet", "other", "{", "}"], "others' is left alone"


def test_an_unban_after_a_flush_is_no_error(wire, tmp_path):
    with Server(wire, str(tmp_path / "f2b")) as server:
        server.ban(ATTACKER4, "2001:2:0:21::/64")
        wire.on("gateway", "nft", "flush ruleset")
        server.unban(ATTACKER4)
        server.unban("2001:2:0:21::/64")
        assert "ERROR" not in server.log_text(), server.log_text()


def test_what_a_killed_fail2ban_left_goes_at_the_start(wire, tmp_path):
    wire.on("gateway", "nft", "add table inet banmesh-shared; add chain inet banmesh-shared input "
            "{ type filter hook input priority 0; }; add rule inet banmesh-shared input drop")
    assert not wire.passes(GATEWAY4)
    with Server(wire, str(tmp_path / "f2b")):
        wait_until(lambda: wire.passes(GATEWAY4), wire.rules)


def test_without_nft_the_log_says_so_at_the_start(wire, tmp_path):
    with Server(wire, str(tmp_path / "f2b"), env={"PATH": str(tmp_path)}) as server:
        server.wait_log("Failed to start jail 'shared' action 'banmesh-nftables'")
        server.ban(ATTACKER4)
        server.wait_log("Failed to execute ban jail 'shared' action 'banmesh-nftables'")
        assert wire.passes(GATEWAY4), "said banned, and is not"


def test_two_jails_do_not_disturb_each_other(wire, tmp_path):
    log = tmp_path / "auth.log"
    log.touch()
    jails = "[sshd]\nenabled = true\nlogpath = %s\naction = banmesh-nftables\n" % log
    with Server(wire, str(tmp_path / "f2b"), jails) as server:
        server.ban(ATTACKER4)
        server.client("set", "sshd", "banip", ATTACKER4)
        server.wait_banned("sshd", [ATTACKER4])
        wait_until(lambda: wire.rules().count(ATTACKER4) == 2, wire.rules)
        server.unban(ATTACKER4)
        assert not wire.passes(GATEWAY4)
        server.client("stop", "sshd")
        wait_until(lambda: wire.passes(GATEWAY4), "the other jail's table to go")
        assert "banmesh-shared" in wire.rules() and "banmesh-sshd" not in wire.rules()


def test_a_thousand_addresses_and_a_flush(wire, tmp_path):
    addresses = ["45.154.%d.%d" % (i // 200, i % 200 + 1) for i in range(1000)]
    with Server(wire, str(tmp_path / "f2b")) as server:
        server.client("set", "shared", "banip", *addresses)
        wait_until(lambda: wire.rules().count("45.154.") == 1000, "all of them in the set", 200)
        server.client("unban", "--all")
        wait_until(lambda: wire.rules().count("45.154.") == 0, "none of them in the set", 200)
        assert "hook forward" in wire.rules()
