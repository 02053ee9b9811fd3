"""Writes the results of a run: summary, label issues, model and report."""

import dataclasses
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import ieg
from ieg import folds, held_out, label_issues, lookalikes, report, run_folder
from ieg.commandline import auto
from ieg.config import Config
from ieg.data.dataset import Data, Split
from ieg.data.noise import labels as noise_labels
from ieg.errors import UsageError
from ieg.folds import Fold
from ieg.held_out import Evidence
from ieg.label_issues import floor, ranking, score
from ieg.label_issues.compact import Dense, Means, blocks
from ieg.methods import checks
from ieg.methods.base import Method
from ieg.predict import model as predict_model
from ieg.predict.model import attempt
from ieg.report import review
from ieg.training.runlog import headline
from ieg.training.trainer import Trainer
from ieg.utils import plugins, sources
from ieg.utils.files import (
    SUMS,
    atomic_open,
    atomic_write,
    open_regular,
    remove,
)


def write_head(
    folder: str, config: Config, data: Data, identity: Mapping[str, Any]
) -> None:
    """Writes the files that are known before the first step.

    These are `config.json`, `identity.json`, `noise.npz` and `skipped.csv`, and
    a copy of the file of the network, so that the run does not need it again.
    """
    # From here on, the files differ from those of a finished run.
    remove(os.path.join(folder, SUMS))
    if sources.is_file(config.train.network_name):
        _keep_network(folder, config.train.network_name)
    write_config(folder, config)
    write_object(folder, run_folder.IDENTITY, identity)
    if data.noise is not None:
        noise_labels.save(os.path.join(folder, 'noise.npz'), data.noise)
    run_folder.write_skipped(folder, data.skipped)


def _keep_network(folder: str, name: str) -> None:
    """Copies the file of a network into a run folder."""
    source = os.path.expanduser(name)
    target = os.path.join(folder, sources.recorded(name))
    if os.path.exists(target) and os.path.samefile(source, target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open_regular(source) as file:
        atomic_write(target, file.read())


def write_config(folder: str, config: Config) -> None:
    """Writes `config.json`, with the plugins.

    That the method of a run was chosen is kept, whatever resumes the run.
    """
    path = os.path.join(folder, run_folder.CONFIG)
    content = config.recorded() | plugins.record()
    if asked := plugins.recorded(path, auto.ASKED):
        content[auto.ASKED] = asked
    write_object(folder, run_folder.CONFIG, content)


def write_object(folder: str, name: str, content: Mapping[str, Any]) -> None:
    """Writes a JSON object to a file of a run folder."""
    text = json.dumps(content, indent=1) + '\n'
    atomic_write(os.path.join(folder, name), text)


def summarize(
    folder: str,
    config: Config,
    data: Data,
    entries: Sequence[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Returns the content of `summary.json`, except for the label issues.

    Args:
        folder: the run folder.
        config: the configuration of the run.
        data: the data of the run.
        entries: the entries of its log.
        seconds: time since the command started.
    """
    train, noise = config.train, data.noise
    pace = [e['images_per_second'] for e in entries if 'images_per_second' in e]
    return {
        'method': train.method,
        'dataset': config.data.dataset,
        'network': sources.recorded(train.network_name),
        'seed': train.seed,
        'epochs': len(entries),
        'steps': entries[-1]['step'] if entries else 0,
        **headline(entries),
        'data_remarks': list(data.remarks),
        'noise_rate_nominal': noise.rate if noise else None,
        'noise_rate_realised': noise.realised_rate if noise else None,
        'images_per_second': float(np.median(pace)) if pace else None,
        'seconds': sum(e['seconds'] for e in entries),
        'seconds_this_time': seconds,
        'folder': folder,
        'versions': {
            'ieg': ieg.__version__,
            'tensorflow': tf.__version__,
            'keras': keras.__version__,
            'numpy': np.__version__,
            'python': platform.python_version(),
        },
    }


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The results of a run about its labels.

    Attributes:
        arrays: the content of `predictions.npz`; empty without rows.
        rows: the rows of `label_issues.csv`; None if the run did not score
            individual labels.
        figures: `label_issues` of `summary.json`.
        remarks: sentences for the user.
    """

    arrays: dict[str, np.ndarray]
    rows: label_issues.Issues | None
    figures: dict[str, Any]
    remarks: list[str]


def conclude(
    trainer: Trainer,
    data: Data,
    parts: Sequence[Fold] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Returns the results about labels; every worker must call it.

    Args:
        trainer: the trainer at the end of its run.
        data: the data of the run.
        parts: its folds; none where labels are judged without.
        say: gets a sentence before what takes minutes.
    """
    if trainer.method.visits is None:
        text = (
            'This run did not score individual labels: '
            f'{len(data.train):,} training examples of {data.num_classes} '
            'classes need too much memory.'
        )
        return Outcome({}, None, {}, [text])
    mean, arrays = collect(trainer, data)
    alike, reason = lookalikes.examine(trainer, data, say)
    if parts:
        found = folds.evidence(trainer, data, parts, mean, alike)
    else:
        found = held_out.evidence(trainer, data, mean, alike, say)
    agreement = arrays['train_agreement']
    rows, figures = judge(found, data, trainer.method, agreement)
    arrays |= found.arrays
    if isinstance(mean, Dense):
        count, classes = len(data.train), data.num_classes
        probabilities = np.empty((count, classes), np.float32)
        for block in blocks(count, classes):
            probabilities[block] = mean.rows(block)
        arrays['train_probabilities'] = probabilities
        for name, shares in found.shares.items():
            whole = np.empty((len(data[name]), classes), np.float32)
            for block in blocks(*whole.shape):
                whole[block] = shares(block).evidence
            arrays[f'{name}_evidence'] = whole
    if alike is not None:
        rows = alike.add(rows)
        figures |= alike.figures()
    late = int((arrays['train_visits'] < 1).sum())
    figures['judged_at_end'] = late
    remarks = [reason] if reason else []
    if late:
        remarks.append(
            f'{late} of {len(data.train)} training examples were shown at '
            'most once, so only the final networks score their labels.'
        )
    return Outcome(arrays, rows, figures, remarks)


def collect(
    trainer: Trainer, data: Data
) -> tuple[Means, dict[str, np.ndarray]]:
    """Returns what was predicted, and the content of `predictions.npz`.

    Makes one pass over validation and test images, and over training images
    that were shown at most once; the training steps recorded the others.

    Args:
        trainer: the trainer at the end of its run.
        data: the data of the run.

    Returns:
        Mean probabilities of the training examples, and the arrays.
    """
    train, classes = data.train, data.num_classes
    assert trainer.method.visits is not None
    # A copy, which is added to.
    columns = trainer.method.visits.numpy().copy()
    mean, agreement = held_out.means(columns, data)
    counted = mean.count.copy()
    unknown = np.flatnonzero(counted < 1)
    for block in blocks(len(unknown), classes):
        ids = unknown[block]
        logits = trainer.score('logits_step', ids=ids)['logits']
        late = np.exp(floor.combined(logits))
        mean.add(ids, late, 1)
        agreement[ids] = late.argmax(axis=1) == train.labels[ids]
    arrays = {
        'class_names': np.array(data.class_names),
        **_described('train', train),
        'train_agreement': agreement.astype(np.float32),
        'train_visits': counted.astype(np.float32),
    }
    for name in ('valid', 'test'):
        split = data.split(name)
        if split is not None:
            logits = trainer.logits(name)
            arrays |= _described(name, split)
            # The sum over networks, as in evaluation and the exported model.
            arrays[f'{name}_logits'] = logits.sum(axis=1).astype(np.float32)
    return mean, arrays


def _described(name: str, split: Split) -> dict[str, np.ndarray]:
    """Returns labels and indices of the examples of a split."""
    arrays = {f'{name}_labels': split.labels, f'{name}_indices': split.indices}
    if split.clean_labels is not None:
        arrays[f'{name}_clean'] = split.clean_labels
    return arrays


def judge(
    found: Evidence, data: Data, method: Method, agreement: np.ndarray
) -> tuple[label_issues.Issues, dict[str, Any]]:
    """Ranks all labels that a user may want to check.

    These are the labels of training and validation examples, and of test
    examples of a user's own data if the true labels are unknown.

    Args:
        found: the evidence about them.
        data: the data of the run.
        method: the trained method, for its selection.
        agreement: share of the visits of each training example that predicted
            the given label [n].

    Returns:
        See `ieg.label_issues.ranking.rank`.
    """
    classes, parts = data.num_classes, []
    for name, shares in found.shares.items():
        split, is_train = data[name], name == 'train'
        looked = score.look(
            name,
            split.indices,
            split.labels,
            classes,
            shares,
            agreement if is_train else None,
        )
        parts.append(
            ranking.Judged(
                looked,
                _paths(split),
                _chosen(method) if is_train else None,
                split.clean_labels if is_train else None,
            )
        )
    held = found.held_out
    estimate = floor.estimate(held) if held else None
    return ranking.rank(parts, data.class_names, estimate)


def _paths(split: Split) -> np.ndarray | None:
    """Returns the absolute paths of the files of a split, [n], or None."""
    if split.names is None:
        return None
    return np.array([os.path.abspath(name) for name in split.names], object)


def _chosen(method: Method) -> np.ndarray | None:
    """Returns which examples all networks selected as clean, bool [N]."""
    selection = checks.checked_selection(method)
    if selection is None:
        return None
    chosen = selection.chosen
    return np.all(chosen.reshape(len(chosen), -1), axis=1)


def review_of(folder: str) -> str:
    """Returns a sentence if results are replaced that a person reviewed.

    Args:
        folder: the run folder; its results can be missing or damaged.
    """
    path = os.path.join(folder, run_folder.SUMMARY)
    try:
        figures = run_folder.read_object(path).get('label_issues')
    except (OSError, UsageError):
        return ''
    if not isinstance(figures, Mapping) or not figures.get(ranking.REVIEWED):
        return ''
    return (
        'The list and the noise rate are again those of the training alone: '
        f'repeat `{review.command(folder, "FILE")}` to apply the review.'
    )


def write(folder: str, outcome: Outcome, summary: Mapping[str, Any]) -> None:
    """Writes `predictions.npz`, `label_issues.csv` and `summary.json`.

    Args:
        folder: the run folder.
        outcome: see `conclude`.
        summary: see `summarize`.

    Raises:
        OSError: the folder can no longer be written.
    """
    path = os.path.join(folder, 'predictions.npz')
    # NumPy's keyword arguments are not all arrays.
    arrays: dict[str, Any] = dict(outcome.arrays)
    if outcome.rows is not None:
        with atomic_open(path, 'wb') as file:
            np.savez_compressed(file, **arrays)
        table = os.path.join(folder, 'label_issues.csv')
        label_issues.write(table, outcome.rows)
    write_object(folder, run_folder.SUMMARY, summary)


def present(
    trainer: Trainer, data: Data, folder: str, kinds: Sequence[str]
) -> list[str]:
    """Writes the model, the plot of rounds and the report.

    A failure does not end the run.

    Args:
        trainer: the trainer at the end of its run.
        data: the data of the run.
        folder: the run folder, with all other files.
        kinds: further formats of the model, see `predict_model.write`.

    Returns:
        A sentence for each file that could not be written.
    """
    remarks = predict_model.write(trainer.method, data, folder, kinds)
    picture = os.path.join(folder, 'rounds.png')
    page = os.path.join(folder, report.NAME)
    return [
        *remarks,
        *attempt(picture, draw_rounds, picture, trainer.log.entries),
        *attempt(page, report.write, folder, data),
    ]


def first_epochs(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the first log entry of each refinement."""
    first, previous = [], None
    for entry in entries:
        place = (entry.get('outer_round'), entry.get('inner_round'))
        if place[1] and place != previous:
            first.append(entry)
        previous = place
    return first


def draw_rounds(path: str, entries: Sequence[dict[str, Any]]) -> None:
    """Draws the confident examples of each refinement of Me-Momentum, if any.

    That is their number by class and, if true labels are known, their precision
    and recall of correct labels.

    Args:
        path: path of the PNG file.
        entries: entries of the log.
    """
    from matplotlib.figure import Figure

    rounds = first_epochs(entries)
    if not rounds:
        return
    names = [f'{e["outer_round"]}.{e["inner_round"]}' for e in rounds]
    known = rounds[0].get('label_precision') is not None
    figure = Figure(figsize=(5 + 5 * known, 4), layout='constrained')
    axes = np.atleast_1d(figure.subplots(1, 1 + known))
    counts = np.array([entry['confident_per_class'] for entry in rounds])
    axes[0].plot(names, counts, '.-', label=range(counts.shape[1]))
    axes[0].set_ylabel('confident examples of each class')
    if counts.shape[1] <= 14:
        axes[0].legend(fontsize='small', ncols=2)
    if known:
        for name in ('label_precision', 'label_recall'):
            values = [entry[name] for entry in rounds]
            axes[1].plot(names, values, '.-', label=name[len('label_') :])
        axes[1].legend()
    for part in axes:
        part.set_xlabel('round: outer.inner')
        part.tick_params(axis='x', rotation=90)
    with atomic_open(path, 'wb') as file:
        figure.savefig(file, format='png', dpi=120)
