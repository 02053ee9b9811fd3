"""How networks are trained on each data set, whatever the method.

CIFAR: DivideMix' settings. The small sets: chosen here, by hand, for minutes
on two CPU cores; see docs/results.md for how.
"""

from typing import Any

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
_DIGITS = _GREY | dict(batch_size=64, max_epoch=30)
_MNIST = _GREY | dict(batch_size=128, max_epoch=15)

TRAINING: dict[str, dict[str, Any]] = {
    'cifar10': _CIFAR,
    'cifar100': _CIFAR,
    'digits': _DIGITS,
    'mnist': _MNIST,
    'fashion_mnist': _MNIST,
}
