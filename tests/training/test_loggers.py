"""Loggers get each epoch once, whatever happens to them or to the run."""

import command
import pytest

from ieg import config as ieg_config
from ieg import experiment
from ieg.errors import UsageError
from ieg.registry import LOGGERS
from ieg.training import loggers

OPTIONS = {
    'dataset': 'fake_uniform_0.4',
    'method': 'supervised',
    'steps_per_epoch': 2,
    'precision': 'float32',
}


class Recorder:
    """A logger in memory, which can fail."""

    package = 'json'
    sent: list = []
    finished: list = []
    fails_at: object = None

    def __init__(self, folder, options):
        if self.fails_at == 'start':
            raise OSError('no server')
        assert options['method'] == 'supervised'
        self.epochs = {entry['epoch'] for entry in self.sent}

    def log(self, entry):
        if entry['epoch'] == self.fails_at:
            raise OSError('the server is gone')
        self.sent.append(entry)

    def finish(self, summary):
        self.finished.append(summary['epochs'])


@pytest.fixture
def recorder(monkeypatch):
    for name in ('sent', 'finished'):
        monkeypatch.setattr(Recorder, name, [])
    monkeypatch.setitem(LOGGERS._entries, 'recorder', Recorder)
    return Recorder


def train(folder, epochs):
    given = {'max_epoch': epochs, 'checkpoint_path': str(folder)}
    config, opened = experiment.configure(
        OPTIONS | given | {'log_to': 'recorder'}
    )
    return experiment.train(config, progress=False, opened=opened)


def test_each_epoch_is_sent_once(recorder, tmp_path):
    summary = train(tmp_path, 2)
    assert [entry['epoch'] for entry in recorder.sent] == [0, 1]
    # What a killed run did not send comes later.
    del recorder.sent[1:]
    train(tmp_path, 3)
    assert [entry['epoch'] for entry in recorder.sent] == [0, 1, 2]
    assert recorder.finished == [2, 3]
    assert 'log_to' not in ieg_config.resolve(OPTIONS).identity(1)
    assert summary['epochs'] == 2


def test_a_logger_that_fails_does_not_end_the_run(
    recorder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(recorder, 'fails_at', 1)
    assert train(tmp_path, 3)['epochs'] == 3
    assert [entry['epoch'] for entry in recorder.sent] == [0]
    assert recorder.finished == []
    (line,) = capsys.readouterr().err.splitlines()
    assert '--log_to=recorder' in line and 'the server is gone' in line


def test_a_logger_that_cannot_begin_is_a_mistake(
    recorder, tmp_path, monkeypatch
):
    monkeypatch.setattr(recorder, 'fails_at', 'start')
    with pytest.raises(UsageError, match='--log_to=recorder.*no server'):
        train(tmp_path, 3)
    assert not [*tmp_path.glob('*/*')]


def test_a_package_that_is_missing_is_one_sentence(
    recorder, tmp_path, monkeypatch
):
    monkeypatch.setattr(recorder, 'package', 'not_installed')
    with pytest.raises(UsageError, match='pip install not_installed'):
        train(tmp_path, 1)
    assert not [*tmp_path.iterdir()]


def test_an_unknown_logger_is_a_mistake():
    result = command.ieg('train', '--dataset=digits', '--log_to=mlflo')
    command.assert_mistake(result, "'mlflo'", "'mlflow'")


@pytest.mark.extras
# MLflow and its packages use what is deprecated elsewhere.
@pytest.mark.filterwarnings('ignore')
def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow')
    monkeypatch.setenv('MLFLOW_DISABLE_TELEMETRY', 'true')
    monkeypatch.setenv('MLFLOW_EXPERIMENT_NAME', 'noisy')
    store = f'sqlite:///{tmp_path}/store.db'
    monkeypatch.setenv('MLFLOW_TRACKING_URI', store)
    for epochs in (1, 3):
        code, _, err = command.ieg(
            'train',
            '--log_to=mlflow',
            f'--max_epoch={epochs}',
            f'--checkpoint_path={tmp_path}',
            *(f'--{name}={value}' for name, value in OPTIONS.items()),
        )
        assert code == 0, err
    (folder,) = tmp_path.glob('*/supervised_*')
    client = mlflow.MlflowClient()
    place = client.get_experiment_by_name('noisy').experiment_id
    (run,) = client.search_runs([place])
    assert run.info.status == 'FINISHED'
    assert run.data.params['dataset'] == 'fake_uniform_0.4'
    history = client.get_metric_history(run.info.run_id, 'loss')
    found = {metric.step: metric.value for metric in history}
    assert found == {e['epoch']: e['loss'] for e in command.log(folder)}
    assert len(history) == 3
    assert run.data.metrics['summary.epochs'] == 3
    assert 'label_issues.count' in run.data.metrics
    assert loggers.MLflow(str(folder), {}).epochs == {0, 1, 2}
