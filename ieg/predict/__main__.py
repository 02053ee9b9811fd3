"""The command: `python -m ieg.predict MODEL IMAGES...`.

What an exported model says of images, as a table.
"""

import argparse
import contextlib
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from ieg.errors import RunError, UsageError
from ieg.predict import inputs as predict_inputs
from ieg.utils import cli
from ieg.utils.files import atomic_open

# Files that are no images are named up to this number.
_NAMED = 5


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is missing or unknown.
    """
    parser = cli.Parser(
        prog='python -m ieg.predict',
        description='Predicts the classes of images with the model of a '
        'finished run: the predictions of its evaluation. Writes CSV with '
        'the columns path, label and probability.',
    )
    parser.add_argument(
        'model', help='model.keras of a run, or the run folder.'
    )
    parser.add_argument(
        'images',
        nargs='+',
        help='Image files, folders of them at any depth, or .npy and .npz '
        'files with uint8 images [N, H, W] or [N, H, W, channels].',
    )
    parser.add_argument(
        '--output',
        default='',
        help='File to write instead of standard output.',
    )
    parser.add_argument(
        '--top',
        type=cli.positive,
        default=1,
        help='How many of the most probable classes are written, in the '
        'columns label_2, probability_2, ... (default: %(default)s).',
    )
    parser.add_argument(
        '--batch_size',
        type=cli.positive,
        default=64,
        help='Images at a time (default: %(default)s).',
    )
    parser.add_argument(
        '--plugin',
        default='',
        help='Module of yours with the layers of the network; several are '
        'separated by commas.',
    )
    return parser.parse_args(argv)


def run(asked: argparse.Namespace) -> None:
    """Predicts what was asked for.

    Args:
        asked: see `parse`.

    Raises:
        UsageError: there is no such model, or there are no such images.
        RunError: not one image can be read.
    """
    # What is wrong with the images is known before TensorFlow is there.
    groups = predict_inputs.find(asked.images)
    cli.import_tensorflow()
    cli.import_plugins(asked.plugin)
    from ieg.predict import model as predict_model
    from ieg.predict import reading

    model = predict_model.load(asked.model)
    reading.check_takes_files(model)
    if asked.top > len(model.class_names):
        raise UsageError(
            f'--top={asked.top} is more than the {len(model.class_names)} '
            'classes that the model knows.'
        )
    problems: list[tuple[str, str]] = []
    total = sum(map(len, groups))
    with _opened(asked.output) as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(header(asked.top))
        # Lines and bars would get into each other's way.
        quiet = file.isatty()
        with _bar(total, 'predicting', quiet) as bar:
            for inputs in _inputs(groups, model, problems, quiet):
                for names, found in reading.predictions(
                    model, inputs, asked.batch_size, problems
                ):
                    table.writerows(
                        rows(names, found, model.class_names, asked.top)
                    )
                    bar.update(len(names))
        if len(problems) == total:
            path, reason = problems[0]
            raise RunError(
                f'Not one of {total} images can be read; {path}: {reason}.'
            )
    if problems:
        print(f'ieg: {_about(problems, total)}', file=sys.stderr)


def _inputs(
    groups: Sequence[list[str] | predict_inputs.Array],
    model: Any,
    problems: list[tuple[str, str]],
    quiet: bool,
) -> Iterator[Any]:
    """Yields what `reading.predictions` takes, in order."""
    from ieg.predict import reading

    for group in groups:
        if isinstance(group, predict_inputs.Array):
            yield reading.of_array(group, model)
            continue
        with _bar(len(group), 'opening files', quiet) as bar:
            files, bad = reading.look_at(group, model, bar.update)
        problems += bad
        yield files


def _bar(total: int, title: str, quiet: bool) -> tqdm:
    """Returns a progress bar; there is none where nobody watches it."""
    return tqdm(
        total=total,
        desc=title,
        unit=' images',
        file=sys.stderr,
        disable=quiet or None,
        dynamic_ncols=True,
        leave=False,
    )


def _about(problems: Sequence[tuple[str, str]], total: int) -> str:
    """Returns a sentence about files that are no images."""
    named = '; '.join(f'{path} {why}' for path, why in problems[:_NAMED])
    more = '; ...' if len(problems) > _NAMED else ''
    return (
        f'{len(problems)} of {total} images are left out, because they cannot '
        f'be read: {named}{more}.'
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
    """Returns the lines of images.

    Args:
        names: of the images, b.
        probabilities: `[b, C]`.
        class_names: C.
        top: how many classes of each.
    """
    # The first of equals, as argmax has it.
    order = np.argsort(-probabilities, axis=1, kind='stable')[:, :top]
    found = []
    for name, own, best in zip(names, probabilities, order, strict=True):
        line = [name]
        for place in best:
            line += [class_names[place], f'{own[place]:.7g}']
        found.append(line)
    return found


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """Gives the file to write to, which is in its place when it is whole.

    Raises:
        UsageError: it cannot be written.
    """
    if not path:
        # The names of files and classes, whatever the terminal is set to.
        if hasattr(sys.stdout, 'reconfigure'):
            sys.stdout.reconfigure(encoding='utf-8')
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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(lambda: run(parse(sys.argv[1:] if argv is None else argv)))


if __name__ == '__main__':
    sys.exit(main())
