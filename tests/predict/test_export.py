"""Exported networks: the numbers of evaluation, without the run folder."""

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from exported import lite, said
from loading import load as load_data
from paths import ROOT
from tiny_sets import make_folder

from ieg import config as ieg_config
from ieg import experiment
from ieg.data.images.files import Framing
from ieg.errors import UsageError
from ieg.options import RunConfig
from ieg.predict import model as export
from ieg.predict.model import load
from ieg.training.devices import restoring

pytestmark = pytest.mark.usefixtures('tiny')
SMALL = {
    'dataset': 'fake_uniform_0.4',
    'network_name': 'tiny',
    'max_epoch': 1,
    'batch_size': 32,
}


@restoring()
def trained(path, strategy=None, **options):
    """Returns an experiment with weights as if it had been trained."""
    chosen = ieg_config.resolve(
        SMALL | {'checkpoint_path': str(path)} | options
    )
    built = experiment.build(chosen, strategy=strategy)
    os.makedirs(built.folder, exist_ok=True)
    rng = np.random.default_rng(0)
    for net in built.trainer.method.evaluated_networks:
        for variable in net.variables:
            shift = rng.uniform(0.0, 0.5, variable.shape)
            variable.assign(variable.numpy() + shift)
    return built


def evaluation(built):
    """Returns the probabilities of the test images in evaluation."""
    logits = built.trainer.score('logits_step', split='test')['logits']
    return tf.nn.softmax(logits.sum(axis=1)).numpy()


@pytest.fixture(scope='module')
def two_networks(tmp_path_factory):
    """A run of two networks, exported in all forms."""
    built = trained(tmp_path_factory.mktemp('runs'), method='coteaching')
    kinds = ('savedmodel', 'litert')
    data, method = built.data, built.trainer.method
    assert export.write(method, data, built.folder, kinds) == []
    return built, pathlib.Path(built.folder)


def test_a_model_says_what_evaluation_said(two_networks):
    built, folder = two_networks
    model = load(str(folder))
    found = said(model, built.data.test.images)
    np.testing.assert_allclose(found, evaluation(built), atol=1e-6)
    assert found.dtype == np.float32
    right = found.argmax(axis=1) == built.data.test.labels
    assert right.mean() == built.trainer.evaluate('test')['test_accuracy']
    assert not np.allclose(found, 0.25, atol=0.01)


def test_a_model_knows_its_classes_and_images(two_networks):
    model = load(str(two_networks[1] / 'model.keras'))
    assert model.class_names == ('red', 'green', 'blue', 'yellow')
    assert model.dataset == 'fake_uniform_0.4'
    assert model.image_shape == (8, 8, 3)
    assert model.framing is None and len(model.networks) == 2


def test_plain_tensorflow_reads_a_savedmodel(two_networks):
    built, folder = two_networks
    images = built.data.test.images
    plain = tf.saved_model.load(str(folder / 'savedmodel'))
    for count in (1, 100):
        found = plain.serve(images[:count]).numpy()
        np.testing.assert_allclose(
            found, said(load(str(folder)), images[:count]), atol=1e-6
        )


def test_exports_name_the_classes(two_networks):
    _, folder = two_networks
    expected = 'red\ngreen\nblue\nyellow\n'
    file = folder / 'savedmodel' / 'assets.extra' / 'labels.txt'
    assert file.read_text() == expected
    with zipfile.ZipFile(folder / 'model.tflite') as archive:
        assert archive.read('labels.txt').decode() == expected


def test_litert_gives_the_same(two_networks):
    built, folder = two_networks
    images = built.data.test.images[:50]
    found = lite(folder / 'model.tflite', images)
    expected = said(load(str(folder)), images)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.extras
def test_litert_runs_without_tensorflow(two_networks, tmp_path):
    pytest.importorskip('ai_edge_litert')
    built, folder = two_networks
    images = built.data.test.images[:50]
    np.save(tmp_path / 'images.npy', images)
    code = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model, folder = sys.argv[1:]
images = np.load(f'{folder}/images.npy')
reader = Interpreter(model)
(entry,), (exit_,) = reader.get_input_details(), reader.get_output_details()
reader.resize_tensor_input(entry['index'], images.shape)
reader.allocate_tensors()
reader.set_tensor(entry['index'], images)
reader.invoke()
np.save(f'{folder}/probabilities.npy', reader.get_tensor(exit_['index']))
assert not {'ieg', 'keras', 'tensorflow'} & set(sys.modules)
"""
    command = [sys.executable, '-c', code, folder / 'model.tflite', tmp_path]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / 'probabilities.npy')
    expected = lite(folder / 'model.tflite', images)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nothing_is_left_beside_the_files(two_networks):
    names = {path.name for path in two_networks[1].iterdir()}
    assert {'model.keras', 'savedmodel', 'model.tflite'} <= names
    assert not [name for name in names if 'tmp' in name]


def test_weights_of_two_replicas_and_their_average(tmp_path, strategy):
    built = trained(tmp_path, strategy, method='supervised', use_ema=True)
    (net,) = built.trainer.method.evaluated_networks
    assert net is not built.trainer.method.nets[0]
    path = str(tmp_path / 'other.keras')
    export.save_model(built.trainer.method, built.data, path)
    found = said(load(path), built.data.test.images)
    np.testing.assert_allclose(found, evaluation(built), atol=1e-6)


def test_framing_of_images_that_stay_in_files(tmp_path):
    make_folder(str(tmp_path), per_class=4)
    data = load_data('folder', data_dir=str(tmp_path), image_size=72)
    framing = data.preprocessing.framing
    assert (framing.size, framing.channels) == (72, 3)
    assert framing.fraction < 1


def test_framing_of_images_in_memory(tmp_path):
    make_folder(str(tmp_path), per_class=4)
    data = load_data('folder', data_dir=str(tmp_path), image_size=48)
    assert data.in_memory
    assert data.preprocessing.framing == Framing(48, 3, fraction=1.0)
    assert load_data('fake').preprocessing.framing is None


class Unknown(keras.Model):
    """A network that cannot say how it was made."""

    def __init__(self, net):
        super().__init__()
        self._net = net

    def call(self, images, training=False):
        return self._net(images, training=training)

    def get_config(self):
        raise NotImplementedError('it has no config\nmore')


def test_what_cannot_be_saved_is_said(two_networks, tmp_path, monkeypatch):
    built, _ = two_networks
    method = built.trainer.method
    kind = type(method)
    monkeypatch.setattr(
        kind, 'evaluated_networks', property(lambda m: [Unknown(m.nets[0])])
    )
    (tmp_path / 'model.keras').write_text('of other weights')
    remarks = export.write(method, built.data, str(tmp_path), ('litert',))
    assert len(remarks) == 2
    assert 'model.keras cannot be written (it has no config)' in remarks[0]
    assert 'model.tflite is not written' in remarks[1]
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_gone_is_said(two_networks, tmp_path):
    built, _ = two_networks
    (remark,) = export.write(
        built.trainer.method, built.data, str(tmp_path / 'gone')
    )
    assert 'gone/model.keras cannot be written' in remark


def test_an_export_replaces_the_one_before(two_networks, tmp_path):
    model = load(str(two_networks[1]))
    folder = tmp_path / 'savedmodel'
    folder.mkdir()
    (folder / 'old').write_text('old')
    export.save_savedmodel(model, str(folder))
    assert not (folder / 'old').exists()
    assert os.listdir(tmp_path) == ['savedmodel']


@pytest.mark.parametrize(
    ('given', 'kinds'),
    [
        ('', ()),
        ('litert', ('litert',)),
        ('savedmodel,litert', ('savedmodel', 'litert')),
    ],
)
def test_what_is_asked_for(given, kinds):
    asked = ieg_config.resolve({'dataset': 'fake', 'export': given}).run
    assert export.kinds(asked) == kinds
    assert set(kinds) <= set(export.KINDS)
    assert RunConfig().export == ''


def test_another_form_is_refused():
    with pytest.raises(UsageError, match='--export .*onnx'):
        ieg_config.resolve({'dataset': 'fake', 'export': 'onnx'})


def foreign(path):
    images = keras.Input((4,))
    net = keras.Model(images, keras.layers.Dense(2)(images))
    with export._quiet():
        net.save(path)


def damaged(folder, path):
    """Writes the model without its weights."""
    with zipfile.ZipFile(folder / 'model.keras') as whole:
        content = whole.read('config.json')
    with zipfile.ZipFile(path, 'w') as part:
        part.writestr('config.json', content)


def of_unknown_layers(folder, path):
    """Writes a model whose network has a layer of nobody."""
    with zipfile.ZipFile(folder / 'model.keras') as whole:
        names = {name: whole.read(name) for name in whole.namelist()}
    text = names['config.json'].decode()
    assert 'ieg>FusedBatchNormalization' in text
    text = text.replace('FusedBatchNormalization', 'Another')
    names['config.json'] = text.replace('"ieg.networks.layers"', '"no"')
    with zipfile.ZipFile(path, 'w') as part:
        for name, content in names.items():
            part.writestr(name, content)


def test_whatever_is_no_model_is_refused(two_networks, tmp_path):
    _, folder = two_networks
    (tmp_path / 'text.keras').write_text('a text')
    (tmp_path / 'empty').mkdir()
    with zipfile.ZipFile(tmp_path / 'zip.keras', 'w') as archive:
        archive.writestr('readme', 'nothing')
    with zipfile.ZipFile(tmp_path / 'list.keras', 'w') as archive:
        archive.writestr('config.json', json.dumps([1]))
    foreign(tmp_path / 'foreign.keras')
    damaged(folder, tmp_path / 'damaged.keras')
    of_unknown_layers(folder, tmp_path / 'layers.keras')
    (tmp_path / 'model.bin').write_bytes((folder / 'model.keras').read_bytes())
    for path, words in (
        (tmp_path / 'text.keras', 'not a Keras model'),
        (tmp_path / 'zip.keras', 'not a Keras model'),
        (tmp_path / 'list.keras', 'not a Keras model'),
        (tmp_path / 'foreign.keras', 'of another program'),
        (tmp_path / 'damaged.keras', 'cannot be loaded'),
        (tmp_path / 'layers.keras', '--plugin'),
        (tmp_path / 'model.bin', 'must end in .keras'),
        (tmp_path / 'nowhere.keras', 'there is no model'),
        (tmp_path / 'empty', 'has no model.keras'),
        (folder / 'savedmodel', 'is a SavedModel'),
        (folder / 'model.tflite', 'is a LiteRT model'),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            load(str(path))
        assert path.name in str(caught.value)
        assert '\n' not in str(caught.value)


@pytest.mark.slow
def test_a_process_of_its_own_needs_no_run_folder(two_networks, tmp_path):
    built, folder = two_networks
    images = built.data.test.images
    np.save(tmp_path / 'images.npy', images)
    for name in ('model.keras', 'savedmodel'):
        os.rename(folder / name, tmp_path / name)
    script = (
        'import numpy as np\n'
        'import ieg.predict.model\n'
        'import keras\n'
        'model = keras.saving.load_model("model.keras")\n'
        'np.save("keras.npy", model(np.load("images.npy")))\n'
    )
    plain = (
        'import sys\n'
        'import numpy as np\n'
        'import tensorflow as tf\n'
        'model = tf.saved_model.load("savedmodel")\n'
        'np.save("plain.npy", model.serve(np.load("images.npy")))\n'
        'assert "ieg" not in sys.modules\n'
    )
    for code in (script, plain):
        subprocess.run(
            [sys.executable, '-c', code],
            cwd=tmp_path,
            env=os.environ | {'PYTHONPATH': str(ROOT)},
            check=True,
        )
    for name in ('model.keras', 'savedmodel'):
        os.rename(tmp_path / name, folder / name)
    for name in ('keras', 'plain'):
        found = np.load(tmp_path / f'{name}.npy')
        np.testing.assert_allclose(found, evaluation(built), atol=1e-6)
