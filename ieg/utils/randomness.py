"""Independent random numbers for each purpose from one seed."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Returns the random generator of a purpose.

    Different purposes, and different `numbers`, have different streams; a list
    as the seed of `default_rng` would treat [1] and [1, 0] as equal.

    Args:
        seed: seed of the run.
        purpose: what is drawn, such as "noise".
        *numbers: for instance epoch and network, each 0 or more.
    """
    key = (zlib.crc32(purpose.encode()), *numbers)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
