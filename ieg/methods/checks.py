"""Checks what a method hands over, so that a mistake is one sentence.

Each sentence names the class and, of a method of it, the file and line.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.augment.views import VIEWS
from ieg.data.dataset import Data
from ieg.errors import RunError, UsageError, nearest
from ieg.methods.base import (
    GRADIENT,
    LOSS,
    Method,
    Phase,
    Selection,
    Stream,
    check_name,
)
from ieg.utils import plugins
from ieg.utils.text import listed

# What `batch['step']` has anyway.
STEP_SCALARS = ('number', 'replica', 'seed', 'learning_rate')

# What every Keras model has; attributes of TensorFlow begin with _self_.
_INHERITED = vars(keras.Model()).keys()


def _mistake(method: Method, name: str, text: str) -> UsageError:
    """Returns the mistake that `text` says of a function of a method."""
    cls = type(method)
    where = plugins.place(getattr(cls, name, None))
    return UsageError(f'{cls.__name__}.{name}{where}{text}')


def _number(value: Any, kinds: str = 'iuf') -> bool:
    """Returns whether a value is one number of NumPy's kinds of types."""
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in kinds


# What is built.


def check_streams(method: Method, data: Data, replicas: int) -> None:
    """Checks the streams of a method.

    Raises:
        UsageError: a view or split is unknown, or a batch cannot be split.
    """

    def mistake(text: str) -> UsageError:
        return _mistake(method, 'streams', text)

    streams = method.streams()
    if not isinstance(streams, Mapping):
        raise mistake(': must return a dictionary of streams.')
    for name, stream in streams.items():
        if not isinstance(stream, Stream):
            raise mistake(f': {name!r} must be a Stream, got {stream!r}.')
        size, views = stream.batch_size, stream.views
        if not _number(size, 'iu') or size < 1 or size % replicas:
            raise mistake(
                f': the batch_size of {name!r} must be a positive multiple of '
                f'the {replicas} replicas, got {size!r}.'
            )
        if not isinstance(views, tuple | list) or not views:
            raise mistake(
                f': the views of {name!r} must be a tuple of names, got '
                f'{views!r}.'
            )
        for view in views:
            if view not in VIEWS:
                raise mistake(
                    f': unknown view {view!r} of {name!r}.'
                    f'{nearest(str(view), VIEWS)}'
                )
        if stream.split != 'probe' and data.split(stream.split) is None:
            raise mistake(
                f': the split of {name!r} must be train or probe, got '
                f'{stream.split!r}.'
            )


def check_state(method: Method, saved: Sequence[keras.Variable]) -> None:
    """Checks that a checkpoint holds everything that a method remembers.

    Args:
        method: the method.
        saved: the variables in the checkpoint.

    Raises:
        UsageError: it would lack a variable, or cannot hold `host_state`.
    """
    cls = type(method).__name__
    known = {id(part) for v in saved for part in (v, v.value)}
    own = vars(method).keys() - _INHERITED
    for name in sorted(n for n in own if not n.startswith('_self_')):
        value = getattr(method, name)
        if any(id(variable) not in known for variable in _owned(value)):
            raise UsageError(
                f'{cls}.{name} would not be saved: make variables in __init__ '
                'with state_variable, example_variable or build_network, and '
                'add optimizers to self.optimizers.'
            )
    for name, value in method.host_state.items():
        array = np.asarray(value) if _plain(value) else None
        if array is None or array.dtype.hasobject:
            kind = 'an array of objects' if _plain(value) else repr(value)[:50]
            raise UsageError(
                f'{cls}.host_state[{name!r}] must be a NumPy array of numbers '
                f'or strings, got {kind}.'
            )


def _owned(value: Any) -> list[Any]:
    """Returns the variables of an attribute, or of the members of one."""
    if isinstance(value, Mapping):
        value = list(value.values())
    owned = []
    for part in value if isinstance(value, list | tuple) else [value]:
        if isinstance(part, tf.Variable | keras.Variable):
            owned.append(part)
        if isinstance(part, keras.Layer | keras.Optimizer | keras.Metric):
            owned += part.variables
    return owned


def _plain(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | bool | int | float)


def check_saved(
    path: str,
    saved: Sequence[tuple[int, ...]],
    method: Method,
    variables: Sequence[keras.Variable],
) -> None:
    """Checks that a checkpoint has the variables of a method.

    Args:
        path: of the checkpoint.
        saved: shapes of the variables in it.
        method: the method.
        variables: those of the method, in the same order.

    Raises:
        UsageError: a variable was added, left out or reshaped since.
    """
    now = [tuple(variable.shape) for variable in variables]
    if list(saved) == now:
        return
    cls = type(method).__name__
    names = {id(v): f'{cls}.{name}' for name, v in vars(method).items()}
    pairs = zip(saved, now, strict=False)
    differ = (n for n, (one, other) in enumerate(pairs) if one != other)
    place = next(differ, min(len(saved), len(now)))
    here = there = 'nothing'
    if place < len(now):
        name = names.get(id(variables[place]), variables[place].path)
        here = f'{name} {list(now[place])}'
    if place < len(saved):
        there = f'a variable {list(saved[place])}'
    raise UsageError(
        f'The checkpoint {path} has {len(saved)} variables and {cls} now has '
        f'{len(now)}; the first that differs is {here}, for which it has '
        f'{there}. Undo the change, or use another --checkpoint_path.'
    )


# An epoch.


def check_phases(
    method: Method, phases: Any, epoch: int, data: Data
) -> list[Phase] | None:
    """Returns the phases of an epoch; None if the method ends its run.

    Args:
        method: the method.
        phases: what its `begin_epoch` has returned.
        epoch: counted from 0.
        data: the data of the run.

    Raises:
        UsageError: something in them is impossible, or a return is missing.
    """
    if phases is None:
        ends = type(method).most_epochs(method.config) is not None
        if ends and epoch:
            return None
        raise _mistake(
            method,
            'begin_epoch',
            f' returned None in epoch {epoch}, not its phases. A method that '
            'ends its run by itself declares most_epochs.',
        )
    if not isinstance(phases, list | tuple):
        kind = type(phases).__name__
        raise _mistake(
            method, 'begin_epoch', f' must return a list of phases, got {kind}.'
        )
    streams = method.streams()
    for phase in phases:
        reason = _wrong(method, phase, streams, data)
        if reason:
            raise _mistake(method, 'begin_epoch', f': {reason}.')
    return list(phases)


def _wrong(
    method: Method, phase: Any, streams: Mapping[str, Stream], data: Data
) -> str:
    """Returns what is wrong with a phase, or ''."""
    if not isinstance(phase, Phase):
        return f'a phase must be a Phase, got {phase!r}'
    if not callable(getattr(method, str(phase.step), None)):
        return f'the step {phase.step!r} is not a function of the method'
    steps = phase.num_steps
    if not _number(steps, 'iu') or steps < 1:
        return f'num_steps must be a positive integer, got {steps!r}'
    if not isinstance(phase.args, tuple):
        return f'args must be a tuple, got {phase.args!r}'
    for name, ids in phase.examples.items():
        if name not in streams:
            return f'unknown stream {name!r}, not {listed(list(streams))}'
        reason = _wrong_ids(ids, len(data[streams[name].split]))
        if reason:
            return f'the ids of {name!r} {reason}'
    for name, values in phase.per_step.items():
        if name in STEP_SCALARS:
            return f'per_step cannot have {name!r}, which every step has'
        array = np.asarray(values)
        if array.shape != (steps,) or array.dtype.kind not in 'biuf':
            return (
                f'per_step[{name!r}] must be {steps} numbers, one for each '
                f'step, got {array.dtype} of shape {array.shape}'
            )
    return ''


def _wrong_ids(ids: Any, count: int) -> str:
    """Returns what is wrong with ids of a split of `count` examples, or ''."""
    ids = np.asarray(ids)
    if ids.dtype.kind == 'b':
        return 'are a mask: use np.flatnonzero(mask)'
    if not ids.size:
        return 'are empty'
    if ids.dtype.kind not in 'iu' or ids.ndim != 1:
        return f'must be integers [n], got {ids.dtype} of shape {ids.shape}'
    if ids.min() < 0 or ids.max() >= count:
        return f'must be from 0 to {count - 1}, got {ids.min()} to {ids.max()}'
    return ''


def checked_logs(method: Method, step: str, logs: Any) -> dict[str, tf.Tensor]:
    """Returns what a step returns: scalars to log.

    Raises:
        UsageError: it is something else, or takes a name of the trainer.
    """
    if not isinstance(logs, Mapping):
        raise _mistake(
            method,
            step,
            f' must return a dictionary of scalars, got {type(logs).__name__}.',
        )
    for name, value in logs.items():
        if reason := check_name(name):
            raise _mistake(method, step, f': {reason}.')
        shape = tf.convert_to_tensor(value).shape
        if shape.rank:
            raise _mistake(
                method, step, f': {name!r} must be a scalar, got {shape}.'
            )
    return dict(logs)


def means(
    method: Method, epoch: int, values: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Returns the means of what the steps of an epoch have logged.

    Remarks on steps whose loss or gradient was not finite.

    Raises:
        RunError: one was not, in all steps of a network.
    """
    figures = {n: math.fsum(v) / len(v) for n, v in values.items()}
    for network in range(len(method.nets)):
        loss = figures.pop(f'{LOSS}{network}', 0.0)
        gradient = figures.pop(f'{GRADIENT}{network}', 0.0)
        whose = f' of network {network}' if len(method.nets) > 1 else ''
        if max(loss, gradient) >= 1:
            what = 'loss' if loss >= 1 else 'gradient'
            raise RunError(
                f'The {what} of every step{whose} in epoch {epoch} was '
                'infinite or NaN: lower --learning_rate.'
            )
        if loss:
            method.remark(
                f'Skipped {loss:.2%} of the steps{whose}: the loss was not '
                'finite'
            )
        if gradient:
            method.remark(
                f'In {gradient:.2%} of the steps{whose} the gradient was not '
                'finite, though the loss was: the weights concerned were not '
                'updated'
            )
    return figures


# Reports.


def checked_selection(method: Method) -> Selection | None:
    """Returns the selection of a method.

    Raises:
        UsageError: it is not one number and choice for each example.
    """
    selection, count = method.selection(), method.info.num_examples
    if selection is None:
        return None
    fine = isinstance(selection, tuple) and len(selection) == 2
    if fine:
        score, chosen = map(np.asarray, selection)
        fine = score.shape == (count,) and chosen.shape[:1] == (count,)
        fine &= chosen.dtype == bool and chosen.ndim < 3
        fine &= score.dtype.kind in 'iuf'
    if not fine:
        raise _mistake(
            method,
            'selection',
            f' must return Selection(score, chosen): numbers [{count}], and '
            f'booleans [{count}] or [{count}, networks].',
        )
    return Selection(score, chosen)


def checked_notes(method: Method) -> dict[str, np.ndarray]:
    """Returns the notes of a method.

    Raises:
        UsageError: one is not an array `[N]`.
    """
    notes, count = method.notes(), method.info.num_examples
    fine = isinstance(notes, Mapping) and all(
        np.shape(values) == (count,) for values in notes.values()
    )
    if not fine or np.asarray(notes.get('kept', True)).dtype != bool:
        raise _mistake(
            method,
            'notes',
            f' must return a dictionary of arrays [{count}]; kept is boolean.',
        )
    return {name: np.asarray(values) for name, values in notes.items()}
