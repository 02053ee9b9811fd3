"""Data sets with noisy labels, split into train, probe, valid and test."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ieg.data import noise as noise_lib
from ieg.data import sources
from ieg.data.noise import NoisyLabels
from ieg.data.samplers import SAMPLERS, check_sampler
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
    frozen: NoisyLabels | None = None,
) -> Data:
    """Loads a data set, corrupts its training labels and splits it.

    In this order: a class-balanced subset of the training examples; the probe
    off it, clean and class balanced; noise on the rest; the validation
    examples off the rest, with the shares of the noisy classes. No two splits
    share an example.

    A sampler that repeats a code whose noise depends on the choice of the
    probe (`ieg`) draws both, from `noise_seed`, out of the subset: they are
    those of the code where the subset is the whole training set. Without noise
    there is no sampler, and the probe is that of all other samplers.

    Args:
        spec: dataset string, such as 'cifar10_uniform_0.4'.
        probe_ratio: share of the training examples for the probe; rounded
            down to the same number per class.
        valid_ratio: share of the noisy examples for validation.
        train_examples: size of the subset; 0 takes all.
        seed: of the subset and of the splits.
        noise_seed: of the noise; None means `seed`.
        noise_sampler: a name in `ieg.data.samplers.SAMPLERS`.
        crop_padding: replaces the padding of the data set; -1 keeps it.
        scaling: 'standard' keeps mean and std of the data set; 'symmetric'
            makes both 0.5, so pixels are scaled to [-1, 1].
        data_dir: TFDS folder; None is the default of TFDS.
        frozen: noisy labels drawn earlier, used if they are of this request:
            another version of NumPy could draw others.

    Raises:
        UsageError: something in the request is impossible.
    """
    if isinstance(spec, str):
        spec = parse(spec)
    _check_request(probe_ratio, valid_ratio, seed)
    check_sampler(noise_sampler, spec.noise)
    arrays = DATASETS.get(spec.base)(data_dir)
    num_classes = len(arrays.class_names)
    images, clean = arrays.train_images, arrays.train_labels
    padding = _padding(crop_padding, arrays.padding, images.shape[1:3])
    mean, std = _scaling(scaling, arrays)

    pool = _subset(clean, train_examples, num_classes, seed)
    chosen, noise = _probe_and_noise(
        clean[pool],
        _probe_per_class(clean[pool], probe_ratio, num_classes),
        spec,
        num_classes,
        seed,
        seed if noise_seed is None else noise_seed,
        noise_sampler,
    )
    probe = pool[chosen]
    rest = np.setdiff1d(pool, probe)
    if noise is not None and frozen is not None and _is_same(noise, frozen):
        noise = frozen
    labels = clean[rest] if noise is None else noise.noisy
    is_valid = _valid(labels, valid_ratio, seed)

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


def _subset(
    labels: np.ndarray, size: int, num_classes: int, seed: int
) -> np.ndarray:
    """Returns `size` indices, ascending, as balanced as `size` allows."""
    if size == 0:
        return np.arange(len(labels))
    each, extra = divmod(size, num_classes)
    counts = each + (np.arange(num_classes) < extra)
    available = np.bincount(labels, minlength=num_classes)
    if each < 1 or (counts > available).any():
        raise UsageError(
            f'a class-balanced subset of {size} training examples is '
            f'impossible: choose from {num_classes} (one per class) to '
            f'{num_classes * available.min()} (all of the rarest class), or 0 '
            'for all examples.'
        )
    return sources.choose(labels, counts, generator(seed, 'subset'))


def _probe_per_class(labels: np.ndarray, ratio: float, num_classes: int) -> int:
    """Returns how many examples of each class are for the probe."""
    if ratio == 0.0:
        return 0
    count = len(labels)
    each = _floor(count * ratio / num_classes)
    available = np.bincount(labels, minlength=num_classes).min()
    if 1 <= each < available:
        return each
    # One per class, as a share that is rounded up to four digits.
    least = -(-num_classes * 10**4 // count) / 10**4
    raise UsageError(
        f'--probe_dataset_hold_ratio={ratio} of {count} training examples '
        f'means {each} per class, but there must be at least 1 and fewer than '
        f'the {available} of the rarest class: choose '
        f'{"a smaller share" if each else f"{least:g} or more"}.'
    )


def _probe_and_noise(
    labels: np.ndarray,
    per_class: int,
    spec: DatasetSpec,
    num_classes: int,
    seed: int,
    noise_seed: int,
    sampler: str,
) -> tuple[np.ndarray, NoisyLabels | None]:
    """Draws the probe, and the noise on all other examples.

    Args:
        labels: int32 [N], true classes.
        per_class: probe examples of each class, P.
        spec: names the noise.
        num_classes: C.
        seed: of the probe, unless the sampler draws it with the noise.
        noise_seed: of the noise.
        sampler: a name in `SAMPLERS`.

    Returns:
        The positions of the probe, int64 [C * P], of classes 0, ..., C - 1,
        0, ...; and the noise of the others in ascending order, or None.
    """
    request = (spec.noise, spec.rate, spec.base, num_classes)
    request += (noise_seed, sampler)
    if spec.noise is not None and SAMPLERS[sampler].split is not None:
        return noise_lib.split_and_corrupt(labels, per_class, *request)
    rng = generator(seed, 'probe')
    probe = sources.choose_interleaved(labels, per_class, num_classes, rng)
    if spec.noise is None:
        return probe, None
    return probe, noise_lib.corrupt(np.delete(labels, probe), *request)


def _valid(labels: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    """Returns which of the noisy examples are for validation, bool [n]."""
    chosen = np.zeros(len(labels), bool)
    if ratio == 0.0:
        return chosen
    size = _floor(len(labels) * ratio)
    if size == 0:
        raise UsageError(
            f'a validation share of {ratio} of {len(labels)} noisy training '
            'examples leaves none for validation: choose a larger share.'
        )
    rng = generator(seed, 'valid')
    chosen[sources.choose_stratified(labels, size, rng)] = True
    return chosen


def _floor(value: float) -> int:
    """Rounds down, but takes 169.99999999999997 for the 170 that is meant."""
    return int(value + 1e-9)


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
