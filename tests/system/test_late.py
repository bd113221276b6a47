"""Nodes that join while others publish: the seam between what is caught up and what comes live."""

import os
import random
import shutil
import signal
import threading
import time

from effort import new_seed, rounds
from mesh import Client, Mesh, public_addresses
from model import Attempt, Model, state_of

LATE = 3             # nodes that join in each round, at moments of their own
ROUNDS_A_MESH = 20   # then a new one, so that a joiner never has much to fetch
BANS_MAX = 60        # of a publisher in a round


class Publisher(threading.Thread):
    """Bans of one node, one after the other, with random pauses."""

    def __init__(self, node, addresses, seed, pause):
        super().__init__()
        self.node = node
        self.addresses = addresses
        self.chance = random.Random(seed)
        self.pause = pause
        self.asked = []
        self.acked = []
        self.start()

    def run(self):
        try:
            with Client(self.node.socket) as client:
                for address in self.addresses:
                    attempt = Attempt(self.node.name, "sshd", address, int(time.time() * 1000))
                    self.asked.append(attempt)
                    client.send("ban jail=sshd ip=%s time=%.3f bantime=3600" % (
                        attempt.ip, attempt.time_ms / 1000))
                    if client.answer().startswith("ok "):
                        self.acked.append(attempt)
                    time.sleep(self.chance.random() * self.pause)
        except OSError:
            pass  # the node was started anew


class Joining:
    """A mesh in which two nodes publish and others come late, again and again."""

    def __init__(self, directory, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.addresses = public_addresses(ROUNDS_A_MESH * 4 * BANS_MAX, seed)
        self.chance.shuffle(self.addresses)
        self.model = Model()
        self.mesh = Mesh(directory, ["mx1", "mx2"] + ["late%d" % i for i in range(LATE)],
                         heartbeat=100)
        self.publishers = self.mesh.nodes[:2]
        self.late = self.mesh.nodes[2:]
        self.restarts = {node.name: 0 for node in self.mesh.nodes}
        self.slowest = 0

    def leave(self, node):
        """Most forget everything; some come back to what they had, and miss only the end."""
        node.stop(self.chance.choice([signal.SIGKILL, signal.SIGTERM]))
        if self.chance.random() < 0.7:
            for folder in (state_of(node), os.path.dirname(node.shared_log)):
                shutil.rmtree(folder)
                os.mkdir(folder)
            self.restarts[node.name] = 0
        else:
            self.restarts[node.name] += 1

    def publish(self):
        """In the background, for about as long as it takes to join."""
        pause = self.chance.choice([0.0, 0.001, 0.01, 0.02])
        return [Publisher(node, [self.addresses.pop() for _ in range(
            self.chance.randrange(1, BANS_MAX))], self.chance.random(), pause)
            for node in self.chance.choices(self.publishers, k=self.chance.randrange(1, 4))]

    def join(self):
        """All late nodes, each at its moment."""
        left = list(self.late)
        self.chance.shuffle(left)
        for node in left:
            time.sleep(0.0003 * 1000 ** self.chance.random())
            node.start(wait=False)

    def round(self):
        for node in self.late:
            self.leave(node)
        threads = self.publish()
        self.join()
        if self.chance.random() < 0.3:  # a new epoch, and the end of the old one
            node = self.chance.choice(self.publishers)
            node.stop(self.chance.choice([signal.SIGKILL, signal.SIGTERM]))
            self.restarts[node.name] += 1
            node.start()
            threads += self.publish()
        for thread in threads:
            thread.join()
            for attempt in thread.asked:
                self.model.ask(attempt, 3600)
            for attempt in thread.acked:
                self.model.ack(attempt, 3600)
        began = time.monotonic()
        self.model.wait_settled(self.mesh.nodes)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.model.check(self.mesh.nodes, restarts=self.restarts)

    def run(self, count):
        with self.mesh:
            for _ in range(count):
                self.round()
        print("seed", self.seed, "joined", count * LATE, "acknowledged", len(self.model.acked),
              "slowest %.1f s" % self.slowest)


def test_who_joins_while_others_publish_gets_everything_once(tmp_path):
    seed = new_seed()
    todo = rounds(4, 334)
    while todo > 0:
        count = min(todo, ROUNDS_A_MESH)
        Joining(tmp_path / str(todo), seed).run(count)
        todo -= count
        seed += 1
