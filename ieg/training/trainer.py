"""How long and where a run trains."""

import dataclasses
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.dataset import Data
from ieg.data.pipeline import Pipeline
from ieg.errors import RunError, UsageError
from ieg.methods.base import Method, Phase
from ieg.ops import metrics
from ieg.ops.optim import Schedule
from ieg.training import devices
from ieg.training.checkpoint import Checkpoints
from ieg.training.runlog import RunLog
from ieg.training.steps import StepRunner


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train, apart from the method.

    Attributes:
        schedule: learning rate by nominal step.
        steps_per_epoch: nominal steps of one epoch.
        total_steps: nominal length of the run; the last epoch may be a part.
        share: of all steps of an epoch that are made.
        eval_batch_size: examples per step of a sweep, on all replicas.
        eval_every: epochs between evaluations; the last epoch has one.
        eval_splits: what it is evaluated on.
        seed: root of order and augmentation.
        jit: compile steps with XLA.
        on_device: compute views where the steps run.
        keep_checkpoints: how many to keep.
    """

    schedule: Schedule
    steps_per_epoch: int
    total_steps: int
    eval_batch_size: int
    share: float = 1.0
    eval_every: int = 1
    eval_splits: tuple[str, ...] = ('valid', 'test')
    seed: int = 0
    jit: bool = False
    on_device: bool = False
    keep_checkpoints: int = 3

    @property
    def epochs(self) -> int:
        """Epochs of the run, the last one whole or not."""
        return -(-self.total_steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Returns how many nominal steps of an epoch belong to the run."""
        left = self.total_steps - epoch * self.steps_per_epoch
        return min(self.steps_per_epoch, left)

    def steps_until(self, epoch: int) -> int:
        """Returns how many nominal steps of the run come before an epoch."""
        return min(epoch * self.steps_per_epoch, self.total_steps)

    def part_of_epoch(self, epoch: int) -> float:
        """Returns which share of an epoch belongs to the run."""
        return self.steps_in(epoch) / self.steps_per_epoch


# A call of the step function should take about this long: fast enough to show
# progress, long enough that starting it costs nothing.
SECONDS_PER_CALL = 0.5
MOST_STEPS_PER_CALL = 200
# Workers must make the same steps per call, whatever their clocks say: their
# collectives are matched by their place in the loop.
STEPS_PER_CALL_OF_WORKERS = 10


# What may differ between training and evaluation.
NOT_EVALUATED = (
    'max_epoch',
    'max_iteration',
    'global_batch_size',
    'precision',
)


class Trainer:
    """Trains and evaluates one method.

    Args:
        method: built under the scope of `strategy`.
        data: the data; clean labels are used for reports only.
        settings: see `Settings`.
        strategy: decides where steps run.
        workdir: the run folder.
        identity: what the run is, for its checkpoints.
        callbacks: Keras callbacks. Batch ends come once per call of the step
            function, which makes several steps, with the share of the run
            that is done as `progress` (in epochs), epoch begins with the rate
            each phase begins with; `figures(entry)`, if any, joins the entry.
    """

    def __init__(
        self,
        method: Method,
        data: Data,
        settings: Settings,
        strategy: tf.distribute.Strategy,
        workdir: str,
        identity: Mapping[str, Any],
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ):
        self.method = method
        self._data = data
        self._settings = settings
        self._strategy = strategy
        with strategy.scope():
            self._pipeline = Pipeline(
                data,
                method.streams(),
                strategy,
                settings.seed,
                settings.on_device,
            )
        self.steps = StepRunner(method, strategy, self._pipeline, settings.jit)
        self._callbacks = list(callbacks)
        self._seconds_per_step: dict[str, float] = {}
        self.restart(workdir, identity)

    def restart(self, workdir: str, identity: Mapping[str, Any]) -> None:
        """Keeps checkpoints and log of the next run in a folder.

        The compiled step functions stay. Bringing method and optimizers back
        to their beginning is up to the caller (see `rewind.Rewind`).
        """
        chief = devices.is_chief(self._strategy)
        self._checkpoints = Checkpoints(
            self.method,
            os.path.join(workdir, 'checkpoints'),
            dict(identity),
            self._settings.keep_checkpoints,
            chief,
        )
        self.log = RunLog(os.path.join(workdir, 'log.jsonl') if chief else None)
        self._steps_done = 0

    def add_callback(self, callback: keras.callbacks.Callback) -> None:
        """Adds a Keras callback before training starts."""
        self._callbacks.append(callback)

    # The run.

    def restore(self, step: int = 0) -> int:
        """Restores a checkpoint and returns how many epochs it has behind it.

        Args:
            step: number of the checkpoint; 0 = the latest, if there is one.

        Raises:
            UsageError: the run cannot go on from it.
        """
        facts = self._checkpoints.restore(step)
        if facts is None:
            return 0
        self._check_length(facts['epoch'], facts['nominal_steps'])
        self.log.restart(facts['entries'])
        self._steps_done = facts['steps']
        return facts['epoch']

    def _check_length(self, epoch: int, nominal_steps: int) -> None:
        """Makes sure that the run can go on from a checkpoint.

        Raises:
            UsageError: there is more already than is asked for, or the last
                epoch was cut short where that run ended.
        """
        total = self._settings.total_steps
        if nominal_steps > total:
            raise UsageError(
                f'The run folder holds {nominal_steps} steps already and these '
                f'options ask for {total}; ask for more, or choose another '
                '--checkpoint_path.'
            )
        if nominal_steps < min(self._settings.steps_until(epoch), total):
            raise UsageError(
                f'The run in this folder ended inside an epoch, after '
                f'{nominal_steps} steps, and cannot be made longer; choose '
                'another --checkpoint_path.'
            )

    def train(self, start: int = 0) -> None:
        """Trains from epoch `start` to the end of the run."""
        if start == 0:
            self.log.restart([])
        callbacks = keras.callbacks.CallbackList(
            self._callbacks, model=self.method, epochs=self._settings.epochs
        )
        self.method.stop_training = False
        callbacks.on_train_begin()
        try:
            for epoch in range(start, self._settings.epochs):
                # A callback may find that the run was over already.
                stop = self.method.stop_training
                if stop or not self._epoch(epoch, callbacks):
                    break
        finally:
            callbacks.on_train_end()

    def _epoch(
        self, epoch: int, callbacks: keras.callbacks.CallbackList
    ) -> bool:
        """Trains one epoch; returns whether there is another."""
        started = time.monotonic()
        phases = self.method.begin_epoch(epoch, self.score)
        if phases is None:
            return False
        phases = [self._cut(phase, epoch) for phase in phases]
        devices.agree(self._strategy, f'{epoch} {self._steps_done}', phases)
        rates = [float(self._rates(phase, epoch)[0]) for phase in phases]
        callbacks.on_epoch_begin(epoch, {'learning_rates': rates})
        entry = {'epoch': epoch} | self._train_phases(epoch, phases, callbacks)
        for split in self._due_splits(epoch, bool(phases)):
            entry |= self.evaluate(split)
        for callback in self._callbacks:
            if hasattr(callback, 'figures'):
                entry |= callback.figures(entry)
        figures, remarks = self.method.take_reports()
        entry |= figures | self._selection_quality()
        entry['seconds'] = time.monotonic() - started
        if remarks:
            entry['remarks'] = remarks
        self.method.end_epoch(epoch, entry)
        self.log.append(entry)
        self._checkpoints.save(
            self._steps_done,
            {
                'epoch': epoch + 1,
                'steps': self._steps_done,
                'nominal_steps': self._settings.steps_until(epoch + 1),
                'entries': self.log.entries,
            },
        )
        self._tell(epoch, callbacks)
        return not self.method.stop_training

    def _cut(self, phase: Phase, epoch: int) -> Phase:
        """Shortens a phase to the share of an epoch that is made."""
        part = self._settings.share * self._settings.part_of_epoch(epoch)
        if part == 1:
            return phase
        steps = max(1, round(part * phase.num_steps))
        return dataclasses.replace(
            phase,
            num_steps=steps,
            per_step={n: v[:steps] for n, v in phase.per_step.items()},
        )

    def _train_phases(
        self,
        epoch: int,
        phases: Sequence[Phase],
        callbacks: keras.callbacks.CallbackList,
    ) -> dict[str, float]:
        """Runs all phases; returns the means of what their steps logged."""
        sums: dict[str, list[float]] = {}
        total = sum(phase.num_steps for phase in phases)
        part = self._settings.part_of_epoch(epoch)
        done, examples, seconds, rate = 0, 0, 0.0, 0.0
        streams = self.method.streams()
        for number, phase in enumerate(phases):
            rates = self._rates(phase, epoch)
            rate = float(rates[-1])
            iterator = self._pipeline.batches(phase, epoch, number, rates)
            left = phase.num_steps
            while left:
                count = min(left, self._steps_per_call(phase.step))
                started = time.monotonic()
                logs = self.steps.train(phase, iterator, count)
                spent = time.monotonic() - started
                self._learn_pace(phase.step, spent / count)
                seconds += spent
                left -= count
                done += count
                for name, values in logs.items():
                    sums.setdefault(name, []).extend(values)
                callbacks.on_train_batch_end(
                    self._steps_done + done,
                    {'progress': epoch + part * done / total},
                )
            examples += phase.num_steps * sum(
                streams[name].batch_size for name in phase.examples
            )
            self.steps.average_statistics()
        self._steps_done += done
        # The learning rate is the one of the epoch's last step.
        entry = {'step': self._steps_done, 'learning_rate': rate}
        entry |= self._means(epoch, sums)
        if examples:
            entry['images_per_second'] = examples / seconds
        return entry

    def _rates(self, phase: Phase, epoch: int) -> np.ndarray:
        """Returns the learning rate of each step of a phase."""
        before = epoch * self._settings.steps_per_epoch
        nominal = self._settings.steps_in(epoch)
        steps = np.arange(phase.num_steps) * nominal / phase.num_steps
        return phase.rate * self._settings.schedule(before + steps)

    def _means(
        self, epoch: int, sums: Mapping[str, Sequence[float]]
    ) -> dict[str, float]:
        means = {n: math.fsum(v) / len(v) for n, v in sums.items()}
        lost = means.pop('nonfinite', 0.0)
        if lost >= 1:
            raise RunError(
                f'No step of epoch {epoch} gave a finite loss; lower '
                '--learning_rate.'
            )
        if lost:
            self.method.remark(
                f'{lost:.2%} of the steps gave no finite loss; their '
                'gradients are left out'
            )
        return means

    def seconds_per_epoch(self, steps: int = 10) -> float:
        """Returns how long the steps of an average epoch take.

        Trains for a few steps; the caller must undo that (see
        `rewind.Rewind`).
        """
        seconds = 0.0
        phases = self.method.begin_epoch(0, self.score)
        for number, phase in enumerate(self._cut(p, 0) for p in phases):
            rates = self._rates(phase, 0)
            iterator = self._pipeline.batches(phase, 0, number, rates)
            self.steps.train(phase, iterator, 1)  # Traces.
            count = min(steps, phase.num_steps - 1)
            started = time.monotonic()
            if count:
                self.steps.train(phase, iterator, count)
                spent = (time.monotonic() - started) / count
                seconds += spent * phase.num_steps
        costs = self.method.epoch_costs()
        return seconds * float(np.mean(costs) / costs[0])

    def _steps_per_call(self, step: str) -> int:
        """Returns how many steps to make at once.

        Results do not depend on it, so on one worker it follows the clock.
        """
        if devices.has_workers(self._strategy):
            return STEPS_PER_CALL_OF_WORKERS
        pace = self._seconds_per_step.get(step)
        if pace is None:
            return 1
        return int(np.clip(SECONDS_PER_CALL / pace, 1, MOST_STEPS_PER_CALL))

    def _learn_pace(self, step: str, seconds: float) -> None:
        # The fastest call: the first ones include tracing.
        known = self._seconds_per_step.get(step, seconds)
        self._seconds_per_step[step] = min(known, seconds)

    def _due_splits(self, epoch: int, trained: bool) -> Sequence[str]:
        """Returns what to evaluate on after an epoch."""
        last = epoch + 1 == self._settings.epochs or not trained
        if last or (epoch + 1) % self._settings.eval_every == 0:
            return self._settings.eval_splits
        return ('valid',) if self.method.needs_validation else ()

    def _selection_quality(self) -> dict[str, float | None]:
        """Compares what the method believes of its examples with the truth."""
        clean, given = self._data.train.clean_labels, self._data.train.labels
        if clean is None:
            return {}
        found = metrics.notes_quality(clean, given, self.method.notes())
        selection = self.method.selection()
        if selection is not None:
            found |= metrics.selection_quality(clean == given, *selection)
        return found

    def _tell(self, epoch: int, callbacks: keras.callbacks.CallbackList):
        entry = self.log.entries[-1]
        for callback in self._callbacks:
            for remark in entry.get('remarks', ()):
                if hasattr(callback, 'remark'):
                    callback.remark(epoch, remark)
        kinds = int | float
        numbers = {n: v for n, v in entry.items() if isinstance(v, kinds)}
        callbacks.on_epoch_end(epoch, numbers)

    # Passes over a split.

    def score(
        self,
        step: str,
        *args: Any,
        split: str = 'train',
        ids: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a per-example step of the method over a split, by id.

        As `StepRunner.score`; what is not asked for is not computed.
        """
        return self.steps.score(
            step,
            *args,
            split=split,
            batch_size=self._settings.eval_batch_size,
            ids=ids,
        )

    def evaluate(self, split: str = 'test') -> dict[str, float]:
        """Returns accuracy and loss on a split, named after it.

        The accuracy of several networks together, and of each.

        Args:
            split: 'test', 'valid', 'probe' or 'train'; nothing is returned
                for one that the data does not have.
        """
        if self._data.split(split) is None:
            return {}
        labels = self._data.split(split).labels
        logits = self.score('logits_step', split=split)['logits']
        return metrics.evaluation(split, labels, logits)

    def evaluate_checkpoint(self, step: int = 0) -> dict[str, Any]:
        """Restores a checkpoint and evaluates it on the test sets.

        Raises:
            UsageError: there is no checkpoint.
        """
        facts = self._checkpoints.restore(step, ignore=NOT_EVALUATED)
        if facts is None:
            raise UsageError(
                'There is no checkpoint to evaluate; train first with the '
                'same flags and --mode=train.'
            )
        found = {'epoch': facts['epoch'] - 1, 'step': facts['steps']}
        for split in ('test', *self._data.further):
            found |= self.evaluate(split)
        return found
