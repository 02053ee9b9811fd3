"""From evidence to the rows of `label_issues.csv` and figures about them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.analysis.dynamics import Estimate, Evidence, detection, estimate
from ieg.analysis.issues import Issues


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples of a run; n of them.

    Attributes:
        split: where they are: 'train', 'valid' or 'test'.
        indices: positions in the data set's own order [n].
        names: of their files, str [n]; None for arrays.
        evidence: about their labels.
        chosen: whether the method trained on the label as clean [n]; None
            where it selects nothing.
        clean: true labels [n], for figures only; None where unknown.
    """

    split: str
    indices: np.ndarray
    names: np.ndarray | None
    evidence: Evidence
    chosen: np.ndarray | None = None
    clean: np.ndarray | None = None


def audit(
    parts: Sequence[Examples], class_names: Sequence[str]
) -> tuple[Issues, dict[str, Any]]:
    """Ranks labels by how wrong they look.

    Args:
        parts: the training examples, then others, whose evidence is held
            against the threshold of the former.
        class_names: one name per class.

    Returns:
        The rows, most suspicious first, and for `summary.json` the figures of
        `label_issues`: how many there are, the estimated noise, and how good
        the ranking of the training examples is where their truth is known.
    """
    train = parts[0]
    noise = estimate(train.evidence)
    rows = _rows(parts, np.array(class_names, object), noise)
    figures = {
        'count': int(rows.is_issue.sum()),
        'hard': int(rows.is_hard.sum()),
        'noise_rate': noise.rate,
        'noise_rate_interval': list(noise.interval),
        'transition_matrix': np.round(noise.transition, 6).tolist(),
    }
    if train.clean is not None:
        right = train.clean == train.evidence.labels
        figures |= detection(right, train.evidence.score)
    return rows, figures


def _rows(
    parts: Sequence[Examples], names: np.ndarray, noise: Estimate
) -> Issues:
    every = [part.evidence for part in parts]
    score = _joined([e.score for e in every])
    labels = _joined([e.labels for e in every])
    agreement = _joined([e.agreement for e in every])
    is_issue = _joined([e.wrong(noise.threshold) for e in every])
    # What is suspicious is more likely anything else than what it is called.
    looks = _joined([e.suggested for e in every])
    looks = np.where(is_issue, _joined([e.rival for e in every]), looks)
    order = np.argsort(score, kind='stable')
    columns = {
        'index': _joined([part.indices for part in parts]),
        'path': _joined([_names(part) for part in parts]),
        'split': np.repeat(
            [p.split for p in parts], [len(e.labels) for e in every]
        ),
        'given': names[labels],
        'suggested': names[looks],
        'score': score,
        'margin': _joined([e.margin for e in every]),
        'agreement': agreement,
        'in_selection': _joined([_chosen(part) for part in parts]),
        'is_issue': is_issue,
        'is_hard': _joined([e.hard(noise.threshold) for e in every]),
        'corrected': np.full(len(score), '', object),
    }
    columns = {name: values[order] for name, values in columns.items()}
    return Issues(rank=np.arange(1, len(order) + 1), **columns)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays)


def _names(part: Examples) -> np.ndarray:
    if part.names is not None:
        return part.names
    return np.full(len(part.indices), '', object)


def _chosen(part: Examples) -> np.ndarray:
    if part.chosen is None:
        return np.full(len(part.indices), np.nan)
    return part.chosen.astype(np.float64)
