"""Finds wrong labels while the Trainer of Hugging Face trains."""

import math
from typing import Any

from ieg.tracker import LabelTracker


class LabelAudit:
    """Mixin of `transformers.Trainer`: records the logits of its steps.

    Batches have `index`, the numbers of the rows, which the arguments keep with
    `remove_unused_columns=False`. Rows that are evaluated count as held out if
    their batches have it, too. Set `tracker` before `train`. Each process needs
    a tracker of its own; `merge` adds them up.

    Attributes:
        tracker: an `ieg.LabelTracker`.
    """

    tracker: LabelTracker
    state: Any

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        **options: Any,
    ) -> Any:
        """Returns the loss, and records the logits that it is computed of.

        Raises:
            ValueError: a training batch has no `index`.
        """
        index, epoch = inputs.pop('index', None), self.state.epoch or 0
        parent: Any = super()
        loss, outputs = parent.compute_loss(
            model, inputs, return_outputs=True, **options
        )
        if model.training:
            if index is None:
                raise ValueError(
                    'batches must have index, the numbers of the rows: add the '
                    'column, and TrainingArguments(remove_unused_columns=False)'
                )
            self.tracker.update(
                index, logits=outputs['logits'], epoch=int(epoch)
            )
        elif index is not None:
            # The end of an epoch is the beginning of the next one.
            self.tracker.held_out(
                index, outputs['logits'], max(math.ceil(epoch) - 1, 0)
            )
        return (loss, outputs) if return_outputs else loss
