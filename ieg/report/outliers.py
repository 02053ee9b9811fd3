"""The section of outliers: examples that are unlike all others."""

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ieg.report.duplicates import look
from ieg.report.html import render
from ieg.report.run import ISSUES, RunFolder
from ieg.report.suspects import contents

if TYPE_CHECKING:
    from ieg.data.dataset import Data

MOST = 60


def build(run: RunFolder, data: 'Data | None', reason: str) -> Markup | None:
    """Returns the section, None without outliers.

    Args:
        run: the run; its list of issues may be missing.
        data: the data with the images, or None.
        reason: why there are no data, a sentence.
    """
    issues = run.issues
    if issues is None or issues.is_outlier is None:
        return None
    rows = np.flatnonzero(issues.is_outlier)
    if not len(rows):
        return None
    if issues.outlier_score is not None:
        rows = rows[np.argsort(-issues.outlier_score[rows], kind='stable')]
    chosen = rows[:MOST]
    seen = contents(data, issues, chosen, run.predictions)
    return render(
        'outliers.html',
        examples=[look(issues, int(row), seen) for row in chosen],
        count=len(rows),
        no_pictures='' if seen.pictures else reason or seen.reason,
        file=ISSUES,
    )
