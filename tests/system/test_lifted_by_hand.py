"""What somebody lifts by hand in the jail [shared] stays lifted on this host: real fail2ban."""

import json
import os
import subprocess

import pytest

from fail2ban_server import Fail2banServer
from mesh import Mesh, program, wait_until

X = "45.154.1.1"
Y = "45.154.1.2"
NET = "2a02:4780:10:5::/64"


def command(node, *arguments):
    done = subprocess.run([program("banmesh"), *arguments, "--config", node.conf],
                          capture_output=True, text=True, timeout=100, check=True)
    return done.stdout


def outcomes(node, address):
    answer = json.loads(command(node, "why", address, "--json"))
    return {report["jail"]: report["outcome"] for report in answer["reports"]}


def shared_jail(node, bantime=604800):
    open(node.shared_log, "a", encoding="ascii").close()
    lifted = 'banmesh-lifted[publish="%s", options="--socket %s --spool %s"]' % (
        program("banmesh-publish"), node.socket, node.spool)
    return Fail2banServer(os.path.join(node.dir, "f2b"), (
        "[shared]\nlogpath = %s\nbantime = %d\naction = nothing\n         %s\n") % (
            node.shared_log, bantime, lifted))


def intake(node, word):
    return node.status()["intake"].get(word, 0)


@pytest.fixture
def mesh(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as started:
        yield started


def test_a_lift_by_hand_stays_a_lift_and_a_new_ban_counts(mesh):
    mx1, mx2 = mesh.nodes
    with shared_jail(mx2) as fail2ban:
        mx1.publish(X)
        mx1.publish(X, jail="postfix")
        mx1.publish(Y)
        mx1.publish(NET)
        fail2ban.wait_banned("shared", [X, Y, NET])
        fail2ban.client("set", "shared", "unbanip", X)
        fail2ban.client("set", "shared", "unbanip", NET)
        assert intake(mx2, "lifted-by-hand") == 2  # before fail2ban had its answer
        assert outcomes(mx2, X) == {"sshd": "lifted-by-hand", "postfix": "lifted-by-hand"}
        assert outcomes(mx2, NET) == {"sshd": "lifted-by-hand"}
        assert "lifted at 20" in command(mx2, "why", X)
        assert outcomes(mx1, X) == {"sshd": "ourselves", "postfix": "ourselves"}
        # Neither a restart of the node nor one of fail2ban without a memory hands it over again.
        mx2.stop()
        mx2.start()
        assert outcomes(mx2, X) == {"sshd": "lifted-by-hand", "postfix": "lifted-by-hand"}
        fail2ban.stop()
        for path in ("fail2ban.sqlite3", "fail2ban.sqlite3-journal"):
            if os.path.exists(os.path.join(fail2ban.directory, path)):
                os.unlink(os.path.join(fail2ban.directory, path))
        fail2ban.start()
        fail2ban.wait_banned("shared", [Y])
        # It reads the lines of before once more by itself; what should not be held is let go of.
        wait_until(lambda: mx2.status()["census"] is not None, "the comparison")
        wait_until(lambda: fail2ban.banned("shared") == [Y], lambda: fail2ban.banned("shared"))
        mx1.publish(X)
        fail2ban.wait_banned("shared", [X])
        assert outcomes(mx2, X)["postfix"] == "lifted-by-hand"


def test_what_the_node_lets_go_of_and_what_ends_is_no_lift_by_hand(mesh):
    mx1, mx2 = mesh.nodes
    with shared_jail(mx2) as fail2ban:
        mx1.publish(X)
        mx1.publish(Y)
        fail2ban.wait_banned("shared", [X, Y])
        command(mx1, "pardon", X, "--reason", "mistake")
        wait_until(lambda: fail2ban.banned("shared") == [Y], "the pardon")
        wait_until(lambda: intake(mx2, "let-go") == 1, lambda: mx2.status()["intake"])
        fail2ban.client("set", "shared", "banip", "45.154.9.9")  # nobody reported that one
        fail2ban.client("set", "shared", "unbanip", "45.154.9.9")
        assert intake(mx2, "let-go") == 2
        fail2ban.stop()  # all its tickets go, and nobody lifted them
        fail2ban.start()
        fail2ban.wait_banned("shared", [Y])
        assert intake(mx2, "lifted-by-hand") == 0
        assert outcomes(mx2, Y) == {"sshd": "stands"}


def test_a_lift_while_the_node_was_down_is_spooled(mesh):
    mx1, mx2 = mesh.nodes
    with shared_jail(mx2) as fail2ban:
        mx1.publish(X)
        fail2ban.wait_banned("shared", [X])
        mx2.stop()
        fail2ban.client("set", "shared", "unbanip", X)
        mx1.publish(X)  # attacks again, later
        mx2.start()
        wait_until(lambda: intake(mx2, "lifted-by-hand") == 1, lambda: mx2.status()["intake"])
        wait_until(lambda: len(json.loads(command(mx2, "why", X, "--json"))["reports"]) == 2,
                   "the second report")
        fail2ban.wait_banned("shared", [X])
        answer = json.loads(command(mx2, "why", X, "--json"))
        assert sorted(report["outcome"] for report in answer["reports"]) == [
            "lifted-by-hand", "stands"]
