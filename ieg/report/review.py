"""The labels that a person reviews: drawn, read, and what follows from them."""

import dataclasses
import json
import os
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from ieg import label_issues, report, run_folder
from ieg.corrections import edits
from ieg.errors import UsageError
from ieg.label_issues import Issues, ranking, review
from ieg.label_issues.floor import EVIDENCE, INTERVAL, RATE
from ieg.label_issues.score import POSSIBLE
from ieg.report import run as report_run
from ieg.report.run import RunFolder
from ieg.utils.files import SUMS, atomic_write, remove, write_sums

if TYPE_CHECKING:
    from ieg.data.dataset import Data


def sample(folder: str, count: int) -> str:
    """Writes `sample.csv`, training labels drawn at random, for a review.

    The same labels each time, and first those of a smaller sample; what a
    person wrote into the file is kept.

    Args:
        folder: of a finished run.
        count: number of labels.

    Returns:
        One sentence: what to do with them.

    Raises:
        UsageError: the run is not finished or has fewer labels, or the file
            has reviewed labels that would be lost.
    """
    run, rows, _ = _finished(folder)
    path = os.path.join(run.folder, run_folder.SAMPLE)
    places = review.drawn(rows, _seed(run))
    if count > len(places):
        raise UsageError(
            f'--sample={count} is more than the {len(places):,} training '
            'labels of the run: ask for fewer.'
        )
    columns: dict[str, Any] = {
        name: None if values is None else values[places[:count]]
        for name, values in vars(rows).items()
    }
    answers: dict[int, str] = {}
    if os.path.exists(path):
        old = label_issues.read(path)
        pairs = zip(old.index.tolist(), old.corrected, strict=True)
        answers = {index: text for index, text in pairs if text.strip()}
    texts = [answers.pop(index, '') for index in columns['index'].tolist()]
    if answers:
        raise UsageError(
            f'{path} has {len(answers)} reviewed labels that would be lost: '
            'ask for at least as many as before, or rename the file.'
        )
    columns['corrected'] = np.array(texts, object)
    label_issues.write(path, Issues(**columns))
    return (
        f'{path} has {count} training labels drawn at random: write the right '
        'class of each into the column corrected_label, also where the given '
        f'label is right, then run `{command(run.folder, path)}`.'
    )


def command(folder: str, path: str) -> str:
    """Returns the command line that reads a review."""
    return f'ieg report {shlex.quote(folder)} --reviewed={shlex.quote(path)}'


def _finished(folder: str) -> tuple[RunFolder, Issues, edits.Known]:
    """Reads a run with a list of labels, the list, and the training examples.

    Raises:
        UsageError: it is not such a run.
    """
    run = report_run.read(folder)
    if run.issues is None or EVIDENCE not in run.issue_summary:
        raise UsageError(
            f'{run.folder} has no list of labels to review: the run has not '
            'finished, is of an earlier version, or had no memory for the '
            'list; repeat its command.'
        )
    return run, run.issues, _known(run, run.issues)


def _seed(run: RunFolder) -> int:
    seed = run.options.get('seed')
    if type(seed) is not int or seed < 0:
        path = os.path.join(run.folder, run_folder.CONFIG)
        raise run_folder.damaged(path, 'seed is not a number')
    return seed


def read(folder: str, path: str) -> RunFolder:
    """Returns a run as a review changes it; nothing is written.

    Args:
        folder: of a finished run.
        path: `sample.csv`, or its first rows, with a class in every row.

    Raises:
        UsageError: the table has a mistake, or the run is not finished.
    """
    run, rows, known = _finished(folder)
    labels = edits.reviewed_labels(path, run.class_names, 'train', known)
    places = np.array([*labels])
    wrong = int((known.labels[places] != [*labels.values()]).sum())
    first = review.drawn(rows, _seed(run))[: len(labels)]
    if {*rows.index[first]} != {*known.indices[places]}:
        raise UsageError(
            f'{path} does not have the first {len(labels)} labels that '
            '--sample draws, and only labels drawn at random say something '
            'about the others: fill in all rows of that table.'
        )
    figures = review.narrowed(run.issue_summary, len(labels), wrong)
    # Networks that were too weak to mark labels are not better now.
    is_judged = (figures[EVIDENCE] or {RATE: None})[RATE] is not None
    point, lower = figures[RATE], figures[INTERVAL][0]
    rows = review.marked_again(rows, is_judged * point, is_judged * lower)
    assert rows.mark is not None
    figures |= ranking.counts(rows.mark)
    figures['hard'] = figures['marks'][POSSIBLE]
    return dataclasses.replace(run, issues=rows, issue_summary=figures)


def _known(run: RunFolder, rows: Issues) -> edits.Known:
    """Returns the training examples of a run.

    Raises:
        UsageError: its predictions are missing, or the list lacks some.
    """
    arrays, train = run.predictions or {}, rows.split == 'train'
    paths = (run_folder.PREDICTIONS, run_folder.ISSUES)
    predictions, table = (os.path.join(run.folder, name) for name in paths)
    indices = arrays.get('train_indices')
    if indices is None:
        raise UsageError(
            f'{predictions} has no train_indices, which say which examples '
            'the rows of a table are about: restore the file, or train again.'
        )
    order = np.argsort(rows.index[train])
    if not np.array_equal(rows.index[train][order], np.sort(indices)):
        raise run_folder.damaged(table, 'its training rows are not all there')
    names = np.empty(len(indices), object)
    names[np.argsort(indices)] = rows.path[train][order]
    labels = arrays['train_labels'].astype(int)
    return edits.Known(indices, labels, names if names.any() else None)


def write(run: RunFolder, data: 'Data | None', reason: str) -> str:
    """Writes the list, the summary and the report of a reviewed run.

    Args:
        run: see `read`.
        data: see `report.write`.
        reason: see `report.write`.

    Returns:
        The path of the report.

    Raises:
        OSError: a file cannot be written; the same review can be read again.
        RunError: see `report.write`; nothing was written.
    """
    page = report.page(run, data, reason)
    paths = (run_folder.SUMMARY, run_folder.ISSUES, report.NAME)
    summary, table, shown = (os.path.join(run.folder, name) for name in paths)
    content = run_folder.read_object(summary)
    content['label_issues'] = run.issue_summary
    assert run.issues is not None
    # Without sums, what is half written can be read and written again.
    remove(os.path.join(run.folder, SUMS))
    label_issues.write(table, run.issues)
    atomic_write(summary, json.dumps(content, indent=1) + '\n')
    atomic_write(shown, page)
    write_sums(run.folder, run_folder.SEALED)
    return shown
