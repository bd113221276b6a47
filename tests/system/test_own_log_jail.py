"""The jail that watches fail2ban's own log: its filter on lines of several versions, and all of it
in a real fail2ban over a real mesh."""

import os
import subprocess

import pytest

from fail2ban_server import OURS, Fail2banServer, tool
from mesh import Mesh, program, public_addresses, wait_until

CASES = os.path.join(os.path.dirname(OURS.parent), "tests", "cases", "fail2ban_log.txt")
IPV4 = "45.154.244.193"
IPV6 = "2a02:4780:11:22::7"


def cases():
    """(expected, line): expected is "JAIL ADDRESS" or "-"."""
    with open(CASES, encoding="utf-8") as file:
        for text in file:
            if text.strip() and not text.startswith("#"):
                yield text.rstrip("\n").split(" | ", 1)


def test_only_lines_of_bans_are_taken_and_with_the_jail_that_banned(tmp_path):
    table = list(cases())
    log = tmp_path / "lines.log"
    log.write_text("".join(line + "\n" for _, line in table))
    run = subprocess.run(
        [*tool("regex"), "-c", str(OURS), "--usedns", "no", "-e", "utf-8", "-o",
         "<F-JAIL> <F-ADDRESS>|<matches>", str(log), "banmesh-fail2ban"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    assert run.stderr == ""
    found = {line: what for what, line in (row.split("|", 1) for row in run.stdout.splitlines())}
    assert found == {line: expected for expected, line in table if expected != "-"}


JAILS = """
[shared]
action = nothing

[sshd]
enabled = true
filter = sshd
backend = auto
logpath = {log}
bantime = 3600
action = nothing

[my jail:x]
enabled = true
filter = sshd
backend = auto
logpath = {log}
bantime = 3600
action = nothing

[banmesh-fail2ban]
enabled = true
logpath = {directory}/fail2ban.log
{publish_for}
{action}
"""

CONF = ('action = banmesh[actname=banmesh, name="<F-JAIL>", address="<F-ADDRESS>", '
        'duration="%(publish-for)s", unbans=no, publish="{program}", '
        'options="--socket {socket} --spool {spool}"]')
PYTHON = ('action = banmesh.py[name="<F-JAIL>", address="<F-ADDRESS>", '
          'duration="%(publish-for)s", unbans=no, socket="{socket}", spool="{spool}"]')


def fail2ban(tmp_path, node, action, publish_for="publish-for = 7200"):
    log = tmp_path / "a.log"
    log.touch()
    directory = tmp_path / "f2b"
    text = action.format(program=program("banmesh-publish"), socket=node.socket, spool=node.spool)
    return Fail2banServer(directory, JAILS.format(log=log, directory=directory, action=text,
                                                  publish_for=publish_for))


@pytest.mark.parametrize("action", [CONF, PYTHON], ids=["banmesh.conf", "banmesh.py"])
def test_all_jails_publish_and_none_has_our_action(tmp_path, action):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(tmp_path, mx1, action) as server:
            server.client("set", "shared", "banip", "80.94.95.1")
            server.client("set", "sshd", "banip", IPV4)
            server.client("set", "my jail:x", "banip", IPV6, "2a02:4780:12::/64")
            mx2.wait_reported([IPV4, IPV6, "2a02:4780:12::/64"])
            # The same address in another jail is not hidden by the first ticket.
            server.client("set", "my jail:x", "banip", IPV4)
            server.wait_log("[banmesh-fail2ban] Ban [my jail:x] Ban %s" % IPV4)
            # fail2ban's start restores them all: no news.
            server.stop()
            server.start()
            server.wait_log("Restore Ban %s" % IPV4)
            server.client("set", "sshd", "unbanip", IPV4)
            server.client("set", "sshd", "banip", "80.94.95.112")
            mx2.wait_reported(["80.94.95.112"])
        intake = mx1.status()["intake"]
        # fail2ban may read lines again after its start; with the same time they are no new bans.
        assert intake["stored"] == 5, intake
        assert intake.get("malformed", 0) in (0, {}), intake
        lines = mx2.lines()
        assert " in sshd for 7200 s until" in lines[0] and IPV4 in lines[0]
        assert any(IPV6 in line and " in my_jail_x-" in line for line in lines)
        assert not any("80.94.95.1:" in line for line in lines)


def test_without_a_ban_time_nothing_is_published_and_it_says_so(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    with mesh:
        with fail2ban(tmp_path, mesh.nodes[0], PYTHON, publish_for="") as server:
            server.client("set", "sshd", "banip", IPV4)
            server.wait_log('ban is malformed: bantime ""')
        assert mesh.nodes[0].status()["intake"]["stored"] == 0


def test_as_shipped_it_is_off(tmp_path):
    with Fail2banServer(tmp_path / "f2b", "[shared]\naction = nothing\n") as server:
        assert "banmesh-fail2ban" not in str(server.client("status"))


def test_many_bans_of_many_jails_all_arrive(tmp_path):
    addresses = public_addresses(100, seed=8)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(tmp_path, mx1, PYTHON) as server:
            server.client("set", "sshd", "banip", *addresses)
            mx2.wait_reported(addresses)


# ---- a jail of the operator's own over fail2ban's log ----

OFFENDERS = r"""
[Definition]
_jailname = offenders
failregex = fail2ban\.actions\s+\[\d+\]: NOTICE\s+\[(?!%(_jailname)s\])(?:.*)\]\s+Ban\s+<HOST>\s*$
datepattern = ^{DATE}
"""

WATCHED = """
[DEFAULT]
action = nothing
         banmesh[publish="{program}", options="--socket {socket} --spool {spool}"]

[shared]
logpath = {shared}
action = nothing

[sshd]
enabled = true
backend = auto
logpath = {log}
bantime = 600

[{watcher}]
enabled = true
backend = auto
filter = offenders
logpath = {directory}/link.log
maxretry = 1
bantime = 30d

[both]
enabled = true
backend = auto
filter = sshd
logpath = {log}
          {directory}/fail2ban.log
bantime = 600
"""


def watched(node, watcher):
    """The fail2ban of a node, with a jail that watches its log, through a link."""
    directory = os.path.join(node.dir, "f2b")
    log = os.path.join(node.dir, "a.log")
    for path in (log, node.shared_log):
        open(path, "a", encoding="ascii").close()
    os.makedirs(directory)
    os.symlink(os.path.join(directory, "fail2ban.log"), os.path.join(directory, "link.log"))
    jails = WATCHED.format(program=program("banmesh-publish"), socket=node.socket,
                           spool=node.spool, shared=node.shared_log, log=log, watcher=watcher,
                           directory=directory)
    return Fail2banServer(directory, jails, {"filter.d/offenders.conf": OFFENDERS})


def wait_asked(server, node):
    """Until the node knows the jails of its fail2ban."""
    wait_until(lambda: node.status()["fail2ban_jails"]["count"] == len(WATCHED.split("enabled = true")),
               lambda: "the node to know the jails\n" + server.log_text()[-1000:])


@pytest.mark.parametrize("watcher", ["offenders", "my offenders"])
def test_a_watching_jail_does_not_announce_what_the_mesh_holds(tmp_path, watcher):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with watched(mx1, watcher) as one, watched(mx2, watcher) as two:
            wait_asked(one, mx1)
            wait_asked(two, mx2)
            one.client("set", "sshd", "banip", IPV4)
            for server in (one, two):
                server.wait_banned(watcher, [IPV4])
            # It banned on both; the offence was one against mx1, and only mx1 says so.
            wait_until(lambda: mx2.status()["intake"].get("echo") == 1, "the echo on mx2")
            assert mx2.status()["intake"]["stored"] == 0
            said = subprocess.run([program("banmesh"), "why", IPV4, "--config", mx2.conf],
                                  check=True, capture_output=True, text=True, timeout=100).stdout
            assert "this host's jail %s at" % watcher in said and "not announced" in said, said
            wait_until(lambda: mx1.status()["intake"]["stored"] == 2, "both bans of mx1")
            assert "echo" not in mx1.status()["intake"]
            assert mx1.lines() == []
            # No other jail is held back, whatever the mesh holds; nor one that reads more.
            two.client("set", "sshd", "banip", IPV4)
            two.client("set", "both", "banip", IPV4)
            wait_until(lambda: mx2.status()["intake"]["stored"] == 2, mx2.status)
            # What the mesh does not hold, the watcher announces.
            two.client("set", watcher, "banip", "80.94.95.112")
            mx1.wait_reported(["80.94.95.112"])


def test_recidive_is_never_held_back_nor_without_a_helper_any(tmp_path):
    settings = {"helper": {"socket": str(tmp_path / "nobody.sock")},
                "shared": {"fail2ban": str(tmp_path / "nowhere.sock")}}
    with Mesh(tmp_path, ["mx1", "mx2"], extra=settings) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish(IPV4)
        mx1.publish("2a02:4780:11:22::/64")
        mx2.wait_reported([IPV4, "2a02:4780:11:22::/64"])
        mx2.publish(IPV4, jail="recidive")
        mx2.publish("2a02:4780:11:22::7", jail="recidive")
        mx2.publish("80.94.95.112", jail="recidive")
        mx2.publish(IPV4, jail="offenders")
        intake = mx2.status()["intake"]
        assert ("echo" not in intake, intake["stored"]) == (True, 4), intake
