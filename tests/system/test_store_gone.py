"""What nobody holds any more when an aggregator comes to it is said exactly; all else is stored."""

import contextlib
import os
import time

from mesh import Mesh, public_addresses, wait_until
from node_by_hand import (FETCH, SURVEY, NodeByHand, ban, body_of, bytes_field, position,
                          read_fields)
from store import Store, add_aggregator, stopped

EPOCH = 1795288025000


class Origin(NodeByHand):
    """A node by hand that holds the batches of one feed from its floor on, or the newest one, and
    answers for them as banmeshd does."""

    def __init__(self, node):
        super().__init__(node)
        self.batches = {}
        self.floor = 1
        self.floors = {}  # of other epochs, of which nothing below is left
        self.answer(Origin.serve)

    def append(self, *events):
        """A batch of events as node_by_hand makes them; returns its number."""
        seq = len(self.batches) + 1
        self.batches[seq] = self.batch(EPOCH, seq, events)
        return seq

    def head(self, epoch=0, seq=0, floor=1):
        """What it says with each heartbeat, too."""
        if not self.batches:
            return super().head(epoch, seq, floor)
        return super().head(EPOCH, len(self.batches), self.floor)

    def serve(self, routing_id, request):
        """A survey gets the head, a fetch the batches that are left."""
        if request[5] == SURVEY:
            self.router.send_multipart([routing_id, self.bundle([self.head()])])
        elif request[5] == FETCH:
            fields = read_fields(body_of(request))
            (epoch,) = fields[2]
            (after,) = fields.get(4, [0])
            if epoch != EPOCH:
                floor = self.floors[epoch]
                self.router.send_multipart([routing_id, self.done_with(epoch, after, floor, floor)])
                return
            last = len(self.batches)
            oldest = max(after + 1, min(self.floor, last))
            sent = range(oldest, last + 1) if oldest == after + 1 else []
            for seq in sent:
                self.router.send_multipart([routing_id, self.batches[seq]])
            self.router.send_multipart([routing_id, self.done_with(EPOCH, last if sent else after, last,
                                                              oldest if oldest <= last else 0)])


@contextlib.contextmanager
def away(directory, aggregators=("hist1",)):
    """A node by hand, and aggregators that follow it into one store. Yields them all; no aggregator
    is started."""
    with Store(directory) as store:
        mesh = Mesh(directory, ["hand"])
        followers = [add_aggregator(mesh, [store], name=name) for name in aggregators]
        with Origin(mesh.nodes[0]) as hand:
            try:
                yield store, hand, *followers
            finally:
                mesh.stop()


def feed_of(aggregator):
    (feed,) = [one for one in aggregator.status()["mesh"]["feeds"] if one["origin"] == "hand"]
    return feed


def gone(aggregator):
    return [line.split("warning: ")[1] for line in aggregator.output().splitlines()
            if "are gone" in line]


def wait_stored(aggregator, seq):
    wait_until(lambda: any(one["stored"] == seq for one in aggregator.status()["mesh"]["feeds"]),
               aggregator.output)


def test_what_was_compacted_away_meanwhile_is_said_exactly(tmp_path):
    addresses = public_addresses(10, seed=41)
    with away(tmp_path) as (store, hand, aggregator):
        for address in addresses[:4]:
            hand.append(ban(address))
        aggregator.start()
        wait_stored(aggregator, 4)
        aggregator.stop()
        for address in addresses[4:]:
            hand.append(ban(address, jail="postfix"))
        hand.floor = 8
        store.call("SET", "f2b:postfix", "somebody's")
        aggregator.start()
        # Said once, however often the block behind it has to be tried.
        wait_until(lambda: aggregator.status()["store"]["retries"] > 2, aggregator.output)
        assert feed_of(aggregator)["missed_batches"] == 0, "of what is in the store"
        store.call("DEL", "f2b:postfix")
        wait_stored(aggregator, 10)
        assert gone(aggregator) == [
            "3 batches of hand (epoch %d, seq 5-7) are gone: older than retention" % EPOCH]
        assert feed_of(aggregator)["missed_batches"] == 3
        assert aggregator.status()["store"]["missed_batches"] == 3
        assert {attempt["ip"] for attempt in store.check_whole().values()} == \
            set(addresses) - set(addresses[4:7])
        # It is part of what is known of this history: neither a restart nor a lost connection makes
        # it forgotten, nor said or counted again.
        wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")
        store.call("CLIENT", "KILL", "TYPE", "normal")
        wait_until(lambda: aggregator.status()["store"]["connections"] > 1, "the connection")
        wait_stored(aggregator, 10)
        aggregator.stop()
        aggregator.start()
        wait_stored(aggregator, 10)
        assert feed_of(aggregator)["missed_batches"] == 3
        assert len(gone(aggregator)) == 1
        # And once more: another jump, another range.
        aggregator.stop()
        for address in public_addresses(5, seed=42):
            hand.append(ban(address))
        hand.floor = 16
        aggregator.start()
        wait_stored(aggregator, 15)
        assert gone(aggregator)[1:] == [
            "4 batches of hand (epoch %d, seq 11-14) are gone: older than retention" % EPOCH]
        assert feed_of(aggregator)["missed_batches"] == 7


def test_a_newcomer_says_what_was_before_its_time(tmp_path):
    addresses = public_addresses(6, seed=43)
    with away(tmp_path) as (store, hand, aggregator):
        for address in addresses:
            hand.append(ban(address))
        hand.floor = 4
        aggregator.start()
        wait_stored(aggregator, 6)
        assert gone(aggregator) == [
            "3 batches of hand (epoch %d, seq 1-3) are gone: older than retention" % EPOCH]
        assert {attempt["ip"] for attempt in store.check_whole().values()} == set(addresses[3:])


def test_a_ban_that_was_copied_forward_is_one_attempt_with_its_own_nid(tmp_path):
    """Of two that are compacted away one is still running: it comes again, under the place that it
    had; to one who has it already, and to one who never got it."""
    addresses = public_addresses(3, seed=44)
    when = int(time.time() * 1000)
    with away(tmp_path) as (store, hand, aggregator):
        for address in addresses[:2]:
            hand.append(ban(address, time_ms=when))
        aggregator.start()
        wait_stored(aggregator, 2)
        nid = store.nid_of(addresses[1])
        hand.append(ban(addresses[1], time_ms=when) + bytes_field(15, position(EPOCH, 2)),
                    ban(addresses[2]))
        hand.floor = 3
        wait_stored(aggregator, 3)
        assert len(store.check_whole()) == 3 and store.nid_of(addresses[1]) == nid
        assert gone(aggregator) == [] and feed_of(aggregator)["missed_batches"] == 0
        aggregator.stop()
        for file in os.listdir(os.path.join(aggregator.dir, "state")):
            os.unlink(os.path.join(aggregator.dir, "state", file))
        store.call("FLUSHALL")
        aggregator.start()
        wait_stored(aggregator, 3)
        assert store.nid_of(addresses[1]) == nid and len(store.check_whole()) == 2
        assert feed_of(aggregator)["missed_batches"] == 2


def test_what_is_held_below_the_floor_goes_into_the_history(tmp_path):
    """A floor says what counts for bans; the history wants all that the replica still has."""
    addresses = public_addresses(9, seed=45)
    with away(tmp_path) as (store, hand, aggregator):
        for address in addresses:
            hand.append(ban(address))
        store.kill()
        aggregator.start()
        wait_until(lambda: aggregator.status()["behind"] == 9, "all of it in the replica")
        hand.floor = 8
        wait_until(lambda: feed_of(aggregator)["floor"] == 8, "the floor")
        store.start()
        wait_stored(aggregator, 9)
        assert len(store.check_whole()) == 9
        store.call("FLUSHALL")
        wait_until(lambda: store.holds(addresses), aggregator.output)
        assert len(store.check_whole()) == 9
        assert gone(aggregator) == [] and feed_of(aggregator)["missed_batches"] == 0


def test_what_another_aggregator_has_stored_is_not_missed(tmp_path):
    """One sleeps while the other stores what is compacted away then."""
    addresses = public_addresses(10, seed=46)
    with away(tmp_path, ("hist1", "hist2")) as (store, hand, one, other):
        for address in addresses[:4]:
            hand.append(ban(address))
        for aggregator in (one, other):
            aggregator.start()
            wait_stored(aggregator, 4)
        with stopped(one):
            for address in addresses[4:]:
                hand.append(ban(address))
            wait_stored(other, 10)
            wait_until(lambda: other.status()["behind"] == 0, "the cursor")
            hand.floor = 8
            wait_until(lambda: feed_of(other)["floor"] == 8, "the floor")
        wait_stored(one, 10)
        assert gone(one) == [] and feed_of(one)["missed_batches"] == 0
        assert len(store.check_whole()) == 10


def test_a_thousand_gaps_are_said_and_all_are_counted(tmp_path):
    """A trusted node gone bad must not fill our log with floors that rise without end."""
    with away(tmp_path) as (_, hand, aggregator):
        hand.append(ban("45.154.244.193"))
        aggregator.start()
        wait_stored(aggregator, 1)
        for epoch in range(EPOCH + 1, EPOCH + 1011):
            hand.floors[epoch] = 4
            hand.once.append(NodeByHand.head(hand, epoch, 3, 4))
            if epoch % 100 == 0:  # no more than its queue holds, nor feeds without a batch
                wait_until(lambda n=epoch: all(feed["have"] for feed in
                                               aggregator.status()["mesh"]["feeds"]) and
                           any(feed["epoch"] == n for feed in
                               aggregator.status()["mesh"]["feeds"]), "the heads")
        wait_until(lambda: aggregator.status()["store"]["missed_batches"] == 3030,
                   aggregator.output)
        hand.floors[EPOCH + 1] = 2 ** 39
        hand.once.append(NodeByHand.head(hand, EPOCH + 1, 2 ** 39, 2 ** 39))
        wait_until(lambda: aggregator.status()["store"]["missed_batches"] == 3030 + 2 ** 39 - 4,
                   aggregator.output)
        assert len(gone(aggregator)) == 1000
        assert aggregator.output().count("no more of this is said") == 1
