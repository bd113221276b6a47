"""What the person sees: short aligned lines; colours on a terminal only."""

import os
import sys

BOLD, DIM, RED, GREEN = "1", "2", "31", "32"


class Screen:
    def __init__(self):
        self.colours = (sys.stdout.isatty() and "NO_COLOR" not in os.environ
                        and os.environ.get("TERM") != "dumb")
        self.doing = "start"  # the step that failed, if one does

    def paint(self, text, colour):
        return "\033[%sm%s\033[0m" % (colour, text) if self.colours else text

    def say(self, text=""):
        """A line, at once: the show is live even through a pipe."""
        try:
            print(text, flush=True)
        except BrokenPipeError:  # nobody looks any more: go on, to end what was started
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def step(self, name, text):
        self.say("%-12s%s" % (name, text))

    def title(self, text):
        self.say("\n" + self.paint(text, BOLD))

    def quote(self, line):
        self.say("  " + self.paint(line, DIM))

    def row(self, text, ours):
        """A row of a table; what is banmesh's own stands out."""
        self.say(self.paint(text, GREEN) if ours else text)

    def failure(self, text):
        self.say("\n" + self.paint(text, RED))
