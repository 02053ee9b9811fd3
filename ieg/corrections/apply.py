"""Corrected labels of a run, written so that the next run learns from them."""

import os
import shlex
from collections.abc import Mapping

import numpy as np

from ieg import config as ieg_config
from ieg import run_folder
from ieg.commandline import arguments
from ieg.config import Config
from ieg.corrections import edits
from ieg.corrections.edits import LEFT_OUT
from ieg.data.dataset import Data
from ieg.data.noise import labels as noise_labels
from ieg.data.noise.labels import NoisyLabels
from ieg.data.spec import OWN
from ieg.errors import UsageError
from ieg.utils.text import counted


def apply(folder: str, csv_path: str, output: str | None = None) -> str:
    """Writes the labels of a run as a person corrected them.

    They are written in the form in which the data came: class folders, a
    table, an npz file. For a known data set that is an npz file of its
    training images with the corrected labels and of its test images, or a
    table where the images are files.

    Args:
        folder: of a finished run.
        csv_path: `label_issues.csv` with the column `corrected_label` filled
            in, or the table that the report page saves; see
            `edits.corrected_labels`.
        output: the file or folder to write; None for a usual name next to
            the data, or in the run folder for a known data set.

    Returns:
        One sentence: what was written, and how to train on it.

    Raises:
        UsageError: the folder is not a finished run or its data is gone, the
            table has a mistake, or the output cannot be written.
    """
    # It imports TensorFlow, which takes seconds; mistakes are reported first.
    from ieg.corrections import forms
    from ieg.data import load

    folder, csv_path = map(os.path.expanduser, (folder, csv_path))
    config = _config(folder)
    frozen = _noise(folder)
    data = load.load(config.data, config.run, config.train.seed, frozen=frozen)
    _check_noise(folder, data, frozen)
    # Those that are in label_issues.csv.
    own = data.spec.base in OWN
    names = ('train', 'valid', 'test') if own else ('train', 'valid')
    splits = {name: data.split(name) for name in names}
    known = {
        name: edits.Known(split.indices, split.labels, split.names)
        for name, split in splits.items()
        if split is not None
    }
    labels = edits.corrected_labels(csv_path, data.class_names, known)
    run = forms.Run(folder, config, data, labels)
    path = os.path.normpath(os.path.expanduser(output)) if output else None
    done = forms.write(run, path)
    data_dir = shlex.quote(done.data_dir)
    return (
        f'{done.path} has {_counts(labels, data)}: train on it with '
        f'--dataset={done.dataset} --data_dir={data_dir}'
        f'{"".join(f"; {remark}" for remark in done.remarks)}.'
    )


def _config(folder: str) -> Config:
    """Returns the configuration of a finished run.

    Raises:
        UsageError: there is none.
    """
    path = os.path.join(folder, run_folder.CONFIG)
    if not os.path.isfile(path):
        raise UsageError(
            f'{folder} is no run folder, because there is no '
            f'{run_folder.CONFIG} in it: give the folder that a run names at '
            'its end.'
        )
    if not os.path.isfile(os.path.join(folder, run_folder.SUMMARY)):
        raise UsageError(
            f'the run in {folder} has not come to its end: repeat its command, '
            'which goes on from where it stopped.'
        )
    return ieg_config.resolve(arguments.read_file(path))


def _noise(folder: str) -> NoisyLabels | None:
    """Returns the noise of a run, None where it has none."""
    path = os.path.join(folder, 'noise.npz')
    return noise_labels.load(path) if os.path.exists(path) else None


def _check_noise(folder: str, data: Data, noise: NoisyLabels | None) -> None:
    """Raises UsageError where the labels are not those of the run."""
    if data.noise is None or noise is None:
        return
    if noise.sha256 != data.noise.sha256:
        raise UsageError(
            f'the labels of {data.spec} are others than the run in {folder} '
            'had: restore its data, or train anew.'
        )


def _counts(labels: Mapping[str, np.ndarray], data: Data) -> str:
    """Returns how many labels are corrected and how many examples left out."""
    changed = left_out = 0
    for name, chosen in labels.items():
        left_out += int((chosen == LEFT_OUT).sum())
        changed += int((chosen != data[name].labels).sum())
    return (
        f'{counted(changed - left_out, "label")} corrected and '
        f'{counted(left_out, "example")} left out'
    )
