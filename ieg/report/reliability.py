"""The section on how far confidences can be trusted."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ieg.report.calibration import (
    BINS,
    Calibration,
    Reliability,
    calibration,
    fit_temperature,
)
from ieg.report.markup import (
    Html,
    count,
    paragraph,
    percent,
    section,
    table,
    tag,
)
from ieg.report.run import PREDICTIONS, RunFolder
from ieg.report.svg import Scale, picture, rule, words

SQUARE, EDGE, STRIP, TOP = 250, 46, 46, 24
EXPLAINED = (
    'Bars: accuracy of the examples with this confidence; lines across them: '
    'their mean confidence; shaded: the gap between the two, whose mean over '
    'the examples is the error. Below: the share of the examples.'
)
LABELS = {
    'valid': 'validation examples with their given labels',
    'test': 'test examples with their best known labels',
}


def build(run: RunFolder) -> Html:
    """Returns the section."""
    title = 'Can its confidence be trusted?'
    if run.predictions is None:
        text = f'The run has no {PREDICTIONS}, so this cannot be told.'
        return section('reliability', title, paragraph(text))
    held = {split: _held_out(run, split) for split in ('valid', 'test')}
    held = {split: pair for split, pair in held.items() if pair is not None}
    if not held:
        text = (
            'There are no finite predictions for validation or test examples, '
            'so this cannot be told.'
        )
        return section('reliability', title, paragraph(text))
    fit = _fit(run, held)
    shown = fit.found[fit.measured_on]
    return section(
        'reliability',
        title,
        *_words(run, fit),
        tag(
            'div',
            diagram('As trained', shown.before),
            diagram(f'Divided by {shown.temperature:.2f}', shown.after),
            class_='charts',
        ),
        paragraph(EXPLAINED, class_='small'),
        _figures(held, fit.found),
    )


@dataclasses.dataclass(frozen=True)
class _Fit:
    """What a temperature was fitted to, and what it does.

    Attributes:
        fitted_to: name of a split.
        measured_on: name of a split; the same one where there is one only.
        found: calibration on each split, with the fitted temperature.
        plain: the same where measured, with a temperature that was fitted as
            if all labels were right; None where the fitted one was.
    """

    fitted_to: str
    measured_on: str
    found: Mapping[str, Calibration]
    plain: Calibration | None


def _fit(
    run: RunFolder, held: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> _Fit:
    # Validation labels are for fitting, test labels to measure.
    fitted_to, measured_on = list(held)[0], list(held)[-1]
    temperature, plain = fit_temperature(*held[fitted_to]), None
    transition = run.found.get('transition_matrix')
    if fitted_to != measured_on and _is_noisy(run) and transition is not None:
        plain = calibration(*held[measured_on], temperature)
        temperature = fit_temperature(*held[fitted_to], np.asarray(transition))
    found = {
        split: calibration(*pair, temperature) for split, pair in held.items()
    }
    return _Fit(fitted_to, measured_on, found, plain)


def _is_noisy(run: RunFolder) -> bool:
    """Whether validation labels are as noisy as those that are learnt.

    They are where they were split off; an owner's may be better.
    """
    share = _wrong_share(run)
    return bool(run.options.get('valid_ratio')) if share is None else share > 0


def _held_out(
    run: RunFolder, split: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns logits [n, C] and labels [n] of a split that has any."""
    logits = run.predictions.get(f'{split}_logits')
    if logits is None or not len(logits) or not np.isfinite(logits).all():
        return None
    return logits.astype(float), run.predictions[f'{split}_labels'].astype(int)


def _words(run: RunFolder, fit: _Fit) -> list[Html]:
    """Returns what was fitted to what, and what is to be thought of it."""
    shown = fit.found[fit.measured_on]
    temperature, before, after = shown.temperature, shown.before, shown.after
    parts = [
        f'Expected calibration error {percent(before.ece)} as trained, '
        f'{percent(after.ece)} after all logits are divided by one '
        f'temperature, {temperature:.2f}.'
    ]
    if temperature > 1:
        parts.append('Above 1, it lowers all confidences.')
    else:
        parts.append('Below 1, it raises all confidences.')
    parts += _doubts(run, fit)
    told = [paragraph(tag('strong', parts[0]), ' ', parts[1])]
    return [*told, paragraph(' '.join(parts[2:]))]


def _doubts(run: RunFolder, fit: _Fit) -> list[str]:
    """Returns what the temperature was fitted to, and how far to trust it."""
    shown, plain = fit.found[fit.measured_on], fit.plain
    text = f'The temperature was fitted to the {LABELS[fit.fitted_to]}'
    if fit.fitted_to == 'valid':
        share = _wrong_share(run)
        if share is None:
            text += ', which may be wrong'
        elif share:
            text += f', {percent(share)} of which are wrong'
    if fit.fitted_to == fit.measured_on:
        found = [
            f'{text}, and the errors are measured on the same examples, so '
            'the error after the fit flatters.'
        ]
    else:
        way = '' if plain is None else ', by way of the estimated noise matrix'
        found = [
            f'{text}{way}; the diagrams are of the {LABELS["test"]}, which '
            'had no part in the fit.'
        ]
    if plain is not None:
        found.append(
            f'Without that matrix it would be {plain.temperature:.2f}, and '
            f'the error {percent(plain.after.ece)}: among wrong labels every '
            'network seems too sure.'
        )
    if shown.after.ece > shown.before.ece:
        found.append('Here it does not help; leave the logits as they are.')
    return found


def _wrong_share(run: RunFolder) -> float | None:
    """Returns how many validation labels are wrong, None if not known."""
    clean = run.predictions.get('valid_clean')
    labels = run.predictions.get('valid_labels')
    if clean is None or labels is None or clean.shape != labels.shape:
        return None
    return float(np.mean(clean != labels))


def _figures(
    held: Mapping[str, tuple[np.ndarray, np.ndarray]],
    found: Mapping[str, Calibration],
) -> Html:
    rows = []
    for split, one in found.items():
        both = (one.before, one.after)
        eces = [percent(value.ece, 2) for value in both]
        nlls = [f'{value.nll:.3f}' for value in both]
        size = count(len(held[split][1]))
        rows.append([LABELS[split], size, *eces, *nlls])
    head = [
        'measured on',
        'examples',
        'ECE',
        'ECE, divided',
        'NLL',
        'NLL, divided',
    ]
    caption = f'Calibration in {BINS} bins'
    return table(caption, head, rows, 'figures')


def diagram(title: str, found: Reliability) -> Html:
    """Returns a reliability diagram: accuracy over confidence, in bins.

    Bars are accuracies, the marks across them mean confidences; below stands
    which share of the examples each bin has.
    """
    across = Scale(0, 1, EDGE, EDGE + SQUARE)
    rise = Scale(0, 1, TOP + SQUARE, TOP)
    base = TOP + SQUARE + STRIP + 12
    most = max(found.shares.max(), 1e-9)
    amount = Scale(0, most, base, base - STRIP)
    parts = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        x, y, text = across(value), rise(value), f'{100 * value:g}'
        parts.append(rule(EDGE, y, EDGE + SQUARE, y, 'grid'))
        parts.append(words(EDGE - 8, y + 4, text, 'tick', 'end'))
        parts.append(words(x, base + 18, text, 'tick', 'middle'))
    for place in range(BINS):
        if found.shares[place]:
            parts.append(_bin(found, place, across, rise, amount))
    parts.append(rule(across(0), rise(0), across(1), rise(1), 'level'))
    for y in (rise(0), base):
        parts.append(rule(EDGE, y, EDGE + SQUARE, y, 'axis'))
    parts.append(words(EDGE - 8, base - STRIP / 2 + 4, 'share', 'unit', 'end'))
    parts.append(words(EDGE - 30, TOP - 12, 'accuracy, %', 'unit', 'start'))
    middle, unit = EDGE + SQUARE / 2, 'confidence, %'
    parts.append(words(middle, base + 36, unit, 'unit', 'middle'))
    label = f'{title}. Expected calibration error {percent(found.ece)}.'
    svg = picture(parts, EDGE + SQUARE + 14, base + 42, label)
    return tag('figure', tag('figcaption', title), svg, class_='chart')


def _bin(
    found: Reliability, place: int, across: Scale, rise: Scale, amount: Scale
) -> Html:
    """Returns one bin: accuracy, mean confidence, and share of examples."""
    accuracy, confidence = found.accuracy[place], found.confidence[place]
    share = found.shares[place]
    start, end = across(place / BINS) + 0.75, across((place + 1) / BINS) - 0.75
    tip = tag(
        'title',
        f'confidence {percent(confidence)}\naccuracy {percent(accuracy)}\n'
        f'{percent(share)} of the examples',
    )
    box = dict(x=f'{start:.1f}', width=f'{end - start:.1f}')
    top, bottom = rise(accuracy), rise(0)
    level = rise(confidence)
    return tag(
        'g',
        tip,
        tag('rect', **box, y=f'{top:.1f}', height=f'{bottom - top:.1f}',
            class_='bar'),
        tag('rect', **box, y=f'{min(top, level):.1f}',
            height=f'{abs(top - level):.1f}', class_='gap'),
        rule(start, level, end, level, 'confidence'),
        tag('rect', **box, y=f'{amount(share):.1f}',
            height=f'{amount(0) - amount(share):.1f}', class_='share'),
    )  # fmt: skip
