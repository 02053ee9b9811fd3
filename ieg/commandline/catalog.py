"""The catalog: every option and every name, also without TensorFlow.

`options.json` is the catalog of what this package registers, so that help and
mistakes are answered before TensorFlow is imported. `make options` writes it.
"""

import dataclasses
import functools
import importlib.resources
import json
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags, logging  # noqa: F401  # They define flags.

from ieg import registry
from ieg.errors import UsageError, nearest
from ieg.options import (
    ALIASES,
    DataConfig,
    RunConfig,
    SearchConfig,
    TrainConfig,
)
from ieg.utils.files import atomic_write

# Title in the help -> options that all methods have.
SHARED: dict[str, type] = {
    'Run': RunConfig,
    'Data': DataConfig,
    'Training': TrainConfig,
    'Search': SearchConfig,
}
REGISTRIES: tuple[registry.Registry[Any], ...] = (
    registry.METHODS,
    registry.NETWORKS,
    registry.DATASETS,
    registry.NOISES,
    registry.KEEP_SCHEDULES,
    registry.SEARCHERS,
    registry.LOGGERS,
)
_TYPES = {kind.__name__: kind for kind in (bool, int, float, str)}
# The largest values of options without a smaller maximum. Those of int32 and
# float32, in which TensorFlow computes.
_LARGEST = {int: 2**31 - 1, float: 3.4e38}
_TYPE_NAMES = {
    bool: 'true or false',
    int: 'an integer',
    float: 'a number',
    str: 'a string',
}


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a run; see `registry.option`."""

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    introduced: Any = None

    def checked(self, value: Any) -> Any:
        """Returns a value of the option's type.

        Args:
            value: an integer is accepted where a float is expected.

        Raises:
            UsageError: it has another type, or is not within the limits.
        """
        largest = self.maximum
        if largest is None:
            largest = _LARGEST.get(self.type)
        if self.type is float and type(value) is int:
            # The integers of a file can be larger than any float.
            value = float(value) if abs(value) < 2**999 else math.inf
        is_typed: bool = type(value) is self.type
        if not is_typed:
            raise self.wrong_type(repr(value))
        must = ''
        if self.type is float and not math.isfinite(value):
            must = 'a finite number'
        elif self.choices and value not in self.choices:
            must = f'one of {self.shown_choices()}'
        elif self.minimum is not None and value < self.minimum:
            must = f'at least {self.minimum}'
        elif largest is not None and value > largest:
            must = f'at most {largest}'
        elif largest is not None and value < -largest:
            must = f'at least {-largest}'
        if must:
            hint = ''
            if isinstance(value, str):
                hint = nearest(value, self.choices)
            raise self._mistake(must, repr(value), hint)
        return value

    def wrong_type(self, shown: str) -> UsageError:
        """Returns the mistake that a value, as shown, has another type."""
        return self._mistake(_TYPE_NAMES[self.type], shown)

    def _mistake(self, must: str, shown: str, hint: str = '') -> UsageError:
        return UsageError(f'--{self.name} must be {must}, got {shown}.{hint}')

    def shown_choices(self) -> str:
        """Returns the choices, those that would be misread in quotes."""
        return ', '.join(
            repr(choice) if not choice or ',' in choice else choice
            for choice in self.choices
        )


@dataclasses.dataclass(frozen=True)
class Catalog:
    """All options and names.

    Attributes:
        shared: title -> options that all methods have.
        methods: name of a method -> its own options.
        names: kind (see `Registry.kind`) -> registered names.
    """

    shared: Mapping[str, Sequence[Option]]
    methods: Mapping[str, Sequence[Option]]
    names: Mapping[str, Sequence[str]]

    def options(self) -> dict[str, tuple[Option, list[str]]]:
        """Returns each option and the methods it is limited to (none: all).

        Raises:
            UsageError: two methods declare one name with different types.
        """
        merged: dict[str, tuple[Option, list[str]]] = {
            option.name: (option, [])
            for options in self.shared.values()
            for option in options
        }
        for method, options in self.methods.items():
            for option in options:
                known, users = merged.setdefault(option.name, (option, []))
                first = known is option
                if known.type is not option.type or not (first or users):
                    raise UsageError(
                        f'The option {option.name!r} of the method {method!r} '
                        'exists already, for another purpose: choose another '
                        'name.'
                    )
                users.append(method)
        return merged


def options_of(cls: type) -> list[Option]:
    """Returns the options that the fields of a dataclass declare."""
    # The types of fields are strings where annotations are postponed.
    types = typing.get_type_hints(cls)
    return [
        Option(field.name, types[field.name], field.default, **field.metadata)
        for field in dataclasses.fields(cls)
    ]


# Flags that absl defines when it starts, and short forms of them.
_HELP = ('help', 'helpfull', 'helpshort', 'helpxml', 'h', 'version')
# Flags that are not options of a run: they say where options come from.
SOURCES = {
    'config': 'JSON file of options. A run folder has one, config.json. Flags '
    'override it.',
    'plugin': 'Modules to import first, separated by commas. They may register '
    'methods, networks and data sets.',
}


def _method_options(name: str) -> list[Option]:
    """Returns the options of a method, those of a plugin checked.

    Raises:
        UsageError: they are not a dataclass of `option`s with possible
            defaults, or a name is that of another flag.
    """
    method = registry.METHODS.get(name)
    config = getattr(method, 'Config', None)
    what = f'{method.__module__}.{method.__qualname__}.Config'
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise UsageError(f'{what} must be a dataclass of options.')
    for field in dataclasses.fields(config):
        if 'help' not in field.metadata:
            raise UsageError(f'{what}.{field.name} must be made by option().')
    options = options_of(config)
    if not method.__module__.startswith('ieg.'):
        for option in options:
            _check_option(option, f'{what}.{option.name}')
    return options


def _check_option(option: Option, place: str) -> None:
    if option.type not in _TYPE_NAMES:
        raise UsageError(f'{place} must be a bool, int, float or str.')
    # Ours are defined where flags are parsed.
    module = flags.FLAGS.find_module_defining_flag(option.name) or 'ieg.'
    taken = option.name in (*_HELP, *SOURCES, *ALIASES)
    if taken or not module.startswith('ieg.'):
        raise UsageError(
            f'{place} has the name of another flag: choose another one.'
        )
    try:
        option.checked(option.default)
    except UsageError as error:
        raise UsageError(f'The default of {place}: {error}') from error


def current() -> Catalog:
    """Returns the catalog of everything that is registered now."""
    return Catalog(
        {title: options_of(cls) for title, cls in SHARED.items()},
        {name: _method_options(name) for name in registry.METHODS.names()},
        {table.kind: table.names() for table in REGISTRIES},
    )


@functools.cache
def shipped() -> Catalog:
    """Returns the catalog in `options.json`."""

    def read(values: dict[str, Any]) -> Any:
        if 'default' not in values:
            return values
        kind, choices = _TYPES[values['type']], tuple(values.get('choices', ()))
        return Option(**values | {'type': kind, 'choices': choices})

    content = _file().read_text(encoding='utf-8')
    return Catalog(**json.loads(content, object_hook=read))


def announce(catalog: Catalog) -> None:
    """Lets the registries know the names in a catalog."""
    for table in REGISTRIES:
        table.announce(catalog.names[table.kind])


def dumps(catalog: Catalog) -> str:
    """Returns a catalog as `options.json` holds it."""

    def plain(value: Any) -> Any:
        if isinstance(value, type):
            return value.__name__
        return {k: v for k, v in vars(value).items() if v not in (None, ())}

    text = json.dumps(catalog, default=plain, indent=1, ensure_ascii=False)
    return text + '\n'


def write() -> None:
    """Writes `options.json`; everything must have been imported."""
    atomic_write(str(_file()), dumps(current()))


def _file() -> Any:
    return importlib.resources.files('ieg.commandline') / 'options.json'
