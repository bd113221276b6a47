"""What happens in the show: who attacks, the steps of each ban, and how long each leg took."""

import os
import re
import time
from collections import namedtuple
from datetime import datetime

NODES = ("mx1", "mx2", "mx3")
AGGREGATOR = "hist1"

# Who attacks, and the country that the database made for the show gives them.
ATTACKERS = {"45.154.244.193": "NL", "85.239.149.72": "BR", "2a02:4780:10::7": "SG"}
USERS = ("admin", "oracle", "test", "ubuntu", "git")  # as many as the jail's maxretry

FAIL2BAN_BAN = re.compile(r"^(\S+ \S+),(\d{3}) .*NOTICE\s+\[(\S+)\] Ban (\S+)$")
SHARED_LINE = re.compile(r": (\S+): (reported by .*) until \d+ nid (\d+)$")
HOOK_CALL = re.compile(r"^(\d+\.\d+) .*--ip (\S+)")

# The legs: whose, what, from which step, to which.
LEGS = [("fail2ban", "mx1: 5th failed password to Ban", ("attack", "mx1"), ("fail2ban", "mx1")),
        ("fail2ban", "mx1: Ban to the start of the hook", ("fail2ban", "mx1"), ("hook", "mx1"))]
LEGS += [("banmesh", "mx1's hook to %s's shared log" % name, ("hook", "mx1"), ("line", name))
         for name in NODES[1:]]
LEGS += [("banmesh", "mx1's hook to the store", ("hook", "mx1"), ("store", AGGREGATOR))]
LEGS += [("fail2ban", "%s: line to Ban" % name, ("line", name), ("fail2ban", name))
         for name in NODES[1:]]

Attempt = namedtuple("Attempt", "address user pid port")


class Story:
    """The steps so far. A step is (kind, host): the attack's last line, fail2ban's Ban, the start
    of the hook, a line in a shared log, the record in the store."""

    STEPS = {
        ("attack", "mx1"): "auth log: 5th failed password",
        ("fail2ban", "mx1"): "fail2ban: [sshd] Ban",
        ("hook", "mx1"): "fail2ban calls banmesh-publish",
        ("line", "mx2"): "shared log",
        ("line", "mx3"): "shared log",
        ("store", AGGREGATOR): "store",
        ("fail2ban", "mx2"): "fail2ban: [shared] Ban",
        ("fail2ban", "mx3"): "fail2ban: [shared] Ban",
    }

    def __init__(self, screen, countries):
        self.screen = screen
        self.countries = countries  # {address: country} that the store must have; None: any
        self.begun = None
        self.moments = {address: {} for address in ATTACKERS}  # address: {step: time}
        self.nids = {}
        self.records = {}

    # --- the attack ----------------------------------------------------------------------------

    @staticmethod
    def attempts():
        """The attack: each attacker tries each user once, in turns, a new connection each time."""
        return [Attempt(address, user, 21731 + 2 * (turn * len(ATTACKERS) + number),
                        40112 + 1733 * number + 38 * turn)
                for turn, user in enumerate(USERS) for number, address in enumerate(ATTACKERS)]

    def log_line(self, attempt):
        """What sshd logs of it, now."""
        now = time.time()
        line = ("%s mx1 sshd[%d]: Failed password for invalid user %s from %s port %d ssh2"
                % (time.strftime("%b %e %H:%M:%S", time.localtime(now)), attempt.pid, attempt.user,
                   attempt.address, attempt.port))
        if self.begun is None:
            self.begun = now
        if attempt.user == USERS[0]:
            self.screen.quote(line)
        if attempt.user == USERS[-1]:
            self._note(attempt.address, ("attack", "mx1"), now)
        return line

    # --- what came of it -----------------------------------------------------------------------

    def take(self, seen, key, line):
        """A line of a followed log. The clock is the log's own where it has one that is exact."""
        kind, host = key
        if kind == "fail2ban":
            match = FAIL2BAN_BAN.search(line)
            if match and match[3] == ("sshd" if host == NODES[0] else "shared"):
                stamp = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").timestamp()
                self._note(match[4], key, stamp + int(match[2]) / 1000)
        elif kind == "hook":
            match = HOOK_CALL.search(line)
            if match:
                self._note(match[2], key, float(match[1]))
        elif kind == "line":
            match = SHARED_LINE.search(line)
            if match:
                self.nids[match[1]] = match[3]
                self._note(match[1], key, seen, match[2])

    def look_into(self, store):
        """Look for the records that the store did not have yet. ValueError if one is wrong."""
        for address in self.awaited():
            record = store.attempt(self.nids[address])
            if record:
                self.records[address] = record
                self._note(address, ("store", AGGREGATOR), time.time(),
                           "country %s, f2b:%s" % (record.get("country"), self.nids[address]))
                self._check(address, record, store)

    def _check(self, address, record, store):
        country = record.get("country")
        expected = self.countries.get(address) if self.countries else None
        if country in (None, "XX") or country != (expected or country):
            raise ValueError("%s: the country in the store is %s, expected %s"
                             % (address, country, expected or "one"))
        if (record["ip"], record["jail"]) != (address, "sshd"):
            raise ValueError("%s: a wrong record in the store: %s" % (address, record))
        for name in self.sets(address):
            if self.nids[address] not in store.members(name):
                raise ValueError("%s: not in the set f2b:%s" % (address, name))

    def sets(self, address):
        """The names of the sets in the store that must have the ban of this address."""
        record = self.records[address]
        day = time.strftime("%Y-%m-%d", time.gmtime(int(record["timestamp"])))
        return [record["country"], record["jail"], address, day]

    def awaited(self):
        """The attackers who are in a shared log and not in the store."""
        return [address for address in self.nids if address not in self.records]

    def _note(self, address, step, moment, more=None):
        if address not in self.moments or step in self.moments[address]:
            return
        self.moments[address][step] = moment
        text = self.STEPS[step] + (": " + more if more else "")
        self.screen.row("%8.3f s  %-6s%-16s%s" % (moment - self.begun, step[1], address, text),
                        step[0] in ("line", "store"))

    def count(self):
        return sum(len(moments) for moments in self.moments.values())

    def missing(self):
        """What has not happened yet, in words."""
        return ["%s: %s: %s" % (address, step[1], text)
                for address, moments in self.moments.items()
                for step, text in self.STEPS.items() if step not in moments]

    # --- and what to say of it -----------------------------------------------------------------

    def leg(self, address, first, last):
        """Milliseconds between two steps. A log's stamp is cut to whole ones: never below 0."""
        moments = self.moments[address]
        return max(0.0, (moments[last] - moments[first]) * 1000)

    def tell_legs(self):
        self.screen.title("where the time went, in ms (all of it on %d cores)" % os.cpu_count())
        self.screen.say("%-46s%s" % ("", "".join("%16s" % address for address in ATTACKERS)))
        for whose, what, first, last in LEGS:
            digits = 1 if whose == "banmesh" else 0  # fail2ban's log has whole ones
            times = "".join("%16.*f" % (digits, self.leg(address, first, last))
                            for address in ATTACKERS)
            self.screen.row("  %-10s%-34s%s" % (whose, what, times), whose == "banmesh")

    def tell_record(self, store):
        """The history of one attacker, and the sets that its charts count."""
        address = next(iter(ATTACKERS))
        record = self.records[address]
        self.screen.title("in the store: HGETALL f2b:" + self.nids[address])
        for name in sorted(record):
            self.screen.say("  %-12s%s" % (name, record[name]))
        names = dict.fromkeys(name for each in ATTACKERS for name in self.sets(each))
        self.screen.say("and the sets that the charts count:")
        counts = ["f2b:%s %d" % (name, store.count(name)) for name in sorted(names, key=len)]
        for at in range(0, len(counts), 4):
            self.screen.say("  " + "".join("%-24s" % text for text in counts[at:at + 4]).rstrip())

    def last_words(self):
        """What happened, in two lines."""
        ours = [self.leg(address, first, last) for address in ATTACKERS
                for whose, _, first, last in LEGS if whose == "banmesh" and last[0] == "line"]
        whole = [self.leg(address, ("attack", "mx1"), ("fail2ban", name)) / 1000
                 for address in ATTACKERS for name in NODES[1:]]
        return ["%d attackers of mx1 are banned on mx2 and mx3, too, %.1f to %.1f s after their"
                " last try." % (len(ATTACKERS), min(whole), max(whole)),
                "banmesh took %.1f to %.1f ms of that; the rest is fail2ban's own."
                % (min(ours), max(ours))]
