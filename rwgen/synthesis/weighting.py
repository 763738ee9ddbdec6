"""The automatic weighting factors: omega of equation 4 and mu of equation 8.

Both are the reciprocal of a mean input gradient, which takes one vector-Jacobian product: the loss
term is evaluated with the target's features (or Gram matrix) set to zero, and its gradient with
respect to the features is pulled back to the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader, Reading, SumReading, Tile, every_position
from rwgen.errors import InvalidInputError
from rwgen.synthesis.config import Weighting
from rwgen.synthesis.guides import NO_GUIDE, Guide
from rwgen.synthesis.losses import content_loss, gram_loss


def content_factors(
    read: Reader,
    image: tf.Tensor,
    layers: Sequence[str],
    weighting: Weighting = "magnitude",
    scales: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Omega of equation 4 for each layer.

    Args:
        read: reads features of an image, see `rwgen.compute.readers`.
        image: [1, height, width, 3], network input of x0.
        layers: layers that it reads.
        weighting: `magnitude` averages |gradient|, `signed` takes the absolute value of the
            average, as the equation is printed.
        scales: divisor of each layer's features; 1 by default. Omega is that of the divided
            features, so its product with their loss does not depend on the divisor.

    Returns:
        {layer: omega}.

    Raises:
        InvalidInputError: a layer's features do not depend on the image, so no factor exists.
    """

    def reading_of(name: str) -> Reading:
        scale = (scales or {}).get(name, 1.0)
        return SumReading(
            lambda features, tile: content_loss(features, 0.0) * tile.share(features),
            lambda loss: loss / scale**2,
        )

    return _factors(read, image, {name: reading_of(name) for name in layers}, weighting)


def style_factors(
    read: Reader,
    image: tf.Tensor,
    layers: Sequence[str],
    weighting: Weighting = "magnitude",
    scales: Mapping[str, float] | None = None,
    shifts: Mapping[str, tf.Tensor] | None = None,
    whitenings: Mapping[str, tf.Tensor] | None = None,
    guide: Guide = NO_GUIDE,
) -> dict[str, float]:
    """Mu of equation 8 for each layer.

    Args:
        read: see `content_factors`.
        image: see `content_factors`.
        layers: see `content_factors`.
        weighting: see `content_factors`.
        scales: see `content_factors`.
        shifts: subtracted from each layer's divided features, [1, 1, 1, channels]; 0 by default.
        whitenings: matrix W of each layer in whose metric Gram matrices are compared, see
            `whitened_gram`; the identity by default.
        guide: weights of positions.

    Returns:
        {layer: mu}.

    Raises:
        InvalidInputError: see `content_factors`.
    """

    def reading_of(name: str) -> Reading:
        scale, shift = (scales or {}).get(name, 1.0), (shifts or {}).get(name, 0.0)
        matrix = (whitenings or {}).get(name)

        return SumReading(
            lambda features, tile: guide.gram(features - shift * scale, tile),
            lambda gram: gram_loss(whitened_gram(gram / scale**2, matrix), 0.0),
        )

    return _factors(read, image, {name: reading_of(name) for name in layers}, weighting)


def input_gradients(
    read: Reader, image: tf.Tensor, losses: Mapping[str, Reading]
) -> dict[str, NDArray[np.floating]]:
    """Gradient of a loss on each layer's features with respect to the image.

    Args:
        read: reads features of an image, see `rwgen.compute.readers`.
        image: [1, height, width, 3], network input.
        losses: maps features to a loss [1], for each layer.

    Returns:
        {layer: [1, height, width, 3]}.
    """
    image = tf.convert_to_tensor(image)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(image)
        values = read(image, losses)
    return {name: tape.gradient(values[name], image).numpy() for name in losses}


def whitened_gram(gram: tf.Tensor, matrix: tf.Tensor | None) -> tf.Tensor:
    """Gram matrix of features times W, from that of the features: W^T G W.

    Args:
        gram: [batch, N, N], G.
        matrix: [N, N], W, such as `rwgen.synthesis.whitening.gram_whitening` returns; None means
            the identity.

    Returns:
        [batch, N, N].
    """
    if matrix is None:
        return gram
    return tf.matmul(matrix, tf.matmul(gram, matrix), transpose_a=True)


def feature_scale(features: tf.Tensor) -> tf.Tensor:
    """Root mean square of a layer's features, or 1 if it is zero or not finite; [], float64.

    Untrained features shrink by orders of magnitude with depth, and Gram losses take their fourth
    power, which exceeds the range of float32. Divided by this scale, features are of order one; the
    weighting factors cancel the divisor.
    """
    return scale_of(mean_square(features, every_position(features)))


def mean_square(features: tf.Tensor, tile: Tile) -> tf.Tensor:
    """What a tile's features add to the mean of their squares; [], float64."""
    return tf.reduce_mean(tf.square(tf.cast(features, tf.float64))) * tile.share(features)


def scale_of(mean_square: tf.Tensor) -> tf.Tensor:
    """The scale of features, see `feature_scale`, from the mean of their squares."""
    scale = tf.sqrt(mean_square)
    return tf.where(tf.math.is_finite(scale) & (scale > 0), scale, tf.ones_like(scale))


def _factors(
    read: Reader, image: tf.Tensor, losses: Mapping[str, Reading], weighting: Weighting
) -> dict[str, float]:
    factors = {}
    for name, gradient in input_gradients(read, image, losses).items():
        values = gradient.astype(np.float64)
        mean = np.abs(values).mean() if weighting == "magnitude" else abs(values.mean())
        if not (np.isfinite(mean) and mean > 0):
            pixels = np.asarray(image)
            is_uniform = bool((pixels == pixels[:, :1, :1]).all())
            kind = "an image of a single color" if is_uniform else "an image that leaves them as is"
            raise InvalidInputError(
                f"expected an image on which the features at {name} depend. Received: {kind} (mean "
                f"gradient {mean:g})"
            )
        factors[name] = float(1 / mean)
    return factors
