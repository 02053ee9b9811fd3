"""Logistic regression of scikit-learn, by steps."""

from noisy_digits import EPOCHS, TRAIN, show, x, y
from sklearn.linear_model import SGDClassifier

from ieg.integrations import sklearn

model = SGDClassifier(loss='log_loss', alpha=0.01, random_state=0)
held_out = x[TRAIN:], y[TRAIN:]
show(
    sklearn.partial_fit(
        model, x[:TRAIN], y[:TRAIN], held_out=held_out, epochs=EPOCHS
    )
)
