"""Checks what a method hands over, so that a mistake is one sentence.

Each function raises a UsageError that names the class and, where the mistake
is in a function of it, the file and line.
"""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
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
    check_name,
)
from ieg.utils import plugins
from ieg.utils.text import listed

# What `batch['step']` has anyway.
STEP_SCALARS = ('number', 'replica', 'seed', 'learning_rate')

# What every Keras model has.
_INHERITED = vars(keras.Model()).keys()


@contextlib.contextmanager
def _answer(method: Method, name: str) -> Iterator[Callable[[str], UsageError]]:
    """Checks what a function of a method has returned.

    Yields:
        A function from the reason of a mistake to its exception. Where the
        answer is so different that the check itself fails, that is the reason.
    """
    wrong = functools.partial(plugins.mistake, type(method), name)
    try:
        yield wrong
    except (AttributeError, TypeError, ValueError) as error:
        raise wrong(f'it returns something else ({error})') from error


# What is built.


def check_streams(method: Method, replicas: int) -> None:
    """Checks the streams of a method."""
    streams = method.streams()
    with _answer(method, 'streams') as wrong:
        for name, stream in streams.items():
            size, views, must = stream.batch_size, stream.views, ''
            if not isinstance(size, Integral) or size < 1 or size % replicas:
                must = f'a batch_size that is a multiple of {replicas} replicas'
            elif not isinstance(views, tuple | list) or not views:
                must = 'a tuple of views'
            elif not VIEWS.keys() >= set(views):
                must = f'known views ({", ".join(sorted(VIEWS))})'
            elif stream.split not in ('train', 'probe'):
                must = 'the split train or probe'
            if must:
                raise wrong(f'{name!r} must have {must}, got {stream}')


def check_state(method: Method, saved: Sequence[keras.Variable]) -> None:
    """Checks that a checkpoint of `saved` has all that a method remembers."""
    wrong = functools.partial(plugins.mistake, type(method))
    known = {id(part) for v in saved for part in (v, v.value)}
    for name in sorted(vars(method).keys() - _INHERITED):
        # Attributes of TensorFlow begin with _self_.
        owned = [] if name[:6] == '_self_' else _owned(getattr(method, name))
        if any(id(variable) not in known for variable in owned):
            raise wrong(
                name,
                'it would not be saved: make variables in __init__ with '
                'state_variable, example_variable or build_network, and add '
                'optimizers to self.optimizers',
            )
    for name, value in method.host_state.items():
        plain = isinstance(value, np.ndarray | np.generic | int | float)
        if not plain or np.asarray(value).dtype.hasobject:
            must = 'must be a NumPy array of numbers or strings'
            raise wrong(f'host_state[{name!r}]', f'{must}, got {value!r:.50}')


def _owned(value: Any) -> Iterator[Any]:
    """Yields the variables in an attribute."""
    for part in keras.tree.flatten(value):
        if isinstance(part, tf.Variable | keras.Variable):
            yield part
        elif isinstance(part, keras.Layer | keras.Optimizer | keras.Metric):
            yield from part.variables


def check_saved(
    path: str,
    saved: Sequence[tuple[int, ...]],
    method: Method,
    variables: Sequence[keras.Variable],
) -> None:
    """Checks that the checkpoint in `path` has the variables of a method.

    Args:
        saved: shapes of the variables in it.
        variables: those of the method, in the same order.
    """
    names = {id(v): name for name, v in vars(method).items()}
    for variable, shape in itertools.zip_longest(variables, saved):
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
    """Returns the phases of an epoch; None if the method ends its run."""
    ends = type(method).most_epochs(method.config) is not None
    sizes = {n: len(data[s.split]) for n, s in method.streams().items()}
    with _answer(method, 'begin_epoch') as wrong:
        if phases is None:
            if epoch and ends:
                return None
            raise wrong(
                f'it returned None in epoch {epoch}, not phases; a method '
                'that ends its run by itself declares most_epochs'
            )
        phases = list(phases)
        for reason in (_wrong(method, phase, sizes) for phase in phases):
            if reason:
                raise wrong(reason)
    return [_plain(phase) for phase in phases]


# Arguments of a step that a checkpoint can hold.
ARGUMENTS = bool | int | float | str | np.generic | None


def _plain(phase: Phase) -> Phase:
    """Returns a phase of types that are the same after they were saved."""
    return Phase(
        phase.step,
        {name: np.asarray(ids) for name, ids in phase.examples.items()},
        int(phase.num_steps),
        tuple(a.item() if isinstance(a, np.generic) else a for a in phase.args),
        {name: np.asarray(v) for name, v in phase.per_step.items()},
        float(phase.rate),
    )


def _wrong(method: Method, phase: Phase, sizes: Mapping[str, int]) -> str:
    """Returns what is wrong with a phase, or ''.

    Args:
        sizes: stream -> number of examples that ids may name.
    """
    steps = phase.num_steps
    if not callable(getattr(method, phase.step, None)):
        return f'the step {phase.step!r} is not a function of the method'
    if not isinstance(steps, Integral) or steps < 1:
        return f'num_steps must be a positive integer, got {steps!r}'
    args = phase.args
    if not isinstance(args, tuple) or not all(
        isinstance(value, ARGUMENTS) for value in args
    ):
        return f'args must be a tuple of numbers, strings or None, got {args!r}'
    for name, ids in phase.examples.items():
        if name not in sizes:
            return f'unknown stream {name!r}, not {listed(list(sizes))}'
        array, must = np.asarray(ids), ''
        if array.dtype.kind == 'b':
            must = 'not be a mask: use np.flatnonzero(mask)'
        elif not array.size:
            must = 'not be empty'
        elif array.dtype.kind not in 'iu' or array.ndim != 1:
            must = f'be integers [n], got {array.dtype} {array.shape}'
        elif array.min() < 0 or array.max() >= sizes[name]:
            must = f'be 0..{sizes[name] - 1}, got {array.min()}..{array.max()}'
        if must:
            return f'the ids of {name!r} must {must}'
    for name, values in phase.per_step.items():
        if name in STEP_SCALARS:
            return f'per_step cannot have {name!r}, which every step has'
        array = np.asarray(values)
        if array.shape != (steps,) or array.dtype.kind not in 'biuf':
            got = f'{array.dtype} {array.shape}'
            return f'per_step[{name!r}] must be {steps} numbers, got {got}'
    return ''


def checked_logs(method: Method, step: str, logs: Any) -> dict[str, tf.Tensor]:
    """Returns what a step returns: scalars to log."""
    with _answer(method, step) as wrong:
        for name, value in logs.items():
            if reason := check_name(name):
                raise wrong(reason)
            # None cannot be converted.
            tensor = tf.convert_to_tensor('' if value is None else value)
            if tensor.shape.rank or tensor.dtype == tf.string:
                raise wrong(f'{name!r} must be a scalar, got {value!r}')
    return dict(logs)


def means(
    method: Method, epoch: int, values: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Returns the means of what the steps of an epoch have logged.

    Remarks on steps whose loss or gradient was not finite.

    Raises:
        RunError: one was not, in all steps of a network.
    """
    for network in range(len(method.nets)):
        whose = f' of network {network}' if len(method.nets) > 1 else ''
        # One replica is enough.
        lost, blown = (
            np.asarray(values.get(f'{kind}{network}', 0)) > 0
            for kind in (LOSS, GRADIENT)
        )
        if np.all(lost | blown):
            raise RunError(
                f'The loss or gradient of every step{whose} in epoch {epoch} '
                'was infinite or NaN: lower --learning_rate.'
            )
        if share := np.mean(lost):
            method.remark(
                f'Skipped {share:.2%} of the steps{whose}: the loss was not '
                'finite'
            )
        if share := np.mean(blown & ~lost):
            method.remark(
                f'Kept weights in {share:.2%} of the steps{whose}: their '
                'gradient was not finite, though the loss was'
            )
    return {
        name: math.fsum(v) / len(v)
        for name, v in values.items()
        if not name.startswith((LOSS, GRADIENT))
    }


# Reports.


def checked_selection(method: Method) -> Selection | None:
    """Returns the selection of a method."""
    selection, count = method.selection(), method.info.num_examples
    if selection is None:
        return None
    with _answer(method, 'selection') as wrong:
        arrays = [np.asarray(values) for values in selection]
        kinds = ''.join(array.dtype.kind for array in arrays)
        sizes = {array.shape[:1] for array in arrays}
        fine = kinds in ('fb', 'ib', 'ub') and sizes == {(count,)}
        if not fine or arrays[0].ndim > 1:
            raise wrong(
                f'it must return Selection(score, chosen): numbers [{count}], '
                f'booleans [{count}] or [{count}, networks]'
            )
    return Selection(*arrays)


def checked_notes(method: Method) -> dict[str, np.ndarray]:
    """Returns the notes of a method."""
    notes, count = method.notes(), method.info.num_examples
    with _answer(method, 'notes') as wrong:
        arrays = {name: np.asarray(values) for name, values in notes.items()}
        fine = all(array.shape == (count,) for array in arrays.values())
        if not fine or arrays.get('kept', np.array(True)).dtype != bool:
            raise wrong(f'it must return arrays [{count}]; kept is boolean')
    return arrays
