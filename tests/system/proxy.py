"""Stands between an aggregator and its store, and spoils what passes."""

import select
import socket
import threading

CHUNK = 1 << 16


class Proxy:
    """Listens at path and passes everything on to the socket of a store, both ways.

    before: None, or called with a side and what is about to pass
    cut:   {side: bytes} after so many bytes of a side, "asked" or "answered", the connection ends
           in the middle of whatever passes, and `happened` is called
    pace:  None, or (bytes, s): only so many at a time, and then nothing for so long
    """

    def __init__(self, path, store):
        self.path = path
        self.store = store
        self.cut = {}
        self.happened = None
        self.before = None
        self.pace = None
        self.connections = 0
        self.cuts = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.wake, self.end = socket.socketpair()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.threads = []

    @property
    def endpoint(self):
        return "unix:" + self.path

    def __enter__(self):
        self.start(self.run)
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.wake.close()
        for thread in self.threads:
            thread.join()
        self.listener.close()
        self.end.close()

    def start(self, target, *args):
        self.threads.append(threading.Thread(target=target, args=args, daemon=True))
        self.threads[-1].start()

    def cut_after(self, side, count, happened=None):
        """From now on; counts what is sent, until it has happened once."""
        with self.lock:
            self.happened = happened
            self.cut = {side: count}

    def leave_alone(self):
        """Nothing happens any more."""
        with self.lock:
            self.cut = {}

    def run(self):
        while True:
            ready, _, _ = select.select([self.listener, self.end], [], [])
            if self.end in ready:
                return
            client, _ = self.listener.accept()
            self.connections += 1
            self.start(self.serve, client)

    def serve(self, client):
        with client, socket.socket(socket.AF_UNIX) as store:
            try:
                store.connect(self.store)
                while self.pass_on(client, store):
                    pass
            except OSError:
                pass  # one of them went: so do we

    def pass_on(self, client, store):
        """Returns False when the connection is to end."""
        ready, _, _ = select.select([client, store, self.end], [], [])
        if self.end in ready:
            return False
        for name, side, other in (("asked", client, store), ("answered", store, client)):
            if side not in ready:
                continue
            pace = self.pace
            chunk = side.recv(pace[0] if pace else CHUNK)
            if self.before:
                self.before(name, chunk)
            left = self.allowed(name, len(chunk))
            other.sendall(chunk[:left])
            if not chunk or left < len(chunk):
                return False
            if pace and self.stopping.wait(pace[1]):
                return False
        return True

    def allowed(self, name, count):
        """How many of so many bytes may pass; fewer once in a while."""
        with self.lock:
            if name not in self.cut or self.cut[name] >= count:
                if name in self.cut:
                    self.cut[name] -= count
                return count
            left = self.cut[name]
            self.cut = {}
            self.cuts += 1
            if self.happened:
                self.happened()
            return left
