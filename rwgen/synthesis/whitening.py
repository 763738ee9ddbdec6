"""Whitened features: the metric of an inversion in which all that a layer keeps counts alike.

A deep layer answers to a change of an image's brightness far more than to most other changes, and
a search that measures its features as they are spends its iterations there. Here the channels of a
layer are mixed so that small random changes of the image, of the kind that the search makes,
change all mixtures by the same amount on average and independently of each other (docs/math.md,
"Whitened features"). Nothing is learnt: the changes are draws of the seed.
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
"""Positions of feature maps, over all draws, for each channel of the layer with the fewest."""

MAX_DRAWS = 128
"""Changed images at the most; maps of less than a dozen positions get fewer samples."""

SHRINKAGE = 0.1
"""Share of the mean variance that is added to every direction: those in which next to nothing
happens, and those that few samples have missed, are not blown up."""

Perturbation = Callable[[int], NDArray[Any]]
"""Number of a draw to an image near the target's, network input [1, height, width, 3]."""


def whitening_matrices(
    read: Reader,
    targets: Mapping[str, tf.Tensor],
    perturbation: Perturbation,
    *,
    subtract: bool,
) -> dict[str, tf.Tensor]:
    """For each layer the mixture of channels that small changes of the image leave white.

    With S the second moments of how features change, this is W = (S + s I)^(-1/2) times the root of
    the mean variance, s being `SHRINKAGE` of that: features times W change as much as before.

    Args:
        read: image to readings of features, or of their differences from the target's.
        targets: features of the target, [1, height, width, N] or [1, N], by layer.
        perturbation: gives the images near the target.
        subtract: whether `read` gives features, and not differences.

    Returns:
        [N, N] for each convolution or pool, of the targets' dtype. Dense layers, which would need
        thousands of draws, have none.
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
    return {
        name: tf.constant(inverse_root(value), targets[name].dtype)
        for name, value in moments.items()
    }


def inverse_root(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S / m + `SHRINKAGE` I)^(-1/2), m being the mean of the diagonal.

    Args:
        moments: [N, N], symmetric and positive semidefinite, in any unit.

    Returns:
        [N, N]; the identity where all moments are zero.
    """
    variance = float(np.trace(moments)) / len(moments)
    if variance == 0:
        return np.eye(len(moments))
    values, directions = np.linalg.eigh(moments / variance)
    scales = 1 / np.sqrt(np.maximum(values, 0) + SHRINKAGE)
    root: NDArray[np.float64] = (directions * scales) @ directions.T
    return root


def _num_draws(shapes: Sequence[tf.TensorShape]) -> int:
    """Enough for every layer, as far as `MAX_DRAWS` goes."""
    samples_per_draw = (shape[1] * shape[2] / shape[3] for shape in shapes)
    enough: int = math.ceil(SAMPLES_PER_CHANNEL / min(samples_per_draw))
    return min(MAX_DRAWS, enough)


def _second_moments(target: tf.Tensor | float) -> Reading:
    def reading(features: tf.Tensor) -> tf.Tensor:
        changes = tf.reshape(features - target, [-1, features.shape[-1]])
        return tf.cast(tf.matmul(changes, changes, transpose_a=True), tf.float64)

    return reading
