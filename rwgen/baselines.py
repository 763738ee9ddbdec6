"""Images that need no synthesis, to put beside results: what a number is worth.

Each keeps one thing of the source and gives up the others. All are decided by one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from rwgen.images import resize_image
from rwgen.metrics.config import MINIMUM_SIDE
from rwgen.noise import white_noise
from rwgen.seeds import standard_normal

TILE_SIDE = 32
"""Side of the pieces of `shuffled_patches`, in pixels: four times the patches of the copy rate."""


def texture_baselines(
    source: NDArray[Any], held_out: NDArray[Any] | None = None, *, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Baselines of a texture, from what is least like it to what is most.

    Args:
        source: [height, width, 3], RGB in 0..255; at least 32 pixels a side.
        held_out: another piece of the same texture at the same scale, which no result was made
            from; it comes last.
        seed: decides the draws.

    Returns:
        By name: `white noise`, as a search starts from; `shuffled pixels`; `shuffled patches`;
        `crop of the source`, half as high and wide but for sides under 64 pixels; and `another
        crop`, if there is one. All but the crops have the source's size.
    """
    found = {
        "white noise": white_noise(seed, source.shape),
        "shuffled pixels": shuffled_pixels(source, seed=seed),
        "shuffled patches": shuffled_patches(source, seed=seed),
        "crop of the source": _central_crop(source),
    }
    if held_out is not None:
        found["another crop"] = held_out
    return found


def style_baselines(
    content: NDArray[Any], styles: Sequence[NDArray[Any]], *, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Baselines of style transfer: one side given up for the other, or both.

    Args:
        content: [height, width, 3], RGB in 0..255.
        styles: the same, of any sizes.
        seed: decides the draws.

    Returns:
        By name, all of the content's size: `white noise`; the `content`; for each style
        `content in its colours` and the `style` itself, resized. With several styles, these names
        end in a number from 1.
    """
    found = {"white noise": white_noise(seed, content.shape), "content": content}
    for number, style in enumerate(styles, start=1):
        ending = f" {number}" if len(styles) > 1 else ""
        found[f"content in its colours{ending}"] = matched_colours(content, style)
        found[f"style{ending}"] = resize_image(style, *content.shape[:2])
    return found


def shuffled_pixels(image: NDArray[Any], *, seed: int = 0) -> NDArray[Any]:
    """The same pixels in random places: noise with exactly the image's colours.

    Args:
        image: [height, width, 3].
        seed: decides the places.

    Returns:
        The same shape and dtype.
    """
    pixels = image.reshape(-1, image.shape[-1])
    return pixels[_permutation(seed, "baselines/pixels", len(pixels))].reshape(image.shape)


def shuffled_patches(
    image: NDArray[Any], *, tile_side: int = TILE_SIDE, seed: int = 0
) -> NDArray[Any]:
    """A collage of square pieces from random places of the image, with hard seams.

    Args:
        image: [height, width, 3].
        tile_side: side of the pieces, in pixels; at most half the image's shorter side is taken.
        seed: decides the places.

    Returns:
        The same shape and dtype; pieces of the last row and column are cut where it ends.
    """
    height, width = image.shape[:2]
    side = max(1, min(tile_side, min(height, width) // 2))
    rows, columns = -(-height // side), -(-width // side)
    across = width - side + 1
    # No place comes twice.
    places = _permutation(seed, "baselines/patches", (height - side + 1) * across)
    collage = np.empty((rows * side, columns * side, image.shape[-1]), image.dtype)
    for number in range(rows * columns):
        top, left = divmod(int(places[number]), across)
        row, column = (side * place for place in divmod(number, columns))
        collage[row : row + side, column : column + side] = image[
            top : top + side, left : left + side
        ]
    return collage[:height, :width]


def matched_colours(image: NDArray[Any], colours: NDArray[Any]) -> NDArray[np.float32]:
    """An image whose channels have the histograms of another's.

    Args:
        image: [height, width, 3], RGB in 0..255.
        colours: the same of any size.

    Returns:
        The first image's shape. In each channel the order of values stays, and each becomes the
        quantile of the other image at its mean rank; so equal values stay equal.
    """
    channels = []
    for channel in range(image.shape[-1]):
        values = image[..., channel]
        ranks = (rankdata(values).reshape(values.shape) - 0.5) / values.size
        channels.append(np.quantile(colours[..., channel], ranks, method="hazen"))
    return np.stack(channels, axis=-1).astype(np.float32)


def _central_crop(image: NDArray[Any]) -> NDArray[Any]:
    sides = [max(side // 2, min(side, MINIMUM_SIDE)) for side in image.shape[:2]]
    top, left = ((side - part) // 2 for side, part in zip(image.shape[:2], sides, strict=True))
    return image[top : top + sides[0], left : left + sides[1]]


def _permutation(seed: int, stream: str, count: int) -> NDArray[np.int64]:
    # Equal draws keep their order, so that every machine sorts alike.
    return np.argsort(standard_normal(seed, stream, (count,)), kind="stable")
