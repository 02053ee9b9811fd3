"""Signals that end a command: at once, or where its work can be kept."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Some programs send a signal to a process and to its group: one request.
SECONDS_OF_ONE_REQUEST = 1.0


class Interrupted(KeyboardInterrupt):
    """A signal ends the command.

    Args:
        sentence: what was kept, and how to resume.
        code: exit code of the command.
    """

    def __init__(self, sentence: str, code: int):
        super().__init__(sentence)
        self.code = code


class Interrupt:
    """Turns SIGINT and SIGTERM into `Interrupted` while its block runs.

    A second signal ends the process at once. Handlers are restored at the end
    of the block. Signals that the process ignores stay ignored. Without a block
    there are no signals.

    Attributes:
        kept: where the same command would resume, such as 'in epoch 3'; ''
            if nothing is kept.
        part: of the command which that belongs to, such as 'in fold 2, '.
        number: the signal that was received, or 0.
    """

    def __init__(self) -> None:
        self.kept = self.part = ''
        self.number = 0
        self._since = 0.0
        self._waits = False
        self._before: dict[int, Callable[..., Any] | int | None] = {}

    def __enter__(self) -> 'Interrupt':
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number:
            if now - self._since > SECONDS_OF_ONE_REQUEST:
                os._exit(128 + number)
            return
        self.number, self._since = number, now
        if not self._waits:
            raise self.error()

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Lets signals wait; whoever looks at `number` raises `error`."""
        # TensorFlow takes SIGTERM for itself where several workers train.
        for number in self._before:
            signal.signal(number, self._receive)
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def error(self, number: int = 0) -> Interrupted:
        """Returns the exception for a signal, by default the received one."""
        sentence = (
            'Interrupted. Run the same command again to resume '
            f'{self.part}{self.kept}.'
            if self.kept
            else 'Interrupted before anything new was saved. Run the same '
            'command again.'
        )
        return Interrupted(sentence, 128 + (number or self.number))
