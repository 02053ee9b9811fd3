"""Labels are judged where TensorFlow is not installed."""

import os
import subprocess
import sys

from paths import ROOT

INSTALLED = 'numpy scipy sklearn pandas jinja2 PIL'
# What these need themselves.
NEEDED = (
    'joblib cloudpickle threadpoolctl narwhals markupsafe dateutil pytz six '
    'tzdata'
)
PROGRAM = """
import importlib.abc
import sys

ALLOWED = {*sys.argv[1:], *sys.stdlib_module_names, 'ieg'}

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        # Parts of the standard library begin with an underscore, too.
        if path is None and name not in ALLOWED and name[0] != '_':
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Blocker())

import numpy as np
import ieg

rng = np.random.default_rng(0)
labels = np.arange(60) % 3
features = np.eye(3)[labels] + rng.normal(scale=0.1, size=(60, 3))
tracker = ieg.LabelTracker(labels, features=features)
for epoch in range(2):
    tracker.update(np.arange(50), logits=3 * features[:50])
    tracker.held_out(np.arange(50, 60), features[50:])
tracker.save('tracker.npz')
tracker = ieg.LabelTracker.load('tracker.npz')
tracker.report('page.html', images=lambda index: np.full((4, 4), index))
assert len(tracker.issues()) == 60 and tracker.summary()['statement']
assert len(ieg.find_label_issues(labels, features=features)) == 60
assert {'LabelTracker', 'find_label_issues'} <= {*dir(ieg)}
try:
    ieg.read_issues('nowhere')
except ValueError as error:
    assert 'nowhere is not a run folder' in str(error)
try:
    ieg.NoisyLabelClassifier().fit(features, labels)
except ModuleNotFoundError as error:
    print(error.name)
"""


def test_tracker_and_find_need_few_packages(tmp_path):
    allowed = f'{INSTALLED} {NEEDED}'.split()
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, *allowed],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ('tensorflow', 'keras', 'absl')
    assert '<img' in (tmp_path / 'page.html').read_text()
