"""Gradient boosting of scikit-learn, after its training."""

from noisy_digits import TRAIN, show, x, y
from sklearn.ensemble import GradientBoostingClassifier

from ieg.integrations import sklearn

model = GradientBoostingClassifier(n_estimators=20, subsample=0.5)
model.set_params(max_features=8, random_state=0).fit(x[:TRAIN], y[:TRAIN])
held_out = x[TRAIN:], y[TRAIN:]
show(sklearn.staged(model, x[:TRAIN], y[:TRAIN], held_out=held_out))
