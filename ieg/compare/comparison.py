"""Compares finished runs: regions, rankings, and which run to trust.

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
# How a label begins.
LEADING = ('method', 'network_name', 'learning_rate', 'lr_schedule')
# Options that change nothing of what a run computes.
EXECUTION = {field.name for field in dataclasses.fields(RunConfig)}
# Means over fewer runs say little of any of them.
FEW_RUNS = 8
# A probe that often makes its own loss worse oversteps.
MANY_NEGATIVE = 0.3


@dataclasses.dataclass(frozen=True)
class Row:
    """A run in the comparison.

    Attributes:
        number: in the table and the picture, from 1.
        label: the options in which it differs from the others.
        options: the same by name, and those a picture may be coloured by.
        accuracy: the one that was asked for, on the given training labels.
        ranks: by each ranking, from 1; None where one does not rank the run.

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
    """What a comparison found.

    Attributes:
        dataset: of all runs.
        y: which accuracy is in the plane.
        boundary: 'mean' or 'median'.
        boundaries: the accuracy and the susceptibility where regions meet.
        top: how many of the first runs of a ranking are averaged.
        rows: the runs; those that `lowhalf` ranks come first, in its order.
        regions: count, and mean and sample standard deviation of the test
            accuracy, of each.
        rankings: numbers of the runs, best first, and, where all test
            accuracies are known, how it did.
        overall: mean, standard deviation and best of the test accuracy.
        recommendation: number, folder and epoch.
        correlations: of susceptibility with `fit_wrong`.
        probe: how susceptibility was measured.
        warnings: a sentence each.
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
        folders: run folders, folders that hold some, or patterns.
        y: 'fit_accuracy' (of the network in inference mode) or
            'train_accuracy' (while it trained, with augmentation).
        boundary: 'mean' or 'median' over the runs.
        top: how many of the first runs of a ranking are averaged.
        force: compare runs of different probes or draws of the noise, too.

    Raises:
        UsageError: there is nothing to compare, or it cannot be compared.
    """
    found, left_out = compared_runs.load(compared_runs.find(folders), y)
    warnings = compared_runs.check_comparable(found, force)
    # The table begins with the runs that are recommended.
    first = regions_.low_half(*_coordinates(found))
    rest = set(range(len(found))) - set(first)
    found = [
        found[place]
        for place in [
            *first,
            *sorted(rest, key=lambda n: found[n].susceptibility),
        ]
    ]
    where = _coordinates(found)
    bounds = regions_.boundaries(*where, boundary)
    orders = dict(
        regions=regions_.by_region(*where, bounds),
        lowhalf=regions_.low_half(*where),
        corner=regions_.corner(*where),
    )
    rows = _rows(found, regions_.assign(*where, bounds), orders)
    warnings += _warnings(found, rows, orders, top)
    return Report(
        dataset=found[0].options['dataset'],
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
        probe=found[0].probe,
        warnings=warnings,
        left_out=left_out,
    )


def _coordinates(found: Sequence[Run]) -> tuple[list[float], list[float]]:
    return [r.accuracy for r in found], [r.susceptibility for r in found]


def _rows(
    found: Sequence[Run],
    assigned: Sequence[int],
    orders: dict[str, list[int]],
) -> list[Row]:
    shared = {field.name for field in dataclasses.fields(Row)}
    shared &= {field.name for field in dataclasses.fields(Run)} - {'options'}
    names = dict.fromkeys([*LEADING, 'seed', *differing(found)])
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
            **{name: getattr(run, name) for name in shared},
        )
        for place, (run, label) in enumerate(
            zip(found, labels(found), strict=True)
        )
    ]


def _tested(rows: Sequence[Row]) -> list[float]:
    return [r.test_accuracy for r in rows if r.test_accuracy is not None]


def _by_region(rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    found = {}
    for region, name in regions_.NAMES.items():
        inside = [row for row in rows if row.region == region]
        mean, deviation = regions_.spread(_tested(inside))
        found[region] = dict(
            name=name,
            runs=len(inside),
            numbers=[row.number for row in inside],
            test_accuracy_mean=mean,
            test_accuracy_sd=deviation,
            ddof=1,
        )
    return found


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
    known = [row for row in rows if row.fit_wrong is not None]
    return dict(
        of='susceptibility with fit_wrong',
        **regions_.correlations(
            [row.susceptibility for row in known],
            [row.fit_wrong for row in known],
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
    found: Sequence[Run],
    rows: Sequence[Row],
    orders: dict[str, list[int]],
    top: int,
) -> list[str]:
    """Returns what to be wary of, a sentence each."""
    texts = []
    if len(rows) < FEW_RUNS:
        texts.append(
            f'There are fewer than {FEW_RUNS} runs, so the lines between the '
            'regions are arbitrary.'
        )
    empty = sorted(set(regions_.NAMES) - {row.region for row in rows})
    if empty:
        instead = '; lowhalf stands in for its ranking' if 1 in empty else ''
        texts.append(
            f'No run is in region {", ".join(map(str, empty))}{instead}.'
        )
    best, others = orders['regions'][0], orders['lowhalf'][:top]
    if best not in others:
        texts.append(
            f'Regions and ranking disagree: run {best + 1}, the most accurate '
            f'of region 1, is not among the first {len(others)} of lowhalf; '
            'runs that learn all labels by heart may have moved the lines.'
        )
    if 0 < len(_tested(rows)) < len(rows):
        texts.append(
            'Not all test accuracies are known, so no ranking is judged.'
        )
    return texts + _probe_warnings(found, rows)


def _probe_warnings(found: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """Returns what is odd in how susceptibility was measured."""
    texts = []
    low = sum(row.susceptibility <= 0 for row in rows)
    if low:
        texts.append(
            f'The susceptibility of {low} of the runs is not positive; corner '
            'counts it as the smallest positive one.'
        )
    overstep = [
        row.number
        for row, run in zip(rows, found, strict=True)
        if sum((drop or 0) < 0 for drop in run.drops)
        > MANY_NEGATIVE * len(run.drops)
    ]
    if overstep:
        texts.append(
            f'More than {MANY_NEGATIVE:.0%} of the probes of the runs '
            f'{", ".join(map(str, overstep))} raised their own loss: their '
            'step is too long.'
        )
    return texts


def differing(runs: Sequence[Run]) -> list[str]:
    """Returns the options in which runs differ, those of `LEADING` first.

    An option of one method only counts where runs of that method differ.
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


# Options that need no name beside their value.
TITLES = ('method', 'network_name')


def labels(runs: Sequence[Run]) -> list[str]:
    """Returns a short name of each run: the options in which they differ.

    Beside method and network, those in which runs of its method differ.
    The folder stands beside them where two runs have the same, and a single
    run is called by its folder.
    """
    if len(runs) == 1:
        return [runs[0].folder]
    names = differing(runs)
    # Methods have presets of their own, which say nothing here.
    methods = {run.options.get('method') for run in runs}
    own = {
        method: differing(
            [r for r in runs if r.options.get('method') == method]
        )
        for method in methods
    }
    found = [
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
        label if found.count(label) == 1 else f'{label} {run.folder}'.strip()
        for label, run in zip(found, runs, strict=True)
    ]
