"""The command line of `ieg audit`: PATH, and most options of a training."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags

from ieg.audit.place import WANTED
from ieg.commandline import arguments
from ieg.commandline.catalog import Catalog, Option
from ieg.errors import UsageError

# Options that PATH stands for, or that have no meaning here -> what to do.
_REFUSED = {
    'dataset': 'PATH says which data',
    'data_dir': 'PATH says which data',
    'run': 'PATH and the same options find the run',
    'mode': 'use `ieg evaluate` to evaluate the run',
    'restore_step': 'use `ieg train`',
    'search': 'use `ieg train`',
}
OUTPUT = 'output'
BUDGET = Option(
    'time_budget',
    float,
    0.0,
    'Minutes that the audit may take on this machine; 0 = any number. It says '
    'what it leaves out for that, or refuses with the time that it needs.',
    minimum=0,
)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes:
        path: PATH, as typed.
        given: options of a run, without the data set.
        minutes: at most so many; 0 = any number.
    """

    path: str
    given: dict[str, Any]
    minutes: float


def parse(argv: Sequence[str], known: Catalog) -> Asked:
    """Returns what a command line asks for.

    Args:
        argv: the name of the command, and its arguments.
        known: the options.

    Raises:
        UsageError: PATH is missing, or an option is unknown, of no use here,
            or has an impossible value.
    """
    values = flags.FlagValues()
    arguments.define_flags(values, known)
    flags.DEFINE_alias(OUTPUT, 'checkpoint_path', flag_values=values)
    arguments.define_flag(BUDGET, values)
    own = (OUTPUT, BUDGET.name)
    words = arguments.parse_words(list(argv), values, known, own)
    for name, remedy in {**_REFUSED, 'config': 'use `ieg train`'}.items():
        if values[name].value is not None:
            raise UsageError(
                f'`ieg audit` does not take --{name}: {remedy}, or omit it.'
            )
    if len(words) != 1:
        what = f'got {len(words)} of them' if words else 'got none'
        raise UsageError(f'Give one PATH to `ieg audit`, {WANTED}; {what}.')
    minutes = values[BUDGET.name].value
    return Asked(
        words[0],
        arguments.from_flags(values, known),
        BUDGET.checked(BUDGET.default if minutes is None else minutes),
    )
