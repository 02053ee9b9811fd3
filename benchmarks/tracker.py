"""What the memorization tracker costs, against an epoch of the same run.

    python benchmarks/tracker.py [--examples=60000] [--rounds=5]

A probe is a forward pass, a backward pass and another forward pass on 128
images, 4 times a forward pass where a training step is 3: 4 / (3 S) of an
epoch of S steps. The fit of the given labels is a forward pass over 1 % of the
training examples (over all where they are 5,000 or fewer). An epoch here is
all training steps; the median of several, the first one left out.
"""

import argparse
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import tempfile
import types

import keras
import tensorflow as tf
from common import interleaved, machine
from lenet_epoch import EXAMPLES, VALID_RATIO, register_noise28

from ieg import config as ieg_config
from ieg import experiment
from ieg.memorization import MemorizationTracker


def runs(examples: int) -> dict[str, dict]:
    train = examples - round(VALID_RATIO * examples)
    return {
        'digits': {'dataset': 'digits_symmetric_0.5', 'network_name': 'cnn'},
        f'noise, {train:,} of 28x28': {
            'dataset': 'noise28',
            'network_name': 'lenet',
            'valid_ratio': VALID_RATIO,
            'batch_size': 128,
        },
    }


def parts(folder: str, options: dict):
    """Returns functions that train an epoch, probe, and measure the fit."""
    given = {'method': 'supervised', 'precision': 'float32'} | options
    config = ieg_config.resolve(given | {'checkpoint_path': folder})
    built = experiment.build(config)
    trainer = built.trainer
    tracker = MemorizationTracker(
        trainer, built.data, built.strategy, config.run
    )
    tracker.set_model(trainer.method)
    callbacks = keras.callbacks.CallbackList([])

    def epoch() -> None:
        trainer._train_phases(trainer._begun(0), callbacks)

    functions = {
        'epoch': epoch,
        'probe': lambda: tracker.on_epoch_begin(0, {'learning_rates': [0.05]}),
        'fit': tracker._fit,
    }
    return functions, built.settings.steps_per_epoch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--examples', type=int, default=EXAMPLES)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    register_noise28(args.examples)
    print(f'{machine()}; TensorFlow {tf.__version__}, float32')
    print('| run | steps | epoch | probe | of it | 4/(3 S) | fit | of it |')
    print('| --- | --- | --- | --- | --- | --- | --- | --- |')
    for name, options in runs(args.examples).items():
        with tempfile.TemporaryDirectory() as folder:
            functions, steps = parts(folder, options)
            s = types.SimpleNamespace(**interleaved(functions, args.rounds))
        print(
            f'| {name}, {options["network_name"]} | {steps} | {s.epoch:.2f} s '
            f'| {1e3 * s.probe:.0f} ms | {s.probe / s.epoch:.2%} '
            f'| {4 / 3 / steps:.2%} | {1e3 * s.fit:.0f} ms '
            f'| {s.fit / s.epoch:.2%} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
