"""Plain training on the given labels: the baseline of every comparison."""

import dataclasses
from typing import Any

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
    Stream,
    log_accuracy,
)
from ieg.ops import losses
from ieg.registry import METHODS, option
from ieg.utils.randomness import generator


@dataclasses.dataclass(frozen=True)
class SupervisedConfig:
    """Options of supervised training."""

    loss: str = option(
        'cross_entropy',
        'Loss of a label. gce = generalized cross-entropy (Zhang & Sabuncu '
        '2018), for which labels that the network does not believe count less.',
        choices=('cross_entropy', 'gce'),
    )
    gce_q: float = option(
        0.7,
        'Exponent of --loss=gce: near 0 it is the cross-entropy, at 1 the '
        'mean absolute error.',
        minimum=0.01,
        maximum=1,
    )
    label_smoothing: float = option(
        0.0,
        'Share of the target spread over all classes.',
        minimum=0,
        maximum=1,
    )
    mixup: float = option(
        0.0,
        'MixUp with mixing weights from Beta(alpha, alpha); 0 = off.',
        minimum=0,
    )
    use_ema: bool = option(
        False, 'Evaluate an exponential moving average of the weights.'
    )
    ema_decay: float = option(
        0.999, 'Maximum decay of the moving average.', minimum=0, maximum=1
    )
    probe_use: str = option(
        'drop',
        'How to use clean probe images. drop = ignore them; only = train on '
        'nothing else, for as many steps as on all images.',
        choices=('drop', 'only'),
    )

    def __post_init__(self) -> None:
        """Checks which options belong together.

        Raises:
            UsageError: the loss does not use one of them.
        """
        unused = 'label_smoothing' if self.loss == 'gce' else 'gce_q'
        # A dataclass keeps its defaults in the class.
        if getattr(self, unused) != getattr(type(self), unused):
            raise UsageError(f'--{unused} is not used by --loss={self.loss}.')


@METHODS.register('supervised')
class Supervised(AveragingMethod):
    """A loss of the given labels: cross-entropy, or the generalized one.

    Options: label smoothing, mixup (Zhang et al. 2018; partners from the same
    batch, one mixing share per step), and a moving average of the weights.
    """

    Config = SupervisedConfig
    config: SupervisedConfig

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the recipe for the data set, the one DivideMix trains by."""
        return dict(recipes.TRAINING.get(dataset.base, {}))

    def streams(self) -> dict[str, Stream]:
        """The noisy examples, or the probe alone."""
        split = 'probe' if self.config.probe_use == 'only' else 'train'
        return {'train': Stream(self.info.batch_size, split=split)}

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase]:
        """Draws all examples, and with mixup one mixing share per step."""
        phase = self.whole_epoch()
        if self.config.probe_use == 'only':
            probe = np.arange(self.info.num_probe)
            phase = dataclasses.replace(phase, examples={'train': probe})
        if not self.config.mixup:
            return [phase]
        rng = generator(self.info.seed, 'share', epoch)
        alpha = self.config.mixup
        share = rng.beta(alpha, alpha, phase.num_steps)
        # An image is mostly itself; partners are each other's mirror image.
        share = np.maximum(share, 1 - share)
        return [dataclasses.replace(phase, per_step={'share': share})]

    def train_step(self, batch: Batch) -> Logs:
        """Minimizes the mean loss of one batch."""
        part = batch['train']
        (images,), label = part['images'], part['label']
        with tf.GradientTape() as tape:
            if self.config.mixup:
                loss, logits = self._mixed_loss(batch, images, label)
            else:
                logits = self.nets[0](images, training=True)
                loss = self._loss(label, logits)
            loss = tf.reduce_mean(loss)
        if self.average:
            # Before the step, as in the reference.
            self.average.update(self.optimizers[0].iterations)
        logs = self.minimize(tape, loss)
        if self.config.probe_use == 'only':
            return logs | log_accuracy(part, logits)
        return logs | self.observe(part, logits)

    def _loss(self, label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        config = self.config
        if config.loss == 'gce':
            return losses.generalized_cross_entropy(label, logits, config.gce_q)
        return losses.cross_entropy(label, logits, config.label_smoothing)

    def _mixed_loss(
        self, batch: Batch, images: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns losses `[b]` and logits `[b, C]` of mixed images."""
        share = batch['step']['share']
        partners = losses.random_partners(
            tf.shape(label)[0], self.random_seed(batch)
        )
        images = losses.mix(images, partners, share)
        logits = self.nets[0](images, training=True)
        share = tf.cast(share, logits.dtype)
        loss = share * self._loss(label, logits) + (1 - share) * self._loss(
            tf.gather(label, partners), logits
        )
        return loss, logits
