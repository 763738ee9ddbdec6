"""What all figures of a reproduction share, and the form of a figure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
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
"""Parts of a figure by a name that is unique in the figure; its raw images have these names."""

Results = Mapping[str, PartResult]
"""Results of the parts, by the same names."""


@dataclass(frozen=True)
class Setting:
    """Everything that determines a reproduction.

    Attributes:
        scale: sizes and counts.
        pictures: source of the input images.
        trained: trained weights as `--network` takes them, or None.
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
        """The network that `stacked` was selected from: the first draw of each layer."""
        return load_recipe(HALF_NORMAL_NETWORK)

    @functools.cached_property
    def untrained(self) -> Recipe:
        """The network of textures and styles."""
        return load_recipe(ZERO_BIAS_NETWORK)

    @functools.cached_property
    def trained_recipe(self) -> Recipe | None:
        """The trained network, or None."""
        return None if self.trained is None else load_recipe(self.trained)

    @property
    def trained_networks(self) -> dict[str, Recipe]:
        """The trained network by its name in figures; empty without trained weights."""
        return {} if self.trained_recipe is None else {"trained": self.trained_recipe}

    @property
    def inverted_networks(self) -> dict[str, Recipe]:
        """The stacked network and its rival: trained if there are trained weights, else plain."""
        return {"stacked": self.stacked, **(self.trained_networks or {"plain": self.plain})}

    def seeded(self, seed: int) -> Recipe:
        """Return the plain network with another seed."""
        return dataclasses.replace(self.plain, name=f"plain-{seed}", seed=seed, weights_sha256={})

    def photo(self, number: int, layer: str) -> Picture:
        """Return a photo at the size that a layer is inverted at."""
        dense = VGG19.layer(layer).kind == "dense"
        return self.pictures.get("photo", number, DENSE_INPUT_SIZE if dense else self.scale.size)

    def inversion(self, photo: int, layer: str, network: Recipe) -> Inversion:
        """Return a part of figures 2, 3, 4, 5 and 7."""
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

    def inversions(
        self, photos: Iterable[int], layers: Iterable[str], networks: Mapping[str, Recipe]
    ) -> dict[str, ImagePart]:
        """Return the inversions of photos from layers of networks, by `inversion_name`."""
        layers = tuple(layers)
        return {
            inversion_name(photo, layer, name): self.inversion(photo, layer, network)
            for photo in photos
            for name, network in networks.items()
            for layer in layers
        }


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        number: number in the paper.
        title: what the figure shows.
        parts: returns the parts of the figure, without the stacks of its inversions.
        content: returns what to show, from the results of the parts.
    """

    number: int
    title: str
    parts: Callable[[Setting], Parts]
    content: Callable[[Setting, Results], Content]


def inversion_name(photo: int, layer: str, network: str) -> str:
    """Return the name of a part that inverts a photo (its index from 0) with a named network."""
    return f"photo_{photo + 1}-{layer}-{network}"


def inversion_tile(name: str, label: str, result: PartResult) -> Tile:
    """Return an inverted image with its PSNR and SSIM."""
    psnr = result.numbers["psnr"]
    quality = "equal" if psnr is None else f"{psnr:.1f} dB"
    ssim = result.numbers["ssim"]
    detail = quality if ssim is None else f"{quality}, {ssim:.2f}"
    return Tile(
        result.image, name, label, detail, f"reconstruction from {label}: {detail} PSNR and SSIM"
    )


def picture_tile(picture: Picture) -> Tile:
    """Return an input image."""
    name = f"{picture.role}-{picture.name}"
    return Tile(picture.path, name, picture.name, "given", f"the {picture.role} {picture.name}")
