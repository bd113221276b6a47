"""banmesh-helper by itself: what it does in a real fail2ban, and with what is none."""

import contextlib
import ipaddress
import os
import pickle
import socket
import sqlite3
import struct
import subprocess
import threading

import pytest

from fail2ban_server import Fail2banServer
from mesh import program, public_addresses, wait_until

LIFT, LIFT_ALL, LIST, JAILS = 1, 2, 3, 4
TARGET = 4  # a kind of source
OK, NO_FAIL2BAN, REFUSED, NONSENSE, TIMED_OUT, MALFORMED = range(6)
HEADER = struct.Struct(">BBBBIH")
END = b"<F2B_END_COMMAND>"


def packed(address):
    network = ipaddress.ip_network(address)
    return struct.pack(">BB16s", network.version, network.prefixlen, network.network_address.packed)


class Helper:
    """The program at one end of a pair, as banmeshd starts it."""

    def __init__(self, fail2ban_socket, jail="shared"):
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(100)
        self.process = subprocess.Popen(
            [program("banmesh-helper"), "--jail", jail, "--fail2ban", fail2ban_socket],
            stdin=other, stderr=subprocess.PIPE)
        other.close()
        self.tag = 0
        self.target = None  # where fail2ban logs, by the last answer about jails

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        assert self.process.wait(100) == 0
        self.process.stderr.close()

    def send(self, what, count, body=b""):
        self.tag += 1
        self.socket.send(struct.pack(">BBHI", 1, what, count, self.tag) + body)

    def answers(self):
        """(status, count, items) of each record."""
        while True:
            record = self.socket.recv(65536)
            version, _, status, last, tag, count = HEADER.unpack(record[:HEADER.size])
            assert version == 1 and tag == self.tag and len(record) <= 17010
            yield status, count, record[HEADER.size:]
            if last:
                return

    def ask(self, what, count, body=b""):
        self.send(what, count, body)
        return list(self.answers())

    def lift(self, addresses):
        """Which of them were held."""
        (status, count, items), = self.ask(LIFT, len(addresses), b"".join(map(packed, addresses)))
        assert status == OK and count == len(addresses), items
        return [address for address, held in zip(addresses, items) if held]

    def counts(self, addresses):
        """In how many jails each was."""
        (status, count, items), = self.ask(LIFT_ALL, len(addresses),
                                           b"".join(map(packed, addresses)))
        assert status == OK and count == len(addresses), items
        return list(items)

    def tickets(self, jail):
        found = []
        for status, count, items in self.ask(LIST, 0, jail.encode().ljust(64, b"\0")):
            assert status == OK, items
            for i in range(count):
                family, prefix, ip, start, bantime = struct.unpack(
                    ">BB16sqq", items[i * 34:(i + 1) * 34])
                ip = ipaddress.ip_address(ip[:4] if family == 4 else ip)
                host = prefix == ip.max_prefixlen
                found.append((str(ip) if host else "%s/%d" % (ip, prefix), start, bantime))
        return found

    def jails(self):
        """{jail: [(kind, source)]}"""
        found = {}
        for status, count, items in self.ask(JAILS, 0):
            assert status == OK, items
            for _ in range(count):
                name, kind, source = struct.unpack(">64sB255s", items)
                if kind == TARGET:
                    assert not found and not name.strip(b"\0"), "before all jails"
                    self.target = source.rstrip(b"\0").decode()
                else:
                    found.setdefault(name.rstrip(b"\0").decode(), []).append(
                        (kind, source.rstrip(b"\0").decode()))
        return found


@pytest.fixture(name="fail2ban")
def fail2ban_fixture(tmp_path):
    log = tmp_path / "auth.log"
    log.touch()
    jails = ("[shared]\naction = nothing\n"
             "[sshd]\nenabled = true\nbackend = auto\nlogpath = %s\n" % log)
    with Fail2banServer(str(tmp_path / "f2b"), jails) as server:
        yield server


def socket_of(server):
    return os.path.join(str(server.directory), "fail2ban.sock")


def test_what_is_held_is_lifted_and_what_is_not_is_named(fail2ban):
    held = ["45.154.1.1", "45.154.1.2", "2a02:4780:11::7"]
    absent = ["45.154.1.9", "2a02:4780:11::9"]
    with Helper(socket_of(fail2ban)) as helper:
        fail2ban.client("set", "shared", "banip", *held)
        fail2ban.wait_banned("shared", held)
        assert helper.lift(absent) == []
        assert helper.lift(absent[:1] + held[:2] + absent[1:] + held[2:]) == held
        assert fail2ban.banned("shared") == []
        assert helper.lift(held) == []


def test_a_network_is_lifted_only_if_it_is_that_ticket(fail2ban):
    inside = ["2a02:4780:11:22::7", "45.154.1.1"]
    with Helper(socket_of(fail2ban)) as helper:
        fail2ban.client("set", "shared", "banip", *inside)
        fail2ban.wait_banned("shared", inside)
        networks = ["2a02:4780:11:22::/64", "45.154.1.0/24"]
        assert helper.lift(networks) == []
        assert sorted(fail2ban.banned("shared")) == sorted(inside)
        fail2ban.client("set", "shared", "banip", networks[0])
        fail2ban.wait_banned("shared", inside + networks[:1])
        assert helper.lift(networks) == networks[:1]
        assert sorted(fail2ban.banned("shared")) == sorted(inside), "what lies in it stays"


def test_an_address_is_lifted_in_all_jails(fail2ban):
    with Helper(socket_of(fail2ban)) as helper:
        for jail in ("shared", "sshd"):
            fail2ban.client("set", jail, "banip", "45.154.1.1")
            fail2ban.wait_banned(jail, ["45.154.1.1"])
        assert helper.counts(["45.154.1.1", "45.154.1.9"]) == [2, 0]
        assert fail2ban.banned("shared") == fail2ban.banned("sshd") == []
        (status, _, text), = helper.ask(LIFT_ALL, 1, packed("45.154.0.0/16"))
        assert status == MALFORMED and b"network" in text


def test_a_list_of_100_000_comes_in_records_of_bounded_size(fail2ban):
    addresses = public_addresses(100000, 5)
    for i in range(0, len(addresses), 10000):
        fail2ban.client("set", "shared", "banip", *addresses[i:i + 10000])
    wait_until(lambda: len(fail2ban.banned("shared")) == len(addresses), "all of them", 400)
    with Helper(socket_of(fail2ban)) as helper:
        tickets = helper.tickets("shared")
        assert sorted(ticket[0] for ticket in tickets) == sorted(addresses)
        assert {ticket[2] for ticket in tickets} == {604800}
        with open("/proc/%d/status" % helper.process.pid, encoding="ascii") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
        print("helper's peak for 100,000:", peak.split(":")[1].strip())
        helper.send(LIST, 0, b"shared".ljust(64, b"\0"))
        next(helper.answers())  # and hang up in the middle


def test_the_jails_with_their_logs_and_actions(fail2ban, tmp_path):
    with Helper(socket_of(fail2ban)) as helper:
        jails = helper.jails()
        assert set(jails) == {"shared", "sshd"}
        assert (0, str(tmp_path / "auth.log")) in jails["sshd"]
        assert (2, "nothing") in jails["sshd"]
        assert helper.target == os.path.realpath(fail2ban.log)


def test_a_jail_of_any_name_and_logs_behind_links(tmp_path):
    log = tmp_path / "auth.log"
    log.touch()
    (tmp_path / "link").symlink_to(log)
    jails = "".join("[%s]\nenabled = true\nbackend = auto\nfilter = sshd\nlogpath = %s\n" %
                    (name, tmp_path / "link") for name in ("büro 1", "日本", "a:b"))
    with Fail2banServer(str(tmp_path / "f2b"), jails) as server:
        with Helper(socket_of(server)) as helper:
            found = helper.jails()
            assert set(found) == {"shared", "büro 1", "日本", "a:b"}
            for name in set(found) - {"shared"}:
                assert (0, str(log.resolve())) in found[name]
                server.client("set", name, "banip", "45.154.1.1")
                server.wait_banned(name, ["45.154.1.1"])
                assert [ticket[0] for ticket in helper.tickets(name)] == ["45.154.1.1"]


def test_a_jail_that_is_not_there(fail2ban):
    with Helper(socket_of(fail2ban), jail="peers") as helper:
        (status, _, text), = helper.ask(LIFT, 1, packed("45.154.1.1"))
        assert status == REFUSED and text == b'fail2ban says no to "set peers unbanip": peers'
        (status, _, text), = helper.ask(LIST, 0, b"nowhere".ljust(64, b"\0"))
        assert status == REFUSED and b"nowhere" in text
        assert set(helper.jails()) == {"shared", "sshd"}, "it goes on"


@pytest.mark.parametrize("record", [
    b"", b"\1", b"\1\1\0\1\0\0\0", b"\2\4\0\0\0\0\0\0", b"\1\7\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0",
    b"\1\1\0\0\0\0\0\0", b"\1\1\0\2\0\0\0\0" + packed("45.154.1.1"),
    b"\1\1\0\1\0\0\0\0" + b"\5" + packed("45.154.1.1")[1:],
    b"\1\1\0\1\0\0\0\0" + b"\4\x21" + packed("45.154.1.1")[2:],
    b"\1\1\0\1\0\0\0\0" + b"\4\x08" + packed("45.154.1.1")[2:],
    b"\1\1\0\x65\0\0\0\0" + 101 * packed("45.154.1.1"),
    b"\1\3\0\0\0\0\0\0" + b"shared", b"\1\3\0\0\0\0\0\0" + b"a\\b".ljust(64, b"\0"),
    b"\1\3\0\0\0\0\0\0" + b"shared\0x".ljust(64, b"\0"), b"\1\3\0\0\0\0\0\0" + bytes(64),
    b"\1\3\0\0\0\0\0\0" + b"a\nVx".ljust(64, b"\0"), b"\1\4\0\0\0\0\0\0x"], ids=repr)
def test_a_malformed_request_is_answered_and_the_next_one_served(fail2ban, record):
    with Helper(socket_of(fail2ban)) as helper:
        if record:  # an empty packet is an end
            helper.socket.send(record)
            answer = helper.socket.recv(65536)
            assert HEADER.unpack(answer[:HEADER.size])[2:4] == (MALFORMED, 1)
        assert set(helper.jails()) == {"shared", "sshd"}


class Impostor(threading.Thread):
    """Listens where fail2ban would, and sends what it is given, one after the other and the last
    one again and again."""

    def __init__(self, path, *answers):
        super().__init__(daemon=True)
        self.answers = list(answers)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(5)
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", END, b"\x80\x05K\x00K\x01\x86." + b"<F2B_END_COMMAN",
    b"\x80\x05K\x00." + END, b"\x80\x05K\x00K\x01\x86" + END, b"cos\nsystem\n(S'id'\ntR." + END,
    b"(" * 100 + b"." + END, b"\x80\x05]h\x00." + END], ids=repr)
def test_a_socket_that_is_not_fail2bans(tmp_path, answer):
    path = str(tmp_path / "socket")
    impostor = Impostor(path, answer)
    with Helper(path) as helper:
        (status, _, text), = helper.ask(LIFT, 1, packed("45.154.1.1"))
        assert status == NONSENSE and b"not fail2ban's" in text
        (status, _, _), = helper.ask(JAILS, 0)
        assert status == NONSENSE
    impostor.stop()


def says(value, code=0):
    return pickle.dumps((code, value), pickle.HIGHEST_PROTOCOL) + END


def test_a_jail_that_reads_the_journal(tmp_path):
    """As fail2ban answers where it has systemd's module."""
    path = str(tmp_path / "socket")
    impostor = Impostor(
        path, says("SYSTEMD-JOURNAL"), says([("Number of jail", 1), ("Jail list", "sshd")]), says([]),
        says([["_SYSTEMD_UNIT=ssh.service", "+", "_COMM=sshd"], ["_COMM=x"]]), says(["nftables"]))
    with Helper(path) as helper:
        assert helper.jails() == {"sshd": [
            (3, ""), (1, "_SYSTEMD_UNIT=ssh.service + _COMM=sshd"), (1, "_COMM=x"),
            (2, "nftables")]}
        assert helper.target == "SYSTEMD-JOURNAL"
    impostor.stop()


def test_jails_are_not_said_to_have_no_logs_if_fail2ban_went_away(tmp_path):
    path = str(tmp_path / "socket")
    impostor = Impostor(path, says("/f2b.log"),
                        says([("Number of jail", 1), ("Jail list", "sshd")]), b"")
    with Helper(path) as helper:
        assert [status for status, _, _ in helper.ask(JAILS, 0)] == [OK, OK, NO_FAIL2BAN]
    impostor.stop()


def test_a_list_that_breaks_off_is_not_whole(tmp_path):
    path = str(tmp_path / "socket")
    whole = says(["45.%d.%d.1 \t2026-11-21 12:00:00 + 600 = 2026-11-21 12:10:00"
                  % (154 + i // 256, i % 256) for i in range(5000)])
    for cut in (len(whole) // 2, len(whole) - 3):
        impostor = Impostor(path, whole[:cut])
        with Helper(path) as helper:
            answers = helper.ask(LIST, 0, b"shared".ljust(64, b"\0"))
            assert [status for status, _, _ in answers[:-1]] == [OK] * (len(answers) - 1)
            assert answers[-1][0] == NONSENSE and sum(count for _, count, _ in answers) >= 2000
        impostor.stop()
        os.unlink(path)


def test_what_is_no_address_and_no_time_is_passed_over(tmp_path):
    path = str(tmp_path / "socket")
    good = "45.154.1.1 \t2026-11-21 12:00:00 + -1 = 9999-12-31 23:59:59"
    impostor = Impostor(path, says([
        "host.example \t2026-11-21 12:00:00 + 600 = x", "", "45.154.1.1", 7, None, ["x"], good,
        "45.154.1.2 \t99999999999-11-21 12:00:00 + 600 = x", "1" * 70000,
        "45.154.1.3 \t2026-11-21 12:00:00 + 99999999999999999999999 = x"]))
    with Helper(path) as helper:
        assert [ticket[0::2] for ticket in helper.tickets("shared")][:1] == [("45.154.1.1", -1)]
        assert "45.154.1.2" not in [ticket[0] for ticket in helper.tickets("shared")]
    impostor.stop()


def test_a_fail2ban_that_is_about_to_end(tmp_path):
    path = str(tmp_path / "socket")
    for answer in (b"", b"\x80\x05\x95\x0f\0\0\0\0\0\0\0]\x94\x8c\x08SHUTDOWN\x94a." + END):
        impostor = Impostor(path, answer)
        with Helper(path) as helper:
            (status, _, text), = helper.ask(LIFT, 1, packed("45.154.1.1"))
            assert status == NO_FAIL2BAN, text
        impostor.stop()
        os.unlink(path)


def test_what_hangs_costs_a_minute_and_is_said(tmp_path):
    """A listener that never accepts, and one whose queue is full: the helper does not hang, too."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen(0)
    requests = [(LIFT, 1, packed("45.154.1.1")), (LIST, 0, b"shared".ljust(64, b"\0")), (JAILS, 0)]
    with contextlib.ExitStack() as stack:
        helpers = [stack.enter_context(Helper(str(tmp_path / "socket"))) for _ in requests]
        for helper, request in zip(helpers, requests):
            helper.send(*request)
        for helper in helpers:
            (status, _, text), = helper.answers()
            assert status == TIMED_OUT and b"does not answer" in text
    listener.close()


def test_a_fail2ban_that_is_busy_is_waited_for(tmp_path):
    """Its queue has two places."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen(1)
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for other in others:
            other.connect(str(tmp_path / "socket"))
        with Helper(str(tmp_path / "socket")) as helper:
            helper.socket.settimeout(0.5)
            helper.send(LIFT, 1, packed("45.154.1.1"))
            with pytest.raises(TimeoutError):
                next(helper.answers())
            helper.socket.settimeout(100)
            for other in others:
                listener.accept()[0].close()
            client = listener.accept()[0]
            assert client.recv(65536).endswith(END)
            client.sendall(b"\x80\x05K\0K\x01\x86." + END)
            (status, _, items), = helper.answers()
            assert status == OK and items == b"\1"
            client.close()
    listener.close()


def test_what_goes_wrong_inside_fail2ban_is_said_in_its_words(fail2ban):
    """sqlite3's exceptions have a state, which is a dictionary."""
    database = os.path.join(str(fail2ban.directory), "fail2ban.sqlite3")
    with sqlite3.connect(database, timeout=60) as other:
        other.execute("DROP TABLE bans")
    with Helper(socket_of(fail2ban)) as helper:
        (status, _, text), = helper.ask(LIFT, 1, packed("45.154.1.1"))
        assert status == REFUSED
        assert text == b'fail2ban says no to "set shared unbanip": no such table: bans'


def test_fail2ban_that_goes_down_and_comes_back(fail2ban):
    with Helper(socket_of(fail2ban)) as helper:
        assert helper.lift(["45.154.1.1"]) == []
        fail2ban.stop()
        (status, _, text), = helper.ask(LIFT, 1, packed("45.154.1.1"))
        assert status == NO_FAIL2BAN and b"fail2ban.sock: " in text
        fail2ban.start()
        wait_until(lambda: os.path.exists(socket_of(fail2ban)), "its socket")
        assert helper.lift(["45.154.1.1"]) == []


def test_fail2ban_that_is_not_there(tmp_path):
    with Helper(str(tmp_path / "nowhere")) as helper:
        for what, body in ((LIFT, packed("45.154.1.1")), (JAILS, b"")):
            (status, _, text), = helper.ask(what, len(body) // 18, body)
            assert status == NO_FAIL2BAN and b"nowhere: No such file" in text


def test_what_is_wrong_on_the_command_line(tmp_path):
    def run(*arguments):
        return subprocess.run([program("banmesh-helper"), *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=100, check=False)
    assert run("--help").returncode == 0 and run("--version").returncode == 0
    assert run("--what").returncode == 2
    assert run("extra").returncode == 2
    wrong = run("--jail", "a b")
    assert wrong.returncode == 2 and "--jail a b: expected" in wrong.stderr
    wrong = run("--fail2ban", str(tmp_path))
    assert wrong.returncode == 1 and "SOCK_SEQPACKET" in wrong.stderr
