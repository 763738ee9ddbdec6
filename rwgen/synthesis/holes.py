"""Which positions of a feature map belong to a hole of an image, and which to the rest.

A feature sees many pixels, those at the edge of its receptive field hardly. The share of a hole in
what it sees is that of the weights' energy: kernels of random weights spread it evenly over their
taps, so a mask that is averaged as the layers' kernels and pools lie gives the shares
(docs/math.md, "Holes").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import scipy.ndimage
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader, Reading
from rwgen.network.features import POOLS, feature_extractor
from rwgen.network.pooling import BINOMIAL_WEIGHTS, BinomialPooling2D
from rwgen.network.tiling import check_keeps_positions

HOLE_SHARE = 0.05
"""Share from which on a position belongs to the hole: at a straight edge, up to 1.6 standard
deviations of what a feature sees."""


def hole_shares(
    network: keras.Model, layers: Sequence[str], hole: NDArray[np.bool_], *, tileable: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Share of the hole in what each position of a layer sees.

    Args:
        network: a network that `rwgen.network.tiling.check_keeps_positions` accepts.
        layers: names of its layers.
        hole: [height, width] of the image.
        tileable: whether the network sees the image as a tile.

    Returns:
        [height, width] of the layer's output, in 0..1, by layer.

    Raises:
        InvalidInputError: the network has another layer.
    """
    extractor = feature_extractor(network, layers)
    check_keeps_positions(extractor, "a hole")
    shares = {id(extractor.inputs[0]): hole.astype(np.float64)}
    found = {}
    for layer in extractor.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        share = np.max([shares[id(tensor)] for tensor in inputs], axis=0)
        mode = "wrap" if tileable else "nearest"
        if isinstance(layer, BinomialPooling2D):
            rows, columns = (side // 2 for side in share.shape)
            energy = BINOMIAL_WEIGHTS**2 / np.sum(BINOMIAL_WEIGHTS**2)
            for axis in (0, 1):
                share = scipy.ndimage.correlate1d(share, energy, axis, mode=mode)
            # Of four taps, SciPy places the third on a pixel: outputs lie on the second of two.
            share = share[1::2, 1::2][:rows, :columns]
        elif isinstance(layer, POOLS):
            rows, columns = (side // 2 for side in share.shape)
            share = share[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))
        elif isinstance(layer, keras.layers.Conv2D):
            share = scipy.ndimage.uniform_filter(share, layer.kernel_size, mode=mode)
        shares[id(layer.output)] = share
        if layer.name in extractor.output_names:
            found[layer.name] = share
    return found


def positions_outside(shares: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.intp]]:
    """Positions, counted row by row, that hardly see the hole, by layer."""
    return {name: np.flatnonzero(share < HOLE_SHARE) for name, share in shares.items()}


def positions_inside(shares: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.intp]]:
    """Positions that see the hole, by layer; at least those that see most of it."""
    return {
        name: np.flatnonzero(share >= min(HOLE_SHARE, share.max()))
        for name, share in shares.items()
    }


def selecting_reader(read: Reader, positions: Mapping[str, NDArray[np.intp]]) -> Reader:
    """A reader whose readings get the features of some positions only.

    Args:
        read: reads every position.
        positions: positions by layer, counted row by row.

    Returns:
        A reader of those layers. Its readings get features of an image of one column.
    """

    def selected(name: str, reading: Reading) -> Reading:
        places = tf.constant(positions[name], tf.int32)

        def read_selected(features: tf.Tensor) -> tf.Tensor:
            batch, height, width, channels = features.shape
            rows = tf.reshape(features, [batch, height * width, 1, channels])
            return reading(tf.gather(rows, places, axis=1))

        return read_selected

    def read_all(image: tf.Tensor, readings: Mapping[str, Reading]) -> dict[str, tf.Tensor]:
        return read(image, {name: selected(name, reading) for name, reading in readings.items()})

    return read_all


def hole_at(hole: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A hole in an image that was made smaller: every pixel that holds some of it.

    Args:
        hole: [height, width].
        size: (height, width), neither larger.
    """
    rows, columns = (
        np.arange(after) * before // after for before, after in zip(hole.shape, size, strict=True)
    )
    reduced: NDArray[np.bool_] = np.logical_or.reduceat(
        np.logical_or.reduceat(hole, rows, axis=0), columns, axis=1
    )
    return reduced
