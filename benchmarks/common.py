"""What the benchmarks share: interleaved timing on one machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Returns the median seconds of each function.

    The functions take turns, so a machine that slows down for a while slows
    all of them; ratios are worth more than seconds.
    """
    for function in functions.values():
        function()  # Traces and warms up.
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {n: statistics.median(values) for n, values in seconds.items()}


def machine() -> str:
    """Returns the processor and the number of cores in one line."""
    name = platform.processor() or platform.machine()
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    name = line.partition(':')[2].strip()
                    break
    except OSError:
        pass
    return f'{name}, {os.cpu_count()} cores, Python {platform.python_version()}'
