"""Facts about this machine that need no TensorFlow."""

import contextlib
import ctypes
import glob
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
from collections.abc import Sequence
from typing import Any

import ieg

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


def gather(data_dir: str = '') -> dict[str, Any]:
    """Returns all facts; `data_dir` is where data sets are, '' as usual."""
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
