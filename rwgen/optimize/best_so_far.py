"""An objective that counts its evaluations and keeps the best point it has seen."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

TermsFunction = Callable[..., dict[str, tf.Tensor]]
"""Maps a point, and any inputs that stay the same during a search, to scalar terms by name; their
sum is minimized."""


class BestSoFar:
    """Wraps any objective; every call counts, and the point with the lowest loss is kept.

    Counters and the best point are variables in the graph, so keeping them costs neither further
    evaluations nor a return to Python. Not thread-safe.
    """

    def __init__(
        self,
        objective: TermsFunction,
        shape: Sequence[int],
        dtype: tf.DType,
        jit_compile: bool,
    ) -> None:
        """Wrap an objective.

        Args:
            objective: maps a point of `shape` to scalar terms, differentiable by TensorFlow.
            shape: shape of the point.
            dtype: `tf.float32` or `tf.float64`.
            jit_compile: whether to compile value and gradient with XLA.
        """
        self._objective = objective
        self._shape = tuple(shape)
        self._dtype = dtype
        self._term_names: tuple[str, ...] = ()
        self._evaluations = tf.Variable(0, dtype=tf.int64)
        self._non_finite = tf.Variable(0, dtype=tf.int64)
        self._loss = tf.Variable(np.inf, dtype=dtype)
        self._position = tf.Variable(tf.zeros([math.prod(self._shape)], dtype))
        self._terms = tf.Variable(tf.zeros([0], dtype), shape=[None])
        self.variables = {
            "evaluations": self._evaluations,
            "non_finite": self._non_finite,
            "best_loss": self._loss,
            "best_position": self._position,
            "best_terms": self._terms,
        }
        """The state, by name: what a checkpoint stores and restores."""
        self.evaluate = graph_function(self._loss_gradient_and_terms, jit_compile)
        """Compiled loss [], gradient [n] and terms at a position [n] with any inputs, without any
        tracking."""

    def __call__(self, position: tf.Tensor, *inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Evaluate the objective, count the call and keep the point if it is the best.

        A line search survives +inf but not NaN, so a loss or gradient that is not finite gives a
        loss of +inf and a gradient of zeros.

        Args:
            position: flattened point, [n].
            *inputs: tensors, or structures of them, that the objective takes.

        Returns:
            Loss [] and gradient [n].
        """
        loss, gradient, terms = self.evaluate(position, *inputs)
        finite = tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient))
        loss = tf.where(finite, loss, tf.constant(np.inf, self._dtype))
        gradient = tf.where(finite, gradient, tf.zeros_like(gradient))
        self._evaluations.assign_add(1)
        # A line search may try an infinite step, which says nothing about the objective.
        blamed = ~finite & tf.reduce_all(tf.math.is_finite(position))
        self._non_finite.assign_add(tf.cast(blamed, tf.int64))

        def keep() -> tf.Tensor:
            self._loss.assign(loss)
            self._position.assign(position)
            self._terms.assign(terms)
            return tf.constant(True)

        tf.cond(loss < self._loss, keep, lambda: tf.constant(False))
        return loss, gradient

    def reset(self) -> None:
        """Forget the best point and the count of evaluations."""
        self._evaluations.assign(0)
        self._loss.assign(np.inf)

    @property
    def evaluations(self) -> int:
        """Number of evaluations since the last `reset`."""
        return int(self._evaluations)

    @property
    def non_finite(self) -> int:
        """Number of evaluations at finite points that were not finite, over all runs."""
        return int(self._non_finite)

    @property
    def loss(self) -> float:
        """Lowest loss so far; infinite before the first evaluation."""
        return float(self._loss)

    @property
    def terms(self) -> dict[str, float]:
        """Terms of the lowest loss, by name."""
        return dict(zip(self._term_names, self._terms.numpy().tolist(), strict=True))

    @property
    def position(self) -> tf.Tensor:
        """Best point so far, flattened, [n]."""
        return self._position.read_value()

    def point(self) -> NDArray[Any]:
        """Best point so far, of the objective's shape."""
        point: NDArray[Any] = self._position.numpy().reshape(self._shape)
        return point

    def _loss_gradient_and_terms(
        self, position: tf.Tensor, *inputs: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(position)
            terms = self._objective(tf.reshape(position, self._shape), *inputs)
            values = tf.stack([tf.cast(value, self._dtype) for value in terms.values()])
            loss = tf.reduce_sum(values)
        gradient = tape.gradient(loss, position, unconnected_gradients="zero")
        self._term_names = tuple(terms)  # set while tracing; every trace gives the same names
        return loss, gradient, values


def graph_function(method: Callable[..., Any], jit_compile: bool = False) -> Callable[..., Any]:
    """A `tf.function` of a bound method with a trace count of its own.

    TensorFlow counts traces by the wrapped Python function and warns of frequent retracing after
    five objects that share a method. A `partial` is counted separately.
    """
    function: Callable[..., Any] = tf.function(
        functools.partial(method), autograph=False, jit_compile=jit_compile
    )
    return function
