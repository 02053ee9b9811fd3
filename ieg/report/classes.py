"""The section on each class: counts of its labels, and test figures.

What share of the labels of one class is wrong is not said, because estimates
of it were not reliable (`docs/label_issues.md`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ieg.label_issues import Issues
from ieg.report.html import render
from ieg.report.run import ISSUES, PREDICTIONS, RunFolder


def build(run: RunFolder) -> Markup:
    """Returns the section."""
    lacks, names = [], run.class_names
    if run.issues is None:
        lacks.append(f'no {ISSUES}')
    else:
        # Without predictions the names of the classes are those of the list.
        listed = {*map(str, run.issues.given), *map(str, run.issues.suggested)}
        names = names if listed <= set(names) else tuple(sorted(listed))
    if not has_test(run):
        lacks.append(f'no test predictions ({PREDICTIONS})')
    if len(lacks) == 2 and run.given_labels is None:
        names = ()
    return render('classes.html', rows=_rows(run, names), lacks=lacks)


def has_test(run: RunFolder) -> bool:
    """Whether there are predictions for test examples."""
    logits = (run.predictions or {}).get('test_logits')
    return logits is not None and len(logits) > 0


def _rows(run: RunFolder, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the figures of each class; None where they are not known."""
    given, issues, suggested = _counts(run.given_labels), None, {}
    if run.issues is not None:
        issues = _counts(run.issues.given[run.issues.is_issue])
        suggested = _suggested(run.issues)
    recall, precision = _test(run, len(names))
    rows = []
    for place, name in enumerate(names):
        total = None if given is None else given.get(name, 0)
        wrong = None if issues is None else issues.get(name, 0)
        rows.append(
            {
                'name': name,
                'given': total,
                'issues': wrong,
                'suggested': suggested.get(name),
                'recall': recall[place],
                'precision': precision[place],
            }
        )
    return rows


def _counts(labels: np.ndarray | None) -> dict[str, int] | None:
    """Returns how many labels each class has, None without labels."""
    if labels is None:
        return None
    classes, counts = np.unique(labels, return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _suggested(issues: Issues) -> dict[str, tuple[str, int]]:
    """Returns the class suggested most for each class' issues, and how often.

    Of several, the first by name.
    """
    wrong = issues.is_issue
    given, rows = np.unique(issues.given[wrong], return_inverse=True)
    classes, columns = np.unique(issues.suggested[wrong], return_inverse=True)
    counts = np.zeros((len(given), len(classes)), int)
    np.add.at(counts, (rows, columns), 1)
    return {
        name: (classes[row.argmax()], int(row.max()))
        for name, row in zip(given, counts, strict=True)
    }


def _test(
    run: RunFolder, classes: int
) -> tuple[list[float | None], list[float | None]]:
    """Returns recall and precision of each class on the test labels."""
    if run.predictions is None or not has_test(run):
        return [None] * classes, [None] * classes
    labels = run.predictions['test_labels'].astype(int)
    predicted = run.predictions['test_logits'].argmax(axis=-1)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    recall, precision = (
        [
            float(hit / whole) if whole else None
            for hit, whole in zip(
                hits, np.bincount(of, minlength=classes), strict=True
            )
        ]
        for of in (labels, predicted)
    )
    return recall, precision
