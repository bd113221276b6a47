"""`banmesh watch`: what it shows, to whom, and how it ends."""

import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time

import pytest

from fail2ban_server import Fail2banServer
from mesh import TIMEOUT, Mesh, program, public_addresses, wait_until

A, B, C, D = "80.94.95.111", "80.94.95.112", "80.94.95.113", "80.94.95.114"


class Watch:
    """The command with its output in a pipe."""

    def __init__(self, node, *options):
        self.process = subprocess.Popen(
            [program("banmesh"), "watch", "--config", node.conf, *options], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self):
        return self.lines.get(timeout=TIMEOUT)

    def event(self):
        return json.loads(self.line())

    def until(self, **wanted):
        """The next event that has all this; those before it are dropped."""
        while True:
            event = self.event()
            if all(event.get(name) == value for name, value in wanted.items()):
                return event

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        status = self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        self.process.stdout.close()
        with self.process.stderr as errors:
            return status, errors.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def listening(node, *options):
    """One that has asked already: it shows what was before as its first line."""
    node.publish("80.94.94.1", jail="before")
    watch = Watch(node, "--json", "--last", "1", *options)
    assert watch.event()["jail"] == "before"
    return watch


def order(node, *words):
    subprocess.run([program("banmesh"), *words, "--config", node.conf], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture(name="nodes")
def fixture_nodes(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2"], extra={"roles": {"operator": "mx1"}}) as mesh:
        yield mesh.nodes


def test_bans_of_peers_and_of_this_host(nodes):
    mx1, mx2 = nodes
    with listening(mx1) as watch:
        mx2.publish(A)
        event = watch.event()
        assert (event["event"], event["address"], event["origin"], event["jail"]) == (
            "applied", A, "mx2", "sshd")
        assert event["nid"] > 0 and 3500 < event["until"] - time.time() <= 3601
        assert abs(event["time"] - time.time()) < TIMEOUT
        mx1.publish(B, jail="web")
        own = watch.event()
        assert (own["event"], own["address"], own["origin"], own["jail"]) == ("own", B, "mx1", "web")
        mx2.publish("127.0.0.1", check=False)  # announced to nobody
        mx2.publish(B)
        assert watch.until(address=B, origin="mx2")["event"] == "applied"
        assert [own["number"], event["number"]] == [3, 2]
        assert watch.end() == (0, "")


def test_what_was_refused_and_why(nodes):
    mx1, mx2 = nodes
    mx1.write_settings({"guard": {"protect": A, "not-jails": "web"}})
    mx1.stop()
    mx1.start()
    mx1.wait_connected()
    with listening(mx1) as watch:
        mx2.publish(A)
        assert watch.until(address=A)["outcome"] == "protected-address"
        mx2.publish(B, jail="web")
        event = watch.until(address=B)
        assert (event["event"], event["outcome"], event["origin"]) == ("arrived", "jail-not-wanted",
                                                                      "mx2")
        mx2.publish(C)
        watch.until(address=C, event="applied")
        mx2.publish(C, jail="ftp")
        assert watch.until(address=C, jail="ftp")["outcome"] == "already-held"


def test_pardons_allowances_and_what_is_let_go(nodes):
    mx1, mx2 = nodes
    f2b = os.path.join(mx1.dir, "f2b")
    os.makedirs(f2b)
    mx1.write_settings({"shared": {"log": os.path.join(f2b, "shared.log")}})
    mx1.stop()
    with Fail2banServer(f2b, "[shared]\naction = nothing\n") as server:
        mx1.start()
        mx1.wait_connected()
        with listening(mx1) as watch:
            for address in (A, B, C):
                mx2.publish(address)
            server.wait_banned("shared", [A, B, C])
            order(mx1, "pardon", A, "--reason", "a test")
            event = watch.until(event="pardon")
            assert (event["address"], event["origin"], event["text"]) == (A, "mx1", "a test")
            assert watch.until(event="let-go")["address"] == A
            order(mx1, "allow", B + "/31", "--for", "1h", "--comment", "an office")
            event = watch.until(event="allowance")
            assert (event["address"], event["text"]) == (B + "/31", "an office")
            assert {watch.until(event="let-go")["address"] for _ in range(2)} == {B, C}
            mx2.publish(B)
            assert watch.until(address=B, event="arrived")["outcome"] == "allowed"
            assert watch.end(signal.SIGTERM) == (0, "")


def test_filters(nodes):
    mx1, mx2 = nodes
    with listening(mx1) as all_events, \
            Watch(mx1, "--json", "--origin", "mx2", "--jail", "web") as web, \
            Watch(mx1, "--json", "--network", D + "/32") as one:
        mx1.publish(A, jail="web")
        mx2.publish(B)
        mx2.publish(C, jail="web")
        mx2.publish(D, jail="last")
        mx2.publish("80.94.95.120", jail="web")
        all_events.until(address=D)
        # Both may have asked late, but they have all that came after the last thing they could miss.
        assert web.event()["address"] in (C, "80.94.95.120")
        assert one.event()["address"] == D


def test_words_for_people(nodes):
    mx1, mx2 = nodes
    mx2.publish(A)
    mx1.wait_reported([A])
    with Watch(mx1, "--last", "5") as watch:
        words = watch.line().split()
        assert words[1:-1] == ["applied", A, "by", "mx2", "in", "sshd,", "until"], words


def test_a_reader_that_is_too_slow_is_told_and_nobody_waits_for_it(nodes):
    mx1 = nodes[0]
    mx2 = nodes[1]
    with listening(mx1) as watch:
        watch.process.send_signal(signal.SIGSTOP)
        many = public_addresses(6000, 7)
        mx2.stream([(address, "sshd", time.time()) for address in many])
        mx1.wait_reported(many)
        watch.process.send_signal(signal.SIGCONT)
        event = watch.event()
        seen = 0
        if event["event"] != "missed":  # one question may have been answered before the stop
            seen = 1
            while (event := watch.event())["event"] != "missed":
                seen += 1
        numbers = [watch.event()["number"] for _ in range(4096)]
        assert numbers == list(range(numbers[0], numbers[0] + 4096))
        assert event["count"] + seen + 4096 == 6000 and "number" not in event


def test_a_restart_of_the_node_is_said(nodes):
    mx1, mx2 = nodes
    with listening(mx1) as watch:
        mx1.stop()
        wait_until(lambda: not os.path.exists(mx1.admin), "the end of mx1")
        mx1.start()
        watch.until(event="started")
        mx2.publish(A)
        watch.until(address=A, event="applied")
        status, errors = watch.end()
        assert status == 0 and errors.count("it goes on once the node answers") <= 1


def test_a_closed_pipe_ends_it_without_an_event(nodes):
    mx1 = nodes[0]
    watch = subprocess.Popen([program("banmesh"), "watch", "--config", mx1.conf],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        watch.stdout.close()
        assert watch.wait(TIMEOUT) == 0 and watch.stderr.read() == b""
    finally:
        watch.kill()
        watch.wait()
        watch.stderr.close()


def test_who_watches_takes_no_place_from_others(nodes):
    mx1 = nodes[0]
    watches = [Watch(mx1, "--json") for _ in range(20)]
    try:
        for _ in range(20):
            assert mx1.status()["node"] == "mx1"
        mx1.publish(A)
        assert all(watch.event()["address"] == A for watch in watches)
    finally:
        for watch in watches:
            assert watch.end() == (0, "")


def test_wrong_words_and_a_node_that_is_down(tmp_path):
    mx1 = Mesh(tmp_path, ["mx1"]).nodes[0]
    for words, status, said in (
            (["--network", "1.2.3"], 2, 'watch: --network "1.2.3": not an IPv4 or IPv6 address'),
            (["--last", "-1"], 2, 'watch: --last "-1": expected a number of events'),
            (["--last", "x"], 2, 'watch: --last "x": expected a number of events'),
            (["--nonsense"], 2, 'unknown option "--nonsense"'),
            ([], 1, "is the service running?")):
        done = subprocess.run([program("banmesh"), "watch", "--config", mx1.conf, *words],
                              check=False, text=True, capture_output=True)
        assert done.returncode == status and said in done.stderr and done.stdout == ""


def test_questions_that_are_none(nodes):
    """Of another program at the admin socket."""
    mx1 = nodes[0]

    def ask(question):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(mx1.admin)
            client.sendall(question + b"\n")
            return json.loads(b"".join(iter(lambda: client.recv(65536), b"")))
    mx1.publish(A)
    assert "expected a JSON object" in ask(b"events nonsense")["error"]
    assert len(ask(b'events {"last": -5}')["events"]) <= 1
    assert ask(b"events {}")["events"] == []
    run = ask(b'events {"last": 9999999}')
    assert len(run["events"]) == run["next"] == 1 and run["missed"] == 0
    assert ask(b'events {"run": %d, "after": 99999}' % run["run"])["next"] == 1
    assert len(ask(b'events {"run": 1, "after": 1}')["events"]) == 1, "of another run: all"
    assert ask(b'events {"run": %d, "after": -1}' % run["run"])["next"] == 1
