"""A small file system over some directories, that only chosen programs see: a tmpfs in a mount
namespace of its own, which goes with the process that holds it."""

import os
import subprocess

import pytest

from mesh import TIMEOUT, wait_until


class SmallDisk:
    """Mounted over the state directory of a node (and over its spool, if asked), one file system
    for both. Use it before the node starts."""

    def __init__(self, node, size="48m", spool=False):
        self.node = node
        disk = os.path.join(node.dir, "disk")
        parts = ["state", "spool"] if spool else ["state"]
        script = "set -e; mkdir -p %s; mount -t tmpfs -o size=%s none %s\n" % (disk, size, disk)
        for part in parts:
            path = os.path.join(node.dir, part)
            script += "mkdir %s/%s; mount --bind %s/%s %s\n" % (disk, part, disk, part, path)
        script += "echo ready; exec sleep infinity"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            why = self.holder.communicate(timeout=TIMEOUT)[1]
            pytest.skip("no file system of our own can be mounted here: " + why)
        node.prefix = ["nsenter", "--target", str(self.holder.pid), "--mount"]
        self.filler = self.inside(os.path.join(disk, "filler"))

    def inside(self, path):
        """The name under which this test sees a file as the node does."""
        return "/proc/%d/root%s" % (self.holder.pid, path)

    def state(self, name):
        return self.inside(os.path.join(self.node.dir, "state", name))

    def fill(self, but=0):
        """Another's file takes all room but some bytes."""
        with open(self.filler, "ab", buffering=0) as out:
            try:
                while self.room() > but:
                    out.write(bytes(min(65536, self.room() - but)))
            except OSError:
                pass

    def free(self):
        if os.path.exists(self.filler):
            os.unlink(self.filler)

    def room(self):
        status = os.statvfs(os.path.dirname(self.filler))
        return status.f_bavail * status.f_frsize

    def end(self):
        self.holder.kill()
        self.holder.wait(TIMEOUT)
        self.holder.stdout.close()
        self.holder.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def keep_full_until(self, condition, what):
        """Room that the node gives back is taken at once, as on a disk that somebody floods."""
        def look():
            self.fill()
            return condition()
        wait_until(look, what)
