"""What a search prints."""

from collections import Counter
from collections.abc import Sequence

from ieg.search.store import Result, Store, Trial

SHOWN_TRIALS = 10
WIDTH = 50


def line(trial: Trial, result: Result) -> str:
    """Returns how a trial ended."""
    remark = f' ({result.remark})' if result.remark else ''
    # The score of a trial that was given up is a matter of ranks.
    score = f', {result.score:.4f}' if result.score >= 0 else ''
    return (
        f'trial {trial.name}, {trial.stage}: {result.status}{remark}{score}, '
        f'{result.seconds:.0f} s'
    )


def table(store: Store, ranked: Sequence[Trial], best: Trial) -> str:
    """Returns the best trials, and how many ended in which way.

    Args:
        store: all trials.
        ranked: those that came to an end, best first.
        best: the one that was chosen.
    """
    lines = [f'{"trial":<8}{"score":<9}{"again":<9}options']
    for trial in ranked[:SHOWN_TRIALS]:
        again = store.results.get(f'{trial.name}_again')
        options = ' '.join(f'{k}={v}' for k, v in trial.options.items())
        lines.append(
            f'{trial.name:<8}'
            f'{_score(store.results[trial.name]):<9}'
            f'{_score(again):<9}'
            f'{_short(options) or "as configured"}'
            f'{"   <- chosen" if trial == best else ""}'
        )
    more = len(ranked) - SHOWN_TRIALS
    lines += [f'and {more} more'] if more > 0 else []
    ends = Counter(result.status for result in store.results.values())
    counts = ', '.join(f'{count} {end}' for end, count in ends.items())
    return '\n'.join([*lines, f'{ends.total()} trials: {counts}'])


def duration(seconds: float) -> str:
    """Returns a length of time in words."""
    if seconds >= 3600:
        return f'{seconds / 3600:.1f} h'
    return f'{max(seconds / 60, 1):.0f} min'


def _score(result: Result | None) -> str:
    return '-' if result is None or result.score < 0 else f'{result.score:.4f}'


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f'{text[: WIDTH - 3]}...'
