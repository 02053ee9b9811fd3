"""The section of curves: the figures in the log of a run, by epoch."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from ieg.report import charts
from ieg.report.charts import Line
from ieg.report.html import NOTHING, number, percent, render
from ieg.report.run import RunFolder, is_number
from ieg.run_folder import ADVICE, LOG

# Rows of the table of figures; the log has them all.
ROWS = 40
# By key of the log: the short name, and what it is.
ACCURACIES = {
    'train_accuracy': (
        'train',
        'on the given training labels, wrong ones included, during training',
    ),
    'valid_accuracy': ('valid', 'on the given validation labels'),
    'test_accuracy': ('test', 'on the best known labels of the test set'),
}
LOSSES = {
    'loss': ('train', 'minimized by training'),
    'valid_loss': ('valid', 'cross-entropy on the given validation labels'),
    'test_loss': ('test', 'cross-entropy on the test labels'),
}
QUALITY = {
    'label_auc': (
        'AUC',
        'how well the score of the method ranks correct above wrong labels',
    ),
    'label_precision': (
        'precision',
        'share of correct labels in the selection',
    ),
    'label_recall': ('recall', 'share of the correct labels that is selected'),
    'chosen': ('selected', 'share of the examples that is selected'),
    'relabel_precision': (
        'replaced',
        'share of wrong labels among the replaced',
    ),
    'relabel_recall': (
        'reached',
        'share of the wrong labels that is replaced',
    ),
    'pseudo_label_accuracy': ('pseudo', 'share of correct pseudo-labels'),
}
SUSCEPTIBILITY = {
    'susceptibility': (
        'mean',
        'drop of the loss on random labels after one step, mean of the '
        'epochs so far',
    ),
}
FIT = {
    'fit_right': ('correct', 'share of the correct training labels predicted'),
    'fit_wrong': ('wrong', 'share of the wrong training labels predicted'),
    'fit_accuracy': ('all', 'share of the given training labels predicted'),
    'prediction_changes': (
        'changes',
        'share of predictions that changed since the last epoch',
    ),
}
FURTHER = re.compile(r'(\w+)_accuracy')
KNOWN = {'train', 'valid', 'test'}


def build(run: RunFolder) -> Markup:
    """Returns the section."""
    if not run.entries:
        return render('curves.html', rows=[], log=LOG)
    recommended = _recommended(run)
    reason = run.advice.get('reason')
    epochs = [entry['epoch'] + 1 for entry in run.entries]
    titles, rows = _figures(run, thinned(epochs))
    return render(
        'curves.html',
        charts=_charts(run),
        noise_rate=noise_rate(run),
        has_selection=bool(_lines(run, QUALITY)),
        is_tracked=bool(_lines(run, SUSCEPTIBILITY)),
        advice=ADVICE,
        recommended=recommended,
        last_epoch=epochs[-1],
        tested=dict(points(run, 'test_accuracy')).get(recommended or 0),
        reason=reason if isinstance(reason, str) else '',
        step=run.advice.get('recommended_step'),
        epochs=len(epochs),
        titles=titles,
        rows=rows,
    )


def percent0(value: float) -> str:
    """Returns a share in percent, as short as it can be."""
    return f'{100 * value:.4g}\u00a0%'


def points(run: RunFolder, key: str) -> list[tuple[int, float]]:
    """Returns (epoch from 1, value) of each entry that has a number."""
    return [
        (entry['epoch'] + 1, float(entry[key]))
        for entry in run.entries
        if is_number(entry.get(key))
    ]


def _lines(run: RunFolder, keys: Mapping[str, tuple[str, str]]) -> list[Line]:
    """Returns the curves that have any points."""
    curves = [Line(*words, points(run, key)) for key, words in keys.items()]
    return [curve for curve in curves if curve.points]


def _recommended(run: RunFolder) -> int | None:
    """Returns the recommended epoch, from 1, or None."""
    epoch = run.advice.get('recommended_epoch')
    return None if epoch is None else epoch + 1


def _charts(run: RunFolder) -> list[Markup]:
    """Returns the charts of which the log has figures."""
    marked = None
    if (epoch := _recommended(run)) is not None:
        marked = epoch, f'recommended: epoch {epoch}'
    level = None
    if rate := noise_rate(run):
        how = ', estimated' if run.realised_rate is None else ''
        share = percent(1 - rate)
        level = 1 - rate, f'share of correct training labels, {share}{how}'
    further = {
        f'{name}_accuracy': (name, 'on the labels of that test set')
        for name in _further(run)
    }
    wanted: tuple = (
        ('Accuracy', ACCURACIES | further, percent0, None, level),
        ('Loss, nats', LOSSES, number),
        ('Quality of the selection', QUALITY, percent0),
        ('Susceptibility, nats', SUSCEPTIBILITY, number, marked),
        ('Fit of the given labels', FIT, percent0, marked),
    )
    return [
        charts.lines(title, curves, *more)
        for title, keys, *more in wanted
        if (curves := _lines(run, keys))
    ]


def _further(run: RunFolder) -> list[str]:
    """Returns the names of more test sets, which have a loss as well."""
    keys = {key for entry in run.entries for key in entry}
    matches = (FURTHER.fullmatch(key) for key in sorted(keys))
    names = [match[1] for match in matches if match]
    return [n for n in names if f'{n}_loss' in keys and n not in KNOWN]


def noise_rate(run: RunFolder) -> float | None:
    """Returns the share of wrong labels: realized, else estimated, or None."""
    known = run.realised_rate
    return run.issue_summary.get('noise_rate') if known is None else known


def _figures(
    run: RunFolder, epochs: Sequence[int]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the curves as a table, for those who cannot see them.

    Returns:
        titles: of the columns, that of the epochs left out.
        rows: pairs of an epoch from 1 and its cells.
    """
    groups: tuple[tuple[str, Mapping, Callable[[float], str]], ...] = (
        ('accuracy', ACCURACIES, percent),
        ('loss', LOSSES, number),
        ('', QUALITY, percent),
        ('susceptibility,', SUSCEPTIBILITY, number),
        ('fit,', FIT, percent),
    )
    columns = [
        (f'{group} {line.name}'.strip(), dict(line.points), as_text)
        for group, keys, as_text in groups
        for line in _lines(run, keys)
    ]
    rows = [
        (
            epoch,
            [
                as_text(values[epoch]) if epoch in values else NOTHING
                for _, values, as_text in columns
            ],
        )
        for epoch in epochs
    ]
    return [title for title, *_ in columns], rows


def thinned(epochs: Sequence[int]) -> list[int]:
    """Returns at most about `ROWS` of the epochs, and the last one."""
    stride = math.ceil(len(epochs) / ROWS)
    return sorted({*epochs[::stride], epochs[-1]})
