"""Features of images: computed once, by all cores, and kept in a cache.

Each core decodes a few images and shows them to the network, so both overlap
and no core waits. What has been computed is on the disk within seconds, see
`ieg.features.cache`.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from ieg.data.images.files import progress_bar
from ieg.data.images.squares import SquareImages, squares, windows
from ieg.data.images.survey import without_warnings
from ieg.errors import RunError, UsageError, failed
from ieg.features.cache import STORED, Cache, narrowed
from ieg.utils.text import duration

# Images that a core decodes, and then shows to the network, at a time. With
# more, what a layer computes no longer fits into the cache of the core.
BATCH = 16
# Calls of the network at a time, each of which holds some 100 MB.
_CALLS = 8
# Batches for each core after which it is known how long all of them take, and
# seconds that are worth a word.
_FIRST, _LONG = 4, 30.0
# A shard is written after so many seconds, or when it has so many images.
_SECONDS, _IMAGES = 10.0, 2**14
# Spreads the numbers of consecutive processes over [0, 1).
_GOLDEN = 0.6180339887498949


class Decoded(NamedTuple):
    """Some images.

    Attributes:
        numbers: of the n that could be decoded.
        digests: of their contents.
        pixels: uint8 [n, 1 + views, H, W, channels], as a network sees them.
        problems: (number, reason) of the others.
    """

    numbers: list[int]
    digests: list[bytes]
    pixels: np.ndarray
    problems: list[tuple[int, str]]


class Images(Protocol):
    """Images 0..N-1, whatever they are in.

    Attributes:
        framing: how they become what a network sees.
        views: number of random parts of each, besides the whole.
        shape: (H, W, channels) of what a network sees.
    """

    framing: str
    views: int
    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def digest(self, number: int) -> bytes:
        """Returns the SHA-256 of the content of an image.

        Raises:
            OSError: its file cannot be read.
        """
        ...

    def decode(self, numbers: Sequence[int]) -> Decoded:
        """Returns some images; whatever is wrong with one is only noted."""
        ...

    def problem(self, number: int, error: Exception) -> str:
        """Returns in a few words why an image could not be read."""
        ...

    def name(self, number: int) -> str:
        """Returns the name of an image, for messages."""
        ...


class Rows:
    """Images of an array; see `Images`.

    Args:
        array: uint8 [n, H, W, channels].
        rows: which of them, int [N].
    """

    views = 0

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self._array = array
        self._rows = rows
        self.shape: tuple[int, ...] = array.shape[1:]
        self.framing = f'whole {list(self.shape)}'

    def __len__(self) -> int:
        return len(self._rows)

    def digest(self, number: int) -> bytes:
        """Returns the SHA-256 of the pixels."""
        pixels = self._array[self._rows[number]]
        return hashlib.sha256(pixels.tobytes()).digest()

    def decode(self, numbers: Sequence[int]) -> Decoded:
        """Returns some images."""
        pixels = self._array[self._rows[list(numbers)], np.newaxis]
        return Decoded(list(numbers), [*map(self.digest, numbers)], pixels, [])

    def problem(self, number: int, error: Exception) -> str:
        """Raises the error: an array can be read."""
        raise error

    def name(self, number: int) -> str:
        """Returns the name of an image."""
        return f'Image {number}'


class Files:
    """Images in files; see `Images`.

    Args:
        images: the files, and what is shown of them.
        views: number of random parts of each, besides the centre.
        seed: of these; they depend on it and on the content of the file.
    """

    framing = 'squares'

    def __init__(self, images: SquareImages, views: int = 0, seed: int = 0):
        self.views = views
        self.shape = images.shape
        self._images = images
        self._seed = seed

    def __len__(self) -> int:
        return len(self._images)

    def digest(self, number: int) -> bytes:
        """Returns the SHA-256 of a file."""
        return hashlib.sha256(self._images.content(number)).digest()

    def decode(self, numbers: Sequence[int]) -> Decoded:
        """Decodes some files."""
        decoded: dict[int, tuple[bytes, np.ndarray]] = {}
        problems = []
        for number in numbers:
            try:
                content = self._images.content(number)
                digest = hashlib.sha256(content).digest()
                decoded[number] = digest, self._squares(content, digest)
            # A damaged file can raise anything.
            except Exception as error:
                problems.append((number, self.problem(number, error)))
        return Decoded(
            list(decoded),
            [digest for digest, _ in decoded.values()],
            np.array([pixels for _, pixels in decoded.values()], np.uint8),
            problems,
        )

    def problem(self, number: int, error: Exception) -> str:
        """Returns in a few words why a file could not be read."""
        return self._images.problem(number, error)

    def name(self, number: int) -> str:
        """Returns the path of a file."""
        return self._images.name(number)

    def _squares(self, content: bytes, digest: bytes) -> np.ndarray:
        """Returns centre and views of an image, uint8 [1 + v, S, S, 3]."""
        framing = self._images.framing
        if not self.views:
            return squares(content, framing.size)
        seeds = [
            hashlib.sha256(b'%s %d %d' % (digest, self._seed, view)).digest()
            for view in range(self.views)
        ]
        numbers = np.frombuffer(b''.join(seeds), '<i4').reshape(-1, 8)
        parts = windows(content, numbers[:, :3], framing)
        return squares(content, framing.size, parts)


# Shows the network n images, uint8 [n, H, W, channels] -> float32 [n, width].
Network = Callable[[np.ndarray], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Features of N images, of which u are different.

    Attributes:
        stored: float16 [u, 1 + views, width].
        rows: int [N], the row of each image; -1 if it cannot be decoded.
        problems: the numbers of these, and why in a few words.
    """

    stored: np.ndarray
    rows: np.ndarray
    problems: dict[int, str]


def features(
    images: Images, network: Network, width: int, cache: Cache, name: str
) -> Features:
    """Returns features of images, as far as possible from the cache.

    Args:
        images: N of them.
        network: makes features of them.
        width: of the features.
        cache: of what this network makes of such images.
        name: of the network; for messages.

    Raises:
        RunError: the cache can no longer be written, or memory ends.
        UsageError: the network gives features that cannot be stored.
    """
    with without_warnings():
        digests, problems = _digests(images)
        # The first image of each content.
        first: dict[bytes, int] = {}
        for number, digest in digests.items():
            first.setdefault(digest, number)
        work = _Work(images, list(first), network, width, cache, name)
        bad = work.run(list(first.values()))
    problems |= {
        n: bad[first[d]] for n, d in digests.items() if first[d] in bad
    }
    rows = np.full(len(images), -1)
    for number in digests.keys() - problems.keys():
        rows[number] = work.places[digests[number]]
    return Features(work.stored, rows, problems)


def _digests(images: Images) -> tuple[dict[int, bytes], dict[int, str]]:
    """Returns digests by number, and why others cannot be read."""

    def digest(number: int) -> bytes | str:
        try:
            return images.digest(number)
        except OSError as error:
            return images.problem(number, error)

    found: dict[int, bytes] = {}
    problems: dict[int, str] = {}
    numbers = range(len(images))
    with _threads() as pool, progress_bar(len(images), 'Reading') as bar:
        for number, result in enumerate(pool.map(digest, numbers)):
            if isinstance(result, bytes):
                found[number] = result
            else:
                problems[number] = result
            bar.update()
    return found, problems


@contextlib.contextmanager
def _threads() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Yields one thread per core; what waits when the block ends is dropped."""
    pool = concurrent.futures.ThreadPoolExecutor(cores())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Returns how many cores this process may use."""
    affinity = getattr(os, 'sched_getaffinity', None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _announce(seconds: float) -> None:
    """Says how long the rest takes, unless it is soon done."""
    if seconds > _LONG:
        print(f'About {duration(seconds)} left.', file=sys.stderr, flush=True)


class _Work:
    """The computation of features that the cache lacks.

    Args:
        images: N of them.
        digests: of the u different contents.
        network, width, cache, name: see `features`.

    Attributes:
        places: of the contents, 0..u-1, by digest.
        stored: float16 [u, 1 + views, width]; zeros until they are known.
    """

    def __init__(
        self,
        images: Images,
        digests: Sequence[bytes],
        network: Network,
        width: int,
        cache: Cache,
        name: str,
    ):
        self.places = {digest: place for place, digest in enumerate(digests)}
        shape = (len(digests), 1 + images.views, width)
        self.stored = np.zeros(shape, STORED)
        self._known = np.zeros(len(digests), bool)
        self._images = images
        self._network = network
        self._cache = cache
        self._name = name
        self._calls = threading.Semaphore(_CALLS)
        self._reading = threading.Lock()
        # The shard under way, since when, and what is on the disk.
        self._shard: list[tuple[list[bytes], np.ndarray]] = []
        self._since = time.monotonic()
        self._written = 0

    def run(self, numbers: Sequence[int]) -> dict[int, str]:
        """Gets all features.

        Args:
            numbers: an image of each content, [u].

        Returns:
            The numbers of those that cannot be decoded, and why.
        """
        self._cache.read(self.places, self.stored, self._known)
        places = np.flatnonzero(~self._known)
        # Always the same ones together: an interruption changes nothing.
        batches = [places[n : n + BATCH] for n in range(0, len(places), BATCH)]
        if not batches:
            return {}
        # Processes that share the work begin at different places of it.
        first = int(os.getpid() * _GOLDEN % 1 * len(batches))
        problems = self._compute(batches[first:] + batches[:first], numbers)
        # Where two processes had the same image, all go by the same features.
        self._cache.again()
        known = np.zeros_like(self._known)
        self._cache.read(self.places, self.stored, known)
        return problems

    def _compute(
        self, batches: Sequence[np.ndarray], numbers: Sequence[int]
    ) -> dict[int, str]:
        """Computes features of batches of places; see `run`."""
        problems: dict[int, str] = {}
        count = sum(map(len, batches))
        what = f'Computing {self._name} features of'
        with progress_bar(count, what, announced=1) as bar, _threads() as pool:

            def work(places: np.ndarray) -> tuple[Decoded, np.ndarray] | None:
                # Another process may have them by now.
                with self._reading:
                    self._cache.read(self.places, self.stored, self._known)
                if self._known[places].all():
                    return None
                return self._features([numbers[place] for place in places])

            started = time.monotonic()
            try:
                for place, (places, made) in enumerate(
                    zip(batches, pool.map(work, batches), strict=True)
                ):
                    if made is not None:
                        problems |= self._take(*made)
                    bar.update(len(places))
                    if place == _FIRST * cores():
                        spent = time.monotonic() - started
                        _announce(spent * (len(batches) / (place + 1) - 1))
                self._write()
            except BaseException:
                # The next attempt resumes from here.
                with contextlib.suppress(RunError):
                    self._write()
                raise
        return problems

    def _features(self, numbers: Sequence[int]) -> tuple[Decoded, np.ndarray]:
        """Returns images, and their features float16 [n, 1 + views, width]."""
        decoded = self._images.decode(numbers)
        shape = (len(decoded.numbers), *self.stored.shape[1:])
        flat = decoded.pixels.reshape(-1, *decoded.pixels.shape[2:])
        made = np.zeros((len(flat), shape[-1]), STORED)
        for start in range(0, len(flat), BATCH):
            rows = slice(start, start + BATCH)
            with self._calls:
                shown = self._network(flat[rows]).numpy()
            try:
                made[rows] = narrowed(shown)
            except ValueError as error:
                raise UsageError(
                    f'The backbone {self._name} gives {error}: choose another '
                    'one.'
                ) from None
        return decoded, made.reshape(shape)

    def _take(self, decoded: Decoded, made: np.ndarray) -> dict[int, str]:
        """Keeps what was computed.

        Returns:
            The numbers of images that cannot be decoded, and why.

        Raises:
            RunError: a file was changed meanwhile, or nothing can be written.
        """
        for number, digest, row in zip(
            decoded.numbers, decoded.digests, made, strict=True
        ):
            if digest not in self.places:
                raise RunError(
                    f'{self._images.name(number)} was changed while its '
                    'features were computed: run the same command again.'
                )
            self.stored[self.places[digest]] = row
            self._known[self.places[digest]] = True
        self._shard.append((decoded.digests, made))
        late = time.monotonic() - self._since > _SECONDS
        if late or sum(len(rows) for _, rows in self._shard) >= _IMAGES:
            self._write()
        return dict(decoded.problems)

    def _write(self) -> None:
        """Writes the shard under way.

        Raises:
            RunError: that is not possible.
        """
        shard, self._shard = self._shard, []
        self._since = time.monotonic()
        digests = [digest for some, _ in shard for digest in some]
        if not digests or self._cache.obstacle:
            return
        try:
            self._cache.write(digests, np.concatenate([r for _, r in shard]))
        except OSError as error:
            raise RunError(
                f'{failed(error)}. The features computed so far are kept: once '
                'that is solved, or with another --cache_dir, run the same '
                'command again to resume.'
            ) from error
