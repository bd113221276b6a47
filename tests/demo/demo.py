#!/usr/bin/python3
"""The show of ./quickstart: an attack on one server, banned on three, in a private directory.

    BANMESH_BIN=build/release /usr/bin/python3 tests/demo/demo.py [--keep]

Nodes, aggregator and fail2ban servers are the real ones, on loopback; only the attack is staged.
Exit 0 only if every step of Story.STEPS happened for every attacker; 1 if not, and then the logs
are kept.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to end yet
# What follows logs and reads logs: one time zone for all, and none that changes twice a year.
os.environ["TZ"] = "UTC"
time.tzset()

import session  # noqa: E402
from screen import Screen  # noqa: E402
from stage import Stage  # noqa: E402
from story import ATTACKERS, NODES, Story  # noqa: E402

ATTACK_PAUSE = 0.08  # s between two lines of the attack
PATIENCE = 60        # s without a new step before the show has failed; normally it takes 1
NEXT = "Next: README.md says how to put it on your own servers."


class Failed(Exception):
    """A step that had to happen did not."""


def replay(stage, story, stop):
    """Write the attack into node 1's auth log and follow it everywhere, until all has happened."""
    attempts = story.attempts()
    due = patience = time.monotonic()
    steps = 0
    with open(stage.auth_log, "a", encoding="ascii", buffering=1) as auth_log:
        while attempts or story.missing():
            stop.look()
            stage.look()
            now = time.monotonic()
            if attempts and now >= due:
                auth_log.write(story.log_line(attempts.pop(0)) + "\n")
                due = now + ATTACK_PAUSE
            for seen, key, line in stage.watch.lines(0.002 if story.awaited() else 0.02):
                story.take(seen, key, line)
            story.look_into(stage.store)
            if story.count() > steps:
                steps, patience = story.count(), now
            if now - patience > PATIENCE:
                raise Failed("\n".join(story.missing()))
    for name in NODES[1:]:
        lost = sorted(set(ATTACKERS) - set(stage.fail2ban[name].banned("shared")))
        if lost:
            raise Failed("%s: fail2ban logged Ban, but does not hold %s" % (name, " ".join(lost)))


def wait_unban(stage, address, begun):
    """{node: ms until its fail2ban has let go}."""
    words = "[shared] Unban %s\n" % address
    ms = {}
    while len(ms) < len(NODES) - 1:
        for name in set(NODES[1:]) - set(ms):
            if words in stage.fail2ban[name].log_text():
                ms[name] = (time.monotonic() - begun) * 1000
        if time.monotonic() - begun > PATIENCE:
            raise Failed("fail2ban lets go of %s on %s" % (address, " and ".join(NODES[1:])))
        time.sleep(0.001)
    return ms


def tell_lift(stage, screen, stop):
    """Why an attacker is banned elsewhere, and a pardon that lifts it everywhere."""
    address = sorted(ATTACKERS)[0]
    screen.doing = "why"
    screen.title("why is it banned there? on mx2: banmesh why " + address)
    for line in stage.command(NODES[1], "why", address).splitlines():
        screen.quote(line)
    stop.look()
    screen.doing = "pardon"
    reason = "a customer's monitoring"
    screen.title('a false alarm: on mx1: banmesh pardon %s --reason "%s"' % (address, reason))
    begun = time.monotonic()
    process = stage.begin(NODES[0], "pardon", address, "--reason", reason)
    ms = wait_unban(stage, address, begun)
    said, _ = process.communicate(timeout=PATIENCE)
    for line in said.splitlines():
        screen.quote(line)
    for name, passed in sorted(ms.items()):
        screen.row("  %s       fail2ban has let go after %4.0f ms" % (name, passed), True)


def show(stage, screen, stop):
    """The whole show. Returns the last words."""
    for name, act in stage.acts():
        stop.look()
        screen.doing = name
        screen.step(name, act())
    stop.look()
    screen.doing = "attack"
    story = Story(screen, stage.countries)
    screen.title("three attackers guess passwords on mx1, five times each; its auth log says")
    replay(stage, story, stop)
    story.tell_legs()
    story.tell_record(stage.store)
    tell_lift(stage, screen, stop)
    return story.last_words()


def tell_failure(error, stage, screen):
    screen.failure("%s: this did not happen:" % screen.doing)
    text = str(error) or type(error).__name__
    for line in text.strip().splitlines()[-20:]:
        screen.say("  " + line)
    screen.say("the logs are kept in %s: */daemon.log, */fail2ban/*.log, store/log"
               % stage.directory)


def keep_running(stage, screen):
    screen.title("everything goes on running, in " + stage.directory)
    for name, command in stage.commands():
        screen.step(name, command)


def main():
    parser = argparse.ArgumentParser(description="The show of ./quickstart.")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    keep = parser.parse_args().keep
    stop = session.begin()
    screen = Screen()
    stage = Stage(tempfile.mkdtemp(prefix="banmesh-"), os.environ.get("GEOIP"))
    status = 1
    kept = False
    try:
        words = show(stage, screen, stop)
        stop.look()
        if keep:
            keep_running(stage, screen)
            kept = True
        status = 0
    except Exception as error:  # whatever it is: say it, and end everything
        if stop.number:
            screen.failure("interrupted: ending everything")
            status = 128 + stop.number
        else:
            tell_failure(error, stage, screen)
    finally:
        if not kept:
            stage.stop()
    if status != 1 and not kept:
        shutil.rmtree(stage.directory)
        screen.step("ended", "every process of the show; its directory is removed")
    if status == 0:
        screen.title("\n".join(words))
        screen.say(NEXT)
    return status


if __name__ == "__main__":
    sys.exit(main())
