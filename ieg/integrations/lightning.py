"""Finds wrong labels while PyTorch Lightning trains."""

from collections.abc import Mapping
from typing import Any

from ieg.tracker import LabelTracker


class LabelAudit:
    """Mixin of a LightningModule: records the logits of its steps.

    `training_step` returns a dictionary with `loss`, `logits` [k, C] and
    `index`, the numbers of the rows [k]; `validation_step` one with `logits`
    and `index` of rows that are not trained on, if there are any. Set `tracker`
    before `fit`. Each process needs a tracker of its own; `merge` adds them up.

    Attributes:
        tracker: an `ieg.LabelTracker`.
    """

    tracker: LabelTracker
    current_epoch: int
    trainer: Any

    def on_train_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Records a training step."""
        index, logits = _read(outputs, 'training_step')
        self.tracker.update(index, logits=logits, epoch=self.current_epoch)

    def on_validation_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Records held-out rows, if the step returns them."""
        if isinstance(outputs, Mapping) and not self.trainer.sanity_checking:
            index, logits = _read(outputs, 'validation_step')
            self.tracker.held_out(index, logits, self.current_epoch)


def _read(outputs: Any, step: str) -> tuple[Any, Any]:
    """Returns the numbers of rows, and logits.

    Raises:
        ValueError: a step did not return them.
    """
    if not isinstance(outputs, Mapping) or not {'index', 'logits'} <= {
        *outputs
    }:
        raise ValueError(
            f"{step} must return a dictionary with 'logits' and 'index', the "
            'numbers of the rows.'
        )
    return outputs['index'], outputs['logits']
