"""Nobody gets in: keys, the trust store, and what becomes of live connections."""

import os
import shutil
import signal
import subprocess

import zmq

from mesh import Mesh, program, wait_until


def read_cert(path):
    """The CURVE keys of a certificate, by an independent reader of the format."""
    keys = {}
    section = None
    with open(path, encoding="ascii") as text:
        for line in text:
            if line.startswith("#"):
                continue
            if not line.startswith(" "):
                section = line.strip()
            else:
                name, value = line.strip().split(" = ")
                keys[section + "/" + name] = value.strip('"')
    return keys


def subscriber(context, node, secret, monitor=False):
    """An independent ZeroMQ peer, with the keys of a certificate."""
    keys = read_cert(secret)
    socket = context.socket(zmq.SUB)
    socket.curve_publickey = keys["curve/public-key"].encode()
    socket.curve_secretkey = keys["curve/secret-key"].encode()
    socket.curve_serverkey = read_cert(node.cert)["curve/public-key"].encode()
    socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
    socket.subscribe(b"")
    events = socket.get_monitor_socket() if monitor else None
    socket.connect(node.listen)
    return (socket, events) if monitor else socket


def test_a_trusted_stranger_to_our_code_can_read_the_feed(tmp_path):
    """The wire is CURVE and an envelope, as docs/protocol.md says; pyzmq is enough to see it."""
    mesh = Mesh(tmp_path, ["mx1"])
    reader = mesh.add("reader", endpoint=False)
    mx1 = mesh.nodes[0].start()
    context = zmq.Context()
    try:
        socket = subscriber(context, mx1, reader.secret)
        assert socket.poll(30000)
        heartbeat = socket.recv_multipart()
        assert len(heartbeat) == 1 and heartbeat[0][:6] == b"BNMS\x01\x02"
        mx1.publish("80.94.95.112")
        while True:
            message = socket.recv()
            if message[5] == 1:
                break
        assert bytes([80, 94, 95, 112]) in message and b"sshd" in message
    finally:
        context.destroy(linger=0)
        mesh.stop()


def test_an_unknown_key_hears_nothing_and_gets_in_once_it_is_trusted(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    stranger = mesh.add("stranger", trusted=False, endpoint=False)
    mx1 = mesh.nodes[0].start()
    context = zmq.Context()
    try:
        socket = subscriber(context, mx1, stranger.secret)
        counters = lambda: mx1.status()["mesh"]["messages"]
        wait_until(lambda: counters()["connections_refused"] >= 2, "two refusals")
        assert socket.poll(0) == 0
        assert counters()["connections_admitted"] == 0
        assert "is not in the trust directory" in mx1.output()
        mesh.add_trust(stranger)
        assert socket.poll(30000), "the same connection attempt succeeds by itself"
    finally:
        context.destroy(linger=0)
        mesh.stop()


def test_a_removed_node_is_cut_off_while_connected(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    reader = mesh.add("reader", endpoint=False)
    context = zmq.Context()
    try:
        mx1, mx2 = mesh.nodes[:2]
        mx1.start()
        mx2.start()
        mx2.wait_connected(["mx1"])
        socket = subscriber(context, mx1, reader.secret)
        assert socket.poll(30000)
        os.unlink(os.path.join(mesh.trust, "reader.cert"))
        wait_until(lambda: "connections of removed ones cut" in mx1.output(), "the reload")
        refused = mx1.status()["mesh"]["messages"]["connections_refused"]
        wait_until(lambda: mx1.status()["mesh"]["messages"]["connections_refused"] > refused,
                   "the reader to knock again")
        while socket.poll(0):
            socket.recv()
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])  # the others came back by themselves
        assert socket.poll(500) == 0, "a removed node still hears bans"
    finally:
        context.destroy(linger=0)
        mesh.stop()


def test_a_removed_nodes_bans_are_refused_whoever_brings_them(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        os.unlink(os.path.join(mesh.trust, "mx1.cert"))
        wait_until(lambda: "mx1" not in mx2.peers(), "mx2 to drop mx1")
        mx1.publish("80.94.95.112")
        mesh.add_trust(mx1)
        mx1.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.112", "80.94.95.113"])  # trusted again: nothing was lost


def test_a_broken_trust_directory_leaves_the_old_set(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        bad = os.path.join(mesh.trust, "bad.cert")
        shutil.copy(os.path.join(mesh.trust, "mx1.cert"), bad)
        wait_until(lambda: "hold the same key" in mx2.output(), "two names for one key to be seen")
        with open(bad, "w", encoding="ascii") as out:
            out.write("curve\n    public-key = \"too short\"\n")
        wait_until(lambda: "bad.cert:2: curve/public-key is not a key" in mx2.output(),
                   "the bad key to be named")
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        os.unlink(bad)


def test_sighup_reads_settings_again_and_a_bad_file_changes_nothing(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx2.write_settings({"guard": {"protect": "80.94.95.0/24"}})
        mx2.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP" in mx2.output(), "the reload")
        mx1.publish("80.94.95.112")
        mx1.publish("80.94.96.112")
        mx2.wait_reported(["80.94.96.112"])
        assert mx2.reported() == ["80.94.96.112"]
        assert mx2.status()["outcomes"]["protected-address"] == 1
        mx2.write_settings({"guard": {"protect": "80.94.95.0/240"}})
        mx2.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "not reloaded, the old configuration stays" in mx2.output() and
                   "80.94.95.0/240" in mx2.output(), "the bad value to be named")
        mx1.publish("80.94.95.113")
        mx1.publish("80.94.96.113")
        mx2.wait_reported(["80.94.96.113"])
        assert mx2.reported() == ["80.94.96.112", "80.94.96.113"]


def test_an_aggregators_own_events_are_refused(tmp_path):
    with Mesh(tmp_path, ["mx1", "hist1"], extra={"roles": {"aggregator": "hist1"}}) as mesh:
        mx1, hist1 = mesh.nodes
        hist1.publish("80.94.95.112")
        wait_until(lambda: mx1.status()["mesh"]["messages"]["refused"].get("aggregator-role"),
                   "the refusal")
        assert mx1.reported() == []


def test_keygen_and_trust_as_an_operator_types_them(tmp_path):
    def run(*argv, expect=0):
        done = subprocess.run([program("banmesh"), *argv], cwd=tmp_path, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == expect, done
        return done.stdout + done.stderr

    os.mkdir(tmp_path / "trust")
    run("keygen", "mx1", "--endpoint", "tcp://192.0.2.1:7341")
    assert os.stat(tmp_path / "mx1.cert_secret").st_mode & 0o777 == 0o600
    assert read_cert(tmp_path / "mx1.cert")["metadata/replay"] == "tcp://192.0.2.1:7342"
    assert "not overwritten" in run("keygen", "mx1", expect=1)
    assert "expected" in run("keygen", "a/b", expect=1)
    assert "65536" in run("keygen", "x", "--endpoint", "tcp://h:65536", expect=1)
    run("trust", "add", "mx1.cert", "--dir", "trust")
    assert "in trust already, as mx1" in run("trust", "add", "mx1.cert", "--as", "other", "--dir",
                                             "trust", expect=1)
    assert "secret" in run("trust", "add", "mx1.cert_secret", "--dir", "trust", expect=1)
    assert "mx1" in run("trust", "list", "--dir", "trust")
    run("trust", "remove", "mx1", "--dir", "trust")
    assert "No such file" in run("trust", "remove", "mx1", "--dir", "trust", expect=1)
    assert "nobody is trusted" in run("trust", "list", "--dir", "trust")
    assert "usage" in run("trust", expect=2)
    assert "unknown command" in run("nonsense", expect=2)
    assert "example" in run("keygen", "--help")
