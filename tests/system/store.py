"""A private Redis on a Unix socket, and what the aggregator should have put into it."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from mesh import ROOT, Process, wait_until


SERVER = os.environ.get("BANMESH_STORE", "redis-server")  # or a KeyDB's, a Valkey's


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

    def call_each(self, commands):
        """Many commands, some hundred at once; their answers."""
        answers = []
        for start in range(0, len(commands), 500):
            some = commands[start:start + 500]
            for words in some:
                self.send(*words)
            answers += [self.read() for _ in some]
        return answers


class Store:
    """redis-server, keeping nothing on disk unless it is told to: killed, it comes back empty."""

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

    def start(self, *options, wait=True):
        self.process = Process(
            [SERVER, "--port", "0", "--unixsocket", self.socket, "--save", "",
             "--appendonly", "no", "--dir", self.dir, *self.options, *options],
            os.path.join(self.dir, "log"))
        if wait:
            wait_until(self.answers, "start of redis-server")
        return self

    def version(self):
        """(7, 0), of the Redis that it is compatible with."""
        said = re.search(r"redis_version:(\d+)\.(\d+)", self.call("INFO", "server"))
        return tuple(int(number) for number in said.groups())

    def is_keydb(self):
        return "executable:" in self.call("INFO", "server") and os.path.basename(
            re.search(r"executable:(\S+)", self.call("INFO", "server")).group(1)) == "keydb-server"

    def answers(self):
        try:
            # KeyDB answers PING while it loads.
            return self.call("PING") == "PONG" and "loading:1" not in self.call("INFO", "persistence")
        except (OSError, ConnectionError, StoreError):  # the last one while it loads
            return False

    def keep(self, path):
        """Copy what it has on disk, as it is at this moment."""
        shutil.copytree(self.dir, path, ignore=lambda *_: {"s", "log"})

    def put_back(self, path):
        """In place of what it has, while it is down."""
        for name in os.listdir(self.dir):
            whole = os.path.join(self.dir, name)
            if os.path.isdir(whole):
                shutil.rmtree(whole)
            elif name not in ("s", "log"):
                os.unlink(whole)
        shutil.copytree(path, self.dir, dirs_exist_ok=True)

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
            keys = client.call("KEYS", "f2b:*")
            kinds = client.call_each([("TYPE", key) for key in keys])
            reads = {"set": ("SMEMBERS",), "hash": ("HGETALL",), "string": ("GET",), "none": ("GET",),
                     "zset": ("ZRANGE", "0", "-1", "WITHSCORES")}
            words = client.call_each([(reads[kind][0], key, *reads[kind][1:])
                                      for key, kind in zip(keys, kinds)])
            found = {}
            for key, kind, content in zip(keys, kinds, words):
                if kind == "set":
                    found[key] = frozenset(content)
                elif kind == "hash":
                    found[key] = dict(zip(content[::2], content[1::2]))
                elif kind == "zset":
                    found[key] = Scores(zip(content[::2], map(int, content[1::2])))
                else:
                    found[key] = content
            return found
        finally:
            client.close()

    def check_whole(self):
        """Each attempt is in exactly its sets, and nothing else is in the sets. Returns the attempts
        by nid."""
        found = self.everything()
        attempts = {key[4:]: value for key, value in found.items() if type(value) is dict}
        wanted = {}
        for nid, attempt in attempts.items():
            for key in families(attempt):
                wanted.setdefault(key, set()).add(nid)
        sets = {key: set(value) for key, value in found.items() if isinstance(value, frozenset)}
        assert sets == wanted
        scores = {key: value for key, value in found.items() if isinstance(value, Scores)}
        active = scores.pop("f2b:active", {})
        assert scores == rankings(attempts)
        check_active(active, attempts)
        return attempts


class Scores(dict):
    """A sorted set: {member: score}."""



def day_of(attempt):
    return time.strftime("%Y-%m-%d", time.gmtime(int(attempt["timestamp"])))


def families(attempt):
    """The sets that an attempt is in. For UTC, and ordinary jails."""
    day = day_of(attempt)
    names = [attempt["jail"], attempt["ip"], day, "node:" + attempt["node"],
             "%s:jail:%s" % (day, attempt["jail"]), "%s:node:%s" % (day, attempt["node"])]
    if "country" in attempt:
        names += [attempt["country"], "%s:country:%s" % (day, attempt["country"])]
    if "asn" in attempt:
        names.append("asn:" + attempt["asn"])
    return ["f2b:" + name for name in names]


def rankings(attempts):
    """The sorted sets but for the active ones."""
    wanted = {}
    for nid, attempt in attempts.items():
        wanted.setdefault("f2b:bans", Scores())[nid] = int(attempt["timestamp"])
        for kind, field in (("ip", "ip"), ("net", "network")):
            if field in attempt:
                top = wanted.setdefault("f2b:%s:top:%s" % (day_of(attempt), kind), Scores())
                top[attempt[field]] = top.get(attempt[field], 0) + 1
    return wanted


def check_active(active, attempts):
    """All that run are in it, and what ended goes within seconds."""
    now = time.time()
    ends = {nid: int(attempt["expires"]) for nid, attempt in attempts.items()}
    assert all(ends[nid] == score for nid, score in active.items())
    assert {nid for nid, end in ends.items() if end > now + 1} <= set(active)
    assert all(score > now - 60 for score in active.values())


def stream(node, bans, group=200):
    """Hand many bans to a node, as Node.stream takes them; all are on its disk afterwards."""
    answers = node.stream(bans, group)
    assert all(answer.startswith("ok ") for answer in answers), answers


def bans_of(addresses, jails=("sshd", "postfix", "nginx-botsearch"), start=None):
    """A ban of each address, jails and times spread."""
    start = time.time() if start is None else start
    return [(address, jails[i % len(jails)], start - i % 7 * 86400)
            for i, address in enumerate(addresses)]


class Model:
    """What the store must hold: every attempt that a node said it took, and nothing else. For UTC.
    countries: which one an attempt may have; each has one of them."""

    def __init__(self, countries=("XX",)):
        self.countries = countries
        self.attempts = {}  # by nid
        self.lock = threading.Lock()

    def stream(self, node, bans):
        """Hand bans to a node, as Node.stream takes them, and take them down."""
        for (ip, jail, when, *bantime), answer in zip(bans, node.stream(bans)):
            words = answer.split()
            assert words[0] == "ok", answer
            duration = (bantime or [3600])[0]
            self.add(words[1][len("nid="):], node.name, ip, jail, when, duration)

    def add(self, nid, node, ip, jail, when, duration):
        """An attempt, or its prolongation."""
        when_ms = int(round(when * 1000))
        with self.lock:
            known = self.attempts.get(nid)
            if known is not None and not int(known["bantime"]) < duration:
                return
            self.attempts[nid] = {
                "jail": jail, "ip": ip, "timestamp": str(when_ms // 1000), "node": node,
                "bantime": str(duration), "expires": str((when_ms + duration * 1000) // 1000),
                "port": "", "protocol": "", "failures": "0"}

    def sets(self):
        """The nids by key, countries left out."""
        found = {}
        with self.lock:
            for nid, attempt in self.attempts.items():
                for key in families(attempt):
                    found.setdefault(key, set()).add(nid)
        return found

    def keys(self, found):
        """All keys below f2b: and their contents, with the countries that were found."""
        wanted = self.sets()
        for nid, attempt in self.attempts.items():
            country = (found.get("f2b:" + nid) or {}).get("country")
            if country not in self.countries:
                country = self.countries[0]
            wanted["f2b:" + nid] = {**attempt, "country": country}
            for key in ("f2b:" + country, "f2b:%s:country:%s" % (day_of(attempt), country)):
                wanted.setdefault(key, set()).add(nid)
            network = (found.get("f2b:" + nid) or {}).get("network")
            if network is not None:  # which one, test_store.py looks at
                wanted["f2b:" + nid]["network"] = network
                wanted["f2b:net:" + network] = found.get("f2b:net:" + network)
        wanted.update(rankings({key[4:]: value for key, value in wanted.items()
                                if type(value) is dict}))
        return {key: frozenset(value) if isinstance(value, set) else value
                for key, value in wanted.items()}

    def counts(self, store):
        """Whether the store counts as we do: SCARD of each set, and how many hashes there are."""
        sets = self.sets()
        countries = ["f2b:" + country for country in self.countries]
        client = store.client()
        try:
            found = client.call_each([("SCARD", key) for key in sets])
            located = client.call_each([("SCARD", key) for key in countries])
            exist = client.call_each([("EXISTS", "f2b:" + nid) for nid in self.attempts])
            bans = client.call("ZCARD", "f2b:bans")
        finally:
            client.close()
        return (found == [len(nids) for nids in sets.values()] and all(exist) and
                sum(located) == bans == len(self.attempts))

    def wait(self, store, *aggregators):
        """Until the store holds exactly this."""
        wait_until(lambda: self.counts(store),
                   lambda: self.difference(store) +
                   "".join("\n" + one.output()[-4000:] for one in aggregators))
        wait_until(lambda: self.difference(store) == "", lambda: self.difference(store))
        assert len(store.check_whole()) == len(self.attempts)

    def difference(self, store):
        """In words, shortly; "" if there is none."""
        found = store.everything()
        found.pop("f2b:active", None)  # check_whole looks at it
        wanted = self.keys(found)
        said = []
        for key in sorted(key for key in set(found) | set(wanted)
                          if found.get(key) != wanted.get(key))[:10]:
            one, other = found.get(key), wanted.get(key)
            if isinstance(one, frozenset) and isinstance(other, frozenset):
                one, other = sorted(one - other)[:3], sorted(other - one)[:3]
            said.append("%s: has %s, expected %s" % (key, one, other))
        return said and "%d keys, expected %d: " % (len(found), len(wanted)) + "; ".join(said) or ""


class Load:
    """Bans without end, in the background, some of them again or longer, until it is stopped."""

    JAILS = ("sshd", "postfix", "nginx-botsearch", "ftp", "recidive")

    def __init__(self, nodes, model, seed, pause=0.002, most=40):
        """pausing: held by who wants nothing to be handed in for a while."""
        self.nodes = nodes
        self.model = model
        self.chance = random.Random(seed)
        self.jails = list(self.JAILS)
        self.pause = pause
        self.most = most
        self.error = None
        self.bans = []
        self.pausing = threading.Lock()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def ban(self):
        """A new one, or one that was there before and lasts longer or not."""
        if self.bans and self.chance.random() < 0.1:
            ip, jail, when, _, node = self.chance.choice(self.bans)
            return ip, jail, when, self.chance.randrange(60, 99999), node
        ip = "%d.%d.%d.%d" % (self.chance.choice([45, 62, 80, 91]), self.chance.randrange(1, 60),
                              self.chance.randrange(256), self.chance.randrange(256))
        when = int(time.time()) - self.chance.randrange(3 * 86400) + self.chance.random()
        self.bans.append((ip, self.chance.choice(self.jails), round(when, 3), 600,
                          self.chance.randrange(len(self.nodes))))
        return self.bans[-1]

    def run(self):
        try:
            while not self.stopping.wait(self.pause):
                bans = [self.ban() for _ in range(self.chance.randrange(1, self.most))]
                with self.pausing:
                    for number, node in enumerate(self.nodes):
                        some = [ban[:4] for ban in bans if ban[4] == number]
                        if some:
                            self.model.stream(node, some)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self.error = error

    def more(self, count=100):
        """Wait until so many new attempts were taken in."""
        before = len(self.model.attempts)
        wait_until(lambda: len(self.model.attempts) >= before + count or self.error,
                   "more bans")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        if self.error:
            raise self.error


def add_aggregator(mesh, stores, country="", name="hist1", **more):
    """An aggregator in a mesh; stores: its endpoints in order. Not started."""
    settings = {"store": {"endpoints": " ".join(store.endpoint for store in stores)},
                "geoip": {"country": country},
                "roles": {"aggregator": name}}
    for section, values in more.items():
        settings.setdefault(section, {}).update(values)
    return mesh.add(name, settings=settings, daemon="banmesh-aggregator")


@contextlib.contextmanager
def stopped(node):
    """A program that does nothing for a while."""
    with open("/proc/%d/stat" % node.process.pid, encoding="utf-8") as state:
        os.kill(node.process.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: state.seek(0) or state.read().rsplit(")", 1)[1].split()[0] == "T",
                       "the program to stop")
            yield
        finally:
            os.kill(node.process.pid, signal.SIGCONT)


def make_country_db(path, networks, *options):
    """networks: {"45.154.0.0/16": "NL"}."""
    text = "".join("%s %s\n" % item for item in networks.items())
    subprocess.run([os.path.join(ROOT, "tests", "make_mmdb.pl"), *options, str(path)], input=text,
                   text=True, check=True)
    return str(path)
