"""Power loss, played back: what tests/power/shim.c listed of real programs is applied to a disk on
which only that survives which was synced, and of the rest whatever chance lets through.

    contents   what was written behind the last fsync of the file may be missing, all or in part,
               torn at sectors of 512 bytes or pages of 4096; a size may have grown without its data
    names      what was made, renamed or removed behind the last fsync of the directory may not have
               been; a rename happens or does not, and is never half
"""

import collections
import fcntl
import os
import stat
import struct

from mesh import program

SHIM = program("tests/power/libpower_shim.so")
HOOK = program("tests/power/banmesh-publish-dynamic")

HEADER = struct.Struct("<c3xHHIIQQ")
(OPENED, WRITTEN, TRUNCATED, RENAMED, UNLINKED, LINKED, SYNCED, DIRECTORY_SYNCED, ANSWERED,
 EXITED) = (bytes([letter]) for letter in b"OWTRULSDAX")

Record = collections.namedtuple("Record", "kind path other data pid inode number")


def environment(directory, log, kill=None):
    """What makes the programs list what they do."""
    settings = {"LD_PRELOAD": SHIM, "BANMESH_POWER_DIR": str(directory),
                "BANMESH_POWER_LOG": str(log),
                # The runtime of a sanitizer wants to be first.
                "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
    if kill is not None:
        settings["BANMESH_POWER_KILL"] = kill
    return settings


def read_list(log):
    with open(log, "rb") as file:
        while header := file.read(HEADER.size):
            kind, path_bytes, other_bytes, data_bytes, pid, inode, number = HEADER.unpack(header)
            path, other = file.read(path_bytes).decode(), file.read(other_bytes).decode()
            yield Record(kind, path, other, file.read(data_bytes), pid, inode, number)


def rename(log, path, other):
    """Rename as somebody else does, a log rotation for example, and list it."""
    with open(log, "ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(path, other)
        file.write(HEADER.pack(RENAMED, len(path), len(other), 0, os.getpid(), 0, 0) +
                   path.encode() + other.encode())


class File:
    """An inode: what is on disk for certain, and what was done to it since the last sync."""

    def __init__(self, content=b""):
        self.synced = bytearray(content)
        self.now = bytearray(content)
        self.waiting = []  # (offset, data), or (size, None)

    @staticmethod
    def apply(content, offset, data):
        if data is None:
            del content[offset:]
            content.extend(bytes(offset - len(content)))
        else:
            content.extend(bytes(max(0, offset - len(content))))
            content[offset:offset + len(data)] = data

    def change(self, offset, data):
        self.apply(self.now, offset, data)
        self.waiting.append((offset, data))

    def sync(self):
        for change in self.waiting:
            self.apply(self.synced, *change)
        self.waiting.clear()

    def after_power_loss(self, chance, fate):
        content = bytearray(self.synced)
        if fate == "kept":
            return bytes(self.now)
        if fate == "lost" or not self.waiting:
            return bytes(content)
        unit = chance.choice([512, 4096])
        likely = chance.choice([0.1, 0.5, 0.9])
        end = chance.randrange(len(self.waiting) + 1)
        for i, (offset, data) in enumerate(self.waiting):
            if fate == "cut" and i > end:
                break
            if data is None:
                if fate == "cut" or chance.random() < likely:
                    self.apply(content, offset, None)
                continue
            for start, piece in pieces(offset, data, unit):
                if (fate == "cut" and i < end) or chance.random() < likely:
                    self.apply(content, start, piece)
        if chance.random() < 0.2 and len(content) < len(self.now):
            self.apply(content, len(self.now), None)
        return bytes(content)


def pieces(offset, data, unit):
    """A write as the sectors that it touches: each reaches the disk whole or not at all."""
    start = 0
    while start < len(data):
        end = min(len(data), (offset + start) // unit * unit + unit - offset)
        yield offset + start, data[start:end]
        start = end


FATES = ("lost", "kept", "cut", "torn")


class Disk:
    """All files below a directory, as the list says, at one point of it."""

    def __init__(self, root):
        """As it is now, all of it synced."""
        self.root = str(root)
        self.files = {}   # inode: File
        self.now = {}     # path: File
        self.waiting = collections.defaultdict(list)  # directory: [(what, path, other path or File)]
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode):
                    with open(path, "rb") as file:
                        self.files[status.st_ino] = self.now[path] = File(file.read())
        self.synced = dict(self.now)

    def name(self, what, path, other):
        if not self.change_names(self.now, what, path, other):
            return
        self.waiting[os.path.dirname(path)].append((what, path, other))

    @staticmethod
    def change_names(names, what, path, other):
        """False if there is nothing of that name, a socket perhaps."""
        if what == OPENED:
            names[path] = other
        elif path not in names:
            return False
        elif what == UNLINKED:
            del names[path]
        elif what == LINKED:
            names[other] = names[path]
        else:
            names[other] = names.pop(path)
        return True

    def apply(self, record):
        if record.kind == OPENED:
            if self.now.get(record.path) is not self.files.get(record.inode) or \
                    record.path not in self.now:
                self.files[record.inode] = File()
                self.name(OPENED, record.path, self.files[record.inode])
        elif record.kind == WRITTEN:
            self.files[record.inode].change(record.number, record.data)
        elif record.kind == TRUNCATED:
            self.files[record.inode].change(record.number, None)
        elif record.kind == SYNCED:
            self.files[record.inode].sync()
        elif record.kind == DIRECTORY_SYNCED:
            for change in self.waiting.pop(record.path, []):
                self.change_names(self.synced, *change)
        elif record.kind in (RENAMED, UNLINKED, LINKED):
            self.name(record.kind, record.path, record.other)

    def names_after_power_loss(self, chance, fate):
        if fate == "kept":
            return dict(self.now)
        names = dict(self.synced)
        if fate == "lost":
            return names
        for changes in self.waiting.values():
            end = chance.randrange(len(changes) + 1)
            missing = set()
            for i, change in enumerate(changes):
                touched = {name for name in change[1:] if isinstance(name, str)}
                # What was done to a name waits for what was done to it before.
                if i >= end if fate == "cut" else touched & missing or chance.random() < 0.5:
                    missing |= touched
                else:
                    self.change_names(names, *change)
        return names

    def write(self, folder, target, chance, contents="kept", names="kept"):
        """Write what is left of a folder after the power came back, into another one. Fates:
        lost, kept, cut (all up to one moment), torn (some of it)."""
        for path, file in self.names_after_power_loss(chance, names).items():
            if not path.startswith(folder + "/"):
                continue
            copy = os.path.join(target, os.path.relpath(path, folder))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            with open(copy, "wb") as out:
                out.write(file.after_power_loss(chance, contents))
