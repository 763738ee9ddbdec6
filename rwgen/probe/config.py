"""Settings of a probe; the command line takes its defaults here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rwgen.errors import InvalidInputError

BIAS_STDDEV = 2.0
"""Standard deviation of the half-normal biases, and of what batch normalisation adds, where kernels
give signals of about one (docs/probe.md)."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Settings of a probe.

    Attributes:
        layers: layers to invert; empty means the last of each resolution, and the last of all.
        num_seeds: draws of the weights, of seeds 0, 1, ...; each starts from noise of its own.
        max_iterations: L-BFGS iterations of each inversion.
        bias_stddev: see `rwgen.probe.reinitialize.reinitialize`.
    """

    layers: tuple[str, ...] = ()
    num_seeds: int = 3
    max_iterations: int = 150
    bias_stddev: float = BIAS_STDDEV

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        for key, least in (("num_seeds", 1), ("max_iterations", 0)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInputError(
                    f"{key}: expected an integer from {least}. Received: {value!r}"
                )
        if not (math.isfinite(self.bias_stddev) and self.bias_stddev >= 0):
            raise InvalidInputError(
                f"bias_stddev: expected a finite number from 0. Received: {self.bias_stddev!r}"
            )
