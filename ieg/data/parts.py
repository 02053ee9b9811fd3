"""What a reader of a data set returns: parts, their images, their labels.

A part is one list of examples as the owner of the data keeps it (`train`,
`test`, `valid`, `probe`). Its images are an array in memory or encoded files
that are read when a batch needs them; either way they are reached by id.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

# What the parts of a data set are called; others are further test sets.
PARTS = ('train', 'test', 'valid', 'probe')


class Images(Protocol):
    """Images reached by id, 0..N-1.

    Attributes:
        shape: (H, W, channels) of every image that `fetch` returns.
        array: uint8 [N, H, W, channels] if they are in memory, else None.
    """

    shape: tuple[int, int, int]
    array: np.ndarray | None

    def __len__(self) -> int: ...

    def take(self, indices: np.ndarray) -> 'Images':
        """Returns some of them, in that order."""
        ...

    def fetch(self, ids: Any, seeds: Any) -> Any:
        """Returns the images of a batch, eagerly or inside a graph.

        Args:
            ids: int64 [b].
            seeds: int32 [b, 2], one per example, for images that are cropped
                at random while they are read; None for the crop of
                evaluation. Images in memory ignore them.

        Returns:
            uint8 [b, H, W, channels].
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The examples of one part.

    Attributes:
        images: of the examples.
        labels: int32 [N], as given.
        clean: int32 [N], the true classes; None where unknown.
        names: str [N], the files that the images come from; None without.
    """

    images: Images
    labels: np.ndarray
    clean: np.ndarray | None = None
    names: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def truth(self) -> np.ndarray:
        """The true classes, or where nobody knows them the given ones."""
        return self.labels if self.clean is None else self.clean

    def take(self, indices: np.ndarray) -> 'Part':
        """Returns some examples, in that order."""
        clean = None if self.clean is None else self.clean[indices]
        names = None if self.names is None else self.names[indices]
        images = self.images.take(indices)
        return Part(images, self.labels[indices], clean, names)


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """Files of one part, as a reader found them; nobody has opened them yet.

    Attributes:
        paths: of the images.
        labels: int32 [N], as given.
        clean: int32 [N], the true classes; None where unknown.
    """

    paths: list[str]
    labels: np.ndarray
    clean: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> np.ndarray:
        """The paths, as a `Part` has them: str [N]."""
        return np.array(self.paths, object)

    def take(self, indices: np.ndarray) -> 'Listing':
        """Returns some files, in that order."""
        return Listing(
            [self.paths[index] for index in indices],
            self.labels[indices],
            None if self.clean is None else self.clean[indices],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a reader found.

    Attributes:
        class_names: one name per class.
        parts: by the names in `PARTS`; 'train' is always there. Other names
            are of further test sets.
        remarks: whole sentences that a user should read.
    """

    class_names: tuple[str, ...]
    parts: Mapping[str, Listing]
    remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A data set as its owner split it, and how its images are prepared.

    Attributes:
        train: the training examples.
        test: what figures are reported on.
        class_names: one name per class.
        padding: pixels that the weak view pads on each side before it crops.
        flip: whether a mirrored image still belongs to its class.
        mean: per channel, in units of pixels scaled to [0, 1].
        std: per channel, in the same units.
        published: int64 [N], number of each training example in the files as
            they were published, which TFDS puts into another order; None
            where there is no other order.
        valid: the owner's own validation examples, or None.
        probe: clean examples for methods that need some, or None.
        further: more test sets by name.
        policy: the view that stands for the learnt augmentation policy.
        remarks: whole sentences that a user should read.
        skipped: (path, reason) of each file that is no image.
        fingerprint: a hash of everything in a data set that has no name of
            its own; '' for known sets.
    """

    train: Part
    test: Part
    class_names: tuple[str, ...]
    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    published: np.ndarray | None = None
    valid: Part | None = None
    probe: Part | None = None
    further: Mapping[str, Part] = dataclasses.field(default_factory=dict)
    policy: str = 'autoaug'
    remarks: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ''
