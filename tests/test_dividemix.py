"""DivideMix against numbers recorded from the authors' code."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ieg.methods.base import Info
from ieg.methods.dividemix import Config, DivideMix
from ieg.networks.layers import FusedBatchNormalization
from ieg.training import losses, mixture, optim

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'dividemix.npz'
TOLERANCE = {'f64': 1e-10, 'f32': 2e-5}
TYPES = {'f64': 'float64', 'f32': 'float32'}


class Golden:
    """The recorded arrays below one prefix."""

    def __init__(self, prefix):
        self._prefix = prefix

    def __getitem__(self, name):
        with np.load(GOLDEN) as content:
            return content[f'{self._prefix}/{name}']

    def load(self):
        with np.load(GOLDEN) as content:
            start = f'{self._prefix}/'
            return {
                k[len(start) :]: content[k]
                for k in content.files
                if k.startswith(start)
            }


def close(actual, expected, tolerance, what=''):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, what
    error = np.abs(actual - expected) / (1 + np.abs(expected))
    assert error.max(initial=0) < tolerance, what


def small_network(num_classes):
    """The recording's network, for 16x16x3 images."""
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(6, 3, padding='same', use_bias=False)(images)
    x = keras.layers.ReLU()(FusedBatchNormalization()(x))
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(10, 3, padding='same')(x)
    x = keras.layers.ReLU()(FusedBatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


# The recorded tensors in the order of the network's variables.
TRAINABLE = (
    'conv1.weight bn1.weight bn1.bias conv2.weight conv2.bias '
    'bn2.weight bn2.bias fc.weight fc.bias'
).split()
STATISTICS = (
    'bn1.running_mean bn1.running_var bn2.running_mean bn2.running_var'
).split()


def in_keras_layout(array):
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])


def set_network(net, recorded, prefix):
    for names, variables in (
        (TRAINABLE, net.trainable_variables),
        (STATISTICS, net.non_trainable_variables),
    ):
        for name, variable in zip(names, variables, strict=True):
            variable.assign(in_keras_layout(recorded[f'{prefix}/{name}']))


def check_network(net, recorded, prefix, tolerance):
    for names, variables in (
        (TRAINABLE, net.trainable_variables),
        (STATISTICS, net.non_trainable_variables),
    ):
        for name, variable in zip(names, variables, strict=True):
            expected = in_keras_layout(recorded[f'{prefix}/{name}'])
            close(variable, expected, tolerance, f'{prefix}/{name}')


class Recorded(DivideMix):
    """DivideMix that mixes with the recorded partners."""

    permutation = None

    def partners(self, batch, count):
        return tf.constant(self.permutation)


def make_method(labels, num_classes, l2, rate=0.02, seed=0, **options):
    info = Info(
        num_classes=num_classes,
        image_shape=(16, 16, 3),
        labels=np.asarray(labels, np.int32),
        num_probe=0,
        batch_size=8,
        epochs=30,
        seed=seed,
    )
    return Recorded(
        Config(**options),
        info,
        lambda number: small_network(num_classes),
        lambda: optim.SGD(rate, 0.9, l2=l2),
    )


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
        'unlabeled': {'images': (images['u1'], images['u2'])},
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


def test_ramp_repeats_the_authors():
    recorded = Golden('vectors').load()
    method = make_method(np.zeros(8), 10, 0.0, warm_up=10)
    found = float(recorded['ramp/lambda_u']) * method.ramp(recorded['ramp/t'])
    close(found, recorded['ramp/lambda'], 1e-12)


def test_mixture_repeats_the_authors():
    recorded = Golden('gmm').load()
    for name in ('separable', 'overlapping', 'noise90', 'outlier'):
        normalised = mixture.normalise(
            recorded[f'{name}/loss'].astype(np.float64)
        )
        close(normalised, recorded[f'f64/{name}/normalised'], 1e-12)
        for seed in (0, 1, 2):
            found = mixture.fit(normalised, seed).clean_probability
            close(found, recorded[f'f64/{name}/seed{seed}/prob'], 1e-10, name)


def test_eight_losses():
    recorded = Golden('vectors').load()
    normalised = mixture.normalise(recorded['gmm8/loss'])
    close(normalised, recorded['gmm8/normalised'], 1e-12)
    found = mixture.fit(normalised, 0)
    close(found.clean_probability, recorded['gmm8/prob'], 1e-10)
    close(found.means, recorded['gmm8/means_sorted'], 1e-10)


def scores_of(loss):
    """A pass over the data that gives both networks these losses `[N]`."""
    logits = np.zeros((len(loss), 2, 10), np.float32)

    def score(step):
        assert step == 'example_losses'
        return {'loss': np.stack([loss, loss], axis=1), 'logits': logits}

    return score


def test_history_averages_the_last_five_normalised_losses():
    recorded = Golden('gmm').load()
    series = recorded['history/loss']
    method = make_method(
        np.zeros(series.shape[1]), 10, 0.0, loss_average=5, warm_up=0
    )
    for epoch, loss in enumerate(series):
        method.begin_epoch(epoch, scores_of(loss))
        last = range(max(0, epoch - 4), epoch + 1)
        expected = np.mean(
            [recorded[f'f64/history/call{n}/normalised'] for n in last], axis=0
        )
        close(method.host_state['losses'].mean(0)[0], expected, 1e-12)
        # The start of k-means differs, which moves a posterior by 2.5e-2.
        recorded_prob = recorded[f'f64/history/call{epoch}/prob']
        close(method.host_state['probability'][0], recorded_prob, 4e-2)
    assert method.host_state['losses'].shape == (5, 2, series.shape[1])


def separable(count=400, wrong=160, seed=0):
    rng = np.random.default_rng(seed)
    loss = rng.uniform(0.0, 0.3, count).astype(np.float32)
    loss[:wrong] += 3
    return loss


def test_a_division_makes_one_pass_per_network_from_its_peer():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0, lambda_u='50')
    loss = np.stack([separable(), separable(wrong=100)], axis=1)
    score = {'loss': loss, 'logits': np.zeros((400, 2, 10), np.float32)}
    first, second = method.begin_epoch(0, lambda step: score)
    assert (first.args, second.args) == ((0,), (1,))
    # Network 0 is trained on what network 1 calls clean, and vice versa.
    assert np.array_equal(first.examples['labeled'], np.arange(100, 400))
    assert np.array_equal(second.examples['labeled'], np.arange(160, 400))
    assert np.array_equal(second.examples['unlabeled'], np.arange(160))
    assert first.num_steps == -(-300 // 8)
    assert (first.per_step['share'] >= 0.5).all()
    expected = 50 * np.arange(first.num_steps) / (300 // 8 + 1) / 16
    close(first.per_step['unlabeled_weight'], expected, 1e-12)
    score_, chosen = method.selection()
    assert chosen[160:].all() and not chosen[:100].any()


def remarks_of(method):
    return ' '.join(method.take_reports()[1])


def test_a_bad_loss_does_not_spoil_the_division():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0)
    loss = separable()
    loss[3] = np.nan
    phases = method.begin_epoch(0, scores_of(loss))
    assert np.array_equal(phases[0].examples['labeled'], np.arange(160, 400))
    assert '1 non-finite' in remarks_of(method)


def test_an_outlier_does_not_spoil_the_division():
    loss = np.concatenate([separable(4000, 1600), [3000]]).astype(np.float32)
    tamed, remarks = mixture.tame(loss)
    assert remarks
    chosen = mixture.fit(mixture.normalise(tamed), 0).clean_probability > 0.5
    assert np.array_equal(np.flatnonzero(chosen), np.arange(1600, 4000))
    raw = mixture.fit(mixture.normalise(loss), 0).clean_probability > 0.5
    assert raw.sum() == 4000  # What happens without the guard.


def test_ordinary_losses_pass_the_guard_unchanged():
    recorded = Golden('gmm').load()
    for name in ('separable', 'overlapping', 'noise90'):
        tamed, remarks = mixture.tame(recorded[f'{name}/loss'])
        assert np.array_equal(tamed, recorded[f'{name}/loss'])
        assert not remarks


def test_equal_losses_are_all_clean():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0)
    phases = method.begin_epoch(0, scores_of(np.full(400, 2.0, np.float32)))
    assert [phase.step for phase in phases] == ['labeled_step'] * 2
    assert 'every example clean' in remarks_of(method)


def test_an_empty_clean_part_is_topped_up():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0, p_threshold=1.0)
    loss = separable()
    phases = method.begin_epoch(0, scores_of(loss))
    assert len(phases[0].examples['labeled']) == 8
    assert phases[0].examples['labeled'].min() >= 160
    assert 'smallest loss' in remarks_of(method)


def test_a_collapse_keeps_the_last_division_once():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0)
    method.begin_epoch(0, scores_of(separable()))
    method.take_reports()
    collapsed = separable(wrong=380)
    phases = method.begin_epoch(1, scores_of(collapsed))
    assert len(phases[0].examples['labeled']) == 240
    assert 'jumped' in remarks_of(method)
    phases = method.begin_epoch(2, scores_of(collapsed))
    assert len(phases[0].examples['labeled']) == 20


def test_auto_lambda_u_follows_the_published_table():
    method = make_method(np.zeros(8), 10, 0.0)
    rates = {0.2: 0, 0.45: 25, 0.72: 25, 0.81: 50}
    for rate, weight in rates.items():
        assert method.lambda_u(rate) == pytest.approx(weight)


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
            'unlabeled': {'images': (u, u)},
            'step': {'share': 0.7, 'unlabeled_weight': 1.0},
        },
    )
    assert updates == [6, 6, 8, 8, 28]
