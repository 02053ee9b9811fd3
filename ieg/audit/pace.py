"""How fast a backbone makes features of a user's images on this machine."""

import concurrent.futures
import contextlib
import time
from collections.abc import Sequence

import numpy as np

from ieg.config import Config
from ieg.data.images.squares import SquareImages
from ieg.data.images.survey import without_warnings
from ieg.features import embed, extract
from ieg.features.backbones import Backbone
from ieg.features.extract import BATCH, Files

# Batches of each core.
_BATCHES = 2


def images_per_second(
    backbone: Backbone, paths: Sequence[str], views: int = 0
) -> float:
    """Returns how many images become features in a second, with all cores.

    Args:
        backbone: the network.
        paths: of some of the images, which are decoded as well; none for
            images in arrays.
        views: random parts of each, besides the whole.
    """
    cores = extract.cores()
    shape = (BATCH, *backbone.image_shape)
    files = Files(SquareImages(paths, embed.framing_of(backbone)), views)

    def work(number: int) -> None:
        pixels = np.zeros(shape, np.uint8)
        if paths:
            first = BATCH * number
            files.decode([n % len(paths) for n in range(first, first + BATCH)])
        for _ in range(1 + views):
            backbone.compute(pixels).numpy()

    with (
        without_warnings(),
        concurrent.futures.ThreadPoolExecutor(cores) as pool,
    ):
        # Traces and plans.
        list(pool.map(work, range(cores)))
        started = time.perf_counter()
        list(pool.map(work, range(_BATCHES * cores)))
        seconds = time.perf_counter() - started
    return _BATCHES * cores * BATCH / seconds


def known_share(
    backbone: Backbone, paths: Sequence[str], config: Config
) -> float:
    """Returns the share of some images whose features are in the cache.

    Args:
        backbone: the network.
        paths: of the images; 0 is returned for none.
        config: of the run.
    """
    if not paths:
        return 0.0
    views = config.data.feature_views
    files = Files(SquareImages(paths, embed.framing_of(backbone)), views)
    cache = embed.cache_of(
        backbone, files, config.run.cache_dir, config.train.seed
    )
    digests = set()
    for number in range(len(paths)):
        # It will be reported when all are read.
        with contextlib.suppress(OSError):
            digests.add(files.digest(number))
    return len(cache.known(digests)) / max(1, len(digests))
