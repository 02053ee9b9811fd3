"""A training step on random labels that is undone, and images for it."""

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

# Not the seed of the run: all runs are measured with the same images and
# labels.
SEED = 0
BATCH = 128
POOL = 1000


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
        facts = survey(block)
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
