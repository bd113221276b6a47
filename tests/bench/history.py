"""What the history costs in the store: bytes a ban, by family of keys."""

import os
import re
import time

from figures import COUNTRIES, HEARTBEAT_MS, RATE_OFF, Figure
from mesh import Mesh, public_addresses, wait_until
from store import Store, add_aggregator, make_country_db, stream

JAILS = ("sshd", "postfix", "dovecot", "nginx-botsearch", "recidive")
DAYS = 7
PACKED_ATTEMPT_BYTES = 8 + 25 + 4 + 2  # nid, address and end, time, jail and node as numbers
GOAL_BYTES = 1350
FAMILIES = (
    ("hashes", r"f2b:\d+"),
    ("addresses", r"f2b:(\d+\.\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f:]+)"),
    ("countries, jails, days", r"f2b:([A-Z]{2}|%s|\d{4}-\d\d-\d\d)" % "|".join(JAILS)),
    ("nodes, AS numbers", r"f2b:(node|asn):.*"),
    ("days by country, jail, node", r"f2b:\d{4}-\d\d-\d\d:(country|jail|node):.*"),
    ("rankings", r"f2b:\d{4}-\d\d-\d\d:top:.*"),
    ("all, active", r"f2b:(bans|active)"),
    ("networks", r"f2b:net:.*"),
)


def used_memory(client):
    return int(re.search(r"used_memory:(\d+)", client.call("INFO", "memory")).group(1))


def bans_over_days(count):
    """Of a week, from many networks; half of them run."""
    now = time.time()
    return [(address, JAILS[i % len(JAILS)], now - 60 - i % DAYS * 86400,
             (3600, 30 * 86400)[i % 2] if i % DAYS else 30 * 86400 * (i % 2) + 30)
            for i, address in enumerate(public_addresses(count, 99))]


def databases(directory):
    """57,088 networks of 14 countries and 20,000 owners."""
    networks = [("%d.%d.0.0/16" % (a, b), a * 256 + b) for a in range(1, 224) for b in range(256)]
    country = make_country_db(os.path.join(directory, "country.mmdb"),
                              {network: COUNTRIES[n * 7919 % len(COUNTRIES)] for network, n in networks})
    asn = make_country_db(os.path.join(directory, "asn.mmdb"),
                          {network: "- %d Example Networks No. %d" % (n * 104729 % 20000 + 1, n % 20000)
                           for network, n in networks}, "--asn")
    return country, asn


def remove_families(client):
    """Bytes by family: what is less when its keys are gone."""
    keys = client.call("KEYS", "f2b:*")
    sizes = {}
    for name, pattern in FAMILIES:
        some = [key for key in keys if re.fullmatch(pattern, key)]
        before = used_memory(client)
        client.call_each([("DEL", key) for key in some])
        sizes[name] = (before - used_memory(client), len(some))
    assert client.call("KEYS", "f2b:*") == [], "a family without a name here"
    return sizes


def measure_history(directory, counts):
    """Bytes a ban in the store, by family."""
    count = counts["history"]
    figure = Figure("history: what a ban is in the store",
                    "{:,} bans of {:,} addresses in a week, half of them run, two nodes, five jails"
                    .format(count, count),
                    "redis-server; used_memory, and what it is less when a family's keys are deleted")
    directory = os.path.join(directory, "history")
    os.makedirs(directory)
    country, asn = databases(directory)
    with Store(directory, "history") as store:
        client = store.client()
        empty = used_memory(client)
        mesh = Mesh(directory, ["a", "b"], heartbeat=HEARTBEAT_MS, extra=RATE_OFF)
        aggregator = add_aggregator(mesh, [store], country, geoip={"asn": asn})
        with mesh:
            bans = bans_over_days(count)
            for number, node in enumerate(mesh.nodes[:2]):
                stream(node, bans[number::2])
            wait_until(lambda: client.call("ZCARD", "f2b:bans") == count, aggregator.output, 600)
            wait_until(lambda: aggregator.status()["behind"] == 0, aggregator.output)
        each = (used_memory(client) - empty) / count
        active = client.call("ZCARD", "f2b:active")
        sizes = remove_families(client)
        client.close()
    figure.values = {"bytes": each, **{name: size / count for name, (size, _) in sizes.items()}}
    figure.row("bans that run", "%d %%" % round(100 * active / count))
    for name, (size, keys) in sizes.items():
        figure.row(name, "%.0f bytes, %s keys" % (size / count, format(keys, ",")))
    figure.row("raw: packed", "%d bytes" % PACKED_ATTEMPT_BYTES)
    figure.ratio("a ban in the store / packed", each / PACKED_ATTEMPT_BYTES)
    figure.ratio("a ban in the store", each, "<= %d bytes" % GOAL_BYTES, "{:.0f} bytes",
                 each <= GOAL_BYTES)
    return figure


HISTORY = {"history": measure_history}
