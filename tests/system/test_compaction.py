"""The log of a node stays within what still counts, and nothing that counts is lost by that."""

import os
import sqlite3
import time

from mesh import Mesh, public_addresses, wait_until
from node_by_hand import FETCH, NodeByHand, ban
from store import Store, add_aggregator

SHORT = 1  # s
LONG = 86400
LONG_AGO = 2 * LONG  # what ended then is let go of; within a day it is not


def own_log(node):
    return node.status()["own_log"]


def feeds_of(node, origin):
    return [feed for feed in node.status()["mesh"]["feeds"] if feed["origin"] == origin]


def rows(node, database, query, *values):
    with sqlite3.connect("file:%s/state/%s?mode=ro" % (node.dir, database), uri=True) as db:
        return db.execute(query, values).fetchall()


def batches(node, database):
    return rows(node, database, "SELECT count (*) FROM batch")[0][0]


def trimmed(node, database, origin):
    """Whether nothing lies under the floor but, at most, the newest batch."""
    feed = feeds_of(node, origin)[0]
    return rows(node, database, "SELECT min (id & 1099511627775) FROM batch") == \
        [(min(feed["floor"], feed["have"]),)]


def stream(node, addresses, bantime, ago=0):
    now = time.time() - ago
    answers = node.stream([(ip, "sshd", now, bantime) for ip in addresses])
    assert all(answer.startswith("ok") for answer in answers), answers[:3]


def wait_compacted(node):
    """What has ended at the beginning of the log has left it."""
    wait_until(lambda: feeds_of(node, node.name)[0]["floor"] > 1,
               lambda: "compaction: %s" % own_log(node))


def test_ended_bans_leave_the_log_and_running_ones_stay_with_their_nid(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    addresses = public_addresses(4300, seed=31)
    lasting, ended = addresses[:300], addresses[300:]
    with mesh:
        mx1, mx2 = mesh.nodes
        for start in range(0, 300, 30):  # a few lasting ones between many that end
            stream(mx1, lasting[start:start + 30], LONG)
            at = start * 4000 // 300
            stream(mx1, ended[at:at + 400], SHORT, ago=LONG_AGO)
        mx2.wait_reported(lasting)
        lines = mx2.lines()
        nids = {line.split(": ")[1]: line.split(" nid ")[1] for line in lines}
        wait_compacted(mx1)
        wait_until(lambda: all(feed["floor"] > 1 for feed in feeds_of(mx2, "mx1")),
                   lambda: "the raised floor on mx2: %s" % feeds_of(mx2, "mx1"))
        # What is copied is no new ban where it is held.
        assert mx2.lines() == lines
        newcomer = mesh.add("mx3").start()
        newcomer.wait_reported(lasting)
        assert {line.split(": ")[1]: line.split(" nid ")[1] for line in newcomer.lines()} == \
            {ip: nids[ip] for ip in lasting}
        # Nodes drop what lies under the floor; the origin keeps it for aggregators.
        wait_until(lambda: trimmed(mx2, "peers.db", "mx1"), "mx2 drops what lies under the floor")
        assert rows(mx1, "own.db", "SELECT min (id & 1099511627775) FROM batch") == [(1,)]


def test_epochs_that_ended_are_emptied_into_the_running_one(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    addresses = public_addresses(3600, seed=32)
    with mesh:
        mx1, mx2 = mesh.nodes
        lasting = []
        for epoch in range(3):
            some = addresses[epoch * 1200:(epoch + 1) * 1200]
            lasting += some[:20]
            stream(mx1, some[:20], LONG)
            stream(mx1, some[20:], SHORT, ago=LONG_AGO)
            mx2.wait_reported(some[:20])
            mx1.stop()
            mx1.start()
        lines = mx2.lines()
        wait_until(lambda: any(feed["floor"] == feed["have"] + 1
                               for feed in feeds_of(mx1, "mx1")), "an epoch without a live ban")
        wait_compacted(mx1)
        newcomer = mesh.add("mx3").start()
        newcomer.wait_reported(lasting)
        assert sorted(newcomer.reported()) == sorted(lasting)
        assert mx2.lines() == lines


def test_an_aggregator_that_was_away_gets_the_bans_that_left_the_log(tmp_path):
    addresses = public_addresses(3000, seed=33)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1", "mx2"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1, mx2, _ = mesh.nodes
            stream(mx1, addresses[:10], LONG)
            store.wait_holds(addresses[:10], aggregator)
            aggregator.stop()
            stream(mx1, addresses[10:], SHORT, ago=LONG_AGO)
            wait_compacted(mx1)
            floor = feeds_of(mx1, "mx1")[0]["floor"]
            assert floor > 1
            aggregator.start()
            wait_until(lambda: store.holds(addresses), aggregator.output)
            assert len(store.check_whole()) == 3000
            assert mx2.reported() == addresses[:10]


def test_a_ban_that_was_prolonged_is_copied_with_its_longer_time(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    addresses = public_addresses(3000, seed=34)
    with mesh:
        mx1, mx2 = mesh.nodes
        when = time.time() - 100
        mx1.stream([(addresses[0], "sshd", when, 200)])
        mx1.stream([(addresses[0], "sshd", when, LONG)])
        stream(mx1, addresses[1:], SHORT, ago=LONG_AGO)
        wait_compacted(mx1)
        # An older head would have the newcomer begin with the shorter ban.
        wait_until(lambda: feeds_of(mx2, "mx1")[0]["floor"] > 1, "the raised floor on mx2")
        newcomer = mesh.add("mx3").start()
        newcomer.wait_reported(addresses[:1])
        (line,) = newcomer.lines()
        assert " for %d s " % LONG in line
        assert line.split(" nid ")[1] == mx2.lines()[0].split(" nid ")[1]


def test_an_aggregator_that_was_away_for_longer_than_the_retention_goes_on_behind_the_gap(tmp_path):
    addresses = public_addresses(4000, seed=35)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"], extra={"history": {"retention": 1}})
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            mx1, _ = mesh.nodes
            stream(mx1, addresses[:10], 9 * LONG, ago=LONG_AGO)
            store.wait_holds(addresses[:10], aggregator)
            aggregator.stop()
            stream(mx1, addresses[10:3000], SHORT, ago=LONG_AGO)
            wait_compacted(mx1)
            wait_until(lambda: trimmed(mx1, "own.db", "mx1"), "mx1 removes what is older than a day")
            stream(mx1, addresses[3000:], LONG)
            aggregator.start()
            wait_until(lambda: store.holds(addresses[3000:]), aggregator.output)
            missing = sum(feed["head"] - feed["have"] for feed in feeds_of(aggregator, "mx1"))
            assert missing == 0


def test_bans_under_a_floor_whose_copies_died_with_the_origin_are_written(tmp_path):
    """The head with the raised floor came, the batch with the copies did not."""
    epoch = 1795288025000
    mesh = Mesh(tmp_path, ["mx2", "hand"])
    mx2, hand = mesh.nodes
    addresses = public_addresses(89, seed=36)
    folder = os.path.dirname(mx2.shared_log)

    def has_nothing(node, routing_id, request):
        if request[5] == FETCH:
            node.router.send_multipart([routing_id, node.done(request)])

    mx2.start()
    try:
        with NodeByHand(hand) as node:
            node.answer(has_nothing)
            mx2.wait_connected(["hand"])
            os.rename(folder, folder + ".away")
            for seq, address in enumerate(addresses, 1):
                node.once.append(node.batch(epoch, seq, [ban(address)]))
            wait_until(lambda: feeds_of(mx2, "hand") and feeds_of(mx2, "hand")[0]["have"] == 89,
                       "the batches on mx2")
            node.once.append(node.head(epoch, 101, floor=90))
            wait_until(lambda: feeds_of(mx2, "hand")[0]["floor"] == 90, "the floor on mx2")
            heartbeats = mx2.status()["mesh"]["messages"]["heads"]
            wait_until(lambda: mx2.status()["mesh"]["messages"]["heads"] > heartbeats + 20,
                       "some rounds of the trimmer")
        os.rename(folder + ".away", folder)
        mx2.wait_reported(addresses)
        assert batches(mx2, "peers.db") == 89
    finally:
        mesh.stop()
