"""Keras models of others as backbones: files, and presets of Hugging Face."""

import hashlib
import os
import zipfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.errors import UsageError
from ieg.utils.files import open_regular
from ieg.utils.text import counted, unreadable

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
    path = os.path.expanduser(name)
    try:
        with open_regular(path) as file:
            digest = hashlib.sha256(file.read()).hexdigest()
            is_zip = zipfile.is_zipfile(file)
    except OSError as error:
        raise unreadable('file', path, error) from error
    if not is_zip:
        raise UsageError(
            f'{path} is not a Keras file, or it is damaged: save the model '
            f'with model.save("{os.path.basename(path)}").'
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    # Damaged files, other versions and layers raise many kinds of errors.
    except Exception as error:
        raise UsageError(_why_not_loaded(path, error)) from error
    return as_backbone(model, path), digest


def _why_not_loaded(path: str, error: Exception) -> str:
    if 'Lambda' in str(error):
        return (
            f'{path} has Python code (a Lambda layer), which is not run: '
            'replace it by layers of Keras, such as keras.layers.Rescaling.'
        )
    return (
        f'the backbone {path} cannot be loaded ({_reason(error)}): use the '
        'Keras that it was saved with, and give the module of its layers with '
        '--plugin.'
    )


def _reason(error: Exception) -> str:
    """Returns what is wrong without the configuration that Keras shows."""
    text = str(error).rpartition('Exception encountered: ')[2].strip()
    first = text.partition('\n')[0].partition('. ')[0]
    return first[:200].rstrip('.') or type(error).__name__


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
    import keras_hub

    try:
        model = keras_hub.models.Backbone.from_preset(name)
        converter = keras_hub.layers.ImageConverter.from_preset(name)
    # Downloads and presets of other kinds raise many kinds of errors.
    except Exception as error:
        raise UsageError(
            f'the backbone {name} cannot be loaded ({_reason(error)}): connect '
            'to the internet, and give a preset of keras-hub for images.'
        ) from error
    side = (converter.image_size or (_HUB_SIDE,))[0]
    scale, offset = converter.scale, converter.offset
    network = as_backbone(
        model,
        name,
        side,
        keras.layers.Rescaling(
            1.0 if scale is None else scale,
            0.0 if offset is None else offset,
            dtype='float32',
        ),
    )
    text = f'{weights_hash(network)} {scale} {offset}'
    return network, hashlib.sha256(text.encode()).hexdigest()


def weights_hash(network: keras.Model) -> str:
    """Returns the SHA-256 of the weights of a network, in its order."""
    digest = hashlib.sha256()
    for variable in network.weights:
        value = variable.numpy()
        digest.update(f'{value.dtype} {value.shape} '.encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


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
