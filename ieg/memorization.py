"""Tracks memorization: how easily networks learn random labels.

Forouzesh, Sedghi, Thiran, "Leveraging Unlabeled Data to Track Memorization",
ICLR 2023, section 3. Before each epoch, a network makes one step on a batch of
held-out images with random labels, which is then undone. The drop is the
decrease of their cross-entropy, and the susceptibility is the mean drop over
the epochs so far. A network that resists noise has a low susceptibility.

The tracker also measures how well the network fits the given labels, and how
many predictions changed (Yuan et al., "Early Stopping Against Label Noise
Without Validation Data", ICLR 2024).
"""

import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ieg.data.augment.views import normalise
from ieg.data.dataset import Data, Split
from ieg.data.images.files import FileImages, Framing, inspect
from ieg.data.images.survey import EXTENSIONS
from ieg.errors import UsageError
from ieg.methods.base import Method
from ieg.ops import tracing
from ieg.ops.losses import cross_entropy
from ieg.options import RunConfig
from ieg.run_folder import DROP, damaged, read_object
from ieg.training.callbacks import Callback
from ieg.training.trainer import Trainer
from ieg.utils.files import atomic_write, walk
from ieg.utils.randomness import generator
from ieg.utils.text import unreadable

# Not the seed of the run: all runs are measured with the same images and
# labels.
SEED = 0
BATCH = 128
POOL = 1000
# With more training examples than this, the fit is measured on a sample.
ALL_EXAMPLES = 5000
# Images per batch of predictions.
ROWS = 256
# Epochs after the recommended one until a run is marked or stopped.
PATIENCE = 5
# Window of the moving average of changed predictions, in epochs.
SMOOTHED = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Held-out images in the order in which they are used.

    Attributes:
        fetch: (ids int64 [b], None) -> uint8 [b, H, W, channels].
        ids: int64 [n].
        source: 'test images', or the folder.
    """

    fetch: Callable[[Any, Any], tf.Tensor]
    ids: np.ndarray
    source: str

    def images(self, epoch: int) -> tf.Tensor:
        """Returns the images of an epoch; the order wraps around."""
        count = min(BATCH, len(self.ids))
        places = np.arange(epoch * count, (epoch + 1) * count)
        return self.fetch(self.ids[places % len(self.ids)], None)

    def sha256(self) -> str:
        """Returns a digest of the first batch, which identifies the images."""
        images = np.ascontiguousarray(self.images(0))
        digest = hashlib.sha256(repr((len(self.ids), images.shape)).encode())
        digest.update(images.tobytes())
        return digest.hexdigest()


def held_out(data: Data, folder: str = '') -> Pool:
    """Returns images to measure with; their labels are not used.

    Args:
        data: data of the run; its test images are used without a folder.
        folder: folder of other images, at any depth; '' for none.

    Raises:
        UsageError: the folder has no image that can be read, or there is
            neither a folder nor a test image.
    """
    if folder:
        return _from_folder(data, os.path.expanduser(folder))
    if data.test is None:
        raise UsageError(
            '--track_memorization needs test images, and this data set has '
            'none: give a folder of other images with --unlabeled_dir.'
        )
    order = generator(SEED, 'held out').permutation(len(data.test))[:POOL]
    return Pool(data.test.fetch, order, 'test images')


def _from_folder(data: Data, folder: str) -> Pool:
    if data.is_vectors:
        raise UsageError(
            f'--unlabeled_dir={folder} has images, but the examples are '
            'vectors: leave it out to measure with the test examples.'
        )
    height, width, channels = data.image_shape
    if height != width or channels not in (1, 3):
        raise UsageError(
            '--unlabeled_dir needs a data set of square images with 1 or 3 '
            f'channels, but those of {data.spec.base} are {height} x {width} '
            f'x {channels}.'
        )
    try:
        candidates = sorted(
            path
            for inner in walk(folder, seen=set())
            for path in inner.files
            if path.lower().endswith(EXTENSIONS)
        )
    except OSError as error:
        reason = unreadable('folder', error.filename or folder, error)
        raise UsageError(f'--unlabeled_dir: {reason}') from None
    order = generator(SEED, 'held out').permutation(len(candidates))
    paths: list[bytes] = []
    odd: list[bool] = []
    # Opens no more files of a large folder than it uses.
    for start in range(0, len(order), POOL):
        block = [candidates[i] for i in order[start : start + POOL]]
        facts = inspect(block)
        readable = np.flatnonzero(facts.readable)
        paths += [os.fsencode(block[i]) for i in readable]
        odd += facts.odd[readable].tolist()
        if len(paths) >= POOL:
            break
    if not paths:
        raise UsageError(
            f'--unlabeled_dir={folder} has no image that can be read.'
        )
    # As the run treats its own images: files are cropped, arrays are not.
    framing = Framing(height, channels)
    if data.in_memory:
        framing = dataclasses.replace(framing, fraction=1.0)
    images = FileImages(paths[:POOL], np.array(odd[:POOL]), framing)
    return Pool(images.fetch, np.arange(len(images)), folder)


def random_labels(epoch: int, count: int, num_classes: int) -> np.ndarray:
    """Returns uniformly random labels of an epoch, int32 `[count]`."""
    rng = generator(SEED, 'random labels', epoch)
    return rng.integers(num_classes, size=count, dtype=np.int32)


class Probe:
    """One step of one network on one batch, undone immediately.

    Both losses are computed in training mode: BatchNorm uses the statistics of
    the batch. The step is w - rate * gradient (as in the paper), or one of the
    method's optimizer with its momentum and weight decay (as in the released
    code).

    Args:
        method: owns the network.
        number: number of the network.
        strategy: where steps run. Every replica gets the whole batch, so that
            each makes the same step as a single replica would.
        sgd_rate: fixed rate of plain SGD; None for the method's optimizer.
    """

    def __init__(
        self,
        method: Method,
        number: int,
        strategy: tf.distribute.Strategy,
        sgd_rate: float | None,
    ):
        self._method = method
        self._number = number
        self._strategy = strategy
        self._sgd_rate = sgd_rate
        net, optimizer = method.nets[number], method.optimizers[number]
        # `variables` includes the seeds of dropout, unlike `weights`. Each
        # replica has its own copy.
        self._kept = [
            copy
            for variable in [*net.variables, *optimizer.variables]
            for copy in strategy.experimental_local_results(variable.value)
        ]
        self._run = tf.function(self._probe, autograph=False)

    def __call__(
        self, images: tf.Tensor, labels: np.ndarray, rate: float
    ) -> tuple[float, float]:
        """Returns the cross-entropy before and after the step.

        Args:
            images: preprocessed, float32 `[b, H, W, channels]`.
            labels: int32 `[b]`.
            rate: learning rate of the method's optimizer.
        """
        dtype = self._method.optimizers[self._number].learning_rate.dtype
        before, after = self._run(
            images, tf.constant(labels), tf.constant(rate, dtype)
        ).numpy()
        return float(before), float(after)

    def _probe(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tf.Tensor:
        # In one graph, TensorFlow keeps reads and writes of a variable in this
        # order, so nothing can come between the step and undoing it.
        values = [variable.read_value() for variable in self._kept]
        losses = self._strategy.run(self._step, args=(images, labels, rate))
        losses = self._strategy.reduce('MEAN', losses, axis=None)
        for variable, value in zip(self._kept, values, strict=True):
            variable.assign(value)
        return losses

    def _step(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            before = self._loss(images, labels)
        if self._sgd_rate is None:
            optimizer = self._method.optimizers[self._number]
            optimizer.learning_rate.assign(rate)
            self._method.minimize(tape, before, self._number)
        else:
            variables = self._method.nets[self._number].trainable_variables
            gradients = tape.gradient(before, variables)
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.assign(variable - self._sgd_rate * gradient)
        return tf.stack([before, self._loss(images, labels)])

    def _loss(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = self._method.nets[self._number](images, training=True)
        return tf.reduce_mean(cross_entropy(labels, logits))


def some_examples(count: int) -> np.ndarray:
    """Returns the sorted ids of the examples that measure the fit, int64 `[n]`.

    Args:
        count: number of training examples.
    """
    if count <= ALL_EXAMPLES:
        return np.arange(count)
    size = max(500, count // 100)
    rng = generator(SEED, 'fit')
    return np.sort(rng.choice(count, size, replace=False))


def _raw(split: Split, ids: np.ndarray) -> np.ndarray | tf.Tensor:
    """Returns examples as they are.

    `fetch` would hold a second copy of all that are in memory.
    """
    if split.vectors is not None:
        return split.vectors.rows(ids)
    return split.fetch(ids, None) if split.images is None else split.images[ids]


class MemorizationTracker(Callback):
    """Adds measures of memorization to the log entry of each epoch.

    Training is bit for bit the same with it. The means are computed from the
    entries of the log, so a resumed run continues them.

    Args:
        trainer: of the run.
        data: data of the run; clean labels are used for two figures only.
        strategy: where steps run.
        run: options of the tracker.
        path: path of `memorization.json`; None writes no file.

    Raises:
        UsageError: the options do not fit the data.
    """

    def __init__(
        self,
        trainer: Trainer,
        data: Data,
        strategy: tf.distribute.Strategy,
        run: RunConfig,
        path: str | None = None,
    ):
        super().__init__()
        self._trainer = trainer
        self._data = data
        self._mode = run.stop_on_memorization
        self._path = path
        self._pool = held_out(data, run.unlabeled_dir)
        self._examples = some_examples(len(data.train))
        rate = run.memorization_rate if run.memorization_step == 'sgd' else None
        self._probes = [
            Probe(trainer.method, number, strategy, rate)
            for number in range(len(trainer.method.nets))
        ]
        self._fingerprint = {
            'step': run.memorization_step,
            'rate': rate,
            'batch': min(BATCH, len(self._pool.ids)),
            'images_sha256': self._pool.sha256(),
            'seed': SEED,
            'source': self._pool.source,
        }
        self._strategy = strategy
        shape = (None, *data.image_shape)
        self._classes = tracing.expected(
            tf.function(
                self._replica_classes,
                input_signature=[tf.TensorSpec(shape, tf.float32)],
                autograph=False,
            )
        )
        self._predictions: np.ndarray | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Continues from the end of the log.

        Raises:
            UsageError: its entries were measured with another probe.
        """
        entries = self._trainer.log.entries
        if not entries:
            return
        self._check_probe(entries)
        self._predictions = self._predict()
        # The run had been stopped.
        if self._mode == 'stop' and _is_over(entries):
            self.model.stop_training = True

    def _check_probe(self, entries: Sequence[Mapping[str, Any]]) -> None:
        tracked = [e for e in entries if 'susceptibility' in e]
        if len(tracked) < len(entries):
            self.model.remark(
                f'{len(entries) - len(tracked)} epochs were trained without '
                '--track_memorization; the susceptibility leaves them out'
            )
        if not tracked or not self._path or not os.path.exists(self._path):
            return
        known = read_object(self._path).get('probe')
        if not isinstance(known, dict):
            raise damaged(self._path, 'it has no probe')
        wrong = [n for n, v in self._fingerprint.items() if known.get(n) != v]
        if wrong:
            raise UsageError(
                f'The run was tracked with another probe, says {self._path} '
                f'({", ".join(wrong)} differ): resume with the old options, or '
                'name another run with --run_name.'
            )

    def on_epoch_begin(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Runs the probes, unless the epoch has no training steps."""
        started = time.monotonic()
        rates = (logs or {}).get('learning_rates')
        # As the optimizer has it.
        rate = float(np.float32(rates[0])) if rates else 0.0
        drops = self._probe(epoch, rate) if rates else {}
        self.measured = {
            'drops': drops,
            'seconds': time.monotonic() - started,
            # A run that resumes in the epoch can no longer predict these.
            'predictions': self._predictions,
        }

    def _probe(self, epoch: int, rate: float) -> dict[str, float]:
        raw = self._pool.images(epoch)
        images = self._plain(raw)
        labels = random_labels(epoch, len(raw), self._data.num_classes)
        pairs = [probe(images, labels, rate) for probe in self._probes]
        before, after = np.mean(pairs, axis=0)
        drops = [one - other for one, other in pairs]
        figures = {
            DROP: float(np.mean(drops)),
            'phi_before': float(before),
            'phi_after': float(after),
        }
        if len(drops) > 1:
            for number, drop in enumerate(drops):
                figures[f'{DROP}_network{number}'] = drop
        return figures

    def figures(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the measures of an epoch, for its log entry."""
        started = time.monotonic()
        entries = self._trainer.log.entries
        measured: dict[str, float] = self.measured['drops']
        figures: dict[str, Any] = dict(measured)
        for name in measured:
            if name.startswith(DROP):
                drops = [e.get(name) for e in [*entries, figures]]
                figures[name.replace('_drop', '')] = susceptibility(drops)
        if not measured and entries:
            # The network has not changed.
            figures |= _means(entries[-1])
        figures |= self._fit()
        self._advise([*entries, {**entry, **figures}])
        seconds = self.measured['seconds'] + time.monotonic() - started
        return figures | {'tracker_seconds': seconds}

    def _plain(self, images: tf.Tensor) -> tf.Tensor:
        return normalise(images, self._data.preprocessing)

    def _predict(self) -> np.ndarray:
        """Returns predicted classes of the examples that measure the fit."""
        train, batches = self._data.train, []
        for start in range(0, len(self._examples), ROWS):
            ids = self._examples[start : start + ROWS]
            images = self._plain(tf.convert_to_tensor(_raw(train, ids)))
            batches.append(self._classes(images).numpy())
        return np.concatenate(batches)

    def _replica_classes(self, images: tf.Tensor) -> tf.Tensor:
        # All replicas compute the same; distributing the images over them would
        # take longer.
        classes = self._strategy.run(
            lambda rows: tf.argmax(self._trainer.method.call(rows), -1),
            args=(images,),
        )
        return self._strategy.experimental_local_results(classes)[0]

    def _fit(self) -> dict[str, float]:
        """Returns the fit of the given labels, and the share that changed."""
        before, predictions = self.measured['predictions'], self._predict()
        self._predictions = predictions
        given = self._data.train.labels[self._examples]
        learnt = predictions == given
        figures = {'fit_accuracy': float(np.mean(learnt))}
        clean = self._data.train.clean_labels
        if clean is not None:
            right = clean[self._examples] == given
            for name, chosen in (('fit_right', right), ('fit_wrong', ~right)):
                if chosen.any():
                    figures[name] = float(np.mean(learnt[chosen]))
        if before is not None:
            changed = before != predictions
            figures['prediction_changes'] = float(np.mean(changed))
        return figures

    def _advise(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Writes the recommended epoch, and marks or stops the run."""
        advice = recommend(entries)
        if self._path:
            facts = {'probe': self._fingerprint} | advice
            atomic_write(self._path, json.dumps(facts, indent=1) + '\n')
        if self._mode == 'off' or not _is_over(entries):
            return
        if self._mode == 'stop':
            self.model.stop_training = True
        elif _is_over(entries[:-1]):
            return  # Already reported.
        self.model.remark(
            'memorization seems to begin after epoch '
            f'{advice["recommended_epoch"] + 1}; if its checkpoint is kept, '
            f'restore it with --restore_step={advice["recommended_step"]}'
        )


def susceptibility(drops: Sequence[float | None]) -> float:
    """Returns the mean of the drops of all epochs so far (the paper's zeta).

    The notebook of the paper's code leaves the first epoch out and divides by
    one epoch too many. The result does not depend on the order of summation,
    so a resumed run gets the same value. Drops that are not finite (None in a
    log) are left out.
    """
    finite = [d for d in drops if d is not None and math.isfinite(d)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def _means(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in entry.items()
        if name.startswith('susceptibility') and not name.startswith(DROP)
    }


def _is_over(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether the recommended epoch is `PATIENCE` epochs ago."""
    best = recommend(entries)['recommended_epoch'] if entries else None
    return best is not None and entries[-1]['epoch'] - best >= PATIENCE


def recommend(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Recommends an epoch whose networks to use, without any clean label.

    A heuristic from two signals, not the rule of a paper. It waits for both:
    the last epoch in which the fit of the given labels rose while the drop was
    at most its running mean, and the first minimum of the smoothed share of
    changed predictions (the rule of Label Wave). Until there is such a
    minimum, the last epoch is recommended. The first signal is often missing:
    from the initial weights on, drops mostly grow.

    Args:
        entries: entries of the log; those without the tracker's figures are
            ignored.

    Returns:
        `recommended_epoch` (counted from 0) and `recommended_step`, its
        number of steps; `quiet_epoch` and `label_wave_epoch`, the two
        signals, or None; `reason`, a sentence.
    """
    entries = [e for e in entries if 'fit_accuracy' in e]
    if not entries:
        nothing = dict.fromkeys(('recommended_epoch', 'recommended_step'))
        return nothing | {'reason': 'No epoch was tracked.'}
    quiet, wave = _last_quiet(entries), _first_minimum(entries)
    if wave is None:
        chosen, reason = entries[-1], 'the predictions are still settling'
    elif quiet is not None and quiet['epoch'] > wave['epoch']:
        chosen = quiet
        reason = 'later the fit rises only with drops above their mean'
    else:
        chosen, reason = wave, 'later more predictions change again'
    return {
        'recommended_epoch': chosen['epoch'],
        'recommended_step': chosen['step'],
        'quiet_epoch': quiet and quiet['epoch'],
        'label_wave_epoch': wave and wave['epoch'],
        'reason': f'A heuristic: {reason}.',
    }


def _last_quiet(
    entries: Sequence[Mapping[str, Any]],
) -> Mapping[str, Any] | None:
    """Returns the last epoch whose fit rose while its drop was small."""
    quiet = None
    for before, entry in zip(entries, entries[1:], strict=False):
        drop, mean = (entry.get(name) for name in (DROP, 'susceptibility'))
        if drop is None or mean is None:
            continue
        if entry['fit_accuracy'] > before['fit_accuracy'] and drop <= mean:
            quiet = entry
    return quiet


def _first_minimum(
    entries: Sequence[Mapping[str, Any]],
) -> Mapping[str, Any] | None:
    """Returns the epoch after which more predictions change again."""
    entries = [e for e in entries if 'prediction_changes' in e]
    changes = [e['prediction_changes'] for e in entries]
    if len(changes) < SMOOTHED + 2:
        return None
    smooth = np.convolve(changes, np.ones(SMOOTHED) / SMOOTHED, 'valid')
    lowest = (smooth[1:-1] < smooth[:-2]) & (smooth[1:-1] < smooth[2:])
    if not lowest.any():
        return None
    return entries[int(lowest.argmax()) + 1 + SMOOTHED // 2]
