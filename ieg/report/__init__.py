"""`report.html`: the results of a run, for a person to read.

One file that works offline: text, charts, tables, and the examples whose
labels look wrong. Only a run folder is read; the data are for pictures.

Each section is a module with `build`, which computes, and a template of the
same name in `templates/`, which is its HTML; `render` lists them.
"""

import contextlib
import os
from typing import TYPE_CHECKING

from markupsafe import Markup

from ieg.errors import RunError
from ieg.report import (
    classes,
    curves,
    duplicates,
    head,
    html,
    matrices,
    outliers,
    reliability,
    suspects,
    trust,
)
from ieg.report import run as report_run
from ieg.utils.files import atomic_write

if TYPE_CHECKING:
    from ieg.data.dataset import Data

NAME = 'report.html'
# What only the pictures of a report have; in names it would be escaped.
_PICTURE = ' src="data:image/'


def write(folder: str, data: 'Data | None' = None, reason: str = '') -> str:
    """Writes the report of a run into its folder.

    Args:
        folder: the run folder; the run need not have finished.
        data: the data that the run was trained on, for pictures; None for a
            report without them.
        reason: why there are no data, a sentence.

    Returns:
        The path of the report.

    Raises:
        UsageError: the folder is not a run folder, or a file in it is damaged.
        OSError: the report cannot be written.
        RunError: the folder has a report with pictures, and this one would
            have none.
    """
    run = report_run.read(folder, () if data is None else data.class_names)
    path = os.path.join(run.folder, NAME)
    atomic_write(path, page(run, data, reason))
    return path


def page(
    run: report_run.RunFolder, data: 'Data | None' = None, reason: str = ''
) -> Markup:
    """Returns the page that is to replace the report of a run.

    Args:
        run: to report on.
        data: see `write`.
        reason: see `write`.

    Raises:
        RunError: see `write`.
    """
    path = os.path.join(run.folder, NAME)
    made = render(run, data, reason)
    if _PICTURE not in made and _has_pictures(path):
        reason = reason or 'The images are not those of label_issues.csv.'
        raise RunError(
            f'{path} was kept, because it has pictures and a new one would '
            f'not: {reason}'
        )
    return made


def _has_pictures(path: str) -> bool:
    with contextlib.suppress(OSError):
        with open(path, encoding='utf-8', errors='replace') as file:
            return _PICTURE in file.read()
    return False


def render(
    run: report_run.RunFolder, data: 'Data | None' = None, reason: str = ''
) -> Markup:
    """Returns the page.

    Args:
        run: to report on.
        data: see `write`.
        reason: see `write`.
    """
    # Anchors, headings and contents.
    sections = (
        ('trust', 'How far to trust this', trust.build(run)),
        ('curves', 'Training curves', curves.build(run)),
        ('matrix', 'Noise matrix', matrices.build(run)),
        ('classes', 'Classes', classes.build(run)),
        ('reliability', 'Calibration', reliability.build(run)),
        ('suspects', 'Suspects', suspects.build(run, data, reason)),
        (
            'duplicates',
            'Near duplicates',
            duplicates.build(run, data, reason),
        ),
        ('outliers', 'Outliers', outliers.build(run, data, reason)),
    )
    return html.render(
        'page.html',
        title=f'{head.title(run)}, {run.options["method"]}: report',
        head=head.build(run),
        sections=[section for section in sections if section[2] is not None],
    )
