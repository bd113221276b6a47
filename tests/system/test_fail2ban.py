"""What conf/fail2ban does in the real fail2ban: the filters with fail2ban-regex, the rest in
private foreground servers. A small script stands in for banmesh-publish and records its calls.

Run: /usr/bin/python3 -m pytest -q tests/system/test_fail2ban.py
"""

import ipaddress
import subprocess
import time

import pytest

from fail2ban_server import OURS, Fail2banError, Fail2banServer, tool, version

SEED_FILTER = ": <HOST>: reported by .*"
DAY_S = 86400
HOUR_S = 3600

IPV4 = "45.154.244.193"
IPV6 = "2a02:4780:11:22::7"


# --- lines of the shared log ---------------------------------------------------------------------

def stamp(seconds_ago=0):
    return time.strftime("%Y-%m-%dT%H:%M:%S.123Z", time.gmtime(time.time() - seconds_ago))


def line(address, origin="mx1", jail="sshd", seconds_ago=0):
    return (f"{stamp(seconds_ago)}: {address}: reported by {origin} in {jail}"
            " for 3600 s until 1795266000 nid 4611686018427387904")


def append(path, lines):
    """Whole lines with one write, as the node does it."""
    with open(path, "a") as log:
        log.write("".join(text + "\n" for text in lines))


def filtered(tmp_path, pattern, lines):
    """What fail2ban-regex makes of the lines: {line: (address, until)} of those that match."""
    log = tmp_path / "lines.log"
    log.write_bytes("".join(text + "\n" for text in lines).encode())
    run = subprocess.run(
        [*tool("regex"), "-c", str(OURS), "--usedns", "no",
         "-e", "utf-8", "-o", "<fid>|<F-UNTIL>|<matches>", str(log), pattern],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    assert run.stderr == ""
    rows = [row.split("|", 2) for row in run.stdout.splitlines()]
    return {match: (address, until) for address, until, match in rows}


# --- a stand-in for banmesh-publish --------------------------------------------------------------

class Recorder:
    """A script that appends its arguments to a file, and what it has written there."""

    def __init__(self, directory):
        self.script = directory / "recorder"
        self.file = directory / "calls.txt"
        self.script.write_text(f"#!/bin/sh\nprintf '%s\\t' \"$@\" END >> '{self.file}'\n")
        self.script.chmod(0o755)

    def action(self, *parameters):
        """How a jail names our action, with this script in place of the program."""
        parameters = ", ".join([f'publish="{self.script}"', *parameters])
        return f"banmesh[{parameters}]"

    def all_calls(self):
        text = self.file.read_text() if self.file.exists() else ""
        calls = [call.split("\t")[:-1] for call in text.split("END\t")[:-1]]
        return [[part for word in call for part in (
            word.split("=") if word.startswith("--unban=") else [word])] for call in calls]

    def calls(self, unbans=False):
        """The calls so far: a dictionary of option and value for each ban, or unban."""
        calls = [call for call in self.all_calls() if ("--unban" in call) == unbans]
        assert all(len(call) % 2 == 0 for call in calls), calls
        return [dict(zip(call[::2], call[1::2])) for call in calls]

    def published(self):
        return [(call["--jail"], call["--ip"]) for call in self.calls()]

    def wait(self, count, timeout=30, unbans=False):
        deadline = time.monotonic() + timeout
        while len(self.calls(unbans)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.calls(unbans)) == count, self.all_calls()
        return self.calls(unbans)


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path)


def sshd_jail(log, action, name="sshd"):
    """A jail with Debian's own filter for sshd that reads this log."""
    log.touch()
    return f"""
[{name}]
enabled = true
filter = sshd
backend = auto
port = ssh
logpath = {log}
maxretry = 5
bantime = 600
action = %(action_)s
         {action}
"""


def failed_passwords(address, count=5, first_pid=4000):
    """One connection each. Other addresses need other process ids: Debian's filter takes lines of
    one sshd process as one connection."""
    now = time.strftime("%b %d %H:%M:%S")
    return [f"{now} mx1 sshd[{pid}]: Failed password for root from {address} port {pid + 9000} ssh2"
            for pid in range(first_pid, first_pid + count)]


# --- the filter of the shared log ----------------------------------------------------------------

ADDRESSES = [
    IPV4, "1.0.0.1", "223.255.255.254", "45.154.244.0/24", "45.154.244.193/32", "45.0.0.0/8",
    IPV6, "2a02:4780:11:22::/64", "2a02:4780::/32", "2a02::", "2a02::/16", "2a02:4780::1/128",
    "2a02:4780:1:2:3:4:5:6", "2a02:4780:1:2:3:4:5:0/112", "2a02:4780:1::5:6:7:8", "fd00::1",
]

NAMES = ["a", "mx1.example.net", "A_b-C.9", "x" * 64]


def test_filter_takes_both_families_with_and_without_prefix(tmp_path):
    lines = [line(address) for address in ADDRESSES]
    found = filtered(tmp_path, "banmesh-shared", lines)
    # fail2ban itself drops a prefix that means one address
    want = [str(ipaddress.ip_network(address)) for address in ADDRESSES]
    want = [text.removesuffix("/32") if ":" not in text else text.removesuffix("/128")
            for text in want]
    assert [found.get(text, ("no match",))[0] for text in lines] == want


def test_filter_takes_every_allowed_reporter_and_jail_and_captures_until(tmp_path):
    lines = [line(IPV4, origin=name) for name in NAMES] + [line(IPV4, jail=name) for name in NAMES]
    assert filtered(tmp_path, "banmesh-shared", lines) == {
        text: (IPV4, "1795266000") for text in lines}


OTHER = "45.154.244.66"

BAD_NAMES = [
    "", "x" * 65, "a b", "a:b", "a/b", "mx1 in sshd", "é", "a\tb", "a\x0bb", "a\u2028b", "a\x00b",
    "$(id)", "`id`", "<HOST>", "a\\nb", f"mx1: {OTHER}: reported by mx2",
]

BAD_ADDRESSES = [
    "", "mx1.example.net", "999.154.244.193", "45.154.244", "45.154.244.193.5", "045.154.244.193",
    "45.154.244.193/", "45.154.244.193/33", "45.154.244.193/99", "45.154.244.193/7",
    "45.154.244.193/0", "0.0.0.0/0", "45.154.244.193/024", "45.154.244.193/255.255.255.0",
    "[45.154.244.193]", "45.154.244.193 ", " 45.154.244.193", "45.154.244.193%eth0",
    "٤5.154.244.193", "45.154.244.193/٤",
    "1:2:3", "2a02:4780::1::2", "2a02:::1", "2a02:4780:1:2:3:4:5:6:7", "::", "::/0", "2a02::/15",
    "2a02::/129", "2a02::/0", "2a02::1%eth0", "[2a02::1]", "g::1", "2a02:47801::1",
    "1:2:3:4::5:6:7:8", "::ffff:45.154.244.193",
    f"{OTHER}: 45.154.244.193", f"{OTHER} 45.154.244.193", f"{OTHER},45.154.244.193",
    f"{OTHER}: reported by mx1",
]


def hostile_lines():
    good = line(IPV4)
    for name in BAD_NAMES:
        yield line(IPV4, origin=name)
        yield line(IPV4, jail=name)
    yield from (line(address) for address in BAD_ADDRESSES)
    # trailing and leading text, and whatever else is not exactly the line
    yield from (good + tail for tail in ["x", " ", " x", f": {OTHER}", f"\t{OTHER}", "\x00",
                                         " nid 1", f" {line(OTHER)}", f"\x0b{line(OTHER)}"])
    yield from (head + good for head in [" ", "x", "x ", ": ", "- ", f"{stamp()} ",
                                         f"{stamp()}: ", f"{line(OTHER)} "])
    yield from (good.replace(old, new) for old, new in [
        (" for 3600 s", " for -1 s"), (" for 3600 s", " for 1e9 s"), (" for 3600 s", " for  s"),
        (" until 1795266000", " until never"), (" until 1795266000", ""), (" nid ", " nid -"),
        (" nid 4611686018427387904", ""), (" nid 4611686018427387904", " nid 46116860184273879041"),
        (": reported", " : reported"), (": reported", ":reported"), ("reported by", "Reported by"),
        ("Z: ", "+0000: "), ("Z: ", ": "), ("Z: ", "z: "), (".123Z", "Z"), (".123Z", ".123456Z"),
        ("T", " "), (good[:4], "9926"), ("Z: ", "+02:00: ")])
    yield good.replace(good[:10], "2026-13-01")


def test_filter_rejects_everything_else(tmp_path):
    lines = list(hostile_lines())
    assert len(lines) > 90
    control = line("45.154.244.1")
    found = filtered(tmp_path, "banmesh-shared", [*lines, control])
    assert list(found) == [control]


def test_filter_of_the_seed_takes_the_same_lines_of_single_addresses(tmp_path):
    singles = [address for address in ADDRESSES if "/" not in address]
    lines = [line(address) for address in singles]
    found = filtered(tmp_path, SEED_FILTER, lines)
    assert [found.get(text, ("no match",))[0] for text in lines] == [
        str(ipaddress.ip_address(address)) for address in singles]


# --- the jail [shared] ---------------------------------------------------------------------------

def test_122_lines_with_108_addresses_ban_all_108(tmp_path):
    distinct = [f"45.154.{i}.{i + 100}" for i in range(90)] + [
        f"2a02:4780:{i}::/64" for i in range(1, 19)]
    lines = [line(address) for address in distinct + distinct[:14]]
    assert (len(lines), len(distinct)) == (122, 108)
    # a server far from UTC: the Z in the lines has to count
    with Fail2banServer(tmp_path, env={"TZ": "Asia/Tokyo"}) as fail2ban:
        append(fail2ban.shared_log, lines)
        fail2ban.wait_banned("shared", distinct)
        assert sorted(fail2ban.banned("shared")) == sorted(distinct)
        assert "WARNING [shared]" not in fail2ban.log_text()
        assert "ERROR" not in fail2ban.log_text()


def test_a_line_written_while_fail2ban_was_down_bans_for_what_is_left_and_an_old_one_not(tmp_path):
    """What it missed longer ago, the node hands over again: test_ban_time.py."""
    fail2ban = Fail2banServer(tmp_path)
    append(fail2ban.shared_log, [line("45.154.244.8", seconds_ago=2 * HOUR_S),
                                 line("45.154.244.6", seconds_ago=HOUR_S / 2)])
    with fail2ban:
        append(fail2ban.shared_log, [line(IPV4)])
        fail2ban.wait_banned("shared", ["45.154.244.6", IPV4])
        assert "45.154.244.8" not in fail2ban.banned("shared")
        [row] = [row for row in fail2ban.client("get", "shared", "banip", "--with-time")
                 if row.startswith("45.154.244.6 ")]
        end = time.mktime(time.strptime(row.split(" = ")[1], "%Y-%m-%d %H:%M:%S"))
        assert 7 * DAY_S - HOUR_S < end - time.time() <= 7 * DAY_S - HOUR_S / 2


def test_the_operators_ignoreip_holds_in_the_shared_jail(tmp_path):
    with Fail2banServer(tmp_path, "[DEFAULT]\nignoreip = 45.154.200.0/24\n") as fail2ban:
        append(fail2ban.shared_log, [line("45.154.200.9"), line("45.154.200.128/25"), line(IPV4)])
        fail2ban.wait_banned("shared", [IPV4])
        assert fail2ban.banned("shared") == [IPV4]


def test_settings_of_the_default_section_do_not_change_how_the_shared_jail_bans(tmp_path):
    jails = """
[DEFAULT]
backend = systemd
usedns = yes
maxretry = 7
findtime = 1
bantime = 5
bantime.increment = true
bantime.overalljails = true
ignoreself = false
"""
    with Fail2banServer(tmp_path, jails) as fail2ban:
        append(fail2ban.shared_log, [line(IPV4)])
        fail2ban.wait_banned("shared", [IPV4])
        settings = {name: fail2ban.client("get", "shared", name) for name in (
            "usedns", "bantime", "bantime.increment", "bantime.overalljails", "ignoreself")}
    assert settings == {"usedns": "no", "bantime": 604800, "bantime.increment": False,
                        "bantime.overalljails": False, "ignoreself": True}


def test_a_missing_shared_log_keeps_fail2ban_from_starting(tmp_path):
    fail2ban = Fail2banServer(tmp_path)
    fail2ban.shared_log.unlink()
    with pytest.raises(Fail2banError, match="Have not found any log file for '?shared'? jail"):
        fail2ban.start()


def test_the_shared_jail_runs_our_blocking_action_and_tells_of_lifts(tmp_path):
    log = tmp_path / "shared.log"
    files = {"jail.d/zz-private.conf": f"[shared]\nlogpath = {log}\n"}
    everywhere = "[DEFAULT]\naction = %(action_)s\n         banmesh\n"
    fail2ban = Fail2banServer(tmp_path, everywhere, files=files)
    # only printed, never started: this is the configuration that would call nft
    dump = subprocess.run(
        [*tool("client"), "-c", str(fail2ban.conf), "-d"],
        capture_output=True, text=True, check=True, timeout=60).stdout
    actions = [text for text in dump.splitlines() if "'addaction'" in text]
    assert actions == ["['set', 'shared', 'addaction', 'banmesh-nftables']",
                       "['set', 'shared', 'addaction', 'banmesh-lifted']"]


# --- the action that publishes -------------------------------------------------------------------

def test_failed_ssh_logins_are_banned_and_published_once_with_their_jail(tmp_path, recorder):
    auth_log = tmp_path / "auth.log"
    with Fail2banServer(tmp_path, sshd_jail(auth_log, recorder.action())) as fail2ban:
        started = time.time()
        append(auth_log, failed_passwords(IPV4))
        recorder.wait(1)
        append(auth_log, failed_passwords(IPV4) + failed_passwords(IPV6, first_pid=5000))
        ipv4, ipv6 = recorder.wait(2)
        fail2ban.wait_banned("sshd", [IPV4, IPV6])
    for call, address in ((ipv4, IPV4), (ipv6, IPV6)):
        assert started - 2 < float(call.pop("--time")) < time.time() + 1
        assert int(call.pop("--bancount")) in (0, 1)
        assert call == {"--jail": "sshd", "--ip": address, "--bantime": "600", "--failures": "5",
                        "--port": "", "--protocol": ""}
    assert len(recorder.calls()) == 2


def test_port_protocol_and_options_reach_the_hook_if_the_jail_passes_them(tmp_path, recorder):
    passed = recorder.action('port="%(port)s"', 'protocol="%(protocol)s"',
                             'options="--socket /run/x.sock --spool /var/spool/x"')
    jail = sshd_jail(tmp_path / "auth.log", passed, name="sshd-two")
    with Fail2banServer(tmp_path, jail.replace("bantime = 600", "bantime = -1")) as fail2ban:
        fail2ban.client("set", "sshd-two", "banip", IPV6)
        [call] = recorder.wait(1)
    del call["--time"], call["--failures"], call["--bancount"]
    assert call == {"--socket": "/run/x.sock", "--spool": "/var/spool/x", "--jail": "sshd-two",
                    "--ip": IPV6, "--bantime": "-1", "--port": "ssh", "--protocol": "tcp"}


def test_a_prolonged_ban_is_published_again_with_the_same_time(tmp_path, recorder):
    jail = sshd_jail(tmp_path / "auth.log", recorder.action())
    # the second ban is the longer one; the difference is below 5 s, so fail2ban prolongs at once
    jail = jail.replace("bantime = 600", "bantime = 2\nbantime.increment = true")
    with Fail2banServer(tmp_path, jail) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4)
        fail2ban.wait_log(f"[sshd] Unban {IPV4}")
        fail2ban.client("set", "sshd", "banip", IPV4)
        first, again, prolonged = recorder.wait(3)
    assert first["--bantime"] == "2"
    assert again["--bantime"] in ("2", "4")  # a race within fail2ban
    assert prolonged["--bantime"] == "4"
    assert again["--time"] == prolonged["--time"] != first["--time"]
    assert len(recorder.calls()) == 3


def test_restored_bans_are_not_published_again(tmp_path, recorder):
    with Fail2banServer(tmp_path, sshd_jail(tmp_path / "auth.log", recorder.action())) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4, IPV6)
        recorder.wait(2)
        fail2ban.stop()
        fail2ban.start()
        fail2ban.wait_log(f"[sshd] Restore Ban {IPV4}")
        fail2ban.wait_log(f"[sshd] Restore Ban {IPV6}")
        fail2ban.client("set", "sshd", "banip", "45.154.244.3")
        recorder.wait(3)
    assert recorder.published() == [
        ("sshd", IPV4), ("sshd", IPV6), ("sshd", "45.154.244.3")]


def test_an_unban_has_the_time_and_bantime_of_its_ban(tmp_path, recorder):
    jail = sshd_jail(tmp_path / "auth.log", recorder.action('options="--socket /run/x.sock"'))
    with Fail2banServer(tmp_path, jail) as fail2ban:
        append(tmp_path / "auth.log", failed_passwords(IPV4))
        [ban] = recorder.wait(1)
        fail2ban.client("set", "sshd", "unbanip", IPV4)
        [unban] = recorder.wait(1, unbans=True)
    assert unban == {"--unban": "yes", **{name: ban[name] for name in (
        "--socket", "--jail", "--ip", "--time", "--bantime")}}
    assert len(recorder.all_calls()) == 2


def test_an_unban_of_a_prolonged_or_restored_ban_has_the_time_of_the_first_and_its_last_bantime(
        tmp_path, recorder):
    jail = sshd_jail(tmp_path / "auth.log", recorder.action())
    jail = jail.replace("bantime = 600", "bantime = 2\nbantime.increment = true\n"
                        "bantime.formula = ban.Time * (1 if ban.Count < 1 else 200)")
    with Fail2banServer(tmp_path, jail) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4, IPV6)
        for call in recorder.wait(2, unbans=True):  # they end: as the hook is told
            assert float(call["--time"]) + float(call["--bantime"]) <= time.time()
        fail2ban.client("set", "sshd", "banip", IPV4, IPV6)
        prolonged = {}
        deadline = time.monotonic() + 30
        while len(prolonged) < 2 and time.monotonic() < deadline:
            prolonged = {call["--ip"]: call for call in recorder.calls()
                         if call["--bantime"] == "400"}
            time.sleep(0.02)
        fail2ban.client("set", "sshd", "unbanip", IPV4)
        unban = recorder.wait(3, unbans=True)[2]
        assert {name: unban[name] for name in ("--ip", "--time", "--bantime")} == {
            name: prolonged[IPV4][name] for name in ("--ip", "--time", "--bantime")}
        fail2ban.stop()
        fail2ban.start()
        fail2ban.wait_log(f"[sshd] Restore Ban {IPV6}")
        before = len(recorder.calls())
        fail2ban.client("set", "sshd", "banip", "45.154.244.3")  # behind it in the same thread
        recorder.wait(before + 1)
        fail2ban.client("set", "sshd", "unbanip", IPV6)
        unban = recorder.wait(4, unbans=True)[3]
    assert unban["--ip"] == IPV6
    # fail2ban's database keeps the nearest second: the node must find the ban by that
    assert unban["--time"] == str(round(float(prolonged[IPV6]["--time"])))
    assert unban["--bantime"] == "400"


def test_no_unban_is_published_on_reload_stop_and_unban_of_all(tmp_path, recorder):
    with Fail2banServer(tmp_path, sshd_jail(tmp_path / "auth.log", recorder.action())) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4, IPV6)
        recorder.wait(2)
        subprocess.run([*tool("client"), "-c", str(fail2ban.conf),
                        "reload"], check=True, capture_output=True, timeout=60)
        subprocess.run([*tool("client"), "-c", str(fail2ban.conf),
                        "reload", "--restart", "sshd"], check=True, capture_output=True, timeout=60)
        fail2ban.wait_banned("sshd", [IPV4, IPV6])
        fail2ban.client("unban", "--all")
        fail2ban.wait_log(f"[sshd] Unban {IPV6}")
        fail2ban.client("set", "sshd", "banip", "45.154.244.3")
        recorder.wait(3)
    assert "ERROR" not in fail2ban.log_text()
    assert len(recorder.all_calls()) == 3


def test_a_jail_may_keep_its_unbans_to_itself(tmp_path, recorder):
    jail = sshd_jail(tmp_path / "auth.log", recorder.action("unbans=no"))
    with Fail2banServer(tmp_path, jail) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4)
        recorder.wait(1)
        fail2ban.client("set", "sshd", "unbanip", IPV4)
        [unban] = recorder.wait(1, unbans=True)
    assert unban["--unban"] == "no"  # the program does nothing then


def test_a_failing_hook_is_called_again_alike_and_the_ban_stands(tmp_path, recorder):
    """Twice in all; 0.11 calls it once."""
    with recorder.script.open("a") as script:
        script.write("exit 1\n")
    with Fail2banServer(tmp_path, sshd_jail(tmp_path / "auth.log", recorder.action())) as fail2ban:
        fail2ban.client("set", "sshd", "banip", IPV4)
        calls = recorder.wait(2 if version() >= (1, 0, 0) else 1)
        fail2ban.wait_log(f"Error banning {IPV4}")
        assert fail2ban.banned("sshd") == [IPV4]
    assert calls[0] == calls[-1]


def test_what_a_log_wrote_in_place_of_an_address_is_one_argument_to_the_hook(tmp_path, recorder):
    text = """$(touch a) `touch b` "c' ; touch d > e"""
    with Fail2banServer(tmp_path, sshd_jail(tmp_path / "auth.log", recorder.action())) as fail2ban:
        fail2ban.client("set", "sshd", "banip", text)
        [call] = recorder.wait(1)
    assert call["--ip"] == text


# --- no loops ------------------------------------------------------------------------------------

def publishing_everywhere(tmp_path, recorder):
    """The worst an operator may do: all jails publish, and recidive watches fail2ban's log and
    bans at the first ban."""
    (tmp_path / "auth.log").touch()
    return f"""
[DEFAULT]
action = %(action_)s
         {recorder.action()}

[sshd]
enabled = true
backend = auto
logpath = {tmp_path / "auth.log"}

[recidive]
enabled = true
logpath = {tmp_path / "fail2ban.log"}
maxretry = 1
"""


def test_bans_of_the_shared_jail_are_neither_published_nor_counted_by_recidive(tmp_path, recorder):
    with Fail2banServer(tmp_path, publishing_everywhere(tmp_path, recorder)) as fail2ban:
        append(fail2ban.shared_log, [line(IPV6), line("45.154.244.0/24")])
        fail2ban.wait_banned("shared", [IPV6, "45.154.244.0/24"])
        # recidive reads in order: once it has this ban, it has seen those of [shared]
        append(tmp_path / "auth.log", failed_passwords("45.154.7.7"))
        fail2ban.wait_banned("recidive", ["45.154.7.7"])
        recorder.wait(2)
        assert fail2ban.banned("recidive") == ["45.154.7.7"]
    assert sorted(recorder.published()) == [("recidive", "45.154.7.7"), ("sshd", "45.154.7.7")]


def test_debians_own_recidive_would_ban_and_publish_bans_of_the_shared_jail(tmp_path, recorder):
    jails = publishing_everywhere(tmp_path, recorder)
    with Fail2banServer(tmp_path, jails, files={"filter.d/recidive.local": None}) as fail2ban:
        append(fail2ban.shared_log, [line(IPV6)])
        fail2ban.wait_banned("recidive", [IPV6])
        recorder.wait(1)
    assert recorder.published() == [("recidive", IPV6)]


def test_a_local_jail_counts_bans_of_the_shared_jail_only_with_its_own_overalljails(tmp_path):
    increment = "bantime = 600\nbantime.increment = true"
    jails = sshd_jail(tmp_path / "one.log", "", name="own").replace("bantime = 600", increment)
    jails += sshd_jail(tmp_path / "two.log", "", name="overall").replace(
        "bantime = 600", increment + "\nbantime.overalljails = true")
    with Fail2banServer(tmp_path, jails) as fail2ban:
        append(fail2ban.shared_log, [line(IPV4), line(IPV6)])
        fail2ban.wait_banned("shared", [IPV4, IPV6])
        fail2ban.client("set", "own", "banip", IPV4)
        fail2ban.client("set", "overall", "banip", IPV6)
        fail2ban.wait_log(f"[overall] Increase Ban {IPV6} (2 # ")
    assert "[own] Increase Ban" not in fail2ban.log_text()


def passes_recidive(tmp_path, lines):
    """Of lines of fail2ban's log, or of the journal, those that recidive counts."""
    conf = Fail2banServer(tmp_path / "server").conf  # for Debian's recidive.conf beside our file
    log = tmp_path / "fail2ban.log"
    append(log, lines)
    return subprocess.run(
        [*tool("regex"), "-c", str(conf), "-o", "<matches>", str(log), "recidive"],
        capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_recidive_still_excludes_itself_and_counts_all_other_jails(tmp_path):
    def ban(jail, address, word="Ban"):
        return (time.strftime("%Y-%m-%d %H:%M:%S") +
                f",123 fail2ban.actions        [1234]: NOTICE  [{jail}] {word} {address}")
    counted = [ban("sshd", IPV4), ban("shared2", IPV4), ban("unshared", IPV4), ban("nginx", IPV6)]
    passed = [ban("shared", IPV4), ban("recidive", IPV4), ban("sshd", IPV4, "Restore Ban"),
              ban("sshd", IPV4, "Unban"), ban("shared", IPV4, "Restore Ban")]
    assert passes_recidive(tmp_path, counted + passed) == counted


# As versions write to a file, to syslog and to the journal; which of them a version's own recidive
# takes is another matter.
FORMS = ["{day} {time},123 fail2ban.actions        [1234]: NOTICE  [{jail}] Ban {ip}",
         "{day} {time} mx1 fail2ban.actions[1234]: NOTICE [{jail}] Ban {ip}",
         "{day} {time} mx1 fail2ban[1234]: NOTICE [{jail}] Ban {ip}",
         "{day} {time} mx1 fail2ban[1234]: [{jail}] Ban {ip}",
         "{day} {time} mx1 fail2ban.actions[1234]: [{jail}] Ban {ip}",
         "{day} {time} mx1 fail2ban-server[1234]: fail2ban.actions [1234]: NOTICE [{jail}] Ban {ip}",
         "{day} {time} mx1 fail2ban: [{jail}] Ban {ip}"]


# What recidive counts from fail2ban 1.1.1 on, where NOTICE is optional; those before it must do with
# our file, too.
NEWER = r"""
[Definition]
_daemon = (?:fail2ban(?:-server|\.actions)?\s*)
failregex = ^%(__prefix_line)s(?:\s*fail2ban(?:\.actions)?\s*%(__pid_re)s?:\s+)?(?:NOTICE\s+)?\[(?!recidive\])(?:.*)\]\s+Ban\s+<HOST>\s*$
datepattern = ^{DATE}
[INCLUDES]
before = common.conf
"""


@pytest.mark.parametrize("newer", [False, True], ids=["as installed", "NOTICE optional"])
def test_recidive_ignores_bans_of_the_mesh_in_every_form(tmp_path, newer):
    """Without NOTICE, as the journal has it, a ban of the mesh went back to the mesh as our own."""
    now = time.strftime("%Y-%m-%d %H:%M:%S").split()

    def lines(jail):
        return [form.format(day=now[0], time=now[1], jail=jail, ip=IPV4) for form in FORMS]
    if newer:
        server = Fail2banServer(tmp_path / "server", files={"filter.d/recidive.conf": NEWER})
        log = tmp_path / "fail2ban.log"
        append(log, lines("shared") + lines("sshd"))
        counted = subprocess.run(
            [*tool("regex"), "-c", str(server.conf), "-o", "<matches>", str(log), "recidive"],
            capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        assert len(counted) >= 5
    else:
        counted = passes_recidive(tmp_path, lines("shared") + lines("sshd"))
    assert counted and set(counted) <= set(lines("sshd"))
