"""One node's clock jumps by a day, forward or back, among nodes with a right clock."""

import glob
import os
import time

import pytest

from mesh import Mesh, public_addresses, wait_until
from test_sink import parsed

DAY_S = 86400
LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")


class Clock:
    """The wall clock of one daemon; its monotonic clock and its files' times stay as they are."""

    def __init__(self, node):
        self.file = os.path.join(node.dir, "clock")
        self.offset_s = 0
        self.jump(0)
        node.env = {"LD_PRELOAD": LIBRARY[0], "FAKETIME_TIMESTAMP_FILE": self.file,
                    "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                    "NO_FAKE_STAT": "1", "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def jump(self, offset_s):
        """To so many seconds from the right time."""
        with open(self.file + ".new", "w", encoding="ascii") as out:
            out.write("%+d\n" % offset_s)
        os.rename(self.file + ".new", self.file)
        self.offset_s = offset_s

    def now(self):
        return time.time() + self.offset_s


def wait_heartbeat(node, peer):
    """Until one has come from a peer that was not sent before this call."""
    begun = time.monotonic() + 0.1  # loopback is quicker

    def heard_at():
        asked = time.monotonic()
        return asked - node.peers()[peer]["heard_ms_ago"] / 1000

    wait_until(lambda: heard_at() > begun, "a heartbeat of " + peer)


class Scene:
    """mx1 and mx2 have a right clock, mx3 has one that jumps; whom which of them banned."""

    def __init__(self, tmp_path, **options):
        self.mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"], **options)
        self.mx1, self.mx2, self.mx3 = self.mesh.nodes
        self.clock = Clock(self.mx3)
        self.fresh = iter(public_addresses(200, 5))
        self.banned = []  # by mx3

    def __enter__(self):
        self.mesh.__enter__()
        return self

    def __exit__(self, *exception):
        self.mesh.__exit__(*exception)

    def ban(self, node, bantime=3600):
        """Ban an address as that node's fail2ban would, by its clock, and return it."""
        address = next(self.fresh)
        when = self.clock.now() if node is self.mx3 else time.time()
        node.publish(address, time="%.3f" % when, bantime=bantime)
        if node is self.mx3:
            self.banned.append(address)
        return address

    def ban_everywhere(self, node, bantime=3600):
        address = self.ban(node, bantime)
        for other in self.mesh.nodes:
            if other is not node:
                other.wait_reported([address])
        return address

    def restart(self):
        self.mx3.stop()
        self.mx3.start()
        self.mx3.wait_connected(["mx1", "mx2"])

    def check_right_nodes(self):
        """Each of mx3's bans stands once in the logs of the others, and is held there."""
        for node in (self.mx1, self.mx2):
            reported = [address for address in node.reported() if address in self.banned]
            assert sorted(reported) == sorted(self.banned), "not each once on " + node.name


def test_the_clock_that_tests_set_is_the_daemons(tmp_path):
    with Scene(tmp_path) as scene:
        scene.clock.jump(DAY_S)
        scene.ban(scene.mx1, bantime=2 * DAY_S)
        wait_until(lambda: scene.mx3.lines(), "a line")
        stamp = parsed(scene.mx3)[0][0]
        assert abs(stamp - time.time() - DAY_S) < 3600


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S], ids=["forward", "back"])
def test_while_one_clock_jumps_and_returns_others_hold_what_they_held(tmp_path, jump_s):
    with Scene(tmp_path) as scene:
        for node in scene.mesh.nodes:
            scene.ban_everywhere(node)
        held = [node.status()["held"] for node in (scene.mx1, scene.mx2)]
        scene.clock.jump(jump_s)
        # Its bans last for two days: one that is a day behind says of a short ban that it is over.
        scene.ban_everywhere(scene.mx3, 2 * DAY_S)
        scene.ban_everywhere(scene.mx1, 2 * DAY_S)
        scene.clock.jump(0)
        scene.mx3.wait_connected(["mx1", "mx2"])
        for node in (scene.mx1, scene.mx2):
            node.wait_connected(["mx3"])
        for node in scene.mesh.nodes:
            scene.ban_everywhere(node)
        scene.check_right_nodes()
        assert [node.status()["held"] for node in (scene.mx1, scene.mx2)] == [
            held[0] + 3, held[1] + 4]
        # The one whose clock jumped wrote nothing twice, either.
        assert len(scene.mx3.reported()) == len(set(scene.mx3.reported())) == 5


def test_a_ban_from_the_future_begins_now_and_is_counted_and_shown(tmp_path):
    with Scene(tmp_path) as scene:
        scene.clock.jump(DAY_S)
        before = time.time()
        scene.ban_everywhere(scene.mx3, bantime=7200)
        for node in (scene.mx1, scene.mx2):
            stamp, _, began = parsed(node)[0]
            assert before - 2 <= began <= stamp + 1, "not a day later"
            status = node.status()
            assert status["outcomes"]["from-the-future"] == 1
            assert list(status["clocks_ahead"]) == ["mx3"]
            assert abs(status["clocks_ahead"]["mx3"] - DAY_S) < 3600
        scene.clock.jump(0)
        scene.ban_everywhere(scene.mx3)
        assert scene.mx1.status()["clocks_ahead"] == {}, "agreed again"


def test_epochs_never_collide_though_the_clock_jumps_between_starts(tmp_path):
    with Scene(tmp_path) as scene:
        for jump_s in (0, DAY_S, 0, -DAY_S, 2 * DAY_S, -2 * DAY_S, 0):
            scene.clock.jump(jump_s)
            scene.restart()
            scene.ban_everywhere(scene.mx3, 5 * DAY_S)
        feeds = [feed for feed in scene.mx2.status()["mesh"]["feeds"] if feed["origin"] == "mx3"]
        assert len({feed["epoch"] for feed in feeds}) == len(feeds) == 7
        scene.check_right_nodes()


def test_a_peer_whose_clock_was_set_back_is_heard_again_and_its_bans_pass_meanwhile(tmp_path):
    """Its heartbeats look old until its connections are made anew, after five of them."""
    with Scene(tmp_path) as scene:
        scene.clock.jump(DAY_S)
        for node in (scene.mx1, scene.mx2):
            wait_heartbeat(node, "mx3")
        scene.clock.jump(0)
        scene.ban_everywhere(scene.mx3)
        for node in (scene.mx1, scene.mx2):
            wait_until(lambda node=node: node.peers()["mx3"]["reconnects"] > 0, "a new connection")
            node.wait_connected(["mx3"])
        scene.ban_everywhere(scene.mx3)
        scene.check_right_nodes()


def test_bans_that_seemed_to_be_over_while_the_clock_was_ahead_are_decided_anew(tmp_path):
    addresses = public_addresses(50, 7)
    mesh = Mesh(tmp_path, ["mx1", "mx3"])
    mx1, mx3 = mesh.nodes
    clock = Clock(mx3)
    try:
        mx1.start()
        mx1.stream([(address, "sshd", time.time(), DAY_S // 2) for address in addresses])
        clock.jump(DAY_S)
        mx3.start()
        wait_until(lambda: mx3.status()["outcomes"].get("expired") == len(addresses), "them to be over")
        clock.jump(0)
        mx3.wait_reported(addresses)
        assert "the clock went back by 86400 s" in mx3.output()
        assert sorted(mx3.reported()) == sorted(addresses)
    finally:
        mesh.stop()


def test_a_nodes_own_holds_follow_its_clock_as_its_fail2ban_does(tmp_path):
    with Scene(tmp_path, extra={"shared": {"bantime": 3600}}) as scene:
        short = scene.ban_everywhere(scene.mx1, bantime=1800)
        again = scene.ban_everywhere(scene.mx1, bantime=2 * DAY_S)
        assert scene.mx3.status()["held"] == 2
        scene.clock.jump(7200)
        # fail2ban has the same clock: it has let both go. The shorter ban has ended by that clock,
        # too, but nobody knows yet whether it is right.
        wait_until(lambda: all(scene.mx3.reported().count(one) == 2 for one in (short, again)),
                   "the lines again")
        assert scene.mx3.status()["held"] == 2
        scene.clock.jump(0)
        scene.ban_everywhere(scene.mx1)
        assert scene.mx3.reported().count(again) == 2
        assert scene.mx1.reported() == [] and len(scene.mx2.reported()) == 3
