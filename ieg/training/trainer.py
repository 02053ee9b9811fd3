"""The training loop: settings, epochs, evaluation and checkpoints."""

import dataclasses
import os
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.dataset import Data
from ieg.data.direct import Steps
from ieg.data.pipeline import Pipeline
from ieg.errors import UsageError
from ieg.methods import checks
from ieg.methods.base import Method, Phase
from ieg.ops import metrics
from ieg.ops.optim import Schedule
from ieg.training import devices
from ieg.training.callbacks import Callback
from ieg.training.checkpoint import Checkpoints
from ieg.training.runlog import RunLog
from ieg.training.running import Running
from ieg.training.steps import StepRunner
from ieg.utils.interrupt import Interrupt


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train, apart from the method.

    Attributes:
        schedule: learning rate by nominal step.
        steps_per_epoch: nominal steps of one epoch.
        total_steps: nominal length of the run; the last epoch may be partial.
        share: share of the steps of an epoch that are run.
        eval_batch_size: examples per evaluation step, on all replicas.
        eval_every: epochs between evaluations; the last epoch is evaluated.
        eval_splits: splits to evaluate on.
        seed: seed of the order of examples and of augmentation.
        jit: compile steps with XLA.
        on_device: compute views where the steps run.
        keep_checkpoints: number of checkpoints to keep.
        checkpoint_minutes: minutes between checkpoints in the middle of an
            epoch; 0 = none.
        checkpoint_seconds: least seconds between checkpoints after epochs; the
            end of the run, and what is interrupted, is always saved.
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
    checkpoint_minutes: float = 0.0
    checkpoint_seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Number of epochs, including a partial last one."""
        return -(-self.total_steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Returns the number of nominal steps of an epoch in the run."""
        left = self.total_steps - epoch * self.steps_per_epoch
        return min(self.steps_per_epoch, left)

    def steps_until(self, epoch: int) -> int:
        """Returns the number of nominal steps before an epoch."""
        return min(epoch * self.steps_per_epoch, self.total_steps)

    def part_of_epoch(self, epoch: int) -> float:
        """Returns the share of an epoch that belongs to the run."""
        return self.steps_in(epoch) / self.steps_per_epoch


# Target duration of a call of the step function: short enough to show progress,
# long enough that the overhead of a call does not matter.
SECONDS_PER_CALL = 0.5
MOST_STEPS_PER_CALL = 200
# Workers must run the same number of steps per call, however fast they are:
# their collectives are matched by their position in the loop.
STEPS_PER_CALL_OF_WORKERS = 10

# Options that may differ between training and evaluation.
NOT_EVALUATED = (
    'max_epoch',
    'max_iteration',
    'global_batch_size',
    'initial_weights',
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
        identity: the options that a checkpoint must agree with.
        interrupt: asked between calls of a step function whether to stop.
        callbacks: Keras callbacks, or those of `ieg.training.callbacks`,
            whose `figures` join the log entry. `on_train_batch_end` is called
            once per call of the step function, which runs several steps, with
            `progress`, the number of epochs done so far (a float), and
            `seconds`, the time of this epoch's steps; `on_epoch_begin` gets
            `learning_rates`, the initial one of each phase.
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
        interrupt: Interrupt | None = None,
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
                direct=data.is_vectors
                and not settings.on_device
                and not devices.has_workers(strategy),
            )
        self.steps = StepRunner(method, strategy, self._pipeline, settings.jit)
        self._callbacks = list(callbacks)
        self._interrupt = interrupt or Interrupt()
        self._seconds_per_step: dict[str, float] = {}
        self._logits: dict[str, np.ndarray] = {}
        self.restart(workdir, identity)

    def restart(self, workdir: str, identity: Mapping[str, Any]) -> None:
        """Prepares another run with its checkpoints and log in `workdir`.

        The compiled step functions are kept. The caller resets the method and
        its optimizers (see `ieg.training.checkpoint.Rewind`).
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
        self._running: Running | None = None
        self._saved_at = 0.0
        self._omit = ''
        self._logits.clear()

    def exchange(self, data: Data) -> None:
        """Replaces the data by others with as many training examples.

        The compiled step functions are kept, callbacks are not. The caller
        resets the method and calls `restart`.
        """
        self._data = data
        self._pipeline.exchange(data)
        info = dataclasses.replace(self.method.info, labels=data.train.labels)
        self.method.info = info
        self._callbacks = []

    def add_callback(self, callback: keras.callbacks.Callback) -> None:
        """Adds a Keras callback before training starts."""
        self._callbacks.append(callback)

    @property
    def remarks(self) -> list[str]:
        """Sentences about damaged checkpoints that `restore` passed over."""
        return self._checkpoints.remarks

    # The run.

    def restore(self, step: int = 0) -> int:
        """Restores a checkpoint and returns its number of finished epochs.

        Args:
            step: number of the checkpoint; 0 = the latest, if there is one.

        Raises:
            UsageError: the run cannot be resumed from it.
        """
        self._logits.clear()
        facts = self._checkpoints.restore(step, unfinished=not step)
        # What is saved from now on is not where it would resume.
        self._omit = ', without --restore_step' if step else ''
        if facts is None:
            return 0
        self._check_length(facts['epoch'], facts['nominal_steps'])
        if 'running' in facts:
            self._resume(facts['epoch'], facts['running'])
        self.log.restart(facts['entries'])
        self._steps_done = facts['steps']
        if not step:
            self._tell_place()
        return facts['epoch']

    @property
    def is_new(self) -> bool:
        """Whether no epoch of the run has begun."""
        return not (self.log.entries or self._running)

    def _resume(self, epoch: int, record: Mapping[str, Any]) -> None:
        """Resumes in the middle of an epoch.

        Raises:
            UsageError: the epoch has another length now.
        """
        length = self._settings.steps_in(epoch)
        if record['nominal_steps'] != length:
            raise UsageError(
                f'The run in this folder was interrupted in epoch {epoch + 1}, '
                f'which had {record["nominal_steps"]} steps, but these options '
                f'ask for {length}: finish it with the old options, or name '
                'another run folder with --run_name.'
            )
        self._running = Running.resumed(record['epoch'])
        self.steps.set_copies(record['copies'])

    def _save_running(self, running: Running) -> None:
        """Saves the middle of an epoch; every worker must call it."""
        running.take_reports(self.method)
        running.measured = {
            type(callback).__name__: callback.measured
            for callback in self._callbacks
            if isinstance(callback, Callback)
        }
        record = {
            'epoch': running.record(),
            'nominal_steps': self._settings.steps_in(running.epoch),
            'copies': self.steps.copies(),
        }
        facts = self._facts(running.epoch) | {'running': record}
        self._checkpoints.save_unfinished(facts)
        self._saved_at = time.monotonic()
        self._tell_place()

    def _tell_place(self) -> None:
        """Says where a run would resume that is interrupted now."""
        place, steps = f'after epoch {len(self.log.entries)}', self._steps_done
        if self._running:
            place = f'in epoch {self._running.epoch + 1}'
            steps += self._running.steps_done
        self._interrupt.kept = f'{place} (step {steps}){self._omit}'

    def _facts(self, epoch: int) -> dict[str, Any]:
        """Returns what a checkpoint holds of the run before an epoch."""
        return {
            'epoch': epoch,
            'steps': self._steps_done,
            'nominal_steps': self._settings.steps_until(epoch),
            'entries': self.log.entries,
        }

    def _check_length(self, epoch: int, nominal_steps: int) -> None:
        """Checks that the run can be resumed from a checkpoint.

        Raises:
            UsageError: it is longer than the requested run, or its last epoch
                is a partial one.
        """
        total = self._settings.total_steps
        if nominal_steps > total:
            raise UsageError(
                f'The run in this folder already has {nominal_steps} steps, '
                f'but these options ask for {total}: train longer, or name '
                'another run folder with --run_name.'
            )
        if nominal_steps < min(self._settings.steps_until(epoch), total):
            raise UsageError(
                'The run in this folder ended in the middle of an epoch, after '
                f'{nominal_steps} steps, and cannot be extended: name '
                'another run folder with --run_name.'
            )

    def train(self, start: int = 0) -> None:
        """Trains from epoch `start` to the end of the run."""
        self._checkpoints.clear_leftovers()
        if start == 0:
            self.log.restart([])
        callbacks = keras.callbacks.CallbackList(
            self._callbacks, model=self.method, epochs=self._settings.epochs
        )
        self.method.stop_training = False
        self._saved_at = time.monotonic()
        callbacks.on_train_begin()
        try:
            with self._interrupt.postponed():
                for epoch in range(start, self._settings.epochs):
                    # A callback may stop a run that was already complete.
                    stop = self.method.stop_training
                    if stop or not self._epoch(epoch, callbacks):
                        break
        finally:
            callbacks.on_train_end()
            # They may have changed the weights.
            self._logits.clear()

    def _pause(self) -> None:
        """Saves or stops where all workers are between two calls.

        Raises:
            Interrupted: one of them was asked to stop.
        """
        minutes = self._settings.checkpoint_minutes
        waited = time.monotonic() - self._saved_at > 60 * minutes > 0
        due, signal = devices.largest(
            self._strategy,
            # The clock of the chief, who writes.
            waited and devices.is_chief(self._strategy),
            self._interrupt.number,
        )
        if self._running and (due or signal):
            self._save_running(self._running)
        if signal:
            raise self._interrupt.error(signal)

    def _epoch(
        self, epoch: int, callbacks: keras.callbacks.CallbackList
    ) -> bool:
        """Trains one epoch; returns whether to continue."""
        running = self._running or self._begun(epoch)
        if running is None:
            return False
        place = f'{epoch} {self._steps_done} {running.steps_done}'
        devices.agree(self._strategy, place, running.phases)
        self._begin_callbacks(running)
        self._running = running
        self._logits.clear()
        entry: dict[str, Any] = {'epoch': epoch}
        entry |= self._train_phases(running, callbacks)
        for split in self._due_splits(epoch, bool(running.phases)):
            entry |= self.evaluate(split)
        for callback in self._callbacks:
            if isinstance(callback, Callback):
                entry |= callback.figures(entry)
        running.take_reports(self.method)
        entry |= running.figures | self._selection_quality(epoch)
        entry['seconds'] = time.monotonic() - running.started
        self.method.end_epoch(epoch, types.MappingProxyType(entry))
        figures, late = self.method.take_reports()
        entry |= figures
        if remarks := running.remarks + late:
            entry['remarks'] = remarks
        self.log.append(entry)
        self._steps_done += running.total
        self._running = None
        self._save(epoch + 1)
        self._report(epoch, callbacks)
        self._pause()
        return not self.method.stop_training

    def _save(self, epochs: int) -> None:
        """Saves the run after so many epochs, unless it was saved just now."""
        least = self._settings.checkpoint_seconds
        recent = time.monotonic() - self._saved_at < least
        # What is to end now loses nothing.
        ends = self._interrupt.number or epochs == self._settings.epochs
        if recent and not ends:
            return
        self._checkpoints.save(self._steps_done, self._facts(epochs))
        self._saved_at = time.monotonic()
        self._tell_place()

    def _begun(self, epoch: int) -> Running | None:
        """Returns a new epoch, or None at the end of the run."""
        started = time.monotonic()
        phases = self._phases(epoch)
        return None if phases is None else Running(epoch, phases, started)

    def _phases(self, epoch: int) -> list[Phase] | None:
        phases = self.method.begin_epoch(epoch, self.score)
        checked = checks.check_phases(self.method, phases, epoch, self._data)
        return checked and [self._cut(phase, epoch) for phase in checked]

    def _begin_callbacks(self, running: Running) -> None:
        """Calls `on_epoch_begin`, or what replaces it in a resumed epoch."""
        rates = [
            float(self._rates(phase, running.epoch)[0])
            for phase in running.phases
        ]
        for callback in self._callbacks:
            measured = running.measured.get(type(callback).__name__)
            if measured and isinstance(callback, Callback):
                callback.measured = measured
            else:
                callback.on_epoch_begin(
                    running.epoch, {'learning_rates': rates}
                )

    def _cut(self, phase: Phase, epoch: int) -> Phase:
        """Shortens a phase to the share of an epoch that is trained."""
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
        self, running: Running, callbacks: keras.callbacks.CallbackList
    ) -> dict[str, float]:
        """Runs all phases; returns the means of the logged scalars."""
        epoch, phases = running.epoch, running.phases
        for number in range(running.number, len(phases)):
            phase, rates = phases[number], self._rates(phases[number], epoch)
            iterator = self._pipeline.batches(
                phase, epoch, number, rates, running.done
            )
            while running.number == number:
                self._call(running, iterator, callbacks)
        # The learning rate is that of the last step of the epoch.
        rate = float(self._rates(phases[-1], epoch)[-1]) if phases else 0.0
        entry: dict[str, float] = {
            'step': self._steps_done + running.total,
            'learning_rate': rate,
        }
        entry |= checks.means(self.method, epoch, running.logs)
        if phases:
            streams = self.method.streams()
            examples = sum(
                phase.num_steps * streams[name].batch_size
                for phase in phases
                for name in phase.examples
            )
            entry['images_per_second'] = examples / running.seconds
        return entry

    def _call(
        self,
        running: Running,
        iterator: Iterator[Any] | Steps,
        callbacks: keras.callbacks.CallbackList,
    ) -> None:
        """Runs some steps of the current phase in one call."""
        phase, epoch = running.phases[running.number], running.epoch
        count = min(
            phase.num_steps - running.done, self._steps_per_call(phase.step)
        )
        started = time.monotonic()
        logs = self.steps.train(phase, iterator, count)
        spent = time.monotonic() - started
        self._learn_pace(phase.step, spent / count)
        running.seconds += spent
        for name, values in logs.items():
            running.logs.setdefault(name, []).extend(values)
        running.done += count
        if running.done == phase.num_steps:
            self.steps.average_statistics()
            running.number, running.done = running.number + 1, 0
        share = running.steps_done / running.total
        part = self._settings.part_of_epoch(epoch)
        callbacks.on_train_batch_end(
            self._steps_done + running.steps_done,
            {'progress': epoch + part * share, 'seconds': running.seconds},
        )
        self._pause()

    def _rates(self, phase: Phase, epoch: int) -> np.ndarray:
        """Returns the learning rate of each step of a phase."""
        before = epoch * self._settings.steps_per_epoch
        nominal = self._settings.steps_in(epoch)
        steps = np.arange(phase.num_steps) * nominal / phase.num_steps
        return phase.rate * self._settings.schedule(before + steps)

    def seconds_per_epoch(self, steps: int = 10) -> float:
        """Returns how many seconds the steps of an average epoch take.

        Trains for a few steps, which the caller must undo (see
        `ieg.training.checkpoint.Rewind`).

        Args:
            steps: maximum number of timed steps per phase.
        """
        seconds = 0.0
        for number, phase in enumerate(self._phases(0) or ()):
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
        """Returns how many steps to run in one call.

        Results do not depend on it, so on one worker it depends on the speed.
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
        """Returns the splits to evaluate on after an epoch."""
        last = epoch + 1 == self._settings.epochs or not trained
        if last or (epoch + 1) % self._settings.eval_every == 0:
            return self._settings.eval_splits
        return ('valid',) if self.method.needs_validation else ()

    def _selection_quality(self, epoch: int) -> dict[str, float | None]:
        """Compares the selection of the method with the clean labels."""
        clean, given = self._data.train.clean_labels, self._data.train.labels
        if clean is None and epoch:
            return {}
        # In the first epoch also for its own sake: a mistake in them should
        # not wait for the end of the run.
        notes = checks.checked_notes(self.method)
        selection = checks.checked_selection(self.method)
        if clean is None:
            return {}
        quality = metrics.notes_quality(clean, given, notes)
        if selection is not None:
            quality |= metrics.selection_quality(clean == given, *selection)
        return quality

    def _report(
        self, epoch: int, callbacks: keras.callbacks.CallbackList
    ) -> None:
        """Passes remarks and figures of an epoch to the callbacks."""
        entry = self.log.entries[-1]
        for callback in self._callbacks:
            if isinstance(callback, Callback):
                for remark in entry.get('remarks', ()):
                    callback.remark(epoch, remark)
        kinds = int | float
        numbers = {n: v for n, v in entry.items() if isinstance(v, kinds)}
        callbacks.on_epoch_end(epoch, numbers)

    # Passes over a split.

    def _check(self) -> None:
        """Stops within a pass, unless other workers would wait for this one."""
        if self._interrupt.number and not devices.has_workers(self._strategy):
            self._pause()

    def score(
        self,
        step: str,
        *args: Any,
        split: str = 'train',
        ids: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a per-example step of the method over a split.

        See `StepRunner.score`.
        """
        return self.steps.score(
            step,
            *args,
            split=split,
            batch_size=self._settings.eval_batch_size,
            ids=ids,
            check=self._check,
        )

    def evaluate(self, split: str = 'test') -> dict[str, float]:
        """Returns accuracy and loss on a split; names start with the split.

        With several networks, the accuracy of their sum and of each.

        Args:
            split: 'test', 'valid', 'probe' or 'train'; the result is empty
                for a split that the data does not have.
        """
        examples = self._data.split(split)
        if examples is None:
            return {}
        self._logits.pop(split, None)
        return metrics.evaluation(split, examples.labels, self.logits(split))

    def logits(self, split: str) -> np.ndarray:
        """Returns the logits of each network for a split `[n, networks, C]`.

        Those of the last evaluation, if nothing was trained since.
        """
        if split not in self._logits:
            scored = self.score('logits_step', split=split)
            self._logits[split] = scored['logits']
        return self._logits[split]

    def evaluate_checkpoint(self, step: int = 0) -> dict[str, Any]:
        """Restores a checkpoint and evaluates it on the test sets.

        Raises:
            UsageError: no checkpoint exists.
        """
        facts = self._checkpoints.restore(step, ignore=NOT_EVALUATED)
        if facts is None:
            raise UsageError(
                'There is no checkpoint to evaluate: train first with the '
                'same flags and --mode=train.'
            )
        figures = {'epoch': facts['epoch'] - 1, 'step': facts['steps']}
        for split in ('test', *self._data.further):
            figures |= self.evaluate(split)
        return figures
