"""From ids to distributed batches.

The ids of a whole epoch enter a `tf.data` graph as one array; everything after
that is batched. A dataset is built once for a set of streams and serves every
epoch and phase, whatever their lengths, so no step function is ever retraced.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from ieg.data import vectors
from ieg.data.augment.vector_views import VECTOR_VIEWS
from ieg.data.augment.views import VIEWS, Draws, View
from ieg.data.dataset import Data
from ieg.data.direct import Examples, Steps
from ieg.errors import UsageError
from ieg.ops import random as random_ops
from ieg.utils import plugins
from ieg.utils.randomness import generator

# The sweep that scores or evaluates sees the images as they are.
PLAIN = ('plain',)
VIEW_LANE = 1
# Examples of a batch of evaluation that may be mostly padding.
_LARGE = 1000
# AutoGraph would spend seconds on rewriting functions that have no control
# flow on tensors.
_as_is = tf.autograph.experimental.do_not_convert


# Batches, on several replicas one for each of them together.
Dataset = Iterable[dict[str, Any]]


class _Stream(Protocol):
    """What is needed of an `ieg.methods.base.Stream`."""

    @property
    def batch_size(self) -> int: ...
    @property
    def views(self) -> tuple[str, ...]: ...
    @property
    def split(self) -> str: ...
    @property
    def shuffle(self) -> bool: ...


class _Phase(Protocol):
    """What is needed of an `ieg.methods.base.Phase`."""

    @property
    def examples(self) -> Mapping[str, np.ndarray]: ...
    @property
    def num_steps(self) -> int: ...
    @property
    def per_step(self) -> Mapping[str, np.ndarray]: ...


@dataclasses.dataclass(frozen=True)
class _Part:
    """One stream on this worker: batch sizes of a replica and of all."""

    name: str
    split: str
    views: tuple[str, ...]
    count: int
    total: int
    lane: int
    shuffle: bool


class Pipeline:
    """Turns phases into batches, and splits into padded sweeps.

    Args:
        data: the data.
        streams: the method's streams by name.
        strategy: decides how batches are split.
        seed: root of order and augmentation.
        on_device: compute views where the step runs, from images that live
            there, and not in the input pipeline; for data in memory.
        direct: let steps gather vectors, see `ieg.data.direct`; in one process,
            and not `on_device`.
    """

    def __init__(
        self,
        data: Data,
        streams: Mapping[str, _Stream],
        strategy: tf.distribute.Strategy,
        seed: int,
        on_device: bool = False,
        direct: bool = False,
    ):
        self._data = data
        self._strategy = strategy
        self._seed = seed
        self._replicas = strategy.num_replicas_in_sync
        self._parts = {
            name: self._part(name, stream, lane)
            for lane, (name, stream) in enumerate(sorted(streams.items()))
        }
        self._datasets: dict[tuple[str | int, ...], Dataset] = {}
        self._is_direct = direct
        self._steps: dict[tuple[str, ...], Steps] = {}
        self._direct: dict[str, Examples] = {}
        self._plan: dict[str, np.ndarray] = {}
        self._on_device = on_device
        self._device_images: dict[str, tf.Variable] = {}
        self._device_vectors: dict[
            str, tuple[tf.Variable, tf.Variable | None]
        ] = {}
        if on_device:
            self._place_examples()

    def _part(self, name: str, stream: _Stream, lane: int) -> _Part:
        count, rest = divmod(stream.batch_size, self._replicas)
        if rest:
            raise ValueError(
                f'the batch of {stream.batch_size} examples of {name!r} '
                f'cannot be split over {self._replicas} replicas'
            )
        return _Part(
            name=name,
            split=stream.split,
            views=stream.views,
            count=count,
            total=stream.batch_size,
            lane=lane,
            shuffle=stream.shuffle,
        )

    def exchange(self, data: Data) -> None:
        """Replaces the data by others, of the same kind.

        Views must be computed on the host: devices keep their images.
        """
        assert not self._on_device
        self._data = data
        self._datasets.clear()
        for name, examples in self._direct.items():
            examples.replace(data[name])

    # Training batches.

    def batches(
        self,
        phase: _Phase,
        epoch: int,
        number: int,
        rates: np.ndarray,
        start: int = 0,
    ) -> 'Iterator[dict[str, Any]] | Steps':
        """Returns an iterator over the `phase.num_steps - start` last batches.

        Args:
            phase: what to draw from, and how many batches.
            epoch: counted from 0.
            number: of the phase in its epoch.
            rates: learning rate of each step `[num_steps]`.
            start: number of the first batch.

        Returns:
            A (distributed) iterator. In a replica each element must go
            through `materialise` before a step sees it.
        """
        rng = generator(self._seed, 'steps', epoch, number)
        plan = {}
        for name, ids in sorted(phase.examples.items()):
            part = self._parts[name]
            plan[f'ids/{name}'] = draw(
                np.asarray(ids),
                phase.num_steps * part.total,
                generator(self._seed, 'order', epoch, number, part.lane)
                if part.shuffle
                else None,
            )
        plan['start'] = np.asarray(start, np.int64)
        plan['seed'] = rng.integers(2**31, size=2, dtype=np.int32)
        plan['step/learning_rate'] = np.asarray(rates, np.float32)
        for name, values in sorted(phase.per_step.items()):
            plan[f'step/{name}'] = np.asarray(values, np.float32)
        key = tuple(plan)
        if self._is_direct:
            return self._direct_steps(key, plan)
        self._plan = plan
        if key not in self._datasets:
            self._datasets[key] = self._training_dataset(plan)
        return iter(self._datasets[key])

    def _direct_steps(
        self, key: tuple[str, ...], plan: dict[str, np.ndarray]
    ) -> Steps:
        for name, values in plan.items():
            kind, _, stream = name.partition('/')
            if kind == 'ids':
                # A row for each step, in it one for each replica.
                part = self._parts[stream]
                plan[name] = values.reshape(-1, self._replicas, part.count)
                self._hold(part.split)
        if key in self._steps:
            self._steps[key].begin(plan)
        else:
            self._steps[key] = Steps(plan)
        return self._steps[key]

    def _training_dataset(self, plan: dict[str, np.ndarray]) -> Dataset:
        shapes: dict[str, tuple[int | None, ...]] = {'seed': (2,), 'start': ()}
        signature = {
            name: tf.TensorSpec(shapes.get(name, (None,)), values.dtype)
            for name, values in plan.items()
        }

        def build(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return (
                tf.data.Dataset.from_generator(
                    lambda: iter([self._plan]), output_signature=signature
                )
                .flat_map(_as_is(lambda plan: self._rows(plan, context)))
                .map(
                    _as_is(self._batch),
                    num_parallel_calls=tf.data.AUTOTUNE,
                    deterministic=True,
                )
                .prefetch(2 * self._replicas)
            )

        return self._strategy.distribute_datasets_from_function(build)

    def _rows(
        self, plan: dict[str, tf.Tensor], context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """Cuts a plan into elements: one per step and local replica."""
        local = self._replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        steps = tf.shape(plan['step/learning_rate'])[0]

        def each_replica(values: tf.Tensor) -> tf.Tensor:
            return tf.repeat(values, local)

        rows = {
            'number': each_replica(tf.range(steps)),
            'replica': tf.tile(tf.range(first, first + local), [steps]),
            'seed': tf.repeat(plan['seed'][tf.newaxis], steps * local, axis=0),
        }
        for name, values in plan.items():
            kind, _, rest = name.partition('/')
            if kind == 'step':
                rows[name] = each_replica(values)
            if kind == 'ids':
                count = self._parts[rest].count
                shape = [steps, self._replicas, count]
                own = tf.reshape(values, shape)[:, first : first + local]
                rows[name] = tf.reshape(own, [-1, count])
        every = tf.data.Dataset.from_tensor_slices(rows)
        return every.skip(plan['start'] * local)

    def _batch(self, row: dict[str, tf.Tensor]) -> dict[str, Any]:
        """Makes a batch of one element of `_rows`."""
        batch = {
            'step': {
                'number': row['number'],
                'replica': row['replica'],
                'seed': random_ops.fold_in(row['seed'], row['number']),
            }
        }
        for name, values in row.items():
            kind, _, rest = name.partition('/')
            if kind == 'step':
                batch['step'][rest] = values
            if kind == 'ids':
                labels = self._labels(self._parts[rest].split, values)
                batch[rest] = {'label': labels, 'index': values}
        return batch if self._on_device else self._with_views(batch)

    def _labels(self, split_name: str, index: tf.Tensor) -> tf.Tensor:
        if self._is_direct:
            return self._direct[split_name].labels(index)
        return tf.gather(self._data[split_name].labels, index)

    def _hold(self, split_name: str) -> None:
        """Makes a split ready for steps that gather its vectors."""
        if split_name not in self._direct:
            self._direct[split_name] = Examples(self._data[split_name])

    def _with_views(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Adds the images of every stream of a training batch."""
        step = batch['step']
        # Apart from the seeds that the method derives for its own use.
        view_seed = random_ops.fold_in(step['seed'], VIEW_LANE)
        done = {'step': step}
        for name, content in batch.items():
            if name == 'step':
                continue
            part = self._parts[name]
            draws = Draws(
                random_ops.fold_in(view_seed, part.lane),
                step['replica'] * part.count,
                part.count,
                part.total,
            )
            images = self._views(
                part.split, part.views, content['index'], draws
            )
            done[name] = {'images': images, **content}
        return done

    def _views(
        self,
        split_name: str,
        views: tuple[str, ...],
        index: tf.Tensor,
        draws: Draws,
    ) -> tuple[tf.Tensor, ...]:
        raw = self._raw(split_name, index)
        made, preprocessing = [], self._data.preprocessing
        for place, view in enumerate(views):
            own = draws.lane(1 + place)
            if raw is None:
                # Cropped while they are read, or chosen among the stored views
                # of a vector: once for each view.
                seeds = None if view in PLAIN else own.lane(1).seeds()
                images = self._fetch(split_name, index, seeds)
            else:
                images = raw
            view = preprocessing.policy if view == 'autoaug' else view
            shown = self._view(view)(images, own, preprocessing)
            _check_view(view, shown, images.shape)
            made.append(shown)
        return tuple(made)

    def _view(self, name: str) -> View:
        """Returns a view; those of a plugin may take images and vectors."""
        table = VECTOR_VIEWS if self._data.is_vectors else VIEWS
        return table.get(name) or VIEWS[name]

    def _fetch(
        self, split_name: str, index: tf.Tensor, seeds: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns examples that differ from view to view."""
        if self._is_direct:
            return self._direct[split_name].fetch(index, seeds)
        if split_name in self._device_vectors:
            rows, views = self._device_vectors[split_name]
            return vectors.pick(rows, views, index, seeds)
        return self._data[split_name].fetch(index, seeds)

    def _raw(self, split_name: str, index: tf.Tensor) -> tf.Tensor | None:
        """Returns images that are in memory, before any view of them."""
        if split_name in self._device_images:
            raw = tf.gather(self._device_images[split_name], index)
            # GPUs have no gather of uint8 for the views; 0..255 are exact.
            return tf.cast(raw, tf.float16)
        split = self._data[split_name]
        return None if split.images is None else split.fetch(index, None)

    # Sweeps.

    def sweep(
        self,
        split_name: str,
        batch_size: int,
        chosen: np.ndarray | None = None,
    ) -> Dataset:
        """Returns batches that show every example of a split once.

        Args:
            split_name: 'train', 'test', 'valid' or 'probe'.
            batch_size: examples on all replicas together; a large one is
                lowered to what the split has.
            chosen: ids of some examples, instead of all.

        Returns:
            Batches with `images` (one plain view), `label` and `index`. The
            last one is padded; padding has index -1.
        """
        everything = np.arange(len(self._data[split_name]))
        if batch_size > _LARGE:
            # Smaller ones stay, as sums differ with the size of a batch.
            most = max(len(everything), _LARGE)
            batch_size = min(batch_size, most - most % -self._replicas)
        if self._is_direct:
            self._hold(split_name)
            chosen = everything if chosen is None else chosen
            return self._direct_sweep(batch_size, chosen)
        if chosen is not None and not np.array_equal(chosen, everything):
            return self._sweep_dataset(split_name, batch_size, chosen)
        key = ('sweep', split_name, batch_size)
        if key not in self._datasets:
            self._datasets[key] = self._sweep_dataset(
                split_name, batch_size, everything
            )
        return self._datasets[key]

    def _direct_sweep(self, batch_size: int, chosen: np.ndarray) -> Dataset:
        """Returns the ids of batches, a row for each replica."""
        return ({'ids': ids} for ids in self._by_replica(batch_size, chosen))

    def _by_replica(self, batch_size: int, chosen: np.ndarray) -> np.ndarray:
        """Returns ids of batches [batches, replicas, b], padded by -1."""
        total = len(chosen)
        ids = np.full(-(-total // batch_size) * batch_size, -1, np.int64)
        ids[:total] = chosen
        return ids.reshape(-1, self._replicas, batch_size // self._replicas)

    def _swept(self, split_name: str, index: tf.Tensor) -> dict[str, Any]:
        """Makes a batch of a sweep of its ids [b]."""
        label = self._labels(split_name, tf.maximum(index, 0))
        content = {'label': label, 'index': index}
        if self._on_device:
            return content
        return self._with_plain_view(content, split_name)

    def _sweep_dataset(
        self, split_name: str, batch_size: int, chosen: np.ndarray
    ) -> Dataset:
        by_replica = self._by_replica(batch_size, chosen)

        def batch(index: tf.Tensor) -> dict[str, Any]:
            return self._swept(split_name, index)

        def build(context: tf.distribute.InputContext) -> tf.data.Dataset:
            local = self._replicas // context.num_input_pipelines
            first = context.input_pipeline_id * local
            own = by_replica[:, first : first + local]
            own = own.reshape(-1, own.shape[-1])
            return (
                tf.data.Dataset.from_tensor_slices(own)
                .map(
                    _as_is(batch),
                    num_parallel_calls=tf.data.AUTOTUNE,
                    deterministic=True,
                )
                .prefetch(2 * self._replicas)
            )

        return self._strategy.distribute_datasets_from_function(build)

    def _with_plain_view(
        self, content: dict[str, tf.Tensor], split_name: str
    ) -> dict[str, Any]:
        index = tf.maximum(content['index'], 0)
        count = index.shape[0]
        draws = Draws(tf.zeros(2, tf.int32), tf.constant(0), count, count)
        images = self._views(split_name, PLAIN, index, draws)
        return {'images': images, **content}

    # In the replica.

    def materialise(
        self, batch: dict[str, Any], sweep: str | None = None
    ) -> dict[str, Any]:
        """Returns a batch with its images, whichever side computes them.

        Args:
            batch: an element of `batches` or `sweep`, as one replica gets it.
            sweep: the name of the split that is swept; None in training.
        """
        if self._is_direct:
            return self._gathered(batch, sweep)
        if not self._on_device:
            return batch
        if sweep is None:
            return self._with_views(batch)
        return self._with_plain_view(batch, sweep)

    def _gathered(
        self, row: dict[str, tf.Tensor], sweep: str | None
    ) -> dict[str, Any]:
        """Makes a batch of a row of `Steps` or of a sweep, on a replica."""
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        own = {
            name: tf.gather(values, replica)
            if name.startswith('ids')
            else values
            for name, values in row.items()
        }
        if sweep is None:
            return self._batch(own | {'replica': replica})
        return self._swept(sweep, own['ids'])

    def _place_examples(self) -> None:
        """Copies images or vectors of all splits to every device."""
        with self._strategy.scope():
            names = ('train', 'probe', 'valid', 'test', *self._data.further)
            for name in names:
                split = self._data.split(name)
                if split is None:
                    continue
                if split.images is not None:
                    self._device_images[name] = _placed(name, split.images)
                if split.vectors is not None:
                    views = split.vectors.views
                    self._device_vectors[name] = (
                        _placed(name, split.vectors.array),
                        None
                        if views is None
                        else _placed(f'{name}_views', views),
                    )


def _placed(name: str, array: np.ndarray) -> tf.Variable:
    return tf.Variable(array, trainable=False, name=f'{name}_images')


def _check_view(name: str, shown: tf.Tensor, shape: tf.TensorShape) -> None:
    """Raises UsageError if a view has another type or shape than its images.

    Args:
        name: of the view.
        shown: what it has made of a batch.
        shape: of the batch.
    """
    fine = tf.is_tensor(shown) and shown.dtype == tf.float32
    if not fine or not shown.shape.is_compatible_with(shape):
        raise UsageError(
            f'The view {name!r}{plugins.place(VIEWS[name])} must return '
            f'float32 images {shape}, got {shown!r}.'
        )


def draw(
    ids: np.ndarray, count: int, rng: np.random.Generator | None
) -> np.ndarray:
    """Returns `count` ids: all of them again and again.

    Args:
        ids: what to draw from.
        count: how many to return.
        rng: shuffles each round; None keeps the order of `ids`.

    Returns:
        int64 [count].

    Raises:
        ValueError: there is nothing to draw from.
    """
    if not len(ids):
        raise ValueError('there are no examples to draw from')
    if rng is None:
        return np.resize(ids, count).astype(np.int64)
    rounds = -(-count // len(ids))
    order = [rng.permutation(ids) for _ in range(rounds)]
    return np.concatenate(order)[:count].astype(np.int64)
