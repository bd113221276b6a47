"""New lines of several files, with the moment they were there.

By inotify, through libc, and in a thread of its own: what is measured takes about a millisecond, so
neither a look every now and then would do, nor one that waits until the last row is printed.
"""

import ctypes
import os
import queue
import select
import struct
import threading
import time

IN_MODIFY = 0x2
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class Watch:
    """The files that are followed; each must exist, and only what is added after `add` counts."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.inotify = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._check(self.inotify, "inotify")
        self.files = {}  # watch: [the caller's key, open file, text without its newline yet]
        self.found = queue.SimpleQueue()
        self.end, self.ended = os.pipe()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def _check(result, what):
        if result == -1:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), what)

    def add(self, path, key):
        """Follow a file; its lines come with this key."""
        file = open(path, "rb")
        file.seek(0, os.SEEK_END)
        watch = self.libc.inotify_add_watch(self.inotify, os.fsencode(path), IN_MODIFY)
        self._check(watch, path)
        self.files[watch] = [key, file, b""]

    def lines(self, timeout):
        """Wait at most so many seconds; returns [(time seen, key, line)], perhaps none."""
        try:
            found = [self.found.get(timeout=timeout)]
            while not self.found.empty():
                found.append(self.found.get())
            return found
        except queue.Empty:
            return []

    def _run(self):
        while self.end not in select.select([self.inotify, self.end], [], [])[0]:
            now = time.time()
            for watch in self._changed(os.read(self.inotify, 65536)):
                entry = self.files[watch]
                *whole, entry[2] = (entry[2] + entry[1].read()).split(b"\n")
                for line in whole:
                    self.found.put((now, entry[0], line.decode("utf-8", "replace")))

    @staticmethod
    def _changed(events):
        """The watches in what the kernel reports, each once, in order."""
        watches = {}
        at = 0
        while at < len(events):
            watch, _, _, length = EVENT.unpack_from(events, at)
            watches[watch] = True
            at += EVENT.size + length
        return watches

    def close(self):
        os.close(self.ended)
        self.thread.join()
        os.close(self.end)
        os.close(self.inotify)
        for _, file, _ in self.files.values():
            file.close()
