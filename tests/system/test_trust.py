"""Nobody gets in: keys, the trust store, and what becomes of live connections."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest
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


def attention(node):
    """What it shows first, but for peers that are away."""
    return "\n".join(line for line in node.status()["attention"]
                     if "not connected" not in line and "no fail2ban was seen" not in line)


def test_a_file_that_cannot_be_used_is_left_out_alone(tmp_path):
    """Bad, empty, half-written, with a copied key: all others count, and so it is after a restart."""
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx1, mx2, mx3 = mesh.nodes
        bad = os.path.join(mesh.trust, "bad.cert")
        for text, why in ((None, "mx3.cert: holds the same key as bad.cert"),
                          ("curve\n    public-key = \"too short\"\n",
                           "bad.cert:2: curve/public-key is not a key"),
                          ("", "bad.cert: curve/public-key is missing"),
                          ("metadata\n    name = \"bad\"\ncur", "bad.cert")):
            if text is None:
                shutil.copy(os.path.join(mesh.trust, "mx3.cert"), bad)
            else:
                with open(bad, "w", encoding="ascii") as out:
                    out.write(text)
            wait_until(lambda: why in attention(mx2), why)
            assert why in mx2.output()
            assert ("mx3" in mx2.peers()) == (text is not None)
        mx2.stop()
        mx2.start()
        assert "bad.cert" in attention(mx2)
        mx1.publish("80.94.95.112")
        mx3.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.112", "80.94.95.113"])
        done = subprocess.run([program("banmeshd"), "--config", mx2.conf, "--check"], text=True,
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert "bad.cert" in done.stdout and "left out" in done.stdout
        os.unlink(bad)
        wait_until(lambda: attention(mx2) == "", "all to be well")


def test_a_certificate_that_cannot_be_read_any_more_counts_no_more(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        _, mx2 = mesh.nodes
        with open(os.path.join(mesh.trust, "mx1.cert"), "w", encoding="ascii"):
            pass
        wait_until(lambda: "mx1" not in mx2.peers(), "mx1 to be cut off")
        assert "mx1.cert: curve/public-key is missing" in attention(mx2)


def test_a_change_that_raises_no_event_in_the_directory_is_seen(tmp_path):
    """A revocation by swapping: of the directory, or of what a link in it leads to."""
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        mx2 = mesh.nodes[1]
        certs = os.path.join(tmp_path, "certs")
        without = os.path.join(tmp_path, "without")
        shutil.copytree(mesh.trust, certs)
        shutil.copytree(mesh.trust, without)
        os.unlink(os.path.join(without, "mx3.cert"))
        os.rename(mesh.trust, os.path.join(tmp_path, "old"))
        os.rename(without, mesh.trust)
        wait_until(lambda: sorted(mx2.peers()) == ["mx1"], "mx3 to be cut off")
        os.symlink(os.path.join(certs, "mx3.cert"), os.path.join(mesh.trust, "mx3.cert"))
        wait_until(lambda: sorted(mx2.peers()) == ["mx1", "mx3"], "a link to be followed")
        os.unlink(os.path.join(certs, "mx3.cert"))
        wait_until(lambda: sorted(mx2.peers()) == ["mx1"], "the link's end to be seen")
        assert "mx3.cert: No such file" in attention(mx2)
        os.link(os.path.join(certs, "mx1.cert"), os.path.join(mesh.trust, "mx9.cert"))
        wait_until(lambda: mx2.peers() == {}, "a second name of a file to be seen")


def test_many_changes_at_once_cut_the_connections_once(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx2 = mesh.nodes[1]
        for i in range(20):
            extra = mesh.add("extra%d" % i, trusted=False, endpoint=False)
            mesh.add_trust(extra)
        wait_until(lambda: "22 certificates" in mx2.output(), "all of them")
        for i in range(20):
            os.unlink(os.path.join(mesh.trust, "extra%d.cert" % i))
        wait_until(lambda: ": 2 certificates, connections of removed ones cut" in mx2.output(),
                   "all of them to go")
        assert mx2.output().count("connections of removed ones cut") == 1


def test_a_removal_counts_while_the_settings_are_wrong(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx2 = mesh.nodes[1]
        with open(mx2.conf, "a", encoding="ascii") as conf:
            conf.write("nonsense\n    a = 1\n")
        mx2.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old configuration stays" in mx2.output(), "the fault to be said")
        os.unlink(os.path.join(mesh.trust, "mx1.cert"))
        wait_until(lambda: "connections of removed ones cut" in mx2.output(), "mx1 to be cut off")
        mx2.write_settings()
        assert "settings were not reloaded" in attention(mx2)
        assert "mx1" not in mx2.peers()
        mx2.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: attention(mx2) == "", "all to be well")


def test_a_missing_trust_directory_leaves_the_old_set_and_is_said(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        os.rename(mesh.trust, str(mesh.trust) + ".away")
        wait_until(lambda: "those who were trusted stay so" in attention(mx2), "the loss to be said")
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        assert mx2.output().count("those who were trusted stay so") == 1
        os.rename(str(mesh.trust) + ".away", mesh.trust)
        wait_until(lambda: attention(mx2) == "", "the directory to be read again")


@pytest.fixture(name="open_path")
def make_open_path():
    """A directory that other users reach; pytest's own they do not."""
    with tempfile.TemporaryDirectory(prefix="bt", dir="/tmp") as path:
        os.chmod(path, 0o755)
        yield path


def test_what_is_trusted_can_be_read_whatever_the_umask(open_path):
    """An administrator's umask of 077, and a service under its own user."""
    tmp_path = pathlib.Path(open_path)
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    subprocess.run(["chown", "-R", "nobody", mx1.dir], check=True)
    mx1.prefix = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]

    def banmesh(*argv, mask="077"):
        return subprocess.run(["sh", "-c", "umask %s; exec \"$@\"" % mask, "sh",
                               program("banmesh"), *argv], text=True, check=False, cwd=tmp_path,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        mx1.start()
        assert banmesh("keygen", "mx2").returncode == 0
        assert os.stat(tmp_path / "mx2.cert").st_mode & 0o777 == 0o644
        assert os.stat(tmp_path / "mx2.cert_secret").st_mode & 0o777 == 0o600
        done = banmesh("trust", "add", "mx2.cert", "--config", mx1.conf)
        assert (done.returncode, done.stdout) == (0, "mx2 is trusted\n")
        mx1.stop()
        mx1.start()
        assert attention(mx1) == ""
        # What the service cannot read is not said to be trusted.
        assert banmesh("keygen", "mx3").returncode == 0
        os.chmod(mesh.trust, 0o700)
        done = banmesh("trust", "add", "mx3.cert", "--config", mx1.conf)
        assert done.returncode == 1 and "does not trust it" in done.stdout
        os.chmod(mesh.trust, 0o755)
        done = banmesh("trust", "remove", "mx2", "--config", mx1.conf)
        assert (done.returncode, done.stdout) == (0, "mx2 is trusted no longer, and cut off\n")
    finally:
        mesh.stop()


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
    shutil.copy(tmp_path / "mx1.cert", tmp_path / "trust" / "mx1.cert")
    shutil.copy(tmp_path / "mx1.cert", tmp_path / "trust" / "copy.cert")
    assert "copy.cert: holds the same key" in run("trust", "list", "--dir", "trust")
    assert "trusted as copy: remove that" in run("trust", "remove", "mx1", "--dir", "trust")
    run("trust", "remove", "copy", "--dir", "trust")
    assert "nobody is trusted" in run("trust", "list", "--dir", "trust")
    assert "usage" in run("trust", expect=2)
    assert "unknown command" in run("nonsense", expect=2)
    assert "example" in run("keygen", "--help")
