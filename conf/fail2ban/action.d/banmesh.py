# banmesh: hand each ban of a jail to the local banmesh node, which tells its peers. Does what
# action.d/banmesh.conf does, inside fail2ban: no process for each ban.
#
# Enable it in the jails whose bans you want to share, beside the action that blocks:
#
#     [sshd]
#     action = %(action_)s
#              banmesh.py
#
# With port and protocol, which the peers then see in their reports:
#
#              banmesh.py[port="%(port)s", protocol="%(protocol)s"]
#
# Never use it in the jail [shared]: that one holds what the peers have banned. Use this file or
# banmesh.conf in a jail, not both.
#
# Further options, with what they are if they are not given:
#
#     socket = /run/banmesh/publish.sock  of banmeshd
#     spool = /var/spool/banmesh          bans are kept there if banmeshd does not answer
#     unbans = yes                        announce that a ban was lifted before its end
#     name = the jail's                   as the peers see it
#     address = <ip>                      that is announced
#     duration = <bantime>                how long the ban runs for the peers, in seconds
#
# name and address may be <F-...>, which the filter captured (jail.d/banmesh-fail2ban.conf).
#
# A ban that could not be stored within 2 s is lost; fail2ban's log says so. fail2ban goes on then:
# nothing here raises an exception (it would only log it, with the attacker's lines).
"""The publish hook as an action of fail2ban. docs/protocol.md has the request and the spool."""

import fcntl
import os
import re
import socket
import stat
import threading
import time
import zlib

from fail2ban.server.action import ActionBase

ANSWER_WAIT_S = 1.0
LIMIT_S = 1.9  # of one call: fail2ban's jail waits for it
ANSWER_MAX = 600  # bytes
VALUE_MAX = 255  # bytes, before a value is quoted
SPOOL_MODE = 0o660
LOCK_PAUSE_S = 0.005

DEFAULTS = {
    "socket": "/run/banmesh/publish.sock",
    "spool": "/var/spool/banmesh",
    "port": "",
    "protocol": "",
    "unbans": "yes",
    "name": "<name>",
    "address": "<ip>",
    "duration": "<bantime>",
}
YES = ("yes", "true", "on", "1")
NO = ("no", "false", "off", "0")


class NotStored(Exception):
    """Nobody took it; says why."""


class Malformed(Exception):
    """Repeating it cannot help; says why."""


# ---- requests ----

def quoted(value):
    """A value as it stands in a request: printable ASCII but for the blank and '%'."""
    text = str(value).encode("utf-8", "surrogateescape")[:VALUE_MAX]
    return b"".join(b"%c" % byte if 0x20 < byte < 0x7f and byte != 0x25 else b"%%%02x" % byte
                    for byte in text)


def request(verb, fields):
    """The line, without its newline."""
    return b" ".join([verb] + [name.encode() + b"=" + quoted(value) for name, value in fields])


def check(fields):
    """What no node would take is not spooled. Raises Malformed."""
    values = {name: str(value) for name, value in fields}
    expected = (
        ("jail", r".+", "the name of a jail"),
        ("time", r"[0-9]+(\.[0-9]*)?", "seconds since 1970"),
        ("bantime", r"-1|[0-9]+(\.[0-9]*)?", "seconds, or -1 for ever"),
    )
    if not is_address(values["ip"]):
        raise Malformed('ip "%.80s": expected an address' % values["ip"])
    for name, form, what in expected:
        if not re.fullmatch(form, values[name], re.DOTALL):
            raise Malformed('%s "%.80s": expected %s' % (name, values[name], what))


def is_address(text):
    """An address of one of the families, with a prefix length or without."""
    address, slash, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):
        return False
    longest = 128 if family == socket.AF_INET6 else 32
    return not slash or (re.fullmatch("[0-9]{1,3}", length, re.ASCII) is not None
                         and int(length) <= longest)


def printable(text):
    """No value may write into fail2ban's log what it likes."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


# ---- the node ----

def read_answer(node, deadline):
    """The answer without its newline. Raises OSError if none comes in time."""
    answer = b""
    was_reset = False
    while b"\n" not in answer and len(answer) < ANSWER_MAX:
        node.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            some = node.recv(ANSWER_MAX)
        except ConnectionResetError:
            if was_reset:
                raise
            was_reset = True  # the reset is told first, once: the answer waits behind it
            continue
        if not some:
            break
        answer += some
    if b"\n" not in answer:
        raise OSError("no answer")
    return answer.split(b"\n")[0].decode("ascii", "replace")


def ask_node(path, line):
    """Hand the request in. Returns the answer; raises NotStored if there is none."""
    deadline = time.monotonic() + ANSWER_WAIT_S
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as node:
            node.setblocking(False)  # a full backlog is an error at once
            node.connect(path)
            try:
                node.sendall(line + b"\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # a node that refuses us may have hung up: its answer waits all the same
            return read_answer(node, deadline)
    except socket.timeout:
        raise NotStored("%s: no answer" % path) from None
    except (OSError, ValueError) as error:
        raise NotStored("%s: %s" % (path, getattr(error, "strerror", None) or error)) from None


# ---- the spool ----

def is_behind_name(fd, dir_fd):
    """Whether this is still the file of that name: the node may have renamed it."""
    own = os.fstat(fd)
    try:
        named = os.stat("spool", dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (own.st_ino, own.st_dev) == (named.st_ino, named.st_dev)


def lock(fd, deadline):
    """Others hold it for one sync each."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError("cannot be locked") from None
            time.sleep(LOCK_PAUSE_S)


def open_locked(dir_fd, deadline):
    """The file, with its lock held; again if the node renamed it in between."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        fd = os.open("spool", flags, SPOOL_MODE, dir_fd=dir_fd)
        try:
            lock(fd, deadline)
            if is_behind_name(fd, dir_fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def write_record(fd, dir_fd, record):
    """Append it with one write, and sync the file and its name."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError("expected a regular file with one name")
    size = status.st_size
    if size > 0 and os.pread(fd, 1, size - 1) != b"\n":
        record = b"\n" + record  # behind a torn one
    if size == 0:
        try:
            os.fchmod(fd, SPOOL_MODE)  # others share the file, whatever the umask is
        except PermissionError:
            pass
    try:
        if os.write(fd, record) != len(record):
            raise OSError("No space left on device")
    except OSError:
        os.ftruncate(fd, size)
        raise
    os.fsync(fd)
    os.fsync(dir_fd)


def spool_append(directory, line, deadline):
    """Keep the request on disk. Raises NotStored."""
    try:
        dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_locked(dir_fd, deadline)
            try:
                write_record(fd, dir_fd, b"%s crc=%08x\n" % (line, zlib.crc32(line)))
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)
                os.close(fd)
        finally:
            os.close(dir_fd)
    except (OSError, ValueError) as error:
        raise NotStored("%s/spool: %s" % (directory, getattr(error, "strerror", None)
                                          or error)) from None


def spool_in_time(directory, line, deadline):
    """As spool_append, but a disk that hangs does not hold fail2ban: its sync is left behind."""
    faults = []

    def append():
        try:
            spool_append(directory, line, deadline)
        except Exception as fault:  # pylint: disable=broad-except
            faults.append(fault)

    writer = threading.Thread(target=append, daemon=True)
    writer.start()
    writer.join(max(deadline - time.monotonic(), 0.001))
    if writer.is_alive():
        raise NotStored("%s/spool: not stored within 2 s" % directory)
    if faults:
        raise faults[0]


# ---- the action ----

class BanmeshAction(ActionBase):
    """Called by fail2ban in the jail's thread. Its options are attributes, so that
    fail2ban-client can read and set them."""

    norestored = 1  # after a restart fail2ban bans again what it had banned before: no news
    banEpoch = 0  # fail2ban asks every action of a jail for it once one was repaired
    _prolongable = True

    # `name` may be one of the options, too.
    def __init__(self, jail, actname, /, **options):
        super().__init__(jail, actname)
        self._set(options)

    def _set(self, options):
        for option in set(options) - set(DEFAULTS):
            self._logSys.error('[%s] banmesh.py: option "%s" is not known: expected one of %s',
                               self._jail.name, printable(option), ", ".join(sorted(DEFAULTS)))
        for option, default in DEFAULTS.items():
            setattr(self, option, str(options.get(option, default)))
        if self.unbans.lower() not in YES + NO:
            self._logSys.error('[%s] banmesh.py: unbans "%s": expected yes or no; unbans are not '
                               "announced", self._jail.name, printable(self.unbans))

    # Without these two, fail2ban drops the action at a plain reload.
    def clearAllParams(self):
        """Before a reload: the options come with it."""

    def reload(self, **options):
        """At the end of a reload, with what the jail says now."""
        self._set(options)

    def consistencyCheck(self, *_):
        """There is nothing here that somebody else could have removed."""
        return True

    def start(self):
        """Nothing to prepare."""

    def stop(self):
        """Nothing to undo."""

    def flush(self):
        """All bans end at once: a stop, or `unban --all`. That is no pardon."""
        return True

    def ban(self, aInfo):
        """A new ban."""
        self._guarded("ban", self._announce, aInfo)

    def reban(self, aInfo):
        """Once more, since the action of somebody else had failed: the node knows it already."""
        self.ban(aInfo)

    def prolong(self, aInfo):
        """With bantime.increment the longer ban time comes here, with the same time."""
        self._guarded("longer ban", self._announce, aInfo)

    def unban(self, aInfo):
        """Lifted by hand, or simply at its end."""
        if self.unbans.lower() in YES:
            self._guarded("unban", self._withdraw, aInfo)

    def _guarded(self, what, call, info):
        """Nothing reaches fail2ban's thread: it is said in its log."""
        try:
            call(info)
        except Malformed as fault:
            # A node that is older than unbans does not know them.
            say = self._logSys.info if what == "unban" else self._logSys.error
            say("[%s] banmesh.py: %s is malformed: %s", self._jail.name, what, printable(fault))
        except Exception as fault:  # pylint: disable=broad-except
            self._logSys.error("[%s] banmesh.py: %s not stored: %s", self._jail.name, what,
                               printable(fault))

    # Only what costs nothing is taken from the ticket: others ask the DNS or the database.
    def _announce(self, info):
        if info["restored"]:
            return
        self._hand_in(b"ban", [
            ("jail", self._value(self.name, info)),
            ("ip", self._value(self.address, info)),
            ("time", info["time"]),
            ("bantime", self._value(self.duration, info)),
            ("failures", info["failures"]),
            ("bancount", info["bancount"]),
            ("port", self.port),
            ("protocol", self.protocol),
        ])

    def _withdraw(self, info):
        now = time.time()
        begun, lasts = float(info["time"]), float(info["bantime"])
        if 0 <= lasts and begun + lasts <= now:
            return  # it had simply ended
        self._hand_in(b"unban", [
            ("jail", self._value(self.name, info)),
            ("ip", self._value(self.address, info)),
            ("time", info["time"]),
            ("bantime", info["bantime"]),
            ("at", "%.3f" % now),
        ])

    def _value(self, option, info):
        """What an option says, a tag replaced by its value."""
        if option == "<name>":
            return self._jail.name
        if option in ("<ip>", "<bantime>"):
            return info[option[1:-1]]
        captured = re.fullmatch("<F-([A-Z0-9_-]+)>", option)
        if captured is None:
            return option
        return (info["F-*"] or {}).get(captured.group(1).lower(), "")

    def _hand_in(self, verb, fields):
        """To the node, or if it does not take it into the spool."""
        deadline = time.monotonic() + LIMIT_S
        line = request(verb, fields)
        try:
            answer = ask_node(self.socket, line)
            word, _, why = answer.partition(" ")
            if word in ("ok", "skipped"):
                return
            if word == "malformed":
                raise Malformed(why)
            raise NotStored("%s: %s" % (self.socket, why if word == "failed"
                                        else 'answered "%.60s"' % answer))
        except NotStored as fault:
            check(fields)
            try:
                spool_in_time(self.spool, line, deadline)
            except NotStored as second:
                raise NotStored("%s; %s" % (fault, second)) from None


Action = BanmeshAction
