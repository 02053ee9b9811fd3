"""One checkpoint per epoch: variables, host state, history, and what it is of.

`tf.train.Checkpoint(model=...)` silently skips networks held in a list and
every Keras seed generator, so the variables are listed one by one.
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ieg.errors import UsageError
from ieg.methods.base import Method
from ieg.options import DataConfig, TrainConfig
from ieg.registry import introduced

MOST_TELLING = ('method', 'dataset', 'network_name')
# What TensorFlow and NumPy raise for files that are cut or altered.
DAMAGED = (tf.errors.OpError, ValueError, LookupError, zipfile.BadZipFile)
STATE_KEY = 'state/.ATTRIBUTES/py_state'


class _State(tf.train.experimental.PythonState):
    """Facts (JSON) and arrays that travel inside a checkpoint."""

    def __init__(self):
        super().__init__()
        self.facts: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def serialize(self) -> bytes:
        """Returns everything as the bytes of one npz file."""
        buffer = io.BytesIO()
        facts = np.frombuffer(json.dumps(self.facts).encode(), np.uint8)
        arrays = {f'array/{name}': a for name, a in self.arrays.items()}
        np.savez(buffer, facts=facts, **arrays)
        return buffer.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Takes everything from the bytes of one npz file."""
        with np.load(io.BytesIO(string_value)) as content:
            self.facts = json.loads(content['facts'].tobytes())
            self.arrays = {
                name.partition('/')[2]: content[name]
                for name in content.files
                if name != 'facts'
            }


class Checkpoints:
    """Saves and restores a method at the end of epochs.

    Args:
        method: with its networks and optimizers built.
        folder: where checkpoints are.
        identity: what a checkpoint is of, a flat JSON-able dictionary. A
            checkpoint of another identity is refused; an option that a
            checkpoint does not know counts as its value at introduction.
        keep: how many to keep.
        chief: whether this process writes to `folder`; others, which must
            save too where saving communicates, write to a temporary folder.
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
        optimizers = [v for o in method.optimizers for v in o.variables]
        tracked = [v.value for v in [*method.variables, *optimizers]]
        checkpoint = tf.train.Checkpoint(variables=tracked, state=self._state)
        self._checkpoint = checkpoint
        self._elsewhere = None if chief else tempfile.TemporaryDirectory()
        target = folder if chief else self._elsewhere.name
        self._manager = tf.train.CheckpointManager(
            checkpoint, target, max_to_keep=keep
        )

    def save(self, step: int, facts: dict[str, Any]) -> None:
        """Saves under the number `step`; `facts` must be JSON-able."""
        self._state.facts = facts | {'identity': self._identity}
        self._state.arrays = dict(self._method.host_state)
        self._manager.save(checkpoint_number=step)

    def restore(
        self, step: int = 0, ignore: Sequence[str] = ()
    ) -> dict[str, Any] | None:
        """Restores a checkpoint into the method.

        Args:
            step: its number; 0 = the latest.
            ignore: parts of the identity that may differ.

        Returns:
            The facts that were saved, or None where there is no checkpoint.

        Raises:
            UsageError: there is none of this number, or it is of another
                configuration, or it cannot be read.
        """
        path = self._path(step)
        if path is None:
            return None
        try:
            reader = tf.train.load_checkpoint(path)
            self._state.deserialize(reader.get_tensor(STATE_KEY))
            # Restoring must not stop half way.
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except DAMAGED as error:
            raise UsageError(
                f'The checkpoint {path} cannot be read; delete it, or '
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
        known = sorted(
            int(name[len('ckpt-') : -len('.index')])
            for name in (
                os.listdir(self._folder) if os.path.isdir(self._folder) else []
            )
            if name.startswith('ckpt-') and name.endswith('.index')
        )
        there = ', '.join(map(str, known)) or 'none'
        raise UsageError(
            f'There is no checkpoint of step {step} in {self._folder}; there: '
            f'{there}. Give one of them as --restore_step.'
        )

    def _check_identity(
        self, path: str, found: dict[str, Any], ignore: Sequence[str]
    ) -> None:
        old = {n: self._introduced.get(n) for n in self._identity} | found
        # What says most comes first.
        names = dict.fromkeys([*MOST_TELLING, *old])
        differences = [
            f'{name} is {old.get(name)!r} there and '
            f'{self._identity.get(name)!r} here'
            for name in names
            if name not in ignore and old.get(name) != self._identity.get(name)
        ]
        if differences:
            raise UsageError(
                f'The checkpoint {path} is of another configuration: '
                f'{"; ".join(differences[:3])}. Use another --checkpoint_path '
                'or --seed, or the old values.'
            )


class Rewind:
    """Remembers a method as it was built.

    Training again from there is bit for bit what a freshly built method with
    the same seed would do, but its compiled functions stay.

    Args:
        method: before its first step.
    """

    def __init__(self, method: Method):
        self._method = method
        optimizers = [v for o in method.optimizers for v in o.variables]
        self._variables = [*method.variables, *optimizers]
        self._values = [v.numpy() for v in self._variables]
        self._host_state = _copy(method.host_state)

    def apply(self) -> None:
        """Brings everything that the method remembers back."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)
        self._method.host_state.clear()
        self._method.host_state.update(_copy(self._host_state))
        self._method.take_reports()
        self._method.stop_training = False


def _copy(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in state.items()}
