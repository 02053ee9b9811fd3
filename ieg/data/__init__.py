"""Data sets with noisy labels, split into train, probe, valid and test."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ieg.data import noise as noise_lib
from ieg.data import requests, splits
from ieg.data.noise import NoisyLabels
from ieg.data.parts import Part, Source
from ieg.data.samplers import SAMPLERS
from ieg.data.spec import DatasetSpec, parse


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples reached by id, 0..N-1.

    Attributes:
        fetch: (ids int64 [b], seeds int32 [b, 2] or None) -> uint8 tensor
            [b, H, W, channels]; works eagerly and inside a graph. The seeds
            are for sources that crop while they read; arrays ignore them.
        labels: int32 [N], what a learner may see.
        clean_labels: int32 [N], for reports only; None where unknown.
        indices: int64 [N], position of each example in the order of the data
            set itself (of its test part for the test split); ascending but
            for the probe.
        images: uint8 [N, H, W, channels], or None for examples in files.
        names: str [N], the files that the images come from; None without.
    """

    fetch: Callable[[Any, Any], Any]
    labels: np.ndarray
    clean_labels: np.ndarray | None
    indices: np.ndarray
    images: np.ndarray | None = None
    names: np.ndarray | None = None

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
        train: noisy, unless the spec names no noise and the set has none.
        test: clean, as far as its owner knows; or None.
        probe: clean and class balanced, split off before the noise; or None.
            Its classes are 0, 1, ..., C - 1, 0, 1, ..., so consecutive
            examples are class balanced too.
        valid: split off the noisy training data, or its owner's; or None.
        noise: the corrupted labels; None without noise, and where the true
            labels are unknown. Its rows are the examples of train and, unless
            that is the owner's, valid together, by ascending index.
        padding: pixels that the weak view pads before it crops.
        flip: whether the weak view mirrors images.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        further: more test sets by name.
        policy: the view that stands for the learnt augmentation policy.
        remarks: whole sentences that a user should read.
        skipped: (path, reason) of each file that is no image.
        fingerprint: tells a user's images from others; '' for known sets.
    """

    spec: DatasetSpec
    num_classes: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train: Split
    test: Split | None
    probe: Split | None
    valid: Split | None
    noise: NoisyLabels | None
    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    further: Mapping[str, Split] = dataclasses.field(default_factory=dict)
    policy: str = 'autoaug'
    remarks: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ''

    def split(self, name: str) -> Split | None:
        """Returns a split by its name, None for one that is not there."""
        found = self.further.get(name)
        return getattr(self, name) if found is None else found

    @property
    def in_memory(self) -> bool:
        """Whether the training images are."""
        return self.train.images is not None

    @property
    def labels_sha256(self) -> str:
        """What a checkpoint knows the labels by."""
        if self.noise is not None:
            return self.noise.sha256
        labels = self.train.labels.astype('<i4')
        return hashlib.sha256(labels.tobytes()).hexdigest()


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
        noise_sampler: a name in `ieg.data.samplers.SAMPLERS`.
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
    requests.check(probe_ratio, valid_ratio, seed)
    noise_lib.check(spec.noise, spec.rate, noise_sampler)
    requests.check_human_labels(human_labels, spec)
    source = requests.open_source(spec.base, data_dir, **options)
    views = _views(source, crop_padding, scaling, flip)
    clean = requests.truth(spec, source.train)

    noise_seed = seed if noise_seed is None else noise_seed
    pool = requests.pool(spec, source, train_examples, seed)
    probe, noise = requests.probe_and_noise(
        source,
        clean,
        pool,
        requests.probe_per_class(
            spec, source, None if clean is None else clean[pool], probe_ratio
        ),
        spec,
        seed,
        noise_seed,
        noise_sampler,
        requests.human(spec, source, human_labels, data_dir),
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
        requests.order(source, rest, noise_sampler),
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
    mean, std = requests.scaling(scaling, source)
    return dict(
        num_classes=len(source.class_names),
        image_shape=shape,
        class_names=source.class_names,
        padding=requests.padding(crop_padding, source.padding, shape[:2]),
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
        chosen = requests.own_probe(part, len(source.class_names), seed)
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
