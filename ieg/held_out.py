"""Examples that a run is not trained on, and what it learns from them.

What networks predict for held-out training examples says how many labels are
wrong (`ieg.label_issues.floor`), and which epoch explains labels best. Runs on
vectors have five folds of them (`ieg.folds`), others a validation part.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from ieg.data.dataset import Data
from ieg.data.spec import OWN
from ieg.label_issues import floor, neighbours, score
from ieg.label_issues.compact import Compact, Dense, Means
from ieg.label_issues.score import Shares
from ieg.label_issues.similar import Similar
from ieg.methods.base import Method
from ieg.ops.visits import Visits
from ieg.training.callbacks import Callback
from ieg.training.trainer import Trainer
from ieg.utils.text import counted

VALID = 'valid'
# In `Method.host_state`.
EPOCH, LOSS, BEST, EARLY = 'best_epoch', 'best_loss', 'best_', 'early'
# Multiplications of neighbours per minute, on two cores.
PER_MINUTE = 5e12
# Pixels of images that are themselves compared, at most 32 x 32, and the
# multiplications for it: two minutes.
_MOST_PIXELS, _MOST_OPERATIONS = 1024, 1e13


def judged(data: Data) -> list[str]:
    """Returns the splits, other than 'train', whose labels are judged.

    Test labels are, if they are a user's own and the truth is unknown.
    """
    own = data.spec.base in OWN and data.train.clean_labels is None
    names = (VALID, 'test') if own else (VALID,)
    return [name for name in names if data.split(name) is not None]


def measures_noise(data: Data) -> bool:
    """Returns whether validation labels are as noisy as training labels.

    They are if they were held out, and in a user's own data, whose parts are
    labeled alike.
    """
    held_out = not data.has_own_valid or data.spec.base in OWN
    return data.valid is not None and held_out


def log_probabilities(trainer: Trainer, split: str) -> np.ndarray:
    """Returns logarithms of the networks' mean probabilities [n, C]."""
    return floor.combined(trainer.logits(split))


def look(trainer: Trainer, data: Data, split: str, epoch: int) -> bool:
    """Keeps the predictions of the epoch that explains held-out labels best.

    They are in the host state of the method, hence in its checkpoints.

    Args:
        trainer: after this epoch.
        data: of the run.
        split: the held-out examples.
        epoch: counted from 0.

    Returns:
        Whether this epoch is the best one so far.
    """
    state = trainer.method.host_state
    logs = log_probabilities(trainer, split)
    shot = floor.snapshot(epoch, logs, data[split].labels)
    if shot.loss >= state.get(LOSS, np.inf):
        return False
    new = {LOSS: np.array(shot.loss), EPOCH: np.array(epoch)}
    new[BEST + split] = shot.probabilities.astype(np.float32)
    for name in judged(data):
        if name != split:
            logs = log_probabilities(trainer, name)
            scaled = softmax(shot.temperature * logs, axis=1)
            new[BEST + name] = scaled.astype(np.float32)
    # At once: a pass may be interrupted, and the run saved there.
    state.update(new)
    return True


class Best(Callback):
    """Looks at held-out examples after each epoch; see `look`.

    Args:
        trainer: of the run.
        data: of the run.
        split: the held-out examples.
    """

    def __init__(self, trainer: Trainer, data: Data, split: str):
        super().__init__()
        self._trainer, self._data, self._split = trainer, data, split

    def figures(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Looks at the held-out examples after an epoch."""
        self._look(entry['epoch'])
        return {}

    def _look(self, epoch: int) -> bool:
        return look(self._trainer, self._data, self._split, epoch)


class BestAndEarly(Best):
    """Also keeps the visits of training examples until that epoch."""

    def _look(self, epoch: int) -> bool:
        is_best, method = super()._look(epoch), self._trainer.method
        if is_best and method.visits is not None:
            # Steps change in place what TensorFlow hands out.
            method.host_state[EARLY] = method.visits.numpy().copy()
        return is_best


def means(columns: np.ndarray, data: Data) -> tuple[Means, np.ndarray]:
    """Returns what visits predicted of training examples.

    Args:
        columns: of the visits [n, width], see `ieg.ops.visits`.
        data: of the run.

    Returns:
        Mean probabilities; and the share of the visits that predicted the
        given label [n].
    """
    labels, classes = data.train.labels, data.num_classes
    visits = Visits.of_columns(columns, classes)
    agreement = visits.agreed / np.maximum(visits.counted, 1)
    if visits.own is None or visits.classes is None:
        return Dense(classes, visits.counted, visits.sums), agreement
    kept = (visits.own, visits.classes, visits.sums)
    return Compact(classes, visits.counted, labels, *kept), agreement


def has_features(method: Method) -> bool:
    """Returns whether the last network makes features of its vectors."""
    network = method.features_network()
    return network is not None and len(network.layers) > 1


def features(trainer: Trainer, split: str) -> np.ndarray:
    """Returns what the last layer of the last network gets [n, d]."""
    return trainer.score('features_step', split=split)['features']


def announce(count: int, work: float, say: Callable[[str], None]) -> None:
    """Says how long it takes to find neighbours, if that is minutes.

    Args:
        count: number of examples that are compared with each other.
        work: multiplications.
        say: gets the sentence.
    """
    if work > PER_MINUTE:
        minutes = counted(round(work / PER_MINUTE), 'minute')
        say(
            f'Comparing {count:,} examples with each other takes about '
            f'{minutes} on two cores.'
        )


# Shares of the labels of the neighbours of some examples, [k, C].
Near = Callable[[slice], np.ndarray]


def nearby(
    queries: np.ndarray,
    references: np.ndarray,
    labels: np.ndarray,
    classes: int,
) -> list[Near]:
    """Returns shares of the labels of the nearest references, in a list.

    An empty one if there are so many examples that they would take hours.

    Args:
        queries: vectors [m, d]. If they are the references, no example is its
            own neighbour.
        references: vectors [n, d].
        labels: of the references, int [n].
        classes: C.
    """
    work = neighbours.operations(len(queries), *references.shape)
    if work > neighbours.MOST_OPERATIONS:
        return []
    same = queries is references
    ids, _ = neighbours.nearest(
        queries, references, neighbours.NEIGHBOURS, same
    )
    return [lambda rows: neighbours.shares(ids[rows], labels, classes)]


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What a run knows about labels, before it is judged.

    Attributes:
        shares: of the examples of each split that is judged, by name: 'train'
            and others.
        held_out: predictions [m, C] and given labels int [m] of examples that
            were not trained on, for each fold; none if nothing was held out.
        arrays: more that `predictions.npz` has.
    """

    shares: Mapping[str, Callable[[slice], Shares]]
    held_out: Sequence[tuple[np.ndarray, np.ndarray]]
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def of_training(
    mean: Means, early: Callable[[slice], np.ndarray], near: Sequence[Near]
) -> Callable[[slice], Shares]:
    """Returns the evidence about training examples, for some at a time.

    Args:
        mean: mean probabilities over all visits.
        early: the same until the epoch that explains held-out labels best; 0
            where that is unknown.
        near: shares of neighbours' labels, by the network's features first.
    """

    def shares(rows: slice) -> Shares:
        all_visits, first = mean.rows(rows), early(rows)
        first = np.where(first.any(axis=1, keepdims=True), first, all_visits)
        said = [one(rows) for one in near]
        evidence = score.evidence(all_visits, first, *said)
        return Shares(evidence, all_visits, said[0] if said else None)

    return shares


def of_held_out(
    predicted: np.ndarray, near: Sequence[Near]
) -> Callable[[slice], Shares]:
    """Returns the same about examples that were not trained on.

    Args:
        predicted: probabilities [n, C].
        near: shares of the labels of the nearest training examples, one at
            most.
    """

    def shares(rows: slice) -> Shares:
        said = [one(rows) for one in near]
        evidence = np.mean([predicted[rows], *said], axis=0)
        return Shares(evidence, predicted[rows], said[0] if said else None)

    return shares


def evidence(
    trainer: Trainer,
    data: Data,
    mean: Means,
    alike: Similar | None,
    say: Callable[[str], None],
) -> Evidence:
    """Returns the evidence of a run without folds.

    Args:
        trainer: at the end of the run.
        data: of the run.
        mean: mean probabilities of the training examples.
        alike: what the nearest other examples say, by their features; None
            where that is not known.
        say: gets a sentence before what takes minutes.
    """
    state, others = trainer.method.host_state, judged(data)
    is_measured = measures_noise(data)
    if is_measured and BEST + VALID not in state:
        # The run was finished by an earlier version.
        look(trainer, data, VALID, len(trainer.log.entries) - 1)
    near = _near(trainer, data, ['train', *others], alike, say)
    early = means(state[EARLY], data)[0] if EARLY in state else mean
    of_images = [*near['train'], *_of_pixels(data, say)]
    shares = {'train': of_training(mean, early.rows, of_images)}
    for name in others:
        said = state.get(BEST + name)
        if said is None:
            said = np.exp(log_probabilities(trainer, name))
        shares[name] = of_held_out(said, near[name])
    tested = []
    if is_measured:
        said = shares[VALID](slice(None)).evidence
        tested.append((said, data[VALID].labels))
    return Evidence(shares, tested)


def _near(
    trainer: Trainer,
    data: Data,
    names: list[str],
    alike: Similar | None,
    say: Callable[[str], None],
) -> dict[str, list[Near]]:
    """Returns what the nearest training examples say of those of each split.

    By the features of the last network; nothing where it has none, or where
    there are too many examples.
    """
    labels, classes = data.train.labels, data.num_classes
    if alike is not None:
        return {name: [alike.shares(name, classes)] for name in names}
    network, count = trainer.method.features_network(), len(data.train)
    if network is None:
        return {name: [] for name in names}
    work = neighbours.operations(count, count, network.output.shape[-1])
    if work > neighbours.MOST_OPERATIONS:
        return {name: [] for name in names}
    announce(count, work, say)
    made = {name: features(trainer, name) for name in names}
    return {
        name: nearby(made[name], made['train'], labels, classes)
        for name in names
    }


def _of_pixels(data: Data, say: Callable[[str], None]) -> list[Near]:
    """Returns what the nearest training images say, by their pixels."""
    images, labels = data.train.images, data.train.labels
    if images is None or np.prod(images.shape[1:3]) > _MOST_PIXELS:
        return []
    count, width = len(images), int(np.prod(images.shape[1:]))
    work = neighbours.operations(count, count, width)
    if work > _MOST_OPERATIONS:
        return []
    announce(count, work, say)
    flat = images.reshape(count, width)
    return nearby(flat, flat, labels, data.num_classes)
