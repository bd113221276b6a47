"""Everything that runs in the show, in one private directory: started, looked at, ended.

Each process is ended by its id. Nothing is written outside the directory, and the only action of
every fail2ban besides ours does nothing.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

from fail2ban_server import Fail2banError, Fail2banServer  # noqa: E402
from mesh import Mesh, Process, program, wait_until  # noqa: E402
from store import Store, add_aggregator, make_country_db  # noqa: E402
from story import AGGREGATOR, ATTACKERS, NODES  # noqa: E402
from watch import Watch  # noqa: E402

STORES = ("keydb-server", "valkey-server", "redis-server")  # the first one found is taken

# In place of Debian's jail.conf: what somebody may have enabled in that has no part in the show.
# The values are Debian's, but for those that would ask the DNS.
JAIL_CONF = """\
[DEFAULT]
bantime = 10m
findtime = 10m
maxretry = 5
usedns = no
ignoreself = false
ignorecommand =
logencoding = utf-8
port = 0:65535
protocol = tcp
chain = INPUT
filter = %(__name__)s
action_ = %(banaction)s
action = %(action_)s
"""

SSHD_JAIL = """
[sshd]
enabled = true
port = ssh
logpath = {auth_log}
action = %(action_)s
         banmesh[publish="{publish}", options="{options}", port="%(port)s", protocol="%(protocol)s"]
"""

SHARED_JAIL = """
[shared]
logpath = {shared_log}
ignoreself = false
"""

# The clock before the hook runs; then the hook takes this process over, so that nothing else is
# counted. Bash, since it knows the time without starting a program.
HOOK = """\
#!/bin/bash
printf '%s %s\\n' "${{EPOCHREALTIME/,/.}}" "$*" >>{log}
exec {publish} "$@"
"""

# In braces: the shell has read all of it before it removes the file.
STOP = """\
#!/bin/sh
# Ends what ./quickstart --keep left running, and removes its directory. A process is ended by its
# id, and only if it is still the one that was started: PID:START, START as in /proc/PID/stat.
{{
    runs() {{
        # shellcheck disable=SC2046
        set -- "${{1#*:}}" $(sed 's/.*) //' "/proc/${{1%:*}}/stat" 2>/dev/null)
        [ $# -gt 1 ] && [ "$2" != Z ] && [ "$1" = "${{21}}" ]
    }}
    for signal in TERM KILL; do
        tries=0
        for process in {processes}; do
            if runs $process; then kill -s $signal "${{process%:*}}"; fi
        done
        for process in {processes}; do
            while runs $process && [ $tries -lt 150 ]; do
                sleep 0.2
                tries=$((tries + 1))
            done
        done
    done
    rm -rf {directory}
    echo "all processes are ended and" {directory} "is removed"
    exit 0
}}
"""


class PrivateStore(Store):
    """The first of STORES that this host has, on a Unix socket, keeping nothing on disk."""

    def __init__(self, directory):
        super().__init__(directory)
        self.program = next(filter(shutil.which, STORES), None)

    def start(self):
        if self.program is None:
            raise FileNotFoundError("none of %s is in PATH" % ", ".join(STORES))
        self.process = Process(
            [self.program, "--port", "0", "--unixsocket", self.socket, "--save", "",
             "--appendonly", "no", "--dir", self.dir], os.path.join(self.dir, "log"))
        wait_until(lambda: self.answers() or not self.process.running(), "an answer of the store")
        if not self.process.running():
            raise RuntimeError("%s has ended" % self.program)
        return self


class Stage:
    """The processes of the show. `geoip` is a country database, or None: a small one is made."""

    def __init__(self, directory, geoip):
        self.directory = directory
        self.geoip = geoip
        self.countries = None  # of the attackers, if they are known: those of our own database
        self.mesh = None
        self.nodes = {}
        self.fail2ban = {}
        self.store = None
        self.watch = None
        self.auth_log = self.path("mx1", "auth.log")
        self.hook_log = self.path("mx1", "hook.log")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    # --- start ---------------------------------------------------------------------------------

    def acts(self):
        """What to start, in order: [(name, function)]; each returns what to say of it."""
        return [("store", self.start_store), ("countries", self.find_countries),
                ("nodes", self.start_nodes), ("fail2ban", self.start_fail2ban)]

    def start_store(self):
        self.store = PrivateStore(self.directory)
        self.store.start()
        return "%s on a private Unix socket" % self.store.program

    def find_countries(self):
        if self.geoip:
            self.geoip = os.path.abspath(self.geoip)
            open(self.geoip, "rb").close()  # the aggregator would do without one that is missing
            return self.geoip
        self.countries = ATTACKERS
        self.geoip = make_country_db(self.path("countries.mmdb"), {
            address + ("/64" if ":" in address else "/24"): country
            for address, country in ATTACKERS.items()})
        return "no GEOIP=file given: a small database made for this show, its countries made up"

    def start_nodes(self):
        self.mesh = Mesh(self.directory, extra={"roles": {"aggregator": AGGREGATOR}})
        for name in NODES:
            socket = os.path.join(self.directory, name, "fail2ban", "fail2ban.sock")
            self.nodes[name] = self.mesh.add(name, settings={"shared": {"fail2ban": socket}})
        add_aggregator(self.mesh, [self.store], self.geoip, AGGREGATOR)
        self.mesh.start()
        return "%s and the aggregator %s, all connected; keys made just now" % (
            ", ".join(NODES), AGGREGATOR)

    def start_fail2ban(self):
        for name in NODES:
            self.fail2ban[name] = self._fail2ban_of(self.nodes[name])
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(server.start) for server in self.fail2ban.values()]:
                started.result()
        self.watch = Watch()
        for name in NODES:
            self.watch.add(self.fail2ban[name].log, ("fail2ban", name))
            self.watch.add(self.nodes[name].shared_log, ("line", name))
        self.watch.add(self.hook_log, ("hook", "mx1"))
        return "a real one for each node, private; their only blocking action does nothing"

    def _fail2ban_of(self, node):
        jails = SHARED_JAIL.format(shared_log=node.shared_log)
        if node.name == NODES[0]:
            hook = self.path(node.name, "hook")
            with open(hook, "w", encoding="utf-8") as out:
                out.write(HOOK.format(log=self.hook_log, publish=program("banmesh-publish")))
            jails += SSHD_JAIL.format(
                auth_log=self.auth_log, publish="/bin/bash " + hook,
                options="--socket %s --spool %s" % (node.socket, node.spool))
        # fail2ban does not start if the log of an enabled jail is missing.
        for log in (node.shared_log, self.auth_log, self.hook_log):
            open(log, "a", encoding="ascii").close()
        return Fail2banServer(self.path(node.name, "fail2ban"), jails, {"jail.conf": JAIL_CONF})

    # --- while it runs -------------------------------------------------------------------------

    def begin(self, name, *arguments):
        """An operator's command on a node, running."""
        return subprocess.Popen([program("banmesh"), *arguments, "--config", self.nodes[name].conf],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def command(self, name, *arguments):
        process = self.begin(name, *arguments)
        said, _ = process.communicate(timeout=60)
        if process.returncode != 0:
            raise OSError("banmesh %s: %s" % (" ".join(arguments), said))
        return said

    def look(self):
        """Raise if something has ended that should go on."""
        for node in self.mesh.nodes:
            if not node.process.running():
                raise RuntimeError("%s has ended: %s" % (node.name, node.output()))
        if not self.store.process.running():
            raise RuntimeError("the store has ended")
        for name, server in self.fail2ban.items():
            if server.process.poll() is not None:
                raise RuntimeError("fail2ban of %s has ended" % name)

    def write_stop(self):
        """The script that ends it after --keep; returns its path."""
        pids = [server.process.pid for server in self.fail2ban.values()]
        pids += [node.process.pid for node in self.mesh.nodes] + [self.store.process.pid]
        path = self.path("stop")
        with open(path, "w", encoding="utf-8") as out:
            out.write(STOP.format(
                directory=shlex.quote(self.directory),
                processes=" ".join("%d:%s" % (pid, start_of(pid)) for pid in pids)))
        os.chmod(path, 0o755)
        return path

    def commands(self):
        """What to type to look at it, and to end it: [(what, command)]."""
        first, node = self.nodes[NODES[0]], self.nodes[NODES[1]]
        client = self.store.program.replace("-server", "-cli")
        return [
            ("status", "%s status --config %s" % (program("banmesh"), first.conf)),
            ("fail2ban", "fail2ban-client -s %s status shared" % self.fail2ban[NODES[1]].socket),
            ("shared log", "tail -f %s" % node.shared_log),
            ("store", "%s -s %s --scan --pattern 'f2b:*'" % (client, self.store.socket)),
            ("new ban", "%s --socket %s --spool %s --jail sshd --ip 193.24.211.204"
             % (program("banmesh-publish"), first.socket, first.spool)),
            ("to end it", self.write_stop()),
        ]

    # --- the end -------------------------------------------------------------------------------

    def stop(self):
        """End everything that was started, however far that came."""
        if self.watch:
            self.watch.close()
        with ThreadPoolExecutor() as pool:
            list(pool.map(end_fail2ban, self.fail2ban.values()))
        for owner in [*(self.mesh.nodes if self.mesh else []), self.store]:
            if owner is not None and owner.process is not None:
                end_process(owner.process)


def start_of(pid):
    """When a process was started, in ticks since boot: with it, an id names one process only."""
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(") ")[2].split()[19]


def end_fail2ban(server):
    try:
        server.stop()
    except Fail2banError:
        pass  # it took too long, and has been killed


def end_process(process):
    try:
        process.end()
    except subprocess.TimeoutExpired:
        process.end(signal.SIGKILL)
