"""banmesh import: what a real fail2ban had banned before its jails had our action."""

import json
import os
import pty
import subprocess
import time

from fail2ban_server import Fail2banServer
from mesh import Mesh, program, public_addresses, wait_until

MEMORY = 16 << 20  # bytes that the command and its helper may have each, for 100,000 bans
BEFORE = ["45.154.1.1", "45.154.1.2", "2a02:4780:11::7", "2a02:4780:12::/64"]

JAILS = """
[shared]
logpath = {shared}
action = nothing

[sshd]
enabled = true
backend = auto
logpath = {log}
bantime = 3600
action = {action}

[büro 1]
enabled = true
filter = sshd
backend = auto
logpath = {log}
bantime = -1
action = {action}

[postfix]
enabled = true
backend = auto
logpath = {log}
bantime = 3600
action = nothing

[recidive]
enabled = true
backend = auto
logpath = {directory}/fail2ban.log
bantime = 1w
maxretry = 1
action = {action}

[offenders]
enabled = true
filter = recidive
backend = auto
logpath = {directory}/fail2ban.log
bantime = 1w
maxretry = 100
action = {action}
"""


def fail2ban(node, with_action=True):
    directory = os.path.join(node.dir, "f2b")
    log = os.path.join(node.dir, "a.log")
    for path in (log, node.shared_log):
        open(path, "a", encoding="ascii").close()
    ours = ('nothing\n         banmesh[publish="%s", options="--socket %s --spool %s"]'
            % (program("banmesh-publish"), node.socket, node.spool))
    return Fail2banServer(directory, JAILS.format(
        shared=node.shared_log, log=log, directory=directory,
        action=ours if with_action else "nothing"))


def run(node, *arguments, status=0, prefix=()):
    done = subprocess.run([*prefix, program("banmesh"), "import", *arguments, "--config", node.conf],
                          capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def counts(node, *arguments, prefix=()):
    """{jail: what became of its bans}, of those that were imported."""
    answer = json.loads(run(node, *arguments, "--json", prefix=prefix))
    assert answer["whole"]
    return {part["jail"]: part for part in answer["jails"] if part["imported"]}


def running(node, jail=None):
    """{address: (origin, jail, begin, end)} of the bans that run."""
    said = subprocess.run([program("banmesh"), "bans", "--json", "--config", node.conf],
                          check=True, capture_output=True, text=True, timeout=100).stdout
    return {ban["address"]: ban for ban in json.loads(said)["bans"]
            if jail in (None, ban["jail"])}


def test_what_was_banned_before_is_announced_once_and_can_be_lifted(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(mx1, with_action=False) as server:
            server.client("set", "sshd", "banip", *BEFORE)
            server.client("set", "büro 1", "banip", "45.154.2.1")
            server.client("set", "postfix", "banip", "45.154.3.1")
            server.client("set", "shared", "banip", "45.154.4.1")
            server.client("set", "sshd", "banip", "10.0.0.1")
            server.wait_banned("sshd", [*BEFORE, "10.0.0.1"])
            server.wait_banned("recidive", ["45.154.3.1"])
        assert mx1.status()["intake"]["stored"] == 0
        with fail2ban(mx1) as server:
            server.wait_banned("sshd", [*BEFORE, "10.0.0.1"])
            dry = run(mx1, "--dry-run")
            assert "5 to hand in" in dry and mx1.status()["intake"]["stored"] == 0, dry
            said = run(mx1)
            assert "4 announced, 1 not for others" in said, said
            for left_out in ("shared", "recidive", "offenders", "postfix"):
                assert any(line.startswith(left_out) and "left out: " in line
                           for line in said.splitlines()), said
            mx2.wait_reported([*BEFORE, "45.154.2.1"])
            assert sorted(running(mx2)) == sorted([*BEFORE, "45.154.2.1"])
            # With the remaining time: it ends everywhere when it ends here.
            for address in BEFORE:
                ban = running(mx2)[address]
                assert ban["until"] == ban["time"] + 3600, ban
                assert ban["jail"] == "sshd" and ban["origin"] == "mx1"
            assert running(mx2)["45.154.2.1"]["duration"] == -1
            assert running(mx2)["45.154.2.1"]["jail"].startswith("b__ro_1-")
            # Again, and what the hook brings knows more than the second: all is known.
            server.client("set", "sshd", "banip", "45.154.1.9")
            mx2.wait_reported(["45.154.1.9"])
            for _ in range(2):
                part = counts(mx1)["sshd"]
                assert (part["announced"], part["known"], part["bans"]) == (0, 5, 6), part
            # After a restart fail2ban has rounded it.
            server.stop()
            server.start()
            server.wait_banned("sshd", [*BEFORE, "45.154.1.9"])
            part = counts(mx1)["sshd"]
            assert (part["announced"], part["known"]) == (0, 5), part
            # So does a node that was restarted.
            mx1.stop()
            mx1.start()
            part = counts(mx1)["sshd"]
            assert (part["announced"], part["known"]) == (0, 5), part
            # An unban of one that was imported finds it.
            mx1.wait_connected()
            server.client("set", "sshd", "unbanip", BEFORE[0])
            wait_until(lambda: running(mx2)[BEFORE[0]]["outcome"] == "pardoned",
                       lambda: "the unban: %s" % mx1.status()["intake"])
            assert mx1.status()["intake"].get("unknown-attempt", 0) == 0
            assert "postfix" not in counts(mx1)
            part = counts(mx1, "--all-jails")
            assert set(part) == {"sshd", "büro 1", "postfix"}
            assert part["postfix"]["announced"] == 1
            mx2.wait_reported(["45.154.3.1"])
            assert "45.154.4.1" not in running(mx2)


def test_an_unban_with_the_exact_time_finds_what_was_imported(tmp_path):
    """The action came to a jail that runs: fail2ban knows more than the second."""
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1, = mesh.nodes
        with fail2ban(mx1, with_action=False) as server:
            server.client("set", "sshd", "banip", *BEFORE)
            server.wait_banned("sshd", BEFORE)
            run(mx1, "--all-jails")
            assert set(running(mx1, "sshd")) == set(BEFORE)
            server.client("set", "sshd", "addaction", "banmesh")
            unban = ("%s --unban --jail sshd --ip <ip> --time <time> --bantime <bantime> "
                     "--socket %s --spool %s"
                     % (program("banmesh-publish"), mx1.socket, mx1.spool))
            for name, value in (("actionban", "touch %s/banned" % tmp_path), ("actionunban", unban)):
                server.client("set", "sshd", "action", "banmesh", name, value)
            # fail2ban asks no action to unban that has not banned anything yet.
            server.client("set", "sshd", "banip", "45.154.1.9")
            server.wait_banned("sshd", ["45.154.1.9"])
            wait_until((tmp_path / "banned").exists, "the action to ban")
            server.client("set", "sshd", "unbanip", BEFORE[0])
            wait_until(lambda: running(mx1)[BEFORE[0]]["outcome"] == "pardoned",
                       lambda: "the unban: %s" % mx1.status()["intake"])


def test_what_is_missing_is_said_at_once(tmp_path):
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1, = mesh.nodes
        assert "fail2ban.sock" in run(mx1, status=1)
        with fail2ban(mx1):
            mx1.stop()
            assert "is banmeshd running?" in run(mx1, status=1)
            assert "no jail" not in run(mx1, "--dry-run")
            assert "unknown option" in run(mx1, "--what", status=2)
            mx1.start()
            mx1.write_settings({"shared": {"fail2ban": ""}})
            assert "expected fail2ban's socket" in run(mx1, status=1)
    assert os.listdir(mx1.spool) == []


def on_a_terminal(node):
    """What the command writes to its standard error, if that is one."""
    master, slave = pty.openpty()
    with subprocess.Popen([program("banmesh"), "import", "--config", node.conf],
                          stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        text = b""
        while True:
            try:
                some = os.read(master, 65536)
            except OSError:
                break
            if not some:
                break
            text += some
        assert process.wait(500) == 0
    os.close(master)
    return text.decode()


def test_100_000_bans(tmp_path):
    addresses = public_addresses(100000, 9)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban(mx1, with_action=False) as server:
            for i in range(0, len(addresses), 10000):
                server.client("set", "postfix", "banip", *addresses[i:i + 10000])
            wait_until(lambda: len(server.client("get", "postfix", "banip")) == len(addresses),
                       "all of them", 500)
            begun = time.monotonic()
            part = counts(mx1, "--all-jails", prefix=["prlimit", "--data=%d" % MEMORY])["postfix"]
            assert (part["announced"], part["known"]) == (len(addresses), 0), part
            print("imported 100,000 in %.1f s" % (time.monotonic() - begun))
            wait_until(lambda: mx2.status()["running"] == len(addresses), "all of them on mx2", 300)
            part = counts(mx1, "--all-jails")["postfix"]
            assert (part["announced"], part["known"]) == (0, len(addresses)), part


def test_a_progress_bar_on_a_terminal(tmp_path):
    addresses = public_addresses(1200, 10)
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1, = mesh.nodes
        with fail2ban(mx1, with_action=False) as server:
            server.client("set", "sshd", "banip", *addresses)
            wait_until(lambda: len(server.banned("sshd")) == len(addresses), "all of them", 100)
        with fail2ban(mx1) as server:
            wait_until(lambda: len(server.banned("sshd")) == len(addresses), "all of them", 100)
            shown = on_a_terminal(mx1).split("\r")
            assert "0 of 1200 bans" in shown[1] and "." * 30 in shown[1], shown
            assert any("500 of 1200" in frame for frame in shown), shown
            assert "#" * 30 in "".join(shown) and "1200 of 1200 bans" in "".join(shown), shown
            assert len(running(mx1)) == 1200
