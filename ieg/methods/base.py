"""What every method is made of: streams of examples, phases, and steps.

A method answers two questions: which examples to draw in an epoch
(`begin_epoch`), and what to do with a batch of them (its step functions). It
never loops, opens files, or asks where it runs; the `Trainer` does that.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from ieg.data.spec import DatasetSpec
from ieg.errors import UsageError
from ieg.ops import optim, visits
from ieg.ops import random as random_ops
from ieg.ops.losses import accuracy
from ieg.utils import plugins
from ieg.utils.text import listed

# Examples of one stream: 'images' is a V-tuple of float32 [b, H, W, channels]
# (or [b, d], for vectors),
# 'label' int32 [b], 'index' int64 [b].
Examples = Mapping[str, Any]
# stream -> its examples, and
# 'step' -> scalars of this step: 'number' (in its phase), 'seed' int32 [2],
#           'learning_rate', and whatever the phase gives in `per_step`.
Batch = Mapping[str, Examples]
Logs = dict[str, tf.Tensor]
# What a method adds to the log of an epoch: numbers, or one for each class.
Figure = float | Sequence[float]
# Number of a network -> a new network with its own initial weights.
BuildNetwork = Callable[[int], keras.Model]
BuildOptimizer = Callable[[], keras.optimizers.Optimizer]


class Score(Protocol):
    """Runs a per-example step of a method over training examples."""

    def __call__(
        self, step: str, *, ids: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Returns what the step returns, each of it `[N, ...]`.

        Args:
            step: name of the step.
            ids: of some examples, instead of all.
        """


@dataclasses.dataclass(frozen=True)
class Info:
    """What a method may know of its data and its run.

    Attributes:
        num_classes: C.
        image_shape: (height, width, channels) of what a network sees; (d,) of
            vectors.
        labels: the given (noisy) training labels, int32 `[N]`, read-only.
        num_probe: examples of the clean probe set.
        batch_size: examples per step on all replicas together.
        epochs: length of the run.
        seed: root of all randomness.
        valid_counts: how many validation examples are labeled as each class,
            int `[C]`; None where there is no validation split.
        class_names: one name per class, for remarks; empty if unknown.
    """

    num_classes: int
    image_shape: tuple[int, ...]
    labels: np.ndarray
    num_probe: int
    batch_size: int
    epochs: int
    seed: int
    valid_counts: np.ndarray | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Keeps methods from changing the labels of the data."""
        labels = self.labels.view()
        labels.flags.writeable = False
        object.__setattr__(self, 'labels', labels)

    @property
    def num_examples(self) -> int:
        """N, the number of training examples."""
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Stream:
    """What one part of every batch is made of.

    Attributes:
        batch_size: examples per step on all replicas together.
        views: names of the views drawn of each image, in order.
        split: 'train' or 'probe'.
        shuffle: whether the examples of a phase are shuffled; otherwise they
            come as the phase lists them.
    """

    batch_size: int
    views: tuple[str, ...] = ('weak',)
    split: str = 'train'
    shuffle: bool = True


@dataclasses.dataclass(frozen=True)
class Phase:
    """Consecutive steps with one step function and one choice of examples.

    Attributes:
        step: name of a step function of the method.
        examples: stream -> ids to draw from. They wrap around, with fresh
            shuffles where the stream shuffles, until `num_steps` whole batches
            are full. Consecutive ids of a batch go to the same replica: the
            first `batch_size / replicas` to the first one.
        num_steps: number of steps.
        args: leading arguments of the step function. Each value compiles its
            own function, so they are for a few choices ("which network").
        per_step: name -> one number for each step `[num_steps]`, found under
            `batch['step']`.
        rate: what the learning rate of the schedule is multiplied by.
    """

    step: str
    examples: Mapping[str, np.ndarray]
    num_steps: int
    args: tuple[Any, ...] = ()
    per_step: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    rate: float = 1.0


class Selection(NamedTuple):
    """How clean the given labels look to a method.

    Attributes:
        score: float `[N]`, larger is cleaner.
        chosen: bool `[N]`, the examples taken as clean, or `[N, n]` where n
            networks choose for themselves.
    """

    score: np.ndarray
    chosen: np.ndarray


def balanced_draw(
    labels: np.ndarray, count: int, num_classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns `count` ids, as many of each given class as it has.

    Args:
        labels: `[N]`.
        count: how many ids; 0 or at least N stands for all of them.
        num_classes: C.
        rng: source of the draws.

    Returns:
        int64, sorted; fewer than `count` where classes are too small.
    """
    if not 0 < count < len(labels):
        return np.arange(len(labels))
    most = max(1, count // num_classes)
    # The first ones of each class in a random order.
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind='stable')]
    sizes = np.bincount(labels, minlength=num_classes)
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.sort(by_class[place < most])


def steps_for(count: int, batch_size: int) -> int:
    """Returns how many batches show `count` examples at least once."""
    return max(1, -(-count // batch_size))


# Names in the log that are the trainer's, and beginnings of names.
RESERVED = frozenset(
    'epoch step learning_rate images_per_second seconds remarks chosen '
    'prediction_changes tracker_seconds'.split()
)
MEASURED = ('test_', 'valid_', 'label_', 'fit_', 'phi_', 'susceptibility')
# What `minimize` logs, followed by the number of the network.
LOSS, GRADIENT = 'nonfinite_loss/', 'nonfinite_gradient/'


def check_name(name: Any) -> str:
    """Returns why a figure of a method cannot have a name, or ''."""
    if not isinstance(name, str):
        return f'the name of a figure must be a string, got {name!r}'
    if name in RESERVED or name.startswith(MEASURED):
        return f'the name {name!r} is reserved in the log: choose another one'
    return ''


# Keeps a method's random numbers apart from those of the views.
METHOD_LANE = 2


class Method(keras.Model):
    """One learning algorithm.

    Subclasses declare a frozen dataclass `Config` of options and implement
    `train_step` (or several step functions, with `streams` and `begin_epoch`).
    Everything a method remembers lives in Keras variables or in `host_state`:
    both are in the checkpoint. A constructor of its own passes `*args` on.

    Args:
        config: an instance of the class's `Config`.
        info: see `Info`.
        build_network: number of a network -> a new network with its own
            initial weights.
        build_optimizer: returns a new optimizer.
        num_networks: how many networks are trained, one optimizer each;
            None stands for the number that the class declares.

    Attributes:
        config, info, build_network: the arguments.
        nets: the networks.
        optimizers: one per network, built.
        host_state: NumPy arrays that go into the checkpoint.
    """

    # The dataclass of the method's options; methods annotate `config` with it.
    Config: ClassVar[type]
    config: Any
    num_networks = 1
    # Whether clean probe images, where the data set has some, are left alone.
    ignores_probe: ClassVar[bool] = False
    # Data set -> network, where a method has another usual one than others.
    usual_networks: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        config: Any,
        info: Info,
        build_network: BuildNetwork,
        build_optimizer: BuildOptimizer,
        num_networks: int | None = None,
    ):
        super().__init__()
        self.config, self.info = config, info
        self.build_network = build_network
        if num_networks is not None:
            self.num_networks = num_networks
        self.nets = [build_network(n) for n in range(self.num_networks)]
        self.optimizers = [build_optimizer() for _ in self.nets]
        for net, optimizer in zip(self.nets, self.optimizers, strict=True):
            optimizer.build(net.trainable_variables)
        self.host_state: dict[str, np.ndarray] = {}
        self.visits = self._visits()
        self._figures: dict[str, Figure] = {}
        self._remarks: list[str] = []
        self.built = True

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns option values that suit a data set and its noise.

        Args:
            dataset: names the data set, the kind of noise and its rate.
            network: name of the network.

        Returns:
            Names of options (of this method or of training) and their values;
            they stand between an option's default and a flag.
        """
        return {}

    @classmethod
    def depends_on_length(cls, config: Any) -> bool:
        """Returns whether an epoch is another one in a longer run."""
        return False

    @classmethod
    def most_epochs(cls, config: Any) -> int | None:
        """Returns the longest run of a method that ends by itself, in epochs.

        None for all others, whose length is an option.
        """
        return None

    # Whether `end_epoch` must have the figures of a validation split.
    needs_validation: ClassVar[bool] = False

    # Options that only `begin_epoch` reads, so that another trial of a search
    # can have other ones without tracing a step again.
    host_options: ClassVar[frozenset[str]] = frozenset()

    def reconfigure(self, config: Any) -> None:
        """Takes a configuration that differs in `host_options` only."""
        self.config = config

    # What to draw.

    def streams(self) -> dict[str, Stream]:
        """Returns all streams that the method's phases use."""
        return {'train': Stream(self.info.batch_size)}

    def begin_epoch(self, epoch: int, score: Score) -> Sequence[Phase] | None:
        """Returns the phases of an epoch, or None to finish the run.

        Only a method with `most_epochs` may finish it. An empty list is an
        epoch without training, which is evaluated and saved.

        Runs on the host of every worker and must give the same there: all
        randomness comes from `info.seed` and `epoch`.

        Args:
            epoch: counted from 0.
            score: runs one of the method's per-example steps over the
                training examples in their plain view, inference mode.
        """
        return [self.whole_epoch()]

    def whole_epoch(self) -> Phase:
        """Returns the phase of `train_step` that draws all examples once."""
        ids = np.arange(self.info.num_examples)
        steps = steps_for(len(ids), self.streams()['train'].batch_size)
        return Phase('train_step', {'train': ids}, steps)

    def end_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Called after an epoch's evaluation, before the checkpoint."""

    # What to do with a batch: one replica's view.

    def train_step(self, batch: Batch) -> Logs:
        """One step of the default phase; returns scalars to log."""
        raise TypeError(f'{type(self).__name__} has no train_step')

    @property
    def evaluated_networks(self) -> list[keras.Model]:
        """The networks whose logits are summed for evaluation."""
        return self.nets

    def network_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Returns inference logits of each evaluated network `[b, n, C]`."""
        return tf.stack(
            [net(images, training=False) for net in self.evaluated_networks],
            axis=1,
        )

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the logits used for evaluation `[b, C]`."""
        return tf.reduce_sum(self.network_logits(images), axis=1)

    def logits_step(self, batch: Examples) -> Logs:
        """Per-example step behind evaluation: `logits` `[b, n, C]`."""
        return {'logits': self.network_logits(batch['images'][0])}

    def features_network(self) -> keras.Model | None:
        """Returns images -> what the last layer of the last network gets.

        None if that is not a dense layer of one vector per image.
        """
        network = self.evaluated_networks[-1]
        last = network.layers[-1]
        # Networks of plugins need not be functional ones.
        inputs = getattr(network, 'inputs', None)
        if not inputs or not isinstance(last, keras.layers.Dense):
            return None
        return keras.Model(inputs, last.input) if last.input.ndim == 2 else None

    def features_step(self, batch: Examples) -> Logs:
        """Per-example step behind neighbours: `features` `[b, d]`.

        See `features_network`, which must not be None.
        """
        network = self.features_network()
        assert network is not None
        return {'features': network(batch['images'][0], training=False)}

    # What to report.

    def _visits(self) -> keras.Variable | None:
        """Returns the columns of `ops.visits`, None where they are too many."""
        info = self.info
        columns = visits.width(info.num_examples, info.num_classes)
        return columns and self.example_variable('visits', (columns,))

    def observe(self, part: Examples, logits: tf.Tensor) -> Logs:
        """Remembers the predictions of training examples that are shown.

        It costs one small update on the device, and is all that the list of
        label issues needs, without a pass or an epoch of its own.

        Args:
            part: a stream's part of a batch, of the training split.
            logits: of its images in a pass of the step `[b, C]`; images mixed
                with others count if their own share is the larger one.

        Returns:
            `train_accuracy`: agreement with the given labels.
        """
        if self.visits is not None:
            probabilities = tf.nn.softmax(
                tf.cast(tf.stop_gradient(logits), tf.float32)
            )
            index = part['index']
            old, new = visits.visited(
                tf.gather(self.visits.value, index),
                part['label'],
                probabilities,
            )
            # One bad step would spoil the sums for good.
            bad = tf.reduce_any(~tf.math.is_finite(new), axis=1, keepdims=True)
            self.update_examples(
                self.visits,
                index,
                tf.where(bad, 0.0, old),
                tf.where(bad, 0.0, new),
                once=visits.is_compact(
                    self.visits.shape[1], self.info.num_classes
                ),
            )
        return log_accuracy(part, logits)

    def epoch_costs(self) -> np.ndarray:
        """Returns how long epochs take relative to each other `[epochs]`.

        A guess, for the time that is left of a run.
        """
        return np.ones(self.info.epochs)

    def selection(self) -> Selection | None:
        """Returns how clean each example looks; for reports only."""
        return None

    def notes(self) -> dict[str, np.ndarray]:
        """Returns what was found out about each example `[N]`.

        Reports compare it with the truth where that is known: `weight` (1 is
        usual), `kept` (bool: trained towards the given label), `pseudo_label`.
        """
        return {}

    def report(self, **figures: Figure) -> None:
        """Adds figures to the log entry of this epoch.

        Raises:
            UsageError: one is not a number or a sequence of numbers, or its
                name is reserved.
        """
        for name, value in figures.items():
            array, reason = np.asarray(value), check_name(name)
            if array.ndim > 1 or array.dtype.kind not in 'biuf':
                got = f'{array.dtype} {array.shape}'
                reason = f'{name} must be a number or numbers [n], got {got}'
            if reason:
                raise plugins.mistake(type(self), 'report', reason, True)
            self._figures[name] = array.tolist()

    def remark(self, text: str) -> None:
        """Adds a sentence for the user to the log entry of this epoch.

        Raises:
            UsageError: it is not a string.
        """
        if not isinstance(text, str):
            reason = f'must get a string, got {text!r}'
            raise plugins.mistake(type(self), 'remark', reason, True)
        self._remarks.append(text)

    def take_reports(self) -> tuple[dict[str, Figure], list[str]]:
        """Returns and clears what was reported since the last call."""
        taken = (dict(self._figures), list(self._remarks))
        self._figures, self._remarks = {}, []
        return taken

    # Helpers for steps.

    def minimize(
        self, tape: tf.GradientTape, loss: tf.Tensor, network: int = 0
    ) -> Logs:
        """Makes one optimizer step of one network.

        The only place that knows about replicas: the optimizer sums gradients
        over them, so each one's share is divided by their number. A gradient
        that is not finite reaches all of them by that sum, and `optim.SGD`
        then leaves the weights as they are.

        Args:
            tape: recorded the loss.
            loss: mean over this replica's examples.
            network: which network to update.

        Returns:
            `loss` (0 where it is not finite), and for the remarks of the
            trainer whether the loss and this replica's gradient were not.
        """
        variables = self.nets[network].trainable_variables
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        gradients = tape.gradient(loss, variables)
        pairs = zip(variables, gradients, strict=True)
        if unused := [v.path for v, g in pairs if g is None]:
            raise plugins.mistake(
                type(self),
                'minimize',
                f'the loss of network {network} does not depend on '
                f'{listed(unused)}',
                called=True,
            )
        gradients = [g / replicas for g in gradients]
        # TensorFlow merges this with what the optimizer asks on one replica.
        fine = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]
        self.optimizers[network].apply_gradients(
            zip(gradients, variables, strict=True)
        )
        finite = tf.math.is_finite(loss)
        return {
            'loss': tf.where(finite, loss, tf.zeros_like(loss)),
            f'{LOSS}{network}': tf.cast(~finite, tf.float32),
            f'{GRADIENT}{network}': tf.cast(~tf.reduce_all(fine), tf.float32),
        }

    def random_seed(self, batch: Batch, lane: int = 0) -> tf.Tensor:
        """Returns a seed int32 `[2]` for `tf.random.stateless_*`.

        It differs per step, per replica and per `lane`. (Keras' random layers
        and seed generators draw the same numbers on every replica.)
        """
        seed = random_ops.fold_in(batch['step']['seed'], METHOD_LANE)
        seed = random_ops.fold_in(seed, lane)
        context = tf.distribute.get_replica_context()
        return random_ops.fold_in(seed, context.replica_id_in_sync_group)

    def example_variable(
        self, name: str, shape: tuple[int, ...] = (), initial: float = 0.0
    ) -> keras.Variable:
        """Returns a variable `[N, *shape]` with a copy on every device."""
        shape = (self.info.num_examples, *shape)
        return self.state_variable(name, shape, initial, 'sum')

    def state_variable(
        self,
        name: str,
        shape: tuple[int, ...],
        initial: float = 0.0,
        aggregation: str = 'only_first_replica',
    ) -> keras.Variable:
        """Returns a variable that is saved but not trained.

        Args:
            name: of the variable.
            shape: of its value.
            initial: value of all elements.
            aggregation: how Keras combines what the replicas assign in a step.
        """
        return self.add_weight(
            shape=shape,
            initializer=keras.initializers.Constant(initial),
            trainable=False,
            dtype='float32',
            name=name,
            aggregation=aggregation,
        )

    def update_examples(
        self,
        variable: keras.Variable,
        index: tf.Tensor,
        old: tf.Tensor,
        new: tf.Tensor,
        once: bool = False,
    ) -> None:
        """Replaces the rows `index` of an example variable on every device.

        Args:
            variable: made by `example_variable`.
            index: ids `[b]`.
            old: the rows as this step read them `[b, ...]`.
            new: the rows to be `[b, ...]`. An id that is in the batch twice,
                where the ids of a phase wrap around, gets both changes.
            once: whether it gets the first one only.
        """
        # The rows travel, not the variable: it may be a thousand times larger.
        change = new - old
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            # What comes from the pipeline is on no device of a worker yet.
            index = context.all_gather(tf.identity(index), axis=0)
            change = context.all_gather(change, axis=0)
        if once:
            same = tf.cast(index[:, tf.newaxis] == index, tf.int32)
            first = tf.argmax(same, axis=1, output_type=tf.int32)
            is_first = first == tf.range(tf.size(index))
            change = tf.where(is_first[:, tf.newaxis], change, 0.0)
        # Of this replica's copy; `assign_add` would sum over the replicas.
        tf.raw_ops.ResourceScatterNdAdd(
            ref=variable.value.handle,
            indices=index[:, tf.newaxis],
            updates=change,
        )


class AveragingMethod(Method):
    """A method that evaluates the averaged weights of its network.

    It does so if its option `use_ema` is set. Its steps call
    `self.average.update`.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.average = None
        if self.config.use_ema:
            self.average_net = self.build_network(0)
            self.average = optim.WeightAverage(
                self.nets[0], self.average_net, self.config.ema_decay
            )

    @property
    def evaluated_networks(self) -> list[keras.Model]:
        """The averaged network if there is one."""
        return [self.average_net] if self.average else self.nets


def check_auto(flag: str, text: str, below: float, what: str) -> None:
    """Checks an option that is a number or auto.

    Args:
        flag: name of the option.
        text: its value.
        below: the number must be at least 0 and less than this.
        what: describes the allowed numbers.

    Raises:
        UsageError: it is neither.
    """
    try:
        fine = text == 'auto' or 0 <= float(text) < below
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f'--{flag}={text} is neither auto nor {what}.')


def copy_weights(target: keras.Model, source: keras.Model) -> None:
    """Gives a network all variables of another one of its kind."""
    for ours, theirs in zip(target.variables, source.variables, strict=True):
        ours.assign(theirs.numpy())


def log_accuracy(batch_part: Examples, logits: tf.Tensor) -> Logs:
    """Returns `train_accuracy`: agreement with the given labels."""
    return {'train_accuracy': accuracy(batch_part['label'], logits)}
