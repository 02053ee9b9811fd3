"""The lines that an audit ends with."""

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ieg import report, run_folder
from ieg.label_issues import Issues
from ieg.label_issues.score import LIKELY, PRECISION

if TYPE_CHECKING:
    from ieg.data.dataset import Split


def lines(
    summary: Mapping[str, Any], issues: Issues | None, test: 'Split | None'
) -> list[tuple[str, str]]:
    """Returns the lines, as (title, text).

    Args:
        summary: the content of `summary.json`.
        issues: the rows of `label_issues.csv`; None if there are none.
        test: the test part.
    """
    folder = summary['folder']
    figures = summary['label_issues']
    return [
        ('labels to check', _to_check(issues)),
        ('wrong among them', _share(figures)),
        ('held-out accuracy', _accuracy(summary, test)),
        (
            'report and list',
            f'{os.path.join(folder, report.NAME)}, '
            f'{os.path.join(folder, run_folder.ISSUES)}',
        ),
        ('next', _next(folder)),
    ]


def _to_check(issues: Issues | None) -> str:
    if issues is None:
        return 'unknown, too many examples and classes for the memory'
    train = issues.split == 'train'
    marked = issues.is_issue & train
    text = f'{marked.sum():,} of {train.sum():,} training labels'
    if len(issues) > train.sum():
        held_out = issues.is_issue & ~train
        text += (
            f'; after them {held_out.sum():,} of {(~train).sum():,} held out'
        )
    return text


def _share(figures: Mapping[str, Any]) -> str:
    if 'never_predicted' not in figures:
        return (
            'unknown: only runs on vectors and frozen features (--backbone) '
            'measure it'
        )
    low, high = figures['noise_rate_interval']
    if figures['noise_rate'] is None:
        return (
            f'unknown, as the network is too weak: at most {high:.0%} of all '
            'labels are wrong'
        )
    if not figures['count']:
        return f'no label is marked; at most {high:.0%} of all are wrong'
    mean, least = PRECISION[LIKELY]
    return (
        f'about {100 * mean:.0f} of 100 ({100 * least:.0f} or more in 95% of '
        f'the benchmark); of all labels {low:.0%} to {high:.0%}'
    )


def _accuracy(summary: Mapping[str, Any], test: 'Split | None') -> str:
    accuracy = summary.get('test_accuracy_last')
    if accuracy is None or test is None:
        return 'unknown: nothing was held out'
    by = 'their given labels, hence approximate'
    if test.clean_labels is not None:
        by = 'true labels'
    return f'{accuracy:.1%} of {len(test):,} examples, by {by}'


def _next(folder: str) -> str:
    run = shlex.quote(folder)
    return (
        'open the report, save your corrections, then '
        f'ieg report {run} --apply=corrected.csv; '
        f'or ieg predict {run} IMAGES'
    )
