"""The section of curves: what the log of a run has, epoch by epoch."""

import math
import re
from collections.abc import Sequence

from ieg.report import charts
from ieg.report.charts import Line
from ieg.report.markup import (
    NOTHING,
    Html,
    join,
    paragraph,
    percent,
    section,
    table,
    tag,
)
from ieg.report.run import RunFolder, is_number
from ieg.report.svg import number
from ieg.run_folder import ADVICE, LOG

# Rows of the table of figures; the log has them all.
ROWS = 40
# By key of the log: the short name, and what it is.
ACCURACIES = {
    'train_accuracy': (
        'train',
        'on the given training labels, wrong ones included, while training',
    ),
    'valid_accuracy': ('valid', 'on the given validation labels'),
    'test_accuracy': ('test', 'on the best known labels of the test part'),
}
LOSSES = {
    'loss': ('train', 'what the training minimises'),
    'valid_loss': ('valid', 'cross-entropy on the given validation labels'),
    'test_loss': ('test', 'cross-entropy on the test labels'),
}
QUALITY = {
    'label_auc': (
        'AUC',
        'right labels against wrong ones, by the score of the method',
    ),
    'label_precision': ('precision', 'share of right labels in the selection'),
    'label_recall': ('recall', 'share of the right labels that is selected'),
    'chosen': ('selected', 'share of the examples that is selected'),
    'relabel_precision': (
        'replaced',
        'share of wrong labels among those that are replaced',
    ),
    'relabel_recall': (
        'reached',
        'share of the wrong labels that is replaced',
    ),
    'pseudo_label_accuracy': ('pseudo', 'share of right pseudo-labels'),
}
SUSCEPTIBILITY = {
    'susceptibility': (
        'mean',
        'drop of the loss on random labels by one step, mean of the epochs',
    ),
}
FIT = {
    'fit_right': ('right', 'share of the right training labels predicted'),
    'fit_wrong': ('wrong', 'share of the wrong training labels predicted'),
    'fit_accuracy': ('all', 'share of the given training labels predicted'),
    'prediction_changes': ('changes', 'predictions that changed since before'),
}
FURTHER = re.compile(r'(\w+)_accuracy')
KNOWN = {'train', 'valid', 'test'}


def build(run: RunFolder) -> Html:
    """Returns the section."""
    title = 'How the training went'
    if not run.entries:
        return section(
            'curves',
            title,
            paragraph(f'No epoch is in {LOG} yet, so there are no curves.'),
        )
    groups = [
        _accuracy(run),
        _chart(run, 'Loss, nats', LOSSES, number),
        _chart(run, 'Quality of the selection', QUALITY, percent0),
        _chart(
            run, 'Susceptibility, nats', SUSCEPTIBILITY, number,
            marked=_marked(run),
        ),
        _chart(
            run, 'What is learnt of the given labels', FIT, percent0,
            marked=_marked(run),
        ),
    ]  # fmt: skip
    shown = tag('div', *groups, class_='charts')
    return section('curves', title, *_words(run), shown, _figures(run))


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


def _lines(run: RunFolder, keys: dict[str, tuple[str, str]]) -> list[Line]:
    found = [Line(*words, points(run, key)) for key, words in keys.items()]
    return [line for line in found if line.points]


def _chart(
    run: RunFolder, title: str, keys: dict[str, tuple[str, str]], *args, **more
) -> Html:
    """Returns a chart, or nothing where the log has no such figure."""
    found = _lines(run, keys)
    return charts.lines(title, found, *args, **more) if found else Html('')


def _accuracy(run: RunFolder) -> Html:
    further = {
        f'{name}_accuracy': (name, 'on the labels of that test part')
        for name in _further(run)
    }
    rate = noise_rate(run)
    level = None
    if rate:
        how = ', estimated' if run.realised_rate is None else ''
        share = percent(1 - rate)
        level = (1 - rate, f'share of right training labels, {share}{how}')
    keys = ACCURACIES | further
    return _chart(run, 'Accuracy', keys, percent0, level=level)


def _further(run: RunFolder) -> list[str]:
    """Returns the names of more test parts, which have a loss as well."""
    keys = {key for entry in run.entries for key in entry}
    names = (FURTHER.fullmatch(key) for key in sorted(keys))
    names = [match[1] for match in names if match]
    return [n for n in names if f'{n}_loss' in keys and n not in KNOWN]


def noise_rate(run: RunFolder) -> float | None:
    """Returns the share of wrong labels: realised, else estimated, or None."""
    known = run.realised_rate
    return run.found.get('noise_rate') if known is None else known


def _marked(run: RunFolder) -> tuple[int, str] | None:
    epoch = run.advice.get('recommended_epoch')
    if epoch is None:
        return None
    return epoch + 1, f'recommended: epoch {epoch + 1}'


def _words(run: RunFolder) -> list[Html]:
    """Returns what is to be read off the curves, and what they lack."""
    found = []
    if noise_rate(run):
        found.append(
            'Where training accuracy climbs over the dashed line, the share '
            'of right labels, wrong labels are being learnt by heart.'
        )
    if not _lines(run, QUALITY):
        found.append(
            'The log has no figures on a selection: the method selects '
            'nothing, or nobody knows which labels are right.'
        )
    tracked = [_advice(run)]
    if not _lines(run, SUSCEPTIBILITY):
        tracked = [
            'The run was not tracked (',
            tag('code', '--track_memorization'),
            '), so there is no susceptibility and no recommended epoch.',
        ]
    return [paragraph(' '.join(found)), paragraph(*tracked)]


def _advice(run: RunFolder) -> Html:
    epoch, step = (
        run.advice.get(f'recommended_{name}') for name in ('epoch', 'step')
    )
    if epoch is None:
        return Html(f'No epoch is recommended: {ADVICE} names none.')
    sentence = [
        'The tracker recommends the networks after ',
        tag('strong', f'epoch {epoch + 1}'),
        f' of {run.entries[-1]["epoch"] + 1}',
    ]
    tested = dict(points(run, 'test_accuracy')).get(epoch + 1)
    if tested is not None:
        sentence.append(f', where test accuracy was {percent(tested, 2)}')
    sentence.append('. ')
    reason = run.advice.get('reason')
    if isinstance(reason, str):
        sentence.append(f'{reason} ')
    if step is not None:
        option = tag('code', f'--restore_step={step}')
        sentence += [option, ' restores them, if that checkpoint was kept.']
    return join(sentence)


def _figures(run: RunFolder) -> Html:
    """Returns the curves as a table, for those who cannot see them."""
    groups = (
        ('accuracy', ACCURACIES, percent),
        ('loss', LOSSES, number),
        ('', QUALITY, percent),
        ('susceptibility,', SUSCEPTIBILITY, number),
        ('fit of', FIT, percent),
    )
    columns = []
    for group, keys, as_text in groups:
        for line in _lines(run, keys):
            title = f'{group} {line.name}'.strip()
            columns.append((title, dict(line.points), as_text))
    epochs = [entry['epoch'] + 1 for entry in run.entries]
    rows = [
        [
            str(epoch),
            *(
                as_text(values[epoch]) if epoch in values else NOTHING
                for _, values, as_text in columns
            ),
        ]
        for epoch in thinned(epochs)
    ]
    caption = 'Figures by epoch'
    if len(rows) < len(epochs):
        caption += f'; {len(rows)} of {len(epochs)} epochs'
    return tag(
        'details',
        tag('summary', 'The same in numbers'),
        table(caption, ['epoch', *(title for title, *_ in columns)], rows),
    )


def thinned(epochs: Sequence[int]) -> list[int]:
    """Returns at most about `ROWS` of the epochs, and the last one."""
    stride = math.ceil(len(epochs) / ROWS)
    return sorted({*epochs[::stride], epochs[-1]})
