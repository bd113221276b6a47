"""What must be true of a mesh, whatever happened to it: a model of who asked for which ban and who was
told that it is stored, and the comparison with feeds, shared logs and store.

    nothing lost      every acknowledged ban is in the feeds, in the other nodes' logs, in the store
    nothing invented  nothing is there that nobody asked for
    nothing twice     one event an attempt, one nid; one body a sequence number, on all disks
"""

import collections
import hashlib
import ipaddress
import json
import os
import socket
import sqlite3
import struct

from zmq.utils import z85

from mesh import TIMEOUT, wait_until
from test_trust import read_cert

HEADER_BYTES = 40
SIGNATURE_BYTES = 64
VARINT, BYTES = 0, 2

Attempt = collections.namedtuple("Attempt", "node jail ip time_ms")
Place = collections.namedtuple("Place", "origin epoch channel seq")
Event = collections.namedtuple("Event", "attempt duration_s nid is_first first")


# ---- what is on disk ----

def fields(message):
    """The fields of a protobuf message, in order: (number, int or bytes)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        value = varint()
        if key & 7 == BYTES:
            value, at = message[at:at + value], at + value
        else:
            assert key & 7 == VARINT, "field of type %d" % (key & 7)
        yield key >> 3, value


def nid_of(origin, epoch, channel, seq, index):
    packed = origin + struct.pack(">QIQI", epoch, channel, seq, index)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest()[:8], "big") >> 1


def read_event(message, name, place, index):
    """An Event of a batch; name: of its origin."""
    parts = dict(fields(message))
    ban = collections.defaultdict(int, fields(parts[1]))
    address = dict(fields(ban[1]))
    original = collections.defaultdict(int, fields(parts.get(15, b"")))
    first = (place.epoch, place.channel, place.seq, index)
    if 15 in parts:
        first = tuple(original[number] for number in (1, 2, 3, 4))
    attempt = Attempt(name, ban[2].decode(), str(ipaddress.ip_address(address[1])), ban[3])
    return Event(attempt, ban[4] >> 1 ^ -(ban[4] & 1), nid_of(place.origin, *first),
                 15 not in parts, Place(place.origin, *first[:3]))


def read_batch(envelope, name):
    """(Place, events) of an envelope."""
    body = envelope[HEADER_BYTES:-SIGNATURE_BYTES]
    values = collections.defaultdict(int)
    events = []
    for number, value in fields(body):
        if number == 4:
            events.append(value)
        else:
            values[number] = value
    place = Place(envelope[8:HEADER_BYTES], values[1], values[2], values[3])
    return place, [read_event(event, name, place, i) for i, event in enumerate(events)]


def read_rows(state, file, sql):
    path = os.path.join(state, file)
    if not os.path.exists(path):
        return []
    database = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


BATCHES = "SELECT origin, epoch, channel, seq, envelope FROM batches"
FLOORS = "SELECT hex (origin), epoch, channel, floor, epoch_floor FROM feed"


def place_of(origin, epoch, channel, seq):
    return Place(bytes.fromhex(origin), epoch, channel, seq)


def read_envelopes(state, files=("own.db", "peers.db")):
    """{Place: set of bodies} of a state directory."""
    found = collections.defaultdict(set)
    for file in files:
        for *place, envelope in read_rows(state, file, BATCHES):
            found[place_of(*place)].add(envelope)
    return found


class Floors:
    """What still counts, as state directories know it together."""

    def __init__(self, states):
        self.epochs = collections.defaultdict(int)  # origin: its oldest epoch that counts
        self.seqs = collections.defaultdict(int)    # (origin, epoch, channel): the oldest number
        for state in states:
            for file in ("own.db", "peers.db"):
                for origin, epoch, channel, floor, epoch_floor in read_rows(state, file, FLOORS):
                    origin = bytes.fromhex(origin)
                    feed = (origin, epoch, channel)
                    self.seqs[feed] = max(self.seqs[feed], floor)
                    self.epochs[origin] = max(self.epochs[origin], epoch_floor)

    def counts(self, place):
        return place.epoch >= self.epochs[place.origin] and place.seq >= self.seqs[place[:3]]


def status_of(node):
    """What `banmesh status` shows, without a process each time; None if the node does not answer."""
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(node.admin)
            client.sendall(b"status\n")
            while piece := client.recv(1 << 16):
                answer += piece
        return json.loads(answer)
    except (OSError, ValueError):
        return None


def state_of(node):
    return os.path.join(node.dir, "state")


def names_of(nodes):
    """{public signing key: name}"""
    return {z85.decode(read_cert(node.cert)["sign/public-key"]): node.name for node in nodes}


# ---- what is to be expected ----

class Model:
    """Who asked for what. An attempt is (node, jail, ip, time); each may be asked for several times,
    with several ban times."""

    def __init__(self):
        self.asked = collections.defaultdict(set)  # Attempt: ban times
        self.acked = {}                            # Attempt: longest ban time acknowledged

    def ask(self, attempt, bantime):
        self.asked[attempt].add(bantime)

    def ack(self, attempt, bantime):
        self.acked[attempt] = max(bantime, self.acked.get(attempt, 0))

    def acked_elsewhere(self, name):
        """The addresses whose bans must reach a node."""
        return {attempt.ip for attempt in self.acked if attempt.node != name}

    def check_numbers(self, states, names):
        """One body a number, on all disks. states: directories. Returns {Place: body}."""
        bodies = collections.defaultdict(set)
        for state in states:
            for place, found in read_envelopes(state).items():
                bodies[place] |= found
        forks = [place[1:] for place, found in bodies.items() if len(found) > 1]
        assert not forks, "used twice: %s" % forks
        for place, (body,) in bodies.items():
            inside, _ = read_batch(body, names[place.origin])
            assert inside == place, "a batch in another's place"
        return {place: body for place, (body,) in bodies.items()}

    def check_events(self, batches, names, floors=None):
        """Every acknowledged attempt has one first event, nobody's attempt has any. batches: {Place:
        body}; floors: below them copies may be all that is left. Returns {Attempt: nid}."""
        nids = {}
        longest = collections.defaultdict(int)
        for place, body in sorted(batches.items()):
            for event in read_batch(body, names[place.origin])[1]:
                asked = self.asked.get(event.attempt)
                assert asked, "invented: %s" % (event.attempt,)
                assert event.duration_s in asked, "ban time invented: %s" % (event,)
                copied = floors and not event.is_first and not floors.counts(event.first)
                assert event.is_first == (event.attempt not in nids) or copied, \
                    "twice, or prolonged before it was there: %s" % (event,)
                assert nids.setdefault(event.attempt, event.nid) == event.nid, event
                longest[event.attempt] = max(longest[event.attempt], event.duration_s)
        lost = {attempt: bantime for attempt, bantime in self.acked.items()
                if longest[attempt] < bantime}
        assert not lost, "acknowledged and lost: %s" % lost
        assert len(set(nids.values())) == len(nids)
        return nids

    def check_log(self, node, nids, restarts):
        """A shared log has each address that it must have, none that nobody asked for, each under the
        nid of one of its attempts, and again only after a restart."""
        nids_of = collections.defaultdict(set)
        for attempt, nid in nids.items():
            if attempt.node != node.name:
                nids_of[attempt.ip].add(nid)
        counts = collections.Counter()
        for line in node.lines():
            # What a crash cut short has no nid; the whole line is behind it.
            if " nid " not in line or not line.split(" nid ")[1].isdigit():
                assert restarts, line
                continue
            ip = line.split(": ")[1]
            assert int(line.split(" nid ")[1]) in nids_of[ip], "invented: " + line
            counts[ip] += 1
        lost = self.acked_elsewhere(node.name) - set(counts)
        assert not lost, "%s lacks %s" % (node.name, lost)
        again = {ip: count for ip, count in counts.items() if count > 1 + restarts}
        assert not again, "lines of %s: %s" % (node.name, again)

    def check_store(self, store, nids):
        """The store has exactly the attempts of the feeds, each in its sets, each once."""
        attempts = store.check_whole()
        assert {int(nid) for nid in attempts} == set(nids.values())
        for attempt, nid in nids.items():
            found = attempts[str(nid)]
            assert (found["node"], found["jail"], found["ip"], int(found["timestamp"])) == (
                attempt.node, attempt.jail, attempt.ip, attempt.time_ms // 1000)
            assert int(found["bantime"]) >= self.acked.get(attempt, 0)
            assert int(found["bantime"]) in self.asked[attempt]

    def check(self, nodes, store=None, restarts=None):
        """All of it, once the mesh has settled. restarts: {name: how often it was killed}. The
        aggregator is a node without a log."""
        names = names_of(nodes)
        batches = self.check_numbers([state_of(node) for node in nodes], names)
        # Of what counts no longer the origin keeps some, others none.
        floors = Floors([state_of(node) for node in nodes])
        running = set(filter(floors.counts, batches))
        for node in nodes:
            held = set(filter(floors.counts, read_envelopes(state_of(node))))
            assert held == running, "%s lacks %s" % (node.name, running - held)
        count = collections.Counter(place[:3] for place in running)
        newest = {feed: max(place.seq for place in running if place[:3] == feed) for feed in count}
        assert all(newest[feed] - max(floors.seqs[feed], 1) + 1 == count[feed] for feed in count), \
            "gaps"
        nids = self.check_events(batches, names, floors)
        for node in nodes:
            if node.daemon == "banmeshd":
                self.check_log(node, nids, (restarts or {}).get(node.name, 0))
        if store is not None:
            self.check_store(store, nids)
        return nids

    # ---- waiting ----

    def is_settled(self, nodes, store):
        """Everybody holds and has applied the same, and no spool waits."""
        for node in nodes:
            if node.daemon == "banmeshd" and (
                    not self.acked_elsewhere(node.name) <= set(node.reported()) or
                    {"spool", "spool.taking"} & set(os.listdir(node.spool))):
                return False
        if store is not None and not store.holds({attempt.ip for attempt in self.acked}):
            return False
        positions = []
        for node in nodes:
            status = status_of(node)
            if status is None:
                return False
            feeds = status["mesh"]["feeds"]
            if status.get("behind", 0) > 0 or any(feed["have"] < feed["head"] for feed in feeds):
                return False
            if node.daemon == "banmeshd" and any(
                    feed["origin"] != node.name and feed["applied"] < feed["have"]
                    for feed in feeds):
                return False
            positions.append({(feed["key"], feed["epoch"]): feed["have"] for feed in feeds
                              if feed["have"] > 0 and not feed["ended"]})
        return all(position == positions[0] for position in positions)

    def wait_settled(self, nodes, store=None):
        wait_until(lambda: self.is_settled(nodes, store),
                   lambda: "the mesh does not settle; lacking: %s\n%s" % (
                       {node.name: sorted(self.acked_elsewhere(node.name) - set(node.reported()))
                        for node in nodes if node.daemon == "banmeshd"},
                       "\n".join(node.output() for node in nodes)))
