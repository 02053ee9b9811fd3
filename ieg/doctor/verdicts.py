"""Conclusions from the facts about a machine: ok, a warning or a problem."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ieg.doctor.facts import BLACKWELL, OPTIONAL, PACKAGES, numbers, runs_on
from ieg.doctor.self_test import SECONDS

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


class Check(NamedTuple):
    """A state (OK, WARNING, PROBLEM), its subject, the result, what to do."""

    state: str
    title: str
    text: str
    advice: str = ''


def examine(facts: Facts) -> list[Check]:
    """Returns diagnostic messages for `facts.gather` and `self_test.run`."""
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
