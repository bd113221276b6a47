"""Connections that break in every way are made anew: silent, refused, garbage, moved elsewhere."""

import contextlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from mesh import Mesh, public_addresses, wait_until
from node_by_hand import NodeByHand, ban

HEARTBEAT_S = 0.1
LIMIT_S = 5 * HEARTBEAT_S  # of silence
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])


def most_reconnects(seconds):
    """How often a silent peer may have been connected anew: the first time after five heartbeats,
    then after a pause that doubles, less a quarter of jitter."""
    count, at, pause = 0, LIMIT_S, 2 * LIMIT_S
    while at <= seconds:
        count += 1
        pause *= 0.75
        at += pause
        pause *= 2
    return count


def check_back_off(node, name, since, before=0):
    count = node.peers()[name]["reconnects"] - before
    seconds = time.monotonic() - since
    print("%s: connected anew %d times in %.1f s" % (name, count, seconds))
    assert count <= most_reconnects(seconds) + 1, "it may have been silent before that"
    return count


# ---- silent, refused, broken ----

def test_a_silent_peer_is_connected_anew_less_and_less_often(tmp_path):
    addresses = public_addresses(30, seed=61)
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], heartbeat=100) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        before = mx1.peers()["mx2"]["reconnects"]
        since = time.monotonic()
        mx2.process.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: check_back_off(mx1, "mx2", since, before) >= 4, "to connect anew")
        assert not mx1.peers()["mx2"]["connected"]
        for address in addresses:
            mx1.publish(address)
        mx3.wait_reported(addresses)
        mx2.process.process.send_signal(signal.SIGCONT)
        mx2.wait_reported(addresses)
        mx1.wait_connected()
        mx2.publish("80.94.95.112")
        mx1.wait_reported(["80.94.95.112"])


def test_another_heartbeat_counts_from_the_reload_on(tmp_path):
    """What waits for one, and what sends one."""
    mesh = Mesh(tmp_path, ["mx1", "mx2"], heartbeat=20000)
    mx1, mx2 = mesh.nodes
    try:
        for node in mesh.nodes:
            node.start()
        for node in mesh.nodes:
            with open(node.conf, encoding="utf-8") as conf:
                text = conf.read()
            with open(node.conf, "w", encoding="utf-8") as conf:
                conf.write(text.replace('"20000"', '"100"'))
            node.process.process.send_signal(signal.SIGHUP)
        for node in mesh.nodes:
            node.wait_connected()
            heads = node.messages()["heads"]
            wait_until(lambda one=node, before=heads: one.messages()["heads"] > before + 50, "heads")
        assert [peer["reconnects"] for node in (mx1, mx2) for peer in node.peers().values()] == [0, 0]
    finally:
        mesh.stop()


def test_peers_that_are_away_together_are_not_knocked_at_together(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"], heartbeat=100)
    mx1 = mesh.nodes[0]
    for i in range(10):
        mesh.add("away%d" % i)
    since = time.monotonic()
    mx1.start()
    try:
        seen = set()

        def spread():
            """How often some had been tried for the nth time, and others not yet."""
            counts = [peer["reconnects"] for peer in mx1.peers().values()]
            for nth in (2, 3, 4):
                tried = sum(count >= nth for count in counts)
                if 0 < tried < len(counts):
                    seen.add((nth, tried))
            return len(seen) >= 5 or min(counts) >= 5

        wait_until(spread, "their trials")
        assert len(seen) >= 5, "without jitter there are three at most"
        for name in mx1.peers():
            check_back_off(mx1, name, since)
    finally:
        mesh.stop()


def test_a_node_that_was_refused_is_a_member_once_it_is_trusted(tmp_path):
    addresses = public_addresses(20, seed=62)
    mesh = Mesh(tmp_path, ["mx1"], heartbeat=100)
    mx1 = mesh.nodes[0]
    new = mesh.add("new", trusted=False)
    new.settings = {"node": {"trust": os.path.join(new.dir, "trust")}}
    shutil.copytree(mesh.trust, os.path.join(new.dir, "trust"))
    new.write_settings()
    try:
        mx1.start()
        since = time.monotonic()
        new.start()
        for address in addresses[:10]:
            new.publish(address)
            mx1.publish(addresses[10 + addresses.index(address)])
        wait_until(lambda: mx1.messages()["connections_refused"] > 2 and
                   check_back_off(new, "mx1", since) >= 2, "refusals")
        assert new.reported() == mx1.reported() == [] and mx1.peers() == {}
        assert "does it trust our certificate?" in new.output()
        mesh.add_trust(new)
        mx1.wait_reported(addresses[:10])
        new.wait_reported(addresses[10:])
    finally:
        mesh.stop()


class Garbage:
    """Something else listens where a peer should: it answers with noise, or not at all."""

    def __init__(self, ports, seed):
        self.random = random.Random(seed)
        self.calls = 0
        self.stopping = False
        self.held = []
        self.listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
        for listener in self.listeners:
            listener.settimeout(0.05)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            for listener in self.listeners:
                try:
                    client = listener.accept()[0]
                except TimeoutError:
                    continue
                self.calls += 1
                self.answer(client)

    def answer(self, client):
        greeting = b"\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE" + bytes(15) + b"\1" + bytes(31)
        noise = self.random.randbytes(self.random.randrange(2000))
        try:
            client.sendall(self.random.choice([b"", noise, greeting, greeting + noise]))
        except OSError:
            pass
        if self.random.random() < 0.5:
            client.close()
        else:
            self.held.append(client)

    def close(self):
        self.stopping = True
        self.thread.join()
        for one in self.listeners + self.held:
            one.close()


def test_garbage_where_a_peer_should_be_harms_nobody_and_the_peer_comes_back(tmp_path):
    addresses = public_addresses(20, seed=63)
    mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"], heartbeat=100)
    mx1, mx2, mx3 = mesh.nodes
    garbage = Garbage([int(at.split(":")[-1]) for at in (mx3.listen, mx3.replay)], seed=64)
    try:
        mx1.start()
        mx2.start()
        mx1.wait_connected(["mx2"])
        wait_until(lambda: garbage.calls >= 8, "calls")
        assert not mx1.peers()["mx3"]["connected"]
        for address in addresses[:10]:
            mx1.publish(address)
        mx2.wait_reported(addresses[:10])
        garbage.close()
        mx3.start()
        mx3.wait_reported(addresses[:10])
        for address in addresses[10:]:
            mx3.publish(address)
        mx1.wait_reported(addresses[10:])
        mx2.wait_reported(addresses[10:])
    finally:
        garbage.close()
        mesh.stop()


def test_a_replay_address_that_once_answered_garbage_is_not_given_up(tmp_path):
    """libzmq never tries again after a protocol error; the other socket says that all is well."""
    mesh = Mesh(tmp_path, ["mx1", "mx2"], heartbeat=2000)
    mx1, mx2 = mesh.nodes
    addresses = public_addresses(10, seed=66)
    mx2.start()
    for address in addresses:
        mx2.publish(address)
    mx2.stop()
    try:
        with socket.create_server(("127.0.0.1", int(mx2.replay.split(":")[-1]))) as listener:
            listener.settimeout(60)
            mx1.start()
            with listener.accept()[0] as client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(64))
                client.settimeout(60)
                with contextlib.suppress(ConnectionResetError):
                    while client.recv(4096):  # until it has hung up
                        pass
        mx2.start()
        mx1.wait_reported(addresses)
        assert "peer mx2: takes no requests; connecting anew" in mx1.output()
    finally:
        mesh.stop()


def test_a_frame_that_is_too_large_costs_one_new_connection(tmp_path):
    """libzmq ends that connection for good, on the side that connected."""
    mesh = Mesh(tmp_path, ["mx1", "hand"], heartbeat=100)
    mx1, hand = mesh.nodes
    with NodeByHand(hand) as node:
        node.answer(lambda *_: None)
        try:
            mx1.start()
            mx1.wait_connected()
            node.say = b"x" * 70000
            wait_until(lambda: mx1.peers()["hand"]["reconnects"] >= 2, "new connections")
            node.say = node.batch(1795288025000, 1, [ban("80.94.95.112")])
            mx1.wait_reported(["80.94.95.112"])
        finally:
            mesh.stop()


# ---- names ----

def in_own_etc(node, **files):
    """Let a node see files of its own as /etc/NAME; change them in place."""
    mounts = []
    for name, content in files.items():
        path = os.path.join(node.dir, name)
        with open(path, "w", encoding="ascii") as out:
            out.write(content)
        mounts.append("mount --bind %s /etc/%s && " % (path, name.replace("_", ".")))
    node.prefix = ["unshare", "--mount", "sh", "-c", "".join(mounts) + 'exec "$@"', "sh"]
    tried = subprocess.run(node.prefix + ["true"], stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip("no mount namespace of its own: " + tried.stderr.strip())


def at_name(node, name):
    """How to write a node's addresses with a host name."""
    return " ".join("tcp://%s:%s" % (name, at.split(":")[-1]) for at in (node.listen, node.replay))


def rewrite(node, name, content):
    with open(os.path.join(node.dir, name), "r+", encoding="ascii") as out:
        out.truncate()
        out.write(content)


def on_address(node, host):
    return {"mesh": {"listen": "tcp://%s:%s" % (host, node.listen.split(":")[-1]),
                     "replay": "tcp://%s:%s" % (host, node.replay.split(":")[-1])}}


def test_a_peer_that_moves_is_found_at_the_new_address_of_its_name(tmp_path):
    """Something that accepts and is silent stays at the old one."""
    addresses = public_addresses(20, seed=65)
    mesh = Mesh(tmp_path, ["mx1"], heartbeat=100)
    mx1 = mesh.nodes[0]
    moving = mesh.add("moving", endpoint=False)
    in_own_etc(mx1, hosts="127.0.0.2 moving.example.org\n")
    mx1.settings = {"mesh": {"peers": {"moving": at_name(moving, "moving.example.org")}}}
    mx1.write_settings()
    holes = []
    try:
        moving.write_settings(on_address(moving, "127.0.0.2"))
        mx1.start()
        moving.start()
        for address in addresses[:5]:
            moving.publish(address)
        mx1.wait_reported(addresses[:5])
        moving.stop()
        holes = [socket.create_server(("127.0.0.2", int(at.split(":")[-1])))
                 for at in (moving.listen, moving.replay)]
        wait_until(lambda: not mx1.peers()["moving"]["connected"], "its silence to be noticed")
        moving.write_settings(on_address(moving, "127.0.0.3"))
        moving.start()
        for address in addresses[5:]:
            moving.publish(address)
        rewrite(mx1, "hosts", "127.0.0.3 moving.example.org\n")
        mx1.wait_reported(addresses)
        mx1.publish("80.94.95.112")
        moving.wait_reported(["80.94.95.112"])
        assert sorted(mx1.reported()) == addresses
    finally:
        for hole in holes:
            hole.close()
        mesh.stop()


def test_each_address_of_a_name_is_tried(tmp_path):
    """One of the two peers is at the second one."""
    mesh = Mesh(tmp_path, ["mx1"], heartbeat=100)
    mx1 = mesh.nodes[0]
    peers = [mesh.add("p1", endpoint=False), mesh.add("p2", endpoint=False)]
    in_own_etc(mx1, hosts="127.0.0.4 two.example.org\n127.0.0.2 two.example.org\n")
    mx1.settings = {"mesh": {"peers": {peer.name: at_name(peer, "two.example.org")
                                       for peer in peers}}}
    mx1.write_settings()
    try:
        mx1.start()
        for peer, host in zip(peers, ("127.0.0.2", "127.0.0.4")):
            peer.write_settings(on_address(peer, host))
            peer.start()
        mx1.wait_connected(["p1", "p2"])
    finally:
        mesh.stop()


def test_name_servers_that_are_silent_delay_nobody(tmp_path):
    """libzmq would ask them in the one thread that carries all connections."""
    addresses = public_addresses(20, seed=66)
    mesh = Mesh(tmp_path, ["mx1", "mx2"], heartbeat=100)
    mx1, mx2 = mesh.nodes
    mesh.add("far", endpoint=False)
    mesh.add("away", endpoint=False)
    silent = "127.0.77.%d" % (WORKER + 1)
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        asked.bind((silent, 53))
    except PermissionError:
        pytest.skip("only root can take the place of a name server")
    asked.settimeout(60)
    in_own_etc(mx1, resolv_conf="nameserver %s\noptions timeout:1 attempts:5\n" %
               silent, nsswitch_conf="hosts: dns\n")
    mx1.settings = {"mesh": {"peers": {name: at_name(mx2, name + ".example.org")
                                       for name in ("far", "away")}}}
    mx1.write_settings()
    try:
        mx1.start()
        asked.recv(600)
        mx2.start()
        mx1.wait_connected(["mx2"])
        for address in addresses[:10]:
            mx1.publish(address)
        mx2.wait_reported(addresses[:10])
        wait_until(lambda: not select.select([asked], [], [], 0)[0] or not asked.recv(600), "")
        asked.recv(600)  # it waits for an answer still, or again
        for address in addresses[10:]:
            mx2.publish(address)
        mx1.wait_reported(addresses[10:])
        assert not mx1.peers()["far"]["connected"]
        mx1.stop()  # and its end waits for no answer
    finally:
        asked.close()
        mesh.stop()
