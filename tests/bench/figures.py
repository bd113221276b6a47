"""The figures: what is measured, beside which raw limit. `run` calls and prints them."""

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import time

from mesh import BIN, TIMEOUT, Mesh, program, public_addresses, wait_until
from recorder import Recorder
from store import Store, add_aggregator, make_country_db

HEARTBEAT_MS = 1000
OUTSTANDING = 1024  # two groups: while one is committed, the next is on its way
FULL_BATCH = 512
NEWCOMER_MAX_S = 600
SETTLED_MAX_S = 300
HEADS_TOLD_S = 10  # changed heads are told six heartbeats long
HEAD_BYTES = 200  # of an envelope, and some
PEERS = 10
PACKED_BAN_BYTES = 25  # an address with its prefix (17) and the time of its end (8)
COUNTRIES = ["BR", "CN", "DE", "FR", "GB", "HK", "ID", "IN", "KR", "NL", "RU", "SG", "US", "VN"]
# Off, for the nodes of a benchmark: as high as the settings go.
RATE_OFF = {"guard": {"rate": 0, "max-active": 100000000}, "shared": {"pace": 0}}
RATE_OFF_TEXT = "guard / rate and shared / pace off"


# ---- helpers ----

def helper_path(name):
    return os.path.join(BIN, "tests", "bench", name)


def helper(name, *argv):
    """Run a helper; returns its numbers by name."""
    done = subprocess.run([helper_path(name)] + [str(arg) for arg in argv], check=True,
                          stdout=subprocess.PIPE, text=True)
    return {key: float(value) for key, value in (line.split() for line in done.stdout.splitlines())}


@contextlib.contextmanager
def running(directory, names, settings=None):
    """A mesh of those nodes, started and connected; stopped in any case."""
    os.makedirs(directory)
    mesh = Mesh(directory, names, heartbeat=HEARTBEAT_MS, extra=settings)
    try:
        yield mesh.start()
    finally:
        mesh.stop()


def memory_bytes(pid):
    """RSS and PSS of a process."""
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as text:
        values = dict(line.split(":", 1) for line in text if line.startswith(("Rss", "Pss:")))
    return tuple(int(values[name].split()[0]) * 1024 for name in ("Rss", "Pss"))


def ms(ns):
    return "%.3f ms" % (ns / 1e6)


def rate(per_second):
    return "{:,.0f} /s".format(per_second)


def mib(count):
    return "%.1f MiB" % (count / 1024 / 1024)


class Figure:
    """One figure: what was measured, its raw limit, and how they compare."""

    def __init__(self, title, feeder, settings, columns=("",)):
        self.title = title
        self.feeder = feeder
        self.settings = settings
        self.columns = columns
        self.rows = []
        self.values = {}
        self.ratios = []

    def row(self, label, *cells):
        self.rows.append((label,) + cells)

    def times(self, label, values, name):
        """A row of percentiles."""
        self.row(label, ms(values[name + ".p50"]), ms(values[name + ".p99"]))

    def ratio(self, what, value, goal=None, form="{:.2f} x", met=None):
        """One comparison; goal: in words; met: whether it is reached."""
        self.ratios.append({"what": what, "value": value, "goal": goal, "met": met,
                            "text": form.format(value)})

    def show(self):
        print("\n%s" % self.title)
        print("  feeder    %s\n  settings  %s" % (self.feeder, self.settings))
        if any(self.columns):
            print("  %-54s" % "" + "".join("%16s" % column for column in self.columns))
        for label, *cells in self.rows:
            print("  %-54s" % label + "".join("%16s" % cell for cell in cells))
        for ratio in self.ratios:
            goal = "" if ratio["goal"] is None else "   goal %s: %s" % (
                ratio["goal"], "met" if ratio["met"] else "not met")
            word = "ratio" if ratio["text"].endswith(" x") else "figure"
            print("  %-9s %-44s%16s%s" % (word, ratio["what"], ratio["text"], goal), flush=True)


# ---- the figures ----

def measure_hook(directory, counts):
    """From the start of the hook's process to its exit status 0: the ban is on disk."""
    figure = Figure("hook: process start to durable exit 0",
                    "%d x posix_spawn and wait, each alone, after a warm-up" % counts["hook"],
                    "one node, no peers; spool never used", ("p50", "p99"))
    with running(os.path.join(directory, "hook"), ["a"], RATE_OFF) as mesh:
        node = mesh.nodes[0]
        got = helper("bench_ban", counts["hook"], directory, helper_path("bench_empty"),
                     program("banmesh-publish"), node.socket, node.spool)
        assert node.status()["intake"]["stored"] >= counts["hook"], node.status()
    figure.values = got
    figure.times("hook", got, "hook")
    figure.times("raw: an empty static process", got, "process")
    figure.times("raw: one SQLite WAL commit, synchronous=FULL", got, "commit-full")
    figure.times("raw: both, in the same round", got, "sum")
    ratio = got["hook.p50"] / got["sum.p50"]
    figure.ratio("hook / both, p50", ratio, "<= 2", met=ratio <= 2)
    figure.ratio("hook / both, p99", got["hook.p99"] / got["sum.p99"])
    return figure


def measure_latency(directory, counts):
    """From the start of the hook on A to the line in B's shared log, synced; each ban alone."""
    figure = Figure("latency: ban on A (start of the hook) to the line in B's shared log, synced",
                    "%d x the hook, each alone, after a warm-up" % counts["latency"],
                    "two nodes on loopback, " + RATE_OFF_TEXT, ("p50", "p99"))
    directory = os.path.join(directory, "latency")
    with running(directory, ["a", "b"], RATE_OFF) as mesh:
        a, b = mesh.nodes
        got = helper("bench_ban", counts["latency"], directory, helper_path("bench_empty"),
                     program("banmesh-publish"), a.socket, a.spool, b.shared_log)
    figure.values = got
    for label, name in (("the hook has exited 0: on disk on A", "hook"),
                        ("the line can be read on B (inotify)", "visible"),
                        ("the line is synced (an fdatasync of ours returned)", "synced"),
                        ("raw: an empty static process", "process"),
                        ("raw: commit FULL", "commit-full"),
                        ("raw: Ed25519 sign", "sign"),
                        ("raw: CURVE PUB/SUB, 250 bytes, one way", "curve"),
                        ("raw: Ed25519 verify", "verify"),
                        ("raw: commit NORMAL (twice in the sum)", "commit-normal"),
                        ("raw: write + fdatasync of a line", "line"),
                        ("raw: sum of all, in the same round", "sum")):
        figure.times(label, got, name)
    ratio = got["synced.p50"] / got["sum.p50"]
    figure.ratio("synced p50 / sum p50", ratio, "<= 2", met=ratio <= 2)
    ratio = got["synced.p99"] / got["sum.p50"]
    figure.ratio("synced p99 / sum p50", ratio, "<= 10", met=ratio <= 10)
    figure.ratio("synced p99 / sum p99", got["synced.p99"] / got["sum.p99"])
    return figure


def feed(a, b, count):
    """Stream bans into a, and see that b has a line of each; returns the helper's numbers."""
    before = len(b.lines())
    got = helper("bench_stream", count, OUTSTANDING, a.socket, b.shared_log)
    addresses = b.reported()[before:]
    assert len(addresses) == len(set(addresses)) == count, "not one line a ban on " + b.name
    return got


def measure_stream(directory, counts):
    """Bans a second, streamed into A's intake, until A has them on disk and B in its log."""
    count = counts["stream"]
    figure = Figure("stream: A -> B sustained",
                    "{:,} distinct bans, one connection, {} outstanding".format(count, OUTSTANDING),
                    "two nodes on loopback, " + RATE_OFF_TEXT)
    directory = os.path.join(directory, "stream")
    with running(directory, ["a", "b"], RATE_OFF) as mesh:
        a, b = mesh.nodes
        got = feed(a, b, count)
        sent = a.status()["mesh"]["messages"]
    raw = helper("bench_raw", "curve", counts["curve"])
    raw.update(helper("bench_raw", "intake", counts["curve"], OUTSTANDING))
    raw.update(helper("bench_raw", "rows", counts["rows"], directory))
    acknowledged = count / got["acknowledged"] * 1e9
    reached = count / got["reached"] * 1e9
    figure.values = {"acknowledged": acknowledged, "reached": reached,
                     "batches": sent["announced"], "replayed": sent["batches_replayed"], **raw}
    figure.row("acknowledged by A: on disk there", rate(acknowledged))
    figure.row("in B's shared log, the last one synced", rate(reached))
    figure.row("bans a batch", "%.0f" % (count / sent["announced"]))
    figure.row("batches that B fetched, as its queue was full",
               "%d of %d" % (sent["batches_replayed"], sent["announced"]))
    figure.row("raw: CURVE PUB/SUB, messages of 200 bytes", rate(raw["curve"]))
    figure.row("raw: intake socket, requests and their answers", rate(raw["intake"]))
    figure.row("raw: SQLite rows, ascending key, 512 a commit", rate(raw["ascending"]))
    figure.row("raw: SQLite rows, random 16-byte key, 512 a commit", rate(raw["random"]))
    figure.ratio("in B's shared log / CURVE messages", reached / raw["curve"])
    figure.ratio("bans a second in B's shared log", reached, ">= 100,000 /s", "{:,.0f} /s",
                 reached >= 100000)
    return figure


def rewind(aggregator, endpoint):
    """Start it with an empty store, so that it sends all that its replica has."""
    aggregator.write_settings({"store": {"endpoints": endpoint}})
    aggregator.start()


def fill_replica(mesh, aggregator, directory, count):
    """Give an aggregator bans to keep; then stop the node that they came from."""
    node = mesh.nodes[0]
    with Store(directory, "fill") as store:
        aggregator.write_settings({"store": {"endpoints": store.endpoint}})
        mesh.start()
        helper("bench_stream", count, OUTSTANDING, node.socket)
        wait_until(lambda: store.count("sshd") == count, aggregator.output)
        aggregator.stop()
        node.stop()


def record_requests(aggregator, directory, count):
    """Everything that it sends to an empty store, in a file; returns its path."""
    path = os.path.join(directory, "requests")
    with Store(directory, "record") as store, \
            Recorder(os.path.join(directory, "between"), store.socket, path) as between:
        rewind(aggregator, between.endpoint)
        wait_until(lambda: store.count("sshd") == count, aggregator.output)
        aggregator.stop()
    return path


def wait_stored(client, count, aggregator):
    """Until the store has at least so many attempts; returns how many it has, and when."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        stored = client.call("SCARD", "f2b:sshd")
        if stored >= count:
            return stored, time.monotonic()
        assert time.monotonic() < deadline, aggregator.output()
        time.sleep(0.001)


def time_replay(aggregator, directory, count):
    """Attempts a second into an empty store, from the first that is seen there to the last."""
    with Store(directory, "replay") as store:
        client = store.client()
        rewind(aggregator, store.endpoint)
        first, start = wait_stored(client, 1, aggregator)
        last, end = wait_stored(client, count, aggregator)
        aggregator.stop()
        client.close()
    return (last - first) / (end - start)


def time_raw(directory, kind, path, count):
    """The recorded requests into an empty store; attempts a second."""
    with Store(directory, "raw") as store:
        got = helper("bench_store", kind, store.socket, path)
        assert store.count("sshd") == count
    return count / got["ns"] * 1e9, got


def measure_store(directory, counts):
    """Attempts a second from a filled replica into an empty store."""
    count = counts["store"]
    rounds = counts["store_rounds"]
    figure = Figure("store: aggregator, from a filled replica into an empty store",
                    "{:,} distinct bans in the replica; median of {}".format(count, rounds),
                    "redis-server on a Unix socket, nothing kept on disk; country database; UTC")
    directory = os.path.join(directory, "store")
    os.makedirs(directory)
    mesh = Mesh(directory, ["a"], heartbeat=HEARTBEAT_MS, extra=RATE_OFF)
    networks = {"26.%d.%d.0/20" % (i // 16, i % 16 * 16): COUNTRIES[i % len(COUNTRIES)]
                for i in range(count // 4096 + 1)}
    country = make_country_db(os.path.join(directory, "country.mmdb"), networks)
    aggregator = add_aggregator(mesh, [], country)
    got = {"replay": [], "blocks": [], "all": []}
    try:
        fill_replica(mesh, aggregator, directory, count)
        path = record_requests(aggregator, directory, count)
        for _ in range(rounds):
            got["replay"].append(time_replay(aggregator, directory, count))
            for kind in ("blocks", "all"):
                per_second, raw = time_raw(directory, kind, path, count)
                got[kind].append(per_second)
    finally:
        mesh.stop()
    values = {name: statistics.median(list_of) for name, list_of in got.items()}
    figure.values = {**values, "transactions": raw["transactions"], "commands": raw["commands"]}
    figure.row("aggregator", rate(values["replay"]))
    figure.row("attempts a MULTI block", "%.0f" % (count / raw["transactions"]))
    figure.row("commands an attempt, those that look up included",
               "%.2f" % (raw["commands"] / count))
    figure.row("raw: the same MULTI blocks, hiredis, 4 on the way", rate(values["blocks"]))
    figure.row("raw: and what is looked up before each", rate(values["all"]))
    ratio = values["replay"] / values["blocks"]
    figure.ratio("aggregator / the same MULTI blocks", ratio, ">= 0.80", met=ratio >= 0.8)
    figure.ratio("aggregator / all it sends", values["replay"] / values["all"])
    return figure


def measure_idle_memory(figure, directory, counts):
    """RSS and PSS of a node with its peers connected, beside one that has none."""
    with running(os.path.join(directory, "alone"), ["a"]) as mesh:
        time.sleep(counts["rest_s"])
        alone, _ = memory_bytes(mesh.nodes[0].process.pid)
    names = ["n%d" % i for i in range(PEERS + 1)]
    with running(os.path.join(directory, "idle"), names) as mesh:
        time.sleep(counts["rest_s"])
        idle, shared = memory_bytes(mesh.nodes[0].process.pid)
    figure.values.update(alone_rss=alone, idle_rss=idle, idle_pss=shared)
    figure.row("node with %d peers, idle: RSS" % PEERS, mib(idle))
    figure.row("node with %d peers, idle: PSS (%d nodes here)" % (PEERS, PEERS + 1), mib(shared))
    figure.row("raw: the same without peers: RSS", mib(alone))
    figure.ratio("with %d peers / without" % PEERS, idle / alone)
    figure.ratio("idle RSS", idle / 1024 / 1024, "<= 12 MiB", "{:.1f} MiB",
                 idle <= 12 * 1024 * 1024)


def rss_with_bans(directory, count, rest_s):
    """Of a node that holds so many bans of another one."""
    os.makedirs(directory)
    with running(os.path.join(directory, "mesh"), ["a", "b"], RATE_OFF) as mesh:
        a, b = mesh.nodes
        feed(a, b, count)
        assert b.status()["held"] == count, b.status()
        time.sleep(rest_s)
        return memory_bytes(b.process.pid)[0]


def measure_memory(directory, counts):
    """Memory of an idle node, and what each active ban adds."""
    count = counts["memory"]
    figure = Figure("memory", "idle: nothing, %d s; bans: %s more, streamed from A, held by B" %
                    (counts["rest_s"], "{:,}".format(count)),
                    "%d nodes on loopback; bans: two nodes, %s" % (PEERS + 1, RATE_OFF_TEXT))
    directory = os.path.join(directory, "memory")
    os.makedirs(directory)
    measure_idle_memory(figure, directory, counts)
    few = count // 4
    before = rss_with_bans(os.path.join(directory, "few"), few, counts["rest_s"])
    after = rss_with_bans(os.path.join(directory, "many"), few + count, counts["rest_s"])
    each = (after - before) / count
    figure.values.update(before_rss=before, after_rss=after, ban_bytes=each)
    figure.row("B with {:,} held, buffers full: RSS".format(few), mib(before))
    figure.row("B with {:,} held: RSS".format(few + count), mib(after))
    figure.row("growth a ban", "%.0f bytes" % each)
    figure.row("raw: address, prefix and end of a ban, packed", "%d bytes" % PACKED_BAN_BYTES)
    figure.ratio("a ban / packed", each / PACKED_BAN_BYTES)
    figure.ratio("a held ban", each, "<= 96 bytes", "{:.0f} bytes", each <= 96)
    return figure


def make_hub(directory, count):
    """A relaying hub, and nodes around it that nobody connects to: they offer."""
    os.makedirs(directory)
    mesh = Mesh(directory, heartbeat=HEARTBEAT_MS, extra=RATE_OFF)
    mesh.add("hub", settings={"mesh": {"relay": 1}})
    for i in range(count - 1):
        mesh.add("s%d" % i, endpoint=False,
                 settings={"mesh": {"offer": 1, "listen": "", "replay": ""}})
    return mesh


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def time_everywhere(node, others, address):
    """ns from the start of the hook to a line in the log of each other node."""
    sizes = {other.shared_log: size_of(other.shared_log) for other in others}
    start = time.monotonic_ns()
    node.publish(address)
    while sizes:
        for path in [path for path, size in sizes.items() if size_of(path) > size]:
            del sizes[path]
        assert time.monotonic_ns() - start < TIMEOUT * 1e9, "not everywhere: %s" % sizes
    return time.monotonic_ns() - start


def measure_hub(directory, counts):
    """One ban on every node of a large mesh on one machine."""
    count = counts["hub_nodes"]
    cores = os.cpu_count()
    figure = Figure("hub: ban on one of %d nodes (start of the hook) to a line on every other"
                    % count, "%d x the hook, each alone" % counts["hub"],
                    "one hub with relay = 1, %d nodes with offer = 1, all on this machine"
                    % (count - 1))
    directory = os.path.join(directory, "hub")
    with running(os.path.join(directory, "parts"), ["a", "b"], RATE_OFF) as pair:
        a, b = pair.nodes
        got = helper("bench_ban", counts["hub"], directory, helper_path("bench_empty"),
                     program("banmesh-publish"), a.socket, a.spool, b.shared_log)
    mesh = make_hub(os.path.join(directory, "mesh"), count)
    try:
        for node in mesh.nodes:
            node.start(wait=False)
        hub, first, *others = mesh.nodes
        for node in mesh.nodes:
            node.wait_started()
        wait_until(lambda: sum(peer["connected"] for peer in hub.peers().values()) == count - 1,
                   "all offer to the hub")
        for node in mesh.nodes[1:]:
            node.wait_connected(["hub"])
        times = [time_everywhere(first, [hub] + others, address)
                 for address in public_addresses(counts["hub"], counts["hub"])]
        rss = memory_bytes(hub.process.pid)[0]
    finally:
        mesh.stop()
    times.sort()
    median = statistics.median(times)
    # Each node must decrypt, verify, store, apply and sync, on the cores that there are.
    work = sum(got[name + ".p50"] for name in ("curve", "verify", "line"))
    work = (work + 2 * got["commit-normal.p50"]) * (count - 1) / cores
    figure.values = {"p50": median, "max": times[-1], "raw": work, "hub_rss": rss}
    figure.row("everywhere, p50", ms(median))
    figure.row("everywhere, slowest", ms(times[-1]))
    figure.row("raw: decrypt, verify, 2 commits, line; x %d, %d cores" % (count - 1, cores),
               ms(work))
    figure.row("the hub: RSS", mib(rss))
    figure.ratio("everywhere p50 / raw", median / work)
    if count == 200:
        figure.ratio("everywhere p50", median / 1e6, "<= 150 ms", "{:.0f} ms", median <= 150e6)
    return figure


# ---- the daemon from outside ----

def ask_status(node):
    """As `banmesh status --json`, without a process of its own for each look."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(node.admin)
        client.sendall(b"status\n")
        with client.makefile("rb") as answer:
            return json.loads(answer.read())


def memory_peak(pid):
    """The largest RSS that a process ever had."""
    with open("/proc/%d/status" % pid, encoding="ascii") as text:
        return next(int(line.split()[1]) * 1024 for line in text if line.startswith("VmHWM:"))


def cpu_s(pid):
    """Seconds of processor time that a process has used."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as text:
        fields = text.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def link_bytes(pid):
    """What a process has sent and received over all its TCP connections, and how many there are."""
    shown = subprocess.run(["ss", "-tinpOH", "state", "established"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout
    mine = [line for line in shown.splitlines() if "pid=%d," % pid in line]

    def total(name):
        return sum(int(number) for line in mine
                   for number in re.findall(r"\b%s:(\d+)" % name, line))
    return total("bytes_sent"), total("bytes_received"), len(mine)


# ---- an idle node ----

def fill_epochs(node, epochs):
    """What a node leaves behind that was started so often, and banned once each time."""
    for _ in range(epochs):
        helper("bench_fill", node.secret, os.path.join(node.dir, "state"), 1, 1)


def make_star(directory, peers, epochs):
    """All trust each other and know all feeds, but connections are only those of the first node:
    its own share of a full mesh, without the others' shares on the same machine."""
    os.makedirs(directory)
    names = ["p%d" % i for i in range(peers)]
    mesh = Mesh(directory, ["m"] + names, heartbeat=HEARTBEAT_MS,
                links=[("m", name) for name in names])
    for node in mesh.nodes[1:]:
        fill_epochs(node, epochs)
    return mesh


def wait_settled(mesh, feeds):
    """All know all feeds and miss nothing, and nobody has news to pass on any more."""
    def knows_all(node):
        mesh_status = ask_status(node)["mesh"]
        return len(mesh_status["feeds"]) == feeds and mesh_status["missing_batches"] == 0
    for node in mesh.nodes:
        node.wait_connected()
        wait_until(lambda node=node: knows_all(node), node.name + " has all feeds", SETTLED_MAX_S)
    time.sleep(HEADS_TOLD_S)


def time_idle(directory, peers, counts):
    """Of a node that has nothing to do: the share of a core, and bytes a second and link."""
    mesh = make_star(directory, peers, counts["idle_epochs"])
    try:
        for node in mesh.nodes:
            node.start(wait=False)
        for node in mesh.nodes:
            node.wait_started()
        wait_settled(mesh, peers * counts["idle_epochs"])
        pid = mesh.nodes[0].process.pid
        start, used, before = time.monotonic(), cpu_s(pid), link_bytes(pid)
        time.sleep(counts["idle_s"])
        after, used, took = link_bytes(pid), cpu_s(pid) - used, time.monotonic() - start
    finally:
        mesh.stop()
    assert before[2] == after[2], "connections came or went: %s, %s" % (before, after)
    out, into = ((after[i] - before[i]) / took / peers for i in range(2))
    return {"cpu": used / took, "out": out, "in": into, "connections": after[2]}


def measure_idle(directory, counts):
    """What it costs to be there, by the number of peers."""
    peers = counts["idle_peers"]
    epochs = counts["idle_epochs"]
    figure = Figure("idle: a node with nothing to do", "nothing, for %d s" % counts["idle_s"],
                    "each peer with %d older epochs, heartbeat %d ms; this node connected to all,"
                    " they to it alone" % (epochs, HEARTBEAT_MS),
                    ["%d peers" % count for count in peers])
    directory = os.path.join(directory, "rest")
    os.makedirs(directory)
    got = [time_idle(os.path.join(directory, str(count)), count, counts) for count in peers]
    raw = helper("bench_raw", "curve", counts["curve"])
    raw.update(helper("bench_raw", "verify", counts["verify"], HEAD_BYTES))
    each = 1 / raw["curve"] + 1 / raw["verify-one"]  # s of a core, for a heartbeat
    figure.values = {"raw": each, **{"%d.%s" % (count, name): value
                                     for count, values in zip(peers, got)
                                     for name, value in values.items()}}

    def percent(share):
        return "%.3f %%" % (share * 100)
    figure.row("of a core", *(percent(one["cpu"]) for one in got))
    figure.row("of a core, a peer", *(percent(one["cpu"] / count)
                                      for count, one in zip(peers, got)))
    figure.row("bytes a second and peer, out", *("%.0f" % one["out"] for one in got))
    figure.row("bytes a second and peer, in", *("%.0f" % one["in"] for one in got))
    figure.row("raw: decrypt and verify a heartbeat of each",
               *(percent(each * count) for count in peers))
    for count, one in zip(peers, got):
        figure.ratio("%d peers / raw" % count, one["cpu"] / (each * count))
    for count, one in zip(peers, got):
        if count == PEERS:
            figure.ratio("%d peers" % count, one["cpu"] * 100, "<= 0.2 % of a core", "{:.3f} %",
                         one["cpu"] <= 0.002)
    if len(peers) > 1:
        growth = (got[-1]["cpu"] / peers[-1]) / (got[0]["cpu"] / peers[0])
        figure.ratio("a peer of %d / a peer of %d" % (peers[-1], peers[0]), growth,
                     "<= 1.5", met=growth <= 1.5)
    return figure


# ---- a newcomer ----

def wait_feed(node, start, reached):
    """Until its only feed of others is so far; returns the seconds since start."""
    while True:
        feeds = ask_status(node)["mesh"]["feeds"]
        if feeds and feeds[0]["head"] > 0 and reached(feeds[0]):
            return time.monotonic() - start
        assert node.process.running(), node.output()
        assert time.monotonic() - start < NEWCOMER_MAX_S, feeds
        time.sleep(0.05)


def time_newcomer(directory, count, per_batch):
    """Start a node beside one that has bans; how long until it has, and has decided on, all."""
    os.makedirs(directory)
    mesh = Mesh(directory, ["a", "b"], heartbeat=HEARTBEAT_MS, extra=RATE_OFF)
    a, b = mesh.nodes
    got = helper("bench_fill", a.secret, os.path.join(a.dir, "state"), count, per_batch)
    try:
        a.start()
        start = time.monotonic()
        b.start()
        got["first"] = wait_feed(b, start, lambda feed: feed["have"] > 0)
        got["replica"] = wait_feed(b, start, lambda feed: feed["have"] == feed["head"])
        got["peak"] = memory_peak(b.process.pid)
        got["cpu-a"], got["cpu-b"] = cpu_s(a.process.pid), cpu_s(b.process.pid)
        got["applied"] = wait_feed(b, start, lambda feed: feed["applied"] == feed["head"])
        got["peak-applied"] = memory_peak(b.process.pid)
        held = ask_status(b)["held"]
        assert held == count, "%d of %d bans held" % (held, count)
        return got
    finally:
        mesh.stop()


def measure_newcomer(directory, counts):
    """Seconds until a new node has all active bans of another one, and has decided on them."""
    count = counts["newcomer"]
    figure = Figure("newcomer: a node with an empty replica joins one that has {:,} active bans"
                    .format(count), "own.db of the first node written by bench_fill beforehand",
                    "two nodes on loopback, " + RATE_OFF_TEXT, ("in bulk", "alone"))
    directory = os.path.join(directory, "newcomer")
    os.makedirs(directory)
    values = {}
    for name, per_batch in (("bulk", FULL_BATCH), ("alone", 1)):
        got = time_newcomer(os.path.join(directory, name), count, per_batch)
        got.update(helper("bench_raw", "verify", max(1000, counts["verify"] // per_batch),
                          int(got["bytes"] / got["batches"])))
        values.update({"%s.%s" % (name, key): value for key, value in got.items()})
    values.update(helper("bench_raw", "rows", counts["rows"], directory))
    figure.values = values

    def row(label, form, value):
        figure.row(label, *(form(value(name)) for name in ("bulk", "alone")))

    def each(key):
        return lambda name: values[name + "." + key]

    seconds = "{:.1f} s".format
    row("batches", "{:,.0f}".format, each("batches"))
    row("from its start to the first batch in its replica", seconds, each("first"))
    row("to all of them: missing 0, have = head", seconds, each("replica"))
    row("  of the newcomer's processor, till then", seconds, each("cpu-b"))
    row("  of the other node's", seconds, each("cpu-a"))
    row("  RSS of the newcomer, at most", mib, each("peak"))
    row("to all decided on, in the shared log, held", seconds, each("applied"))
    row("  RSS of the newcomer, at most", mib, each("peak-applied"))
    row("raw: Ed25519 verify of such batches, one core", rate, each("verify-one"))
    row("raw: the same, all cores", rate, each("verify-all"))
    row("raw: all their signatures, all cores", seconds,
        lambda name: values[name + ".batches"] / values[name + ".verify-all"])
    figure.row("raw: SQLite rows, ascending key, 512 a commit", rate(values["ascending"]),
               rate(values["ascending"]))
    for name, goal in (("bulk", 10), ("alone", 60)):
        first, last = values[name + ".first"], values[name + ".replica"]
        if last - first < 0.5 and count < 1000000:
            continue  # too quick to have a rate
        at_million = first + (last - first) * 1000000 / count
        figure.ratio("%s: replica of 1,000,000%s" % (name, "" if count == 1000000 else
                                                     ", at this rate"),
                     at_million, "<= %d s" % goal, "{:.1f} s", at_million <= goal)
    figure.ratio("alone: replica / all signatures on all cores",
                 values["alone.replica"] * values["alone.verify-all"] / values["alone.batches"])
    return figure


FIGURES = {"hook": measure_hook, "latency": measure_latency, "stream": measure_stream,
           "store": measure_store, "memory": measure_memory, "idle": measure_idle,
           "hub": measure_hub, "newcomer": measure_newcomer}
