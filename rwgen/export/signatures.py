"""Signatures of an exported network: TensorFlow functions from images to named outputs.

Every output is float32 with the batch in dimension 0, so that TF Serving can batch requests.
Preprocessing is part of the graph, and no part of the graph requires XLA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from rwgen.errors import InvalidInputError, LayerError
from rwgen.export.config import JPEG_START, PNG_START, ExportConfig, SignatureName
from rwgen.network.architecture import DENSE_INPUT_SIZE
from rwgen.network.features import POOLS, feature_extractor, gram_matrix
from rwgen.network.preprocess import preprocess_input
from rwgen.network.recipe import Recipe
from rwgen.network.vgg import build_network

MAX_ENCODED_PIXELS = 1 << 26
"""Maximum number of pixels of an encoded image: 8192x8192, checked in the header."""

DEFAULT_RESIZE = 224
"""Side that encoded images are resized to if the network accepts any size."""

Outputs = dict[str, tf.Tensor]


def served_network(
    recipe: Recipe, config: ExportConfig
) -> tuple[keras.Model, keras.Model, tuple[int, int]]:
    """Build the network of an export.

    Args:
        recipe: recipe of the network.
        config: layers and image size.

    Returns:
        The network up to the deepest layer, its `feature_extractor`, and the (height, width) that
        encoded images are resized to.

    Raises:
        InvalidInputError: the layers do not accept the image size.
        LayerError: a layer is unknown, or `gram` is requested for a dense layer.
    """
    topology = recipe.topology
    specs = [topology.layer(name) for name in config.layers]
    flat = [spec.name for spec in specs if spec.kind == "dense"]
    if flat and "gram" in config.signatures:
        raise LayerError(f"expected conv or pool layers for gram. Received: {', '.join(flat)}")
    side = DENSE_INPUT_SIZE if flat else DEFAULT_RESIZE
    height, width = config.size or (None, None)
    deepest = topology.deepest(config.layers).name
    network = build_network(recipe, deepest, input_shape=(height, width, 3))
    return network, feature_extractor(network, config.layers), config.size or (side, side)


def input_spec(function: Any) -> tf.TensorSpec:
    """Return name, dtype and shape of the single input of a concrete function.

    Raises:
        InvalidInputError: the function has no input, or several.
    """
    positional, named = function.structured_input_signature
    specs = [*positional, *named.values()]
    if len(specs) != 1:
        raise InvalidInputError(f"expected a signature with one input. Received: {len(specs)}")
    return specs[0]


def signature(
    name: SignatureName, extractor: keras.Model, resize_to: tuple[int, int]
) -> Callable[..., Outputs]:
    """Return the concrete function to save as a signature.

    Args:
        name: name of the signature. `features` and `features_float` take `images` [batch, height,
            width, 3], RGB in 0..255, as uint8 or float32, and return the features of each layer.
            `features_from_bytes` takes `image_bytes` [batch], encoded JPEG or PNG images. `gram`
            returns Gram matrices [batch, channels, channels] and `pooled` means over all positions
            [batch, channels], both of uint8 `images`.
        extractor: see `rwgen.feature_extractor`. Its height and width, if they are fixed, are
            also those of the signature.
        resize_to: (height, width) that encoded images are resized to.

    Returns:
        A `tf.ConcreteFunction` from one tensor to {layer: float32 tensor}. When run, it raises
        `tf.errors.InvalidArgumentError` for images too small for the deepest layer.
    """
    smallest = 2 ** sum(isinstance(layer, POOLS) for layer in extractor.layers)

    def features(images: tf.Tensor) -> Outputs:
        if None in images.shape[1:3]:
            images = _checked_size(images, smallest)
        outputs: Outputs = extractor(preprocess_input(tf.cast(images, tf.float32)))
        return {layer: tf.cast(output, tf.float32) for layer, output in outputs.items()}

    def features_from_bytes(image_bytes: tf.Tensor) -> Outputs:
        return features(decode_images(image_bytes, resize_to))

    def gram(images: tf.Tensor) -> Outputs:
        return {layer: gram_matrix(output) for layer, output in features(images).items()}

    def pooled(images: tf.Tensor) -> Outputs:
        return {
            layer: tf.reduce_mean(output, axis=[1, 2]) if output.shape.rank == 4 else output
            for layer, output in features(images).items()
        }

    functions: dict[SignatureName, Callable[..., Outputs]] = {
        "features": features,
        "features_float": features,
        "features_from_bytes": features_from_bytes,
        "gram": gram,
        "pooled": pooled,
    }
    if name == "features_from_bytes":
        spec = tf.TensorSpec([None], tf.string, "image_bytes")
    else:
        dtype = tf.float32 if name == "features_float" else tf.uint8
        spec = tf.TensorSpec([None, *extractor.inputs[0].shape[1:]], dtype, "images")
    function: Any = tf.function(functions[name], autograph=False)
    return function.get_concrete_function(spec)  # type: ignore[no-any-return]


def _checked_size(images: tf.Tensor, smallest: int) -> tf.Tensor:
    """Return images unchanged; fails if a side is shorter than `smallest` pixels."""
    size = tf.shape(images)[1:3]
    large = tf.debugging.Assert(
        tf.reduce_all(size >= smallest),
        [f"expected images of at least {smallest} pixels a side. Received height and width:", size],
    )
    with tf.control_dependencies([large]):
        return tf.identity(images)


def decode_images(encoded: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Decode JPEG and PNG images and resize them.

    Args:
        encoded: [batch], strings. Gray images are converted to RGB, transparency is dropped.
        size: (height, width).

    Returns:
        [batch, height, width, 3], float32 in 0..255, resized bilinearly with antialiasing.

    Raises:
        tf.errors.InvalidArgumentError: when run, if a string is not an encoded image or has more
            than `MAX_ENCODED_PIXELS` pixels.
    """

    def decode(data: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([_checked_header(data)]):
            image = tf.io.decode_image(data, channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        resized = tf.image.resize(image, size, antialias=True)
        return tf.clip_by_value(resized, 0.0, 255.0)

    spec = tf.TensorSpec([*size, 3], tf.float32)
    return tf.map_fn(decode, encoded, fn_output_signature=spec)


def _checked_header(data: tf.Tensor) -> tf.Tensor:
    """Return the number of pixels that the header declares; fails if there are too many."""
    is_jpeg = tf.strings.substr(data, 0, len(JPEG_START)) == JPEG_START
    is_png = tf.strings.substr(data, 0, len(PNG_START)) == PNG_START
    # A PNG stores width and height in bytes 16 to 23.
    is_long = tf.strings.length(data) >= 24
    valid = tf.debugging.Assert(
        is_jpeg | (is_png & is_long), ["expected an encoded JPEG or PNG image"]
    )
    with tf.control_dependencies([valid]):
        pixels = tf.cond(is_jpeg, lambda: _jpeg_pixels(data), lambda: _png_pixels(data))
    small = tf.debugging.Assert(
        pixels <= MAX_ENCODED_PIXELS,
        [f"expected an image of at most {MAX_ENCODED_PIXELS} pixels. Received:", pixels],
    )
    with tf.control_dependencies([small]):
        return tf.identity(pixels)


def _jpeg_pixels(data: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.io.extract_jpeg_shape(data, output_type=tf.int64)[:2])


def _png_pixels(data: tf.Tensor) -> tf.Tensor:
    octets = tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8)
    places = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    sides = tf.reduce_sum(tf.reshape(tf.cast(octets, tf.int64), [2, 4]) * places, axis=1)
    # Larger sides are not valid in a PNG, and their product could overflow 64 bits.
    return tf.reduce_prod(tf.minimum(sides, 1 << 31))
