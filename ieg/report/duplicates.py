"""The section of near duplicates: pictures that are there more than once."""

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ieg.label_issues import Issues
from ieg.report.html import render
from ieg.report.run import ISSUES, RunFolder
from ieg.report.suspects import Contents, contents
from ieg.utils.text import shown

if TYPE_CHECKING:
    from ieg.data.dataset import Data

# Groups that are shown, and examples of each.
MOST, EACH = 60, 6


def build(run: RunFolder, data: 'Data | None', reason: str) -> Markup | None:
    """Returns the section, None without near duplicates.

    Args:
        run: the run; its list of issues may be missing.
        data: the data with the images, or None.
        reason: why there are no data, a sentence.
    """
    issues = run.issues
    if issues is None or issues.duplicate_group is None:
        return None
    groups = ordered(issues)
    if not groups:
        return None
    chosen = groups[:MOST]
    rows = np.concatenate([group[:EACH] for group in chosen])
    seen = contents(data, issues, rows, run.predictions)
    return render(
        'duplicates.html',
        groups=[_group(issues, group, seen) for group in chosen],
        count=len(groups),
        examples=sum(map(len, groups)),
        different=sum(_varies(issues.given, group) for group in groups),
        across=sum(_varies(issues.split, group) for group in groups),
        each=EACH,
        no_pictures='' if seen.pictures else reason or seen.reason,
        file=ISSUES,
    )


def ordered(issues: Issues) -> list[np.ndarray]:
    """Returns the rows of each group, those of different labels first.

    Then come those of different splits, then the larger ones.
    """
    assert issues.duplicate_group is not None
    several = np.flatnonzero(np.isfinite(issues.duplicate_group))
    numbers = issues.duplicate_group[several]
    order = np.lexsort((issues.rank[several], numbers))
    starts = np.flatnonzero(np.diff(numbers[order])) + 1
    groups = np.split(several[order], starts) if len(several) else []
    return sorted(
        groups,
        key=lambda rows: (
            not _varies(issues.given, rows),
            not _varies(issues.split, rows),
            -len(rows),
        ),
    )


def _varies(values: np.ndarray, rows: np.ndarray) -> bool:
    return len({*values[rows].tolist()}) > 1


def _group(issues: Issues, rows: np.ndarray, seen: Contents) -> dict[str, Any]:
    """Returns the content of a group."""
    classes = sorted({*issues.given[rows].tolist()})
    return {
        'looks': [look(issues, int(row), seen) for row in rows[:EACH]],
        'classes': classes,
        'splits': sorted({*issues.split[rows].tolist()}),
        'more': max(0, len(rows) - EACH),
    }


def look(issues: Issues, row: int, seen: Contents) -> dict[str, Any]:
    """Returns the content of the picture of an example."""
    return {
        'index': int(issues.index[row]),
        'split': issues.split[row],
        'path': shown(str(issues.path[row])),
        'given': issues.given[row],
        'rank': int(issues.rank[row]),
        'picture': seen.pictures.get(row),
        'text': seen.texts.get(row),
    }
