"""Names that users type: methods, networks, data sets, noise, loggers."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ieg.errors import UsageError, nearest
from ieg.utils import sources

if TYPE_CHECKING:
    from ieg.methods.base import Method
    from ieg.training.loggers import Logger

T = TypeVar('T')
Entry = TypeVar('Entry')


class Registry(Generic[T]):
    """A table of names, filled by decorators.

    Args:
        kind: what the names stand for, as an error message says it
            ("method").
    """

    # Forms of further names, for messages.
    others: tuple[str, ...] = ()

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._takes: dict[str, frozenset[str]] = {}
        self._announced: set[str] = set()

    def register(
        self, name: str, takes: Sequence[str] = ()
    ) -> Callable[[Entry], Entry]:
        """Returns a decorator that stores its object under `name`.

        Args:
            name: what users type.
            takes: options that the object takes as keywords, besides the
                arguments that all of its kind have.

        Raises:
            ValueError: the name is taken.
        """

        def store(entry: Entry) -> Entry:
            if name in self._entries:
                raise ValueError(
                    f'the {self.kind} {name!r} is registered twice'
                )
            self._entries[name] = cast(T, entry)
            self._takes[name] = frozenset(takes)
            return entry

        return store

    def announce(self, names: Iterable[str]) -> None:
        """Adds names of objects whose modules are not imported yet.

        They can be checked, and suggested for a misspelt name.
        """
        self._announced.update(names)

    def check(self, name: str) -> None:
        """Checks that a name is known.

        Raises:
            UsageError: it is not; the message lists the names that are.
        """
        if name not in self._entries and name not in self._announced:
            raise self._unknown(name)

    def get(self, name: str) -> T:
        """Returns the object stored under `name`.

        Raises:
            UsageError: the name is unknown; the message lists those that are
                known.
        """
        if name not in self._entries:
            raise self._unknown(name)
        return self._entries[name]

    def _unknown(self, name: str) -> UsageError:
        names = self.names()
        return UsageError(
            f'Unknown {self.kind} {name!r}.{nearest(name, names)} '
            f'Known: {", ".join([*names, *self.others])}.'
        )

    def takes(self, name: str) -> frozenset[str]:
        """Returns the options that the object under `name` takes."""
        return self._takes.get(name, frozenset())

    def names(self) -> list[str]:
        """Returns all names, sorted."""
        return sorted(self._announced.union(self._entries))


class Networks(Registry[Callable[..., Any]]):
    """Networks by name, or by a file, a preset or a function."""

    others = ('FILE.keras', 'hf://ORG/REPO', 'module:function')

    def is_other(self, name: str) -> bool:
        """Returns whether a name is not registered, and has another form."""
        return name not in self._entries and sources.is_foreign(name)

    def check(self, name: str) -> None:
        """Checks that a name is known, or can be that of another network.

        Raises:
            UsageError: it is not; see `ieg.utils.sources`.
        """
        if self.is_other(name):
            sources.check(name)
        else:
            super().check(name)


METHODS: 'Registry[type[Method]]' = Registry('method')
NETWORKS = Networks('network')
DATASETS: Registry[Callable[..., Any]] = Registry('data set')
NOISES: Registry[Any] = Registry('kind of noise')
KEEP_SCHEDULES: Registry[Callable[..., Any]] = Registry('keep schedule')
SEARCHERS: Registry[type] = Registry('searcher')
LOGGERS: 'Registry[type[Logger]]' = Registry('logger')


def option(
    default: Any,
    help: str,  # noqa: A002
    choices: Sequence[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    introduced: Any = None,
) -> Any:
    """Returns a dataclass field that becomes a flag of the same name.

    Args:
        default: value where neither a preset nor a flag gives another one.
        help: sentences for --help, which may show the first one only.
        choices: the allowed values of a string option.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        introduced: value that repeats what was computed before the option
            existed; None = the default. See `introduced`.
    """
    return dataclasses.field(
        default=default,
        metadata={
            'help': help,
            'choices': tuple(choices),
            'minimum': minimum,
            'maximum': maximum,
            'introduced': introduced,
        },
    )


def introduced(*classes: type) -> dict[str, Any]:
    """Returns the values that options have in runs that do not know them.

    A run that was started before an option existed computes what the option's
    value at introduction computes, and that value never changes. It is the
    default, because a new option keeps what was there; so the rule needs no
    list of versions. Only an option whose default is changed later, or that
    was added together with a new behavior, has to give it as `introduced`.

    Args:
        classes: dataclasses of options.
    """
    values = {}
    for field in (f for cls in classes for f in dataclasses.fields(cls)):
        at_first = field.metadata.get('introduced')
        values[field.name] = field.default if at_first is None else at_first
    return values
