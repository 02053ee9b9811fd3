"""Runs with evidence of held-out labels, for reports and reviews."""

import json

import numpy as np
from report_files import Run

from ieg.label_issues import floor
from ieg.label_issues.ranking import REVIEWED

__all__ = ['REVIEWED', 'evidence', 'figures_of', 'reviewable']


def evidence(rate=0.2, weak=False, folds=1, seed=0):
    """Returns what held-out labels show, of which a share is wrong."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(folds):
        truth = rng.integers(3, size=400)
        good = rng.dirichlet(np.ones(3), 400)
        shares = good if weak else good / 3 + np.eye(3)[truth] * 2 / 3
        wrong = rng.random(400) < rate
        parts.append((shares, np.where(wrong, (truth + 1) % 3, truth)))
    return floor.estimate(parts)


def reviewable(folder, found=None, **changes):
    """Makes a run whose `summary.json` has this evidence.

    Args:
        folder: is made.
        found: a `Floor`; None where nothing was held out.
        **changes: of `label_issues`.
    """
    run = Run(folder)
    summary = run.summary()
    unknown = dict.fromkeys((floor.RATE, floor.INTERVAL, floor.EVIDENCE))
    summary['label_issues'] |= {
        'never_predicted': [],
        **(found.figures() if found else unknown),
        **changes,
    }
    run.write_json('summary.json', summary)
    run.write_issues(mark=np.full(len(run.issues), '', object))
    return run


def figures_of(run):
    text = (run.folder / 'summary.json').read_text()
    return json.loads(text)['label_issues']
