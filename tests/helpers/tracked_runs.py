"""Folders of tracked runs as a run leaves them, without a training."""

import json

import pytest

from ieg.compare.comparison import compare
from ieg.errors import UsageError

PROBE = dict(
    step='sgd',
    rate=0.05,
    batch=128,
    images_sha256='ab' * 32,
    seed=7,
    source='test images',
)


def write_run(
    folder,
    accuracy,
    susceptibility,
    test=None,
    wrong=None,
    *,
    probe=PROBE,
    best=1,
    **options,
):
    """Writes the folder of a run of three epochs; returns it."""
    folder.mkdir(parents=True)
    config = dict(
        mode='train',
        checkpoint_path=str(folder.parent),
        dataset='digits_uniform_0.5',
        train_examples=0,
        noise_seed=-1,
        noise_sampler='numpy',
        method='supervised',
        network_name='cnn',
        seed=1,
        learning_rate=0.1,
        lr_schedule='constant',
    )
    (folder / 'config.json').write_text(json.dumps(config | options))
    entries = []
    for epoch in range(3):
        share = (epoch + 1) / 3
        entry = dict(
            epoch=epoch,
            step=10 * epoch + 10,
            train_accuracy=(1 - accuracy) * share,
            fit_accuracy=accuracy * share,
            susceptibility_drop=susceptibility,
            susceptibility=susceptibility * share,
        )
        if test is not None:
            entry['test_accuracy'] = test if epoch == 2 else 0.5
        if wrong is not None:
            entry |= dict(fit_right=0.9, fit_wrong=wrong)
        entries.append(entry)
    # Not computed, so that the values of the test stand there exactly.
    entries[-1] |= dict(fit_accuracy=accuracy, susceptibility=susceptibility)
    write_log(folder, entries)
    (folder / 'summary.json').write_text(json.dumps(dict(seed=1)))
    tracked = dict(
        probe=probe,
        recommended_epoch=best,
        recommended_step=20,
        reason='the fit still rises',
    )
    (folder / 'memorization.json').write_text(json.dumps(tracked))
    return folder


def write_log(folder, entries):
    (folder / 'log.jsonl').write_text(
        ''.join(json.dumps(entry) + '\n' for entry in entries)
    )


def read_log(folder):
    lines = (folder / 'log.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def refused(*arguments, **options):
    with pytest.raises(UsageError) as caught:
        compare([str(a) for a in arguments], **options)
    sentence = str(caught.value)
    assert sentence.endswith('.') and '\n' not in sentence
    return sentence
