"""What follows from the facts about a machine: ok, a warning or a problem."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ieg.diagnosis import facts as facts_

OK, WARNING, PROBLEM = 'ok', 'warning', 'problem'
# Python, and the versions that the package is for: from, to (exclusive).
VERSIONS = {
    'python': ((3, 10), (3, 14)),
    'tensorflow': ((2, 20), (2, 22)),
    'keras': ((3, 12), (4,)),
}
# The oldest driver of NVIDIA that runs CUDA 12.
_OLDEST_DRIVER = 525
_FAST_BFLOAT16 = ('avx512_bf16', 'amx_bf16')
_INSTALL_GPU = "pip install '.[gpu]' in the folder of the code"
_ON_CPU = 'CUDA_VISIBLE_DEVICES=-1 trains on the CPU'
Facts = Mapping[str, Any]


class Check(NamedTuple):
    """One line of the list.

    Attributes:
        state: OK, WARNING or PROBLEM.
        title: what was looked at.
        text: what was found.
        advice: what to do; '' where there is nothing.
    """

    state: str
    title: str
    text: str
    advice: str = ''


def examine(facts: Facts) -> list[Check]:
    """Returns what to say of facts.

    Args:
        facts: of `facts.gather` and `facts.measured`.
    """
    return [
        check
        for examination in (
            _versions,
            _cpu,
            _gpus,
            _libraries,
            _precision,
            _xla,
            _data,
            _optional,
            _self_test,
        )
        for check in examination(facts)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    """Returns (2, 21) of '2.21.0rc1'."""
    parts = [part for part in version.split('.')[:2] if part.isdigit()]
    return tuple(map(int, parts))


def _versions(facts: Facts) -> Iterator[Check]:
    found = {'python': facts['python'], **facts['versions']}
    missing = [name for name in facts_.PACKAGES if not found.get(name)]
    if missing:
        yield Check(
            PROBLEM,
            'packages',
            f'not installed: {", ".join(missing)}.',
            'Run pip install . in the folder of the code.',
        )
    for name, (lowest, beyond) in VERSIONS.items():
        if not found.get(name):
            continue
        if not lowest <= _numbers(found[name]) < beyond:
            limits = ['.'.join(map(str, limit)) for limit in (lowest, beyond)]
            yield Check(
                WARNING,
                'packages',
                f'{name} {found[name]} is not a version that ieg is tested '
                f'with.',
                f'Use one from {limits[0]} to below {limits[1]}.',
            )
    shown = ('ieg', 'python', 'tensorflow', 'keras', 'numpy')
    shown += ('tensorflow-datasets',)
    text = ', '.join(f'{n} {found[n]}' for n in shown if found.get(n))
    yield Check(OK, 'versions', text + '.')
    if facts['system'] != 'Linux':
        yield Check(
            WARNING,
            'system',
            f'{facts["system"]}: ieg is tested on Linux only.',
            'On Windows use WSL 2.',
        )


def _cpu(facts: Facts) -> Iterator[Check]:
    cpu = facts['cpu']
    memory = f', {cpu["memory"]} GiB of memory' if cpu['memory'] else ''
    text = f'{cpu["model"]}, {cpu["cores"]} cores{memory}.'
    if cpu['usable'] != cpu['cores']:
        text += f' This process may use {cpu["usable"]} of them.'
    yield Check(OK, 'CPU', text)
    if cpu['flags'] and facts['machine'] == 'x86_64':
        if 'avx' not in cpu['flags']:
            yield Check(
                PROBLEM,
                'CPU',
                'it has no AVX, without which TensorFlow does not start.',
                'Use another machine.',
            )


def _name(device: Mapping[str, Any]) -> str:
    """Returns a GPU in words."""
    capability, memory = device.get('capability'), device.get('memory')
    text = device['name']
    if capability:
        text += f', compute capability {capability[0]}.{capability[1]}'
    return text + (f', {memory} GiB' if memory else '')


def _gpus(facts: Facts) -> Iterator[Check]:
    here, used = facts['gpus'], facts.get('devices') or []
    kernels = facts.get('tensorflow', {}).get('kernels', [])
    if not here['devices']:
        yield from _without_driver(here['present'], used)
        return
    usable = []
    for device in here['devices']:
        if facts_.runs_on(device['capability'], kernels):
            usable.append(device)
        else:
            yield _unfit(device, facts['tensorflow'])
    if facts['hidden']:
        yield Check(
            WARNING,
            'GPU',
            f'{len(here["devices"])} here, hidden by CUDA_VISIBLE_DEVICES.',
            'Unset that variable to train on it.',
        )
    # Without all of them fit, none was tried.
    elif len(usable) < len(here['devices']) or 'devices' not in facts:
        return
    elif used:
        # TensorFlow does not tell their memory.
        memory = {d['name']: d['memory'] for d in here['devices']}
        for device in used:
            device = {**device, 'memory': memory.get(device['name'])}
            yield Check(OK, 'GPU', f'{_name(device)}: TensorFlow uses it.')
    else:
        yield _unused(facts)


def _without_driver(
    present: bool, used: Sequence[Mapping[str, Any]]
) -> Iterator[Check]:
    """Says what there is where nvidia-smi tells nothing."""
    for device in used:
        yield Check(OK, 'GPU', f'{_name(device)}: TensorFlow uses it.')
    if used:
        return
    if present:
        yield Check(
            PROBLEM,
            'GPU',
            'there is an NVIDIA device, but its driver does not answer '
            '(nvidia-smi).',
            'Install the driver of NVIDIA, or start the container with '
            '--gpus=all.',
        )
    else:
        yield Check(OK, 'GPU', 'none of NVIDIA: training runs on the CPU.')


def _unfit(device: Mapping[str, Any], build: Mapping[str, Any]) -> Check:
    """Says that TensorFlow has nothing for a GPU."""
    text = (
        f'{_name(device)}: this TensorFlow {build["version"]} (CUDA '
        f'{build["cuda"]}, {" ".join(build["kernels"])}) does not run on it.'
    )
    if device['capability'][0] >= facts_.BLACKWELL:
        advice = (
            f'{_ON_CPU}; or use the TensorFlow container of NVIDIA '
            '(nvcr.io/nvidia/tensorflow), which is built for Blackwell.'
        )
    else:
        advice = f'{_ON_CPU}; or use a newer GPU.'
    return Check(PROBLEM, 'GPU', text, advice)


def _unused(facts: Facts) -> Check:
    """Says why TensorFlow does not use a GPU that would fit."""
    driver = facts['gpus']['driver'] or ''
    missing = [name for name, v in facts['libraries'].items() if not v]
    count = len(facts['gpus']['devices'])
    if not facts['tensorflow']['cuda']:
        reason = 'this TensorFlow is built without CUDA'
        advice = f'Run {_INSTALL_GPU}.'
    elif driver.split('.')[0].isdigit() and (
        int(driver.split('.')[0]) < _OLDEST_DRIVER
    ):
        reason = f'the driver {driver} is too old for CUDA 12'
        advice = f'Install driver {_OLDEST_DRIVER} or a newer one.'
    elif missing:
        reason = f'CUDA libraries are missing ({", ".join(missing)})'
        advice = f'Run {_INSTALL_GPU}.'
    else:
        reason = 'it does not say why'
        advice = (
            'Run python -c "import tensorflow as tf; '
            "print(tf.config.list_physical_devices('GPU'))\" and read what "
            'it says.'
        )
    text = f'{count} here, but TensorFlow does not use it: {reason}.'
    return Check(PROBLEM, 'GPU', text, advice)


def _libraries(facts: Facts) -> Iterator[Check]:
    build = facts.get('tensorflow')
    if not build or not build['cuda']:
        return
    made = f'TensorFlow is built for CUDA {build["cuda"]}, cuDNN '
    made += str(build['cudnn'])
    found = {n: v for n, v in facts['libraries'].items() if v}
    if found:
        short = [f'{n.split(".")[0][3:]} {v}' for n, v in found.items()]
        here = f'here are {", ".join(short)}'
    else:
        needed = bool(facts['gpus']['devices'])
        here = 'no CUDA library is here'
        here += '' if needed else ', and without a GPU none is needed'
    yield Check(OK, 'CUDA', f'{made}; {here}.')


def _precision(facts: Facts) -> Iterator[Check]:
    used = [d for d in facts.get('devices') or [] if d['capability']]
    if used:
        fast = used[0]['capability'][0] >= 8
        reason = 'the GPU ' + ('is fast' if fast else 'is not fast') + ' at it'
    else:
        flags = [f for f in _FAST_BFLOAT16 if f in facts['cpu']['flags']]
        fast = bool(flags)
        reason = (
            f'the CPU has {", ".join(flags)}'
            if fast
            else f'the CPU has none of {", ".join(_FAST_BFLOAT16)}'
        )
    chosen = 'bfloat16' if fast else 'float32, not bfloat16'
    yield Check(OK, 'precision', f'--precision=auto is {chosen}: {reason}.')


def _xla(facts: Facts) -> Iterator[Check]:
    if 'xla' not in facts:
        return
    if facts['xla']:
        yield Check(
            PROBLEM,
            'XLA',
            f'it does not compile ({facts["xla"].rstrip(".")}).',
            f'Run {_INSTALL_GPU}, which brings the compiler of CUDA along.'
            if facts.get('devices')
            else 'Install TensorFlow again.',
        )
    else:
        yield Check(OK, 'XLA', 'it compiles.')


def _data(facts: Facts) -> Iterator[Check]:
    data = facts['data']
    if data['sets']:
        text = f'in {data["folder"]}: {", ".join(data["sets"])}.'
    elif data['exists']:
        text = f'none of TFDS in {data["folder"]}.'
    else:
        text = f'there is no folder {data["folder"]}.'
    yield Check(
        OK,
        'data sets',
        f'{text} digits and fake are always there; others of TFDS are '
        'downloaded where there is a network.',
    )


def _optional(facts: Facts) -> Iterator[Check]:
    found = facts['versions']
    here = [f'{n} {found[n]}' for n in facts_.OPTIONAL if found.get(n)]
    absent = [n for n in facts_.OPTIONAL if not found.get(n)]
    parts = [f'here: {", ".join(here)}'] if here else []
    parts += [f'not here, and not needed: {", ".join(absent)}'] * bool(absent)
    yield Check(OK, 'optional', f'{"; ".join(parts)}.')


def _self_test(facts: Facts) -> Iterator[Check]:
    where = ' (on the CPU)' if facts.get('kept_off') else ''
    title = f'self-test{where}'
    if facts['ended'] == 'timeout':
        yield Check(
            PROBLEM,
            title,
            f'it did not end in {facts_.SELF_TEST_SECONDS} seconds.',
            f'If there is a GPU: {_ON_CPU}. Try again when the machine is '
            'less busy.',
        )
        return
    if 'self_test' not in facts:
        yield _died(facts, title)
        return
    found = facts['self_test']
    loss = found['loss']
    if loss is None or not abs(loss) < float('inf'):
        yield Check(
            PROBLEM,
            title,
            'a short training gave no finite loss.',
            'Try --precision=float32 and --jit=off; report it.',
        )
    elif not found['same']:
        yield Check(
            WARNING,
            title,
            'two short trainings with the same seed gave different numbers.',
            'Runs cannot be repeated exactly here.',
        )
    else:
        replicas = found['replicas']
        on = f' on {replicas} devices' if replicas > 1 else ''
        yield Check(
            OK,
            title,
            f'two short trainings{on} in {found["precision"]} took '
            f'{found["seconds"]} seconds, and are the same bit for bit.',
        )


def _died(facts: Facts, title: str) -> Check:
    """Says that the process of the self-test ended early."""
    ended, error = facts['ended'], facts['error'] or 'without a word'
    how = f'signal {-ended}' if ended < 0 else f'exit code {ended}'
    if 'tensorflow' not in facts:
        return Check(
            PROBLEM,
            'TensorFlow',
            f'it cannot be imported ({how}: {error.rstrip(".")}).',
            'Install it again: pip install --force-reinstall tensorflow.',
        )
    return Check(
        PROBLEM,
        title,
        f'TensorFlow died in a short training ({how}: {error.rstrip(".")}).',
        f'If there is a GPU: {_ON_CPU}.',
    )
