"""How close two images, possibly of different sizes, are as textures.

For equal images all distances are zero, and `copy_rate` is one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwgen.errors import InvalidInputError
from rwgen.images import resize_image
from rwgen.seeds import standard_normal

_DISTANCES = 1 << 26  # most distances between patches that are held at a time: 256 MiB

_VARIANCE_FLOOR = 0.01  # of the mean variance of patches
_LEAST_VARIANCE = 1e-9  # in squared levels; less is rounding


def sliced_wasserstein(
    image: NDArray[Any],
    other: NDArray[Any],
    *,
    patch_size: int = 7,
    num_scales: int = 3,
    num_projections: int = 128,
    seed: int = 0,
) -> tuple[float, ...]:
    """Sliced Wasserstein-2 distance between the patches of two images, at several scales.

    All patches are projected onto random directions. Along each, the Wasserstein-2 distance is the
    root mean square difference of the sorted values (Rabin et al., "Wasserstein Barycenter and its
    Application to Texture Mixing", 2011).

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same of any size.
        patch_size: side of a patch, in pixels of each scale.
        num_scales: number of scales: full size, half, a quarter, ...
        num_projections: number of random directions.
        seed: seed of the directions.

    Returns:
        For each scale, finest first, the root mean square over directions. The unit is one level of
        0..255: two images that differ by a constant have about that distance.

    Raises:
        InvalidInputError: an image is smaller than a patch at the coarsest scale.
    """
    shape = (patch_size * patch_size * 3, num_projections)
    directions = standard_normal(seed, "sliced wasserstein", shape).astype(np.float64)
    directions /= np.linalg.norm(directions, axis=0)
    distances = []
    for scale in range(num_scales):
        values = [
            np.sort(_patches(_halved(x, scale), patch_size) @ directions, axis=0)
            for x in (image, other)
        ]
        count = max(len(sorted_values) for sorted_values in values)
        first, second = (_quantiles(sorted_values, count) for sorted_values in values)
        # Over unit vectors, a constant patch of ones has a mean square projection of one.
        distances.append(float(np.sqrt(np.mean((first - second) ** 2))))
    return tuple(distances)


def patch_variance_distance(
    image: NDArray[Any],
    other: NDArray[Any],
    *,
    patch_size: int = 7,
    num_scales: int = 3,
) -> tuple[float, ...]:
    """Difference between the variances of the patches of two images, at several scales.

    Variances are compared along the principal components of the patches of `other`. In decibels,
    the fine strokes that hardly add to the variance of a patch count as much as its color does; in
    the other distances they hardly count. A trained network ranks pictures much as this does
    (docs/math.md, "Evaluation").

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same of any size; the components are its own, so the order of the two matters.
        patch_size: side of a patch, in pixels of each scale.
        num_scales: number of scales: full size, half, a quarter, ...

    Returns:
        For each scale, finest first, the root mean square over components of the difference in
        decibels. A hundredth of the mean variance is added to every variance first, so that
        components that `other` lacks are no more than 20 dB below the mean.

    Raises:
        InvalidInputError: an image is smaller than a patch at the coarsest scale, or `other` is
            uniform at a scale.
    """
    distances = []
    for scale in range(num_scales):
        first, second = (_patch_covariance(_halved(x, scale), patch_size) for x in (image, other))
        variance = np.trace(second) / len(second)
        if variance < _LEAST_VARIANCE:
            raise InvalidInputError(
                "expected an image whose patches vary. Received: one that is uniform at "
                f"1/{2**scale} of its size"
            )
        floor = _VARIANCE_FLOOR * variance
        components = np.linalg.eigh(second).eigenvectors
        levels = [
            10 * np.log10(floor + np.maximum(np.sum(components * (x @ components), axis=0), 0))
            for x in (first, second)
        ]
        distances.append(float(np.sqrt(np.mean((levels[0] - levels[1]) ** 2))))
    return tuple(distances)


def power_spectrum_distance(
    image: NDArray[Any], other: NDArray[Any], *, num_bins: int = 32
) -> float:
    """Difference between the radial power spectra of two images.

    Args:
        image: [height, width, 3], RGB in 0..255.
        other: the same of any size.
        num_bins: number of rings of equal width between 0 and 0.5 cycles per pixel.

    Returns:
        Root mean square over rings of the difference in mean power, in decibels. Rings that contain
        no frequency of one of the images are left out.

    Raises:
        InvalidInputError: an image has a side under 8 pixels.
    """
    first, second = (_radial_power(x, num_bins) for x in (image, other))
    found = np.isfinite(first) & np.isfinite(second)
    return float(np.sqrt(np.mean((first[found] - second[found]) ** 2)))


def copy_rate(image: NDArray[Any], source: NDArray[Any], *, patch_size: int = 8) -> float:
    """Share of an image that is copied from a source piece by piece.

    For each patch on a grid, the nearest patch of the source is found. Where a texture is new,
    adjacent patches match unrelated places of the source; where it is copied, they match adjacent
    places.

    Args:
        image: [height, width, 3], RGB in 0..255.
        source: the same of any size.
        patch_size: side of a patch, in pixels.

    Returns:
        Share of the pairs of adjacent patches whose nearest patches are adjacent in the same way: 1
        for any part of the source, about 0 for noise.

    Raises:
        InvalidInputError: an image is smaller than two patches side by side.
    """
    step = max(1, patch_size // 4)
    apart = -(-patch_size // step)  # in grid cells; patches that overlap would match by overlap
    if min(*image.shape[:2], *source.shape[:2]) < patch_size + step * apart:
        raise InvalidInputError(
            f"expected images of at least {patch_size + step * apart} pixels a side. Received: "
            f"{image.shape} and {source.shape}"
        )
    columns = source.shape[1] - patch_size + 1
    wanted = _patch_grid(image, patch_size)[::step, ::step]
    grid = wanted.shape[:2]
    flat = wanted.reshape(grid[0] * grid[1], -1).astype(np.float32)
    nearest = _nearest(flat, _patches(source, patch_size).astype(np.float32)).reshape(grid)
    rows, lines = nearest // columns, nearest % columns
    across = rows[:, apart:] == rows[:, :-apart]
    across &= lines[:, apart:] - lines[:, :-apart] == step * apart
    down = lines[apart:] == lines[:-apart]
    down &= rows[apart:] - rows[:-apart] == step * apart
    return float(np.concatenate([across.ravel(), down.ravel()]).mean())


def _halved(image: NDArray[Any], times: int) -> NDArray[Any]:
    height, width = (max(1, side >> times) for side in image.shape[:2])
    return resize_image(image.astype(np.float32), height, width) if times else image


def _patch_grid(image: NDArray[Any], size: int) -> NDArray[Any]:
    """All patches of an image, [rows, columns, size * size * 3]."""
    windows = _patch_windows(image, size)
    return windows.reshape(*windows.shape[:2], -1)


def _patch_windows(image: NDArray[Any], size: int) -> NDArray[Any]:
    """All patches of an image, [rows, columns, 3, size, size], a view."""
    if min(image.shape[:2]) < size:
        raise InvalidInputError(
            f"expected images of at least {size} pixels a side at every scale. Received: "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    return np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))


def _patches(image: NDArray[Any], size: int) -> NDArray[Any]:
    grid = _patch_grid(image, size)
    return grid.reshape(-1, grid.shape[-1])


def _patch_covariance(image: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Covariance of all patches of an image, [size * size * 3, size * size * 3]."""
    grid = _patch_windows(image, size)
    count = size * size * 3
    center = image.mean(axis=(0, 1), dtype=np.float64)[:, np.newaxis, np.newaxis]
    total, moments = np.zeros(count), np.zeros((count, count))
    for row in grid:  # all patches at once would take as much memory as 147 images
        values = (row - center).reshape(-1, count)
        total += values.sum(axis=0)
        moments += values.T @ values
    positions = grid.shape[0] * grid.shape[1]
    mean = total / positions
    covariance: NDArray[np.float64] = moments / positions - np.outer(mean, mean)
    return covariance


def _quantiles(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Sorted columns, interpolated to `count` quantiles each."""
    if len(values) == count:
        return values
    places = (np.arange(count) + 0.5) / count * len(values) - 0.5
    known = np.arange(len(values))
    return np.stack([np.interp(places, known, column) for column in values.T], axis=1)


def _radial_power(image: NDArray[Any], num_bins: int) -> NDArray[np.float64]:
    """Mean power of the gray image in each frequency ring, in decibels; NaN for empty rings."""
    height, width = image.shape[:2]
    if min(height, width) < 8:
        raise InvalidInputError(
            f"expected images of at least 8 pixels a side. Received: {width}x{height}"
        )
    grey = image.astype(np.float64).mean(axis=-1)
    window = np.outer(np.hanning(height), np.hanning(width))
    window /= np.sqrt(np.mean(window**2))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2 / grey.size
    radius = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width))
    ring = np.minimum((radius * 2 * num_bins).astype(int), num_bins)  # the last: beyond 0.5
    sums, counts = (
        np.bincount(ring.ravel(), weights, num_bins + 1)[:num_bins]
        for weights in (power.ravel(), None)
    )
    means = np.divide(sums, counts, out=np.full(num_bins, np.nan), where=counts > 0)
    # A floor of a thousandth of a squared level, which is invisible.
    decibels: NDArray[np.float64] = 10 * np.log10(means + 1e-3)
    return decibels


def _nearest(wanted: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each row of `wanted`, the index of the nearest row of `known`."""
    lengths = (known**2).sum(axis=1)
    found = []
    rows = max(1, _DISTANCES // len(known))
    for chunk in np.array_split(wanted, -(-len(wanted) // rows)):
        found.append(np.argmin(lengths - 2 * chunk @ known.T, axis=1))
    return np.concatenate(found)
