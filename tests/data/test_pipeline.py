"""Batches from ids: the same ones for any number of replicas."""

import loading
import numpy as np
import pytest
import tensorflow as tf
from pipelines import assert_same, collect, joined, make
from view_samples import RECIPE

from ieg.data.augment import views
from ieg.data.pipeline import draw
from ieg.methods.base import Phase, Stream


@pytest.fixture(scope='module')
def fake():
    return loading.load('fake_uniform_0.4', probe_ratio=0.1, train_examples=200)


def contents(batches):
    """Returns the streams of batches without the facts of their steps."""
    return [
        {name: part for name, part in batch.items() if name != 'step'}
        for batch in batches
    ]


PAIR = Phase('step', {'train': np.arange(20), 'pair': np.arange(50, 60)}, 4)
TRAIN = Phase('step', {'train': np.arange(20)}, 4)


# Views.


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('shape', [(5, 7, 3), (4, 4, 1)])
def test_crop_and_flip_is_slicing_of_the_padded_image(shape, flip):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, *shape), np.uint8)
    offsets = rng.integers(0, 5, (9, 2)).astype(np.int32)
    flipped = rng.random(9) < 0.5
    found = views.crop_and_flip(images, 2, offsets, flipped if flip else None)
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)])
    for image, (y, x), mirror, result in zip(
        padded, offsets, flipped, found.numpy(), strict=True
    ):
        crop = image[y : y + shape[0], x : x + shape[1]]
        if flip and mirror:
            crop = crop[:, ::-1]
        np.testing.assert_array_equal(result, crop)


def draws(seed=(1, 2), count=600, offset=0, total=None):
    return views.Draws(
        tf.constant(seed), tf.convert_to_tensor(offset), count, total or count
    )


def weak_crops(images, how):
    """Returns the pixels of the weak view in their original units."""
    plain = views.weak(images, how, RECIPE).numpy()
    return np.rint((plain * RECIPE.std + RECIPE.mean) * 255)


def test_the_weak_view_reaches_every_offset_and_mirrors_half():
    # Each pixel names its place.
    image = 1 + np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    images = np.broadcast_to(image, (600, 4, 4, 3)).copy()
    padded = np.pad(image[0, ..., 0], 2)
    crops = {}
    for y in range(5):
        for x in range(5):
            crop = padded[y : y + 4, x : x + 4]
            crops[crop.tobytes(), False] = crops[
                crop[:, ::-1].tobytes(), True
            ] = (y, x)
    seen = {}
    for result in weak_crops(images, draws())[..., 0].astype(np.uint8):
        for mirrored in (False, True):
            place = crops.get((result.tobytes(), mirrored))
            if place:
                key = (place, mirrored)
                seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 50
    assert sum(seen.values()) == 600
    mirrored = sum(n for (_, flag), n in seen.items() if flag)
    assert 240 < mirrored < 360


def test_the_plain_view_is_standardised():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    found = views.plain(images, draws(count=3), RECIPE)
    expected = (images / 255 - RECIPE.mean) / np.array(RECIPE.std)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_view_is_the_same_eagerly_in_the_pipeline_and_in_a_replica(
    two_replicas,
):
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), np.uint8)

    def view(offset, count):
        return views.weak(
            tf.constant(images)[offset : offset + count],
            draws(count=count, offset=offset, total=8),
            RECIPE,
        )

    eager = view(0, 8).numpy()
    assert len(np.unique(eager.reshape(8, -1), axis=0)) == 8
    (mapped,) = tf.data.Dataset.range(1).map(lambda _: view(0, 8))
    np.testing.assert_array_equal(mapped, eager)

    @tf.function(autograph=False)
    def replicas():
        def one():
            context = tf.distribute.get_replica_context()
            start = 4 * context.replica_id_in_sync_group
            return views.weak(
                tf.slice(tf.constant(images), [start, 0, 0, 0], [4, 6, 6, 3]),
                draws(count=4, offset=start, total=8),
                RECIPE,
            )

        return two_replicas.run(one)

    np.testing.assert_array_equal(joined(replicas()), eager)


# Training batches.


def test_two_replicas_see_the_same_global_batches(fake, two_replicas):
    found = [
        contents(collect(make(fake, s), s, PAIR, epoch=2, number=1))
        for s in (tf.distribute.get_strategy(), two_replicas)
    ]
    assert found[0][0]['train']['images'][0].shape == (8, 8, 8, 3)
    assert len(found[0][0]['pair']['images']) == 2
    assert_same(*found)


def test_views_on_the_device_are_those_of_the_host(fake, strategy):
    host, device = (
        collect(make(fake, strategy, on_device=on_device), strategy, PAIR)
        for on_device in (False, True)
    )
    assert_same(host, device)


def test_a_batch_holds_what_its_ids_say(fake, strategy):
    phase = Phase(
        'step',
        {'train': np.arange(20), 'probe': np.arange(5)},
        3,
        per_step={'share': np.array([0.25, 0.5, 0.75])},
    )
    batches = collect(make(fake, strategy), strategy, phase)
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        for name, split in (('train', fake.train), ('probe', fake.probe)):
            index = batch[name]['index']
            assert set(index) <= set(phase.examples[name])
            np.testing.assert_array_equal(
                batch[name]['label'], split.labels[index]
            )
        plain = views.plain(fake.probe.images[index], None, fake.preprocessing)
        np.testing.assert_allclose(
            batch['probe']['images'][0], plain, atol=1e-6
        )
        step = batch['step']
        assert set(step['number']) == {number}
        assert set(step['share']) == {phase.per_step['share'][number]}
        assert set(step['learning_rate']) == {np.float32(1 + number / 2)}


def test_two_views_of_an_image_differ(fake):
    strategy = tf.distribute.get_strategy()
    (batch, *_) = collect(make(fake, strategy), strategy, PAIR)
    one, two = batch['pair']['images']
    assert (one != two).any(axis=(1, 2, 3)).sum() >= 3


def test_ids_wrap_around_with_fresh_shuffles(fake, strategy):
    phase = Phase('step', {'train': np.arange(100, 120)}, 5)
    batches = collect(make(fake, strategy), strategy, phase)
    ids = np.concatenate([batch['train']['index'] for batch in batches])
    assert len(ids) == 40
    rounds = ids.reshape(2, 20)
    for order in rounds:
        assert sorted(order) == list(range(100, 120))
    assert (rounds[0] != rounds[1]).any()


def test_drawing_stops_where_it_is_told():
    ids = np.array([5, 7, 9])
    found = draw(ids, 7, np.random.default_rng(0))
    assert found.dtype == np.int64
    assert sorted(found[:3]) == sorted(found[3:6]) == [5, 7, 9]
    assert found[6] in ids
    np.testing.assert_array_equal(draw(ids, 7, None), [5, 7, 9, 5, 7, 9, 5])
    np.testing.assert_array_equal(draw(ids, 2, None), [5, 7])
    with pytest.raises(ValueError, match='no examples'):
        draw(ids[:0], 7, np.random.default_rng(0))
    with pytest.raises(ValueError, match='no examples'):
        draw(ids[:0], 7, None)


def test_an_ordered_stream_comes_as_its_phase_lists_it(fake, strategy):
    streams = {'train': Stream(8), 'probe': Stream(8, shuffle=False)}
    order = np.array([9, 3, 50, 7, 120, 8, 1, 0, 2, 44, 6])
    phase = Phase('step', {'probe': order, 'train': order}, 3)
    pipeline = make(fake, strategy, streams=streams)
    for epoch in (0, 1):
        batches = collect(pipeline, strategy, phase, epoch)
        found = np.concatenate([batch['probe']['index'] for batch in batches])
        # 24 places for 11 ids: twice all, and the first two once more.
        np.testing.assert_array_equal(found, [*order, *order, *order[:2]])
        # The other one is shuffled as ever.
        shuffled = np.concatenate([b['train']['index'] for b in batches])
        assert (shuffled[:11] != order).any()
        assert set(shuffled[:11]) == set(order)


def test_an_ordered_probe_gives_balanced_batches(fake, strategy):
    streams = {'probe': Stream(8, ('plain',), 'probe', shuffle=False)}
    ids = np.arange(len(fake.probe))
    assert len(ids) == 20
    phase = Phase('step', {'probe': ids}, 5)
    batches = collect(make(fake, strategy, streams=streams), strategy, phase)
    for batch in batches:
        np.testing.assert_array_equal(batch['probe']['label'], [0, 1, 2, 3] * 2)


def ids_and_images(fake, seed=3, epoch=0, number=0):
    strategy = tf.distribute.get_strategy()
    # All of them are in the one batch.
    phase = Phase('step', {'train': np.arange(8)}, 1)
    pipeline = make(fake, strategy, seed)
    (batch,) = collect(pipeline, strategy, phase, epoch, number)
    return batch['train']['index'], batch['train']['images'][0]


def test_the_same_place_in_a_run_gives_the_same_batches(fake):
    assert_same(ids_and_images(fake), ids_and_images(fake))


@pytest.mark.parametrize('change', [{'seed': 4}, {'epoch': 1}, {'number': 1}])
def test_another_seed_epoch_or_phase_gives_others(fake, change):
    ids, images = ids_and_images(fake)
    other_ids, other_images = ids_and_images(fake, **change)
    assert (ids != other_ids).any()
    images, other = images[np.argsort(ids)], other_images[np.argsort(other_ids)]
    assert (images != other).any(axis=(1, 2, 3)).sum() >= 4


def test_streams_are_drawn_and_viewed_independently(fake):
    strategy = tf.distribute.get_strategy()
    streams = {'one': Stream(8), 'two': Stream(8)}
    pipeline = make(fake, strategy, streams=streams)
    # One example only, so both streams show the same one.
    phase = Phase('step', dict.fromkeys(streams, np.array([0])), 2)
    batch = collect(pipeline, strategy, phase)[0]
    assert (batch['one']['images'][0] != batch['two']['images'][0]).any()
    phase = Phase('step', dict.fromkeys(streams, np.arange(64)), 2)
    batch = collect(pipeline, strategy, phase)[0]
    assert (batch['one']['index'] != batch['two']['index']).any()


def test_one_data_set_serves_epochs_of_any_length(fake, strategy):
    pipeline = make(fake, strategy)
    for epoch, steps in enumerate((3, 1, 6)):
        phase = Phase('step', TRAIN.examples, steps)
        assert len(collect(pipeline, strategy, phase, epoch)) == steps


def test_a_phase_that_is_entered_late_gives_its_last_batches(fake, strategy):
    pipeline = make(fake, strategy)
    phase = Phase('step', TRAIN.examples, 5)
    whole = collect(pipeline, strategy, phase)
    for start in (2, 4, 0):
        late = collect(pipeline, strategy, phase, start=start)
        assert_same(late, whole[start:])


def test_a_batch_that_replicas_cannot_share_is_refused(fake, two_replicas):
    with pytest.raises(ValueError, match="7 examples of 'train'"):
        make(fake, two_replicas, streams={'train': Stream(7)})


# Sweeps.


@pytest.mark.parametrize('on_device', [False, True])
@pytest.mark.parametrize('split', ['train', 'test', 'probe'])
def test_a_sweep_shows_every_example_once_and_plainly(
    fake, strategy, split, on_device
):
    pipeline = make(fake, strategy, on_device=on_device)
    content = getattr(fake, split)
    seen = {}
    for batch in pipeline.sweep(split, 48):
        done = strategy.run(pipeline.materialise, args=(batch, split))
        done = joined(done)
        assert len(done['index']) == 48
        for index, label, image in zip(
            done['index'], done['label'], done['images'][0], strict=True
        ):
            if index < 0:
                continue
            assert index not in seen
            assert label == content.labels[index]
            seen[index] = image
    assert sorted(seen) == list(range(len(content)))
    found = np.stack([seen[i] for i in range(len(content))])
    plain = views.plain(content.images, None, fake.preprocessing)
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_scores_come_in_the_order_of_ids_without_padding(fake, strategy):
    from ieg.training.steps import StepRunner

    class Echo:
        def echo(self, batch):
            return {'label': batch['label'], 'twice': 2 * batch['index']}

    runner = StepRunner(Echo(), strategy, make(fake, strategy))
    found = runner.score('echo', split='test', batch_size=48)
    np.testing.assert_array_equal(found['label'], fake.test.labels)
    np.testing.assert_array_equal(found['twice'], 2 * np.arange(128))
