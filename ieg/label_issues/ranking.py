"""The ranked list of labels, with marks, and how many of them are wrong."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.label_issues import ADDED, COLUMNS, Issues, detection
from ieg.label_issues.floor import EVIDENCE, INTERVAL, RATE, Floor
from ieg.label_issues.score import (
    CERTAIN,
    LIKELY,
    POSSIBLE,
    PRECISION,
    Looked,
    mark,
)
from ieg.utils.text import counted, percent

# In `label_issues` of `summary.json`: how many labels a person reviewed.
REVIEWED = 'reviewed'


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """Examples of a split of a run, and what the evidence says; n of them.

    Attributes:
        looked: what it says; its `rows` are positions in the part as its owner
            gave it.
        names: paths of their files, str [n]; None for arrays.
        chosen: whether the method selected the label as clean [n]; None if it
            does not select.
        clean: true labels [n], for figures only; None if unknown.
    """

    looked: Looked
    names: np.ndarray | None = None
    chosen: np.ndarray | None = None
    clean: np.ndarray | None = None


def rank(
    parts: Sequence[Judged], class_names: Sequence[str], floor: Floor | None
) -> tuple[Issues, dict[str, Any]]:
    """Ranks labels by their score, those of training examples first.

    Evidence of examples that were trained on and of others differs in kind, so
    they are not sorted together.

    Args:
        parts: the training examples, then others.
        class_names: one name per class.
        floor: how many labels are wrong; None if nothing was held out, so
            none is marked.

    Returns:
        The rows, and `label_issues` of `summary.json`.
    """
    train = parts[0]
    names, unseen = np.array(class_names, object), train.looked.unseen
    tables = [_table(part, names, floor, unseen) for part in parts]
    groups = [tables[0], *([pd.concat(tables[1:])] if tables[1:] else [])]
    table = pd.concat(
        [group.sort_values('score', kind='stable') for group in groups]
    )
    table['rank'] = np.arange(1, len(table) + 1)
    columns = (COLUMNS | ADDED).values()
    rows = Issues(
        **{
            field: np.array(table[field], kind)
            for field, kind in columns
            if field in table
        }
    )
    found = figures(table['mark'], names[unseen], floor)
    found['hard'] = found['marks'][POSSIBLE]
    if train.clean is not None:
        right = train.clean == train.looked.given
        found |= detection(right, train.looked.score)
    return rows, found


def figures(
    marks: Iterable[str], unseen: np.ndarray, floor: Floor | None
) -> dict[str, Any]:
    """Returns how many labels are wrong, and how many are marked.

    Args:
        marks: of all labels.
        unseen: names of the classes that are never predicted.
        floor: how many labels are wrong; None if that is unknown.
    """
    unknown = dict.fromkeys((RATE, INTERVAL, EVIDENCE))
    return {
        **counts(marks),
        **(floor.figures() if floor else unknown),
        'never_predicted': unseen.tolist(),
    }


def counts(marks: Iterable[str]) -> dict[str, Any]:
    """Returns how many labels are marked."""
    count = Counter(marks)
    return {
        'count': count[CERTAIN] + count[LIKELY],
        'marks': {mark: count[mark] for mark in (CERTAIN, LIKELY, POSSIBLE)},
    }


def _table(
    part: Judged, names: np.ndarray, floor: Floor | None, unseen: np.ndarray
) -> pd.DataFrame:
    """Returns the rows of a part, in its order, without ranks."""
    looked, chosen = part.looked, part.chosen
    marks = mark(looked.given, looked.suggested, looked.score, floor, unseen)
    table = pd.DataFrame(
        {
            'index': looked.rows,
            'path': '' if part.names is None else _text(part.names),
            'split': looked.split,
            'given': _text(names[looked.given]),
            'suggested': _text(names[looked.suggested]),
            # In [0, 1], as in all lists.
            'score': (1 + looked.score) / 2,
            'margin': looked.margin,
            'agreement': looked.agreement,
            'in_selection': np.nan if chosen is None else chosen.astype(float),
            'is_issue': np.isin(marks, [CERTAIN, LIKELY]),
            'is_hard': marks == POSSIBLE,
            'corrected': '',
            'mark': _text(marks),
        }
    )
    if not np.isnan(looked.near).all():
        table['neighbour_agreement'] = looked.near
    return table


def _text(values: np.ndarray) -> pd.Series:
    return pd.Series(values, dtype=object)


def statement(figures: Mapping[str, Any]) -> list[str]:
    """Returns sentences about how many labels are wrong, and the marked ones.

    Args:
        figures: `label_issues` of `summary.json`.

    Returns:
        Nothing for a run of an earlier version, or without a list.
    """
    if 'never_predicted' not in figures:
        return []
    if figures.get(INTERVAL) is None:
        return [
            'How many labels are wrong is unknown, and none is marked, because '
            'no training examples were held out: hold out 50 or more, such as '
            'by --valid_ratio=0.1.'
        ]
    sentences = [_rate(figures), *_reviewed(figures)]
    if count := figures.get('count'):
        end = '.'
        # How many of as many as a review says are wrong was not measured.
        if not figures.get(REVIEWED):
            mean, most = PRECISION[LIKELY]
            end = (
                f'; about {100 * mean:.0f} of 100 of these are wrong '
                f"({100 * most:.0f} or more in 95% of the benchmark's cells)."
            )
        verb = 'is' if count == 1 else 'are'
        sentences.append(f'{counted(count, "label")} {verb} marked{end}')
    if missing := figures['never_predicted']:
        sentences.append(
            f'No example looks like {", ".join(map(repr, missing[:10]))}, so '
            'labels of this kind are not marked.'
        )
    return sentences


def _rate(figures: Mapping[str, Any]) -> str:
    """Returns the sentence about how many labels are wrong."""
    low, high = figures[INTERVAL]
    point = figures[RATE]
    # A lower limit is zero, or not small.
    least = f'At least {low:.1%} and at most' if low else 'At most'
    sentence = f'{least} {percent(high, 1)} of the labels are wrong'
    if point is None:
        return (
            f'{sentence}; the network is too weak, or the held-out examples '
            'are too few, to tell more, so none is marked.'
        )
    if not point:
        return f'{sentence}, perhaps none, so none is marked.'
    # A review can say otherwise, or be all that is known.
    held = figures.get(EVIDENCE) or {}
    if figures.get(REVIEWED) and point != held.get(RATE):
        return f'{sentence}; about {point:.1%}.'
    return (
        f'{sentence}; about {point:.1%} if wrong labels are as common among '
        'hard examples as among easy ones.'
    )


def _reviewed(figures: Mapping[str, Any]) -> list[str]:
    """Returns the sentence about labels that a person reviewed, if any."""
    if not (review := figures.get(REVIEWED)):
        return []
    count, wrong = review['examples'], review['wrong']
    return [
        f'Of {counted(count, "label")} that {"was" if count == 1 else "were"} '
        f'reviewed, {wrong:,} {"is" if wrong == 1 else "are"} wrong.'
    ]
