"""The section that tells, class by class, how far labels can be trusted."""

from collections.abc import Sequence

import numpy as np

from ieg.report.markup import (
    NOTHING,
    Html,
    count,
    join,
    name,
    paragraph,
    percent,
    section,
    table,
)
from ieg.report.run import ISSUES, PREDICTIONS, RunFolder

HEAD = [
    'class',
    'given',
    'issues',
    'share',
    'mostly looks like',
    'test recall',
    'test precision',
]


def build(run: RunFolder, names: Sequence[str]) -> Html:
    """Returns the section.

    Args:
        run: has the list of issues and the predictions, if they are there.
        names: of the classes.
    """
    title = 'Class by class'
    lacks = [
        text
        for text, missing in (
            (f'no {ISSUES}', run.issues is None),
            (f'no test predictions ({PREDICTIONS})', not has_test(run)),
        )
        if missing
    ]
    words = f'The run has {" and ".join(lacks)}.' if lacks else ''
    if len(lacks) == 2 and run.given_labels is None:
        return section('classes', title, paragraph(words))
    if run.issues is not None:
        # Without predictions the names of the classes are those of the list.
        found = {*map(str, run.issues.given), *map(str, run.issues.suggested)}
        names = names if found <= set(names) else sorted(found)
    rows = [
        [name(row[0]), *row[1:]]
        for row in zip(names, *_columns(run, names), strict=True)
    ]
    return section(
        'classes',
        title,
        paragraph(
            'Given: examples with this label, those held out included. Issues: '
            'those of them whose label looks wrong. Recall and precision are '
            f'those of the final networks on the test labels. {words}'
        ),
        table('Labels and predictions by class', HEAD, rows, 'sortable'),
    )


def has_test(run: RunFolder) -> bool:
    """Whether there are predictions for test examples."""
    logits = (run.predictions or {}).get('test_logits')
    return logits is not None and len(logits) > 0


def _columns(run: RunFolder, names: Sequence[str]) -> list[list]:
    """Returns the cells of each column, by class."""
    given = run.given_labels
    total = _counted(given, names)
    issues, suggested = [None] * len(names), [NOTHING] * len(names)
    if run.issues is not None:
        wrong = run.issues.is_issue
        issues = _counted(given[wrong], names)
        suggested = _suggested(run, names, wrong)
    shares = [
        None if i is None or not n else i / n
        for i, n in zip(issues, total, strict=True)
    ]
    recall, precision = _test(run, len(names))
    numbers = [[(count(n), n) for n in column] for column in (total, issues)]
    ratios = [
        [(percent(share), share) for share in column]
        for column in (shares, recall, precision)
    ]
    return [*numbers, ratios[0], suggested, *ratios[1:]]


def _counted(
    labels: np.ndarray | None, names: Sequence[str]
) -> list[int | None]:
    """Returns how many labels each class has."""
    if labels is None:
        return [None] * len(names)
    found = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    return [int(found.get(text, 0)) for text in names]


def _suggested(
    run: RunFolder, names: Sequence[str], wrong: np.ndarray
) -> list[Html | str]:
    """Returns the class that is suggested most for each class' issues."""
    given, rows = np.unique(run.issues.given[wrong], return_inverse=True)
    classes, columns = np.unique(
        run.issues.suggested[wrong], return_inverse=True
    )
    counts = np.bincount(
        rows * len(classes) + columns, minlength=len(given) * len(classes)
    ).reshape(len(given), len(classes))
    found = {}
    for text, row in zip(given, counts, strict=True):
        share = f' ({row.max() / row.sum():.0%})'
        found[text] = join([name(classes[row.argmax()]), share])
    return [found.get(text, NOTHING) for text in names]


def _test(
    run: RunFolder, classes: int
) -> tuple[list[float | None], list[float | None]]:
    """Returns recall and precision of each class on the test labels."""
    if not has_test(run):
        return [None] * classes, [None] * classes
    labels = run.predictions['test_labels'].astype(int)
    predicted = run.predictions['test_logits'].argmax(axis=-1)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    return tuple(
        [
            float(hit / whole) if whole else None
            for hit, whole in zip(
                hits, np.bincount(of, minlength=classes), strict=True
            )
        ]
        for of in (labels, predicted)
    )
