"""How networks are trained on each data set, whatever the method.

CIFAR: DivideMix' settings. The small sets: chosen here, by hand, for minutes
on two CPU cores; see docs/results.md for how.
"""

from typing import Any

# Batches are those of a warm-up in DivideMix and of all other methods.
WEB: dict[str, dict[str, Any]] = {
    # DivideMix, its WebVision script.
    'webvisionmini': dict(
        batch_size=64,
        learning_rate=0.01,
        lr_schedule='custom_step',
        decay_epochs='40',
        max_epoch=80,
    ),
    # DivideMix, its Clothing1M script; an epoch has 1,000 steps.
    'clothing1m': dict(
        batch_size=64,
        learning_rate=0.002,
        weight_decay=1e-3,
        lr_schedule='custom_step',
        decay_epochs='40',
        max_epoch=80,
        steps_per_epoch=1_000,
        pretrained=True,
    ),
    # SSR; VGG-19 from scratch.
    'animal10n': dict(
        batch_size=128,
        learning_rate=0.02,
        lr_schedule='custom_step',
        decay_epochs='50,100',
        max_epoch=150,
    ),
    # PLC, but with momentum.
    'food101n': dict(
        batch_size=32,
        learning_rate=0.005,
        weight_decay=1e-3,
        lr_schedule='custom_step',
        decay_epochs='10,20',
        max_epoch=30,
        pretrained=True,
    ),
}


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
MNIST = _GREY | dict(batch_size=128, max_epoch=15)

TRAINING: dict[str, dict[str, Any]] = {
    'cifar10': _CIFAR,
    'cifar100': _CIFAR,
    'digits': _DIGITS,
    'mnist': MNIST,
    'fashion_mnist': MNIST,
    **WEB,
}
