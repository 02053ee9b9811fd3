"""L2R: examples weigh as much as they agree with clean probe images.

Ren, Zeng, Yang, Urtasun: "Learning to Reweight Examples for Robust Deep
Learning", ICML 2018, as the IEG code base implements it: all layers look
ahead, all weights start at 0.
"""

import tensorflow as tf

from ieg.methods.base import Batch, Logs
from ieg.methods.reweighting import ProbeConfig, ProbeReweighting
from ieg.ops import losses, meta
from ieg.registry import METHODS


@METHODS.register('l2r')
class L2R(ProbeReweighting):
    """Learning to reweight: one weight per example and step."""

    Config = ProbeConfig

    def train_step(self, batch: Batch) -> Logs:
        """Weighs a batch and takes a weighted step (algorithm 1)."""
        part, label = batch['train'], batch['train']['label']
        # A step with all weights 0 is that of the penalty.
        direction, probe_logs = self.probe_direction(
            batch,
            meta.look_ahead(
                self.moved, self.config.meta_stepsize, self.training_l2()
            ),
        )
        images = meta.after(direction, part['images'][0])
        with tf.GradientTape(persistent=True) as tape:
            logits, features = self.training_pass(images)
        (alignment,) = self.alignments(
            tape,
            direction,
            lambda z: [losses.cross_entropy(label, z)],
            [images],
            [logits],
            features,
        )
        weights = meta.normalised(
            self.config.meta_stepsize * alignment, self.config.weight_scope
        )
        with tape:
            loss = losses.cross_entropy(label, logits)
            loss = tf.reduce_sum(weights * loss)
        logs = self.update(tape, loss) | probe_logs
        logs |= self.record(part['index'], weights)
        return logs | self.observe(part, logits)
