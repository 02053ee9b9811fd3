"""Views of vectors: batched, stateless functions `[b, d]` -> the same.

Which of the stored views of an example is shown is decided where the vectors
are gathered (`ieg.data.vectors.pick`). A column that is dropped has its mean,
which is 0 after standardising.
"""

import dataclasses

import tensorflow as tf

from ieg.data.augment.views import VIEWS, Draws, View, plain
from ieg.data.dataset import Preprocessing
from ieg.data.vectors import standardise

# In the middle of the steps of `uniform`, whose first one is 0.
_HALF_STEP = 2.0**-24
# Lane 1 chooses among stored views.
_JITTER_LANE = 2


@dataclasses.dataclass(frozen=True)
class Dropped:
    """Standardised vectors, jittered and with some columns dropped.

    Columns are dropped for each example by itself, and what is kept is divided
    by its probability, so that sums are as large as those of plain vectors.

    Attributes:
        rate: probability that a column is dropped, in steps of 1 / 256.
        jitter: standard deviation of the Gaussian noise on all columns.
    """

    rate: float
    jitter: float = 0.0

    def __call__(
        self, vectors: tf.Tensor, draws: Draws, recipe: Preprocessing
    ) -> tf.Tensor:
        """See `View`."""
        width, below = vectors.shape[1], round(256 * self.rate)
        share = 1 - below / 256
        shown = standardise(vectors, recipe.mean, recipe.std, share)
        if self.jitter:
            uniform = draws.lane(_JITTER_LANE).uniform(width) + _HALF_STEP
            shown += self.jitter / share * tf.math.ndtri(uniform)
        return tf.where(draws.bytes(width) >= below, shown, 0.0)


_STRONG = Dropped(0.3, jitter=0.1)
VECTOR_VIEWS: dict[str, View] = dict.fromkeys(VIEWS, _STRONG) | {
    'plain': plain,
    'weak': Dropped(0.1),
}
