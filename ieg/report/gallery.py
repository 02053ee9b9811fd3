"""The section of suspects: what a person looks at, and decides."""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ieg.label_issues.table import Issues
from ieg.report import suspects
from ieg.report.markup import (
    Html,
    counted,
    join,
    name,
    paragraph,
    percent,
    script_data,
    section,
    tag,
)
from ieg.report.run import ISSUES, RunFolder
from ieg.utils.text import shown

TITLE = 'The suspects'
HARD = (
    'These look unusual for their class, and the networks agree with their '
    'labels all the same. Change them only if you are sure.'
)
HELD_OUT = {'valid': ' (validation)', 'test': ' (held out)'}


def build(run: RunFolder, data: Any, reason: str, names: Sequence[str]) -> Html:
    """Returns the section.

    Args:
        run: has the list of issues, if it is there.
        data: `ieg.data.dataset.Data` with the images, or None.
        reason: why there are no data, a sentence.
        names: of the classes.
    """
    if run.issues is None:
        return section(
            'suspects',
            TITLE,
            paragraph(
                f'The run has no {ISSUES}, so no example can be named: it is '
                'older than that file, or has not finished.'
            ),
        )
    first, hard = suspects.choose(run.issues)
    rows = np.concatenate([first, hard])
    pictures, why = suspects.pictures(data, run.issues, rows)
    if not pictures:
        why = reason or why
    everything = [
        paragraph(_told(run, first)),
        paragraph(why, class_='remark'),
        _filters(run.issues, rows),
        tag('p', 'No suspect fits this filter.', id='none', hidden=True),
        _cards(run.issues, first, pictures, 'Suspects, most suspicious first'),
        _more(),
    ]
    if len(hard):
        everything += [
            tag('h3', 'Hard, but probably right'),
            paragraph(HARD),
            _cards(run.issues, hard, pictures, 'Hard examples'),
            _more(),
        ]
    known = sorted({*names, *map(str, run.issues.given)})
    everything += [
        _saving(run),
        tag('script', script_data(known), type='application/json', id='names'),
    ]
    return section('suspects', TITLE, *everything)


def _told(run: RunFolder, first: np.ndarray) -> str:
    wrong = int(run.issues.is_issue.sum())
    text = (
        f'{counted(len(first), "example")} of {len(run.issues.rank):,}, most '
        f'suspicious first; {wrong:,} count as wrong. Of each given class, at '
        f'least the first {suspects.EACH_CLASS} are here, where there is room. '
        'The score is how well a label fits, from 0 to 1; agreement is how '
        'often the network predicted the given label while it learnt. '
    )
    return f'{text}The whole list is {ISSUES}.'


def _filters(issues: Issues, rows: np.ndarray) -> Html:
    fields = []
    for key, label, column in (
        ('given', 'Given label', issues.given),
        ('suggested', 'Suggested label', issues.suggested),
    ):
        classes, counts = np.unique(
            np.asarray(column)[rows], return_counts=True
        )
        options = [tag('option', 'all', value='')]
        options += [
            tag('option', f'{text} ({number})', value=text)
            for text, number in zip(classes, counts, strict=True)
        ]
        fields.append(tag('label', label, tag('select', *options, id=key)))
    fields += [
        tag('label', 'Path contains', tag('input', type='search', id='path')),
        tag('button', 'Show all', type='button', id='reset'),
        tag('output', id='shown', aria_live='polite'),
    ]
    return tag(
        'form',
        *fields,
        class_='controls filters',
        role='search',
        aria_label='Filter of the suspects',
    )


def _more() -> Html:
    return tag('button', 'Show more', type='button', class_='controls more')


def _cards(
    issues: Issues,
    rows: np.ndarray,
    pictures: Mapping[int, str],
    label: str,
) -> Html:
    cards = (_card(issues, int(row), pictures.get(int(row))) for row in rows)
    return tag('ol', join(cards, '\n'), class_='cards', aria_label=label)


def _card(issues: Issues, row: int, picture: str | None) -> Html:
    given, suggested = str(issues.given[row]), str(issues.suggested[row])
    path, index = shown(str(issues.path[row])), int(issues.index[row])
    split, rank = str(issues.split[row]), int(issues.rank[row])
    inside = [_picture(picture, index, given)] if picture else []
    inside += [
        tag('dl', _facts(issues, row)),
        paragraph(_notes(issues, row), class_='notes'),
        paragraph(
            name(path) if path else f'example {index}',
            HELD_OUT.get(split, ''),
            class_='path',
        ),
    ]
    return tag(
        'li',
        tag('span', f'{rank:,}', class_='rank', title='rank'),
        *inside,
        class_='card',
        data_split=split,
        data_index=index,
        data_path=path,
        data_given=given,
        data_suggested=suggested,
    )


def _picture(picture: str, index: int, given: str) -> Html:
    # Large ones are JPEG, which would not gain by being pixelated.
    kind = 'small' if picture.startswith('data:image/png') else None
    text = f'Example {index}, labelled {given}'
    return tag(
        'div',
        tag('img', src=picture, alt=text, class_=kind, loading='lazy'),
        class_='picture',
    )


def _facts(issues: Issues, row: int) -> Html:
    facts = [
        ('given', _label(issues.given[row])),
        ('looks like', _label(issues.suggested[row])),
        ('score', f'{issues.score[row]:.3f}'),
    ]
    agreement = float(issues.agreement[row])
    if math.isfinite(agreement):
        facts.append(('agreement', percent(agreement, 0)))
    return join(
        tag('div', tag('dt', title), ' ', tag('dd', value))
        for title, value in facts
    )


def _label(text: str) -> Html:
    # A long name is cut off where it is shown.
    return tag('b', name(text), title=text)


def _notes(issues: Issues, row: int) -> str:
    """Returns what else is to be known of a row; often nothing."""
    notes = []
    if not issues.is_issue[row] and not issues.is_hard[row]:
        notes.append('not counted as wrong')
    used = float(issues.in_selection[row])
    if math.isfinite(used):
        notes.append('selected' if used else 'not selected')
    return ' · '.join(notes)


def command(folder: str) -> str:
    """Returns the command line that applies saved corrections."""
    return f'python -m ieg.report {shlex.quote(folder)} --apply=corrected.csv'


def _saving(run: RunFolder) -> Html:
    bar = tag(
        'div',
        tag('output', '0 changes', id='changes', aria_live='polite'),
        tag('button', 'Save corrections', type='button', id='save'),
        class_='controls save',
    )
    words = paragraph(
        'Save corrections writes ',
        tag('code', 'corrected.csv'),
        ', with the examples that you changed and no others; ',
        tag('code', command(run.folder)),
        ' then writes corrected labels in the form in which the data came.',
        class_='controls words',
    )
    without = tag(
        'noscript',
        paragraph(
            'Filters and corrections need JavaScript. Without it, fill in the '
            f'column corrected_label of {ISSUES}.'
        ),
    )
    return join([words, without, bar])
