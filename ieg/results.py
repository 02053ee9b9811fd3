"""What a finished run leaves behind beside its log and its checkpoints."""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

import ieg
from ieg import report, run_folder
from ieg.config import Config
from ieg.data.dataset import Data, Split
from ieg.data.noise import labels as noise_labels
from ieg.data.spec import OWN
from ieg.errors import RunError
from ieg.label_issues import table as issue_table
from ieg.label_issues.evidence import Evidence
from ieg.methods.base import Method
from ieg.ops.visits import Visits
from ieg.predict import export
from ieg.report import rounds
from ieg.training.runlog import headline
from ieg.training.trainer import Trainer
from ieg.utils.files import atomic_open, atomic_write


def write_head(folder: str, config: Config, data: Data) -> None:
    """Writes what is known before the first step."""
    text = json.dumps(config.flat(), indent=1) + '\n'
    atomic_write(os.path.join(folder, 'config.json'), text)
    if data.noise is not None:
        noise_labels.save(os.path.join(folder, 'noise.npz'), data.noise)
    run_folder.write_skipped(folder, data.skipped)


def summarize(
    folder: str,
    config: Config,
    data: Data,
    entries: Sequence[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Returns `summary.json`, but for what is known of the labels.

    Args:
        folder: of the run.
        config: of the run.
        data: what it has learnt from.
        entries: of its log.
        seconds: since its command began.
    """
    train, noise = config.train, data.noise
    pace = [e['images_per_second'] for e in entries if 'images_per_second' in e]
    return {
        'method': train.method,
        'dataset': config.data.dataset,
        'network': train.network_name,
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
    """What a run has found out about labels.

    Attributes:
        arrays: what `predictions.npz` holds; None if nothing was remembered.
        rows: of `label_issues.csv`; None likewise.
        figures: `label_issues` of `summary.json`.
        remarks: sentences for the user.
    """

    arrays: dict[str, np.ndarray] | None
    rows: issue_table.Issues | None
    figures: dict[str, Any]
    remarks: list[str]


def conclude(trainer: Trainer, data: Data) -> Outcome:
    """Returns what a run has found out, on every worker alike.

    Args:
        trainer: at the end of its run.
        data: of the run.
    """
    if trainer.method.visits is None:
        text = (
            f'{len(data.train):,} training examples of {data.num_classes} '
            'classes are too many to remember what was said of each: there is '
            'no list of labels to check.'
        )
        return Outcome(None, None, {}, [text])
    arrays = collect(trainer, data)
    rows, figures = judge(arrays, data, trainer.method)
    late = int((arrays['train_visits'] < 1).sum())
    figures['judged_at_end'] = late
    remarks = []
    if late:
        remarks.append(
            f'{late} of {len(data.train)} training labels were shown at most '
            'once, so only the last networks judge them.'
        )
    return Outcome(arrays, rows, figures, remarks)


def collect(trainer: Trainer, data: Data) -> dict[str, np.ndarray]:
    """Returns what `predictions.npz` holds.

    One pass over validation and test images, and over training images that were
    shown at most once; what is known of the others was remembered by the steps.

    Args:
        trainer: at the end of its run.
        data: of the run.
    """
    found = {'class_names': np.array(data.class_names)}
    evidence, visits = _train_evidence(trainer, data.train)
    found |= _described('train', data.train) | {
        'train_probabilities': evidence.probabilities.astype(np.float32),
        'train_agreement': evidence.agreement.astype(np.float32),
        'train_early': evidence.early.astype(np.float32),
        'train_visits': visits.astype(np.float32),
    }
    for name in ('valid', 'test'):
        split = data.split(name)
        if split is not None:
            logits = trainer.score('logits_step', split=name)['logits']
            found |= _described(name, split)
            # The sum over networks, as evaluation and the exported model have.
            found[f'{name}_logits'] = logits.sum(axis=1).astype(np.float32)
    return found


def _described(name: str, split: Split) -> dict[str, np.ndarray]:
    """Returns labels and places of a split's examples."""
    found = {f'{name}_labels': split.labels, f'{name}_indices': split.indices}
    if split.clean_labels is not None:
        found[f'{name}_clean'] = split.clean_labels
    return found


def _train_evidence(
    trainer: Trainer, split: Split
) -> tuple[Evidence, np.ndarray]:
    """Returns the evidence about training labels, and visits that count."""
    assert trainer.method.visits is not None
    visits = Visits.of_columns(trainer.method.visits.numpy())
    evidence = Evidence.of_visits(split.labels, visits)
    unknown = np.flatnonzero(visits.counted < 1)
    if len(unknown):
        logits = trainer.score('logits_step', ids=unknown)['logits']
        late = Evidence.of_predictions(
            split.labels[unknown], _probabilities(logits.sum(axis=1))
        )
        evidence.probabilities[unknown] = late.probabilities
        evidence.agreement[unknown] = late.agreement
        evidence.early[unknown] = late.early
    return evidence, visits.counted


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities [n, C], equal ones where logits are not finite."""
    bad = ~np.isfinite(logits).all(axis=1, keepdims=True)
    return softmax(np.where(bad, 0.0, logits).astype(np.float64), axis=-1)


def judge(
    arrays: Mapping[str, np.ndarray], data: Data, method: Method
) -> tuple[issue_table.Issues, dict[str, Any]]:
    """Ranks all labels that a user may want to check.

    Those of training and validation examples, and of a user's own test images
    as far as nobody knows the truth about them.

    Args:
        arrays: see `collect`.
        data: of the run.
        method: trained; asked for what it took as clean.

    Returns:
        See `issues.audit`.
    """
    evidence = Evidence(
        data.train.labels,
        *(
            arrays[f'train_{name}'].astype(np.float64)
            for name in ('probabilities', 'agreement', 'early')
        ),
        np.maximum(arrays['train_visits'], 1),
    )
    train = data.train
    parts = [
        issue_table.Examples(
            'train',
            train.indices,
            train.names,
            evidence,
            _chosen(method),
            train.clean_labels,
        )
    ]
    own = data.spec.base in OWN and train.clean_labels is None
    for name in ('valid', 'test') if own else ('valid',):
        split = data.split(name)
        if split is not None:
            said = _probabilities(arrays[f'{name}_logits'])
            held_out = Evidence.of_predictions(split.labels, said)
            parts.append(
                issue_table.Examples(name, split.indices, split.names, held_out)
            )
    return issue_table.audit(parts, data.class_names)


def _chosen(method: Method) -> np.ndarray | None:
    """Returns which examples all networks took as clean, bool [N]."""
    found = method.selection()
    if found is None:
        return None
    return found.chosen.reshape(len(found.chosen), -1).all(axis=1)


def write(folder: str, outcome: Outcome, summary: Mapping[str, Any]) -> None:
    """Writes `predictions.npz`, `label_issues.csv` and `summary.json`.

    Args:
        folder: of the run.
        outcome: see `conclude`.
        summary: figures of the run.

    Raises:
        RunError: the folder cannot be written any more.
    """
    path = os.path.join(folder, 'predictions.npz')
    text = json.dumps(summary, indent=1) + '\n'
    try:
        if outcome.rows is not None:
            with atomic_open(path, 'wb') as file:
                np.savez_compressed(file, **outcome.arrays)
            table = os.path.join(folder, 'label_issues.csv')
            issue_table.write(table, outcome.rows)
        atomic_write(os.path.join(folder, 'summary.json'), text)
    except OSError as error:
        raise RunError(
            f'{folder} cannot be written ({error.strerror}); with the same '
            'command the run ends once more from its last checkpoint.'
        ) from error


def present(
    trainer: Trainer, data: Data, folder: str, kinds: Sequence[str]
) -> list[str]:
    """Writes the model, the picture of rounds and the report.

    None of it is worth a training: what fails is told.

    Args:
        trainer: at the end of its run.
        data: of the run.
        folder: of the run, with all other files.
        kinds: further forms of the model, see `export.write`.

    Returns:
        Sentences about what could not be written.
    """
    remarks = export.write(trainer.method, data, folder, kinds)
    picture = os.path.join(folder, 'rounds.png')
    remarks += export.attempt(
        picture, lambda: rounds.draw(picture, trainer.log.entries)
    )
    page = os.path.join(folder, report.NAME)
    return remarks + export.attempt(page, lambda: report.write(folder, data))
