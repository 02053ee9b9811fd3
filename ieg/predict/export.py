"""Exports trained networks as files."""

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from ieg.data.dataset import Data
from ieg.data.images.files import Framing
from ieg.methods.base import Method
from ieg.options import RunConfig
from ieg.predict.model import FILE, Classifier, load
from ieg.utils.files import atomic_path, remove


def kinds(run: RunConfig) -> tuple[str, ...]:
    """Returns the formats of `--export`, in addition to `model.keras`."""
    return tuple(kind for kind in run.export.split(',') if kind)


def write(
    method: Method, data: Data, folder: str, kinds: Sequence[str] = ()
) -> list[str]:
    """Writes `model.keras`, and `savedmodel/` or `model.tflite` for `kinds`.

    A format that cannot be written does not end the run. An older file of that
    name is removed, because it would have other weights.

    Args:
        method: the trained method.
        data: the data it was trained on.
        folder: the run folder.
        kinds: any of 'savedmodel' and 'litert'.

    Returns:
        A sentence for each file that could not be written.
    """
    path = os.path.join(folder, FILE)
    remarks = attempt(path, lambda: save_model(method, data, path))
    for kind in kinds:
        name, save = KINDS[kind]
        target = os.path.join(folder, name)
        remarks += (
            [f'{target} is not written without {path}.']
            if remarks and not os.path.exists(path)
            else attempt(
                target, functools.partial(_convert, save, path, target)
            )
        )
    return remarks


def _convert(
    save: Callable[[Classifier, str], None], source: str, target: str
) -> None:
    save(load(source), target)


def attempt(path: str, save: Callable[[], object]) -> list[str]:
    """Calls `save`; if it fails, removes `path` and returns a sentence.

    Args:
        path: path of the file or folder that `save` writes.
        save: called without arguments.
    """
    try:
        save()
    # Converters raise many kinds of errors for the networks of a plugin.
    except Exception as error:
        remove(path)
        text = str(error).strip().splitlines() or [type(error).__name__]
        return [
            f'{path} cannot be written ({text[0][:300].rstrip(".")}). Run the '
            'same command again to retry from the last checkpoint.'
        ]
    return []


def save_model(
    method: Method, data: Data, path: str, framing: Framing | None = None
) -> None:
    """Writes the networks used for evaluation, with preprocessing.

    See `ieg.predict.model.Classifier` for the inputs and outputs of the model.
    `ieg.predict.model.load` reads it, and so does `keras.saving.load_model`
    once `ieg.predict.model` is imported.

    Args:
        method: the trained method, on any number of replicas.
        data: the data it was trained on.
        path: path of the file; must end in '.keras'.
        framing: how files become images; None for that of the data.

    Raises:
        OSError: the file cannot be written.
    """
    preprocessing = data.preprocessing
    model = Classifier(
        method.evaluated_networks,
        image_shape=data.image_shape,
        mean=preprocessing.mean,
        std=preprocessing.std,
        class_names=data.class_names,
        dataset=str(data.spec),
        framing=framing or preprocessing.framing,
    )
    with atomic_path(path, '.keras') as temporary, _quiet():
        model.save(temporary)


def save_savedmodel(model: Classifier, folder: str) -> None:
    """Writes a TensorFlow SavedModel, which needs neither ieg nor Keras.

    `tf.saved_model.load(folder).serve(images)` gives the probabilities.

    Args:
        model: see `ieg.predict.model.load`.
        folder: path of the folder; replaced if it exists.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_path(folder) as temporary, _quiet():
        model.export(
            temporary,
            format='tf_saved_model',
            verbose=False,
            input_signature=_signature(model),
        )
        # Renaming cannot replace a folder that is not empty.
        remove(os.path.realpath(folder))


def save_litert(model: Classifier, path: str) -> None:
    """Writes a LiteRT (TensorFlow Lite) model of built-in operations.

    It computes in float32: LiteRT has no bfloat16.

    Args:
        model: see `ieg.predict.model.load`.
        path: path of the file; must end in '.tflite'.

    Raises:
        OSError: the file cannot be written.
        Exception: the converter does not support the networks.
    """
    model = model.in_full_precision()
    with atomic_path(path, '.tflite') as temporary, _quiet():
        model.export(
            temporary,
            format='litert',
            verbose=False,
            input_signature=_signature(model),
            target_spec={'supported_ops': [tf.lite.OpsSet.TFLITE_BUILTINS]},
        )


# --export -> name in the run folder, and function.
KINDS: dict[str, tuple[str, Callable[[Classifier, str], None]]] = {
    'savedmodel': ('savedmodel', save_savedmodel),
    'litert': ('model.tflite', save_litert),
}


def _signature(model: Classifier) -> list[keras.InputSpec]:
    shape = (None, *model.image_shape)
    return [keras.InputSpec(shape=shape, dtype='uint8', name='images')]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses a warning of NumPy that Keras causes."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            'ignore', '__array__ impl', category=DeprecationWarning
        )
        yield
