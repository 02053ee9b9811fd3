"""What `--help` and `--helpfull` print."""

import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence

from ieg.commandline.catalog import SOURCES, Catalog, Option
from ieg.data import hub
from ieg.data.noise.human import HUMAN_SETS
from ieg.data.spec import TFDS_PREFIX

WIDTH = 79
COMMANDS = {
    'audit': 'List the wrong labels of a folder, a .csv or an .npz file.',
    'train': 'Train a classifier and list the labels that are probably wrong.',
    'evaluate': 'Evaluate a checkpoint of a run.',
    'compare': 'Recommend one of several runs, without clean labels.',
    'report': 'Write the HTML report of a run, or apply its corrections.',
    'predict': 'Predict the classes of images with a trained model.',
    'doctor': 'Check your installation.',
}
# The options that --help shows; --helpfull shows all.
COMMON = (
    'dataset',
    'data_dir',
    'method',
    'network_name',
    'image_size',
    'train_examples',
    'valid_ratio',
    'probe_dataset_hold_ratio',
    'noise_seed',
    'max_epoch',
    'batch_size',
    'learning_rate',
    'seed',
    'precision',
    'num_replicas',
    'checkpoint_path',
    'run_name',
    'run',
    'mode',
    'config',
    'plugin',
    'track_memorization',
    'search',
    'export',
)
# Options of the run that evaluation ignores.
_NOT_IN_EVALUATION = {
    'keep_checkpoints',
    'eval_every',
    'eval_freq',
    'augment_on',
    'track_memorization',
    'memorization_step',
    'memorization_rate',
    'unlabeled_dir',
    'stop_on_memorization',
    'export',
}


_HELP = {'--help', '-help', '-h', '--helpshort', '-helpshort'}
_HELP_FULL = {'--helpfull', '-helpfull'}


def asked(
    argv: Sequence[str], known: Catalog, show: Callable[[Catalog], str]
) -> str:
    """Returns the help that a command line asks for, '' if it does not.

    Args:
        argv: the name of the command, and its arguments.
        known: the options.
        show: makes the text for `--help`.
    """
    given = set(argv[1:])
    if given & _HELP_FULL:
        return full(known)
    return show(known) if given & _HELP else ''


def overview(known: Catalog) -> str:
    """Returns the commands, the common options and the names."""
    options = {name: option for name, (option, _) in known.options().items()}
    entries = [
        (f'--{n}={options[n].default}', options[n].help)
        if n in options
        else (f'--{n}=', SOURCES[n])
        for n in COMMON
    ]
    return _join(
        [
            'Usage: ieg audit PATH [--OPTION=VALUE ...]\n'
            '       ieg COMMAND [--OPTION=VALUE ...]\n'
            '       ieg --dataset=DATASET --method=METHOD [--OPTION=VALUE ...]',
            'Trains image classifiers on data with wrong labels, and finds '
            'the wrong labels. Without a command, --mode chooses between '
            'train and evaluate.',
            'Commands:\n' + _columns(COMMANDS.items()),
            'Common options of train and evaluate, with their defaults:\n'
            + _columns((flag, _summary(text)) for flag, text in entries),
            _names(known),
            _DEFAULTS,
            '`ieg COMMAND --help` describes a command, `ieg --helpfull` all '
            'options.',
        ]
    )


_DEFAULTS = (
    'Methods change some defaults for some data sets; a run prints all values '
    'that it uses.'
)


def full(known: Catalog) -> str:
    """Returns all options, by group."""
    return _join(
        [
            'Usage: ieg --dataset=DATASET --method=METHOD [--OPTION=VALUE ...]',
            _names(known),
            _DEFAULTS,
            *_groups(known),
        ]
    )


def training(known: Catalog) -> str:
    """Returns the options of `ieg train`."""
    return _join(
        [
            'Usage: ieg train --dataset=DATASET --method=METHOD '
            '[--OPTION=VALUE ...]',
            COMMANDS['train'] + ' Resumes a run that was interrupted.',
            _names(known),
            _DEFAULTS,
            *_groups(known, left_out={'mode'}),
        ]
    )


# Those of `ieg train` that `ieg audit --help` shows.
_AUDITING = (
    'run_name',
    'backbone',
    'cache_dir',
    'network_name',
    'image_size',
    'max_epoch',
    'probe_dir',
    'seed',
    'export',
)


def auditing(known: Catalog, budget: Option) -> str:
    """Returns the usage of `ieg audit`, which has one option of its own."""
    options = {name: option for name, (option, _) in known.options().items()}
    output = options['checkpoint_path']
    entries = [
        (f'--output={output.default}', output.help),
        (f'--{budget.name}={budget.default:g}', budget.help),
        ('--method=auto', 'Training method; auto chooses one.'),
        *(
            (f'--{name}={options[name].default}', options[name].help)
            for name in _AUDITING
        ),
    ]
    return _join(
        [
            'Usage: ieg audit PATH [--OPTION=VALUE ...]',
            'Finds labels that are probably wrong. PATH is a folder with one '
            'folder of images per class (in it, or in its folders train and '
            'test), a .csv, .npz or .parquet file, or hf:NAME, a data set of '
            'Hugging Face.',
            'Says what it will do and how long that takes, trains a '
            'classifier, and writes label_issues.csv, report.html and '
            'model.keras into a run folder. The same command resumes, or '
            'prints the result again.',
            'Options, with their defaults:\n'
            + '\n'.join(_described(flag, text) for flag, text in entries),
            'Takes all options of `ieg train`, too, but for those that name '
            'the data or the run: `ieg audit --helpfull`.',
        ]
    )


def evaluation(known: Catalog) -> str:
    """Returns the options of `ieg evaluate`."""
    return _join(
        [
            'Usage: ieg evaluate --run=RUN [--OPTION=VALUE ...]',
            COMMANDS['evaluate'] + ' Give its run folder, or the options of '
            'its training.',
            *_groups(known, left_out={'mode', *_NOT_IN_EVALUATION}),
        ]
    )


def _join(parts: Iterable[str]) -> str:
    """Returns paragraphs; those of one line are wrapped."""
    return '\n\n'.join(
        part if '\n' in part else textwrap.fill(part, WIDTH) for part in parts
    )


def _names(known: Catalog) -> str:
    """Returns the names to choose from."""
    datasets = [*known.names['data set'], *HUMAN_SETS]
    tables = {
        'Methods': known.names['method'],
        'Networks': known.names['network'],
        'Data sets': [
            *sorted(datasets),
            f'{TFDS_PREFIX}NAME',
            f'{hub.PREFIX}NAME',
        ],
        'Kinds of noise': known.names['kind of noise'],
    }
    return '\n'.join(
        textwrap.fill(
            f'{title}: {", ".join(names)}',
            WIDTH,
            subsequent_indent='  ',
            break_on_hyphens=False,
        )
        for title, names in tables.items()
    )


def _groups(known: Catalog, left_out: Collection[str] = ()) -> list[str]:
    """Returns a paragraph for each group of options."""
    groups = {
        **known.shared,
        **{f'Options of --method={n}': o for n, o in known.methods.items()},
    }
    parts = [
        '\n'.join(
            [
                f'{title}:',
                *(_entry(o) for o in options if o.name not in left_out),
            ]
        )
        for title, options in groups.items()
        if options
    ]
    sources = [_described(f'--{n}=', text) for n, text in SOURCES.items()]
    return [*parts, '\n'.join(['Where options come from:', *sources])]


def _entry(option: Option) -> str:
    text = option.help
    if option.choices:
        text += f' One of: {option.shown_choices()}.'
    return _described(f'--{option.name}={option.default}', text)


def _described(flag: str, text: str) -> str:
    indent = ' ' * 6
    wrapped = textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent
    )
    return f'  {flag}\n{wrapped}'


def _columns(rows: Iterable[tuple[str, str]]) -> str:
    """Returns one line for each row, with texts below each other."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return '\n'.join(f'  {name:<{width}}  {text}' for name, text in rows)


def _summary(text: str) -> str:
    """Returns the first sentence."""
    return text.partition('. ')[0].removesuffix('.')
