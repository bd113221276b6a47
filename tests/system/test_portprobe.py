"""Who probes closed ports: the rules and the jail as shipped, and a real scan in namespaces.

The kernel logs nothing for a namespace other than the first (net.netfilter.nf_log_all_netns is the
whole machine's, so a test leaves it alone). But the rule that logs remembers address and port in a set,
and counts: what stands there was logged. From that the tests write the kernel's lines for fail2ban; their
form is that of real lines (SAMPLES).
"""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from fail2ban_server import OURS, tool
from gateway import ATTACKER4, ATTACKER6, GATEWAY4, GATEWAY6, INNER4, GatewayServer, Wire
from mesh import wait_until

RULES = OURS.parent / "nftables" / "banmesh-portprobe.nft"
TABLE = "banmesh_portprobe"

# As Linux 6.18 logged them, in a journal, in rsyslog's two forms, and without a MAC (a tunnel).
TAIL4 = "LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=59816 DF PROTO=TCP SPT=33660 DPT=%d WINDOW=64240 RES=0x00 SYN URGP=0 "
TAIL6 = "LEN=80 TC=0 HOPLIMIT=64 FLOWLBL=242634 PROTO=TCP SPT=54140 DPT=%d WINDOW=64800 RES=0x00 SYN URGP=0 "
MAC = "MAC=8a:a8:84:1d:57:c5:ca:a5:99:0a:98:2f:08:00 "
LONG6 = "2001:0002:0000:0021:0000:0000:0000:0009"
BEGIN = "banmesh-portprobe: IN=out OUT= "
SAMPLES = [
    ("mx1 kernel: [ 7693.132351] " + BEGIN + MAC + "SRC=198.18.21.9 DST=198.18.21.1 " + TAIL4 % 23,
     ATTACKER4),
    ("mx1 kernel: [123456.132351] " + BEGIN + MAC + "SRC=%s DST=%s " % (LONG6, LONG6) + TAIL6 % 23,
     ATTACKER6),
    ("mx1 kernel: " + BEGIN + "MAC= SRC=198.18.21.9 DST=198.18.21.1 " + TAIL4 % 5900, ATTACKER4),
    ("mx1 kernel: " + BEGIN + "PHYSIN=eth0 " + MAC + "SRC=198.18.21.9 DST=198.18.21.1 " +
     (TAIL4 % 80).replace("SYN", "CWR ECE SYN") + "MARK=0x1", ATTACKER4),
    # Not these: another's rule, no SYN, another program, a forged beginning.
    ("mx1 kernel: other: IN=out OUT= MAC= SRC=198.18.21.9 DST=198.18.21.1 " + TAIL4 % 23, None),
    ("mx1 kernel: " + BEGIN + "MAC= SRC=198.18.21.9 DST=198.18.21.1 " +
     (TAIL4 % 23).replace("SYN", "ACK"), None),
    ("mx1 evil[7]: kernel: " + BEGIN + "MAC= SRC=198.18.21.9 DST=198.18.21.1 " + TAIL4 % 23, None),
    ("mx1 kernel: usb 1-1: Product: x " + BEGIN + "SRC=198.18.21.9 DST=198.18.21.1 " + TAIL4 % 23, None),
]

KNOCK = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), 1).close()
    except OSError:
        pass
"""


@pytest.fixture(name="wire")
def wire_fixture():
    wire = Wire()
    try:
        with wire:
            yield wire
    finally:
        wire.__exit__()


def load(wire):
    wire.on("gateway", "nft", "-f", str(RULES))


def knock(wire, host, address, *ports):
    wire.on(host, "/usr/bin/python3", "-c", KNOCK, address, *map(str, ports))


def logged(wire):
    """(address, port) of all that was logged within the hour."""
    found = []
    for name in ("seen4", "seen6"):
        said = json.loads(wire.on("gateway", "nft", "-j", "list", "set", "inet", TABLE, name))
        for element in said["nftables"][1]["set"].get("elem", []):
            found.append(tuple(element["elem"]["val"]["concat"]))
    lines = re.findall("counter packets ([0-9]+)", wire.rules())
    assert sum(map(int, lines)) == len(found), "one line each"
    return found


def line(address, port):
    middle = "SRC=%s DST=%s " % (address, GATEWAY4)
    return "%s mx1 kernel: %s" % (time.strftime("%b %e %H:%M:%S"),
                                  BEGIN + MAC + middle + (TAIL6 if ":" in address else TAIL4) % port)


class Journal:
    """Gives fail2ban the line of what was logged, once each."""

    def __init__(self, wire, path):
        self.wire = wire
        self.path = Path(path)
        self.path.touch()
        self.told = set()

    def follow(self):
        with open(self.path, "a", encoding="ascii") as log:
            for element in logged(self.wire):
                if element not in self.told:
                    self.told.add(element)
                    log.write(line(*element) + "\n")


def server(wire, tmp_path, more=""):
    jails = """
[banmesh-portprobe]
enabled = true
backend = auto
logpath = %s
action = banmesh-nftables
         banmesh-portprobe[rules="%s"]
%s
""" % (tmp_path / "kern.log", RULES, more)
    return GatewayServer(wire, str(tmp_path / "f2b"), jails, shared=False,
                         tables=("banmesh-banmesh-portprobe", TABLE))


def test_a_scan_of_both_families_is_banned(wire, tmp_path):
    journal = Journal(wire, tmp_path / "kern.log")
    with server(wire, tmp_path) as f2b:
        # What a mail program may ask for is not enough, however often.
        for _ in range(3):
            knock(wire, "attacker", GATEWAY4, 25, 80, 110, 143, 443, 465, 587, 993, 995)
        journal.follow()
        f2b.wait_log("Found " + ATTACKER4)
        wait_until(lambda: f2b.log_text().count("Found " + ATTACKER4) == 9, f2b.log_text)
        assert f2b.banned("banmesh-portprobe") == [] and wire.passes(GATEWAY4)
        knock(wire, "attacker", GATEWAY4, 23)
        knock(wire, "attacker", GATEWAY6, *range(1, 21))
        journal.follow()
        f2b.wait_banned("banmesh-portprobe", [ATTACKER4, ATTACKER6])
        wire.everywhere(False)
        # Who is banned is not logged any more.
        before = sorted(logged(wire))
        knock(wire, "attacker", GATEWAY4, 3000)
        assert sorted(logged(wire)) == before
        assert "ERROR" not in f2b.log_text(), f2b.log_text()
    assert wire.rules().strip() == "", "nothing is left"


def test_one_line_for_a_port(wire):
    load(wire)
    for _ in range(5):
        knock(wire, "attacker", GATEWAY4, 23, 23, 2323)
        knock(wire, "attacker", GATEWAY6, 23)
    assert sorted(logged(wire)) == [(ATTACKER4, 23), (ATTACKER4, 2323), (ATTACKER6, 23)]


# A service that ends each connection first, so that it keeps the pair of ports in TIME_WAIT.
SERVICE = """
import socket
listener = socket.create_server(("%s", 7))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.close()
"""

# The same pair of ports again, which meets the old connection and not the listener.
AGAIN = """
import socket
for _ in range(5):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("%s", 40000))
    s.connect(("%s", 7))
    assert s.recv(1) == b""
    s.close()
"""

# What arrives late: no SYN, or one with an answer in it.
LATE = """
import socket, struct
def total(data):
    value = sum(struct.unpack("!%%dH" %% (len(data) // 2), data))
    while value >> 16: value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff
here, there = "%s", "%s"
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.bind((here, 0))
for flags in (0x10, 0x11, 0x04, 0x14, 0x12, 0x18, 0x00, 0x29):
    tcp = struct.pack("!HHIIBBHHH", 41000, 23, 1, 1, 0x50, flags, 1024, 0, 0)
    pseudo = socket.inet_aton(here) + socket.inet_aton(there) + struct.pack("!BBH", 0, 6, len(tcp))
    s.sendto(tcp[:16] + struct.pack("!H", total(pseudo + tcp)) + tcp[18:], (there, 0))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b"x", (there, 23))
"""


def test_what_is_no_probe(wire):
    load(wire)
    service = subprocess.Popen(["ip", "netns", "exec", wire.name("gateway"), "/usr/bin/python3", "-c",
                                SERVICE % GATEWAY4], stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout.readline() == "ready\n"
        knock(wire, "attacker", GATEWAY4, 7, 7, 7)
        wire.on("attacker", "/usr/bin/python3", "-c", AGAIN % (ATTACKER4, GATEWAY4))
        assert "TIME-WAIT" in wire.on("gateway", "ss", "-tan")
    finally:
        service.kill()
        service.communicate()
    wire.on("attacker", "/usr/bin/python3", "-c", LATE % (ATTACKER4, GATEWAY4))
    knock(wire, "attacker", GATEWAY4, 32768, 40000, 65535)
    knock(wire, "attacker", INNER4, 21, 22, 23)
    knock(wire, "gateway", GATEWAY4, 21, 22, 23)
    knock(wire, "gateway", "127.0.0.1", 21, 22, 23)
    # Our own connections and what answers to them.
    knock(wire, "gateway", ATTACKER4, 21, 22, 23)
    assert logged(wire) == []
    # All that was looked at by the same rules as this, which is one:
    knock(wire, "attacker", GATEWAY4, 7)
    assert logged(wire) == [(ATTACKER4, 7)]


def test_a_flood_is_bounded(wire):
    load(wire)
    began = time.monotonic()
    knock(wire, "attacker", GATEWAY4, *range(1, 2001))
    assert 50 <= len(logged(wire)) <= 50 + 10 * (time.monotonic() - began + 1)


def test_to_load_the_rules_twice_is_harmless(wire):
    load(wire)
    once = wire.rules()
    load(wire)
    assert wire.rules() == once


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
def test_the_filter_reads_the_kernels_lines(sample, tmp_path):
    text, address = SAMPLES[sample]
    log = tmp_path / "kern.log"
    for date in ("Dec  1 03:38:01 ", "2026-12-01T03:38:01.123456+00:00 "):
        log.write_text(date + text + "\n", encoding="ascii")
        said = subprocess.run([*tool("regex"), "-o", "ip", str(log),
                               str(OURS / "filter.d" / "banmesh-portprobe.conf")],
                              stdout=subprocess.PIPE, text=True, check=False, timeout=60).stdout
        assert re.findall(r"^[0-9a-f.:]+$", said, re.MULTILINE) == ([address] if address else []), said
