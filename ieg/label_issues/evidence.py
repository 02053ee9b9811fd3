"""Which labels look wrong, from predictions made during training.

The evidence is in-sample: the mean prediction over all visits of an example,
which "In-sample training dynamics" found to beat cross-validation (2025,
arXiv 2510.16211), with the margin of the mean probabilities (AUM: Pleiss et
al., NeurIPS 2020) as the measure. Networks learn what is common before what is
wrong, so a mean over all epochs remembers what the last one has forgotten.
"""

import dataclasses

import numpy as np

from ieg.ops import metrics
from ieg.ops.visits import Visits

BINS = 200
HIGHEST_BORDER = 0.75
# Late is what has less than this share of the usual early agreement for its
# agreement, and so many visits at least.
LATE, LEAST_VISITS = 0.9, 10
# Examples that a mixture is fitted to, at most.
MOST_FITTED = 50_000
# Scores lie in [0, 1]: a heap is not narrower than 0.02.
REGULARISER = 4e-4
NORMAL_95 = 1.96
# Of the share of hard examples, how far the rate may be off. Chosen by hand on
# 53 short runs, most on digits: their intervals hold the truth in 50.
DOUBTFUL_HARD = 0.5
AT_BUDGET = (
    'precision_at_budget',
    'recall_at_budget',
    'false_negative_rate_at_budget',
)


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What a run knows of labels; n examples, C classes.

    Attributes:
        labels: given, int [n].
        probabilities: mean predictions [n, C].
        agreement: share of the visits at which the given label was predicted
            [n].
        early: the same, with weights that fall linearly to 0 from the first
            visit to the last [n].
        visits: how many there were [n].
    """

    labels: np.ndarray
    probabilities: np.ndarray
    agreement: np.ndarray
    early: np.ndarray
    visits: np.ndarray

    @classmethod
    def of_visits(cls, labels: np.ndarray, visits: Visits) -> 'Evidence':
        """Returns the evidence in the visits of examples.

        Args:
            labels: given, int [n].
            visits: of the same examples.
        """
        count = np.maximum(visits.counted, 1)
        agreement, place = visits.agreed / count, visits.places / count
        # The weight of visit k of n is 2 (n - k - 1 / 2) / n^2.
        early = 2 * agreement - (2 * place + agreement) / count
        probabilities = visits.probabilities / count[:, np.newaxis]
        return cls(labels, probabilities, agreement, early, count)

    @classmethod
    def of_predictions(
        cls, labels: np.ndarray, probabilities: np.ndarray
    ) -> 'Evidence':
        """Returns the evidence in one prediction of each example [n, C]."""
        agrees = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        once = np.ones(len(labels))
        return cls(labels, probabilities, agrees, agrees, once)

    @property
    def margin(self) -> np.ndarray:
        """Probability of the given label less the largest other one [n]."""
        rows = np.arange(len(self.labels))
        own = self.probabilities[rows, self.labels]
        return own - self._others.max(axis=1)

    @property
    def _others(self) -> np.ndarray:
        others = self.probabilities.copy()
        others[np.arange(len(self.labels)), self.labels] = -1
        return others

    @property
    def suggested(self) -> np.ndarray:
        """The most probable class [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def rival(self) -> np.ndarray:
        """The most probable class but for the given one [n]."""
        return self._others.argmax(axis=1)

    @property
    def score(self) -> np.ndarray:
        """Quality of the given labels in [0, 1] [n].

        The mean of the margin, brought to [0, 1], and the early agreement:
        what is right and hard is learnt sooner than what is wrong.
        """
        return ((1 + self.margin) / 2 + self.early) / 2

    @property
    def late(self) -> np.ndarray:
        """Whether the given label was learnt later than others are [n].

        A few visits do not tell.
        """
        share = self.early / np.maximum(self.agreement, 1e-9)
        late = share < LATE * np.median(share)
        return late & (self.visits >= LEAST_VISITS)

    def wrong(self, threshold: float) -> np.ndarray:
        """Returns which labels are probably wrong [n].

        Those with a score below the threshold, if another class was mostly
        predicted, or if they were learnt late, as memorized labels are. The
        others below it are hard.
        """
        differs = self.suggested != self.labels
        return (self.score < threshold) & (differs | self.late)

    def hard(self, threshold: float) -> np.ndarray:
        """Returns which images are hard and probably labelled rightly [n].

        Those that are not `wrong`, nor learnt late, and have a score below the
        middle between the threshold and 1.
        """
        low = self.score <= (1 + threshold) / 2
        return low & ~self.wrong(threshold) & ~self.late


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """How many labels are wrong, and which.

    Attributes:
        rate: share of wrong labels.
        interval: (low, high) of it.
        threshold: the score below which labels are suspicious.
        transition: [C, C], rows = true class, columns = given label; a class
            that nothing seems to be of has the row of the identity.
    """

    rate: float
    interval: tuple[float, float]
    threshold: float
    transition: np.ndarray


def estimate(evidence: Evidence) -> Estimate:
    """Estimates the noise of labels.

    Scores of right and of wrong labels make two heaps. Their border is where
    the variance between the two is largest (Otsu 1979), and wrong labels are
    below it (see `Evidence.wrong`). Two other ways to count err on either side:
    examples whose mean prediction is another class miss what was memorized; a
    mixture of two normals takes in what is hard. The interval covers all three
    and 95 % of what chance makes of them, and half of the hard examples on
    either side of the rate: if a network learns little, or memorizes
    everything, these are many and the rate is far off. It is all of [0, 1] if
    the networks have learnt nothing.

    Args:
        evidence: of the training examples.
    """
    score, labels = evidence.score, evidence.labels
    threshold = border(score)
    wrong = evidence.wrong(threshold)
    differs = np.mean(evidence.suggested != labels)
    ways = np.array([wrong.mean(), differs, mixture_share(score)])
    doubt = NORMAL_95 * np.sqrt(ways * (1 - ways) / len(score))
    hard = evidence.hard(threshold).mean()
    doubt[0] = max(doubt[0], DOUBTFUL_HARD * hard)
    interval = np.clip([(ways - doubt).min(), (ways + doubt).max()], 0, 1)
    if evidence.agreement.mean() <= np.bincount(labels).max() / len(labels):
        interval = np.array([0.0, 1.0])
    return Estimate(
        float(wrong.mean()),
        (float(interval[0]), float(interval[1])),
        threshold,
        transition(evidence, wrong),
    )


def border(score: np.ndarray) -> float:
    """Returns what separates two heaps of scores best (Otsu 1979).

    Not above `HIGHEST_BORDER`: where all labels are right there is one heap
    with a tail, and its border lies high in the tail.
    """
    counts, edges = np.histogram(score, BINS, (0, 1))
    below = np.cumsum(counts)
    sums = np.cumsum(counts * (edges[1:] + edges[:-1]) / 2)
    gap = sums[-1] * below / below[-1] - sums
    weight = below * (below[-1] - below)
    between = np.divide(gap**2, weight, out=np.zeros(BINS), where=weight > 0)
    return min(float(edges[between.argmax() + 1]), HIGHEST_BORDER)


def mixture_share(score: np.ndarray) -> float:
    """Returns the share of the lower of two normal distributions."""
    from sklearn.mixture import GaussianMixture

    if np.ptp(score) == 0:
        return 0.0
    # More would not change the second digit.
    rows = score[:: -(-len(score) // MOST_FITTED), np.newaxis]
    found = GaussianMixture(2, reg_covar=REGULARISER, random_state=0).fit(rows)
    return float(found.weights_[found.means_.argmin()])


def transition(evidence: Evidence, wrong: np.ndarray) -> np.ndarray:
    """Returns the transition matrix [C, C] if certain labels are wrong.

    Args:
        evidence: of the training examples.
        wrong: bool [n]; those are taken for the class they look most like
            apart from the given one.
    """
    classes = evidence.probabilities.shape[1]
    truth = np.where(wrong, evidence.rival, evidence.labels)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (truth, evidence.labels), 1)
    totals = joint.sum(axis=1, keepdims=True)
    return np.where(totals > 0, joint / np.maximum(totals, 1), np.eye(classes))


def detection(
    right: np.ndarray, score: np.ndarray
) -> dict[str, float | int | None]:
    """Compares scores with the truth; a budget equals the number of errors.

    Args:
        right: bool [n], whether the given label is the true one.
        score: [n], small where it looks wrong.

    Returns:
        `roc_auc` and `average_precision` of finding wrong labels, `budget`,
        and at that budget precision, recall and the false-negative rate (all
        three say the same: as many are looked at as are wrong). None where
        all labels are right or all are wrong.
    """
    from sklearn.metrics import average_precision_score

    budget = int((~right).sum())
    found = {'budget': budget, 'roc_auc': metrics.auc(right, score)}
    names = ('average_precision', *AT_BUDGET)
    if found['roc_auc'] is None:
        return found | dict.fromkeys(names)
    worst = np.argsort(score, kind='stable')[:budget]
    hits = float(np.mean(~right[worst]))
    precision = float(average_precision_score(~right, -score))
    return found | dict(
        zip(names, (precision, hits, hits, 1 - hits), strict=True)
    )
