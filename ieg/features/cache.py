"""Features on the disk, kept by the content of what they were computed from.

A folder `CACHE_DIR/features/KEY` has the features of one backbone and framing,
in shards: files of some images each, which are written as a whole. Processes
that share the folder only ever add shards, so what a kill leaves is harmless,
and images that were added cost only themselves.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import stat
import sys
import time
import uuid
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ieg.utils.files import (
    atomic_open,
    cache_folder,
    clear_leftovers,
    is_temporary,
)
from ieg.utils.text import counted

# Increased whenever other pixels or other features come of the same content.
VERSION = 1
# Bytes of a digest.
DIGEST = 32
# As few bytes as a feature needs; see `narrowed`.
STORED = np.float16
_KEY = re.compile('[0-9a-f]{32}')
# Their order by name is that in which they were written.
_SHARD = re.compile(r'[0-9a-f]{16}-[0-9a-f]{32}\.npz')
# Seconds after which a temporary file is of a process that was killed.
_ABANDONED = 3600.0


@dataclasses.dataclass(frozen=True)
class Key:
    """What features depend on besides the content of an image.

    Attributes:
        weights: SHA-256 of the weights of the backbone.
        side: of the images that it sees, in pixels.
        framing: how pixels become such images.
        views: number of random views of each image, besides the plain one.
        seed: of these views; without effect if there are none.
    """

    weights: str
    side: int
    framing: str
    views: int = 0
    seed: int = 0

    def __str__(self) -> str:
        parts = vars(self) | {'seed': self.seed if self.views else 0}
        text = json.dumps({'version': VERSION, **parts}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def root(cache_dir: str = '') -> str:
    """Returns the folder of all features.

    Args:
        cache_dir: option of that name; '' for the usual folder.
    """
    return os.path.join(cache_folder(cache_dir), 'features')


class Cache:
    """The features of one key.

    Args:
        folder: see `root`.
        key: of the features.
        shape: of the features of one image, (1 + views, width).

    Attributes:
        folder: of the shards.
        obstacle: why nothing can be written, in a few words; '' if it can.
    """

    def __init__(self, folder: str, key: Key, shape: tuple[int, int]):
        self.folder = os.path.join(folder, str(key))
        self.obstacle = ''
        self._shape = shape
        self._read: set[str] = set()
        try:
            os.makedirs(self.folder, exist_ok=True)
            clear_leftovers(self.folder, older=_ABANDONED)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                self.obstacle = 'permission is denied'
        except OSError as error:
            self.obstacle = error.strerror or str(error)

    def read(
        self, places: Mapping[bytes, int], into: np.ndarray, known: np.ndarray
    ) -> None:
        """Reads features from the shards that were added since the last call.

        Where two of them have an image, the older one counts.

        Args:
            places: of images by digest, 0..n-1.
            into: gets features by place, float16 [n, 1 + views, width].
            known: bool [n], places that have their features; kept up to date.
        """
        for name in self._names():
            if name in self._read:
                continue
            self._read.add(name)
            path = os.path.join(self.folder, name)
            try:
                digests, features = self._shard(path)
            # A damaged file can raise anything.
            except Exception as error:
                self._report(path, error)
                continue
            found = np.array([places.get(digest, -1) for digest in digests])
            rows = np.flatnonzero(found >= 0)
            rows = rows[~known[found[rows]]]
            into[found[rows]] = features[rows]
            known[found[rows]] = True

    def known(self, wanted: Collection[bytes]) -> set[bytes]:
        """Returns those of some digests whose features are there.

        No features are read; damaged shards are left out.
        """
        found: set[bytes] = set()
        for name in self._names():
            path = os.path.join(self.folder, name)
            # A damaged file can raise anything.
            with contextlib.suppress(Exception):
                with np.load(path, allow_pickle=False) as arrays:
                    found.update(map(bytes, arrays['digests']))
        return found & set(wanted)

    def again(self) -> None:
        """Lets the next `read` read all shards."""
        self._read = set()

    def write(self, digests: list[bytes], features: np.ndarray) -> None:
        """Adds a shard.

        Args:
            digests: of n images.
            features: float16 [n, 1 + views, width].

        Raises:
            OSError: it cannot be written.
        """
        name = f'{time.time_ns():016x}-{uuid.uuid4().hex}.npz'
        # It may have been emptied meanwhile.
        os.makedirs(self.folder, exist_ok=True)
        self._read.add(name)
        array = np.frombuffer(b''.join(digests), np.uint8)
        with atomic_open(os.path.join(self.folder, name), 'wb') as file:
            np.savez(file, digests=array.reshape(-1, DIGEST), features=features)

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return sorted(filter(_SHARD.fullmatch, names))

    def _shard(self, path: str) -> tuple[list[bytes], np.ndarray]:
        """Returns the digests and features of a shard.

        Raises:
            Exception: of many kinds; it is damaged, or something else.
        """
        # All is read, with its checksums.
        with (
            open(path, 'rb') as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            digests, features = arrays['digests'], arrays['features']
        shape = (len(digests), *self._shape)
        if digests.dtype != np.uint8 or digests.shape[1:] != (DIGEST,):
            raise ValueError('no digests')
        if features.dtype != STORED or features.shape != shape:
            raise ValueError('no features')
        return [row.tobytes() for row in digests], features

    def _report(self, path: str, error: Exception) -> None:
        """Says that a shard cannot be used, and removes a damaged one."""
        what = 'is damaged, and was removed'
        if isinstance(error, FileNotFoundError):
            return
        if isinstance(error, OSError) and error.errno:
            what = f'cannot be read ({error.strerror})'
        elif not _removed(path):
            what = 'is damaged'
        print(
            f'{path} {what}: its features are computed again.',
            file=sys.stderr,
            flush=True,
        )


def narrowed(features: np.ndarray) -> np.ndarray:
    """Returns features as they are stored, float16.

    Raises:
        ValueError: some are not finite, or too large to be stored.
    """
    with np.errstate(over='ignore'):
        stored = features.astype(STORED)
    if not np.isfinite(stored).all():
        if not np.isfinite(features).all():
            raise ValueError('features that are not finite')
        raise ValueError(
            f'features up to {np.abs(features).max():.3g}, which must not '
            f'exceed {np.finfo(STORED).max:.0f}'
        )
    return stored


@dataclasses.dataclass(frozen=True)
class Size:
    """How much there is.

    Attributes:
        files: number of shards, and of what killed processes left.
        size: of these files in bytes.
    """

    files: int
    size: int

    def __str__(self) -> str:
        return f'{self.size / 1e6:.1f} MB in {counted(self.files, "file")}'


def size(folder: str) -> Size:
    """Returns the size of all features below a folder; see `root`."""
    sizes = [size for _, size in _ours(folder)]
    return Size(len(sizes), sum(sizes))


def clear(folder: str) -> Size:
    """Removes all features below a folder, and nothing else.

    Args:
        folder: see `root`.

    Returns:
        How much was removed.
    """
    removed = [size for path, size in _ours(folder) if _removed(path)]
    for inner in (*_keys(folder), folder):
        # There may be something else in it.
        with contextlib.suppress(OSError):
            os.rmdir(inner)
    return Size(len(removed), sum(removed))


def _removed(path: str) -> bool:
    try:
        os.remove(path)
    except OSError:
        return False
    return True


def _keys(folder: str) -> list[str]:
    """Returns the paths of the folders of shards."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, n) for n in names if _KEY.fullmatch(n)]
    return [path for path in paths if os.path.isdir(path)]


def _ours(folder: str) -> Iterator[tuple[str, int]]:
    """Yields path and size of all files that were written here."""
    for key in _keys(folder):
        for name in sorted(os.listdir(key)):
            path = os.path.join(key, name)
            # Another process may remove it.
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                known = _SHARD.fullmatch(name) or is_temporary(name)
                if known and stat.S_ISREG(status.st_mode):
                    yield path, status.st_size
