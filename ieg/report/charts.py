"""Curves over the epochs of a run, as SVG that stands in a page.

Colours are classes of the page's style sheet, so that a chart follows the
light, the dark and the printed page.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from ieg.report.markup import Html, join, tag
from ieg.report.svg import Scale, number, picture, rule, spread, ticks, words

WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 54, 80, 22, 40
# Series beyond these would repeat a colour.
COLOURS = 6
# Fewer epochs get a mark each.
FEW = 40
# Strips under the pointer; more would be thinner than one can aim at.
STRIPS = 200
LABEL_GAP = 15


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: short, stands at the end of the curve.
        meaning: what it is, for the legend.
        points: (epoch from 1, value), by ascending epoch.
    """

    name: str
    meaning: str
    points: Sequence[tuple[int, float]]


def lines(
    title: str,
    curves: Sequence[Line],
    as_text: Callable[[float], str] = number,
    marked: tuple[int, str] | None = None,
    level: tuple[float, str] | None = None,
) -> Html:
    """Returns a chart of curves over epochs, with a legend.

    Args:
        title: of the chart.
        curves: those without a point are left out; at most `COLOURS`.
        as_text: writes a value.
        marked: an epoch to mark by a line, and its label.
        level: a value to mark by a line, and what it is, for the legend.
    """
    curves = [curve for curve in curves if curve.points][:COLOURS]
    values = [value for curve in curves for _, value in curve.points]
    values += [level[0]] if level else []
    epochs = sorted({epoch for curve in curves for epoch, _ in curve.points})
    up = ticks(min(values), max(values))
    across = Scale(
        epochs[0], max(epochs[-1], epochs[0] + 1), LEFT, WIDTH - RIGHT
    )
    rise = Scale(up[0], up[-1], HEIGHT - BOTTOM, TOP)
    parts = [_grid(rise, up, as_text), _epoch_axis(across, epochs)]
    if level:
        y = rise(level[0])
        parts.append(rule(LEFT, y, WIDTH - RIGHT, y, 'level'))
    if marked:
        parts.append(_mark(across, *marked))
    for place, curve in enumerate(curves):
        parts.append(_curve(curve, place, across, rise))
    parts.append(_end_labels(curves, rise))
    parts.append(_strips(curves, epochs, across, as_text))
    return tag(
        'figure',
        tag('figcaption', title),
        picture(parts, WIDTH, HEIGHT, _described(title, curves, as_text)),
        _legend(curves, level[1] if level else ''),
        class_='chart',
    )


def _described(
    title: str, curves: Sequence[Line], as_text: Callable[[float], str]
) -> str:
    """Returns a chart in words."""
    ends = (
        f'{curve.name} from {as_text(curve.points[0][1])} in epoch '
        f'{curve.points[0][0]} to {as_text(curve.points[-1][1])} in epoch '
        f'{curve.points[-1][0]}'
        for curve in curves
    )
    return f'{title}: {"; ".join(ends)}.'


def _grid(
    rise: Scale, up: Sequence[float], as_text: Callable[[float], str]
) -> Html:
    parts = []
    for value in up:
        y = rise(value)
        parts.append(rule(LEFT, y, WIDTH - RIGHT, y, 'grid'))
        parts.append(words(LEFT - 8, y + 4, as_text(value), 'tick', 'end'))
    return join(parts)


def _epoch_axis(across: Scale, epochs: Sequence[int]) -> Html:
    low = HEIGHT - BOTTOM
    parts = [rule(LEFT, low, WIDTH - RIGHT, low, 'axis')]
    for value in ticks(epochs[0], epochs[-1], 7):
        inside = epochs[0] <= value <= epochs[-1]
        if inside and float(value).is_integer():
            x = across(value)
            parts.append(rule(x, low, x, low + 4, 'axis'))
            parts.append(words(x, low + 18, f'{value:g}', 'tick', 'middle'))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(words(middle, HEIGHT - 5, 'epoch', 'unit', 'middle'))
    return join(parts)


def _mark(across: Scale, epoch: int, label: str) -> Html:
    x = across(min(max(epoch, across.low), across.high))
    # The label stands above the curves, on the side where there is more room.
    left = x < (LEFT + WIDTH - RIGHT) / 2
    anchor, start = ('start', x - 2) if left else ('end', x + 2)
    return join(
        [
            rule(x, TOP - 4, x, HEIGHT - BOTTOM, 'mark'),
            words(start, TOP - 9, label, 'note', anchor),
        ]
    )


def _curve(curve: Line, place: int, across: Scale, rise: Scale) -> Html:
    points = [(across(epoch), rise(value)) for epoch, value in curve.points]
    path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    parts = [tag('polyline', points=path, class_=f'curve c{place}')]
    if len(points) <= FEW:
        parts += [
            tag('circle', cx=f'{x:.1f}', cy=f'{y:.1f}', r=2.2,
                class_=f'dot c{place}')
            for x, y in points
        ]  # fmt: skip
    return join(parts)


def _end_labels(curves: Sequence[Line], rise: Scale) -> Html:
    """Returns the names at the ends of the curves, none over another."""
    wanted = [rise(curve.points[-1][1]) + 4 for curve in curves]
    places = spread(wanted, LABEL_GAP, TOP + 4, HEIGHT - BOTTOM + 4)
    x = WIDTH - RIGHT + 7
    return join(
        words(x, y, curve.name, f'label c{place}', 'start')
        for place, (curve, y) in enumerate(zip(curves, places, strict=True))
    )


def _strips(
    curves: Sequence[Line],
    epochs: Sequence[int],
    across: Scale,
    as_text: Callable[[float], str],
) -> Html:
    """Returns a strip for each epoch with a tip that tells all values."""
    known = [dict(curve.points) for curve in curves]
    shown = epochs[:: math.ceil(len(epochs) / STRIPS)]
    width = (WIDTH - RIGHT - LEFT) / max(len(shown) - 1, 1)
    parts = []
    for epoch in shown:
        values = (
            f'{curve.name} {as_text(found[epoch])}'
            for curve, found in zip(curves, known, strict=True)
            if epoch in found
        )
        start = max(across(epoch) - width / 2, LEFT)
        end = min(across(epoch) + width / 2, WIDTH - RIGHT)
        parts.append(
            tag(
                'rect',
                tag('title', '\n'.join([f'epoch {epoch}', *values])),
                x=f'{start:.1f}',
                y=TOP,
                width=f'{end - start:.1f}',
                height=HEIGHT - BOTTOM - TOP,
                class_='strip',
            )
        )
    return join(parts)


def _legend(curves: Sequence[Line], level: str) -> Html:
    items = [
        _item(f'curve c{place}', curve.name, curve.meaning)
        for place, curve in enumerate(curves)
    ]
    if level:
        items.append(_item('level', '', level))
    return tag('ul', *items, class_='legend')


def _item(class_: str, name: str, meaning: str) -> Html:
    line = tag('line', x1=1, y1=5, x2=25, y2=5, class_=class_)
    swatch = tag('svg', line, viewBox='0 0 26 10', aria_hidden='true')
    return tag('li', swatch, tag('span', tag('b', name), f' {meaning}'))
