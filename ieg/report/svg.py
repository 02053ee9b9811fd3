"""What charts are drawn with: scales, ticks, and a few shapes of SVG."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ieg.report.markup import Html, tag


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


def number(value: float) -> str:
    """Returns a number as an axis or a tip has it."""
    return f'{value:.4g}'


def picture(
    parts: Sequence[Html], width: float, height: float, label: str
) -> Html:
    """Returns shapes as an image of its own, with what it shows in words."""
    return tag(
        'svg',
        *parts,
        viewBox=f'0 0 {width:g} {height:g}',
        role='img',
        aria_label=label,
    )


def words(x: float, y: float, text: str, class_: str, anchor: str) -> Html:
    """Returns text at a place; `anchor` says which end of it is there."""
    return tag(
        'text', text, x=f'{x:.1f}', y=f'{y:.1f}', class_=class_,
        text_anchor=anchor,
    )  # fmt: skip


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """Returns a straight line."""
    places = dict(x1=x1, y1=y1, x2=x2, y2=y2)
    rounded = {name: f'{value:.1f}' for name, value in places.items()}
    return tag('line', **rounded, class_=class_)


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
    found = np.empty(len(places))
    found[order] = places
    return found.tolist()
