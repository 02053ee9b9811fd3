"""Finished runs side by side where none was trained with --track_memorization.

Without susceptibility there is nothing to recommend a run by, but their figures
can be compared.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from ieg.compare import comparison
from ieg.compare.runs import finished, is_tracked, none_left, same_data
from ieg.run_folder import SUMMARY, damaged, plain, read_object, read_options
from ieg.utils.files import check_sums
from ieg.utils.text import limits

HEADER = (
    'folder', 'run', 'test_accuracy', 'labels_to_check', 'noise_rate_low',
    'noise_rate_high',
)  # fmt: skip


class Figures(NamedTuple):
    """What a finished run says.

    Attributes:
        folder: of the run.
        options: all options of the run.
        test_accuracy: after the last epoch; None without a test part.
        marked: labels to check; None for a run that did not score labels.
        interval: share of wrong labels, at least and at most; or None.
    """

    folder: str
    options: dict[str, Any]
    test_accuracy: float | None
    marked: int | None
    interval: tuple[float, float] | None


class Table(NamedTuple):
    """Runs side by side.

    Attributes:
        rows: one for each run.
        labels: the options in which each differs from the others.
        left_out: a sentence for each run that is not there.
    """

    rows: list[Figures]
    labels: list[str]
    left_out: list[str]

    def __str__(self) -> str:
        lines = ['    test  labels to check  wrong of all  run']
        for row, label in zip(self.rows, self.labels, strict=True):
            test = marked = wrong = '-'
            if row.test_accuracy is not None:
                test = f'{100 * row.test_accuracy:.2f}'
            if row.marked is not None:
                marked = f'{row.marked:,}'
            if row.interval is not None:
                wrong = limits(*row.interval)
            lines.append(f'{test:>8}{marked:>17}  {wrong:<12}  {label}')
        end = (
            'No run is recommended, because none was trained with '
            '--track_memorization.'
        )
        parts = ['\n'.join(self.left_out), '\n'.join(lines), end]
        return '\n\n'.join(part for part in parts if part)

    def cells(self) -> list[list[Any]]:
        """Returns a header and a row for each run."""
        return [
            [*HEADER],
            *(
                [row.folder, label, row.test_accuracy, row.marked]
                + list(row.interval or (None, None))
                for row, label in zip(self.rows, self.labels, strict=True)
            ),
        ]


def table(folders: Sequence[str]) -> Table | None:
    """Returns the figures of finished runs; None if one was tracked.

    Args:
        folders: the run folders.

    Raises:
        UsageError: a file is damaged, the runs have different data sets, or
            none has finished.
    """
    if any(map(is_tracked, folders)):
        return None
    folders, left_out = finished(folders)
    if not folders:
        raise none_left(left_out)
    rows = [_read(folder) for folder in folders]
    for row in rows:
        same_data(rows[0], row)
    return Table(rows, comparison.labels(rows), left_out)


def _read(folder: str) -> Figures:
    check_sums(folder)
    path = os.path.join(folder, SUMMARY)
    summary = read_object(path)
    issues = summary.get('label_issues') or {}
    options = read_options(folder)
    try:
        accuracy = plain(summary.get('test_accuracy_last'))
        marked, both = map(issues.get, ('count', 'noise_rate_interval'))
        if both is not None:
            low, high = map(float, both)
        return Figures(
            folder,
            options,
            None if accuracy is None else float(accuracy),
            None if marked is None else int(marked),
            None if both is None else (low, high),
        )
    except (AttributeError, TypeError, ValueError):
        raise damaged(path, 'a figure is not a number') from None
