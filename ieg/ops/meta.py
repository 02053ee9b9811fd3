"""Meta-gradients: what does the probe loss say about each training example?

One look-ahead step of SGD with example weights w leads from the weights theta
to theta'(w) = theta - rate * (momentum * m + sum_i w_i grad l_i + l2 * theta).
That is affine in w, so with g the gradient of the probe loss at theta'

    d probe loss / d w_i = -rate * <grad l_i(theta), g>

for any initial w, with momentum, decay and BatchNorm in training mode. The
inner product is the derivative of l_i along g, its *alignment*. One
directional derivative of the logits along g gives it for all examples, and for
everything else that is computed from the logits per example.

A step has three stages, so that no two of them hold activations at once: the
probe gradient, the alignments, the weighted training step.

Arguments of all functions: `net` is the network; `variables` are those that
look ahead, `point` or `values` their values there, `direction` a tensor for
each, and `l2` the coefficient of each in the gradient of the penalty. Images
are `[b, H, W, channels]`, logits `[b, C]`. `scope` is 'global' for all replicas
together, or 'replica' as if each were alone.

Source: Ren et al. 2018 (learning to reweight) for the objective; the forward
mode replaces their second back-propagation through the look-ahead step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from ieg.errors import UsageError
from ieg.ops import losses

KINDS = ('jvp', 'double', 'fd', 'last_layer')
# In the reference; keeps a batch of zero weights finite.
SMALLEST_SUM = 1e-5
# Length of a finite-difference step, relative to 1: below it rounding, above
# it the kinks of ReLUs dominate.
FD_STEP = {'float64': 1e-6, 'float32': 1e-3}

Values = list[tf.Tensor]
# Logits of all passes -> per-example quantities, each `[b]`.
Pieces = Callable[..., Sequence[tf.Tensor]]


class Probe(NamedTuple):
    """The probe pass at the look-ahead point.

    Attributes:
        gradient: of the probe loss, one tensor per variable.
        loss: mean cross-entropy and penalty, a scalar.
        logits: `[b, C]`.
    """

    gradient: Values
    loss: tf.Tensor
    logits: tf.Tensor


def moved_variables(net: keras.Model, kind: str) -> list[keras.Variable]:
    """Returns the variables that look ahead: all, or the last layer's."""
    if kind != 'last_layer':
        return net.trainable_variables
    return head(net).trainable_variables


def head(net: keras.Model) -> keras.layers.Dense:
    """Returns the dense layer that ends a network.

    Raises:
        UsageError: the network does not end with one.
    """
    layer = net.layers[-1]
    if not isinstance(layer, keras.layers.Dense):
        raise UsageError(
            f'The network {net.name} does not end with a dense layer, which '
            'this method moves by itself; choose another --network_name or '
            '--meta_grad.'
        )
    return layer


def with_features(net: keras.Model) -> keras.Model:
    """Returns the same network with the outputs (features, logits)."""
    layer = head(net)
    return keras.Model(net.inputs, [layer.input, layer.output])


def forward(
    net: keras.Model,
    images: tf.Tensor,
    variables: Sequence[keras.Variable] = (),
    values: Sequence[tf.Tensor] = (),
) -> tf.Tensor:
    """Runs a network in training mode without moving its statistics.

    Returns:
        The logits, differentiable by the network's variables and by `values`,
        which stand for those of `variables`.
    """
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        return net(images, training=True)


def look_ahead(
    variables: Sequence[keras.Variable],
    rate: float,
    l2: Sequence[float],
    gradients: Sequence[tf.Tensor] | None = None,
    momenta: Sequence[tf.Tensor] | None = None,
) -> Values:
    """Returns the values of the variables after one step of SGD.

    Args:
        variables: theta.
        rate: size of the step.
        gradients: of the weighted training loss; None where all weights are 0.
        momenta: what momentum adds to each gradient; None for nothing.
    """
    values = []
    for place, variable in enumerate(variables):
        value = tf.convert_to_tensor(variable.value)
        move = l2[place] * value
        if gradients is not None:
            move += gradients[place]
        if momenta is not None:
            move += momenta[place]
        values.append(value - rate * move)
    return values


def probe_pass(
    net: keras.Model,
    variables: Sequence[keras.Variable],
    point: Sequence[tf.Tensor],
    images: tf.Tensor,
    labels: tf.Tensor,
    l2: Sequence[float],
) -> Probe:
    """Returns the gradient of the loss on probe images at the look-ahead point.

    The labels are int32 `[b]`, right ones.
    """
    point = list(point)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        logits = forward(net, images, variables, point)
        loss = tf.reduce_mean(losses.cross_entropy(labels, logits))
    gradient = tape.gradient(loss, point)
    gradient = [
        g + weight * value
        for g, weight, value in zip(gradient, l2, point, strict=True)
    ]
    return Probe(gradient, loss + penalty(point, l2), logits)


def penalty(values: Sequence[tf.Tensor], l2: Sequence[float]) -> tf.Tensor:
    """Returns the sum of l2 / 2 * |value|^2, a scalar."""
    return losses.total(
        [
            weight / 2 * tf.reduce_sum(value * value)
            for value, weight in zip(values, l2, strict=True)
        ]
    )


def after(tensors: Sequence[tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """Returns the images, available only when the tensors are computed.

    So the next stage does not start, and keep its activations, earlier.
    """
    with tf.control_dependencies(list(tensors)):
        return tf.identity(images)


def alignments(
    kind: str,
    net: keras.Model,
    variables: Sequence[keras.Variable],
    direction: Sequence[tf.Tensor],
    pieces: Pieces,
    images: Sequence[tf.Tensor],
    tape: tf.GradientTape | None,
    logits: Sequence[tf.Tensor],
    features: Sequence[tf.Tensor] = (),
) -> list[tf.Tensor]:
    """Returns the derivatives of per-example quantities along a direction.

    Args:
        kind: one of `KINDS`. jvp is exact and uses the recorded passes. double
            back-propagates through a gradient step, as the reference does. fd
            takes central differences of two more passes (0.1 - 3 % off).
            last_layer is exact for a direction in the last layer only.
        pieces: logits of each pass -> the quantities.
        images: the input of each pass.
        tape: persistent, and recorded the passes by the network's variables;
            for jvp.
        logits: of each pass `[b, C]`.
        features: input of the last layer in each pass; for last_layer.

    Returns:
        One tensor `[b]` per quantity.
    """
    # Directions shrink towards 0 late in training; a unit vector loses no
    # digits in half precision, and everything here is linear in it.
    norm = tf.linalg.global_norm(direction)
    direction = [tf.math.divide_no_nan(d, norm) for d in direction]
    if kind == 'double':
        changes = _doubly(net, variables, direction, pieces, images)
    else:
        if kind == 'jvp':
            moves = _transposed(tape, logits, variables, direction)
        elif kind == 'fd':
            moves = [_difference(net, variables, direction, x) for x in images]
        else:
            moves = [_affine(f, *direction) for f in features]
        changes = _along(pieces, logits, moves)
    return [values * norm for values in changes]


def _transposed(
    tape: tf.GradientTape,
    outputs: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    direction: Sequence[tf.Tensor],
) -> Values:
    """Returns the forward-mode derivatives of outputs of recorded passes.

    The vector-Jacobian product is linear in its vector u, so differentiating
    <u J, direction> by u gives J direction. Nothing of the product itself is
    then needed, so a graph computes forward mode only, from the activations
    that the training step keeps anyway. (ForwardAccumulator does the same op
    by op, and needs passes of its own.)
    """
    outputs = list(outputs)
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        vectors = [tf.zeros_like(output) for output in outputs]
        outer.watch(vectors)
        products = tape.gradient(
            outputs,
            variables,
            output_gradients=vectors,
            unconnected_gradients='zero',
        )
        inner = losses.total(
            [
                tf.reduce_sum(p * d)
                for p, d in zip(products, direction, strict=True)
            ]
        )
    return outer.gradient(inner, vectors)


def _affine(
    features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | float = 0.0
) -> tf.Tensor:
    return tf.cast(features, kernel.dtype) @ kernel + bias


def _difference(
    net: keras.Model,
    variables: Sequence[keras.Variable],
    direction: Sequence[tf.Tensor],
    images: tf.Tensor,
) -> tf.Tensor:
    """Returns the central difference of the logits along a unit vector."""
    values = [tf.convert_to_tensor(v.value) for v in variables]
    step = FD_STEP['float64' if values[0].dtype == tf.float64 else 'float32']
    ahead, behind = (
        forward(
            net,
            images,
            variables,
            [v + s * d for v, d in zip(values, direction, strict=True)],
        )
        for s in (step, -step)
    )
    return (ahead - behind) / (2 * step)


def _along(
    pieces: Pieces, logits: Sequence[tf.Tensor], moves: Values
) -> Values:
    """Returns how the pieces change when the logits move."""
    logits = list(logits)
    with tf.autodiff.ForwardAccumulator(logits, moves) as accumulator:
        quantities = pieces(*logits)
    return [accumulator.jvp(p, 'zero') for p in quantities]


def _doubly(
    net: keras.Model,
    variables: Sequence[keras.Variable],
    direction: Sequence[tf.Tensor],
    pieces: Pieces,
    images: Sequence[tf.Tensor],
) -> Values:
    """Returns the alignments by back-propagation through a gradient."""
    values = [tf.convert_to_tensor(v.value) for v in variables]
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(values)
            quantities = pieces(
                *(forward(net, x, variables, values) for x in images)
            )
            shares = [tf.zeros_like(p) for p in quantities]
            outer.watch(shares)
            total = losses.total(
                [
                    tf.reduce_sum(s * p)
                    for s, p in zip(shares, quantities, strict=True)
                ]
            )
        moved = inner.gradient(total, values, unconnected_gradients='zero')
    return outer.gradient(moved, shares, output_gradients=list(direction))


def across_replicas(tensors: Sequence[tf.Tensor], scope: str) -> Values:
    """Returns the means over replicas, or the tensors of this one.

    The tensors have the same shapes on all replicas.
    """
    context = tf.distribute.get_replica_context()
    if scope == 'replica' or context.num_replicas_in_sync == 1:
        return list(tensors)
    return list(context.all_reduce(tf.distribute.ReduceOp.MEAN, list(tensors)))


def normalised(scores: tf.Tensor, scope: str) -> tf.Tensor:
    """Returns the weights of a replica's examples `[b]` from their scores.

    w_i = R max(s_i, 0) / (sum_k max(s_k, 0) + 1e-5) over the examples of all R
    replicas, so the mean over replicas of the sums of weights is 1, or 0 where
    no score is positive. Scores are rate times the alignments `[b]`; larger is
    better.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    positive = tf.nn.relu(scores)
    (total,) = across_replicas([tf.reduce_sum(positive)], scope)
    least = SMALLEST_SUM / (replicas if scope == 'global' else 1)
    return positive / (total + least)
