"""Compares finished runs: regions, rankings, and a recommended run.

Source: "Leveraging Unlabeled Data to Track Memorization" (ICLR 2023), its
regions; see `ieg.compare.regions` for the rankings.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from ieg.compare import regions as regions_
from ieg.compare import runs as compared_runs
from ieg.compare.runs import Run
from ieg.options import RunConfig

ACCURACIES = ('fit_accuracy', 'train_accuracy')
RANKINGS = ('regions', 'lowhalf', 'corner')
DEFAULT_RANKING = 'lowhalf'
# Options at the start of a label.
LEADING = ('method', 'network_name', 'learning_rate', 'lr_schedule')
# Options that do not change the results of a run.
EXECUTION = {field.name for field in dataclasses.fields(RunConfig)}
# Boundaries between the regions are arbitrary with fewer runs.
FEW_RUNS = 8
# Share of probes that increase their own loss above which a warning is due.
MANY_NEGATIVE = 0.3


@dataclasses.dataclass(frozen=True)
class Row:
    """A run in the comparison.

    Attributes:
        number: number in the table and the plot, from 1.
        label: the options in which the run differs from the others.
        options: these options by name, and those for colours of the plot.
        accuracy: the chosen accuracy on the given training labels.
        ranks: rank in each ranking, from 1; None if it does not rank the run.

    The others are those of `ieg.compare.runs.Run`.
    """

    number: int
    label: str
    folder: str
    options: dict[str, Any]
    accuracy: float
    susceptibility: float
    region: int
    ranks: dict[str, int | None]
    test_accuracy: float | None
    test_accuracy_at_epoch: float | None
    valid_accuracy: float | None
    fit_right: float | None
    fit_wrong: float | None
    recommended_epoch: int | None
    recommended_step: int | None
    reason: str | None
    epochs: list[int]
    curve: list[float | None]


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
    rows: list[Row]
    regions: dict[int, dict[str, Any]]
    rankings: dict[str, dict[str, Any]]
    overall: dict[str, Any]
    recommendation: dict[str, Any]
    correlations: dict[str, Any]
    probe: dict[str, Any]
    warnings: list[str]
    left_out: list[str]

    @property
    def chosen(self) -> Row:
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
    first = regions_.low_half(*_coordinates(runs))
    rest = set(range(len(runs))) - set(first)
    order = [*first, *sorted(rest, key=lambda n: runs[n].susceptibility)]
    runs = [runs[place] for place in order]
    where = _coordinates(runs)
    bounds = regions_.boundaries(*where, boundary)
    orders = dict(
        regions=regions_.by_region(*where, bounds),
        lowhalf=regions_.low_half(*where),
        corner=regions_.corner(*where),
    )
    rows = _rows(runs, regions_.assign(*where, bounds), orders)
    warnings += _warnings(runs, rows, orders, top)
    return Report(
        dataset=runs[0].options['dataset'],
        y=y,
        boundary=boundary,
        boundaries=bounds,
        top=top,
        rows=rows,
        regions=_by_region(rows),
        rankings=_judged(rows, orders, top),
        overall=_overall(rows),
        recommendation=_recommendation(rows[orders[DEFAULT_RANKING][0]]),
        correlations=_correlations(rows),
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
) -> list[Row]:
    shared = {field.name for field in dataclasses.fields(Row)}
    shared &= {field.name for field in dataclasses.fields(Run)} - {'options'}
    names = dict.fromkeys([*LEADING, 'seed', *differing(runs)])
    return [
        Row(
            number=place + 1,
            label=label,
            options={name: run.options.get(name) for name in names},
            region=assigned[place],
            ranks={
                name: order.index(place) + 1 if place in order else None
                for name, order in orders.items()
            },
            **{n: value for n, value in vars(run).items() if n in shared},
        )
        for place, (run, label) in enumerate(
            zip(runs, labels(runs), strict=True)
        )
    ]


def _tested(rows: Sequence[Row]) -> list[float]:
    return [r.test_accuracy for r in rows if r.test_accuracy is not None]


def _by_region(rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    figures = {}
    for region, name in regions_.NAMES.items():
        inside = [row for row in rows if row.region == region]
        mean, deviation = regions_.spread(_tested(inside))
        figures[region] = dict(
            name=name,
            runs=len(inside),
            numbers=[row.number for row in inside],
            test_accuracy_mean=mean,
            test_accuracy_sd=deviation,
            ddof=1,
        )
    return figures


def _overall(rows: Sequence[Row]) -> dict[str, Any]:
    tested = _tested(rows)
    mean, deviation = regions_.spread(tested)
    return dict(
        runs=len(rows),
        test_accuracy_mean=mean,
        test_accuracy_sd=deviation,
        test_accuracy_best=max(tested, default=None),
        ddof=1,
    )


def _judged(
    rows: Sequence[Row], orders: dict[str, list[int]], top: int
) -> dict[str, dict[str, Any]]:
    tested = _tested(rows)
    whole = len(tested) == len(rows)
    return {
        name: dict(
            order=[place + 1 for place in order],
            outcome=regions_.judge(order, tested, top) if whole else None,
        )
        for name, order in orders.items()
    }


def _correlations(rows: Sequence[Row]) -> dict[str, Any]:
    pairs = [
        (row.susceptibility, row.fit_wrong)
        for row in rows
        if row.fit_wrong is not None
    ]
    return dict(
        of='susceptibility with fit_wrong',
        **regions_.correlations(
            [susceptibility for susceptibility, _ in pairs],
            [fit for _, fit in pairs],
        ),
    )


def _recommendation(row: Row) -> dict[str, Any]:
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
    runs: Sequence[Run],
    rows: Sequence[Row],
    orders: dict[str, list[int]],
    top: int,
) -> list[str]:
    """Returns warnings, a sentence each."""
    texts = []
    if len(rows) < FEW_RUNS:
        texts.append(
            f'There are fewer than {FEW_RUNS} runs, so the boundaries between '
            'the regions are arbitrary.'
        )
    empty = sorted(set(regions_.NAMES) - {row.region for row in rows})
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
    return texts + _probe_warnings(runs, rows)


def _probe_warnings(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
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
        for row, run in zip(rows, runs, strict=True)
        if sum((drop or 0) < 0 for drop in run.drops)
        > MANY_NEGATIVE * len(run.drops)
    ]
    if overstep:
        texts.append(
            f'More than {MANY_NEGATIVE:.0%} of the probes of the runs '
            f'{", ".join(map(str, overstep))} increased their own loss: their '
            'step is too large.'
        )
    return texts


def differing(runs: Sequence[Run]) -> list[str]:
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


def labels(runs: Sequence[Run]) -> list[str]:
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
