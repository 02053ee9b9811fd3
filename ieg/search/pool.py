"""Trains the trials of a search, several at a time, each in a process.

Processes import TensorFlow after they know their devices, so nothing that
needs it is imported at the top of this module.
"""

import collections
import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from ieg.errors import RunError, UsageError
from ieg.search.store import LOWEST, Result, Trial
from ieg.utils import cli

# How often a trial is tried whose process dies.
TRIES = 2


class Died(Exception):
    """A process ended without an answer."""


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


# In the processes.


def _die_with_parent() -> None:
    """Ends this process when the one that started it ends.

    A killed search must not leave processes that go on training, least of all
    in the folders of the search that goes on from there.
    """
    multiprocessing.parent_process().join()
    os._exit(1)


def _make_runner(options: dict[str, Any], plugins: Sequence[str]) -> Any:
    cli.import_tensorflow()
    for plugin in plugins:
        cli.import_plugin(plugin)
    config = importlib.import_module('ieg.config')
    importlib.import_module('ieg.methods')
    runner = importlib.import_module('ieg.search.runner')
    return runner.Runner(config.resolve(options))


def _serve(
    connection: multiprocessing.connection.Connection,
    options: dict[str, Any],
    plugins: Sequence[str],
    visible: str | None,
) -> None:
    """Answers requests until there is nobody who asks."""
    # Ctrl-C reaches all processes; the parent decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if visible is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = visible
        # Several trials may share a GPU.
        os.environ['TF_FORCE_GPU_ALLOW_GROWTH'] = 'true'
    runner = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            name, arguments = connection.recv()
            try:
                runner = runner or _make_runner(options, plugins)
                answer = getattr(runner, name)(*arguments)
            except (UsageError, RunError, OSError) as error:
                answer = error
            except Exception:
                # Any other exception might not survive the journey.
                answer = RuntimeError(traceback.format_exc())
            connection.send(answer)


# In the process that searches.


class _Worker:
    """A process that holds a `Runner`."""

    def __init__(
        self, options: dict[str, Any], plugins: Sequence[str], slot: int
    ):
        context = multiprocessing.get_context('spawn')
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, options, plugins, devices(slot)),
            daemon=True,
        )
        self._process.start()
        # So that the end of the process is the end of the connection.
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> None:
        """Asks for the result of a method of the `Runner`."""
        # Whoever has died is noticed when the answer does not come.
        with contextlib.suppress(OSError):
            self.connection.send((name, arguments))

    def answer(self) -> Any:
        """Waits for the result, and raises what was raised.

        Raises:
            Died: there is none.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise Died from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """Ends the process, at whatever it is."""
        self._process.kill()
        self._process.join()
        self.connection.close()


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
        self._workers: dict[int, _Worker] = {}

    def facts(self) -> Any:
        """Returns what `Runner.facts` does."""
        return self._ask('facts')

    def seconds(self) -> float:
        """Returns what `Runner.seconds` does."""
        return self._ask('seconds')

    def run(
        self, trials: Sequence[tuple[Trial, str]]
    ) -> Iterator[tuple[Trial, Result]]:
        """Trains trials; yields them in their order as they are finished.

        A trial whose process dies is tried once more, then taken for failed.
        """
        waiting = collections.deque(range(len(trials)))
        going: dict[int, int] = {}
        deaths: collections.Counter[int] = collections.Counter()
        done: dict[int, Result] = {}
        for number, (trial, _) in enumerate(trials):
            while number not in done:
                self._hand_out(waiting, going, trials)
                for slot in self._ready(going):
                    place = going.pop(slot)
                    try:
                        done[place] = self._workers[slot].answer()
                    except Died:
                        self._end(slot)
                        deaths[place] += 1
                        if deaths[place] < TRIES:
                            waiting.appendleft(place)
                        else:
                            done[place] = _lost()
            yield trial, done[number]

    def close(self) -> None:
        """Ends the processes."""
        for slot in list(self._workers):
            self._end(slot)

    def _ask(self, name: str) -> Any:
        for _ in range(TRIES):
            worker = self._worker(0)
            worker.ask(name)
            try:
                return worker.answer()
            except Died:
                self._end(0)
        raise RunError(
            'The process that was to train trials died, perhaps for lack of '
            'memory; lower --batch_size or --parallel_trials.'
        )

    def _worker(self, slot: int) -> _Worker:
        """Returns the process of a slot, started if there is none."""
        if slot not in self._workers:
            self._workers[slot] = _Worker(self._options, self._plugins, slot)
        return self._workers[slot]

    def _end(self, slot: int) -> None:
        self._workers.pop(slot).end()

    def _hand_out(
        self,
        waiting: collections.deque[int],
        going: dict[int, int],
        trials: Sequence[tuple[Trial, str]],
    ) -> None:
        """Gives trials that wait to the processes that are free."""
        for slot in range(self._size):
            if waiting and slot not in going:
                going[slot] = waiting.popleft()
                self._worker(slot).ask('train', *trials[going[slot]])

    def _ready(self, going: dict[int, int]) -> list[int]:
        """Waits until a process has an answer or is dead; returns them."""
        slots = {self._workers[slot].connection: slot for slot in going}
        ready = multiprocessing.connection.wait(list(slots))
        return [slots[connection] for connection in ready]


def _lost() -> Result:
    return Result('failed', LOWEST, remark=f'its process died {TRIES} times')
