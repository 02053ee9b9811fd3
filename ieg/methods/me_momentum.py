"""Me-Momentum: extracting hard confident examples.

Bai, Liu, ICCV 2021. A network that is stopped early, by its accuracy on noisy
validation labels, agrees with the given label of mostly right examples.
Refined on these it agrees with more of the hard ones; when that brings nothing
more, a new network starts from them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.errors import RunError
from ieg.methods.base import (
    Batch,
    Logs,
    Method,
    Phase,
    Score,
    Selection,
    Stream,
    copy_weights,
    steps_for,
)
from ieg.methods.recipes import GREY, TRAINING
from ieg.ops import losses, meta
from ieg.registry import METHODS, option

# Me-Momentum, its Clothing1M script, which has drops of the rate across
# refinements and one network per class for the extraction; here they are
# within a refinement, and one network extracts.
WEB: dict[str, dict[str, Any]] = {
    'clothing1m': dict(
        batch_size=32,
        learning_rate=0.005,
        weight_decay=1e-3,
        outer_rounds=3,
        inner_rounds=5,
        early_epochs=5,
        round_epochs=5,
        pretrained=True,
        class_weights=True,
    ),
}


# Me-Momentum's settings. Its rounds are long; those of the small sets are cut.
_ROUNDS = dict(
    batch_size=128,
    learning_rate=0.01,
    weight_decay=1e-4,
    valid_ratio=0.1,
    lr_schedule='constant',
)
_SHORT_ROUNDS = dict(
    outer_rounds=2, inner_rounds=4, early_epochs=30, round_epochs=10
)


# What the margin grows by, in points of accuracy, with every stale epoch, and
# the margin that ends early stopping (the 20th stale epoch exceeds it).
MARGIN_STEP, MARGIN_LIMIT = 0.1, 2.0
# When the learning rate falls in a round of refinement, of 100 epochs.
DROPS = (0.4, 0.8)
EARLY, REFINE, OVER = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class MeMomentumConfig:
    """Options of Me-Momentum."""

    outer_rounds: int = option(
        3, 'Number of networks trained from scratch.', minimum=1
    )
    inner_rounds: int = option(
        19, 'Maximum number of refinements of each network.', minimum=1
    )
    early_epochs: int = option(
        100, 'Maximum number of epochs before early stopping.', minimum=1
    )
    round_epochs: int = option(100, 'Epochs of a refinement.', minimum=1)
    class_weights: bool = option(
        False,
        'Weight examples so that the shares of classes are those of the '
        'validation data (Clothing1M).',
    )


@dataclasses.dataclass
class Course:
    """Where a run is: what comes next follows from validation scores alone.

    Scores are percent with two decimals, as in the reference. The attributes
    hold between epochs.

    Attributes:
        stage: EARLY, REFINE or OVER.
        outer: number of the outer round.
        inner: number of the refinement in it.
        epoch: number of the epoch in the stage.
        best: best score of this outer round.
        margin: what a score must be better by, while EARLY.
        last: best score when the last refinement ended.
        overall: best score of a refined network.
    """

    stage: int = EARLY
    outer: int = 0
    inner: int = 0
    epoch: int = 0
    best: float = 0.0
    margin: float = 0.0
    last: float = 0.0
    overall: float = 0.0

    def take(self, score: float) -> tuple[bool, bool]:
        """Takes the score of an epoch.

        Returns:
            Whether the network is the best of its outer round, and whether it
            is the best refined one of the run.
        """
        self.epoch += 1
        if self.stage == EARLY:
            better = score > self.best + self.margin
            self.margin = 0.0 if better else self.margin + MARGIN_STEP
        else:
            better = score > self.best
        if better:
            self.best = score
        record = better and self.stage == REFINE and score > self.overall
        if record:
            self.overall = score
        return better, record

    def advance(self, config: MeMomentumConfig) -> str:
        """Goes to the next epoch.

        Returns:
            What to do before it: 'go on', 'refine' the best network of the
            round on what it agrees with, 'start' a new one, or 'finish'.
        """
        if self.stage == EARLY:
            given_up = self.margin > MARGIN_LIMIT
            if given_up or self.epoch >= config.early_epochs:
                return self._refine(0)
            return 'go on'
        if self.epoch < config.round_epochs:
            return 'go on'
        # The first refinement always passes, so there are two at least.
        improved, self.last = self.best > self.last, self.best
        if improved and self.inner + 1 < config.inner_rounds:
            return self._refine(self.inner + 1)
        if self.outer + 1 < config.outer_rounds:
            self.stage, self.outer = EARLY, self.outer + 1
            self.inner = self.epoch = 0
            self.best = self.margin = self.last = 0.0
            return 'start'
        self.stage = OVER
        return 'finish'

    def _refine(self, inner: int) -> str:
        self.stage, self.inner, self.epoch = REFINE, inner, 0
        return 'refine'


def importance(confident: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns what an example of each class weighs, float32 `[C]`.

    Shares of validation over shares of training, P_valid(c) / P_train(c), as
    the authors' script for Clothing1M has them (`Clothing.py`; the one for
    MNIST and CIFAR has none). 0 for a class that either lacks.

    Args:
        confident: how many examples that are learned from each label has `[C]`.
        valid: how many validation examples it has `[C]`.
    """
    share = confident / confident.mean()
    wanted = valid / valid.mean()
    weights = np.divide(wanted, share, np.zeros_like(share), where=share > 0)
    return weights.astype(np.float32)


@METHODS.register('me_momentum')
class MeMomentum(Method):
    """Outer rounds from scratch, inner rounds of refinement.

    State beyond the network: the best network of the outer round and the best
    refined one of the run; where the run is; the confident examples, and in
    how many rounds each was confident. With class weights, these `[C]` on the
    device; they follow from the confident examples.
    """

    Config = MeMomentumConfig
    config: MeMomentumConfig
    usual_networks = {'cifar10': 'resnet18', 'cifar100': 'resnet34'}
    needs_validation = True

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.round_net = self.build_network(0)
        self.final_net = self.build_network(0)
        self._keep(Course())
        count = self.info.num_examples
        self.host_state['confident'] = np.ones(count, bool)
        self.host_state['times_confident'] = np.zeros(count, np.int32)
        self.host_state['rounds'] = np.zeros((), np.int32)
        self.class_weights: keras.Variable | None = None
        if self.config.class_weights:
            self.class_weights = self.state_variable(
                'class_weights', (self.info.num_classes,), 1.0
            )

    @classmethod
    def most_epochs(cls, config: MeMomentumConfig) -> int:
        """Returns how long a run can be at most, its last look included."""
        each = config.early_epochs + config.inner_rounds * config.round_epochs
        return config.outer_rounds * each + 1

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the published settings; shorter rounds for small sets."""
        if dataset.base in WEB:
            return _ROUNDS | WEB[dataset.base]
        if dataset.base in ('digits', 'fake'):
            return _ROUNDS | _SHORT_ROUNDS | {'batch_size': 32}
        if dataset.base in GREY:
            return _ROUNDS | {'crop_padding': 0, 'precision': 'float32'}
        if dataset.base in TRAINING:
            return dict(_ROUNDS)
        # Not a published set: its batches follow its size.
        chosen = {n: v for n, v in _ROUNDS.items() if n != 'batch_size'}
        return chosen | _SHORT_ROUNDS

    # Where the run is.

    def course(self) -> Course:
        """Returns where the run is."""
        values = self.host_state['course'].tolist()
        return Course(*map(int, values[:4]), *values[4:])

    def _keep(self, course: Course) -> None:
        values = dataclasses.astuple(course)
        self.host_state['course'] = np.array(values, np.float64)

    def epoch_costs(self) -> np.ndarray:
        """Takes a run of usual length: early stopping and two refinements."""
        config = self.config
        usual = min(config.early_epochs, 40) + 2 * config.round_epochs
        costs = np.full(self.info.epochs, 0.01)
        costs[: config.outer_rounds * usual] = 1
        return costs

    # Epochs.

    def begin_epoch(self, epoch: int, score: Score) -> list[Phase] | None:
        """Draws the confident examples, extracted again as a round begins."""
        course = self.course()
        if course.stage == OVER:
            return None
        action = course.advance(self.config) if epoch else 'go on'
        self._keep(course)
        if action == 'finish':
            # An epoch without training shows the network that is chosen.
            best = self.final_net if course.overall else self.round_net
            copy_weights(self.nets[0], best)
            return []
        if action == 'refine':
            copy_weights(self.nets[0], self.round_net)
            self._extract(score)
        if action == 'start':
            copy_weights(self.nets[0], self.build_network(course.outer))
        if action != 'go on':
            self.optimizers[0].reset()
        self._report(course)
        if self.config.class_weights:
            self._weigh(remark=epoch == 0)
        return [self._phase(course)]

    def _phase(self, course: Course) -> Phase:
        ids = np.flatnonzero(self.host_state['confident'])
        steps = steps_for(len(ids), self.info.batch_size)
        drops = 0
        if course.stage == REFINE:
            done = course.epoch / self.config.round_epochs
            drops = sum(done >= drop for drop in DROPS)
        return Phase('train_step', {'train': ids}, steps, rate=0.1**drops)

    def _extract(self, score: Score) -> None:
        """Takes the examples that are predicted as they are labeled."""
        logits = score('logits_step')['logits'][:, 0]
        confident = logits.argmax(axis=-1) == self.info.labels
        if not confident.any():
            raise RunError(
                'The network predicts no example as it is labeled, so there '
                'is nothing to refine it on; lower --learning_rate.'
            )
        self.host_state['confident'] = confident
        self.host_state['times_confident'] += confident
        self.host_state['rounds'] += 1
        counts = self._per_class()
        present = np.bincount(self.info.labels, minlength=len(counts)) > 0
        gone = np.flatnonzero(present & (counts == 0))
        if len(gone):
            names = ', '.join(map(str, gone[:10]))
            self.remark(
                f'no example of class {names} is confident, so this round '
                'learns nothing of it'
            )

    def _per_class(self) -> np.ndarray:
        """Returns how many confident examples each label has `[C]`."""
        labels = self.info.labels[self.host_state['confident']]
        return np.bincount(labels, minlength=self.info.num_classes)

    def _weigh(self, remark: bool) -> None:
        """Weighs classes by what is confident now and by validation.

        Args:
            remark: whether to remark on classes that validation lacks.
        """
        valid = self.info.valid_counts
        # This method needs validation examples, and has class weights here.
        assert valid is not None and self.class_weights is not None
        weights = importance(self._per_class(), valid)
        if not weights.any():
            raise RunError(
                'No class has both confident and validation examples, so with '
                '--class_weights nothing is left to learn; hold out more by '
                '--valid_ratio.'
            )
        self.class_weights.assign(weights)
        self.report(class_weights=[round(float(w), 4) for w in weights])
        missing = np.flatnonzero(valid == 0)
        if remark and len(missing):
            names = ', '.join(map(str, missing[:10]))
            self.remark(
                f'with --class_weights nothing is learned of class {names}, of '
                'which there is no validation example'
            )

    def _report(self, course: Course) -> None:
        stage = 'early' if course.stage == EARLY else 'refine'
        self.report(
            outer_round=course.outer + 1,
            inner_round=course.inner + 1 if stage == 'refine' else 0,
            confident=int(self.host_state['confident'].sum()),
            confident_per_class=self._per_class().tolist(),
        )

    def end_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Remembers the network if its validation score is the best."""
        course = self.course()
        if course.stage == OVER:
            return
        score = round(100 * logs['valid_balanced_accuracy'], 2)
        better, record = course.take(score)
        self._keep(course)
        if better:
            copy_weights(self.round_net, self.nets[0])
        if record:
            copy_weights(self.final_net, self.nets[0])

    # Steps.

    def train_step(self, batch: Batch) -> Logs:
        """Minimizes the mean cross-entropy of one batch, or a weighted one."""
        part = batch['train']
        (images,), label = part['images'], part['label']
        with tf.GradientTape() as tape:
            logits = self.nets[0](images, training=True)
            loss = self._mean(losses.cross_entropy(label, logits), label)
        return self.minimize(tape, loss) | self.observe(part, logits)

    def _mean(self, loss: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Returns the mean of losses `[b]`, or sum(w loss) / sum(w).

        The weights are those of the labels `[b]`, and of all replicas' labels
        in the divisor: the mean over replicas is the loss of the whole batch.
        """
        if self.class_weights is None:
            return tf.reduce_mean(loss)
        weights = tf.gather(self.class_weights.value, label)
        weights = tf.cast(weights, loss.dtype)
        (total,) = meta.across_replicas([tf.reduce_sum(weights)], 'global')
        # All of a batch can be of classes that weigh nothing.
        return tf.math.divide_no_nan(tf.reduce_sum(weights * loss), total)

    # Reports.

    def streams(self) -> dict[str, Stream]:
        """The usual view of the confident examples."""
        return {'train': Stream(self.info.batch_size)}

    def selection(self) -> Selection | None:
        """How often an example was confident, and whether it is now."""
        rounds = int(self.host_state['rounds'])
        if not rounds:
            return None
        often = self.host_state['times_confident'] / rounds
        return Selection(often, self.host_state['confident'])
