"""How long and where a run trains."""

import dataclasses

from ieg.training.optim import Schedule


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train, apart from the method.

    Attributes:
        schedule: learning rate by nominal step.
        steps_per_epoch: nominal steps of one epoch.
        total_steps: nominal length of the run; the last epoch may be a part.
        share: of all steps of an epoch that are made.
        eval_batch_size: examples per step of a sweep, on all replicas.
        eval_every: epochs between evaluations; the last epoch has one.
        eval_splits: what it is evaluated on.
        seed: root of order and augmentation.
        jit: compile steps with XLA.
        on_device: compute views where the steps run.
        keep_checkpoints: how many to keep.
    """

    schedule: Schedule
    steps_per_epoch: int
    total_steps: int
    eval_batch_size: int
    share: float = 1.0
    eval_every: int = 1
    eval_splits: tuple[str, ...] = ('valid', 'test')
    seed: int = 0
    jit: bool = False
    on_device: bool = False
    keep_checkpoints: int = 3

    @property
    def epochs(self) -> int:
        """Epochs of the run, the last one whole or not."""
        return -(-self.total_steps // self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Returns how many nominal steps of an epoch belong to the run."""
        left = self.total_steps - epoch * self.steps_per_epoch
        return min(self.steps_per_epoch, left)

    def steps_until(self, epoch: int) -> int:
        """Returns how many nominal steps of the run come before an epoch."""
        return min(epoch * self.steps_per_epoch, self.total_steps)

    def part_of_epoch(self, epoch: int) -> float:
        """Returns which share of an epoch belongs to the run."""
        return self.steps_in(epoch) / self.steps_per_epoch
