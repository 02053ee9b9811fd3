"""ELR: early-learning regularization (Liu et al., NeurIPS 2020).

A method in one file. `PYTHONPATH=tests/plugins python -m ieg.main
--plugin=elr --method=elr --elr_lambda=7` trains by it; flags, checkpoints,
resuming, replicas, evaluation and logs come with it.
"""

import dataclasses

import tensorflow as tf

from ieg.methods.base import Method
from ieg.ops import losses
from ieg.registry import METHODS, option


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of ELR."""

    elr_lambda: float = option(3.0, 'Weight of the regularizer.', minimum=0)
    elr_beta: float = option(
        0.7, 'Decay of the average of predictions.', minimum=0, maximum=1
    )


@METHODS.register('elr')
class ELR(Method):
    """Cross-entropy that keeps predictions near their running average."""

    Config = Config

    def __init__(self, *args):
        super().__init__(*args)
        self.targets = self.example_variable(
            'targets', shape=(self.info.num_classes,)
        )

    def train_step(self, batch):
        """Moves the average of each prediction, then minimizes the loss."""
        part = batch['train']
        (images,), index = part['images'], part['index']
        old = tf.gather(self.targets.value, index)
        with tf.GradientTape() as tape:
            logits = self.nets[0](images, training=True)
            p = tf.clip_by_value(tf.nn.softmax(logits), 1e-4, 1 - 1e-4)
            share = self.config.elr_beta
            target = share * old + (1 - share) * tf.stop_gradient(
                p / tf.reduce_sum(p, axis=-1, keepdims=True)
            )
            agreement = tf.reduce_sum(target * p, axis=-1)
            loss = losses.cross_entropy(part['label'], logits)
            loss += self.config.elr_lambda * tf.math.log(1 - agreement)
            loss = tf.reduce_mean(loss)
        self.update_examples(self.targets, index, old, target)
        return self.minimize(tape, loss) | self.observe(part, logits)
