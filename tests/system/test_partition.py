"""Five nodes, each in a network of its own: cut, half cut, lossy, healed. Nothing is lost or doubled."""

import random
import signal
import sqlite3
import threading
import time

import pytest

from effort import new_seed, rounds
from mesh import Mesh, all_but, check_logs, public_addresses, wait_until
from network import Network, run

NAMES = ["mx1", "mx2", "mx3", "mx4", "mx5"]
HEAL_S = 10  # what healing should take at most; printed, not asserted


@pytest.fixture(name="network")
def five_networks():
    with Network(NAMES) as network:
        yield network


class World:
    """The mesh, and the model: what each node banned."""

    def __init__(self, directory, network, seed, heartbeat=200):
        self.network = network
        self.random = random.Random(seed)
        self.fresh = iter(self.random.sample(public_addresses(30000, seed), 30000))
        self.mesh = Mesh(directory, heartbeat=heartbeat)
        for name in NAMES:
            self.mesh.add(name, host=network.address(name)).prefix = network.prefix(name)
        self.bans = {name: [] for name in NAMES}

    def __enter__(self):
        self.mesh.__enter__()
        return self

    def __exit__(self, *_):
        self.mesh.stop()

    def node(self, name):
        return self.mesh.node(name)

    def ban(self, count, names=NAMES):
        """Each bans some, in no order."""
        for name in self.random.sample(list(names) * count, count * len(names)):
            address = next(self.fresh)
            self.bans[name].append(address)
            self.node(name).publish(address)

    def check_agreed(self):
        """All have all, once; returns how long that took."""
        began = time.monotonic()
        check_logs(self.mesh.nodes, self.bans)
        seconds = time.monotonic() - began
        held = [held_by(node) for node in self.mesh.nodes]
        assert all(one == held[0] for one in held)
        return seconds

    def wait_apart(self, sides):
        """Until everybody has noticed."""
        for side in sides:
            for name in side:
                wait_until(lambda name=name, side=side: {
                    other for other, peer in self.node(name).peers().items() if peer["connected"]
                } <= set(side), "%s to miss the others" % name)


def held_by(node):
    """How far it holds each feed, and what it holds, to the byte."""
    held = {}
    for database in ("own.db", "peers.db"):
        with sqlite3.connect("file:%s/state/%s?mode=ro" % (node.dir, database), uri=True) as db:
            for origin, epoch, seq, envelope in db.execute(
                    "SELECT origin, epoch, seq, envelope FROM batches"):
                assert held.setdefault((origin, epoch, seq), envelope) == envelope
    return held


def sides_of(chance):
    """Cut the five in two, in a way that is new each time."""
    names = chance.sample(NAMES, len(NAMES))
    where = chance.randrange(1, len(NAMES))
    return [names[:where], names[where:]]


def heal_and_report(world, what):
    world.network.heal()
    seconds = world.check_agreed()
    print("%s: healed, all agree after %.1f s%s" % (what, seconds, " (SLOW)" if seconds > HEAL_S
                                                    else ""))


def test_both_sides_of_a_cut_go_on_banning_and_agree_once_it_is_healed(tmp_path, network):
    with World(tmp_path, network, new_seed()) as world:
        world.ban(2)
        world.check_agreed()
        for _ in range(rounds(1, 20)):
            sides = sides_of(world.random)
            network.cut(sides)
            world.ban(3)
            world.wait_apart(sides)
            for side in sides:
                world.ban(3, side)
                for name in side:
                    world.node(name).wait_reported(all_but(
                        {other: world.bans[other] for other in side}, name))
            heal_and_report(world, " | ".join(" ".join(sorted(side)) for side in sides))


def test_one_way_cuts_lose_nothing(tmp_path, network):
    """What a node sends arrives, what is sent to it does not, not even that it arrived."""
    with World(tmp_path, network, new_seed()) as world:
        world.ban(2)
        world.check_agreed()
        for _ in range(rounds(1, 20)):
            deaf = world.random.sample(NAMES, world.random.randrange(1, 3))
            others = [name for name in NAMES if name not in deaf]
            for name in deaf:
                network.silence(name, others)
            world.ban(3)
            world.wait_apart([deaf, others])
            world.ban(3)
            heal_and_report(world, "%s deaf" % " ".join(deaf))


def test_a_lossy_network_delays_and_loses_nothing(tmp_path, network):
    """One packet in five is lost, in each direction; and a node is started anew meanwhile."""
    with World(tmp_path, network, new_seed()) as world:
        for _ in range(rounds(1, 10)):
            network.lose(20)
            world.ban(3)
            name = world.random.choice(NAMES)
            world.node(name).stop(signal.SIGTERM)
            world.ban(3, [other for other in NAMES if other != name])
            world.node(name).start()
            world.ban(3)
            print("one packet in five is lost: all agree after %.1f s" % world.check_agreed())
            heal_and_report(world, "20 % lost")


def test_cuts_losses_and_restarts_in_any_order_lose_nothing(tmp_path, network):
    """A model: each ban is one line on each other node, whatever happened in between."""
    with World(tmp_path, network, new_seed()) as world:
        for _ in range(rounds(1, 15)):
            for _ in range(world.random.randrange(4, 8)):
                what = world.random.choice(["cut", "silence", "lose", "heal", "restart", "stop"])
                name = world.random.choice(NAMES)
                if what == "cut":
                    network.cut(sides_of(world.random))
                elif what == "silence":
                    network.silence(name, world.random.sample(
                        [other for other in NAMES if other != name], 2))
                elif what == "lose":
                    network.lose(world.random.choice([5, 20, 40]))
                elif what == "heal":
                    network.heal()
                elif what == "restart":
                    world.node(name).stop()
                    world.node(name).start()
                else:
                    world.node(name).process.process.send_signal(signal.SIGSTOP)
                    world.ban(1, [other for other in NAMES if other != name])
                    world.node(name).process.process.send_signal(signal.SIGCONT)
                world.ban(1)
            heal_and_report(world, "after all that")


def test_a_node_that_was_cut_off_catches_up_with_what_was_streamed_meanwhile(tmp_path, network):
    count = 100000
    addresses = public_addresses(count, seed=71)
    with World(tmp_path, network, seed=72) as world:
        world.ban(1)
        world.check_agreed()
        network.cut([["mx5"], ["mx1", "mx2", "mx3", "mx4"]])
        streams = []
        for i, name in enumerate(NAMES[:4]):
            world.bans[name] += addresses[i::4]
            bans = [(address, "sshd", time.time()) for address in addresses[i::4]]
            streams.append(threading.Thread(target=world.node(name).stream, args=(bans,)))
        for stream in streams:
            stream.start()
        for stream in streams:
            stream.join()
        world.ban(2, ["mx5"])
        world.wait_apart([["mx5"]])
        began = time.monotonic()
        network.heal()
        seconds = world.check_agreed()
        print("%d bans behind: healed, all agree after %.1f s, of which %.1f s of comparing" % (
            count, time.monotonic() - began, time.monotonic() - began - seconds))


def test_an_attempt_to_connect_into_a_cut_is_soon_begun_anew(tmp_path, network):
    """TCP alone tries again after 1, 2, 4, 8, 16, 32 s: after a long cut nobody would hear of the
    healing for as long again."""
    mesh = Mesh(tmp_path, heartbeat=10000)  # which would make it anew, but much later
    mx1, mx2 = [mesh.add(name, host=network.address(name)) for name in NAMES[:2]]
    mx1.prefix = network.prefix("mx1")
    network.cut([["mx1"], ["mx2"]])
    ports = set()

    def attempts():
        for line in run(*network.prefix("mx1"), "ss", "-Htn", "state", "syn-sent").splitlines():
            here, there = line.split()[-2:]
            if there.split(":")[-1] == mx2.listen.split(":")[-1]:
                ports.add(here)
        return len(ports)

    try:
        mx1.start()
        wait_until(lambda: attempts() >= 3, "a third attempt", timeout=40)
    finally:
        mesh.stop()
