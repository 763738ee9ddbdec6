"""Images made without synthesis, to compare results with: they show what a number is worth.

Each keeps one property of the source and gives up the others. One seed decides all of them.
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
"""Side of the tiles of `shuffled_patches` in pixels: four times the patch size of the copy rate."""


def texture_baselines(
    source: NDArray[Any], held_out: NDArray[Any] | None = None, *, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Baselines of a texture, from least to most similar.

    Args:
        source: [height, width, 3], RGB in 0..255; at least 32 pixels a side.
        held_out: another piece of the same texture at the same scale, from which no result was
            made.
        seed: seed of the random draws.

    Returns:
        Images by name: `white noise`, the start of a search; `shuffled pixels`; `shuffled patches`;
        `crop of the source`, half its height and width but at least 32 pixels a side; and `another
        crop`, which is `held_out` if given. All but the crops have the source's size.
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
    """Baselines of style transfer, which give up content, style or both.

    Args:
        content: [height, width, 3], RGB in 0..255.
        styles: the same, of any sizes.
        seed: seed of the random draws.

    Returns:
        Images of the content's size by name: `white noise`; the `content`; and for each style
        `content in its colours` and the resized `style`. With several styles, these names end in a
        number from 1.
    """
    found = {"white noise": white_noise(seed, content.shape), "content": content}
    for number, style in enumerate(styles, start=1):
        ending = f" {number}" if len(styles) > 1 else ""
        found[f"content in its colours{ending}"] = matched_colours(content, style)
        found[f"style{ending}"] = resize_image(style, *content.shape[:2])
    return found


def shuffled_pixels(image: NDArray[Any], *, seed: int = 0) -> NDArray[Any]:
    """Permute the pixels of an image: noise with exactly its colours.

    Args:
        image: [height, width, 3].
        seed: seed of the permutation.

    Returns:
        The same shape and dtype.
    """
    pixels = image.reshape(-1, image.shape[-1])
    return pixels[_permutation(seed, "baselines/pixels", len(pixels))].reshape(image.shape)


def shuffled_patches(
    image: NDArray[Any], *, tile_side: int = TILE_SIDE, seed: int = 0
) -> NDArray[Any]:
    """Compose an image of square tiles from random places of it, with hard seams.

    Args:
        image: [height, width, 3].
        tile_side: side of the tiles in pixels, limited to half the image's shorter side.
        seed: seed of the places.

    Returns:
        The same shape and dtype; tiles of the last row and column are cropped.
    """
    height, width = image.shape[:2]
    side = max(1, min(tile_side, min(height, width) // 2))
    rows, columns = -(-height // side), -(-width // side)
    across = width - side + 1
    # A permutation, so that no place is used twice.
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
    """Match the histogram of each channel of an image to that of another.

    Args:
        image: [height, width, 3], RGB in 0..255.
        colours: the same, of any size.

    Returns:
        The shape of `image`. In each channel, every value becomes the quantile of `colours` at its
        mean rank, so that the order of values is kept and equal values stay equal.
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
    # A stable sort gives the same order of equal draws on every machine.
    return np.argsort(standard_normal(seed, stream, (count,)), kind="stable")
