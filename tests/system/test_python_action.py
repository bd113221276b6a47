"""action.d/banmesh.py in a real fail2ban: what the hook does, without a process for each ban."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import zlib

import pytest

from fail2ban_server import Fail2banServer, tool
from mesh import Mesh, Node, public_addresses, program, wait_until

IPV4 = "45.154.244.193"
IPV6 = "2a02:4780:11:22::7"


def action(node, *more):
    return "banmesh.py[%s]" % ", ".join(
        ('socket="%s"' % node.socket, 'spool="%s"' % node.spool, 'port="http, https"',
         'protocol="tcp"') + more)


def jail(tmp_path, actions, name="sshd", more=""):
    (tmp_path / "a.log").touch()
    return ("[shared]\naction = nothing\n[%s]\nenabled = true\nfilter = sshd\nbackend = auto\n"
            "logpath = %s\nbantime = 3600\nport = http, https\naction = %s\n%s"
            % (name, tmp_path / "a.log", actions, more))


def fail2ban(tmp_path, actions, **options):
    return Fail2banServer(tmp_path / "f2b", jail(tmp_path, actions, **options))


def spooled(node):
    """The records, whose checksums must be right."""
    try:
        with open(os.path.join(node.spool, "spool"), "rb") as file:
            records = file.read().splitlines()
    except FileNotFoundError:
        return []
    for record in records:
        line, crc = record.rsplit(b" crc=", 1)
        assert zlib.crc32(line) == int(crc, 16), record
    return [record.decode() for record in records]


@pytest.fixture
def lone(tmp_path):
    """A node that is never started: its directories and paths."""
    return Node(Mesh(tmp_path), "mx1")


class FakeNode:
    """Answers each request with one word, and remembers the requests."""

    def __init__(self, path, answer):
        self.requests = []
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    self.requests.append(line.decode().rstrip("\n"))
                    connection.sendall(self.answer.encode() + b"\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_a_ban_reaches_the_peer_at_once_or_once_the_node_is_back(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(tmp_path, action(mx1), name="my jail") as server:
            server.client("set", "my jail", "banip", IPV4)
            server.client("set", "my jail", "banip", IPV6)
            mx2.wait_reported([IPV4, IPV6])
            assert mx1.status()["intake"]["stored"] == 2
            mx1.stop()
            server.client("set", "my jail", "banip", "80.94.95.112")
            assert len(spooled(mx1)) == 1
            mx1.start()
            mx2.wait_reported(["80.94.95.112"])
            assert "banmesh.py" not in server.log_text(), server.log_text()
            # A plain reload keeps the action: fail2ban drops one that cannot be reloaded.
            subprocess.run([*tool("client"), "-c", str(server.conf), "-s", str(server.socket),
                            "reload"], check=True, stdout=subprocess.DEVNULL, timeout=60)
            assert "banmesh" in str(server.client("get", "my jail", "actions"))
        with fail2ban(tmp_path, action(mx1), name="my jail") as server:
            server.wait_log("Restore Ban %s" % IPV4)
            server.client("set", "my jail", "banip", "80.94.95.113")
            mx2.wait_reported(["80.94.95.113"])
            # Restored ones were no news: nothing was handed in again.
            assert mx1.status()["intake"].get("repeated", 0) == 0


def test_a_node_that_hangs_costs_less_than_two_seconds_a_ban(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(tmp_path, action(mx1)) as server:
            mx1.process.process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            server.client("set", "sshd", "banip", IPV4)  # answers once the actions have run
            taken = time.monotonic() - begun
            assert len(spooled(mx1)) == 1
            assert taken < 10, taken  # about 1 s; without a limit it would wait for ever
            mx1.process.process.send_signal(signal.SIGCONT)
            mx2.wait_reported([IPV4])


def test_without_node_and_spool_it_says_so_and_fail2ban_goes_on(tmp_path, lone):
    os.rmdir(lone.spool)
    with fail2ban(tmp_path, action(lone)) as server:
        server.client("set", "sshd", "banip", IPV4)
        server.wait_log("[sshd] banmesh.py: ban not stored: %s: No such file or directory; %s/spool: "
                        "No such file or directory" % (lone.socket, lone.spool))
        os.mkdir(lone.spool)
        server.client("set", "sshd", "banip", IPV6)
        assert len(spooled(lone)) == 1
        assert server.banned("sshd") == [IPV4, IPV6]
        assert "Failed to execute" not in server.log_text()


@pytest.mark.parametrize("trick", ["link", "two names", "directory"])
def test_what_is_no_spool_is_not_written_to(tmp_path, lone, trick):
    target = tmp_path / "target"
    target.write_text("mine\n")
    spool = os.path.join(lone.spool, "spool")
    if trick == "link":
        os.symlink(target, spool)
    elif trick == "two names":
        os.link(target, spool)
    else:
        os.mkdir(spool)
    with fail2ban(tmp_path, action(lone)) as server:
        server.client("set", "sshd", "banip", IPV4)
        server.wait_log("[sshd] banmesh.py: ban not stored")
        assert target.read_text() == "mine\n"


def test_500_bans_arrive(tmp_path):
    addresses = public_addresses(500, seed=500)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(tmp_path, action(mx1)) as server:
            server.client("set", "sshd", "banip", *addresses)
            mx2.wait_reported(addresses)
            assert "banmesh.py" not in server.log_text()


@pytest.mark.parametrize("answer, said, in_spool", [
    ("ok nid=1 new", None, 0),
    ("skipped 10.0.0.1 is special", None, 0),
    ("malformed ip \"x\": expected an address", "ban is malformed: ip \"x\": expected an address", 0),
    ("failed disk full", None, 1),
    ("nonsense", None, 1),
    ("okay", None, 1),
])
def test_answers_mean_what_they_mean_to_the_hook(tmp_path, lone, answer, said, in_spool):
    with FakeNode(lone.socket, answer), fail2ban(tmp_path, action(lone)) as server:
        server.client("set", "sshd", "banip", IPV4)
        assert len(spooled(lone)) == in_spool
        if said:
            server.wait_log(said)
        else:
            assert "banmesh.py" not in server.log_text()


def test_hook_and_action_write_the_same_bytes(tmp_path, lone):
    """One ticket goes through both: request and spool record are equal."""
    hook = ('banmesh[publish="%s", options="--socket %s --spool %s", port="http, https", '
            'protocol="tcp"]' % (program("banmesh-publish"), lone.socket, lone.spool))
    text = jail(tmp_path, hook + "\n         " + action(lone, 'actname="other"'),
                name="b\u00fcro/web 1")
    with Fail2banServer(tmp_path / "f2b", text) as server:
        server.client("set", "b\u00fcro/web 1", "banip", IPV4, IPV6, "45.154.244.0/24")
        records = wait_until(lambda: len(spooled(lone)) == 6 and spooled(lone), "the records")
        assert records[0::2] == records[1::2]
        assert records[0].startswith("ban jail=b%c3%bcro/web%201 ip=" + IPV4 + " time=")
        with FakeNode(lone.socket, "ok nid=1 new") as node:
            server.client("set", "b\u00fcro/web 1", "banip", "80.94.95.112")
            wait_until(lambda: len(node.requests) >= 2, "both requests")
            assert len(node.requests) == 2 and node.requests[0] == node.requests[1]


def test_a_longer_ban_is_announced_with_the_same_time(tmp_path, lone):
    with FakeNode(lone.socket, "ok nid=1 new") as node, \
            fail2ban(tmp_path, action(lone), more="bantime.increment = true\n") as server:
        server.client("set", "sshd", "bantime", "2")
        server.client("set", "sshd", "banip", IPV4)
        server.wait_log("[sshd] Unban %s" % IPV4)
        server.client("set", "sshd", "banip", IPV4)
        wait_until(lambda: len(node.requests) == 3, lambda: "the longer ban: %s" % node.requests)
        first, again, longer = node.requests
    assert " bantime=2 " in first and " bantime=4 " in longer
    when = [re.search(r" time=(\S+)", request).group(1) for request in (first, again, longer)]
    assert when[0] != when[1] == when[2]


def test_a_longer_ban_reaches_the_peer(tmp_path):
    """Which comes later: the first one has ended by then, and would hold the address else."""
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    more = "bantime.increment = true\nbantime.multipliers = 1 900\n"
    try:
        mx1.start()
        with fail2ban(tmp_path, action(mx1, "unbans=no"), more=more) as server:
            server.client("set", "sshd", "bantime", "2")
            server.client("set", "sshd", "banip", IPV4)
            server.wait_log("[sshd] Unban %s" % IPV4)
            server.client("set", "sshd", "banip", IPV4)
            wait_until(lambda: sum(mx1.status()["intake"].values()) == 3,
                       lambda: "the longer ban: %s" % mx1.status()["intake"])
            mx2.start()
            mx2.wait_reported([IPV4])
            assert " for 1800 s " in mx2.lines()[-1]
    finally:
        mesh.stop()


def test_an_unban_before_the_end_is_announced_and_an_end_is_not(tmp_path, lone):
    with FakeNode(lone.socket, "ok nid=1 new") as node, \
            fail2ban(tmp_path, action(lone)) as server:
        server.client("set", "sshd", "banip", IPV4)
        server.client("set", "sshd", "unbanip", IPV4)
        wait_until(lambda: len(node.requests) == 2, "the unban")
        time_ = re.search(r" time=(\S+)", node.requests[0]).group(1)
        assert re.fullmatch(r"unban jail=sshd ip=%s time=%s bantime=3600 at=\d+\.\d{3}"
                            % (re.escape(IPV4), re.escape(time_)), node.requests[1])
        server.client("set", "sshd", "bantime", "1")
        server.client("set", "sshd", "banip", IPV6)
        server.wait_log("Unban %s" % IPV6)
        server.client("set", "sshd", "bantime", "3600")
        server.client("set", "sshd", "banip", IPV4)
        server.client("unban", "--all")
        server.wait_log("Flush ticket(s) with banmesh")
        assert [request.split()[0] for request in node.requests] == ["ban", "unban", "ban", "ban"]


def test_unbans_can_be_switched_off_and_an_old_node_is_no_error(tmp_path, lone):
    with FakeNode(lone.socket, "malformed request \"unban\": expected \"ban\"") as node, \
            fail2ban(tmp_path, action(lone)) as server:
        server.client("set", "sshd", "banip", IPV4)
        server.client("set", "sshd", "unbanip", IPV4)
        server.wait_log("unban is malformed")
        assert "ERROR   [sshd] banmesh.py: unban" not in server.log_text()
        server.client("set", "sshd", "action", "banmesh", "unbans", "no")
        server.client("set", "sshd", "banip", IPV4)
        server.client("set", "sshd", "unbanip", IPV4)
        assert [request.split()[0] for request in node.requests] == ["ban", "unban", "ban"]


def test_wrong_options_are_named_and_do_not_stop_fail2ban(tmp_path, lone):
    with FakeNode(lone.socket, "ok nid=1 new") as node, \
            fail2ban(tmp_path, action(lone, "sockte=/x", "unbans=maybe", "name=other")) as server:
        server.wait_log('option "sockte" is not known: expected one of')
        server.wait_log('unbans "maybe": expected yes or no')
        server.client("set", "sshd", "banip", IPV4)
        assert node.requests[0].startswith("ban jail=other ip=")
