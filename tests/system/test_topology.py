"""Nodes that are not all connected to all: chains, rings, hubs, and an origin that is gone."""

import signal
import time

import zmq
from zmq.utils import z85

from mesh import Mesh, check_logs, public_addresses, publish_everywhere, wait_until
from node_by_hand import BATCH, BUNDLE, HEAD, body_of, fields, read_fields
from test_trust import read_cert, subscriber

RELAY = {"mesh": {"relay": 1}}


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


def test_a_changed_head_is_told_for_six_heartbeats(tmp_path):
    """A connection may be away for five of them and nobody misses it: no survey follows."""
    mesh = Mesh(tmp_path, "ab", links=["ab"], heartbeat=100)
    a, b = mesh.nodes
    reader = mesh.add("reader", endpoint=False)
    origin = z85.decode(read_cert(a.cert)["sign/public-key"])
    context = zmq.Context()
    try:
        a.start()
        b.start()
        b.wait_connected(["a"])
        for address in ("80.94.95.112", "80.94.95.113"):
            a.publish(address)
            b.wait_reported([address])
        socket = subscriber(context, b, reader.secret)
        told = {}

        def heard(count):
            """Heartbeats, until there were so many."""
            beats = 0
            while beats < count:
                assert socket.poll(30000)
                message = socket.recv()
                beats += message[5] == HEAD
                for envelope in read_fields(body_of(message))[1] if message[5] == BUNDLE else ():
                    if envelope[8:40] == origin:
                        seq = fields(body_of(envelope))[3]
                        told[seq] = told.get(seq, 0) + 1

        heard(10)
        a.publish("80.94.95.114")
        heard(20)
        assert told[3] == 6
    finally:
        context.destroy(linger=0)
        mesh.stop()


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
    mesh = Mesh(tmp_path, names, links=links, extra=RELAY, heartbeat=500)
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
        wait_until(lambda: all(node.messages()["heads"] > heads + 3 for node, heads in
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
    with Mesh(tmp_path, "abcd", links=["ab", "bc", "cd"], heartbeat=300) as mesh:
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


def test_who_was_away_learns_of_a_dead_origins_last_batch_from_a_survey(tmp_path):
    """It was announced once; who comes later is told of it with the heads."""
    with Mesh(tmp_path, "abc", links=["ab", "bc"], heartbeat=300) as mesh:
        a, b, c = mesh.nodes
        a.publish("80.94.95.112")
        c.wait_reported(["80.94.95.112"])
        c.stop()
        heads = b.messages()["heads"]
        wait_until(lambda: b.messages()["heads"] > heads, "a heartbeat")
        a.publish("80.94.95.113")
        b.wait_reported(["80.94.95.113"])
        a.stop(signal.SIGKILL)
        b.stop()
        b.start()
        wait_until(lambda: b.status()["uptime_s"] > 2, "more than six heartbeats")
        c.start().wait_reported(["80.94.95.113"])


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
