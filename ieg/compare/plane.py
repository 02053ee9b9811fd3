"""Plots runs in the plane of train accuracy and susceptibility."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.compare.comparison import NAMES, Report
from ieg.compare.runs import Run
from ieg.utils.files import atomic_open

TINTS = {1: '#2ca02c', 2: '#d62728', 3: '#1f77b4', 4: '#7f7f7f'}
# Position of the name of each region in the plot, with susceptibility on the
# horizontal axis.
PLACES = {
    1: (0.02, 0.98, 'left', 'top'),
    2: (0.98, 0.98, 'right', 'top'),
    3: (0.02, 0.02, 'left', 'bottom'),
    4: (0.98, 0.02, 'right', 'bottom'),
}
GROUPS = ('method', 'network_name', 'lr_schedule', 'learning_rate')
MAX_GROUPS = 10
# Above this ratio of susceptibilities, the axis is logarithmic.
LOG_RATIO = 30


def draw(path: str, report: Report) -> None:
    """Draws the regions, the test accuracies in them, and the curves.

    Source: the figures of the Clothing1M study of the susceptibility paper
    (ICLR 2023). Runs have the numbers of the table; a star marks the
    recommended one.

    Args:
        path: path of the PNG file.
        report: the report of the comparison.
    """
    from matplotlib.figure import Figure

    known = any(row.test_accuracy is not None for row in report.rows)
    panels = 2 + known
    figure = Figure(figsize=(6 * panels, 5.2), layout='constrained')
    axes = figure.subplots(1, panels)
    title, groups = _groups(report)
    colours = _colours(groups)
    _plane(axes[0], report)
    for name, colour in colours.items():
        rows = [
            r for r, g in zip(report.rows, groups, strict=True) if g == name
        ]
        _points(axes[0], rows, color=colour, label=name)
    if len(colours) > 1:
        figure.legend(
            title=title,
            loc='outside lower center',
            ncols=min(len(colours) + 1, 6),
            fontsize='small',
        )
    _numbers(axes[0], report)
    if known:
        _tested(figure, axes[1], report)
    _curves(axes[-1], report, [colours[group] for group in groups])
    with atomic_open(path, 'wb') as file:
        figure.savefig(file, format='png', dpi=120)


def _groups(report: Report) -> tuple[str, list[str]]:
    """Returns an option with few values, and its value for each run."""
    for name in GROUPS:
        values = [str(row.options.get(name)) for row in report.rows]
        if 1 < len(set(values)) <= MAX_GROUPS:
            return name, values
    return '', ['runs'] * len(report.rows)


def _colours(groups: Sequence[str]) -> dict[str, Any]:
    from matplotlib import colormaps

    return {
        name: colormaps['tab10'](number)
        for number, name in enumerate(sorted(set(groups)))
    }


def _plane(axes: Any, report: Report) -> None:
    """Draws the axes, the boundaries of the regions, and their tints."""
    across = np.array([row.susceptibility for row in report.rows])
    up = np.array([row.accuracy for row in report.rows])
    logarithmic = _is_wide(across)
    if logarithmic:
        axes.set_xscale('log')
        _plain_ticks(axes.xaxis)
    left, right = _limits(across, logarithmic)
    bottom, top = _limits(up, False)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    line_up, line_across = report.boundaries
    for region, (x, y, horizontal, vertical) in PLACES.items():
        axes.fill_between(
            (left, line_across)
            if horizontal == 'left'
            else (line_across, right),
            *((line_up, top) if vertical == 'top' else (bottom, line_up)),
            color=TINTS[region],
            alpha=0.1,
            linewidth=0,
        )
        axes.text(
            x,
            y,
            f'{region} {NAMES[region]}',
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize='small',
            color=TINTS[region],
        )
    axes.axhline(line_up, color='0.4', linewidth=0.8, linestyle='--')
    axes.axvline(line_across, color='0.4', linewidth=0.8, linestyle='--')
    axes.set_xlabel('susceptibility (low: resists random labels)')
    axes.set_ylabel(f'{report.y} on the given labels')
    axes.set_title(f'regions at the {report.boundary}s', fontsize='medium')


def _is_wide(values: np.ndarray) -> bool:
    return values.min() > 0 and values.max() > LOG_RATIO * values.min()


def _plain_ticks(axis: Any) -> None:
    """Labels a logarithmic axis with 0.1, 0.2, 0.5 and so on only."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f'{v:g}'))
    axis.set_minor_formatter(ticker.NullFormatter())


def _limits(values: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    """Returns the ends of an axis, with room for the names of the regions."""
    if logarithmic:
        values = np.log(values)
    low, high = values.min(), values.max()
    room = 0.12 * (high - low) or 0.1 * max(abs(high), 0.1)
    ends = np.array([low - room, high + room])
    low, high = (np.exp(ends) if logarithmic else ends).tolist()
    return low, high


def _points(axes: Any, rows: Sequence[Run], **style: Any) -> Any:
    return axes.scatter(
        [row.susceptibility for row in rows],
        [row.accuracy for row in rows],
        s=36,
        edgecolors='white',
        linewidths=0.5,
        zorder=3,
        **style,
    )


def _numbers(axes: Any, report: Report) -> None:
    """Adds the number of each run, and marks the recommended one."""
    for row in report.rows:
        axes.annotate(
            str(row.number),
            (row.susceptibility, row.accuracy),
            xytext=(4, 3),
            textcoords='offset points',
            fontsize=7,
            zorder=4,
        )
    chosen = report.chosen
    axes.scatter(
        chosen.susceptibility,
        chosen.accuracy,
        s=220,
        marker='*',
        facecolors='none',
        edgecolors='black',
        zorder=5,
    )


def _tested(figure: Any, axes: Any, report: Report) -> None:
    """Draws the same plane, colored by test accuracy."""
    _plane(axes, report)
    rows = [row for row in report.rows if row.test_accuracy is not None]
    drawn = _points(
        axes, rows, c=[row.test_accuracy for row in rows], cmap='viridis'
    )
    _numbers(axes, report)
    figure.colorbar(drawn, ax=axes, label='test accuracy')
    axes.set_title('test accuracy, not used to choose', fontsize='medium')


def _curves(axes: Any, report: Report, colours: Sequence[Any]) -> None:
    """Draws susceptibility over epochs."""
    for row, colour in zip(report.rows, colours, strict=True):
        chosen = row is report.chosen
        epochs = np.array(row.epochs) + 1
        axes.plot(
            epochs,
            np.array(row.curve, float),
            color='black' if chosen else colour,
            linewidth=2 if chosen else 1,
            alpha=1 if chosen or len(report.rows) <= 10 else 0.6,
            zorder=4 if chosen else 2,
            # A run with one epoch is a point.
            marker='.' if len(epochs) == 1 else '',
            label=f'recommended: {row.number}' if chosen else None,
        )
    values = np.array([v for row in report.rows for v in row.curve], float)
    values = values[np.isfinite(values)]
    if _is_wide(values):
        axes.set_yscale('log')
        _plain_ticks(axes.yaxis)
    axes.legend(fontsize='small')
    axes.set_xlabel('epoch')
    axes.set_ylabel('susceptibility, mean so far')
    axes.set_title('course of susceptibility', fontsize='medium')
