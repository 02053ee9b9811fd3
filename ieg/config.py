"""Options: frozen dataclasses, the flags made of them, and who wins.

An option's default < the method's preset for the data set, noise and network
< a file (`--config`) < a flag.
"""

import dataclasses
import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from ieg.data import spec as dataset_spec
from ieg.errors import UsageError, nearest
from ieg.registry import METHODS, NETWORKS, option

DEFAULT_NETWORKS = {
    'fake': 'cnn',
    'digits': 'cnn',
    'mnist': 'lenet',
    'fashion_mnist': 'lenet',
    'cifar10': 'preact_resnet18',
    'cifar100': 'preact_resnet18',
}

# Which options each learning-rate schedule reads beside learning_rate and
# warmup_epochs.
SCHEDULES = {
    'constant': (),
    'custom_step': ('decay_steps', 'decay_epochs', 'decay_rate'),
    'exponential': ('decay_steps', 'decay_epochs', 'decay_rate'),
    'cosine': ('decay_steps', 'decay_epochs', 'cos_t_mul', 'cos_m_mul'),
    'cosine_one': (),
}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where and how a run executes; does not change what it computes."""

    mode: str = option(
        'train',
        'Train, or evaluate the checkpoint of a run.',
        choices=('train', 'evaluation'),
    )
    checkpoint_path: str = option('runs', 'Folder that holds the run folders.')
    restore_step: int = option(
        0, 'Step of the checkpoint to restore; 0 = the latest.', minimum=0
    )
    keep_checkpoints: int = option(
        3, 'How many checkpoints a run keeps.', minimum=1
    )
    data_dir: str = option(
        '',
        'TFDS data folder; empty = $TFDS_DATA_DIR, then the default of TFDS.',
    )
    val_batch_size: int = option(
        256, 'Examples per step and replica in evaluation.', minimum=1
    )
    eval_every: int = option(1, 'Epochs between evaluations.', minimum=1)
    distribution_strategy: str = option(
        'auto',
        'auto: several workers where TF_CONFIG names them, mirrored on '
        'several GPUs (see CUDA_VISIBLE_DEVICES), else one device.',
        choices=('auto', 'default', 'mirrored', 'multi_worker'),
    )
    num_replicas: int = option(
        0, 'Replicas on one CPU, to try distribution; 0 = off.', minimum=0
    )
    augment_on: str = option(
        'auto',
        'Where views are computed; auto = the device where it is a GPU.',
        choices=('auto', 'host', 'device'),
    )
    jit: str = option(
        'auto',
        'Compile steps with XLA; auto = on a GPU.',
        choices=('auto', 'on', 'off'),
    )
    deterministic: bool = option(
        True, 'Use deterministic kernels: same seed, same numbers.'
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is learnt from."""

    dataset: str = option(
        'digits_symmetric_0.4', 'Data set, kind of label noise and its rate.'
    )
    train_examples: int = option(
        0, 'Class-balanced subset of the training set; 0 = all.', minimum=0
    )
    probe_dataset_hold_ratio: float = option(
        0.0,
        'Share of the training set held out as clean probe examples.',
        minimum=0,
        maximum=0.9,
    )
    valid_ratio: float = option(
        0.0,
        'Share of the noisy training set held out for validation.',
        minimum=0,
        maximum=0.9,
    )
    noise_seed: int = option(-1, 'Seed of the noise; -1 = --seed.', minimum=-1)
    noise_sampler: str = option(
        'numpy',
        'Generator of the noise; others repeat a reference code bit by bit.',
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a method is trained."""

    method: str = option('supervised', 'Learning algorithm.')
    network_name: str = option(
        '', 'Network; empty = the usual one for the data set.'
    )
    seed: int = option(1, 'Root of all randomness.', minimum=0)
    max_epoch: int = option(
        0, 'Length in epochs; 0 = by --max_iteration or 30.', minimum=0
    )
    max_iteration: int = option(
        0, 'Length in steps; 0 = by --max_epoch.', minimum=0
    )
    batch_size: int = option(64, 'Examples per step and replica.', minimum=1)
    learning_rate: float = option(0.05, 'Initial learning rate.', minimum=0)
    momentum: float = option(0.9, 'Momentum of SGD.', minimum=0, maximum=0.9999)
    weight_decay: float = option(
        5e-4,
        'Coupled L2: its multiple of all weights joins the gradient.',
        minimum=0,
    )
    lr_schedule: str = option(
        'constant', 'Course of the learning rate.', choices=tuple(SCHEDULES)
    )
    decay_steps: str = option(
        '', 'Steps of the drops, or of the first cycle; comma separated.'
    )
    decay_epochs: str = option('', 'The same in epochs.')
    decay_rate: float = option(0.1, 'Factor of a drop.', minimum=0)
    cos_t_mul: float = option(1.5, 'Growth of the cosine cycles.', minimum=1)
    cos_m_mul: float = option(
        0.9, 'Factor between the peaks of cosine cycles.', minimum=0
    )
    warmup_epochs: int = option(
        0, 'Epochs of linear rise of the learning rate.', minimum=0
    )
    precision: str = option(
        'auto',
        'auto = bfloat16 on GPUs that have it, else float32. Weights, losses '
        'and everything that ranks examples are float32 always.',
        choices=('auto', 'float32', 'bfloat16'),
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on.

    Attributes:
        run: see `RunConfig`.
        data: see `DataConfig`.
        train: see `TrainConfig`.
        method: an instance of the method's own `Config`.
    """

    run: RunConfig
    data: DataConfig
    train: TrainConfig
    method: Any

    def flat(self) -> dict[str, Any]:
        """Returns all options in one dictionary."""
        parts = (self.run, self.data, self.train, self.method)
        return {k: v for part in parts for k, v in vars(part).items()}

    def identity(self, replicas: int) -> dict[str, Any]:
        """Returns what a checkpoint must agree with to be continued.

        Everything but where it runs and how long; the length counts only
        where the learning rate depends on it.
        """
        found = self.flat()
        for name in _names(RunConfig):
            del found[name]
        if self.train.lr_schedule != 'cosine_one':
            del found['max_epoch'], found['max_iteration']
        found['global_batch_size'] = found['batch_size'] * replicas
        return found


SHARED = (RunConfig, DataConfig, TrainConfig)
# Flags that are no options of a run: they say where options come from.
SOURCES = {
    'config': 'File of options (a run folder has config.json); flags win.',
    'plugin': 'Module to import first; it may register methods, networks and '
    'data sets. Several are separated by commas.',
}


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _fields(cls: type) -> list[dataclasses.Field]:
    """Returns the fields of a dataclass, with types even if postponed."""
    types = typing.get_type_hints(cls)
    found = dataclasses.fields(cls)
    for field in found:
        field.type = types[field.name]
    return list(found)


def _options() -> dict[str, tuple[dataclasses.Field, list[str]]]:
    """Returns each option's field and the methods it is limited to.

    Raises:
        ValueError: two methods declare one name with different types.
    """
    found = {f.name: (f, []) for c in SHARED for f in _fields(c)}
    for method in METHODS.names():
        for field in _fields(METHODS.get(method).Config):
            known, users = found.setdefault(field.name, (field, []))
            if known.type != field.type or (known is not field and not users):
                raise ValueError(
                    f'the option {field.name!r} of {method!r} is declared '
                    'elsewhere in another way'
                )
            users.append(method)
    return found


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag per option of the run and of all methods."""
    makers = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        bool: flags.DEFINE_bool,
    }
    for name, (field, users) in _options().items():
        if name in values:
            continue
        text = f'{field.metadata["help"]} [{field.default!r}]'
        if users:
            text = f'({", ".join(users)}) {text}'
        makers[field.type](name, None, text, flag_values=values)
    for name, text in SOURCES.items():
        if name not in values:
            flags.DEFINE_string(name, None, text, flag_values=values)


def from_flags(values: flags.FlagValues = flags.FLAGS) -> Config:
    """Returns the configuration that parsed flags ask for.

    Raises:
        UsageError: see `resolve`.
    """
    given = {
        name: values[name].value
        for name in _options()
        if values[name].value is not None
    }
    file = values['config'].value
    return resolve((read_file(file) if file else {}) | given)


def read_file(path: str) -> dict[str, Any]:
    """Returns the options in a JSON file, without mode and restore_step.

    Raises:
        UsageError: the file is missing or no JSON object.
    """
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(
            f'--config={path} cannot be read as JSON; give the config.json of '
            'a run folder.'
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f'--config={path} holds no JSON object of options.')
    return {k: v for k, v in found.items() if k not in ('mode', 'restore_step')}


def resolve(given: Mapping[str, Any]) -> Config:
    """Returns the configuration for options that a user gave.

    Args:
        given: options by name.

    Raises:
        UsageError: an option is unknown, unused by the method or schedule, or
            has an impossible value.
    """
    train = TrainConfig()
    method = METHODS.get(given.get('method', train.method))
    _check_used(given, given.get('method', train.method), method.Config)
    dataset = dataset_spec.parse(given.get('dataset', DataConfig().dataset))
    network = given.get('network_name') or DEFAULT_NETWORKS.get(dataset.base)
    if network is None:
        raise UsageError(
            f'There is no usual network for {dataset.base}; choose one with '
            f'--network_name: {", ".join(NETWORKS.names())}.'
        )
    NETWORKS.get(network)
    values = dict(method.presets(dataset, network))
    values |= _lengths(given, values)
    values |= {k: v for k, v in given.items() if k not in LENGTHS}
    values |= {'network_name': network, 'dataset': str(dataset)}
    config = Config(*(_build(cls, values) for cls in (*SHARED, method.Config)))
    _check_schedule(given, config.train)
    return config


LENGTHS = ('max_epoch', 'max_iteration')


def _lengths(
    given: Mapping[str, Any], preset: Mapping[str, Any]
) -> dict[str, int]:
    """Returns the length of the run: in epochs or in steps, never both."""
    asked = {name: given[name] for name in LENGTHS if given.get(name)}
    if len(asked) == 2:
        raise UsageError(
            'Give --max_epoch or --max_iteration, not both: each says how '
            'long to train.'
        )
    chosen = asked or {n: preset[n] for n in LENGTHS if n in preset}
    return dict.fromkeys(LENGTHS, 0) | (chosen or {'max_epoch': 30})


def _check_used(given: Iterable[str], method: str, config_class: type) -> None:
    known = _options()
    used = {n for cls in (*SHARED, config_class) for n in _names(cls)}
    for name in given:
        if name not in known:
            raise UsageError(
                f'There is no option {name!r}.{nearest(name, known)}'
            )
        if name not in used:
            users = ', '.join(known[name][1])
            raise UsageError(
                f'--{name} is not used by --method={method}, only by: {users}.'
            )


def _check_schedule(given: Iterable[str], train: TrainConfig) -> None:
    used = SCHEDULES[train.lr_schedule]
    for name in {n for names in SCHEDULES.values() for n in names} - set(used):
        if name in given and given[name] != getattr(TrainConfig(), name):
            users = [s for s, names in SCHEDULES.items() if name in names]
            raise UsageError(
                f'--{name} is not used by --lr_schedule={train.lr_schedule}, '
                f'only by: {", ".join(users)}.'
            )


def _build(cls: type, values: Mapping[str, Any]) -> Any:
    fields = [f for f in _fields(cls) if f.name in values]
    return cls(**{f.name: _checked(f, values[f.name]) for f in fields})


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """Returns a value of the option's type within its limits."""
    limits = field.metadata
    if field.type is float and type(value) is int:
        value = float(value)
    problem = None
    if type(value) is not field.type:
        problem = f'is no {field.type.__name__}'
    elif limits['choices'] and value not in limits['choices']:
        problem = (
            f'is none of {", ".join(limits["choices"])}.'
            f'{nearest(value, limits["choices"])}'
        ).rstrip('.')
    elif limits['minimum'] is not None and not value >= limits['minimum']:
        problem = f'must be at least {limits["minimum"]}'
    elif limits['maximum'] is not None and not value <= limits['maximum']:
        problem = f'must be at most {limits["maximum"]}'
    if problem:
        raise UsageError(f'--{field.name}={value} {problem}.')
    return value
