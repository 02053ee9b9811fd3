"""Kills runs at random moments and compares their ends.

As a command: `python tests/helpers/kills.py [NUMBER]`, 200 by default.
"""

import collections
import dataclasses
import pathlib
import random
import signal
import sys
import tempfile
import time

from ieg.utils.cli import import_tensorflow

import_tensorflow()  # Without its notes.

import ends  # noqa: E402
import forking  # noqa: E402

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--network_name=tiny',
    '--batch_size=8',
    '--train_examples=160',
    '--valid_ratio=0.1',
    '--checkpoint_minutes=0.0001',
    '--max_epoch=6',
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A command to kill.

    Attributes:
        share: of all kills.
        arguments: of the command.
        folder: name of its run folder.
    """

    share: float
    arguments: tuple[str, ...]
    folder: str


def _case(share, method, *arguments):
    return Case(
        share,
        (*SMALL, f'--method={method}', *arguments),
        f'fake_uniform_0.4/{method}_tiny_s1',
    )


CASES = {
    'supervised': _case(0.25, 'supervised', '--use_ema', '--mixup=1'),
    'coteaching': _case(0.16, 'coteaching', '--noise_rate=auto'),
    'me_momentum': _case(
        0.14,
        'me_momentum',
        '--outer_rounds=1',
        '--inner_rounds=2',
        '--early_epochs=2',
        '--round_epochs=2',
        '--learning_rate=0.05',
        '--max_epoch=7',
    ),
    'l2r': _case(0.12, 'l2r', '--probe_dataset_hold_ratio=0.1'),
    'dividemix': _case(0.12, 'dividemix', '--warm_up=2'),
    'two replicas': _case(0.11, 'supervised', '--num_replicas=2'),
    'search': _case(
        0.1,
        's2e',
        '--learning_rate=0.01',
        '--search_iterations=1',
        '--search_population=2',
        '--search_again=1',
        '--max_epoch=3',
    ),
}
MOST_ATTEMPTS = 60


@dataclasses.dataclass
class Count:
    """What happened.

    Attributes:
        kills: of a running command, by case.
        middle: resumes that began in the middle of an epoch, by case.
        ends: runs that were compared, by case.
        wrong: sentences about runs that ended otherwise.
    """

    kills: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    middle: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    ends: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    wrong: list = dataclasses.field(default_factory=list)

    def line(self):
        """Returns one line about everything."""
        return (
            f'{self.kills.total()} kills; '
            f'{self.middle.total()} resumed in the middle of an epoch; '
            f'{self.kills["two replicas"]} kills on two replicas '
            f'({self.middle["two replicas"]} in an epoch), '
            f'{self.kills["search"]} in a search; {self.ends.total()} ends '
            f'compared, {len(self.wrong)} differences'
        )


def _state(folder):
    """Returns names, sizes and times of all files."""
    state = {}
    for path in folder.rglob('*'):
        try:
            status = path.lstat()
        except OSError:
            continue
        state[path] = status.st_size, status.st_mtime_ns
    return state


def _wait_for_change(child, folder, state):
    """Waits until a file changes; returns the new state."""
    while child.poll() is None:
        now = _state(folder)
        if now != state:
            return now
        time.sleep(0.004)
    return state


def _kill(child, folder, chance):
    """Kills a command at a random moment; returns whether it still ran."""
    if chance.random() < 0.08:
        # Before it has written anything, maybe.
        time.sleep(chance.uniform(0, 2))
    else:
        state = _state(folder)
        for _ in range(chance.randint(1, 25)):
            state = _wait_for_change(child, folder, state)
        # While a file is written, just after, or anywhere in a step.
        time.sleep(chance.choice((0, 0, 0.002, 0.02, chance.random() / 3)))
    return child.send(signal.SIGKILL)


def _finish(nursery, case, path):
    """Runs a command to its end; returns what is wrong, or nothing."""
    code, _, err = nursery.run(
        *case.arguments, f'--checkpoint_path={path}', timeout=600
    )
    return f'exit {code}: {err[-500:]}' if code else ''


def _chain(nursery, case, path, chance, most):
    """Kills one run again and again.

    Returns:
        Kills, resumes in the middle of an epoch, and what is wrong.
    """
    kills = middle = 0
    folder = path / case.folder
    for _ in range(MOST_ATTEMPTS):
        child = nursery.start(*case.arguments, f'--checkpoint_path={path}')
        killed = kills < most and _kill(child, folder, chance)
        code = child.wait(600)
        kills += killed
        middle += child.output.with_suffix('.middle').exists()
        if killed:
            continue
        if code:
            return kills, middle, f'exit {code}: {child.err()[-500:]}'
        break
    return kills, middle, ''


def run(number, place, seed=0, cases=CASES, show=print):
    """Kills until `number` is reached.

    Args:
        number: of kills, about.
        place: an empty folder.
        seed: of the moments.
        cases: by name.
        show: is called with a line now and then.

    Returns:
        A `Count`.
    """
    place, count = pathlib.Path(place), Count()
    nursery = forking.Nursery(place)
    try:
        for name, case in cases.items():
            chance = random.Random(f'{seed} {name}')
            whole = place / f'{name} whole'
            wrong = _finish(nursery, case, whole)
            if wrong:
                count.wrong.append(f'{name}, uninterrupted: {wrong}')
                continue
            expected = ends.end(whole / case.folder)
            wanted = max(1, round(case.share * number))
            while count.kills[name] < wanted and not count.wrong:
                left = min(wanted - count.kills[name], chance.randint(4, 10))
                path = place / f'{name} {count.ends[name]}'
                kills, middle, wrong = _chain(nursery, case, path, chance, left)
                count.kills[name] += kills
                count.middle[name] += middle
                count.ends[name] += 1
                if not wrong:
                    found = ends.end(path / case.folder)
                    wrong = ', '.join(ends.differences(found, expected))
                if wrong:
                    count.wrong.append(f'{path}: {wrong}')
            show(f'{name}: {count.line()}')
    finally:
        nursery.close()
    return count


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        total = run(int(sys.argv[1]) if sys.argv[1:] else 200, folder)
    print(*total.wrong, sep='\n')
    print(total.line())
    sys.exit(bool(total.wrong))
