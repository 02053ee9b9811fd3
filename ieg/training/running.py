"""An epoch that is being trained, as a checkpoint holds it."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ieg.methods.base import Figure, Method, Phase


@dataclasses.dataclass
class Running:
    """An epoch between two calls of a step function.

    Attributes:
        epoch: counted from 0.
        phases: all phases of the epoch.
        started: when the epoch began, by `time.monotonic`.
        number: of the phase that runs; that of phases after the last one.
        done: number of steps of this phase that are done.
        logs: name -> a value for each step of the epoch so far.
        seconds: duration of these steps.
        figures: what the method has reported so far.
        remarks: those of the method so far.
        measured: name of a callback -> what it has measured.
    """

    epoch: int
    phases: Sequence[Phase]
    started: float
    number: int = 0
    done: int = 0
    logs: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    figures: dict[str, Figure] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)
    measured: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def steps_done(self) -> int:
        """Number of steps of all phases that are done."""
        before = self.phases[: self.number]
        return sum(phase.num_steps for phase in before) + self.done

    @property
    def total(self) -> int:
        """Number of steps of all phases."""
        return sum(phase.num_steps for phase in self.phases)

    def take_reports(self, method: Method) -> None:
        """Takes over what a method has reported since the last call."""
        figures, remarks = method.take_reports()
        self.figures |= figures
        self.remarks += remarks

    def record(self) -> dict[str, Any]:
        """Returns what `resumed` needs; JSON and arrays can hold it."""
        return vars(self) | {
            'started': time.monotonic() - self.started,
            'logs': {n: np.asarray(v) for n, v in self.logs.items()},
            'phases': [vars(phase) for phase in self.phases],
        }

    @classmethod
    def resumed(cls, record: Mapping[str, Any]) -> 'Running':
        """Returns the epoch of which `record` was saved."""
        changed = {
            'started': time.monotonic() - record['started'],
            'logs': {n: list(v) for n, v in record['logs'].items()},
            'phases': [
                Phase(**phase | {'args': tuple(phase['args'])})
                for phase in record['phases']
            ],
        }
        return cls(**{**record, **changed})
