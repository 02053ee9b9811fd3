"""What a run leaves behind, without times, to compare two runs."""

import json
import re
import zipfile

import command
import numpy as np

TIME = re.compile(r'.*seconds.*|.*_second')
FINISHED = re.compile(r'ckpt-(\d+)\.npz')
TEMPORARY = re.compile(r'.*(\.tmp|_temp|unfinished).*')


def checkpoints(folder):
    """Returns the paths of the checkpoints of whole epochs by their number."""
    found = {
        int(match[1]): path
        for path in (folder / 'checkpoints').glob('*')
        if (match := FINISHED.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def arrays(path):
    """Returns the arrays of an npz file."""
    with zipfile.ZipFile(path) as archive:
        return {
            name: np.lib.format.read_array(archive.open(name))
            for name in archive.namelist()
            if name.endswith('.npy')
        }


def _summary(folder):
    summary = json.loads((folder / 'summary.json').read_text())
    return _without_times(summary | {'folder': folder.name})


def _without_times(figures):
    return {k: v for k, v in figures.items() if not TIME.fullmatch(k)}


def _search(folder):
    """Returns the trials and the outcome of a search."""
    lines = (folder / 'trials.jsonl').read_text().splitlines()
    trials = [json.loads(line) for line in lines]
    for trial in trials:
        trial['result'].pop('seconds')
    return trials, json.loads((folder / 'best.json').read_text())


def end(folder):
    """Returns everything that must not depend on interruptions."""
    saved = checkpoints(folder)
    found = {
        'checkpoints': list(saved),
        'log': [_without_times(entry) for entry in command.log(folder)],
        'summary': _summary(folder),
        'issues': (folder / 'label_issues.csv').read_bytes(),
        'predictions': arrays(folder / 'predictions.npz'),
        'weights': arrays(saved[max(saved)]),
        # Names only: the report shows times, archives hold them.
        'files': sorted(
            str(path.relative_to(folder))
            for path in folder.rglob('*')
            if 'tensorboard' not in path.parts
        ),
    }
    if (folder / 'search').is_dir():
        found['search'] = _search(folder / 'search')
    return found


def differences(found, expected):
    """Returns the names of what differs between two ends."""
    return [
        name
        for name in expected.keys() | found.keys()
        if not _same(found.get(name), expected.get(name))
    ]


def _same(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same(one[name], other[name]) for name in one
        )
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        # NaN for examples that were never shown.
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


def assert_same_end(folder, expected):
    """Checks a run folder against the end of the uninterrupted run."""
    found = end(folder)
    assert not [f for f in found['files'] if TEMPORARY.fullmatch(f)]
    assert differences(found, expected) == []
