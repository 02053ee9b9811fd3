"""Data sets with noisy labels, split into train, probe, valid and test."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ieg.data import human_labels as human_labels_lib
from ieg.data import noise as noise_lib
from ieg.data import sources, splits, tfds_files
from ieg.data.noise import NoisyLabels
from ieg.data.samplers import SAMPLERS
from ieg.data.spec import DatasetSpec, parse
from ieg.errors import UsageError
from ieg.randomness import generator
from ieg.registry import DATASETS


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples reached by id, 0..N-1.

    Attributes:
        fetch: (ids int64 [b], seeds int32 [b, 2]) -> uint8 tensor
            [b, H, W, channels]; works eagerly and inside a graph. The seeds
            are for sources that crop while they read; arrays ignore them.
        labels: int32 [N], what a learner may see.
        clean_labels: int32 [N], for reports only; None where unknown.
        indices: int64 [N], position of each example in the order of the data
            set itself (of its test part for the test split); ascending but
            for the probe.
        images: uint8 [N, H, W, channels], or None for examples in files.
    """

    fetch: Callable[[Any, Any], Any]
    labels: np.ndarray
    clean_labels: np.ndarray | None
    indices: np.ndarray
    images: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set as one run sees it.

    Attributes:
        spec: the parsed dataset string.
        num_classes: C.
        image_shape: (H, W, channels) after the views.
        class_names: one name per class.
        train: noisy, unless the spec names no noise.
        test: clean.
        probe: clean and class balanced, split off before the noise; or None.
            Its classes are 0, 1, ..., C - 1, 0, 1, ..., so consecutive
            examples are class balanced too.
        valid: split off the noisy training data; or None.
        noise: the corrupted labels; None without noise. Its rows are the
            examples of train and valid together, by ascending index.
        padding: pixels that the weak view pads before it crops.
        flip: whether the weak view mirrors images.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
    """

    spec: DatasetSpec
    num_classes: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train: Split
    test: Split
    probe: Split | None
    valid: Split | None
    noise: NoisyLabels | None
    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load(
    spec: DatasetSpec | str,
    *,
    probe_ratio: float = 0.0,
    valid_ratio: float = 0.0,
    train_examples: int = 0,
    seed: int = 0,
    noise_seed: int | None = None,
    noise_sampler: str = 'numpy',
    crop_padding: int = -1,
    scaling: str = 'standard',
    data_dir: str | None = None,
    human_labels: str = '',
    frozen: NoisyLabels | None = None,
) -> Data:
    """Loads a data set, corrupts its training labels and splits it.

    In this order: a class-balanced subset of the training examples; the long
    tail out of it, so it has fewer than `train_examples`; the probe off that,
    clean and class balanced (it weighs on the rare classes: give it a share
    that leaves them some); noise on the rest; the validation examples off the
    rest, with the shares of the noisy classes. No two splits share an example.

    A sampler that repeats a code whose noise depends on the choice of the
    probe (`ieg`) draws both, from `noise_seed`, out of the subset: they are
    those of the code where the subset is the whole training set. One that
    repeats a code with a validation split of its own (`memomentum`) draws that
    too, from `noise_seed`, with any shares of the classes. Without noise there
    is no sampler, and the splits are those of all other samplers.

    Args:
        spec: dataset string, such as 'cifar10_imbal_0.01_uniform_0.4'.
        probe_ratio: share of the training examples for the probe; rounded
            down to the same number per class.
        valid_ratio: share of the noisy examples for validation.
        train_examples: size of the subset; 0 takes all.
        seed: of the subset, the long tail and the splits.
        noise_seed: of the noise; None means `seed`.
        noise_sampler: a name in `ieg.data.samplers.SAMPLERS`.
        crop_padding: replaces the padding of the data set; -1 keeps it.
        scaling: 'standard' keeps mean and std of the data set; 'symmetric'
            makes both 0.5, so pixels are scaled to [-1, 1].
        data_dir: TFDS folder; None is the default of TFDS.
        human_labels: file with the labels of CIFAR-10N or CIFAR-100N; '' looks
            in the TFDS folder for the usual names, and for TFDS's own set.
        frozen: noisy labels drawn earlier, used if they are of this request:
            another version of NumPy could draw others.

    Raises:
        UsageError: something in the request is impossible.
    """
    if isinstance(spec, str):
        spec = parse(spec)
    _check_request(probe_ratio, valid_ratio, seed)
    noise_lib.check(spec.noise, spec.rate, noise_sampler)
    if human_labels and spec.human is None:
        raise UsageError(
            f'--human_labels={human_labels} is not used by {spec}, only by '
            f'{", ".join(human_labels_lib.HUMAN_SETS)}.'
        )
    arrays = DATASETS.get(spec.base)(data_dir)
    num_classes = len(arrays.class_names)
    images, clean = arrays.train_images, arrays.train_labels
    padding = _padding(crop_padding, arrays.padding, images.shape[1:3])
    mean, std = _scaling(scaling, arrays)

    noise_seed = seed if noise_seed is None else noise_seed
    pool = splits.subset(clean, train_examples, num_classes, seed)
    if spec.imbalance is not None:
        tail = (clean[pool], spec.imbalance, num_classes, seed)
        pool = pool[splits.long_tail(*tail)]
    probe, noise = _probe_and_noise(
        arrays,
        pool,
        splits.probe_per_class(clean[pool], probe_ratio, num_classes),
        spec,
        seed,
        noise_seed,
        noise_sampler,
        _human(spec, arrays, human_labels, data_dir),
    )
    rest = np.setdiff1d(pool, probe)
    if noise is not None and frozen is not None and _is_same(noise, frozen):
        noise = frozen
    labels = clean[rest] if noise is None else noise.noisy
    part = None if noise is None else SAMPLERS[noise_sampler].train_part
    is_valid = splits.valid(
        labels,
        valid_ratio,
        seed if part is None else noise_seed,
        part,
        _order(arrays, rest, noise_sampler),
    )

    def noisy_split(chosen: np.ndarray) -> Split:
        return _split(images, labels[chosen], clean, rest[chosen])

    test_indices = np.arange(len(arrays.test_labels))
    return Data(
        spec=spec,
        num_classes=num_classes,
        image_shape=images.shape[1:],
        class_names=arrays.class_names,
        train=noisy_split(~is_valid),
        test=_split(
            arrays.test_images,
            arrays.test_labels,
            arrays.test_labels,
            test_indices,
        ),
        probe=_split(images, clean[probe], clean, probe)
        if len(probe)
        else None,
        valid=noisy_split(is_valid) if is_valid.any() else None,
        noise=noise,
        padding=padding,
        flip=arrays.flip,
        mean=mean,
        std=std,
    )


def _is_same(one: NoisyLabels, other: NoisyLabels) -> bool:
    """Returns whether two answer the same request."""
    names = ('kind', 'rate', 'seed', 'sampler')
    return np.array_equal(one.clean, other.clean) and all(
        getattr(one, name) == getattr(other, name) for name in names
    )


def _check_request(probe_ratio: float, valid_ratio: float, seed: int) -> None:
    """Raises UsageError where a number is out of range by itself."""
    for flag, ratio in (
        ('probe_dataset_hold_ratio', probe_ratio),
        ('valid_ratio', valid_ratio),
    ):
        if not 0.0 <= ratio < 1.0:
            raise UsageError(
                f'--{flag}={ratio} is outside [0, 1): give the share of the '
                'training examples to set aside.'
            )
    if seed < 0:
        raise UsageError(f'the seed {seed} is negative: give 0 or more.')


def _padding(asked: int, usual: int, size: tuple[int, int]) -> int:
    """Returns the padding of the weak view for images of size (H, W)."""
    # With more, a crop can miss the image altogether.
    most = min(size) - 1
    if not -1 <= asked <= most:
        raise UsageError(
            f'--crop_padding={asked} is impossible for images of '
            f'{size[0]} x {size[1]} pixels: choose from 0 to {most}, or -1 '
            f'for the usual {usual}.'
        )
    return usual if asked == -1 else asked


def _scaling(
    name: str, arrays: sources.Arrays
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std per channel, of pixels in [0, 1]."""
    if name == 'standard':
        return arrays.mean, arrays.std
    if name == 'symmetric':
        halves = (0.5,) * len(arrays.mean)
        return halves, halves
    if name == 'unit':
        return (0.0,) * len(arrays.mean), (1.0,) * len(arrays.mean)
    raise UsageError(
        f'there is no scaling {name!r}: choose standard, symmetric or unit.'
    )


def _probe_and_noise(
    arrays: sources.Arrays,
    pool: np.ndarray,
    per_class: int,
    spec: DatasetSpec,
    seed: int,
    noise_seed: int,
    sampler: str,
    human: np.ndarray | None,
) -> tuple[np.ndarray, NoisyLabels | None]:
    """Draws the probe, and the noise on all other examples.

    Args:
        arrays: the data set.
        pool: int [n], indices of the examples to use, ascending.
        per_class: probe examples of each class, P.
        spec: names the noise.
        seed: of the probe, unless the sampler draws it with the noise.
        noise_seed: of the noise.
        sampler: a name in `SAMPLERS`.
        human: int32 [N], labels of all examples that take the place of noise;
            None where it is drawn.

    Returns:
        The indices of the probe, int64 [C * P], of classes 0, ..., C - 1,
        0, ...; and the noise of the others in ascending order, or None.
    """
    clean, num_classes = arrays.train_labels, len(arrays.class_names)
    request = (spec.noise, spec.rate, spec.base, num_classes)
    request += (noise_seed, sampler)
    if spec.noise is not None and SAMPLERS[sampler].split is not None:
        chosen, noise = noise_lib.split_and_corrupt(
            clean[pool], per_class, *request
        )
        return pool[chosen], noise
    rng = generator(seed, 'probe')
    probe = pool[
        sources.choose_interleaved(clean[pool], per_class, num_classes, rng)
    ]
    rest = np.setdiff1d(pool, probe)
    if spec.noise is None:
        return probe, None
    if human is not None:
        return probe, noise_lib.given(
            clean[rest], human[rest], spec.noise, num_classes, *request[-2:]
        )
    seen = noise_lib.needs_images(spec.noise)
    return probe, noise_lib.corrupt(
        clean[rest],
        *request,
        images=arrays.train_images[rest] if seen else None,
        order=_order(arrays, rest, sampler),
    )


def _order(
    arrays: sources.Arrays, rest: np.ndarray, sampler: str
) -> np.ndarray | None:
    """Returns in which order a sampler sees some examples, as positions.

    None stands for the order in which they are.
    """
    if arrays.published is None or not SAMPLERS[sampler].published:
        return None
    return np.argsort(arrays.published[rest])


def _human(
    spec: DatasetSpec, arrays: sources.Arrays, file: str, data_dir: str | None
) -> np.ndarray | None:
    """Returns the human labels that a spec names, int32 [N], if it does.

    Raises:
        UsageError: they are not found, or are not those of the images; or a
            file is given for nothing.
    """
    if spec.human is None:
        return None
    found, source = tfds_files.read_human_labels(spec.human, file, data_dir)
    return human_labels_lib.join(
        found,
        spec.human,
        spec.noise,
        arrays.train_labels,
        arrays.published,
        source,
    )


def _split(
    images: np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray,
    indices: np.ndarray,
) -> Split:
    """Returns the split of some examples.

    Args:
        images: [N, H, W, channels], all images.
        labels: [n], of the chosen examples.
        clean: [N], all true labels.
        indices: [n], the chosen examples.
    """
    if len(indices) < len(images):  # Else no second copy in memory.
        images, clean = images[indices], clean[indices]
    return Split(
        fetch=_gather(images),
        labels=labels,
        clean_labels=clean,
        indices=indices.astype(np.int64),
        images=images,
    )


def _gather(images: np.ndarray) -> Callable[[Any, Any], Any]:
    """Returns the `fetch` of examples that are in memory.

    The tensor is made when it is first needed, so a split whose images are
    only ever held by the accelerator costs no second copy.
    """
    held = []

    def fetch(ids: Any, seeds: Any) -> Any:
        import tensorflow as tf

        del seeds
        if not held:
            # Outside of any graph: inside, it would become part of it.
            with tf.init_scope(), tf.device('CPU:0'):
                held.append(tf.constant(images))
        return tf.gather(held[0], ids)

    return fetch
