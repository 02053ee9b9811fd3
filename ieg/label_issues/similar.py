"""What the neighbours of examples say of them: labels, copies and outliers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ieg.label_issues import Issues, duplicates, neighbours, outliers
from ieg.label_issues.neighbours import Near
from ieg.utils.text import counted

# Neighbours that are looked for among all examples at once. Those among the
# training examples are nearly always under them.
_WANTED = 2 * neighbours.NEIGHBOURS
# Of fewer numbers, as tables have, something is near in direction to anything:
# only exact copies are looked for, and no outliers.
NARROW = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Examples of a split of a run; n of them.

    Attributes:
        split: name of the split.
        indices: positions in the part as its owner gave it [n].
        labels: given labels, int [n].
        vectors: features of them, floats [n, d].
    """

    split: str
    indices: np.ndarray
    labels: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Thumbnails of the examples of all parts, in order.

    Attributes:
        thumbnails: uint8 [n, SIDE, SIDE].
        known: whether each could be read [n].
    """

    thumbnails: np.ndarray
    known: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Similar:
    """What is known of the examples of all parts, in order; n of them.

    Attributes:
        split: names of their splits [n].
        indices: positions in the part as its owner gave it [n].
        labels: given labels, int [n].
        nearest: numbers of the nearest training examples, int [n, k].
        agreement: share of these that have the given label [n].
        group: of near duplicates, int [n]; 0 for none.
        is_outlier: bool [n].
        away: how far off each is from all others, in standard deviations; NaN
            where that is not known [n].
        near: the nearest of all examples.
    """

    split: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    nearest: np.ndarray
    agreement: np.ndarray
    group: np.ndarray
    is_outlier: np.ndarray
    away: np.ndarray
    near: Near

    def shares(
        self, split: str, num_classes: int
    ) -> Callable[[slice], np.ndarray]:
        """Returns a function: rows -> shares of the nearest labels [k, C].

        Args:
            split: whose rows they are.
            num_classes: C.
        """
        ids = self.nearest[self.split == split]
        return lambda rows: neighbours.shares(
            ids[rows], self.labels, num_classes
        )

    def shares_apart(self, folds: np.ndarray, num_classes: int) -> np.ndarray:
        """Returns the same shares without neighbours in the own fold [m, C].

        Of those that are known; nearly always as many as else.

        Args:
            folds: number of the fold of each training example, int [m].
            num_classes: C.
        """
        count = len(folds)
        ids = self.near.ids[:count]
        fold = np.full(len(self.labels), -1)
        fold[:count] = folds
        fits = (fold[ids] >= 0) & (fold[ids] != folds[:, np.newaxis])
        fits &= np.cumsum(fits, axis=1) <= neighbours.NEIGHBOURS
        rows, places = np.nonzero(fits)
        shares = np.zeros((count, num_classes))
        np.add.at(shares, (rows, self.labels[ids[rows, places]]), 1)
        known = fits.sum(axis=1, keepdims=True)
        # All that are known may be in the own fold: nothing is said then.
        return np.where(known, shares / np.maximum(known, 1), 1 / num_classes)

    def add(self, issues: Issues) -> Issues:
        """Returns issues about the same examples with what is known here."""
        order = np.lexsort((self.indices, self.split))
        wanted = np.lexsort((issues.index, issues.split.astype(str)))
        places = np.empty(len(order), int)
        places[wanted] = order
        group = self.group[places].astype(float)
        return dataclasses.replace(
            issues,
            neighbour_agreement=self.agreement[places],
            duplicate_group=np.where(group > 0, group, np.nan),
            outlier_score=self.away[places],
            is_outlier=self.is_outlier[places],
        )

    def figures(self) -> dict[str, Any]:
        """Returns what `summary.json` says of it."""
        among = self.group > 0
        numbers = self.group[among]
        return {
            'near_duplicates': {
                'examples': int(among.sum()),
                'groups': int(self.group.max(initial=0)),
                'of_different_labels': _varied(numbers, self.labels[among]),
                'across_splits': _varied(numbers, self.split[among]),
            },
            'outliers': int(self.is_outlier.sum()),
        }


def statement(figures: Mapping[str, Any]) -> list[str]:
    """Returns sentences about near duplicates and outliers, if there are any.

    Args:
        figures: `label_issues` of `summary.json`.
    """
    sentences = []
    copies = figures.get('near_duplicates') or {}
    if number := copies.get('groups'):
        text = f'{copies["examples"]:,} examples are near duplicates'
        text += f' ({counted(number, "group")}'
        if different := copies.get('of_different_labels'):
            text += f', {different:,} with different labels'
        if across := copies.get('across_splits'):
            text += f', {across:,} in more than one part of the data'
        sentences.append(f'{text}).')
    if number := figures.get('outliers'):
        verb = 'is' if number == 1 else 'are'
        text = f'{counted(number, "example")} {verb} unlike all others.'
        sentences.append(text)
    return sentences


def _varied(groups: np.ndarray, values: np.ndarray) -> int:
    """Returns how many groups have more than one value."""
    pairs = {*zip(groups.tolist(), values.tolist(), strict=True)}
    _, counts = np.unique([group for group, _ in pairs], return_counts=True)
    return int((counts > 1).sum())


def examine(parts: Sequence[Part], pictures: Pictures | None) -> Similar:
    """Returns what the neighbours of examples say of them.

    Args:
        parts: the training examples, then others.
        pictures: of all of them; None without.

    Raises:
        UsageError: there are too many examples.
    """
    labels = np.concatenate([part.labels for part in parts])
    vectors = parts[0].vectors
    if len(parts) > 1:
        vectors = np.concatenate([part.vectors for part in parts])
    near = neighbours.nearest(vectors, vectors, _WANTED, same=True)
    is_train = np.arange(len(labels)) < len(parts[0].labels)
    nearest, _ = neighbours.among(
        near, vectors, is_train, neighbours.NEIGHBOURS
    )
    alike = (labels[nearest] == labels[:, np.newaxis]).sum(axis=1)
    pairs = duplicates.pairs_of(near.ids)
    is_narrow = pictures is None and vectors.shape[1] < NARROW
    if is_narrow:
        pairs = duplicates.by_distance(pairs, vectors, 0)
    elif pictures is None:
        pairs = duplicates.by_distance(pairs, vectors)
    else:
        pairs, others = (
            some[pictures.known[some].all(axis=1)]
            for some in (pairs, duplicates.others_of(near.ids))
        )
        pairs = duplicates.by_pixels(pairs, others, pictures.thumbnails)
    is_outlier, away = np.zeros(len(labels), bool), np.full(len(labels), np.nan)
    if not is_narrow:
        is_outlier, away = outliers.find(near, vectors, labels)
    return Similar(
        np.concatenate([np.full(len(part), part.split) for part in parts]),
        np.concatenate([part.indices for part in parts]),
        labels,
        nearest,
        alike / max(nearest.shape[1], 1),
        duplicates.groups(pairs, len(labels)),
        is_outlier,
        away,
        near,
    )
