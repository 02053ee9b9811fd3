"""Options of FSR."""

import dataclasses
import math
from typing import NamedTuple

from ieg.errors import UsageError
from ieg.methods import reweighting
from ieg.methods.base import Info
from ieg.registry import option


class Pseudo(NamedTuple):
    """The parts of `--use_pseudo_loss`."""

    temperature: float
    share: float
    weight: float


@dataclasses.dataclass(frozen=True)
class Config(reweighting.Config):
    """Options of FSR."""

    meta_momentum: float = option(
        0.9, 'Share of the momentum that joins the look-ahead step.', minimum=0
    )
    use_mixup: bool = option(True, 'Mix the images of a batch.')
    queue_capacity: int = option(
        2000, 'Training examples in the proxy pool; equally many per class.'
    )
    queue_bs: int = option(
        200, 'Proxy images per step on all replicas together.'
    )
    queue_beta: float = option(
        0.9,
        'Share of the old score that a visit keeps; 1 or more sums up.',
        minimum=0,
    )
    meta_start_epoch: int = option(
        20, 'Epochs of equal weights; scores are collected.', minimum=0
    )
    use_pseudo_loss: str = option(
        'all_1_0.1_2',
        'Loss towards logits of earlier visits: all_TEMPERATURE_SHARE_WEIGHT, '
        'where a visit keeps that share of them; empty = off.',
    )
    clip_meta_weight: bool = option(
        True,
        'Weight 0 where an example disagrees with the proxy; otherwise all '
        'weights are positive, as for long-tailed data.',
    )
    moving_weight_gamma: float = option(
        0.0,
        'Share of its old value that the moving mean weight of a class keeps '
        'per step, used instead of weights of examples; 0 = off.',
        minimum=0,
        maximum=1,
    )
    meta_moving_end_epoch: int = option(
        0,
        'Epoch that freezes the mean weights of classes; 0 = none.',
        minimum=0,
    )
    label_smoothing: float = option(
        0.0,
        'Share of the target spread over all classes; with --use_mixup only '
        'of the proxy.',
        minimum=0,
        maximum=1,
    )

    def __post_init__(self):
        """Checks what the flag types cannot.

        Raises:
            UsageError: use_pseudo_loss is not of its form.
        """
        super().__post_init__()
        self.pseudo()

    def pseudo(self) -> Pseudo | None:
        """Returns the parts of use_pseudo_loss, None where it is off."""
        if not self.use_pseudo_loss:
            return None
        kind, *parts = self.use_pseudo_loss.split('_')
        try:
            found = Pseudo(*map(float, parts))
            fine = kind == 'all' and all(map(math.isfinite, found))
            fine &= found.temperature > 0 and 0 <= found.share <= 1
            fine &= found.weight >= 0
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise UsageError(
                f'--use_pseudo_loss={self.use_pseudo_loss} is not of the form '
                'all_TEMPERATURE_SHARE_WEIGHT; give for example all_1_0.1_2, '
                'or nothing for no such loss.'
            )
        return found


def check_sizes(config: Config, info: Info, replicas: int) -> None:
    """Checks the options that depend on the data and the run.

    Raises:
        UsageError: pool or proxy batch cannot be shared out, or no epoch is
            left for weights.
    """
    for flag, unit, parts in (
        ('queue_capacity', info.num_classes, 'classes'),
        ('queue_bs', info.num_classes, 'classes'),
        ('queue_bs', replicas, 'replicas'),
    ):
        size = getattr(config, flag)
        if size < 1 or size % unit:
            nearest = math.lcm(info.num_classes, replicas)
            nearest *= max(1, round(size / nearest))
            raise UsageError(
                f'--{flag}={size} is no multiple of the {unit} {parts}; '
                f'choose one, such as {nearest}.'
            )
    if config.queue_bs > config.queue_capacity:
        raise UsageError(
            f'--queue_bs={config.queue_bs} is more than the '
            f'--queue_capacity={config.queue_capacity} of the pool; choose a '
            'smaller batch or a larger pool.'
        )
    if config.meta_start_epoch >= info.epochs:
        raise UsageError(
            f'--meta_start_epoch={config.meta_start_epoch} leaves none of the '
            f'{info.epochs} epochs for weights; train longer or start earlier.'
        )
    if 0 < config.meta_moving_end_epoch <= config.meta_start_epoch:
        raise UsageError(
            f'--meta_moving_end_epoch={config.meta_moving_end_epoch} ends the '
            'course of the class weights before it starts in epoch '
            f'{config.meta_start_epoch}; give a later one, or 0 for no end.'
        )
    if info.num_probe:
        raise UsageError(
            'fsr uses no clean probe images; set --probe_dataset_hold_ratio=0.'
        )
