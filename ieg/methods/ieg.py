"""IEG: meta re-weighting and re-labelling with pseudo-labels and mixup.

Zhang, Zhang, Arik, Lee, Pfister: "Distilling Effective Supervision from Severe
Label Noise", CVPR 2020, as the authors' code runs it.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.errors import UsageError
from ieg.methods import recipes
from ieg.methods.base import Batch, Logs, Stream
from ieg.methods.reweighting import ProbeConfig, ProbeReweighting
from ieg.ops import losses, meta
from ieg.ops import random as random_ops
from ieg.registry import METHODS, option

WEB_FACTORS = {'webvisionmini': dict(ce_factor=4.0, consistency_factor=8.0)}


# Of the guessed labels.
TEMPERATURE = 0.5


@dataclasses.dataclass(frozen=True)
class IEGConfig(ProbeConfig):
    """Options of IEG."""

    meta_momentum: float = option(
        0.9, 'Share of the momentum in the look-ahead step.', minimum=0
    )
    ce_factor: float = option(
        5.0, 'Weight of the loss on mixed, pseudo-labelled images.', minimum=0
    )
    consistency_factor: float = option(
        20.0,
        'Weight of the consistency between weak and strong view.',
        minimum=0,
    )
    grad_eps_init: float = option(
        0.9,
        'Initial share of the given label in a target.',
        minimum=0,
        maximum=1,
    )
    aug_type: str = option(
        'autoaug',
        'Augmentation of the strong view. autoaug = a learned policy per '
        'image; randaug = two random operations per image; randaug_batch = '
        'the same two for a batch, as in the original; default = crop, flip '
        'and cutout.',
        choices=('autoaug', 'randaug', 'randaug_batch', 'default'),
    )
    pseudo_label_grad: bool = option(
        False,
        'Differentiate through the pseudo-labels in the look-ahead step, as '
        'the original does by accident.',
    )

    def __post_init__(self) -> None:
        """Checks what belongs together.

        Raises:
            UsageError: two options that exclude each other.
        """
        super().__post_init__()
        if self.pseudo_label_grad and self.meta_grad == 'last_layer':
            raise UsageError(
                '--pseudo_label_grad looks through all layers; it does not go '
                'with --meta_grad=last_layer.'
            )


# The same of the weak and of the strong view.
Passes = tuple[tf.Tensor, tf.Tensor]


class Targets(NamedTuple):
    """What a batch is trained towards.

    Attributes:
        weights: `[b]`, from the meta step.
        keeps: `[b]`, 1 where the given label is kept, 0 for the pseudo-label.
        guess: pseudo-labels `[b, C]`.
        given: one-hot labels `[b, C]`.
    """

    weights: tf.Tensor
    keeps: tf.Tensor
    guess: tf.Tensor
    given: tf.Tensor


@METHODS.register('ieg')
class IEG(ProbeReweighting):
    """Weights, a choice between label and pseudo-label, and five losses."""

    Config = IEGConfig
    config: IEGConfig
    # Lane 0 draws probe images.
    mixing_lane = 1

    @property
    def num_facts(self) -> int:
        """1 + C: whether the label is kept, and the pseudo-label `[C]`."""
        return 1 + self.info.num_classes

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the published recipe, or a tuned one for small data."""
        values = super().presets(dataset, network)
        values |= WEB_FACTORS.get(dataset.base, {})
        if dataset.base in recipes.GREY:
            # Policies learned on photographs are worse than none here.
            values['aug_type'] = 'default'
        return values

    def streams(self) -> dict[str, Stream]:
        """Two views of every training image."""
        streams = super().streams()
        views = ('weak', self.config.aug_type)
        train = dataclasses.replace(streams['train'], views=views)
        return streams | {'train': train}

    # The step.

    def train_step(self, batch: Batch) -> Logs:
        """One step; section 3 of the paper."""
        part = batch['train']
        weak, strong = part['images']
        with tf.GradientTape(persistent=True) as tape:
            # The only pass that moves the BatchNorm statistics.
            logits, features = self.training_pass(weak)
            strong_logits = meta.forward(self.nets[0], strong)
        targets, probe_logs = self.targets(
            tape, batch, (logits, strong_logits), features
        )
        with tape:
            parts = self.loss_terms(batch, targets, logits, strong_logits)
            loss = losses.total(list(parts.values()))
        logs = self.update(tape, loss) | parts | probe_logs
        logs |= self.record(
            part['index'],
            targets.weights,
            (targets.keeps, targets.guess),
        )
        return logs | self.observe(part, logits)

    def targets(
        self,
        tape: tf.GradientTape,
        batch: Batch,
        logits: Passes,
        features: tf.Tensor | None,
    ) -> tuple[Targets, Logs]:
        """Returns weights and targets, and what to log: the meta step."""
        given = tf.one_hot(
            batch['train']['label'],
            self.info.num_classes,
            dtype=logits[0].dtype,
        )
        guess = self.guess(*logits)
        direction, probe_logs = self.probe_direction(
            batch, self.look_ahead(tape, given, guess, logits)
        )
        change, slope = self.alignments(
            tape,
            direction,
            self._relabelling(given, guess),
            self._leaking(batch['train']['images']),
            self._leaking(logits),
            features,
        )
        weights = meta.normalised(
            self.config.meta_stepsize * change, self.config.weight_scope
        )
        # The probe loss falls along -direction: a share whose slope rises
        # along it should grow. Ties go to the pseudo-label.
        keeps = tf.cast(slope > 0, weights.dtype)
        return Targets(weights, keeps, guess, given), probe_logs

    def guess(self, logits: tf.Tensor, strong_logits: tf.Tensor) -> tf.Tensor:
        """Returns the pseudo-labels `[b, C]` (eq. 5)."""
        views = [
            tf.nn.softmax(losses.rms_normalised(z))
            for z in (logits, strong_logits)
        ]
        return losses.sharpen(losses.total(views) / len(views), TEMPERATURE)

    def _relabelling(self, given: tf.Tensor, guess: tf.Tensor) -> meta.Pieces:
        """Returns the function from logits to what the meta step looks at.

        It gives the example losses with the initial targets `[b]`, and their
        derivatives by the share of the given label `[b]`.
        """
        share = self.config.grad_eps_init

        def pieces(
            logits: tf.Tensor, strong_logits: tf.Tensor | None = None
        ) -> Passes:
            own = guess
            if strong_logits is not None:
                own = self.guess(logits, strong_logits)
            target = share * given + (1 - share) * own
            loss = losses.soft_cross_entropy(target, logits)
            return loss, losses.soft_cross_entropy(given - own, logits)

        return pieces

    def _leaking(self, tensors: Passes) -> list[tf.Tensor]:
        """Returns what belongs to the passes that the meta step sees."""
        return list(tensors if self.config.pseudo_label_grad else tensors[:1])

    def look_ahead(
        self,
        tape: tf.GradientTape,
        given: tf.Tensor,
        guess: tf.Tensor,
        logits: Passes,
    ) -> list[tf.Tensor]:
        """Returns where a step with equal weights leads."""
        seen = self._leaking(logits)
        with tf.GradientTape() as loss_tape:
            loss_tape.watch(seen)
            loss, _ = self._relabelling(given, guess)(*seen)
            loss = tf.reduce_mean(loss)
        gradients = tape.gradient(
            seen,
            self.moved,
            output_gradients=loss_tape.gradient(loss, seen),
        )
        return meta.look_ahead(
            self.moved,
            self.config.meta_stepsize,
            self.training_l2(),
            meta.across_replicas(gradients, self.config.weight_scope),
            self.momenta(self.config.meta_momentum),
        )

    def loss_terms(
        self,
        batch: Batch,
        targets: Targets,
        logits: tf.Tensor,
        strong_logits: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns the five terms of the loss."""
        keeps = targets.keeps[:, tf.newaxis]
        share = self.config.grad_eps_init
        relabelled = keeps * targets.given + (1 - keeps) * targets.guess
        initial = share * targets.given + (1 - share) * targets.guess
        uniform = losses.soft_cross_entropy(relabelled, logits)
        weighted = targets.weights * losses.soft_cross_entropy(initial, logits)
        labelled, unlabelled = self.mixed_losses(batch, targets)
        return {
            'loss_uniform': tf.reduce_mean(uniform) / 2,
            'loss_weighted': tf.reduce_sum(weighted) / 2,
            'loss_labelled': labelled,
            'loss_unlabelled': self.config.ce_factor * unlabelled,
            'loss_consistency': self.config.consistency_factor
            * tf.reduce_mean(losses.divergence(logits, strong_logits)),
        }

    def mixed_losses(self, batch: Batch, targets: Targets) -> Passes:
        """Returns the losses of mixed probe and of mixed training rows.

        Probe, weak and strong images are mixed with each other.
        """
        part, probe = batch['train'], batch['probe']
        weak, strong = part['images']
        drawn = self.drawn_probe(batch)
        rows = tf.concat(
            [tf.gather(probe['images'][0], drawn), weak, strong], axis=0
        )
        clean = tf.one_hot(
            tf.gather(probe['label'], drawn),
            self.info.num_classes,
            dtype=targets.guess.dtype,
        )
        labels = tf.concat([clean, targets.guess, targets.guess], axis=0)
        rows, labels = self.mixed(batch, rows, labels)
        # The largest pass of the step starts when the meta step is done.
        rows = meta.after([targets.weights], rows)
        logits = tf.concat(
            [
                losses.rms_normalised(block)
                for block in tf.split(meta.forward(self.nets[0], rows), 3)
            ],
            axis=0,
        )
        loss = losses.soft_cross_entropy(labels, logits)
        first, rest = tf.split(loss, [tf.size(drawn), 2 * tf.size(drawn)])
        return tf.reduce_mean(first), tf.reduce_mean(rest)

    def drawn_probe(self, batch: Batch) -> tf.Tensor:
        """Returns which probe rows are mixed, with replacement, int32 `[b]`."""
        numbers = random_ops.uniform(
            tf.shape(batch['train']['label']), self.random_seed(batch, 0)
        )
        count = tf.cast(tf.shape(batch['probe']['label'])[0], numbers.dtype)
        return tf.cast(numbers * count, tf.int32)

    # Reports.

    def notes(self) -> dict[str, np.ndarray]:
        """Adds which labels are kept, and the pseudo-labels."""
        seen, means = self.means()
        pseudo_label = means[:, 2:].argmax(axis=1)
        return super().notes() | {
            'kept': means[:, 1] > 0.5,
            'pseudo_label': np.where(seen, pseudo_label, self.info.labels),
        }
