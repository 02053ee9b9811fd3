"""Reads finished run folders, for a comparison of runs.

Needs neither TensorFlow nor the method that a run was trained by.
"""

import dataclasses
import glob
import os
import re
from collections.abc import Sequence
from typing import Any

from ieg.data.spec import OWN
from ieg.errors import UsageError
from ieg.run_folder import (
    ADVICE,
    CONFIG,
    DROP,
    LOG,
    SUMMARY,
    damaged,
    read_entries,
    read_object,
    read_options,
)
from ieg.utils.files import walk

# Only a data set with a noise rate, or a long tail, is drawn.
DRAWN = re.compile(r'_[0-9.]+$')


@dataclasses.dataclass(frozen=True)
class Run:
    """What a comparison knows of a run, at its last epoch.

    Attributes:
        folder: of the run.
        options: all of them.
        accuracy: on the given training labels.
        susceptibility: mean of the drops of all epochs.
        drops: of each probed epoch; None where one was not finite.
        epochs: that have a susceptibility, as the log counts them, from 0.
        curve: susceptibility of each of these epochs.
        probe: how susceptibility was measured.
        recommended_epoch: where to stop, by the tracker, counted from 0.
        recommended_step: the same in steps, for --restore_step.
        reason: of the tracker's.
        test_accuracy: None where there are no test labels.
        test_accuracy_at_epoch: at the recommended epoch, if it was evaluated.
        valid_accuracy: on noisy labels held out, if there are any.
        fit_right: share of the right training labels that are predicted.
        fit_wrong: the same of the wrong ones; None where nobody knows them.
    """

    folder: str
    options: dict[str, Any]
    accuracy: float
    susceptibility: float
    drops: list[float | None]
    epochs: list[int]
    curve: list[float | None]
    probe: dict[str, Any]
    recommended_epoch: int | None
    recommended_step: int | None
    reason: str | None
    test_accuracy: float | None
    test_accuracy_at_epoch: float | None
    valid_accuracy: float | None
    fit_right: float | None
    fit_wrong: float | None


def find(places: Sequence[str]) -> list[str]:
    """Returns the run folders in some places, each once.

    What lies inside a run folder, such as the trials of a search, is no run of
    its own unless it is named.

    Args:
        places: run folders, folders that hold some at any depth, or patterns.

    Raises:
        UsageError: nothing has this name, or there is no run at all.
    """
    found: dict[str, str] = {}
    for place in places:
        place = os.path.expanduser(place)
        # A name that exists is no pattern, whatever characters it has.
        matches = [place] if os.path.exists(place) else []
        matches = matches or sorted(glob.glob(place, recursive=True))
        if not matches:
            raise UsageError(f'No run found: there is no {place}.')
        for match in matches:
            for folder in _below(match):
                found.setdefault(os.path.realpath(folder), folder)
    if not found:
        raise UsageError(
            f'No run found in {", ".join(places)}: no folder there holds a '
            f'{CONFIG}.'
        )
    return list(found.values())


def _below(top: str) -> list[str]:
    runs = []
    # A folder that cannot be read is skipped.
    for folder in walk(
        top, hidden=True, follow_links=False, on_error=lambda error: None
    ):
        if CONFIG in map(os.path.basename, folder.files):
            runs.append(os.path.normpath(folder.path))
            folder.folders.clear()
    return runs


def load(folders: Sequence[str], y: str) -> tuple[list[Run], list[str]]:
    """Reads run folders.

    Args:
        folders: of runs.
        y: 'fit_accuracy' or 'train_accuracy', whichever is `accuracy`.

    Returns:
        runs: that have come to an end.
        left_out: one sentence for each of the others.

    Raises:
        UsageError: a file is damaged, a run was not tracked, or none is left.
    """
    runs, left_out = [], []
    for folder in folders:
        options = read_options(folder)
        if not os.path.exists(os.path.join(folder, SUMMARY)):
            left_out.append(
                f'{folder} is left out: it has no {SUMMARY}, so the run has '
                'not finished.'
            )
            continue
        run = _read(folder, options, y)
        if run is None:
            left_out.append(
                f'{folder} is left out: its last probe gave no number, as '
                'after a training that diverged.'
            )
        else:
            runs.append(run)
    if not runs:
        raise UsageError(
            'No run is left to compare: '
            + (f'{len(left_out)} such runs; ' if len(left_out) > 1 else '')
            + left_out[0]
        )
    return runs, left_out


def _read(folder: str, options: dict[str, Any], y: str) -> Run | None:
    """Returns a finished run, or None if its last probe gave no number."""
    summary = read_object(os.path.join(folder, SUMMARY))
    entries = read_entries(os.path.join(folder, LOG))
    tracked = os.path.join(folder, ADVICE)
    probed = [e for e in entries if 'susceptibility' in e]
    if not probed or not os.path.exists(tracked):
        raise UsageError(
            f'{folder} was trained without the tracker, so its susceptibility '
            'is unknown: train with --track_memorization, or leave it out.'
        )
    found = read_object(tracked)
    best = found.get('recommended_epoch')
    if not (isinstance(found.get('probe'), dict) and _is_whole(best)):
        raise damaged(tracked, 'it is not what --track_memorization writes')
    accuracy = _last(entries, y)
    if accuracy is None:
        other = {'fit_accuracy', 'train_accuracy'} - {y}
        raise UsageError(
            f'{os.path.join(folder, LOG)} has no {y}: use --y={other.pop()}.'
        )
    # The mean skips what is not finite, so it alone does not tell.
    drops = [e[DROP] for e in entries if DROP in e]
    if None in (probed[-1]['susceptibility'], *drops[-1:]):
        return None
    tested = summary.get('test_accuracy_last')
    return Run(
        folder=folder,
        options=options,
        accuracy=accuracy,
        susceptibility=probed[-1]['susceptibility'],
        drops=drops,
        epochs=[e['epoch'] for e in probed],
        curve=[e['susceptibility'] for e in probed],
        probe=found['probe'],
        recommended_epoch=best,
        recommended_step=found.get('recommended_step'),
        reason=found.get('reason'),
        test_accuracy=_last(entries, 'test_accuracy', tested),
        test_accuracy_at_epoch=_last(
            [e for e in entries if e['epoch'] == best], 'test_accuracy'
        ),
        valid_accuracy=_last(entries, 'valid_accuracy'),
        fit_right=_last(entries, 'fit_right'),
        fit_wrong=_last(entries, 'fit_wrong'),
    )


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number, or there is none."""
    return value is None or type(value) is int


def _last(
    entries: Sequence[dict[str, Any]], key: str, default: float | None = None
) -> float | None:
    """Returns the latest value; most epochs may go without an evaluation."""
    values = [e[key] for e in entries if e.get(key) is not None]
    return values[-1] if values else default


def check_comparable(runs: Sequence[Run], force: bool) -> list[str]:
    """Checks that runs learnt from the same labels and met the same probe.

    Susceptibility is in nats and depends on the classes, the batch and the
    rate of the probe, so it means nothing across data sets or probes.

    Args:
        runs: to compare.
        force: compare other probes and other draws of the noise, all the same.

    Returns:
        warnings: what was forced, a sentence each.

    Raises:
        UsageError: runs are of different data sets; or of different probes or
            draws of the noise, without `force`.
    """
    first, warnings = runs[0], []
    for run in runs:
        _same_data(first, run)
    for what, value, option in (
        ('draws of the noise', _noise, ' train with one --noise_seed, or'),
        ('probes', lambda run: run.probe, ''),
    ):
        other = next((r for r in runs if value(r) != value(first)), None)
        if other is None:
            continue
        differ = _difference(value(first), value(other))
        sentence = f'{first.folder} and {other.folder} have different {what}'
        if not force:
            raise UsageError(
                f'{sentence} ({differ}):{option} compare them all the same '
                'with --force.'
            )
        warnings.append(f'{sentence} ({differ}); --force compares them.')
    return warnings


def _noise(run: Run) -> dict[str, Any]:
    """Returns what tells two draws of the same noise apart."""
    if not DRAWN.search(run.options['dataset']):
        return {}
    seed = run.options.get('noise_seed', -1)
    return dict(
        noise_seed=run.options.get('seed') if seed == -1 else seed,
        noise_sampler=run.options.get('noise_sampler'),
    )


def _same_data(first: Run, run: Run) -> None:
    names = ['dataset', 'train_examples']
    if first.options['dataset'].split('_')[0] in OWN:
        names.append('data_dir')
    for name in names:
        ours, theirs = first.options.get(name), run.options.get(name)
        if ours != theirs:
            raise UsageError(
                'Runs of different data sets cannot be compared: '
                f'{first.folder} has {name}={ours} and {run.folder} has '
                f'{name}={theirs}.'
            )


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    return ', '.join(
        f'{name}: {str(ours.get(name))[:12]} and {str(theirs.get(name))[:12]}'
        for name in sorted(ours | theirs)
        if ours.get(name) != theirs.get(name)
    )
