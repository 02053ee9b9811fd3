"""The section on calibration: how far confidences can be trusted."""

import numpy as np
from markupsafe import Markup

from ieg.report.calibration import BINS, calibration, fit_temperature
from ieg.report.charts import diagram
from ieg.report.html import render
from ieg.report.run import PREDICTIONS, RunFolder

LABELS = {
    'valid': 'validation examples with their given labels',
    'test': 'test examples with their best known labels',
}


def build(run: RunFolder) -> Markup:
    """Returns the section."""
    held = {
        split: pair
        for split in ('valid', 'test')
        if (pair := _held_out(run, split)) is not None
    }
    if not held:
        return render(
            'reliability.html',
            calibrations={},
            has_predictions=run.predictions is not None,
            file=PREDICTIONS,
        )
    # Validation labels are for fitting, test labels to measure.
    fitted_to, measured_on = list(held)[0], list(held)[-1]
    temperature, uncorrected = fit_temperature(*held[fitted_to]), None
    transition = run.issue_summary.get('transition_matrix')
    if fitted_to != measured_on and _is_noisy(run) and transition is not None:
        uncorrected = calibration(*held[measured_on], temperature)
        temperature = fit_temperature(*held[fitted_to], np.asarray(transition))
    calibrations = {
        split: calibration(*pair, temperature) for split, pair in held.items()
    }
    measured = calibrations[measured_on]
    return render(
        'reliability.html',
        calibrations=calibrations,
        fitted_to=fitted_to,
        measured_on=measured_on,
        uncorrected=uncorrected,
        wrong_share=_wrong_share(run),
        diagrams=[
            diagram('As trained', measured.before),
            diagram(f'Divided by {temperature:.2f}', measured.after),
        ],
        labels=LABELS,
        sizes={split: len(labels) for split, (_, labels) in held.items()},
        bins=BINS,
    )


def _is_noisy(run: RunFolder) -> bool:
    """Whether validation labels are as noisy as those of training.

    They are where they were split off; a validation set of your own may be
    better.
    """
    share = _wrong_share(run)
    return bool(run.options.get('valid_ratio')) if share is None else share > 0


def _held_out(
    run: RunFolder, split: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns logits [n, C] and labels [n] of a split that has any."""
    arrays = run.predictions or {}
    logits = arrays.get(f'{split}_logits')
    if logits is None or not len(logits) or not np.isfinite(logits).all():
        return None
    return logits.astype(float), arrays[f'{split}_labels'].astype(int)


def _wrong_share(run: RunFolder) -> float | None:
    """Returns how many validation labels are wrong, None if not known."""
    arrays = run.predictions or {}
    clean, labels = arrays.get('valid_clean'), arrays.get('valid_labels')
    if clean is None or labels is None or clean.shape != labels.shape:
        return None
    return float(np.mean(clean != labels))
