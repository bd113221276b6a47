"""A trusted node gone bad sends as much as it can: the others go on answering their hooks."""

import threading

from mesh import Mesh, public_addresses, wait_until
from node_by_hand import BUNDLE, NodeByHand, bytes_field

HEADS_A_BUNDLE = 256


def forged_heads(node):
    """A bundle, signed as it should be, of heads that each cost a check and are worth nothing."""
    body = b""
    for seq in range(1, HEADS_A_BUNDLE + 1):
        head = node.head(epoch=1795288025000, seq=seq)
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
            wait_until(lambda: refused() > 100 * HEADS_A_BUNDLE, "the flood")
            for address in public_addresses(20, seed=31):
                mx1.publish(address)
            assert "from the spool" not in mx1.output()
            assert mx1.status()["intake"]["stored"] == 20
        finally:
            stop.set()
            thread.join()
            mesh.stop()
