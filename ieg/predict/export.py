"""Writes trained networks in forms that others can use."""

import contextlib
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
    """Returns the forms that are asked for beside `model.keras`."""
    return tuple(kind for kind in run.export.split(',') if kind)


def write(
    method: Method, data: Data, folder: str, kinds: Sequence[str] = ()
) -> list[str]:
    """Writes `model.keras`, and with `kinds` `savedmodel/`, `model.tflite`.

    What cannot be written costs the run nothing else: that is said, and an
    older file of the name is removed, as it would be of other weights.

    Args:
        method: trained.
        data: what it was trained on.
        folder: of the run.
        kinds: of 'savedmodel' and 'litert'.

    Returns:
        Sentences about what could not be written.
    """
    path = os.path.join(folder, FILE)
    remarks = attempt(path, lambda: save_model(method, data, path))
    for kind in kinds:
        name, save = KINDS[kind]
        target = os.path.join(folder, name)
        remarks += (
            [f'{target} is not written without {path}.']
            if remarks and not os.path.exists(path)
            else attempt(target, lambda s=save, t=target: s(load(path), t))
        )
    return remarks


def attempt(path: str, save: Callable[[], None]) -> list[str]:
    """Saves something; returns a sentence if that is impossible."""
    try:
        save()
    # Networks of a plug-in may do anything, and converters say so in many
    # kinds of errors.
    except Exception as error:
        remove(path)
        text = str(error).strip().splitlines() or [type(error).__name__]
        return [
            f'{path} cannot be written ({text[0][:300].rstrip(".")}); the '
            'same command tries again from the last checkpoint.'
        ]
    return []


def save_model(
    method: Method, data: Data, path: str, framing: Framing | None = None
) -> None:
    """Writes the networks used for evaluation, with preprocessing.

    See `serving.classifier.Classifier` for what the model takes and gives.
    `serving.classifier.load` reads it, and so does `keras.saving.load_model`
    when `ieg.predict.export` is imported.

    Args:
        method: trained, on any number of replicas.
        data: what it was trained on.
        path: of the file; ends in '.keras'.
        framing: how files become images; None is as for the data.

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
        model: of `serving.classifier.load`.
        folder: is replaced if it is there.

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
        # A folder with content cannot be replaced by renaming another.
        remove(os.path.realpath(folder))


def save_litert(model: Classifier, path: str) -> None:
    """Writes a LiteRT (TensorFlow Lite) model of built-in operations.

    It computes in float32: LiteRT has no bfloat16.

    Args:
        model: of `serving.classifier.load`.
        path: ends in '.tflite'.

    Raises:
        OSError: the file cannot be written.
        Exception: of the converter, if the networks do what LiteRT cannot.
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


KINDS = {
    'savedmodel': ('savedmodel', save_savedmodel),
    'litert': ('model.tflite', save_litert),
}


def _signature(model: Classifier) -> list[keras.InputSpec]:
    shape = (None, *model.image_shape)
    return [keras.InputSpec(shape=shape, dtype='uint8', name='images')]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what Keras makes NumPy and TensorFlow warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            'ignore', '__array__ impl', category=DeprecationWarning
        )
        yield
