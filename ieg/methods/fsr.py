"""FSR: reweighting by examples that look clean, without clean data.

Zhang, Pfister: "Learning Fast Sample Re-weighting Without Reward Data", ICCV
2021, as the authors' code runs it. The proxy that stands in for clean images
is a pool of training examples with low scores; only the last layer looks ahead.
One difference: proxy images are augmented again each time they are shown.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.errors import UsageError
from ieg.methods import reweighting
from ieg.methods.base import Batch, Examples, Info, Logs, Phase, Score, Stream
from ieg.methods.reweighting import EXACT, WEB_COMMON, recipe
from ieg.ops import losses, meta
from ieg.registry import METHODS, option
from ieg.utils.randomness import generator

WEB: dict[str, dict[str, Any]] = {
    'webvisionmini': WEB_COMMON
    | dict(
        batch_size=16,
        weight_decay=1e-4,
        cos_t_mul=2.0,
        warmup_epochs=3,
        max_iteration=123_300,
        queue_capacity=5_000,
        use_pseudo_loss='all_1_0.1_1',
        meta_start_epoch=20,
    ),
}


# FSR on the small sets. Digits: 20 of about 130 images per class in the pool.
_PROXY = {
    'digits': dict(queue_capacity=200, queue_bs=50, meta_start_epoch=5),
    'mnist': dict(queue_capacity=500, queue_bs=50, meta_start_epoch=3),
    'fashion_mnist': dict(queue_capacity=500, queue_bs=50, meta_start_epoch=3),
    'fake': dict(queue_capacity=80, queue_bs=20, meta_start_epoch=1),
}


class Pseudo(NamedTuple):
    """The parts of `--use_pseudo_loss`."""

    temperature: float
    share: float
    weight: float


@dataclasses.dataclass(frozen=True)
class FSRConfig(reweighting.ReweightingConfig):
    """Options of FSR."""

    meta_momentum: float = option(
        0.9, 'Share of the momentum in the look-ahead step.', minimum=0
    )
    use_mixup: bool = option(True, 'Mix the images of a batch.')
    queue_capacity: int = option(
        2000, 'Training examples in the proxy pool, balanced over classes.'
    )
    queue_bs: int = option(200, 'Proxy images per step, over all replicas.')
    queue_beta: float = option(
        0.9,
        'Share of its old score that an example keeps per visit; 1 or more '
        'adds up the scores.',
        minimum=0,
    )
    meta_start_epoch: int = option(
        20,
        'Epochs with equal weights, in which scores are collected.',
        minimum=0,
    )
    use_pseudo_loss: str = option(
        'all_1_0.1_2',
        'Loss towards the logits of earlier visits. '
        'all_TEMPERATURE_SHARE_WEIGHT, where SHARE is the share of the old '
        'logits that a visit keeps. Empty = off.',
    )
    clip_meta_weight: bool = option(
        True,
        'Set the weight of examples that disagree with the proxy to 0. '
        'Without it all weights are positive, as for long-tailed data.',
    )
    moving_weight_gamma: float = option(
        0.0,
        'Decay of the moving average weight of a class, which is used in '
        'place of the weights of examples; 0 = off.',
        minimum=0,
        maximum=1,
    )
    meta_moving_end_epoch: int = option(
        0,
        'Epoch from which the weights of classes are constant; 0 = never.',
        minimum=0,
    )
    label_smoothing: float = option(
        0.0,
        'Share of the target spread over all classes; with --use_mixup, only '
        'for proxy images.',
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        """Checks what the flag types cannot.

        Raises:
            UsageError: use_pseudo_loss is not of its form.
        """
        super().__post_init__()
        self.pseudo()

    def pseudo(self) -> Pseudo | None:
        """Returns the parts of use_pseudo_loss, None where it is off."""
        if not self.use_pseudo_loss:
            return None
        kind, *parts = self.use_pseudo_loss.split('_')
        try:
            pseudo = Pseudo(*map(float, parts))
            fine = kind == 'all' and all(map(math.isfinite, pseudo))
            fine &= pseudo.temperature > 0 and 0 <= pseudo.share <= 1
            fine &= pseudo.weight >= 0
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise UsageError(
                f'--use_pseudo_loss={self.use_pseudo_loss} is not of the form '
                'all_TEMPERATURE_SHARE_WEIGHT; give for example all_1_0.1_2, '
                'or nothing for no such loss.'
            )
        return pseudo


def check_sizes(config: FSRConfig, info: Info, replicas: int) -> None:
    """Checks the options that depend on the data and the run.

    Raises:
        UsageError: pool or proxy batch cannot be shared out, or no epoch is
            left for weights.
    """
    for flag, size, unit, parts in (
        ('queue_capacity', config.queue_capacity, info.num_classes, 'classes'),
        ('queue_bs', config.queue_bs, info.num_classes, 'classes'),
        ('queue_bs', config.queue_bs, replicas, 'replicas'),
    ):
        if size < 1 or size % unit:
            nearest = math.lcm(info.num_classes, replicas)
            nearest *= max(1, round(size / nearest))
            raise UsageError(
                f'--{flag} must be a multiple of the {unit} {parts}, such as '
                f'{nearest}; got {size}.'
            )
    if config.queue_bs > config.queue_capacity:
        raise UsageError(
            f'--queue_bs={config.queue_bs} is more than the '
            f'--queue_capacity={config.queue_capacity} of the pool; choose a '
            'smaller batch or a larger pool.'
        )
    if config.meta_start_epoch >= info.epochs:
        raise UsageError(
            f'--meta_start_epoch={config.meta_start_epoch} leaves none of the '
            f'{info.epochs} epochs for weights; train longer or start earlier.'
        )
    if 0 < config.meta_moving_end_epoch <= config.meta_start_epoch:
        raise UsageError(
            f'--meta_moving_end_epoch={config.meta_moving_end_epoch} ends the '
            'course of the class weights before it starts in epoch '
            f'{config.meta_start_epoch}; give a later one, or 0 for no end.'
        )
    if info.num_probe:
        raise UsageError(
            'fsr uses no clean probe images; set --probe_dataset_hold_ratio=0.'
        )


class Ahead(NamedTuple):
    """The pass at the look-ahead point.

    Attributes:
        direction: gradient of the proxy loss by the last layer.
        loss: mean cross-entropy of the proxy and penalty, a scalar.
        proxy_logits: `[p, C]`.
        logits: of the training images, not mixed `[b, C]`.
    """

    direction: list[tf.Tensor]
    loss: tf.Tensor
    proxy_logits: tf.Tensor
    logits: tf.Tensor


@METHODS.register('fsr')
class FSR(reweighting.Reweighting):
    """Fast sample reweighting.

    State beyond the networks: `scores` `[N]`, low where a look-ahead step by
    the proxy lowers the loss; with the pseudo loss `table` `[N, C]`, logits of
    earlier visits; the proxy pool, ids `[Q]` class by class; and with moving
    weights `class_weights` `[C]`.
    """

    Config = FSRConfig
    config: FSRConfig
    ignores_probe = True

    def __init__(self, *args: Any):
        super().__init__(*args)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        check_sizes(self.config, self.info, replicas)
        self.observed = meta.with_features(self.nets[0])
        self.pseudo = self.config.pseudo()
        self.scores = self.example_variable('scores')
        shape = (self.info.num_classes,)
        if self.pseudo:
            self.table = self.example_variable('table', shape)
        if self.config.moving_weight_gamma:
            self.class_weights = self.state_variable(
                'class_weights', shape, 1.0
            )
        pool = np.zeros(self.config.queue_capacity, np.int64)
        self.host_state['pool'] = pool

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the published recipe, or a tuned one for small data."""
        if dataset.base in WEB:
            return EXACT | WEB[dataset.base]
        values = recipe(dataset, network)
        if 'max_iteration' in values:
            values.update(cos_t_mul=2.0, max_iteration=63_500)
        return values | _PROXY.get(dataset.base, {})

    # The epoch.

    def streams(self) -> dict[str, Stream]:
        """Training images, and proxy images class by class in turn."""
        return {
            'train': Stream(self.info.batch_size),
            'proxy': Stream(self.config.queue_bs, shuffle=False),
        }

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase]:
        """Chooses the proxy pool, then draws all examples once."""
        (phase,) = super().begin_epoch(epoch, score)
        self.host_state['pool'] = self._choose(epoch)
        self.report(proxy_pool=len(np.unique(self.host_state['pool'])))
        proxy = proxy_batches(
            self.host_state['pool'].reshape(self.info.num_classes, -1),
            self.config.queue_bs,
            phase.num_steps,
            generator(self.info.seed, 'proxy', epoch),
        )
        active = epoch >= self.config.meta_start_epoch
        end = self.config.meta_moving_end_epoch or self.info.epochs
        steps = {'active': active, 'moving': active and epoch < end}
        return [
            dataclasses.replace(
                phase,
                examples={**phase.examples, 'proxy': proxy},
                per_step={
                    n: np.full(phase.num_steps, v) for n, v in steps.items()
                },
            )
        ]

    def _choose(self, epoch: int) -> np.ndarray:
        """Returns the pool of an epoch: random ones, then low scores."""
        labels, classes = self.info.labels, self.info.num_classes
        each = self.config.queue_capacity // classes
        if epoch:
            order = np.argsort(self.scores.numpy(), kind='stable')
            return choose_pool(labels, order, classes, each)
        counts = np.bincount(labels, minlength=classes)
        short = int(np.sum((0 < counts) & (counts < each)))
        if short:
            self.remark(
                f'{short} of the {classes} classes have fewer than {each} '
                'examples, which are repeated in the proxy pool'
            )
        if not counts.all():
            self.remark(
                f'{np.sum(counts == 0)} of the {classes} classes have no '
                'example; others take their places in the proxy pool'
            )
        order = generator(self.info.seed, 'pool').permutation(len(labels))
        return choose_pool(labels, order, classes, each)

    # The step.

    def train_step(self, batch: Batch) -> Logs:
        """One step; algorithm 1 of the paper."""
        part = batch['train']
        images, targets = self.inputs(batch)
        with tf.GradientTape(persistent=True) as tape:
            # The only pass that moves the BatchNorm statistics.
            features, logits = self.observed(images, training=True)
            loss = losses.soft_cross_entropy(targets, logits)
        ahead = self.proxy_pass(batch, self.look_ahead(tape, targets, logits))
        weights = self.example_weights(batch, ahead, targets, logits, features)
        with tape:
            parts = {'loss_weighted': tf.reduce_sum(weights * loss)}
            if self.pseudo:
                parts['loss_pseudo'] = self.pseudo_loss(
                    batch, self.pseudo, logits
                )
            total = losses.total(list(parts.values()))
        logs = self.update(tape, total) | parts | {'loss_proxy': ahead.loss}
        logs |= self.record(part['index'], weights)
        logs |= self.remember(part, loss, logits, ahead)
        # Of the images as they are, not of mixed ones.
        return logs | self.observe(part, ahead.logits)

    def inputs(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns images and targets `[b, C]`, mixed or smoothed."""
        (images,), label = batch['train']['images'], batch['train']['label']
        classes = self.info.num_classes
        targets = tf.one_hot(label, classes, dtype=images.dtype)
        if not self.config.use_mixup:
            smoothing = self.config.label_smoothing
            return images, (1 - smoothing) * targets + smoothing / classes
        return self.mixed(batch, images, targets)

    def look_ahead(
        self, tape: tf.GradientTape, targets: tf.Tensor, logits: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns where a step of the last layer with equal weights leads."""
        gap = tf.nn.softmax(logits) - targets
        gap /= tf.cast(tf.shape(gap)[0], gap.dtype)
        gradients = tape.gradient(logits, self.moved, output_gradients=gap)
        return meta.look_ahead(
            self.moved,
            self.config.meta_stepsize,
            self.training_l2(),
            meta.across_replicas(gradients, self.config.weight_scope),
            self.momenta(self.config.meta_momentum),
        )

    def proxy_pass(self, batch: Batch, point: Sequence[tf.Tensor]) -> Ahead:
        """Passes proxy and training images together, ahead of the step.

        They share the statistics of BatchNorm. The tape sees the last layer
        only, so the pass keeps no activations.
        """
        proxy, point = batch['proxy'], list(point)
        count = tf.size(proxy['label'])
        rows = tf.concat(
            [proxy['images'][0], batch['train']['images'][0]], axis=0
        )
        rows = meta.after(point, rows)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            logits = meta.forward(self.nets[0], rows, self.moved, point)
            loss = losses.cross_entropy(
                proxy['label'], logits[:count], self.config.label_smoothing
            )
            loss = tf.reduce_mean(loss) + meta.penalty(point, self.probe_l2())
        direction = meta.across_replicas(
            tape.gradient(loss, point), self.config.weight_scope
        )
        return Ahead(direction, loss, logits[:count], logits[count:])

    def example_weights(
        self,
        batch: Batch,
        ahead: Ahead,
        targets: tf.Tensor,
        logits: tf.Tensor,
        features: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the weights `[b]`, equal ones before the start epoch."""
        (alignment,) = meta.alignments(
            'last_layer',
            self.nets[0],
            self.moved,
            ahead.direction,
            lambda z: [losses.soft_cross_entropy(targets, z)],
            images=(),
            tape=None,
            logits=[logits],
            features=[features],
        )
        normalise = meta.normalised if self.config.clip_meta_weight else shifted
        weights = normalise(
            self.config.meta_stepsize * alignment, self.config.weight_scope
        )
        if self.config.moving_weight_gamma:
            weights = self.moving_weights(batch, weights)
        equal = tf.ones_like(weights) / tf.cast(tf.size(weights), weights.dtype)
        return tf.where(batch['step']['active'] > 0, weights, equal)

    def moving_weights(self, batch: Batch, weights: tf.Tensor) -> tf.Tensor:
        """Moves the mean weights of the classes; returns each example's.

        They are relative to 1 / b. Classes that no replica shows stay.
        """
        label = batch['train']['label']
        size = tf.cast(tf.size(label), tf.float32)
        member = tf.one_hot(label, self.info.num_classes)
        relative = tf.cast(weights, tf.float32) * size
        sums, counts = meta.across_replicas(
            [
                tf.linalg.matvec(member, relative, True),
                tf.reduce_sum(member, 0),
            ],
            'global',
        )
        gamma = self.config.moving_weight_gamma
        old = tf.convert_to_tensor(self.class_weights.value)
        new = gamma * old + (1 - gamma) * tf.math.divide_no_nan(sums, counts)
        moves = (counts > 0) & (batch['step']['moving'] > 0)
        moves &= tf.math.is_finite(new)
        new = tf.where(moves, new, old)
        self.class_weights.assign(new)
        return tf.cast(tf.gather(new, label) / size, weights.dtype)

    def pseudo_loss(
        self, batch: Batch, pseudo: Pseudo, logits: tf.Tensor
    ) -> tf.Tensor:
        """Returns the loss towards earlier visits, 0 before the start epoch."""
        earlier = self.earlier_logits(batch['train']['index'], logits.dtype)
        targets = tf.nn.softmax(earlier / pseudo.temperature)
        loss = tf.reduce_mean(losses.soft_cross_entropy(targets, logits))
        active = tf.cast(batch['step']['active'], logits.dtype)
        return active * pseudo.weight * loss

    def earlier_logits(self, index: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Returns the normalized logits of earlier visits `[b, C]`."""
        rows = tf.gather(self.table.value, index)
        return losses.rms_normalised(tf.cast(rows, dtype))

    def remember(
        self, part: Examples, loss: tf.Tensor, logits: tf.Tensor, ahead: Ahead
    ) -> Logs:
        """Updates scores and logits of a batch; returns the mean margin."""
        margin = loss - losses.cross_entropy(part['label'], ahead.logits)
        beta = self.config.queue_beta
        keep, add = (1.0, 1.0) if beta >= 1 else (beta, 1 - beta)
        self._move(self.scores, part['index'], keep, -add * margin)
        if self.pseudo:
            earlier = self.earlier_logits(part['index'], logits.dtype)
            share = self.pseudo.share
            self._move(
                self.table,
                part['index'],
                0.0,
                share * earlier + (1 - share) * logits,
            )
        return {'margin': tf.reduce_mean(margin)}

    def _move(
        self,
        variable: keras.Variable,
        index: tf.Tensor,
        keep: float,
        change: tf.Tensor,
    ) -> None:
        """Sets rows to keep * row + change, where that is finite."""
        old = tf.gather(variable.value, index)
        new = keep * old + tf.cast(change, old.dtype)
        # One bad batch must not spoil what is remembered.
        new = tf.where(tf.math.is_finite(new), new, old)
        self.update_examples(variable, index, old, new)

    # Reports.

    def notes(self) -> dict[str, np.ndarray]:
        """Adds the predictions at earlier visits."""
        if not self.pseudo:
            return super().notes()
        pseudo_label = self.table.numpy().argmax(axis=1)
        return super().notes() | {'pseudo_label': pseudo_label}


def choose_pool(
    labels: np.ndarray, order: np.ndarray, num_classes: int, each: int
) -> np.ndarray:
    """Returns the first `each` ids of every class, class by class.

    A class that is too small repeats its own. The places of a class without
    any example show the first ones of the other classes in turn.

    Args:
        labels: `[N]`.
        order: all ids, the best first `[N]`.
        num_classes: C.
        each: ids per class.

    Returns:
        int64 `[C * each]`.
    """
    members = [order[labels[order] == c] for c in range(num_classes)]
    rows = np.stack([np.resize(ids, each) for ids in members if len(ids)])
    empty = [not len(ids) for ids in members]
    pool = np.empty((num_classes, each), np.int64)
    pool[np.logical_not(empty)] = rows
    pool[empty] = np.resize(rows.T.ravel(), (sum(empty), each))
    return pool.ravel()


def proxy_batches(
    pool: np.ndarray, size: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns random proxy batches, class by class in turn.

    So every batch is balanced, and so is every replica's part of it. The
    examples of a class are shown equally often.

    Args:
        pool: ids `[C, each]`.
        size: of a batch, a multiple of C.
        steps: number of batches.
        rng: random numbers.

    Returns:
        int64 `[steps * size]`.
    """
    classes, each = pool.shape
    count = steps * size // classes
    rounds = np.repeat(pool[:, np.newaxis], -(-count // each), axis=1)
    drawn = rng.permuted(rounds, axis=2).reshape(classes, -1)
    return drawn[:, :count].T.ravel()


def shifted(scores: tf.Tensor, scope: str) -> tf.Tensor:
    """Returns weights `[b]` of which none is 0, from their scores.

    w_i = R a_i / (sum_k a_k + 1e-5) with a_i = s_i - min_k s_k + 1 / (R b) over
    the examples of all R replicas.

    Args:
        scores: rate times the alignments `[b]`; larger is better.
        scope: 'global', or 'replica': as if each were alone.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if scope == 'global' else 1
    least = tf.reduce_min(scores)
    if replicas > 1:
        # Replicas can only sum: each puts its own into its place.
        place = tf.one_hot(
            context.replica_id_in_sync_group, replicas, dtype=scores.dtype
        )
        (each,) = meta.across_replicas([place * least * replicas], scope)
        least = tf.reduce_min(each)
    count = tf.cast(tf.size(scores) * replicas, scores.dtype)
    shares = scores - least + 1 / count
    (total,) = meta.across_replicas([tf.reduce_sum(shares)], scope)
    return shares / (total + meta.SMALLEST_SUM / replicas)
