"""Nodes that know the same tell each other so, in digests, and send no heads."""

import contextlib

import zmq

from mesh import TIMEOUT, Mesh, public_addresses, wait_until
from node_by_hand import (BATCH, BUNDLE, DONE, HEAD, SURVEY, NodeByHand, Signer, ban, body_of,
                          digests_of, fields, read_fields)

EPOCH = 1795288025000
ORIGINS = 8


class Asker:
    """A node by hand that tells one real node of feeds of many origins, and surveys it."""

    def __init__(self, mesh, node):
        self.mx1 = mesh.nodes[0]
        self.node = node
        self.surveys = []  # the digests that were sent to us
        self.origins = [Signer(mesh.add("o%d" % i, endpoint=False).secret) for i in range(ORIGINS)]
        self.known = {}
        self.dealer = None

    def answer(self, _node, _routing_id, request):
        if request[5] == SURVEY:
            self.surveys.append(fields(body_of(request)).get(1, b""))

    def tell(self, origin, epoch, seq, address, head=True):
        """Of one batch, with or without its head; and wait until it is there."""
        self.node.once.append(origin.batch(epoch, seq, [ban(address)]))
        if head:
            self.node.once.append(self.node.bundle([origin.head(epoch, seq)]))
        self.known[origin.sign_public, epoch] = (seq, 1)
        wait_until(lambda: any((feed["epoch"], feed["have"]) == (epoch, seq)
                               for feed in self.feeds(origin)), "the batch to be stored")

    def feeds(self, origin):
        name = "o%d" % self.origins.index(origin)
        return [feed for feed in self.mx1.status()["mesh"]["feeds"] if feed["origin"] == name]

    def ask(self, digests):
        """What comes in answer to a survey: (kind, origin's key) of each envelope, sorted."""
        self.dealer.send(self.node.survey(digests))
        self.dealer.send(self.node.fetch(self.node.sign_public, 1))  # its DONE is the end
        found = []
        while True:
            assert self.dealer.poll(TIMEOUT * 1000), "no answer"
            answer = self.dealer.recv()
            if answer[5] == DONE:
                return sorted(found)
            # The last one holds no envelope: it says what the answerer knows of the asker.
            inside = read_fields(body_of(answer)).get(1, []) if answer[5] == BUNDLE else [answer]
            found += [(one[5], one[8:40]) for one in inside]

    def ask_knowing(self, changes):
        """Of all that it knows, but for some feeds: {(key, epoch): (seq, floor), or None}."""
        known = {**self.known, **changes}
        return self.ask(digests_of({feed: at for feed, at in known.items() if at is not None}))

    def heads_of(self, bucket):
        return sorted((HEAD, key) for key, _ in self.known if key[0] == bucket)


@contextlib.contextmanager
def asking(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "hand"])
    with NodeByHand(mesh.nodes[1]) as node:
        asker = Asker(mesh, node)
        try:
            asker.mx1.start()
            node.answer(asker.answer)
            wait_until(lambda: asker.mx1.peers()["hand"]["connected"], "the connection")
            addresses = public_addresses(ORIGINS, seed=91)
            for origin, address in zip(asker.origins, addresses):
                asker.tell(origin, EPOCH, 1, address)
            asker.dealer = node.client(zmq.DEALER, asker.mx1)
            # The last head is another message than its batch.
            wait_until(lambda: len(asker.ask(b"")) == ORIGINS, "the heads")
            yield asker
        finally:
            if asker.dealer is not None:
                asker.dealer.close()
            mesh.stop()


def test_a_survey_brings_the_buckets_that_differ_and_no_more(tmp_path):
    with asking(tmp_path) as asker:
        assert asker.ask_knowing({}) == []
        for origin in asker.origins:
            feed, bucket = (origin.sign_public, EPOCH), origin.sign_public[0]
            for change in ((2, 1), (1, 2), None):  # another number, another floor, not known
                assert asker.ask_knowing({feed: change}) == asker.heads_of(bucket)
        more = {(asker.origins[0].sign_public, EPOCH + 1): (1, 1)}
        assert asker.ask_knowing(more) == asker.heads_of(asker.origins[0].sign_public[0])
        assert len(asker.ask(b"")) == len(asker.ask(bytes(2048))) == ORIGINS
        messages = asker.mx1.messages()
        assert asker.ask(bytes(2047)) == []
        assert asker.mx1.messages()["refused"] == {"bad-body": 1}
        assert asker.mx1.messages()["heads_replayed"] == messages["heads_replayed"]


def test_last_words_come_with_the_bucket_that_differs(tmp_path):
    """No head tells of a batch whose origin died before it signed one."""
    with asking(tmp_path) as asker:
        origin = asker.origins[3]
        before = asker.known[origin.sign_public, EPOCH]
        asker.tell(origin, EPOCH, 2, "80.94.95.112", head=False)
        assert asker.ask_knowing({}) == []
        got = asker.ask_knowing({(origin.sign_public, EPOCH): before})
        others = asker.heads_of(origin.sign_public[0])
        assert got == sorted(others + [(BATCH, origin.sign_public)])


def test_the_own_survey_says_what_is_known(tmp_path):
    with asking(tmp_path) as asker:
        before = len(asker.surveys)
        asker.tell(asker.origins[0], EPOCH + 7, 1, "80.94.95.112")  # a new epoch: it asks
        wait_until(lambda: len(asker.surveys) > before, "a survey")
        assert asker.surveys[-1] == digests_of(asker.known)


def test_a_quarantine_costs_its_bucket(tmp_path):
    """Who has no quarantine goes on to learn of that origin: there they differ, and nowhere else."""
    with asking(tmp_path) as asker:
        origin = asker.origins[5]
        asker.node.once.append(origin.batch(EPOCH, 1, [ban("80.94.95.113")]))
        wait_until(lambda: asker.mx1.status()["mesh"]["forks"], "the fork")
        assert asker.ask_knowing({}) == []
        ahead = {(origin.sign_public, EPOCH): (9, 1), (origin.sign_public, EPOCH + 1): (1, 1)}
        assert asker.ask_knowing(ahead) == asker.heads_of(origin.sign_public[0])


def test_nodes_that_agree_send_no_heads_when_they_connect_again(tmp_path):
    with Mesh(tmp_path, ["mx1", "mx2", "mx3"]) as mesh:
        addresses = public_addresses(9, seed=92)
        for i, address in enumerate(addresses):
            mesh.nodes[i % 3].publish(address)
        for i, node in enumerate(mesh.nodes):
            node.wait_reported([address for j, address in enumerate(addresses) if j % 3 != i])
        before = [node.messages() for node in mesh.nodes[:2]]
        mesh.nodes[2].stop()
        mesh.nodes[2].start()
        mesh.nodes[2].wait_connected()
        for node, was in zip(mesh.nodes, before):
            wait_until(lambda node=node, was=was:
                       node.messages()["surveys_answered"] > was["surveys_answered"], "a survey")
            assert node.messages()["heads_replayed"] == was["heads_replayed"]
        assert mesh.nodes[2].messages()["heads_replayed"] == 0
        assert mesh.nodes[2].status()["mesh"]["missing_batches"] == 0
