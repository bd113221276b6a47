"""Disks as they are: full, failing, damaged. Nothing that was acknowledged is lost, nothing false is
ever passed on, and the log says what happened."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import time

import pytest

from effort import new_seed, rounds
from mesh import Mesh, program, public_addresses, wait_until
from small_disk import SmallDisk
from store import Store, add_aggregator

FULL = "the disk is full; until there is room again no ban is taken in"
ROOM = "has room again"


def last_line(node):
    return node.output().rstrip().split("\n")[-1]


# ---- full ----

def says_full(node):
    return node.output().count(FULL)


def wait_full(disk, node, times=1):
    """Fill the disk, and hand in bans until the node has noticed."""
    count = [0]

    def noticed():
        count[0] += 1
        node.publish("141.30.%d.%d" % (count[0] // 250, count[0] % 250 + 1), jail="fill",
                     check=False)
        return says_full(node) == times
    disk.keep_full_until(noticed, "the node to notice that the disk is full\n" + node.output())


def test_with_the_disk_full_hooks_spool_peers_wait_and_all_goes_on_by_itself(tmp_path):
    early, spooled, theirs, late = (public_addresses(n, seed=n) for n in (5, 12, 20, 3))
    mesh = Mesh(tmp_path, ["mx1", "mx2", "mx3"])
    mx1, mx2, mx3 = mesh.nodes
    with SmallDisk(mx1) as disk, mesh:
        for address in early:
            mx1.publish(address)
        mx2.wait_reported(early)
        wait_full(disk, mx1)
        for address in spooled:
            assert mx1.publish(address).returncode == 0
        assert os.path.getsize(os.path.join(mx1.spool, "spool")) > 0
        reconnects = {name: peer["reconnects"] for name, peer in mx1.peers().items()}
        for address in theirs:
            mx2.publish(address)
        mx3.wait_reported(theirs)
        # Ten heartbeats that nothing can be stored of: its peers are there all the same.
        heads = mx1.status()["mesh"]["messages"]["heads"]
        wait_until(lambda: mx1.status()["mesh"]["messages"]["heads"] > heads + 20, "heartbeats")
        status = mx1.status()
        assert status["disk_full"] and says_full(mx1) == 1
        assert {name: peer["reconnects"] for name, peer in mx1.peers().items()} == reconnects
        assert all(peer["connected"] for peer in mx1.peers().values())
        assert not set(theirs) & set(mx1.reported())
        assert mx1.output().count("\n") < 20, "nothing is said again and again"
        disk.free()
        mx1.wait_reported(theirs)
        for node in (mx2, mx3):
            node.wait_reported(early + spooled)
        for address in late:
            mx1.publish(address)
        mx2.wait_reported(late)
        assert says_full(mx1) == 1 and mx1.output().count(ROOM) == 1
        assert not mx1.status()["disk_full"]


def test_a_hook_that_finds_no_room_anywhere_says_so_and_exits_1(tmp_path):
    addresses = iter(public_addresses(500, seed=33))
    acknowledged, refused = [], {}
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    with SmallDisk(mx1, spool=True) as disk, mesh:
        wait_full(disk, mx1)

        def is_refused():
            address = next(addresses)
            done = mx1.publish(address, check=False)
            if done.returncode == 0:
                acknowledged.append(address)  # the last page of the spool had room
            else:
                refused[address] = done
            return refused
        disk.keep_full_until(is_refused, "a hook that says no")
        (address, done), = refused.items()
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.count("No space left on device") == 2, done.stderr
        disk.free()
        wait_until(lambda: ROOM in mx1.output(), "room")
        acknowledged += hand_in(mx1, ["80.94.95.114"])
        mx2.wait_reported(acknowledged)
        assert address not in mx2.reported(), "it was told that it is not stored"


def test_a_node_starts_on_a_full_disk(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    with SmallDisk(mx1) as disk, mesh:
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        mx1.stop()
        disk.fill()
        mx1.start()
        wait_until(lambda: says_full(mx1) == 1, "the node to say that the disk is full")
        assert mx1.publish("80.94.95.113").returncode == 0
        mx2.publish("80.94.95.114")
        disk.free()
        mx1.wait_reported(["80.94.95.114"])
        mx2.wait_reported(["80.94.95.113"])


def test_an_aggregators_full_disk_holds_the_history_up_and_loses_nothing(tmp_path):
    addresses = public_addresses(60, seed=31)
    with Store(tmp_path) as store:
        mesh = Mesh(tmp_path, ["mx1"])
        mx1 = mesh.nodes[0]
        aggregator = add_aggregator(mesh, [store])
        with SmallDisk(aggregator, size="24m") as disk, mesh:
            for address in addresses[:20]:
                mx1.publish(address)
            store.wait_holds(addresses[:20], aggregator)
            disk.fill()
            more = iter(public_addresses(5000, seed=32))
            disk.keep_full_until(lambda: mx1.stream([(next(more), "fill", time.time())]) and
                                 says_full(aggregator), "the aggregator to notice")
            for address in addresses[20:]:
                mx1.publish(address)
            disk.free()
            store.wait_holds(addresses, aggregator)
            assert says_full(aggregator) == 1


def start_as_often_as_it_takes(node, disk):
    """A start that finds not even the little that is kept for it is refused in words."""
    node.start(wait=False)
    wait_until(lambda: node.answers() or not node.process.running(), "start")
    if not node.process.running():
        assert "cannot start: " in last_line(node) and "disk is full" in last_line(node)
        node.process.end()
        disk.free()
        node.start()


def test_what_was_acknowledged_survives_a_disk_that_fills_and_empties_at_random(tmp_path):
    seed = new_seed()
    generator = random.Random(seed)
    addresses = iter(public_addresses(6000, seed))
    acknowledged, theirs = [], []
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    with SmallDisk(mx1, size="24m", spool=generator.random() < 0.5) as disk, mesh:
        for _ in range(rounds(3, 30)):
            if generator.random() < 0.7:
                disk.fill(but=generator.choice([0, 4096, 65536, 500000]))
            for _ in range(generator.randrange(5, 40)):
                address = next(addresses)
                if mx1.publish(address, check=False).returncode == 0:
                    acknowledged.append(address)
            theirs += [next(addresses) for _ in range(generator.randrange(1, 100))]
            mx2.stream([(address, "sshd", time.time()) for address in theirs[-100:]], group=3)
            if generator.random() < 0.3:
                mx1.stop(generator.choice([15, 9]))
                start_as_often_as_it_takes(mx1, disk)
            if generator.random() < 0.5:
                disk.free()
        disk.free()
        mx2.wait_reported(acknowledged)
        mx1.wait_reported(theirs)


# ---- failing ----

def under_strace(node, calls, error, when):
    """The daemon's next start: the given calls fail, by their count."""
    node.env["ASAN_OPTIONS"] = "detect_leaks=0"  # the leak check cannot work beside strace
    node.prefix = ["strace", "-D", "-f", "-qq", "-o", os.path.join(node.dir, "strace"), "-e",
                    "trace=" + calls, "-e", "inject=%s:error=%s:when=%s" % (calls, error, when)]


def hand_in(node, addresses):
    """Call the hook for each address, as fail2ban would; returns those that it acknowledged."""
    wrapper, node.prefix = node.prefix, []
    done = [address for address in addresses if node.publish(address, check=False).returncode == 0]
    node.prefix = wrapper
    return done


SYNCS = "fsync,fdatasync"


@pytest.mark.parametrize("calls, error, suffix", [
    (SYNCS, "EIO", ""), (SYNCS, "EIO", "+"), ("pwrite64", "EIO", ""), ("pwrite64", "ENOSPC", ""),
], ids=["sync", "sync-for-good", "write", "write-no-room"])
def test_a_failing_disk_costs_nothing_that_was_acknowledged(tmp_path, calls, error, suffix):
    """At any call: the node goes on, or stops with a line that names the file, and starts clean."""
    seed = new_seed()
    generator = random.Random(seed)
    addresses = iter(public_addresses(3000, seed))
    acknowledged, theirs = [], []
    ends = injected = 0
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        for turn in range(rounds(2, 40)):
            mx1.stop(generator.choice([15, 9]))
            # A start takes some of these calls itself; later ones come with the bans.
            under_strace(mx1, calls, error, "%d%s" % (generator.randrange(1, 20 + turn), suffix))
            mx1.start(wait=False)
            wait_until(lambda: mx1.answers() or not mx1.process.running(), "start")
            acknowledged += hand_in(mx1, [next(addresses) for _ in range(12)])
            theirs += hand_in(mx2, [next(addresses) for _ in range(3)])
            if mx1.process.end(generator.choice([15, 9])) == 1:
                ends += 1
                words = last_line(mx1)
                assert "fatal: " in words or "cannot start: " in words, words
                assert "state directory" in words or os.path.join(mx1.dir, "state") in words, words
            mx1.prefix = []
            with open(os.path.join(mx1.dir, "strace"), encoding="utf-8", errors="replace") as trace:
                injected += trace.read().count("(INJECTED)")
            mx1.start()
        assert injected, "no call was made to fail"
        mx2.wait_reported(acknowledged)
        mx1.wait_reported(theirs)
        assert "damaged" not in mx1.output(), "a failing disk is no damaged file"
    print("the node ended", ends, "times")


# ---- damaged ----

def own_batches(node, file="own.db"):
    with sqlite3.connect("file:%s?mode=ro" % os.path.join(node.dir, "state", file), uri=True) as db:
        rows = db.execute("SELECT epoch, seq, envelope FROM batches ORDER BY 1, 2").fetchall()
    db.close()
    return rows


def flip_batch(node, file, seq):
    """Flip a bit inside a stored batch, in every copy of it that the file has."""
    envelope = next(row[2] for row in own_batches(node, file) if row[1] == seq)
    path = os.path.join(node.dir, "state", file)
    with open(path, "r+b") as out:
        data = bytearray(out.read())
        at = data.find(envelope)
        assert at >= 0
        while at >= 0:
            data[at + 50] ^= 4
            at = data.find(envelope)
        out.seek(0)
        out.write(data)


def keep_running(nodes):
    """What the service manager does."""
    for node in nodes:
        if node.process is not None and not node.process.running():
            node.process.end()
            node.start(wait=False)


def start_until_up(node):
    node.start(wait=False)

    def is_up():
        keep_running([node])
        return node.answers()
    wait_until(is_up, node.output)


def wait_reported_everywhere(nodes, wanted):
    """wanted: {node: addresses}; a node that ends meanwhile is started again."""
    def all_there():
        keep_running(nodes)
        return all(set(addresses) <= set(node.reported()) for node, addresses in wanted.items())
    wait_until(all_there, lambda: "\n".join(
        "%s lacks %s\n%s" % (node.name, set(addresses) - set(node.reported()), node.output())
        for node, addresses in wanted.items()))


def test_a_bad_batch_of_its_own_keeps_nobody_behind(tmp_path):
    """A newcomer asks the origin, whose copy is bad; it gets all the rest at once, and the bad one
    as soon as somebody is there who has it."""
    addresses = public_addresses(9, seed=41)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    with mesh:
        mx1, mx2 = mesh.nodes
        for address in addresses:
            mx1.publish(address)
        mx2.wait_reported(addresses)
        mx1.stop()
        mx2.stop()
        flip_batch(mx1, "own.db", 4)
        start_until_up(mx1)
        mx3 = mesh.add("mx3").start()
        wait_reported_everywhere([mx1, mx3], {mx3: addresses[:3] + addresses[4:]})
        assert "batch 4 of epoch" in mx1.output() and "is damaged" in mx1.output()
        assert "8 batches of this host could be read, 8 bans of theirs" in mx1.output()
        mx2.start()
        wait_reported_everywhere([mx1, mx2, mx3], {mx3: addresses})
        wait_until(lambda: [row[1] for row in own_batches(mx1, "peers.db")] == list(range(1, 10)),
                   "the old epoch to be whole again")
        assert sorted(mx3.reported()) == sorted(addresses), "each once"


# ---- what SQLite refuses as a whole, and banmesh recover ----

def recover(node, *arguments):
    """banmesh recover; returns status, standard output and standard error."""
    done = subprocess.run([program("banmesh"), "recover", "--config", node.conf, *arguments],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def has_recover():
    """Debian 12's sqlite3 is built without what .recover reads pages with."""
    done = subprocess.run(["sqlite3", ":memory:", "SELECT count(*) FROM sqlite_dbpage"],
                          stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def ruin_root(path):
    """Above all batches: SQLite finds none of them."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        (root,), = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'batch'")
    with open(path, "r+b") as out:
        out.seek((root - 1) * 4096)
        out.write(bytes([0x5a]) * 4096)


def test_what_sqlite3_finds_is_taken_over_by_hand_once(tmp_path):
    """Nobody else has the bans of a node that was alone, and SQLite refuses its table of batches."""
    addresses = public_addresses(60, seed=43)
    copy, new = os.path.join(tmp_path, "copy.db"), os.path.join(tmp_path, "new.db")
    mesh = Mesh(tmp_path, ["mx1"])
    with mesh:
        mx1, = mesh.nodes
        own = os.path.join(mx1.dir, "state", "own.db")
        for address in addresses:
            mx1.publish(address)
        mx1.stop()
        shutil.copy(own, copy)
        ruin_root(own)
        start_until_up(mx1)
        assert "own.db: " in mx1.output() and "begun anew" in mx1.output()
        assert "0 batches of this host could be read" in mx1.output()
        if has_recover():
            ruin_root(copy)
        find = ".recover" if has_recover() else ".dump"
        # Of .recover's output a complaint about SQLite's own table is no loss.
        subprocess.run("sqlite3 %s %s | sqlite3 %s" % (copy, find, new), shell=True,
                       check=not has_recover())
        status, out, error = recover(mx1, new)
        assert (status, out) == (1, "") and "is it running already?" in error
        mx1.stop()
        assert recover(mx1, new) == (
            0, "60 batches of this host read, 60 bans of theirs that it did not know are taken over"
               "\n", "")
        assert recover(mx1, new, "--json") == (0, '{"batches": 60, "bans": 0}\n', "")
        mx1.start()
        mx2 = mesh.add("mx2").start()
        mx2.wait_reported(addresses)
        assert sorted(mx2.reported()) == sorted(addresses), "each once"


def test_recover_says_what_it_does_not_take(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    mx1, mx2 = mesh.nodes
    with mesh:
        for node, address in ((mx1, "80.94.95.112"), (mx2, "80.94.95.113")):
            node.publish(address)
        mx1.stop()
        mx2.stop()
        state = os.path.join(mx1.dir, "state")
        assert recover(mx1)[0] == 2 and recover(mx1, "one", "two")[0] == 2
        status, out, error = recover(mx1, os.path.join(tmp_path, "nothing"))
        assert (status, out) == (1, "") and "unable to open database file" in error
        status, out, error = recover(mx1, mx1.conf)
        assert (status, out) == (1, "") and "file is not a database" in error
        status, out, error = recover(mx1, os.path.join(mx2.dir, "state", "own.db"))
        assert (status, out) == (1, "") and "own.db: no batch of mx1 is in it" in error
        if os.geteuid() == 0:
            os.chown(state, 65534, 65534)
            before = sorted(os.listdir(state))
            status, out, error = recover(mx1, os.path.join(state, "own.db"))
            assert status == 1 and "runuser -u nobody -- banmesh recover" in error, error
            assert sorted(os.listdir(state)) == before
            os.chown(state, 0, 0)
        assert recover(mx1, os.path.join(state, "own.db"), "--json") == (
            0, '{"batches": 1, "bans": 0}\n', "")


def test_a_bad_copy_of_anothers_batch_is_never_passed_on_and_fetched_again(tmp_path):
    addresses = public_addresses(9, seed=42)
    mesh = Mesh(tmp_path, ["mx1", "mx2"])
    with mesh:
        mx1, mx2 = mesh.nodes
        for address in addresses:
            mx1.publish(address)
        mx2.wait_reported(addresses)
        mx1.stop()
        mx2.stop()
        flip_batch(mx2, "peers.db", 4)
        with pytest.raises(AssertionError):
            mx2.start()  # it reads all that counts
        mx3 = mesh.add("mx3").start()
        keep_running([mx2])
        mx3.wait_reported(addresses[:3])
        assert "peers.db: batch 4 of epoch" in mx2.output()
        mx1.start()
        wait_reported_everywhere([mx1, mx2, mx3], {mx3: addresses})
        wait_until(lambda: [row[1] for row in own_batches(mx2, "peers.db")] == list(range(1, 10)),
                   "mx2 to have all of them again")
        assert "bad-signature" not in mx3.status()["mesh"]["messages"]["refused"]


def damage(generator, path):
    """Any accident."""
    size = os.path.getsize(path)
    kind = generator.choice(["flip", "flip", "page", "cut", "empty", "header", "noise"])
    with open(path, "r+b") as out:
        def scribble(at, length):
            out.seek(at)
            out.write(generator.randbytes(length))
        if kind == "flip" and size:
            at = generator.randrange(size)
            if 60 <= at < 64:  # the version: a later one's files are left alone
                at += 40
            out.seek(min(at, size - 1))
            byte = out.read(1)[0]
            out.seek(-1, os.SEEK_CUR)
            out.write(bytes([byte ^ 1 << generator.randrange(8)]))
        elif kind == "page" and size >= 4096:
            scribble(generator.randrange(size // 4096) * 4096, 4096)
        elif kind == "cut" and size:
            out.truncate(generator.randrange(size))
        elif kind == "empty":
            out.truncate(0)
        elif kind == "header" and size >= 60:
            scribble(0, 60)
        elif kind == "noise" and size > 300:
            scribble(generator.randrange(100, size - 200), 200)
    return kind


def test_damage_of_any_kind_loses_nothing_that_a_peer_has(tmp_path):
    seed = new_seed()
    generator = random.Random(seed)
    addresses = iter(public_addresses(4000, seed))
    published = {}
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        for _ in range(rounds(4, 60)):
            for node in mesh.nodes:
                some = [next(addresses) for _ in range(generator.randrange(0, 6))]
                published.setdefault(node, []).extend(hand_in(node, some))
            wanted = {node: [address for other in mesh.nodes if other is not node
                             for address in published[other]] for node in mesh.nodes}
            wait_reported_everywhere(mesh.nodes, wanted)
            victim = generator.choice(mesh.nodes)
            victim.stop(generator.choice([15, 9]))
            state = os.path.join(victim.dir, "state")
            files = [name for name in os.listdir(state) if name.endswith((".db", ".db-wal"))]
            done = [(name, damage(generator, os.path.join(state, name)))
                    for name in generator.sample(files, generator.randrange(1, len(files) + 1))]
            print(victim.name, done)
            start_until_up(victim)
        for node in mesh.nodes:
            published[node].extend(hand_in(node, [next(addresses)]))
        wanted = {node: [address for other in mesh.nodes if other is not node
                         for address in published[other]] for node in mesh.nodes}
        wait_reported_everywhere(mesh.nodes, wanted)
        for node in mesh.nodes:
            everything = {address for some in published.values() for address in some}
            assert set(node.reported()) <= everything, "a ban that nobody made"


# ---- directories that are not what they should be ----

def check(node):
    """--check as somebody whom file modes bind: root without the powers over them."""
    wrapper = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    if os.geteuid() != 0:
        wrapper = []
    done = subprocess.run(wrapper + [program(node.daemon), "--config", node.conf, "--check"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def test_a_row_of_what_is_held_that_is_damaged_is_told_again(tmp_path):
    """Nobody knows what it was about: fail2ban does nothing with a second line."""
    addresses = public_addresses(50, seed=19)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.stream([(address, "sshd", time.time()) for address in addresses])
        mx2.wait_reported(addresses)
        wait_until(lambda: mx2.status()["held"] == len(addresses), "the rows")
        mx2.stop()
        with contextlib.closing(sqlite3.connect(os.path.join(mx2.dir, "state/peers.db"))) as database:
            rows = database.execute("SELECT id FROM held ORDER BY random() LIMIT 2").fetchall()
            for (row,), damage in zip(rows, ("prefix = 160", "address = x'00'")):
                database.execute("UPDATE held SET %s WHERE id = ?" % damage, [row])
            database.commit()
        mx2.start()
        wait_until(lambda: len(mx2.reported()) == len(addresses) + 2, "two lines again")
        wait_until(lambda: mx2.status()["held"] == len(addresses), "the rows again")
        assert set(mx2.reported()) == set(addresses)


def test_check_looks_at_the_directories(tmp_path):
    mesh = Mesh(tmp_path, ["mx1"])
    mx1 = mesh.nodes[0]
    hist = add_aggregator(mesh, [Store(tmp_path)])
    folders = {name: os.path.join(mx1.dir, name) for name in ("state", "spool", "log")}
    assert check(mx1) == (0, "configuration ok\n")
    assert check(hist)[0] == 0
    for name, setting in (("state", "node / state"), ("spool", "publish / spool"),
                          ("log", "shared / log")):
        folder = folders[name]
        os.chmod(folder, 0o500)
        status, words = check(mx1)
        assert status == 1 and setting in words and folder in words and "cannot write" in words
        os.chmod(folder, 0o700)
        os.rename(folder, folder + ".away")
        status, words = check(mx1)
        assert setting in words and folder in words, words
        # The unit makes two of them at the start, and nobody the spool.
        assert (status == 1) == (name == "spool"), words
        with open(folder, "w", encoding="ascii"):
            pass
        status, words = check(mx1)
        assert status == 1 and folder + ": expected a directory" in words
        os.unlink(folder)
        os.rename(folder + ".away", folder)
    for path, setting in ((os.path.join(folders["state"], "own.db"), "node / state"),
                          (mx1.shared_log, "shared / log")):
        with open(path, "w", encoding="ascii"):
            pass
        os.chmod(path, 0o400)
        status, words = check(mx1)
        assert status == 1 and setting in words and path in words, words
        os.unlink(path)
    os.chmod(os.path.join(hist.dir, "state"), 0o500)
    assert check(hist)[0] == 1
    os.chmod(os.path.join(hist.dir, "state"), 0o700)
    assert check(mx1) == (0, "configuration ok\n")
