"""Options of DivideMix, and their presets by data set, noise and rate."""

import dataclasses
from typing import Any

import numpy as np

from ieg.errors import UsageError
from ieg.methods import recipes, web_recipes
from ieg.registry import option


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of DivideMix."""

    warm_up: int = option(
        10, 'Epochs on all given labels before the first division.', minimum=0
    )
    warm_up_penalty: float = option(
        0.0,
        'Weight of the confidence penalty in warm-up; 1 for asymmetric noise.',
        minimum=0,
    )
    lambda_u: str = option(
        'auto',
        'Largest weight of the unlabelled loss (the mean over classes of the '
        'squared error), or auto: from the noise rate the mixture estimates.',
    )
    rampup_length: int = option(
        16, 'Epochs over which lambda_u rises linearly from 0.', minimum=1
    )
    p_threshold: float = option(
        0.5,
        'Examples with a larger clean probability are labelled.',
        minimum=0,
        maximum=1,
    )
    temperature: float = option(
        0.5, 'Sharpening temperature of guessed labels.', minimum=0.01
    )
    alpha: float = option(4.0, 'Mixing shares are Beta(alpha, alpha).')
    loss_average: int = option(
        1, 'Epochs of losses averaged before the mixture.', minimum=1
    )
    warm_up_examples: int = option(
        0,
        'Class-balanced examples that each network draws for an epoch of '
        'warm-up, as on Clothing1M; 0 = all.',
        minimum=0,
    )
    epoch_examples: int = option(
        0,
        'Class-balanced examples that each network draws for an epoch, '
        'divides and trains its peer on; 0 = all.',
        minimum=0,
    )
    mix_rows: str = option(
        'all',
        'Which mixed rows are trained on; labeled is the Clothing1M and '
        'WebVision script: no unlabelled loss, unlabelled rows are partners.',
        choices=('all', 'labeled'),
    )

    def __post_init__(self):
        """Checks what the flag types cannot.

        Raises:
            UsageError: lambda_u is neither a number nor auto.
        """
        try:
            fine = self.lambda_u == 'auto' or 0 <= float(self.lambda_u) < 1e9
        except ValueError:
            fine = False
        if not fine:
            raise UsageError(
                f'--lambda_u={self.lambda_u} is neither auto nor a number of '
                '0 or more.'
            )
        if self.epoch_examples and self.loss_average > 1:
            raise UsageError(
                f'--loss_average={self.loss_average} needs losses of every '
                'example in every epoch; leave out --epoch_examples.'
            )
        if self.alpha <= 0:
            raise UsageError(f'--alpha={self.alpha} must be larger than 0.')


# lambda_u for (base, kind, rate), from the authors' and their successors'
# scripts. `uniform` is what the paper calls symmetric.
LAMBDA_U = {
    ('cifar10', 'uniform', 0.2): 0,
    ('cifar10', 'uniform', 0.5): 25,
    ('cifar10', 'uniform', 0.8): 25,
    ('cifar10', 'uniform', 0.9): 50,
    ('cifar10', 'asymmetric', 0.4): 0,
    ('cifar100', 'uniform', 0.2): 25,
    ('cifar100', 'uniform', 0.5): 150,
    ('cifar100', 'uniform', 0.8): 150,
    ('cifar100', 'uniform', 0.9): 150,
}

WARM_UP = {'cifar10': 10, 'cifar100': 30}


def presets(dataset: Any) -> dict[str, Any]:
    """Returns option values for a data set with `base`, `noise` and `rate`."""
    values = dict(recipes.TRAINING.get(dataset.base, {}))
    if 'batch_size' in values:
        # A warm-up batch is as large as anybody's; a co-divide step has as
        # many labelled and unlabelled examples together.
        values['batch_size'] //= 2
    values |= web_recipes.DIVIDEMIX.get(dataset.base, {})
    if dataset.base in WARM_UP:
        values['warm_up'] = WARM_UP[dataset.base]
    if dataset.base in recipes.GREY:
        # Nearly pure mixtures of two images, as alpha = 4 makes, cost more
        # than they bring.
        values.update(alpha=0.5, warm_up=5)
    key = (dataset.base, dataset.noise, dataset.rate)
    if key in LAMBDA_U:
        values['lambda_u'] = str(LAMBDA_U[key])
    if dataset.noise in ('asymmetric', 'pairflip'):
        values['warm_up_penalty'] = 1.0
    if dataset.base in WARM_UP and (dataset.rate or 0) >= 0.9:
        values.update(p_threshold=0.6, loss_average=5)
    return values


def auto_lambda_u(noise_rate: float, num_classes: int) -> float:
    """Returns lambda_u for an estimated share of wrong labels.

    Piecewise linear through the table above: its nominal uniform rates are
    real rates of 0.18, 0.45, 0.72 and 0.81 with ten classes, where the paper
    has one scale up to some tens of classes and a larger one for 100.
    """
    if num_classes < 50:
        return float(
            np.interp(noise_rate, [0.3, 0.45, 0.72, 0.81], [0, 25, 25, 50])
        )
    return float(np.interp(noise_rate, [0, 0.2, 0.5], [0, 25, 150]))
