"""Plots the rounds of Me-Momentum from the log of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.utils.files import atomic_open


def first_epochs(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the first log entry of each refinement."""
    first, previous = [], None
    for entry in entries:
        place = (entry.get('outer_round'), entry.get('inner_round'))
        if place[1] and place != previous:
            first.append(entry)
        previous = place
    return first


def draw(path: str, entries: Sequence[dict[str, Any]]) -> None:
    """Draws the confident examples of each refinement, if there is any.

    That is their number by class and, if true labels are known, their precision
    and recall of correct labels.

    Args:
        path: path of the PNG file.
        entries: entries of the log.
    """
    from matplotlib.figure import Figure

    rounds = first_epochs(entries)
    if not rounds:
        return
    names = [f'{e["outer_round"]}.{e["inner_round"]}' for e in rounds]
    known = rounds[0].get('label_precision') is not None
    figure = Figure(figsize=(5 + 5 * known, 4), layout='constrained')
    axes = np.atleast_1d(figure.subplots(1, 1 + known))
    counts = np.array([entry['confident_per_class'] for entry in rounds])
    axes[0].plot(names, counts, '.-', label=range(counts.shape[1]))
    axes[0].set_ylabel('confident examples of each class')
    if counts.shape[1] <= 14:
        axes[0].legend(fontsize='small', ncols=2)
    if known:
        for name in ('label_precision', 'label_recall'):
            values = [entry[name] for entry in rounds]
            axes[1].plot(names, values, '.-', label=name[len('label_') :])
        axes[1].legend()
    for part in axes:
        part.set_xlabel('round: outer.inner')
        part.tick_params(axis='x', rotation=90)
    with atomic_open(path, 'wb') as file:
        figure.savefig(file, format='png', dpi=120)
