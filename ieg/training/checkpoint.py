"""One checkpoint per epoch: variables, host state, history and options.

`tf.train.Checkpoint(model=...)` silently skips networks held in a list and
every Keras seed generator, so the variables are listed one by one.
"""

import copy
import io
import json
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.config import check_identity
from ieg.errors import UsageError
from ieg.methods.base import Method
from ieg.options import DataConfig, TrainConfig
from ieg.registry import introduced

# Exceptions of TensorFlow and NumPy for truncated or altered files.
DAMAGED = (tf.errors.OpError, ValueError, LookupError, zipfile.BadZipFile)
STATE_KEY = 'state/.ATTRIBUTES/py_state'


class _State(tf.train.experimental.PythonState):
    """Facts (JSON) and arrays that are stored in a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def serialize(self) -> bytes:
        """Returns the bytes of an npz file."""
        buffer = io.BytesIO()
        facts = np.frombuffer(json.dumps(self.facts).encode(), np.uint8)
        arrays: dict[str, Any] = {
            f'array/{name}': array for name, array in self.arrays.items()
        }
        np.savez(buffer, facts=facts, **arrays)
        return buffer.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Restores facts and arrays from the bytes of an npz file."""
        with np.load(io.BytesIO(string_value)) as content:
            self.facts = json.loads(content['facts'].tobytes())
            self.arrays = {
                name.partition('/')[2]: content[name]
                for name in content.files
                if name != 'facts'
            }


def _variables(method: Method) -> list[keras.Variable]:
    """Returns the variables of a method and of its optimizers."""
    optimizers = [v for o in method.optimizers for v in o.variables]
    return [*method.variables, *optimizers]


class Checkpoints:
    """Saves and restores a method at the end of epochs.

    Args:
        method: with its networks and optimizers built.
        folder: folder of the checkpoints.
        identity: options of the run, a flat dictionary that JSON can hold. A
            checkpoint with other options is refused; an option that is newer
            than a checkpoint counts as its value at introduction.
        keep: number of checkpoints to keep.
        chief: whether this process writes to `folder`; others write to a
            temporary folder, because saving may need all processes.
    """

    def __init__(
        self,
        method: Method,
        folder: str,
        identity: dict[str, Any],
        keep: int = 3,
        chief: bool = True,
    ):
        self._method = method
        self._folder = folder
        self._identity = json.loads(json.dumps(identity))
        self._introduced = introduced(DataConfig, TrainConfig, method.Config)
        self._state = _State()
        tracked = [v.value for v in _variables(method)]
        checkpoint = tf.train.Checkpoint(variables=tracked, state=self._state)
        self._checkpoint = checkpoint
        target = folder
        if not chief:
            self._elsewhere = tempfile.TemporaryDirectory()
            target = self._elsewhere.name
        self._manager = tf.train.CheckpointManager(
            checkpoint, target, max_to_keep=keep
        )

    def save(self, step: int, facts: dict[str, Any]) -> None:
        """Saves checkpoint number `step` with `facts`, which JSON can hold."""
        self._state.facts = facts | {'identity': self._identity}
        self._state.arrays = dict(self._method.host_state)
        self._manager.save(checkpoint_number=step)

    def restore(
        self, step: int = 0, ignore: Sequence[str] = ()
    ) -> dict[str, Any] | None:
        """Restores a checkpoint into the method.

        Args:
            step: number of the checkpoint; 0 = the latest.
            ignore: options that may differ.

        Returns:
            The saved facts, or None without a checkpoint.

        Raises:
            UsageError: no checkpoint has this number, or it was saved with
                other options, or it cannot be read.
        """
        path = self._path(step)
        if path is None:
            return None
        try:
            reader = tf.train.load_checkpoint(path)
            self._state.deserialize(reader.get_tensor(STATE_KEY))
            # Restoring must not fail halfway.
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except DAMAGED as error:
            raise UsageError(
                f'The checkpoint {path} cannot be read: delete it, or '
                'choose an earlier one with --restore_step.'
            ) from error
        self._check_identity(path, self._state.facts['identity'], ignore)
        self._checkpoint.restore(path).assert_consumed()
        facts = dict(self._state.facts)
        facts.pop('identity', None)
        self._method.host_state.clear()
        self._method.host_state.update(self._state.arrays)
        return facts

    def _path(self, step: int) -> str | None:
        if not step:
            return tf.train.latest_checkpoint(self._folder)
        path = os.path.join(self._folder, f'ckpt-{step}')
        if os.path.exists(f'{path}.index'):
            return path
        indices = pathlib.Path(self._folder).glob('ckpt-*.index')
        known = sorted(int(i.stem.removeprefix('ckpt-')) for i in indices)
        steps = ', '.join(map(str, known)) or 'none'
        raise UsageError(
            f'--restore_step={step}: {self._folder} has no such checkpoint '
            f'(available: {steps}).'
        )

    def _check_identity(
        self, path: str, saved: dict[str, Any], ignore: Sequence[str]
    ) -> None:
        check_identity(
            path,
            saved,
            self._identity,
            self._introduced,
            ignore,
        )


class Rewind:
    """Resets a method to its initial state.

    Training again from there is bit for bit what a newly built method with the
    same seed would do, but keeps the compiled functions.

    Args:
        method: before its first step.
    """

    def __init__(self, method: Method):
        self._method = method
        self._variables = _variables(method)
        self._values = [v.numpy() for v in self._variables]
        self._host_state = copy.deepcopy(dict(method.host_state))

    def apply(self) -> None:
        """Restores the variables and the host state of the method."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)
        self._method.host_state.clear()
        self._method.host_state.update(copy.deepcopy(self._host_state))
        self._method.take_reports()
        self._method.stop_training = False
