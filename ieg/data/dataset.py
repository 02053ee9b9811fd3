"""Records of a data set: parts, splits, and images in memory.

Examples are images or vectors (`Vectors`); what is said of images here is true
of both.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import tensorflow as tf

from ieg.data.images.files import FileImages, Framing, lost, progress_bar
from ieg.data.images.squares import SquareImages
from ieg.data.images.survey import Survey
from ieg.data.noise.labels import NoisyLabels
from ieg.data.spec import DatasetSpec
from ieg.data.vectors import Vectors, statistics
from ieg.errors import UsageError
from ieg.options import DataConfig

# What the parts of a data set are called; others are further test sets.
PARTS = ('train', 'test', 'valid', 'probe')
# Images up to this side are decoded once, if all of them fit; larger ones are
# decoded for every batch.
_HELD_SIDE, _HELD_BYTES = 64, 2**30


class Images(Protocol):
    """Images reached by id, 0..N-1.

    Attributes:
        shape: (H, W, channels) of every image that `fetch` returns; (d,) of
            vectors.
        array: uint8 [N, H, W, channels] if they are in memory, else None;
            float32 [N, d] of vectors.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def array(self) -> np.ndarray | None: ...  # noqa: D102

    def __len__(self) -> int: ...

    def take(self, indices: np.ndarray) -> 'Images':
        """Returns some of them, in that order."""
        ...

    def fetch(
        self, ids: tf.Tensor | np.ndarray, seeds: tf.Tensor | np.ndarray | None
    ) -> tf.Tensor:
        """Returns the images of a batch, eagerly or inside a graph.

        Args:
            ids: int64 [b].
            seeds: int32 [b, 2], one per example, for images that are cropped
                at random while they are read; None for the crop of
                evaluation. Images in memory ignore them.

        Returns:
            uint8 [b, H, W, channels], or float32 [b, d].
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
        texts: str [N], what is shown of examples that are no images, such as
            the sentence that a vector stands for; None without.
        rows: int64 [N], positions in the part as its owner gave it;
            None for all of that part.
    """

    images: Images
    labels: np.ndarray
    clean: np.ndarray | None = None
    names: np.ndarray | None = None
    texts: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def truth(self) -> np.ndarray:
        """The true classes, or the given ones where they are unknown."""
        return self.labels if self.clean is None else self.clean

    def take(self, indices: np.ndarray) -> 'Part':
        """Returns some examples, in that order."""
        return Part(
            self.images.take(indices),
            self.labels[indices],
            None if self.clean is None else self.clean[indices],
            None if self.names is None else self.names[indices],
            None if self.texts is None else self.texts[indices],
            _rows_of(self.rows, indices),
        )

    def decoded(self) -> 'Part':
        """Returns the same with all images in memory.

        Raises:
            RunError: a file has changed since it was found readable.
        """
        count = len(self)
        array = np.empty((count, *self.images.shape), np.uint8)
        dataset = (
            tf.data.Dataset.range(count)
            .batch(256)
            .map(
                lambda ids: self.images.fetch(ids, None),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .prefetch(1)
        )
        done = 0
        try:
            with progress_bar(count, 'Reading') as bar:
                for images in dataset:
                    array[done : done + len(images)] = images.numpy()
                    done += len(images)
                    bar.update(len(images))
        except tf.errors.OpError as error:
            if self.names is not None and (gone := lost(list(self.names))):
                raise gone from error
            raise
        return dataclasses.replace(self, images=InMemory(array))


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """Files of one part, as a reader found them, not opened yet.

    Attributes:
        paths: of the images.
        labels: int32 [N], as given.
        clean: int32 [N], the true classes; None where unknown.
        odd: bool [N], those that Pillow must read; None for none of them.
        rows: as those of a `Part`.
    """

    paths: list[str]
    labels: np.ndarray
    clean: np.ndarray | None = None
    odd: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def truth(self) -> np.ndarray:
        """The true classes, or the given ones where they are unknown."""
        return self.labels if self.clean is None else self.clean

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
            None if self.odd is None else self.odd[indices],
            _rows_of(self.rows, indices),
        )

    def without(self, indices: Sequence[int]) -> 'Listing':
        """Returns all files but some."""
        return self.take(np.delete(np.arange(len(self)), indices))

    def opened(self, framing: Framing) -> Part:
        """Returns the examples, whose images are read when they are needed."""
        images: Images
        if framing.squares:
            images = SquareImages(self.paths, framing)
        else:
            none = np.zeros(len(self), bool)
            odd = none if self.odd is None else self.odd
            paths = list(map(os.fsencode, self.paths))
            images = FileImages(paths, odd, framing)
        return Part(images, self.labels, self.clean, self.names, rows=self.rows)


def _rows_of(rows: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    """Returns the rows of some examples of a part, int64 [n]."""
    return np.asarray(indices if rows is None else rows[indices], np.int64)


# Examples of a part, opened or not.
Examples = TypeVar('Examples', Listing, Part)


@dataclasses.dataclass(frozen=True, eq=False)
class Found(Generic[Examples]):
    """What a reader found.

    Attributes:
        class_names: one name per class.
        parts: by the names in `PARTS`; 'train' is always there. Other names
            are of further test sets.
        remarks: whole sentences that a user should read.
    """

    class_names: tuple[str, ...]
    parts: Mapping[str, Examples]
    remarks: tuple[str, ...] = ()


FoundFiles = Found[Listing]
FoundArrays = Found[Part]


# What ImageNet's first networks subtract from pixels 0..255.
_CAFFE = tuple(value / 255 for value in (123.68, 116.779, 103.939))


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How raw images become what a network sees.

    Attributes:
        padding: pixels that the weak view pads on each side before it crops.
        flip: whether a mirrored image still belongs to its class.
        mean: per channel, of pixels in [0, 1]; per column of vectors.
        std: per channel, in the same units; 0 for constant columns.
        policy: the view that stands for the learned augmentation policy.
        framing: how files become images, for evaluation too (also where the
            images have become vectors); None for data sets that are arrays.
    """

    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    policy: str = 'autoaug'
    framing: Framing | None = None

    @classmethod
    def of_vectors(
        cls, train: Vectors, framing: Framing | None = None
    ) -> 'Preprocessing':
        """Returns the preprocessing that standardises training vectors."""
        mean, std = statistics(train)
        if train.encoding is not None:
            std = tuple(train.encoding.scales(np.array(std)).tolist())
        return cls(0, False, mean, std, framing=framing)

    def adapted(
        self, options: DataConfig, shape: tuple[int, ...]
    ) -> 'Preprocessing':
        """Returns the preprocessing that options ask for.

        Args:
            options: `crop_padding`, `scaling` and `flip` replace the habits
                of the data set.
            shape: (H, W, channels) of the images, or (d,) of vectors.

        Raises:
            UsageError: a crop could miss the image altogether, or the scaling
                is not for images with so many channels, or for vectors.
        """
        if len(shape) == 1:
            refuse_image_options(vars(options))
            return self
        most = min(shape[:2]) - 1
        padding = options.crop_padding
        if not -1 <= padding <= most:
            raise UsageError(
                f'--crop_padding={padding} is impossible for images of '
                f'{shape[0]} x {shape[1]} pixels: choose from 0 to {most}, or '
                f'-1 for the usual {self.padding}.'
            )
        mean, std = self._scale(options.scaling)
        return dataclasses.replace(
            self,
            padding=self.padding if padding == -1 else padding,
            flip=self.flip if options.flip == 'auto' else options.flip == 'on',
            mean=mean,
            std=std,
        )

    def _scale(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns mean and std of a scaling."""
        channels = len(self.mean)
        if name == 'standard':
            return self.mean, self.std
        if name == 'symmetric':
            return (0.5,) * channels, (0.5,) * channels
        if name == 'unit':
            return (0.0,) * channels, (1.0,) * channels
        if name == 'caffe' and channels == len(_CAFFE):
            return _CAFFE, (1 / 255,) * channels
        raise UsageError(
            f'there is no scaling {name!r} of images with {channels} '
            'channels: choose standard, symmetric or unit.'
        )


# Options that say how images are shown, with the values that ask nothing.
_OF_IMAGES = {
    'image_size': 0,
    'flip': 'auto',
    'crop_padding': -1,
    'scaling': 'standard',
    'pretrained': False,
}


def asks_for_images(given: Mapping[str, Any]) -> str:
    """Returns the first option that asks for what only images have, or ''."""
    names = (n for n, no in _OF_IMAGES.items() if given.get(n, no) != no)
    return next(names, '')


def refuse_image_options(given: Mapping[str, Any]) -> None:
    """Raises UsageError if options ask for what only images have."""
    if name := asks_for_images(given):
        raise UsageError(
            f'--{name}={given[name]} is for images, but the examples are '
            'vectors: leave it out.'
        )


def policy_for(side: int) -> str:
    """Returns the AutoAugment policy that suits images of a size."""
    return 'imagenet_autoaug' if side >= 96 else 'autoaug'


def fits_in_memory(framing: Framing, listings: Mapping[str, Listing]) -> bool:
    """Returns whether files are to be decoded once and held in memory."""
    count = sum(map(len, listings.values()))
    size = count * framing.size**2 * framing.channels
    return framing.size <= _HELD_SIDE and size <= _HELD_BYTES


def open_listings(
    listings: Mapping[str, Listing], framing: Framing, held: bool
) -> dict[str, Part]:
    """Returns the parts of a data set of files.

    Args:
        listings: the files of each part.
        framing: what is shown of them.
        held: whether to decode all of them now, and hold them in memory.
    """
    parts = {name: files.opened(framing) for name, files in listings.items()}
    if held:
        parts = {name: part.decoded() for name, part in parts.items()}
    return parts


def hash_of_listings(listings: Mapping[str, Listing]) -> str:
    """Returns a hash of names and labels of all files."""
    digest = hashlib.sha256()
    every = [path for listing in listings.values() for path in listing.paths]
    start = len(os.path.commonpath([os.path.dirname(path) for path in every]))
    for part, listing in sorted(listings.items()):
        digest.update(part.encode())
        for path, label in zip(listing.paths, listing.labels, strict=True):
            digest.update(os.fsencode(path[start:]) + b'\0%d\n' % label)
        if listing.clean is not None:
            digest.update(listing.clean.astype('<i4').tobytes())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A data set as its owner split it, and how its images are prepared.

    Attributes:
        train: the training examples.
        test: what figures are reported on.
        class_names: one name per class.
        preprocessing: of its images.
        published: int64 [N], number of each training example in the files as
            they were published, which TFDS puts into another order; None
            where there is no other order.
        valid: the owner's own validation examples, or None.
        probe: clean examples for methods that need some, or None.
        further: more test sets by name.
        remarks: whole sentences that a user should read.
        skipped: (path, reason) of each file that is not an image.
        fingerprint: a hash of everything in a data set that has no name of
            its own; '' for known sets.
        backbone: name of the network that made the vectors of images, or ''.
    """

    train: Part
    test: Part
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    published: np.ndarray | None = None
    valid: Part | None = None
    probe: Part | None = None
    further: Mapping[str, Part] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ''
    backbone: str = ''

    @classmethod
    def of_parts(cls, parts: Mapping[str, Part], **others: Any) -> 'Source':
        """Returns a data set of parts; those not in `PARTS` are `further`."""
        return cls(
            train=parts['train'],
            test=parts['test'],
            valid=parts.get('valid'),
            probe=parts.get('probe'),
            further={n: part for n, part in parts.items() if n not in PARTS},
            **others,
        )

    @property
    def parts(self) -> dict[str, Part]:
        """The parts of the data set by the names in `PARTS`."""
        parts = (self.train, self.test, self.valid, self.probe)
        return {
            name: part
            for name, part in zip(PARTS, parts, strict=True)
            if part is not None
        }


class InMemory:
    """Images of an array; see `Images`.

    Args:
        array: uint8 [N, H, W, channels].
    """

    def __init__(self, array: np.ndarray):
        self.array = array
        self.shape: tuple[int, ...] = array.shape[1:]
        self._tensor: tf.Tensor | None = None

    def __len__(self) -> int:
        return len(self.array)

    def take(self, indices: np.ndarray) -> 'InMemory':
        """Returns some of them; all of them cost no second copy."""
        count = len(self.array)
        if len(indices) == count and np.array_equal(indices, np.arange(count)):
            return self
        return InMemory(self.array[indices])

    def fetch(
        self, ids: tf.Tensor | np.ndarray, seeds: tf.Tensor | np.ndarray | None
    ) -> tf.Tensor:
        """Returns a batch; see `Images`.

        The tensor of all images is made when it is first needed, so a split
        whose images are only ever held by the accelerator costs no second
        copy.
        """
        del seeds
        if self._tensor is None:
            # Outside of any graph: inside, it would become part of it.
            with tf.init_scope(), tf.device('CPU:0'):
                self._tensor = tf.constant(self.array)
        return tf.gather(self._tensor, ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples reached by id, 0..N-1.

    Attributes:
        fetch: (ids int64 [b], seeds int32 [b, 2] or None) -> uint8 tensor
            [b, H, W, channels], or float32 [b, d]; works eagerly and inside a
            graph. The seeds are for sources that crop while they read, and
            for stored views of vectors; arrays ignore them.
        labels: int32 [N], what a learner may see.
        clean_labels: int32 [N], for reports only; None where unknown.
        indices: int64 [N], position of each example in its part of the data
            set, as the owner of the data gave that part: that of examples that
            were held out of a training part is in the training part. Ascending
            but for the probe.
        images: uint8 [N, H, W, channels], or None for examples in files, and
            for vectors.
        names: str [N], the files that the images come from; None without.
        vectors: the examples, where they are no images.
        texts: str [N], what is shown of them; None without.
        places: int64 [N], position in the part of the `Source`, which lacks
            what was held out or is no image; None where that is `indices`.
    """

    fetch: Callable[..., tf.Tensor]
    labels: np.ndarray
    clean_labels: np.ndarray | None
    indices: np.ndarray
    images: np.ndarray | None = None
    names: np.ndarray | None = None
    vectors: Vectors | None = None
    texts: np.ndarray | None = None
    places: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the examples are."""
        return self.images is not None or self.vectors is not None

    @property
    def array(self) -> np.ndarray | None:
        """Images or vectors in memory; vectors may be copied."""
        return self.images if self.vectors is None else self.vectors.array


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set as one run sees it; `data[name]` is a split.

    Attributes:
        spec: the parsed dataset string.
        num_classes: C.
        image_shape: (H, W, channels) after the views; (d,) of vectors.
        class_names: one name per class.
        train: noisy, unless the spec names no noise and the set has none.
        test: clean, as far as its owner knows; or None.
        probe: clean and class balanced, split off before the noise; or None.
            Its classes are 0, 1, ..., C - 1, 0, 1, ..., so consecutive
            examples are class balanced too.
        valid: split off the noisy training data, or its owner's; or None.
        noise: the corrupted labels; None without noise, and where the true
            labels are unknown. Its rows are the examples of train and, unless
            that is the owner's, valid together, by ascending index.
        preprocessing: of its images.
        further: more test sets by name.
        remarks: whole sentences that a user should read.
        skipped: (path, reason) of each file that is not an image.
        fingerprint: a hash of a user's own data; '' for known sets.
        backbone: see `Source`.
        has_own_valid: whether `valid` is its owner's.
    """

    spec: DatasetSpec
    num_classes: int
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    train: Split
    test: Split | None
    probe: Split | None
    valid: Split | None
    noise: NoisyLabels | None
    preprocessing: Preprocessing
    further: Mapping[str, Split] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ''
    backbone: str = ''
    has_own_valid: bool = False

    def split(self, name: str) -> Split | None:
        """Returns the split called `name`, or None if it does not exist."""
        splits = {
            'train': self.train,
            'test': self.test,
            'probe': self.probe,
            'valid': self.valid,
            **self.further,
        }
        return splits.get(name)

    def __getitem__(self, name: str) -> Split:
        split = self.split(name)
        if split is None:
            raise KeyError(f'the data set has no split {name!r}')
        return split

    @property
    def in_memory(self) -> bool:
        """Whether the training images are."""
        return self.train.in_memory

    @property
    def is_vectors(self) -> bool:
        """Whether the examples are vectors, not images."""
        return len(self.image_shape) == 1

    @property
    def picture_shape(self) -> tuple[int, ...]:
        """(H, W, channels) of the images that the vectors were made of.

        That of the examples where they were not made of images.
        """
        vectors = self.train.vectors
        pictures = None if vectors is None else vectors.pictures
        return self.image_shape if pictures is None else pictures.shape

    @property
    def files(self) -> list[str]:
        """The files that are read during training."""
        splits = (self.train, self.test, self.probe, self.valid)
        return [
            name
            for split in (*splits, *self.further.values())
            if split is not None and not split.in_memory
            for name in (() if split.names is None else split.names)
        ]

    @property
    def labels_sha256(self) -> str:
        """What a checkpoint knows the labels by."""
        if self.noise is not None:
            return self.noise.sha256
        labels = self.train.labels.astype('<i4')
        return hashlib.sha256(labels.tobytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Advice:
    """Options that suit a data set, known once it has been looked at.

    Attributes:
        values: options by name.
        sentence: what was seen.
        vectors: whether the examples are vectors, not images.
    """

    values: Mapping[str, Any]
    sentence: str
    vectors: bool = False


# (name of a part, paths of its files) -> what is known of the files.
Look = Callable[[str, Sequence[str]], Survey]


class Opened:
    """A data set that has been found and checked, before its images are read.

    Args:
        read: side of the square that a network sees (0 = as usual for these
            images) -> the data set.
        advise: the same side -> options that suit the data set; None where
            recipes are known for it.
        look: (framing, a function that looks at the files) -> the data set
            with these images; None for images that are not in files.
    """

    def __init__(
        self,
        read: Callable[[int], Source],
        advise: Callable[[int], Advice] | None = None,
        look: Callable[[Framing, Look], Source] | None = None,
    ):
        self._read = read
        self._advise = advise
        self._look = look
        self._sources: dict[int, Source] = {}

    def source(self, image_size: int = 0) -> Source:
        """Returns the data set; it is read once."""
        if image_size not in self._sources:
            self._sources = {image_size: self._read(image_size)}
        return self._sources[image_size]

    def looked_at(self, framing: Framing, look: Look) -> Source:
        """Returns the data set as another framing shows it.

        Args:
            framing: of its files.
            look: finds out which of these are images, in place of decoding
                them for that purpose only.
        """
        return self._look(framing, look) if self._look else self.source()

    def advice(self, image_size: int = 0) -> Advice | None:
        """Returns options that suit the data set, None where there are none."""
        return self._advise(image_size) if self._advise else None


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """A data set in memory, in its own order.

    Attributes:
        train_images: uint8 [N, H, W, channels]; or floats from 0 to 1, or to
            255, which are rounded to that.
        train_labels: int32 [N], clean.
        test_images: of the same kind [M, H, W, channels].
        test_labels: int32 [M], clean.
        class_names: one name per class.
        padding: pixels that the weak view pads on each side before it crops.
        flip: whether a mirrored image still belongs to its class.
        mean: per channel, in units of pixels scaled to [0, 1].
        std: per channel, in the same units.
        published: int64 [N], number of each training example in the files as
            they were published, which TFDS puts into another order; None
            where there is no other order.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    published: np.ndarray | None = None

    def source(self) -> Source:
        """Returns the same as parts."""
        train, test = self.train_images, self.test_images
        return Source(
            train=_known(_uint8(train, train), self.train_labels),
            test=_known(_uint8(test, train), self.test_labels),
            class_names=self.class_names,
            preprocessing=Preprocessing(
                self.padding, self.flip, self.mean, self.std
            ),
            published=self.published,
        )


def _uint8(images: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Returns float images as uint8, unless they are not like `training`."""
    alike = images.dtype == training.dtype and images.dtype.kind == 'f'
    white = 1 if alike and training.max(initial=0) <= 1 else 255
    if not alike or not np.all((images >= 0) & (images <= white)):
        return images
    return np.rint(images * (255 / white)).astype(np.uint8)


def _known(images: np.ndarray, labels: np.ndarray) -> Part:
    """Returns the part of images whose labels are true."""
    return Part(InMemory(images), labels, labels)
