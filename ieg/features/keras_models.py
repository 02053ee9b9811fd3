"""Keras models of others as backbones: files, and presets of Hugging Face."""

import hashlib
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.errors import UsageError
from ieg.networks import foreign
from ieg.utils.text import counted

# Of a preset that does not say it, in pixels.
_HUB_SIDE = 224
# Images of a larger side would take gigabytes each.
_MOST_SIDE = 2048


def from_file(name: str) -> tuple[keras.Model, str]:
    """Loads a Keras model, without running code of the file.

    Args:
        name: path of the file.

    Returns:
        network: RGB images of 0 to 255, [b, side, side, 3] -> float32 features
            [b, width].
        sha256: of the file.

    Raises:
        UsageError: the file cannot be used as a backbone.
    """
    model, digest = foreign.load_file(name, 'backbone')
    return as_backbone(model, os.path.expanduser(name)), digest


def from_hub(name: str) -> tuple[keras.Model, str]:
    """Loads a preset of keras-hub.

    Args:
        name: hf://ORG/REPO, or the folder of a preset.

    Returns:
        network: see `from_file`.
        sha256: of its weights and its preprocessing.

    Raises:
        UsageError: it cannot be found, or cannot be used as a backbone.
    """
    model, converter = foreign.load_preset(name, 'backbone')
    side = (converter.image_size or (_HUB_SIDE,))[0]
    network = as_backbone(
        model,
        name,
        side,
        foreign.preprocessing(converter),
    )
    text = (
        f'{foreign.weights_hash(network)} {converter.scale} {converter.offset}'
    )
    return network, hashlib.sha256(text.encode()).hexdigest()


def as_backbone(
    model: keras.Model,
    source: str,
    side: int | None = None,
    preprocessing: keras.layers.Layer | None = None,
) -> keras.Model:
    """Returns a model as a network from images to vectors.

    Args:
        model: any Keras model.
        source: where it comes from, for messages.
        side: of its images where the model leaves it open, in pixels.
        preprocessing: a layer before the model.

    Raises:
        UsageError: the model does not take RGB images of a known side,
            channels last, or does not return features.
    """
    side = _side(model, source, side)
    images = keras.Input((side, side, 3), name='images')
    x = images if preprocessing is None else preprocessing(images)
    # One input, perhaps within a list or a dictionary; a keras.Sequential that
    # was not called yet has no such structure.
    structure = getattr(model, 'input', x)
    try:
        x = model(keras.tree.pack_sequence_as(structure, [x]), training=False)
        (x,) = keras.tree.flatten(x)
    except Exception as error:
        raise _refused(
            source, f'does not take images of {side}x{side} pixels'
        ) from error
    if len(x.shape) in (3, 4):
        axes = tuple(range(1, len(x.shape) - 1))
        x = keras.ops.mean(x, axis=axes)
    if len(x.shape) != 2 or x.shape[1] is None:
        raise _refused(
            source, f'returns {_shown(x.shape)} instead of vectors or maps'
        )
    if x.dtype != 'float32':
        x = keras.ops.cast(x, 'float32')
    network = keras.Model(images, x, name='backbone')
    network.trainable = False
    _check_features(network, source, side)
    return network


def _refused(source: str, why: str) -> UsageError:
    return UsageError(
        f'{source} cannot be a backbone because it {why}: give a model from '
        'RGB images of 0 to 255 [b, side, side, 3] to features [b, width].'
    )


def _shown(shape: Any) -> str:
    """Returns a shape as the messages show it."""
    return f'[{", ".join("?" if n is None else str(n) for n in shape)}]'


def _side(model: keras.Model, source: str, side: int | None) -> int:
    """Returns the side of the images that a model takes.

    Raises:
        UsageError: it takes something else.
    """
    inputs, outputs = (
        getattr(model, part, None) for part in ('inputs', 'outputs')
    )
    if not inputs or not outputs:
        raise _refused(source, 'does not say what it takes and returns')
    if len(inputs) > 1 or len(outputs) > 1:
        raise _refused(
            source,
            f'has {counted(len(inputs), "input")} and '
            f'{counted(len(outputs), "output")}',
        )
    shape = tuple(inputs[0].shape)
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3, None):
        raise _refused(source, f'takes channels first, {_shown(shape)}')
    if len(shape) != 4 or shape[3] != 3:
        raise _refused(source, f'takes {_shown(shape)}')
    height, width = (side if n is None else n for n in shape[1:3])
    if height is None or width is None:
        raise UsageError(
            f'{source} leaves open of which side its images are: save it '
            'with one, keras.Sequential([keras.Input((224, 224, 3)), model]).'
            f'save("{os.path.basename(source)}").'
        )
    if height != width:
        raise _refused(source, f'takes {_shown(shape)}, which is not square')
    if height > _MOST_SIDE:
        raise _refused(
            source,
            f'takes {_shown(shape)}, which is larger than {_MOST_SIDE} pixels',
        )
    return height


def _check_features(network: keras.Model, source: str, side: int) -> None:
    """Raises UsageError if the outputs are not features, by an example."""
    images = np.random.default_rng(0).integers(
        0, 256, (4, side, side, 3), np.uint8
    )
    features = network(tf.constant(images, tf.float32), training=False).numpy()
    if not np.isfinite(features).all():
        raise _refused(source, 'returns values that are not finite')
    sums = features.sum(axis=1)
    if features.min() >= 0 and np.allclose(sums, 1.0, atol=1e-2):
        raise UsageError(
            f'{source} returns probabilities: give the model without its '
            'last layer, keras.Model(model.inputs[0], '
            'model.layers[-2].output).save("backbone.keras").'
        )
