"""Nodes that nobody can reach: they offer what they have over the connections that they made."""

import os
import shutil
import signal
import threading
import time

from effort import rounds
from mesh import Mesh, check_logs, public_addresses, publish_everywhere, wait_until

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
        assert "it offers" in mx1.status_text()
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


def test_a_node_that_no_longer_offers_stays_connected_where_it_is_reached(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"], heartbeat=100)
    mx1, mx2 = mesh.nodes
    mx2.settings = {"mesh": {"offer": 1}}
    mx2.write_settings()
    with mesh:
        wait_until(lambda: mx1.peers()["mx2"]["offers"], "the offers")
        mx1.wait_connected()
        before, said = mx1.peers()["mx2"]["reconnects"], mx1.output().count("silent")
        mx2.settings = {}
        mx2.write_settings()
        mx2.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not mx1.peers()["mx2"]["offers"], "their end")
        mx2.publish("80.94.95.112")
        mx1.wait_reported(["80.94.95.112"])
        assert mx1.peers()["mx2"]["connected"] and mx1.peers()["mx2"]["reconnects"] == before
        assert mx1.output().count("silent") == said
