"""AlexNet, VGG-19 and the networks of Keras: sizes, weights, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.utils import file_utils

from ieg.errors import UsageError
from ieg.networks import applications, create_network
from ieg.networks.layers import FusedBatchNormalization

IMAGENET = {
    'resnet50': keras.applications.ResNet50,
    'resnet50v2': keras.applications.ResNet50V2,
    'inception_resnet_v2': keras.applications.InceptionResNetV2,
    'vgg19': keras.applications.VGG19,
}
# Means of the red, green and blue of Caffe's ImageNet.
CAFFE_MEANS = (123.68, 116.779, 103.939)
NARROW = (4, 4, 8, 8, 8)

# Keras itself, under NumPy 2, when it saves a network.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ impl:DeprecationWarning'
)


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def file_name(name):
    return f'{name}_weights_tf_dim_ordering_tf_kernels_notop.h5'


def save_reference(name, size, folder):
    """Saves weights where a download would, and returns Keras' own network.

    Fresh normalisation changes nothing, so it gets random numbers.
    """
    reference = IMAGENET[name](
        include_top=False,
        weights=None,
        input_shape=(size, size, 3),
        pooling='avg',
    )
    rng = np.random.default_rng(0)
    for layer in reference.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for vector in layer.variables:
                vector.assign(rng.uniform(0.5, 1.5, vector.shape))
    reference.save(folder / file_name(name))
    return reference


def create_pretrained(name, num_classes, size, folder):
    """Builds a network from the weights in a folder, as if downloaded."""

    def get_file(fname, *args, **kwargs):
        return str(folder / fname)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_utils, 'get_file', get_file)
        return create_network(
            name, num_classes, (size, size, 3), pretrained=True
        )


def pixels(size):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, size, size, 3)).astype('uint8')


def features(net, images):
    inner = keras.Model(net.inputs[0], net.layers[-1].input)
    return np.asarray(inner(images))


def has_flip(net):
    return any(type(op).__name__ == 'Flip' for op in net.operations)


@pytest.fixture(scope='module')
def resnet50(tmp_path_factory):
    """The network with 'ImageNet' weights, and Keras' own with the same."""
    folder = tmp_path_factory.mktemp('models')
    reference = save_reference('resnet50', 32, folder)
    return create_pretrained('resnet50', 14, 32, folder), reference


@pytest.fixture(scope='module')
def resnet50v2():
    return create_network('resnet50v2', 10, (32, 32, 3))


@pytest.fixture(scope='module')
def inception():
    """The network of WebVision, in mixed precision."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy('mixed_bfloat16')
    found = create_network('inception_resnet_v2', 50, (75, 75, 3))
    keras.config.set_dtype_policy(policy)
    return found


@pytest.fixture(scope='module')
def vgg19():
    keras.utils.set_random_seed(1)
    return create_network('vgg19', 10, (32, 32, 3))


@pytest.fixture(scope='module')
def vgg19_of_four_channels():
    keras.utils.set_random_seed(2)
    return create_network('vgg19', 10, (32, 32, 4))


@pytest.fixture
def network(request, name):
    """The network of the test's parameter `name`, built once."""
    fixture = 'inception' if name.startswith('inception') else name
    found = request.getfixturevalue(fixture)
    return found[0] if isinstance(found, tuple) else found


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ('name', 'num_classes', 'parameters', 'statistics'),
    [
        ('resnet50', 14, 23_563_278, 53_120),
        slow('resnet50v2', 10, 23_539_850, 45_440),
        slow('inception_resnet_v2', 50, 54_383_314, 60_544),
        ('vgg19', 10, 20_029_514, 0),
    ],
)
def test_networks_of_keras(network, name, num_classes, parameters, statistics):
    net = network
    assert net.name == name
    assert net.output_shape == (None, num_classes)
    assert net.output.dtype == 'float32'
    assert isinstance(net.layers[-1], keras.layers.Dense)
    assert count(net.trainable_variables) == parameters
    assert count(net.non_trainable_variables) == statistics
    assert all(v.dtype == 'float32' for v in net.variables)


@pytest.mark.parametrize(
    ('name', 'layers', 'epsilon'),
    [
        ('resnet50', 53, 1.001e-5),
        slow('resnet50v2', 49, 1.001e-5),
        slow('inception_resnet_v2', 204, 1e-3),
    ],
)
def test_normalisation_is_fused_and_has_our_momentum(
    network, name, layers, epsilon
):
    net = network
    norms = [la for la in net.layers if 'BatchNorm' in type(la).__name__]
    assert len(norms) == layers
    assert all(isinstance(la, FusedBatchNormalization) for la in norms)
    assert {la.momentum for la in norms} == {0.9}
    assert {la.epsilon for la in norms} == {epsilon}


@pytest.mark.slow
def test_inception_has_names_that_do_not_count_the_layers_of_the_process(
    inception,
):
    paths = [v.path for v in inception.variables]
    assert len(set(paths)) == len(paths)
    assert paths[:2] == ['conv2d0/kernel', 'batchnormalization1/gamma']
    made_up = ('conv2d_', 'batch_normalization', 'custom_scale_layer')
    assert not [
        la.name for la in inception.layers if la.name.startswith(made_up)
    ]


@pytest.mark.parametrize(
    ('name', 'parameters', 'statistics'),
    [('vgg19_bn', 20_040_522, 11_008), ('alexnet', 2_472_266, 0)],
)
def test_networks_for_cifar(name, parameters, statistics):
    net = create_network(name, 10, (32, 32, 3))
    assert net.output_shape == (None, 10)
    assert count(net.trainable_variables) == parameters
    assert count(net.non_trainable_variables) == statistics
    norms = [la for la in net.layers if isinstance(la, FusedBatchNormalization)]
    assert len(norms) == (16 if name == 'vgg19_bn' else 0)
    assert all(la.momentum == 0.9 for la in norms)


@pytest.mark.parametrize('name', ['vgg19_bn', 'alexnet'])
def test_other_images_in_mixed_precision(precision, name):
    precision('mixed_bfloat16')
    paths = []
    for image_shape in ((32, 40, 1), (64, 64, 3)):
        net = create_network(name, 7, image_shape, widths=NARROW)
        logits = net(np.ones((2, *image_shape), 'float32'))
        assert logits.shape == (2, 7)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
        paths.append([v.path for v in net.variables])
    assert paths[0] == paths[1]


def kernels(net):
    return [v.numpy() for v in net.variables if v.path.endswith('kernel')]


@pytest.mark.parametrize('name', ['vgg19_bn', 'alexnet'])
def test_the_seed_decides_the_initial_weights(name):
    def create(seed):
        keras.utils.set_random_seed(seed)
        return kernels(create_network(name, 10, (32, 32, 3), widths=NARROW))

    for first, again, other in zip(
        create(1), create(1), create(2), strict=True
    ):
        np.testing.assert_array_equal(first, again)
        assert not np.allclose(first, other)


def test_the_seed_decides_the_initial_weights_of_keras(
    vgg19, vgg19_of_four_channels
):
    keras.utils.set_random_seed(1)
    again = create_network('vgg19', 10, (32, 32, 3))
    for one, two in zip(kernels(vgg19), kernels(again), strict=True):
        np.testing.assert_array_equal(one, two)
    # Only the very first kernel has another shape.
    others = kernels(vgg19_of_four_channels)
    for one, other in zip(kernels(vgg19)[1:], others[1:], strict=True):
        assert not np.allclose(one, other)


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('resnet50', 32),
        ('resnet50v2', 32),
        ('inception_resnet_v2', 75),
        ('vgg19', 32),
        ('vgg19_bn', 32),
        ('alexnet', 29),
    ],
)
def test_an_image_too_small_names_the_limit_and_a_way_out(name, size):
    with pytest.raises(
        UsageError,
        match=f'{name} .*{size}x{size}.*{size - 1}x90.*--network_name=cnn',
    ):
        create_network(name, 10, (size - 1, 90, 3))


def test_alexnet_takes_its_smallest_image():
    net = create_network('alexnet', 10, (29, 29, 1), widths=NARROW)
    assert net.get_layer('conv5_pool').output.shape == (None, 1, 1, 8)


def test_pretrained_scalings():
    scalings = {n: applications.PRETRAINED_SCALING[n] for n in IMAGENET}
    assert scalings == {
        'resnet50': 'caffe',
        'vgg19': 'caffe',
        'resnet50v2': 'symmetric',
        'inception_resnet_v2': 'symmetric',
    }


def test_fresh_weights_take_any_channels_in_their_order(
    vgg19, vgg19_of_four_channels
):
    logits = vgg19_of_four_channels(np.ones((1, 32, 32, 4), 'float32'))
    assert logits.shape == (1, 10)
    assert not has_flip(vgg19)


def test_caffe_weights_see_what_keras_gives_them(resnet50):
    net, reference = resnet50
    images = pixels(32)
    expected = np.asarray(
        reference(
            keras.applications.resnet.preprocess_input(images.astype('float32'))
        )
    )
    actual = features(net, images - np.float32(CAFFE_MEANS))
    np.testing.assert_allclose(
        actual, expected, rtol=1e-3, atol=1e-4 * expected.max()
    )
    assert expected.std() > 0.01 * np.abs(expected).max()
    # The order of the channels matters.
    flipped = features(net, (images - np.float32(CAFFE_MEANS))[..., ::-1])
    assert not np.allclose(flipped, expected, rtol=1e-2, atol=1e-2)


def test_all_pretrained_weights_arrive(resnet50):
    net, reference = resnet50
    ours = {v.path: v for v in net.variables}
    for variable in reference.variables:
        np.testing.assert_array_equal(ours.pop(variable.path), variable)
    assert set(ours) == {'logits/kernel', 'logits/bias'}


@pytest.mark.slow
def test_a_model_file_keeps_the_flip(tmp_path, resnet50):
    net = resnet50[0]
    net.save(tmp_path / 'model.keras')
    loaded = keras.saving.load_model(tmp_path / 'model.keras')
    assert has_flip(loaded)
    images = pixels(32).astype('float32')
    np.testing.assert_allclose(loaded(images), net(images), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['resnet50v2', 'inception_resnet_v2'])
def test_symmetric_weights_see_what_keras_gives_them(tmp_path, name):
    reference = save_reference(name, 75, tmp_path)
    net = create_pretrained(name, 10, 75, tmp_path)
    assert not has_flip(net)
    images = pixels(75) / np.float32(127.5) - 1
    expected = np.asarray(reference(images))
    np.testing.assert_allclose(
        features(net, images), expected, rtol=1e-3, atol=1e-4 * expected.max()
    )


@pytest.mark.parametrize('name', IMAGENET)
def test_pretrained_weights_need_colour(name):
    with pytest.raises(UsageError, match=f'{name} .*3.*have 1; use --nop'):
        create_network(name, 10, (96, 96, 1), pretrained=True)


@pytest.mark.parametrize('home', [None, 'elsewhere'])
def test_a_failed_download_says_where_the_file_belongs(monkeypatch, home):
    def get_file(*args, **kwargs):
        raise Exception('URL fetch failure on https://x: None --\n[Errno -2].')

    monkeypatch.setattr(file_utils, 'get_file', get_file)
    monkeypatch.delenv('KERAS_HOME', raising=False)
    if home:
        monkeypatch.setenv('KERAS_HOME', home)
    with pytest.raises(UsageError) as caught:
        create_network('vgg19', 10, (32, 32, 3), pretrained=True)
    message = str(caught.value)
    assert '\n' not in message
    assert '(URL fetch failure on https://x: None -- [Errno -2])' in message
    assert f'{home or "~/.keras"}/models/{file_name("vgg19")}' in message
    assert message.endswith('use --nopretrained.')


def test_a_wrong_weights_file_is_a_usage_error(monkeypatch, tmp_path):
    path = tmp_path / 'broken.h5'
    path.write_bytes(b'not a file of weights')
    monkeypatch.setattr(file_utils, 'get_file', lambda *a, **k: str(path))
    with pytest.raises(UsageError, match='weights of the network vgg19'):
        create_network('vgg19', 10, (32, 32, 3), pretrained=True)
