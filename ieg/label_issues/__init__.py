"""Finds labels that look wrong, from predictions made during training.

The evidence is in-sample: the mean prediction over all visits of an example,
which "In-sample training dynamics" found to beat cross-validation (2025,
arXiv 2510.16211), with the margin of the mean probabilities (AUM: Pleiss et
al., NeurIPS 2020) as the measure. Networks learn what is common before what is
wrong, so a mean over all epochs remembers what the last one has forgotten.

`audit` turns it into the rows of `label_issues.csv`, the most suspicious
first, and their figures.
"""

import dataclasses
import io
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.errors import UsageError
from ieg.ops import metrics
from ieg.ops.visits import Visits
from ieg.utils import tables

BINS = 200
HIGHEST_BORDER = 0.75
# Late is what has less than this share of the usual early agreement for its
# agreement, and so many visits at least.
LATE, LEAST_VISITS = 0.9, 10
# Examples that a mixture is fitted to, at most.
MOST_FITTED = 50_000
# Scores lie in [0, 1]: a heap is not narrower than 0.02.
REGULARISER = 4e-4
NORMAL_95 = 1.96
# Of the share of hard examples, how far the rate may be off. Chosen by hand on
# 53 short runs, most on digits: their intervals hold the truth in 50.
DOUBTFUL_HARD = 0.5
AT_BUDGET = (
    'precision_at_budget',
    'recall_at_budget',
    'false_negative_rate_at_budget',
)
# Column of the file -> field of `Issues`, and its type. Text is kept as
# objects, because pandas' string type does not allow all file names.
COLUMNS = {
    'rank': ('rank', int),
    'index': ('index', int),
    'path': ('path', object),
    'split': ('split', object),
    'given_label': ('given', object),
    'suggested_label': ('suggested', object),
    'score': ('score', float),
    'margin': ('margin', float),
    'agreement': ('agreement', float),
    'in_selection': ('in_selection', float),
    'is_issue': ('is_issue', bool),
    'is_hard': ('is_hard', bool),
    'corrected_label': ('corrected', object),
}
# The same for columns that only some runs have, which follow the others.
ADDED = {
    'mark': ('mark', object),
    'neighbour_agreement': ('neighbour_agreement', float),
    'duplicate_group': ('duplicate_group', float),
    'outlier_score': ('outlier_score', float),
    'is_outlier': ('is_outlier', bool),
}
SPLITS = ('train', 'valid', 'test')


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence about labels; n examples, C classes.

    Attributes:
        labels: given labels, int [n].
        probabilities: mean predictions [n, C].
        agreement: share of the visits at which the given label was predicted
            [n].
        early: the same, with weights that fall linearly to 0 from the first
            visit to the last [n].
        visits: number of visits [n].
    """

    labels: np.ndarray
    probabilities: np.ndarray
    agreement: np.ndarray
    early: np.ndarray
    visits: np.ndarray

    @classmethod
    def of_visits(cls, labels: np.ndarray, visits: Visits) -> 'Evidence':
        """Returns the evidence in the visits of examples.

        Args:
            labels: given labels, int [n].
            visits: visits of the same examples.
        """
        count = np.maximum(visits.counted, 1)
        agreement, place = visits.agreed / count, visits.places / count
        # The weight of visit k of n is 2 (n - k - 1 / 2) / n^2.
        early = 2 * agreement - (2 * place + agreement) / count
        probabilities = visits.probabilities / count[:, np.newaxis]
        return cls(labels, probabilities, agreement, early, count)

    @classmethod
    def of_predictions(
        cls, labels: np.ndarray, probabilities: np.ndarray
    ) -> 'Evidence':
        """Returns the evidence in one prediction of each example [n, C]."""
        agrees = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        once = np.ones(len(labels))
        return cls(labels, probabilities, agrees, agrees, once)

    @property
    def margin(self) -> np.ndarray:
        """Probability of the given label less the largest other one [n]."""
        rows = np.arange(len(self.labels))
        own = self.probabilities[rows, self.labels]
        return own - self._others.max(axis=1)

    @property
    def _others(self) -> np.ndarray:
        others = self.probabilities.copy()
        others[np.arange(len(self.labels)), self.labels] = -1
        return others

    @property
    def suggested(self) -> np.ndarray:
        """The most probable class [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def rival(self) -> np.ndarray:
        """The most probable class other than the given one [n]."""
        return self._others.argmax(axis=1)

    @property
    def score(self) -> np.ndarray:
        """Quality of the given labels in [0, 1] [n].

        The mean of the margin, scaled to [0, 1], and the early agreement: hard
        examples with correct labels are learned sooner than wrong labels.
        """
        return ((1 + self.margin) / 2 + self.early) / 2

    @property
    def late(self) -> np.ndarray:
        """Whether the given label was learned later than others are [n].

        False after few visits.
        """
        share = self.early / np.maximum(self.agreement, 1e-9)
        late = share < LATE * np.median(share)
        return late & (self.visits >= LEAST_VISITS)

    def wrong(self, threshold: float) -> np.ndarray:
        """Returns which labels are probably wrong [n].

        Those with a score below the threshold, if another class was mostly
        predicted, or if they were learned late, as memorized labels are. The
        others below it are hard.
        """
        differs = self.suggested != self.labels
        return (self.score < threshold) & (differs | self.late)

    def hard(self, threshold: float) -> np.ndarray:
        """Returns which images are hard, with probably correct labels [n].

        Those that are not `wrong`, nor learned late, and have a score below the
        middle between the threshold and 1.
        """
        low = self.score <= (1 + threshold) / 2
        return low & ~self.wrong(threshold) & ~self.late


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """How many labels are wrong, and which.

    Attributes:
        rate: share of wrong labels.
        interval: (low, high) of the rate.
        threshold: the score below which labels are suspicious.
        transition: [C, C], rows = true class, columns = given label; a class
            without examples has the row of the identity.
    """

    rate: float
    interval: tuple[float, float]
    threshold: float
    transition: np.ndarray


def estimate(evidence: Evidence) -> Estimate:
    """Estimates the noise of labels.

    Scores of right and of wrong labels make two heaps. Their border is where
    the variance between the two is largest (Otsu 1979), and wrong labels are
    below it (see `Evidence.wrong`). Two other ways to count err on either side:
    examples whose mean prediction is another class miss what was memorized; a
    mixture of two normals takes in what is hard. The interval covers all three
    and 95 % of what chance makes of them, and half of the hard examples on
    either side of the rate: if a network learns little, or memorizes
    everything, these are many and the rate is far off. It is all of [0, 1] if
    the networks have learned nothing.

    Args:
        evidence: of the training examples.
    """
    score, labels = evidence.score, evidence.labels
    threshold = border(score)
    wrong = evidence.wrong(threshold)
    differs = np.mean(evidence.suggested != labels)
    ways = np.array([wrong.mean(), differs, mixture_share(score)])
    doubt = NORMAL_95 * np.sqrt(ways * (1 - ways) / len(score))
    hard = evidence.hard(threshold).mean()
    doubt[0] = max(doubt[0], DOUBTFUL_HARD * hard)
    interval = np.clip([(ways - doubt).min(), (ways + doubt).max()], 0, 1)
    if evidence.agreement.mean() <= np.bincount(labels).max() / len(labels):
        interval = np.array([0.0, 1.0])
    return Estimate(
        float(wrong.mean()),
        (float(interval[0]), float(interval[1])),
        threshold,
        transition(evidence, wrong),
    )


def border(score: np.ndarray) -> float:
    """Returns the border that separates two heaps of scores best (Otsu 1979).

    Not above `HIGHEST_BORDER`: where all labels are right there is one heap
    with a tail, and its border lies high in the tail.
    """
    counts, edges = np.histogram(score, BINS, (0, 1))
    below = np.cumsum(counts)
    sums = np.cumsum(counts * (edges[1:] + edges[:-1]) / 2)
    gap = sums[-1] * below / below[-1] - sums
    weight = below * (below[-1] - below)
    between = np.divide(gap**2, weight, out=np.zeros(BINS), where=weight > 0)
    return min(float(edges[between.argmax() + 1]), HIGHEST_BORDER)


def mixture_share(score: np.ndarray) -> float:
    """Returns the share of the lower of two normal distributions."""
    from sklearn.mixture import GaussianMixture

    if np.ptp(score) == 0:
        return 0.0
    # More would not change the second digit.
    rows = score[:: -(-len(score) // MOST_FITTED), np.newaxis]
    mixture = GaussianMixture(2, reg_covar=REGULARISER, random_state=0)
    mixture.fit(rows)
    return float(mixture.weights_[mixture.means_.argmin()])


def transition(evidence: Evidence, wrong: np.ndarray) -> np.ndarray:
    """Returns the transition matrix [C, C] if certain labels are wrong.

    Args:
        evidence: of the training examples.
        wrong: bool [n]; those are taken for the class they look most like
            apart from the given one.
    """
    classes = evidence.probabilities.shape[1]
    truth = np.where(wrong, evidence.rival, evidence.labels)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (truth, evidence.labels), 1)
    totals = joint.sum(axis=1, keepdims=True)
    return np.where(totals > 0, joint / np.maximum(totals, 1), np.eye(classes))


def detection(
    right: np.ndarray, score: np.ndarray
) -> dict[str, float | int | None]:
    """Compares scores with the truth; a budget equals the number of errors.

    Args:
        right: bool [n], whether the given label is the true one.
        score: [n], small where it looks wrong.

    Returns:
        `roc_auc` and `average_precision` of finding wrong labels, `budget`,
        and at that budget precision, recall and the false-negative rate (all
        three say the same: as many are looked at as are wrong). None where
        all labels are right or all are wrong.
    """
    from sklearn.metrics import average_precision_score

    budget = int((~right).sum())
    figures = {'budget': budget, 'roc_auc': metrics.auc(right, score)}
    names = ('average_precision', *AT_BUDGET)
    if figures['roc_auc'] is None:
        return figures | dict.fromkeys(names)
    worst = np.argsort(score, kind='stable')[:budget]
    hits = float(np.mean(~right[worst]))
    precision = float(average_precision_score(~right, -score))
    return figures | dict(
        zip(names, (precision, hits, hits, 1 - hits), strict=True)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Issues:
    """The rows of `label_issues.csv`, one array [n] per column.

    Attributes:
        rank: 1 is the most suspicious.
        index: position of the example in its part of the data, as the owner
            of the data gave that part; see `ieg.run_folder.listed`.
        path: path of its file; '' for images in arrays.
        split: 'train', 'valid', or 'test' if a run held out some of a user's
            own images.
        given: name of the given class.
        suggested: name of the class that it looks like.
        score: quality of the given label in [0, 1]; a low score means that it
            is probably wrong.
        margin: mean probability of the given class minus that of the most
            probable other class, in [-1, 1].
        agreement: share of the visits that predicted the given label.
        in_selection: whether the method selected the label as clean, 1 or 0;
            NaN if it does not select.
        is_issue: whether the label is probably wrong.
        is_hard: whether the image is hard, and its label probably correct.
        corrected: name of the correct class, filled in by a person.
        mark: 'certain', 'likely' or 'possible' if the label looks wrong, or
            ''; None if the run does not mark labels.
        neighbour_agreement: share of the nearest training examples that have
            the given label. None, like all that follow, if the run did not
            compare its examples.
        duplicate_group: number of the group of near duplicates, from 1 on;
            NaN without.
        outlier_score: how far the example is from all others, in standard
            deviations.
        is_outlier: whether it is unlike all others.
    """

    rank: np.ndarray
    index: np.ndarray
    path: np.ndarray
    split: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    agreement: np.ndarray
    in_selection: np.ndarray
    is_issue: np.ndarray
    is_hard: np.ndarray
    corrected: np.ndarray
    mark: np.ndarray | None = None
    neighbour_agreement: np.ndarray | None = None
    duplicate_group: np.ndarray | None = None
    outlier_score: np.ndarray | None = None
    is_outlier: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rank)


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Labeled examples of a split of a run; n of them.

    Attributes:
        split: name of the split: 'train', 'valid' or 'test'.
        indices: positions in the part as its owner gave it [n].
        names: paths of their files, str [n]; None for arrays.
        evidence: evidence about their labels.
        chosen: whether the method selected the label as clean [n]; None if it
            does not select.
        clean: true labels [n], for figures only; None if unknown.
    """

    split: str
    indices: np.ndarray
    names: np.ndarray | None
    evidence: Evidence
    chosen: np.ndarray | None = None
    clean: np.ndarray | None = None


def audit(
    parts: Sequence[Examples], class_names: Sequence[str]
) -> tuple[Issues, dict[str, Any]]:
    """Ranks labels by their score, those of training examples first.

    Evidence of examples that were trained on and of others differs in kind, so
    they are not sorted together.

    Args:
        parts: the training examples, then others, which are compared with the
            threshold of the training examples.
        class_names: one name per class.

    Returns:
        The rows, most suspicious first, and `label_issues` of `summary.json`:
        the number of issues, the estimated noise, and the quality of the
        ranking of the training examples if their true labels are known.
    """
    train = parts[0]
    noise = estimate(train.evidence)
    names = np.array(class_names, object)
    table = pd.concat([_judged(part, names, noise.threshold) for part in parts])
    table['is_other'] = table['split'] != train.split
    table = table.sort_values(['is_other', 'score'], kind='stable')
    table['rank'] = np.arange(1, len(table) + 1)
    rows = Issues(
        **{
            field: np.array(table[field], kind)
            for field, kind in COLUMNS.values()
        }
    )
    figures = {
        'count': int(rows.is_issue.sum()),
        'hard': int(rows.is_hard.sum()),
        'noise_rate': noise.rate,
        'noise_rate_interval': list(noise.interval),
        'transition_matrix': np.round(noise.transition, 6).tolist(),
    }
    if train.clean is not None:
        right = train.clean == train.evidence.labels
        figures |= detection(right, train.evidence.score)
    return rows, figures


def _judged(
    part: Examples, names: np.ndarray, threshold: float
) -> pd.DataFrame:
    """Returns the rows of a part, in its order, without ranks."""
    evidence = part.evidence
    wrong = evidence.wrong(threshold)
    # A suspicious example is more likely of any other class than the given one.
    looks = np.where(wrong, evidence.rival, evidence.suggested)
    chosen = part.chosen
    return pd.DataFrame(
        {
            'index': part.indices,
            'path': '' if part.names is None else _text(part.names),
            'split': part.split,
            'given': _text(names[evidence.labels]),
            'suggested': _text(names[looks]),
            'score': evidence.score,
            'margin': evidence.margin,
            'agreement': evidence.agreement,
            'in_selection': np.nan if chosen is None else chosen.astype(float),
            'is_issue': wrong,
            'is_hard': evidence.hard(threshold),
            'corrected': '',
        }
    )


def _text(values: np.ndarray) -> pd.Series:
    return pd.Series(values, dtype=object)


def write(path: str, issues: Issues) -> None:
    """Writes the file atomically.

    Args:
        path: path of the file.
        issues: the rows, in order.
    """
    there = {
        name: column
        for name, column in ADDED.items()
        if vars(issues)[column[0]] is not None
    }
    named, columns = COLUMNS | there, []
    for field, kind in named.values():
        values = vars(issues)[field]
        if kind is float:
            cells = [f'{v:.6g}' if v == v else '' for v in values.tolist()]
        elif kind is object:
            # Most texts are in many rows.
            texts = {text: tables.cell(text) for text in set(values.tolist())}
            cells = [texts[text] for text in values.tolist()]
        else:
            cells = list(map(str, values.astype(int).tolist()))
        columns.append(cells)
    lines = map(','.join, [named, *zip(*columns, strict=True)])
    tables.write_text(path, '\n'.join(lines) + '\n')


def read(path: str) -> Issues:
    """Reads the file, also after a spreadsheet has saved it.

    Args:
        path: path of the file.

    Raises:
        UsageError: the file is missing, or is not such a table.
    """
    table = tables.Table(path, COLUMNS)
    names = [*COLUMNS, *(name for name in ADDED if name in table.header)]
    # A line that gave the delimiter is blank.
    text = table.text.lstrip('\r\n')
    skipped = table.text.count('\n') - text.count('\n')
    try:
        # Without a header, a line longer than the first is an error.
        cells = pd.read_csv(
            io.StringIO(text, newline=''),
            sep=table.delimiter,
            header=None,
            dtype=object,
            na_filter=False,
            skip_blank_lines=False,
        )
    except ValueError as error:
        reason = ' '.join(str(error).split())
        raise UsageError(
            f'{path} cannot be read ({reason}): train again to restore it.'
        ) from error
    if table.header != names:
        raise UsageError(
            f'{path} must start with the columns {", ".join(COLUMNS)}: train '
            'again to restore it.'
        )
    # The number of each line is the label of its row.
    cells = cells.set_index(cells.index + skipped + 1)[1:]
    # Most rows begin with a rank, so that the others take no time.
    bare = cells[cells[0] == '']
    cells = cells.drop(bare.index[(bare == '').all(axis=1)])
    splits = cells[list(COLUMNS).index('split')]
    known = f'one of {", ".join(SPLITS)}'
    _check(path, splits, ~splits.isin(SPLITS), known)
    return Issues(
        **{
            field: _values(path, cells[place], kind)
            for place, (field, kind) in enumerate(
                (COLUMNS | ADDED)[name] for name in names
            )
        }
    )


def _values(path: str, cells: pd.Series, kind: type) -> np.ndarray:
    """Returns the values of a column; an empty cell of a float is NaN.

    Raises:
        UsageError: a cell does not have this type.
    """
    if kind is object:
        # Few texts have an apostrophe.
        safe = np.array([text[:1] == "'" for text in cells], bool)
        cells[safe] = cells[safe].map(tables.original)
        return cells.to_numpy(object, copy=True)
    if kind is bool:
        values, wrong = cells == '1', ~cells.isin(['0', '1'])
    else:
        values = pd.to_numeric(cells, errors='coerce')
        # Where the decimal sign is a comma, a spreadsheet writes that.
        odd = cells[values.isna() & ~cells.isin(['', 'nan'])]
        values[odd.index] = pd.to_numeric(
            odd.str.replace(',', '.'), errors='coerce'
        )
        wrong = ~values.abs().lt(np.inf)
        if kind is float:
            wrong &= ~cells.isin(['', 'nan'])
        else:
            wrong |= ~cells.str.fullmatch('[0-9]{1,15}')
    _check(path, cells, wrong, 'a number')
    # A copy: what pandas hands out may be read-only.
    return np.array(values, kind)


def _check(path: str, cells: pd.Series, wrong: pd.Series, wanted: str) -> None:
    """Raises UsageError for the first wrong cell, if any."""
    for line, cell in cells[wrong].items():
        raise UsageError(
            f'Line {line} of {path}: {reprlib.repr(cell)} must be {wanted}.'
        )
