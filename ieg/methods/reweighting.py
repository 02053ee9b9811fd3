"""What the methods share that weigh examples by a meta-gradient."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.errors import UsageError
from ieg.methods import recipes
from ieg.methods.base import (
    AveragingMethod,
    Batch,
    Logs,
    Phase,
    Score,
    Selection,
    Stream,
)
from ieg.methods.recipes import MNIST, TRAINING
from ieg.ops import losses, meta, optim
from ieg.ops import random as random_ops
from ieg.ops.losses import accuracy
from ieg.registry import option

# Methods of the IEG code base; batches are of one of eight GPUs.
WEB_COMMON = dict(
    image_size=224,
    scaling='symmetric',
    learning_rate=0.1,
    lr_schedule='cosine',
)
WEB: dict[str, dict[str, Any]] = {
    'webvisionmini': WEB_COMMON
    | dict(
        batch_size=8,
        weight_decay=4e-4,
        cos_t_mul=1.5,
        cos_m_mul=0.9,
        max_iteration=1_000_000,
    ),
}


# In bfloat16 the weights of a step are other ones (correlation 0.9 at a random
# start), and what that does to a run has not been measured.
EXACT = dict(precision='float32')
# IEG's settings for CIFAR, of all its methods.
_IEG_CIFAR = EXACT | dict(
    batch_size=100,
    learning_rate=0.1,
    lr_schedule='cosine',
    cos_t_mul=1.5,
    cos_m_mul=0.9,
    max_iteration=200_000,
    crop_padding=2,
    scaling='symmetric',
)


def recipe(dataset: DatasetSpec, network: str) -> dict[str, Any]:
    """Returns the recipe of the methods of the IEG code base."""
    if dataset.base in ('mnist', 'fashion_mnist'):
        # The weights of a batch gather on a few examples, and LeNet has no
        # BatchNorm: at 0.05 it dies.
        return MNIST | {'learning_rate': 0.01}
    if dataset.base in WEB:
        return EXACT | WEB[dataset.base]
    if dataset.base not in ('cifar10', 'cifar100'):
        return EXACT | TRAINING.get(dataset.base, {})
    if network.startswith('resnet29'):
        # The reference's penalty, 1e-4 |W|^2 of kernels, has no factor 1/2.
        return _IEG_CIFAR | dict(weight_decay=2e-4, kernels_only_decay=True)
    return _IEG_CIFAR | dict(weight_decay=5e-4)


# Ten images per class of the small sets.
_PROBE = {
    'digits': 0.08,
    'fake': 0.1,
    'fashion_mnist': 1 / 600,
    'mnist': 1 / 600,
}


# What an example's visits of one epoch earlier count for in its mean weight.
FORGETTING = 0.5
# Relative to equal weights; means over epochs are rarely exactly 0.
SMALL_WEIGHT = 0.5


@dataclasses.dataclass(frozen=True)
class ReweightingConfig:
    """Options of every method that looks one step ahead."""

    meta_stepsize: float = option(
        0.1, 'Constant size of the look-ahead step.', minimum=1e-6
    )
    meta_weight_decay: float = option(
        -1.0,
        'L2 coefficient of all weights in the probe loss; -1 = that of the '
        'training.',
        minimum=-1,
    )
    weight_scope: str = option(
        'global',
        'Normalize weights over all replicas (global), or within each replica '
        '(as in the original).',
        choices=('global', 'replica'),
    )
    use_ema: bool = option(
        True, 'Evaluate an exponential moving average of the weights.'
    )
    ema_decay: float = option(
        0.999, 'Maximum decay of the moving average.', minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        """Checks what the limits cannot.

        Raises:
            UsageError: a negative penalty.
        """
        if -1 < self.meta_weight_decay < 0:
            raise UsageError(
                f'--meta_weight_decay={self.meta_weight_decay} is neither -1 '
                'nor 0 or more.'
            )


@dataclasses.dataclass(frozen=True)
class ProbeConfig(ReweightingConfig):
    """Options of the methods that have a clean probe set."""

    meta_grad: str = option(
        'jvp',
        'How the gradient with respect to the weights is computed. jvp and '
        'double = exactly; fd = by finite differences; last_layer = for that '
        'layer only.',
        choices=meta.KINDS,
    )
    probe_batch_size: int = option(
        0, 'Probe images per step and replica; 0 = --batch_size.', minimum=0
    )


class Reweighting(AveragingMethod):
    """Weights from a look-ahead step, their record, and averaged networks.

    State beyond the networks: `tally` `[N, 2 + K]`, for each example its
    visits, the sum of its weights relative to 1 / B, and the sums of K further
    facts; older epochs fade.
    """

    config: ReweightingConfig
    usual_networks = {'cifar10': 'wrn28-10', 'cifar100': 'wrn28-10'}

    def __init__(self, *args: Any):
        super().__init__(*args)
        if not isinstance(self.optimizers[0], optim.SGD):
            raise UsageError(
                'This method looks a step of SGD ahead; use --optimizer=sgd.'
            )
        self.tally = self.example_variable('tally', (2 + self.num_facts,))
        self.moved = self.moved_variables()

    @property
    def num_facts(self) -> int:
        """K, the number of further facts in the tally."""
        return 0

    def moved_variables(self) -> list[keras.Variable]:
        """Returns the variables that look ahead."""
        return meta.head(self.nets[0]).trainable_variables

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase]:
        """Draws all examples once."""
        self.tally.assign(self.tally.numpy() * FORGETTING)
        return [self.whole_epoch()]

    # Coefficients of penalties and momentum of the variables that move.

    def training_l2(self) -> list[float]:
        """Returns the coefficients of the training penalty."""
        return [self.optimizers[0].l2_of(v) for v in self.moved]

    def probe_l2(self) -> list[float]:
        """Returns the coefficients of the penalty of the probe loss."""
        given = self.config.meta_weight_decay
        return self.training_l2() if given < 0 else [given] * len(self.moved)

    def momenta(self, factor: float) -> list[tf.Tensor]:
        """Returns what momentum adds to the gradients of the look-ahead."""
        velocity_of = self.optimizers[0].velocity_of
        return [factor * velocity_of(v) for v in self.moved]

    # Steps.

    def update(self, tape: tf.GradientTape, loss: tf.Tensor) -> Logs:
        """Makes one optimizer step, then moves the average."""
        logs = self.minimize(tape, loss)
        if self.average:
            self.average.update(self.optimizers[0].iterations)
        return logs

    def record(
        self,
        index: tf.Tensor,
        weights: tf.Tensor,
        facts: Sequence[tf.Tensor] = (),
    ) -> Logs:
        """Adds a batch to the tally; returns what to log of its weights.

        Args:
            index: ids `[b]`.
            weights: `[b]`.
            facts: the further ones, `[b]` or `[b, k]` each.
        """
        relative = weights * tf.cast(tf.size(weights), weights.dtype)
        columns = [tf.ones_like(relative), relative, *facts]
        columns = [
            tf.reshape(tf.cast(c, tf.float32), [tf.size(index), -1])
            for c in columns
        ]
        change = tf.concat(columns, axis=1)
        # One bad step would spoil the sums for good.
        change = tf.where(tf.math.is_finite(change), change, 0.0)
        self.update_examples(self.tally, index, tf.zeros_like(change), change)
        zero = tf.cast(weights <= 0, tf.float32)
        return {'zero_weights': tf.reduce_mean(zero)}

    # The lane of the random numbers of `mixing`; the next one is taken too.
    mixing_lane = 0

    def mixing(
        self, batch: Batch, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a number in [0, 1) and a partner for each row `[count]`."""
        first, second = (
            self.random_seed(batch, self.mixing_lane + n) for n in range(2)
        )
        numbers = random_ops.uniform([count], first)
        return numbers, losses.random_partners(count, second)

    def mixed(
        self, batch: Batch, rows: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns images `[b, ...]` and targets `[b, C]`, mixed."""
        numbers, partners = self.mixing(batch, tf.shape(rows)[0])
        shares = losses.dominant_share(tf.cast(numbers, rows.dtype))
        of_rows = tf.reshape(shares, [-1] + [1] * (len(rows.shape) - 1))
        images = losses.mix(rows, partners, of_rows)
        return images, losses.mix(targets, partners, shares[:, tf.newaxis])

    # Reports.

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns who was ever seen `[N]`, and mean facts `[N, 1 + K]`.

        The first fact is the weight. All are 1 where nothing is known yet.
        """
        tally = self.tally.numpy()
        seen = tally[:, 0] > 0
        means = np.ones_like(tally[:, 1:])
        means[seen] = tally[seen, 1:] / tally[seen, :1]
        return seen, means

    def selection(self) -> Selection:
        """Large weights look clean; half an equal one still counts as used."""
        _, means = self.means()
        return Selection(means[:, 0], means[:, 0] > SMALL_WEIGHT)

    def notes(self) -> dict[str, np.ndarray]:
        """Returns the mean weights, relative to equal ones."""
        return {'weight': self.means()[1][:, 0]}


class ProbeReweighting(Reweighting):
    """Reweighting by the gradient of a loss on clean probe images.

    Attributes:
        probe_batch_size: probe images per step on all replicas together.
    """

    config: ProbeConfig

    def __init__(self, *args: Any):
        super().__init__(*args)
        size, classes = self.config.probe_batch_size, self.info.num_classes
        if size % classes:
            raise UsageError(
                f'--probe_batch_size must be a multiple of the {classes} '
                f'classes, so that all are shown equally often; got {size}.'
            )
        # Here, and not where it is needed: only building a method happens
        # within the scope of its strategy.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self.probe_batch_size = size * replicas or self.info.batch_size
        half = self.nets[0].compute_dtype not in ('float32', 'float64')
        if self.config.meta_grad == 'fd' and half:
            raise UsageError(
                'Finite differences vanish in half precision; for '
                '--meta_grad=fd set --precision=float32.'
            )
        self.observed = None
        if self.config.meta_grad == 'last_layer':
            self.observed = meta.with_features(self.nets[0])

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the recipe, with the usual share of clean probe images."""
        # The right labels of web images are unknown: such a data set brings
        # its own probe or has none.
        usual = 0.0 if dataset.base in recipes.WEB else 0.02
        share = _PROBE.get(dataset.base, usual)
        return recipe(dataset, network) | {'probe_dataset_hold_ratio': share}

    def moved_variables(self) -> list[keras.Variable]:
        """Returns the variables that look ahead."""
        return meta.moved_variables(self.nets[0], self.config.meta_grad)

    def streams(self) -> dict[str, Stream]:
        """Training images, and probe images class by class in turn."""
        return {
            'train': Stream(self.info.batch_size),
            'probe': Stream(
                self.probe_batch_size, split='probe', shuffle=False
            ),
        }

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase]:
        """Draws all examples once; the probe continues where it was."""
        (phase,) = super().begin_epoch(epoch, score)
        count = phase.num_steps * self.probe_batch_size
        probe = (epoch * count + np.arange(count)) % self.info.num_probe
        examples = {**phase.examples, 'probe': probe}
        return [dataclasses.replace(phase, examples=examples)]

    def probe_direction(
        self, batch: Batch, point: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], Logs]:
        """Returns the gradient of the probe loss at a look-ahead point.

        And what to log of it: a probe that is fitted no longer guides.
        """
        part = batch['probe']
        probe = meta.probe_pass(
            self.nets[0],
            self.moved,
            point,
            part['images'][0],
            part['label'],
            self.probe_l2(),
        )
        gradient = meta.across_replicas(
            probe.gradient, self.config.weight_scope
        )
        return gradient, {
            'loss_probe': probe.loss,
            'probe_accuracy': accuracy(part['label'], probe.logits),
        }

    def training_pass(
        self, images: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the training-mode logits, and the features if needed."""
        if self.observed is None:
            return self.nets[0](images, training=True), None
        features, logits = self.observed(images, training=True)
        return logits, features

    def alignments(
        self,
        tape: tf.GradientTape,
        direction: Sequence[tf.Tensor],
        pieces: meta.Pieces,
        images: Sequence[tf.Tensor],
        logits: Sequence[tf.Tensor],
        features: tf.Tensor | None,
    ) -> list[tf.Tensor]:
        """Returns the derivatives of the pieces; see `meta.alignments`."""
        return meta.alignments(
            self.config.meta_grad,
            self.nets[0],
            self.moved,
            direction,
            pieces,
            images,
            tape,
            logits,
            [] if features is None else [features],
        )
