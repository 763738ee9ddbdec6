"""The loss terms: equations 1, 5, 6, the total variation of equation 9, and that of films.

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
    difference = features - target
    if difference.shape[0] == 1:
        # The gradient of a mean takes five passes over the features, and this one takes one.
        count = tf.cast(tf.size(difference, tf.int64), difference.dtype)
        return tf.nn.l2_loss(difference)[tf.newaxis] / count
    axes = list(range(1, difference.shape.rank))
    return tf.reduce_mean(tf.square(difference), axis=axes) / 2


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
    shape = tf.shape(image)
    total = tf.zeros(shape[:1], image.dtype)
    for axis in (1, 2):
        one = tf.one_hot(axis, 4, dtype=tf.int32)
        # `image[:, 1:]` would do, but its gradient takes far longer.
        after, before = tf.slice(image, one, shape - one), tf.slice(image, one * 0, shape - one)
        total += tf.reduce_sum(tf.math.squared_difference(after, before), axis=[1, 2, 3])
    return total


def temporal_loss(image: tf.Tensor, target: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """What holds a frame of a film to the last one: weighted squared differences, summed.

    Args:
        image: [batch, height, width, channels].
        target: the same shape, or one that broadcasts to it.
        weights: [height, width, 1], or another shape that broadcasts to it.

    Returns:
        [batch], the sum over all pixels and channels.
    """
    differences = weights * tf.math.squared_difference(image, target)
    return tf.reduce_sum(differences, axis=[1, 2, 3])
