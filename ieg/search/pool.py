"""Trains the trials of a search, several at a time, each in a process.

Processes import TensorFlow after they know their devices, so nothing that
needs it is imported at the top of this module.
"""

import concurrent.futures
import concurrent.futures.process
import importlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ieg.search.store import Result, Trial

# How often a process looks whether the one that started it is still there.
WATCH_SECONDS = 1.0
# What this process trains trials with; every process has its own.
_runner: Any = None


def devices(slot: int) -> str | None:
    """Returns the visible GPUs of a slot; None = as they are.

    Every slot gets one GPU; several share one where there are more slots.
    """
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is None:
        import tensorflow as tf

        count = len(tf.config.list_physical_devices('GPU'))
        names = [str(number) for number in range(count)]
    else:
        names = [name for name in visible.split(',') if name.strip()]
    if not names:
        return None
    return names[slot % len(names)]


def _start(slots: Any, options: dict[str, Any], plugins: Sequence[str]) -> None:
    """Prepares a process."""
    global _runner
    parent = os.getppid()

    def watch() -> None:
        # A killed search must not leave processes that go on training.
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    visible = slots.get()
    if visible is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = visible
        # Several trials may share a GPU.
        os.environ['TF_FORCE_GPU_ALLOW_GROWTH'] = 'true'
    main = importlib.import_module('ieg.main')
    main.import_tensorflow()
    for plugin in plugins:
        main.import_plugin(plugin)
    config = importlib.import_module('ieg.config')
    importlib.import_module('ieg.methods')
    runner = importlib.import_module('ieg.search.runner')
    _runner = runner.Runner(config.resolve(options))


def _facts(folder: str) -> Any:
    return _runner.facts(folder)


def _run(trial: Trial, folder: str) -> Result:
    return _runner.run(trial, folder)


class Pool:
    """Does what a `Runner` does, in several processes.

    Args:
        options: of every trial, but for its own.
        plugins: modules that each process imports first.
        size: number of processes.
    """

    def __init__(
        self, options: dict[str, Any], plugins: Sequence[str], size: int
    ):
        self._options = options
        self._plugins = list(plugins)
        self._size = size
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None

    def _open(self) -> concurrent.futures.ProcessPoolExecutor:
        if self._executor is None:
            context = multiprocessing.get_context('spawn')
            slots = context.Queue()
            for slot in range(self._size):
                slots.put(devices(slot))
            self._executor = concurrent.futures.ProcessPoolExecutor(
                self._size,
                context,
                _start,
                (slots, self._options, self._plugins),
            )
        return self._executor

    def facts(self, folder: str) -> Any:
        """Returns what `Runner.facts` does."""
        return self._open().submit(_facts, folder).result()

    def run(
        self, trials: Sequence[tuple[Trial, str]]
    ) -> Iterator[tuple[Trial, Result]]:
        """Trains trials; yields them in their order as they are finished.

        A process that dies takes the others with it; what was going on is
        tried once more, then taken for failed.
        """
        done: dict[int, Result] = {}
        told = 0
        for _ in range(2):
            pool = self._open()
            going = {
                number: pool.submit(_run, *pair)
                for number, pair in enumerate(trials)
                if number not in done
            }
            for number, future in going.items():
                try:
                    done[number] = future.result()
                except concurrent.futures.process.BrokenProcessPool:
                    continue
                while told in done:
                    yield trials[told][0], done[told]
                    told += 1
            if told == len(trials):
                return
            self.close()
        lost = Result('failed', -2.0, remark='its process died twice')
        for number in range(told, len(trials)):
            yield trials[number][0], done.get(number, lost)

    def close(self) -> None:
        """Ends the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
