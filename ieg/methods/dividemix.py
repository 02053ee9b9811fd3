"""DivideMix: two networks divide the data for each other and mix it.

Li, Socher, Hoi: "DivideMix: Learning with Noisy Labels as Semi-supervised
Learning", ICLR 2020; details as the authors' code runs them. Section numbers
in comments are the paper's.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.errors import RunError, UsageError
from ieg.methods import recipes
from ieg.methods.base import (
    Batch,
    Examples,
    Logs,
    Method,
    Phase,
    Score,
    Selection,
    Stream,
    balanced_draw,
    check_auto,
    steps_for,
)
from ieg.ops import losses, mixture
from ieg.registry import METHODS, option
from ieg.utils.randomness import generator

# On top of the settings in `recipes`, whose batches DivideMix halves.
WEB: dict[str, dict[str, Any]] = {
    'webvisionmini': dict(
        warm_up=1, alpha=0.5, lambda_u='0', mix_rows='labeled', image_size=299
    ),
    # Each network draws its examples, so no epoch is cut short.
    'clothing1m': dict(
        warm_up=1,
        warm_up_penalty=1.0,
        alpha=0.5,
        lambda_u='0',
        mix_rows='labeled',
        warm_up_examples=64_000,
        epoch_examples=32_000,
        steps_per_epoch=0,
    ),
}
WEB_NETWORKS = {'webvisionmini': 'inception_resnet_v2'}
# For data without a published recipe, whose classes may be unequally hard; see
# "A hard class" in docs/results.md.
WITHOUT_RECIPE: dict[str, Any] = dict(mixture='per_class', alpha=0.5)


@dataclasses.dataclass(frozen=True)
class DivideMixConfig:
    """Options of DivideMix."""

    warm_up: int = option(
        10, 'Epochs on all labels before the first division.', minimum=0
    )
    warm_up_penalty: float = option(
        0.0,
        'Weight of the confidence penalty in warm-up; use 1 for asymmetric '
        'noise.',
        minimum=0,
    )
    lambda_u: str = option(
        'auto',
        'Final weight of the unlabeled loss. The loss is the squared error, '
        'averaged over classes. auto = derived from the noise rate that the '
        'first division estimates.',
    )
    rampup_length: int = option(
        16, 'Epochs in which --lambda_u rises linearly from 0.', minimum=1
    )
    p_threshold: float = option(
        0.5,
        'Clean probability above which an example keeps its label.',
        minimum=0,
        maximum=1,
    )
    mixture: str = option(
        'global',
        'Losses that a mixture is fitted to. global = of all classes together, '
        'as published; per_class = of each given class, so that a hard class '
        'keeps its labels. Small classes share a mixture. Default for your own '
        'data: per_class.',
        choices=('global', 'per_class'),
        introduced='global',
    )
    temperature: float = option(
        0.5, 'Sharpening temperature of guessed labels.', minimum=0.01
    )
    alpha: float = option(
        4.0, 'MixUp draws its mixing weights from Beta(alpha, alpha).'
    )
    loss_average: int = option(
        1,
        'Number of epochs whose losses are averaged before the mixture is '
        'fitted.',
        minimum=1,
    )
    warm_up_examples: int = option(
        0,
        'Class-balanced examples that each network draws per warm-up epoch, '
        'as on Clothing1M; 0 = all.',
        minimum=0,
    )
    epoch_examples: int = option(
        0,
        'Class-balanced examples that each network draws per epoch, divides, '
        'and trains the other network on; 0 = all.',
        minimum=0,
    )
    mix_rows: str = option(
        'all',
        'Mixed examples to train on. labeled = only those mixed from a '
        'labeled example, without the unlabeled loss, as in the Clothing1M '
        'and WebVision scripts.',
        choices=('all', 'labeled'),
    )

    def __post_init__(self) -> None:
        """Checks what the flag types cannot.

        Raises:
            UsageError: lambda_u is neither a number nor auto.
        """
        check_auto('lambda_u', self.lambda_u, 1e9, 'a number of 0 or more')
        if self.epoch_examples and self.loss_average > 1:
            raise UsageError(
                f'--loss_average={self.loss_average} needs losses of every '
                'example in every epoch; leave out --epoch_examples.'
            )
        if self.alpha <= 0:
            raise UsageError(f'--alpha={self.alpha} must be larger than 0.')


# lambda_u for (base, kind, rate), from the authors' and their successors'
# scripts. `uniform` is what the paper calls symmetric.
LAMBDA_U = {
    ('cifar10', 'uniform', 0.2): 0,
    ('cifar10', 'uniform', 0.5): 25,
    ('cifar10', 'uniform', 0.8): 25,
    ('cifar10', 'uniform', 0.9): 50,
    ('cifar10', 'asymmetric', 0.4): 0,
    ('cifar100', 'uniform', 0.2): 25,
    ('cifar100', 'uniform', 0.5): 150,
    ('cifar100', 'uniform', 0.8): 150,
    ('cifar100', 'uniform', 0.9): 150,
}

WARM_UP = {'cifar10': 10, 'cifar100': 30}


def auto_lambda_u(noise_rate: float, num_classes: int) -> float:
    """Returns lambda_u for an estimated share of wrong labels.

    Piecewise linear through the table above: its nominal uniform rates are
    real rates of 0.18, 0.45, 0.72 and 0.81 with ten classes, where the paper
    has one scale up to some tens of classes and a larger one for 100.
    """
    if num_classes < 50:
        return float(
            np.interp(noise_rate, [0.3, 0.45, 0.72, 0.81], [0, 25, 25, 50])
        )
    return float(np.interp(noise_rate, [0, 0.2, 0.5], [0, 25, 150]))


NUM_NETWORKS = 2
# A division whose clean part jumps by more than this share of the data from
# one epoch to the next has collapsed; one with fewer examples than the other
# share is topped up with the lowest losses.
LARGEST_JUMP = 0.3
SMALLEST_PART = 0.02
# Classes that a remark names.
MOST_NAMED = 3
# Names in the host state.
NOISE_RATE, NEGLECTED = 'noise_rate', 'neglected'


@METHODS.register('dividemix')
class DivideMix(Method):
    """Co-divide, co-refinement and co-guessing with two networks.

    State beyond the networks: the peers' clean probabilities `[2, N]` (on the
    device and on the host), the last normalized losses `[<=k, 2, N]`, the noise
    rate that `--lambda_u=auto` uses, and the classes `[C]` that a remark named.
    The last two are not in checkpoints of earlier versions.
    """

    Config = DivideMixConfig
    config: DivideMixConfig
    num_networks = NUM_NETWORKS
    usual_networks = WEB_NETWORKS

    def __init__(self, *args: Any):
        super().__init__(*args)
        warm_up, epochs = self.config.warm_up, self.info.epochs
        if warm_up >= epochs:
            raise UsageError(
                f'--warm_up={warm_up} leaves none of the {epochs} epochs for '
                'dividing the data; train longer or warm up less.'
            )
        count = self.info.num_examples
        self.clean_probability = self.state_variable(
            'clean_probability', (NUM_NETWORKS, count), 1.0
        )
        self.host_state['losses'] = np.zeros((0, NUM_NETWORKS, count))
        self.host_state['probability'] = np.zeros((0, count), np.float32)
        self.host_state['kept_division'] = np.zeros(NUM_NETWORKS, bool)
        self.host_state[NOISE_RATE] = np.array(np.nan)
        self.host_state[NEGLECTED] = np.zeros(self.info.num_classes, bool)

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the published settings, or tuned ones for small data."""
        values = dict(recipes.TRAINING.get(dataset.base, {}))
        if 'batch_size' in values:
            # A warm-up batch is as large as that of other methods; a co-divide
            # step has as many labeled and unlabeled examples together.
            values['batch_size'] //= 2
        values |= WEB.get(dataset.base, {})
        if not dataset.has_recipe:
            values |= WITHOUT_RECIPE
        if dataset.base in WARM_UP:
            values['warm_up'] = WARM_UP[dataset.base]
        if dataset.base in recipes.GREY:
            # Nearly pure mixtures of two images, as alpha = 4 makes, cost more
            # than they bring.
            values.update(alpha=0.5, warm_up=5)
        key = (dataset.base, dataset.noise, dataset.rate)
        if key in LAMBDA_U:
            values['lambda_u'] = str(LAMBDA_U[key])
        if dataset.noise in ('asymmetric', 'pairflip'):
            values['warm_up_penalty'] = 1.0
        if dataset.base in WARM_UP and (dataset.rate or 0) >= 0.9:
            values.update(p_threshold=0.6, loss_average=5)
        return values

    def streams(self) -> dict[str, Stream]:
        """All examples for warm-up; a labeled and an unlabeled part later."""
        size = self.info.batch_size
        return {
            'train': Stream(2 * size),
            'labeled': Stream(size, ('weak', 'weak')),
            'unlabeled': Stream(size, ('weak', 'weak')),
        }

    # The epoch.

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase]:
        """Warm-up, or a division followed by one pass per network.

        Both divisions come before either network is trained; network 1 then
        sees the already updated network 0 (section 3.1 and the authors' code).
        """
        if epoch < self.config.warm_up:
            batch, phases = self.streams()['train'].batch_size, []
            for net in range(NUM_NETWORKS):
                ids = self._drawn(epoch, net)
                steps = steps_for(len(ids), batch)
                phases.append(
                    Phase('warm_up_step', {'train': ids}, steps, (net,))
                )
            return phases
        weight = self._divide(epoch, score)
        return [self._pass(epoch, net, weight) for net in range(NUM_NETWORKS)]

    def _drawn(self, epoch: int, net: int) -> np.ndarray:
        """Returns what a network judges or warms up on in an epoch, sorted."""
        count = self.config.epoch_examples
        if epoch < self.config.warm_up:
            count = self.config.warm_up_examples
        rng = generator(self.info.seed, 'drawn', epoch, net)
        return balanced_draw(
            self.info.labels, count, self.info.num_classes, rng
        )

    def _divide(self, epoch: int, score: Score) -> float:
        """Updates the clean probabilities; returns this epoch's lambda_u."""
        drawn = [self._drawn(epoch, net) for net in range(NUM_NETWORKS)]
        both = np.union1d(*drawn)
        scores = score('example_losses', ids=both)
        hits = scores['logits'].sum(axis=1).argmax(-1) == self.info.labels[both]
        self.report(train_accuracy=float(hits.mean()))
        # What is not drawn has no loss, and is larger than any.
        current = np.full((NUM_NETWORKS, self.info.num_examples), np.inf)
        for net, ids in enumerate(drawn):
            own = scores['loss'][np.searchsorted(both, ids), net]
            current[net, ids] = self._normalised(epoch, net, own)
        history = np.concatenate([self.host_state['losses'], [current]])
        self.host_state['losses'] = history[-self.config.loss_average :]
        means = self.host_state['losses'].mean(axis=0)
        division = []
        for net, ids in enumerate(drawn):
            fitted = self._fitted(epoch, net, means[net, ids], ids)
            division.append(self._guarded(net, fitted, ids))
        # The division in force, which need not be the one just fitted.
        probability = self.host_state['probability'] = np.stack(division)
        self.clean_probability.assign(probability)
        noise_rate = 1 - float(
            np.mean([probability[n, ids].mean() for n, ids in enumerate(drawn)])
        )
        weight = self.lambda_u(self._first_estimate(noise_rate))
        self.report(estimated_noise_rate=noise_rate, lambda_u=weight)
        self._remark_neglected(drawn)
        return weight

    def _normalised(
        self, epoch: int, net: int, example_losses: np.ndarray
    ) -> np.ndarray:
        """Returns losses `[n]` of a network as a mixture takes them, float64.

        Raises:
            RunError: many are not finite.
        """
        try:
            tamed, remarks = mixture.tame(example_losses)
        except ValueError as error:
            raise RunError(
                f'Network {net} has diverged in epoch {epoch}: {error}; lower '
                '--learning_rate.'
            ) from error
        for remark in remarks:
            self.remark(f'network {net}: {remark}')
        return mixture.normalise(tamed.astype(np.float64))

    def _fitted(
        self, epoch: int, net: int, normalised: np.ndarray, drawn: np.ndarray
    ) -> np.ndarray:
        """Returns clean probabilities by the losses of what was drawn `[n]`."""
        seed = self._host_seed(epoch, net)
        if self.config.mixture == 'per_class':
            labels = self.info.labels[drawn]
            return mixture.fit_per_class(normalised, labels, seed)
        fit = mixture.fit(normalised, seed)
        if fit.unimodal:
            self.remark(f'network {net}: the losses show a single group')
        return fit.clean_probability

    def _first_estimate(self, noise_rate: float) -> float:
        """Returns the estimate of the first division, and keeps it.

        Networks that were trained without some right labels disagree with more
        of these, which the next division takes for more noise: read again in
        each epoch, the estimate runs away.
        """
        # The next division's, in a run that an earlier version began.
        if np.isnan(self.host_state.get(NOISE_RATE, np.nan)):
            self.host_state[NOISE_RATE] = np.array(noise_rate)
        return float(self.host_state[NOISE_RATE])

    def _remark_neglected(self, drawn: list[np.ndarray]) -> None:
        """Remarks, once each, on classes that lose most of their labels.

        Args:
            drawn: ids that each network judged.
        """
        classes = self.info.num_classes
        shares = mixture.Shares(*self._kept_labels(drawn))
        low = shares.neglected()
        known = self.host_state.get(NEGLECTED, np.zeros(classes, bool))
        new = [label for label in low if not known[label]]
        if not new:
            return
        self.host_state[NEGLECTED] = known | np.isin(np.arange(classes), new)
        names = self.info.class_names or range(classes)
        texts = [
            f'{str(names[label])!r} ({shares.values[label]:.0%})'
            for label in new[:MOST_NAMED]
        ]
        if len(new) > MOST_NAMED:
            texts.append(f'{len(new) - MOST_NAMED} more classes')
        remedy = 'look at them in label_issues.csv'
        if self.config.mixture == 'global':
            remedy = 'if they are right, use --mixture=per_class'
        self.remark(
            f'the division keeps few labels of {", ".join(texts)}, where other '
            f'classes keep {shares.usual(low):.0%}: {remedy}'
        )

    def _kept_labels(
        self, drawn: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns how many labels of each class are kept, and judged `[C]`.

        Both are means over the networks, which judge much the same examples.
        """
        labels, classes = self.info.labels, self.info.num_classes
        kept, judged = np.zeros((2, classes))
        for net, ids in enumerate(drawn):
            chosen = self._chosen(self.host_state['probability'][net, ids])
            kept += np.bincount(labels[ids[chosen]], minlength=classes)
            judged += np.bincount(labels[ids], minlength=classes)
        return kept / NUM_NETWORKS, judged / NUM_NETWORKS

    def _guarded(
        self, net: int, fitted: np.ndarray, drawn: np.ndarray
    ) -> np.ndarray:
        """Returns clean probabilities `[N]`, the last ones after a collapse.

        Args:
            net: the network that judged.
            fitted: clean probabilities of what it has drawn `[n]`.
            drawn: their ids `[n]`.
        """
        previous = self.host_state['probability']
        known = len(previous)
        # Nothing is known of what was never drawn.
        probability = np.full(self.info.num_examples, 0.5, np.float32)
        if known:
            probability[:] = previous[net]
        probability[drawn] = fitted
        # Examples that were just drawn do not have a last division.
        if not known or len(drawn) < len(probability):
            return probability
        kept = self.host_state['kept_division']
        jump = np.mean(self._chosen(probability)) - np.mean(
            self._chosen(previous[net])
        )
        # Kept once, not for ever: a lasting change is not a collapse.
        kept[net] = abs(jump) > LARGEST_JUMP and not kept[net]
        if kept[net]:
            self.remark(
                f'network {net}: the clean part jumped by {jump:+.0%} of the '
                'data; its last division is used once more'
            )
            return previous[net]
        return probability

    def _chosen(self, probability: np.ndarray) -> np.ndarray:
        return probability > self.config.p_threshold

    def lambda_u(self, noise_rate: float) -> float:
        """Returns the largest weight of the unlabeled loss.

        Args:
            noise_rate: as the division estimates it; used for `auto` only.
        """
        if self.config.lambda_u != 'auto':
            return float(self.config.lambda_u)
        return auto_lambda_u(noise_rate, self.info.num_classes)

    def _pass(self, epoch: int, net: int, weight: float) -> Phase:
        """Returns the training pass of one network over its peer's division."""
        drawn = self._drawn(epoch, 1 - net)
        chosen = self._chosen(self.host_state['probability'][1 - net, drawn])
        smallest = max(2, int(SMALLEST_PART * len(chosen)))
        if chosen.sum() < smallest:
            self.remark(
                f'network {1 - net} calls {chosen.sum()} examples clean; the '
                f'{smallest} with the smallest loss are used'
            )
            # By loss: posteriors are tied at 0 and 1.
            loss = self.host_state['losses'].mean(axis=0)[1 - net, drawn]
            chosen = np.zeros_like(chosen)
            chosen[np.argsort(loss, kind='stable')[:smallest]] = True
        labeled, unlabeled = drawn[chosen], drawn[~chosen]
        steps = steps_for(len(labeled), self.info.batch_size)
        rng = generator(self.info.seed, 'share', epoch, net)
        share = rng.beta(self.config.alpha, self.config.alpha, steps)
        per_step = {'share': np.maximum(share, 1 - share)}
        examples = {'labeled': labeled}
        if len(unlabeled) < 2:
            self.remark(f'network {1 - net} calls every example clean')
            return Phase('labeled_step', examples, steps, (net,), per_step)
        examples['unlabeled'] = unlabeled
        # The reference counts one step more where the batch size divides.
        time = epoch + np.arange(steps) / (
            len(labeled) // self.info.batch_size + 1
        )
        per_step['unlabeled_weight'] = weight * self.ramp(time)
        return Phase('mix_step', examples, steps, (net,), per_step)

    def ramp(self, time: np.ndarray) -> np.ndarray:
        """Returns the share of lambda_u in force at fractional epochs."""
        rise = (time - self.config.warm_up) / self.config.rampup_length
        return np.clip(rise, 0, 1)

    def _host_seed(self, epoch: int, net: int) -> int:
        rng = generator(self.info.seed, 'mixture', epoch, net)
        return int(rng.integers(2**31))

    # The steps.

    def example_losses(self, batch: Examples) -> Logs:
        """Cross-entropy of both networks against the given labels `[b, 2]`."""
        logits = self.network_logits(batch['images'][0])
        loss = [
            losses.cross_entropy(batch['label'], logits[:, net])
            for net in range(NUM_NETWORKS)
        ]
        return {'loss': tf.stack(loss, axis=1), 'logits': logits}

    def warm_up_step(self, net: int, batch: Batch) -> Logs:
        """Cross-entropy, less a share of the predictions' entropy (sec. 3.1).

        The penalty keeps the losses of asymmetric noise from all being small.
        """
        part = batch['train']
        with tf.GradientTape() as tape:
            logits = self.nets[net](part['images'][0], training=True)
            loss = losses.cross_entropy(part['label'], logits)
            if self.config.warm_up_penalty:
                loss += self.config.warm_up_penalty * losses.negative_entropy(
                    logits
                )
            loss = tf.reduce_mean(loss)
        return self.minimize(tape, loss, net) | self.observe(part, logits)

    def mix_step(self, net: int, batch: Batch) -> Logs:
        """One step on labeled and unlabeled rows (algorithm 1)."""
        labeled, unlabeled = batch['labeled'], batch['unlabeled']
        # The order of the four training-mode calls matters: each one moves
        # the BatchNorm statistics, as does the call on the mixed rows.
        guesses = self._guess(net, unlabeled)
        refined = self._refine(net, labeled)
        rows = tf.concat([*labeled['images'], *unlabeled['images']], axis=0)
        targets = tf.concat([refined, refined, guesses, guesses], axis=0)
        rows, targets = self._mixed(batch, rows, targets)
        split = 2 * tf.shape(refined)[0]
        if self.config.mix_rows == 'labeled':
            return self._fit_labeled(net, rows[:split], targets[:split])
        with tf.GradientTape() as tape:
            logits = self.nets[net](rows, training=True)
            supervised = tf.reduce_mean(
                losses.soft_cross_entropy(targets[:split], logits[:split])
            )
            consistency = tf.reduce_mean(
                losses.squared_error(targets[split:], logits[split:])
            )
            prior = losses.prior_divergence(logits)
            weight = tf.cast(batch['step']['unlabeled_weight'], logits.dtype)
            loss = supervised + weight * consistency + prior
        return self.minimize(tape, loss, net) | {
            'loss_labeled': supervised,
            'loss_unlabeled': consistency,
            'loss_prior': prior,
        }

    def labeled_step(self, net: int, batch: Batch) -> Logs:
        """The step without unlabeled rows: there are none."""
        labeled = batch['labeled']
        refined = self._refine(net, labeled)
        rows, targets = self._mixed(
            batch,
            tf.concat(labeled['images'], axis=0),
            tf.concat([refined, refined], axis=0),
        )
        return self._fit_labeled(net, rows, targets)

    def _fit_labeled(
        self, net: int, rows: tf.Tensor, targets: tf.Tensor
    ) -> Logs:
        with tf.GradientTape() as tape:
            logits = self.nets[net](rows, training=True)
            supervised = tf.reduce_mean(
                losses.soft_cross_entropy(targets, logits)
            )
            prior = losses.prior_divergence(logits)
            loss = supervised + prior
        return self.minimize(tape, loss, net) | {
            'loss_labeled': supervised,
            'loss_prior': prior,
        }

    def _guess(self, net: int, unlabeled: Examples) -> tf.Tensor:
        """Co-guessing (eq. 7): mean prediction of both networks, sharpened.

        The trained network runs in training mode, its peer in inference mode,
        where one call on both views gives the same as two.
        """
        views = unlabeled['images']
        own = self._predictions(net, unlabeled)
        peer = self.nets[1 - net](tf.concat(views, axis=0), training=False)
        peer = tf.split(tf.nn.softmax(peer), len(views))
        guess = losses.total(own + peer) / (2 * len(views))
        return losses.sharpen(guess, self.config.temperature)

    def _refine(self, net: int, labeled: Examples) -> tf.Tensor:
        """Co-refinement (eqs. 5, 6): the peer weighs label and prediction."""
        own = self._predictions(net, labeled)
        prediction = losses.total(own) / len(own)
        weight = tf.gather(
            self.clean_probability.value[1 - net], labeled['index']
        )
        weight = tf.cast(weight, prediction.dtype)[:, tf.newaxis]
        given = tf.one_hot(
            labeled['label'], self.info.num_classes, dtype=prediction.dtype
        )
        refined = weight * given + (1 - weight) * prediction
        return losses.sharpen(refined, self.config.temperature)

    def _predictions(self, net: int, part: Examples) -> list[tf.Tensor]:
        """Returns the trained network's predictions of each view `[b, C]`."""
        logits = [self.nets[net](x, training=True) for x in part['images']]
        self.observe(part, losses.total(logits) / len(logits))
        return [tf.nn.softmax(rows) for rows in logits]

    def _mixed(
        self, batch: Batch, rows: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mixes all rows with a permutation of themselves (eqs. 8, 9)."""
        partners = self.partners(batch, tf.shape(rows)[0])
        share = batch['step']['share']
        return (
            losses.mix(rows, partners, share),
            losses.mix(targets, partners, share),
        )

    def partners(self, batch: Batch, count: tf.Tensor) -> tf.Tensor:
        """Returns which row each row is mixed with, int32 `[count]`."""
        return losses.random_partners(count, self.random_seed(batch))

    def epoch_costs(self) -> np.ndarray:
        """A warm-up epoch costs a part of a co-divide epoch."""
        warm_up = np.arange(self.info.epochs) < self.config.warm_up
        return np.where(warm_up, 1.0, 3.0)

    def selection(self) -> Selection | None:
        """The mean of both networks' clean probabilities."""
        if not len(self.host_state['probability']):
            return None
        score = self.host_state['probability'].mean(axis=0)
        return Selection(score, self._chosen(score))
