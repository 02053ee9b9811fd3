"""L2R: examples weigh as much as they agree with clean probe images.

Ren, Zeng, Yang, Urtasun: "Learning to Reweight Examples for Robust Deep
Learning", ICML 2018, as the IEG code base implements it: all layers look
ahead, all weights start at 0.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.methods import reweighting
from ieg.methods.base import Batch, Logs
from ieg.methods.reweighting import ProbeConfig, ProbeReweighting
from ieg.ops import losses, meta
from ieg.registry import METHODS


@dataclasses.dataclass(frozen=True)
class L2RConfig(ProbeConfig):
    """Options of L2R."""


@METHODS.register('l2r')
class L2R(ProbeReweighting):
    """Learning to reweight: one weight per example and step."""

    Config = L2RConfig
    config: L2RConfig

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns the recipe of the IEG code base."""
        return reweighting.with_probe(dataset, network)

    def train_step(self, batch: Batch) -> Logs:
        """Weighs a batch and takes a weighted step (algorithm 1)."""
        part = batch['train']
        direction, probe_logs = self.probe_direction(batch, self.look_ahead())
        images = meta.after(direction, part['images'][0])
        with tf.GradientTape(persistent=True) as tape:
            logits, features = self.training_pass(images)
        weights = self.example_weights(
            tape, images, part['label'], logits, features, direction
        )
        with tape:
            loss = losses.cross_entropy(part['label'], logits)
            loss = tf.reduce_sum(weights * loss)
        logs = self.update(tape, loss) | probe_logs
        logs |= self.record(part['index'], weights)
        return logs | self.observe(part, logits)

    def look_ahead(self) -> list[tf.Tensor]:
        """Returns where a step with all weights 0 leads: the penalty's."""
        return meta.look_ahead(
            self.moved, self.config.meta_stepsize, self.training_l2()
        )

    def example_weights(
        self,
        tape: tf.GradientTape,
        images: tf.Tensor,
        label: tf.Tensor,
        logits: tf.Tensor,
        features: tf.Tensor | None,
        direction: Sequence[tf.Tensor],
    ) -> tf.Tensor:
        """Returns the normalised weights `[b]`."""
        (alignment,) = meta.alignments(
            self.config.meta_grad,
            self.nets[0],
            self.moved,
            direction,
            lambda z: [losses.cross_entropy(label, z)],
            [images],
            tape,
            [logits],
            [] if features is None else [features],
        )
        return meta.normalised(
            self.config.meta_stepsize * alignment, self.config.weight_scope
        )
