"""The ranked list of labels, with marks, and how many of them are wrong."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.label_issues import ADDED, COLUMNS, Issues, detection
from ieg.label_issues.floor import HELD_OUT, INTERVAL, RATE, Floor
from ieg.label_issues.score import (
    CERTAIN,
    LIKELY,
    POSSIBLE,
    PRECISION,
    Scored,
)
from ieg.utils.text import counted, percent

# In `label_issues` of `summary.json`: how many labels a person reviewed.
REVIEWED = 'reviewed'


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """Examples of a split of a run, and the evidence about their labels.

    Attributes:
        split: name of the split: 'train', 'valid' or 'test'.
        indices: positions in the part as its owner gave it [n].
        names: paths of their files, str [n]; None for arrays.
        scored: the evidence.
        margin: mean probability of the given class less that of the most
            probable other one [n].
        agreement: share of the visits that predicted the given label [n].
        chosen: whether the method selected the label as clean [n]; None if it
            does not select.
        clean: true labels [n], for figures only; None if unknown.
    """

    split: str
    indices: np.ndarray
    names: np.ndarray | None
    scored: Scored
    margin: np.ndarray
    agreement: np.ndarray
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
    names, unseen = np.array(class_names, object), train.scored.unseen
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
    unknown = dict.fromkeys((RATE, INTERVAL, HELD_OUT))
    figures = {
        **counts(rows),
        **(floor.figures() if floor else unknown),
        'never_predicted': names[unseen].tolist(),
    }
    if train.clean is not None:
        right = train.clean == train.scored.given
        figures |= detection(right, train.scored.score)
    return rows, figures


def counts(rows: Issues) -> dict[str, Any]:
    """Returns how many labels are marked, for `summary.json`."""
    marks = Counter(rows.mark)
    return {
        'count': int(rows.is_issue.sum()),
        'hard': int(rows.is_hard.sum()),
        'marks': {mark: marks[mark] for mark in (CERTAIN, LIKELY, POSSIBLE)},
    }


def _table(
    part: Judged, names: np.ndarray, floor: Floor | None, unseen: np.ndarray
) -> pd.DataFrame:
    """Returns the rows of a part, in its order, without ranks."""
    scored, chosen = part.scored, part.chosen
    marks = scored.marks(floor, unseen)
    return pd.DataFrame(
        {
            'index': part.indices,
            'path': '' if part.names is None else _text(part.names),
            'split': part.split,
            'given': _text(names[scored.given]),
            'suggested': _text(names[scored.suggested]),
            # In [0, 1], as in all lists.
            'score': (1 + scored.score) / 2,
            'margin': part.margin,
            'agreement': part.agreement,
            'in_selection': np.nan if chosen is None else chosen.astype(float),
            'is_issue': np.isin(marks, [CERTAIN, LIKELY]),
            'is_hard': marks == POSSIBLE,
            'corrected': '',
            'mark': _text(marks),
        }
    )


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
            'no training examples were held out: add --valid_ratio=0.1.'
        ]
    sentences = [_rate(figures), *_reviewed(figures)]
    if count := figures.get('count'):
        mean, most = PRECISION[LIKELY]
        sentences.append(
            f'{count:,} labels are marked; about {100 * mean:.0f} '
            f'of 100 of these are wrong ({100 * most:.0f} or more in 95% of '
            "the benchmark's cells)."
        )
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
        end = 'the network is too weak to tell more, so none is marked.'
        return f'{sentence}; {end}'
    if not point:
        return f'{sentence}, perhaps none, so none is marked.'
    # A review can say otherwise, or be all that is known.
    held = figures.get(HELD_OUT) or {}
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
    end = '.'
    if not review['drawn']:
        end = '; the range holds only if they were drawn at random.'
    return [
        f'Of {counted(count, "label")} that {"was" if count == 1 else "were"} '
        f'reviewed, {wrong:,} {"is" if wrong == 1 else "are"} wrong{end}'
    ]
