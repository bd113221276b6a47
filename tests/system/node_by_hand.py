"""A node written by hand: the protocol of docs/protocol.md in Python, signed with real keys.

An independent implementation, and a trusted node gone bad: it announces and answers whatever a test
wants. libsodium signs, through ctypes; protobuf is encoded here, since there are few fields.
"""

import collections
import ctypes
import ctypes.util
import hashlib
import ipaddress
import struct
import threading
import time

import zmq
from zmq.utils import z85

from test_trust import read_cert

SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium"))
BATCH, HEAD, FETCH, DONE, SURVEY, BUNDLE = range(1, 7)


def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def number_field(tag, number):
    return varint(tag << 3) + varint(number) if number else b""


def bytes_field(tag, content):
    return varint(tag << 3 | 2) + varint(len(content)) + content


def read_varint(body, at):
    """A number, and where the rest begins."""
    number, shift = 0, 0
    while True:
        number |= (body[at] & 127) << shift
        shift += 7
        at += 1
        if body[at - 1] < 128:
            return number, at


def read_fields(body):
    """The fields of a message by their tag; of repeated ones a list has all."""
    found, at = {}, 0
    while at < len(body):
        key, at = read_varint(body, at)
        value, at = read_varint(body, at)
        if key & 7 == 2:
            value, at = body[at:at + value], at + value
        found.setdefault(key >> 3, []).append(value)
    return found


def fields(body):
    """The same, of repeated ones the last: {tag: value}."""
    return {tag: values[-1] for tag, values in read_fields(body).items()}


def body_of(envelope):
    return envelope[40:-64]


def position(epoch, seq, index=0):
    """The place of an event in its origin's feeds; behind an event, field 15, its true identity."""
    return number_field(1, epoch) + number_field(3, seq) + number_field(4, index)


def body_hash(envelope):
    """As a head carries it."""
    return hashlib.blake2b(body_of(envelope), digest_size=32).digest()


def ban(ip, jail="sshd", time_ms=None, duration_s=3600):
    """An Event that bans an address."""
    packed = ipaddress.ip_address(ip).packed
    address = bytes_field(1, packed) + number_field(2, len(packed) * 8)
    when = int(time.time() * 1000) if time_ms is None else time_ms
    return bytes_field(1, bytes_field(1, address) + bytes_field(2, jail.encode()) +
                       number_field(3, when) + number_field(4, duration_s << 1))


def digests_of(known):
    """As a survey carries them; known: {(origin's key, epoch): (newest seq, floor)}, channel 0."""
    buckets = [hashlib.blake2b(digest_size=32) for _ in range(256)]
    for (origin, epoch), (seq, floor) in sorted(known.items()):
        buckets[origin[0]].update(origin + struct.pack(">QIQQ", epoch, 0, seq, floor))
    return b"".join(bucket.digest()[:8] for bucket in buckets)


class Signer:
    """Makes any envelope with the keys of a node."""

    def __init__(self, secret):
        self.keys = read_cert(secret)
        self.sign_public = z85.decode(self.keys["sign/public-key"])
        public = ctypes.create_string_buffer(32)
        self.secret = ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_seed_keypair(public, self.secret, z85.decode(self.keys["sign/seed"]))
        assert public.raw == self.sign_public
        self.hashes = {}  # of batches, by (epoch, seq)

    def envelope(self, kind, body):
        message = b"BNMS" + bytes([1, kind, 0, 0]) + self.sign_public + body
        signed = b"banmesh envelope 1" + message
        signature = ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_detached(signature, None, signed, ctypes.c_ulonglong(len(signed)),
                                    self.secret)
        return message + signature.raw

    def batch(self, epoch, seq, events):
        envelope = self.envelope(BATCH, number_field(1, epoch) + number_field(3, seq) +
                                 b"".join(bytes_field(4, event) for event in events))
        self.hashes[epoch, seq] = body_hash(envelope)
        return envelope

    def head(self, epoch=0, seq=0, floor=1, content_hash=None):
        """With the hash of the batch that was made last under that number, or another one."""
        digest = content_hash or self.hashes.get((epoch, seq), bytes(32))
        return self.envelope(HEAD, number_field(1, epoch) + number_field(3, seq) +
                             (bytes_field(4, digest) if seq else b"") + number_field(5, floor) +
                             number_field(6, int(time.time() * 1000)))

    def bundle(self, envelopes):
        return self.envelope(BUNDLE, b"".join(bytes_field(1, one) for one in envelopes))

    def fetch(self, origin, epoch, after=0, credit=16384):
        return self.envelope(FETCH, bytes_field(1, origin) + number_field(2, epoch) +
                             number_field(4, after) + number_field(5, credit))

    def survey(self, digests=b"", history=False):
        return self.envelope(SURVEY, (bytes_field(1, digests) if digests else b"") +
                             number_field(2, int(history)))

    def done(self, fetch, through=0, have=0, oldest=0):
        """The end of the answer to a fetch."""
        asked = fields(body_of(fetch))
        return self.envelope(DONE, bytes_field(1, asked[1]) + number_field(2, asked.get(2, 0)) +
                             number_field(3, asked.get(3, 0)) +
                             number_field(4, through or asked.get(4, 0)) + number_field(5, have) +
                             number_field(6, oldest))


class NodeByHand(Signer):
    """Takes the place of a mesh.Node that is never started: its keys and addresses."""

    def __init__(self, node):
        super().__init__(node.secret)
        self.context = zmq.Context()
        self.pub = self.server(zmq.PUB, node.listen)
        self.router = self.server(zmq.ROUTER, node.replay)
        self.say = None  # an envelope to announce beside the heartbeat
        self.once = collections.deque()  # and those to announce once; sockets are for one thread
        self.stopping = threading.Event()
        self.threads = []

    def server(self, kind, endpoint):
        """Everybody may connect: it is the other side that is tested."""
        sock = self.context.socket(kind)
        sock.linger = 0
        sock.curve_server = True
        sock.curve_publickey = self.keys["curve/public-key"].encode()
        sock.curve_secretkey = self.keys["curve/secret-key"].encode()
        sock.bind(endpoint)
        return sock

    def close(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.context.destroy(linger=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def client(self, kind, node, context=None):
        """A connection of its own to a real node: zmq.SUB to hear it, zmq.DEALER to ask it."""
        sock = (context or self.context).socket(kind)
        sock.linger = 0
        sock.curve_publickey = self.keys["curve/public-key"].encode()
        sock.curve_secretkey = self.keys["curve/secret-key"].encode()
        sock.curve_serverkey = read_cert(node.cert)["curve/public-key"].encode()
        if kind == zmq.SUB:
            sock.subscribe(b"")
        sock.connect(node.listen if kind == zmq.SUB else node.replay)
        return sock

    def done_with(self, epoch, through, have, oldest=0):
        """The end of an answer to a fetch of our own feed."""
        return self.envelope(DONE, bytes_field(1, self.sign_public) + number_field(2, epoch) +
                             number_field(4, through) + number_field(5, have) +
                             number_field(6, oldest))

    def answer(self, reply):
        """In the background: a heartbeat all the time, and reply(self, routing_id, request) for
        what is asked."""
        def run():
            while not self.stopping.is_set():
                self.pub.send(self.head())
                if self.say is not None:
                    self.pub.send(self.say)
                while self.once:
                    self.pub.send(self.once.popleft())
                if self.router.poll(20):
                    routing_id, request = self.router.recv_multipart()[:2]
                    reply(self, routing_id, request)
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()
