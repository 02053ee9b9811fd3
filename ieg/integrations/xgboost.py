"""Finds wrong labels while XGBoost adds trees."""

from collections.abc import Sequence
from typing import Any

import xgboost

from ieg.integrations.passes import Part, Passes
from ieg.tracker import LabelTracker


class LabelAudit(xgboost.callback.TrainingCallback):
    """Records predictions after rounds of boosting.

    Pass it as one of `callbacks` to `xgboost.train` or `XGBClassifier`, with
    an objective of classification.

    Args:
        x: training rows [n, d].
        y: their given labels [n].
        held_out: further rows that are not trained on, and their labels (x, y).
            Without them the rate of wrong labels is unknown.
        every: predictions every so many rounds.
        classes: see `ieg.LabelTracker`.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        held_out: Part | None = None,
        every: int = 1,
        classes: Sequence[Any] | None = None,
    ):
        super().__init__()
        if held_out is not None:
            held_out = xgboost.DMatrix(held_out[0]), held_out[1]
        # XGBoost keeps what earlier trees predict of these.
        self._passes = Passes(xgboost.DMatrix(x), y, held_out, every, classes)

    @property
    def tracker(self) -> LabelTracker:
        """Has the results: `issues`, `summary`, `report`."""
        return self._passes.tracker

    def after_iteration(
        self, model: Any, epoch: int, evals_log: dict[str, Any]
    ) -> bool:
        """Records the predictions of a round; never ends the training."""
        self._passes.record(
            epoch, lambda rows: model.predict(rows, output_margin=True)
        )
        return False
