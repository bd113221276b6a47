"""Bad input from everywhere: a clear message, a counter, the process goes on, nothing is lost."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
import zmq

from effort import new_seed
from mesh import ROOT, TIMEOUT, Client, Mesh, program, public_addresses, wait_until
from test_trust import read_cert

HEADER = b"BNMS\x01%c\x00\x00"


@pytest.mark.parametrize("arguments, words", [
    (["--ip", "999.1.1.1"], "not an IPv4 or IPv6 address"),
    (["--ip", "1"], "not an IPv4 or IPv6 address"),
    (["--ip", ""], "empty"),
    (["--ip", "fe80::1%eth0"], "zone id"),
    (["--ip", "1.2.3.4/33"], "bad prefix"),
    (["--jail", ""], "expected the name of a jail"),
    (["--time", "yesterday"], "time"),
    (["--time", "-5"], "time"),
    (["--bantime", "1h"], "bantime"),
    (["--bantime", "-2"], "bantime"),
    (["--nonsense", "1"], 'argument "1": not known'),
    (["--nonsense"], 'argument "--nonsense": not known'),
    (["stray"], "usage"),
])
def test_the_hook_names_what_is_malformed_and_exits_2(tmp_path, arguments, words):
    argv = [program("banmesh-publish"), "--socket", str(tmp_path / "none"), "--spool",
            str(tmp_path), "--jail", "sshd", "--ip", "80.94.95.112"] + arguments
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and words in done.stderr, done
    assert os.listdir(tmp_path) == [], "nothing malformed is spooled"


@pytest.mark.parametrize("way", ["socket", "spool"])
def test_what_only_informs_never_costs_a_ban(tmp_path, way):
    """A jail may have it as it likes: over the socket, or by the spool. (What becomes of each value
    stands in tests/cases/requests.txt.)"""
    options = [("port", "http, https"), ("port", "80 443"), ("port", "{80 443}"), ("port", "all"),
               ("port", "22;reboot,ssh"), ("port", "x" * 300), ("port", "b\u00fcro"),
               ("port", "smtp,465,submission,imap3,imaps,pop3,pop3s,http,https,7080,7081,8443"),
               ("protocol", "tcp, udp"), ("protocol", "ALL"), ("protocol", "tcp/udp"),
               ("failures", "99999999999"), ("bancount", "many"), ("bantime", "315360000000"),
               ("jail", "my jail"), ("jail", "x" * 300), ("jail", "a\nb")]
    addresses = public_addresses(len(options), seed=41)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    try:
        if way == "socket":
            mx1.start()
        for (name, value), address in zip(options, addresses):
            done = mx1.publish(address, **{name: value})
            assert (done.returncode, done.stderr) == (0, ""), (name, value)
        if way == "spool":
            mx1.start()
        mx2.start()
        mx2.wait_reported(addresses)
        assert "malformed" not in mx1.status()["intake"]
    finally:
        mesh.stop()


def test_a_jail_of_any_name_is_shared_and_shown(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("80.94.95.112", jail="my jail")
        mx1.publish("80.94.95.113", jail="b\u00fcro/web")
        mx2.wait_reported(["80.94.95.112", "80.94.95.113"])
        with open(mx2.shared_log, encoding="ascii") as log:
            lines = log.read()
        names = {"my jail": "my_jail-", "b\u00fcro/web": "b__ro_web-"}
        shown = {original: name for name, original in mx1.status()["jails"].items()}
        for original, name in names.items():
            assert shown[original].startswith(name) and " in %s for " % shown[original] in lines
        assert re.search("jails under another name.*\\n.*my jail", mx1.status_text("--verbose"))


def test_what_the_hook_is_refused_is_counted_where_the_operator_looks(tmp_path):
    with Mesh(tmp_path, ["mx1"]) as mesh:
        mx1 = mesh.nodes[0]
        for options in ({"bantime": "1d"}, {"time": "soon"}, {"jail": ""}, {"time": "later"}):
            assert mx1.publish("80.94.95.112", check=False, **options).returncode == 2
        assert mx1.publish("not-an-ip", check=False).returncode == 2
        argv = [program("banmesh-publish"), "--socket", mx1.socket, "--spool", mx1.spool, "--jail",
                "sshd", "--ip", "80.94.95.112"]
        assert subprocess.run([*argv, "--ipv6"], stderr=subprocess.DEVNULL,
                              check=False).returncode == 2
        assert subprocess.run([*argv[:-2]], stderr=subprocess.DEVNULL, check=False).returncode == 2
        status = mx1.status()
        last = status["malformed"].pop("last")
        assert status["malformed"] == {"bantime": 1, "time": 2, "jail": 1, "ip": 2, "stray": 1}
        assert status["intake"]["malformed"] == 7 and "ip is missing" in last
        assert mx1.output().count(': time "') == 1, "each field once, no flood"
        assert os.listdir(mx1.spool) == []
        assert "ip is missing" in mx1.status_text("--verbose")


def test_the_journal_gets_a_priority_with_each_line(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    with open(mx1.log, "ab") as log:
        status = os.fstat(log.fileno())
    mx1.env = {"JOURNAL_STREAM": "%d:%d" % (status.st_dev, status.st_ino)}
    try:
        mx1.start()
        mx1.publish("not-an-ip", check=False)
        lines = mx1.output().splitlines()
        assert "<6>banmeshd: banmeshd " in "\n".join(lines)
        assert all(re.match("<4>banmeshd: warning: |<6>banmeshd: [^w]", line) for line in lines)
        mx1.stop()
        mx1.env = {"JOURNAL_STREAM": "1:2"}  # what a shell under another unit has inherited
        mx1.start()
        assert mx1.output().splitlines()[-1].startswith("banmeshd: ")
    finally:
        mesh.stop()


def test_status_exits_3_if_something_needs_a_look(tmp_path):
    def status():
        return subprocess.run([program("banmesh"), "status", "--config", mx1.conf], text=True,
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    try:
        assert status().returncode == 1
        mx1.start()
        done = status()
        assert done.returncode == 3
        assert done.stdout.startswith("NOT WELL: peer mx2: not connected, never heard\n")
        mx2.start()
        mx1.wait_connected()
        assert status().returncode == 0 and status().stdout.startswith("all is well: mx1 hears 1 of 1 ")
        mx2.stop()
        wait_until(lambda: status().returncode == 3, "the silence to be noticed")
        assert re.search(r"peer mx2: not connected, heard \d+ s ago", status().stdout)
    finally:
        mesh.stop()


def test_every_program_says_its_version(tmp_path):
    for name in ("banmesh-publish", "banmesh", "banmeshd", "banmesh-aggregator"):
        done = subprocess.run([program(name), "--version"], text=True, check=True, cwd=tmp_path,
                              stdout=subprocess.PIPE)
        assert done.stdout.startswith(name + " ") and done.stdout.count("\n") == 1


def test_the_hook_says_in_one_line_that_it_could_store_nowhere(tmp_path):
    argv = [program("banmesh-publish"), "--socket", str(tmp_path / "none"), "--spool",
            str(tmp_path / "missing"), "--jail", "sshd", "--ip", "80.94.95.112"]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "ban not stored" in done.stderr


def test_what_is_not_to_be_published_is_counted_and_not_repeated(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        for address in ("10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1", "0.0.0.0/0", "::1", "fe80::1"):
            assert mx1.publish(address).returncode == 0
        assert mx1.publish("80.94.95.112", jail="shared").returncode == 0
        assert os.listdir(mx1.spool) == []
        mx1.publish("80.94.95.113", port="", protocol="")
        mx2.wait_reported(["80.94.95.113"])
        assert mx2.reported() == ["80.94.95.113"]
        assert mx1.status()["intake"] == {"stored": 1, "special-address": 6, "shared-jail": 1}


def test_the_hook_never_hangs_on_a_node_that_does_not_answer(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.process.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        mx1.publish("80.94.95.112")
        waited = time.monotonic() - begun
        mx1.process.process.send_signal(signal.SIGCONT)
        assert 0.9 < waited < 10, "it gave up after its own limit"
        mx2.wait_reported(["80.94.95.112"])
        mx1.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.113"])
        assert mx2.reported() == ["80.94.95.112", "80.94.95.113"], "spooled and answered: once"


def test_garbage_on_the_intake_socket_is_answered_and_counted(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0].start()
    garbage = [b"", b"\x00", b"ban", b"\xff" * 600, b"ban ip=1.2.3.4", b"ban jail=a jail=b ip=1.2.3.4",
               b"ban jail=sshd ip=80.94.95.112 time=1 \x00", b"nonsense jail=sshd",
               b"ban jail=sshd ip=80.94.95.112 time=99999999999999", b"x" * 100000]
    try:
        with Client(mx1.socket) as client:
            for line in garbage:
                client.send(line)
                assert client.answer().startswith("malformed "), line
            client.send(*garbage)
            assert all(client.answer().startswith("malformed ") for _ in garbage), "in one go"
            client.send("ban jail=sshd ip=80.94.95.112 time=1 future=yes")
            assert client.answer().startswith("ok nid=")
        assert mx1.status()["intake"]["malformed"] == 2 * len(garbage)
    finally:
        mesh.stop()


def test_requests_cut_anywhere_are_what_they_were(tmp_path):
    """A stream has no borders: the pieces in which requests come say nothing."""
    seed = new_seed()
    chance = random.Random(seed)
    addresses = public_addresses(200, seed)
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0].start()
    text = b"".join(b"ban jail=sshd ip=%s time=1\n" % address.encode() for address in addresses)
    try:
        with Client(mx1.socket) as client:
            while text != b"":
                size = chance.choice((1, 2, 30, 60, 500))
                client.socket.sendall(text[:size])
                text = text[size:]
                if chance.random() < 0.1:
                    mx1.status()  # it has read what was sent
            assert all(client.answer().startswith("ok nid=") for _ in addresses)
        with Client(mx1.socket) as client:
            client.socket.sendall(b"ban jail=sshd ip=80.94.95.112 time=1")  # and hangs up
        mx1.publish("80.94.95.113")
        assert mx1.status()["intake"] == {"stored": len(addresses) + 1}
    finally:
        mesh.stop()


def test_a_client_that_never_reads_its_answers_stops_nobody(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0].start()
    try:
        with Client(mx1.socket) as client:
            client.socket.setblocking(False)
            sent = 0
            rest = b""
            try:
                while sent < 100000:
                    rest = rest or b"ban jail=sshd ip=80.94.95.112 time=%d\n" % sent
                    rest = rest[client.socket.send(rest):]
                    sent += rest == b""
            except BlockingIOError:
                assert sent > 0
            mx1.publish("80.94.95.113")
            client.socket.settimeout(TIMEOUT)
            for _ in range(sent):
                assert client.answer().startswith("ok "), "held back, not lost"
    finally:
        mesh.stop()


def publisher(context, node, mesh, bind):
    """A trusted node gone bad: announces whatever bytes we like under a real key."""
    keys = read_cert(node.secret)
    sock = context.socket(zmq.PUB)
    sock.curve_publickey = keys["curve/public-key"].encode()
    sock.curve_secretkey = keys["curve/secret-key"].encode()
    sock.curve_server = True
    sock.bind(bind)
    return sock


def refused(node):
    return node.status()["mesh"]["messages"]["refused"]


def test_bad_envelopes_are_refused_by_reason_and_stop_nothing(tmp_path):
    """Each message comes over the real, authenticated connection of a trusted node."""
    mesh = Mesh(tmp_path, ["mx1", "mx2", "bad"])
    mx1, mx2, bad = mesh.nodes
    context = zmq.Context()
    try:
        sock = publisher(context, bad, mesh, bad.listen)
        mx1.start()
        mx2.start()
        mx2.wait_connected(["mx1"])
        # A real batch of mx1, as bytes, to be altered.
        listener = context.socket(zmq.SUB)
        keys = read_cert(bad.secret)
        listener.curve_publickey = keys["curve/public-key"].encode()
        listener.curve_secretkey = keys["curve/secret-key"].encode()
        listener.curve_serverkey = read_cert(mx1.cert)["curve/public-key"].encode()
        listener.subscribe(b"BNMS\x01\x01")
        listener.connect(mx1.listen)
        batch = wait_until(lambda: mx1.publish("80.94.95.112") and listener.poll(300) and
                           listener.recv(), "a batch to alter")
        flipped = batch[:-1] + bytes([batch[-1] ^ 1])
        other_kind = batch[:5] + b"\x02" + batch[6:]
        generator = random.Random(11)
        messages = {
            "too-short": b"", "bad-magic": bytes(generator.randrange(256) for _ in range(500)),
            "bad-version": batch[:4] + b"\x09" + batch[5:], "bad-kind": batch[:5] + b"\x63" + batch[6:],
            "bad-reserved": batch[:6] + b"\x01" + batch[7:],
            "too-long": batch[:40] + bytes(66000 - 104) + batch[-64:],
            "bad-signature": flipped,
            "unknown-origin": batch[:8] + bytes(32) + batch[40:],
        }
        for reason, message in messages.items():
            wait_until(lambda reason=reason, message=message: sock.send(message) or
                       refused(mx2).get(reason), reason)
        before = refused(mx2)["bad-signature"]
        wait_until(lambda: sock.send(other_kind) or refused(mx2)["bad-signature"] > before,
                   "one kind's body under another's header")
        wait_until(lambda: sock.send(batch[:-20]) or refused(mx2)["bad-signature"] > before + 1,
                   "a truncated envelope")
        wait_until(lambda: sock.send_multipart([batch, batch]) or refused(mx2).get("more-frames"),
                   "several frames")
        mx1.publish("80.94.95.113")
        mx2.wait_reported(["80.94.95.112", "80.94.95.113"])
        assert mx2.process.running()
    finally:
        context.destroy(linger=0)
        mesh.stop()


def test_an_oversize_frame_is_survived_by_connecting_anew(tmp_path):
    """libzmq ends a connecting socket's session for good over one frame above its limit."""
    mesh = Mesh(tmp_path, ["mx2", "bad"])
    mx2, bad = mesh.nodes
    context = zmq.Context()
    try:
        sock = publisher(context, bad, mesh, bad.listen)
        mx2.start()
        wait_until(lambda: sock.send(b"hello") or refused(mx2).get("too-short"), "a first message")
        sock.send(bytes(1024 * 1024))
        reconnects = mx2.peers()["bad"]["reconnects"]
        before = refused(mx2)["too-short"]
        wait_until(lambda: sock.send(b"hello") or (mx2.peers()["bad"]["reconnects"] > reconnects and
                                                   refused(mx2)["too-short"] > before + 3),
                   "messages to come through again")
    finally:
        context.destroy(linger=0)
        mesh.stop()


def check(node, expect, daemon="banmeshd", prefix=()):
    done = subprocess.run([*prefix, program(daemon), "--config", node.conf, "--check"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == expect, done
    return done.stdout + done.stderr


def test_check_says_who_may_publish_that_there_is_not(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    mx1.write_settings({"publish": {"users": "root nosuchuser 65533"}})
    words = check(mx1, 0)
    assert 'there is no user "nosuchuser"' in words and "65533" not in words
    mx1.write_settings({"publish": {"users": "root " + " ".join(map(str, range(70000, 70020)))}})
    assert 'more than 16, "70015" is left out' in check(mx1, 0)


def test_check_names_file_and_line(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    node = mesh.nodes[0]
    good = open(node.conf, encoding="utf-8").read().split("guard\n", maxsplit=1)[0]

    def with_text(text):
        with open(node.conf, "w", encoding="utf-8") as out:
            out.write(text)
        return check(node, 1)

    assert "configuration ok\n" in check(node, 0)
    assert "this node is alone" in check(node, 0)
    assert "100 files may be open, but with 0 other nodes 512 may be needed" in check(
        node, 0, prefix=["prlimit", "--nofile=100:100"])
    assert "is the key of \"mx1\"; each server needs keys of its own" in with_text(
        good.replace('name = "mx1"', 'name = "mx7"'))
    assert "separate addresses with spaces" in with_text(
        good + "guard\n    protect = \"10.0.0.0/8, 192.168.1.1\"\n")
    with open(node.conf, "w", encoding="utf-8") as out:
        out.write(good)
    lines = good.count("\n")
    assert "%s:%d: unknown name \"guard / nonsense\"" % (node.conf, lines + 2) in with_text(
        good + "guard\n    nonsense = 1\n")
    assert "unknown section" in with_text(good + "nonsense\n    a = 1\n")
    assert "already stands on line 1" in with_text(good + "node\n    name = \"x\"\n")
    assert "expected a number from 1 to 1000" in with_text(good + "guard\n    quorum = many\n")
    assert "tab" in with_text(good + "guard\n\tquorum = 1\n")
    assert "multiple of 4" in with_text(good + "guard\n   quorum = 1\n")
    assert "'#'" in with_text(good + "guard\n    protect = 1.2.3.4#5\n")
    assert "node / secret is missing" in with_text(good.replace("secret =", "#secret ="))
    assert "No such file" in with_text(good.replace("cert_secret", "cert_nothing"))
    with open(node.conf, "w", encoding="utf-8") as out:
        out.write(good)
    os.chmod(node.secret, 0o644)
    assert "mode 0644 lets others read a secret key, expected 0600" in check(node, 1)
    os.chmod(node.secret, 0o600)
    os.rename(mesh.trust, mesh.trust + ".away")
    assert "trust: No such file" in check(node, 1)
    os.rename(mesh.trust + ".away", mesh.trust)
    assert "has no effect in this version" in check_with(node, good + "guard\n    renew-below = 41\n")
    os.unlink(node.conf)
    assert "No such file" in check(node, 1)


def check_with(node, text):
    with open(node.conf, "w", encoding="utf-8") as out:
        out.write(text)
    return check(node, 0)


def test_a_second_daemon_on_the_same_state_says_so(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0].start()
    try:
        done = subprocess.run([program("banmeshd"), "--config", mx1.conf], text=True, check=False,
                              stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1
        assert "another process uses this state directory" in done.stderr
        assert mx1.publish("80.94.95.112").returncode == 0
    finally:
        mesh.stop()


def test_a_user_who_may_not_publish_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0].start()
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:  # ours, down from the run's directory
            os.chmod(folder, 0o755)
    hook = shutil.copy(program("banmesh-publish"), tmp_path / "hook")  # the build may be in /root
    try:
        mx1.write_settings({"publish": {"users": "root 65532"}})  # by number, as well
        mx1.process.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP" in mx1.output(), "the reload")
        subprocess.run([hook, "--socket", mx1.socket, "--spool", mx1.spool, "--jail", "sshd",
                        "--ip", "80.94.95.113"], user=65532, check=True)
        done = subprocess.run([hook, "--socket", mx1.socket, "--spool",
                               mx1.spool, "--jail", "sshd", "--ip", "80.94.95.112"], user=65534,
                              text=True, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1 and "may not publish" in done.stderr, done
        assert mx1.status()["intake"]["foreign-user"] == 1
        for user in (65534, 65533) * 3:  # two who take turns used to fill the log
            subprocess.run([hook, "--socket", mx1.socket, "--spool", mx1.spool, "--jail", "sshd",
                            "--ip", "80.94.95.112"], user=user, stderr=subprocess.PIPE, check=False)
        assert mx1.status()["intake"]["foreign-user"] == 7
        assert mx1.output().count("may not hand in bans") == 2
    finally:
        mesh.stop()


def test_readiness_is_told_to_the_service_manager(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(60)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            mesh.nodes[0].start()
            assert manager.recv(100) == b"READY=1"
            assert os.path.exists(mesh.nodes[0].shared_log), "before fail2ban starts"
        finally:
            del os.environ["NOTIFY_SOCKET"]
            mesh.stop()


def test_the_settings_that_we_ship_are_valid(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    node = mesh.nodes[0]
    for name, daemon in (("node.conf", "banmeshd"), ("aggregator.conf", "banmesh-aggregator")):
        with open(os.path.join(ROOT, "conf", name), encoding="utf-8") as text:
            shipped = text.read()
        for was, now in (("/etc/banmesh/mx1.cert_secret", node.secret),
                         ("/etc/banmesh/hist1.cert_secret", node.secret),
                         ("/etc/banmesh/trust", mesh.trust), ("name = \"hist1\"", "name = \"mx1\""),
                         ("/var/spool/banmesh", node.spool),
                         ("*:7341", node.listen[6:]), ("*:7342", node.replay[6:]),
                         ("*:7343", node.listen[6:]), ("*:7344", node.replay[6:])):
            shipped = shipped.replace(was, now)
        with open(node.conf, "w", encoding="utf-8") as out:
            out.write(shipped)
        assert "configuration ok\n" in check(node, 0, daemon)
