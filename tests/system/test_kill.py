"""kill -9 at any moment: what was acknowledged arrives everywhere once, and nothing else does."""

import random
import signal
import subprocess
import time

from effort import new_seed, rounds
from mesh import TIMEOUT, Client, Mesh, program, public_addresses
from model import Attempt, Model
from store import Store, add_aggregator

JAILS = ("sshd", "postfix", "nginx-botsearch")
ROUNDS_A_MESH = 100
BANS_A_ROUND = 60  # at most


class Hook:
    """A call of the real hook, in flight."""

    def __init__(self, node, attempt, bantime):
        self.attempt = attempt
        self.bantime = bantime
        self.process = subprocess.Popen(
            [program("banmesh-publish"), "--socket", node.socket, "--spool", node.spool,
             "--jail", attempt.jail, "--ip", attempt.ip, "--time", "%.3f" % (attempt.time_ms / 1000),
             "--bantime", str(bantime)], stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()

    def finish(self, model):
        """Returns the exit status; killed: whether the ban is stored is unknown."""
        status = self.process.wait(TIMEOUT)
        if status == 0:
            model.ack(self.attempt, self.bantime)
        return status


class Burst:
    """Many requests over one connection, all sent before the first answer is read."""

    def __init__(self, node, bans):
        self.bans = bans
        self.client = None
        try:
            self.client = Client(node.socket)
            self.client.send(*("ban jail=%s ip=%s time=%.3f bantime=%d" % (
                attempt.jail, attempt.ip, attempt.time_ms / 1000, bantime)
                for attempt, bantime in bans))
        except OSError:
            pass  # the node is down

    def kill(self):
        if self.client is not None:
            self.client.close()

    def finish(self, model):
        """Returns whether all were acknowledged."""
        try:
            for attempt, bantime in self.bans:
                if self.client is None or not self.client.answer().startswith("ok "):
                    return "burst cut"
                model.ack(attempt, bantime)
        except (OSError, ValueError):  # closed on one side or the other
            return "burst cut"
        finally:
            self.kill()
        return "burst whole"


class Chaos:
    """One mesh, and rounds of hooks that are in flight while something is killed."""

    def __init__(self, directory, chance, addresses):
        self.chance = chance
        self.addresses = addresses
        self.model = Model()
        self.store = Store(directory)
        self.mesh = Mesh(directory, ["mx1", "mx2", "mx3"])
        self.nodes = list(self.mesh.nodes)
        self.aggregator = add_aggregator(self.mesh, [self.store])
        self.killed = {node.name: 0 for node in self.mesh.nodes}
        self.known = []
        self.statuses = {}

    def choose_ban(self):
        """A new attempt; sometimes an earlier one again, or longer."""
        if self.known and self.chance.random() < 0.15:
            attempt = self.chance.choice(self.known)
            bantime = self.chance.choice([3600, 7200, 86400])
        else:
            time_ms = int(time.time() * 1000) - self.chance.randrange(5000)
            attempt = Attempt(self.chance.choice(self.nodes).name, self.chance.choice(JAILS),
                              self.addresses.pop(), time_ms)
            self.known.append(attempt)
            bantime = 3600
        self.model.ask(attempt, bantime)
        return attempt, bantime

    def node_of(self, attempt):
        return next(node for node in self.nodes if node.name == attempt.node)

    def call(self):
        """One hook, or a burst at one node."""
        if self.chance.random() < 0.8:
            attempt, bantime = self.choose_ban()
            hook = Hook(self.node_of(attempt), attempt, bantime)
            if self.chance.random() < 0.15:  # it lives for about a millisecond
                time.sleep(self.chance.random() * 0.0015)
                hook.kill()
            return hook
        bans = [self.choose_ban() for _ in range(self.chance.randrange(2, 6))]
        node = self.node_of(bans[0][0])
        return Burst(node, [ban for ban in bans if ban[0].node == node.name])

    def choose_victims(self, calls):
        kind = self.chance.choice(["node", "node", "node", "aggregator", "call", "two", "all"])
        if kind == "node":
            return [self.chance.choice(self.nodes)]
        if kind == "aggregator":
            return [self.aggregator]
        if kind == "call":
            return [self.chance.choice(calls)] if calls else []
        if kind == "two":
            return self.chance.sample(self.mesh.nodes, 2)
        return list(self.mesh.nodes)

    def kill(self, victims):
        dead = []
        for victim in victims:
            if victim in self.mesh.nodes:
                status = victim.stop(signal.SIGKILL)
                assert status == -signal.SIGKILL, "ended by itself: " + victim.output()
                self.killed[victim.name] += 1
                dead.append(victim)
            else:
                victim.kill()
        return dead

    def wait_a_moment(self):
        """From nothing to 100 ms, all orders of magnitude alike: what is killed is anywhere."""
        time.sleep(0.0001 * 1000 ** self.chance.random())

    def round(self):
        if self.chance.random() < 0.1:  # from a mesh at rest, too, where bans travel live
            self.settle()
        calls = [self.call() for _ in range(self.chance.randrange(0, 5))]
        self.wait_a_moment()
        calls += [self.call() for _ in range(self.chance.randrange(0, 5))]
        if self.chance.random() < 0.5:
            self.wait_a_moment()
        dead = self.kill(self.choose_victims(calls))
        if self.chance.random() < 0.5:  # while it is down, the spool is used
            calls += [self.call() for _ in range(self.chance.randrange(0, 3))]
        for node in dead:
            node.start(wait=False)
        for call in calls:
            status = call.finish(self.model)
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def settle(self):
        for node in self.mesh.nodes:
            node.wait_started()
        self.model.wait_settled(self.mesh.nodes, self.store)

    def run(self, count):
        with self.store, self.mesh:
            for _ in range(count):
                self.round()
            self.settle()
            self.model.check(self.mesh.nodes, self.store, self.killed)


def test_what_is_acknowledged_arrives_once_whatever_is_killed(tmp_path):
    seed = new_seed()
    todo = rounds(30, 1000)
    while todo > 0:
        count = min(todo, ROUNDS_A_MESH)
        chaos = Chaos(tmp_path / str(todo), random.Random(seed), public_addresses(
            count * BANS_A_ROUND, seed))
        chaos.run(count)
        print("seed", seed, "rounds", count, "attempts", len(chaos.model.asked), "acknowledged",
              len(chaos.model.acked), "calls", chaos.statuses, "killed", chaos.killed)
        todo -= count
        seed += 1
