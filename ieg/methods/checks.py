"""Checks what a method hands over, so that a mistake is one sentence.

Each sentence names the class and, of a method of it, the file and line.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.augment.views import VIEWS
from ieg.data.dataset import Data
from ieg.errors import RunError, UsageError
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


def _mistake(method: Method, name: str, reason: str) -> UsageError:
    """Returns the mistake of a function of a method."""
    where = plugins.place(getattr(type(method), name, None))
    return UsageError(f'{type(method).__name__}.{name}{where}: {reason}.')


def _positive(value: Any) -> bool:
    array = np.asarray(value)
    return array.ndim == 0 and array.dtype.kind in 'iu' and bool(array > 0)


# What is built.


def check_streams(method: Method, data: Data, replicas: int) -> None:
    """Checks the streams of a method.

    Raises:
        UsageError: a view or split is unknown, or a batch cannot be split.
    """
    for name, stream in method.streams().items():
        size, views, must = stream.batch_size, stream.views, ''
        if not _positive(size) or size % replicas:
            must = (
                f'have a batch_size that is a positive multiple of {replicas} '
                f'replicas, got {size!r}'
            )
        elif not isinstance(views, tuple | list) or not views:
            must = f'have a tuple of views, got {views!r}'
        elif unknown := [view for view in views if view not in VIEWS]:
            must = (
                f'have known views ({", ".join(sorted(VIEWS))}), got '
                f'{listed(unknown)}'
            )
        elif stream.split != 'probe' and data.split(stream.split) is None:
            must = f'have the split train or probe, got {stream.split!r}'
        if must:
            raise _mistake(method, 'streams', f'{name!r} must {must}')


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
        owned = _owned(getattr(method, name))
        if any(id(variable) not in known for variable in owned):
            raise UsageError(
                f'{cls}.{name} would not be saved: make variables in __init__ '
                'with state_variable, example_variable or build_network, and '
                'add optimizers to self.optimizers.'
            )
    for name, value in method.host_state.items():
        plain = isinstance(value, np.ndarray | np.generic | int | float)
        if not plain or np.asarray(value).dtype.hasobject:
            raise UsageError(
                f'{cls}.host_state[{name!r}] must be a NumPy array of numbers '
                f'or strings, got {repr(value)[:50]}.'
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
    names = {id(v): name for name, v in vars(method).items()}
    pairs = itertools.zip_longest(variables, saved)
    for variable, shape in pairs:
        now = None if variable is None else tuple(variable.shape)
        if now != shape:
            name = names.get(id(variable), getattr(variable, 'path', 'nothing'))
            raise UsageError(
                f'The checkpoint {path} has other variables than '
                f'{type(method).__name__} now: the first is {name} {now}, '
                f'where it has {shape}. Undo the change, or use another '
                '--checkpoint_path.'
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
    reason = ''
    if phases is None:
        if epoch and type(method).most_epochs(method.config) is not None:
            return None
        reason = (
            f'it returned None in epoch {epoch}, not phases; a method that '
            'ends its run by itself declares most_epochs'
        )
    elif not isinstance(phases, list | tuple):
        reason = f'it must return a list of phases, got {phases!r}'
    else:
        streams = method.streams()
        reasons = (_wrong(method, phase, streams, data) for phase in phases)
        reason = next(filter(None, reasons), '')
    if reason:
        raise _mistake(method, 'begin_epoch', reason)
    return [_plain(phase) for phase in phases]


# Arguments of a step that a checkpoint can hold.
ARGUMENTS = bool | int | float | str | np.generic | None


def _plain(phase: Phase) -> Phase:
    """Returns a phase of types that are the same after they were saved."""
    examples = {n: np.asarray(v) for n, v in phase.examples.items()}
    per_step = {n: np.asarray(v) for n, v in phase.per_step.items()}
    args = [a.item() if isinstance(a, np.generic) else a for a in phase.args]
    return Phase(
        phase.step,
        examples,
        int(phase.num_steps),
        tuple(args),
        per_step,
        float(phase.rate),
    )


def _wrong(
    method: Method, phase: Any, streams: Mapping[str, Stream], data: Data
) -> str:
    """Returns what is wrong with a phase, or ''."""
    if not isinstance(phase, Phase):
        return f'a phase must be a Phase, got {phase!r}'
    steps = phase.num_steps
    if not callable(getattr(method, str(phase.step), None)):
        return f'the step {phase.step!r} is not a function of the method'
    if not _positive(steps):
        return f'num_steps must be a positive integer, got {steps!r}'
    args = phase.args
    if not isinstance(args, tuple) or not all(
        isinstance(value, ARGUMENTS) for value in args
    ):
        return f'args must be a tuple of numbers, strings or None, got {args!r}'
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
        reason = f'it must return a dictionary of scalars, got {logs!r}'
        raise _mistake(method, step, reason)
    for name, value in logs.items():
        reason, shape = check_name(name), tf.convert_to_tensor(value).shape
        if reason or shape.rank:
            reason = reason or f'{name!r} must be a scalar, got {shape}'
            raise _mistake(method, step, reason)
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
    try:
        score, chosen = map(np.asarray, selection)
        fine = score.shape == (count,) and score.dtype.kind in 'iuf'
        fine &= chosen.dtype == bool and chosen.shape[:1] == (count,)
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise _mistake(
            method,
            'selection',
            f'it must return Selection(score, chosen): numbers [{count}], '
            f'booleans [{count}] or [{count}, networks]',
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
        reason = f'it must return a dictionary of arrays [{count}]'
        raise _mistake(method, 'notes', f'{reason}; kept is boolean')
    return {name: np.asarray(values) for name, values in notes.items()}
