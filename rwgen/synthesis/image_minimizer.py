"""L-BFGS on an image: pixels in and out, any parameterization in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.network.preprocess import PIXEL_RANGE, deprocess, network_input
from rwgen.noise import white_noise
from rwgen.optimize.best_so_far import TermsFunction
from rwgen.optimize.checkpoint import Checkpoint
from rwgen.optimize.config import OptimizerConfig
from rwgen.optimize.minimizer import Minimizer
from rwgen.optimize.solution import Solution, Step, StepCallback
from rwgen.seeds import standard_normal
from rwgen.synthesis.config import ParameterizationName
from rwgen.synthesis.parameterization import make_parameterization

PERTURBATION = 0.05
"""Standard deviation of small random changes of an image, as a share of the range from black to
white."""


class ImageMinimizer:
    """L-BFGS on images of one size, given and returned as pixels."""

    def __init__(
        self, size: Sequence[int], dtype: Any, parameterization: ParameterizationName, seed: int
    ) -> None:
        """Create a minimizer.

        Args:
            size: (height, width) of the image.
            dtype: of the network input, float32 or float64.
            parameterization: what L-BFGS moves.
            seed: decides the noise to start from where no start is given.
        """
        self._shape = (*size, 3)
        self._dtype = np.dtype(dtype)
        self._space = make_parameterization(parameterization, size, dtype)
        self._seed = seed

    def search(
        self, terms: TermsFunction, config: OptimizerConfig, *, jit_compile: bool | None = None
    ) -> Minimizer:
        """L-BFGS on what the parameterization moves, for `minimize`, once or several times.

        Args:
            terms: maps network input [1, height, width, 3], and any inputs of a run, to scalar
                terms by name.
            config: settings of L-BFGS.
            jit_compile: see `rwgen.Minimizer`.
        """
        space = self._space  # not self: a search may outlive its first run

        def at(position: tf.Tensor, *inputs: Any) -> dict[str, tf.Tensor]:
            return terms(space.image(position), *inputs)

        shape = (1, *self._shape)
        return Minimizer(at, shape, self._dtype, config, jit_compile=jit_compile)

    def minimize(
        self,
        search: Minimizer,
        start: NDArray[Any] | None,
        callback: StepCallback | None = None,
        checkpoint: Checkpoint | None = None,
        *,
        inputs: Sequence[Any] = (),
        max_iterations: int | None = None,
    ) -> Solution:
        """Search for the image whose terms have the lowest sum.

        Args:
            search: see `search`; that of another minimizer of the same size, dtype and
                parameterization will do.
            start: [height, width, 3], RGB in 0..255; None means noise.
            callback: receives RGB in 0..255, like the solution.
            checkpoint: see `rwgen.Minimizer`.
            inputs: see `rwgen.Minimizer.minimize`.
            max_iterations: see `rwgen.Minimizer.minimize`.

        Raises:
            OptimizationError: the loss is not finite.
        """

        def in_pixels(step: Step, best: Callable[[], NDArray[Any]]) -> bool | None:
            return callback(step, lambda: self._pixels(best())) if callback else None

        position = self._noise() if start is None else self._position(start)
        solution = search.minimize(
            position, in_pixels, checkpoint, inputs=inputs, max_iterations=max_iterations
        )
        return dataclasses.replace(solution, image=self._pixels(solution.image))

    def perturbed(self, image: NDArray[Any], number: int) -> NDArray[Any]:
        """Change an image slightly, by a random step of the parameterization.

        Args:
            image: network input [1, height, width, 3].
            number: of the draw, from 0.

        Returns:
            The same, plus a change whose root mean square is `PERTURBATION`.
        """
        position = self._space.position(image)
        draw = standard_normal(self._seed, f"perturbation/{number}", self._shape)
        moved, still = (
            self._space.image(tf.constant(place)).numpy()
            for place in (position + draw.astype(self._dtype), position)
        )
        change = moved - still
        factor = self._dtype.type(PERTURBATION / np.sqrt(np.mean(change**2)))
        perturbed: NDArray[Any] = image + change * factor
        return perturbed

    def _noise(self) -> NDArray[Any]:
        """Position of noise around mid gray: white in pixels, 1/f in frequencies.

        White noise of pixels would stay in an image whose high frequencies hardly move.
        """
        gray = np.full(self._shape, PIXEL_RANGE / 2, np.float32)
        noise = (white_noise(self._seed, self._shape) - gray) / np.float32(PIXEL_RANGE)
        position: NDArray[Any] = self._position(gray) + noise.astype(self._dtype)
        return position

    def _position(self, image: NDArray[Any]) -> NDArray[Any]:
        return self._space.position(network_input(image, self._dtype.name))

    def _pixels(self, position: NDArray[Any]) -> NDArray[Any]:
        pixels: NDArray[Any] = deprocess(self._space.image(tf.constant(position)).numpy()[0])
        return pixels
