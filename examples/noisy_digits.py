"""scikit-learn's digits with some wrong labels, for the examples here."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import shuffle

# The last rows are not trained on.
COUNT, HELD_OUT = 1797, 297
TRAIN = COUNT - HELD_OUT
EPOCHS = 10

pixels, truth = shuffle(*load_digits(return_X_y=True), random_state=0)
x = (pixels / 16).astype('float32')
rng = np.random.default_rng(0)
# A fifth of the labels are drawn at random.
y = np.where(rng.random(COUNT) < 0.2, rng.integers(10, size=COUNT), truth)
wrong = y != truth


def show(tracker, path='labels.html'):
    """Prints what a tracker says, and how much of it is true."""
    print(*tracker.summary()['statement'], sep='\n')
    issues = tracker.issues()
    marked = issues['index'][issues.is_issue]
    print(f'{wrong[marked].sum()} of {len(marked)} marked labels are wrong;')
    print(f'{wrong.sum()} labels are wrong.')
    tracker.report(path, images=pixels.reshape(-1, 8, 8))
