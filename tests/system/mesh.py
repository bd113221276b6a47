"""A real mesh on loopback: keys, settings and processes of several nodes in one directory.

Used by the system tests, by the demonstration and by the benchmark; needs no pytest. Everything
lives below the directory that it is given, and every process is ended by its id.
"""

import json
import os
import random
import signal
import socket
import subprocess
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BANMESH_BIN", os.path.join(ROOT, "build", "release"))
HEAD = ": lines of before follow\n"  # of a shared log whose first lines are those of an earlier file
TIMEOUT = 60  # s; generous: machines are shared. Only a failing test waits that long.


def program(name):
    return os.path.join(BIN, name)


def wait_until(condition, what, timeout=TIMEOUT):
    """Wait for a condition; returns its first true value, or raises AssertionError(what)."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("timed out: " + (what() if callable(what) else what))
        time.sleep(0.01)


PORTS_GIVEN = set()
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
PORTS_A_WORKER = 1000  # tests that run beside each other must not be given one port


def free_port():
    """A TCP port that nobody has, below the range that the kernel hands out by itself; never the
    same one twice."""
    first = 20000 + WORKER % 12 * PORTS_A_WORKER
    while True:
        port = random.SystemRandom().randrange(first, first + PORTS_A_WORKER)
        if port in PORTS_GIVEN:
            continue
        PORTS_GIVEN.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def public_addresses(count, seed):
    """Distinct addresses that are ordinary global unicast, by a seed."""
    generator = random.Random(seed)
    found = set()
    while len(found) < count:
        first = generator.choice([45, 62, 80, 91, 103, 141, 185, 193, 212])
        rest = [generator.randrange(1, 255) for _ in range(3)]
        if (first, rest[0]) not in ((192, 0), (193, 0)) and (first, rest[0], rest[1]) != (192, 88, 99):
            found.add("%d.%d.%d.%d" % (first, *rest))
    return sorted(found)


def spool_record(ip, when):
    """As a hook writes it."""
    request = b"ban jail=sshd ip=%s time=%.3f bantime=3600 failures=0 bancount=0 port= protocol=" % (
        ip.encode(), when)
    return request + b" crc=%08x\n" % zlib.crc32(request)


class Process:
    """A program in the foreground, its output in a file."""

    def __init__(self, argv, log, env=None):
        self.log = log
        self.file = open(log, "ab")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.file,
                                        stderr=self.file, env=env)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def end(self, number=signal.SIGTERM):
        """Send a signal and wait; returns the exit status. Harmless if it has ended."""
        if self.running():
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)  # a test may have stopped it
        status = self.process.wait(TIMEOUT)
        self.file.close()
        return status


class Node:
    """One banmeshd (or another program with the same settings)."""

    def __init__(self, mesh, name, settings=None, daemon="banmeshd", endpoint=True,
                 host="127.0.0.1"):
        self.mesh = mesh
        self.name = name
        self.daemon = daemon
        self.was_torn = False  # its power failed: a line may have been cut short
        self.prefix = []  # of the command line: in which namespace, under which tracer
        self.dir = os.path.join(mesh.dir, name)
        for folder in ("state", "spool", "log"):
            os.makedirs(os.path.join(self.dir, folder), exist_ok=True)
        self.listen = "tcp://%s:%d" % (host, free_port())
        self.replay = "tcp://%s:%d" % (host, free_port())
        self.conf = os.path.join(self.dir, "node.conf")
        self.socket = os.path.join(self.dir, "publish.sock")
        self.admin = os.path.join(self.dir, "admin.sock")
        self.spool = os.path.join(self.dir, "spool")
        self.shared_log = os.path.join(self.dir, "log", "shared.log")
        self.allowed_file = os.path.join(self.dir, "allowed")
        self.log = os.path.join(self.dir, "daemon.log")
        self.env = {}  # what start () adds to the environment
        self.process = None
        keygen = [program("banmesh"), "keygen", name, "--dir", self.dir]
        if endpoint:
            keygen += ["--endpoint", self.listen, "--replay", self.replay]
        subprocess.run(keygen, check=True, stdout=subprocess.DEVNULL)
        self.cert = os.path.join(self.dir, name + ".cert")
        self.secret = self.cert + "_secret"
        self.settings = settings or {}
        self.write_settings()

    def write_settings(self, extra=None):
        """Write node.conf; extra: {section: {name: value}} over what is there."""
        sections = {
            "node": {"name": self.name, "state": os.path.join(self.dir, "state"),
                     "secret": self.secret, "trust": self.mesh.trust},
            "mesh": {"listen": self.listen, "replay": self.replay,
                     "heartbeat": self.mesh.heartbeat},
            "publish": {"socket": self.socket, "spool": self.spool},
            "admin": {"socket": self.admin},
            # Most tests send floods that fail2ban would not keep up with, and no origin may ban
            # as fast; test_sink.py paces, test_guard.py sets a rate.
            "helper": {"socket": ""},  # its own child
            "shared": {"log": self.shared_log, "pace": 0,
                       "fail2ban": os.path.join(self.dir, "f2b", "fail2ban.sock")},
            "guard": {"rate": 0, "allowed-file": self.allowed_file},
        }
        for more in (self.mesh.extra, self.settings, extra or {}):
            for section, values in more.items():
                sections.setdefault(section, {}).update(values)
        with open(self.conf, "w", encoding="utf-8") as out:
            for section, values in sections.items():
                out.write(section + "\n")
                for name, value in values.items():
                    if isinstance(value, dict):
                        out.write("    %s\n" % name)
                        out.writelines('        %s = "%s"\n' % item for item in value.items())
                    else:
                        out.write('    %s = "%s"\n' % (name, value))

    def start(self, wait=True):
        env = dict(os.environ)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        env.update(self.env)
        self.process = Process([*self.prefix, program(self.daemon), "--config", self.conf],
                               self.log, env)
        if wait:
            self.wait_started()
        return self

    def wait_started(self):
        wait_until(lambda: self.answers() or not self.process.running(), "start of " + self.name)
        assert self.process.running(), self.output()

    def answers(self):
        """Whether somebody listens behind the admin socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.admin)
                return True
            except OSError:
                return False

    def stop(self, number=signal.SIGTERM):
        if self.process is None:
            return None
        process, self.process = self.process, None
        status = process.end(number)
        assert number != signal.SIGTERM or status == 0, self.output()  # sanitizers end with 1
        return status

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def status(self):
        answer = subprocess.run([program("banmesh"), "status", "--config", self.conf, "--json"],
                                check=False, stdout=subprocess.PIPE)
        if answer.returncode not in (0, 3):
            answer.check_returncode()
        status = json.loads(answer.stdout)
        assert answer.returncode == (3 if status["attention"] else 0), status["attention"]
        return status

    def status_text(self, *options):
        """What an operator sees."""
        return subprocess.run([program("banmesh"), "status", "--config", self.conf, *options],
                              text=True, check=False, stdout=subprocess.PIPE).stdout

    def messages(self):
        """The counters of the mesh."""
        return self.status()["mesh"]["messages"]

    def peers(self):
        return {peer["name"]: peer for peer in self.status()["mesh"]["peers"]}

    def wait_connected(self, names=None):
        names = set(names if names is not None else self.mesh.neighbours(self))
        wait_until(lambda: names <= {name for name, peer in self.peers().items()
                                     if peer["connected"]},
                   lambda: "%s is not connected to all of %s: %s" % (self.name, names, self.peers()))

    def publish(self, ip, jail="sshd", check=True, **options):
        """Call the real hook; returns the finished process."""
        argv = [*self.prefix, program("banmesh-publish"), "--socket", self.socket, "--spool", self.spool,
                "--jail", jail, "--ip", ip, "--bantime", str(options.pop("bantime", 3600))]
        for name, value in options.items():
            argv += ["--" + name, str(value)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def stream(self, bans, group=200):
        """Hand in many (address, jail, time in s), or with a bantime and more text behind it, over
        one open connection, `group` of them before the answers are read; returns the answers."""
        answers = []
        with Client(self.socket) as client:
            for start in range(0, len(bans), group):
                some = [ban + (3600, "")[len(ban) - 3:] for ban in bans[start:start + group]]
                client.send(*(("ban jail=%s ip=%s time=%.3f bantime=%d %s"
                               % (jail, address, when, bantime, text)).rstrip()
                              for address, jail, when, bantime, text in some))
                answers += [client.answer() for _ in some]
        return answers

    def lines(self):
        """The complete lines of the shared log, but for its head."""
        try:
            with open(self.shared_log, encoding="utf-8") as text:
                return [line.rstrip("\n") for line in text
                        if line.endswith("\n") and not line.endswith(HEAD)]
        except FileNotFoundError:
            return []

    def reported(self):
        """The addresses in the shared log, in order."""
        return [line.split(": ")[1] for line in self.lines() if not self.was_torn or ": " in line]

    def wait_reported(self, addresses, timeout=TIMEOUT):
        missing = set(addresses)
        wait_until(lambda: missing <= set(self.reported()),
                   lambda: "%s lacks %s\n%s" % (self.name, missing - set(self.reported()),
                                                self.output()), timeout)


class Client:
    """One connection to the intake of a node."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(path)
        self.answers = self.socket.makefile("rb")

    def send(self, *requests):
        self.socket.sendall(b"".join(b"%s\n" % (request if isinstance(request, bytes)
                                                else request.encode()) for request in requests))

    def answer(self):
        """The next one; "" if the node has hung up."""
        return self.answers.readline().decode(errors="replace").rstrip("\n")

    def close(self):
        self.answers.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Mesh:
    """Nodes that trust each other through one shared directory of certificates.

    With links, pairs of names, the certificates have no endpoint, and only those pairs connect.
    """

    def __init__(self, directory, names=(), heartbeat=200, extra=None, links=None):
        self.dir = str(directory)
        self.heartbeat = heartbeat
        self.extra = extra or {}
        self.trust = os.path.join(self.dir, "trust")
        os.makedirs(self.trust, exist_ok=True)
        self.nodes = []
        self.links = None if links is None else set()
        for name in names:
            self.add(name, endpoint=links is None)
        for one, other in links or ():
            self.link(one, other)

    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def link(self, one, other, back=True):
        """Two nodes, by name, connect to each other from their next start or reload on; without
        `back` only the first one to the second one."""
        self.links.add((one, other))
        for node, peer in ((one, other), (other, one))[:1 + back]:
            node, peer = self.node(node), self.node(peer)
            mesh = node.settings.setdefault("mesh", {})
            mesh.setdefault("peers", {})[peer.name] = peer.listen + " " + peer.replay
            node.write_settings()

    def neighbours(self, node):
        """The names of those that it should be connected to."""
        if self.links is None:
            return [other.name for other in self.nodes if other is not node]
        return [other for pair in self.links for other in pair if node.name in pair and
                other != node.name]

    def add(self, name, trusted=True, **options):
        node = Node(self, name, **options)
        self.nodes.append(node)
        if trusted:
            self.add_trust(node)
        return node

    def add_trust(self, node):
        subprocess.run([program("banmesh"), "trust", "add", node.cert, "--dir", self.trust],
                       check=True, stdout=subprocess.DEVNULL)

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_started()
        for node in self.nodes:
            node.wait_connected()
        return self

    def stop(self):
        """End every process, whatever one of them says of its end."""
        failed = []
        for node in self.nodes:
            try:
                node.stop()
            except AssertionError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


# ---- every node bans, and all of it is everywhere ----

def publish_everywhere(nodes, count, seed):
    """Ban from each node, `count` each; returns {its name: its addresses}."""
    addresses = public_addresses(count * len(nodes), seed)
    bans = {node.name: addresses[i::len(nodes)] for i, node in enumerate(nodes)}
    for i in range(count):
        for node in nodes:
            node.publish(bans[node.name][i])
    return bans


def all_but(bans, name):
    return sorted(address for origin, some in bans.items() if origin != name for address in some)


def check_logs(nodes, bans):
    """Each ban of another node is in each shared log, once."""
    for node in nodes:
        expected = all_but(bans, node.name)
        node.wait_reported(expected)
        assert sorted(node.reported()) == expected, node.name
