"""A network as a small JSON file: what was drawn from where, and the fingerprints to check it.

A recipe decides every weight of a ranVGG.
"""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rwgen.errors import LayerError, RecipeError
from rwgen.network.architecture import ARCHITECTURES, Architecture
from rwgen.seeds import MAX_SEED

SCHEMA_VERSION = 1
"""Version of the JSON written here; other versions are refused."""

PoolingKind = Literal["avg", "max"]
BiasDistribution = Literal["normal", "half_normal"]

DEFAULT_NETWORK = "ranvgg19"
"""The recipe used where none is named: the paper's draws, biases among them (docs/math.md)."""

HALF_NORMAL_NETWORK = "ranvgg19-half-normal"
"""The recipe that stacks are selected from: positive biases, for inversion (docs/math.md)."""

STACKED_NETWORK = "ranvgg19-stacked"
"""The recipe used for inversion: selected from `HALF_NORMAL_NETWORK`."""

ZERO_BIAS_NETWORK = "ranvgg19-zero-bias"
"""The recipe used for textures and styles, without biases (docs/math.md)."""

IMAGENET = "imagenet"
"""The weights that Keras publishes, trained on ImageNet."""

MAX_STDDEV = 1e6
"""Largest standard deviation of weights."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the candidates of a stacked network were chosen (`rwgen.select_weights`).

    Attributes:
        reference_sha256: of the reference image as it was inverted.
        reference_size: its (height, width).
        iterations: L-BFGS iterations of each inversion at the most.
        noise_seed: decides the noise that each inversion began with.
        losses: for each selected layer, of each candidate, the loss at the end divided by the loss
            at the start.
        psnrs: for each selected layer, of each candidate, decibels of the inverted reference.
    """

    reference_sha256: str
    reference_size: tuple[int, int]
    iterations: int
    noise_seed: int
    losses: Mapping[str, tuple[float, ...]]
    psnrs: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        """Check every field but the layers' names, which a recipe knows.

        Raises:
            RecipeError: a field is not what it must be.
        """
        if not _is_sha256(self.reference_sha256):
            raise _unexpected(
                "selection.reference_sha256", "64 hexadecimal digits", self.reference_sha256
            )
        size = self.reference_size
        if not (isinstance(size, tuple) and len(size) == 2 and all(map(_is_count, size))):
            raise _unexpected("selection.reference_size", "height and width", size)
        for key in ("iterations", "noise_seed"):
            if not _is_count(getattr(self, key)):
                raise _unexpected(f"selection.{key}", "an integer from 0", getattr(self, key))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-compatible values."""
        values = dataclasses.asdict(self)
        values["reference_size"] = list(self.reference_size)
        for key in ("losses", "psnrs"):
            values[key] = {layer: list(row) for layer, row in values[key].items()}
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Selection:
        """What `to_dict` described.

        Raises:
            RecipeError: not an object with just these fields, or a wrong one.
        """
        names = {item.name for item in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise _unexpected("selection", f"an object with {', '.join(sorted(names))}", values)
        fields = dict(values)
        if isinstance(fields["reference_size"], list):
            fields["reference_size"] = tuple(fields["reference_size"])
        for key in ("losses", "psnrs"):
            rows = fields[key]
            if isinstance(rows, dict):
                fields[key] = {
                    layer: tuple(row) if isinstance(row, list) else row
                    for layer, row in rows.items()
                }
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights of a network.

    Attributes:
        name: what the network is called in messages and metadata.
        architecture: a key of `rwgen.network.architecture.ARCHITECTURES`.
        pooling: `avg` (the paper) or `max`, the kind of every pooling layer.
        kernel_stddev: standard deviation of convolution and dense kernels (paper: 0.015).
        bias_stddev: standard deviation of the biases, for pixels in 0..1 (docs/math.md).
        bias_distribution: `normal` (the paper), or `half_normal`, the absolute values of draws
            with that deviation: few units are then off, and deep layers keep more (docs/math.md).
        seed: from 0 to `rwgen.seeds.MAX_SEED`.
        candidates: for layers whose candidate is not 0, which draw was chosen.
        weights_sha256: for each layer, the fingerprint that its weights must have; layers that
            are not named are not checked.
        selection: how the candidates were chosen, None where nobody did.
        weights: None where weights are drawn; else `imagenet`, or the path of a file with weights
            (`rwgen.network.trained`). Standard deviations, seed and candidates are then unused.
        weights_file_sha256: fingerprint that this file must have, None for any.
    """

    name: str = "unnamed"
    architecture: str = "vgg19"
    pooling: PoolingKind = "avg"
    kernel_stddev: float = 0.015
    bias_stddev: float = 0.015
    bias_distribution: BiasDistribution = "normal"
    seed: int = 0
    candidates: Mapping[str, int] = field(default_factory=dict)
    weights_sha256: Mapping[str, str] = field(default_factory=dict)
    selection: Selection | None = None
    weights: str | None = None
    weights_file_sha256: str | None = None

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            RecipeError: a field is not what it must be.
        """
        if not (isinstance(self.name, str) and self.name and self.name.isprintable()):
            raise _unexpected("name", "a printable text, not empty", self.name)
        if not isinstance(self.architecture, str) or self.architecture not in ARCHITECTURES:
            raise _unexpected("architecture", f"one of {sorted(ARCHITECTURES)}", self.architecture)
        if self.pooling not in ("avg", "max"):
            raise _unexpected("pooling", "'avg' or 'max'", self.pooling)
        if self.bias_distribution not in ("normal", "half_normal"):
            raise _unexpected(
                "bias_distribution", "'normal' or 'half_normal'", self.bias_distribution
            )
        for key in ("kernel_stddev", "bias_stddev"):
            value = getattr(self, key)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            # The comparison also turns away NaN and integers beyond any float.
            if not (number and 0 <= value <= MAX_STDDEV):
                raise _unexpected(key, f"a number from 0 to {MAX_STDDEV:g}", value)
        if not _is_count(self.seed) or self.seed > MAX_SEED:
            raise _unexpected("seed", f"an integer from 0 to {MAX_SEED}", self.seed)
        self._check_layers("candidates", self.candidates, "an integer from 0", _is_count)
        self._check_layers(
            "weights_sha256", self.weights_sha256, "64 hexadecimal digits", _is_sha256
        )
        if self.weights is not None and not (isinstance(self.weights, str) and self.weights):
            raise _unexpected("weights", "a text, not empty", self.weights)
        if self.weights_file_sha256 is not None and not _is_sha256(self.weights_file_sha256):
            raise _unexpected(
                "weights_file_sha256", "64 hexadecimal digits", self.weights_file_sha256
            )
        if self.selection is not None:
            for key in ("losses", "psnrs"):
                scores = getattr(self.selection, key)
                self._check_layers(f"selection.{key}", scores, "numbers", _are_numbers)

    def _check_layers(self, key: str, values: Any, expected: str, accepts: Any) -> None:
        if not isinstance(values, Mapping):
            raise _unexpected(key, "an object with layer names as keys", values)
        for layer, value in values.items():
            try:
                spec = self.topology.layer(layer)
            except LayerError as error:
                raise RecipeError(f"recipe field {key}: {error}") from None
            if spec.kind == "pool" or spec.name != layer:
                raise _unexpected(key, "names of convolution or dense layers", layer)
            if not accepts(value):
                raise _unexpected(f"{key}.{layer}", expected, value)

    @property
    def topology(self) -> Architecture:
        """The architecture that the recipe names."""
        return ARCHITECTURES[self.architecture]

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-compatible values, `schema_version` first."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        if self.selection is not None:
            values["selection"] = self.selection.to_dict()
        for key in ("selection", "weights", "weights_file_sha256"):
            if values[key] is None:
                del values[key]
        return {
            "schema_version": SCHEMA_VERSION,
            **{k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()},
        }

    def to_json(self) -> str:
        """The recipe as indented JSON text with a final newline."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any) -> Recipe:
        """The recipe that `to_dict` described.

        Raises:
            RecipeError: not an object, another schema version, or an unknown or wrong field.
        """
        if not isinstance(values, dict):
            raise RecipeError(
                f"expected a recipe as a JSON object. Received: {reprlib.repr(values)}"
            )
        version = values.get("schema_version")
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise _unexpected("schema_version", f"{SCHEMA_VERSION}", version)
        known = {item.name for item in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known - {"schema_version"})
        if unknown:
            raise RecipeError(
                f"expected no recipe fields but {', '.join(sorted(known))}. "
                f"Received: {', '.join(map(repr, unknown))}"
            )
        fields = {key: value for key, value in values.items() if key in known}
        if "selection" in fields:
            fields["selection"] = Selection.from_dict(fields["selection"])
        return cls(**fields)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe in a JSON text.

        Raises:
            RecipeError: not JSON, a field twice, or not a recipe.
        """
        try:
            values = json.loads(text, object_pairs_hook=_unique_keys)
        except RecipeError:
            raise
        except (ValueError, RecursionError) as error:  # not JSON, or numbers of absurd length
            raise RecipeError(f"expected a recipe as JSON. Received: {error}") from None
        return cls.from_dict(values)


def _unexpected(key: str, expected: str, received: object) -> RecipeError:
    # reprlib, because a value may be nested deeper than repr() can follow.
    return RecipeError(
        f"recipe field {key}: expected {expected}. Received: {reprlib.repr(received)}"
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_numbers(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in value
    )


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise RecipeError("expected every recipe field once. Received: a field twice")
    return values
