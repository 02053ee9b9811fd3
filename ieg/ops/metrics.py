"""Figures of predictions, in NumPy: accuracies, AUC, noise rates."""

import numpy as np
from scipy.special import log_softmax, softmax


def confident_joint(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts examples by given label and by the class they confidently are in.

    An example is confidently in the most probable of the classes whose
    probability is at least the mean one of the examples with that label
    (Northcutt et al., "Confident learning", JAIR 2021, section 3.1).

    Args:
        logits: `[N, C]`, from a network that has not memorized the labels.
        labels: given labels `[N]`.

    Returns:
        Counts `[C, C]`, rows = given label, columns = confident class.
    """
    probabilities = softmax(np.asarray(logits, np.float64), axis=-1)
    num_classes = probabilities.shape[1]
    totals = np.bincount(labels, minlength=num_classes)
    own = probabilities[np.arange(len(labels)), labels]
    thresholds = np.bincount(labels, own, num_classes) / np.maximum(totals, 1)
    above = probabilities >= np.where(totals > 0, thresholds, np.inf)
    best = np.where(above, probabilities, -1).argmax(axis=1)
    counted = above.any(axis=1)
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (labels[counted], best[counted]), 1)
    return joint


def estimate_noise_rate(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the estimated share of wrong labels.

    The confident joint, scaled to the real number of each given label.

    Args:
        logits: `[N, C]`, see `confident_joint`.
        labels: given labels `[N]`.
    """
    joint = confident_joint(logits, labels)
    rows = joint.sum(axis=1)
    right = np.diag(joint) / np.maximum(rows, 1)
    totals = np.bincount(labels, minlength=len(joint))
    counted = np.where(rows > 0, totals, 0)
    return float(1 - (right * counted).sum() / max(counted.sum(), 1))


# From how many on the five best are looked at, too.
MANY_CLASSES = 50


def accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the share of rows of logits `[N, C]` with the label on top."""
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def top_accuracy(labels: np.ndarray, logits: np.ndarray, most: int) -> float:
    """Returns the share of rows `[N, C]` with the label among the top ones."""
    own = np.take_along_axis(logits, labels[:, np.newaxis], axis=-1)
    return float(np.mean((logits > own).sum(axis=-1) < most))


def balanced_accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the mean over the classes that occur of the accuracy on each."""
    num_classes = logits.shape[-1]
    hits = np.argmax(logits, axis=-1) == labels
    counts = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels, hits, num_classes)
    return float(np.mean(right[counts > 0] / counts[counts > 0]))


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the mean cross-entropy (nats) of logits `[N, C]`."""
    chances = log_softmax(np.asarray(logits, np.float64), axis=-1)
    return float(-np.mean(chances[np.arange(len(labels)), labels]))


def evaluation(
    split: str, labels: np.ndarray, logits: np.ndarray
) -> dict[str, float]:
    """Returns how good networks are on a split, in figures named after it.

    Args:
        split: its name.
        labels: `[N]`.
        logits: of n networks `[N, n, C]`; they judge together, by their sum.

    Returns:
        Accuracy and loss; with many classes the share of examples whose label
        is among the five best; for 'valid' the balanced accuracy; and of
        several networks the accuracy of each.
    """
    total = logits.sum(axis=1)
    figures = {
        f'{split}_accuracy': accuracy(labels, total),
        f'{split}_loss': cross_entropy(labels, total),
    }
    if logits.shape[-1] >= MANY_CLASSES:
        figures[f'{split}_top5'] = top_accuracy(labels, total, 5)
    if split == 'valid':
        figures['valid_balanced_accuracy'] = balanced_accuracy(labels, total)
    if logits.shape[1] > 1:
        for number in range(logits.shape[1]):
            figures[f'{split}_accuracy_network{number}'] = accuracy(
                labels, logits[:, number]
            )
    return figures


def auc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """Returns the ROC-AUC of scores `[N]`, None if only one class is there.

    Args:
        positive: bool `[N]`.
        score: larger should mean positive.
    """
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def selection_quality(
    clean: np.ndarray, score: np.ndarray, chosen: np.ndarray
) -> dict[str, float | None]:
    """Compares a method's selection with the truth.

    Args:
        clean: bool `[N]`, whether the given label is right.
        score: `[N]`, how clean the method thinks each example is.
        chosen: bool, which examples it trains on as clean: `[N]`, or
            `[N, n]` where n networks choose for themselves.

    Returns:
        `label_auc`, `label_precision` and `label_recall` of the chosen, and
        `chosen`, their share; of several networks the means, and the precision
        of each. None where a figure is undefined.
    """
    columns = chosen.reshape(len(chosen), -1).T
    precision = [_mean(clean[column]) for column in columns]
    known = [p for p in precision if p is not None]
    recall = [float(np.mean(c[clean])) for c in columns if clean.any()]
    figures = {
        'label_auc': auc(clean, score),
        'label_precision': float(np.mean(known)) if known else None,
        'label_recall': float(np.mean(recall)) if recall else None,
        'chosen': float(chosen.mean()),
    }
    if len(columns) > 1:
        for number, value in enumerate(precision):
            figures[f'label_precision_network{number}'] = value
    return figures


def notes_quality(
    clean: np.ndarray, given: np.ndarray, notes: dict[str, np.ndarray]
) -> dict[str, float | None]:
    """Compares a method's notes on its examples with the truth.

    Args:
        clean: true labels `[N]`.
        given: labels that were trained on `[N]`.
        notes: some of `weight`, `kept` and `pseudo_label`, each `[N]`.

    Returns:
        The mean weights of right and wrong labels, `pseudo_label_accuracy`,
        and precision and recall of replacing labels (those that are not kept)
        as a search for wrong ones; None where a figure is undefined.
    """
    right = clean == given
    figures = {}
    if 'weight' in notes:
        figures['weight_clean'] = _mean(notes['weight'][right])
        figures['weight_noisy'] = _mean(notes['weight'][~right])
    if 'pseudo_label' in notes:
        figures['pseudo_label_accuracy'] = _mean(notes['pseudo_label'] == clean)
    if 'kept' in notes:
        figures['relabel_precision'] = _mean(~right[~notes['kept']])
        figures['relabel_recall'] = _mean(~notes['kept'][~right])
    return figures


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
