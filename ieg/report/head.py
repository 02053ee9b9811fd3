"""The head of a report: method, data and results."""

import functools
import json
import os
import shlex
from typing import Any

from markupsafe import Markup

from ieg.data.spec import OWN
from ieg.label_issues import similar
from ieg.label_issues.ranking import statement
from ieg.report import suspects
from ieg.report.html import NOTHING, count, render
from ieg.report.run import ISSUES, PREDICTIONS, RunFolder
from ieg.run_folder import CONFIG, LOG, SUMMARY
from ieg.training.runlog import headline

# Title, key of the summary, note, and class of each accuracy.
ACCURACIES = (
    ('test accuracy', 'test_accuracy_last', 'after the last epoch', ''),
    ('test accuracy', 'test_accuracy_last10', 'mean of the last ten', ''),
    (
        'test accuracy',
        'test_accuracy_at_best_valid',
        'at the best validation accuracy',
        '',
    ),
    (
        'oracle',
        'test_accuracy_oracle',
        'best epoch by the test labels; unknown without them',
        'oracle',
    ),
)
BUDGET = (
    'budget',
    'precision_at_budget',
    'false_negative_rate_at_budget',
)


def build(run: RunFolder) -> Markup:
    """Returns the head."""
    figures = headline(run.entries) | dict(run.summary)
    seconds = figures.get('seconds')
    if seconds is None and run.entries:
        seconds = sum(entry.get('seconds') or 0 for entry in run.entries)
    at_budget = [run.issue_summary.get(key) for key in BUDGET]
    wrong, shown = 0, 0
    if run.issues is not None:
        first, _ = suspects.choose(run.issues)
        wrong = int(run.issues.is_issue.sum())
        shown = int(run.issues.is_issue[first].sum())
    return render(
        'head.html',
        title=title(run),
        options=run.options,
        sizes=sizes(run),
        classes=len(run.class_names),
        issues=None if run.issues is None else len(run.issues.rank),
        wrong=wrong,
        shown=shown,
        issue_summary=run.issue_summary,
        statement=statement(run.issue_summary),
        alike=similar.statement(run.issue_summary),
        interval=run.issue_summary.get('noise_rate_interval'),
        realised=run.realised_rate,
        nominal=run.summary.get('noise_rate_nominal'),
        at_budget=None if None in at_budget else at_budget,
        missing=_missing(run),
        accuracies=ACCURACIES,
        figures=figures,
        epochs=len(run.entries),
        seconds=seconds,
        remarks=_remarks(run),
        facts=_facts(run),
        repeat=_repeat(run),
        json=functools.partial(json.dumps, ensure_ascii=False),
    )


def title(run: RunFolder) -> str:
    """Returns the name of the data set; of your own data, the folder's."""
    dataset = run.options['dataset']
    folder = run.options.get('data_dir')
    if dataset.split('_')[0] not in OWN or not isinstance(folder, str):
        return dataset
    return f'{os.path.basename(os.path.normpath(folder))} ({dataset})'


def sizes(run: RunFolder) -> list[int | None]:
    """Returns how many training, validation and test examples there are."""
    splits = ('train', 'valid', 'test')
    if (arrays := run.predictions) is not None:
        labels = [arrays.get(f'{split}_labels') for split in splits]
        return [None if part is None else len(part) for part in labels]
    if run.issues is not None:
        return [int((run.issues.split == split).sum()) for split in splits]
    # Its rows are those of training and validation together.
    return [None if run.noise is None else len(run.noise.noisy), None, None]


def _missing(run: RunFolder) -> list[str]:
    """Returns a sentence for each file that the report lacks."""
    lacks = {
        f'{SUMMARY} is missing: the run has not finished. The figures are '
        'those of its log so far.': not run.summary,
        f'{SUMMARY} has no noise estimate: the run is from an older '
        'version.': run.summary and not run.issue_summary,
        f'{LOG} has no epochs: there are no curves.': not run.entries,
        f'{ISSUES} is missing: there are no suspects.': run.issues is None,
        f'{PREDICTIONS} is missing: there are no figures by class and no '
        'calibration.': run.predictions is None,
    }
    return [text for text, is_missing in lacks.items() if is_missing]


def _remarks(run: RunFolder) -> list[str]:
    """Returns the remarks on the data, and those of each epoch."""
    remarks = [str(text) for text in _listed(run.summary.get('data_remarks'))]
    return remarks + [
        f'Epoch {entry["epoch"] + 1}: {text}'
        for entry in run.entries
        for text in _listed(entry.get('remarks'))
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _facts(run: RunFolder) -> list[tuple[str, str]]:
    """Returns pairs of a title and a value, without those not known."""
    versions = run.summary.get('versions')
    versions = versions if isinstance(versions, dict) else {}
    train, valid, test = sizes(run)
    pairs = [
        ('seed', run.options.get('seed', NOTHING)),
        ('epochs', count(len(run.entries))),
        ('steps', count(run.entries[-1].get('step') if run.entries else None)),
        ('training examples', count(train)),
        ('validation examples', count(valid)),
        ('test examples', count(test)),
        ('classes', count(len(run.class_names) or None)),
        ('versions', ', '.join(f'{n} {v}' for n, v in versions.items())),
        ('run folder', run.folder),
    ]
    return [pair for pair in pairs if pair[1] not in ('', NOTHING)]


def _repeat(run: RunFolder) -> str:
    path = shlex.quote(f'{run.folder}/{CONFIG}')
    return f'python -m ieg.main --config={path} --checkpoint_path=elsewhere'
