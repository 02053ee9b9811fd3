"""What `--method=auto` chooses, and where it is the default."""

import json

import pytest
from command import ieg
from tiny_sets import make_folder

from ieg.commandline import auto
from ieg.config import check, resolve
from ieg.data.dataset import Advice
from ieg.errors import UsageError
from ieg.methods.supervised import Supervised

IMAGES = Advice({'network_name': 'cnn', 'max_epoch': 7}, 'Images.')
VECTORS = Advice({'network_name': 'linear', 'max_epoch': 5}, 'Vectors.', True)
OWN = [{'dataset': base, 'data_dir': 'x'} for base in ('folder', 'csv', 'npz')]


@pytest.mark.parametrize('given', OWN, ids=lambda given: given['dataset'])
def test_own_data_have_it_by_default(given):
    chosen = resolve(given, IMAGES)
    assert chosen.train.method == 'supervised'
    assert chosen.method.loss == 'cross_entropy'
    assert chosen.method_asked == 'auto'
    assert '--method=supervised, because' in chosen.advice
    assert chosen == resolve(given | {'method': 'auto'}, IMAGES)


def test_vectors_have_another_loss():
    chosen = resolve(OWN[2], VECTORS)
    assert chosen.method.loss == 'gce' and chosen.train.max_epoch == 5
    assert '--method=supervised --loss=gce, because' in chosen.advice
    given = OWN[2] | {'loss': 'cross_entropy', 'label_smoothing': 0.1}
    chosen = resolve(given, VECTORS)
    assert chosen.method.loss == 'cross_entropy'
    assert '--loss=gce' not in chosen.advice


def test_named_sets_keep_their_method():
    for dataset in ('digits', 'cifar10_uniform_0.2', 'tfds:beans'):
        assert auto.asked({'dataset': dataset}) == 'ieg'
    assert auto.asked({}) == 'ieg'
    chosen = resolve({'dataset': 'digits', 'method': 'auto'})
    assert chosen.train.method == 'supervised'
    usual = resolve({'dataset': 'digits', 'method': 'supervised'})
    assert chosen.flat() == usual.flat() and not usual.advice
    assert '--method=auto chose --method=supervised' in chosen.advice


def test_what_is_given_is_given(tiny):
    given = OWN[0] | {'method': 'coteaching'}
    assert resolve(given, IMAGES).method_asked == ''
    with pytest.raises(UsageError, match='--lambda_u .*dividemix'):
        resolve(OWN[0] | {'lambda_u': '25'}, IMAGES)


def test_options_of_either_loss_pass_before_the_data_are_known():
    for option in ({'gce_q': 0.5}, {'label_smoothing': 0.1}):
        check(OWN[2] | option)
    with pytest.raises(UsageError, match='--gce_q'):
        resolve(OWN[2] | {'gce_q': 0.5}, IMAGES)
    assert resolve(OWN[2] | {'gce_q': 0.5}, VECTORS).method.gce_q == 0.5


def test_a_run_is_called_by_the_method_and_records_the_choice(tiny, tmp_path):
    data = str(tmp_path / 'photos')
    make_folder(data)
    options = ('--network_name=tiny', '--max_epoch=1', '--image_size=16')
    runs = f'--checkpoint_path={tmp_path / "runs"}'
    code, out, err = ieg(f'--data_dir={data}', runs, *options)
    assert code == 0, err
    assert '--method=auto chose --method=supervised' in ' '.join(out.split())
    (path,) = tmp_path.glob('runs/*/*/config.json')
    assert path.parent.name == 'supervised_tiny_s1'
    recorded = json.loads(path.read_text())
    assert (recorded['method'], recorded['method_asked']) == (
        Supervised.__name__.lower(),
        'auto',
    )
    # Whatever resumes it.
    for again in ((f'--run={path.parent}',), (f'--config={path}',)):
        code, out, err = ieg('train', *again)
        assert code == 0 and 'complete' in out, err
        assert json.loads(path.read_text()) == recorded
