"""Settings of the three tasks; the command line takes its defaults from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
content image, in the colors of the styles where `Colors` maps it to them."""

Colors = Literal["style", "mixed", "palette", "content", "content-after"]
"""Whose colors the result of a style transfer has (docs/math.md, "Colors"). `style`: those of the
styles, to which the content is mapped first. `mixed`: what the search makes of both, as in the
paper. `palette`: those of the content, to which the styles are mapped first, wherever strokes put
them. `content`: those of the content pixel by pixel; the search is for luminance only.
`content-after`: the same, but the search is as for `style`, and colors are exchanged after it."""

CONTENT_UNIT = 1 / 300
"""Factor of eq. 1 for one unit of content weight; see docs/math.md, "The ratio"."""

DEFAULT_SIZE = 512
"""Longest side, in pixels, that images are resized to by default: minutes on two cores."""

STYLE_ITERATIONS = 60
"""Default number of iterations of a style transfer, over all sizes: fewer than other searches need,
as it starts from the content."""

INPAINT_ITERATIONS = 8
"""Default number of iterations that fill a hole: they close the seams of a piece that fits; more of
them add noise."""

INPAINT_PARAMETERIZATION: ParameterizationName = "fourier"
"""What they move by default: with pixels, seams stay sharper and colors noisier."""

MORPH_STEPS = 12
"""Default number of frames of a morph, both ends included."""

MORPH_ITERATIONS = 40
"""Default number of iterations of each of its frames: fewer than an inversion needs, as they start
near."""

MORPH_PARAMETERIZATION: ParameterizationName = "fourier-box"
"""What a morph moves by default, at every layer: with pixels, frames are full of dots."""

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
_PAPER_GRAM: Mapping[str, Any] = MappingProxyType(
    {"shift_features": False, "whiten_gram": False, "margin": 0}
)


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
        style_scale: longest side of each style image in units of the result's, or one number for
            all: more magnifies their strokes. They are reduced, but never enlarged. Empty means as
            they are.
        colors: whose colors the result has, see `Colors`; `mixed` is the paper.
        init: what the search starts from, see `StyleStart`.
        weighting: how eq. 4 and 8 average, see `Weighting`.
        shift_features: subtract the target's mean features before computing Gram matrices;
            False is the paper (docs/math.md).
        whiten_gram: compare Gram matrices in a metric in which the target's features vary almost
            equally in all directions; False is the paper (docs/math.md).
        octaves: number of times the image is halved for the first, smallest size; 0 is the
            paper, None chooses by size and start (docs/math.md).
        margin: pixels by which the search goes beyond each border of the result, at most an eighth
            of its shorter side, and which are cut off (docs/math.md); 0 is the paper. Networks
            of a fixed input size have none.
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
            "colors": "mixed",
            "init": "noise",
        }
    )
    """The paper's values of the fields for which the paper has one."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "fine": MappingProxyType({"content_weight": 120.0}),
            "bold": MappingProxyType({"content_weight": 25.0, "octaves": 2}),
            "paper": PAPER,
        }
    )
    """Fields that together give a look: fine strokes and much of the scene, or bold ones and less
    of it; or the paper's."""

    network: str = PYRAMID_NETWORK
    content_layers: tuple[str, ...] = ("conv1_1", "conv2_1")
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    content_weight: float = 35.0
    style_weight: float = 1.0
    tv_weight: float = 1000.0
    style_blend: tuple[float, ...] = ()
    style_scale: tuple[float, ...] = ()
    colors: Colors = "style"
    init: StyleStart = "content"
    weighting: Weighting = "magnitude"
    shift_features: bool = True
    whiten_gram: bool = True
    octaves: int | None = None
    margin: int = 16
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
        _check_blend("style_blend", self.style_blend)
        for value in self.style_scale:
            check_number("style_scale", value, exclusive=True)
        check_layers("content_layers", self.content_layers)
        check_layers("style_layers", self.style_layers)
        check_count("octaves", 0 if self.octaves is None else self.octaves)
        check_count("margin", self.margin)
        check_choice("colors", self.colors, get_args(Colors))
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
        return _shares("style_blend", self.style_blend, num_styles, "style images")

    def scales(self, num_styles: int) -> tuple[float | None, ...]:
        """Scale of each of `num_styles` style images, or None for the image as it is.

        Raises:
            InvalidInputError: there are several `style_scale` numbers, but not `num_styles`.
        """
        if len(self.style_scale) <= 1:
            return (self.style_scale or (None,)) * num_styles
        _check_one_each("style_scale", self.style_scale, num_styles, "style images")
        return self.style_scale


@dataclass(frozen=True, kw_only=True)
class TextureConfig:
    """Settings of texture synthesis (paper, eq. 5).

    Attributes:
        network: name of a shipped network, or path of a recipe.
        layers: layers whose Gram matrices are those of the sources.
        source_blend: weight of each source, normalized to a sum of one; empty means equal weights.
            The target is a mixture of all (docs/math.md).
        tileable: make the result match itself across opposite borders: its network, and the
            resizing between sizes, see it repeated in both directions (docs/math.md). Both sides
            must be multiples of 2^n for a network of n pools up to the deepest layer.
        weighting: how eq. 8 averages, see `Weighting`.
        shift_features: subtract the target's mean features before computing Gram matrices;
            False is the paper (docs/math.md).
        whiten_gram: compare Gram matrices in a metric in which the target's features vary almost
            equally in all directions; False is the paper (docs/math.md).
        octaves: number of times the image is halved for the first, smallest size; 0 is the
            paper, None chooses by size (docs/math.md).
        margin: pixels by which the search goes beyond each border of the result, at most an eighth
            of its shorter side, and which are cut off (docs/math.md); 0 is the paper. Networks
            of a fixed input size have none.
        parameterization: what L-BFGS moves, see `ParameterizationName`.
        seed: seed of the white noise that the search starts from.
        precision: number format of convolutions, see `rwgen.compute.device.Precision`.
        optimizer: settings of L-BFGS.
    """

    PAPER: ClassVar[Mapping[str, Any]] = MappingProxyType({**_PAPER_SEARCH, **_PAPER_GRAM})

    network: str = PYRAMID_NETWORK
    layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    source_blend: tuple[float, ...] = ()
    tileable: bool = False
    weighting: Weighting = "magnitude"
    shift_features: bool = True
    whiten_gram: bool = True
    octaves: int | None = None
    margin: int = 16
    parameterization: ParameterizationName = "pixel"
    seed: int = 0
    precision: Precision = "float32"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        normalize_fields(self, ("layers",))
        _check_blend("source_blend", self.source_blend)
        check_layers("layers", self.layers)
        check_count("octaves", 0 if self.octaves is None else self.octaves)
        check_count("margin", self.margin)
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

    def blend(self, num_sources: int) -> tuple[float, ...]:
        """Share of each of `num_sources` sources; shares sum to 1.

        Raises:
            InvalidInputError: the number of `source_blend` weights is not `num_sources`.
        """
        return _shares("source_blend", self.source_blend, num_sources, "sources")


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


def _check_blend(key: str, weights: Sequence[float]) -> None:
    for weight in weights:
        check_number(key, weight)
    if weights and sum(weights) == 0:
        raise InvalidInputError(f"{key}: expected a number above 0. Received: zeros")


def _check_one_each(key: str, values: Sequence[float], count: int, what: str) -> None:
    if len(values) != count:
        raise InvalidInputError(
            f"expected one {key} number for each of the {count} {what}. Received: {len(values)}"
        )


def _shares(key: str, weights: Sequence[float], count: int, what: str) -> tuple[float, ...]:
    """Weights of `count` images, or equal ones if there are none, divided by their sum."""
    weights = weights or (1.0,) * count
    _check_one_each(key, weights, count, what)
    largest = max(weights)  # divide first: the sum of huge weights would overflow
    parts = [weight / largest for weight in weights]
    return tuple(part / math.fsum(parts) for part in parts)
