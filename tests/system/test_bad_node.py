"""A trusted node gone bad, or unlucky, can do little harm. Each of these was a defect once."""

import fcntl
import os
import signal

from mesh import Mesh, public_addresses, wait_until
from node_by_hand import FETCH, SURVEY, NodeByHand, ban


def test_a_node_by_hand_is_a_node(tmp_path):
    """docs/protocol.md is enough to take part."""
    mesh = Mesh(tmp_path, ["mx1", "hand"])
    mx1, hand = mesh.nodes
    with NodeByHand(hand) as node:
        mx1.start()
        try:
            wait_until(lambda: node.pub.send(node.head()) or mx1.peers()["hand"]["connected"],
                       "its heartbeat to be heard")
            node.pub.send(node.batch(1795288025000, 1, [ban("80.94.95.112"), ban("2a02:4780::7")]))
            mx1.wait_reported(["80.94.95.112", "2a02:4780::7"])
        finally:
            mesh.stop()


def test_a_ban_from_the_future_does_not_make_its_address_immune(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "bad"])
    mx1, mx2, bad = mesh.nodes
    with NodeByHand(bad) as node:
        mx1.start()
        mx2.start()
        try:
            wait_until(lambda: node.pub.send(node.head()) or mx1.peers()["bad"]["connected"], "bad")
            node.pub.send(node.batch(1795288025000, 1, [
                ban("80.94.95.112", time_ms=253402300799000, duration_s=600)]))
            mx1.wait_reported(["80.94.95.112"])
            assert "for 600 s until" in mx1.lines()[0], "a line that fail2ban's filter matches"
            wait_until(lambda: mx1.status()["outcomes"].get("from-the-future") == 1, "the count")
        finally:
            mesh.stop()


def test_a_peer_that_answers_with_garbage_does_not_keep_the_rest_away(tmp_path):
    """Each frame of it used to count as progress of the answer that it owed."""
    addresses = public_addresses(20, seed=21)
    mesh = Mesh(tmp_path, ["origin", "copy"])
    origin, copy = mesh.nodes
    bad = mesh.add("aaa")  # first in the order of names, so it is asked first
    with NodeByHand(bad) as node:
        def drip(self, routing_id, request):
            while request[5] == FETCH and not self.stopping.wait(0.2):
                self.router.send_multipart([routing_id, b"garbage"])
                self.pub.send(self.head())
        node.answer(drip)
        origin.start()
        copy.start()
        try:
            copy.wait_connected(["origin"])
            for address in addresses:
                origin.publish(address)
            copy.wait_reported(addresses)
            heads = copy.status()["mesh"]["messages"]["heads"]
            wait_until(lambda: copy.status()["mesh"]["messages"]["heads"] > heads + 8, "heads")
            origin.stop(signal.SIGKILL)
            late = mesh.add("late").start()
            late.wait_reported(addresses)
            assert sorted(late.reported()) == addresses
        finally:
            mesh.stop()


def test_a_new_epoch_makes_a_node_ask_for_all_heads(tmp_path):
    """After a quick restart nobody sees a new connection, and the end of the epoch before is not
    announced any more: it would come with the next survey only, up to 30 s later."""
    mesh = Mesh(tmp_path, ["mx1", "hand"])
    mx1, hand = mesh.nodes
    requests = []
    with NodeByHand(hand) as node:
        node.answer(lambda self, routing_id, request: requests.append(request[5]))
        mx1.start()
        try:
            wait_until(lambda: requests.count(SURVEY) == 1, "the survey at the connection")
            node.say = node.batch(1795288025000, 1, [ban("80.94.95.112")])
            wait_until(lambda: requests.count(SURVEY) == 2, "the survey at the new epoch", 20)
        finally:
            mesh.stop()


def test_a_lock_held_on_the_spool_stops_nobody(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with open(os.path.join(mx1.spool, "spool"), "a", encoding="ascii") as spool:
            fcntl.flock(spool, fcntl.LOCK_EX)
            spool.write("x")  # a change, so that the node looks
            spool.flush()
            mx1.publish("80.94.95.112")
            mx2.wait_reported(["80.94.95.112"])
            assert mx1.status()["intake"]["stored"] == 1
        wait_until(lambda: mx1.status()["intake"].get("spool-rejected") == 1, "the spool")


def test_a_changed_replay_address_is_followed_at_a_reload(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    mx2.write_settings({"mesh": {"peers": {"mx1": mx1.listen + " tcp://127.0.0.1:1"}}})
    try:
        mx1.start()
        mx1.publish("80.94.95.112")
        mx2.start()
        mx2.wait_connected(["mx1"])
        wait_until(lambda: mx2.peers()["mx1"]["missing_batches"] == 1, "the gap to be seen")
        mx2.settings = {"mesh": {"peers": {"mx1": mx1.listen + " " + mx1.replay}}}
        mx2.write_settings()
        mx2.process.process.send_signal(signal.SIGHUP)
        mx2.wait_reported(["80.94.95.112"])
    finally:
        mesh.stop()
