"""Settings of DivideMix for each data set, kind of noise and rate."""

from typing import Any

import numpy as np

from ieg.methods import recipes

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
# Small grey images: nearly pure mixtures of two of them, as alpha = 4 makes,
# cost more than they bring.
GREY = ('digits', 'mnist', 'fashion_mnist')


def presets(dataset: Any, network: str) -> dict[str, Any]:
    """Returns option values for a data set with `base`, `noise` and `rate`."""
    values = dict(recipes.TRAINING.get(dataset.base, {}))
    if 'batch_size' in values:
        # A warm-up batch is as large as anybody's; a co-divide step has as
        # many labelled and unlabelled examples together.
        values['batch_size'] //= 2
    if dataset.base in WARM_UP:
        values['warm_up'] = WARM_UP[dataset.base]
    if dataset.base in GREY:
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
