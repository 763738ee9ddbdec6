"""Whitened features: metrics that weight everything a layer keeps, or a style shows, equally.

**Inversions.** A deep layer responds to a change of an image's brightness far more than to most
other changes, and a search that compares its raw features spends its iterations on brightness. Here
the channels of a layer are multiplied by a matrix so that small random changes of the image, of the
kind that the search makes, change all products by the same amount on average and independently of
each other (docs/math.md, "Whitened features"). Nothing is learned: the changes are drawn from the
seed.

**Gram matrices.** Untrained features lie along few directions, and the Frobenius norm of equation 6
sees only those, while strokes live in the weak ones. Here the channels are multiplied by a matrix
that makes the variances of the target's features nearly equal in all directions (docs/math.md,
"Whitened Gram matrices").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.compute.readers import Reader, Reading

SAMPLES_PER_CHANNEL = 2
"""Number of positions of feature maps, over all draws, per channel of the layer with the fewest."""

MAX_DRAWS = 128
"""Maximum number of changed images; feature maps of under a dozen positions get fewer samples."""

SHRINKAGE = 0.1
"""Share of the mean variance that is added to every direction of changed features, so that
directions with almost no variance, and those that the samples missed, are not amplified."""

GRAM_SHRINKAGE = 1.0
"""The same for the features of Gram matrices. Less of it brings out noise (docs/math.md)."""

Perturbation = Callable[[int], NDArray[Any]]
"""Maps the number of a draw to an image near the target, network input [1, height, width, 3]."""


def whitening_matrices(
    read: Reader,
    targets: Mapping[str, tf.Tensor],
    perturbation: Perturbation,
    *,
    subtract: bool,
) -> dict[str, tf.Tensor]:
    """For each layer, the matrix that whitens changes of its features.

    With S the second moments of the changes of features and v their mean variance, it is
    W = (S / v + `SHRINKAGE` I)^(-1/2). Features times W change as much as before on average.

    Args:
        read: reads features of an image, or their differences from the target's.
        targets: features of the target, [1, height, width, N] or [1, N], by layer.
        perturbation: draws images near the target.
        subtract: whether `read` reads features, not differences.

    Returns:
        [N, N] for each convolution or pool, of the targets' dtype. Dense layers would need
        thousands of draws and have none.
    """
    moments = change_moments(read, targets, perturbation, subtract=subtract)
    return {
        name: tf.constant(inverse_root(value, SHRINKAGE), targets[name].dtype)
        for name, value in moments.items()
    }


def change_moments(
    read: Reader,
    targets: Mapping[str, tf.Tensor],
    perturbation: Perturbation,
    *,
    subtract: bool,
) -> dict[str, NDArray[np.float64]]:
    """Sums of second moments of changes of features, [N, N] for each convolution or pool.

    Arguments are those of `whitening_matrices`.
    """
    shapes = {name: target.shape for name, target in targets.items() if target.shape.rank == 4}
    if not shapes:
        return {}
    readings = {name: _second_moments(targets[name] if subtract else 0.0) for name in shapes}
    moments = {name: np.zeros((shape[-1], shape[-1])) for name, shape in shapes.items()}
    for number in range(_num_draws(list(shapes.values()))):
        found = read(tf.convert_to_tensor(perturbation(number)), readings)
        for name, value in found.items():
            moments[name] += value.numpy()
    return moments


def gram_whitening(gram: tf.Tensor) -> tf.Tensor:
    """The matrix W in whose metric Gram matrices are compared with a target C.

    With v the mean of C's diagonal, W = (C / v + `GRAM_SHRINKAGE` I)^(-1/2) / sqrt(v). The metric
    does not depend on the scale of the features.

    Args:
        gram: [1, N, N], C: the target's Gram matrix.

    Returns:
        [N, N], of the same dtype; the identity if C is zero.
    """
    moments = gram[0].numpy().astype(np.float64)
    variance = float(np.trace(moments)) / len(moments)
    root = inverse_root(moments, GRAM_SHRINKAGE)
    return tf.constant(root / math.sqrt(variance) if variance else root, gram.dtype)


def inverse_root(moments: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """(S / v + `shrinkage` I)^(-1/2), where v is the mean of the diagonal of S.

    Args:
        moments: [N, N], S: symmetric and positive semidefinite, in any unit.
        shrinkage: share of the mean variance that is added to every direction.

    Returns:
        [N, N]; the identity if all moments are zero.
    """
    variance = float(np.trace(moments)) / len(moments)
    if variance == 0:
        return np.eye(len(moments))
    values, directions = np.linalg.eigh(moments / variance)
    scales = 1 / np.sqrt(np.maximum(values, 0) + shrinkage)
    root: NDArray[np.float64] = (directions * scales) @ directions.T
    return root


def _num_draws(shapes: Sequence[tf.TensorShape]) -> int:
    """Number of draws that suffices for every layer, up to `MAX_DRAWS`."""
    samples_per_draw = (shape[1] * shape[2] / shape[3] for shape in shapes)
    enough: int = math.ceil(SAMPLES_PER_CHANNEL / min(samples_per_draw))
    return min(MAX_DRAWS, enough)


def _second_moments(target: tf.Tensor | float) -> Reading:
    def reading(features: tf.Tensor) -> tf.Tensor:
        changes = tf.reshape(features - target, [-1, features.shape[-1]])
        return tf.cast(tf.matmul(changes, changes, transpose_a=True), tf.float64)

    return reading
