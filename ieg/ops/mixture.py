"""Separates clean from noisy examples by their losses (NumPy, scikit-learn)."""

import dataclasses
import warnings

import numpy as np

# Examples that a class needs for a mixture of its own. With simulated losses
# (10 to 40 % wrong), the mean accuracy of a division no longer depends on the
# size of a class from some 30 examples on, but one in ten classes of 20 is
# divided 5 to 15 points worse than a class of 400; of 50, 2 to 6 points.
SMALLEST_CLASS = 50


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Two Gaussians fitted to one loss per example.

    Attributes:
        clean_probability: posterior of the component with the smaller mean,
            float64 `[N]`.
        means: the clean and the noisy component's mean.
        weights: their shares of the examples.
    """

    clean_probability: np.ndarray
    means: tuple[float, float]
    weights: tuple[float, float]

    @property
    def unimodal(self) -> bool:
        """Whether the two components hardly differ or one is almost empty."""
        close = self.means[1] - self.means[0] < 0.05
        return close or min(self.weights) < 0.01


def normalise(losses: np.ndarray) -> np.ndarray:
    """Returns losses `[N]` moved and scaled to [0, 1]; zeros if all are equal.

    Min-max over the data set, as DivideMix (section 3.1) has it.
    """
    span = losses.max() - losses.min()
    if not span > 0:
        return np.zeros_like(losses)
    return (losses - losses.min()) / span


def tame(losses: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Returns losses `[N]` that min-max normalization survives, and remarks.

    Non-finite losses become the largest finite one. A largest loss of more
    than ten times the 99.9 % quantile is an outlier that would squeeze all
    others into one component: losses are then cut at that quantile. Ordinary
    losses pass unchanged.

    Raises:
        ValueError: more than 1 % of the losses are not finite.
    """
    remarks = []
    finite = np.isfinite(losses)
    bad = int((~finite).sum())
    if bad > 0.01 * len(losses):
        raise ValueError(f'{bad} of {len(losses)} losses are not finite')
    if bad:
        losses = np.where(finite, losses, losses[finite].max())
        remarks.append(f'{bad} non-finite losses taken as noisy')
    limit = np.quantile(losses, 0.999)
    if losses.max() > 10 * limit > 0:
        cut = int((losses > limit).sum())
        losses = np.minimum(losses, limit)
        remarks.append(f'{cut} outlying losses cut to {limit:.3g}')
    return losses, remarks


def fit(normalised: np.ndarray, seed: int) -> Mixture:
    """Fits the mixture to normalized losses `[N]` as DivideMix does.

    The settings matter: EM stops after two to five rounds because of the
    coarse tolerance, and a converged fit calls far fewer examples clean
    (spec of the reference: 16.5 k against 2.0 k of 50 k on 90 %-like noise).

    Args:
        normalized: values in [0, 1], `[N]`.
        seed: of the k-means start.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if not np.ptp(normalised) > 0:
        ones = np.ones(len(normalised))
        return Mixture(ones, (0.0, 0.0), (1.0, 0.0))
    model = GaussianMixture(
        n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed
    )
    column = normalised.reshape(-1, 1)
    with warnings.catch_warnings():
        # Of a small class, ten rounds are sometimes too few.
        warnings.simplefilter('ignore', ConvergenceWarning)
        model.fit(column)
    clean, noisy = np.argsort(model.means_[:, 0])
    return Mixture(
        clean_probability=model.predict_proba(column)[:, clean],
        means=(float(model.means_[clean, 0]), float(model.means_[noisy, 0])),
        weights=(float(model.weights_[clean]), float(model.weights_[noisy])),
    )


def fit_per_class(
    normalised: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
    """Fits one mixture to the losses of each class; see `fit`.

    Classes of fewer than `SMALLEST_CLASS` examples share a mixture. If all of
    these together are fewer, theirs is the mixture of all examples.

    Args:
        normalised: losses in [0, 1], on one scale for all classes, `[N]`.
        labels: given labels `[N]`.
        seed: of each k-means start.

    Returns:
        Clean probabilities, float64 `[N]`.
    """
    probability = np.empty(len(normalised))
    sizes = np.bincount(labels)
    own = sizes >= SMALLEST_CLASS
    for label in np.flatnonzero(own):
        rows = labels == label
        probability[rows] = fit(normalised[rows], seed).clean_probability
    rest = ~own[labels]
    if rest.sum() >= SMALLEST_CLASS:
        probability[rest] = fit(normalised[rest], seed).clean_probability
    elif rest.any():
        of_all = fit(normalised, seed).clean_probability
        probability[rest] = of_all[rest]
    return probability


class Shares:
    """The shares of their labels that classes keep in a division.

    Args:
        kept: how many labels of each class are kept `[C]`.
        judged: of how many `[C]`.

    Attributes:
        values: the shares `[C]`, NaN without labels.
    """

    def __init__(self, kept: np.ndarray, judged: np.ndarray):
        self._judged = judged
        self.values = np.full(len(judged), np.nan)
        np.divide(kept, judged, out=self.values, where=judged > 0)

    def usual(self, without: np.ndarray) -> float:
        """Returns the median share of the classes that are left, 0 to 1.

        Args:
            without: numbers of the classes to leave out.
        """
        left = np.delete(self.values, without)
        left = left[~np.isnan(left)]
        return float(np.median(left)) if len(left) else np.nan

    def neglected(self) -> np.ndarray:
        """Returns which classes keep far fewer labels than the others.

        Less than half of the share that is usual among the others, which wrong
        labels alone hardly explain, and by more than three standard errors
        less: of few labels nothing is concluded.

        Returns:
            Numbers of the classes, the smallest share first.
        """
        low = [
            label
            for label in np.flatnonzero(self._judged).tolist()
            if self._is_low(label)
        ]
        return np.array(sorted(low, key=lambda n: self.values[n]), np.int64)

    def _is_low(self, label: int) -> bool:
        share, others = self.values[label], self.usual(np.array([label]))
        # The largest one that a share of so many labels can have.
        error = 0.5 / np.sqrt(self._judged[label])
        return bool(share < others / 2 and others - share > 3 * error)
