"""Images per second of a backbone alone, as a cache of features computes them.

    python benchmarks/backbone.py [--backbone=lite0] [--threads=1 2] [...]

Each row is a process of its own, because TensorFlow takes its number of threads
once. Where PyTorch and `efficientnet-lite-pytorch` are installed, their network
on the same weights (channels last, inference mode) takes turns with ours.
Images per second of CPU time say what the cores do on a busy machine, too.
"""

import argparse
import concurrent.futures
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from common import machine

HEAD = (
    '| threads | calls at a time | batch | ieg, images/s | per CPU second |'
    ' PyTorch, images/s | per CPU second | ratio |'
)


def ours(name: str) -> tuple[Callable[[np.ndarray], object], int]:
    """Returns the network as features are computed, and its side."""
    from ieg.utils.cli import import_tensorflow

    import_tensorflow()
    from ieg.features import backbones

    backbone = backbones.load(name)
    return lambda images: backbone.compute(images).numpy(), backbone.side


def by_torch(name: str, threads: int) -> Callable[[np.ndarray], object] | None:
    """Returns the network of PyTorch, or None where that is not installed."""
    packages = ('torch', 'efficientnet_lite_pytorch')
    if not all(importlib.util.find_spec(package) for package in packages):
        return None
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from ieg.features import names

    torch.set_num_threads(threads)
    network = EfficientNet.from_name(f'efficientnet-{name}').eval()
    network.load_state_dict(torch.load(names.BACKBONES[name].find()))
    network = network.to(memory_format=torch.channels_last)

    def features(images: np.ndarray) -> object:
        with torch.inference_mode():
            # Permuted, not copied: these are channels last already.
            x = torch.from_numpy(images).permute(0, 3, 1, 2)
            x = x.to(torch.float32).sub_(127.5).div_(127.5)
            return network.extract_features(x).mean((2, 3)).numpy()

    return features


def speeds(
    functions: list[Callable[[np.ndarray], object]],
    images: np.ndarray,
    calls: int,
    rounds: int,
) -> list[tuple[float, float]]:
    """Returns images per second, and per second of CPU time, of each.

    They take turns. The best round counts: others only slow it down.
    """
    best = [(0.0, 0.0) for _ in functions]
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        for number in range(rounds + 1):
            for place, function in enumerate(functions):
                wall, cpu = time.perf_counter(), time.process_time()
                list(pool.map(function, [images] * (4 * calls)))
                count = 4 * calls * len(images)
                rates = (
                    count / (time.perf_counter() - wall),
                    count / (time.process_time() - cpu),
                )
                # The first round traces and warms up.
                if number:
                    best[place] = tuple(map(max, best[place], rates))
    return best


def row(args: argparse.Namespace) -> None:
    """Prints one row of the table."""
    (threads,), (calls,), (batch,) = args.threads, args.calls, args.batch
    network, side = ours(args.backbone)
    functions = [network]
    if other := by_torch(args.backbone, threads):
        functions.append(other)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, side, side, 3), np.uint8)
    (rate, per_cpu), *others = speeds(functions, images, calls, args.rounds)
    last = ''.join(f' {r:.1f} | {c:.1f} | {rate / r:.2f} |' for r, c in others)
    print(
        f'| {threads} | {calls} | {batch} | {rate:.1f} | {per_cpu:.1f} |'
        f'{last or " |" * 3}',
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--backbone', default='lite0')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--calls', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--batch', type=int, nargs='+', default=[4, 16, 64])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--row', action='store_true', help='print one row')
    args = parser.parse_args()
    if args.row:
        return row(args)
    print(f'{machine()}; {args.backbone}')
    print(HEAD)
    print('|' + ' --- |' * (HEAD.count('|') - 1), flush=True)
    for threads in args.threads:
        for calls in args.calls:
            for batch in args.batch:
                # With one core's share for each thread that computes.
                environment = {
                    'TF_CPP_MIN_LOG_LEVEL': '3',
                    'TF_NUM_INTRAOP_THREADS': str(threads),
                    'OMP_NUM_THREADS': str(threads),
                }
                subprocess.run(
                    [
                        *(sys.executable, __file__, '--row'),
                        *(f'--backbone={args.backbone}', '--threads'),
                        *(str(threads), '--calls', str(calls)),
                        *('--batch', str(batch), f'--rounds={args.rounds}'),
                    ],
                    env=os.environ | environment,
                    check=True,
                )


if __name__ == '__main__':
    main()
