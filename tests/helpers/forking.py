"""Commands in processes of their own, without importing TensorFlow for each.

A nursery is a process that imports the package once, executes no operation of
TensorFlow, and forks a child for every command. A child is a real process: it
can be killed, and its end releases what it holds.

As a command: `python tests/helpers/forking.py` is the nursery. It reads lines
of JSON and answers each with one.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import faults
from paths import PLUGINS, ROOT

HELPERS = pathlib.Path(__file__).parent
# Calls of a few steps, so that there are many moments between two calls.
SECONDS_PER_CALL = 0.02


@dataclasses.dataclass
class Child:
    """A command that has been started.

    Attributes:
        pid: of the process.
        code: its exit code, negative for a signal; None while it runs.
    """

    nursery: 'Nursery'
    pid: int
    output: pathlib.Path
    code: int | None = None

    def poll(self):
        """Returns the exit code, or None while the command runs."""
        if self.code is None:
            self.code = self.nursery.ask(poll=self.pid)
        return self.code

    def wait(self, timeout=300.0):
        """Returns the exit code when the command has ended."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f'{self.pid} ran for {timeout} s')
            time.sleep(0.005)
        return self.code

    def send(self, number):
        """Sends a signal; returns whether the command was still running."""
        if self.poll() is not None:
            return False
        # Until it is waited for, its number belongs to nothing else.
        os.kill(self.pid, number)
        return True

    def out(self):
        """Returns what it has written to standard output."""
        return self.output.read_text(errors='replace')

    def err(self):
        """Returns what it has written to standard error."""
        path = self.output.with_suffix('.err')
        return path.read_text(errors='replace')


class Nursery:
    """Starts commands as forks of one process.

    Args:
        place: folder for their output.
        seconds_per_call: of the steps between two chances to stop; 0 = one
            step.
    """

    def __init__(self, place, seconds_per_call=SECONDS_PER_CALL):
        self._place = pathlib.Path(place)
        self._count = 0
        inherited = {k: v for k, v in os.environ.items() if k != 'TF_CONFIG'}
        path = os.pathsep.join(map(str, (ROOT, HELPERS, PLUGINS)))
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(seconds_per_call)],
            env=inherited
            | {
                'CUDA_VISIBLE_DEVICES': '-1',
                'PYTHONPATH': path,
                'TF_NUM_INTRAOP_THREADS': '1',
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request):
        """Sends a request and returns the answer."""
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError('the nursery has ended')
        return json.loads(line)

    def start(self, *arguments, fault=None):
        """Starts `ieg`.

        Args:
            *arguments: of the command.
            fault: a `faults.Fault` to inject, or None.
        """
        self._count += 1
        output = self._place / f'{self._count}.out'
        pid = self.ask(
            arguments=[str(a) for a in arguments],
            output=str(output),
            fault=fault and dataclasses.asdict(fault),
        )
        return Child(self, pid, output)

    def run(self, *arguments, fault=None, timeout=300.0):
        """Runs `ieg`; returns exit code, output and errors.

        With a fault that never happens, its operations on files are kept, see
        `operations`.
        """
        child = self.start(*arguments, fault=fault)
        code = child.wait(timeout)
        return code, child.out(), child.err()

    def operations(self):
        """Returns the operations on files of the last command that ended."""
        path = self._place / f'{self._count}.operations'
        return [faults.Operation(*o) for o in json.loads(path.read_text())]

    def close(self):
        """Ends the nursery; children that run go on."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


# The nursery itself.


def poll(pid):
    """Returns the exit code of a child, or None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def become(request):
    """Turns a fresh fork into the command that was asked for."""
    output = pathlib.Path(request['output'])
    streams = (os.devnull, output, output.with_suffix('.err'))
    for number, path in enumerate(streams):
        mode = os.O_RDWR | (os.O_CREAT * bool(number))
        descriptor = os.open(path, mode, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ['ieg', *request['arguments']]
    from ieg import main

    note_the_middle(output.with_suffix('.middle'))
    if request['fault'] is None:
        return main.main()
    layer = faults.install(faults.Fault(**request['fault']))
    try:
        return main.main()
    finally:
        operations = [(o.kind, o.path) for o in layer.operations]
        output.with_suffix('.operations').write_text(json.dumps(operations))


def note_the_middle(path):
    """Makes a file when a run resumes in the middle of an epoch.

    There its method is not asked for the phases of the epoch again.
    """
    from ieg.registry import METHODS
    from ieg.training.steps import StepRunner
    from ieg.training.trainer import Trainer

    asked = [True]

    def wrap(cls, name, before):
        real = getattr(cls, name)

        def wrapped(*args, **kwargs):
            before()
            return real(*args, **kwargs)

        setattr(cls, name, wrapped)

    def forget():
        asked[0] = False

    def remember():
        asked[0] = True

    def step():
        if not asked[0]:
            path.touch()
            remember()

    wrap(Trainer, 'restore', forget)
    wrap(StepRunner, 'train', step)
    for name in METHODS.names():
        if 'begin_epoch' in vars(METHODS.get(name)):
            wrap(METHODS.get(name), 'begin_epoch', remember)


def serve():
    """Answers requests until standard input ends."""
    from ieg.utils.cli import import_tensorflow

    import_tensorflow()
    import small_network
    from tensorflow.python.eager import context

    import ieg.experiment  # noqa: F401
    import ieg.report.__main__  # noqa: F401
    import ieg.search.driver  # noqa: F401
    from ieg.commandline import catalog
    from ieg.registry import NETWORKS
    from ieg.training import trainer

    NETWORKS.register('tiny')(small_network.build)

    trainer.SECONDS_PER_CALL = float(sys.argv[1])
    # Including the network, without --plugin.
    known = catalog.current()
    catalog.shipped = lambda: known
    # What TensorFlow starts with its first operation does not survive a fork.
    assert context.context()._context_handle is None
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), 'w')
    for line in requests:
        request = json.loads(line)
        if 'poll' in request:
            answer = poll(request['poll'])
        else:
            answer = os.fork()
            if not answer:
                requests.close()
                answers.close()
                return become(request)
        print(json.dumps(answer), file=answers, flush=True)
    return None


if __name__ == '__main__':
    serve()
