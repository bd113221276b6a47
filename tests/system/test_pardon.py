"""Lifting a ban everywhere, keeping bans away, and why an address is banned or not: real fail2ban."""

import json
import os
import socket
import subprocess
import time

from fail2ban_server import Fail2banServer
from mesh import Client, Mesh, program, wait_until
from test_unban import events, value

WEEK = 604800
ROLES = {"roles": {"operator": "mx1"}}


def shared_jail(node):
    open(node.shared_log, "a", encoding="ascii").close()
    return Fail2banServer(os.path.join(node.dir, "f2b"),
                          "[shared]\nlogpath = %s\naction = nothing\n" % node.shared_log)


def command(node, *arguments, status=0):
    done = subprocess.run([program("banmesh"), *arguments, "--config", node.conf],
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def order(node, word, **asked):
    """As the command does, without a process each time."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(100)
        admin.connect(node.admin)
        admin.sendall(("%s %s\n" % (word, json.dumps(asked))).encode())
        answer = json.loads(admin.makefile().read())
    assert answer["done"], answer


def why(node, address):
    return json.loads(command(node, "why", address, "--json"))


def wait_free(server, addresses, timeout=60):
    wait_until(lambda: not set(addresses) & set(server.banned("shared")),
               lambda: "%s to be let go\n%s" % (addresses, server.log_text()[-2000:]), timeout)


def test_an_operators_pardon_lifts_bans_of_all_and_a_new_one_counts(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra=ROLES) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx1) as one, shared_jail(mx2) as two:
            mx3.publish("45.154.1.1", bantime=WEEK)
            mx2.publish("45.154.1.1", bantime=WEEK, jail="postfix")
            mx3.publish("45.154.1.2", bantime=WEEK)
            for server in (one, two):
                server.wait_banned("shared", ["45.154.1.1", "45.154.1.2"])
            dry = command(mx1, "pardon", "45.154.1.1", "--dry-run")
            assert "nothing done" in dry and "2 running bans" in dry
            begun = time.monotonic()
            said = command(mx1, "pardon", "45.154.1.1", "--reason", "a customer")
            assert "it covers 2 running bans" in said and "does not hold it" in said, said
            assert "announced to 2 of 2 peers" in said
            wait_free(one, ["45.154.1.1"])
            wait_free(two, ["45.154.1.1"])
            print("lifted on both after %.2f s" % (time.monotonic() - begun))
            story = why(mx2, "45.154.1.1")
            assert {report["outcome"] for report in story["reports"]} == {"pardoned"}
            assert all(report["lifted"]["origin"] == "mx1" and
                       report["lifted"]["text"] == "a customer" for report in story["reports"])
            assert "is not banned by the mesh: none of the reports stands" in command(
                mx2, "why", "45.154.1.1")
            assert one.banned("shared") == two.banned("shared") == ["45.154.1.2"]
            mx3.publish("45.154.1.1", bantime=WEEK)  # it attacks again
            for server in (one, two):
                server.wait_banned("shared", ["45.154.1.1"])


def test_a_pardon_of_a_node_without_the_role_lifts_its_own_bans_only(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra=ROLES) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx2) as two:
            mx3.publish("45.154.1.1", bantime=WEEK)
            mx1.publish("45.154.1.2", bantime=WEEK)
            two.wait_banned("shared", ["45.154.1.1", "45.154.1.2"])
            for address in ("45.154.1.1", "45.154.1.2"):
                command(mx3, "pardon", address, "--reason", "mine")
            wait_free(two, ["45.154.1.1"])
            wait_until(lambda: mx2.status()["outcomes"].get("grace") == 2, "both pardons")
            assert why(mx2, "45.154.1.2")["reports"][0]["outcome"] == "stands"
            assert two.banned("shared") == ["45.154.1.2"]


def test_a_thousand_pardons_over_one_address(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra=ROLES) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        mx3.stop()
        when = time.time() - 1000
        mx2.stream([("45.154.1.1", "jail%d" % i, when + i) for i in range(1000)])
        mx1.wait_reported(["45.154.1.1"])
        for i in range(500):  # one of each wideness, again and again; now and then up to a time
            network = "45.154.0.0/%d" % (16 + i % 7)
            order(mx1, "pardon", network=network, text="no. %d" % i, for_s=60 if i % 10 == 0 else 0)
        with Client(mx2.socket) as client:
            for i in range(0, 1000, 2):
                client.send("unban jail=jail%d ip=45.154.1.1 time=%.3f at=%.3f"
                            % (i, when + i, time.time()))
                assert client.answer().endswith("lifted")
        mx3.start()  # hears all of it at once
        for node in mesh.nodes:
            wait_until(lambda: {report["outcome"] for report in why(node, "45.154.1.1")["reports"]}
                       == {"pardoned"}, lambda: why(node, "45.154.1.1"))
        assert "damaged" not in mx3.output()


def test_an_allowance_holds_while_it_runs_and_reaches_who_was_away(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra=ROLES) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx2) as two:
            mx3.publish("45.154.1.1", bantime=WEEK)
            mx3.publish("45.155.1.1", bantime=WEEK)
            two.wait_banned("shared", ["45.154.1.1", "45.155.1.1"])
            mx2.stop()
            command(mx1, "allow", "45.154.0.0/16", "--for", "12s", "--comment", "a friend")
            allowed = time.monotonic()
            assert "a friend" in command(mx1, "allow", "list")
            mx2.start()
            wait_free(two, ["45.154.1.1"])
            story = command(mx2, "why", "45.154.9.9")
            assert "allowed" in story and "a friend" in story
            # It ends by itself, and the ban runs still.
            wait_until(lambda: "45.154.1.1" in two.banned("shared"), "it to be banned again")
            assert time.monotonic() - allowed > 10
            command(mx1, "allow", "45.155.1.1", "--for", "30d", "--comment", "another")
            wait_free(two, ["45.155.1.1"])
            command(mx1, "allow", "remove", "45.155.1.1")
            wait_until(lambda: "45.155.1.1" in two.banned("shared"), "the withdrawal")
            assert "45.155.1.1" not in command(mx1, "allow", "list")


def test_what_was_let_go_of_is_told_again_after_a_restart(tmp_path):
    """The line of before still stands in the log, and is no line for what stands again."""
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra=ROLES) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with shared_jail(mx2) as two:
            mx3.publish("45.154.1.1", bantime=WEEK)
            two.wait_banned("shared", ["45.154.1.1"])
            command(mx1, "allow", "45.154.1.1", "--for", "1h", "--comment", "a test")
            wait_free(two, ["45.154.1.1"])
            wait_until(lambda: mx2.status()["held"] == 0, "the book to say so")
            mx2.stop()
            mx2.start()
            wait_until(lambda: mx2.status()["census"], "it to be compared", 100)
            assert "without their rows" not in mx2.output()
            command(mx1, "allow", "remove", "45.154.1.1")
            two.wait_banned("shared", ["45.154.1.1"], timeout=60)
            assert why(mx2, "45.154.1.1")["hold"]["held"]


def test_an_allowance_that_is_made_shorter_stays_so_for_those_that_come_later(tmp_path):
    """Compaction forgets the shorter one at its end; the longer one must not count again."""
    with Mesh(tmp_path, ["mx1", "mx2"], extra=ROLES) as mesh:
        mx1, mx2 = mesh.nodes
        command(mx1, "allow", "45.154.1.1", "--for", "30d", "--comment", "long")
        command(mx1, "allow", "45.154.1.1", "--for", "40d", "--comment", "longer")
        command(mx1, "allow", "45.154.1.1", "--for", "5s", "--comment", "short")
        wait_until(lambda: sum(kind == 3 for kind, _ in events(mx2).values()) == 4, "all of it")
        allowances = sorted((value(content, 2), value(content, 3))
                            for kind, content in events(mx2).values() if kind == 3)
        long, longer, withdrawn, short = allowances
        assert long[1] > long[0] and longer[1] > long[1] + 86400000
        assert withdrawn[0] == withdrawn[1] and short == (withdrawn[0] + 1, withdrawn[0] + 5000)
        mx2.publish("45.154.1.1")
        wait_until(lambda: why(mx1, "45.154.1.1")["reports"][0]["outcome"] == "stands", "its end")


def test_why_says_what_is_known_of_any_address(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra={"guard": {"protect": "45.154.3.0/24"}}) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("45.154.1.1", jail="sshd", failures=5)
        mx1.publish("45.154.3.1")
        mx2.publish("45.154.4.1", jail="nginx")
        mx2.wait_reported(["45.154.1.1"])
        wait_until(lambda: why(mx2, "45.154.3.1")["reports"], "the protected one")
        said = command(mx2, "why", "45.154.1.1")
        assert "is to be banned here until" in said and "mx1 reported 45.154.1.1 in sshd" in said
        assert "5 failures: stands" in said and "the shared jail holds it until" in said
        said = command(mx2, "why", "45.154.3.1")
        assert "is not banned by the mesh" in said and "protected here: guard / protect" in said
        assert "refused: the address is protected here" in said
        assert "by this host's own jail nginx" in command(mx2, "why", "45.154.4.1")
        assert "no ban of it that runs is known" in command(mx2, "why", "45.154.5.1")
        assert "45.154.1.1" in command(mx2, "why", "45.154.0.0/16")
        assert len(why(mx2, "45.154.0.0/16")["inside"]) == 3
        for wrong in ("example.org", "999.1.1.1", "45.154.1.1/33", "fe80::1%eth0"):
            assert wrong in command(mx2, "why", wrong, status=1)
        command(mx2, "why", status=2)
        command(mx2, "why", "--what", status=2)


def test_bans_lists_what_runs(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("45.154.1.1", jail="sshd")
        mx1.publish("2a02:4780:11::7", jail="postfix")
        mx2.publish("45.155.4.1", jail="nginx")
        mx2.wait_reported(["45.154.1.1", "2a02:4780:11::7"])

        def rows(*filters):
            return {line.split(",")[0]
                    for line in command(mx2, "bans", "--csv", *filters).splitlines()[1:]}
        assert rows() == {"45.154.1.1", "2a02:4780:11::7", "45.155.4.1"}
        assert rows("--origin", "mx2") == {"45.155.4.1"}
        assert rows("--jail", "postfix") == {"2a02:4780:11::7"}
        assert rows("--network", "45.152.0.0/14") == {"45.154.1.1", "45.155.4.1"}
        assert rows("--origin", "nobody") == set()
        assert "nonsense" in command(mx2, "bans", "--network", "nonsense", status=1)
        assert json.loads(command(mx2, "bans", "--json"))["count"] == 3


def test_orders_that_make_no_sense_are_refused_in_words(tmp_path):
    with Mesh(tmp_path, ["mx1"], extra=ROLES) as mesh:
        mx1, = mesh.nodes
        for wrong, word in (("0.0.0.0/0", "/16"), ("10.0.0.0/8", "/16"), ("2a02::/16", "/32"),
                            ("999.1.1.1", "not an IPv4 or IPv6 address")):
            assert word in command(mx1, "pardon", wrong, "--reason", "x", status=1)
            assert word in command(mx1, "allow", wrong, "--for", "1h", "--comment", "x", status=1)
        assert "--reason" in command(mx1, "pardon", "45.154.1.1", status=2)
        assert "--for" in command(mx1, "allow", "45.154.1.1", "--comment", "x", status=2)
        for span in ("0s", "-1h", "1 fortnight", "99999y"):
            assert "--for" in command(mx1, "allow", "45.154.1.1", "--for", span, "--comment", "x",
                                      status=2)
        assert "ten years" in command(mx1, "allow", "45.154.1.1", "--for", "11y", "--comment", "x",
                                      status=1)
        assert "at most 200" in command(mx1, "pardon", "45.154.1.1", "--reason", "x" * 300,
                                        status=1)
        mx1.stop()
        assert "is the service running?" in command(mx1, "why", "45.154.1.1", status=1)
