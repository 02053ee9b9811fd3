"""How many labels are wrong, from what a network says early in training."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities `[N, C]`, float64."""
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def confident_joint(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts examples by given label and by the class they confidently are in.

    An example is confidently in the most probable of the classes whose
    probability is at least the mean one of the examples with that label
    (Northcutt et al., "Confident learning", JAIR 2021, section 3.1).

    Args:
        logits: `[N, C]`, from a network that has not learnt the labels by
            heart.
        labels: given labels `[N]`.

    Returns:
        Counts `[C, C]`, rows = given label, columns = confident class.
    """
    probabilities = softmax(logits)
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
