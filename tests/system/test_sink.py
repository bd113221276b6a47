"""The end of the way: at what pace lines reach the shared log, and each of them once."""

import datetime
import os
import random
import re
import signal
import subprocess
import time

from effort import new_seed, rounds
from mesh import Mesh, public_addresses, wait_until

LINE = re.compile(r"^(\S+): (\S+): reported by \S+ in \S+ for (\d+) s until (\d+) nid (\d+)$")
DAY_S = 86400


def parsed(node):
    """(stamp, address, second at which the ban began) of each line."""
    rows = []
    for line in node.lines():
        stamp, address, duration, until = LINE.match(line).groups()[:4]
        stamp = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
        rows.append((stamp, address, int(until) - int(duration)))
    return rows


def old_bans(addresses, generator, oldest_s=7200):
    """A ban of a day for each, begun at whole seconds between then and half of that ago."""
    now = int(time.time())
    return [(address, "sshd", now - generator.randrange(oldest_s // 2, oldest_s), DAY_S)
            for address in addresses]


def reload(node, **shared):
    node.write_settings({"shared": shared})
    node.process.process.send_signal(signal.SIGHUP)


def paced(pace, names=("mx1", "mx2")):
    return {"extra": {"shared": {"pace": pace}}, "names": list(names)}


# --- the pace ------------------------------------------------------------------------------------

def test_a_backlog_goes_to_the_log_newest_first_at_the_pace_and_over_a_restart(tmp_path):
    seed = new_seed()
    pace = rounds(200, 1000)
    addresses = public_addresses(rounds(2500, 20000), seed)
    with Mesh(tmp_path, **paced(pace)) as mesh:
        mx1, mx2 = mesh.nodes
        mx2.stop()
        mx1.stream(old_bans(addresses, random.Random(seed)))
        mx2.start()
        wait_until(lambda: mx2.status()["outcomes"].get("paced") == len(addresses), "the backlog")
        mx2.stop()
        before = len(mx2.lines())
        assert 0 < before < len(addresses)
        mx2.start()
        mx2.wait_reported(addresses)
        rows = parsed(mx2)
        assert sorted(address for _, address, _ in rows) == addresses, "each once"
        began = [start for _, _, start in rows[before:]]
        assert began == sorted(began, reverse=True), "newest first, all of them having been there"
        # Half of the burst at once, then the rate; a slow machine writes fewer.
        first = rows[before][0]
        for count, (stamp, _, _) in enumerate(rows[before:]):
            assert count <= pace * 5 + pace * (stamp - first) + pace
        status = mx2.status()
        assert status["backlog"] == 0
        assert status["held"] == len(addresses)


def test_a_live_ban_does_not_wait_behind_a_backlog(tmp_path):
    seed = new_seed()
    addresses = public_addresses(330, seed)
    old, live = addresses[:300], addresses[300:]
    with Mesh(tmp_path, **paced(4)) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.stream(old_bans(old, random.Random(seed)))
        wait_until(lambda: mx2.status()["outcomes"].get("paced") == 300, "the backlog")
        for address in live[:10]:
            mx1.publish(address)
            mx2.wait_reported([address])
        assert mx2.status()["backlog"] > 200, "all of them before it"
        assert mx2.status()["outcomes"]["paced"] == 300, "none of them through it"
        # A flood of live ones waits, too, when it is more than fail2ban keeps.
        mx1.stream([(address, "sshd", time.time()) for address in live[10:]])
        wait_until(lambda: mx2.status()["outcomes"]["paced"] > 300, "the flood to wait")
        reload(mx2, pace=0)
        mx2.wait_reported(addresses)
        assert sorted(mx2.reported()) == sorted(addresses), "each once"
        assert mx2.status()["backlog"] == 0


def test_an_address_is_held_when_its_line_is_written_not_before(tmp_path):
    seed = new_seed()
    addresses = public_addresses(40, seed)
    with Mesh(tmp_path, **paced(1)) as mesh:
        mx1, mx2 = mesh.nodes
        bans = old_bans(addresses, random.Random(seed))
        oldest = min(bans, key=lambda ban: ban[2])[0]
        mx1.stream(bans)
        wait_until(lambda: mx2.status()["outcomes"].get("paced") == 40, "the backlog")
        assert mx2.status()["held"] < 20
        mx1.publish(oldest, jail="postfix")  # held by nobody yet: written at once
        mx2.wait_reported([oldest])
        written, = [line for line in mx2.lines() if oldest in line]
        assert " in sshd " in written, "its longest ban"
        assert mx2.status()["backlog"] > 0
        reload(mx2, pace=0)
        mx2.wait_reported(addresses)
        wait_until(lambda: mx2.status()["backlog"] == 0, "the backlog to be done")
        assert sorted(mx2.reported()) == addresses, "each once"


def test_bans_that_end_while_they_wait_for_the_pace_are_counted_as_expired(tmp_path):
    addresses = public_addresses(40, new_seed())
    with Mesh(tmp_path, **paced(1)) as mesh:
        mx1, mx2 = mesh.nodes
        now = time.time()
        mx1.stream([(address, "sshd", now - 600, 604) for address in addresses])
        wait_until(lambda: mx2.status()["outcomes"].get("expired"), "bans to end")
        wait_until(lambda: mx2.status()["backlog"] == 0, "the backlog to be done")
        outcomes = mx2.status()["outcomes"]
        assert outcomes["paced"] + outcomes.get("expired", 0) >= 40
        assert outcomes["applied"] + outcomes["expired"] == 40
        assert outcomes["applied"] == len(mx2.reported()) == len(set(mx2.reported()))


# --- each line once ------------------------------------------------------------------------------

class Strace:
    """Looks at what a daemon does with one file, and meddles with it as `injections` say."""

    def __init__(self, node, path, *injections):
        self.node = node
        self.trace = os.path.join(node.dir, "strace")
        calls = ",".join(injection.split(":")[0] for injection in injections)
        with open(self.trace, "wb") as out:
            self.strace = subprocess.Popen(
                ["strace", "-p", str(node.process.pid), "-P", path, "-e", "trace=" + calls] +
                ["-einject=" + injection for injection in injections], stderr=out)
        wait_until(lambda: "attached" in self.said(), self.said)

    def said(self):
        with open(self.trace, encoding="utf-8", errors="replace") as text:
            return text.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.strace.terminate()  # it lets go
        self.strace.wait()


class KillAt(Strace):
    """Kills a node's daemon (signal 9) when it enters a system call on a file for the n-th time."""

    def __init__(self, node, call, path, count):
        super().__init__(node, path, "%s:signal=KILL:when=%d" % (call, count))

    def wait(self):
        """Until the daemon is dead; it may be started again."""
        wait_until(lambda: not self.node.process.running(), self.said)
        self.node.stop(signal.SIGKILL)
        self.strace.wait()


def kill_often(mesh, addresses, hand_in, generator, rounds_count):
    """Kill mx2 while it takes in the addresses, a share of them in each round; returns how often a
    line stood without its rows."""
    mx1, mx2 = mesh.nodes
    state = os.path.join(mx2.dir, "state", "peers.db-wal")
    share = len(addresses) // rounds_count
    for i in range(rounds_count):
        call, path = [("fdatasync", mx2.shared_log), ("pwrite64", state)][i % 2]
        killer = KillAt(mx2, call, path, generator.randrange(1, 6))
        hand_in(mx1, addresses[i * share:(i + 1) * share])
        killer.wait()
        mx2.start()
        mx2.wait_connected(["mx1"])
    return mx2.output().count("stand in ")


def test_killed_between_the_log_and_the_state_no_line_stands_twice(tmp_path):
    seed = new_seed()
    generator = random.Random(seed)
    count = rounds(6, 60)
    addresses = public_addresses(count * 20, seed)

    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx2 = mesh.nodes[1]

        def one_by_one(node, some):
            for address in some:
                node.publish(address)
                wait_until(lambda: address in mx2.reported() or not mx2.process.running(),
                           "a line, or the end")

        assert kill_often(mesh, addresses, one_by_one, generator, count) >= count // 2
        mx2.wait_reported(addresses)
        wait_until(lambda: mx2.status()["held"] == len(addresses), "the rows")
        assert sorted(mx2.reported()) == addresses


def test_killed_in_the_middle_of_a_backlog_no_line_is_missing_or_stands_twice(tmp_path):
    seed = new_seed()
    generator = random.Random(seed)
    count = rounds(6, 60)
    addresses = public_addresses(count * 130, seed)  # half a burst, and some
    with Mesh(tmp_path, **paced(20)) as mesh:
        mx2 = mesh.nodes[1]
        old = lambda node, some: node.stream(old_bans(some, generator))
        assert kill_often(mesh, addresses, old, generator, count) >= 1
        reload(mx2, pace=0)
        mx2.wait_reported(addresses)
        wait_until(lambda: mx2.status()["held"] == len(addresses), "the rows")
        assert sorted(mx2.reported()) == addresses
        assert mx2.status()["backlog"] == 0


def test_after_such_a_kill_the_line_comes_again_when_the_jail_lets_go(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra={"shared": {"bantime": 3}}) as mesh:
        mx1, mx2 = mesh.nodes
        killer = KillAt(mx2, "fdatasync", mx2.shared_log, 1)
        mx1.publish("80.94.95.112", bantime=3600)
        killer.wait()
        mx2.start()
        wait_until(lambda: len(mx2.reported()) == 2, "the line again")
        stamps = [row[0] for row in parsed(mx2)]
        assert "1 lines stand in" in mx2.output()
        assert all(later - sooner >= 3 for sooner, later in zip(stamps, stamps[1:]))
