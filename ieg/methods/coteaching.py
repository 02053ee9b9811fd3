"""Small-loss selection by two networks: Co-teaching, Co-teaching+, JoCoR.

Han et al., NeurIPS 2018; Yu et al., ICML 2019; Wei et al., CVPR 2020. Wrong
labels are learned late, so examples of small loss are probably right; each
network chooses those from which the other one learns.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.methods import keep_schedules, recipes
from ieg.methods.base import (
    Batch,
    Logs,
    Method,
    Phase,
    Score,
    Selection,
    Stream,
    check_auto,
)
from ieg.ops import losses, optim
from ieg.ops.metrics import estimate_noise_rate
from ieg.registry import METHODS, option


@dataclasses.dataclass(frozen=True)
class CoTeachingConfig:
    """Options of Co-teaching, Co-teaching+ and JoCoR."""

    selection: str = option(
        'coteaching',
        'Examples that a network learns from. coteaching = those with a small '
        'loss in the other network; coteaching_plus = the same, among those '
        'on which the networks disagree; jocor = those with a small joint '
        'loss.',
        choices=('coteaching', 'coteaching_plus', 'jocor'),
    )
    selection_scope: str = option(
        'global',
        'Compare losses over all replicas (global), or within each replica.',
        choices=('global', 'replica'),
    )
    noise_rate: str = option(
        'auto',
        'Share of wrong labels; auto = estimated after the first epochs.',
    )
    tau_multiplier: float = option(
        1.0,
        'Share of each batch to drop, as a multiple of the noise rate; try '
        '1.25.',
        minimum=0,
    )
    keep_schedule: str = option(
        'reference_code',
        'Schedule of the keep rate: paper_main, paper_ablation, '
        's2e_restatement, reference_code, s2e:NUMBERS, or one of a plugin.',
    )
    num_gradual: int = option(
        10, 'Epochs in which the keep rate decreases.', minimum=1
    )
    exponent: float = option(
        1.0, 'Exponent of the decrease of the keep rate.', minimum=1e-3
    )
    beta1_epoch: int = option(
        0,
        "Epoch from which Adam's beta1 is --beta1_late; 0 = after 40 % of the "
        'run, where --lr_schedule=linear starts to decrease.',
        minimum=0,
    )
    beta1_late: float = option(
        0.1, "Adam's beta1 late in the run.", minimum=0, maximum=0.9999
    )
    init_epoch: int = option(
        0,
        'Epochs of coteaching before coteaching_plus uses disagreement.',
        minimum=0,
    )
    jocor_lambda: float = option(
        0.9,
        'Weight of the divergence between the networks in the loss of jocor.',
        minimum=0,
        maximum=1,
    )
    train_view: str = option(
        'plain',
        'Augmentation of training images. plain = none, as in the published '
        'runs; weak = random crops and flips.',
        choices=('plain', 'weak'),
    )
    reference_loss: bool = option(
        False,
        'Divide the loss of coteaching twice by the number of kept examples, '
        'as the reference code does.',
    )

    def __post_init__(self) -> None:
        """Checks what the flag types cannot.

        Raises:
            UsageError: the noise rate is neither a rate nor auto.
        """
        limits = 'a share from 0 to below 1'
        check_auto('noise_rate', self.noise_rate, 1, limits)


# The settings of Co-teaching's code, for all of its data sets.
_PUBLISHED = dict(
    batch_size=128,
    optimizer='adam',
    learning_rate=1e-3,
    weight_decay=0.0,
    lr_schedule='linear',
    max_epoch=200,
    scaling='unit',
)
TRAINING: dict[str, dict[str, Any]] = {
    'mnist': _PUBLISHED,
    'fashion_mnist': _PUBLISHED,
    'cifar10': _PUBLISHED,
    # Both start to fall half way there.
    'cifar100': _PUBLISHED | dict(decay_epochs='100', beta1_epoch=100),
    'digits': _PUBLISHED | dict(batch_size=64, max_epoch=30),
    'fake': _PUBLISHED | dict(num_gradual=2),
}
NETWORKS = {
    name: 'cnn9' for name in ('mnist', 'fashion_mnist', 'cifar10', 'cifar100')
}
# For Co-teaching+ and JoCoR: the settings of their codes, but JoCoR's on MNIST,
# where 0.9 and more fail (docs/results.md).
SELECTION: dict[str, dict[str, Any]] = {
    'mnist': dict(jocor_lambda=0.4),
    'fashion_mnist': dict(jocor_lambda=0.4),
    'cifar10': dict(init_epoch=20),
    'cifar100': dict(init_epoch=5, jocor_lambda=0.85),
}


# The two networks of the method.
PAIR = 2
# Before how many epochs the noise rate is estimated again: early enough that
# no wrong label is memorized.
ESTIMATES = 3
# A larger share is never dropped by an estimate.
MOST_ESTIMATED = 0.9


@METHODS.register('coteaching')
class CoTeaching(Method):
    """Two networks that choose examples for each other.

    State beyond the networks: `tally` `[N, 4]`, whether each network chose an
    example when it was last seen, and its loss there; `keep_counts`
    `[B + 1]`, how many of so many candidates are kept in this epoch; the
    estimate of the noise rate.
    """

    Config = CoTeachingConfig
    config: CoTeachingConfig
    num_networks = PAIR
    usual_networks = NETWORKS
    host_options = frozenset(
        {
            'noise_rate',
            'tau_multiplier',
            'keep_schedule',
            'num_gradual',
            'exponent',
            'beta1_epoch',
            'beta1_late',
        }
    )

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.tally = self.example_variable('tally', (2 * PAIR,))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._alone = self.config.selection_scope == 'replica'
        self._candidates = self.info.batch_size
        if self._alone:
            self._candidates //= replicas
        # A variable, so that one trace serves all epochs.
        self.keep_counts = self.state_variable(
            'keep_counts', (self._candidates + 1,)
        )
        self.reconfigure(self.config)

    def reconfigure(self, config: CoTeachingConfig) -> None:
        """Takes the options of another trial.

        Raises:
            UsageError: their keep schedule is impossible.
        """
        super().reconfigure(config)
        rate = np.nan if config.noise_rate == 'auto' else config.noise_rate
        self.host_state['noise_rate'] = np.array(float(rate))
        self.schedule().counts(self.info.epochs, self._candidates)

    @classmethod
    def depends_on_length(cls, config: CoTeachingConfig) -> bool:
        """Returns whether an epoch is another one in a longer run."""
        built_in = ('paper_', 's2e_restatement', 'reference_code')
        fixed = config.keep_schedule.startswith(built_in)
        return not fixed or not config.beta1_epoch

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the published settings."""
        usual = recipes.TRAINING.get(dataset.base, {})
        values = dict(TRAINING.get(dataset.base, usual))
        values |= SELECTION.get(dataset.base, {})
        if dataset.base == 'cifar10' and (dataset.rate or 0) >= 0.8:
            values['jocor_lambda'] = 0.65
        rate = dataset.expected_noise_rate
        if rate is not None:
            # The papers take it as known.
            values['noise_rate'] = f'{rate:.6g}'
        return values

    def streams(self) -> dict[str, Stream]:
        """One view of the noisy examples."""
        view = self.config.train_view
        return {'train': Stream(self.info.batch_size, (view,))}

    # Epochs.

    def schedule(self) -> keep_schedules.KeepSchedule:
        """Returns the keep schedule; everything is kept while tau is unknown.

        Raises:
            UsageError: tau, or something else of it, is impossible.
        """
        config = self.config
        tau = float(np.nan_to_num(self.host_state['noise_rate']))
        tau *= config.tau_multiplier
        if config.noise_rate == 'auto':
            # An estimate must not end the run.
            tau = min(tau, MOST_ESTIMATED)
        return keep_schedules.parse(
            config.keep_schedule, tau, config.num_gradual, config.exponent
        )

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase]:
        """Sets the keep rate and Adam's beta1; draws all examples."""
        if self.config.noise_rate == 'auto' and 1 <= epoch <= ESTIMATES:
            self._estimate(score)
        schedule = self.schedule()
        schedule.counts(self.info.epochs, self._candidates)
        rate = schedule.rates(self.info.epochs)[epoch]
        counts = np.floor(rate * np.arange(self._candidates + 1))
        # One candidate is always kept.
        counts[1:] = np.maximum(counts[1:], 1)
        self.keep_counts.assign(counts)
        self.report(keep_rate=float(rate))
        late = self.config.beta1_epoch or optim.LINEAR_START * self.info.epochs
        for optimizer in self.optimizers:
            if epoch >= late and isinstance(optimizer, optim.Adam):
                optimizer.beta_1.assign(self.config.beta1_late)
        phase = self.whole_epoch()
        plus = self.config.selection == 'coteaching_plus'
        disagree = plus and epoch >= self.config.init_epoch
        return [
            Phase('pair_step', phase.examples, phase.num_steps, (disagree,))
        ]

    def _estimate(self, score: Score) -> None:
        """Estimates the noise rate from what was learned so far."""
        logits = score('logits_step')['logits']
        rate = estimate_noise_rate(logits.sum(axis=1), self.info.labels)
        self.host_state['noise_rate'] = np.array(rate)
        self.report(noise_rate_estimate=rate)
        self.remark(f'the noise rate is estimated to be {rate:.3f}')

    # Steps.

    def pair_step(self, disagree: bool, batch: Batch) -> Logs:
        """Trains both networks on what is chosen for them.

        Args:
            disagree: choose among the examples that the networks disagree
                about.
            batch: the whole of it goes through both networks, so that
                BatchNorm sees it whatever is chosen.
        """
        part = batch['train']
        (images,), label = part['images'], part['label']
        with tf.GradientTape(persistent=True) as tape:
            logits = [net(images, training=True) for net in self.nets]
            each = self.example_losses(label, logits)
            chosen, count = self.choose(
                tf.stop_gradient(each), logits, disagree
            )
            # Each learns from what the other one has chosen.
            kept = tf.where(chosen[:, ::-1], each, tf.zeros_like(each))
            means = tf.unstack(tf.reduce_sum(kept, axis=0) / count)
        old = tf.gather(self.tally.value, part['index'])
        new = tf.concat(
            [tf.cast(chosen, old.dtype), tf.cast(each, old.dtype)], axis=1
        )
        self.update_examples(self.tally, part['index'], old, new)
        each_logs = [
            self.minimize(tape, means[net], net) for net in range(PAIR)
        ]
        loss = (each_logs[0]['loss'] + each_logs[1]['loss']) / 2
        logs = each_logs[0] | each_logs[1] | {'loss': loss}
        first, second = (tf.argmax(rows, axis=-1) for rows in logits)
        agree = tf.cast(first == second, tf.float32)
        logs['agreement'] = tf.reduce_mean(agree)
        return logs | self.observe(part, tf.add_n(logits) / PAIR)

    def example_losses(
        self, label: tf.Tensor, logits: list[tf.Tensor]
    ) -> tf.Tensor:
        """Returns the loss of each example for each network `[b, 2]`."""
        entropy = tf.stack(
            [losses.cross_entropy(label, rows) for rows in logits], axis=1
        )
        if self.config.selection != 'jocor':
            return entropy
        share = self.config.jocor_lambda
        joint = (1 - share) * tf.reduce_sum(entropy, axis=1)
        joint += share * losses.symmetric_divergence(*logits)
        return tf.stack([joint, joint], axis=1)

    def choose(
        self, each: tf.Tensor, logits: list[tf.Tensor], disagree: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Chooses the examples of small loss.

        Args:
            each: losses `[b, 2]`.
            logits: of both networks `[b, C]`.
            disagree: leave out the examples that both put into the same
                class, unless they do so with the whole batch.

        Returns:
            chosen: bool `[b, 2]`, by each network.
            count: what a replica divides the sum of the chosen losses by, so
                that the mean over replicas is the mean over the chosen.
        """
        candidates = tf.ones_like(each[:, 0], tf.bool)
        if disagree:
            first, second = (tf.argmax(rows, axis=-1) for rows in logits)
            candidates = first != second
        number = self._total(tf.cast(candidates, tf.float32))
        if disagree:
            none = number < 1
            candidates = tf.logical_or(candidates, none)
            number = tf.where(none, float(self._candidates), number)
        count = tf.gather(self.keep_counts.value, tf.cast(number, tf.int32))
        infinite = tf.fill(tf.shape(each), tf.cast(np.inf, each.dtype))
        each = tf.where(candidates[:, tf.newaxis], each, infinite)
        ranks = losses.ranks(each, self.config.selection_scope)
        chosen = ranks < tf.cast(count, tf.int32)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        share = tf.cast(count, each.dtype) / (1 if self._alone else replicas)
        if self.config.reference_loss and self.config.selection != 'jocor':
            share *= tf.cast(count, each.dtype)
        return chosen, share

    def _total(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the sum of `[b]` over what is chosen from."""
        total = tf.reduce_sum(values)
        if self._alone:
            return total
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, total)

    # Reports.

    def selection(self) -> Selection:
        """What each network chose when it last saw an example."""
        tally = self.tally.numpy()
        return Selection(-tally[:, PAIR:].mean(axis=1), tally[:, :PAIR] > 0.5)
