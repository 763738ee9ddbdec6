"""The network of a task, and what its layers decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from rwgen.compute.winograd import with_winograd
from rwgen.errors import InvalidInputError
from rwgen.network.architecture import Architecture
from rwgen.network.features import feature_extractor
from rwgen.network.lookup import load_recipe
from rwgen.network.vgg import build_network
from rwgen.synthesis.config import InversionConfig, StyleConfig, TextureConfig

DEEP_POOLS = 3
"""Pools up to a layer from which on it is deep: by default an inversion moves frequencies in a box
there and whitens features. Nearer to the image, pixels and the paper's loss reach more
(docs/math.md, "Whitened features")."""


def task_network(
    network: keras.Model | None,
    config: InversionConfig | TextureConfig | StyleConfig,
    layers: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
) -> keras.Model:
    """The network that a task works with: the user's, or the named one up to the deepest layer.

    Args:
        network: the user's, None for the named one.
        config: names a network, and says whether it is to use Winograd's algorithm.
        layers: every layer that the task reads.
        shapes: (height, width, ...) of every image, by what it is for messages.

    Returns:
        A model that takes all images.

    Raises:
        InvalidInputError: an image is too small, or of a size that the network does not take.
        LayerError: a layer is unknown.
        RecipeError: the named network is unknown.
    """
    network = _fitting_network(network, config.network, layers, shapes)
    return with_winograd(network) if config.optimizer.winograd else network


def _fitting_network(
    network: keras.Model | None,
    name: str,
    layers: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
) -> keras.Model:
    if network is None:
        recipe = load_recipe(name)
        topology: Architecture = recipe.topology
        for what, shape in shapes.items():
            topology.check_image_size(layers, shape, what)
        return build_network(recipe, topology.deepest(layers).name)
    extractor = feature_extractor(network, layers)
    for what, shape in shapes.items():
        try:
            outputs = extractor.compute_output_shape((1, *shape[:2], 3))
        except ValueError:  # Keras: a fixed size, or nothing left after a pool
            outputs = {layers[0]: (0,)}
        if any(0 in output for output in outputs.values()):
            raise InvalidInputError(
                f"expected {what} of a size that {network.name} takes for {', '.join(layers)}. "
                f"Received: {shape[1]}x{shape[0]}"
            )
    return network


def are_deep(network: keras.Model, layers: Sequence[str]) -> bool:
    """Whether `DEEP_POOLS` pools or more lead up to every one of these layers."""
    pools = (keras.layers.AveragePooling2D, keras.layers.MaxPooling2D)
    depths = [
        sum(isinstance(below, pools) for below in feature_extractor(network, [name]).layers)
        for name in layers
    ]
    return min(depths) >= DEEP_POOLS
