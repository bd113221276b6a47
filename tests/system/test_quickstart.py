"""The show of ./quickstart, as somebody new sees it: what it says, and that nothing is left."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from mesh import ROOT, wait_until
from store import make_country_db

DEMO = os.path.join(ROOT, "tests", "demo", "demo.py")
ATTACKERS = {"45.154.244.193": "NL", "85.239.149.72": "BR", "2a02:4780:10::7": "SG"}


def processes(directory):
    """The command lines that name this directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as text:
                line = text.read().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found


class Show:
    """The show with its directory below `home`, its output in a file."""

    def __init__(self, home, *arguments, **env):
        self.home = home / "t"  # short: it holds Unix sockets
        self.home.mkdir()
        self.output = home / "output"
        env = {**os.environ, "TMPDIR": str(self.home), **env}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen([sys.executable, "-B", DEMO, *arguments],
                                            stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, env=env)

    def text(self):
        return self.output.read_text()

    def wait(self):
        """Its exit status."""
        return self.process.wait(180)

    def assert_nothing_left(self):
        assert processes(self.home) == []
        assert list(self.home.iterdir()) == []


@pytest.fixture
def start(tmp_path):
    """Starts a show, and ends it whatever happens."""
    shows = []

    def starter(*arguments, **env):
        shows.append(Show(tmp_path, *arguments, **env))
        return shows[0]

    yield starter
    for show in shows:
        if show.process.poll() is None:
            show.process.terminate()
        show.wait()
        for stop in show.home.glob("*/stop"):
            subprocess.run([str(stop)], check=True)


def rows(text, host, what):
    """The attackers that have a row for this step, in the live part."""
    return set(re.findall(r"^ +\d+\.\d{3} s  %s +(\S+) +%s" % (host, what), text, re.M))


def test_the_show_shows_the_whole_way_and_leaves_nothing(start):
    show = start()
    assert show.wait() == 0, show.text()
    text = show.text()
    for host, what in [("mx1", "auth log: 5th failed password"),
                       ("mx1", r"fail2ban: \[sshd\] Ban"), ("mx1", "fail2ban calls"),
                       ("mx2", "shared log: reported by mx1 in sshd for 600 s"),
                       ("mx3", "shared log: reported by mx1 in sshd for 600 s"),
                       ("mx2", r"fail2ban: \[shared\] Ban"), ("mx3", r"fail2ban: \[shared\] Ban")]:
        assert rows(text, host, what) == set(ATTACKERS), (host, what, text)
    for address, country in ATTACKERS.items():
        assert rows(text, "hist1", r"store: country %s, f2b:\d+" % country) == {address}
    # A time for each leg and attacker, fail2ban's own and ours apart.
    assert len(re.findall(r"^  fail2ban  mx\d: .*(?: +\d+){3}$", text, re.M)) == 4, text
    assert len(re.findall(r"^  banmesh   .*(?: +\d+\.\d){3}$", text, re.M)) == 3, text
    assert "its countries made up" in text
    assert re.search(r"^  country +NL$", text, re.M), text
    assert re.search(r"^  .*f2b:sshd 3\b", text, re.M), text
    assert re.search(r"is to be banned here until .*: mx1 reported", text), text
    assert len(re.findall(r"^  mx[23] +fail2ban has let go after +\d+ ms$", text, re.M)) == 2, text
    assert "3 attackers of mx1 are banned on mx2 and mx3, too" in text
    assert "\033" not in text, "colours without a terminal"
    show.assert_nothing_left()


def test_keep_says_how_to_look_and_how_to_end_it(start, tmp_path):
    # Another store that is found first, as on a host that has one.
    (tmp_path / "bin").mkdir()
    valkey = tmp_path / "bin" / "valkey-server"
    valkey.write_text('#!/bin/sh\nexec redis-server "$@"\n')
    valkey.chmod(0o755)
    show = start("--keep", PATH="%s:%s" % (tmp_path / "bin", os.environ["PATH"]))
    assert show.wait() == 0, show.text()
    assert re.search(r"^store +valkey-server", show.text(), re.M)
    commands = dict(re.findall(r"^([a-z][a-z0-9 ]*?) {2,}(.*/.*)$", show.text(), re.M))

    def run(name):
        return subprocess.run(shlex.split(commands[name]), check=True, timeout=60,
                              stdout=subprocess.PIPE, text=True).stdout

    assert re.search(r"mx2 +connected", run("status"))
    banned = run("fail2ban")
    lifted, *others = sorted(ATTACKERS)
    assert lifted not in banned and all(address in banned for address in others), banned
    log = shlex.split(commands["shared log"])
    assert log[:2] == ["tail", "-f"]
    run("new ban")
    with open(log[2], encoding="ascii") as lines:
        wait_until(lambda: "193.24.211.204" in lines.read(), "the new ban in mx2's shared log")
    commands["store"] = commands["store"].replace("valkey-cli", "redis-cli")
    assert "f2b:45.154.244.193" in run("store")
    run("to end it")
    show.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(start, number):
    show = start()
    wait_until(lambda: "\nfail2ban " in show.text() or show.process.poll() is not None, show.text)
    time.sleep(0.5)
    show.process.send_signal(number)
    assert show.wait() == 128 + number, show.text()
    assert "Traceback" not in show.text()
    show.assert_nothing_left()


def test_a_step_that_does_not_happen_is_named_and_the_logs_are_kept(start, tmp_path):
    country_db = make_country_db(tmp_path / "other.mmdb", {"45.154.244.0/24": "NL"})
    show = start(GEOIP=country_db)
    assert show.wait() == 1, show.text()
    assert re.search(r"^attack: this did not happen:\n  \S+: the country in the store is XX",
                     show.text(), re.M), show.text()
    assert processes(show.home) == []
    kept = re.search(r"the logs are kept in (\S+): ", show.text())
    assert os.path.exists(os.path.join(kept[1], "mx1", "daemon.log"))


def test_a_program_that_does_not_start_is_named(start, tmp_path):
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(b"no database")
    show = start(GEOIP=str(broken))
    assert show.wait() == 1, show.text()
    assert re.search(r"^nodes: this did not happen:\n.*broken.mmdb", show.text(), re.M | re.S)
    assert "Traceback" not in show.text()
    assert processes(show.home) == []
