"""Differences of features from a target's, without cancellation.

Where biases dominate, features of an image and of its target agree to six digits long before the
images do, and subtracting them leaves rounding errors. Here the difference itself is propagated. It
is exact at the input, passes convolutions without the bias, and passes each nonlinearity as the
difference of its outputs in a form in which nothing cancels (docs/math.md, "Differences").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from rwgen.network.features import feature_extractor, layer_names
from rwgen.network.pooling import BinomialPooling2D

_Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Maps the difference of a layer's inputs, and a tensor that depends on the target, to the
difference of the layer's outputs."""

_IMAGE = ""
"""Key of the target image among the tensors of its layers."""


@dataclass(frozen=True)
class Differences:
    """Maps network input [1, height, width, 3] to {layer: F(x) - F(x0)}.

    Attributes:
        compute: does so, given `values`; it depends on the network only.
        values: tensors of the target, by layer.
    """

    compute: Callable[[tf.Tensor, Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]
    values: dict[str, tf.Tensor]

    def __call__(self, candidate: tf.Tensor) -> dict[str, tf.Tensor]:
        """Differences from the features of this target."""
        return self.compute(candidate, self.values)


def difference_extractor(
    network: keras.Model, image: NDArray[Any], layers: Sequence[str]
) -> Differences | None:
    """A function that computes differences of features from those of a target.

    Args:
        network: a chain of convolutions, pools and dense layers with ReLU or no activation, such
            as a ranVGG.
        image: [1, height, width, 3], network input of the target x0.
        layers: layer names of the network.

    Returns:
        The function, or None if the network is not such a chain.

    Raises:
        LayerError: a layer is unknown.
    """
    names = layer_names(network, layers)
    extractor = feature_extractor(network, names)
    target = tf.convert_to_tensor(image)
    steps: list[tuple[str, _Step]] = []
    values, features, found = {_IMAGE: target}, target, {}
    for layer in extractor.layers[1:]:
        try:
            outputs = layer(features)
        except ValueError:  # the shapes show that the layers are not a chain
            return None
        known = _step(layer, features)
        if known is None:
            return None
        step, values[layer.name] = known
        features = outputs
        steps.append((layer.name, step))
        if layer.name in names:
            found[layer.name] = features
    if not _are_same(extractor(target), found):
        return None

    def differences(candidate: tf.Tensor, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        difference, wanted = candidate - values[_IMAGE], {}
        for name, step in steps:
            difference = step(difference, values[name])
            if name in names:
                wanted[name] = difference
        return wanted

    return Differences(differences, values)


def relu_difference(preactivation: tf.Tensor, difference: tf.Tensor) -> tf.Tensor:
    """relu(p + d) - relu(p) without cancellation.

    Args:
        preactivation: p, of the target.
        difference: d, of the same shape.

    Returns:
        max(d, -p) where p > 0, else max(p + d, 0).
    """
    return tf.where(
        preactivation > 0,
        tf.maximum(difference, -preactivation),
        tf.maximum(preactivation + difference, 0),
    )


def _step(layer: keras.layers.Layer, inputs: tf.Tensor) -> tuple[_Step, tf.Tensor] | None:
    """How a layer maps a difference from the target's `inputs`, and the tensor that it needs.

    None for unknown layers. Layers that are linear need nothing of the target.
    """
    kinds = keras.layers
    nothing = tf.zeros([0], inputs.dtype)
    if isinstance(layer, kinds.AveragePooling2D | kinds.Flatten | BinomialPooling2D):
        return lambda difference, _: layer(difference), nothing
    if isinstance(layer, kinds.MaxPooling2D):
        return _max_pool_step(layer, inputs)
    if not isinstance(layer, kinds.Conv2D | kinds.Dense):
        return None
    linear = _linear(layer)
    if layer.activation is keras.activations.linear:
        return lambda difference, _: linear(difference), nothing
    if layer.activation is keras.activations.relu:
        preactivation = linear(inputs)
        if layer.use_bias:
            preactivation += layer.bias
        return lambda difference, value: relu_difference(value, linear(difference)), preactivation
    return None


def _linear(layer: keras.layers.Conv2D | keras.layers.Dense) -> Callable[[tf.Tensor], tf.Tensor]:
    """A layer without its bias and activation."""
    if isinstance(layer, keras.layers.Dense):
        return lambda tensor: tf.matmul(tensor, layer.kernel)
    return lambda tensor: layer.convolution_op(tensor, layer.kernel)


def _max_pool_step(
    layer: keras.layers.MaxPooling2D, inputs: tf.Tensor
) -> tuple[_Step, tf.Tensor] | None:
    """max(a + d) - max(a) over each window, as max(d - (max(a) - a))."""
    if layer.pool_size != layer.strides or layer.padding != "valid":
        return None
    height, width = layer.pool_size
    largest = tf.repeat(tf.repeat(layer(inputs), height, axis=1), width, axis=2)
    # Rows and columns outside every window are dropped.
    rows, columns = largest.shape[1:3]
    gaps = largest - inputs[:, :rows, :columns]
    return lambda difference, value: layer(difference[:, :rows, :columns] - value), gaps


def _are_same(outputs: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> bool:
    return all(
        name in found
        and found[name].shape == output.shape
        and bool(tf.reduce_all(found[name] == output))
        for name, output in outputs.items()
    )
