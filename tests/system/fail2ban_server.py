"""A real, private fail2ban-server in the foreground, for tests, the demo and the benchmarks.

It keeps everything in one directory and touches nothing outside: own socket, pid file, database,
log and configuration. The configuration is Debian's (jail.conf and all filters, as links) plus the
files of conf/fail2ban. The only actions are ours and one that does nothing, so no jail can reach
a firewall: the default blocking action is "nothing" here.

    with Fail2banServer(directory, jails) as fail2ban:
        with open(fail2ban.shared_log, "a") as log:
            log.write(line)
        fail2ban.wait_banned("shared", ["45.154.244.193"])

Debian's python3-fail2ban modules are needed, so run it with /usr/bin/python3.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from fail2ban.client.csocket import CSocket

# A tree of another version, unpacked and not installed (tests/unpack), takes Debian's place.
TREE = os.environ.get("BANMESH_FAIL2BAN", "")
DEBIAN = Path(TREE + "/etc/fail2ban")
OURS = Path(__file__).resolve().parents[2] / "conf" / "fail2ban"

# fail2ban.conf needs the section [Definition], even empty: without it fail2ban silently uses the
# system's own paths below /var.
FAIL2BAN_CONF = """\
[DEFAULT]
loglevel = {loglevel}
logtarget = {directory}/fail2ban.log
syslogsocket = auto
socket = {directory}/fail2ban.sock
pidfile = {directory}/fail2ban.pid
dbfile = {directory}/fail2ban.sqlite3
dbpurgeage = 1d
dbmaxmatches = 10
allowipv6 = auto

[Definition]

[Thread]
"""

# Read after jail.conf and all other files of jail.d, before the caller's jail.local.
PRIVATE_JAILS = """\
[DEFAULT]
backend = auto
ignorecommand =
banaction = nothing
banaction_allports = nothing

[shared]
enabled = {shared}
action = nothing
logpath = {directory}/shared.log
"""

NOTHING_ACTION = """\
[Definition]
actionban =
actionunban =
"""

SOCKET_PATH_MAX = 107  # what sockaddr_un can hold


def tool(name, tree=None):
    """The command line of fail2ban-NAME."""
    tree = TREE if tree is None else tree
    if not tree:
        return ["/usr/bin/python3", f"/usr/bin/fail2ban-{name}"]
    python = ["/usr/bin/python3"]
    if os.path.exists(tree + "/python3"):  # one too old for today's brings its own
        python = [f"PYTHONHOME={tree}/usr", tree + "/python3"]
    return ["/usr/bin/env", f"PYTHONPATH={tree}/usr/lib/python3/dist-packages", *python,
            f"{tree}/usr/bin/fail2ban-{name}"]


def version(tree=None):
    """(1, 0, 2)"""
    said = subprocess.run([*tool("server", tree), "--version"], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=60).stdout
    return tuple(int(number) for number in re.search(r"(\d+)\.(\d+)\.(\d+)", said).groups())


class Fail2banError(Exception):
    """The server refused a command, did not start, or did not get somewhere in time."""


class Fail2banServer:
    """One server. Start it with `with` or with start () and stop (); it can be started again in
    the same directory, where it then finds its database and logs.

        directory  where everything goes; made if missing
        jails      text for jail.local: the caller's jails, or changes to [shared] and [DEFAULT]
        files      {"action.d/recorder.conf": text}: more configuration, or other text for a file
                   that is there already; None leaves the file out
        shared     whether our jail [shared] is enabled; its log is shared_log
        env        more environment variables, such as TZ
        tree       of another version; "": the installed one
    """

    def __init__(self, directory, jails="", files=None, shared=True, env=None, loglevel="INFO",
                 tree=TREE):
        self.tree = tree
        self.debian = Path(tree + "/etc/fail2ban")
        self.directory = Path(directory).resolve()
        self.conf = self.directory / "conf"
        self.socket = self.directory / "fail2ban.sock"
        self.log = self.directory / "fail2ban.log"
        self.shared_log = self.directory / "shared.log"
        self.output = self.directory / "output.txt"
        self.env = env or {}
        self.process = None
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX:
            raise ValueError(f"path too long for a socket: {self.socket}")
        self._write_conf(jails, files or {}, shared, loglevel)

    def _write_conf(self, jails, files, shared, loglevel):
        for folder in ("filter.d", "action.d", "jail.d"):
            (self.conf / folder).mkdir(parents=True, exist_ok=True)
        for path in [self.debian / "jail.conf", *self.debian.glob("paths-*.conf")]:
            self._link(path, self.conf / path.name)
        for path in self.debian.glob("filter.d/*.conf"):
            self._link(path, self.conf / "filter.d" / path.name)
        for path in OURS.glob("*/*.*"):
            target = self.conf / path.parent.name / path.name
            target.unlink(missing_ok=True)  # a link to an installed copy of the same name
            shutil.copyfile(path, target)
        own = {
            "fail2ban.conf": FAIL2BAN_CONF.format(directory=self.directory, loglevel=loglevel),
            "jail.d/zz-private.conf": PRIVATE_JAILS.format(
                directory=self.directory, shared=str(shared).lower()),
            "jail.local": jails,
            "action.d/nothing.conf": NOTHING_ACTION,
        }
        for name, text in {**own, **files}.items():
            path = self.conf / name
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        # fail2ban does not start at all if the log of an enabled jail is missing; its own is one
        # that a jail such as recidive may watch.
        for path in (self.shared_log, self.log):
            path.touch()

    @staticmethod
    def _link(path, target):
        if not target.is_symlink():
            target.symlink_to(path)

    def start(self, timeout=60):
        """Start the server and return when its jails are configured."""
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [*tool("server", self.tree), "-f", "-c", str(self.conf)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **self.env})
        try:
            self._wait(lambda: "Server ready" in self.output.read_text(), timeout,
                       lambda: "fail2ban-server did not start: " + self.output.read_text())
        except Fail2banError:
            self.stop()
            raise
        return self

    def stop(self, timeout=60):
        """End the server by SIGTERM, as the system would, and wait. Harmless if not running."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Fail2banError(f"fail2ban-server did not end on SIGTERM within {timeout} s")

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def client(self, *args):
        """Send one command, as fail2ban-client would, and return the server's answer as it is.
        Straight to the socket: fail2ban-client itself takes 100 ms to start."""
        connection = CSocket(str(self.socket), timeout=60)
        try:
            code, answer = connection.send([str(arg) for arg in args])
        finally:
            connection.close()
        if code != 0:
            raise Fail2banError(f"fail2ban refused {' '.join(map(str, args))}: {answer}")
        return answer

    def banned(self, jail):
        """The addresses and prefixes that the jail bans now, as text."""
        return [str(address) for address in self.client("get", jail, "banned")]

    def log_text(self):
        return self.log.read_text()

    def wait_banned(self, jail, addresses, timeout=30):
        """Wait until the jail bans all these addresses (others may be banned, too)."""
        wanted = {str(address) for address in addresses}
        self._wait(lambda: wanted <= set(self.banned(jail)), timeout,
                   lambda: f"[{jail}] does not ban {sorted(wanted - set(self.banned(jail)))}")

    def wait_log(self, text, timeout=30):
        """Wait until fail2ban has logged this text."""
        self._wait(lambda: text in self.log_text(), timeout,
                   lambda: f"not in fail2ban's log: {text}\n{self.log_text()}")

    def _wait(self, condition, timeout, complaint):
        deadline = time.monotonic() + timeout
        while not condition():
            if self.process is None or self.process.poll() is not None:
                raise Fail2banError("fail2ban-server has ended: " + self.output.read_text())
            if time.monotonic() > deadline:
                raise Fail2banError(complaint())
            time.sleep(0.02)
