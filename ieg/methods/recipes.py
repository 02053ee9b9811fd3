"""How networks are trained on each data set, whatever the method.

CIFAR: DivideMix' settings. The small sets: chosen here, by hand, for minutes
on two CPU cores; see docs/results.md for how.
"""

from typing import Any

from ieg.methods import web_recipes

_CIFAR = dict(
    batch_size=128,
    learning_rate=0.02,
    lr_schedule='custom_step',
    decay_epochs='150',
    decay_rate=0.1,
    max_epoch=300,
)
# Networks for small grey images are too small to gain from bfloat16.
_GREY = dict(learning_rate=0.05, lr_schedule='cosine_one', precision='float32')
GREY = ('digits', 'mnist', 'fashion_mnist')
_DIGITS = _GREY | dict(batch_size=64, max_epoch=30)
_MNIST = _GREY | dict(batch_size=128, max_epoch=15)

TRAINING: dict[str, dict[str, Any]] = {
    'cifar10': _CIFAR,
    'cifar100': _CIFAR,
    'digits': _DIGITS,
    'mnist': _MNIST,
    'fashion_mnist': _MNIST,
    **web_recipes.TRAINING,
}

# Me-Momentum's settings. Its rounds are long; those of the small sets are cut.
_ROUNDS = dict(
    batch_size=128,
    learning_rate=0.01,
    weight_decay=1e-4,
    valid_ratio=0.1,
    lr_schedule='constant',
)
_SHORT_ROUNDS = dict(
    outer_rounds=2, inner_rounds=4, early_epochs=30, round_epochs=10
)


def rounds(dataset: Any) -> dict[str, Any]:
    """Returns the recipe of Me-Momentum."""
    if dataset.base in web_recipes.ME_MOMENTUM:
        return _ROUNDS | web_recipes.ME_MOMENTUM[dataset.base]
    if dataset.base in ('digits', 'fake'):
        return _ROUNDS | _SHORT_ROUNDS | {'batch_size': 32}
    if dataset.base in GREY:
        return _ROUNDS | {'crop_padding': 0, 'precision': 'float32'}
    if dataset.base in TRAINING:
        return dict(_ROUNDS)
    # Nobody's published set: its batches follow its size.
    chosen = {n: v for n, v in _ROUNDS.items() if n != 'batch_size'}
    return chosen | _SHORT_ROUNDS


# In bfloat16 the weights of a step are other ones (correlation 0.9 at a random
# start), and what that does to a run has not been measured.
_EXACT = dict(precision='float32')
# IEG's settings for CIFAR, of all its methods.
_IEG_CIFAR = _EXACT | dict(
    batch_size=100,
    learning_rate=0.1,
    lr_schedule='cosine',
    cos_t_mul=1.5,
    cos_m_mul=0.9,
    max_iteration=200_000,
    crop_padding=2,
    scaling='symmetric',
)


def reweighting(dataset: Any, network: str) -> dict[str, Any]:
    """Returns the recipe of the methods of the IEG code base."""
    if dataset.base in ('mnist', 'fashion_mnist'):
        # The weights of a batch gather on a few examples, and LeNet has no
        # BatchNorm: at 0.05 it dies.
        return _MNIST | {'learning_rate': 0.01}
    if dataset.base in web_recipes.IEG:
        return _EXACT | web_recipes.IEG[dataset.base]
    if dataset.base not in ('cifar10', 'cifar100'):
        return _EXACT | TRAINING.get(dataset.base, {})
    if network.startswith('resnet29'):
        # The reference's penalty, 1e-4 |W|^2 of kernels, has no factor 1/2.
        return _IEG_CIFAR | dict(weight_decay=2e-4, kernels_only_decay=True)
    return _IEG_CIFAR | dict(weight_decay=5e-4)


# Ten images per class of the small sets.
_PROBE = {
    'digits': 0.08,
    'fake': 0.1,
    'fashion_mnist': 1 / 600,
    'mnist': 1 / 600,
}


def with_probe(dataset: Any, network: str) -> dict[str, Any]:
    """Returns the same with the usual share of clean probe images."""
    # Nobody knows the right labels of those sets: they bring a probe or none.
    usual = 0.0 if dataset.base in web_recipes.TRAINING else 0.02
    share = _PROBE.get(dataset.base, usual)
    return reweighting(dataset, network) | {'probe_dataset_hold_ratio': share}


# FSR on the small sets. Digits: 20 of about 130 images per class in the pool.
_PROXY = {
    'digits': dict(queue_capacity=200, queue_bs=50, meta_start_epoch=5),
    'mnist': dict(queue_capacity=500, queue_bs=50, meta_start_epoch=3),
    'fashion_mnist': dict(queue_capacity=500, queue_bs=50, meta_start_epoch=3),
    'fake': dict(queue_capacity=80, queue_bs=20, meta_start_epoch=1),
}


def with_proxy(dataset: Any, network: str) -> dict[str, Any]:
    """Returns the recipe of FSR: a proxy pool instead of a probe."""
    if dataset.base in web_recipes.FSR:
        return _EXACT | web_recipes.FSR[dataset.base]
    found = reweighting(dataset, network)
    if 'max_iteration' in found:
        found.update(cos_t_mul=2.0, max_iteration=63_500)
    return found | _PROXY.get(dataset.base, {})
