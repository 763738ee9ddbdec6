"""Recipes: networks as small JSON files with the parameters and fingerprints of their weights.

A recipe determines every weight of a ranVGG.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from rwgen.checks import (
    check_choice,
    check_count,
    check_number,
    is_count,
    is_number,
    plain,
    unexpected,
)
from rwgen.errors import RecipeError
from rwgen.network.architecture import (
    ARCHITECTURES,
    KERNEL_SIZE,
    MAX_BLOCKS,
    MAX_CHANNELS,
    MAX_CONVOLUTIONS,
    MAX_KERNEL_SIZE,
    MAX_WIDTH,
    Architecture,
)
from rwgen.seeds import MAX_SEED

SCHEMA_VERSION = 1
"""Version of the JSON format. Other versions are refused."""

PoolingKind = Literal["avg", "max", "binomial"]
PaddingKind = Literal["zeros", "symmetric"]
KernelScaling = Literal["none", "fan_in"]
BiasDistribution = Literal["normal", "half_normal"]

DEFAULT_NETWORK = "ranvgg19"
"""Default recipe: weights and biases drawn as in the paper (docs/math.md)."""

HALF_NORMAL_NETWORK = "ranvgg19-half-normal"
"""Recipe with positive biases, for inversion; `rwgen build` starts from it (docs/math.md)."""

STACKED_NETWORK = "ranvgg19-stacked"
"""Default recipe for inversion: layers selected from candidates of `HALF_NORMAL_NETWORK`."""

ZERO_BIAS_NETWORK = "ranvgg19-zero-bias"
"""Recipe without biases, for textures and style transfer at full width (docs/math.md)."""

HALF_WIDTH_NETWORK = "ranvgg19-half-width"
"""Recipe for textures and styles: half the channels, symmetric padding, and biases in proportion to
activations (docs/math.md)."""

PYRAMID_NETWORK = "ranpyramid"
"""Default recipe for textures and styles: one layer of large filters at each of several sizes of
the image (docs/math.md)."""

IMAGENET = "imagenet"
"""Name of the weights that Keras publishes, trained on ImageNet."""

MAX_STDDEV = 1e6
"""Largest standard deviation of weights."""

_OMITTED = {
    "kernel_size": KERNEL_SIZE,
    "pyramid": False,
    "padding": "zeros",
    "kernel_scaling": "none",
}
"""Defaults that JSON omits, so that recipes without these fields keep their text."""


_Check = Callable[[str, Any], None]  # takes the name and the value of a field


def _check(expected: str, accepts: Callable[[Any], object]) -> _Check:
    def check(key: str, value: Any) -> None:
        if not accepts(value):
            raise unexpected(key, expected, value, RecipeError)

    return check


def _optional(check: _Check) -> _Check:
    def check_unless_none(key: str, value: Any) -> None:
        if value is not None:
            check(key, value)

    return check_unless_none


def _one_of(choices: Collection[str]) -> _Check:
    return partial(check_choice, choices=choices, error=RecipeError)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_block(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and is_count(value[0], 1, MAX_CHANNELS)
        and is_count(value[1], 1, MAX_CONVOLUTIONS)
    )


def _are_blocks(value: object) -> bool:
    return isinstance(value, tuple) and 1 <= len(value) <= MAX_BLOCKS and all(map(_is_block, value))


_COUNT = partial(check_count, error=RecipeError)
_SHA256 = _check("64 hexadecimal digits", _is_sha256)
_STDDEV = partial(check_number, most=MAX_STDDEV, error=RecipeError)

_SELECTION_CHECKS: dict[str, _Check] = {
    "reference_sha256": _SHA256,
    "reference_size": _check(
        "height and width", lambda x: isinstance(x, tuple) and len(x) == 2 and all(map(is_count, x))
    ),
    "iterations": _COUNT,
    "noise_seed": _COUNT,
}
_RECIPE_CHECKS: dict[str, _Check] = {
    "name": _check(
        "a non-empty printable string", lambda x: isinstance(x, str) and x and x.isprintable()
    ),
    "architecture": _one_of(ARCHITECTURES),
    "width": _optional(partial(check_number, most=MAX_WIDTH, exclusive=True, error=RecipeError)),
    "blocks": _optional(
        _check(
            f"a tuple of 1 to {MAX_BLOCKS} pairs of channels (1 to {MAX_CHANNELS}) and a number of "
            f"convolutions (1 to {MAX_CONVOLUTIONS})",
            _are_blocks,
        )
    ),
    "kernel_size": _check(
        f"an odd number from 1 to {MAX_KERNEL_SIZE}",
        lambda x: is_count(x, 1, MAX_KERNEL_SIZE) and x % 2,
    ),
    "pyramid": _check("true or false", lambda x: isinstance(x, bool)),
    "pooling": _one_of(get_args(PoolingKind)),
    "padding": _one_of(get_args(PaddingKind)),
    "kernel_stddev": _STDDEV,
    "kernel_scaling": _one_of(get_args(KernelScaling)),
    "bias_stddev": _STDDEV,
    "bias_distribution": _one_of(get_args(BiasDistribution)),
    "seed": partial(_COUNT, most=MAX_SEED),
    "weights": _optional(_check("a non-empty string", lambda x: isinstance(x, str) and x)),
    "weights_file_sha256": _optional(_SHA256),
}
_SCORES = _check(
    "finite numbers",
    lambda x: isinstance(x, tuple) and all(is_number(score, -math.inf) for score in x),
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Record of how the candidates of a stacked network were chosen (`rwgen.select_weights`).

    Attributes:
        reference_sha256: Fingerprint of the reference image, cropped and resized as inverted.
        reference_size: Height and width of the reference image in pixels.
        iterations: Maximum number of L-BFGS iterations of each inversion.
        noise_seed: Seed of the noise that each inversion started from.
        losses: For each selected layer, the loss of each candidate: the final loss of the
            inversion divided by its initial loss.
        psnrs: For each selected layer, the peak signal-to-noise ratio of the inverted reference
            for each candidate, in decibels.

    Raises:
        RecipeError: A field is invalid. Layer names are checked by `Recipe`, which knows them.
    """

    reference_sha256: str
    reference_size: tuple[int, int]
    iterations: int
    noise_seed: int
    losses: Mapping[str, tuple[float, ...]]
    psnrs: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        """Validate the fields."""
        for key, check in _SELECTION_CHECKS.items():
            check(f"selection.{key}", getattr(self, key))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible values."""
        return {key: _convert(value, tuple, list) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Any) -> Selection:
        """Create a selection from the result of `to_dict`.

        Raises:
            RecipeError: A field is missing, unknown or invalid.
        """
        names = [item.name for item in dataclasses.fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            expected = f"an object with the keys {', '.join(names)}"
            raise unexpected("selection", expected, values, RecipeError)
        return cls(**{key: _convert(value, list, tuple) for key, value in values.items()})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Parameters that determine the weights of a network.

    Attributes:
        name: Name of the network in messages and metadata.
        architecture: Key of `rwgen.network.architecture.ARCHITECTURES`.
        width: Factor of the number of channels of every block and of features of the hidden dense
            layers, above 0 and at most `rwgen.network.architecture.MAX_WIDTH`; None means 1
            (`Architecture.scaled`).
        blocks: (channels, number of convolutions) of each block, in place of the blocks of the
            architecture; None keeps those. Not together with `width`.
        kernel_size: Height and width of every convolution kernel, an odd number of at most
            `rwgen.network.architecture.MAX_KERNEL_SIZE` (VGG-19: 3).
        pyramid: Whether pooling layers halve the image instead of the features of their block, so
            that every block reads the image itself, at half the size of the block before
            (docs/math.md). There are no dense layers then.
        pooling: Kind of every pooling layer: `avg` (2x2, as in the paper), `max` (2x2), or
            `binomial` (4x4 weights, from which less aliasing results; see
            `rwgen.network.pooling`).
        padding: Padding of every convolution: `zeros` (as in the paper; Keras' `same`) or
            `symmetric`, which mirrors the outermost pixels of the layer's input, so that features
            do not reveal where the border is (docs/math.md).
        kernel_stddev: Standard deviation of convolution and dense kernels, from 0 to `MAX_STDDEV`
            (paper: 0.015).
        kernel_scaling: `none`, one standard deviation for all layers (as in the paper), or
            `fan_in`, which multiplies `kernel_stddev` by sqrt(2 / fan_in) in each layer (He et
            al., arXiv:1502.01852, equation 10). fan_in is the number of inputs of one output:
            height * width * channels in of a convolution kernel, or inputs of a dense layer. With
            a `kernel_stddev` of 1, activations then keep their size with depth.
        bias_stddev: Standard deviation of the biases, for pixels in 0..1, from 0 to `MAX_STDDEV`
            (docs/math.md).
        bias_distribution: `normal` (as in the paper) or `half_normal`, the absolute values of
            normal draws. Positive biases leave few units inactive, so that deep layers retain
            more of the image (docs/math.md).
        seed: From 0 to `rwgen.seeds.MAX_SEED`.
        candidates: Number of the draw used for each layer. Layers not listed use draw 0.
        weights_sha256: Expected fingerprint of the weights of each layer. Layers not listed are
            not verified.
        selection: How the candidates were chosen, or None if they were not selected.
        weights: None for random weights; otherwise `imagenet` or the path of a file with trained
            weights (`rwgen.network.trained`). Trained weights do not use the standard deviations,
            the seed or the candidates, have the width and blocks of the architecture, and take
            no `kernel_size`, `pyramid`, `padding` or `kernel_scaling` but the defaults.
        weights_file_sha256: Expected SHA-256 of that file, or None to accept any.

    Raises:
        RecipeError: A field is invalid.
    """

    name: str = "unnamed"
    architecture: str = "vgg19"
    width: float | None = None
    blocks: tuple[tuple[int, int], ...] | None = None
    kernel_size: int = KERNEL_SIZE
    pyramid: bool = False
    pooling: PoolingKind = "avg"
    padding: PaddingKind = "zeros"
    kernel_stddev: float = 0.015
    kernel_scaling: KernelScaling = "none"
    bias_stddev: float = 0.015
    bias_distribution: BiasDistribution = "normal"
    seed: int = 0
    candidates: Mapping[str, int] = field(default_factory=dict)
    weights_sha256: Mapping[str, str] = field(default_factory=dict)
    selection: Selection | None = None
    weights: str | None = None
    weights_file_sha256: str | None = None

    def __post_init__(self) -> None:
        """Validate the fields."""
        for key in ("width", "kernel_size", "kernel_stddev", "bias_stddev", "seed"):
            object.__setattr__(self, key, plain(getattr(self, key)))
        for key, check in _RECIPE_CHECKS.items():
            check(key, getattr(self, key))
        for key in ("width", "blocks", *_OMITTED):
            value = getattr(self, key)
            if value != _OMITTED.get(key) and self.weights is not None:
                raise unexpected(key, "no value with trained weights", value, RecipeError)
        if self.width is not None and self.blocks is not None:
            raise unexpected("width", "no value with blocks", self.width, RecipeError)
        self._check_layers("candidates", self.candidates, _COUNT)
        self._check_layers("weights_sha256", self.weights_sha256, _SHA256)
        if self.selection is not None:
            self._check_layers("selection.losses", self.selection.losses, _SCORES)
            self._check_layers("selection.psnrs", self.selection.psnrs, _SCORES)

    def _check_layers(self, key: str, values: Any, check: _Check) -> None:
        if not isinstance(values, Mapping):
            raise unexpected(key, "an object with layer names as keys", values, RecipeError)
        names = [spec.name for spec in self.topology.layers() if spec.kind != "pool"]
        for layer, value in values.items():
            check_choice(key, layer, names, RecipeError)
            check(f"{key}.{layer}", value)

    @property
    def topology(self) -> Architecture:
        """The `Architecture` that the recipe names, with its width or blocks and kernels."""
        topology = ARCHITECTURES[self.architecture]
        if self.blocks is not None:
            topology = topology.with_blocks(self.blocks)
        elif self.width is not None:
            topology = topology.scaled(self.width)
        if self.kernel_size != topology.kernel_size:
            topology = topology.with_kernel_size(self.kernel_size)
        return topology.as_pyramid() if self.pyramid else topology

    def layer_stddev(self, layer: str, topology: Architecture | None = None) -> float:
        """Return the standard deviation of a layer's kernel: `kernel_stddev`, scaled.

        Args:
            layer: Name of a layer with weights.
            topology: Architecture that replaces that of the recipe.
        """
        if self.kernel_scaling == "none":
            return self.kernel_stddev
        return self.kernel_stddev * math.sqrt(2 / (topology or self.topology).fan_in(layer))

    def with_width(self, width: float) -> Recipe:
        """Return the recipe with another width.

        Candidates, their selection and fingerprints belong to weights of certain shapes. They are
        dropped if the width changes any.

        Raises:
            RecipeError: `width` is invalid, or the recipe has blocks or trained weights.
        """
        resized = dataclasses.replace(self, width=width)
        if resized.topology.layers() == self.topology.layers():
            return resized
        return dataclasses.replace(resized, candidates={}, weights_sha256={}, selection=None)

    def with_seed(self, seed: int) -> Recipe:
        """Return the recipe with weights drawn from another seed.

        Candidates, their selection and fingerprints belong to the old weights and are dropped.

        Raises:
            RecipeError: `seed` is invalid, or the weights are trained.
        """
        if self.weights is not None:
            raise RecipeError(
                "seed: expected a network whose weights are drawn. "
                f"Received: {self.name}, whose weights are trained"
            )
        if seed == self.seed:
            return self
        return dataclasses.replace(
            self, seed=seed, candidates={}, weights_sha256={}, selection=None
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-compatible values, `schema_version` first.

        Fields that are None are omitted, as are the defaults of `kernel_size`, `pyramid`,
        `padding` and `kernel_scaling`.
        """
        selection = self.selection and self.selection.to_dict()
        values = {"schema_version": SCHEMA_VERSION, **vars(self), "selection": selection}
        given = {key: value for key, value in values.items() if value != _OMITTED.get(key)}
        return {key: _convert(value, tuple, list) for key, value in given.items()}

    def to_json(self) -> str:
        """Return the recipe as indented JSON with a final newline."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any) -> Recipe:
        """Create a recipe from the result of `to_dict`.

        Raises:
            RecipeError: `values` is not a dictionary, has another schema version, or has an
                unknown or invalid field.
        """
        if not isinstance(values, dict):
            raise unexpected("recipe", "a JSON object", values, RecipeError)
        fields = dict(values)
        version = fields.pop("schema_version", None)
        if not is_number(version, SCHEMA_VERSION, SCHEMA_VERSION):
            raise unexpected("schema_version", f"{SCHEMA_VERSION}", version, RecipeError)
        known = [item.name for item in dataclasses.fields(cls)]
        unknown = [key for key in fields if key not in known]
        if unknown:
            raise unexpected("recipe", f"the fields {', '.join(known)}", unknown, RecipeError)
        if "selection" in fields:
            fields["selection"] = Selection.from_dict(fields["selection"])
        if "blocks" in fields:
            fields["blocks"] = _convert(fields["blocks"], list, tuple)
        return cls(**fields)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Create a recipe from JSON text.

        Raises:
            RecipeError: The text is not JSON, repeats a field, or is not a recipe.
        """
        try:
            values = json.loads(text, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
            raise RecipeError(f"expected a recipe as JSON. Received: {error}") from None
        return cls.from_dict(values)


def _convert(value: Any, old: type[Any], new: type[Any]) -> Any:
    """Convert between tuple and JSON's list: a sequence, and those directly in it or a mapping."""

    def convert(row: Any) -> Any:
        return new(row) if isinstance(row, old) else row

    if isinstance(value, Mapping):
        return {key: convert(row) for key, row in value.items()}
    return new(map(convert, value)) if isinstance(value, old) else value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a duplicate key")
    return values
