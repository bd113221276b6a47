"""Real fail2ban at both ends of a real mesh."""

import os
import re
import subprocess
import time


from fail2ban_server import Fail2banServer, tool, version
from mesh import Mesh, program, public_addresses, wait_until
from test_way import stream

JAILS = """
[DEFAULT]
action = nothing
         {publish}

[shared]
action = nothing

[sshd]
enabled = true
filter = sshd
backend = auto
logpath = {auth}
maxretry = 3
bantime = 3600

[recidive]
enabled = true
logpath = {directory}/fail2ban.log
maxretry = 1
bantime = 7200
"""


def publish_action(node):
    return ('banmesh[publish="%s", options="--socket %s --spool %s", port="ssh", protocol="tcp"]'
            % (program("banmesh-publish"), node.socket, node.spool))


def fail2ban_of(node):
    """The fail2ban of a node: every jail but the shared one publishes, recidive too."""
    directory = os.path.join(node.dir, "f2b")
    auth = os.path.join(node.dir, "auth.log")
    open(auth, "a", encoding="ascii").close()
    open(node.shared_log, "a", encoding="ascii").close()
    jails = JAILS.format(publish=publish_action(node), auth=auth, directory=directory)
    server = Fail2banServer(directory, jails.replace("[shared]\n", "[shared]\nlogpath = %s\n"
                                                     % node.shared_log))
    server.auth = auth
    return server


def attack(server, address, first_pid):
    with open(server.auth, "a", encoding="ascii") as log:
        for pid in range(first_pid, first_pid + 4):
            log.write("%s mx1 sshd[%d]: Failed password for root from %s port %d ssh2\n"
                      % (time.strftime("%b %d %H:%M:%S"), pid, address, 40000 + pid))


def test_a_ban_travels_from_fail2ban_to_fail2ban_and_never_back(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban_of(mx1) as one, fail2ban_of(mx2) as two:
            attack(one, "80.94.95.112", 1000)
            attack(one, "2a02:4780:10::7", 2000)
            two.wait_banned("shared", ["80.94.95.112", "2a02:4780:10::7"], timeout=60)
            one.wait_banned("recidive", ["80.94.95.112", "2a02:4780:10::7"], timeout=60)
            # recidive of mx1 published, too: mx2 holds these addresses already.
            wait_until(lambda: mx2.status()["outcomes"].get("already-held") == 2,
                       "both bans of recidive")
            assert sorted(mx2.reported()) == ["2a02:4780:10::7", "80.94.95.112"]
            # What came from the mesh is nobody's offence here.
            assert two.banned("recidive") == []
            assert mx2.status()["intake"] == {"stored": 0}
            assert mx1.reported() == []
            # And an attack on mx2 goes the other way.
            attack(two, "80.94.95.113", 1000)
            one.wait_banned("shared", ["80.94.95.113"], timeout=60)
            assert mx1.reported() == ["80.94.95.113"]
            assert "reported by mx2 in sshd for 3600 s" in mx1.lines()[0]


def test_122_records_of_108_addresses_are_banned_through_the_shared_log(tmp_path):
    """They took 37 s through fail2ban-client, and 8 s through a log that a script wrote."""
    seed = 20261121
    addresses = public_addresses(108, seed)
    print("seed", seed)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban_of(mx2) as two:
            begun = time.monotonic()
            stream(mx1, addresses)
            stream(mx1, addresses[:14], jail="postfix")
            two.wait_banned("shared", addresses, timeout=120)
            print("122 records, 108 addresses: %.2f s" % (time.monotonic() - begun))
            assert sorted(two.banned("shared")) == addresses
            assert mx2.status()["outcomes"] == {"applied": 108, "already-held": 14}


def test_fail2ban_that_was_down_bans_afterwards_what_came_meanwhile(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        two = fail2ban_of(mx2)
        with two:
            mx1.publish("80.94.95.112")
            two.wait_banned("shared", ["80.94.95.112"])
        mx1.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.113"])
        with two:
            two.wait_banned("shared", ["80.94.95.112", "80.94.95.113"])
            assert mx2.status()["intake"] == {"stored": 0}


ODD_JAILS = """
[DEFAULT]
action = nothing
         banmesh[publish="%(publish)s", options="--socket %(socket)s --spool %(spool)s", port="%%(port)s", protocol="%%(protocol)s"]

[shared]
action = nothing
""" + "".join("""
[%s]
enabled = true
filter = sshd
backend = auto
logpath = %%(log)s
port = %s
protocol = %s
bantime = %s
""" % jail for jail in (
    ("my jail", "http, https", "tcp", "1d"), ("sshd:aggressive", "80 443", "tcp, udp", "9999y"),
    ("b\u00fcro/web", "smtp,465,submission,imap2,imap3,imaps,pop3,pop3s,http,https,socks", "all", "-1"),
    ("x" * 65, "0:65535", "TCP", "1mo"), ("-dash", "", "tcp", "1h")))


def test_jails_as_people_write_them_share_their_bans(tmp_path):
    """Names, ports, protocols and times that fail2ban takes; each cost the ban, in silence."""
    jails = ["my jail", "sshd:aggressive", "b\u00fcro/web", "x" * 65, "-dash"]
    addresses = public_addresses(len(jails), seed=51)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        log = os.path.join(mx1.dir, "a.log")
        open(log, "a", encoding="ascii").close()
        text = ODD_JAILS % {"publish": program("banmesh-publish"), "socket": mx1.socket,
                            "spool": mx1.spool, "log": log}
        with Fail2banServer(os.path.join(mx1.dir, "f2b"), text) as server:
            for jail, address in zip(jails, addresses):
                server.client("set", jail, "banip", address)
            mx2.wait_reported(addresses)
            assert "Error banning" not in server.log_text()
        assert mx1.status()["intake"] == {"stored": len(jails)}


def test_an_action_that_fail2ban_has_not_taken_yet_is_seen(tmp_path):
    """README's way, step by step: the action is added to a jail that runs, then fail2ban is told."""
    jails = """
[DEFAULT]
action = nothing

[shared]
action = nothing

[sshd]
enabled = true
backend = auto
logpath = %s
action = nothing
"""
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        log = os.path.join(mx1.dir, "auth.log")
        open(log, "a", encoding="ascii").close()

        def attention():
            return [line for line in mx1.status()["attention"] if "called the hook" in line]

        with Fail2banServer(os.path.join(mx1.dir, "f2b"), jails % log) as server:
            wait_until(attention, "the missing call to be seen")
            assert "reload --restart JAIL" in attention()[0]
            assert re.search("no jail of this host has called the hook since 20.*UTC",
                             mx1.status_text())
            jail_local = server.conf / "jail.local"
            jail_local.write_text(jails % log + "         " + publish_action(mx1) + "\n")

            def tell(*words):
                subprocess.run([*tool("client"), "-c", str(server.conf), *words], check=True,
                               stdout=subprocess.DEVNULL)
                server.wait_log("Jail 'sshd' reloaded" if len(words) == 1 else "Jail 'sshd' started")

            if version() < (1, 1, 0):
                tell("reload")
                server.client("set", "sshd", "banip", "80.94.95.112")
                server.wait_log("[sshd] Ban 80.94.95.112")
                assert attention(), "fail2ban 1.0 drops new actions of a jail that runs"
            tell("reload", "--restart", "sshd")
            # No ban yet: that the jail has the action is enough.
            wait_until(lambda: attention() == [], attention, 120)
            server.client("set", "sshd", "banip", "80.94.95.113")
            mx2.wait_reported(["80.94.95.113"])
            assert "80.94.95.112" not in mx2.reported(), "restored, and not shared"
            assert attention() == []
            assert re.search("the hook was last called (just now|[0-9]+ s ago), for the jail sshd",
                             mx1.status_text())
