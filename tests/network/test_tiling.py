"""Networks that see an image as a tile."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from rwgen import InvalidInputError
from rwgen.network.architecture import check_tile_size
from rwgen.network.convolution import CircularConv2D
from rwgen.network.tiling import tiling_network


def rolled(array, by):
    return np.roll(array, by, axis=(1, 2))


@pytest.mark.parametrize("kernel", [(3, 3), (5, 1), (7, 7)])
@pytest.mark.parametrize("size", [(6, 7), (2, 2), (3, 9), (1, 1)])
def test_circular_padding_is_that_of_scipy(kernel, size):
    generator = np.random.default_rng(0)
    layer = CircularConv2D(2, kernel, dtype="float64")
    images = generator.normal(size=(2, *size, 3))
    found = layer(images).numpy()
    weights = layer.kernel.numpy()
    for image, output in zip(images, found, strict=True):
        for channel in range(2):
            expected = sum(
                scipy.ndimage.correlate(image[..., i], weights[..., i, channel], mode="wrap")
                for i in range(3)
            )
            np.testing.assert_allclose(output[..., channel], expected, atol=1e-12)


@pytest.mark.parametrize(
    "recipe",
    [{"padding": "zeros"}, {"padding": "symmetric"}, {"pooling": "binomial"}],
    ids=lambda recipe: next(iter(recipe.values())),
)
def test_it_commutes_with_rolls_by_multiples_of_its_stride(small_network, smooth_image, recipe):
    plain = small_network(**recipe)
    network = tiling_network(plain)
    image = smooth_image(16, 24)
    for by in ((4, 8), (-8, 12), (0, 4)):
        moved = tuple(side // 4 for side in by)
        found, expected = network(rolled(image, by)).numpy(), rolled(network(image).numpy(), moved)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        border = plain(rolled(image, by)).numpy() - rolled(plain(image).numpy(), moved)
        assert np.abs(border).max() > 1e-3
    shifted = network(rolled(image, (2, 0))).numpy() - network(image).numpy()
    assert np.abs(shifted).max() > 1e-3  # features are not all alike


def test_names_weights_and_values_off_the_border_are_those_of_the_network(
    small_network, smooth_image
):
    plain = small_network()
    network = tiling_network(plain)
    assert [layer.name for layer in network.layers] == [layer.name for layer in plain.layers]
    for own, other in zip(network.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    image = smooth_image(24, 24)
    found, expected = network(image).numpy(), plain(image).numpy()
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-12)
    assert np.abs(found - expected).max() > 1e-3


def test_gradients_wrap_around(small_network, smooth_image):
    network = tiling_network(small_network())
    image = smooth_image(8, 12)

    def gradient(pixels):
        point = tf.constant(pixels)
        with tf.GradientTape() as tape:
            tape.watch(point)
            loss = tf.reduce_sum(network(point) ** 3)
        return tape.gradient(loss, point).numpy()

    np.testing.assert_allclose(
        gradient(rolled(image, (4, 8))), rolled(gradient(image), (4, 8)), atol=1e-12
    )


def test_a_layer_can_be_saved(tmp_path, smooth_image):
    model = keras.Sequential([keras.Input((None, None, 3)), CircularConv2D(2, 3)])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    image = smooth_image(4, 4).astype(np.float32)
    np.testing.assert_array_equal(loaded(image), model(image))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(2, 3, strides=2, padding="same"),
        keras.layers.Conv2D(2, 3, padding="valid"),
        keras.layers.Conv2D(2, 2, padding="same"),
        keras.layers.AveragePooling2D(3),
        keras.layers.GlobalAveragePooling2D(),
    ],
    ids=["strided", "valid", "even", "pool of three", "global"],
)
def test_other_layers_are_refused_by_name(layer):
    inputs = keras.Input((12, 12, 3))
    layer.name = "odd_one"
    model = keras.Model(inputs, layer(keras.layers.ReLU()(inputs)))
    with pytest.raises(InvalidInputError, match=r"tileable image. Received: odd_one"):
        tiling_network(model)


def test_sizes_that_a_pool_would_cut_are_refused_with_one_that_fits():
    check_tile_size((16, 24, 3), 8, "an image")
    with pytest.raises(InvalidInputError, match=r"multiples of 8 pixels, such as 96x8. .* 99x3"):
        check_tile_size((3, 99), 8, "an image")
