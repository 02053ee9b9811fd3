"""Independent random numbers for every purpose, from one seed."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Returns the generator of one purpose.

    Two purposes never share numbers, nor do two tuples of `numbers`: a list as
    the seed of `default_rng` would make [1] and [1, 0] the same.

    Args:
        seed: of the run.
        purpose: what is drawn ("noise").
        *numbers: which of them (epoch, network), each 0 or more.
    """
    key = (zlib.crc32(purpose.encode()), *numbers)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
