"""What a run remembers of the visits of its training examples.

A visit is a step that shows an example. Steps add to one variable
`[N, 3 + C]`; this module knows what its columns are.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Visits:
    """Sums over the visits of n examples; C classes.

    The first visit of an example is in `shown` only, because networks have
    learned next to nothing by then; the others count. Fields are arrays, or
    tensors within a step.

    Attributes:
        shown: number of visits [n].
        agreed: at how many that count the given label was predicted [n].
        probabilities: sums of the predicted probabilities [n, C].
    """

    shown: np.ndarray
    agreed: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of_columns(cls, columns: np.ndarray) -> 'Visits':
        """Returns the visits that columns [n, 3 + C] hold."""
        return cls(columns[:, 0], columns[:, 1], columns[:, 3:])

    def columns(self) -> list[np.ndarray]:
        """Returns the columns [n, k], to be joined along axis 1."""
        # The third is of the checkpoints of 0.1.0.
        facts = (self.shown, self.agreed, 0 * self.shown)
        return [*(fact[:, np.newaxis] for fact in facts), self.probabilities]

    @staticmethod
    def width(num_classes: int) -> int:
        """Returns the number of columns, 3 + C."""
        return 3 + num_classes

    @property
    def counted(self) -> np.ndarray:
        """How many visits count, float64 [n].

        All but the first; an example that is twice in its first batch has two
        of these.
        """
        return np.rint(self.probabilities.sum(axis=1, dtype=np.float64))
