"""The aggregator loses nothing and invents nothing, whatever happens to its store or to itself.

Each test ends with the store compared with a model, key by key: every set, every hash.
"""

import contextlib
import functools
import os
import random
import signal
import time

import pytest

from effort import LONG, new_seed, rounds
from mesh import BIN, Mesh, free_port, public_addresses, wait_until
from proxy import Proxy
from store import Load, Model, Store, add_aggregator, bans_of, make_country_db, stopped

SANITIZED = any(word in BIN for word in ("asan", "tsan"))


@contextlib.contextmanager
def history(directory, store, names=("mx1",), stores=None, countries=("",), **load):
    """Nodes under load, and for each country an aggregator that takes every address to be from
    there ("": from nowhere). They follow the nodes into a store, which must hold all of it at the
    end. Yields (mesh, load)."""
    mesh = Mesh(directory, names)
    model = Model([country or "XX" for country in countries])
    followers = []
    for country in countries:
        path = os.path.join(str(directory), country + ".mmdb")
        followers.append(add_aggregator(
            mesh, stores or [store], name="hist%d" % len(followers),
            country=make_country_db(path, {"0.0.0.0/0": country}) if country else ""))
    with mesh, Load(mesh.nodes[:len(names)], model, new_seed(), **load) as running:
        running.followers = followers
        running.follower = followers[0]
        yield mesh, running
        running.stopping.set()
        running.thread.join()
        model.wait(store, *followers)
        for follower in followers:
            wait_until(lambda one=follower: one.status()["behind"] == 0, follower.output)


def grown(store, load, count=50):
    """Wait until the store has taken more: it works again."""
    before = store.call("DBSIZE")
    wait_until(lambda: store.call("DBSIZE") > before + count, load.follower.output)


def said(aggregator, words):
    wait_until(lambda: words in aggregator.output(), lambda: words + "\n" + aggregator.output())


# ---- the store dies ----

@pytest.mark.parametrize("kept", [False, True], ids=["empty", "appendonly"])
def test_a_store_killed_at_any_moment_loses_nothing(tmp_path, kept):
    options = ["--appendonly", "yes"] if kept else []
    with Store(tmp_path, options=options) as store:
        with history(tmp_path, store) as (_, load):
            for _ in range(rounds(2, 60)):
                grown(store, load)
                time.sleep(load.chance.random() / 20)  # any moment
                store.kill()
                load.more(20)
                store.start()
                grown(store, load)
            dataset = load.follower.status()["store"]["dataset"]
        assert kept == (load.follower.output().count("connected, dataset " + dataset) > 1)


def test_a_store_flushed_at_any_moment_loses_nothing(tmp_path):
    with Store(tmp_path) as store:
        with history(tmp_path, store) as (_, load):
            for _ in range(rounds(3, 100)):
                grown(store, load)
                time.sleep(load.chance.random() / 20)
                store.call(load.chance.choice(["FLUSHALL", "FLUSHDB"]))


def test_a_flush_while_nothing_happens_is_found_out(tmp_path):
    with Store(tmp_path) as store:
        with history(tmp_path, store, most=200) as (_, load):
            load.more(500)
            load.stopping.set()
            load.thread.join()
            load.model.wait(store, load.follower)
            store.call("FLUSHALL")
        said(load.follower, "was it flushed?")


# ---- the store goes back in time ----

def tear(directory, chance):
    """What a power cut leaves of the file that is appended to: any part of it."""
    path = os.path.join(directory, "appendonly.aof")  # of Redis before 7, and KeyDB
    folder = os.path.join(directory, "appendonlydir")
    if os.path.isdir(folder):
        (name,) = [name for name in os.listdir(folder) if name.endswith(".incr.aof")]
        path = os.path.join(folder, name)
    os.truncate(path, chance.randrange(os.path.getsize(path) + 1))


@pytest.mark.parametrize("kind", ["snapshot", "appendonly", "torn"])
def test_an_old_copy_put_in_place_of_the_store_is_brought_forward(tmp_path, kind):
    options = [] if kind == "snapshot" else ["--appendonly", "yes"]
    with Store(tmp_path, options=options) as store:
        with history(tmp_path, store) as (_, load):
            for number in range(rounds(2, 40)):
                copy = str(tmp_path / ("copy%d" % number))
                grown(store, load)
                if kind == "snapshot":
                    store.call("SAVE")
                store.keep(copy)
                if kind == "torn":
                    tear(copy, load.chance)
                grown(store, load, 200)
                store.kill()
                store.put_back(copy)
                store.start()
                grown(store, load, 20)


def follow(store, master_port):
    """Make it a replica, and wait until it has everything."""
    store.call("REPLICAOF", "127.0.0.1", master_port)
    wait_until(lambda: "master_link_status:up" in store.call("INFO", "replication"),
               "the replica to follow")


def pair(directory):
    """Two stores that can follow each other, each with the port that it listens on."""
    stores = []
    for name in ("one", "other"):
        port = free_port()
        stores.append((Store(directory, name, ["--port", str(port), "--repl-diskless-sync-delay",
                                               "0"]), port))
    return stores


def test_a_replica_that_lags_is_promoted_and_brought_forward(tmp_path):
    (master, port), (replica, replica_port) = pair(tmp_path)
    with master, replica:
        stores = [master, replica]
        with history(tmp_path, master, stores=stores) as (_, load):
            for _ in range(rounds(1, 10)):
                for leaves, takes, back_port in ((master, replica, port),
                                                 (replica, master, replica_port)):
                    follow(takes, back_port)
                    grown(leaves, load)
                    takes.call("REPLICAOF", "NO", "ONE")  # from here on it lags
                    grown(leaves, load)
                    leaves.kill()
                    grown(takes, load)
                    # The old one comes back as a replica; it is passed over, and follows.
                    leaves.start("--replicaof", "127.0.0.1", str(
                        replica_port if takes is replica else port))
                    wait_until(lambda one=leaves: "master_link_status:up" in
                               one.call("INFO", "replication"), "the old one to follow")
                    leaves.call("REPLICAOF", "NO", "ONE")
                    leaves.call("FLUSHALL")
            # At the end all of it has to be in the first one.
            replica.kill()


def test_a_store_that_goes_back_in_time_while_nothing_happens_is_found_out(tmp_path):
    """Demoted and promoted again: the connection lives on and the dataset has the same id, but the
    contents are those of another one that lagged."""
    (store, port), (other, other_port) = pair(tmp_path)
    with store, other:
        with history(tmp_path, store) as (_, load):
            grown(store, load)
            follow(other, port)
            other.call("REPLICAOF", "NO", "ONE")
            grown(store, load)
            load.stopping.set()
            load.thread.join()
            load.model.wait(store, load.follower)
            wait_until(lambda: load.follower.status()["behind"] == 0, "the cursors")
            follow(store, other_port)
            store.call("REPLICAOF", "NO", "ONE")
            said(load.follower, "it went back in time")


def wait_quiet(store):
    """Until it has done all that it was sent."""
    def done():
        for line in store.call("INFO", "stats").splitlines():
            if line.startswith("total_commands_processed:"):
                return int(line.split(":")[1])
    wait_until(lambda: done() + 1 == done(), "the store to be at rest")


def copy_to_side(store):
    """All keys, into database 1."""
    if store.version() < (6, 2):
        pytest.skip("COPY came with Redis 6.2")
    client = store.client()
    try:
        keys = client.call("KEYS", "*")
        client.call_each([("COPY", key, key, "DB", 1, "REPLACE") for key in keys])
    finally:
        client.close()


def test_an_old_copy_that_is_swapped_in_under_load_is_found_out(tmp_path):
    """Between two commands, with blocks and cursors on their way: none of these may count."""
    with Store(tmp_path) as store:
        with history(tmp_path, store) as (_, load):
            for _ in range(rounds(3, 100)):
                grown(store, load)
                with load.pausing, stopped(load.follower):
                    wait_quiet(store)
                    copy_to_side(store)
                grown(store, load, 150)
                before = load.follower.output().count("it went back in time")
                store.call("SWAPDB", 0, 1)
                wait_until(lambda n=before: load.follower.output().count("it went back") > n,
                           load.follower.output)


def test_reading_a_new_feeds_cursor_does_not_hide_that_the_store_went_back(tmp_path):
    """The old copy is swapped in right before that; the mark that is left then is not in it."""
    bans = bans_of(public_addresses(400, seed=34))
    model = Model()
    with Store(tmp_path) as store, Proxy(str(tmp_path / "p"), store.socket) as proxy:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [proxy])
        with mesh:
            mx1 = mesh.nodes[0]
            model.stream(mx1, bans[:100])
            model.wait(store, aggregator)
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")
            with stopped(aggregator):
                wait_quiet(store)
                copy_to_side(store)
            model.stream(mx1, bans[100:300])
            model.wait(store, aggregator)
            wait_until(lambda: aggregator.status()["behind"] == 0, "the cursor")

            def swap(_side, chunk):
                if b"MGET" in chunk.replace(b"HMGET", b""):
                    proxy.before = None
                    store.call("SWAPDB", 0, 1)
            proxy.before = swap
            mx1.stop()
            mx1.start()
            model.stream(mx1, bans[300:])  # a new epoch
            said(aggregator, "it went back in time")
            model.wait(store, aggregator)


# ---- the store refuses ----

def set_config(store, name, value):
    assert store.call("CONFIG", "SET", name, value) == "OK"


@contextlib.contextmanager
def out_of_memory(store, _load):
    set_config(store, "maxmemory", 1)
    yield
    set_config(store, "maxmemory", 0)


@contextlib.contextmanager
def read_only(store, _load):
    store.call("REPLICAOF", "127.0.0.1", 1)  # of nobody: it keeps what it has
    yield
    store.call("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def unable_to_save(store, _load):
    """A directory lies where the snapshot should go."""
    path = os.path.join(store.dir, "dump.rdb")
    os.mkdir(path)
    set_config(store, "save", "3600 1")
    store.call("BGSAVE")
    wait_until(lambda: "rdb_last_bgsave_status:err" in store.call("INFO", "persistence"),
               "the snapshot to fail")
    yield
    os.rmdir(path)
    store.call("BGSAVE")
    wait_until(lambda: os.path.isfile(path), "the snapshot")
    os.unlink(path)


@contextlib.contextmanager
def locked(store, _load):
    """Connections that are open stay logged in, so they are cut."""
    set_config(store, "requirepass", "another")
    store.password = "another"
    store.call("CLIENT", "KILL", "TYPE", "normal")
    yield
    set_config(store, "requirepass", "")
    store.password = None


@contextlib.contextmanager
def foreign_key(store, load):
    """Somebody uses the key of a jail for something else."""
    jail = "jail-%d" % len(load.jails)
    store.call("SET", "f2b:" + jail, "somebody's")
    load.jails.append(jail)
    yield
    store.call("DEL", "f2b:" + jail)


@pytest.mark.parametrize("fault, words", [
    (out_of_memory, "OOM"), (read_only, "READONLY"), (unable_to_save, "MISCONF"),
    (locked, "NOAUTH"), (foreign_key, "WRONGTYPE")], ids=lambda value: getattr(
        value, "__name__", ""))
def test_a_store_that_refuses_is_tried_until_it_does_not(tmp_path, fault, words):
    with Store(tmp_path) as store:
        with history(tmp_path, store) as (_, load):
            for _ in range(rounds(1, 20)):
                grown(store, load)
                before = load.follower.status()["store"]["retries"]
                with fault(store, load):
                    wait_until(lambda n=before: load.follower.status()["store"]["retries"] > n + 1,
                               load.follower.output)
                    assert words in load.follower.status()["store"]["last_error"] or \
                        words == "READONLY"
                grown(store, load)
            if words == "READONLY":
                words = "is a replica"
            lines = [line for line in load.follower.output().splitlines() if words in line]
            assert 0 < len(lines) <= 4 * rounds(1, 20), "said when it begins, not at each try"


def test_a_foreign_key_in_the_place_of_an_attempt_is_named_and_waited_for(tmp_path):
    model = Model()
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [store])
        with mesh:
            aggregator.stop()
            model.stream(mesh.nodes[0], bans_of(public_addresses(30, seed=31)))
            nid = sorted(model.attempts)[7]
            store.call("SADD", "f2b:" + nid, "somebody's")
            aggregator.start()
            said(aggregator, "HMGET f2b:%s: WRONGTYPE" % nid)
            assert aggregator.status()["behind"] > 0
            store.call("DEL", "f2b:" + nid)
            model.wait(store, aggregator)


def test_a_store_that_loads_for_long_is_waited_for(tmp_path):
    with Store(tmp_path) as probe:
        if (not probe.call("CONFIG", "GET", "loading-process-events-interval-bytes") or
                probe.is_keydb()):
            pytest.skip("this store cannot be made slow to load, and quick again")
    with Store(tmp_path, options=["--loading-process-events-interval-bytes", "1024"]) as store:
        with history(tmp_path, store, most=200) as (_, load):
            for _ in range(rounds(1, 10)):
                grown(store, load, 500)
                store.call("SAVE")
                store.kill()
                before = load.follower.output().count("LOADING")
                store.start("--key-load-delay", "5000", wait=False)  # us
                wait_until(lambda n=before: load.follower.output().count("LOADING") > n,
                           load.follower.output)
                set_config(store, "key-load-delay", "0")
                wait_until(store.answers, "the store to have loaded")
                grown(store, load)


# ---- the store is slow ----

def memory_kib(node):
    with open("/proc/%d/status" % node.process.pid, encoding="ascii") as text:
        (line,) = [line for line in text if line.startswith("VmRSS:")]
    return int(line.split()[1])


def goes_on(node, beats=3):
    """The mesh and the status of a program are alive: it hears heartbeats all the time."""
    for _ in range(beats):
        heads = node.status()["mesh"]["messages"]["heads"]
        wait_until(lambda n=heads: node.status()["mesh"]["messages"]["heads"] > n, "heartbeats")
        assert all(peer["connected"] for peer in node.peers().values()), node.peers()


@pytest.mark.parametrize("kind", ["trickle", "stutter"])
def test_a_slow_store_costs_neither_memory_nor_the_mesh(tmp_path, kind):
    """Bytes that trickle, or a store that stops again and again."""
    model = Model()
    bans = bans_of(public_addresses(rounds(3000, 60000), seed=32))
    with Store(tmp_path) as store, Proxy(str(tmp_path / "p"), store.socket) as proxy:
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [proxy])
        with mesh:
            model.stream(mesh.nodes[0], bans[:100])
            model.wait(store, aggregator)
            most = before = memory_kib(aggregator)
            if kind == "trickle":
                proxy.pace = (700, 0.01)
            for start in range(100, len(bans), 1000):
                if kind == "stutter":
                    store.freeze()
                model.stream(mesh.nodes[0], bans[start:start + 1000])
                if kind == "stutter":
                    goes_on(aggregator, 1)
                    store.freeze(False)
                most = max(most, memory_kib(aggregator))
            if kind == "trickle":
                assert aggregator.status()["behind"] > 0
                goes_on(aggregator)
                most = max(most, memory_kib(aggregator))
            proxy.pace = None
            model.wait(store, aggregator)
            print("memory: %d KiB, at most %d KiB" % (before, most))
            assert SANITIZED or most < before + 8 * 1024
            assert proxy.connections == 1, aggregator.output()


# ---- in the middle of it ----

def test_an_aggregator_killed_at_any_moment_loses_nothing(tmp_path):
    with Store(tmp_path) as store:
        with history(tmp_path, store) as (_, load):
            for _ in range(rounds(3, 300)):
                grown(store, load)
                time.sleep(load.chance.random() / 20)
                load.follower.stop(signal.SIGKILL)
                load.follower.start()


MOST = {"asked": 1000, "answered": 200}  # bytes that pass at the least for a group of bans


class Bench:
    """Aggregators that all follow one node, each into a store of its own, through a proxy."""

    def __init__(self, directory, count):
        self.mesh = Mesh(directory, ["mx1"])
        self.model = Model()
        self.stores = [Store(directory, "store%d" % i) for i in range(count)]
        self.proxies = [Proxy(os.path.join(str(directory), "p%d" % i), store.socket)
                        for i, store in enumerate(self.stores)]
        self.aggregators = [add_aggregator(self.mesh, [proxy], name="hist%d" % i)
                            for i, proxy in enumerate(self.proxies)]
        self.addresses = iter(public_addresses(20000, seed=33))
        self.killed = []
        self.whole = 0  # how often in a row nothing was cut: all of it fits in
        self.parts = contextlib.ExitStack()

    def __enter__(self):
        for part in (*self.stores, *self.proxies, self.mesh):
            self.parts.enter_context(part)
        self.ban()
        for store in self.stores:
            wait_until(lambda one=store: self.model.counts(one), "the first ban everywhere")
        return self

    def __exit__(self, *error):
        return self.parts.__exit__(*error)

    def ban(self, count=2):
        """Hand in a few; returns their addresses."""
        addresses = [next(self.addresses) for _ in range(count)]
        self.model.stream(self.mesh.nodes[0], [(ip, "sshd", time.time()) for ip in addresses])
        return addresses

    def kill(self, aggregator):
        aggregator.process.process.kill()
        self.killed.append(aggregator)

    def revive(self):
        """Start those anew that were killed."""
        while self.killed:
            aggregator = self.killed.pop()
            aggregator.stop(signal.SIGKILL)
            aggregator.start()

    def cut(self, side, dies, after):
        """A group of bans, cut after so many bytes at the first store, one more at the next... Waits
        until all have it; returns after how many bytes some were cut."""
        cuts = [proxy.cuts for proxy in self.proxies]
        for number, proxy in enumerate(self.proxies):
            kill = functools.partial(self.kill, self.aggregators[number])
            proxy.cut_after(side, after + number, kill if dies == "aggregator" else None)
        addresses = self.ban()
        for store in self.stores:
            wait_until(lambda one=store: self.revive() or one.holds(addresses),
                       "the bans behind a cut after %d bytes" % after)
        done = {after + number for number, proxy in enumerate(self.proxies)
                if proxy.cuts > cuts[number]}
        self.whole = 0 if done else self.whole + 1
        return done

    def check(self):
        for proxy in self.proxies:
            proxy.leave_alone()
        self.revive()
        for store, aggregator in zip(self.stores, self.aggregators):
            self.model.wait(store, aggregator)


@pytest.mark.parametrize("dies", ["connection", "aggregator"])
@pytest.mark.parametrize("side", ["asked", "answered"])
def test_a_transaction_cut_after_any_byte_is_neither_lost_nor_doubled(tmp_path, side, dies):
    """All that passes for a group of bans, cut after each byte of it in turn (in long mode; after
    some of them otherwise): the connection ends there, or the aggregator is killed there."""
    chance = random.Random(new_seed())
    tried = set()
    with Bench(tmp_path, rounds(2, 4)) as bench:
        while bench.whole < 3 and len(tried) < rounds(5, 10 ** 6):
            after = 1 + len(tried) if LONG else chance.randrange(1, MOST[side])
            tried |= bench.cut(side, dies, after)
        print("cut %d times, up to byte %d" % (len(tried), max(tried)))
        assert not LONG or len(tried) > MOST[side]
        bench.check()


# ---- two aggregators, and all of it together ----

def disturb(chance, store, load, copy):
    """One thing that may go wrong."""
    what = chance.choice(["flush", "kill", "old copy", "freeze", "crash", "restart", "cut"])
    follower = chance.choice(load.followers)
    if what == "flush":
        store.call("FLUSHALL")
    elif what == "old copy":
        store.call("SAVE")
        store.keep(copy)
        grown(store, load)
        store.kill()
        store.put_back(copy)
        store.start()
    elif what == "kill":
        store.kill()
        store.start()
    elif what == "freeze":
        store.freeze()
        load.more(20)
        store.freeze(False)
    elif what == "cut":
        store.call("CLIENT", "KILL", "TYPE", "normal")
    else:
        follower.stop(signal.SIGKILL if what == "crash" else signal.SIGTERM)
        follower.start()
    return what


@pytest.mark.parametrize("countries", [[""], ["NL", "DE"]], ids=["one", "two"])
def test_the_history_is_exact_whatever_happens_in_whatever_order(tmp_path, countries):
    """Two aggregators even contradict each other on each attempt's country: it has one of them."""
    with Store(tmp_path) as store:
        with history(tmp_path, store, ("mx1", "mx2"), countries=countries) as (_, load):
            for number in range(rounds(4, 150)):
                grown(store, load, 20)
                time.sleep(load.chance.random() / 20)
                print(disturb(load.chance, store, load, str(tmp_path / ("copy%d" % number))))
                grown(store, load, 20)


# ---- what only KeyDB does (BANMESH_STORE=/path/to/keydb-server) ----

@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_an_active_replica_with_appendonly_is_warned_of(tmp_path, appendonly):
    """Keys written in MULTI win over newer ones when it loads: the history would be short."""
    with Store(tmp_path) as probe:
        if not probe.is_keydb():
            pytest.skip("only KeyDB has active replicas")
    other_port = free_port()
    options = ["--active-replica", "yes", "--multi-master", "yes", "--appendonly", appendonly]
    with Store(tmp_path, "other", ["--port", str(other_port), *options]), \
            Store(tmp_path, "one", ["--port", str(free_port()), *options]) as one:
        one.call("REPLICAOF", "127.0.0.1", other_port)
        wait_until(lambda: "master_link_status:up" in one.call("INFO", "replication"), "the link")
        mesh = Mesh(tmp_path, ["mx1"])
        aggregator = add_aggregator(mesh, [one])
        with mesh:
            wait_until(lambda: aggregator.status()["store"]["connected"], aggregator.output)
            warned = any("active replica with appendonly" in line
                         for line in aggregator.status()["attention"])
            assert warned == (appendonly == "yes") == (
                aggregator.output().count("active replica with appendonly") == 1)
