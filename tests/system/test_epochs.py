"""However often a node starts, few of its epochs remain, and it is heard all the time."""

import os
import shutil
import signal
import sqlite3
import time

from mesh import Mesh, public_addresses, wait_until
from store import Store, add_aggregator
from test_clock import Clock

MOST = 16
LONG = 86400


def epochs_of(node, origin):
    return [feed["epoch"] for feed in node.status()["mesh"]["feeds"] if feed["origin"] == origin]


def rows(node, database):
    """Feeds, and cursors of feeds that are gone."""
    with sqlite3.connect("file:%s/state/%s?mode=ro" % (node.dir, database), uri=True) as db:
        feeds = db.execute("SELECT count (*) FROM feed").fetchone()[0]
        strays = db.execute("SELECT count (*) FROM batch WHERE id >> 40 NOT IN "
                            "(SELECT number FROM feed)").fetchone()[0]
    return feeds, strays


def cursors(store):
    """The epochs that the store has a cursor of."""
    client = store.client()
    try:
        client.send("KEYS", "banmesh:cursor:*")
        return {int(key.split(":")[3]) for key in client.read()}
    finally:
        client.close()


def test_after_a_hundred_starts_few_epochs_remain_and_no_ban_is_missing(tmp_path):
    """It used to be that no feed ever went: after 10,000 starts nobody heard of a node any more."""
    addresses = public_addresses(100, seed=91)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1", "mx2"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1, mx2, _ = mesh.nodes
            for number, address in enumerate(addresses):
                mx1.publish(address, bantime=LONG)
                mx2.wait_reported([address])
                mx1.stop(signal.SIGKILL if number % 3 == 0 else signal.SIGTERM)
                mx1.start()
            for node in (mx1, mx2):
                wait_until(lambda one=node: len(epochs_of(one, "mx1")) <= MOST,
                           lambda one=node: "%s has %s" % (one.name, epochs_of(one, "mx1")))
            assert mx2.reported() == addresses
            newcomer = mesh.add("mx3").start()
            newcomer.wait_reported(addresses)
            assert sorted(newcomer.reported()) == sorted(addresses)
            for database, node in (("own.db", mx1), ("peers.db", mx2)):
                feeds, strays = rows(node, database)
                assert feeds <= MOST and strays == 0
            # Whoever keeps the history keeps what ended for as long as it is asked to.
            wait_until(lambda: store.holds(addresses), aggregator.output)
            assert len(store.check_whole()) == len(addresses)
            mx1.publish("80.94.95.112")
            for node in (mx2, newcomer):
                node.wait_reported(["80.94.95.112"])


def test_what_ended_leaves_the_replica_and_the_store_behind_the_retention(tmp_path):
    long_ago = time.time() - 3 * LONG
    addresses = public_addresses(40, seed=92)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"], extra={"history": {"retention": 1}})
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1, _ = mesh.nodes
            for address in addresses:
                mx1.publish(address, bantime=60, time="%.3f" % long_ago)
                wait_until(lambda one=address: store.holds([one]), aggregator.output)
                mx1.stop()
                mx1.start()
            wait_until(lambda: len(epochs_of(aggregator, "mx1")) <= MOST,
                       lambda: str(epochs_of(aggregator, "mx1")))
            wait_until(lambda: cursors(store) <= set(epochs_of(aggregator, "mx1")),
                       lambda: "%s beside %s" % (cursors(store), epochs_of(aggregator, "mx1")))
            assert len(store.check_whole()) == len(addresses)


def test_a_node_that_lost_its_disk_while_its_clock_stood_in_1970_is_heard_in_the_end(tmp_path):
    """Its peers know of later epochs, and that earlier ones have ended."""
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    addresses = public_addresses(30, seed=93)
    with mesh:
        mx1, mx2 = mesh.nodes
        for address in addresses[:12]:  # until the first epochs have ended
            mx1.publish(address, bantime=LONG)
            mx2.wait_reported([address])
            mx1.stop()
            mx1.start()
        wait_until(lambda: len(epochs_of(mx2, "mx1")) <= 9, "the first epochs to end")
        mx2.stop()
        mx1.stop()
        shutil.rmtree(mx1.dir + "/state")
        os.mkdir(mx1.dir + "/state")
        clock = Clock(mx1)
        clock.jump(-int(time.time()) + 3600)
        mx1.start()
        for address in addresses[12:20]:  # nobody hears it
            mx1.publish(address, bantime=LONG, time="%.3f" % time.time())
        assert max(epochs_of(mx1, "mx1")) < LONG * 1000
        mx2.start()
        mx2.wait_reported(addresses[:20])
        for address in addresses[20:]:
            mx1.publish(address, bantime=LONG, time="%.3f" % time.time())
        mx2.wait_reported(addresses)
        assert sorted(mx2.reported()) == sorted(addresses)
        newcomer = mesh.add("mx3").start()
        newcomer.wait_reported(addresses)
