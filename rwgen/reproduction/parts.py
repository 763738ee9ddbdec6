"""What the figures are made of: inversions, textures, styles, and stacked networks.

A part is plain data. Its key is a hash of everything that decides its result, so the same part is
made once, whichever figures show it, and a changed setting makes only what it changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rwgen.network.architecture import VGG19
from rwgen.network.recipe import Recipe
from rwgen.optimize.config import OptimizerConfig
from rwgen.reproduction.pictures import Picture
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig
from rwgen.synthesis.pyramid import image_sizes
from rwgen.version import __version__

FORMAT_VERSION = 1
"""Counts up when a part of the same settings gives other files or numbers."""


@dataclass(frozen=True)
class Search:
    """What a part optimises, for estimates of its time.

    Attributes:
        layer: the deepest layer that it evaluates.
        sizes: side of the image and iterations, from coarse to fine.
    """

    layer: str
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stacked network: the best of several draws of each layer (`rwgen.select_weights`).

    Attributes:
        reference: the picture that the chosen layers keep most of.
        base: recipe whose layers are drawn.
        layers: convolutions that are chosen, in forward order.
        candidates: draws of each.
        iterations: of the inversion that judges a draw.
        seed: decides the noise that it starts from.
    """

    kind: ClassVar[str] = "stack"
    reference: Picture
    base: Recipe
    layers: tuple[str, ...]
    candidates: int
    iterations: int
    seed: int

    @property
    def config(self) -> InversionConfig:
        """How a draw is judged."""
        optimizer = OptimizerConfig(max_iterations=self.iterations)
        return InversionConfig(seed=self.seed, optimizer=optimizer)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {
            "reference": self.reference.sha256,
            "base": _recipe_identity(self.base),
            "layers": self.layers,
            "candidates": self.candidates,
            "config": _without_network(self.config),
        }

    @property
    def searches(self) -> tuple[Search, ...]:
        """One for each draw; all at the full size."""
        sizes = ((self.reference.side, self.iterations),)
        return tuple(Search(layer, sizes) for layer in self.layers for _ in range(self.candidates))

    def command(self, network: str, output: str) -> str:
        """The same from the shell.

        Args:
            network: the file or name of the base.
            output: the recipe to write.
        """
        return _command(
            "build",
            output,
            reference=self.reference.path,
            network=network,
            size=self.reference.side,
            layers=",".join(self.layers),
            candidates=self.candidates,
            iterations=self.iterations,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """A picture reconstructed from its features at a layer (`rwgen.invert`).

    Attributes:
        picture: what the features are of.
        network: a recipe, or the stack that makes one.
        layer: the layer.
        iterations: of L-BFGS at the most.
        seed: decides the noise that it starts from.
        snapshots: iterations after which the image is kept.
    """

    kind: ClassVar[str] = "invert"
    picture: Picture
    network: Recipe | Stack
    layer: str
    iterations: int
    seed: int = 0
    snapshots: tuple[int, ...] = ()

    @property
    def config(self) -> InversionConfig:
        """How it is inverted."""
        optimizer = OptimizerConfig(max_iterations=self.iterations)
        return InversionConfig(seed=self.seed, optimizer=optimizer)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {
            "picture": self.picture.sha256,
            "network": _network_identity(self.network),
            "layer": self.layer,
            "config": _without_network(self.config),
            "snapshots": self.snapshots,
        }

    @property
    def searches(self) -> tuple[Search, ...]:
        """What is evaluated."""
        dense = VGG19.layer(self.layer).kind == "dense"
        return (_search(self.layer, self.picture.side, 0 if dense else None, self.iterations),)

    def command(self, network: str, output: str) -> str:
        """The same from the shell.

        Args:
            network: name or file of the network.
            output: the image to write.
        """
        return _image_command(self, [self.picture], network, output, layer=self.layer)


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A texture with the correlations of a source (`rwgen.synthesize_texture`).

    Attributes:
        source: where the correlations are from.
        network: the recipe.
        layers: layers whose correlations count.
        iterations: of L-BFGS at the most.
        seed: decides the noise that it starts from.
    """

    kind: ClassVar[str] = "texture"
    source: Picture
    network: Recipe
    layers: tuple[str, ...]
    iterations: int
    seed: int = 0

    @property
    def config(self) -> TextureConfig:
        """How it is synthesised."""
        optimizer = OptimizerConfig(max_iterations=self.iterations)
        return TextureConfig(layers=self.layers, seed=self.seed, optimizer=optimizer)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {
            "source": self.source.sha256,
            "network": _network_identity(self.network),
            "config": _without_network(self.config),
        }

    @property
    def searches(self) -> tuple[Search, ...]:
        """What is evaluated."""
        layer = VGG19.deepest(self.layers).name
        return (_search(layer, self.source.side, None, self.iterations),)

    def command(self, network: str, output: str) -> str:
        """The same from the shell; arguments as for `Inversion`."""
        size = self.source.side
        return _image_command(
            self, [self.source], network, output, layer=self.layers, source_size=size
        )


@dataclass(frozen=True, kw_only=True)
class Style:
    """A photo in the style of a painting (`rwgen.transfer_style`).

    Attributes:
        content: the photo.
        painting: the style.
        network: the recipe.
        iterations: of L-BFGS at the most.
        seed: decides the noise that it starts from.
    """

    kind: ClassVar[str] = "style"
    content: Picture
    painting: Picture
    network: Recipe
    iterations: int
    seed: int = 0

    @property
    def config(self) -> StyleConfig:
        """How it is made: the paper's layers and ratio."""
        optimizer = OptimizerConfig(max_iterations=self.iterations)
        return StyleConfig(seed=self.seed, optimizer=optimizer)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return {
            "content": self.content.sha256,
            "painting": self.painting.sha256,
            "network": _network_identity(self.network),
            "config": _without_network(self.config),
        }

    @property
    def searches(self) -> tuple[Search, ...]:
        """What is evaluated."""
        config = self.config
        layer = VGG19.deepest([*config.content_layers, *config.style_layers]).name
        return (_search(layer, self.content.side, None, self.iterations),)

    def command(self, network: str, output: str) -> str:
        """The same from the shell; arguments as for `Inversion`."""
        return _image_command(self, [self.content, self.painting], network, output)


ImagePart = Inversion | Texture | Style
Part = ImagePart | Stack


def part_key(part: Part) -> str:
    """A name for the part's folder: its kind and a hash of all that decides its result."""
    facts = {"format": FORMAT_VERSION, "rwgen": __version__, **part.identity}
    text = json.dumps(facts, sort_keys=True)
    return f"{part.kind}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def stacks_of(parts: Iterable[ImagePart]) -> list[Stack]:
    """The stacks that parts are inverted from, each once."""
    stacks = [part.network for part in parts if isinstance(part.network, Stack)]
    return list({part_key(stack): stack for stack in stacks}.values())


def _search(layer: str, side: int, octaves: int | None, iterations: int) -> Search:
    sides = [height for height, _ in image_sizes((side, side), octaves, side)]
    shares, left = [], iterations
    for number, current in enumerate(sides):
        share = left // (len(sides) - number)
        shares.append((current, share))
        left -= share
    return Search(layer, tuple(shares))


def _recipe_identity(recipe: Recipe) -> dict[str, Any]:
    """A recipe without what it is called, and with its file's content in place of its path."""
    values = recipe.to_dict()
    del values["name"]
    if "weights_file_sha256" in values:
        del values["weights"]
    return values


def _network_identity(network: Recipe | Stack) -> Any:
    return part_key(network) if isinstance(network, Stack) else _recipe_identity(network)


def _without_network(config: InversionConfig | TextureConfig | StyleConfig) -> dict[str, Any]:
    """Settings but the network's name: the recipe itself counts."""
    values = dataclasses.asdict(config)
    del values["network"]
    return values


def _image_command(
    part: ImagePart, inputs: Sequence[Picture], network: str, output: str, **options: Any
) -> str:
    """Options that all image tasks have, after those of one."""
    options |= {
        "network": network,
        "size": inputs[0].side,
        "iterations": part.iterations,
        "seed": part.seed,
    }
    return _command(part.kind, output, *inputs, **options)


def _command(name: str, output: str, *inputs: Picture, **options: Any) -> str:
    words = ["rwgen", name, *(str(picture.path) for picture in inputs)]
    for option, value in options.items():
        for item in value if isinstance(value, tuple) else (value,):
            words += ["--" + option.replace("_", "-"), str(item)]
    return shlex.join([*words, "-o", output])
