"""A network as a small JSON file: what was drawn from where, and the fingerprints to check it.

A recipe decides every weight of a ranVGG. Named recipes are shipped with the package (the folder
`savedmodels/` of the repository).
"""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from rwgen.architecture import ARCHITECTURES, Architecture
from rwgen.errors import LayerError, RecipeError
from rwgen.seeds import MAX_SEED

SCHEMA_VERSION = 1
"""Version of the JSON written here; other versions are refused."""

PoolingKind = Literal["avg", "max"]

DEFAULT_NETWORK = "ranvgg19"
"""The recipe used where none is named, with biases: made for inversion (docs/math.md)."""

ZERO_BIAS_NETWORK = "ranvgg19-zero-bias"
"""The recipe used for textures and styles, without biases (docs/math.md)."""

MAX_STDDEV = 1e6
"""Largest standard deviation of weights."""

_MAX_FILE_BYTES = 1 << 20  # a recipe is about 2 KiB; a larger file is something else


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights of a network.

    Attributes:
        name: what the network is called in messages and metadata.
        architecture: a key of `rwgen.architecture.ARCHITECTURES`.
        pooling: `avg` (the paper) or `max`, the kind of every pooling layer.
        kernel_stddev: standard deviation of convolution and dense kernels (paper: 0.015).
        bias_stddev: standard deviation of the biases, for pixels in 0..1 (docs/math.md).
        seed: from 0 to `rwgen.seeds.MAX_SEED`.
        candidates: for layers whose candidate is not 0, which draw was chosen.
        weights_sha256: for each layer, the fingerprint that its weights must have; layers that
            are not named are not checked.
    """

    name: str = "unnamed"
    architecture: str = "vgg19"
    pooling: PoolingKind = "avg"
    kernel_stddev: float = 0.015
    bias_stddev: float = 0.015
    seed: int = 0
    candidates: Mapping[str, int] = field(default_factory=dict)
    weights_sha256: Mapping[str, str] = field(default_factory=dict)

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
        return cls(**{key: value for key, value in values.items() if key in known})

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


def load_recipe(network: str) -> Recipe:
    """The recipe of a shipped network, or the one in a file.

    Args:
        network: one of `network_names()`, or a path; a path ends in `.json` or holds a
            separator.

    Returns:
        The recipe.

    Raises:
        RecipeError: there is no such network or file, or it is not a recipe.
    """
    if network in network_names():
        folder = resources.files("rwgen.savedmodels")
        return Recipe.from_json((folder / f"{network}.json").read_text(encoding="utf-8"))
    path = Path(network)
    if path.suffix != ".json" and path.name == network:
        raise RecipeError(
            f"expected a network ({', '.join(network_names())}) or the path of a recipe "
            f"(.json). Received: {network!r}"
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"expected a recipe that can be read. Received: {network!r} ({reason})"
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise RecipeError(f"expected a recipe of at most 1 MiB. Received: {network!r}")
    try:
        return Recipe.from_json(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecipeError(f"expected a recipe in UTF-8. Received: {network!r}") from None
    except RecipeError as error:
        raise RecipeError(f"{network!r}: {error}") from None


def network_names() -> tuple[str, ...]:
    """Names of the shipped networks, sorted."""
    folder = resources.files("rwgen.savedmodels")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def _unexpected(key: str, expected: str, received: object) -> RecipeError:
    # reprlib, because a value may be nested deeper than repr() can follow.
    return RecipeError(
        f"recipe field {key}: expected {expected}. Received: {reprlib.repr(received)}"
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise RecipeError("expected every recipe field once. Received: a field twice")
    return values
