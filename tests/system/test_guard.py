"""What holds a ban back, or makes it void: a node that bans too fast, a quorum, jails that are not
wanted, networks too wide, a dry run, a node that was removed; over reloads and restarts."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time

from fail2ban_server import Fail2banServer
from mesh import Mesh, program, public_addresses, wait_until

X = "45.154.1.1"
Y = "45.154.1.2"


def command(node, *arguments, status=0):
    done = subprocess.run([program("banmesh"), *arguments, "--config", node.conf],
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def reports(node, address):
    return json.loads(command(node, "why", address, "--json"))["reports"]


def outcomes(node, address):
    """What a node says of each report of an address: {origin: word}"""
    return {report["origin"]: report["outcome"] for report in reports(node, address)}


def wait_outcomes(node, address, expected):
    wait_until(lambda: outcomes(node, address) == expected,
               lambda: "%s of %s: %s" % (expected, address, outcomes(node, address)))


def reload_with(node, guard):
    """Give a node other settings of the guard while it runs."""
    node.write_settings({"guard": guard})
    node.process.process.send_signal(signal.SIGHUP)


def shared_jail(node):
    open(node.shared_log, "a", encoding="ascii").close()
    return Fail2banServer(os.path.join(node.dir, "f2b"),
                          "[shared]\nlogpath = %s\naction = nothing\n" % node.shared_log)


def wait_free(server, addresses):
    wait_until(lambda: not set(addresses) & set(server.banned("shared")),
               lambda: "%s to be let go\n%s" % (addresses, server.log_text()[-2000:]))


# ---- the rate ----

def over_rate(node):
    return sum(node.status()["over_rate"].values())


def end_first_catch_up(node):
    """As if all that was new of its peers had been taken a long time ago, and spent."""
    node.stop()
    path = os.path.join(node.dir, "state", "peers.db")
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("UPDATE origin SET level_milli = 0").rowcount > 0
        db.commit()
    node.start()
    node.wait_connected()


@contextlib.contextmanager
def slow_receiver(tmp_path, rate):
    """A mesh whose mx2 has heard of mx1 long ago, and lets in so many of its bans a second."""
    mesh = Mesh(tmp_path)
    mesh.add("mx1")
    mx2 = mesh.add("mx2", settings={"guard": {"rate": rate}})
    with mesh:
        mesh.node("mx1").publish(Y)
        mx2.wait_reported([Y])
        mx2.publish(X)
        end_first_catch_up(mx2)
        yield mesh


def test_who_bans_too_fast_waits_and_all_of_it_is_let_in(tmp_path):
    with slow_receiver(tmp_path, 40) as mesh:
        mx1, mx2 = mesh.nodes
        flood = public_addresses(1500, 901)
        mx1.stream([(address, "sshd", time.time()) for address in flood])
        wait_until(lambda: over_rate(mx2) > 500, lambda: mx2.status())
        waiting = [address for address in flood if address not in mx2.reported()][-1]
        assert outcomes(mx2, waiting) == {"mx1": "over-rate"}
        assert "banmesh admit" in command(mx2, "why", waiting)
        mx2.stop(signal.SIGKILL)  # in the middle
        before = len(mx2.reported())
        mx2.start()
        mx2.wait_connected()
        wait_until(lambda: len(mx2.reported()) > before, "some more")
        assert over_rate(mx2) > 100, "a restart lets nothing in"
        mx2.wait_reported(flood)
        assert sorted(set(flood) | {Y}) == sorted(mx2.reported())
        assert over_rate(mx2) == 0


def test_admit_lets_in_what_waits(tmp_path):
    with slow_receiver(tmp_path, 1) as mesh:
        mx1, mx2 = mesh.nodes
        flood = public_addresses(2000, 902)
        mx1.stream([(address, "sshd", time.time()) for address in flood])
        wait_until(lambda: over_rate(mx2) > 1500, lambda: mx2.status())
        assert "no bans of a node" in command(mx2, "admit", "mx9", status=1)
        assert "bans that waited, of mx1" in command(mx2, "admit", "mx1")
        mx2.wait_reported(flood)
        assert mx2.status()["over_rate"] == {}


def test_a_rate_that_is_switched_off_lets_all_in(tmp_path):
    with slow_receiver(tmp_path, 1) as mesh:
        mx1, mx2 = mesh.nodes
        flood = public_addresses(1000, 903)
        mx1.stream([(address, "sshd", time.time()) for address in flood])
        wait_until(lambda: over_rate(mx2) > 500, lambda: mx2.status())
        reload_with(mx2, {"rate": 0})
        mx2.wait_reported(flood)


def test_the_first_catch_up_and_what_was_banned_while_it_was_down_are_let_in(tmp_path):
    mesh = Mesh(tmp_path, extra={"guard": {"rate": 50}})
    mesh.add("mx1")
    mx2 = mesh.add("mx2")
    with mesh:
        mx1 = mesh.node("mx1")
        mx2.stop()
        flood = public_addresses(5000, 904)
        mx1.stream([(address, "sshd", time.time()) for address in flood])
        mx2.start()
        mx2.wait_reported(flood)
        assert mx2.status()["over_rate"] == {}


def test_a_mad_node_that_back_dates_is_as_slow_as_any(tmp_path):
    """Its times say that it banned three in each minute: only this host's clock counts."""
    with slow_receiver(tmp_path, 10) as mesh:
        mx1, mx2 = mesh.nodes
        flood = public_addresses(100000, 905)
        now = time.time()
        mx1.stream([(address, "sshd", now - 20 * i, 86400 * 60) for i, address in enumerate(flood)])
        wait_until(lambda: over_rate(mx2) > 90000, lambda: mx2.status())
        assert len(mx2.reported()) < 1000


# ---- the quorum ----

def three(tmp_path, guard):
    mesh = Mesh(tmp_path)
    mesh.add("mx1")
    mesh.add("mx2")
    mesh.add("mx3", settings={"guard": guard})
    return mesh


def test_a_quorum_of_origins_whatever_their_jails(tmp_path):
    with three(tmp_path, {"quorum": 2, "jail-quorum": "recidive=1 web=3"}) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx3) as fail2ban:
            mx1.publish(X)
            mx1.publish(X, jail="postfix")
            mx1.publish(Y, jail="recidive")
            fail2ban.wait_banned("shared", [Y])
            wait_until(lambda: len(reports(mx3, X)) == 2, "both reports")
            assert {report["outcome"] for report in reports(mx3, X)} == {"quorum"}
            said = command(mx3, "why", X)
            assert "1 of 2 origins: it waits for another one until" in said, said
            assert mx3.reported() == [Y]
            mx2.publish(X, jail="web")
            fail2ban.wait_banned("shared", [X])
            assert {(report["origin"], report["jail"]): report["outcome"]
                    for report in reports(mx3, X)} == {
                ("mx1", "sshd"): "stands", ("mx1", "postfix"): "stands", ("mx2", "web"): "quorum"}
            # It holds until fewer than that many run.
            command(mx2, "pardon", X, "--reason", "mistake")
            wait_free(fail2ban, [X])
            assert outcomes(mx3, X) == {"mx1": "quorum", "mx2": "pardoned"}


def test_this_hosts_own_bans_count_for_the_quorum(tmp_path):
    with three(tmp_path, {"quorum": 2}) as mesh:
        mx1, _, mx3 = mesh.nodes
        mx1.publish(X)
        wait_outcomes(mx3, X, {"mx1": "quorum"})
        mx3.publish(X)
        mx3.wait_reported([X])
        assert outcomes(mx3, X) == {"mx1": "stands", "mx3": "ourselves"}


def test_ipv6_is_counted_by_its_64_and_the_reported_addresses_are_banned(tmp_path):
    one, other, third = ("2a02:4780:10:5::%x" % i for i in (1, 2, 3))
    with three(tmp_path, {"quorum": 2}) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        mx1.publish(one)
        mx1.publish(third)
        wait_outcomes(mx3, one, {"mx1": "quorum"})
        mx2.publish("2a02:4780:10:6::1")
        wait_outcomes(mx3, "2a02:4780:10:6::1", {"mx2": "quorum"})
        assert mx3.lines() == []
        mx2.publish(other)
        mx3.wait_reported([one, other, third])
        assert sorted(mx3.reported()) == [one, other, third]


def test_bans_far_apart_are_no_quorum_and_a_restart_knows_the_same(tmp_path):
    with three(tmp_path, {"quorum": 2, "quorum-window": 600}) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        mx1.publish(X, time="%.3f" % (time.time() - 700))
        mx1.publish(Y, time="%.3f" % (time.time() - 500))
        mx2.publish(X)
        mx2.publish(Y)
        mx3.wait_reported([Y])
        wait_outcomes(mx3, X, {"mx1": "quorum", "mx2": "quorum"})
        assert "no other one banned it within" in command(mx3, "why", X)
        mx3.stop()
        mx3.start()
        assert outcomes(mx3, X) == {"mx1": "quorum", "mx2": "quorum"}
        assert outcomes(mx3, Y) == {"mx1": "stands", "mx2": "stands"}
        reload_with(mx3, {"quorum": 2, "quorum-window": 800})
        mx3.wait_reported([X])
        assert sorted(mx3.reported()) == [X, Y]


def test_a_quorum_larger_than_the_mesh_is_said_and_a_smaller_one_applies_what_waits(tmp_path):
    with three(tmp_path, {"quorum": 5}) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        mx1.publish(X)
        mx2.publish(X)
        wait_outcomes(mx3, X, {"mx1": "quorum", "mx2": "quorum"})
        assert any("guard / quorum" in text for text in mx3.status()["attention"])
        reload_with(mx3, {"quorum": 2})
        mx3.wait_reported([X])
        assert not any("guard / quorum" in text for text in mx3.status()["attention"])


def test_an_operators_ban_needs_no_quorum(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mesh.add("mx3", settings={"guard": {"quorum": 3}, "roles": {"operator": "mx1"}})
    with mesh:
        mx1, mx3 = mesh.nodes
        mx1.publish(X)
        mx3.wait_reported([X])


# ---- jails, networks, a dry run ----

def test_only_wanted_jails_and_a_reload_lets_go_of_the_others(tmp_path):
    with three(tmp_path, {"jails": "sshd post*", "not-jails": "*-test"}) as mesh:
        mx1, _, mx3 = mesh.nodes
        with shared_jail(mx3) as fail2ban:
            for i, jail in enumerate(("sshd", "postfix", "sshd2", "postfix-test", "web")):
                mx1.publish("45.155.1.%d" % i, jail=jail)
            fail2ban.wait_banned("shared", ["45.155.1.0", "45.155.1.1"])
            for i in (2, 3, 4):
                wait_outcomes(mx3, "45.155.1.%d" % i, {"mx1": "jail-not-wanted"})
            assert mx3.status()["outcomes"]["jail-not-wanted"] == 3
            reload_with(mx3, {"jails": "web", "not-jails": ""})
            fail2ban.wait_banned("shared", ["45.155.1.4"])
            wait_free(fail2ban, ["45.155.1.0", "45.155.1.1"])


def test_networks_as_wide_as_the_settings_say(tmp_path):
    with three(tmp_path, {"widest-ipv4": 28, "widest-ipv6": 56}) as mesh:
        mx1, _, mx3 = mesh.nodes
        narrow = ["45.155.1.0/28", "2a02:4780:10::/56"]
        for network in (*narrow, "45.155.2.0/27", "2a02:4780:11::/55"):
            mx1.publish(network)
        mx3.wait_reported(narrow)
        wait_until(lambda: mx3.status()["outcomes"].get("too-wide") == 2, lambda: mx3.status())
        mx3.write_settings({"guard": {}, "roles": {"operator": "mx1"}})
        mx3.process.process.send_signal(signal.SIGHUP)
        mx3.wait_reported(["45.155.2.0/27", "2a02:4780:11::/55"])
        mx1.publish("45.156.0.0/23")
        wait_outcomes(mx3, "45.156.0.0/23", {"mx1": "too-wide"})


def test_a_dry_run_decides_and_writes_nothing(tmp_path):
    with three(tmp_path, {"dry-run": 1}) as mesh:
        mx1, _, mx3 = mesh.nodes
        with shared_jail(mx3) as fail2ban:
            mx1.publish(X)
            wait_outcomes(mx3, X, {"mx1": "stands"})
            assert mx3.status()["outcomes"]["dry-run"] == 1
            assert "dry run" in "\n".join(mx3.status()["attention"])
            assert mx3.lines() == []
            reload_with(mx3, {"dry-run": 0})
            fail2ban.wait_banned("shared", [X])
            reload_with(mx3, {"dry-run": 1})
            wait_until(lambda: "dry run" in "\n".join(mx3.status()["attention"]), "the reload")
            command(mx1, "pardon", X, "--reason", "x")
            wait_outcomes(mx3, X, {"mx1": "pardoned"})
            assert fail2ban.banned("shared") == [X]
            reload_with(mx3, {"dry-run": 0})
            wait_free(fail2ban, [X])


# ---- a node that was removed ----

def remove_trust(node, name, *options, status=0):
    return command(node, "trust", "remove", name, *options, status=status)


def test_bans_of_a_removed_node_stand_until_they_are_undone(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"])
    with mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx2) as fail2ban:
            mx1.publish(X)
            mx3.publish(X)
            mx1.publish(Y)
            fail2ban.wait_banned("shared", [X, Y])
            said = remove_trust(mx2, "mx1")
            assert "standing here: 2 running bans of it (banmesh trust remove mx1 --undo-bans" in said, said
            assert outcomes(mx2, Y) == {"mx1": "stands"}
            assert "not trusted any more since" in command(mx2, "why", Y)
            assert "no bans of a node" in remove_trust(mx2, "mx7", "--undo-bans", status=1)
            begun = time.monotonic()
            assert "void here from now on: 2 running bans of it" in remove_trust(mx2, "mx1", "--undo-bans")
            wait_free(fail2ban, [Y])
            print("undone after %.2f s" % (time.monotonic() - begun))
            assert fail2ban.banned("shared") == [X]
            assert outcomes(mx2, X) == {"mx1": "undone", "mx3": "stands"}
            mx2.stop()
            mx2.start()
            assert outcomes(mx2, X) == {"mx1": "undone", "mx3": "stands"}
            # Trusted again: what it bans from now on counts.
            mesh.add_trust(mx1)
            mx2.wait_connected()
            mx1.publish(Y)
            fail2ban.wait_banned("shared", [Y])


# ---- a ban from the future ----

def test_a_ban_from_the_future_begins_when_it_came_over_restarts_too(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish(X, time="%.3f" % (time.time() + 3000), bantime=7200)
        mx2.wait_reported([X])
        [before] = reports(mx2, X)
        assert abs(before["time"] - time.time()) < 60
        wait_until(lambda: time.time() > before["time"] + 2, "a moment")
        mx2.stop()
        mx2.start()
        [after] = reports(mx2, X)
        assert (after["time"], after["until"]) == (before["time"], before["until"])
        assert mx2.reported() == [X]
