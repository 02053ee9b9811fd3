"""The section of suspects: examples for a person to check and correct."""

import math
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ieg.label_issues.table import Issues
from ieg.report import suspects
from ieg.report.html import render
from ieg.report.run import ISSUES, RunFolder
from ieg.utils.text import shown

if TYPE_CHECKING:
    from ieg.data.dataset import Data


def build(run: RunFolder, data: 'Data | None', reason: str) -> Markup:
    """Returns the section.

    Args:
        run: the run; its list of issues may be missing.
        data: the data with the images, or None.
        reason: why there are no data, a sentence.
    """
    issues = run.issues
    if issues is None:
        return render('gallery.html', lists=[], file=ISSUES)
    first, hard = suspects.choose(issues)
    rows = np.concatenate([first, hard])
    pictures, why = suspects.pictures(data, issues, rows)
    lists = {'Suspects, most suspicious first': first, 'Hard examples': hard}
    return render(
        'gallery.html',
        lists=[
            (title, [_card(issues, int(row), pictures) for row in chosen])
            for title, chosen in lists.items()
            if chosen is first or len(chosen)
        ],
        first=len(first),
        total=len(issues.rank),
        wrong=int(issues.is_issue.sum()),
        each_class=suspects.EACH_CLASS,
        no_pictures='' if pictures else reason or why,
        filters=[
            ('given', 'Given label', _counts(issues.given[rows])),
            ('suggested', 'Suggested label', _counts(issues.suggested[rows])),
        ],
        command=command(run.folder),
        names=sorted({*run.class_names, *map(str, issues.given)}),
        file=ISSUES,
    )


def _counts(labels: np.ndarray) -> list[tuple[str, int]]:
    """Returns the classes of some labels, and how many each has."""
    classes, counts = np.unique(labels, return_counts=True)
    return list(zip(classes, counts, strict=True))


def _card(
    issues: Issues, row: int, pictures: Mapping[int, str]
) -> dict[str, Any]:
    """Returns what is shown of an example."""
    notes = []
    if not issues.is_issue[row] and not issues.is_hard[row]:
        notes.append('not counted as wrong')
    if math.isfinite(used := float(issues.in_selection[row])):
        notes.append('selected' if used else 'not selected')
    agreement = float(issues.agreement[row])
    return {
        'split': issues.split[row],
        'index': int(issues.index[row]),
        'path': shown(str(issues.path[row])),
        'given': issues.given[row],
        'suggested': issues.suggested[row],
        'rank': int(issues.rank[row]),
        'score': float(issues.score[row]),
        'agreement': agreement if math.isfinite(agreement) else None,
        'picture': pictures.get(row),
        'notes': notes,
    }


def command(folder: str) -> str:
    """Returns the command line that applies saved corrections."""
    return f'python -m ieg.report {shlex.quote(folder)} --apply=corrected.csv'
