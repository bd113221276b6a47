"""Allowances in this host's own jails (banmesh-allowed, and one lift), and allowances of names."""

import json
import os
import socket
import sqlite3
import subprocess
import time

import pytest

from fail2ban_server import OURS, Fail2banServer, tool
from mesh import WORKER, Mesh, program, wait_until
from test_connections import in_own_etc, rewrite
from test_pardon import command, why

ROLES = {"roles": {"operator": "mx1"}}
HOME = "home.example.org"

JAILS = """
[DEFAULT]
action = nothing

[shared]
action = nothing
logpath = {log}

[sshd]
enabled = true
backend = auto
logpath = {auth}
maxretry = 1
bantime = 3600
action = nothing
         {publish}

[quiet]
enabled = true
filter = sshd
backend = auto
logpath = {quiet}
maxretry = 1
bantime = 3600
action = nothing
"""


class Host:
    """A node's real fail2ban, with our snippet in its [DEFAULT]."""

    def __init__(self, node):
        self.node = node
        self.auth = os.path.join(node.dir, "auth.log")
        self.quiet = os.path.join(node.dir, "quiet.log")
        for path in (self.auth, self.quiet, node.shared_log):
            open(path, "a", encoding="ascii").close()
        snippet = (OURS / "jail.d" / "banmesh-allowed.conf").read_text()
        assert "/usr/bin/banmesh-allowed" in snippet
        snippet = snippet.replace("/usr/bin/banmesh-allowed", "%s --file %s" % (
            program("banmesh-allowed"), node.allowed_file))
        publish = 'banmesh[publish="%s", options="--socket %s --spool %s"]' % (
            program("banmesh-publish"), node.socket, node.spool)
        self.server = Fail2banServer(
            os.path.join(node.dir, "f2b"),
            JAILS.format(log=node.shared_log, auth=self.auth, quiet=self.quiet, publish=publish),
            files={"jail.d/zzz-allowed.conf": snippet})

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop()

    def fail(self, address, quiet=False):
        with open(self.quiet if quiet else self.auth, "a", encoding="ascii") as log:
            log.write("%s host sshd[1234]: Failed password for root from %s port 22 ssh2\n"
                      % (time.strftime("%b %d %H:%M:%S"), address))

    def banned(self, jail="sshd"):
        return set(self.server.banned(jail))

    def wait_free(self, address, jail="sshd"):
        wait_until(lambda: address not in self.banned(jail),
                   lambda: "%s to let go of %s\n%s\n%s" % (
                       jail, address, self.server.log_text()[-3000:], self.node.output()))


def allowed(node, address):
    done = subprocess.run([program("banmesh-allowed"), "--file", node.allowed_file, address],
                          check=False, timeout=60)
    assert done.returncode in (0, 1)
    return done.returncode == 0


def in_file(node):
    if not os.path.exists(node.allowed_file):
        return set()
    with open(node.allowed_file, encoding="ascii") as lines:
        return {line.split()[0] for line in lines if not line.startswith("#")}


def names(node):
    return {name["name"]: name for name in json.loads(command(node, "allow", "list", "--json"))["names"]}


def addresses(node, name=HOME):
    return {one["address"] for one in names(node)[name]["addresses"]}


def allow(node, what, span="30d", **options):
    return command(node, "allow", what, "--for", span, "--comment", "a friend", **options)


# ---- the program alone ----


def ask(path, address):
    return subprocess.run([program("banmesh-allowed"), "--file", path, address], check=False,
                          capture_output=True, text=True, timeout=60)


def test_banmesh_allowed_reads_networks_and_lets_them_end(tmp_path):
    path = str(tmp_path / "allowed")
    now = int(time.time())
    assert ask(path, "45.154.1.1").returncode == 1  # no file
    with open(path, "w", encoding="ascii") as out:
        out.write("# a comment\n\nnonsense\n45.154.9.9\n45.154.9.9 soon\n45.154.9.9 %d.5\n%s %d\n"
                  % (now + 1000, "x" * 5000, now + 1000))
        out.write("45.154.1.0/24 %d\n45.155.1.1 %d\n2a02:4780:11::/48 %d" % (now + 1000, now - 1,
                                                                           now + 1000))
    for address, status in (("45.154.1.1", 0), ("45.154.2.1", 1), ("45.155.1.1", 1),
                            ("45.154.9.9", 1), ("2a02:4780:11:5::1", 0), ("2a02:4780:12::1", 1),
                            ("::ffff:45.154.1.7", 0), ("45.154.1.0/25", 0), ("45.154.0.0/23", 1)):
        assert ask(path, address).returncode == status, address
    for address in ("", "example.org", "45.154.1.1.", "fe80::1%eth0", "45.154.1.1; true"):
        done = ask(path, address)
        assert done.returncode == 2 and '"%s"' % address in done.stderr, done.stderr
    assert subprocess.run([program("banmesh-allowed")], check=False, capture_output=True,
                          timeout=60).returncode == 2
    assert ask(str(tmp_path), "45.154.1.1").returncode == 1  # a directory
    os.mkfifo(tmp_path / "fifo")
    assert ask(str(tmp_path / "fifo"), "45.154.1.1").returncode == 1


# ---- this host's own jails ----


def test_what_is_allowed_is_let_go_once_and_not_banned_again(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra=ROLES) as mesh:
        mx1, mx2 = mesh.nodes
        with Host(mx2) as host:
            assert program("banmesh-allowed") in host.server.client("get", "sshd", "ignorecommand")
            assert not host.server.client("get", "shared", "ignorecommand")
            host.fail("45.154.1.1")
            host.fail("45.154.1.1", quiet=True)
            host.fail("45.154.1.2")
            host.server.wait_banned("sshd", ["45.154.1.1", "45.154.1.2"])
            host.server.wait_banned("quiet", ["45.154.1.1"])
            allow(mx1, "45.154.1.1")
            host.wait_free("45.154.1.1")
            host.wait_free("45.154.1.1", "quiet")
            assert allowed(mx2, "45.154.1.1") and not allowed(mx2, "45.154.1.2")
            assert os.stat(mx2.allowed_file).st_mode & 0o777 == 0o644
            # It fails again at once, when an older answer may count still; and later.
            host.fail("45.154.1.1")
            wait_until(lambda: mx2.status()["local_allow"]["waiting"] == 0, "the second look")
            host.wait_free("45.154.1.1")
            assert mx2.status()["local_allow"]["lifted"] >= 1
            host.fail("45.154.1.1")
            host.fail("45.154.1.3")
            host.server.wait_banned("sshd", ["45.154.1.3"])
            assert host.banned() == {"45.154.1.2", "45.154.1.3"}
            assert "Ignore 45.154.1.1 by command" in host.server.log_text()

            # Banned by hand, it stays so: what an allowance lifts, it lifts once.
            host.server.client("set", "sshd", "banip", "45.154.1.1")
            mx2.stop()
            mx2.start()
            mx2.wait_connected()
            host.server.client("set", "sshd", "banip", "45.154.1.4")
            allow(mx1, "45.154.1.4")
            host.wait_free("45.154.1.4")
            assert "45.154.1.1" in host.banned()

            command(mx1, "allow", "remove", "45.154.1.1")
            wait_until(lambda: not allowed(mx2, "45.154.1.1"), "the withdrawal in the file")


def test_of_an_allowed_network_the_hosts_own_bans_are_let_go(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra=ROLES) as mesh:
        mx1, mx2 = mesh.nodes
        with Host(mx2) as host:
            for address in ("45.154.1.1", "45.154.200.2", "45.155.1.1"):
                host.fail(address)
            host.server.wait_banned("sshd", ["45.154.1.1", "45.154.200.2", "45.155.1.1"])
            wait_until(lambda: len(json.loads(command(mx2, "bans", "--json"))["bans"]) == 3, "bans")
            allow(mx1, "45.154.0.0/16")
            host.wait_free("45.154.1.1")
            host.wait_free("45.154.200.2")
            assert host.banned() == {"45.155.1.1"}


def test_an_allowance_of_who_is_no_operator_does_nothing_here(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra=ROLES) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with Host(mx2) as host:
            host.fail("45.154.1.1")
            host.fail("45.154.1.2")
            host.server.wait_banned("sshd", ["45.154.1.1", "45.154.1.2"])
            allow(mx3, "45.154.1.1")
            wait_until(lambda: "45.154.1.1" in command(mx2, "allow", "list"), "mx3's")
            allow(mx1, "45.154.1.2")
            host.wait_free("45.154.1.2")
            assert host.banned() == {"45.154.1.1"}
            assert in_file(mx2) == {"45.154.1.2"} and "45.154.1.1" in in_file(mx3)


def test_local_allow_0_turns_both_off(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra=ROLES) as mesh:
        mx1, mx2 = mesh.nodes
        with Host(mx2) as host:
            allow(mx1, "45.154.1.9")
            wait_until(lambda: os.path.exists(mx2.allowed_file) and allowed(mx2, "45.154.1.9"), "it")
            mx2.write_settings({"guard": {"local-allow": 0}})
            mx2.process.process.send_signal(1)
            wait_until(lambda: not os.path.exists(mx2.allowed_file), "the file to go")
            host.fail("45.154.1.1")
            host.server.wait_banned("sshd", ["45.154.1.1"])
            allow(mx1, "45.154.1.1")
            wait_until(lambda: "45.154.1.1" in command(mx2, "allow", "list"), "the allowance")
            mx2.write_settings({"guard": {"local-allow": 1}})
            mx2.process.process.send_signal(1)
            wait_until(lambda: os.path.exists(mx2.allowed_file), "the file to come back")
            host.server.client("set", "sshd", "banip", "45.154.1.4")
            allow(mx1, "45.154.1.4")
            host.wait_free("45.154.1.4")
            assert "45.154.1.1" in host.banned()


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"], extra={"guard": {"allowed-file": "/nonexistent/allowed"}})
    with mesh:
        mx1, = mesh.nodes
        wait_until(lambda: any("/nonexistent/allowed: No such file" in line
                               for line in mx1.status()["attention"]), "the word")
        assert mx1.output().count("/nonexistent/allowed") == 1


def test_a_reload_brings_the_snippet_to_jails_that_run(tmp_path):
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1, = mesh.nodes
        host = Host(mx1)
        snippet = host.server.conf / "jail.d" / "zzz-allowed.conf"
        text = snippet.read_text()
        snippet.unlink()
        with host:
            assert not host.server.client("get", "sshd", "ignorecommand")
            snippet.write_text(text)
            subprocess.run([*tool("client"), "-c", str(host.server.conf), "reload"], check=True,
                           stdout=subprocess.DEVNULL, timeout=60)
            assert "banmesh-allowed" in host.server.client("get", "sshd", "ignorecommand")
            allow(mx1, "45.154.1.1")
            wait_until(lambda: allowed(mx1, "45.154.1.1"), "the file")
            host.fail("45.154.1.1")
            host.fail("45.154.1.2")
            host.server.wait_banned("sshd", ["45.154.1.2"])
            assert host.banned() == {"45.154.1.2"}


# ---- names ----


def named_mesh(tmp_path, hosts, extra=None):
    mesh = Mesh(tmp_path, ["mx1", "mx2"], extra={**ROLES, **(extra or {})})
    in_own_etc(mesh.nodes[0], hosts=hosts, nsswitch_conf="hosts: files\n")
    return mesh


def test_a_friends_address_changes(tmp_path):
    with named_mesh(tmp_path, "45.154.1.1 %s\n" % HOME) as mesh:
        mx1, mx2 = mesh.nodes
        with Host(mx2) as host:
            host.fail("45.154.1.1")
            host.server.wait_banned("sshd", ["45.154.1.1"])
            said = allow(mx1, HOME)
            assert "45.154.1.1" in said and "announced to 1 of 1 peers" in said, said
            host.wait_free("45.154.1.1")
            story = why(mx2, "45.154.1.1")["allowed_by"]
            assert story["text"] == HOME + ": a friend" and story["origin"] == "mx1"
            assert 0 < story["until"] - time.time() <= 15 * 60
            assert addresses(mx1) == {"45.154.1.1"} and names(mx2) == {}

            rewrite(mx1, "hosts", "45.154.7.7 %s\n2a02:4780:11::7 %s\n" % (HOME, HOME))
            mx1.process.process.send_signal(1)  # looked up now, and not in five minutes
            wait_until(lambda: addresses(mx1) == {"45.154.7.7", "2a02:4780:11::7"}, "the new ones")
            wait_until(lambda: {"45.154.1.1", "45.154.7.7", "2a02:4780:11::7"} == in_file(mx2), "all")

            mx1.stop()
            rewrite(mx1, "hosts", "45.154.8.8 %s\n" % HOME)
            mx1.start()
            mx1.wait_connected()
            wait_until(lambda: "45.154.8.8" in in_file(mx2), "the name to outlive a restart")
            assert names(mx1)[HOME]["text"] == "a friend"

            assert "withdrawn" in command(mx1, "allow", "remove", HOME.upper() + ".")
            wait_until(lambda: in_file(mx2) == set(), lambda: "the withdrawal: %s" % in_file(mx2))
            assert names(mx1) == {}
            assert HOME in command(mx1, "allow", "remove", HOME, status=1)
            host.fail("45.154.8.8")
            host.server.wait_banned("sshd", ["45.154.8.8"])


@pytest.mark.parametrize("hosts, word", [
    ("127.0.0.1 %s\n" % HOME, "127.0.0.1 (loopback)"),
    ("45.154.2.2 %s\n10.1.2.3 %s\n" % (HOME, HOME), "10.1.2.3 (private)"),
    ("".join("45.154.3.%d %s\n" % (i, HOME) for i in range(1, 201)), "200 addresses"),
    ("45.154.2.2 other.example.org\n", HOME),
], ids=["loopback", "private", "many", "nothing"])
def test_a_bad_answer_is_refused_as_a_whole_and_the_old_one_stays(tmp_path, hosts, word):
    with named_mesh(tmp_path, "45.154.1.1 %s\n" % HOME) as mesh:
        mx1, mx2 = mesh.nodes
        allow(mx1, HOME)
        wait_until(lambda: in_file(mx2) == {"45.154.1.1"}, "it")
        rewrite(mx1, "hosts", hosts)
        for _ in range(2):
            mx1.process.process.send_signal(1)
            wait_until(lambda: names(mx1)[HOME]["fault"], "the fault")
        assert word in names(mx1)[HOME]["fault"] and word in command(mx1, "allow", "list")
        assert any(word in line for line in mx1.status()["attention"])
        assert sum(HOME + ": " in line and word in line for line in mx1.output().splitlines()) == 1
        assert addresses(mx1) == {"45.154.1.1"} and in_file(mx2) == {"45.154.1.1"}
        rewrite(mx1, "hosts", "45.154.4.4 %s\n" % HOME)
        mx1.process.process.send_signal(1)
        wait_until(lambda: "45.154.4.4" in in_file(mx2), "a good answer")
        assert names(mx1)[HOME]["fault"] is None


def test_a_name_never_shortens_what_was_allowed_by_its_address(tmp_path):
    with named_mesh(tmp_path, "45.154.1.1 %s\n45.154.1.1 two.example.org\n45.154.1.2 %s\n"
                    % (HOME, HOME)) as mesh:
        mx1, _ = mesh.nodes
        allow(mx1, "45.154.1.2", span="30d")
        allow(mx1, HOME)
        allow(mx1, "two.example.org", span="5min")
        wait_until(lambda: addresses(mx1) == {"45.154.1.1", "45.154.1.2"}, "both")
        until = {one["address"]: one["until"] for one in names(mx1)[HOME]["addresses"]}
        assert until["45.154.1.2"] > time.time() + 29 * 86400 > until["45.154.1.1"]
        command(mx1, "allow", "remove", HOME)
        # What another name has, and what was allowed for itself, stays.
        wait_until(lambda: addresses(mx1, "two.example.org") == {"45.154.1.1"}, "two")
        wait_until(lambda: in_file(mx1) == {"45.154.1.1", "45.154.1.2"}, "the file")


def test_orders_about_names_that_make_no_sense(tmp_path):
    with named_mesh(tmp_path, "45.154.1.1 %s\n" % HOME) as mesh:
        mx1, _ = mesh.nodes
        for wrong in ("999.1.1.1", "home..org", "x.-x.org", "home.example.0x7f", "x" * 64 + ".org",
                      "home.example.org/24", "", "."):
            assert "IPv4 or IPv6" in allow(mx1, wrong, status=1) or wrong == "", wrong
        assert "ten years" in allow(mx1, HOME, span="11y", status=1)
        assert "at most" in command(mx1, "allow", HOME, "--for", "1h", "--comment", "x" * 190,
                                    status=1)
        assert "not an IPv4" in command(mx1, "pardon", HOME, "--reason", "x", status=1)
        assert "nothing done" in command(mx1, "allow", HOME, "--for", "1h", "--comment", "x",
                                         "--dry-run")
        assert names(mx1) == {}
        for number in range(100):
            allow(mx1, "host%d.example.org" % number)
        assert "100 names" in allow(mx1, HOME, status=1)


def test_a_name_server_that_is_silent_delays_nobody(tmp_path):
    silent = "127.0.78.%d" % (WORKER + 1)
    mesh = Mesh(tmp_path, ["mx1", "mx2"], extra=ROLES)
    mx1, mx2 = mesh.nodes
    in_own_etc(mx1, resolv_conf="nameserver %s\noptions timeout:1 attempts:5\n" % silent,
               nsswitch_conf="hosts: dns\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, mesh:
        asked.bind((silent, 53))
        asked.settimeout(60)
        assert "not looked up yet" in allow(mx1, HOME)
        assert HOME.split(".", maxsplit=1)[0].encode() in asked.recv(512)
        assert "being looked up" in command(mx1, "allow", "list")
        mx2.publish("45.154.1.1")  # all else goes on meanwhile
        mx1.wait_reported(["45.154.1.1"])
        wait_until(lambda: names(mx1)[HOME]["fault"], "the look-up to be given up")
        command(mx1, "allow", "remove", HOME)


def test_a_state_directory_of_before_is_taken_over(tmp_path):
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1, = mesh.nodes
        mx1.publish("45.154.1.1")
        mx1.stop()
        for name in ("own.db", "peers.db"):
            database = sqlite3.connect(os.path.join(mx1.dir, "state", name))
            assert database.execute("PRAGMA user_version").fetchone() == (7,)
            for table in ("allowed_name",) if name == "own.db" else ("memo", "origin", "admission", "gone"):
                database.execute("DROP TABLE " + table)
            database.execute("PRAGMA user_version = 6")
            database.commit()
            database.close()
        mx1.start()
        allow(mx1, "45.154.1.2")
        allow(mx1, "nowhere.example.invalid")
        assert "nowhere.example.invalid" in names(mx1)
        assert len(json.loads(command(mx1, "bans", "--json"))["bans"]) == 1
        assert "damaged" not in mx1.output()


# ---- guard / protect ----


def test_a_name_in_guard_protect_protects_what_it_is_here(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    in_own_etc(mx2, nsswitch_conf="hosts: files\n", hosts=(
        "45.154.1.1 %s\n2a02:4780:11::7 %s\n127.0.0.1 loop.example.org\n45.154.5.5 loop.example.org\n"
        % (HOME, HOME)))
    mx2.settings = {"guard": {"protect": "45.154.3.0/24 Home.Example.org nowhere.example.org "
                                         "loop.example.org"}}
    mx2.write_settings()
    with mesh:
        wait_until(lambda: why(mx2, "45.154.1.1")["protected_by"], "the name to be looked up")
        for address in ("45.154.1.1", "2a02:4780:11::7", "45.154.3.3", "45.154.5.5"):
            mx1.publish(address)
        mx2.wait_reported(["45.154.5.5"])
        assert mx2.reported() == ["45.154.5.5"]
        said = command(mx2, "why", "45.154.1.1")
        line = 1 + next(i for i, text in enumerate(open(mx2.conf)) if "protect =" in text)
        assert ("protected here: guard / protect in line %d of the settings (%s)" % (line, HOME)
                in said), said
        attention = "\n".join(mx2.status()["attention"])
        assert "nowhere.example.org: " in attention
        assert "loop.example.org: refused: it has the address 127.0.0.1 (loopback)" in attention
        assert mx2.output().count("nowhere.example.org: ") == 1
