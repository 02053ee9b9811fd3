"""The section on how far to trust the number of wrong labels."""

import os
import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ieg.label_issues.floor import EVIDENCE, INTERVAL, RATE, limits
from ieg.label_issues.ranking import REVIEWED, statement
from ieg.label_issues.score import LIKELY, PRECISION
from ieg.report.charts import disagreement
from ieg.report.html import render
from ieg.report.run import RunFolder
from ieg.run_folder import SAMPLE


def build(run: RunFolder) -> Markup | None:
    """Returns the section; None for a run that did not record its evidence."""
    figures = run.issue_summary
    sentences = statement(figures)
    if EVIDENCE not in figures or not sentences:
        return None
    held, folder = figures[EVIDENCE], shlex.quote(run.folder)
    table = shlex.quote(os.path.join(run.folder, SAMPLE))
    return render(
        'trust.html',
        rate=sentences[0],
        marks=figures.get('count'),
        held=held,
        examples=sum(held['examples']) if held else 0,
        disagreeing=sum(held['disagreeing']) if held else 0,
        point=held and held[RATE],
        limits=held and held[INTERVAL],
        chart=disagreement(_TITLE, held) if held else '',
        precision=[round(100 * share) for share in PRECISION[LIKELY]],
        review=_review(figures),
        draw=f'ieg report {folder} --sample=50',
        read=f'ieg report {folder} --reviewed={table}',
    )


_TITLE = 'Held-out labels that disagree with their prediction'


def _review(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what a person reviewed, and what was known before."""
    review = figures.get(REVIEWED)
    if not review:
        return None
    low, high = map(float, limits(review['wrong'], review['examples']))
    own = figures[EVIDENCE] or {RATE: None, INTERVAL: None}
    before = {name: own[name] for name in (RATE, INTERVAL)}
    least, most = own[INTERVAL] or (0, 1)
    meets = least <= high and low <= most
    return {
        **review,
        'low': low,
        'high': high,
        'meets': meets,
        'before': statement({**figures, **before, REVIEWED: None})[0],
    }
