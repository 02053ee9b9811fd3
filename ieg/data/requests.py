"""What a request asks of a data set: preparation, probe, noise."""

import inspect
from typing import Any

import numpy as np

from ieg.data import human_labels as human_labels_lib
from ieg.data import loaders, sources, splits, tfds_files
from ieg.data import noise as noise_lib
from ieg.data.noise import NoisyLabels
from ieg.data.parts import Part, Source
from ieg.data.samplers import SAMPLERS
from ieg.data.spec import DatasetSpec
from ieg.errors import UsageError
from ieg.randomness import generator

# The kind of noise of a set that brings given and true labels along.
GIVEN = 'given'


def open_source(base: str, data_dir: str | None, **options: Any) -> Source:
    """Opens a data set.

    Args:
        base: its name.
        data_dir: where it is; None for the usual place.
        **options: what only some data sets take, by the names of their
            loaders' parameters; an empty value asks for nothing.

    Raises:
        UsageError: the data set does not take an option, or cannot be opened.
    """
    loader = loaders.loader(base)
    taken = inspect.signature(loader).parameters
    for name, value in options.items():
        if value and name not in taken:
            raise UsageError(
                f'--{name}={value} is not used by the data set {base}.'
            )
    chosen = {n: v for n, v in options.items() if n in taken}
    found = loader(data_dir, **chosen)
    return found.source() if isinstance(found, sources.Arrays) else found


def check(probe_ratio: float, valid_ratio: float, seed: int) -> None:
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


def check_human_labels(file: str, spec: DatasetSpec) -> None:
    """Raises UsageError where a file of human labels has nothing to do."""
    if file and spec.human is None:
        raise UsageError(
            f'--human_labels={file} is not used by {spec}, only by '
            f'{", ".join(human_labels_lib.HUMAN_SETS)}.'
        )


def padding(asked: int, usual: int, size: tuple[int, int]) -> int:
    """Returns the padding of the weak view for images of size (H, W).

    Raises:
        UsageError: a crop could miss the image altogether.
    """
    most = min(size) - 1
    if not -1 <= asked <= most:
        raise UsageError(
            f'--crop_padding={asked} is impossible for images of '
            f'{size[0]} x {size[1]} pixels: choose from 0 to {most}, or -1 '
            f'for the usual {usual}.'
        )
    return usual if asked == -1 else asked


# What ImageNet's first networks subtract from pixels 0..255.
_CAFFE = tuple(value / 255 for value in (123.68, 116.779, 103.939))


def scaling(
    name: str, source: Source
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std per channel, of pixels in [0, 1].

    Raises:
        UsageError: there is no such scaling, or not of such images.
    """
    channels = len(source.mean)
    if name == 'standard':
        return source.mean, source.std
    if name == 'symmetric':
        return (0.5,) * channels, (0.5,) * channels
    if name == 'unit':
        return (0.0,) * channels, (1.0,) * channels
    if name == 'caffe' and channels == len(_CAFFE):
        return _CAFFE, (1 / 255,) * channels
    raise UsageError(
        f'there is no scaling {name!r} of images with {channels} channels: '
        'choose standard, symmetric or unit.'
    )


def truth(spec: DatasetSpec, part: Part) -> np.ndarray | None:
    """Returns the true classes of training examples, int32 [N], if known.

    Noise is put on labels that count as true.

    Raises:
        UsageError: noise is asked for on labels that are wrong already.
    """
    if spec.noise is None:
        return part.clean
    known = part.labels if part.clean is None else part.clean
    if not np.array_equal(known, part.labels):
        raise UsageError(
            f'{spec.base} has wrong labels of its own, so there is no noise '
            f'to add: leave out _{spec.noise}.'
        )
    return known


def pool(spec: DatasetSpec, source: Source, size: int, seed: int) -> np.ndarray:
    """Returns the training examples to use, ascending: int64 [n].

    Args:
        spec: asks for a long tail, or not.
        source: has all of them.
        size: of a class-balanced subset; 0 takes all.
        seed: of the subset and the long tail.

    Raises:
        UsageError: the subset or a class of the long tail would be empty.
    """
    num_classes, given = len(source.class_names), source.train.labels
    chosen = splits.subset(given, size, num_classes, seed)
    if spec.imbalance is None:
        return chosen
    return chosen[
        splits.long_tail(given[chosen], spec.imbalance, num_classes, seed)
    ]


def probe_per_class(
    spec: DatasetSpec, source: Source, clean: np.ndarray | None, ratio: float
) -> int:
    """Returns how many probe examples are split off each class.

    Args:
        spec: the data set.
        source: the same, opened; a probe of its own is kept.
        clean: int32 [n], true classes to choose from, if known.
        ratio: share of these for the probe.

    Raises:
        UsageError: nobody knows a clean example, or a class has too few.
    """
    if source.probe is not None or not ratio:
        return 0
    if clean is None:
        raise UsageError(
            'Clean probe images are asked for and nobody knows which labels '
            f'of {spec.base} are right; give some as a part named probe, or '
            'for a folder by --probe_dir.'
        )
    return splits.probe_per_class(clean, ratio, len(source.class_names))


def own_probe(part: Part, num_classes: int, seed: int) -> np.ndarray:
    """Returns which examples of an owner's probe are taken.

    Returns:
        Positions, int64 [C * P], of classes 0, ..., C - 1, 0, ...; P is the
        size of the smallest class.

    Raises:
        UsageError: a class has none.
    """
    each = int(np.bincount(part.truth, minlength=num_classes).min())
    if not each:
        raise UsageError(
            'The probe has no example of some class; it needs one of each.'
        )
    rng = generator(seed, 'probe')
    return sources.choose_interleaved(part.truth, each, num_classes, rng)


def probe_and_noise(
    source: Source,
    clean: np.ndarray | None,
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
        source: the data set.
        clean: int32 [N], true classes of its training examples, if known.
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
    num_classes = len(source.class_names)
    request = (spec.noise, spec.rate, spec.base, num_classes)
    request += (noise_seed, sampler)
    if clean is None:
        return np.zeros(0, np.int64), None
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
    kind = spec.noise
    if kind is None:
        human, kind = source.train.labels, GIVEN
        if np.array_equal(clean, human):
            return probe, None
    if human is not None:
        return probe, noise_lib.given(
            clean[rest], human[rest], kind, num_classes, *request[-2:]
        )
    return probe, noise_lib.corrupt(
        clean[rest],
        *request,
        images=_seen(source, spec, rest),
        order=order(source, rest, sampler),
    )


def _seen(
    source: Source, spec: DatasetSpec, rest: np.ndarray
) -> np.ndarray | None:
    """Returns the images that the noise depends on, if it does.

    Raises:
        UsageError: they are not in memory.
    """
    if not noise_lib.needs_images(spec.noise):
        return None
    if source.train.images.array is None:
        raise UsageError(
            f'the noise {spec.noise!r} looks at all images at once, and those '
            f'of {spec.base} are read from files: choose another kind.'
        )
    return source.train.images.array[rest]


def order(source: Source, rest: np.ndarray, sampler: str) -> np.ndarray | None:
    """Returns in which order a sampler sees some examples, as positions.

    None stands for the order in which they are.
    """
    if source.published is None or not SAMPLERS[sampler].published:
        return None
    return np.argsort(source.published[rest])


def human(
    spec: DatasetSpec, source: Source, file: str, data_dir: str | None
) -> np.ndarray | None:
    """Returns the human labels that a spec names, int32 [N], if it does.

    Raises:
        UsageError: they are not found, or are not those of the images.
    """
    if spec.human is None:
        return None
    found, origin = tfds_files.read_human_labels(spec.human, file, data_dir)
    return human_labels_lib.join(
        found,
        spec.human,
        spec.noise,
        source.train.labels,
        source.published,
        origin,
    )
