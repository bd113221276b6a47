"""A node that was never there before gets all that there is, whole and in order."""

import hashlib
import os
import re
import subprocess

from effort import rounds
from mesh import Mesh, program, public_addresses, wait_until
from node_by_hand import DONE, FETCH, HEAD, NodeByHand, ban, bytes_field, number_field

COUNT = rounds(10000, 100000)


def fill(node, count, per_batch):
    """As if it had banned so many addresses by now; returns them."""
    subprocess.run([program("tests/bench/bench_fill"), node.secret, os.path.join(node.dir, "state"),
                    str(count), str(per_batch)], check=True, stdout=subprocess.DEVNULL)
    return ["26.%d.%d.%d" % (i >> 16, i >> 8 & 255, i & 255) for i in range(count)]


def wait_applied(node, origin, seq):
    """Until the node has, and has decided on, so many batches of an origin."""
    def has_all():
        feeds = {feed["origin"]: feed for feed in node.status()["mesh"]["feeds"]}
        return origin in feeds and feeds[origin]["applied"] == feeds[origin]["head"] == seq
    wait_until(has_all, lambda: node.output() + str(node.status()["mesh"]), 300)


def test_a_newcomer_catches_up_with_thousands_of_batches_of_one_ban_each(tmp_path):
    """Their signatures are checked by several threads: `tests/run` runs this with ThreadSanitizer,
    too. Meanwhile the newcomer answers its own hooks."""
    mesh = Mesh(tmp_path, ["mx1", "late"], heartbeat=1000)
    mx1, late = mesh.nodes
    addresses = fill(mx1, COUNT, 1)
    own = public_addresses(20, seed=22)
    mx1.start()
    try:
        late.start()
        late.wait_connected(["mx1"])
        for address in own:
            late.publish(address)
        wait_until(lambda: late.status()["intake"]["stored"] == len(own), late.output)
        wait_applied(late, "mx1", COUNT)
        reported = late.reported()
        assert len(reported) == COUNT and set(reported) == set(addresses)
        mx1.wait_reported(own)
        messages = late.status()["mesh"]["messages"]
        assert messages["stored"] == COUNT
        assert messages["refused"] == {}
    finally:
        mesh.stop()


def test_what_is_announced_while_a_newcomer_catches_up_is_not_lost(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "late"], heartbeat=1000)
    mx1, late = mesh.nodes
    addresses = fill(mx1, COUNT // 2, 1)
    live = public_addresses(50, seed=23)
    mx1.start()
    try:
        late.start()
        late.wait_connected(["mx1"])
        for address in live:
            mx1.publish(address)
        late.wait_reported(live)  # in an epoch of its own, beside the old one
        wait_until(lambda: late.status()["mesh"]["missing_batches"] == 0, late.output, 300)
        wait_until(lambda: len(late.reported()) == COUNT // 2 + len(live), late.output, 300)
        assert set(late.reported()) == set(addresses + live)
    finally:
        mesh.stop()


def test_a_newcomer_that_is_killed_again_and_again_ends_with_everything(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "late"], heartbeat=200)
    mx1, late = mesh.nodes
    addresses = fill(mx1, COUNT, 1)
    mx1.start()
    try:
        for part in (0.1, 0.4, 0.7):
            late.start()

            def has(part=part):
                return sum(feed["have"] for feed in late.status()["mesh"]["feeds"]) > part * COUNT
            wait_until(has, late.output, 300)
            late.stop(9)
        late.start()
        wait_applied(late, "mx1", COUNT)
        assert set(late.reported()) == set(addresses)
    finally:
        mesh.stop()


class SlowOrigin(NodeByHand):
    """A node by hand with one feed, of which each request brings ten batches."""

    EPOCH = 1795288025000
    COUNT = 1000
    PORTION = 10

    def __init__(self, node):
        super().__init__(node)
        self.sent = 0
        self.slow = True
        self.batches = [self.batch(self.EPOCH, seq, [ban(address)]) for seq, address
                        in enumerate(public_addresses(self.COUNT, seed=24), 1)]
        last = hashlib.blake2b(self.batches[-1][40:-64], digest_size=32).digest()
        self.say = self.envelope(HEAD, number_field(1, self.EPOCH) + number_field(3, self.COUNT) +
                                 bytes_field(4, last) + number_field(5, 1) +
                                 number_field(6, self.EPOCH))

    def reply(self, _, routing_id, request):
        if request[5] != FETCH:
            return
        portion = self.batches[self.sent:self.sent + self.PORTION]
        self.sent += len(portion)
        for envelope in portion:
            self.router.send_multipart([routing_id, envelope])
        self.router.send_multipart([routing_id, self.envelope(
            DONE, bytes_field(1, self.sign_public) + number_field(2, self.EPOCH) +
            number_field(4, self.sent) + number_field(5, self.COUNT))])
        if self.slow:
            self.stopping.wait(0.3)


def test_status_and_log_say_how_far_catch_up_is(tmp_path):
    mesh = Mesh(tmp_path, ["slow", "late"], heartbeat=200)
    slow, late = mesh.nodes
    with SlowOrigin(slow) as origin:
        origin.answer(origin.reply)
        try:
            late.start()

            def behind():
                items = late.status()["mesh"]["catching_up"]
                return items[0] if items and items[0]["have"] > 0 else None
            first = wait_until(behind, late.output)
            assert first["origin"] == "slow"
            assert 0 < first["have"] < first["all"] == origin.COUNT
            assert re.search("catching up with slow: [0-9]+ of 1,000 batches, for [0-9]+ (s|min)",
                             late.status_text())
            wait_until(lambda: re.search(": catching up with slow: [0-9]+ of 1,000 batches\n",
                                         late.output()), late.output)
            origin.slow = False
            wait_until(lambda: re.search(": caught up with slow: 1,000 batches, after [0-9]+ s\n",
                                         late.output()), late.output)
            assert late.status()["mesh"]["catching_up"] == []
        finally:
            mesh.stop()
