"""Regions of a style transfer: which part of which style goes where, drawn as masks.

A region is an area of one gray level or color in a mask. All other pixels belong to soft borders:
each is shared by the two regions between whose colors its own lies (docs/math.md, "Regions").
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import ImageError, InvalidInputError
from rwgen.images import ImageLike, as_pixels, resize_plane
from rwgen.network.preprocess import check_image
from rwgen.optimize.checkpoint import fingerprint

MAX_REGIONS = 8
"""Maximum number of regions; more are the noise of a photo that was taken for a mask."""

MIN_SHARE = 0.001
"""Smallest share of a mask that makes a region. It counts pixels whose neighbors all have the same
color, of which borders have few."""

SAME_COLOR = 32.0
"""Distance of two colors, in levels of 0..255, below which they are one: files such as JPEG change
colors a little."""

MAX_STRETCH = 0.02
"""By how much the ratio of a mask's sides may differ from its image's, besides rounding."""


@dataclass(frozen=True)
class Source:
    """A part of a style image.

    Attributes:
        style: number of the style image, from 0.
        share: its share in the style of the region; the shares of a region sum to 1.
        weights: [height, width] in 0..1, how much of each position belongs to the part; None means
            the whole image.
    """

    style: int
    share: float
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Region:
    """A part of the result, with the sources of its style.

    Attributes:
        sources: parts of style images, whose statistics are mixed.
        weights: as of `Source`; None means the whole result.
    """

    sources: tuple[Source, ...]
    weights: NDArray[np.float32] | None = None

    @property
    def area(self) -> float:
        """Share of the result."""
        return 1.0 if self.weights is None else float(self.weights.mean(dtype=np.float64))

    @property
    def key(self) -> Hashable:
        """What decides it, to compare it by."""
        sources = ((item.style, item.share, fingerprint(item.weights)) for item in self.sources)
        return tuple(sources), fingerprint(self.weights)

    def at(self, size: Sequence[int], style_sizes: Sequence[Sequence[int]]) -> Region:
        """The same with weights for images of other sizes.

        Args:
            size: (height, width) of the result.
            style_sizes: (height, width) of each style image.
        """
        sources = tuple(
            replace(source, weights=_resized(source.weights, style_sizes[source.style]))
            for source in self.sources
        )
        return Region(sources, _resized(self.weights, size))


def whole(shares: Sequence[float]) -> tuple[Region, ...]:
    """One region, the whole result, in a mixture of whole style images.

    Args:
        shares: share of each style image; they sum to 1.
    """
    return (Region(tuple(Source(i, share) for i, share in enumerate(shares) if share)),)


def regions_of(
    content_mask: ImageLike | None,
    style_masks: Sequence[ImageLike],
    size: tuple[int, int],
    style_sizes: Sequence[tuple[int, int]],
    shares: Sequence[float],
    *,
    are_blended: bool = False,
) -> tuple[Region, ...]:
    """Decide which styles go where.

    Without style masks, one style fills every region; of as many styles as there are regions, the
    first fills the darkest region, and so on. With style masks, a region takes its style from the
    areas of its color in all of them. Areas of other colors are not used.

    Args:
        content_mask: an image in any form, or an array [height, width] of gray levels in 0..255,
            of any size; None means that there are no regions.
        style_masks: the same for each style image; empty if they have none.
        size: (height, width) of the result.
        style_sizes: (height, width) of each style image.
        shares: share of each style image; they sum to 1.
        are_blended: whether shares were asked for.

    Returns:
        The regions, from dark to light, with weights of the images' sizes, which sum to 1
        everywhere.

    Raises:
        InvalidInputError: a mask cannot be used, or the masks do not fit each other, the images or
            the number of styles.
    """
    count = len(shares)
    if content_mask is None:
        if style_masks:
            raise InvalidInputError(
                "expected a content mask beside style masks. Received: style masks alone"
            )
        return whole(shares)
    if style_masks and len(style_masks) != count:
        raise InvalidInputError(
            f"expected one style mask for each of the {count} style images. Received: "
            f"{len(style_masks)}"
        )
    mask = _mask_pixels(content_mask, size, "a content mask")
    colors = region_colors(mask)
    weights = memberships(mask, colors)
    if style_masks:
        masks = [
            _mask_pixels(found, style_size, f"style mask {number}")
            for number, (found, style_size) in enumerate(
                zip(style_masks, style_sizes, strict=True), start=1
            )
        ]
        sources = _sources_by_color(colors, masks, shares)
    elif count == 1:
        sources = [(Source(0, 1.0),)] * len(colors)
    elif count == len(colors) and not are_blended:
        sources = [(Source(number, 1.0),) for number in range(count)]
    else:
        shown = " and style_blend" if are_blended else ""
        raise InvalidInputError(
            f"expected style masks, or one style image for each region of the content mask, which "
            f"has {len(colors)}. Received: {count} style images{shown}"
        )
    return tuple(
        Region(source, own).at(size, style_sizes)
        for source, own in zip(sources, weights, strict=True)
    )


def region_colors(mask: NDArray[Any]) -> NDArray[np.float64]:
    """Colors of the regions of a mask, [number, 3] from dark to light.

    Raises:
        InvalidInputError: it has no region, or more than `MAX_REGIONS`.
    """
    codes = _codes(mask)
    around = np.pad(codes, 1, mode="edge")
    height, width = codes.shape
    is_flat = np.ones(codes.shape, bool)
    for row, column in itertools.product(range(3), repeat=2):
        is_flat &= around[row : row + height, column : column + width] == codes
    found, counts = np.unique(codes[is_flat], return_counts=True)
    colors: list[NDArray[np.float64]] = []
    for number in np.argsort(-counts, kind="stable"):
        color = _colors(found[number])
        is_new = all(np.linalg.norm(color - other) >= SAME_COLOR for other in colors)
        if is_new and counts[number] >= MIN_SHARE * codes.size:
            colors.append(color)
    if not 1 <= len(colors) <= MAX_REGIONS:
        raise InvalidInputError(
            f"expected a mask with 1 to {MAX_REGIONS} regions, areas of one gray level or color "
            f"each. Received: {len(colors) or 'none'}"
        )
    return np.array(sorted(colors, key=lambda color: (color.sum(), *color)))


def memberships(mask: NDArray[Any], colors: NDArray[np.float64]) -> NDArray[np.float32]:
    """How much of each pixel of a mask belongs to each region.

    A color of no region belongs to the two regions to whose connecting line it is nearest, in
    proportion to where on the line that is; of equally near lines, to the shortest.

    Args:
        mask: [height, width, 3], RGB in 0..255.
        colors: [number, 3], the colors of the regions.

    Returns:
        [number, height, width] in 0..1, which sum to 1 at every pixel.
    """
    codes, places = np.unique(_codes(mask), return_inverse=True)
    own = _colors(codes)
    shares = np.zeros((len(colors), len(codes)), np.float32)
    shares[0] = 1.0
    nearest = np.full(len(codes), np.inf)
    pairs = itertools.combinations(range(len(colors)), 2)
    for first, second in sorted(pairs, key=lambda p: np.linalg.norm(colors[p[0]] - colors[p[1]])):
        line = colors[second] - colors[first]
        along = ((own - colors[first]) @ line / (line @ line)).clip(0, 1)
        distance = np.linalg.norm(own - colors[first] - along[:, np.newaxis] * line, axis=1)
        is_nearer = distance < nearest - 1e-6
        nearest[is_nearer] = distance[is_nearer]
        shares[:, is_nearer] = 0
        shares[first, is_nearer] = 1 - along[is_nearer]
        shares[second, is_nearer] = along[is_nearer]
    return shares[:, places.reshape(mask.shape[:2])]


def _mask_pixels(mask: ImageLike, size: Sequence[int], name: str) -> NDArray[Any]:
    """Pixels [height, width, 3] of a mask for an image of a size, which its own may differ from."""
    pixels = as_pixels(mask)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    pixels = check_image(pixels)
    if 0 < pixels.max() <= 1:
        raise ImageError(
            f"expected {name} with levels in 0..255. Received: levels up to 1; multiply them by 255"
        )
    ratios = [shape[1] / shape[0] for shape in (pixels.shape, size)]
    rounding = sum(1 / min(shape[:2]) for shape in (pixels.shape, tuple(size)))
    if abs(ratios[0] / ratios[1] - 1) > MAX_STRETCH + rounding:
        raise InvalidInputError(
            f"expected {name} whose sides have the ratio of its image, {size[1]}x{size[0]}. "
            f"Received: {pixels.shape[1]}x{pixels.shape[0]}"
        )
    return pixels


def _sources_by_color(
    colors: NDArray[np.float64], masks: Sequence[NDArray[Any]], shares: Sequence[float]
) -> list[tuple[Source, ...]]:
    """Sources of each region: the areas of its color in the masks of the styles."""
    sources: list[list[Source]] = [[] for _ in colors]
    for style, (mask, share) in enumerate(zip(masks, shares, strict=True)):
        own = region_colors(mask)
        for color, weights in zip(own, memberships(mask, own), strict=True):
            distances = np.linalg.norm(colors - color, axis=1)
            if share and distances.min() < SAME_COLOR:
                sources[int(distances.argmin())].append(Source(style, share, weights))
    for color, found in zip(colors, sources, strict=True):
        if not found:
            raise InvalidInputError(
                "expected style masks with every color of the content mask. Received: none with "
                f"an area of color {', '.join(f'{value:.0f}' for value in color)}"
            )
    return [
        tuple(replace(item, share=item.share / sum(s.share for s in found)) for item in found)
        for found in sources
    ]


def _codes(mask: NDArray[Any]) -> NDArray[np.uint32]:
    """Each pixel's color as one number, [height, width]."""
    levels = np.rint(mask).clip(0, 255).astype(np.uint32)
    codes: NDArray[np.uint32] = levels[..., 0] << 16 | levels[..., 1] << 8 | levels[..., 2]
    return codes


def _colors(codes: NDArray[np.uint32]) -> NDArray[np.float64]:
    """RGB of codes [...] as [..., 3]."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.float64)


def _resized(
    weights: NDArray[np.float32] | None, size: Sequence[int]
) -> NDArray[np.float32] | None:
    return None if weights is None else resize_plane(weights, size[0], size[1])
