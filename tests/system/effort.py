"""How much of a test that could go on for ever: `tests/run`, or `tests/run --long`."""

import os
import time

LONG = os.environ.get("BANMESH_LONG") == "1"


def rounds(usual, long):
    """How many rounds to run."""
    return long if LONG else usual


def new_seed():
    """The seed of a random test, printed; BANMESH_SEED repeats one."""
    seed = int(os.environ.get("BANMESH_SEED", time.time_ns() // 1000 % 10**9))
    print("seed", seed, "(repeat with BANMESH_SEED=%d)" % seed)
    return seed
