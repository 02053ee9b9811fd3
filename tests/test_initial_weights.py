"""--initial_weights starts a run from the weights of another one."""

import shutil

import numpy as np
import pytest

from ieg import config as ieg_config
from ieg import experiment
from ieg.errors import UsageError
from ieg.predict import model as predict_model
from ieg.training import devices


def resolve(folder, **given):
    return ieg_config.resolve(
        {
            'dataset': 'fake_uniform_0.4',
            'method': 'supervised',
            'max_epoch': 1,
            'steps_per_epoch': 2,
            'checkpoint_path': str(folder),
        }
        | given
    )


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The model.keras of a finished run."""
    folder = tmp_path_factory.mktemp('finished')
    summary = experiment.train(resolve(folder), progress=False)
    return folder / summary['folder'] / 'model.keras'


def build(config):
    with devices.restoring():
        return experiment.build(config)


def test_every_network_starts_from_the_weights(finished, tmp_path):
    given = {'method': 'coteaching', 'initial_weights': str(finished.parent)}
    built = build(resolve(tmp_path, **given))
    (network,) = predict_model.load(str(finished)).networks
    for start in built.trainer.method.nets:
        pairs = zip(start.get_weights(), network.get_weights(), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)


def test_another_network_is_refused(finished, tmp_path):
    given = {
        'network_name': 'preact_resnet18',
        'initial_weights': str(finished),
    }
    with pytest.raises(UsageError) as caught:
        build(resolve(tmp_path, **given))
    for word in (str(finished), '--initial_weights', '--network_name=preact'):
        assert word in str(caught.value)


def test_a_run_has_the_weights_that_it_was_started_with(finished, tmp_path):
    moved = shutil.copy(finished, str(tmp_path))
    experiment.train(resolve(tmp_path, initial_weights=moved), progress=False)
    # The same weights in another place, and none at all.
    build(resolve(tmp_path, initial_weights=str(finished)))
    with pytest.raises(UsageError, match='initial_weights'):
        build(resolve(tmp_path))
    # All weights are in the checkpoint.
    (tmp_path / 'model.keras').unlink()
    config = resolve(tmp_path, initial_weights=moved, mode='evaluation')
    assert 'test_accuracy' in experiment.evaluate(config)


def test_weights_that_are_missing_are_a_mistake(tmp_path):
    with pytest.raises(UsageError, match='nowhere'):
        build(resolve(tmp_path, initial_weights='nowhere'))
