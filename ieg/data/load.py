"""Loads a data set: subset, probe, noise and validation split."""

import inspect
from typing import Any

import numpy as np

from ieg.data import dataset, sets, splits
from ieg.data.dataset import Data, Part, Source, Split
from ieg.data.noise import human as human_labels
from ieg.data.noise import labels as noise_labels
from ieg.data.noise.labels import NoisyLabels
from ieg.data.noise.samplers import SAMPLERS
from ieg.data.sets import tfds
from ieg.data.spec import DatasetSpec, parse
from ieg.errors import UsageError
from ieg.utils.randomness import generator

# The kind of noise of a set that brings given and true labels along.
GIVEN = 'given'


def _open_source(base: str, data_dir: str | None, **options: Any) -> Source:
    """Opens a data set.

    Args:
        base: its name.
        data_dir: where it is; None for the usual place.
        **options: what only some data sets take, by the names of their
            loaders' parameters; an empty value asks for nothing.

    Raises:
        UsageError: the data set does not take an option, or cannot be opened.
    """
    loader = sets.loader(base)
    taken = inspect.signature(loader).parameters
    for name, value in options.items():
        if value and name not in taken:
            raise UsageError(
                f'--{name}={value} is not used by the data set {base}.'
            )
    chosen = {n: v for n, v in options.items() if n in taken}
    found = loader(data_dir, **chosen)
    return found.source() if isinstance(found, dataset.Arrays) else found


def _check(probe_ratio: float, valid_ratio: float, seed: int) -> None:
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


def _check_human_labels(file: str, spec: DatasetSpec) -> None:
    """Raises UsageError where a file of human labels has nothing to do."""
    if file and spec.human is None:
        raise UsageError(
            f'--human_labels={file} is not used by {spec}, only by '
            f'{", ".join(human_labels.HUMAN_SETS)}.'
        )


def _truth(spec: DatasetSpec, part: Part) -> np.ndarray | None:
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


def _pool(
    spec: DatasetSpec, source: Source, size: int, seed: int
) -> np.ndarray:
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


def _probe_per_class(
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


def _own_probe(part: Part, num_classes: int, seed: int) -> np.ndarray:
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
    return splits.choose_interleaved(part.truth, each, num_classes, rng)


def _probe_and_noise(
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
        chosen, noise = noise_labels.split_and_corrupt(
            clean[pool], per_class, *request
        )
        return pool[chosen], noise
    rng = generator(seed, 'probe')
    probe = pool[
        splits.choose_interleaved(clean[pool], per_class, num_classes, rng)
    ]
    rest = np.setdiff1d(pool, probe)
    kind = spec.noise
    if kind is None:
        human, kind = source.train.labels, GIVEN
        if np.array_equal(clean, human):
            return probe, None
    if human is not None:
        return probe, noise_labels.given(
            clean[rest], human[rest], kind, num_classes, *request[-2:]
        )
    return probe, noise_labels.corrupt(
        clean[rest],
        *request,
        images=_seen(source, spec, rest),
        order=_order(source, rest, sampler),
    )


def _seen(
    source: Source, spec: DatasetSpec, rest: np.ndarray
) -> np.ndarray | None:
    """Returns the images that the noise depends on, if it does.

    Raises:
        UsageError: they are not in memory.
    """
    if not noise_labels.needs_images(spec.noise):
        return None
    if source.train.images.array is None:
        raise UsageError(
            f'the noise {spec.noise!r} looks at all images at once, and those '
            f'of {spec.base} are read from files: choose another kind.'
        )
    return source.train.images.array[rest]


def _order(source: Source, rest: np.ndarray, sampler: str) -> np.ndarray | None:
    """Returns in which order a sampler sees some examples, as positions.

    None stands for the order in which they are.
    """
    if source.published is None or not SAMPLERS[sampler].published:
        return None
    return np.argsort(source.published[rest])


def _human_labels(
    spec: DatasetSpec, source: Source, file: str, data_dir: str | None
) -> np.ndarray | None:
    """Returns the human labels that a spec names, int32 [N], if it does.

    Raises:
        UsageError: they are not found, or are not those of the images.
    """
    if spec.human is None:
        return None
    found, origin = tfds.read_human_labels(spec.human, file, data_dir)
    return human_labels.join(
        found,
        spec.human,
        spec.noise,
        source.train.labels,
        source.published,
        origin,
    )


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
    flip: str = 'auto',
    data_dir: str | None = None,
    human_labels: str = '',
    frozen: NoisyLabels | None = None,
    **options: Any,
) -> Data:
    """Loads a data set, corrupts its training labels and splits it.

    In this order: a class-balanced subset of the training examples; the long
    tail out of it, so it has fewer than `train_examples`; the probe off that,
    clean and class balanced (it weighs on the rare classes: give it a share
    that leaves them some); noise on the rest; the validation examples off the
    rest, with the shares of the noisy classes. No two splits share an example.
    A data set with a probe or validation examples of its own keeps those, and
    the share is without effect.

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
        noise_sampler: a name in `ieg.data.noise.samplers.SAMPLERS`.
        crop_padding: replaces the padding of the data set; -1 keeps it.
        scaling: 'standard' keeps mean and std of the data set; 'symmetric'
            makes both 0.5, so pixels are scaled to [-1, 1]; others see
            `requests.scaling`.
        flip: 'on' and 'off' replace the habit of the data set.
        data_dir: TFDS folder or the folder of the data set; None is the
            default of TFDS.
        human_labels: file with the labels of CIFAR-10N or CIFAR-100N; '' looks
            in the TFDS folder for the usual names, and for TFDS's own set.
        frozen: noisy labels drawn earlier, used if they are of this request:
            another version of NumPy could draw others.
        **options: see `requests.open_source`.

    Raises:
        UsageError: something in the request is impossible.
    """
    if isinstance(spec, str):
        spec = parse(spec)
    _check(probe_ratio, valid_ratio, seed)
    noise_labels.check(spec.noise, spec.rate, noise_sampler)
    _check_human_labels(human_labels, spec)
    source = _open_source(spec.base, data_dir, **options)
    views = _views(source, crop_padding, scaling, flip)
    clean = _truth(spec, source.train)

    noise_seed = seed if noise_seed is None else noise_seed
    pool = _pool(spec, source, train_examples, seed)
    probe, noise = _probe_and_noise(
        source,
        clean,
        pool,
        _probe_per_class(
            spec, source, None if clean is None else clean[pool], probe_ratio
        ),
        spec,
        seed,
        noise_seed,
        noise_sampler,
        _human_labels(spec, source, human_labels, data_dir),
    )
    rest = np.setdiff1d(pool, probe)
    if noise is not None and frozen is not None and _is_same(noise, frozen):
        noise = frozen
    labels = source.train.labels[rest] if noise is None else noise.noisy
    part = None if spec.noise is None else SAMPLERS[noise_sampler].train_part
    is_valid = splits.valid(
        labels,
        0.0 if source.valid else valid_ratio,
        seed if part is None else noise_seed,
        part,
        _order(source, rest, noise_sampler),
    )

    def noisy_split(chosen: np.ndarray) -> Split:
        return _split(source.train, rest[chosen], labels[chosen], clean)

    return Data(
        spec=spec,
        train=noisy_split(~is_valid),
        test=_true(source.test) if len(source.test) else None,
        probe=_probe(source, probe, clean, seed),
        valid=_own_valid(source.valid)
        if source.valid
        else (noisy_split(is_valid) if is_valid.any() else None),
        noise=noise,
        **views,
    )


def _views(
    source: Source, crop_padding: int, scaling: str, flip: str
) -> dict[str, Any]:
    """Returns what `Data` has of its source, and how its images are seen."""
    shape = source.train.images.shape
    mean, std = dataset.scaling(scaling, source)
    return dict(
        num_classes=len(source.class_names),
        image_shape=shape,
        class_names=source.class_names,
        padding=dataset.crop_padding(crop_padding, source.padding, shape[:2]),
        flip=source.flip if flip == 'auto' else flip == 'on',
        mean=mean,
        std=std,
        further={name: _true(part) for name, part in source.further.items()},
        policy=source.policy,
        remarks=source.remarks,
        skipped=source.skipped,
        fingerprint=source.fingerprint,
    )


def _is_same(one: NoisyLabels, other: NoisyLabels) -> bool:
    """Returns whether two answer the same request for a draw.

    Labels that were not drawn are those of the files, whatever was before.
    """
    names = ('kind', 'rate', 'seed', 'sampler')
    return (
        one.rate is not None
        and np.array_equal(one.clean, other.clean)
        and all(getattr(one, name) == getattr(other, name) for name in names)
    )


def _true(part: Part) -> Split:
    """Returns a whole part as a split with its best known labels."""
    return _split(part, np.arange(len(part)), part.truth, part.truth)


def _own_valid(part: Part) -> Split:
    """Returns the owner's validation examples, with the given labels."""
    return _split(part, np.arange(len(part)), part.labels, part.clean)


def _probe(
    source: Source, chosen: np.ndarray, clean: np.ndarray | None, seed: int
) -> Split | None:
    """Returns the probe: the owner's, or chosen training examples."""
    part = source.probe
    if part is not None:
        chosen = _own_probe(part, len(source.class_names), seed)
        return _split(part, chosen, part.truth[chosen], part.truth)
    if not len(chosen):
        return None
    return _split(source.train, chosen, clean[chosen], clean)


def _split(
    part: Part,
    indices: np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray | None,
) -> Split:
    """Returns the split of some examples.

    Args:
        part: where they are.
        indices: [n], the chosen examples.
        labels: [n], theirs.
        clean: [N], the true labels of the whole part, if known.
    """
    images = part.images.take(indices)
    return Split(
        fetch=images.fetch,
        labels=labels,
        clean_labels=None if clean is None else clean[indices],
        indices=indices.astype(np.int64),
        images=images.array,
        names=None if part.names is None else part.names[indices],
    )
