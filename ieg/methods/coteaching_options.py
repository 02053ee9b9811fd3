"""Options of small-loss selection, and their presets."""

import dataclasses
from typing import Any

from ieg.errors import UsageError
from ieg.methods import recipes
from ieg.registry import option


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of Co-teaching, Co-teaching+ and JoCoR."""

    selection: str = option(
        'coteaching',
        'Which examples a network learns from: those of small loss for the '
        'other one (coteaching), the same among those that the two disagree '
        'about (coteaching_plus), or those of small joint loss (jocor).',
        choices=('coteaching', 'coteaching_plus', 'jocor'),
    )
    selection_scope: str = option(
        'global',
        'Among which examples losses are compared: those of all replicas, or '
        'of each by itself.',
        choices=('global', 'replica'),
    )
    noise_rate: str = option(
        'auto',
        'Share of wrong labels, or auto: estimated after the first epochs.',
    )
    tau_multiplier: float = option(
        1.0,
        'Share of each batch to drop, in noise rates; 1.25 is worth a trial.',
        minimum=0,
    )
    keep_schedule: str = option(
        'reference_code',
        'How the keep rate falls: paper_main, paper_ablation, '
        's2e_restatement, reference_code, s2e:NUMBERS, or one of a plugin.',
    )
    num_gradual: int = option(
        10, 'Epochs over which the keep rate falls.', minimum=1
    )
    exponent: float = option(1.0, 'Exponent of the fall.', minimum=1e-3)
    beta1_epoch: int = option(
        0,
        "Epoch from which Adam's beta1 is --beta1_late; 0 = after 0.4 of the "
        'run, where --lr_schedule=linear starts to fall.',
        minimum=0,
    )
    beta1_late: float = option(
        0.1, "Adam's beta1 late in the run.", minimum=0, maximum=0.9999
    )
    init_epoch: int = option(
        0,
        'Epochs before coteaching_plus looks at disagreement; until then it '
        'is coteaching.',
        minimum=0,
    )
    jocor_lambda: float = option(
        0.9,
        'Weight of the divergence of the two networks in the loss of jocor.',
        minimum=0,
        maximum=1,
    )
    train_view: str = option(
        'plain',
        'Training images as they are, as in the published runs, or with '
        'random crops and flips (weak).',
        choices=('plain', 'weak'),
    )
    reference_loss: bool = option(
        False,
        'Divide the loss of coteaching by the number of kept examples twice, '
        'as the reference code does.',
    )

    def __post_init__(self):
        """Checks what the flag types cannot.

        Raises:
            UsageError: the noise rate is neither a rate nor auto.
        """
        try:
            fine = self.noise_rate == 'auto' or 0 <= float(self.noise_rate) < 1
        except ValueError:
            fine = False
        if not fine:
            raise UsageError(
                f'--noise_rate={self.noise_rate} is neither auto nor a share '
                'from 0 to below 1.'
            )

    @property
    def depends_on_length(self) -> bool:
        """Whether an epoch is another one in a longer run."""
        built_in = ('paper_', 's2e_restatement', 'reference_code')
        fixed = self.keep_schedule.startswith(built_in)
        return not fixed or not self.beta1_epoch


# The settings of Co-teaching's code, for all of its data sets.
_PUBLISHED = dict(
    batch_size=128,
    optimizer='adam',
    learning_rate=1e-3,
    weight_decay=0.0,
    lr_schedule='linear',
    max_epoch=200,
    scaling='unit',
)
TRAINING: dict[str, dict[str, Any]] = {
    'mnist': _PUBLISHED,
    'fashion_mnist': _PUBLISHED,
    'cifar10': _PUBLISHED,
    # Both start to fall half way there.
    'cifar100': _PUBLISHED | dict(decay_epochs='100', beta1_epoch=100),
    'digits': _PUBLISHED | dict(batch_size=64, max_epoch=30),
    'fake': _PUBLISHED | dict(num_gradual=2),
}
NETWORKS = {
    name: 'cnn9' for name in ('mnist', 'fashion_mnist', 'cifar10', 'cifar100')
}
# For Co-teaching+ and JoCoR: the settings of their codes, but JoCoR's on MNIST,
# where 0.9 and more fail (docs/results.md).
SELECTION: dict[str, dict[str, Any]] = {
    'mnist': dict(jocor_lambda=0.4),
    'fashion_mnist': dict(jocor_lambda=0.4),
    'cifar10': dict(init_epoch=20),
    'cifar100': dict(init_epoch=5, jocor_lambda=0.85),
}
NUM_CLASSES = {'cifar100': 100, 'fake': 4}
# Data sets where the map of asymmetric noise touches half of the examples.
HALF_MAPPED = ('cifar10', 'mnist', 'fashion_mnist', 'digits')

# CIFAR-10N and CIFAR-100N, as published.
HUMAN_RATES = {
    'aggre': 0.0901,
    'random1': 0.17234,
    'random2': 0.18122,
    'random3': 0.1764,
    'worse': 0.40208,
    'noisy': 0.402,
}


def true_noise_rate(dataset: Any) -> float | None:
    """Returns the share of wrong labels that a data set's name promises.

    None where it does not say: asymmetric noise and people's mistakes depend on
    the class, and so on the long tail.

    Args:
        dataset: has `base`, `noise` and `rate`, and maybe `imbalance`.
    """
    rate = dataset.rate
    balanced = getattr(dataset, 'imbalance', None) is None
    if dataset.noise in HUMAN_RATES:
        return HUMAN_RATES[dataset.noise] if balanced else None
    if dataset.noise == 'uniform':
        return rate * (1 - 1 / NUM_CLASSES.get(dataset.base, 10))
    if dataset.noise == 'asymmetric' and dataset.base in HALF_MAPPED:
        return rate / 2 if balanced else None
    known = ('symmetric', 'asymmetric', 'pairflip', 'instance', 'cores')
    return rate if dataset.noise in known else None


def presets(dataset: Any) -> dict[str, Any]:
    """Returns option values for a data set with `base`, `noise` and `rate`."""
    usual = recipes.TRAINING.get(dataset.base, {})
    values = dict(TRAINING.get(dataset.base, usual))
    values |= SELECTION.get(dataset.base, {})
    if dataset.base == 'cifar10' and (dataset.rate or 0) >= 0.8:
        values['jocor_lambda'] = 0.65
    rate = true_noise_rate(dataset)
    if rate is not None:
        # The papers take it as known.
        values['noise_rate'] = f'{rate:.6g}'
    return values
