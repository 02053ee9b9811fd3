"""The lines that an audit ends with."""

import os
import shlex
from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from ieg import report, run_folder
from ieg.label_issues import Issues, ranking, similar

if TYPE_CHECKING:
    from ieg.data.dataset import Data

# Texts in the lines, and their characters.
_TEXTS, _WIDTH = 3, 40


def lines(
    summary: Mapping[str, Any], issues: Issues | None, data: 'Data'
) -> list[tuple[str, str]]:
    """Returns the lines, as (title, text); paths and commands are on their own.

    Args:
        summary: the content of `summary.json`.
        issues: the rows of `label_issues.csv`; None if there are none.
        data: the data of the run.
    """
    folder = summary['folder']
    said = ranking.statement(summary['label_issues'])
    found = [
        ('labels to check', _to_check(issues)),
        *_first(issues, data),
        ('wrong labels', ' '.join(said) or 'unknown'),
        ('held-out accuracy', _accuracy(summary, data)),
        (
            'report and list',
            f'{os.path.join(folder, report.NAME)}\n'
            f'{os.path.join(folder, run_folder.ISSUES)}',
        ),
        ('next', _next(folder, data)),
    ]
    if copies := similar.statement(summary['label_issues']):
        found.insert(-2, ('also found', ' '.join(copies)))
    return found


def _to_check(issues: Issues | None) -> str:
    if issues is None:
        return 'unknown, too many examples and classes for the memory'
    train = issues.split == 'train'
    marked = issues.is_issue & train
    text = f'{marked.sum():,} of {train.sum():,} training labels'
    if len(issues) > train.sum():
        others = issues.is_issue & ~train
        text += f'; after them {others.sum():,} of {(~train).sum():,} held out'
    return text


def _first(issues: Issues | None, data: 'Data') -> Iterator[tuple[str, str]]:
    """Yields the line of the most suspicious texts, if examples are texts."""
    if issues is None or data.train.texts is None:
        return
    marked = np.flatnonzero(issues.is_issue & (issues.split == 'train'))
    chosen = marked[np.argsort(issues.rank[marked])][:_TEXTS]
    places = np.searchsorted(data.train.indices, issues.index[chosen])
    texts = (
        f'{shorten(text, _WIDTH, placeholder="…")!r} is labeled {given}, and '
        f'looks like {suggested}'
        for text, given, suggested in zip(
            data.train.texts[places],
            issues.given[chosen],
            issues.suggested[chosen],
            strict=True,
        )
    )
    if len(chosen):
        yield 'most suspicious', '\n'.join(texts)


def _accuracy(summary: Mapping[str, Any], data: 'Data') -> str:
    accuracy = summary.get('test_accuracy_last')
    if accuracy is None or data.test is None:
        return 'unknown: nothing was held out'
    by = 'their given labels, hence approximate'
    if data.train.clean_labels is not None:
        by = 'their true labels'
    return f'{accuracy:.1%} of {len(data.test):,} examples, by {by}'


def _next(folder: str, data: 'Data') -> str:
    run = shlex.quote(folder)
    takes, vectors = 'NEW_IMAGES', data.train.vectors
    if vectors is not None and vectors.encoding is not None:
        takes = 'NEW_ROWS.csv'
    elif data.is_vectors and not data.backbone:
        is_table = data.spec.base == 'csv'
        takes = f'NEW_VECTORS.{"csv" if is_table else "npy"}'
    return (
        'open the report, correct labels there, and save corrected.csv\n'
        f'ieg report {run} --apply=corrected.csv\n'
        f'ieg predict {run} {takes}'
    )
