"""Plain data between a method and the trainer, and helpers to choose ids.

Methods import all of this from `ieg.methods.base`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

# stream -> {'images': V-tuple of float32 [b, H, W, channels],
#            'label': int32 [b], 'index': int64 [b]}, and
# 'step' -> scalars of this step: 'number' (in its phase), 'seed' int32 [2],
#           'learning_rate', and whatever the phase gives in `per_step`.
Batch = Mapping[str, Mapping[str, Any]]
Logs = dict[str, tf.Tensor]
# Runs the named per-example step over a whole split:
# score('step_name') -> {'key': array [N, ...]}.
Score = Callable[..., dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Info:
    """What a method may know of its data and its run.

    Attributes:
        num_classes: C.
        image_shape: (height, width, channels) of what a network sees.
        labels: the given (noisy) training labels, int32 `[N]`.
        num_probe: examples of the clean probe set.
        batch_size: examples per step on all replicas together.
        epochs: length of the run.
        seed: root of all randomness.
        valid_counts: how many validation examples are labelled as each class,
            int `[C]`; None where there is no validation split.
    """

    num_classes: int
    image_shape: tuple[int, int, int]
    labels: np.ndarray
    num_probe: int
    batch_size: int
    epochs: int
    seed: int
    valid_counts: np.ndarray | None = None

    @property
    def num_examples(self) -> int:
        """N, the number of training examples."""
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Stream:
    """What one part of every batch is made of.

    Attributes:
        batch_size: examples per step on all replicas together.
        views: names of the views drawn of each image, in order.
        split: 'train' or 'probe'.
        shuffle: whether the examples of a phase are shuffled; otherwise they
            come as the phase lists them.
    """

    batch_size: int
    views: tuple[str, ...] = ('weak',)
    split: str = 'train'
    shuffle: bool = True


@dataclasses.dataclass(frozen=True)
class Phase:
    """Consecutive steps with one step function and one choice of examples.

    Attributes:
        step: name of a step function of the method.
        examples: stream -> ids to draw from. They wrap around, with fresh
            shuffles where the stream shuffles, until `num_steps` whole batches
            are full. Consecutive ids of a batch go to the same replica: the
            first `batch_size / replicas` to the first one.
        num_steps: number of steps.
        args: leading arguments of the step function. Each value compiles its
            own function, so they are for a few choices ("which network").
        per_step: name -> one number for each step `[num_steps]`, found under
            `batch['step']`.
        rate: what the learning rate of the schedule is multiplied by.
    """

    step: str
    examples: Mapping[str, np.ndarray]
    num_steps: int
    args: tuple = ()
    per_step: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    rate: float = 1.0


class Selection(NamedTuple):
    """How clean the given labels look to a method.

    Attributes:
        score: float `[N]`, larger is cleaner.
        chosen: bool `[N]`, the examples taken as clean, or `[N, n]` where n
            networks choose for themselves.
    """

    score: np.ndarray
    chosen: np.ndarray


def balanced_draw(
    labels: np.ndarray, count: int, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns `count` ids, as many of each given class as it has.

    Args:
        labels: `[N]`.
        count: how many ids; 0 or at least N stands for all of them.
        num_classes: C.
        rng: source of the draws.

    Returns:
        int64, sorted; fewer than `count` where classes are too small.
    """
    if not 0 < count < len(labels):
        return np.arange(len(labels))
    most = max(1, count // num_classes)
    # The first ones of each class in a random order.
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind='stable')]
    sizes = np.bincount(labels, minlength=num_classes)
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.sort(by_class[place < most])


def steps_for(count: int, batch_size: int) -> int:
    """Returns how many batches show `count` examples at least once."""
    return max(1, -(-count // batch_size))
