"""Settings of DivideMix for each data set, kind of noise and rate."""

from typing import Any

import numpy as np

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

CIFAR = dict(
    batch_size=64,
    learning_rate=0.02,
    lr_schedule='custom_step',
    decay_epochs='150',
    decay_rate=0.1,
    max_epoch=300,
)

RECIPES = {
    'cifar10': CIFAR | dict(warm_up=10),
    'cifar100': CIFAR | dict(warm_up=30),
}


def presets(dataset: Any, network: str) -> dict[str, Any]:
    """Returns option values for a data set with `base`, `noise` and `rate`."""
    values = dict(RECIPES.get(dataset.base, {}))
    key = (dataset.base, dataset.noise, dataset.rate)
    if key in LAMBDA_U:
        values['lambda_u'] = str(LAMBDA_U[key])
    if dataset.noise in ('asymmetric', 'pairflip'):
        values['warm_up_penalty'] = 1.0
    if dataset.base in ('cifar10', 'cifar100') and (dataset.rate or 0) >= 0.9:
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
