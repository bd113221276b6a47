"""Nodes of a later version in the mesh: what this version does not know it keeps, passes on byte for
byte, counts and shows, and does not act upon; and nothing that it knows suffers.

The later version is a node by hand: unknown kinds of events, unknown fields everywhere, unknown
envelopes, a higher version.
"""

import contextlib
import ctypes
import hashlib
import os
import sqlite3
import time

import zmq

from mesh import Mesh, public_addresses, wait_until
from node_by_hand import (BATCH, DONE, FETCH, HEAD, SODIUM, SURVEY, NodeByHand, ban, bytes_field,
                          number_field, varint)
from store import Store, add_aggregator
from test_trust import read_cert

EPOCH = 1795288025000
MANY_ENVELOPES = 6  # the kind that answers a survey
A, B, C, D, E, F = public_addresses(6, seed=51)

# A field of each wire type that a parser has to pass over: a number, 8 bytes, bytes, 4 bytes.
UNKNOWN_FIELDS = (number_field(200, 7) + varint(201 << 3 | 1) + bytes(range(8)) +
                  bytes_field(202, b"a later version's") + varint(203 << 3 | 5) + bytes(4))
UNKNOWN_EVENT = bytes_field(9, b"an event of a later version") + UNKNOWN_FIELDS


def inside_ban(event, more):
    """The same event, with more fields in its Ban."""
    assert event[:1] == b"\x0a" and event[1] < 128
    return bytes_field(1, event[2:] + more)


class LaterNode(NodeByHand):
    """A node of a later version, with one feed."""

    def __init__(self, node):
        super().__init__(node)
        self.batches = {}
        self.quiet = False  # tells of its feed to those who ask only
        self.answer(LaterNode.serve)

    def any_envelope(self, kind, body, version=1, reserved=0):
        message = b"BNMS" + bytes([version, kind, 0, reserved]) + self.sign_public + body
        signed = b"banmesh envelope 1" + message
        signature = ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_detached(signature, None, signed, ctypes.c_ulonglong(len(signed)),
                                    self.secret)
        return message + signature.raw

    def append(self, *events, more=b""):
        """The next batch. more: fields of the Batch."""
        seq = len(self.batches) + 1
        body = (number_field(1, EPOCH) + number_field(3, seq) +
                b"".join(bytes_field(4, event) for event in events) + more)
        self.batches[seq] = self.any_envelope(BATCH, body)
        if not self.quiet:
            self.once.append(self.batches[seq])

    def head(self, epoch=0, seq=0, floor=1, **_):
        """What it says with each heartbeat."""
        if self.quiet or not self.batches:
            return super().head(epoch, seq, floor)
        return self.feed_head()

    def feed_head(self):
        """With fields that are not known."""
        last = len(self.batches)
        digest = hashlib.blake2b(self.batches[last][40:-64], digest_size=32).digest()
        return self.any_envelope(HEAD, number_field(1, EPOCH) + number_field(3, last) +
                                 bytes_field(4, digest) + number_field(5, 1) +
                                 number_field(6, int(time.time() * 1000)) + UNKNOWN_FIELDS)

    def serve(self, routing_id, request):
        """A survey gets the head among things that are not known; a fetch gets all batches."""
        if request[5] == SURVEY:
            heads = [self.any_envelope(HEAD, b"", version=2), b"", self.any_envelope(77, b"x"),
                     self.feed_head()] if self.batches else []
            body = b"".join(bytes_field(1, head) for head in heads) + UNKNOWN_FIELDS
            self.router.send_multipart([routing_id, self.any_envelope(MANY_ENVELOPES, body)])
        elif request[5] == FETCH:
            last = len(self.batches)
            for seq in range(1, last + 1):
                self.router.send_multipart([routing_id, self.any_envelope(78, b"between")])
                self.router.send_multipart([routing_id, self.batches[seq]])
            body = (bytes_field(1, self.sign_public) + number_field(2, EPOCH) +
                    number_field(4, last) + number_field(5, last) + UNKNOWN_FIELDS)
            self.router.send_multipart([routing_id, self.any_envelope(DONE, body)])


def held(node, later):
    """What a program has of that feed on disk: {seq: bytes}, and the head."""
    path = os.path.join(node.dir, "state", "peers.db")
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as db:
        rows = db.execute("SELECT seq, envelope FROM batches WHERE origin = ? AND epoch = ?",
                          (later.sign_public.hex().upper(), EPOCH)).fetchall()
        heads = db.execute("SELECT head FROM feed WHERE origin = ? AND epoch = ?",
                           (later.sign_public, EPOCH)).fetchall()
    return dict(rows), heads[0][0] if heads else None


def wait_held(node, later):
    """Until it has all batches as they were made, and a head with all that stood in it."""
    def is_held():
        batches, head = held(node, later)
        return batches == later.batches and head is not None and UNKNOWN_FIELDS in head
    wait_until(is_held, lambda: "%s has %s\n%s" % (node.name, held(node, later), node.output()))


@contextlib.contextmanager
def mixed(directory):
    """A node of a later version, a node and an aggregator of this one that are connected to it.
    Yields (store, later, copy, aggregator, mesh)."""
    with Store(directory) as store:
        mesh = Mesh(directory, ["later", "copy"])
        aggregator = add_aggregator(mesh, [store])
        with LaterNode(mesh.nodes[0]) as later:
            try:
                for node in (mesh.nodes[1], aggregator):
                    node.start()
                    node.wait_connected(["later"])
                yield store, later, mesh.nodes[1], aggregator, mesh
            finally:
                mesh.stop()


def shown(node):
    """The status as an operator sees it: {name: number}."""
    words = [line.split() for line in node.status_text("--verbose").splitlines()]
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}


def test_events_and_fields_of_a_later_version_are_kept_and_passed_on_byte_for_byte(tmp_path):
    with mixed(tmp_path) as (store, later, copy, aggregator, mesh):
        later.append(ban(A), UNKNOWN_EVENT, inside_ban(ban(B), UNKNOWN_FIELDS),
                     ban(C) + UNKNOWN_FIELDS)
        later.append(UNKNOWN_EVENT, b"")
        later.append(ban(D), more=UNKNOWN_FIELDS)
        copy.wait_reported([A, B, C, D])
        store.wait_holds([A, B, C, D], aggregator)
        for node in (copy, aggregator):
            wait_held(node, later)
        # Counted and shown, not acted upon.
        wait_until(lambda: copy.status()["outcomes"].get("unknown-kind") == 3, copy.output)
        assert sorted(copy.reported()) == sorted([A, B, C, D])
        assert aggregator.status()["events"] == {"stored": 4, "other-kind": 3}
        assert len(store.check_whole()) == 4
        assert shown(copy)["unknown-kind"] == 3 and shown(aggregator)["other-kind"] == 3
        # To a node that comes when the later one is gone, and to one that lost all it had.
        later.close()
        late = mesh.add("late").start()
        late.wait_reported([A, B, C, D])
        wait_held(late, later)
        assert held(late, later) == held(copy, later)
        aggregator.stop()
        for file in os.listdir(os.path.join(aggregator.dir, "state")):
            os.unlink(os.path.join(aggregator.dir, "state", file))
        store.call("FLUSHALL")
        aggregator.start()
        store.wait_holds([A, B, C, D], aggregator)
        wait_held(aggregator, later)
        # And a restart reads all of it again.
        copy.stop()
        copy.start()
        copy.publish(E)
        late.wait_reported([E])
        store.wait_holds([E], aggregator)
        assert len(store.check_whole()) == 5


def ask(later, node):
    """A connection of its own to ask a node."""
    dealer = later.context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.curve_publickey = later.keys["curve/public-key"].encode()
    dealer.curve_secretkey = later.keys["curve/secret-key"].encode()
    dealer.curve_serverkey = read_cert(node.cert)["curve/public-key"].encode()
    dealer.connect(node.replay)
    return dealer


def refused(node):
    return node.status()["mesh"]["messages"]["refused"]


def test_envelopes_of_a_later_version_are_refused_by_name_and_disturb_nothing(tmp_path):
    """They cannot be kept: nobody knows which feed they belong to. Announced, asked and answered."""
    with mixed(tmp_path) as (store, later, copy, aggregator, _):
        body = number_field(1, EPOCH) + number_field(3, 1) + bytes_field(4, ban(F))
        strange = [later.any_envelope(kind, body) for kind in (0, 7, 77, 255)]
        newer = [later.any_envelope(kind, body, version) for kind in (1, 2, 9)
                 for version in (2, 255)] + [later.any_envelope(BATCH, body, version=0)]
        flagged = [later.any_envelope(BATCH, body, reserved=1)]
        later.once.extend(strange + newer + flagged)
        dealers = [ask(later, node) for node in (copy, aggregator)]
        for dealer in dealers:
            for envelope in strange + newer + flagged:
                dealer.send(envelope)
        for node in (copy, aggregator):
            counts = {"bad-kind": 8, "bad-version": 14, "bad-reserved": 2}
            wait_until(lambda one=node, wanted=counts: refused(one) == wanted,
                       lambda one=node: str(refused(one)))
            assert counts.items() <= shown(node).items()
        # All goes on, over the same connections.
        later.append(ban(A))
        copy.publish(B)
        copy.wait_reported([A])
        store.wait_holds([A, B], aggregator)
        assert copy.reported() == [A] and len(store.check_whole()) == 2
        for node in (copy, aggregator):
            assert all(peer["reconnects"] == 0 for peer in node.peers().values())


def test_a_feed_is_fetched_from_among_things_that_are_not_known(tmp_path):
    """Heads behind those of a later version in one answer count, and batches between unknown
    envelopes: nothing was announced."""
    with mixed(tmp_path) as (store, later, copy, aggregator, mesh):
        later.quiet = True
        for address in (A, B, C):
            later.append(ban(address), UNKNOWN_EVENT)
        copy.stop()  # one that could tell of it, too
        late = mesh.add("late").start()
        late.wait_reported([A, B, C])
        wait_held(late, later)
        assert refused(late)["bad-kind"] >= 3 and refused(late)["bad-version"] >= 1
        aggregator.stop()
        aggregator.start()
        store.wait_holds([A, B, C], aggregator)
        wait_held(aggregator, later)


def test_a_node_that_speaks_a_later_version_alone_is_said_to_be_not_connected(tmp_path):
    """Its version is what the operator finds under refused messages; the others do not mind."""
    mesh = Mesh(tmp_path, ["later", "mx1", "mx2"])
    _, mx1, mx2 = mesh.nodes
    with NodeByHand(mesh.nodes[0]) as later:
        def speak(self, routing_id, request):
            self.router.send_multipart([routing_id, newer])
        newer = LaterNode.any_envelope(later, HEAD, later.head()[40:-64], version=2)
        later.head = lambda *_: newer
        later.answer(speak)
        try:
            for node in (mx1, mx2):
                node.start()
            mx1.wait_connected(["mx2"])
            mx2.wait_connected(["mx1"])
            wait_until(lambda: refused(mx1).get("bad-version", 0) > 3, "its heartbeats")
            assert not mx1.peers()["later"]["connected"]
            mx1.publish(A)
            mx2.wait_reported([A])
        finally:
            mesh.stop()
