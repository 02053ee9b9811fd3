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

from ieg import registry
from ieg.errors import UsageError, nearest
from ieg.options import DataConfig, RunConfig, SearchConfig, TrainConfig
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
            ValueError: two methods declare one name with different types.
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
                    raise ValueError(
                        f'the option {option.name!r} of {method!r} is declared '
                        'elsewhere in another way'
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


def current() -> Catalog:
    """Returns the catalog of everything that is registered now."""
    return Catalog(
        {title: options_of(cls) for title, cls in SHARED.items()},
        {
            name: options_of(registry.METHODS.get(name).Config)
            for name in registry.METHODS.names()
        },
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
