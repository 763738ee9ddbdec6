"""The units that figures are made of: inversions, textures, style transfers and stacked networks.

A part is plain data. Its key is a hash of everything that determines its result, so a part is made
once, whichever figures show it, and a changed setting remakes only the parts that it affects.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rwgen.network.architecture import VGG19, Architecture
from rwgen.network.recipe import Recipe
from rwgen.optimize.config import OptimizerConfig
from rwgen.reproduction.pictures import Picture
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig
from rwgen.synthesis.margins import searched_size
from rwgen.synthesis.pyramid import image_sizes
from rwgen.version import __version__

_Config = InversionConfig | TextureConfig | StyleConfig

FORMAT_VERSION = 1
"""Increased when a part with the same settings produces different files or numbers."""


@dataclass(frozen=True)
class Search:
    """The work of one optimization, from which its time is estimated.

    Attributes:
        layer: deepest layer that is evaluated.
        sizes: (side of the image in pixels, iterations), from coarse to fine.
        topology: topology of the network.
    """

    layer: str
    sizes: tuple[tuple[int, int], ...]
    topology: Architecture = VGG19


@dataclass(frozen=True, kw_only=True)
class _Optimized(abc.ABC):
    """What all parts share.

    Attributes:
        iterations: maximum number of L-BFGS iterations.
        seed: seed of the white noise that the search starts from.
    """

    kind: ClassVar[str]
    iterations: int
    seed: int = 0

    @property
    @abc.abstractmethod
    def config(self) -> _Config:
        """Settings of the task."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Input images."""
        return tuple(x for x in vars(self).values() if isinstance(x, Picture))

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the result: the settings, and fields that are not in them."""
        config = dataclasses.asdict(self.config)
        del config["network"]  # its name does not matter, as the recipe is a field
        own = vars(self).keys() - config.keys() - {"iterations"}
        return {**{name: _identity(getattr(self, name)) for name in own}, "config": config}

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "optimizer": OptimizerConfig(max_iterations=self.iterations),
        }


@dataclass(frozen=True, kw_only=True)
class Stack(_Optimized):
    """A stacked network: the best of several draws of each layer (`rwgen.select_weights`).

    `iterations` are those of the inversion that scores one draw.

    Attributes:
        reference: picture that the draws are scored on.
        base: recipe whose layers are drawn.
        layers: convolutions to select, in forward order.
        candidates: number of draws of each layer.
    """

    kind: ClassVar[str] = "stack"
    reference: Picture
    base: Recipe
    layers: tuple[str, ...]
    candidates: int

    @property
    def config(self) -> InversionConfig:
        """Settings of the inversion that scores a draw."""
        return InversionConfig(**self._settings)

    @property
    def searches(self) -> tuple[Search, ...]:
        """One search for each draw, all at full size."""
        sizes = ((self.reference.side, self.iterations),)
        return tuple(
            Search(layer, sizes, self.base.topology)
            for layer in self.layers
            for _ in range(self.candidates)
        )


@dataclass(frozen=True, kw_only=True)
class Inversion(_Optimized):
    """A picture reconstructed from its features at a layer (`rwgen.invert`).

    Attributes:
        picture: image whose features are inverted.
        network: recipe, or the stack that yields one.
        layer: name of the layer.
        snapshots: iterations after which the image is kept.
    """

    kind: ClassVar[str] = "invert"
    picture: Picture
    network: Recipe | Stack
    layer: str
    snapshots: tuple[int, ...] = ()

    @property
    def config(self) -> InversionConfig:
        """Settings of the inversion."""
        return InversionConfig(**self._settings)

    @property
    def searches(self) -> tuple[Search, ...]:
        """The one search of this part."""
        recipe = self.network.base if isinstance(self.network, Stack) else self.network
        octaves = 0 if recipe.topology.layer(self.layer).kind == "dense" else None
        return (
            _search(recipe.topology, [self.layer], self.picture.side, self.iterations, octaves),
        )


@dataclass(frozen=True, kw_only=True)
class Texture(_Optimized):
    """A texture with the Gram matrices of a source (`rwgen.synthesize_texture`).

    Attributes:
        source: image whose Gram matrices are matched.
        network: recipe.
        layers: layers whose Gram matrices are matched.
    """

    kind: ClassVar[str] = "texture"
    source: Picture
    network: Recipe
    layers: tuple[str, ...]

    @property
    def config(self) -> TextureConfig:
        """Settings of the synthesis."""
        return TextureConfig(layers=self.layers, **self._settings)

    @property
    def searches(self) -> tuple[Search, ...]:
        """The one search of this part."""
        side, _ = searched_size([self.source.side] * 2, self.config.margin)
        return (_search(self.network.topology, self.layers, side, self.iterations),)


@dataclass(frozen=True, kw_only=True)
class Style(_Optimized):
    """A photo in the style of a painting (`rwgen.transfer_style`).

    Attributes:
        content: photo.
        painting: style image.
        network: recipe.
    """

    kind: ClassVar[str] = "style"
    content: Picture
    painting: Picture
    network: Recipe

    @property
    def config(self) -> StyleConfig:
        """Settings of the transfer: the paper's layers and ratio."""
        layers = {name: StyleConfig.PAPER[name] for name in ("content_layers", "style_layers")}
        return StyleConfig(**layers, **self._settings)

    @property
    def searches(self) -> tuple[Search, ...]:
        """The one search of this part."""
        config = self.config
        layers = [*config.content_layers, *config.style_layers]
        side, _ = searched_size([self.content.side] * 2, config.margin)
        return (_search(self.network.topology, layers, side, self.iterations),)


ImagePart = Inversion | Texture | Style
Part = ImagePart | Stack


def part_key(part: Part) -> str:
    """Name of the part's folder: its kind and a hash of everything that determines its result."""
    facts = {"format": FORMAT_VERSION, "rwgen": __version__, **part.identity}
    text = json.dumps(facts, sort_keys=True)
    return f"{part.kind}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def stacks_of(parts: Iterable[ImagePart]) -> list[Stack]:
    """Return the stacks that parts are inverted from, each once."""
    stacks = [part.network for part in parts if isinstance(part.network, Stack)]
    return list({part_key(stack): stack for stack in stacks}.values())


def _search(
    topology: Architecture,
    layers: Sequence[str],
    side: int,
    iterations: int,
    octaves: int | None = None,
) -> Search:
    sides = [height for height, _ in image_sizes((side, side), octaves, side)]
    shares, left = [], iterations
    for number, current in enumerate(sides):
        share = left // (len(sides) - number)
        shares.append((current, share))
        left -= share
    return Search(topology.deepest(layers).name, tuple(shares), topology)


def _identity(value: Any) -> Any:
    """Return what a field contributes to the identity: contents, without names and paths."""
    if isinstance(value, Picture):
        return value.sha256
    if isinstance(value, Stack):
        return part_key(value)
    if isinstance(value, Recipe):
        values = value.to_dict()
        del values["name"]
        if "weights_file_sha256" in values:
            del values["weights"]
        return values
    return value
