"""Compares finished runs: regions, rankings, and a recommended run.

Source: "Leveraging Unlabeled Data to Track Memorization" (ICLR 2023): the four
regions with boundaries at the means over the runs, the first one for the runs
to choose from (its Clothing1M study), and the correlation of susceptibility
with the fit on wrong labels. `lowhalf` and `corner` are not from the paper:
runs that memorize all labels raise the means, so region 1 can contain only
those, and these two rankings were observed to be more robust.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ieg.compare import runs as compared_runs
from ieg.compare.runs import Described, Run
from ieg.options import ALIASES, RunConfig

NAMES = {
    1: 'trainable, resistant',
    2: 'trainable, not resistant',
    3: 'not trainable, resistant',
    4: 'neither',
}
# The means and medians of `statistics` are exact: the mean of equal values is
# that value, unlike a sum in floating point.
BOUNDARIES: dict[str, Callable] = {
    'mean': statistics.mean,
    'median': statistics.median,
}
MIN_CORRELATED = 3
ACCURACIES = ('fit_accuracy', 'train_accuracy')
DEFAULT_RANKING = 'lowhalf'
# Options at the start of a label.
LEADING = ('method', 'network_name', 'learning_rate', 'lr_schedule')
# Options that do not change the results of a run.
EXECUTION = {field.name for field in dataclasses.fields(RunConfig)} | {*ALIASES}
# Boundaries between the regions are arbitrary with fewer runs.
FEW_RUNS = 8
# Share of probes that increase their own loss above which a warning is due.
MANY_NEGATIVE = 0.3


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of a comparison.

    Attributes:
        dataset: data set of all runs.
        y: name of the compared accuracy.
        boundary: 'mean' or 'median'.
        boundaries: the accuracy and the susceptibility that separate regions.
        top: number of first runs of a ranking that are averaged.
        rows: the runs; first those that `lowhalf` ranks, in its order.
        regions: for each region, the number of runs, and the mean and sample
            standard deviation of their test accuracy.
        rankings: for each ranking, the numbers of the runs, best first, and
            its outcome if all test accuracies are known.
        overall: mean, standard deviation and best of the test accuracy.
        recommendation: number, folder and epoch of the recommended run.
        correlations: correlations of susceptibility with `fit_wrong`.
        probe: how susceptibility was measured.
        warnings: sentences.
        left_out: a sentence for each run that is not compared.
    """

    dataset: str
    y: str
    boundary: str
    boundaries: tuple[float, float]
    top: int
    rows: list[Run]
    regions: dict[int, dict[str, Any]]
    rankings: dict[str, dict[str, Any]]
    overall: dict[str, Any]
    recommendation: dict[str, Any]
    correlations: dict[str, Any]
    probe: dict[str, Any]
    warnings: list[str]
    left_out: list[str]

    @property
    def chosen(self) -> Run:
        """The recommended run."""
        return self.rows[self.recommendation['number'] - 1]


def compare(
    folders: Sequence[str],
    *,
    y: str = 'fit_accuracy',
    boundary: str = 'mean',
    top: int = 5,
    force: bool = False,
) -> Report:
    """Compares finished runs that were trained with --track_memorization.

    Args:
        folders: run folders, folders that contain some, or patterns.
        y: 'fit_accuracy' (in inference mode) or 'train_accuracy' (during
            training, with augmentation).
        boundary: 'mean' or 'median' over the runs.
        top: number of first runs of a ranking to average.
        force: whether to compare runs with different probes or noise draws.

    Raises:
        UsageError: there are no runs, or they cannot be compared.
    """
    runs, left_out = compared_runs.load(compared_runs.find(folders), y)
    warnings = compared_runs.check_comparable(runs, force)
    # The table starts with the runs that `lowhalf` ranks.
    first = low_half(*_coordinates(runs))
    rest = set(range(len(runs))) - set(first)
    order = [*first, *sorted(rest, key=lambda n: runs[n].susceptibility)]
    runs = [runs[place] for place in order]
    where = _coordinates(runs)
    bounds = boundaries(*where, boundary)
    orders = dict(
        regions=by_region(*where, bounds),
        lowhalf=low_half(*where),
        corner=corner(*where),
    )
    rows = _rows(runs, assign(*where, bounds), orders)
    warnings += _warnings(rows, orders, top)
    return Report(
        dataset=runs[0].options['dataset'],
        y=y,
        boundary=boundary,
        boundaries=bounds,
        top=top,
        rows=rows,
        regions=_by_region(rows),
        rankings=_judged(rows, orders, top),
        overall=dict(
            runs=len(rows),
            **spread(_tested(rows)),
            test_accuracy_best=max(_tested(rows), default=None),
            ddof=1,
        ),
        recommendation=_recommendation(rows[orders[DEFAULT_RANKING][0]]),
        correlations=dict(
            of='susceptibility with fit_wrong',
            **correlations(
                [r.susceptibility for r in rows if r.fit_wrong is not None],
                [r.fit_wrong for r in rows if r.fit_wrong is not None],
            ),
        ),
        probe=runs[0].probe,
        warnings=warnings,
        left_out=left_out,
    )


def _coordinates(runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    return [r.accuracy for r in runs], [r.susceptibility for r in runs]


def _rows(
    runs: Sequence[Run],
    assigned: Sequence[int],
    orders: dict[str, list[int]],
) -> list[Run]:
    names = dict.fromkeys([*LEADING, 'seed', *differing(runs)])
    return [
        dataclasses.replace(
            run,
            number=place + 1,
            label=label,
            options={name: run.options.get(name) for name in names},
            region=assigned[place],
            ranks={
                name: order.index(place) + 1 if place in order else None
                for name, order in orders.items()
            },
        )
        for place, (run, label) in enumerate(
            zip(runs, labels(runs), strict=True)
        )
    ]


def _tested(rows: Sequence[Run]) -> list[float]:
    return [r.test_accuracy for r in rows if r.test_accuracy is not None]


def _by_region(rows: Sequence[Run]) -> dict[int, dict[str, Any]]:
    figures = {}
    for region, name in NAMES.items():
        inside = [row for row in rows if row.region == region]
        figures[region] = dict(
            name=name,
            runs=len(inside),
            numbers=[row.number for row in inside],
            **spread(_tested(inside)),
            ddof=1,
        )
    return figures


def _judged(
    rows: Sequence[Run], orders: dict[str, list[int]], top: int
) -> dict[str, dict[str, Any]]:
    tested = _tested(rows)
    whole = len(tested) == len(rows)
    return {
        name: dict(
            order=[place + 1 for place in order],
            outcome=judge(order, tested, top) if whole else None,
        )
        for name, order in orders.items()
    }


def _recommendation(row: Run) -> dict[str, Any]:
    return dict(
        ranking=DEFAULT_RANKING,
        number=row.number,
        label=row.label,
        folder=row.folder,
        epoch=row.recommended_epoch,
        step=row.recommended_step,
        reason=row.reason,
    )


def _warnings(
    rows: Sequence[Run], orders: dict[str, list[int]], top: int
) -> list[str]:
    """Returns warnings, a sentence each."""
    texts = []
    if len(rows) < FEW_RUNS:
        texts.append(
            f'There are fewer than {FEW_RUNS} runs, so the boundaries between '
            'the regions are arbitrary.'
        )
    empty = sorted(set(NAMES) - {row.region for row in rows})
    if empty:
        instead = '; its ranking is that of lowhalf' if 1 in empty else ''
        texts.append(
            f'No run is in region {", ".join(map(str, empty))}{instead}.'
        )
    best, others = orders['regions'][0], orders['lowhalf'][:top]
    if best not in others:
        texts.append(
            f'Regions and ranking disagree: run {best + 1}, the most accurate '
            f'of region 1, is not among the first {len(others)} of lowhalf. '
            'Runs that memorize all labels may have moved the boundaries.'
        )
    if 0 < len(_tested(rows)) < len(rows):
        texts.append(
            'Not all test accuracies are known, so rankings are not evaluated.'
        )
    return texts + _probe_warnings(rows)


def _probe_warnings(rows: Sequence[Run]) -> list[str]:
    """Returns warnings about the measured susceptibility."""
    texts = []
    low = sum(row.susceptibility <= 0 for row in rows)
    if low:
        texts.append(
            f'The susceptibility of {low} of the runs is not positive; corner '
            'replaces it by the smallest positive one.'
        )
    overstep = [
        row.number
        for row in rows
        if sum((drop or 0) < 0 for drop in row.drops)
        > MANY_NEGATIVE * len(row.drops)
    ]
    if overstep:
        texts.append(
            f'More than {MANY_NEGATIVE:.0%} of the probes of the runs '
            f'{", ".join(map(str, overstep))} increased their own loss: their '
            'step is too large.'
        )
    return texts


def differing(runs: Sequence[Described]) -> list[str]:
    """Returns the options in which runs differ, those of `LEADING` first.

    An option that only some runs have counts if these differ.
    """
    values: dict[str, set[str]] = {name: set() for name in LEADING}
    for run in runs:
        for name, value in run.options.items():
            values.setdefault(name, set()).add(json.dumps(value))
    return [
        name
        for name, seen in values.items()
        if len(seen) > 1 and name not in EXECUTION
    ]


# Options whose value is clear without a name.
TITLES = ('method', 'network_name')


def labels(runs: Sequence[Described]) -> list[str]:
    """Returns a label of each run: the options in which the runs differ.

    Apart from method and network, only options in which runs of the same method
    differ. If two runs have the same label, the folder is added; the label of a
    single run is its folder.
    """
    if len(runs) == 1:
        return [runs[0].folder]
    names = differing(runs)
    # Each method has its own presets, which do not matter here.
    methods = {run.options.get('method') for run in runs}
    own = {
        method: differing(
            [r for r in runs if r.options.get('method') == method]
        )
        for method in methods
    }
    texts = [
        ' '.join(
            str(run.options[name])
            if name in TITLES
            else f'{name}={run.options[name]}'
            for name in names
            if name in run.options
            and (name in TITLES or name in own[run.options.get('method')])
        )
        for run in runs
    ]
    return [
        label if texts.count(label) == 1 else f'{label} {run.folder}'.strip()
        for label, run in zip(texts, runs, strict=True)
    ]


# Regions and rankings. All functions take one value per run: the accuracy on
# the given, partly wrong training labels, and the susceptibility. They return
# positions of runs.


def boundaries(
    accuracy: Sequence[float], susceptibility: Sequence[float], how: str
) -> tuple[float, float]:
    """Returns the boundaries between the regions.

    Args:
        accuracy: accuracy of each run on the given labels.
        susceptibility: susceptibility of each run.
        how: 'mean', as in the paper, or 'median'.

    Returns:
        The boundary of accuracy and that of susceptibility.
    """
    average = BOUNDARIES[how]
    up = average([float(value) for value in accuracy])
    across = average([float(value) for value in susceptibility])
    return float(up), float(across)


def assign(
    accuracy: Sequence[float],
    susceptibility: Sequence[float],
    bounds: tuple[float, float],
) -> list[int]:
    """Returns the region of each run, 1 to 4.

    A run on a boundary is trainable and resistant.
    """
    trainable = np.asarray(accuracy) >= bounds[0]
    resistant = np.asarray(susceptibility) <= bounds[1]
    return (4 - 2 * trainable - resistant).tolist()


def by_region(
    accuracy: Sequence[float],
    susceptibility: Sequence[float],
    bounds: tuple[float, float],
) -> list[int]:
    """Returns the runs of region 1, the highest accuracy first.

    The paper does not rank within a region. The other regions are not ranked;
    if region 1 is empty, the order is that of `low_half`.
    """
    regions = assign(accuracy, susceptibility, bounds)
    up, across = np.asarray(accuracy), np.asarray(susceptibility)
    order = np.lexsort((across, -up)).tolist()
    chosen = [place for place in order if regions[place] == 1]
    return chosen or low_half(accuracy, susceptibility)


def low_half(
    accuracy: Sequence[float], susceptibility: Sequence[float]
) -> list[int]:
    """Returns the less susceptible half, the highest accuracy first.

    For an odd number of runs it is the larger half; if susceptibility ties at
    its end, the more accurate run is included.
    """
    up, across = np.asarray(accuracy), np.asarray(susceptibility)
    half = np.lexsort((-up, across))[: math.ceil(len(up) / 2)]
    return half[np.lexsort((across[half], -up[half]))].tolist()


def corner(
    accuracy: Sequence[float], susceptibility: Sequence[float]
) -> list[int]:
    """Returns all runs by their distance to the ideal corner, nearest first.

    The corner has the highest accuracy and the lowest susceptibility of all
    runs. Distances are in the plane of accuracy and log susceptibility, each
    scaled to [0, 1] over the runs. A susceptibility of zero or less (if the
    steps overshoot) is replaced by the smallest positive one.
    """
    values = np.asarray(susceptibility, float)
    positive = values[values > 0]
    floor = positive.min() if positive.size else 1.0
    across = _scaled(np.log(np.maximum(values, floor)))
    up = _scaled(np.asarray(accuracy, float))
    return np.lexsort((values, np.hypot(across, 1 - up))).tolist()


def _scaled(values: np.ndarray) -> np.ndarray:
    """Returns values scaled to [0, 1]; ones if all are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values * 0 + 1.0


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Returns mean and sample standard deviation (ddof 1) of test accuracies.

    None if there are too few values.
    """
    return dict(
        test_accuracy_mean=float(np.mean(values)) if values else None,
        test_accuracy_sd=(
            float(np.std(values, ddof=1)) if len(values) > 1 else None
        ),
    )


def judge(
    order: Sequence[int], test_accuracy: Sequence[float], top: int
) -> dict[str, float]:
    """Evaluates a ranking with test accuracies, which it does not use.

    Args:
        order: the ranked runs, best first.
        test_accuracy: test accuracy of all runs.
        top: number of first runs to average, if there are as many.

    Returns:
        `test_accuracy` of the first run; its `rank` among all runs;
        `regret_points`, the difference to the best run in percentage points;
        `top_mean`, the mean test accuracy of the first `top_count` runs.
    """
    pick = test_accuracy[order[0]]
    first = [test_accuracy[place] for place in order[:top]]
    return {
        'test_accuracy': pick,
        'rank': 1 + sum(other > pick for other in test_accuracy),
        'regret_points': 100 * (max(test_accuracy) - pick),
        'top_mean': float(np.mean(first)),
        'top_count': len(first),
    }


def correlations(
    first: Sequence[float], second: Sequence[float]
) -> dict[str, float | None]:
    """Returns Pearson's and Spearman's correlation, and the number of pairs.

    The correlations are None with fewer than three pairs, or a constant side.
    """
    from scipy import stats

    known = len(first) >= MIN_CORRELATED
    known = known and len(set(first)) > 1 and len(set(second)) > 1
    return {
        name: float(statistic(first, second).statistic) if known else None
        for name, statistic in (
            ('pearson', stats.pearsonr),
            ('spearman', stats.spearmanr),
        )
    } | {'runs': len(first)}
