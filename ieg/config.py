"""The configuration of a run: everything that it depends on, and who wins.

An option's default < the method's preset for the data set and noise
< a file (`--config`) < a flag.
"""

import dataclasses
import functools
import os
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ieg.commandline import arguments, auto, catalog
from ieg.commandline.arguments import LENGTHS, over, unused_by
from ieg.data import load, own, spec
from ieg.data.dataset import Advice, asks_for_images, refuse_image_options
from ieg.data.spec import OWN
from ieg.errors import UsageError, nearest
from ieg.features import names as backbones
from ieg.networks import applications, check_kind, foreign
from ieg.networks.vectors import NAMES as VECTOR_NETWORKS
from ieg.ops import optim
from ieg.options import (
    PATHS,
    SCHEDULES,
    DataConfig,
    RunConfig,
    SearchConfig,
    TrainConfig,
)
from ieg.registry import METHODS, NETWORKS
from ieg.utils import plugins, sources

if TYPE_CHECKING:
    from ieg.methods.base import Method

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


# Schedules whose learning rate depends on the length of the run.
STRETCHED = ('cosine_one', 'linear')


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run depends on.

    Attributes:
        method: an instance of the method's own `Config`.
        advice: sentences about a data set and what was chosen for it.
        method_asked: 'auto' where the method was chosen, otherwise ''.
    """

    run: RunConfig
    data: DataConfig
    train: TrainConfig
    search: SearchConfig
    method: Any
    advice: str = ''
    method_asked: str = ''

    def flat(self) -> dict[str, Any]:
        """Returns all options in one dictionary."""
        parts = (self.run, self.data, self.train, self.search, self.method)
        return {k: v for part in parts for k, v in vars(part).items()}

    def recorded(self) -> dict[str, Any]:
        """Returns all options for `config.json`, which any folder can use.

        Paths are absolute, and `run` is the folder that the file is in.
        """
        options = self.flat()
        del options['run']
        is_file = backbones.is_file(self.data.backbone)
        for name in (*PATHS, 'backbone') if is_file else PATHS:
            if options.get(name):
                path = os.path.expanduser(options[name])
                options[name] = os.path.abspath(path)
        options['network_name'] = sources.recorded(self.train.network_name)
        if self.method_asked:
            options[auto.ASKED] = self.method_asked
        return options

    def identity(self, replicas: int) -> dict[str, Any]:
        """Returns the options that a checkpoint must share to be resumed.

        All but those of the run and of the search, and its length; the length
        counts only where something depends on it: the learning rate, or the
        method (see `Method.depends_on_length`).
        """
        options = self.flat()
        for name in (*_names(RunConfig), *_names(SearchConfig)):
            del options[name]
        stretched = self.train.lr_schedule in STRETCHED
        method = METHODS.get(self.train.method)
        if not (stretched or method.depends_on_length(self.method)):
            del options['max_epoch'], options['max_iteration']
        # Paths; hashes of labels and images stand for their contents.
        del options['human_labels'], options['probe_dir']
        if backbones.is_file(self.data.backbone):
            options['backbone'] = _FILE
        options['network_name'] = sources.recorded(self.train.network_name)
        options['global_batch_size'] = options.pop('batch_size') * replicas
        return options


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def check(given: Mapping[str, Any]) -> Config:
    """Checks options before their data set is opened.

    Returns:
        The configuration, but for what follows from the data.

    Raises:
        UsageError: see `resolve`.
    """
    if 'network_name' not in given:
        # What a network takes is checked when it is known.
        left_out = ('dropout_mode', 'pretrained', 'scaling')
        given = {k: v for k, v in given.items() if k not in left_out}
    if backbone(given) not in (backbones.AUTO, backbones.OFF):
        return resolve(given, own.of_vectors('', 1000, 1000, 2))
    if auto.asked(given) == auto.AUTO and 'loss' not in given:
        # Which of them applies follows from the loss that will be chosen.
        of_losses = ('gce_q', 'label_smoothing')
        given = {k: v for k, v in given.items() if k not in of_losses}
    # The run of a few images is the longest.
    return resolve(given, Advice(own.schedule(224, 1000, 3), ''))


def backbone(given: Mapping[str, Any]) -> str:
    """Returns the backbone that options ask for.

    'off' for training on pixels; 'auto' where it depends on the data whether
    there are images for one.

    Raises:
        UsageError: it is unknown, or its weights are not there.
    """
    asked = given.get('backbone', DataConfig().backbone)
    backbones.check(asked)
    if asked != backbones.AUTO:
        return asked
    base = spec.parse(given.get('dataset', DataConfig().dataset)).base
    network = given.get('network_name')
    of_pixels = asks_for_images(given) or network not in (
        None,
        *VECTOR_NETWORKS,
    )
    chosen = base in OWN and auto.asked(given) == auto.AUTO and not of_pixels
    return backbones.AUTO if chosen else backbones.OFF


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
    given = arguments.renamed(given)
    arguments.check(given)
    said: list[str] = []
    is_auto = auto.asked(given) == auto.AUTO
    if is_auto:
        choice = auto.choose(bool(advice and advice.vectors))
        said.append(choice.sentence(given))
        given = {**choice.values, **given, 'method': choice.values['method']}
    method = METHODS.get(given.get('method', TrainConfig().method))
    dataset = spec.parse(given.get('dataset', DataConfig().dataset))
    advised = dict(advice.values) if advice else {}
    usual = DEFAULT_NETWORKS | dict(method.usual_networks)
    chosen = backbone(given)
    chosen = backbones.OFF if chosen == backbones.AUTO else chosen
    on_pixels = asks_for_images(given)
    if chosen != backbones.OFF and on_pixels:
        raise UsageError(
            f'--{on_pixels}={given[on_pixels]} is for training on pixels, not '
            f'on features: leave it out, or use --backbone=off.'
        )
    known = dataset
    if chosen != backbones.OFF:
        known, usual = dataset.of_features, {}
    network = given.get('network_name') or usual.get(
        known.base, advised.get('network_name')
    )
    if network is None:
        raise UsageError(
            f'{dataset.base} has no default network; choose one with '
            f'--network_name: {", ".join(NETWORKS.names())}.'
        )
    NETWORKS.check(network)
    if NETWORKS.is_other(network) and sources.is_function(network):
        foreign.function(network)
    if advice and advice.vectors:
        refuse_image_options(given)
        check_kind(network, are_vectors=True)
    if method.most_epochs(method.Config()) is not None:
        advised.pop('max_epoch', None)
    presets = method.presets(known, network)
    _check_presets(method, presets)
    values = over(over(advised, presets), given)
    values |= _pretrained(values, given, network)
    most = method.most_epochs(build(method.Config, values))
    values |= _length(values, most or 30)
    values |= {'network_name': network, 'dataset': str(dataset)}
    values['backbone'] = chosen
    if advice and not advice.vectors and chosen == backbones.OFF:
        said.append(
            'Training on pixels takes long: with --backbone=lite0, a small '
            'network learns from the features of one that knows ImageNet, in '
            'minutes.'
        )
    config = Config(
        run=build(RunConfig, values),
        data=build(DataConfig, values),
        train=build(TrainConfig, values),
        search=build(SearchConfig, values),
        method=build(method.Config, values),
        advice=' '.join([*_said(advice, given, values), *said]),
        method_asked=auto.AUTO if is_auto else '',
    )
    load.check(config.data, config.run)
    if config.data.backbone == backbones.OFF:
        _refuse(given, DataConfig(), ['feature_views'], '--backbone')
    network_options(config.train)
    _check_schedule(given, config.train)
    optim.check(config.train)
    if not config.search.search:
        _refuse(given, SearchConfig(), vars(SearchConfig()), '--search')
    if not config.run.track_memorization:
        _refuse(given, RunConfig(), TRACKING, '--track_memorization')
    if values.get('steps_per_epoch') and values.get('epoch_examples'):
        raise UsageError(
            'Give --steps_per_epoch or --epoch_examples, not both: each sets '
            'the length of an epoch.'
        )
    return config


def _check_presets(method: 'type[Method]', presets: Any) -> None:
    """Checks what a method has returned for presets.

    Raises:
        UsageError: a name or value is impossible.
    """
    wrong = functools.partial(plugins.mistake, method, 'presets')
    if not isinstance(presets, Mapping):
        raise wrong(f'must return a dictionary of options, got {presets!r}')
    parts = (RunConfig, DataConfig, TrainConfig, SearchConfig, method.Config)
    options = {o.name: o for part in parts for o in catalog.options_of(part)}
    for name in ('dataset', 'method', 'network_name'):
        # They are decided before.
        del options[name]
    for name, value in presets.items():
        if name not in options:
            near = nearest(str(name), options)
            raise wrong(f'unknown option {name!r}.{near}')
        try:
            options[name].checked(value)
        except UsageError as error:
            raise wrong(str(error)) from error


def _pretrained(
    values: Mapping[str, Any], given: Mapping[str, Any], network: str
) -> dict[str, Any]:
    """Returns the options that trained weights determine.

    Raises:
        UsageError: --scaling does not suit the weights.
    """
    is_hub = sources.is_hub(network)
    if not (values.get('pretrained') or is_hub):
        return {}
    # The preprocessing of a preset is part of the network.
    scale = 'unit' if is_hub else applications.PRETRAINED_SCALING.get(network)
    if scale is None:
        # The default of a data set does not apply to other networks.
        return {} if 'pretrained' in given else {'pretrained': False}
    if given.get('scaling', scale) != scale:
        raise UsageError(
            f'--scaling={given["scaling"]} does not suit the weights of '
            f'{network}; use --scaling={scale}, or omit it.'
        )
    return {'scaling': scale}


def network_options(train: TrainConfig) -> dict[str, Any]:
    """Returns the options of training that the network takes.

    Raises:
        UsageError: it does not take one that was given.
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
) -> list[str]:
    """Returns the facts about a data set and what was chosen for it."""
    if advice is None:
        return []
    chosen = ' '.join(
        f'--{name}={value}'
        for name, value in advice.values.items()
        if name not in given and values.get(name) == value
    )
    return [advice.sentence, f'Chosen for it: {chosen or "nothing"}.']


def _length(values: Mapping[str, Any], usual: int) -> dict[str, int]:
    """Returns the length of the run: in epochs or in steps, never both."""
    asked = {name: values[name] for name in LENGTHS if values.get(name)}
    return dict.fromkeys(LENGTHS, 0) | (asked or {'max_epoch': usual})


def _check_schedule(given: Mapping[str, Any], train: TrainConfig) -> None:
    for name in sorted(unused_by(train.lr_schedule)):
        if name in given and given[name] != getattr(TrainConfig(), name):
            users = [s for s, names in SCHEDULES.items() if name in names]
            raise UsageError(
                f'--{name} is not used by --lr_schedule={train.lr_schedule}, '
                f'only by: {", ".join(users)}.'
            )


# Options that need --track_memorization.
TRACKING = (
    'memorization_step',
    'memorization_rate',
    'unlabeled_dir',
    'stop_on_memorization',
)


def _refuse(
    given: Mapping[str, Any], usual: Any, names: Iterable[str], needed: str
) -> None:
    """Raises UsageError if one of `names` has another value than usual."""
    for name in names:
        default = getattr(usual, name)
        if given.get(name, default) != default:
            raise UsageError(f'--{name} needs {needed}.')


def build(cls: type, values: Mapping[str, Any]) -> Any:
    """Returns an object of options, with the values that are given.

    Raises:
        UsageError: a value is not of the option's type, or out of its limits.
    """
    return cls(
        **{
            option.name: option.checked(values[option.name])
            for option in catalog.options_of(cls)
            if option.name in values
        }
    )


def folder_of(config: Config) -> str:
    """Returns the folder of a run."""
    train, run = config.train, config.run
    if run.run:
        return os.path.normpath(os.path.expanduser(run.run))
    name = config.data.dataset.replace('/', '-')
    base = name.split('_')[0]
    if base in OWN:
        # Two folders of images are two data sets.
        path = os.path.normpath(os.path.expanduser(run.data_dir))
        stem = os.path.basename(path)
        name += f'-{stem.removesuffix(f".{base}")}'
    return os.path.join(
        os.path.expanduser(run.checkpoint_path),
        name,
        run.run_name.strip()
        or f'{train.method}_{sources.label(train.network_name)}_s{train.seed}',
    )


# What a checkpoint knows the data by, and any file of a backbone.
_FILE = f'FILE{backbones.FILE}'
_HASHES = {'images_sha256': 'images', 'labels_sha256': 'labels'}
NETWORK_HASH = 'network_sha256'


def check_identity(
    run: str,
    saved: Mapping[str, Any],
    now: Mapping[str, Any],
    introduced: Mapping[str, Any],
    ignore: Collection[str] = (),
) -> None:
    """Checks that a run has the options that it was started with.

    Args:
        run: its folder.
        saved: its identity, as JSON holds it; see `Config.identity`.
        now: the present identity; `data` says where the data are.
        introduced: values of options that are newer than the run.
        ignore: options that may differ.

    Raises:
        UsageError: an option, the data or the layout of checkpoints differs.
    """
    saved = {name: introduced.get(name) for name in now} | dict(saved)
    names = dict.fromkeys(['method', 'dataset', 'network_name', *saved])
    differing = [
        name
        for name in names
        if name not in {'data', *ignore} and saved.get(name) != now.get(name)
    ]
    hashed = {*_HASHES, NETWORK_HASH}
    options = [n for n in differing if n not in {*hashed, 'layout'}]
    another = 'give another run its own folder with --run_name'
    if 'layout' in differing:
        raise UsageError(
            f'The run in {run} was made by another version of ieg: use that '
            f'version, or {another}.'
        )
    if options:
        changes = '; '.join(
            f'{name} was {saved.get(name)!r} and is now {now.get(name)!r}'
            for name in options[:3]
        )
        why = ''
        if set(options) <= set(LENGTHS):
            schedule = now['lr_schedule']
            cause = f'--method={now["method"]}'
            if schedule in STRETCHED:
                cause = f'--lr_schedule={schedule}'
            why = (
                f' ({cause} depends on the length of the run; a new run can '
                'start from these weights with --initial_weights)'
            )
        raise UsageError(
            f'The run in {run} was started with other options: {changes}{why}. '
            f'Use the old values, or {another}.'
        )
    if NETWORK_HASH in differing:
        raise UsageError(
            f'The file --network_name has another model than the run in {run} '
            f'was started with: restore it, or {another}.'
        )
    if differing:
        hashes = dict(_HASHES)
        if now.get('backbone') == _FILE:
            # It is known by what it makes of the images.
            hashes['images_sha256'] = 'images (or the backbone)'
        changed = ' and '.join(hashes[name] for name in sorted(differing))
        raise UsageError(
            f'The {changed} in {now.get("data") or "the data set"} have '
            f'changed since the run in {run} was started: restore them, or '
            f'{another}.'
        )
