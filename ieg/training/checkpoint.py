"""Checkpoints: variables, host state, history and options of a run.

A checkpoint is one zip archive of arrays, `ckpt-STEP.npz`, whose checksums show
damage of any byte. TensorFlow's own functions take paths for patterns and
trust a file that names the latest checkpoint, so they only read what version
0.1.0 wrote, see `_read_tensorflow`.
"""

import copy
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.config import check_identity
from ieg.errors import UsageError
from ieg.methods import checks
from ieg.methods.base import Method
from ieg.options import DataConfig, TrainConfig
from ieg.registry import introduced
from ieg.utils.files import atomic_open, clear_leftovers, remove

CONTENT = 'content.json'
# Stands for an array in the JSON of a file.
ARRAY = 'array of this file'
# The only one in the middle of an epoch.
UNFINISHED = 'unfinished.npz'
# A checkpoint; of 0.1.0 it is the index to some parts with data.
NAME = re.compile(r'ckpt-(\d+)\.(npz|index)')
FILE = re.compile(r'ckpt-(\d+)\.(npz|index|data-\d+-of-\d+)')
# What 0.1.0 left when it was killed while it wrote.
LEFTOVER = re.compile(r'ckpt-\d+_temp|checkpoint\.tmp.*')


class Unreadable(Exception):
    """A file is damaged or cannot be read; the message says why."""


# The files.


def write(path: str, content: Mapping[str, Any]) -> None:
    """Writes a dictionary of anything that JSON can hold, and of arrays.

    Raises:
        OSError: the file cannot be written.
        TypeError: JSON cannot hold a value.
        ValueError: an array has Python objects.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_name_arrays(content, '', arrays))
    with atomic_open(path, 'wb') as file, zipfile.ZipFile(file, 'w') as archive:
        archive.writestr(CONTENT, text)
        for name, array in arrays.items():
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _name_arrays(tree: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Returns a tree with the names of its arrays, which `arrays` gets."""
    if isinstance(tree, Mapping):
        return {
            key: _name_arrays(value, f'{path}{key}/', arrays)
            for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [
            _name_arrays(value, f'{path}{place}/', arrays)
            for place, value in enumerate(tree)
        ]
    if isinstance(tree, (np.ndarray, np.generic)):
        name, array = path.rstrip('/'), np.asarray(tree)
        if array.dtype.kind != 'V' or array.dtype.names:
            arrays[name] = array
            return {ARRAY: name}
        # NumPy's files do not have the type (bfloat16), but its bits.
        arrays[name] = array.view(f'u{array.dtype.itemsize}')
        return {ARRAY: name, 'type': array.dtype.name}
    return tree


def read(path: str) -> dict[str, Any]:
    """Returns the dictionary in a file.

    Raises:
        Unreadable: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:

            def array(found: dict[str, Any]) -> Any:
                if ARRAY not in found:
                    return found
                # As a whole, so that its checksum is verified first.
                member = io.BytesIO(archive.read(f'{found[ARRAY]}.npy'))
                values = np.lib.format.read_array(member, allow_pickle=False)
                return values.view(found.get('type', values.dtype))

            return json.loads(archive.read(CONTENT), object_hook=array)
    # Damage makes zipfile, JSON and NumPy raise a dozen different ones.
    except Exception as error:
        raise Unreadable(str(error) or type(error).__name__) from error


def _read(path: str) -> dict[str, Any]:
    """Returns the content of a checkpoint.

    Raises:
        Unreadable: it is damaged, or something else.
    """
    if path.endswith('.index'):
        content = _read_tensorflow(path)
    else:
        content = read(path)
    needed = {'identity', 'host_state', 'variables', 'steps', 'entries'}
    if not needed <= set(content):
        raise Unreadable('it is not a checkpoint')
    return content


def _read_tensorflow(path: str) -> dict[str, Any]:
    """Returns the content of a checkpoint of version 0.1.0.

    Args:
        path: of its index.

    Raises:
        Unreadable: it is damaged.
    """
    folder, index = os.path.split(os.path.abspath(path))
    stem = index.removesuffix('.index')
    with tempfile.TemporaryDirectory() as place:
        # A path without the characters that TensorFlow takes for a pattern.
        for name in _files(folder, int(stem.removeprefix('ckpt-'))):
            os.symlink(os.path.join(folder, name), os.path.join(place, name))
        try:
            reader = tf.train.load_checkpoint(os.path.join(place, stem))
            names = {
                int(name.split('/')[1]): name
                for name in reader.get_variable_to_shape_map()
                if name.startswith('variables/')
            }
            state = reader.get_tensor('state/.ATTRIBUTES/py_state')
            with np.load(io.BytesIO(state)) as arrays:
                facts = json.loads(arrays['facts'].tobytes())
                host_state = {
                    name.partition('/')[2]: arrays[name]
                    for name in arrays.files
                    if name != 'facts'
                }
            variables = [
                np.asarray(reader.get_tensor(names[n])) for n in sorted(names)
            ]
        except (
            tf.errors.OpError,
            ValueError,
            LookupError,
            zipfile.BadZipFile,
        ) as error:
            raise Unreadable(str(error).splitlines()[0]) from error
    return facts | {'host_state': host_state, 'variables': variables}


def _files(folder: str, step: int) -> list[str]:
    """Returns the names of all files of a checkpoint."""
    matches = map(FILE.fullmatch, os.listdir(folder))
    return [m.string for m in matches if m and int(m[1]) == step]


# Of a method.


def _variables(method: Method) -> list[keras.Variable]:
    """Returns the variables of a method and of its optimizers."""
    optimizers = [v for o in method.optimizers for v in o.variables]
    return [*method.variables, *optimizers]


class Checkpoints:
    """Saves and restores a method.

    Args:
        method: with its networks and optimizers built.
        folder: folder of the checkpoints.
        identity: options of the run, a flat dictionary that JSON can hold. A
            checkpoint with other options is refused; an option that is newer
            than a checkpoint counts as its value at introduction.
        keep: number of checkpoints to keep.
        chief: whether this process writes.

    Attributes:
        remarks: a sentence for each damaged checkpoint that was passed over.
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
        self._variables = _variables(method)
        checks.check_state(method, self._variables)
        self._keep = keep
        self._chief = chief
        self.remarks: list[str] = []

    def save(self, step: int, facts: Mapping[str, Any]) -> None:
        """Saves checkpoint number `step` with `facts`.

        It counts when it is on the disk; then older ones are deleted. Those
        with larger numbers are of a course that --restore_step gave up.

        Args:
            step: number of the checkpoint.
            facts: what JSON can hold, and arrays.
        """
        if not self._chief:
            return
        self._write(f'ckpt-{step}.npz', facts)
        remove(os.path.join(self._folder, UNFINISHED))
        self._delete_others(step)

    def save_unfinished(self, facts: Mapping[str, Any]) -> None:
        """Saves the middle of an epoch, see `save`.

        It counts until a checkpoint with a number above `facts['steps']`.
        """
        if self._chief:
            self._write(UNFINISHED, facts)
            self._delete_others(facts['steps'])

    def _delete_others(self, step: int) -> None:
        """Deletes all checkpoints but the last ones up to a number."""
        steps = list(self._paths())
        kept = [number for number in steps if number <= step][-self._keep :]
        for number in set(steps) - set(kept):
            for name in _files(self._folder, number):
                remove(os.path.join(self._folder, name))
        if all(path.endswith('.npz') for path in self._paths().values()):
            # The list of version 0.1.0.
            remove(os.path.join(self._folder, 'checkpoint'))

    def _write(self, name: str, facts: Mapping[str, Any]) -> None:
        checks.check_state(self._method, self._variables)
        os.makedirs(self._folder, exist_ok=True)
        content = {
            **facts,
            'identity': self._identity,
            'host_state': dict(self._method.host_state),
            'variables': [v.numpy() for v in self._variables],
        }
        write(os.path.join(self._folder, name), content)

    def clear_leftovers(self) -> None:
        """Removes what was left by runs that were killed while they wrote."""
        if self._chief:
            clear_leftovers(os.path.dirname(self._folder))
            clear_leftovers(self._folder, LEFTOVER)

    def restore(
        self,
        step: int = 0,
        ignore: Sequence[str] = (),
        unfinished: bool = False,
    ) -> dict[str, Any] | None:
        """Restores a checkpoint into the method.

        Args:
            step: number of the checkpoint; 0 = the latest that can be read.
            ignore: options that may differ.
            unfinished: whether the middle of an epoch counts.

        Returns:
            The saved facts, or None without a checkpoint.

        Raises:
            UsageError: no checkpoint has this number, or it was saved with
                other options, or none can be read.
        """
        paths = self._paths()
        if step and step not in paths:
            raise UsageError(
                f'--restore_step={step} must be one of the checkpoints in '
                f'{self._folder}: {", ".join(map(str, paths)) or "none"}.'
            )
        chosen = {step: paths[step]} if step else paths
        damaged: dict[str, str] = {}
        for path, content in self._readable(chosen, unfinished, damaged):
            saved, asked = content['identity'], self._identity
            run = os.path.dirname(self._folder)
            check_identity(run, saved, asked, self._introduced, ignore)
            self._assign(path, content)
            self.remarks += [
                f'{other} is damaged ({why}); {path} is used instead.'
                for other, why in damaged.items()
            ]
            return content
        if damaged:
            raise self._none(damaged, paths if step else {})
        return None

    def _readable(
        self,
        paths: Mapping[int, str],
        unfinished: bool,
        damaged: dict[str, str],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields paths and contents of readable checkpoints, latest first.

        Args:
            paths: paths of checkpoints by their numbers.
            unfinished: whether the middle of an epoch is one, too.
            damaged: gets the paths of the others, with the reasons.
        """
        # With the number of steps before, and whether there may be more.
        order = [(step, False, path) for step, path in paths.items()]
        contents: dict[str, dict[str, Any]] = {}
        middle = os.path.join(self._folder, UNFINISHED)
        if unfinished and os.path.lexists(middle):
            try:
                contents[middle] = _read(middle)
                order.append((contents[middle]['steps'], True, middle))
            except Unreadable as error:
                damaged[middle] = str(error)
        for *_, path in sorted(order, reverse=True):
            try:
                yield path, contents.get(path) or _read(path)
            except Unreadable as error:
                damaged[path] = str(error)

    def _paths(self) -> dict[int, str]:
        """Returns the paths of all checkpoints by their numbers, in order."""
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
        matches = filter(None, map(NAME.fullmatch, names))
        # The index of a number comes before its archive, which then counts.
        return dict(
            sorted(
                (int(match[1]), os.path.join(self._folder, match[0]))
                for match in matches
            )
        )

    def _none(
        self, damaged: Mapping[str, str], others: Mapping[int, str]
    ) -> UsageError:
        """Returns the error for checkpoints that cannot be read.

        Args:
            damaged: their paths, with the reasons.
            others: paths of those that may be readable, by their numbers.
        """
        path, why = next(iter(damaged.items()))
        rest = f', nor {len(damaged) - 1} others' if len(damaged) > 1 else ''
        remedy = f'restore it, or move {self._folder} away to start again'
        readable = {other for other, _ in self._readable(others, False, {})}
        steps = [str(n) for n, other in others.items() if other in readable]
        if steps:
            remedy = f'choose another --restore_step ({", ".join(steps)})'
        return UsageError(
            f'The checkpoint {path} cannot be read ({why}){rest}: {remedy}.'
        )

    def _assign(self, path: str, content: Mapping[str, Any]) -> None:
        """Gives the method what a checkpoint holds, or nothing of it.

        Raises:
            UsageError: the method has other variables.
        """
        values = content['variables']
        shapes = [value.shape for value in values]
        checks.check_saved(path, shapes, self._method, self._variables)
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        self._method.host_state.clear()
        self._method.host_state.update(content['host_state'])


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
