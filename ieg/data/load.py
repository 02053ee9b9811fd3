"""Loads a data set: subset, probe, noise and validation split."""

import dataclasses
import os
from typing import Any

import numpy as np

from ieg.data import splits
from ieg.data.dataset import Arrays, Data, Images, Opened, Part, Source, Split
from ieg.data.noise import human
from ieg.data.noise import labels as noise_labels
from ieg.data.noise.labels import SAMPLERS, NoisyLabels
from ieg.data.sets import tfds
from ieg.data.spec import TFDS_PREFIX, DatasetSpec, parse
from ieg.data.vectors import Pictures, Vectors, standardise
from ieg.errors import UsageError
from ieg.options import DataConfig, RunConfig
from ieg.registry import DATASETS
from ieg.utils.randomness import generator

# The kind of noise of a set that brings given and true labels along.
GIVEN = 'given'


def check(options: DataConfig, run: RunConfig) -> None:
    """Checks what can be checked before any data is read.

    Raises:
        UsageError: an option does not suit the data set, or another option.
    """
    spec = parse(options.dataset)
    takes = _takes(spec.base)
    for name, value in _asked(options, run).items():
        if value and name not in takes:
            raise UsageError(
                f'--{name}={value} is not used by the data set {spec.base}.'
            )
    noise_labels.check(spec.noise, spec.rate, options.noise_sampler)
    if options.human_labels and spec.human is None:
        raise UsageError(
            f'--human_labels={options.human_labels} is not used by {spec}, '
            f'only by {", ".join(human.HUMAN_SETS)}.'
        )


def open_set(options: DataConfig, run: RunConfig) -> Opened:
    """Finds a data set, and reads how large it is.

    Raises:
        UsageError: it is not there, or something in it is wrong.
    """
    base, data_dir = parse(options.dataset).base, _data_dir(run)
    if base.startswith(TFDS_PREFIX):
        return tfds.open_any(base.removeprefix(TFDS_PREFIX), data_dir)
    asked = _asked(options, run)
    # Only the reading of the images depends on their size.
    names = _takes(base) - {'image_size'}
    chosen = {name: asked[name] for name in names}
    opened = DATASETS.get(base)(data_dir, **chosen)
    if isinstance(opened, Arrays):
        opened = opened.source()
    if isinstance(opened, Source):
        source = opened
        _check_source(base, source)
        return Opened(lambda image_size: source)
    if not isinstance(opened, Opened):
        raise UsageError(
            f'The data set {base} must return Arrays, got '
            f'{type(opened).__name__}.'
        )
    return opened


def _check_source(base: str, source: Source) -> None:
    """Checks the images and labels of a data set, which may be a plugin's.

    Raises:
        UsageError: they are not as `Arrays` has them.
    """
    most = len(source.class_names) - 1
    for name, part in source.parts.items():
        is_vectors = isinstance(part.images, Vectors)
        array = None if is_vectors else part.images.array
        labels, must = part.labels, ''
        if array is not None and (array.dtype != np.uint8 or array.ndim != 4):
            must = f'uint8 images [N, H, W, channels], got {array.dtype}'
            must += f' {list(array.shape)}'
        elif (
            labels.shape != (len(part.images),) or labels.dtype.kind not in 'iu'
        ):
            must = f'integer labels [{len(part.images)}], got {labels.dtype}'
            must += f' {list(labels.shape)}'
        elif labels.size and not 0 <= labels.min() <= labels.max() <= most:
            must = f'labels 0..{most}, got {labels.min()}..{labels.max()}'
        if must:
            raise UsageError(f'The data set {base} must have {must} ({name}).')


def _asked(options: DataConfig, run: RunConfig) -> dict[str, Any]:
    """Returns options that only some data sets take; empty ones ask nothing."""
    return {
        'image_size': options.image_size,
        'probe_dir': os.path.expanduser(options.probe_dir),
        'use_imagenet_as_eval': run.use_imagenet_as_eval,
        'feature_columns': options.feature_columns,
    }


def _takes(base: str) -> frozenset[str]:
    if base.startswith(TFDS_PREFIX):
        return frozenset({'image_size'})
    return DATASETS.takes(base)


def _data_dir(run: RunConfig) -> str | None:
    return os.path.expanduser(run.data_dir) or None


def load(
    options: DataConfig,
    run: RunConfig,
    seed: int,
    opened: Opened | None = None,
    frozen: NoisyLabels | None = None,
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
        options: what to learn from.
        run: where the data set is.
        seed: of the subset, the long tail and the splits, and of the noise
            where `options.noise_seed` is -1.
        opened: the data set, if it has been opened already.
        frozen: noisy labels drawn earlier, used if they are of this request:
            another version of NumPy could draw others.

    Raises:
        UsageError: something in the request is impossible.
    """
    check(options, run)
    source = (opened or open_set(options, run)).source(options.image_size)
    request = _Request(parse(options.dataset), options, source, seed)
    shape = source.train.images.shape
    preprocessing = source.preprocessing.adapted(options, shape)
    clean = _truth(request.spec, source.train)
    pool = chosen(options, seed, source)
    probe, noise = _probe_and_noise(
        request, clean, pool, _human_labels(request, _data_dir(run))
    )
    rest = np.setdiff1d(pool, probe)
    if noise is not None and frozen is not None and _is_same(noise, frozen):
        noise = frozen
    labels = source.train.labels[rest] if noise is None else noise.noisy
    is_valid = _is_valid(request, labels, rest)

    def noisy_split(chosen: np.ndarray) -> Split:
        return _split(source.train, rest[chosen], labels[chosen], clean)

    return Data(
        spec=request.spec,
        num_classes=len(source.class_names),
        image_shape=shape,
        class_names=source.class_names,
        train=noisy_split(~is_valid),
        test=_true(source.test) if len(source.test) else None,
        probe=_probe(source, probe, clean, seed),
        valid=_own_valid(source.valid)
        if source.valid
        else (noisy_split(is_valid) if is_valid.any() else None),
        noise=noise,
        preprocessing=preprocessing,
        further={name: _true(part) for name, part in source.further.items()},
        remarks=source.remarks,
        skipped=source.skipped,
        fingerprint=source.fingerprint,
        backbone=source.backbone,
        has_own_valid=source.valid is not None,
    )


@dataclasses.dataclass(frozen=True)
class _Request:
    """What is asked of a data set.

    Attributes:
        spec: names the noise and the long tail.
        options: the shares, the seed of the noise and its sampler.
        source: the data set.
        seed: of the splits.
    """

    spec: DatasetSpec
    options: DataConfig
    source: Source
    seed: int

    @property
    def noise_seed(self) -> int:
        asked = self.options.noise_seed
        return self.seed if asked < 0 else asked

    def order(self, rest: np.ndarray) -> np.ndarray | None:
        """Returns in which order the sampler sees some examples: positions.

        None stands for the order in which they are.
        """
        published = self.source.published
        sampler = SAMPLERS[self.options.noise_sampler]
        if published is None or not sampler.published:
            return None
        return np.argsort(published[rest])


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


def chosen(options: DataConfig, seed: int, source: Source) -> np.ndarray:
    """Returns the training examples to use, ascending: int64 [n].

    Args:
        options: ask for a class-balanced subset and a long tail, or not.
        seed: of the subset and the long tail.
        source: has all of them.

    Raises:
        UsageError: the subset or a class of the long tail would be empty.
    """
    imbalance = parse(options.dataset).imbalance
    num_classes, given = len(source.class_names), source.train.labels
    subset = splits.subset(given, options.train_examples, num_classes, seed)
    if imbalance is None:
        return subset
    return subset[splits.long_tail(given[subset], imbalance, num_classes, seed)]


def no_clean(base: str) -> UsageError:
    """Returns the mistake that clean examples are needed and none is known.

    Args:
        base: name of the data set.
    """
    return UsageError(
        'Clean probe images are asked for, but it is not known which labels '
        f'of {base} are right; give some as a part named probe, or for a '
        'folder by --probe_dir.'
    )


def _probe_per_class(request: _Request, clean: np.ndarray | None) -> int:
    """Returns how many probe examples are split off each class.

    Args:
        request: asks for a share; a probe of the data set's own is kept.
        clean: int32 [n], true classes to choose from, if known.

    Raises:
        UsageError: no clean example is known, or a class has too few.
    """
    ratio, source = request.options.probe_dataset_hold_ratio, request.source
    if source.probe is not None or not ratio:
        return 0
    if clean is None:
        raise no_clean(request.spec.base)
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
    request: _Request,
    clean: np.ndarray | None,
    pool: np.ndarray,
    given: np.ndarray | None,
) -> tuple[np.ndarray, NoisyLabels | None]:
    """Draws the probe, and the noise on all other examples.

    Args:
        request: names noise and sampler.
        clean: int32 [N], true classes of the training examples, if known.
        pool: int [n], indices of the examples to use, ascending.
        given: int32 [N], labels of all examples that take the place of noise;
            None where it is drawn.

    Returns:
        The indices of the probe, int64 [C * P], of classes 0, ..., C - 1,
        0, ...; and the noise of the others in ascending order, or None.
    """
    per_class = _probe_per_class(
        request, None if clean is None else clean[pool]
    )
    if clean is None:
        return np.zeros(0, np.int64), None
    spec, source = request.spec, request.source
    num_classes = len(source.class_names)
    asked = noise_labels.Request(
        spec.noise or GIVEN,
        spec.rate,
        spec.base,
        num_classes,
        request.noise_seed,
        request.options.noise_sampler,
    )
    # Noise that is drawn has a rate.
    if asked.rate is not None and SAMPLERS[asked.sampler].split is not None:
        chosen, noise = noise_labels.split_and_corrupt(
            clean[pool], per_class, asked
        )
        return pool[chosen], noise
    rng = generator(request.seed, 'probe')
    probe = pool[
        splits.choose_interleaved(clean[pool], per_class, num_classes, rng)
    ]
    rest = np.setdiff1d(pool, probe)
    if spec.noise is None:
        given = source.train.labels
        if np.array_equal(clean, given):
            return probe, None
    if given is not None:
        return probe, noise_labels.given(clean[rest], given[rest], asked)
    return probe, noise_labels.corrupt(
        clean[rest],
        asked,
        images=_seen(source, spec, rest),
        order=request.order(rest),
    )


def _seen(
    source: Source, spec: DatasetSpec, rest: np.ndarray
) -> np.ndarray | None:
    """Returns the images that the noise depends on, if it does.

    They are uint8 [n, H, W, channels], or standardised vectors float32 [n, d].

    Raises:
        UsageError: they are not in memory.
    """
    if spec.noise is None or not noise_labels.needs_images(spec.noise):
        return None
    images: Images | Pictures = source.train.images
    if isinstance(images, Vectors) and images.pictures is not None:
        # The same labels whether features take the place of images or not.
        images = images.pictures
    if isinstance(images, Vectors):
        # As networks see them, so that no column outweighs all others.
        recipe = source.preprocessing
        raw = images.rows(rest)
        return standardise(raw, recipe.mean, recipe.std).numpy()
    if images.array is None:
        raise UsageError(
            f'the noise {spec.noise!r} looks at all images at once, and those '
            f'of {spec.base} are read from files: choose another kind.'
        )
    return images.array[rest]


def _is_valid(
    request: _Request, labels: np.ndarray, rest: np.ndarray
) -> np.ndarray:
    """Returns which of the noisy examples are for validation: bool [n]."""
    options, seed, part = request.options, request.seed, None
    if request.spec.noise is not None:
        part = SAMPLERS[options.noise_sampler].train_part
    return splits.valid(
        labels,
        0.0 if request.source.valid else options.valid_ratio,
        seed if part is None else request.noise_seed,
        part,
        request.order(rest),
    )


def _human_labels(request: _Request, data_dir: str | None) -> np.ndarray | None:
    """Returns the human labels that a spec names, int32 [N], if it does.

    Raises:
        UsageError: they are not found, or are not those of the images.
    """
    spec, source = request.spec, request.source
    if spec.human is None or spec.noise is None:
        return None
    labels, origin = tfds.read_human_labels(
        spec.human, request.options.human_labels, data_dir
    )
    return human.join(
        labels,
        spec.human,
        spec.noise,
        source.train.labels,
        source.published,
        origin,
    )


def _is_same(one: NoisyLabels, other: NoisyLabels) -> bool:
    """Returns whether two answer the same request for a draw.

    Labels that were not drawn are those of the files, whatever was before.
    """
    asked = (one.kind, one.rate, one.seed, one.sampler)
    return (
        one.rate is not None
        and asked == (other.kind, other.rate, other.seed, other.sampler)
        and np.array_equal(one.clean, other.clean)
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
    if clean is None or not len(chosen):
        return None
    return _split(source.train, chosen, clean[chosen], clean)


def _split(
    part: Part,
    places: np.ndarray,
    labels: np.ndarray,
    clean: np.ndarray | None,
) -> Split:
    """Returns the split of some examples.

    Args:
        part: where they are.
        places: [n], the chosen examples.
        labels: [n], theirs.
        clean: [N], the true labels of the whole part, if known.
    """
    some = part.take(places)
    images, rows = some.images, some.rows
    assert rows is not None
    return Split(
        fetch=images.fetch,
        labels=labels,
        clean_labels=None if clean is None else clean[places],
        indices=rows,
        images=None if isinstance(images, Vectors) else images.array,
        names=some.names,
        vectors=images if isinstance(images, Vectors) else None,
        texts=some.texts,
        places=None if np.array_equal(rows, places) else places,
    )
