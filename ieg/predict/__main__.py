"""The command: `ieg predict` or `python -m ieg.predict MODEL IMAGES...`.

Writes a table of predictions of an exported model.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ieg.data.images.survey import without_warnings
from ieg.errors import RunError, UsageError
from ieg.predict import inputs as predict_inputs
from ieg.predict.inputs import Group, Table
from ieg.utils import cli, tables
from ieg.utils.files import atomic_open
from ieg.utils.text import counted, shown

if TYPE_CHECKING:
    from ieg.predict.model import Classifier
    from ieg.predict.reading import Inputs

PROG = 'python -m ieg.predict'
# Maximum number of unreadable files in the message.
_NAMED = 5
# Examples that take long enough to be announced.
_MANY = 1000


def parse(argv: Sequence[str], prog: str = PROG) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is missing or unknown.
    """
    parser = cli.Parser(
        prog=prog,
        description='Predicts the classes of examples with the model of a '
        'finished run, as in its evaluation. Writes CSV with the columns '
        'path, label and probability.',
    )
    parser.add_argument(
        'model',
        type=cli.path,
        help='model.keras of a run, or the run folder.',
    )
    parser.add_argument(
        'images',
        nargs='+',
        type=cli.path,
        help='Image files, folders of them at any depth, or .npy and .npz '
        'files with uint8 images [N, H, W] or [N, H, W, channels]; for a model '
        'of vectors, .npy and .npz files with floating [N, d], or tables '
        '(.csv), which a model of texts or rows takes.',
    )
    parser.add_argument(
        '--output',
        type=cli.path,
        default='',
        help='Output file (default: standard output).',
    )
    parser.add_argument(
        '--top',
        type=cli.positive,
        default=1,
        help='Number of most probable classes to write, in the columns '
        'label_2, probability_2, ... (default: %(default)s).',
    )
    parser.add_argument(
        '--batch_size',
        type=cli.positive,
        default=64,
        help='Examples per batch (default: %(default)s).',
    )
    parser.add_argument(
        '--plugin',
        default='',
        help='Your modules with the layers of the network, separated by '
        'commas.',
    )
    return parser.parse_args(argv)


def run(asked: argparse.Namespace) -> None:
    """Runs the command.

    Args:
        asked: see `parse`.

    Raises:
        UsageError: the model or the images do not exist.
        RunError: no image can be read.
    """
    # Mistakes in the paths are reported before TensorFlow is imported.
    groups = predict_inputs.find(asked.images)
    cli.import_tensorflow()
    cli.import_plugins(asked.plugin)
    from ieg.predict import model as predict_model
    from ieg.predict import reading

    model = predict_model.load(asked.model)
    reading.check_takes_files(model)
    if asked.top > len(model.class_names):
        raise UsageError(
            f'--top={asked.top} must be at most the '
            f'{len(model.class_names)} classes of the model.'
        )
    problems: list[tuple[str, str]] = []
    found = [_checked(group, model) for group in groups]
    total = sum(map(len, found))
    with without_warnings(), _opened(asked.output) as file:
        if asked.output:
            file.write(_mark(asked.images, groups, model.class_names))
        file.write(tables.line(header(asked.top)))
        if total >= _MANY and not sys.stderr.isatty():
            print(
                f'Predicting {total:,} examples.', file=sys.stderr, flush=True
            )
        # A progress bar would mix with the lines of the table.
        quiet = file.isatty()
        with _bar(total, 'predicting', quiet) as bar:
            for inputs in _inputs(found, model, problems):
                for names, probabilities in reading.predictions(
                    model, inputs, asked.batch_size, problems
                ):
                    lines = rows(
                        names, probabilities, model.class_names, asked.top
                    )
                    file.writelines(map(tables.line, lines))
                    bar.update(len(names))
        if len(problems) == total:
            path, reason = problems[0]
            raise RunError(
                f'None of the {total} images can be read; {path}: {reason}.'
            )
    if problems:
        print(f'ieg: {_about(problems, total)}', file=sys.stderr)
    if asked.output:
        count = counted(total - len(problems), 'prediction')
        print(f'Wrote {count} to {shown(asked.output)}.', file=sys.stderr)


def _mark(
    arguments: Sequence[str],
    groups: Sequence[Group],
    class_names: Sequence[str],
) -> str:
    """Returns what the table begins with, see `tables.mark`."""
    names = [*arguments, *class_names]
    for group in groups:
        names += group if isinstance(group, list) else []
    return tables.mark(''.join(names))


def _checked(
    group: Group, model: 'Classifier'
) -> 'list[str] | predict_inputs.Array | Inputs':
    """Returns files or an array of images, or vectors as the model takes them.

    Raises:
        UsageError: the model takes others.
    """
    from ieg.predict import reading

    if model.fields is not None:
        return reading.of_fields(group, model)
    if model.takes_vectors:
        return reading.of_vectors(group, model)
    # For a model of images a table is a file that is no image.
    return [group.path] if isinstance(group, Table) else group


def _inputs(
    groups: 'Sequence[list[str] | predict_inputs.Array | Inputs]',
    model: 'Classifier',
    problems: list[tuple[str, str]],
) -> Iterator['Inputs']:
    """Yields the inputs of `reading.predictions`, in order."""
    from ieg.predict import reading

    for group in groups:
        if isinstance(group, reading.Inputs):
            yield group
            continue
        if isinstance(group, predict_inputs.Array):
            yield reading.of_array(group, model)
            continue
        with _bar(len(group), 'opening files') as bar:
            files, bad = reading.look_at(group, model, bar.update)
        problems += bad
        yield files


def _bar(total: int, title: str, quiet: bool = False) -> tqdm:
    """Returns a progress bar, disabled if standard error is not a terminal."""
    return tqdm(
        total=total,
        desc=title,
        unit=' examples',
        file=sys.stderr,
        disable=quiet or None,
        dynamic_ncols=True,
        leave=False,
    )


def _about(problems: Sequence[tuple[str, str]], total: int) -> str:
    """Returns a sentence about unreadable files."""
    named = '; '.join(f'{path} {why}' for path, why in problems[:_NAMED])
    more = '; ...' if len(problems) > _NAMED else ''
    return (
        f'Skipped {len(problems)} of {total} images that cannot be read: '
        f'{named}{more}.'
    )


def header(top: int) -> list[str]:
    """Returns the names of the columns."""
    names = ['path', 'label', 'probability']
    for place in range(2, top + 1):
        names += [f'label_{place}', f'probability_{place}']
    return names


def rows(
    names: Sequence[str],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    top: int,
) -> list[list[str]]:
    """Returns one row of the table per image.

    Args:
        names: names of b images.
        probabilities: `[b, C]`.
        class_names: C names.
        top: number of classes per image.
    """
    # The first one of a tie, as in argmax.
    order = np.argsort(-probabilities, axis=1, kind='stable')[:, :top]
    lines = []
    for name, own, best in zip(names, probabilities, order, strict=True):
        line = [name]
        for place in best:
            line += [class_names[place], f'{own[place]:.7g}']
        lines.append(line)
    return lines


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    """Yields the output file, which gets its name when it is complete.

    Raises:
        UsageError: it cannot be written.
    """
    if not path:
        # Names of files and classes need it, whatever the terminal's encoding.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding='utf-8', errors='backslashreplace')
        yield sys.stdout
        return
    path = os.path.expanduser(path)
    try:
        with atomic_open(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f'--output={path} cannot be written ({error.strerror}): choose '
            'another file.'
        ) from error


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(
        lambda: run(parse(sys.argv[1:] if argv is None else argv, prog))
    )


if __name__ == '__main__':
    sys.exit(main())
