"""State of a minimization: its current L-BFGS search, and totals of the searches before it.

For a checkpoint, everything converts exactly to arrays and JSON values and back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.lbfgs import PairProducts, lbfgs_start, pair_products
from rwgen.optimize.solution import Step


@dataclass
class Search:
    """One uninterrupted L-BFGS search.

    Attributes:
        state: TFP's state, of the scaled loss.
        products: inner products of the pairs in `state`, used by `wolfe_first` only.
        scale: factor of loss and gradient in `state`.
        loss: unscaled loss at its start.
        largest_gradient: largest unscaled gradient component at its start.
        non_finite: number of non-finite evaluations before its start.
    """

    state: Any
    products: PairProducts
    scale: tf.Tensor
    loss: float
    largest_gradient: float
    non_finite: int

    @classmethod
    def begin(
        cls,
        position: tf.Tensor,
        loss: tf.Tensor,
        gradient: tf.Tensor,
        config: OptimizerConfig,
        non_finite: int,
    ) -> Search:
        """Start a search with an empty history of pairs.

        Args:
            position: starting point, [n].
            loss: unscaled and finite, [].
            gradient: unscaled and finite, [n].
            config: settings of L-BFGS.
            non_finite: see the attribute.
        """
        values = gradient.numpy().astype(np.float64)
        rms = float(np.sqrt(np.mean(np.square(values))))
        scale = tf.constant(config.first_step / rms if rms > 0 else 1.0, position.dtype)
        pairs = config.num_correction_pairs
        state = lbfgs_start(position, loss * scale, gradient * scale, pairs)
        largest = float(np.abs(values).max())
        return cls(state, pair_products(state), scale, float(loss), largest, non_finite)

    def largest_component(self) -> float:
        """Largest unscaled gradient component at the current point; infinite if the loss is."""
        if not np.isfinite(self.state.objective_value):
            return math.inf
        return float(tf.reduce_max(tf.abs(self.state.objective_gradient)) / self.scale)

    def gradient_norm(self) -> float:
        """Euclidean norm of the unscaled gradient; infinite if the loss is."""
        if not np.isfinite(self.state.objective_value):
            return math.inf
        return float(tf.norm(self.state.objective_gradient) / self.scale)

    def has_stopped(self) -> bool:
        """Whether TFP has stopped, for any reason."""
        return bool(self.state.converged) or bool(self.state.failed)


@dataclass
class Progress:
    """A minimization between two chunks, without the variables of its objective.

    Attributes:
        search: the current search.
        tolerance: largest unscaled gradient component at which to stop.
        history: one entry for the start and one per chunk.
        finished: number of iterations of earlier searches.
        restarts: number of earlier searches.
    """

    search: Search
    tolerance: float
    history: list[Step]
    finished: int = 0
    restarts: int = 0

    @property
    def iteration(self) -> int:
        """Number of iterations so far, over all restarts."""
        return self.finished + int(self.search.state.num_iterations)

    def to_values(self, variables: Mapping[str, tf.Variable]) -> dict[str, Any]:
        """Everything that is needed to resume.

        Args:
            variables: variables of the objective, by name.

        Returns:
            Arrays and JSON-compatible values, by name.
        """
        search = self.search
        arrays = {f"state.{name}": value for name, value in search.state._asdict().items()}
        arrays |= {f"products.{name}": value for name, value in search.products._asdict().items()}
        arrays |= {f"variable.{name}": value for name, value in variables.items()}
        return {
            **{name: np.asarray(value.numpy()) for name, value in arrays.items()},
            "scale": np.asarray(search.scale.numpy()),
            "loss": search.loss,
            "largest_gradient": search.largest_gradient,
            "non_finite": search.non_finite,
            "tolerance": self.tolerance,
            "history": [dataclasses.asdict(step) for step in self.history],
            "finished": self.finished,
            "restarts": self.restarts,
        }

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], start: tf.Tensor, variables: Mapping[str, tf.Variable]
    ) -> Progress:
        """Restore the result of `to_values`.

        Args:
            values: see `to_values`.
            start: any point of the same shape [n] and dtype.
            variables: variables of the objective, which are set.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another type.
            ValueError: something is of another shape.
        """
        pairs = len(values["state.position_deltas"])
        empty = lbfgs_start(start, tf.zeros([], start.dtype), tf.zeros_like(start), pairs)
        fields = {
            name: tf.constant(values[f"state.{name}"], like.dtype, like.shape)
            for name, like in empty._asdict().items()
        }
        products = PairProducts(
            *(
                tf.constant(values[f"products.{name}"], start.dtype, [pairs, pairs])
                for name in PairProducts._fields
            )
        )
        search = Search(
            state=empty._replace(**fields),
            products=products,
            scale=tf.constant(values["scale"], start.dtype, []),
            loss=values["loss"],
            largest_gradient=values["largest_gradient"],
            non_finite=values["non_finite"],
        )
        for name, variable in variables.items():
            variable.assign(values[f"variable.{name}"])
        history = [Step(**step) for step in values["history"]]
        return cls(search, values["tolerance"], history, values["finished"], values["restarts"])
