"""The loss terms: equations 1, 5, 6 and the total variation of equation 9.

All functions take and return TensorFlow tensors, keep the images of a batch apart, and know
nothing of networks or files.
"""

from __future__ import annotations

import tensorflow as tf


def content_loss(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Equation 1 without its factor omega: half the mean squared difference of features.

    Args:
        features: [batch, height, width, N], or [batch, N] of a dense layer (then M = 1).
        target: the same shape, or one that broadcasts to it.

    Returns:
        [batch], 1 / (2 N M) * ||F(x) - F(x0)||^2.
    """
    axes = list(range(1, features.shape.rank))
    return tf.reduce_mean(tf.math.squared_difference(features, target), axis=axes) / 2


def gram_loss(gram: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Equation 6: a quarter of the mean squared difference of Gram matrices.

    Args:
        gram: [batch, N, N] as `gram_matrix` returns.
        target: the same shape, or one that broadcasts to it.

    Returns:
        [batch], 1 / (4 N^2) * ||G(x) - G(x0)||^2.
    """
    return tf.reduce_mean(tf.math.squared_difference(gram, target), axis=[1, 2]) / 4


def total_variation(image: tf.Tensor) -> tf.Tensor:
    """The regularizer R of equation 9: squared differences of adjacent pixels, summed.

    Args:
        image: [batch, height, width, channels].

    Returns:
        [batch], the sum over both directions and all channels.
    """
    vertical = tf.math.squared_difference(image[:, 1:], image[:, :-1])
    horizontal = tf.math.squared_difference(image[:, :, 1:], image[:, :, :-1])
    return tf.reduce_sum(vertical, axis=[1, 2, 3]) + tf.reduce_sum(horizontal, axis=[1, 2, 3])
