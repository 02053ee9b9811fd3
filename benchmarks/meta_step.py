"""Cost of one step of L2R and IEG in supervised steps, in time and memory.

    python benchmarks/meta_step.py [--network=resnet29] [--batch=32]
        [--settings supervised "l2r jvp" ...]

Times: all steps take turns in one process. Memory: each step runs in a process
of its own, whose largest resident size is read; the second figure leaves out
what the process holds before its first step (libraries, network, images).
"""

import argparse
import os
import subprocess
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import keras
import numpy as np
import tensorflow as tf
from common import interleaved, machine

import ieg.methods  # noqa: F401
from ieg.methods.base import Info
from ieg.networks import create_network
from ieg.ops.optim import SGD
from ieg.registry import METHODS

SETTINGS = {
    'supervised': ('supervised', {}),
    'l2r jvp': ('l2r', {'meta_grad': 'jvp'}),
    'l2r double': ('l2r', {'meta_grad': 'double'}),
    'l2r fd': ('l2r', {'meta_grad': 'fd'}),
    'l2r last_layer': ('l2r', {'meta_grad': 'last_layer'}),
    'ieg jvp': ('ieg', {'meta_grad': 'jvp'}),
    'ieg double': ('ieg', {'meta_grad': 'double'}),
    'ieg fd': ('ieg', {'meta_grad': 'fd'}),
    'ieg jvp, pseudo_label_grad': ('ieg', {'pseudo_label_grad': True}),
}


def build(setting: str, network: str, batch: int):
    """Returns a compiled step of a method on random images."""
    name, options = SETTINGS[setting]
    method_class = METHODS.get(name)
    shape = (32, 32, 3)
    method = method_class(
        method_class.Config(use_ema=True, **options),
        Info(
            num_classes=10,
            image_shape=shape,
            labels=np.zeros(4 * batch, np.int32),
            num_probe=batch,
            batch_size=batch,
            epochs=20,
            seed=0,
        ),
        lambda number: create_network(network, 10, shape),
        lambda: SGD(1e-3, 0.9, l2=2e-4),
    )
    rng = np.random.default_rng(0)

    def part(views: int) -> dict:
        images = rng.normal(size=(views, batch, *shape)).astype(np.float32)
        return {
            'images': tuple(tf.constant(view) for view in images),
            'label': tf.constant(rng.integers(0, 10, batch), tf.int32),
            'index': tf.range(batch, dtype=tf.int64),
        }

    batch_ = {
        'train': part(2 if name == 'ieg' else 1),
        'probe': part(1),
        'step': {'seed': tf.constant([1, 2])},
    }
    step = tf.function(lambda: method.train_step(batch_), autograph=False)
    return lambda: tf.nest.map_structure(np.asarray, step())


def largest_size() -> int:
    """Returns the largest resident size of this process so far, in MB.

    Not from getrusage, whose figure a new process inherits from its parent.
    """
    with open('/proc/self/status', encoding='utf-8') as file:
        (line,) = (line for line in file if line.startswith('VmHWM'))
    return int(line.split()[1]) // 1024


def print_memory(setting: str, network: str, batch: int) -> None:
    """Prints the resident size before the first step, and the largest."""
    step = build(setting, network, batch)
    before = largest_size()
    for _ in range(5):
        step()
    print(before, largest_size())


def memory(setting: str, args: argparse.Namespace) -> tuple[int, int]:
    """Returns what `print_memory` prints in a new process."""
    command = [sys.executable, __file__, f'--network={args.network}']
    command += [f'--batch={args.batch}', f'--precision={args.precision}']
    text = subprocess.run(
        [*command, f'--memory_of={setting}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    ).stdout
    before, largest = map(int, text.split()[-2:])
    return before, largest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--network', default='resnet29')
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--precision', default='float32')
    parser.add_argument('--rounds', type=int, default=7)
    # All ratios are to the first one.
    parser.add_argument(
        '--settings', nargs='+', choices=tuple(SETTINGS), default=[*SETTINGS]
    )
    parser.add_argument('--memory_of', choices=tuple(SETTINGS))
    args = parser.parse_args()
    if args.precision == 'bfloat16':
        keras.config.set_dtype_policy('mixed_bfloat16')
    if args.memory_of:
        print_memory(args.memory_of, args.network, args.batch)
        return
    steps = {s: build(s, args.network, args.batch) for s in args.settings}
    seconds = interleaved(steps, args.rounds)
    sizes = {s: memory(s, args) for s in args.settings}
    base_time = seconds[args.settings[0]]
    before, base_size = sizes[args.settings[0]]
    base_own = base_size - before
    print(f'{args.network}, B = {args.batch}, {args.precision}; {machine()}')
    print('| step | seconds | ratio | MB | ratio | MB of the step | ratio |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    for name, spent in seconds.items():
        before, size = sizes[name]
        print(
            f'| {name} | {spent:.3f} | {spent / base_time:.2f} '
            f'| {size} | {size / base_size:.2f} '
            f'| {size - before} | {(size - before) / base_own:.2f} |'
        )


if __name__ == '__main__':
    main()
