"""What a program shows is explained: each word of the status stands in docs/counters.md."""

import os
import re

import pytest

from mesh import ROOT


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as text:
        return text.read()


TABLES = {  # where words stand in a table: [REASON] = "word"
    "wire/wire.c": {"ok"}, "replica/replica.c": set(), "node/guard.c": set(), "node/intake.c": set(),
    "aggregator/block.c": set(),
}


@pytest.mark.parametrize("source", TABLES)
def test_each_word_of_the_status_is_explained(source):
    words = set(re.findall(r'\[[A-Z0-9_]+\] = "([a-z0-9-]+)"', read("src", source))) - TABLES[source]
    assert len(words) > 4
    explained = read("docs", "counters.md")
    assert not {word for word in words if "`%s`" % word not in explained}


def test_each_counter_of_messages_is_explained():
    function = read("src/mesh/overview.c").split("counter_status")[1].split("\n}")[0]
    words = set(re.findall(r'"([a-z_]+)"', function)) - {"refused"}
    assert len(words) > 10
    explained = read("docs", "counters.md")
    assert not {word for word in words if "`%s`" % word not in explained}


@pytest.mark.parametrize("unit, conf", [("banmeshd", "node"), ("banmesh-aggregator", "aggregator")])
def test_a_reload_checks_first(unit, conf):
    """"systemctl reload" with wrong settings said "Reloaded"."""
    steps = re.findall(r"^ExecReload=(.*)$", read("conf", "systemd", unit + ".service"), re.M)
    assert steps == ["/usr/sbin/%s --config /etc/banmesh/%s.conf --check" % (unit, conf),
                     "/bin/kill -HUP $MAINPID"]
