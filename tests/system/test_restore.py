"""A state directory that is lost, or comes back from a backup: no number is used twice, nothing is
lost that any peer has, and the log says what happened."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import time

import pytest

from effort import new_seed, rounds
from mesh import Mesh, public_addresses, wait_until
from store import Store, add_aggregator

VERSION_7 = ["allowed_name", "memo", "origin", "admission", "gone"]
STATE_FILES = ("own.db", "peers.db")


def state_dir(node):
    return os.path.join(node.dir, "state")


def backup(node, name):
    """Copy the state directory as a backup would: the node may be running."""
    target = os.path.join(node.dir, name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(state_dir(node), target)
    return target


def put_back(node, source, files=STATE_FILES):
    """Replace some databases, each with what belongs to it, by those of a backup; without a source
    they are lost."""
    for file in files:
        for suffix in ("", "-wal", "-shm", "-check", "-newest"):
            path = os.path.join(state_dir(node), file + suffix)
            if os.path.exists(path):
                os.unlink(path)
            if source and suffix != "-shm" and os.path.exists(os.path.join(source, file + suffix)):
                shutil.copy(os.path.join(source, file + suffix), path)


def envelopes(node):
    """All batches that a node holds: {(origin, epoch, channel, seq): envelope}."""
    found = {}
    for file in STATE_FILES:
        with sqlite3.connect("file:%s?mode=ro" % os.path.join(state_dir(node), file),
                             uri=True) as db:
            for origin, epoch, channel, seq, envelope in db.execute(
                    "SELECT origin, epoch, channel, seq, envelope FROM batches"):
                key = (origin, epoch, channel, seq)
                assert found.setdefault(key, envelope) == envelope, "two bodies in %s" % node.name
        db.close()
    return found


def assert_one_body_each(nodes):
    """No number has two bodies, wherever one looks."""
    everywhere = {}
    for node in nodes:
        for key, envelope in envelopes(node).items():
            assert everywhere.setdefault(key, envelope) == envelope, key
    return everywhere


def wait_same_feeds(nodes):
    """Every node holds all of every feed that any of them holds, and that has not ended."""
    def same():
        have = [{(feed["key"], feed["epoch"], feed["channel"]): feed["have"]
                 for feed in node.status()["mesh"]["feeds"] if feed["have"] > 0 and not feed["ended"]}
                for node in nodes]
        return all(one == have[0] for one in have) and have[0]
    return wait_until(same, lambda: "the nodes hold different feeds: %s" % "\n".join(
        "%s %s" % (node.name, [(f["origin"], f["epoch"], f["have"], f["head"], f["ended"])
                               for f in node.status()["mesh"]["feeds"]]) for node in nodes))


def publish_all(node, addresses):
    for address in addresses:
        node.publish(address)


def kept_heads(node):
    """{newest batch held: newest head kept} of each feed of others."""
    with sqlite3.connect("file:%s?mode=ro" % os.path.join(state_dir(node), "peers.db"),
                         uri=True) as db:
        rows = db.execute("SELECT (SELECT max (id & 1099511627775) FROM batch WHERE "
                          "batch.id >> 40 = feed.number), head_seq FROM feed").fetchall()
    db.close()
    return rows


def wait_heads_kept(nodes):
    """Heads of all that is published have gone round: what a node has not heard of, it cannot bring
    back."""
    wait_until(lambda: all(newest is None or head >= newest for node in nodes
                           for newest, head in kept_heads(node)), "heads to be kept")


def test_a_copy_of_last_week_goes_on_without_using_a_number_twice(tmp_path):
    first = public_addresses(5, seed=1)
    later = public_addresses(4, seed=2)
    after = public_addresses(3, seed=3)
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        publish_all(mx1, first)
        mx2.wait_reported(first)
        copy = backup(mx1, "last-week")
        publish_all(mx1, later)
        publish_all(mx2, ["80.94.95.112"])
        mx1.wait_reported(["80.94.95.112"])
        mx3.wait_reported(first + later)
        wait_heads_kept([mx2, mx3])
        mx1.stop(signal.SIGKILL)
        put_back(mx1, copy)
        mx1.start()
        publish_all(mx1, after)
        for node in (mx2, mx3):
            node.wait_reported(first + later + after)
        wait_same_feeds(mesh.nodes)
        wait_until(lambda: "of ours: complete again" in mx1.output(), mx1.output)
        assert "of ours: peers hold 4 batches more than this host" in mx1.output()
        everywhere = assert_one_body_each(mesh.nodes)
        assert len(everywhere) == len(first + later + after) + 1
        # Its own bans are its own: not written into its shared log, but known to run.
        wait_until(lambda: mx1.status()["running"] == len(first + later + after) + 1,
                   "the recovered bans of its own")
        assert set(mx1.reported()) == {"80.94.95.112"}


def test_a_repeated_request_is_known_after_its_epoch_came_back(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        when = "%.3f" % time.time()
        mx1.publish("80.94.95.112", time=when)
        mx2.wait_reported(["80.94.95.112"])
        wait_heads_kept([mx2])
        mx1.stop()
        put_back(mx1, None)
        mx1.start()
        wait_until(lambda: "of ours: complete again" in mx1.output(), mx1.output)
        mx1.publish("80.94.95.112", time=when)
        assert mx1.status()["intake"] == {"stored": 0, "repeated": 1}


def test_an_own_db_that_is_put_back_alone_is_said_and_loses_nothing(tmp_path):
    """Whoever copies only own.db takes acknowledged bans back; what tells is the file beside it."""
    first, later = public_addresses(4, seed=7), public_addresses(3, seed=8)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        publish_all(mx1, first)
        mx2.wait_reported(first)
        mx1.stop()
        copy = backup(mx1, "copy")
        mx1.start()
        publish_all(mx1, later)
        mx2.wait_reported(first + later)
        wait_heads_kept([mx2])
        mx1.stop()
        for file in ("own.db-wal", "own.db-shm"):
            if os.path.exists(os.path.join(state_dir(mx1), file)):
                os.unlink(os.path.join(state_dir(mx1), file))
        shutil.copy(os.path.join(copy, "own.db"), os.path.join(state_dir(mx1), "own.db"))
        mx1.start()
        assert "3 batches or more that were on disk are not in it" in mx1.output()
        assert "4 batches of this host could be read, 4 bans of theirs" in mx1.output()
        wait_same_feeds(mesh.nodes)
        assert_one_body_each(mesh.nodes)
        assert sorted(mx2.reported()) == sorted(first + later), "each once"


@pytest.mark.parametrize("files", [("own.db",), ("peers.db",)], ids=["own", "peers"])
@pytest.mark.parametrize("restored", [True, False], ids=["restored", "lost"])
def test_databases_that_are_lost_or_older_than_each_other(tmp_path, files, restored):
    first = public_addresses(6, seed=11)
    later = public_addresses(6, seed=12)
    after = public_addresses(4, seed=13)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        for node, some in ((mx1, first[:3]), (mx2, first[3:])):
            publish_all(node, some)
        mx1.wait_reported(first[3:])
        mx2.wait_reported(first[:3])
        copy = backup(mx1, "copy")
        mx1.stop()
        mx1.start()  # a second epoch, of which the copy knows nothing
        for node, some in ((mx1, later[:3]), (mx2, later[3:])):
            publish_all(node, some)
        mx1.wait_reported(later[3:])
        mx2.wait_reported(later[:3])
        wait_heads_kept([mx2])
        mx1.stop()
        put_back(mx1, copy if restored else None, files)
        mx1.start()
        publish_all(mx1, after)
        mx2.wait_reported(first[:3] + later[:3] + after)
        wait_same_feeds(mesh.nodes)
        assert_one_body_each(mesh.nodes)
        # Everything of the peer was decided, some of it twice; nothing of its own.
        wait_until(lambda: set(first[3:] + later[3:]) <= set(mx1.reported()), "all of mx2's bans")
        assert set(mx1.reported()) == set(first[3:] + later[3:])


def test_a_later_epoch_that_comes_back_is_not_the_end(tmp_path):
    """The node whose disk was lost began anew before it heard of its later epochs."""
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        wait_heads_kept([mx2])
        mx1.stop()
        mx2.stop()
        put_back(mx1, None)
        mx1.start()
        mx1.publish("80.94.95.113")  # nobody is there who could tell
        mx2.start()
        wait_same_feeds(mesh.nodes)
        mx1.publish("80.94.95.114")
        mx2.wait_reported(["80.94.95.112", "80.94.95.113", "80.94.95.114"])
        wait_same_feeds(mesh.nodes)
        assert_one_body_each(mesh.nodes)


def test_a_batch_that_no_head_tells_of_is_brought_back_all_the_same(tmp_path):
    """The origin died, and came back from a backup, before its next heartbeat: one peer has its last
    batch, and no signed head says that there is one."""
    addresses = iter(public_addresses(100, seed=51))
    mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"], heartbeat=1000)
    with mesh:
        mx1, mx2, mx3 = mesh.nodes
        first = next(addresses)
        mx1.publish(first)
        mx3.wait_reported([first])
        mx3.stop()
        while True:  # until the heartbeat is not quicker than we are
            wait_heads_kept([mx2])
            copy = backup(mx1, "copy")
            last = next(addresses)
            mx1.publish(last)
            mx2.wait_reported([last])
            (newest, head), = kept_heads(mx2)
            if head < newest:
                break
        mx1.stop(signal.SIGKILL)
        assert kept_heads(mx2) == [(newest, newest - 1)]
        put_back(mx1, copy)
        mx1.start()
        mx3.start()
        mx3.wait_reported([last])
        wait_until(lambda: [feed["have"] for feed in mx1.status()["mesh"]["feeds"]] == [newest],
                   "mx1 to have its batch again")


@pytest.mark.parametrize("restored", [True, False], ids=["restored", "lost"])
def test_an_aggregators_state_directory_lost_or_restored(tmp_path, restored):
    first = public_addresses(20, seed=21)
    later = public_addresses(20, seed=22)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1 = mesh.nodes[0]
            publish_all(mx1, first)
            store.wait_holds(first, aggregator)
            copy = backup(aggregator, "copy")
            publish_all(mx1, later[:10])
            store.wait_holds(later[:10], aggregator)
            aggregator.stop(signal.SIGKILL)
            put_back(aggregator, copy if restored else None)
            aggregator.start()
            publish_all(mx1, later[10:])
            store.wait_holds(first + later, aggregator)
            wait_same_feeds(mesh.nodes)
            assert len(store.check_whole()) == 40
            assert aggregator.status()["behind"] == 0
            assert_one_body_each(mesh.nodes)


def test_what_was_acknowledged_is_everywhere_whatever_is_lost_or_put_back(tmp_path):
    """At random: publish, stop, kill, back up, put back, lose; at the end every acknowledged ban is
    on every node, as long as never two nodes lose theirs at once."""
    seed = new_seed()
    generator = random.Random(seed)
    addresses = iter(public_addresses(4000, seed))
    acknowledged = []
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        copies = {node.name: [] for node in mesh.nodes}
        for _ in range(rounds(3, 40)):
            for _ in range(generator.randrange(1, 8)):
                node = generator.choice(mesh.nodes)
                address = next(addresses)
                node.publish(address, jail="j" + node.name)
                acknowledged.append((node.name, address))
            victim = generator.choice(mesh.nodes)
            if generator.random() < 0.5:
                copies[victim.name].append(backup(victim, "copy%d" % len(copies[victim.name])))
            wait_same_feeds(mesh.nodes)
            victim.stop(generator.choice([signal.SIGTERM, signal.SIGKILL]))
            files = generator.choice([("own.db",), ("peers.db",), STATE_FILES, STATE_FILES])
            put_back(victim, generator.choice(copies[victim.name] + [None]), files)
            victim.start()
            victim.wait_connected()
        wait_same_feeds(mesh.nodes)
        assert_one_body_each(mesh.nodes)
        for node in mesh.nodes:
            wanted = {address for origin, address in acknowledged if origin != node.name}
            node.wait_reported(wanted)
            # fail2ban would not hear of its own; of others each once or, after a loss, again.
            assert set(node.reported()) == wanted


@pytest.mark.parametrize("version, later", [
    (4, ["jail", "lifted", *VERSION_7]), (5, ["lifted", *VERSION_7]), (6, VERSION_7)])
def test_a_state_directory_of_a_version_before_is_taken_over(tmp_path, version, later):
    """Tables came with later versions; what is there stays."""
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        for node in mesh.nodes:
            node.stop()
            for name in STATE_FILES:
                with contextlib.closing(sqlite3.connect(
                        os.path.join(node.dir, "state", name))) as db:
                    for table in later:
                        db.execute(f"DROP TABLE IF EXISTS {table}")
                    if name == "peers.db" and version < 6:  # what these versions had
                        db.execute("CREATE TABLE backlog (nid INTEGER PRIMARY KEY)")
                    db.execute(f"PRAGMA user_version = {version}")
                    db.commit()
            node.start()
            with contextlib.closing(sqlite3.connect(
                    os.path.join(node.dir, "state", "peers.db"))) as db:
                assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'backlog'").fetchall()
        mx1.publish("80.94.95.113", jail="my jail")
        mx2.wait_reported(["80.94.95.112", "80.94.95.113"])
        assert list(mx1.status()["jails"].values()) == ["my jail"]
