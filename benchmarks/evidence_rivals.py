"""What judged labels before, and elsewhere: the rule of 0.1.0, and cleanlab."""

import numpy as np

from ieg.ops import metrics
from ieg.training.callbacks import Callback

BINS, HIGHEST_BORDER, REGULARISER = 200, 0.75, 4e-4
LATE, LEAST_VISITS, DOUBTFUL_HARD, NORMAL_95 = 0.9, 10, 0.5, 1.96


class Former(Callback):
    """Keeps when labels were learned, which 0.1.0 judged them by.

    Attributes:
        trainer: of the run; set before it trains.
        in_sample: what the last networks say of the training examples [n, C].
    """

    def __init__(self, say) -> None:
        super().__init__()
        self.trainer, self._say, self._before = None, say, None
        self._places = np.zeros(1)

    def on_epoch_end(self, epoch, logs=None) -> None:
        """Adds the numbers of the visits that agreed with the label."""
        columns = self.trainer.method.visits.numpy()
        counted, agreed = np.maximum(columns[:, 0] - 1, 0), columns[:, 1]
        if self._before is None:
            self._before = np.zeros_like(counted), np.zeros_like(agreed)
        # More than one visit is rare: their mean number then.
        middle = (self._before[0] + counted - 1) / 2
        self._places = self._places + (agreed - self._before[1]) * middle
        self._before = counted, agreed

    def on_train_end(self, logs=None) -> None:
        """Keeps what 0.1.0 judges by."""
        visits = self.trainer.method.visits.numpy()
        self.labels = self.trainer.method.info.labels
        count = np.maximum(np.rint(visits[:, 3:].sum(axis=1)), 1)
        self.mean = visits[:, 3:] / count[:, np.newaxis]
        agreement, place = visits[:, 1] / count, self._places / count
        self.early = 2 * agreement - (2 * place + agreement) / count
        self.agreement, self.count = agreement, count
        self.in_sample = self._say(self.trainer)

    @property
    def score(self) -> np.ndarray:
        """Quality of each label [n]."""
        rows, others = np.arange(len(self.labels)), self.mean.copy()
        others[rows, self.labels] = -1
        margin = self.mean[rows, self.labels] - others.max(axis=1)
        return ((1 + margin) / 2 + self.early) / 2

    def estimate(self) -> tuple[float, float, float]:
        """Returns the least, the estimated and the largest noise rate."""
        score, share = self.score, self.early / np.maximum(self.agreement, 1e-9)
        late = (share < LATE * np.median(share)) & (self.count >= LEAST_VISITS)
        differs, threshold = self.mean.argmax(1) != self.labels, border(score)
        wrong = (score < threshold) & (differs | late)
        hard = (score <= (1 + threshold) / 2) & ~wrong & ~late
        ways = np.array([wrong.mean(), differs.mean(), mixture(score)])
        doubt = NORMAL_95 * np.sqrt(ways * (1 - ways) / len(score))
        doubt[0] = max(doubt[0], DOUBTFUL_HARD * hard.mean())
        low, high = max((ways - doubt).min(), 0), min((ways + doubt).max(), 1)
        most = np.bincount(self.labels).max() / len(score)
        if self.agreement.mean() <= most:
            low, high = 0.0, 1.0
        return float(low), float(wrong.mean()), float(high)

    def figures(self, entry) -> dict:
        """Adds nothing to the log."""
        return {}

    def compared(self, right: np.ndarray) -> dict[str, float]:
        """Returns the figures of 0.1.0; `right`: bool [n]."""
        low, point, high = self.estimate()
        auc = metrics.auc(right, self.score)
        return {
            'old_lower': low,
            'old_point': point,
            'old_upper': high,
            'old_inside': float(low <= np.mean(~right) <= high),
            'old_auc': np.nan if auc is None else auc,
        }


def border(score: np.ndarray) -> float:
    """Returns the border between two heaps of scores (Otsu 1979)."""
    counts, edges = np.histogram(score, BINS, (0, 1))
    below = np.cumsum(counts)
    sums = np.cumsum(counts * (edges[1:] + edges[:-1]) / 2)
    gap, weight = (
        sums[-1] * below / below[-1] - sums,
        below * (below[-1] - below),
    )
    between = np.divide(gap**2, weight, out=np.zeros(BINS), where=weight > 0)
    return min(float(edges[between.argmax() + 1]), HIGHEST_BORDER)


def mixture(score: np.ndarray) -> float:
    """Returns the share of the lower of two normal distributions."""
    from sklearn.mixture import GaussianMixture

    fit = GaussianMixture(2, reg_covar=REGULARISER, random_state=0)
    fit.fit(score[:, np.newaxis])
    return float(fit.weights_[fit.means_.argmin()])


def cleanlab(
    prefix: str, given: np.ndarray, said: np.ndarray | None, right: np.ndarray
) -> dict[str, float]:
    """Returns the figures of cleanlab by `prefix`; NaN without.

    Args:
        prefix: of their names.
        given: labels, int [n].
        said: predictions [n, C]; None if they are not known.
        right: whether the label is, bool [n].
    """
    names = [f'{prefix}_{name}' for name in ('joint', 'issues', 'auc')]
    try:
        from cleanlab import count, rank
    except ImportError:
        said = None
    if said is None:
        return dict.fromkeys(names, np.nan)
    said = said.astype(np.float64) / said.sum(axis=1, keepdims=True)
    joint = count.estimate_joint(given, said)
    issues = count.num_label_issues(given, said)
    score = rank.get_label_quality_scores(given, said)
    auc = metrics.auc(right, score)
    values = (1 - np.trace(joint), issues / len(given), auc)
    return {
        name: np.nan if value is None else float(value)
        for name, value in zip(names, values, strict=True)
    }
