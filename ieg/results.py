"""What a finished run leaves behind beside its log and its checkpoints."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ieg import export
from ieg.analysis import audit, issues, report
from ieg.analysis.dynamics import Evidence
from ieg.data import Data, Split
from ieg.methods.base import Method
from ieg.run_folders import OWN
from ieg.training.confusion import softmax
from ieg.training.runlog import write_atomically
from ieg.training.trainer import Trainer


def collect(trainer: Trainer, data: Data) -> dict[str, np.ndarray]:
    """Returns what `predictions.npz` holds, on every worker alike.

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
            found[f'{name}_logits'] = logits.mean(axis=1).astype(np.float32)
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
    """Returns the evidence about training labels, and the visits [N]."""
    variable = trainer.method.visits
    if variable is None:
        visits = np.zeros((len(split), 1))
        ids = np.arange(len(split))
        said = _said(trainer, ids)
        return Evidence.of_predictions(split.labels, said), visits[:, 0]
    visits = variable.numpy()
    found = Evidence.of_visits(split.labels, visits)
    # The first visit says nothing.
    unknown = np.flatnonzero(visits[:, 0] < 2)
    if len(unknown):
        said = _said(trainer, unknown)
        late = Evidence.of_predictions(split.labels[unknown], said)
        for name in ('probabilities', 'agreement', 'early'):
            getattr(found, name)[unknown] = getattr(late, name)
    return found, visits[:, 0]


def _said(trainer: Trainer, ids: np.ndarray) -> np.ndarray:
    """Returns the probabilities of some training examples [n, C]."""
    logits = trainer.score('logits_step', ids=ids)['logits']
    return softmax(logits.mean(axis=1))


def judge(
    arrays: Mapping[str, np.ndarray], data: Data, method: Method
) -> tuple[issues.Issues, dict[str, Any]]:
    """Ranks all labels that a user may want to check.

    Those of training and validation examples, and where a part of the user's
    own images was held out as test images, those as well.

    Args:
        arrays: see `collect`.
        data: of the run.
        method: trained; asked for what it took as clean.

    Returns:
        See `audit.audit`.
    """
    evidence = Evidence(
        data.train.labels,
        *(
            arrays[f'train_{name}'].astype(np.float64)
            for name in ('probabilities', 'agreement', 'early')
        ),
    )
    train = data.train
    parts = [
        audit.Examples(
            'train',
            train.indices,
            train.names,
            evidence,
            _chosen(method),
            train.clean_labels,
        )
    ]
    own = data.spec.base in OWN
    for name in ('valid', 'test') if own else ('valid',):
        split = data.split(name)
        if split is not None:
            said = softmax(arrays[f'{name}_logits'])
            held_out = Evidence.of_predictions(split.labels, said)
            parts.append(
                audit.Examples(name, split.indices, split.names, held_out)
            )
    return audit.audit(parts, data.class_names)


def _chosen(method: Method) -> np.ndarray | None:
    """Returns which examples all networks took as clean, bool [N]."""
    found = method.selection()
    if found is None:
        return None
    return found.chosen.reshape(len(found.chosen), -1).all(axis=1)


def write(
    folder: str,
    arrays: Mapping[str, np.ndarray],
    rows: issues.Issues,
    summary: Mapping[str, Any],
) -> None:
    """Writes `predictions.npz`, `label_issues.csv` and `summary.json`.

    Args:
        folder: of the run.
        arrays: see `collect`.
        rows: see `judge`.
        summary: figures of the run.
    """
    path = os.path.join(folder, 'predictions.npz')
    # The name decides: NumPy adds .npz to any other.
    beside = f'{path}.tmp.npz'
    np.savez_compressed(beside, **arrays)
    os.replace(beside, path)
    issues.write(os.path.join(folder, 'label_issues.csv'), rows)
    text = json.dumps(summary, indent=1) + '\n'
    write_atomically(os.path.join(folder, 'summary.json'), text)


def present(
    method: Method, data: Data, folder: str, kinds: Sequence[str]
) -> list[str]:
    """Writes the model and the report.

    Args:
        method: trained.
        data: of the run.
        folder: of the run, with all other files.
        kinds: further forms of the model, see `export.write`.

    Returns:
        Sentences about what could not be written.
    """
    remarks = export.write(method, data, folder, kinds)
    report.write(folder, data)
    return remarks
