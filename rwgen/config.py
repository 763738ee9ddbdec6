"""Settings of the optimizer and of the three tasks; the command line takes its defaults here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from rwgen.errors import InvalidInputError
from rwgen.recipe import STACKED_NETWORK, ZERO_BIAS_NETWORK
from rwgen.seeds import check_seed

Weighting = Literal["magnitude", "signed"]
"""How equations 4 and 8 average an input gradient: its magnitudes, or literally the values."""

LineSearch = Literal["wolfe_first", "hager_zhang"]
"""How L-BFGS finds its step: the full step if it satisfies the Wolfe conditions, else the search of
Hager and Zhang; or that search always, as `tfp.optimizer.lbfgs_minimize` does."""

ParameterizationName = Literal["pixel", "fourier", "box", "fourier-box"]
"""What L-BFGS moves: pixels, as in the paper; their frequencies, coarse ones further; either mapped
smoothly onto the range of valid pixels."""

CONTENT_UNIT = 1 / 300
"""What one unit of content weight multiplies eq. 1 by; see docs/math.md, "The ratio"."""

TV_UNIT = 1 / 20_000
"""What one unit of total variation weight multiplies the sum of eq. 9 by; see docs/math.md."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How L-BFGS runs.

    Attributes:
        max_iterations: L-BFGS iterations at the most, restarts included.
        num_correction_pairs: pairs of differences that approximate the curvature (20, as in the
            code of Gatys et al. that the paper builds on).
        gradient_tolerance: stop when the largest gradient component has fallen below this share
            of what it was at the start.
        first_step: root mean square of the first trial step, in network input units (1 is the
            range from black to white). L-BFGS tries -gradient first, so the loss is scaled to
            make it this long.
        line_search: see `LineSearch`; `wolfe_first` needs a third of the evaluations.
        max_line_search_iterations: of the Hager-Zhang line search in one iteration.
        max_restarts: how often a search that cannot go on is restarted, without its memory, from
            the best point.
        iterations_per_chunk: iterations between two callbacks.
        jit_compile: compile the objective with XLA.
        winograd: on a CPU, compute convolutions of many channels by Winograd's algorithm, which
            takes half the time and rounds a little more (docs/performance.md).
    """

    max_iterations: int = 200
    num_correction_pairs: int = 20
    gradient_tolerance: float = 1e-6
    first_step: float = 0.05
    line_search: LineSearch = "wolfe_first"
    max_line_search_iterations: int = 20
    max_restarts: int = 5
    iterations_per_chunk: int = 1
    jit_compile: bool = True
    winograd: bool = True

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        for key in ("num_correction_pairs", "max_line_search_iterations", "iterations_per_chunk"):
            _check_count(key, getattr(self, key), 1)
        for key in ("max_iterations", "max_restarts"):
            _check_count(key, getattr(self, key), 0)
        _check_choice("line_search", self.line_search, get_args(LineSearch))
        _check_number("gradient_tolerance", self.gradient_tolerance)
        _check_number("first_step", self.first_step)
        if self.first_step == 0:
            raise InvalidInputError("first_step: expected a number above 0. Received: 0")


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """Settings of style transfer (paper, eq. 9).

    Attributes:
        network: a shipped network or the path of a recipe.
        content_layers: layers whose features the content image gives (paper: conv2_2).
        style_layers: layers whose Gram matrices the style images give (paper: conv1_1 to
            conv5_1, the first of each block).
        content_weight: alpha of eq. 9, in units of `CONTENT_UNIT`.
        style_weight: beta of eq. 9.
        tv_weight: gamma of eq. 9, in units of `TV_UNIT`.
        style_blend: weight of each style image, divided by their sum; empty means equal weights.
            The target is one mixture of all (docs/math.md).
        weighting: how eq. 4 and 8 average.
        shift_features: subtract the target's mean features before Gram matrices are taken; False
            is the paper (docs/math.md).
        octaves: how often the image is halved before the search begins on the smallest; 0 is
            the paper, None chooses by size (docs/math.md).
        parameterization: what L-BFGS moves, see `ParameterizationName`.
        seed: decides the white noise that the search starts from.
        optimizer: how L-BFGS runs.
    """

    network: str = ZERO_BIAS_NETWORK
    content_layers: tuple[str, ...] = ("conv2_2",)
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    content_weight: float = 100.0
    style_weight: float = 1.0
    tv_weight: float = 1000.0
    style_blend: tuple[float, ...] = ()
    weighting: Weighting = "magnitude"
    shift_features: bool = True
    octaves: int | None = None
    parameterization: ParameterizationName = "pixel"
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        for key in ("content_weight", "style_weight", "tv_weight"):
            _check_number(key, getattr(self, key))
        if self.content_weight == 0 and self.style_weight == 0:
            raise InvalidInputError(
                "expected a content_weight or a style_weight above 0. Received: 0 and 0"
            )
        if self.style_blend:
            for value in self.style_blend:
                _check_number("style_blend", value)
            if sum(self.style_blend) == 0:
                raise InvalidInputError("style_blend: expected a number above 0. Received: zeros")
        _check_layers("content_layers", self.content_layers)
        _check_layers("style_layers", self.style_layers)
        _check_count("octaves", self.octaves or 0, 0)
        _check_choice("weighting", self.weighting, get_args(Weighting))
        _check_choice("parameterization", self.parameterization, get_args(ParameterizationName))
        check_seed(self.seed)

    def blend(self, num_styles: int) -> tuple[float, ...]:
        """Share of each of `num_styles` style images; the shares sum to 1.

        Raises:
            InvalidInputError: `style_blend` is given and is not one number for each style.
        """
        weights = self.style_blend or (1.0,) * num_styles
        if len(weights) != num_styles:
            raise InvalidInputError(
                f"expected one style_blend number for each of the {num_styles} style images. "
                f"Received: {len(weights)}"
            )
        largest = max(weights)  # divided out first: the sum of huge weights would overflow
        shares = [weight / largest for weight in weights]
        return tuple(share / math.fsum(shares) for share in shares)


@dataclass(frozen=True, kw_only=True)
class TextureConfig:
    """Settings of texture synthesis (paper, eq. 5).

    Attributes:
        network: a shipped network or the path of a recipe.
        layers: layers whose Gram matrices the source gives.
        weighting: how eq. 8 averages.
        shift_features: subtract the target's mean features before Gram matrices are taken; False
            is the paper (docs/math.md).
        octaves: how often the image is halved before the search begins on the smallest; 0 is
            the paper, None chooses by size (docs/math.md).
        parameterization: what L-BFGS moves, see `ParameterizationName`.
        seed: decides the white noise that the search starts from.
        optimizer: how L-BFGS runs.
    """

    network: str = ZERO_BIAS_NETWORK
    layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    weighting: Weighting = "magnitude"
    shift_features: bool = True
    octaves: int | None = None
    parameterization: ParameterizationName = "pixel"
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        _check_layers("layers", self.layers)
        _check_count("octaves", self.octaves or 0, 0)
        _check_choice("weighting", self.weighting, get_args(Weighting))
        _check_choice("parameterization", self.parameterization, get_args(ParameterizationName))
        check_seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """Settings of feature inversion (paper, eq. 1).

    Attributes:
        network: a shipped network or the path of a recipe.
        weighting: how eq. 4 averages; it scales the reported loss and nothing else.
        parameterization: what L-BFGS moves, see `ParameterizationName`; None chooses by the layers
            (docs/math.md), `pixel` is the paper.
        propagate_differences: compute how features differ from the target's without computing
            either, which goes on where the rounding of float32 would end the search
            (docs/math.md); False subtracts them. A network that is no chain of layers subtracts.
        whiten_features: mix the channels of each conv or pool layer so that small changes of the
            image change all mixtures alike; None does so for deep layers unless pixels are moved
            (docs/math.md), False is the paper.
        octaves: how often the image is halved before the search begins on the smallest; 0 is
            the paper, None chooses by size (docs/math.md).
        seed: decides the white noise that the search starts from.
        optimizer: how L-BFGS runs.
    """

    network: str = STACKED_NETWORK
    weighting: Weighting = "magnitude"
    parameterization: ParameterizationName | None = None
    propagate_differences: bool = True
    whiten_features: bool | None = None
    octaves: int | None = None
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InvalidInputError: a field is out of range.
        """
        _check_choice("weighting", self.weighting, get_args(Weighting))
        if self.parameterization is not None:
            _check_choice("parameterization", self.parameterization, get_args(ParameterizationName))
        _check_count("octaves", self.octaves or 0, 0)
        check_seed(self.seed)


def _check_number(key: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InvalidInputError(f"{key}: expected a finite number from 0. Received: {value!r}")


def _check_count(key: str, value: int, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InvalidInputError(f"{key}: expected an integer from {minimum}. Received: {value!r}")


def _check_layers(key: str, layers: Sequence[str]) -> None:
    if isinstance(layers, str) or not layers:
        raise InvalidInputError(f"{key}: expected a tuple of layer names. Received: {layers!r}")


def _check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInputError(f"{key}: expected one of {', '.join(choices)}. Received: {value!r}")
