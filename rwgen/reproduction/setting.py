"""What all figures of a reproduction share, and the form of a figure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rwgen.network.architecture import DENSE_INPUT_SIZE, VGG19
from rwgen.network.lookup import load_recipe
from rwgen.network.recipe import HALF_NORMAL_NETWORK, STACKED_NETWORK, ZERO_BIAS_NETWORK, Recipe
from rwgen.reproduction.parts import ImagePart, Inversion
from rwgen.reproduction.pictures import Picture, PictureSource
from rwgen.reproduction.report import Content, Tile
from rwgen.reproduction.scale import Scale
from rwgen.reproduction.store import PartResult

Parts = Mapping[str, ImagePart]
"""Parts of a figure by a name that tells them apart; raw images are called by it."""

Results = Mapping[str, PartResult]
"""What was made of them, by the same names."""


@dataclass(frozen=True)
class Setting:
    """What decides a reproduction.

    Attributes:
        scale: sizes and counts.
        pictures: where images come from.
        trained: trained weights as `--network` takes them, None for none.
    """

    scale: Scale
    pictures: PictureSource
    trained: str | None = None

    @functools.cached_property
    def stacked(self) -> Recipe:
        """The stacked network of inversions: ranVGG."""
        return load_recipe(STACKED_NETWORK)

    @functools.cached_property
    def plain(self) -> Recipe:
        """The network that it was selected from, with the first draw of each layer."""
        return load_recipe(HALF_NORMAL_NETWORK)

    @functools.cached_property
    def untrained(self) -> Recipe:
        """The network of textures and styles."""
        return load_recipe(ZERO_BIAS_NETWORK)

    @functools.cached_property
    def trained_recipe(self) -> Recipe | None:
        """The trained network."""
        return None if self.trained is None else load_recipe(self.trained)

    @property
    def rivals(self) -> dict[str, Recipe]:
        """What the stacked network is compared with: trained weights if there are, else plain."""
        trained = self.trained_recipe
        return {"plain": self.plain} if trained is None else {"trained": trained}

    def seeded(self, seed: int) -> Recipe:
        """The plain network of another seed."""
        return dataclasses.replace(self.plain, name=f"plain-{seed}", seed=seed, weights_sha256={})

    def photo(self, number: int, layer: str) -> Picture:
        """A photo at the size that a layer is inverted at."""
        dense = VGG19.layer(layer).kind == "dense"
        return self.pictures.get("photo", number, DENSE_INPUT_SIZE if dense else self.scale.size)

    def inversion(self, photo: int, layer: str, network: Recipe) -> Inversion:
        """A part of figures 2, 3, 4, 5 and 7."""
        scale = self.scale
        iterations = scale.iterations
        if VGG19.layer(layer).kind == "dense":
            iterations = scale.dense_iterations
        elif layer == scale.curve_layer:
            iterations = scale.curve_iterations
        return Inversion(
            picture=self.photo(photo, layer),
            network=network,
            layer=layer,
            iterations=iterations,
            snapshots=tuple(n for n in scale.snapshots if n <= iterations),
        )


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        number: the paper's.
        title: what it shows.
        parts: what it needs, the stacks of its inversions not among them.
        content: what it shows, from the results.
    """

    number: int
    title: str
    parts: Callable[[Setting], Parts]
    content: Callable[[Setting, Results], Content]


def inversion_tile(name: str, label: str, result: PartResult) -> Tile:
    """An inverted image with its quality."""
    psnr = result.numbers["psnr"]
    quality = "equal" if psnr is None else f"{psnr:.1f} dB"
    ssim = result.numbers["ssim"]
    detail = quality if ssim is None else f"{quality}, {ssim:.2f}"
    return Tile(
        result.image, name, label, detail, f"reconstruction from {label}: {detail} PSNR and SSIM"
    )


def picture_tile(picture: Picture) -> Tile:
    """An image as it was given."""
    name = f"{picture.role}-{picture.name}"
    return Tile(picture.path, name, picture.name, "given", f"the {picture.role} {picture.name}")
