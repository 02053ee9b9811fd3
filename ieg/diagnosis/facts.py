"""What the doctor looks at: a dictionary of facts about this machine."""

import ctypes
import glob
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import ieg

PACKAGES = (
    'tensorflow',
    'keras',
    'numpy',
    'tensorflow-datasets',
    'scikit-learn',
    'scipy',
    'pillow',
    'matplotlib',
    'tensorboard',
)
OPTIONAL = ('cleanlab', 'ai-edge-litert')
# CUDA libraries that TensorFlow opens, and their packages for pip.
LIBRARIES = {
    'libcudart.so.12': 'nvidia-cuda-runtime-cu12',
    'libcudnn.so.9': 'nvidia-cudnn-cu12',
    'libcublas.so.12': 'nvidia-cublas-cu12',
    'libcufft.so.11': 'nvidia-cufft-cu12',
    'libcusolver.so.11': 'nvidia-cusolver-cu12',
    'libcusparse.so.12': 'nvidia-cusparse-cu12',
}
# From this capability on GPUs need a TensorFlow that was built for them.
BLACKWELL = 10
SELF_TEST_SECONDS = 180


def gather(data_dir: str = '') -> dict[str, Any]:
    """Returns all facts but those of `measured`.

    Args:
        data_dir: where data sets are; '' for the usual place.
    """
    return {
        'python': platform.python_version(),
        'system': platform.system(),
        'machine': platform.machine(),
        'versions': {'ieg': ieg.__version__}
        | {name: version(name) for name in (*PACKAGES, *OPTIONAL)},
        'cpu': cpu(),
        'gpus': gpus(),
        'hidden': hidden_gpus(os.environ.get('CUDA_VISIBLE_DEVICES')),
        'libraries': {name: library(name) for name in LIBRARIES},
        'data': data_sets(data_dir),
    }


def version(package: str) -> str | None:
    """Returns the version of an installed package, None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu() -> dict[str, Any]:
    """Returns cores, memory in GiB and the flags of the processor."""
    usable = getattr(os, 'sched_getaffinity', None)
    found = {
        'cores': os.cpu_count(),
        'usable': len(usable(0)) if usable else os.cpu_count(),
        'model': platform.processor() or platform.machine(),
        'flags': [],
        'memory': None,
    }
    for line in _lines('/proc/cpuinfo'):
        name, _, value = line.partition(':')
        if name.strip() == 'model name':
            found['model'] = value.strip()
        if name.strip() in ('flags', 'Features'):
            found['flags'] = sorted(value.split())
    for line in _lines('/proc/meminfo'):
        if line.startswith('MemTotal'):
            found['memory'] = round(int(line.split()[1]) / 2**20, 1)
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().splitlines()
    except OSError:
        return []


def gpus() -> dict[str, Any]:
    """Returns what the NVIDIA driver says, without TensorFlow.

    Returns:
        `present`: whether there is a device of NVIDIA; `driver`: its version,
        None where the driver does not answer; `devices`: name, capability
        [major, minor] and memory in GiB of each.
    """
    found = {
        'present': bool(glob.glob('/dev/nvidia[0-9]*')),
        'driver': None,
        'devices': [],
    }
    fields = 'name,compute_cap,memory.total,driver_version'
    command = ['nvidia-smi', f'--query-gpu={fields}', '--format=csv,noheader']
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return found
    return found | parse_smi(answer.stdout if not answer.returncode else '')


def parse_smi(text: str) -> dict[str, Any]:
    """Returns what `nvidia-smi` says; nothing where that is no list."""
    devices, driver = [], None
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(',')]
        if len(fields) != 4:
            continue
        name, capability, memory, driver = fields
        major, _, minor = capability.partition('.')
        known = major.isdigit() and minor.isdigit()
        size = memory.split(' ')[0]
        devices.append(
            {
                'name': name,
                'capability': [int(major), int(minor)] if known else None,
                'memory': round(int(size) / 1024) if size.isdigit() else None,
            }
        )
    if not devices:
        return {}
    return {'present': True, 'driver': driver, 'devices': devices}


def hidden_gpus(visible: str | None) -> bool:
    """Returns whether CUDA_VISIBLE_DEVICES hides all GPUs."""
    return visible is not None and visible.strip() in ('', '-1', 'none')


def library(name: str) -> str | None:
    """Returns the version of a CUDA library, 'system' for one of no package.

    None stands for one that is not there.
    """
    packaged = version(LIBRARIES[name])
    if packaged:
        return packaged
    try:
        ctypes.CDLL(name)
    except OSError:
        return None
    return 'system'


def data_sets(data_dir: str = '') -> dict[str, Any]:
    """Returns which sets of TFDS are prepared, and where.

    Args:
        data_dir: '' for the folder that runs use without --data_dir.
    """
    folder = data_dir or os.environ.get('TFDS_DATA_DIR', '')
    folder = os.path.expanduser(folder or '~/tensorflow_datasets')
    sets = set()
    # name/version, or name/configuration/version.
    for depth in ('*/*', '*/*/*'):
        pattern = os.path.join(glob.escape(folder), depth, 'dataset_info.json')
        for path in glob.glob(pattern):
            inner = os.path.relpath(os.path.dirname(path), folder)
            sets.add(os.path.dirname(inner))
    return {
        'folder': folder,
        'exists': os.path.isdir(folder),
        'sets': sorted(sets),
    }


def measured() -> dict[str, Any]:
    """Returns what a process with TensorFlow finds out; see `measuring`.

    Returns:
        What the process told before it ended; `ended` is 0, its exit code,
        the negative number of a signal, or 'timeout'; `error` its last line.
    """
    environment = dict(os.environ)
    # It would wait for other workers.
    environment.pop('TF_CONFIG', None)
    process = subprocess.Popen(
        [sys.executable, '-m', 'ieg.diagnosis.measuring'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        out, err = process.communicate(timeout=SELF_TEST_SECONDS)
        ended: int | str = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        ended = 'timeout'
    facts: dict[str, Any] = {'ended': ended, 'error': last_line(err)}
    for line in out.splitlines():
        try:
            facts |= json.loads(line)
        # Whatever else prints.
        except (ValueError, TypeError):
            continue
    return facts


def last_line(text: str) -> str:
    """Returns the last line with anything in it, or its beginning."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ''


def runs_on(capability: Sequence[int] | None, kernels: Sequence[str]) -> bool:
    """Returns whether TensorFlow runs on a GPU, as far as that can be known.

    Args:
        capability: major and minor; None where it is not known.
        kernels: what TensorFlow was built for: 'sm_80' fits the GPUs of its
            major number from its minor one on, 'compute_90' is translated for
            later ones; but that of 9.0 is not for Blackwell (10.0, 12.0),
            whose drivers refuse what CUDA 12.5 makes.
    """
    if capability is None or not kernels:
        return True
    for kernel in kernels:
        found = re.fullmatch('(sm|compute)_([0-9]+)([0-9])[af]?', kernel)
        if not found:
            continue
        kind, major, minor = found[1], int(found[2]), int(found[3])
        if major == capability[0] and minor <= capability[1]:
            return True
        later = major < capability[0]
        if (
            kind == 'compute'
            and later
            and not major < BLACKWELL <= capability[0]
        ):
            return True
    return False
