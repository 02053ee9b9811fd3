"""DivideMix against numbers recorded from the authors' code."""

import numpy as np
import pytest
import tensorflow as tf
from recordings import (
    TOLERANCE,
    TRAINABLE,
    TYPES,
    Golden,
    check_network,
    close,
    in_keras_layout,
    make_method,
    set_network,
)

from ieg.ops import losses

PASSES = {
    'lu25_e12': {'lambda_u': '25'},
    'lu150_e18': {'lambda_u': '150'},
    'lu0_e40': {'lambda_u': '0'},
    'lrdrop': {'lambda_u': '25'},
    'clothing': {'alpha': 0.5, 'mix_rows': 'labeled'},
}


@pytest.mark.parametrize('dtype', ['f64', 'f32'])
@pytest.mark.parametrize('name', PASSES)
def test_passes_over_both_networks_repeat_the_authors(name, dtype, precision):
    precision(TYPES[dtype], TYPES[dtype])
    tolerance = TOLERANCE[dtype]
    recorded = Golden(name).load()
    num_classes = int(recorded['cfg/num_class'])
    method = make_method(
        np.zeros(40),
        num_classes,
        float(recorded['cfg/weight_decay']),
        **PASSES[name],
    )
    for net in (0, 1):
        set_network(method.nets[net], recorded, f'init/net{net + 1}')
    for epoch, rate in enumerate(recorded['cfg/lr_per_epoch']):
        for net in (0, 1):
            where = f'epoch{epoch}/train_net{net + 1}'
            peer = [v.numpy() for v in method.nets[1 - net].variables]
            for step in range(int(recorded[f'{where}/steps'])):
                one_recorded_step(
                    method,
                    recorded,
                    net,
                    f'{where}/step{step}',
                    step,
                    rate,
                    dtype,
                    tolerance,
                )
            for before, after in zip(
                peer, method.nets[1 - net].variables, strict=True
            ):
                assert np.array_equal(before, after.numpy())


def one_recorded_step(
    method, recorded, net, where, step, rate, dtype, tolerance
):
    data = f'net{net + 1}_data'
    rows_x, rows_u = (int(recorded[f'{where}/rows_{k}']) for k in 'xu')
    x = slice(8 * step, 8 * step + rows_x)
    first_u = int(recorded[f'{where}/u_start'])
    u = slice(first_u, first_u + rows_u)
    probability = np.ones((2, 40), np.float32)
    weights = recorded[f'{data}/w']
    probability[1 - net, : len(weights)] = weights
    method.clean_probability.assign(probability)
    method.permutation = recorded[f'{where}/perm']
    images = {
        view: tf.constant(
            recorded[f'{data}/{view}_nhwc'][u if view[0] == 'u' else x],
            TYPES[dtype],
        )
        for view in ('x1', 'x2', 'u1', 'u2')
    }
    weight = recorded.get(
        f'{dtype}/{where}/lamb', recorded.get(f'f64/{where}/lamb', 0.0)
    )
    batch = {
        'labeled': {
            'images': (images['x1'], images['x2']),
            'label': tf.constant(recorded[f'{data}/label'][x], tf.int32),
            'index': tf.range(x.start, x.stop, dtype=tf.int64),
        },
        # Only to be remembered by: its labels are not learnt.
        'unlabeled': {
            'images': (images['u1'], images['u2']),
            'label': tf.zeros(len(images['u1']), tf.int32),
            'index': tf.range(len(images['u1']), dtype=tf.int64),
        },
        'step': {
            'share': tf.constant(recorded[f'{where}/l'], TYPES[dtype]),
            'unlabeled_weight': tf.constant(weight, TYPES[dtype]),
        },
    }
    method.optimizers[net].learning_rate.assign(rate)
    logs = method.mix_step(net, batch)
    for ours, theirs in (
        ('loss', 'loss'),
        ('loss_labeled', 'Lx'),
        ('loss_unlabeled', 'Lu'),
        ('loss_prior', 'penalty'),
    ):
        key = f'{dtype}/{where}/{theirs}'
        if ours in logs and key in recorded:
            close(logs[ours], recorded[key], tolerance, key)
    check_network(
        method.nets[net], recorded, f'{dtype}/{where}/after', tolerance
    )
    for name, velocity in zip(
        TRAINABLE, method.optimizers[net].velocities, strict=True
    ):
        key = f'{dtype}/{where}/momentum/{name}'
        if key in recorded:
            close(velocity, in_keras_layout(recorded[key]), tolerance, key)


@pytest.mark.parametrize('dtype', ['f64', 'f32'])
@pytest.mark.parametrize(
    ('name', 'mode'),
    [('warmup', 'sym'), ('warmup', 'asym'), ('clothing_warmup', 'clothing')],
)
def test_warm_up_repeats_the_authors(name, mode, dtype, precision):
    precision(TYPES[dtype], TYPES[dtype])
    tolerance = TOLERANCE[dtype]
    recorded = Golden(name).load()
    num_classes = recorded[f'{dtype}/{mode}/step0/logits'].shape[1]
    method = make_method(
        np.zeros(32),
        num_classes,
        float(recorded['weight_decay']),
        float(recorded['lr']),
        warm_up_penalty=0.0 if mode == 'sym' else 1.0,
    )
    set_network(method.nets[1], recorded, 'init')
    size = int(recorded['batch_size'])
    for step in range(2):
        rows = slice(size * step, size * (step + 1))
        images = tf.constant(recorded['input_nhwc'][rows], TYPES[dtype])
        part = {
            'images': (images,),
            'label': tf.constant(recorded['label'][rows], tf.int32),
            'index': tf.range(size, dtype=tf.int64),
        }
        logs = method.warm_up_step(1, {'train': part})
        where = f'{dtype}/{mode}/step{step}'
        close(logs['loss'], recorded[f'{where}/loss'], tolerance)
        check_network(method.nets[1], recorded, f'{where}/after', tolerance)


@pytest.mark.parametrize('case', [0, 1, 2])
def test_loss_terms_repeat_the_authors(case):
    recorded = Golden('vectors').load()
    case = f'loss/case{case}'
    x, u = (tf.constant(recorded[f'{case}/logits_{k}']) for k in 'xu')
    targets_x, targets_u = (recorded[f'{case}/targets_{k}'] for k in 'xu')
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, u])
        labeled = tf.reduce_mean(losses.soft_cross_entropy(targets_x, x))
        unlabeled = tf.reduce_mean(losses.squared_error(targets_u, u))
        entropy = tf.reduce_mean(losses.negative_entropy(x))
    close(labeled, recorded[f'{case}/Lx'], 1e-12)
    close(unlabeled, recorded[f'{case}/Lu'], 1e-12)
    close(entropy, recorded[f'{case}/neg_entropy'], 1e-12)
    close(tape.gradient(labeled, x), recorded[f'{case}/grad_Lx'], 1e-12)
    close(tape.gradient(unlabeled, u), recorded[f'{case}/grad_Lu'], 1e-12)
    close(
        tape.gradient(entropy, x), recorded[f'{case}/grad_neg_entropy'], 1e-12
    )


def test_vectors_of_the_specification():
    close(
        losses.sharpen(tf.constant([[0.5, 0.3, 0.2]]), 0.5)[0],
        [0.657895, 0.236842, 0.105263],
        1e-6,
    )
    logits = tf.constant([[1.0, 0, 0], [0, 2, 1]])
    targets = tf.constant([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    mean = tf.reduce_mean
    close(mean(losses.soft_cross_entropy(targets, logits)), 0.879525, 1e-6)
    close(mean(losses.squared_error(targets, logits)), 0.005905, 1e-6)
    close(losses.prior_divergence(logits), 0.034894, 1e-6)
    close(mean(losses.negative_entropy(logits)), -0.903862, 1e-6)


def test_entropy_and_prior_stay_finite_where_the_authors_overflow():
    # The recorded penalty is NaN from a logit gap of 104 on.
    for gap in Golden('vectors')['underflow/gap']:
        logits = tf.constant([[0.0, -float(gap)]])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = losses.negative_entropy(logits)[0]
            total += losses.prior_divergence(logits)
        assert np.isfinite(total)
        assert np.isfinite(tape.gradient(total, logits)).all()


def test_targets_have_no_gradient_and_five_updates_move_the_statistics():
    recorded = Golden('lu25_e12').load()
    method = make_method(np.zeros(40), 10, 0.0)
    bn = method.nets[0].layers[2]
    updates = []
    original = bn.call

    def counted(inputs, training=False):
        if training:
            updates.append(inputs.shape[0])
        return original(inputs, training=training)

    bn.call = counted
    x = tf.constant(recorded['net1_data/x1_nhwc'][:8])
    u = tf.constant(recorded['net1_data/u1_nhwc'][:6])
    method.permutation = np.arange(28)[::-1]
    method.mix_step(
        0,
        {
            'labeled': {
                'images': (x, x),
                'label': tf.zeros(8, tf.int32),
                'index': tf.range(8, dtype=tf.int64),
            },
            'unlabeled': {
                'images': (u, u),
                'label': tf.zeros(len(u), tf.int32),
                'index': tf.range(len(u), dtype=tf.int64),
            },
            'step': {'share': 0.7, 'unlabeled_weight': 1.0},
        },
    )
    assert updates == [6, 6, 8, 8, 28]
