"""The shared log through rotations and errors of the disk: no line is lost to its reader."""

import getpass
import grp
import os
import random
import re
import subprocess
import threading
import time

import pytest
from fail2ban.server.filter import FileContainer

from effort import LONG, new_seed, rounds
from mesh import HEAD, ROOT, Mesh, public_addresses, wait_until
from test_sink import LINE, Strace


# --- faults of the disk --------------------------------------------------------------------------

def test_errors_of_the_disk_lose_no_ban_and_leave_no_half_line(tmp_path):
    seed = new_seed()
    addresses = public_addresses(rounds(30, 1000), seed)
    faults = ["write:error=ENOSPC:when=2+5", "fdatasync:error=EIO:when=3+4",
              "openat:error=EROFS:when=1+2"]
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        with Strace(mx2, mx2.shared_log, *faults) as strace:
            for i, address in enumerate(addresses):
                mx1.publish(address)
                if i % 10 == 5:
                    os.rename(mx2.shared_log, "%s.%d" % (mx2.shared_log, i))
                if i % 10 == 9:
                    mx2.wait_reported([address])
            said = strace.said()
        mx2.wait_reported(addresses[-1:])
        lines = mx2.lines()
        for i in range(5, len(addresses), 10):
            with open("%s.%d" % (mx2.shared_log, i), encoding="utf-8") as log:
                lines += [line for line in log.read().splitlines()
                          if not line.endswith(HEAD.rstrip())]
        assert all(LINE.match(line) for line in lines), lines
        assert {line.split(": ")[1] for line in lines} == set(addresses)
        for error in ("ENOSPC", "EIO", "EROFS"):
            assert error in said
        # Said once until it is well again: which of them comes first is chance.
        assert re.search(r"peers' bans wait: \S*shared\.log: (No space|Input/output|Read-only)",
                         mx2.output())
        wait_until(lambda: mx2.status()["shared_log"]["writable"], "it to be well again")


# --- rotation ------------------------------------------------------------------------------------

class Rotation:
    """The real logrotate with conf/logrotate/banmesh, or with other words in it."""

    def __init__(self, node, **words):
        with open(os.path.join(ROOT, "conf", "logrotate", "banmesh"), encoding="utf-8") as text:
            conf = text.read()
        owner = "%s %s" % (getpass.getuser(), grp.getgrgid(os.getgid()).gr_name)
        for old, new in {"/var/log/banmesh/shared.log": node.shared_log,
                         "create 0640 banmesh banmesh": "create 0640 " + owner, **words}.items():
            assert old in conf
            conf = conf.replace(old, new)
        self.node = node
        self.conf = os.path.join(node.dir, "logrotate.conf")
        with open(self.conf, "w", encoding="utf-8") as out:
            out.write(conf)
        os.chmod(self.conf, 0o644)

    def run(self):
        done = subprocess.run(["/usr/sbin/logrotate", "--force", "--state", self.conf + ".state",
                               self.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        assert done.returncode == 0, done.stdout


ROTATIONS = {"create": {}, "nocreate": {"create 0640": "nocreate #"},
             "copytruncate": {"create 0640": "copytruncate #"}}


class Reader:
    """Reads a log as fail2ban does, with fail2ban's own class, now and then, if it has changed."""

    def __init__(self, path, generator, pause_s):
        self.log = FileContainer(path, "utf-8")
        self.generator = generator
        self.pause_s = pause_s
        self.addresses = set()
        self.stopping = threading.Event()
        self.pause = threading.Lock()  # who holds it keeps it from reading
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        seen = None
        while not self.stopping.wait(self.generator.random() * self.pause_s):
            try:
                with self.pause:
                    seen = self.read(seen)
            except FileNotFoundError:
                pass
            finally:
                self.log.close()

    def read(self, seen):
        """If it is not as it was seen; returns how it is."""
        status = os.stat(self.log.getFileName())
        now = (status.st_ino, status.st_size, status.st_mtime_ns)
        if now != seen and self.log.open():
            while (line := self.log.readline()) is not None:
                if match := LINE.match(line):
                    self.addresses.add(match.group(2))
        return now

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


def rotate_under_load(node, other, rotation, addresses, generator, times):
    """Publish on one node while the log of the other is rotated; returns what was missed."""
    done = threading.Event()

    def publish():
        for start in range(0, len(addresses), 10):
            some = addresses[start:start + 10]
            other.stream([(address, "sshd", time.time()) for address in some])
            time.sleep(generator.random() * 0.01)
        done.set()

    with Reader(node.shared_log, random.Random(generator.random()), 0.2) as reader:
        thread = threading.Thread(target=publish)
        thread.start()
        for _ in range(times):
            if not done.is_set():
                time.sleep(generator.random() * 0.2)  # somewhere in the stream, not at an event
            rotation.run()
        thread.join()
        wait_until(lambda: set(addresses) <= reader.addresses,
                   lambda: "not read: %s" % (set(addresses) - reader.addresses))


@pytest.mark.parametrize("kind", ROTATIONS)
def test_rotated_under_load_a_reader_like_fail2ban_misses_no_line(tmp_path, kind):
    seed = new_seed()
    generator = random.Random(seed)
    times = rounds(8, 150)
    addresses = public_addresses(times * 150, seed)
    generator.shuffle(addresses)
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        rotate_under_load(mx2, mx1, Rotation(mx2, **ROTATIONS[kind]), addresses, generator, times)
        counts = mx2.status()["shared_log"]
        assert counts["truncated" if kind == "copytruncate" else "renamed"] > 0
        assert counts["writable"] is True


def test_a_removed_log_is_there_again_within_seconds(tmp_path):
    """fail2ban does not start without the log of an enabled jail, also if nobody bans meanwhile."""
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx1.publish("80.94.95.112")
        mx2.wait_reported(["80.94.95.112"])
        os.unlink(mx2.shared_log)
        wait_until(lambda: os.path.exists(mx2.shared_log), "the log")
        mx2.wait_reported(["80.94.95.112"])  # fail2ban may not have read it


@pytest.mark.skipif(not LONG, reason="fail2ban looks again after half a minute: tests/run --long")
def test_a_truncated_log_that_is_soon_longer_than_before_is_noticed(tmp_path):
    """fail2ban compares sizes, and the first line only every 30 s and when something is written."""
    old, lost, new = (public_addresses(count, count) for count in (20, 30, 5))
    with Mesh(tmp_path, ["mx1", "mx2"]) as mesh:
        mx1, mx2 = mesh.nodes
        mx2.stop()
        with open(mx2.shared_log, "w", encoding="ascii") as log:  # too old to be written again
            for address in old:
                log.write("2026-11-21T03:53:02.929Z: %s: reported by mx1 in sshd for 3600 s until "
                          "1795323182 nid 4110989998341861224\n" % address)
        mx2.start()
        with Reader(mx2.shared_log, random.Random(1), 0.05) as reader:
            wait_until(lambda: set(old) <= reader.addresses, "the first lines to be read")
            with reader.pause:
                os.truncate(mx2.shared_log, 0)
                wait_until(lambda: mx2.status()["shared_log"]["truncated"] == 1, "it to be noticed")
                mx1.stream([(address, "sshd", time.time()) for address in lost])
                mx2.wait_reported(lost)
            mx1.stream([(address, "sshd", time.time()) for address in new])
            wait_until(lambda: set(new) <= reader.addresses, "lines to be read")
            assert not set(lost) <= reader.addresses, "from the middle on, as if nothing had been"
            wait_until(lambda: set(lost) <= reader.addresses, "what it had missed")
