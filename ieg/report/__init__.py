"""`report.html`: what a run has found out, for a person to read.

One file that needs no network: text, charts, tables, and the examples whose
labels look wrong. Only a run folder is read; the data are for pictures.
"""

import os
from typing import Any

from ieg.errors import UsageError
from ieg.report import (
    classes,
    curves,
    gallery,
    head,
    matrices,
    page,
    reliability,
)
from ieg.report import run as report_run
from ieg.utils.files import atomic_write

NAME = 'report.html'


def write(folder: str, data: Any = None, reason: str = '') -> str:
    """Writes the report of a run into its folder.

    Args:
        folder: of the run; it need not have finished.
        data: `Data` that the run learnt from, for pictures; None
            for a report without any.
        reason: why there are no data, a sentence.

    Returns:
        The path of the report.

    Raises:
        UsageError: the folder is none of a run, a file in it is damaged, or
            the report cannot be written.
    """
    run = report_run.read(folder, () if data is None else data.class_names)
    path = os.path.join(run.folder, NAME)
    try:
        atomic_write(path, render(run, data, reason))
    except OSError as error:
        raise UsageError(
            f'{path} cannot be written ({error.strerror}).'
        ) from error
    return path


def render(
    run: report_run.RunFolder, data: Any = None, reason: str = ''
) -> str:
    """Returns the page.

    Args:
        run: what is told.
        data: see `write`.
        reason: see `write`.
    """
    names = run.class_names
    sections = (
        curves.build(run),
        matrices.build(run, names),
        classes.build(run, names),
        reliability.build(run),
        gallery.build(run, data, reason, names),
    )
    title = f'{head.title(run)}, {run.options["method"]}: report'
    return page.build(title, head.build(run, names), sections)
