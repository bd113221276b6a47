"""Nodes that are not all connected to all: chains, rings, hubs, nodes that nobody can reach."""

import math
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import zmq
from zmq.utils import z85

from effort import rounds
from mesh import Mesh, Process, free_port, program, public_addresses, wait_until
from node_by_hand import BATCH, FETCH, NodeByHand, Signer, ban, body_hash
from test_trust import read_cert, subscriber

RELAY = {"mesh": {"relay": 1}}


def publish_everywhere(nodes, count, seed):
    """Ban from each node; returns {its name: its addresses}."""
    addresses = public_addresses(count * len(nodes), seed)
    bans = {node.name: addresses[i::len(nodes)] for i, node in enumerate(nodes)}
    for i in range(count):
        for node in nodes:
            node.publish(bans[node.name][i])
    return bans


def all_but(bans, name):
    return sorted(address for origin, some in bans.items() if origin != name for address in some)


def check_logs(nodes, bans):
    """Each ban of another node is in each shared log, once."""
    for node in nodes:
        expected = all_but(bans, node.name)
        node.wait_reported(expected)
        assert sorted(node.reported()) == expected, node.name


# ---- chains ----

def test_a_chain_without_relay_carries_a_ban_within_heartbeats(tmp_path):
    """Each node tells the next one of the changed head, which then fetches: no survey is needed."""
    with Mesh(tmp_path, "abcd", links=["ab", "bc", "cd"]) as mesh:
        nodes = mesh.nodes
        bans = publish_everywhere(nodes, 1, seed=31)
        check_logs(nodes, bans)
        surveys = [node.messages()["surveys_answered"] for node in nodes]
        began = time.monotonic()
        nodes[0].publish("80.94.95.112")
        nodes[3].wait_reported(["80.94.95.112"])
        print("from end to end in %.0f ms" % ((time.monotonic() - began) * 1000))
        if nodes[0].status()["uptime_s"] < 25:  # there is one every 30 s
            assert [node.messages()["surveys_answered"] for node in nodes] == surveys
        assert [node.messages()["relayed"] for node in nodes] == [0] * 4
        assert nodes[2].messages()["fetches_answered"] > 0
        assert set(nodes[3].peers()) == {"c"}


def test_a_chain_of_relays_announces_a_ban_at_once(tmp_path):
    addresses = public_addresses(20, seed=32)
    with Mesh(tmp_path, "abcd", links=["ab", "bc", "cd"], extra=RELAY) as mesh:
        a, b, c, d = mesh.nodes
        a.publish("80.94.95.112")
        d.wait_reported(["80.94.95.112"])
        fetches = [node.messages()["fetches_answered"] for node in mesh.nodes]
        relayed = [node.messages()["relayed"] for node in mesh.nodes]
        for address in addresses:
            a.publish(address)
        d.wait_reported(addresses)
        assert [node.messages()["fetches_answered"] for node in mesh.nodes] == fetches
        wait_until(lambda: d.messages()["stored"] == 21, "the count")
        assert [node.messages()["relayed"] - was for node, was in zip(mesh.nodes, relayed)] == [
            0, 20, 20, 20]


# ---- no amplification ----

class Listener:
    """Counts each batch that a node announces, over a connection of its own."""

    def __init__(self, context, node, secret):
        self.socket = subscriber(context, node, secret)
        assert self.socket.poll(30000), "no heartbeat"
        self.batches = {}

    def hear(self):
        while self.socket.poll(0):
            message = self.socket.recv()
            if message[5] == BATCH:
                self.batches[message] = self.batches.get(message, 0) + 1
        return self.batches


def announce_each_batch_once(tmp_path, names, links):
    mesh = Mesh(tmp_path, names, links=links, extra=RELAY)
    reader = mesh.add("reader", endpoint=False)
    context = zmq.Context()
    try:
        nodes = mesh.nodes[:-1]
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_connected()
        bans = publish_everywhere(nodes, 1, seed=33)  # so that each feed is there
        check_logs(nodes, bans)
        listeners = [Listener(context, node, reader.secret) for node in nodes]
        more = publish_everywhere(nodes, 25, seed=34)
        total = {name: bans[name] + more[name] for name in bans}
        check_logs(nodes, total)
        for listener in listeners:
            wait_until(lambda: len(listener.hear()) == 25 * len(nodes), lambda: "%d of %d batches" % (
                len(listener.batches), 25 * len(nodes)))
        before = [node.messages()["heads"] for node in nodes]
        wait_until(lambda: all(node.messages()["heads"] > heads + 5 for node, heads in
                               zip(nodes, before)), "some heartbeats")
        for node, listener in zip(nodes, listeners):
            assert set(listener.hear().values()) == {1}, "announced twice by " + node.name
            messages = node.messages()
            assert messages["announced"] == 26
            assert 25 * (len(nodes) - 1) <= messages["relayed"] <= 26 * (len(nodes) - 1)
            assert messages["stored"] == 26 * (len(nodes) - 1)
            # A batch comes at most once from each neighbour, and a changed head likewise.
            neighbours = len(mesh.neighbours(node))
            assert messages["known"] <= 2 * 26 * len(nodes) * neighbours, messages
            assert messages["refused"] == {}
    finally:
        context.destroy(linger=0)
        mesh.stop()


def test_a_ring_of_relays_announces_each_batch_once(tmp_path):
    announce_each_batch_once(tmp_path, "abcd", ["ab", "bc", "cd", "da"])


def test_a_full_mesh_of_relays_announces_each_batch_once(tmp_path):
    announce_each_batch_once(tmp_path, "abcd", ["ab", "ac", "ad", "bc", "bd", "cd"])


# ---- an origin that is gone ----

def test_what_a_dead_origin_announced_last_spreads_from_who_heard_it(tmp_path):
    """Killed between the hook's exit and its next heartbeat: no head speaks of the last batch."""
    with Mesh(tmp_path, "abcd", links=["ab", "bc", "cd"], heartbeat=500) as mesh:
        a, b, c, d = mesh.nodes
        a.publish("80.94.95.112")
        d.wait_reported(["80.94.95.112"])
        heads = b.messages()["heads"]
        wait_until(lambda: b.messages()["heads"] > heads, "a heartbeat")
        a.publish("80.94.95.113")
        b.wait_reported(["80.94.95.113"])
        a.stop(signal.SIGKILL)
        d.wait_reported(["80.94.95.113"])
        assert c.reported() == d.reported() == ["80.94.95.112", "80.94.95.113"]
        # Nobody goes on asking for what is not there.
        assert [feed["head"] for feed in d.status()["mesh"]["feeds"]] == [2]


def test_a_newcomer_learns_of_a_dead_origins_last_batch_from_a_survey(tmp_path):
    """It was announced once; who comes later is told of it with the heads."""
    with Mesh(tmp_path, "ab", links=["ab"], heartbeat=100) as mesh:
        a, b = mesh.nodes
        heads = b.messages()["heads"]
        wait_until(lambda: b.messages()["heads"] > heads, "a heartbeat")
        a.publish("80.94.95.113")
        b.wait_reported(["80.94.95.113"])
        a.stop(signal.SIGKILL)
        b.stop()
        b.start()
        wait_until(lambda: b.status()["uptime_s"] > 1, "more than three heartbeats")
        late = mesh.add("late", endpoint=False)
        mesh.link("late", "b")
        b.process.process.send_signal(signal.SIGHUP)
        late.start().wait_reported(["80.94.95.113"])


def test_a_dead_origins_feed_reaches_a_newcomer_two_hops_away(tmp_path):
    addresses = public_addresses(40, seed=35)
    mesh = Mesh(tmp_path, "abc", links=["ab", "bc"])
    with mesh:
        a, b, c = mesh.nodes
        for address in addresses:
            a.publish(address)
        b.wait_reported(addresses)
        a.stop(signal.SIGKILL)
        near = mesh.add("near", endpoint=False)
        far = mesh.add("far", endpoint=False)
        mesh.link("near", "b")
        mesh.link("far", "near")
        b.process.process.send_signal(signal.SIGHUP)
        near.start()
        far.start()
        for node in (c, near, far):
            node.wait_reported(addresses)
            assert sorted(node.reported()) == addresses


# ---- a hub ----

def hub_and_spokes(tmp_path, relay):
    mesh = Mesh(tmp_path, ["hub", "s1", "s2", "s3", "s4"],
                links=[("hub", "s%d" % i) for i in (1, 2, 3, 4)])
    mesh.nodes[0].settings["mesh"]["relay"] = relay
    mesh.nodes[0].write_settings()
    return mesh


def restart_the_hub(tmp_path, relay):
    with hub_and_spokes(tmp_path, relay) as mesh:
        hub, *spokes = mesh.nodes
        bans = publish_everywhere(mesh.nodes, 5, seed=36)
        check_logs(mesh.nodes, bans)
        hub.status()  # an answer comes after what it was doing: no line is without its cursor
        hub.stop(signal.SIGKILL if relay else signal.SIGTERM)
        while_down = publish_everywhere(spokes, 5, seed=37)
        hub.start()
        at_once = publish_everywhere(mesh.nodes, 5, seed=38)
        bans = {name: bans[name] + while_down.get(name, []) + at_once[name] for name in bans}
        check_logs(mesh.nodes, bans)
        for node in mesh.nodes:
            assert node.messages()["refused"] == {}


def test_spokes_have_everything_after_the_hub_was_restarted(tmp_path):
    restart_the_hub(tmp_path, relay=0)


def test_spokes_have_everything_after_a_relaying_hub_was_killed(tmp_path):
    restart_the_hub(tmp_path, relay=1)


# ---- heads that promise nothing ----

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


# ---- nodes that nobody can reach ----

BEHIND = {"mesh": {"listen": "", "replay": "", "offer": 1}}


def add_behind(mesh, name):
    """A node with no inbound port, behind everybody that has one."""
    return mesh.add(name, endpoint=False, settings=BEHIND)


def connected(node, names):
    peers = node.peers()
    return all(name in peers and peers[name]["connected"] for name in names)


def test_a_node_without_a_port_is_a_full_member(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    inside = add_behind(mesh, "inside")
    with mesh:
        assert mx1.peers()["inside"]["offers"] and not mx1.peers()["mx2"]["offers"]
        assert "peer inside: connected by its own offer" in mx1.output()
        assert "it offers" in subprocess.run([program("banmesh"), "status", "--config", mx1.conf],
                                             stdout=subprocess.PIPE, text=True, check=True).stdout
        bans = publish_everywhere(mesh.nodes, 10, seed=51)
        check_logs(mesh.nodes, bans)
        # What was offered came as it was announced: nobody had to ask for it.
        assert inside.messages()["fetches_answered"] <= 2

        # It is down; and the others were started anew meanwhile.
        inside.stop(signal.SIGKILL)
        more = publish_everywhere([mx1, mx2], 5, seed=52)
        wait_until(lambda: not mx1.peers().get("inside", {}).get("connected"), "mx1 to miss it")
        mx2.stop()
        mx2.start()
        inside.start()
        # The others are down; what it bans meanwhile is in another epoch than before.
        check_logs([inside], {name: bans[name] + more.get(name, []) for name in bans})
        mx1.stop()
        mx2.stop()
        wait_until(lambda: not connected(inside, ["mx1"]) and not connected(inside, ["mx2"]), "")
        alone = publish_everywhere([inside], 5, seed=53)
        mx1.start()
        mx2.start()
        check_logs(mesh.nodes, {name: bans[name] + more.get(name, []) + alone.get(name, [])
                                for name in bans})
        assert len([feed for feed in mx1.status()["mesh"]["feeds"]
                    if feed["origin"] == "inside"]) == 2
        for node in mesh.nodes:
            assert node.messages()["refused"] == {}


def test_two_nodes_without_a_port_reach_each_other_through_a_hub(tmp_path):
    mesh = Mesh(tmp_path, ["hub"])
    hub = mesh.nodes[0]
    one, two = add_behind(mesh, "one"), add_behind(mesh, "two")
    addresses = public_addresses(40, seed=54)
    try:
        # What they banned before they ever met, in several epochs.
        for node, some in ((one, addresses[:20]), (two, addresses[20:])):
            node.start()
            for i, address in enumerate(some):
                node.publish(address)
                if i == 9:
                    node.stop()
                    node.start()
        hub.start()
        bans = {"hub": [], "one": addresses[:20], "two": addresses[20:]}
        check_logs(mesh.nodes, bans)
        more = publish_everywhere(mesh.nodes, 5, seed=55)
        check_logs(mesh.nodes, {name: bans[name] + more[name] for name in bans})
        assert {name: peer["connected"] for name, peer in one.peers().items()} == {"hub": True}
    finally:
        mesh.stop()


def test_a_backlog_of_a_node_without_a_port_is_fetched_over_its_own_connection(tmp_path):
    """More than an answer brings: it is asked again and again."""
    addresses = public_addresses(rounds(40000, 200000), seed=56)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    inside = add_behind(mesh, "inside").start()
    try:
        now = time.time()
        inside.stream([(address, "sshd", now) for address in addresses], group=100)
        mx1.start()
        mx1.wait_reported(addresses)
        assert inside.messages()["fetches_answered"] > 1
        # And while it streams, to a node that comes later and to one that is there.
        more = [a for a in public_addresses(rounds(500, 5000), seed=57) if a not in addresses]
        streaming = threading.Thread(target=inside.stream, args=(
            [(address, "sshd", now) for address in more], 1))
        streaming.start()
        mx2.start()
        streaming.join()
        for node in (mx1, mx2):
            node.wait_reported(addresses + more)
            assert sorted(node.reported()) == sorted(addresses + more)
    finally:
        mesh.stop()


def test_a_removed_node_without_a_port_is_cut_off_while_connected(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    inside = add_behind(mesh, "inside")
    inside.settings = {**BEHIND, "node": {"trust": os.path.join(inside.dir, "trust")}}
    shutil.copytree(mesh.trust, os.path.join(inside.dir, "trust"))
    inside.write_settings()
    with mesh:
        inside.publish("80.94.95.112")
        for node in (mx1, mx2):
            node.wait_reported(["80.94.95.112"])
        os.unlink(os.path.join(mesh.trust, "inside.cert"))
        for node in (mx1, mx2):
            wait_until(lambda node=node: "inside" not in node.peers(), "it to be dropped")
        refused = mx1.messages()["connections_refused"]
        wait_until(lambda: mx1.messages()["connections_refused"] > refused, "it to knock again")
        inside.publish("80.94.95.113")
        mx1.publish("80.94.95.114")
        mx2.wait_reported(["80.94.95.114"])
        assert "inside" not in mx1.peers()
        assert mx1.reported() == ["80.94.95.112"]
        assert "80.94.95.113" not in mx2.reported()
        wait_until(lambda: not connected(inside, ["mx1"]) and not connected(inside, ["mx2"]),
                   "it to hear nobody any more")
        assert inside.reported() == []
        mesh.add_trust(inside)  # trusted again: nothing was lost
        for node in (mx1, mx2):
            node.wait_reported(["80.94.95.113"])
        inside.wait_reported(["80.94.95.114"])


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
                text = subprocess.run([program("banmesh"), "status", "--config", one.conf],
                                      stdout=subprocess.PIPE, text=True, check=True).stdout
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
            node.pub.send(node.head(epoch, 1, body_hash(one)))
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
