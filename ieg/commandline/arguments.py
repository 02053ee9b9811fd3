"""What a user asked for: flags and files of options, and their mistakes.

Needs no TensorFlow, so that the command can answer a mistake at once. `known`
is the catalog of options everywhere, and None stands for all that are
registered; `given` are options by name.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from ieg.commandline import auto, catalog
from ieg.commandline.catalog import SOURCES, Catalog, Option
from ieg.data import hub, spec, whereabouts
from ieg.errors import UsageError, nearest
from ieg.options import ALIASES, PATHS, SCHEDULES
from ieg.registry import LOGGERS, METHODS, NETWORKS
from ieg.utils import plugins, sources
from ieg.utils.files import check_local, from_json, open_regular

LENGTHS = ('max_epoch', 'max_iteration')
# Options that together make one choice: whoever gives one gives all.
GROUPS = (LENGTHS, ('decay_steps', 'decay_epochs'))


class _Parser(flags.ArgumentParser):
    """A parser of flags whose mistakes are worded like those in a file."""

    def __init__(self, option: Option, parser: flags.ArgumentParser):
        self._option = option
        self._parser = parser
        self.syntactic_help = parser.syntactic_help

    def parse(self, argument: Any) -> Any:
        """Returns the value that a text stands for."""
        try:
            return self._parser.parse(argument)
        except (TypeError, ValueError):
            raise self._option.wrong_type(str(argument)) from None

    def flag_type(self) -> str:
        """Returns the name of the type, for absl."""
        return self._parser.flag_type()


def define_flags(
    values: flags.FlagValues = flags.FLAGS, known: Catalog | None = None
) -> None:
    """Defines one flag for each option of the run and of all methods."""
    for option, _ in (known or catalog.current()).options().values():
        define_flag(option, values)
    for name, text in SOURCES.items():
        if name not in values:
            flags.DEFINE_string(name, None, text, flag_values=values)
    for old, new in ALIASES.items():
        if old not in values:
            flags.DEFINE_alias(old, new, flag_values=values)


def define_flag(option: Option, values: flags.FlagValues) -> None:
    """Defines the flag of an option, unless there is one."""
    makers: dict[type, Any] = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        bool: flags.DEFINE_bool,
    }
    name = option.name
    if name not in values:
        makers[option.type](name, None, option.help, flag_values=values)
        values[name].parser = _Parser(option, values[name].parser)


def parse_flags(
    argv: list[str],
    values: flags.FlagValues = flags.FLAGS,
    known: Catalog | None = None,
) -> dict[str, Any]:
    """Returns the options in a command line and in the file it names.

    Args:
        argv: the name of the command and its arguments.
        values: where the flags are defined.
        known: the options.

    Raises:
        UsageError: an argument is not a flag, or a value not of its type; or
            the file cannot be read.
    """
    known = known or catalog.current()
    if words := parse_words(argv, values, known):
        raise UsageError(
            f'Unexpected argument {words[0]!r}: options are written as '
            '--name=value.'
        )
    return from_flags(values, known)


def parse_words(
    argv: list[str],
    values: flags.FlagValues,
    known: Catalog,
    further: Sequence[str] = (),
) -> list[str]:
    """Parses the flags in a command line, and returns what are none.

    Args:
        argv: the name of the command and its arguments.
        values: where the flags are defined.
        known: the options.
        further: names of flags that a command has besides.

    Raises:
        UsageError: a flag is unknown, or a value not of its type.
    """
    define_flags(values, known)
    try:
        return values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        raise _unknown(error.flagname, known, further) from None
    except flags.Error as error:
        text = ' '.join(str(error).split())
        raise UsageError(f'{text.rstrip(".")}.') from error


def from_flags(
    values: flags.FlagValues = flags.FLAGS, known: Catalog | None = None
) -> dict[str, Any]:
    """Returns the options that parsed flags and the file `--config` give.

    Raises:
        UsageError: the file cannot be read.
    """
    given = {
        name: values[name].value
        for name in (known or catalog.current()).options()
        if values[name].value is not None
    }
    for name in ('checkpoint_path', 'run_name'):
        if given.get('run') and given.get(name):
            raise UsageError(f'Give --run or --{name}, not both.')
    path = values['config'].value
    given = over(read_file(path) if path else {}, given)
    given, remarks = hub.replaced(given)
    for remark in remarks:
        print(remark, flush=True)
    completed = complete(given)
    if completed.keys() - given.keys() == {'dataset'}:
        print(
            f'No --dataset given: --data_dir={given["data_dir"]} is read as '
            f'--dataset={completed["dataset"]}.',
            flush=True,
        )
    return completed


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options given, those of the run that `run` names, and the
    kind of the data if only their place was given.

    Raises:
        UsageError: `run` is not a run folder, a path is a URL, or the kind of
            the data is unclear.
    """
    given = renamed(given)
    for name in PATHS:
        check_local(given.get(name), f'--{name}=')
    if given.get('run'):
        given = over(read_run(given['run'], '--run='), given)
    if given.get('data_dir') and 'dataset' not in given:
        given['dataset'] = whereabouts.kind(given['data_dir'])
    return given


def read_run(folder: str, what: str = '') -> dict[str, Any]:
    """Returns the options that a run has in its folder, and where that is.

    Args:
        folder: the run folder.
        what: precedes the folder in messages, such as '--run='.

    Raises:
        UsageError: it is not a run folder, or its options cannot be read.
    """
    path = os.path.join(os.path.expanduser(folder), 'config.json')
    if not os.path.isfile(path):
        raise UsageError(
            f'{what}{folder} is not a run folder: it must have a file '
            'config.json.'
        )
    recorded = _read(path, f'{what}{folder}: config.json')
    return _unrecorded(recorded) | recorded | {'run': folder}


def _unrecorded(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that are newer than a run, as it was without them.

    A preset that came with a new option is not that of an earlier run.

    Args:
        recorded: the options that the run has in its folder.
    """
    method = recorded.get('method')
    return {
        name: option.introduced
        for name, (option, users) in catalog.shipped().options().items()
        if option.introduced is not None and (not users or method in users)
    }


def read_file(path: str) -> dict[str, Any]:
    """Returns the options in a JSON file, but for those of one command.

    These are where the file lies (`run`), the mode and restore_step. What
    was asked of `--method` is no option either: the method is what it chose.

    Args:
        path: value of `--config`.

    Raises:
        UsageError: the file is missing, or is not a JSON object.
    """
    return _read(
        path, f'--config={path}', '; give the config.json of a run folder'
    )


def _read(path: str, shown: str, advice: str = '') -> dict[str, Any]:
    """Returns the options in a JSON file, see `read_file`.

    Args:
        path: of the file.
        shown: the file in messages.
        advice: follows them.
    """
    try:
        with open_regular(path) as file:
            content = from_json(file.read())
    except FileNotFoundError:
        raise UsageError(f'{shown}: no such file{advice}.') from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f'{shown} cannot be read as JSON{advice}.') from error
    if not isinstance(content, dict):
        raise UsageError(f'{shown} must hold a JSON object of options.')
    if isinstance(network := content.get('network_name'), str):
        content['network_name'] = sources.found(network, os.path.dirname(path))
    left_out = ('run', 'mode', 'restore_step', auto.ASKED, *plugins.RECORD)
    return {k: v for k, v in renamed(content).items() if k not in left_out}


def renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options under their present names."""
    present = {ALIASES[k]: v for k, v in given.items() if k in ALIASES}
    return present | {k: v for k, v in given.items() if k not in ALIASES}


def over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of two sources; those of the upper one win."""
    void = {n for group in GROUPS if upper.keys() & set(group) for n in group}
    if 'lr_schedule' in upper:
        void |= unused_by(upper['lr_schedule'])
    return {k: v for k, v in lower.items() if k not in void} | dict(upper)


def unused_by(schedule: str) -> set[str]:
    """Returns the options that only other learning-rate schedules read."""
    everything = {name for names in SCHEDULES.values() for name in names}
    return everything.difference(SCHEDULES.get(schedule, ()))


def check(given: Mapping[str, Any], known: Catalog | None = None) -> None:
    """Checks names, types and limits, and which options belong together.

    Raises:
        UsageError: an option is unknown or unused, or a value is impossible.
    """
    options = (known or catalog.current()).options()
    for name in PATHS:
        check_local(given.get(name), f'--{name}=')
    for name in given:
        if name not in options:
            raise UsageError(
                f'Unknown option {name!r}.{nearest(name, options)}'
            )
    for name, (option, users) in options.items():
        if name in given and not users:
            option.checked(given[name])
    method = auto.method_of(given)
    METHODS.check(method)
    for name, (option, users) in options.items():
        if name in given and users:
            if method not in users:
                raise UsageError(
                    f'--{name} is not used by --method={method}, only by: '
                    f'{", ".join(users)}.'
                )
            option.checked(given[name])
    spec.parse(given.get('dataset', options['dataset'][0].default))
    if given.get('network_name'):
        NETWORKS.check(given['network_name'])
    for name in filter(None, given.get('log_to', '').split(',')):
        LOGGERS.check(name)
    _check_name(given.get('run_name', ''))
    _check_together(given)


def _check_together(given: Mapping[str, Any]) -> None:
    """Raises UsageError where one option excludes another one."""
    if all(given.get(name) for name in LENGTHS):
        raise UsageError(
            'Give --max_epoch or --max_iteration, not both: each sets the '
            'length of the training.'
        )
    if given.get('eval_freq') and 'eval_every' in given:
        raise UsageError(
            'Give --eval_freq or --eval_every, not both: each sets how often '
            'the networks are evaluated.'
        )


def _check_name(name: str) -> None:
    """Raises UsageError if a run folder cannot have a name."""
    is_part = name.strip() not in ('', '.', '..') and '/' not in name
    if name and not (is_part and name.isprintable()):
        raise UsageError(
            f'--run_name={name!r} must be the name of one folder; '
            '--checkpoint_path says where it lies.'
        )


def _unknown(flag: str, known: Catalog, further: Sequence[str]) -> UsageError:
    """Returns the mistake that a flag is unknown; see `parse_words`."""
    options = known.options()
    names = [*options, *SOURCES, *further]
    if flag.startswith('no'):
        names += [f'no{n}' for n, (o, _) in options.items() if o.type is bool]
    return UsageError(f'Unknown option --{flag}.{nearest(flag, names, "--")}')
