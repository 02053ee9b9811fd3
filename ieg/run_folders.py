"""Where runs are kept."""

import csv
import io
import os
import tempfile
from collections.abc import Sequence

from ieg.config import Config
from ieg.data.spec import OWN
from ieg.errors import UsageError
from ieg.training.runlog import write_atomically


def run_folder(config: Config) -> str:
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


def make_folder(folder: str) -> None:
    """Makes a run folder.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f'The run folder {folder} cannot be written ({error.strerror}); '
            'choose another --checkpoint_path.'
        ) from error


def write_skipped(folder: str, skipped: Sequence[tuple[str, str]]) -> None:
    """Writes `skipped.csv`, if any file was no image.

    Args:
        folder: of the run.
        skipped: path and reason of each file.
    """
    if not skipped:
        return
    table = io.StringIO()
    csv.writer(table).writerows([('path', 'reason'), *skipped])
    write_atomically(os.path.join(folder, 'skipped.csv'), table.getvalue())
