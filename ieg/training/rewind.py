"""Back to the beginning of a run, without building anything anew."""

import numpy as np

from ieg.methods.base import Method


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
