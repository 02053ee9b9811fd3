"""Trains the trials of a search in parallel processes.

Processes import TensorFlow after their devices are set, so this module does
not import anything that needs it at the top.
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
from typing import TYPE_CHECKING, Any

from ieg.errors import RunError, UsageError
from ieg.search.store import LOWEST, Result, Trial
from ieg.utils import cli
from ieg.utils.interrupt import Interrupt, Interrupted

if TYPE_CHECKING:
    from ieg.search.runner import Facts, Runner

# How long a process may take for the steps that run and for a checkpoint.
SECONDS_TO_SAVE = 60
# How often to try a trial whose process dies.
TRIES = 2


class Died(Exception):
    """A process ended without a result."""


def devices(slot: int) -> str | None:
    """Returns `CUDA_VISIBLE_DEVICES` of a slot; None leaves it unchanged.

    Every slot gets one GPU; with more slots than GPUs, several share one.
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

    A killed search must not leave processes that keep training, because they
    would write to the folders of a resumed search.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _make_runner(
    options: dict[str, Any], plugins: Sequence[str], interrupt: Interrupt
) -> 'Runner':
    cli.import_tensorflow()
    for plugin in plugins:
        cli.import_plugin(plugin)
    config = importlib.import_module('ieg.config')
    importlib.import_module('ieg.methods')
    runner = importlib.import_module('ieg.search.runner')
    return runner.Runner(config.resolve(options), interrupt=interrupt)


def _serve(
    connection: multiprocessing.connection.Connection,
    options: dict[str, Any],
    plugins: Sequence[str],
    visible: str | None,
) -> None:
    """Answers requests until the connection is closed."""
    # Ctrl-C reaches all processes; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if visible is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = visible
        # Several trials may share a GPU.
        os.environ['TF_FORCE_GPU_ALLOW_GROWTH'] = 'true'
    runner: Runner | None = None
    with (
        contextlib.suppress(EOFError, ConnectionError, Interrupted),
        Interrupt() as interrupt,
    ):
        while True:
            name, arguments = connection.recv()
            try:
                runner = runner or _make_runner(options, plugins, interrupt)
                answer = getattr(runner, name)(*arguments)
            except (UsageError, RunError, OSError) as error:
                answer = error
            except Exception:
                # Other exceptions may not be picklable.
                answer = RuntimeError(traceback.format_exc())
            connection.send(answer)


# In the parent process.


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
        # The connection is closed when the process ends.
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> None:
        """Calls a method of the `Runner`; `answer` returns the result."""
        # `answer` notices if the process has died.
        with contextlib.suppress(OSError):
            self.connection.send((name, arguments))

    def answer(self) -> Any:
        """Waits for the result and returns it.

        Raises:
            Died: the process ended without a result.
            Exception: the method raised it.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise Died from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """Asks the process to save its trial and to end."""
        self._process.terminate()

    def end(self) -> None:
        """Waits for the end of a process that was asked, then kills it."""
        self._process.join(SECONDS_TO_SAVE)
        self._process.kill()
        self._process.join()
        self.connection.close()


class Pool:
    """A `Runner` in several processes.

    Args:
        options: options of every trial, apart from those that are searched.
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

    def facts(self) -> 'Facts':
        """See `Runner.facts`."""
        return self._ask('facts')

    def seconds(self) -> float:
        """See `Runner.seconds`."""
        return self._ask('seconds')

    def run(
        self, trials: Sequence[tuple[Trial, str]]
    ) -> Iterator[tuple[Trial, Result]]:
        """Trains trials and yields them, with their results, in order.

        A trial whose process dies is tried once more and then counts as
        failed.
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
        """Ends the processes; a trial that runs can be resumed."""
        for worker in self._workers.values():
            worker.stop()
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
            'The process that trains the trials died, possibly for lack of '
            'memory: lower --batch_size or --parallel_trials.'
        )

    def _worker(self, slot: int) -> _Worker:
        """Returns the process of a slot, starting it if necessary."""
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
        """Gives waiting trials to idle processes."""
        for slot in range(self._size):
            if waiting and slot not in going:
                going[slot] = waiting.popleft()
                self._worker(slot).ask('train', *trials[going[slot]])

    def _ready(self, going: dict[int, int]) -> list[int]:
        """Waits for results; returns the slots that have one or are dead."""
        connections = {slot: self._workers[slot].connection for slot in going}
        ready = multiprocessing.connection.wait(list(connections.values()))
        return [slot for slot, own in connections.items() if own in ready]


def _lost() -> Result:
    return Result('failed', LOWEST, remark=f'its process died {TRIES} times')
