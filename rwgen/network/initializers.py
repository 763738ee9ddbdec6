"""The seeded normal initializer of ranVGG, registered with Keras."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.seeds import check_seed, standard_normal


@keras.saving.register_keras_serializable(package="rwgen")
class SeededNormal(keras.initializers.Initializer):  # type: ignore[misc] # untyped base
    """Normal weights that depend on (seed, layer, variable, candidate) alone.

    Keras' own initializers give two layers of the same shape the same weights when both get the
    same integer seed, and draw differently on different devices. This one does neither.

    Args:
        stddev: standard deviation, not negative. Zero gives zeros.
        seed: from 0 to `rwgen.seeds.MAX_SEED`.
        layer: the layer's name in the paper, such as `conv4_2`.
        variable: `kernel` or `bias`.
        candidate: which of the layer's draws, from 0; the greedy stack chooses among them.
        positive: whether the absolute values of the draws are taken.

    Raises:
        InvalidInputError: an argument is out of range.
    """

    def __init__(
        self,
        stddev: float = 0.015,
        seed: int = 0,
        layer: str = "",
        variable: str = "kernel",
        candidate: int = 0,
        positive: bool = False,
    ) -> None:
        if not (np.isfinite(stddev) and stddev >= 0):
            raise InvalidInputError(
                f"expected a finite standard deviation, not negative. Received: {stddev!r}"
            )
        if isinstance(candidate, bool) or not isinstance(candidate, int) or candidate < 0:
            raise InvalidInputError(f"expected a candidate from 0. Received: {candidate!r}")
        check_seed(seed)
        self.stddev = float(stddev)
        self.seed = seed
        self.layer = layer
        self.variable = variable
        self.candidate = candidate
        self.positive = positive

    def draw(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """The weights as a NumPy array of `shape`, float32."""
        if self.stddev == 0.0:
            return np.zeros(tuple(shape), np.float32)
        stream = f"weights/{self.layer}/{self.variable}/{self.candidate}"
        weights = standard_normal(self.seed, stream, shape)
        weights *= np.float32(self.stddev)
        return np.abs(weights, out=weights) if self.positive else weights

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The weights as a Keras tensor.

        Args:
            shape: shape of the variable.
            dtype: dtype of the variable; Keras' default float when None. The float32 draws are
                cast to it.

        Returns:
            A tensor of `shape` and `dtype`.
        """
        return keras.ops.convert_to_tensor(
            self.draw(shape), dtype=keras.backend.standardize_dtype(dtype)
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, for Keras' serialisation."""
        return {
            "stddev": self.stddev,
            "seed": self.seed,
            "layer": self.layer,
            "variable": self.variable,
            "candidate": self.candidate,
            "positive": self.positive,
        }


def fingerprint(*weights: NDArray[np.floating]) -> str:
    """SHA-256 of weight arrays, as 64 hexadecimal digits.

    Shape and little-endian float32 bytes of each array count, so equal fingerprints mean
    bit-identical weights on machines of any byte order.
    """
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()
