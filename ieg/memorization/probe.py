"""One step on random labels, and the images for it; see `tracking`."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ieg.data.dataset import Data
from ieg.data.images.files import FileImages, Framing
from ieg.data.images.survey import EXTENSIONS, survey
from ieg.errors import UsageError
from ieg.methods.base import Method
from ieg.ops.losses import cross_entropy
from ieg.utils.files import walk
from ieg.utils.randomness import generator
from ieg.utils.text import unreadable

# Never the run's: every run must be measured by the same images and labels.
SEED = 0
BATCH = 128
POOL = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Held-out images in the order in which they are used.

    Attributes:
        fetch: (ids int64 [b], None) -> uint8 [b, H, W, channels].
        ids: int64 [n].
        source: where they are from, in a few words.
    """

    fetch: Callable[[Any, Any], tf.Tensor]
    ids: np.ndarray
    source: str

    def images(self, epoch: int) -> tf.Tensor:
        """Returns the next images of the order, at its end from its start."""
        count = min(BATCH, len(self.ids))
        places = np.arange(epoch * count, (epoch + 1) * count)
        return self.fetch(self.ids[places % len(self.ids)], None)

    def sha256(self) -> str:
        """Returns what the images are known by: the first batch."""
        images = np.ascontiguousarray(self.images(0))
        digest = hashlib.sha256(repr((len(self.ids), images.shape)).encode())
        digest.update(images.tobytes())
        return digest.hexdigest()


def held_out(data: Data, folder: str = '') -> Pool:
    """Returns images whose labels nobody looks at.

    Args:
        data: of the run; its test images are taken.
        folder: of other images, at any depth; '' for none.

    Raises:
        UsageError: there is no image in the folder that can be used, or there
            is neither a folder nor a test image.
    """
    if folder:
        return _from_folder(data, os.path.expanduser(folder))
    if data.test is None:
        raise UsageError(
            '--track_memorization measures with test images and there are '
            'none; give a folder of other images by --unlabeled_dir.'
        )
    order = generator(SEED, 'held out').permutation(len(data.test))[:POOL]
    return Pool(data.test.fetch, order, 'test images')


def _from_folder(data: Data, folder: str) -> Pool:
    height, width, channels = data.image_shape
    if height != width or channels not in (1, 3):
        raise UsageError(
            '--unlabeled_dir needs a data set of square images, grey or of '
            f'three channels; those of {data.spec.base} are {height} x {width} '
            f'x {channels}.'
        )
    try:
        found = sorted(
            path
            for inner in walk(folder, seen=set())
            for path in inner.files
            if path.lower().endswith(EXTENSIONS)
        )
    except OSError as error:
        reason = unreadable('folder', error.filename or folder, error)
        raise UsageError(f'--unlabeled_dir: {reason}') from None
    order = generator(SEED, 'held out').permutation(len(found))
    paths, odd = [], []
    # Of a large folder only as many are opened as are used.
    for start in range(0, len(order), POOL):
        block = [found[i] for i in order[start : start + POOL]]
        facts = survey(block)
        readable = np.flatnonzero(facts.readable)
        paths += [os.fsencode(block[i]) for i in readable]
        odd += facts.odd[readable].tolist()
        if len(paths) >= POOL:
            break
    if not paths:
        raise UsageError(
            f'--unlabeled_dir={folder} holds no image that can be read.'
        )
    # As the run sees its own images: files are cropped, arrays are not.
    whole = {'fraction': 1.0} if data.in_memory else {}
    framing = Framing(height, channels, **whole)
    images = FileImages(paths[:POOL], np.array(odd[:POOL]), framing)
    return Pool(images.fetch, np.arange(len(images)), folder)


def random_labels(epoch: int, count: int, num_classes: int) -> np.ndarray:
    """Returns labels of an epoch, int32 `[count]`, uniform over all classes."""
    rng = generator(SEED, 'random labels', epoch)
    return rng.integers(num_classes, size=count, dtype=np.int32)


class Probe:
    """One step of one network on one batch, undone at once.

    Both losses are of training mode: BatchNorm takes the statistics of the
    batch. The step is w - rate * gradient (the paper's), or one of the
    training's optimizer with its momentum and weight decay (its code's).

    Args:
        method: owns the network.
        number: of the network.
        strategy: where steps run. Every replica gets the whole batch, so that
            all of them make the step that one alone would.
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
        # `variables`, not `weights`: also the seeds of dropout. And every
        # replica's own copy.
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
            images: as the network sees them `[b, H, W, channels]`.
            labels: int32 `[b]`.
            rate: of the method's optimizer.
        """
        dtype = self._method.optimizers[self._number].learning_rate.dtype
        before, after = self._run(
            images, tf.constant(labels), tf.constant(rate, dtype)
        ).numpy()
        return float(before), float(after)

    def _probe(
        self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
    ) -> tf.Tensor:
        # In one graph, where TensorFlow keeps reads and writes of a variable
        # in this order; nothing can come between a step and its undoing.
        values = [variable.read_value() for variable in self._kept]
        found = self._strategy.run(self._step, args=(images, labels, rate))
        found = self._strategy.reduce('MEAN', found, axis=None)
        for variable, value in zip(self._kept, values, strict=True):
            variable.assign(value)
        return found

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
