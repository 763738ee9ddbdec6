"""Settings of the three tasks; the command line takes its defaults from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, get_args

from rwgen.checks import check_choice, check_count, check_layers, check_number, normalize_fields
from rwgen.compute.device import Precision
from rwgen.errors import InvalidInputError
from rwgen.network.recipe import DEFAULT_NETWORK, PYRAMID_NETWORK, STACKED_NETWORK
from rwgen.optimize.config import OptimizerConfig
from rwgen.seeds import check_seed

Weighting = Literal["magnitude", "signed"]
"""What equations 4 and 8 average of an input gradient: magnitudes, or values as in the paper."""

ParameterizationName = Literal["pixel", "fourier", "box", "fourier-box"]
"""What L-BFGS moves: pixels, as in the paper, or their frequencies, low ones further; `box` maps
either smoothly onto the range of valid pixels."""

StyleStart = Literal["noise", "content"]
"""What a style transfer starts from where no image is given: white noise, as in the paper, or the
content image in the colors of the styles."""

CONTENT_UNIT = 1 / 300
"""Factor of eq. 1 for one unit of content weight; see docs/math.md, "The ratio"."""

DEFAULT_SIZE = 512
"""Longest side, in pixels, that images are resized to by default: minutes on two cores."""

STYLE_ITERATIONS = 60
"""Default number of iterations of a style transfer, over all sizes: fewer than other searches need,
as it starts from the content."""

TV_UNIT = 1 / 20_000
"""Factor of the sum of eq. 9 for one unit of total variation weight; see docs/math.md."""


_PAPER_SEARCH: Mapping[str, Any] = MappingProxyType(
    {
        "network": DEFAULT_NETWORK,
        "weighting": "signed",
        "octaves": 0,
        "parameterization": "pixel",
    }
)
_PAPER_GRAM: Mapping[str, Any] = MappingProxyType({"shift_features": False, "whiten_gram": False})


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """Settings of style transfer (paper, eq. 9).

    Attributes:
        network: name of a shipped network, or path of a recipe.
        content_layers: layers whose features are those of the content image. The paper's conv2_2
            lies behind a pool that cannot see a fine grid of dots; conv1_2 can (docs/math.md).
        style_layers: layers whose Gram matrices are those of the style images (paper: conv1_1
            to conv5_1, the first of each block).
        content_weight: alpha of eq. 9, in units of `CONTENT_UNIT`.
        style_weight: beta of eq. 9.
        tv_weight: gamma of eq. 9, in units of `TV_UNIT`.
        style_blend: weight of each style image, normalized to a sum of one; empty means equal
            weights. The target is a mixture of all (docs/math.md).
        match_colors: give the content image the mean color and color covariance of the styles
            before its features are taken, so that content does not hold on to the photo's colors;
            False is the paper (docs/math.md).
        init: what the search starts from, see `StyleStart`.
        weighting: how eq. 4 and 8 average, see `Weighting`.
        shift_features: subtract the target's mean features before computing Gram matrices;
            False is the paper (docs/math.md).
        whiten_gram: compare Gram matrices in a metric in which the target's features vary almost
            equally in all directions; False is the paper (docs/math.md).
        octaves: number of times the image is halved for the first, smallest size; 0 is the
            paper, None chooses by size and start (docs/math.md).
        parameterization: what L-BFGS moves, see `ParameterizationName`.
        seed: seed of the white noise that the search starts from if `init` is `noise`.
        precision: number format of convolutions, see `rwgen.compute.device.Precision`.
        optimizer: settings of L-BFGS.
    """

    PAPER: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            **_PAPER_SEARCH,
            **_PAPER_GRAM,
            "content_layers": ("conv2_2",),
            "style_layers": ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
            "content_weight": 30_000.0,  # 100 / CONTENT_UNIT
            "style_weight": 1.0,
            "tv_weight": 20_000_000.0,  # 1000 / TV_UNIT
            "match_colors": False,
            "init": "noise",
        }
    )
    """The paper's values of the fields for which the paper has one."""

    network: str = PYRAMID_NETWORK
    content_layers: tuple[str, ...] = ("conv1_1", "conv2_1")
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    content_weight: float = 50.0
    style_weight: float = 1.0
    tv_weight: float = 1000.0
    style_blend: tuple[float, ...] = ()
    match_colors: bool = True
    init: StyleStart = "content"
    weighting: Weighting = "magnitude"
    shift_features: bool = True
    whiten_gram: bool = True
    octaves: int | None = None
    parameterization: ParameterizationName = "pixel"
    seed: int = 0
    precision: Precision = "float32"
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(max_iterations=STYLE_ITERATIONS)
    )

    def __post_init__(self) -> None:
        normalize_fields(self, ("content_layers", "style_layers"))
        for key in ("content_weight", "style_weight", "tv_weight"):
            check_number(key, getattr(self, key))
        if self.content_weight == 0 and self.style_weight == 0:
            raise InvalidInputError(
                "expected a content_weight or a style_weight above 0. Received: 0 and 0"
            )
        if self.style_blend:
            for value in self.style_blend:
                check_number("style_blend", value)
            if sum(self.style_blend) == 0:
                raise InvalidInputError("style_blend: expected a number above 0. Received: zeros")
        check_layers("content_layers", self.content_layers)
        check_layers("style_layers", self.style_layers)
        check_count("octaves", 0 if self.octaves is None else self.octaves)
        check_choice("init", self.init, get_args(StyleStart))
        check_choice("weighting", self.weighting, get_args(Weighting))
        check_choice("parameterization", self.parameterization, get_args(ParameterizationName))
        check_choice("precision", self.precision, get_args(Precision))
        check_seed(self.seed)

    @classmethod
    def paper(cls, **values: Any) -> Self:
        """The literal paper: every departure of the defaults set back (docs/math.md).

        Args:
            **values: fields with other values.
        """
        return cls(**{**cls.PAPER, **values})

    def blend(self, num_styles: int) -> tuple[float, ...]:
        """Share of each of `num_styles` style images; shares sum to 1.

        Raises:
            InvalidInputError: the number of `style_blend` weights is not `num_styles`.
        """
        weights = self.style_blend or (1.0,) * num_styles
        if len(weights) != num_styles:
            raise InvalidInputError(
                f"expected one style_blend number for each of the {num_styles} style images. "
                f"Received: {len(weights)}"
            )
        largest = max(weights)  # divide first: the sum of huge weights would overflow
        shares = [weight / largest for weight in weights]
        return tuple(share / math.fsum(shares) for share in shares)


@dataclass(frozen=True, kw_only=True)
class TextureConfig:
    """Settings of texture synthesis (paper, eq. 5).

    Attributes:
        network: name of a shipped network, or path of a recipe.
        layers: layers whose Gram matrices are those of the source.
        weighting: how eq. 8 averages, see `Weighting`.
        shift_features: subtract the target's mean features before computing Gram matrices;
            False is the paper (docs/math.md).
        whiten_gram: compare Gram matrices in a metric in which the target's features vary almost
            equally in all directions; False is the paper (docs/math.md).
        octaves: number of times the image is halved for the first, smallest size; 0 is the
            paper, None chooses by size (docs/math.md).
        parameterization: what L-BFGS moves, see `ParameterizationName`.
        seed: seed of the white noise that the search starts from.
        precision: number format of convolutions, see `rwgen.compute.device.Precision`.
        optimizer: settings of L-BFGS.
    """

    PAPER: ClassVar[Mapping[str, Any]] = MappingProxyType({**_PAPER_SEARCH, **_PAPER_GRAM})

    network: str = PYRAMID_NETWORK
    layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    weighting: Weighting = "magnitude"
    shift_features: bool = True
    whiten_gram: bool = True
    octaves: int | None = None
    parameterization: ParameterizationName = "pixel"
    seed: int = 0
    precision: Precision = "float32"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        normalize_fields(self, ("layers",))
        check_layers("layers", self.layers)
        check_count("octaves", 0 if self.octaves is None else self.octaves)
        check_choice("weighting", self.weighting, get_args(Weighting))
        check_choice("parameterization", self.parameterization, get_args(ParameterizationName))
        check_choice("precision", self.precision, get_args(Precision))
        check_seed(self.seed)

    @classmethod
    def paper(cls, **values: Any) -> Self:
        """The literal paper, see `StyleConfig.paper`.

        Args:
            **values: fields with other values.
        """
        return cls(**{**cls.PAPER, **values})


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """Settings of feature inversion (paper, eq. 1).

    Attributes:
        network: name of a shipped network, or path of a recipe.
        weighting: how eq. 4 averages; it only scales the reported loss.
        parameterization: what L-BFGS moves, see `ParameterizationName`; None chooses by the layers
            (docs/math.md), `pixel` is the paper.
        propagate_differences: propagate the difference of features from the target's through the
            network, which continues where the rounding of float32 would end the search
            (docs/math.md); False subtracts features. Networks that are not a chain of layers
            always subtract.
        whiten_features: multiply the channels of each conv or pool layer by a matrix that gives
            equal weight to everything the layer keeps; None does so for deep layers unless pixels
            are moved (docs/math.md), False is the paper.
        octaves: number of times the image is halved for the first, smallest size; 0 is the
            paper, None chooses by size (docs/math.md).
        seed: seed of the white noise that the search starts from.
        optimizer: settings of L-BFGS.
    """

    PAPER: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {**_PAPER_SEARCH, "propagate_differences": False, "whiten_features": False}
    )

    network: str = STACKED_NETWORK
    weighting: Weighting = "magnitude"
    parameterization: ParameterizationName | None = None
    propagate_differences: bool = True
    whiten_features: bool | None = None
    octaves: int | None = None
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        normalize_fields(self)
        check_choice("weighting", self.weighting, get_args(Weighting))
        if self.parameterization is not None:
            check_choice("parameterization", self.parameterization, get_args(ParameterizationName))
        check_count("octaves", 0 if self.octaves is None else self.octaves)
        check_seed(self.seed)

    @classmethod
    def paper(cls, **values: Any) -> Self:
        """The literal paper, see `StyleConfig.paper`.

        Args:
            **values: fields with other values.
        """
        return cls(**{**cls.PAPER, **values})
