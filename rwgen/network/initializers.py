"""Keras initializer with reproducible normal weights, and fingerprints of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rwgen.checks import check_count, check_number, plain
from rwgen.seeds import check_seed, standard_normal


@keras.saving.register_keras_serializable(package="rwgen")
class SeededNormal(keras.initializers.Initializer):  # type: ignore[misc] # untyped base
    """Initializer that generates normal weights from (seed, layer, variable, candidate).

    Keras' own initializers give two layers of the same shape the same weights if both have the
    same integer seed, and may draw different values on different devices. This one does neither.

    Args:
        stddev: Standard deviation, finite and at least 0. Zero generates zeros.
        seed: Integer from 0 to `rwgen.seeds.MAX_SEED`.
        layer: Name of the layer in the paper, such as `conv4_2`.
        variable: `kernel` or `bias`.
        candidate: Number of the draw, from 0. `rwgen.select_weights` chooses among several.
        positive: Whether to return the absolute values of the draws (half-normal weights).

    Raises:
        InvalidInputError: An argument is out of range.
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
        self.stddev = float(stddev)  # NumPy scalars too
        check_number("stddev", self.stddev)
        check_count("candidate", candidate)
        self.seed = plain(seed)
        check_seed(self.seed)
        self.layer = layer
        self.variable = variable
        self.candidate = candidate
        self.positive = positive

    def draw(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Return the weights as a float32 NumPy array of `shape`."""
        if self.stddev == 0.0:
            return np.zeros(tuple(shape), np.float32)
        stream = f"weights/{self.layer}/{self.variable}/{self.candidate}"
        weights = standard_normal(self.seed, stream, shape)
        weights *= np.float32(self.stddev)
        return np.abs(weights, out=weights) if self.positive else weights

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return the weights as a Keras tensor.

        Args:
            shape: Shape of the variable.
            dtype: Dtype of the variable, to which the float32 draws are cast; None means
                `keras.config.floatx()`.

        Returns:
            A tensor of `shape` and `dtype`.
        """
        return keras.ops.convert_to_tensor(
            self.draw(shape), dtype=keras.backend.standardize_dtype(dtype)
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments, for Keras' serialization."""
        return {
            "stddev": self.stddev,
            "seed": self.seed,
            "layer": self.layer,
            "variable": self.variable,
            "candidate": self.candidate,
            "positive": self.positive,
        }


def fingerprint(*weights: NDArray[np.floating]) -> str:
    """Return the SHA-256 of weight arrays as 64 hexadecimal digits.

    The hash covers the shape and the little-endian float32 bytes of each array, so equal
    fingerprints mean bit-identical weights on machines of any byte order.
    """
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()
