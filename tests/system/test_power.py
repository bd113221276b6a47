"""Power loss at any moment: nothing acknowledged is lost, no number is used twice, all starts again.

Real programs run with a list of everything that they write and sync (tests/power/shim.c). Then the
power fails at a point of that list: the disk is put together as it may look afterwards
(power.py) and looked at; at some points the real programs go on from there."""

import copy
import functools
import os
import random
import signal
import sqlite3
import subprocess
import time
import zlib

import pytest

import power
from effort import LONG, new_seed, rounds
from mesh import HEAD, TIMEOUT, Mesh, public_addresses, spool_record
from model import BATCHES, Attempt, Model, names_of, place_of, read_batch, state_of

pytestmark = pytest.mark.skipif(not os.path.exists(power.SHIM),
                                reason="built without BANMESH_TESTS")


FATES = (("lost", "lost"), ("lost", "kept"), ("kept", "lost"), ("cut", "cut"), ("torn", "torn"))


def lines_of(folder):
    """The lines of a shared log, rotated ones first."""
    found = []
    for name in sorted(os.listdir(folder), reverse=True):
        with open(os.path.join(folder, name), "rb") as file:
            found += [line.decode(errors="replace") for line in file.read().split(b"\n")[:-1]
                      if not line.endswith(HEAD.strip().encode())]
    return found


def files_of(node):
    """{path: content} of what a node keeps."""
    found = {}
    for folder in ("state", "spool", "log"):
        for name in os.listdir(os.path.join(node.dir, folder)):
            path = os.path.join(node.dir, folder, name)
            with open(path, "rb") as file:
                found[path] = file.read()
    return found


class Recording:
    """A run of two nodes and their hooks, and what was promised at which point of it."""

    def __init__(self, directory, seed):
        self.chance = random.Random(seed)
        self.addresses = public_addresses(2000, seed)
        self.list = os.path.join(str(directory), "list")
        os.makedirs(directory, exist_ok=True)
        self.mesh = Mesh(os.path.join(str(directory), "m"), ["mx1", "mx2"])
        self.mx1, self.mx2 = self.mesh.nodes
        self.model = Model()
        self.attempt_of = {}  # process id of a hook: its attempt
        for node in self.mesh.nodes:
            node.env = self.environment()
            node.lines = functools.partial(lines_of, os.path.dirname(node.shared_log))
        self.disk_at_start = power.Disk(self.mesh.dir)
        try:
            self.run()
        finally:
            self.mesh.stop()
        self.files_at_end = {node.name: files_of(node) for node in self.mesh.nodes}
        self.records = list(power.read_list(self.list))
        self.names = names_of(self.mesh.nodes)
        self.bodies = self.model.check_numbers([state_of(node) for node in self.mesh.nodes],
                                               self.names)
        self.events = {body: read_batch(body, self.names[place.origin])[1]
                       for place, body in self.bodies.items()}
        self.nids = self.model.check_events(self.bodies, self.names)
        self.promises = list(self.find_promises())

    def environment(self, kill=None):
        return power.environment(self.mesh.dir, self.list, kill)

    # ---- what happens ----

    def new_attempt(self, node, jail):
        attempt = Attempt(node.name, jail, self.addresses.pop(), int(time.time() * 1000))
        self.model.ask(attempt, 3600)
        return attempt

    def hooks(self, node, count, socket=None, kill=None):
        """Some at once; all exit 0 unless they are killed."""
        running = []
        for _ in range(count):
            attempt = self.new_attempt(node, "sshd")
            hook = subprocess.Popen(
                [power.HOOK, "--socket", socket or node.socket, "--spool", node.spool,
                 "--jail", attempt.jail, "--ip", attempt.ip,
                 "--time", "%.3f" % (attempt.time_ms / 1000), "--bantime", "3600"],
                env={**os.environ, **self.environment(kill)})
            self.attempt_of[hook.pid] = attempt
            running.append(hook)
        for hook in running:
            assert hook.wait(TIMEOUT) == (-signal.SIGKILL if kill else 0)
            if not kill:
                self.model.ack(self.attempt_of[hook.pid], 3600)

    def stream(self, node, count, group):
        attempts = [self.new_attempt(node, "postfix") for _ in range(count)]
        node.stream([(each.ip, each.jail, each.time_ms / 1000) for each in attempts], group)
        for attempt in attempts:
            self.model.ack(attempt, 3600)

    def wait_applied(self):
        self.model.wait_settled(self.mesh.nodes)

    def run(self):
        """Every way that a ban can take, and every way that a program can end."""
        mx1, mx2 = self.mx1, self.mx2
        self.mesh.start()
        self.hooks(mx1, 2)
        self.hooks(mx2, 2)
        self.stream(mx1, 120, group=40)
        mx2.stop()
        mx1.stop()
        # The spool is made by a hook that dies before its sync; others go on with it.
        self.hooks(mx1, 1, kill="S:spool:1")
        self.hooks(mx1, 1)
        self.hooks(mx1, 3)
        mx1.start()
        self.hooks(mx1, 1, socket="/nonexistent")
        mx2.start()
        self.wait_applied()
        # Somebody rotates the shared log.
        power.rename(self.list, mx2.shared_log, mx2.shared_log + ".1")
        self.hooks(mx1, 2)
        self.wait_applied()
        # Dead between writing a commit and syncing it: the hook spools what is in the database.
        mx1.stop()
        mx1.env = self.environment("S:own.db-wal:%d" % self.chance.randrange(3, 8))
        mx1.start()
        while mx1.process.running():
            self.hooks(mx1, 1)
        mx1.env = self.environment()
        mx1.stop(signal.SIGKILL)
        mx1.start()
        mx2.stop(signal.SIGKILL)
        mx2.start()
        self.stream(mx2, 20, group=5)
        # So many commits that both write the log back into the database.
        self.stream(mx1, 300, group=1)
        self.wait_applied()
        self.hooks(mx1, 2)
        self.wait_applied()

    # ---- what was promised ----

    def find_promises(self):
        """(number of records before it, attempt, whether the database has it): the node's answers and
        the hooks' exits."""
        by_nid = {nid: attempt for attempt, nid in self.nids.items()}
        assert any(record.kind == power.ANSWERED for record in self.records), \
            "no answer of the node is in the list: does the shim miss how they are sent?"
        for index, record in enumerate(self.records):
            if record.kind == power.ANSWERED:
                nid = int(record.data.split()[1].partition(b"=")[2])
                yield index + 1, by_nid[nid], True
            elif record.kind == power.EXITED and record.number == 0 and \
                    record.pid in self.attempt_of:
                yield index + 1, self.attempt_of[record.pid], False

    def promised(self, node, point, by_node=False):
        """What a node's host owes at a point: what was acknowledged by it, or by the node itself."""
        return {attempt for index, attempt, by_the_node in self.promises
                if index <= point and attempt.node == node.name and (by_the_node or not by_node)}

    def points(self, count):
        """Where to cut the power: behind each hook's exit and each rename, and elsewhere by chance,
        best where something is synced, named or promised."""
        kinds = [record.kind for record in self.records]
        every = {index for index, _, by_node in self.promises if not by_node}
        every |= {i + 1 for i, kind in enumerate(kinds) if kind == power.RENAMED}
        turns = [i for i, kind in enumerate(kinds) if kind not in (power.WRITTEN, power.TRUNCATED)]
        every |= {i + 1 - self.chance.randrange(2)
                  for i in self.chance.sample(turns, min(count, len(turns)))}
        every |= set(self.chance.sample(range(len(kinds)), min(count, len(kinds))))
        return sorted(every - {0})


# ---- what a disk must hold ----

class Database:
    """A database after a power loss, as SQLite finds it. Whole, or never made."""

    def __init__(self, state, file):
        self.batches = {}  # Place: body
        self.cursors = {}  # origin, epoch, channel: seq
        path = os.path.join(state, file)
        if not os.path.exists(path):
            return
        database = sqlite3.connect(path)
        try:
            database.execute("PRAGMA synchronous = OFF")
            tables = {name for name, in database.execute("SELECT name FROM sqlite_master")}
            if tables:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                self.batches = {place_of(*place): body for *place, body in
                                database.execute(BATCHES)}
            if "cursor" in tables:
                self.cursors = {place_of(*place)[:3]: place[3] for place in database.execute(
                    "SELECT hex (origin), epoch, channel, seq FROM cursor "
                    "JOIN feed ON number = feed")}
        finally:
            database.close()


class Look:
    """A disk at one point, as it may be found after the power came back."""

    def __init__(self, recording, disk, point, chance, directory):
        self.recording = recording
        self.disk = disk
        self.point = point
        self.chance = chance
        self.dir = str(directory)

    def write(self, node, fates=("kept", "kept")):
        """What is left of a node's files; returns where."""
        target = os.path.join(self.dir, node.name)
        for folder in ("state", "spool", "log"):
            copied = os.path.join(target, folder)
            os.makedirs(copied, exist_ok=True)
            for name in os.listdir(copied):
                os.unlink(os.path.join(copied, name))
            self.disk.write(os.path.join(node.dir, folder), copied, self.chance, *fates)
        return target

    def read(self, target, file):
        """A node's database, with no batch in it that was not made."""
        database = Database(os.path.join(target, "state"), file)
        for place, body in database.batches.items():
            assert body == self.recording.bodies.get(place), "another body for %s" % (place,)
        return database

    def check_promises(self, node, target):
        """What was acknowledged is in the node's own database or, by hooks, in the spool. Returns the
        places of its own batches."""
        recording = self.recording
        batches = self.read(target, "own.db").batches
        stored = {event.attempt for body in batches.values() for event in recording.events[body]}
        spooled = read_spool(node.name, os.path.join(target, "spool"))
        assert spooled <= set(recording.model.asked), "a record that nobody wrote"
        lost = recording.promised(node, self.point, by_node=True) - stored
        assert not lost, "answered and lost: %s" % lost
        lost = recording.promised(node, self.point) - stored - spooled
        assert not lost, "acknowledged and lost: %s" % lost
        return set(batches)

    def check_numbers(self, node, batches, elsewhere):
        """Nobody else has a batch of ours that we do not have: its number would be free again."""
        key = next(key for key, name in self.recording.names.items() if name == node.name)
        told = {place for place in elsewhere if place.origin == key}
        assert told <= batches, "told, but lost: %s" % sorted(place[1:] for place in told - batches)

    def check_lines(self, target):
        """What the cursor has passed is in the log."""
        database = self.read(target, "peers.db")
        written = {int(line.rpartition(" nid ")[2]) for line in
                   lines_of(os.path.join(target, "log")) if line.rpartition(" nid ")[2].isdigit()}
        for place, body in database.batches.items():
            if place.seq <= database.cursors.get(place[:3], 0):
                for event in self.recording.events[body]:
                    assert event.nid in written, "passed, but not in the log: %s" % (event,)


def read_spool(name, spool):
    """The attempts of the records that are whole."""
    found = set()
    for file in ("spool", "spool.taking"):
        path = os.path.join(spool, file)
        if not os.path.exists(path):
            continue
        with open(path, "rb") as records:
            for line in records.read().split(b"\n"):
                request, _, crc = line.rpartition(b" crc=")
                if crc == b"%08x" % zlib.crc32(request):
                    fields = dict(word.split(b"=", 1) for word in request.split()[1:])
                    found.add(Attempt(name, fields[b"jail"].decode(), fields[b"ip"].decode(),
                                      round(float(fields[b"time"]) * 1000)))
    return found


class Elsewhere:
    """The batches of the others that a node holds while the power is on, read again after its
    database has changed only."""

    def __init__(self, node):
        self.node = node
        self.state = os.path.join(node.dir, "state")
        self.batches = None

    def note(self, record):
        if record.path.startswith(self.state):
            self.batches = None

    def read(self, look):
        if self.batches is None:
            self.batches = set(look.read(look.write(self.node), "peers.db").batches)
        return self.batches


def check_point(recording, look, elsewhere, fates, record):
    """record: the last one before the point; only whose disk it changed, or who promised something,
    may be worse off than before."""
    for node in recording.mesh.nodes:
        if record.path and not record.path.startswith(node.dir + "/"):
            continue
        (other,) = [each for each in elsewhere if each.node is not node]
        told = other.read(look)
        target = look.write(node, fates)
        look.check_numbers(node, look.check_promises(node, target), told)
        look.check_lines(target)


def check_points(recording, points, directory):
    chance = recording.chance
    disk = copy.deepcopy(recording.disk_at_start)
    elsewhere = [Elsewhere(node) for node in recording.mesh.nodes]
    done = 0
    print(len(recording.records), "records,", len(points), "points")
    for point in points:
        for record in recording.records[done:point]:
            disk.apply(record)
            for other in elsewhere:
                other.note(record)
        done = point
        record = recording.records[point - 1]
        promised = record.kind in (power.ANSWERED, power.EXITED)
        for fates in {FATES[0] if promised else chance.choice(FATES), chance.choice(FATES)}:
            look = Look(recording, disk, point, chance, directory)
            try:
                check_point(recording, look, elsewhere, fates, record)
            except AssertionError as error:
                raise AssertionError("at record %d, %s: %s" % (point, fates, error)) from error


# ---- the tests ----

@pytest.fixture(name="recording", scope="module")
def make_recording(tmp_path_factory):
    return Recording(tmp_path_factory.mktemp("power"), new_seed())


def test_the_list_is_complete(recording):
    """Played back to its end, with nothing left out, it makes the files that there are."""
    disk = copy.deepcopy(recording.disk_at_start)
    for record in recording.records:
        disk.apply(record)
    for node in recording.mesh.nodes:
        listed = {path: bytes(file.now) for path, file in disk.now.items()
                  if path.split("/")[-2] in ("state", "spool", "log") and
                  path.startswith(node.dir + "/")}
        assert listed == recording.files_at_end[node.name]


def test_nothing_acknowledged_is_lost_when_the_power_fails(recording, tmp_path):
    check_points(recording, recording.points(60), tmp_path)


@pytest.mark.skipif(not LONG, reason="only with --long")
def test_nothing_acknowledged_is_lost_whenever_the_power_fails(tmp_path):
    """At every point of several runs."""
    seed = new_seed()
    for number in range(2):
        recording = Recording(tmp_path / str(number), seed + number)
        check_points(recording, range(1, len(recording.records) + 1), tmp_path / "look")


def test_a_spool_record_that_is_not_whole_is_never_taken_for_a_ban(tmp_path):
    """Cut short at every byte, its end never written, or one byte another one; the next hook begins a
    line of its own behind it."""
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.stop()
        addresses = public_addresses(600, seed=21)
        whole = []
        records = b""
        for at in range(1, len(spool_record("203.200.100.100", time.time())) - 1):
            for damage in ("cut", "zeros", "another byte"):
                record = spool_record(addresses.pop(), time.time())
                if at < len(record) - 1:
                    rest = {"cut": b"", "zeros": bytes(len(record) - at),
                            "another byte": bytes([record[at] ^ 1]) + record[at + 1:-1]}[damage]
                    records += record[:at] + rest + b"\n"
            whole.append(addresses.pop())
            records += spool_record(whole[-1], time.time())
        with open(os.path.join(mx1.spool, "spool"), "wb") as spool:
            spool.write(records)
        mx1.start()
        mx2.wait_reported(whole)
        assert sorted(mx2.reported()) == sorted(whole)
        assert mx1.status()["intake"]["stored"] == len(whole)


def revive(recording, look, fates):
    """The mesh again, from the disks of a look. fates: of each node, by name."""
    mesh = copy.copy(recording.mesh)
    mesh.nodes = []
    for old in recording.mesh.nodes:
        node = copy.copy(old)
        node.mesh = mesh
        node.dir = look.write(old, fates[old.name])
        node.conf, node.log, node.socket, node.admin = (
            os.path.join(node.dir, name) for name in ("conf", "out", "publish", "admin"))
        node.spool = os.path.join(node.dir, "spool")
        node.shared_log = os.path.join(node.dir, "log", "shared.log")
        node.lines = functools.partial(lines_of, os.path.dirname(node.shared_log))
        node.env = {}
        node.write_settings()
        mesh.nodes.append(node)
    return mesh


def check_goes_on(recording, look, fates):
    """The real programs start from there, publish, and all is as it should be."""
    mesh = revive(recording, look, fates)
    model = copy.deepcopy(recording.model)
    model.acked = {attempt: 3600 for node in mesh.nodes
                   for attempt in recording.promised(node, look.point)}
    for node in mesh.nodes:
        node.was_torn = True
    with mesh:
        for node in mesh.nodes:
            assert "error" not in node.output(), node.output()
            attempt = Attempt(node.name, "sshd", recording.addresses.pop(), int(time.time() * 1000))
            model.ask(attempt, 3600)
            node.publish(attempt.ip, time="%.3f" % (attempt.time_ms / 1000))
            model.ack(attempt, 3600)
        model.wait_settled(mesh.nodes)
        model.check(mesh.nodes, restarts={node.name: 5 for node in mesh.nodes})


def test_the_programs_go_on_from_where_the_power_failed(recording, tmp_path):
    """One host loses its power, the other one or none goes on with what it held then."""
    disk = copy.deepcopy(recording.disk_at_start)
    chance = recording.chance
    points = recording.points(rounds(10, 100))
    points = sorted(chance.sample(points, rounds(4, 100)))
    done = 0
    for point in points:
        for record in recording.records[done:point]:
            disk.apply(record)
        done = point
        directory = tmp_path / str(point)
        kept = chance.choice(["mx1", "mx2", None])
        fates = {node.name: ("kept", "kept") if node.name == kept else chance.choice(FATES)
                 for node in recording.mesh.nodes}
        print("at record", point, fates)
        check_goes_on(recording, Look(recording, disk, point, chance, directory), fates)
