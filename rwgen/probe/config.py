"""Settings of a probe; the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass

from rwgen.checks import check_count, check_layers, check_number, normalize_fields

BIAS_STDDEV = 2.0
"""Scale of the half-normal biases, and of the offsets of normalizations, for kernels that keep the
variance of signals (docs/probe.md)."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Settings of a probe.

    Attributes:
        layers: layers to invert; empty chooses the last layer of each resolution and the last layer
            of the model.
        num_seeds: number of draws of the weights, with seeds 0, 1, ...; each starts from its own
            noise.
        max_iterations: maximum number of L-BFGS iterations of each inversion.
        bias_stddev: see `rwgen.probe.reinitialize`.
    """

    layers: tuple[str, ...] = ()
    num_seeds: int = 3
    max_iterations: int = 150
    bias_stddev: float = BIAS_STDDEV

    def __post_init__(self) -> None:
        """Check every field."""
        normalize_fields(self, ("layers",))
        if self.layers != ():
            check_layers("layers", self.layers)
        check_count("num_seeds", self.num_seeds, 1)
        check_count("max_iterations", self.max_iterations)
        check_number("bias_stddev", self.bias_stddev)
