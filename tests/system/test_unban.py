"""An unban at the origin: fail2ban-client set JAIL unbanip makes a pardon that names that one ban, and
nothing else does."""

import json
import os
import pwd
import signal
import socket
import subprocess
import time
import zlib

import pytest

from fail2ban_server import Fail2banServer
from mesh import Client, Mesh, program, public_addresses, spool_record, wait_until
from model import fields, read_envelopes

IPV4 = "80.94.95.112"
IPV6 = "2a02:4780:10::7"

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
bantime = {bantime}
action = nothing
         {publish}

[recidive]
enabled = true
backend = auto
logpath = {auth}
bantime = 7200
action = nothing
         {publish}
"""


def fail2ban_of(node, bantime=3600, more=""):
    auth = os.path.join(node.dir, "auth.log")
    for path in (auth, node.shared_log):
        open(path, "a", encoding="ascii").close()
    publish = 'banmesh[publish="%s", options="--socket %s --spool %s"%s]' % (
        program("banmesh-publish"), node.socket, node.spool, more)
    return Fail2banServer(os.path.join(node.dir, "f2b"), JAILS.format(
        log=node.shared_log, auth=auth, bantime=bantime, publish=publish))


def events(node):
    """All events that a node holds: {(epoch, seq, index): (kind, fields)}; kind 1 a ban, 2 a pardon."""
    found = {}
    for place, [envelope] in read_envelopes(os.path.join(node.dir, "state")).items():
        batch = [content for number, content in fields(envelope[40:-64]) if number == 4]
        for index, event in enumerate(batch):
            kind, content = next(field for field in fields(event) if field[0] in (1, 2, 3))
            found[place.epoch, place.seq, index] = kind, list(fields(content))
    return found


def value(content, number, default=0):
    return dict(content).get(number, default)


def bans(node):
    """{(jail, address): place}"""
    return {(value(content, 2).decode(), dict(fields(value(content, 1)))[1]): place
            for place, (kind, content) in events(node).items() if kind == 1}


def pardons(node):
    """Of each pardon the places that it names, its time and reason."""
    return [([tuple(value(list(fields(place)), number) for number in (1, 3, 4))
              for number, place in content if number == 5], value(content, 2), value(content, 4))
            for kind, content in events(node).values() if kind == 2]


def wait_pardons(node, count):
    wait_until(lambda: len(pardons(node)) >= count, "%d pardons at %s" % (count, node.name))
    assert len(pardons(node)) == count
    return pardons(node)


def intake(node, word):
    return node.status()["intake"].get(word, 0)


def wait_intake(node, word, count):
    wait_until(lambda: intake(node, word) >= count,
               lambda: "%d %s: %s" % (count, word, node.status()["intake"]))
    assert intake(node, word) == count


def reports(node, address):
    said = subprocess.run([program("banmesh"), "why", address, "--config", node.conf, "--json"],
                          stdout=subprocess.PIPE, check=False).stdout
    return json.loads(said)["reports"]


def outcomes(node, address):
    """{jail: what a node says of the ban}"""
    return {report["jail"]: report["outcome"] for report in reports(node, address)}


def lifted_at(node, address):
    """When each ban of it was lifted that was, as a node says."""
    return [report["lifted"]["time"] for report in reports(node, address) if "lifted" in report]


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@pytest.fixture
def mesh(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as started:
        yield started


def test_an_unban_reaches_peers_as_a_pardon_of_that_one_ban(mesh):
    mx1, mx2 = mesh.nodes
    with fail2ban_of(mx1) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4, IPV6)
        fail2ban.client("set", "recidive", "banip", IPV4)
        wait_intake(mx1, "stored", 3)
        before_ms = time.time() * 1000
        fail2ban.client("set", "sshd", "unbanip", IPV4)
        [(named, time_ms, reason)] = wait_pardons(mx2, 1)
        assert named == [bans(mx2)["sshd", packed(IPV4)]]
        assert before_ms - 1 <= time_ms <= time.time() * 1000
        assert reason == b"unban"
        assert intake(mx1, "lifted") == 1
        for node in mesh.nodes:
            wait_until(lambda: outcomes(node, IPV4)["sshd"] == "pardoned", "the pardon to count")
            assert outcomes(node, IPV4)["recidive"] != "pardoned"
        # the same address again is another attempt
        fail2ban.client("set", "sshd", "banip", IPV4)
        wait_intake(mx1, "stored", 4)
        assert pardons(mx1) == pardons(mx2)


def test_an_unban_lifts_the_ban_in_fail2ban_of_others(mesh):
    mx1, mx2 = mesh.nodes
    with fail2ban_of(mx1) as one, fail2ban_of(mx2) as two:
        one.client("set", "sshd", "banip", IPV4, IPV6)
        two.wait_banned("shared", [IPV4, IPV6])
        begun = time.monotonic()
        one.client("set", "sshd", "unbanip", IPV4)
        wait_until(lambda: two.banned("shared") == [IPV6], "mx2 to let go of it")
        print("lifted there after %.2f s" % (time.monotonic() - begun))
        # nothing of it came back as an unban of mx2
        assert mx2.status()["intake"] == {"stored": 0}
        one.client("set", "sshd", "banip", IPV4)
        two.wait_banned("shared", [IPV4, IPV6])


def test_the_end_of_a_ban_is_no_unban(mesh):
    mx1, _ = mesh.nodes
    with fail2ban_of(mx1, bantime=1) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4, IPV6)
        for address in (IPV4, IPV6):
            fail2ban.wait_log("[sshd] Unban %s" % address)
        fail2ban.client("set", "recidive", "banip", IPV4)
        fail2ban.client("set", "recidive", "unbanip", IPV4)
        [(named, _, _)] = wait_pardons(mx1, 1)
        assert named == [bans(mx1)["recidive", packed(IPV4)]]
    assert intake(mx1, "unknown-attempt") == 0


def test_stop_reload_and_unban_of_all_are_no_unbans(mesh):
    mx1, _ = mesh.nodes
    with fail2ban_of(mx1) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4)
        wait_intake(mx1, "stored", 1)
    with fail2ban:
        fail2ban.wait_banned("sshd", [IPV4])
        fail2ban.client("unban", "--all")
        fail2ban.client("set", "sshd", "banip", IPV6)
        wait_intake(mx1, "stored", 2)
    assert mx1.status()["intake"] == {"stored": 2}
    assert pardons(mx1) == []


def test_a_ban_that_fail2ban_restored_is_lifted_by_its_second(mesh):
    mx1, mx2 = mesh.nodes
    with fail2ban_of(mx1) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4)
        wait_intake(mx1, "stored", 1)
    mx1.stop(signal.SIGKILL)
    mx1.start()
    with fail2ban:
        fail2ban.wait_banned("sshd", [IPV4])
        fail2ban.client("set", "sshd", "banip", IPV6)
        wait_intake(mx1, "stored", 1)
        fail2ban.client("set", "sshd", "unbanip", IPV4)
        [(named, _, _)] = wait_pardons(mx2, 1)
        assert named == [bans(mx2)["sshd", packed(IPV4)]]


def test_a_jail_whose_unbans_are_its_own(mesh):
    mx1, _ = mesh.nodes
    with fail2ban_of(mx1, more=", unbans=no") as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4)
        fail2ban.client("set", "sshd", "unbanip", IPV4)
        fail2ban.client("set", "sshd", "banip", IPV6)
        wait_intake(mx1, "stored", 2)
        assert "ERROR" not in fail2ban.log_text()
    assert mx1.status()["intake"] == {"stored": 2}


def test_what_was_lifted_while_the_node_was_down_is_announced_later(mesh):
    """The ban, too: both stand in the spool, in this order."""
    mx1, mx2 = mesh.nodes
    with fail2ban_of(mx1) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV6)
        wait_intake(mx1, "stored", 1)
        mx1.stop()
        before_ms = time.time() * 1000
        fail2ban.client("set", "sshd", "banip", IPV4)
        spool = os.path.join(mx1.spool, "spool")
        wait_until(lambda: os.path.exists(spool), "the ban in the spool")
        fail2ban.client("set", "sshd", "unbanip", IPV4, IPV6)
        wait_until(lambda: len(open(spool, "rb").readlines()) == 3, "all of it in the spool")
        after_ms = time.time() * 1000
        mx1.start()
        found = wait_pardons(mx2, 2)
    known = bans(mx2)
    assert sorted(named for named, _, _ in found) == sorted(
        [known["sshd", packed(address)]] for address in (IPV4, IPV6))
    for _, time_ms, _ in found:
        assert before_ms - 1 <= time_ms <= after_ms
    assert mx1.status()["intake"] == {"stored": 1, "lifted": 2, "from-spool": 3}


def spooled_unban(address, when, at):
    request = b"unban jail=sshd ip=%s time=%d bantime=3600 at=%d" % (address.encode(), when, at)
    return request + b" crc=%08x\n" % zlib.crc32(request)


def test_the_origin_says_the_same_time_of_an_unban_as_its_peers(mesh):
    """Not when the node took it in from the spool."""
    mx1, mx2 = mesh.nodes
    now = int(time.time())
    mx1.stop()
    with open(os.path.join(mx1.spool, "spool"), "wb") as spool:
        spool.write(spool_record(IPV4, now - 1800))
        spool.write(spooled_unban(IPV4, now - 1800, now - 900))
    mx1.start()
    for node in mesh.nodes:
        wait_until(lambda: lifted_at(node, IPV4), "the pardon to count")
        assert lifted_at(node, IPV4) == [now - 900]
    mx1.stop()
    mx1.start()
    wait_until(lambda: lifted_at(mx1, IPV4), "the index of the restarted node")
    assert lifted_at(mx1, IPV4) == [now - 900]


def ask(node, *requests):
    with Client(node.socket) as client:
        client.send(*requests)
        return [client.answer() for _ in requests]


def test_the_answers_of_unbans(mesh):
    mx1, _ = mesh.nodes
    now = time.time()
    ban = "ban jail=sshd ip=%s time=%.3f bantime=%d"
    unban = "unban jail=sshd ip=%s time=%.3f at=%.3f"
    answers = ask(mx1, ban % (IPV4, now, 600), unban % (IPV4, now, now), unban % (IPV4, now, now),
                  ban % (IPV4, now, 600), ban % (IPV4, now, 9999), unban % (IPV6, now, now),
                  "unban jail=sshd ip=%s" % IPV4, unban % ("10.0.0.7", now, now),
                  ban % (IPV4, now + 1, 600))
    nid = answers[0].split()[1]
    assert answers[:5] == ["ok %s new" % nid, "ok %s lifted" % nid] + ["ok %s repeated" % nid] * 3
    assert answers[5] == "skipped no ban of %s in sshd from that time was announced" % IPV6
    assert answers[6] == "malformed time is missing"
    assert answers[7].startswith("skipped 10.0.0.7 is special")
    assert answers[8].endswith("new")
    assert mx1.status()["intake"] == {"stored": 2, "lifted": 1, "repeated": 3, "malformed": 1,
                                      "unknown-attempt": 1, "special-address": 1}
    mx1.stop(signal.SIGKILL)
    mx1.start()
    assert ask(mx1, ban % (IPV4, now, 9999), unban % (IPV4, now, now)) == ["ok %s repeated" % nid] * 2


def test_the_hook_says_how_an_unban_went(mesh):
    mx1, _ = mesh.nodes
    now = time.time()
    mx1.publish(IPV4, time=now)

    def unban(*options):
        return subprocess.run(
            [program("banmesh-publish"), "--socket", mx1.socket, "--spool", mx1.spool, *options,
             "--jail", "sshd", "--ip", IPV4], stderr=subprocess.PIPE, text=True, check=False)

    for options in (["--unban", "--time", str(now - 10), "--bantime", "9"],  # has ended
                    ["--unban=no", "--time", str(now), "--bantime", "600"]):
        assert unban(*options).returncode == 0
    assert mx1.status()["intake"] == {"stored": 1}
    done = unban("--unban")
    assert (done.returncode, done.stderr) == (2, "banmesh-publish: error: time is missing\n")
    done = unban("--unban=perhaps", "--time", str(now))
    assert done.returncode == 2 and '"perhaps"' in done.stderr
    assert unban("--unban", "--time", str(now), "--bantime", "-1").returncode == 0
    assert intake(mx1, "lifted") == 1
    assert unban("--unban", "--time", str(now - 99)).returncode == 0
    assert intake(mx1, "unknown-attempt") == 1


def test_an_unban_does_not_overtake_its_ban_in_the_spool(mesh):
    """The node takes the spool in while it runs; the hook of the unban may come before that."""
    mx1, _ = mesh.nodes
    now = time.time()
    mx1.stop()
    with open(os.path.join(mx1.spool, "spool"), "wb") as spool:
        spool.writelines(spool_record(address, now) for address in public_addresses(20000, 9))
        spool.write(spool_record(IPV4, now))
    mx1.start()
    subprocess.run([program("banmesh-publish"), "--unban", "--socket", mx1.socket, "--spool",
                    mx1.spool, "--jail", "sshd", "--ip", IPV4, "--time", "%.3f" % now], check=True)
    wait_intake(mx1, "lifted", 1)
    assert intake(mx1, "unknown-attempt") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_who_may_hand_in_bans_may_not_lift_them(tmp_path):
    nobody = pwd.getpwnam("nobody")
    with Mesh(tmp_path, ["mx1"], extra={"publish": {"users": "root nobody"}}) as mesh:
        [mx1] = mesh.nodes
        now = time.time()
        for path in (mx1.dir, tmp_path, *tmp_path.parents[:-2]):
            os.chmod(path, os.stat(path).st_mode | 0o111)
        hook = [program("banmesh-publish"), "--socket", mx1.socket, "--spool", mx1.spool, "--jail",
                "sshd", "--ip", IPV4, "--time", str(now)]
        copied = os.path.join(mx1.dir, "hook")  # the build may not be anybody's to run
        with open(hook[0], "rb") as source, open(copied, "wb") as target:
            target.write(source.read())
        os.chmod(copied, 0o755)
        hook[0] = copied

        def as_nobody(*more):
            return subprocess.run([*hook, *more], user=nobody.pw_uid, group=nobody.pw_gid,
                                  extra_groups=[], stderr=subprocess.PIPE, text=True, check=False)

        assert as_nobody().returncode == 0
        done = as_nobody("--unban")
        assert done.returncode == 1
        assert "user %d may not lift bans" % nobody.pw_uid in done.stderr
        assert mx1.status()["intake"] == {"stored": 1, "foreign-unban": 1}
        assert not os.listdir(mx1.spool)
        assert subprocess.run([*hook, "--unban"], check=True).returncode == 0
        assert intake(mx1, "lifted") == 1


def sharing(node, port_jails=("sshd", "recidive")):
    """fail2ban with local jails that publish, and the shared one."""
    jails = """
[DEFAULT]
action = nothing
         banmesh[publish="%s", options="--socket %s --spool %s"]
[shared]
logpath = %s
action = nothing
""" % (program("banmesh-publish"), node.socket, node.spool, node.shared_log)
    open(node.shared_log, "a", encoding="ascii").close()
    log = os.path.join(node.dir, "a.log")
    open(log, "a", encoding="ascii").close()
    for jail in port_jails:
        jails += ("[%s]\nenabled = true\nbackend = auto\nfilter = sshd\nlogpath = %s\n"
                  "bantime = 1d\n" % (jail, log))
    return Fail2banServer(os.path.join(node.dir, "f2b"), jails)


def test_an_unban_at_the_origin_lifts_that_ban_on_all_and_no_other(tmp_path):
    """Three nodes with fail2ban; one of them is away when it is lifted."""
    other = "80.94.95.113"
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        with sharing(mx1) as one, sharing(mx2) as two, sharing(mx3) as three:
            one.client("set", "sshd", "banip", IPV4, other)
            two.client("set", "sshd", "banip", other)
            for server in (two, three):
                server.wait_banned("shared", [IPV4, other])
            three.stop()
            mx3.stop()
            one.client("set", "sshd", "unbanip", IPV4)
            begun = time.monotonic()
            wait_until(lambda: IPV4 not in two.banned("shared"), two.log_text)
            print("lifted on mx2 after %.2f s" % (time.monotonic() - begun))
            one.client("set", "sshd", "unbanip", other)
            wait_until(lambda: other not in two.banned("shared"), two.log_text)
            mx3.start()
            three.start()
            # mx2 upholds the other one.
            wait_until(lambda: three.banned("shared") == [other], three.log_text)
            assert two.banned("sshd") == [other]
            # recidive's ban of the address is another one.
            one.client("set", "sshd", "banip", IPV4)
            one.client("set", "recidive", "banip", IPV4)
            for server in (two, three):
                server.wait_banned("shared", [IPV4])
            one.client("set", "sshd", "unbanip", IPV4)
            wait_until(lambda: mx3.status()["outcomes"].get("grace", 0) >= 3, "the third pardon")
            assert IPV4 in three.banned("shared") and IPV4 in two.banned("shared")
