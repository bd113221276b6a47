"""What a trusted node gone bad can do over its connections: little."""

import contextlib
import os
import re
import threading
import time

import zmq

from mesh import Mesh, public_addresses, spool_record, wait_until
from node_by_hand import BUNDLE, DONE, NodeByHand, ban, bytes_field, number_field
from test_trust import read_cert

EPOCH = 1795288025000

HEADS_A_BUNDLE = 256


def forged_heads(node):
    """A bundle, signed as it should be, of heads that each cost a check and are worth nothing."""
    body = b""
    for seq in range(1, HEADS_A_BUNDLE + 1):
        head = node.head(epoch=EPOCH, seq=seq)
        body += bytes_field(1, head[:-1] + bytes([head[-1] ^ 1]))
    return node.envelope(BUNDLE, body)


def flood(node, stop):
    message = forged_heads(node)
    while not stop.wait(0.001):
        node.pub.send(message)
        node.pub.send(node.head())


def test_a_flood_of_heads_keeps_no_hook_waiting(tmp_path):
    """One message brings 256 signatures to check: 64 of these in a row took longer than a hook
    waits for its answer, and every ban went by the spool."""
    mesh = Mesh(tmp_path, ["mx1", "bad"], heartbeat=1000)
    mx1, bad = mesh.nodes
    stop = threading.Event()
    with NodeByHand(bad) as node:
        thread = threading.Thread(target=flood, args=(node, stop))
        mx1.start()
        thread.start()
        try:
            def refused():
                return mx1.status()["mesh"]["messages"]["refused"].get("bad-signature", 0)
            wait_until(lambda: refused() > 30 * HEADS_A_BUNDLE, "the flood")
            for address in public_addresses(20, seed=31):
                mx1.publish(address)
            # A machine with much else to do may be late now and then, too.
            spooled = re.findall("took ([0-9]+) bans from the spool", mx1.output())
            assert sum(int(count) for count in spooled) < 10
            wait_until(lambda: mx1.status()["intake"]["stored"] == 20, mx1.output)
        finally:
            stop.set()
            thread.join()
            mesh.stop()


def test_a_long_spool_keeps_no_hook_waiting(tmp_path):
    """A spool of many records was taken in one go: no hook had an answer until its end."""
    count = 200_000
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    now = time.time()
    with open(os.path.join(mx1.spool, "spool"), "wb") as spool:
        spool.writelines(spool_record("45.%d.%d.%d" % (154 + (i >> 16), i >> 8 & 255, i & 255), now)
                         for i in range(count))
    try:
        mx1.start()
        for address in public_addresses(20, seed=33):
            mx1.publish(address)
        assert mx1.status()["intake"].get("from-spool", 0) < count, "too quick to tell"
        wait_until(lambda: mx1.status()["intake"].get("from-spool", 0) >= count, "the spool's end",
                   timeout=300)
        # A machine with much else to do may be late now and then.
        assert mx1.status()["intake"]["from-spool"] < count + 5
        wait_until(lambda: mx1.status()["intake"]["stored"] == count + 20, mx1.output)
    finally:
        mesh.stop()


@contextlib.contextmanager
def connection(keys, to, routing_id=None):
    """A DEALER of a node with those keys, to another one's ROUTER."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        if routing_id is not None:
            dealer.setsockopt(zmq.IDENTITY, routing_id)
        dealer.curve_publickey = keys["curve/public-key"].encode()
        dealer.curve_secretkey = keys["curve/secret-key"].encode()
        dealer.curve_serverkey = read_cert(to.secret)["curve/public-key"].encode()
        dealer.connect(to.replay)
        yield dealer


def offer(dealer, envelope, until, what):
    """Send it again and again: a first one may come before the connection stands."""
    wait_until(lambda: dealer.send(envelope()) or until(), what)


def test_an_offer_counts_over_a_connection_of_any_name(tmp_path):
    """A routing id is chosen by the other end: none, or the longest there may be."""
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    hand = mesh.add("hand", endpoint=False)
    addresses = public_addresses(3, seed=32)
    mx1.start()
    try:
        with NodeByHand(hand) as node:
            names = (None, b"\xff" * 255, b"x")
            for seq, (routing_id, address) in enumerate(zip(names, addresses), 1):
                with connection(node.keys, mx1, routing_id) as dealer:
                    offer(dealer, node.head,
                          lambda: mx1.peers().get("hand", {}).get("offers"), "the offer")
                    batch = node.batch(EPOCH, seq, [ban(address)])
                    offer(dealer, lambda envelope=batch: envelope,
                          lambda to=address: to in mx1.reported(), "its ban")
        assert mx1.reported() == addresses
    finally:
        mesh.stop()


def test_who_offers_with_our_own_keys_is_no_peer(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1 = mesh.nodes[0]
    mx1.start()
    try:
        keys = read_cert(mx1.secret)
        with connection(keys, mx1) as dealer, NodeByHand(mesh.nodes[1]) as other:
            other.keys = keys  # its envelopes do not matter: it is not heard at all
            offer(dealer, other.head, lambda: mx1.status()["mesh"]["messages"]["refused"]
                  .get("wrong-peer"), "the refusal")
            assert "mx1" not in mx1.peers()
            assert "mx2" in mx1.peers()
    finally:
        mesh.stop()


def test_what_comes_by_two_ways_is_taken_in_once(tmp_path):
    """A node that announces, and offers the same beside it."""
    mesh = Mesh(tmp_path, ["mx1", "hand"], extra={"mesh": {"relay": 1}})
    mx1, hand = mesh.nodes
    addresses = public_addresses(20, seed=33)
    mx1.start()
    try:
        with NodeByHand(hand) as node, connection(node.keys, mx1) as dealer:
            wait_until(lambda: node.pub.send(node.head()) or mx1.peers()["hand"]["connected"],
                       "its heartbeat")
            offer(dealer, node.head, lambda: mx1.peers()["hand"]["offers"], "the offer")
            for seq, address in enumerate(addresses, 1):
                batch = node.batch(EPOCH, seq, [ban(address)])
                node.pub.send(batch)
                dealer.send(batch)
            mx1.wait_reported(addresses)
            wait_until(lambda: mx1.status()["mesh"]["messages"]["known"] >= len(addresses),
                       "the second ones")
            messages = mx1.status()["mesh"]["messages"]
            assert messages["stored"] == messages["relayed"] == len(addresses)
            assert mx1.reported() == addresses
            node.pub.close()  # it goes on by its offers alone
            wait_until(lambda: dealer.send(node.head()) or mx1.peers()["hand"]["reconnects"] > 0,
                       "its silence")
            last = node.batch(EPOCH, len(addresses) + 1, [ban("80.94.95.112")])
            offer(dealer, lambda: last, lambda: "80.94.95.112" in mx1.reported(), "its last ban")
    finally:
        mesh.stop()


def test_answers_that_nobody_asked_for_change_nothing(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "bad"], heartbeat=1000)
    mx1, mx2, bad = mesh.nodes
    addresses = public_addresses(50, seed=34)
    mx2.start()
    try:
        with NodeByHand(bad) as node, connection(node.keys, mx1) as dealer:
            done = node.envelope(DONE, bytes_field(1, node.sign_public) + number_field(2, EPOCH) +
                                 number_field(4, 7) + number_field(5, 7))
            for address in addresses:
                mx2.publish(address)
            mx1.start()

            def surveyed(count):
                return mx1.messages()["surveys_answered"] >= count

            wait_until(lambda: dealer.send(node.survey()) or surveyed(1), "the connection")
            for _ in range(20000):
                dealer.send(done)
            before = mx1.messages()["surveys_answered"]
            dealer.send(node.survey())
            wait_until(lambda: surveyed(before + 1), "all before it to be read")
            mx1.wait_reported(addresses)
            assert mx1.status()["mesh"]["missing_batches"] == 0
    finally:
        mesh.stop()
