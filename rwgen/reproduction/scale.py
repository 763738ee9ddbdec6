"""Size of a reproduction: the paper's, or one that takes less than an hour."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from rwgen.checks import check_count, unexpected
from rwgen.network.architecture import VGG19

_CONV_AND_POOL = tuple(spec.name for spec in VGG19.layers() if spec.kind != "dense")
_CONV = tuple(spec.name for spec in VGG19.layers() if spec.kind == "conv")
_POOLS = tuple(spec.name for spec in VGG19.layers() if spec.kind == "pool")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes, iterations and counts of the parts of all figures.

    Images are square. An L-BFGS iteration takes about one evaluation of loss and gradient.

    Attributes:
        name: value of `--scale`.
        size: side of inverted images in pixels.
        iterations: iterations of an inversion in figures 2, 3, 4 and 7.
        layers: convolutions and pools of figures 2 and 7.
        dense_layers: dense layers of figures 2 and 7; their images have a side of 256 pixels.
        dense_iterations: iterations of their inversions.
        pools: layers of figures 3 and 4.
        further_photos: number of photos of figure 4, beyond the photo of figures 2, 3 and 7.
        curve_layer: layer of figure 5.
        curve_iterations: iterations of the inversions of figure 5.
        snapshots: iterations after which an inversion keeps its image.
        seeds: number of networks of each kind in figure 6, at least 3.
        variation_size: side of the images of figure 6 in pixels.
        variation_iterations: iterations of the inversions of figure 6.
        variation_layers: layers of figure 6.
        stack_layers: convolutions of a stack whose weights are selected.
        stack_size: side of the reference image of a stack in pixels.
        stack_iterations: iterations of the inversion that scores a draw of a stack.
        candidates: number of draws of each layer of a stack.
        textures: number of textures of figure 8.
        texture_size: side of the textures in pixels.
        texture_iterations: iterations of a texture.
        style_layers: layers of figure 8, whose rows match the first one, two, ... of these.
        paintings: number of styles of figure 9.
        scenes: number of pairs of a painting and a photo in figure 10.
        style_size: side of the images of figures 9 and 10 in pixels.
        style_iterations: iterations of a style transfer.
    """

    name: str
    size: int
    iterations: int
    layers: tuple[str, ...] = _CONV_AND_POOL
    dense_layers: tuple[str, ...] = ("fc6", "fc7")
    dense_iterations: int
    pools: tuple[str, ...] = _POOLS
    further_photos: int
    curve_layer: str = "conv5_1"
    curve_iterations: int
    snapshots: tuple[int, ...] = (10, 20, 50, 100, 200, 500, 1000, 2000)
    seeds: int = 10
    variation_size: int
    variation_iterations: int
    variation_layers: tuple[str, ...]
    stack_layers: tuple[str, ...]
    stack_size: int
    stack_iterations: int
    candidates: int
    textures: int
    texture_size: int
    texture_iterations: int
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    paintings: int
    scenes: int
    style_size: int
    style_iterations: int

    def __post_init__(self) -> None:
        """Check the fields."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                if not value and field.name != "dense_layers":
                    raise unexpected(field.name, "at least one value", value)
            elif not isinstance(value, str):
                # Two values deviate from their median equally, so their spread has no meaning.
                check_count(field.name, value, 3 if field.name == "seeds" else 1)
        for names, size in (
            ((*self.layers, *self.pools, self.curve_layer), self.size),
            (self.variation_layers, self.variation_size),
            (self.stack_layers, self.stack_size),
            (self.style_layers, min(self.texture_size, self.style_size)),
        ):
            VGG19.check_image_size(names, (size, size), "an image")


QUICK = Scale(
    name="quick",
    size=96,
    iterations=100,
    dense_iterations=60,
    further_photos=2,
    curve_iterations=250,
    variation_size=48,
    variation_iterations=100,
    variation_layers=("pool1", "pool2", "conv3_1"),
    stack_layers=("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"),
    stack_size=48,
    stack_iterations=40,
    candidates=3,
    textures=3,
    texture_size=96,
    texture_iterations=100,
    paintings=3,
    scenes=2,
    style_size=96,
    style_iterations=100,
)
"""All figures at a small size: less than 45 minutes on two cores (docs/reproduction.md)."""

FULL = Scale(
    name="full",
    size=256,
    iterations=2000,
    dense_iterations=2000,
    further_photos=3,
    curve_iterations=2000,
    variation_size=256,
    variation_iterations=2000,
    variation_layers=_POOLS,
    stack_layers=_CONV,
    stack_size=256,
    stack_iterations=100,
    candidates=5,
    textures=5,
    texture_size=256,
    texture_iterations=2000,
    paintings=5,
    scenes=3,
    style_size=256,
    style_iterations=2000,
)
"""The paper's setting: 256 pixels, 2000 iterations, the same numbers of images and networks."""

SCALES = {scale.name: scale for scale in (QUICK, FULL)}
"""Scales by name."""
