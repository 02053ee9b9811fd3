"""The configuration of a run: flags made of options, and who wins.

An option's default < the method's preset for the data set and noise
< a file (`--config`) < a flag.
"""

import dataclasses
import json
import math
import os
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from ieg.data import load, spec
from ieg.data.dataset import Advice
from ieg.data.spec import OWN
from ieg.errors import UsageError, nearest
from ieg.networks import applications
from ieg.ops import optim
from ieg.options import (
    SCHEDULES,
    DataConfig,
    RunConfig,
    SearchConfig,
    TrainConfig,
)
from ieg.registry import METHODS, NETWORKS

DEFAULT_NETWORKS = {
    'fake': 'cnn',
    'digits': 'cnn',
    'mnist': 'lenet',
    'fashion_mnist': 'lenet',
    'cifar10': 'preact_resnet18',
    'cifar100': 'preact_resnet18',
    'webvisionmini': 'resnet50',
    'clothing1m': 'resnet50',
    'animal10n': 'vgg19_bn',
    'food101n': 'resnet50',
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on.

    Attributes:
        run: see `RunConfig`.
        data: see `DataConfig`.
        train: see `TrainConfig`.
        search: see `SearchConfig`.
        method: an instance of the method's own `Config`.
        advice: what was seen of a data set, and chosen because of that.
    """

    run: RunConfig
    data: DataConfig
    train: TrainConfig
    search: SearchConfig
    method: Any
    advice: str = ''

    def flat(self) -> dict[str, Any]:
        """Returns all options in one dictionary."""
        parts = (self.run, self.data, self.train, self.search, self.method)
        return {k: v for part in parts for k, v in vars(part).items()}

    def identity(self, replicas: int) -> dict[str, Any]:
        """Returns what a checkpoint must agree with to be continued.

        Everything but where it runs, how its options were found, and how long
        it is; the length counts only where something depends on it: the
        learning rate, or what the method says by `depends_on_length`.
        """
        found = self.flat()
        for name in (*_names(RunConfig), *_names(SearchConfig)):
            del found[name]
        stretched = self.train.lr_schedule in ('cosine_one', 'linear')
        method = METHODS.get(self.train.method)
        if not (stretched or method.depends_on_length(self.method)):
            del found['max_epoch'], found['max_iteration']
        # Paths; what is in them is told by hashes of labels and images.
        del found['human_labels'], found['probe_dir']
        found['global_batch_size'] = found.pop('batch_size') * replicas
        return found


SHARED = (RunConfig, DataConfig, TrainConfig, SearchConfig)
# Flags that are no options of a run: they say where options come from.
SOURCES = {
    'config': 'File of options (a run folder has config.json); flags win.',
    'plugin': 'Module to import first; it may register methods, networks and '
    'data sets. Several are separated by commas.',
}


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def fields_of(cls: type) -> list[dataclasses.Field]:
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
    found = {f.name: (f, []) for c in SHARED for f in fields_of(c)}
    for method in METHODS.names():
        for field in fields_of(METHODS.get(method).Config):
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


def from_flags(values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """Returns the options that parsed flags and the file `--config` give.

    Raises:
        UsageError: the file cannot be read.
    """
    given = {
        name: values[name].value
        for name in _options()
        if values[name].value is not None
    }
    path = values['config'].value
    file = read_file(path) if path else {}
    return _over(file, given)


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


def check(given: Mapping[str, Any]) -> None:
    """Checks options before the data set that they are for is looked at.

    Raises:
        UsageError: see `resolve`.
    """
    # Large images are advised this network, which takes the most options.
    resolve(given, Advice({'network_name': 'resnet50'}, ''))


def resolve(given: Mapping[str, Any], advice: Advice | None = None) -> Config:
    """Returns the configuration for options that a user gave.

    No data is read here.

    Args:
        given: options by name.
        advice: for a data set without recipes; see `Opened.advice`.

    Raises:
        UsageError: an option is unknown, unused by the method or schedule, or
            has an impossible value.
    """
    for cls in SHARED:
        build(cls, given)
    name = given.get('method', TrainConfig().method)
    method = METHODS.get(name)
    _check_used(given, name, method.Config)
    dataset = spec.parse(given.get('dataset', DataConfig().dataset))
    advised = dict(advice.values) if advice else {}
    usual = DEFAULT_NETWORKS | dict(method.usual_networks)
    usual.setdefault(dataset.base, advised.get('network_name'))
    network = given.get('network_name') or usual.get(dataset.base)
    if network is None:
        raise UsageError(
            f'There is no usual network for {dataset.base}; choose one with '
            f'--network_name: {", ".join(NETWORKS.names())}.'
        )
    NETWORKS.get(network)
    if method.most_epochs(method.Config()) is not None:
        advised.pop('max_epoch', None)
    values = _over(_over(advised, method.presets(dataset, network)), given)
    values |= _pretrained(values, given, network)
    most = method.most_epochs(build(method.Config, values))
    values |= _length(values, most or 30)
    values |= {'network_name': network, 'dataset': str(dataset)}
    parts = [build(cls, values) for cls in (*SHARED, method.Config)]
    config = Config(*parts, _said(advice, given, values))
    load.check(config.data, config.run)
    network_options(config.train)
    _check_schedule(given, config.train)
    optim.check(config.train)
    _check_search(given, config.search)
    _check_tracking(given, config.run)
    _check_together(given, values)
    return config


def _pretrained(
    values: Mapping[str, Any], given: Mapping[str, Any], network: str
) -> dict[str, Any]:
    """Returns what ImageNet weights need: a network that has some, a scale.

    Raises:
        UsageError: another scale is asked for.
    """
    if not values.get('pretrained'):
        return {}
    scale = applications.PRETRAINED_SCALING.get(network)
    if scale is None:
        # A habit of the data set does not bind a network that was chosen.
        return {} if 'pretrained' in given else {'pretrained': False}
    if given.get('scaling', scale) != scale:
        raise UsageError(
            f'--scaling={given["scaling"]} does not suit the ImageNet weights '
            f'of {network}; leave it out, or use --scaling={scale}.'
        )
    return {'scaling': scale}


def network_options(train: TrainConfig) -> dict[str, Any]:
    """Returns the options of training that the network takes.

    Raises:
        UsageError: it takes none of a kind that was asked for.
    """
    taken = NETWORKS.takes(train.network_name)
    chosen: dict[str, Any] = {}
    usual = TrainConfig()
    for name, value, unless, what in (
        ('dropout_mode', train.dropout_mode, usual.dropout_mode, 'dropout'),
        ('pretrained', train.pretrained, usual.pretrained, 'ImageNet weights'),
    ):
        if name in taken:
            chosen[name] = value
        elif value != unless:
            raise UsageError(
                f'--{name} is not used by the network {train.network_name}, '
                f'which has no {what}.'
            )
    return chosen


def _said(
    advice: Advice | None,
    given: Mapping[str, Any],
    values: Mapping[str, Any],
) -> str:
    """Returns what was seen of a data set, and chosen because of that."""
    if advice is None:
        return ''
    chosen = ' '.join(
        f'--{name}={value}'
        for name, value in advice.values.items()
        if name not in given and values.get(name) == value
    )
    return f'{advice.sentence} Chosen for it: {chosen or "nothing"}.'


LENGTHS = ('max_epoch', 'max_iteration')
# Options that say one thing together: whoever gives one gives all.
GROUPS = (LENGTHS, ('decay_steps', 'decay_epochs'))


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of two sources; those of the upper one win."""
    void = {n for group in GROUPS if upper.keys() & set(group) for n in group}
    if 'lr_schedule' in upper:
        void |= _unused(upper['lr_schedule'])
    return {k: v for k, v in lower.items() if k not in void} | dict(upper)


def _length(values: Mapping[str, Any], usual: int) -> dict[str, int]:
    """Returns the length of the run: in epochs or in steps, never both."""
    asked = {name: values[name] for name in LENGTHS if values.get(name)}
    if len(asked) == 2:
        raise UsageError(
            'Give --max_epoch or --max_iteration, not both: each says how '
            'long to train.'
        )
    return dict.fromkeys(LENGTHS, 0) | (asked or {'max_epoch': usual})


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


def _unused(schedule: str) -> set[str]:
    """Returns the options that only other schedules read."""
    everything = {name for names in SCHEDULES.values() for name in names}
    return everything.difference(SCHEDULES.get(schedule, ()))


def _check_schedule(given: Iterable[str], train: TrainConfig) -> None:
    for name in sorted(_unused(train.lr_schedule)):
        if name in given and given[name] != getattr(TrainConfig(), name):
            users = [s for s, names in SCHEDULES.items() if name in names]
            raise UsageError(
                f'--{name} is not used by --lr_schedule={train.lr_schedule}, '
                f'only by: {", ".join(users)}.'
            )


def _check_search(given: Mapping[str, Any], search: SearchConfig) -> None:
    for name, value in vars(SearchConfig()).items():
        if not search.search and given.get(name, value) != value:
            raise UsageError(
                f'--{name} needs --search, which says what to search for.'
            )


def _check_together(
    given: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Raises UsageError where two options say one thing."""
    if values.get('steps_per_epoch') and values.get('epoch_examples'):
        raise UsageError(
            'Give --steps_per_epoch or --epoch_examples, not both: each says '
            'how long an epoch is.'
        )
    if given.get('eval_freq') and 'eval_every' in given:
        raise UsageError(
            'Give --eval_freq or --eval_every, not both: each says how often '
            'to evaluate.'
        )


def _check_tracking(given: Mapping[str, Any], run: RunConfig) -> None:
    if run.stop_on_memorization != 'off' and not run.track_memorization:
        raise UsageError('--stop_on_memorization needs --track_memorization.')
    usual = RunConfig()
    for name in ('probe_step', 'probe_rate', 'unlabeled_dir'):
        if name in given and not run.track_memorization:
            if given[name] != getattr(usual, name):
                raise UsageError(f'--{name} needs --track_memorization.')


def build(cls: type, values: Mapping[str, Any]) -> Any:
    """Returns an object of options, with the values that are given.

    Raises:
        UsageError: a value is not of the option's type, or out of its limits.
    """
    fields = [f for f in fields_of(cls) if f.name in values]
    return cls(**{f.name: _checked(f, values[f.name]) for f in fields})


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """Returns a value of the option's type within its limits."""
    limits = field.metadata
    if field.type is float and type(value) is int:
        value = float(value)
    problem = None
    if type(value) is not field.type:
        problem = f'is no {field.type.__name__}'
    elif field.type is float and not math.isfinite(value):
        problem = 'is no finite number'
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


def folder_of(config: Config) -> str:
    """Returns the folder of a run."""
    train = config.train
    name = config.data.dataset.replace('/', '-')
    base = name.split('_')[0]
    if base in OWN:
        # Two folders of images are two data sets.
        path = os.path.normpath(os.path.expanduser(config.run.data_dir))
        stem = os.path.basename(path)
        name += f'-{stem.removesuffix(f".{base}")}'
    return os.path.join(
        os.path.expanduser(config.run.checkpoint_path),
        name,
        f'{train.method}_{train.network_name}_s{train.seed}',
    )
