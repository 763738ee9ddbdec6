"""Guided statistics: means and Gram matrices of the positions of a region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Tile
from rwgen.images import resize_plane


class Guide:
    """Weights of positions, for feature maps of any size (docs/math.md, "Regions")."""

    def __init__(self, weights: NDArray[Any] | None = None) -> None:
        """Create a guide.

        Args:
            weights: [height, width] in 0..1, at the size of the image, not all zero; None weights
                all positions alike.
        """
        self._weights = weights
        self._sized: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._tensors: dict[tuple[int, int, tf.DType], tf.Tensor] = {}

    def positions(self, size: Sequence[int]) -> float:
        """Number of equally weighted positions that would vary as much as those of a size."""
        weights = self.weights_at(size)
        count = math.prod(size)
        return float(count if weights is None else count / np.mean(weights**2))

    def mean(self, features: tf.Tensor, tile: Tile) -> tf.Tensor:
        """What a tile's features [1, height, width, N] add to their weighted mean, [1, 1, 1, N]."""
        weights = self._like(features, tile)
        if weights is not None:
            features *= weights
        return tf.reduce_mean(features, axis=[1, 2], keepdims=True) * tile.share(features)

    def gram(self, features: tf.Tensor, tile: Tile) -> tf.Tensor:
        """What a tile's features add to their weighted Gram matrix, see `guided_gram`."""
        return guided_gram(features, self._like(features, tile)) * tile.share(features)

    def weights_at(self, size: Sequence[int]) -> NDArray[np.float64] | None:
        """Weights at a size (height, width), [1, height, width, 1], divided by their mean."""
        if self._weights is None:
            return None
        height, width = size
        if (height, width) not in self._sized:
            weights = resize_plane(self._weights, height, width).astype(np.float64)
            self._sized[height, width] = (weights / weights.mean())[np.newaxis, ..., np.newaxis]
        return self._sized[height, width]

    def _like(self, features: tf.Tensor, tile: Tile) -> tf.Tensor | None:
        weights = self.weights_at(tile.size)
        if weights is None:
            return None
        key = (*tile.size, features.dtype)
        if key not in self._tensors:
            with tf.init_scope():  # one tensor for the graphs of all tiles
                self._tensors[key] = tf.constant(weights, features.dtype)
        return tile.of(self._tensors[key], features)


def guided_gram(features: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Gram matrix of features whose positions are weighted, see `rwgen.gram_matrix`.

    Args:
        features: [1, height, width, N].
        weights: [1, height, width, 1], whose mean is one; None weights all positions alike.

    Returns:
        [1, N, N]. Only first derivatives are right.
    """
    if weights is not None:
        features *= tf.sqrt(weights)
    height, width, channels = features.shape[1:]
    matrix = tf.reshape(features, [1, height * width, channels])
    # The gradient of a product of features with themselves takes two products as large. This sum
    # has the same value and gradient, and takes one.
    gram = tf.matmul(tf.stop_gradient(matrix), matrix, transpose_a=True) / (height * width)
    return gram + tf.linalg.matrix_transpose(gram) - tf.stop_gradient(gram)


NO_GUIDE = Guide()
"""Weights all positions alike."""
