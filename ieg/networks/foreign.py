"""Networks of others: a file, a preset of Hugging Face, a function.

`usable` finds what a method needs of a Keras model, logits from a last layer
that can be seen, or says in one sentence what is missing.
"""

import contextlib
import hashlib
import importlib
import os
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from ieg.errors import UsageError
from ieg.networks import layers
from ieg.utils import cli, sources
from ieg.utils.files import open_regular
from ieg.utils.text import counted, unreadable

# (number of classes, shape of examples) -> a network.
Builder = Callable[[int, tuple[int, ...]], keras.Model]
# Functions of this process by the names that runs record.
_given: dict[str, Builder] = {}


@contextlib.contextmanager
def given(build: Builder) -> Iterator[str]:
    """Yields a name for a function, which stands for it until the end."""
    kind = build if hasattr(build, '__qualname__') else type(build)
    name = f'{kind.__module__}:{kind.__qualname__}'
    _given[name] = build
    try:
        yield name
    finally:
        del _given[name]


def build(
    name: str, num_classes: int, shape: tuple[int, ...], number: int = 0
) -> keras.Model:
    """Returns a network that is not registered.

    A function is called for each network of a method. The networks of a file or
    preset all start from its weights, but only the first one keeps those of the
    last layer: the others draw them, so that networks that teach each other
    differ.

    Args:
        name: see `ieg.utils.sources`.
        num_classes: C.
        shape: of the examples.
        number: of the network in the method.

    Raises:
        UsageError: it cannot be loaded, or cannot be used.
    """
    if sources.is_function(name):
        build = function(name)
        try:
            model = build(num_classes, shape)
        # A function of a user raises anything.
        except Exception as error:
            raise UsageError(
                f'the network {name} cannot be built ({_reason(error)}): it '
                'is called with the number of classes and the shape of an '
                'example, and returns a keras.Model.'
            ) from error
        return usable(model, num_classes, shape, name)
    if sources.is_hub(name):
        model = _of_preset(name, num_classes, shape)
    else:
        model, _ = load_file(name, 'network')
    network = usable(model, num_classes, shape, name)
    if number:
        _draw_last(network)
    return network


def function(name: str) -> Builder:
    """Returns the function with a name, which is imported like a plugin.

    Raises:
        UsageError: it does not exist.
    """
    if name in _given:
        return _given[name]
    module, _, function = name.partition(':')
    cli.import_plugin(module)
    found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        raise UsageError(
            f'--network_name={name}: the module {module} has no function '
            f'{function}.'
        )
    return found


def load_file(name: str, what: str) -> tuple[keras.Model, str]:
    """Loads a Keras model, without running code of the file.

    Args:
        name: path of the file.
        what: the model is to be, for messages.

    Returns:
        The model, and the SHA-256 of the file.

    Raises:
        UsageError: the file cannot be loaded.
    """
    path = os.path.expanduser(name)
    digest = file_hash(path)
    if not zipfile.is_zipfile(path):
        raise UsageError(
            f'{path} is not a Keras file, or it is damaged: save the model '
            f'with model.save("{os.path.basename(path)}").'
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    # Damaged files, other versions and layers raise many kinds of errors.
    except Exception as error:
        raise UsageError(_why_not_loaded(path, what, error)) from error
    return model, digest


def file_hash(name: str) -> str:
    """Returns the SHA-256 of a file.

    Raises:
        UsageError: it cannot be read.
    """
    path = os.path.expanduser(name)
    try:
        with open_regular(path) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise unreadable('file', path, error) from error


def _why_not_loaded(path: str, what: str, error: Exception) -> str:
    if 'Lambda' in str(error):
        return (
            f'{path} has Python code (a Lambda layer), which is not run: '
            'replace it by layers of Keras, such as keras.layers.Rescaling.'
        )
    return (
        f'the {what} {path} cannot be loaded ({_reason(error)}): use the '
        'Keras that it was saved with, and give the module of its layers with '
        '--plugin.'
    )


def _reason(error: Exception) -> str:
    """Returns what is wrong without the configuration that Keras shows."""
    text = str(error).rpartition('Exception encountered: ')[2].strip()
    first = text.partition('\n')[0].partition('. ')[0]
    return first[:200].rstrip('.') or type(error).__name__


def load_preset(name: str, what: str) -> tuple[keras.Model, Any]:
    """Loads a preset of keras-hub.

    Args:
        name: hf://ORG/REPO, or the folder of a preset.
        what: it is to be, for messages.

    Returns:
        The model, and its image converter.

    Raises:
        UsageError: it cannot be found, or is not one for images.
    """
    import keras_hub

    try:
        model = keras_hub.models.Backbone.from_preset(name)
        converter = keras_hub.layers.ImageConverter.from_preset(name)
    # Downloads and presets of other kinds raise many kinds of errors.
    except Exception as error:
        raise UsageError(
            f'the {what} {name} cannot be loaded ({_reason(error)}): connect '
            'to the internet, and give a preset of keras-hub for images.'
        ) from error
    return model, converter


def preprocessing(converter: Any, white: float = 255.0) -> keras.layers.Layer:
    """Returns the layer that scales images as a preset was trained on them.

    Args:
        converter: see `load_preset`.
        white: largest value of the images.
    """
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    factor = (np.asarray(scale) * 255.0 / white).tolist()
    return keras.layers.Rescaling(factor, offset, dtype='float32')


def _of_preset(
    name: str, num_classes: int, shape: tuple[int, ...]
) -> keras.Model:
    """Returns the network of a preset with a new last layer."""
    model, converter = load_preset(name, 'network')
    images = keras.Input(shape)
    try:
        x = model(preprocessing(converter, white=1.0)(images))
    # Each kind of network refuses images in its own way.
    except Exception as error:
        raise _refused(name, f'does not take {_shown(shape)}') from error
    if len(x.shape) > 2:
        x = keras.ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


def usable(
    model: Any, num_classes: int, shape: tuple[int, ...], source: str
) -> keras.Model:
    """Returns a copy of a model that methods can train.

    A softmax at its end is left out.

    Args:
        model: what a user gave.
        num_classes: C.
        shape: of the examples, (H, W, channels) or (d,).
        source: where the model comes from, for messages.

    Returns:
        network: float examples [b, *shape] -> float32 logits [b, C], with the
        weights of the model.

    Raises:
        UsageError: the model has other inputs or outputs, or cannot be copied.
    """
    if not isinstance(model, keras.Model):
        raise _refused(
            source, f'is a {type(model).__name__}, not a keras.Model'
        )
    if isinstance(model, keras.Sequential) and not model.built:
        try:
            model.build((None, *shape))
        # Each layer refuses shapes in its own way.
        except Exception as error:
            raise _refused(source, f'does not take {_shown(shape)}') from error
    _check_ends(model, num_classes, shape, source)
    network = _copy(_without_softmax(model, source), shape, source)
    if not network.trainable_variables:
        raise _refused(source, 'has no weights that can be trained')
    _check_logits(network, shape, source)
    return network


def _check_ends(
    model: keras.Model, num_classes: int, shape: tuple[int, ...], source: str
) -> None:
    """Raises UsageError if a model has not one input and output that fit."""
    inputs, outputs = (
        getattr(model, part, None) for part in ('inputs', 'outputs')
    )
    if not inputs or not outputs:
        raise _refused(
            source,
            'is a subclassed model, whose layers cannot be seen; wrap it, '
            'keras.Model(inputs, model(inputs)), or use the functional API',
        )
    if len(inputs) > 1 or len(outputs) > 1:
        raise _refused(
            source,
            f'has {counted(len(inputs), "input")} and '
            f'{counted(len(outputs), "output")}',
        )
    batch, *taken = inputs[0].shape
    if batch is not None:
        raise _refused(source, f'has batches of {batch}, not of any size')
    sizes = zip(taken, shape, strict=False)
    if len(taken) != len(shape) or any(n not in (None, m) for n, m in sizes):
        hint = ' (--image_size sets that of your own images)'
        raise _refused(
            source,
            f'takes {_shown(taken)}, but the examples are {_shown(shape)}'
            + hint * (len(taken) == len(shape) == 3),
        )
    returned = tuple(outputs[0].shape)
    if returned != (None, num_classes):
        raise _refused(
            source,
            f'returns {_shown(returned[1:])}, but there are {num_classes} '
            'classes',
        )


# Of the last layer; what they return is neither logits nor a softmax.
_BOUNDED = ('sigmoid', 'tanh', 'relu', 'relu6', 'softplus', 'hard_sigmoid')


def _without_softmax(model: keras.Model, source: str) -> keras.Model:
    """Returns a functional model that ends before a softmax of its own.

    That of a dense layer is still there.

    Raises:
        UsageError: it ends with another activation.
    """
    output = model.outputs[0]
    while True:
        operation, node, _ = output._keras_history
        name = _activation(operation)
        if name in _BOUNDED:
            raise _refused(source, f'ends with {name}')
        if name != 'softmax' or isinstance(operation, keras.layers.Dense):
            return keras.Model(model.inputs[0], output, name=model.name)
        output = operation._inbound_nodes[node].input_tensors[0]


def _activation(operation: Any) -> str:
    """Returns the name of the activation that an operation is or ends with."""
    activation = getattr(operation, 'activation', None)
    return getattr(activation, '__name__', type(operation).__name__.lower())


def _copy(
    model: keras.Model, shape: tuple[int, ...], source: str
) -> keras.Model:
    """Returns a functional copy for examples of a shape, with the weights.

    Args:
        model: a functional model. A dense layer at its end gets full precision
            and no softmax.
        shape: of the examples.
        source: of the model, for messages.

    Raises:
        UsageError: a layer cannot be copied.
    """
    copies: dict[int, tuple[Any, Any]] = {}
    full = keras.config.floatx()
    last = model.outputs[0]._keras_history.operation

    def copy(operation: Any) -> Any:
        if id(operation) not in copies:
            config = operation.get_config()
            if operation is last and isinstance(operation, keras.layers.Dense):
                config['dtype'] = full
                if _activation(operation) == 'softmax':
                    config['activation'] = None
            new = type(operation).from_config(config)
            copies[id(operation)] = operation, new
        return copies[id(operation)][1]

    structure = keras.tree.map_structure(
        lambda tensor: keras.Input(shape), model.input
    )
    try:
        network = keras.models.clone_model(
            model, input_tensors=structure, clone_function=copy
        )
        for old, new in copies.values():
            if isinstance(old, keras.Layer):
                new.set_weights(old.get_weights())
        # As `model.keras` will be read.
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(network)
        )
    # Layers of users raise anything.
    except Exception as error:
        raise UsageError(
            f'the network {source} cannot be copied ({_reason(error)}): its '
            'own layers need get_config and '
            '@keras.saving.register_keras_serializable().'
        ) from error
    if network.outputs[0].dtype != full:
        logits = keras.ops.cast(network.outputs[0], full)
        return keras.Model(network.inputs[0], logits, name=model.name)
    return network


def _check_logits(
    network: keras.Model, shape: tuple[int, ...], source: str
) -> None:
    """Raises UsageError if the outputs are probabilities, by an example."""
    examples = np.random.default_rng(0).normal(size=(4, *shape))
    said = np.asarray(network(examples.astype(np.float32), training=False))
    if said.min() >= 0 and np.allclose(said.sum(axis=1), 1.0, atol=1e-2):
        raise _refused(source, 'returns probabilities')


def _draw_last(network: keras.Model) -> None:
    """Draws the matrix of the last layer with weights that can be trained."""
    last = [
        layer
        for layer in layers.nested(network)
        if layer.trainable_variables and not hasattr(layer, 'layers')
    ][-1]
    for variable in last.trainable_variables:
        if len(variable.shape) > 1:
            draw = keras.initializers.GlorotUniform()
            variable.assign(draw(variable.shape, variable.dtype))


def _refused(source: str, why: str) -> UsageError:
    return UsageError(
        f'the network {source} cannot be used because it {why}: give a '
        'keras.Model from float examples to logits [b, classes].'
    )


def _shown(shape: Any) -> str:
    """Returns the shape of examples in a batch as messages show it."""
    return (
        f'[{", ".join(["b", *("?" if n is None else str(n) for n in shape)])}]'
    )


def weights_hash(network: keras.Model) -> str:
    """Returns the SHA-256 of the weights of a network, in its order."""
    digest = hashlib.sha256()
    for variable in network.weights:
        value = variable.numpy()
        digest.update(f'{value.dtype} {value.shape} '.encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def model_hash(network: keras.Model) -> str:
    """Returns a SHA-256 of the layers and weights of a network.

    The names of layers do not count: Keras numbers those of a process.
    """
    text = network.to_json()
    for number, layer in enumerate([network, *layers.nested(network)]):
        text = text.replace(f'"{layer.name}"', f'"#{number}"')
    text += weights_hash(network)
    return hashlib.sha256(text.encode()).hexdigest()
