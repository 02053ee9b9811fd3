"""What can be imported without waiting for TensorFlow."""

import json
import subprocess
import sys

from command import ROOT

# They read run folders, which needs no TensorFlow.
LIGHT = (
    'ieg.compare.comparison',
    'ieg.label_issues',
    'ieg.corrections.edits',
    'ieg.data.images.class_folders',
    'ieg.compare.plane',
    'ieg.report',
    'ieg.compare',
    'ieg.search.store',
)


def imported_by(*modules: str) -> set[str]:
    """Returns the top-level packages that a new process has imported."""
    code = (
        'import json, sys\n'
        f'import {", ".join(modules)}\n'
        'print(json.dumps(sorted({m.split(".")[0] for m in sys.modules})))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    return set(json.loads(done.stdout))


def test_what_reads_runs_imports_no_tensorflow():
    found = imported_by(*LIGHT)
    assert 'pandas' in found
    assert not found & {'absl', 'keras', 'sklearn', 'tensorflow'}


def test_the_package_alone_imports_nothing_heavy():
    assert not imported_by('ieg') & {'numpy', 'pandas', 'scipy', 'tensorflow'}


def test_an_estimator_needs_no_tensorflow_before_it_is_fitted():
    assert not imported_by('ieg.estimator', 'ieg.predict.inputs') & {
        'keras',
        'tensorflow',
    }
