"""A key in use twice is said and cut off; heads that promise what nobody has cost nobody anything."""

import math
import os
import shutil
import subprocess
import time

import zmq
from zmq.utils import z85

from mesh import Mesh, free_port, program, public_addresses, wait_until
from node_by_hand import FETCH, NodeByHand, Signer, ban, body_hash, body_of, fields
from test_trust import read_cert


def connected(node, names):
    peers = node.peers()
    return all(name in peers and peers[name]["connected"] for name in names)


def test_forged_heads_and_empty_promises_cost_nobody_anything(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "bad"])
    mx1, mx2, bad = mesh.nodes
    stranger = mesh.add("stranger", trusted=False)
    addresses = public_addresses(30, seed=41)
    fetches = []
    with NodeByHand(bad) as node, NodeByHand(stranger) as unknown:
        forged = bytearray(node.head(1795288025000, 7))
        forged[8:40] = z85.decode(read_cert(mx2.cert)["sign/public-key"])
        flipped = bytearray(node.head(1795288025001, 7))
        flipped[45] ^= 1
        promise = node.head(1795288025002, 1 << 39)  # signed, and nobody has it

        def reply(self, routing_id, request):
            if request[5] == FETCH:
                fetches.append(time.monotonic())
                self.router.send_multipart([routing_id, self.done(request)])
        node.answer(reply)
        try:
            for one in (mx1, mx2):
                one.start()
            mx1.wait_connected(["mx2", "bad"])
            mx2.wait_connected(["mx1", "bad"])
            node.say = node.bundle([bytes(forged), bytes(flipped), promise,
                                    unknown.head(1795288025000, 9)])
            for one in (mx1, mx2):
                wait_until(lambda one=one: one.messages()["refused"].get("unknown-origin", 0) > 2,
                           lambda one=one: str(one.messages()))
                assert set(one.messages()["refused"]) == {"unknown-origin", "bad-signature"}
                assert [(feed["origin"], feed["have"], feed["head"]) for feed in
                        one.status()["mesh"]["feeds"]] == [("bad", 0, 1 << 39)]
            for address in addresses:
                mx1.publish(address)
            mx2.wait_reported(addresses)
            # Both ask for it of one node after another, with a pause that doubles from 0.5 s on:
            # that is 0, 0.5, 1.5, 3.5, 7.5, ... s after the first time.
            wait_until(lambda: fetches and time.monotonic() - fetches[0] > 3, "a while of asking")
            seconds = time.monotonic() - fetches[0] + 1
            asked = len(fetches) + sum(one.messages()["fetches_answered"] for one in (mx1, mx2))
            print("%d fetches in %.1f s" % (asked, seconds))
            assert 4 <= asked <= 2 * (math.log2(seconds / 0.5) + 2)
        finally:
            mesh.stop()


def test_a_peer_that_promises_much_keeps_no_other_feed_waiting(tmp_path):
    """It is asked for one feed after another: each has its turn before the first has another one."""
    mesh = Mesh(tmp_path, ["mx1", "bad"])
    mx1, bad = mesh.nodes
    origin = Signer(mesh.add("origin", endpoint=False).secret)
    batch = origin.batch(1795288025000, 1, [ban("80.94.95.112")])
    asked = []

    def reply(self, routing_id, request):
        if request[5] != FETCH or self.stopping.wait(0.01):
            return
        self.say = None  # it was heard
        asked.append(fields(body_of(request)))
        if asked[-1][1] == origin.sign_public:
            self.router.send_multipart([routing_id, batch])
            self.router.send_multipart([routing_id, self.done(request, 1, 1, 1)])
        else:
            self.router.send_multipart([routing_id, self.done(request)])

    with NodeByHand(bad) as node:
        promises = [node.head(1795288025000 + i, 9) for i in range(200)]
        node.say = node.bundle(promises + [origin.head(1795288025000, 1)])
        node.answer(reply)
        try:
            mx1.start()
            mx1.wait_reported(["80.94.95.112"])
            first = [fetch[1] for fetch in asked].index(origin.sign_public)
            assert first <= len(promises), "another one was asked for twice before"
        finally:
            mesh.stop()


# ---- whom to ask ----

def test_who_gets_connected_is_asked_at_once_for_what_nobody_else_had(tmp_path):
    """The pause after answers that brought nothing has grown to seconds by then."""
    mesh = Mesh(tmp_path, ["mx1", "empty", "full"], heartbeat=100)
    mx1, empty, full = mesh.nodes
    origin = Signer(mesh.add("origin", endpoint=False).secret)
    epoch = 1795288025000
    batch = origin.batch(epoch, 1, [ban("80.94.95.112")])
    asked = []

    def bring_nothing(self, routing_id, request):
        if request[5] == FETCH:
            asked.append("empty")
            self.router.send_multipart([routing_id, self.done(request)])

    def bring_it(self, routing_id, request):
        asked.append("full" if request[5] == FETCH else "survey")
        if request[5] == FETCH:
            for answer in (batch, self.done(request, 1, 1, 1)):
                self.router.send_multipart([routing_id, answer])

    try:
        mx1.start()
        with NodeByHand(empty) as one:
            one.say = one.bundle([origin.head(epoch, 1)])
            one.answer(bring_nothing)
            # After 0, 0.5, 1.5, 3.5 s; the next pause is of 8 s, or of 4 s again.
            wait_until(lambda: asked.count("empty") == 5, "it to ask in vain")
            with NodeByHand(full) as other:
                other.answer(bring_it)
                wait_until(lambda: "survey" in asked, "the connection")
                heads = mx1.messages()["heads"]
                mx1.wait_reported(["80.94.95.112"])
                print("%d heads later" % (mx1.messages()["heads"] - heads))
                assert asked.count("empty") <= 6
                assert mx1.messages()["heads"] - heads < 300  # 50 of each come in a second
    finally:
        mesh.stop()


# ---- a key in use twice ----

def reset(node, name):
    return subprocess.run([program("banmesh"), "trust", "reset", name, "--config", node.conf],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def forks_of(node):
    return node.status()["mesh"]["forks"]


def heartbeats(node, count=5):
    """Wait for some of them, whoever sent them."""
    heads = node.messages()["heads"]
    wait_until(lambda: node.messages()["heads"] > heads + count, "heartbeats")


def test_an_origin_that_signs_two_batches_with_one_number_is_quarantined(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "hand"])
    mx1, mx2, hand = mesh.nodes
    epoch = 1795288025000
    fetches = []

    def reply(self, routing_id, request):
        if request[5] == FETCH:
            fetches.append(request)
            self.router.send_multipart([routing_id, self.done(request)])

    with NodeByHand(hand) as node:
        first = node.batch(epoch, 1, [ban("80.94.95.112")])
        second = node.batch(epoch, 1, [ban("80.94.95.113")])
        node.answer(reply)
        try:
            for one in (mx1, mx2):
                one.start()
            for one in (mx1, mx2):
                one.wait_connected()
                assert forks_of(one) == []
                done = reset(one, "hand")
                assert done.returncode == 1 and "not in quarantine" in done.stdout
            node.say = node.bundle([node.head(epoch, 5)])  # there is more, so they ask for it
            wait_until(lambda: len(fetches) >= 2, "both to ask")
            node.say = first
            for one in (mx1, mx2):
                one.wait_reported(["80.94.95.112"])
            node.say = second
            for one in (mx1, mx2):
                wait_until(lambda one=one: forks_of(one), "the fork to be seen")
                fork, = forks_of(one)
                assert (fork["origin"], fork["epoch"], fork["seq"]) == ("hand", epoch, 1)
                assert fork["hash_here"] == body_hash(first).hex()
                assert fork["hash_there"] == body_hash(second).hex() and fork["quarantined"]
                line, = [line for line in one.output().splitlines() if "signed two" in line]
                assert "hand" in line and fork["hash_here"][:16] in line
                assert fork["hash_there"][:16] in line and "banmesh trust reset" in line
                text = one.status_text()
                assert "QUARANTINED" in text and fork["hash_there"] in text

            # Nothing more of it is taken in, whatever its number, and nobody asks for more.
            refused = mx1.messages()["refused"]["quarantined"]
            node.say = node.batch(epoch + 1, 1, [ban("80.94.95.114")])
            wait_until(lambda: mx1.messages()["refused"]["quarantined"] > refused, "the refusal")
            asked = len(fetches)
            mx1.publish("80.94.95.115")
            mx2.publish("80.94.95.116")
            mx2.wait_reported(["80.94.95.115"])  # the others go on
            mx1.wait_reported(["80.94.95.116"])
            heartbeats(mx1, 60)
            assert len(fetches) == asked
            assert mx1.peers()["hand"]["connected"], "its heartbeat still counts"

            # It is remembered; and so is the operator's word.
            mx1.stop()
            mx1.start()
            mx1.wait_connected()
            assert forks_of(mx1)[0]["quarantined"]
            wait_until(lambda: mx1.messages()["refused"].get("quarantined"), "the refusal")
            assert len(fetches) == asked, "what would not be taken in is not asked for"
            assert mx1.reported() == ["80.94.95.112", "80.94.95.116"]
            done = reset(mx1, "hand")
            assert done.returncode == 0 and "counts again" in done.stdout
            mx1.wait_reported(["80.94.95.114"])
            node.say = second  # what mx1 holds stands
            heartbeats(mx1)
            mx1.stop()
            mx1.start()
            mx1.wait_connected()
            heartbeats(mx1)
            assert not forks_of(mx1)[0]["quarantined"]
            done = reset(mx1, "hand")
            assert done.returncode == 1 and "not in quarantine" in done.stdout
            node.say = node.batch(epoch, 2, [ban("80.94.95.117")])
            mx1.wait_reported(["80.94.95.117"])
            assert mx1.output().count("signed two") == 1
            assert forks_of(mx2)[0]["quarantined"], "each operator for his own host"
            assert "80.94.95.114" not in mx2.reported()
            done = reset(mx1, "nobody")
            assert done.returncode == 1
        finally:
            mesh.stop()


def test_a_head_that_speaks_of_another_batch_than_was_sent_is_a_fork(tmp_path):
    """Each node was sent another one under the same number: the heads that they pass on tell."""
    mesh = Mesh(tmp_path, ["mx1", "mx2", "hand"])
    mx1, mx2, hand = mesh.nodes
    apart = "tcp://127.0.0.1:%d" % free_port()
    mx2.settings = {"mesh": {"peers": {"hand": apart + " " + hand.replay}}}
    mx2.write_settings()
    epoch = 1795288025000
    with NodeByHand(hand) as node:
        to_mx2 = node.server(zmq.PUB, apart)
        one = node.batch(epoch, 1, [ban("80.94.95.112")])
        other = node.batch(epoch, 1, [ban("80.94.95.113")])
        try:
            mx1.start()
            mx2.start()
            wait_until(lambda: node.pub.send(node.head()) or to_mx2.send(node.head()) or (
                connected(mx1, ["hand", "mx2"]) and connected(mx2, ["hand", "mx1"])), "all")
            node.pub.send(one)
            to_mx2.send(other)
            mx1.wait_reported(["80.94.95.112"])
            mx2.wait_reported(["80.94.95.113"])
            node.pub.send(node.head(epoch, 1, content_hash=body_hash(one)))
            wait_until(lambda: forks_of(mx2), "mx2 to see it")
            assert forks_of(mx2)[0]["hash_here"] == body_hash(other).hex()
            assert forks_of(mx2)[0]["hash_there"] == body_hash(one).hex()
        finally:
            mesh.stop()


def test_our_own_key_in_use_elsewhere_is_said_and_reset_like_any_other(tmp_path):
    mesh = Mesh(tmp_path, ["mx2", "hand"])
    mx1 = mesh.add("mx1")
    mx2, hand, _ = mesh.nodes
    mx1.settings = {"node": {"trust": os.path.join(mx1.dir, "trust")}}  # without its own
    shutil.copytree(mesh.trust, os.path.join(mx1.dir, "trust"))
    os.unlink(os.path.join(mx1.dir, "trust", "mx1.cert"))
    mx1.write_settings()
    thief = Signer(mx1.secret)
    with NodeByHand(hand) as node:
        node.answer(lambda *_: None)
        try:
            mx1.start()
            mx2.start()
            mx1.wait_connected()
            mx2.wait_connected()
            mx1.publish("80.94.95.112")
            mx2.wait_reported(["80.94.95.112"])
            feed, = mx1.status()["mesh"]["feeds"]
            node.say = thief.batch(feed["epoch"], 1, [ban("80.94.95.113")])
            for one in (mx1, mx2):
                wait_until(lambda one=one: forks_of(one), "the fork to be seen")
                assert forks_of(one)[0]["origin"] == "mx1"
            assert "this node's own key signed two different batches" in mx1.output()
            node.say = None
            mx1.publish("80.94.95.114")
            mx2.publish("80.94.95.115")
            mx1.wait_reported(["80.94.95.115"])
            heartbeats(mx2)
            assert mx2.reported() == ["80.94.95.112"]
            for one in (mx1, mx2):
                assert reset(one, "mx1").returncode == 0
            mx2.wait_reported(["80.94.95.114"])
            mx1.publish("80.94.95.116")
            mx2.wait_reported(["80.94.95.116"])
        finally:
            mesh.stop()
