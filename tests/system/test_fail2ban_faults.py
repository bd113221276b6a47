"""A real fail2ban that restarts, dies or is away, and a shared log that is rotated, moved and
blocked, while bans flow: in the end every address is banned."""

import os
import random
import signal
import threading
import time

import pytest

from effort import new_seed, rounds
from fail2ban_server import Fail2banServer, version
from mesh import Mesh, public_addresses, wait_until
from test_clock import Clock
from test_shared_log import ROTATIONS, Rotation
from test_way import stream

# A command for each ban: what most actions do, and slow enough for bans to wait in fail2ban.
COMMAND = {"action.d/command.conf": "[Definition]\nactionban = /bin/true\nactionunban =\n"}


def fail2ban_of(node, action="nothing"):
    """A fail2ban that only reads the node's shared log."""
    open(node.shared_log, "a", encoding="ascii").close()
    return Fail2banServer(os.path.join(node.dir, "f2b"),
                          "[shared]\naction = %s\nlogpath = %s\n" % (action, node.shared_log),
                          files=COMMAND)


def wait_seen(node, state="runs"):
    wait_until(lambda: node.status()["shared_log"]["fail2ban"] == state, "fail2ban: " + state)


def kill(server):
    """End it as a crash does. The unit of fail2ban starts it with -x, which removes the socket."""
    server.process.kill()
    server.process.wait()
    server.process = None
    os.unlink(server.socket)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "with the node"])
def test_what_fail2ban_had_read_but_not_banned_when_it_restarted_is_banned(tmp_path, together):
    """Together, as when the machine is: what it had read is in no database of fail2ban's."""
    addresses = public_addresses(500, new_seed())
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with fail2ban_of(mx2, "command") as two:
            wait_seen(mx2)
            stream(mx1, addresses)
            mx2.wait_reported(addresses)
            wait_until(lambda: len(two.banned("shared")) > 20, "the first bans")
            if together:
                mx2.stop(signal.SIGKILL)
            two.stop()
            # From 1.1.1 on it acts on what it has read before it ends.
            assert version() >= (1, 1, 1) or not all(
                "] Ban %s\n" % address in two.log_text() for address in addresses)
            two.start()
            if together:
                mx2.start()
            two.wait_banned("shared", addresses, timeout=60)
            assert mx2.status()["shared_log"]["lines_again"] > 0
            mx2.stop()
            mx2.start()
            wait_seen(mx2)
            assert mx2.status()["shared_log"]["lines_again"] == 0, "the same fail2ban"


def test_what_was_cut_off_while_the_node_was_down_is_banned(tmp_path):
    """As copytruncate does it; fail2ban had not read these lines, the node does not see them go."""
    addresses = public_addresses(60, new_seed())
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        stream(mx1, addresses)
        mx2.wait_reported(addresses)
        mx2.stop(signal.SIGKILL)
        os.truncate(mx2.shared_log, 0)
        mx2.start()
        mx2.wait_reported(addresses)
        mx2.stop()
        os.unlink(mx2.shared_log)
        mx2.start()
        mx2.wait_reported(addresses)
        assert "do not stand in" in mx2.output()
        stands = mx2.lines()
        mx2.stop()
        mx2.start()
        assert mx2.lines() == stands


def test_fail2ban_was_stopped_while_the_log_was_rotated(tmp_path):
    addresses = public_addresses(60, new_seed())
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        rotation = Rotation(mx2)
        with fail2ban_of(mx2) as two:
            wait_seen(mx2)
            stream(mx1, addresses[:20])
            two.wait_banned("shared", addresses[:20])
            two.stop()
            wait_seen(mx2, "gone")
            for start in (20, 40):
                stream(mx1, addresses[start:start + 20])
                mx2.wait_reported(addresses[start:start + 20])
                rotation.run()
            wait_until(lambda: mx2.status()["shared_log"]["renamed"] == 2, "the second rotation")
            two.start()
            two.wait_banned("shared", addresses, timeout=60)


def test_fail2ban_was_away_for_an_hour_and_the_log_was_rotated_then(tmp_path):
    """By the node's clock, that is: its lines are older than what a rotation takes along anyway."""
    addresses = public_addresses(20, new_seed())
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    clock = Clock(mx2)
    with mesh:
        with fail2ban_of(mx2) as two:
            wait_seen(mx2)
            two.stop()
            wait_seen(mx2, "gone")
            stream(mx1, addresses)
            mx2.wait_reported(addresses)
            clock.jump(3600)
            Rotation(mx2).run()
            wait_until(lambda: mx2.status()["shared_log"]["renamed"] == 1, "the rotation")
            two.start()
            two.wait_banned("shared", addresses, timeout=60)


class Faults:
    """What may happen to the log and to its reader; one at a time, over when the call returns."""

    def __init__(self, node, server, generator):
        self.node = node
        self.server = server
        self.generator = generator
        self.folder = os.path.dirname(node.shared_log)
        self.all = [self.restart, self.crash, self.away, self.no_folder, self.folder_for_log,
                    self.restart_node, self.kill_node, self.create, self.nocreate,
                    self.copytruncate]
        self.now = "nothing"

    def pause(self):
        time.sleep(self.generator.random())  # bans flow on

    def restart(self):
        self.server.stop()
        self.server.start()

    def crash(self):
        kill(self.server)
        self.server.start()

    def away(self):
        self.server.stop()
        self.pause()
        Rotation(self.node).run()
        self.pause()
        self.server.start()

    def no_folder(self):
        os.rename(self.folder, self.folder + ".away")
        self.pause()
        os.rename(self.folder + ".away", self.folder)

    def folder_for_log(self):
        os.rename(self.node.shared_log, self.node.shared_log + ".away")
        try:
            os.mkdir(self.node.shared_log)
        except FileExistsError:
            return  # the node was quicker
        self.pause()
        os.rmdir(self.node.shared_log)

    def restart_node(self):
        self.node.stop()
        self.node.start()

    def kill_node(self):
        self.node.stop(signal.SIGKILL)
        self.node.start()

    def rotate(self, kind):
        Rotation(self.node, **ROTATIONS[kind]).run()

    def create(self):
        self.rotate("create")

    def nocreate(self):
        self.rotate("nocreate")

    def copytruncate(self):
        self.rotate("copytruncate")

    def run(self, which):
        self.now = which.__name__
        which()
        wait_until(lambda: os.path.isfile(self.node.shared_log), "the log")
        wait_seen(self.node)  # what was never seen is not missed
        self.pause()


def test_bans_flow_through_faults_of_every_kind(tmp_path):
    seed = new_seed()
    generator = random.Random(seed)
    count = rounds(8, 100)
    addresses = public_addresses(count * 50, seed)
    generator.shuffle(addresses)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        sent = {}  # address: when, and during what
        stopping = threading.Event()

        def publish():
            for address in addresses:
                if stopping.wait(0.02):
                    break
                sent[address] = (time.strftime("%H:%M:%S"), faults.now)
                stream(mx1, [address])

        with fail2ban_of(mx2) as two:
            wait_seen(mx2)
            faults = Faults(mx2, two, generator)
            thread = threading.Thread(target=publish)
            thread.start()
            try:
                some = [faults.all[i % len(faults.all)] for i in range(count)]
                for fault in generator.sample(some, count):
                    print(time.strftime("%H:%M:%S"), fault.__name__)
                    faults.run(fault)
            finally:
                stopping.set()
                thread.join()
            assert len(sent) > count * 10
            wait_until(lambda: set(sent) <= set(two.banned("shared")),
                       lambda: "not banned: %s" % {address: when for address, when in sent.items()
                                                   if address not in two.banned("shared")})
            wait_until(lambda: mx2.status()["shared_log"]["writable"], "the log to be written")
