"""What `banmesh status` says first, and in which words, with real fail2ban and without."""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from fail2ban_server import Fail2banServer
from mesh import Mesh, program, public_addresses, wait_until
from test_guard import over_rate, slow_receiver

SHARED = "[shared]\naction = nothing\n"


def server_of(node, jails=SHARED, **options):
    return Fail2banServer(os.path.join(node.dir, "f2b"), jails, **options)


def with_log_beside(node):
    """The shared log is where the test's fail2ban reads it."""
    os.makedirs(os.path.join(node.dir, "f2b"), exist_ok=True)
    node.shared_log = os.path.join(node.dir, "f2b", "shared.log")
    node.write_settings({"shared": {"log": node.shared_log}})


def first(node):
    return node.status_text().splitlines()[0]


@pytest.fixture(name="mx1")
def fixture_mx1(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    with_log_beside(mx1)
    with mesh:
        mx1.publish("80.94.95.111")  # the hook was called
        yield mx1


def wait_state(node, state):
    wait_until(lambda: node.status()["shared_jail"]["state"] == state,
               lambda: "no %s: %s" % (state, node.status()["shared_jail"]))


def test_well_then_down_then_well_again(mx1):
    assert mx1.status()["shared_jail"]["state"] == "not-seen"
    with server_of(mx1):
        wait_state(mx1, "reads")
        assert re.match("all is well: mx1 hears 0 of 0 peers, 1 running ban, the jail shared holds 0 ",
                        first(mx1))
        wait_until(lambda: mx1.status()["census"], "the comparison")
        text = mx1.status_text()
        assert re.search("\n  compared with what it holds (just now|[0-9]+ s ago): 0 addr", text)
        assert "\nwaiting\n  nothing\n" in text and "outcomes" not in text
        assert mx1.status()["shared_jail"]["asked_s_ago"] < 60
    wait_state(mx1, "down")
    assert first(mx1) == "NOT WELL: fail2ban does not run: bans and lifts of peers wait for it"
    with server_of(mx1):
        wait_state(mx1, "reads")
        assert first(mx1).startswith("all is well")


def test_a_shared_jail_that_is_missing_is_said_first(mx1):
    with server_of(mx1, "[peers]\nenabled = true\nfilter = banmesh-shared\naction = nothing\n"
                   "logpath = %s\n" % mx1.shared_log, shared=False) as server:
        wait_state(mx1, "missing")
        assert first(mx1) == ('NOT WELL: fail2ban has no jail "shared" (shared / jail), but "peers" '
                              'reads %s: is that its name?' % mx1.shared_log)
        server.client("stop", "peers")
        wait_until(lambda: "no ban of a peer holds here" in first(mx1), lambda: first(mx1))
    with server_of(mx1):
        wait_state(mx1, "reads")


def test_a_shared_jail_that_reads_another_log_is_said_first(mx1):
    other = os.path.join(mx1.dir, "f2b", "other.log")
    with open(other, "w", encoding="ascii"):
        pass
    with server_of(mx1, SHARED + "logpath = %s\n" % other) as server:
        wait_state(mx1, "not-reading")
        assert first(mx1).startswith('NOT WELL: the jail "shared" does not read ' + mx1.shared_log)
        # It is noticed without a restart.
        server.client("set", "shared", "addlogpath", mx1.shared_log)
        wait_state(mx1, "reads")
        assert first(mx1).startswith("all is well")


def hang_up_on_all(listener):
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


def test_without_a_helper_it_says_what_it_cannot_know(mx1):
    path = os.path.join(mx1.dir, "helper.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(5)
        threading.Thread(target=hang_up_on_all, args=(listener,), daemon=True).start()
        mx1.write_settings({"shared": {"log": mx1.shared_log}, "helper": {"socket": path}})
        mx1.stop()
        mx1.start()
        mx1.publish("80.94.95.112")
        with server_of(mx1):
            wait_state(mx1, "unreachable")
            assert first(mx1).startswith("NOT WELL: whether bans hold is not known, and nothing is "
                                         "let go of in the jail shared: banmesh-helper: ")
        listener.shutdown(socket.SHUT_RDWR)


def test_nobody_looks_at_fail2ban(tmp_path):
    with Mesh(tmp_path, ["mx1"], extra={"shared": {"fail2ban": ""}}) as mesh:
        mx1 = mesh.nodes[0]
        assert mx1.status()["shared_jail"]["state"] == "not-watched"
        assert first(mx1).startswith("all is well") and "told to hold" in first(mx1)
        assert "nobody looks at fail2ban" in mx1.status_text()


def test_the_most_important_fault_is_first_and_the_others_are_counted(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"])
    mx1 = mesh.nodes[0]
    with_log_beside(mx1)
    mx1.start()
    try:
        with server_of(mx1):
            wait_state(mx1, "reads")
        wait_state(mx1, "down")
        lines = mx1.status_text().splitlines()
        assert lines[0] == ("NOT WELL: fail2ban does not run: bans and lifts of peers wait for it "
                            "(and 2 more)")
        assert lines[1:3] == ["  peer mx2: not connected, never heard",
                              "  peer mx3: not connected, never heard"]
        assert mx1.status()["attention"] == [lines[0][10:-13], lines[1][2:], lines[2][2:]]
    finally:
        mx1.stop()


def test_what_waits_and_why(tmp_path):
    with slow_receiver(tmp_path, 40) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.stream([(address, "sshd", time.time()) for address in public_addresses(1500, 902)])
        wait_until(lambda: over_rate(mx2) > 500, lambda: mx2.status())
        text = mx2.status_text()
        assert re.search(r"\nwaiting\n  [0-9,]+ bans of mx1, which bans faster than guard / rate; .*"
                         r"banmesh admit mx1", text), text
        assert "over-rate" not in text and "over-rate" in mx2.status_text("--verbose")
        assert "\nfeeds " in mx2.status_text("--verbose")


def test_what_waits_for_a_quorum_is_counted_until_it_has_it(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"], extra={"guard": {"quorum": 2}}) as mesh:
        mx1, mx2, mx3 = mesh.nodes

        def short():
            return mx3.status()["short_of_quorum"]
        mx1.publish("80.94.95.112")
        mx1.publish("80.94.95.113")
        mx1.publish("80.94.95.114", bantime=2)
        wait_until(lambda: short() == 3, short)
        assert "\nwaiting\n  3 addresses, for another node that bans them" in mx3.status_text()
        mx2.publish("80.94.95.112")
        mx3.wait_reported(["80.94.95.112"])
        wait_until(lambda: short() == 1, short)
        subprocess.run([program("banmesh"), "pardon", "80.94.95.113", "--reason", "a test",
                        "--config", mx1.conf], check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: short() == 0, short)


def test_a_node_that_is_down_is_said_in_words(tmp_path):
    mx1 = Mesh(tmp_path, ["mx1"]).nodes[0]
    done = subprocess.run([program("banmesh"), "status", "--config", mx1.conf], text=True,
                          check=False, capture_output=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == ("banmesh: error: %s: No such file or directory; is the service running?\n"
                           % mx1.admin)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv, rows=24, columns=100, **env):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, env={**os.environ, **env})
        os.close(slave)
        self.text = ""

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # its end
                break
            if not data:
                break
            self.text += data.decode()
        return self.text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_colour_is_for_terminals(mx1):
    argv = [program("banmesh"), "status", "--config", mx1.conf]
    assert "\033" not in mx1.status_text()
    for env, coloured in (({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal(argv, **env) as terminal:
            wait_until(lambda: "waiting" in terminal.read(), terminal.read)
            assert ("\033[1;32mall is well\033[0m" in terminal.text) == coloured, terminal.text
            assert ("\033" in terminal.text) == coloured


def test_watch_draws_again_until_it_is_interrupted(mx1):
    argv = [program("banmesh"), "status", "--watch", "--config", mx1.conf]
    with Terminal(argv, rows=12) as terminal:
        wait_until(lambda: terminal.read().count("\033[H") >= 3, terminal.read)
        page = terminal.text.split("\033[H")[1]
        assert page.count("\n") <= 11 and re.search(r"\([0-9]+ more lines\)", page)
        assert "all is well" in page.splitlines()[0]
        mx1.stop()
        wait_until(lambda: "DOWN" in terminal.read(), terminal.read)
        mx1.start()
        wait_until(lambda: "all is well" in terminal.read().split("DOWN")[-1], terminal.read)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(30) == 0
    done = subprocess.run(argv, check=False, text=True, capture_output=True)
    assert done.returncode == 2 and "--watch draws on a terminal" in done.stderr
