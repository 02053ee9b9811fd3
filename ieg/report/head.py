"""The head of a report: what was trained on what, and what came out."""

import json
import os
import shlex
from collections.abc import Sequence
from typing import Any

from ieg.data.spec import OWN
from ieg.report import suspects
from ieg.report.markup import (
    NOTHING,
    Html,
    count,
    duration,
    join,
    name,
    paragraph,
    percent,
    table,
    tag,
)
from ieg.report.run import ISSUES, PREDICTIONS, RunFolder
from ieg.run_folder import CONFIG, LOG, SUMMARY
from ieg.training.runlog import headline


def build(run: RunFolder, names: Sequence[str]) -> Html:
    """Returns the head.

    Args:
        run: all that is known.
        names: of the classes.
    """
    return tag(
        'header',
        paragraph('Report of a run', class_='eyebrow'),
        tag('h1', name(title(run))),
        paragraph(*_subtitle(run, names), class_='subtitle'),
        paragraph(verdict(run), class_='verdict'),
        paragraph(*_noise(run)),
        paragraph(_detection(run)),
        _missing(run),
        _tiles(run),
        _remarks(run),
        _facts(run, names),
        id='top',
    )


def title(run: RunFolder) -> str:
    """Returns what was learnt from; a folder of one's own by its name."""
    dataset = run.options['dataset']
    folder = run.options.get('data_dir')
    if dataset.split('_')[0] not in OWN or not isinstance(folder, str):
        return dataset
    return f'{os.path.basename(os.path.normpath(folder))} ({dataset})'


def _subtitle(run: RunFolder, names: Sequence[str]) -> list[Any]:
    options, found = run.options, []
    found += [tag('strong', options['method'])]
    if options.get('network_name'):
        found += [' with the network ', tag('strong', options['network_name'])]
    train, valid, test = sizes(run)
    if train is not None:
        found.append(f', {train:,} training')
        found.append(f', {valid:,} validation' if valid else '')
        found.append(f' and {test:,} test examples' if test else ' examples')
    if names:
        found.append(f' of {len(names):,} classes')
    return found


def sizes(run: RunFolder) -> tuple[int | None, int | None, int | None]:
    """Returns how many training, validation and test examples there are."""
    found = run.predictions
    if found is not None:
        return tuple(
            len(found[key]) if key in found else None
            for key in ('train_labels', 'valid_labels', 'test_labels')
        )
    if run.issues is not None:
        splits = run.issues.split
        return tuple(
            int((splits == name).sum()) for name in ('train', 'valid', 'test')
        )
    # Its rows are those of training and validation together.
    known = run.noise is not None
    return len(run.noise.noisy) if known else None, None, None


def suspicious(run: RunFolder) -> tuple[int, int] | None:
    """Returns how many labels look wrong, of how many; None if not told."""
    if run.issues is None:
        return None
    wrong = run.issues.is_issue
    return int(wrong.sum()), len(wrong)


def verdict(run: RunFolder) -> Html:
    """Returns the one sentence to take away."""
    found = suspicious(run)
    if found is None:
        return Html('This run tells of no single label whether it is right.')
    wrong, total = found
    if not wrong:
        return join([f'None of {total:,} labels looks wrong.'])
    text = f'{wrong:,} of {total:,} labels '
    text += 'looks wrong; ' if wrong == 1 else 'look wrong; '
    first, _ = suspects.choose(run.issues)
    shown = int(run.issues.is_issue[first].sum())
    what = f'check the first {shown}' if shown < wrong else 'check them'
    if wrong == 1:
        what = 'check it'
    return join([text, tag('a', what, href='#suspects'), '.'])


def _noise(run: RunFolder) -> list[Any]:
    """Returns what is estimated and known of the noise, in sentences."""
    found = []
    rate, interval = (
        run.found.get(key) for key in ('noise_rate', 'noise_rate_interval')
    )
    if rate is not None:
        text = f'About {percent(rate)} of the labels are wrong, by an estimate '
        text += 'without any true label'
        if interval is not None:
            low, high = (percent(value) for value in interval)
            text += f' (between {low} and {high})'
        found.append(f'{text}. ')
    realised = run.realised_rate
    if realised is not None:
        nominal = run.summary.get('noise_rate_nominal')
        text = f'In truth, {percent(realised)} are'
        if nominal is not None:
            text += f'; the data set asks for {percent(nominal)}'
        found.append(f'{text}.')
    return found


def _detection(run: RunFolder) -> str:
    """Returns how good the list is, where true labels are known."""
    auc = run.found.get('roc_auc')
    if auc is None:
        return ''
    text = (
        'Measured with the true labels, which the list did not use: ROC-AUC '
        f'{auc:.4f}'
    )
    budget, precision, missed = (
        run.found.get(key)
        for key in (
            'budget',
            'precision_at_budget',
            'false_negative_rate_at_budget',
        )
    )
    if None not in (budget, precision, missed):
        text += (
            f'; of the first {budget:,.0f}, as many as are wrong, '
            f'{percent(precision)} are, so {percent(missed)} of the wrong '
            'labels are missed there'
        )
    return f'{text}.'


def _missing(run: RunFolder) -> Html:
    """Returns a sentence for each file that a report would like to have."""
    found = []
    if not run.summary:
        found.append(
            f'There is no {SUMMARY}, so the run has not finished; the figures '
            'are those of its log so far.'
        )
    elif not run.found:
        found.append(
            f'{SUMMARY} has no estimate of the noise: the run is older than '
            'that.'
        )
    if not run.entries:
        found.append(f'{LOG} has no epoch, so there are no curves.')
    if run.issues is None:
        found.append(f'There is no {ISSUES}, so there are no suspects.')
    if run.predictions is None:
        found.append(
            f'There is no {PREDICTIONS}, so figures by class and the '
            'calibration are missing.'
        )
    items = (tag('li', text) for text in found)
    return tag('ul', *items, class_='remark') if found else Html('')


def _tiles(run: RunFolder) -> Html:
    summary = headline(run.entries) | dict(run.summary)
    seconds = summary.get('seconds')
    if seconds is None:
        times = [entry.get('seconds') or 0 for entry in run.entries]
        seconds = sum(times) if times else None
    tiles = [
        ('test accuracy', 'test_accuracy_last', 'after the last epoch'),
        ('test accuracy', 'test_accuracy_last10', 'mean of the last ten'),
        (
            'test accuracy',
            'test_accuracy_at_best_valid',
            'at the best validation',
        ),
        (
            'oracle',
            'test_accuracy_oracle',
            'best epoch by the test labels, which nobody could choose',
        ),
    ]
    shown = [
        _tile(title, percent(summary[key], 2), note, oracle=title == 'oracle')
        for title, key, note in tiles
        if summary.get(key) is not None
    ]
    shown += _noise_tiles(run)
    speed = summary.get('images_per_second')
    epochs = len(run.entries)
    note = f'{epochs:,} epoch{"s" * (epochs != 1)}'
    if speed is not None:
        note += f', {speed:,.0f} images per second'
    shown.append(_tile('duration', duration(seconds), note))
    return tag('ul', *shown, class_='tiles')


def _noise_tiles(run: RunFolder) -> list[Html]:
    rate, interval = (
        run.found.get(key) for key in ('noise_rate', 'noise_rate_interval')
    )
    found = []
    if rate is not None:
        note = 'estimated'
        if interval is not None:
            note += f', {percent(interval[0])} to {percent(interval[1])}'
        found.append(_tile('wrong labels', percent(rate), note))
    realised = run.realised_rate
    if realised is not None:
        nominal = run.summary.get('noise_rate_nominal')
        note = 'realised'
        if nominal is not None:
            note += f', nominal {percent(nominal)}'
        found.append(_tile('wrong labels', percent(realised), note))
    return found


def _tile(title: str, value: str, note: str, oracle: bool = False) -> Html:
    return tag(
        'li',
        tag('span', title, class_='title'),
        tag('span', value, class_='value'),
        tag('span', note, class_='note'),
        class_='oracle' if oracle else None,
    )


def _remarks(run: RunFolder) -> Html:
    """Returns what was remarked on the data, and during the training."""
    found = [str(text) for text in _listed(run.summary.get('data_remarks'))]
    for entry in run.entries:
        found += [
            f'Epoch {entry["epoch"] + 1}: {text}'
            for text in _listed(entry.get('remarks'))
        ]
    if not found:
        return Html('')
    items = (tag('li', name(text, 'span')) for text in found)
    return tag(
        'details',
        tag('summary', f'{len(found)} remark{"s" * (len(found) > 1)}'),
        tag('ul', *items),
        open=len(found) <= 3,
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _facts(run: RunFolder, names: Sequence[str]) -> Html:
    """Returns how to repeat the run, and all of its options."""
    versions = run.summary.get('versions')
    versions = versions if isinstance(versions, dict) else {}
    train, valid, test = sizes(run)
    pairs = [
        ('seed', run.options.get('seed', NOTHING)),
        ('epochs', count(len(run.entries))),
        ('steps', count(run.entries[-1].get('step') if run.entries else None)),
        ('training examples', count(train)),
        ('validation examples', count(valid)),
        ('test examples', count(test)),
        ('classes', count(len(names) or None)),
        ('versions', ', '.join(f'{n} {v}' for n, v in versions.items())),
        ('run folder', run.folder),
        ('to repeat it', tag('code', _repeat(run))),
    ]
    facts = join(
        join([tag('dt', title), tag('dd', tag('bdi', value))])
        for title, value in pairs
        if value not in ('', NOTHING)
    )
    rows = [
        [key, name(json.dumps(value, ensure_ascii=False), 'code')]
        for key, value in sorted(run.options.items())
    ]
    return tag(
        'details',
        tag('summary', 'Details and all options'),
        tag('dl', facts, class_='facts'),
        table('Options', ['option', 'value'], rows),
    )


def _repeat(run: RunFolder) -> str:
    path = shlex.quote(f'{run.folder}/{CONFIG}')
    return f'python -m ieg.main --config={path} --checkpoint_path=elsewhere'
