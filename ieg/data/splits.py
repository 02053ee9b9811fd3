"""Which training examples are for what, as positions."""

from collections.abc import Callable

import numpy as np

from ieg.errors import UsageError
from ieg.utils.randomness import generator


def choose(
    labels: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws a given number of examples of each class, without replacement.

    Args:
        labels: int [N], classes.
        counts: int [C], how many of each class; at most as many as there are.
        rng: source of the draws.

    Returns:
        Positions in `labels`, int64, ascending.
    """
    return np.sort(np.concatenate(_of_each_class(labels, counts, rng)))


def choose_interleaved(
    labels: np.ndarray,
    per_class: int,
    num_classes: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws as many examples of each class, without replacement.

    Args:
        labels: int [N], classes.
        per_class: how many of each class, P.
        num_classes: C.
        rng: source of the draws.

    Returns:
        Positions in `labels`, int64 [C * P], of classes 0, ..., C - 1, 0, ...
    """
    counts = np.full(num_classes, per_class)
    return np.stack(_of_each_class(labels, counts, rng), axis=1).ravel()


def _of_each_class(
    labels: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Returns positions, int64, of each class, in random order."""
    return [
        rng.choice(np.flatnonzero(labels == c), count, replace=False)
        for c, count in enumerate(counts)
    ]


def choose_stratified(
    labels: np.ndarray, total: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws exactly `total` examples with the class shares of all examples.

    Arguments and result as in `choose`.
    """
    exact = np.bincount(labels) * (total / len(labels))
    counts = np.floor(exact + 1e-9).astype(np.int64)
    # The classes that rounding down treated worst get one more each.
    worst = np.argsort(counts - exact, kind='stable')
    counts[worst[: total - counts.sum()]] += 1
    return choose(labels, counts, rng)


def subset(
    labels: np.ndarray, size: int, num_classes: int, seed: int
) -> np.ndarray:
    """Draws a subset that is as balanced as its size allows.

    Args:
        labels: integers [N], true classes.
        size: of the subset; 0 for everything.
        num_classes: C.
        seed: of the draws.

    Returns:
        Positions, int64 [size], ascending.

    Raises:
        UsageError: some class has too few examples, or would have none.
    """
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
    return choose(labels, counts, generator(seed, 'subset'))


def long_tail(
    labels: np.ndarray, imbalance: float, num_classes: int, seed: int
) -> np.ndarray:
    """Draws examples so that classes become rarer by a constant factor.

    Class c keeps n * f^(c / (C - 1)) examples, rounded down, where f is the
    imbalance and n the largest number that all classes can do with: all
    examples of class 0 where the classes are of one size.

    Source: Cui et al. 2019, Cao et al. 2019; the usual long-tailed CIFAR.

    Args:
        labels: integers [N], true classes.
        imbalance: f in (0, 1], rarest over most frequent class.
        num_classes: C.
        seed: of the draws.

    Returns:
        Positions, int64, ascending.

    Raises:
        UsageError: a class would have no example.
    """
    available = np.bincount(labels, minlength=num_classes)
    shares = imbalance ** (np.arange(num_classes) / (num_classes - 1))
    most = int(np.min((available + 1e-9) / shares))
    counts = np.minimum((most * shares + 1e-9).astype(np.int64), available)
    if counts.min() < 1:
        raise UsageError(
            f'with the imbalance {imbalance} the most frequent class has '
            f'{most} training examples and the rarest one none: choose '
            f'{-(-(10**4) // max(most, 1)) / 10**4:g} or more.'
        )
    return choose(labels, counts, generator(seed, 'long tail'))


def probe_per_class(labels: np.ndarray, ratio: float, num_classes: int) -> int:
    """Returns how many examples of each class are for the probe.

    Args:
        labels: integers [N], true classes.
        ratio: share of the N examples for the probe, in [0, 1).
        num_classes: C.

    Raises:
        UsageError: none, or all of some class.
    """
    if ratio == 0.0:
        return 0
    count = len(labels)
    each = floor(count * ratio / num_classes)
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


def valid(
    labels: np.ndarray,
    ratio: float,
    seed: int,
    train_part: Callable[[int, float, int], np.ndarray] | None = None,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Returns which of the noisy examples are for validation.

    Args:
        labels: integers [n], given classes.
        ratio: share for validation, in [0, 1).
        seed: of the draws.
        train_part: of a sampler that draws this too; see `Sampler`.
        order: positions [n] in the order in which that one sees the examples;
            None for 0..n-1.

    Returns:
        bool [n]; with the class shares of all, unless `train_part` draws it.

    Raises:
        UsageError: the share is none at all.
    """
    chosen = np.zeros(len(labels), bool)
    if ratio == 0.0:
        return chosen
    size = floor(len(labels) * ratio)
    if size == 0:
        raise UsageError(
            f'a validation share of {ratio} of {len(labels)} noisy training '
            'examples leaves none for validation: choose a larger share.'
        )
    if train_part is None:
        rng = generator(seed, 'valid')
        chosen[choose_stratified(labels, size, rng)] = True
        return chosen
    order = np.arange(len(labels)) if order is None else order
    chosen[:] = True
    chosen[order[train_part(len(labels), ratio, seed)]] = False
    return chosen


def floor(value: float) -> int:
    """Rounds down, but takes 169.99999999999997 for the 170 that is meant."""
    return int(value + 1e-9)
