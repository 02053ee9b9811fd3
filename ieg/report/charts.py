"""Charts of a report, as SVG that stands in a page.

Colors are classes of the page's style sheet, so that a chart follows the
light, the dark and the printed page.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ieg.label_issues import floor
from ieg.report.html import number, percent, render

if TYPE_CHECKING:
    from ieg.report.reliability import Reliability

# Curves over epochs.
WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 54, 80, 22, 40
# Series beyond these would repeat a color.
COLOURS = 6
# Fewer epochs get a mark each.
FEW = 40
# Strips under the pointer; more would be thinner than one can aim at.
STRIPS = 200
LABEL_GAP = 15
# Reliability diagrams.
SQUARE, EDGE, STRIP, ABOVE = 250, 46, 46, 24

# Their values are escaped as they are filled in.
_RULE = Markup(
    '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>'
)
_WORDS = Markup(
    '<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>'
)
_CURVE = Markup('<polyline points="{}" class="curve c{}"/>')
_DOT = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.2" class="dot c{}"/>')
_BOX = Markup(
    '<rect x="{:.1f}" width="{:.1f}" y="{:.1f}" height="{:.1f}" class="{}">'
    '{}</rect>'
)
_TIP = Markup('<title>{}</title>')


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


@dataclasses.dataclass(frozen=True)
class Scale:
    """A linear map of values to places.

    Attributes:
        low: smallest value.
        high: largest value.
        start: place of the smallest.
        end: place of the largest.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Returns round numbers that span an interval, its ends or further.

    Args:
        low: smallest value to show.
        high: largest value, not below `low`.
        most: about as many numbers.
    """
    if high - low <= 1e-9 * abs(low):
        margin = abs(low) * 0.1 or 0.5
        low, high = low - margin, high + margin
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(
        f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * 0.99
    )
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f'{n * step:.10g}') for n in range(first, last + 1)]


def spread(
    wanted: Sequence[float], gap: float, low: float, high: float
) -> list[float]:
    """Returns places near the wanted ones, at least a gap apart.

    Args:
        wanted: places.
        gap: between two.
        low: first place that is allowed.
        high: last one; exceeded where the places do not fit.
    """
    order = np.argsort(wanted, kind='stable')
    places = np.clip(np.asarray(wanted, float)[order], low, high)
    for n in range(1, len(places)):
        places[n] = max(places[n], places[n - 1] + gap)
    # What was pushed over the end comes back, and pushes those before it.
    for n in range(len(places) - 1, -1, -1):
        most = high if n == len(places) - 1 else places[n + 1] - gap
        places[n] = min(places[n], max(most, low + n * gap))
    in_order = np.empty(len(places))
    in_order[order] = places
    return in_order.tolist()


def lines(
    title: str,
    curves: Sequence[Line],
    as_text: Callable[[float], str] = number,
    marked: tuple[int, str] | None = None,
    level: tuple[float, str] | None = None,
) -> Markup:
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
    parts = _grid(rise, up, as_text) + _epoch_axis(across, epochs)
    legend = [
        (f'curve c{place}', curve.name, curve.meaning)
        for place, curve in enumerate(curves)
    ]
    if level:
        y = rise(level[0])
        parts.append(_RULE.format(LEFT, y, WIDTH - RIGHT, y, 'level'))
        legend.append(('level', '', level[1]))
    if marked:
        parts += _mark(across, *marked)
    for place, curve in enumerate(curves):
        parts += _curve(curve, place, across, rise)
    parts += _end_labels(curves, rise)
    parts += _strips(curves, epochs, across, as_text)
    ends = '; '.join(
        f'{curve.name} from {as_text(curve.points[0][1])} in epoch '
        f'{curve.points[0][0]} to {as_text(curve.points[-1][1])} in epoch '
        f'{curve.points[-1][0]}'
        for curve in curves
    )
    return _figure(title, f'{title}: {ends}.', WIDTH, HEIGHT, parts, legend)


def _figure(
    title: str,
    label: str,
    width: float,
    height: float,
    parts: Sequence[Markup],
    legend: Sequence[tuple[str, str, str]] = (),
) -> Markup:
    """Returns shapes as a figure, with what they show in words (`label`)."""
    return render(
        'chart.html',
        title=title,
        label=label,
        width=width,
        height=height,
        shapes=Markup('\n').join(parts),
        legend=legend,
    )


def _grid(
    rise: Scale, up: Sequence[float], as_text: Callable[[float], str]
) -> list[Markup]:
    parts = []
    for value in up:
        y = rise(value)
        parts.append(_RULE.format(LEFT, y, WIDTH - RIGHT, y, 'grid'))
        parts.append(
            _WORDS.format(LEFT - 8, y + 4, 'tick', 'end', as_text(value))
        )
    return parts


def _epoch_axis(across: Scale, epochs: Sequence[int]) -> list[Markup]:
    low = HEIGHT - BOTTOM
    parts = [_RULE.format(LEFT, low, WIDTH - RIGHT, low, 'axis')]
    for value in ticks(epochs[0], epochs[-1], 7):
        inside = epochs[0] <= value <= epochs[-1]
        if inside and float(value).is_integer():
            x, text = across(value), f'{value:g}'
            parts.append(_RULE.format(x, low, x, low + 4, 'axis'))
            parts.append(_WORDS.format(x, low + 18, 'tick', 'middle', text))
    x = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_WORDS.format(x, HEIGHT - 5, 'unit', 'middle', 'epoch'))
    return parts


def _mark(across: Scale, epoch: int, label: str) -> list[Markup]:
    x = across(min(max(epoch, across.low), across.high))
    # The label stands above the curves, on the side where there is more room.
    left = x < (LEFT + WIDTH - RIGHT) / 2
    anchor, start = ('start', x - 2) if left else ('end', x + 2)
    return [
        _RULE.format(x, TOP - 4, x, HEIGHT - BOTTOM, 'mark'),
        _WORDS.format(start, TOP - 9, 'note', anchor, label),
    ]


def _curve(curve: Line, place: int, across: Scale, rise: Scale) -> list[Markup]:
    points = [(across(epoch), rise(value)) for epoch, value in curve.points]
    path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    dots = points if len(points) <= FEW else []
    return [
        _CURVE.format(path, place),
        *(_DOT.format(x, y, place) for x, y in dots),
    ]


def _end_labels(curves: Sequence[Line], rise: Scale) -> list[Markup]:
    """Returns the names at the ends of the curves, none over another."""
    wanted = [rise(curve.points[-1][1]) + 4 for curve in curves]
    places = spread(wanted, LABEL_GAP, TOP + 4, HEIGHT - BOTTOM + 4)
    x = WIDTH - RIGHT + 7
    return [
        _WORDS.format(x, y, f'label c{place}', 'start', curve.name)
        for place, (curve, y) in enumerate(zip(curves, places, strict=True))
    ]


def _strips(
    curves: Sequence[Line],
    epochs: Sequence[int],
    across: Scale,
    as_text: Callable[[float], str],
) -> list[Markup]:
    """Returns a strip for each epoch with a tip that has all values."""
    values = [dict(curve.points) for curve in curves]
    shown = epochs[:: math.ceil(len(epochs) / STRIPS)]
    width = (WIDTH - RIGHT - LEFT) / max(len(shown) - 1, 1)
    parts = []
    for epoch in shown:
        text = [f'epoch {epoch}'] + [
            f'{curve.name} {as_text(by_epoch[epoch])}'
            for curve, by_epoch in zip(curves, values, strict=True)
            if epoch in by_epoch
        ]
        start = max(across(epoch) - width / 2, LEFT)
        end = min(across(epoch) + width / 2, WIDTH - RIGHT)
        parts.append(
            _BOX.format(
                start, end - start, TOP, HEIGHT - BOTTOM - TOP, 'strip',
                _TIP.format('\n'.join(text)),
            )
        )  # fmt: skip
    return parts


def diagram(title: str, measured: 'Reliability') -> Markup:
    """Returns a reliability diagram: accuracy over confidence, in bins.

    Bars are accuracies, the marks across them mean confidences; below them
    is the share of the examples in each bin.
    """
    across = Scale(0, 1, EDGE, EDGE + SQUARE)
    rise = Scale(0, 1, ABOVE + SQUARE, ABOVE)
    base = ABOVE + SQUARE + STRIP + 12
    amount = Scale(0, max(measured.shares.max(), 1e-9), base, base - STRIP)
    parts = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        x, y, text = across(value), rise(value), f'{100 * value:g}'
        parts.append(_RULE.format(EDGE, y, EDGE + SQUARE, y, 'grid'))
        parts.append(_WORDS.format(EDGE - 8, y + 4, 'tick', 'end', text))
        parts.append(_WORDS.format(x, base + 18, 'tick', 'middle', text))
    for place in np.flatnonzero(measured.shares).tolist():
        parts.append(_bin(measured, place, across, rise, amount))
    parts.append(_RULE.format(across(0), rise(0), across(1), rise(1), 'level'))
    for y in (rise(0), base):
        parts.append(_RULE.format(EDGE, y, EDGE + SQUARE, y, 'axis'))
    for x, y, anchor, text in (
        (EDGE - 8, base - STRIP / 2 + 4, 'end', 'share'),
        (EDGE - 30, ABOVE - 12, 'start', 'accuracy, %'),
        (EDGE + SQUARE / 2, base + 36, 'middle', 'confidence, %'),
    ):
        parts.append(_WORDS.format(x, y, 'unit', anchor, text))
    label = f'{title}. Expected calibration error {percent(measured.ece)}.'
    return _figure(title, label, EDGE + SQUARE + 14, base + 42, parts)


def _bin(
    measured: 'Reliability',
    place: int,
    across: Scale,
    rise: Scale,
    amount: Scale,
) -> Markup:
    """Returns one bin: accuracy, mean confidence, and share of examples."""
    accuracy, confidence = measured.accuracy[place], measured.confidence[place]
    share = measured.shares[place]
    bins = len(measured.shares)
    start, end = across(place / bins) + 0.75, across((place + 1) / bins) - 0.75
    tip = _TIP.format(
        f'confidence {percent(confidence)}\naccuracy {percent(accuracy)}\n'
        f'{percent(share)} of the examples'
    )

    def box(one: float, other: float, class_: str) -> Markup:
        return _BOX.format(
            start, end - start, min(one, other), abs(one - other), class_, ''
        )

    top, level = rise(accuracy), rise(confidence)
    return Markup('<g>{}</g>').format(
        Markup('').join([
            tip,
            box(top, rise(0), 'bar'),
            box(top, level, 'gap'),
            _RULE.format(start, level, end, level, 'confidence'),
            box(amount(share), amount(0), 'share'),
        ])
    )  # fmt: skip


def disagreement(title: str, held: Mapping[str, Any]) -> Markup:
    """Returns a chart of disagreement over confidence, in bins.

    Bars are shares of held-out labels that disagree with their prediction,
    the surest on the left; a band is the range of the rate of wrong labels.
    Unless the rate is refused, the fitted curve and its floor are there, too.

    Args:
        title: of the chart.
        held: what held-out labels show, of `summary.json`.
    """
    examples, differ = np.array(held['examples']), np.array(held['disagreeing'])
    shares = differ / np.maximum(examples, 1)
    (low, high), point = held[floor.INTERVAL], held[floor.RATE]
    up = ticks(0, max(shares.max(), high))
    across = Scale(0, 1, LEFT, WIDTH - RIGHT)
    rise = Scale(up[0], up[-1], HEIGHT - BOTTOM, TOP)
    bars = [
        _bar(place, share, (across, rise), f'{hits} of {whole} disagree')
        for place, (share, hits, whole) in enumerate(
            zip(shares.tolist(), differ, examples, strict=True)
        )
    ]
    top, width = rise(high), WIDTH - RIGHT - LEFT
    band = _BOX.format(LEFT, width, top, rise(low) - top, 'band', '')
    parts = [*_grid(rise, up, partial(percent, digits=0)), *bars, band]
    each = round(examples.mean())
    spoken = f'{percent(low)} to {percent(high)}'
    legend = [
        ('bar', '', f'share that disagrees, of about {each} labels each'),
        ('band', '', f'the range by these labels, {spoken}'),
    ]
    ends = {high, low}
    if point is not None:
        ends.add(point)
        fitted = floor.curve(
            floor.CENTRES, point, held['height'], held['power']
        )
        points = zip(map(across, floor.CENTRES), map(rise, fitted), strict=True)
        path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        parts.append(_CURVE.format(path, 1))
        y = rise(point)
        parts.append(_RULE.format(LEFT, y, WIDTH - RIGHT, y, 'level'))
        legend += [
            ('curve c1', '', 'the curve fitted to these shares'),
            ('level', '', f'the floor of the curve, {percent(point)}'),
        ]
    parts += [*_ranks(across), *_values(sorted(ends), rise)]
    return _figure(title, f'{title}: {spoken}.', WIDTH, HEIGHT, parts, legend)


def _bar(
    place: int, share: float, scales: tuple[Scale, Scale], tip: str
) -> Markup:
    """Returns the bar of one of the bins of confidence, with its tip."""
    across, rise = scales
    start, end = (
        across(place / floor.BINS) + 0.75,
        across((place + 1) / floor.BINS) - 0.75,
    )
    top, low = rise(share), rise(0)
    text = _TIP.format(tip)
    bar = _BOX.format(start, end - start, top, low - top, 'bar', text)
    # A bar of no height cannot be pointed at.
    return bar + _BOX.format(start, end - start, TOP, low - TOP, 'strip', text)


def _ranks(across: Scale) -> list[Markup]:
    """Returns the axis of confidence, from the surest to the least sure."""
    low = HEIGHT - BOTTOM
    parts = [_RULE.format(LEFT, low, WIDTH - RIGHT, low, 'axis')]
    ends = ((0, 'start', 'surest'), (1, 'end', 'least sure'))
    for value, anchor, text in ends:
        x = across(value)
        parts.append(_WORDS.format(x, low + 18, 'tick', anchor, text))
    x = across(0.5)
    parts.append(_WORDS.format(x, HEIGHT - 5, 'unit', 'middle', 'confidence'))
    return parts


def _values(values: Sequence[float], rise: Scale) -> list[Markup]:
    """Returns values at the right end of a chart, none over another."""
    wanted = [rise(value) + 4 for value in values]
    places = spread(wanted, LABEL_GAP, TOP + 4, HEIGHT - BOTTOM + 4)
    x = WIDTH - RIGHT + 7
    return [
        _WORDS.format(x, y, 'note', 'start', percent(value))
        for value, y in zip(values, places, strict=True)
    ]
