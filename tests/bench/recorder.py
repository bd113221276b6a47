"""Stands between an aggregator and its store, and keeps what the aggregator sends."""

import os
import select
import socket
import threading

CHUNK = 1 << 18


class Recorder:
    """Listens at path, passes everything on to the socket of a store, both ways, and writes the
    aggregator's side to a file. Connections one after another; the record is all of them."""

    def __init__(self, path, store, record):
        self.path = path
        self.store = store
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.record = open(record, "wb")
        self.wake, self.end = socket.socketpair()
        self.thread = threading.Thread(target=self.run)

    @property
    def endpoint(self):
        return "unix:" + self.path

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wake.close()
        self.thread.join()
        self.listener.close()
        self.end.close()
        self.record.close()
        os.unlink(self.path)

    def run(self):
        while True:
            ready, _, _ = select.select([self.listener, self.end], [], [])
            if self.end in ready:
                return
            client, _ = self.listener.accept()
            with client, socket.socket(socket.AF_UNIX) as store:
                store.connect(self.store)
                self.pass_on(client, store)

    def pass_on(self, client, store):
        """Until either side hangs up, or the end."""
        while True:
            ready, _, _ = select.select([client, store, self.end], [], [])
            if self.end in ready:
                return
            for side, other in ((client, store), (store, client)):
                if side not in ready:
                    continue
                try:
                    chunk = side.recv(CHUNK)
                    other.sendall(chunk)
                except ConnectionError:
                    return
                if not chunk:
                    return
                if side is client:
                    self.record.write(chunk)
