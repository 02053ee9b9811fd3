"""The section on the noise matrix: which class is labeled as which."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ieg.report.html import render
from ieg.report.run import RunFolder

# A matrix of more classes is a list of its largest entries.
MOST_CLASSES = 20
LARGEST = 20
# Longer names stand on end above their columns.
UPRIGHT = 4


def build(run: RunFolder) -> Markup | None:
    """Returns the section, None if true labels are unknown."""
    if run.noise is None:
        return None
    matrix, names = run.noise.transition, run.class_names
    is_list = len(names) > MOST_CLASSES
    return render(
        'matrices.html',
        matrix=matrix,
        names=names,
        most=_off(matrix).max() or 1,
        is_turned=max(map(len, names), default=0) > UPRIGHT,
        largest=_largest(matrix, names) if is_list else None,
        count=LARGEST,
    )


def _off(matrix: np.ndarray) -> np.ndarray:
    """Returns a matrix with zeros on its diagonal."""
    return matrix * (1 - np.eye(len(matrix)))


def _largest(
    matrix: np.ndarray, names: Sequence[str]
) -> list[tuple[str, str, float]]:
    """Returns the pairs of classes that are confused most, and the share."""
    others = _off(matrix)
    order = np.argsort(-others, axis=None, kind='stable')[:LARGEST]
    return [
        (names[true], names[given], others[true, given])
        for true, given in zip(
            *np.unravel_index(order, others.shape), strict=True
        )
        if others[true, given] > 0
    ]
