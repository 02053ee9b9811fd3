"""What surrounds a fit of the scikit-learn estimator."""

import contextlib
import io
import os
import random
import re
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ieg.errors import RunError, UsageError


@contextlib.contextmanager
def as_in_scikit_learn() -> Iterator[None]:
    """Raises what scikit-learn expects, which knows parameters, not flags."""
    try:
        yield
    except UsageError as error:
        raise ValueError(_without_dashes(error)) from error
    except RunError as error:
        raise RuntimeError(_without_dashes(error)) from error


def _without_dashes(error: Exception) -> str:
    return re.sub(r'(?<![\w-])--(?=[a-z])', '', str(error))


@contextlib.contextmanager
def own_numerics() -> Iterator[None]:
    """Leaves the seeds and the precision of the caller as they were."""
    import keras

    state, numbers = random.getstate(), np.random.get_state()
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numbers)
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def silence(wanted: bool) -> Iterator[None]:
    """Keeps back what is printed, if that is wanted."""
    if not wanted:
        yield
        return
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def to_bytes(model: Any) -> bytes:
    """Returns a Keras model as the content of its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'model.keras')
        with warnings.catch_warnings():
            # Keras makes NumPy warn.
            warnings.filterwarnings(
                'ignore', '__array__ impl', category=DeprecationWarning
            )
            model.save(path)
        with open(path, 'rb') as file:
            return file.read()


def from_bytes(content: bytes) -> Any:
    """Returns the exported model that `to_bytes` was given."""
    from ieg.serving import classifier

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'model.keras')
        with open(path, 'wb') as file:
            file.write(content)
        return classifier.load(path)
