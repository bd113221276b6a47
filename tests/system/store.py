"""A private Redis on a Unix socket, and what the aggregator should have put into it."""

import os
import signal
import socket
import subprocess
import time

from mesh import ROOT, Process, wait_until


class StoreError(Exception):
    """The store answered with an error."""


class Client:
    """One connection that speaks RESP2: commands as words, answers as str, int, None and lists."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, *words):
        words = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) +
                            b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the store closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise StoreError(rest.decode())

    def call(self, *words):
        self.send(*words)
        return self.read()


class Store:
    """redis-server, keeping nothing on disk: killed, it comes back empty."""

    def __init__(self, directory, name="store", options=()):
        self.dir = os.path.join(str(directory), name)
        os.makedirs(self.dir, exist_ok=True)
        self.socket = os.path.join(self.dir, "s")
        self.options = list(options)
        self.process = None
        self.password = None

    @property
    def endpoint(self):
        return "unix:" + self.socket

    def start(self):
        self.process = Process(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
             "--appendonly", "no", "--dir", self.dir, *self.options],
            os.path.join(self.dir, "log"))
        wait_until(self.answers, "start of redis-server")
        return self

    def answers(self):
        try:
            return self.call("PING") == "PONG"
        except (OSError, ConnectionError):
            return False

    def kill(self):
        """End it as a crash would: its contents are gone."""
        if self.process is not None:
            self.process.end(signal.SIGKILL)
            self.process = None

    stop = kill

    def freeze(self, frozen=True):
        os.kill(self.process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process is not None:
            self.freeze(False)
        self.stop()

    def client(self):
        client = Client(self.socket)
        if self.password is not None:
            client.call("AUTH", self.password)
        return client

    def call(self, *words):
        client = self.client()
        try:
            return client.call(*words)
        finally:
            client.close()

    def members(self, name):
        return set(self.call("SMEMBERS", "f2b:" + name))

    def count(self, name):
        return self.call("SCARD", "f2b:" + name)

    def attempt(self, nid):
        words = self.call("HGETALL", "f2b:%s" % nid)
        return dict(zip(words[::2], words[1::2]))

    def nid_of(self, ip):
        """The one nid of an address that was banned once."""
        (nid,) = self.members(ip)
        return nid

    def holds(self, addresses):
        """Every address has at least one attempt."""
        client = self.client()
        try:
            for address in addresses:
                client.send("EXISTS", "f2b:" + address)
            return all([client.read() for _ in addresses])
        finally:
            client.close()

    def wait_holds(self, addresses, aggregator=None):
        wait_until(lambda: self.holds(addresses),
                   lambda: "the store lacks attempts\n" + (aggregator.output() if aggregator else ""))

    def everything(self):
        """All contents below f2b:, for comparison."""
        client = self.client()
        try:
            found = {}
            for key in client.call("KEYS", "f2b:*"):
                if client.call("TYPE", key) == "set":
                    found[key] = frozenset(client.call("SMEMBERS", key))
                else:
                    words = client.call("HGETALL", key)
                    found[key] = dict(zip(words[::2], words[1::2]))
            return found
        finally:
            client.close()

    def check_whole(self):
        """Each attempt is in exactly its four sets, and the sets hold nothing else. Returns the
        attempts by nid."""
        found = self.everything()
        attempts = {key[4:]: value for key, value in found.items() if isinstance(value, dict)}
        wanted = {}
        for nid, attempt in attempts.items():
            day = time.strftime("%Y-%m-%d", time.gmtime(int(attempt["timestamp"])))
            for name in (attempt["country"], attempt["jail"], attempt["ip"], day):
                wanted.setdefault("f2b:" + name, set()).add(nid)
        sets = {key: set(value) for key, value in found.items() if isinstance(value, frozenset)}
        assert sets == wanted
        return attempts


def stream(node, bans, group=200):
    """Hand many bans to a node, as Node.stream takes them; all are on its disk afterwards."""
    answers = node.stream(bans, group)
    assert all(answer.startswith("ok ") for answer in answers), answers


def bans_of(addresses, jails=("sshd", "postfix", "nginx-botsearch"), start=None):
    """A ban of each address, jails and times spread."""
    start = time.time() if start is None else start
    return [(address, jails[i % len(jails)], start - i % 7 * 86400)
            for i, address in enumerate(addresses)]


def add_aggregator(mesh, stores, country="", name="hist1", **more):
    """An aggregator in a mesh; stores: its endpoints in order. Not started."""
    settings = {"store": {"endpoints": " ".join(store.endpoint for store in stores)},
                "geoip": {"country": country},
                "roles": {"aggregator": name}}
    for section, values in more.items():
        settings.setdefault(section, {}).update(values)
    return mesh.add(name, settings=settings, daemon="banmesh-aggregator")


def make_country_db(path, networks, *options):
    """networks: {"45.154.0.0/16": "NL"}."""
    text = "".join("%s %s\n" % item for item in networks.items())
    subprocess.run([os.path.join(ROOT, "tests", "make_mmdb.pl"), *options, str(path)], input=text,
                   text=True, check=True)
    return str(path)
