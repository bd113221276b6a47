"""A session of its own for the show, and the signals that end it.

What is kept running must outlive the terminal: the kernel hangs up on everything in the foreground
of one that closes. So a second process, without a terminal, runs the show and all that belongs to
it; the first one only waits, and hands signals over.
"""

import os
import signal
import sys

ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Interrupted(Exception):
    """Somebody wants the show to end."""


def begin():
    """Go on in a new session; the process that was called waits for it, and ends as it ends.
    Returns the Stop of the new one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until both know what to do with them
    child = os.fork()
    if child == 0:
        os.setsid()
        stop = Stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return stop
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup
            signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(status if status >= 0 else 128 - status)


class Stop:
    """Remembers a signal to end, for the next look. An exception out of the handler could come
    between the start of a process and our note of its id."""

    def __init__(self):
        self.number = None
        for number in ENDING:
            signal.signal(number, self._note)

    def _note(self, number, _frame):
        if self.number is None:
            self.number = number
            os.killpg(0, number)  # all of the show, so that no wait for one of them takes longer

    def look(self):
        if self.number:
            raise Interrupted()
