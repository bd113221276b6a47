"""Figures of what is decided on a node, and of how the shared jail is brought to agree with it."""

import os
import pickle
import re
import signal
import socket
import sqlite3
import statistics
import threading
import time

from fail2ban_server import Fail2banServer
from figures import (FULL_BATCH, HEARTBEAT_MS, RATE_OFF, RATE_OFF_TEXT, Figure, ask_status, helper,
                     memory_bytes, memory_peak, mib, running, wait_feed)
from mesh import Client, Mesh, public_addresses, wait_until
from test_helper import LIST, OK, Helper

PACKED_ORIGINS_BYTES = 25 + 2 * 8  # an address, its prefix, and when each of three bans ends
STOP_GOAL_MS = 50
BUILD_GOAL_S = 3
PINGS_S = 4  # around a reload


# ---- memory of an address, the index, a reload ----

def joined(directory, count, origins):
    """A node beside stopped origins, each of which has banned the same addresses; yields it."""
    os.makedirs(directory)
    mesh = Mesh(directory, ["o%d" % i for i in range(origins)] + ["d"], heartbeat=HEARTBEAT_MS,
                extra=RATE_OFF)
    for node in mesh.nodes[:-1]:
        helper("bench_fill", node.secret, os.path.join(node.dir, "state"), count, FULL_BATCH)
        node.start()
    node = mesh.nodes[-1]
    node.start()
    try:
        wait_until(lambda: ask_status(node)["running"] >= count * origins and
                   ask_status(node)["held"] >= count, lambda: str(ask_status(node)), 600)
        for origin in mesh.nodes[:-1]:
            origin.stop()
        yield node
    finally:
        mesh.stop()


def rss_of_addresses(directory, count, origins):
    """Of a node that was started anew and holds so many."""
    for node in joined(directory, count, origins):
        node.stop()
        node.start()
        wait_until(lambda: ask_status(node)["running"] == count * origins, "the index")
        return memory_bytes(node.process.pid)[0]


def read_raw(node):
    """Seconds to read the same batches, and nothing else, with SQLite."""
    with sqlite3.connect(os.path.join(node.dir, "state", "peers.db")) as db:
        begun = time.monotonic()
        size = sum(len(row[0]) for row in db.execute("SELECT envelope FROM batch ORDER BY rowid"))
        assert size > 0
        return time.monotonic() - begun


def build_ms(node):
    return int(re.findall(r"bans that run were read back in (\d+) ms", node.output())[-1])


class Pings:
    """How long the node takes to answer what needs no disk, one question after the other."""

    def __init__(self, node):
        self.times = []
        self.going = True
        self.thread = threading.Thread(target=self.ping, args=(node.socket,))
        self.thread.start()

    def ping(self, path):
        with Client(path) as client:
            while self.going:
                begun = time.monotonic()
                client.send("ban jail=sshd ip=127.0.0.1 time=%.3f bantime=60" % time.time())
                assert client.answer().startswith("skipped"), "an answer"
                self.times.append(time.monotonic() - begun)

    def end(self):
        self.going = False
        self.thread.join()
        return self.times


def longest_stop_ms(node, guard):
    """Of the node's loop while it takes other settings and looks at all bans anew."""
    node.write_settings({"guard": {**RATE_OFF["guard"], **guard}})
    pings = Pings(node)
    time.sleep(0.5)
    node.process.process.send_signal(signal.SIGHUP)
    time.sleep(PINGS_S)
    return max(pings.end()) * 1000


def measure_index(directory, counts):
    """Memory of an address with three origins; the index at a start; a reload under all bans."""
    few, many = counts["addresses"] // 4, counts["addresses"] // 4 + counts["addresses"]
    count = counts["index"]
    figure = Figure("index: what runs, by address",
                    "{:,} bans of one origin; memory: {:,} addresses more, each of three origins"
                    .format(count, counts["addresses"]),
                    "written by bench_fill, fetched over loopback; " + RATE_OFF_TEXT)
    directory = os.path.join(directory, "index")
    os.makedirs(directory)
    before = rss_of_addresses(os.path.join(directory, "few"), few, 3)
    after = rss_of_addresses(os.path.join(directory, "many"), many, 3)
    each = (after - before) / (many - few)
    for node in joined(os.path.join(directory, "index"), count, 1):
        node.stop()
        raw = read_raw(node)
        node.start()
        wait_until(lambda: ask_status(node)["running"] == count, "the index")
        built = build_ms(node) / 1000
        idle = max(Pings(node).end() or [0]) * 1000
        narrow = longest_stop_ms(node, {"max-ban": 3000000})
        quorum = longest_stop_ms(node, {"quorum": 2, "dry-run": 1})
    figure.values = {"address_bytes": each, "build_s": built, "raw_s": raw, "idle_ms": idle,
                     "reload_ms": narrow, "quorum_ms": quorum}
    figure.row("an address of three origins, held", "%.0f bytes" % each)
    figure.row("raw: packed", "%d bytes" % PACKED_ORIGINS_BYTES)
    figure.row("index of {:,} bans built from the replica".format(count), "%.2f s" % built)
    figure.row("raw: the same batches read with SQLite", "%.2f s" % raw)
    figure.row("longest answer while max-ban changes", "%.1f ms" % narrow)
    figure.row("... while a quorum is asked for", "%.1f ms" % quorum)
    figure.ratio("an address of three origins / packed", each / PACKED_ORIGINS_BYTES)
    figure.ratio("index / reading the batches", built / raw)
    figure.ratio("index", built, "<= %d s" % BUILD_GOAL_S, "{:.2f} s", built <= BUILD_GOAL_S)
    longest = max(narrow, quorum)
    figure.ratio("longest stop of the loop", longest, "<= %d ms" % STOP_GOAL_MS, "{:.1f} ms",
                 longest <= STOP_GOAL_MS)
    return figure


# ---- a pardon ----

def shared_jail(node):
    open(node.shared_log, "a", encoding="ascii").close()
    return Fail2banServer(os.path.join(node.dir, "f2b"),
                          "[shared]\nlogpath = %s\naction = nothing\n" % node.shared_log)


def order(node, line):
    """Over the admin socket, as `banmesh` does; without a process."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(node.admin)
        admin.sendall(line.encode() + b"\n")
        return admin.makefile().read()


def wait_word(path, begin, word):
    """Until a log has a word behind a place; returns when that was seen."""
    with open(path, "rb") as log:
        while True:
            log.seek(begin)
            if word in log.read():
                return time.monotonic()


def time_lifts(a, fail2ban, count):
    """Seconds from the order on A until B's fail2ban says that it let go; and of unbanip alone."""
    lifts, raw = [], []
    for address in public_addresses(count, 77):
        a.publish(address)
        fail2ban.wait_banned("shared", [address])
        begin = os.path.getsize(fail2ban.log)
        begun = time.monotonic()
        order(a, 'pardon {"network": "%s", "text": "bench"}' % address)
        lifts.append(wait_word(fail2ban.log, begin, b"Unban " + address.encode()) - begun)
        fail2ban.client("set", "shared", "banip", address)
        begin = os.path.getsize(fail2ban.log)
        begun = time.monotonic()
        fail2ban.client("set", "shared", "unbanip", address)
        raw.append(wait_word(fail2ban.log, begin, b"Unban " + address.encode()) - begun)
    return lifts, raw


def percentile(values, share):
    return statistics.quantiles(values, n=100)[share - 1] * 1e9


def measure_lift(directory, counts):
    """From a pardon on A to fail2ban on B having let go."""
    figure = Figure("lift: pardon on A (order sent) to B's fail2ban having let go",
                    "%d x, each alone; fail2ban's log is read all the time" % counts["lift"],
                    "two nodes on loopback, a real fail2ban whose action does nothing",
                    ("p50", "p99"))
    with running(os.path.join(directory, "lift"), ["a", "b"], RATE_OFF) as mesh:
        a, b = mesh.nodes
        with shared_jail(b) as fail2ban:
            lifts, raw = time_lifts(a, fail2ban, counts["lift"])
    figure.values = {"%s.p%d" % (name, share): percentile(values, share)
                     for name, values in (("lift", lifts), ("raw", raw)) for share in (50, 99)}
    figure.times("pardon to let go", figure.values, "lift")
    figure.times("raw: unbanip over fail2ban's socket, to its log", figure.values, "raw")
    figure.ratio("pardon / unbanip, p50", figure.values["lift.p50"] / figure.values["raw.p50"])
    return figure


# ---- the helper ----

class Jail:
    """A socket that answers as fail2ban does, always the same: a jail with so many tickets."""

    def __init__(self, path, count):
        lines = ["%s \t2026-12-01 12:00:00 + 604800 = 2026-12-08 12:00:00" % address
                 for address in public_addresses(count, 78)]
        self.bytes = pickle.dumps((0, lines), protocol=4) + b"<F2B_END_COMMAND>"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.thread = threading.Thread(target=self.answer)
        self.thread.start()

    def answer(self):
        asker, _ = self.socket.accept()
        with asker:
            asker.recv(65536)
            asker.sendall(self.bytes)

    def end(self):
        self.thread.join()
        self.socket.close()


def measure_helper(directory, counts):
    """The list of a large jail, through banmesh-helper."""
    count = counts["tickets"]
    figure = Figure("helper: the list of a jail with {:,} tickets".format(count),
                    "an answer as fail2ban gives it, over a Unix socket", "one request")
    directory = os.path.join(directory, "helper")
    os.makedirs(directory)
    path = os.path.join(directory, "s")
    jail = Jail(path, count)
    with Helper(path) as asked:
        begun = time.monotonic()
        asked.send(LIST, 0, b"shared".ljust(64, b"\0"))
        found = 0
        for status, items, _ in asked.answers():
            assert status == OK
            found += items
        took = time.monotonic() - begun
        peak = memory_peak(asked.process.pid)
    jail.end()
    assert found == count, "%d of %d" % (found, count)
    begun = time.monotonic()
    assert len(pickle.loads(jail.bytes[:-len(b"<F2B_END_COMMAND>")])[1]) == count
    raw = time.monotonic() - begun
    figure.values = {"s": took, "raw_s": raw, "peak": peak, "bytes": len(jail.bytes)}
    figure.row("asked and read", "%.3f s" % took)
    figure.row("raw: Python's own pickle, without a socket", "%.3f s" % raw)
    figure.row("the answer", mib(len(jail.bytes)))
    figure.ratio("helper / pickle", took / raw)
    figure.ratio("peak memory of the helper", peak / 1024 / 1024, None, "{:.1f} MiB")
    return figure


DECISIONS = {"index": measure_index, "lift": measure_lift, "helper": measure_helper}
