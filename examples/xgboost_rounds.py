"""XGBoost, after each round."""

from noisy_digits import TRAIN, show, x, y
from xgboost import XGBClassifier

from ieg.integrations.xgboost import LabelAudit

held_out = x[TRAIN:], y[TRAIN:]
audit = LabelAudit(x[:TRAIN], y[:TRAIN], held_out=held_out)
model = XGBClassifier(n_estimators=20, max_depth=3, callbacks=[audit])
model.fit(x[:TRAIN], y[:TRAIN])
show(audit.tracker)
