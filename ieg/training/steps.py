"""Compiles the step functions of a method and runs them on a strategy."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.data.direct import Steps
from ieg.data.pipeline import Pipeline
from ieg.methods import checks
from ieg.methods.base import Method, Phase
from ieg.ops import tracing


class StepRunner:
    """Compiles the steps of a method and runs them.

    Args:
        method: owns the step functions.
        strategy: the strategy in whose scope the method was built.
        pipeline: yields the batches.
        jit: compile whole steps with XLA; ignored on several replicas, where
            a compiled function cannot touch another device's variables.
    """

    def __init__(
        self,
        method: Method,
        strategy: tf.distribute.Strategy,
        pipeline: Pipeline,
        jit: bool = False,
    ):
        self._method = method
        self._strategy = strategy
        self._pipeline = pipeline
        self._jit = jit and strategy.num_replicas_in_sync == 1
        # Compiled functions, `tf.function`.
        self._train_functions: dict[tuple, tuple[Any, list[str]]] = {}
        self._score_functions: dict[tuple, Any] = {}
        self._means: Any = None
        self._copies: Any = None

    def train(
        self, phase: Phase, iterator: tf.data.Iterator | Steps, count: int
    ) -> dict[str, np.ndarray]:
        """Runs `count` steps in one call; returns each scalar `[count]`."""
        key = (phase.step, phase.args)
        if key not in self._train_functions:
            self._train_functions[key] = self._compile_training(*key)
        function, names = self._train_functions[key]
        records = function(iterator, tf.constant(count)).numpy()
        return dict(zip(names, records.T, strict=True))

    def _compile_training(
        self, step: str, args: tuple
    ) -> tuple[Any, list[str]]:
        """Returns a compiled function, and the names of what it returns."""
        names: list[str] = []

        def replica_step(batch: dict[str, Any]) -> tf.Tensor:
            batch = self._pipeline.materialise(batch)
            for optimizer in self._method.optimizers:
                optimizer.learning_rate.assign(batch['step']['learning_rate'])
            logs = self._step(step)(*args, batch)
            logs = checks.checked_logs(self._method, step, logs)
            names[:] = sorted(logs)
            return tf.stack([tf.cast(logs[n], tf.float32) for n in names])

        if self._jit:
            replica_step = tf.function(
                replica_step, jit_compile=True, autograph=False
            )

        @tf.function(autograph=False)
        def run(
            iterator: tf.data.Iterator | Steps, count: tf.Tensor
        ) -> tf.Tensor:
            def one_step(
                number: tf.Tensor, records: tf.TensorArray
            ) -> tuple[tf.Tensor, tf.TensorArray]:
                logs = self._strategy.run(
                    replica_step, args=(iterator.get_next(),)
                )
                # One reduction for all scalars of the step.
                logs = self._strategy.reduce('MEAN', logs, axis=None)
                return number + 1, records.write(number, logs)

            records = tf.TensorArray(tf.float32, count, infer_shape=False)
            _, records = tf.while_loop(
                lambda number, _: number < count,
                one_step,
                (tf.constant(0), records),
                parallel_iterations=1,
            )
            return records.stack()

        return tracing.expected(run), names

    def score(
        self,
        step: str,
        *args: Any,
        split: str = 'train',
        batch_size: int,
        ids: np.ndarray | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, np.ndarray]:
        """Runs a per-example step over a split.

        Args:
            step: name of a function of the method: batch -> `[b, ...]`
                tensors by name.
            *args: leading arguments of the function.
            split: name of the split.
            batch_size: examples per step on all replicas together.
            ids: ids of the examples, sorted; None for all.
            check: called before each batch; its exception ends the pass.

        Returns:
            Arrays `[N, ...]` by name, in the order of the ids.
        """
        key = (step, args, split)
        if key not in self._score_functions:
            self._score_functions[key] = self._compile_scoring(*key)
        function = self._score_functions[key]
        pieces: dict[str, list[np.ndarray]] = {}
        for batch in self._pipeline.sweep(split, batch_size, ids):
            check()
            for name, values in function(batch).items():
                pieces.setdefault(name, []).append(values.numpy())
        gathered = {n: np.concatenate(parts) for n, parts in pieces.items()}
        index = gathered.pop('index')
        real = index >= 0
        order = np.argsort(index[real])
        return {n: values[real][order] for n, values in gathered.items()}

    def _step(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        """Returns a step function of the method by name."""
        return getattr(self._method, name)

    def _compile_scoring(self, step: str, args: tuple, split: str) -> Any:
        def replica_step(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
            batch = self._pipeline.materialise(batch, sweep=split)
            outputs = self._step(step)(*args, batch)
            return outputs | {'index': batch['index']}

        if self._jit:
            replica_step = tf.function(
                replica_step, jit_compile=True, autograph=False
            )

        @tf.function(autograph=False)
        def run(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
            outputs = self._strategy.run(replica_step, args=(batch,))
            if self._strategy.num_replicas_in_sync == 1:
                return outputs
            return {
                name: self._strategy.gather(values, axis=0)
                for name, values in outputs.items()
            }

        return tracing.expected(run)

    def average_statistics(self) -> None:
        """Sets the BatchNorm statistics of all replicas to their mean.

        Each replica updates its own copy; checkpoints and evaluation would
        only see the first one.
        """
        variables = self._statistics()
        if self._strategy.num_replicas_in_sync == 1 or not variables:
            return
        if self._means is None:
            self._means = self._compile_statistics(
                lambda value: self._strategy.reduce('MEAN', value, axis=None)
            )
        for variable, mean in zip(variables, self._means(), strict=True):
            variable.assign(mean)

    def _compile_statistics(
        self, combine: Callable[[tf.Tensor], tf.Tensor]
    ) -> Any:
        """Returns a compiled function: what all replicas have, combined."""

        @tf.function(autograph=False)
        def run() -> list[tf.Tensor]:
            values = self._strategy.run(
                lambda: [tf.convert_to_tensor(v) for v in self._statistics()]
            )
            return [combine(value) for value in values]

        return run

    def _statistics(self) -> list[keras.Variable]:
        """Returns the variables of which each replica updates its own copy."""
        return [
            variable
            for layer in self._method.layers
            for variable in layer.non_trainable_variables
            if variable.dtype.startswith('float')
        ]

    def copies(self) -> list[np.ndarray]:
        """Returns the BatchNorm statistics of all replicas.

        Every worker must call it.

        Returns:
            Arrays `[replicas, ...]`; none on one replica.
        """
        if self._strategy.num_replicas_in_sync == 1:
            return []
        if self._copies is None:
            self._copies = self._compile_statistics(
                lambda value: self._strategy.gather(value, axis=0)
            )
        shapes = [(-1, *variable.shape) for variable in self._statistics()]
        return [
            values.numpy().reshape(shape)
            for values, shape in zip(self._copies(), shapes, strict=True)
        ]

    def set_copies(self, copies: Sequence[np.ndarray]) -> None:
        """Gives each replica what `copies` returned.

        Another number of replicas gets their mean.
        """
        replicas = self._strategy.num_replicas_in_sync
        variables = self._statistics() if copies else []
        means = [
            values
            if len(values) == replicas
            else np.repeat(values.mean(axis=0, keepdims=True), replicas, axis=0)
            for values in copies
        ]

        def assign() -> None:
            context = tf.distribute.get_replica_context()
            place = context.replica_id_in_sync_group
            for variable, values in zip(variables, means, strict=True):
                # Of this replica's copy only.
                tf.raw_ops.AssignVariableOp(
                    resource=variable.value.handle,
                    value=tf.gather(tf.constant(values), place),
                )

        if variables:
            # TensorFlow warns of functions that are not compiled.
            self._strategy.run(tf.function(assign, autograph=False))

    def trace_counts(self) -> dict[str, int]:
        """Returns the number of traces of each step function."""
        counts = {
            f'{step}{args}': function.experimental_get_tracing_count()
            for (step, args), (function, _) in self._train_functions.items()
        }
        for (step, args, split), function in self._score_functions.items():
            counts[f'{step}{args} on {split}'] = (
                function.experimental_get_tracing_count()
            )
        return counts
