"""kill -9 at each system call of one publish: strace kills a process as it enters its Nth call of a
kind, for every N until it gets through. After each the mesh goes on, and the model holds."""

import collections
import os
import random
import re
import signal
import subprocess
import time

import pytest

from effort import new_seed, rounds
from mesh import TIMEOUT, Mesh, Process, program, public_addresses, wait_until
from model import Attempt, Model, names_of, status_of
from store import Store, add_aggregator

CALLS = ("openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "link", "linkat",
         "rename", "renameat", "renameat2", "unlink", "unlinkat")
TALK = ("connect", "sendto", "recvfrom")
TRACED = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # that does not work beside strace
START = [call for call in CALLS if call not in ("openat", "write")]


class Trial:
    """A mesh, its model, and what is killed in it at one call after the other."""

    def __init__(self, directory, names=("mx1", "mx2")):
        self.dir = directory
        self.model = Model()
        self.mesh = Mesh(directory, names)
        self.addresses = public_addresses(2000, seed=len(names))
        self.killed = {node.name: 0 for node in self.mesh.nodes}
        self.chance = random.Random(new_seed())
        self.calls = collections.Counter()  # how often killed at each

    def each(self, calls, attempt, step=1):
        """Let attempt (strace's arguments) run, which returns whether what it did got through: once
        to see which of the calls it makes, then killed at each of them, or at each step-th."""
        trace = os.path.join(str(self.dir), "strace")
        tracer = ["strace", "-f", "-qq", "-o", trace]
        assert attempt(tracer + ["-e", "trace=" + ",".join(calls)])
        with open(trace, encoding="utf-8", errors="replace") as lines:
            made = sorted(set(re.findall(r"^\d+ +(\w+)\(", lines.read(), re.MULTILINE)))
        for call in made:
            number = self.chance.randint(1, step)
            # Threads wake each other with write (), too: only those to files count.
            files = self.files() if call == "write" else []
            while not attempt(tracer + files + [
                    "-e", "trace=" + call, "-e", "inject=%s:signal=KILL:when=%d" % (call, number)]):
                self.calls[call] += 1
                number += step
        print("killed at", dict(self.calls))

    def files(self):
        """What is written with write (), as strace's arguments."""
        return [word for node in self.mesh.nodes for path in (
            node.shared_log, os.path.join(node.spool, "spool"),
            os.path.join(node.spool, "spool.rejected")) for word in ("-P", path)]

    def hook(self, node, tracer=(), socket=None):
        """Call the hook, perhaps to be killed; returns its exit status."""
        attempt = Attempt(node.name, "sshd", self.addresses.pop(), int(time.time() * 1000))
        self.model.ask(attempt, 3600)
        done = subprocess.run(
            [*tracer, program("banmesh-publish"), "--socket", socket or node.socket,
             "--spool", node.spool, "--jail", "sshd", "--ip", attempt.ip,
             "--time", "%.3f" % (attempt.time_ms / 1000), "--bantime", "3600"],
            stderr=subprocess.DEVNULL, env=TRACED, check=False)
        if done.returncode == 0:
            self.model.ack(attempt, 3600)
        else:
            assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done
        return done.returncode

    def attach(self, node, argv):
        """strace at a running daemon."""
        log = os.path.join(node.dir, "strace.log")
        if os.path.exists(log):
            os.unlink(log)
        tracer = Process([word for word in argv if word != "-qq"] + ["-p", str(node.process.pid)],
                         log)

        def said():
            with open(log, encoding="utf-8") as text:
                return text.read()
        wait_until(lambda: "attached" in said() or not tracer.running(), "strace")
        assert "attached" in said(), said()
        return tracer

    def wait_dead_or(self, node, condition):
        wait_until(lambda: not node.process.running() or condition(), node.output)

    def through(self, node, tracer):
        """End a trial of a daemon: whether it survived. It runs again in any case."""
        tracer.end(signal.SIGKILL)  # which lets go; a SIGTERM may wait for one that is dead
        if status_of(node) is not None:  # one that is about to end does not answer
            return True
        assert node.stop(signal.SIGKILL) == -signal.SIGKILL, node.output()
        self.killed[node.name] += 1
        node.start()
        return False

    def check(self, among, store=None):
        """among: calls at which it must have been killed, so that the trial was one."""
        assert set(among.split()) <= set(self.calls), self.calls
        self.model.wait_settled(self.mesh.nodes, store)
        self.model.check(self.mesh.nodes, store, self.killed)


@pytest.fixture(name="trial")
def make_trial(tmp_path):
    trial = Trial(tmp_path)
    with trial.mesh:
        yield trial


def test_a_hook_killed_at_any_call_while_it_spools(trial):
    mx1 = trial.mesh.nodes[0]

    def attempt(argv):
        mx1.stop()
        through = trial.hook(mx1, argv) == 0
        if len(trial.calls) % 2 == 1:
            trial.hook(mx1)  # behind what the killed one left
        mx1.start()
        return through

    trial.each(CALLS + ("flock", "close"), attempt)
    trial.check("openat write fsync")


def test_a_hook_killed_at_any_call_while_it_adds_to_the_spool(trial):
    mx1 = trial.mesh.nodes[0]
    mx1.stop()
    trial.hook(mx1)
    trial.each(CALLS + ("flock", "close"), lambda argv: trial.hook(mx1, argv) == 0)
    mx1.start()
    trial.check("write fsync")


def test_a_hook_killed_at_any_call_while_it_talks_to_the_node(trial):
    mx1 = trial.mesh.nodes[0]
    trial.each(TALK + ("close",), lambda argv: trial.hook(mx1, argv) == 0)
    trial.check("sendto recvfrom")


def test_a_node_killed_at_any_call_while_it_stores_a_ban(trial):
    mx1 = trial.mesh.nodes[0]

    def attempt(argv):
        mx1.stop()
        mx1.start()  # so that it is the first ban of an epoch
        tracer = trial.attach(mx1, argv)
        assert trial.hook(mx1) == 0, "the hook spools what the node did not take"
        return trial.through(mx1, tracer)

    trial.each(CALLS + ("sendto",), attempt)
    trial.check("pwrite64 fdatasync sendto")


def test_a_node_killed_at_any_call_while_it_takes_the_spool(trial):
    mx1 = trial.mesh.nodes[0]

    def attempt(argv):
        tracer = trial.attach(mx1, argv)
        assert trial.hook(mx1, socket="/nonexistent") == 0
        trial.wait_dead_or(mx1, lambda: not os.listdir(mx1.spool))
        return trial.through(mx1, tracer)

    trial.each(CALLS, attempt)
    trial.check("renameat unlinkat pwrite64 fdatasync")


def is_applied(node):
    """Its cursor is where its feeds end."""
    status = status_of(node)
    return status is not None and all(feed["applied"] == feed["have"] for feed in
                                      status["mesh"]["feeds"] if feed["origin"] != node.name)


def test_a_node_killed_at_any_call_while_it_applies_a_ban(trial):
    mx1, mx2 = trial.mesh.nodes

    def attempt(argv):
        mx2.wait_connected()
        tracer = trial.attach(mx2, argv)
        trial.hook(mx1)
        trial.wait_dead_or(mx2, lambda: trial.model.acked_elsewhere("mx2") <= set(mx2.reported()) and
                           is_applied(mx2))
        return trial.through(mx2, tracer)

    trial.each([call for call in CALLS if call != "openat"], attempt)
    trial.check("write pwrite64 fdatasync")


def start_killed(node, argv):
    """Start and stop a node that is killed on its way; returns whether it got through."""
    node.process = Process([*argv, program("banmeshd"), "--config", node.conf], node.log, TRACED)
    wait_until(lambda: not node.process.running() or node.answers(), "the start or its end")
    if node.process.running():
        # strace stands between: the daemon is its child.
        (child,) = subprocess.run(["pgrep", "-P", str(node.process.pid)], stdout=subprocess.PIPE,
                                  check=True).stdout.split()
        os.kill(int(child), signal.SIGTERM)
        node.process.process.wait(TIMEOUT)
    status = node.process.end()
    assert status in (0, -signal.SIGKILL, 128 + signal.SIGKILL), node.output()
    return status == 0


def test_an_aggregator_killed_at_any_call_while_it_stores_a_ban(tmp_path):
    with Store(tmp_path) as store:
        trial = Trial(tmp_path, ["mx1"])
        aggregator = add_aggregator(trial.mesh, [store])
        trial.killed[aggregator.name] = 0
        mx1 = trial.mesh.nodes[0]

        def attempt(argv):
            tracer = trial.attach(aggregator, argv)
            trial.hook(mx1)
            trial.wait_dead_or(aggregator,
                               lambda: trial.model.is_settled(trial.mesh.nodes, store))
            return trial.through(aggregator, tracer)

        with trial.mesh:
            trial.each(["pwrite64", "fdatasync", "sendto", "recvfrom"], attempt)
            trial.check("pwrite64 sendto", store)


def test_a_node_killed_at_any_call_of_its_start_and_end(trial):
    mx1 = trial.mesh.nodes[0]

    def attempt(argv):
        mx1.stop(signal.SIGKILL)
        trial.killed["mx1"] += 1
        trial.hook(mx1)  # the start takes the spool, too
        through = start_killed(mx1, argv)
        mx1.start()
        trial.hook(mx1)
        return through

    trial.each(START, attempt, step=rounds(8, 1))
    trial.check("pwrite64")


def test_a_node_killed_at_any_call_of_its_first_start(tmp_path):
    """The databases are made: each time in an empty directory, and what is in them is looked at in the
    end."""
    trial = Trial(tmp_path, ["mx1"])
    mx1 = trial.mesh.nodes[0]
    states = []

    def attempt(argv):
        states.append(os.path.join(mx1.dir, "state%d" % len(states)))
        os.mkdir(states[-1])
        mx1.write_settings({"node": {"state": states[-1]}})
        trial.hook(mx1)
        through = start_killed(mx1, argv)
        mx1.start()
        trial.hook(mx1)
        mx1.stop()
        return through

    try:
        trial.each(START, attempt, step=rounds(8, 1))
    finally:
        trial.mesh.stop()
    names = names_of([mx1])
    trial.model.check_events(trial.model.check_numbers(states, names), names)
    assert {"pwrite64", "fdatasync"} <= set(trial.calls) and os.listdir(mx1.spool) == []
