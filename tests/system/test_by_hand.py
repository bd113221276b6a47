"""An operator's ban by hand: it holds everywhere, here too, and a pardon lifts it everywhere."""

import json
import os
import subprocess

from fail2ban_server import Fail2banServer
from mesh import Mesh, program, wait_until

IPV4 = "45.154.1.1"
IPV6 = "2a02:4780:11:22::/64"


def shared_jail(node, jails=""):
    open(node.shared_log, "a", encoding="ascii").close()
    return Fail2banServer(
        os.path.join(node.dir, "f2b"),
        "[shared]\nlogpath = %s\naction = nothing\n%s" % (node.shared_log, jails))


def command(node, *arguments, status=0):
    done = subprocess.run([program("banmesh"), *arguments, "--config", node.conf],
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def why(node, address):
    return json.loads(command(node, "why", address, "--json"))


def wait_free(server, address):
    wait_until(lambda: address not in server.banned("shared"),
               lambda: "%s to be let go\n%s" % (address, server.log_text()[-2000:]), 60)


def test_a_ban_by_hand_holds_on_all_and_a_pardon_lifts_it_on_all(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with shared_jail(mx1) as one, shared_jail(mx2) as two:
            said = command(mx1, "ban", IPV4, "--for", "12h", "--reason", "floods the form")
            assert "banned %s for 12 h, as by-hand" % IPV4 in said, said
            assert "was told to hold it" in said and "announced to 1 of 1 peers" in said, said
            done = json.loads(command(mx1, "ban", IPV6, "--for", "1h", "--reason", "scans",
                                      "--jail", "web", "--json"))
            assert (done["address"], done["jail"], done["reason"]) == (IPV6, "by-hand.web", "scans")
            assert done["until"] == done["time"] + 3600
            for server in (one, two):
                server.wait_banned("shared", [IPV4, IPV6])
            for node in (mx1, mx2):
                report, = why(node, IPV4)["reports"]
                assert (report["origin"], report["outcome"]) == ("mx1", "stands"), report
                assert (report["jail"], report["reason"]) == ("by-hand", "floods the form"), report
                assert "floods the form" in command(node, "why", IPV4)
            # A restart derives it from what is stored; nothing is let go meanwhile.
            mx1.stop()
            mx1.start()
            mx1.wait_connected()
            report, = why(mx1, IPV4)["reports"]
            assert (report["outcome"], report["reason"]) == ("stands", "floods the form"), report
            assert why(mx1, IPV4)["hold"]["held"] and not why(mx1, IPV4)["hold"]["to_be_let_go"]
            assert one.banned("shared").count(IPV4) == 1
            command(mx1, "pardon", IPV4, "--reason", "it was a friend")
            for server in (one, two):
                wait_free(server, IPV4)
                assert IPV6 in server.banned("shared")


def test_it_holds_here_besides_the_ban_of_a_local_jail_and_ends(tmp_path):
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1, = mesh.nodes
        with shared_jail(mx1) as one:
            mx1.publish(IPV4, jail="sshd")
            command(mx1, "ban", IPV4, "--for", "8s", "--reason", "all ports")
            one.wait_banned("shared", [IPV4])
            outcomes = {report["jail"]: report["outcome"] for report in why(mx1, IPV4)["reports"]}
            assert outcomes == {"sshd": "ourselves", "by-hand": "stands"}
            wait_free(one, IPV4)


def test_no_jail_of_fail2ban_passes_for_an_operators_hand(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish(IPV4, jail="by-hand")
        mx1.publish("45.154.1.2", jail="by-hand.web")
        mx2.wait_reported([IPV4, "45.154.1.2"])
        assert mx1.lines() == []
        names = mx1.status()["jails"]
        assert sorted(names.values()) == ["by-hand", "by-hand.web"], names
        assert all(name.startswith(("by-hand-", "by-hand_web-")) for name in names), names


def test_what_this_host_would_not_hold_is_refused_in_words(tmp_path):
    extra = {"guard": {"protect": "45.154.3.0/24"}}
    with Mesh(tmp_path, ["mx1"], extra=extra) as mesh:
        mx1, = mesh.nodes

        def refused(address, *words, status=1, options=("--for", "1h", "--reason", "x")):
            said = command(mx1, "ban", address, *options, status=status)
            assert all(word in said for word in words), said

        refused("10.0.0.1", "10.0.0.1 is special", "public")
        refused("127.0.0.1", "is special")
        refused("45.154.3.7", "protected here (guard / protect in line ")
        refused("45.156.0.0/16", "a wider network")
        refused("2a02:4780::/47", "a wider network")
        refused("example.org", "example.org", "not an IPv4 or IPv6 address")
        command(mx1, "allow", "45.154.4.0/24", "--for", "1h", "--comment", "a friend")
        refused("45.154.4.4", "an allowance of 45.154.4.0/24 by mx1 covers it", "a friend")
        command(mx1, "pardon", "45.154.5.0/24", "--for", "1h", "--reason", "a test")
        refused("45.154.5.4", "a pardon of 45.154.5.0/24 by mx1 covers it")
        refused(IPV4, "at most 200", options=("--for", "1h", "--reason", "x" * 201))
        refused(IPV4, "jail", "expected 1 to 56", options=("--for", "1h", "--reason", "x",
                                                          "--jail", "no name"))
        refused(IPV4, "jail", options=("--for", "1h", "--reason", "x", "--jail", "a" * 57))
        refused(IPV4, "control characters", options=("--for", "1h", "--reason", "x\ny"))
        refused(IPV4, "--for", status=2, options=("--reason", "x"))
        refused(IPV4, "--for", status=2, options=("--for", "soon", "--reason", "x"))
        refused(IPV4, "--reason", status=2, options=("--for", "1h"))
        assert json.loads(command(mx1, "bans", "--json"))["count"] == 0
        assert mx1.lines() == []
        mx1.stop()
        refused(IPV4, "is the service running?")
    assert os.listdir(mx1.spool) == []


def test_longer_than_max_ban_is_said(tmp_path):
    with Mesh(tmp_path, ["mx1"], extra={"guard": {"max-ban": "3600"}}) as mesh:
        mx1, = mesh.nodes
        said = command(mx1, "ban", IPV4, "--for", "2h", "--reason", "x")
        assert "here only until" in said and "does not run here" in said, said
