"""The section on the noise matrix: which class is labeled as which."""

from collections.abc import Iterable, Sequence

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
    """Returns the section, None if neither matrix is known."""
    matrices = {}
    if (estimated := run.issue_summary.get('transition_matrix')) is not None:
        matrices['Estimated'] = np.asarray(estimated, float)
    if run.noise is not None:
        matrices['Realised'] = run.noise.transition
    if not matrices:
        return None
    names: Sequence[str] = run.class_names
    for matrix in matrices.values():
        if len(matrix) != len(names):
            # No file has the names of all classes.
            names = [str(place) for place in range(len(matrix))]
    gaps = None
    if len(matrices) == 2:
        apart = 100 * np.abs(np.subtract(*matrices.values()))
        gaps = apart.mean(), apart.max()
    # One scale of color for both, or they could not be compared.
    most = max(_off(matrix).max() for matrix in matrices.values())
    is_list = len(names) > MOST_CLASSES
    return render(
        'matrices.html',
        matrices=matrices,
        gaps=gaps,
        names=names,
        most=most or 1,
        is_turned=max(map(len, names), default=0) > UPRIGHT,
        largest=_largest(matrices.values(), names) if is_list else None,
        count=LARGEST,
    )


def _off(matrix: np.ndarray) -> np.ndarray:
    """Returns a matrix with zeros on its diagonal."""
    return matrix * (1 - np.eye(len(matrix)))


def _largest(
    matrices: Iterable[np.ndarray], names: Sequence[str]
) -> list[tuple[str, str, list[float]]]:
    """Returns the pairs of classes that are confused most, with the shares."""
    matrices = list(matrices)
    first = _off(matrices[0])
    order = np.argsort(-first, axis=None, kind='stable')[:LARGEST]
    return [
        (names[true], names[given], [m[true, given] for m in matrices])
        for true, given in zip(
            *np.unravel_index(order, first.shape), strict=True
        )
        if first[true, given] > 0
    ]
