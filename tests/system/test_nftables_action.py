"""The blocking action as shipped, with real fail2ban, nftables and packets, in namespaces."""

import subprocess

import pytest

from fail2ban_server import tool, version
from gateway import ATTACKER4, ATTACKER6, GATEWAY4, GATEWAY6, INNER6, GatewayServer, Wire
from mesh import wait_until

@pytest.fixture(name="wire")
def wire_fixture():
    wire = Wire()
    try:
        with wire:
            yield wire
    finally:
        wire.__exit__()


def shared_jail(wire, directory, jails="", **more):
    return GatewayServer(wire, directory, "[shared]\naction = banmesh-nftables\n" + jails, **more)


def test_what_is_banned_reaches_neither_the_gateway_nor_what_lies_behind(wire, tmp_path):
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
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
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
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


# The attacker's address is in the first, and just outside of the second.
LENGTHS = [
    ("198.0.0.0/7", "196.0.0.0/7", "2001:2::/31", "2001:4::/31"),
    ("198.16.0.0/13", "198.24.0.0/13", "2001:2::/48", "2001:2:1::/48"),
    ("198.18.21.0/25", "198.18.21.128/25", "2001:2:0:20::/61", "2001:2:0:28::/61"),
    ("198.18.21.8/31", "198.18.21.10/31", "2001:2:0:21::8/127", "2001:2:0:21::a/127"),
]


def test_a_network_ends_where_it_ends(wire, tmp_path):
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
        for _, near4, _, near6 in LENGTHS:
            server.ban(near4, near6)
        wire.everywhere(True)
        for around4, _, around6, _ in LENGTHS:
            server.ban(around4, around6)
            wire.everywhere(False)
            server.unban(around4)
            server.unban(around6)
        wire.everywhere(True)
        assert "interval" not in wire.rules(), "with these each ban on the host becomes slow"
        assert "ERROR" not in server.log_text(), server.log_text()


def test_an_established_connection_is_cut(wire, tmp_path):
    program = ("import socket, sys\n"
               "s = socket.create_server(('198.18.22.2', 7), reuse_port=True)\n"
               "c, _ = s.accept()\n"
               "for line in c.makefile('rb'): c.sendall(line)\n")
    client = ("import socket, sys, time\n"
              "while True:\n"
              "    try: c = socket.create_connection(('198.18.22.2', 7), 30); break\n"
              "    except ConnectionRefusedError: time.sleep(0.02)\n"
              "c.settimeout(2)\n"
              "for line in sys.stdin:\n"
              "    c.sendall(b'x\\n')\n"
              "    try: print(c.recv(10).decode().strip(), flush=True)\n"
              "    except TimeoutError: print('cut', flush=True)\n")

    def python(host, code, **streams):
        return subprocess.Popen(["ip", "netns", "exec", wire.name(host), "/usr/bin/python3", "-c",
                                 code], text=True, **streams)
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
        echo = python("inner", program)
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
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
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
        assert wire.passes(GATEWAY4), "what was banned before does pass"
        subprocess.run([*tool("client"), "-c", str(server.conf), "-s", str(server.socket), "reload",
                        "--restart", "shared"], check=True, stdout=subprocess.DEVNULL, timeout=60)
        wire.everywhere(False)
        wire.on("gateway", "nft", "add table inet other")
    assert wire.rules().split() == ["table", "inet", "other", "{", "}"], "others' is left alone"


@pytest.mark.skipif(version() < (1, 0), reason="fail2ban 0.11 checks before each command, and says so")
def test_an_unban_after_a_flush_is_no_error(wire, tmp_path):
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
        server.ban(ATTACKER4, "2001:2:0:21::/64")
        wire.on("gateway", "nft", "flush ruleset")
        server.unban(ATTACKER4)
        server.unban("2001:2:0:21::/64")
        assert "ERROR" not in server.log_text(), server.log_text()


def test_what_a_killed_fail2ban_left_goes_at_the_start(wire, tmp_path):
    wire.on("gateway", "nft", "add table inet banmesh-shared; add chain inet banmesh-shared input "
            "{ type filter hook input priority 0; }; add rule inet banmesh-shared input drop")
    assert not wire.passes(GATEWAY4)
    with shared_jail(wire, str(tmp_path / "f2b")):
        wait_until(lambda: wire.passes(GATEWAY4), wire.rules)


def test_without_nft_the_log_says_so_at_the_start(wire, tmp_path):
    with shared_jail(wire, str(tmp_path / "f2b"), tables=(), env={"PATH": str(tmp_path)}) as server:
        server.wait_log("Failed to start jail 'shared' action 'banmesh-nftables'")
        server.ban(ATTACKER4)
        server.wait_log("Failed to execute ban jail 'shared' action 'banmesh-nftables'")
        assert wire.passes(GATEWAY4), "said banned, and is not"


def test_two_jails_do_not_disturb_each_other(wire, tmp_path):
    log = tmp_path / "auth.log"
    log.touch()
    jails = "[sshd]\nenabled = true\nbackend = auto\nlogpath = %s\naction = banmesh-nftables\n" % log
    with shared_jail(wire, str(tmp_path / "f2b"), jails,
                     tables=("banmesh-shared", "banmesh-sshd")) as server:
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
    with shared_jail(wire, str(tmp_path / "f2b")) as server:
        server.client("set", "shared", "banip", *addresses)
        wait_until(lambda: wire.rules().count("45.154.") == 1000, "all of them in the set", 200)
        server.client("unban", "--all")
        wait_until(lambda: wire.rules().count("45.154.") == 0, "none of them in the set", 200)
        assert "hook forward" in wire.rules()
