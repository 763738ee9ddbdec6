"""Guided statistics: means and Gram matrices of the positions of a region."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.images import resize_plane
from rwgen.network.features import gram_matrix


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

    def positions(self, features: tf.Tensor) -> float:
        """Number of equally weighted positions that would vary as much as those of features."""
        weights = self._at(features)
        count = features.shape[1] * features.shape[2]
        return float(count if weights is None else count / np.mean(weights**2))

    def mean(self, features: tf.Tensor) -> tf.Tensor:
        """Weighted mean over the positions of features [1, height, width, N], [1, 1, 1, N]."""
        weights = self._at(features)
        if weights is not None:
            features *= tf.constant(weights, features.dtype)
        return tf.reduce_mean(features, axis=[1, 2], keepdims=True)

    def gram(self, features: tf.Tensor) -> tf.Tensor:
        """Gram matrix of features [1, height, width, N] whose positions are weighted, [1, N, N]."""
        weights = self._at(features)
        if weights is not None:
            features *= tf.constant(np.sqrt(weights), features.dtype)
        return gram_matrix(features)

    def _at(self, features: tf.Tensor) -> NDArray[np.float64] | None:
        """Weights at the size of features, [1, height, width, 1], divided by their mean."""
        if self._weights is None:
            return None
        size = (features.shape[1], features.shape[2])
        if size not in self._sized:
            weights = resize_plane(self._weights, *size).astype(np.float64)
            self._sized[size] = (weights / weights.mean())[np.newaxis, ..., np.newaxis]
        return self._sized[size]


NO_GUIDE = Guide()
"""Weights all positions alike."""
