"""What an audit does once TensorFlow is there."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ieg import config as ieg_config
from ieg import experiment, label_issues, run_folder
from ieg.audit import pace, plan, verdict
from ieg.audit.place import Place
from ieg.config import Config, folder_of
from ieg.data import load, own
from ieg.data.dataset import Data
from ieg.errors import RunError
from ieg.features import backbones, names
from ieg.options import DataConfig, TrainConfig
from ieg.registry import introduced
from ieg.training import devices
from ieg.utils.interrupt import Interrupt
from ieg.utils.text import duration

# What a run is identified by, and devices determine.
_OF_DEVICES = ('global_batch_size', 'precision')
# A backbone that takes longer than the small ones, and may find more.
_STRONGER = 'convnext_tiny'
Say = Callable[[str], None]


def audit(
    given: Mapping[str, Any], minutes: float, found: Place, say: Say
) -> list[tuple[str, str]]:
    """Trains, and returns the lines that an audit ends with.

    Args:
        given: options by name.
        minutes: how long it may take; 0 = any time.
        found: the data.
        say: prints a sentence.

    Raises:
        UsageError: the data or the options do not fit, or the run folder has
            another run.
        RunError: the training cannot continue, or a file of the results
            cannot be written.
    """
    backbone = ieg_config.backbone(given)
    # Where nothing was counted, the reader says what is wrong.
    is_of_images = bool(found.counts) and not found.has_vectors
    if backbone == names.AUTO:
        backbone = names.resolve_auto() if is_of_images else names.OFF
        if backbone != names.OFF:
            say(
                f'--backbone=auto chose {backbone}, whose weights are here; a '
                'stronger one takes longer and may find more, in a run of its '
                f'own: --backbone={_STRONGER} --run_name={_STRONGER}.'
            )
    given = {**given, 'backbone': backbone}
    if backbone != names.OFF or found.has_vectors:
        devices.use_one_thread()
    if backbone != names.OFF and is_of_images:
        # What is wrong or takes too long is found before the features.
        given |= _planned_features(given, minutes, found, say)
    if seconds := plan.of_texts(found):
        say(f'First, texts become vectors, in about {duration(seconds)}.')
    config, opened = experiment.configure(given)
    if minutes and (epochs := plan.started(config).get('max_epoch')):
        config = plan.with_epochs(config, epochs)
    _check_options(config)
    say(config.advice)
    data = experiment.load_data(config, opened)
    if backbone == names.OFF and not _is_complete(config):
        config = _planned(config, data, given, minutes, say)
    # Epochs on vectors are short and many.
    with open(os.devnull, 'w') as nowhere, Interrupt() as interrupt:
        summary = experiment.train(
            config,
            progress=nowhere if data.is_vectors else True,
            opened=opened,
            data=data,
            interrupt=interrupt,
            said=found.remarks,
        )
    if failed := summary.get('not_written'):
        raise RunError(' '.join(failed))
    path = os.path.join(summary['folder'], run_folder.ISSUES)
    issues = label_issues.read(path) if os.path.exists(path) else None
    return verdict.lines(summary, issues, data)


def _planned_features(
    given: Mapping[str, Any], minutes: float, found: Place, say: Say
) -> dict[str, Any]:
    """Says how long a run on features takes; returns options for a budget.

    Raises:
        UsageError: the options do not fit, the run does not, or its folder
            cannot be written.
    """
    config = ieg_config.check(given)
    run_folder.check_writable(folder_of(config))
    kept = plan.started(config) if minutes else {}
    config = ieg_config.check({**given, **kept})
    # What follows from the images is not known yet.
    advised = own.of_vectors('', 1, 1, 1).values.keys()
    _check_options(config, advised - given.keys())
    needs_clean = config.data.probe_dataset_hold_ratio > 0
    if needs_clean and found.kind == 'folder' and 'probe' not in found.others:
        raise load.no_clean(found.kind)
    if _is_complete(config) or not found.total:
        return kept
    if kept or not minutes:
        say(str(_plan_of(config.data.backbone, config, found, given)))
        return kept
    for backbone in names.smaller(config.data.backbone):
        chosen = _plan_of(backbone, config, found, given)
        if chosen.seconds <= 60 * minutes:
            break
    say(str(chosen))
    reduced = _reduced(chosen, given, minutes)
    if backbone != config.data.backbone:
        reduced['backbone'] = backbone
    _say_reduced(minutes, reduced, say)
    return reduced


def _plan_of(
    name: str, config: Config, found: Place, given: Mapping[str, Any]
) -> plan.Plan:
    """Returns how long a run on the features of a backbone takes."""
    backbone = backbones.load(name)
    speed = pace.images_per_second(
        backbone, found.files, config.data.feature_views
    )
    known = pace.known_share(backbone, found.files, config)
    return plan.of_features(given, found, backbone.width, speed, known)


def _planned(
    config: Config,
    data: Data,
    given: Mapping[str, Any],
    minutes: float,
    say: Say,
) -> Config:
    """Says how long a run takes; returns one that fits into a budget.

    Raises:
        UsageError: none does.
    """
    chosen = plan.of_run(config, data)
    say(str(chosen))
    if not minutes or plan.started(config):
        return config
    reduced = _reduced(chosen, given, minutes)
    _say_reduced(minutes, reduced, say)
    return plan.with_epochs(config, reduced.get('max_epoch', chosen.epochs))


def _reduced(
    chosen: plan.Plan, given: Mapping[str, Any], minutes: float
) -> dict[str, Any]:
    """Returns the length with which a run fits into a budget, if shorter.

    Raises:
        UsageError: it would be too short.
    """
    fixed = bool({'max_epoch', 'max_iteration'} & given.keys())
    epochs = plan.epochs_within(minutes, chosen, fixed)
    return {'max_epoch': epochs} if epochs < chosen.epochs else {}


def _say_reduced(minutes: float, reduced: Mapping[str, Any], say: Say) -> None:
    if reduced:
        options = ' '.join(f'--{name}={reduced[name]}' for name in reduced)
        say(f'For --time_budget={minutes:g}: {options}.')


def _is_complete(config: Config) -> bool:
    return os.path.exists(os.path.join(folder_of(config), run_folder.SUMMARY))


def _check_options(config: Config, unknown: Collection[str] = ()) -> None:
    """Checks that the run folder has no run with other options.

    Everything else, such as the data, is compared when it is known.

    Args:
        config: of the run.
        unknown: options that are not compared.

    Raises:
        UsageError: it has one.
    """
    folder = folder_of(config)
    path = os.path.join(folder, run_folder.IDENTITY)
    if not os.path.exists(path):
        return
    saved = run_folder.read_object(path)
    now = json.loads(json.dumps(config.identity(1)))
    ieg_config.check_identity(
        folder,
        saved,
        now,
        introduced(DataConfig, TrainConfig, type(config.method)),
        ignore={*(saved.keys() - now.keys()), *_OF_DEVICES, *unknown},
    )
