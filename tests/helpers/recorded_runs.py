"""Runs of which 0.1.0 left folders in `tests/golden/run_folders`.

They are recorded with the code that is there by

    PYTHONPATH=.:tests/helpers python tests/helpers/recorded_runs.py

This is each once interrupted after two of four epochs and evaluated
there, and, without checkpoints and pages, at its end. The recorded ones show
that newer code reads what older code wrote, so they are not recorded again;
a release may add its own.
"""

import os
import pathlib
import shutil
import tempfile

from paths import GOLDEN

RECORDED = GOLDEN / 'run_folders'
SHARED = (
    '--dataset=fake_uniform_0.4',
    '--max_epoch=4',
    '--batch_size=16',
    '--seed=3',
    '--valid_ratio=0.1',
    '--precision=float32',
    '--keep_checkpoints=1',
)
COMMANDS = {
    'supervised': ('--method=supervised', '--network_name=cnn', '--use_ema'),
    'dividemix': ('--method=dividemix', '--network_name=tiny', '--warm_up=1'),
    'coteaching': (
        '--method=coteaching',
        '--network_name=tiny',
        '--learning_rate=0.01',
    ),
}
INTERRUPTED_AFTER = 2
LEFT_OUT = ('checkpoints', 'tensorboard', 'report.html')


def command(method):
    """Returns the arguments of a recorded run."""
    return [*SHARED, *COMMANDS[method]]


def folder(method):
    """Returns where a run is kept, below the current directory."""
    network = COMMANDS[method][1].partition('=')[2]
    return pathlib.Path('runs/fake_uniform_0.4') / f'{method}_{network}_s3'


def unpack(method, state):
    """Puts the folder of a run where its command looks for it.

    Args:
        method: of the run.
        state: 'interrupted' or 'finished'.
    """
    with tempfile.TemporaryDirectory() as all_states:
        shutil.unpack_archive(RECORDED / f'{method}.zip', all_states)
        shutil.rmtree(folder(method), ignore_errors=True)
        shutil.copytree(pathlib.Path(all_states) / state, folder(method))
    return folder(method)


def record(method):
    import conftest  # noqa: F401  # Devices and threads of the tests.
    import keras
    import published_lines
    import small_network

    from ieg import experiment
    from ieg.registry import NETWORKS

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch + 1 == INTERRUPTED_AFTER:
                raise KeyboardInterrupt

    NETWORKS._entries['tiny'] = small_network.build
    config = published_lines.resolve(' '.join(command(method)))
    states = pathlib.Path(f'states_{method}')
    try:
        experiment.train(config, [Interrupt()], progress=False)
    except KeyboardInterrupt:
        experiment.evaluate(config)
    skip = shutil.ignore_patterns('tensorboard')
    shutil.copytree(folder(method), states / 'interrupted', ignore=skip)
    experiment.train(config, progress=False)
    skip = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(folder(method), states / 'finished', ignore=skip)
    shutil.make_archive(str(RECORDED / method), 'zip', states)


if __name__ == '__main__':
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for name in COMMANDS:
            record(name)
