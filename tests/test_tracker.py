"""A tracker of labels: recorded numbers, order, files and bad input."""

import re

import ml_dtypes
import numpy as np
import pytest
from paths import GOLDEN, ROOT, SHARED
from scipy.special import softmax

from ieg import LabelTracker
from ieg.label_issues import compact, epochs, floor, neighbours

CLASSES, ROWS, EPOCHS = 4, 60, 5
HELD = np.arange(0, ROWS, 5)
TRAIN = np.setdiff1d(np.arange(ROWS), HELD)
MARKED = ['certain', 'likely']


def golden():
    name = 'digits-sym20-mlp-ce-1.npz'
    for folder in (GOLDEN / 'evidence', SHARED / 'golden' / 'evidence'):
        if (folder / name).exists():
            with np.load(folder / name) as file:
                return dict(file)
    pytest.skip(f'{name} is not in ../shared/data/golden/evidence')


def test_a_recorded_run_has_its_floor_scores_and_marks(monkeypatch):
    file = golden()
    count, held = len(file['train_given']), len(file['held_out_given'])
    rows = np.arange(count)
    labels = np.concatenate([file['train_given'], file['held_out_given']])
    recorded = ('neighbours', 'held_out_neighbours', 'neighbours_raw')

    def nearest(queries, references, k, same):
        # Features have one number, raw vectors two.
        kind = 2 * queries.shape[1] - 1 - same
        ids = 10_000 * kind + np.arange(len(queries))
        return neighbours.Near(ids[:, np.newaxis], None)

    def shares(ids, labels, num_classes):
        kinds, places = np.divmod(ids[:, 0], 10_000)
        return file[recorded[kinds[0]]][places].astype(float)

    monkeypatch.setattr(neighbours, 'nearest', nearest)
    monkeypatch.setattr(neighbours, 'shares', shares)
    tracker = LabelTracker(labels)
    vectors = np.arange(len(labels))[:, np.newaxis]
    tracker.set_features(vectors, raw=np.repeat(vectors, 2, axis=1))
    rng = np.random.default_rng(0)
    for epoch, logits in enumerate(file['train_logits']):
        for part in np.array_split(rng.permutation(rows), 9):
            tracker.update(part, logits=logits[part], epoch=epoch)
        tracker.held_out(
            count + np.arange(held), file['held_out_logits'][epoch], epoch
        )
    table, summary = tracker.issues(), tracker.summary()
    assert summary['best_epoch'] == file['best_epoch']
    assert summary['noise_rate'] == pytest.approx(file['point'], abs=1e-12)
    assert summary['noise_rate_interval'] == pytest.approx(
        [float(file['lower']), float(file['upper'])], abs=1e-12
    )
    trained = table[table.split == 'train'].sort_values('index')
    np.testing.assert_allclose(
        2 * trained.score - 1, file['score'], rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(trained.suggested_label, file['suggested'])
    likely = trained.mark.isin(MARKED)
    np.testing.assert_array_equal(likely, file['likely'])
    outside = table[table.split == 'held_out'].sort_values('index')
    others = np.where(
        np.eye(10, dtype=bool)[labels[count:]], -np.inf, file['Q']
    ).max(axis=1)
    own = file['Q'][np.arange(held), labels[count:]]
    np.testing.assert_allclose(2 * outside.score - 1, own - others, atol=1e-12)
    assert summary['count'] == table.is_issue.sum()
    assert summary['statement']


class Loop:
    """What a training of some rows predicts; a sixth of labels is wrong."""

    def __init__(self, num_classes=CLASSES, rows=ROWS):
        rng = np.random.default_rng(1)
        truth = rng.integers(num_classes, size=rows)
        self.wrong = rng.random(rows) < 1 / 6
        self.labels = np.where(self.wrong, (truth + 1) % num_classes, truth)
        shape = (EPOCHS, rows, num_classes)
        self.logits = rng.normal(size=shape)
        self.logits[:, np.arange(rows), truth] += 3
        # As they are kept, so that it is known what is expected.
        self.logits = self.logits.astype(np.float32).astype(float)
        self.features = np.eye(num_classes)[truth] + rng.normal(
            scale=0.2, size=(rows, num_classes)
        )

    def tracker(self, seed=None, named=True, train=TRAIN, held=HELD):
        """Returns a tracker; with a seed, calls are in another order."""
        tracker = LabelTracker(self.labels, self.logits.shape[-1])
        tracker.set_features(self.features)
        calls = []
        for epoch in range(EPOCHS):
            for rows in np.array_split(train, 4):
                calls.append((tracker.update, rows, epoch))
            for rows in np.array_split(held, 2):
                calls.append((tracker.held_out, rows, epoch))
        if seed is not None:
            np.random.default_rng(seed).shuffle(calls)
        for call, rows, epoch in calls:
            logits = self.logits[epoch, rows]
            call(rows, logits=logits, epoch=epoch if named else None)
        return tracker


def assert_same(one, other, atol=1e-12):
    ours, theirs = one.issues(), other.issues()
    for name in ours:
        if ours[name].dtype == float:
            np.testing.assert_allclose(ours[name], theirs[name], atol=atol)
        else:
            assert ours[name].tolist() == theirs[name].tolist()
    assert one.summary() == other.summary()


def test_issues_are_the_evidence_and_sorted():
    loop = Loop()
    tracker = loop.tracker()
    table, summary = tracker.issues(), tracker.summary()
    shot = floor.best(loop.logits[:, HELD], loop.labels[HELD])
    visits = softmax(loop.logits[:, TRAIN], axis=-1)
    mean = visits.mean(axis=0)
    early = visits[: shot.epoch + 1].mean(axis=0)
    ids = neighbours.nearest(
        loop.features[TRAIN], loop.features[TRAIN], 20, same=True
    ).ids
    near = neighbours.shares(ids, loop.labels[TRAIN], CLASSES)
    shares = ((mean + early) / 2 + near) / 2
    own = np.arange(len(TRAIN)), loop.labels[TRAIN]
    rest = shares.copy()
    rest[own] = -1
    trained = table[table.split == 'train'].sort_values('index')
    assert trained['index'].tolist() == TRAIN.tolist()
    np.testing.assert_allclose(
        trained.score, (1 + shares[own] - rest.max(axis=1)) / 2
    )
    np.testing.assert_allclose(trained.neighbour_agreement, near[own])
    agreed = visits.argmax(axis=-1) == loop.labels[TRAIN]
    np.testing.assert_allclose(trained.agreement, agreed.mean(axis=0))
    assert table.split.tolist() == ['train'] * 48 + ['held_out'] * 12
    for _, part in table.groupby('split'):
        assert part.score.is_monotonic_increasing
    assert summary['best_epoch'] == shot.epoch
    assert (summary['trained'], summary['held_out']) == (48, 12)
    first = table['index'][: loop.wrong[TRAIN].sum()]
    assert loop.wrong[first].mean() > 0.8


def test_the_order_of_calls_does_not_matter():
    loop = Loop()
    tracker = loop.tracker()
    assert_same(loop.tracker(seed=3), tracker)
    assert_same(loop.tracker(named=False), tracker)


def test_joined_epochs_depend_on_their_numbers_alone(monkeypatch):
    monkeypatch.setattr(epochs, 'MOST', 3 * ROWS * (CLASSES + 1))
    loop = Loop()
    tracker = loop.tracker()
    assert tracker._epochs.width == 2
    assert_same(loop.tracker(seed=4), tracker)
    mean = softmax(loop.logits, axis=-1)
    np.testing.assert_allclose(
        tracker._epochs.early(TRAIN, 1), mean[:2, TRAIN].mean(axis=0)
    )
    # A half of the second pair counts.
    early = (2 * mean[:2].mean(axis=0) + mean[2:4].mean(axis=0)) / 3
    np.testing.assert_allclose(tracker._epochs.early(TRAIN, 2), early[TRAIN])


def test_held_out_epochs_that_explain_least_are_dropped(monkeypatch):
    loop = Loop()
    tracker = loop.tracker()
    monkeypatch.setattr(epochs, 'MOST_HELD', 3 * len(HELD) * CLASSES)
    less = loop.tracker()
    assert len(less._outside.calls) == 3
    assert_same(less, tracker)


def test_parts_of_workers_are_one_tracker():
    loop = Loop()
    parts = [loop.tracker(train=TRAIN[i::3], held=HELD[i::3]) for i in range(3)]
    merged = parts[0].merge(*parts[1:])
    assert merged is parts[0]
    assert_same(merged, loop.tracker())


def test_visits_of_one_call_and_epoch_count():
    rows, values = np.array([2, 2, 0]), np.eye(3)
    once = LabelTracker([0, 1, 2])
    once.update(rows, values)
    twice = LabelTracker([0, 1, 2])
    for row, value in zip(rows, values, strict=True):
        twice.update([row], value[np.newaxis], epoch=0)
    assert_same(once, twice)
    assert once._epochs.visits().tolist() == [1, 0, 2]


def test_a_row_that_comes_again_begins_an_epoch():
    tracker = LabelTracker([0, 1, 0])
    for rows in ([0, 1], [2], [1], [0, 2], [0]):
        tracker.update(rows, np.full((len(rows), 2), 0.5))
    assert tracker._epochs.last == 2
    assert tracker._epochs.bins[1].count.tolist() == [1, 1, 1]


@pytest.mark.parametrize('small', [False, True])
def test_a_saved_tracker_continues(tmp_path, monkeypatch, small):
    if small:
        monkeypatch.setattr(compact, 'MOST_SUMS', 0)
    loop = Loop()
    tracker = loop.tracker(named=False)
    tracker.save(tmp_path / 'labels.npz')
    other = LabelTracker.load(tmp_path / 'labels.npz')
    assert [path.name for path in tmp_path.iterdir()] == ['labels.npz']
    assert_same(other, tracker, atol=0)
    for one in (tracker, other):
        one.update(TRAIN[:9], softmax(loop.logits[0, TRAIN[:9]], axis=-1))
        one.held_out(HELD, loop.logits[0, HELD])
    assert_same(other, tracker, atol=0)
    assert other.summary()['best_epoch'] == tracker.summary()['best_epoch']


@pytest.mark.parametrize('classes', [['b', 'a'], [7, 3]])
def test_names_of_classes_are_kept(tmp_path, classes):
    labels = [classes[0], classes[1], classes[0]]
    tracker = LabelTracker(labels, classes=classes)
    tracker.update([0, 1], [[0.1, 0.9], [0.2, 0.8]])
    tracker.save(tmp_path / 'a.npz')
    for one in (tracker, LabelTracker.load(tmp_path / 'a.npz')):
        table = one.issues()
        assert table.given_label.tolist() == labels
        assert table.suggested_label.tolist() == [*[classes[1]] * 2, '']


def test_compact_is_dense_for_few_classes(monkeypatch):
    loop = Loop()
    tracker = loop.tracker()
    monkeypatch.setattr(compact, 'MOST_SUMS', 0)
    assert_same(loop.tracker(), tracker, atol=1e-6)


def test_compact_ranks_many_classes_as_dense(monkeypatch):
    loop = Loop(num_classes=30, rows=ROWS)
    dense = loop.tracker().issues().set_index('index').score
    monkeypatch.setattr(compact, 'MOST_SUMS', 0)
    small = loop.tracker().issues().set_index('index').score
    assert abs(small - dense).max() < 0.05


def test_several_networks_are_their_mean():
    loop = Loop()
    one, two = LabelTracker(loop.labels), LabelTracker(loop.labels)
    pair = np.stack([loop.logits[0], loop.logits[1]], axis=1)
    mean = softmax(pair, axis=-1).mean(axis=1)
    one.update(TRAIN, logits=pair[TRAIN])
    two.update(TRAIN, mean[TRAIN])
    one.held_out(HELD, pair[HELD])
    two.held_out(HELD, np.log(mean[HELD]))
    assert_same(one, two, atol=1e-6)


def test_without_held_out_rows_the_rate_is_unknown():
    loop = Loop()
    tracker = loop.tracker(held=HELD[:0])
    table, summary = tracker.issues(), tracker.summary()
    assert summary['noise_rate'] is summary['noise_rate_interval'] is None
    assert summary['count'] == 0 and summary['best_epoch'] is None
    assert len(summary['statement']) >= 2
    assert not table['mark'].any()
    # Rows that were never given are judged by their neighbours.
    others = table[table.split == 'unseen']
    assert sorted(others['index']) == HELD.tolist()
    assert others.score.notna().all() and others.margin.isna().all()


def test_unseen_rows_without_features_are_unknown():
    tracker = LabelTracker(['x', 'y', 'x'])
    tracker.update([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    last = tracker.issues().iloc[-1]
    assert last['index'] == 2 and last.suggested_label == ''
    assert np.isnan(last.score)
    assert tracker.summary()['unseen'] == 1


def test_one_of_five_rows_is_a_wide_interval_and_lacks_classes():
    tracker = LabelTracker([0, 1, 2, 0, 1], features=np.eye(5))
    tracker.update([0, 1, 2, 3], np.full((4, 3), 1 / 3))
    tracker.held_out([4], [[0.0, 3.0, 0.0]])
    low, high = tracker.summary()['noise_rate_interval']
    assert low == 0 and high > 0.9
    said = tracker.summary()['statement']
    assert any("'0', '2'" in text for text in said)


def test_epochs_that_lack_held_out_rows_are_not_used():
    loop = Loop()
    tracker = loop.tracker()
    before = tracker.summary()
    tracker.held_out(HELD[:2], 9 * np.eye(CLASSES)[loop.labels[HELD[:2]]], 9)
    assert tracker.summary() == before


def test_a_page_shows_suspects(tmp_path):
    loop = Loop()
    tracker = loop.tracker()
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(ROWS, 6, 7, 3), dtype=np.uint8)
    path = tmp_path / 'page.html'
    tracker.report(path)
    assert '<img' not in path.read_text()
    for pictures in (images, images[..., 0] / 255, lambda index: images[index]):
        tracker.report(path, pictures)
        assert path.read_text().count('<img') > 0
    # A file that cannot be read has no picture.
    tracker.report(path, [tmp_path / f'{row}.png' for row in range(ROWS)])
    assert '<img' not in path.read_text()
    with pytest.raises(ValueError, match='shape'):
        tracker.report(path, images.transpose(0, 3, 1, 2)[..., :2])


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / 'docs' / 'python.md').read_text()
    blocks = re.findall(r'(?s)```python\n(.*?)```', text)
    (program,) = (block for block in blocks if 'partial_fit' in block)
    monkeypatch.chdir(tmp_path)
    exec(program, names := {})
    table = names['tracker'].issues()
    marked = table['index'][table.is_issue]
    assert names['wrong'][marked].mean() > 0.8
    assert len(names['held_out']) == 180 and '180' in capsys.readouterr().out
    assert (tmp_path / 'labels.html').exists()


UNIFORM = np.full((2, 3), 1 / 3)


class Tensor:
    """What a tensor on a GPU that requires a gradient allows."""

    def __init__(self, values, on_gpu=True):
        self.values, self.on_gpu = np.asarray(values), on_gpu

    def __array__(self, dtype=None, copy=None):
        assert not self.on_gpu
        return self.values

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.values, on_gpu=False)

    def item(self):
        return self.values.item()

    def is_floating_point(self):
        return self.values.dtype.kind == 'f'

    def float(self):
        return Tensor(self.values.astype(np.float32), self.on_gpu)


@pytest.mark.parametrize(
    'made',
    [
        Tensor,
        np.ndarray.tolist,
        lambda values: [Tensor(row) for row in values],
        lambda values: values.astype(
            'f2' if values.dtype.kind == 'f' else 'i4'
        ),
        lambda values: (
            np.asarray(values, ml_dtypes.bfloat16)
            if values.dtype.kind == 'f'
            else values
        ),
    ],
    ids=['tensor', 'list', 'list of tensors', 'half', 'bfloat16'],
)
def test_numbers_of_any_library_are_taken(made):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3)).astype(ml_dtypes.bfloat16).astype(float)
    labels, rows = np.arange(6) % 3, np.arange(6)
    results = []
    for one in (made, lambda values: values):
        tracker = LabelTracker(one(labels), 3)
        tracker.update(one(rows[:4]), logits=one(logits[:4]))
        tracker.update(one(rows[:4]), one(softmax(logits[:4], axis=1).round(2)))
        tracker.held_out(one(rows[4:]), one(logits[4:]))
        results.append(tracker)
    assert_same(*results, atol=0.005)


def test_one_hot_labels_are_class_numbers():
    tracker = LabelTracker(np.eye(4)[[2, 0, 1]])
    assert tracker.classes == [0, 1, 2, 3]
    tracker.update([0, 1, 2], np.full((3, 4), 0.25))
    # Class 3 has no example.
    assert tracker.issues().given_label.tolist() == [2, 0, 1]


def test_whole_numbers_may_be_floats():
    assert LabelTracker(np.array([2.0, 0.0])).classes == [0, 1, 2]


def test_probabilities_of_held_out_rows_are_their_logits():
    loop = Loop()
    one, two = loop.tracker(held=HELD[:0]), loop.tracker(held=HELD[:0])
    said = softmax(loop.logits[0, HELD], axis=1)
    one.held_out(HELD, loop.logits[0, HELD], 0)
    two.held_out(HELD, epoch=0, probabilities=said)
    assert_same(one, two, atol=1e-6)
    with pytest.raises(ValueError, match='either'):
        one.held_out(HELD)
    with pytest.raises(ValueError, match='either'):
        one.held_out(HELD, said, probabilities=said)


def test_results_say_what_kind_the_predictions_were(tmp_path):
    for kind, word in (('seen', 'training steps'), ('pass', 'after training')):
        tracker = LabelTracker([0, 1, 2], predictions=kind)
        tracker.update([0, 1, 2], np.full((3, 3), 1 / 3), epoch=0)
        tracker.save(tmp_path / 'tracker.npz')
        tracker = LabelTracker.load(tmp_path / 'tracker.npz')
        assert tracker.summary()['predictions'] == kind
        assert any(word in text for text in tracker.summary()['statement'])
        tracker.report(tmp_path / 'page.html')
        assert word in (tmp_path / 'page.html').read_text()
    with pytest.raises(ValueError, match='seen predictions and passes'):
        tracker.merge(LabelTracker([0, 1, 2]))


def test_an_epoch_may_cover_a_part_of_the_rows():
    tracker = LabelTracker([0, 1, 2, 0])
    tracker.update([0, 1, 2], np.eye(3), epoch=0)
    tracker.update([0], [[0, 0, 1]], epoch=1)
    table = tracker.issues().set_index('index')
    assert table.agreement[[0, 1, 2]].tolist() == [0.5, 1, 1]
    assert table.split[3] == 'unseen'


def tracked():
    tracker = LabelTracker([0, 1, 2, 0, 1, 2])
    tracker.update([0, 1], UNIFORM, epoch=0)
    tracker.held_out([5], [[1.0, 0.0, 3.0]], epoch=0)
    return tracker


@pytest.mark.parametrize(
    'index, given, message',
    [
        ([0, 6], {'probabilities': UNIFORM}, '6'),
        ([-1, 0], {'probabilities': UNIFORM}, '-1'),
        ([0.0, 1.0], {'probabilities': UNIFORM}, 'float64'),
        ([[0, 1]], {'probabilities': UNIFORM}, 'index'),
        ([0], {'probabilities': UNIFORM}, r'\(1, 3\)'),
        ([0, 1], {'probabilities': UNIFORM[:, :2]}, r'\(2, 3\)'),
        ([0, 1], {'probabilities': 1.1 * UNIFORM}, '1.1'),
        ([0, 1], {'probabilities': [[0, 2, -1], [0, 0, 1]]}, 'row 0'),
        ([0, 1], {'probabilities': [[0, 0, 1], [3, 4, 5]]}, 'logits'),
        ([0, 1], {'probabilities': [[0, 0, 1], [np.nan, 0, 1]]}, 'row 1'),
        ([0, 1], {'logits': [[0, np.inf, 1], [0, 0, 1]]}, 'row 0'),
        ([0, 1], {'logits': UNIFORM}, 'probabilities'),
        ([0, 1], {}, 'either'),
        ([0, 1], {'probabilities': UNIFORM, 'logits': UNIFORM}, 'either'),
        ([4, 5], {'probabilities': UNIFORM}, 'row 5'),
        ([3, 4], {'probabilities': UNIFORM, 'epoch': -1}, '-1'),
        ([3, 4], {'probabilities': UNIFORM, 'epoch': 1.5}, '1.5'),
    ],
)
def test_updates_that_cannot_be_used(index, given, message):
    tracker, untouched = tracked(), tracked()
    with pytest.raises(ValueError, match=message):
        tracker.update(index, **given)
    assert_same(tracker, untouched)


def test_held_out_rows_that_cannot_be_used():
    tracker = tracked()
    with pytest.raises(ValueError, match='row 1'):
        tracker.held_out([1], [[0.0, 1.0, 2.0]])
    with pytest.raises(ValueError, match='softmax'):
        tracker.held_out([4], [[0.5, 0.25, 0.25]])
    tracker.held_out([], np.empty((0, 3)))
    tracker.update([], np.empty((0, 3)))


@pytest.mark.parametrize(
    'labels, options, message',
    [
        ([0, 3], {'num_classes': 3}, '3 in row 1'),
        ([0, -1], {}, '-1'),
        (['cat', 'dgo'], {'classes': ['cat', 'dog']}, 'dog'),
        (['cat', float('nan')], {}, 'nan'),
        ([0.0, 1.5], {}, '1.5'),
        ([0.0, 2.0, float('nan')], {}, 'nan'),
        ([None, 'a'], {}, 'None'),
        ([[0, 2]], {}, 'one-hot'),
        ([[1, 1], [0, 1]], {}, 'one-hot'),
        ([0, 1], {'predictions': 'passed'}, "'seen' or 'pass'.*passed"),
        ([], {}, 'at least one'),
        (['a', 'a'], {}, '2 classes'),
        (['a', 'b'], {'classes': ['a', 'b', 'a']}, 'differ'),
        (['a', 'b'], {'classes': ['a', 'b'], 'num_classes': 3}, '3'),
        ([0, 1], {'classes': ['a', 0.5]}, 'classes'),
        ([0, 1], {'features': np.zeros((3, 2))}, r'\(2, d\)'),
        ([0, 1], {'features': np.ones((2, 2))}, 'same'),
        ([0, 1], {'features': [[0.0], [np.nan]]}, 'row 1'),
    ],
)
def test_labels_and_features_that_cannot_be_used(labels, options, message):
    with pytest.raises(ValueError, match=message):
        LabelTracker(labels, **options)


def test_nothing_recorded_is_an_error():
    tracker = LabelTracker([0, 1])
    for call in (tracker.issues, tracker.summary):
        with pytest.raises(ValueError, match='update'):
            call()


def test_trackers_that_do_not_fit_together():
    with pytest.raises(ValueError, match='labels'):
        tracked().merge(LabelTracker([0, 1, 2, 0, 1, 1]))
    other = LabelTracker([0, 1, 2, 0, 1, 2])
    other.update([0, 1], UNIFORM)
    with pytest.raises(ValueError, match='epoch'):
        tracked().merge(other)
    other = LabelTracker([0, 1, 2, 0, 1, 2])
    other.update([4, 5], UNIFORM, epoch=0)
    with pytest.raises(ValueError, match='row 5'):
        tracked().merge(other)


def test_files_that_are_not_a_whole_tracker(tmp_path):
    path = tmp_path / 'tracker.npz'
    tracked().save(path)
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='damaged'):
        LabelTracker.load(path)
    for name in ('format', 'labels', 'bin_0_total', 'logits_0'):
        rest = {key: value for key, value in arrays.items() if key != name}
        np.savez(path, **rest)
        with pytest.raises(ValueError, match='tracker.npz'):
            LabelTracker.load(path)
    with path.open('wb') as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match='damaged'):
        LabelTracker.load(path)
    path.write_text('text')
    with pytest.raises(ValueError, match='damaged'):
        LabelTracker.load(path)
    with pytest.raises(FileNotFoundError):
        LabelTracker.load(tmp_path / 'missing')
