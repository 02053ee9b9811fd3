"""Reads the folders of finished runs for a comparison.

Needs neither TensorFlow nor the methods of the runs.
"""

import dataclasses
import glob
import os
import re
from collections.abc import Sequence
from typing import Any, Protocol

from ieg.data.spec import OWN
from ieg.errors import UsageError
from ieg.run_folder import (
    ADVICE,
    CONFIG,
    DROP,
    LOG,
    SUMMARY,
    check,
    damaged,
    read_entries,
    read_object,
    read_options,
)
from ieg.utils.files import check_sums, walk

# Data sets with a noise rate or a long tail depend on a seed.
DRAWN = re.compile(r'_[0-9.]+$')


class Described(Protocol):
    """A run, and what it was asked for."""

    @property
    def folder(self) -> str: ...  # noqa: D102

    @property
    def options(self) -> dict[str, Any]: ...  # noqa: D102


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run, at its last epoch.

    Attributes:
        number: number in the table and the plot, from 1.
        label: the options in which the run differs from the others.
        folder: the run folder.
        options: all options of the run; in a report, those of `label`, and
            those for colors of the plot.
        accuracy: accuracy on the given training labels.
        susceptibility: mean of the drops of all epochs, in nats.
        region: of the plane, 1 to 4.
        ranks: rank in each ranking, from 1; None if it does not rank the run.
        test_accuracy: test accuracy; None without test labels.
        test_accuracy_at_epoch: test accuracy at the recommended epoch, if it
            was evaluated.
        valid_accuracy: accuracy on held-out noisy labels, if there are any.
        fit_right: share of the correct training labels that are predicted.
        fit_wrong: share of the wrong ones; None if they are unknown.
        recommended_epoch: the epoch that the tracker recommends, from 0.
        recommended_step: its number of steps, for --restore_step.
        reason: the reason of the tracker.
        epochs: epochs that have a susceptibility, counted from 0.
        curve: susceptibility of each of these epochs.
        drops: drop of each probed epoch; None if it was not finite.
        probe: how susceptibility was measured.

    Number, label, region and ranks are those of a comparison.
    """

    number: int = 0
    label: str = ''
    folder: str
    options: dict[str, Any]
    accuracy: float
    susceptibility: float
    region: int = 0
    ranks: dict[str, int | None] = dataclasses.field(default_factory=dict)
    test_accuracy: float | None
    test_accuracy_at_epoch: float | None
    valid_accuracy: float | None
    fit_right: float | None
    fit_wrong: float | None
    recommended_epoch: int | None
    recommended_step: int | None
    reason: str | None
    epochs: list[int]
    curve: list[float | None]
    drops: list[float | None]
    probe: dict[str, Any]


def find(places: Sequence[str]) -> list[str]:
    """Returns the run folders in some places, each once.

    Folders inside a run folder, such as the trials of a search, only count if
    they are named.

    Args:
        places: run folders, folders that contain some at any depth, or
            patterns.

    Raises:
        UsageError: a place does not exist, or there is no run; or a run
            folder has a folder in place of a file, say.
    """
    runs: dict[str, str] = {}
    for place in places:
        place = os.path.expanduser(place)
        # An existing path is not a pattern, whatever characters it has.
        matches = [place] if os.path.exists(place) else []
        matches = matches or sorted(glob.glob(place, recursive=True))
        if not matches:
            raise UsageError(f'No run found: there is no {place}.')
        for match in matches:
            check(match)
            for folder in _below(match):
                runs.setdefault(os.path.realpath(folder), folder)
    if not runs:
        raise UsageError(
            f'No run found in {", ".join(places)}: no folder there has a '
            f'{CONFIG}.'
        )
    return list(runs.values())


def _below(top: str) -> list[str]:
    runs = []
    # A folder that cannot be read is skipped.
    for folder in walk(
        top,
        hidden=True,
        ours=True,
        follow_links=False,
        on_error=lambda error: None,
    ):
        if CONFIG in map(os.path.basename, folder.files):
            runs.append(os.path.normpath(folder.path))
            folder.folders.clear()
            check(folder.path)
    return runs


def is_tracked(folder: str) -> bool:
    """Returns whether a run was trained with --track_memorization."""
    return os.path.exists(os.path.join(folder, ADVICE))


def finished(folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the folders of finished runs, and a sentence for each other."""
    chosen, left_out = [], []
    for folder in folders:
        if os.path.exists(os.path.join(folder, SUMMARY)):
            chosen.append(folder)
        else:
            left_out.append(
                f'Skipped {folder}: it has no {SUMMARY}, so the run has not '
                'finished.'
            )
    return chosen, left_out


def none_left(left_out: Sequence[str]) -> UsageError:
    """Returns the error for runs of which none can be compared."""
    return UsageError(
        f'No run is left to compare, {len(left_out)} skipped. {left_out[0]}'
    )


def load(folders: Sequence[str], y: str) -> tuple[list[Run], list[str]]:
    """Reads run folders.

    Args:
        folders: the run folders.
        y: 'fit_accuracy' or 'train_accuracy', for `Run.accuracy`.

    Returns:
        runs: the finished runs.
        left_out: one sentence for each of the others.

    Raises:
        UsageError: a file is damaged, a run was not tracked, or none is left.
    """
    runs = []
    chosen, left_out = finished(folders)
    for folder in chosen:
        run = _read(folder, read_options(folder), y)
        if run is None:
            left_out.append(
                f'Skipped {folder}: its last drop is not finite; the training '
                'probably diverged.'
            )
        else:
            runs.append(run)
    if not runs:
        raise none_left(left_out)
    return runs, left_out


def _read(folder: str, options: dict[str, Any], y: str) -> Run | None:
    """Returns a finished run, or None if its last drop is not finite."""
    check_sums(folder)
    summary = read_object(os.path.join(folder, SUMMARY))
    entries = read_entries(os.path.join(folder, LOG))
    tracked = os.path.join(folder, ADVICE)
    probed = [e for e in entries if 'susceptibility' in e]
    if not probed or not is_tracked(folder):
        raise UsageError(
            f'{folder} was trained without --track_memorization, so its '
            'susceptibility is unknown: train again, or leave it out.'
        )
    advice = read_object(tracked)
    best = advice.get('recommended_epoch')
    if not (isinstance(advice.get('probe'), dict) and _is_whole(best)):
        raise damaged(tracked, 'it lacks what --track_memorization writes')
    accuracy = _last(entries, y)
    if accuracy is None:
        other = {'fit_accuracy', 'train_accuracy'} - {y}
        raise UsageError(
            f'{os.path.join(folder, LOG)} has no {y}: use --y={other.pop()}.'
        )
    # The mean leaves out drops that are not finite.
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
        probe=advice['probe'],
        recommended_epoch=best,
        recommended_step=advice.get('recommended_step'),
        reason=advice.get('reason'),
        test_accuracy=_last(entries, 'test_accuracy', tested),
        test_accuracy_at_epoch=_last(
            [e for e in entries if e['epoch'] == best], 'test_accuracy'
        ),
        valid_accuracy=_last(entries, 'valid_accuracy'),
        fit_right=_last(entries, 'fit_right'),
        fit_wrong=_last(entries, 'fit_wrong'),
    )


def _is_whole(value: Any) -> bool:
    """Returns whether a value is an integer or None."""
    return value is None or type(value) is int


def _last(
    entries: Sequence[dict[str, Any]], key: str, default: float | None = None
) -> float | None:
    """Returns the latest value; most epochs may have none."""
    values = [e[key] for e in entries if e.get(key) is not None]
    return values[-1] if values else default


def check_comparable(runs: Sequence[Run], force: bool) -> list[str]:
    """Checks that runs have the same labels and the same probe.

    Susceptibility is in nats and depends on the classes, the batch and the
    rate of the probe, so it cannot be compared across data sets or probes.

    Args:
        runs: the runs.
        force: whether to allow different probes and noise draws.

    Returns:
        A warning for each allowed difference.

    Raises:
        UsageError: runs have different data sets; or different probes or noise
            draws, without `force`.
    """
    first, warnings = runs[0], []
    for run in runs:
        same_data(first, run)
    for what, value, option in (
        ('noise draws', _noise, ' train with one --noise_seed, or'),
        ('probes', lambda run: run.probe, ''),
    ):
        other = next((r for r in runs if value(r) != value(first)), None)
        if other is None:
            continue
        differ = _difference(value(first), value(other))
        sentence = f'{first.folder} and {other.folder} have different {what}'
        if not force:
            raise UsageError(
                f'{sentence} ({differ}):{option} compare them anyway with '
                '--force.'
            )
        warnings.append(f'{sentence} ({differ}), allowed by --force.')
    return warnings


def _noise(run: Run) -> dict[str, Any]:
    """Returns the options that determine the noise draw."""
    if not DRAWN.search(run.options['dataset']):
        return {}
    seed = run.options.get('noise_seed', -1)
    return dict(
        noise_seed=run.options.get('seed') if seed == -1 else seed,
        noise_sampler=run.options.get('noise_sampler'),
    )


def same_data(first: Described, run: Described) -> None:
    """Checks that two runs have the same data.

    Raises:
        UsageError: they do not.
    """
    names = ['dataset', 'train_examples']
    if first.options['dataset'].split('_')[0] in OWN:
        names.append('data_dir')
    for name in names:
        ours, theirs = (r.options.get(name) for r in (first, run))
        if name == 'data_dir':
            # Earlier versions recorded relative paths.
            ours, theirs = map(_absolute, (ours, theirs))
        if ours != theirs:
            raise UsageError(
                'Runs of different data sets cannot be compared: '
                f'{first.folder} has {name}={ours} and {run.folder} has '
                f'{name}={theirs}.'
            )


def _absolute(path: Any) -> str:
    return os.path.abspath(os.path.expanduser(str(path)))


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    return ', '.join(
        f'{name}: {str(ours.get(name))[:12]} and {str(theirs.get(name))[:12]}'
        for name in sorted(ours | theirs)
        if ours.get(name) != theirs.get(name)
    )
